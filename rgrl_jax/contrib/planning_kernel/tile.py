"""The planning kernel from inside: the descent of one tile of plans, stage by stage.

JAX cannot differentiate what goes through memory. So a model step is a list of stages, elementwise functions of sums
of products; one operation computes a stage, and one goes back through it, with the function's derivative by
`jax.vjp` and the products' by hand. Letters as in `rgrl_jax.types`; ``rows`` are the plans of a tile. Vectors and
weights are in blocks, see `rgrl_jax.contrib.planning_kernel.blocks`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton as plgpu

from rgrl_jax.algos.rgrl.models.base import ModelSpec
from rgrl_jax.contrib.planning_kernel.blocks import block_count
from rgrl_jax.types import Array

Vector = tuple[str, Array | int]
"""Name and time of a vector in working memory: ``t`` before the step at ``t`` and in it, ``t + 1`` after it."""

Product = tuple[Vector, str, tuple[int, ...]]
"""A vector, the name of the matrices that it is multiplied by, and for each the sum that the product is added to."""

View = tuple[Any, tuple[Any, ...]]
"""Blocks in memory: an array and leading indices, since Triton cannot index what was indexed before."""


class Settings(NamedTuple):
    """Settings that are fixed when the kernel is compiled.

    Attributes:
      spec: sizes and settings of the model.
      distance: of differences between predicted and desired rewards, elementwise.
      optimizer: ``"adam"`` or ``"sgd"``.
      interpret: run as plain JAX, to test where there is no GPU.
    """

    spec: ModelSpec
    distance: Callable[[Array], Array]
    optimizer: str
    interpret: bool


class Stage(NamedTuple):
    """A part of a model step: ``out = function(*sums of products, *reads)``, entry by entry.

    Attributes:
      out: the vector written.
      function: elementwise.
      bias: name of the biases, one per sum.
      products: their vectors and matrices.
      reads: other vectors that the function reads.
    """

    out: Vector
    function: Callable[..., Array]
    bias: str
    products: tuple[Product, ...]
    reads: tuple[Vector, ...] = ()


def _gru(reset: Array, update: Array, new: Array, from_hidden: Array, hidden: Array) -> Array:
    new = jnp.tanh(new + jax.nn.sigmoid(reset) * from_hidden)
    return new + jax.nn.sigmoid(update) * (hidden - new)


def stages(spec: ModelSpec, t: Array | int) -> list[Stage]:
    """Returns the parts of the step at ``t`` of a `SequenceModel` around GRU cells, in order."""
    state: Vector = "state", t
    feature: Vector = "token", t
    embedded = (state, "embed_state", (0,)), (("action", t), "embed_action", (0,))
    out = [Stage(feature, jnp.tanh, "token_bias", embedded)]
    for n in range(spec.layers):
        # The reset gate comes between the two products of the new value, so these have sums of their own.
        hidden: Vector = f"hidden{n}", t
        products = (feature, f"input_weights{n}", (0, 1, 2)), (hidden, f"hidden_weights{n}", (0, 1, 3))
        feature = f"hidden{n}", t + 1
        out.append(Stage(feature, _gru, f"gate_bias{n}", products, (hidden,)))

    def predict(x: Array, *residual: Array) -> Array:
        x = sum(residual, x)
        return jnp.tanh(x) if spec.squash_outputs else x

    after: Vector = "state", t + 1
    reads = (state,) if spec.residual else ()
    out.append(Stage(after, predict, "state_bias", ((feature, "state_head", (0,)),), reads))
    if spec.reward_from == "state":
        feature = "next", t
        out.append(Stage(feature, jnp.tanh, "next_bias", ((after, "embed_next", (0,)),)))
    return [*out, Stage(("reward", t), predict, "reward_bias", ((feature, "reward_head", (0,)),))]


def _multiply(total: Array, vector: View, matrix: View, j: Array, back: bool = False) -> Array:
    """Adds block ``j`` of a product to ``total [rows, block]``; ``back`` multiplies by the transposed matrix."""
    (blocks, at), (weights, place) = vector, matrix

    def add(i: Array, total: Array) -> Array:
        block = weights[(*place, j, i)] if back else weights[(*place, i, j)]
        dims = (((1,), (1 if back else 0,)), ((), ()))
        return total + jax.lax.dot_general(blocks[(*at, i)], block, dims, preferred_element_type=jnp.float32)

    return jax.lax.fori_loop(0, blocks.shape[len(at)], add, total)


def _each(count: int, do: Callable[[Array], None]) -> None:
    """Calls ``do(i)`` for every ``i < count``."""
    jax.lax.fori_loop(0, count, lambda i, _: do(i), None)


class Tile(NamedTuple):
    """Memory of one tile, and operations on it, between which all threads wait for each other.

    Attributes:
      settings: what is fixed.
      weights: by name, see `rgrl_jax.contrib.planning_kernel.blocks.cut_members`.
      draws: members drawn ``[K]``.
      rate: step size ``[1]``.
      desired: desired rewards ``[E, T, blocks, block]``.
      present: ``[blocks, rows, block]``.
      memory: hidden states ``[E, L, blocks, rows, block]``.
      start: ``[T, blocks, rows, block]``, before the squash.
      latent: the same, written.
      loss: ``[K, rows]``, written.
      work: by name of a vector its ``value``; the ``derivative`` of the error by it; and ``sums``, which it was
        computed from, on the way back replaced by the derivatives by these; besides, Adam's ``moments``. Written.
      member: the one drawn.
    """

    settings: Settings
    weights: dict[str, Any]
    draws: Any
    rate: Any
    desired: Any
    present: Any
    memory: Any
    start: Any
    latent: Any
    loss: Any
    work: dict[str, Any]
    member: Array | int = 0

    def wait(self) -> None:
        """Waits until all threads have written their part of an operation."""
        # The next one multiplies blocks that other warps of the tile have written, and Triton orders only a thread's
        # own loads and stores. Interpreted, an operation is finished before the next one begins.
        if not self.settings.interpret:
            plgpu.debug_barrier()

    def blocks(self, name: str, do: Callable[[Array], None]) -> None:
        """Calls ``do(j)`` for every block of a vector, and waits."""
        _each(self.work["value"][name].shape[1], do)
        self.wait()

    def _write(self, vector: Vector, j: Array, value: Array) -> None:
        name, t = vector
        self.work["value"][name][t, j] = value
        self.work["derivative"][name][t, j] = jnp.zeros_like(value)  # which the way back adds to

    def _plan(self, t: Array, j: Array, latent: Array) -> None:
        self.latent[t, j] = latent
        self._write(("action", t), j, jnp.tanh(latent))

    def begin_plan(self, t: Array) -> None:
        """Copies the start of the actions at ``t``, and forgets Adam's moments."""

        def block(j: Array) -> None:
            self._plan(t, j, self.start[t, j])
            for moment in range(2):
                self.work["moments"][moment, t, j] = jnp.zeros_like(self.start[t, j])

        self.blocks("action", block)

    def begin(self) -> None:
        """Copies present and memory before the first step."""

        def hidden(n: int, j: Array) -> None:
            self._write((f"hidden{n}", 0), j, self.memory[self.member, n, j])

        self.blocks("state", lambda j: self._write(("state", 0), j, self.present[j]))
        for n in range(self.settings.spec.layers):
            self.blocks(f"hidden{n}", partial(hidden, n))

    def forward(self, stage: Stage) -> None:
        """Computes a stage."""
        (name, t), values, bias = stage.out, self.work["value"], self.weights[stage.bias]
        kept = self.work["sums"][name]

        def block(j: Array) -> None:
            sums = [jnp.broadcast_to(bias[self.member, i, j], kept.shape[-2:]) for i in range(bias.shape[1])]
            for (source, s), matrix, places in stage.products:
                for gate, i in enumerate(places):
                    weights = self.weights[matrix], (self.member, gate)
                    sums[i] = _multiply(sums[i], (values[source], (s,)), weights, j)
            for i, x in enumerate(sums):  # kept, since going back begins before the function
                kept[t, i, j] = x
            self._write(stage.out, j, stage.function(*sums, *(values[read][s, j] for read, s in stage.reads)))

        self.blocks(name, block)

    def backward(self, stage: Stage) -> None:
        """Adds to the derivatives by all vectors that a stage depends on."""
        (name, t), values, derivatives = stage.out, self.work["value"], self.work["derivative"]
        sums, count = self.work["sums"][name], self.weights[stage.bias].shape[1]

        def function(j: Array) -> None:
            given = [sums[t, i, j] for i in range(count)] + [values[read][s, j] for read, s in stage.reads]
            found = jax.vjp(stage.function, *given)[1](derivatives[name][t, j])
            for i in range(count):
                sums[t, i, j] = found[i]
            for (read, s), x in zip(stage.reads, found[count:], strict=True):
                derivatives[read][s, j] = derivatives[read][s, j] + x

        def product(term: Product, j: Array) -> None:
            (source, s), matrix, places = term
            total = derivatives[source][s, j]
            for gate, i in enumerate(places):
                total = _multiply(total, (sums, (t, i)), (self.weights[matrix], (self.member, gate)), j, back=True)
            derivatives[source][s, j] = total

        self.blocks(name, function)  # first, since a block of a product reads all blocks of the sums
        for term in stage.products:
            self.blocks(term[0][0], partial(product, term))

    def compare(self, t: Array, error: Array) -> Array:
        """Returns the errors ``[rows]`` so far and those of the rewards at ``t``; writes the derivatives by these."""
        rewards, size = self.work["value"]["reward"], self.settings.spec.reward_size

        def block(j: Array, error: Array) -> Array:
            desired = self.desired[self.member, t, j][None, :]  # padding is 0 in both, and counts 0
            errors, back = jax.vjp(lambda reward: self.settings.distance(reward - desired) / size, rewards[t, j])
            (self.work["derivative"]["reward"][t, j],) = back(jnp.ones_like(errors))
            return error + errors.sum(axis=1)

        error = jax.lax.fori_loop(0, block_count(size), block, error)
        self.wait()
        return error

    def improve(self, t: Array, k: Array) -> None:
        """Takes step ``k`` of the descent on the actions at ``t``."""
        actions, moments = self.work["value"]["action"], self.work["moments"]

        def block(j: Array) -> None:
            step = self.work["derivative"]["action"][t, j] * (1.0 - jnp.square(actions[t, j]))
            if self.settings.optimizer == "adam":  # with the settings of `optax.adam`
                first = 0.9 * moments[0, t, j] + 0.1 * step
                second = 0.999 * moments[1, t, j] + 0.001 * step * step
                moments[0, t, j], moments[1, t, j] = first, second
                first, second = first / (1.0 - 0.9 ** (k + 1.0)), second / (1.0 - 0.999 ** (k + 1.0))
                step = first / (jnp.sqrt(second) + 1e-8)
            self._plan(t, j, self.latent[t, j] - self.rate[0] * step)

        self.blocks("action", block)


def descend_tile(settings: Settings, *refs: Any) -> None:
    """Runs all iterations of a tile; ``refs`` are the attributes of its `Tile` from the weights to ``work``."""
    tile = Tile(settings, *refs)
    horizon, rows = tile.start.shape[0], tile.loss.shape[1]

    def iterate(k: Array) -> None:
        drawn = tile._replace(member=tile.draws[k])

        def forward(t: Array, error: Array) -> Array:
            for stage in stages(settings.spec, t):
                drawn.forward(stage)
            return drawn.compare(t, error)

        def backward(step: Array) -> None:
            t = horizon - 1 - step
            for stage in reversed(stages(settings.spec, t)):
                drawn.backward(stage)
            drawn.improve(t, k)

        drawn.begin()
        tile.loss[k] = jax.lax.fori_loop(0, horizon, forward, jnp.zeros(rows, jnp.float32))
        _each(horizon, backward)

    _each(horizon, tile.begin_plan)
    _each(tile.draws.shape[0], iterate)
