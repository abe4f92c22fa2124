"""Critics of neurons against single neurons in NumPy."""

import jax
import numpy as np
import pytest
from algos.ddpg.twins import double, slope_of

from rgrl_jax.algos.neuron_ddpg import critics

RNG = np.random.default_rng(0)


def tanh_network(weights, h):
    for i, w in enumerate(weights):
        h = h @ w[:-1] + w[-1]
        h = h if i == len(weights) - 1 else np.tanh(h)
    return h[0]


def values(params, kind, v, a):
    """Values ``[k]`` of one sample, neuron by neuron."""
    if kind == "layer":
        return np.array([tanh_network(params, np.concatenate([v, a]))])
    found = []
    for n in range(len(a)):
        own = jax.tree.map(lambda x, n=n: x[n], params)
        if kind == "mlp":
            found.append(tanh_network(own, np.append(v, a[n])))
            continue
        q = own["state"] @ v + own["action"] * a[n]
        if kind == "bilinear":
            q += a[n] * (own["product"] @ v) + own["square"] * a[n] ** 2 + v @ own["pairs"] @ v
        found.append(q)
    return np.array(found)


@pytest.mark.parametrize("kind", ["mlp", "linear", "bilinear", "layer"])
def test_critics_of_neurons(kind):
    """Values, and slopes by a neuron's own voltage by central differences."""
    params = critics.init_critics(jax.random.key(0), kind, 5, 4, (3, 3))
    v, a = (RNG.normal(size=(6, n)).astype(np.float32) for n in (5, 4))
    found, slopes = (
        jax.jit(f, static_argnums=1)(params, kind, v, a) for f in (critics.q_values, critics.action_gradients)
    )
    exact = double(params)
    for i in range(6):
        np.testing.assert_allclose(found[i], values(exact, kind, v[i], a[i]), rtol=1e-3, atol=1e-5)
        slope = slope_of(lambda a, i=i: values(exact, kind, v[i], a).sum(), a[i])
        np.testing.assert_allclose(slopes[i], slope, rtol=1e-3, atol=1e-5)
