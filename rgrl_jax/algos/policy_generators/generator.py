"""The generator: hypernetworks that make all weights of a policy for a command, tile by tile.

Every layer of the policy has two relu networks, one for its weights and one for its biases. They are evaluated once
per tile of the layer's weights, at the tile's learned embedding and the command (IDSIA's public code of GoGePo and of
UDRLPG).
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import mlp
from rgrl_jax.algos.policy_generators.commands import generator_input
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.policy import join_layers, layer_sizes
from rgrl_jax.types import Array, Key, Scalar


class LayerGenerator(struct.PyTreeNode):
    """Weights that make one layer of a policy.

    Attributes:
      embedding: embeddings of the tiles ``[tiles_in, tiles_out, E]``.
      weights: network from embedding and command to the ``rows * columns`` weights of a tile.
      biases: network from embedding and command to ``rows`` biases.
    """

    embedding: Array
    weights: mlp.Weights
    biases: mlp.Weights


Generator = tuple[LayerGenerator, ...]


def init_generator(key: Key, sizes: tuple[int, ...], config: PolicyGeneratorConfig) -> Generator:
    """Draws a generator of policies with layer sizes ``n_0, ..., n_L``.

    Embeddings come from the standard normal distribution, networks from `rgrl_jax.mlp.init`. Tiles are squares of
    ``tile_size``, but inputs and outputs of the policy are never cut.
    """
    layers, inputs = [], (config.embedding_size + 1, *config.generator_hidden)
    for i, (n, m) in enumerate(pairwise(sizes)):
        embedding_key, weights_key, biases_key = jax.random.split(jax.random.fold_in(key, i), 3)
        columns = n if i == 0 else config.tile_size
        rows = m if i == len(sizes) - 2 else config.tile_size
        layers.append(
            LayerGenerator(
                embedding=jax.random.normal(embedding_key, (n // columns, m // rows, config.embedding_size)),
                weights=mlp.init(weights_key, (*inputs, rows * columns)),
                biases=mlp.init(biases_key, (*inputs, rows)),
            )
        )
    return tuple(layers)


def generate(generator: Generator, command: Array, sizes: tuple[int, ...], output_scale: Scalar) -> Array:
    """Makes the policy ``[P]`` for a command, a scalar on the scale of `commands.generator_input`.

    Tile ``(i, o)`` of a layer's grid fills rows ``o * rows ...`` and columns ``i * columns ...`` of its weights.
    """
    layers = []
    for layer, (n, m) in zip(generator, pairwise(sizes), strict=True):
        tiles_in, tiles_out, _ = layer.embedding.shape
        x = jnp.broadcast_to(command, (tiles_in, tiles_out, 1))
        x = jnp.concatenate([layer.embedding, x], axis=-1)
        tiles = mlp.apply(layer.weights, x, jax.nn.relu).reshape(tiles_in, tiles_out, m // tiles_out, n // tiles_in)
        weights = tiles.transpose(1, 2, 0, 3).reshape(m, n)
        # A row of tiles shares its units, so each of its tiles proposes biases for them: they are averaged.
        biases = mlp.apply(layer.biases, x, jax.nn.relu).mean(axis=0).ravel()
        factor = jnp.where(output_scale > 0, output_scale * n**-0.5, 1.0)
        layers.append((factor * weights, factor * biases))
    return join_layers(layers)


def make_policies(generator: Generator, commands: Array, config: PolicyGeneratorConfig) -> Array:
    """Makes the policies ``[B, P]`` for commands ``[B]``."""
    make = partial(generate, generator, sizes=layer_sizes(config), output_scale=config.output_scale)
    return jax.vmap(make)(generator_input(commands, config))
