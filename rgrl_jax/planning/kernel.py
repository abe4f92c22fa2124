"""Gradient planning as one kernel: all iterations of the plans of a tile of rows in a single launch.

XLA runs a plan as thousands of small operations one after the other, which on a GPU are mostly waiting. Here a
block of threads keeps the states of its rows in registers, reads weights in square blocks, and leaves in global
memory only what going back in time needs. Numbers are those of `rgrl_jax.plan` up to rounding: same draws, same
equation 1, derivatives of the linear maps by hand and of the rest by `jax.vjp`. Written in Pallas and lowered to
Triton, hence sizes that are powers of two and at least 16; vectors are lists of such blocks, filled up with zeros,
which change nothing: a unit without weights stays at 0.

Letters as in `rgrl_jax.types`; besides, a row is one plan, ``rows`` is how many of them a tile holds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from rgrl_jax import ensemble
from rgrl_jax.encoding import SQUASHES
from rgrl_jax.models.frame import Frame
from rgrl_jax.planning.blocks import (
    CELLS,
    Blocks,
    Cell,
    block_count,
    block_size,
    cut,
    cut_members,
    pad,
    tile_rows,
    too_large,
)
from rgrl_jax.planning.gradient import DISTANCES, per_member
from rgrl_jax.types import Array, Key, PyTree, Scalar


class How(NamedTuple):
    """What is fixed when the kernel is compiled.

    Attributes:
      module: the model, a `Frame` around recurrent cells.
      squash: a key of `SQUASHES`.
      distance: a key of `DISTANCES`.
      optimizer: ``"adam"`` or ``"sgd"``.
      interpret: run as plain JAX, to test where there is no GPU.
    """

    module: Frame
    squash: str
    distance: str
    optimizer: str
    interpret: bool

    @property
    def cell(self) -> Cell:
        """The model's cell."""
        return CELLS[self.module.core.cell]


def _dot(x: Array, w: Array, transposed: bool = False) -> Array:
    dims = (((1,), (1 if transposed else 0,)), ((), ()))
    return jax.lax.dot_general(x, w, dims, preferred_element_type=jnp.float32)


def _sum(xs: Iterable[Array]) -> Array:
    return functools.reduce(jnp.add, xs)


def _through(x: Blocks, w: Any, at: tuple[Any, ...]) -> Blocks:
    """``x @ w[at]``."""
    rows, columns = w.shape[-4:-2]
    return [_sum(_dot(x[i], w[(*at, i, j)]) for i in range(rows)) for j in range(columns)]


def _back(dy: Blocks, w: Any, at: tuple[Any, ...]) -> Blocks:
    """``dy @ w[at].T``."""
    rows, columns = w.shape[-4:-2]
    return [_sum(_dot(dy[j], w[(*at, i, j)], True) for j in range(columns)) for i in range(rows)]


def _read(ref: Any, *at: Any) -> Blocks:
    """The blocks of ``ref[at]``."""
    return [ref[(*at, j)] for j in range(ref.shape[len(at)])]


def _write(ref: Any, at: tuple[Any, ...], x: Blocks) -> None:
    for j, block in enumerate(x):
        ref[(*at, j)] = block


def _add(*xs: Blocks) -> Blocks:
    return [_sum(blocks) for blocks in zip(*xs, strict=True)]


def _squash_actions(how: How, latent: Array) -> Array:
    if how.squash != "tanh":  # entries that only fill up a block take no share
        entry = jax.lax.broadcasted_iota(jnp.int32, latent.shape, 1)
        latent = jnp.where(entry < how.module.action_size, latent, -1e30)
    return SQUASHES[how.squash](latent)


def _head(how: How, x: Blocks) -> Blocks:
    return [jnp.tanh(block) for block in x] if how.module.head == "tanh" else x


def _head_back(how: How, y: Callable[[], Blocks], dy: Blocks) -> Blocks:
    """Back through the head, from its output ``y``."""
    return _tanh_back(y(), dy) if how.module.head == "tanh" else dy


def _tanh_back(y: Blocks, dy: Blocks) -> Blocks:
    return [d * (1.0 - out * out) for out, d in zip(y, dy, strict=True)]


