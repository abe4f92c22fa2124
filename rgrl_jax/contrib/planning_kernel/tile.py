"""The planning kernel from inside: the model steps and the descent of one tile of plans, stage by stage.

Letters as in `rgrl_jax.types`; besides, a row is one plan, and ``rows`` is how many of them a tile holds. Vectors
and weights are in blocks, see `rgrl_jax.contrib.planning_kernel.blocks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton as plgpu

from rgrl_jax.algos.rgrl.models.base import ModelSpec
from rgrl_jax.algos.rgrl.models.sequence_model import SequenceModel
from rgrl_jax.contrib.planning_kernel.blocks import CELLS, BlockCell, block_count, block_size
from rgrl_jax.types import Array


class Settings(NamedTuple):
    """Settings that are fixed when the kernel is compiled.

    Attributes:
      module: the model, a `SequenceModel` around recurrent cells.
      distance: of differences between predicted and desired rewards, elementwise.
      optimizer: ``"adam"`` or ``"sgd"``.
      interpret: run as plain JAX, to test where there is no GPU.
    """

    module: SequenceModel
    distance: Callable[[Array], Array]
    optimizer: str
    interpret: bool

    @property
    def cell(self) -> BlockCell:
        """Returns the model's cell."""
        return CELLS[self.module.core.cell]

    @property
    def spec(self) -> ModelSpec:
        """Returns the model's sizes and settings."""
        return self.module.spec


def _linear(terms: list[tuple[Any, tuple[Any, ...], Any, tuple[Any, ...]]], j: Array, back: bool = False) -> Array:
    """Computes block ``j`` of a sum of products, ``[rows, block]``.

    Args:
      terms: for each product a vector, its place, a matrix, and its place.
      j: the block.
      back: multiply by transposed matrices.
    """

    def add(vector: Any, at: tuple[Any, ...], matrix: Any, place: tuple[Any, ...]) -> Callable[[Array, Array], Array]:
        def add_block(i: Array, total: Array) -> Array:
            weights = matrix[(*place, j, i)] if back else matrix[(*place, i, j)]
            dims = (((1,), (1 if back else 0,)), ((), ()))
            return total + jax.lax.dot_general(vector[(*at, i)], weights, dims, preferred_element_type=jnp.float32)

        return add_block

    vector, _, matrix, _ = terms[0]
    total = jnp.zeros((vector.shape[-2], matrix.shape[-2 if back else -1]), jnp.float32)
    for vector, at, matrix, place in terms:
        total = jax.lax.fori_loop(0, vector.shape[len(at)], add(vector, at, matrix, place), total)
    return total


def _each(count: int, do: Callable[[Array], None]) -> None:
    """Calls ``do(i)`` for every ``i < count``."""
    jax.lax.fori_loop(0, count, lambda i, _: do(i), None)


def _squash(settings: Settings, x: Array) -> Array:
    return jnp.tanh(x) if settings.spec.squash_outputs else x


def _squash_back(settings: Settings, y: Array, dy: Array) -> Array:
    return _tanh_back(y, dy) if settings.spec.squash_outputs else dy


def _tanh_back(y: Array, dy: Array) -> Array:
    """Returns the derivative by the input of a tanh from its output ``y``."""
    return dy * (1.0 - y * y)


class Refs(NamedTuple):
    """Memory that a tile reads and writes; weights, desired rewards and memory have a leading member axis ``E``.

    Attributes:
      weights: by name, in blocks.
      draws: members drawn ``[K]``.
      rate: step size ``[1]``.
      desired: desired rewards ``[E, T, blocks, block]``.
      present: ``[blocks, rows, block]``.
      memory: ``[E, L, parts, blocks, rows, block]``.
      start: ``[T, 1, rows, block]``, before the squash.
      latent: the same, written.
      loss: ``[K, rows]``, written.
      work: see `working_memory`, written.
    """

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


