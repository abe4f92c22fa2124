"""The settings of generators of policies, each with its range."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import struct

from rgrl_jax.algos import config as fields
from rgrl_jax.algos.base import get_algorithm
from rgrl_jax.algos.config import choice, integer, integers, number, word
from rgrl_jax.envs.registry import make as make_spec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Box

RULES = ("udrlpg", "gogepo")


class PolicyGeneratorConfig(struct.PyTreeNode):
    """Settings of one run. Floats are traced, so a grid of them is one ``vmap``; the rest is static.

    Attributes:
      rule: how the generator learns: to make the policies that were played from the returns that they reached
        (udrlpg), or policies of which an evaluator says that they reach what was commanded (gogepo).
      env_id: a registered environment.
      max_steps: steps after which an episode is cut off; None for the environment's own limit.
      episodes: training episodes, or rows of them.
      num_envs: policies generated for every row and played side by side, one episode each; a row of the metrics is
        their mean.
      observation: on the scale of the running mean and deviation of all that was seen in training, on that of the
        environment's ranges, or numbers as they are. The running scale begins with the second observation, with
        gogepo after the first row.
      return_low: return at which the scale of returns begins; with return_high the same, the environment's own.
      return_high: return at which it ends.
      survival_bonus: taken from the reward of every step for learning and commands; evaluations keep it.
      hidden: tanh units of each layer of a policy, multiples of tile.
      tile: units of a hidden layer of a policy that are generated at once.
      embedding: numbers that tell tiles apart.
      generator_hidden: relu units of each layer of the generator's networks.
      output_scale: what is generated for a layer is multiplied with this over the root of its inputs; 0 for as it is.
      param_noise: standard deviation of the noise on all weights of a policy in training episodes.
      drawn_noise: share of it where the command was drawn from below the best.
      warmup: policies of the warm-up: all the generator's own for the upper end of the scale, without noise, or drawn
        at random.
      warmup_episodes: rows before anything is learnt.
      command: return that training episodes are generated for: the best so far, the upper end of the scale, or by the
        toss of a coin the best so far or one drawn evenly from the lower end of the scale up to it (drawn).
      drive: what is added to the best so far.
      store: what is learnt from: the best policies in buckets by return, or the last ones.
      buckets: equal parts that the scale of returns is cut into.
      kept_buckets: of those that were ever filled, the best so many are kept; with rank_weight w all others would be
        drawn with a chance of about exp(-w kept_buckets). As many as there are keep all, as equal chances need.
      bucket_size: policies in a bucket.
      full: what becomes of a policy whose bucket is full: it is turned away (reject), takes the place of the oldest
        (replace), or that only if it was made for a drawn command or did not end in a lower bucket than what was
        commanded (select). A policy that was to be the best and fails by its noise says little of how to reach less.
      above: where returns above the scale go: to further buckets of the same width (append) or to the last one.
      rank_weight: buckets are drawn by exp(rank_weight rank), the best with the highest rank; 0 for equal chances.
      capacity: policies in the store of the last ones.
      recency: these are drawn by rank^-recency, the newest with rank 1; 0 for equal chances.
      batch: policies, or commands, per update.
      generator_updates: of the generator after every row of episodes.
      generator_rate: its learning rate.
      probes: states by which the evaluator of gogepo tells policies apart; they are learned.
      evaluator_hidden: relu units of each of its layers.
      evaluator_updates: of it after every row, before those of the generator.
      evaluator_rate: its learning rate.
    """

    rule: str = choice(*RULES)
    env_id: str = word("CartPole-v1")
    max_steps: int | None = integer(None, 1)
    episodes: int = integer(300, 1)
    num_envs: int = integer(1, 1)
    observation: str = choice("running", "range", "raw")
    return_low: float = number(0.0, -1e9, 1e9)
    return_high: float = number(0.0, -1e9, 1e9)
    survival_bonus: float = number(0.0, -1e6, 1e6)
    hidden: tuple[int, ...] = integers((256, 256), 1)
    tile: int = integer(32, 1, symbol="f")
    embedding: int = integer(32, 1, symbol="E")
    generator_hidden: tuple[int, ...] = integers((512, 512), 1)
    output_scale: float = number(0.0)
    param_noise: float = number(0.1, symbol="σ")
    drawn_noise: float = number(1.0, 0.0, 1.0)
    warmup: str = choice("generated", "random")
    warmup_episodes: int = integer(10)
    command: str = choice("best", "top", "drawn")
    drive: float = number(0.0, -1e9, 1e9)
    store: str = choice("buckets", "ring")
    buckets: int = integer(800, 1)
    kept_buckets: int = integer(64, 1)
    bucket_size: int = integer(2, 1)
    full: str = choice("reject", "replace", "select")
    above: str = choice("append", "clamp")
    rank_weight: float = number(0.3)
    capacity: int = integer(10_000, 1)
    recency: float = number(1.1)
    batch: int = integer(24, 1)
    generator_updates: int = integer(8, 1)
    generator_rate: float = number(2e-6)
    probes: int = integer(200, 1)
    evaluator_hidden: tuple[int, ...] = integers((256, 256), 1)
    evaluator_updates: int = integer(4, 1)
    evaluator_rate: float = number(5e-3)

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
        self._check_policy()
        self._check_returns()
        if self.store == "ring" and self.capacity < self.num_envs:
            raise ValueError(f"capacity = {self.capacity} must be at least {self.num_envs}, num_envs")

    def _check_policy(self) -> None:
        if not self.hidden:
            raise ValueError("hidden = () must have an entry: only hidden layers are made of tiles")
        for i, units in enumerate(self.hidden):
            if units % self.tile:
                raise ValueError(f"hidden[{i}] = {units} must be a multiple of tile = {self.tile}")
        action = self.spec.action
        if isinstance(action, Box) and not np.isfinite([action.low, action.high]).all():
            raise ValueError(f"env_id = {self.env_id!r} has actions without bounds, which policies need")

    def _check_returns(self) -> None:
        if fields.is_traced(self.return_low) or fields.is_traced(self.return_high):
            return
        if np.any(np.asarray(self.return_low) > np.asarray(self.return_high)):
            raise ValueError(f"return_low = {self.return_low} must be at most {self.return_high}, return_high")

    def axes(self, *names: str) -> PolicyGeneratorConfig:
        """``in_axes`` for a ``vmap`` over the named floats, ``config.axes("param_noise")``."""
        return fields.axes(self, names)

    def describe(self) -> Any:
        """What a run will cost, before anything compiles; see `rgrl_jax.algos.base.Cost`."""
        return get_algorithm(self).describe(self)
