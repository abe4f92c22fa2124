"""Settings of DDPG."""

from __future__ import annotations

import numpy as np

from rgrl_jax.algos.base import Config
from rgrl_jax.algos.fields import choice, integer, integers, name, number
from rgrl_jax.types import Box


class DDPGConfig(Config):
    """Settings of one run of DDPG (Lillicrap et al., 2016)."""

    env_id: str = name("Pendulum-v1", "Registered environment of continuous actions.")
    episodes: int = integer(100, "Training episodes, or rows of num_envs episodes.", low=1)
    num_envs: int = integer(1, "Environments stepped together; a row of the metrics is their mean.", low=1)
    obs_normalization: str = choice(
        "raw",
        "range",
        "running",
        help="Scale of observations: none, the environment's ranges, or running statistics.",
    )
    reward_scale: float = number(1.0, "Factor on rewards in learning.")
    hidden: tuple[int, ...] = integers((64, 64), "Hidden units of each layer of the actor.", low=1)
    activation: str = choice("relu", "tanh", help="Activation of the actor's hidden units; its outputs are tanh.")
    final_init: float = number(
        3e-3, "Half-width of the initial weights of last layers; 0 for 1 / sqrt(inputs) as in the others."
    )
    critic_hidden: tuple[int, ...] = integers((64, 64), "Relu units of each layer of the critic.", low=1)
    action_layer: int = integer(0, "Layer of the critic at which the action joins, from 0.")
    discount: float = number(0.99, "Discount of rewards per environment step.", high=1.0, symbol="γ")
    bootstrap: str = choice(
        "truncated", "never", "always", help="Ends past which values count: those by a time limit, none, or all."
    )
    tau: float = number(0.005, "Share of the networks that enters their targets per update.", high=1.0, symbol="τ")
    optimizer: str = choice("adam", "sgd", help="Optimizer of all networks.")
    actor_lr: float = number(1e-3, "Learning rate of the actor.")
    hidden_lr_scale: float = number(1.0, "Factor on the learning rate of the actor's hidden layers; 0 freezes them.")
    critic_lr: float = number(1e-3, "Learning rate of the critic.")
    critic_decay: float = number(0.0, "Weight decay of the critic, added to its gradient.")
    batch_size: int = integer(64, "Steps per update.", low=1, symbol="N")
    updates_per_step: int = integer(1, "Updates per decision once the warm-up is over.", low=1)
    replay_capacity: int = integer(100_000, "Steps kept in the replay.", low=1)
    warmup_steps: int = integer(1000, "Environment steps of random actions before anything is learnt.")
    noise: str = choice(
        "gaussian",
        "ou",
        "none",
        help="Noise on training actions: fresh ones, an Ornstein-Uhlenbeck process, or none.",
    )
    noise_std: float = number(
        0.1, "Standard deviation of the noise per step, in halves of the actions' range.", symbol="σ"
    )
    ou_theta: float = number(
        0.15, "Share of its distance from 0 that an Ornstein-Uhlenbeck process loses per step.", high=1.0, symbol="θ"
    )

    @property
    def action_space(self) -> Box:
        """Continuous actions of the environment, as `validate` requires."""
        space = self.spec.action
        assert isinstance(space, Box)
        return space

    def validate(self) -> None:
        """Checks every field and how they fit together, before anything compiles.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        super().validate()
        space = self.spec.action
        if not isinstance(space, Box):
            raise ValueError(f"env_id = {self.env_id!r} has discrete actions, and DDPG needs continuous ones")
        if not np.isfinite([space.low, space.high]).all():
            raise ValueError(f"env_id = {self.env_id!r} has actions without bounds, and DDPG explores within them")
        capacity, row = self.replay_capacity, self.spec.max_steps * self.num_envs
        if capacity < row:
            raise ValueError(f"replay_capacity = {capacity} must be at least {row}, max_steps times num_envs")
        layer, last = self.action_layer, len(self.critic_hidden)
        if layer > last:
            raise ValueError(f"action_layer = {layer} must be at most {last}, the last layer")
