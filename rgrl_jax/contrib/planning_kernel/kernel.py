"""Gradient planning as one kernel: all iterations of the plans of a tile of rows in a single launch.

XLA runs a plan as thousands of small operations one after the other, which on a GPU are mostly waiting. Here a
tile of rows does the same in one launch, stage after stage: each is a loop over blocks of a vector that multiplies
blocks of weights, and leaves its result in memory, for the next stage and for going back in time. Numbers are those
of `rgrl_jax.plan` up to rounding: same draws, same equation 1, derivatives of products by hand and of the rest by
`jax.vjp`. Written in Pallas and lowered to Triton, hence the blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from rgrl_jax.algos.rgrl.models.base import ModelSpec
from rgrl_jax.algos.rgrl.models.recurrent import Recurrent
from rgrl_jax.algos.rgrl.models.sequence_model import SequenceModel
from rgrl_jax.contrib.planning_kernel.blocks import block_count, block_size, cut, cut_members, cut_rows
from rgrl_jax.contrib.planning_kernel.tile import Settings, descend_tile
from rgrl_jax.planning import ensemble
from rgrl_jax.types import Array, Key, PyTree, Scalar

ROWS = 16
"""Plans of a tile: the fewest that Triton multiplies, so that few plans keep many multiprocessors busy."""


def descend_rows(
    key: Key,
    params: PyTree,
    module: SequenceModel,
    memory: Array,
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
      module: a `SequenceModel` around GRU cells.
      memory: hidden states that each member has before each plan, ``[B, E, L, d]``.
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
    spec = module.spec
    desired = jnp.broadcast_to(desired_reward, (ensemble.size(params), horizon, spec.reward_size))
    shared = (
        cut_members(params, spec),
        ensemble.draw(key, params, (iterations,)),
        jnp.asarray(learning_rate, jnp.float32).reshape(1),
        cut(desired),
    )
    own = cut_rows(present, ROWS), cut_rows(memory, ROWS), cut_rows(start, ROWS)
    latent, loss = _launch(Settings(spec, distance, optimizer, interpret), shared, own)
    latent = jnp.moveaxis(latent, 3, 1)  # [tiles, rows, T, blocks, block]
    latent = latent.reshape(-1, horizon, latent.shape[-2] * latent.shape[-1])
    return latent[:plans, :, :actions], jnp.moveaxis(loss, 1, 2).reshape(-1, iterations)[:plans]


def refusal(module: SequenceModel, iterations: int = 1, optimizer: str = "adam") -> str | None:
    """Returns the first need of the kernel that is not met, in words; None if it can do all."""
    kind = module.core.cell if isinstance(module.core, Recurrent) else type(module.core).__name__
    image = module.spec.image_shape
    needs = {
        f"a GRU, not {kind}": kind == "gru",
        f"states embedded by one map, not images of shape {image}": image is None,
        f"optimizer = 'adam' or 'sgd', not {optimizer!r}": optimizer in ("adam", "sgd"),
        f"at least 1 iteration, not {iterations}": iterations >= 1,
        "jax_enable_x64 = False": jnp.zeros(()).dtype == jnp.float32,
    }
    return next((f"needs {need}" for need, met in needs.items() if not met), None)


def _written(spec: ModelSpec, start: Array, iterations: int) -> tuple[Any, Any, dict[str, Any]]:
    """Returns the shapes of plans, errors and working memory of all tiles, see `Tile`."""
    tiles, horizon, _, rows, _ = start.shape
    sizes = {name: spec.width for name in ("token", "next", *(f"hidden{n}" for n in range(spec.layers)))}
    sizes |= {"state": spec.state_size, "action": spec.action_size, "reward": spec.reward_size}

    def vector(n: int, *lead: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((tiles, *lead, block_count(n), rows, block_size(n)), jnp.float32)

    # A tile's working memory is an output that nobody reads: Triton has no arrays of its own that are indexed by a
    # traced number, so intermediate results go through global memory, of which the L2 cache holds what it can.
    values = {name: vector(n, horizon + 1) for name, n in sizes.items()}
    sums = {name: vector(n, horizon + 1, 4 if name.startswith("hidden") else 1) for name, n in sizes.items()}
    work = {"value": values, "derivative": values, "sums": sums, "moments": vector(spec.action_size, 2, horizon)}
    loss = jax.ShapeDtypeStruct((tiles, iterations, rows), jnp.float32)
    return vector(spec.action_size, horizon), loss, work


def _launch(settings: Settings, shared: PyTree, own: tuple[Array, ...]) -> tuple[Array, Array]:
    """Runs one program per tile; returns plans ``[tiles, T, blocks, rows, block]`` and errors ``[tiles, K, rows]``.

    Args:
      settings: what is fixed.
      shared: arrays that all tiles read.
      own: arrays that each tile reads a part of, ``[tiles, ...]``.
    """
    written = _written(settings.spec, own[-1], shared[1].shape[0])

    def whole(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec(x.shape, lambda tile: (0,) * x.ndim)

    def one(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec((None, *x.shape[1:]), lambda tile: (tile,) + (0,) * (x.ndim - 1))

    latent, loss, _ = pl.pallas_call(
        functools.partial(descend_tile, settings),
        grid=(len(own[-1]),),
        in_specs=(*jax.tree.map(whole, shared), *jax.tree.map(one, own)),
        out_specs=jax.tree.map(one, written),
        out_shape=written,
        interpret=settings.interpret,
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=2),
        name="plan",
    )(*shared, *own)
    return latent, loss
