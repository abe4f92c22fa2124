"""One suite for every replay: only what is stored is drawn, by its law, and the oldest goes first.

Items are numbered; each kind of replay says how numbers are added, how they are drawn, and how often they should be.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_configs import config_of

from rgrl_jax import ring_buffer
from rgrl_jax.algos.policy_generators import store
from rgrl_jax.algos.rgrl import window_replay

DRAWS, CAPACITY, STEPS = 8000, 12, 4
LENGTHS = ((4, 2), (1, 1), (3, 4), (4, 4), (2, 1), (4, 3))
"""Numbers added at a time, by each of two environments."""


def rows(groups):
    """Groups of numbers as columns ``[STEPS, 2]``, -1 below them."""
    return np.stack([np.pad(group, (0, STEPS - len(group)), constant_values=-1) for group in groups], axis=1)


def uniform(numbers):
    """Equal probabilities."""
    return dict.fromkeys(numbers, 1 / len(numbers))


class Ring:
    """The ring buffer, an item at a time."""

    empty = staticmethod(lambda: ring_buffer.init(jnp.int32(0), CAPACITY))
    draw = staticmethod(jax.jit(lambda key, state: ring_buffer.sample(key, state, DRAWS)))
    add_one = staticmethod(jax.jit(lambda state, number: ring_buffer.add(state, number[None])))

    def add(self, state, groups):
        """One after the other."""
        for number in np.concatenate(groups):
            state = self.add_one(state, jnp.int32(number))
        return state

    def law(self, history):
        """All of the newest alike."""
        return uniform([x for groups in history for group in groups for x in group][-CAPACITY:])


class EpisodeRing(Ring):
    """The same, episodes of two environments at a time."""

    add_both = staticmethod(jax.jit(ring_buffer.add_episodes))

    def add(self, state, groups):
        """All at once."""
        return self.add_both(state, jnp.int32(rows(groups)), jnp.int32([len(group) for group in groups]))


class RankedRing(Ring):
    """The ring of played policies, which prefers the newest."""

    config = config_of("udrlpg").replace(store="ring", capacity=CAPACITY, recency_exponent=0.7, batch_size=DRAWS)
    draw = staticmethod(jax.jit(lambda key, state: store.sample(key, state, RankedRing.config)[0][:, 0]))

    def empty(self):
        """A policy is its number."""
        return store.init_store(self.config, 1)

    def add(self, state, groups):
        """Returns do not matter."""
        numbers = np.concatenate(groups)
        blank = np.zeros(len(numbers))
        played = store.PlayedPolicies(numbers[:, None].astype(np.float32), blank, blank.astype(int), blank > 0)
        return store.add_to_store(state, played)

    def law(self, history):
        """By a power of the rank, 1 for the newest."""
        kept = list(super().law(history))[::-1]
        shares = np.arange(1.0, len(kept) + 1) ** -0.7
        return dict(zip(kept, shares / shares.sum(), strict=True))


class Buckets(RankedRing):
    """The best buckets of played policies; a number's bucket follows from the number."""

    config = config_of("udrlpg").replace(num_buckets_kept=3, bucket_size=2, rank_weight=0.4, batch_size=DRAWS)
    draw = staticmethod(jax.jit(lambda key, state: store.sample(key, state, Buckets.config)[0][:, 0]))

    def add(self, state, groups):
        """The oldest of a full bucket makes room."""
        for number in np.concatenate(groups):
            bucket = np.array([number * 5 % 7])
            played = store.PlayedPolicies(jnp.float32([[number]]), jnp.zeros(1), bucket, np.ones(1, bool))
            state = store.add_to_store(state, played)
        return state

    def law(self, history):
        """By the rank of the bucket; alike within."""
        buckets = {}
        for number in (x for groups in history for group in groups for x in group):
            buckets[number * 5 % 7] = [*buckets.get(number * 5 % 7, []), number][-2:]
        best = sorted(buckets)[-3:]
        shares = np.exp(0.4 * np.arange(len(best)))
        pairs = zip(best, shares / shares.sum(), strict=True)
        return {number: share / len(buckets[bucket]) for bucket, share in pairs for number in buckets[bucket]}


class Windows:
    """The replay of windows, whose present is the number; the last row of an episode starts none."""

    empty = staticmethod(lambda: window_replay.init(jnp.int32(0), jnp.int32(0), capacity=CAPACITY))
    draw = staticmethod(jax.jit(lambda key, state: state.obs[window_replay.draw(key, state.weight, (DRAWS,))]))
    add_one = staticmethod(jax.jit(window_replay.add))

    def add(self, state, groups):
        """An episode after the other."""
        for group, column in zip(groups, rows(groups).T, strict=True):
            obs = jnp.int32(np.append(column, -1))
            state = self.add_one(state, obs, obs, jnp.zeros(STEPS + 1), jnp.int32(len(group)), jnp.bool_(True))
        return state

    def law(self, history):
        """All alike whose row is not overwritten yet."""
        written = [x for groups in history for group in groups for x in (*group, None)]
        return uniform([x for x in written[-CAPACITY:] if x is not None])


@pytest.mark.parametrize("kind", [Ring, EpisodeRing, RankedRing, Buckets, Windows])
def test_draws_follow_the_law_of_what_is_stored(kind):
    """After every addition; nothing that was forgotten comes back, and nothing that was never stored is drawn."""
    replay, history, first = kind(), [], 0
    state, forgotten = replay.empty(), set()
    for i, lengths in enumerate(LENGTHS):
        ends = first + np.cumsum(lengths)
        history.append([list(range(end - n, end)) for end, n in zip(ends, lengths, strict=True)])
        first = int(ends[-1])
        state, law = replay.add(state, history[-1]), replay.law(history)
        numbers, often = np.unique(np.asarray(replay.draw(jax.random.key(i), state)).astype(int), return_counts=True)
        assert set(numbers) == set(law) and not set(law) & forgotten
        expected = DRAWS * np.array([law[number] for number in numbers])
        assert np.all(np.abs(often - expected) < 5 * np.sqrt(expected)), (numbers, often, expected)
        forgotten |= set(range(first)) - set(law)
    assert len(forgotten) >= first - CAPACITY > 10
