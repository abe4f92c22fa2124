"""Settings that the benchmarks compare: presets with something changed, by name."""

from __future__ import annotations

from typing import Any

import rgrl_jax as rgrl

LEVERS: dict[str, dict[str, Any]] = {
    "one_member": {"ensemble_size": 1},
    "mean_of_members": {"plan_members": "mean"},
    "no_reset": {"reset_every": 0},
    "reset_of_all": {"reset": "all"},
    "rewards_from_feature": {"reward_from": "feature"},
    "no_epsilon": {"epsilon": 0.0},
    "reward_per_step": {"reward_discount": 0.0},
    "nothing_past_the_end": {"absorbing_reward": "zero"},
    "squared_distance": {"plan_loss": "squared"},
    "no_novelty": {"novelty": False},
    "environment_scale": {"reward_scale": "environment"},
    "constant_rate": {"learning_rate_end": 1.0},
    "no_action_noise": {"action_noise": 0.0},
    "no_repeat": {"action_repeat": 1},
    "no_hold": {"warmup_hold": 1.0},
    "one_start": {"plan_starts": 1},
    "judged_as_descended": {"plan_judged": "relaxed"},
    "no_plan_noise": {"plan_noise": 0.0},
    "no_planning": {"plan_iterations": 0, "plan_starts": 1},
    "plain_descent": {"plan_optimizer": "sgd"},
}
"""What an ablation switches off, one at a time; what a preset does not use is left out."""

RIVALS = ("shooting", "cem", "mppi")


def evaluations(config: rgrl.RGRLConfig) -> int:
    """Rollouts of one member per plan: a gradient step is two (forward and backward), a sampled plan one."""
    each = config.plan_samples
    if config.planner == "gradient":
        each = 2 + (config.plan_accept == "better")
    members = config.ensemble_size if config.plan_members == "mean" else 1
    return each * config.plan_starts * config.plan_iterations * members


def rival(config: rgrl.RGRLConfig, planner: str) -> dict[str, Any]:
    """Overrides that put another planner in the place of gradient descent, at equal model evaluations."""
    members = config.ensemble_size if config.plan_members == "mean" else 1
    budget = max(evaluations(config) // members, 2)
    rounds = 1 if planner == "shooting" else max(min(4, budget // 8), 1)
    samples = max(budget // rounds, 2)
    return {
        "planner": planner,
        "plan_iterations": rounds,
        "plan_samples": samples,
        "plan_elites": max(samples // 5, 1),
        "plan_starts": 1,
        "plan_accept": "always",
    }


def ablations(env_id: str) -> dict[str, dict[str, Any]]:
    """The tuned preset of an environment, each of its levers off, and each rival planner: overrides by name."""
    config = rgrl.preset(env_id)
    off = {
        name: changes
        for name, changes in LEVERS.items()
        if any(getattr(config, field) != value for field, value in changes.items())
    }
    return {"tuned": {}} | off | {planner: rival(config, planner) for planner in RIVALS}
