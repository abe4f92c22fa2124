"""Learning: gradient descent on the weights of an ensemble (equation 3 of the paper, lines 21-26)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rgrl_jax import sharing
from rgrl_jax.models.base import Model
from rgrl_jax.types import Array, Key, Params, PyTree, Scalar, Window


class Errors(NamedTuple):
    """Errors of one window: means over steps and entries, and the summed squared reward error."""

    reward: Array
    state: Array
    summed_reward: Array


_COUPLED = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "adabelief": optax.adabelief,
    "adagrad": optax.adagrad,
    "adamax": optax.adamax,
    "nadam": optax.nadam,
    "radam": optax.radam,
    "rmsprop": optax.rmsprop,
    "yogi": optax.yogi,
}
_DECOUPLED = {"adamw": optax.adamw, "lamb": optax.lamb, "lion": optax.lion}
OPTIMIZERS = (*_COUPLED, *_DECOUPLED)


def make_optimizer(
    name: str, learning_rate: Scalar, clip_norm: Scalar, weight_decay: Scalar = 0.0
) -> optax.GradientTransformation:
    """One of optax's `OPTIMIZERS` after clipping by global norm; ``"sgd"`` is the reference's.

    Weight decay is added to the gradient, or, for those named after it (``"adamw"`` and its like), to the step.
    The numbers may be traced.
    """
    clip = optax.clip_by_global_norm(clip_norm)
    if name in _DECOUPLED:
        return optax.chain(clip, _DECOUPLED[name](learning_rate, weight_decay=weight_decay))
    return optax.chain(clip, optax.add_decayed_weights(weight_decay), _COUPLED[name](learning_rate))


def _cross_entropy(predicted: Array, target: Array) -> Array:
    """Of bits that are on with probability ``(1 + predicted) / 2``, as a tanh head predicts them."""
    on = jnp.clip(0.5 + 0.5 * predicted, 1e-6, 1.0 - 1e-6)
    return -jnp.where(target > 0, jnp.log(on), jnp.log1p(-on))


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "mse": lambda predicted, target: jnp.square(predicted - target),
    "huber": optax.losses.huber_loss,
    "cross_entropy": _cross_entropy,
}


def window_errors(
    model: Model,
    params: Params,
    window: Window,
    *,
    loss: str = "mse",
    teacher_forcing: bool = False,
    dropout_key: Key | None = None,
) -> Errors:
    """Errors of one member on one window; unknown steps (mask 0) do not count.

    Args:
      model: the model.
      params: weights of the member.
      window: the window.
      loss: one of `LOSSES`; the summed error, by which priorities go, is squared whatever it is.
      teacher_forcing: the model reads the window's states instead of those it predicted.
      dropout_key: the model drops some of its entries.

    Returns:
      `Errors`; the state error of a model that predicts no states is 0.
    """
    memory = model.remember(params, window.history)
    options = {"states": window.states} if teacher_forcing else {}
    if dropout_key is not None:
        options["dropout_key"] = dropout_key
    predicted = model.apply(params, memory, window.present, window.actions, **options)

    def mean(predicted: Array, target: Array) -> Array:
        entries = LOSSES[loss](predicted, target) * window.mask[:, None]
        return entries.sum() / (jnp.maximum(window.mask.sum(), 1.0) * entries.shape[-1])

    squared = (jnp.square(predicted.reward - window.rewards) * window.mask[:, None]).sum()
    state = jnp.zeros(()) if predicted.state is None else mean(predicted.state, window.states)
    return Errors(mean(predicted.reward, window.rewards), state, squared)


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
    *,
    loss: str = "mse",
    teacher_forcing: bool = False,
    dropout_keys: Key | None = None,
    scale: Scalar = 1.0,
) -> tuple[PyTree, PyTree, Array, Array]:
    """One gradient step of every member on its own batch.

    The loss is MSE(reward) + state_weight * MSE(state): each a mean over the known steps and entries of a
    window, and then over windows, those of all devices that share a batch (equation 3 with the state term of
    footnote 5).

    Args:
      model: the model.
      optimizer: as given to `init`.
      params: stacked members ``[E, ...]``.
      opt_state: ``[E, ...]``.
      windows: leaves ``[E, B, ...]``.
      state_weight: weight of the state term, >= 0.
      loss: one of `LOSSES`.
      teacher_forcing: see `window_errors`.
      dropout_keys: likewise, of every member and window ``[E, B]``.
      scale: factor of the step that the optimizer makes.

    Returns:
      New params, new optimiser state, loss ``[E]``, summed squared reward errors ``[E, B]``.
    """

    def total(member: Params, batch: Window, keys: Array | None) -> tuple[Array, Array]:
        def one(window: Window, key: Key | None) -> Errors:
            return window_errors(model, member, window, loss=loss, teacher_forcing=teacher_forcing, dropout_key=key)

        errors = jax.vmap(one)(batch, keys)
        return (errors.reward + state_weight * errors.state).mean(), errors.summed_reward

    def step(member: Params, state: PyTree, batch: Window, keys: Array | None) -> tuple[Params, PyTree, Array, Array]:
        (value, errors), gradient = jax.value_and_grad(total, has_aux=True)(member, batch, keys)
        value, gradient = sharing.mean((value, gradient))
        updates, state = optimizer.update(gradient, state, member)
        updates = jax.tree.map(lambda u: scale * u, updates)
        return optax.apply_updates(member, updates), state, value, errors

    return jax.vmap(step)(params, opt_state, windows, dropout_keys)
