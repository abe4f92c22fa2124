"""MAP propagation, against gradients, fixed points and a loop over units in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.unit_teams.networks import BERNOULLI, GAUSSIAN, make_spec, permute_layer, random_pass

from rgrl_jax.algos.unit_teams import network
from rgrl_jax.algos.unit_teams.map_propagation import (
    divide_by_residual,
    iterated_conditional_modes,
    map_gradient_steps,
)


def test_a_step_follows_the_gradient_of_the_energy():
    weights, spec, passed = random_pass(GAUSSIAN)
    x, *hidden, output = passed.h
    gradient = jax.grad(lambda hidden: network.energy(weights, spec, (x, *hidden, output)))(hidden)
    moved = map_gradient_steps(weights, spec, passed, 1, 0.4)
    for i in range(2):
        expected = passed.h[i + 1] - 0.4 * spec.dispersions[i] * gradient[i]
        np.testing.assert_allclose(moved.h[i + 1], expected, atol=1e-5)
    np.testing.assert_array_equal(moved.h[0], passed.h[0])
    np.testing.assert_array_equal(moved.h[-1], passed.h[-1])


@pytest.mark.parametrize("seed", range(2))
def test_energy_never_rises(seed):
    """With small steps, until nothing moves any more."""
    weights, spec, passed = random_pass(GAUSSIAN, seed, scale=1.5)
    energies = [float(network.energy(weights, spec, passed.h))]
    step = jax.jit(lambda passed: map_gradient_steps(weights, spec, passed, 1, 0.1))
    for _ in range(40):
        passed = step(passed)
        energies.append(float(network.energy(weights, spec, passed.h)))
    assert np.all(np.diff(energies) <= 1e-5)
    assert energies[-1] < energies[0] - 0.1


@pytest.mark.parametrize("output", ["softmax", "gaussian_linear"])
def test_a_fixed_point_obeys_the_recursion_of_backpropagation(output):
    """``e^l = f'(z^l) (W^{l+1} e^{l+1})``, at the fixed point and not before it."""
    weights, spec, passed = random_pass((("gaussian", "gaussian", output), GAUSSIAN[1], GAUSSIAN[2]), scale=0.7)

    def gap(passed):
        found, expected = network.eligibilities(spec, passed), network.backpropagate(weights, spec, passed)
        return max(float(jnp.abs(x - y).max()) for x, y in zip(found, expected, strict=True))

    assert gap(passed) > 0.1
    assert gap(map_gradient_steps(weights, spec, passed, 400, 0.3)) < 1e-4


