"""Environments on the host: their episodes are those of the compiled rollout, and everything that runs one works."""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from PIL import Image
from tiny import TINY, TRAIN, OnHost, assert_same, hosted, says

import rgrl_jax as rgrl
from rgrl_jax import envs
from rgrl_jax.algos import Actor, Algorithm, Config, fields, register_algorithm
from rgrl_jax.algos.base import unregister_algorithm
from rgrl_jax.callbacks import StopAtGoal
from rgrl_jax.experiment import host_rollout
from rgrl_jax.rollout import episode_metrics

KEY = jax.random.key(0, impl="unsafe_rbg")  # draws in one operation, which compiles in half the time
OTHER = jax.random.key(1, impl="unsafe_rbg")
SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2)]  # environments, and steps per plan
FORGETS = 99


def small_numbers(key, count):
    """Whole numbers ``[count]`` in -8..8 that a key decides, without a draw: draws under vmap may be others."""
    return (jax.random.key_data(key)[:count] % 17).astype(jnp.float32) - 8.0


def make_track(max_steps, shove=1.0, action=None):
    """A cart on a track of length 2 that is pushed left or right, all in multiples of 1/32: nothing is rounded.

    Two programs that compute the same may differ in the last bit, by what the compiler fuses; here they cannot.
    """
    limit = max_steps or 12

    def reset(key):
        place = small_numbers(key, 2) / 32
        return jnp.append(place, 0.5), (place, jnp.int32(0))

    def step(key, state, action):
        del key
        (x, v), t = state
        v = v + (action * 2 - 1) * shove / 32
        moved = jnp.stack([x + v, v])
        reward, terminated = 1.0 - jnp.abs(x + v), jnp.abs(x + v) >= 1.0
        return jnp.append(moved, 0.5), (moved, t + 1), reward, terminated, (t + 1 >= limit) & ~terminated

    return envs.EnvSpec(
        env_id="Track",
        reset=reset,
        step=step,
        observation=rgrl.Box(-1.0, 1.0, (3,)),
        action=action or rgrl.Discrete(2),
        reward_range=(0.0, 1.0),
        return_range=(0.0, float(limit)),
        max_steps=limit,
        goal=10.0,
    )


def make_smooth_track(max_steps):
    """The same with a push of any strength."""
    return dataclasses.replace(make_track(max_steps, 3.0, rgrl.Box(-1.0, 1.0, ())), env_id="Smooth")


class Trap(OnHost):
    """One that breaks down on the third step."""

    def step(self, action):
        """Fails."""
        if self.steps == 2:
            raise KeyboardInterrupt
        return super().step(action)


class Told(OnHost):
    """One that ends when it is told to, both by itself and by its limit."""

    end = FORGETS

    def step(self, action):
        """Goes on."""
        obs, *_ = super().step(action)
        return obs, 1.0, self.steps == Told.end, self.steps == Told.end


@pytest.fixture(autouse=True)
def environments():
    """The track, here and on the host, an algorithm that compiles at once, and a look at what is left open."""
    register_algorithm("walker", WalkerConfig, WALKER)
    envs.register("Track", make_track)
    envs.register("Smooth", make_smooth_track)
    OnHost.alive = 0
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: (envs.unregister("Track"), envs.unregister("Smooth"), unregister_algorithm("walker")))
        for name, kind, env_id in (
            ("Host-Track", OnHost, "Track"),
            ("Host-Smooth", OnHost, "Smooth"),
            ("Trap", Trap, "Track"),
            ("Told", Told, "Track"),
        ):
            stack.enter_context(hosted(env_id, name=name, kind=kind))
        yield
    assert OnHost.alive == 0


# A small algorithm whose bits depend on everything that a rollout holds.


class WalkerConfig(Config):
    """Settings."""

    env_id: str = fields.name("Track", "An environment with one number in -1..1, or two discrete actions.")
    episodes: int = fields.integer(5, "Rows of the metrics.", low=1)
    num_envs: int = fields.integer(1, "Environments side by side.", low=1)
    replan_every: int = fields.integer(1, "Steps per plan.", low=1)
    per_row: int = fields.integer(1, "Training episodes per row of the metrics.", low=1)
    gain: float = fields.number(2.0, "Weight of the observations.")

    @property
    def episodes_per_row(self):
        """See the base class."""
        return self.per_row


class WalkerState(struct.PyTreeNode):
    """What it has learnt."""

    key: jax.Array
    weight: jax.Array
    played: jax.Array
    episode: jax.Array
    env_steps: jax.Array


def walker_init(key, config):
    """The start."""
    del config
    return WalkerState(key, small_numbers(key, 3) / 4, jnp.int32(0), jnp.int32(0), jnp.int32(0))


