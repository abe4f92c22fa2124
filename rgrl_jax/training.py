"""Any algorithm as one compiled program."""

from __future__ import annotations

from typing import Any

import jax

from rgrl_jax.algos.base import Config, get_algorithm
from rgrl_jax.rollout import rollout
from rgrl_jax.types import Episode, Key, Metrics


def init(key: Key, config: Config) -> Any:
    """Makes the state before the first episode.

    Args:
      key: decides the whole run.
      config: config of an algorithm.

    Returns:
      The algorithm's state, arrays only.

    Raises:
      ValueError: a field of the config is out of range.
    """
    config.validate()
    return get_algorithm(config).init(key, config)


def train(
    key: Key | None, config: Config, state: Any | None = None, num_episodes: int | None = None
) -> tuple[Any, Metrics]:
    """Trains for a number of episodes: a pure function, ready for ``jit`` and ``vmap``.

    Keys are derived from the episode's number, so splitting a run over several calls, by passing the state of one to
    the next, changes no number.

    Args:
      key: decides the whole run; not used, and may be None, when ``state`` is given.
      config: config of an algorithm; its floats may be traced.
      state: where to continue; None starts anew.
      num_episodes: episodes to train now; None for ``config.episodes``. Static.

    Returns:
      The state after the last episode, and `Metrics` with leaves ``[episodes]``.

    Raises:
      ValueError: a field of the config is out of range, or neither key nor state is given.
    """
    if state is None:
        if key is None:
            raise ValueError("key = None needs a state to continue from")
        state = init(key, config)

    def body(state: Any, _: None) -> tuple[Any, Metrics]:
        return step(state, config)

    return jax.lax.scan(body, state, length=config.episodes if num_episodes is None else num_episodes)


def step(state: Any, config: Config) -> tuple[Any, Metrics]:
    """Trains for one row of the metrics: one episode and what is learnt from it, or ``config.episodes_per_row``."""
    if config.episodes_per_row == 1:
        return _play_and_learn(state, config)

    def body(state: Any, _: None) -> tuple[Any, Metrics]:
        return _play_and_learn(state, config)

    return mean_row(*jax.lax.scan(body, state, length=config.episodes_per_row))


def _play_and_learn(state: Any, config: Config) -> tuple[Any, Metrics]:
    # The host loop of `rgrl_jax.experiment` makes the same two calls around episodes that it steps itself.
    algorithm = get_algorithm(config)
    episode, carry = rollout(config.spec, algorithm.act(state, config))
    return algorithm.learn(state, episode, carry, config)


def mean_row(state: Any, rows: Metrics) -> tuple[Any, Metrics]:
    """Averages `Metrics` with leaves ``[episodes]`` that count as one row, after which the run is in ``state``."""
    mean = jax.tree.map(lambda x: x.mean().astype(x.dtype), rows)
    counts = {"episode": state.episode, "env_steps": state.env_steps}
    return state, mean.replace(**counts, terminated=rows.terminated.all())


def play(key: Key, state: Any, config: Config, num_episodes: int = 1) -> Episode:
    """Plays noiseless episodes of the frozen agent, in lockstep.

    Args:
      key: decides the episodes.
      state: as returned by `train`, of one run (``vmap`` for several).
      config: config that it was trained with.
      num_episodes: ``N``. Static.

    Returns:
      The `Episode`, leaves ``[L + 1, N, ...]`` or ``[N]``.
    """
    actor = get_algorithm(config).evaluation_actor(key, state, config, num_episodes)
    return rollout(config.spec, actor)[0]


def evaluation_key(state: Any) -> Key:
    """Derives a key for evaluating a state that training never uses, another one after every episode."""
    return jax.random.fold_in(jax.random.fold_in(state.key, 2**32 - 1), state.episode)
