"""Settings of unit teams."""

from __future__ import annotations

import jax
import numpy as np

from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Config
from rgrl_jax.algos.fields import choice, flag, integer, integers, number, numbers
from rgrl_jax.types import Discrete

_ON_OR_OFF = "outgoing weights tell how much a unit matters only if it is on or off"
_HIDDEN_UNITS: dict[str, tuple[tuple[str, ...], str]] = {
    "reinforce": (("bernoulli", "gaussian"), "deterministic units have no eligibility of their own"),
    "map_prop": (
        ("gaussian", "bernoulli"),
        "it looks for the most likely activities, and deterministic units have no distribution",
    ),
    "weight_max": (("bernoulli",), _ON_OR_OFF),
    "weight_max_traces": (("bernoulli",), _ON_OR_OFF),
    "ste": (("bernoulli",), "it replaces the missing slope of units that are on or off"),
    "backprop": (("relu", "softplus"), "it needs a slope, so units may not be stochastic"),
}
"""Algorithms, the kinds of hidden units that each can train, and why it cannot train others."""


class UnitTeamConfig(Config):
    """Settings of a run of unit teams.

    Settings with one entry per layer count hidden layers from the bottom and end with the output.
    """

    episodes: int = integer(1000, "Training episodes, or rows of episodes_per_row of them.", low=1)
    algorithm: str = choice(
        *_HIDDEN_UNITS,
        help="Learning signal of hidden units: the reward of all (reinforce), the same after hidden units moved to "
        "their most likely activities (map_prop), the change of the norm of their outgoing weights, without or with "
        "eligibility traces (weight_max, weight_max_traces), or the output's eligibility, passed down by the "
        "straight-through estimator (ste) or through deterministic units (backprop).",
    )
    episodes_per_row: int = integer(
        1, "Episodes that are trained one after the other for each row of the metrics, and count as one.", low=1
    )
    num_envs: int = integer(
        1, "Environments played side by side; a change of the weights is the mean over them.", low=1
    )
    hidden: tuple[int, ...] = integers((64, 32), "Units in each hidden layer of actor and critic.", low=1)
    units: str = choice("bernoulli", "gaussian", "relu", "softplus", help="Kind of the actor's hidden units.")
    temperature: tuple[float, ...] = numbers(
        (1.0, 1.0, 1.0), "Temperature of each layer of the actor that is Bernoulli or softmax.", low=1e-3, symbol="T"
    )
    actor_variance: tuple[float, ...] = numbers(
        (0.03, 0.1, 0.1), "Variance of each layer of the actor that is Gaussian.", low=1e-6, symbol="σ²"
    )
    critic: str = choice(
        "backprop",
        "map_prop",
        "none",
        help="Critic that predicts returns: a softplus network trained by backpropagation, a team of Gaussian units "
        "trained by MAP propagation, or none, so that rewards are learnt from as they are.",
    )
    critic_variance: tuple[float, ...] = numbers(
        (0.03, 0.1, 0.1), "Variance of each layer of a map_prop critic.", low=1e-6, symbol="σ²"
    )
    last_logit: str = choice("zero", "learned", help="Logit of a softmax's last action: 0, or learned as the others.")
    action_scale: float = number(1.0, "Factor that turns a continuous output into an action.", low=-1e6, high=1e6)
    action_shift: float = number(
        0.0, "Added to a scaled continuous output before it is clipped to the actions' range.", low=-1e6, high=1e6
    )
    initial_bias: float = number(1e-3, "Half-width of the uniform distribution of the initial biases.")
    discount: float = number(0.98, "Discount of future rewards, per step.", high=1.0, symbol="γ")
    actor_lambda: float = number(0.0, "Decay of the actor's traces, beside the discount.", high=1.0, symbol="λ")
    critic_lambda: float = number(0.8, "Decay of the critic's traces, beside the discount.", high=1.0, symbol="λ")
    learning_signal: str = choice(
        "reward", "target", help="Learning from rewards, or from the right answer that the environment keeps."
    )
    reward_clip: float = number(0.0, "Largest size of a reward in learning; 0 for no limit.")
    norm_exponent: float = number(
        2.0, "Exponent of the norm of outgoing weights, with weight_max.", low=1.0, high=10.0, static=True, symbol="p"
    )
    delayed_unit_rewards: bool = flag(
        False, "With weight_max_traces, hidden layers learn from the rewards that the step before gave their units."
    )
    map_steps: int = integer(20, "Gradient steps of Gaussian units to their most likely activities, with map_prop.")
    map_step_size: float = number(
        0.5, "Size of the gradient steps of map_prop, in units of each layer's variance.", high=1.0
    )
    icm_sweeps: int = integer(
        1, "Times that every Bernoulli unit is set to its likelier value, with map_prop (iterated conditional modes)."
    )
    residual_floor: float = number(
        0.1,
        "Least distance of an output from its mean, in standard deviations, that a map_prop critic divides by; with "
        "less, runs collapse in float32.",
        low=1e-6,
    )
    optimizer: str = choice("adam", "sgd", help="Optimizer of both networks.")
    adam_eps: float = number(1e-8, "Epsilon of Adam.", low=1e-30)
    bias_correction_until: float = number(
        1000.0, "Update from which Adam no longer corrects its moments' start at 0."
    )
    actor_lr: tuple[float, ...] = numbers((0.02, 2e-4, 2e-5), "Learning rates of the actor at the start.", symbol="α")
    actor_lr_end: tuple[float, ...] = numbers(
        (2e-4, 2e-6, 2e-7), "Learning rates of the actor after lr_decay_steps updates."
    )
    critic_lr: tuple[float, ...] = numbers(
        (0.04, 4e-5, 4e-6), "Learning rates of the critic at the start.", symbol="α"
    )
    critic_lr_end: tuple[float, ...] = numbers(
        (4e-3, 4e-5, 4e-6), "Learning rates of the critic after lr_decay_steps updates."
    )
    lr_decay_steps: float = number(5e4, "Updates over which learning rates change linearly to their ends.", low=1.0)

    def validate(self) -> None:
        """Checks every field and how they fit together.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        super().validate()
        layers = len(self.hidden) + 1
        names = ("temperature", "actor_variance", "critic_variance")
        for name in (*names, "actor_lr", "actor_lr_end", "critic_lr", "critic_lr_end"):
            entries = getattr(self, name)
            if len(entries) != layers:
                raise ValueError(
                    f"{name} = {entries} must have {layers} entries: {len(self.hidden)} hidden layers and the output"
                )
        trainable, reason = _HIDDEN_UNITS[self.algorithm]
        if self.units not in trainable:
            raise ValueError(
                f"units = {self.units!r} cannot be trained by algorithm = {self.algorithm!r}: {reason}; "
                f"units can be {' or '.join(trainable)}"
            )
        # Traced values were checked where they were concrete, or are mapped by somebody who knows.
        traced = fields.is_traced(self.actor_lambda)
        if self.algorithm == "weight_max" and not traced and np.any(self.actor_lambda):
            raise ValueError(
                f"actor_lambda = {self.actor_lambda} needs algorithm = 'weight_max_traces': weight_max has no traces"
            )
        if self.delayed_unit_rewards and self.algorithm != "weight_max_traces":
            raise ValueError(
                f"delayed_unit_rewards = True needs algorithm = 'weight_max_traces', not {self.algorithm!r}"
            )
        if self.learning_signal == "target":
            self._check_target()

    def _check_target(self) -> None:
        spec = self.spec
        if self.algorithm != "map_prop" or self.critic != "none" or isinstance(spec.action, Discrete):
            raise ValueError(
                "learning_signal = 'target' needs algorithm = 'map_prop', critic = 'none' and an environment of "
                "continuous actions"
            )
        # The policy reads the target off the state of the environment, which it does not have on the host.
        known = spec.host is None and hasattr(jax.eval_shape(spec.reset, jax.random.key(0))[1], "target")
        if not known or spec.max_steps != 1:
            raise ValueError(
                f"learning_signal = 'target' needs an environment of one step that keeps one, not {self.env_id}"
            )
