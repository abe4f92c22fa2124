"""The settings of Reversal Generative RL, each with its range and the paper's symbol."""

from __future__ import annotations

from typing import Any

from flax import struct

from rgrl_jax.algos import config as fields
from rgrl_jax.algos.base import get_algorithm
from rgrl_jax.algos.config import choice, flag, integer, number, word
from rgrl_jax.envs.registry import make_spec
from rgrl_jax.models.base import check_model
from rgrl_jax.replay import DEDUPE


class RGRLConfig(struct.PyTreeNode):
    """Settings of one run. Floats are traced, so a grid of them is one ``vmap``; the rest is static.

    Attributes:
      env_id: a registered environment.
      max_steps: steps after which an episode is cut off; None for the environment's own limit.
      episodes: training episodes, warm-up included.
      warmup_episodes: episodes of random actions before the first planned one.
      signals: what the model reads and predicts: the environment's native observations and rewards, or
        those of the authors' code.
      state_encoding: numbers as they are, scaled to -1..1, or as bars of state_bins entries.
      state_bins: entries per observed number of a thermometer.
      done_size: length of the block that tells the model that an episode has ended.
      reward_encoding: rewards scaled to -1..1, or as a bar of reward_bins entries.
      reward_bins: entries of a reward thermometer, R.
      reward_discount: 0 learns the reward of each step; above, a discounted average of the rewards to come.
      zero_terminal_reward: drop the reward of the terminating step from the targets, as the authors' code does.
      model: a registered model.
      width: features per layer, d.
      layers: stacked layers, L in the paper.
      heads: attention heads, for models that have any; divides width.
      use_bias: biases in the model; the authors' code has none.
      head: outputs squashed by tanh, or left free.
      residual: predict the change of the state instead of the state.
      unroll: model steps compiled into one loop body; more runs faster and compiles slower.
      ensemble_size: members, m.
      history_length: steps before the present that a model reads, H.
      horizon: steps of a plan, T.
      plan_iterations: gradient steps per plan, line 10.
      plan_starts: plans tried in parallel, of which the ensemble's mean score picks one.
      plan_spread: half-width of the start noise of all plans but the first.
      plan_optimizer: what turns the gradient into a step; the paper's is sgd.
      plan_lr: step size of planning, beta.
      plan_loss_reduction: planning error summed over the plan, or averaged as in the authors' code.
      plan_members: one member drawn per planning iteration, or the mean over all.
      plan_noise: half-width of the uniform noise a plan starts from, sigma.
      plan_noise_decay: its factor per planned episode.
      plan_noise_cycle: planned episodes until it starts anew.
      desired_reward: desired reward, encoded: 1 is the best of the environment's range.
      replan_every: steps executed before planning again.
      optimizer: what turns the gradient of the weights into a step; the authors' is sgd.
      learning_rate: its step size, alpha.
      clip_norm: greatest norm of the gradient of a member.
      learn_iterations: updates of each member per episode, line 22.
      reset_every: episodes after which a new ensemble is drawn and trained on the whole replay; 0 for never.
      learn_batch: windows per update and member.
      state_weight: weight of the state error beside the reward error, footnote 5.
      action_noise: while learning, each action shrinks by a uniform factor in 1 - action_noise..1.
      state_noise: while learning, standard deviation of the noise on the present state.
      replay: windows drawn uniformly, or by the power priority_exponent of their reward error.
      priority_exponent: exponent of the priorities.
      priority_refresh: priorities renewed of the windows just drawn, or of all before every update as in
        the authors' code, which is slow.
      replay_capacity: raw steps kept, C.
      max_windows: windows kept after an episode, a random subset, line 27.
      dedupe: drop windows that are known as a whole, or in each of their six components, line 20.
    """

    env_id: str = word("CartPole-v1")
    max_steps: int | None = integer(None, 1)
    episodes: int = integer(40, 1)
    warmup_episodes: int = integer(5)
    signals: str = choice("native", "reference")
    state_encoding: str = choice("scale", "thermometer")
    state_bins: int = integer(100, 1)
    done_size: int = integer(1, 1)
    reward_encoding: str = choice("scale", "thermometer")
    reward_bins: int = integer(100, 1)
    reward_discount: float = number(0.0, 0.0, 1.0)
    zero_terminal_reward: bool = flag(False)
    model: str = word("gru")
    width: int = integer(32, 1)
    layers: int = integer(1, 1)
    heads: int = integer(4, 1)
    use_bias: bool = flag(True)
    head: str = choice("linear", "tanh")
    residual: bool = flag(True)
    unroll: int = integer(5, 1)
    ensemble_size: int = integer(5, 1)
    history_length: int = integer(0)
    horizon: int = integer(15, 1)
    plan_iterations: int = integer(15)
    plan_starts: int = integer(1, 1)
    plan_spread: float = number(1.0)
    plan_optimizer: str = choice("adam", "sgd")
    plan_lr: float = number(0.3)
    plan_loss_reduction: str = choice("sum", "mean")
    plan_members: str = choice("sample", "mean")
    plan_noise: float = number(0.05)
    plan_noise_decay: float = number(1.0, 0.0, 1.0)
    plan_noise_cycle: int = integer(10, 1)
    desired_reward: float = number(1.0, -10.0, 10.0)
    replan_every: int = integer(1, 1)
    optimizer: str = choice("adam", "sgd")
    learning_rate: float = number(1e-3)
    clip_norm: float = number(1.0)
    learn_iterations: int = integer(200, 1)
    reset_every: int = integer(0)
    learn_batch: int = integer(64, 1)
    state_weight: float = number(1.0)
    action_noise: float = number(1.0, 0.0, 1.0)
    state_noise: float = number(0.0)
    replay: str = choice("uniform", "priority")
    priority_exponent: float = number(1.0)
    priority_refresh: str = choice("sampled", "all")
    replay_capacity: int = integer(25_000, 1)
    max_windows: int = integer(25_000, 1)
    dedupe: str = choice(*DEDUPE)

    def validate(self) -> None:
        """Checks every field and how they fit together; nothing compiles before this.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        fields.check_fields(self)
        check_model(self.model)
        longest = make_spec(self.env_id, self.max_steps).max_steps
        window = self.history_length + self.horizon + 1
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} must divide width = {self.width}")
        if self.replan_every > self.horizon:
            raise ValueError(f"replan_every = {self.replan_every} must be at most horizon = {self.horizon}")
        if self.replay_capacity < max(window, longest + 1):
            raise ValueError(
                f"replay_capacity = {self.replay_capacity} must hold one window of {window} rows "
                f"(history_length + horizon + 1) and one episode of {longest + 1} (max_steps + 1)"
            )

    def axes(self, *names: str) -> RGRLConfig:
        """``in_axes`` for a ``vmap`` over the named floats, ``config.axes("plan_lr")``."""
        return fields.axes(self, names)

    def describe(self) -> Any:
        """What a run will cost, before anything compiles; see `rgrl_jax.algos.base.Cost`."""
        return get_algorithm(self).describe(self)
