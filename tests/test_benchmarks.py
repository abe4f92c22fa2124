"""The benchmarks that make tables: rows, resuming, and numbers known by hand."""

import json

import jax
import numpy as np
import pytest
import tiny

import rgrl_jax as rgrl
from benchmarks import figure2, learning, neuron_ddpg, report, settings


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with one setting of two tiny seeds, and its config."""
    out = tmp_path_factory.mktemp("results")
    config = tiny.tiny_config(episodes=3)
    learning.run_setting("CartPole-v1", "tuned", config, [0, 1], out, workers=1, batch=1)
    return out, config


def test_a_row_per_seed_and_episode(results):
    out, config = results
    rows = report.read_rows(out / "CartPole-v1" / "tuned.csv")
    assert [(row["seed"], row["episode"]) for row in rows] == [(s, e) for s in (0, 1) for e in (1, 2, 3)]
    assert (out / "CartPole-v1" / "tuned.csv").read_text().splitlines()[0] == ",".join(report.COLUMNS)
    about = json.loads((out / "CartPole-v1" / "tuned.json").read_text())
    assert about["config"]["width"] == config.width and about["versions"]["jax"]


def test_rows_are_those_of_train(results):
    out, config = results
    _, metrics = jax.jit(rgrl.train)(jax.random.key(1), config)
    own = [row for row in report.read_rows(out / "CartPole-v1" / "tuned.csv") if row["seed"] == 1]
    assert [row["episode_return"] for row in own] == list(np.asarray(metrics.episode_return))
    assert [row["env_steps"] for row in own] == list(np.asarray(metrics.env_steps))


def test_environments_on_the_host_make_the_same_rows():
    config = rgrl.preset("gymnasium:CartPole-v1", **(tiny.TINY | {"episodes": 2}))
    rows = learning.run_seeds("gymnasium:CartPole-v1", "tuned", config, [0, 1])
    assert [(row["seed"], row["episode"]) for row in rows] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert all(row["env_steps"] <= 24 and 1 <= row["eval_return"] <= 12 for row in rows)


def test_finished_seeds_are_not_run_again(results, monkeypatch):
    out, config = results
    before = (out / "CartPole-v1" / "tuned.csv").read_bytes()
    asked = []
    monkeypatch.setattr(learning, "run_seeds", lambda env, setting, config, seeds: asked.append(seeds) or [])
    monkeypatch.setattr(report, "append_rows", lambda path, rows: None)
    learning.run_setting("CartPole-v1", "tuned", config, [0, 1, 2, 3], out, workers=1, batch=1)
    assert asked == [[2], [3]]
    assert (out / "CartPole-v1" / "tuned.csv").read_bytes() == before


def test_results_of_another_config_are_not_mixed(results):
    out, config = results
    with pytest.raises(SystemExit, match="width = 8, not 16"):
        learning.run_setting("CartPole-v1", "tuned", config.replace(width=16), [0], out, workers=1, batch=1)


@pytest.mark.parametrize(
    "setting, changes, sentence",
    [
        ("tuned", {"width": 64}, "another name than 'tuned'"),
        ("tunde", {}, "setting 'tunde' of CartPole-v1 needs --set; those that mean something: paper, tuned"),
        ("wide", {"widht": 64}, "widht.*width"),
        ("wide", {"width": -1}, "width = -1"),
    ],
)
def test_settings_that_mean_nothing_meet_one_sentence(setting, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        learning.make_config("CartPole-v1", setting, changes, None)


def test_a_setting_of_ones_own_changes_the_tuned_one():
    config = learning.make_config("CartPole-v1", "wide", {"width": 64}, 7)
    assert config == rgrl.preset("CartPole-v1", width=64, episodes=7)


def _rows(returns, env_id="CartPole-v1", setting="tuned"):
    """Rows of seeds with these evaluation returns ``[seeds][episodes]``, 100 steps an episode."""
    return [
        dict(zip(report.COLUMNS, (env_id, setting, s, e, 100 * e, 0.0, value, 1.5 * e), strict=True))
        for s, curve in enumerate(returns)
        for e, value in enumerate(curve, 1)
    ]


def test_the_table_counts_what_the_rows_say():
    never, second, third = [9.0, 9.0, 9.0], [9.0, 480.0, 500.0], [9.0, 9.0, 475.0]
    row = report.summarise(_rows([second, second, third, never]))
    assert row["episodes to goal, median"] == "2"
    assert row["90th percentile"] == "not reached"
    assert row["env steps to goal, median"] == "200"
    assert row["share failed"] == "25%"
    assert row["last evaluation, IQM"] == f"{(500 + 475) / 2:.4g}"
    assert row["training seconds per seed"] == "4"  # 4.5, rounded to even
    assert report.summarise(_rows([never, never]))["episodes to goal, median"] == "not reached"


def test_levers_are_compared_over_the_same_seeds_and_episodes():
    base = _rows([[0.0, 10.0, 99.0], [10.0, 10.0, 99.0], [500.0, 500.0, 99.0]])
    other = _rows([[2.0, 10.0], [10.0, 14.0]])
    row = report.compare(base, other)
    assert (row["seeds"], row["episodes"]) == ("2", "2")
    assert (row["mean of tuned"], row["mean"], row["difference"]) == ("7.5", "9", "+1.5")
    assert (row["95 % interval"], row["verdict"]) == ("+1 to +2", "better")
    assert report.compare(base, base)["verdict"] == "not settled"


def test_a_kill_between_seeds_leaves_whole_seeds(tmp_path):
    path = tmp_path / "x.csv"
    rows = _rows([[1.0, 2.0], [3.0, 4.0]])
    report.append_rows(path, rows[:2])
    report.append_rows(path, rows[2:])
    assert report.read_rows(path) == rows


def test_report_draws_and_tells(tmp_path):
    for setting, value in (("tuned", 480.0), ("shooting", 100.0)):
        path = tmp_path / "CartPole-v1" / f"{setting}.csv"
        path.parent.mkdir(exist_ok=True)
        report.append_rows(path, _rows([[9.0, value]] * 3, setting=setting))
        config = {"planner": setting, "plan_lr": 0.3, "episodes": len(setting)}
        about = {"date": "today", "machine": "here", "versions": {"jax": "1"}, "config": config}
        path.with_suffix(".json").write_text(json.dumps(about))
    report.write_report(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.index("| CartPole-v1 | 475 | 3 |") < text.index("| tuned |") < text.index("| shooting |")
    assert "| shooting | `planner = shooting` | 3 | 2 | 244.5 | 54.5 | -190 | -190 to -190 | worse |" in text
    assert "today; here; jax 1" in text
    assert "| DQN | 50,000 | 500 | DLR-RM/rl-baselines3-zoo, benchmark.md |" in text
    assert (tmp_path / "CartPole-v1" / "curves.png").stat().st_size > 10_000
    assert not (tmp_path / "CartPole-v1" / "levers.png").exists()  # there are none


def test_levers_are_drawn_apart(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        report, "plot_curves", lambda found, title, goal, path: drawn.update({path.name: list(found)})
    )
    found = {name: _rows([[1.0]], setting=name) for name in ("tuned", "cem", "one_member", "sb3_dqn")}
    lines = report.plots(tmp_path, found)
    assert drawn == {"curves.png": ["tuned", "cem", "sb3_dqn"], "levers.png": ["tuned", "one_member"]}
    assert lines == [f"![CartPole-v1, {name}]({tmp_path.name}/{name}.png)" for name in ("curves", "levers")]


def test_results_are_put_between_the_marks_of_the_readme(tmp_path):
    folder = tmp_path / "CartPole-v1"
    folder.mkdir()
    for setting, value in (("tuned", 480.0), ("cem", 490.0), ("one_member", 470.0), ("no_reset", 480.0)):
        report.append_rows(folder / f"{setting}.csv", _rows([[9.0, value]] * 3, setting=setting))
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
    assert {env_id: rgrl.make_spec(env_id).goal for env_id in report.GOALS} == report.GOALS


def test_readme_shows_the_committed_results():
    text = learning.README.read_text()
    for name, make in report.SECTIONS.items():
        first, last = report.marks(name)
        assert "\n".join([first, *make(learning.RESULTS), last]) in text


def test_figure2_says_where_larger_is_not_faster(tmp_path):
    for size, value in ((1, 100.0), (2, 200.0), (5, 50.0), (10, 100.0)):
        path = tmp_path / "CartPole-v1" / f"{figure2.cell('gru', size)}.csv"
        path.parent.mkdir(exist_ok=True)
        report.append_rows(path, _rows([[value, value + s] for s in range(4)]))
    figure2.write_figure(tmp_path)
    figure2.write_text(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "Larger m is faster, of 3 comparisons: yes: 1, not settled: 1, no, slower: 1." in text
    assert (tmp_path / "figure2.png").stat().st_size > 10_000


@pytest.mark.parametrize("env_id", rgrl.list_presets()["tuned"])
def test_rivals_have_the_same_budget_and_ablations_fit(env_id):
    config = rgrl.preset(env_id)
    budget = settings.evaluations(config)
    for name, changes in settings.ablations(env_id).items():
        changed = rgrl.preset(env_id, **changes)
        if name in settings.RIVALS:
            assert 0.9 * budget <= settings.evaluations(changed) <= budget
        elif name != "tuned":
            assert changed != config


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
        "batch": 4,
        "warmup_steps": 5,
    }
    beside = {"compare": True, "replay_capacity": 60} | small
    methods = {"outputs": {"algo": "neuron_ddpg"} | beside, "ddpg": {"algo": "ddpg"}}
    monkeypatch.setattr(neuron_ddpg, "METHODS", methods)
    monkeypatch.setattr(neuron_ddpg, "SUBCRITICS", {"neurons": beside})
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
