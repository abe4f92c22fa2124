"""Commands: their range, their scale, and which one comes next."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.policy_generators.twins import commands_between, small

from rgrl_jax.algos.policy_generators import commands
from rgrl_jax.types import Episode

KEY = jax.random.key(0)


def next_command(key, best, config):
    return commands.next_command(key, jnp.float32(best), config)


def test_commands_are_scaled():
    """Upside-down commands are shares of the range; GoGePo's are divided by its width, and nothing is taken off."""
    ours, theirs = (small(x, return_low=-100.0, return_high=300.0) for x in ("udrlpg", "gogepo"))
    returns = jnp.float32([-150.0, -100.0, 100.0, 300.0, 500.0])
    np.testing.assert_allclose(commands.generator_input(returns, ours), [0, 0, 0.5, 1, 1.5])
    np.testing.assert_allclose(commands.generator_input(returns, theirs), [-0.375, -0.25, 0.25, 0.75, 1.25])
    own = small(return_low=0.0, return_high=0.0)
    assert commands_between(own) == pytest.approx(own.spec.return_range)


def test_the_next_command():
    ours, theirs = (small(x, return_low=-100.0, return_high=300.0) for x in ("udrlpg", "gogepo"))
    assert float(next_command(KEY, -jnp.inf, ours)) == -100 and float(next_command(KEY, -jnp.inf, theirs)) == 1
    assert float(next_command(KEY, 40, ours)) == 40
    assert float(next_command(KEY, 40, theirs)) == 60  # with the increment
    assert float(commands.best_command(jnp.float32(40), theirs)) == 40  # evaluations go without
    assert float(next_command(KEY, 40, ours.replace(command="top"))) == 300


def test_low_commands_are_uniform():
    config = small(return_low=-100.0, return_high=300.0, command="drawn")
    drawn = np.sort(jax.vmap(lambda key: next_command(key, 40, config))(jax.random.split(KEY, 1000)))
    assert drawn[0] >= -100 and drawn[-1] == 40 and abs((drawn == 40).mean() - 0.5) < 0.06
    below = drawn[drawn < 40]
    np.testing.assert_allclose(below, np.linspace(-100, 40, len(below)), atol=12)


def test_the_bonus_is_no_part_of_what_is_learnt():
    config = small(survival_bonus=1.0)
    episode = Episode(None, None, jnp.float32([[3.0, 1.0], [4.0, 0.0]]), jnp.array([2, 1]), None, None, None)
    np.testing.assert_allclose(commands.learned_returns(episode, config), [5.0, 0.0])
