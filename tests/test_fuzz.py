"""Whatever a config or an environment holds: it is refused in one sentence, or two episodes of it are finite."""

import contextlib
import dataclasses
import itertools
import math
import os
from unittest import mock

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from tiny import TINY, says

import rgrl_jax as rgrl
from rgrl_jax.algos.base import list_algorithms
from rgrl_jax.envs import registry

ALGORITHMS = list(list_algorithms())
ENVS = [name for name in rgrl.list_envs() if ":" not in name]
MODELS = rgrl.list_models()


MANY = int(os.environ.get("RGRL_EXAMPLES", "40"))
"""Examples of each slow test."""


def fuzz(examples):
    """The same examples every time: a failure is met by everybody, and none by chance."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return hypothesis.settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=checks
    )


def refusal(act):
    """The one sentence of a refusal, or nothing."""
    try:
        act()
    except (ValueError, TypeError) as error:
        message = str(error)
        assert message and "\n" not in message, message
        return message
    return ""


@st.composite
def misspelt(draw, word):
    """A word with one letter missing, doubled or in the other case, or another word altogether."""
    i = draw(st.integers(0, len(word) - 1))
    return draw(
        st.sampled_from([word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:], word.swapcase(), "", "best"])
    )


# Values for a field.


def inside(field):
    """Values that the rule of a field allows, of a size that trains in no time."""
    rule = field.metadata
    if field.name == "env_id":
        return st.sampled_from(ENVS)
    if field.name == "model":
        return st.sampled_from(MODELS) | st.lists(st.sampled_from(MODELS), min_size=1, max_size=3).map("+".join)
    if "rate" in field.name.split("_") and rule.get("low") == 0.0:  # at great ones learning diverges, `run` says so
        rule = rule | {"high": min(rule["high"], 0.1)}
    if "several" in rule:
        return st.lists(_entries(rule), max_size=4).map(tuple)
    if "type" in rule:
        return st.booleans()
    if "allowed" in rule:
        return st.sampled_from(rule["allowed"])
    return _entries(rule) | (st.none() if rule.get("optional") else st.nothing())


def _entries(rule):
    if "least" in rule:
        return st.floats(rule["least"], rule["most"])
    if "optional" in rule:
        return st.integers(rule["low"], rule["low"] + 6)
    low, high = max(rule["low"], -10.0), min(rule["high"], 10.0)
    return st.sampled_from([low, high]) | st.floats(low, high)


ODD = st.sampled_from([math.nan, math.inf, -math.inf, -1, -0.5, 10**30, "", "7", (), [1], {}, 1j, b"x", object])


def outside(field):
    """Values that the rule of a field forbids."""
    rule = field.metadata
    odd = ODD | st.none() if not rule.get("optional") else ODD
    if "several" in rule:
        wrong = _outside(rule)
        return odd.filter(lambda x: x != ()) | st.tuples(wrong) | st.tuples(_entries(rule), wrong)
    if "type" in rule:
        words = misspelt(field.default) if field.name == "env_id" else st.just("gruu") | st.just("gru+")
        return odd.filter(lambda x: x != ()) | (words if rule["type"] is str else st.just(1))
    if "allowed" in rule:
        return odd | misspelt(rule["allowed"][0])
    return odd.filter(lambda x: not _allows(rule, x)) | _outside(rule)


def _outside(rule):
    """Numbers beyond an end of a range, or no numbers."""
    if "optional" in rule:
        return st.just(rule["low"] - 1) | st.floats(0.1, 9.9) | st.booleans()
    low, high = (rule["least"], rule["most"]) if "least" in rule else (rule["low"], rule["high"])
    ends = [low - 1.0, math.nan, *([] if math.isinf(high) else [high * 1.5 + 1.0])]
    return st.sampled_from(ends) | st.just("0.1") | st.none()


def _allows(rule, value):
    """Whether an odd value happens to be a number in range."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        return False
    if "optional" in rule:
        return isinstance(value, int) and value >= rule["low"]
    low, high = (rule["least"], rule["most"]) if "least" in rule else (rule["low"], rule["high"])
    return low <= value <= high


def fields_of(name):
    """The fields of an algorithm's config, except for its name."""
    return [field for field in dataclasses.fields(list_algorithms()[name]) if field.name != "rule"]


def base(name, **settings):
    """The defaults of an algorithm, as its preset for no environment in particular has them."""
    kind = list_algorithms()[name]
    own = {"rule": name} if "rule" in kind.__dataclass_fields__ else {}
    own |= {"units": "relu"} if name == "backprop" else {}
    return kind(**own | settings)


def no_compiling():
    """Fails if anything compiles."""
    return mock.patch("jax._src.compiler.compile_or_get_cached", side_effect=AssertionError("something compiled"))


@pytest.mark.parametrize("name", ALGORITHMS)
@fuzz(100)
@given(data=st.data())
def test_a_field_out_of_range_is_refused(name, data):
    """One bad value among good ones: the sentence names its field and what it is."""
    field = data.draw(st.sampled_from(fields_of(name)))
    value = data.draw(outside(field))
    base(name).validate()  # makes the environment
    config = base(name, **{field.name: value})
    with no_compiling():
        message = refusal(config.validate)
    assert field.name in message
    shown = value[-1] if isinstance(value, tuple) and value else value
    assert str(shown) in message or repr(shown) in message, message