class Refs(NamedTuple):
    """Memory that the kernel reads and writes; weights have a leading member axis ``E``.

    Attributes:
      weights: by name, in blocks.
      draws: members drawn ``[K]``.
      rate: step size ``[1]``.
      wishes: desired rewards ``[E, T, blocks, block]``.
      counts: how much each entry of a reward counts ``[T, blocks, block]``.
      factors: of predicted rewards ``[blocks, block]``.
      present: ``[blocks, rows, block]``.
      memory: of each member, ``[E, L, parts, blocks, rows, block]``.
      start: ``[T, rows, block]``, before the squash.
      latent: the same, written.
      loss: ``[K, rows]``, written.
      moments: of the optimiser, ``[2, T, rows, block]``.
      kept: what going back in time reads, by name, ``[T, ...]``.
    """

    weights: dict[str, Any]
    draws: Any
    rate: Any
    wishes: Any
    counts: Any
    factors: Any
    present: Any
    memory: Any
    start: Any
    latent: Any
    loss: Any
    moments: Any
    kept: dict[str, Any]


State = tuple[Blocks, list[list[Blocks]]]
"""The environment's state and, of each layer, the parts of the cell's memory: what a model step hands on."""


def _layer(how: How, refs: Refs, m: Array, t: Array, layer: int, x: Blocks, memory: list[Blocks]) -> list[Blocks]:
    """One cell's step; keeps its memory and sums."""
    cell, w = how.cell, refs.weights
    terms: list[list[Blocks]] = [[] for _ in range(cell.sums)]
    for side, (name, places) in enumerate((("input_weights", cell.from_input), ("hidden_weights", cell.from_hidden))):
        for gate, place in enumerate(places):
            bias = [b[None, :] for b in _read(w["gate_bias"], m, layer, side, gate)]
            terms[place].append(_add(_through((x, memory[0])[side], w[name], (m, layer, gate)), bias))
    sums = [_add(*known) for known in terms]
    for i, part in enumerate(memory):
        _write(refs.kept["memory"], (t, layer, i), part)
    for i, part in enumerate(sums):
        _write(refs.kept["sums"], (t, layer, i), part)
    blocks = range(len(memory[0]))
    after = [cell.step([s[j] for s in sums], [part[j] for part in memory]) for j in blocks]
    return [[after[j][i] for j in blocks] for i in range(len(memory))]


def _layer_back(
    how: How, refs: Refs, m: Array, t: Array, layer: int, dafter: list[Blocks]
) -> tuple[Blocks, list[Blocks]]:
    """Back through one cell's step: derivatives by its input and by its memory."""
    cell, w = how.cell, refs.weights
    memory = [_read(refs.kept["memory"], t, layer, i) for i in range(len(dafter))]
    sums = [_read(refs.kept["sums"], t, layer, i) for i in range(cell.sums)]
    dsums: list[Blocks] = [[] for _ in sums]
    dmemory: list[Blocks] = [[] for _ in memory]
    for j in range(len(memory[0])):
        _, pull = jax.vjp(cell.step, [s[j] for s in sums], [part[j] for part in memory])
        of_sums, of_memory = pull([d[j] for d in dafter])
        for known, new in zip(dsums + dmemory, of_sums + of_memory, strict=True):
            known.append(new)
    at = [(m, layer, gate) for gate in range(len(cell.from_input))]
    dx = _add(*(_back(dsums[p], w["input_weights"], a) for a, p in zip(at, cell.from_input, strict=True)))
    dhidden = (_back(dsums[p], w["hidden_weights"], a) for a, p in zip(at, cell.from_hidden, strict=True))
    return dx, [_add(dmemory[0], *dhidden), *dmemory[1:]]


def _gap(how: How, refs: Refs, m: Array, t: Array, reward: Blocks) -> Blocks:
    """Errors of predicted rewards, entry by entry, weighted."""
    parts = zip(reward, _read(refs.wishes, m, t), _read(refs.counts, t), _read(refs.factors), strict=True)
    return [DISTANCES[how.distance](r * f[None, :] - wish[None, :]) * count[None, :] for r, wish, count, f in parts]


