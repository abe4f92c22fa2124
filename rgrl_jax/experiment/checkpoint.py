"""Checkpoints with orbax: written beside their place and renamed, so that a torn one is never read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from rgrl_jax import training
from rgrl_jax.experiment import folder as folders
from rgrl_jax.types import PyTree


class LoadedRun(NamedTuple):
    """A run read back: its config, its last checkpointed state, and the rest of config.json."""

    config: Any
    state: Any
    meta: dict[str, Any]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _flatten(state: PyTree) -> dict[str, jax.Array]:
    """Arrays by path, as they are stored: typed keys as plain words, and without the empty ones."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    return {name: jax.random.key_data(x) if _is_key(x) else x for name, x in named.items() if x.size}


def open_manager(folder: Path, *, keep: int = 2) -> ocp.CheckpointManager:
    """The checkpoints of a run folder; the newest ``keep`` stay."""
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=False)
    path = (folder / folders.CHECKPOINTS).absolute()
    return ocp.CheckpointManager(path, item_handlers=ocp.StandardCheckpointHandler(), options=options)


def save(manager: ocp.CheckpointManager, episode: int, state: PyTree) -> None:
    """Stores a state as checkpoint ``episode``."""
    manager.save(episode, args=ocp.args.StandardSave(_flatten(state)))


def load_run(folder: str | Path) -> LoadedRun:
    """Reads a run folder back, with the newest whole checkpoint.

    Args:
      folder: as written by ``rgrl train`` or by `rgrl_jax.Checkpoint`.

    Returns:
      Config, state (leaves ``[seeds, ...]`` if the run has several seeds) and the rest of config.json.

    Raises:
      FileNotFoundError: no run folder, or no whole checkpoint in it.
      ValueError: the folder was written by another version or its checkpoint fits another config.
    """
    folder = Path(folder)
    config, meta = folders.read_config(folder)
    impl = meta.get("key_impl")
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0, impl=impl), meta["seeds"]))
    if meta.get("batched", meta["seeds"] > 1):
        like = jax.eval_shape(lambda k: jax.vmap(training.init, in_axes=(0, None))(k, config), keys)
    else:
        like = jax.eval_shape(lambda k: training.init(k[0], config), keys)
    stored = _restore(folder, jax.eval_shape(_flatten, like))

    def fill(path: Any, spec: Any) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name not in stored:
            return jnp.zeros(spec.shape, spec.dtype)
        return jax.random.wrap_key_data(stored[name], impl=impl) if _is_key(spec) else stored[name]

    return LoadedRun(config, jax.tree_util.tree_map_with_path(fill, like), meta)


def _restore(folder: Path, wanted: dict[str, Any]) -> dict[str, jax.Array]:
    """The arrays of the newest whole checkpoint, which must be those ``wanted``; on one device of this process."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    wanted = {name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here) for name, x in wanted.items()}
    with open_manager(folder) as manager:
        step = manager.latest_step()
        if step is None:
            raise FileNotFoundError(f"{str(folder)!r} holds no whole checkpoint")
        path = folder / folders.CHECKPOINTS / str(step)
        try:
            found = dict(manager.item_metadata(step))
            stored = None if _misfit(found, wanted) else manager.restore(step, args=ocp.args.StandardRestore(wanted))
        except Exception as error:  # whatever the storage below orbax raises
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise ValueError(f"checkpoint {str(path)!r} is damaged: {reason[0]}") from error
    if stored is None:
        raise ValueError(f"checkpoint {str(path)!r} is of another config or version: {_misfit(found, wanted)}")
    return stored


def seed_keys(seed: int, seeds: int) -> jax.Array:
    """The key of one run, or the keys ``[seeds]`` of several: those of ``seed, seed + 1, ...``."""
    return (
        jax.random.key(seed)
        if seeds == 1
        else jax.vmap(jax.random.key)(jnp.asarray(seed + np.arange(seeds), jnp.uint32))
    )


def _misfit(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Where the stored arrays differ from ``wanted`` in name, shape or dtype; empty if nowhere."""
    found = {name: f"{x.dtype}{list(x.shape)}" for name, x in stored.items()}
    here = {name: f"{x.dtype}{list(x.shape)}" for name, x in wanted.items()}
    for name in sorted(found.keys() | here.keys()):
        if found.get(name) != here.get(name):
            return f"{name} is {found.get(name, 'missing')} there and {here.get(name, 'missing')} here"
    return ""
