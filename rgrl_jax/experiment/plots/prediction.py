"""Pictures of what a model foresees, and of sweeps; learning curves are in `rgrl_jax.experiment.plotting`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgrl_jax.algos.rgrl import horizon_errors
from rgrl_jax.experiment.plotting import BLUE, GREEN, ORANGE
from rgrl_jax.types import Discrete

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NDArray = np.ndarray[Any, Any]
NUMBERED = 80
"""Cells of a heat map up to which each is labelled."""


def plot_plans(
    foresight: Any,
    plans: Any,
    config: Any,
    *,
    episode: int = 0,
    steps: tuple[int, int] | None = None,
    entries: Sequence[int] | None = None,
    title: str = "",
    path: str | Path | None = None,
) -> Figure:
    """Draws the plans along an episode, and what the model said would come of it beside what came.

    On top every column is a plan, the action that was executed at its bottom: where a plan is kept, its colours run
    down to the right. Below, predictions of the members' mean, a horizon long and begun where the last one ends, with
    a band of one standard deviation between members; and of the rewards also what the plan promised.

    Args:
      foresight: as of `rgrl_jax.foresee`.
      plans: as of `rgrl_jax.retrace_plans`, along the same episodes.
      config: of the run.
      episode: which of them.
      steps: the first step and the one after the last; by default the first six horizons, or sixty steps.
      entries: of the state, to draw; by default the three that vary most.
      title: above the picture.
      path: where to save, if anywhere; the suffix decides the format.

    Returns:
      The matplotlib figure, drawn without pyplot, so nothing has to be closed.

    Raises:
      ValueError: there is no such episode, or none of the steps is in it.
    """
    if not 0 <= episode < len(foresight.length):
        raise ValueError(f"episode = {episode} must be in 0..{len(foresight.length) - 1}")
    length, horizon = int(foresight.length[episode]), foresight.mask.shape[-1]
    first, end = steps or (0, max(6 * horizon, 60))
    end = min(end, length)
    if not 0 <= first < end:
        raise ValueError(f"steps = {steps} must be within the episode's {length}, the first before the last")
    truth = np.asarray(foresight.present)[episode, :length]
    if entries is None:
        entries = sorted(np.argsort(-truth[first:end].std(axis=0))[:3].tolist())
    if foresight.state is None:
        entries = []
    ratios = [1.2] + [1.0] * (1 + len(entries))
    figure, axes = _figure(7.5, 4.0 + 1.3 * len(entries), len(ratios), height_ratios=ratios)
    _draw_plans(figure, axes[0], np.asarray(plans.plan)[:, episode], config, (first, end))
    starts = range(first, end, horizon)
    known = np.asarray(foresight.mask)[episode] > 0
    axis = axes[1]
    came = np.asarray(foresight.true_reward)[episode, first:end, 0]
    axis.plot(range(first, end), came, color="black", label="what came")
    _draw_predicted(axis, np.asarray(foresight.reward)[episode], known, starts, shift=0)
    promised = np.asarray(plans.predicted.reward)[:, episode].mean(axis=-1)
    for i, t in enumerate(starts):
        made = t // config.replan_every
        x = made * config.replan_every + np.arange(horizon)
        label = "promised by the plan" if i == 0 else None
        axis.plot(x, promised[made], color=GREEN, linestyle=":", linewidth=1.5, label=label)
    axis.set_ylabel("reward")
    _legend(figure, axis, 4)
    for axis, i in zip(axes[2:], entries, strict=True):
        axis.plot(range(first, end), truth[first:end, i], color="black")
        _draw_predicted(axis, np.asarray(foresight.state)[episode, ..., i], known, starts, shift=1)
        axis.set_ylabel("ended" if i == truth.shape[1] - 1 else f"state {i}")
    for axis in axes[1:]:
        _tidy(axis)
    axes[-1].set_xlim(first - 0.5, end - 0.5)
    axes[-1].set_xlabel("step of the episode")
    return _finish(figure, title, path)


def _draw_plans(figure: Any, axis: Any, plans: NDArray, config: Any, steps: tuple[int, int]) -> None:
    """A column per step of plans ``[M, T, A]``: actions by number, or the first entry of continuous ones."""
    age = np.arange(*steps) % config.replan_every  # what is left of an older plan is shown
    rows = age[:, None] + np.arange(plans.shape[1])
    kept = rows < plans.shape[1]
    columns = plans[(np.arange(*steps) // config.replan_every)[:, None], np.where(kept, rows, 0)]
    space = config.spec.action
    import matplotlib

    if isinstance(space, Discrete):
        shown, low, high = columns.argmax(axis=-1), -0.5, space.n - 0.5
        colors, label = matplotlib.colormaps["cividis"].resampled(space.n), "planned action"
    else:
        shown, low, high = columns[..., 0], -1.0, 1.0
        colors = matplotlib.colormaps["cividis"]
        label = "planned action" if columns.shape[-1] == 1 else "planned action,\nfirst entry"
    extent = (steps[0] - 0.5, steps[1] - 0.5, -0.5, columns.shape[1] - 0.5)
    options = {"aspect": "auto", "origin": "lower", "extent": extent, "interpolation": "nearest"}
    image = axis.imshow(np.ma.masked_array(shown, ~kept).T, cmap=colors, vmin=low, vmax=high, **options)
    ticks = range(space.n) if isinstance(space, Discrete) else (-1, 0, 1)
    figure.colorbar(image, ax=axis, label=label, ticks=ticks)
    axis.set_ylabel("steps ahead")


def _draw_predicted(axis: Any, predicted: NDArray, known: NDArray, starts: Sequence[int], shift: int) -> None:
    """Predictions ``[L, E, T]`` begun at some steps, as far as they are ``known [L, T]``, ``shift`` steps later."""
    for i, t in enumerate(starts):
        rows = predicted[t][:, known[t]]
        x = t + shift + np.arange(rows.shape[1])
        middle, spread = rows.mean(axis=0), rows.std(axis=0)
        label = "predicted" if i == 0 else None
        axis.plot(x, middle, color=ORANGE, linestyle="--", linewidth=1.5, label=label)
        axis.plot(x[:1], middle[:1], "o", color=ORANGE, markersize=3)
        label = "between members" if i == 0 else None
        axis.fill_between(x, middle - spread, middle + spread, color=ORANGE, alpha=0.25, linewidth=0, label=label)


def plot_model_error(foresight: Any, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draws how wrong the model is 1 .. T steps ahead, and how far its members disagree.

    Root mean square over all steps of all episodes, on the scale of the model: of the members' mean, of each member,
    and the standard deviation between members. A model above the dotted line is worse than a constant guess.

    Args:
      foresight: as of `rgrl_jax.foresee`.
      title: above the picture.
      path: where to save, if anywhere; the suffix decides the format.

    Returns:
      The matplotlib figure, drawn without pyplot, so nothing has to be closed.
    """
    panels = {"reward": (foresight.reward, foresight.true_reward)}
    if foresight.state is not None:
        panels["state"] = (foresight.state, foresight.true_state)
    figure, axes = _figure(4.0 * len(panels) + 0.5, 3.8, 1, len(panels))
    for axis, (name, (predicted, true)) in zip(axes, panels.items(), strict=True):
        errors = horizon_errors(predicted, true, foresight.mask)
        x = np.arange(1, errors.mean.shape[0] + 1)
        marker = "o" if len(x) == 1 else None
        for i, member in enumerate(errors.member):
            axis.plot(x, member, color=ORANGE, linewidth=0.7, marker=marker, label=None if i else "each member")
        axis.plot(x, errors.mean, color=BLUE, linewidth=2.2, marker=marker, label="the members' mean")
        axis.plot(x, errors.disagreement, color=GREEN, linestyle="--", marker=marker, label="between members")
        axis.plot(x, errors.constant, color="0.3", linestyle=":", marker=marker, label="a constant guess")
        axis.set_title(name, fontsize="medium")
        axis.set_xlabel("steps ahead")
        axis.set_ylim(bottom=0.0)
        _tidy(axis)
    axes[0].set_ylabel("root mean square error")
    _legend(figure, axes[0], 2 * len(panels))
    return _finish(figure, title, path)


