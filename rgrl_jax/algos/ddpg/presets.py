"""Settings of DDPG and of its decentralised sibling: data.

``paper`` is, for DDPG, what its paper used on all tasks of few numbers (Lillicrap et al., 2016), here on the
pendulum, and, for neurons, the draft as it is written: linear critics of all neurons, no biases, no exploration, no
mask at ends. As it gives no numbers, rates and sizes are ours. ``tuned`` is what works best so far: with neurons
outputs that learn alone, above a wide layer that stays as it was drawn.
"""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]

_LIBRARY: Settings = {"reward_scale": 0.1, "observation": "range"}
# Noise that pushes one way for some fifty steps, about half a swing of the car, gets it to the goal early on.
_CAR: Settings = {"episodes": 100, "noise": "ou", "noise_scale": 0.15, "noise_reversion": 0.02}

BASES: dict[str, Settings] = {
    "ddpg": _LIBRARY | {"rule": "ddpg"},
    "neuron_ddpg": _LIBRARY
    | {"rule": "neuron_ddpg", "loss": "half", "learners": "outputs", "hidden": (256,), "neuron_hidden": (64, 64)},
}
"""What an environment without settings of its own gets."""

_PENDULUM: Settings = {"episodes": 100, "replay_capacity": 20_000}
_TUNED: dict[str, Settings] = {
    "Pendulum-v1": _PENDULUM,
    "MountainCarContinuous-v0": _CAR,
    "MountainCarContinuous-gymnasium": _CAR,
    "Reacher-misc": {"episodes": 500, "discount": 0.95},
    "PointRobot-misc": {"episodes": 500, "reward_scale": 1.0, "discount": 0.95, "noise": "ou", "noise_scale": 0.3},
    "Swimmer-misc": {"episodes": 100, "discount": 0.95},
}

_LILLICRAP: Settings = {
    "reward_scale": 1.0,
    "observation": "raw",
    "hidden": (400, 300),
    "critic_hidden": (400, 300),
    "action_layer": 1,
    "actor_rate": 1e-4,
    "critic_rate": 1e-3,
    "critic_decay": 1e-2,
    "target_rate": 1e-3,
    "noise": "ou",
    "noise_scale": 0.2,
    "replay_capacity": 1_000_000,
    "warmup_steps": 0,
}
_DRAFT: Settings = {
    "learners": "all",
    "hidden": (64, 64),
    "activation": "tanh",
    "neuron_critic": "linear",
    "biases": False,
    "noise": "none",
    "bootstrap": "always",
    "voltages": "stored",
    "output_voltage": "own",
}

PRESETS: dict[str, dict[str, dict[str, Settings]]] = {
    "ddpg": {"paper": {"Pendulum-v1": _LILLICRAP}, "tuned": _TUNED},
    "neuron_ddpg": {"paper": {"Pendulum-v1": _PENDULUM | _DRAFT}, "tuned": _TUNED},
}
"""By rule, by preset, by environment: what changes in the rule's `BASES`."""
