"""What the configs of all algorithms share: fields that know what they may hold.

A config is a ``flax.struct`` pytree. Floats are traced leaves, so that a grid of them is one ``vmap``;
everything else is static. Ranges stand beside the fields, and `check_fields` reads them there.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from flax import struct

from rgrl_jax import showing

ConfigT = TypeVar("ConfigT")


def number(default: float, low: float = 0.0, high: float = math.inf, *, symbol: str = "") -> Any:
    """A finite float in ``low..high``: a traced leaf. ``symbol`` is the paper's."""
    return struct.field(default=default, metadata={"low": low, "high": high, "symbol": symbol})


def constant(default: float, low: float, high: float) -> Any:
    """A float in ``low..high`` that decides what is compiled, and so is static."""
    return struct.field(pytree_node=False, default=default, metadata={"least": low, "most": high})


def integer(default: int | None, low: int = 0, *, symbol: str = "") -> Any:
    """An integer of at least ``low``, static; may be None only if that is the default."""
    metadata = {"low": low, "optional": default is None, "symbol": symbol}
    return struct.field(pytree_node=False, default=default, metadata=metadata)


def numbers(default: tuple[float, ...], low: float = 0.0, high: float = math.inf, *, symbol: str = "") -> Any:
    """A tuple of finite floats in ``low..high``, one per layer: traced leaves."""
    return struct.field(default=default, metadata={"low": low, "high": high, "symbol": symbol, "several": True})


def integers(default: tuple[int, ...], low: int = 0, *, symbol: str = "") -> Any:
    """A tuple of integers of at least ``low``, one per layer; static."""
    metadata = {"low": low, "optional": False, "symbol": symbol, "several": True}
    return struct.field(pytree_node=False, default=default, metadata=metadata)


def choice(default: str, *others: str) -> Any:
    """One of a few words, static."""
    return struct.field(pytree_node=False, default=default, metadata={"allowed": (default, *others)})


def word(default: str) -> Any:
    """A name, static."""
    return struct.field(pytree_node=False, default=default, metadata={"type": str, "allowed_type": "a name"})


def flag(default: bool) -> Any:
    """True or False, static."""
    return struct.field(pytree_node=False, default=default, metadata={"type": bool, "allowed_type": "True or False"})


class Setting(NamedTuple):
    """A field of a config, explained.

    Attributes:
      name: of the field.
      symbol: the paper's, or nothing.
      default: its default.
      allowed: what it may be, in words.
      meaning: what it does, as the config's docstring says.
    """

    name: str
    symbol: str
    default: Any
    allowed: str
    meaning: str


def explain(config_type: type) -> list[Setting]:
    """Every field of a config type in order, with its range and its meaning."""
    text = inspect.cleandoc(str(config_type.__doc__)).split("Attributes:\n")[1]
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", text, flags=re.MULTILINE)
    meaning = {name: " ".join(lines.split()) for name, lines in found}
    return [
        Setting(f.name, f.metadata.get("symbol", ""), f.default, _allowed(f.metadata), meaning[f.name])
        for f in dataclasses.fields(config_type)
    ]


def _allowed(rule: Any) -> str:
    if "several" in rule:
        return "of each layer, " + _allowed(_single(rule))
    if "type" in rule:
        return str(rule["allowed_type"])
    if "allowed" in rule:
        return ", ".join(rule["allowed"])
    if "least" in rule:
        return f"{rule['least']:g}..{rule['most']:g}"
    if "optional" in rule:
        return f"integer, at least {rule['low']}" + " or None" * rule["optional"]
    return f"at least {rule['low']:g}" if math.isinf(rule["high"]) else f"{rule['low']:g}..{rule['high']:g}"


def _single(rule: Any) -> dict[str, Any]:
    """The rule of one entry of a tuple."""
    return {key: value for key, value in rule.items() if key != "several"}


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """The names in ``known`` that look most like ``name``, for error messages."""
    known = list(known)
    return ", ".join(difflib.get_close_matches(name, known, count, cutoff=0.3) or known)


