"""Environments by name."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable

import jax

from rgrl_jax.envs.check import check_spec
from rgrl_jax.envs.spec import EnvSpec, repeat_actions

MakeSpec = Callable[[int | None], EnvSpec]
"""Called as ``make(max_steps)``; None asks for the environment's own step limit."""

_ENVS: dict[str, MakeSpec] = {}
_SOURCES: dict[str, Callable[[str, int | None], EnvSpec]] = {}


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


def register_source(source: str, make: Callable[[str, int | None], EnvSpec]) -> None:
    """Makes ``make(name, max_steps)`` answer for every ``env_id`` of the form ``source:name``."""
    _SOURCES[source] = make


def is_known(env_id: str) -> bool:
    """Whether it is registered, or comes from a source that is; that may still lack it."""
    source, colon, _ = env_id.partition(":")
    return env_id in _ENVS or (bool(colon) and source in _SOURCES)


def check_env(env_id: str) -> None:
    """Makes sure that `is_known`.

    Raises:
      ValueError: it is not; the message names the nearest ones.
    """
    if not is_known(env_id):
        near = difflib.get_close_matches(env_id, _ENVS, n=3, cutoff=0.3) or list_envs()
        more = "".join(f"; any environment of {source} is {source}:ID" for source in _SOURCES)
        raise ValueError(f"env_id = {env_id!r} is not registered; nearest: {', '.join(near)}{more}")


def list_envs() -> list[str]:
    """Registered names, in the order of registration."""
    return list(_ENVS)


def make_spec(env_id: str, max_steps: int | None = None, action_repeat: int = 1) -> EnvSpec:
    """Looks an environment up; equal arguments give the same object, so nothing compiles twice.

    Args:
      env_id: a registered name; or ``gymnasium:ID`` for an environment of Gymnasium, ``mjx:ID`` for those of its
        MuJoCo tasks that are compiled, ``brax:NAME`` for one of Brax.
      max_steps: step limit, or None for the environment's own.
      action_repeat: see `repeat_actions`.

    Raises:
      ValueError: no such environment, see `check_env`, or it cannot be made, or see `check_spec`.
      TypeError: see `check_spec`.
    """
    check_env(env_id)
    return _cached_spec(env_id, max_steps, action_repeat)


@functools.cache
def _cached_spec(env_id: str, max_steps: int | None, action_repeat: int) -> EnvSpec:
    with jax.ensure_compile_time_eval():  # no tracer may stay in the cache
        source, _, name = env_id.partition(":")
        spec = _ENVS[env_id](max_steps) if env_id in _ENVS else _SOURCES[source](name, max_steps)
    check_spec(spec, env_id)
    return spec if action_repeat == 1 else repeat_actions(spec, action_repeat)