@pytest.mark.parametrize("name", ALGORITHMS)
@fuzz(25)
@given(data=st.data())
def test_fields_in_range_are_refused_together_or_can_be_counted(name, data):
    """Good values that may not fit each other: a sentence that names one of them, or the cost of the run."""
    fields = data.draw(st.lists(st.sampled_from(fields_of(name)), max_size=6, unique_by=lambda x: x.name))
    config = base(name, **{field.name: data.draw(inside(field), label=field.name) for field in fields})
    message = refusal(config.validate)
    if message:
        assert any(field.name in message for field in fields_of(name)), message
    else:
        assert "weights per member" in str(config.describe())


# Whole runs.

SMALL = {
    "RGRLConfig": {name: value for name, value in TINY.items() if name not in ("max_steps", "episodes")},
    "UnitTeamConfig": {"hidden": (5, 4), "relaxation_steps": 3},
    "PolicyGeneratorConfig": {
        "hidden": (4,),
        "tile": 2,
        "embedding": 3,
        "generator_hidden": (5,),
        "evaluator_hidden": (5,),
        "probes": 3,
        "warmup_episodes": 1,
        "batch": 4,
        "buckets": 20,
        "kept_buckets": 8,
        "capacity": 7,
    },
    "DDPGConfig": {
        "hidden": (5, 4),
        "critic_hidden": (6, 5),
        "neuron_hidden": (3,),
        "batch": 4,
        "warmup_steps": 4,
        "replay_capacity": 60,
    },
}
GIVEN = ("episodes", "max_steps", "unroll", "plan_unroll")
"""What decides how long a run takes, or how long it compiles, and nothing else."""


def small(name, **settings):
    """Two episodes of few steps, little learning, small networks."""
    own = SMALL.get(list_algorithms()[name].__name__, {})
    return base(name, **own | {"max_steps": 5, "episodes": 2} | settings)


def layers(config, hidden):
    """A team of other layers, with every setting of a layer repeated for each."""
    several = [f.name for f in dataclasses.fields(config) if "several" in f.metadata and f.name != "hidden"]
    entries = {name: (getattr(config, name)[0],) * (len(hidden) + 1) for name in several}
    return dataclasses.replace(config, hidden=hidden, **entries)


def fitting(draw, name, changes):
    """A small config with a number of fields drawn anew, each of which is kept if it fits those before."""
    config = small(name)
    fields = [field for field in fields_of(name) if field.name not in GIVEN]
    for field in draw(st.permutations(fields))[:changes]:
        value = draw(inside(field))
        if field.name == "hidden" and isinstance(config, rgrl.UnitTeamConfig):
            changed = layers(config, value)
        else:
            changed = dataclasses.replace(config, **{field.name: value})
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
    with mock.patch.dict(registry._ENVS, {name: lambda limit: spec}):
        yield name


@st.composite
def boxes(draw):
    """Boxes of up to two axes, with bounds for all entries or one for each."""
    shape = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    size = math.prod(shape)
    low = draw(st.floats(-100.0, 100.0, width=32))
    width = draw(st.sampled_from([1e-3, 1.0, 50.0]))
    if draw(st.booleans()):
        return rgrl.Box(low, low + width, shape)
    return rgrl.Box((low,) * size, tuple(low + width * (i + 1) for i in range(size)), shape)


SPACES = boxes() | st.integers(1, 5).map(rgrl.Discrete)


@st.composite
def specs(draw):
    """Environments that draw observations and rewards from their ranges and end by chance."""
    observation, action = draw(SPACES), draw(SPACES)
    low = draw(st.floats(-50.0, 50.0, width=32))
    high = low + draw(st.sampled_from([0.01, 1.0, 100.0]))
    limit, ending = draw(st.integers(1, 6)), draw(st.sampled_from([0.0, 0.3, 1.0]))

    def look(key):
        if isinstance(observation, rgrl.Discrete):
            return jax.random.randint(key, (), 0, observation.n)
        bounds = (
            jnp.broadcast_to(jnp.ravel(jnp.asarray(x)), math.prod(observation.shape)) for x in box_of(observation)
        )
        low, high = (x.reshape(observation.shape) for x in bounds)
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
    return rgrl.EnvSpec("Fuzzed", reset, step, observation, action, max_steps=limit, **ranges)


def box_of(space):
    """Its bounds."""
    return space.low, space.high


def returning(name, change):
    """A fault: what ``reset`` or ``step`` returns is changed."""

    def spoil(spec):
        function = getattr(spec, name)
        return dataclasses.replace(spec, **{name: lambda *arguments: change(*function(*arguments))})

    return spoil


def setting(**values):
    """A fault: a part of another value."""
    return lambda spec: dataclasses.replace(spec, **values)


