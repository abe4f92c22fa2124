"""What the commands of the command line do, each as one function that answers with plain data."""

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
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import rgrl_jax
from rgrl_jax.algos import rgrl
from rgrl_jax.algos.base import algorithm_name
from rgrl_jax.envs.registry import make_spec
from rgrl_jax.experiment import (
    callbacks,
    checkpoint,
    host,
    identity,
    lock,
    pictures,
    plotting,
    processes,
    programs,
    rendering,
)
from rgrl_jax.experiment import folder as folders
from rgrl_jax.experiment.runner import run
from rgrl_jax.experiment.stats import bootstrap_interval, iqm

SIMULATORS = {"gymnasium": ["gymnasium"], "mjx": ["gymnasium", "mujoco", "mujoco-mjx"], "brax": ["brax"]}
"""Packages that decide what environments from elsewhere do."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the command.

    Args:
      number: of the signal.
      message: what became of the run.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.number = number


class _Watcher(callbacks.Callback):
    """Remembers what the summary needs of a run."""

    def begin(self, run: Any) -> None:
        self.run = run


def train(
    console: Console,
    config: Any,
    folder: Path,
    options: dict[str, Any],
    *,
    overwrite: bool,
    start: float,
) -> dict[str, Any]:
    """Trains from the beginning; the last evaluation, the curve and the summary follow.

    Args:
      console: where to tell what happens.
      config: the config.
      folder: the run folder.
      options: preset, seed, seeds, devices, seed_batch, chunk, early_stop, eval_episodes, tensorboard.
      overwrite: replace an earlier run in the folder.
      start: ``time.perf_counter()`` when the command began.

    Raises:
      ValueError: a setting is out of range.
      FileExistsError: the folder is not empty.
      BlockingIOError: another process trains in it.
      Interrupted: by SIGTERM or Ctrl-C.
    """
    for name in ("seeds", "chunk", "eval_episodes"):
        if options[name] < 1:
            raise ValueError(f"{name} = {options[name]} must be at least 1")
    if options["seed_batch"] < 0:
        raise ValueError(f"seed_batch = {options['seed_batch']} must be at least 0")
    _check_seed(options["seed"], options["seeds"])
    devices = _count_devices(options["devices"])
    config.validate()
    programs.check_spread(config, options["seeds"] if options["seeds"] > 1 else None, devices)
    processes.first_alone(lambda: folders.check_place(folder, overwrite=overwrite))
    with lock.hold(folder):
        processes.first_alone(lambda: folders.create(folder, overwrite=overwrite))
        return _begin(console, config, folder, options, start)


def _begin(console: Console, config: Any, folder: Path, options: dict[str, Any], start: float) -> dict[str, Any]:
    key = checkpoint.seed_keys(options["seed"], options["seeds"])
    return _run(console, key, config, None, folder, options, start)


def resume(console: Console, folder: Path, episodes: int | None, start: float) -> dict[str, Any]:
    """Goes on from the last checkpoint to the planned, or the given, number of episodes.

    A run that was killed before its first checkpoint begins again; one that was killed after its last is evaluated.

    Raises:
      FileNotFoundError: not a run folder.
      ValueError: nothing is left to do, or the folder was not made by `train`, or see `checkpoint.load_run`.
      BlockingIOError: another process trains in it.
      Interrupted: by SIGTERM or Ctrl-C.
    """
    _, meta = folders.read_config(folder)
    absent = [name for name in ("preset", "chunk", "early_stop", "eval_episodes") if name not in meta]
    if absent:
        raise ValueError(
            f"{str(folder / folders.CONFIG)!r} lacks {', '.join(absent)}: its run was not begun by rgrl train; go on "
            f"with rgrl_jax.load_run and rgrl_jax.run"
        )
    with lock.hold(folder):
        if not checkpoint.numbers(folder):
            config, meta = folders.read_config(folder)
            config = config if episodes is None else config.replace(episodes=episodes)
            console.print("no checkpoint yet: beginning again at episode 0")
            return _begin(console, config, folder, meta, start)
        return _go_on(console, folder, episodes, start)


def _go_on(console: Console, folder: Path, episodes: int | None, start: float) -> dict[str, Any]:
    config, state, meta = _load(console, folder)
    if episodes is not None:
        config = config.replace(episodes=episodes)
    summary = folders.read_summary(folder)
    if summary.get("stopped"):  # the goal was met, and yet more is wanted
        meta["early_stop"] = False
    done = int(np.max(state.episode))
    if done > config.episodes or summary.get("episodes") == done == config.episodes:
        raise ValueError(f"episodes = {config.episodes} must be more than the {done} already trained")
    if processes.is_first():
        for path in checkpoint.set_aside(folder, done):
            console.print(f"the damaged checkpoint is now {str(path)!r}", soft_wrap=True)
    console.print(f"resuming at episode {done}")
    return _run(console, None, config, state, folder, meta, start)


def _load(console: Console, folder: Path) -> checkpoint.LoadedRun:
    return checkpoint.load_run(
        folder, tell=lambda said: console.print(f"warning: {said}", soft_wrap=True, markup=False)
    )


def _run(
    console: Console,
    key: Any,
    config: Any,
    state: Any,
    folder: Path,
    options: dict[str, Any],
    start: float,
) -> dict[str, Any]:
    """Trains what is left to train; the curve, the last evaluation and the summary follow."""
    meta = {name: options[name] for name in ("preset", "seed", "chunk", "early_stop", "eval_episodes")}
    meta |= {"devices": options.get("devices", "1"), "seed_batch": options.get("seed_batch", 0)}
    meta["tensorboard"] = options.get("tensorboard", False)
    several = f" x {options['seeds']} seeds" if options["seeds"] > 1 else ""
    console.print(f"{config.describe()}{several}", highlight=False, soft_wrap=True)
    console.print(f"on {_device()}, into {folder}", highlight=False, soft_wrap=True)
    stopped, seconds = "", {"compile": 0.0, "train": 0.0, "callbacks": 0.0}
    if state is None or int(np.max(state.episode)) < config.episodes:
        status = _train(console, key, config, state, folder, meta)
        state, stopped, seconds = status.state, status.stopped, status.seconds
    return _sum_up(console, config, state, folder, options, stopped, seconds, start)


def _train(console: Console, key: Any, config: Any, state: Any, folder: Path, meta: dict[str, Any]) -> Any:
    """The run with its callbacks, at its end."""
    to_people = console if console.stderr else Console(stderr=True, quiet=console.quiet)
    watcher, listener = _Watcher(), callbacks.StopOnSignal(to_people)
    calls = [
        watcher,
        listener,
        callbacks.Progress(to_people),
        callbacks.CSVLog(folder, meta["seed"]),
        *([callbacks.TensorBoard(folder / folders.EVENTS)] if meta["tensorboard"] else []),
        callbacks.Checkpoint(folder, meta=meta),
        *([callbacks.StopAtGoal()] if meta["early_stop"] else []),
    ]
    several_at_once = {"devices": _count_devices(meta["devices"]), "seed_batch": meta["seed_batch"]}
    run(key, config, state=state, chunk=meta["chunk"], callbacks=calls, **several_at_once)
    if listener.received:
        name, episode = signal.Signals(listener.received).name, watcher.run.episode
        kept = (
            f"kept up to episode {episode} of {config.episodes}" if episode else "before the first chunk was trained"
        )
        raise Interrupted(listener.received, f"{name}: ended, {kept}; go on with: rgrl resume {folder}")
    return watcher.run


def _sum_up(
    console: Console,
    config: Any,
    state: Any,
    folder: Path,
    options: dict[str, Any],
    stopped: str,
    spent: dict[str, float],
    start: float,
) -> dict[str, Any]:
    spec = make_spec(config.env_id, config.max_steps)
    title = f"{config.env_id}, {options['preset']}"
    if processes.is_first():
        plotting.plot_learning(folders.read_metrics(folder), title=title, goal=spec.goal, path=folder / folders.CURVE)

    key = programs.evaluation_keys(state)
    returns, compiling, playing = _evaluate(key, state, config, options["eval_episodes"])
    seconds = {
        "compile": spent["compile"] + compiling,
        "train": spent["train"] + spent["callbacks"],
        "evaluate": playing,
        "total": time.perf_counter() - start,
    }
    summary = {
        "env": config.env_id,
        "algo": algorithm_name(config),
        "preset": options["preset"],
        "seed": options["seed"],
        "seeds": options["seeds"],
        "episodes": int(np.max(processes.fetch(state.episode))),
        "env_steps": int(np.sum(processes.fetch(state.env_steps))),
        "goal": spec.goal,
        "stopped": stopped,
        "evaluation": _scores(returns),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "device": _device(),
        "versions": _versions(spec.env_id),
        "folder": str(folder),
    }
    if processes.is_first():
        folders.write_json(folder / folders.SUMMARY, summary)
    _tell(console, summary)
    return summary


def _tell(console: Console, summary: dict[str, Any]) -> None:
    scores, seconds = summary["evaluation"], summary["seconds"]
    if summary["stopped"]:
        console.print(f"stopped after {summary['episodes']} episodes: {summary['stopped']}")
    console.print(
        f"evaluation over {scores['episodes']} noiseless episodes: mean return {scores['mean_return']:.1f}, "
        f"lowest {scores['min_return']:.1f}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"{summary['env_steps']:,} env steps in {summary['episodes']} episodes; seconds: compile "
        f"{seconds['compile']:.1f}, train {seconds['train']:.1f}, evaluate {seconds['evaluate']:.1f}, "
        f"total {seconds['total']:.1f}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"kept in {summary['folder']}; see also: rgrl watch {summary['folder']}", soft_wrap=True)


def evaluate(console: Console, folder: Path, episodes: int, seed: int, commands: int = 0) -> dict[str, Any]:
    """Plays noiseless episodes with the last checkpoint, and if ``commands`` are wanted others by command."""
    if episodes < 1:
        raise ValueError(f"episodes = {episodes} must be at least 1")
    _check_seed(seed)
    config, state, meta = run = _load(console, folder)
    if commands:
        identity.check_commands(config, commands)
    key = jax.random.key(seed)
    if meta["seeds"] > 1:
        key = jnp.broadcast_to(key, (meta["seeds"],))
    returns, compiling, playing = _evaluate(key, state, config, episodes)
    answer = {
        "env": config.env_id,
        "seed": seed,
        "trained_episodes": int(np.max(state.episode)),
        **_scores(returns),
        "seconds": {"compile": round(compiling, 3), "evaluate": round(playing, 3)},
    }
    console.print(
        f"{config.env_id} after {answer['trained_episodes']} training episodes: mean return "
        f"{answer['mean_return']:.1f}, lowest {answer['min_return']:.1f} over {episodes} noiseless episodes",
        highlight=False,
        soft_wrap=True,
    )
    return answer | (_obey(console, folder, commands, seed, run) if commands else {})


def _obey(console: Console, folder: Path, commands: int, seed: int, run: checkpoint.LoadedRun) -> dict[str, Any]:
    """What is achieved for so many commands, and how well the two agree."""
    config, state, meta = run
    several = meta["seeds"] > 1
    states = [jax.tree.map(lambda x, i=i: x[i], state) for i in range(meta["seeds"])] if several else [state]
    curves = [identity.identity_curve(jax.random.key(seed), one, config, commands) for one in states]
    commanded, achieved = np.asarray(curves[0].commanded), np.stack([np.asarray(curve.achieved) for curve in curves])
    picture = folder / folders.IDENTITY
    plotting.plot_identity(commanded, achieved, title=f"{config.env_id}, {algorithm_name(config)}", path=picture)
    agreement = identity.identity_correlation(commanded, achieved)
    console.print(
        f"achieved against commanded return: correlation {np.mean(agreement):.2f}; drawn: {picture}",
        highlight=False,
        soft_wrap=True,
    )
    return {
        "identity": {
            "commanded": commanded.tolist(),
            "achieved": achieved.tolist(),
            "correlation": agreement.tolist(),
            "picture": str(picture),
        }
    }


def _evaluate(key: Any, state: Any, config: Any, episodes: int) -> tuple[np.ndarray[Any, Any], float, float]:
    """Returns ``[episodes]`` or ``[seeds, episodes]``, and the seconds of compiling and of playing."""
    start = time.perf_counter()
    play = programs.make_evaluator(key, state, config, episodes)
    middle = time.perf_counter()
    values = processes.fetch(play(key, state, config))
    return values, middle - start, time.perf_counter() - middle


def _scores(returns: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Statistics of returns ``[episodes]`` or ``[seeds, episodes]``."""
    scores: dict[str, Any] = {
        "episodes": returns.shape[-1],
        "mean_return": float(returns.mean()),
        "min_return": float(returns.min()),
        "returns": returns.tolist(),
    }
    if returns.ndim == 2:
        means = returns.mean(axis=1)
        scores["mean_return_per_seed"] = means.tolist()
        scores["iqm"], scores["iqm_interval_95"] = float(iqm(means)), list(bootstrap_interval(means))
    return scores


