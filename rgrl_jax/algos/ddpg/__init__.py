"""Deterministic policy gradients: DDPG (Lillicrap et al., 2016), and the same for every neuron by itself.

The second follows a draft by Guss and others, in which every neuron is an agent with a critic of its own and nothing
is passed back through the actor.
"""

from rgrl_jax.algos.ddpg.algorithm import ALGORITHM, TrainState, describe, init, play, step
from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.presets import BASES, PRESETS

__all__ = ["ALGORITHM", "BASES", "PRESETS", "DDPGConfig", "TrainState", "describe", "init", "play", "step"]
