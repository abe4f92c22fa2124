"""What the built-in networks share: tokens in, predicted states fed back, reward and state heads out.

Paper-time reference (spec part e): one token per step, ``tanh(W_s s + W_a a)``; a core that reads the tokens so
far; ``r = tanh(W_r h)`` and ``s' = tanh(W_s' h)``, and s' is the state of the next token. The core carries what
it needs of the prefix along instead of reading it anew, which gives the same numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from rgrl_jax.models.base import register_model
from rgrl_jax.models.encoder import Conv
from rgrl_jax.types import Array, History, Key, ModelOutput, Params, PyTree

INITIALIZERS: dict[str, Callable[..., Array]] = {
    "xavier_normal": jax.nn.initializers.xavier_normal(),
    "xavier_uniform": jax.nn.initializers.xavier_uniform(),
    "he_normal": jax.nn.initializers.he_normal(),
    "he_uniform": jax.nn.initializers.he_uniform(),
    "lecun_normal": jax.nn.initializers.lecun_normal(),
    "orthogonal": jax.nn.initializers.orthogonal(),
}


def draw_matrices(name: str) -> Callable[[Key, tuple[int, ...]], Array]:
    """An initialiser by name for stacks of matrices ``[..., n, m]``, each drawn by itself."""

    def draw(key: Key, shape: tuple[int, ...]) -> Array:
        keys = jax.random.split(key, math.prod(shape[:-2]))
        return jax.vmap(lambda k: INITIALIZERS[name](k, shape[-2:]))(keys).reshape(shape)

    return draw


class Core(Protocol):
    """Reads tokens ``[n, d]`` in order; a linen module whose weights are made in ``setup``."""

    def start(self) -> PyTree:
        """The memory before the first token."""

    def extend(self, memory: PyTree, n: int) -> PyTree:
        """The same memory with room for ``n`` more tokens, for cores that need room."""

    def sweep(self, memory: PyTree, tokens: Array) -> tuple[PyTree, Array]:
        """Reads ``tokens [n, d]`` at once; returns the next memory and a feature per token ``[n, d]``."""


class Frame(nn.Module):
    """A core between token embedding and heads.

    Attributes:
      core: what reads the tokens.
      state_size: ``S``.
      action_size: ``A``.
      reward_size: ``R``.
      width: ``d``, features of a token.
      use_bias: biases everywhere; the reference has none.
      head: ``"tanh"`` squashes both outputs, ``"linear"`` leaves them free.
      residual: the state head predicts the change of the state instead of the state.
      feedback: predict states and feed them back; else the present state is a token of its own, the actions
        follow it, no state is predicted, and all steps are one causal pass.
      unroll: steps of the feedback loop compiled into one body; best a divisor of the plan's length.
      initializer: of the linear maps, by name.
      dropout: share of entries dropped when a key is given.
      reward_from: ``"feature"``, or ``"state"``: the reward head reads the predicted next state and nothing else.
      image_shape: of the image in a state, to embed it by convolutions; None embeds the vector by one map.
    """

    core: Any
    state_size: int
    action_size: int
    reward_size: int
    width: int
    use_bias: bool = True
    head: str = "tanh"
    residual: bool = False
    feedback: bool = True
    unroll: int = 15
    initializer: str = "xavier_normal"
    dropout: float = 0.0
    reward_from: str = "feature"
    image_shape: tuple[int, ...] | None = None

    def setup(self) -> None:
        """Makes the weights; linen calls this."""
        d, draw = self.width, draw_matrices(self.initializer)
        if self.image_shape is None:
            self.embed_state = self.param("embed_state", draw, (self.state_size, d))
        else:
            self.conv = Conv(self.image_shape, d)
        self.embed_action = self.param("embed_action", draw, (self.action_size, d))
        self.token_bias = self._bias("token_bias", d)
        self.reward_head = self.param("reward_head", draw, (d, self.reward_size))
        self.reward_bias = self._bias("reward_bias", self.reward_size)
        if self.reward_from == "state":
            self.embed_next = self.param("embed_next", draw, (self.state_size, d))
            self.next_bias = self._bias("next_bias", d)
        if self.feedback:
            start = nn.initializers.zeros if self.residual else draw  # "nothing changes" is a good first guess
            self.state_head = self.param("state_head", start, (d, self.state_size))
            self.state_bias = self._bias("state_bias", self.state_size)

    def _bias(self, name: str, size: int) -> Array:
        return self.param(name, nn.initializers.zeros, (size,)) if self.use_bias else jnp.zeros(size)

    def _cast(self, *arrays: Array) -> Any:
        return tuple(x.astype(self.embed_action.dtype) for x in arrays)

    def _token(self, state: Array, embedded_action: Array) -> Array:
        embedded = state @ self.embed_state if self.image_shape is None else self.conv(state)
        return jnp.tanh(embedded + embedded_action + self.token_bias)

    def _squash(self, x: Array) -> Array:
        return jnp.tanh(x) if self.head == "tanh" else x

    def _reward(self, features: Array, states: Array | None = None) -> Array:
        if self.reward_from == "state" and states is not None:
            features = jnp.tanh(states @ self.embed_next + self.next_bias)
        return self._squash(features @ self.reward_head + self.reward_bias)

    def _next_state(self, feature: Array, state: Array) -> Array:
        change = feature @ self.state_head + self.state_bias
        return self._squash(change + state if self.residual else change)

    def _masks(self, key: Key | None) -> tuple[Any, Any]:
        """Factors of tokens and of features, ``[d]`` each; 1 without a key."""
        if key is None:
            return 1.0, 1.0
        kept = jax.random.bernoulli(key, 1.0 - self.dropout, (2, self.width))
        return tuple(kept.astype(self.embed_action.dtype) / (1.0 - self.dropout))

    def remember(self, history: History) -> PyTree:
        """The core's memory after ``history`` (``[H, S]``, ``[H, A]``)."""
        states, actions = self._cast(*history)
        memory = self.core.start()
        if not states.shape[0]:
            return memory
        memory = self.core.extend(memory, states.shape[0])
        return self.core.sweep(memory, self._token(states, actions @ self.embed_action))[0]

    def __call__(
        self,
        memory: PyTree,
        present: Array,
        actions: Array,
        states: Array | None = None,
        dropout_key: Key | None = None,
    ) -> ModelOutput:
        """Predictions from ``memory`` and ``present [S]`` along ``actions [T, A]``.

        With ``states [T, S]``, those after each action, the model is told what it would have to predict:
        every token reads the true state before it, and all steps are one pass ("teacher forcing"). With a key,
        entries of tokens and features are dropped, the same at every step (Gal and Ghahramani 2016).
        """
        present, actions = self._cast(present, actions)
        keep_token, keep_feature = self._masks(dropout_key)
        embedded = actions @ self.embed_action  # leaves the loop as one product
        memory = self.core.extend(memory, len(actions) + (not self.feedback))
        if not self.feedback:
            first = self._token(present, jnp.zeros(self.width, present.dtype))
            tokens = jnp.concatenate([first[None], jnp.tanh(embedded + self.token_bias)]) * keep_token
            return ModelOutput(self._reward(self.core.sweep(memory, tokens)[1][1:] * keep_feature), None)
        if states is not None:
            before = jnp.concatenate([present[None], *self._cast(states[:-1])])
            features = self.core.sweep(memory, self._token(before, embedded) * keep_token)[1] * keep_feature
            after = self._next_state(features, before)
            return ModelOutput(self._reward(features, after), after)

        def step(carry: tuple[PyTree, Array], action: Array) -> tuple[tuple[PyTree, Array], tuple[Array, Array]]:
            memory, state = carry
            memory, features = self.core.sweep(memory, (self._token(state, action) * keep_token)[None])
            feature = features[0] * keep_feature
            state = self._next_state(feature, state)
            return (memory, state), (feature, state)

        unroll = min(self.unroll, len(embedded))  # more would be compiled, and skipped
        _, (features, predicted) = jax.lax.scan(step, (memory, present), embedded, unroll=unroll)
        return ModelOutput(self._reward(features, predicted), predicted)


