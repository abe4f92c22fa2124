"""Generators of policies: networks that make whole policies for a commanded return.

UDRLPG (upside-down reinforcement learning with policy generators, Di Ventura et al.), which learns by hindsight
alone, and GoGePo (goal-conditioned generators of deep policies, Faccio et al.), which learns through an evaluator.
"""

from rgrl_jax.algos.policy_generators.algorithm import ALGORITHM, TrainState, describe, init, play, step
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.presets import BASES, PRESETS

__all__ = ["ALGORITHM", "BASES", "PRESETS", "PolicyGeneratorConfig", "TrainState", "describe", "init", "play", "step"]
