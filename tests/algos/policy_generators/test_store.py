"""The store: what buckets and ring hold, and how it is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.policy_generators.twins import commands_between, small

from rgrl_jax.algos.policy_generators import store

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
SAMPLE, CHANCES = jax.jit(store.sample), jax.jit(store.probabilities)


@jax.jit
def KEEP(there, policies, returns, replaces, config):  # noqa: N802 - a program like those above
    """Adds policies that may replace others or may not."""
    number = store.bucket_number(returns, config)
    return store.add_to_store(there, store.PlayedPolicies(policies, returns, number, replaces))


class BucketTwin:
    """Endless buckets as a dictionary of lists, of which only the best count."""

    def __init__(self, config):
        self.config, self.buckets = config, {}

    def write(self, tag, value):
        """Into its bucket, if there is room."""
        low, high = commands_between(self.config)
        part = np.float32(max(value, low) - low) / np.float32(high - low)
        number = max(int(np.ceil(np.float32(part) * np.float32(self.config.num_buckets))) - 1, 0)
        if self.config.overflow_bucket == "clamp":
            number = min(number, self.config.num_buckets - 1)
        there = self.buckets.setdefault(number, [])
        if len(there) < self.config.bucket_size:
            there.append((tag, value))
        elif self.config.when_full == "replace":
            self.buckets[number] = [*there[1:], (tag, value)]

    def best(self):
        """Numbers of those that count."""
        return sorted(self.buckets)[-self.config.num_buckets_kept :]


@pytest.mark.parametrize("overflow", ["append", "clamp"])
@pytest.mark.parametrize("when_full", ["reject", "replace"])
@pytest.mark.parametrize("kept", [40, 4])
def test_buckets_hold_what_endless_ones_would(when_full, overflow, kept):
    """Random returns, below the range and far above it; contents and chances after every ten."""
    scale = {"num_buckets": 10, "return_low": -1.0, "return_high": 3.0}
    config = small(when_full=when_full, overflow_bucket=overflow, num_buckets_kept=kept, **scale)
    there, twin = store.init_store(config, 1), BucketTwin(config)
    values = np.float32(RNG.normal(2.0, 1.5, 80) + np.linspace(-3, 1, 80))
    replaces = jnp.full(10, when_full == "replace")
    for start in range(0, 80, 10):
        rows = slice(start, start + 10)
        there = KEEP(there, np.float32(np.arange(80))[rows, None], values[rows], replaces, config)
        for tag in range(start, start + 10):
            twin.write(tag, values[tag])
        best = twin.best()
        assert sorted(int(x) for x in there.number if x >= 0) == best
        for weight in (0.3, 0.0):
            chances = np.asarray(CHANCES(there, config.replace(rank_weight=weight)))
            logits = weight * np.arange(len(best))
            expected = dict(zip(best, np.exp(logits) / np.exp(logits).sum(), strict=True))
            for number, chance in zip(np.asarray(there.number).tolist(), chances, strict=True):
                assert chance == pytest.approx(expected.get(number, 0.0), rel=1e-4)
        for at, number in enumerate(np.asarray(there.number).tolist()):
            if number >= 0:
                filled = min(int(there.written[at]), 2)
                found = [np.asarray(x)[at, :filled].ravel() for x in (there.policies, there.returns)]
                assert sorted(zip(*found, strict=True)) == sorted(twin.buckets[number])
        assert int(store.count_policies(there)) == sum(len(twin.buckets[number]) for number in best)


def test_who_may_take_a_place():
    """With select: who was made for less than the target, or is at least in the bucket that was commanded."""
    config = small(when_full="select", num_buckets=10, return_low=0.0, return_high=100.0)
    returns = jnp.float32([5.0, 30.5, 39.0, 41.0, 99.0])
    for target, command, expected in (
        (39.5, 39.5, [0, 1, 1, 1, 1]),  # the bucket from 30 to 40 is good enough
        (40.5, 39.5, [1, 1, 1, 1, 1]),  # it was made for less than it was to look for
        (40.5, 40.5, [0, 0, 0, 1, 1]),
        (39.5, 20.0, [1, 1, 1, 1, 1]),
    ):
        found = store.may_replace(returns, jnp.float32(command), jnp.float32(target), config)
        assert found.tolist() == list(map(bool, expected))
    for when_full in ("reject", "replace"):
        changed = config.replace(when_full=when_full)
        alike = store.may_replace(returns, jnp.float32(1.0), jnp.float32(2.0), changed)
        assert alike.tolist() == [when_full == "replace"] * 5


def test_each_policy_has_its_own_right_to_a_place():
    """Three for a bucket of two that is full: who may takes the place of the oldest, the others are turned away."""
    config = small(num_buckets=1, num_buckets_kept=1, return_low=0.0, return_high=10.0)
    tags, values = jnp.arange(5.0)[:, None], jnp.arange(1.0, 6.0)
    found = KEEP(store.init_store(config, 1), tags, values, jnp.array([False, False, False, True, False]), config)
    assert sorted(found.policies.ravel().tolist()) == [1.0, 3.0]


def test_what_was_lost_can_hardly_be_drawn():
    """The kept 64 of 800 full buckets have all chances but e^-19; the best has a quarter."""
    full = store.Buckets(jnp.zeros((800, 2, 1)), jnp.zeros((800, 2)), jnp.arange(800), jnp.full(800, 2))
    chances = np.asarray(CHANCES(full, small(rank_weight=0.3)), np.float64)
    assert chances[:-64].sum() < np.exp(-19) and chances[-1] == pytest.approx(1 - np.exp(-0.3), rel=1e-4)


def test_the_ring_forgets_the_oldest():
    config, twin = small(store="ring"), []
    there = store.init_store(config, 1)
    for start in range(0, 15, 3):
        tags = jnp.arange(start, start + 3.0)
        there = KEEP(there, tags[:, None], 10 * tags, jnp.zeros(3, bool), config)
        twin = (twin + list(range(start, start + 3)))[-7:]
        for exponent in (1.1, 0.0):
            shares = np.arange(1, len(twin) + 1.0) ** -exponent
            expected = dict(zip(reversed(twin), shares / shares.sum(), strict=True))
            chances = np.asarray(CHANCES(there, config.replace(recency_exponent=exponent)))
            assert int(store.count_policies(there)) == len(twin) == np.count_nonzero(chances)
            for tag, chance in zip(np.asarray(there.items[0])[:, 0].tolist(), chances, strict=True):
                assert chance == pytest.approx(expected.get(tag, 0.0) if chance else 0.0, rel=1e-4)
    np.testing.assert_array_equal(there.items[1], 10 * there.items[0][:, 0])


@pytest.mark.parametrize("kind", ["buckets", "ring"])
def test_draws_follow_the_chances(kind):
    """Policies come with their own returns; within a bucket all have the same chance, and empty places have none."""
    config = small(
        store=kind, return_low=0.0, return_high=10.0, num_buckets=10, num_buckets_kept=5, recency_exponent=0.5
    )
    values = jnp.float32([0.5, 4.5, 4.6, 9.5])
    there = KEEP(store.init_store(config, 1), jnp.arange(4.0)[:, None], values, jnp.zeros(4, bool), config)
    policies, returns = SAMPLE(KEY, there, config.replace(batch_size=20_000))
    tags = np.asarray(policies)[:, 0].astype(int)
    np.testing.assert_array_equal(returns, values[tags])
    shares = np.exp(0.3 * np.arange(3)) / np.exp(0.3 * np.arange(3)).sum()
    expected = [shares[0], shares[1] / 2, shares[1] / 2, shares[2]]
    if kind == "ring":
        expected = np.arange(4, 0, -1.0) ** -0.5 / (np.arange(4, 0, -1.0) ** -0.5).sum()
    np.testing.assert_allclose(np.bincount(tags, minlength=4) / 20_000, expected, atol=0.015)
