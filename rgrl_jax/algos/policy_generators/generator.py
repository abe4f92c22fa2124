"""The generator: hypernetworks that make all weights of a policy for a command, tile by tile.

Every layer of the policy has two relu networks, of weights and of biases. They are asked once per tile of the layer's
weights, with the tile's learned embedding and the command as input (IDSIA's public code of GoGePo and of UDRLPG).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.algos.policy_generators.networks import Weights, init_weights, join_layers, relu_network
from rgrl_jax.types import Array, Key, Scalar


class Design(NamedTuple):
    """What a generator is made of, beside its weights.

    Attributes:
      sizes: of the policy, ``n_0, ..., n_L``; hidden layers are multiples of ``tile``.
      tile: units of a hidden layer that one tile covers, ``f``.
      embedding: numbers that tell tiles apart, ``E``.
      hidden: relu units of each layer of a hypernetwork.
    """

    sizes: tuple[int, ...]
    tile: int
    embedding: int
    hidden: tuple[int, ...]


class Tiling(NamedTuple):
    """How a layer ``[n_out, n_in]`` is cut: a grid ``tiles_in x tiles_out`` of blocks ``[rows, columns]``."""

    tiles_in: int
    tiles_out: int
    rows: int
    columns: int


class LayerGenerator(struct.PyTreeNode):
    """What makes one layer of a policy.

    Attributes:
      embedding: of its tiles ``[tiles_in, tiles_out, E]``.
      weight: network from embedding and command to a block of weights.
      bias: likewise to ``rows`` biases.
    """

    embedding: Array
    weight: Weights
    bias: Weights


Generator = tuple[LayerGenerator, ...]


def tilings(design: Design) -> list[Tiling]:
    """Of each layer. Inputs and outputs of the policy are never cut."""
    last = len(design.sizes) - 2
    made = []
    for i, (n, m) in enumerate(pairwise(design.sizes)):
        columns, rows = n if i == 0 else design.tile, m if i == last else design.tile
        made.append(Tiling(n // columns, m // rows, rows, columns))
    return made


def init_generator(key: Key, design: Design) -> Generator:
    """Embeddings are standard normal; networks as `init_weights` draws them."""
    layers = []
    for i, tiling in enumerate(tilings(design)):
        embed_key, weight_key, bias_key = jax.random.split(jax.random.fold_in(key, i), 3)
        shape = (tiling.tiles_in, tiling.tiles_out, design.embedding)
        head = (design.embedding + 1, *design.hidden)
        layers.append(
            LayerGenerator(
                embedding=jax.random.normal(embed_key, shape),
                weight=init_weights(weight_key, (*head, tiling.rows * tiling.columns)),
                bias=init_weights(bias_key, (*head, tiling.rows)),
            )
        )
    return tuple(layers)


def generate(generator: Generator, design: Design, command: Array, output_scale: Scalar = 0.0) -> Array:
    """The policy ``[P]`` for a command.

    Block ``(i, o)`` of a layer's grid fills rows ``o * rows ...`` and columns ``i * columns ...`` of its weights; its
    biases are averaged over ``i``.

    Args:
      generator: its weights.
      design: its design.
      command: scalar.
      output_scale: all a layer is given is multiplied with this over the root of its inputs; 0 for as it is.
    """
    layers = []
    for layer, tiling, inputs in zip(generator, tilings(design), design.sizes[:-1], strict=True):
        asked = jnp.broadcast_to(command, (*layer.embedding.shape[:2], 1))
        asked = jnp.concatenate([layer.embedding, asked], axis=-1)
        blocks = relu_network(layer.weight, asked).reshape(tiling)  # [tiles_in, tiles_out, rows, columns]
        weights = blocks.transpose(1, 2, 0, 3).reshape(tiling.tiles_out * tiling.rows, inputs)
        biases = relu_network(layer.bias, asked).mean(axis=0).ravel()
        factor = jnp.where(output_scale > 0, output_scale * inputs**-0.5, 1.0)
        layers.append((factor * weights, factor * biases))
    return join_layers(layers)
