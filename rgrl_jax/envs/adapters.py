"""Helpers of the adapters to other libraries: imports, names, and ranges that the libraries do not tell."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def import_package(module: str, source: str, packages: str) -> Any:
    """Imports a module that an extra of this library installs.

    Raises:
      ValueError: the module is not installed; the message says that ``source`` needs ``packages``.
    """
    try:
        with contextlib.redirect_stdout(None):  # MJX prints which of its other backends are missing
            return importlib.import_module(module)
    except ImportError as error:
        need = f"environments of {source} need the {packages}, pip install 'rgrl_jax[envs]'"
        raise ValueError(f"{need}: {error}") from error


def check_name(prefix: str, name: str, known: Iterable[str], more: str = "") -> None:
    """Raises a ValueError with the nearest environments if the name of ``prefix + name`` is not ``known``."""
    if name not in (known := list(known)):
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known
        nearest = ", ".join(prefix + other for other in near)
        raise ValueError(f"env_id = '{prefix}{name}' is not registered; nearest: {nearest}{more}")


def fill_return_range(
    given: tuple[float | None, float | None] | None, reward_range: tuple[float, float], max_steps: int
) -> tuple[float, float]:
    """Fills the missing ends of a return range: worst and best return of up to ``max_steps`` rewards in a range."""
    low, high = given or (None, None)
    low = max_steps * min(reward_range[0], 0.0) if low is None else low
    return low, max_steps * max(reward_range[1], 0.0) if high is None else high


def widen_bounds(low: Any, high: Any) -> tuple[list[float], list[float]]:
    """Puts measured bounds ``[n]`` twice as far from their middle, rounded."""
    middle, width = 0.5 * (low + high), np.where(high > low, high - low, 1.0)
    below = [_round_outward(m - w, w, math.floor) for m, w in zip(middle, width, strict=True)]
    above = [_round_outward(m + w, w, math.ceil) for m, w in zip(middle, width, strict=True)]
    return below, above


def widen_rewards(low: float, high: float) -> tuple[float, float]:
    """Makes the reward range of measured rewards: it contains 0, and ends one width above them, if they differed."""
    width = high - low
    low, high = min(low, 0.0), max(high, 0.0)
    if width > 0:
        low, high = _round_outward(low, width, math.floor), _round_outward(high + width, width, math.ceil)
    return (low, high) if high > low else (0.0, 1.0)


def _round_outward(value: float, width: float, towards: Callable[[float], int]) -> float:
    """Rounds to about a hundredth of ``width``, so that the result is the same if the last bits of a value differ."""
    unit = 10.0 ** (math.floor(math.log10(width)) - 1)
    return float(round(towards(value / unit) * unit, 12))
