"""Our own environments against the originals in Gymnasium and MiniGrid, step by step."""

import collections
import functools
import itertools

import gymnasium
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.toy_text import blackjack as gymnasium_blackjack
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.world_object import Door, Goal, Key

from rgrl_jax.envs import make_spec, own, spec_from_gymnax
from rgrl_jax.envs.own import blackjack, doorkey
from rgrl_jax.types import Box, Discrete

OWN = (own.Blackjack(), own.DoorKey(), own.DoorKeyFull(), own.GymnasiumMountainCarContinuous())
CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # our float32 against their mixture with float64


def stack(rows):
    """Pytrees of one structure, stacked along a new first axis."""
    return jax.tree.map(lambda *x: np.stack(x), *rows)


@pytest.mark.parametrize("env", OWN, ids=lambda env: type(env).__name__)
def test_gymnax_can_use_them(env):
    """gymnax's own ``reset`` and ``step``, which starts anew after the end, and its spaces."""
    params = env.default_params.replace(max_steps_in_episode=7)
    space = env.observation_space(params)

    def step(state, key):
        action = env.action_space(params).sample(key).reshape(())
        obs, state, reward, terminated, truncated, _ = env.step(key, state, action, params)
        return state, (obs, space.contains(obs), state.time, terminated | truncated)

    @jax.jit
    def walk(key):
        _, state = env.reset(key, params)
        state = jax.tree.map(jnp.asarray, state)
        return env.is_terminal(state, params), jax.lax.scan(step, state, jax.random.split(key, 40))[1]

    over, (obs, inside, time, done) = jax.tree.map(np.asarray, walk(jax.random.key(0)))
    assert (obs.shape[1:], obs.dtype) == (space.shape, space.dtype) and inside.all() and not over
    assert done.any() and not time[done].any() and np.all(time[~done] > 0)


def test_made_environments_take_no_keywords():
    """What was meant for ``gymnax.make`` is not dropped silently."""
    space = Box(0.0, 1.0, (34,))
    ranges = {"action": Discrete(7), "reward_range": (0.0, 1.0), "return_range": (0.0, 1.0)}
    with pytest.raises(ValueError, match="is_slippery"):
        spec_from_gymnax("mine", observation=space, **ranges, env=own.DoorKeyFull(), is_slippery=True)


def test_only_the_car_can_be_drawn():
    """By gymnax, which goes by the name; the others have nothing to offer it."""
    env, _ = make_spec("MountainCarContinuous-gymnasium").render()
    assert env.name == "MountainCarContinuous-v0" and isinstance(env, own.GymnasiumMountainCarContinuous)
    assert [make_spec(name).render for name in ("Blackjack-v1", "DoorKey-5x5", "DoorKey-5x5-full")] == [None] * 3


# Blackjack


RULES = [(False, False), (True, False), (False, True), (True, True)]


@functools.cache
def play_blackjack():
    """2,000 random episodes, with the cards that each step would draw.

    The start is ``cards [N, 4]`` and obs, the rest ``cards [N, L, 10]``, hit, obs, end and a reward per rules.
    """
    games = [own.Blackjack(*flags) for flags in RULES]
    params = games[0].default_params

    @jax.jit
    @jax.vmap
    def play(key):
        reset_key, *keys = jax.random.split(key, 1 + blackjack.MOST_STEPS)
        obs, state = games[0].reset_env(reset_key, params)

        def step(state, key):
            hit = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.7).astype(jnp.int32)
            steps = [game.step_env(key, state, hit, params) for game in games]
            obs, state, _, end, _ = steps[0]
            rewards = jnp.stack([reward for _, _, reward, _, _ in steps])
            return state, (blackjack.draw_cards(key, blackjack.MOST_DRAWS), hit, obs, end, rewards)

        return (blackjack.draw_cards(reset_key, 4), obs), jax.lax.scan(step, state, jnp.stack(keys))[1]

    return jax.tree.map(np.asarray, play(jax.random.split(jax.random.key(7), 2000)))


@pytest.mark.parametrize("natural, sab", RULES)
def test_blackjack_equals_gymnasium(natural, sab, monkeypatch):
    """2,000 episodes with the same cards: observations, rewards and ends of every step."""
    (dealt, first), (cards, hits, obs, end, rewards) = play_blackjack()
    reward = rewards[..., RULES.index((natural, sab))]
    original = gymnasium_blackjack.BlackjackEnv(natural=natural, sab=sab)
    deck = []
    monkeypatch.setattr(gymnasium_blackjack, "draw_card", lambda _: int(deck.pop(0)))
    naturals = 0
    for n in range(len(dealt)):
        deck[:] = dealt[n]
        assert original.reset()[0] == tuple(first[n]) and not deck
        for t in range(blackjack.MOST_STEPS):
            deck[:] = cards[n, t]
            answer = original.step(hits[n, t])
            assert answer[:4] == (tuple(obs[n, t]), reward[n, t], end[n, t], False)
            naturals += t == 0 and not hits[n, t] and gymnasium_blackjack.is_natural(original.player)
            if end[n, t]:
                break
        assert end[n, t], "20 steps are enough for every episode"
    assert naturals > 5
    assert set(np.unique(reward[:, 0])) == {-1.0, 0.0, 1.0} | ({1.5} if natural and not sab else set())


