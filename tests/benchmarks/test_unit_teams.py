"""The benchmark of unit teams: rows, table, gains, and cells that are measured once."""

import json

import jax
import numpy as np
import pytest

import rgrl_jax as rgrl
from benchmarks import report, unit_teams
from rgrl_jax.experiment.run_folder import plain_config


def metrics_of(returns):
    """Metrics ``[seeds, rows]`` with these returns, of ten steps a row."""
    returns = np.asarray(returns, np.float32)
    rows = np.broadcast_to(np.arange(1, returns.shape[1] + 1), returns.shape)
    blank = np.zeros_like(returns)
    return rgrl.Metrics(rows, 10 * rows, returns, blank, blank > 0, blank)


def test_running_average_is_a_loop():
    values = np.random.default_rng(0).normal(size=(2, 9))
    expected = [[row[max(0, i - 3) : i + 1].mean() for i in range(9)] for row in values]
    np.testing.assert_allclose(unit_teams.running_average(values, 4), expected)


def test_rows_of_the_table(tmp_path, monkeypatch):
    """Means over all episodes and over the last 100, and the published figure beside them."""
    config = rgrl.preset("CartPole-v1", algo="weight_max", episodes=150)
    returns = np.concatenate([np.zeros((2, 50)), np.full((2, 100), 30.0)], axis=1)
    returns[1] += 3.0
    rows = unit_teams.write_cell(tmp_path, "weight_max", config, metrics_of(returns), seconds=2.0)
    assert (tmp_path / "runs.csv").read_text().splitlines()[0] == ",".join(unit_teams.COLUMNS)
    assert [row["mean_return"] for row in rows] == [20.0, 23.0]
    assert [row["last100_return"] for row in rows] == [30.0, 33.0]
    assert [(row["episodes"], row["env_steps"]) for row in rows] == [(150, 1500)] * 2
    assert report.read_rows(tmp_path / "runs.csv")[1]["mean_return"] == 23.0
    about = json.loads((tmp_path / "weight_max-CartPole-v1.json").read_text())
    assert (about["env_steps_per_second"], about["config"]["algorithm"]) == (1500, "weight_max")
    unit_teams.write_report(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| weight_max | CartPole-v1 | 2 | 21.50 (1.50) | 31.50 | 390.38 (43.25) |  | 1,500 |" in text
    assert (tmp_path / "CartPole-v1.png").stat().st_size > 1000


def test_what_our_own_settings_gain(tmp_path):
    """The mean difference over the seeds that both have, seed by seed; the interval holds every one of them."""
    config = rgrl.preset("CartPole-v1", algo="reinforce", episodes=2)
    base, own = np.array([[10.0], [50.0], [90.0]]), np.array([[14.0], [56.0], [92.0], [0.0]])
    unit_teams.write_cell(tmp_path, "reinforce", config, metrics_of(np.repeat(base, 2, axis=1)), seconds=1.0)
    assert "reinforce_tuned" not in "".join(unit_teams.table(report.read_rows(tmp_path / "runs.csv"), tmp_path))
    unit_teams.write_cell(tmp_path, "reinforce_tuned", config, metrics_of(np.repeat(own, 2, axis=1)), seconds=1.0)
    rows = report.read_rows(tmp_path / "runs.csv")
    text = "\n".join(unit_teams.table(rows, tmp_path))
    assert "| reinforce_tuned | CartPole-v1 | 4 | 40.50 (36.18) | 40.50 | not known | +4 (+2 to +6) | 80 |" in text
    assert unit_teams.gain([], rows) == ""


def test_a_row_of_many_answers_counts_them():
    config = rgrl.preset("Multiplexer-4", algo="weight_max", episodes=3)
    rows = unit_teams.summarise("weight_max", config, metrics_of([[0.0, 0.5, 1.0]]))
    assert (rows[0]["episodes"], rows[0]["last100_return"]) == (3000, 1.0)


def test_finished_cells_are_not_run_again(tmp_path, monkeypatch):
    asked = []

    def run_cell(config, seeds):
        asked.append((config.algorithm, config.env_id, config.episodes, seeds))
        return metrics_of(np.ones((seeds, config.episodes))), 1.0

    monkeypatch.setattr(unit_teams, "run_cell", run_cell)
    words = ["unit_teams", "--envs", "Acrobot-v1", "--seeds", "2", "--episodes", "3", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", [*words, "--methods", "ste"])
    unit_teams.main()
    unit_teams.main()
    assert asked == [("ste", "Acrobot-v1", 3, 2)]
    monkeypatch.setattr("sys.argv", [*words, "--methods", "ste", "map_prop"])
    unit_teams.main()
    assert asked[1:] == [("map_prop", "Acrobot-v1", 3, 2)]


def test_every_cell_has_a_config():
    """And the committed results have it beside them, unless they ran on the host."""
    for method, env_id in unit_teams.CELLS:
        if ":" not in env_id:
            config = unit_teams.make_config(method, env_id)
            assert (config.algorithm, config.env_id) == (method.removesuffix("_tuned"), env_id)
            about = json.loads((unit_teams.RESULTS / f"{unit_teams.file_name(method, env_id)}.json").read_text())
            assert about["config"] == plain_config(config)
    assert unit_teams.make_config("map_prop", "Acrobot-v1").episodes == 500


@pytest.mark.parametrize("method, env_id", unit_teams.IMPROVED)
def test_our_own_settings_play_as_long_with_as_large_networks(method, env_id):
    """So that means over training compare; and units learn by the same algorithm."""
    base, own = (unit_teams.make_config(name, env_id) for name in (method, method + unit_teams.TUNED))
    assert own != base
    for name in ("algorithm", "units", "episodes", "max_steps", "num_envs", "episodes_per_row", "hidden"):
        assert getattr(own, name) == getattr(base, name)
    assert own.delayed_unit_rewards == base.delayed_unit_rewards


def test_cells_are_measured_once(tmp_path, monkeypatch):
    monkeypatch.setattr(unit_teams, "PUBLISHED", {("reinforce", "Multiplexer-4"): (0.5, 0.1)})
    monkeypatch.setattr(unit_teams, "CELLS", list(unit_teams.PUBLISHED))
    small = {"hidden": (3, 2), "episodes": 2, "episodes_per_row": 5}
    made = unit_teams.make_config("reinforce", "Multiplexer-4").replace(**small)
    monkeypatch.setattr(unit_teams, "make_config", lambda *given: made)
    monkeypatch.setattr("sys.argv", ["unit_teams", "--seeds", "2", "--out", str(tmp_path)])
    unit_teams.main()
    before = (tmp_path / "runs.csv").read_text()
    unit_teams.main()
    assert (tmp_path / "runs.csv").read_text() == before
    rows = report.read_rows(tmp_path / "runs.csv")
    assert [(row["seed"], row["episodes"], row["env_steps"]) for row in rows] == [(0, 10, 10), (1, 10, 10)]
    mean = np.mean([row["mean_return"] for row in rows])
    assert f"{mean:.2f} (" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "Multiplexer-4.png").stat().st_size > 5_000


def test_seeds_of_a_cell_are_single_runs():
    config = rgrl.preset("CartPole-v1", algo="weight_max", hidden=(4, 3), max_steps=5, episodes=3)
    metrics, seconds = unit_teams.run_cell(config, 2)
    assert metrics.episode_return.shape == (2, 3) and seconds > 0
    alone = jax.jit(rgrl.train)(jax.random.key(1), config)[1]
    np.testing.assert_array_equal(metrics.episode_length[1], alone.episode_length)
