"""Settings of the control board against NumPy: losses, optimisers, weight decay, steps of the plan that count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny_config

import rgrl_jax as rgrl
from rgrl_jax import learning
from rgrl_jax.algos.rgrl import acting as algo
from rgrl_jax.algos.rgrl.parts import draw_members

RNG = np.random.default_rng(0)
PREDICTED, TARGET = RNG.uniform(-0.9, 0.9, (5, 3)), RNG.choice([-1.0, 1.0], (5, 3))


def huber(x):
    return np.where(np.abs(x) <= 1, 0.5 * x**2, np.abs(x) - 0.5)


TWINS = {
    "mse": lambda p, t: (p - t) ** 2,
    "huber": lambda p, t: huber(2 * p - t),
    "cross_entropy": lambda p, t: -((1 + t) / 2 * np.log((1 + p) / 2) + (1 - t) / 2 * np.log((1 - p) / 2)),
}


@pytest.mark.parametrize("name", learning.LOSSES)
def test_losses(name):
    """Entry by entry; Huber's both branches."""
    predicted = 2 * PREDICTED if name == "huber" else PREDICTED
    loss = learning.LOSSES[name](jnp.float32(predicted), jnp.float32(TARGET))
    np.testing.assert_allclose(loss, TWINS[name](PREDICTED, TARGET), rtol=1e-5, atol=1e-6)


def test_cross_entropy_of_certain_bits_is_finite():
    """A saturated head that is wrong costs much, not infinitely much."""
    loss = learning.LOSSES["cross_entropy"](jnp.float32([1.0, -1.0, 1.0]), jnp.float32([-1.0, 1.0, 1.0]))
    assert np.isfinite(loss).all() and loss[0] > 10 and loss[1] > 10 and loss[2] < 1e-5


def test_weight_decay_is_added_to_the_gradient():
    """One step of SGD: w - rate * (g + decay * w)."""
    optimizer = learning.make_optimizer("sgd", 0.1, 1e9, 0.5)
    weights, gradient = jnp.float32([1.0, -2.0]), jnp.float32([0.3, 0.1])
    updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
    np.testing.assert_allclose(updates, -0.1 * (np.array([0.3, 0.1]) + 0.5 * np.array([1.0, -2.0])), rtol=1e-6)


@pytest.mark.parametrize("name", learning.OPTIMIZERS)
def test_every_optimiser_goes_downhill(name):
    """Fifty small steps on a bowl, with traced settings."""

    @jax.jit
    def descend(rate, decay):
        optimizer = learning.make_optimizer(name, rate, 1.0, decay)
        value = jax.value_and_grad(lambda w: jnp.square(w - 1.0).sum())

        def step(carry, _):
            weights, state = carry
            loss, gradient = value(weights)
            updates, state = optimizer.update(gradient, state, weights)
            return (weights + updates, state), loss

        start = jnp.float32([2.0, -1.0])
        return jax.lax.scan(step, (start, optimizer.init(start)), length=50)[1]

    loss = np.asarray(descend(0.02, 1e-3))
    assert np.isfinite(loss).all() and loss[-1] < loss[0]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_weighted_plan_error(reduction):
    """Each step's mean over entries times its weight, summed or averaged over steps."""
    weights = np.array([0.0, 1.0, 2.0, 0.5, 3.0])
    error = ((PREDICTED - 0.7) ** 2).mean(axis=1) * weights
    expected = error.sum() if reduction == "sum" else error.mean()
    value = rgrl.plan_error(jnp.float32(PREDICTED), 0.7, reduction, jnp.float32(weights))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_step_weights():
    """All alike by default; the last alone; growing by a factor."""
    config = rgrl.RGRLConfig(horizon=4)
    np.testing.assert_array_equal(algo.step_weights(config), np.ones(4))
    np.testing.assert_array_equal(algo.step_weights(config.replace(plan_loss_steps="last")), [0, 0, 0, 1])
    growing = algo.step_weights(config.replace(plan_loss_growth=1.1))
    np.testing.assert_allclose(growing, 1.1 ** np.arange(4), rtol=1e-6)


@pytest.mark.parametrize("name", ["float32", "tf32", "bf16"])
def test_precision_reaches_every_product(name):
    """Of planning, by XLA and by the kernel, and of learning; weights are drawn twice without it."""
    shown = {"float32": "(Precision.HIGHEST, Precision.HIGHEST)", "tf32": "(Precision.HIGH, Precision.HIGH)"}
    key = jax.random.key(0)
    for kernel in ("off", "on"):
        config = tiny_config(precision=name, plan_kernel=kernel, episodes=1, warmup_episodes=0)
        drawn = str(jax.make_jaxpr(functools.partial(draw_members, config=config))(key)).count("dot_general[")
        program = str(jax.make_jaxpr(functools.partial(rgrl.train, config=config))(key))
        products = program.count("dot_general[") - 2 * drawn
        assert products > 10 and ("pallas_call" in program) == (kernel == "on")
        assert program.count(f"precision={shown.get(name, 'BF16_BF16_F32')}") == products


def test_cross_entropy_needs_bits():
    """The loss of bits is refused for numbers."""
    with pytest.raises(ValueError, match="loss = 'cross_entropy' needs"):
        rgrl.RGRLConfig(loss="cross_entropy").validate()
    bits = dict(head="tanh", state_encoding="thermometer", reward_encoding="thermometer")
    rgrl.RGRLConfig(loss="cross_entropy", **bits).validate()
