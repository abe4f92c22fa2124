"""Networks of units, against loops in NumPy, autodiff and enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.unit_teams.networks import BERNOULLI, GAUSSIAN, make_spec, permute_layer, random_network, random_pass

from rgrl_jax import mlp
from rgrl_jax.algos.unit_teams import network
from rgrl_jax.algos.unit_teams.units import UNITS
from rgrl_jax.algos.unit_teams.weight_updates import weight_gradient


def test_weights_are_drawn_within_their_limits():
    """sqrt(6 / (n_in + n_out)) for weights, even where the output leaves a logit out; biases have their own limit."""
    spec = make_spec(("bernoulli", "softmax_zero"), (300, 200, 4), (1.0, 1.0))
    weights = network.init_weights(jax.random.key(0), spec, 0.01)
    assert [w.shape for w in weights] == spec.shapes == [(301, 200), (201, 3)]
    for w, limit in zip(weights, ((6 / 500) ** 0.5, (6 / 204) ** 0.5), strict=True):
        assert 0.98 * limit < np.abs(w[:-1]).max() <= limit
        assert 0 < np.abs(w[-1]).max() <= 0.01


def test_forward_is_a_loop_over_units():
    """NumPy, one unit after the other, on the same random numbers."""
    weights, spec, x = random_network(*BERNOULLI)
    u = np.asarray(network.draw_uniform(jax.random.key(5), (spec.num_draws,)))
    found = network.forward(weights, spec, jnp.asarray(u), x)
    h, used = np.asarray(x, np.float64), 0
    for i, (w, dispersion) in enumerate(zip(weights, spec.dispersions, strict=True)):
        w = np.asarray(w, np.float64)
        z = np.array([sum(h[j] * w[j, k] for j in range(len(h))) + w[-1, k] for k in range(w.shape[1])])
        np.testing.assert_allclose(found.z[i], z, atol=1e-5)
        if i < 2:
            h = np.array([float(u[used + k] < 1 / (1 + np.exp(-z[k] / dispersion))) for k in range(len(z))])
            used += len(z)
        else:
            score = np.append(z, 0.0) / dispersion - np.log(-np.log(u[used:].astype(np.float64)))
            h = np.eye(len(score))[score.argmax()]
        np.testing.assert_array_equal(found.h[i + 1], h)


@pytest.mark.parametrize("kind", [GAUSSIAN, BERNOULLI], ids=["gaussian", "bernoulli"])
def test_energy_is_minus_the_sum_of_log_probabilities(kind):
    weights, spec, passed = random_pass(kind)
    layers = zip(passed.h[1:], passed.z, spec.units, spec.dispersions, strict=True)
    expected = -sum(float(unit.log_prob(h, z, dispersion)) for h, z, unit, dispersion in layers)
    assert float(network.energy(weights, spec, passed.h)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "kinds",
    [("bernoulli", "bernoulli", "softmax_zero"), ("relu", "relu", "softmax"), ("softplus", "softplus", "linear")],
    ids=lambda kinds: kinds[0],
)
def test_passed_down_eligibilities_are_autodiff(kinds):
    """Of log pi through straight-through Bernoulli units, of log pi through relu, and of the value of a critic."""
    weights, spec, passed = random_pass(
        (kinds, (3, 5, 4, 3 if kinds[-1] != "linear" else 1), (0.9, 0.8, 2.0)), seed=3
    )

    def objective(weights):
        h = passed.h[0]
        for i, w in enumerate(weights[:-1]):
            unit = UNITS[kinds[i]]
            mean = unit.mean(mlp.affine(w, h), spec.dispersions[i])
            h = mean + jax.lax.stop_gradient(passed.h[i + 1] - mean)
        z = mlp.affine(weights[-1], h)
        return z[0] if kinds[-1] == "linear" else UNITS[kinds[-1]].log_prob(passed.h[-1], z, spec.dispersions[-1])

    e = network.backpropagate(weights, spec, passed)
    found = [weight_gradient(h, own) for h, own in zip(passed.h, e, strict=False)]
    for x, y in zip(found, jax.grad(objective)(weights), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)
        assert np.abs(y).max() > 1e-3


def test_expected_reinforce_update_is_the_gradient():
    """All activities and actions of a tiny network, weighted by their probabilities, against autodiff."""
    kinds, reward = ("bernoulli", "softmax"), jnp.array([1.0, -2.0, 0.5])
    weights, spec, x = random_network(kinds, (2, 2, 3), (0.8, 1.5), seed=3)
    possible = [(jnp.array(h), jnp.eye(3)[a]) for h in itertools.product((0.0, 1.0), repeat=2) for a in range(3)]

    def probability(weights, h, a):
        return jnp.exp(-network.energy(weights, spec, (x, h, a)))

    def expected_reward(weights):
        return sum(probability(weights, h, a) * (reward * a).sum() for h, a in possible)

    total = [jnp.zeros_like(w) for w in weights]
    for h, a in possible:
        passed = network.make_pass(weights, (x, h, a))
        e, weight = network.eligibilities(spec, passed), probability(weights, h, a) * (reward * a).sum()
        for i in range(2):
            total[i] += weight * weight_gradient(passed.h[i], e[i])
    for found, exact in zip(total, jax.grad(expected_reward)(weights), strict=True):
        np.testing.assert_allclose(found, exact, atol=1e-5)
        assert np.abs(exact).max() > 0.01


def test_deterministic_layers_need_no_random_numbers():
    kinds = ("softplus", "bernoulli", "softmax_zero")
    assert make_spec(kinds, (3, 5, 4, 3), (1.0, 1.0, 1.0)).num_draws == 4 + 3
    assert make_spec(("relu", "linear"), (3, 5, 1), (1.0, 1.0)).num_draws == 0


def test_eligibilities_depend_on_their_own_layer_alone():
    weights, spec, passed = random_pass(BERNOULLI)
    own = network.eligibilities(spec, passed)
    for layer in range(3):
        for elsewhere in set(range(3)) - {layer}:
            # Its inputs and draws stay; only the weights of the other layer are permuted.
            other = network.make_pass(permute_layer(weights, elsewhere), passed.h)
            np.testing.assert_array_equal(network.eligibilities(spec, other)[layer], own[layer])
        there = network.make_pass(permute_layer(weights, layer), passed.h)
        assert np.abs(network.eligibilities(spec, there)[layer] - own[layer]).max() > 1e-3
