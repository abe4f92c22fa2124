"""Callbacks of `rgrl_jax.run`."""

from rgrl_jax.experiment.callbacks import Checkpoint, CSVLog, Progress, StopAtGoal, StopOnSignal, TensorBoard
from rgrl_jax.experiment.runner import Callback, Run

__all__ = ["CSVLog", "Callback", "Checkpoint", "Progress", "Run", "StopAtGoal", "StopOnSignal", "TensorBoard"]
