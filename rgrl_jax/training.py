"""Any algorithm as one compiled program."""

from __future__ import annotations

from typing import Any

import jax

from rgrl_jax.algos.base import get_algorithm
from rgrl_jax.types import Array, Episode, Key, Metrics


def init(key: Key, config: Any) -> Any:
    """The state before the first episode: arrays only.

    Args:
      key: decides the whole run.
      config: an algorithm's config.

    Raises:
      ValueError: a field of the config is out of range.
    """
    config.validate()
    return get_algorithm(config).init(key, config)


def train(
    key: Key | None, config: Any, state: Any | None = None, num_episodes: int | None = None
) -> tuple[Any, Metrics]:
    """Trains for a number of episodes: a pure function, ready for ``jit`` and ``vmap``.

    Keys are derived from the episode's number, so splitting a run over several calls, by passing the
    state of one to the next, changes no number.

    Args:
      key: decides the whole run; not used, and may be None, when ``state`` is given.
      config: an algorithm's config; its floats may be traced.
      state: where to continue; None starts anew.
      num_episodes: episodes to train now; None for ``config.episodes``. Static.

    Returns:
      The state after the last episode and `Metrics` with leaves ``[episodes]``.

    Raises:
      ValueError: a field of the config is out of range, or neither key nor state is given.
    """
    if state is None:
        if key is None:
            raise ValueError("key = None needs a state to continue from")
        state = init(key, config)
    step = get_algorithm(config).step

    def body(state: Any, _: None) -> tuple[Any, Metrics]:
        return step(state, config)

    return jax.lax.scan(body, state, length=config.episodes if num_episodes is None else num_episodes)


def play(key: Key, state: Any, config: Any, num_episodes: int = 1) -> Episode:
    """Plays fresh episodes with a frozen agent and no plan noise, in lockstep.

    Args:
      key: decides the episodes.
      state: as returned by `train`, of one run (``vmap`` for several).
      config: the config it was trained with.
      num_episodes: ``N``. Static.

    Returns:
      The `Episode`, everything in it ``[L + 1, N, ...]`` or ``[N]``.
    """
    return get_algorithm(config).play(key, state, config, num_episodes)


def evaluate(key: Key, state: Any, config: Any, num_episodes: int = 100) -> Array:
    """Undiscounted returns ``[N]`` of `play`, as the environment pays them."""
    return play(key, state, config, num_episodes).episode_return


def evaluation_key(state: Any) -> Key:
    """A key for evaluating a state that training never uses, another one after every episode."""
    return jax.random.fold_in(jax.random.fold_in(state.key, 2**32 - 1), state.episode)
