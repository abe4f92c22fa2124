"""A feed-forward core: the next state and reward follow from the present token and the last few before it."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from rgrl_jax.models.frame import draw_matrices, register_core
from rgrl_jax.types import Array


class MLP(nn.Module):
    """Dense layers with tanh between them.

    Attributes:
      width: ``d``.
      layers: dense layers after the token.
      history: tokens before the present one that are read beside it, ``H``.
      use_bias: biases in the layers.
      initializer: of their weights, by name.
    """

    width: int
    layers: int
    history: int = 0
    use_bias: bool = True
    initializer: str = "xavier_normal"

    def setup(self) -> None:
        """Makes the weights; linen calls this."""
        draw = draw_matrices(self.initializer)
        self.dense = self.param("dense", draw, (self.layers, self.width, self.width))
        if self.history:
            self.past = self.param("past", draw, (self.history * self.width, self.width))
        bias = (self.layers, self.width)
        self.bias = self.param("bias", nn.initializers.zeros, bias) if self.use_bias else jnp.zeros(bias)

    def start(self) -> Array:
        """The tokens before the first ``[H, d]``: nothing."""
        return jnp.zeros((self.history, self.width), self.dense.dtype)

    def extend(self, memory: Array, n: int) -> Array:
        """Room for the last ``H`` tokens is always there."""
        del n
        return memory

    def sweep(self, memory: Array, tokens: Array) -> tuple[Array, Array]:
        """Every token ``[n, d]`` by itself, with the ``H`` before it."""
        seen, n = jnp.concatenate([memory, tokens]), len(tokens)
        x = tokens
        if self.history:
            before = jnp.arange(n)[:, None] + jnp.arange(self.history)
            x = x + seen[before].reshape(n, -1) @ self.past
        for layer in range(self.layers):
            x = jnp.tanh(x @ self.dense[layer] + self.bias[layer])
        return seen[n:], x


def _make(config: Any) -> MLP:
    return MLP(config.width, config.layers, config.history_length, config.use_bias, config.initializer)


register_core("mlp", _make)
