"""Environments by name."""

from __future__ import annotations

from collections.abc import Callable

import jax

from rgrl_jax.envs.adapters import check_name
from rgrl_jax.envs.check import check_spec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.envs.wrappers import repeat_actions

_ENVS: dict[str, Callable[[int | None], EnvSpec]] = {}
_SOURCES: dict[str, Callable[[str, int | None], EnvSpec]] = {}
_SPECS: dict[tuple[str, int | None, int], EnvSpec] = {}


def register(env_id: str, make: Callable[[int | None], EnvSpec]) -> None:
    """Makes an environment available as ``config.env_id = env_id``.

    ``make(max_steps)`` returns its spec; ``max_steps`` is None for the environment's own limit.

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
    """Raises a ValueError that names the nearest environments if a name is not `is_known`."""
    if not is_known(env_id):
        check_name("", env_id, _ENVS, "".join(f"; any environment of {x} is {x}:ID" for x in _SOURCES))


def make(env_id: str, max_steps: int | None = None, action_repeat: int = 1) -> EnvSpec:
    """Makes an environment; equal arguments return the same object, so nothing compiles twice.

    Args:
      env_id: a registered name; or ``gymnasium:ID`` for an environment of Gymnasium, ``mjx:ID`` for one of its
        MuJoCo tasks that are compiled, ``brax:NAME`` for one of Brax.
      max_steps: step limit, or None for the environment's own.
      action_repeat: steps for which every action is held, see `repeat_actions`.

    Raises:
      ValueError, TypeError: there is no such environment, it cannot be made, or `check_spec` refuses its spec.
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
