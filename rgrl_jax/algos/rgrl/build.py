"""The environment, encoders and model that a config names, and what they have to fit."""

from __future__ import annotations

from typing import NamedTuple

from rgrl_jax import ensemble
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.encoding import Codec, make_codec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.models import MixedModel, Model, make_model
from rgrl_jax.types import Box, Key, PyTree


class Parts(NamedTuple):
    """What a config names."""

    spec: EnvSpec
    codec: Codec
    model: Model


def parts(config: RGRLConfig) -> Parts:
    """The environment, encoders and model that a config names."""
    spec = config.spec
    observation, reward_range = spec.observation, spec.reward_range
    if config.signals == "reference" and spec.reference is not None:
        observation, reward_range = spec.reference.observation, spec.reference.reward_range
    if config.reward_target == "running":
        reward_range = spec.return_range
    codec = make_codec(
        observation,
        spec.action,
        reward_range,
        state_encoding=config.state_encoding,
        state_bins=config.state_bins,
        done_size=config.done_size,
        reward_encoding=config.reward_encoding,
        reward_bins=config.reward_bins,
    )
    image = observation.shape if config.encoder == "conv" and isinstance(observation, Box) else None
    model = make_model(
        config.model,
        config,
        state_size=codec.state_size,
        action_size=codec.action_size,
        reward_size=codec.reward_size + config.novelty,
        image_shape=image,
    )
    return Parts(spec, codec, model)


def draw_members(key: Key, config: RGRLConfig) -> PyTree:
    """A new ensemble ``[E, ...]``; members of a mixed one take turns in what they are."""
    model = parts(config).model
    if isinstance(model, MixedModel):
        return model.init_members(key, config.ensemble_size)
    return ensemble.init(key, model.init, config.ensemble_size)


def padding(config: RGRLConfig) -> int:
    """Steps that an environment is stepped past its end."""
    return config.horizon - 1 if config.padding == "stepped" else 0
