"""What is built of a config: the settings reach environment, encoders and model."""

import jax
import jax.numpy as jnp
import pytest
from rgrl_cases import small

from rgrl_jax import envs
from rgrl_jax.algos.rgrl.build import build, build_for_planning
from rgrl_jax.algos.rgrl.models import register, unregister


@pytest.fixture
def specs():
    """What a model called ``asked`` is made of, each time that one is made."""
    given = []
    register("asked", lambda spec: given.append(spec) or "a model")
    yield given
    unregister("asked")


def test_the_model_is_given_sizes_and_settings(specs):
    """Every setting under its own name, none of them at its default."""
    model = {"kind": "asked", "width": 6, "layers": 3, "heads": 2, "history_length": 4, "unroll": 5}
    reference = {"biases": False, "squash_outputs": True, "residual": False, "done_size": 3}
    quirks = {"doubled_positions": True, "linear_feed_forward": True}
    changes = {f"model.{name}": value for name, value in model.items()} | {"model.reward_from": "state"}
    changes |= {f"reference.{name}": value for name, value in (reference | quirks).items()}
    config = small(changes | {"target.novelty": True, "planner.unroll": 7})
    assert build(config).model == build_for_planning(config).model == "a model"
    learning, planning = specs
    assert learning._replace(unroll=7) == planning
    wanted = {name: value for name, value in model.items() if name != "kind"} | quirks | reference
    wanted |= {"reward_from": "state", "image_shape": None, "state_size": 4 + 3, "action_size": 2, "reward_size": 2}
    del wanted["done_size"]
    assert learning._asdict() == wanted


@pytest.mark.parametrize("env_id", ["Catch-bsuite", "Breakout-MinAtar"])
def test_images_reach_the_convolutions(specs, env_id):
    """By their shape, and only if they are asked for."""
    build(small({"model.kind": "asked", "model.encoder": "conv"}, env_id))
    build(small({"model.kind": "asked"}, env_id))
    assert [spec.image_shape for spec in specs] == [envs.make(env_id).observation.shape, None]


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({}, (-1.0, 0.0)),  # a reward of -1 per step
        ({"reference.signals": "reference"}, (-0.6, 0.6)),  # the position
        ({"reference.running_return": True}, (-200.0, 0.0)),
        ({"action_repeat": 4}, (-4.0, 0.0)),
    ],
)
def test_rewards_are_scaled_by_what_is_learnt(changes, ends):
    """To -1 and 1, whatever the target is."""
    encode = build(small(changes | {"max_steps": 200, "replay.capacity": 300}, "MountainCar-v0")).codec.encode_reward
    assert [float(encode(jnp.float32(end))[0]) for end in ends] == pytest.approx([-1.0, 1.0])


def test_observations_are_scaled_by_their_signals():
    """The authors' range of positions ends at the goal."""
    for signals, low, high in (("native", -1.2, 0.6), ("reference", -0.6, 0.6)):
        encode = build(small({"reference.signals": signals}, "MountainCar-v0")).codec.encode_state
        ends = [float(encode(jnp.array([x, 0.0]), jnp.bool_(False))[0]) for x in (low, high)]
        assert ends == pytest.approx([-1.0, 1.0])


def test_actions_are_held():
    """The environment that is built steps as often as each action is held."""
    env = build(small({"action_repeat": 3})).env
    _, state = env.reset(jax.random.key(0))
    assert int(jax.jit(env.step)(jax.random.key(1), state, jnp.int32(0))[1].time) == 3
