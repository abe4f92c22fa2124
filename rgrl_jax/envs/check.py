"""Checks of a spec when it is made, without compiling or playing anything."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Discrete, PyTree, Space


def check_spec(spec: Any, env_id: str) -> None:
    """Refuses an environment that breaks the contract of `EnvSpec`.

    Args:
      spec: return value of its maker.
      env_id: name of the environment, for the messages.

    Raises:
      TypeError: the spec is no `EnvSpec`, or a field or return value has the wrong type.
      ValueError: a field has a value that is not allowed, or ``reset`` or ``step`` cannot be traced.
    """
    if not isinstance(spec, EnvSpec):
        raise TypeError(f"env_id = {env_id!r}: its maker must return an EnvSpec, not {_short(spec)}")
    _check_space(env_id, "observation", spec.observation)
    _check_space(env_id, "action", spec.action)
    _check_range(env_id, "reward_range", spec.reward_range, strict=True)
    _check_range(env_id, "return_range", spec.return_range, strict=False)
    if not _is_integer(spec.max_steps) or spec.max_steps < 1:
        raise ValueError(f"env_id = {env_id!r}: max_steps = {spec.max_steps!r} must be an integer of at least 1")
    if spec.goal is not None and not _is_finite(spec.goal):
        raise ValueError(f"env_id = {env_id!r}: goal = {spec.goal!r} must be a finite number or None")
    if spec.host is None:
        _check_functions(env_id, spec)


def _check_space(env_id: str, name: str, space: Space) -> None:
    where = f"env_id = {env_id!r}: {name} = {_short(space)}"
    if isinstance(space, Discrete):
        if not _is_integer(space.n) or space.n < 1:
            raise ValueError(f"{where} must have an integer n of at least 1")
        return
    if not isinstance(space, Box):
        raise TypeError(f"{where} must be a Discrete or a Box")
    if not isinstance(space.shape, tuple) or not all(_is_integer(n) and n >= 1 for n in space.shape):
        raise ValueError(f"{where} must have a shape that is a tuple of integers of at least 1")
    low, high = (np.asarray(bound) for bound in (space.low, space.high))
    size = math.prod(space.shape)
    for bound in (low, high):
        if bound.dtype.kind not in "iuf" or bound.shape not in ((), (size,)):
            raise ValueError(f"{where} must have bounds that are each a number or a tuple of {size} numbers")
    if np.isnan(low).any() or np.isnan(high).any() or not (low < high).all():
        raise ValueError(f"{where} must have low < high in every entry")
    if name == "observation" and not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"{where} must have finite bounds, since encoders scale by them")


def _check_range(env_id: str, name: str, pair: Any, *, strict: bool) -> None:
    fits = isinstance(pair, tuple) and len(pair) == 2 and all(_is_finite(value) for value in pair)
    if not fits or pair[0] > pair[1] or (strict and pair[0] == pair[1]):
        order = "low < high" if strict else "low <= high"
        raise ValueError(f"env_id = {env_id!r}: {name} = {_short(pair)} must be two finite numbers, {order}")


def _check_functions(env_id: str, spec: EnvSpec) -> None:
    """Compares shapes and types returned by ``reset`` and ``step`` with the spaces, and with each other."""
    # Shapes alone are enough: no array is made before several processes have joined.
    key = jax.eval_shape(lambda: jax.random.key(0))
    obs, state = _trace(env_id, "reset", spec.reset, 2, key)
    _check_observation(env_id, "reset", obs, spec.observation)
    action = jax.ShapeDtypeStruct((), jnp.int32)
    if isinstance(spec.action, Box):
        action = jax.ShapeDtypeStruct(spec.action.shape, jnp.float32)
    later, after, reward, terminated, truncated = _trace(env_id, "step", spec.step, 5, key, state, action)
    _check_observation(env_id, "step", later, spec.observation)
    for name, before, now in (("observation", obs, later), ("env_state", state, after)):
        if (one := _types(before)) != (other := _types(now)):
            raise TypeError(f"env_id = {env_id!r}: step returns as {name} {_short(other)}, and reset {_short(one)}")
    for name, value, content, kinds in (
        ("reward", reward, "number", "iuf"),
        ("terminated", terminated, "bool", "b"),
        ("truncated", truncated, "bool", "b"),
    ):
        if not hasattr(value, "dtype") or value.shape or value.dtype.kind not in kinds:
            raise TypeError(f"env_id = {env_id!r}: step must return as {name} one {content}, not {_show(value)}")


def _trace(env_id: str, name: str, function: Callable[..., Any], count: int, *arguments: Any) -> Any:
    """Returns the shapes and types that a function returns, which must be a tuple of ``count`` parts."""
    try:
        out = jax.eval_shape(function, *arguments)
    except Exception as error:  # anything may go wrong in it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"env_id = {env_id!r}: {name} cannot be traced by jax: {reason}") from error
    if not isinstance(out, tuple) or len(out) != count:
        raise TypeError(f"env_id = {env_id!r}: {name} must return a tuple of {count}, not {_short(out)}")
    return out


def _check_observation(env_id: str, name: str, obs: Array, space: Space) -> None:
    """Refuses an observation that is not one array of its space."""
    shape, kinds, content = (
        ((), "iu", "an integer") if isinstance(space, Discrete) else (space.shape, "biuf", "numbers")
    )
    if not hasattr(obs, "dtype") or obs.shape != shape or obs.dtype.kind not in kinds:
        raise TypeError(
            f"env_id = {env_id!r}: {name} must return as observation {content} of shape {shape}, as {_short(space)} "
            f"says, not {_show(obs)}"
        )


def _types(tree: PyTree) -> Any:
    """Returns the types by path, and the structure."""
    leaves = {jax.tree_util.keystr(path): _show(x) for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}
    return leaves, jax.tree.structure(tree)


def _show(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else f"a {type(x).__name__}"


def _short(x: Any) -> str:
    """Shortens a representation to one line."""
    text = " ".join(repr(x).split())
    return text if len(text) <= 160 else text[:157] + "..."


def _is_integer(x: Any) -> bool:
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def _is_finite(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating)) and not isinstance(x, bool) and math.isfinite(x)
