"""Algorithms behind one contract, each in a room of its own, and the registry of them."""

import contextlib as _contextlib
import importlib as _importlib

from rgrl_jax.algos import fields as fields
from rgrl_jax.algos.base import Algorithm, Config, Cost, State, register_algorithm
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
    "list_presets",
    "register_algorithm",
    "rollout",
]
