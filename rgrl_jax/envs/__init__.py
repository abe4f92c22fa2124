"""Environments as `EnvSpec`s, by name."""

from rgrl_jax.envs import gymnax as gymnax  # registers the built-in environments
from rgrl_jax.envs.gymnax import spec_from_gymnax
from rgrl_jax.envs.registry import list_envs, make_spec, register_env
from rgrl_jax.envs.spec import EnvSpec, Signals

__all__ = ["EnvSpec", "Signals", "list_envs", "make_spec", "register_env", "spec_from_gymnax"]
