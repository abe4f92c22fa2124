"""Episodes of environments that live on the host: they are stepped here, and all else is compiled.

The twin of `rgrl_jax.rollout`, with the same keys, rows and numbers. ``N`` environments execute ``M`` actions, then
one program writes down what came of them and plans anew. The buffers of the episode stay on the device: only what
was seen goes in and only actions come out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rgrl_jax.algos.base import Halves, algorithm_name, get_algorithm
from rgrl_jax.envs.registry import make_spec
from rgrl_jax.envs.spec import EnvSpec, HostEnv, observed
from rgrl_jax.rollout import Acting, Rollout, begin_from, decide, finish, record, reset_keys
from rgrl_jax.types import Array, Episode, Key, Metrics

NDArray = np.ndarray[Any, Any]
Look = Callable[[HostEnv], None]


class Stage(struct.PyTreeNode):
    """What is played: the next training episode of a state, or noiseless episodes.

    Attributes:
      state: train state of one run.
      config: its config.
      key: decides noiseless episodes; None for a training episode.
      num_episodes: how many noiseless ones.
    """

    state: Any
    config: Any
    key: Key | None = None
    num_episodes: int = struct.field(pytree_node=False, default=0)

    def halves(self) -> Halves:
        """The algorithm, in parts.

        Raises:
          ValueError: it has none.
        """
        halves = get_algorithm(self.config).halves
        if halves is None:
            name, env_id = algorithm_name(self.config), self.config.env_id
            raise ValueError(f"algorithm {name!r} cannot play {env_id}, which lives on the host")
        return halves

    def spec(self) -> EnvSpec:
        """The environment."""
        return self.halves().spec(self.config)

    def acting(self) -> Acting:
        """Who plays."""
        if self.key is None:
            return self.halves().act(self.state, self.config)
        return self.halves().show(self.key, self.state, self.config, self.num_episodes)


class Seen(NamedTuple):
    """What ``N`` environments showed while they executed ``M`` actions.

    Attributes:
      steps: ``M``, or 0 if there is nothing to write down yet.
      obs: ``[M, N, ...]``; this and the others are blank where an episode had ended.
      reward: ``[M, N]`` float32.
      terminated: ``[M, N]`` bool.
      truncated: ``[M, N]`` bool.
    """

    steps: Any
    obs: Any
    reward: Any
    terminated: Any
    truncated: Any


def is_hosted(config: Any) -> bool:
    """Whether the environment of a config lives on the host."""
    return make_spec(config.env_id, config.max_steps).host is not None


def train(state: Any, config: Any, num_episodes: int) -> tuple[Any, Metrics]:
    """Trains one run for a number of episodes, like `rgrl_jax.train`.

    Args:
      state: where to continue; it stays as it is.
      config: an algorithm's config.
      num_episodes: episodes to train now, at least 1.

    Returns:
      The state after the last episode and `Metrics` with NumPy leaves ``[episodes]``.

    Raises:
      ValueError: the algorithm cannot play on the host.
    """
    rows = []
    for _ in range(num_episodes):
        stage = Stage(_settled(state), config)
        state, metrics = _learn(stage, *_perform(stage))
        rows.append(jax.tree.map(np.asarray, metrics))
    return state, jax.tree.map(lambda *x: np.stack(x), *rows)


def play(key: Key, state: Any, config: Any, num_episodes: int = 1, look: Look | None = None) -> Episode:
    """Plays noiseless episodes, like `rgrl_jax.play`.

    Args:
      key: decides the episodes.
      state: of one run.
      config: the config it was trained with.
      num_episodes: ``N``.
      look: shown the first environment, which then can be drawn, after its reset and after each of its steps.

    Returns:
      The `Episode`, everything in it ``[L + 1, N, ...]`` or ``[N]``.

    Raises:
      ValueError: called inside a compiled program; or the environment cannot be drawn.
    """
    stage = Stage(state, config, key, num_episodes)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(stage)):
        stage.spec().reset(key)  # says what to do instead
    return _finish(*_perform(Stage(_settled(state), config, _settled(key), num_episodes), look))


def compile_training(state: Any, config: Any) -> None:
    """Compiles what `train` will call; it finds the programs by itself."""
    stage = Stage(_settled(state), config)
    _learn.lower(stage, *_compile(stage)).compile()


def compile_playing(key: Key, state: Any, config: Any, num_episodes: int) -> None:
    """Compiles what `play` will call."""
    _finish.lower(*_compile(Stage(_settled(state), config, _settled(key), num_episodes))).compile()


def _compile(stage: Stage) -> tuple[Rollout, Array, Seen]:
    """Compiles the playing; returns examples of what it leads to."""
    keys, like = _reset_keys(stage), observed(stage.spec())
    now, actions = _begin(stage, np.zeros((*keys.shape, *like.shape), like.dtype))
    seen = _blank(stage.spec(), actions, 0)
    _turn.lower(stage, now, actions, seen).compile()
    return now, actions, seen


def _settled(tree: Any) -> Any:
    """The same arrays, committed to where they are: jax tells programs apart by that, and restored ones are."""
    tree = jax.tree.map(jnp.asarray, tree)
    return jax.device_put(tree, jax.tree.map(lambda x: x.sharding, tree))


def _perform(stage: Stage, look: Look | None = None) -> tuple[Rollout, Array, Seen]:
    """Plays all episodes to their ends; the last actions and what came of them are still to be written down."""
    spec, keys = stage.spec(), _reset_keys(stage)
    with _opened(spec, len(keys), drawn=look is not None) as envs:
        first = np.stack([env.reset(key) for env, key in zip(envs, keys, strict=True)])
        first = first.astype(observed(spec).dtype, copy=False)
        if look:
            look(envs[0])
        now, actions = _begin(stage, first)
        seen, t, alive = _blank(spec, actions, 0), 0, np.ones(len(envs), bool)
        while alive.any():
            now, actions = _turn(stage, now, actions, seen)
            seen = _blank(spec, actions, len(actions))
            for i, row in enumerate(np.asarray(actions)):
                t, shown = t + 1, look if alive[0] else None
                _step(envs, row, alive, i, seen, cut=t >= spec.max_steps)
                if shown:
                    shown(envs[0])
    return now, actions, seen


@contextlib.contextmanager
def _opened(spec: EnvSpec, num_envs: int, *, drawn: bool) -> Iterator[list[HostEnv]]:
    """Fresh environments, of which only the first may be drawn. Nothing of an episode can reach the next one."""
    assert spec.host is not None
    envs: list[HostEnv] = []
    try:
        for i in range(num_envs):
            envs.append(spec.host.make(drawn and i == 0))
        yield envs
    finally:
        for env in envs:
            env.close()


def _blank(spec: EnvSpec, actions: Any, steps: int) -> Seen:
    """Nothing seen yet of as many steps as there are ``actions [M, N, ...]``."""
    m, n = actions.shape[:2]
    like = observed(spec)
    off = np.zeros((m, n), bool)
    obs, reward = np.zeros((m, n, *like.shape), like.dtype), np.zeros((m, n), np.float32)
    return Seen(np.int32(steps), obs, reward, off, off.copy())


def _step(envs: list[HostEnv], actions: NDArray, alive: NDArray, i: int, seen: Seen, *, cut: bool) -> None:
    """Steps the environments that are alive and fills row ``i`` of ``seen``; with ``cut`` all of them end."""
    for n in np.flatnonzero(alive).tolist():
        obs, reward, terminated, truncated = envs[n].step(actions[n])
        truncated = (truncated or cut) and not terminated
        seen.obs[i, n], seen.reward[i, n] = obs, reward
        seen.terminated[i, n], seen.truncated[i, n] = terminated, truncated
        alive[n] = not (terminated or truncated)


@jax.jit
def _reset_keys(stage: Stage) -> Key:
    acting = stage.acting()
    return reset_keys(acting.key, acting.num_envs)


@jax.jit
def _begin(stage: Stage, obs: Array) -> tuple[Rollout, Array]:
    """Buffers with the first observations ``[N, ...]`` in row 0, and blank actions ``[M, N, ...]``."""
    acting = stage.acting()
    now = begin_from(
        acting.key, stage.spec(), acting.policy, obs, memory=acting.memory, info=acting.info, padding=acting.padding
    )
    actions = jax.eval_shape(lambda: decide(now, acting.policy)[1])
    return now, jnp.zeros(actions.shape, actions.dtype)


@partial(jax.jit, donate_argnames="now")
def _turn(stage: Stage, now: Rollout, actions: Array, seen: Seen) -> tuple[Rollout, Array]:
    """Writes down what came of the last actions and decides on the next ones."""
    return decide(_recorded(now, actions, seen), stage.acting().policy)


@jax.jit
def _learn(stage: Stage, now: Rollout, actions: Array, seen: Seen) -> tuple[Any, Metrics]:
    """What follows a training episode."""
    done = _recorded(now, actions, seen)
    return stage.halves().learn(stage.state, finish(done), done.memory, stage.config)


@jax.jit
def _finish(now: Rollout, actions: Array, seen: Seen) -> Episode:
    return finish(_recorded(now, actions, seen))


def _recorded(now: Rollout, actions: Array, seen: Seen) -> Rollout:
    def write(i: Array, episode: Episode) -> Episode:
        row = (x[i] for x in (actions, seen.obs, seen.reward, seen.terminated, seen.truncated))
        return record(episode, now.t + i, *row)

    episode = jax.lax.fori_loop(0, seen.steps, write, now.episode)
    return now.replace(episode=episode, t=now.t + seen.steps)
