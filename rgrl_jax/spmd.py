"""A single run on several devices: each takes a shard of the rows of a batch, and all else is done by all of them.

Only the costly parts are split: planning, by environments, and the gradient of the weights, by windows. States,
episodes and the replay stay whole on every device; communicated are one gather per plan and one mean per update. A
device has a shard where the program is mapped, by ``shard_map`` or ``vmap``, over an axis called `AXIS`; anywhere
else these functions change nothing. All devices work on the same numbers, so they take the same branches.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, PyTree

AXIS = "rgrl_spmd"


def axis_size() -> int:
    """Returns the number of devices along the axis; 1 outside it."""
    try:
        return int(jax.lax.axis_size(AXIS))
    except NameError:  # jax raises it for an axis that is not there
        return 1


def shard(tree: PyTree, axis: int = 0) -> PyTree:
    """Takes this device's part of leaves ``[..., N, ...]``.

    Args:
      tree: the leaves, the same on every device.
      axis: the axis ``N``.

    Returns:
      Leaves ``[..., ceil(N / devices), ...]``; past the end of ``N`` the last row is repeated.
    """
    if axis_size() == 1:
        return tree

    def own(x: Array) -> Array:
        # Shards of equal size: every device runs the same program, and the repeated rows cost no extra time.
        size = -(-x.shape[axis] // axis_size())
        rows = jax.lax.axis_index(AXIS) * size + jnp.arange(size)
        return x[(slice(None),) * axis + (jnp.minimum(rows, x.shape[axis] - 1),)]

    return jax.tree.map(own, tree)


def all_gather(tree: PyTree, n: int, axis: int = 0) -> PyTree:
    """Puts the shards of all devices together in order, as leaves ``[..., N, ...]`` on each of them.

    Args:
      tree: leaves of the shapes that `shard` returns.
      n: ``N``; repeated rows past it are dropped.
      axis: the axis ``N``.
    """
    if axis_size() == 1:
        return tree

    def whole(x: Array) -> Array:
        return jax.lax.slice_in_dim(jax.lax.all_gather(x, AXIS, axis=axis, tiled=True), 0, n, axis=axis)

    return jax.tree.map(whole, tree)


def pmean(tree: PyTree) -> PyTree:
    """Averages leaves ``[...]`` over the devices, on each of them; of equal shards it is the mean of all rows."""
    return tree if axis_size() == 1 else jax.lax.pmean(tree, AXIS)
