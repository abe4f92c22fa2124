"""One big agent on several devices: each takes its share of the rows of a batch, and all else is done by all alike.

Only what costs is shared: planning, by environments, and the gradient of the weights, by windows. States, episodes
and the replay stay whole on every device; what is sent is one gather per plan and one mean per update. A device has a
share where the program is mapped, by ``shard_map`` or ``vmap``, over an axis called `AXIS`; anywhere else these
functions change nothing. All devices work on the same numbers, so they take the same branches.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, PyTree

AXIS = "rows"


def devices() -> int:
    """How many devices share the rows; 1 outside the axis."""
    try:
        return int(jax.lax.axis_size(AXIS))
    except NameError:  # jax's word for an axis that is not there
        return 1


def share(tree: PyTree, axis: int = 0) -> PyTree:
    """This device's part of leaves ``[..., N, ...]``: ``ceil(N / devices)`` rows, the last one again past the end."""
    if devices() == 1:
        return tree

    def own(x: Array) -> Array:
        size = -(-x.shape[axis] // devices())
        rows = jax.lax.axis_index(AXIS) * size + jnp.arange(size)
        return x[(slice(None),) * axis + (jnp.minimum(rows, x.shape[axis] - 1),)]

    return jax.tree.map(own, tree)


def gather(tree: PyTree, n: int, axis: int = 0) -> PyTree:
    """What all devices made of their shares, in order, as leaves ``[..., N, ...]`` on each of them."""
    if devices() == 1:
        return tree

    def whole(x: Array) -> Array:
        return jax.lax.slice_in_dim(jax.lax.all_gather(x, AXIS, axis=axis, tiled=True), 0, n, axis=axis)

    return jax.tree.map(whole, tree)


def mean(tree: PyTree) -> PyTree:
    """The mean over devices, on each of them; of equal shares it is that of all rows."""
    return tree if devices() == 1 else jax.lax.pmean(tree, AXIS)
