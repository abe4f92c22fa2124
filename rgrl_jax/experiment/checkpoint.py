"""Checkpoints with orbax: written beside their place and renamed, so that a torn one is never read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from rgrl_jax import training
from rgrl_jax.algos.base import Config
from rgrl_jax.experiment import run_folder
from rgrl_jax.types import PyTree


class LoadedRun(NamedTuple):
    """A run read back: its config, its last checkpointed state, and the rest of config.json."""

    config: Config
    state: Any
    meta: dict[str, Any]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _flatten(state: PyTree) -> dict[str, jax.Array]:
    """Returns arrays by path, as they are stored: typed keys as plain words, and without the empty ones."""
    # By path and not as a tree: so a checkpoint can be compared with a config before any array is read, and says
    # which array does not fit. Arrays of size zero cannot be stored.
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    return {name: jax.random.key_data(x) if _is_key(x) else x for name, x in named.items() if x.size}


def open_manager(folder: Path, *, keep: int = 2, write: bool = True) -> ocp.CheckpointManager:
    """Opens the checkpoints of a run folder; the newest ``keep`` stay, and unfinished ones of a killed process go.

    Without ``write`` nothing is made or removed.

    Raises:
      ValueError: a file that describes one of them is damaged.
    """
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=write, cleanup_tmp_directories=write, enable_async_checkpointing=False
    )
    path = (folder / run_folder.CHECKPOINTS).absolute()
    try:
        return ocp.CheckpointManager(path, item_handlers=ocp.StandardCheckpointHandler(), options=options)
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be opened: {_reason(error)}") from error
    except ValueError as error:
        raise ValueError(f"a checkpoint in {str(path)!r} is damaged, move it away: {_reason(error)}") from error


def save(manager: ocp.CheckpointManager, episode: int, state: PyTree, config: Config | None = None) -> None:
    """Stores a state as checkpoint ``episode``, and beside it the config that it was trained with.

    Raises:
      OSError: it could not be written; the disk is full, for instance.
    """
    beside = None if config is None else {"config": run_folder.plain_config(config)}
    try:
        manager.save(episode, args=ocp.args.StandardSave(_flatten(state)), custom_metadata=beside)
    except Exception as error:  # whatever the storage below orbax raises
        problem = f"checkpoint {str(Path(manager.directory) / str(episode))!r} could not be written"
        raise OSError(f"{problem}: {_reason(error)}; {run_folder.GO_ON}") from error


def load_run(folder: str | Path, *, tell: Callable[[str], None] = warnings.warn) -> LoadedRun:
    """Reads a run folder back, with the newest whole checkpoint.

    Args:
      folder: written by ``rgrl train`` or by `rgrl_jax.callbacks.Checkpoint`.
      tell: called with a sentence if a newer checkpoint is damaged; a warning by default.

    Returns:
      Config, state (leaves ``[seeds, ...]`` if the run has several seeds) and the rest of config.json.

    Raises:
      FileNotFoundError: no run folder, or no whole checkpoint in it.
      PermissionError: a checkpoint may not be read.
      ValueError: the folder was written by another version, its checkpoint is of another config, or all are damaged.
    """
    folder = Path(folder)
    config, meta = run_folder.read_config(folder)
    impl = meta.get("key_impl")
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0, impl=impl), meta["seeds"]))
    keys = keys if meta.get("batched", meta["seeds"] > 1) else jax.eval_shape(lambda k: k[0], keys)
    init = jax.vmap(training.init, in_axes=(0, None)) if keys.ndim else training.init
    like = jax.eval_shape(lambda k: init(k, config), keys)
    stored = _restore(folder, jax.eval_shape(_flatten, like), config, tell)

    def fill(path: Any, spec: Any) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name not in stored:
            return jnp.zeros(spec.shape, spec.dtype)
        return jax.random.wrap_key_data(stored[name], impl=impl) if _is_key(spec) else stored[name]

    return LoadedRun(config, jax.tree_util.tree_map_with_path(fill, like), meta)


def changes(manager: ocp.CheckpointManager, step: int, config: Config) -> str:
    """Tells in words which fields of a config are not those that checkpoint ``step`` was trained with, if any."""
    return run_folder.changes((manager.metadata(step).custom_metadata or {}).get("config", {}), config)


def numbers(folder: Path) -> list[int]:
    """Lists the numbers of the checkpoints in a run folder, the newest first, without those being written."""
    place = folder / run_folder.CHECKPOINTS
    return sorted((int(x.name) for x in place.glob("*") if x.name.isdecimal() and x.is_dir()), reverse=True)


def set_aside(folder: Path, episode: int) -> list[Path]:
    """Renames checkpoints beyond an episode, which are damaged, so that the run can go on; returns the new names."""
    moved = []
    for step in numbers(folder):
        if step > episode:
            path = folder / run_folder.CHECKPOINTS / str(step)
            names = (path.with_name(f"{step}.damaged{'-' * bool(i)}{i or ''}") for i in range(1_000_000))
            moved.append(path.rename(next(name for name in names if not name.exists())))
    return moved


def _restore(
    folder: Path, wanted: dict[str, Any], config: Config, tell: Callable[[str], None]
) -> dict[str, jax.Array]:
    """Reads the newest whole checkpoint, whose arrays must be those ``wanted``, onto one device of this process."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    wanted = {name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here) for name, x in wanted.items()}
    steps, damaged = numbers(folder), ""
    if not steps:
        raise FileNotFoundError(f"{str(folder)!r} holds no whole checkpoint")
    with open_manager(folder, write=False) as manager:
        for step in steps:
            path = folder / run_folder.CHECKPOINTS / str(step)
            _check_open(path)
            try:
                misfit, stored = _read(manager, step, wanted, config)
            except Exception as error:  # whatever the storage below orbax raises
                damaged += f"checkpoint {str(path)!r} is damaged: {_reason(error)}; "
                continue
            if misfit:
                raise ValueError(f"checkpoint {str(path)!r} is of another {misfit}")
            if damaged:
                tell(f"{damaged}taking checkpoint {step}, the newest whole one, instead")
            return stored
    raise ValueError(f"{damaged}no whole checkpoint is left in {str(folder)!r}")


