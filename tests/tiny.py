"""Small runs for the tests: a tiny RGRL, a toy algorithm that compiles at once, and ways to compare bits."""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import rgrl_jax as rgrl
from rgrl_jax import sharing
from rgrl_jax.algos import config as fields
from rgrl_jax.envs import registry
from rgrl_jax.models.frame import Frame, FrameModel
from rgrl_jax.models.recurrent import Recurrent

TINY = {
    "width": 8,
    "heads": 2,
    "layers": 1,
    "horizon": 4,
    "plan_iterations": 2,
    "learn_iterations": 3,
    "learn_batch": 4,
    "max_steps": 12,
    "episodes": 4,
    "warmup_episodes": 1,
    "replay_capacity": 200,
    "max_windows": 100,
    "unroll": 1,
    "plan_unroll": 1,
    "ensemble_size": 2,
    # Not what is tuned: most tests are of one thing at a time.
    "reward_from": "feature",
    "epsilon": 0.0,
    "plan_starts": 1,
    "plan_noise": 1.0,
    "reset": "all",
    "reset_every": 3,
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
    callbacks = [rgrl.CSVLog(folder), rgrl.Checkpoint(folder)]
    return folder, *rgrl.run(jax.random.key(0), tiny_config(), chunk=1, callbacks=callbacks)


def gru(state_size, action_size, reward_size, width, layers, use_bias=True, head="tanh", residual=False, unroll=5):
    """A feedback GRU of given sizes."""
    core = Recurrent("gru", width, layers, use_bias)
    sizes = (state_size, action_size, reward_size, width)
    return FrameModel(Frame(core, *sizes, use_bias, head, residual, True, unroll))


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


@struct.dataclass
class ToyConfig:
    """Settings of the toy algorithm.

    Attributes:
      env_id: an environment, of which only the goal is used.
      max_steps: its step limit.
      episodes: training episodes.
      rate: how fast old weights are forgotten.
      gain: mean return of noiseless episodes, per trained episode.
      spread: distance between the returns of two noiseless episodes.
      bad_episode: the loss of this episode is NaN; 0 for none.
      rows: episodes that devices share.
    """

    env_id: str = fields.word("Catch-bsuite")
    max_steps: int | None = fields.integer(None, 1)
    episodes: int = fields.integer(6, 1)
    rate: float = fields.number(0.25)
    gain: float = fields.number(0.0)
    spread: float = fields.number(0.0)
    bad_episode: float = fields.number(0.0)
    rows: int = fields.integer(8, 1)

    def validate(self):
        """Checks every field."""
        fields.check_fields(self)

    def describe(self):
        """What a run costs: next to nothing."""
        return rgrl.Cost(self.env_id, self.episodes, 3 * self.episodes, 0, self.episodes, 3, 0, 6, 64)


@struct.dataclass
class ToyState:
    """A random walk, with a leaf of size zero."""

    key: jax.Array
    weight: jax.Array
    skill: jax.Array
    empty: jax.Array
    episode: jax.Array
    env_steps: jax.Array


def toy_init(key, config):
    """The start of the walk."""
    del config
    walk, skill = jax.random.split(key)
    return ToyState(
        key=walk,
        weight=jnp.zeros(3),
        skill=jax.random.uniform(skill),
        empty=jnp.zeros((4, 0), jnp.uint32),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def toy_step(state, config):
    """One step of the walk, with metrics that depend on all of it."""
    draw = jax.random.normal(jax.random.fold_in(state.key, state.episode), (3,))
    draw = sharing.gather(2.0 * sharing.share(draw), 3) / 2.0  # whoever has a share does its part
    weight = (1.0 - config.rate) * state.weight + draw
    state = state.replace(weight=weight, episode=state.episode + 1, env_steps=state.env_steps + 3)
    loss = jnp.where(state.episode == config.bad_episode, jnp.nan, jnp.square(weight).sum())
    metrics = rgrl.Metrics(
        episode=state.episode,
        env_steps=state.env_steps,
        episode_return=weight.sum(),
        episode_length=jnp.int32(3),
        terminated=weight[0] > 0,
        model_loss=loss,
        plan_loss=jnp.abs(weight[1]),
        plan_movement=jnp.abs(jnp.tanh(weight[2])),
        plan_noise=jnp.float32(0.5),
        windows=state.env_steps,
    )
    return state, metrics


def toy_play(key, state, config, num_episodes):
    """Episodes whose mean return is ``gain * episode * (1 + skill)``, evenly spread."""
    del key
    place = jnp.arange(num_episodes) - (num_episodes - 1) / 2
    value = config.gain * state.episode * (1.0 + state.skill) + config.spread * place
    blank = jnp.zeros((2, num_episodes))
    done = jnp.ones(num_episodes, bool)
    return rgrl.Episode(
        obs=blank,
        action=blank,
        reward=blank.at[0].set(value),
        length=jnp.ones(num_episodes, jnp.int32),
        terminated=done,
        truncated=~done,
        info=None,
    )


TOY = ("toy", rgrl.Algorithm(toy_init, toy_step, toy_play, ToyConfig.describe, shared=("rows",)))


class OnHost:
    """An environment in which nothing after the start is left to chance, one step after the other."""

    def __init__(self, env_id, max_steps):
        spec = rgrl.make_spec(env_id, max_steps)
        self.start, self.move = jax.jit(spec.reset), jax.jit(spec.step)

    def reset(self, key):
        """Begins."""
        obs, self.state = self.start(key)
        return np.asarray(obs)

    def step(self, action):
        """Goes on."""
        obs, self.state, reward, terminated, truncated = self.move(jax.random.key(0), self.state, action)
        return np.asarray(obs), float(reward), bool(terminated), bool(truncated)

    def close(self):
        """Nothing to let go of."""


def register_hosted(monkeypatch, env_id, max_steps):
    """Registers ``Hosted``, the same environment stepped on the host, until the test ends."""
    spec = rgrl.make_spec(env_id, max_steps)
    monkeypatch.setattr(registry, "_ENVS", dict(registry._ENVS))
    spaces = {name: getattr(spec, name) for name in ("observation", "action", "reward_range", "return_range")}

    def make(limit):
        return rgrl.host_spec("Hosted", lambda drawn: OnHost(env_id, max_steps), max_steps=max_steps, **spaces)

    rgrl.register_env("Hosted", make)
