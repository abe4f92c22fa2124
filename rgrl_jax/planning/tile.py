"""The planning kernel from inside: the model steps and the descent of one tile of plans, stage by stage.

Letters as in `rgrl_jax.types`; besides, a row is one plan, and ``rows`` is how many of them a tile holds. Vectors
and weights are in blocks, see `rgrl_jax.planning.blocks`; `rgrl_jax.planning.kernel` brings them here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton as plgpu

from rgrl_jax.encoding import SQUASHES
from rgrl_jax.models.frame import Frame
from rgrl_jax.planning.blocks import CELLS, Cell, block_count, block_size
from rgrl_jax.planning.gradient import DISTANCES
from rgrl_jax.types import Array


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


def _linear(terms: list[tuple[Any, tuple[Any, ...], Any, tuple[Any, ...]]], j: Array, back: bool = False) -> Array:
    """Block ``j`` of a sum of products, ``[rows, block]``.

    Args:
      terms: vector, where in it, matrix, where in it.
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
    """``do(i)`` for every ``i < count``."""
    jax.lax.fori_loop(0, count, lambda i, _: do(i), None)


def _head(how: How, x: Array) -> Array:
    return jnp.tanh(x) if how.module.head == "tanh" else x


def _tanh_back(y: Array, dy: Array) -> Array:
    """Back through a tanh, from its output ``y``."""
    return dy * (1.0 - y * y)


def _squash_actions(how: How, latent: Array) -> Array:
    if how.squash != "tanh":  # entries that only fill up a block take no share
        entry = jax.lax.broadcasted_iota(jnp.int32, latent.shape, 1)
        latent = jnp.where(entry < how.module.action_size, latent, -1e30)
    return SQUASHES[how.squash](latent)


class Refs(NamedTuple):
    """Memory that a tile reads and writes; weights and what depends on them have a leading member axis ``E``.

    Attributes:
      weights: by name, in blocks.
      draws: members drawn ``[K]``.
      rate: step size ``[1]``.
      wishes: desired rewards ``[E, T, blocks, block]``.
      counts: how much each entry of a reward counts ``[T, blocks, block]``.
      factors: of predicted rewards ``[blocks, block]``.
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
    wishes: Any
    counts: Any
    factors: Any
    present: Any
    memory: Any
    start: Any
    latent: Any
    loss: Any
    work: dict[str, Any]


def working_memory(how: How, rows: int, horizon: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a tile's working memory. What is before a step is at ``t``, what is after it at ``t + 1``.

    ``feature`` holds a step's token and the outputs of all layers, ``cell`` an LSTM's other memory; names with a
    d are derivatives of the error, of one step.
    """
    module, layers = how.module, how.module.core.layers

    def vector(n: int, *lead: int) -> tuple[int, ...]:
        return (*lead, block_count(n), rows, block_size(n))

    d, state, reward, after = module.width, module.state_size, module.reward_size, horizon + 1
    shapes = {
        "moments": vector(module.action_size, 2, horizon),
        "action": vector(module.action_size, horizon),
        "feature": vector(d, after, layers + 1),
        "sums": vector(d, horizon, layers, how.cell.sums),
        "state": vector(state, after),
        "reward": vector(reward, horizon),
        "dx": vector(d),
        "dhidden": vector(d, layers),
        "dsums": vector(d, how.cell.sums),
        "dtoken": vector(d),
        "dstate": vector(state),
        "dchange": vector(state),
        "dreward": vector(reward),
    }
    if how.cell.has_cell_state:
        shapes |= {"cell": vector(d, after, layers), "dcell": vector(d, layers)}
    if module.reward_from == "state":
        shapes |= {"next": vector(d, horizon), "dnext": vector(d)}
    return shapes


