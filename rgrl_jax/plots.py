"""Figures and GIFs of runs.

Each figure takes a ``title``, which is drawn above it, and a ``path`` to save it at, whose suffix decides the format.
It returns matplotlib's ``Figure``, drawn without pyplot, so nothing has to be closed.
"""

from rgrl_jax.experiment.plots.curves import command_following, learning
from rgrl_jax.experiment.plots.figure import band
from rgrl_jax.experiment.plots.gif import episode_gif
from rgrl_jax.experiment.plots.predictions import model_error, plans
from rgrl_jax.experiment.plots.sweep import sweep

__all__ = ["band", "command_following", "episode_gif", "learning", "model_error", "plans", "sweep"]
