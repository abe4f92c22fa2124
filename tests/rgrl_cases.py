"""Small configs, made-up episodes and plain copies that the tests of RGRL share."""

import jax
import jax.numpy as jnp
import numpy as np
from tiny import TINY

from rgrl_jax.algos import fields
from rgrl_jax.algos.rgrl import RGRLConfig
from rgrl_jax.rollout import Timestep
from rgrl_jax.types import Episode

KEY = jax.random.key(0, impl="unsafe_rbg")  # draws in one operation, which compiles faster

SMALL = TINY | {"model.ensemble_size": 3, "learner.reset_every": 0}


def small(changes=None, env_id="CartPole-v1"):
    """A valid config of few numbers, the rest by default, with fields changed by their dotted names."""
    config = RGRLConfig(env_id=env_id)
    for path, value in (SMALL | (changes or {})).items():
        config = fields.replace_at(config, path, value)
    config.validate()
    return config


def member(params, e):
    """The weights of one member of stacked ones."""
    return jax.tree.map(lambda x: x[e], params)


def episode(length, terminated, *, rows=13, padding=0):
    """An episode of a counter in CartPole's clothes: rewards 1, 2, 3, ..."""
    row = np.arange(rows + padding)
    last = length + (padding if terminated else 0)
    obs = np.where(row[:, None] <= last, row[:, None], 0.0) * np.ones(4) / 10
    return Episode(
        obs=jnp.asarray(obs, jnp.float32)[:, None],
        action=jnp.asarray(row % 2, jnp.int32)[:, None],
        reward=jnp.where(row < length, row + 1.0, 0.0)[:, None],
        length=jnp.asarray([length]),
        terminated=jnp.asarray([terminated]),
        truncated=jnp.asarray([not terminated]),
        info=None,
    )


def timestep(obs, t=0, action=None):
    """What a policy is given at row ``t`` of ``N`` episodes with these observations ``[N, ...]`` throughout."""
    rows = t + 2
    action = jnp.zeros((rows, len(obs)), jnp.int32) if action is None else action
    zeros = jnp.zeros(len(obs), bool)
    played = Episode(
        obs=jnp.broadcast_to(obs, (rows, *obs.shape)),
        action=action,
        reward=jnp.zeros((rows, len(obs))),
        length=jnp.full(len(obs), t, jnp.int32),
        terminated=zeros,
        truncated=zeros,
        info=None,
    )
    return Timestep(played, jnp.int32(t), (), ())


def is_finite(tree):
    """Whether all numbers of a pytree are finite."""
    return all(np.isfinite(x).all() for x in jax.tree.leaves(tree))


def assert_close(one, other, **tolerance):
    """Two pytrees hold nearly the same numbers."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), one, other)
