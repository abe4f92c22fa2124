"""What was played, kept by return or by age: policies in buckets, or in a ring.

Buckets cut the scale of returns into equal parts and hold few policies each, so that what an agent plays most does
not crowd out the rest. Of all buckets that were ever filled the best ``K`` are kept. A bucket that falls below them
stays below: they only move up. So what is kept is at all times what endless memory would hold in its best ``K``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.types import Array, Key, Scalar


class Buckets(struct.PyTreeNode):
    """The best ``K`` buckets, in no order, of ``M`` policies each.

    Attributes:
      policies: ``[K, M, P]``.
      returns: ``[K, M]``.
      number: which buckets they are, from 0 for the worst ``[K]`` int32; -1 for none.
      written: policies that each has taken so far ``[K]`` int32.
    """

    policies: Array
    returns: Array
    number: Array
    written: Array


class Ring(struct.PyTreeNode):
    """The last ``C`` policies.

    Attributes:
      policies: ``[C, P]``; number ``i`` is in row ``i mod C``.
      returns: ``[C]``.
      written: policies written so far, scalar int32.
    """

    policies: Array
    returns: Array
    written: Array


Store = Buckets | Ring


def init_buckets(kept: int, size: int, weights: int) -> Buckets:
    """``K`` empty buckets for ``M`` policies ``[P]`` each."""
    return Buckets(
        policies=jnp.zeros((kept, size, weights)),
        returns=jnp.zeros((kept, size)),
        number=jnp.full(kept, -1, jnp.int32),
        written=jnp.zeros(kept, jnp.int32),
    )


def init_ring(capacity: int, weights: int) -> Ring:
    """An empty ring for ``C`` policies ``[P]``."""
    return Ring(jnp.zeros((capacity, weights)), jnp.zeros(capacity), jnp.int32(0))


def write_bucket(store: Buckets, policy: Array, value: Array, number: Array, replace: Array) -> Buckets:
    """Puts a policy ``[P]`` into its bucket, if that is among the best ``K``.

    Args:
      store: what is there.
      policy: ``[P]``.
      value: its return, scalar.
      number: of its bucket, scalar int32.
      replace: whether it takes the place of the oldest where the bucket is full, scalar bool; otherwise it is turned
        away.
    """
    kept, size = store.returns.shape
    same = store.number == number
    at = jnp.where(same.any(), jnp.argmax(same), jnp.argmin(store.number))  # an empty one, or the worst, gives way
    written = jnp.where(same.any(), store.written[at], 0)
    enters = (same.any() | (number > store.number.min())) & ((written < size) | replace)
    row = jnp.where(enters, at, kept)  # out of bounds is dropped
    return Buckets(
        policies=store.policies.at[row, written % size].set(policy, mode="drop"),
        returns=store.returns.at[row, written % size].set(value, mode="drop"),
        number=store.number.at[row].set(number, mode="drop"),
        written=store.written.at[row].set(written + 1, mode="drop"),
    )


def write_ring(store: Ring, policies: Array, values: Array) -> Ring:
    """Writes policies ``[N, P]`` and their returns ``[N]``, the last as the newest; ``N`` is at most ``C``."""
    row = (store.written + jnp.arange(values.shape[0])) % store.returns.shape[0]
    return Ring(
        policies=store.policies.at[row].set(policies),
        returns=store.returns.at[row].set(values),
        written=store.written + values.shape[0],
    )


def stored(store: Store) -> Array:
    """How many policies can be drawn, scalar int32."""
    if isinstance(store, Ring):
        return jnp.minimum(store.written, store.returns.shape[0])
    return jnp.minimum(store.written, store.returns.shape[1]).sum(dtype=jnp.int32)


def chances(store: Store, weight: Scalar) -> Array:
    """Probabilities with which buckets ``[K]``, or policies of a ring ``[C]``, are drawn.

    Buckets have ``p ~ exp(weight * rank)``, with rank 1 for the worst that is not empty; policies of a ring
    ``p ~ rank ** -weight``, with rank 1 for the newest. A weight of 0 makes all equal.
    """
    if isinstance(store, Ring):
        capacity = store.returns.shape[0]
        age = (store.written - 1 - jnp.arange(capacity)) % capacity
        return jax.nn.softmax(jnp.where(age < store.written, -weight * jnp.log1p(age), -jnp.inf))
    rank = jnp.argsort(jnp.argsort(store.number))
    return jax.nn.softmax(jnp.where(store.number >= 0, weight * rank, -jnp.inf))


def draw(key: Key, store: Store, batch: int, weight: Scalar) -> tuple[Array, Array]:
    """Policies ``[B, P]`` and their returns ``[B]``, with replacement, from a store that is not empty.

    See `chances`; within a bucket all policies have the same.
    """
    key, member_key = jax.random.split(key)
    at = jax.random.choice(key, store.returns.shape[0], (batch,), p=chances(store, weight))
    if isinstance(store, Ring):
        return store.policies[at], store.returns[at]
    filled = jnp.minimum(store.written[at], store.returns.shape[1])
    member = jax.random.randint(member_key, (batch,), 0, filled)
    return store.policies[at, member], store.returns[at, member]
