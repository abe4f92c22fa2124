"""Statistics over seeds, as in Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NDArray = np.ndarray[Any, Any]


def iqm(scores: NDArray, axis: int | None = None) -> NDArray:
    """Computes the interquartile mean along an axis, which goes; None takes all scores, of any shape, together.

    That is the mean without the lowest and highest quarter: of ``n`` scores ``floor(n / 4)`` are cut at each end.
    """
    values = np.sort(np.ravel(scores) if axis is None else np.moveaxis(np.asarray(scores), axis, 0), axis=0)
    cut = values.shape[0] // 4
    return np.asarray(values[cut : values.shape[0] - cut].mean(axis=0))


def bootstrap_interval(
    scores: NDArray,
    statistic: Callable[[NDArray], Any] = iqm,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Computes a stratified bootstrap interval of a statistic: seeds are drawn anew within each task.

    Args:
      scores: ``[seeds]``, or ``[tasks, seeds]`` where tasks are strata.
      statistic: of an array of the shape of ``scores``, to a number.
      level: share of the resampled statistics inside the interval, in 0..1.

    Returns:
      Lower and upper end.

    Raises:
      ValueError: no scores, or a level outside 0..1.
    """
    table = np.atleast_2d(np.asarray(scores, np.float64))
    if table.size == 0 or table.ndim != 2:
        raise ValueError(f"scores of shape {np.shape(scores)} must be [seeds] or [tasks, seeds] and not empty")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level = {level} must be in 0..1")
    rng = np.random.default_rng(seed)
    shape = (resamples, *table.shape)
    drawn = np.take_along_axis(table[None], rng.integers(table.shape[1], size=shape), axis=2)
    values = [statistic(sample.reshape(np.shape(scores))) for sample in drawn]
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)
