"""Commands that look at run folders: evaluate, plot, watch and list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rgrl_jax import envs
from rgrl_jax.algos import rgrl
from rgrl_jax.algos.base import algorithm_name, algorithm_names
from rgrl_jax.algos.presets import list_presets
from rgrl_jax.algos.rgrl import models
from rgrl_jax.experiment import checkpoint, command_following, host_rollout, run_folder
from rgrl_jax.experiment.commands import check_seed, draw_curve, load, score, timed_returns
from rgrl_jax.experiment.playing import play
from rgrl_jax.experiment.plots import curves, predictions
from rgrl_jax.experiment.plots.gif import episode_gif
from rgrl_jax.experiment.plots.sweep import sweep
from rgrl_jax.types import Key


def evaluate(console: Console, folder: Path, episodes: int, seed: int, commands: int = 0) -> dict[str, Any]:
    """Plays noiseless episodes with the last checkpoint, and if ``commands`` are wanted others by command."""
    check_seed(seed)
    config, state, meta = loaded = load(console, folder)
    if commands:
        command_following.check_commands(config, commands)
    key = jax.random.key(seed)
    keys = jnp.broadcast_to(key, (meta["seeds"],)) if meta["seeds"] > 1 else key
    returns, compiling, playing = timed_returns(keys, state, config, episodes)
    answer = {
        "env": config.env_id,
        "seed": seed,
        "trained_episodes": int(np.max(state.episode)),
        **score(returns),
        "seconds": {"compile": round(compiling, 3), "evaluate": round(playing, 3)},
    }
    console.print(
        f"{config.env_id} after {answer['trained_episodes']} training episodes: mean return "
        f"{answer['mean_return']:.1f}, lowest {answer['min_return']:.1f} over {episodes} noiseless episodes"
    )
    if commands:
        answer["command_following"] = _follow_commands(console, folder, commands, key, loaded)
    return answer


def _follow_commands(
    console: Console, folder: Path, commands: int, key: Key, loaded: checkpoint.LoadedRun
) -> dict[str, Any]:
    """Returns and draws the returns that are achieved for so many commands, and their correlation."""
    config, state, meta = loaded
    states = [_one_seed(state, meta, i) for i in range(meta["seeds"])]
    found = [command_following.command_following(key, one, config, commands) for one in states]
    commanded, achieved = np.asarray(found[0].commanded), np.stack([np.asarray(one.achieved) for one in found])
    picture = folder / run_folder.COMMANDS
    curves.command_following(commanded, achieved, title=f"{config.env_id}, {algorithm_name(config)}", path=picture)
    correlation = command_following.command_following_correlation(commanded, achieved)
    console.print(f"achieved against commanded return: correlation {correlation.mean():.2f}; drawn: {picture}")
    numbers = {"commanded": commanded, "achieved": achieved, "correlation": correlation}
    return {name: values.tolist() for name, values in numbers.items()} | {"picture": str(picture)}


def plot(console: Console, folder: Path, out: Path | None, kind: str, seed: int, episodes: int) -> dict[str, Any]:
    """Draws the learning curve from metrics.csv, or predictions of the last checkpoint, or a folder of runs."""
    out = out or folder / (run_folder.CURVE if kind == "learning" else f"{kind}.png")
    if kind == "learning":
        config, meta = run_folder.read_config(folder)
        draw_curve(config, meta["preset"], folder, out)
    elif kind == "sweep":
        grid, values = _read_sweep(folder)
        sweep(grid, values, label="mean return of the last ten episodes", title=folder.name, path=out)
    else:
        _draw_prediction(folder, out, kind, seed, episodes)
    console.print(f"drawn: {out}")
    return {"picture": str(out)}


_PLAY = jax.jit(play, static_argnums=3)


def _draw_prediction(folder: Path, out: Path, kind: str, seed: int, episodes: int) -> None:
    """Draws plans along one noiseless episode, or errors of the model over several, of the first seed."""
    check_seed(seed)
    rgrl.check_has_model(run_folder.read_config(folder)[0])
    config, state, meta = checkpoint.load_run(folder)
    assert isinstance(config, rgrl.RGRLConfig)
    state = _one_seed(state, meta)
    key, number = jax.random.key(seed), episodes if kind == "model" else 1
    episode = (play if host_rollout.is_hosted(config) else _PLAY)(key, state, config, number)
    prediction = rgrl.predict_episode(state, episode, config)
    title = f"{config.env_id}, {meta['preset']}, after {int(state.episode)} episodes"
    if kind == "model":
        predictions.model_error(prediction, title=title, path=out)
    else:
        plans = rgrl.recompute_plans(key, state, episode, config)
        predictions.plans(prediction, plans, config, title=title, path=out)


def _one_seed(state: Any, meta: dict[str, Any], i: int = 0) -> Any:
    return jax.tree.map(lambda x: x[i], state) if meta["seeds"] > 1 else state


def _read_sweep(folder: Path) -> tuple[dict[str, list[Any]], list[float]]:
    """Returns the settings in which the runs in a folder differ, and the mean return of the last episodes of each."""
    runs = sorted(path.parent for path in folder.glob(f"*/{run_folder.METRICS}"))
    if not runs:
        raise FileNotFoundError(f"{str(folder)!r} holds no run folders in which something was trained")
    configs = [run_folder.flat(run_folder.plain_config(run_folder.read_config(run)[0])) for run in runs]
    if len({tuple(config) for config in configs}) > 1:
        raise ValueError(f"the runs in {str(folder)!r} are of different algorithms")
    grid = {name: [config[name] for config in configs] for name in configs[0]}
    grid = {name: values for name, values in grid.items() if any(value != values[0] for value in values)}
    returns = [float(run_folder.read_metrics(run).episode_return[:, -10:].mean()) for run in runs]
    return grid, returns


def watch(console: Console, folder: Path, out: Path | None, seed: int, frames: int) -> dict[str, Any]:
    """Draws one episode of the last checkpoint; of the first seed if there are several."""
    check_seed(seed)
    config, state, meta = load(console, folder)
    out = out or folder / "watch.gif"
    score, length = episode_gif(jax.random.key(seed), _one_seed(state, meta), config, out, max_frames=frames)
    console.print(f"drawn: {out}, an episode of {length} steps and return {score:.1f}")
    return {"gif": str(out), "episode_return": score, "episode_length": length}


def list_all(console: Console) -> dict[str, Any]:
    """Lists environments, algorithms with their presets, and models."""
    algorithms = {algo: list_presets(algo) for algo in algorithm_names()}
    answer = {"environments": envs.names(), "algorithms": algorithms, "models": models.names()}
    console.print(
        f"environments: {', '.join(answer['environments'])}\ngymnasium:ID is any of Gymnasium's, mjx:ID its "
        f"InvertedPendulum, Swimmer or Hopper compiled, brax:NAME any of Brax's\nmodels of rgrl: "
        f"{', '.join(answer['models'])}\nalgorithms, and the environments with presets of their own:"
    )
    for algo, presets in algorithms.items():
        for name, known in presets.items():
            if known:
                console.print(f"  {algo:20s}{name:10s}{', '.join(known)}")
    return answer
