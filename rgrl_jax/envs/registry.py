"""Environments by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import jax

from rgrl_jax.envs.check import check_spec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.envs.wrappers import repeat_actions

MakeSpec = Callable[[int | None], EnvSpec]
"""``make(max_steps) -> EnvSpec``; ``max_steps`` is None for the environment's own limit."""

_ENVS: dict[str, MakeSpec] = {}
_SOURCES: dict[str, Callable[[str, int | None], EnvSpec]] = {}
_SPECS: dict[tuple[str, int | None, int], EnvSpec] = {}


def register(env_id: str, make: MakeSpec) -> None:
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


def unregister(env_id: str) -> None:
    """Removes an environment and the specs that `make` has made of it, if it is registered."""
    _ENVS.pop(env_id, None)
    for arguments in [arguments for arguments in _SPECS if arguments[0] == env_id]:
        del _SPECS[arguments]


def register_source(source: str, make: Callable[[str, int | None], EnvSpec]) -> None:
    """Makes ``make(name, max_steps)`` answer for every ``env_id`` of the form ``source:name``."""
    _SOURCES[source] = make


def names() -> list[str]:
    """Lists the registered names in the order of registration."""
    return list(_ENVS)


def is_known(env_id: str) -> bool:
    """Tells whether a name is registered or comes from a registered source, which may still lack it."""
    source, colon, _ = env_id.partition(":")
    return env_id in _ENVS or (bool(colon) and source in _SOURCES)


def check_env(env_id: str) -> None:
    """Refuses names that are not `is_known`.

    Raises:
      ValueError: the name is unknown; the message names the nearest ones.
    """
    if not is_known(env_id):
        near = difflib.get_close_matches(env_id, _ENVS, n=3, cutoff=0.3) or names()
        more = "".join(f"; any environment of {source} is {source}:ID" for source in _SOURCES)
        raise ValueError(f"env_id = {env_id!r} is not registered; nearest: {', '.join(near)}{more}")


def make(env_id: str, max_steps: int | None = None, action_repeat: int = 1) -> EnvSpec:
    """Makes an environment; equal arguments return the same object, so nothing compiles twice.

    Args:
      env_id: a registered name; or ``gymnasium:ID`` for an environment of Gymnasium, ``mjx:ID`` for one of its
        MuJoCo tasks that are compiled, ``brax:NAME`` for one of Brax.
      max_steps: step limit, or None for the environment's own.
      action_repeat: steps for which every action is held, see `repeat_actions`.

    Raises:
      ValueError: there is no such environment, it cannot be made, or its spec is refused by `check_spec`.
      TypeError: its spec is refused by `check_spec`.
    """
    arguments = (env_id, max_steps, action_repeat)
    if arguments not in _SPECS:
        check_env(env_id)
        source, _, name = env_id.partition(":")
        with jax.ensure_compile_time_eval():  # no tracer may stay in the cache
            spec = _ENVS[env_id](max_steps) if env_id in _ENVS else _SOURCES[source](name, max_steps)
        check_spec(spec, env_id)
        _SPECS[arguments] = spec if action_repeat == 1 else repeat_actions(spec, action_repeat)
    return _SPECS[arguments]
