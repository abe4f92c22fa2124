"""The benchmark of policy generators: a cell is measured once, to its end or until it is given up."""

import numpy as np
import pytest

import rgrl_jax as rgrl
from benchmarks import policy_generators, report

SMALL = {"hidden": (4,), "tile_size": 2, "embedding_size": 2, "generator_hidden": (4,), "episodes": 2}


def test_policy_generators_are_measured_once(tmp_path, monkeypatch):
    """A cell that is interrupted goes on where it was, and its rows count once."""
    changes = {"POINTS": 4, "EPISODES": 2, "COMMANDS": 3, "STEPS": {"Pendulum-v1": 60}}
    small = SMALL | {"warmup_episodes": 1, "num_buckets_kept": 4, "max_steps": 15}
    changes["METHODS"] = {"udrlpg": {"algo": "udrlpg"} | small}
    for name, value in changes.items():
        monkeypatch.setattr(policy_generators, name, value)

    def measure(command):
        arguments = ["--envs", "Pendulum-v1", "--seeds", "3", "--out", str(tmp_path)]
        monkeypatch.setattr("sys.argv", ["policy_generators", command, *arguments])
        policy_generators.main()

    class Interrupted(rgrl.callbacks.Checkpoint):
        def after_chunk(self, run):
            if run.episode == 3:
                raise KeyboardInterrupt
            super().after_chunk(run)

    with monkeypatch.context() as patch:
        patch.setattr(rgrl.callbacks, "Checkpoint", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            measure("learn")
    for command in ("learn", "learn", "report"):
        measure(command)
    rows = policy_generators.read(tmp_path / "returns.csv")
    assert len(report.read_rows(tmp_path / "returns.csv")) == len(rows) + 3
    assert [(row["seed"], row["env_steps"]) for row in rows] == [(s, 15 * n) for n in (1, 2, 3, 4) for s in (0, 1, 2)]
    following = policy_generators.read(tmp_path / "command_following.csv")
    assert tuple(following[0]) == policy_generators.COLUMNS
    assert [row["command"] for row in following[:3]] == [-2000.0, -1000.0, 0.0] and len(following) == 9
    last = np.mean([row["eval_return"] for row in rows[-3:]])
    assert f"| {last:.1f} (" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "command_following-Pendulum-v1.png").stat().st_size > 5_000
    assert not list((tmp_path / "unfinished").iterdir())


def test_generators_that_keep_failing_are_given_up(tmp_path, monkeypatch):
    """Seeds whose episodes end early are played no more than so many, and are measured as they then are."""
    changes = {"POINTS": 1, "LONGEST": 2, "EPISODES": 2, "COMMANDS": 3, "STEPS": {"CartPole-v1": 90}}
    small = SMALL | {"warmup_episodes": 6, "num_buckets_kept": 4, "max_steps": 30}
    changes["METHODS"] = {"udrlpg": {"algo": "udrlpg"} | small}
    for name, value in changes.items():
        monkeypatch.setattr(policy_generators, name, value)
    arguments = ["learn", "--envs", "CartPole-v1", "--seeds", "8", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["policy_generators", *arguments])
    policy_generators.main()
    rows, following = (policy_generators.read(tmp_path / f"{name}.csv") for name in ("returns", "command_following"))
    taken = {row["seed"]: row["env_steps"] for row in rows}
    assert min(taken.values()) < 90 and len(rows) == 16  # after three episodes and after six, no more
    assert {row["seed"] for row in following} == set(range(8)) and len(following) == 24
    assert (tmp_path / "udrlpg-CartPole-v1.json").exists() and not list((tmp_path / "unfinished").iterdir())
