"""Figures: drawn for any number of seeds, saved as real images, with nothing left open."""

import functools
import logging
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from tiny import says, tiny_config

import rgrl_jax as rgrl
from rgrl_jax import analysis, plots
from rgrl_jax.experiment import checkpoint, inspection, run_folder

KEY = jax.random.key(3)


def metrics(seeds, episodes=9, **changes):
    """Made-up metrics ``[seeds, episodes]``, or ``[episodes]`` for ``seeds=None``; two warm-up episodes."""
    rng = np.random.default_rng(0)
    shape = (seeds or 1, episodes)
    episode = np.broadcast_to(np.arange(1, episodes + 1), shape)
    planned = episode > 2
    columns = {
        "episode": episode,
        "env_steps": 20 * episode,
        "episode_return": rng.normal(100.0, 10.0, shape),
        "episode_length": np.full(shape, 20),
        "terminated": np.ones(shape, bool),
        "model_loss": rng.uniform(0.1, 2.0, shape),
        "plan_loss": np.where(planned, rng.uniform(0.5, 1.0, shape), 0.0),
        "windows": 20 * episode,
    }
    columns |= {name: change(columns[name].copy()) for name, change in changes.items()}
    columns = {name: x if seeds else x[0] for name, x in columns.items()}
    info = {name: columns.pop(name) for name in ("plan_loss", "windows")}
    return rgrl.Metrics(**columns, info=info)


@pytest.fixture(autouse=True)
def _strict(caplog):
    """No warning and no log line is an answer to a good call, and no pyplot figure is left open."""
    before = plt.get_fignums()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == before
    assert not caplog.records, caplog.text


def lines(axis, length=9):
    """The curves of a panel; a goal or anything else of another length is left out."""
    return [line for line in axis.get_lines() if len(line.get_xdata()) == length]


@pytest.mark.parametrize("seeds", [None, 1, 2, 3, 10])
@pytest.mark.parametrize("goal", [None, 110.0])
def test_one_line_per_seed(tmp_path, seeds, goal):
    """Every seed has its line in every panel; from three seeds on there is their iqm with a band as well."""
    data = metrics(seeds)
    figure = plots.learning(data, title="a title", goal=goal, path=tmp_path / "curve.png")
    count = seeds or 1
    assert len(figure.axes) == 3
    for axis, name in zip(figure.axes, ("episode_return", "model_loss", "plan_loss"), strict=True):
        drawn = lines(axis)
        assert len(drawn) == count + (count >= 3)
        assert len(axis.collections) == (count >= 3)
        values = np.atleast_2d(data.columns()[name])
        for line, row in zip(drawn, values, strict=False):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 10))
            np.testing.assert_array_equal(line.get_ydata(), np.where(row == 0, np.nan, row))
        if count >= 3 and name != "plan_loss":
            np.testing.assert_allclose(drawn[-1].get_ydata(), analysis.iqm(values, axis=0))
    goals = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert [line.get_ydata()[0] for line in goals] == ([] if goal is None else [goal])
    assert figure.get_suptitle() == "a title"


def test_nothing_is_drawn_before_the_first_update():
    """An algorithm that only gathers at first has no loss then, and its only loss so far is a dot."""

    def late(values):
        return np.where(np.arange(9) == 8, values, 0.0)

    axis = plots.learning(metrics(1, model_loss=late)).axes[1]
    (line,) = lines(axis)
    assert np.isnan(line.get_ydata()[:8]).all() and np.isfinite(line.get_ydata()[8])
    assert line.get_marker() == "o"


@pytest.mark.parametrize("seeds", [None, 2, 5])
@pytest.mark.parametrize("suffix, kind", [("png", "PNG"), ("jpg", "JPEG")])
def test_the_file_is_an_image(tmp_path, seeds, suffix, kind):
    """The folder is made, and the picture has a sane size and more than one colour."""
    path = tmp_path / "new" / "folder" / f"curve.{suffix}"
    plots.learning(metrics(seeds), goal=90.0, path=str(path))
    with Image.open(path) as image:
        image.load()
        assert image.format == kind
        assert 600 <= image.width <= 2400
        assert 600 <= image.height <= 2400
        assert len(image.convert("L").getcolors()) > 20


def test_pdf(tmp_path):
    """Vector formats work too."""
    plots.learning(metrics(4), goal=90.0, path=tmp_path / "curve.pdf")
    assert (tmp_path / "curve.pdf").read_bytes().startswith(b"%PDF")


def test_nothing_is_written_without_a_path(tmp_path, monkeypatch):
    """For notebooks: the figure alone."""
    monkeypatch.chdir(tmp_path)
    plots.learning(metrics(2))
    assert not list(tmp_path.iterdir())


