"""Acting: a plan is deduced before every step, or every few (lines 7-14 of Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rgrl_jax import schedules, spmd
from rgrl_jax.algos.rgrl.build import Components
from rgrl_jax.algos.rgrl.codec import Codec
from rgrl_jax.algos.rgrl.config import ExploreConfig, PlannerConfig, RGRLConfig
from rgrl_jax.algos.rgrl.models import History
from rgrl_jax.optimizers import make_optimizer
from rgrl_jax.planning import cem, mppi, plan, plan_error, sample_plan, shooting, straight_through
from rgrl_jax.planning.outputs import ModelOutput, PlanOutput
from rgrl_jax.rollout import Policy, Timestep
from rgrl_jax.types import Array, Episode, Key, PyTree

EXTRA_START_NOISE = 1.0
"""Half-width of the start noise of all parallel plans but the first, unless ``planner.noise`` is larger."""


def plan_noise(episode: Array, config: RGRLConfig) -> Array:
    """Computes the half-width of a plan's start noise in an episode, a scalar: annealed and reset after warm-up."""
    planned, planner = jnp.maximum(episode - config.explore.warmup_episodes, 0), config.planner
    return schedules.annealed_with_reset(planned, planner.noise, planner.noise_decay, planner.noise_cycle)


def exploration_rate(episode: Array, explore: ExploreConfig) -> Array:
    """Computes the probability of a random action in an episode, a scalar: 1 in warm-up."""
    return jnp.where(episode < explore.warmup_episodes, 1.0, explore.epsilon)


def make_policy(
    params: PyTree, config: RGRLConfig, components: Components, noise: Array, exploration_rate: Array
) -> Policy:
    """Makes the policy of an ensemble; it carries nothing.

    Args:
      params: members ``[E, ...]``.
      config: the config.
      components: as built from it for planning.
      noise: half-width of the plan's random start, scalar.
      exploration_rate: probability of acting at random instead of planning, scalar; the draw is shared by all
        environments.
    """
    codec, every = components.codec, config.planner.replan_every

    def policy(key: Key, timestep: Timestep) -> tuple[Array, PyTree, PyTree]:
        n = timestep.episode.length.shape[0]

        def explore() -> tuple[Array, PyTree]:
            return random_actions(key, timestep, every, config.explore, codec), blank_info(n)

        def exploit() -> tuple[Array, PyTree]:
            out, info = plan_for_envs(key, params, timestep, config, components, noise)
            steps = jax.vmap(jax.vmap(codec.decode_action))(out.plan[:, :every])
            steps, info = spmd.all_gather((steps, info), n)
            return jnp.swapaxes(steps, 0, 1), info

        explores = jax.random.uniform(jax.random.fold_in(key, 2)) < exploration_rate
        actions, info = jax.lax.cond(explores, explore, exploit)
        return actions, (), info

    return policy


