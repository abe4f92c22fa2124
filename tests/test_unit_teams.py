"""Teams of units: the rules, against gradients, enumeration, brute force, finite differences and NumPy in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax.algos.unit_teams import ascent, network, relaxation
from rgrl_jax.algos.unit_teams.ascent import Net, Rates
from rgrl_jax.algos.unit_teams.network import Design, Pass
from rgrl_jax.algos.unit_teams.units import UNITS

DRAWING = ("bernoulli", "gaussian", "softmax", "softmax_zero", "gaussian_linear")
Z = np.array([-1.3, 0.2, 0.9], np.float32)
SPREAD = 0.7
ACTIVITIES = {
    "bernoulli": [[0, 1, 1], [1, 0, 0]],
    "gaussian": [[0.3, -0.5, 2.0]],
    "gaussian_linear": [[0.3, -0.5, 2.0]],
    "softmax": np.eye(3),
    "softmax_zero": np.eye(4),
}


# Units.


@pytest.mark.parametrize("kind", DRAWING)
def test_eligibility_is_the_gradient_of_the_log_probability(kind):
    for h in jnp.asarray(ACTIVITIES[kind], jnp.float32):
        expected = jax.grad(UNITS[kind].log_prob, argnums=1)(h, Z, SPREAD)
        np.testing.assert_allclose(UNITS[kind].eligibility(h, Z, SPREAD), expected, atol=1e-5)
        assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("kind", ["bernoulli", "softmax", "softmax_zero"])
def test_probabilities_are_those_of_the_textbook(kind):
    """NumPy in float64, over all that can happen; the probabilities sum to 1."""
    z = Z.astype(np.float64) / SPREAD
    if kind == "bernoulli":
        possible, p = list(itertools.product((0.0, 1.0), repeat=3)), 1 / (1 + np.exp(-z))
        expected = [np.prod(np.where(h, p, 1 - p)) for h in np.array(possible)]
    else:
        possible, z = np.eye(3 + (kind == "softmax_zero")), np.append(z, 0.0) if kind == "softmax_zero" else z
        expected = np.exp(z) / np.exp(z).sum()
    found = [float(jnp.exp(UNITS[kind].log_prob(jnp.asarray(h), Z, SPREAD))) for h in possible]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert sum(found) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "gaussian_linear"])
def test_densities_are_those_of_the_textbook(kind):
    mean = np.log1p(np.exp(Z.astype(np.float64))) if kind == "gaussian" else Z
    h = np.array([0.3, -0.5, 2.0])
    expected = (-0.5 * (h - mean) ** 2 / SPREAD - 0.5 * np.log(2 * np.pi * SPREAD)).sum()
    assert float(UNITS[kind].log_prob(jnp.asarray(h), Z, SPREAD)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "gaussian_linear", "relu", "softplus", "linear"])
def test_slope_is_the_derivative_of_the_mean(kind):
    expected = jnp.diag(jax.jacobian(UNITS[kind].mean)(Z, SPREAD))
    np.testing.assert_allclose(UNITS[kind].slope(Z, SPREAD), expected, atol=1e-6)


@pytest.mark.parametrize("kind", DRAWING)
def test_draws_follow_the_law(kind):
    """Means of many draws, and for Gaussian units their variance."""
    unit = UNITS[kind]
    u = network.draw_uniform(jax.random.key(0), (40_000, unit.draws(3)))
    drawn = np.asarray(jax.vmap(lambda u: unit.draw(u, Z, SPREAD))(u))
    np.testing.assert_allclose(drawn.mean(axis=0), unit.mean(Z, SPREAD), atol=0.02)
    if kind.startswith("gaussian"):
        np.testing.assert_allclose(drawn.var(axis=0), SPREAD, rtol=0.03)
    else:
        assert set(np.unique(drawn)) == {0.0, 1.0}


@pytest.mark.parametrize("kind", DRAWING)
def test_extreme_draws_are_finite(kind):
    """The least and the greatest number that can be drawn."""
    for u in (2.0**-24, np.nextafter(np.float32(1), np.float32(0))):
        assert np.isfinite(UNITS[kind].draw(jnp.full(UNITS[kind].draws(3), u, jnp.float32), Z, SPREAD)).all()


# Networks.


def team(kinds, sizes, spreads, seed=0, scale=1.0):
    """Random weights of a network, its design and an input."""
    key = jax.random.key(seed)
    weights = network.init_weights(key, sizes, 0.3, zero_class=kinds[-1] == "softmax_zero")
    x = jax.random.normal(jax.random.fold_in(key, 99), (sizes[0],))
    return tuple(scale * w for w in weights), Design(kinds, spreads), x


GAUSSIAN = (("gaussian", "gaussian", "softmax"), (3, 5, 4, 2), (0.3, 0.5, 2.0))
BERNOULLI = (("bernoulli", "bernoulli", "softmax_zero"), (3, 5, 4, 3), (1.0, 0.8, 2.0))


def passed(kind, seed=0, scale=1.0):
    weights, design, x = team(*kind, seed, scale)
    u = network.draw_uniform(jax.random.key(seed + 1), (network.num_draws(weights, design),))
    return weights, design, network.forward(u, weights, design, x)


def test_weights_are_drawn_within_their_limits():
    """sqrt(6 / (n_in + n_out)) for weights, whatever was left out of the output; biases have their own limit."""
    weights = network.init_weights(jax.random.key(0), (300, 200, 4), 0.01, zero_class=True)
    assert [w.shape for w in weights] == [(301, 200), (201, 3)]
    for w, limit in zip(weights, ((6 / 500) ** 0.5, (6 / 204) ** 0.5), strict=True):
        assert 0.98 * limit < np.abs(w[:-1]).max() <= limit
        assert 0 < np.abs(w[-1]).max() <= 0.01


def test_forward_is_a_loop_over_units():
    """NumPy, one unit after the other, on the same random numbers."""
    weights, design, x = team(*BERNOULLI)
    u = np.asarray(network.draw_uniform(jax.random.key(5), (network.num_draws(weights, design),)))
    found = network.forward(jnp.asarray(u), weights, design, x)
    h, used = np.asarray(x, np.float64), 0
    for i, (w, spread) in enumerate(zip(weights, design.spreads, strict=True)):
        w = np.asarray(w, np.float64)
        z = np.array([sum(h[j] * w[j, k] for j in range(len(h))) + w[-1, k] for k in range(w.shape[1])])
        np.testing.assert_allclose(found.z[i], z, atol=1e-5)
        if i < 2:
            h = np.array([float(u[used + k] < 1 / (1 + np.exp(-z[k] / spread))) for k in range(len(z))])
            used += len(z)
        else:
            score = np.append(z, 0.0) / spread - np.log(-np.log(u[used:].astype(np.float64)))
            h = np.eye(len(score))[score.argmax()]
        np.testing.assert_array_equal(found.h[i + 1], h)


@pytest.mark.parametrize("kind", [GAUSSIAN, BERNOULLI], ids=["gaussian", "bernoulli"])
def test_energy_is_minus_the_sum_of_log_probabilities(kind):
    weights, design, now = passed(kind)
    layers = zip(now.h[1:], now.z, *design, strict=True)
    expected = -sum(float(UNITS[kind].log_prob(h, z, spread)) for h, z, kind, spread in layers)
    assert float(network.energy(weights, design, now.h)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "kinds",
    [("bernoulli", "bernoulli", "softmax_zero"), ("relu", "relu", "softmax"), ("softplus", "softplus", "linear")],
    ids=lambda kinds: kinds[0],
)
def test_passed_down_eligibilities_are_autodiff(kinds):
    """Of log pi through straight-through Bernoulli units, of log pi through relu, and of the value of a critic."""
    weights, design, now = passed((kinds, (3, 5, 4, 3 if kinds[-1] != "linear" else 1), (0.9, 0.8, 2.0)), seed=3)

    def objective(weights):
        h = now.h[0]
        for i, w in enumerate(weights[:-1]):
            unit = UNITS[kinds[i]]
            mean = unit.mean(network.drive(w, h), design.spreads[i])
            h = mean + jax.lax.stop_gradient(now.h[i + 1] - mean)
        z = network.drive(weights[-1], h)
        return z[0] if kinds[-1] == "linear" else UNITS[kinds[-1]].log_prob(now.h[-1], z, design.spreads[-1])

    e = network.backpropagated(weights, design, now)
    found = [ascent.outer(h, own) for h, own in zip(now.h, e, strict=False)]
    for x, y in zip(found, jax.grad(objective)(weights), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)
        assert np.abs(y).max() > 1e-3


def test_expected_reinforce_update_is_the_gradient():
    """All activities and actions of a tiny network, weighted by their probabilities, against autodiff."""
    kinds, reward = ("bernoulli", "softmax"), jnp.array([1.0, -2.0, 0.5])
    weights, design, x = team(kinds, (2, 2, 3), (0.8, 1.5), seed=3)
    possible = [(jnp.array(h), jnp.eye(3)[a]) for h in itertools.product((0.0, 1.0), repeat=2) for a in range(3)]

    def probability(weights, h, a):
        return jnp.exp(-network.energy(weights, design, (x, h, a)))

    def expected_reward(weights):
        return sum(probability(weights, h, a) * (reward * a).sum() for h, a in possible)

    total = [jnp.zeros_like(w) for w in weights]
    for h, a in possible:
        now = network.refreshed(weights, (x, h, a))
        e = network.eligibilities(design, now)
        for i in range(2):
            total[i] += probability(weights, h, a) * (reward * a).sum() * ascent.outer(now.h[i], e[i])
    for found, exact in zip(total, jax.grad(expected_reward)(weights), strict=True):
        np.testing.assert_allclose(found, exact, atol=1e-5)
        assert np.abs(exact).max() > 0.01


# Relaxation.


def test_a_step_of_relaxation_follows_the_gradient_of_the_energy():
    weights, design, now = passed(GAUSSIAN)
    gradient = jax.grad(lambda hidden: network.energy(weights, design, (now.h[0], *hidden, now.h[-1])))(now.h[1:-1])
    moved = relaxation.relax(weights, design, now, 1, 0.4)
    for i in range(2):
        expected = now.h[i + 1] - 0.4 * design.spreads[i] * gradient[i]
        np.testing.assert_allclose(moved.h[i + 1], expected, atol=1e-5)
    np.testing.assert_array_equal(moved.h[0], now.h[0])
    np.testing.assert_array_equal(moved.h[-1], now.h[-1])


@pytest.mark.parametrize("seed", range(4))
def test_energy_never_rises_in_relaxation(seed):
    """With small steps, until nothing moves any more."""
    weights, design, now = passed(GAUSSIAN, seed, scale=1.5)
    energies = [float(network.energy(weights, design, now.h))]
    step = jax.jit(lambda now: relaxation.relax(weights, design, now, 1, 0.1))
    for _ in range(40):
        now = step(now)
        energies.append(float(network.energy(weights, design, now.h)))
    assert np.all(np.diff(energies) <= 1e-5)
    assert energies[-1] < energies[0] - 0.1


@pytest.mark.parametrize("output", ["softmax", "gaussian_linear"])
def test_a_fixed_point_obeys_the_recursion_of_backpropagation(output):
    """``e^l = f'(z^l) (W^{l+1} e^{l+1})``, at the fixed point and not before it."""
    weights, design, now = passed((("gaussian", "gaussian", output), GAUSSIAN[1], GAUSSIAN[2]), scale=0.7)

    def gap(now):
        found, expected = network.eligibilities(design, now), network.backpropagated(weights, design, now)
        return max(float(jnp.abs(x - y).max()) for x, y in zip(found, expected, strict=True))

    assert gap(now) > 0.1
    assert gap(relaxation.relax(weights, design, now, 400, 0.3)) < 1e-4


