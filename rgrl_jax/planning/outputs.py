"""Records that planners and their models return."""

from __future__ import annotations

from typing import NamedTuple

from flax import struct

from rgrl_jax import display
from rgrl_jax.types import Array


class ModelOutput(NamedTuple):
    """Prediction along a plan: ``reward [T, R]`` and ``state [T, S]`` after each action; no state is None."""

    reward: Array
    state: Array | None


class DeductionOutput(struct.PyTreeNode):
    """A deduced input, with diagnostics.

    Attributes:
      input: of the shape it started with.
      loss: error ``[K]`` of the member drawn in each iteration, before its step.
      predicted: the ensemble's mean answer.
      score: error of every member ``[E]``.
      movement: largest change of any entry against the start.
    """

    input: Array
    loss: Array
    predicted: Array
    score: Array
    movement: Array


class PlanOutput(struct.PyTreeNode):
    """A plan, with diagnostics.

    Attributes:
      plan: planned actions ``[T, A]`` in -1..1.
      latent: the plan before the squash ``[T, A]``.
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
        return display.table("PlanOutput", ("", ""), self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        """Returns shapes, and means over all mapped axes."""
        error, steps = display.mean(self.score), getattr(self.loss, "shape", (0,))[-1]
        if steps and hasattr(self.loss, "__getitem__"):  # else leaves are shapes, as of `jax.eval_shape`
            error = f"{display.mean(self.loss[..., 0])} to {error}"
        rows = [("plan", display.show(self.plan)), ("iterations", str(steps)), ("error", error)]
        rows += [(name, display.mean(getattr(self, name))) for name in ("disagreement", "saturation", "movement")]
        return rows
