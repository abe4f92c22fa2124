"""rgrl_jax: agents that deduce their actions by gradient descent on the inputs of an ensemble.

import jax, rgrl_jax as rgrl

config = rgrl.preset("CartPole-v1")
state, metrics = jax.jit(rgrl.train)(jax.random.key(0), config)
returns = rgrl.evaluate(jax.random.key(1), state, config, num_episodes=100)
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "rgrl_jax.algos.base": ("Config",),
    "rgrl_jax.algos.ddpg": ("DDPGConfig",),
    "rgrl_jax.algos.neuron_ddpg": ("NeuronDDPGConfig",),
    "rgrl_jax.algos.policy_generators": ("PolicyGeneratorConfig",),
    "rgrl_jax.algos.presets": ("preset",),
    "rgrl_jax.algos.rgrl": ("RGRLConfig", "build"),
    "rgrl_jax.algos.unit_teams": ("UnitTeamConfig",),
    "rgrl_jax.algos": ("register_algorithm",),
    "rgrl_jax.envs": ("EnvSpec", "register_env"),
    "rgrl_jax.experiment.agent": ("load_agent", "make_act"),
    "rgrl_jax.experiment.checkpoint": ("load_run",),
    "rgrl_jax.experiment.playing": ("evaluate", "play"),
    "rgrl_jax.experiment.runner": ("run",),
    "rgrl_jax.models": ("register_model",),
    "rgrl_jax.planning": ("deduce", "plan"),
    "rgrl_jax.training": ("init", "train"),
    "rgrl_jax.types": ("Box", "Discrete", "Episode", "Metrics"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
_MODULES = ("algos", "analysis", "callbacks", "envs", "models", "planning", "plots")

__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for, so that nobody waits for what is not used."""
    if name in _MODULES:
        return importlib.import_module(f"rgrl_jax.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'rgrl_jax' has no attribute {name!r}")
    importlib.import_module("rgrl_jax.algos")  # registers the built-in algorithms
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
