"""A lock on a run folder, so that one process at a time trains in it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rgrl_jax.experiment import multiprocess

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

LOCK = "running.json"
_MINE = secrets.token_hex(8)  # tells this process apart from one of the same number in another container


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in a run folder, which is made if it is missing.

    The operating system lets go of the file when a process ends, however it ends, so that a dead one is in nobody's
    way. A process may hold the same folder again. Of several processes of one run the first one does so for all.

    Raises:
      BlockingIOError: another process holds it; the message has its number and its host.
    """
    with contextlib.ExitStack() as stack:
        multiprocess.first_alone(lambda: stack.enter_context(_hold(folder)))
        yield


@contextlib.contextmanager
def _hold(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    file = _take(path)
    try:
        yield
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            file.close()


def _take(path: Path) -> IO[str] | None:
    """Returns the lock file, locked, with this process in it; None if this process has locked it already."""
    mine = {"pid": os.getpid(), "host": platform.node(), "mark": _MINE}
    while True:
        file = path.open("a+")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _read(file)
            file.close()
            if other == mine:
                return None
            who = f"process {other['pid']} on {other['host']}" if other else "another process"
            used = f"{str(path.parent)!r} is in use by {who}"
            raise BlockingIOError(f"{used}; wait until it ends, or choose another folder") from None
        except OSError:
            pass  # a file system without locks
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()  # the one before has just removed it
    file.truncate(0)
    file.write(json.dumps(mine) + "\n")
    file.flush()
    return file


def _read(file: IO[str]) -> dict[str, Any]:
    """Reads who holds the file; empty if that is not written yet."""
    file.seek(0)
    with contextlib.suppress(ValueError):
        found = json.loads(file.read())
        if isinstance(found, dict) and {"pid", "host"} <= found.keys():
            return found
    return {}
