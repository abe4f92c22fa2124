"""Gradient planning as one kernel: all iterations of the plans of a tile of rows in a single launch.

XLA runs a plan as thousands of small operations one after the other, which on a GPU are mostly waiting. Here a
tile of rows does the same in one launch, stage after stage: each is a loop over blocks of a vector that multiplies
blocks of weights, and leaves its result in memory, for the next stage and for going back in time. Numbers are those
of `rgrl_jax.plan` up to rounding: same draws, same equation 1, derivatives of linear maps by hand and of the rest by
`jax.vjp`. Written in Pallas and lowered to Triton, hence the blocks (`rgrl_jax.planning.blocks`); what happens inside
is in `rgrl_jax.planning.tile`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from rgrl_jax import ensemble
from rgrl_jax.models.frame import Frame
from rgrl_jax.planning.blocks import cut, cut_members, pad, tile_rows
from rgrl_jax.planning.gradient import per_member
from rgrl_jax.planning.tile import How, descend_tile, working_memory
from rgrl_jax.types import Array, Key, PyTree, Scalar


def _tiles(x: Array, rows: int, axis: int = 0) -> Array:
    """``[.., plans, n] -> [tiles, .., blocks, rows, block]``, plans at ``axis``, filled up with zeros."""
    plans = pl.cdiv(x.shape[axis], rows) * rows
    x = cut(pad(x, axis, plans))
    x = x.reshape(*x.shape[:axis], plans // rows, rows, *x.shape[axis + 1 :])
    return jnp.moveaxis(jnp.moveaxis(x, axis, 0), axis + 1, -2)


def descend_rows(
    key: Key,
    params: PyTree,
    module: Frame,
    memory: PyTree,
    present: Array,
    start: Array,
    *,
    iterations: int,
    learning_rate: Scalar,
    optimizer: str,
    desired_reward: Scalar,
    factors: Array | float = 1.0,
    reduction: str = "sum",
    step_weights: Array | float = 1.0,
    distance: str = "squared",
    squash: str = "tanh",
    interpret: bool = False,
) -> tuple[Array, Array]:
    """Descends ``B`` plans in one launch; the rows share the draws of members. May be mapped over agents.

    Args:
      key: decides the members drawn, as in `rgrl_jax.plan`; consumed.
      params: members ``[E, ...]`` of a `Frame` around recurrent cells.
      module: that frame.
      memory: what each member remembers before each plan, leaves ``[B, E, L, d]``.
      present: states ``[B, S]``.
      start: ``[B, T, A]``, before the squash.
      iterations: ``K`` >= 1.
      learning_rate: beta.
      optimizer: ``"adam"`` or ``"sgd"``.
      desired_reward: see `rgrl_jax.plan`.
      factors: of predicted rewards, ``[R]``.
      reduction: see `rgrl_jax.plan_error`.
      step_weights: likewise.
      distance: likewise.
      squash: a key of `SQUASHES`.
      interpret: run without a GPU, slowly.

    Returns:
      The plans before the squash ``[B, T, A]``, and their errors before each step ``[B, K]``.
    """
    plans, horizon, actions = start.shape
    how = How(module, squash, distance, optimizer, interpret)
    rows = tile_rows(plans)
    size = module.reward_size
    wishes = jax.vmap(lambda wish: jnp.broadcast_to(wish, (horizon, size)))(per_member(desired_reward, params))
    share = 1.0 / size / (horizon if reduction == "mean" else 1)
    counts = jnp.broadcast_to(jnp.asarray(step_weights)[..., None] * share, (horizon, size))
    parts = jnp.stack(jax.tree.leaves(memory), axis=3)  # [B, E, L, parts, d]
    shared = (
        cut_members(params, module),
        ensemble.draw(key, params, (iterations,)),
        jnp.asarray(learning_rate, jnp.float32).reshape(1),
        cut(wishes),
        cut(counts.astype(jnp.float32)),
        cut(jnp.broadcast_to(jnp.asarray(factors, jnp.float32), (size,))),
    )
    own = (_tiles(present, rows), _tiles(jnp.moveaxis(parts, 0, 3), rows, axis=3), _tiles(start, rows))
    latent, loss = _launch(how, shared, own)
    latent = jnp.moveaxis(latent[:, :, 0], 1, 2).reshape(-1, horizon, latent.shape[-1])
    return latent[:plans, :, :actions], jnp.moveaxis(loss, 1, 2).reshape(-1, iterations)[:plans]


def _launch(how: How, shared: PyTree, own: tuple[Array, ...]) -> tuple[Array, Array]:
    """One program per tile; returns plans ``[tiles, T, 1, rows, block]`` and errors ``[tiles, K, rows]``.

    Args:
      how: what is fixed.
      shared: what all tiles read.
      own: what each reads of its own, ``[tiles, ...]``.
    """
    tiles, horizon, _, rows, _ = own[-1].shape
    iterations = shared[1].shape[0]
    written = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct((tiles, *shape), jnp.float32),
        (own[-1].shape[1:], (iterations, rows), working_memory(how, rows, horizon)),
        is_leaf=lambda x: isinstance(x, tuple) and isinstance(x[0], int),
    )

    def whole(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec(x.shape, lambda tile: (0,) * x.ndim)

    def one(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec((None, *x.shape[1:]), lambda tile: (tile,) + (0,) * (x.ndim - 1))

    latent, loss, _ = pl.pallas_call(
        functools.partial(descend_tile, how),
        grid=(tiles,),
        in_specs=(*jax.tree.map(whole, shared), *jax.tree.map(one, own)),
        out_specs=jax.tree.map(one, written),
        out_shape=written,
        interpret=how.interpret,
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=2),
        name="plan",
    )(*shared, *own)
    return latent, loss
