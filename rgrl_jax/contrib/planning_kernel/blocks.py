"""Weights and vectors cut into square blocks.

Triton knows sizes that are powers of two, and multiplies matrices from 16 entries a side on. So vectors are cut
into blocks and padded with zeros, which change nothing: a unit without weights stays at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from rgrl_jax.algos.rgrl.models.sequence_model import SequenceModel
from rgrl_jax.planning import ensemble
from rgrl_jax.types import Array, PyTree

LEAST, LARGEST = 16, 64
"""Sides of a block: the least that Triton multiplies, and as much as leaves registers to spare."""


def _gru(sums: list[Array], memory: list[Array]) -> list[Array]:
    reset, update = jax.nn.sigmoid(sums[0]), jax.nn.sigmoid(sums[1])
    new = jnp.tanh(sums[2] + reset * sums[3])
    return [new + update * (memory[0] - new)]


def _rnn(sums: list[Array], memory: list[Array]) -> list[Array]:
    del memory
    return [jnp.tanh(sums[0])]


def _lstm(sums: list[Array], memory: list[Array]) -> list[Array]:
    take, keep, new, emit = sums
    cell = jax.nn.sigmoid(keep) * memory[1] + jax.nn.sigmoid(take) * jnp.tanh(new)
    return [jax.nn.sigmoid(emit) * jnp.tanh(cell), cell]


class BlockCell(NamedTuple):
    """A recurrent cell, block by block.

    Attributes:
      step: ``(sums, memory) -> memory``, entry by entry; the first of the memory is the output.
      from_input: for each gate, the sum that the input's product is added to.
      from_hidden: for each gate, the sum that the hidden state's product is added to; one of its own where the two
        must not be added up, as in the GRU, whose reset gate lies between them.
      has_cell_state: whether the memory has a second part.
    """

    step: Callable[[list[Array], list[Array]], list[Array]]
    from_input: tuple[int, ...]
    from_hidden: tuple[int, ...]
    has_cell_state: bool = False

    @property
    def sums(self) -> int:
        """Returns the number of sums of products that a step reads."""
        return 1 + max(self.from_input + self.from_hidden)


CELLS = {
    "rnn": BlockCell(_rnn, (0,), (0,)),
    "gru": BlockCell(_gru, (0, 1, 2), (0, 1, 3)),
    "lstm": BlockCell(_lstm, (0, 1, 2, 3), (0, 1, 2, 3), True),
}


def block_size(n: int) -> int:
    """Returns the side of the blocks that a vector of ``n`` entries is cut into: a power of two."""
    return min(max(pl.next_power_of_2(n), LEAST), LARGEST)


def block_count(n: int) -> int:
    """Returns the number of blocks that a vector of ``n`` entries is cut into."""
    return pl.cdiv(n, block_size(n))


def pad(x: Array, axis: int, size: int) -> Array:
    """Appends zeros to an axis, up to ``size``."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, size - x.shape[axis])
    return jnp.pad(x, widths)


def cut(x: Array) -> Array:
    """Cuts vectors, ``[..., n] -> [..., blocks, block]``."""
    count, size = block_count(x.shape[-1]), block_size(x.shape[-1])
    return pad(x, x.ndim - 1, count * size).reshape(*x.shape[:-1], count, size)


def cut_matrix(x: Array) -> Array:
    """Cuts matrices, ``[..., n, m] -> [..., blocks of n, blocks of m, block, block]``."""
    columns = jnp.moveaxis(cut(x), -3, -1)  # [..., blocks of m, block, n]
    return jnp.moveaxis(cut(columns), (-4, -2, -1, -3), (-3, -4, -2, -1))


def cut_rows(x: Array, rows: int, axis: int = 0) -> Array:
    """Cuts plans into tiles, ``[.., plans, n] -> [tiles, .., blocks, rows, block]`` with the plans at ``axis``."""
    plans = pl.cdiv(x.shape[axis], rows) * rows
    x = cut(pad(x, axis, plans))
    x = x.reshape(*x.shape[:axis], plans // rows, rows, *x.shape[axis + 1 :])
    return jnp.moveaxis(jnp.moveaxis(x, axis, 0), axis + 1, -2)


def cut_members(params: PyTree, module: SequenceModel) -> dict[str, Array]:
    """Cuts the weights ``[E, ...]`` of a `SequenceModel` around recurrent cells; biases it lacks are zeros."""
    own, core, spec = params["params"], params["params"]["core"], module.spec
    gates, members = len(CELLS[module.core.cell].from_input), ensemble.size(params)

    def split_gates(x: Array) -> Array:
        return x.reshape(*x.shape[:-1], gates, spec.width)

    sizes = {"token_bias": spec.width, "reward_bias": spec.reward_size, "state_bias": spec.state_size}
    matrices = ["embed_state", "embed_action", "reward_head", "state_head"]
    if spec.reward_from == "state":
        sizes["next_bias"] = spec.width
        matrices.append("embed_next")
    gate_bias = core.get("gate_bias", jnp.zeros((members, spec.layers, 2, gates * spec.width)))
    out = {name: cut(own.get(name, jnp.zeros((members, size)))) for name, size in sizes.items()}
    out |= {name: cut_matrix(own[name]) for name in matrices} | {"gate_bias": cut(split_gates(gate_bias))}
    return out | {
        name: cut_matrix(jnp.moveaxis(split_gates(core[name]), -2, -3))  # [E, L, gates, d, d]
        for name in ("input_weights", "hidden_weights")
    }
