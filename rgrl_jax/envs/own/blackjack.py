"""Blackjack, after Gymnasium's ``Blackjack-v1`` (Sutton and Barto, Reinforcement Learning, Example 5.1)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from rgrl_jax.types import Array, Key

STICK, HIT = range(2)
DEALER_STOPS = 17
MOST_DRAWS = 10
"""Cards that a dealer draws at most: two aces, four more (6 or 16), a six (12), then five aces (17)."""
MOST_STEPS = 20
"""Actions of an episode at most: two cards count 2 or more, each further one 1 or more, and beyond 21 it is over."""


@struct.dataclass
class EnvState(environment.EnvState):
    """Both hands; ``player`` counts aces as 1, ``dealer [2]`` are the cards dealt to him, face up first."""

    player: Array
    ace: Array
    cards: Array
    dealer: Array
    over: Array


@struct.dataclass
class EnvParams(environment.EnvParams):
    """The step limit, which no episode outlives."""

    max_steps_in_episode: int = MOST_STEPS


def draw_cards(key: Key, count: int) -> Array:
    """Cards from an infinite deck: 1 to 9 with chance 1/13 each, 10 with 4/13. ``[count]`` int32."""
    return jnp.minimum(jax.random.randint(key, (count,), 1, 14, dtype=jnp.int32), 10)


def total(hard: Array, ace: Array) -> Array:
    """What a hand counts, of its sum with aces as 1; one ace counts 11 if that does not bust. Same shape."""
    return hard + 10 * usable(hard, ace)


def usable(hard: Array, ace: Array) -> Array:
    """Whether a hand has an ace that counts 11. Same shape, bool."""
    return ace & (hard <= 11)


def play_dealer(hand: Array, cards: Array) -> Array:
    """What the dealer ends with, who draws until he has 17 or more.

    All his possible hands are looked at side by side, so there is no loop to wait for.

    Args:
      hand: the two cards he starts with, ``[2]``.
      cards: what he would draw in turn, ``[MOST_DRAWS]``.

    Returns:
      His total ``()``, above 21 if he busts.
    """
    drawn = jnp.concatenate([jnp.zeros(1, cards.dtype), cards])  # entry k: after k draws
    hard = hand.sum() + jnp.cumsum(drawn)
    ace = (hand == 1).any() | (jnp.cumsum(drawn == 1) > 0)
    totals = total(hard, ace)
    return totals[jnp.argmax(totals >= DEALER_STOPS)]


class Blackjack(environment.Environment[EnvState, EnvParams]):
    """Gymnasium's Blackjack-v1: beat the dealer's hand without exceeding 21.

    Actions: 0 sticks (the dealer plays, and the episode is over), 1 hits (another card; over at more than 21).
    Observation ``[3]`` float32: the player's total (4..31, more than 21 only at the end), the dealer's open card
    (1..10), usable ace (0, 1). Reward: 1 for a win, -1 for a loss, 0 otherwise. Nobody can take more than 20
    steps, so there is no limit besides.

    The flags are those of Gymnasium's class, with its defaults; mind that ``gymnasium.make("Blackjack-v1")`` sets
    ``sab=True``. With the best play an episode returns -0.0466 on average, or -0.0431 with ``sab``.

    Attributes:
      natural: a win with an ace and a ten as first cards pays 1.5; without effect with ``sab``.
      sab: with these cards a player wins unless the dealer has them too, as Sutton and Barto have it.
    """

    def __init__(self, natural: bool = False, sab: bool = False):
        self.natural = natural
        self.sab = sab

    @property
    def default_params(self) -> EnvParams:
        """The step limit."""
        return EnvParams()

    @property
    def name(self) -> str:
        """Gymnasium's name."""
        return "Blackjack-v1"

    @property
    def num_actions(self) -> int:
        """Stick and hit."""
        return 2

    def reset_env(self, key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        """Deals two cards to the dealer, then two to the player."""
        cards = draw_cards(key, 4)
        state = EnvState(
            time=jnp.int32(0),
            player=cards[2:].sum(dtype=jnp.int32),
            ace=(cards[2:] == 1).any(),
            cards=jnp.int32(2),
            dealer=cards[:2],
            over=jnp.bool_(False),
        )
        return self.observe(key, state, None, params), state

    def step_env(
        self, key: Key, state: EnvState, action: Array, params: EnvParams
    ) -> tuple[Array, EnvState, Array, Array, dict[str, Any]]:
        """One action; the cards it needs are the first of ``draw_cards(key, MOST_DRAWS)``."""
        cards = draw_cards(key, MOST_DRAWS)
        hit = jnp.asarray(action) == HIT
        player = state.player + jnp.where(hit, cards[0], 0)
        reward = jnp.where(hit, -1.0 * (player > 21), self._payoff(state, play_dealer(state.dealer, cards)))
        state = EnvState(
            time=state.time + 1,
            player=player,
            ace=state.ace | (hit & (cards[0] == 1)),
            cards=state.cards + hit,
            dealer=state.dealer,
            over=~hit | (player > 21),
        )
        return self.observe(key, state, action, params), state, reward.astype(jnp.float32), state.over, {}

    def _payoff(self, state: EnvState, dealer: Array) -> Array:
        """Reward ``()`` for sticking, against the total the dealer ends with; a bust hand is worth 0."""
        mine = total(state.player, state.ace)
        reward = jnp.sign(jnp.where(mine > 21, 0, mine) - jnp.where(dealer > 21, 0, dealer)).astype(jnp.float32)
        natural = (state.cards == 2) & state.ace & (state.player == 11)
        if self.sab:
            dealt = (state.dealer == 1).any() & (state.dealer.sum() == 11)
            return jnp.where(natural & ~dealt, 1.0, reward)
        return jnp.where(natural & (reward > 0), 1.5, reward) if self.natural else reward

    def observe(self, key: Key, state: EnvState, action: Array | None, params: EnvParams) -> Array:
        """Total, the dealer's open card, usable ace: ``[3]`` float32."""
        seen = (total(state.player, state.ace), state.dealer[0], usable(state.player, state.ace))
        return jnp.stack([jnp.asarray(x, jnp.float32) for x in seen])

    def is_terminated(self, state: EnvState, params: EnvParams) -> Array:
        """After sticking and beyond 21."""
        return state.over

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """Stick and hit."""
        return spaces.Discrete(2)

    def observation_space(self, params: EnvParams) -> spaces.Box:
        """``[3]`` float32."""
        low, high = jnp.array([4.0, 1.0, 0.0]), jnp.array([31.0, 10.0, 1.0])
        return spaces.Box(low, high, (3,), jnp.float32)
