"""Reversal Generative RL: its config, its acting and learning halves, and the algorithm made of them."""

from rgrl_jax.algos.rgrl.acting import make_policy, plan_noise
from rgrl_jax.algos.rgrl.algorithm import ALGORITHM, TrainState, describe, init, play, step
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.foresight import (
    Foresight,
    HorizonErrors,
    check_model,
    foresee,
    horizon_errors,
    retrace_plans,
)
from rgrl_jax.algos.rgrl.learning import learn, reward_targets
from rgrl_jax.algos.rgrl.parts import parts

__all__ = [
    "ALGORITHM",
    "Foresight",
    "HorizonErrors",
    "RGRLConfig",
    "TrainState",
    "check_model",
    "describe",
    "foresee",
    "horizon_errors",
    "init",
    "learn",
    "make_policy",
    "parts",
    "plan_noise",
    "play",
    "retrace_plans",
    "reward_targets",
    "step",
]
