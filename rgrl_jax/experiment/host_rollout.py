"""Episodes of environments that live on the host: they are stepped there, and all else is compiled.

The twin of `rgrl_jax.rollout`, with the same keys, rows and numbers. ``N`` environments execute ``M`` actions, then
one program records what came of them and asks the policy again. The buffers of the episode stay on the device: only
the results of steps go in and only actions come out.
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

from rgrl_jax import training
from rgrl_jax.algos.base import Config, get_algorithm
from rgrl_jax.envs.spec import EnvSpec, HostEnv, observation_struct
from rgrl_jax.rollout import Actor, RolloutState, decide, record, reset_keys, start, to_episode
from rgrl_jax.types import Array, Episode, Key, Metrics, PyTree

NDArray = np.ndarray[Any, Any]
OnStep = Callable[[HostEnv], None]
"""Called with the first environment after its reset and after each of its steps."""


class Playback(struct.PyTreeNode):
    """Episodes to play: the next training episode of one run's state, or ``N`` noiseless ones."""

    state: Any
    config: Config
    key: Key | None = None  # of noiseless episodes
    num_episodes: int = struct.field(pytree_node=False, default=0)

    def actor(self) -> Actor:
        """Returns who plays."""
        algorithm = get_algorithm(self.config)
        if self.key is None:
            return algorithm.act(self.state, self.config)
        return algorithm.evaluation_actor(self.key, self.state, self.config, self.num_episodes)


class HostSteps(NamedTuple):
    """Results of ``M`` actions of ``N`` environments, blank where an episode had ended."""

    steps: Any  # M, or 0 if there is nothing to record yet
    obs: Any  # [M, N, ...]
    reward: Any  # [M, N] float32
    terminated: Any  # [M, N] bool
    truncated: Any  # [M, N] bool


def is_hosted(config: Config) -> bool:
    """Tells whether the environment of a config lives on the host."""
    return config.spec.host is not None


def train(state: Any, config: Config, num_episodes: int) -> tuple[Any, Metrics]:
    """Trains one run for some rows of the metrics, like `rgrl_jax.train`; returns `Metrics` with NumPy leaves."""
    rows = []
    for _ in range(num_episodes):
        inner = []
        for _ in range(config.episodes_per_row):
            playback = Playback(_settled(state), config)
            state, metrics = _learn(playback, *_perform(playback))
            inner.append(metrics)
        if len(inner) > 1:
            state, metrics = _mean_row(state, jax.tree.map(lambda *x: jnp.stack(x), *inner))
        rows.append(jax.tree.map(np.asarray, metrics))
    return state, jax.tree.map(lambda *x: np.stack(x), *rows)


