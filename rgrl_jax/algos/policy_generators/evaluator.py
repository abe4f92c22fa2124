"""The evaluator of GoGePo: predicts a policy's return from its actions in a few learned states.

Policy fingerprinting (Faccio et al., 2022): the policy's actions at ``K`` probing states, which are learned like the
weights, are the input of a relu network.
"""

from __future__ import annotations

import jax
from flax import struct

from rgrl_jax import mlp
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.policy import layer_sizes, policy_outputs, smooth_actions
from rgrl_jax.types import Array, Key


class Evaluator(struct.PyTreeNode):
    """Weights of an evaluator.

    Attributes:
      probes: probing states ``[K, n_0]``, as normalized observations.
      weights: network from the actions in all probing states, one state after the other, to a return.
    """

    probes: Array
    weights: mlp.Weights


def init_evaluator(key: Key, config: PolicyGeneratorConfig) -> Evaluator:
    """Draws ``K`` probing states uniformly from 0..1 and the network by `rgrl_jax.mlp.init`."""
    probe_key, weights_key = jax.random.split(key)
    sizes = layer_sizes(config)
    probes = jax.random.uniform(probe_key, (config.num_probes, sizes[0]))
    return Evaluator(probes, mlp.init(weights_key, (config.num_probes * sizes[-1], *config.evaluator_hidden, 1)))


def predict_returns(evaluator: Evaluator, policies: Array, config: PolicyGeneratorConfig) -> Array:
    """Predicts the returns ``[B]`` of policies ``[B, P]``."""

    def predict_return(policy: Array) -> Array:
        outputs = policy_outputs(policy, layer_sizes(config), evaluator.probes)
        actions = smooth_actions(outputs, config.spec.action)
        return mlp.apply(evaluator.weights, actions.ravel(), jax.nn.relu)[0]

    return jax.vmap(predict_return)(policies)
