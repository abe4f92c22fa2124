"""The frame of the built-in models: tokens in, predicted states fed back, reward and state heads out.

As in the authors' code there is one token per step, ``tanh(W_s s + W_a a)``; a backbone reads the tokens so far; and
``r = tanh(W_r h)`` and ``s' = tanh(W_s' h)``, where s' is the state of the next token. The backbone carries what it
needs of the prefix along instead of reading it anew, which gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from rgrl_jax.algos.rgrl.models.base import History, ModelSpec, register
from rgrl_jax.algos.rgrl.models.conv import Conv
from rgrl_jax.planning.outputs import ModelOutput
from rgrl_jax.types import Array, Key, Params, PyTree


def draw_matrices(key: Key, shape: tuple[int, ...]) -> Array:
    """Draws a stack of matrices ``[..., n, m]``, each by itself from Glorot and Bengio's normal law (2010)."""
    keys = jax.random.split(key, math.prod(shape[:-2]))
    draw = jax.nn.initializers.xavier_normal()
    return jax.vmap(lambda k: draw(k, shape[-2:]))(keys).reshape(shape)


class Backbone(Protocol):
    """Reads tokens ``[n, d]`` in order; a linen module whose weights are made in ``setup``."""

    def initial_state(self) -> PyTree:
        """Returns the memory before the first token."""

    def reserve(self, memory: PyTree, n: int) -> PyTree:
        """Returns the same memory with room for ``n`` more tokens."""

    def scan(self, memory: PyTree, tokens: Array) -> tuple[PyTree, Array]:
        """Reads ``tokens [n, d]``; returns the next memory and a feature per token ``[n, d]``."""


class SequenceModel(nn.Module):
    """A `Backbone` between token embedding and heads."""

    core: Any
    spec: ModelSpec

    def setup(self) -> None:
        """Makes the weights; linen calls this."""
        spec, d, draw = self.spec, self.spec.width, draw_matrices
        if spec.image_shape is None:
            self.embed_state = self.param("embed_state", draw, (spec.state_size, d))
        else:
            self.conv = Conv(spec.image_shape, d)
        self.embed_action = self.param("embed_action", draw, (spec.action_size, d))
        self.token_bias = self._bias("token_bias", d)
        self.reward_head = self.param("reward_head", draw, (d, spec.reward_size))
        self.reward_bias = self._bias("reward_bias", spec.reward_size)
        if spec.reward_from == "state":
            self.embed_next = self.param("embed_next", draw, (spec.state_size, d))
            self.next_bias = self._bias("next_bias", d)
        # "Nothing changes" is a good first guess where the change is predicted.
        first_guess = nn.initializers.zeros if spec.residual else draw
        self.state_head = self.param("state_head", first_guess, (d, spec.state_size))
        self.state_bias = self._bias("state_bias", spec.state_size)

    def _bias(self, name: str, size: int) -> Array:
        return self.param(name, nn.initializers.zeros, (size,)) if self.spec.biases else jnp.zeros(size)

    def _cast(self, *arrays: Array) -> Any:
        return tuple(x.astype(self.embed_action.dtype) for x in arrays)

    def _token(self, state: Array, embedded_action: Array) -> Array:
        embedded = state @ self.embed_state if self.spec.image_shape is None else self.conv(state)
        return jnp.tanh(embedded + embedded_action + self.token_bias)

    def _squash(self, x: Array) -> Array:
        return jnp.tanh(x) if self.spec.squash_outputs else x

    def _reward(self, features: Array, states: Array) -> Array:
        if self.spec.reward_from == "state":
            features = jnp.tanh(states @ self.embed_next + self.next_bias)
        return self._squash(features @ self.reward_head + self.reward_bias)

    def _next_state(self, feature: Array, state: Array) -> Array:
        change = feature @ self.state_head + self.state_bias
        return self._squash(change + state if self.spec.residual else change)

    def encode_history(self, history: History) -> PyTree:
        """Returns the backbone's memory after ``history`` (``[H, S]``, ``[H, A]``)."""
        states, actions = self._cast(*history)
        memory = self.core.initial_state()
        if not states.shape[0]:
            return memory
        memory = self.core.reserve(memory, states.shape[0])
        return self.core.scan(memory, self._token(states, actions @ self.embed_action))[0]

    def __call__(self, memory: PyTree, present: Array, actions: Array, states: Array | None = None) -> ModelOutput:
        """Predicts from ``memory`` and ``present [S]`` along ``actions [T, A]``.

        With ``states [T, S]``, those after each action, every token reads the true state before it, and all steps are
        one pass ("teacher forcing").
        """
        present, actions = self._cast(present, actions)
        embedded = actions @ self.embed_action  # leaves the loop as one product
        memory = self.core.reserve(memory, len(actions))
        if states is not None:
            before = jnp.concatenate([present[None], *self._cast(states[:-1])])
            features = self.core.scan(memory, self._token(before, embedded))[1]
            after = self._next_state(features, before)
            return ModelOutput(self._reward(features, after), after)

        def step(carry: tuple[PyTree, Array], action: Array) -> tuple[tuple[PyTree, Array], tuple[Array, Array]]:
            memory, state = carry
            memory, features = self.core.scan(memory, self._token(state, action)[None])
            state = self._next_state(features[0], state)
            return (memory, state), (features[0], state)

        unroll = min(self.spec.unroll, len(embedded))  # more would be compiled, and skipped
        _, (features, predicted) = jax.lax.scan(step, (memory, present), embedded, unroll=unroll)
        return ModelOutput(self._reward(features, predicted), predicted)


class FlaxModel:
    """The `Model` protocol around a `SequenceModel`."""

    def __init__(self, module: SequenceModel):
        self.module = module

    def init(self, key: Key) -> Params:
        """Draws the weights of one member."""

        def touch(module: SequenceModel) -> ModelOutput:
            state, action = jnp.zeros((1, module.spec.state_size)), jnp.zeros((1, module.spec.action_size))
            return module(module.core.initial_state(), state[0], action, state)

        return self.module.init(key, method=touch)

    def encode_history(self, params: Params, history: History) -> PyTree:
        """Returns the memory after a history."""
        return self.module.apply(params, history, method="encode_history")

    def apply(
        self, params: Params, memory: PyTree, present: Array, actions: Array, states: Array | None = None
    ) -> ModelOutput:
        """Predicts along ``actions [T, A]``; see `SequenceModel`."""
        out: Any = self.module.apply(params, memory, present, actions, states)
        return out


def register_backbone(name: str, make_backbone: Callable[[ModelSpec], Any]) -> None:
    """Registers the model that is a `SequenceModel` around ``make_backbone(spec)``."""
    register(name, lambda spec: FlaxModel(SequenceModel(make_backbone(spec), spec)))
