"""Shared vocabulary: array aliases, spaces and the records that travel between rooms.

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
from typing import Any, NamedTuple

import jax
from flax import struct

from rgrl_jax import showing

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
      high: upper bound, likewise; greater than ``low`` everywhere.
      shape: shape of the array, ``()`` for a scalar.
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    shape: tuple[int, ...]


Space = Discrete | Box
Scalar = Array | float
"""A number that may be traced."""


class History(NamedTuple):
    """What led up to the present: ``states [H, S]``, ``actions [H, A]``; oldest first, -1 before the start."""

    states: Array
    actions: Array


class Window(struct.PyTreeNode):
    """One training sample: a present, what was done from there, and what came of it.

    Attributes:
      history: the ``H`` steps before the present.
      present: encoded state ``[S]``.
      actions: encoded actions ``[T, A]`` in -1..1.
      rewards: encoded rewards ``[T, R]`` in -1..1.
      states: encoded states ``[T, S]`` after each action.
      mask: ``[T]``, 1 where the step was observed or is certain (past a terminal state), 0 where
        it is unknown (past a time limit).
    """

    history: History
    present: Array
    actions: Array
    rewards: Array
    states: Array
    mask: Array


class ModelOutput(NamedTuple):
    """Prediction along a plan: ``reward [T, R]`` and ``state [T, S]`` after each action, or None."""

    reward: Array
    state: Array | None


class Deduction(struct.PyTreeNode):
    """An input that was deduced, with what is needed to look inside.

    Attributes:
      x: the input, of the shape it started with.
      loss: error ``[K]`` of the member drawn in each iteration, before its step.
      predicted: the ensemble's mean answer to it.
      score: its error under every member, ``[E]``.
      movement: largest change of any entry against the start.
    """

    x: Array
    loss: Array
    predicted: Array
    score: Array
    movement: Array


class PlanOutput(struct.PyTreeNode):
    """The result of planning, with what is needed to look inside.

    Attributes:
      plan: planned actions ``[T, A]`` in -1..1.
      latent: the same before the squash.
      loss: planning loss ``[K]`` of the member drawn in each iteration, before its step.
      predicted: the ensemble's mean prediction along the final plan, ``[T, R]`` and ``[T, S]``.
      score: loss of the final plan under every member, ``[E]``.
      disagreement: standard deviation of the members' predicted rewards, averaged over the plan.
      saturation: share of entries of the plan beyond 0.95 either way.
      movement: largest change of any entry of the plan against its start, in 0..2.
    """

    plan: Array
    latent: Array
    loss: Array
    predicted: ModelOutput
    score: Array
    disagreement: Array
    saturation: Array
    movement: Array

    def __repr__(self) -> str:
        return f"PlanOutput({', '.join(f'{name} {text}' for name, text in self._rows())})"

    def _repr_html_(self) -> str:
        return showing.table("PlanOutput", ("", ""), self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        """Shapes, and means over whatever it is mapped over."""
        end = showing.mean(self.score)
        steps = self.loss.shape[-1] if hasattr(self.loss, "shape") else 0
        error = f"{showing.mean(self.loss[..., 0])} to {end}" if steps else end
        rows = [("plan", showing.show(self.plan)), ("iterations", str(steps)), ("error", error)]
        rows += [(name, showing.mean(getattr(self, name))) for name in ("disagreement", "saturation", "movement")]
        return rows


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
      info: whatever the policy reported, averaged over the steps of each episode ``[N]``.
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
        """Summed reward ``[N]``, as the environment pays it."""
        return self.reward.sum(axis=0)


class Metrics(struct.PyTreeNode):
    """One row per episode; every field is a scalar, or ``[episodes]`` after ``train``.

    Of several environments played side by side a row is the mean; ``terminated`` is whether all ended by themselves.

    Attributes:
      episode: episodes finished so far, from 1.
      env_steps: environment steps taken so far.
      episode_return: summed reward of the episode.
      episode_length: its number of steps.
      terminated: whether it ended by itself.
      model_loss: mean training loss of the ensemble after the episode; of an algorithm without model the mean square
        of what it learnt from, a TD error for instance.
      plan_loss: mean over the episode of the last planning loss; 0 where nothing was planned, as in warm-up episodes.
      plan_movement: mean over the episode of how far planning moved the plan; likewise.
      plan_noise: half-width of the uniform law plans start from, before the squash; likewise.
      windows: windows in the replay that can be drawn; 0 without replay.
    """

    episode: Array
    env_steps: Array
    episode_return: Array
    episode_length: Array
    terminated: Array
    model_loss: Array
    plan_loss: Array
    plan_movement: Array
    plan_noise: Array
    windows: Array
