"""Replay against a plain-Python twin: a list of episodes, of which the last ``C`` rows are remembered."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rgrl_jax.algos.rgrl import window_replay as replay
from rgrl_jax.algos.rgrl.codec import make_codec
from rgrl_jax.algos.rgrl.window_replay import Window, WindowShape
from rgrl_jax.types import Box, Discrete

LONGEST = 5  # steps of the longest episode in these tests
PARTS = ("history states", "history actions", "present", "actions", "rewards", "states")


class Played(NamedTuple):
    """One episode: ``n + 1`` observations, ``n`` actions and ``n + 1`` rewards, the last for steps past the end."""

    obs: list[float]
    action: list[int]
    reward: list[float]
    terminated: bool


class Twin:
    """The replay as lists, written without a ring, masks or padding of arrays."""

    def __init__(self, capacity: int, history_length: int, horizon: int):
        self.capacity, self.history_length, self.horizon = capacity, history_length, horizon
        self.episodes: list[Played] = []
        self.written: list[tuple[int, int]] = []  # (episode, row) in the order of writing

    def add(self, episode: Played) -> None:
        """Writes one row per observation."""
        self.written += [(len(self.episodes), row) for row in range(len(episode.obs))]
        self.episodes.append(episode)

    def place(self, episode: int, row: int) -> int:
        """Index in the ring."""
        return self.written.index((episode, row)) % self.capacity

    def starts(self) -> list[tuple[int, int]]:
        """Windows that can start: every remembered row that an action was taken in."""
        return [(e, row) for e, row in self.written[-self.capacity :] if row < len(self.episodes[e].action)]

    def window(self, episode: int, row: int) -> list[np.ndarray]:
        """The six encoded components in the order of ``PARTS``, and the mask."""
        obs, action, reward, terminated = self.episodes[episode]
        n, kept = len(action), set(self.written[-self.capacity :])
        before = range(row - self.history_length, row)
        states, actions, rewards, mask = [], [], [], []
        for i in range(row, row + self.horizon):
            states.append(_state(obs[min(i + 1, n)], terminated and i + 1 >= n))
            actions.append(_action(action[i]) if i < n else [0.0, 0.0])
            rewards.append([2 * reward[min(i, n)] / 10 - 1])
            mask.append(1.0 if i < n or terminated else 0.0)
        return [
            _table([_state(obs[i], False) if (episode, i) in kept else [-1.0, -1.0] for i in before]),
            _table([_action(action[i]) if (episode, i) in kept else [-1.0, -1.0] for i in before]),
            np.array(_state(obs[row], False)),
            _table(actions),
            np.array(rewards),
            _table(states),
            np.array(mask),
        ]


def _state(obs: float, done: bool) -> list[float]:
    return [2 * obs / 100 - 1, 1.0 if done else -1.0]


def _action(action: int) -> list[float]:
    return [1.0, -1.0] if action == 0 else [-1.0, 1.0]


def _table(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 2)


DEDUPE = ["none", "window", "components"]
CODEC = make_codec(Box(0.0, 100.0, ()), Discrete(2), (0.0, 10.0))
ADD = jax.jit(replay.add, static_argnames="padding")
BALANCE = jax.jit(lambda state: replay.balance(state, CODEC))
NOVELTY = jax.jit(lambda state, discount: replay.novelty(state, CODEC, discount))


@functools.cache
def _all_windows(history_length: int, horizon: int, padding: int = 0) -> Callable[..., Window]:
    """The windows from every row of a state, with novelty if it is given, compiled once per shape."""

    def gather(state: replay.ReplayState, novelty: jax.Array | None = None) -> Window:
        rows = jnp.arange(state.weight.shape[0])
        shape = WindowShape(CODEC, history_length, horizon, padding)
        return jax.vmap(lambda row: replay.window(state, row, shape, novelty))(rows)

    return jax.jit(gather)


@functools.cache
def _dropper(history_length: int, horizon: int) -> Callable[[replay.ReplayState, int], replay.ReplayState]:
    """``drop_duplicates``, compiled once per shape."""

    def drop(state: replay.ReplayState, length: int) -> replay.ReplayState:
        first = (state.cursor - length - 1) % state.weight.shape[0]
        return replay.drop_duplicates(state, first, length, WindowShape(CODEC, history_length, horizon))

    return jax.jit(drop)


def _empty(capacity: int, dedupe: str = "none") -> replay.ReplayState:
    return replay.init(jnp.float32(0), jnp.int32(0), capacity=capacity, dedupe=dedupe)


def _add(state: replay.ReplayState, episode: Played) -> replay.ReplayState:
    """Adds an episode from a buffer of ``LONGEST + 1`` rows with rubbish after its end."""
    n, rubbish = len(episode.action), 77
    obs = np.full(LONGEST + 1, rubbish, np.float32)
    action = np.ones(LONGEST + 1, np.int32)
    reward = np.full(LONGEST + 1, rubbish, np.float32)
    obs[: n + 1], action[:n], reward[: n + 1] = episode.obs, episode.action, episode.reward
    return ADD(state, obs, action, reward, np.int32(n), np.bool_(episode.terminated))


def _fill(capacity: int, history_length: int, horizon: int, episodes: list[Played]) -> tuple[Any, Twin]:
    """The replay and its twin after the same episodes."""
    state, twin = _empty(capacity), Twin(capacity, history_length, horizon)
    for episode in episodes:
        state = _add(state, episode)
        twin.add(episode)
    return state, twin


def _window(state: replay.ReplayState, row: int, history_length: int, horizon: int) -> Window:
    return jax.tree.map(lambda x: np.asarray(x)[row], _all_windows(history_length, horizon)(state))


def _components(window: Window) -> list[np.ndarray]:
    parts = (*window.history, window.present, window.actions, window.rewards, window.states, window.mask)
    return [np.asarray(part) for part in parts]


def _assert_windows_equal(state: replay.ReplayState, twin: Twin) -> None:
    """Every window that the twin can start equals the one that the replay gathers."""
    table = _components(_all_windows(twin.history_length, twin.horizon)(state))
    for start in twin.starts():
        place = twin.place(*start)
        for name, ours, theirs in zip((*PARTS, "mask"), table, twin.window(*start), strict=True):
            np.testing.assert_allclose(ours[place], theirs, atol=1e-5, err_msg=f"{name} of the window at {start}")


@st.composite
def _episodes(draw: st.DrawFn, most: int = 7) -> list[Played]:
    """Episodes whose every observation is another number, so that a mix-up cannot go unseen."""
    shapes = draw(st.lists(st.tuples(st.integers(1, LONGEST), st.booleans()), min_size=1, max_size=most))
    episodes, clock = [], itertools.count()
    for n, terminated in shapes:
        action = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
        reward = draw(st.lists(st.integers(0, 10), min_size=n + 1, max_size=n + 1))
        episodes.append(Played([float(next(clock)) for _ in range(n + 1)], action, reward, terminated))
    return episodes


@pytest.mark.parametrize(
    ("capacity", "history_length", "horizon"), [(LONGEST + 1, 0, 1), (8, 2, 3), (13, 3, 7), (64, 1, 2)]
)
@given(episodes=_episodes())
@settings(max_examples=30, deadline=None)
def test_windows_equal_the_twin(capacity: int, history_length: int, horizon: int, episodes: list[Played]) -> None:
    """Contents and starts: nothing crosses an episode, padding is virtual, the ring forgets its oldest rows."""
    state, twin = _fill(capacity, history_length, horizon, episodes)
    drawable = sorted(twin.place(*start) for start in twin.starts())
    assert np.flatnonzero(state.weight).tolist() == drawable
    assert int(replay.num_windows(state)) == len(drawable)
    assert int(state.cursor) == len(twin.written) % capacity
    assert int(state.episodes) == len(episodes)
    _assert_windows_equal(state, twin)


@pytest.mark.parametrize("capacity", [LONGEST + 1, 9])
@given(episodes=_episodes(most=10))
@settings(max_examples=30, deadline=None)
def test_a_start_outlives_no_later_row(capacity: int, episodes: list[Played]) -> None:
    """After any number of laps, each drawable row still reaches its own episode's end inside the ring."""
    state, _ = _fill(capacity, 0, 1, episodes)
    episode, steps_left = np.asarray(state.episode), np.asarray(state.steps_left)
    for row in np.flatnonzero(state.weight):
        ahead = (row + np.arange(steps_left[row] + 1)) % capacity
        assert np.all(episode[ahead] == episode[row])
        np.testing.assert_array_equal(steps_left[ahead], np.arange(steps_left[row], -1, -1))
        assert steps_left[row] >= 1


