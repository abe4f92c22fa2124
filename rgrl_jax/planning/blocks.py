"""Models and plans cut into square blocks, and which of them `rgrl_jax.planning.kernel` can take.

Triton knows sizes that are powers of two, and multiplies matrices from 16 entries a side on. So vectors are cut
into blocks and filled up with zeros, which change nothing: a unit without weights stays at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from rgrl_jax import ensemble
from rgrl_jax.models.frame import Frame
from rgrl_jax.types import Array, PyTree

LEAST, LARGEST = 16, 64
"""Sides of a block: the least that Triton multiplies, and as much as leaves registers to spare."""

WEIGHTS = 1_000_000
"""Weights of a member above which XLA's products are large enough to do without the kernel; a guess."""

TILES = 132
"""Tiles that run at once, one per multiprocessor of an H200; more rows than that make tiles larger."""

FITS: dict[str, tuple[Any, ...]] = {
    "planner": ("gradient",),
    "dynamics": ("learned",),
    "model": ("gru", "rnn", "lstm"),
    "encoder": ("dense",),
    "feedback": (True,),
    "plan_optimizer": ("adam", "sgd"),
    "plan_members": ("sample",),
    "plan_accept": ("always",),
}
"""Settings of a config that the kernel knows; it does not care about the others."""


def refusal(config: Any) -> str | None:
    """The first setting of a config that the kernel does not know, in words; None if it knows all."""
    for name, known in FITS.items():
        if getattr(config, name) not in known:
            return f"needs {name} = {' or '.join(map(repr, known))}, not {getattr(config, name)!r}"
    if not config.plan_iterations:
        return "needs plan_iterations of at least 1, not 0"
    return "needs jax_enable_x64 = False" if jnp.zeros(()).dtype == jnp.float64 else None


def _gru(pre: list[Array], memory: list[Array]) -> list[Array]:
    reset, update = jax.nn.sigmoid(pre[0]), jax.nn.sigmoid(pre[1])
    new = jnp.tanh(pre[2] + reset * pre[3])
    return [new + update * (memory[0] - new)]


def _rnn(pre: list[Array], memory: list[Array]) -> list[Array]:
    del memory
    return [jnp.tanh(pre[0])]


def _lstm(pre: list[Array], memory: list[Array]) -> list[Array]:
    take, keep, new, show = pre
    cell = jax.nn.sigmoid(keep) * memory[1] + jax.nn.sigmoid(take) * jnp.tanh(new)
    return [jax.nn.sigmoid(show) * jnp.tanh(cell), cell]


class Cell(NamedTuple):
    """A cell as the kernel sees it.

    Attributes:
      step: ``(sums, memory) -> memory``, entry by entry; the first of the memory is the output.
      from_input: for each gate, the sum that the input's product goes to.
      from_hidden: likewise the hidden state's; a sum of its own where the two must not be added up.
      has_cell_state: whether the memory has a second part.
    """

    step: Callable[[list[Array], list[Array]], list[Array]]
    from_input: tuple[int, ...]
    from_hidden: tuple[int, ...]
    has_cell_state: bool = False

    @property
    def sums(self) -> int:
        """How many sums of products a step reads."""
        return 1 + max(self.from_input + self.from_hidden)


CELLS = {
    "rnn": Cell(_rnn, (0,), (0,)),
    "gru": Cell(_gru, (0, 1, 2), (0, 1, 3)),
    "lstm": Cell(_lstm, (0, 1, 2, 3), (0, 1, 2, 3), True),
}


def block_size(n: int) -> int:
    """Side of the blocks that a vector of ``n`` entries is cut into: a power of two."""
    return min(max(pl.next_power_of_2(n), LEAST), LARGEST)


def block_count(n: int) -> int:
    """How many blocks a vector of ``n`` entries is cut into."""
    return pl.cdiv(n, block_size(n))


def pad(x: Array, axis: int, size: int) -> Array:
    """Zeros behind the entries of an axis, up to ``size``."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, size - x.shape[axis])
    return jnp.pad(x, widths)


def cut(x: Array) -> Array:
    """Vectors ``[..., n]`` as ``[..., blocks, block]``."""
    count, size = block_count(x.shape[-1]), block_size(x.shape[-1])
    return pad(x, x.ndim - 1, count * size).reshape(*x.shape[:-1], count, size)


def cut_matrix(x: Array) -> Array:
    """Matrices ``[..., n, m]`` as ``[..., blocks of n, blocks of m, block, block]``."""
    columns = jnp.moveaxis(cut(x), -3, -1)  # [..., blocks of m, block, n]
    return jnp.moveaxis(cut(columns), (-4, -2, -1, -3), (-3, -4, -2, -1))


def _cut_gates(x: Array, gates: int) -> Array:
    """``[..., gates * d] -> [..., gates, d]``."""
    return x.reshape(*x.shape[:-1], gates, x.shape[-1] // gates)


def cut_members(params: PyTree, module: Frame) -> dict[str, Array]:
    """The weights ``[E, ...]`` of a `Frame` around recurrent cells in blocks; biases it lacks are zeros."""
    own, core = params["params"], params["params"]["core"]
    gates, d = len(CELLS[module.core.cell].from_input), module.width
    members = ensemble.size(params)

    def bias(name: str, *shape: int) -> Array:
        return cut(own[name] if name in own else jnp.zeros((members, *shape)))

    gate_bias = core.get("gate_bias", jnp.zeros((members, module.core.layers, 2, gates * d)))
    out = {name: cut_matrix(own[name]) for name in ("embed_state", "embed_action", "reward_head", "state_head")}
    out |= {
        name: cut_matrix(jnp.moveaxis(_cut_gates(core[name], gates), -2, -3))
        for name in ("input_weights", "hidden_weights")
    }
    out |= {"gate_bias": cut(_cut_gates(gate_bias, gates)), "token_bias": bias("token_bias", d)}
    out["reward_bias"] = bias("reward_bias", module.reward_size)
    out["state_bias"] = bias("state_bias", module.state_size)
    if module.reward_from == "state":
        out |= {"embed_next": cut_matrix(own["embed_next"]), "next_bias": bias("next_bias", d)}
    return out


def tile_rows(plans: int) -> int:
    """Plans per tile: as few as keep all multiprocessors busy, at least 16 and at most 64."""
    return next((rows for rows in (16, 32) if pl.cdiv(plans, rows) <= TILES), 64)


def too_large(module: Frame) -> str | None:
    """Why a model is too large for the kernel, in words; None if it is not."""
    if module.action_size > LARGEST:
        return f"needs actions of at most {LARGEST} entries, not {module.action_size}"
    gates = len(CELLS[module.core.cell].from_input)
    d, rest = module.width, 2 * module.state_size + module.action_size + module.reward_size
    count = d * (2 * gates * module.core.layers * d + rest + (module.reward_from == "state") * module.state_size)
    if count <= WEIGHTS:
        return None
    return (
        f"needs at most {WEIGHTS:,} weights per member; width = {d}, layers = {module.core.layers} and states of "
        f"{module.state_size} entries make {count:,}"
    )
