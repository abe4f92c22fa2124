"""Texts and tables of records, whatever their leaves are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from rgrl_jax import display
from rgrl_jax.planning import PlanOutput
from rgrl_jax.planning.outputs import ModelOutput


class Leaf(display.Node):
    """A node without a text of its own."""

    x: float = 1.0


class Shown(Leaf):
    """One that inherits none either, and one that has one."""

    y: float = 2.0

    def __repr__(self):
        return f"Shown {self.y}"


class Heir(Shown):
    """One that inherits it."""

    z: float = 3.0


class Big(display.Record, struct.PyTreeNode):
    """A record, which may name both bases."""

    a: jax.Array
    b: dict


@pytest.mark.parametrize(
    "value, text",
    [
        (3, "3"),
        ("a", "'a'"),
        (None, "None"),
        (jnp.float32(0.5), "0.5"),
        (jnp.int32(7), "7"),
        (jnp.bool_(True), "True"),
        ((1, jnp.float32(0.5)), "(1, 0.5)"),
        ((1,), "(1,)"),
        (jnp.zeros((0, 2)), "float32[0,2]"),
        (np.arange(6).reshape(2, 3) / 2, "float64[2,3] of 0 to 2.5"),
        (jnp.ones(4, jnp.int32), "int32[4] of 1"),
        (jax.random.key(0), "key<fry>[]"),
        (jax.ShapeDtypeStruct((2, 3), jnp.float32), "float32[2,3]"),
    ],
    ids=repr,
)
def test_show(value, text):
    """Values in a few characters."""
    assert display.show(value) == text


def test_show_without_values():
    """Of tracers and of arrays that were given away only type and shape are known."""
    seen = []
    jax.jit(lambda x: seen.append((display.show(x), display.mean(x))) or x)(jnp.ones(3))
    assert seen == [("float32[3]", "float32[3]")]
    gone = jnp.ones(2)
    gone.delete()
    assert display.show(gone) == display.mean(gone) == "float32[2]"


def test_show_tree():
    """One leaf as itself; several as how many numbers they are, with the first shapes."""
    assert display.show_tree({"a": jnp.float32(2.0)}) == "2"
    tree = {"a": jnp.zeros(2), "b": jnp.zeros((3, 4))}
    assert display.show_tree(tree) == "14 numbers in 2 arrays: float32[2], float32[3,4]"
    many = [jnp.zeros((100, 100))] * 4
    assert display.show_tree(many).startswith("40,000 numbers in 4 arrays: float32[100,100], ")
    assert display.show_tree(many).endswith(", ...") and display.show_tree(()) == "0 numbers in 0 arrays"


def test_table():
    """What is in it is escaped; a note stands below, if there is one."""
    page = display.table("<b>", ("x",), [("y & z",)], "no <i>")
    assert page == "<b>&lt;b&gt;</b><table><tr><th>x</th></tr><tr><td>y &amp; z</td></tr></table><p>no &lt;i&gt;</p>"
    assert "<p>" not in display.table("t", ("x",), [])


def test_differs():
    """A number is compared, an array of several is always another, and so is what has no value."""
    assert not display.differs(jnp.float32(0.5), 0.5) and display.differs(jnp.float32(0.4), 0.5)
    assert display.differs(jnp.ones(1), 1.0) and display.differs(jax.ShapeDtypeStruct((), jnp.float32), 1.0)
    assert not display.differs((1, jnp.float32(2.0)), (1, 2.0)) and display.differs((1,), (1, 2))
    assert not display.differs(None, None) and display.differs(None, 1)


def test_mean():
    """Of an array; of none that are numbers type and shape."""
    assert display.mean(jnp.array([1.0, 2.0])) == "1.5"
    assert display.mean(jax.random.key(0)) == "key<fry>[]"
    assert display.mean(jnp.zeros(0)) == "float32[0]"


def test_nodes_inherit_their_text():
    """Which a dataclass would write over; they are pytrees, and frozen, all the same."""
    assert repr(Shown()) == "Shown 2.0" and repr(Heir(y=5.0)) == "Shown 5.0"
    assert jax.tree.leaves(Heir()) == [1.0, 2.0, 3.0] and Heir().replace(z=0.0) != Heir()
    assert repr(Leaf()) == "Leaf()"


def test_records_show_the_sizes_of_their_fields():
    """In a line and in a table; shapes and tracers as well."""
    big = Big(a=jnp.int32(3), b={"w": jnp.zeros((2, 3)), "v": jnp.ones(4)})
    assert repr(big) == "Big(a=3, b=10 numbers in 2 arrays: float32[4], float32[2,3])"
    assert "<tr><td>a</td><td>3</td></tr>" in big._repr_html_() and big._repr_html_().startswith("<b>Big</b>")
    assert "a=int32[]" in repr(jax.eval_shape(lambda: big))


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


def test_plan_in_a_line():
    """Its shape, and the error from where to where; the mean of many; shapes of tracers; nothing of no iterations."""
    out, seen = plan_output(), []
    line = "PlanOutput(plan float32[5,3] of 0, iterations 2, error 4 to 1.5, disagreement 0.25, saturation 0.5, "
    assert repr(out) == line + "movement 1.75)"
    assert "<td>4 to 1.5</td>" in out._repr_html_()
    several = jax.tree.map(lambda x: jnp.stack([x, 3.0 * x]), out)
    assert "plan float32[2,5,3]" in repr(several) and "error 8 to 3" in repr(several)
    jax.jit(jax.vmap(lambda out: seen.append(repr(out)) or out))(several)
    assert "plan float32[5,3], iterations 2, error float32[] to float32[2]" in seen[0]
    assert "error 1.5" in repr(out.replace(loss=jnp.zeros(0)))
    assert repr(jax.tree.map(lambda _: None, out)).startswith("PlanOutput(")
