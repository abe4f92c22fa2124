"""Parts that all figures share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgrl_jax.experiment.stats import bootstrap_interval, iqm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # Okabe and Ito's, safe for the colour-blind
NDArray = np.ndarray[Any, Any]


def make_figure(width: float, height: float, rows: int = 1, columns: int = 1, **ratios: Any) -> tuple[Any, NDArray]:
    """Makes a figure and its axes ``[rows * columns]``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, sharex="col", squeeze=False, **ratios).ravel()


def tidy(axis: Any) -> None:
    """Draws a light grid, and no frame above and to the right."""
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Any, axis: Any, columns: int) -> None:
    """Draws the legend of an axis below all axes, where it hides nothing."""
    place = {"loc": "outside lower center", "ncols": columns}
    figure.legend(*axis.get_legend_handles_labels(), frameon=False, fontsize="small", **place)


def finish(figure: Any, title: str, path: str | Path | None) -> Figure:
    """Adds the title and saves the figure if there is a path, whose suffix decides the format."""
    figure.suptitle(title)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return figure


def band(
    axis: Any, x: Any, curves: Any, *, color: str, label: str, interval_label: str | None = None, linestyle: str = "-"
) -> None:
    """Draws the interquartile mean of curves over seeds and, from three seeds on, its 95 % bootstrap interval.

    ``x`` is ``[points]`` and ``curves`` are ``[seeds, points]``; values that are not finite are left out.
    """
    known = [column[np.isfinite(column)] for column in np.asarray(curves, np.float64).T]
    middle = [iqm(column) if column.size else np.nan for column in known]
    axis.plot(x, middle, color=color, linestyle=linestyle, linewidth=2, label=label)
    if len(curves) < 3:
        return
    ends = [bootstrap_interval(column, resamples=500) if column.size else (np.nan, np.nan) for column in known]
    axis.fill_between(x, *np.transpose(ends), color=color, alpha=0.2, linewidth=0, label=interval_label)
