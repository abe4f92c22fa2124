"""Pictures of learning curves: drawn for any number of seeds, saved as real images, with nothing left open."""

import logging
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import rgrl_jax as rgrl


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
        "plan_movement": np.where(planned, 0.5, 0.0),
        "plan_noise": np.full(shape, 0.05),
        "windows": 20 * episode,
    }
    columns |= {name: change(columns[name].copy()) for name, change in changes.items()}
    return rgrl.Metrics(**{name: x if seeds else x[0] for name, x in columns.items()})


@pytest.fixture(autouse=True)
def strict(caplog):
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
    figure = rgrl.plot_learning(data, title="a title", goal=goal, path=tmp_path / "curve.png")
    count = seeds or 1
    assert len(figure.axes) == 3
    for axis, name in zip(figure.axes, ("episode_return", "model_loss", "plan_loss"), strict=True):
        drawn = lines(axis)
        assert len(drawn) == count + (count >= 3)
        assert len(axis.collections) == (count >= 3)
        values = np.atleast_2d(getattr(data, name))
        for line, row in zip(drawn, values, strict=False):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 10))
            np.testing.assert_array_equal(line.get_ydata(), np.where(row == 0, np.nan, row))
        if count >= 3 and name != "plan_loss":
            np.testing.assert_allclose(drawn[-1].get_ydata(), rgrl.iqm(values, axis=0))
    goals = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert [line.get_ydata()[0] for line in goals] == ([] if goal is None else [goal])
    assert figure.get_suptitle() == "a title"


def test_nothing_is_drawn_before_the_first_update():
    """An algorithm that only gathers at first has no loss then, and its only loss so far is a dot."""

    def late(values):
        return np.where(np.arange(9) == 8, values, 0.0)

    axis = rgrl.plot_learning(metrics(1, model_loss=late, plan_loss=np.zeros_like)).axes[1]
    (line,) = lines(axis)
    assert np.isnan(line.get_ydata()[:8]).all() and np.isfinite(line.get_ydata()[8])
    assert line.get_marker() == "o"


@pytest.mark.parametrize("seeds", [None, 2, 5])
@pytest.mark.parametrize("suffix, kind", [("png", "PNG"), ("jpg", "JPEG")])
def test_the_file_is_an_image(tmp_path, seeds, suffix, kind):
    """The folder is made, and the picture has a sane size and more than one colour."""
    path = tmp_path / "new" / "folder" / f"curve.{suffix}"
    rgrl.plot_learning(metrics(seeds), goal=90.0, path=str(path))
    with Image.open(path) as image:
        image.load()
        assert image.format == kind
        assert 600 <= image.width <= 2400
        assert 600 <= image.height <= 2400
        assert len(image.convert("L").getcolors()) > 20


def test_pdf(tmp_path):
    """Vector formats work too."""
    rgrl.plot_learning(metrics(4), goal=90.0, path=tmp_path / "curve.pdf")
    assert (tmp_path / "curve.pdf").read_bytes().startswith(b"%PDF")


def test_nothing_is_written_without_a_path(tmp_path, monkeypatch):
    """For notebooks: the figure alone."""
    monkeypatch.chdir(tmp_path)
    rgrl.plot_learning(metrics(2))
    assert not list(tmp_path.iterdir())


def test_nan_leaves_a_gap(tmp_path):
    """A missing number is a gap in its own line, and left out of the interquartile mean."""

    def hole(values):
        values[1, 4] = np.nan
        return values

    figure = rgrl.plot_learning(metrics(4, episode_return=hole, model_loss=hole), path=tmp_path / "curve.png")
    top = lines(figure.axes[0])
    assert np.isnan(top[1].get_ydata()[4])
    assert np.isfinite(top[0].get_ydata()).all()
    others = metrics(4).episode_return[[0, 2, 3], 4]
    np.testing.assert_allclose(top[-1].get_ydata()[4], rgrl.iqm(others))
    assert np.isfinite(top[-1].get_ydata()).all()


@pytest.mark.parametrize("seeds", [None, 2, 5])
def test_nothing_known(tmp_path, seeds):
    """A panel without a single number stays empty instead of failing."""
    nothing = dict.fromkeys(("episode_return", "model_loss", "plan_loss"), lambda x: np.full_like(x, np.nan))
    rgrl.plot_learning(metrics(seeds, **nothing), goal=1.0, path=tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_without_plans(tmp_path):
    """Before the first plan, and of algorithms that make none, there is no planning loss to draw."""
    figure = rgrl.plot_learning(metrics(3, plan_loss=np.zeros_like), goal=1.0, path=tmp_path / "curve.png")
    assert [axis.get_ylabel() for axis in figure.axes] == ["episode return", "model loss"]
    assert figure.axes[1].get_xlabel() == "training episode"


@pytest.mark.parametrize("seeds", [None, 3])
def test_one_episode(tmp_path, seeds):
    """A run of one episode has a picture, too, in which its one number can be seen."""
    figure = rgrl.plot_learning(metrics(seeds, episodes=1), goal=1.0, path=tmp_path / "curve.png")
    assert any(line.get_marker() not in ("None", "", None) for line in lines(figure.axes[0], 1))
