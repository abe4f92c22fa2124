"""Settings of Reversal Generative RL in groups, with the paper's symbols."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rgrl_jax.algos.base import Config
from rgrl_jax.algos.fields import Group, choice, flag, group, integer, name, number, optimizer
from rgrl_jax.algos.rgrl.models.base import check_name
from rgrl_jax.envs.registry import make
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Box, Discrete


class ExploreConfig(Group):
    """Random actions in training episodes; the noise of plans is the planner's."""

    warmup_episodes: int = integer(5, "Episodes of random actions before the first planned one.")
    warmup_action_repeat: float = number(1.0, "Mean number of steps for which a random action is repeated.", low=1.0)
    epsilon: float = number(0.0, "Probability of a random action in place of a planned one after warm-up.", high=1.0)


class TargetConfig(Group):
    """Quantity that the model learns as reward."""

    discount: float = number(
        0.0, "Discount of the future rewards averaged into a target; 0 keeps each step's own reward.", high=1.0
    )
    reward_scale: str = choice(
        "environment",
        "seen",
        help="Rewards that encode to -1 and 1: the environment's range, or the smallest and largest target seen.",
    )
    absorbing_reward: str = choice(
        "zero",
        "last",
        help="Reward of every step past a terminal state: zero, or the last one, so that plans hurry to a goal.",
    )
    novelty: bool = flag(False, "Predict count-based novelty of states beside rewards, for planner.novelty_weight.")


class ModelConfig(Group):
    """Ensemble of models that predict rewards and states."""

    kind: str = name("gru", "Registered model, see rgrl list.")
    ensemble_size: int = integer(5, "Members of the ensemble.", low=1, symbol="m")
    width: int = integer(32, "Features per layer.", low=1, symbol="d")
    layers: int = integer(1, "Stacked layers.", low=1, symbol="L")
    heads: int = integer(4, "Attention heads of a transformer; a divisor of model.width.", low=1)
    history_length: int = integer(0, "Steps before the present that the model reads.", symbol="H")
    encoder: str = choice("dense", "conv", help="Embedding of states: one linear map, or convolutions over an image.")
    reward_from: str = choice(
        "feature", "state", help="Input of the reward head: the network's feature, or only the predicted next state."
    )
    unroll: int = integer(
        15, "Model steps per loop body while learning: the whole horizon for narrow models, 1 for wide ones.", low=1
    )


class PlannerConfig(Group):
    """Search for actions through the ensemble."""

    kind: str = choice(
        "gradient",
        "shooting",
        "cem",
        "mppi",
        help="Gradient descent on the actions (the method), or a planner that draws actions, for comparison.",
    )
    horizon: int = integer(15, "Steps of a plan.", low=1, symbol="T")
    iterations: int = integer(15, "Gradient steps per plan, or rounds of drawing.", symbol="iterations, line 10")
    lr: float = number(0.3, "Step size of the descent on actions.", symbol="β")
    optimizer: str = optimizer("adam", "Optax optimizer of the actions; the paper's is sgd.")
    loss: str = choice(
        "squared",
        "absolute",
        help="Distance of predicted from desired rewards: squared, or absolute, which ranks plans by summed reward.",
    )
    desired_reward: float = number(
        1.0, "Encoded reward that plans aim at; 1 is the upper end of the scale.", low=-10.0, high=10.0, symbol="r*"
    )
    noise: float = number(0.05, "Half-width of the uniform noise a plan starts from, before the squash.", symbol="σ")
    noise_decay: float = number(1.0, "Factor of the noise per planned episode.", high=1.0)
    noise_cycle: int = integer(10, "Planned episodes after which the noise starts anew.", low=1)
    num_starts: int = integer(
        1, "Plans descended in parallel; the one of the lowest mean loss is executed. Later ones start wider.", low=1
    )
    rank_starts_by: str = choice(
        "relaxed", "executed", help="Actions by which parallel plans are compared: as descended, or as executed."
    )
    replan_every: int = integer(1, "Steps of a plan that are executed before planning again.", low=1)
    novelty_weight: float = number(
        1.0, "Weight of the distance from the largest novelty beside that from the desired reward; 0 in evaluation."
    )
    samples: int = integer(32, "Plans drawn per round by shooting, cem and mppi; cem keeps the best fifth.", low=2)
    temperature: float = number(0.1, "Temperature of the weights by which mppi averages plans.", low=1e-6)
    unroll: int = integer(3, "Model steps per loop body while planning.", low=1)


