"""Planners: search over action inputs through learned models."""

from rgrl_jax.planning.descent import deduce
from rgrl_jax.planning.gradient import absolute_error, mean_error, plan, plan_error
from rgrl_jax.planning.outputs import DeductionOutput, ModelOutput, PlanOutput
from rgrl_jax.planning.sampling import Sampler, cem, mppi, sample_plan, shooting
from rgrl_jax.planning.squash import straight_through

__all__ = [
    "DeductionOutput",
    "ModelOutput",
    "PlanOutput",
    "Sampler",
    "absolute_error",
    "cem",
    "deduce",
    "mean_error",
    "mppi",
    "plan",
    "plan_error",
    "sample_plan",
    "shooting",
    "straight_through",
]
