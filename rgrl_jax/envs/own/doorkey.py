"""DoorKey, after MiniGrid's ``MiniGrid-DoorKey-5x5-v0`` and its larger sisters.

Positions are ``(x, y)``, x to the right and y downwards, as in MiniGrid.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces
from gymnax.environments.environment import EnvParams

from rgrl_jax.envs.gymnax import Transition
from rgrl_jax.types import Array, Key

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
EMPTY, WALL, KEY, GOAL, OPEN, CLOSED, LOCKED = range(7)
"""Contents of a cell; the last three are states of the door, in MiniGrid's order."""
VIEW = 7
"""Width and height of the agent's view."""
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Right, down, left, up."""


@struct.dataclass
class EnvState(environment.EnvState):
    """State of the grid; what is not a cell is scalar.

    Attributes:
      position: the agent's cell ``[2]``.
      direction: the agent's, an index of `DIRECTIONS`.
      key: the key's cell ``[2]``, or (-1, -1) while it is carried.
      wall: column of the wall between the two rooms.
      row: row of the door in that wall.
      door: `OPEN`, `CLOSED` or `LOCKED`.
    """

    position: Array
    direction: Array
    key: Array
    wall: Array
    row: Array
    door: Array


class DoorKey(environment.Environment[EnvState, EnvParams]):
    """MiniGrid's DoorKey: fetch the key, unlock the door, walk to the goal in the far corner.

    Actions: 0 turns left, 1 turns right, 2 goes forward, 3 picks up, 4 drops, 5 opens or closes the door, 6 does
    nothing. Reward: ``1 - 0.9 steps / limit`` at the goal, which ends the episode, else 0. The limit is
    ``10 size^2`` steps. With size 5 the best policy returns 0.965 on average, in 7 to 14 steps.

    Observation ``[7, 7, 11]`` bool, indexed by column, row and plane like MiniGrid's ``image``: the agent's view,
    with itself in the middle of the last row. Planes 0 to 6 mark the content of a cell (empty, wall, key, goal, door
    open, closed, locked); they are all off where a wall or a shut door blocks the sight. The agent's own cell holds
    what it carries. Planes 7 to 10 of the agent's cell are its direction, which MiniGrid returns apart from the
    image. The mission, which is always the same, is left out.

    Attributes:
      size: width and height of the grid, outer walls included; MiniGrid has 5, 6, 8 and 16.
    """

    num_actions, default_params = 7, EnvParams()

    def __init__(self, size: int = 5):
        if size < 5:
            raise ValueError(f"size = {size} is too small: two rooms and their walls need 5")
        self.size = size
        self.default_params = EnvParams(max_steps_in_episode=10 * size**2)

    def reset_env(self, key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        """Draws the wall, the door in it, and agent and key ``[2]`` in different cells of the room to its left."""
        inside = self.size - 2
        wall_key, room_key = jax.random.split(key)
        # MiniGrid never puts the door into the lowest row.
        low, high = jnp.array([2, 1, 0]), jnp.array([inside, inside, 4])
        wall, row, direction = jax.random.randint(wall_key, (3,), low, high, dtype=jnp.int32)
        cells = (wall - 1) * inside
        agent, other = jax.random.randint(room_key, (2,), 0, jnp.stack([cells, cells - 1]), dtype=jnp.int32)
        other = other + (other >= agent)  # any cell but the agent's, all alike
        position, key_cell = (jnp.stack([1 + cell // inside, 1 + cell % inside]) for cell in (agent, other))
        state = EnvState(jnp.int32(0), position, direction, key_cell, wall, row, jnp.int32(LOCKED))
        return self.observe(key, state, None, params), state

    def step_env(self, key: Key, state: EnvState, action: Array, params: EnvParams) -> Transition:
        """Takes one action; nothing is random. The observation is that of `observe`, ``[7, 7, 11]`` here."""
        action = jnp.asarray(action)
        ahead = state.position + jnp.array(DIRECTIONS, jnp.int32)[state.direction]
        content = self.contents(state, ahead)
        carries = state.key[0] < 0
        walks = (action == FORWARD) & ((content == EMPTY) | (content == GOAL) | (content == OPEN))
        picks = (action == PICKUP) & (content == KEY)
        drops = (action == DROP) & (content == EMPTY) & carries
        opens = (content == CLOSED) | ((content == LOCKED) & carries)
        toggled = jnp.where(opens, OPEN, jnp.where(content == OPEN, CLOSED, state.door))
        turn = (action == RIGHT).astype(jnp.int32) - (action == LEFT).astype(jnp.int32)
        state = state.replace(
            time=state.time + 1,
            position=jnp.where(walks, ahead, state.position),
            direction=(state.direction + turn) % 4,
            key=jnp.where(picks, -1, jnp.where(drops, ahead, state.key)),
            door=jnp.where(action == TOGGLE, toggled, state.door),
        )
        terminated = walks & (content == GOAL)
        reward = jnp.where(terminated, 1.0 - 0.9 * state.time / params.max_steps_in_episode, 0.0)
        return self.observe(key, state, action, params), state, reward.astype(jnp.float32), terminated, {}

    def contents(self, state: EnvState, cells: Array) -> Array:
        """Returns the contents ``[...]`` int, the agent aside, of cells ``[..., 2]`` inside or outside the grid."""
        x, y, far = cells[..., 0], cells[..., 1], self.size - 2
        door = (x == state.wall) & (y == state.row)
        wall = (x == state.wall) | (x < 1) | (x > far) | (y < 1) | (y > far)
        key = (cells == state.key).all(axis=-1)
        goal = (x == far) & (y == far)
        return jnp.select([door, wall, key, goal], [state.door, WALL, KEY, GOAL], EMPTY)

    def observe(self, key: Key, state: EnvState, action: Array | None, params: EnvParams) -> Array:
        """Returns the agent's view and direction, ``[7, 7, 11]`` bool."""
        forward = jnp.array(DIRECTIONS, jnp.int32)[state.direction]
        right = jnp.stack([-forward[1], forward[0]])
        column, row = jnp.arange(VIEW)[:, None, None], jnp.arange(VIEW)[None, :, None]
        middle, last = VIEW // 2, VIEW - 1
        cells = self.contents(state, state.position + forward * (last - row) + right * (column - middle))
        seen = visible((cells != WALL) & (cells < CLOSED))
        cells = cells.at[middle, last].set(jnp.where(state.key[0] < 0, KEY, EMPTY))
        content = seen[..., None] & (cells[..., None] == jnp.arange(LOCKED + 1))
        compass = jnp.zeros((VIEW, VIEW, 4), bool).at[middle, last].set(state.direction == jnp.arange(4))
        return jnp.concatenate([content, compass], axis=-1)

    def is_terminated(self, state: EnvState, params: EnvParams) -> Array:
        """Tells whether the agent is at the goal."""
        return (state.position == self.size - 2).all()

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """Returns the space of the seven actions."""
        return spaces.Discrete(7)

    def observation_space(self, params: EnvParams) -> spaces.Box:
        """Returns the space of observations ``[7, 7, 11]`` bool."""
        return spaces.Box(0, 1, (VIEW, VIEW, LOCKED + 5), jnp.bool_)


