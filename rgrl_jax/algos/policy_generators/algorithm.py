"""A generator that makes whole policies for commanded returns, and learns from policies that were played.

Every row of episodes does in turn: make policies for a command, with noise on their weights; play each for an
episode; keep them with what they reached; learn from what was kept. The scale of observations moves within the
episode, as the policy's memory, so episodes are those of `rgrl_jax.rollout`, and environments on the host need
nothing else.

Two things differ from the references. UDRLPG's learns before an episode instead of after it, which is the same but
for the updates after the last episode; it never makes them. GoGePo's draws smaller batches as long as it knows fewer
policies than a batch holds; here batches are whole from the start, as draws are with replacement.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import showing
from rgrl_jax.algos.base import Algorithm, Cost, Halves, register_algorithm
from rgrl_jax.algos.policy_generators.config import RULES, PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.generator import tilings
from rgrl_jax.algos.policy_generators.networks import count_weights, policy_outputs, random_policy
from rgrl_jax.algos.policy_generators.parts import (
    best_command,
    env_action,
    features,
    flat,
    generator_design,
    init_store,
    keep,
    learned_returns,
    may_replace,
    next_command,
    noise_scale,
    policy_sizes,
    return_bounds,
)
from rgrl_jax.algos.policy_generators.store import Store, stored
from rgrl_jax.algos.policy_generators.update import Net, Nets, init_nets, make_policies, study
from rgrl_jax.encoding import Running, count_seen, init_running
from rgrl_jax.rollout import Acting, Policy, View, advance, as_metrics, begin, finish, rollout
from rgrl_jax.types import Array, Episode, Key, Metrics, PyTree


class TrainState(struct.PyTreeNode):
    """Everything a run needs to go on; arrays only.

    Attributes:
      key: the run's key; row ``i`` of episodes uses ``fold_in(key, i)``.
      nets: generator and evaluator.
      running: scale of the observations, or an empty tuple.
      store: policies that were played.
      best: highest return so far, without the bonus for every step; minus infinity before any. It is the command of
        noiseless episodes, so that a state with another one plays for another return.
      episode: rows of episodes finished, scalar int32.
      env_steps: environment steps taken, scalar int32.
    """

    key: Key
    nets: Nets
    running: Running | tuple[()]
    store: Store
    best: Array
    episode: Array
    env_steps: Array

    def __repr__(self) -> str:
        return showing.show_record(self)

    def _repr_html_(self) -> str:
        return showing.record_html(self)


class Player(struct.PyTreeNode):
    """What a row of episodes is played with.

    Attributes:
      policies: ``[N, P]``.
      running: as in `TrainState`.
    """

    policies: Array
    running: Running | tuple[()]


def init(key: Key, config: PolicyGeneratorConfig) -> TrainState:
    """Draws the weights; nothing was played yet."""
    run_key, net_key = jax.random.split(key)
    sizes = policy_sizes(config)
    return TrainState(
        key=run_key,
        nets=init_nets(net_key, config),
        running=init_running(sizes[0]) if config.observation == "running" else (),
        store=init_store(config, count_weights(sizes)),
        best=jnp.float32(-jnp.inf),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def _keys(state: TrainState) -> Key:
    """Of the next row: for its episodes, its policies, and the learning after it."""
    return jax.random.split(jax.random.fold_in(state.key, state.episode), 3)


def _command(policy_key: Key, state: TrainState, config: PolicyGeneratorConfig) -> Array:
    """What the next row of episodes is played for."""
    command = next_command(jax.random.fold_in(policy_key, 0), state.best, config)
    warm = state.episode < config.warmup_episodes
    return jnp.where(warm & (config.warmup == "generated"), return_bounds(config)[1], command)


def act(state: TrainState, config: PolicyGeneratorConfig) -> Acting:
    """How the next training episodes are played."""
    play_key, policy_key, _ = _keys(state)
    player = Player(next_policies(policy_key, state, config), state.running)
    return Acting(play_key, make_policy(state, config), config.num_envs, player, {})


def next_policies(key: Key, state: TrainState, config: PolicyGeneratorConfig) -> Array:
    """Policies ``[N, P]`` of the next training episodes: those of the warm-up, or for the command with noise."""
    warm, command = state.episode < config.warmup_episodes, _command(key, state, config)
    made = make_policies(state.nets.generator.weights, command[None], config)
    noise = noise_scale(command, state.best, config) * jax.random.normal(key, (config.num_envs, made.shape[1]))
    if config.warmup == "generated":
        return made + jnp.where(warm, 0.0, noise)
    drawn = jax.vmap(partial(random_policy, sizes=policy_sizes(config)))(jax.random.split(key, config.num_envs))
    return jnp.where(warm, drawn, made + noise)


def make_policy(state: TrainState, config: PolicyGeneratorConfig) -> Policy:
    """Counts what is seen, and does what each policy says; its memory is a `Player`."""
    spec, sizes = config.spec, policy_sizes(config)

    def policy(key: Key, view: View) -> tuple[Array, PyTree, PyTree]:
        episode, player = view.episode, view.memory
        x = flat(episode.obs[view.t], spec)
        if isinstance(player.running, Running):
            player = player.replace(running=count_seen(player.running, x, ~(episode.terminated | episode.truncated)))
        seen = features(x, player.running, config)
        if config.rule == "gogepo" and isinstance(player.running, Running):
            seen = jnp.where(state.episode > 0, seen, x)
        outputs = jax.vmap(lambda policy, x: policy_outputs(policy, sizes, x))(player.policies, seen)
        return jax.vmap(partial(env_action, spec=spec))(outputs)[None], {}, player

    return policy


def learn(
    state: TrainState, episode: Episode, memory: Player, config: PolicyGeneratorConfig
) -> tuple[TrainState, Metrics]:
    """Keeps the policies that played a row of episodes as `act` says, and learns."""
    returns = learned_returns(episode, config)
    _, policy_key, study_key = _keys(state)
    replace = may_replace(returns, _command(policy_key, state, config), state.best, config)
    store = keep(state.store, memory.policies, returns, replace, config)
    nets, loss = jax.lax.cond(
        state.episode + 1 >= config.warmup_episodes,
        lambda key, nets: study(key, nets, store, config),
        lambda key, nets: (nets, jnp.float32(0.0)),
        study_key,
        state.nets,
    )
    after = state.replace(
        nets=nets,
        running=memory.running,
        store=store,
        best=jnp.maximum(state.best, returns.max()),
        episode=state.episode + 1,
        env_steps=state.env_steps + episode.length.sum(dtype=jnp.int32),
    )
    return after, as_metrics(
        episode, finished=after.episode, env_steps=after.env_steps, loss=loss, windows=stored(store)
    )


def step(state: TrainState, config: PolicyGeneratorConfig) -> tuple[TrainState, Metrics]:
    """One row of episodes and the learning after it."""
    acting = act(state, config)
    done = advance(begin(**acting._asdict(), spec=config.spec), config.spec, acting.policy)
    return learn(state, finish(done), done.memory, config)


def show(key: Key, state: TrainState, config: PolicyGeneratorConfig, num_episodes: int) -> Acting:
    """How ``N`` episodes of the policy for the best return so far are played, without any noise."""
    spec, sizes = config.spec, policy_sizes(config)
    command = best_command(state.best, config)
    made = make_policies(state.nets.generator.weights, command[None], config)[0]

    def policy(key: Key, view: View) -> tuple[Array, PyTree, PyTree]:
        seen = features(flat(view.episode.obs[view.t], spec), state.running, config)
        outputs = policy_outputs(view.memory, sizes, seen)
        return jax.vmap(partial(env_action, spec=spec))(outputs)[None], {}, view.memory

    return Acting(key, policy, num_episodes, made, {})


def play(key: Key, state: TrainState, config: PolicyGeneratorConfig, num_episodes: int) -> Episode:
    """Plays them in one program."""
    return rollout(spec=config.spec, **show(key, state, config, num_episodes)._asdict())


def describe(config: PolicyGeneratorConfig) -> Cost:
    """Counts what a run costs; nothing compiles. There are no plans; ``parameters`` are of generator and evaluator.

    A weight is counted with 6 operations for every input it works on in learning, forward and backward: one input per
    tile and command for the generator's, one per policy for the evaluator's, one per policy and probing state for a
    policy's own. Most of the state are the policies kept, of which ``kept_buckets`` or ``capacity`` say how many.
    """
    config.validate()
    state = jax.eval_shape(partial(init, config=config), jax.eval_shape(lambda: jax.random.key(0)))
    nets = [net.weights for net in state.nets if isinstance(net, Net)]
    learning = range(config.warmup_episodes, config.episodes + 1)
    rows = len(learning) if config.warmup_episodes else config.episodes
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=config.episodes * config.spec.max_steps * config.num_envs,
        plans=0,
        updates=rows * config.generator_updates,
        parameters=sum(x.size for x in jax.tree.leaves(nets)),
        plan_flops=0,
        learn_flops=6 * config.batch * _work(state.nets, config),
        state_bytes=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
        settings={field.name: getattr(config, field.name) for field in dataclasses.fields(config)},
    )


def _work(nets: Any, config: PolicyGeneratorConfig) -> int:
    """Inputs times weights of the updates after one row, per entry of a batch."""
    cuts = tilings(generator_design(config))
    generating = sum(
        cut.tiles_in * cut.tiles_out * sum(w.size for w in (*layer.weight, *layer.bias))
        for cut, layer in zip(cuts, nets.generator.weights, strict=True)
    )
    if not isinstance(nets.evaluator, Net):
        return config.generator_updates * generating
    judging = sum(w.size for w in nets.evaluator.weights.weights)
    judging += config.probes * count_weights(policy_sizes(config))
    return config.generator_updates * (generating + judging) + config.evaluator_updates * judging


HALVES = Halves(lambda config: config.spec, act, show, learn)
ALGORITHM = Algorithm(init, step, play, describe, HALVES)
register_algorithm(RULES, PolicyGeneratorConfig, ALGORITHM)
