"""The benchmark of speed: what is counted, what is left out, and resuming; no time is tested."""

import argparse

import pytest

from benchmarks import throughput, timing

TINY = {
    "model.width": 8, "model.heads": 2, "model.layers": 1, "model.unroll": 3, "planner.iterations": 2,
    "planner.horizon": 3, "learner.batch_size": 4,
}  # fmt: skip
FAST = ["--seconds", "0", "--matrix", "64", "--vector", "1000"]


@pytest.mark.parametrize(
    "model, size, gigaflops",
    [
        ("rnn", "small", 0.62), ("gru", "small", 1.01), ("lstm", "small", 1.21), ("transformer", "small", 0.93),
        ("gru", "small-raw", 0.59), ("rnn", "paper", 12.6), ("gru", "paper", 32.9), ("lstm", "paper", 43.0),
    ],
)  # fmt: skip
def test_operations_of_a_planned_step(model, size, gigaflops):
    """Counted by hand once: ``2 K T (c L d^2 + 4 S d + 2 A d + 2 R d)``."""
    flops = throughput.plan_flops(throughput.make_config(model, size))
    assert flops / 1e9 == pytest.approx(gigaflops, rel=0.02)


@pytest.mark.parametrize("model", ["gru", "transformer"])
def test_xla_counts_the_same(model):
    """But for the ends of a plan: nothing goes back to the present, and the last state has no use."""
    config = throughput.make_config(model, "small", **{"model.layers": 1, "planner.horizon": 4})
    assert 1 - 1 / 4 < throughput.xla_ratio(config) < 1.05


def test_updates_cost_three_times_the_model():
    """Forward, weights and inputs, for every member and window."""
    config = throughput.make_config("gru", "small", **{"model.ensemble_size": 2, "learner.batch_size": 10})
    assert throughput.update_flops(config) == 60 * throughput.model_flops(config)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Planning and learning of one tiny model, measured."""
    monkeypatch.setitem(throughput.SIZES, "small-raw", TINY)
    words = ["--models", "gru", "--sizes", "small-raw", "--rows", "1", "3", "--planners", "xla", "kernel", *FAST]
    words += ["--out", str(tmp_path)]
    throughput.main(words)
    return tmp_path, words


def test_throughput_measures_resumes_and_reports(table, monkeypatch):
    out, words = table
    rows = timing.read_table(out / "planning.csv")
    asked = [(rows, planner) for rows in "13" for planner in ("xla", "kernel")]
    assert [(row["rows"], row["planner"]) for row in rows] == asked
    asked = {"device", "model", "size", "rows", "devices", "precision", "env_steps_per_second", "flops_per_env_step"}
    assert asked | {"share_of_matmul_peak", "compile_seconds", "peak_bytes"} <= set(rows[0])
    for row in rows:
        share = float(row["env_steps_per_second"]) * float(row["flops_per_env_step"]) / float(row["matmul_peak"])
        assert float(row["share_of_matmul_peak"]) == pytest.approx(share, rel=0.01)
        assert int(row["peak_bytes"]) > 0
    (learning,) = timing.read_table(out / "learning.csv")
    assert float(learning["updates_per_second"]) > 0 and learning["batch"] == "4"
    for name in ("measure_planning", "measure_learning"):
        monkeypatch.setattr(throughput, name, lambda *given: pytest.fail("measured twice"))
    throughput.main(words)
    assert timing.read_table(out / "planning.csv") == rows
    text = (out / "README.md").read_text()
    assert "Nothing was measured on a GPU" in text and "| gru | small-raw | 3 | 1 | float32 | xla |" in text
    assert (out / "roofline.png").stat().st_size > 10_000


def test_what_takes_too_long_or_too_much_is_left_out(tmp_path, monkeypatch, capsys):
    cases = argparse.Namespace(
        models=("lstm",), sizes=("paper",), rows=(10**9,), precisions=("float32",), planners=("xla", "kernel"),
        devices=1, seconds=0.0, patience=1.0, matrix=64, vector=1000,
    )  # fmt: skip
    throughput.run_cases(cases, tmp_path)
    said = capsys.readouterr().out
    assert said.count("too slow") == 2 and "the kernel needs a GRU, not lstm" in said
    monkeypatch.setattr(throughput, "spare_memory", lambda: 10)
    config = throughput.make_config("gru", "small-raw", **TINY)
    case = {"rows": 1, "planner": "xla", "precision": "float32", "devices": 1}
    assert throughput.measure_planning(config, case, 1e9, 0.0) == {}
    assert not list(tmp_path.iterdir())
