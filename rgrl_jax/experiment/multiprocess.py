"""Several processes, of one machine or many, that run one command together by JAX's own runtime.

Each holds its own devices and calls the same programs; `jax.devices` names those of all. What is said and written is
the first one's business, except for checkpoints, of which each writes its part into the same folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils


def join(coordinator: str, processes: str, process: str) -> None:
    """Waits for the others; before there is any array, and so with words as the command line has them.

    Args:
      coordinator: ``HOST:PORT`` at which the first process listens; ``"auto"`` where Slurm, Open MPI or the like tell
        that and the rest.
      processes: how many there are.
      process: which of them this is, ``0 .. processes - 1``.

    Raises:
      ValueError: there is no such process, or the address is not one.
    """
    if coordinator == "auto":
        jax.distributed.initialize()
        return
    if not processes.isdecimal() or int(processes) < 1:
        raise ValueError(f"processes = {processes!r} must be a number of at least 1")
    if not process.isdecimal() or int(process) >= int(processes):
        raise ValueError(f"process = {process!r} must be a number in 0..{int(processes) - 1}")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"coordinator = {coordinator!r} must be HOST:PORT or auto")
    jax.distributed.initialize(coordinator, int(processes), int(process))


def is_first() -> bool:
    """Whether this process speaks for all."""
    return jax.process_index() == 0


def several() -> bool:
    """Whether there are others."""
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


def lay_out(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """`jax.device_put`, also of arrays that every process holds, onto devices of all of them."""

    def place(x: jax.Array) -> jax.Array:
        if sharding.is_fully_addressable or not x.is_fully_addressable:
            return jax.device_put(x, sharding)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        here = np.asarray(x)
        return jax.make_array_from_callback(here.shape, sharding, lambda part: here[part])

    return jax.tree.map(place, tree)


def fetch(tree: Any) -> Any:
    """NumPy copies of arrays, also of those that lie on devices of other processes."""
    there = jax.process_count() > 1

    def copy(x: jax.Array) -> Any:
        return multihost_utils.process_allgather(x, tiled=True) if there and not x.is_fully_addressable else x

    return jax.tree.map(lambda x: np.asarray(copy(x)), tree)


def least(value: float) -> float:
    """The least of what every process says."""
    return float(np.min(multihost_utils.process_allgather(np.float32(value))))
