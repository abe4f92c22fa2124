"""Models that predict rewards and states from a present state and a plan."""

from rgrl_jax.algos.rgrl.models import mlp as mlp  # these three register the built-in models
from rgrl_jax.algos.rgrl.models import recurrent as recurrent
from rgrl_jax.algos.rgrl.models import transformer as transformer
from rgrl_jax.algos.rgrl.models.base import History, Model, ModelSpec, make, names, register, unregister

__all__ = ["History", "Model", "ModelSpec", "make", "names", "register", "unregister"]
