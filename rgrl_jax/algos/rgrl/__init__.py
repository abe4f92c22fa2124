"""Reversal Generative RL: a config in groups, models, acting, learning, and the algorithm made of them."""

from rgrl_jax.algos.rgrl.agent import RGRLState
from rgrl_jax.algos.rgrl.build import Components, build
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.prediction import (
    EpisodePrediction,
    HorizonErrors,
    check_has_model,
    horizon_errors,
    predict_episode,
    recompute_plans,
)

__all__ = [
    "Components",
    "EpisodePrediction",
    "HorizonErrors",
    "RGRLConfig",
    "RGRLState",
    "build",
    "check_has_model",
    "horizon_errors",
    "predict_episode",
    "recompute_plans",
]
