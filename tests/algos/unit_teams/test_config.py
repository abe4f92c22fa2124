"""Settings that do not fit each other, and the published ones."""

import jax
import jax.numpy as jnp
import pytest
from tiny import says

from rgrl_jax.algos.presets import preset

BAD = [
    ({"units": "gaussian"}, ["units = 'gaussian'", "weight_max_traces", "on or off", "bernoulli"]),
    ({"algorithm": "ste", "units": "relu"}, ["units = 'relu'", "'ste'", "bernoulli"]),
    ({"algorithm": "backprop"}, ["units = 'bernoulli'", "'backprop'", "relu or softplus"]),
    ({"algorithm": "map_prop", "units": "softplus"}, ["'softplus'", "map_prop", "gaussian or bernoulli"]),
    ({"algorithm": "reinforce", "units": "relu"}, ["'relu'", "eligibility", "bernoulli or gaussian"]),
    ({"algorithm": "weight_max"}, ["actor_lambda = 0.7", "weight_max_traces"]),
    ({"algorithm": "reinforce", "delayed_unit_rewards": True}, ["delayed_unit_rewards", "weight_max_traces"]),
    ({"algorithm": "weightmax"}, ["algorithm = 'weightmax'", "weight_max"]),
    ({"temperature": (1.0, 0.0, 1.0)}, ["temperature[1] = 0.0", "at least 0.001"]),
    ({"critic_variance": (0.1, 0.1)}, ["critic_variance = (0.1, 0.1)", "3 entries", "2 hidden layers"]),
    ({"hidden": (5,)}, ["temperature", "2 entries", "1 hidden layers"]),
    ({"learning_signal": "target"}, ["learning_signal = 'target'", "map_prop", "continuous"]),
]


@pytest.mark.parametrize("overrides, parts", BAD, ids=lambda x: "-".join(x) if isinstance(x, dict) else "")
def test_settings_that_do_not_fit_are_refused(overrides, parts):
    with pytest.raises(ValueError) as error:
        preset("CartPole-v1", algo="weight_max_traces").replace(**overrides).validate()
    says(error, *parts)


def test_targets_need_an_environment_that_keeps_one():
    config = preset("ScalarRegression", algo="map_prop")
    for env_id in ("Pendulum-v1", "MountainCarContinuous-v0"):
        with pytest.raises(ValueError) as error:
            config.replace(env_id=env_id).validate()
        says(error, "learning_signal = 'target'", env_id)


def test_a_changed_rate_does_not_compile_again():
    """Tuples of floats are leaves; sizes are part of the structure."""
    config = preset("CartPole-v1", algo="weight_max_traces")
    same = jax.tree.structure(config.replace(actor_lr=(0.5, 0.5, 0.5), discount=0.1))
    assert jax.tree.structure(config) == same
    assert jax.tree.structure(config) != jax.tree.structure(config.replace(hidden=(5, 6)))
    hash(same)


def test_a_mapped_lambda_is_not_mistaken_for_one_that_is_not_0():
    """Validation inside a vmap over the traces of weight_max, which may not have any."""
    config = preset("CartPole-v1", algo="weight_max").replace(actor_lambda=jnp.zeros(2))
    jax.vmap(lambda config: config.validate() or 0.0, in_axes=(config.axes("actor_lambda"),))(config)


PUBLISHED = {
    ("weight_max", "CartPole-v1"): (1000, 0.0, 0.8, (0.02, 2e-4, 2e-5), (2e-4, 2e-6, 2e-7), 50_000, (1, 1, 1)),
    ("weight_max", "Acrobot-v1"): (1000, 0.0, 0.8, (0.1, 1e-3, 1e-4), (0.01, 1e-4, 1e-5), 1e6, (1, 1, 1)),
    ("weight_max_traces", "CartPole-v1"): (1000, 0.8, 0.8, (0.02, 2e-4, 2e-5), (2e-4, 2e-6, 2e-7), 50_000, (1, 1, 1)),
    ("weight_max_traces", "Acrobot-v1"): (1000, 0.8, 0.8, (0.1, 1e-3, 1e-4), (0.01, 1e-4, 1e-5), 1e6, (1, 1, 1)),
    ("map_prop", "CartPole-v1"): (1000, 0.95, 0.95, (0.01, 1e-5, 1e-6), (1e-3, 1e-6, 1e-8), 50_000, (1, 1, 2)),
    ("map_prop", "Acrobot-v1"): (500, 0.97, 0.97, (0.01, 1e-5, 1e-6), (1e-3, 1e-6, 1e-8), 100_000, (1, 1, 4)),
}


@pytest.mark.parametrize("algorithm, env_id", PUBLISHED)
def test_published_settings(algorithm, env_id):
    config = preset(env_id, "paper", algo=algorithm)
    found = (config.episodes, config.actor_lambda, config.critic_lambda, config.actor_lr, config.actor_lr_end)
    assert (*found, config.lr_decay_steps, config.temperature) == PUBLISHED[algorithm, env_id]
    assert (config.hidden, config.discount, config.num_envs) == ((64, 32), 0.98, 1)
    assert config.last_logit == ("learned" if algorithm == "map_prop" else "zero")


def test_published_budgets_of_the_tasks_of_one_step():
    """800,000, 4 million and about 1 million answers."""
    assert preset("Multiplexer-4", "paper", algo="weight_max").describe().max_env_steps == 800_000
    assert preset("Multiplexer-5", "paper", algo="map_prop").describe().max_env_steps == 4_000_000
    regression = preset("ScalarRegression", "paper", algo="map_prop").describe()
    assert regression.max_env_steps == pytest.approx(1e6, rel=0.01)


def test_presets_that_do_not_exist():
    with pytest.raises(ValueError) as error:
        preset("Pendulum-v1", "paper", algo="weight_max")
    says(error, "Pendulum-v1", "'paper'", "CartPole-v1")
    with pytest.raises(ValueError) as error:
        preset("CartPole-v1", "paper", algo="ste")
    says(error, "'paper'", "ste")
