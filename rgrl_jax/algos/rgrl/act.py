"""Acting: a plan is deduced before every step, or every few (lines 7-14 of Algorithm 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rgrl_jax import schedules, sharing
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.parts import Parts, parts
from rgrl_jax.encoding import SQUASHES, Codec, scale, straight_through
from rgrl_jax.envs.gradients import unstopped
from rgrl_jax.envs.registry import make as make_spec
from rgrl_jax.envs.wrappers import repeat_actions
from rgrl_jax.models.precision import matmul_precision
from rgrl_jax.planning import (
    make_cem,
    make_mppi,
    make_plan_optimizer,
    plan,
    plan_error,
    sample_plan,
    shooting,
    start_noise,
)
from rgrl_jax.planning.blocks import refusal, too_large
from rgrl_jax.planning.gradient import per_member, summarise
from rgrl_jax.planning.kernel import descend_rows
from rgrl_jax.rollout import Policy, View
from rgrl_jax.types import Array, Episode, History, Key, ModelOutput, PlanOutput, PyTree


def plan_noise(episode: Array, config: RGRLConfig) -> Array:
    """Half-width of the plan's start in an episode: annealed and reset, warm-up episodes not counted."""
    planned = jnp.maximum(episode - config.warmup_episodes, 0)
    return schedules.annealed_with_reset(planned, config.plan_noise, config.plan_noise_decay, config.plan_noise_cycle)


def randomness(episode: Array, config: RGRLConfig) -> Array:
    """Chance of a random action instead of a planned one in a training episode: 1 in warm-up."""
    return jnp.where(episode < config.warmup_episodes, 1.0, config.epsilon)


def make_policy(params: PyTree, config: RGRLConfig, noise: Array, explore: Array) -> Policy:
    """The acting half of the algorithm as a policy for `rollout`; its memory is as `first_view` makes it.

    Args:
      params: members ``[E, ...]``.
      config: the config.
      noise: half-width of the plan's random start, scalar.
      explore: chance of acting at random instead of planning, scalar; the draw is shared by all environments.
    """
    built = parts(config.replace(unroll=config.plan_unroll))

    def policy(key: Key, view: View) -> tuple[Array, PyTree, PyTree]:
        def explored() -> tuple[Array, PyTree, PyTree]:
            return _explore(key, view, config, built.codec)

        def planned() -> tuple[Array, PyTree, PyTree]:
            with matmul_precision(config.precision):
                out, info = plan_rows(key, params, view, config, noise, built)
            steps = jax.vmap(jax.vmap(built.codec.decode_action))(out.plan[:, : config.replan_every])
            memory = shifted(out.latent, config.replan_every) if config.plan_warm_start else ()
            steps, info, memory = sharing.gather((steps, info, memory), view.episode.length.shape[0])
            return jnp.swapaxes(steps, 0, 1), info, memory

        return jax.lax.cond(jax.random.uniform(jax.random.fold_in(key, 2)) < explore, explored, planned)

    return policy


def first_view(config: RGRLConfig, num_envs: int) -> dict[str, PyTree]:
    """The policy's ``memory`` and ``info`` before its first plan: with a warm start an empty plan ``[N, T, A]``."""
    empty = jnp.zeros((num_envs, config.horizon, parts(config).codec.action_size))
    return {"memory": empty if config.plan_warm_start else (), "info": _nothing_planned(num_envs)}


def shifted(latent: Array, steps: int) -> Array:
    """The rest of plans ``[N, T, A]`` of which ``steps`` were executed, filled up with 0."""
    return jnp.pad(latent[:, steps:], ((0, 0), (0, steps), (0, 0)))


