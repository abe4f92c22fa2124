"""Names of environments, and the cache of their specs."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from rgrl_jax import envs
from rgrl_jax.envs import registry


@pytest.fixture
def mine():
    """A name for a new environment, free again after the test."""
    yield "mine"
    envs.unregister("mine")


def test_specs_are_cached():
    """Equal arguments, however they are spelled, give the same object, so that nothing compiles twice."""
    assert (
        envs.make("CartPole-v1") is envs.make("CartPole-v1", None) is envs.make(env_id="CartPole-v1", max_steps=None)
    )
    assert envs.make("Acrobot-v1", 5) is envs.make("Acrobot-v1", 5)
    assert envs.make("Acrobot-v1", 5) is not envs.make("Acrobot-v1", 6)
    assert envs.make("Acrobot-v1", 5, 2) is envs.make("Acrobot-v1", 5, 2)
    assert envs.make("Acrobot-v1", 5, 2) is not envs.make("Acrobot-v1", 5)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Catch-bsuite", "Blackjack-v1"])
def test_specs_can_be_made_inside_jit(env_id):
    """A spec made first while something compiles is as good as any: it keeps no tracer."""
    key, limit = jax.random.key(4), 41  # a limit that no other test asks for
    inside = jax.jit(lambda key: envs.make(env_id, limit).reset(key)[0])(key)
    spec = envs.make(env_id, limit)
    outside, state = jax.jit(spec.reset)(key)
    np.testing.assert_allclose(inside, outside, rtol=1e-6)
    jax.jit(spec.step)(key, state, 1)


def test_an_unknown_environment_is_answered_with_the_nearest():
    """A typing error is met with the right name; anything else with the names there are."""
    with pytest.raises(ValueError, match=r"env_id = 'Cartpole-v0' is not registered; nearest: CartPole-v1"):
        envs.make("Cartpole-v0")
    with pytest.raises(ValueError, match="FrozenLake-misc.*any environment of gymnasium is gymnasium:ID"):
        envs.make("@@@@")
    assert registry.is_known("brax:hoper") and not registry.is_known("brux:hopper")


def test_a_taken_name_is_refused():
    """Registering twice is an error that names the environment, and changes nothing."""
    before = envs.make("CartPole-v1")
    with pytest.raises(ValueError, match="'CartPole-v1' is already registered"):
        envs.register("CartPole-v1", lambda max_steps: before)
    assert envs.names().count("CartPole-v1") == 1


def test_an_environment_comes_and_goes(mine):
    """It is listed last, gets the step limit, and leaves no spec behind."""
    asked = []
    envs.register(mine, lambda max_steps: asked.append(max_steps) or envs.make("Pendulum-v1"))
    assert envs.names()[-1] == mine and registry.is_known(mine)
    assert envs.make(mine, 3) is envs.make(mine, 3) is envs.make("Pendulum-v1")
    assert asked == [3]
    envs.unregister(mine)
    envs.unregister(mine)  # nothing happens
    assert mine not in envs.names()
    with pytest.raises(ValueError, match="not registered"):
        envs.make(mine, 3)
    envs.register_env(mine, lambda max_steps: envs.make("Acrobot-v1"))
    assert envs.make(mine, 3) is envs.make("Acrobot-v1")


def test_importing_makes_no_arrays_and_loads_no_other_library():
    """Several processes must join before there are arrays; and nobody waits for what is not used."""
    code = (
        "import sys, jax, rgrl_jax.envs as envs; names = envs.names(); "
        "heavy = {'gymnax', 'gymnasium', 'mujoco', 'brax', 'matplotlib'} & set(sys.modules); "
        "from jax._src import xla_bridge; "
        "print(len(names) > 10, sorted(heavy), xla_bridge.backends_are_initialized())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[0] == "True [] False"
