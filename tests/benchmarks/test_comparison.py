"""The loops that the library is compared with are slow twins of it: same plans, same updates."""

import jax
import pytest

from benchmarks import comparison, report


@pytest.fixture(scope="module")
def config():
    small = {"model.width": 8, "model.layers": 1, "model.ensemble_size": 2, "planner.horizon": 2}
    small |= {"planner.iterations": 2, "reference.state_bins": 5, "reference.done_size": 2}
    return comparison.make_config(**small)


def test_eager_jax_plans_and_learns_as_the_library(config):
    arrays = comparison.weights(config)
    members = [jax.tree.map(lambda x, i=i: x[i], arrays) for i in range(2)]
    comparison.check(config, comparison.Eager(), members)


@pytest.mark.slow
def test_pytorch_plans_and_learns_as_the_library(config):
    pytest.importorskip("torch", reason="only benchmarks.comparison needs PyTorch, which checks this itself")
    loop, arrays = comparison.Torch(), comparison.weights(config)
    members = [loop.member(jax.tree.map(lambda x, i=i: x[i], arrays)) for i in range(2)]
    comparison.check(config, loop, members)


def test_the_report_says_how_much_faster(tmp_path):
    about = {"date": "today", "device": "cpu", "machine": "here", "jax": "1", "torch": "2"}
    for name, planning, learning in (("pytorch", "2.0", "10"), ("rgrl_jax", "64", "500")):
        rates = {"planning": float(planning), "learning": float(learning)}
        seconds = {"episode_seconds": comparison.episode_seconds(rates, rows=64, members=5)}
        row = about | {"implementation": name, "rows": 64, "planning": planning, "learning": learning} | seconds
        report.append_rows(tmp_path / "comparison.csv", [row])
    comparison.write_report(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| pytorch | 64 | 2.0 | 1 | 10 | 1 | 690.0 | 1 |" in text  # 64 * 20 / 2 + 100 * 5 / 10
    assert "| rgrl_jax | 64 | 64 | 32 | 500 | 50 | 21.0 | 32.9 |" in text
