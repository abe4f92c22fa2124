"""Schedules against a Python loop and the paper's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgrl_jax.schedules import annealed_with_reset, linear

ANNEALED = jax.jit(annealed_with_reset, static_argnums=3)


def _by_hand(steps: int, initial: float, decay: float, cycle: int) -> list[float]:
    """Multiplies step by step and starts anew after every ``cycle`` values."""
    values, value = [], initial
    for step in range(steps):
        if step % cycle == 0:
            value = initial
        values.append(value)
        value *= decay
    return values


@pytest.mark.parametrize("cycle", [1, 3, 10])
@given(initial=st.floats(0, 10, width=32), decay=st.floats(0, 1, width=32))
@settings(max_examples=30, deadline=None)
def test_equals_a_loop(cycle: int, initial: float, decay: float) -> None:
    """Three cycles and a bit, at once over an array of steps."""
    steps = 3 * cycle + 2
    values = ANNEALED(jnp.arange(steps), initial, decay, cycle)
    np.testing.assert_allclose(values, _by_hand(steps, initial, decay, cycle), rtol=1e-5, atol=1e-30)


def test_papers_values() -> None:
    """Sigma of the paper: 5, 2.5, ..., 0.0098 and then 5 again."""
    values = ANNEALED(jnp.arange(12), 5.0, 0.5, 10)
    paper = [5, 2.5, 1.25, 0.625, 0.3125, 0.15625, 0.078125, 0.0390625, 0.01953125, 0.009765625, 5, 2.5]
    np.testing.assert_array_equal(values, np.float32(paper))


def test_ends_of_the_decay() -> None:
    """A decay of 1 keeps the value, a decay of 0 leaves the first step of each cycle only."""
    np.testing.assert_array_equal(ANNEALED(jnp.arange(5), 2.0, 1.0, 2), [2, 2, 2, 2, 2])
    np.testing.assert_array_equal(ANNEALED(jnp.arange(5), 2.0, 0.0, 2), [2, 0, 2, 0, 2])


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_keeps_the_shape_of_the_step(shape: tuple[int, ...]) -> None:
    """The value has the shape of the step, and a float type even for integer arguments."""
    value = ANNEALED(jnp.zeros(shape, jnp.int32), 5, 1, 10)
    assert value.shape == shape
    assert jnp.issubdtype(value.dtype, jnp.floating)


def test_maps_over_every_float() -> None:
    """Floats may be traced: a grid of settings is one ``vmap``."""
    initial, decay = jnp.array([1.0, 4.0]), jnp.array([0.5, 0.25])
    grid = jax.vmap(lambda i, d: annealed_with_reset(jnp.int32(2), i, d, 10))(initial, decay)
    np.testing.assert_allclose(grid, [0.25, 0.25])


def test_linear() -> None:
    """A straight line and then a constant, for a whole array of steps and for traced arguments."""
    steps = jnp.array([0, 1, 2, 4, 9])
    np.testing.assert_allclose(linear(steps, 1.0, 3.0, 4.0), [1.0, 1.5, 2.0, 3.0, 3.0])
    np.testing.assert_allclose(jax.jit(jax.vmap(linear, (0, None, None, None)))(steps, 3.0, 1.0, 2), [3, 2, 1, 1, 1])
