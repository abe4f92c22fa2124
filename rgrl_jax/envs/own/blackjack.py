"""Blackjack, after Gymnasium's ``Blackjack-v1`` (Sutton and Barto, Reinforcement Learning, Example 5.1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces
from gymnax.environments.environment import EnvParams

from rgrl_jax.envs.gymnax import Transition
from rgrl_jax.types import Array, Key

STICK, HIT = range(2)
DEALER_STOPS = 17
MOST_DRAWS = 10
"""Most cards that a dealer draws: after two aces four more (6 or 16), a six (12), then five aces (17)."""
MOST_STEPS = 20
"""Most actions of an episode: two cards count 2 or more, each further one 1 or more, and more than 21 ends it."""


@struct.dataclass
class EnvState(environment.EnvState):
    """Both hands: all scalar but the dealer's first cards ``[2]``, the open one first.

    Attributes:
      player: sum of the player's cards with aces as 1.
      ace: whether the player has an ace.
      cards: number of the player's cards.
    """

    player: Array
    ace: Array
    cards: Array
    dealer: Array
    over: Array


def draw_cards(key: Key, count: int) -> Array:
    """Draws cards ``[count]`` int32 from an infinite deck: 1 to 9 with chance 1/13 each, 10 with 4/13."""
    return jnp.minimum(jax.random.randint(key, (count,), 1, 14, dtype=jnp.int32), 10)


def total(hard: Array, ace: Array) -> Array:
    """Totals hands ``[...]`` from their sums with aces as 1; one ace counts 11 if that does not bust."""
    return hard + 10 * usable_ace(hard, ace)


def usable_ace(hard: Array, ace: Array) -> Array:
    """Tells which hands ``[...]`` have an ace that counts 11."""
    return ace & (hard <= 11)


def play_dealer(hand: Array, cards: Array) -> Array:
    """Returns the total ``()`` of the dealer, who draws until he has 17 or more; above 21 he busts.

    Args:
      hand: his first two cards ``[2]``.
      cards: the next cards of the deck ``[MOST_DRAWS]``.
    """
    drawn = jnp.concatenate([jnp.zeros(1, cards.dtype), cards])  # entry k: after k draws
    hard = hand.sum() + jnp.cumsum(drawn)
    ace = (hand == 1).any() | (jnp.cumsum(drawn == 1) > 0)
    totals = total(hard, ace)
    return totals[jnp.argmax(totals >= DEALER_STOPS)]  # argmax finds the first


class Blackjack(environment.Environment[EnvState, EnvParams]):
    """Gymnasium's Blackjack-v1: beat the dealer's hand without exceeding 21.

    Actions: 0 sticks (the dealer plays, and the episode is over), 1 hits (another card; over at more than 21).
    Observation ``[3]`` float32: the player's total (4..31, more than 21 only at the end), the dealer's open card
    (1..10), usable ace (0, 1). Reward: 1 for a win, -1 for a loss, 0 otherwise. No episode is longer than 20 steps,
    which are the limit.

    The flags are those of Gymnasium's class, with its defaults, while ``gymnasium.make("Blackjack-v1")`` sets
    ``sab=True``. The best policy returns -0.0466 on average, or -0.0431 with ``sab``.

    Attributes:
      natural: a win with an ace and a ten as first cards pays 1.5; without effect with ``sab``.
      sab: with these cards a player wins unless the dealer has them too, as in Sutton and Barto.
    """

    num_actions = 2
    default_params = EnvParams(max_steps_in_episode=MOST_STEPS)

    def __init__(self, natural: bool = False, sab: bool = False):
        self.natural, self.sab = natural, sab

    def reset_env(self, key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        """Deals two cards to the dealer, then two to the player; returns observation ``[3]`` and state."""
        cards = draw_cards(key, 4)
        player, ace = cards[2:].sum(dtype=jnp.int32), (cards[2:] == 1).any()
        state = EnvState(jnp.int32(0), player, ace, jnp.int32(2), dealer=cards[:2], over=jnp.bool_(False))
        return self.observe(key, state, None, params), state

    def step_env(self, key: Key, state: EnvState, action: Array, params: EnvParams) -> Transition:
        """Sticks or hits with the first of ``draw_cards(key, MOST_DRAWS)``; returns the observation ``[3]`` first."""
        cards = draw_cards(key, MOST_DRAWS)
        hit = jnp.asarray(action) == HIT
        player = state.player + jnp.where(hit, cards[0], 0)
        reward = jnp.where(hit, -1.0 * (player > 21), self._payoff(state, play_dealer(state.dealer, cards)))
        state = state.replace(
            time=state.time + 1,
            player=player,
            ace=state.ace | (hit & (cards[0] == 1)),
            cards=state.cards + hit,
            over=~hit | (player > 21),
        )
        return self.observe(key, state, action, params), state, reward.astype(jnp.float32), state.over, {}

    def _payoff(self, state: EnvState, dealer: Array) -> Array:
        """Returns the reward ``()`` for sticking against the dealer's final total ``()``; a bust hand counts 0."""
        player = total(state.player, state.ace)
        reward = jnp.sign(jnp.where(player > 21, 0, player) - jnp.where(dealer > 21, 0, dealer)).astype(jnp.float32)
        natural = (state.cards == 2) & state.ace & (state.player == 11)
        if self.sab:
            dealt = (state.dealer == 1).any() & (state.dealer.sum() == 11)
            return jnp.where(natural & ~dealt, 1.0, reward)
        return jnp.where(natural & (reward > 0), 1.5, reward) if self.natural else reward

    def observe(self, key: Key, state: EnvState, action: Array | None, params: EnvParams) -> Array:
        """Returns total, the dealer's open card and usable ace, ``[3]`` float32."""
        entries = (total(state.player, state.ace), state.dealer[0], usable_ace(state.player, state.ace))
        return jnp.stack([jnp.asarray(x, jnp.float32) for x in entries])

    def is_terminated(self, state: EnvState, params: EnvParams) -> Array:
        """Tells whether the player has stuck or exceeds 21."""
        return state.over

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """Returns the space of stick and hit."""
        return spaces.Discrete(2)

    def observation_space(self, params: EnvParams) -> spaces.Box:
        """Returns the space of observations ``[3]`` float32."""
        low, high = jnp.array([4.0, 1.0, 0.0]), jnp.array([31.0, 10.0, 1.0])
        return spaces.Box(low, high, (3,), jnp.float32)
