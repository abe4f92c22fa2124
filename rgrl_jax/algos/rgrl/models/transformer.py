"""Causal transformer backbones with a cache, and hybrids whose attention maps are recurrent."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rgrl_jax.algos.rgrl.models.base import ModelSpec
from rgrl_jax.algos.rgrl.models.recurrent import CELLS, draw_recurrent
from rgrl_jax.algos.rgrl.models.sequence_model import draw_matrices, register_backbone
from rgrl_jax.types import Array, PyTree

QUERY, KEY, VALUE, OUTPUT = range(4)


class Cache(struct.PyTreeNode):
    """Keys, values and recurrent carries of the tokens read so far.

    Attributes:
      rows: keys and values of each layer, ``[heads, rows, d / heads]`` each; rows not read yet are 0. Apart, and laid
        out as attention reads them, so that a loop over steps need not lay them out anew.
      carry: carries of a hybrid's recurrent maps, leaves ``[layers, 4, d]``; else empty.
    """

    rows: tuple[tuple[Array, Array], ...]
    carry: PyTree
    count: Array


def sinusoid(rows: int, width: int, doubled: bool = False) -> np.ndarray:
    """Makes fixed positions ``[rows, d]``: sine in the even columns, cosine in the odd ones.

    If ``doubled`` position / 10000^(2 i / d) for the even column i, as in the authors' code, not 10000^(i / d).
    """
    even = np.arange(0, width, 2)
    angle = np.arange(rows)[:, None] / 10000.0 ** ((2 if doubled else 1) * even / width)
    table = np.zeros((rows, width))
    table[:, 0::2], table[:, 1::2] = np.sin(angle), np.cos(angle)[:, : width // 2]
    return table


class Decoder(nn.Module):
    """Pre-norm blocks of causal attention and a feed-forward part.

    Attributes:
      width: ``d``, which ``heads`` divides.
      mixer: the maps to queries, keys, values and output: ``"linear"``, or one cell each that runs along the
        tokens, ``"rnn"``, ``"gru"`` or ``"lstm"``.
      doubled_positions: see `sinusoid`.
      linear_feed_forward: a single linear map, as in the authors' code, instead of two with gelu and a width of 4 d
        between them.
    """

    width: int
    layers: int
    heads: int
    mixer: str = "linear"
    biases: bool = True
    doubled_positions: bool = False
    linear_feed_forward: bool = False

    def setup(self) -> None:
        """Makes the weights; linen calls this."""
        d, layers, draw = self.width, self.layers, draw_matrices
        if self.mixer == "linear":
            self.maps = self.param("maps", draw, (layers, 4, d, d))
            self.map_bias = self._bias("map_bias", (layers, 4, d))
        else:
            shape = (layers, 4, d, CELLS[self.mixer].gates * d)
            self.input_weights = self.param("input_weights", draw_recurrent, shape)
            self.hidden_weights = self.param("hidden_weights", draw_recurrent, shape)
            self.gate_bias = self._bias("gate_bias", (layers, 4, 2, shape[-1]))
        wide = d if self.linear_feed_forward else 4 * d
        self.feed_in = self.param("feed_in", draw, (layers, d, wide))
        self.feed_in_bias = self._bias("feed_in_bias", (layers, wide))
        if not self.linear_feed_forward:
            self.feed_out = self.param("feed_out", draw, (layers, wide, d))
            self.feed_out_bias = self._bias("feed_out_bias", (layers, d))
        self.gain = self.param("gain", nn.initializers.ones, (2 * layers + 1, d))
        self.offset = self.param("offset", nn.initializers.zeros, (2 * layers + 1, d))

    def _bias(self, name: str, shape: tuple[int, ...]) -> Array:
        return self.param(name, nn.initializers.zeros, shape) if self.biases else jnp.zeros(shape)

    def initial_state(self) -> Cache:
        """Returns an empty cache."""
        dtype = self.gain.dtype
        carry = () if self.mixer == "linear" else CELLS[self.mixer].initial((self.layers, 4, self.width), dtype)
        empty = jnp.zeros((self.heads, 0, self.width // self.heads), dtype)
        return Cache(((empty, empty),) * self.layers, carry, jnp.int32(0))

    def reserve(self, memory: Cache, n: int) -> Cache:
        """Returns the cache with ``n`` more empty rows."""
        room = ((0, 0), (0, n), (0, 0))
        return memory.replace(rows=jax.tree.map(lambda rows: jnp.pad(rows, room), memory.rows))

    def scan(self, memory: Cache, tokens: Array) -> tuple[Cache, Array]:
        """Reads ``tokens [n, d]`` in one pass; the cache must have room for them."""
        table = jnp.asarray(sinusoid(memory.rows[0][0].shape[1], self.width, self.doubled_positions), tokens.dtype)
        x = tokens + jax.lax.dynamic_slice_in_dim(table, memory.count, len(tokens))
        caches, carries = [], []
        for layer in range(self.layers):
            carry = jax.tree.map(lambda c, i=layer: c[i], memory.carry)
            y = self._norm(2 * layer, x)
            carry, query = self._map(layer, QUERY, carry, y)
            carry, key = self._map(layer, KEY, carry, y)
            carry, value = self._map(layer, VALUE, carry, y)
            keys, values = (
                jax.lax.dynamic_update_slice_in_dim(old, self._by_head(new), memory.count, axis=1)
                for old, new in zip(memory.rows[layer], (key, value), strict=True)
            )
            carry, mixed = self._map(layer, OUTPUT, carry, self._attend(query, keys, values, memory.count))
            caches.append((keys, values))
            carries.append(carry)
            x = x + mixed
            x = x + self._feed(layer, self._norm(2 * layer + 1, x))
        carry = jax.tree.map(lambda *c: jnp.stack(c), *carries)
        return Cache(tuple(caches), carry, memory.count + len(tokens)), self._norm(2 * self.layers, x)

    def _norm(self, i: int, x: Array) -> Array:
        x = x - x.mean(axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(jnp.square(x).mean(axis=-1, keepdims=True) + 1e-5) * self.gain[i] + self.offset[i]

    def _map(self, layer: int, which: int, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        """Applies one of four maps ``[n, d] -> [n, d]``; a recurrent one moves its part of the carry ``[4, d]``."""
        if self.mixer == "linear":
            return carry, x @ self.maps[layer, which] + self.map_bias[layer, which]
        cell = CELLS[self.mixer]
        weights = (w[layer, which] for w in (self.input_weights, self.hidden_weights, self.gate_bias))
        step = partial(cell.step, *weights)

        def along(one: PyTree, row: Array) -> tuple[PyTree, Array]:
            one = step(one, row)
            return one, cell.output(one)

        one = jax.tree.map(lambda c: c[which], carry)
        if len(x) > 1:
            one, out = jax.lax.scan(along, one, x)
        else:
            one, out = along(one, x[0])
            out = out[None]
        return jax.tree.map(lambda c, new: c.at[which].set(new), carry, one), out

    def _by_head(self, x: Array) -> Array:
        """Splits ``[n, d]`` into ``[heads, n, d / heads]``."""
        return x.reshape(len(x), self.heads, -1).swapaxes(0, 1)

    def _attend(self, query: Array, keys: Array, values: Array, count: Array) -> Array:
        """Attends from ``query [n, d]`` to ``keys`` and ``values [heads, rows, d / heads]`` up to its own row."""
        n, rows, size = len(query), *keys.shape[1:]
        scores = jnp.einsum("hns,hrs->hnr", self._by_head(query), keys) * size**-0.5
        seen = jnp.arange(rows) <= count + jnp.arange(n)[:, None]
        shares = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        return jnp.einsum("hnr,hrs->nhs", shares, values).reshape(n, self.width)

    def _feed(self, layer: int, x: Array) -> Array:
        x = x @ self.feed_in[layer] + self.feed_in_bias[layer]
        if self.linear_feed_forward:
            return x
        return jax.nn.gelu(x) @ self.feed_out[layer] + self.feed_out_bias[layer]


def _make(mixer: str, spec: ModelSpec) -> Decoder:
    options = {name: getattr(spec, name) for name in ("biases", "doubled_positions", "linear_feed_forward")}
    return Decoder(spec.width, spec.layers, spec.heads, mixer, **options)


register_backbone("transformer", partial(_make, "linear"))
for _cell in CELLS:
    register_backbone(f"transformer_{_cell}", partial(_make, _cell))