def test_a_dealer_draws_ten_cards_at_most():
    """By trying all hands; the longest is the one in the docstring."""

    @functools.cache
    def most(hard, ace):
        if hard + 10 * (ace and hard <= 11) >= blackjack.DEALER_STOPS:
            return 0
        return 1 + max(most(hard + card, ace or card == 1) for card in range(1, 11))

    assert max(most(a + b, 1 in (a, b)) for a in range(1, 11) for b in range(1, 11)) == blackjack.MOST_DRAWS
    hand, cards = jnp.array([1, 1]), jnp.array([1, 1, 1, 1, 6, 1, 1, 1, 1, 1])
    assert blackjack.play_dealer(hand, cards) == 17
    assert blackjack.play_dealer(hand, cards.at[-1].set(10)) == 26


def test_cards_have_the_chances_of_a_deck():
    """1/13 each, and 4/13 for a ten."""
    share = np.bincount(blackjack.draw_cards(jax.random.key(0), 130_000), minlength=11) / 10_000
    np.testing.assert_allclose(share, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4], atol=0.07)


@pytest.mark.parametrize("sab, best", [(False, -0.0466), (True, -0.0431)])
def test_best_play_of_blackjack(sab, best):
    """The returns in the docstring, by dynamic programming over the deck."""
    deck = [*range(1, 10), 10, 10, 10, 10]

    @functools.cache
    def dealer_ends(hard, ace):
        """Chances of his totals, 0 for a bust."""
        count = hard + 10 * (ace and hard <= 11)
        if count >= 17:
            return np.eye(22)[count if count <= 21 else 0]
        return sum(dealer_ends(hard + card, ace or card == 1) for card in deck) / 13

    @functools.cache
    def value(hard, ace, shown, natural):
        if hard > 21:
            return -1.0
        count = hard + 10 * (ace and hard <= 11)
        ends = [(card, dealer_ends(shown + card, 1 in (shown, card))) for card in deck]
        stick = sum(
            1.0 if sab and natural and {shown, card} != {1, 10} else chances @ np.sign(count - np.arange(22))
            for card, chances in ends
        )
        return max(stick / 13, sum(value(hard + card, ace or card == 1, shown, False) for card in deck) / 13)

    hands = [(a, b, shown) for a in deck for b in deck for shown in deck]
    mean = np.mean([value(a + b, 1 in (a, b), shown, {a, b} == {1, 10}) for a, b, shown in hands])
    assert mean == pytest.approx(best, abs=1e-4)


# DoorKey

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
        np.testing.assert_allclose(reward, [row[1] for row in rows[1:]], **CLOSE)
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


# MountainCarContinuous


def test_mountain_car_equals_gymnasium_everywhere():
    """10,000 steps from anywhere, the walls and beyond the goal included, with forces up to twice the limits."""
    env, original = own.GymnasiumMountainCarContinuous(), Continuous_MountainCarEnv()
    rng = np.random.default_rng(0)
    position = np.clip(rng.uniform(-1.35, 0.65, 10_000), -1.2, 0.6).astype(np.float32)
    velocity = np.clip(rng.uniform(-0.08, 0.08, 10_000), -0.07, 0.07).astype(np.float32)
    action = rng.uniform(-2.0, 2.0, 10_000).astype(np.float32)

    @jax.jit
    @jax.vmap
    def step(position, velocity, action):
        state = env.reset_env(jax.random.key(0), env.default_params)[1].replace(position=position, velocity=velocity)
        obs, _, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, env.default_params)
        return obs, reward, terminated

    rows = []
    for state in zip(position, velocity, action, strict=True):
        original.state = np.array(state[:2])
        rows.append(original.step(state[2:])[:3])
    obs, reward, terminated = (np.array(x) for x in zip(*rows, strict=True))
    ours = step(position, velocity, action)
    np.testing.assert_allclose(ours[0], obs, **CLOSE)
    np.testing.assert_allclose(ours[1], reward, **CLOSE)
    np.testing.assert_array_equal(ours[2], terminated)
    left, back = obs[:, 0] == np.float32(-1.2), (obs[:, 0] >= 0.45) & (obs[:, 1] < 0)
    assert left.sum() > 300 and not obs[left & (velocity < -0.01), 1].any()
    assert back.sum() > 300 and not terminated[back].any() and terminated.any()


