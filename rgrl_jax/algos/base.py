"""The contract of an algorithm: a config, a state, and five pure functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

import jax

from rgrl_jax import display, envs
from rgrl_jax.algos import fields
from rgrl_jax.algos.fields import integer, name
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.rollout import Actor
from rgrl_jax.types import Array, Episode, Key, Metrics, PyTree


class Config(display.Node):
    """Base class of configs; ``rgrl_jax.algos.fields`` declares what a subclass adds.

    Floats are traced leaves, so that a grid of them is one ``vmap``; everything else is static.

    Attributes:
      sharded: dotted names of the fields that count rows which several devices can split, see ``rgrl_jax.spmd``; with
        none, a single run stays on one device.
    """

    sharded: ClassVar[tuple[str, ...]] = ()

    env_id: str = name("CartPole-v1", "Registered environment.")
    max_steps: int | None = integer(
        None, "Steps after which an episode is cut off; None for the environment's own limit.", low=1
    )
    episodes: int = integer(40, "Training episodes.", low=1)

    def __repr__(self) -> str:
        return display.show_changed(self)

    def _repr_html_(self) -> str:
        try:
            note = str(self.describe())
        except (ValueError, TypeError) as error:
            note = str(error)
        changed = [
            (setting.path, display.show(fields.get_at(self, setting.path)), repr(setting.default))
            for setting in fields.settings(type(self))
            if display.differs(fields.get_at(self, setting.path), setting.default)
        ]
        title = f"{type(self).__name__}: {self.env_id}"
        return display.table(title, ("changed", "value", "default"), changed, note)

    @property
    def spec(self) -> EnvSpec:
        """Returns the environment as the agent sees it."""
        return envs.make(self.env_id, self.max_steps)

    @property
    def episodes_per_row(self) -> int:
        """Counts the episodes that are trained one after the other for each row of the metrics."""
        return 1

    @property
    def action_repeat(self) -> int:
        """Counts the environment steps for which every action is held; a subclass may make it a field."""
        return 1

    @property
    def history_rows(self) -> int:
        """Counts the rows of the episode before the present one that the evaluation policy reads."""
        return 0

    def validate(self) -> None:
        """Checks every field, the environment, and how they fit together, before anything compiles.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        fields.check_fields(self)
        _ = self.spec  # refuses an unknown environment, and a faulty one

    def replace_at(self, path: str, value: Any) -> Self:
        """Replaces one field by its dotted name, ``config.replace_at("planner.lr", 0.1)``.

        Raises:
          ValueError: there is no such field.
        """
        fields.check_names(type(self), [path])
        new: Self = fields.replace_at(self, path, value)
        return new

    def axes(self, *paths: str) -> Self:
        """Makes ``in_axes`` for a ``vmap`` over the named floats: 0 there, None elsewhere.

        Raises:
          ValueError: there is no such field, or it is static.
        """
        fields.check_names(type(self), paths)
        traced = {setting.path for setting in fields.settings(type(self)) if setting.traced}
        for path in paths:
            if path not in traced:
                raise ValueError(f"{path} is static, so vmap cannot map it; only floats can be mapped")
        blank: Self = jax.tree.map(lambda _: None, self)
        for path in paths:
            blank = fields.replace_at(blank, path, 0)
        return blank

    def describe(self) -> Cost:
        """Counts what a run will cost, before anything compiles."""
        self.validate()
        cost: Cost = get_algorithm(self).cost(self)
        return cost


class State(Protocol):
    """Minimum of every algorithm's state: a pytree of arrays only, best made with ``rgrl_jax.display.Record``."""

    @property
    def key(self) -> Key:
        """Returns the key of the run; episode ``i`` uses ``fold_in(key, i)``."""

    @property
    def episode(self) -> Array:
        """Counts the rows of the metrics trained so far, scalar int32."""

    @property
    def env_steps(self) -> Array:
        """Counts the environment steps taken so far, scalar int32."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of a run, counted from its config. Steps are upper limits: episodes may end early.

    Attributes:
      env_id: the environment.
      episodes: training episodes.
      max_env_steps: environment steps.
      updates: weight updates of each network.
      parameters: weights that learn; of an ensemble per member.
      learn_flops: floating-point operations of learning per episode.
      state_bytes: memory of the state.
      extra: the algorithm's own counts, by name.
    """

    env_id: str
    episodes: int
    max_env_steps: int
    updates: int
    parameters: int
    learn_flops: int
    state_bytes: int
    extra: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        extra = "".join(f"; {_si(value).strip()} {name.replace('_', ' ')}" for name, value in self.extra.items())
        return (
            f"{self.env_id}: {self.episodes} episodes, at most {self.max_env_steps:,} env steps; "
            f"{self.updates:,} updates of {self.parameters:,} weights, {_si(self.learn_flops)}FLOP of learning per "
            f"episode; {_si(self.state_bytes)}B of state{extra}"
        )


