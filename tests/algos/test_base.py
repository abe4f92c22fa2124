"""The registry, the base of configs and what a run costs."""

import re

import jax
import jax.numpy as jnp
import pytest
import tiny
from tiny import says

import rgrl_jax as rgrl
from rgrl_jax import display
from rgrl_jax.algos import base


@pytest.fixture
def toy():
    """The toy algorithm, registered while a test runs."""
    tiny.register_toy()
    yield tiny.ToyConfig()
    tiny.unregister_toy()


# The registry.


def test_an_algorithm_is_found_by_its_config(toy):
    """And by its name; one registered with a type of its own needs no field for it."""
    assert base.algorithm_name(toy) == "toy" and base.algorithm_names()[-1] == "toy"
    assert base.get_algorithm(toy) == tiny.TOY
    assert base.registered("toy") == (tiny.ToyConfig, tiny.TOY, {"tuned": {}})


def test_algorithms_that_share_a_type_are_told_apart_by_a_field():
    """As are the families."""
    for name in ("ste", "map_prop", "gogepo"):
        config = rgrl.preset("CartPole-v1", algo=name, **({"units": "bernoulli"} if name == "ste" else {}))
        assert (config.algorithm, base.algorithm_name(config)) == (name, name)
        assert base.get_algorithm(config) is base.registered(name).algorithm


def test_a_name_is_taken_once(toy):
    """Until it is given back; giving back what is not there does nothing."""
    with pytest.raises(ValueError) as error:
        base.register_algorithm("toy", tiny.ToyConfig, tiny.TOY)
    says(error, "'toy'", "already registered")
    base.unregister_algorithm("toy")
    base.unregister_algorithm("toy")
    assert "toy" not in base.algorithm_names()
    base.register_algorithm("toy", tiny.ToyConfig, tiny.TOY)


def test_unknown_algorithms():
    """The nearest names, or the types of configs that are known, are given."""
    with pytest.raises(ValueError) as error:
        base.registered("ddgp")
    says(error, "algo = 'ddgp'", "ddpg")
    with pytest.raises(TypeError) as error:
        base.get_algorithm(tiny.ToyConfig())
    says(error, "ToyConfig", "RGRLConfig", "DDPGConfig")


# Configs.


@pytest.mark.parametrize("env_id, near", [("CartPole-v0", "CartPole-v1"), ("pendulum", "Pendulum-v1")])
@pytest.mark.parametrize("name", ["rgrl", "reinforce", "udrlpg"])
def test_unknown_environments_are_refused(name, env_id, near):
    """By every config, however it was made; the nearest are named."""
    config = rgrl.preset("CartPole-v1", algo=name)
    with pytest.raises(ValueError) as error:
        config.replace(env_id=env_id).validate()
    says(error, repr(env_id), near)


def test_no_step_limit_is_the_environments_own():
    """``max_steps=None`` stands for 500 steps of CartPole-v1."""
    config = rgrl.preset("CartPole-v1", algo="reinforce")
    assert config.spec.max_steps == 500
    assert config.replace(max_steps=7).spec.max_steps == 7


def test_configs_of_defaults_show_nothing(toy):
    """Others show what was changed, groups as calls; one that cannot be says why in its table."""
    assert repr(toy) == "ToyConfig()" and repr(toy.replace(rows=3)) == "ToyConfig(rows=3)"
    config = rgrl.RGRLConfig().replace_at("planner.horizon", 7)
    assert repr(config) == "RGRLConfig(planner=PlannerConfig(horizon=7))"
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", config._repr_html_())
    assert rows == [("planner.horizon", "7", str(rgrl.RGRLConfig().planner.horizon))]
    assert str(config.describe()) in config._repr_html_()
    assert "rows = 0 must be at least 1" in toy.replace(rows=0)._repr_html_()


def test_grids_and_tracers_show_themselves():
    """A grid by its range; what has no value yet by its type and shape; what jax puts in a leaf's place, somehow."""
    config, seen = rgrl.preset("CartPole-v1", algo="backprop"), []

    def look(config):
        seen.append((repr(config), config._repr_html_()))
        return config

    assert "discount=float32[3] of 0.1 to 0.3" in repr(config.replace(discount=jnp.array([0.1, 0.2, 0.3])))
    grid = config.replace(discount=jnp.ones(4))
    jax.eval_shape(jax.vmap(look, in_axes=(config.axes("discount"),)), grid)
    assert "discount=float32[]" in seen[0][0] and "discount" in seen[0][1]
    jax.eval_shape(look, config)
    assert "actor_lr=(float32[]" in seen[1][0]
    for stand_in in (config.axes("discount"), jax.tree.map(lambda _: object(), config)):
        assert repr(stand_in).startswith("UnitTeamConfig(") and stand_in._repr_html_().startswith("<b>")


def test_states_show_themselves_in_a_line():
    """Counters as numbers, everything else by size; several runs, tracers and shapes as well."""
    config = rgrl.preset("Pendulum-v1", algo="ddpg")
    state, seen = jax.jit(rgrl.init)(jax.random.key(0), config), []
    numbers = sum(x.size for x in jax.tree.leaves(state.networks))
    for text in (repr(state), state._repr_html_()):
        assert f"{numbers:,} numbers" in text
    assert repr(state).startswith("DDPGState(key=key<fry>[]") and "episode=0, env_steps=0" in repr(state)
    shapes = jax.eval_shape(lambda state: seen.append(repr(state)) or state, state)
    assert "episode=int32[]" in seen[0] and "episode=int32[]" in repr(shapes)
    assert "episode=int32[2] of 0" in repr(jax.tree.map(lambda x: jnp.stack([x, x]), state))
    assert isinstance(state, display.Record)
    tiny.assert_same(jax.tree.map(lambda x: x, state), state)


# Costs.


def test_costs_are_checked_and_in_a_line(toy):
    """The counts are there, with the environment in front; the algorithm's own at the end."""
    with pytest.raises(ValueError, match="rows = 0"):
        toy.replace(rows=0).describe()
    cost = base.Cost("Env", 3, 4000, 50, 60_000, 7_100_000, 8_000_000_000, {"plan_flops": 20, "plans": 3000})
    assert str(cost) == (
        "Env: 3 episodes, at most 4,000 env steps; 50 updates of 60,000 weights, 7.1 MFLOP of learning per episode; "
        "8 GB of state; 20 plan flops; 3 k plans"
    )


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 999_999, 10**6, 10**9, 10**12, 10**16])
def test_costs_of_every_size_read_well(size):
    """One SI prefix, at most four digits before the unit, except beyond all prefixes."""
    text = str(base.Cost("Env", 1, 1, 1, 1, size, size))
    number, prefix = re.search(r"weights, ([\d.e+]+) ([kMGT]?)FLOP", text).groups()
    value = float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[prefix]
    assert value == pytest.approx(size, rel=5e-3)
    assert float(number) < 1000 or prefix == "T" or float(number) == 1000


def test_bytes_of_a_tree():
    """Of arrays, of shapes, and of keys as their words."""
    tree = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(4, jnp.int8), "c": jax.random.key(0)}
    assert base.tree_bytes(tree) == 24 + 4 + 8
    assert base.tree_bytes(jax.eval_shape(lambda: tree)) == 24 + 4 + 8
