from __future__ import annotations
from typing import Any
import dataclasses
from functools import partial
from flax import struct
static = partial(struct.field, pytree_node=False)

@struct.dataclass
class RGRLConfig:
    env_id: str = static(default="CartPole-v1")
    max_steps: int | None = static(default=None)
    episodes: int = static(default=40)
    warmup_episodes: int = static(default=5)
    signals: str = static(default="native")
    state_encoding: str = static(default="scale")
    state_bins: int = static(default=100)
    done_size: int = static(default=1)
    reward_encoding: str = static(default="scale")
    reward_bins: int = static(default=100)
    reward_discount: float = 0.0
    zero_terminal_reward: bool = static(default=False)
    model: str = static(default="gru")
    width: int = static(default=32)
    layers: int = static(default=1)
    use_bias: bool = static(default=True)
    head: str = static(default="linear")
    residual: bool = static(default=True)
    unroll: int = static(default=5)
    ensemble_size: int = static(default=5)
    history_length: int = static(default=0)
    horizon: int = static(default=15)
    plan_iterations: int = static(default=15)
    plan_starts: int = static(default=1)
    plan_spread: float = 1.0
    plan_optimizer: str = static(default="adam")
    plan_lr: float = 0.3
    plan_loss_reduction: str = static(default="sum")
    plan_members: str = static(default="sample")
    plan_noise: float = 0.05
    plan_noise_decay: float = 1.0
    plan_noise_cycle: int = static(default=10)
    desired_reward: float = 1.0
    replan_every: int = static(default=1)
    optimizer: str = static(default="adam")
    learning_rate: float = 1e-3
    clip_norm: float = 1.0
    learn_iterations: int = static(default=200)
    learn_batch: int = static(default=64)
    state_weight: float = 1.0
    action_noise: float = 1.0
    replay: str = static(default="uniform")
    priority_exponent: float = 1.0
    replay_capacity: int = static(default=25000)
    max_windows: int = static(default=25000)
    dedupe: str = static(default="none")
    def validate(self): pass
