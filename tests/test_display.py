"""Configs, states and plans show themselves in a few words, whatever their leaves are, and stay pytrees."""

import re

import jax
import jax.numpy as jnp
import pytest
from tiny import assert_same, tiny_config

import rgrl_jax as rgrl
from rgrl_jax import display
from rgrl_jax.algos import fields
from rgrl_jax.algos.rgrl import config as groups
from rgrl_jax.planning import ModelOutput, PlanOutput

CONFIGS = [
    tiny_config(),
    rgrl.preset("CartPole-v1", algo="backprop"),
    rgrl.preset("Pendulum-v1", algo="ddpg"),
    rgrl.preset("CartPole-v1", algo="udrlpg"),
]


def plan_output(width=3):
    """A plan that says what it should be shown as."""
    return PlanOutput(
        plan=jnp.zeros((5, width)),
        latent=jnp.zeros((5, width)),
        loss=jnp.array([4.0, 2.0]),
        predicted=ModelOutput(jnp.zeros((5, 1)), None),
        score=jnp.array([1.0, 2.0]),
        disagreement=jnp.float32(0.25),
        saturation=jnp.float32(0.5),
        movement=jnp.float32(1.75),
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_config_is_what_it_says(config):
    """The call that a config shows makes the same one; its table has a row per change, and the cost of a run."""
    assert eval(repr(config), vars(groups) | {type(config).__name__: type(config)}) == config
    rows = re.findall(r"<tr><td>([\w.]+)</td><td>(.*?)</td><td>(.*?)</td></tr>", config._repr_html_())
    usual = {setting.path: setting.default for setting in fields.settings(type(config))}
    assert [row[0] for row in rows] == [path for path in usual if fields.get_at(config, path) != usual[path]]
    assert str(config.describe()) in config._repr_html_()


def test_config_of_defaults_says_nothing():
    """And one that cannot be says why."""
    assert repr(rgrl.RGRLConfig()) == "RGRLConfig()"
    config = rgrl.RGRLConfig().replace_at("planner.horizon", 7)
    assert repr(config) == "RGRLConfig(planner=PlannerConfig(horizon=7))"
    assert "planner.horizon = 0 must be" in config.replace_at("planner.horizon", 0)._repr_html_()


def test_grids_and_tracers_show_themselves():
    """A grid by its range; what has no value yet by its type and shape; what jax puts in a leaf's place, somehow."""
    config = tiny_config()
    assert "lr=float32[3] of 0.1 to 0.3" in repr(config.replace_at("planner.lr", jnp.array([0.1, 0.2, 0.3])))
    seen = []
    grid = config.replace_at("planner.lr", jnp.ones(4))
    jax.eval_shape(jax.vmap(repr_of(seen), in_axes=(config.axes("planner.lr"),)), grid)
    assert "lr=float32[]" in seen[0][0] and "planner.lr" in seen[0][1]
    jax.eval_shape(repr_of(seen), CONFIGS[1])
    assert "actor_lr=(float32[]" in seen[1][0]
    for stand_in in (config.axes("planner.lr"), jax.tree.map(lambda _: object(), config)):
        assert repr(stand_in).startswith("RGRLConfig(") and stand_in._repr_html_().startswith("<b>")


def repr_of(seen):
    """A function to trace that keeps how its argument shows itself."""

    def look(config):
        seen.append((repr(config), config._repr_html_()))
        return config

    return look


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_state_in_a_line(config):
    """Episodes and steps as numbers, everything else by size; of several runs, of tracers and of shapes likewise."""
    key = jax.random.key(0)
    state = jax.jit(rgrl.init)(key, config)
    line, page = repr(state), state._repr_html_()
    assert "episode=0" in line and "env_steps=0" in line and len(line) < 600
    for field, part in (("params", "params"), ("actor", "actor")):
        if hasattr(state, field):
            numbers = sum(x.size for x in jax.tree.leaves(getattr(state, part)))
            assert f"{part}={numbers:,} numbers" in line and f"{numbers:,} numbers" in page
    seen = []
    shapes = jax.eval_shape(lambda s: repr_of(seen)(s), state)
    assert "episode=int32[]" in seen[0][0] and "episode=int32[]" in repr(shapes)
    several = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    assert "episode=int32[2] of 0" in repr(several)
    assert_same(jax.tree.map(lambda x: x, state), state)


def test_plan_in_a_line():
    """Its shape, and the error from where to where; the mean of many; shapes of tracers; nothing of no iterations."""
    out, seen = plan_output(), []
    line = "PlanOutput(plan float32[5,3] of 0, iterations 2, error 4 to 1.5, disagreement 0.25, saturation 0.5, "
    assert repr(out) == line + "movement 1.75)"
    assert "<td>4 to 1.5</td>" in out._repr_html_()
    several = jax.tree.map(lambda x: jnp.stack([x, 3.0 * x]), out)
    assert "plan float32[2,5,3]" in repr(several) and "error 8 to 3" in repr(several)
    jax.jit(jax.vmap(repr_of(seen)))(several)
    assert "plan float32[5,3], iterations 2, error float32[] to float32[2]" in seen[0][0]
    assert "error 1.5" in repr(out.replace(loss=jnp.zeros(0)))
    assert repr(jax.tree.map(lambda _: None, out)).startswith("PlanOutput(")


def test_show():
    """Values in a few characters."""
    texts = {"3": 3, "'a'": "a", "0.5": jnp.float32(0.5), "True": jnp.bool_(True), "(1, 0.5)": (1, jnp.float32(0.5))}
    assert {text: display.show(value) for text, value in texts.items()} == {text: text for text in texts}
    assert display.show(jnp.zeros((0, 2))) == "float32[0,2]"
    assert display.show(jax.random.key(0)) == "key<fry>[]"
    assert (
        display.show_tree({"a": jnp.zeros(2), "b": jnp.zeros((3, 4))})
        == "14 numbers in 2 arrays: float32[2], float32[3,4]"
    )
    assert "&lt;b&gt;" in display.table("<b>", ("x",), [("y",)])
    assert not display.differs(jnp.float32(0.5), 0.5) and display.differs(jnp.ones(1), 1.0)
