"""Environments as `EnvSpec`s, by name."""

from rgrl_jax.envs import builtin as builtin  # registers the built-in environments
from rgrl_jax.envs import mjx as mjx  # registers the source ``mjx:``
from rgrl_jax.envs.brax import spec_from_brax
from rgrl_jax.envs.gymnasium import spec_from_gymnasium
from rgrl_jax.envs.gymnax import spec_from_gymnax
from rgrl_jax.envs.registry import make, names, register, unregister
from rgrl_jax.envs.registry import register as register_env  # its name at the top level
from rgrl_jax.envs.spec import EnvSpec, HostEnv, Signals, host_spec

__all__ = [
    "EnvSpec",
    "HostEnv",
    "Signals",
    "host_spec",
    "make",
    "names",
    "register",
    "register_env",
    "spec_from_brax",
    "spec_from_gymnasium",
    "spec_from_gymnax",
    "unregister",
]
