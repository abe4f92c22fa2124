"""Commands that train: a run from its beginning, or on from its last checkpoint. They return plain data."""

from __future__ import annotations

import dataclasses
import os
import platform
import signal
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

import rgrl_jax
from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Config, algorithm_name
from rgrl_jax.experiment import callbacks, checkpoint, lock, multiprocess, run_folder
from rgrl_jax.experiment.compile import check_devices, count_devices, make_evaluator
from rgrl_jax.experiment.playing import evaluation_keys
from rgrl_jax.experiment.plots.curves import learning
from rgrl_jax.experiment.runner import Run, run
from rgrl_jax.experiment.stats import bootstrap_interval, iqm
from rgrl_jax.types import Key

SIMULATORS = {"gymnasium": ["gymnasium"], "mjx": ["gymnasium", "mujoco", "mujoco-mjx"], "brax": ["brax"]}
NDArray = np.ndarray[Any, Any]


class Interrupted(KeyboardInterrupt):
    """The signal of this ``number`` ended the command; the message says in one sentence what became of the run."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.number = number


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a run beside its config, kept in config.json; the fields say what each is."""

    preset: str = fields.name("tuned", "Preset that the other settings come from, see rgrl list.")
    seed: int = fields.integer(0, "Seed that decides the whole run.")
    seeds: int = fields.integer(1, "Runs trained in lockstep, of seeds seed, seed + 1, ...", low=1)
    devices: str = fields.name(
        "1",
        "Devices that the seeds are spread over, or the environments and the learning of a single run: a divisor of "
        "their number, or all. Several processes use all of theirs.",
    )
    seed_batch: int = fields.integer(
        0, "Seeds that a device trains in lockstep, the next ones after them; 0 for as many as its memory holds."
    )
    chunk: int = fields.integer(
        1,
        "Training episodes between two looks at the run, and between two checkpoints. A kill loses at most one "
        "chunk, Ctrl-C and SIGTERM none.",
        low=1,
    )
    early_stop: bool = fields.flag(
        True, "Stop once 10 noiseless episodes reach the goal of the environment with a standard error to spare."
    )
    eval_episodes: int = fields.integer(100, "Noiseless episodes after training.", low=1)
    tensorboard: bool = fields.flag(
        False, "Write events for TensorBoard into the run folder; needs pip install 'rgrl_jax[tensorboard]'."
    )


@dataclasses.dataclass
class _Job:
    """A run that a command trains: its config, folder and options, and when the command began."""

    console: Console
    config: Config
    folder: Path
    options: Options
    start: float = dataclasses.field(default_factory=time.perf_counter)


def train(
    console: Console, config: Config, folder: Path, options: Options, *, overwrite: bool = False
) -> dict[str, Any]:
    """Trains from the beginning, then evaluates and draws the curve; returns the summary.

    With ``overwrite`` it replaces an earlier run in the folder.

    Raises:
      ValueError: a setting is out of range.
      FileExistsError: the folder is not empty.
      BlockingIOError: another process trains in it.
      Interrupted: by SIGTERM or Ctrl-C.
    """
    fields.check_fields(options)
    check_seed(options.seed, options.seeds)
    devices = count_devices(options.devices)
    config.validate()
    check_devices(config, options.seeds if options.seeds > 1 else None, devices)
    multiprocess.first_alone(lambda: run_folder.check_place(folder, overwrite=overwrite))
    with lock.hold(folder):
        multiprocess.first_alone(lambda: run_folder.create(folder, overwrite=overwrite))
        return _run(_Job(console, config, folder, options))


