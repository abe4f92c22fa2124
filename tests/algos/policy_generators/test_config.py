"""Settings that do not fit each other, and the published ones."""

import dataclasses

import numpy as np
import pytest
from algos.policy_generators.twins import small

from rgrl_jax import envs
from rgrl_jax.algos.policy_generators import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.presets import PRESETS
from rgrl_jax.types import Box


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        ({"hidden": ()}, r"hidden = \(\) must have an entry"),
        ({"hidden": (4, 5)}, r"hidden\[1\] = 5 must be a multiple of tile_size = 2"),
        ({"return_low": 5.0}, "return_low = 5.0 must be at most 0.0, return_high"),
        ({"return_low": np.array([0.0, 5.0])}, "return_low = .* must be at most 0.0, return_high"),
        ({"store": "ring", "num_envs": 9}, "capacity = 7 must be at least 9, num_envs"),
    ],
)
def test_settings_that_do_not_fit_are_refused(overrides, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        small().replace(**overrides).validate()


def test_policies_need_bounds():
    free = dataclasses.replace(envs.make("Pendulum-v1", 6), action=Box(-np.inf, np.inf, ()))
    envs.register("Unbounded", lambda limit: free)
    try:
        with pytest.raises(ValueError, match="'Unbounded' has actions without bounds"):
            small(env_id="Unbounded")
    finally:
        envs.unregister("Unbounded")


PUBLISHED = {
    "udrlpg": {
        "hidden": (256, 256), "tile_size": 32, "embedding_size": 32, "generator_hidden": (512, 512),
        "output_scale": 0.0, "param_noise": 0.1, "warmup": "generated", "warmup_episodes": 10,
        "return_increment": 0.0, "num_buckets": 800, "bucket_size": 2, "when_full": "reject",
        "overflow_bucket": "append", "rank_weight": 0.3, "batch_size": 24, "generator_updates": 8,
        "generator_lr": 2e-6, "obs_normalization": "running", "store": "buckets", "num_envs": 1,
    },
    "gogepo": {
        "hidden": (256, 256), "tile_size": 16, "embedding_size": 8, "generator_hidden": (256, 256),
        "output_scale": 2.0, "param_noise": 0.1, "warmup_episodes": 0, "return_increment": 20.0, "store": "ring",
        "capacity": 10_000, "recency_exponent": 1.1, "batch_size": 16, "generator_updates": 19, "generator_lr": 2e-6,
        "num_probes": 200, "evaluator_hidden": (256, 256), "evaluator_updates": 4, "evaluator_lr": 5e-3,
        "obs_normalization": "running", "num_envs": 1,
    },
}  # fmt: skip
RANGES = {
    "InvertedPendulum-v5": (0.0, 1000.0, 0.0),
    "Swimmer-v5": (-100.0, 365.0, 0.0),
    "Hopper-v5": (-100.0, 3000.0, 1.0),
}
RANGES = {f"{source}:{name}": values for source in ("gymnasium", "mjx") for name, values in RANGES.items()}


@pytest.mark.parametrize("name", ["udrlpg", "gogepo"])
def test_published_settings(name):
    """As the authors' code has them. The simulator need not be installed for this."""
    table = PRESETS[name]["paper"]
    assert set(table) == {"*", *RANGES}
    for env_id, (low, high, bonus) in RANGES.items():
        config = PolicyGeneratorConfig(env_id=env_id, **table["*"] | table[env_id])
        assert {field: getattr(config, field) for field in PUBLISHED[name]} == PUBLISHED[name]
        high = 2000.0 if name == "udrlpg" and bonus else high
        assert (config.return_low, config.return_high, config.survival_bonus) == (low, high, bonus)
