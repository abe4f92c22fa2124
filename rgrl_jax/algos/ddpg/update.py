"""One update from a batch of steps: of the critics, then of the actor, then of their slow targets."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.networks import (
    Design,
    Firing,
    Weights,
    action_of,
    actor_shapes,
    drive_pool,
    fire,
    init_critic,
    init_weights,
    respond,
    value,
)
from rgrl_jax.algos.ddpg.neurons import init_neurons, judge, slopes
from rgrl_jax.algos.ddpg.parts import (
    actor_design,
    actor_optimizer,
    critic_optimizer,
    features,
    neuron_optimizer,
    own_action,
    read_sizes,
    said_sizes,
)
from rgrl_jax.algos.ddpg.replay import Steps
from rgrl_jax.encoding import Running
from rgrl_jax.types import Array, Key, PyTree


class Net(struct.PyTreeNode):
    """Parameters as they learn: ``weights``, their slow ``target``, and the state ``opt`` of their optimiser."""

    weights: PyTree
    target: PyTree
    opt: PyTree


class Nets(struct.PyTreeNode):
    """All that learns.

    Attributes:
      actor: its weights.
      critic: of the whole action, or an empty tuple.
      neurons: critics of neurons, stacked, of each layer of the actor, or of its last alone; empty without.
    """

    actor: Net
    critic: Net | tuple[()]
    neurons: tuple[Net, ...]


class Batch(NamedTuple):
    """Steps as the networks see them.

    Attributes:
      x: inputs ``[B, n_0]``.
      action: what was executed ``[B, A]``, in -1..1.
      reward: scaled ``[B]``.
      next_x: ``[B, n_0]``.
      counts: 1 where what follows counts, else 0, ``[B]``.
      voltages: ``[B, V]``; ``V`` is 0 unless they are stored.
    """

    x: Array
    action: Array
    reward: Array
    next_x: Array
    counts: Array
    voltages: Array


class Lesson(NamedTuple):
    """What neurons of one layer can learn from, all of it theirs to see.

    Attributes:
      seen: voltages they read ``[B, m]``; of a pool, ``B`` counts all inner steps.
      said: voltages they said ``[B, k]``.
      context: what their critics see beside ``said`` ``[B, c]``.
      reward: ``[B]``.
      discount: of the next value ``[B]``.
      next_said: what their targets say next ``[B, k]``.
      next_context: ``[B, c]``.
    """

    seen: Array
    said: Array
    context: Array
    reward: Array
    discount: Array
    next_said: Array
    next_context: Array


def init_nets(key: Key, config: DDPGConfig) -> Nets:
    """Draws all weights; targets start equal to them."""
    design, (actor_key, critic_key, neuron_key) = actor_design(config), jax.random.split(key, 3)
    inputs, outputs = design.sizes[0], design.sizes[-1]
    final = 0.0 if design.recurrent else config.final_init
    actor = init_weights(actor_key, actor_shapes(design)[0], final)
    critic: Net | tuple[()] = ()
    if config.has_critic:
        weights = init_critic(
            critic_key, inputs, outputs, config.critic_hidden, config.action_layer, config.final_init
        )
        critic = _net(weights, critic_optimizer(config))
    more = inputs if config.critic_sees == "observation" else 0
    layers = list(enumerate(read_sizes(design))) if config.has_neurons else []
    neurons = [
        init_neurons(
            jax.random.fold_in(neuron_key, i), config.neuron_critic, read + more, count, config.neuron_hidden
        )
        for i, (read, count) in (layers[-1:] if config.learners == "outputs" else layers)
    ]
    return Nets(
        actor=_net(actor, actor_optimizer(config)),
        critic=critic,
        neurons=tuple(_net(params, neuron_optimizer(config)) for params in neurons),
    )


def _net(weights: PyTree, optimizer: optax.GradientTransformation) -> Net:
    return Net(weights, weights, optimizer.init(weights))


def make_batch(steps: Steps, running: Running | tuple[()], config: DDPGConfig) -> Batch:
    """Steps ``[B, ...]`` on today's scales."""
    counts = jnp.ones_like(steps.reward) if config.bootstrap == "always" else 1.0 - steps.ended
    return Batch(
        x=features(steps.obs, running, config),
        action=jax.vmap(partial(own_action, spec=config.spec))(steps.action),
        reward=config.reward_scale * steps.reward,
        next_x=features(steps.next_obs, running, config),
        counts=counts,
        voltages=steps.voltages,
    )


