"""Numbers that tell what an agent has learnt: predictions, command following, statistics over seeds."""

from rgrl_jax.algos.rgrl import horizon_errors, predict_episode, recompute_plans
from rgrl_jax.experiment.command_following import command_following, command_following_correlation
from rgrl_jax.experiment.stats import bootstrap_interval, iqm

__all__ = [
    "bootstrap_interval",
    "command_following",
    "command_following_correlation",
    "horizon_errors",
    "iqm",
    "predict_episode",
    "recompute_plans",
]
