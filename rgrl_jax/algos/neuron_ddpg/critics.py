"""Critics of neurons: the value of a neuron's voltage ``a``, after the voltages ``v`` that it read.

Those of a layer are stacked: ``k`` neurons that all read ``v [m]`` and say ``a [k]`` get values ``[k]``, of which
each depends on its own entry of ``a`` and on its own parameters alone. A critic of a layer is one network for all of
them, with values ``[1]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from rgrl_jax import mlp
from rgrl_jax.types import Array, Key, PyTree


def init_critics(key: Key, kind: str, inputs: int, neurons: int, hidden: Sequence[int]) -> PyTree:
    """Draws the parameters of the critics of a layer of ``k`` neurons, leaves ``[k, ...]`` unless they share one.

    They read ``m`` inputs; an ``mlp`` or ``layer`` has hidden layers of tanh units.
    """
    if kind == "layer":
        return mlp.init(key, (inputs + neurons, *hidden, 1))
    if kind == "mlp":
        return jax.vmap(partial(mlp.init, sizes=(inputs + 1, *hidden, 1)))(jax.random.split(key, neurons))
    shapes = {"state": (neurons, inputs), "action": (neurons,)}
    if kind == "bilinear":
        shapes |= {"product": (neurons, inputs), "square": (neurons,), "pairs": (neurons, inputs, inputs)}
    width = inputs**-0.5
    return {
        name: width * jax.random.uniform(jax.random.fold_in(key, i), shape, minval=-1.0, maxval=1.0)
        for i, (name, shape) in enumerate(shapes.items())
    }


def q_values(params: PyTree, kind: str, v: Array, a: Array) -> Array:
    """Returns values ``[B, k]``, or ``[B, 1]`` of a layer, at neurons' inputs ``v [B, m]``, outputs ``a [B, k]``."""
    if kind == "layer":
        return mlp.apply(params, jnp.concatenate([v, a], axis=-1), jnp.tanh)
    if kind == "mlp":
        return _stacked_mlp(params, v, a)
    linear = v @ params["state"].T + a * params["action"]
    if kind == "linear":
        return linear
    products = a * (v @ params["product"].T) + params["square"] * a**2
    return linear + products + jnp.einsum("bi,kij,bj->bk", v, params["pairs"], v)


def _stacked_mlp(params: PyTree, v: Array, a: Array) -> Array:
    """Evaluates a network per neuron, ``[B, k]``."""
    first, *rest = params
    count, _, width = first.shape
    # The neurons differ in their own voltage alone, so one plain product serves all for `v`: faster than a vmap.
    read = v @ first[:, :-2].transpose(1, 0, 2).reshape(v.shape[1], count * width)
    h = read.reshape(-1, count, width).transpose(1, 0, 2) + a.T[:, :, None] * first[:, None, -2] + first[:, None, -1]
    for w in rest:
        h = jnp.tanh(h) @ w[:, :-1] + w[:, None, -1]
    return h[..., 0].T


def action_gradients(params: PyTree, kind: str, v: Array, a: Array) -> Array:
    """Returns the slopes of the values by the neurons' own voltages, ``dQ^n / da^n``, ``[B, k]``."""
    return jax.grad(lambda a: q_values(params, kind, v, a).sum())(a)
