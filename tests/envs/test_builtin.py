"""Every registered environment in the normal form, against the gymnax environment that it wraps."""

import functools
import itertools
from typing import Any

import gymnasium
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax import envs
from rgrl_jax.envs import EnvSpec, own
from rgrl_jax.types import Box, Discrete

STEPS = 60
LIMITS = {
    "CartPole-v1": 500,
    "Acrobot-v1": 500,
    "MountainCar-v0": 200,
    "MountainCarContinuous-v0": 999,
    "MountainCarContinuous-gymnasium": 999,
    "Pendulum-v1": 200,
    "Reacher-misc": 100,
    "PointRobot-misc": 100,
    "Swimmer-misc": 500,
    "FrozenLake-misc": 100,
    "FrozenLake-deterministic": 100,
    "Catch-bsuite": 10,
    "Breakout-MinAtar": 1000,
    "Blackjack-v1": 20,
    "DoorKey-5x5": 250,
    "DoorKey-5x5-full": 250,
    "Multiplexer-4": 1,
    "Multiplexer-5": 1,
    "ScalarRegression": 1,
}
ONE_STEP = ("Multiplexer-4", "Multiplexer-5", "ScalarRegression")  # over after any action
MADE = {
    "MountainCarContinuous-gymnasium": own.GymnasiumMountainCarContinuous,
    "FrozenLake-deterministic": lambda: gymnax.make("FrozenLake-misc", is_slippery=False)[0],
    "Blackjack-v1": own.Blackjack,
    "DoorKey-5x5": own.DoorKey,
    "DoorKey-5x5-full": own.DoorKeyFull,
    "Multiplexer-4": lambda: own.Multiplexer(4),
    "Multiplexer-5": lambda: own.Multiplexer(5),
    "ScalarRegression": own.ScalarRegression,
}


@pytest.fixture(params=envs.names())
def env_id(request: pytest.FixtureRequest) -> str:
    """Each registered environment in turn."""
    return request.param


def _random_actions(spec: EnvSpec, key: jax.Array, count: int) -> jax.Array:
    if isinstance(spec.action, Discrete):
        return jax.random.randint(key, (count,), 0, spec.action.n)
    low, high = np.float32(spec.action.low), np.float32(spec.action.high)
    return jax.random.uniform(key, (count, *spec.action.shape), minval=low, maxval=high)


@functools.cache
def _walk(env_id: str) -> tuple[Any, Any]:
    """``STEPS`` random steps through the spec and through gymnax, with the same keys: both ``(start, steps)``."""
    spec = envs.make(env_id)
    env = MADE[env_id]() if env_id in MADE else gymnax.make(env_id)[0]
    params = env.default_params.replace(max_steps_in_episode=spec.max_steps)
    reset_key, action_key, step_key = jax.random.split(jax.random.key(0), 3)
    inputs = (jax.random.split(step_key, STEPS), _random_actions(spec, action_key, STEPS))

    def through_spec(state: Any, x: tuple[Any, Any]) -> tuple[Any, Any]:
        out = spec.step(x[0], state, x[1])
        return out[1], out

    def through_gymnax(state: Any, x: tuple[Any, Any]) -> tuple[Any, Any]:
        obs, state, reward, terminated, _ = env.step_env(x[0], state, x[1], params)
        return state, (obs, state, reward, terminated, env.is_truncated(state, params))

    @jax.jit
    def both(inputs: Any) -> Any:
        obs, state = spec.reset(reset_key)
        obs_, state_ = env.reset_env(reset_key, params)
        ours = jax.lax.scan(through_spec, jax.tree.map(jnp.asarray, state), inputs)[1]
        theirs = jax.lax.scan(through_gymnax, jax.tree.map(jnp.asarray, state_), inputs)[1]
        return ((obs, state), ours), ((obs_, state_), theirs)

    return jax.tree.map(np.asarray, both(inputs))


def test_equals_gymnax(env_id: str) -> None:
    """Observations, states, rewards and ends of 60 random steps; a true end is never a truncation as well."""
    (start, ours), (start_, theirs) = _walk(env_id)
    jax.tree.map(np.testing.assert_array_equal, start, start_)
    jax.tree.map(np.testing.assert_array_equal, ours[:4], theirs[:4])
    np.testing.assert_array_equal(ours[4], theirs[4] & ~theirs[3])


