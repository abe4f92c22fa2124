"""Statistics over seeds against plain Python, scipy and known laws."""

import math

import numpy as np
import pytest
import scipy.stats

from rgrl_jax.experiment.stats import bootstrap_interval, iqm


def plain_iqm(scores):
    """The interquartile mean in four lines of plain Python."""
    ordered = sorted(float(x) for x in scores)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return math.fsum(kept) / len(kept)


@pytest.mark.parametrize("size", [*range(1, 14), 40, 101])
def test_iqm_of_a_list(size):
    """Equal to the twin and to scipy, for every remainder of the size by four and in any order."""
    rng = np.random.default_rng(size)
    for scores in (rng.normal(size=size), rng.exponential(size=size) ** 3, rng.integers(-3, 3, size)):
        found = iqm(scores)
        assert found.shape == ()
        np.testing.assert_allclose(found, plain_iqm(scores), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found, scipy.stats.trim_mean(scores, 0.25), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(iqm(rng.permutation(scores)), found, rtol=1e-12, atol=1e-12)


def test_iqm_of_known_numbers():
    """Outliers at either end do not count; three scores lose none."""
    assert iqm(np.array([-1e9, 2.0, 4.0, 1e9])) == 3.0
    assert iqm(np.array([1.0, 2.0, 6.0])) == 3.0
    assert iqm([7, 1, 3, 5, 900, 4, 6, -800]) == pytest.approx((3 + 4 + 5 + 6) / 4)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_iqm_along_an_axis(axis):
    """Along an axis it is the iqm of every line along it."""
    scores = np.random.default_rng(0).normal(size=(3, 6, 9))
    found = iqm(scores, axis=axis)
    twin = np.apply_along_axis(plain_iqm, axis, scores)
    assert found.shape == twin.shape
    np.testing.assert_allclose(found, twin, rtol=1e-12)
    np.testing.assert_allclose(found, scipy.stats.trim_mean(scores, 0.25, axis=axis), rtol=1e-12)


def test_iqm_of_everything():
    """Without an axis all scores are taken together, and the argument is left alone."""
    scores = np.random.default_rng(1).normal(size=(4, 5))
    before = scores.copy()
    np.testing.assert_allclose(iqm(scores), plain_iqm(scores.ravel()), rtol=1e-12)
    np.testing.assert_array_equal(scores, before)


def test_interval_is_deterministic():
    """Equal arguments give equal ends; another seed does not."""
    scores = np.random.default_rng(2).normal(size=12)
    one = bootstrap_interval(scores)
    assert one == bootstrap_interval(scores)
    assert one != bootstrap_interval(scores, seed=1)
    assert all(type(end) is float for end in one)


@pytest.mark.parametrize("shape", [(5,), (30,), (3, 10)])
@pytest.mark.parametrize("statistic", [iqm, np.mean, np.median])
def test_interval_holds_the_statistic(shape, statistic):
    """The statistic of the scores lies inside, and the interval inside the range of the scores."""
    scores = np.random.default_rng(3).normal(5.0, 2.0, size=shape)
    low, high = bootstrap_interval(scores, statistic, resamples=300)
    assert scores.min() <= low < statistic(scores) < high <= scores.max()


def test_interval_widens_with_the_level():
    """A higher level gives a wider interval around the lower one's."""
    scores = np.random.default_rng(4).normal(size=25)
    ends = [bootstrap_interval(scores, level=level) for level in (0.5, 0.8, 0.95, 0.99)]
    for inner, outer in zip(ends, ends[1:], strict=False):
        assert outer[0] < inner[0] and inner[1] < outer[1]


def test_interval_of_the_mean_has_the_known_width():
    """For many scores the interval of the mean is mean +- 1.96 s / sqrt(n)."""
    scores = np.random.default_rng(5).normal(3.0, 2.0, size=400)
    low, high = bootstrap_interval(scores, np.mean, resamples=4000)
    half = 1.96 * scores.std() / np.sqrt(400)
    np.testing.assert_allclose([low, high], [scores.mean() - half, scores.mean() + half], atol=0.12 * half)


def test_interval_covers_the_truth():
    """Of 400 normal samples about 95 % have the true mean inside; for a level of 50 % about half."""
    rng = np.random.default_rng(6)
    hits = {0.95: 0, 0.5: 0}
    for trial in range(400):
        scores = rng.normal(1.0, 3.0, size=40)
        for level in hits:
            low, high = bootstrap_interval(scores, np.mean, level=level, resamples=200, seed=trial)
            hits[level] += low <= 1.0 <= high
    assert 0.90 <= hits[0.95] / 400 <= 0.98
    assert 0.42 <= hits[0.5] / 400 <= 0.58


def test_tasks_are_strata():
    """Tasks of constant, far apart scores leave nothing to resample: the interval has no width."""
    scores = np.repeat([[0.0], [100.0], [-7.0]], 8, axis=1)
    assert bootstrap_interval(scores, np.mean) == (31.0, 31.0)
    low, high = bootstrap_interval(scores.ravel(), np.mean)  # the same scores as one task
    assert low < 31.0 < high


def test_every_task_keeps_its_seeds():
    """The statistic sees the shape it was promised, with every row drawn from its own task, with replacement."""
    scores = np.arange(15.0).reshape(3, 5)
    seen = []

    def statistic(sample):
        seen.append(sample.copy())
        return sample.mean()

    bootstrap_interval(scores, statistic, resamples=50)
    assert len(seen) == 50
    for sample in seen:
        assert sample.shape == (3, 5)
        for row, task in zip(sample, scores, strict=True):
            assert set(row) <= set(task)
    assert any(len(set(row)) < 5 for sample in seen for row in sample)  # with replacement
    draws = np.array([sample - 5 * np.arange(3)[:, None] for sample in seen])  # independent from task to task
    assert (draws[:, 0] != draws[:, 1]).any()
    assert set(draws.ravel()) == {0.0, 1.0, 2.0, 3.0, 4.0}


def test_list_of_scores_reaches_the_statistic_flat():
    """``[seeds]`` stays ``[seeds]``."""
    shapes = []
    bootstrap_interval([1, 2, 3], lambda x: shapes.append(x.shape) or 0.0, resamples=3)
    assert shapes == [(3,)] * 3


def test_one_score_has_no_width():
    """One seed can only be drawn again."""
    assert bootstrap_interval(np.array([4.0])) == (4.0, 4.0)


@pytest.mark.parametrize("scores", [[], [[]], np.zeros((2, 0)), np.zeros((2, 3, 4))])
def test_scores_of_a_wrong_shape(scores):
    """Nothing to resample, or one axis too many."""
    with pytest.raises(ValueError, match="scores of shape"):
        bootstrap_interval(scores)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95, float("nan")])
def test_level_out_of_range(level):
    """The level is a share, not a percentage."""
    with pytest.raises(ValueError, match=f"level = {level}"):
        bootstrap_interval([1.0, 2.0], level=level)