@pytest.mark.parametrize("drive", ["swing", "random"])
def test_mountain_car_plays_as_gymnasium(drive):
    """Whole episodes, ours from Gymnasium's start and brought to Gymnasium's state after every step."""
    spec = make_spec("MountainCarContinuous-gymnasium")
    original = gymnasium.make("MountainCarContinuous-v0", disable_env_checker=True)
    step, rng = jax.jit(spec.step), np.random.default_rng(1)
    obs, _ = original.reset(seed=0)
    _, state = spec.reset(jax.random.key(0))
    for t in range(1, 1000):
        force = np.float32(np.sign(obs[1]) if drive == "swing" else rng.uniform(-1.5, 1.5))
        state = state.replace(position=jnp.float32(obs[0]), velocity=jnp.float32(obs[1]), time=jnp.int32(t - 1))
        ours, state, *ends = step(jax.random.key(0), state, force)
        obs, reward, terminated, truncated, _ = original.step(np.array([force]))
        np.testing.assert_allclose(ours, obs, **CLOSE)
        assert [float(ends[0]), *map(bool, ends[1:])] == [pytest.approx(reward, rel=1e-6), terminated, truncated]
        if terminated or truncated:
            break
    assert (terminated, truncated, t == 999) == (drive == "swing", drive == "random", drive == "random")
    assert spec.goal == original.spec.reward_threshold


def test_mountain_cars_start_in_the_same_range():
    """Uniformly from -0.6 to -0.4, at rest."""
    obs, _ = jax.vmap(make_spec("MountainCarContinuous-gymnasium").reset)(jax.random.split(jax.random.key(0), 4000))
    assert scipy.stats.kstest(np.asarray(obs[:, 0]), "uniform", args=(-0.6, 0.2)).pvalue > 0.01
    assert not obs[:, 1].any()


def test_gymnax_keeps_the_velocity_at_the_wall():
    """What our car is for: if gymnax changes this, it can go."""
    env, params = gymnax.make("MountainCarContinuous-v0")
    _, state = env.reset_env(jax.random.key(0), params)
    state = state.replace(position=jnp.float32(-1.19), velocity=jnp.float32(-0.05))
    assert env.step_env(jax.random.key(0), state, jnp.float32(0), params)[1].velocity < -0.04


# FrozenLake


@pytest.mark.parametrize("env_id, slippery", [("FrozenLake-misc", True), ("FrozenLake-deterministic", False)])
def test_frozen_lake_equals_gymnasiums_table(env_id, slippery):
    """Chances, rewards and ends of every action in every cell that an episode does not end in; limit and optimum."""
    spec, original = make_spec(env_id), gymnasium.make("FrozenLake-v1", is_slippery=slippery)
    table, draws = original.unwrapped.P, 3000 if slippery else 1
    _, state = spec.reset(jax.random.key(0))

    def step(cell, action, key):
        obs, _, reward, terminated, _ = spec.step(key, state.replace(position=cell), action)
        return obs, reward, terminated

    for axes in ((None, None, 0), (None, 0, None), (0, None, None)):
        step = jax.vmap(step, axes)
    keys = jax.random.split(jax.random.key(1), draws)
    to, reward, terminated = (np.asarray(x) for x in jax.jit(step)(jnp.arange(16), jnp.arange(4), keys))
    value = np.zeros(16)
    for cell, action in itertools.product(range(16), range(4)):
        if cell in (5, 7, 11, 12, 15):
            continue  # Gymnasium stays there for ever; gymnax would walk on, but an episode has ended before
        chance = np.zeros(16)
        for p, target, pay, end in table[cell][action]:
            chance[target] += p
            here = to[cell, action] == target
            assert here.any() and np.all(reward[cell, action][here] == pay)
            assert np.all(terminated[cell, action][here] == end)
        share = np.bincount(to[cell, action], minlength=16) / draws
        np.testing.assert_array_equal(share > 0, chance > 0)
        np.testing.assert_allclose(share, chance, atol=0.045 if slippery else 1e-9)  # five standard deviations
    for _ in range(spec.max_steps):
        value = np.array(
            [
                max(sum(p * (r + (not end) * value[n]) for p, n, r, end in table[s][a]) for a in range(4))
                for s in range(16)
            ]
        )
    assert value[0] == pytest.approx(0.74 if slippery else 1.0, abs=0.01)
    assert spec.max_steps == original.spec.max_episode_steps == 100
    assert spec.goal == (original.spec.reward_threshold if slippery else 1.0)
