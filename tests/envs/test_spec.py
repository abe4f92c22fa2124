"""Specs of environments on the host, and shapes of observations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax import envs
from rgrl_jax.envs.spec import observation_struct
from rgrl_jax.types import Box, Discrete


def hosted(observation, **settings):
    """A spec whose environment is never made."""
    ranges = {"reward_range": (0.0, 1.0), "return_range": (0.0, 9.0), "max_steps": 9}
    return envs.host_spec(
        "Robot", lambda renderable: None, observation=observation, action=Discrete(2), **ranges, **settings
    )


@pytest.mark.parametrize("call", ["reset", "step"])
def test_no_compiled_program_reaches_the_host(call):
    """One sentence names the environment and what to use instead."""
    spec = hosted(Discrete(3))
    arguments = (jax.random.key(0),) if call == "reset" else (jax.random.key(0), (), 0)
    with pytest.raises(ValueError, match="Robot lives on the host.*use rgrl.run instead of rgrl.train"):
        jax.jit(getattr(spec, call))(*arguments)


@pytest.mark.parametrize(
    "observation, dtype, shape", [(Discrete(3), np.int32, ()), (Box(0.0, 1.0, (2, 3)), np.uint8, (2, 3))]
)
def test_observations_of_the_host(observation, dtype, shape):
    """The shape is that of the space, the type as given; float32 by default."""
    struct = observation_struct(hosted(observation, dtype=dtype))
    assert (struct.shape, struct.dtype) == (shape, dtype)
    assert observation_struct(hosted(observation)).dtype == np.float32


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Catch-bsuite", "FrozenLake-misc"])
def test_observations_of_compiled_environments(env_id):
    """Those of a reset."""
    spec, key = envs.make(env_id), jax.random.key(0)
    struct, obs = observation_struct(spec, key), jnp.asarray(spec.reset(key)[0])
    assert (struct.shape, struct.dtype) == (obs.shape, obs.dtype)
