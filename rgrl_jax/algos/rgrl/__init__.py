"""Reversal Generative RL: its config, its acting and learning halves, and the algorithm made of them."""

from rgrl_jax.algos.rgrl.acting import make_policy, plan_noise
from rgrl_jax.algos.rgrl.algorithm import ALGORITHM, TrainState, describe, init, play, step
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.learning import learn, reward_targets
from rgrl_jax.algos.rgrl.parts import parts

__all__ = [
    "ALGORITHM",
    "RGRLConfig",
    "TrainState",
    "describe",
    "init",
    "learn",
    "make_policy",
    "parts",
    "plan_noise",
    "play",
    "reward_targets",
    "step",
]