class Tile(NamedTuple):
    """One member's model on one tile; each method is a stage, between which all threads wait for each other."""

    how: How
    refs: Refs
    m: Array

    def wait(self) -> None:
        """What one thread wrote another may read from here on."""
        if not self.how.interpret:
            plgpu.debug_barrier()

    def _bias(self, name: str, *at: Any) -> Array:
        return self.refs.weights[name][(self.m, *at)][None, :]

    def _memory(self, t: Array, layer: Array, j: Array) -> list[Array]:
        """A cell's memory before the step at ``t``."""
        work = self.refs.work
        hidden = work["feature"][t, layer + 1, j]
        return [hidden, work["cell"][t, layer, j]] if self.how.cell.has_cell_state else [hidden]

    def begin(self) -> None:
        """Present and memory before the first step; no derivatives after the last."""
        refs, work = self.refs, self.refs.work
        names = ("feature", "cell") if self.how.cell.has_cell_state else ("feature",)

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

        _each(self.how.module.core.layers, layer)
        _each(refs.present.shape[0], state)
        self.wait()

    def embed(self, t: Array) -> None:
        """Token of a step from its state and action."""
        work, w, at = self.refs.work, self.refs.weights, (self.m,)
        work["action"][t, 0] = _squash_actions(self.how, self.refs.latent[t, 0])
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
        """One cell's step."""
        work, w, cell = self.refs.work, self.refs.weights, self.how.cell
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
                sums.append(_linear(terms, j) + bias)
                work["sums"][t, n, place, j] = sums[-1]
            after = cell.step(sums, self._memory(t, n, j))
            work["feature"][t + 1, n + 1, j] = after[0]
            if cell.has_cell_state:
                work["cell"][t + 1, n, j] = after[1]

        _each(work["dx"].shape[0], block)
        self.wait()

    def predict(self, t: Array, error: Array) -> Array:
        """State and reward after a step; adds to the errors ``[rows]``."""
        work, w, module, at = self.refs.work, self.refs.weights, self.how.module, (self.m,)
        feature: tuple[Any, tuple[Any, ...]] = work["feature"], (t + 1, module.core.layers)

        def state(j: Array) -> None:
            change = _linear([(*feature, w["state_head"], at)], j) + self._bias("state_bias", j)
            work["state"][t + 1, j] = _head(self.how, change + work["state"][t, j] if module.residual else change)

        _each(work["dstate"].shape[0], state)
        self.wait()
        if module.reward_from == "state":
            after = work["state"], (t + 1,)

            def embed_next(j: Array) -> None:
                work["next"][t, j] = jnp.tanh(
                    _linear([(*after, w["embed_next"], at)], j) + self._bias("next_bias", j)
                )

            _each(work["dx"].shape[0], embed_next)
            self.wait()
            feature = work["next"], (t,)

        def reward(j: Array, error: Array) -> Array:
            found = _head(self.how, _linear([(*feature, w["reward_head"], at)], j) + self._bias("reward_bias", j))
            work["reward"][t, j] = found
            return error + self._gap(t, j, found).sum(axis=1)

        error = jax.lax.fori_loop(0, work["dreward"].shape[0], reward, error)
        self.wait()
        return error

    def _gap(self, t: Array, j: Array, reward: Array) -> Array:
        """Errors of a block of predicted rewards, entry by entry, weighted."""
        refs = self.refs
        gap = reward * refs.factors[j][None, :] - refs.wishes[self.m, t, j][None, :]
        return DISTANCES[self.how.distance](gap) * refs.counts[t, j][None, :]

    def predict_back(self, t: Array) -> None:
        """Back through `predict`, to the last layer's output."""
        work, w, module, at = self.refs.work, self.refs.weights, self.how.module, (self.m,)
        by_reward = (work["dreward"], (), w["reward_head"], at)
        by_change = (work["dchange"], (), w["state_head"], at)
        indirect = module.reward_from == "state"

        def reward(j: Array) -> None:
            found = work["reward"][t, j]
            (dfound,) = jax.vjp(lambda r: self._gap(t, j, r), found)[1](jnp.ones_like(found))
            work["dreward"][j] = _tanh_back(found, dfound) if module.head == "tanh" else dfound

        def embed_next(j: Array) -> None:
            work["dnext"][j] = _tanh_back(work["next"][t, j], _linear([by_reward], j, back=True))

        def state(j: Array) -> None:
            change = work["dstate"][j]
            if indirect:
                change = change + _linear([(work["dnext"], (), w["embed_next"], at)], j, back=True)
            work["dchange"][j] = _tanh_back(work["state"][t + 1, j], change) if module.head == "tanh" else change

        def feature(j: Array) -> None:
            work["dx"][j] = _linear([by_change] if indirect else [by_change, by_reward], j, back=True)

        stages = [("dreward", reward), ("dnext", embed_next), ("dstate", state), ("dx", feature)]
        for name, stage in stages:
            if name != "dnext" or indirect:
                _each(work[name].shape[0], stage)
                self.wait()

    def layer_back(self, t: Array, n: Array) -> None:
        """Back through one cell's step, to its input and to its memory."""
        work, w, cell = self.refs.work, self.refs.weights, self.how.cell

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
        """Back through `embed`, to the state before the step; returns the derivative by the latent actions."""
        work, w, module, at = self.refs.work, self.refs.weights, self.how.module, (self.m,)
        token = work["dtoken"], ()

        def block(j: Array) -> None:
            work["dtoken"][j] = _tanh_back(work["feature"][t + 1, 0, j], work["dx"][j])

        def state(j: Array) -> None:
            before = _linear([(*token, w["embed_state"], at)], j, back=True)
            work["dstate"][j] = before + work["dchange"][j] if module.residual else before

        for name, stage in (("dx", block), ("dstate", state)):
            _each(work[name].shape[0], stage)
            self.wait()
        daction = _linear([(*token, w["embed_action"], at)], jnp.int32(0), back=True)
        return jax.vjp(functools.partial(_squash_actions, self.how), self.refs.latent[t, 0])[1](daction)[0]


