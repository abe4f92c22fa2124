"""A feed-forward backbone: the feature follows from the present token and the last few before it."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from rgrl_jax.algos.rgrl.models.sequence_model import draw_matrices, register_backbone
from rgrl_jax.types import Array


class MLP(nn.Module):
    """Dense layers of ``width`` d with tanh between them; ``history`` H tokens are read beside the present one."""

    width: int
    layers: int
    history: int = 0
    biases: bool = True

    def setup(self) -> None:
        """Makes the weights; linen calls this."""
        self.dense = self.param("dense", draw_matrices, (self.layers, self.width, self.width))
        if self.history:
            self.past = self.param("past", draw_matrices, (self.history * self.width, self.width))
        bias = (self.layers, self.width)
        self.bias = self.param("bias", nn.initializers.zeros, bias) if self.biases else jnp.zeros(bias)

    def initial_state(self) -> Array:
        """Returns the tokens before the first ``[H, d]``: zeros."""
        return jnp.zeros((self.history, self.width), self.dense.dtype)

    def reserve(self, memory: Array, n: int) -> Array:
        """Returns the memory as it is: the last ``H`` tokens always have room."""
        del n
        return memory

    def scan(self, memory: Array, tokens: Array) -> tuple[Array, Array]:
        """Reads every token ``[n, d]`` by itself, with the ``H`` before it."""
        seen, n = jnp.concatenate([memory, tokens]), len(tokens)
        x = tokens
        if self.history:
            before = jnp.arange(n)[:, None] + jnp.arange(self.history)
            x = x + seen[before].reshape(n, -1) @ self.past
        for layer in range(self.layers):
            x = jnp.tanh(x @ self.dense[layer] + self.bias[layer])
        return seen[n:], x


register_backbone("mlp", lambda spec: MLP(spec.width, spec.layers, spec.history_length, spec.biases))