def test_nan_leaves_a_gap(tmp_path):
    """A missing number is a gap in its own line, and left out of the interquartile mean."""

    def hole(values):
        values[1, 4] = np.nan
        return values

    figure = plots.learning(metrics(4, episode_return=hole, model_loss=hole), path=tmp_path / "curve.png")
    top = lines(figure.axes[0])
    assert np.isnan(top[1].get_ydata()[4])
    assert np.isfinite(top[0].get_ydata()).all()
    others = metrics(4).episode_return[[0, 2, 3], 4]
    np.testing.assert_allclose(top[-1].get_ydata()[4], analysis.iqm(others))
    assert np.isfinite(top[-1].get_ydata()).all()


@pytest.mark.parametrize("seeds", [None, 2, 5])
def test_nothing_known(tmp_path, seeds):
    """A panel without a single number stays empty instead of failing."""
    nothing = dict.fromkeys(("episode_return", "model_loss", "plan_loss"), lambda x: np.full_like(x, np.nan))
    plots.learning(metrics(seeds, **nothing), goal=1.0, path=tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_without_plans(tmp_path):
    """Of algorithms that report no plans there is no planning loss to draw; before the first plan it is empty."""
    data = metrics(3)
    figure = plots.learning(data.replace(info={}), goal=1.0, path=tmp_path / "curve.png")
    assert [axis.get_ylabel() for axis in figure.axes] == ["episode return", "model loss"]
    assert figure.axes[1].get_xlabel() == "training episode"
    axis = plots.learning(metrics(3, plan_loss=np.zeros_like)).axes[2]
    assert all(np.isnan(line.get_ydata()).all() for line in lines(axis))


@pytest.mark.parametrize("seeds", [None, 3])
def test_one_episode(tmp_path, seeds):
    """A run of one episode has a picture, too, in which its one number can be seen."""
    figure = plots.learning(metrics(seeds, episodes=1), goal=1.0, path=tmp_path / "curve.png")
    assert any(line.get_marker() not in ("None", "", None) for line in lines(figure.axes[0], 1))


@functools.cache
def seen():
    """Two noiseless episodes of a tiny agent, the predictions along them, and its plans."""
    config = tiny_config(**{"model.kind": "mlp"})
    state = jax.jit(rgrl.init)(jax.random.key(0), config)
    episode = inspection._PLAY(KEY, state, config, 2)  # of the command line, so that both compile it once
    prediction = analysis.predict_episode(state, episode, config)
    return config, state, episode, prediction, analysis.recompute_plans(KEY, state, episode, config)


def is_image(path):
    """Whether it is a picture of more than one colour."""
    with Image.open(path) as image:
        image.load()
        return min(image.size) > 200 and len(image.convert("L").getcolors()) > 20


def test_picture_of_plans(tmp_path):
    """Columns are plans with the executed action at the bottom; lines are what came and what was predicted."""
    config, _, episode, found, plans = seen()
    figure = plots.plans(found, plans, config, title="a title", path=tmp_path / "new" / "plans.png")
    assert is_image(tmp_path / "new" / "plans.png") and figure.get_suptitle() == "a title"
    length = int(episode.length[0])
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(image[0], episode.action[:length, 0])
    rewards = figure.axes[1].get_lines()
    np.testing.assert_array_equal(rewards[0].get_ydata(), found.true_reward[0, :length, 0])
    np.testing.assert_allclose(rewards[1].get_ydata(), found.reward[0, 0].mean(axis=0), atol=1e-6)
    assert len(figure.axes) == 2 + 3 + 1  # three of the state, and the scale of colours
    figure = plots.plans(found, plans, config, episode=1, steps=(1, 5), entries=[4])
    assert figure.axes[2].get_ylabel() == "ended" and figure.axes[0].images[0].get_array().shape == (4, 4)
    for wrong, part in (({"episode": 2}, "0..1"), ({"steps": (500, 600)}, "within"), ({"steps": (3, 3)}, "within")):
        with pytest.raises(ValueError, match=part):
            plots.plans(found, plans, config, **wrong)


def test_pictures_without_predicted_states(tmp_path):
    """Only rewards are drawn then; plans that are kept are shown as far as they go."""
    config, _, _, found, plans = seen()
    blind, kept = found.replace(state=None), jax.tree.map(lambda x: x[::2], plans)
    figure = plots.plans(blind, kept, config.replace_at("planner.replan_every", 2), path=tmp_path / "plans.png")
    image = figure.axes[0].images[0].get_array()
    assert image.mask[:, 0].sum() == 0 and image.mask[:, 1].tolist() == [False, False, False, True]
    assert len(figure.axes) == 3 and is_image(tmp_path / "plans.png")
    assert len(plots.model_error(blind).axes) == 1


def test_picture_of_continuous_plans():
    """The first entry of continuous actions, as a shade."""
    config, _, _, found, plans = seen()
    figure = plots.plans(found, plans, config.replace(env_id="Pendulum-v1"))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array()[:, 0], plans.plan[0, 0, :, 0], atol=1e-6)


