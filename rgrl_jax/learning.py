"""Learning: gradient descent on the weights of an ensemble (equation 3 of the paper, lines 21-26)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rgrl_jax.models.base import Model
from rgrl_jax.types import Array, Params, PyTree, Scalar, Window


class Errors(NamedTuple):
    """Squared errors of one window: means over steps and entries, and the summed reward error."""

    reward: Array
    state: Array
    summed_reward: Array


def make_optimizer(name: str, learning_rate: Scalar, clip_norm: Scalar) -> optax.GradientTransformation:
    """``"sgd"`` (the reference's) or ``"adam"``, after clipping by global norm. Arguments may be traced."""
    step = {"sgd": optax.sgd, "adam": optax.adam}[name](learning_rate)
    return optax.chain(optax.clip_by_global_norm(clip_norm), step)


def window_errors(model: Model, params: Params, window: Window) -> Errors:
    """Errors of one member on one window; unknown steps (mask 0) do not count."""
    memory = model.remember(params, window.history)
    predicted = model.apply(params, memory, window.present, window.actions)
    steps = jnp.maximum(window.mask.sum(), 1.0)
    reward = jnp.square(predicted.reward - window.rewards) * window.mask[:, None]
    state = jnp.square(predicted.state - window.states) * window.mask[:, None]
    return Errors(reward.sum() / (steps * reward.shape[-1]), state.sum() / (steps * state.shape[-1]), reward.sum())


def init(params: PyTree, optimizer: optax.GradientTransformation) -> PyTree:
    """Optimiser state of every member, ``[E, ...]``."""
    return jax.vmap(optimizer.init)(params)


def update(
    model: Model,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    opt_state: PyTree,
    windows: Window,
    state_weight: Scalar = 1.0,
) -> tuple[PyTree, PyTree, Array, Array]:
    """One gradient step of every member on its own batch.

    The loss is MSE(reward) + state_weight * MSE(state): each a mean over the known steps and entries of a
    window, and then over windows (equation 3 with the state term of footnote 5).

    Args:
      model: the model.
      optimizer: as given to `init`.
      params: stacked members ``[E, ...]``.
      opt_state: ``[E, ...]``.
      windows: leaves ``[E, B, ...]``.
      state_weight: weight of the state term, >= 0.

    Returns:
      New params, new optimiser state, loss ``[E]``, summed squared reward errors ``[E, B]``.
    """

    def loss(member: Params, batch: Window) -> tuple[Array, Array]:
        errors = jax.vmap(lambda window: window_errors(model, member, window))(batch)
        return (errors.reward + state_weight * errors.state).mean(), errors.summed_reward

    def step(member: Params, state: PyTree, batch: Window) -> tuple[Params, PyTree, Array, Array]:
        (value, errors), gradient = jax.value_and_grad(loss, has_aux=True)(member, batch)
        updates, state = optimizer.update(gradient, state, member)
        return optax.apply_updates(member, updates), state, value, errors

    return jax.vmap(step)(params, opt_state, windows)