def improve(key: Key, nets: Nets, batch: Batch, config: DDPGConfig) -> tuple[Nets, Array]:
    """One update of everything.

    Args:
      key: consumed; for noise on targets.
      nets: what learns.
      batch: what from.
      config: the config.

    Returns:
      The networks, and the mean squared TD error of the critics that the actor listens to, scalar.
    """
    action_key, neuron_key = jax.random.split(key)
    critic, neurons, errors = nets.critic, nets.neurons, {}
    if isinstance(critic, Net):
        critic, errors["ddpg"] = _learn_critic(action_key, nets, critic, batch, config)
    taught = lessons(neuron_key, nets, batch, config)[-len(neurons) :] if neurons else []
    if neurons:
        pairs = [learn_neurons(net, lesson, config) for net, lesson in zip(neurons, taught, strict=True)]
        neurons = tuple(net for net, _ in pairs)
        errors["neuron_ddpg"] = jnp.stack([error for _, error in pairs]).mean()
    nets = nets.replace(critic=critic, neurons=neurons)
    if config.rule == "ddpg":
        gradient = global_gradient(nets, batch, config)
    else:
        gradient = neuron_gradient(nets, taught, config)
    nets = nets.replace(actor=_climb(nets.actor, gradient, config))
    return _follow(nets, config), errors[config.rule]


def _descend(net: Net, gradient: PyTree, optimizer: optax.GradientTransformation) -> Net:
    updates, opt = optimizer.update(gradient, net.opt, net.weights)
    return net.replace(weights=optax.apply_updates(net.weights, updates), opt=opt)


def _climb(actor: Net, gradient: Weights, config: DDPGConfig) -> Net:
    """Moves the actor up; hidden layers as much slower as the config says."""
    updates, opt = actor_optimizer(config).update(jax.tree.map(jnp.negative, gradient), actor.opt, actor.weights)
    *hidden, last = updates
    weights = optax.apply_updates(actor.weights, (*(config.hidden_rate * x for x in hidden), last))
    return actor.replace(weights=weights, opt=opt)


def _follow(nets: Nets, config: DDPGConfig) -> Nets:
    """Targets go a little towards their networks, each towards its own."""

    def follow(net: Net) -> Net:
        return net.replace(target=optax.incremental_update(net.weights, net.target, config.target_rate))

    critic = follow(nets.critic) if isinstance(nets.critic, Net) else ()
    return Nets(follow(nets.actor), critic, tuple(follow(net) for net in nets.neurons))


def _target_noise(key: Key, like: Array, config: DDPGConfig) -> Array:
    noise = config.target_noise * jax.random.normal(key, like.shape)
    return jnp.clip(noise, -config.target_noise_clip, config.target_noise_clip)


def _loss(errors: Array, config: DDPGConfig) -> Array:
    """Of errors ``[B, ...]``: the mean over steps, summed over what is judged beside each other."""
    return (0.5 if config.loss == "half" else 1.0) * jnp.square(errors).sum() / errors.shape[0]


