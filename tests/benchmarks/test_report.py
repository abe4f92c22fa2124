"""Tables and plots of learning curves: numbers known by hand."""

import json

import rgrl_jax as rgrl
from benchmarks import figure2, learning, report


def make_rows(returns, env_id="CartPole-v1", setting="tuned"):
    """Rows of seeds with these evaluation returns ``[seeds][episodes]``, 100 steps an episode."""
    return [
        dict(zip(report.COLUMNS, (env_id, setting, s, e, 100 * e, 0.0, value, 1.5 * e), strict=True))
        for s, curve in enumerate(returns)
        for e, value in enumerate(curve, 1)
    ]


def test_the_table_counts_what_the_rows_say():
    never, second, third = [9.0, 9.0, 9.0], [9.0, 480.0, 500.0], [9.0, 9.0, 475.0]
    row = report.summarise(make_rows([second, second, third, never]))
    assert row["episodes to goal, median"] == "2"
    assert row["90th percentile"] == "not reached"
    assert row["env steps to goal, median"] == "200"
    assert row["share failed"] == "25%"
    assert row["last evaluation, IQM"] == f"{(500 + 475) / 2:.4g}"
    assert row["training seconds per seed"] == "4"  # 4.5, rounded to even
    assert report.summarise(make_rows([never, never]))["episodes to goal, median"] == "not reached"


def test_levers_are_compared_over_the_same_seeds_and_episodes():
    base = make_rows([[0.0, 10.0, 99.0], [10.0, 10.0, 99.0], [500.0, 500.0, 99.0]])
    other = make_rows([[2.0, 10.0], [10.0, 14.0]])
    row = report.compare(base, other)
    assert (row["seeds"], row["episodes"]) == ("2", "2")
    assert (row["mean of tuned"], row["mean"], row["difference"]) == ("7.5", "9", "+1.5")
    assert (row["95 % interval"], row["verdict"]) == ("+1 to +2", "better")
    assert report.compare(base, base)["verdict"] == "not settled"


def test_a_kill_between_seeds_leaves_whole_seeds(tmp_path):
    path = tmp_path / "x.csv"
    rows = make_rows([[1.0, 2.0], [3.0, 4.0]])
    report.append_rows(path, rows[:2])
    report.append_rows(path, rows[2:])
    assert report.read_rows(path) == rows


def test_report_draws_and_tells(tmp_path):
    for setting, value in (("tuned", 480.0), ("shooting", 100.0)):
        path = tmp_path / "CartPole-v1" / f"{setting}.csv"
        path.parent.mkdir(exist_ok=True)
        report.append_rows(path, make_rows([[9.0, value]] * 3, setting=setting))
        config = {"planner.kind": setting, "planner.lr": 0.3, "episodes": len(setting)}
        about = {"date": "today", "machine": "here", "versions": {"jax": "1"}, "config": config}
        path.with_suffix(".json").write_text(json.dumps(about))
    report.write_report(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.index("| CartPole-v1 | 475 | 3 |") < text.index("| tuned |") < text.index("| shooting |")
    assert "| shooting | `planner.kind = shooting` | 3 | 2 | 244.5 | 54.5 | -190 | -190 to -190 | worse |" in text
    assert "today; here; jax 1" in text
    assert "| DQN | 50,000 | 500 | DLR-RM/rl-baselines3-zoo, benchmark.md |" in text
    assert (tmp_path / "CartPole-v1" / "curves.png").stat().st_size > 10_000
    assert not (tmp_path / "CartPole-v1" / "levers.png").exists()  # there are none


def test_levers_are_drawn_apart(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        report, "plot_curves", lambda found, title, goal, path: drawn.update({path.name: list(found)})
    )
    found = {name: make_rows([[1.0]], setting=name) for name in ("tuned", "cem", "one_member", "sb3_dqn")}
    lines = report.plots(tmp_path, found)
    assert drawn == {"curves.png": ["tuned", "cem", "sb3_dqn"], "levers.png": ["tuned", "one_member"]}
    assert lines == [f"![CartPole-v1, {name}]({tmp_path.name}/{name}.png)" for name in ("curves", "levers")]


def test_results_are_put_between_the_marks_of_the_readme(tmp_path):
    folder = tmp_path / "CartPole-v1"
    folder.mkdir()
    for setting, value in (("tuned", 480.0), ("cem", 490.0), ("one_member", 470.0), ("no_reset", 480.0)):
        report.append_rows(folder / f"{setting}.csv", make_rows([[9.0, value]] * 3, setting=setting))
    readme = tmp_path / "README.md"
    first, second = report.marks("learning"), report.marks("levers")
    readme.write_text("\n".join(["before", first[0], "old", first[1], "between", second[0], second[1], "after"]))
    for _ in range(2):
        report.write_sections(readme, tmp_path)
    assert readme.read_text().splitlines() == [
        *("before", first[0], *report.tuned_table(tmp_path), first[1]),
        *("between", second[0], "| setting | better | worse | not settled |", "| --- | --- | --- | --- |"),
        "| `cem` | CartPole-v1 | - | - |",
        "| `one_member` | - | CartPole-v1 | - |",
        "| `no_reset` | - | - | CartPole-v1 |",
        *(second[1], "after"),
    ]


def test_goals_that_are_written_down_are_those_of_the_environments():
    assert {env_id: rgrl.envs.make(env_id).goal for env_id in report.GOALS} == report.GOALS


def test_pages_show_the_committed_results():
    text = "\n".join(page.read_text() for page in learning.PAGES)
    for name, make in report.SECTIONS.items():
        first, last = report.marks(name)
        assert "\n".join([first, *make(learning.RESULTS), last]) in text


def test_figure2_says_where_larger_is_not_faster(tmp_path):
    for size, value in ((1, 100.0), (2, 200.0), (5, 50.0), (10, 100.0)):
        path = tmp_path / "CartPole-v1" / f"{figure2.cell('gru', size)}.csv"
        path.parent.mkdir(exist_ok=True)
        report.append_rows(path, make_rows([[value, value + s] for s in range(4)]))
    figure2.write_figure(tmp_path)
    figure2.write_text(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "Larger m is faster, of 3 comparisons: yes: 1, not settled: 1, no, slower: 1." in text
    assert (tmp_path / "figure2.png").stat().st_size > 10_000
