"""DDPG of every neuron by itself, after a draft by Guss and others.

Every neuron is an agent with a critic of its own, and nothing is passed back through the actor. Results:
``docs/neurons.md``.
"""

from rgrl_jax.algos.base import register_algorithm
from rgrl_jax.algos.ddpg.online import make_algorithm
from rgrl_jax.algos.neuron_ddpg.agent import make_agent
from rgrl_jax.algos.neuron_ddpg.config import NeuronDDPGConfig
from rgrl_jax.algos.neuron_ddpg.presets import PRESETS

ALGORITHM = make_algorithm(make_agent)
register_algorithm("neuron_ddpg", NeuronDDPGConfig, ALGORITHM, PRESETS)

__all__ = ["ALGORITHM", "PRESETS", "NeuronDDPGConfig"]
