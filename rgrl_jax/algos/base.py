"""What an algorithm is: a few pure functions, found by the type of its config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.rollout import Acting
from rgrl_jax.types import Episode, Key, Metrics, PyTree


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run costs, counted from its config. Steps are upper limits: episodes may end early.

    Attributes:
      env_id: the environment.
      episodes: training episodes.
      max_env_steps: environment steps.
      plans: plans made.
      updates: weight updates of each member.
      parameters: weights per member.
      plan_flops: floating-point operations per plan, counting 2 per weight and model step in the
        forward pass and as many in the backward pass to the actions.
      learn_flops: likewise per episode of learning, with the backward pass to the weights.
      state_bytes: memory of the train state.
      settings: every field of the config, for a look at what is about to run.
    """

    env_id: str
    episodes: int
    max_env_steps: int
    plans: int
    updates: int
    parameters: int
    plan_flops: int
    learn_flops: int
    state_bytes: int
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.env_id}: {self.episodes} episodes, at most {self.max_env_steps:,} env steps and "
            f"{self.plans:,} plans of {_si(self.plan_flops)}FLOP; {self.updates:,} updates per member, "
            f"{_si(self.learn_flops)}FLOP of learning per episode; {self.parameters:,} weights per member, "
            f"{_si(self.state_bytes)}B of state"
        )


def _si(value: float) -> str:
    """A number with its SI prefix, ``6.1 M``."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000 or prefix == "T":
            break
        value /= 1000
    return f"{value:.3g} {prefix}"


class Halves(NamedTuple):
    """What ``step`` and ``play`` are made of, for a loop that steps the environments itself.

    ``step(state, config)`` is ``learn(state, episode, memory, config)`` of the episode that `rollout` plays in
    ``spec(config)`` by ``act(state, config)``, and ``play`` is what it plays by ``show``. A policy that learns within
    the episode does so in its memory.

    Attributes:
      spec: ``config -> EnvSpec``; the environment as the algorithm plays it.
      act: ``(state, config) -> Acting``; how the next training episode is played.
      show: ``(key, state, config, num_episodes) -> Acting``; how noiseless episodes are.
      learn: ``(state, episode, memory, config) -> (state, Metrics)``; what follows a training episode, at whose end
        the policy had this memory.
    """

    spec: Callable[[Any], EnvSpec]
    act: Callable[[Any, Any], Acting]
    show: Callable[[Key, Any, Any, int], Acting]
    learn: Callable[[Any, Episode, PyTree, Any], tuple[Any, Metrics]]


class Algorithm(NamedTuple):
    """An algorithm as pure functions on an explicit state.

    Attributes:
      init: ``(key, config) -> state``; a pytree of arrays only, with fields ``key``, ``episode`` and ``env_steps``.
      step: ``(state, config) -> (state, Metrics)``; one episode and the learning after it.
      play: ``(key, state, config, num_episodes) -> Episode``; noiseless episodes of the frozen agent.
      describe: ``config -> Cost``; what a run costs, without compiling anything.
      halves: ``step`` and ``play`` in parts, or None; without them it cannot play environments on the host.
      shared: fields of the config that count what the devices of a single run share by ``rgrl_jax.sharing``; with
        none, devices can only take seeds.
    """

    init: Callable[[Key, Any], Any]
    step: Callable[[Any, Any], tuple[Any, Metrics]]
    play: Callable[[Key, Any, Any, int], Episode]
    describe: Callable[[Any], Cost]
    halves: Halves | None = None
    shared: tuple[str, ...] = ()


_ALGORITHMS: dict[type, tuple[str | tuple[str, ...], Algorithm]] = {}


def register_algorithm(name: str | tuple[str, ...], config_type: type, algorithm: Algorithm) -> None:
    """Makes ``train`` and its kin run ``algorithm`` for configs of ``config_type``.

    Args:
      name: of the algorithm, or the names of a family with one config type, of which the config's field ``rule`` is
        one.
      config_type: of its configs.
      algorithm: what runs them.

    Raises:
      ValueError: the config type is taken.
    """
    if config_type in _ALGORITHMS:
        raise ValueError(f"an algorithm for {config_type.__name__} is already registered")
    _ALGORITHMS[config_type] = (name, algorithm)


def get_algorithm(config: Any) -> Algorithm:
    """The algorithm that runs this config.

    Raises:
      TypeError: nothing is registered for its type.
    """
    if type(config) not in _ALGORITHMS:
        known = ", ".join(t.__name__ for t in _ALGORITHMS)
        raise TypeError(f"no algorithm for a {type(config).__name__}; configs are: {known}")
    return _ALGORITHMS[type(config)][1]


def algorithm_name(config: Any) -> str:
    """The name under which the algorithm of this config is registered."""
    get_algorithm(config)
    name = _ALGORITHMS[type(config)][0]
    return name if isinstance(name, str) else str(config.rule)


def list_algorithms() -> dict[str, type]:
    """Algorithm names and the config type of each."""
    names = {kind: (name,) if isinstance(name, str) else name for kind, (name, _) in _ALGORITHMS.items()}
    return {name: kind for kind, known in names.items() for name in known}
