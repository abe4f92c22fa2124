"""Repeated actions against plain loops, compiled and on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax import envs
from rgrl_jax.envs.wrappers import repeat_actions
from rgrl_jax.types import Discrete

KEY = jax.random.key(0)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_repeated_actions_are_single_steps_in_a_row(times):
    """Observation, summed reward and end of steps under keys folded with their number, until the episode ends."""
    spec = envs.make("CartPole-v1", 20)
    repeated = jax.jit(repeat_actions(spec, times).step)
    single = jax.jit(spec.step)
    _, state = spec.reset(KEY)
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
    """The limit is rounded up, and the spec without repeats is the spec itself."""
    spec, repeated = envs.make("MountainCar-v0"), envs.make("MountainCar-v0", action_repeat=7)
    assert repeated.max_steps == 29  # 200 / 7, rounded up
    assert repeated.reward_range == (-7.0, 0.0)
    assert (repeated.return_range, repeated.goal) == (spec.return_range, spec.goal)
    assert envs.make("MountainCar-v0", action_repeat=1) is spec


def test_repeated_actions_stop_at_the_environments_own_limit():
    """The last action is repeated less often if the limit is no multiple."""
    spec = envs.make("Pendulum-v1", 10, 4)
    _, state = spec.reset(KEY)
    ends = []
    for t in range(3):
        _, state, _, _, truncated = jax.jit(spec.step)(jax.random.fold_in(KEY, t), state, jnp.float32(0.5))
        ends.append(bool(truncated))
    assert (ends, int(state.time)) == ([False, False, True], 10)


class Counter:
    """A host environment that pays 1, 2, 3, ... and ends by itself or by its limit."""

    def __init__(self, end):
        self.end, self.t, self.closed = end, 0, False

    def reset(self, key):
        """Starts at 0."""
        self.t = 0
        return 0

    def step(self, action):
        """Counts; must not be called after the end."""
        assert self.t < abs(self.end), "stepped after the end"
        self.t += 1
        over = self.t == abs(self.end)
        return self.t, float(self.t), over and self.end > 0, over and self.end < 0

    def render(self):
        """Any picture."""
        return "picture"

    def close(self):
        """Remembers it."""
        self.closed = True


@pytest.mark.parametrize("end", [5, -5])
def test_the_twin_on_the_host(end):
    """Summed rewards up to either end; everything else reaches the environment."""
    made = []

    def make(renderable):
        made.append(renderable)
        return Counter(end)

    arguments = {"observation": Discrete(6), "action": Discrete(2), "reward_range": (0.0, 5.0), "max_steps": 5}
    spec = repeat_actions(envs.host_spec("counter", make, return_range=(0.0, 15.0), **arguments), 2)
    assert (spec.max_steps, spec.reward_range, spec.return_range) == (3, (0.0, 10.0), (0.0, 15.0))
    env = spec.host.make(True)
    assert (made, env.reset(KEY), env.render()) == ([True], 0, "picture")
    steps = [env.step(1) for _ in range(3)]
    assert steps == [(2, 3.0, False, False), (4, 7.0, False, False), (5, 5.0, end > 0, end < 0)]
    env.close()
    assert env.env.closed