def play(key: Key, state: Any, config: Config, num_episodes: int = 1, on_step: OnStep | None = None) -> Episode:
    """Plays noiseless episodes, like `rgrl_jax.play`; ``on_step``, see `OnStep`, may draw the first environment.

    Raises:
      ValueError: called inside a compiled program; or the environment cannot be drawn.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((key, state, config))):
        config.spec.reset(key)  # raises the error that says what to do instead
    return _finish(*_perform(Playback(_settled(state), config, _settled(key), num_episodes), on_step))


def compile_training(state: Any, config: Config) -> None:
    """Compiles the programs that `train` will call and finds by itself."""
    playback = Playback(_settled(state), config)
    _learn.lower(playback, *_compile(playback)).compile()


def compile_playing(key: Key, state: Any, config: Config, num_episodes: int) -> None:
    """Compiles the programs that `play` will call."""
    _finish.lower(*_compile(Playback(_settled(state), config, _settled(key), num_episodes))).compile()


def _compile(playback: Playback) -> tuple[RolloutState, Array, HostSteps]:
    """Compiles the loop; returns examples of its results."""
    spec = playback.config.spec
    keys, like = _reset_keys(playback), observation_struct(spec)
    now, actions = _begin(playback, np.zeros((*keys.shape, *like.shape), like.dtype))
    results = _blank(spec, actions, 0)
    _record_and_act.lower(playback, now, actions, results).compile()
    return now, actions, results


def _settled(tree: PyTree) -> PyTree:
    """Commits arrays to where they are: jax tells programs apart by that, and restored arrays are committed."""
    tree = jax.tree.map(jnp.asarray, tree)
    return jax.device_put(tree, jax.tree.map(lambda x: x.sharding, tree))


def _perform(playback: Playback, on_step: OnStep | None = None) -> tuple[RolloutState, Array, HostSteps]:
    """Plays all episodes to their ends; returns also the last actions and their results, not yet recorded."""
    spec, keys = playback.config.spec, _reset_keys(playback)
    with _opened(spec, len(keys), drawn=on_step is not None) as envs:
        first = np.stack([env.reset(key) for env, key in zip(envs, keys, strict=True)])
        if on_step:
            on_step(envs[0])
        now, actions = _begin(playback, first.astype(observation_struct(spec).dtype, copy=False))
        results, t, alive = _blank(spec, actions, 0), 0, np.ones(len(envs), bool)
        while alive.any():
            now, actions = _record_and_act(playback, now, actions, results)
            results = _blank(spec, actions, len(actions))
            for i, row in enumerate(np.asarray(actions)):
                seen = on_step if alive[0] else None  # it is also called after the step that ends the episode
                t += 1
                _step(envs, row, alive, i, results, cut=t >= spec.max_steps)
                if seen:
                    seen(envs[0])
    return now, actions, results


@contextlib.contextmanager
def _opened(spec: EnvSpec, num_envs: int, *, drawn: bool) -> Iterator[list[HostEnv]]:
    """Makes environments, of which only the first may be drawn; nothing of an episode can reach the next one."""
    assert spec.host is not None
    envs: list[HostEnv] = []
    try:
        for i in range(num_envs):
            envs.append(spec.host.make(drawn and i == 0))
        yield envs
    finally:
        for env in envs:
            env.close()


def _blank(spec: EnvSpec, actions: Any, steps: int) -> HostSteps:
    """Makes results to be filled in, for ``actions [M, N, ...]``."""
    shape, like = actions.shape[:2], observation_struct(spec)
    obs, reward = np.zeros((*shape, *like.shape), like.dtype), np.zeros(shape, np.float32)
    return HostSteps(np.int32(steps), obs, reward, np.zeros(shape, bool), np.zeros(shape, bool))


def _step(envs: list[HostEnv], actions: NDArray, alive: NDArray, i: int, results: HostSteps, *, cut: bool) -> None:
    """Steps the environments that are alive and fills row ``i`` of the results; with ``cut`` all of them end."""
    for n in np.flatnonzero(alive).tolist():
        obs, reward, terminated, truncated = envs[n].step(actions[n])
        truncated = (truncated or cut) and not terminated
        results.obs[i, n], results.reward[i, n] = obs, reward
        results.terminated[i, n], results.truncated[i, n] = terminated, truncated
        alive[n] = not (terminated or truncated)


_mean_row = jax.jit(training.mean_row)


@jax.jit
def _reset_keys(playback: Playback) -> Key:
    return reset_keys(playback.actor())


@jax.jit
def _begin(playback: Playback, obs: Array) -> tuple[RolloutState, Array]:
    """Makes buffers with the first observations ``[N, ...]`` in row 0, and blank actions ``[M, N, ...]``."""
    actor = playback.actor()
    now = start(playback.config.spec, actor, obs)
    actions = jax.eval_shape(lambda: decide(now, actor.policy)[1])
    return now, jnp.zeros(actions.shape, actions.dtype)


@partial(jax.jit, donate_argnames="now")
def _record_and_act(
    playback: Playback, now: RolloutState, actions: Array, results: HostSteps
) -> tuple[RolloutState, Array]:
    """Records the results of the last actions and asks the policy for the next ones ``[M, N, ...]``."""
    return decide(_recorded(now, actions, results), playback.actor().policy)


@jax.jit
def _learn(playback: Playback, now: RolloutState, actions: Array, results: HostSteps) -> tuple[Any, Metrics]:
    """Learns from a training episode that has ended."""
    done, config = _recorded(now, actions, results), playback.config
    return get_algorithm(config).learn(playback.state, to_episode(done), done.carry, config)


@jax.jit
def _finish(now: RolloutState, actions: Array, results: HostSteps) -> Episode:
    return to_episode(_recorded(now, actions, results))


def _recorded(now: RolloutState, actions: Array, results: HostSteps) -> RolloutState:
    def write(i: Array, episode: Episode) -> Episode:
        return record(episode, now.t + i, *(x[i] for x in (actions, *results[1:])))

    episode = jax.lax.fori_loop(0, results.steps, write, now.episode)
    return now.replace(episode=episode, t=now.t + results.steps)