def plot_sweep(
    grid: Mapping[str, Any], values: Any, *, label: str = "", title: str = "", path: str | Path | None = None
) -> Figure:
    """Draws a heat map of what came of two settings.

    Args:
      grid: two settings and their values: ``{"learning_rate": [X], "discount": [Y]}`` for all combinations, or, of
        runs in any order, those of each run, ``[runs]`` twice.
      values: ``[X, Y]``, or with further axes, seeds for instance, that are averaged; or ``[runs]``, of which those
        with equal settings are averaged. What is not finite is left out.
      label: what they are.
      title: above the picture.
      path: where to save, if anywhere; the suffix decides the format.

    Returns:
      The matplotlib figure, drawn without pyplot, so nothing has to be closed.

    Raises:
      ValueError: there are not two settings, or they do not fit the values.
    """
    names, settings, cells = _cells(grid, np.asarray(values, np.float64))
    import matplotlib

    height, width = (min(max(0.55 * n, 2.2), 9.0) for n in cells.shape)
    figure, axes = _figure(width + 2.2, height + 1.2, 1)
    axis, colors = axes[0], matplotlib.colormaps["cividis"].with_extremes(bad="0.85")
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
    return _finish(figure, title, path)


def _cells(grid: Mapping[str, Any], values: NDArray) -> tuple[list[str], list[list[Any]], NDArray]:
    """Names and values of both settings, and a table ``[X, Y]`` of means; NaN where nothing is known."""
    names, columns = list(grid), [np.asarray(x).tolist() for x in grid.values()]
    if len(names) != 2:
        raise ValueError(f"a heat map needs two settings, not {', '.join(names) or 'none'}")
    sizes = tuple(map(len, columns))
    if values.ndim >= 2:
        if values.shape[:2] != sizes:
            raise ValueError(f"values of shape {values.shape} do not fit {sizes[0]} x {sizes[1]} settings")
        return names, columns, _mean(values.reshape(*sizes, -1))
    if sizes != 2 * (len(values),):
        raise ValueError(f"{len(values)} values need as many of each setting, not {sizes[0]} and {sizes[1]}")
    known = [sorted(set(own)) for own in columns]
    rows = list(zip(*columns, values, strict=True))
    own = [[[v for x, y, v in rows if (x, y) == (a, b)] or [np.nan] for b in known[1]] for a in known[0]]
    return names, known, np.array([[_mean(np.asarray(cell)) for cell in line] for line in own])


def _mean(values: NDArray) -> NDArray:
    """Over what is finite on the last axis; NaN of nothing."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _figure(width: float, height: float, rows: int, columns: int = 1, **ratios: Any) -> tuple[Any, NDArray]:
    """A figure that nobody has to close, and its axes in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, sharex="col", squeeze=False, **ratios).ravel()


def _tidy(axis: Any) -> None:
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure: Any, axis: Any, columns: int) -> None:
    """What the lines of an axis are, below all axes, where it hides nothing."""
    place = {"loc": "outside lower center", "ncols": columns}
    figure.legend(*axis.get_legend_handles_labels(), frameon=False, fontsize="small", **place)


def _finish(figure: Any, title: str, path: str | Path | None) -> Figure:
    """The figure with its title, saved if it is wanted."""
    figure.suptitle(title)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return figure