def test_shapes_and_types(env_id: str) -> None:
    """Observations fit the announced space; rewards are float32 scalars and ends are booleans."""
    spec = envs.make(env_id)
    ((first, _), (obs, _, reward, terminated, truncated)), _ = _walk(env_id)
    assert first.shape == obs.shape[1:] and first.dtype == obs.dtype
    if isinstance(spec.observation, Discrete):
        assert obs.shape == (STEPS,) and np.issubdtype(obs.dtype, np.integer)
        assert obs.min() >= 0 and obs.max() < spec.observation.n
    else:
        assert obs.shape == (STEPS, *spec.observation.shape) and obs.dtype in (np.float32, bool)
        assert (obs.dtype == bool) == ((spec.observation.low, spec.observation.high) == (0, 1)), (
            "bits are stored as bits"
        )
    assert (reward.shape, reward.dtype) == ((STEPS,), np.float32)
    assert (terminated.shape, terminated.dtype) == (truncated.shape, truncated.dtype) == ((STEPS,), np.bool_)
    assert isinstance(spec.max_steps, int)


def test_ranges(env_id: str) -> None:
    """Rewards lie in the announced range, and so do observations until the episode ends."""
    spec = envs.make(env_id)
    (_, (obs, _, reward, terminated, _)), _ = _walk(env_id)
    low, high = spec.reward_range
    assert low < high and spec.return_range[0] < spec.return_range[1]
    alive = np.arange(STEPS) <= (np.argmax(terminated) if terminated.any() else STEPS)
    assert np.all((reward[alive] >= low - 1e-5) & (reward[alive] <= high + 1e-5))
    if isinstance(spec.observation, Box):
        below, above = (np.ravel(bound) for bound in (spec.observation.low, spec.observation.high))
        flat = obs[alive].reshape(alive.sum(), -1)
        assert np.all(below < above)
        assert np.all((flat >= below - 1e-5) & (flat <= above + 1e-5))


@pytest.mark.parametrize("env_id", MADE)
def test_batches_are_loops(env_id: str) -> None:
    """``jit(vmap(...))`` of reset and step equals single calls with the same keys."""
    spec = envs.make(env_id)
    keys = jax.random.split(jax.random.key(1), 3)
    actions = _random_actions(spec, jax.random.key(2), 3)

    def one(key: jax.Array, action: jax.Array) -> Any:
        obs, state = spec.reset(key)
        return obs, spec.step(key, state, action)

    batch, single = jax.jit(jax.vmap(one))(keys, actions), jax.jit(one)
    for i in range(3):
        alone = single(keys[i], actions[i])
        jax.tree.map(lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-6, atol=1e-6), batch, alone)


@pytest.mark.parametrize("max_steps", [None, 4])
def test_truncation_at_the_step_limit(env_id: str, max_steps: int | None) -> None:
    """One step before the limit nothing happens; at the limit an episode that has not ended is cut off."""
    spec = envs.make(env_id, max_steps)
    limit = max_steps or LIMITS[env_id]  # a new environment needs its own in this file
    assert spec.max_steps == limit
    key = jax.random.key(5)

    @jax.jit
    def at(time: jax.Array) -> Any:
        _, state = spec.reset(key)
        action = _random_actions(spec, key, 1)[0]
        if env_id == "Blackjack-v1":
            action = jnp.int32(1)  # sticking ends the game, while one card more than this key's total of 5 cannot
        time = time.astype(jnp.asarray(state.time).dtype)  # some count in floats
        return spec.step(key, state.replace(time=time), action)[3:]

    over = env_id in ONE_STEP
    assert [bool(x) for x in at(jnp.int32(limit - 2))] == [over, False]
    assert [bool(x) for x in at(jnp.int32(limit - 1))] == [over, not over]


def test_catch_ends_before_its_limit() -> None:
    """The ball reaches the floor at the ninth step, inside the limit of ten."""
    (_, (_, _, _, terminated, truncated)), _ = _walk("Catch-bsuite")
    assert int(np.argmax(terminated)) == 8
    assert not truncated[:9].any()


