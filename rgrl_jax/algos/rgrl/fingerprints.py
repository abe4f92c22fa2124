"""Fingerprints of float vectors, to find equal ones among thousands without storing or sorting them whole."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array


def fingerprint(values: Array) -> Array:
    """Computes two independent 32-bit fingerprints ``[2]`` of a float vector ``[n]``.

    Sums of mixed words, position by position: a sum is one reduction, where a chained hash would be a loop.
    """

    def mix(word: Array) -> Array:  # the finaliser of MurmurHash3
        word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
        word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
        return word ^ (word >> 16)

    bits = jax.lax.bitcast_convert_type(values.astype(jnp.float32), jnp.uint32)
    place = mix(jnp.arange(bits.size, dtype=jnp.uint32) + jnp.uint32(1))
    return jnp.stack([mix(mix(bits ^ place) + seed).sum(dtype=jnp.uint32) for seed in (jnp.uint32(1), jnp.uint32(2))])


def count_equal(prints: Array, valid: Array) -> Array:
    """Counts how many fingerprints ``[C, 2]`` of the same validity ``[C]`` equal each, itself included: ``[C]``."""
    # Valid ones first, equal ones side by side: then every group is a run.
    order = jnp.lexsort((prints[:, 1], prints[:, 0], ~valid))
    ranked, known = prints[order], valid[order]
    begins = jnp.concatenate([jnp.ones(1, bool), (ranked[1:] != ranked[:-1]).any(axis=1) | (known[1:] != known[:-1])])
    group = jnp.cumsum(begins) - 1
    count = jax.ops.segment_sum(jnp.ones(len(group)), group, num_segments=len(group))
    return jnp.zeros(len(group)).at[order].set(count[group])