def resume(console: Console, folder: Path, episodes: int | None = None) -> dict[str, Any]:
    """Goes on from the last checkpoint to the planned, or the given, number of episodes; returns the summary.

    A run that was killed before its first checkpoint begins again; one that was killed after its last is evaluated.

    Raises:
      FileNotFoundError: not a run folder.
      ValueError: nothing is left to do, or the folder was not made by `train`, or see `checkpoint.load_run`.
      BlockingIOError: another process trains in it.
      Interrupted: by SIGTERM or Ctrl-C.
    """
    config, meta = run_folder.read_config(folder)
    names = [field.name for field in dataclasses.fields(Options)]
    if absent := [name for name in names if name not in meta]:
        lacks = f"{str(folder / run_folder.CONFIG)!r} lacks {', '.join(absent)}: its run was not begun by rgrl train"
        raise ValueError(f"{lacks}; go on with rgrl_jax.load_run and rgrl_jax.run")
    options = Options(**{name: meta[name] for name in names})
    with lock.hold(folder):
        if checkpoint.numbers(folder):
            return _go_on(console, folder, episodes, options)
        console.print("no checkpoint yet: beginning again at episode 0")
        config = config if episodes is None else config.replace(episodes=episodes)
        return _run(_Job(console, config, folder, options))


def _go_on(console: Console, folder: Path, episodes: int | None, options: Options) -> dict[str, Any]:
    config, state, _ = load(console, folder)
    if episodes is not None:
        config = config.replace(episodes=episodes)
    summary = run_folder.read_summary(folder)
    if summary.get("stopped"):  # the goal was met, and yet more is wanted
        options = dataclasses.replace(options, early_stop=False)
    done = int(np.max(state.episode))
    if done > config.episodes or summary.get("episodes") == done == config.episodes:
        raise ValueError(f"episodes = {config.episodes} must be more than the {done} already trained")
    if multiprocess.is_first():
        for path in checkpoint.set_aside(folder, done):
            console.print(f"the damaged checkpoint is now {str(path)!r}")
    console.print(f"resuming at episode {done}")
    return _run(_Job(console, config, folder, options), state)


def load(console: Console, folder: Path) -> checkpoint.LoadedRun:
    """Reads a run folder back, see `checkpoint.load_run`; damaged checkpoints are mentioned on the console."""
    return checkpoint.load_run(folder, tell=lambda sentence: console.print(f"warning: {sentence}"))


def _run(job: _Job, state: Any = None) -> dict[str, Any]:
    """Trains what is left to train; the curve, the last evaluation and the summary follow."""
    several = f" x {job.options.seeds} seeds" if job.options.seeds > 1 else ""
    job.console.print(f"{job.config.describe()}{several}")
    job.console.print(f"on {_device()}, into {job.folder}")
    status = None
    if state is None or int(np.max(state.episode)) < job.config.episodes:
        status = _train(job, state)
        state = status.state
    return _sum_up(job, state, status)


def _train(job: _Job, state: Any) -> Run:
    """Trains with the callbacks of the command line; returns the run at its end."""
    options, folder = job.options, job.folder
    to_people = job.console if job.console.stderr else Console(stderr=True, quiet=job.console.quiet)
    listener = callbacks.StopOnSignal(to_people)
    calls = [
        listener,
        callbacks.Progress(to_people),
        callbacks.CSVLog(folder, options.seed),
        *([callbacks.TensorBoard(folder / run_folder.EVENTS)] if options.tensorboard else []),
        callbacks.Checkpoint(folder, meta=dataclasses.asdict(options)),
        *([callbacks.StopAtGoal()] if options.early_stop else []),
    ]
    key = checkpoint.seed_keys(options.seed, options.seeds)  # not used with a state
    chosen = {"chunk": options.chunk, "devices": count_devices(options.devices), "seed_batch": options.seed_batch}
    run(key, job.config, state=state, callbacks=calls, **chosen)
    if listener.received:
        name, episode = signal.Signals(listener.received).name, listener.run.episode
        kept = f"kept up to episode {episode} of {job.config.episodes}"
        kept = kept if episode else "before the first chunk was trained"
        raise Interrupted(listener.received, f"{name}: ended, {kept}; go on with: rgrl resume {folder}")
    return listener.run


