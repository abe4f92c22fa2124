"""Figures and GIFs of runs, drawn without pyplot, so nothing has to be closed."""

from rgrl_jax.experiment.plots.command_following import command_following
from rgrl_jax.experiment.plots.figure import band
from rgrl_jax.experiment.plots.gif import episode_gif
from rgrl_jax.experiment.plots.learning import learning
from rgrl_jax.experiment.plots.model_error import model_error
from rgrl_jax.experiment.plots.plans import plans
from rgrl_jax.experiment.plots.sweep import sweep

__all__ = ["band", "command_following", "episode_gif", "learning", "model_error", "plans", "sweep"]
