"""The evaluator of GoGePo: it tells a policy's return from what the policy does in a few learned states.

Policy fingerprinting (Faccio et al., 2022): the policy's actions at ``K`` probing states, which are learned like the
weights, are the input of a relu network.
"""

from __future__ import annotations

import jax
from flax import struct

from rgrl_jax.algos.policy_generators.networks import Weights, init_weights, relu_network
from rgrl_jax.types import Array, Key


class Evaluator(struct.PyTreeNode):
    """What is learned of it.

    Attributes:
      probes: the states ``[K, n_0]``, as policies see observations.
      weights: of the network from ``K`` actions, one state after the other, to a return.
    """

    probes: Array
    weights: Weights


def init_evaluator(key: Key, probes: tuple[int, int], action_size: int, hidden: tuple[int, ...]) -> Evaluator:
    """Probing states ``[K, n_0]`` are uniform in 0..1."""
    probe_key, weight_key = jax.random.split(key)
    sizes = (probes[0] * action_size, *hidden, 1)
    return Evaluator(jax.random.uniform(probe_key, probes), init_weights(weight_key, sizes))


def judge(weights: Weights, actions: Array) -> Array:
    """The return, a scalar, of a policy that does ``actions [K, A]`` in the probing states."""
    return relu_network(weights, actions.ravel())[0]