def working_memory(settings: Settings, rows: int, horizon: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a tile's working memory; values before a step are at ``t``, those after it at ``t + 1``.

    ``feature`` holds a step's token and the outputs of all layers, ``cell`` an LSTM's other memory; names with a
    d are derivatives of the error, of one step.
    """
    spec, layers, cell = settings.spec, settings.spec.layers, settings.cell

    def vector(n: int, *lead: int) -> tuple[int, ...]:
        return (*lead, block_count(n), rows, block_size(n))

    d, state, reward, after = spec.width, spec.state_size, spec.reward_size, horizon + 1
    shapes = {
        "moments": vector(spec.action_size, 2, horizon),
        "action": vector(spec.action_size, horizon),
        "feature": vector(d, after, layers + 1),
        "sums": vector(d, horizon, layers, cell.sums),
        "state": vector(state, after),
        "reward": vector(reward, horizon),
        "dx": vector(d),
        "dhidden": vector(d, layers),
        "dsums": vector(d, cell.sums),
        "dtoken": vector(d),
        "dstate": vector(state),
        "dchange": vector(state),
        "dreward": vector(reward),
    }
    if cell.has_cell_state:
        shapes |= {"cell": vector(d, after, layers), "dcell": vector(d, layers)}
    if spec.reward_from == "state":
        shapes |= {"next": vector(d, horizon), "dnext": vector(d)}
    return shapes


class Tile(NamedTuple):
    """One member's model on one tile; each method is a stage, between which all threads wait for each other."""

    settings: Settings
    refs: Refs
    m: Array

    def wait(self) -> None:
        """Waits until all threads have written what the next stage reads."""
        # A stage multiplies blocks that other warps of the tile have written, and Triton orders only a thread's own
        # loads and stores. Interpreted, a stage is finished before the next one begins.
        if not self.settings.interpret:
            plgpu.debug_barrier()

    def _bias(self, name: str, *at: Any) -> Array:
        return self.refs.weights[name][(self.m, *at)][None, :]

    def _memory(self, t: Array, layer: Array, j: Array) -> list[Array]:
        """Returns a cell's memory before the step at ``t``."""
        work = self.refs.work
        hidden = work["feature"][t, layer + 1, j]
        return [hidden, work["cell"][t, layer, j]] if self.settings.cell.has_cell_state else [hidden]

    def begin(self) -> None:
        """Copies present and memory before the first step; sets the derivatives after the last to 0."""
        refs, work = self.refs, self.refs.work
        names = ("feature", "cell") if self.settings.cell.has_cell_state else ("feature",)

        def layer(n: Array) -> None:
            def block(j: Array) -> None:
                for part, name in enumerate(names):
                    own = refs.memory[self.m, n, part, j]
                    work[name][0, n + 1 - part, j] = own
                    work["d" + ("hidden", "cell")[part]][n, j] = jnp.zeros_like(own)

            _each(work["dx"].shape[0], block)

        def state(j: Array) -> None:
            work["state"][0, j] = refs.present[j]
            work["dstate"][j] = jnp.zeros_like(refs.present[j])

        _each(self.settings.spec.layers, layer)
        _each(refs.present.shape[0], state)
        self.wait()

    def embed(self, t: Array) -> None:
        """Computes the token of a step from its state and action."""
        work, w, at = self.refs.work, self.refs.weights, (self.m,)
        work["action"][t, 0] = jnp.tanh(self.refs.latent[t, 0])
        self.wait()
        sources = [
            (work["state"], (t,), w["embed_state"], at),
            (work["action"], (t,), w["embed_action"], at),
        ]

        def block(j: Array) -> None:
            work["feature"][t + 1, 0, j] = jnp.tanh(_linear(sources, j) + self._bias("token_bias", j))

        _each(work["dx"].shape[0], block)
        self.wait()

    def layer(self, t: Array, n: Array) -> None:
        """Computes one cell's step."""
        work, w, cell = self.refs.work, self.refs.weights, self.settings.cell
        sides = (
            ((work["feature"], (t + 1, n)), w["input_weights"], cell.from_input),
            ((work["feature"], (t, n + 1)), w["hidden_weights"], cell.from_hidden),
        )

        def block(j: Array) -> None:
            sums = []
            for place in range(cell.sums):
                terms, bias = [], jnp.zeros((), jnp.float32)
                for side, (source, weights, places) in enumerate(sides):
                    if place in places:
                        gate = places.index(place)
                        terms.append((*source, weights, (self.m, n, gate)))
                        bias = bias + self._bias("gate_bias", n, side, gate, j)
                sums.append(_linear(terms, j) + bias)  # kept, since going back begins before the nonlinearity
                work["sums"][t, n, place, j] = sums[-1]
            after = cell.step(sums, self._memory(t, n, j))
            work["feature"][t + 1, n + 1, j] = after[0]
            if cell.has_cell_state:
                work["cell"][t + 1, n, j] = after[1]

        _each(work["dx"].shape[0], block)
        self.wait()

    def predict(self, t: Array, error: Array) -> Array:
        """Computes state and reward after a step; returns the errors ``[rows]`` so far with its own added."""
        work, w, spec, at = self.refs.work, self.refs.weights, self.settings.spec, (self.m,)
        feature: tuple[Any, tuple[Any, ...]] = work["feature"], (t + 1, spec.layers)

        def state(j: Array) -> None:
            change = _linear([(*feature, w["state_head"], at)], j) + self._bias("state_bias", j)
            after = change + work["state"][t, j] if spec.residual else change
            work["state"][t + 1, j] = _squash(self.settings, after)

        _each(work["dstate"].shape[0], state)
        self.wait()
        if spec.reward_from == "state":
            after = work["state"], (t + 1,)

            def embed_next(j: Array) -> None:
                linear = _linear([(*after, w["embed_next"], at)], j) + self._bias("next_bias", j)
                work["next"][t, j] = jnp.tanh(linear)

            _each(work["dx"].shape[0], embed_next)
            self.wait()
            feature = work["next"], (t,)

        def reward(j: Array, error: Array) -> Array:
            linear = _linear([(*feature, w["reward_head"], at)], j) + self._bias("reward_bias", j)
            predicted = _squash(self.settings, linear)
            work["reward"][t, j] = predicted
            return error + self._errors(t, j, predicted).sum(axis=1)

        error = jax.lax.fori_loop(0, work["dreward"].shape[0], reward, error)
        self.wait()
        return error

    def _errors(self, t: Array, j: Array, reward: Array) -> Array:
        """Returns the errors of a block of predicted rewards, entry by entry; padding is 0 in both and counts 0."""
        gap = reward - self.refs.desired[self.m, t, j][None, :]
        return self.settings.distance(gap) / self.settings.spec.reward_size

    def predict_back(self, t: Array) -> None:
        """Goes back through `predict`, to the last layer's output."""
        work, w, spec, at = self.refs.work, self.refs.weights, self.settings.spec, (self.m,)
        by_reward = (work["dreward"], (), w["reward_head"], at)
        by_change = (work["dchange"], (), w["state_head"], at)
        indirect = spec.reward_from == "state"

        def reward(j: Array) -> None:
            predicted = work["reward"][t, j]
            (derivative,) = jax.vjp(lambda r: self._errors(t, j, r), predicted)[1](jnp.ones_like(predicted))
            work["dreward"][j] = _squash_back(self.settings, predicted, derivative)

        def embed_next(j: Array) -> None:
            work["dnext"][j] = _tanh_back(work["next"][t, j], _linear([by_reward], j, back=True))

        def state(j: Array) -> None:
            change = work["dstate"][j]
            if indirect:
                change = change + _linear([(work["dnext"], (), w["embed_next"], at)], j, back=True)
            work["dchange"][j] = _squash_back(self.settings, work["state"][t + 1, j], change)

        def feature(j: Array) -> None:
            work["dx"][j] = _linear([by_change] if indirect else [by_change, by_reward], j, back=True)

        stages = [("dreward", reward), ("dnext", embed_next), ("dstate", state), ("dx", feature)]
        for name, stage in stages:
            if name != "dnext" or indirect:
                _each(work[name].shape[0], stage)
                self.wait()

    def layer_back(self, t: Array, n: Array) -> None:
        """Goes back through one cell's step, to its input and to its memory."""
        work, w, cell = self.refs.work, self.refs.weights, self.settings.cell

        def cell_back(j: Array) -> None:
            sums = [work["sums"][t, n, place, j] for place in range(cell.sums)]
            after = [work["dhidden"][n, j] + work["dx"][j]]
            if cell.has_cell_state:
                after.append(work["dcell"][n, j])
            of_sums, of_memory = jax.vjp(cell.step, sums, self._memory(t, n, j))[1](after)
            for place, derivative in enumerate(of_sums):
                work["dsums"][place, j] = derivative
            work["dhidden"][n, j] = of_memory[0]
            if cell.has_cell_state:
                work["dcell"][n, j] = of_memory[1]

        # A second stage, since its blocks read the derivatives of all sums; the derivative by the hidden state has
        # two parts, the cell's own, which the first stage left there, and the one through the product.
        def linear_back(j: Array) -> None:
            inward, hidden = (
                _linear([(work["dsums"], (p,), w[name], (self.m, n, g)) for g, p in enumerate(places)], j, back=True)
                for name, places in (("input_weights", cell.from_input), ("hidden_weights", cell.from_hidden))
            )
            work["dx"][j] = inward
            work["dhidden"][n, j] = work["dhidden"][n, j] + hidden

        for stage in (cell_back, linear_back):
            _each(work["dx"].shape[0], stage)
            self.wait()

    def embed_back(self, t: Array) -> Array:
        """Goes back through `embed`, to the state before the step; returns the derivative by the latent actions."""
        work, w, spec, at = self.refs.work, self.refs.weights, self.settings.spec, (self.m,)
        token = work["dtoken"], ()

        def block(j: Array) -> None:
            work["dtoken"][j] = _tanh_back(work["feature"][t + 1, 0, j], work["dx"][j])

        def state(j: Array) -> None:
            before = _linear([(*token, w["embed_state"], at)], j, back=True)
            work["dstate"][j] = before + work["dchange"][j] if spec.residual else before

        for name, stage in (("dx", block), ("dstate", state)):
            _each(work[name].shape[0], stage)
            self.wait()
        daction = _linear([(*token, w["embed_action"], at)], jnp.int32(0), back=True)
        return _tanh_back(work["action"][t, 0], daction)


def _update(settings: Settings, refs: Refs, t: Array, gradient: Array, decay: tuple[Array, Array]) -> None:
    """Takes a step on the actions at ``t``; ``decay`` is Adam's two rates, to the power of the steps taken."""
    step, moments = gradient, refs.work["moments"]
    if settings.optimizer == "adam":
        first = 0.9 * moments[0, t, 0] + 0.1 * gradient
        second = 0.999 * moments[1, t, 0] + 0.001 * gradient * gradient
        moments[0, t, 0], moments[1, t, 0] = first, second
        step = first / (1.0 - decay[0]) / (jnp.sqrt(second / (1.0 - decay[1])) + 1e-8)
    refs.latent[t, 0] = refs.latent[t, 0] - refs.rate[0] * step


def descend_tile(settings: Settings, *given: Any) -> None:
    """Runs all iterations of a tile; ``given`` are its `Refs`."""
    refs = Refs(*given)
    horizon, layers = refs.start.shape[0], settings.spec.layers

    def begin(t: Array) -> None:
        refs.latent[t, 0] = refs.start[t, 0]
        for moment in range(2):
            refs.work["moments"][moment, t, 0] = jnp.zeros_like(refs.start[t, 0])

    def iterate(k: Array, decay: tuple[Array, Array]) -> tuple[Array, Array]:
        tile, decay = Tile(settings, refs, refs.draws[k]), (decay[0] * 0.9, decay[1] * 0.999)

        def forward(t: Array, error: Array) -> Array:
            tile.embed(t)
            _each(layers, lambda n: tile.layer(t, n))
            return tile.predict(t, error)

        def backward(step: Array) -> None:
            t = horizon - 1 - step
            tile.predict_back(t)
            _each(layers, lambda n: tile.layer_back(t, layers - 1 - n))
            _update(settings, refs, t, tile.embed_back(t), decay)

        tile.begin()
        refs.loss[k] = jax.lax.fori_loop(0, horizon, forward, jnp.zeros(refs.loss.shape[1], jnp.float32))
        _each(horizon, backward)
        tile.wait()
        return decay

    _each(horizon, begin)
    jax.lax.fori_loop(0, refs.draws.shape[0], iterate, (jnp.float32(1.0), jnp.float32(1.0)))
