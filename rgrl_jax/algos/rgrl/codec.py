"""Pure encoders between what an environment speaks and the -1..1 vectors that models read.

Everything a model sees or predicts lives in -1..1, "off" and "on" (spec of the reference, part d).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rgrl_jax.types import Array, Box, Discrete, Scalar, Space


def thermometer(value: Array, low: Scalar, high: Scalar, bins: int) -> Array:
    """Encodes numbers as bars: of ``bins`` entries the first ``k`` are +1, the others -1.

    ``k = clip(floor((value - low) / ((high - low) / bins)) + 1, 0, bins)``, so ``value == low`` lights
    one entry, anything below none, and ``value >= high`` all (the reference's "quantifying").

    Args:
      value: ``[...]``.
      low: lower end of the range, broadcastable to ``value``.
      high: upper end, greater than ``low``.
      bins: number of entries, >= 1.

    Returns:
      ``[..., bins]`` float32 of -1 and +1.
    """
    lit = jnp.clip(jnp.floor((value - low) / ((high - low) / bins)) + 1, 0, bins)
    return jnp.where(jnp.arange(bins) < lit[..., None], 1.0, -1.0).astype(jnp.float32)


def scale(value: Array, low: Scalar, high: Scalar) -> Array:
    """Maps ``low..high`` linearly to -1..1; values outside are not clipped. Same shape, float32."""
    return (2.0 * (value - low) / (high - low) - 1.0).astype(jnp.float32)


def unscale(value: Array, low: Scalar, high: Scalar) -> Array:
    """Inverse of `scale`: maps -1..1 to ``low..high``. Same shape."""
    return low + 0.5 * (value + 1.0) * (high - low)


def one_hot(index: Array, size: int) -> Array:
    """One-hot over ``size`` entries in -1/+1: ``[...]`` int to ``[..., size]`` float32."""
    return 2.0 * jax.nn.one_hot(index, size) - 1.0


def softmax_actions(latent: Array) -> Array:
    """Shares of the last axis, from -1 for none to 1 for all; the same shape."""
    return 2.0 * jax.nn.softmax(latent, axis=-1) - 1.0


def straight_through(latent: Array) -> Array:
    """The greatest entry of the last axis 1, the others -1, with the derivative of `softmax_actions`."""
    soft = softmax_actions(latent)
    hard = one_hot(jnp.argmax(latent, axis=-1), latent.shape[-1])
    return soft + jax.lax.stop_gradient(hard - soft)


SQUASHES: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "softmax": softmax_actions,
    "straight_through": straight_through,
}
"""From free numbers to actions in -1..1; all but the first are for discrete actions."""


class Running(struct.PyTreeNode):
    """Mean and sum of squared deviations ``[n]`` of vectors that were seen, and how many they were, a scalar."""

    mean: Array
    squares: Array
    count: Array


def init_running(size: int) -> Running:
    """Nothing was seen."""
    return Running(jnp.zeros(size), jnp.zeros(size), jnp.float32(0.0))


def count_seen(running: Running, x: Array, alive: Array) -> Running:
    """Counts vectors ``[N, n]`` where ``alive [N]`` (Chan, Golub and LeVeque, 1979; Welford, 1962, of one)."""
    counts = alive.astype(jnp.float32)[:, None]
    number = counts.sum()
    mean = (counts * x).sum(axis=0) / jnp.maximum(number, 1.0)
    squares = (counts * (x - mean) ** 2).sum(axis=0)
    total = jnp.maximum(running.count + number, 1.0)
    gap = mean - running.mean
    return Running(
        mean=running.mean + gap * number / total,
        squares=running.squares + squares + gap**2 * running.count * number / total,
        count=running.count + number,
    )


def flatten(obs: Array, space: Space) -> Array:
    """An observation as a vector ``[n]``: its numbers as they are, or one of ``n`` as a 1 among 0."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.n)
    return obs.astype(jnp.float32).ravel()


class Codec(NamedTuple):
    """The encoders of one environment under one config; each works on one unbatched value.

    Attributes:
      state_size: ``S``, the done block included.
      action_size: ``A``.
      reward_size: ``R``.
      encode_state: ``(obs, done) -> [S]``.
      encode_action: environment action ``-> [A]``.
      decode_action: one planned step ``[A]`` -> environment action.
      encode_reward: scalar reward ``-> [R]``.
    """

    state_size: int
    action_size: int
    reward_size: int
    encode_state: Callable[[Array, Array], Array]
    encode_action: Callable[[Array], Array]
    decode_action: Callable[[Array], Array]
    encode_reward: Callable[[Array], Array]


def make_codec(
    observation: Space,
    action: Space,
    reward_range: tuple[float, float],
    *,
    state_encoding: str = "scale",
    state_bins: int = 100,
    done_size: int = 1,
    reward_encoding: str = "scale",
    reward_bins: int = 100,
) -> Codec:
    """Builds the encoders of an environment.

    Args:
      observation: its observation space.
      action: its action space.
      reward_range: the rewards that encode to -1 and to +1.
      state_encoding: ``"scale"`` or ``"thermometer"``; discrete observations are always one-hot.
      state_bins: entries per observed number with ``"thermometer"``.
      done_size: length of the done block at the end of the state.
      reward_encoding: ``"scale"`` (``R = 1``) or ``"thermometer"``.
      reward_bins: ``R`` with ``"thermometer"``.

    Returns:
      A `Codec`.
    """
    encode_obs, obs_size = _obs_encoder(observation, state_encoding, state_bins)
    encode_action, decode_action, action_size = _action_coders(action)
    low, high = reward_range

    def encode_state(obs: Array, done: Array) -> Array:
        block = jnp.full((done_size,), jnp.where(done, 1.0, -1.0), jnp.float32)
        return jnp.concatenate([encode_obs(obs), block])

    def encode_reward(reward: Array) -> Array:
        if reward_encoding == "thermometer":
            return thermometer(reward, low, high, reward_bins)
        return scale(jnp.asarray(reward), low, high)[None]

    reward_size = reward_bins if reward_encoding == "thermometer" else 1
    return Codec(
        obs_size + done_size,
        action_size,
        reward_size,
        encode_state,
        encode_action,
        decode_action,
        encode_reward,
    )


def _bounds(space: Box) -> tuple[Array, Array]:
    """Bounds per entry of the flattened array, ``[prod(shape)]`` each."""
    size = int(np.prod(space.shape))
    low, high = (np.asarray(bound, np.float32).reshape(-1) for bound in (space.low, space.high))
    return jnp.broadcast_to(low, (size,)), jnp.broadcast_to(high, (size,))


def _obs_encoder(space: Space, kind: str, bins: int) -> tuple[Callable[[Array], Array], int]:
    if isinstance(space, Discrete):
        return lambda obs: one_hot(obs, space.n), space.n
    low, high = _bounds(space)
    if kind == "thermometer":
        return lambda obs: thermometer(obs.reshape(-1), low, high, bins).reshape(-1), low.size * bins
    return lambda obs: scale(obs.reshape(-1), low, high), low.size


def _action_coders(space: Space) -> tuple[Callable[[Array], Array], Callable[[Array], Array], int]:
    if isinstance(space, Discrete):
        return (
            lambda action: one_hot(action, space.n),
            lambda step: jnp.argmax(step, axis=-1).astype(jnp.int32),
            space.n,
        )
    low, high = _bounds(space)
    return (
        lambda action: scale(action.reshape(-1), low, high),
        lambda step: unscale(step, low, high).reshape(space.shape),
        low.size,
    )
