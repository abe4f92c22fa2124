"""Presets are looked up by environment, and look-ups fail with helpful messages."""

import dataclasses

import pytest
import tiny
from tiny import says

import rgrl_jax as rgrl
from rgrl_jax import envs
from rgrl_jax.algos import base, presets

TABLE = {
    "tuned": {"*": {"rate": 0.5, "rows": 2}, "Toy": {"rows": 3}},
    "paper": {"*": {"gain": 1.0}, "CartPole-v1": {"gain": 2.0, "rate": 0.1}},
    "empty": {},
}


@pytest.fixture(autouse=True)
def _toy():
    """The toy algorithm with presets, while a test runs."""
    envs.register("Toy", tiny.toy_env)
    base.register_algorithm("toy", tiny.ToyConfig, tiny.TOY, TABLE)
    yield
    tiny.unregister_toy()


def toy(env_id="Toy", name="tuned", **overrides):
    """The preset of the toy algorithm."""
    return rgrl.preset(env_id, name, algo="toy", **overrides)


def test_an_environment_changes_what_all_have():
    """And one without settings of its own has those of all, if the preset is the tuned one."""
    assert toy() == tiny.ToyConfig(env_id="Toy", rate=0.5, rows=3)
    assert toy("Pendulum-v1") == tiny.ToyConfig(env_id="Pendulum-v1", rate=0.5, rows=2)
    assert toy("CartPole-v1", "paper") == tiny.ToyConfig(env_id="CartPole-v1", gain=2.0, rate=0.1)


def test_an_environment_of_ones_own():
    """It has the settings of all as soon as it is registered, with every algorithm."""
    cartpole = envs.make("CartPole-v1")
    envs.register("Own-v0", lambda max_steps: dataclasses.replace(cartpole, env_id="Own-v0"))
    try:
        assert rgrl.preset("Own-v0", **{"model.width": 64}).replace_at("model.width", 32) == rgrl.preset("Own-v0")
        assert rgrl.preset("Own-v0", algo="reinforce").env_id == "Own-v0"
        with pytest.raises(ValueError) as error:
            rgrl.preset("Own-v0", "paper")
        says(error, "Own-v0", "'paper'", "CartPole-v1")
    finally:
        envs.unregister("Own-v0")


def test_overrides_win():
    """Fields that are given replace those of the preset, and the others stay; groups by dots or nested."""
    assert toy(rows=5, max_steps=7) == toy().replace(rows=5, max_steps=7)
    plain = rgrl.preset("CartPole-v1")
    changed = rgrl.preset("CartPole-v1", max_steps=77, planner={"lr": 0.7}, **{"model.width": 40})
    assert changed == plain.replace(max_steps=77).replace_at("planner.lr", 0.7).replace_at("model.width", 40)
    assert rgrl.preset("CartPole-v1") == plain


REFUSALS = [
    (("Toy", "papre"), {}, ["preset = 'papre'", "paper"]),
    (("Toy", "paper"), {}, ["Toy has no 'paper' preset", "CartPole-v1"]),
    (("Toy", "empty"), {}, ["no environment has, with toy"]),
    (("Cartpole",), {}, ["'Cartpole'", "CartPole-v1"]),
    (("Toy",), {"row": 3}, ["ToyConfig has no field 'row'", "rows"]),
    (("Toy",), {"rows": 0}, ["rows = 0", "at least 1"]),
    (("Toy",), {"rows": {"lr": 1}}, ["ToyConfig has no field 'rows.lr'"]),
]


@pytest.mark.parametrize("words, overrides, parts", REFUSALS, ids=lambda x: str(x))
def test_what_does_not_exist_is_refused(words, overrides, parts):
    """In one sentence that names the nearest."""
    with pytest.raises(ValueError) as error:
        toy(*words, **overrides)
    says(error, *parts)


def test_unknown_algorithm():
    """The nearest are named."""
    with pytest.raises(ValueError) as error:
        rgrl.preset("CartPole-v1", algo="reinforced")
    says(error, "algo = 'reinforced'", "reinforce")


def test_the_environment_is_given_once():
    """Given twice it is an error, not a silent choice."""
    with pytest.raises((TypeError, ValueError), match="env_id"):
        rgrl.preset("CartPole-v1", **{"env_id": "Pendulum-v1"})


def test_list_presets():
    """Names, and the environments of each; the answer is a copy."""
    listed = rgrl.algos.list_presets("toy")
    assert listed == {"tuned": ["Toy"], "paper": ["CartPole-v1"], "empty": []}
    listed["paper"].clear()
    assert rgrl.algos.list_presets("toy")["paper"] == ["CartPole-v1"]
    assert rgrl.algos.list_presets() == rgrl.algos.list_presets("rgrl")


def test_defaults_need_not_be_valid():
    """They are checked only with the overrides, which may make them so."""
    table = {"tuned": {"*": {"rows": 0}}}
    base.unregister_algorithm("toy")
    base.register_algorithm("toy", tiny.ToyConfig, tiny.TOY, table)
    assert presets.defaults("Toy", algo="toy").rows == 0
    assert toy(rows=1).rows == 1
    with pytest.raises(ValueError, match="rows = 0"):
        toy()