class LearnerConfig(Group):
    """Gradient descent on the weights."""

    updates_per_episode: int = integer(200, "Updates per member and episode.", low=1, symbol="iterations, line 22")
    batch_size: int = integer(64, "Windows per update and member.", low=1)
    lr: float = number(1e-3, "Learning rate.", symbol="α")
    lr_end: float = number(
        1.0, "Share of the learning rate left at the last update after an episode; it falls linearly.", high=1.0
    )
    optimizer: str = optimizer("adam", "Optax optimizer of the weights; the paper's is sgd.")
    clip_norm: float = number(1.0, "Largest norm of a member's gradient.")
    state_weight: float = number(1.0, "Weight of the state error beside the reward error, footnote 5.")
    teacher_forcing: bool = flag(False, "Feed the model true states instead of predicted ones while learning.")
    action_noise: float = number(1.0, "Largest share by which a window's actions are randomly shrunk.", high=1.0)
    reset_every: int = integer(
        0, "Episodes after which members are drawn anew and trained on the whole replay; 0 for never."
    )
    member_reset: str = choice("all", "round_robin", help="Members that are drawn anew: all, or one after the other.")


class ReplayConfig(Group):
    """Steps that are kept, and the windows that are drawn from them."""

    kind: str = choice(
        "uniform",
        "priority",
        "balanced",
        help="Probability of a window: uniform, a power of its reward error, or equal for every distinct state.",
    )
    priority_exponent: float = number(1.0, "Exponent of the priorities.")
    capacity: int = integer(25_000, "Environment steps kept.", low=1, symbol="D")
    max_windows: int = integer(25_000, "Windows kept after an episode, a random subset, line 27.", low=1)


class ReferenceConfig(Group):
    """Quirks of the authors' code; the paper preset sets them, nobody else needs them."""

    signals: str = choice(
        "native", "reference", help="Observations and rewards that the model reads: native, or those of the authors."
    )
    state_encoding: str = choice("scale", "thermometer", help="Encoding of observed numbers: scaled, or as bars.")
    state_bins: int = integer(100, "Entries per observed number of a thermometer.", low=1)
    done_size: int = integer(1, "Length of the block that tells the model that an episode has ended.", low=1)
    reward_encoding: str = choice("scale", "thermometer", help="Encoding of rewards: scaled to -1..1, or as a bar.")
    reward_bins: int = integer(100, "Entries of a reward thermometer.", low=1, symbol="R")
    zero_terminal_reward: bool = flag(False, "Drop the reward of the terminating step from the targets.")
    running_return: bool = flag(False, "Learn the return so far, on the scale of returns, instead of rewards.")
    past_end: str = choice(
        "absorb",
        "simulate",
        help="Windows past the end of an episode: stay at its last state, or step the environment on.",
    )
    dedupe: str = choice(
        "none",
        "window",
        "components",
        help="Windows that are dropped as known: none, equal ones, or those whose six parts have each been seen.",
    )
    exact_priorities: bool = flag(False, "Compute the priorities of all windows before every update, which is slow.")
    mean_plan_loss: bool = flag(False, "Average the planning loss over the plan instead of summing it.")
    biases: bool = flag(True, "Give the model biases; the authors' code has none.")
    squash_outputs: bool = flag(False, "Squash predicted rewards and states by tanh.")
    residual: bool = flag(True, "Predict the change of the state; the authors' code predicts the state.")
    doubled_positions: bool = flag(False, "Double the exponent of a transformer's sinusoidal positions.")
    linear_feed_forward: bool = flag(False, "Use a single linear map as a transformer's feed-forward part.")


