"""Settings of generators of policies: data.

``paper`` are those of the authors' public code, on the tasks of UDRLPG's paper, as Gymnasium's environments on the
host. Of UDRLPG's code only Hopper's settings are there; it does not say whether the other tasks had others. Budgets
were published in steps, 100,000 and 3,000,000; how many episodes these take depends on how long they last, and is a
guess for InvertedPendulum and Hopper. ``tuned`` is a small profile for one core. No setting tried so far has learnt
the pendulum, or gymnax's swimmer, whose goal is elsewhere in every episode.

UDRLPG has two small profiles. ``small`` keeps how the authors' code stores, draws and commands, by which little but
the best that was played is learnt. ``tuned`` is meant to do as it is told, on CartPole and the car: half of the
training episodes are played for lower returns, and few buckets of one policy each are drawn nearly alike. What obeys
was looked for on 10 to 20 seeds from 1000 on, over 100,000 steps:

- CartPole. Where the newest policy replaces what is in its bucket, those that were to be the best and fell short by
  their noise crowd out the rest, and the mean of these is good again. ``select`` turns them away; less noise for
  drawn commands, observations on the running scale and more noise for the best help on top.
- The car. On the running scale what helped on ten seeds did not on others, as if stored policies went stale while the
  scale moves: a first choice was dropped after seeds 0 to 19 had been seen. On the range of the environment figures
  carry over. A lower rank weight obeys better, a higher one reaches the goal more often; the preset lies between.
- Larger random policies in the warm-up, and commands kept to what was reached, brought nothing.

GoGePo's, from 6 and 10 seeds from 1000 on: with the authors' warm-up, commands and noise most seeds on CartPole stay
at episodes of some ten steps, since all that is known of returns lies close together. Random policies first, drawn
commands and three times the noise spread them; on the car a lower rate is what helped most.
"""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]

_SMALL: Settings = {"hidden": (32, 32), "tile": 16, "generator_hidden": (64, 64), "buckets": 200}
_GOGEPO: Settings = {
    "rule": "gogepo",
    "tile": 16,
    "embedding": 8,
    "output_scale": 2.0,
    "param_noise": 0.1,
    "warmup_episodes": 0,
    "drive": 20.0,
    "store": "ring",
    "batch": 16,
    "generator_updates": 19,
}

BASES: dict[str, Settings] = {
    "udrlpg": _SMALL | {"rule": "udrlpg", "generator_rate": 3e-4, "param_noise": 0.2},
    "gogepo": _SMALL
    | _GOGEPO
    | {"generator_rate": 1e-4, "evaluator_hidden": (64, 64), "probes": 50, "capacity": 1000},
}
"""What an environment without settings of its own gets."""

_PENDULUM: Settings = {"episodes": 500, "return_low": -2000.0}
_SMALL_UDRLPG: dict[str, Settings] = {
    "CartPole-v1": {"episodes": 400},
    "Pendulum-v1": _PENDULUM,
    "MountainCarContinuous-v0": {"episodes": 200, "generator_rate": 1e-3, "param_noise": 0.3},
    "Swimmer-misc": {"episodes": 200},
}
_TOLD: Settings = {
    "hidden": (16,),
    "warmup": "random",
    "warmup_episodes": 20,
    "command": "drawn",
    "above": "clamp",
    "kept_buckets": 50,
    "bucket_size": 1,
    "full": "select",
    "generator_updates": 16,
}
_EQUAL: Settings = _TOLD | {"buckets": 20, "rank_weight": 0.0}
_TUNED: dict[str, Settings] = {
    "CartPole-v1": _EQUAL | {"episodes": 400, "param_noise": 0.3, "drawn_noise": 0.3},
    "Pendulum-v1": _EQUAL | _PENDULUM | {"generator_rate": 1e-3, "drawn_noise": 0.5},
    "MountainCarContinuous-v0": _TOLD
    | {"episodes": 200, "observation": "range", "buckets": 50, "rank_weight": 0.06}
    | {"generator_rate": 3e-3, "param_noise": 0.15},
    "Swimmer-misc": {"episodes": 200},
}
_SPREAD: Settings = {"warmup": "random", "warmup_episodes": 20, "command": "drawn", "param_noise": 0.3}
_TUNED_GOGEPO: dict[str, Settings] = {
    "CartPole-v1": _SPREAD | {"episodes": 400},
    "Pendulum-v1": _PENDULUM,
    "MountainCarContinuous-v0": _SPREAD | {"episodes": 200, "generator_rate": 5e-5, "drive": 5.0},
    "Swimmer-misc": {"episodes": 200},
}

_LARGE: Settings = {"hidden": (256, 256), "generator_rate": 2e-6, "param_noise": 0.1, "buckets": 800}
_UDRLPG_PAPER: Settings = _LARGE | {"tile": 32, "generator_hidden": (512, 512)}
_GOGEPO_PAPER: Settings = _LARGE | {
    "generator_hidden": (256, 256),
    "evaluator_hidden": (256, 256),
    "probes": 200,
    "capacity": 10_000,
}
_INVERTED: Settings = {"episodes": 2000, "return_high": 1000.0}
_SWIMMER: Settings = {"episodes": 3000, "return_low": -100.0, "return_high": 365.0}
_HOPPER: Settings = {"episodes": 10_000, "return_low": -100.0, "survival_bonus": 1.0}


def _mujoco(settings: Settings, hopper: Settings) -> dict[str, Settings]:
    """Of the tasks of MuJoCo, on the host and compiled."""
    tasks = {"InvertedPendulum-v5": _INVERTED, "Swimmer-v5": _SWIMMER, "Hopper-v5": _HOPPER | hopper}
    return {f"{where}:{name}": settings | task for where in ("gymnasium", "mjx") for name, task in tasks.items()}


PRESETS: dict[str, dict[str, dict[str, Settings]]] = {
    "udrlpg": {
        # The hopper's 2000 are 3000, less the bonus of 1000 steps.
        "paper": _mujoco(_UDRLPG_PAPER, hopper={"return_high": 2000.0}),
        "small": _SMALL_UDRLPG,
        "tuned": _TUNED,
    },
    "gogepo": {
        "paper": _mujoco(_GOGEPO_PAPER, hopper={"return_high": 3000.0}),
        "tuned": _TUNED_GOGEPO,
    },
}
"""By rule, by preset, by environment: what changes in the rule's `BASES`."""
