"""Networks as teams of agents: every unit of a network is a reinforcement learner of its own.

REINFORCE, MAP propagation and weight maximisation (Chung and Barto), with straight-through and plain backpropagation
beside them, as online actor-critics with eligibility traces.
"""

from rgrl_jax.algos.unit_teams.algorithm import ALGORITHM, TrainState, describe, init, play, step
from rgrl_jax.algos.unit_teams.config import UnitTeamConfig
from rgrl_jax.algos.unit_teams.presets import BASES, PRESETS

__all__ = ["ALGORITHM", "BASES", "PRESETS", "TrainState", "UnitTeamConfig", "describe", "init", "play", "step"]