def _si(value: float) -> str:
    """Formats a number with its SI prefix, ``6.1 M``."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000 or prefix == "T":
            break
        value /= 1000
    return f"{value:.3g} {prefix}"


def tree_bytes(tree: PyTree) -> int:
    """Counts the bytes of a pytree of arrays or shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


C = TypeVar("C", bound=Config)
S = TypeVar("S", bound=State)


class Algorithm(NamedTuple, Generic[C, S]):
    """An algorithm as pure functions on an explicit state; everything else is derived from them.

    Attributes:
      init: ``(key, config) -> state``.
      act: ``(state, config) -> Actor``; plays the next training episode. A policy that learns within the episode does
        so in its carry.
      learn: ``(state, episode, carry, config) -> (state, Metrics)``; learns from a training episode, at whose end the
        policy had this carry.
      evaluation_actor: ``(key, state, config, num_envs) -> Actor``; plays noiseless episodes of the frozen agent.
      cost: ``config -> Cost``; compiles nothing.
    """

    init: Callable[[Key, C], S]
    act: Callable[[S, C], Actor]
    learn: Callable[[S, Episode, PyTree, C], tuple[S, Metrics]]
    evaluation_actor: Callable[[Key, S, C, int], Actor]
    cost: Callable[[C], Cost]


Presets = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Settings by preset and environment, nested by group or with dotted names; ``"*"`` has those of all environments."""


class Registered(NamedTuple):
    """An entry of the registry.

    Attributes:
      config_type: type of its configs.
      algorithm: the functions that run them.
      presets: its settings per environment.
    """

    config_type: type[Config]
    algorithm: Algorithm[Any, Any]
    presets: Presets


_ALGORITHMS: dict[str, Registered] = {}


def register_algorithm(
    name: str, config_type: type[C], algorithm: Algorithm[C, Any], presets: Presets | None = None
) -> None:
    """Registers an algorithm, for ``rgrl_jax.preset(..., algo=name)`` and for all that runs configs.

    Args:
      name: of the algorithm. Several may share a config type, if its field ``algorithm`` holds the name.
      config_type: type of its configs.
      algorithm: the functions that run them.
      presets: settings per environment, ``{"tuned": {"CartPole-v1": {"planner.lr": 0.1}}}``; every environment has
        those under ``"*"`` unless its own say otherwise.

    Raises:
      ValueError: the name is taken.
    """
    if name in _ALGORITHMS:
        raise ValueError(f"algorithm {name!r} is already registered; pick another name")
    _ALGORITHMS[name] = Registered(config_type, algorithm, presets or {"tuned": {}})


def unregister_algorithm(name: str) -> None:
    """Removes an algorithm from the registry, if it is there."""
    _ALGORITHMS.pop(name, None)


def algorithm_name(config: Config) -> str:
    """Returns the name under which the algorithm of this config is registered.

    Raises:
      TypeError: nothing is registered for its type.
    """
    own = [name for name, known in _ALGORITHMS.items() if known.config_type is type(config)]
    if not own:
        known = ", ".join(dict.fromkeys(x.config_type.__name__ for x in _ALGORITHMS.values()))
        raise TypeError(f"no algorithm for a {type(config).__name__}; configs are: {known}")
    return str(getattr(config, "algorithm", own[0])) if len(own) > 1 else own[0]


def get_algorithm(config: Config) -> Algorithm[Any, Any]:
    """Returns the algorithm that runs this config.

    Raises:
      TypeError: nothing is registered for its type.
    """
    return _ALGORITHMS[algorithm_name(config)].algorithm


def registered(name: str) -> Registered:
    """Returns the entry of an algorithm.

    Raises:
      ValueError: there is none of this name.
    """
    if name not in _ALGORITHMS:
        raise ValueError(f"algo = {name!r} is unknown; nearest: {fields.nearest(name, _ALGORITHMS)}")
    return _ALGORITHMS[name]


def algorithm_names() -> list[str]:
    """Lists the registered names in the order of registration."""
    return list(_ALGORITHMS)
