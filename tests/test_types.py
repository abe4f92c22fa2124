"""Records that every algorithm uses."""

import jax.numpy as jnp
import numpy as np

from rgrl_jax.types import Box, Discrete, Episode, Metrics


def test_return_of_an_episode():
    """The sum of its rewards, for each environment."""
    blank, zeros = jnp.zeros((4, 2)), jnp.zeros(2, jnp.int32)
    reward = jnp.array([[1.0, 2.0], [3.0, 0.0], [0.5, 0.0], [0.0, 0.0]])
    episode = Episode(blank, blank, reward, zeros, zeros == 1, zeros == 0, {})
    np.testing.assert_array_equal(episode.episode_return, [4.5, 2.0])


def test_columns_of_metrics():
    """The core in order, then what an algorithm reports of its own."""
    names = ["episode", "env_steps", "episode_return", "episode_length", "terminated", "model_loss"]
    metrics = Metrics(*range(6), info={"b": 7, "a": 8})
    assert list(metrics.columns().items()) == [*zip(names, range(6), strict=True), ("b", 7), ("a", 8)]
    assert list(Metrics(*range(6)).columns()) == names


def test_spaces_are_values():
    """Equal spaces are one and can be keys, so an environment is not compiled anew for them."""
    assert len({Box(0.0, 1.0, (2,)), Box(0.0, 1.0, (2,)), Discrete(2), Discrete(2)}) == 2
