"""Held actions, rewards on the scale of what was seen, and novelty, against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import rgrl_jax as rgrl
from rgrl_jax import replay
from rgrl_jax.algos.rgrl.acting import desired_rewards, emphasis, make_policy, plan_rows
from rgrl_jax.algos.rgrl.algorithm import act
from rgrl_jax.algos.rgrl.learning import make_cutter
from rgrl_jax.algos.rgrl.parts import parts
from rgrl_jax.envs.gradients import unstopped
from rgrl_jax.envs.spec import repeat_actions
from rgrl_jax.planning.gradient import plan_error
from rgrl_jax.rollout import View, rollout
from rgrl_jax.types import Episode

KEY = jax.random.key(0, impl="unsafe_rbg")


@pytest.mark.parametrize("times", [2, 3, 4])
def test_repeated_actions_are_single_steps_in_a_row(times):
    spec = rgrl.make_spec("CartPole-v1", 20)
    repeated = jax.jit(repeat_actions(spec, times).step)
    single = jax.jit(spec.step)
    obs, state = spec.reset(KEY)
    slow = state
    for t in range(8):
        key, action = jax.random.fold_in(KEY, t), jnp.int32(1)
        obs, state, reward, terminated, truncated = repeated(key, state, action)
        total = 0.0
        for i in range(times):
            wanted, slow, paid, fell, late = single(jax.random.fold_in(key, i), slow, action)
            total += float(paid)
            if fell or late:
                break
        np.testing.assert_allclose(obs, wanted, rtol=1e-5)
        assert (float(reward), bool(terminated), bool(truncated)) == (total, bool(fell), bool(late))
        if fell or late:
            break
    assert fell  # one-sided pushes end it before the limit


def test_repeated_actions_change_limit_and_reward_range_only():
    spec = rgrl.make_spec("MountainCar-v0")
    repeated = rgrl.make_spec("MountainCar-v0", action_repeat=7)
    assert repeated.max_steps == 29  # 200 / 7, rounded up
    assert repeated.reward_range == (-7.0, 0.0)
    assert repeated.return_range == spec.return_range
    assert rgrl.make_spec("MountainCar-v0", action_repeat=1) is spec


def test_repeated_actions_stop_at_the_environments_own_limit():
    spec = rgrl.make_spec("Pendulum-v1", 10, 4)
    _, state = spec.reset(KEY)
    ends = []
    for t in range(3):
        _, state, reward, terminated, truncated = spec.step(jax.random.fold_in(KEY, t), state, jnp.float32(0.0))
        ends.append((bool(terminated), bool(truncated)))
    assert ends == [(False, False), (False, False), (False, True)]
    single = rgrl.make_spec("Pendulum-v1", 10)
    _, state = single.reset(KEY)
    paid = []
    for _ in range(10):
        _, state, last, _, _ = single.step(KEY, state, jnp.float32(0.0))
        paid.append(float(last))
    assert float(reward) == pytest.approx(paid[-2] + paid[-1], rel=1e-5)  # the last two of ten


def test_a_repeated_step_counts_as_many_environment_steps():
    config = tiny.tiny_config(action_repeat=2, episodes=2, warmup_episodes=2)
    _, metrics = jax.jit(rgrl.train)(KEY, config)
    np.testing.assert_array_equal(metrics.env_steps, 2 * np.cumsum(metrics.episode_length))
    assert metrics.episode_length.max() <= 6  # of 12 environment steps


def _explored(hold, env="Pendulum-v1", **overrides):
    config = rgrl.preset(env, warmup_hold=hold, horizon=4, max_steps=200, **overrides)
    spec, _, _ = parts(config)
    params = rgrl.init(KEY, config).params
    policy = make_policy(params, config, jnp.float32(0.0), jnp.float32(1.0))
    return np.asarray(jax.jit(lambda key: rollout(key, spec, policy, num_envs=20))(KEY).action)[:-1]


@pytest.mark.parametrize("replan_every", [1, 3])
def test_random_actions_hold_for_as_long_as_asked(replan_every):
    actions = _explored(5.0, replan_every=replan_every)
    held = (actions[1:] == actions[:-1]).mean()
    assert held == pytest.approx(0.8, abs=0.03)


def test_random_actions_change_every_step_by_default():
    actions = _explored(1.0)
    assert not (actions[1:] == actions[:-1]).any()
    assert abs(np.corrcoef(actions[1:].ravel(), actions[:-1].ravel())[0, 1]) < 0.05


def test_epsilon_is_the_share_of_random_actions_in_training_alone():
    """A plan of no iterations and no noise is 0, so what is not 0 was drawn at random."""
    sizes = tiny.TINY | {"max_steps": 400, "replay_capacity": 500, "plan_iterations": 0}
    config = rgrl.preset("Pendulum-v1", **(sizes | {"plan_noise": 0.0, "epsilon": 0.3}))
    state = rgrl.init(KEY, config)
    played = jax.jit(lambda state: rollout(spec=config.spec, **act(state, config)._asdict()))
    warm, after = (np.asarray(played(state.replace(episode=jnp.int32(n))).action)[:400] for n in (0, 1))
    assert (warm != 0).all()
    assert (after != 0).mean() == pytest.approx(0.3, abs=0.07)
    shown = np.asarray(jax.jit(lambda state: rgrl.play(KEY, state, config))(state).action)
    assert not shown.any()


def _lake(**overrides):
    return rgrl.preset("FrozenLake-misc", **(tiny.TINY | overrides))


def _memory(episodes, capacity, length=6, terminated=True):
    """A replay of FrozenLake cells, as many episodes as asked; the ring wraps around when it is small."""
    memory = replay.init(jnp.int32(0), jnp.int32(0), capacity=capacity)
    rng = np.random.default_rng(0)
    for _ in range(episodes):
        obs = jnp.asarray(rng.integers(0, 5, length + 1), jnp.int32)
        zeros = jnp.zeros(length + 1)
        rewards = jnp.asarray(rng.normal(size=length + 1), jnp.float32)
        memory = replay.add(memory, obs, zeros.astype(jnp.int32), rewards, jnp.int32(length), jnp.bool_(terminated))
    return memory


@pytest.mark.parametrize("episodes, terminated", [(1, True), (2, False), (5, True), (5, False)])
def test_novelty_is_that_of_a_loop(episodes, terminated):
    config = _lake()
    memory = _memory(episodes, capacity=20, terminated=terminated)
    fast = replay.novelty(memory, parts(config).codec, 0.1, 0.7)
    obs, episode, to_end = np.asarray(memory.obs), np.asarray(memory.episode), np.asarray(memory.to_end)
    counts = {cell: ((obs == cell) & (episode >= 0)).sum() for cell in range(5)}
    slow = np.zeros(20)
    for row in range(20):
        if episode[row] < 0:
            continue
        value = 0.0 if terminated else counts[obs[(row + to_end[row]) % 20]] ** -0.5
        for back in range(to_end[row], 0, -1):
            value = 0.3 * counts[obs[(row + back) % 20]] ** -0.5 + 0.7 * value
        slow[row] = value
    np.testing.assert_allclose(fast, slow, atol=1e-6)


def test_windows_carry_novelty_and_the_scale_of_what_was_seen():
    config = _lake(novelty=True, reward_scale="seen", horizon=3)
    memory = _memory(3, capacity=30)
    cut = make_cutter(memory, config)
    windows = jax.vmap(cut)(jnp.flatnonzero(memory.weight > 0))
    new = replay.novelty(memory, parts(config).codec, config.resolution, config.reward_discount)
    starts = np.flatnonzero(np.asarray(memory.weight) > 0)
    np.testing.assert_allclose(windows.rewards[:, 0, 1], 2 * np.asarray(new)[starts] - 1, atol=1e-6)
    stored = np.asarray(memory.reward)[np.asarray(memory.episode) >= 0]
    scaled = 2 * (np.asarray(memory.reward)[starts] - stored.min()) / np.ptp(stored) - 1
    np.testing.assert_allclose(windows.rewards[:, 0, 0], scaled, atol=1e-5)


def test_rewards_that_are_all_alike_stay_finite():
    config = _lake(reward_scale="seen", horizon=3)
    memory = _memory(1, capacity=20)
    memory = memory.replace(reward=jnp.zeros(20))
    assert np.isfinite(jax.vmap(make_cutter(memory, config))(jnp.arange(6)).rewards).all()


def test_plans_weigh_novelty_against_reward():
    config = tiny.tiny_config(novelty=True, plan_novelty=0.3)
    predicted = jax.random.normal(KEY, (4, 2))
    error = plan_error(predicted * emphasis(config), desired_rewards(config)[0])
    slow = ((predicted[:, 0] - 1) ** 2 + 0.3 * (predicted[:, 1] - 1) ** 2).sum()
    assert float(error) == pytest.approx(float(slow), rel=1e-5)


def test_plans_weigh_novelty_by_the_absolute_distance_as_well():
    config = tiny.tiny_config(novelty=True, plan_novelty=0.3, plan_loss="absolute")
    predicted = jax.random.normal(KEY, (4, 2))
    error = plan_error(predicted * emphasis(config), desired_rewards(config)[0], distance="absolute")
    slow = (abs(predicted[:, 0] - 1) + 0.3 * abs(predicted[:, 1] - 1)).sum()
    assert float(error) == pytest.approx(float(slow), rel=1e-5)


def test_by_the_absolute_distance_the_greatest_sum_is_best():
    steady, uneven = jnp.full((2, 1), 0.5), jnp.array([[1.0], [0.1]])  # sums 1.0 and 1.1
    assert plan_error(uneven, 1.0) > plan_error(steady, 1.0)
    assert plan_error(uneven, 1.0, distance="absolute") < plan_error(steady, 1.0, distance="absolute")


def test_the_oracle_sees_through_held_actions():
    """Its gradient is that of the environment, stepped as often as each action is held."""
    config = rgrl.preset(
        "Pendulum-v1", dynamics="environment", action_repeat=3, horizon=4, plan_iterations=1, plan_optimizer="sgd",
        plan_lr=1e-3, plan_loss="absolute", max_steps=24,
    )  # fmt: skip
    built = parts(config)
    single = rgrl.make_spec("Pendulum-v1", 24)
    obs, env_state = single.reset(KEY)

    def error(plan):
        state, total, step = env_state, 0.0, unstopped(single.step)
        for action in plan:
            rewards = 0.0
            for _ in range(3):
                _, state, reward, _, _ = step(KEY, state, 2.0 * jnp.tanh(action))
                rewards += reward
            low, high = built.spec.reward_range
            total += 1.0 - (2.0 * (rewards - low) / (high - low) - 1.0)
        return total

    start = jnp.full(4, 0.3)
    policy_state = rgrl.init(KEY, config)
    row = jax.tree.map(lambda x: jnp.asarray(x)[None], env_state)
    episode = Episode(obs[None, None], None, None, jnp.zeros(1, jnp.int32), None, None, None)
    view = View(episode, jnp.int32(0), row, start[None, :, None])
    out, _ = plan_rows(KEY, policy_state.params, view, config.replace(plan_warm_start=True), jnp.float32(0.0), built)
    np.testing.assert_allclose(start - out.latent[0, :, 0], 1e-3 * jax.grad(error)(start), rtol=2e-3, atol=1e-9)


def test_noiseless_episodes_do_not_look_for_novelty():
    config = tiny.tiny_config(novelty=True, plan_novelty=50.0, plan_iterations=20, plan_lr=1.0)
    state = rgrl.init(KEY, config)
    play = jax.jit(lambda state, config: rgrl.play(KEY, state, config, 2).action)
    np.testing.assert_array_equal(play(state, config), play(state, config.replace(plan_novelty=0.0)))


def test_novelty_trains():
    config = tiny.tiny_config(novelty=True, reward_scale="seen", replay="priority", priority_refresh="all")
    _, metrics = jax.jit(rgrl.train)(KEY, config)
    assert np.isfinite(metrics.model_loss).all()


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        ({"reward_scale": "seen", "reward_encoding": "thermometer"}, "needs reward_encoding = 'scale'"),
        ({"novelty": True, "dynamics": "environment", "planner": "cem"}, "needs dynamics = 'learned'"),
        ({"action_repeat": 0}, "action_repeat = 0"),
        ({"warmup_hold": 0.5}, "warmup_hold = 0.5"),
    ],
)
def test_what_does_not_fit_meets_one_sentence(overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny.tiny_config(**overrides)