class DoorKeyFull(DoorKey):
    """DoorKey with another observation, not MiniGrid's, of the whole grid.

    With ``n = (size - 2)^2`` cells inside the outer walls (index ``(x - 1) (size - 2) + y - 1``) the observation is
    ``[3 n + 7]`` bool: the agent's cell ``[n]``, its direction ``[4]``, the key's cell ``[n]``, all off while it
    is carried, the door's cell ``[n]``, which tells the wall as well, and the door's state ``[3]`` (open, closed,
    locked): 34 bits for a size of 5. It determines the state except the time.
    """

    def observe(self, key: Key, state: EnvState, action: Array | None, params: EnvParams) -> Array:
        """Returns agent, direction, key and door, ``[3 n + 7]`` bool."""
        inside = self.size - 2
        x, y = jnp.divmod(jnp.arange(inside**2), inside)
        cells = 1 + jnp.stack([x, y], axis=-1)

        def one_hot(position: Array) -> Array:
            return (cells == position).all(axis=-1)

        door = one_hot(jnp.stack([state.wall, state.row]))
        lock = state.door == jnp.arange(OPEN, LOCKED + 1)
        facing = state.direction == jnp.arange(4)
        return jnp.concatenate([one_hot(state.position), facing, one_hot(state.key), door, lock])

    def observation_space(self, params: EnvParams) -> spaces.Box:
        """Returns the space of observations ``[3 n + 7]`` bool."""
        return spaces.Box(0, 1, (3 * (self.size - 2) ** 2 + 7,), jnp.bool_)


def visible(clear: Array) -> Array:
    """Returns the cells ``[V, V]`` bool that an agent in the middle of the last row sees, by MiniGrid's rule.

    Sight spreads row by row, away from the agent: along a row up to and including the first cell that blocks it,
    first to the right, then to the left, and from each clear cell to the one above and its neighbour in that
    direction. Cells at the end of a pass do not spread in it, as in MiniGrid.

    Args:
      clear: ``[V, V]`` bool by column and row; sight passes through this cell.
    """
    index = jnp.arange(len(clear))
    before = index < index[:, None]

    def to_the_right(seen: Array, clear: Array) -> tuple[Array, Array]:
        """Returns the cells ``[V]`` of a row seen after a pass, and those of the row above seen by it."""
        # Sight reaches a cell if a seen one stands between it and the last blocking one to its left.
        last_block = jnp.where(before & ~clear, index, -1).max(axis=1)
        last_seen = jnp.where(before & seen, index, -1).max(axis=1)
        seen = seen | (last_seen > last_block)
        up = (seen & clear).at[-1].set(False)
        return seen, up | jnp.roll(up, 1)

    def one_row(seen: Array, clear: Array) -> tuple[Array, Array]:
        seen, above = to_the_right(seen, clear)
        mirrored, above_mirrored = to_the_right(seen[::-1], clear[::-1])
        return above | above_mirrored[::-1], mirrored[::-1]

    _, rows = jax.lax.scan(one_row, index == len(clear) // 2, clear.T, reverse=True)
    return rows.T
