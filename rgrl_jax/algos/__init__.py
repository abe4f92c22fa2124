"""Algorithms behind one contract, each in a room of its own, and the registry of them."""

import contextlib as _contextlib
import importlib as _importlib

from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Algorithm, Config, Cost, State, register_algorithm
from rgrl_jax.algos.base import algorithm_names as names
from rgrl_jax.algos.base import get_algorithm as get
from rgrl_jax.algos.base import register_algorithm as register
from rgrl_jax.algos.base import unregister_algorithm as unregister
from rgrl_jax.algos.presets import list_presets
from rgrl_jax.rollout import Actor, Timestep, episode_metrics, rollout

for _room in ("rgrl", "unit_teams", "ddpg", "neuron_ddpg", "policy_generators"):
    with _contextlib.suppress(Exception):  # TEMPORARY while rooms are rebuilt
        _importlib.import_module(f"rgrl_jax.algos.{_room}")

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
