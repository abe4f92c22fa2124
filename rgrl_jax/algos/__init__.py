"""Algorithms behind one contract, each in a room of its own, and the registry of them."""

from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Algorithm, Config, Cost, State, register_algorithm
from rgrl_jax.algos.base import algorithm_names as names
from rgrl_jax.algos.base import get_algorithm as get
from rgrl_jax.algos.base import register_algorithm as register
from rgrl_jax.algos.base import unregister_algorithm as unregister
from rgrl_jax.algos.presets import list_presets
from rgrl_jax.rollout import Actor, Timestep, episode_metrics, rollout

# These register the built-in algorithms, in the order in which they are listed.
from rgrl_jax.algos import rgrl as rgrl  # isort: skip
from rgrl_jax.algos import unit_teams as unit_teams  # isort: skip
from rgrl_jax.algos import ddpg as ddpg  # isort: skip
from rgrl_jax.algos import neuron_ddpg as neuron_ddpg  # isort: skip
from rgrl_jax.algos import policy_generators as policy_generators  # isort: skip

__all__ = [
    "Actor",
    "Algorithm",
    "Config",
    "Cost",
    "State",
    "Timestep",
    "episode_metrics",
    "fields",
    "get",
    "list_presets",
    "names",
    "register",
    "register_algorithm",
    "rollout",
    "unregister",
]
