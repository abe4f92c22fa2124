"""MountainCarContinuous with Gymnasium's walls."""

from __future__ import annotations

import jax.numpy as jnp
from gymnax.environments.classic_control import continuous_mountain_car as gymnax_car

from rgrl_jax.envs.gymnax import Transition
from rgrl_jax.types import Array, Key


class GymnasiumMountainCarContinuous(gymnax_car.ContinuousMountainCar):
    """gymnax's MountainCarContinuous-v0 with Gymnasium's two rules for the velocity.

    A car that hits the left wall stops, while gymnax holds its position but keeps the velocity. A car that rolls
    backwards beyond the goal rolls on, while gymnax stops it and pays for the goal; no episode gets there before its
    end. Everything else is the same in both: the force is clipped to -1..1, the reward counts the action as given,
    the goal is tested after the step, positions start uniformly in -0.6..-0.4, and 999 steps are the limit. The
    inherited name lets gymnax draw it.
    """

    def step_env(
        self, key: Key, state: gymnax_car.EnvState, action: Array, params: gymnax_car.EnvParams
    ) -> Transition:
        """Steps once with a force ``action ()``; returns position and velocity ``[2]`` first."""
        no_goal = params.replace(goal_position=jnp.inf)  # without a goal gymnax moves the car as Gymnasium does
        _, state, reward, _, _ = super().step_env(key, state, action, no_goal)
        hit = (state.position <= params.min_position) & (state.velocity < 0)
        state = state.replace(velocity=jnp.where(hit, 0.0, state.velocity))
        terminated = self.is_terminated(state, params)
        return self.get_obs(state), state, reward + 100.0 * terminated, terminated, {}
