"""Scales of observations and actions, and running statistics, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rgrl_jax import normalization
from rgrl_jax.types import Box, Discrete

BOXES = [Box(-2.0, 2.0, ()), Box((0.0, -4.0), (1.0, 4.0), (2,)), Box(-1.0, 5.0, (2, 3))]


@given(low=st.floats(-50, 50, width=32), width=st.floats(0.125, 100, width=32), value=st.floats(-3, 3, width=32))
@example(low=0.0, width=1.0, value=-1.0)
@settings(max_examples=100, deadline=None)
def test_scale_and_unscale(low, width, value):
    """Each equals its formula, they undo each other, and values outside the range are not clipped."""
    high = low + width
    raw = low + (value + 1) / 2 * width
    np.testing.assert_allclose(normalization.unscale(jnp.float32(value), low, high), raw, rtol=1e-5, atol=1e-4)
    tolerance = 1e-4 + 4e-5 * abs(low) / width
    np.testing.assert_allclose(normalization.scale(jnp.float32(raw), low, high), value, atol=tolerance)
    encoded = normalization.scale(normalization.unscale(jnp.float32(value), low, high), low, high)
    np.testing.assert_allclose(encoded, value, atol=tolerance)
    assert encoded.dtype == jnp.float32


def test_scale_maps_the_ends_to_minus_one_and_one():
    """Lower end, middle and upper end, exactly; integers become floats."""
    np.testing.assert_array_equal(normalization.scale(jnp.array([-2.0, 1.0, 4.0]), -2.0, 4.0), [-1, 0, 1])
    np.testing.assert_array_equal(normalization.unscale(jnp.array([-1.0, 0.0, 1.0]), -2.0, 4.0), [-2, 1, 4])
    assert normalization.scale(jnp.array([3]), 0, 4).dtype == jnp.float32


@pytest.mark.parametrize(
    "space, obs, vector",
    [
        (Discrete(3), jnp.int32(2), [0, 0, 1]),
        (Box(0.0, 9.0, ()), jnp.int8(7), [7]),
        (Box(0.0, 9.0, (2, 2)), jnp.array([[1, 2], [3, 4]]), [1, 2, 3, 4]),
        (Box(0.0, 1.0, (2,)), jnp.array([True, False]), [1, 0]),
    ],
    ids=repr,
)
def test_observations_become_vectors(space, obs, vector):
    """Their numbers as they are, or one of ``n`` as a 1 among 0, of the size that is announced."""
    flat = normalization.flatten_obs(obs, space)
    np.testing.assert_array_equal(flat, vector)
    assert flat.dtype == jnp.float32 and flat.shape == (normalization.space_size(space),)


@pytest.mark.parametrize("box", BOXES, ids=repr)
def test_actions_survive_the_round_trip(box):
    """-1 and 1 are the bounds, entry by entry, in the shape of the box."""
    low, high = (np.broadcast_to(np.ravel(bound), normalization.space_size(box)) for bound in (box.low, box.high))
    for bound, found in zip((low, high), normalization.bounds(box), strict=True):
        np.testing.assert_array_equal(bound, found)
    size = normalization.space_size(box)
    for entry, expected in ((-1.0, low), (0.0, (low + high) / 2), (1.0, high)):
        action = normalization.to_env_action(jnp.full(size, entry), box)
        assert action.shape == box.shape
        np.testing.assert_allclose(np.ravel(action), expected, atol=1e-6)
    drawn = np.random.default_rng(0).uniform(-1.5, 1.5, size).astype(np.float32)
    back = normalization.from_env_action(normalization.to_env_action(jnp.asarray(drawn), box), box)
    np.testing.assert_allclose(back, drawn, atol=1e-5)


@pytest.mark.parametrize("lanes", [1, 4])
def test_statistics_are_those_of_all_vectors(lanes):
    """However they arrive, and only where an environment is alive."""
    rng = np.random.default_rng(0)
    x = rng.normal(100.0, 3.0, (30, lanes, 2)).astype(np.float32)
    alive = rng.random((30, lanes)) < 0.7
    step = jax.jit(normalization.update_statistics)
    statistics = normalization.init_statistics(2)
    assert statistics.count == 0 and not np.any(statistics.mean) and not np.any(statistics.squares)
    for row, mask in zip(x, alive, strict=True):
        statistics = step(statistics, row, mask)
    seen = x[alive].astype(np.float64)
    assert statistics.count == len(seen)
    np.testing.assert_allclose(statistics.mean, seen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics.squares, seen.var(axis=0) * len(seen), rtol=1e-3)


def test_statistics_of_nothing_stay_as_they_are():
    """Nobody alive: no number changes, also before the first vector."""
    for start in (
        normalization.init_statistics(2),
        normalization.RunningStatistics(jnp.ones(2), jnp.ones(2), jnp.float32(3)),
    ):
        after = normalization.update_statistics(start, jnp.full((3, 2), 9.0), jnp.zeros(3, bool))
        for x, y in zip(jax.tree.leaves(start), jax.tree.leaves(after), strict=True):
            np.testing.assert_array_equal(x, y)
