"""Measures of a run: how far critics of neurons say what the critic of the whole action says, with ``compare``; and
how far neurons still answer to observations."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.networks import Design, Weights, action_of, fire, value
from rgrl_jax.algos.ddpg.neurons import judge, slopes
from rgrl_jax.algos.ddpg.parts import actor_design, features, said_sizes
from rgrl_jax.algos.ddpg.update import Batch, Lesson, Net, Nets, layer_gradient, lessons
from rgrl_jax.encoding import Running
from rgrl_jax.types import Array, Key


class Similarity(NamedTuple):
    """Of each layer whose neurons have critics ``[L]``; means over its neurons.

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
    """Of each layer ``[L]``, from the observation to the outputs; means over its neurons. A pool is one layer.

    Attributes:
      saturated: share of voltages where a neuron's activation has a slope below `FLAT`, at an end of its range.
      spread: standard deviation over observations of what a neuron says; of outputs, of the action, in -1..1.
    """

    saturated: Array
    spread: Array


FLAT = 0.01


def compare(
    key: Key, nets: Nets, running: Running | tuple[()], obs: Array, config: DDPGConfig
) -> tuple[Similarity, Similarity]:
    """Compares them on observations, and again where neurons' critics answer for other observations.

    The second is the control: returns alone make values of neurons and of the whole alike, and activations alone make
    gradients alike.

    Args:
      key: consumed; for the control's order.
      nets: with both kinds of critics.
      running: scale of the observations.
      obs: raw ``[B, ...]``, best none that anything learnt from.
      config: with ``compare``.

    Raises:
      ValueError: one kind of critics is missing.
    """
    if not (config.has_critic and config.has_neurons):
        raise ValueError("compare = False leaves nothing to compare; it must be True")
    x = features(obs, running, config)
    own = config.replace(voltages="recomputed", neuron_aim="own", output_voltage="own", target_noise=0.0)
    nothing = jnp.zeros(x.shape[0])
    actor = fire(nets.actor.weights, actor_design(config), x)
    batch = Batch(x, action_of(actor, actor_design(config)), nothing, x, nothing, jnp.zeros((x.shape[0], 0)))
    taught = list(enumerate(lessons(key, nets, batch, own)))[-len(nets.neurons) :]
    whole, through = _whole(nets, x, config)

    def measured(order: Array) -> Similarity:
        layers = [_compare_layer(nets, i, lesson, whole, through[i], order, config) for i, lesson in taught]
        return jax.tree.map(lambda *x: jnp.stack(x), *layers)

    return measured(jnp.arange(x.shape[0])), measured(jax.random.permutation(key, x.shape[0]))


def _whole(nets: Nets, x: Array, config: DDPGConfig) -> tuple[Array, list[Array]]:
    """Values ``[B]`` of the actor's actions, and how they change with every voltage ``[B, k]``, layer by layer."""
    design, critic = actor_design(config), nets.critic
    assert isinstance(critic, Net)

    def worth(noise: list[Array]) -> tuple[Array, Array]:
        action = action_of(fire(nets.actor.weights, design, x, noise), design)
        values = value(critic.weights, config.action_layer, x, action)
        return values.sum(), values

    still = [jnp.zeros((x.shape[0], size)) for size in said_sizes(design)]
    through, values = jax.grad(worth, has_aux=True)(still)
    return values, [jnp.concatenate(through)] if design.recurrent else through


def _compare_layer(
    nets: Nets, layer: int, lesson: Lesson, whole: Array, through: Array, order: Array, config: DDPGConfig
) -> Similarity:
    """The measures of one layer, with its critics' answers in this order of the observations."""
    design, kind = actor_design(config), config.neuron_critic
    params = nets.neurons[layer - len(nets.actor.weights)].weights
    rounds = lesson.seen.shape[0] // whole.shape[0]  # inner steps of a pool
    order = (order + whole.shape[0] * jnp.arange(rounds)[:, None]).ravel()
    values = judge(params, kind, lesson.context, lesson.said)[order]
    own = slopes(params, kind, lesson.context, lesson.said)[order]
    whole = jnp.tile(whole, rounds)[:, None]
    alone, together = (
        layer_gradient(nets.actor.weights, design, layer, slope, lesson.seen) for slope in (own, through)
    )
    return Similarity(
        value_correlation=_cosine(values - values.mean(axis=0), whole - whole.mean(axis=0)).mean(),
        value_error=jnp.sqrt(jnp.square(values - whole).mean(axis=0)).mean() / (whole.std() + 1e-12),
        gradient_cosine=_cosine(alone, together).mean(),
        layer_cosine=_cosine(alone.reshape(-1, 1), together.reshape(-1, 1))[0],
        sign_agreement=(jnp.sign(own) == jnp.sign(through)).mean(),
    )


def _cosine(one: Array, other: Array) -> Array:
    """Between columns ``[n, k]``: ``[k]``; 0 where one of them is 0."""
    size = jnp.linalg.norm(one, axis=0) * jnp.linalg.norm(other, axis=0)
    return (one * other).sum(axis=0) / jnp.maximum(size, 1e-20)


def respond_to(actor: Weights, running: Running | tuple[()], obs: Array, config: DDPGConfig) -> Response:
    """How the noiseless actor's neurons respond to observations.

    Args:
      actor: its weights.
      running: scale of the observations.
      obs: raw ``[B, ...]``.
      config: the config; any rule.
    """
    design = actor_design(config)
    firings = fire(actor, design, features(obs, running, config))
    if design.recurrent:
        firings = firings[-1:]
    outputs = (*(0 for _ in firings[:-1]), design.sizes[-1])
    found = [_respond(firing.said, count, design) for firing, count in zip(firings, outputs, strict=True)]
    return jax.tree.map(lambda *x: jnp.stack(x), *found)


def _respond(said: Array, outputs: int, design: Design) -> Response:
    """Of voltages ``[B, k]``, the last of outputs; slopes follow from them: ``1 - a^2`` of tanh, 0 or 1 of relu."""
    slope = 1.0 - said**2
    if design.activation == "relu":
        hidden = jnp.arange(said.shape[-1]) < said.shape[-1] - outputs
        slope = jnp.where(hidden, said > 0, slope)
    return Response(saturated=(slope < FLAT).mean(), spread=said.std(axis=0).mean())
