"""What an algorithm is: three pure functions, found by the type of its config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rgrl_jax.types import Episode, Key, Metrics


class Algorithm(NamedTuple):
    """An algorithm as pure functions on an explicit state.

    Attributes:
      init: ``(key, config) -> state``; a pytree of arrays only, with fields ``key``, ``episode`` and ``env_steps``.
      step: ``(state, config) -> (state, Metrics)``; one episode and the learning after it.
      play: ``(key, state, config, num_episodes) -> Episode``; noiseless episodes of the frozen agent.
    """

    init: Callable[[Key, Any], Any]
    step: Callable[[Any, Any], tuple[Any, Metrics]]
    play: Callable[[Key, Any, Any, int], Episode]


_ALGORITHMS: dict[type, tuple[str, Algorithm]] = {}


def register_algorithm(name: str, config_type: type, algorithm: Algorithm) -> None:
    """Makes ``train`` and its kin run ``algorithm`` for configs of ``config_type``.

    Raises:
      ValueError: the config type is taken.
    """
    if config_type in _ALGORITHMS:
        raise ValueError(f"an algorithm for {config_type.__name__} is already registered")
    _ALGORITHMS[config_type] = (name, algorithm)


def get_algorithm(config: Any) -> Algorithm:
    """The algorithm that runs this config.

    Raises:
      TypeError: nothing is registered for its type.
    """
    if type(config) not in _ALGORITHMS:
        known = ", ".join(t.__name__ for t in _ALGORITHMS)
        raise TypeError(f"no algorithm for a {type(config).__name__}; configs are: {known}")
    return _ALGORITHMS[type(config)][1]


def list_algorithms() -> dict[str, type]:
    """Algorithm names and the config type of each."""
    return {name: config_type for config_type, (name, _) in _ALGORITHMS.items()}
