"""Whatever a config or an environment holds: it is refused in one sentence, or two episodes of it are finite."""

import dataclasses
import math
from unittest import mock

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given

import rgrl_jax as rgrl
from rgrl_jax.algos.base import list_algorithms
from rgrl_jax.envs import registry

ALGORITHMS = list(list_algorithms())
ENVS = [name for name in rgrl.list_envs() if ":" not in name]
MODELS = rgrl.list_models()


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
    return draw(st.sampled_from([word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:], word.swapcase(), "", "best"]))


# Values for a field.


def inside(field):
    """Values that the rule of a field allows, of a size that trains in no time."""
    rule = field.metadata
    if field.name == "env_id":
        return st.sampled_from(ENVS)
    if field.name == "model":
        return st.sampled_from(MODELS) | st.lists(st.sampled_from(MODELS), min_size=1, max_size=3).map("+".join)
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
@fuzz(150)
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
@fuzz(60)
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
