"""Agreement of critics of neurons with the critic of the whole action, and response of neurons to observations."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.networks import q_value
from rgrl_jax.algos.ddpg.online import normalize_obs
from rgrl_jax.algos.ddpg.update import Batch
from rgrl_jax.algos.neuron_ddpg.agent import NeuronNetworks, layer_gradient, network_spec
from rgrl_jax.algos.neuron_ddpg.batches import neuron_batches
from rgrl_jax.algos.neuron_ddpg.config import NeuronDDPGConfig
from rgrl_jax.algos.neuron_ddpg.critics import action_gradients, q_values
from rgrl_jax.algos.neuron_ddpg.networks import NetworkSpec, action_of, forward
from rgrl_jax.mlp import Weights
from rgrl_jax.normalization import RunningStatistics
from rgrl_jax.types import Array, Key

FLAT = 0.01
"""Slope of an activation below which a neuron is at an end of its range."""


class Similarity(NamedTuple):
    """Agreement of critics in each layer whose neurons have critics ``[L]``; means over its neurons.

    Attributes:
      value_correlation: Pearson's, between the values that a neuron's critic and the critic of the whole action give
        to the same observations.
      value_error: root mean square of their difference, in standard deviations of the latter.
      gradient_cosine: between the gradients of a neuron's weights, by its own critic and through the whole actor.
      layer_cosine: the same of all weights of the layer in one vector.
      sign_agreement: share of observations at which both say the same about raising or lowering a neuron's voltage.
    """

    value_correlation: Array
    value_error: Array
    gradient_cosine: Array
    layer_cosine: Array
    sign_agreement: Array


class Response(NamedTuple):
    """Response to observations in each layer ``[L]``; means over its neurons. A pool is one layer.

    Attributes:
      saturated: share of voltages where a neuron's activation has a slope below `FLAT`.
      spread: standard deviation of a neuron's voltage over observations; of outputs, of the action, in -1..1.
    """

    saturated: Array
    spread: Array


def compare_critics(
    key: Key,
    networks: NeuronNetworks,
    statistics: RunningStatistics | tuple[()],
    obs: Array,
    config: NeuronDDPGConfig,
) -> tuple[Similarity, Similarity]:
    """Compares the critics on observations, and again with the answers of neurons' critics shuffled among them.

    The second is the control: returns alone make values of neurons and of the whole alike, and activations alone make
    gradients alike.

    Args:
      key: consumed; for the control's order.
      networks: with a critic of the whole action.
      statistics: of the observations.
      obs: raw observations ``[B, ...]``, best none that anything learnt from.
      config: that they were trained with.

    Raises:
      ValueError: there is no critic of the whole action.
    """
    if not config.has_whole_critic:
        raise ValueError("train_both_critics = False leaves nothing to compare; it must be True")
    spec, actor = network_spec(config), networks.actor.weights
    x = normalize_obs(obs, statistics, config.obs_normalization, config.spec)
    nothing = jnp.zeros(x.shape[0])
    batch = Batch(x, action_of(forward(actor, spec, x), spec), nothing, x, nothing)
    batches = neuron_batches(
        networks.actor, spec, batch, config.replace(voltage_source="recomputed", output_voltage="own")
    )
    values, slopes = whole_slopes(networks, x, spec, config.action_layer)

    def compare_layer(layer: int, order: Array) -> Similarity:
        own = batches[layer]
        sample = (networks.neurons[layer].weights, config.neuron_critic, own.context, own.outputs)
        rounds = own.inputs.shape[0] // x.shape[0]  # inner steps of a pool
        order = (order + x.shape[0] * jnp.arange(rounds)[:, None]).ravel()
        critics = (q_values(*sample)[order], action_gradients(*sample)[order])
        whole = (jnp.tile(values, rounds)[:, None], slopes[layer])
        gradients = [
            layer_gradient(actor, spec, len(actor) + layer, slope, own.inputs) for slope in (critics[1], whole[1])
        ]
        return _similarity(critics, whole, *gradients)

    def compare(order: Array) -> Similarity:
        layers = [compare_layer(i, order) for i in range(-len(networks.neurons), 0)]
        return jax.tree.map(lambda *x: jnp.stack(x), *layers)

    return compare(jnp.arange(x.shape[0])), compare(jax.random.permutation(key, x.shape[0]))


def whole_slopes(
    networks: NeuronNetworks, x: Array, spec: NetworkSpec, action_layer: int
) -> tuple[Array, list[Array]]:
    """Returns the values ``[B]`` of the actor's actions, and their slopes by all voltages ``[B, k]``, per layer."""

    def value(noise: list[Array]) -> tuple[Array, Array]:
        action = action_of(forward(networks.actor.weights, spec, x, noise), spec)
        values = q_value(networks.whole_critic.weights, x, action, action_layer)
        return values.sum(), values

    # Noise of 0 stands for the voltages: its gradient is theirs.
    still = [jnp.zeros((x.shape[0], count)) for _, count in spec.passes]
    slopes, values = jax.grad(value, has_aux=True)(still)
    return values, [jnp.concatenate(slopes)] if spec.recurrent else slopes


def _similarity(
    neurons: tuple[Array, Array], whole: tuple[Array, Array], gradient: Array, whole_gradient: Array
) -> Similarity:
    """Compares values and slopes ``[B, k]``, and gradients ``[n_in + 1, k]``, of a layer with those of the whole."""
    (values, slopes), (whole_values, whole_slopes) = neurons, whole
    return Similarity(
        value_correlation=_cosine(values - values.mean(axis=0), whole_values - whole_values.mean(axis=0)).mean(),
        value_error=jnp.sqrt(jnp.square(values - whole_values).mean(axis=0)).mean() / (whole_values.std() + 1e-12),
        gradient_cosine=_cosine(gradient, whole_gradient).mean(),
        layer_cosine=_cosine(gradient.reshape(-1, 1), whole_gradient.reshape(-1, 1))[0],
        sign_agreement=(jnp.sign(slopes) == jnp.sign(whole_slopes)).mean(),
    )


def _cosine(one: Array, other: Array) -> Array:
    """Returns the cosines ``[k]`` between columns ``[n, k]``; 0 where one of them is 0."""
    size = jnp.linalg.norm(one, axis=0) * jnp.linalg.norm(other, axis=0)
    return (one * other).sum(axis=0) / jnp.maximum(size, 1e-20)


def measure_response(
    actor: Weights, statistics: RunningStatistics | tuple[()], obs: Array, config: DDPGConfig
) -> Response:
    """Measures how the noiseless actor's neurons respond to raw observations ``[B, ...]``, of either algorithm."""
    spec = network_spec(config)
    activations = forward(actor, spec, normalize_obs(obs, statistics, config.obs_normalization, config.spec))
    last, found = len(activations) - 1, []
    for i, one in enumerate(activations):
        if i < last and spec.recurrent:
            continue
        # Slopes follow from the outputs: they are 1 - a^2 of tanh, and 0 or 1 of relu.
        slope, actions = 1.0 - one.outputs**2, spec.sizes[-1] if i == last else 0
        if spec.activation == "relu":
            hidden = jnp.arange(slope.shape[-1]) < slope.shape[-1] - actions
            slope = jnp.where(hidden, one.outputs > 0, slope)
        found.append(Response(saturated=(slope < FLAT).mean(), spread=one.outputs.std(axis=0).mean()))
    return jax.tree.map(lambda *x: jnp.stack(x), *found)
