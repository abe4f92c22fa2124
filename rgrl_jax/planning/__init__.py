"""Planners: search over action inputs through learned models."""

from rgrl_jax.planning.gradient import make_plan_optimizer, plan, plan_error

__all__ = ["make_plan_optimizer", "plan", "plan_error"]
