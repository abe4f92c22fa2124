"""Profiles and compiled programs; no time is tested."""

import jax.numpy as jnp

from benchmarks import timing


def test_time_outside_products():
    """Nothing but products, about none, and a mixture of a fusion and a product."""
    x = jnp.ones((400, 400))
    shares = []
    for function in (lambda x: jnp.sin(x) + 1.0, lambda x: jnp.sin(x @ x), lambda x: x @ x @ x @ x):
        program = timing.build(function, x)
        shares.append(timing.time_outside_products(program, x))
    nothing, mixed, all_products = shares
    assert nothing == 1.0 and 0.0 < mixed < 1.0 and all_products < 0.2
