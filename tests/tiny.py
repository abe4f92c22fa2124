"""Small runs for the tests: a tiny RGRL, a toy algorithm that compiles at once, and ways to compare bits."""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import rgrl_jax as rgrl
from rgrl_jax import display, envs, spmd
from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Algorithm, Config, Cost, register_algorithm, unregister_algorithm
from rgrl_jax.envs import EnvSpec, host_spec
from rgrl_jax.rollout import Actor, episode_metrics

TINY = {
    "max_steps": 12,
    "episodes": 4,
    "explore.warmup_episodes": 1,
    "model.width": 8,
    "model.heads": 2,
    "model.layers": 1,
    "model.ensemble_size": 2,
    "model.unroll": 1,
    "planner.horizon": 4,
    "planner.iterations": 2,
    "planner.unroll": 1,
    "learner.updates_per_episode": 3,
    "learner.batch_size": 4,
    "learner.reset_every": 3,
    "replay.capacity": 200,
    "replay.max_windows": 100,
    # Not what is tuned: most tests are of one thing at a time.
    "explore.epsilon": 0.0,
    "model.reward_from": "feature",
    "planner.num_starts": 1,
    "planner.noise": 1.0,
    "learner.member_reset": "all",
}
ARGUMENTS = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]

SCRATCH = Path(tempfile.mkdtemp(prefix="rgrl_tests_"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


def compile_quickly(*, exact):
    """Programs compile faster, since the runs are too short to gain from optimised code.

    With ``exact`` operations are fused as they are for users: only then do two programs of the same step, one for
    one episode and one for three, agree in the last bit. Child processes inherit it through the environment.
    """
    for name, value in {"jax_disable_most_optimizations": True, "jax_enable_compilation_cache": False}.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    unfused = " --xla_cpu_use_fusion_emitters=false"
    known = jax.__version_info__ < (0, 11)  # later ones have no such flag, and would not start
    if known and not exact and unfused not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + unfused


def start_process(*words, **environment):
    """Starts Python with these arguments, this library, and these helpers for it to import."""
    paths = [str(Path(__file__).parent), str(Path(rgrl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *map(str, words)], env=env, **pipes)


def tiny_config(**overrides):
    """The tuned preset of CartPole-v1, cut down."""
    return rgrl.preset("CartPole-v1", **(TINY | overrides))


TRAIN = jax.jit(rgrl.train)


@functools.cache
def trained(seed=0):
    """State and metrics of a whole tiny run as one program."""
    return TRAIN(jax.random.key(seed), tiny_config())


@functools.cache
def logged():
    """Folder, state and metrics of the same run, in chunks of one with CSV log and checkpoints."""
    folder = SCRATCH / "logged"
    callbacks = [rgrl.callbacks.CSVLog(folder), rgrl.callbacks.Checkpoint(folder)]
    return folder, *rgrl.run(jax.random.key(0), tiny_config(), chunk=1, callbacks=callbacks)


def words(leaf):
    """A leaf as a NumPy array, typed keys as their words."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def assert_same(one, other):
    """Equal structure, dtypes, shapes and bits."""
    (left, left_tree), (right, right_tree) = (jax.tree_util.tree_flatten_with_path(x) for x in (one, other))
    assert left_tree == right_tree
    for (path, x), (_, y) in zip(left, right, strict=True):
        assert x.dtype == y.dtype, jax.tree_util.keystr(path)
        np.testing.assert_array_equal(words(x), words(y), err_msg=jax.tree_util.keystr(path))


def says(error, *parts):
    """The message of an error is one line and holds all parts."""
    message = str(error.value)
    assert "\n" not in message, message
    for part in parts:
        assert str(part) in message, f"{part!r} is not in {message!r}"


# A toy algorithm: a random walk that bets on itself, in an environment that pays what is bet.


class ToyConfig(Config):
    """Settings of the toy algorithm."""

    sharded: ClassVar[tuple[str, ...]] = ("rows",)

    env_id: str = fields.name("Toy", "An environment, of which only the goal is used.")
    episodes: int = fields.integer(6, "Training episodes.", low=1)
    rate: float = fields.number(0.25, "Rate at which old weights are forgotten.")
    gain: float = fields.number(0.0, "Mean return of noiseless episodes per trained episode.")
    spread: float = fields.number(0.0, "Distance between the returns of two noiseless episodes.")
    bad_episode: float = fields.number(0.0, "Episode whose loss is NaN; 0 for none.")
    rows: int = fields.integer(8, "Rows that devices share.", low=1)


class ToyState(display.Record):
    """A random walk, with a leaf of size zero."""

    key: jax.Array
    weight: jax.Array
    skill: jax.Array
    empty: jax.Array
    episode: jax.Array
    env_steps: jax.Array


def toy_env(max_steps):
    """One step, whose reward is the action; a gain ends the episode by itself, and a loss by its limit."""

    def reset(key):
        del key
        return jnp.zeros(()), jnp.int32(0)

    def step(key, state, action):
        del key
        return action, state + 1, action, action > 0, action <= 0

    box = envs.spec.Box(-1.0, 1.0, ())
    return EnvSpec("Toy", reset, step, box, box, (-1.0, 1.0), max_steps or 1, (-1.0, 1.0), goal=1.0)


def toy_init(key, config):
    """The start of the walk."""
    del config
    walk, skill = jax.random.split(key)
    empty, none = jnp.zeros((4, 0), jnp.uint32), jnp.int32(0)
    return ToyState(walk, jnp.zeros(3), jax.random.uniform(skill), empty, none, none)


def toy_actor(key, bets):
    """A policy that bets ``[N]``."""
    return Actor(key, lambda key, timestep: (bets[None], (), ()), len(bets))


def toy_act(state, config):
    """The next training episode: it bets where the walk is."""
    del config
    return toy_actor(jax.random.fold_in(state.key, state.episode), state.weight.sum()[None])


def toy_learn(state, episode, carry, config):
    """One step of the walk, with metrics that depend on all of it."""
    del carry
    draw = jax.random.normal(jax.random.fold_in(state.key, state.episode), (3,))
    draw = spmd.all_gather(2.0 * spmd.shard(draw), 3) / 2.0  # whoever has a share does its part
    weight = (1.0 - config.rate) * state.weight + draw
    state = state.replace(weight=weight, episode=state.episode + 1, env_steps=state.env_steps + episode.length.sum())
    loss = jnp.where(state.episode == config.bad_episode, jnp.nan, jnp.square(weight).sum())
    info = {"plan_loss": jnp.abs(weight[1]), "movement": jnp.tanh(weight[2]), "windows": 2 * state.env_steps}
    return state, episode_metrics(episode, episodes=state.episode, env_steps=state.env_steps, loss=loss, info=info)


def toy_evaluation_actor(key, state, config, num_envs):
    """Episodes whose mean return is ``gain * episode * (1 + skill)``, evenly spread."""
    place = jnp.arange(num_envs) - (num_envs - 1) / 2
    return toy_actor(key, config.gain * state.episode * (1.0 + state.skill) + config.spread * place)


def toy_cost(config):
    """Next to nothing."""
    return Cost(config.env_id, config.episodes, config.episodes, config.episodes, 3, 6, 64)


TOY = Algorithm(toy_init, toy_act, toy_learn, toy_evaluation_actor, toy_cost)


def register_toy(**changes):
    """Registers the toy algorithm and its environment, with some of its functions changed."""
    unregister_toy()
    envs.register("Toy", toy_env)
    register_algorithm("toy", ToyConfig, TOY._replace(**changes))


def unregister_toy():
    """Removes both."""
    envs.unregister("Toy")
    unregister_algorithm("toy")


# Environments on the host.


class OnHost:
    """A pure environment that keeps its own state, on the host; nothing after its start is left to chance."""

    alive = 0

    def __init__(self, spec):
        self.start, self.move = _programs(spec)
        OnHost.alive += 1

    def reset(self, key):
        """Begins an episode."""
        obs, self.state = self.start(key)
        self.steps = 0
        return np.asarray(obs)

    def step(self, action):
        """Goes on."""
        obs, self.state, *rest = self.move(jax.random.key(0), self.state, action)
        self.steps += 1
        return np.asarray(obs), *(x.item() for x in rest)

    def render(self):
        """A picture that grows brighter."""
        return np.full((20, 30, 3), 10 * self.steps, np.uint8)

    def close(self):
        """Counts."""
        OnHost.alive -= 1


@functools.cache
def _programs(spec):
    return jax.jit(spec.reset), jax.jit(spec.step)


@contextlib.contextmanager
def hosted(env_id, max_steps=None, *, name="Hosted", kind=OnHost):
    """Registers ``name``: the environment ``env_id`` stepped on the host."""
    spec = envs.make(env_id, max_steps)
    shared = ("observation", "action", "reward_range", "return_range", "max_steps", "goal")
    copied = {field: getattr(spec, field) for field in shared}

    def make(limit):
        return host_spec(name, lambda drawn: kind(spec), **copied | {"max_steps": limit or spec.max_steps})

    envs.register(name, make)
    try:
        yield name
    finally:
        envs.unregister(name)
