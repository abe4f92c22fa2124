"""Gradient steps on the weights of an ensemble (equation 3 of the paper, lines 21-26 of Algorithm 1)."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from rgrl_jax import spmd
from rgrl_jax.algos.rgrl.config import LearnerConfig
from rgrl_jax.algos.rgrl.models import Model
from rgrl_jax.algos.rgrl.window_replay import Window
from rgrl_jax.optimizers import make_optimizer
from rgrl_jax.types import Array, Params, PyTree, Scalar


class Errors(NamedTuple):
    """Squared errors of one window: means over steps and entries, and the sum of the reward's."""

    reward: Array
    state: Array
    summed_reward: Array


def make_weight_optimizer(learner: LearnerConfig) -> optax.GradientTransformation:
    """Makes the optimizer of a member's weights, after clipping by global norm."""
    return optax.chain(optax.clip_by_global_norm(learner.clip_norm), make_optimizer(learner.optimizer, learner.lr))


def window_errors(model: Model, params: Params, window: Window, *, teacher_forcing: bool = False) -> Errors:
    """Computes the squared errors of one member on one window; unknown steps (mask 0) do not count.

    Args:
      model: the model.
      params: weights of the member.
      window: the window.
      teacher_forcing: whether the model reads the window's states instead of those it predicted.

    Returns:
      `Errors`; the state error of a model that predicts no states is 0.
    """
    memory = model.encode_history(params, window.history)
    states = {"states": window.states} if teacher_forcing else {}
    predicted = model.apply(params, memory, window.present, window.actions, **states)
    # Models of one's own are met here first: a wrong shape would broadcast.
    chex.assert_equal_shape([predicted.reward, window.rewards], custom_message="a model must predict rewards [T, R]")
    if predicted.state is not None:
        chex.assert_equal_shape([predicted.state, window.states], custom_message="a model must predict states [T, S]")

    def mean(predicted: Array, target: Array) -> Array:
        entries = jnp.square(predicted - target) * window.mask[:, None]
        return entries.sum() / (jnp.maximum(window.mask.sum(), 1.0) * entries.shape[-1])

    squared = (jnp.square(predicted.reward - window.rewards) * window.mask[:, None]).sum()
    state = jnp.zeros(()) if predicted.state is None else mean(predicted.state, window.states)
    return Errors(mean(predicted.reward, window.rewards), state, squared)


def update(
    model: Model,
    learner: LearnerConfig,
    params: PyTree,
    opt_state: PyTree,
    windows: Window,
    lr_scale: Scalar = 1.0,
) -> tuple[PyTree, PyTree, Array, Array]:
    """Makes one gradient step of every member on its own batch.

    The loss is MSE(reward) + state_weight * MSE(state): each a mean over the known steps and entries of a window, and
    then over windows, those of all devices that share a batch (equation 3 with the state term of footnote 5).

    Args:
      model: the model.
      learner: optimizer and loss.
      params: stacked members ``[E, ...]``.
      opt_state: optimizer states ``[E, ...]``.
      windows: leaves ``[E, B, ...]``.
      lr_scale: factor of the step that the optimizer makes.

    Returns:
      New params, new optimizer states, losses ``[E]``, summed squared reward errors ``[E, B]``.
    """
    optimizer = make_weight_optimizer(learner)

    def loss(member: Params, batch: Window) -> tuple[Array, Array]:
        def one(window: Window) -> Errors:
            return window_errors(model, member, window, teacher_forcing=learner.teacher_forcing)

        errors = jax.vmap(one)(batch)
        return (errors.reward + learner.state_weight * errors.state).mean(), errors.summed_reward

    def step(member: Params, state: PyTree, batch: Window) -> tuple[Params, PyTree, Array, Array]:
        (value, errors), gradient = jax.value_and_grad(loss, has_aux=True)(member, batch)
        value, gradient = spmd.pmean((value, gradient))
        updates, state = optimizer.update(gradient, state, member)
        updates = jax.tree.map(lambda u: lr_scale * u, updates)
        return optax.apply_updates(member, updates), state, value, errors

    return jax.vmap(step)(params, opt_state, windows)
