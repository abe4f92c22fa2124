"""Planners: search over action inputs through learned models."""

from rgrl_jax.planning.descent import PLAN_OPTIMIZERS, deduce, make_plan_optimizer
from rgrl_jax.planning.gradient import DISTANCES, plan, plan_error
from rgrl_jax.planning.sampling import make_cem, make_mppi, sample_plan, shooting
from rgrl_jax.planning.start import COLORS, start_noise

__all__ = [
    "COLORS",
    "DISTANCES",
    "PLAN_OPTIMIZERS",
    "deduce",
    "make_cem",
    "make_mppi",
    "make_plan_optimizer",
    "plan",
    "plan_error",
    "sample_plan",
    "shooting",
    "start_noise",
]
