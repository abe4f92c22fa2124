"""DoorKey against MiniGrid, step by step and from every state."""

import collections
import functools
import itertools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.world_object import Door, Goal, Key

from rgrl_jax.envs import own
from rgrl_jax.envs.own import doorkey

DOORS = {(True, False): doorkey.OPEN, (False, False): doorkey.CLOSED, (False, True): doorkey.LOCKED}
CELLS = np.array(
    [
        (OBJECT_TO_IDX["empty"], 0, 0),
        (OBJECT_TO_IDX["wall"], COLOR_TO_IDX["grey"], 0),
        (OBJECT_TO_IDX["key"], COLOR_TO_IDX["yellow"], 0),
        (OBJECT_TO_IDX["goal"], COLOR_TO_IDX["green"], 0),
        *((OBJECT_TO_IDX["door"], COLOR_TO_IDX["yellow"], STATE_TO_IDX[s]) for s in ("open", "closed", "locked")),
    ],
    np.uint8,
)


def as_minigrid(obs):
    """MiniGrid's ``image`` and ``direction`` from our bits ``[..., 7, 7, 11]``."""
    assert obs[..., :7].sum(-1).max() == 1 and not np.delete(obs[..., 7:].reshape(-1, 49, 4), 3 * 7 + 6, 1).any()
    compass = obs[..., 3, 6, 7:]
    assert np.all(compass.sum(-1) == 1)
    return obs[..., :7].astype(np.uint8) @ CELLS, np.argmax(compass, -1)


def as_state(env):
    """Our state of a MiniGrid environment, leaves as NumPy numbers."""
    things = {
        x.type: (i % env.width, i // env.width, x) for i, x in enumerate(env.grid.grid) if x and x.type != "wall"
    }
    x, y, door = things["door"]
    return doorkey.EnvState(
        time=np.int32(env.step_count),
        position=np.array(env.agent_pos, np.int32),
        direction=np.int32(env.agent_dir),
        key=np.array(things["key"][:2] if "key" in things else (-1, -1), np.int32),
        wall=np.int32(x),
        row=np.int32(y),
        door=np.int32(DOORS[door.is_open, door.is_locked]),
    )


def into_minigrid(env, state):
    """Puts a MiniGrid environment into a state of ours."""
    size, (x, y) = env.width, np.asarray(state.position)
    env.grid = Grid(size, size)
    env.grid.wall_rect(0, 0, size, size)
    env.grid.vert_wall(int(state.wall), 0)
    env.put_obj(Goal(), size - 2, size - 2)
    is_open, is_locked = next(flags for flags, door in DOORS.items() if door == state.door)
    env.put_obj(Door("yellow", is_open, is_locked), int(state.wall), int(state.row))
    key = Key("yellow")
    if state.key[0] >= 0:
        env.put_obj(key, *(int(x) for x in state.key))
    env.carrying = key if state.key[0] < 0 else None
    env.agent_pos, env.agent_dir, env.step_count = (int(x), int(y)), int(state.direction), int(state.time)


def stack(rows):
    """Pytrees of one structure, stacked along a new first axis."""
    return jax.tree.map(lambda *x: np.stack(x), *rows)


def names(state):
    """All of a batch of states but the time, as tuples."""
    parts = (state.position, state.direction, state.key, state.wall, state.row, state.door)
    return [tuple(row) for row in np.column_stack([x.reshape(state.time.size, -1) for x in parts]).tolist()]


def original_doorkey(size):
    """MiniGrid's, without Gymnasium's wrappers; importing ``minigrid`` has registered it."""
    return gymnasium.make(f"MiniGrid-DoorKey-{size}x{size}-v0").unwrapped


def record(size, seeds, steps):
    """Random play in MiniGrid until the end: per seed the states (ours) and what each step gave."""
    env, episodes = original_doorkey(size), []
    for seed in range(seeds):
        first, _ = env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        rows, states = [(first, 0.0, False, False)], [as_state(env)]
        actions = rng.choice(7, steps, p=[0.15, 0.15, 0.35, 0.1, 0.02, 0.2, 0.03])
        for action in actions:
            rows.append(env.step(action)[:4])
            states.append(as_state(env))
            if rows[-1][2] or rows[-1][3]:
                break
        episodes.append((states, actions, rows))
    return episodes


def replay(env, episodes):
    """The same actions from the same starts in ours: the first obs ``[N]``, and what each step gave, ``[N, L]``."""
    params = env.default_params

    def step(state, action):
        obs, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, params)
        return state, (state, obs, reward, terminated, env.is_truncated(state, params))

    @jax.jit
    @jax.vmap
    def play(state, actions):
        return env.observe(jax.random.key(0), state, None, params), jax.lax.scan(step, state, actions)[1]

    starts = stack([states[0] for states, _, _ in episodes])
    actions = np.stack([actions for _, actions, _ in episodes])
    return jax.tree.map(np.asarray, play(starts, actions))