def _forward(how: How, refs: Refs, m: Array, t: Array, state: State, error: Array) -> tuple[State, Array]:
    """One model step of the plans, and the error ``[rows]`` up to here."""
    w, kept = refs.weights, refs.kept
    before, memories = state

    def linear(x: Blocks, name: str, bias: str) -> Blocks:
        return [y + b[None, :] for y, b in zip(_through(x, w[name], (m,)), _read(w[bias], m), strict=True)]

    action = [_squash_actions(how, refs.latent[t])]
    token = _add(linear(before, "embed_state", "token_bias"), _through(action, w["embed_action"], (m,)))
    x = token = [jnp.tanh(block) for block in token]
    _write(kept["token"], (t,), token)
    after = []
    for layer in range(how.module.core.layers):
        after.append(_layer(how, refs, m, t, layer, x, memories[layer]))
        x = after[-1][0]
    change = linear(x, "state_head", "state_bias")
    predicted = _head(how, _add(change, before) if how.module.residual else change)
    if how.module.head == "tanh":
        _write(kept["state"], (t,), predicted)
    if how.module.reward_from == "state":
        x = [jnp.tanh(block) for block in linear(predicted, "embed_next", "next_bias")]
        _write(kept["next"], (t,), x)
    reward = _head(how, linear(x, "reward_head", "reward_bias"))
    _write(kept["reward"], (t,), reward)
    error = error + _sum(block.sum(axis=1) for block in _gap(how, refs, m, t, reward))
    return (predicted, after), error


def _backward(how: How, refs: Refs, m: Array, t: Array, dstate: State) -> tuple[State, Array]:
    """The same step backwards: derivatives by what was handed to it, and by its actions before the squash."""
    w, kept = refs.weights, refs.kept
    dpredicted, dmemories = dstate
    reward = _read(kept["reward"], t)
    _, pull = jax.vjp(lambda r: _gap(how, refs, m, t, r), reward)
    (dreward,) = pull([jnp.ones_like(r) for r in reward])
    dx = _back(_head_back(how, lambda: reward, dreward), w["reward_head"], (m,))
    if how.module.reward_from == "state":
        dpredicted = _add(dpredicted, _back(_tanh_back(_read(kept["next"], t), dx), w["embed_next"], (m,)))
    dchange = _head_back(how, lambda: _read(kept["state"], t), dpredicted)
    dfeature = _back(dchange, w["state_head"], (m,))
    dx = dfeature if how.module.reward_from == "state" else _add(dx, dfeature)
    before: list[list[Blocks]] = []
    for layer in reversed(range(how.module.core.layers)):
        hidden, *rest = dmemories[layer]
        dx, dmemory = _layer_back(how, refs, m, t, layer, [_add(hidden, dx), *rest])
        before.insert(0, dmemory)
    dtoken = _tanh_back(_read(kept["token"], t), dx)
    (daction,) = _back(dtoken, w["embed_action"], (m,))
    (dlatent,) = jax.vjp(functools.partial(_squash_actions, how), refs.latent[t])[1](daction)
    dbefore = _back(dtoken, w["embed_state"], (m,))
    return (_add(dbefore, dchange) if how.module.residual else dbefore, before), dlatent


def _update(how: How, refs: Refs, t: Array, gradient: Array, decay: tuple[Array, Array]) -> None:
    """A step of the optimiser on the actions at ``t``; ``decay`` is Adam's two, to the power of the steps taken."""
    step = gradient
    if how.optimizer == "adam":
        first = 0.9 * refs.moments[0, t] + 0.1 * gradient
        second = 0.999 * refs.moments[1, t] + 0.001 * gradient * gradient
        refs.moments[0, t], refs.moments[1, t] = first, second
        step = first / (1.0 - decay[0]) / (jnp.sqrt(second / (1.0 - decay[1])) + 1e-8)
    refs.latent[t] = refs.latent[t] - refs.rate[0] * step


