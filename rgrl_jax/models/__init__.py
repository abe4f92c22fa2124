"""Models that predict rewards and states from a present state and a plan."""

from rgrl_jax.models import recurrent as recurrent  # registers the built-in models
from rgrl_jax.models.base import Model, list_models, make_model, register_model

__all__ = ["Model", "list_models", "make_model", "register_model"]