@pytest.mark.parametrize("size, seeds, steps", [(5, 40, 250), (8, 3, 640)])
def test_doorkey_equals_minigrid(size, seeds, steps):
    """Image, direction, reward, ends and the whole state at every step of random play."""
    episodes = record(size, seeds, steps)
    first, played = replay(own.DoorKey(size), episodes)
    wins, cuts, doors = 0, 0, set()
    for n, (states, _, rows) in enumerate(episodes):
        length = len(rows) - 1
        ours, obs, reward, terminated, truncated = jax.tree.map(lambda x, n=n, k=length: x[n, :k], played)
        image, direction = as_minigrid(np.concatenate([first[n, None], obs]))
        np.testing.assert_array_equal(image, [row[0]["image"] for row in rows])
        np.testing.assert_array_equal(direction, [row[0]["direction"] for row in rows])
        np.testing.assert_allclose(reward, [row[1] for row in rows[1:]], rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(terminated, [row[2] for row in rows[1:]])
        np.testing.assert_array_equal(truncated, [row[3] for row in rows[1:]])
        jax.tree.map(np.testing.assert_array_equal, ours, stack(states[1:]))
        wins, cuts, doors = wins + terminated.sum(), cuts + truncated.sum(), doors | set(ours.door)
    assert cuts and doors == {doorkey.OPEN, doorkey.CLOSED, doorkey.LOCKED}
    assert wins >= 5 or size > 5


@functools.cache
def every_step():
    """All states of DoorKey-5x5 ``[M]``, and ours after each action, ``[M, 7]``: state, obs, reward, terminated."""
    env, rooms = own.DoorKey(), [(x, y) for x in (1, 3) for y in (1, 2, 3)]
    places = [
        (agent, direction, key, row, door)
        for row, door in itertools.product((1, 2), (doorkey.OPEN, doorkey.CLOSED, doorkey.LOCKED))
        for agent in (*rooms, *[(2, row)] * (door == doorkey.OPEN))
        for key, direction in itertools.product([(-1, -1), *rooms], range(4))
        if agent != key and (3, 3) not in (agent, key)
    ]
    agent, direction, key, row, door = (np.array(x, np.int32) for x in zip(*places, strict=True))
    time = np.arange(len(agent), dtype=np.int32) % 250
    states = doorkey.EnvState(time, agent, direction, key, np.full_like(time, 2), row, door)

    def step(state, action):
        return env.step_env(jax.random.key(0), state, action, env.default_params)[:4]

    obs, *after = jax.jit(jax.vmap(jax.vmap(step, (None, 0)), (0, None)))(states, jnp.arange(7))
    return jax.tree.map(np.asarray, (states, (after[0], obs, *after[1:])))


def test_doorkey_equals_minigrid_everywhere():
    """One step by every action from every state, at every time: the same as above."""
    states, (after, obs, reward, terminated) = every_step()
    image, direction = as_minigrid(obs)
    env = original_doorkey(5)
    env.reset(seed=0)
    for m, action in itertools.product(range(len(states.time)), range(7)):
        into_minigrid(env, jax.tree.map(lambda x, m=m: x[m], states))
        seen, pay, end, cut, _ = env.step(action)
        np.testing.assert_array_equal(image[m, action], seen["image"])
        assert (direction[m, action], terminated[m, action]) == (seen["direction"], end)
        assert reward[m, action] == pytest.approx(pay, abs=1e-6)
        assert cut == (after.time[m, action] >= 250)
        same = jax.tree.map(lambda x, y, i=(m, action): np.array_equal(x[i], y), after, as_state(env))
        assert all(jax.tree.leaves(same)), (m, action)


def test_best_play_of_doorkey():
    """The lengths and the return in the docstring, by counting backwards from the goal."""
    states, (after, _, _, terminated) = every_step()

    index = {name: m for m, name in enumerate(names(states))}
    follow = np.array([index.get(name, -1) for name in names(after)]).reshape(-1, 7)  # -1 at the goal
    assert np.array_equal(follow < 0, terminated)
    steps = np.full(len(index), np.inf)
    for _ in range(30):
        steps = 1 + np.where(terminated, 0, steps[follow]).min(axis=1)
    start = (states.position[:, 0] == 1) & (states.key[:, 0] == 1) & (states.door == doorkey.LOCKED)
    assert (start.sum(), steps[start].min(), steps[start].max()) == (48, 7, 14)
    assert np.mean(1 - 0.9 * steps[start] / 250) == pytest.approx(0.9646)


@pytest.mark.parametrize("size", [5, 6])
def test_doorkey_starts_as_minigrid_does(size):
    """Wall, door, agent, key in another cell and direction have MiniGrid's chances, and its seeds find the same."""
    env, inside = own.DoorKey(size), size - 2
    reset = jax.jit(jax.vmap(lambda key: env.reset_env(key, env.default_params)[1]))
    starts = jax.tree.map(np.asarray, reset(jax.random.split(jax.random.key(0), 60_000)))
    chance = {}
    for wall, row, direction in itertools.product(range(2, inside), range(1, inside), range(4)):
        cells = list(itertools.product(range(1, wall), range(1, inside + 1)))
        alike = (inside - 2) * (inside - 1) * 4 * len(cells) * (len(cells) - 1)
        for agent, key in itertools.permutations(cells, 2):
            chance[*agent, direction, *key, wall, row, doorkey.LOCKED] = 1 / alike
    assert sum(chance.values()) == pytest.approx(1)
    count = collections.Counter(names(starts))
    assert set(count) == set(chance) and not starts.time.any()
    observed, expected = zip(*((count[name], 60_000 * p) for name, p in chance.items()), strict=True)
    assert scipy.stats.chisquare(observed, expected).pvalue > 0.01
    original, theirs = original_doorkey(size), []
    for seed in range(600):
        original.reset(seed=seed)
        theirs.append(as_state(original))
    theirs = set(names(stack(theirs)))
    assert theirs <= set(chance) and (size > 5 or theirs == set(chance))


def test_doorkey_full_tells_the_state():
    """Each group of bits, decoded, is the state of random play."""
    episodes = record(5, 5, 250)
    _, (states, obs, *_) = replay(own.DoorKeyFull(), episodes)
    agent, facing, key, door, lock = np.split(obs, [9, 13, 22, 31], axis=-1)

    def cell(bits):
        assert np.all(bits.sum(-1) <= 1)
        index = np.argmax(bits, -1)
        found = np.stack([1 + index // 3, 1 + index % 3], -1)
        return np.where(bits.any(-1, keepdims=True), found, -1)

    np.testing.assert_array_equal(cell(agent), states.position)
    np.testing.assert_array_equal(cell(key), states.key)
    np.testing.assert_array_equal(cell(door), np.stack([states.wall, states.row], -1))
    np.testing.assert_array_equal(np.argmax(facing, -1), states.direction)
    np.testing.assert_array_equal(np.argmax(lock, -1) + doorkey.OPEN, states.door)
    assert np.all(facing.sum(-1) == 1) and np.all(lock.sum(-1) == 1) and (states.key < 0).any()
