"""Growth of planning with the horizon; no time is tested."""

from benchmarks import horizon, timing


def test_a_row_for_every_model_and_horizon(tmp_path):
    path = tmp_path / "new" / "horizon.csv"
    words = ["--models", "rnn", "mlp", "--horizons", "2", "4", "--iterations", "2", "--repeats", "1"]
    horizon.main([*words, "--out", str(path)])
    rows = timing.read_table(path)
    assert [(row["model"], row["horizon"]) for row in rows] == [(m, n) for m in ("rnn", "mlp") for n in "24"]
    assert all(float(row["microseconds_per_iteration"]) > 0 for row in rows)
