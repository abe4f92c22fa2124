"""A tiny config of every registered algorithm, for tests that are the same for all of them."""

import functools
from unittest import mock

import rgrl_jax as rgrl
from rgrl_jax.algos import base

EPISODES, MAX_STEPS = 3, 11
"""Rows of metrics of a run; and steps of CartPole after which some episodes have ended by themselves."""

TINY_CONFIGS = {
    "RGRLConfig": {
        "num_envs": 2,
        "explore.warmup_episodes": 1,
        "explore.epsilon": 0.3,
        "model.ensemble_size": 2,
        "model.width": 6,
        "model.history_length": 1,
        "model.unroll": 1,
        "target.novelty": True,
        "target.reward_scale": "seen",
        "planner.horizon": 2,
        "planner.iterations": 2,
        "planner.num_starts": 2,
        "planner.replan_every": 2,
        "planner.unroll": 1,
        "learner.batch_size": 3,
        "learner.updates_per_episode": 2,
        "learner.reset_every": 2,
        "learner.lr_end": 0.5,
        "replay.kind": "priority",
        "replay.capacity": 40,
        "replay.max_windows": 20,
    },
    "UnitTeamConfig": {"hidden": (5, 4), "num_envs": 2, "map_steps": 2},
    "reinforce": {"episodes_per_row": 2},
    "DDPGConfig": {
        "num_envs": 2,
        "hidden": (5, 4),
        "critic_hidden": (6,),
        "action_layer": 1,
        "obs_normalization": "running",
        "noise": "ou",
        "batch_size": 3,
        "warmup_steps": 4,
        "replay_capacity": 50,
    },
    "PolicyGeneratorConfig": {
        "num_envs": 2,
        "hidden": (4,),
        "tile_size": 2,
        "embedding_size": 3,
        "generator_hidden": (5,),
        "generator_lr": 1e-3,
        "evaluator_hidden": (5,),
        "num_probes": 3,
        "warmup_episodes": 1,
        "batch_size": 4,
        "num_buckets": 20,
        "num_buckets_kept": 8,
        "capacity": 7,
    },
}
TINY_CONFIGS["NeuronDDPGConfig"] = TINY_CONFIGS["DDPGConfig"] | {"neuron_hidden": (3,)}
"""Changes that make a config tiny, by its type or by the algorithm; any other is only made short."""


@functools.cache
def config_of(name):
    """A tiny config, on CartPole if it can be."""
    kind = base.registered(name).config_type
    changes = {"max_steps": MAX_STEPS, "episodes": EPISODES} | TINY_CONFIGS.get(kind.__name__, {})
    changes |= TINY_CONFIGS.get(name, {})
    known = [env for envs in rgrl.algos.list_presets(name).values() for env in envs if ":" not in env]
    for env_id in ("CartPole-v1", *known, kind().env_id):
        try:
            return rgrl.preset(env_id, algo=name, **changes)
        except ValueError as error:
            misfit = error
    raise misfit


def refusal(act):
    """The one sentence of a refusal, or nothing."""
    try:
        act()
    except (ValueError, TypeError) as error:
        message = str(error)
        assert message and "\n" not in message, message
        return message
    return ""


def no_compiling():
    """Fails if anything compiles."""
    return mock.patch("jax._src.compiler.compile_or_get_cached", side_effect=AssertionError("something compiled"))
