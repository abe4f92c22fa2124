"""What a model is, and the registry of models.

A model predicts, from a present state and a sequence of actions, the reward and the state after each
action. It is a pair of pure functions on an explicit pytree of weights, which a ``flax.linen`` module
with these method names satisfies as it is, and anything else (equinox, nnx, plain functions) can.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Protocol

from rgrl_jax.types import Array, History, Key, ModelOutput, Params, PyTree


class Model(Protocol):
    """``init`` / ``remember`` / ``apply``; everything is unbatched, ``vmap`` it from outside."""

    def init(self, key: Key) -> Params:
        """Draws the weights of one member."""

    def remember(self, params: Params, history: History) -> PyTree:
        """Digests ``history`` (``[H, S]``, ``[H, A]``) into a memory; run once per environment step."""

    def apply(
        self,
        params: Params,
        memory: PyTree,
        present: Array,
        actions: Array,
        states: Array | None = None,
        dropout_key: Key | None = None,
    ) -> ModelOutput:
        """Predicts ``reward [T, R]`` and ``state [T, S]`` from ``present [S]`` and ``actions [T, A]``.

        A model without feedback answers ``state = None``. ``states [T, S]`` are passed only if the config says
        ``teacher_forcing``: the true states after each action, to be read instead of those predicted; and
        ``dropout_key`` only if it asks for ``dropout``.
        """


ModelFactory = Callable[..., Model]
"""Called as ``make(config, state_size=S, action_size=A, reward_size=R)``; with ``encoder="conv"`` also with
``image_shape=(height, width[, channels])``, of the image that the leading entries of a state are."""

_MODELS: dict[str, ModelFactory] = {}


def register_model(name: str, make: ModelFactory) -> None:
    """Makes a model available as ``config.model = name``.

    Args:
      name: unused so far.
      make: ``make(config, *, state_size, action_size, reward_size) -> Model``.

    Raises:
      ValueError: the name is taken.
    """
    if name in _MODELS:
        raise ValueError(f"model {name!r} is already registered; pick another name")
    _MODELS[name] = make


def list_models() -> list[str]:
    """Names that ``config.model`` can take, sorted."""
    return sorted(_MODELS)


def factory(name: str) -> ModelFactory:
    """What makes the model called ``name``.

    Raises:
      ValueError: no such model; the message names the nearest ones.
    """
    if name not in _MODELS:
        near = difflib.get_close_matches(name, _MODELS, cutoff=0.3) or list_models()
        raise ValueError(f"model = {name!r} is not registered; nearest: {', '.join(near)}")
    return _MODELS[name]
