"""Config fields that carry their range, their help text and the paper's symbol.

A config is a ``flax.struct`` pytree. Floats are traced leaves, so that a grid of them is one ``vmap``; everything
else is static. A field may hold a group, which is a pytree of fields again and is addressed by dotted names:
``planner.lr``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from flax import struct

from rgrl_jax.display import Node, show_changed
from rgrl_jax.optimizers import optimizer_names


class Rule(Protocol):
    """Range of a field."""

    def check(self, name: str, value: Any) -> None:
        """Raises a ValueError with name, value and range unless the value is allowed."""

    def text(self) -> str:
        """Returns the allowed values in words."""


@dataclasses.dataclass(frozen=True)
class Number:
    """A finite float in ``low..high``; static if it decides what is compiled."""

    low: float
    high: float
    static: bool = False

    def check(self, name: str, value: Any) -> None:
        """See `Rule`. Traced values pass: they were checked where they were concrete."""
        if is_traced(value) and not self.static:
            return
        # Lists would pass for arrays, and True for 1; neither is what anybody means by a number.
        entries = np.asarray(None if is_traced(value) else value)
        numeric = entries.dtype.kind in "iuf" and entries.size and not isinstance(value, (list, tuple))
        if not numeric or (self.static and not isinstance(value, (int, float))):
            raise ValueError(f"{name} = {value!r} must be a number")
        if not (np.isfinite(entries).all() and (entries >= self.low).all() and (entries <= self.high).all()):
            raise ValueError(f"{name} = {value} must be finite and {self._range()}")

    def _range(self) -> str:
        return f"at least {self.low:g}" if math.isinf(self.high) else f"in {self.low:g}..{self.high:g}"

    def text(self) -> str:
        """See `Rule`."""
        return self._range().removeprefix("in ")


@dataclasses.dataclass(frozen=True)
class Integer:
    """An integer of at least ``low``; with ``optional`` also None."""

    low: int
    optional: bool = False

    def check(self, name: str, value: Any) -> None:
        """See `Rule`."""
        if value is None and self.optional:
            return
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ValueError(f"{name} = {value!r} must be an integer of at least {self.low}")
        if value < self.low:
            raise ValueError(f"{name} = {value} must be at least {self.low}")

    def text(self) -> str:
        """See `Rule`."""
        return f"integer, at least {self.low}" + " or None" * self.optional


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few words."""

    allowed: tuple[str, ...]

    def check(self, name: str, value: Any) -> None:
        """See `Rule`."""
        if value not in self.allowed:
            raise ValueError(f"{name} = {value!r} is not one of {', '.join(self.allowed)}")

    def text(self) -> str:
        """See `Rule`."""
        return ", ".join(self.allowed)


@dataclasses.dataclass(frozen=True)
class Type:
    """Any value of a type, described by ``words``."""

    type: type
    words: str

    def check(self, name: str, value: Any) -> None:
        """See `Rule`."""
        if not isinstance(value, self.type):
            raise ValueError(f"{name} = {value!r} must be {self.words}")

    def text(self) -> str:
        """See `Rule`."""
        return self.words


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The name of an optax optimizer that needs only a learning rate."""

    def check(self, name: str, value: Any) -> None:
        """See `Rule`."""
        if value not in optimizer_names():
            near = nearest(str(value), optimizer_names())
            raise ValueError(
                f"{name} = {value!r} is no optax optimizer that needs only a learning rate; nearest: {near}"
            )

    def text(self) -> str:
        """See `Rule`."""
        return "an optax optimizer"


@dataclasses.dataclass(frozen=True)
class PerLayer:
    """A tuple with one entry per layer."""

    entry: Rule

    def check(self, name: str, value: Any) -> None:
        """See `Rule`."""
        if not isinstance(value, tuple):
            raise ValueError(f"{name} = {value!r} must be a tuple with an entry of each layer")
        for i, entry in enumerate(value):
            self.entry.check(f"{name}[{i}]", entry)

    def text(self) -> str:
        """See `Rule`."""
        return f"of each layer, {self.entry.text()}"


def _field(default: Any, help: str, rule: Rule, symbol: str = "", *, traced: bool = False) -> Any:
    metadata = {"rule": rule, "help": help, "symbol": symbol}
    return struct.field(pytree_node=traced, default=default, metadata=metadata)


def number(
    default: float, help: str, *, low: float = 0.0, high: float = math.inf, symbol: str = "", static: bool = False
) -> Any:
    """Declares a finite float in ``low..high``: a traced leaf unless ``static``; ``symbol`` is the paper's."""
    return _field(default, help, Number(low, high, static), symbol, traced=not static)


