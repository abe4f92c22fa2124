"""The benchmark of learning: rows, resuming, and settings that mean something."""

import json

import jax
import numpy as np
import pytest
import tiny

import rgrl_jax as rgrl
from benchmarks import learning, report, settings


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with one setting of two tiny seeds, and its config."""
    out = tmp_path_factory.mktemp("results")
    config = tiny.tiny_config(episodes=3)
    learning.run_setting("CartPole-v1", "tuned", config, [0, 1], out, workers=1, batch=1)
    return out, config


def test_a_row_per_seed_and_episode(results):
    out, config = results
    rows = report.read_rows(out / "CartPole-v1" / "tuned.csv")
    assert [(row["seed"], row["episode"]) for row in rows] == [(s, e) for s in (0, 1) for e in (1, 2, 3)]
    assert (out / "CartPole-v1" / "tuned.csv").read_text().splitlines()[0] == ",".join(report.COLUMNS)
    about = json.loads((out / "CartPole-v1" / "tuned.json").read_text())
    assert about["config"]["model.width"] == config.model.width and about["versions"]["jax"]


def test_rows_are_those_of_train(results):
    out, config = results
    _, metrics = jax.jit(rgrl.train)(jax.random.key(1), config)
    own = [row for row in report.read_rows(out / "CartPole-v1" / "tuned.csv") if row["seed"] == 1]
    assert [row["episode_return"] for row in own] == list(np.asarray(metrics.episode_return))
    assert [row["env_steps"] for row in own] == list(np.asarray(metrics.env_steps))


def test_environments_on_the_host_make_the_same_rows():
    config = rgrl.preset("gymnasium:CartPole-v1", **(tiny.TINY | {"episodes": 2}))
    rows = learning.run_seeds("gymnasium:CartPole-v1", "tuned", config, [0, 1])
    assert [(row["seed"], row["episode"]) for row in rows] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert all(row["env_steps"] <= 24 and 1 <= row["eval_return"] <= 12 for row in rows)


def test_finished_seeds_are_not_run_again(results, monkeypatch):
    out, config = results
    before = (out / "CartPole-v1" / "tuned.csv").read_bytes()
    asked = []
    monkeypatch.setattr(learning, "run_seeds", lambda env, setting, config, seeds: asked.append(seeds) or [])
    monkeypatch.setattr(report, "append_rows", lambda path, rows: None)
    learning.run_setting("CartPole-v1", "tuned", config, [0, 1, 2, 3], out, workers=1, batch=1)
    assert asked == [[2], [3]]
    assert (out / "CartPole-v1" / "tuned.csv").read_bytes() == before


def test_results_of_another_config_are_not_mixed(results):
    out, config = results
    with pytest.raises(SystemExit, match="model.width = 8, not 16"):
        learning.run_setting(
            "CartPole-v1", "tuned", config.replace_at("model.width", 16), [0], out, workers=1, batch=1
        )


@pytest.mark.parametrize(
    "setting, changes, sentence",
    [
        ("tuned", {"model.width": 64}, "another name than 'tuned'"),
        ("tunde", {}, "setting 'tunde' of CartPole-v1 needs --set; those that mean something: paper, tuned"),
        ("wide", {"model.widht": 64}, "widht.*width"),
        ("wide", {"model.width": -1}, "model.width = -1"),
    ],
)
def test_settings_that_mean_nothing_meet_one_sentence(setting, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        learning.make_config("CartPole-v1", setting, changes, None)


def test_a_setting_of_ones_own_changes_the_tuned_one():
    config = learning.make_config("CartPole-v1", "wide", {"model.width": 64}, 7)
    assert config == rgrl.preset("CartPole-v1", episodes=7, model={"width": 64})


@pytest.mark.parametrize("env_id", rgrl.algos.list_presets()["tuned"])
def test_rivals_have_the_same_budget_and_ablations_fit(env_id):
    config = rgrl.preset(env_id)
    budget = settings.evaluations(config)
    for name, changes in settings.ablations(env_id).items():
        changed = rgrl.preset(env_id, **changes)
        if name in settings.RIVALS:
            assert 0.9 * budget <= settings.evaluations(changed) <= budget
        elif name != "tuned":
            assert changed != config
