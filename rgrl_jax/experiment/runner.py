"""`run`: a loop over chunks of `rgrl_jax.train`, with callbacks between them."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rgrl_jax import training
from rgrl_jax.algos.base import Config
from rgrl_jax.experiment import multiprocess
from rgrl_jax.experiment.compile import make_trainer, place
from rgrl_jax.types import Key, Metrics


@dataclasses.dataclass
class Run:
    """A run in progress, as callbacks see it.

    Attributes:
      state: the state after the last chunk; leaves ``[N, ...]`` for ``N`` seeds.
      batched: whether there is an axis of seeds.
      episode: episodes trained so far.
      planned: training episodes in all.
      chunk: `Metrics` of the last chunk, NumPy arrays ``[N, episodes]``; ``N = 1`` for a single run.
      stopped: set it to say why the run should end here.
      checkpoint: the newest checkpoint, if any.
      seconds: spent compiling, training and in callbacks.
    """

    config: Config
    state: Any
    batched: bool
    episode: int
    planned: int
    chunk: Metrics = dataclasses.field(init=False)
    stopped: str = ""
    checkpoint: Path | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=lambda: dict(compile=0.0, train=0.0, callbacks=0.0))

    @contextlib.contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to ``seconds[name]``."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


class Callback:
    """Called by `rgrl_jax.run`; a subclass overrides the methods that it needs."""

    first_only = False  # whether of several processes only the first calls it

    def begin(self, run: Run) -> None:
        """Called before anything compiles."""

    def after_chunk(self, run: Run) -> None:
        """Called after every chunk: ``run.chunk`` holds its metrics. Set ``run.stopped`` to end the run."""

    def end(self, run: Run) -> None:
        """Called at the end, also when an error or Ctrl-C ends the run."""


def run(
    key: Key | None,
    config: Config,
    *,
    state: Any | None = None,
    chunk: int = 1,
    callbacks: Sequence[Callback] = (),
    devices: int = 1,
    seed_batch: int = 0,
) -> tuple[Any, Metrics]:
    """Trains in chunks until ``config.episodes``; the numbers are those of `rgrl_jax.train`.

    An environment that lives on the host, ``gymnasium:ID`` for instance, is stepped there, and all else compiled.

    Args:
      key: decides the whole run; keys ``[N]`` train ``N`` seeds in lockstep, or on the host one after the other.
        Not used with ``state``.
      state: where to continue; None starts anew.
      chunk: episodes per compiled program; between chunks the callbacks see the run. It changes no number.
      callbacks: called in order; of several processes each calls its own.
      devices: number of devices that the seeds are spread over, or the environments and the learning of a single run;
        a divisor of their number.
      seed_batch: seeds that a device trains in lockstep, the next ones after them; 0 for as many as its memory holds.

    Returns:
      The last state, and `Metrics` of what was trained now as NumPy arrays ``[episodes]`` or ``[N, episodes]``; of
      no episodes, and without ``info``, if a callback ended the run before the first.

    Raises:
      ValueError: a field of the config or an argument is out of range.
      FloatingPointError: a return, a loss or a float in ``info`` is not finite; the message names the episode and the
        last good checkpoint.
    """
    config.validate()
    for name, value, low in (("chunk", chunk, 1), ("seed_batch", seed_batch, 0)):
        if value < low:
            raise ValueError(f"{name} = {value} must be at least {low}")
    status = _begin(key, config, state)
    status.state = place(status.state, config, devices)
    if status.episode >= status.planned:
        raise ValueError(f"episodes = {status.planned} must be more than the {status.episode} already trained")
    callbacks = [callback for callback in callbacks if multiprocess.is_first() or not callback.first_only]
    history: list[Metrics] = []
    programs: dict[int, Callable[..., Any]] = {}
    try:
        for callback in callbacks:
            callback.begin(status)
        while status.episode < status.planned and not status.stopped:
            length = min(chunk, status.planned - status.episode)
            if length not in programs:
                with status.clock("compile"):
                    programs[length] = make_trainer(status.state, status.config, length, seed_batch)
                continue  # a signal may have come meanwhile
            with status.clock("train"):
                history.append(_advance(status, programs[length]))
            with status.clock("callbacks"):
                for callback in callbacks:
                    callback.after_chunk(status)
    finally:
        for callback in callbacks:
            callback.end(status)
    metrics = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *history) if history else _no_metrics(status)
    return status.state, metrics if status.batched else jax.tree.map(lambda x: x[0], metrics)


def _begin(key: Key | None, config: Config, state: Any | None) -> Run:
    if state is None:
        if key is None:
            raise ValueError("key = None needs a state to continue from")
        start = training.init if key.ndim == 0 else jax.vmap(training.init, in_axes=(0, None))
        state = jax.jit(start)(key, config)
    return Run(config, state, state.episode.ndim == 1, int(np.max(state.episode)), config.episodes)


def _no_metrics(status: Run) -> Metrics:
    none: Any = np.zeros((status.state.episode.size, 0))
    return Metrics(**{field.name: none for field in dataclasses.fields(Metrics) if field.name != "info"})


def _advance(status: Run, program: Callable[..., Any]) -> Metrics:
    """Trains one chunk, and checks it before any callback can keep it."""
    state, metrics = jax.block_until_ready(program(status.state, status.config))
    metrics = jax.tree.map(np.atleast_2d, multiprocess.fetch(metrics))
    for name, values in metrics.columns().items():
        bad = np.argwhere(~np.isfinite(values))
        if bad.size:
            seed, step = bad[np.argmin(bad[:, 1])]
            which = f" of run {seed}" if status.batched else ""
            kept = f"the last good checkpoint is {str(status.checkpoint)!r}" if status.checkpoint else "no checkpoint"
            raise FloatingPointError(
                f"{name} = {values[seed, step]} in episode {metrics.episode[seed, step]}{which} is not finite; {kept}"
            )
    status.state, status.chunk, status.episode = state, metrics, int(metrics.episode.max())
    return metrics
