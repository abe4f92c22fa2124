"""Weights and vectors cut into square blocks.

Triton knows sizes that are powers of two, and multiplies matrices from 16 entries a side on. So vectors are cut
into blocks and padded with zeros, which change nothing: a unit without weights stays at 0.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax.experimental import pallas as pl

from rgrl_jax.algos.rgrl.models.base import ModelSpec
from rgrl_jax.planning import ensemble
from rgrl_jax.types import Array, PyTree

LEAST, LARGEST = 16, 64
"""Sides of a block: the least that Triton multiplies, and as much as leaves registers to spare."""


def block_size(n: int) -> int:
    """Returns the side of the blocks that a vector of ``n`` entries is cut into: a power of two."""
    return min(max(pl.next_power_of_2(n), LEAST), LARGEST)


def block_count(n: int) -> int:
    """Returns the number of blocks that a vector of ``n`` entries is cut into."""
    return pl.cdiv(n, block_size(n))


def cut(x: Array) -> Array:
    """Cuts vectors, ``[..., n] -> [..., blocks, block]``."""
    count, size = block_count(x.shape[-1]), block_size(x.shape[-1])
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, count * size - x.shape[-1])])
    return padded.reshape(*x.shape[:-1], count, size)


def cut_matrix(x: Array) -> Array:
    """Cuts matrices, ``[..., n, m] -> [..., blocks of n, blocks of m, block, block]``."""
    columns = jnp.moveaxis(cut(x), -3, -1)  # [..., blocks of m, block, n]
    return jnp.moveaxis(cut(columns), (-4, -2, -1, -3), (-3, -4, -2, -1))


def cut_rows(x: Array, rows: int) -> Array:
    """Cuts plans into tiles, ``[plans, .., n] -> [tiles, .., blocks, rows, block]``."""
    x = cut(jnp.pad(x, [(0, -len(x) % rows)] + [(0, 0)] * (x.ndim - 1)))
    return jnp.moveaxis(x.reshape(-1, rows, *x.shape[1:]), 1, -2)


def cut_members(params: PyTree, spec: ModelSpec) -> dict[str, Array]:
    """Cuts the weights ``[E, ...]`` of a `SequenceModel` around GRU cells, each layer's apart.

    Returns:
      Matrices ``[E, gates, blocks, blocks, block, block]`` and biases ``[E, sums, blocks, block]``, by the names in
      `rgrl_jax.contrib.planning_kernel.tile.stages`. Biases that the model lacks are zeros.
    """
    own, core, d = params["params"], params["params"]["core"], spec.width
    members = ensemble.size(params)
    sizes = {"token_bias": d, "next_bias": d, "reward_bias": spec.reward_size, "state_bias": spec.state_size}
    matrices = ("embed_state", "embed_action", "embed_next", "reward_head", "state_head")
    out = {name: cut(own.get(name, jnp.zeros((members, n))))[:, None] for name, n in sizes.items()}
    out |= {name: cut_matrix(own[name])[:, None] for name in matrices if name in own}
    bias = core.get("gate_bias", jnp.zeros((members, spec.layers, 2, 3 * d))).reshape(members, spec.layers, 2, 3, d)
    both = bias[:, :, 0, :2] + bias[:, :, 1, :2]
    sums = cut(jnp.concatenate([both, bias[:, :, 0, 2:], bias[:, :, 1, 2:]], axis=2))
    for n in range(spec.layers):
        out[f"gate_bias{n}"] = sums[:, n]
        for name in ("input_weights", "hidden_weights"):
            gates = core[name][:, n].reshape(members, d, 3, d)
            out[f"{name}{n}"] = cut_matrix(jnp.moveaxis(gates, 2, 1))
    return out
