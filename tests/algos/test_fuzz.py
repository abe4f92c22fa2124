"""Whatever a config or an environment holds: it is refused in one sentence, or two episodes of it are finite."""

import contextlib
import dataclasses
import itertools
import math
import os

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from tiny_configs import config_of, no_compiling, refusal

import rgrl_jax as rgrl
from rgrl_jax import envs
from rgrl_jax.algos import fields
from rgrl_jax.envs import EnvSpec
from rgrl_jax.types import Box, Discrete

ALGORITHMS = rgrl.algos.names()
ENVS = [name for name in envs.names() if ":" not in name]
MANY = int(os.environ.get("RGRL_EXAMPLES", "40"))
"""Examples of each slow test."""


def fuzz(examples):
    """The same examples every time: a failure is met by everybody, and none by chance."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return hypothesis.settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=checks
    )


# Values for a field.

NAMED = {"env_id": ENVS, "model.kind": rgrl.models.names()}


def inside(setting):
    """Values that the rule of a field allows, of a size that trains in no time."""
    rule, words = setting.rule, setting.path.replace(".", "_").split("_")
    if setting.path in NAMED:
        return st.sampled_from(NAMED[setting.path])
    if isinstance(rule, fields.PerLayer):
        return st.lists(_inside(rule.entry, "lr" in words), max_size=4).map(tuple)
    return _inside(rule, "lr" in words) | (st.none() if getattr(rule, "optional", False) else st.nothing())


def _inside(rule, is_rate):
    if isinstance(rule, fields.Choice):
        return st.sampled_from(rule.allowed)
    if isinstance(rule, fields.Optimizer):
        return st.sampled_from(["adam", "sgd", "adamw", "rmsprop"])
    if isinstance(rule, fields.Integer):
        return st.integers(rule.low, rule.low + 6)
    if isinstance(rule, fields.Type):
        return st.booleans()
    low, high = max(rule.low, -10.0), min(rule.high, 10.0)
    high = 0.1 if is_rate and low == 0.0 else high  # at great rates learning diverges
    return st.sampled_from([low, high]) | st.floats(low, high)


def fields_of(name):
    """The fields of an algorithm's config, except for its name."""
    return [x for x in fields.settings(type(config_of(name))) if x.path != "algorithm"]


ODD = st.sampled_from([math.nan, math.inf, -math.inf, -1, -0.5, 10**30, "", "7", (), [1], {}, 1j, b"x", object])


@pytest.mark.parametrize("name", ALGORITHMS)
@fuzz(100)
@given(data=st.data())
def test_odd_values_are_refused_or_let_in(name, data):
    """One of them among good ones: nothing but a sentence that names its field ever comes of it."""
    setting = data.draw(st.sampled_from(fields_of(name)))
    config = fields.replace_at(config_of(name), setting.path, data.draw(ODD))
    with no_compiling():
        message = refusal(config.validate)
    allowed = not refusal(lambda: setting.rule.check(setting.path, fields.get_at(config, setting.path)))
    known = [x.path for x in fields_of(name)] if allowed else [setting.path]
    assert any(path in message for path in known) or (allowed and not message), message


@pytest.mark.parametrize("name", ALGORITHMS)
@fuzz(25)
@given(data=st.data())
def test_values_in_range_are_refused_together_or_can_be_counted(name, data):
    """Good values that may not fit each other: a sentence that names one of them, or the cost of the run."""
    config = config_of(name)
    for setting in data.draw(st.lists(st.sampled_from(fields_of(name)), max_size=6, unique_by=lambda x: x.path)):
        config = config.replace_at(setting.path, data.draw(inside(setting), label=setting.path))
    message = refusal(config.validate)
    if message:
        assert any(setting.path in message for setting in fields_of(name)), message
    else:
        assert config.describe().parameters > 0


# Whole runs.

GIVEN = ("episodes", "max_steps", "model.unroll", "planner.unroll")
"""Fields that decide how long a run takes, or how long it compiles, and nothing else."""


def small(name):
    """Two episodes of few steps, little learning, small networks."""
    return config_of(name).replace(max_steps=5, episodes=2)


def with_layers(config, hidden):
    """A team of other layers, with every setting of a layer repeated for each."""
    for setting in fields.settings(type(config)):
        if isinstance(setting.rule, fields.PerLayer) and setting.traced:
            entries = fields.get_at(config, setting.path)
            config = config.replace_at(setting.path, entries[:1] * (len(hidden) + 1))
    return config.replace(hidden=hidden)


def fitting(draw, name, changes):
    """A small config with a number of fields drawn anew, each of which is kept if it fits those before."""
    config = small(name)
    settings = [setting for setting in fields_of(name) if setting.path not in GIVEN]
    for setting in draw(st.permutations(settings))[:changes]:
        value = draw(inside(setting))
        is_team = setting.path == "hidden" and isinstance(config, rgrl.UnitTeamConfig)
        changed = with_layers(config, value) if is_team else config.replace_at(setting.path, value)
        if not refusal(changed.validate):
            config = changed
    return config


