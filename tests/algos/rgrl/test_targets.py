"""What the model learns as reward, against plain loops."""

import jax.numpy as jnp
import numpy as np
import pytest
from rgrl_cases import episode, small

from rgrl_jax.algos.rgrl import build
from rgrl_jax.algos.rgrl.targets import reward_targets
from rgrl_jax.types import Episode


def played(length, terminated, obs_size=4, rows=13):
    """Episodes of random rewards and observations, side by side; rows that were not played hold rubbish."""
    rng, n = np.random.default_rng(0), len(length)
    reward = rng.normal(size=(rows, n)).astype(np.float32)
    return Episode(
        obs=jnp.asarray(rng.uniform(-0.6, 0.6, (rows, n, obs_size)), jnp.float32),
        action=jnp.zeros((rows, n), jnp.int32),
        reward=jnp.where(np.arange(rows)[:, None] < np.array(length), reward, 0.0),
        length=jnp.array(length),
        terminated=jnp.array(terminated),
        truncated=~jnp.array(terminated),
        info=None,
    )


def rewards_to_come(rewards, gamma, tail):
    """Discounted averages, one value per step, then what steps past the last one are worth."""
    out, after = [tail], tail
    for r in reversed(rewards):
        after = (1 - gamma) * float(r) + gamma * after
        out.append(after)
    return out[::-1]


@pytest.mark.parametrize("gamma", [0.0, 0.9])
@pytest.mark.parametrize("zero_terminal", [False, True])
@pytest.mark.parametrize("absorbing", ["zero", "last"])
def test_targets_equal_a_loop(gamma, zero_terminal, absorbing):
    """Of an episode that ended, and beside it of one that was cut off."""
    changes = {"target.discount": gamma, "target.absorbing_reward": absorbing}
    config = small(changes | {"reference.zero_terminal_reward": zero_terminal})
    episode, last = played([5, 12], [True, False]), absorbing == "last"
    targets = np.asarray(reward_targets(episode, config))
    for n, length in enumerate([5, 12]):
        rewards = [float(r) for r in episode.reward[:length, n]]
        if n == 0 and zero_terminal:
            rewards[-1] = 0.0
        tail = 0.0 if n == 0 and not last else rewards[-1]
        twin = rewards_to_come(rewards, gamma, tail)
        np.testing.assert_allclose(targets[: length + 1, n], twin, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.9])
@pytest.mark.parametrize("absorbing", ["zero", "last"])
def test_targets_of_simulated_steps_equal_a_loop(gamma, absorbing):
    """Those behind a true end pay nothing and count as steps; a time limit has none behind it."""
    changes = {"target.discount": gamma, "target.absorbing_reward": absorbing, "reference.past_end": "simulate"}
    config = small(changes)
    episode = played([5, 12], [True, False], rows=13 + config.padding)
    targets = np.asarray(reward_targets(episode, config))
    for n, stored in enumerate([5 + config.padding, 12]):
        rewards = episode.reward[:stored, n]
        tail = 0.0 if n == 0 and absorbing == "zero" else float(rewards[-1])
        twin = rewards_to_come(rewards, gamma, tail)
        np.testing.assert_allclose(targets[: stored + 1, n], twin, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("past_end", ["absorb", "simulate"])
def test_targets_of_the_reference_equal_a_loop(past_end):
    """The authors' signal of the car, its position after the step; the last one holds past any end."""
    config = small({"reference.signals": "reference", "reference.past_end": past_end}, "MountainCar-v0")
    episode = played([5, 12], [True, False], obs_size=2, rows=13 + config.padding)
    signal = build(config).env.reference.reward
    targets = np.asarray(reward_targets(episode, config))
    for n, stored in enumerate([5 + config.padding, 12]):
        twin = [
            float(signal(episode.reward[t, n], episode.obs[t + 1, n], jnp.bool_(n == 0 and t >= 4)))
            for t in range(stored)
        ]
        np.testing.assert_allclose(targets[: stored + 1, n], [*twin, twin[-1]], rtol=1e-5, atol=1e-6)
    assert len(np.unique(targets[:5, 0])) == 5


@pytest.mark.parametrize("terminated", [True, False])
def test_running_returns(terminated):
    """The target is the sum so far, on the scale of returns; it stays what it was at the end."""
    config = small({"reference.running_return": True})
    targets = np.asarray(reward_targets(episode(5, terminated), config))[:6, 0]
    np.testing.assert_array_equal(targets, [1, 3, 6, 10, 15, 15])
    assert float(build(config).codec.encode_reward(jnp.float32(12.0))[0]) == 1.0  # at most 12 steps of 1