def integer(default: int | None, help: str, *, low: int = 0, symbol: str = "") -> Any:
    """Declares a static integer of at least ``low``, which may be None only if that is the default."""
    return _field(default, help, Integer(low, default is None), symbol)


def numbers(
    default: tuple[float, ...], help: str, *, low: float = 0.0, high: float = math.inf, symbol: str = ""
) -> Any:
    """Declares a tuple of finite floats in ``low..high``, one per layer: traced leaves."""
    return _field(default, help, PerLayer(Number(low, high)), symbol, traced=True)


def integers(default: tuple[int, ...], help: str, *, low: int = 0, symbol: str = "") -> Any:
    """Declares a static tuple of integers of at least ``low``, one per layer."""
    return _field(default, help, PerLayer(Integer(low)), symbol)


def choice(default: str, *others: str, help: str) -> Any:
    """Declares a static word, ``default`` or one of ``others``."""
    return _field(default, help, Choice((default, *others)))


def name(default: str, help: str) -> Any:
    """Declares a static name."""
    return _field(default, help, Type(str, "a name"))


def optimizer(default: str, help: str) -> Any:
    """Declares a static name of an optax optimizer."""
    return _field(default, help, Optimizer())


def flag(default: bool, help: str) -> Any:
    """Declares a static bool."""
    return _field(default, help, Type(bool, "True or False"))


class Group(Node):
    """Base class of groups of fields, shown by what differs from the defaults."""

    def __repr__(self) -> str:
        return show_changed(self)


def group(settings: type, help: str) -> Any:
    """Declares a group of fields, with the defaults of its type."""
    return struct.field(default=settings(), metadata={"group": settings, "help": help})


class Setting(NamedTuple):
    """A field of a config type.

    Attributes:
      path: dotted name.
      default: value unless it is set.
      rule: range.
      help: a phrase for ``--help``.
      symbol: the paper's, or nothing.
      traced: whether it is a leaf of the pytree, which ``vmap`` can map.
    """

    path: str
    default: Any
    rule: Rule
    help: str
    symbol: str
    traced: bool


def settings(config_type: type, prefix: str = "") -> Iterator[Setting]:
    """Lists the fields of a config type in order, those of its groups by dotted names."""
    for field in dataclasses.fields(config_type):
        path, data = prefix + field.name, field.metadata
        if "group" in data:
            yield from settings(data["group"], f"{path}.")
        elif "rule" in data:
            yield Setting(path, field.default, data["rule"], data["help"], data["symbol"], data["pytree_node"])


def get_at(config: Any, path: str) -> Any:
    """Reads a field by its dotted name."""
    for part in path.split("."):
        config = getattr(config, part)
    return config


def replace_at(config: Any, path: str, value: Any) -> Any:
    """Returns a config with another value of one field, given by its dotted name."""
    head, _, rest = path.partition(".")
    return dataclasses.replace(config, **{head: replace_at(getattr(config, head), rest, value) if rest else value})


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turns nested settings into one dict by dotted names; later entries of the same name win."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Lists the names in ``known`` that look most like ``name``, for error messages."""
    known = list(known)
    close = difflib.get_close_matches(name, known, count, cutoff=0.3)
    # Whoever writes "plan_lr" means "planner.lr", which a comparison of letters ranks low.
    words = {word for word in name.replace(".", "_").split("_") if word}
    close += [path for path in known if path not in close and path.split(".")[-1] in words | {name}]
    return ", ".join(close[: count + 1] or known)


def check_names(config_type: type, names: Iterable[str]) -> None:
    """Checks that ``config_type`` has fields of these dotted names.

    Raises:
      ValueError: it has not; the message gives the nearest.
    """
    known = [setting.path for setting in settings(config_type)]
    for path in names:
        if path not in known:
            raise ValueError(f"{config_type.__name__} has no field {path!r}; nearest: {nearest(path, known)}")


def check_fields(config: Any) -> None:
    """Compares every field with its range.

    Raises:
      ValueError: a group is of another type, or a field is out of range; the message names it, its value and what is
        allowed.
    """
    for field in dataclasses.fields(config):
        kind = field.metadata.get("group")
        if kind is not None and not isinstance(getattr(config, field.name), kind):
            raise ValueError(f"{field.name} = {getattr(config, field.name)!r} must be a {kind.__name__}")
    for setting in settings(type(config)):
        setting.rule.check(setting.path, get_at(config, setting.path))


def is_traced(value: Any) -> bool:
    """Tells whether a number has no value yet: it is traced, or a placeholder of jax's."""
    # Within transformations jax rebuilds pytrees with bare objects as leaves, and a config may be checked then.
    return isinstance(value, jax.core.Tracer) or type(value) is object
