"""Recurrent models with feedback: the predicted state is the next step's input.

Paper-time reference (spec part e): a token per step, ``tanh(W_s s + W_a a)``; ``L`` stacked GRU layers of
width ``d``; ``r = tanh(W_r h)`` and ``s' = tanh(W_s' h)``. The hidden state is carried along instead of
running the prefix anew, which gives the same numbers.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rgrl_jax.models.base import register_model
from rgrl_jax.types import Array, History, Key, ModelOutput, Params


def gru_step(input_weights: Array, hidden_weights: Array, bias: Array, hidden: Array, x: Array) -> Array:
    """One step of a GRU cell, the reset gate applied after the product as in PyTorch and cuDNN.

    Args:
      input_weights: ``[d, 3d]``, gates in the order reset, update, new.
      hidden_weights: ``[d, 3d]``.
      bias: ``[2, 3d]``, of the input and of the hidden part.
      hidden: ``[d]``.
      x: ``[d]``.

    Returns:
      The next hidden state ``[d]``.
    """
    from_x = x @ input_weights + bias[0]
    from_h = hidden @ hidden_weights + bias[1]
    d = hidden.shape[-1]
    gates = jax.nn.sigmoid(from_x[: 2 * d] + from_h[: 2 * d])
    reset, update = gates[:d], gates[d:]
    new = jnp.tanh(from_x[2 * d :] + reset * from_h[2 * d :])
    return new + update * (hidden - new)


def _uniform(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """U(-1/sqrt(d), 1/sqrt(d)), the usual recurrent initialiser; ``shape [..., d, 3d]``."""
    bound = shape[-2] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class GRU(nn.Module):
    """Stacked GRU with fed-back states.

    Attributes:
      state_size: ``S``.
      action_size: ``A``.
      reward_size: ``R``.
      width: ``d``, features per layer.
      layers: stacked layers.
      use_bias: biases everywhere; the reference has none.
      head: ``"tanh"`` squashes both outputs, ``"linear"`` leaves them free.
      residual: the state head predicts the change of the state instead of the state.
      unroll: steps of the time loop compiled into one body; more is faster to run and slower to compile.
    """

    state_size: int
    action_size: int
    reward_size: int
    width: int
    layers: int
    use_bias: bool = True
    head: str = "tanh"
    residual: bool = False
    unroll: int = 5

    def setup(self) -> None:
        """Makes the weights; linen calls this."""
        d, xavier = self.width, nn.initializers.xavier_normal()
        self.embed_state = self.param("embed_state", xavier, (self.state_size, d))
        self.embed_action = self.param("embed_action", xavier, (self.action_size, d))
        self.input_weights = self.param("input_weights", _uniform, (self.layers, d, 3 * d))
        self.hidden_weights = self.param("hidden_weights", _uniform, (self.layers, d, 3 * d))
        self.reward_head = self.param("reward_head", xavier, (d, self.reward_size))
        start = nn.initializers.zeros if self.residual else xavier  # "nothing changes" is a good first guess
        self.state_head = self.param("state_head", start, (d, self.state_size))
        self.token_bias = self._bias("token_bias", (d,))
        self.gate_bias = self._bias("gate_bias", (self.layers, 2, 3 * d))
        self.reward_bias = self._bias("reward_bias", (self.reward_size,))
        self.state_bias = self._bias("state_bias", (self.state_size,))

    def _bias(self, name: str, shape: tuple[int, ...]) -> Array:
        return self.param(name, nn.initializers.zeros, shape) if self.use_bias else jnp.zeros(shape)

    def _embed(self, state: Array, embedded_action: Array) -> Array:
        return jnp.tanh(state @ self.embed_state + embedded_action + self.token_bias)

    def _advance(self, hidden: Array, token: Array) -> Array:
        """Runs one token ``[d]`` through all layers: ``hidden [layers, d]`` to the next."""
        x, stack = token, []
        for layer in range(self.layers):
            x = gru_step(
                self.input_weights[layer], self.hidden_weights[layer], self.gate_bias[layer], hidden[layer], x
            )
            stack.append(x)
        return jnp.stack(stack)

    def remember(self, history: History) -> Array:
        """Hidden state ``[layers, d]`` after ``history`` (``[H, S]``, ``[H, A]``), from zero."""
        hidden = jnp.zeros((self.layers, self.width), self.embed_state.dtype)
        if not history.states.shape[0]:
            return hidden
        history = jax.tree.map(lambda x: x.astype(hidden.dtype), history)
        tokens = self._embed(history.states, history.actions @ self.embed_action)
        return jax.lax.scan(lambda h, x: (self._advance(h, x), None), hidden, tokens)[0]

    def __call__(self, memory: Array, present: Array, actions: Array) -> ModelOutput:
        """Rolls the plan out from ``memory [layers, d]`` and ``present [S]`` along ``actions [T, A]``."""

        def step(carry: tuple[Array, Array], action: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            hidden, state = carry
            hidden = self._advance(hidden, self._embed(state, action))
            change = hidden[-1] @ self.state_head + self.state_bias
            state = self._squash(change + state if self.residual else change)
            return (hidden, state), (hidden[-1], state)

        present, actions = (x.astype(self.embed_state.dtype) for x in (present, actions))
        embedded = actions @ self.embed_action  # leaves the loop as one product
        _, (features, states) = jax.lax.scan(step, (memory, present), embedded, unroll=self.unroll)
        return ModelOutput(self._squash(features @ self.reward_head + self.reward_bias), states)

    def _squash(self, x: Array) -> Array:
        return jnp.tanh(x) if self.head == "tanh" else x


class RecurrentModel:
    """The `Model` protocol around a linen module with ``remember`` and ``__call__``."""

    def __init__(self, module: Any):
        self.module = module

    def init(self, key: Key) -> Params:
        """Draws the weights of one member."""
        m = self.module
        memory = jnp.zeros((m.layers, m.width))
        return m.init(key, memory, jnp.zeros(m.state_size), jnp.zeros((1, m.action_size)))

    def remember(self, params: Params, history: History) -> Array:
        """Hidden state ``[layers, d]`` after the history."""
        return self.module.apply(params, history, method="remember")

    def apply(self, params: Params, memory: Array, present: Array, actions: Array) -> ModelOutput:
        """Predictions along ``actions [T, A]``."""
        return self.module.apply(params, memory, present, actions)


def make_gru(config: Any, *, state_size: int, action_size: int, reward_size: int) -> RecurrentModel:
    """Builds the GRU from ``width``, ``layers``, ``use_bias``, ``head``, ``residual`` and ``unroll`` of a config."""
    return RecurrentModel(
        GRU(
            state_size,
            action_size,
            reward_size,
            config.width,
            config.layers,
            config.use_bias,
            config.head,
            config.residual,
            config.unroll,
        )
    )


register_model("gru", make_gru)
