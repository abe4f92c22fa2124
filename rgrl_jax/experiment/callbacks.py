"""Callbacks of a run: progress, files, stopping early."""

from __future__ import annotations

import contextlib
import importlib
import signal
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from rgrl_jax.experiment import checkpoint, lock, multiprocess, run_folder
from rgrl_jax.experiment.compile import make_evaluator
from rgrl_jax.experiment.playing import evaluation_keys
from rgrl_jax.experiment.runner import Callback, Run


class Progress(Callback):
    """Draws a live bar with return, loss and a float in ``info``, means over seeds, on ``console`` or stderr."""

    first_only = True

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)

    def begin(self, run: Run) -> None:
        """Draws the empty bar."""
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}")
        self.bar = RichProgress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console)
        self.bar.start()
        self.task = self.bar.add_task("compiling", total=run.planned, completed=run.episode)

    def after_chunk(self, run: Run) -> None:
        """Moves the bar."""
        last = jax.tree.map(lambda x: np.mean(x[:, -1]), run.chunk)
        description = f"return {last.episode_return:7.1f}  loss {last.model_loss:.4f}"
        numbers = [name for name, values in run.chunk.info.items() if values.dtype.kind == "f"]
        for name in numbers[:1]:  # a line has no room for more
            description += f"  {name.replace('_', ' ')} {last.info[name]:.3g}"
        self.bar.update(self.task, completed=run.episode, description=description)

    def end(self, run: Run) -> None:
        """Leaves the bar as it is."""
        if hasattr(self, "bar"):
            self.bar.stop()


