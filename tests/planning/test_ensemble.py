"""Stacked weights: drawing, choosing and counting members."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax.planning import ensemble


def make(key):
    """Weights of a member."""
    return {"w": jax.random.normal(key, (2, 3)), "b": jax.random.uniform(key)}


def test_members_are_those_drawn_one_by_one():
    """`init` draws each from a key of its own, and `select` cuts it out again, by a traced index too."""
    key = jax.random.key(1)
    params = ensemble.init(key, make, 4)
    assert ensemble.size(params) == 4
    for i, own in enumerate(jax.random.split(key, 4)):
        jax.tree.map(np.testing.assert_array_equal, jax.jit(ensemble.select)(params, i), make(own))


def test_draws_are_uniform():
    """Every member about as often as the others, in any shape."""
    drawn = np.asarray(ensemble.draw(jax.random.key(0), jnp.zeros((5, 2)), (100, 50)))
    assert drawn.dtype == np.int32 and drawn.shape == (100, 50)
    np.testing.assert_allclose(np.bincount(drawn.ravel(), minlength=5) / drawn.size, 0.2, atol=0.02)


@pytest.mark.parametrize("params", [{"a": jnp.zeros((2, 3)), "b": jnp.zeros(3)}, (jnp.zeros(2), jnp.zeros(()))])
def test_leaves_of_different_ensembles_are_refused(params):
    with pytest.raises(AssertionError, match="the same member axis"):
        ensemble.size(params)
