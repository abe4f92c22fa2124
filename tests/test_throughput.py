"""The benchmarks of speed: what is counted, what is left out, and resuming; no time is tested."""

import argparse
import os
import subprocess
import sys

import jax.numpy as jnp
import pytest

from benchmarks import scaling, throughput, timing

TINY = {"width": 8, "heads": 2, "layers": 1, "plan_iterations": 2, "horizon": 3, "learn_batch": 4, "unroll": 3}
FAST = ["--seconds", "0", "--matrix", "64", "--vector", "1000"]


@pytest.mark.parametrize(
    "model, size, gigaflops",
    [
        ("rnn", "small", 0.62), ("gru", "small", 1.01), ("lstm", "small", 1.21), ("td", "small", 0.93),
        ("gru", "small-raw", 0.59), ("rnn", "paper", 12.6), ("gru", "paper", 32.9), ("lstm", "paper", 43.0),
    ],
)  # fmt: skip
def test_operations_of_a_planned_step(model, size, gigaflops):
    """Counted by hand once: ``2 K T (c L d^2 + 4 S d + 2 A d + 2 R d)``."""
    flops = throughput.plan_flops(throughput.make_config(model, size))
    assert flops / 1e9 == pytest.approx(gigaflops, rel=0.02)


@pytest.mark.parametrize("model", ["gru", "td"])
def test_xla_counts_the_same(model):
    """But for the ends of a plan: nothing goes back to the present, and the last state has no use."""
    config = throughput.make_config(model, "small", layers=1, horizon=4)
    assert 1 - 1 / config.horizon < throughput.xla_ratio(config) < 1.05


def test_updates_cost_three_times_the_model():
    """Forward, weights and inputs, for every member and window."""
    config = throughput.make_config("gru", "small", ensemble_size=2, learn_batch=10)
    assert throughput.update_flops(config) == 60 * throughput.model_flops(config)


def test_time_outside_products():
    """Nothing but products, about none, and a mixture of a fusion and a product."""
    x = jnp.ones((400, 400))
    shares = []
    for function in (lambda x: jnp.sin(x) + 1.0, lambda x: jnp.sin(x @ x), lambda x: x @ x @ x @ x):
        program = timing.build(function, x)
        shares.append(timing.time_outside_products(program, x))
    nothing, mixed, all_products = shares
    assert nothing == 1.0 and 0.0 < mixed < 1.0 and all_products < 0.2


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Planning and learning of one tiny model, measured."""
    monkeypatch.setitem(throughput.SIZES, "small-raw", TINY)
    words = ["--models", "gru", "--sizes", "small-raw", "--rows", "1", "3", *FAST, "--out", str(tmp_path)]
    throughput.main(words)
    return tmp_path, words


def test_throughput_measures_resumes_and_reports(table, monkeypatch):
    out, words = table
    rows = timing.read_table(out / "planning.csv")
    assert [(row["rows"], row["planner"]) for row in rows] == [("1", "xla"), ("3", "xla")]
    asked = {"device", "model", "size", "rows", "devices", "precision", "env_steps_per_second", "flops_per_env_step"}
    assert asked | {"share_of_matmul_peak", "compile_seconds", "peak_bytes"} <= set(rows[0])
    for row in rows:
        share = float(row["env_steps_per_second"]) * float(row["flops_per_env_step"]) / float(row["matmul_peak"])
        assert float(row["share_of_matmul_peak"]) == pytest.approx(share, rel=0.01)
        assert int(row["peak_bytes"]) > 0
    (learning,) = timing.read_table(out / "learning.csv")
    assert float(learning["updates_per_second"]) > 0 and learning["batch"] == "4"
    for name in ("measure_planning", "measure_learning"):
        monkeypatch.setattr(throughput, name, lambda *_: pytest.fail("measured twice"))
    throughput.main(words)
    assert timing.read_table(out / "planning.csv") == rows
    text = (out / "README.md").read_text()
    assert "Nothing was measured on a GPU" in text and "| gru | small-raw | 3 | 1 | float32 |" in text
    assert (out / "roofline.png").stat().st_size > 10_000


def test_what_takes_too_long_or_too_much_is_left_out(tmp_path, monkeypatch, capsys):
    cases = argparse.Namespace(
        models=("gru",), sizes=("paper",), rows=(10**9,), precisions=("float32",), kernel="auto",
        devices=1, seconds=0.0, patience=1.0, matrix=64, vector=1000,
    )  # fmt: skip
    throughput.run_cases(cases, tmp_path)
    assert capsys.readouterr().out.count("too slow") == 2
    monkeypatch.setattr(throughput, "spare_memory", lambda: 10)
    config = throughput.make_config("gru", "small-raw", **TINY)
    assert throughput.measure_planning(config, 1, "float32", 1e9, 0.0) == {}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_exponents(power):
    """The upper end counts: what is constant below it does not hide the growth."""
    values = [1, 10, 20, 40]
    seconds = [50.0, *(0.1 * v**power for v in values[1:])]
    assert scaling.exponent(values, seconds) == pytest.approx(power)


def test_scaling_measures_and_resumes(tmp_path, monkeypatch):
    levers = {
        "seeds": scaling.Lever((1, 2), seeds=lambda n: n, rows=lambda n: 2),
        "replay, learning": scaling.Lever((100, 200), learns=True, changes=lambda n: {"replay_capacity": n}),
        "devices, rows": scaling.LEVERS["devices, rows"],  # of which there is but one here
    }
    monkeypatch.setattr(scaling, "LEVERS", levers)
    words = ["--levers", *levers, "--points", "1", "--seconds", "0", "--out", str(tmp_path)]
    small = TINY | {"learn_iterations": 2, "replay_capacity": 100}
    scaling.main(words, small)
    scaling.main(words, small)
    rows = timing.read_table(tmp_path / "scaling.csv")
    assert [(row["lever"], row["value"]) for row in rows] == [("seeds", "1"), ("replay, learning", "100")]
    assert "| seeds | 1 | " in (tmp_path / "README.md").read_text()


SPREAD = """
from benchmarks import scaling, throughput, timing
throughput.SIZES["small-raw"] = {tiny}
words = ["--seconds", "0", "--out", {out!r}]
many = ["--devices", "2", "--matrix", "64", "--vector", "1000"]
throughput.main(["--models", "gru", "--sizes", "small-raw", "--rows", "2", *many, *words])
(row,) = timing.read_table(throughput.Path({out!r}) / "planning.csv")
assert row["devices"] == "2" and float(row["env_steps_per_second"]) > 0
levers = [name for name, lever in scaling.LEVERS.items() if lever.spread]
scaling.main(["--levers", *levers, *words], {tiny} | {{"learn_iterations": 2, "replay_capacity": 1000}})
rows = timing.read_table(throughput.Path({out!r}) / "scaling.csv")
assert [(row["lever"], row["value"]) for row in rows] == [(name, n) for name in levers for n in "12"]
print("measured")
"""


@pytest.mark.slow
def test_several_devices_are_measured(tmp_path):
    """Throughput of what two share, and weak scaling, on two virtual devices."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    code = SPREAD.format(tiny=TINY, out=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert done.stdout.endswith("measured\n"), done.stderr[-3000:]


@pytest.mark.parametrize("name", [name for name, lever in scaling.LEVERS.items() if not lever.learns])
def test_levers_of_planning_fit_the_config(name):
    """Every value is allowed."""
    lever = scaling.LEVERS[name]
    for value in lever.values:
        scaling.rgrl.RGRLConfig(env_id=scaling.ENV, **(scaling.BASE | lever.changes(value))).validate()
