"""Environments by name."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable

import jax

from rgrl_jax.envs.spec import EnvSpec, repeat_actions

MakeSpec = Callable[[int | None], EnvSpec]
"""Called as ``make(max_steps)``; None asks for the environment's own step limit."""

_ENVS: dict[str, MakeSpec] = {}


def register_env(env_id: str, make: MakeSpec) -> None:
    """Makes an environment available as ``config.env_id = env_id``.

    Args:
      env_id: unused so far.
      make: ``make(max_steps) -> EnvSpec``; ``max_steps`` is None for the environment's own limit.

    Raises:
      ValueError: the name is taken.
    """
    if env_id in _ENVS:
        raise ValueError(f"environment {env_id!r} is already registered; pick another name")
    _ENVS[env_id] = make


def list_envs() -> list[str]:
    """Registered names, in the order of registration."""
    return list(_ENVS)


def make_spec(env_id: str, max_steps: int | None = None, action_repeat: int = 1) -> EnvSpec:
    """Looks an environment up; equal arguments give the same object, so nothing compiles twice.

    Args:
      env_id: a registered name.
      max_steps: step limit, or None for the environment's own.
      action_repeat: see `repeat_actions`.

    Raises:
      ValueError: no such environment; the message names the nearest ones.
    """
    if env_id not in _ENVS:
        near = difflib.get_close_matches(env_id, _ENVS, n=3, cutoff=0.3) or list_envs()
        raise ValueError(f"env_id = {env_id!r} is not registered; nearest: {', '.join(near)}")
    return _cached_spec(env_id, max_steps, action_repeat)


@functools.cache
def _cached_spec(env_id: str, max_steps: int | None, action_repeat: int) -> EnvSpec:
    with jax.ensure_compile_time_eval():  # no tracer may stay in the cache
        spec = _ENVS[env_id](max_steps)
    return spec if action_repeat == 1 else repeat_actions(spec, action_repeat)
