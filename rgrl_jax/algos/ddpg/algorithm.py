"""Deterministic policy gradients from replay, of a whole actor or of every neuron by itself.

Every decision does in turn: learn from steps drawn from replay and the episode so far; act, with noise. So the last
step of an episode is first learnt from at the start of the next. What learns is the policy's memory, so episodes are
those of `rgrl_jax.rollout`, and environments on the host need nothing else.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import showing
from rgrl_jax.algos.base import Algorithm, Cost, Halves, register_algorithm
from rgrl_jax.algos.ddpg.config import RULES, DDPGConfig
from rgrl_jax.algos.ddpg.networks import action_of, fire
from rgrl_jax.algos.ddpg.parts import (
    actor_design,
    env_action,
    features,
    init_running,
    said_sizes,
    see,
    step_noise,
)
from rgrl_jax.algos.ddpg.replay import Ring, Steps, draw, init_ring, stored, write
from rgrl_jax.algos.ddpg.update import Nets, improve, init_nets, make_batch
from rgrl_jax.encoding import Running
from rgrl_jax.envs.spec import observation_struct
from rgrl_jax.rollout import Acting, Policy, View, advance, as_metrics, begin, finish, rollout
from rgrl_jax.types import Array, Box, Episode, Key, Metrics, PyTree


class TrainState(struct.PyTreeNode):
    """Everything a run needs to go on; arrays only.

    Attributes:
      key: the run's key; row ``i`` of episodes uses ``fold_in(key, i)``.
      nets: actor, critics, and their targets.
      running: scale of the observations, or an empty tuple.
      ring: replay.
      updates: made so far, scalar int32.
      episode: rows of episodes finished, scalar int32.
      env_steps: environment steps taken, scalar int32.
    """

    key: Key
    nets: Nets
    running: Running | tuple[()]
    ring: Ring
    updates: Array
    episode: Array
    env_steps: Array

    def __repr__(self) -> str:
        return showing.show_record(self)

    def _repr_html_(self) -> str:
        return showing.record_html(self)


class Learner(struct.PyTreeNode):
    """What changes within an episode.

    Attributes:
      nets: as in `TrainState`.
      running: likewise.
      updates: likewise.
      noise: of the last action ``[N, A]``.
      voltages: what all neurons said at each decision ``[L, N, V]``; ``V`` is 0 unless they are stored.
      error: sum over the updates of the mean squared TD error, scalar.
    """

    nets: Nets
    running: Running | tuple[()]
    updates: Array
    noise: Array
    voltages: Array
    error: Array


def init(key: Key, config: DDPGConfig) -> TrainState:
    """Draws the weights; the replay is empty."""
    run_key, net_key = jax.random.split(key)
    like = jax.eval_shape(partial(_blank_step, config))
    return TrainState(
        key=run_key,
        nets=init_nets(net_key, config),
        running=init_running(config),
        ring=init_ring(like, config.replay_capacity),
        updates=jnp.int32(0),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def _blank_step(config: DDPGConfig) -> Steps:
    """One step, all zeros."""
    like, action = observation_struct(config.spec, jax.random.key(0)), config.spec.action
    assert isinstance(action, Box)  # as the config has checked
    obs = jnp.zeros(like.shape, like.dtype)
    return Steps(obs, jnp.zeros(action.shape), jnp.zeros(()), obs, jnp.bool_(False), jnp.zeros(_num_voltages(config)))


def _num_voltages(config: DDPGConfig) -> int:
    """``V``, of all neurons at all inner steps."""
    return sum(said_sizes(actor_design(config))) if config.voltages == "stored" else 0


def begin_episode(state: TrainState, config: DDPGConfig) -> Learner:
    """The learner at the start of an episode; its noise is at rest."""
    n = config.num_envs
    return Learner(
        nets=state.nets,
        running=state.running,
        updates=state.updates,
        noise=jnp.zeros((n, actor_design(config).sizes[-1])),
        voltages=jnp.zeros((config.spec.max_steps, n, _num_voltages(config))),
        error=jnp.float32(0.0),
    )


def make_policy(state: TrainState, config: DDPGConfig) -> Policy:
    """Learns from the past, and decides; its memory is a `Learner`."""
    spec = config.spec

    def policy(key: Key, view: View) -> tuple[Array, PyTree, PyTree]:
        learn_key, act_key = jax.random.split(key)
        episode, learner = view.episode, view.memory
        obs, alive = episode.obs[view.t], ~(episode.terminated | episode.truncated)
        learner = learner.replace(running=see(learner.running, obs, alive, spec))
        steps = state.env_steps + episode.length.sum()
        warm = steps >= config.warmup_steps
        learner = jax.lax.cond(
            warm & (steps > 0),
            lambda learner: study(learn_key, learner, state.ring, episode, config),
            lambda learner: learner,
            learner,
        )
        action, learner = _explore(act_key, learner, obs, view.t, warm, config)
        return jax.vmap(partial(env_action, spec=spec))(action)[None], {}, learner

    return policy


def study(key: Key, learner: Learner, ring: Ring, episode: Episode, config: DDPGConfig) -> Learner:
    """The updates at one decision, from the replay and the episode so far."""
    steps = taken(episode, learner.voltages, config)

    def update(learner: Learner, key: Key) -> tuple[Learner, None]:
        draw_key, noise_key = jax.random.split(key)
        drawn = draw(draw_key, ring, steps, episode.length, config.batch)
        nets, error = improve(noise_key, learner.nets, make_batch(drawn, learner.running, config), config)
        learner = learner.replace(nets=nets, updates=learner.updates + 1, error=learner.error + error)
        return learner, None

    return jax.lax.scan(update, learner, jax.random.split(key, config.updates_per_step))[0]


def taken(episode: Episode, voltages: Array, config: DDPGConfig) -> Steps:
    """The steps of an episode so far, leaves ``[L, N, ...]``; those from ``episode.length`` on mean nothing."""
    over = episode.terminated | (episode.truncated & (config.bootstrap == "never"))
    row = jnp.arange(episode.reward.shape[0] - 1)[:, None]
    return Steps(
        obs=episode.obs[:-1],
        action=episode.action[:-1],
        reward=episode.reward[:-1],
        next_obs=episode.obs[1:],
        ended=over & (row == episode.length - 1),
        voltages=voltages,
    )


def _explore(
    key: Key, learner: Learner, obs: Array, t: Array, warm: Array, config: DDPGConfig
) -> tuple[Array, Learner]:
    """Actions ``[N, A]`` in -1..1 at observations ``[N, ...]``, random ones at first, and the learner with traces."""
    design, (noise_key, voltage_key, random_key) = actor_design(config), jax.random.split(key, 3)
    x = features(obs, learner.running, config)
    firings = fire(learner.nets.actor.weights, design, x, _voltage_noise(voltage_key, x.shape[0], config))
    noise = step_noise(noise_key, learner.noise, config)
    action = jnp.clip(action_of(firings, design) + noise, -1.0, 1.0)
    action = jnp.where(warm, action, jax.random.uniform(random_key, action.shape, minval=-1.0, maxval=1.0))
    learner = learner.replace(noise=noise)
    if config.voltages == "stored":
        said = jnp.concatenate([firing.said for firing in firings], axis=-1)
        learner = learner.replace(voltages=learner.voltages.at[t].set(said))
    return action, learner


def _voltage_noise(key: Key, n: int, config: DDPGConfig) -> list[Array] | None:
    """Noise on what hidden neurons say, an array ``[N, k]`` per firing; actions have their own."""
    if config.voltages == "recomputed":
        return None
    sizes, outputs = said_sizes(actor_design(config)), actor_design(config).sizes[-1]
    keys = jax.random.split(key, len(sizes))
    noise = [config.voltage_noise * jax.random.normal(k, (n, size)) for k, size in zip(keys, sizes, strict=True)]
    return [*noise[:-1], noise[-1].at[:, -outputs:].set(0.0)]


def act(state: TrainState, config: DDPGConfig) -> Acting:
    """How the next training episode is played and learnt from."""
    key = jax.random.fold_in(state.key, state.episode)
    return Acting(key, make_policy(state, config), config.num_envs, begin_episode(state, config), {})


def learn(state: TrainState, episode: Episode, memory: Learner, config: DDPGConfig) -> tuple[TrainState, Metrics]:
    """An episode that was played as `act` says goes into the replay; ``memory`` is what was learnt within it."""
    made = (memory.updates - state.updates).astype(jnp.float32)
    after = state.replace(
        nets=memory.nets,
        running=memory.running,
        ring=write(state.ring, taken(episode, memory.voltages, config), episode.length),
        updates=memory.updates,
        episode=state.episode + 1,
        env_steps=state.env_steps + episode.length.sum(dtype=jnp.int32),
    )
    loss = memory.error / jnp.maximum(made, 1.0)
    return after, as_metrics(
        episode, finished=after.episode, env_steps=after.env_steps, loss=loss, windows=stored(after.ring)
    )


def step(state: TrainState, config: DDPGConfig) -> tuple[TrainState, Metrics]:
    """One episode, or a row of them, and the learning within."""
    acting = act(state, config)
    done = advance(begin(**acting._asdict(), spec=config.spec), config.spec, acting.policy)
    return learn(state, finish(done), done.memory, config)


def show(key: Key, state: TrainState, config: DDPGConfig, num_episodes: int) -> Acting:
    """How ``N`` episodes of the frozen agent are played, without any noise."""
    spec, design = config.spec, actor_design(config)

    def policy(key: Key, view: View) -> tuple[Array, PyTree, PyTree]:
        x = features(view.episode.obs[view.t], state.running, config)
        action = action_of(fire(state.nets.actor.weights, design, x), design)
        return jax.vmap(partial(env_action, spec=spec))(action)[None], {}, ()

    return Acting(key, policy, num_episodes, info={})


def play(key: Key, state: TrainState, config: DDPGConfig, num_episodes: int) -> Episode:
    """Plays them in one program."""
    return rollout(spec=config.spec, **show(key, state, config, num_episodes)._asdict())


def describe(config: DDPGConfig) -> Cost:
    """Counts what a run costs; nothing compiles. There are no plans; ``parameters`` are of actor and critics.

    A weight is counted with 6 operations per step of a batch in learning, forward and backward, and with 2 more for
    its target.
    """
    config.validate()
    state = jax.eval_shape(partial(init, config=config), jax.eval_shape(lambda: jax.random.key(0)))
    nets = (state.nets.actor, *([state.nets.critic] if config.has_critic else []), *state.nets.neurons)
    count = sum(leaf.size for net in nets for leaf in jax.tree.leaves(net.weights))
    longest = config.spec.max_steps
    updates = config.episodes * longest * config.updates_per_step
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=config.episodes * longest * config.num_envs,
        plans=0,
        updates=updates,
        parameters=count,
        plan_flops=0,
        learn_flops=longest * config.updates_per_step * config.batch * 8 * count,
        state_bytes=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
        settings={field.name: getattr(config, field.name) for field in dataclasses.fields(config)},
    )


HALVES = Halves(lambda config: config.spec, act, show, learn)
ALGORITHM = Algorithm(init, step, play, describe, HALVES)
register_algorithm(RULES, DDPGConfig, ALGORITHM)
