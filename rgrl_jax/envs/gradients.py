"""Gradients through environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun


def unstopped(f: Callable[..., Any]) -> Callable[..., Any]:
    """The same function without its ``stop_gradient`` calls, with which gymnax ends every step.

    Calls inside nested functions that are compiled or looped by themselves stay.
    """

    def differentiable(*args: Any) -> Any:
        closed, out = jax.make_jaxpr(f, return_shape=True)(*args)
        same: dict[Any, Any] = {}  # what a stopped variable was before

        def find(var: Any) -> Any:
            return var if isinstance(var, Literal) else same.get(var, var)

        kept = []
        for eqn in closed.jaxpr.eqns:
            eqn = eqn.replace(invars=[find(var) for var in eqn.invars])
            if eqn.primitive.name == "stop_gradient":
                same[eqn.outvars[0]] = eqn.invars[0]
            else:
                kept.append(eqn)
        jaxpr = closed.jaxpr.replace(eqns=kept, outvars=[find(var) for var in closed.jaxpr.outvars])
        leaves = jaxpr_as_fun(ClosedJaxpr(jaxpr, closed.consts))(*jax.tree.leaves(args))
        leaves = [jnp.asarray(x) for x in leaves]  # constants come back as plain numbers
        return jax.tree.unflatten(jax.tree.structure(out), leaves)

    return differentiable
