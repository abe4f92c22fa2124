"""Batches that neurons learn from, made of nothing but what the neurons of a layer and those below observe."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.algos.ddpg.networks import q_value
from rgrl_jax.algos.ddpg.update import Batch, TrainedNetwork
from rgrl_jax.algos.neuron_ddpg.config import NeuronDDPGConfig
from rgrl_jax.algos.neuron_ddpg.networks import Activations, NetworkSpec, action_of, forward, layer_forward, recall
from rgrl_jax.mlp import Weights
from rgrl_jax.types import Array, Key


class NeuronBatch(NamedTuple):
    """Batch of transitions observed by the neurons of one layer; of a pool, ``B`` counts all inner steps.

    Voltages that they read ``[B, m]`` and their own ``[B, k]``, what critics read beside those ``[B, c]``, reward
    and discount of the next value ``[B]``, and at the next observation their targets' voltages and what critics read.
    """

    inputs: Array
    outputs: Array
    context: Array
    reward: Array
    discount: Array
    next_outputs: Array
    next_context: Array


def neuron_batches(
    actor: TrainedNetwork, spec: NetworkSpec, batch: Batch, config: NeuronDDPGConfig
) -> list[NeuronBatch]:
    """Makes the batch of each layer from rewards ``[B]``, which all neurons share.

    Voltages are those that occurred or those of today's weights; at the next observation they are the target's.
    """
    stored = config.voltage_source == "stored"
    now = recall(spec, batch.x, batch.extras) if stored else forward(actor.weights, spec, batch.x)
    if config.output_voltage == "executed":
        # Without exploration's noise an output is a function of its inputs, and leaves its critic's slope open.
        hidden = now[-1].outputs[:, : -spec.sizes[-1]]
        now[-1] = now[-1]._replace(outputs=jnp.concatenate([hidden, batch.action], axis=-1))
    following = forward(actor.target, spec, batch.next_x)
    discount = (config.discount if config.discounted else 1.0) * batch.bootstrap
    found = []
    for i, one in enumerate(now):
        reward, share, then, next_x = batch.reward, discount, following[0 if spec.recurrent else i], batch.next_x
        if spec.recurrent and i < len(now) - 1:
            # An inner step pays nothing and is not discounted, and what follows it is the next inner step.
            inputs = now[i + 1].inputs
            then, next_x = Activations(inputs, layer_forward(actor.target, spec, 0, inputs)), batch.x
            reward, share = jnp.zeros_like(reward), jnp.ones_like(discount)
        context, next_context = _context(one, batch.x, config), _context(then, next_x, config)
        found.append(NeuronBatch(*one, context, reward, share, then.outputs, next_context))
    return _per_layer(found, spec)


def whole_action_batches(
    key: Key, actor: Weights, critic: Weights, spec: NetworkSpec, batch: Batch, config: NeuronDDPGConfig
) -> list[NeuronBatch]:
    """Makes the batch of each layer from trials at observations ``[B, n_0]``.

    A trial is noise on the voltages of one pass, and what comes of it for the value that the critic of the whole
    action gives. All neurons of the pass are told that one number, in standard deviations over the batch; nothing is
    passed back.
    """

    def play(noise: list[Array] | None) -> tuple[list[Activations], Array]:
        activations = forward(actor, spec, batch.x, noise)
        action = jnp.clip(action_of(activations, spec), -1.0, 1.0)
        return activations, q_value(critic, batch.x, action, config.action_layer)

    # One pass at a time, so that the gain of a trial is due to the neurons that are told of it.
    _, before = play(None)
    found = []
    for i in range(len(spec.passes)):
        noise = [jnp.zeros((batch.x.shape[0], size)) for _, size in spec.passes]
        noise[i] = config.voltage_noise * jax.random.normal(jax.random.fold_in(key, i), noise[i].shape)
        activations, after = play(noise)
        gain = after - before
        gain = gain / (gain.std() + 1e-8)
        now, context = activations[i], _context(activations[i], batch.x, config)
        # A gain is final: with a discount of 0 what follows does not count, and anything may stand for it.
        found.append(NeuronBatch(*now, context, gain, jnp.zeros_like(gain), now.outputs, context))
    return _per_layer(found, spec)


def _context(activations: Activations, x: Array, config: NeuronDDPGConfig) -> Array:
    """Returns what critics see beside a neuron's own voltage ``[B, c]``."""
    inputs = activations.inputs
    return jnp.concatenate([inputs, x], axis=-1) if config.critic_input == "observation" else inputs


def _per_layer(batches: list[NeuronBatch], spec: NetworkSpec) -> list[NeuronBatch]:
    """Joins the batches of a pool's inner steps, whose weights are the same."""
    return [jax.tree.map(lambda *x: jnp.concatenate(x), *batches)] if spec.recurrent else batches