def test_picture_of_model_errors(tmp_path):
    """A line per member, their mean, their disagreement and a constant guess, for rewards and for states."""
    found = seen()[3]
    figure = plots.model_error(found, path=tmp_path / "model.pdf")
    assert (tmp_path / "model.pdf").read_bytes().startswith(b"%PDF")
    errors = analysis.horizon_errors(found.state, found.true_state, found.mask)
    drawn = [line.get_ydata() for line in figure.axes[1].get_lines()]
    for line, values in zip(drawn, [*errors.member, errors.mean, errors.disagreement, errors.constant], strict=True):
        np.testing.assert_array_equal(line, values)


def test_heat_map_of_a_grid(tmp_path):
    """Means over further axes and over equal runs, of what is finite; cells without anything stay empty."""
    values = np.arange(24.0).reshape(2, 3, 4)
    values[1, 2] = np.nan
    values[0, 0, 0] = np.inf
    grid = {"a": [1, 2], "b": jnp.array([0.1, 0.2, 0.3])}
    figure = plots.sweep(grid, values, label="what", path=tmp_path / "sweep.png")
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.filled(-1.0), [[2.0, 5.5, 9.5], [13.5, 17.5, -1.0]])
    assert is_image(tmp_path / "sweep.png")
    axis, scale = figure.axes
    assert [axis.get_ylabel(), axis.get_xlabel(), scale.get_ylabel()] == ["a", "b", "what"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0.1", "0.2", "0.3"]
    table = {"a": [2, 1, 1, 2], "b": ["x", "x", "y", "x"]}
    shown = plots.sweep(table, [1.0, 2.0, 3.0, 5.0]).axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.filled(-1.0), [[2.0, 3.0], [3.0, -1.0]])
    big = plots.sweep({"a": range(12), "b": range(12)}, np.zeros((12, 12)))
    assert not big.axes[0].texts


@pytest.mark.parametrize(
    ("grid", "values", "parts"),
    [
        ({}, [1.0], ["two settings, not none"]),
        ({"a": [1], "b": [1], "c": [2]}, [1.0], ["two settings, not a, b, c"]),
        ({"a": [1, 2], "b": [1]}, np.zeros((1, 2)), ["(1, 2)", "2 x 1"]),
        ({"a": [1, 2], "b": [1]}, [1.0, 2.0], ["2 values", "2 and 1"]),
    ],
)
def test_heat_map_complains(grid, values, parts):
    """In one sentence."""
    with pytest.raises(ValueError) as error:
        plots.sweep(grid, values)
    says(error, *parts)


def test_pictures_on_the_command_line(rgrl_command, tmp_path):
    """Plans and model errors of a run, and a heat map of several."""
    config, state, *_ = seen()
    run = tmp_path / "run"
    run.mkdir()
    run_folder.write_config(run, config, {"seed": 0, "seeds": 1, "preset": "tuned"})
    with checkpoint.open_manager(run) as manager:
        checkpoint.save(manager, config.episodes, state)
    for kind in ("plans", "model"):
        out = tmp_path / f"{kind}.png"
        code, _, err = rgrl_command("plot", run, "--kind", kind, "--episodes", 2, "--out", out)
        assert (code, err) == (0, "") and is_image(out)
    other = tmp_path / "other"
    other.mkdir()
    run_folder.write_config(other, rgrl.preset("CartPole-v1", algo="ste"), {"seed": 0, "seeds": 1, "preset": "tuned"})
    code, _, err = rgrl_command("plot", other, "--kind", "plans")
    assert code == 2 and "'ste' has no model" in err
    code, _, err = rgrl_command("plot", run, "--kind", "sweep")
    assert code == 2 and "no run folders" in err
    returns = metrics(1)
    for i, (rate, width) in enumerate([(0.1, 8), (0.2, 8), (0.1, 16), (0.2, 16)]):
        one = tmp_path / "sweep" / str(i)
        one.mkdir(parents=True)
        config = tiny_config(**{"planner.lr": rate, "model.width": width})
        run_folder.write_config(one, config, {"seed": 0, "seeds": 1, "preset": "tuned"})
        run_folder.append_metrics(one, returns, 0)
    code, text, err = rgrl_command("plot", tmp_path / "sweep", "--kind", "sweep")
    assert (code, err) == (0, "") and str(tmp_path / "sweep" / "sweep.png") in text.replace("\n", "")
    assert is_image(tmp_path / "sweep" / "sweep.png")
    for words, part in ((("--episodes", 0), "episodes = 0"), (("--seed", -1), "seed = -1")):
        code, _, err = rgrl_command("plot", run, "--kind", "model", *words)
        assert code == 2 and part in err
