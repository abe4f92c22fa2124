"""The ring buffer against a list."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax import ring_buffer

ADD_EPISODES = jax.jit(ring_buffer.add_episodes)
SAMPLE = jax.jit(ring_buffer.sample, static_argnums=2)
SAMPLE_WITH_EPISODES = jax.jit(ring_buffer.sample_with_episodes, static_argnums=4)


def items_of(numbers):
    """Items that carry their number in every leaf."""
    x = jnp.asarray(numbers, jnp.float32)
    return {"vector": x[..., None] * jnp.ones(2), "number": x, "odd": x % 2 == 1, "empty": jnp.zeros((*x.shape, 0))}


def empty(capacity):
    return ring_buffer.init(jax.tree.map(lambda x: x[0], items_of([0])), capacity)


def assert_uniform(drawn, numbers):
    """All these numbers were drawn, no others, each about as often; and items are whole."""
    found, often = np.unique(drawn["number"], return_counts=True)
    assert found.tolist() == sorted(numbers)
    share = often.sum() / len(found)
    assert np.all(np.abs(often - share) < 5 * np.sqrt(share))
    np.testing.assert_array_equal(drawn["vector"], drawn["number"][:, None] * np.ones(2))
    np.testing.assert_array_equal(drawn["odd"], drawn["number"] % 2 == 1)


def test_the_newest_are_kept():
    buffer, known = empty(7), []
    for first, count in ((0, 3), (3, 1), (4, 7), (11, 2)):
        known = (known + list(range(first, first + count)))[-7:]
        buffer = ring_buffer.add(buffer, items_of(known[-count:]))
        assert int(ring_buffer.size(buffer)) == len(known)
        newest_first = np.argsort(ring_buffer.ages(buffer))[: len(known)]
        assert np.asarray(buffer.items["number"])[newest_first].tolist() == known[::-1]
        assert np.all(np.sort(ring_buffer.ages(buffer)) == np.arange(7))
        assert_uniform(SAMPLE(jax.random.key(first), buffer, 2000), known)
    assert ring_buffer.capacity(buffer) == 7 and int(buffer.written) == 13


def test_rows_can_have_probabilities_of_their_own():
    buffer = ring_buffer.add(empty(5), items_of([0, 1, 2]))
    p = jnp.array([0.0, 0.25, 0.75, 0.0, 0.0])
    drawn = np.asarray(SAMPLE(jax.random.key(0), buffer, 4000, p)["number"])
    assert set(drawn) == {1, 2} and abs((drawn == 2).mean() - 0.75) < 0.05


def test_episodes_are_written_one_after_the_other():
    """Of two environments, more than fit; those under way are drawn as if they had been written already."""
    buffer, known, number = empty(12), [], itertools.count()
    for lengths in ((3, 4), (1, 5), (5, 2), (2, 4)):
        grid = -np.ones((5, 2))
        for lane, length in enumerate(lengths):
            grid[:length, lane] = [next(number) for _ in range(length)]
        steps, length = items_of(grid), jnp.asarray(lengths)
        known = (known + [x for lane in range(2) for x in grid[: lengths[lane], lane]])[-12:]
        assert_uniform(SAMPLE_WITH_EPISODES(jax.random.key(len(known)), buffer, steps, length, 4000), known)
        buffer = ADD_EPISODES(buffer, steps, length)
        assert sorted(np.asarray(buffer.items["number"])[: int(ring_buffer.size(buffer))]) == known
