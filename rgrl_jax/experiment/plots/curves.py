"""Curves over training episodes and over commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgrl_jax.experiment.plots.figure import BLUE, GREEN, ORANGE, band, finish, make_figure, tidy
from rgrl_jax.types import Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning(
    metrics: Metrics, *, title: str = "", goal: float | None = None, path: str | Path | None = None
) -> Figure:
    """Draws return, loss and, if ``metrics.info`` holds it, the planning loss over episodes.

    One thin line per seed; with three or more seeds their interquartile mean and its 95 % bootstrap interval. The
    goal is a dashed line; the metrics have leaves ``[episodes]`` or ``[seeds, episodes]``.
    """
    columns = metrics.columns()
    names = [name for name in ("episode_return", "model_loss", "plan_loss") if name in columns]
    ratios = [2, 1, 1][: len(names)]
    figure, axes = make_figure(7.0, 2.0 + 1.5 * len(names), len(names), height_ratios=ratios)
    x = np.atleast_2d(metrics.episode)[0]
    for axis, name, color in zip(axes, names, (BLUE, ORANGE, GREEN), strict=False):
        values = np.atleast_2d(np.asarray(columns[name], np.float64))
        if name != "episode_return":  # a loss of 0: nothing was learnt or planned in the episode
            values = np.where(values == 0, np.nan, values)
        _draw_seeds(axis, x, values, color)
        axis.set_ylabel(name.replace("_", " "))
        tidy(axis)
    if goal is not None:
        axes[0].axhline(goal, color="0.3", linestyle="--", linewidth=1, label=f"goal {goal:g}")
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(loc="best", frameon=False)
    if np.nanmax(np.append(metrics.model_loss, 0.0)) > 0:
        axes[1].set_yscale("log")
    axes[-1].set_xlabel("training episode")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    return finish(figure, title, path)


def _draw_seeds(axis: Any, x: Any, values: Any, color: str) -> None:
    """Draws one line per seed of ``values [seeds, episodes]``, and the band of three or more."""
    alone, marker = len(values) < 3, "o" if np.isfinite(values).sum(axis=1).max() <= 1 else None
    style = {"linewidth": 1.8, "alpha": 1.0} if alone else {"linewidth": 0.6, "alpha": 0.35}
    for i, row in enumerate(values):
        label = "each seed" if i == 0 and len(values) > 1 else None
        axis.plot(x, row, color=color, label=label, marker=marker, **style)
    if not alone:
        label = f"interquartile mean of {len(values)} seeds"
        band(axis, x, values, color=color, label=label, interval_label="95 % interval")


def command_following(commanded: Any, achieved: Any, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draws achieved returns ``[C, N]`` or ``[seeds, C, N]`` against commanded ones ``[C]``, beside the diagonal.

    One thin line of means over episodes per seed; of one or two seeds their episodes as dots, from three on their
    interquartile mean and its 95 % bootstrap interval.
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
