"""Short texts and tables of records, for print and for notebooks, whatever their leaves are.

A leaf may be a number, an array, a tracer, a shape, or what jax puts in its place; nothing here asks for values that
are not there.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct


def show(value: Any) -> str:
    """Formats a value in a few characters: an array by type, shape and range, or as its only number."""
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))}{',' * (len(value) == 1)})"
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        return repr(value)
    kind = f"{value.dtype}{list(value.shape)}".replace(" ", "")
    numbers = _numbers(value)
    if numbers is None or not numbers.size:
        return kind
    if not numbers.shape:
        return str(numbers) if numbers.dtype.kind in "biu" else f"{numbers:.6g}"
    low, high = numbers.min(), numbers.max()
    return f"{kind} of {low:.4g}" + ("" if low == high else f" to {high:.4g}")


def show_tree(tree: Any) -> str:
    """Formats a pytree in a line: a single leaf as by `show`, else the count of its numbers and the first shapes."""
    leaves = jax.tree.leaves(tree)
    if len(leaves) == 1:
        return show(leaves[0])
    shapes = [show(jax.ShapeDtypeStruct(x.shape, x.dtype)) for x in leaves if hasattr(x, "dtype")]
    numbers = sum(int(np.prod(x.shape)) for x in leaves if hasattr(x, "shape"))
    more = ", ..." if len(shapes) > 3 else ""
    return f"{numbers:,} numbers in {len(leaves)} arrays" + (f": {', '.join(shapes[:3])}{more}" if shapes else "")


def show_changed(config: Any) -> str:
    """Formats a dataclass as a call with the fields that differ from their defaults, groups as calls again."""
    changed = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config) if _is_changed(config, f)]
    return f"{type(config).__name__}({', '.join(f'{name}={show(value)}' for name, value in changed)})"


def _is_changed(config: Any, field: Any) -> bool:
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(field.default) and dataclasses.is_dataclass(value):
        return any(_is_changed(value, f) for f in dataclasses.fields(value))
    return differs(value, field.default)


def differs(value: Any, default: Any) -> bool:
    """Tells whether a value is another than the default; an array is, unless it is a number equal to it."""
    if isinstance(value, tuple) and isinstance(default, tuple) and len(value) == len(default):
        return any(map(differs, value, default))
    if hasattr(value, "shape"):
        numbers = _numbers(value)
        return numbers is None or bool(numbers.shape) or bool(numbers != default)
    return bool(value is not default and value != default)


class Node(struct.PyTreeNode):
    """Base class of dataclasses that are pytrees and inherit their ``__repr__``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Else every dataclass would get a ``__repr__`` of its own.
        super().__init_subclass__(**{"repr": False, **kwargs})  # type: ignore[no-untyped-call]


class Record(Node):
    """Base class of dataclasses with large fields, such as states: shown by the sizes of these."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in self._rows())})"

    def _repr_html_(self) -> str:
        return table(type(self).__name__, ("field", "holds"), self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        return [(field.name, show_tree(getattr(self, field.name))) for field in dataclasses.fields(self)]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """Makes an HTML table under a title, with a note below."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    below = f"<p>{html.escape(note)}</p>" if note else ""
    return f"<b>{html.escape(title)}</b><table>{line(head, 'th')}{body}</table>{below}"


def mean(values: Any) -> str:
    """Formats the mean of an array; one without values, or of none that are numbers, by its type and shape."""
    numbers = _numbers(values)
    return show(values) if numbers is None or not numbers.size else f"{numbers.mean():.4g}"


def _numbers(value: Any) -> Any:
    """Returns the numbers of an array, or None where there are none to be had."""
    if isinstance(value, jax.core.Tracer) or not hasattr(value, "__array__"):
        return None
    if isinstance(value, jax.Array) and (value.is_deleted() or not value.is_fully_addressable):
        return None
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return None
    return np.asarray(value)
