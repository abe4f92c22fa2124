"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgrl_jax.experiment.stats import bootstrap_interval, iqm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # Okabe and Ito's, safe for the colour-blind


def plot_learning(
    metrics: Any, *, title: str = "", goal: float | None = None, path: str | Path | None = None
) -> Figure:
    """Draws return, model loss and, where plans were made, their loss over episodes.

    One thin line per seed; with three or more seeds their interquartile mean and its 95 % bootstrap interval.

    Args:
      metrics: `Metrics` with leaves ``[episodes]`` or ``[seeds, episodes]``.
      title: above the picture.
      goal: a dashed line in the return panel.
      path: where to save, if anywhere; the suffix decides the format.

    Returns:
      The matplotlib figure, drawn without pyplot, so nothing has to be closed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [("episode_return", BLUE), ("model_loss", ORANGE), ("plan_loss", GREEN)]
    if not np.any(metrics.plan_loss):  # an algorithm that makes no plans
        panels.pop()
    figure = Figure(figsize=(7.0, 2.0 + 1.5 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=[2, 1, 1][: len(panels)])
    for axis, (name, color) in zip(axes, panels, strict=True):
        _lines(axis, metrics, name, color, mask=name != "episode_return")
        axis.set_ylabel(name.replace("_", " "))
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    if goal is not None:
        axes[0].axhline(goal, color="0.3", linestyle="--", linewidth=1, label=f"goal {goal:g}")
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(loc="best", frameon=False)
    if np.nanmax(np.append(metrics.model_loss, 0.0)) > 0:
        axes[1].set_yscale("log")
    axes[-1].set_xlabel("training episode")
    figure.suptitle(title)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return figure


def _lines(axis: Any, metrics: Any, name: str, color: str, *, mask: bool) -> None:
    """One line per seed, and the interquartile mean with its interval where there are three or more."""
    values = np.atleast_2d(np.asarray(getattr(metrics, name), np.float64))
    if mask:  # nothing was learnt or planned in these episodes
        values = np.where(values == 0, np.nan, values)
    x = np.atleast_2d(metrics.episode)[0]
    alone, marker = len(values) < 3, "o" if np.isfinite(values).sum(axis=1).max() <= 1 else None
    for i, row in enumerate(values):
        label = "each seed" if i == 0 and len(values) > 1 else None
        axis.plot(
            x,
            row,
            color=color,
            linewidth=1.8 if alone else 0.6,
            alpha=1.0 if alone else 0.35,
            label=label,
            marker=marker,
        )
    if alone:
        return
    label = f"interquartile mean of {len(values)} seeds"
    draw_band(axis, x, values, color=color, label=label, interval_label="95 % interval")


def plot_identity(commanded: Any, achieved: Any, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draws what generated policies reached against what they were commanded to reach, beside the line of obedience.

    One thin line of means over episodes per seed; of one or two seeds their episodes as dots, from three on their
    interquartile mean and its 95 % bootstrap interval.

    Args:
      commanded: returns ``[C]``, as of `rgrl_jax.identity_curve`.
      achieved: returns ``[C, N]`` or ``[seeds, C, N]``.
      title: above the picture.
      path: where to save, if anywhere; the suffix decides the format.

    Returns:
      The matplotlib figure, drawn without pyplot, so nothing has to be closed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    commanded = np.asarray(commanded, np.float64)
    achieved = np.asarray(achieved, np.float64).reshape(-1, len(commanded), np.shape(achieved)[-1])
    figure = Figure(figsize=(5.5, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(commanded, commanded, color="0.3", linestyle="--", linewidth=1, label="as commanded")
    means, several = achieved.mean(axis=-1), len(achieved) >= 3
    for i, seed in enumerate(achieved):
        label = "each seed" if several and i == 0 else None if several else "mean of episodes" if i == 0 else None
        axis.plot(commanded, means[i], color=BLUE, linewidth=0.6 if several else 1.8, label=label)
        if not several:
            axis.plot(np.repeat(commanded, seed.shape[1]), seed.ravel(), ".", color=BLUE, alpha=0.4)
    if several:
        label = f"interquartile mean of {len(achieved)} seeds"
        draw_band(axis, commanded, means, color=BLUE, label=label, interval_label="95 % interval")
    axis.set_xlabel("commanded return")
    axis.set_ylabel("achieved return")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="best", frameon=False)
    figure.suptitle(title)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return figure


def draw_band(
    axis: Any, x: Any, curves: Any, *, color: str, label: str, interval_label: str | None = None, linestyle: str = "-"
) -> None:
    """Draws the interquartile mean of curves over seeds and, from three seeds on, its 95 % bootstrap interval.

    Args:
      axis: matplotlib's.
      x: ``[points]``.
      curves: ``[seeds, points]``; what is not finite is left out.
      color: of both.
      label: of the line.
      interval_label: of the interval.
      linestyle: of the line.
    """
    known = [column[np.isfinite(column)] for column in np.asarray(curves, np.float64).T]
    middle = [iqm(column) if column.size else np.nan for column in known]
    axis.plot(x, middle, color=color, linestyle=linestyle, linewidth=2, label=label)
    if len(curves) < 3:
        return
    band = [bootstrap_interval(column, resamples=500) if column.size else (np.nan, np.nan) for column in known]
    axis.fill_between(x, *np.transpose(band), color=color, alpha=0.2, linewidth=0, label=interval_label)
