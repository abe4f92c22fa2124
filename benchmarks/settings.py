"""Settings that the benchmarks compare: presets with something changed, by name."""

from __future__ import annotations

from typing import Any

import rgrl_jax as rgrl
from rgrl_jax.algos.fields import get_at

LEVERS: dict[str, dict[str, Any]] = {
    "one_member": {"model.ensemble_size": 1},
    "no_reset": {"learner.reset_every": 0},
    "reset_of_all": {"learner.member_reset": "all"},
    "rewards_from_feature": {"model.reward_from": "feature"},
    "no_epsilon": {"explore.epsilon": 0.0},
    "reward_per_step": {"target.discount": 0.0},
    "nothing_past_the_end": {"target.absorbing_reward": "zero"},
    "squared_distance": {"planner.loss": "squared"},
    "no_novelty": {"target.novelty": False},
    "environment_scale": {"target.reward_scale": "environment"},
    "constant_rate": {"learner.lr_end": 1.0},
    "no_action_noise": {"learner.action_noise": 0.0},
    "no_repeat": {"action_repeat": 1},
    "no_hold": {"explore.warmup_action_repeat": 1.0},
    "one_start": {"planner.num_starts": 1},
    "judged_as_descended": {"planner.rank_starts_by": "relaxed"},
    "no_plan_noise": {"planner.noise": 0.0},
    "no_planning": {"planner.iterations": 0, "planner.num_starts": 1},
    "plain_descent": {"planner.optimizer": "sgd"},
}
"""What an ablation switches off, one at a time; what a preset does not use is left out."""

RIVALS = ("shooting", "cem", "mppi")


def evaluations(config: rgrl.RGRLConfig) -> int:
    """Rollouts of one member per plan: a gradient step is two (forward and backward), a sampled plan one."""
    planner = config.planner
    return (2 if planner.kind == "gradient" else planner.samples) * planner.num_starts * planner.iterations


def rival(config: rgrl.RGRLConfig, kind: str) -> dict[str, Any]:
    """Overrides that put another planner in the place of gradient descent, at equal model evaluations."""
    budget = max(evaluations(config), 2)
    rounds = 1 if kind == "shooting" else max(min(4, budget // 8), 1)
    return {
        "planner.kind": kind,
        "planner.iterations": rounds,
        "planner.samples": max(budget // rounds, 2),
        "planner.num_starts": 1,
    }


def ablations(env_id: str) -> dict[str, dict[str, Any]]:
    """The tuned preset of an environment, each of its levers off, and each rival planner: overrides by name."""
    config = rgrl.preset(env_id)
    off = {
        name: changes
        for name, changes in LEVERS.items()
        if any(get_at(config, field) != value for field, value in changes.items())
    }
    return {"tuned": {}} | off | {planner: rival(config, planner) for planner in RIVALS}
