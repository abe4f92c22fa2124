"""Planners on frozen ensembles: equal budgets, and a table from run folders."""

import jax
import pytest

import rgrl_jax as rgrl
from benchmarks import planners, timing

TINY = {
    "max_steps": 6, "episodes": 2, "explore.warmup_episodes": 1, "model.width": 8, "model.ensemble_size": 2,
    "model.unroll": 1, "planner.horizon": 3, "planner.unroll": 1, "learner.batch_size": 4,
    "learner.updates_per_episode": 2, "replay.capacity": 100,
}  # fmt: skip


@pytest.mark.parametrize("name", planners.SETTINGS)
def test_budgets_are_equal(name):
    """30 rollouts of a member per plan, or ten times as many."""
    config = planners.make_config(rgrl.preset("CartPole-v1"), planners.SETTINGS[name])
    assert planners.budget(config) == (300 if name.endswith("tenfold") else 30)


def test_runs_are_played_and_tabled(tmp_path, monkeypatch):
    """A row per run and setting; the table has means over runs."""
    config = rgrl.preset("CartPole-v1", **TINY)
    for seed in range(2):
        callbacks = [rgrl.callbacks.Checkpoint(tmp_path / str(seed))]
        rgrl.run(jax.random.key(seed), config, callbacks=callbacks)
    monkeypatch.setattr(planners, "SETTINGS", {name: planners.SETTINGS[name] for name in ("gradient", "cem")})
    planners.main([*(str(tmp_path / name) for name in "01"), "--episodes", "2", "--out", str(tmp_path)])
    rows = timing.read_table(tmp_path / "planners.csv")
    assert [(row["setting"], row["run"]) for row in rows] == [(s, r) for s in ("gradient", "cem") for r in "01"]
    returns = [float(row["mean_return"]) for row in rows if row["setting"] == "cem"]
    table = (tmp_path / "planners.md").read_text()
    assert "# Planners on 2 frozen ensembles, 2 noiseless episodes each" in table
    assert f"| cem | 30 | {sum(returns) / 2:.1f} | {min(returns):.1f} to {max(returns):.1f} |" in table
