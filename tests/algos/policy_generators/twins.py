"""Small policy generators, and what they do in NumPy, in float64, one number after the other."""

from itertools import pairwise

import jax
import numpy as np

from rgrl_jax.algos.policy_generators.commands import return_range
from rgrl_jax.algos.policy_generators.policy import layer_sizes
from rgrl_jax.algos.presets import preset

SMALL = {
    "hidden": (4,),
    "tile_size": 2,
    "embedding_size": 3,
    "generator_hidden": (5,),
    "evaluator_hidden": (5,),
    "num_probes": 3,
    "max_steps": 6,
    "episodes": 3,
    "warmup_episodes": 1,
    "batch_size": 4,
    "generator_updates": 2,
    "evaluator_updates": 3,
    "num_buckets": 1000,
    "num_buckets_kept": 8,
    "bucket_size": 2,
    "when_full": "reject",
    "overflow_bucket": "append",
    "rank_weight": 0.3,
    "capacity": 7,
    "warmup": "generated",
    "command": "best",
    "low_command_noise": 1.0,
}


def small(algorithm="udrlpg", env_id="Pendulum-v1", **overrides):
    """The tuned preset of an environment, cut down."""
    return preset(env_id, algo=algorithm, **(SMALL | overrides))


def double(tree):
    """The same arrays in NumPy's float64."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def relu_network(weights, x):
    """Outputs of a network of `rgrl_jax.mlp`."""
    for w in weights[:-1]:
        x = np.maximum(x @ w[:-1] + w[-1], 0)
    return x @ weights[-1][:-1] + weights[-1][-1]


def generate(layers, sizes, tile_size, output_scale, command):
    """Every weight where the layout says, one after the other."""
    vector, last = [], len(sizes) - 2
    for at, (layer, (inputs, outputs)) in enumerate(zip(layers, pairwise(sizes), strict=True)):
        columns, rows = inputs if at == 0 else tile_size, outputs if at == last else tile_size
        w, b = np.zeros((outputs, inputs)), np.zeros(outputs)
        for i in range(inputs // columns):
            for o in range(outputs // rows):
                x = np.append(layer.embedding[i, o], command)
                block, bias = relu_network(layer.weights, x), relu_network(layer.biases, x)
                for p in range(rows):
                    b[o * rows + p] += bias[p] / (inputs // columns)
                    for q in range(columns):
                        w[o * rows + p, i * columns + q] = block[p * columns + q]
        factor = output_scale / np.sqrt(inputs) if output_scale else 1.0
        vector += [*(factor * w).ravel(), *(factor * b)]
    return np.array(vector)


def make_policies(layers, returns, config):
    """Policies for commands, on the scale of the algorithm."""
    low, high = commands_between(config)
    offset = low if config.algorithm == "udrlpg" else 0.0
    settings = layer_sizes(config), config.tile_size, config.output_scale
    return np.stack([generate(layers, *settings, (x - offset) / (high - low)) for x in returns])


def policy_outputs(policy, sizes, x):
    """Linear outputs of a policy, neuron by neuron."""
    at = 0
    for n, m in zip(sizes[:-1], sizes[1:], strict=True):
        z = np.zeros(m)
        for j in range(m):
            z[j] = policy[at + j * n : at + (j + 1) * n] @ x + policy[at + n * m + j]
        at += (n + 1) * m
        x = np.tanh(z)
    return z


class Statistics:
    """Running mean and sum of squared deviations (Welford, 1962)."""

    def __init__(self, size):
        self.mean, self.squares, self.n = np.zeros(size), np.zeros(size), 0

    def add(self, x):
        """One more vector."""
        self.n += 1
        gap = x - self.mean
        self.mean = self.mean + gap / self.n
        self.squares = self.squares + gap * (x - self.mean)

    def normalize(self, x):
        """By the sample variance; the very first vector stays as it is."""
        return x if self.n < 2 else (x - self.mean) / (np.sqrt(self.squares / (self.n - 1)) + 1e-8)


def commands_between(config):
    """The range of returns as two numbers."""
    low, high = return_range(config)
    return float(low), float(high)
