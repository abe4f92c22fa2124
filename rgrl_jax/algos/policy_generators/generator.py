"""The generator: hypernetworks that make all weights of a policy for a command, tile by tile.

Every layer of the policy has two relu networks, one for its weights and one for its biases. They are evaluated once
per tile of the layer's weights, at the tile's learned embedding and the command (IDSIA's public code of GoGePo and of
UDRLPG).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import mlp
from rgrl_jax.algos.policy_generators.policy import join_layers
from rgrl_jax.types import Array, Key, Scalar


class GeneratorSpec(NamedTuple):
    """Architecture of a generator.

    Attributes:
      sizes: layer sizes ``n_0, ..., n_L`` of the policy; those of hidden layers are multiples of ``tile_size``.
      tile_size: units of a hidden layer that one tile covers, ``f``.
      embedding_size: length of a tile's embedding, ``E``.
      hidden: relu units in each hidden layer of a hypernetwork.
      output_scale: weights and biases of a layer are multiplied with this over the root of its inputs; 0 for neither.
    """

    sizes: tuple[int, ...]
    tile_size: int
    embedding_size: int
    hidden: tuple[int, ...]
    output_scale: Scalar = 0.0


class Tiling(NamedTuple):
    """Grid ``tiles_in x tiles_out`` of tiles ``[rows, columns]`` that weights ``[n_out, n_in]`` are cut into."""

    tiles_in: int
    tiles_out: int
    rows: int
    columns: int


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


def layer_tilings(spec: GeneratorSpec) -> list[Tiling]:
    """Returns the tiling of each layer; inputs and outputs of the policy are never cut."""
    last = len(spec.sizes) - 2
    tilings = []
    for i, (n, m) in enumerate(pairwise(spec.sizes)):
        columns, rows = n if i == 0 else spec.tile_size, m if i == last else spec.tile_size
        tilings.append(Tiling(n // columns, m // rows, rows, columns))
    return tilings


def init_generator(key: Key, spec: GeneratorSpec) -> Generator:
    """Draws embeddings from the standard normal distribution and networks by `rgrl_jax.mlp.init`."""
    layers = []
    for i, tiling in enumerate(layer_tilings(spec)):
        embedding_key, weights_key, biases_key = jax.random.split(jax.random.fold_in(key, i), 3)
        shape = (tiling.tiles_in, tiling.tiles_out, spec.embedding_size)
        sizes = (spec.embedding_size + 1, *spec.hidden)
        layers.append(
            LayerGenerator(
                embedding=jax.random.normal(embedding_key, shape),
                weights=mlp.init(weights_key, (*sizes, tiling.rows * tiling.columns)),
                biases=mlp.init(biases_key, (*sizes, tiling.rows)),
            )
        )
    return tuple(layers)


def generate(generator: Generator, spec: GeneratorSpec, command: Array) -> Array:
    """Makes the policy ``[P]`` for a command, a scalar on the scale of `commands.generator_input`.

    Tile ``(i, o)`` of a layer's grid fills rows ``o * rows ...`` and columns ``i * columns ...`` of its weights.
    """
    layers = []
    for layer, tiling, inputs in zip(generator, layer_tilings(spec), spec.sizes[:-1], strict=True):
        x = jnp.broadcast_to(command, (*layer.embedding.shape[:2], 1))
        x = jnp.concatenate([layer.embedding, x], axis=-1)
        tiles = mlp.apply(layer.weights, x, jax.nn.relu).reshape(tiling)  # [tiles_in, tiles_out, rows, columns]
        weights = tiles.transpose(1, 2, 0, 3).reshape(tiling.tiles_out * tiling.rows, inputs)
        # A row of tiles shares its units, so each of its tiles proposes biases for them: they are averaged.
        biases = mlp.apply(layer.biases, x, jax.nn.relu).mean(axis=0).ravel()
        factor = jnp.where(spec.output_scale > 0, spec.output_scale * inputs**-0.5, 1.0)
        layers.append((factor * weights, factor * biases))
    return join_layers(layers)
