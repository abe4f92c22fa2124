"""Kinds of units, against gradients, enumeration and textbook formulas in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax.algos.unit_teams.network import draw_uniform
from rgrl_jax.algos.unit_teams.units import UNITS

DRAWING = ("bernoulli", "gaussian", "softmax", "softmax_zero", "gaussian_linear")
Z = np.array([-1.3, 0.2, 0.9], np.float32)
DISPERSION = 0.7
ACTIVITIES = {
    "bernoulli": [[0, 1, 1], [1, 0, 0]],
    "gaussian": [[0.3, -0.5, 2.0]],
    "gaussian_linear": [[0.3, -0.5, 2.0]],
    "softmax": np.eye(3),
    "softmax_zero": np.eye(4),
}


@pytest.mark.parametrize("kind", DRAWING)
def test_eligibility_is_the_gradient_of_the_log_probability(kind):
    for h in jnp.asarray(ACTIVITIES[kind], jnp.float32):
        expected = jax.grad(UNITS[kind].log_prob, argnums=1)(h, Z, DISPERSION)
        np.testing.assert_allclose(UNITS[kind].eligibility(h, Z, DISPERSION), expected, atol=1e-5)
        assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("kind", ["bernoulli", "softmax", "softmax_zero"])
def test_probabilities_are_those_of_the_textbook(kind):
    """NumPy in float64, over all that can happen; the probabilities sum to 1."""
    z = Z.astype(np.float64) / DISPERSION
    if kind == "bernoulli":
        possible, p = list(itertools.product((0.0, 1.0), repeat=3)), 1 / (1 + np.exp(-z))
        expected = [np.prod(np.where(h, p, 1 - p)) for h in np.array(possible)]
    else:
        possible, z = np.eye(3 + (kind == "softmax_zero")), np.append(z, 0.0) if kind == "softmax_zero" else z
        expected = np.exp(z) / np.exp(z).sum()
    found = [float(jnp.exp(UNITS[kind].log_prob(jnp.asarray(h), Z, DISPERSION))) for h in possible]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert sum(found) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "gaussian_linear"])
def test_densities_are_those_of_the_textbook(kind):
    mean = np.log1p(np.exp(Z.astype(np.float64))) if kind == "gaussian" else Z
    h = np.array([0.3, -0.5, 2.0])
    expected = (-0.5 * (h - mean) ** 2 / DISPERSION - 0.5 * np.log(2 * np.pi * DISPERSION)).sum()
    assert float(UNITS[kind].log_prob(jnp.asarray(h), Z, DISPERSION)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "gaussian_linear", "relu", "softplus", "linear"])
def test_slope_is_the_derivative_of_the_mean(kind):
    expected = jnp.diag(jax.jacobian(UNITS[kind].mean)(Z, DISPERSION))
    np.testing.assert_allclose(UNITS[kind].slope(Z, DISPERSION), expected, atol=1e-6)


@pytest.mark.parametrize("kind", DRAWING)
def test_draws_follow_the_distribution(kind):
    """Means of many draws, and for Gaussian units their variance."""
    unit = UNITS[kind]
    u = draw_uniform(jax.random.key(0), (40_000, 3 + unit.implicit))
    drawn = np.asarray(jax.vmap(lambda u: unit.draw(u, Z, DISPERSION))(u))
    np.testing.assert_allclose(drawn.mean(axis=0), unit.mean(Z, DISPERSION), atol=0.02)
    if kind.startswith("gaussian"):
        np.testing.assert_allclose(drawn.var(axis=0), DISPERSION, rtol=0.03)
    else:
        assert set(np.unique(drawn)) == {0.0, 1.0}


@pytest.mark.parametrize("kind", DRAWING)
def test_extreme_draws_are_finite(kind):
    """The least and the greatest number that can be drawn."""
    unit = UNITS[kind]
    for u in (2.0**-24, np.nextafter(np.float32(1), np.float32(0))):
        assert np.isfinite(unit.draw(jnp.full(3 + unit.implicit, u, jnp.float32), Z, DISPERSION)).all()
