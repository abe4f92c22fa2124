"""Optimizers of optax by name."""

from __future__ import annotations

import difflib
import functools
import inspect

import optax

from rgrl_jax.types import Scalar


@functools.cache
def optimizer_names() -> tuple[str, ...]:
    """Returns the names that `make_optimizer` takes: optimizers of optax that need no more than a learning rate."""
    return tuple(sorted(name for name in vars(optax) if _needs_only_a_rate(name)))


def make_optimizer(name: str, learning_rate: Scalar) -> optax.GradientTransformation:
    """Makes an optimizer of optax with its default settings.

    >>> make_optimizer("addam", 0.1)
    Traceback (most recent call last):
    ValueError: 'addam' is no optimizer of optax that needs only a learning rate; nearest: adam, radam, adamw

    Args:
      name: one of `optimizer_names`, for instance ``"sgd"``, ``"adam"`` or ``"adamw"``.
      learning_rate: the step size; may be traced.

    Raises:
      ValueError: no such optimizer; the message names the nearest ones.
    """
    if name not in (names := optimizer_names()):
        near = ", ".join(difflib.get_close_matches(name, names, cutoff=0.3) or names)
        raise ValueError(f"{name!r} is no optimizer of optax that needs only a learning rate; nearest: {near}")
    return getattr(optax, name)(learning_rate)


def _needs_only_a_rate(name: str) -> bool:
    make = getattr(optax, name, None)
    # Line searches evaluate the error, and parts of optimizers are no optimizers.
    if not inspect.isfunction(make) or name.startswith(("_", "scale_by_", "lbfgs")):
        return False
    parameters = list(inspect.signature(make).parameters.values())
    is_rate = bool(parameters) and parameters[0].name == "learning_rate"
    return is_rate and all(p.default is not p.empty for p in parameters[1:])