def walker_evaluation_actor(key, state, config, num_envs):
    """Actions by the observation, a memory of earlier ones, the reward so far, and chance."""

    def policy(key, timestep):
        memory = jnp.round(4 * timestep.carry + 8 * timestep.episode.obs[timestep.t]) / 8
        push = config.gain * (memory * state.weight).max(axis=-1) + timestep.episode.reward[timestep.t - 1]
        right = jax.random.bits(key, (config.replan_every, num_envs), jnp.uint8) / 32 - 4 > push
        actions = jnp.where(right, 1, 0) if isinstance(config.spec.action, rgrl.Discrete) else 1.5 * right - 0.5
        return actions, memory, {"push": push}

    return Actor(key, policy, num_envs, jnp.zeros((num_envs, 3)))


def walker_act(state, config):
    """The next episode."""
    return walker_evaluation_actor(jax.random.fold_in(state.key, state.played), state, config, config.num_envs)


def walker_learn(state, episode, carry, config):
    """Keeps a little of the last observation and of the last carry."""
    last = jnp.take_along_axis(episode.obs, episode.length[None, :, None], axis=0)[0, -1]
    new = state.replace(
        weight=jnp.round(2 * state.weight + 4 * last + carry[0]) / 4,
        played=state.played + 1,
        episode=(state.played + 1) // config.per_row,
        env_steps=state.env_steps + episode.length.sum(),
    )
    info = {"first": episode.info["push"][0], "last": episode.info["push"][-1]}
    loss, counts = new.weight[0], {"episodes": new.episode, "env_steps": new.env_steps}
    return new, episode_metrics(episode, loss=loss, info=info, **counts)


WALKER = Algorithm(walker_init, walker_act, walker_learn, walker_evaluation_actor, lambda config: None)


# The numbers.


@pytest.mark.parametrize("num_envs, replan_every", SHAPES)
def test_loop_is_the_rollout(num_envs, replan_every):
    """States and metrics are those of the compiled program, bit for bit."""
    config = WalkerConfig(num_envs=num_envs, replan_every=replan_every)
    ours = config.replace(env_id="Host-Track")
    state, metrics = TRAIN(KEY, config)
    assert_same(rgrl.run(KEY, ours), (state, jax.tree.map(np.asarray, metrics)))
    assert len({*metrics.episode_length.tolist()}) > 1  # some end by themselves


def test_rows_of_several_episodes():
    """Their means are those of the compiled program, and the state is the one after the last of them."""
    config = WalkerConfig(per_row=3, episodes=2)
    state, metrics = TRAIN(KEY, config)
    assert_same(rgrl.run(KEY, config.replace(env_id="Host-Track")), (state, jax.tree.map(np.asarray, metrics)))
    assert metrics.episode.tolist() == [1, 2] and int(state.played) == 6


@pytest.mark.parametrize("env_id", ["Track", "Smooth"])
def test_noiseless_episodes(env_id):
    """Every row of the buffers is the compiled program's, with discrete and with continuous actions."""
    config = WalkerConfig(env_id=env_id, replan_every=2)
    ours, state = config.replace(env_id=f"Host-{env_id}"), walker_init(KEY, config)
    episode = jax.jit(rgrl.play, static_argnums=3)(OTHER, state, config, 3)
    assert_same(rgrl.play(OTHER, state, ours, 3), episode)
    assert np.ptp(episode.action) > 0.9


SIZES = {
    "max_steps": 8,
    "learner.reset_every": 0,
    "learner.updates_per_episode": 2,
    "episodes": 3,
    "planner.noise_decay": 0.9,
}


def config_pair(env_id, **settings):
    """The tiny config for an environment and for its twin on the host."""
    config = rgrl.preset(env_id, **(TINY | SIZES | settings))
    return config, config.replace(env_id=f"Host-{env_id}")


def test_rgrl_on_the_host_is_rgrl():
    """What happens is the same, bit for bit, and so is all that is learnt from it, up to the compiler's rounding."""
    config, ours = config_pair("Track", num_envs=2, action_repeat=2, **{"planner.replan_every": 2})
    state, metrics = TRAIN(KEY, config)
    hosted_state, rows = rgrl.run(KEY, ours)
    assert_same(*((x.key, x.env_steps, x.episode, x.replay.obs, x.replay.action) for x in (hosted_state, state)))
    jax.tree.map(close, (hosted_state.replace(key=0), rows), (state.replace(key=0), metrics))
    assert (metrics.info["plan_movement"][1:] > 0.01).all() and (np.diff(metrics.model_loss) != 0).all()


