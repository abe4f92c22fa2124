"""Critics of neurons: what a neuron's voltage is worth, after the voltages that it read.

Those of a layer are stacked: ``k`` neurons that all read ``v [m]`` and say ``a [k]`` get values ``[k]``, of which
each depends on its own entry of ``a`` and on its own parameters alone. A critic of a layer is one network for all of
them, with values ``[1]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from rgrl_jax.algos.ddpg.networks import init_weights
from rgrl_jax.types import Array, Key, PyTree


def init_neurons(key: Key, kind: str, read: int, neurons: int, hidden: Sequence[int]) -> PyTree:
    """Parameters of the critics of a layer.

    Args:
      key: consumed.
      kind: ``mlp``, ``linear``, ``bilinear`` or ``layer``.
      read: ``m``.
      neurons: ``k``.
      hidden: tanh units of each layer of an ``mlp`` or ``layer``.
    """
    if kind == "layer":
        return init_weights(key, (read + neurons, *hidden, 1))
    if kind == "mlp":
        keys = jax.random.split(key, neurons)
        return jax.vmap(lambda key: init_weights(key, (read + 1, *hidden, 1)))(keys)
    shapes = {"state": (neurons, read), "action": (neurons,)}
    if kind == "bilinear":
        shapes |= {"product": (neurons, read), "square": (neurons,), "pairs": (neurons, read, read)}
    width = read**-0.5
    return {
        name: width * jax.random.uniform(jax.random.fold_in(key, i), shape, minval=-1.0, maxval=1.0)
        for i, (name, shape) in enumerate(shapes.items())
    }


def judge(params: PyTree, kind: str, v: Array, a: Array) -> Array:
    """Values ``[B, k]``, or ``[B, 1]`` of a layer.

    Args:
      params: as made by `init_neurons`.
      kind: likewise.
      v: what the neurons read ``[B, m]``.
      a: what they said ``[B, k]``.
    """
    if kind == "layer":
        return _tanh_network(params, jnp.concatenate([v, a], axis=-1))
    if kind == "mlp":
        return _judge_alone(params, v, a)
    linear = v @ params["state"].T + a * params["action"]
    if kind == "linear":
        return linear
    products = a * (v @ params["product"].T) + params["square"] * a**2
    return linear + products + jnp.einsum("bi,kij,bj->bk", v, params["pairs"], v)


def _tanh_network(weights: tuple[Array, ...], x: Array) -> Array:
    for i, w in enumerate(weights):
        x = x @ w[:-1] + w[-1]
        x = x if i == len(weights) - 1 else jnp.tanh(x)
    return x


def _judge_alone(params: PyTree, v: Array, a: Array) -> Array:
    """A network for every neuron. What it reads of ``v`` is one plain product for all neurons, which is faster."""
    first, *rest = params
    count, _, width = first.shape
    read = v @ first[:, :-2].transpose(1, 0, 2).reshape(v.shape[1], count * width)
    h = read.reshape(-1, count, width).transpose(1, 0, 2) + a.T[:, :, None] * first[:, None, -2] + first[:, None, -1]
    for w in rest:
        h = jnp.tanh(h) @ w[:, :-1] + w[:, None, -1]
    return h[..., 0].T


def slopes(params: PyTree, kind: str, v: Array, a: Array) -> Array:
    """How the value changes with a neuron's own voltage, ``dQ^n / da^n``, ``[B, k]``."""
    return jax.grad(lambda a: judge(params, kind, v, a).sum())(a)