def _update(how: How, refs: Refs, t: Array, gradient: Array, decay: tuple[Array, Array]) -> None:
    """A step of the optimiser on the actions at ``t``; ``decay`` is Adam's two, to the power of the steps taken."""
    step, moments = gradient, refs.work["moments"]
    if how.optimizer == "adam":
        first = 0.9 * moments[0, t, 0] + 0.1 * gradient
        second = 0.999 * moments[1, t, 0] + 0.001 * gradient * gradient
        moments[0, t, 0], moments[1, t, 0] = first, second
        step = first / (1.0 - decay[0]) / (jnp.sqrt(second / (1.0 - decay[1])) + 1e-8)
    refs.latent[t, 0] = refs.latent[t, 0] - refs.rate[0] * step


def descend_tile(how: How, *given: Any) -> None:
    """All iterations of a tile; ``given`` are its `Refs`."""
    refs = Refs(*given)
    horizon, layers = refs.start.shape[0], how.module.core.layers

    def begin(t: Array) -> None:
        refs.latent[t, 0] = refs.start[t, 0]
        for moment in range(2):
            refs.work["moments"][moment, t, 0] = jnp.zeros_like(refs.start[t, 0])

    def iterate(k: Array, decay: tuple[Array, Array]) -> tuple[Array, Array]:
        tile, decay = Tile(how, refs, refs.draws[k]), (decay[0] * 0.9, decay[1] * 0.999)

        def forward(t: Array, error: Array) -> Array:
            tile.embed(t)
            _each(layers, lambda n: tile.layer(t, n))
            return tile.predict(t, error)

        def backward(step: Array) -> None:
            t = horizon - 1 - step
            tile.predict_back(t)
            _each(layers, lambda n: tile.layer_back(t, layers - 1 - n))
            _update(how, refs, t, tile.embed_back(t), decay)

        tile.begin()
        refs.loss[k] = jax.lax.fori_loop(0, horizon, forward, jnp.zeros(refs.loss.shape[1], jnp.float32))
        _each(horizon, backward)
        tile.wait()
        return decay

    _each(horizon, begin)
    jax.lax.fori_loop(0, refs.draws.shape[0], iterate, (jnp.float32(1.0), jnp.float32(1.0)))
