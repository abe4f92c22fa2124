"""Optimizers of optax by name."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rgrl_jax import optimizers


def test_only_optimizers_are_named():
    """The usual ones, and neither their parts nor those that need more than a gradient and a rate."""
    names = optimizers.optimizer_names()
    assert {"adam", "adamw", "adabelief", "lamb", "lion", "rmsprop", "sgd"} <= set(names)
    assert not {"scale_by_learning_rate", "lbfgs", "chain", "polyak_sgd", "clip"} & set(names)


@pytest.mark.parametrize("name", optimizers.optimizer_names())
def test_every_optimizer_takes_a_traced_rate(name):
    """Steps of any rate inside one program; no rate takes no step, and the error falls at a small one."""

    @jax.jit
    def minimise(rate):
        start = {"x": jnp.array([0.5, -2.0]), "y": jnp.ones((2, 3))}
        optimizer = optimizers.make_optimizer(name, rate)

        def error(params):
            return sum(jnp.square(x - 0.1).sum() for x in jax.tree.leaves(params))

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(error)(params), state, params)
            return (optax.apply_updates(params, updates), state), error(params)

        return jax.lax.scan(step, (start, optimizer.init(start)), length=20)[1]

    still, moving = np.asarray(minimise(0.0)), np.asarray(minimise(1e-3))
    assert np.isfinite(moving).all() and moving[-1] < moving[0]
    if name not in ("fromage", "rprop"):  # one shrinks weights, the other has a least step
        np.testing.assert_allclose(still, still[0], rtol=1e-5)


def test_numbers_are_those_of_optax():
    """The first step of Adam is as long as its rate."""
    optimizer = optimizers.make_optimizer("adam", 0.05)
    updates, _ = optimizer.update(jnp.array([3.0, -1e-3]), optimizer.init(jnp.zeros(2)))
    np.testing.assert_allclose(updates, [-0.05, 0.05], rtol=1e-4)


@pytest.mark.parametrize("name", ["newton", "scale_by_adam", "Adam", "lbfgs"])
def test_what_is_none_is_refused(name):
    """In one sentence with the nearest names."""
    with pytest.raises(ValueError, match=f"{name!r} is no optimizer of optax .*; nearest: .*ad|nearest"):
        optimizers.make_optimizer(name, 0.1)


def test_examples_run():
    """Those of the docstrings."""
    assert doctest.testmod(optimizers) == doctest.TestResults(0, 1)
