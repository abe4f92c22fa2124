"""Plans along an episode beside what came of them, and errors of the model by steps ahead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgrl_jax.algos.rgrl import EpisodePrediction, RGRLConfig, horizon_errors
from rgrl_jax.experiment.plots.figure import BLUE, GREEN, ORANGE, NDArray, finish, legend_below, make_figure, tidy
from rgrl_jax.planning import PlanOutput
from rgrl_jax.types import Discrete

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plans(
    prediction: EpisodePrediction,
    plans: PlanOutput,
    config: RGRLConfig,
    *,
    episode: int = 0,
    steps: tuple[int, int] | None = None,
    entries: Sequence[int] | None = None,
    title: str = "",
    path: str | Path | None = None,
) -> Figure:
    """Draws the plans along an episode, and the predicted rewards and states beside the true ones.

    On top every column is a plan, the action that was executed at its bottom: where a plan is kept, its colours run
    down to the right. Below, predictions of the members' mean, a horizon long and begun where the last one ends, with
    a band of one standard deviation between members; and of the rewards also what the plan promised.

    Args:
      prediction: as of `rgrl_jax.analysis.predict_episode`.
      plans: as of `rgrl_jax.analysis.recompute_plans`, along the same episodes.
      steps: the first step and the one after the last; by default the first six horizons, or sixty steps.
      entries: of the state, to draw; by default the three that vary most.

    Raises:
      ValueError: there is no such episode, or none of the steps is in it.
    """
    first, end = _steps(prediction, episode, steps)
    truth = np.asarray(prediction.present)[episode, : int(prediction.length[episode])]
    if entries is None:
        entries = sorted(np.argsort(-truth[first:end].std(axis=0))[:3].tolist())
    if prediction.state is None:
        entries = []
    ratios = [1.2] + [1.0] * (1 + len(entries))
    figure, axes = make_figure(7.5, 4.0 + 1.3 * len(entries), len(ratios), height_ratios=ratios)
    _draw_plans(figure, axes[0], np.asarray(plans.plan)[:, episode], config, (first, end))
    _draw_rewards(axes[1], prediction, plans, config, episode, (first, end))
    legend_below(figure, axes[1], 4)
    known, starts = np.asarray(prediction.mask)[episode] > 0, range(first, end, prediction.mask.shape[-1])
    for axis, i in zip(axes[2:], entries, strict=True):
        axis.plot(range(first, end), truth[first:end, i], color="black")
        _draw_predicted(axis, np.asarray(prediction.state)[episode, ..., i], known, starts, shift=1)
        axis.set_ylabel("ended" if i == truth.shape[1] - 1 else f"state {i}")
    for axis in axes[1:]:
        tidy(axis)
    axes[-1].set_xlim(first - 0.5, end - 0.5)
    axes[-1].set_xlabel("step of the episode")
    return finish(figure, title, path)


def _steps(prediction: EpisodePrediction, episode: int, steps: tuple[int, int] | None) -> tuple[int, int]:
    """Returns the first step to draw and the one after the last."""
    if not 0 <= episode < len(prediction.length):
        raise ValueError(f"episode = {episode} must be in 0..{len(prediction.length) - 1}")
    length, horizon = int(prediction.length[episode]), prediction.mask.shape[-1]
    first, end = steps or (0, max(6 * horizon, 60))
    end = min(end, length)
    if not 0 <= first < end:
        raise ValueError(f"steps = {steps} must be within the episode's {length}, the first before the last")
    return first, end


def _draw_plans(figure: Any, axis: Any, plans: NDArray, config: RGRLConfig, steps: tuple[int, int]) -> None:
    """Draws a column per step of plans ``[M, T, A]``: actions by number, or the first entry of continuous ones."""
    import matplotlib

    every, colors = config.planner.replan_every, matplotlib.colormaps["cividis"]
    age = np.arange(*steps) % every  # of an older plan its rest is drawn
    rows = age[:, None] + np.arange(plans.shape[1])
    kept = rows < plans.shape[1]
    columns = plans[(np.arange(*steps) // every)[:, None], np.where(kept, rows, 0)]
    space = config.spec.action
    if isinstance(space, Discrete):
        shown, low, high = columns.argmax(axis=-1), -0.5, space.n - 0.5
        colors, label = colors.resampled(space.n), "planned action"
    else:
        shown, low, high = columns[..., 0], -1.0, 1.0
        label = "planned action" if columns.shape[-1] == 1 else "planned action,\nfirst entry"
    extent = (steps[0] - 0.5, steps[1] - 0.5, -0.5, columns.shape[1] - 0.5)
    options = {"aspect": "auto", "origin": "lower", "extent": extent, "interpolation": "nearest"}
    image = axis.imshow(np.ma.masked_array(shown, ~kept).T, cmap=colors, vmin=low, vmax=high, **options)
    ticks = range(space.n) if isinstance(space, Discrete) else (-1, 0, 1)
    figure.colorbar(image, ax=axis, label=label, ticks=ticks)
    axis.set_ylabel("steps ahead")


def _draw_rewards(
    axis: Any, model: EpisodePrediction, plans: PlanOutput, config: RGRLConfig, episode: int, steps: tuple[int, int]
) -> None:
    """Draws true and predicted rewards, and those that the plans promised."""
    horizon, every = model.mask.shape[-1], config.planner.replan_every
    starts, known = range(*steps, horizon), np.asarray(model.mask)[episode] > 0
    true = np.asarray(model.true_reward)[episode, slice(*steps), 0]
    axis.plot(range(*steps), true, color="black", label="observed")
    _draw_predicted(axis, np.asarray(model.reward)[episode], known, starts, shift=0)
    promised = np.asarray(plans.predicted.reward)[:, episode].mean(axis=-1)
    for i, t in enumerate(starts):
        x = t // every * every + np.arange(horizon)
        label = "promised by the plan" if i == 0 else None
        axis.plot(x, promised[t // every], color=GREEN, linestyle=":", linewidth=1.5, label=label)
    axis.set_ylabel("reward")


def _draw_predicted(axis: Any, predicted: NDArray, known: NDArray, starts: Sequence[int], shift: int) -> None:
    """Draws predictions ``[L, E, T]`` begun at some steps, as far as they are ``known [L, T]``, ``shift`` later."""
    for i, t in enumerate(starts):
        rows = predicted[t][:, known[t]]
        x = t + shift + np.arange(rows.shape[1])
        middle, deviation = rows.mean(axis=0), rows.std(axis=0)
        labels = ("predicted", "spread of members") if i == 0 else (None, None)
        axis.plot(x, middle, color=ORANGE, linestyle="--", linewidth=1.5, label=labels[0])
        axis.plot(x[:1], middle[:1], "o", color=ORANGE, markersize=3)
        low, high = middle - deviation, middle + deviation
        axis.fill_between(x, low, high, color=ORANGE, alpha=0.25, linewidth=0, label=labels[1])


def model_error(prediction: EpisodePrediction, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draws the errors of `rgrl_jax.analysis.predict_episode` 1 .. T steps ahead, and the members' disagreement.

    Root mean square over all steps of all episodes, on the scale of the model: of the members' mean, of each member,
    and the standard deviation between members. A model above the dotted line is worse than a constant guess.
    """
    panels = {"reward": (prediction.reward, prediction.true_reward)}
    if prediction.state is not None:
        panels["state"] = (prediction.state, prediction.true_state)
    figure, axes = make_figure(4.0 * len(panels) + 0.5, 3.8, 1, len(panels))
    for axis, (name, (predicted, true)) in zip(axes, panels.items(), strict=True):
        errors = horizon_errors(predicted, true, prediction.mask)
        x = np.arange(1, errors.mean.shape[0] + 1)
        marker = "o" if len(x) == 1 else None
        for i, member in enumerate(errors.member):
            axis.plot(x, member, color=ORANGE, linewidth=0.7, marker=marker, label=None if i else "each member")
        axis.plot(x, errors.mean, color=BLUE, linewidth=2.2, marker=marker, label="the members' mean")
        axis.plot(x, errors.disagreement, color=GREEN, linestyle="--", marker=marker, label="spread of members")
        axis.plot(x, errors.constant, color="0.3", linestyle=":", marker=marker, label="a constant guess")
        axis.set_title(name, fontsize="medium")
        axis.set_xlabel("steps ahead")
        axis.set_ylim(bottom=0.0)
        tidy(axis)
    axes[0].set_ylabel("root mean square error")
    legend_below(figure, axes[0], 2 * len(panels))
    return finish(figure, title, path)
