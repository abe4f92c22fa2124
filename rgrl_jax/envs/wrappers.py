"""Wrappers that change an environment."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rgrl_jax.envs.spec import EnvSpec, HostEnv
from rgrl_jax.types import Array, Key, PyTree


def repeat_actions(spec: EnvSpec, times: int) -> EnvSpec:
    """Repeats every action for ``times`` steps, at least 1, or until the episode ends.

    Rewards are summed over these steps, so ``reward_range`` is ``times`` as wide; ``return_range`` stays, and
    ``max_steps`` becomes ``ceil(max_steps / times)``.
    """
    low, high = spec.reward_range
    limit = -(-spec.max_steps // times)
    slower = dataclasses.replace(spec, max_steps=limit, reward_range=(times * low, times * high))
    if spec.host is not None:
        make = spec.host.make
        host = spec.host._replace(make=lambda renderable: _RepeatedHostEnv(make(renderable), times))
        return dataclasses.replace(slower, host=host)

    def step(key: Key, state: PyTree, action: Array) -> tuple[Array, PyTree, Array, Array, Array]:
        def step_once(carry: Any, i: Array) -> tuple[Any, None]:
            obs, state, total, terminated, truncated = carry
            after = spec.step(jax.random.fold_in(key, i), state, action)
            ended = terminated | truncated
            after = (*after[:2], total + after[2], *after[3:])
            # A scan cannot stop early, so that steps behind the end are computed and dropped.
            return jax.tree.map(lambda old, new: jnp.where(ended, old, new), carry, after), None

        first = spec.step(jax.random.fold_in(key, 0), state, action)
        return jax.lax.scan(step_once, first, jnp.arange(1, times))[0]

    return dataclasses.replace(slower, step=step)


class _RepeatedHostEnv:
    """`repeat_actions` for a `HostEnv`."""

    def __init__(self, env: HostEnv, times: int):
        self.env, self.times = env, times
        self.reset, self.render, self.close = env.reset, env.render, env.close

    def step(self, action: Any) -> tuple[Any, float, bool, bool]:
        """Steps until the action was repeated often enough or the episode ended."""
        total = 0.0
        for _ in range(self.times):
            obs, reward, terminated, truncated = self.env.step(action)
            total += reward
            if terminated or truncated:
                break
        return obs, total, terminated, truncated