def test_no_steps_of_relaxation_are_reinforce():
    weights, design, now = passed(GAUSSIAN)
    found = network.eligibilities(design, relaxation.relax(weights, design, now, 0, 0.5))
    for x, y in zip(found, network.eligibilities(design, now), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def energy_of_bits(weights, spreads, h):
    """NumPy in float64: of two Bernoulli layers below a softmax whose last logit is 0."""
    total = 0.0
    for i, w in enumerate(weights):
        z = (h[i] @ w[:-1] + w[-1]) / spreads[i]
        if i < 2:
            total -= (h[i + 1] * z - np.log1p(np.exp(z))).sum()
        else:
            z = np.append(z, 0.0)
            total -= (h[i + 1] * (z - np.log(np.exp(z).sum()))).sum()
    return total


@pytest.mark.parametrize("seed", range(3))
def test_modes_are_those_of_a_loop_over_units(seed):
    """Each unit in turn takes the value of lower energy, of two energies computed in full; energy never rises."""
    weights, design, now = passed(BERNOULLI, seed, scale=2.0)
    exact = [np.asarray(w, np.float64) for w in weights]
    h = [np.asarray(x, np.float64).copy() for x in now.h]
    energies = [energy_of_bits(exact, design.spreads, h)]
    for sweep in range(1, 4):
        for layer in (1, 2):
            for i in range(len(h[layer])):
                both = []
                for value in (0.0, 1.0):
                    h[layer][i] = value
                    both.append(energy_of_bits(exact, design.spreads, h))
                h[layer][i] = float(both[1] < both[0])
        energies.append(energy_of_bits(exact, design.spreads, h))
        found = relaxation.settle_modes(weights, design, now, sweep)
        for x, y in zip(found.h, h, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-6)
    assert np.all(np.diff(energies) <= 1e-9)
    assert float(network.energy(weights, design, found.h)) == pytest.approx(energies[-1], rel=1e-4)


def test_the_gate_divides_by_the_residual_but_never_by_less_than_the_guard():
    e = (jnp.array([1.0, -2.0]), jnp.array([4.0]))
    for residual, divisor in ((2.0, 2.0), (-0.5, -0.5), (0.01, 0.1), (-0.01, -0.1), (0.0, 0.1)):
        found = relaxation.gated(e, jnp.float32(residual), 0.1)
        for x, y in zip(found, e, strict=True):
            np.testing.assert_allclose(x, y / divisor, rtol=1e-6)


def test_a_gated_critic_approaches_the_gradient_of_its_value():
    """With small variances, relaxed and gated eligibilities are those of backpropagation over the output's."""
    kinds, spreads = ("gaussian", "gaussian", "gaussian_linear"), (1e-4, 1e-4, 1e-2)
    weights, design, now = passed((kinds, (3, 5, 4, 1), spreads), scale=0.5)
    now = relaxation.relax(weights, design, now, 300, 0.3)
    residual = now.h[-1][0] - network.output_mean(design, now)[0]
    found = relaxation.gated(network.eligibilities(design, now), residual, 1e-6)
    deterministic = Design(("softplus", "softplus", "linear"), spreads)
    expected = network.backpropagated(weights, deterministic, now)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x * spreads[-1], y, rtol=0.02, atol=1e-3)