def plot(console: Console, folder: Path, out: Path | None, kind: str, seed: int, episodes: int) -> dict[str, Any]:
    """Draws the learning curve from metrics.csv, or what the last checkpoint foresees, or a folder of runs."""
    out = out or folder / {"learning": folders.CURVE}.get(kind, f"{kind}.png")
    if kind == "learning":
        config, meta = folders.read_config(folder)
        title, goal = f"{config.env_id}, {meta['preset']}", make_spec(config.env_id, config.max_steps).goal
        plotting.plot_learning(folders.read_metrics(folder), title=title, goal=goal, path=out)
    elif kind == "sweep":
        grid, values = _sweep(folder)
        pictures.plot_sweep(grid, values, label="mean return of the last ten episodes", title=folder.name, path=out)
    else:
        _plot_foresight(folder, out, kind, seed, episodes)
    console.print(f"drawn: {out}", soft_wrap=True)
    return {"picture": str(out)}


_PLAY = jax.jit(programs.play, static_argnums=3)


def _plot_foresight(folder: Path, out: Path, kind: str, seed: int, episodes: int) -> None:
    """Plans along one noiseless episode, or the model's errors over several; of the first seed if there are more."""
    if episodes < 1:
        raise ValueError(f"episodes = {episodes} must be at least 1")
    _check_seed(seed)
    rgrl.check_model(folders.read_config(folder)[0])
    config, state, meta = checkpoint.load_run(folder)
    if meta["seeds"] > 1:
        state = jax.tree.map(lambda x: x[0], state)
    key, number = jax.random.key(seed), episodes if kind == "model" else 1
    episode = (programs.play if host.is_hosted(config) else _PLAY)(key, state, config, number)
    foresight = rgrl.foresee(state, episode, config)
    title = f"{config.env_id}, {meta['preset']}, after {int(state.episode)} episodes"
    if kind == "model":
        pictures.plot_model_error(foresight, title=title, path=out)
    else:
        plans = rgrl.retrace_plans(key, state, episode, config)
        pictures.plot_plans(foresight, plans, config, title=title, path=out)


