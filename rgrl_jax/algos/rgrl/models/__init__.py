"""Models that predict rewards and states from a present state and a plan."""

from rgrl_jax.models import feedforward as feedforward  # these three register the built-in models
from rgrl_jax.models import recurrent as recurrent
from rgrl_jax.models import transformer as transformer
from rgrl_jax.models.base import Model, list_models, register_model
from rgrl_jax.models.mixed import MixedModel, make_model

__all__ = ["MixedModel", "Model", "list_models", "make_model", "register_model"]
