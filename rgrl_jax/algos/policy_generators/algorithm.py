"""A generator that makes whole policies for commanded returns, and learns from policies that were played.

Every row of episodes: make policies for a command, with noise on their weights; play each for an episode; add them to
the store with their returns; learn from the store. Running statistics of observations are updated within the episode,
in the policy's carry.

Two things differ from the references. UDRLPG's learns before an episode instead of after it, which is the same but
for the updates after the last episode; it never makes them. GoGePo's draws smaller batches as long as it knows fewer
policies than a batch holds; here batches are whole from the start, as draws are with replacement.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import display
from rgrl_jax.algos.base import Algorithm, Cost, register_algorithm, tree_bytes
from rgrl_jax.algos.policy_generators.commands import (
    best_command,
    learned_returns,
    next_command,
    return_range,
    target_return,
)
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.generator import make_policies
from rgrl_jax.algos.policy_generators.policy import (
    Statistics,
    count_weights,
    env_actions,
    layer_sizes,
    normalize,
    policy_outputs,
    random_policy,
)
from rgrl_jax.algos.policy_generators.presets import PRESETS
from rgrl_jax.algos.policy_generators.store import (
    PlayedPolicies,
    Store,
    add_to_store,
    bucket_number,
    count_policies,
    init_store,
    may_replace,
)
from rgrl_jax.algos.policy_generators.update import Networks, TrainedNetwork, init_networks, update
from rgrl_jax.normalization import RunningStatistics, flatten_obs, init_statistics, update_statistics
from rgrl_jax.rollout import Actor, Policy, Timestep, episode_metrics
from rgrl_jax.types import Array, Episode, Key, Metrics, PyTree


class PolicyGeneratorState(display.Record, struct.PyTreeNode):
    """State of a run; arrays only.

    Attributes:
      key: key of the run; row ``i`` of episodes uses ``fold_in(key, i)``.
      networks: generator and evaluator.
      statistics: statistics of the observations.
      store: policies that were played.
      best: highest return so far, without the bonus for every step; minus infinity before any. It is the command of
        noiseless episodes, so that a state with another one plays for another return.
      episode: rows of episodes finished, scalar int32.
      env_steps: environment steps taken, scalar int32.
    """

    key: Key
    networks: Networks
    statistics: Statistics
    store: Store
    best: Array
    episode: Array
    env_steps: Array


class TrainingCarry(struct.PyTreeNode):
    """Carry in training episodes: policies ``[N, P]``, the return they were made for, statistics of observations."""

    policies: Array
    command: Array
    statistics: Statistics


def init(key: Key, config: PolicyGeneratorConfig) -> PolicyGeneratorState:
    """Draws the weights; the store is empty."""
    run_key, network_key = jax.random.split(key)
    sizes = layer_sizes(config)
    return PolicyGeneratorState(
        key=run_key,
        networks=init_networks(network_key, config),
        statistics=init_statistics(sizes[0]) if config.obs_normalization == "running" else (),
        store=init_store(config, count_weights(sizes)),
        best=jnp.float32(-jnp.inf),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def act(state: PolicyGeneratorState, config: PolicyGeneratorConfig) -> Actor:
    """Makes the policies of the next row of episodes."""
    play_key, policy_key, _ = _row_keys(state)
    # Folded, as the noise on the policies is drawn with the key itself.
    command = next_command(jax.random.fold_in(policy_key, 0), state.best, config)
    if config.warmup == "generated":
        command = jnp.where(state.episode < config.warmup_episodes, return_range(config)[1], command)
    policies = _next_policies(policy_key, command, state, config)
    # The code of GoGePo's authors normalizes by running statistics from the second row on.
    raw = (state.episode == 0) & (config.algorithm == "gogepo") & (config.obs_normalization == "running")
    carry = TrainingCarry(policies, command, state.statistics)
    return Actor(play_key, _training_policy(raw, config), config.num_envs, carry, {})


def _row_keys(state: PolicyGeneratorState) -> Key:
    """Returns the keys of the next row: for its episodes, its policies, and the updates after it."""
    return jax.random.split(jax.random.fold_in(state.key, state.episode), 3)


def _next_policies(key: Key, command: Array, state: PolicyGeneratorState, config: PolicyGeneratorConfig) -> Array:
    """Makes the policies ``[N, P]`` of the next row: those of the warm-up, or for the command with noise."""
    is_warmup = state.episode < config.warmup_episodes
    made = make_policies(state.networks.generator.params, command[None], config)
    is_low = command < target_return(state.best, config)
    std = config.param_noise * jnp.where(is_low, config.low_command_noise, 1.0)
    noise = std * jax.random.normal(key, (config.num_envs, made.shape[1]))
    if config.warmup == "generated":
        return made + jnp.where(is_warmup, 0.0, noise)
    drawn = jax.vmap(partial(random_policy, sizes=layer_sizes(config)))(jax.random.split(key, config.num_envs))
    return jnp.where(is_warmup, drawn, made + noise)


def _training_policy(raw: Array, config: PolicyGeneratorConfig) -> Policy:
    """Makes the policy of training episodes, with a `TrainingCarry`; where ``raw`` it does not normalize."""
    spec, sizes = config.spec, layer_sizes(config)

    def policy(key: Key, timestep: Timestep) -> tuple[Array, PyTree, PyTree]:
        episode, carry = timestep.episode, timestep.carry
        x = jax.vmap(partial(flatten_obs, space=spec.observation))(episode.obs[timestep.t])
        if isinstance(carry.statistics, RunningStatistics):
            alive = ~(episode.terminated | episode.truncated)
            carry = carry.replace(statistics=update_statistics(carry.statistics, x, alive))
        x = jnp.where(raw, x, normalize(x, carry.statistics, config))
        outputs = jax.vmap(lambda policy, x: policy_outputs(policy, sizes, x))(carry.policies, x)
        return env_actions(outputs, spec.action)[None], carry, {}

    return policy


def learn(
    state: PolicyGeneratorState, episode: Episode, carry: TrainingCarry, config: PolicyGeneratorConfig
) -> tuple[PolicyGeneratorState, Metrics]:
    """Adds the policies of a row of episodes to the store, and learns."""
    returns = learned_returns(episode, config)
    # The target is that of before the row, which the command was chosen by.
    replaces = may_replace(returns, carry.command, target_return(state.best, config), config)
    played = PlayedPolicies(carry.policies, returns, bucket_number(returns, config), replaces)
    store = add_to_store(state.store, played)
    # The last row of the warm-up is learnt from already, so that the next one is made by a generator that has learnt.
    networks, loss = jax.lax.cond(
        state.episode + 1 >= config.warmup_episodes,
        lambda key, networks: update(key, networks, store, config),
        lambda key, networks: (networks, jnp.float32(0.0)),
        _row_keys(state)[2],
        state.networks,
    )
    after = state.replace(
        networks=networks,
        statistics=carry.statistics,
        store=store,
        best=jnp.maximum(state.best, returns.max()),
        episode=state.episode + 1,
        env_steps=state.env_steps + episode.length.sum(dtype=jnp.int32),
    )
    info = {"stored_policies": count_policies(store)}
    return after, episode_metrics(episode, episodes=after.episode, env_steps=after.env_steps, loss=loss, info=info)


def evaluation_actor(key: Key, state: PolicyGeneratorState, config: PolicyGeneratorConfig, num_envs: int) -> Actor:
    """Makes the policy for the best return so far, without noise, for ``N`` episodes."""
    spec, command = config.spec, best_command(state.best, config)
    made = make_policies(state.networks.generator.params, command[None], config)[0]

    def policy(key: Key, timestep: Timestep) -> tuple[Array, PyTree, PyTree]:
        obs = jax.vmap(partial(flatten_obs, space=spec.observation))(timestep.episode.obs[timestep.t])
        x = normalize(obs, state.statistics, config)
        # One policy for all environments needs one product per layer, not one per environment.
        outputs = policy_outputs(timestep.carry, layer_sizes(config), x)
        return env_actions(outputs, spec.action)[None], timestep.carry, {}

    return Actor(key, policy, num_envs, made, {})


def cost(config: PolicyGeneratorConfig) -> Cost:
    """Counts the cost of a run; ``parameters`` are those of generator and evaluator.

    A weight counts 6 operations for every input that it works on in learning, forward and backward: one input per
    tile and command for the generator's, one per policy for the evaluator's, one per policy and probing state for a
    policy's own. Most of the state are the policies in the store.
    """
    state = jax.eval_shape(partial(init, config=config), jax.eval_shape(lambda: jax.random.key(0)))
    generator, evaluator = state.networks
    trained = [network.params for network in (generator, evaluator) if isinstance(network, TrainedNetwork)]
    policies = jax.tree.leaves(state.store)[0]  # [..., P] of any store
    per_update = sum(
        math.prod(layer.embedding.shape[:2]) * sum(w.size for w in (*layer.weights, *layer.biases))
        for layer in generator.params
    )
    work = config.generator_updates * per_update
    if isinstance(evaluator, TrainedNetwork):
        per_update = sum(w.size for w in evaluator.params.weights) + config.num_probes * policies.shape[-1]
        work += (config.generator_updates + config.evaluator_updates) * per_update
    rows = max(config.episodes - max(config.warmup_episodes - 1, 0), 0)
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=config.episodes * config.spec.max_steps * config.num_envs,
        updates=rows * config.generator_updates,
        parameters=sum(x.size for x in jax.tree.leaves(trained)),
        learn_flops=6 * config.batch_size * work,
        state_bytes=tree_bytes(state),
        extra={"policy_weights": policies.shape[-1], "stored_policies": math.prod(policies.shape[:-1])},
    )


ALGORITHM = Algorithm(init, act, learn, evaluation_actor, cost)
for _name, _presets in PRESETS.items():
    register_algorithm(_name, PolicyGeneratorConfig, ALGORITHM, _presets)
