"""Episodes of a counter whose every number is known, against a Python loop."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax.envs import EnvSpec
from rgrl_jax.rollout import Actor, Policy, Timestep, env_states, episode_metrics, rollout
from rgrl_jax.types import Array, Box, Discrete, Episode, Key

LIMIT = 6  # step limit of the counter
N = 12


class Counter(NamedTuple):
    """Steps taken, and the step that ends the episode; beyond the limit for episodes that are cut off."""

    count: Array
    end: Array


def _reset(key: Key) -> tuple[Array, Counter]:
    state = Counter(jnp.int32(0), jax.random.randint(key, (), 1, LIMIT + 3))
    return _observe(state, jnp.float32(0)), state


def _observe(state: Counter, noise: Array) -> Array:
    return jnp.stack([state.count, state.end, noise]).astype(jnp.float32)


def _step(key: Key, state: Counter, action: Array) -> tuple[Array, Counter, Array, Array, Array]:
    """Pays 10 a step plus the action, for ever; ``terminated`` is true at the end only, not after it."""
    state = state._replace(count=state.count + 1)
    terminated = state.count == state.end
    truncated = (state.count >= LIMIT) & ~terminated
    noise = jax.random.uniform(key)
    return _observe(state, noise), state, 10.0 + action.astype(jnp.float32), terminated, truncated


SPEC = EnvSpec(
    env_id="counter",
    reset=_reset,
    step=_step,
    observation=Box(0.0, 1.0, (3,)),
    action=Discrete(100),
    reward_range=(0.0, 10.0),
    max_steps=LIMIT,
    return_range=(0.0, 100.0),
)


def _policy(steps: int) -> Policy:
    """Plays 3, 4, 5, ... times one plus the present count; reports when it was asked and what it saw."""

    def policy(key: Key, timestep: Timestep) -> tuple[Array, Any, Any]:
        episode, t = timestep.episode, timestep.t
        count = episode.obs[t, :, 0].astype(jnp.int32)
        actions = (jnp.arange(steps)[:, None] + 3) * (count + 1)
        later = jnp.arange(LIMIT + 1) > t
        future = jnp.abs(jnp.where(later[:, None, None], episode.obs, 0)).max(axis=(0, 2))
        future += jnp.where((jnp.arange(LIMIT + 1) >= t)[:, None], episode.action, 0).max(axis=0)
        draw = jnp.broadcast_to(jax.random.uniform(key), count.shape)
        return actions, (), {"time": jnp.full(count.shape, t, jnp.float32), "future": future, "draw": draw}

    return policy


@functools.cache
def _played(steps: int) -> Episode:
    """``N`` episodes with ``steps`` actions per plan."""
    run = jax.jit(lambda key: rollout(SPEC, Actor(key, _policy(steps), N))[0])
    return jax.tree.map(np.asarray, run(jax.random.key(0)))


def _by_hand(end: int, steps: int) -> tuple[list[int], list[float], list[int], bool]:
    """Counts, rewards, planning times and ``terminated`` of one episode, in a plain loop."""
    counts, rewards, asked = [0], [], []
    while True:
        asked.append(counts[-1])
        seen = counts[-1]
        for i in range(steps):
            rewards.append(10.0 + (i + 3) * (seen + 1))
            counts.append(counts[-1] + 1)
            if counts[-1] == end:
                return counts, rewards, asked, True
            if counts[-1] == LIMIT:
                return counts, rewards, asked, False


def _ends(episode: Episode) -> list[int]:
    return [int(end) for end in episode.obs[0, :, 1]]


def test_the_sample_holds_every_case() -> None:
    """The episodes of this file end by themselves at several lengths, at the limit, and by the limit."""
    ends = _ends(_played(1))
    assert len(set(ends)) >= 5 and LIMIT in ends and max(ends) > LIMIT and min(ends) <= 2


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_episodes_equal_a_loop(steps: int) -> None:
    """Lengths, ends, observations, actions and rewards; with several steps per plan it may stop in mid-plan."""
    episode = _played(steps)
    for lane, end in enumerate(_ends(episode)):
        counts, rewards, _, terminated = _by_hand(end, steps)
        n = len(rewards)
        assert episode.length[lane] == n
        assert (episode.terminated[lane], episode.truncated[lane]) == (terminated, not terminated)
        np.testing.assert_array_equal(episode.obs[: n + 1, lane, 0], counts)
        np.testing.assert_array_equal(episode.action[:n, lane], np.array(rewards) - 10)
        np.testing.assert_array_equal(episode.reward[:n, lane], rewards)
        assert not episode.reward[n:, lane].any(), "an episode that has ended is paid no more"
        assert episode.episode_return[lane] == sum(rewards)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_info_is_averaged_over_the_plans_of_each_episode(steps: int) -> None:
    """The mean of the times at which each environment was planned for while it was alive."""
    episode = _played(steps)
    asked = [np.mean(_by_hand(end, steps)[2]) for end in _ends(episode)]
    np.testing.assert_allclose(episode.info["time"], asked, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_policy_sees_the_past_only(steps: int) -> None:
    """Whenever it is asked, the rows after ``t`` are still blank."""
    assert not _played(steps).info["future"].any()


def test_shapes_and_types() -> None:
    """As the docstring of `Episode` has them."""
    episode = _played(1)
    assert (episode.obs.shape, episode.obs.dtype) == ((LIMIT + 1, N, 3), np.float32)
    assert (episode.action.shape, episode.action.dtype) == ((LIMIT + 1, N), np.int32)
    assert (episode.reward.shape, episode.reward.dtype) == ((LIMIT + 1, N), np.float32)
    assert (episode.length.shape, episode.length.dtype) == ((N,), np.int32)
    assert episode.terminated.dtype == episode.truncated.dtype == bool
    assert episode.info["time"].shape == (N,)


def test_keys_are_per_environment_and_step() -> None:
    """Unbatched calls with the documented keys give the same transitions; the policy's draws are shared."""
    episode = _played(1)
    reset_key, env_key, policy_key = jax.random.split(jax.random.key(0), 3)
    env_keys = jax.random.split(env_key, N)
    for lane, key in enumerate(jax.random.split(reset_key, N)):
        assert int(_reset(key)[1].end) == episode.obs[0, lane, 1]
        n = episode.length[lane]
        noise = [float(jax.random.uniform(jax.random.fold_in(env_keys[lane], t))) for t in range(n)]
        np.testing.assert_allclose(episode.obs[1 : n + 1, lane, 2], noise)
        draws = [float(jax.random.uniform(jax.random.fold_in(policy_key, t))) for t in range(n)]
        np.testing.assert_allclose(episode.info["draw"][lane], np.mean(draws), rtol=1e-5)


