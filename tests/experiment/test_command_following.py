"""Command-following curves: how they are played, their correlation, their picture and their command."""

import jax
import numpy as np
import pytest
from algos.policy_generators.twins import commands_between, small

from rgrl_jax import training
from rgrl_jax.algos.presets import preset
from rgrl_jax.experiment.command_following import command_following, command_following_correlation

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def trained():
    """A state after three episodes, and its config."""
    config = small(survival_bonus=0.5)
    return jax.jit(training.train)(KEY, config)[0], config


def test_a_curve_is_played_command_by_command(trained):
    state, config = trained
    curve = command_following(KEY, state, config, 3, 2)
    np.testing.assert_allclose(curve.commanded, np.linspace(*commands_between(config), 3), rtol=1e-5)
    play = jax.jit(training.play, static_argnums=3)
    for key, command, achieved in zip(jax.random.split(KEY, 3), curve.commanded, curve.achieved, strict=True):
        returns = play(key, state.replace(best=command), config, 2).episode_return
        np.testing.assert_allclose(achieved, returns - 0.5 * 6, rtol=1e-3)
    assert len(np.unique(np.asarray(curve.achieved).mean(axis=1))) == 3


def test_correlation_of_a_curve():
    commanded = np.array([0.0, 1.0, 2.0])
    achieved = np.array([[[0.0, 2.0], [4.0, 2.0], [5.0, 5.0]], [[3.0, 3.0], [3.0, 3.0], [3.0, 3.0]]])
    found = command_following_correlation(commanded, achieved)
    np.testing.assert_allclose(found, [np.corrcoef(commanded, [1, 3, 5])[0, 1], 0.0], atol=1e-9)


@pytest.mark.parametrize(
    "numbers, sentence",
    [((1, 2), "commands = 1 must be at least 2"), ((3, 0), "num_episodes = 0 must be at least 1")],
)
def test_too_few_are_refused(trained, numbers, sentence):
    with pytest.raises(ValueError, match=sentence):
        command_following(KEY, *trained, *numbers)


def test_an_algorithm_without_commands_is_refused(trained):
    with pytest.raises(ValueError, match="'ddpg' takes no commands; udrlpg and gogepo do"):
        command_following(KEY, trained[0], preset("Pendulum-v1", algo="ddpg"))
