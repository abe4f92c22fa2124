"""Settings of generators of policies: data.

``paper`` are those of the authors' public code, on the tasks of UDRLPG's paper, as Gymnasium's environments on the
host. Of UDRLPG's code only Hopper's settings are there; it does not say whether the other tasks had others. Budgets
were published in steps, 100,000 and 3,000,000; how many episodes these take depends on how long they last, and is a
guess for InvertedPendulum and Hopper. ``tuned`` is a small profile for one core. GoGePo's settings are first tries.
No setting tried so far has learnt the pendulum, or gymnax's swimmer, whose goal is elsewhere in every episode.

UDRLPG has two small profiles. ``small`` keeps how the authors' code stores, draws and commands, by which little but
the best that was played is learnt. ``tuned`` is meant to do as it is told, on CartPole and the car: half of the
training episodes are played for lower returns, and few buckets of one policy each are drawn nearly alike. What obeys
was looked for from seed 1000 on, over 100,000 steps; each figure is the mean correlation of achieved with commanded
returns:

- CartPole, 10 seeds. Where the newest policy replaces what is in its bucket, those that were to be the best and fell
  short by their noise crowd out the rest, and the mean of these is good again: 0.36. ``select`` turns them away, and
  with less noise for drawn commands, observations on the running scale and more noise for the best it is 0.90 (0.29
  without less noise for drawn commands, 0.68 with raw observations and a noise of 0.2 for the best alone). Runs that
  had not taken their steps after 500 episodes count as they were then.
- The car. On the running scale stored policies go stale while the scale moves, and figures do not carry over: 0.91 on
  10 seeds was 0.72 on seeds 0 to 19. On the range of the environment it is 0.89 on 20 seeds, and with less noise,
  0.15, 0.93, or 0.90 with a rank weight of 0.1, which reaches the goal more often; the preset lies between. A noise
  of 0.3 obeys less (0.82), less noise for drawn commands too (0.80 for 0.89).
- Neither larger random policies in the warm-up (0.55 to 0.79 on 12 seeds) nor commands kept to what was reached (0.69
  on 20) made up for the running scale on the car.
- The pendulum, 10 seeds: 0.44, at -1229; with less noise -0.08. The swimmer with the settings of CartPole: below 0.
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
_TUNED_GOGEPO: dict[str, Settings] = {
    "CartPole-v1": {"episodes": 400},
    "Pendulum-v1": _PENDULUM,
    "MountainCarContinuous-v0": {"episodes": 200, "generator_rate": 3e-4, "param_noise": 0.2, "drive": 5.0},
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

PRESETS: dict[str, dict[str, dict[str, Settings]]] = {
    "udrlpg": {
        "paper": {
            "gymnasium:InvertedPendulum-v5": _UDRLPG_PAPER | _INVERTED,
            "gymnasium:Swimmer-v5": _UDRLPG_PAPER | _SWIMMER,
            # 3000, less the bonus of 1000 steps.
            "gymnasium:Hopper-v5": _UDRLPG_PAPER | _HOPPER | {"return_high": 2000.0},
        },
        "small": _SMALL_UDRLPG,
        "tuned": _TUNED,
    },
    "gogepo": {
        "paper": {
            "gymnasium:InvertedPendulum-v5": _GOGEPO_PAPER | _INVERTED,
            "gymnasium:Swimmer-v5": _GOGEPO_PAPER | _SWIMMER,
            "gymnasium:Hopper-v5": _GOGEPO_PAPER | _HOPPER | {"return_high": 3000.0},
        },
        "tuned": _TUNED_GOGEPO,
    },
}
"""By rule, by preset, by environment: what changes in the rule's `BASES`."""

for _tables in PRESETS.values():  # the same tasks, compiled
    _tables["paper"] |= {name.replace("gymnasium:", "mjx:"): of for name, of in _tables["paper"].items()}
