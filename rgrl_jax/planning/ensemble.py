"""Ensembles: one pytree of weights with a leading member axis ``E``."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, Key, PyTree


def init(key: Key, init_member: Callable[[Key], PyTree], size: int) -> PyTree:
    """Draws ``size`` members independently. Returns their weights stacked, ``[E, ...]``."""
    return jax.vmap(init_member)(jax.random.split(key, size))


def size(params: PyTree) -> int:
    """Returns the number of members ``E`` of stacked weights ``[E, ...]``.

    Raises:
      AssertionError: the leaves differ in their leading axis.
    """
    leaves = jax.tree.leaves(params)
    chex.assert_equal_shape_prefix(leaves, 1, custom_message="leaves of params need the same member axis [E, ...]")
    return leaves[0].shape[0]


def select(params: PyTree, member: Array) -> PyTree:
    """Returns the weights of one member, ``[E, ...] -> [...]``.

    ``member`` is a traced index. Index before, not inside, loops over time: under ``vmap`` an
    unbatched index is one slice, while a ``lax.switch`` over members would run all of them.
    """
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, member, keepdims=False), params)


def draw(key: Key, params: PyTree, shape: tuple[int, ...]) -> Array:
    """Draws member indices uniformly with replacement, int32 of ``shape``."""
    return jax.random.randint(key, shape, 0, size(params), dtype=jnp.int32)
