"""Settings of DDPG that do not fit together, and the published ones."""

import dataclasses

import numpy as np
import pytest
from algos.ddpg.twins import small
from tiny import says

import rgrl_jax as rgrl
from rgrl_jax import envs

BAD = [
    ({"env_id": "CartPole-v1"}, ["'CartPole-v1'", "discrete", "continuous"]),
    ({"env_id": "Pendulum"}, ["'Pendulum'", "Pendulum-v1"]),
    ({"replay_capacity": 5}, ["replay_capacity = 5", "at least 6", "max_steps"]),
    ({"num_envs": 6}, ["replay_capacity = 30", "at least 36", "num_envs"]),
    ({"hidden": (5, 0)}, ["hidden[1] = 0", "at least 1"]),
    ({"action_layer": 3}, ["action_layer = 3", "at most 2"]),
]


@pytest.mark.parametrize("overrides, parts", BAD)
def test_bad_settings_meet_one_sentence(overrides, parts):
    with pytest.raises(ValueError) as error:
        small().replace(**overrides).validate()
    says(error, *parts)


def test_actions_need_bounds():
    spec = envs.make("Pendulum-v1", 6)
    rgrl.register_env("Unbounded", lambda _: dataclasses.replace(spec, action=rgrl.Box(-np.inf, np.inf, ())))
    try:
        with pytest.raises(ValueError) as error:
            small(env_id="Unbounded")
    finally:
        envs.unregister("Unbounded")
    says(error, "'Unbounded'", "bounds")


def test_published_settings():
    """Section 7 of Lillicrap et al. (2016)."""
    config = rgrl.preset("Pendulum-v1", "paper", algo="ddpg")
    assert (config.hidden, config.critic_hidden, config.action_layer) == ((400, 300), (400, 300), 1)
    assert (config.actor_lr, config.critic_lr, config.tau, config.critic_decay) == (1e-4, 1e-3, 1e-3, 1e-2)
    assert (config.noise, config.ou_theta, config.noise_std, config.batch_size) == ("ou", 0.15, 0.2, 64)
    assert (config.discount, config.replay_capacity, config.final_init) == (0.99, 1_000_000, 3e-3)