def _kernel(how: How, *given: Any) -> None:
    """All iterations of a tile."""
    refs = Refs(*given)

    def barrier() -> None:
        if not how.interpret:  # what one thread wrote another will read
            plgpu.debug_barrier()

    horizon, rows = refs.start.shape[0], refs.loss.shape[1]
    parts, layers = range(refs.memory.shape[2]), range(refs.memory.shape[1])

    def begin(t: Array, _: None) -> None:
        refs.latent[t] = refs.start[t]
        if how.optimizer == "adam":
            refs.moments[0, t] = refs.moments[1, t] = jnp.zeros_like(refs.start[t])

    def iterate(k: Array, decay: tuple[Array, Array]) -> tuple[Array, Array]:
        m = refs.draws[k]
        decay = (decay[0] * 0.9, decay[1] * 0.999)
        state = (_read(refs.present), [[_read(refs.memory, m, n, i) for i in parts] for n in layers])

        def forward(t: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
            return _forward(how, refs, m, t, *carry)

        def backward(step: Array, dstate: State) -> State:
            t = horizon - 1 - step
            dstate, gradient = _backward(how, refs, m, t, dstate)
            _update(how, refs, t, gradient, decay)
            return dstate

        barrier()
        last, refs.loss[k] = jax.lax.fori_loop(0, horizon, forward, (state, jnp.zeros(rows, jnp.float32)))
        barrier()
        jax.lax.fori_loop(0, horizon, backward, jax.tree.map(jnp.zeros_like, last))
        return decay

    jax.lax.fori_loop(0, horizon, begin, None)
    jax.lax.fori_loop(0, refs.draws.shape[0], iterate, (jnp.float32(1.0), jnp.float32(1.0)))


# Outside again.


def _tiles(x: Array, rows: int, axis: int = 0) -> Array:
    """``[.., plans, n] -> [tiles, .., blocks, rows, block]``, plans at ``axis``, filled up with zeros."""
    plans = pl.cdiv(x.shape[axis], rows) * rows
    x = cut(pad(x, axis, plans))
    x = x.reshape(*x.shape[:axis], plans // rows, rows, *x.shape[axis + 1 :])
    return jnp.moveaxis(jnp.moveaxis(x, axis, 0), axis + 1, -2)


def _kept(how: How, rows: int, horizon: int, parts: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what a tile keeps for going back in time."""

    def shape(n: int, *lead: int) -> tuple[int, ...]:
        return (horizon, *lead, block_count(n), rows, block_size(n))

    module = how.module
    d, layers = module.width, module.core.layers
    kept = {"token": shape(d), "reward": shape(module.reward_size), "memory": shape(d, layers, parts)}
    kept["sums"] = shape(d, layers, how.cell.sums)
    if module.head == "tanh":
        kept["state"] = shape(module.state_size)
    if module.reward_from == "state":
        kept["next"] = shape(d)
    return kept


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
    rows = tile_rows(module, plans)
    if rows is None:
        raise ValueError(f"the planning kernel {too_large(module)}")
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
    own = (_tiles(present, rows), _tiles(jnp.moveaxis(parts, 0, 3), rows, axis=3), _tiles(start, rows)[:, :, 0])
    kept = _kept(how, rows, horizon, parts.shape[3])
    latent, loss = (jnp.moveaxis(x, 1, 2) for x in _launch(how, shared, own, kept))
    latent = latent.reshape(-1, horizon, latent.shape[-1])[:plans, :, :actions]
    return latent, loss.reshape(-1, iterations)[:plans]


def _launch(how: How, shared: PyTree, own: tuple[Array, ...], kept: PyTree) -> tuple[Array, Array]:
    """One program per tile; returns plans ``[tiles, T, rows, block]`` and errors ``[tiles, K, rows]``.

    Args:
      how: what is fixed.
      shared: what all tiles read.
      own: what each reads of its own, ``[tiles, ...]``.
      kept: shapes that a tile keeps for going back in time.
    """
    tiles, *plan = own[-1].shape
    iterations, rows = shared[1].shape[0], plan[1]
    written = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct((tiles, *shape), jnp.float32),
        (tuple(plan), (iterations, rows), (2, *plan), kept),
        is_leaf=lambda x: isinstance(x, tuple) and isinstance(x[0], int),
    )

    def whole(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec(x.shape, lambda tile: (0,) * x.ndim)

    def one(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec((None, *x.shape[1:]), lambda tile: (tile,) + (0,) * (x.ndim - 1))

    latent, loss, *_ = pl.pallas_call(
        functools.partial(_kernel, how),
        grid=(tiles,),
        in_specs=(*jax.tree.map(whole, shared), *jax.tree.map(one, own)),
        out_specs=jax.tree.map(one, written),
        out_shape=written,
        interpret=how.interpret,
        compiler_params=plgpu.CompilerParams(num_warps=8 if block_size(how.module.width) > 64 else 4, num_stages=1),
        name="plan",
    )(*shared, *own)
    return latent, loss
