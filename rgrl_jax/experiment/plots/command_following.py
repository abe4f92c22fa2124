"""Curves of the returns that generated policies reach when they are told which."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgrl_jax.experiment.plots.figure import BLUE, band, finish, make_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def command_following(commanded: Any, achieved: Any, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draws achieved against commanded returns, beside the line where they are equal.

    One thin line of means over episodes per seed; of one or two seeds their episodes as dots, from three on their
    interquartile mean and its 95 % bootstrap interval.

    Args:
      commanded: returns ``[C]``, as of `rgrl_jax.analysis.command_following`.
      achieved: returns ``[C, N]`` or ``[seeds, C, N]``.
      title: drawn above the figure.
      path: where to save, if anywhere; the suffix decides the format.

    Returns:
      The matplotlib figure.
    """
    commanded = np.asarray(commanded, np.float64)
    achieved = np.asarray(achieved, np.float64).reshape(-1, len(commanded), np.shape(achieved)[-1])
    figure, (axis,) = make_figure(5.5, 5.0)
    axis.plot(commanded, commanded, color="0.3", linestyle="--", linewidth=1, label="as commanded")
    means, several = achieved.mean(axis=-1), len(achieved) >= 3
    for i, seed in enumerate(achieved):
        label = None if i else "each seed" if several else "mean of episodes"
        axis.plot(commanded, means[i], color=BLUE, linewidth=0.6 if several else 1.8, label=label)
        if not several:
            axis.plot(np.repeat(commanded, seed.shape[1]), seed.ravel(), ".", color=BLUE, alpha=0.4)
    if several:
        label = f"interquartile mean of {len(achieved)} seeds"
        band(axis, commanded, means, color=BLUE, label=label, interval_label="95 % interval")
    axis.set_xlabel("commanded return")
    axis.set_ylabel("achieved return")
    tidy(axis)
    axis.legend(loc="best", frameon=False)
    return finish(figure, title, path)
