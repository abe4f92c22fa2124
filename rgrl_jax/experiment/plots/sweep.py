"""Heat maps of two settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgrl_jax.experiment.plots.figure import NDArray, finish, make_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERED = 80  # cells of a heat map up to which each is labelled


def sweep(
    grid: Mapping[str, Any], values: Any, *, label: str = "", title: str = "", path: str | Path | None = None
) -> Figure:
    """Draws a heat map of a result over two settings.

    Args:
      grid: two settings and their values: ``{"learner.lr": [X], "target.discount": [Y]}`` for all combinations, or,
        of runs in any order, those of each run, ``[runs]`` twice.
      values: ``[X, Y]``, or with further axes, seeds for instance, that are averaged; or ``[runs]``, of which those
        with equal settings are averaged. Values that are not finite are left out.

    Raises:
      ValueError: there are not two settings, or they do not fit the values.
    """
    names, settings, cells = _cells(grid, np.asarray(values, np.float64))
    import matplotlib

    height, width = (min(max(0.55 * n, 2.2), 9.0) for n in cells.shape)
    figure, (axis,) = make_figure(width + 2.2, height + 1.2)
    colors = matplotlib.colormaps["cividis"].with_extremes(bad="0.85")
    image = axis.imshow(np.ma.masked_invalid(cells), cmap=colors, origin="lower", aspect="auto")
    figure.colorbar(image, ax=axis, label=label)
    for put, name, own in ((axis.set_yticks, names[0], settings[0]), (axis.set_xticks, names[1], settings[1])):
        put(range(len(own)), [f"{x:.3g}" if isinstance(x, float) else str(x) for x in own])
        (axis.set_ylabel if put == axis.set_yticks else axis.set_xlabel)(name)
    if cells.size <= NUMBERED:
        for (i, j), value in np.ndenumerate(cells):
            shade = "black" if not np.isfinite(value) or image.norm(value) > 0.5 else "white"
            text = "" if np.isnan(value) else f"{value:.3g}"
            axis.text(j, i, text, ha="center", va="center", color=shade, fontsize="small")
    return finish(figure, title, path)


def _cells(grid: Mapping[str, Any], values: NDArray) -> tuple[list[str], list[list[Any]], NDArray]:
    """Returns names and values of both settings, and a table ``[X, Y]`` of means; NaN where nothing is known."""
    names, columns = list(grid), [np.asarray(x).tolist() for x in grid.values()]
    if len(names) != 2:
        raise ValueError(f"a heat map needs two settings, not {', '.join(names) or 'none'}")
    sizes = tuple(map(len, columns))
    if values.ndim >= 2:
        if values.shape[:2] != sizes:
            raise ValueError(f"values of shape {values.shape} do not fit {sizes[0]} x {sizes[1]} settings")
        return names, columns, _finite_mean(values.reshape(*sizes, -1))
    if sizes != 2 * (len(values),):
        raise ValueError(f"{len(values)} values need as many of each setting, not {sizes[0]} and {sizes[1]}")
    known = [sorted(set(own)) for own in columns]
    rows = list(zip(*columns, values, strict=True))
    own = [[[v for x, y, v in rows if (x, y) == (a, b)] or [np.nan] for b in known[1]] for a in known[0]]
    return names, known, np.array([[_finite_mean(np.asarray(cell)) for cell in line] for line in own])


def _finite_mean(values: NDArray) -> NDArray:
    """Averages the finite values on the last axis; NaN of none."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