class RGRLConfig(Config):
    """Settings of Reversal Generative RL."""

    sharded: ClassVar[tuple[str, ...]] = ("num_envs", "learner.batch_size")

    action_repeat: int = integer(1, "Environment steps per action; plans and windows count in actions.", low=1)
    num_envs: int = integer(1, "Environments played side by side, with one replay and one row of the metrics.", low=1)
    explore: ExploreConfig = group(ExploreConfig, "Random actions in training episodes.")
    target: TargetConfig = group(TargetConfig, "Quantity that the model learns as reward.")
    model: ModelConfig = group(ModelConfig, "Ensemble of models that predict rewards and states.")
    planner: PlannerConfig = group(PlannerConfig, "Search for actions through the ensemble.")
    learner: LearnerConfig = group(LearnerConfig, "Gradient descent on the weights.")
    replay: ReplayConfig = group(ReplayConfig, "Steps that are kept, and the windows that are drawn from them.")
    reference: ReferenceConfig = group(ReferenceConfig, "Quirks of the authors' code.")

    @property
    def spec(self) -> EnvSpec:
        """Returns the environment as the agent sees it, with every action held for ``action_repeat`` steps."""
        return make(self.env_id, self.max_steps, self.action_repeat)

    @property
    def history_rows(self) -> int:
        """Steps before the present that the policy reads."""
        return self.model.history_length

    @property
    def padding(self) -> int:
        """Steps that an environment is stepped past its end in training."""
        return self.planner.horizon - 1 if self.reference.past_end == "simulate" else 0

    def validate(self) -> None:
        """Checks every field and how they fit together, before anything compiles.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        super().validate()
        check_name(self.model.kind)
        self._check_model()
        self._check_planner()
        self._check_replay()

    def _check_model(self) -> None:
        model, observation = self.model, self.spec.observation
        if "transformer" in model.kind and model.width % model.heads:
            raise ValueError(f"model.heads = {model.heads} must divide model.width = {model.width}")
        image = isinstance(observation, Box) and len(observation.shape) in (2, 3)
        if model.encoder == "conv" and not (image and self.reference.state_encoding == "scale"):
            raise ValueError(
                "model.encoder = 'conv' needs observations of shape [height, width] or [height, width, channels] and "
                "reference.state_encoding = 'scale'"
            )
        if self.target.reward_scale == "seen" and self.reference.reward_encoding != "scale":
            raise ValueError("target.reward_scale = 'seen' needs reference.reward_encoding = 'scale'")

    def _check_planner(self) -> None:
        planner, action = self.planner, self.spec.action
        if planner.replan_every > planner.horizon:
            raise ValueError(
                f"planner.replan_every = {planner.replan_every} must be at most planner.horizon = {planner.horizon}"
            )
        if isinstance(action, Box) and not np.isfinite([*np.ravel(action.low), *np.ravel(action.high)]).all():
            raise ValueError(f"env_id = {self.env_id!r} has actions without bounds, which plans are scaled to")
        if planner.rank_starts_by == "executed" and not isinstance(action, Discrete):
            raise ValueError(
                f"planner.rank_starts_by = 'executed' needs discrete actions; those of {self.env_id} are not"
            )

    def _check_replay(self) -> None:
        replay, reference = self.replay, self.reference
        if reference.exact_priorities and replay.kind != "priority":
            raise ValueError(f"reference.exact_priorities = True needs replay.kind = 'priority', not {replay.kind!r}")
        if reference.past_end == "simulate" and self.spec.host is not None:
            raise ValueError(
                f"reference.past_end = 'simulate' needs an environment that compiles; {self.env_id} lives on the host"
            )
        longest, window = self.spec.max_steps + self.padding, self.model.history_length + self.planner.horizon + 1
        if replay.capacity < max(window, longest + 1):
            raise ValueError(
                f"replay.capacity = {replay.capacity} must hold one window of {window} rows (history_length + "
                f"horizon + 1) and one episode of {longest + 1} (max_steps + {'horizon' if self.padding else 1})"
            )
