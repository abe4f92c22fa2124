"""Array aliases, spaces, and the records that every algorithm uses.

Axis letters used in every docstring of the library:

====== =========================================  ====== ==========================
letter meaning                                    letter meaning
====== =========================================  ====== ==========================
``E``  ensemble members                           ``H``  history length
``B``  batch of windows                           ``T``  horizon (length of a plan)
``N``  environments stepped together              ``S``  encoded state size
``L``  steps of an episode                        ``A``  encoded action size
``C``  replay capacity in rows                    ``R``  encoded reward size
``K``  planning iterations                        ``P``  plans tried in parallel
====== =========================================  ====== ==========================
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from flax import struct

Array = jax.Array
Key = jax.Array
"""A typed PRNG key, as made by ``jax.random.key``."""
Params = Any
"""Any pytree of arrays."""
PyTree = Any


@dataclasses.dataclass(frozen=True)
class Discrete:
    """The values ``0, 1, ..., n - 1``.

    Attributes:
      n: number of values, at least 1.
    """

    n: int


@dataclasses.dataclass(frozen=True)
class Box:
    """Arrays whose entries lie (mostly) between ``low`` and ``high``.

    The bounds set the scale of the encoders; an observation may leave them.

    Attributes:
      low: lower bound, one number for all entries or one per entry of the flattened array.
      high: upper bound, of the same form; greater than ``low`` everywhere.
      shape: shape of the array, ``()`` for a scalar.
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    shape: tuple[int, ...]


Space = Discrete | Box
Scalar = Array | float
"""A number that may be traced."""


class Episode(struct.PyTreeNode):
    """``N`` episodes stepped together, rows ``0 .. length`` of a buffer of ``L + 1`` rows.

    Row ``t`` holds the observation before action ``t``; row ``length`` holds the last observation
    and nothing else. Rows past it are meaningless.

    Attributes:
      obs: raw observations ``[L + 1, N, ...]``.
      action: actions as the environment takes them ``[L + 1, N, ...]``.
      reward: ``[L + 1, N]`` float32.
      length: number of steps taken ``[N]`` int32.
      terminated: the episode ended by itself ``[N]`` bool.
      truncated: the episode was cut off by its step limit ``[N]`` bool.
      info: what the policy reported, averaged over its decisions in each episode ``[N]``.
    """

    obs: Array
    action: Array
    reward: Array
    length: Array
    terminated: Array
    truncated: Array
    info: PyTree

    @property
    def episode_return(self) -> Array:
        """Sums the rewards ``[N]``, as the environment pays them."""
        return self.reward.sum(axis=0)


class Metrics(struct.PyTreeNode):
    """One row per episode; every field is a scalar, or ``[episodes]`` after ``train``.

    Of several environments played side by side a row is the mean; ``terminated`` is whether all ended by themselves.

    Attributes:
      episode: episodes trained so far, from 1.
      env_steps: environment steps taken so far.
      episode_return: summed reward of the episode.
      episode_length: its number of steps.
      terminated: whether it ended by itself.
      model_loss: mean training loss after the episode; without a model the mean square of the learning signal, a TD
        error for instance.
      info: what else the algorithm reports, scalars by name.
    """

    episode: Array
    env_steps: Array
    episode_return: Array
    episode_length: Array
    terminated: Array
    model_loss: Array
    info: dict[str, Array] = struct.field(default_factory=dict)

    def columns(self) -> dict[str, Array]:
        """Returns all columns by name, those of ``info`` last."""
        core = [field.name for field in dataclasses.fields(self) if field.name != "info"]
        return {name: getattr(self, name) for name in core} | self.info
