"""Policy generators: networks that make whole policies for a commanded return.

UDRLPG (upside-down reinforcement learning with policy generators, Di Ventura et al.) learns by hindsight alone,
GoGePo (goal-conditioned generators of deep policies, Faccio et al.) through an evaluator.
"""

from rgrl_jax.algos.policy_generators.algorithm import ALGORITHM, PolicyGeneratorState
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig

__all__ = ["ALGORITHM", "PolicyGeneratorConfig", "PolicyGeneratorState"]
