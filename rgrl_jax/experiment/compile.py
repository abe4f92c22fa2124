"""Programs that train and evaluate, compiled for the devices that hold the state, or the loop on the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rgrl_jax import spmd, training
from rgrl_jax.algos.base import Config, algorithm_name
from rgrl_jax.algos.fields import get_at
from rgrl_jax.experiment import host_rollout, multiprocess
from rgrl_jax.experiment.playing import evaluate
from rgrl_jax.types import Array, Key, Metrics, PyTree


def make_trainer(
    state: Any, config: Config, num_episodes: int, seed_batch: int = 0
) -> Callable[[Any, Config], tuple[Any, Metrics]]:
    """Makes ``(state, config) -> (state, Metrics)`` that trains for ``num_episodes``, ready to run.

    ``state`` and ``config`` are examples of its arguments. ``N`` seeds ``[N, ...]`` are trained in lockstep by a
    compiled program, ``seed_batch`` at a time or for 0 as many as a device's memory holds, and on the host one after
    the other.
    """
    batched = state.episode.ndim == 1
    if host_rollout.is_hosted(config):
        host_rollout.compile_training(_first(state) if batched else state, config)
        on_host = partial(host_rollout.train, num_episodes=num_episodes)
        return _one_by_one(on_host) if batched else on_host

    def advance(state: Any, config: Config) -> tuple[Any, Metrics]:
        return training.train(None, config, state, num_episodes)

    # The old state is not donated: it is what is left when the chunk fails or is interrupted.
    return _compile(advance, state, config, seed_batch=seed_batch)


def make_evaluator(key: Key, state: Any, config: Config, num_episodes: int) -> Callable[[Key, Any, Config], Array]:
    """Makes ``(key, state, config) -> returns`` of ``num_episodes`` noiseless episodes, ready to run.

    ``key``, ``state`` and ``config`` are examples of its arguments. The returns are ``[episodes]``, or of ``N`` seeds
    and as many keys ``[N, episodes]``.
    """
    batched = state.episode.ndim == 1

    def returns(key: Key, state: Any, config: Config) -> Array:
        return evaluate(key, state, config, num_episodes)

    if host_rollout.is_hosted(config):
        one_key, one = _first((key, state)) if batched else (key, state)
        host_rollout.compile_playing(one_key, one, config, num_episodes)
        return _one_by_one(returns) if batched else returns
    return _compile(returns, key, state, config)


def place(state: Any, config: Config, devices: int) -> Any:
    """Puts a state on devices; the programs that train and evaluate it then run there too.

    Seeds ``[N, ...]`` go equally many to each device. A single run is on each of them whole, and its environments and
    its learning are split, see `rgrl_jax.spmd`.

    Raises:
      ValueError: see `check_devices`.
    """
    seeds = state.episode.shape[0] if state.episode.ndim else None
    check_devices(config, seeds, devices)
    return put_on_devices(state, devices, spmd.AXIS if seeds is None else "seeds")


def put_on_devices(tree: PyTree, devices: int, axis: str) -> PyTree:
    """Puts arrays on the first devices: whole on each if ``axis`` is `spmd.AXIS`, else equal parts ``[N, ...]``."""
    if devices == 1:  # committed, as a checkpoint is: so a run that goes on finds its programs among those kept
        return jax.device_put(tree, jax.local_devices()[0])
    mesh = jax.make_mesh((devices,), (axis,), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    spec = PartitionSpec() if axis == spmd.AXIS else PartitionSpec(axis)
    return multiprocess.put(tree, NamedSharding(mesh, spec))


def check_devices(config: Config, seeds: int | None, devices: int) -> None:
    """Checks that so many devices can train so many seeds, or, with None, a single run without an axis of seeds.

    Raises:
      ValueError: there are not so many devices, or the seeds or the rows of a batch do not divide evenly among them,
        or the algorithm can split neither.
    """
    if not 1 <= devices <= jax.device_count():
        raise ValueError(f"devices = {devices} must be in 1..{jax.device_count()}")
    if multiprocess.several() and devices < jax.device_count():
        raise ValueError(f"devices = {devices} must be all of the {jax.device_count()} that the processes hold")
    if seeds is not None and seeds % devices:
        raise ValueError(f"devices = {devices} must divide the number of seeds, {seeds}")
    if seeds is not None or devices == 1:
        return
    if not config.sharded or host_rollout.is_hosted(config):
        what = f"in {config.env_id}, which lives on the host" if config.sharded else f"of {algorithm_name(config)!r}"
        raise ValueError(f"devices = {devices} cannot share a single run {what}; only several seeds are spread")
    for name in config.sharded:
        if (rows := get_at(config, name)) % devices:
            raise ValueError(f"devices = {devices} must divide {name} = {rows} of a single run")


def count_devices(word: str) -> int:
    """Reads a number of devices, or ``"all"``.

    Raises:
      ValueError: it is neither, or more than there are.
    """
    known = jax.device_count()
    if word == "all":
        return known
    if not word.isdecimal() or not 1 <= int(word) <= known:
        raise ValueError(f"devices = {word!r} must be all or a number in 1..{known}")
    return int(word)


def _compile(function: Callable[..., Any], *arguments: Any, seed_batch: int = 0) -> Callable[..., Any]:
    """Compiles a function of a state and a config, its last two arguments, mapped over seeds if the state has any.

    It runs on the devices that hold the state, see `place`, and its results stay there. With ``seed_batch = 0`` all
    seeds of a device are in lockstep, or halves, quarters, ... until memory holds them.
    """
    *mapped, _ = arguments
    sharding = mapped[-1].episode.sharding
    if not mapped[-1].episode.ndim:
        return _with_arguments_placed(_compile_on_devices(function, arguments, sharding), sharding)
    seeds = mapped[-1].episode.shape[0] // len(sharding.device_set)
    batch = min(seed_batch or seeds, seeds)
    program = _compile_seeds(function, arguments, sharding, batch)
    spare = multiprocess.least(spare_memory())
    while not seed_batch and batch > 1 and program.memory_analysis().temp_size_in_bytes > spare:
        batch = -(-batch // 2)
        program = _compile_seeds(function, arguments, sharding, batch)
    return _with_arguments_placed(program, sharding)


def _with_arguments_placed(program: Callable[..., Any], sharding: Any) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        *mapped, config = arguments
        return program(*multiprocess.put(mapped, sharding), config)  # empty arrays come back on any device

    return run if len(sharding.device_set) > 1 else program


def _compile_seeds(function: Callable[..., Any], arguments: tuple[Any, ...], sharding: Any, batch: int) -> Any:
    """Compiles a function for the seeds of every device, ``batch`` of them at a time."""

    def program(*arguments: Any) -> Any:
        *mapped, config = arguments
        return _in_batches(lambda seed: function(*seed, config), mapped, mapped[-1].episode.shape[0], batch)

    return _compile_on_devices(program, arguments, sharding)


def _compile_on_devices(program: Callable[..., Any], arguments: tuple[Any, ...], sharding: Any) -> Any:
    """Compiles ``program`` with `jax.shard_map` over the devices that hold the state."""
    *mapped, config = arguments
    if len(sharding.device_set) == 1:
        return jax.jit(program).lower(*arguments).compile()
    # Each device runs the program of a single one on its own part: so there is nothing for XLA to partition, which
    # would change numbers, and devices exchange no more than `rgrl_jax.spmd` says.
    specs = (*(sharding.spec for _ in mapped), PartitionSpec())
    split = partial(jax.shard_map, mesh=sharding.mesh, in_specs=specs, out_specs=sharding.spec, check_vma=False)
    placed = (*multiprocess.put(mapped, sharding), config)
    own = jax.tree.map(lambda x: jax.ShapeDtypeStruct(sharding.shard_shape(x.shape), x.dtype), mapped)
    whole = jax.eval_shape(split(program), *placed)

    def part(*arguments: Any) -> Any:
        *mapped, config = arguments
        return _without_empty(program(*_with_empty(own, mapped), config))

    def parts(*arguments: Any) -> Any:
        *mapped, config = arguments
        return _with_empty(whole, split(part)(*_without_empty(mapped), config))

    return jax.jit(parts).lower(*placed).compile()


def _without_empty(tree: PyTree) -> PyTree:
    """Replaces arrays of size zero by None: XLA crashes on them where jax 0.11.2 spreads them over devices."""
    return jax.tree.map(lambda x: x if x.size else None, tree)


def _with_empty(shapes: PyTree, tree: PyTree) -> PyTree:
    """Puts back what `_without_empty` took out of a tree of these shapes and types."""
    return jax.tree.map(lambda like, x: jnp.zeros(like.shape, like.dtype) if x is None else x, shapes, tree)


def _in_batches(function: Callable[[Any], Any], seeds: PyTree, n: int, batch: int) -> Any:
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
    """Returns the bytes that a program may still use of a device, or half of the memory of a computer."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(0.9 * (stats["bytes_limit"] - stats["bytes_in_use"]))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _first(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x[0], tree)


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Maps a function over the seeds of all its arguments but the config, one after the other."""

    def each(*arguments: Any) -> Any:
        *mapped, config = arguments
        seeds = mapped[-1].episode.shape[0]
        done = [function(*jax.tree.map(lambda x, i=i: x[i], mapped), config) for i in range(seeds)]
        return jax.tree.map(lambda *x: jnp.stack(x), *done)

    return each