def test_no_steps_are_reinforce():
    weights, spec, passed = random_pass(GAUSSIAN)
    found = network.eligibilities(spec, map_gradient_steps(weights, spec, passed, 0, 0.5))
    for x, y in zip(found, network.eligibilities(spec, passed), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def energy_of_bits(weights, dispersions, h):
    """NumPy in float64: of two Bernoulli layers below a softmax whose last logit is 0."""
    total = 0.0
    for i, w in enumerate(weights):
        z = (h[i] @ w[:-1] + w[-1]) / dispersions[i]
        if i < 2:
            total -= (h[i + 1] * z - np.log1p(np.exp(z))).sum()
        else:
            z = np.append(z, 0.0)
            total -= (h[i + 1] * (z - np.log(np.exp(z).sum()))).sum()
    return total


@pytest.mark.parametrize("seed", range(3))
def test_modes_are_those_of_a_loop_over_units(seed):
    """Each unit in turn takes the value of lower energy, of two energies computed in full; energy never rises."""
    weights, spec, passed = random_pass(BERNOULLI, seed, scale=2.0)
    exact = [np.asarray(w, np.float64) for w in weights]
    h = [np.asarray(x, np.float64).copy() for x in passed.h]
    energies = [energy_of_bits(exact, spec.dispersions, h)]
    for sweep in range(1, 4):
        for layer in (1, 2):
            for i in range(len(h[layer])):
                both = []
                for value in (0.0, 1.0):
                    h[layer][i] = value
                    both.append(energy_of_bits(exact, spec.dispersions, h))
                h[layer][i] = float(both[1] < both[0])
        energies.append(energy_of_bits(exact, spec.dispersions, h))
        found = iterated_conditional_modes(weights, spec, passed, sweep)
        for x, y in zip(found.h, h, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-6)
    assert np.all(np.diff(energies) <= 1e-9)
    assert float(network.energy(weights, spec, found.h)) == pytest.approx(energies[-1], rel=1e-4)


def test_residuals_divide_but_never_less_than_the_floor():
    e = (jnp.array([1.0, -2.0]), jnp.array([4.0]))
    for residual, divisor in ((2.0, 2.0), (-0.5, -0.5), (0.01, 0.1), (-0.01, -0.1), (0.0, 0.1)):
        found = divide_by_residual(e, jnp.float32(residual), 0.1)
        for x, y in zip(found, e, strict=True):
            np.testing.assert_allclose(x, y / divisor, rtol=1e-6)


def test_divided_eligibilities_approach_the_gradient_of_the_value():
    """With small variances, eligibilities at the modes, divided by the residual, are those of backpropagation."""
    kinds, dispersions = ("gaussian", "gaussian", "gaussian_linear"), (1e-4, 1e-4, 1e-2)
    weights, spec, passed = random_pass((kinds, (3, 5, 4, 1), dispersions), scale=0.5)
    passed = map_gradient_steps(weights, spec, passed, 300, 0.3)
    residual = passed.h[-1][0] - network.output_mean(spec, passed)[0]
    found = divide_by_residual(network.eligibilities(spec, passed), residual, 1e-6)
    deterministic = make_spec(("softplus", "softplus", "linear"), (3, 5, 4, 1), dispersions)
    expected = network.backpropagate(weights, deterministic, passed)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x * dispersions[-1], y, rtol=0.02, atol=1e-3)


def test_a_step_depends_on_the_layers_beside_it_alone():
    """A layer moves by the weights right below and above it."""
    kinds, sizes, dispersions = ("gaussian",) * 3 + ("softmax",), (3, 4, 4, 4, 2), (0.3, 0.5, 0.4, 1.0)
    weights, spec, passed = random_pass((kinds, sizes, dispersions))
    moved = map_gradient_steps(weights, spec, passed, 1, 0.5).h
    for layer in (1, 2, 3):  # activities h^layer, drawn with weights layer - 1
        for elsewhere in range(4):
            after = map_gradient_steps(permute_layer(weights, elsewhere), spec, passed, 1, 0.5).h[layer]
            if elsewhere in (layer - 1, layer):
                assert np.abs(after - moved[layer]).max() > 1e-4
            else:
                np.testing.assert_array_equal(after, moved[layer])


def test_the_order_of_hidden_units_does_not_matter():
    """Hidden units permuted with all their weights: what they learn is permuted, and nothing else."""
    weights, spec, passed = random_pass(GAUSSIAN)
    order = np.array([2, 0, 3, 1])
    permuted = (
        weights[0],
        weights[1][:, order],
        jnp.concatenate([weights[2][:-1][order], weights[2][-1:]]),
    )
    again = network.ForwardPass(
        (*passed.h[:2], passed.h[2][order], passed.h[3]), (passed.z[0], passed.z[1][order], passed.z[2])
    )
    one = network.eligibilities(spec, map_gradient_steps(weights, spec, passed, 5, 0.5))
    other = network.eligibilities(spec, map_gradient_steps(permuted, spec, again, 5, 0.5))
    np.testing.assert_allclose(other[0], one[0], atol=1e-5)
    np.testing.assert_allclose(other[1], one[1][order], atol=1e-5)
    np.testing.assert_allclose(other[2], one[2], atol=1e-5)
