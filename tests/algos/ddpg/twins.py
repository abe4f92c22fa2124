"""Small configs of DDPG and neuron DDPG, random batches, and NumPy twins in float64."""

import jax
import jax.numpy as jnp
import numpy as np

import rgrl_jax as rgrl
from rgrl_jax.algos.ddpg.update import Batch
from rgrl_jax.normalization import space_size

SMALL = {
    "hidden": (5, 4),
    "critic_hidden": (6, 5),
    "max_steps": 6,
    "episodes": 2,
    "batch_size": 4,
    "warmup_steps": 4,
    "replay_capacity": 30,
    "final_init": 0.0,
    "noise": "ou",
    "noise_std": 0.3,
    "activation": "tanh",
}
# Not what is tuned: most tests are of all neurons.
SMALL_NEURONS = SMALL | {"neuron_hidden": (3,), "trained_layers": "all"}
ACTIVATIONS = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}


def small(algo="ddpg", env_id="Pendulum-v1", **overrides):
    """The preset of an environment, cut down."""
    return rgrl.preset(env_id, algo=algo, **((SMALL if algo == "ddpg" else SMALL_NEURONS) | overrides))


def double(tree):
    """A pytree of float64 arrays."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def slope_of(function, x, step=1e-6):
    """Central differences of a function of an array, of the shape of the array."""
    x, out = np.asarray(x, np.float64), np.zeros(np.shape(x))
    for place in np.ndindex(out.shape):
        move = np.zeros_like(x)
        move[place] = step
        out[place] = (function(x + move) - function(x - move)) / (2 * step)
    return out


def batch_of(config, size=7, voltages=None):
    """A batch of random steps, with so many voltages if they are stored."""
    rng = np.random.default_rng(0)
    inputs, outputs = space_size(config.spec.observation), space_size(config.action_space)
    draw = lambda *shape: jnp.asarray(rng.uniform(-1, 1, shape), jnp.float32)  # noqa: E731
    bootstrap = jnp.asarray(rng.integers(0, 2, size), jnp.float32)
    extras = () if voltages is None else draw(size, voltages)
    return Batch(draw(size, inputs), draw(size, outputs), draw(size), draw(size, inputs), bootstrap, extras)


def layers(weights, x, activation, biases=True):
    """Voltages of all layers, the input first."""
    h = [x]
    for i, w in enumerate(weights):
        z = h[-1] @ w[:-1] + w[-1] * biases
        h.append(np.tanh(z) if i == len(weights) - 1 else ACTIVATIONS[activation](z))
    return h


def value(weights, action_layer, x, action):
    """Values ``[B]`` of a critic of the whole action."""
    h = x
    for i, w in enumerate(weights):
        h = np.concatenate([h, action], axis=-1) if i == action_layer else h
        h = h @ w[:-1] + w[-1]
        h = h if i == len(weights) - 1 else np.maximum(h, 0)
    return h[..., 0]
