"""Settings of DDPG by preset and environment.

``paper`` has what Lillicrap et al. (2016) used on all tasks of low-dimensional observations, here on the pendulum.
"""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]

# Noise that pushes one way for some fifty steps, about half a swing of the car, gets it to the goal early on.
_CAR: Settings = {"episodes": 100, "noise": "ou", "noise_std": 0.15, "ou_theta": 0.02}

ENVIRONMENTS: dict[str, Settings] = {
    "*": {"reward_scale": 0.1, "obs_normalization": "range"},
    "Pendulum-v1": {"episodes": 100, "replay_capacity": 20_000},
    "MountainCarContinuous-v0": _CAR,
    "MountainCarContinuous-gymnasium": _CAR,
    "Reacher-misc": {"episodes": 500, "discount": 0.95},
    "PointRobot-misc": {"episodes": 500, "reward_scale": 1.0, "discount": 0.95, "noise": "ou", "noise_std": 0.3},
    "Swimmer-misc": {"episodes": 100, "discount": 0.95},
}

_PAPER: Settings = (
    {"reward_scale": 1.0, "obs_normalization": "raw", "hidden": (400, 300), "critic_hidden": (400, 300)}
    | {"action_layer": 1, "actor_lr": 1e-4, "critic_lr": 1e-3, "critic_decay": 1e-2, "tau": 1e-3}
    | {"noise": "ou", "noise_std": 0.2, "replay_capacity": 1_000_000, "warmup_steps": 0}
)

PRESETS: dict[str, dict[str, Settings]] = {"tuned": ENVIRONMENTS, "paper": {"Pendulum-v1": _PAPER}}