NAN = math.nan
BOX = rgrl.Box
FAULTS = [
    ("reward_range", setting(reward_range=(1.0, 0.0))),
    ("reward_range", setting(reward_range=(1.0, 1.0))),
    ("reward_range", setting(reward_range=(NAN, 1.0))),
    ("reward_range", setting(reward_range=(0.0, math.inf))),
    ("reward_range", setting(reward_range=1.0)),
    ("reward_range", setting(reward_range=("0", "1"))),
    ("return_range", setting(return_range=(1.0, -1.0))),
    ("return_range", setting(return_range=(-math.inf, 1.0))),
    ("max_steps", setting(max_steps=0)),
    ("max_steps", setting(max_steps=2.0)),
    ("max_steps", setting(max_steps=None)),
    ("goal", setting(goal=NAN)),
    ("goal", setting(goal="high")),
    ("observation", setting(observation=rgrl.Discrete(0))),
    ("observation", setting(observation=rgrl.Discrete(2.0))),
    ("observation", setting(observation=None)),
    ("observation", setting(observation=(0.0, 1.0))),
    ("observation", setting(observation=BOX(-math.inf, math.inf, (3,)))),
    ("observation", setting(observation=BOX(0.0, 1.0, (7, 7)))),  # of another shape than what is returned
    ("observation", setting(observation=BOX(0.0, 1.0, [3]))),
    ("observation", setting(observation=BOX(0.0, 1.0, (0,)))),
    ("action", setting(action=rgrl.Discrete(-1))),
    ("action", setting(action=rgrl.Discrete(True))),
    ("action", setting(action="left or right")),
    ("action", setting(action=BOX(1.0, -1.0, ()))),
    ("action", setting(action=BOX(1.0, 1.0, (2,)))),
    ("action", setting(action=BOX(NAN, 1.0, (2,)))),
    ("action", setting(action=BOX((0.0, 0.0), (1.0, -1.0), (2,)))),
    ("action", setting(action=BOX((0.0, 0.0), 1.0, (3,)))),
    ("action", setting(action=BOX("low", "high", ()))),
    ("observation", returning("reset", lambda obs, state: (jnp.zeros((5, 5, 5)), state))),
    ("observation", returning("step", lambda obs, *rest: (jnp.zeros((5, 5, 5)), *rest))),
    ("reset", returning("reset", lambda obs, state: ("seen", state))),
    ("reset", returning("reset", lambda obs, state: obs)),
    ("reset", returning("reset", lambda obs, state: (obs, state, {}))),
    ("reset", returning("reset", lambda obs, state: obs.upside_down())),
    ("step", returning("step", lambda obs, state, reward, *ends: (obs, state, reward, ends[0]))),
    ("step", returning("step", lambda obs, state, *rest: (obs, state, *rest) if rest[0] > 0 else None)),
    ("env_state", returning("step", lambda obs, state, *rest: (obs, state | {"more": 1}, *rest))),
    ("env_state", returning("step", lambda obs, state, *rest: (obs, {"t": jnp.zeros(2)}, *rest))),
    ("reward", returning("step", lambda obs, state, reward, *ends: (obs, state, jnp.ones(2), *ends))),
    ("reward", returning("step", lambda obs, state, reward, *ends: (obs, state, None, *ends))),
    ("terminated", returning("step", lambda *out: (*out[:3], jnp.float32(0.0), out[4]))),
    ("truncated", returning("step", lambda *out: (*out[:4], jnp.zeros(1, bool)))),
]


@fuzz(80)
@given(spec=specs(), fault=st.sampled_from(range(len(FAULTS))))
def test_a_faulty_environment_is_refused(spec, fault):
    """One fault in an environment that is fine otherwise: a sentence that names it and the part."""
    part, spoil = FAULTS[fault]
    with registered(spoil(spec)) as name, pytest.raises((ValueError, TypeError)) as error:
        rgrl.preset(name).validate()
    says(error, repr(name), part)


def test_what_is_no_environment_is_refused():
    """A maker that returns something else."""
    with registered({"reset": None}) as name, pytest.raises(TypeError) as error:
        rgrl.make_spec(name)
    says(error, repr(name), "must return an EnvSpec, not {'reset': None}")


def test_actions_without_bounds():
    """Plans are scaled to the bounds of actions, and so need some."""
    spec = dataclasses.replace(rgrl.make_spec("Pendulum-v1"), action=BOX(-math.inf, math.inf, ()))
    with registered(spec) as name, pytest.raises(ValueError) as error:
        rgrl.preset(name).validate()
    says(error, repr(name), "actions without bounds")


def trains_there(spec, name):
    """An algorithm on an environment: a refusal, or finite numbers."""
    with registered(spec) as env_id:
        config = dataclasses.replace(small(name), env_id=env_id)
        if not refusal(config.validate):
            assert_trains(config)


@fuzz(20)
@given(spec=specs())
def test_a_good_environment_is_let_in(spec):
    """Nothing compiles to find that out, and what a run costs can be told."""
    with registered(spec) as name:
        config = base("rgrl", env_id=name)
        with no_compiling():
            config.validate()
        assert "weights per member" in str(config.describe())


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
