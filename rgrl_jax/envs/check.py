"""Checks of a spec when it is made, without compiling or playing anything."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Box, Discrete, Space


def check_spec(spec: Any, env_id: str) -> None:
    """Refuses an environment that breaks the contract of `EnvSpec`, by a message that begins with its name.

    Raises:
      TypeError: the spec is no `EnvSpec`, or a field or return value has the wrong type.
      ValueError: a field has a value that is not allowed, or ``reset`` or ``step`` cannot be traced.
    """
    try:
        if not isinstance(spec, EnvSpec):
            raise TypeError(f"its maker must return an EnvSpec, not {_short(spec)}")
        _check_fields(spec)
        if spec.host is None:
            _check_functions(spec)
    except (TypeError, ValueError) as error:
        raise type(error)(f"env_id = {env_id!r}: {error}") from error.__cause__


def _check_fields(spec: EnvSpec) -> None:
    _check_space("observation", spec.observation)
    _check_space("action", spec.action)
    for name, order in (("reward_range", "low < high"), ("return_range", "low <= high")):
        pair = getattr(spec, name)
        fits = isinstance(pair, tuple) and len(pair) == 2 and all(map(_is_finite, pair))
        if not fits or pair[0] > pair[1] or (pair[0] == pair[1] and order == "low < high"):
            raise ValueError(f"{name} = {_short(pair)} must be two finite numbers, {order}")
    if not _is_integer(spec.max_steps) or spec.max_steps < 1:
        raise ValueError(f"max_steps = {spec.max_steps!r} must be an integer of at least 1")
    if spec.goal is not None and not _is_finite(spec.goal):
        raise ValueError(f"goal = {spec.goal!r} must be a finite number or None")


def _check_space(name: str, space: Space) -> None:
    where = f"{name} = {_short(space)} must"
    if isinstance(space, Discrete):
        if not _is_integer(space.n) or space.n < 1:
            raise ValueError(f"{where} have an integer n of at least 1")
        return
    if not isinstance(space, Box):
        raise TypeError(f"{where} be a Discrete or a Box")
    if not isinstance(space.shape, tuple) or not all(_is_integer(n) and n >= 1 for n in space.shape):
        raise ValueError(f"{where} have a shape that is a tuple of integers of at least 1")
    low, high = (np.asarray(bound) for bound in (space.low, space.high))
    size = math.prod(space.shape)
    if any(bound.dtype.kind not in "iuf" or bound.shape not in ((), (size,)) for bound in (low, high)):
        raise ValueError(f"{where} have bounds that are each a number or a tuple of {size} numbers")
    if not (low < high).all():  # nor is NaN
        raise ValueError(f"{where} have low < high in every entry")
    if name == "observation" and not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"{where} have finite bounds, since encoders scale by them")


def _check_functions(spec: EnvSpec) -> None:
    """Compares shapes and types returned by ``reset`` and ``step`` with the spaces, and with each other."""
    # Shapes alone are enough: no array is made before several processes have joined.
    key = jax.eval_shape(lambda: jax.random.key(0))
    obs, state = _trace("reset", spec.reset, 2, key)
    shape, kinds = getattr(spec.observation, "shape", ()), "iu" if isinstance(spec.observation, Discrete) else "biuf"
    _check_value("reset", "observation", obs, shape, kinds)
    dtype = jnp.int32 if isinstance(spec.action, Discrete) else jnp.float32
    action = jax.ShapeDtypeStruct(getattr(spec.action, "shape", ()), dtype)
    later, after, reward, terminated, truncated = _trace("step", spec.step, 5, key, state, action)
    _check_value("step", "observation", later, shape, kinds)
    _check_value("step", "reward", reward, (), "iuf")
    _check_value("step", "terminated", terminated, (), "b")
    _check_value("step", "truncated", truncated, (), "b")
    for name, before, now in (("observation", obs, later), ("env_state", state, after)):
        one, other = (jax.tree.map(_show, tree) for tree in (before, now))
        if jax.tree.flatten(one) != jax.tree.flatten(other):
            raise TypeError(f"step returns as {name} {_short(other)}, and reset {_short(one)}")


def _trace(name: str, function: Callable[..., Any], count: int, *arguments: Any) -> Any:
    """Returns the shapes and types that a function returns, which must be a tuple of ``count`` parts."""
    try:
        out = jax.eval_shape(function, *arguments)
    except Exception as error:  # anything may go wrong in it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{name} cannot be traced by jax: {reason}") from error
    if not isinstance(out, tuple) or len(out) != count:
        raise TypeError(f"{name} must return a tuple of {count}, not {_short(out)}")
    return out


def _check_value(function: str, name: str, value: Any, shape: tuple[int, ...], kinds: str) -> None:
    """Refuses a return value that is not one array of this shape, its type of one of these NumPy kinds."""
    if not hasattr(value, "dtype") or value.shape != shape or value.dtype.kind not in kinds:
        content = {"b": "bools", "iu": "integers"}.get(kinds, "numbers")
        raise TypeError(f"{function} must return as {name} {content} of shape {shape}, not {_show(value)}")


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
