"""Networks as tuples of weights: the actor, as layers or as a pool, and the critic of a whole action.

Weights of a layer are ``[n_in + 1, n_out]``, biases in the last row. Functions take one sample or any number of them
in front: ``[..., n]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, Key, Scalar

Weights = tuple[Array, ...]

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


class Design(NamedTuple):
    """What an actor is made of, beside its weights.

    Attributes:
      sizes: inputs, hidden units of each layer, outputs.
      recurrent: one pool of all of them instead of layers.
      inner_steps: of a pool.
      activation: of all units but the outputs, which are tanh.
      biases: whether biases count.
    """

    sizes: tuple[int, ...]
    recurrent: bool = False
    inner_steps: int = 1
    activation: str = "relu"
    biases: bool = True


class Firing(NamedTuple):
    """What neurons with the same weights did at once: read ``seen [..., n_in]``, and said ``said [..., n_out]``."""

    seen: Array
    said: Array


def init_weights(key: Key, sizes: Sequence[int], final: Scalar = 0.0) -> Weights:
    """Weights and biases from a uniform law of half-width ``1 / sqrt(n_in)`` (Lillicrap et al., 2016).

    Args:
      key: consumed.
      sizes: of input, hidden layers and output.
      final: half-width for the last layer; 0 for the same law.
    """
    weights = []
    for i, (n, m) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        width = n**-0.5 if i < len(sizes) - 2 else jnp.where(final > 0, final, n**-0.5)
        weights.append(width * jax.random.uniform(jax.random.fold_in(key, i), (n + 1, m), minval=-1.0, maxval=1.0))
    return tuple(weights)


def affine(weights: Array, x: Array, biases: bool = True) -> Array:
    """``x W + b``, ``[..., n_out]``."""
    return x @ weights[:-1] + weights[-1] if biases else x @ weights[:-1]


def actor_shapes(design: Design) -> tuple[tuple[int, ...], ...]:
    """Sizes of the networks that an actor's weights are drawn as: layers in a row, or the pool onto itself."""
    pool = sum(design.sizes)
    return ((pool, pool),) if design.recurrent else (design.sizes,)


def fire(weights: Weights, design: Design, x: Array, noise: Sequence[Array] | None = None) -> list[Firing]:
    """One decision of the actor: what its neurons read and said, layer by layer or inner step by inner step.

    A pool starts at rest. Its input neurons are driven by the observation all along, on top of what they say:
    ``v' = f(v K) + v_in``.

    Args:
      weights: of the actor.
      design: its design.
      x: inputs ``[..., n_0]``.
      noise: added to what is said, an array per firing; None for none.

    Returns:
      Firings; the action is the end of the last ``said``, see `action_of`.
    """
    return _fire_pool(weights[0], design, x, noise) if design.recurrent else _fire_layers(weights, design, x, noise)


def _fire_layers(weights: Weights, design: Design, x: Array, noise: Sequence[Array] | None) -> list[Firing]:
    firings, h = [], x
    for i in range(len(weights)):
        said = respond(weights, design, i, h)
        said = said if noise is None else said + noise[i]
        firings.append(Firing(h, said))
        h = said
    return firings


def _fire_pool(weights: Array, design: Design, x: Array, noise: Sequence[Array] | None) -> list[Firing]:
    v = drive = drive_pool(design, x)
    firings = []
    for i in range(design.inner_steps):
        said = pool_output(weights, design, v)
        said = said if noise is None else said + noise[i]
        firings.append(Firing(v, said))
        v = said + drive
    return firings


def drive_pool(design: Design, x: Array) -> Array:
    """The observation on the input neurons, and 0 on all others ``[..., pool]``."""
    return jnp.concatenate([x, jnp.zeros((*x.shape[:-1], sum(design.sizes[1:])))], axis=-1)


def pool_output(weights: Array, design: Design, v: Array) -> Array:
    """What the neurons of a pool say to voltages ``v [..., pool]``."""
    z, outputs = affine(weights, v, design.biases), design.sizes[-1]
    hidden = ACTIVATIONS[design.activation](z[..., :-outputs])
    return jnp.concatenate([hidden, jnp.tanh(z[..., -outputs:])], axis=-1)


def respond(weights: Weights, design: Design, layer: int, seen: Array) -> Array:
    """What the neurons of a layer, or of the pool, say to what they read."""
    if design.recurrent:
        return pool_output(weights[0], design, seen)
    z = affine(weights[layer], seen, design.biases)
    return jnp.tanh(z) if layer == len(weights) - 1 else ACTIVATIONS[design.activation](z)


def action_of(firings: list[Firing], design: Design) -> Array:
    """The action ``[..., A]``, every entry in -1..1."""
    return firings[-1].said[..., -design.sizes[-1] :]


def init_critic(key: Key, inputs: int, action: int, hidden: Sequence[int], joins: int, final: Scalar) -> Weights:
    """A critic of observation ``[inputs]`` and action ``[action]``, which joins at a layer.

    Args:
      key: consumed.
      inputs: size of the observation.
      action: size of the action.
      hidden: sizes of the hidden layers.
      joins: layer whose input the action is appended to, from 0.
      final: see `init_weights`.
    """
    sizes = (inputs, *hidden, 1)
    weights: list[Array] = []
    for i, (n, m) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        shape = (n + action * (i == joins), m)
        weights += init_weights(jax.random.fold_in(key, i), shape, final if i == len(hidden) else 0.0)
    return tuple(weights)


def value(weights: Weights, joins: int, x: Array, action: Array) -> Array:
    """What the critic gives to observations ``[..., n_0]`` and actions ``[..., A]``: ``[...]``."""
    h = x
    for i, w in enumerate(weights):
        h = affine(w, jnp.concatenate([h, action], axis=-1) if i == joins else h)
        h = h if i == len(weights) - 1 else jax.nn.relu(h)
    return h[..., 0]
