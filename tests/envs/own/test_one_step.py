"""Tasks of one step against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax import envs
from rgrl_jax.envs import own


@pytest.mark.parametrize("k", [4, 5])
def test_multiplexer(k):
    """The addressed bit, read out in NumPy; right answers pay 1 and wrong ones -1; every bit is even."""
    spec = envs.make(f"Multiplexer-{k}")
    keys = jax.random.split(jax.random.key(0), 400)
    obs, states = jax.vmap(spec.reset)(keys)
    obs = np.asarray(obs)
    assert obs.shape == (400, k + 2**k) and set(np.unique(obs)) == {-1.0, 1.0}
    assert np.abs(obs.mean(axis=0)).max() < 0.2
    address = [int("".join("1" if bit > 0 else "0" for bit in row[:k]), 2) for row in obs]
    assert len(set(address)) == 2**k
    right = np.array([row[k + place] > 0 for row, place in zip(obs, address, strict=True)])
    for action in (0, 1):
        after, _, reward, terminated, truncated = jax.vmap(spec.step, in_axes=(0, 0, None))(keys, states, action)
        np.testing.assert_array_equal(reward, np.where(right == action, 1.0, -1.0))
        np.testing.assert_array_equal(after, obs)
        assert np.all(terminated) and not np.any(truncated)


def test_scalar_regression():
    """The network in NumPy in float64; far answers count as the nearest allowed one."""
    spec, env = envs.make("ScalarRegression"), own.ScalarRegression()
    keys = jax.random.split(jax.random.key(0), 300)
    obs, states = jax.vmap(spec.reset)(keys)
    hidden = np.maximum(np.asarray(obs, np.float64) @ env.first, 0)
    target = np.maximum(hidden @ env.second, 0)
    np.testing.assert_allclose(states.target, target, rtol=1e-4, atol=1e-4)
    assert 0.5 < (target > 0).mean() < 1 and target.std() > 1
    for answer in (0.0, 3.5, 1e4):
        *_, reward, terminated, _ = jax.vmap(spec.step, in_axes=(0, 0, None))(keys, states, jnp.float32(answer))
        np.testing.assert_allclose(reward, -((min(answer, 100.0) - target) ** 2), rtol=1e-4, atol=1e-4)
        assert np.all(terminated)
    again = jax.vmap(own.ScalarRegression().sample_task)(keys)[1]
    np.testing.assert_array_equal(again, states.target)
