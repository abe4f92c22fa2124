"""Learning tests with thresholds over seeds; run them with ``pytest -m slow``."""

import jax
import numpy as np
import pytest

import rgrl_jax as rgrl

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def optimised():
    """These runs are long enough to gain from what the other tests leave out."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


def test_cartpole_is_solved_by_most_seeds():
    """Of five fresh seeds at least four stop at the goal within 40 episodes and still reach it over 100."""
    config, solved = rgrl.preset("CartPole-v1"), 0
    for seed in range(100, 105):
        state, _ = rgrl.run(jax.random.key(seed), config, callbacks=[rgrl.StopAtGoal()])
        solved += np.mean(rgrl.evaluate(jax.random.key(0), state, config, 100)) >= 475
    assert solved >= 4