def close(a, b):
    """Equal up to rounding, in the learning of a few steps."""
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [2, 5])
def test_chunks_seeds_and_resuming(chunk):
    """Any split of a run is the whole; several seeds are the single runs, one after the other."""
    config = WalkerConfig(env_id="Host-Track")
    state, metrics = rgrl.run(KEY, config)
    assert_same(rgrl.run(KEY, config, chunk=chunk), (state, metrics))
    middle, _ = rgrl.run(KEY, config.replace(episodes=2))
    assert_same(rgrl.run(None, config, state=middle, chunk=chunk)[0], state)
    keys = jnp.stack([KEY, OTHER])
    states, rows = rgrl.run(keys, config, chunk=chunk, callbacks=[StopAtGoal(1e9, num_episodes=2)])
    assert rows.episode_return.shape == (2, 5)
    assert_same(jax.tree.map(lambda x: x[0], states), state)
    assert_same(jax.tree.map(lambda x: x[0], rows), metrics)
    assert (rows.model_loss[0] != rows.model_loss[1]).any()


def test_goal_stops_a_run():
    """Noiseless episodes are played on the host as well; a goal below everything is met at once."""
    config = WalkerConfig(env_id="Host-Track")
    for key, episodes in ((KEY, 2), (jax.random.split(KEY, 2), [2, 2])):
        state, _ = rgrl.run(key, config, chunk=2, callbacks=[StopAtGoal(-1.0, num_episodes=2)])
        assert state.episode.tolist() == episodes


# How episodes end.


@pytest.mark.parametrize("end, length, terminated", [(FORGETS, 12, False), (12, 12, True), (5, 5, True)])
def test_ends(monkeypatch, end, length, terminated):
    """The limit holds even if the environment forgets it, and an end by itself is no end by the limit."""
    monkeypatch.setattr(Told, "end", end)
    config = WalkerConfig(env_id="Told", replan_every=5)
    episode = rgrl.play(KEY, jax.jit(rgrl.init)(KEY, config), config, 2)
    assert episode.length.tolist() == [length] * 2
    assert (episode.terminated.tolist(), episode.truncated.tolist()) == ([terminated] * 2, [not terminated] * 2)
    assert episode.reward.sum(axis=0).tolist() == [length] * 2
    assert not episode.obs[length + 1 :].any() and not episode.reward[length:].any()


def test_interrupted_episodes_close_their_environments():
    """Ctrl-C within an episode arrives as such, nothing stays open, and the state before it can be gone on from."""
    config = WalkerConfig(env_id="Trap", num_envs=2)
    with pytest.raises(KeyboardInterrupt):
        rgrl.run(KEY, config)


def test_pictures(tmp_path):
    """A GIF of what the environment shows: a frame of the start and one per step, as many as are wanted."""
    config = WalkerConfig(env_id="Host-Track", replan_every=5)
    state = jax.jit(rgrl.init)(KEY, config)
    episode = rgrl.play(KEY, state, config, 1)
    for most in (3, 100):
        score, length = rgrl.plots.episode_gif(KEY, state, config, tmp_path / "a.gif", max_frames=most)
        assert (score, length) == (float(episode.episode_return[0]), int(episode.length[0]))
        with Image.open(tmp_path / "a.gif") as image:
            assert image.n_frames == min(most, length + 1)


# What cannot be done is said in one sentence.


@pytest.mark.parametrize(
    "call",
    [
        lambda state, config: jax.jit(rgrl.train)(KEY, config),
        lambda state, config: rgrl.train(KEY, config),
        lambda state, config: jax.jit(rgrl.evaluate, static_argnums=3)(KEY, state, config, 2),
        lambda state, config: jax.vmap(lambda key: rgrl.play(key, state, config, 2))(jax.random.split(KEY, 2)),
    ],
)
def test_compiled_programs_do_not_reach_the_host(call):
    """The error says where the environment is and what to call instead."""
    config = WalkerConfig(env_id="Host-Track")
    with pytest.raises(ValueError) as error:
        call(jax.jit(rgrl.init)(KEY, config), config)
    says(error, "Host-Track lives on the host", "use rgrl.run", "rgrl.evaluate")


def test_settings_that_need_a_compiled_environment():
    """The config is refused before anything compiles."""
    with pytest.raises(ValueError) as error:
        rgrl.preset("Host-Track", **{"reference.past_end": "simulate"})
    says(error, "reference.past_end = 'simulate'", "Host-Track lives on the host")


def test_a_host_environment_can_be_described_and_begun():
    """Cost, state and encoders need the spec alone."""
    config, ours = config_pair("Track")
    assert ours.describe().max_env_steps == 24
    state = jax.eval_shape(functools.partial(rgrl.init, config=ours), KEY)
    assert state.replay.obs.shape == (200, 3) and state.replay.obs.dtype == np.float32
    assert host_rollout.is_hosted(ours) and not host_rollout.is_hosted(config)