@pytest.mark.parametrize("capacity", [LONGEST + 1, LONGEST + 2])
def test_history_does_not_wrap_round_the_ring(capacity: int) -> None:
    """Where one episode (nearly) fills the ring, what stands before its first row is its own end, not its past."""
    episode = Played([10.0, 11.0, 12.0, 13.0, 14.0, 15.0], [0, 1, 0, 1, 0], [1.0] * 6, True)
    _assert_windows_equal(*_fill(capacity, 3, 2, [episode]))
    short = Played([20.0, 21.0], [1], [2.0, 0.0], False)
    _assert_windows_equal(*_fill(capacity, 3, 2, [episode, short]))


TERMINATED = Played([10.0, 20.0, 30.0, 40.0], [0, 1, 1], [1.0, 2.0, 3.0, 9.0], True)
DONE = [-0.2, 1.0]  # 40 of 0..100, done


def test_padding_after_a_true_end() -> None:
    """Final state with the done block, the final row's reward, idle actions, and every step counts."""
    state, _ = _fill(8, 0, 4, [TERMINATED])
    window = _window(state, 1, 0, 4)
    np.testing.assert_allclose(window.present, [-0.6, -1], atol=1e-6)
    np.testing.assert_allclose(window.states, [[-0.4, -1], DONE, DONE, DONE], atol=1e-6)
    np.testing.assert_allclose(window.rewards[:, 0], [2 * r / 10 - 1 for r in (2, 3, 9, 9)], atol=1e-6)
    np.testing.assert_array_equal(window.actions, [[-1, 1], [-1, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(window.mask, [1, 1, 1, 1])


def test_padding_after_a_time_limit() -> None:
    """The same without a done block, and steps past the limit do not count."""
    state, _ = _fill(8, 0, 4, [TERMINATED._replace(terminated=False)])
    window = _window(state, 1, 0, 4)
    np.testing.assert_allclose(window.states, [[-0.4, -1]] + [[-0.2, -1]] * 3, atol=1e-6)
    np.testing.assert_array_equal(window.mask, [1, 1, 0, 0])


def test_smallest_replay() -> None:
    """One step and two rows: every episode takes the place of the one before."""
    state = replay.init(jnp.float32(0), jnp.int32(0), capacity=2)
    for value in (10.0, 30.0, 70.0):
        obs, reward = jnp.array([value, value + 10]), jnp.array([value / 10, 0.0])
        state = ADD(state, obs, jnp.array([1, 0]), reward, jnp.int32(1), jnp.bool_(True))
        assert np.asarray(state.weight).tolist() == [1, 0]
        assert set(np.asarray(replay.draw(jax.random.key(0), state.weight, (50,)))) == {0}
        window = _window(state, 0, 0, 1)
        np.testing.assert_allclose(window.present, [2 * value / 100 - 1, -1], atol=1e-6)
        np.testing.assert_allclose(window.states, [[2 * (value + 10) / 100 - 1, 1]], atol=1e-6)
        np.testing.assert_allclose(window.rewards, [[2 * value / 100 - 1]], atol=1e-6)


def test_an_empty_replay_has_no_windows() -> None:
    """Nothing can be drawn before the first episode."""
    state = _empty(8)
    assert int(replay.num_windows(state)) == 0
    assert np.all(np.asarray(state.episode) == -1)


def test_new_windows_get_the_greatest_weight() -> None:
    """A new window weighs as much as the heaviest known one, and 1 in an empty replay."""
    state = _add(_empty(12), TERMINATED)
    assert np.asarray(state.weight)[:4].tolist() == [1, 1, 1, 0]
    state = _add(state.replace(weight=state.weight.at[:3].set(jnp.array([0.25, 7.5, 0.0]))), TERMINATED)
    assert np.asarray(state.weight)[:8].tolist() == [0.25, 7.5, 0, 0, 7.5, 7.5, 7.5, 0]


def test_padded_actions_are_noise_past_the_end_only() -> None:
    """Observed actions stay; past the end they are uniform in -1..1."""
    state, _ = _fill(8, 0, 4, [TERMINATED])
    keys = jax.random.split(jax.random.key(0), 2000)
    actions = np.full((4, 2), 5.0, np.float32)
    noisy = np.asarray(jax.vmap(lambda k: replay.randomize_padded_actions(k, state, jnp.int32(2), actions))(keys))
    assert np.all(noisy[:, :1] == 5.0)
    past = noisy[:, 1:].reshape(len(keys), -1)
    assert stats.kstest(past.ravel(), "uniform", (-1, 2)).pvalue > 1e-3
    assert np.abs(np.corrcoef(past.T) - np.eye(past.shape[1])).max() < 0.1


GRID = np.arange(2**23, dtype=np.float32) / 2**23
"""Every number that the generator of float32 can give."""
DRAW_EVERYWHERE = jax.jit(lambda weight, grid: replay.draw(jax.random.key(0), weight, grid.shape))


def _exact_counts(weight: np.ndarray) -> np.ndarray:
    """How often each row is drawn when every number of the grid comes up once."""
    padded = np.zeros(max(8, len(weight)), np.float32)  # so that programs of few lengths are compiled
    padded[: len(weight)] = weight
    with mock.patch.object(jax.random, "uniform", lambda key, shape: jnp.asarray(GRID)):
        rows = DRAW_EVERYWHERE(padded, GRID)
    return np.bincount(np.asarray(rows), minlength=len(weight))


@pytest.mark.parametrize(
    "weight",
    [[1, 1, 1, 1], [1, 1, 1], [0, 1, 0, 0, 1, 1, 1, 0], [0, 0, 1], [1, 2, 0, 5, 0.25, 0], [1e-3, 0, 1e3]],
    ids=str,
)
def test_drawing_is_exact(weight: list[float]) -> None:
    """The inverse CDF, over all numbers that the generator can give: in proportion to weight, 0 never."""
    counts = _exact_counts(np.array(weight))
    assert len(counts) == len(weight), "rows of weight 0 behind the others are not drawn either"
    representable = np.log2(sum(weight)).is_integer()  # else products are rounded, and a few draws shift by one row
    np.testing.assert_allclose(counts, 2**23 * np.array(weight) / sum(weight), rtol=0, atol=0 if representable else 3)
    assert np.all(counts[np.array(weight) == 0] == 0)


@pytest.mark.parametrize("seed", range(2))
def test_weight_zero_is_never_drawn(seed: int) -> None:
    """Nor in a long replay of uneven priorities, where a running sum in float32 rounds."""
    rng = np.random.default_rng(seed)
    weight = np.where(rng.random(1000) < 0.6, rng.random(1000) ** 4, 0.0).astype(np.float32)
    drawn = _exact_counts(weight) > 0
    assert np.flatnonzero(drawn & (weight == 0)).tolist() == []


def test_draws_of_a_key_are_uniform() -> None:
    """Chi-square over the windows of a replay with gaps, with the real generator; the shape is the one asked for."""
    state, twin = _fill(13, 0, 1, [TERMINATED, TERMINATED._replace(terminated=False), TERMINATED])
    rows = replay.draw(jax.random.key(1), state.weight, (40, 1000))
    assert (rows.shape, rows.dtype) == ((40, 1000), jnp.int32)
    counts = np.bincount(np.asarray(rows).ravel(), minlength=13)
    drawable = sorted(twin.place(*start) for start in twin.starts())
    assert counts[drawable].sum() == rows.size
    assert stats.chisquare(counts[drawable]).pvalue > 1e-3


EVICT = jax.jit(replay.evict, static_argnums=2)


@pytest.mark.parametrize("most", [1, 3, 6, 20])
@given(weight=st.lists(st.sampled_from([0.0, 0.5, 1.0, 8.0]), min_size=8, max_size=8), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_eviction_keeps_exactly_the_allowed_number(most: int, weight: list[float], seed: int) -> None:
    """``min(windows, most)`` windows stay, with their weights; nothing that was 0 comes back."""
    state = _empty(8).replace(weight=jnp.array(weight))
    kept = np.asarray(EVICT(jax.random.key(seed), state, most).weight)
    assert np.count_nonzero(kept) == min(np.count_nonzero(weight), most)
    assert np.all((kept == 0) | (kept == weight))


def test_eviction_keeps_every_subset_with_equal_probability() -> None:
    """Chi-square over the ten triples of five windows of unequal weights."""
    state = _empty(8).replace(weight=jnp.array([0.1, 0, 1.0, 0, 3.0, 3.0, 50.0, 0]))
    keys = jax.random.split(jax.random.key(2), 5000)
    kept = np.asarray(jax.jit(jax.vmap(lambda k: replay.evict(k, state, 3).weight))(keys)) > 0
    subsets, counts = np.unique(kept, axis=0, return_counts=True)
    assert len(subsets) == 10
    assert stats.chisquare(counts).pvalue > 1e-3


class DedupeTwin(Twin):
    """A twin that also keeps the windows it has stored, as six byte strings each."""

    def __init__(self, capacity: int, history_length: int, horizon: int, dedupe: str):
        super().__init__(capacity, history_length, horizon)
        self.dedupe, self.stored = dedupe, {}

    def add(self, episode: Played) -> None:
        """Writes the episode, then keeps each of its windows in turn unless it is known."""
        super().add(episode)
        newest = len(self.episodes) - 1
        remembered = set(super().starts())
        self.stored = {start: parts for start, parts in self.stored.items() if start in remembered}
        for row in range(len(episode.action)):
            parts = self.window(newest, row)[:6]
            parts = [part.astype(np.float32).tobytes() for part in parts]
            known = [set(column) for column in zip(*self.stored.values(), strict=True)] or [set()] * 6
            seen = {
                "none": False,
                "window": parts in self.stored.values(),
                "components": all(part in column for part, column in zip(parts, known, strict=True)),
            }
            if not seen[self.dedupe]:
                self.stored[newest, row] = parts

    def starts(self) -> list[tuple[int, int]]:
        """The windows that were kept."""
        return list(self.stored)


@st.composite
def _repetitive_episodes(draw: st.DrawFn) -> list[Played]:
    """Episodes over three observations, two of them alike, two actions and two rewards: full of duplicates."""
    episodes = []
    for n in draw(st.lists(st.integers(1, LONGEST), min_size=2, max_size=6)):
        obs = draw(st.lists(st.sampled_from([0.0, 1.0, 100.0]), min_size=n + 1, max_size=n + 1))
        action = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
        reward = draw(st.lists(st.sampled_from([0.0, 10.0]), min_size=n + 1, max_size=n + 1))
        episodes.append(Played(obs, action, reward, draw(st.booleans())))
    return episodes


def _fill_deduped(
    capacity: int, history_length: int, horizon: int, dedupe: str, episodes: list[Played]
) -> tuple[replay.ReplayState, DedupeTwin]:
    state, twin = _empty(capacity, dedupe), DedupeTwin(capacity, history_length, horizon, dedupe)
    for episode in episodes:
        state = _dropper(history_length, horizon)(_add(state, episode), len(episode.action))
        twin.add(episode)
    return state, twin


@pytest.mark.parametrize("dedupe", ["window", "components"])
@pytest.mark.parametrize(("capacity", "history_length", "horizon"), [(64, 0, 2), (10, 2, 1)])
@given(episodes=_repetitive_episodes())
@settings(max_examples=30, deadline=None)
def test_duplicates_equal_the_twin(
    dedupe: str, capacity: int, history_length: int, horizon: int, episodes: list[Played]
) -> None:
    """The kept windows are those of a twin that compares the encoded arrays themselves."""
    state, twin = _fill_deduped(capacity, history_length, horizon, dedupe, episodes)
    assert np.flatnonzero(state.weight).tolist() == sorted(twin.place(*start) for start in twin.starts())


def test_the_two_laws_of_duplicates_differ() -> None:
    """A window made of known components in a new combination is a duplicate by components only."""
    low, high = 0.0, 100.0
    episodes = [
        Played([low, low], [0], [0.0, 0.0], False),
        Played([high, low], [1], [0.0, 0.0], False),
        Played([low, low], [1], [0.0, 0.0], False),
    ]
    kept = {law: int(replay.num_windows(_fill_deduped(64, 0, 2, law, episodes)[0])) for law in DEDUPE}
    assert kept == {"none": 3, "window": 3, "components": 2}


@pytest.mark.parametrize("dedupe", ["window", "components"])
def test_a_forgotten_window_is_no_duplicate(dedupe: str) -> None:
    """Only windows that can be drawn count as known: an evicted one may come again."""
    episode = Played([0.0, 100.0], [0], [10.0, 0.0], True)
    state = _fill_deduped(64, 0, 2, dedupe, [episode])[0]
    for forget, windows in ((False, 1), (True, 1)):
        known = state.replace(weight=jnp.zeros(64)) if forget else state
        again = _dropper(0, 2)(_add(known, episode), 1)
        assert int(replay.num_windows(again)) == windows
        assert bool(again.weight[2] > 0) == forget


@pytest.mark.parametrize("dedupe", ["window", "components"])
def test_new_windows_keep_the_greatest_weight_through_dedupe(dedupe: str) -> None:
    """What ``add`` gave a window that is not a duplicate stays with it."""
    state = _fill_deduped(64, 0, 2, dedupe, [Played([0.0, 100.0], [0], [10.0, 0.0], True)])[0]
    state = state.replace(weight=state.weight * 6)
    state = _dropper(0, 2)(_add(state, TERMINATED), 3)
    assert np.asarray(state.weight)[:6].tolist() == [6, 0, 6, 6, 6, 0]


PADDING = 3


@pytest.mark.parametrize("terminated", [True, False])
def test_steps_after_the_end_equal_a_loop(terminated: bool) -> None:
    """Those recorded behind a true end are read, done and all of them known; behind a time limit there are none."""
    n, horizon = 3, 7
    last = n + PADDING if terminated else n
    obs, reward = np.arange(10.0, 80.0, 10.0), np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    action = np.array([0, 1, 1, 0, 0, 1, 0])
    state = ADD(_empty(12), np.float32(obs), np.int32(action), np.float32(reward), n, terminated, padding=PADDING)
    assert np.flatnonzero(state.weight).tolist() == list(range(n))
    assert int(state.cursor) == last + 1
    windows = _all_windows(0, horizon, PADDING)(state)
    for start in range(n):
        window = jax.tree.map(lambda x, start=start: x[start], windows)
        rows = range(start, start + horizon)
        ended = [terminated and row + 1 >= n for row in rows]
        states = [_state(obs[min(row + 1, last)], done) for row, done in zip(rows, ended, strict=True)]
        np.testing.assert_allclose(window.states, states, atol=1e-6)
        np.testing.assert_allclose(
            window.rewards[:, 0], [2 * reward[min(row, last)] / 10 - 1 for row in rows], atol=1e-6
        )
        actions = [_action(action[row]) if row < last else [0.0, 0.0] for row in rows]
        np.testing.assert_array_equal(window.actions, actions)
        np.testing.assert_array_equal(window.mask, [1.0 if terminated or row < n else 0.0 for row in rows])


CELLS = [0.0, 1.0, 20.0, 40.0, 43.0]  # the first two round to the same state, the last two do not


def _cells(episodes: int, capacity: int, length: int, terminated: bool) -> replay.ReplayState:
    """A replay of random cells; the ring wraps around when it is small."""
    rng, state = np.random.default_rng(0), _empty(capacity)
    for _ in range(episodes):
        obs = rng.choice(CELLS, length + 1)
        state = _add(state, Played(list(obs), [0] * length, [0.0] * (length + 1), terminated))
    return state


def _groups(state: replay.ReplayState) -> np.ndarray:
    """The state of each row, in steps of the resolution."""
    return np.round((2 * np.asarray(state.obs, np.float64) / 100 - 1) / replay.RESOLUTION)


def test_balanced_windows_draw_distinct_states_alike() -> None:
    """All windows that start in one state have a mass of 1 together, however many they are."""
    state = _cells(4, 25, 5, True)
    state = state.replace(weight=state.weight.at[2].set(0.0) * 7.0)
    weight = np.asarray(BALANCE(state).weight)
    assert np.flatnonzero(weight).tolist() == np.flatnonzero(state.weight).tolist()
    groups, masses = _groups(state), {}
    for row in np.flatnonzero(weight):
        masses[groups[row]] = masses.get(groups[row], 0.0) + weight[row]
    assert len(masses) == len(CELLS) - 1
    np.testing.assert_allclose(list(masses.values()), 1.0, rtol=1e-6)


@pytest.mark.parametrize(("episodes", "terminated"), [(1, True), (2, False), (5, True), (5, False)])
def test_novelty_is_that_of_a_loop(episodes: int, terminated: bool) -> None:
    """Also where the ring has wrapped around and the oldest episode lost its beginning."""
    capacity, discount = 20, 0.7
    state = _cells(episodes, capacity, 5, terminated)
    groups, episode, steps_left = _groups(state), np.asarray(state.episode), np.asarray(state.steps_left)
    counts = [((groups == group) & (episode >= 0)).sum() for group in groups]
    slow = np.zeros(capacity)
    for row in np.flatnonzero(episode >= 0):
        value = 0.0 if terminated else counts[(row + steps_left[row]) % capacity] ** -0.5
        for back in range(steps_left[row], 0, -1):
            value = (1 - discount) * counts[(row + back) % capacity] ** -0.5 + discount * value
        slow[row] = value
    np.testing.assert_allclose(NOVELTY(state, discount), slow, atol=1e-6)


def test_windows_carry_novelty() -> None:
    """As one more entry of the rewards, on the scale -1..1, read from the rows that the rewards are read from."""
    state, _ = _fill(8, 0, 4, [TERMINATED])
    novelty = jnp.linspace(0.0, 1.0, 8)
    rewards = _all_windows(0, 4)(state, novelty).rewards[1]
    np.testing.assert_array_equal(rewards[:, :1], _window(state, 1, 0, 4).rewards)
    np.testing.assert_allclose(rewards[:, 1], 2 * np.asarray(novelty)[[1, 2, 3, 3]] - 1, atol=1e-6)
