"""Settings that do not fit each other meet one sentence, and those that just fit are let in."""

import jax.numpy as jnp
import pytest
from rgrl_cases import small

from rgrl_jax import envs
from rgrl_jax.algos.rgrl import RGRLConfig
from rgrl_jax.envs import EnvSpec
from rgrl_jax.types import Box


def test_defaults_are_valid():
    """Nothing complains about them."""
    RGRLConfig().validate()


BITS = {"reference.reward_encoding": "thermometer"}
CONV = {"model.encoder": "conv"}


@pytest.mark.parametrize(
    ("env_id", "changes", "message"),
    [
        ("CartPole-v1", {"model.kind": "gruu"}, "model.kind = 'gruu' is not registered; nearest: .*gru"),
        (
            "CartPole-v1",
            {"model.kind": "transformer", "model.heads": 3},
            "model.heads = 3 must divide model.width = 8",
        ),
        ("CartPole-v1", CONV, "model.encoder = 'conv' needs observations of shape"),
        (
            "Catch-bsuite",
            CONV | {"reference.state_encoding": "thermometer"},
            "and reference.state_encoding = 'scale'",
        ),
        ("CartPole-v1", BITS | {"target.reward_scale": "seen"}, "needs reference.reward_encoding = 'scale'"),
        ("CartPole-v1", {"planner.replan_every": 5}, "planner.replan_every = 5 must be at most planner.horizon = 4"),
        (
            "Pendulum-v1",
            {"planner.rank_starts_by": "executed"},
            "'executed' needs discrete actions; those of Pendulum",
        ),
        ("CartPole-v1", {"reference.exact_priorities": True}, "needs replay.kind = 'priority', not 'uniform'"),
        ("gymnasium:CartPole-v1", {"reference.past_end": "simulate"}, "gymnasium:CartPole-v1 lives on the host"),
        ("CartPole-v1", {"action_repeat": 0}, "action_repeat = 0 must be at least 1"),
        ("CartPole-v1", {"explore.warmup_action_repeat": 0.5}, "explore.warmup_action_repeat = 0.5 must be finite"),
    ],
)
def test_contradictions_are_refused(env_id, changes, message):
    """Before anything compiles."""
    with pytest.raises(ValueError, match=message) as error:
        small(changes, env_id)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("env_id", "changes"),
    [
        ("CartPole-v1", {"model.kind": "transformer", "model.heads": 8}),
        ("CartPole-v1", {"model.heads": 3}),  # a GRU has none
        ("Catch-bsuite", CONV),
        ("Breakout-MinAtar", CONV),
        ("CartPole-v1", {"planner.replan_every": 4}),
        ("CartPole-v1", {"planner.rank_starts_by": "executed"}),
        ("CartPole-v1", {"replay.kind": "priority", "reference.exact_priorities": True}),
    ],
)
def test_what_fits_is_let_in(env_id, changes):
    """The neighbours of what is refused."""
    small(changes, env_id)


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({}, 13),  # one episode: 12 steps and the last observation
        ({"planner.horizon": 30}, 31),  # one window: the present and 30 steps
        ({"planner.horizon": 20, "model.history_length": 7}, 28),
        ({"reference.past_end": "simulate"}, 16),  # one episode and 3 steps past its end
        ({"max_steps": None}, 501),  # the environment's own limit
        ({"action_repeat": 5}, 5),  # 3 decisions and the last observation, or 5 rows of a window
    ],
)
def test_the_replay_holds_an_episode_and_a_window(settings, least):
    """The smallest allowed capacity passes, and one row less does not."""
    assert small(settings | {"replay.capacity": least}).replay.capacity == least
    with pytest.raises(ValueError, match=f"replay.capacity = {least - 1} must hold .*max_steps"):
        small(settings | {"replay.capacity": least - 1})


def test_actions_need_bounds():
    """Plans are scaled to them."""
    box, done = Box(-1.0, 1.0, ()), jnp.bool_(False)

    def make(limit):
        return EnvSpec(
            env_id="Boundless",
            reset=lambda key: (jnp.zeros(()), jnp.zeros(())),
            step=lambda key, state, action: (state, state, state, done, done),
            observation=box,
            action=Box(-1.0, float("inf"), ()),
            reward_range=(0.0, 1.0),
            max_steps=limit or 5,
            return_range=(0.0, 5.0),
        )

    envs.register("Boundless", make)
    try:
        with pytest.raises(ValueError, match="env_id = 'Boundless' has actions without bounds"):
            small({}, "Boundless")
    finally:
        envs.unregister("Boundless")


def test_what_follows_from_the_settings():
    """Steps of the environment as the agent sees it, rows that it reads, and steps past the end."""
    config = small({"action_repeat": 3, "model.history_length": 2, "reference.past_end": "simulate"})
    assert (config.spec.max_steps, config.history_rows, config.padding) == (4, 2, 3)
    assert small().padding == 0
