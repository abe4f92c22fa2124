"""Gradient planning as one kernel: all iterations of the plans of a tile of rows in a single launch.

XLA runs a plan as thousands of small operations one after the other, which on a GPU are mostly waiting. Here a
tile of rows does the same in one launch, stage after stage: each is a loop over blocks of a vector that multiplies
blocks of weights, and leaves its result in memory, for the next stage and for going back in time. Numbers are those
of `rgrl_jax.plan` up to rounding: same draws, same equation 1, derivatives of linear maps by hand and of the rest by
`jax.vjp`. Written in Pallas and lowered to Triton, hence the blocks (`rgrl_jax.contrib.planning_kernel.blocks`); the
stages are in `rgrl_jax.contrib.planning_kernel.tile`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from rgrl_jax.algos.rgrl.models.recurrent import Recurrent
from rgrl_jax.algos.rgrl.models.sequence_model import SequenceModel
from rgrl_jax.contrib.planning_kernel.blocks import CELLS, LARGEST, cut, cut_members, cut_rows
from rgrl_jax.contrib.planning_kernel.tile import Settings, descend_tile, working_memory
from rgrl_jax.planning import ensemble
from rgrl_jax.types import Array, Key, PyTree, Scalar

WEIGHTS = 1_000_000
"""Weights of a member above which XLA's products are large enough to do without the kernel; a guess."""

TILES = 132
"""Tiles that run at once, one per multiprocessor of an H200; more rows than that make tiles larger."""


def descend_rows(
    key: Key,
    params: PyTree,
    module: SequenceModel,
    memory: PyTree,
    present: Array,
    start: Array,
    *,
    iterations: int,
    learning_rate: Scalar,
    optimizer: str = "adam",
    desired_reward: Scalar = 1.0,
    distance: Callable[[Array], Array] = jnp.square,
    interpret: bool = False,
) -> tuple[Array, Array]:
    """Descends ``B`` plans in one launch; the rows share the draws of members. May be mapped over agents.

    The loss is `rgrl_jax.planning.plan_error` with ``distance``, summed over steps; the squash is tanh.

    Args:
      key: decides the members drawn, as in `rgrl_jax.plan`; consumed.
      params: members ``[E, ...]`` of ``module``.
      module: a `SequenceModel` around recurrent cells.
      memory: what each member remembers before each plan, leaves ``[B, E, L, d]``.
      present: encoded states ``[B, S]``.
      start: ``[B, T, A]``, before the squash.
      iterations: ``K`` >= 1.
      learning_rate: step size beta.
      optimizer: ``"adam"`` or ``"sgd"``.
      desired_reward: see `rgrl_jax.plan`.
      distance: of differences, elementwise; 0 at 0.
      interpret: run without a GPU, slowly.

    Returns:
      The plans before the squash ``[B, T, A]``, and their errors before each step ``[B, K]``.

    Raises:
      ValueError: the kernel cannot do this; see `refusal`.
    """
    reason = refusal(module, iterations, optimizer)
    if reason:
        raise ValueError(f"the planning kernel {reason}")
    plans, horizon, actions = start.shape
    rows, spec = tile_rows(plans), module.spec
    desired = jnp.broadcast_to(desired_reward, (ensemble.size(params), horizon, spec.reward_size))
    parts = jnp.stack(jax.tree.leaves(memory), axis=3)  # [B, E, L, parts, d]
    shared = (
        cut_members(params, module),
        ensemble.draw(key, params, (iterations,)),
        jnp.asarray(learning_rate, jnp.float32).reshape(1),
        cut(desired),
    )
    own = (cut_rows(present, rows), cut_rows(jnp.moveaxis(parts, 0, 3), rows, axis=3), cut_rows(start, rows))
    latent, loss = _launch(Settings(module, distance, optimizer, interpret), shared, own)
    latent = jnp.moveaxis(latent[:, :, 0], 1, 2).reshape(-1, horizon, latent.shape[-1])
    return latent[:plans, :, :actions], jnp.moveaxis(loss, 1, 2).reshape(-1, iterations)[:plans]


def refusal(module: SequenceModel, iterations: int = 1, optimizer: str = "adam") -> str | None:
    """Returns the first need of the kernel that is not met, in words; None if it can do all."""
    if not isinstance(module.core, Recurrent):
        return f"needs a recurrent model, not {type(module.core).__name__}"
    if module.spec.image_shape is not None:
        return f"needs states embedded by one map, not images of shape {module.spec.image_shape}"
    if optimizer not in ("adam", "sgd"):
        return f"needs optimizer = 'adam' or 'sgd', not {optimizer!r}"
    if iterations < 1:
        return f"needs at least 1 iteration, not {iterations}"
    if jnp.zeros(()).dtype == jnp.float64:
        return "needs jax_enable_x64 = False"
    if module.spec.action_size > LARGEST:
        return f"needs actions of at most {LARGEST} entries, not {module.spec.action_size}"
    count = _count_weights(module)
    return f"needs at most {WEIGHTS:,} weights per member, not {count:,}" if count > WEIGHTS else None


def _count_weights(module: SequenceModel) -> int:
    spec, gates = module.spec, len(CELLS[module.core.cell].from_input)
    rest = (2 + (spec.reward_from == "state")) * spec.state_size + spec.action_size + spec.reward_size
    return spec.width * (2 * gates * spec.layers * spec.width + rest)


def tile_rows(plans: int) -> int:
    """Returns the plans per tile: as few as keep all multiprocessors busy, at least 16 and at most 64."""
    return next((rows for rows in (16, 32) if pl.cdiv(plans, rows) <= TILES), 64)


def _launch(settings: Settings, shared: PyTree, own: tuple[Array, ...]) -> tuple[Array, Array]:
    """Runs one program per tile; returns plans ``[tiles, T, 1, rows, block]`` and errors ``[tiles, K, rows]``.

    Args:
      settings: what is fixed.
      shared: arrays that all tiles read.
      own: arrays that each tile reads a part of, ``[tiles, ...]``.
    """
    tiles, horizon, _, rows, _ = own[-1].shape
    iterations = shared[1].shape[0]
    # A tile's working memory is an output that nobody reads: Triton has no arrays of its own that are indexed by a
    # traced number, so intermediate results go through global memory, which the L2 cache holds.
    written = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct((tiles, *shape), jnp.float32),
        (own[-1].shape[1:], (iterations, rows), working_memory(settings, rows, horizon)),
        is_leaf=lambda x: isinstance(x, tuple) and isinstance(x[0], int),
    )

    def whole(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec(x.shape, lambda tile: (0,) * x.ndim)

    def one(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec((None, *x.shape[1:]), lambda tile: (tile,) + (0,) * (x.ndim - 1))

    latent, loss, _ = pl.pallas_call(
        functools.partial(descend_tile, settings),
        grid=(tiles,),
        in_specs=(*jax.tree.map(whole, shared), *jax.tree.map(one, own)),
        out_specs=jax.tree.map(one, written),
        out_shape=written,
        interpret=settings.interpret,
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=2),
        name="plan",
    )(*shared, *own)
    return latent, loss
