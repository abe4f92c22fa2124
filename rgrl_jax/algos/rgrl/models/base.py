"""The model protocol, and the registry of models.

A model predicts, from a present state and a sequence of actions, the reward and the state after each action. It is a
few pure functions on an explicit pytree of weights: a ``flax.linen`` module, equinox, nnx or plain functions can be
one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from rgrl_jax.algos.fields import nearest
from rgrl_jax.planning.outputs import ModelOutput
from rgrl_jax.types import Array, Key, Params, PyTree


class History(NamedTuple):
    """Steps before the present: ``states [H, S]``, ``actions [H, A]``, oldest first, -1 before the start."""

    states: Array
    actions: Array


class Model(Protocol):
    """Predicts rewards and states; everything is unbatched, ``vmap`` it from outside."""

    def init(self, key: Key) -> Params:
        """Draws the weights of one member."""

    def encode_history(self, params: Params, history: History) -> PyTree:
        """Encodes ``history`` (``[H, S]``, ``[H, A]``) into a memory; runs once per environment step."""

    def apply(
        self, params: Params, memory: PyTree, present: Array, actions: Array, states: Array | None = None
    ) -> ModelOutput:
        """Predicts ``reward [T, R]`` and ``state [T, S]`` from ``present [S]`` and ``actions [T, A]``.

        A model that predicts no states returns ``state = None``. With ``learner.teacher_forcing`` learning passes
        ``states [T, S]``, the true states after each action, to be read instead of the predicted ones.
        """


class ModelSpec(NamedTuple):
    """Sizes ``S``, ``A``, ``R`` and ``d``, and the settings of the same names that a model is made of.

    Attributes:
      reward_size: ``R``, one more with novelty.
      image_shape: shape of the image that the leading entries of a state are; None embeds the state by one map.
    """

    state_size: int
    action_size: int
    reward_size: int
    width: int = 32
    layers: int = 1
    heads: int = 4
    history_length: int = 0
    unroll: int = 1
    reward_from: str = "feature"
    image_shape: tuple[int, ...] | None = None
    biases: bool = True
    squash_outputs: bool = False
    residual: bool = True
    doubled_positions: bool = False
    linear_feed_forward: bool = False


ModelFactory = Callable[[ModelSpec], Model]

_MODELS: dict[str, ModelFactory] = {}


def register(name: str, make: ModelFactory) -> None:
    """Makes the model ``make(spec)`` of a `ModelSpec` available as ``model.kind = name``.

    Raises:
      ValueError: the name is taken.
      TypeError: ``make`` cannot be called.
    """
    if name in _MODELS:
        raise ValueError(f"model {name!r} is already registered; pick another name")
    if not callable(make):
        raise TypeError(f"make = {make!r} of model {name!r} must be a function of a ModelSpec")
    _MODELS[name] = make


def unregister(name: str) -> None:
    """Removes a model from the registry, if it is there."""
    _MODELS.pop(name, None)


def names() -> list[str]:
    """Lists the names that ``model.kind`` can take, sorted."""
    return sorted(_MODELS)


def check_name(name: str) -> None:
    """Checks that there is a model of this name.

    Raises:
      ValueError: there is none; the message gives the nearest ones.
    """
    if name not in _MODELS:
        raise ValueError(f"model.kind = {name!r} is not registered; nearest: {nearest(name, names())}")


def make(name: str, spec: ModelSpec) -> Model:
    """Makes the model registered as ``name``; raises a ValueError that names the nearest ones if there is none."""
    check_name(name)
    return _MODELS[name](spec)
