"""The settings of Reversal Generative RL, each with its range and the paper's symbol."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import struct

from rgrl_jax.algos import config as fields
from rgrl_jax.algos.base import get_algorithm
from rgrl_jax.algos.config import choice, constant, flag, integer, number, word
from rgrl_jax.encoding import SQUASHES
from rgrl_jax.envs.registry import make_spec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.learning import LOSSES, OPTIMIZERS
from rgrl_jax.models.base import factory
from rgrl_jax.models.encoder import ENCODERS
from rgrl_jax.models.frame import INITIALIZERS
from rgrl_jax.models.precision import PRECISIONS
from rgrl_jax.planning import COLORS, DISTANCES, PLAN_OPTIMIZERS
from rgrl_jax.planning.blocks import refusal
from rgrl_jax.replay import DEDUPE
from rgrl_jax.types import Box, Discrete


class RGRLConfig(struct.PyTreeNode):
    """Settings of one run. Floats are traced, so a grid of them is one ``vmap``; the rest is static.

    Attributes:
      env_id: a registered environment.
      max_steps: steps after which an episode is cut off; None for the environment's own limit.
      action_repeat: environment steps for which an action is held; plans, windows and learning then count in such
        steps, and every one of them as so many environment steps.
      episodes: training episodes, warm-up included.
      warmup_episodes: episodes of random actions before the first planned one.
      warmup_hold: steps for which a random action is held, on average.
      epsilon: chance of a random action instead of a planned one, in training episodes after the warm-up.
      num_envs: environments played side by side; their episodes feed one replay, and a row of the metrics is
        their mean.
      signals: what the model reads and predicts: the environment's native observations and rewards, or
        those of the authors' code.
      state_encoding: numbers as they are, scaled to -1..1, or as bars of state_bins entries.
      state_bins: entries per observed number of a thermometer.
      done_size: length of the block that tells the model that an episode has ended.
      reward_encoding: rewards scaled to -1..1, or as a bar of reward_bins entries.
      reward_bins: entries of a reward thermometer, R.
      reward_scale: rewards that encode to -1 and 1: those of the environment's range, or the least and the greatest
        seen so far of what the model learns, so that planning wants the best that ever came of anything.
      reward_target: what the model learns as reward: to_go, an average of the rewards to come, or running, the
        return so far on the scale of the environment's returns.
      reward_discount: of to_go; 0 is the reward of each step alone.
      novelty: predict beside the rewards how new the states to come are, so that plans can look for them: counts
        of stored states that round to the same, by reward_discount and resolution.
      absorbing_reward: what every step past a terminal state is worth: nothing, or as much as the step that led
        there, so that plans hurry to a goal that pays once instead of lingering before it.
      zero_terminal_reward: drop the reward of the terminating step from the targets, as the authors' code does.
      padding: past the end of an episode windows stay at its last state, or, stepped, the environment is planned
        for and stepped on, as in the authors' code.
      model: a registered model, or several joined by + of which members take turns.
      encoder: how states are embedded: one map of the vector, or convolutions over an image.
      width: features per layer, d.
      layers: stacked layers, L in the paper.
      heads: attention heads, for models that have any; divides width.
      feedback: predict states and feed them back; without it all steps of a plan are one causal pass.
      teacher_forcing: while learning, feed the true states instead of the predicted ones.
      initializer: of the linear maps.
      dropout: while learning, share of a token's and a feature's entries that are 0, the same along a window.
      use_bias: biases in the model; the authors' code has none.
      positions: law of a decoder's positions; the authors' code doubles the exponent.
      feed_forward: a decoder's feed-forward part: two maps with gelu between them, or the authors' single map.
      head: outputs squashed by tanh, or left free.
      residual: predict the change of the state instead of the state.
      reward_from: what rewards are read from: the network's feature, or the state it predicts and nothing else.
      unroll: while learning, model steps compiled into one loop body: best the whole horizon for narrow models, 1 for
        those of some hundred features, whose gradients would all be held at once.
      precision: of matrix products in planning and learning: the device's default, all of float32, or rounded to tf32
        or bf16 before they are added up in float32; a CPU always takes all.
      ensemble_size: members, m.
      history_length: steps before the present that a model reads, H.
      horizon: steps of a plan, T.
      planner: gradient descent on the actions, or one of its rivals on the same model.
      dynamics: plan through the learned ensemble, or, as an oracle, through the environment itself.
      squash: how free numbers become actions in -1..1; the last two are for discrete actions.
      plan_samples: plans that a rival draws per iteration.
      plan_elites: of these, the best that cem goes on with.
      plan_temperature: of the weights that mppi averages plans by.
      plan_iterations: gradient steps, or rounds of drawing, per plan, line 10.
      plan_starts: plans tried in parallel, of which the ensemble's mean score picks one.
      plan_spread: half-width of the start noise of all plans but the first; with the other planners, the
        standard deviation of the plans first drawn.
      plan_judged: whether that score is of the actions as they were descended, or of the discrete ones that will be
        executed: between two of these a plan may promise what neither keeps.
      plan_optimizer: what turns the gradient into a step; the paper's is sgd. normalized steps by plan_lr however
        flat the error is.
      plan_lr: step size of planning, beta.
      plan_loss: distance of predicted from desired rewards: the paper's squared one shuns bad steps more than it
        seeks good ones, by the absolute one the best plan has the greatest sum of rewards.
      plan_loss_reduction: planning error summed over the plan, or averaged as in the authors' code.
      plan_loss_steps: steps of the plan that count: all, or the last alone.
      plan_loss_growth: with all, how many times more a step counts than the one before it.
      plan_members: one member drawn per planning iteration, or the mean over all.
      plan_disagreement: with mean, weight of the standard deviation of the members' errors: above 0 plans keep to
        what members agree on, below 0 they look for what they do not.
      plan_accept: take every step, or only those that make the error smaller.
      plan_kernel: descend all plans in one GPU kernel: auto where there is a GPU and the kernel knows model and
        settings, which on insists on (without a GPU it is interpreted, slowly); off leaves planning to XLA, until the
        kernel has run on a GPU.
      plan_unroll: while planning, model steps compiled into one loop body: a CPU is fastest with a few, which compile
        sooner too.
      plan_warm_start: start from the rest of the last plan plus noise, instead of noise alone.
      plan_noise: half-width of the uniform noise a plan starts from, sigma.
      plan_noise_law: uniform in -sigma..sigma, or normal with deviation sigma.
      plan_noise_repeats: draws that are summed.
      plan_noise_color: independent from step to step, or the redder the longer it holds on.
      plan_noise_decay: factor of sigma per planned episode.
      plan_noise_cycle: planned episodes until it starts anew.
      desired_reward: desired reward r*, encoded: 1 is the best of the environment's range.
      desired_reward_spread: members want rewards evenly spread so far below and above it.
      plan_novelty: with novelty, weight of the error against the greatest novelty beside that against the desired
        reward; in noiseless episodes it is 0.
      replan_every: steps executed before planning again.
      loss: error of predicted rewards and states that learning descends.
      optimizer: what turns the gradient of the weights into a step; the authors' is sgd.
      learning_rate: its step size, alpha.
      learning_rate_end: share of it left at the last of the updates made in a row, towards which it falls in a line.
      weight_decay: pull of the weights towards 0.
      clip_norm: greatest norm of the gradient of a member.
      learn_iterations: updates of each member per episode, line 22.
      learn_law: so many updates, so many for every new step, or from 1 up to so many as the mean of the last ten
        returns rises through the environment's range.
      learn_every: learn within the episode, after every so many steps; 0 for after it.
      reset_every: episodes after which members are drawn anew and trained on the whole replay; 0 for never.
      reset: which: all of them, or only the one whose turn it is, so that the others know the past already.
      learn_batch: windows per update and member.
      state_weight: weight of the state error beside the reward error, footnote 5.
      action_noise: while learning, each action shrinks by a uniform factor in 1 - action_noise..1.
      state_noise: while learning, standard deviation of the noise on the present state.
      replay: windows drawn uniformly, by the power priority_exponent of their reward error, or balanced, so that
        every distinct present state has the same chance.
      priority_exponent: exponent of the priorities.
      priority_refresh: priorities renewed of the windows just drawn, or of all before every update as in
        the authors' code, which is slow.
      replay_capacity: raw steps kept, C.
      max_windows: windows kept after an episode, a random subset, line 27.
      dedupe: drop windows that are known as a whole, or in each of their six components, or that are similar to a
        known one, line 20.
      resolution: step to which encoded values are rounded for similar, balanced and novelty.
    """

    env_id: str = word("CartPole-v1")
    max_steps: int | None = integer(None, 1)
    action_repeat: int = integer(1, 1)
    episodes: int = integer(40, 1)
    warmup_episodes: int = integer(5)
    warmup_hold: float = number(1.0, 1.0)
    epsilon: float = number(0.0, 0.0, 1.0)
    num_envs: int = integer(1, 1)
    signals: str = choice("native", "reference")
    state_encoding: str = choice("scale", "thermometer")
    state_bins: int = integer(100, 1)
    done_size: int = integer(1, 1)
    reward_encoding: str = choice("scale", "thermometer")
    reward_bins: int = integer(100, 1)
    reward_scale: str = choice("environment", "seen")
    reward_target: str = choice("to_go", "running")
    reward_discount: float = number(0.0, 0.0, 1.0)
    novelty: bool = flag(False)
    absorbing_reward: str = choice("zero", "last")
    zero_terminal_reward: bool = flag(False)
    padding: str = choice("virtual", "stepped")
    model: str = word("gru")
    encoder: str = choice(*ENCODERS)
    width: int = integer(32, 1, symbol="d")
    layers: int = integer(1, 1, symbol="L")
    heads: int = integer(4, 1)
    feedback: bool = flag(True)
    teacher_forcing: bool = flag(False)
    initializer: str = choice(*INITIALIZERS)
    dropout: float = constant(0.0, 0.0, 0.95)
    use_bias: bool = flag(True)
    positions: str = choice("standard", "paper")
    feed_forward: str = choice("gelu", "linear")
    head: str = choice("linear", "tanh")
    residual: bool = flag(True)
    reward_from: str = choice("feature", "state")
    unroll: int = integer(15, 1)
    precision: str = choice(*PRECISIONS)
    ensemble_size: int = integer(5, 1, symbol="m")
    history_length: int = integer(0, symbol="H")
    horizon: int = integer(15, 1, symbol="t")
    planner: str = choice("gradient", "shooting", "cem", "mppi")
    dynamics: str = choice("learned", "environment")
    squash: str = choice(*SQUASHES)
    plan_samples: int = integer(32, 2)
    plan_elites: int = integer(4, 1)
    plan_temperature: float = number(0.1, 1e-6)
    plan_iterations: int = integer(15, symbol="iterations, line 10")
    plan_starts: int = integer(1, 1)
    plan_spread: float = number(1.0)
    plan_judged: str = choice("relaxed", "executed")
    plan_optimizer: str = choice(*PLAN_OPTIMIZERS)
    plan_lr: float = number(0.3, symbol="β")
    plan_loss: str = choice(*DISTANCES)
    plan_loss_reduction: str = choice("sum", "mean")
    plan_loss_steps: str = choice("all", "last")
    plan_loss_growth: float = number(1.0)
    plan_members: str = choice("sample", "mean")
    plan_disagreement: float = number(0.0, -100.0, 100.0)
    plan_accept: str = choice("always", "better")
    plan_kernel: str = choice("off", "auto", "on")
    plan_unroll: int = integer(3, 1)
    plan_warm_start: bool = flag(False)
    plan_noise: float = number(0.05, symbol="σ")
    plan_noise_law: str = choice("uniform", "normal")
    plan_noise_repeats: int = integer(1, 1)
    plan_noise_color: str = choice(*COLORS)
    plan_noise_decay: float = number(1.0, 0.0, 1.0)
    plan_noise_cycle: int = integer(10, 1)
    desired_reward: float = number(1.0, -10.0, 10.0, symbol="r*")
    desired_reward_spread: float = number(0.0, 0.0, 10.0)
    plan_novelty: float = number(1.0)
    replan_every: int = integer(1, 1)
    loss: str = choice(*LOSSES)
    optimizer: str = choice(*OPTIMIZERS)
    learning_rate: float = number(1e-3, symbol="α")
    learning_rate_end: float = number(1.0, 0.0, 1.0)
    weight_decay: float = number(0.0)
    clip_norm: float = number(1.0)
    learn_iterations: int = integer(200, 1, symbol="iterations, line 22")
    learn_law: str = choice("fixed", "per_step", "ramp")
    learn_every: int = integer(0)
    reset_every: int = integer(0)
    reset: str = choice("all", "turn")
    learn_batch: int = integer(64, 1)
    state_weight: float = number(1.0)
    action_noise: float = number(1.0, 0.0, 1.0)
    state_noise: float = number(0.0)
    replay: str = choice("uniform", "priority", "balanced")
    priority_exponent: float = number(1.0)
    priority_refresh: str = choice("sampled", "all")
    replay_capacity: int = integer(25_000, 1, symbol="D")
    max_windows: int = integer(25_000, 1)
    dedupe: str = choice(*DEDUPE)
    resolution: float = number(0.1, 1e-6, 2.0)

    def __repr__(self) -> str:
        return fields.show(self)

    def _repr_html_(self) -> str:
        return fields.show_html(self)

    @property
    def spec(self) -> EnvSpec:
        """The environment as the agent sees it."""
        return make_spec(self.env_id, self.max_steps, self.action_repeat)

    def validate(self) -> None:
        """Checks every field and how they fit together; nothing compiles before this.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        fields.check_fields(self)
        for model in self.model.split("+"):
            factory(model)
        self._check_model()
        self._check_planner()
        self._check_learning()
        self._check_host()

    def _check_model(self) -> None:
        models = self.model.split("+")
        if len(models) > self.ensemble_size:
            raise ValueError(f"model = {self.model!r} needs at least {len(models)} members, not {self.ensemble_size}")
        if self.teacher_forcing and not self.feedback:
            raise ValueError("teacher_forcing = True needs feedback = True: without it no states are fed back")
        if "mlp" in models and not self.feedback:
            raise ValueError("feedback = False needs a model with memory: mlp would lose sight of the state")
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} must divide width = {self.width}")
        observation = self.spec.observation
        image = isinstance(observation, Box) and len(observation.shape) in (2, 3)
        if self.encoder == "conv" and not (image and self.state_encoding == "scale"):
            raise ValueError(
                "encoder = 'conv' needs observations of shape [height, width] or [height, width, channels] and "
                "state_encoding = 'scale'"
            )

    def _check_planner(self) -> None:
        if self.planner == "cem" and self.plan_elites > self.plan_samples:
            raise ValueError(f"plan_elites = {self.plan_elites} must be at most plan_samples = {self.plan_samples}")
        if self.replan_every > self.horizon:
            raise ValueError(f"replan_every = {self.replan_every} must be at most horizon = {self.horizon}")
        action = self.spec.action
        discrete = isinstance(action, Discrete)
        if isinstance(action, Box) and not np.isfinite([action.low, action.high]).all():
            raise ValueError(f"env_id = {self.env_id!r} has actions without bounds, which plans are scaled to")
        for name, usual in (("squash", "tanh"), ("plan_judged", "relaxed")):
            value = getattr(self, name)
            if value != usual and not discrete:
                raise ValueError(f"{name} = {value!r} needs discrete actions; those of {self.env_id} are not")
        if self.dynamics == "environment" and self.planner == "gradient" and discrete:
            raise ValueError(
                f"dynamics = 'environment' cannot be descended through the discrete actions of {self.env_id}; "
                f"planner can be shooting, cem or mppi"
            )
        if self.dynamics == "environment" and self.novelty:
            raise ValueError("novelty = True needs dynamics = 'learned': the environment does not predict it")
        asked = not fields.is_traced(self.plan_disagreement) and np.any(self.plan_disagreement)
        if asked and self.plan_members == "sample":
            raise ValueError(f"plan_disagreement = {self.plan_disagreement} needs plan_members = 'mean'")
        if self.plan_accept != "always" and self.planner != "gradient":
            raise ValueError(f"plan_accept = {self.plan_accept!r} needs planner = 'gradient'")
        if self.plan_kernel == "on" and (reason := refusal(self)):
            raise ValueError(f"plan_kernel = 'on' {reason}")

    def _check_learning(self) -> None:
        if self.reward_scale == "seen" and self.reward_encoding != "scale":
            raise ValueError("reward_scale = 'seen' needs reward_encoding = 'scale'")
        bits = self.head == "tanh" and self.state_encoding == self.reward_encoding == "thermometer"
        if self.loss == "cross_entropy" and not bits:
            raise ValueError("loss = 'cross_entropy' needs head = 'tanh' and both encodings = 'thermometer'")
        if self.priority_refresh == "all" and self.replay != "priority":
            raise ValueError(f"priority_refresh = 'all' needs replay = 'priority', not {self.replay!r}")
        if self.reward_from == "state" and not self.feedback:
            raise ValueError("reward_from = 'state' needs feedback = True: without it no state is predicted")
        if self.learn_every and self.reset_every:
            raise ValueError(f"reset_every = {self.reset_every} must be 0 if learn_every = {self.learn_every}")
        past = self.horizon - 1 if self.padding == "stepped" else 0
        longest = self.spec.max_steps + past
        window = self.history_length + self.horizon + 1
        if self.replay_capacity < max(window, longest + 1):
            raise ValueError(
                f"replay_capacity = {self.replay_capacity} must hold one window of {window} rows "
                f"(history_length + horizon + 1) and one episode of {longest + 1} "
                f"(max_steps + {'horizon' if past else 1})"
            )

    def _check_host(self) -> None:
        if self.spec.host is None:
            return
        for name, allowed in (("learn_every", 0), ("dynamics", "learned"), ("padding", "virtual")):
            if getattr(self, name) != allowed:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r} needs an environment that compiles; {self.env_id} lives on "
                    f"the host, where it must be {allowed!r}"
                )

    def axes(self, *names: str) -> RGRLConfig:
        """``in_axes`` for a ``vmap`` over the named floats, ``config.axes("plan_lr")``."""
        return fields.axes(self, names)

    def describe(self) -> Any:
        """What a run will cost, before anything compiles; see `rgrl_jax.algos.base.Cost`."""
        return get_algorithm(self).describe(self)
