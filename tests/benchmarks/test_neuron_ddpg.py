"""The benchmark of neuron DDPG: a cell is measured once, and its config is kept."""

import json

import numpy as np

from benchmarks import neuron_ddpg, report
from rgrl_jax.experiment.run_folder import plain_config


def test_neurons_are_measured_once(tmp_path, monkeypatch):
    for name, value in {
        "POINTS": 2,
        "EPISODES": 2,
        "OBSERVATIONS": 6,
        "PHASE": 400,
        "STEPS": {"Pendulum-v1": 800},
        "SHARE": {},
    }.items():
        monkeypatch.setattr(neuron_ddpg, name, value)
    small = {
        "hidden": (4,),
        "critic_hidden": (4,),
        "neuron_hidden": (3,),
        "max_steps": 15,
        "batch_size": 4,
        "warmup_steps": 5,
    }
    small |= {"replay_capacity": 60}
    monkeypatch.setattr(neuron_ddpg, "METHODS", {"outputs": {"algo": "neuron_ddpg"} | small})
    monkeypatch.setattr(neuron_ddpg, "SUBCRITICS", {"neurons": small})
    arguments = ["--methods", "outputs", "--seeds", "2", "--out", str(tmp_path)]
    for command in ("learn", "learn", "compare", "report"):
        monkeypatch.setattr("sys.argv", ["neuron_ddpg", command, *arguments])
        neuron_ddpg.main()
    chance, rows = (report.read_rows(tmp_path / "returns.csv")[part] for part in (slice(2), slice(2, None)))
    assert [(row["method"], row["seed"], row["env_steps"]) for row in chance] == [("random", 0, 0), ("random", 1, 0)]
    assert all(-3300 < row["eval_return"] < -300 for row in chance)
    assert [(row["seed"], row["env_steps"]) for row in rows] == [(0, 30), (1, 30), (0, 60), (1, 60)]  # four episodes
    response = report.read_rows(tmp_path / "response.csv")
    assert [row["layer"] for row in response] == [0, 1] * 4  # of each point and seed
    assert all(0 <= row["saturated"] <= 1 and row["spread"] >= 0 for row in response)
    similar = report.read_rows(tmp_path / "similarity.csv")
    assert len(similar) == 2 * 2 * 2  # points, seeds, and the control
    assert all(-1 <= row["gradient_cosine"] <= 1 for row in similar)
    phases = report.read_rows(tmp_path / "phases.csv")
    assert [row["phase"] for row in phases if not any(row[x] for x in ("seed", "layer", "control"))] == [1, 1, 2, 2]
    text, last = (tmp_path / "README.md").read_text(), np.mean([row["eval_return"] for row in rows[2:]])
    assert f"| {last:.1f} (" in text
    spread = np.reshape([row["spread"] for row in response if row["layer"] == 1], (2, 2))  # point, seed
    assert f"| {spread[0].mean():.2f} | {spread[1].mean():.2f} | {sum(spread[1] < 0.01)} |" in text
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"Pendulum-v1.png", "similarity-Pendulum-v1.png", "phases.png"}
    assert all(f"]({name})" in text for name in pictures)


def test_configs_beside_the_results_are_those_of_the_cells():
    """So that a cell can be run again; on other tasks than the first the results are of one kind of critics."""
    found = 0
    for path in sorted(neuron_ddpg.RESULTS.glob("*-*.json")):
        name, about = path.stem, json.loads(path.read_text())
        if name.startswith("phases-"):
            kind, env_id = name.removeprefix("phases-").split("-", 1)
            config = neuron_ddpg.make_config(neuron_ddpg.BESIDE | neuron_ddpg.SUBCRITICS[kind], env_id, 10_000)
        else:
            config = neuron_ddpg.config_of(*name.split("-", 1))
        expected = plain_config(config)
        assert about["config"] | {"episodes": 0} == expected | {"episodes": 0}, name
        found += 1
    assert found > 15


def test_speed_of_every_method(tmp_path, monkeypatch):
    changes = {"hidden": (4,), "neuron_hidden": (3,), "max_steps": 15}
    noisy = {"algo": "neuron_ddpg", "voltage_source": "stored", "voltage_noise": 0.1} | changes
    methods = {"ddpg": {"algo": "ddpg", "hidden": (4,)}, "noisy": noisy}
    monkeypatch.setattr(neuron_ddpg, "METHODS", methods)
    monkeypatch.setattr("sys.argv", ["neuron_ddpg", "speed", "--updates", "3", "--out", str(tmp_path)])
    neuron_ddpg.main()
    rows = report.read_rows(tmp_path / "speed.csv")
    assert [row["method"] for row in rows] == ["ddpg", "noisy"]
    assert all(row["samples_per_second"] > 0 and row["parameters"] > 0 for row in rows)
