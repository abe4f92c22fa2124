"""Deep deterministic policy gradients, DDPG (Lillicrap et al., 2016): one actor and one critic, from replay."""

from rgrl_jax.algos.base import register_algorithm
from rgrl_jax.algos.ddpg.agent import make_agent
from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.online import DDPGState, make_algorithm
from rgrl_jax.algos.ddpg.presets import PRESETS

ALGORITHM = make_algorithm(make_agent)
register_algorithm("ddpg", DDPGConfig, ALGORITHM, PRESETS)

__all__ = ["ALGORITHM", "PRESETS", "DDPGConfig", "DDPGState"]
