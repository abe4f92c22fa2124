"""Fields of configs: their ranges and refusals, dotted names, groups, and what is a leaf."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import says

from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Config


class Inner(fields.Group):
    """A group."""

    lr: float = fields.number(0.5, "Step size.", high=1.0, symbol="β")
    steps: int = fields.integer(3, "Steps.", low=1)
    optimizer: str = fields.optimizer("adam", "Optimizer.")


class Example(Config):
    """A field of every kind."""

    rate: float = fields.number(0.1, "Rate.", low=-1.0, high=2.0)
    shape: float = fields.number(0.1, "Share.", high=0.9, static=True)
    scale: float = fields.number(1.0, "Scale.", low=1e-3)
    count: int = fields.integer(2, "Count.", low=2)
    limit: int | None = fields.integer(None, "Limit.", low=1)
    rates: tuple[float, ...] = fields.numbers((0.1, 0.2), "Rate per layer.", high=1.0)
    sizes: tuple[int, ...] = fields.integers((4, 5), "Units per layer.", low=1)
    kind: str = fields.choice("one", "two", help="Kind.")
    label: str = fields.name("x", "Label.")
    switch: bool = fields.flag(False, "Switch.")
    inner: Inner = fields.group(Inner, "A group.")


OWN = ["rate", "shape", "scale", "count", "limit", "rates", "sizes", "kind", "label", "switch"]
PATHS = ["env_id", "max_steps", "episodes", *OWN, "inner.lr", "inner.steps", "inner.optimizer"]
FLOATS = ["rate", "scale", "rates", "inner.lr"]


def refused(path, value):
    """The error of an example with this value, which names the field."""
    with pytest.raises(ValueError) as error:
        Example().replace_at(path, value).validate()
    says(error, path)
    return error


REFUSALS = [
    ("rate", -1.5, "rate = -1.5 must be finite and in -1..2"),
    ("rate", 2.5, "rate = 2.5 must be finite and in -1..2"),
    ("rate", math.nan, "rate = nan must be finite and in -1..2"),
    ("scale", math.inf, "scale = inf must be finite and at least 0.001"),
    ("scale", 0.0, "scale = 0.0 must be finite and at least 0.001"),
    ("rate", "0.1", "rate = '0.1' must be a number"),
    ("rate", True, "rate = True must be a number"),
    ("rate", None, "rate = None must be a number"),
    ("rate", 1j, "rate = 1j must be a number"),
    ("rate", (), "rate = () must be a number"),
    ("rate", [0.1], "rate = [0.1] must be a number"),
    ("shape", 1.0, "shape = 1.0 must be finite and in 0..0.9"),
    ("shape", True, "shape = True must be a number"),
    ("count", 1, "count = 1 must be at least 2"),
    ("count", 2.0, "count = 2.0 must be an integer of at least 2"),
    ("count", True, "count = True must be an integer of at least 2"),
    ("count", "7", "count = '7' must be an integer of at least 2"),
    ("count", None, "count = None must be an integer of at least 2"),
    ("limit", 0, "limit = 0 must be at least 1"),
    ("rates", 0.1, "rates = 0.1 must be a tuple with an entry of each layer"),
    ("rates", (0.1, 1.5), "rates[1] = 1.5 must be finite and in 0..1"),
    ("sizes", [4], "sizes = [4] must be a tuple with an entry of each layer"),
    ("sizes", (4, 0), "sizes[1] = 0 must be at least 1"),
    ("sizes", (4.0,), "sizes[0] = 4.0 must be an integer of at least 1"),
    ("kind", "three", "kind = 'three' is not one of one, two"),
    ("label", 7, "label = 7 must be a name"),
    ("switch", "False", "switch = 'False' must be True or False"),
    ("switch", 1, "switch = 1 must be True or False"),
    ("inner.lr", 1.5, "inner.lr = 1.5 must be finite and in 0..1"),
    ("inner.steps", 0, "inner.steps = 0 must be at least 1"),
    (
        "inner.optimizer",
        "addam",
        "inner.optimizer = 'addam' is no optax optimizer that needs only a learning rate; nearest: adam, radam, "
        "adamw",
    ),
]


@pytest.mark.parametrize("path, value, message", REFUSALS, ids=[f"{path}={value!r}" for path, value, _ in REFUSALS])
def test_refusals(path, value, message):
    """The whole sentence: name, value and range."""
    assert str(refused(path, value).value) == message


ALLOWED = [
    *(("rate", x) for x in (-1.0, 2.0, 1, np.float32(0.5), jnp.array([0.0, 2.0]), np.arange(3) / 2)),
    *(("scale", x) for x in (1e-3, 1e30)),
    *(("shape", x) for x in (0.0, 0.9)),
    *(("count", x) for x in (2, np.int64(5), 10**12)),
    *(("limit", x) for x in (None, 1)),
    *(("rates", x) for x in ((), (0.0, 1.0, jnp.float32(0.5)))),
    *(("sizes", x) for x in ((), (1, 2, 3))),
    ("kind", "two"),
    ("label", ""),
    ("switch", True),
    ("inner.optimizer", "lion"),
]


@pytest.mark.parametrize("path, value", ALLOWED, ids=[f"{path}={value!r}" for path, value in ALLOWED])
def test_ends_of_ranges_are_allowed(path, value):
    """And what else is a value of the kind: arrays are grids of floats."""
    Example().replace_at(path, value).validate()


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.25])
def test_every_entry_of_a_grid_is_checked(place, bad):
    """Wherever the bad one stands."""
    refused("rate", jnp.array([0.1, 0.2, 0.3]).at[place].set(bad))


@settings(max_examples=200, deadline=None)
@given(value=st.floats() | st.integers(-(10**40), 10**40))
def test_a_number_is_refused_or_in_range(value):
    """Any at all."""
    config = Example(rate=value)
    if -1.0 <= value <= 2.0:
        config.validate()
    else:
        with pytest.raises(ValueError, match="rate = "):
            config.validate()


def test_traced_values_pass_and_the_rest_does_not():
    """Inside jit and vmap floats cannot be looked at; static fields and concrete floats still can."""

    def check(config):
        config.validate()
        return config.rate + config.inner.lr

    config = Example()
    assert jax.jit(check)(config) == pytest.approx(0.6)
    grid = config.replace(rate=jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(jax.vmap(check, in_axes=(grid.axes("rate"),))(grid), [0.6, 0.7], rtol=1e-6)
    with pytest.raises(ValueError, match="count = 1"):
        jax.jit(check)(config.replace(count=1))
    with pytest.raises(ValueError, match="scale = -1"):
        jax.jit(lambda rate: check(config.replace(rate=rate, scale=-1.0)))(0.1)
    with pytest.raises(ValueError, match="shape = "):
        jax.jit(lambda share: check(config.replace(shape=share)))(0.1)


def test_settings_are_listed_in_order():
    """By dotted names, with default, range, help, symbol, and whether they are leaves."""
    found = {x.path: x for x in fields.settings(Example)}
    assert list(found) == PATHS
    assert [path for path in PATHS if found[path].traced] == FLOATS
    assert found["inner.lr"]._replace(rule=None) == ("inner.lr", 0.5, None, "Step size.", "β", True)
    texts = {
        "rate": "-1..2",
        "scale": "at least 0.001",
        "count": "integer, at least 2",
        "limit": "integer, at least 1 or None",
        "rates": "of each layer, 0..1",
        "kind": "one, two",
        "switch": "True or False",
        "inner.optimizer": "an optax optimizer",
    }
    assert {path: found[path].rule.text() for path in texts} == texts


def test_values_by_dotted_names():
    """They are read and replaced; the config that was is as it was."""
    config = Example()
    changed = fields.replace_at(fields.replace_at(config, "inner.steps", 5), "rate", 0.3)
    assert (fields.get_at(changed, "inner.steps"), changed.inner.lr, changed.rate) == (5, 0.5, 0.3)
    assert config == Example() and changed != config
    assert config.replace_at("inner.steps", 3) == config


def test_nested_settings_become_flat():
    """Of groups at any depth; what stands later wins, an empty group says nothing."""
    nested = {"a": 1, "b": {"c": 2, "d": {"e": (3,)}}, "f": {}}
    assert fields.flatten(nested) == {"a": 1, "b.c": 2, "b.d.e": (3,)}
    assert fields.flatten({"b.c": 1, "b": {"c": 2}}) == {"b.c": 2}
    assert fields.flatten({"b": {"c": 2}, "b.c": 1}) == {"b.c": 1}


def test_nearest_names():
    """By letters, by the last word of a dotted name, and all there are if nothing is near."""
    assert fields.nearest("zzz", ["abc", "def"]) == "abc, def"
    assert fields.nearest("abd", ["abc", "xyz"]) == "abc"
    assert "planner.lr" in fields.nearest("plan_lr", ["plain", "plane", "plant", "planner.lr", "other"])


@pytest.mark.parametrize(
    "path, near", [("rat", "rate"), ("inner.step", "inner.steps"), ("lr", "inner.lr"), ("inner", "")]
)
def test_unknown_names(path, near):
    """A group is no field either."""
    for act in (Example().axes, lambda path: Example().replace_at(path, 1)):
        with pytest.raises(ValueError) as error:
            act(path)
        says(error, "Example has no field", repr(path), near)


def test_a_group_must_be_one():
    """Not a dict, and not another group."""
    for value in ({"lr": 0.1}, None):
        with pytest.raises(ValueError, match="must be a Inner|must be an Inner"):
            Example(inner=value).validate()


def test_floats_are_the_leaves():
    """Those of groups and of layers among them, in order, and nothing else is."""
    config = Example()
    leaves, tree = jax.tree.flatten(config)
    assert leaves == [0.1, 1.0, 0.1, 0.2, 0.5]
    assert jax.tree.unflatten(tree, leaves) == config
    doubled = jax.tree.map(lambda x: 2 * x, config)
    assert (doubled.inner.lr, doubled.rates, doubled.count, doubled.shape) == (1.0, (0.2, 0.4), 2, 0.1)


def test_axes():
    """0 at the named floats and None at the others, in a config of the same static part; maps a grid of two."""
    config = Example()
    for paths in ((), ("rate",), ("inner.lr", "scale"), tuple(FLOATS)):
        axes = config.axes(*paths)
        for path in PATHS:
            kept = fields.get_at(config, path) if path not in FLOATS else (None, None) if path == "rates" else None
            assert fields.get_at(axes, path) == (0 if path in paths else kept)
    grid = config.replace(rate=jnp.array([1.0, 2.0])).replace_at("inner.lr", jnp.array([3.0, 5.0]))
    product = jax.vmap(lambda c: c.rate * c.inner.lr + c.scale, in_axes=(grid.axes("rate", "inner.lr"),))
    np.testing.assert_array_equal(jax.jit(product)(grid), [4.0, 11.0])


@pytest.mark.parametrize("path", [path for path in PATHS if path not in FLOATS])
def test_static_fields_cannot_be_mapped(path):
    """And the message says so."""
    with pytest.raises(ValueError) as error:
        Example().axes("rate", path)
    says(error, f"{path} is static", "floats")


def test_changed_floats_do_not_retrace():
    """A jitted function is traced once for all values of the floats, and anew for a changed word or integer."""
    traces = []

    @jax.jit
    def total(config):
        traces.append(config.kind)
        return sum(jax.tree.leaves(config))

    config = Example()
    before = total(config)
    for path in ("rate", "scale", "inner.lr"):
        moved = total(config.replace_at(path, fields.get_at(config, path) + 0.25))
        np.testing.assert_allclose(moved, before + 0.25, rtol=1e-5)
    total(Example())  # equal, and another object
    assert traces == ["one"]
    total(config.replace(kind="two"))
    total(config.replace_at("inner.steps", 4))
    assert traces == ["one", "two", "one"]


def test_configs_are_frozen():
    """They are changed by replace, never in place."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Example().count = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        Example().inner.lr = 3.0
