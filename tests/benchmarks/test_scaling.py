"""Growth of cost: levers, exponents and resuming; no time is tested."""

import os
import subprocess
import sys

import pytest

from benchmarks import scaling, timing

TINY = {
    "model.width": 8, "model.layers": 1, "planner.iterations": 2, "planner.horizon": 3, "learner.batch_size": 4,
    "learner.updates_per_episode": 2, "replay.capacity": 100,
}  # fmt: skip


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_exponents(power):
    """The upper end counts: what is constant below it does not hide the growth."""
    values = [1, 10, 20, 40]
    seconds = [50.0, *(0.1 * v**power for v in values[1:])]
    assert scaling.exponent(values, seconds) == pytest.approx(power)


def test_scaling_measures_and_resumes(tmp_path, monkeypatch):
    levers = {
        "seeds": scaling.Lever((1, 2), seeds=lambda n: n, rows=lambda n: 2),
        "replay, learning": scaling.Lever((100, 200), fields=("replay.capacity",), learns=True),
        "devices, rows": scaling.LEVERS["devices, rows"],  # of which there is but one here
    }
    monkeypatch.setattr(scaling, "LEVERS", levers)
    words = ["--levers", *levers, "--points", "1", "--seconds", "0", "--out", str(tmp_path)]
    scaling.main(words, TINY)
    scaling.main(words, TINY)
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
scaling.main(["--levers", *levers, *words], {tiny})
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


@pytest.mark.parametrize("name", scaling.LEVERS)
def test_levers_fit_the_config(name):
    """Every value is allowed."""
    for value in scaling.LEVERS[name].values:
        scaling.make_config(scaling.LEVERS[name], value, {}).validate()
