"""Models that RGRL plans through: the protocol, the registry, and what a model of one's own is made of."""

from rgrl_jax.algos.rgrl.models import History, Model, ModelSpec, make, names, register, unregister
from rgrl_jax.planning.outputs import ModelOutput

register_model = register

__all__ = ["History", "Model", "ModelOutput", "ModelSpec", "make", "names", "register", "unregister"]
