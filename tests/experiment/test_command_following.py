"""Command-following curves: how they are played, their correlation, their picture and their command."""

import json

import jax
import numpy as np
import pytest
import tiny
from algos.policy_generators.twins import SMALL, commands_between, small

from rgrl_jax import plots, training
from rgrl_jax.algos.presets import preset
from rgrl_jax.experiment.checkpoint import load_run
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


def test_commands_are_followed_on_the_host(trained):
    """The same returns as those of the compiled program."""
    state, config = trained
    low, high = commands_between(config)
    with tiny.hosted("Pendulum-v1", 6) as name:
        hosted = config.replace(env_id=name, return_low=low, return_high=high)
        here, there = (command_following(KEY, state, x, 2, 1) for x in (config, hosted))
    np.testing.assert_allclose(here.commanded, there.commanded)
    np.testing.assert_allclose(here.achieved, there.achieved, rtol=1e-3)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_picture_of_a_curve(tmp_path, seeds):
    achieved = np.random.default_rng(0).normal(size=(seeds, 4, 2))
    figure = plots.command_following(np.arange(4.0), achieved, title="a title", path=tmp_path / "curve.png")
    (axis,) = figure.axes
    for mean in achieved.mean(axis=-1):
        assert any(np.allclose(line.get_ydata(), mean) for line in axis.get_lines() if len(line.get_ydata()) == 4)
    assert len(axis.collections) == (seeds >= 3)  # a band from three seeds on
    assert (tmp_path / "curve.png").stat().st_size > 5_000


def test_the_command_line_asks_every_seed(tmp_path, rgrl_command):
    """The run folder holds the picture; the answer has the returns of each seed, and how well they follow."""
    words = ["train", "Pendulum-v1", "--algo", "udrlpg", "--out", tmp_path / "run", "--eval-episodes", "2", "--json"]
    for name, value in SMALL.items():
        words += [f"--{name.replace('_', '-')}", *(value if isinstance(value, tuple) else (value,))]
    code, out, err = rgrl_command(*words, "--no-early-stop", "--chunk", "3", "--seeds", "2")
    assert code == 0, err
    config, state, meta = load_run(tmp_path / "run")
    assert (meta["algo"], config) == ("udrlpg", small())
    code, out, err = rgrl_command("evaluate", tmp_path / "run", "--episodes", "2", "--commands", "3", "--json")
    assert code == 0, err
    answer = json.loads(out)["command_following"]
    assert np.shape(answer["achieved"]) == (2, 3, 5) and len(answer["correlation"]) == 2
    curve = command_following(KEY, jax.tree.map(lambda x: x[1], state), config, 3)
    np.testing.assert_allclose(answer["achieved"][1], curve.achieved, rtol=1e-4)
    assert (tmp_path / "run" / "command_following.png").stat().st_size > 5_000