def _sweep(folder: Path) -> tuple[dict[str, list[Any]], list[float]]:
    """The two settings in which the runs in a folder differ, and the mean return of the last episodes of each run."""
    runs = sorted(path.parent for path in folder.glob(f"*/{folders.METRICS}"))
    if not runs:
        raise FileNotFoundError(f"{str(folder)!r} holds no run folders in which something was trained")
    configs = [dataclasses.asdict(folders.read_config(run)[0]) for run in runs]
    if len({tuple(config) for config in configs}) > 1:
        raise ValueError(f"the runs in {str(folder)!r} are of different algorithms")
    grid = {name: [config[name] for config in configs] for name in configs[0]}
    grid = {name: values for name, values in grid.items() if any(value != values[0] for value in values)}
    returns = [float(folders.read_metrics(run).episode_return[:, -10:].mean()) for run in runs]
    return grid, returns


def watch(console: Console, folder: Path, out: Path | None, seed: int, frames: int) -> dict[str, Any]:
    """Draws one episode of the last checkpoint; of the first seed if there are several."""
    if frames < 1:
        raise ValueError(f"frames = {frames} must be at least 1")
    _check_seed(seed)
    config, state, meta = _load(console, folder)
    if meta["seeds"] > 1:
        state = jax.tree.map(lambda x: x[0], state)
    out = out or folder / "watch.gif"
    score, length = rendering.render_episode(jax.random.key(seed), state, config, out, max_frames=frames)
    console.print(f"drawn: {out}, an episode of {length} steps and return {score:.1f}", soft_wrap=True)
    return {"gif": str(out), "episode_return": score, "episode_length": length}


def _check_seed(seed: int, seeds: int = 1) -> None:
    if not 0 <= seed <= 2**32 - seeds:
        raise ValueError(f"seed = {seed} must be in 0..{2**32 - seeds}")


def _count_devices(word: str) -> int:
    """``"all"`` or a number of devices.

    Raises:
      ValueError: it is neither, or more than there are.
    """
    known = jax.device_count()
    if word == "all":
        return known
    if not word.isdecimal() or not 1 <= int(word) <= known:
        raise ValueError(f"devices = {word!r} must be all or a number in 1..{known}")
    return int(word)


def _device() -> str:
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{jax.device_count()} x {device.device_kind}"
    return f"cpu ({platform.machine()}, {len(os.sched_getaffinity(0))} cores)"


def _versions(env_id: str) -> dict[str, str]:
    packages = ["jax", "jaxlib", "flax", "optax", "gymnax", "numpy"]
    packages += SIMULATORS.get(env_id.partition(":")[0], [])
    return {"rgrl_jax": rgrl_jax.__version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in packages
    }