# Learning.

PLAIN = Rates((0.3, 0.2, 0.1), (0.3, 0.2, 0.1), 1.0, "ascent", 1e-8, 1000.0)


def learning_problem(n=2, sizes=(3, 5, 4, 2), seed=0):
    """A network, traces of ``n`` environments and their signals, and what each counts."""
    draw = np.random.default_rng(seed)
    shapes = [(a + 1, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    weights = tuple(jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in shapes)
    traces = tuple(jnp.asarray(draw.normal(size=(n, *shape)), jnp.float32) for shape in shapes)
    signal = jnp.asarray(draw.normal(size=n), jnp.float32)
    return ascent.init_net(weights, "ascent"), traces, signal, jnp.full(n, 1.0 / n)


def test_rewards_of_units_are_changes_of_squared_norms():
    """Finite differences of ``sum_j W_ij^2`` in float64; biases are no outgoing weights."""
    draw = np.random.default_rng(0)
    weights, change = draw.normal(size=(5, 3)), draw.normal(size=(2, 5, 3))
    found = ascent.unit_rewards(jnp.asarray(weights, jnp.float32), jnp.asarray(change, jnp.float32), 2.0)
    assert found.shape == (2, 4)
    step = 1e-6
    for n in range(2):
        for i in range(4):
            there, back = (((weights[i] + sign * step * change[n, i]) ** 2).sum() for sign in (1, -1))
            assert float(found[n, i]) == pytest.approx((there - back) / (2 * step), rel=1e-4, abs=1e-5)


def test_rewards_by_another_norm():
    weights, change = np.array([[0.5, -2.0], [0.0, 0.0]]), np.array([[[1.0, 1.0], [9.0, 9.0]]])
    found = ascent.unit_rewards(jnp.asarray(weights), jnp.asarray(change), 3.0)
    assert float(found[0, 0]) == pytest.approx(3 * 0.25 * 1.0 - 3 * 4.0 * 1.0)


@pytest.mark.parametrize("delay", [False, True])
def test_weight_maximisation_is_a_loop(delay):
    """NumPy in float64 from the top down, per environment and unit, with weights that have changed already."""
    net, traces, signal, counts = learning_problem()
    draw = np.random.default_rng(7)
    before = tuple(jnp.asarray(draw.normal(size=(2, n)), jnp.float32) for n in (5, 4))
    found, rewards = ascent.ascend_by_weights(
        net, traces, signal, counts, jnp.int32(0), PLAIN, norm=2.0, delayed=before if delay else None
    )
    weights = [np.asarray(w, np.float64) for w in net.weights]
    reward = {(n, 2): [float(signal[n])] * 2 for n in range(2)}
    for layer in (2, 1, 0):
        changes = []
        for n in range(2):
            told = np.asarray(before[layer])[n] if delay and layer < 2 else np.array(reward[n, layer])
            changes.append(np.asarray(traces[layer], np.float64)[n] * told[None, :])
        weights[layer] = weights[layer] + PLAIN.start[layer] * (changes[0] + changes[1]) / 2
        for n in range(2):
            below = range(weights[layer].shape[0] - 1)
            reward[n, layer - 1] = [2 * (weights[layer][i] * changes[n][i]).sum() for i in below]
    for x, y in zip(found.weights, weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)
    for layer in (0, 1):
        np.testing.assert_allclose(rewards[layer], [reward[n, layer] for n in range(2)], rtol=1e-4, atol=1e-4)


def test_the_same_scalar_for_all_is_a_loop():
    net, traces, signal, _ = learning_problem()
    counts = jnp.array([1.0, 0.0])  # the second environment has ended
    found = ascent.ascend_globally(net, traces, signal, counts, jnp.int32(0), PLAIN)
    for i in range(3):
        expected = net.weights[i] + PLAIN.start[i] * signal[0] * traces[i][0]
        np.testing.assert_allclose(found.weights[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("until", [3.0, 1000.0])
def test_adam_is_the_published_one_with_a_switch(until):
    """NumPy in float64 over six updates of falling rate; corrections end at update ``until``."""
    draw = np.random.default_rng(0)
    weights, gradients = draw.normal(size=(3, 2)), draw.normal(size=(6, 3, 2))
    rates = Rates((0.1,), (0.02,), 4.0, "adam", 1e-8, until)
    net = ascent.init_net((jnp.asarray(weights, jnp.float32),), "adam")
    m = v = np.zeros((3, 2))
    for t, gradient in enumerate(gradients, start=1):
        net = ascent.ascend(net, 0, jnp.asarray(gradient, jnp.float32), jnp.int32(t - 1), rates)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        corrected = t < until
        m_hat, v_hat = (m / (1 - 0.9**t), v / (1 - 0.999**t)) if corrected else (m, v)
        rate = 0.1 + (0.02 - 0.1) * min((t - 1) / 4, 1)
        weights = weights + rate * m_hat / (np.sqrt(v_hat) + 1e-8)
        np.testing.assert_allclose(net.weights[0], weights, rtol=1e-4, atol=1e-5)


# Locality: what a layer learns does not change with what it may not see.


def changed(weights, layer, seed=9):
    """The same network with other weights in one layer."""
    other = jnp.asarray(np.random.default_rng(seed).permutation(np.asarray(weights[layer]).ravel()))
    return tuple(other.reshape(w.shape) if i == layer else w for i, w in enumerate(weights))


def test_a_reinforce_unit_sees_its_own_layer_and_the_signal():
    weights, design, now = passed(BERNOULLI)
    own = network.eligibilities(design, now)
    for layer in range(3):
        for elsewhere in set(range(3)) - {layer}:
            # What it reads and draws stays as it was, only the weights of the other layer are permuted.
            other = network.refreshed(changed(weights, elsewhere), now.h)
            np.testing.assert_array_equal(network.eligibilities(design, other)[layer], own[layer])
        there = network.refreshed(changed(weights, layer), now.h)
        assert np.abs(network.eligibilities(design, there)[layer] - own[layer]).max() > 1e-3


def test_a_relaxing_unit_sees_the_layers_beside_it():
    """In a step of relaxation a layer moves by what is right below and above it."""
    kinds, sizes, spreads = ("gaussian",) * 3 + ("softmax",), (3, 4, 4, 4, 2), (0.3, 0.5, 0.4, 1.0)
    weights, design, now = passed((kinds, sizes, spreads))
    moved = relaxation.relax(weights, design, now, 1, 0.5).h
    for layer in (1, 2, 3):  # activities h^layer, drawn by weights layer - 1
        for elsewhere in range(4):
            after = relaxation.relax(changed(weights, elsewhere), design, now, 1, 0.5).h[layer]
            if elsewhere in (layer - 1, layer):
                assert np.abs(after - moved[layer]).max() > 1e-4
            else:
                np.testing.assert_array_equal(after, moved[layer])


def test_a_weight_maximising_unit_sees_the_change_of_its_outgoing_weights():
    """With a delay the layers learn side by side: each from its own trace and the reward it was told."""
    net, traces, signal, counts = learning_problem()
    told = tuple(jnp.ones((2, n)) for n in (5, 4))

    def learnt(net, traces):
        return ascent.ascend_by_weights(net, traces, signal, counts, jnp.int32(0), PLAIN, norm=2.0, delayed=told)

    after, rewards = learnt(net, traces)
    for elsewhere in range(3):
        other, other_rewards = learnt(Net(changed(net.weights, elsewhere), ()), changed(traces, elsewhere))
        for layer in set(range(3)) - {elsewhere}:
            np.testing.assert_array_equal(other.weights[layer], after.weights[layer])
        for layer in range(2):  # and the next reward is of the layer above alone
            same = np.array_equal(other_rewards[layer], rewards[layer])
            assert same == (elsewhere != layer + 1)


def test_without_delay_a_reward_comes_from_above_only():
    """Permuted weights and traces of a layer change what is learnt below it, never above."""
    net, traces, signal, counts = learning_problem()

    def learnt(net, traces):
        return ascent.ascend_by_weights(net, traces, signal, counts, jnp.int32(0), PLAIN, norm=2.0)[0].weights

    after = learnt(net, traces)
    for elsewhere in range(3):
        other = learnt(Net(changed(net.weights, elsewhere), ()), changed(traces, elsewhere))
        for layer in set(range(3)) - {elsewhere}:
            assert np.array_equal(other[layer], after[layer]) == (layer > elsewhere)


def test_a_pass_is_a_pass_whatever_the_order_of_hidden_units():
    """Hidden units renamed, with all their weights: what every unit learns is renamed, and nothing else."""
    weights, design, now = passed(GAUSSIAN)
    order = np.array([2, 0, 3, 1])
    renamed = (
        weights[0],
        weights[1][:, order],
        jnp.concatenate([weights[2][:-1][order], weights[2][-1:]]),
    )
    again = Pass((*now.h[:2], now.h[2][order], now.h[3]), (now.z[0], now.z[1][order], now.z[2]))
    one = network.eligibilities(design, relaxation.relax(weights, design, now, 5, 0.5))
    other = network.eligibilities(design, relaxation.relax(renamed, design, again, 5, 0.5))
    np.testing.assert_allclose(other[0], one[0], atol=1e-5)
    np.testing.assert_allclose(other[1], one[1][order], atol=1e-5)
    np.testing.assert_allclose(other[2], one[2], atol=1e-5)
