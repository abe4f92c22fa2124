"""Several processes, of one machine or many, that run one command together by JAX's own runtime.

Each holds its own devices and calls the same programs; `jax.devices` lists those of all. The first process alone
prints and writes, except for checkpoints, of which each process writes its part into the same folder.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from rgrl_jax.types import PyTree


def initialize(coordinator_address: str, num_processes: int, process_id: int) -> None:
    """Waits for the other processes; called before there is any array.

    Args:
      coordinator_address: ``HOST:PORT`` at which the first process listens; ``"auto"`` where Slurm, Open MPI or the
        like know it and the rest.
      process_id: which of them this is, ``0 .. num_processes - 1``.

    Raises:
      ValueError: there is no such process, or the address is not one.
    """
    if coordinator_address == "auto":
        jax.distributed.initialize()
        return
    if not 0 <= process_id < num_processes:
        raise ValueError(f"process_id = {process_id} must be in 0..{num_processes - 1}")
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"coordinator_address = {coordinator_address!r} must be HOST:PORT or auto")
    jax.distributed.initialize(coordinator_address, num_processes, process_id)


def is_first() -> bool:
    """Tells whether this process speaks for all."""
    return jax.process_index() == 0


def several() -> bool:
    """Tells whether there are other processes."""
    return jax.process_count() > 1


def first_alone(action: Callable[[], None]) -> None:
    """Has the first process do something with files while the others wait; its failure is that of all.

    Raises:
      OSError: it failed.
    """
    failure = None
    if is_first():
        try:
            action()
        except OSError as error:
            failure = error
    if multihost_utils.broadcast_one_to_all(np.bool_(failure is not None)):
        raise failure or FileExistsError("the first process could not do its part; see there")


def put(tree: PyTree, sharding: jax.sharding.Sharding) -> PyTree:
    """Does `jax.device_put`, also of arrays that every process holds onto devices of all processes."""

    def place(x: jax.Array) -> jax.Array:
        if sharding.is_fully_addressable or not x.is_fully_addressable:
            return jax.device_put(x, sharding)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        here = np.asarray(x)
        return jax.make_array_from_callback(here.shape, sharding, lambda part: here[part])

    return jax.tree.map(place, tree)


def fetch(tree: PyTree) -> PyTree:
    """Returns NumPy copies of arrays, also of those that lie on devices of other processes."""

    def copy(x: jax.Array) -> np.ndarray:
        there = several() and not x.is_fully_addressable
        return np.asarray(multihost_utils.process_allgather(x, tiled=True) if there else x)

    return jax.tree.map(copy, tree)


def least(value: float) -> float:
    """Returns the smallest of the values that the processes call it with."""
    return float(np.min(multihost_utils.process_allgather(np.float32(value))))