def _learn_critic(key: Key, nets: Nets, critic: Net, batch: Batch, config: DDPGConfig) -> tuple[Net, Array]:
    """Of the whole action: ``y = r + gamma Q'(s', mu'(s'))`` (Lillicrap et al., 2016)."""
    design, joins = actor_design(config), config.action_layer
    following = action_of(fire(nets.actor.target, design, batch.next_x), design)
    following = jnp.clip(following + _target_noise(key, following, config), -1.0, 1.0)
    aim = batch.reward + config.discount * batch.counts * value(critic.target, joins, batch.next_x, following)

    def loss(weights: Weights) -> tuple[Array, Array]:
        errors = aim - value(weights, joins, batch.x, batch.action)
        return _loss(errors, config), jnp.square(errors).mean()

    gradient, error = jax.grad(loss, has_aux=True)(critic.weights)
    return _descend(critic, gradient, critic_optimizer(config)), error


def learn_neurons(net: Net, lesson: Lesson, config: DDPGConfig) -> tuple[Net, Array]:
    """One update of the critics of a layer, each by its own errors ``D = y - Q(v, a)``; and their mean square."""
    kind = config.neuron_critic
    following = judge(net.target, kind, lesson.next_context, lesson.next_said)
    aim = lesson.reward[:, None] + lesson.discount[:, None] * following

    def loss(params: PyTree) -> tuple[Array, Array]:
        errors = aim - judge(params, kind, lesson.context, lesson.said)
        return _loss(errors, config), jnp.square(errors).mean()

    gradient, error = jax.grad(loss, has_aux=True)(net.weights)
    return _descend(net, gradient, neuron_optimizer(config)), error


def global_gradient(nets: Nets, batch: Batch, config: DDPGConfig) -> Weights:
    """Gradient of the mean value of the actor's actions by all its weights, through all its layers."""
    design, critic = actor_design(config), nets.critic
    assert isinstance(critic, Net)

    def worth(weights: Weights) -> Array:
        action = action_of(fire(weights, design, batch.x), design)
        return value(critic.weights, config.action_layer, batch.x, action).mean()

    return jax.grad(worth)(nets.actor.weights)


def neuron_gradient(nets: Nets, taught: list[Lesson], config: DDPGConfig) -> Weights:
    """For every neuron, the gradient of the mean value of its voltage by its own weights.

    The value is that of what the neuron would say today to what it read. Neurons without critics have 0.
    """
    design, weights = actor_design(config), nets.actor.weights
    still = len(weights) - len(nets.neurons)
    gradient = [jnp.zeros_like(w) for w in weights[:still]]
    for i, (net, lesson) in enumerate(zip(nets.neurons, taught, strict=True), still):
        said = respond(weights, design, i, lesson.seen)
        slope = slopes(net.weights, config.neuron_critic, lesson.context, said)
        gradient.append(layer_gradient(weights, design, i, slope, lesson.seen))
    return tuple(gradient)


def layer_gradient(weights: Weights, design: Design, layer: int, slope: Array, seen: Array) -> Array:
    """``dQ^n/da^n f'(K^n v) v`` of all neurons ``n`` of a layer, averaged over steps: ``[n_in + 1, k]``.

    Args:
      weights: of the actor.
      design: its design.
      layer: which, from 0.
      slope: ``dQ^n/da^n``, ``[B, k]``.
      seen: ``v``, ``[B, m]``.
    """

    def worth(own: Array) -> Array:
        said = respond((*weights[:layer], own, *weights[layer + 1 :]), design, layer, seen)
        return (slope * said).sum() / said.shape[0]

    return jax.grad(worth)(weights[layer])


