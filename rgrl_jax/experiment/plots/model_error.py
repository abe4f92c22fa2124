"""Errors of the model by the number of steps that it predicts ahead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rgrl_jax.algos.rgrl import EpisodePrediction, horizon_errors
from rgrl_jax.experiment.plots.figure import BLUE, GREEN, ORANGE, finish, legend_below, make_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def model_error(prediction: EpisodePrediction, *, title: str = "", path: str | Path | None = None) -> Figure:
    """Draws the errors of the model 1 .. T steps ahead, and the disagreement of its members.

    Root mean square over all steps of all episodes, on the scale of the model: of the members' mean, of each member,
    and the standard deviation between members. A model above the dotted line is worse than a constant guess.

    Args:
      prediction: as of `rgrl_jax.analysis.predict_episode`.
      title: drawn above the figure.
      path: where to save, if anywhere; the suffix decides the format.

    Returns:
      The matplotlib figure.
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
        axis.plot(x, errors.disagreement, color=GREEN, linestyle="--", marker=marker, label="between members")
        axis.plot(x, errors.constant, color="0.3", linestyle=":", marker=marker, label="a constant guess")
        axis.set_title(name, fontsize="medium")
        axis.set_xlabel("steps ahead")
        axis.set_ylim(bottom=0.0)
        tidy(axis)
    axes[0].set_ylabel("root mean square error")
    legend_below(figure, axes[0], 2 * len(panels))
    return finish(figure, title, path)