def _sum_up(job: _Job, state: Any, status: Run | None) -> dict[str, Any]:
    """Draws the curve, plays the last evaluation, and writes and prints the summary."""
    config, options, folder = job.config, job.options, job.folder
    if multiprocess.is_first():
        draw_curve(config, options.preset, folder, folder / run_folder.CURVE)
    returns, compiling, playing = timed_returns(evaluation_keys(state), state, config, options.eval_episodes)
    spent = status.seconds if status else {"compile": 0.0, "train": 0.0, "callbacks": 0.0}
    seconds = {
        "compile": spent["compile"] + compiling,
        "train": spent["train"] + spent["callbacks"],
        "evaluate": playing,
        "total": time.perf_counter() - job.start,
    }
    summary = {
        "env": config.env_id,
        "algo": algorithm_name(config),
        "preset": options.preset,
        "seed": options.seed,
        "seeds": options.seeds,
        "episodes": int(np.max(multiprocess.fetch(state.episode))),
        "env_steps": int(np.sum(multiprocess.fetch(state.env_steps))),
        "goal": config.spec.goal,
        "stopped": status.stopped if status else "",
        "evaluation": score(returns),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "device": _device(),
        "versions": _versions(config.env_id),
        "folder": str(folder),
    }
    if multiprocess.is_first():
        run_folder.write_json(folder / run_folder.SUMMARY, summary)
    _print_summary(job.console, summary)
    return summary


def _print_summary(console: Console, summary: dict[str, Any]) -> None:
    scores, seconds = summary["evaluation"], summary["seconds"]
    if summary["stopped"]:
        console.print(f"stopped after {summary['episodes']} episodes: {summary['stopped']}")
    console.print(
        f"evaluation over {scores['episodes']} noiseless episodes: mean return {scores['mean_return']:.1f}, "
        f"lowest {scores['min_return']:.1f}"
    )
    console.print(
        f"{summary['env_steps']:,} env steps in {summary['episodes']} episodes; seconds: compile "
        f"{seconds['compile']:.1f}, train {seconds['train']:.1f}, evaluate {seconds['evaluate']:.1f}, "
        f"total {seconds['total']:.1f}"
    )
    console.print(f"kept in {summary['folder']}; see also: rgrl watch {summary['folder']}")


def draw_curve(config: Config, preset: str, folder: Path, out: Path) -> None:
    """Draws the learning curve of a run folder."""
    metrics = run_folder.read_metrics(folder)
    learning(metrics, title=f"{config.env_id}, {preset}", goal=config.spec.goal, path=out)


def timed_returns(key: Key, state: Any, config: Config, episodes: int) -> tuple[NDArray, float, float]:
    """Returns the returns ``[episodes]`` or ``[seeds, episodes]``, and the seconds of compiling and of playing."""
    start = time.perf_counter()
    program = make_evaluator(key, state, config, episodes)
    middle = time.perf_counter()
    values = multiprocess.fetch(program(key, state, config))
    return values, middle - start, time.perf_counter() - middle


def score(returns: NDArray) -> dict[str, Any]:
    """Computes statistics of returns ``[episodes]`` or ``[seeds, episodes]``."""
    mean, low = float(returns.mean()), float(returns.min())
    scores: dict[str, Any] = {"episodes": returns.shape[-1], "mean_return": mean, "min_return": low}
    scores["returns"] = returns.tolist()
    if returns.ndim == 2:
        means = returns.mean(axis=1)
        scores["mean_return_per_seed"] = means.tolist()
        scores["iqm"], scores["iqm_interval_95"] = float(iqm(means)), list(bootstrap_interval(means))
    return scores


def check_seed(seed: int, seeds: int = 1) -> None:
    """Raises a ValueError if ``seed, ..., seed + seeds - 1`` are not all seeds of keys."""
    if not 0 <= seed <= 2**32 - seeds:
        raise ValueError(f"seed = {seed} must be in 0..{2**32 - seeds}")


def _device() -> str:
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{jax.device_count()} x {device.device_kind}"
    return f"cpu ({platform.machine()}, {len(os.sched_getaffinity(0))} cores)"


def _versions(env_id: str) -> dict[str, str]:
    simulators = SIMULATORS.get(env_id.partition(":")[0], [])
    packages = ["jax", "jaxlib", "flax", "optax", "gymnax", "numpy", *simulators]
    versions = {name: metadata.version(name) for name in packages}
    return {"rgrl_jax": rgrl_jax.__version__, "python": platform.python_version()} | versions
