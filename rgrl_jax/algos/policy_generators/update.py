"""How the generator learns, and the evaluator: losses and Adam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.evaluator import Evaluator, init_evaluator, judge
from rgrl_jax.algos.policy_generators.generator import Generator, generate, init_generator
from rgrl_jax.algos.policy_generators.networks import policy_outputs
from rgrl_jax.algos.policy_generators.parts import (
    command_input,
    draw_batch,
    generator_design,
    policy_sizes,
    smooth_action,
)
from rgrl_jax.algos.policy_generators.store import Store
from rgrl_jax.types import Array, Key, Scalar


class Net(struct.PyTreeNode):
    """Weights under training, and what Adam remembers of them."""

    weights: Any
    adam: Any


class Nets(NamedTuple):
    """All that learns; there is no evaluator with udrlpg."""

    generator: Net
    evaluator: Net | tuple[()]


def init_nets(key: Key, config: PolicyGeneratorConfig) -> Nets:
    """Draws the weights."""
    generator_key, evaluator_key = jax.random.split(key)
    generator = init_generator(generator_key, generator_design(config))
    if config.rule == "udrlpg":
        return Nets(_begin(generator), ())
    sizes = policy_sizes(config)
    evaluator = init_evaluator(evaluator_key, (config.probes, sizes[0]), sizes[-1], config.evaluator_hidden)
    return Nets(_begin(generator), _begin(evaluator))


def _begin(weights: Any) -> Net:
    return Net(weights, optax.adam(0.0).init(weights))


def make_policies(generator: Generator, commands: Array, config: PolicyGeneratorConfig) -> Array:
    """Policies ``[B, P]`` for commanded returns ``[B]``."""
    make = partial(generate, generator, generator_design(config), output_scale=config.output_scale)
    return jax.vmap(make)(command_input(commands, config))


def predict(evaluator: Evaluator, policies: Array, config: PolicyGeneratorConfig) -> Array:
    """The evaluator's returns ``[B]`` of policies ``[B, P]``."""

    def one(policy: Array) -> Array:
        outputs = policy_outputs(policy, policy_sizes(config), evaluator.probes)
        return judge(evaluator.weights, smooth_action(outputs, config.spec))

    return jax.vmap(one)(policies)


def imitation_loss(generator: Generator, policies: Array, returns: Array, config: PolicyGeneratorConfig) -> Array:
    """Mean squared error between the weights ``[B, P]`` that were played and those made for what they reached."""
    return jnp.square(make_policies(generator, returns, config) - policies).mean()


def evaluator_loss(evaluator: Evaluator, policies: Array, returns: Array, config: PolicyGeneratorConfig) -> Array:
    """Mean squared error of the returns ``[B]`` that the evaluator gives to policies ``[B, P]``."""
    return jnp.square(predict(evaluator, policies, config) - returns).mean()


def obedience_loss(
    generator: Generator, evaluator: Evaluator, commands: Array, config: PolicyGeneratorConfig
) -> Array:
    """Mean squared error between commands ``[B]`` and what the evaluator says of the policies made for them."""
    return jnp.square(predict(evaluator, make_policies(generator, commands, config), config) - commands).mean()


def study(key: Key, nets: Nets, store: Store, config: PolicyGeneratorConfig) -> tuple[Nets, Array]:
    """The updates after a row of episodes, and the mean loss: of imitation, or with gogepo of the evaluator."""
    key, evaluator_key = jax.random.split(key)
    generator, evaluator = nets
    if not isinstance(evaluator, Net):

        def imitate(weights: Generator, key: Key) -> Array:
            return imitation_loss(weights, *draw_batch(key, store, config), config)

        generator, loss = _descend(key, generator, imitate, config.generator_updates, config.generator_rate)
        return Nets(generator, ()), loss

    def assess(weights: Evaluator, key: Key) -> Array:
        return evaluator_loss(weights, *draw_batch(key, store, config), config)

    evaluator, loss = _descend(evaluator_key, evaluator, assess, config.evaluator_updates, config.evaluator_rate)

    def obey(weights: Generator, key: Key) -> Array:
        return obedience_loss(weights, evaluator.weights, draw_batch(key, store, config)[1], config)

    generator, _ = _descend(key, generator, obey, config.generator_updates, config.generator_rate)
    return Nets(generator, evaluator), loss


def _descend(key: Key, net: Net, loss: Callable[..., Array], updates: int, rate: Scalar) -> tuple[Net, Array]:
    """So many steps of Adam on ``loss(weights, key)``, and the mean of the losses before them."""

    def update(net: Net, key: Key) -> tuple[Net, Array]:
        value, slope = jax.value_and_grad(loss)(net.weights, key)
        change, adam = optax.adam(rate).update(slope, net.adam)
        return Net(optax.apply_updates(net.weights, change), adam), value

    net, losses = jax.lax.scan(update, net, jax.random.split(key, updates))
    return net, losses.mean()
