"""How records show themselves, in print and in a notebook: short, and whatever their leaves are.

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


def show(value: Any) -> str:
    """A value in a few characters: type and shape of an array, and its range or only number if they are known."""
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
    """A pytree in a line: a single leaf as by `show`, else how many numbers it holds, and the first shapes."""
    leaves = jax.tree.leaves(tree)
    if len(leaves) == 1:
        return show(leaves[0])
    shapes = [show(jax.ShapeDtypeStruct(x.shape, x.dtype)) for x in leaves if hasattr(x, "dtype")]
    numbers = sum(int(np.prod(x.shape)) for x in leaves if hasattr(x, "shape"))
    more = ", ..." if len(shapes) > 3 else ""
    return f"{numbers:,} numbers in {len(leaves)} arrays" + (f": {', '.join(shapes[:3])}{more}" if shapes else "")


def show_changed(config: Any) -> str:
    """Formats a dataclass as a call with the fields that differ from their defaults; those of groups as calls again."""
    changed = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config) if _changed(config, f)]
    return f"{type(config).__name__}({', '.join(f'{name}={show(value)}' for name, value in changed)})"


def _changed(config: Any, field: Any) -> bool:
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(field.default):
        return any(_changed(value, f) for f in dataclasses.fields(value)) if dataclasses.is_dataclass(value) else True
    return differs(value, field.default)


class Record:
    """Shows a dataclass by the sizes of its fields, in print and in a notebook; for states, which are large."""

    def __repr__(self) -> str:
        return show_record(self)

    def _repr_html_(self) -> str:
        return record_html(self)


def show_record(record: Any) -> str:
    """A dataclass with its fields as by `show_tree`, in a line."""
    inside = ", ".join(f"{name}={text}" for name, text in record_rows(record))
    return f"{type(record).__name__}({inside})"


def record_rows(record: Any) -> list[tuple[str, str]]:
    """Names of a dataclass's fields, and each as by `show_tree`."""
    return [(field.name, show_tree(getattr(record, field.name))) for field in dataclasses.fields(record)]


def record_html(record: Any) -> str:
    """The same as a table."""
    return table(type(record).__name__, ("field", "holds"), record_rows(record))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """An HTML table under a title, with a note below."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    below = f"<p>{html.escape(note)}</p>" if note else ""
    return f"<b>{html.escape(title)}</b><table>{line(head, 'th')}{body}</table>{below}"


def differs(value: Any, usual: Any) -> bool:
    """Whether a value is another than the usual one; an array is unless it is a number equal to it."""
    if isinstance(value, tuple) and isinstance(usual, tuple) and len(value) == len(usual):
        return any(map(differs, value, usual))
    if hasattr(value, "shape"):
        numbers = _numbers(value)
        return numbers is None or bool(numbers.shape) or bool(numbers != usual)
    return bool(value is not usual and value != usual)


def mean(values: Any) -> str:
    """The mean of an array as text; its type and shape if it has no values, or none that are numbers."""
    numbers = _numbers(values)
    return show(values) if numbers is None or not numbers.size else f"{numbers.mean():.4g}"


def _numbers(value: Any) -> Any:
    """An array's numbers; None where there are none to be had."""
    if isinstance(value, jax.core.Tracer) or not hasattr(value, "__array__"):
        return None
    if isinstance(value, jax.Array) and (value.is_deleted() or not value.is_fully_addressable):
        return None
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return None
    return np.asarray(value)
