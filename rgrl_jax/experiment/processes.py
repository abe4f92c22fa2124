"""Several processes, of one machine or many, that run one command together by JAX's own runtime.

Each holds its own devices and calls the same programs; `jax.devices` names those of all. What is said and written is
the first one's business, except for checkpoints, of which each writes its part into the same folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def join(coordinator: str, processes: int, process: int) -> None:
    """Waits for the others; before jax is used for anything else.

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
    if processes < 1 or not 0 <= process < processes:
        raise ValueError(f"process = {process} must be in 0..{processes - 1}, with processes = {processes}")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"coordinator = {coordinator!r} must be HOST:PORT or auto")
    jax.distributed.initialize(coordinator, processes, process)


def is_first() -> bool:
    """Whether this process speaks for all."""
    return jax.process_index() == 0


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


def fetch(tree: Any) -> Any:
    """NumPy copies of arrays, also of those that lie on devices of other processes."""
    there = jax.process_count() > 1

    def copy(x: jax.Array) -> Any:
        return multihost_utils.process_allgather(x, tiled=True) if there and not x.is_fully_addressable else x

    return jax.tree.map(lambda x: np.asarray(copy(x)), tree)


def least(value: float) -> float:
    """The least of what every process says."""
    return float(np.min(multihost_utils.process_allgather(np.float32(value))))
