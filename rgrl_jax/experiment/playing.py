"""Noiseless episodes of a frozen agent, wherever its environment lives."""

from __future__ import annotations

from typing import Any

import jax

from rgrl_jax import training
from rgrl_jax.algos.base import Config
from rgrl_jax.experiment import host_rollout
from rgrl_jax.types import Array, Episode, Key


def play(key: Key, state: Any, config: Config, num_episodes: int = 1) -> Episode:
    """Plays ``N = num_episodes`` (static) noiseless episodes of the frozen agent of one run, in lockstep.

    A pure function, ready for ``jit`` and ``vmap``, over seeds for instance, unless the environment lives on the
    host: then it is called as it is. The leaves of the `Episode` are ``[L + 1, N, ...]`` or ``[N]``.

    Raises:
      ValueError: the environment lives on the host, and this is being compiled.
    """
    player = host_rollout.play if host_rollout.is_hosted(config) else training.play
    return player(key, state, config, num_episodes)


def evaluate(key: Key, state: Any, config: Config, num_episodes: int = 100) -> Array:
    """Returns the undiscounted returns ``[N]`` of `play`, as the environment pays them."""
    return play(key, state, config, num_episodes).episode_return


def evaluation_keys(state: Any) -> Key:
    """Derives the key of `rgrl_jax.training.evaluation_key` of one run, or the keys ``[N]`` of several."""
    draw = training.evaluation_key
    return (jax.vmap(draw) if state.episode.ndim else draw)(state)
