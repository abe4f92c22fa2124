"""Ensembles of mixed architectures: members take turns in what they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rgrl_jax.models.base import Model, factory
from rgrl_jax.types import Array, History, Key, ModelOutput, Params, PyTree


class MixedModel:
    """Several models behind the `Model` protocol.

    A member holds weights for every kind, so that all members are alike in shape, and a one-hot ``"kind"`` that
    says which of them it is. One member at a time, as in planning, runs its own kind alone; mapped over
    members, as in learning, all kinds run and one counts.
    """

    def __init__(self, models: Sequence[Model]):
        self.models = tuple(models)

    def init(self, key: Key, member: Array | int = 0) -> Params:
        """Draws the weights of one member, of kind ``member`` modulo the number of kinds."""
        keys = jax.random.split(key, len(self.models))
        kind = jax.nn.one_hot(jnp.asarray(member) % len(self.models), len(self.models))
        return {"kind": kind, "models": tuple(m.init(k) for m, k in zip(self.models, keys, strict=True))}

    def init_members(self, key: Key, size: int) -> Params:
        """Draws a whole ensemble ``[E, ...]`` whose members take turns."""
        return jax.vmap(self.init)(jax.random.split(key, size), jnp.arange(size))

    def remember(self, params: Params, history: History) -> PyTree:
        """A memory for every kind: which one is wanted is decided when it is used."""
        return tuple(m.remember(p, history) for m, p in zip(self.models, params["models"], strict=True))

    def apply(
        self,
        params: Params,
        memory: PyTree,
        present: Array,
        actions: Array,
        states: Array | None = None,
        dropout_key: Key | None = None,
    ) -> ModelOutput:
        """Predictions of the kind that the member is."""

        asked = {"states": states, "dropout_key": dropout_key}
        options = {name: value for name, value in asked.items() if value is not None}

        def branch(i: int) -> Callable[[], ModelOutput]:
            own = params["models"][i], memory[i]
            return lambda: self.models[i].apply(*own, present, actions, **options)

        kind = jnp.argmax(params["kind"])  # blind to what an optimiser's weight decay does to the 1
        return jax.lax.switch(kind, [branch(i) for i in range(len(self.models))])


def make_model(
    name: str,
    config: Any,
    *,
    state_size: int,
    action_size: int,
    reward_size: int,
    image_shape: tuple[int, ...] | None = None,
) -> Model:
    """Builds the model registered as ``name``, or a `MixedModel` of several names joined by ``+``.

    Args:
      name: ``"gru"``, or ``"gru+lstm+td"`` for members that take turns.
      config: what the model reads its settings from.
      state_size: ``S``.
      action_size: ``A``.
      reward_size: ``R``.
      image_shape: of the image that the leading entries of a state are, to embed it by convolutions.

    Raises:
      ValueError: no such model; the message names the nearest ones.
    """
    sizes: dict[str, Any] = {"state_size": state_size, "action_size": action_size, "reward_size": reward_size}
    if image_shape is not None:
        sizes["image_shape"] = image_shape
    models: list[Model] = [factory(kind)(config, **sizes) for kind in name.split("+")]
    if len(models) == 1:
        return models[0]
    return MixedModel(models)
