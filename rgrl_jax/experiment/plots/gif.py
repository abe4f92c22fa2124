"""GIFs of an agent at work, through gymnax's renderer, or that of an environment on the host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from rgrl_jax import training
from rgrl_jax.algos.base import Config
from rgrl_jax.envs.gymnax import RENDERABLE
from rgrl_jax.envs.spec import EnvSpec, HostEnv
from rgrl_jax.experiment import host_rollout
from rgrl_jax.rollout import env_states
from rgrl_jax.types import Episode, Key

FRAME_MS = 40


def episode_gif(
    key: Key, state: Any, config: Config, path: str | Path, *, max_frames: int = 200
) -> tuple[float, int]:
    """Plays one noiseless episode of one run and draws its first frames as a GIF; returns its return and length.

    Raises:
      ValueError: this environment cannot be drawn, or the path is not a GIF.
    """
    path, spec = Path(path), config.spec
    if path.suffix != ".gif":
        raise ValueError(f"path = {str(path)!r} must end in .gif")
    if spec.host is not None:
        episode = _film(key, state, config, path, max_frames)
    elif spec.render is None:
        drawable = ", ".join(RENDERABLE)
        raise ValueError(f"env_id = {config.env_id!r} cannot be drawn by gymnax; those that can: {drawable}")
    else:
        episode = jax.jit(lambda k, s, c: training.play(k, s, c, 1))(key, state, config)
        _draw(key, spec, episode, path, max_frames)
    return float(episode.episode_return[0]), int(episode.length[0])


def _draw(key: Key, spec: EnvSpec, episode: Episode, path: Path, max_frames: int) -> None:
    """Draws an episode of a compiled environment."""
    states = jax.jit(lambda k, e: env_states(k, spec, e))(key, episode)
    count = min(int(episode.length[0]) + 1, max_frames)
    frames = [jax.tree.map(lambda x, t=t: np.asarray(x)[t, 0], states) for t in range(count)]
    import matplotlib

    matplotlib.use("Agg")  # no window and no sound: only the file is wanted
    for variable in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER"):
        os.environ.setdefault(variable, "dummy")
    from gymnax.visualize import Visualizer

    assert spec.render is not None
    env, params = spec.render()
    path.parent.mkdir(parents=True, exist_ok=True)
    Visualizer(env, params, frames, None).animate(str(path))


def _film(key: Key, state: Any, config: Config, path: Path, max_frames: int) -> Episode:
    """Plays the episode on the host and draws it by its environment's renderer."""
    frames: list[Image.Image] = []

    def on_step(env: HostEnv) -> None:
        if len(frames) < max_frames:
            frames.append(Image.fromarray(np.asarray(env.render(), np.uint8)))

    episode = host_rollout.play(key, state, config, 1, on_step)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    return episode