def assert_trains(config):
    """Two episodes: every number that is told of them is finite."""
    jax.clear_caches()  # every config is a program of its own
    state, metrics = jax.jit(rgrl.train)(jax.random.key(0), config)
    assert int(state.episode) >= config.episodes
    for leaf in jax.tree.leaves(metrics):
        assert np.isfinite(leaf).all(), (metrics, config)


@pytest.mark.parametrize("name", ["rgrl", "map_prop"])
@fuzz(1)
@given(data=st.data())
def test_what_is_not_refused_trains(name, data):
    """A config with many fields changed at once."""
    assert_trains(fitting(data.draw, name, 12))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALGORITHMS)
@fuzz(MANY)
@given(data=st.data())
def test_what_is_not_refused_trains_at_length(name, data):
    """Many of them, of every algorithm."""
    assert_trains(fitting(data.draw, name, 25))


# Environments.

COUNT = itertools.count()


@contextlib.contextmanager
def registered(spec):
    """Registers an environment under a name of its own, which it yields."""
    name = f"Fuzzed-{next(COUNT)}"
    envs.register(name, lambda limit: spec)
    try:
        yield name
    finally:
        envs.unregister(name)


@st.composite
def boxes(draw):
    """Boxes of up to two axes, with bounds for all entries or one for each."""
    shape = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    size = math.prod(shape)
    low = draw(st.floats(-100.0, 100.0, width=32))
    width = draw(st.sampled_from([1e-3, 1.0, 50.0]))
    if draw(st.booleans()):
        return Box(low, low + width, shape)
    return Box((low,) * size, tuple(low + width * (i + 1) for i in range(size)), shape)


SPACES = boxes() | st.integers(1, 5).map(Discrete)


@st.composite
def specs(draw):
    """Environments that draw observations and rewards from their ranges and end by chance."""
    observation, action = draw(SPACES), draw(SPACES)
    low = draw(st.floats(-50.0, 50.0, width=32))
    high = low + draw(st.sampled_from([0.01, 1.0, 100.0]))
    limit, ending = draw(st.integers(1, 6)), draw(st.sampled_from([0.0, 0.3, 1.0]))

    def look(key):
        if isinstance(observation, Discrete):
            return jax.random.randint(key, (), 0, observation.n)
        ends = [
            jnp.broadcast_to(jnp.ravel(jnp.asarray(x)), math.prod(observation.shape)) for x in bounds_of(observation)
        ]
        low, high = (x.reshape(observation.shape) for x in ends)
        return jax.random.uniform(key, observation.shape, minval=low, maxval=high)

    def reset(key):
        return look(key), {"t": jnp.int32(0)}

    def step(key, state, action):
        t = state["t"] + 1
        see, pay, end = jax.random.split(key, 3)
        reward = jax.random.uniform(pay, (), minval=low, maxval=high) + 0.0 * jnp.sum(action)
        terminated = jax.random.bernoulli(end, ending)
        return look(see), {"t": t}, reward, terminated, (t >= limit) & ~terminated

    ranges = {"reward_range": (low, high), "return_range": (min(limit * low, low), max(limit * high, high))}
    return EnvSpec("Fuzzed", reset, step, observation, action, max_steps=limit, **ranges)


def bounds_of(box):
    return box.low, box.high


@pytest.mark.parametrize("name", ["rgrl", "ddpg", "udrlpg"])
def test_actions_without_bounds(name):
    """Actions are scaled to their bounds, and so need some."""
    spec = dataclasses.replace(envs.make("Pendulum-v1"), action=Box(-math.inf, math.inf, ()))
    with registered(spec) as env_id:
        message = refusal(config_of(name).replace(env_id=env_id).validate)
    assert repr(env_id) in message and "actions without bounds" in message


@fuzz(20)
@given(spec=specs())
def test_a_good_environment_is_let_in(spec):
    """Nothing compiles to find that out, and what a run costs can be told."""
    with registered(spec) as env_id:
        config = small("rgrl").replace(env_id=env_id)
        with no_compiling():
            config.validate()
        assert config.describe().parameters > 0


def trains_there(spec, name):
    """An algorithm on an environment: a refusal, or finite numbers."""
    with registered(spec) as env_id:
        config = small(name).replace(env_id=env_id)
        if not refusal(config.validate):
            assert_trains(config)


@fuzz(1)
@given(spec=specs())
def test_a_good_environment_is_trained_in(spec):
    """By reinforce, which compiles fastest and takes any actions."""
    trains_there(spec, "reinforce")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rgrl", "reinforce", "map_prop", "udrlpg", "gogepo", "ddpg", "neuron_ddpg"])
@fuzz(MANY)
@given(spec=specs())
def test_a_good_environment_is_trained_in_at_length(name, spec):
    """Many of them, by algorithms of every kind."""
    trains_there(spec, name)
