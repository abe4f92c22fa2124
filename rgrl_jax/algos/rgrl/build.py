"""The environment, encoders and model that a config names."""

from __future__ import annotations

from typing import NamedTuple

from rgrl_jax.algos.rgrl import models
from rgrl_jax.algos.rgrl.codec import Codec, make_codec
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.models import Model, ModelSpec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Box, Space


class Components(NamedTuple):
    """Parts of an agent beside its weights: the environment as it sees it, its encoders and its model."""

    env: EnvSpec
    codec: Codec
    model: Model


def build(config: RGRLConfig) -> Components:
    """Builds the environment, encoders and model of a config; they unpack as ``env, codec, model``."""
    return _build(config, config.model.unroll)


def build_for_planning(config: RGRLConfig) -> Components:
    """Builds the same, with as many model steps in one loop body as is best for planning."""
    return _build(config, config.planner.unroll)


def _build(config: RGRLConfig, unroll: int) -> Components:
    env, own, reference = config.spec, config.model, config.reference
    observation, reward_range = encoded_observation(config), env.reward_range
    if reference.signals == "reference" and env.reference is not None:
        reward_range = env.reference.reward_range
    if reference.running_return:
        reward_range = env.return_range
    codec = make_codec(observation, env.action, reward_range, reference)
    spec = ModelSpec(
        state_size=codec.state_size,
        action_size=codec.action_size,
        reward_size=codec.reward_size + config.target.novelty,
        width=own.width,
        layers=own.layers,
        heads=own.heads,
        history_length=own.history_length,
        unroll=unroll,
        reward_from=own.reward_from,
        image_shape=observation.shape if own.encoder == "conv" and isinstance(observation, Box) else None,
        biases=reference.biases,
        squash_outputs=reference.squash_outputs,
        residual=reference.residual,
        doubled_positions=reference.doubled_positions,
        linear_feed_forward=reference.linear_feed_forward,
    )
    return Components(env, codec, models.make(own.kind, spec))


def encoded_observation(config: RGRLConfig) -> Space:
    """Returns the space whose bounds scale the encoders of observations."""
    spec = config.spec
    reference = spec.reference if config.reference.signals == "reference" else None
    return spec.observation if reference is None else reference.observation
