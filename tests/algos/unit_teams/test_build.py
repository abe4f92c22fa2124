"""Specs built from a config, and actions from outputs."""

import jax.numpy as jnp
import pytest

from rgrl_jax import envs
from rgrl_jax.algos.presets import preset
from rgrl_jax.algos.unit_teams.build import build, decode_action
from rgrl_jax.algos.unit_teams.units import UNITS


def test_specs_by_hand():
    """Sizes of spaces and config; a softmax with its last logit 0 or learned, a Gaussian output, critics or none."""
    agent = build(preset("CartPole-v1", algo="weight_max", temperature=(1.5, 2.0, 3.0)))
    assert agent.actor == ((4, 64, 32, 2), (UNITS["bernoulli"],) * 2 + (UNITS["softmax_zero"],), (1.5, 2.0, 3.0))
    assert agent.critic[:2] == ((4, 64, 32, 1), (UNITS["softplus"],) * 2 + (UNITS["linear"],))
    agent = build(preset("Pendulum-v1", algo="map_prop", actor_variance=(0.1, 0.2, 0.3)))
    assert agent.actor == ((3, 64, 32, 1), (UNITS["gaussian"],) * 2 + (UNITS["gaussian_linear"],), (0.1, 0.2, 0.3))
    assert agent.critic.units == (UNITS["gaussian"],) * 2 + (UNITS["gaussian_linear"],)
    agent = build(preset("Multiplexer-5", algo="map_prop", temperature=(1.0, 1.0, 4.0)))
    assert agent.actor[:2] == ((37, 64, 32, 2), (UNITS["gaussian"],) * 2 + (UNITS["softmax"],))
    assert agent.actor.dispersions == (0.3, 1.0, 4.0) and agent.critic is None


def test_learning_rates_by_hand():
    config = preset("CartPole-v1", algo="weight_max", optimizer="sgd", adam_eps=1e-5, lr_decay_steps=7.0)
    agent = build(config)
    assert agent.actor_optimizer == ("sgd", config.actor_lr, config.actor_lr_end, 7.0, 1e-5, 1000.0)
    assert agent.critic_optimizer == ("sgd", config.critic_lr, config.critic_lr_end, 7.0, 1e-5, 1000.0)


def test_discrete_outputs_become_actions():
    config = preset("Catch-bsuite", algo="weight_max")
    assert int(decode_action(jnp.array([0.0, 1.0, 0.0]), config.spec.action, config)) == 1


@pytest.mark.parametrize("output, force", [(0.0, 1.0), (-0.5, 0.0), (-0.9, -0.8), (-3.0, -1.0), (0.4, 1.0)])
def test_continuous_outputs_become_actions_as_in_the_reference_code(output, force):
    """Its map of MountainCarContinuous, ``clip(2 a + 1, -1, 1)``."""
    config = preset("MountainCarContinuous-gymnasium", "paper", algo="map_prop")
    action = decode_action(jnp.array([output]), config.spec.action, config)
    assert action.shape == config.spec.action.shape
    assert float(action.reshape(())) == pytest.approx(force)


def test_actions_have_the_shape_of_their_space():
    space = envs.make("ScalarRegression").action
    config = preset("ScalarRegression", algo="map_prop")
    assert decode_action(jnp.array([1e4]), space, config).shape == () == space.shape
    assert float(decode_action(jnp.array([1e4]), space, config)) == 100.0
