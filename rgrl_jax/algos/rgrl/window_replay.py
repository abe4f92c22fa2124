"""Replay of raw steps, from which windows are gathered by index and encoded when they are drawn.

One ring of ``C`` rows. An episode of ``n`` steps takes ``n + 1`` rows in order, the last of which holds only the
final observation. One weight per row does the rest: 0 marks a row that no window may start from (the end of an
episode, a duplicate, an evicted window), anything else is its priority. Past the end a window stays at the final row:
padding is virtual, no environment step is spent on it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.algos.rgrl.codec import Codec
from rgrl_jax.algos.rgrl.fingerprints import count_equal, fingerprint
from rgrl_jax.algos.rgrl.models import History
from rgrl_jax.types import Array, Key, Scalar

RESOLUTION = 0.1
"""Step to which encoded states are rounded where "the same state" is asked for."""


class Window(struct.PyTreeNode):
    """A training sample: a present ``[S]``, the actions ``[T, A]`` taken from there, and what came of them.

    Attributes:
      rewards: encoded targets ``[T, R]`` in -1..1.
      states: encoded states ``[T, S]`` after each action.
      mask: ``[T]``, 1 where a step was observed or is certain (past a terminal state), 0 past a time limit.
    """

    history: History
    present: Array
    actions: Array
    rewards: Array
    states: Array
    mask: Array


class WindowShape(NamedTuple):
    """Shape and encoding of windows.

    Attributes:
      padding: steps recorded after the end of an episode that terminated.
    """

    codec: Codec
    history_length: int
    horizon: int
    padding: int = 0


class ReplayState(struct.PyTreeNode):
    """Stored raw steps; every field has ``C`` rows, except the two counters: the next row, and episodes so far.

    Attributes:
      reward: targets of the reward head ``[C]``; the final row of an episode holds that of every step past the end.
      steps_left: rows from here to the final row of the episode ``[C]`` int32.
      episode: number of the episode ``[C]`` int32, -1 where nothing was written.
      terminated: whether that episode ended by itself ``[C]`` bool.
      weight: drawing weight of the window that starts here ``[C]``, 0 for none.
      fingerprints: fingerprints for finding duplicates ``[C, D, 2]`` uint32; ``D = 0`` without dedupe.
    """

    obs: Array
    action: Array
    reward: Array
    steps_left: Array
    episode: Array
    terminated: Array
    weight: Array
    fingerprints: Array
    cursor: Array
    episodes: Array


def init(
    obs: jax.ShapeDtypeStruct | Array, action: jax.ShapeDtypeStruct | Array, *, capacity: int, dedupe: str = "none"
) -> ReplayState:
    """Makes an empty replay for steps like ``obs`` and ``action``; for ``dedupe`` see `drop_duplicates`.

    ``capacity`` is ``C``, at least one row more than the longest episode has steps.
    """
    components = {"none": 0, "window": 1, "components": 6}[dedupe]
    return ReplayState(
        obs=jnp.zeros((capacity, *obs.shape), obs.dtype),
        action=jnp.zeros((capacity, *action.shape), action.dtype),
        reward=jnp.zeros(capacity),
        steps_left=jnp.zeros(capacity, jnp.int32),
        episode=jnp.full(capacity, -1, jnp.int32),
        terminated=jnp.zeros(capacity, bool),
        weight=jnp.zeros(capacity),
        fingerprints=jnp.zeros((capacity, components, 2), jnp.uint32),
        cursor=jnp.int32(0),
        episodes=jnp.int32(0),
    )


def add(
    state: ReplayState, obs: Array, action: Array, reward: Array, length: Array, terminated: Array, padding: int = 0
) -> ReplayState:
    """Appends one episode in the rows from ``cursor`` on, modulo ``C >= L + 1 + padding``; the oldest make room.

    Every one of its ``length`` steps becomes the start of a window, with the greatest weight in the replay.

    Args:
      state: the replay.
      obs: ``[L + 1 + padding, ...]``, rows ``0 .. length`` count, and ``padding`` more if it terminated.
      action: ``[L + 1 + padding, ...]``.
      reward: ``[L + 1 + padding]``, the last row that counts being what steps past it are worth.
      length: scalar int32, steps taken.
      terminated: scalar bool.
      padding: steps recorded after the end of an episode that terminated.
    """
    capacity = state.weight.shape[0]
    step = jnp.arange(obs.shape[0], dtype=jnp.int32)
    last = length + jnp.where(terminated, padding, 0)
    rows = jnp.where(step <= last, (state.cursor + step) % capacity, capacity)  # capacity: dropped
    max_priority = jnp.where(state.weight.max() > 0, state.weight.max(), 1.0)

    def put(store: Array, values: Array) -> Array:
        return store.at[rows].set(values, mode="drop")

    return state.replace(
        obs=put(state.obs, obs),
        action=put(state.action, action),
        reward=put(state.reward, reward),
        steps_left=put(state.steps_left, last - step),
        episode=put(state.episode, jnp.broadcast_to(state.episodes, step.shape)),
        terminated=put(state.terminated, jnp.broadcast_to(terminated, step.shape)),
        weight=put(state.weight, jnp.where(step < length, max_priority, 0.0)),
        cursor=(state.cursor + last + 1) % capacity,
        episodes=state.episodes + 1,
    )


def num_windows(state: ReplayState) -> Array:
    """Counts the windows that can be drawn, scalar int32."""
    return (state.weight > 0).sum(dtype=jnp.int32)


def draw(key: Key, weight: Array, shape: tuple[int, ...]) -> Array:
    """Draws int32 rows of ``shape`` with probability in proportion to ``weight [C]``, with replacement.

    Rows of weight 0 are never drawn as long as some weight is positive. Equal weights are drawn with exactly equal
    probability up to the resolution of a float32 in 0..1.
    """
    cumulative = jax.lax.cummax(jnp.cumsum(weight))  # a parallel float32 sum may step back a little
    point = jax.random.uniform(key, shape) * cumulative[-1]
    index = jnp.searchsorted(cumulative, point, side="right")
    index = jnp.minimum(index, weight.shape[0] - 1)  # rounding may reach the very top
    # Rounding may also end in a row of weight 0: take the last valid row before it, or the first of all.
    rows = jnp.where(weight > 0, jnp.arange(weight.shape[0]), -1)
    return jnp.maximum(jax.lax.cummax(rows)[index], jnp.argmax(weight > 0)).astype(jnp.int32)


def window(state: ReplayState, start: Array, shape: WindowShape, novelty: Array | None = None) -> Window:
    """Gathers and encodes the window that starts at row ``start``.

    Past the end of an episode the state is the final one with the done block set, the reward is the final row's, and
    the actions are 0 (see `randomize_padded_actions`). Before its beginning, or where the ring has overwritten it,
    the history is -1 throughout. The `novelty` of the rows ``[C]``, if given, becomes one more entry of the rewards,
    scaled to -1..1.
    """
    capacity, codec = state.weight.shape[0], shape.codec
    left = state.steps_left[start]
    offset = jnp.arange(shape.horizon + 1)
    rows = (start + jnp.minimum(offset, left)) % capacity
    ended = state.terminated[start] & (offset >= left - shape.padding)
    states = jax.vmap(codec.encode_state)(state.obs[rows], ended)
    past = offset[:-1] >= left
    actions = jax.vmap(codec.encode_action)(state.action[rows[:-1]])
    rewards = jax.vmap(codec.encode_reward)(state.reward[rows[:-1]])
    if novelty is not None:
        rewards = jnp.concatenate([rewards, 2.0 * novelty[rows[:-1], None] - 1.0], axis=1)
    return Window(
        history=_history(state, start, shape),
        present=states[0],
        actions=jnp.where(past[:, None], 0.0, actions),
        rewards=rewards,
        states=states[1:],
        mask=(~past | state.terminated[start]).astype(jnp.float32),
    )


def _history(state: ReplayState, start: Array, shape: WindowShape) -> History:
    n, codec, left = shape.history_length, shape.codec, state.steps_left[start]
    before = (start - n + jnp.arange(n)) % state.weight.shape[0]
    expected = left + n - jnp.arange(n)  # rows to the end, unless the ring wrapped
    known = ((state.episode[before] == state.episode[start]) & (state.steps_left[before] == expected))[:, None]
    return History(
        jnp.where(known, jax.vmap(codec.encode_state)(state.obs[before], jnp.zeros(n, bool)), -1.0),
        jnp.where(known, jax.vmap(codec.encode_action)(state.action[before]), -1.0),
    )


def randomize_padded_actions(key: Key, state: ReplayState, start: Array, actions: Array) -> Array:
    """Replaces the actions ``[T, A]`` past the end of an episode by uniform noise: nothing depends on them there."""
    past = jnp.arange(actions.shape[0]) >= state.steps_left[start]
    noise = jax.random.uniform(key, actions.shape, minval=-1.0, maxval=1.0)
    return jnp.where(past[:, None], noise, actions)


def evict(key: Key, state: ReplayState, max_windows: int) -> ReplayState:
    """Keeps a uniformly random subset of at most ``max_windows`` windows (line 27 of Algorithm 1)."""
    lottery = jnp.where(state.weight > 0, jax.random.uniform(key, state.weight.shape), -1.0)
    rank = jnp.argsort(jnp.argsort(-lottery))
    return state.replace(weight=jnp.where(rank < max_windows, state.weight, 0.0))


def drop_duplicates(state: ReplayState, first: Array, length: Array, shape: WindowShape) -> ReplayState:
    """Removes windows of the newest episode that the replay holds already (line 20 of Algorithm 1), just after `add`.

    With ``dedupe="window"`` a window is a duplicate if an equal encoded window can be drawn; with ``"components"``,
    as in the authors' code, if each of its six components, separately, occurs in some window that can be drawn.
    Components are compared by two independent 32-bit fingerprints each. The episode is ``length`` steps from row
    ``first`` on.
    """
    capacity, components = state.fingerprints.shape[:2]
    if not components:
        return state
    max_priority = state.weight.max()
    newest = state.episode == state.episodes - 1

    def check(step: Array, state: ReplayState) -> ReplayState:
        row = (first + step) % capacity
        prints = _fingerprints(window(state, row, shape), components)
        equal = (state.fingerprints == prints).all(axis=-1) & (state.weight > 0)[:, None]  # [C, D]
        duplicate = equal.any(axis=0).all()
        return state.replace(
            fingerprints=state.fingerprints.at[row].set(prints),
            weight=state.weight.at[row].set(jnp.where(duplicate, 0.0, max_priority)),
        )

    # One after the other: a window may also be the duplicate of an earlier one of its own episode.
    state = state.replace(weight=jnp.where(newest, 0.0, state.weight))
    return jax.lax.fori_loop(0, length, check, state)


def _fingerprints(sample: Window, components: int) -> Array:
    """Computes the fingerprints of a window ``[D, 2]``: of everything at once (D = 1) or of its six parts (D = 6)."""
    parts = [*sample.history, sample.present, sample.actions, sample.rewards, sample.states]
    flat = [part.reshape(-1) for part in parts]
    if components == 1:
        flat = [jnp.concatenate(flat)]
    return jnp.stack([fingerprint(part) for part in flat])


def balance(state: ReplayState, codec: Codec) -> ReplayState:
    """Gives every distinct present state the same probability: weights ``1 / n`` where ``n`` windows share a present.

    States that round to the same multiples of `RESOLUTION` are the same.
    """
    valid = state.weight > 0
    return state.replace(weight=jnp.where(valid, 1.0 / _count_states(state, valid, codec), 0.0))


def novelty(state: ReplayState, codec: Codec, discount: Scalar) -> Array:
    """Computes how new the states after each row ``[C]`` were: a discounted average of ``1 / sqrt(n)``, in 0..1.

    ``v_t = (1 - gamma) / sqrt(n_{t+1}) + gamma v_{t+1}`` where ``n`` counts the stored states that round to the same
    multiples of `RESOLUTION`; 0 past a true end, and past a time limit as new as the last state. The counts are those
    of count-based exploration bonuses (Strehl and Littman 2008, "An analysis of model-based interval estimation").
    Rows that hold nothing have 0.
    """
    capacity = state.weight.shape[0]
    stored = state.episode >= 0
    bonus = jnp.where(stored, 1.0 / jnp.sqrt(_count_states(state, stored, codec)), 0.0)
    age = (state.cursor + jnp.arange(capacity)) % capacity  # rows in the order in which they were written
    bonus, final = bonus[age], (state.steps_left[age] == 0) | ~stored[age]
    tail = jnp.where(state.terminated[age], 0.0, bonus)
    own = jnp.where(final, tail, (1.0 - discount) * jnp.roll(bonus, -1))
    passed_on = jnp.where(final, 0.0, discount)

    # The recursion v_t = own_t + passed_on_t v_{t+1} composes associatively: log C steps instead of C.
    def chain(later: tuple[Array, Array], earlier: tuple[Array, Array]) -> tuple[Array, Array]:
        return earlier[0] + earlier[1] * later[0], earlier[1] * later[1]

    value = jax.lax.associative_scan(chain, (own, passed_on), reverse=True)[0]
    return jnp.zeros(capacity).at[age].set(value)


def seen_range(state: ReplayState, codec: Codec) -> tuple[Array, Array]:
    """Returns the smallest encoded target in the replay, and how far above it the largest is, scalars."""
    encoded, stored = jax.vmap(codec.encode_reward)(state.reward)[:, 0], state.episode >= 0
    low, high = jnp.min(encoded, where=stored, initial=jnp.inf), jnp.max(encoded, where=stored, initial=-jnp.inf)
    return low, jnp.maximum(high - low, 1e-6)  # all alike: nothing to tell apart


def _count_states(state: ReplayState, valid: Array, codec: Codec) -> Array:
    """Counts for each row how many of the same validity ``[C]`` hold a state that rounds to the same, ``[C]``."""

    def present(obs: Array) -> Array:
        rounded = jnp.round(codec.encode_state(obs, jnp.bool_(False)) / RESOLUTION)
        return fingerprint(rounded.astype(jnp.int32).astype(jnp.float32))  # integers know no -0

    return count_equal(jax.lax.map(present, state.obs, batch_size=256), valid)
