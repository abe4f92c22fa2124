"""The settings of networks as teams of agents, each with its range."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import struct

from rgrl_jax.algos import config as fields
from rgrl_jax.algos.base import get_algorithm
from rgrl_jax.algos.config import choice, constant, flag, integer, integers, number, numbers, word
from rgrl_jax.envs.registry import make as make_spec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Discrete

UNITS_OF: dict[str, tuple[str, ...]] = {
    "reinforce": ("bernoulli", "gaussian"),
    "map_prop": ("gaussian", "bernoulli"),
    "weight_max": ("bernoulli",),
    "weight_max_traces": ("bernoulli",),
    "ste": ("bernoulli",),
    "backprop": ("relu", "softplus"),
}
"""Rules, and the kinds of hidden units that each can teach."""

WHY_NOT = {
    "reinforce": "units that draw nothing have no eligibility of their own",
    "map_prop": "it looks for the most likely activities, and these need a law",
    "weight_max": "a unit's outgoing weights tell how much it matters only if it is on or off",
    "weight_max_traces": "a unit's outgoing weights tell how much it matters only if it is on or off",
    "ste": "it replaces the missing slope of units that are on or off",
    "backprop": "it needs a slope, so units may not draw",
}
"""Why a rule teaches no others."""


class UnitTeamConfig(struct.PyTreeNode):
    """Settings of one run. Floats are traced, so a grid of them is one ``vmap``; the rest is static.

    Settings with one entry per layer count hidden layers from the bottom and end with the output.

    Attributes:
      rule: what a hidden unit learns from: the reward of all (reinforce); the same, once hidden units have moved to
        their likeliest place (map_prop); the change of the norm of its outgoing weights, without or with eligibility
        traces (weight_max, weight_max_traces); the output's eligibility, passed down as if units were their means
        (ste) or through units without chance (backprop).
      env_id: a registered environment.
      max_steps: steps after which an episode is cut off; None for the environment's own limit.
      episodes: training episodes, or rows of them.
      episodes_per_row: episodes played one after the other that make one row of the metrics, and count as one.
      num_envs: environments played side by side; a change of the weights is the mean over them.
      hidden: units of each hidden layer.
      units: of the hidden layers of the actor.
      temperature: of each layer of the actor, where it is Bernoulli or softmax.
      actor_variance: of each layer of the actor, where it is Gaussian.
      critic: what predicts returns: a softplus network that learns by backprop, a team of Gaussian units that learns
        by MAP propagation, or nothing, so that rewards are learnt from as they are.
      critic_variance: of each layer of a map_prop critic.
      last_logit: whether a softmax has a logit for its last action, or a 0 in its place.
      action_scale: what a continuous output is multiplied with before it becomes an action.
      action_shift: what is then added, before the result is clipped to the range of the actions.
      initial_bias: half-width of the uniform law of the first biases.
      discount: of rewards to come, per step.
      actor_trace: share of the actor's eligibilities that outlives a step, before discounting.
      critic_trace: likewise of the critic's.
      signal: learn from rewards, or from the right answer that the environment keeps.
      reward_clip: greatest size of a reward in learning; 0 for any.
      norm: exponent of the norm of outgoing weights.
      delay: with weight_max_traces, every layer learns at once, from what the layer above did at the step before.
      relaxation_steps: steps of Gaussian units down the energy.
      relaxation_rate: their size, in units of each layer's variance.
      sweeps: times that Bernoulli units are asked for their likelier value.
      gate_guard: least distance of an output from its mean, in standard deviations, that a map_prop critic divides
        by; without it float32 collapses.
      optimizer: adam, or plain ascent.
      adam_epsilon: of adam.
      bias_correction_until: update from which adam no longer corrects its moments for their start at 0.
      actor_rate: learning rate of each layer of the actor, at first.
      actor_rate_end: and in the end.
      critic_rate: learning rate of each layer of the critic, at first.
      critic_rate_end: and in the end.
      rate_steps: updates until then.
    """

    rule: str = choice(*UNITS_OF)
    env_id: str = word("CartPole-v1")
    max_steps: int | None = integer(None, 1)
    episodes: int = integer(1000, 1)
    episodes_per_row: int = integer(1, 1)
    num_envs: int = integer(1, 1)
    hidden: tuple[int, ...] = integers((64, 32), 1)
    units: str = choice("bernoulli", "gaussian", "relu", "softplus")
    temperature: tuple[float, ...] = numbers((1.0, 1.0, 1.0), 1e-3, symbol="T")
    actor_variance: tuple[float, ...] = numbers((0.03, 0.1, 0.1), 1e-6, symbol="σ²")
    critic: str = choice("backprop", "map_prop", "none")
    critic_variance: tuple[float, ...] = numbers((0.03, 0.1, 0.1), 1e-6, symbol="σ²")
    last_logit: str = choice("zero", "learned")
    action_scale: float = number(1.0, -1e6, 1e6)
    action_shift: float = number(0.0, -1e6, 1e6)
    initial_bias: float = number(1e-3)
    discount: float = number(0.98, 0.0, 1.0, symbol="γ")
    actor_trace: float = number(0.0, 0.0, 1.0, symbol="λ")
    critic_trace: float = number(0.8, 0.0, 1.0, symbol="λ")
    signal: str = choice("reward", "target")
    reward_clip: float = number(0.0)
    norm: float = constant(2.0, 1.0, 10.0)
    delay: bool = flag(False)
    relaxation_steps: int = integer(20)
    relaxation_rate: float = number(0.5, 0.0, 1.0)
    sweeps: int = integer(1)
    gate_guard: float = number(0.1, 1e-6)
    optimizer: str = choice("adam", "ascent")
    adam_epsilon: float = number(1e-8, 1e-30)
    bias_correction_until: float = number(1000.0)
    actor_rate: tuple[float, ...] = numbers((0.02, 2e-4, 2e-5), symbol="α")
    actor_rate_end: tuple[float, ...] = numbers((2e-4, 2e-6, 2e-7))
    critic_rate: tuple[float, ...] = numbers((0.04, 4e-5, 4e-6), symbol="α")
    critic_rate_end: tuple[float, ...] = numbers((0.004, 4e-5, 4e-6))
    rate_steps: float = number(50_000.0, 1.0)

    def __repr__(self) -> str:
        return fields.show(self)

    def _repr_html_(self) -> str:
        return fields.show_html(self)

    @property
    def spec(self) -> EnvSpec:
        """The environment as the agent sees it."""
        return make_spec(self.env_id, self.max_steps)

    def validate(self) -> None:
        """Checks every field and how they fit together; nothing compiles before this.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        fields.check_fields(self)
        self._check_layers()
        self._check_rule()
        self._check_signal()
        if self.spec.host is not None and self.episodes_per_row > 1:
            raise ValueError(f"episodes_per_row = {self.episodes_per_row} must be 1: {self.env_id} lives on the host")

    def _check_layers(self) -> None:
        layers = len(self.hidden) + 1
        names = ("temperature", "actor_variance", "critic_variance")
        rates = ("actor_rate", "actor_rate_end", "critic_rate", "critic_rate_end")
        for name in names + rates:
            entries = getattr(self, name)
            if len(entries) != layers:
                raise ValueError(
                    f"{name} = {entries} must have {layers} entries: {len(self.hidden)} hidden layers and the output"
                )

    def _check_rule(self) -> None:
        allowed = UNITS_OF[self.rule]
        if self.units not in allowed:
            raise ValueError(
                f"units = {self.units!r} cannot learn by rule = {self.rule!r}: {WHY_NOT[self.rule]}; units can be "
                f"{' or '.join(allowed)}"
            )
        traced = fields.is_traced(self.actor_trace)
        if self.rule == "weight_max" and not traced and np.any(self.actor_trace):
            raise ValueError(
                f"actor_trace = {self.actor_trace} needs rule = 'weight_max_traces': weight_max is the one without"
            )
        if self.delay and self.rule != "weight_max_traces":
            raise ValueError(f"delay = True needs rule = 'weight_max_traces', not {self.rule!r}")

    def _check_signal(self) -> None:
        if self.signal == "reward":
            return
        spec = self.spec
        fits = self.rule == "map_prop" and self.critic == "none" and not isinstance(spec.action, Discrete)
        if not fits:
            raise ValueError(
                "signal = 'target' needs rule = 'map_prop', critic = 'none' and an environment of continuous actions"
            )
        known = spec.host is None and hasattr(jax.eval_shape(spec.reset, jax.random.key(0))[1], "target")
        if not known or spec.max_steps != 1:
            raise ValueError(f"signal = 'target' needs an environment of one step that keeps one, not {self.env_id}")

    def axes(self, *names: str) -> UnitTeamConfig:
        """``in_axes`` for a ``vmap`` over the named floats, ``config.axes("discount")``."""
        return fields.axes(self, names)

    def describe(self) -> Any:
        """What a run will cost, before anything compiles; see `rgrl_jax.algos.base.Cost`."""
        return get_algorithm(self).describe(self)
