"""Store of the policies that were played: the best in buckets by return, or the last ones in a ring.

Buckets cut the range of returns into equal parts and hold few policies each, so that the policies an agent plays most
do not crowd out the rest. Of all buckets that were ever filled the best ``K`` are kept. A bucket that falls below
them stays below, as they only move up: so the store is at all times what endless memory would hold in its best ``K``.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import ring_buffer
from rgrl_jax.algos.policy_generators.commands import relative_return
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.ring_buffer import RingBuffer
from rgrl_jax.types import Array, Key


class Buckets(struct.PyTreeNode):
    """The best ``K`` buckets, in no order, of ``M`` policies each.

    Attributes:
      policies: ``[K, M, P]``.
      returns: ``[K, M]``.
      number: numbers of the buckets, from 0 for the lowest returns ``[K]`` int32; -1 for an empty one.
      written: policies written to each bucket so far ``[K]`` int32.
    """

    policies: Array
    returns: Array
    number: Array
    written: Array


Store = Buckets | RingBuffer
"""A ring buffer has pairs ``(policies [C, P], returns [C])`` as items."""


class PlayedPolicies(NamedTuple):
    """Policies ``[N, P]`` that were played, their returns ``[N]`` and the numbers of their buckets ``[N]``.

    Where ``replaces [N]`` a policy replaces the oldest one of a full bucket; elsewhere it is dropped.
    """

    policies: Array
    returns: Array
    bucket: Array
    replaces: Array


def init_store(config: PolicyGeneratorConfig, num_weights: int) -> Store:
    """Makes an empty store for policies ``[P]``."""
    if config.store == "ring":
        return ring_buffer.init((jnp.zeros(num_weights), jnp.zeros(())), config.capacity)
    kept, size = config.num_buckets_kept, config.bucket_size
    if config.overflow_bucket == "clamp":
        kept = min(kept, config.num_buckets)
    policies, returns = jnp.zeros((kept, size, num_weights)), jnp.zeros((kept, size))
    return Buckets(policies, returns, number=jnp.full(kept, -1, jnp.int32), written=jnp.zeros(kept, jnp.int32))


def bucket_number(returns: Array, config: PolicyGeneratorConfig) -> Array:
    """Returns the numbers of the buckets of returns, of the same shape, int32; a bucket holds its upper end."""
    last = config.num_buckets - 1 if config.overflow_bucket == "clamp" else 2**30  # far above any, within int32
    place = jnp.ceil(relative_return(returns, config) * config.num_buckets) - 1
    return jnp.clip(place, 0, last).astype(jnp.int32)


def may_replace(returns: Array, command: Array, target: Array, config: PolicyGeneratorConfig) -> Array:
    """Decides which policies of returns ``[N]`` may replace an older one ``[N]``, bool.

    With ``when_full="select"`` one whose ``command`` was the ``target`` return of its time, scalars, and that failed
    by its noise may not: it says little of how to reach a lower return on purpose.
    """
    if config.when_full != "select":
        return jnp.full(returns.shape, config.when_full == "replace")
    return (bucket_number(returns, config) >= bucket_number(command, config)) | (command < target)


def add_to_store(store: Store, played: PlayedPolicies) -> Store:
    """Adds policies one after the other."""
    if isinstance(store, RingBuffer):
        return ring_buffer.add(store, (played.policies, played.returns))

    def add(store: Buckets, policy: PlayedPolicies) -> tuple[Buckets, None]:
        return _add_to_bucket(store, policy), None

    return jax.lax.scan(add, store, played)[0]


def _add_to_bucket(store: Buckets, played: PlayedPolicies) -> Buckets:
    """Adds a single policy to its bucket, if that is among the best ``K``."""
    kept, size = store.returns.shape
    same = store.number == played.bucket
    # One policy is written to one place whatever happens, as a branch would make the scan copy the whole store. It
    # goes to its bucket, else to the place of an empty one, whose number is -1, or of the worst. What is turned away
    # goes to row K, which is out of bounds and so is dropped.
    at = jnp.where(same.any(), jnp.argmax(same), jnp.argmin(store.number))
    written = jnp.where(same.any(), store.written[at], 0)
    is_kept = same.any() | (played.bucket > store.number.min())
    enters = is_kept & ((written < size) | played.replaces)
    row = jnp.where(enters, at, kept)
    return Buckets(
        policies=store.policies.at[row, written % size].set(played.policies, mode="drop"),
        returns=store.returns.at[row, written % size].set(played.returns, mode="drop"),
        number=store.number.at[row].set(played.bucket, mode="drop"),
        written=store.written.at[row].set(written + 1, mode="drop"),
    )


def count_policies(store: Store) -> Array:
    """Counts the policies that can be drawn, scalar int32."""
    if isinstance(store, RingBuffer):
        return ring_buffer.size(store)
    return jnp.minimum(store.written, store.returns.shape[1]).sum(dtype=jnp.int32)


def probabilities(store: Store, config: PolicyGeneratorConfig) -> Array:
    """Computes the probabilities with which buckets ``[K]``, or policies of a ring ``[C]``, are drawn.

    Buckets have ``p ~ exp(rank_weight * rank)``, with rank 1 for the worst that is not empty; policies of a ring
    ``p ~ rank ** -recency_exponent``, with rank 1 for the newest.
    """
    # Softmax of logarithms, as the powers themselves overflow with some hundred buckets.
    if isinstance(store, RingBuffer):
        age = ring_buffer.ages(store)
        return jax.nn.softmax(jnp.where(age < store.written, -config.recency_exponent * jnp.log1p(age), -jnp.inf))
    # Empty buckets sort first: all other ranks are higher by the same number, which a softmax leaves out.
    rank = jnp.argsort(jnp.argsort(store.number))
    return jax.nn.softmax(jnp.where(store.number >= 0, config.rank_weight * rank, -jnp.inf))


def sample(key: Key, store: Store, config: PolicyGeneratorConfig) -> tuple[Array, Array]:
    """Draws policies ``[B, P]`` and their returns ``[B]`` with replacement, from a store that is not empty.

    Within a bucket all policies have equal chances.
    """
    key, member_key = jax.random.split(key)
    chances = probabilities(store, config)
    if isinstance(store, RingBuffer):
        drawn: tuple[Array, Array] = ring_buffer.sample(key, store, config.batch_size, chances)
        return drawn
    # An empty bucket has no chance, so that each one drawn holds a policy.
    at = jax.random.choice(key, store.returns.shape[0], (config.batch_size,), p=chances)
    filled = jnp.minimum(store.written[at], store.returns.shape[1])
    member = jax.random.randint(member_key, (config.batch_size,), 0, filled)
    return store.policies[at, member], store.returns[at, member]
