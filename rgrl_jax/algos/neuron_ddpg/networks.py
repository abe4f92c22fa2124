"""An actor whose neurons' inputs and outputs can be seen: layers, or a pool.

Weights are those of `rgrl_jax.mlp`. Functions take one sample or any number of leading axes, ``[..., n]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp

from rgrl_jax import mlp
from rgrl_jax.algos.ddpg.networks import ACTIVATIONS
from rgrl_jax.mlp import Weights
from rgrl_jax.types import Array, Key, Scalar


class NetworkSpec(NamedTuple):
    """Everything about an actor but its weights.

    A pool of input, hidden and output neurons, in place of layers if ``recurrent``, starts at rest and takes inner
    steps. Its input neurons are driven by the observation all along, on top of their outputs: ``v' = f(v K) + v_in``.
    Sizes are those of inputs, hidden layers and outputs; the activation is of all but the outputs, which are tanh.
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    recurrent: bool = False
    inner_steps: int = 1
    biases: bool = True

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Inputs and number of the neurons of each layer of weights; a pool is one layer onto itself."""
        return ((sum(self.sizes),) * 2,) if self.recurrent else tuple(pairwise(self.sizes))

    @property
    def passes(self) -> tuple[tuple[int, int], ...]:
        """Lists layer and number of neurons of each pass from observation to action: of layers, or of inner steps."""
        return ((0, sum(self.sizes)),) * self.inner_steps if self.recurrent else tuple(enumerate(self.sizes[1:]))


class Activations(NamedTuple):
    """Inputs ``[..., n_in]`` and outputs ``[..., n_out]`` of the neurons of one pass."""

    inputs: Array
    outputs: Array


def init_actor(key: Key, spec: NetworkSpec, final: Scalar) -> Weights:
    """Draws the weights; ``final`` is the half-width of the last layer's distribution, see `mlp.init`."""
    return mlp.init(key, spec.layers[0]) if spec.recurrent else mlp.init(key, spec.sizes, final)


def forward(weights: Weights, spec: NetworkSpec, x: Array, noise: Sequence[Array] | None = None) -> list[Activations]:
    """Computes one decision at ``x [..., n_0]`` pass by pass, with noise added to the outputs of each if any.

    The action is the end of the last outputs, see `action_of`.
    """

    def outputs(i: int, inputs: Array) -> Array:
        found = layer_forward(weights, spec, spec.passes[i][0], inputs)
        return found if noise is None else found + noise[i]

    return _propagate(spec, x, outputs)


def recall(spec: NetworkSpec, x: Array, voltages: Array) -> list[Activations]:
    """Restores the activations of a decision from all of its outputs, ``voltages [..., V]``, and ``x [..., n_0]``."""
    ends = [sum(count for _, count in spec.passes[: i + 1]) for i in range(len(spec.passes))]
    parts = jnp.split(voltages, ends[:-1], axis=-1)
    return _propagate(spec, x, lambda i, _: parts[i])


def _propagate(spec: NetworkSpec, x: Array, outputs: Callable[[int, Array], Array]) -> list[Activations]:
    """Hands the outputs of each pass, ``outputs(i, inputs)``, on to the next."""
    inputs = drive = pool_input(spec, x) if spec.recurrent else x
    found = []
    for i in range(len(spec.passes)):
        found.append(Activations(inputs, outputs(i, inputs)))
        inputs = found[-1].outputs + drive if spec.recurrent else found[-1].outputs
    return found


def pool_input(spec: NetworkSpec, x: Array) -> Array:
    """Puts inputs ``[..., n_0]`` on a pool's input neurons, and 0 on all others: ``[..., k]``."""
    return jnp.concatenate([x, jnp.zeros((*x.shape[:-1], sum(spec.sizes[1:])))], axis=-1)


def layer_forward(weights: Weights, spec: NetworkSpec, layer: int, inputs: Array) -> Array:
    """Returns the outputs ``[..., n_out]`` of a layer of weights, or of the pool, to ``inputs [..., n_in]``."""
    z, activation = mlp.affine(weights[layer], inputs, biases=spec.biases), ACTIVATIONS[spec.activation]
    if spec.recurrent:
        actions = spec.sizes[-1]
        return jnp.concatenate([activation(z[..., :-actions]), jnp.tanh(z[..., -actions:])], axis=-1)
    return jnp.tanh(z) if layer == len(weights) - 1 else activation(z)


def action_of(activations: list[Activations], spec: NetworkSpec) -> Array:
    """Returns the action of a decision ``[..., A]``, in -1..1 but for noise."""
    return activations[-1].outputs[..., -spec.sizes[-1] :]
