"""Shards of rows among devices, here lanes of a ``vmap``; what shares them is tested where it is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import words

from rgrl_jax import spmd

DEVICES = 4
MAPPED = functools.partial(jax.vmap, axis_name=spmd.AXIS, axis_size=DEVICES)


@pytest.mark.parametrize("n", [1, 3, 8, 10])
@pytest.mark.parametrize("axis", [0, 1])
def test_shards_cover_all_rows_and_come_back_in_order(n, axis):
    """Against a plain loop: even and uneven numbers, and fewer rows than devices."""
    x = jnp.moveaxis(jnp.arange(3.0 * n).reshape(n, 3), 0, axis)
    shards, whole = MAPPED(lambda _: (spmd.shard(x, axis), spmd.all_gather(spmd.shard(x, axis), n, axis)))(
        jnp.arange(DEVICES)
    )
    size = -(-n // DEVICES)
    for device in range(DEVICES):
        rows = [min(device * size + i, n - 1) for i in range(size)]
        np.testing.assert_array_equal(shards[device], np.take(x, rows, axis))
        np.testing.assert_array_equal(whole[device], x)


def test_trees_and_keys_are_shared_as_well():
    """Leaf by leaf."""
    tree = {"keys": jax.random.split(jax.random.key(0), 6), "steps": (jnp.arange(6), jnp.ones((6, 2), bool))}
    again = MAPPED(lambda _: spmd.all_gather(spmd.shard(tree), 6))(jnp.arange(DEVICES))
    for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(words(y), np.broadcast_to(words(x), words(y).shape))
        assert x.dtype == y.dtype


def test_the_mean_is_over_devices():
    """That of all rows, on each of them."""
    x = jnp.arange(8.0)
    means = MAPPED(lambda _: spmd.pmean({"mean": spmd.shard(x).mean(), "size": spmd.axis_size()}))(
        jnp.arange(DEVICES)
    )
    np.testing.assert_array_equal(means["mean"], np.full(DEVICES, 3.5))
    np.testing.assert_array_equal(means["size"], np.full(DEVICES, DEVICES))


def test_without_the_axis_nothing_changes():
    """The very same arrays, also inside another axis, whatever it is called."""
    x = jnp.arange(3)
    assert spmd.shard(x) is x and spmd.all_gather(x, 2) is x and spmd.pmean(x) is x
    for name in ("seeds", "rows"):
        assert (jax.vmap(lambda x: jnp.float32(spmd.axis_size()), axis_name=name)(x) == 1).all()
