"""Small networks with random weights, for the tests."""

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.algos.unit_teams import network
from rgrl_jax.algos.unit_teams.network import NetworkSpec
from rgrl_jax.algos.unit_teams.units import UNITS

GAUSSIAN = (("gaussian", "gaussian", "softmax"), (3, 5, 4, 2), (0.3, 0.5, 2.0))
BERNOULLI = (("bernoulli", "bernoulli", "softmax_zero"), (3, 5, 4, 3), (1.0, 0.8, 2.0))


def make_spec(kinds, sizes, dispersions):
    """A spec from the names of its units."""
    return NetworkSpec(sizes, tuple(UNITS[kind] for kind in kinds), dispersions)


def random_network(kinds, sizes, dispersions, seed=0, scale=1.0):
    """Random weights, their spec and an input."""
    key, spec = jax.random.key(seed), make_spec(kinds, sizes, dispersions)
    x = jax.random.normal(jax.random.fold_in(key, 99), (sizes[0],))
    return tuple(scale * w for w in network.init_weights(key, spec, 0.3)), spec, x


def random_pass(kind, seed=0, scale=1.0):
    """Random weights, their spec and a forward pass."""
    weights, spec, x = random_network(*kind, seed, scale)
    u = network.draw_uniform(jax.random.key(seed + 1), (spec.num_draws,))
    return weights, spec, network.forward(weights, spec, u, x)


def permute_layer(weights, layer, seed=9):
    """The same weights with those of one layer permuted."""
    other = jnp.asarray(np.random.default_rng(seed).permutation(np.asarray(weights[layer]).ravel()))
    return tuple(other.reshape(w.shape) if i == layer else w for i, w in enumerate(weights))