def check_fields(config: Any) -> None:
    """Compares every field with the range beside it.

    Traced values are skipped: they were checked where they were concrete, or not at all.

    Raises:
      ValueError: a field is out of range; the message names it, its value and what is allowed.
    """
    for field in dataclasses.fields(config):
        _check_field(field.name, getattr(config, field.name), field.metadata)


def _check_field(name: str, value: Any, rule: Any) -> None:
    if "several" in rule:
        if not isinstance(value, tuple):
            raise ValueError(f"{name} = {value!r} must be a tuple with an entry of each layer")
        for i, entry in enumerate(value):
            _check_field(f"{name}[{i}]", entry, _single(rule))
    elif "type" in rule:
        if not isinstance(value, rule["type"]):
            raise ValueError(f"{name} = {value!r} must be {rule['allowed_type']}")
    elif "allowed" in rule:
        if value not in rule["allowed"]:
            raise ValueError(f"{name} = {value!r} is not one of {', '.join(rule['allowed'])}")
    elif "optional" in rule:
        if value is None and rule["optional"]:
            return
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ValueError(f"{name} = {value!r} must be an integer of at least {rule['low']}")
        if value < rule["low"]:
            raise ValueError(f"{name} = {value} must be at least {rule['low']}")
    elif "least" in rule:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} = {value!r} must be a number")
        if not rule["least"] <= value <= rule["most"]:
            raise ValueError(f"{name} = {value} must be finite and in {rule['least']:g}..{rule['most']:g}")
    elif "high" in rule:
        if is_traced(value):
            return
        low, high = rule["low"], rule["high"]
        entries = np.asarray(value)
        if entries.dtype.kind not in "iuf" or not entries.size or isinstance(value, (list, tuple)):
            raise ValueError(f"{name} = {value!r} must be a number")
        if not (np.isfinite(entries).all() and (entries >= low).all() and (entries <= high).all()):
            allowed = f"at least {low:g}" if math.isinf(high) else f"in {low:g}..{high:g}"
            raise ValueError(f"{name} = {value} must be finite and {allowed}")


def is_traced(value: Any) -> bool:
    """Whether a number has no value yet: it is traced, or a placeholder of jax's."""
    return isinstance(value, jax.core.Tracer) or type(value) is object


def check_names(config_type: type, names: Iterable[str]) -> None:
    """Makes sure that ``config_type`` has fields of these names.

    Raises:
      ValueError: it has not; the message gives the nearest.
    """
    known = [field.name for field in dataclasses.fields(config_type)]
    for name in names:
        if name not in known:
            raise ValueError(f"{config_type.__name__} has no field {name!r}; nearest: {nearest(name, known)}")


def changed(config: Any) -> list[tuple[str, Any, Any]]:
    """The fields that are not as they are by default: name, value, default."""
    own = [(f.name, getattr(config, f.name), f.default) for f in dataclasses.fields(config)]
    return [(name, value, usual) for name, value, usual in own if showing.differs(value, usual)]


def show(config: Any) -> str:
    """A config as a call with what differs from the defaults; of plain numbers, it makes the same config."""
    return (
        f"{type(config).__name__}({', '.join(f'{name}={showing.show(value)}' for name, value, _ in changed(config))})"
    )


def show_html(config: Any) -> str:
    """The same as a table beside the defaults, with what the run costs, or why it cannot be."""
    rows = [(name, showing.show(value), repr(usual)) for name, value, usual in changed(config)]
    try:
        note = str(config.describe())
    except (ValueError, TypeError) as error:
        note = str(error)
    return showing.table(f"{type(config).__name__}: {config.env_id}", ("changed", "value", "default"), rows, note)


def axes(config: ConfigT, names: Sequence[str]) -> ConfigT:
    """``in_axes`` for ``vmap``: 0 at the named floats, None elsewhere.

    Raises:
      ValueError: a name is not a traced field.
    """
    check_names(type(config), names)
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        if field.name in names and "high" not in field.metadata:
            raise ValueError(f"{field.name} is static, so vmap cannot map it; only floats can be mapped")
    blank = jax.tree.map(lambda _: None, config)
    return dataclasses.replace(blank, **dict.fromkeys(names, 0))