class CSVLog(Callback):
    """Appends one row per seed and episode to ``metrics.csv`` in a run folder; ``seed`` is that of the first run."""

    first_only = True

    def __init__(self, folder: str | Path, seed: int = 0):
        self.folder, self.seed = Path(folder), seed

    def begin(self, run: Run) -> None:
        """Makes the folder; its files stay as they are until there is something to add."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start: int | None = run.episode

    def after_chunk(self, run: Run) -> None:
        """Appends the chunk; before the first, drops rows past the state that the run went on from."""
        if self.start is not None:
            run_folder.trim_metrics(self.folder, self.start)
            self.start = None
        run_folder.append_metrics(self.folder, run.chunk, self.seed)


class TensorBoard(Callback):
    """Writes every metric of every episode, averaged over seeds, for ``tensorboard --logdir`` of the folder or above.

    A run that goes on hides what was written after the state that it went on from.

    Raises:
      ValueError: tensorboardX is not installed.
    """

    first_only = True

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            self.make = importlib.import_module("tensorboardX").SummaryWriter
        except ImportError as error:
            needed = "TensorBoard needs the package tensorboardX, pip install 'rgrl_jax[tensorboard]'"
            raise ValueError(f"{needed}: {error}") from error

    def begin(self, run: Run) -> None:
        """Opens a file of events."""
        self.writer = self.make(str(self.folder), purge_step=run.episode + 1)

    def after_chunk(self, run: Run) -> None:
        """Appends the chunk."""
        columns = run.chunk.columns()
        for j, episode in enumerate(columns.pop("episode")[0].tolist()):
            for name, values in columns.items():
                self.writer.add_scalar(name, float(np.mean(values[:, j])), episode)
        self.writer.flush()

    def end(self, run: Run) -> None:
        """Closes the file."""
        if hasattr(self, "writer"):
            self.writer.close()


class Checkpoint(Callback):
    """Keeps the newest states in ``folder/checkpoints`` and the config beside them, for `load_run`.

    Args:
      folder: the run folder.
      every: chunks between checkpoints; the last state is always kept.
      keep: number of checkpoints that stay.
      meta: entries of config.json beside the config: ``preset``, ``seed`` and any others.
    """

    def __init__(self, folder: str | Path, *, every: int = 1, keep: int = 2, meta: dict[str, Any] | None = None):
        for name, value in (("every", every), ("keep", keep)):
            if value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        self.folder, self.every, self.keep = Path(folder), every, keep
        self.meta = {"preset": "custom", "seed": 0} | (meta or {})

    def begin(self, run: Run) -> None:
        """Writes config.json.

        Raises:
          BlockingIOError: another process trains in the folder.
          FileExistsError: the folder holds checkpoints of another run, further on than this one.
          ValueError: the folder holds checkpoints of another config; only ``episodes`` may differ.
        """
        self.held = contextlib.ExitStack()
        self.held.enter_context(lock.hold(self.folder))
        self.seen = -1
        self.manager = checkpoint.open_manager(self.folder, keep=self.keep)
        newest, place, other = self.manager.latest_step(), repr(str(self.folder)), "choose another folder"
        if newest is not None and newest > run.episode:
            raise FileExistsError(f"{place} holds checkpoint {newest}, beyond episode {run.episode}; {other}")
        if newest is not None and (changed := checkpoint.changes(self.manager, newest, run.config)):
            raise ValueError(f"{place} holds checkpoints of another config: {changed}; {other}")
        key_impl = str(jax.random.key_impl(run.state.key))
        meta = self.meta | {"seeds": run.state.episode.size, "batched": run.batched, "key_impl": key_impl}
        if multiprocess.is_first():
            run_folder.write_config(self.folder, run.config, meta)
        self.chunks, self.saved = 0, newest
        if newest == run.episode:
            run.checkpoint = self._path(newest)

    def after_chunk(self, run: Run) -> None:
        """Saves the state after every few chunks."""
        self.chunks, self.seen = self.chunks + 1, run.episode
        if self.chunks % self.every == 0:
            self._save(run)

    def end(self, run: Run) -> None:
        """Saves the last state, unless the chunk that made it was not found good."""
        if not hasattr(self, "held"):
            return
        with self.held:
            if hasattr(self, "manager"):
                if run.episode == self.seen:
                    self._save(run)
                self.manager.close()

    def _save(self, run: Run) -> None:
        if run.episode == self.saved:
            return
        self.seen = -1  # a state that cannot be written now is not tried again at the end
        checkpoint.save(self.manager, run.episode, run.state, run.config)
        self.seen = self.saved = run.episode
        run.checkpoint = self._path(run.episode)

    def _path(self, episode: int) -> Path:
        return self.folder / run_folder.CHECKPOINTS / str(episode)


class StopAtGoal(Callback):
    """Ends the run once noiseless episodes reach a goal, of every seed in the same check.

    Their mean must do so with a standard error to spare, or else a lucky check would end many runs.

    After every chunk, and before the first of a run that goes on, the frozen agent plays ``num_episodes`` episodes
    without plan noise; none of their steps is learnt from or counted.

    Args:
      goal: mean return to reach; None for the environment's, and never if it has none.
    """

    def __init__(self, goal: float | None = None, num_episodes: int = 10):
        self.goal, self.num_episodes = goal, num_episodes

    def begin(self, run: Run) -> None:
        """Compiles the check; a run that goes on may have been killed before it was made."""
        self.wanted = run.config.spec.goal if self.goal is None else self.goal
        if self.wanted is not None:
            with run.clock("compile"):
                key = evaluation_keys(run.state)
                self.evaluate = make_evaluator(key, run.state, run.config, self.num_episodes)
            if run.episode:
                self.after_chunk(run)

    def after_chunk(self, run: Run) -> None:
        """Plays the noiseless episodes."""
        if self.wanted is None:
            return
        returns = multiprocess.fetch(self.evaluate(evaluation_keys(run.state), run.state, run.config))
        careful = returns.mean(axis=-1) - returns.std(axis=-1) / max(self.num_episodes - 1, 1) ** 0.5
        if np.min(careful) >= self.wanted:
            run.stopped = f"goal of {self.wanted:g} met over {self.num_episodes} noiseless episodes"


class StopOnSignal(Callback):
    """Ends the run after the chunk in which SIGTERM or Ctrl-C comes; a second one does at once what it usually does.

    With a `Checkpoint` beside it nothing that was trained is lost. Several processes end after the same chunk.
    Only the main thread of a process hears signals; in others this does nothing. That one was heard is said on
    ``console``, standard error by default, and ``received`` holds it, or 0.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)
        self.received = 0
        self.usual: dict[int, Any] = {}

    def begin(self, run: Run) -> None:
        """Listens."""
        self.run, self.received = run, 0
        if threading.current_thread() is threading.main_thread():
            self.usual = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}

    def after_chunk(self, run: Run) -> None:
        """Asks the other processes."""
        if multiprocess.several() and not run.stopped:
            heard = int(-multiprocess.least(-self.received))
            run.stopped = signal.Signals(heard).name if heard else ""
            self.received = heard

    def end(self, run: Run) -> None:
        """Listens no more."""
        for number, usual in self.usual.items():
            signal.signal(number, usual)
        self.usual = {}

    def _hear(self, number: int, frame: Any) -> None:
        self.received = number
        self.end(self.run)
        if not multiprocess.several():
            self.run.stopped = signal.Signals(number).name
        self.console.print(f"{signal.Signals(number).name}: ending after this chunk; once more ends at once")