def lessons(key: Key, nets: Nets, batch: Batch, config: DDPGConfig) -> list[Lesson]:
    """What each layer of neurons learns from, by voltages of the layers below alone.

    Voltages are those that occurred or those of today's weights; at the next observation they are the target's. The
    reward is everybody's. A pool's inner steps pay nothing and are not discounted, except for the last.
    """
    design = actor_design(config)
    if config.neuron_aim == "whole":
        return _trials(key, nets, batch, config)
    if config.voltages == "stored":
        firings = recall(design, batch.x, batch.voltages)
    else:
        firings = fire(nets.actor.weights, design, batch.x)
    if config.output_voltage == "executed":
        last = firings[-1]
        said = jnp.concatenate([last.said[:, : -design.sizes[-1]], batch.action], axis=-1)
        firings[-1] = Firing(last.seen, said)
    following = fire(nets.actor.target, design, batch.next_x)
    discount = (config.discount if config.discounted else 1.0) * batch.counts
    if design.recurrent:
        return [_pool_lesson(key, nets, batch, firings, following[0], discount, config)]
    return [
        _lesson(jax.random.fold_in(key, i), batch, now, then, batch.reward, discount, config)
        for i, (now, then) in enumerate(zip(firings, following, strict=True))
    ]


def _trials(key: Key, nets: Nets, batch: Batch, config: DDPGConfig) -> list[Lesson]:
    """Noise on the voltages of one firing at a time, and what comes of it for the value of the action.

    Everybody in the firing is told that one number, in deviations over the batch; nothing is passed back.
    """
    design, critic = actor_design(config), nets.critic
    assert isinstance(critic, Net)
    sizes = said_sizes(design)

    def play(noise: list[Array] | None) -> tuple[list[Firing], Array]:
        firings = fire(nets.actor.weights, design, batch.x, noise)
        action = jnp.clip(action_of(firings, design), -1.0, 1.0)
        return firings, value(critic.weights, config.action_layer, batch.x, action)

    def attempt(i: int) -> Lesson:
        noise = [jnp.zeros((batch.x.shape[0], size)) for size in sizes]
        noise[i] = config.voltage_noise * jax.random.normal(jax.random.fold_in(key, i), noise[i].shape)
        firings, after = play(noise)
        gain = after - before
        gain = gain / (gain.std() + 1e-8)
        return _lesson(key, batch, firings[i], firings[i], gain, jnp.zeros_like(gain), config)

    _, before = play(None)
    found = [attempt(i) for i in range(len(sizes))]
    return [jax.tree.map(lambda *x: jnp.concatenate(x), *found)] if design.recurrent else found


def recall(design: Design, x: Array, voltages: Array) -> list[Firing]:
    """The firings of a decision, from what all neurons said, ``voltages [B, V]``."""
    sizes, firings, start = said_sizes(design), [], 0
    drive = drive_pool(design, x) if design.recurrent else x
    seen = drive
    for size in sizes:
        said = voltages[:, start : start + size]
        firings.append(Firing(seen, said))
        seen, start = said + drive if design.recurrent else said, start + size
    return firings


def _lesson(
    key: Key, batch: Batch, now: Firing, then: Firing, reward: Array, discount: Array, config: DDPGConfig
) -> Lesson:
    def context(seen: Array, x: Array) -> Array:
        return jnp.concatenate([seen, x], axis=-1) if config.critic_sees == "observation" else seen

    return Lesson(
        seen=now.seen,
        said=now.said,
        context=context(now.seen, batch.x),
        reward=reward,
        discount=discount,
        next_said=then.said + _target_noise(key, then.said, config),
        next_context=context(then.seen, batch.next_x),
    )


def _pool_lesson(
    key: Key, nets: Nets, batch: Batch, firings: list[Firing], first: Firing, discount: Array, config: DDPGConfig
) -> Lesson:
    """All inner steps of a batch as one; ``first`` is the target's first firing at the next observation."""
    design, nothing = actor_design(config), jnp.zeros_like(batch.reward)
    parts = []
    for i, now in enumerate(firings):
        last = i == len(firings) - 1
        then = first
        if not last:
            seen = firings[i + 1].seen
            then = Firing(seen, respond(nets.actor.target, design, 0, seen))
        inner = batch if last else batch._replace(next_x=batch.x)
        reward, share = (batch.reward, discount) if last else (nothing, jnp.ones_like(nothing))
        parts.append(_lesson(jax.random.fold_in(key, i), inner, now, then, reward, share, config))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