def _explore(key: Key, view: View, config: RGRLConfig, codec: Codec) -> tuple[Array, PyTree, PyTree]:
    """Uniform actions ``[M, N, ...]``, each of which goes on with a chance of ``1 - 1 / warmup_hold``."""
    n = view.episode.length.shape[0]
    fresh = jax.random.uniform(key, (config.replan_every, n, codec.action_size), minval=-1.0, maxval=1.0)
    hold = jax.random.uniform(jax.random.fold_in(key, 1), (config.replan_every, n)) >= 1.0 / config.warmup_hold
    hold = hold.at[0].set(hold[0] & (view.t > 0))

    def step(last: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        fresh, hold = now
        fresh = jax.vmap(codec.decode_action)(fresh)
        action = jnp.where(hold.reshape(-1, *(1,) * (fresh.ndim - 1)), last, fresh)
        return action, action

    last = view.episode.action[jnp.maximum(view.t - 1, 0)]
    memory = shifted(view.memory, config.replan_every) if config.plan_warm_start else view.memory
    return jax.lax.scan(step, last, (fresh, hold))[1], _nothing_planned(n), memory


def _nothing_planned(num_envs: int) -> PyTree:
    """What a policy reports of plans ``[N]``, where there was none."""
    return {"plan_loss": jnp.zeros(num_envs), "plan_movement": jnp.zeros(num_envs)}


def _recent(episode: Episode, t: Array, codec: Codec, history_length: int) -> History:
    """The last ``H`` steps before ``t`` of this device's environments, encoded: ``[N, H, S]`` and ``[N, H, A]``."""
    rows = t - history_length + jnp.arange(history_length)
    known = (rows >= 0)[None, :, None]
    steps = [jnp.swapaxes(x[jnp.maximum(rows, 0)], 0, 1) for x in (episode.obs, episode.action)]
    obs, action = sharing.share(steps)
    encode_state: Any = jax.vmap(jax.vmap(lambda o: codec.encode_state(o, jnp.bool_(False))))
    encode_action = jax.vmap(jax.vmap(codec.encode_action))
    return History(jnp.where(known, encode_state(obs), -1.0), jnp.where(known, encode_action(action), -1.0))


def plan_rows(
    key: Key, params: PyTree, view: View, config: RGRLConfig, noise: Array, built: Parts
) -> tuple[PlanOutput, PyTree]:
    """Plans for ``N`` environments with ``P`` starts each; the member draws are shared by all rows.

    Where devices share the environments, `rgrl_jax.sharing`, these are the plans of this device's ``N``.

    Returns:
      Of each environment the plan that the ensemble scores best, leaves ``[N, ...]``, and diagnostics ``[N]``.
    """
    noise_key, member_key = jax.random.split(key)
    n, starts = view.episode.length.shape[0], config.plan_starts
    init_plan = _starts(noise_key, (n, starts, config.horizon, built.codec.action_size), noise, config)
    if config.plan_warm_start:
        init_plan = init_plan + view.memory[:, None]
    init_plan = sharing.share(init_plan)
    dynamics = _true_dynamics if config.dynamics == "environment" else _learned_dynamics
    rows, split, apply = dynamics(params, view, config, built)
    planner, wishes = _planner(config), desired_rewards(config)
    squash, executed = SQUASHES[config.squash], straight_through if config.plan_judged == "executed" else None
    judging: dict[str, Any] = {
        "reduction": config.plan_loss_reduction,
        "step_weights": step_weights(config),
        "distance": config.plan_loss,
    }
    found = _descended(member_key, params, rows, init_plan, config, built) if uses_kernel(config, built) else None

    def one(row: PyTree, init_plan: Array, found: tuple[Array, Array] | None) -> PlanOutput:
        members, context = split(row)
        if found is not None:
            asked, judge = per_member(wishes, members), partial(plan_error, **judging)
            return summarise(members, asked, apply, context, found[0], init_plan, squash, found[1], judge, executed)
        return planner(
            member_key,
            members,
            apply,
            context,
            init_plan,
            iterations=config.plan_iterations,
            desired_reward=wishes,
            members=config.plan_members,
            disagreement=config.plan_disagreement,
            squash=squash,
            executed=executed,
            **judging,
        )

    out = jax.vmap(jax.vmap(one, in_axes=(None, 0, 0)))(rows, init_plan, found)  # [N, P, ...]
    best = _judged(out.score, config).argmin(axis=-1) if starts > 1 else jnp.zeros(len(init_plan), jnp.int32)
    out = jax.vmap(lambda tried, i: jax.tree.map(lambda x: x[i], tried))(out, best)
    loss = out.loss[:, -1] if config.plan_iterations else out.score.mean(axis=-1)
    return out, {"plan_loss": loss, "plan_movement": out.movement}


def uses_kernel(config: RGRLConfig, built: Parts) -> bool:
    """Whether plans are descended in `rgrl_jax.planning.kernel`: on a GPU if it can, or because the config insists.

    Raises:
      ValueError: the config insists and the kernel cannot.
    """
    if config.plan_kernel == "off" or (config.plan_kernel == "auto" and jax.default_backend() != "gpu"):
        return False
    model: Any = built.model
    reason = refusal(config) or too_large(model.module)
    if reason and config.plan_kernel == "on":
        raise ValueError(f"plan_kernel = 'on' {reason}")
    return reason is None


def _descended(
    key: Key, params: PyTree, rows: PyTree, init_plan: Array, config: RGRLConfig, built: Parts
) -> tuple[Array, Array]:
    """The plans ``[N, P, T, A]`` descended by the kernel in one launch, and their errors ``[N, P, K]``."""
    n, starts = init_plan.shape[:2]
    model: Any = built.model
    memory, present = jax.tree.map(lambda x: jnp.repeat(x, starts, axis=0), rows)
    found = descend_rows(
        key,
        params,
        model.module,
        memory,
        present,
        init_plan.reshape(n * starts, *init_plan.shape[2:]),
        iterations=config.plan_iterations,
        learning_rate=config.plan_lr,
        optimizer=config.plan_optimizer,
        desired_reward=desired_rewards(config),
        factors=emphasis(config) if config.novelty else 1.0,
        reduction=config.plan_loss_reduction,
        step_weights=step_weights(config),
        distance=config.plan_loss,
        squash=config.squash,
        interpret=jax.default_backend() != "gpu",
    )
    return jax.tree.map(lambda x: x.reshape(n, starts, *x.shape[1:]), found)


def _starts(key: Key, shape: tuple[int, ...], noise: Array, config: RGRLConfig) -> Array:
    """Where the plans ``[N, P, T, A]`` start, before the squash: the first of each row is the paper's."""
    width = jnp.where(jnp.arange(shape[1]) == 0, noise, jnp.maximum(noise, config.plan_spread))
    law, repeats, color = config.plan_noise_law, config.plan_noise_repeats, config.plan_noise_color
    return start_noise(key, shape, law=law, repeats=repeats, color=color) * width[:, None, None]


def _judged(score: Array, config: RGRLConfig) -> Array:
    """The ensemble's opinion of plans, from its members' ``[..., E]``."""
    mean = score.mean(axis=-1)
    return mean + config.plan_disagreement * score.std(axis=-1) if config.plan_members == "mean" else mean


Dynamics = tuple[PyTree, Callable[[PyTree], tuple[PyTree, PyTree]], Callable[..., ModelOutput]]
"""A pytree with one row per environment, how a row becomes members and context, and the model of both."""


def _learned_dynamics(params: PyTree, view: View, config: RGRLConfig, built: Parts) -> Dynamics:
    """The ensemble's."""
    _, codec, model = built
    obs = sharing.share(view.episode.obs[view.t])
    present = jax.vmap(codec.encode_state, in_axes=(0, None))(obs, jnp.bool_(False))
    history = _recent(view.episode, view.t, codec, config.history_length)
    # History runs once per environment step and member: [N, E, ...]
    memory = jax.vmap(jax.vmap(model.remember, in_axes=(0, None)), in_axes=(None, 0))(params, history)

    factors = emphasis(config) if config.novelty else None

    def apply(member: PyTree, state: Array, actions: Array) -> ModelOutput:
        out = model.apply(member[0], member[1], state, actions)
        return out if factors is None else out._replace(reward=out.reward * factors)

    return (memory, present), lambda row: ((params, row[0]), row[1]), apply


def _true_dynamics(params: PyTree, view: View, config: RGRLConfig, built: Parts) -> Dynamics:
    """The environment's own: an oracle, to see how far planning could get. One member, which is always right."""
    del params
    codec = built.codec
    single = make_spec(config.env_id, config.max_steps)
    spec = repeat_actions(dataclasses.replace(single, step=unstopped(single.step)), config.action_repeat)
    key = jax.random.key(0)  # what the oracle foresees of chance

    def step(carry: tuple[PyTree, Array, Array], action: Array) -> tuple[tuple[PyTree, Array, Array], ModelOutput]:
        state, alive, past_end = carry
        obs, state, reward, terminated, _ = spec.step(key, state, codec.decode_action(action))
        reward = jnp.where(alive, reward, past_end)
        past_end = reward if config.absorbing_reward == "last" else past_end
        alive = alive & ~terminated
        return (state, alive, past_end), ModelOutput(
            scale(reward, *spec.reward_range)[None], codec.encode_state(obs, ~alive)
        )

    def apply(member: PyTree, state: PyTree, actions: Array) -> ModelOutput:
        del member
        return jax.lax.scan(step, (state, jnp.bool_(True), jnp.float32(0.0)), actions)[1]

    return sharing.share(view.env_state), lambda row: (jnp.zeros(1), row), apply


def desired_rewards(config: RGRLConfig) -> Array:
    """What each member is asked for ``[E, 1, 1]``: evenly spread around r*; an oracle is asked for r* itself.

    With novelty ``[E, 1, R + 1]``: the greatest there is beside r*, both by their `emphasis`.
    """
    members = 1 if config.dynamics == "environment" else config.ensemble_size
    place = jnp.linspace(-1.0, 1.0, members) if members > 1 else jnp.zeros(1)
    desired = (config.desired_reward + config.desired_reward_spread * place)[:, None, None]
    if not config.novelty:
        return desired
    size = parts(config).codec.reward_size
    wishes = jnp.concatenate([jnp.broadcast_to(desired, (members, 1, size)), jnp.ones((members, 1, 1))], axis=2)
    return wishes * emphasis(config)


def emphasis(config: RGRLConfig) -> Array:
    """Factors ``[R + 1]`` by which the mean distance over rewards and novelty becomes a weighted sum of both."""
    size = parts(config).codec.reward_size
    weight = jnp.append(jnp.full(size, (size + 1) / size), config.plan_novelty * (size + 1))
    return jnp.sqrt(weight) if config.plan_loss == "squared" else weight


def step_weights(config: RGRLConfig) -> Array:
    """How much the steps of a plan count ``[T]``: all alike, later ones more, or the last alone."""
    step = jnp.arange(config.horizon)
    if config.plan_loss_steps == "last":
        return (step == config.horizon - 1).astype(jnp.float32)
    return config.plan_loss_growth**step


def _planner(config: RGRLConfig) -> Callable[..., PlanOutput]:
    """`plan` or `sample_plan` with the settings that only one of them has."""
    if config.planner == "gradient":
        optimizer = make_plan_optimizer(config.plan_optimizer, config.plan_lr)
        return partial(plan, optimizer=optimizer, accept=config.plan_accept)
    moves = {
        "shooting": shooting,
        "cem": make_cem(config.plan_elites),
        "mppi": make_mppi(config.plan_temperature),
    }
    return partial(sample_plan, move=moves[config.planner], samples=config.plan_samples, spread=config.plan_spread)