def random_actions(key: Key, timestep: Timestep, steps: int, explore: ExploreConfig, codec: Codec) -> Array:
    """Draws uniform actions ``[M, N, ...]``, each of which is repeated with probability ``1 - 1 / action_repeat``."""
    n = timestep.episode.length.shape[0]
    drawn = jax.random.uniform(key, (steps, n, codec.action_size), minval=-1.0, maxval=1.0)
    repeat = jax.random.uniform(jax.random.fold_in(key, 1), (steps, n)) >= 1.0 / explore.warmup_action_repeat
    repeat = repeat.at[0].set(repeat[0] & (timestep.t > 0))

    def step(last: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        drawn, repeat = now
        drawn = jax.vmap(codec.decode_action)(drawn)
        action = jnp.where(repeat.reshape(-1, *(1,) * (drawn.ndim - 1)), last, drawn)
        return action, action

    last = timestep.episode.action[jnp.maximum(timestep.t - 1, 0)]
    return jax.lax.scan(step, last, (drawn, repeat))[1]


def blank_info(num_envs: int) -> dict[str, Array]:
    """Returns what a policy reports ``[N]`` where nothing was planned."""
    return {"plan_loss": jnp.zeros(num_envs), "plan_movement": jnp.zeros(num_envs)}


def plan_for_envs(
    key: Key, params: PyTree, timestep: Timestep, config: RGRLConfig, components: Components, noise: Array
) -> tuple[PlanOutput, dict[str, Array]]:
    """Plans for ``N`` environments with ``P`` starts each; the member draws are shared by all of them.

    Where devices share the environments, see `rgrl_jax.spmd`, these are the plans of this device's ``N``.

    Returns:
      For each environment the plan that the ensemble scores best, leaves ``[N, ...]``, and diagnostics ``[N]``.
    """
    planner, codec = config.planner, components.codec
    noise_key, member_key = jax.random.split(key)
    n, starts = timestep.episode.length.shape[0], planner.num_starts
    init_plan = spmd.shard(_start_plans(noise_key, (n, starts, planner.horizon, codec.action_size), noise))
    memory, present = _encode_present(params, timestep, config, components)
    search = _make_search(member_key, config, components)

    def search_one(memory: PyTree, present: Array, init_plan: Array) -> PlanOutput:
        return search((params, memory), present, init_plan)

    over_starts = jax.vmap(search_one, in_axes=(None, None, 0))
    out = jax.vmap(over_starts)(memory, present, init_plan)  # [N, P, ...]
    score = out.score.mean(axis=-1)
    best = score.argmin(axis=-1) if starts > 1 else jnp.zeros(len(init_plan), jnp.int32)
    out = jax.vmap(lambda tried, i: jax.tree.map(lambda x: x[i], tried))(out, best)
    loss = out.loss[:, -1] if planner.iterations else out.score.mean(axis=-1)
    return out, {"plan_loss": loss, "plan_movement": out.movement}


def _start_plans(key: Key, shape: tuple[int, ...], noise: Array) -> Array:
    """Draws plans ``[N, P, T, A]`` to start from, before the squash; the first of each environment is the paper's."""
    width = jnp.where(jnp.arange(shape[1]) == 0, noise, jnp.maximum(noise, EXTRA_START_NOISE))
    drawn = jax.random.uniform(key, (1, *shape), minval=-1.0, maxval=1.0).sum(axis=0)
    return drawn * width[:, None, None]


def _encode_present(
    params: PyTree, timestep: Timestep, config: RGRLConfig, components: Components
) -> tuple[PyTree, Array]:
    """Encodes histories, once per environment step and member ``[N, E, ...]``, and present states ``[N, S]``."""
    obs = spmd.shard(timestep.episode.obs[timestep.t])
    present = jax.vmap(components.codec.encode_state, in_axes=(0, None))(obs, jnp.bool_(False))
    history = _recent(timestep.episode, timestep.t, components.codec, config.model.history_length)
    encode = jax.vmap(components.model.encode_history, in_axes=(0, None))
    return jax.vmap(encode, in_axes=(None, 0))(params, history), present


def _recent(episode: Episode, t: Array, codec: Codec, history_length: int) -> History:
    """Encodes the last ``H`` steps before ``t`` of this device's environments: ``[N, H, S]`` and ``[N, H, A]``."""
    rows = t - history_length + jnp.arange(history_length)
    known = (rows >= 0)[None, :, None]
    steps = [jnp.swapaxes(x[jnp.maximum(rows, 0)], 0, 1) for x in (episode.obs, episode.action)]
    obs, action = spmd.shard(steps)
    encode_state: Any = jax.vmap(jax.vmap(lambda o: codec.encode_state(o, jnp.bool_(False))))
    encode_action = jax.vmap(jax.vmap(codec.encode_action))
    return History(jnp.where(known, encode_state(obs), -1.0), jnp.where(known, encode_action(action), -1.0))


def _make_search(key: Key, config: RGRLConfig, components: Components) -> Callable[..., PlanOutput]:
    """Makes ``(members, present, init_plan) -> PlanOutput`` of the planner; members are weights and memories."""
    planner, model = config.planner, components.model
    novelty, reward_size = config.target.novelty, components.codec.reward_size
    weights = reward_weights(planner, reward_size) if novelty else None
    desired = planner.desired_reward if weights is None else desired_with_novelty(planner, weights)

    def apply(member: PyTree, state: Array, actions: Array) -> ModelOutput:
        out = model.apply(member[0], member[1], state, actions)
        return out if weights is None else out._replace(reward=out.reward * weights)

    options: dict[str, Any] = {
        "iterations": planner.iterations,
        "desired_reward": desired,
        "loss_fn": partial(
            plan_error,
            distance=jnp.abs if planner.loss == "absolute" else jnp.square,
            reduce=jnp.mean if config.reference.mean_plan_loss else jnp.sum,
        ),
        "execute": straight_through if planner.rank_starts_by == "executed" else None,
    }
    search: Callable[..., PlanOutput]
    if planner.kind == "gradient":
        search = partial(plan, optimizer=make_optimizer(planner.optimizer, planner.lr), **options)
    else:
        samplers = {
            "shooting": lambda: shooting(planner.samples),
            "cem": lambda: cem(planner.samples),
            "mppi": lambda: mppi(planner.samples, planner.temperature),
        }
        search = partial(sample_plan, sampler=samplers[planner.kind](), **options)
    return lambda members, present, init_plan: search(key, members, apply, present, init_plan)


def reward_weights(planner: PlannerConfig, reward_size: int) -> Array:
    """Returns factors ``[R + 1]`` that make the mean distance over rewards and novelty a weighted sum of both."""
    entries = reward_size + 1
    weight = jnp.append(jnp.full(reward_size, entries / reward_size), planner.novelty_weight * entries)
    return jnp.sqrt(weight) if planner.loss == "squared" else weight


def desired_with_novelty(planner: PlannerConfig, weights: Array) -> Array:
    """Returns the desired rewards and the largest novelty ``[1, R + 1]``, by their `reward_weights`."""
    desired = jnp.full(len(weights) - 1, planner.desired_reward)
    return jnp.append(desired, 1.0)[None] * weights
