"""Neuron DDPG: critics of neurons learn, and every neuron climbs the value that its own gives to its voltage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import struct

from rgrl_jax.algos.ddpg import update as training
from rgrl_jax.algos.ddpg.agent import Agent, init_critic_network, make_optimizers, network_sizes, update_critic
from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.networks import q_value
from rgrl_jax.algos.ddpg.update import Batch, TrainedNetwork
from rgrl_jax.algos.neuron_ddpg.batches import NeuronBatch, neuron_batches, whole_action_batches
from rgrl_jax.algos.neuron_ddpg.config import NeuronDDPGConfig
from rgrl_jax.algos.neuron_ddpg.critics import action_gradients, init_critics, q_values
from rgrl_jax.algos.neuron_ddpg.networks import NetworkSpec, action_of, forward, init_actor, layer_forward
from rgrl_jax.mlp import Weights
from rgrl_jax.optimizers import make_optimizer
from rgrl_jax.types import Array, Key, PyTree


class NeuronNetworks(struct.PyTreeNode):
    """The actor, a critic of the whole action or an empty tuple, and stacked critics of the neurons of each layer.

    If its outputs learn alone, those of the actor's last layer are the only ones.
    """

    actor: TrainedNetwork
    critic: TrainedNetwork | tuple[()]
    neurons: tuple[TrainedNetwork, ...]

    @property
    def whole_critic(self) -> TrainedNetwork:
        """Returns the critic of the whole action, where there is one."""
        assert isinstance(self.critic, TrainedNetwork)
        return self.critic


def network_spec(config: DDPGConfig) -> NetworkSpec:
    """Returns the spec of the actor of this config; that of plain DDPG has layers and biases."""
    spec = NetworkSpec(network_sizes(config), config.activation)
    if not isinstance(config, NeuronDDPGConfig):
        return spec
    recurrent = config.topology == "recurrent"
    return spec._replace(recurrent=recurrent, inner_steps=config.inner_steps, biases=config.biases)


def make_agent(config: NeuronDDPGConfig) -> Agent:
    """Makes the agent of a config."""
    spec, stored = network_spec(config), config.voltage_source == "stored"

    def act(weights: Weights, x: Array, key: Key | None) -> tuple[Array, PyTree]:
        noise = _voltage_noise(key, x.shape[0], spec, config) if stored and key is not None else None
        activations = forward(weights, spec, x, noise)
        voltages = jnp.concatenate([one.outputs for one in activations], axis=-1) if stored else ()
        return action_of(activations, spec), voltages

    total = sum(count for _, count in spec.passes)
    extras = jax.ShapeDtypeStruct((total,), jnp.float32) if stored else ()
    init, update = (
        partial(init_networks, spec=spec, config=config),
        partial(update_networks, spec=spec, config=config),
    )
    return Agent(init, act, update, extras)


def _voltage_noise(key: Key, n: int, spec: NetworkSpec, config: NeuronDDPGConfig) -> list[Array]:
    """Draws noise on the outputs of hidden neurons, ``[N, k]`` per pass; actions have noise of their own."""
    keys = jax.random.split(key, len(spec.passes))
    pairs = zip(keys, spec.passes, strict=True)
    noise = [config.voltage_noise * jax.random.normal(k, (n, count)) for k, (_, count) in pairs]
    return [*noise[:-1], noise[-1].at[:, -spec.sizes[-1] :].set(0.0)]


def init_networks(key: Key, spec: NetworkSpec, config: NeuronDDPGConfig) -> NeuronNetworks:
    """Draws all weights; targets start equal to them."""
    actor_key, critic_key, neuron_key = jax.random.split(key, 3)
    more = spec.sizes[0] if config.critic_input == "observation" else 0
    first = -1 if config.trained_layers == "outputs" else 0
    optimizer = make_optimizer(config.optimizer, config.neuron_lr)
    neurons = []
    for i, (inputs, count) in list(enumerate(spec.layers))[first:]:
        layer_key = jax.random.fold_in(neuron_key, i)
        params = init_critics(layer_key, config.neuron_critic, inputs + more, count, config.neuron_hidden)
        neurons.append(training.init_network(params, optimizer))
    actor = training.init_network(init_actor(actor_key, spec, config.final_init), make_optimizers(config)[0])
    critic = init_critic_network(critic_key, config) if config.has_whole_critic else ()
    return NeuronNetworks(actor, critic, tuple(neurons))


def update_networks(
    key: Key, networks: NeuronNetworks, batch: Batch, spec: NetworkSpec, config: NeuronDDPGConfig
) -> tuple[NeuronNetworks, Array]:
    """Updates critics of neurons, that of the whole action, actor and targets; returns also the error, a scalar.

    It is the mean squared TD error of the critics that the actor climbs.
    """
    actor, kind, loss_scale = networks.actor, config.neuron_critic, 0.5 if config.loss == "half" else 1.0
    if config.neuron_target == "whole":
        # By the critic as it was before this update, so that both kinds of targets are of one moment.
        noise_key, critic = jax.random.split(key)[1], networks.whole_critic.weights
        batches = whole_action_batches(noise_key, actor.weights, critic, spec, batch, config)
    else:
        batches = neuron_batches(actor, spec, batch, config)
    batches = batches[-len(networks.neurons) :]  # if outputs alone have critics, those of the last layer
    optimizer = make_optimizer(config.optimizer, config.neuron_lr)
    pairs = zip(networks.neurons, batches, strict=True)
    found = [update_neuron_critics(critics, own, kind, optimizer, loss_scale) for critics, own in pairs]
    networks = networks.replace(neurons=tuple(critics for critics, _ in found))
    error = jnp.stack([error for _, error in found]).mean()
    if config.has_whole_critic:
        next_action = action_of(forward(actor.target, spec, batch.next_x), spec)
        whole, whole_error = update_critic(networks.whole_critic, batch, next_action, config, loss_scale)
        networks = networks.replace(critic=whole)
    if config.actor_gradient == "whole":
        error, gradient = whole_error, whole_gradient(networks, batch.x, spec, config.action_layer)
    else:
        gradient = neuron_gradient(networks, batches, spec, kind)
    actor = training.apply_actor_gradient(actor, gradient, make_optimizers(config)[0])
    return training.update_targets(networks.replace(actor=actor), config.tau), error


def update_neuron_critics(
    critics: TrainedNetwork, batch: NeuronBatch, kind: str, optimizer: optax.GradientTransformation, loss_scale: float
) -> tuple[TrainedNetwork, Array]:
    """Updates the critics of a layer, each by its own errors ``y - Q(v, a) [B]``; returns also their mean square."""
    following = q_values(critics.target, kind, batch.next_context, batch.next_outputs)
    targets = batch.reward[:, None] + batch.discount[:, None] * following
    own = partial(q_values, kind=kind, v=batch.context, a=batch.outputs)
    return training.fit_critic(critics, own, targets, optimizer, loss_scale)


def whole_gradient(networks: NeuronNetworks, x: Array, spec: NetworkSpec, action_layer: int) -> Weights:
    """Returns the gradient of the mean value of the actor's actions by all its layers ``[n_in + 1, n_out]``."""

    def value(weights: Weights) -> Array:
        action = action_of(forward(weights, spec, x), spec)
        return q_value(networks.whole_critic.weights, x, action, action_layer).mean()

    return jax.grad(value)(networks.actor.weights)


