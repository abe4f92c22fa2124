"""Encoders between an environment's values and the vectors in -1..1 that models read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.algos.rgrl.config import ReferenceConfig
from rgrl_jax.normalization import bounds, from_env_action, scale, space_size, to_env_action
from rgrl_jax.types import Array, Box, Discrete, Scalar, Space


def thermometer(value: Array, low: Scalar, high: Scalar, bins: int) -> Array:
    """Encodes numbers as bars: of ``bins`` entries the first ``k`` are +1, the others -1.

    ``k = clip(floor((value - low) / ((high - low) / bins)) + 1, 0, bins)``, so ``value == low`` lights one entry,
    anything below none, and ``value >= high`` all (the "quantifying" of the authors' code).

    Values ``[...]`` become ``[..., bins]`` float32; ``low < high`` broadcast to them.
    """
    lit = jnp.clip(jnp.floor((value - low) / ((high - low) / bins)) + 1, 0, bins)
    return jnp.where(jnp.arange(bins) < lit[..., None], 1.0, -1.0).astype(jnp.float32)


def one_hot(index: Array, size: int) -> Array:
    """Encodes integers ``[...]`` as one entry of +1 among ``size - 1`` of -1, ``[..., size]`` float32."""
    return 2.0 * jax.nn.one_hot(index, size) - 1.0


class Codec(NamedTuple):
    """Encoders of one environment; each works on one unbatched value.

    Attributes:
      state_size: ``S``, the done block included.
      encode_state: ``(obs, done) -> [S]``.
      decode_action: one planned step ``[A]`` -> action of the environment.
    """

    state_size: int
    action_size: int
    reward_size: int
    encode_state: Callable[[Array, Array], Array]
    encode_action: Callable[[Array], Array]
    decode_action: Callable[[Array], Array]
    encode_reward: Callable[[Array], Array]


def make_codec(
    observation: Space, action: Space, reward_range: tuple[float, float], reference: ReferenceConfig | None = None
) -> Codec:
    """Makes the encoders of an environment, by ``reference`` those of the authors' code.

    A `Discrete` observation is always encoded one-hot; ``reward_range`` encodes to -1 and to +1.
    """
    reference = reference or ReferenceConfig()
    encode_obs, obs_size = _obs_encoder(observation, reference)
    encode_action, decode_action = _action_coders(action)
    low, high = reward_range
    bars = reference.reward_encoding == "thermometer"

    def encode_state(obs: Array, done: Array) -> Array:
        block = jnp.full((reference.done_size,), jnp.where(done, 1.0, -1.0), jnp.float32)
        return jnp.concatenate([encode_obs(obs), block])

    def encode_reward(reward: Array) -> Array:
        if bars:
            return thermometer(reward, low, high, reference.reward_bins)
        return scale(jnp.asarray(reward), low, high)[None]

    return Codec(
        state_size=obs_size + reference.done_size,
        action_size=space_size(action),
        reward_size=reference.reward_bins if bars else 1,
        encode_state=encode_state,
        encode_action=encode_action,
        decode_action=decode_action,
        encode_reward=encode_reward,
    )


def _obs_encoder(space: Space, reference: ReferenceConfig) -> tuple[Callable[[Array], Array], int]:
    if isinstance(space, Discrete):
        return lambda obs: one_hot(obs, space.n), space.n
    low, high = bounds(space)
    if reference.state_encoding == "thermometer":
        bins = reference.state_bins
        return lambda obs: thermometer(obs.reshape(-1), low, high, bins).reshape(-1), low.size * bins
    return lambda obs: scale(obs.reshape(-1), low, high), low.size


def _action_coders(space: Space) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    if isinstance(space, Box):
        return lambda action: from_env_action(action, space), lambda step: to_env_action(step, space)
    return lambda action: one_hot(action, space.n), lambda step: jnp.argmax(step, axis=-1).astype(jnp.int32)
