"""What a run calls, whichever place its environment lives in: compiled programs, or the loop on the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rgrl_jax import sharing, training
from rgrl_jax.algos.base import algorithm_name, get_algorithm
from rgrl_jax.experiment import host, processes
from rgrl_jax.types import Array, Episode, Key, Metrics


def play(key: Key, state: Any, config: Any, num_episodes: int = 1) -> Episode:
    """Plays fresh episodes with a frozen agent and no plan noise, in lockstep.

    A pure function, ready for ``jit`` and ``vmap``, unless the environment lives on the host: then it is called as
    it is.

    Args:
      key: decides the episodes.
      state: as returned by `rgrl_jax.train` or `rgrl_jax.run`, of one run (``vmap`` for several).
      config: the config it was trained with.
      num_episodes: ``N``. Static.

    Returns:
      The `Episode`, everything in it ``[L + 1, N, ...]`` or ``[N]``.

    Raises:
      ValueError: the environment lives on the host, and this is being compiled.
    """
    player = host.play if host.is_hosted(config) else training.play
    return player(key, state, config, num_episodes)


def evaluate(key: Key, state: Any, config: Any, num_episodes: int = 100) -> Array:
    """Undiscounted returns ``[N]`` of `play`, as the environment pays them."""
    return play(key, state, config, num_episodes).episode_return


def make_trainer(
    state: Any, config: Any, num_episodes: int, seed_batch: int = 0
) -> Callable[[Any, Any], tuple[Any, Metrics]]:
    """Makes ``(state, config) -> (state, Metrics)`` that trains for ``num_episodes``, ready to run.

    Args:
      state: one as it will be called with; leaves ``[N, ...]`` for ``N`` seeds, which a compiled program trains in
        lockstep and the host one after the other.
      config: likewise.
      num_episodes: episodes per call.
      seed_batch: seeds that a device trains in lockstep, the next ones after them; 0 for as many as its memory holds.
    """
    batched = state.episode.ndim == 1
    if host.is_hosted(config):
        host.compile_training(_first(state) if batched else state, config)

        def on_host(state: Any, config: Any) -> tuple[Any, Metrics]:
            return host.train(state, config, num_episodes)

        return _in_turn(on_host) if batched else on_host

    def advance(state: Any, config: Any) -> tuple[Any, Metrics]:
        return training.train(None, config, state, num_episodes)

    # The old state is not donated: it is what is left when the chunk fails or is interrupted.
    return _compile(advance, state, config, seed_batch=seed_batch)


def make_evaluator(key: Key, state: Any, config: Any, num_episodes: int) -> Callable[[Key, Any, Any], Array]:
    """Makes ``(key, state, config) -> returns`` of ``num_episodes`` noiseless episodes, ready to run.

    Args:
      key: one as it will be called with; ``[N]`` for ``N`` seeds.
      state: likewise.
      config: likewise.
      num_episodes: episodes per call.

    Returns:
      A function that returns ``[episodes]``, or ``[N, episodes]``.
    """
    batched = state.episode.ndim == 1

    def returns(key: Key, state: Any, config: Any) -> Array:
        return evaluate(key, state, config, num_episodes)

    if host.is_hosted(config):
        one_key, one = _first((key, state)) if batched else (key, state)
        host.compile_playing(one_key, one, config, num_episodes)
        return _in_turn(returns) if batched else returns
    return _compile(returns, key, state, config)


def evaluation_keys(state: Any) -> Key:
    """`rgrl_jax.evaluation_key` of one run, or those ``[N]`` of several."""
    draw = training.evaluation_key
    return (jax.vmap(draw) if state.episode.ndim else draw)(state)


def spread(state: Any, config: Any, devices: int) -> Any:
    """A state laid out over devices; what it is trained and evaluated by then runs there too.

    Seeds ``[N, ...]`` go equally many to each device. A single run is on each of them whole, and its environments and
    learning are shared, see `rgrl_jax.sharing`.

    Raises:
      ValueError: see `check_spread`.
    """
    seeds = state.episode.shape[0] if state.episode.ndim else None
    check_spread(config, seeds, devices)
    return over_devices(state, devices, sharing.AXIS if seeds is None else "seeds")


def over_devices(tree: Any, devices: int, axis: str) -> Any:
    """Arrays on the first devices: whole on each if ``axis`` is `sharing.AXIS`, else equal parts ``[N, ...]``."""
    if devices == 1:  # put there, as a checkpoint is: so a run that goes on finds its programs among those kept
        return jax.device_put(tree, jax.local_devices()[0])
    mesh = jax.make_mesh((devices,), (axis,), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    spec = PartitionSpec() if axis == sharing.AXIS else PartitionSpec(axis)
    return processes.lay_out(tree, NamedSharding(mesh, spec))


def check_spread(config: Any, seeds: int | None, devices: int) -> None:
    """Makes sure that so many devices can train so many seeds, or a single run without an axis of seeds.

    Raises:
      ValueError: there are not so many devices, or what is spread does not divide evenly, or nothing can be spread.
    """
    if not 1 <= devices <= jax.device_count():
        raise ValueError(f"devices = {devices} must be in 1..{jax.device_count()}")
    if jax.process_count() > 1 and devices < jax.device_count():
        raise ValueError(f"devices = {devices} must be all of the {jax.device_count()} that the processes hold")
    if seeds is not None:
        if seeds % devices:
            raise ValueError(f"devices = {devices} must divide the number of seeds, {seeds}")
        return
    if devices == 1:
        return
    shared = get_algorithm(config).shared
    if not shared or host.is_hosted(config):
        what = f"of {algorithm_name(config)!r}" if not shared else f"in {config.env_id}, which lives on the host"
        raise ValueError(f"devices = {devices} cannot share a single run {what}; only several seeds are spread")
    for name in shared:
        if getattr(config, name) % devices:
            raise ValueError(f"devices = {devices} must divide {name} = {getattr(config, name)} of a single run")


def _compile(function: Callable[..., Any], *arguments: Any, seed_batch: int = 0) -> Callable[..., Any]:
    """Compiles a function of a state and a config, the last two arguments, mapped over seeds if the state has any.

    It runs where the state lies, see `spread`, and what it returns lies there likewise. With ``seed_batch = 0`` all
    seeds of a device are in lockstep, or halves, quarters, ... until memory holds them.
    """
    *mapped, _ = arguments
    sharding = mapped[-1].episode.sharding
    if not mapped[-1].episode.ndim:
        return _placed(_compile_there(function, arguments, sharding), sharding)
    seeds = mapped[-1].episode.shape[0] // len(sharding.device_set)
    batch = min(seed_batch or seeds, seeds)
    program = _compile_seeds(function, arguments, sharding, batch)
    spare = processes.least(spare_memory())
    while not seed_batch and batch > 1 and program.memory_analysis().temp_size_in_bytes > spare:
        batch = -(-batch // 2)
        program = _compile_seeds(function, arguments, sharding, batch)
    return _placed(program, sharding)


def _placed(program: Callable[..., Any], sharding: Any) -> Callable[..., Any]:
    """The program, with its arguments laid out first where there are several devices."""
    if len(sharding.device_set) == 1:
        return program

    def run(*arguments: Any) -> Any:
        *mapped, config = arguments
        return program(*processes.lay_out(mapped, sharding), config)  # what is empty comes back anywhere

    return run


def _compile_seeds(function: Callable[..., Any], arguments: tuple[Any, ...], sharding: Any, batch: int) -> Any:
    """Compiles it for the seeds of every device, ``batch`` of them at a time."""

    def program(*arguments: Any) -> Any:
        *mapped, config = arguments
        return _in_batches(lambda seed: function(*seed, config), mapped, mapped[-1].episode.shape[0], batch)

    return _compile_there(program, arguments, sharding)


def _compile_there(program: Callable[..., Any], arguments: tuple[Any, ...], sharding: Any) -> Any:
    """Compiles it for where the state lies.

    Each of several devices runs the program of one device on its own part: nothing is left to partition, and what
    devices tell each other is what `rgrl_jax.sharing` says.
    """
    *mapped, config = arguments
    if len(sharding.device_set) == 1:
        return jax.jit(program).lower(*arguments).compile()
    specs = (*(sharding.spec for _ in mapped), PartitionSpec())
    spread_out = partial(jax.shard_map, mesh=sharding.mesh, in_specs=specs, out_specs=sharding.spec, check_vma=False)
    placed = (*processes.lay_out(mapped, sharding), config)
    own = jax.tree.map(lambda x: jax.ShapeDtypeStruct(sharding.shard_shape(x.shape), x.dtype), mapped)
    whole = jax.eval_shape(spread_out(program), *placed)

    def part(*arguments: Any) -> Any:
        *mapped, config = arguments
        return _without_empty(program(*_with_empty(own, mapped), config))

    def parts(*arguments: Any) -> Any:
        *mapped, config = arguments
        return _with_empty(whole, spread_out(part)(*_without_empty(mapped), config))

    return jax.jit(parts).lower(*placed).compile()


def _without_empty(tree: Any) -> Any:
    """Arrays of size zero become None: XLA crashes on them where jax 0.11.2 spreads them over devices."""
    return jax.tree.map(lambda x: x if x.size else None, tree)


def _with_empty(shapes: Any, tree: Any) -> Any:
    """The other way round, for a tree of these shapes and types."""
    return jax.tree.map(lambda like, x: jnp.zeros(like.shape, like.dtype) if x is None else x, shapes, tree)


def _in_batches(function: Callable[[Any], Any], seeds: Any, n: int, batch: int) -> Any:
    """Maps a function over the first axis ``n``, ``batch`` at a time. (`jax.lax.map` stumbles over empty leaves.)"""
    cut = n - n % batch
    whole = jax.tree.map(lambda x: x[:cut].reshape(cut // batch, batch, *x.shape[1:]), seeds)
    done = jax.lax.map(jax.vmap(function), whole) if cut > batch else jax.vmap(jax.vmap(function))(whole)
    done = jax.tree.map(lambda x: x.reshape(cut, *x.shape[2:]), done)
    if cut == n:
        return done
    rest = jax.vmap(function)(jax.tree.map(lambda x: x[cut:], seeds))
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), done, rest)


def spare_memory() -> int:
    """Bytes that a program may use of a device beside what lies there already, or of a computer that others use."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(0.9 * (stats["bytes_limit"] - stats["bytes_in_use"]))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda x: x[0], tree)


def _in_turn(function: Callable[..., Any]) -> Callable[..., Any]:
    """Maps a function over the seeds of all its arguments but the config, one after the other."""

    def each(*arguments: Any) -> Any:
        *mapped, config = arguments
        seeds = mapped[-1].episode.shape[0]
        done = [function(*jax.tree.map(lambda x, i=i: x[i], mapped), config) for i in range(seeds)]
        return jax.tree.map(lambda *x: jnp.stack(x), *done)

    return each