def _read(
    manager: ocp.CheckpointManager, step: int, wanted: dict[str, Any], config: Config
) -> tuple[str, dict[str, jax.Array]]:
    """Returns why a checkpoint is not the one that is wanted, if so, and its arrays."""
    changed, found = changes(manager, step, config), dict(manager.item_metadata(step))
    if changed:
        return f"config than config.json: {changed}; put that back, or train in another folder", {}
    if misfit := _misfit(found, wanted):
        return f"config or version: {misfit}", {}
    return "", manager.restore(step, args=ocp.args.StandardRestore(wanted))


def _check_open(path: Path) -> None:
    """Raises a PermissionError if a file of a checkpoint may not be read: that is no damage."""
    for file in (path, *path.rglob("*")):
        if not os.access(file, os.R_OK):
            raise PermissionError(f"checkpoint {str(path)!r} cannot be read: no permission for {str(file)!r}")


def _reason(error: Exception) -> str:
    """Returns the last line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def seed_keys(seed: int, seeds: int) -> jax.Array:
    """Makes the key of one run, or the keys ``[seeds]`` of several: those of ``seed, seed + 1, ...``."""
    if seeds == 1:
        return jax.random.key(seed)
    return jax.vmap(jax.random.key)(jnp.asarray(seed + np.arange(seeds), jnp.uint32))


def _misfit(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Tells where the stored arrays differ from ``wanted`` in name, shape or dtype; empty if nowhere."""
    found, here = ({name: f"{x.dtype}{list(x.shape)}" for name, x in own.items()} for own in (stored, wanted))
    for name in sorted(found.keys() | here.keys()):
        if found.get(name) != here.get(name):
            return f"{name} is {found.get(name, 'missing')} there and {here.get(name, 'missing')} here"
    return ""
