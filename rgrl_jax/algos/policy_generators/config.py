"""Settings of policy generators."""

from __future__ import annotations

import numpy as np

from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Config
from rgrl_jax.algos.fields import choice, integer, integers, number
from rgrl_jax.types import Box


class PolicyGeneratorConfig(Config):
    """Settings of a run of UDRLPG or GoGePo."""

    episodes: int = integer(300, "Training episodes, or rows of num_envs of them.", low=1)
    algorithm: str = choice(
        "udrlpg",
        "gogepo",
        help="Loss of the generator: the distance between policies and those it makes for their returns (udrlpg), or "
        "that between a command and the return that an evaluator predicts of the policy made for it (gogepo).",
    )
    num_envs: int = integer(1, "Policies played side by side, one episode each; metrics are their means.", low=1)
    obs_normalization: str = choice(
        "running",
        "range",
        "raw",
        help="Normalization of observations: by the running mean and deviation of training, which begins with the "
        "second observation (with gogepo after the first row), by the environment's ranges, or none.",
    )
    return_low: float = number(
        0.0,
        "Lower end of the range of returns; with return_high the same, the environment's range is used.",
        low=-1e9,
        high=1e9,
    )
    return_high: float = number(0.0, "Upper end of the range of returns.", low=-1e9, high=1e9)
    survival_bonus: float = number(
        0.0,
        "Reward per step that returns leave out in learning and commands, but not in evaluations.",
        low=-1e6,
        high=1e6,
    )
    hidden: tuple[int, ...] = integers(
        (256, 256), "Tanh units per hidden layer of a policy, multiples of tile_size.", low=1
    )
    tile_size: int = integer(32, "Units of a policy's hidden layer that are generated at once.", low=1, symbol="f")
    embedding_size: int = integer(32, "Length of the embeddings that tell tiles apart.", low=1, symbol="E")
    generator_hidden: tuple[int, ...] = integers((512, 512), "Relu units per hidden layer of the generator.", low=1)
    output_scale: float = number(
        0.0, "Factor of generated weights, over the root of a layer's inputs; 0 leaves them as they are."
    )
    param_noise: float = number(
        0.1, "Standard deviation of the noise on all weights of a policy in training episodes.", symbol="σ"
    )
    low_command_noise: float = number(
        1.0, "Share of param_noise that policies get which are made for less than the target return.", high=1.0
    )
    warmup: str = choice(
        "generated",
        "random",
        help="Policies of the warm-up: the generator's for the upper end of the range without noise, or random ones.",
    )
    warmup_episodes: int = integer(10, "Rows of episodes before anything is learnt.")
    command: str = choice(
        "best",
        "top",
        "drawn",
        help="Command of training episodes: the target return (best), the upper end of the range (top), or each time "
        "with equal chances the target return or one drawn uniformly from the range below it (drawn).",
    )
    return_increment: float = number(0.0, "Target return minus the best return so far.", low=-1e9, high=1e9)
    store: str = choice(
        "buckets", "ring", help="Policies that are learnt from: the best ones in buckets by return, or the last ones."
    )
    num_buckets: int = integer(800, "Equal parts that the range of returns is cut into.", low=1)
    num_buckets_kept: int = integer(
        64, "Best buckets that are kept; all others would hardly be drawn if rank_weight is well above 0.", low=1
    )
    bucket_size: int = integer(2, "Policies in a bucket.", low=1)
    when_full: str = choice(
        "reject",
        "replace",
        "select",
        help="Fate of a policy whose bucket is full: it is rejected, replaces the oldest, or does so only if it was "
        "made for less than the target return or reached the bucket of its command (select).",
    )
    overflow_bucket: str = choice(
        "append", "clamp", help="Bucket of returns above the range: a further one of the same width, or the last one."
    )
    rank_weight: float = number(
        0.3, "Buckets are drawn by exp(rank_weight rank), the best with the highest rank; 0 draws uniformly."
    )
    capacity: int = integer(10_000, "Policies in the store of the last ones.", low=1)
    recency_exponent: float = number(
        1.1, "The last policies are drawn by rank^-recency_exponent, the newest with rank 1; 0 draws uniformly."
    )
    batch_size: int = integer(24, "Policies, or commands, per update.", low=1)
    generator_updates: int = integer(8, "Updates of the generator after every row of episodes.", low=1)
    generator_lr: float = number(2e-6, "Learning rate of the generator.")
    num_probes: int = integer(200, "Learned states by whose actions gogepo's evaluator tells policies apart.", low=1)
    evaluator_hidden: tuple[int, ...] = integers(
        (256, 256), "Relu units per hidden layer of gogepo's evaluator.", low=1
    )
    evaluator_updates: int = integer(4, "Updates of gogepo's evaluator, before those of the generator.", low=1)
    evaluator_lr: float = number(5e-3, "Learning rate of gogepo's evaluator.")

    def validate(self) -> None:
        """See `Config.validate`."""
        super().validate()
        if not self.hidden:
            raise ValueError("hidden = () must have an entry: only hidden layers are made of tiles")
        for i, units in enumerate(self.hidden):
            if units % self.tile_size:
                raise ValueError(f"hidden[{i}] = {units} must be a multiple of tile_size = {self.tile_size}")
        action = self.spec.action
        if isinstance(action, Box) and not np.isfinite([action.low, action.high]).all():
            raise ValueError(f"env_id = {self.env_id!r} has actions without bounds, which policies need")
        low, high = self.return_low, self.return_high
        known = not (fields.is_traced(low) or fields.is_traced(high))
        if known and np.any(np.asarray(low) > np.asarray(high)):
            raise ValueError(f"return_low = {low} must be at most {high}, return_high")
        if self.store == "ring" and self.capacity < self.num_envs:
            raise ValueError(f"capacity = {self.capacity} must be at least {self.num_envs}, num_envs")