def test_noise_differs_everywhere() -> None:
    """No two transitions of one call share a random number."""
    episode = _played(1)
    noise = [x for lane, n in enumerate(episode.length) for x in episode.obs[1 : n + 1, lane, 2]]
    assert len(set(noise)) == len(noise)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_loop_stops_with_the_last_environment(steps: int) -> None:
    """The policy is asked as often as the longest episode needs, and not once more."""
    asked = []

    def policy(key: Key, timestep: Timestep) -> tuple[Array, Any, Any]:
        jax.debug.callback(lambda t: asked.append(int(t)), timestep.t)
        return _policy(steps)(key, timestep)

    short = dataclasses.replace(SPEC, reset=_short_reset)
    episode = jax.jit(lambda key: rollout(short, Actor(key, policy, 4))[0])(jax.random.key(0))
    jax.effects_barrier()
    longest = int(episode.length.max())
    assert longest < LIMIT
    assert sorted(asked) == list(range(0, longest, steps))


def _short_reset(key: Key) -> tuple[Array, Counter]:
    state = Counter(jnp.int32(0), jax.random.randint(key, (), 1, 4))
    return _observe(state, jnp.float32(0)), state


def test_one_environment_is_the_default() -> None:
    """``num_envs`` defaults to a batch of one, which plays like any other lane."""
    episode = jax.jit(lambda key: rollout(SPEC, Actor(key, _policy(1)))[0])(jax.random.key(3))
    assert episode.reward.shape == (LIMIT + 1, 1)
    _, rewards, _, _ = _by_hand(int(episode.obs[0, 0, 1]), 1)
    assert float(episode.episode_return[0]) == sum(rewards)


def test_rollouts_map_over_keys() -> None:
    """``vmap`` over keys is a loop over keys, although lanes end at different times."""
    keys = jax.random.split(jax.random.key(4), 3)
    run = jax.jit(lambda key: rollout(SPEC, Actor(key, _policy(2), 2))[0])
    mapped = jax.jit(jax.vmap(run))(keys)
    for i, key in enumerate(keys):
        jax.tree.map(lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-6), mapped, run(key))


def test_env_states_retrace_an_episode() -> None:
    """The states that a rollout passed through, from its key and actions alone."""
    episode = _played(1)
    states = jax.jit(lambda key, episode: env_states(key, SPEC, episode))(jax.random.key(0), episode)
    assert states.count.shape == (LIMIT + 1, N)
    for lane, n in enumerate(episode.length):
        np.testing.assert_array_equal(states.count[: n + 1, lane], np.arange(n + 1))
        np.testing.assert_array_equal(states.end[: n + 1, lane], episode.obs[0, lane, 1])