class FrameModel:
    """The `Model` protocol around a `Frame`."""

    def __init__(self, module: Frame):
        self.module = module

    def init(self, key: Key) -> Params:
        """Draws the weights of one member."""

        def touch(module: Frame) -> ModelOutput:
            state, action = jnp.zeros((1, module.state_size)), jnp.zeros((1, module.action_size))
            return module(module.core.start(), state[0], action, state if module.feedback else None)

        return self.module.init(key, method=touch)

    def remember(self, params: Params, history: History) -> PyTree:
        """The memory after a history."""
        return self.module.apply(params, history, method="remember")

    def apply(
        self,
        params: Params,
        memory: PyTree,
        present: Array,
        actions: Array,
        states: Array | None = None,
        dropout_key: Key | None = None,
    ) -> ModelOutput:
        """Predictions along ``actions [T, A]``; see `Frame` for the rest."""
        out: Any = self.module.apply(params, memory, present, actions, states, dropout_key)
        return out


def register_core(name: str, make_core: Callable[[Any], Any]) -> None:
    """Registers a model that is a `Frame` around ``make_core(config)``."""

    def make(
        config: Any,
        *,
        state_size: int,
        action_size: int,
        reward_size: int,
        image_shape: tuple[int, ...] | None = None,
    ) -> FrameModel:
        fields = (
            "width",
            "use_bias",
            "head",
            "residual",
            "feedback",
            "unroll",
            "initializer",
            "dropout",
            "reward_from",
        )
        settings = {field: getattr(config, field) for field in fields} | {"image_shape": image_shape}
        return FrameModel(Frame(make_core(config), state_size, action_size, reward_size, **settings))

    register_model(name, functools.wraps(make_core)(make))