@pytest.mark.parametrize(("name", "worst"), [("Acrobot-v1", -7.0), ("MountainCar-v0", -7.0), ("CartPole-v1", 0.0)])
def test_return_range_follows_the_limit(name: str, worst: float) -> None:
    """With seven steps no more than seven can be won or lost."""
    assert envs.make(name, 7).return_range == (worst, 7.0 if name == "CartPole-v1" else 0.0)


def _signal(env_id: str, reward: float, obs: Any, end: bool) -> float:
    value = envs.make(env_id).reference.reward(jnp.float32(reward), obs, jnp.bool_(end))
    assert (value.shape, value.dtype) == ((), jnp.float32)
    return float(value)


def test_reference_signals() -> None:
    """Rewards that the authors' models learn: Acrobot's end, MountainCar's position, FrozenLake's nearness."""
    low, high = envs.make("Acrobot-v1").reference.reward_range
    assert _signal("Acrobot-v1", 0.0, jnp.zeros(6), True) >= high
    assert _signal("Acrobot-v1", -1.0, jnp.zeros(6), False) <= low
    assert _signal("MountainCar-v0", -1.0, jnp.array([-0.25, 0.01]), False) == -0.25
    lake = [_signal("FrozenLake-misc", float(cell == 15), jnp.int32(cell), cell == 15) for cell in (0, 1, 9, 14, 15)]
    assert lake == sorted(lake) and lake[0] < 0 and lake[-1] == 1
    assert lake[3] == pytest.approx(1 - 1 / 4.24, abs=0.011)
    assert envs.make("CartPole-v1").reference is None


def test_reference_bounds() -> None:
    """MountainCar's model sees -0.6..0.6 only; the other environments keep their native bounds."""
    car = envs.make("MountainCar-v0").reference
    assert (car.observation.low, car.observation.high, car.reward_range) == ((-0.6, -0.1), (0.6, 0.1), (-0.6, 0.6))
    for name in ("Acrobot-v1", "FrozenLake-misc"):
        assert envs.make(name).reference.observation == envs.make(name).observation


@pytest.mark.parametrize("env_id, slippery", [("FrozenLake-misc", True), ("FrozenLake-deterministic", False)])
def test_frozen_lake_equals_gymnasiums_table(env_id, slippery):
    """Chances, rewards and ends of every action in every cell that an episode does not end in; limit and optimum."""
    spec, original = envs.make(env_id), gymnasium.make("FrozenLake-v1", is_slippery=slippery)
    table, draws = original.unwrapped.P, 3000 if slippery else 1
    _, state = spec.reset(jax.random.key(0))

    def step(cell, action, key):
        obs, _, reward, terminated, _ = spec.step(key, state.replace(position=cell), action)
        return obs, reward, terminated

    for axes in ((None, None, 0), (None, 0, None), (0, None, None)):
        step = jax.vmap(step, axes)
    keys = jax.random.split(jax.random.key(1), draws)
    to, reward, terminated = (np.asarray(x) for x in jax.jit(step)(jnp.arange(16), jnp.arange(4), keys))
    value = np.zeros(16)
    for cell, action in itertools.product(range(16), range(4)):
        if cell in (5, 7, 11, 12, 15):
            continue  # Gymnasium stays there for ever; gymnax would walk on, but an episode has ended before
        chance = np.zeros(16)
        for p, target, pay, end in table[cell][action]:
            chance[target] += p
            here = to[cell, action] == target
            assert here.any() and np.all(reward[cell, action][here] == pay)
            assert np.all(terminated[cell, action][here] == end)
        share = np.bincount(to[cell, action], minlength=16) / draws
        np.testing.assert_array_equal(share > 0, chance > 0)
        np.testing.assert_allclose(share, chance, atol=0.045 if slippery else 1e-9)  # five standard deviations
    for _ in range(spec.max_steps):
        value = np.array(
            [
                max(sum(p * (r + (not end) * value[n]) for p, n, r, end in table[s][a]) for a in range(4))
                for s in range(16)
            ]
        )
    assert value[0] == pytest.approx(0.74 if slippery else 1.0, abs=0.01)
    assert spec.max_steps == original.spec.max_episode_steps == 100
    assert spec.goal == (original.spec.reward_threshold if slippery else 1.0)
