"""Blackjack against Gymnasium, card by card, and its docstring against dynamic programming."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.toy_text import blackjack as gymnasium_blackjack

from rgrl_jax.envs import own
from rgrl_jax.envs.own import blackjack

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
