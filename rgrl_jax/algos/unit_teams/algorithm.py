"""An online actor-critic whose actor, and sometimes critic, is a team of units.

Every decision does in turn (Chung and Barto's reference code): draw the activities of actor and critic on what is
seen; learn from the step before, by its TD error and the traces up to there; add this decision's eligibilities to the
traces; act. What learns is the policy's memory, so episodes are those of `rgrl_jax.rollout`, and environments on the
host need nothing else.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import showing
from rgrl_jax.algos.base import Algorithm, Cost, Halves, register_algorithm
from rgrl_jax.algos.unit_teams import ascent
from rgrl_jax.algos.unit_teams.ascent import Net
from rgrl_jax.algos.unit_teams.config import UNITS_OF, UnitTeamConfig
from rgrl_jax.algos.unit_teams.learner import Learner, hold_responsible, learn_step
from rgrl_jax.algos.unit_teams.network import (
    Design,
    Pass,
    Weights,
    draw_uniform,
    forward,
    init_weights,
    num_draws,
    output_mean,
)
from rgrl_jax.algos.unit_teams.parts import actor_design, actor_sizes, critic_design, env_action, features
from rgrl_jax.rollout import Acting, Policy, View, advance, as_metrics, begin, finish, rollout
from rgrl_jax.types import Array, Episode, Key, Metrics, PyTree


class TrainState(struct.PyTreeNode):
    """Everything a run needs to go on; arrays only.

    Attributes:
      key: the run's key; row ``i`` of episodes uses ``fold_in(key, i)``.
      actor: its network.
      critic: likewise, or an empty tuple.
      updates: of the weights, scalar int32.
      episode: episodes finished, or rows of them, scalar int32.
      env_steps: environment steps taken, scalar int32.
    """

    key: Key
    actor: Net
    critic: Net | tuple[()]
    updates: Array
    episode: Array
    env_steps: Array

    def __repr__(self) -> str:
        return showing.show_record(self)

    def _repr_html_(self) -> str:
        return showing.record_html(self)


def init(key: Key, config: UnitTeamConfig) -> TrainState:
    """Draws the weights."""
    run_key, actor_key, critic_key = jax.random.split(key, 3)
    sizes, zero_class = actor_sizes(config.spec, config), actor_design(config).kinds[-1] == "softmax_zero"
    actor = init_weights(actor_key, sizes, config.initial_bias, zero_class=zero_class)
    critic = init_weights(critic_key, (*sizes[:-1], 1), config.initial_bias)
    return TrainState(
        key=run_key,
        actor=ascent.init_net(actor, config.optimizer),
        critic=() if config.critic == "none" else ascent.init_net(critic, config.optimizer),
        updates=jnp.int32(0),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def begin_episode(state: TrainState, config: UnitTeamConfig) -> Learner:
    """The learner at the start of an episode: nothing to be held responsible for."""
    n = config.num_envs

    def blank(net: Net | tuple[()]) -> Weights:
        return tuple(jnp.zeros((n, *w.shape)) for w in net.weights) if isinstance(net, Net) else ()

    return Learner(
        actor=state.actor,
        critic=state.critic,
        updates=state.updates,
        actor_traces=blank(state.actor),
        critic_traces=blank(state.critic),
        rewards=tuple(jnp.zeros((n, size)) for size in config.hidden) if config.delay else (),
        value=jnp.zeros(n),
        error=jnp.float32(0.0),
    )


def make_policy(config: UnitTeamConfig) -> Policy:
    """Decides, and learns from the step before; its memory is a `Learner`."""
    spec = config.spec

    def policy(key: Key, view: View) -> tuple[Array, PyTree, PyTree]:
        episode, learner = view.episode, view.memory
        x = jax.vmap(partial(features, spec=spec))(episode.obs[view.t])
        acted, judged = _decide(key, learner, x, config)
        value = jnp.zeros(x.shape[0]) if judged is None else _output(critic_design(config), judged)
        if spec.max_steps > 1:  # or else this is the only decision, and what it led to is learnt at the end
            learner = learn_step(learner, episode, view.t, value, config)
        learner = hold_responsible(learner, acted, judged, value, config)
        actions = jax.vmap(partial(env_action, spec=spec, config=config))(acted.h[-1])
        return actions[None], {}, learner

    return policy


def _decide(key: Key, learner: Learner, x: Array, config: UnitTeamConfig) -> tuple[Pass, Pass | None]:
    """Passes of actor and critic on inputs ``[N, n_0]``, leaves ``[N, ...]``; their random numbers are one draw."""
    nets = [(learner.actor.weights, actor_design(config))]
    if isinstance(learner.critic, Net):
        nets.append((learner.critic.weights, critic_design(config)))
    needed = [num_draws(*net) for net in nets]
    u = draw_uniform(key, (x.shape[0], sum(needed)))
    acted = _forward(u[:, : needed[0]], *nets[0], x)
    return acted, _forward(u[:, needed[0] :], *nets[1], x) if len(nets) > 1 else None


def _forward(u: Array, weights: Weights, design: Design, x: Array) -> Pass:
    """Passes of ``N`` inputs ``[N, n_0]``, leaves ``[N, ...]``."""
    return jax.vmap(lambda u, x: forward(u, weights, design, x))(u, x)


def _output(design: Design, now: Pass) -> Array:
    """Means ``[N]`` of a single output."""
    return jax.vmap(partial(output_mean, design))(now)[:, 0]


def act(state: TrainState, config: UnitTeamConfig) -> Acting:
    """How the next training episode is played and learnt from."""
    return _act(jax.random.fold_in(state.key, state.episode), state, config)


def _act(key: Key, state: TrainState, config: UnitTeamConfig) -> Acting:
    return Acting(key, make_policy(config), config.num_envs, begin_episode(state, config), {})


def learn(state: TrainState, episode: Episode, memory: Learner, config: UnitTeamConfig) -> tuple[TrainState, Metrics]:
    """The last step of an episode that was played as `act` says; ``memory`` has learnt from the others."""
    state, metrics = _conclude(state, episode, memory, None, config)
    state = state.replace(episode=state.episode + 1)
    return state, metrics.replace(episode=state.episode)


def step(state: TrainState, config: UnitTeamConfig) -> tuple[TrainState, Metrics]:
    """One episode, or a row of them, and the learning within; the metrics are the mean over the row."""
    key = jax.random.fold_in(state.key, state.episode)

    def game(state: TrainState, i: Array) -> tuple[TrainState, Metrics]:
        acting = _act(jax.random.fold_in(key, i) if config.episodes_per_row > 1 else key, state, config)
        started = begin(**acting._asdict(), spec=config.spec)
        done = advance(started, config.spec, acting.policy)
        target = done.env_state.target if config.signal == "target" else None
        return _conclude(state, finish(done), done.memory, target, config)

    state, games = jax.lax.scan(game, state, jnp.arange(config.episodes_per_row))
    state = state.replace(episode=state.episode + 1)
    mean = jax.tree.map(lambda x: x.mean().astype(x.dtype), games)
    return state, mean.replace(episode=state.episode, env_steps=state.env_steps, terminated=games.terminated.all())


def _conclude(
    state: TrainState, episode: Episode, memory: Learner, target: Array | None, config: UnitTeamConfig
) -> tuple[TrainState, Metrics]:
    """Learns from the last step and counts the steps; ``state`` is that before the episode."""
    end = episode.length.max()
    learner = learn_step(memory, episode, end, jnp.zeros(config.num_envs), config, target)
    after = state.replace(
        actor=learner.actor,
        critic=learner.critic,
        updates=learner.updates,
        env_steps=state.env_steps + episode.length.sum(dtype=jnp.int32),
    )
    loss = learner.error / end
    return after, as_metrics(
        episode, finished=state.episode, env_steps=after.env_steps, loss=loss, windows=jnp.int32(0)
    )


def show(key: Key, state: TrainState, config: UnitTeamConfig, num_episodes: int) -> Acting:
    """How ``N`` episodes of the frozen agent are played. Its units go on drawing: their chance is its policy."""
    spec, design, weights = config.spec, actor_design(config), state.actor.weights

    def policy(key: Key, view: View) -> tuple[Array, PyTree, PyTree]:
        x = jax.vmap(partial(features, spec=spec))(view.episode.obs[view.t])
        u = draw_uniform(key, (num_episodes, num_draws(weights, design)))
        acted = _forward(u, weights, design, x)
        return jax.vmap(partial(env_action, spec=spec, config=config))(acted.h[-1])[None], {}, ()

    return Acting(key, policy, num_episodes, info={})


def play(key: Key, state: TrainState, config: UnitTeamConfig, num_episodes: int) -> Episode:
    """Plays them in one program."""
    return rollout(spec=config.spec, **show(key, state, config, num_episodes)._asdict())


def describe(config: UnitTeamConfig) -> Cost:
    """Counts what a run costs; nothing compiles. There are no plans; ``parameters`` are of actor and critic."""
    config.validate()
    state = jax.eval_shape(partial(init, config=config), jax.eval_shape(lambda: jax.random.key(0)))
    nets = [net for net in (state.actor, state.critic) if isinstance(net, Net)]
    count = sum(w.size for net in nets for w in net.weights)
    rounds, longest = config.episodes * config.episodes_per_row, config.spec.max_steps
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=rounds * longest * config.num_envs,
        plans=0,
        updates=rounds * longest,
        parameters=count,
        plan_flops=0,
        learn_flops=config.episodes_per_row * longest * config.num_envs * _flops(state, config),
        state_bytes=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
        settings={field.name: getattr(config, field.name) for field in dataclasses.fields(config)},
    )


def _flops(state: TrainState, config: UnitTeamConfig) -> int:
    """Operations per decision: forward, trace and ascent, counted as 10 per weight, and 4 per weight to relax."""

    def per_weight(gaussian: bool, relaxed: bool) -> int:
        rounds = config.relaxation_steps if gaussian else config.sweeps * 2
        return 10 + 4 * rounds * relaxed

    each = [(state.actor, per_weight(config.units == "gaussian", config.rule == "map_prop"))]
    if isinstance(state.critic, Net):
        each.append((state.critic, per_weight(True, config.critic == "map_prop")))
    return sum(w.size * flops for net, flops in each for w in net.weights)


HALVES = Halves(lambda config: config.spec, act, show, learn)
ALGORITHM = Algorithm(init, step, play, describe, HALVES)
register_algorithm(tuple(UNITS_OF), UnitTeamConfig, ALGORITHM)