def neuron_gradient(
    networks: NeuronNetworks, batches: Sequence[NeuronBatch], spec: NetworkSpec, kind: str
) -> Weights:
    """Returns, for every neuron, the gradient of the mean value of its voltage by its own weights.

    The value is that of the neuron's voltage today at the inputs that it read. Layers ``[n_in + 1, n_out]`` without
    critics have 0.
    """
    actor = networks.actor.weights
    still = len(actor) - len(networks.neurons)
    gradient = [jnp.zeros_like(w) for w in actor[:still]]
    for i, (critics, batch) in enumerate(zip(networks.neurons, batches, strict=True), still):
        outputs = layer_forward(actor, spec, i, batch.inputs)
        slopes = action_gradients(critics.weights, kind, batch.context, outputs)
        gradient.append(layer_gradient(actor, spec, i, slopes, batch.inputs))
    return tuple(gradient)


def layer_gradient(actor: Weights, spec: NetworkSpec, layer: int, slopes: Array, inputs: Array) -> Array:
    """Returns ``dQ^n/da^n f'(K^n v) v`` of all neurons ``n`` of a layer, averaged over steps, ``[n_in + 1, k]``.

    ``dQ^n/da^n`` are the ``slopes [B, k]``, and ``v`` the ``inputs [B, m]``.
    """

    # The slopes are constants here: nothing is passed back into a critic, nor to the layers below.
    def value(own: Array) -> Array:
        outputs = layer_forward((*actor[:layer], own, *actor[layer + 1 :]), spec, layer, inputs)
        return (slopes * outputs).sum() / outputs.shape[0]

    return jax.grad(value)(actor[layer])