def test_box_actions_and_image_observations() -> None:
    """Buffers take the shapes of observation and action, whatever they are."""

    def step(key: Key, state: Array, action: Array) -> tuple[Array, Array, Array, Array, Array]:
        state = state + 1
        return jnp.full((2, 3), state, jnp.int8), state, action.sum(), jnp.bool_(False), state == 2

    def reset(key: Key) -> tuple[Array, Array]:
        return jnp.zeros((2, 3), jnp.int8), jnp.int32(0)

    spec = dataclasses.replace(SPEC, reset=reset, step=step, action=Box(-1.0, 1.0, (2,)), max_steps=2)
    actions = jnp.broadcast_to(jnp.array([0.5, 0.25]), (1, 3, 2))
    episode = jax.jit(lambda key: rollout(spec, Actor(key, lambda key, timestep: (actions, (), ()), 3))[0])(
        jax.random.key(0)
    )
    assert (episode.obs.shape, episode.obs.dtype) == ((3, 3, 2, 3), jnp.int8)
    assert episode.action.shape == (3, 3, 2)
    np.testing.assert_array_equal(episode.action[:2], np.broadcast_to([0.5, 0.25], (2, 3, 2)))
    np.testing.assert_array_equal(episode.episode_return, [1.5] * 3)
    assert np.all(episode.truncated) and not np.any(episode.terminated)


def test_a_policy_gets_back_its_carry() -> None:
    """As it returned it the last time, the actor's at first; `rollout` returns the last one."""

    def policy(key: Key, timestep: Timestep) -> tuple[Array, Any, Any]:
        count = timestep.carry + 1
        return jnp.zeros((2, N), jnp.int32), count, {"asked": jnp.full(N, count, jnp.float32)}

    episode, carry = jax.jit(lambda key: rollout(SPEC, Actor(key, policy, N, jnp.int32(4))))(jax.random.key(0))
    decisions = -(-np.asarray(episode.length) // 2)
    assert int(carry) == 4 + decisions.max()
    np.testing.assert_allclose(episode.info["asked"], 4 + (decisions + 1) / 2)


def test_an_actor_may_say_what_its_policy_reports() -> None:
    """Then the policy is traced once, and the numbers are the same."""
    traced = []

    def policy(key: Key, timestep: Timestep) -> tuple[Array, Any, Any]:
        traced.append(timestep)
        return _policy(1)(key, timestep)

    info = {name: jnp.zeros(N) for name in ("time", "future", "draw")}
    episode = jax.jit(lambda key: rollout(SPEC, Actor(key, policy, N, info=info))[0])(jax.random.key(0))
    assert len(traced) == 1
    jax.tree.map(np.testing.assert_array_equal, episode, _played(1))


def test_padding_goes_on_behind_a_true_end() -> None:
    """Steps behind it are recorded, but neither paid nor counted; an episode that was cut off does not go on."""

    def policy(key: Key, timestep: Timestep) -> tuple[Array, Any, Any]:
        return jnp.full((1, N), 1 + timestep.t), (), ()

    def play(padding: int) -> Episode:
        run = jax.jit(lambda key: rollout(SPEC, Actor(key, policy, N, padding=padding))[0])
        return jax.tree.map(np.asarray, run(jax.random.key(0)))

    episode, plain = play(2), play(0)
    assert episode.obs.shape == (LIMIT + 3, N, 3)
    for name in ("length", "terminated", "truncated", "episode_return"):
        np.testing.assert_array_equal(getattr(episode, name), getattr(plain, name))
    for lane, n in enumerate(plain.length):
        np.testing.assert_array_equal(episode.obs[: n + 1, lane], plain.obs[: n + 1, lane])
        np.testing.assert_array_equal(episode.reward[:n, lane], plain.reward[:n, lane])
        assert not episode.reward[n:, lane].any()
        end = n + 2 * plain.terminated[lane]
        np.testing.assert_array_equal(episode.obs[: end + 1, lane, 0], np.arange(end + 1))
        np.testing.assert_array_equal(episode.action[:end, lane], np.arange(1, end + 1))
        assert not episode.obs[end + 1 :, lane].any() and not episode.action[end:, lane].any()


def test_a_row_of_metrics() -> None:
    """Means over the environments; the length is a whole number, and all must have ended by themselves."""
    episode = _played(1)
    counts = {"episodes": jnp.int32(3), "env_steps": jnp.int32(40), "loss": jnp.float32(0.5)}
    row = episode_metrics(jax.tree.map(jnp.asarray, episode), **counts, info={"kl": jnp.float32(2.0)})
    assert float(row.episode_return) == pytest.approx(episode.reward.sum() / N)
    assert (int(row.episode_length), row.episode_length.dtype) == (episode.length.sum() // N, jnp.int32)
    assert not row.terminated and episode.terminated.any()
    assert [float(row.columns()[name]) for name in ("episode", "env_steps", "model_loss", "kl")] == [3, 40, 0.5, 2]
    ended = episode.replace(terminated=np.ones(N, bool))
    assert episode_metrics(jax.tree.map(jnp.asarray, ended), **counts).terminated
