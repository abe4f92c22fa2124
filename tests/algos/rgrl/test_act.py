"""What a policy does: plans through the ensemble, and random actions instead of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rgrl_cases import KEY, is_finite, member, small, timestep

from rgrl_jax import spmd
from rgrl_jax.algos.rgrl import act
from rgrl_jax.algos.rgrl.build import build_for_planning
from rgrl_jax.algos.rgrl.learn import init_members
from rgrl_jax.algos.rgrl.models import History
from rgrl_jax.planning import plan_error
from rgrl_jax.rollout import Actor, rollout

MLP = {"model.kind": "mlp"}  # compiles fastest
OBS = jax.random.uniform(jax.random.key(1), (2, 4), minval=-0.2, maxval=0.2)


@functools.cache
def members(config):
    """The weights of a new ensemble."""
    return jax.jit(lambda key: init_members(key, config, build_for_planning(config))[0])(KEY)


@jax.jit
def _plan(key, config, params, now, noise):
    return act.plan_for_envs(key, params, now, config, build_for_planning(config), noise)


def plans(config, now, noise=0.0, key=KEY):
    """Plans and diagnostics of every environment."""
    return _plan(key, config, members(config), now, noise)


@functools.cache
def predictor(config):
    """Rewards that a member predicts without a history, compiled."""
    _, codec, model = build_for_planning(config)
    empty = History(jnp.zeros((0, codec.state_size)), jnp.zeros((0, codec.action_size)))

    def reward(params, obs, actions):
        present = codec.encode_state(obs, jnp.bool_(False))
        return model.apply(params, model.encode_history(params, empty), present, actions).reward

    return jax.jit(reward)


# Exploration.


def test_plan_noise_is_annealed_and_reset():
    """Warm-up is not counted."""
    config = small({"planner.noise": 5.0, "planner.noise_decay": 0.5, "planner.noise_cycle": 3})
    assert [float(act.plan_noise(jnp.int32(i), config)) for i in range(6)] == [5.0, 5.0, 2.5, 1.25, 5.0, 2.5]


def test_exploration_rate():
    """1 in warm-up, then epsilon."""
    explore = small({"explore.warmup_episodes": 2, "explore.epsilon": 0.3}).explore
    rates = [float(act.exploration_rate(jnp.int32(i), explore)) for i in range(4)]
    np.testing.assert_allclose(rates, [1.0, 1.0, 0.3, 0.3], rtol=1e-6)


@jax.jit
def _explore(key, config, params):
    built = build_for_planning(config)
    policy = act.make_policy(params, config, built, jnp.float32(0.0), jnp.float32(1.0))
    return rollout(built.env, Actor(key, policy, num_envs=20, info=act.blank_info(20)))[0].action[:-1]


def explored(repeat, replan_every=1):
    """Random actions ``[200, 20]`` of pendulums, as the environment takes them."""
    changes = {"explore.warmup_action_repeat": repeat, "planner.replan_every": replan_every, "max_steps": 200}
    config = small(MLP | changes | {"replay.capacity": 300}, "Pendulum-v1")
    return np.asarray(_explore(KEY, config, members(config)))


@pytest.mark.parametrize("replan_every", [1, 3])
def test_random_actions_repeat_for_as_long_as_asked(replan_every):
    """Five steps on average, so four of five actions are the last one again."""
    actions = explored(5.0, replan_every)
    assert (actions[1:] == actions[:-1]).mean() == pytest.approx(0.8, abs=0.03)


def test_random_actions_change_every_step_by_default():
    """One does not follow from the other, and they fill their range."""
    actions = explored(1.0)
    assert not (actions[1:] == actions[:-1]).any()
    assert abs(np.corrcoef(actions[1:].ravel(), actions[:-1].ravel())[0, 1]) < 0.05
    assert abs(actions.mean()) < 0.1 and actions.std() == pytest.approx(2 / 3**0.5, rel=0.05)


def test_epsilon_is_the_share_of_random_decisions():
    """A plan of no iterations and no noise is 0, so what is not 0 was drawn at random."""
    config = small(MLP | {"planner.iterations": 0}, "Pendulum-v1")
    built = build_for_planning(config)
    policy = act.make_policy(members(config), config, built, jnp.float32(0.0), jnp.float32(0.3))
    now = timestep(jnp.zeros((1, 3)), action=jnp.zeros((2, 1)))
    keys = jax.random.split(jax.random.key(1), 1000)
    actions, carry, info = jax.jit(jax.vmap(lambda key: policy(key, now)))(keys)
    random = np.asarray(actions)[:, 0, 0] != 0
    assert random.mean() == pytest.approx(0.3, abs=0.05)
    np.testing.assert_array_equal(np.asarray(info["plan_loss"])[:, 0] == 0, random)  # nothing was planned there
    assert carry == ()


# Planning.


def test_the_history_reaches_the_model():
    """The same present is planned for differently after other actions, but not after others before those."""
    config = small(MLP | {"model.history_length": 3})
    actions = jnp.zeros((7, 2), jnp.int32)
    now = [timestep(OBS, 5, a) for a in (actions, actions.at[2:5].set(1), actions.at[:2].set(1))]
    here, there, same = (plans(config, one)[1]["plan_loss"] for one in now)
    assert np.all(here != there)
    np.testing.assert_array_equal(here, same)


def test_a_history_before_the_start_is_empty():
    """-1 throughout, as in the windows of the replay."""
    config = small({"model.history_length": 4})
    codec = build_for_planning(config).codec
    history = act._recent(timestep(OBS, 1).episode, jnp.int32(1), codec, 4)
    assert history.states.shape == (2, 4, codec.state_size) and history.actions.shape == (2, 4, codec.action_size)
    for values in history:
        assert np.all(np.asarray(values[:, :3]) == -1)
    for n in range(2):
        np.testing.assert_allclose(history.states[n, 3], codec.encode_state(OBS[n], jnp.bool_(False)), atol=1e-6)
        np.testing.assert_array_equal(history.actions[n, 3], [1, -1])


@pytest.mark.parametrize("rank_by", ["relaxed", "executed"])
def test_the_plan_that_the_ensemble_likes_best_is_taken(rank_by):
    """Of four starts, compared as they are or as the discrete actions that will be executed, by a loop."""
    config = small(MLP | {"planner.num_starts": 4, "planner.iterations": 0, "planner.rank_starts_by": rank_by})
    out, info = plans(config, timestep(OBS), key=jax.random.key(2))
    noise_key, _ = jax.random.split(jax.random.key(2))
    noise = np.asarray(jax.random.uniform(noise_key, (1, 2, 4, 4, 2), minval=-1, maxval=1))[0]
    starts = np.tanh(noise * np.array([0.0, 1.0, 1.0, 1.0])[:, None, None])
    for n in range(2):
        scores = np.zeros((4, 3))
        for p, e in np.ndindex(4, 3):
            actions = starts[n, p]
            if rank_by == "executed":
                actions = np.float32(2.0 * np.eye(2)[actions.argmax(axis=-1)] - 1.0)
            reward = predictor(config)(member(members(config), e), OBS[n], actions)
            scores[p, e] = np.square(reward - 1.0).mean(-1).sum()
        np.testing.assert_allclose(out.plan[n], starts[n, scores.mean(1).argmin()], rtol=1e-5, atol=1e-6)
        assert float(info["plan_loss"][n]) == pytest.approx(scores.mean(1).min(), rel=1e-4)


def test_the_first_start_has_the_noise_of_the_planner():
    """The others more, unless that is more already."""
    for noise in (0.3, 4.0):
        starts = np.asarray(act._start_plans(jax.random.key(0), (50, 3, 10, 2), jnp.float32(noise)))
        reach = np.abs(starts).max(axis=(0, 2, 3))
        np.testing.assert_allclose(reach, [noise, max(noise, 1.0), max(noise, 1.0)], rtol=0.01)


def test_every_planner_finds_a_plan_of_its_own():
    """From the same start, through the same members."""
    found = []
    for changes in (
        {"planner.kind": "gradient"},
        {"planner.kind": "gradient", "planner.desired_reward": 0.5},
        {"planner.kind": "gradient", "planner.loss": "absolute"},
        {"planner.kind": "shooting"},
        {"planner.kind": "cem"},
        {"planner.kind": "mppi"},
        {"planner.kind": "mppi", "planner.temperature": 10.0},
    ):
        found.append(plans(small(MLP | {"planner.samples": 6} | changes), timestep(OBS), noise=0.5))
    assert is_finite(found)
    assert len({np.asarray(out.plan).tobytes() for out, _ in found}) == len(found)
    assert all(np.all(info["plan_movement"] > 0) for _, info in found)


def test_the_mean_loss_makes_shorter_steps():
    """As many times shorter as a plan has steps."""
    sgd = {"planner.optimizer": "sgd", "planner.lr": 0.1}
    summed = plans(small(MLP | sgd), timestep(OBS), noise=0.5)[0]
    mean = {"reference.mean_plan_loss": True, "planner.lr": 0.4}  # four steps
    averaged = plans(small(MLP | sgd | mean), timestep(OBS), noise=0.5)[0]
    np.testing.assert_allclose(summed.plan, averaged.plan, atol=1e-6)
    np.testing.assert_allclose(summed.score, 4 * averaged.score, rtol=1e-5)


@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_plans_weigh_novelty_against_reward(loss):
    """The error that is descended is that of the reward plus a share of that of the novelty, by either distance."""
    config = small({"target.novelty": True, "planner.novelty_weight": 0.3, "planner.loss": loss})
    predicted = jax.random.normal(KEY, (4, 2))
    weights = act.reward_weights(config.planner, 1)
    distance = jnp.square if loss == "squared" else jnp.abs
    error = plan_error(predicted * weights, act.desired_with_novelty(config.planner, weights), distance)
    slow = (distance(predicted[:, 0] - 1) + 0.3 * distance(predicted[:, 1] - 1)).sum()
    assert float(error) == pytest.approx(float(slow), rel=1e-5)


def test_the_planner_is_told_of_novelty():
    """The loss is that of the weighted predictions."""
    config = small(MLP | {"target.novelty": True, "planner.novelty_weight": 0.3, "planner.iterations": 0})
    out, info = plans(config, timestep(OBS))
    weights = np.asarray(act.reward_weights(config.planner, 1))
    for n in range(2):
        rewards = [np.asarray(predictor(config)(member(members(config), e), OBS[n], out.plan[n])) for e in range(3)]
        losses = [np.square((reward - 1.0) * weights).mean(axis=-1).sum() for reward in rewards]
        assert rewards[0].shape == (4, 2) and float(info["plan_loss"][n]) == pytest.approx(np.mean(losses), rel=1e-4)


def test_several_steps_of_a_plan_are_executed():
    """As many as asked, decoded in order, of every environment."""
    config = small(MLP | {"planner.replan_every": 3})
    built = build_for_planning(config)
    policy = act.make_policy(members(config), config, built, jnp.float32(1.0), jnp.float32(0.0))
    actions = jax.jit(lambda now: policy(KEY, now))(timestep(OBS))[0]
    out, _ = plans(config, timestep(OBS), noise=1.0)
    np.testing.assert_array_equal(actions, np.swapaxes(np.argmax(out.plan[:, :3], axis=-1), 0, 1))


def test_shared_environments_are_planned_for_alike():
    """On four devices, here lanes of a ``vmap``: several starts, histories, and a number that four do not divide."""
    config = small(MLP | {"planner.num_starts": 2, "model.history_length": 2, "planner.replan_every": 4})
    built, obs = build_for_planning(config), jax.random.uniform(jax.random.key(1), (6, 4), minval=-0.2, maxval=0.2)
    policy = act.make_policy(members(config), config, built, jnp.float32(1.0), jnp.float32(0.0))

    def decide(_):
        return policy(jax.random.key(2), timestep(obs, 1))

    one = jax.jit(decide)(None)
    four = jax.jit(jax.vmap(decide, axis_name=spmd.AXIS, axis_size=4))(jnp.arange(4))
    for x, y in zip(*map(jax.tree.leaves, (one, four)), strict=True):
        np.testing.assert_allclose(np.broadcast_to(x, y.shape), y, rtol=1e-5, atol=1e-6)
    assert one[0].std() > 0 and one[2]["plan_loss"].std() > 0
