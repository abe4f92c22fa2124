"""Fingerprints of vectors, and how many of them are equal."""

import collections
import itertools

import jax
import numpy as np
import pytest

from rgrl_jax.algos.rgrl.fingerprints import count_equal, fingerprint


def test_fingerprints_see_every_entry_and_its_place():
    """Single changes and swaps anywhere in a long vector of -1/+1 change both words."""
    rng = np.random.default_rng(0)
    base = rng.choice([-1.0, 1.0], 300).astype(np.float32)
    flips = base * (1 - 2 * np.eye(300, dtype=np.float32))
    pairs = [(i, j) for i, j in itertools.pairwise(range(300)) if base[i] != base[j]]
    swaps = np.stack([flips[i] * flips[j] * base for i, j in pairs])
    words = np.asarray(jax.vmap(fingerprint)(np.concatenate([base[None], flips, swaps])))
    assert words.dtype == np.uint32
    assert len(np.unique(words[:, 0])) == len(np.unique(words[:, 1])) == len(words)


def test_fingerprints_of_equal_vectors_are_equal():
    """Whatever program computes them; float64 counts as the float32 that it rounds to."""
    values = np.random.default_rng(1).normal(size=(5, 40))
    batch = jax.jit(jax.vmap(fingerprint))(values.astype(np.float32))
    np.testing.assert_array_equal(batch, [fingerprint(row) for row in values])


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_equal_fingerprints_are_counted_as_by_a_loop(rows):
    """Among those of the same validity, where one of the two words may be equal by chance."""
    rng = np.random.default_rng(rows)
    prints, valid = rng.integers(0, 4, (rows, 2)).astype(np.uint32), rng.random(rows) < 0.7
    known = [(*words, ok) for words, ok in zip(prints.tolist(), valid.tolist(), strict=True)]
    counts = collections.Counter(known)
    np.testing.assert_array_equal(jax.jit(count_equal)(prints, valid), [counts[x] for x in known])
