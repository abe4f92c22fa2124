"""The settings of deterministic policy gradients, of a whole actor or of every neuron, each with its range."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import struct

from rgrl_jax.algos import config as fields
from rgrl_jax.algos.base import get_algorithm
from rgrl_jax.algos.config import choice, flag, integer, integers, number, word
from rgrl_jax.envs.registry import make as make_spec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Box

RULES = ("ddpg", "neuron_ddpg")


class DDPGConfig(struct.PyTreeNode):
    """Settings of one run. Floats are traced, so a grid of them is one ``vmap``; the rest is static.

    Attributes:
      rule: what the actor climbs: the value that one critic gives to the whole action, passed back through all layers
        (ddpg); or, every neuron by itself, the value that its own critic gives to its voltage (neuron_ddpg).
      env_id: a registered environment of continuous actions.
      max_steps: steps after which an episode is cut off; None for the environment's own limit.
      episodes: training episodes, or rows of them.
      num_envs: environments played side by side; they share networks and replay, and a row of the metrics is their
        mean.
      observation: numbers as they are, on the scale of the environment's ranges, or on that of the running mean and
        deviation of all that was seen in training.
      reward_scale: what rewards are multiplied with in learning.
      topology: layers that feed each other, or one pool of input, hidden and output neurons that all read each other.
      hidden: hidden units of each layer of the actor, or together those of the pool.
      inner_steps: of a recurrent pool, from rest to action, in every environment step.
      activation: of the actor's hidden units; its outputs are tanh.
      biases: biases in the actor.
      final_init: half-width of the uniform law of the last layers' first weights; 0 for that of the other layers,
        1 / sqrt(inputs).
      critic_hidden: relu units of each layer of the critic of the whole action.
      action_layer: layer of that critic at which the action joins, from 0.
      learners: which neurons have critics of their own, and so learn by neuron_ddpg: all, or those of the outputs
        alone, above hidden layers that stay as they were drawn. A pool is one layer, of outputs too.
      neuron_critic: what judges a neuron's voltage a after the voltages v that it read: a network of its own (mlp);
        p v + q a, as the draft has it (linear); with products, p v + a (q + w v) + k a^2 + v C v (bilinear); or one
        network for all voltages of a layer (layer).
      neuron_hidden: tanh units of each layer of such a network.
      critic_sees: what v is: the voltages that the neuron reads, or beside them the observation, which is no longer
        local.
      neuron_aim: what critics of neurons learn: the reward and their own next value (own); or, with noise on their
        layer's voltages at replayed observations, what that adds to the value which the critic of the whole action
        gives to what comes of it, in deviations over the batch (whole).
      compare: train the other rule's critics too, on the same steps; nothing learns from them.
      discount: of rewards to come, per environment step.
      discounted: whether critics of neurons discount; the draft's loss of its first experiment does not.
      bootstrap: past which ends values count: a time limit's (truncated), none (never), or all, as the draft lacks a
        mask (always).
      loss: of a critic, the mean of squared errors, or half of it, as the draft's updates have it.
      target_rate: share of the networks that goes into their slow targets at every update, tau.
      target_noise: standard deviation of the noise on the target's action or voltages; 0 in DDPG.
      target_noise_clip: its greatest size.
      optimizer: adam, or plain descent.
      actor_rate: learning rate of the actor.
      hidden_rate: share of it at which the actor's hidden layers learn; 0 freezes them. A pool is one layer.
      critic_rate: learning rate of the critic of the whole action.
      neuron_rate: learning rate of the critics of neurons.
      critic_decay: pull of the weights of the critic of the whole action towards 0.
      batch: steps per update.
      updates_per_step: updates at every decision, from the first after the warm-up on.
      replay_capacity: steps kept.
      warmup_steps: environment steps of random actions before anything is learnt.
      noise: of the actions in training episodes: fresh at every step, an Ornstein-Uhlenbeck process, or none, as in
        the draft.
      noise_scale: its standard deviation per step, in halves of the range of the actions, sigma.
      noise_reversion: of the Ornstein-Uhlenbeck process, share of its distance from 0 that it loses per step, theta.
      voltages: what critics of neurons learn from: voltages of today's actor at the stored observations, or those
        that occurred.
      voltage_noise: standard deviation of the noise on hidden voltages in training episodes, which needs stored
        voltages; or on those that are tried on the critic of the whole action.
      output_voltage: what output neurons are held to have said: the action that was executed, noise and all, or their
        own, which leaves their critics without a clue.
    """

    rule: str = choice(*RULES)
    env_id: str = word("Pendulum-v1")
    max_steps: int | None = integer(None, 1)
    episodes: int = integer(100, 1)
    num_envs: int = integer(1, 1)
    observation: str = choice("raw", "range", "running")
    reward_scale: float = number(1.0)
    topology: str = choice("feedforward", "recurrent")
    hidden: tuple[int, ...] = integers((64, 64), 1)
    inner_steps: int = integer(3, 1, symbol="ℓ")
    activation: str = choice("relu", "tanh")
    biases: bool = flag(True)
    final_init: float = number(3e-3)
    critic_hidden: tuple[int, ...] = integers((64, 64), 1)
    action_layer: int = integer(0)
    learners: str = choice("all", "outputs")
    neuron_critic: str = choice("mlp", "linear", "bilinear", "layer")
    neuron_hidden: tuple[int, ...] = integers((16, 16), 1)
    critic_sees: str = choice("voltages", "observation")
    neuron_aim: str = choice("own", "whole")
    compare: bool = flag(False)
    discount: float = number(0.99, 0.0, 1.0, symbol="γ")
    discounted: bool = flag(True)
    bootstrap: str = choice("truncated", "never", "always")
    loss: str = choice("mean", "half")
    target_rate: float = number(0.005, 0.0, 1.0, symbol="τ")
    target_noise: float = number(0.0)
    target_noise_clip: float = number(0.5)
    optimizer: str = choice("adam", "sgd")
    actor_rate: float = number(1e-3, symbol="η_A")
    hidden_rate: float = number(1.0)
    critic_rate: float = number(1e-3, symbol="η_Q")
    neuron_rate: float = number(1e-3, symbol="η_Q")
    critic_decay: float = number(0.0)
    batch: int = integer(64, 1, symbol="N")
    updates_per_step: int = integer(1, 1)
    replay_capacity: int = integer(100_000, 1)
    warmup_steps: int = integer(1000)
    noise: str = choice("gaussian", "ou", "none")
    noise_scale: float = number(0.1, symbol="σ")
    noise_reversion: float = number(0.15, 0.0, 1.0, symbol="θ")
    voltages: str = choice("recomputed", "stored")
    voltage_noise: float = number(0.0)
    output_voltage: str = choice("executed", "own")

    def __repr__(self) -> str:
        return fields.show(self)

    def _repr_html_(self) -> str:
        return fields.show_html(self)

    @property
    def spec(self) -> EnvSpec:
        """The environment as the agent sees it."""
        return make_spec(self.env_id, self.max_steps)

    @property
    def has_critic(self) -> bool:
        """Whether there is a critic of the whole action."""
        return self.rule == "ddpg" or self.compare or self.neuron_aim == "whole"

    @property
    def has_neurons(self) -> bool:
        """Whether there are critics of neurons."""
        return self.rule == "neuron_ddpg" or self.compare

    def validate(self) -> None:
        """Checks every field and how they fit together; nothing compiles before this.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        fields.check_fields(self)
        self._check_environment()
        self._check_networks()
        tried = self.voltages == "stored" or self.neuron_aim == "whole"
        if fields.is_traced(self.voltage_noise):
            return
        if np.any(self.voltage_noise) and not tried:
            raise ValueError(
                f"voltage_noise = {self.voltage_noise} needs voltages = 'stored' or neuron_aim = 'whole', or nothing "
                "learns of it"
            )
        if self.neuron_aim == "whole" and not np.all(self.voltage_noise):
            raise ValueError(
                f"voltage_noise = {self.voltage_noise} must be above 0 with neuron_aim = 'whole', which needs it"
            )

    def _check_environment(self) -> None:
        spec = self.spec
        if not isinstance(spec.action, Box):
            raise ValueError(
                f"env_id = {self.env_id!r} has discrete actions, and rule = {self.rule!r} needs continuous"
            )
        if not np.isfinite([spec.action.low, spec.action.high]).all():
            raise ValueError(
                f"env_id = {self.env_id!r} has actions without bounds, and {self.rule} explores within them"
            )
        row = spec.max_steps * self.num_envs
        if self.replay_capacity < row:
            raise ValueError(
                f"replay_capacity = {self.replay_capacity} must be at least {row}, max_steps times num_envs"
            )

    def _check_networks(self) -> None:
        if not self.hidden and self.rule == "neuron_ddpg":
            raise ValueError("hidden = () must have an entry: without hidden units nothing is decentralised")
        if self.action_layer > len(self.critic_hidden):
            raise ValueError(
                f"action_layer = {self.action_layer} must be at most {len(self.critic_hidden)}, the critic's "
                f"last layer"
            )
        if self.neuron_critic == "layer" and self.topology == "recurrent":
            raise ValueError("neuron_critic = 'layer' needs topology = 'feedforward': a pool has no layers")

    def axes(self, *names: str) -> DDPGConfig:
        """``in_axes`` for a ``vmap`` over the named floats, ``config.axes("discount")``."""
        return fields.axes(self, names)

    def describe(self) -> Any:
        """What a run will cost, before anything compiles; see `rgrl_jax.algos.base.Cost`."""
        return get_algorithm(self).describe(self)
