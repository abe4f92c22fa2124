"""Recurrent backbones: stacked plain, GRU or LSTM cells, with the gates as PyTorch and cuDNN have them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rgrl_jax.algos.rgrl.models.base import ModelSpec
from rgrl_jax.algos.rgrl.models.sequence_model import register_backbone
from rgrl_jax.types import Array, Key, PyTree


def rnn_step(input_weights: Array, hidden_weights: Array, bias: Array, hidden: Array, x: Array) -> Array:
    """Computes one step ``[d]`` of a plain cell, ``tanh(W x + U h + b)``.

    Weights are ``[d, d]``, the bias ``[2, d]`` of the input and of the hidden part.
    """
    return jnp.tanh(x @ input_weights + bias[0] + hidden @ hidden_weights + bias[1])


def gru_step(input_weights: Array, hidden_weights: Array, bias: Array, hidden: Array, x: Array) -> Array:
    """Computes one step ``[d]`` of a GRU cell, the reset gate applied after the product as in PyTorch and cuDNN.

    Weights are ``[d, 3d]``, gates in the order reset, update, new; the bias is ``[2, 3d]`` as in `rnn_step`.
    """
    from_x = x @ input_weights + bias[0]
    from_h = hidden @ hidden_weights + bias[1]
    d = hidden.shape[-1]
    gates = jax.nn.sigmoid(from_x[: 2 * d] + from_h[: 2 * d])
    reset, update = gates[:d], gates[d:]
    new = jnp.tanh(from_x[2 * d :] + reset * from_h[2 * d :])
    return new + update * (hidden - new)


def lstm_step(
    input_weights: Array, hidden_weights: Array, bias: Array, carry: tuple[Array, Array], x: Array
) -> tuple[Array, Array]:
    """Computes one step of an LSTM cell, which carries a hidden and a cell state ``[d]``.

    Weights are ``[d, 4d]``, gates in the order input, forget, new, output; the bias is ``[2, 4d]`` as in `rnn_step`.
    """
    hidden, cell = carry
    take, keep, new, emit = jnp.split(x @ input_weights + bias[0] + hidden @ hidden_weights + bias[1], 4)
    cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(take) * jnp.tanh(new)
    return jax.nn.sigmoid(emit) * jnp.tanh(cell), cell


class Cell(NamedTuple):
    """A kind of cell: how many gates, and ``step(input_weights, hidden_weights, bias, carry, x) -> carry``."""

    gates: int
    step: Callable[..., PyTree]
    has_cell_state: bool = False

    def initial(self, shape: tuple[int, ...], dtype: Any) -> PyTree:
        """Returns the carry before the first step, vectors of ``shape [..., d]``."""
        zeros = jnp.zeros(shape, dtype)
        return (zeros, zeros) if self.has_cell_state else zeros

    def output(self, carry: PyTree) -> Array:
        """Returns the hidden state in a carry."""
        return carry[0] if self.has_cell_state else carry


CELLS = {"rnn": Cell(1, rnn_step), "gru": Cell(3, gru_step), "lstm": Cell(4, lstm_step, True)}


def draw_recurrent(key: Key, shape: tuple[int, ...], dtype: Any = float) -> Array:
    """Draws U(-1/sqrt(d), 1/sqrt(d)), the usual recurrent law; ``shape [..., d, gates * d]``."""
    bound = shape[-2] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Recurrent(nn.Module):
    """Stacked cells of ``width`` d, of a kind in `CELLS`: ``"rnn"``, ``"gru"`` or ``"lstm"``."""

    cell: str
    width: int
    layers: int
    biases: bool = True

    def setup(self) -> None:
        """Makes the weights; linen calls this."""
        shape = (self.layers, self.width, CELLS[self.cell].gates * self.width)
        self.input_weights = self.param("input_weights", draw_recurrent, shape)
        self.hidden_weights = self.param("hidden_weights", draw_recurrent, shape)
        bias = (self.layers, 2, shape[-1])
        self.gate_bias = self.param("gate_bias", nn.initializers.zeros, bias) if self.biases else jnp.zeros(bias)

    def initial_state(self) -> PyTree:
        """Returns hidden states of zeros, ``[layers, d]``."""
        return CELLS[self.cell].initial((self.layers, self.width), self.input_weights.dtype)

    def reserve(self, memory: PyTree, n: int) -> PyTree:
        """Returns the memory as it is: a hidden state always has room."""
        del n
        return memory

    def scan(self, memory: PyTree, tokens: Array) -> tuple[PyTree, Array]:
        """Reads ``tokens [n, d]`` through all layers; the features are the last layer's hidden states."""
        if len(tokens) > 1:
            return jax.lax.scan(self._advance, memory, tokens)
        memory, feature = self._advance(memory, tokens[0])
        return memory, feature[None]

    def _advance(self, memory: PyTree, token: Array) -> tuple[PyTree, Array]:
        x, carries, cell = token, [], CELLS[self.cell]
        for layer in range(self.layers):
            weights = (self.input_weights[layer], self.hidden_weights[layer], self.gate_bias[layer])
            carries.append(cell.step(*weights, jax.tree.map(lambda m, i=layer: m[i], memory), x))
            x = cell.output(carries[-1])
        return jax.tree.map(lambda *rows: jnp.stack(rows), *carries), x


def _make(cell: str, spec: ModelSpec) -> Recurrent:
    return Recurrent(cell, spec.width, spec.layers, spec.biases)


for _cell in CELLS:
    register_backbone(_cell, partial(_make, _cell))
