"""Networks as teams of agents: every unit of a network is a reinforcement learner of its own.

REINFORCE, MAP propagation and weight maximization (Chung and Barto), with straight-through and plain backpropagation
for comparison, as online actor-critics with eligibility traces.
"""

from rgrl_jax.algos.unit_teams.algorithm import ALGORITHM, UnitTeamState
from rgrl_jax.algos.unit_teams.config import UnitTeamConfig

__all__ = ["ALGORITHM", "UnitTeamConfig", "UnitTeamState"]
