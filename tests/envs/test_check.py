"""Refusals of faulty environments, one fault in each."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest

from rgrl_jax import envs
from rgrl_jax.envs.check import check_spec
from rgrl_jax.types import Box, Discrete

NAN = math.nan


def reset(key):
    """Starts at random numbers."""
    return jax.random.uniform(key, (3,)), {"t": jnp.int32(0)}


def step(key, state, action):
    """Counts to four."""
    t = state["t"] + 1
    return jax.random.uniform(key, (3,)), {"t": t}, jnp.float32(0.5), t == 3, t >= 4


GOOD = envs.EnvSpec("good", reset, step, Box(0.0, 1.0, (3,)), Discrete(2), (0.0, 1.0), 4, (0.0, 4.0))


def setting(name, value):
    """A fault: a field of another value, which the message names."""
    return pytest.param(name, dataclasses.replace(GOOD, **{name: value}), id=f"{name}={value}")


def returning(function, part, change):
    """A fault: ``reset`` or ``step`` returns something else, and the message names the part."""
    changed = lambda *arguments: change(*getattr(GOOD, function)(*arguments))  # noqa: E731
    return pytest.param(part, dataclasses.replace(GOOD, **{function: changed}), id=f"{function}-{part}")


@pytest.mark.parametrize(
    "part, spec",
    [
        *(setting("reward_range", x) for x in [(1.0, 0.0), (1.0, 1.0), (NAN, 1.0), (0.0, math.inf), 1.0, ("0", "1")]),
        *(setting("return_range", x) for x in [(1.0, -1.0), (-math.inf, 1.0)]),
        *(setting("max_steps", x) for x in [0, 2.0, None, True]),
        *(setting("goal", x) for x in [NAN, "high"]),
        *(setting("observation", x) for x in [Discrete(0), Discrete(2.0), None, (0.0, 1.0)]),
        *(setting("observation", Box(0.0, 1.0, shape)) for shape in [(7, 7), [3], (0,)]),
        setting("observation", Box(-math.inf, math.inf, (3,))),
        *(setting("action", x) for x in [Discrete(-1), Discrete(True), "left or right", Box("low", "high", ())]),
        *(setting("action", Box(*x)) for x in [(1.0, -1.0, ()), (1.0, 1.0, (2,)), (NAN, 1.0, (2,))]),
        *(setting("action", Box((0.0, 0.0), *x)) for x in [((1.0, -1.0), (2,)), (1.0, (3,))]),
        returning("reset", "observation", lambda obs, state: (jnp.zeros((5, 5)), state)),
        returning("reset", "reset", lambda obs, state: ("seen", state)),
        returning("reset", "reset", lambda obs, state: obs),
        returning("reset", "reset", lambda obs, state: (obs, state, {})),
        returning("reset", "reset", lambda obs, state: obs.upside_down()),
        returning("step", "observation", lambda obs, *rest: (jnp.zeros((5, 5)), *rest)),
        returning("step", "observation", lambda obs, *rest: (obs.astype(int), *rest)),
        returning("step", "step", lambda *out: out[:4]),
        returning("step", "step", lambda *out: out if out[2] > 0 else None),
        returning("step", "env_state", lambda obs, state, *rest: (obs, state | {"more": 1}, *rest)),
        returning("step", "env_state", lambda obs, state, *rest: (obs, {"t": jnp.zeros(2)}, *rest)),
        returning("step", "reward", lambda obs, state, reward, *ends: (obs, state, jnp.ones(2), *ends)),
        returning("step", "reward", lambda obs, state, reward, *ends: (obs, state, None, *ends)),
        returning("step", "terminated", lambda *out: (*out[:3], jnp.float32(0.0), out[4])),
        returning("step", "truncated", lambda *out: (*out[:4], jnp.zeros(1, bool))),
    ],
)
def test_a_fault_is_named(part, spec):
    """One sentence with the environment and the faulty part."""
    with pytest.raises((ValueError, TypeError)) as error:
        check_spec(spec, "faulty")
    message = str(error.value)
    assert message.startswith("env_id = 'faulty'") and part in message and "\n" not in message


def test_a_good_environment_is_let_in():
    """Without a fault there is no message; integers and bits are observations and rewards as well."""
    check_spec(GOOD, "good")
    bits = dataclasses.replace(
        GOOD,
        reset=lambda key: (jnp.zeros(3, bool), jnp.int32(0)),
        step=lambda key, state, action: (jnp.ones(3, bool), state, jnp.int32(1), jnp.bool_(True), jnp.bool_(False)),
    )
    check_spec(bits, "bits")


def test_what_is_no_spec_is_refused():
    """The message shows what the maker returned."""
    with pytest.raises(TypeError, match="'faulty': its maker must return an EnvSpec, not {'reset': None}"):
        check_spec({"reset": None}, "faulty")


def test_specs_are_checked_when_they_are_made():
    """By `make`, under the name that was asked for."""
    envs.register("faulty", lambda max_steps: dataclasses.replace(GOOD, max_steps=0))
    try:
        with pytest.raises(ValueError, match="env_id = 'faulty': max_steps = 0"):
            envs.make("faulty")
    finally:
        envs.unregister("faulty")
