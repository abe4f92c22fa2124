"""Environments as `EnvSpec`s, by name."""

from rgrl_jax.envs import gymnax as gymnax  # registers the built-in environments
from rgrl_jax.envs import mjx as mjx  # and those of Gymnasium that are compiled
from rgrl_jax.envs.brax import spec_from_brax
from rgrl_jax.envs.gymnasium import spec_from_gymnasium
from rgrl_jax.envs.gymnax import spec_from_gymnax
from rgrl_jax.envs.registry import list_envs, make_spec, register_env
from rgrl_jax.envs.spec import EnvSpec, HostEnv, Signals, host_spec

__all__ = [
    "EnvSpec",
    "HostEnv",
    "Signals",
    "host_spec",
    "list_envs",
    "make_spec",
    "register_env",
    "spec_from_brax",
    "spec_from_gymnasium",
    "spec_from_gymnax",
]
