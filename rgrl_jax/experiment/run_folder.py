"""The run folder: config.json, metrics.csv, summary.json, curve.png, checkpoints/ and perhaps tensorboard/."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rgrl_jax
from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Config, algorithm_name, algorithm_names, registered
from rgrl_jax.experiment.lock import LOCK
from rgrl_jax.types import Metrics

FORMAT_VERSION = 2
CONFIG, METRICS, SUMMARY, CURVE = "config.json", "metrics.csv", "summary.json", "curve.png"
COMMANDS, CHECKPOINTS, EVENTS = "command_following.png", "checkpoints", "tensorboard"
GO_ON = "what was kept before is whole, and rgrl resume goes on from there once this is mended"
CORE = ("seed", *(field.name for field in dataclasses.fields(Metrics) if field.name != "info"))
"""First columns of metrics.csv; those of the algorithm's ``info`` follow."""


def check_place(folder: Path, *, overwrite: bool = False) -> None:
    """Checks that `create` may have the place of a run folder.

    The remains of a run that was killed before its config was written do not count.

    Raises:
      FileExistsError: there is something in it, or it is a file.
    """
    if not folder.exists() or (folder.is_dir() and overwrite):
        return
    found = {path.name for path in folder.iterdir()} - {LOCK, f"{CONFIG}.tmp"} if folder.is_dir() else {""}
    if found == {CHECKPOINTS} and (folder / CHECKPOINTS).is_dir() and not any((folder / CHECKPOINTS).iterdir()):
        return
    if found:
        raise FileExistsError(f"out = {str(folder)!r} exists and is not empty; choose another or add --overwrite")


def create(folder: Path, *, overwrite: bool = False) -> None:
    """Makes an empty run folder; with ``overwrite`` the files of an earlier run go, and nothing else.

    Raises:
      FileExistsError: see `check_place`.
    """
    check_place(folder, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, METRICS, SUMMARY, CURVE, COMMANDS):
        (folder / name).unlink(missing_ok=True)
    for name in (CHECKPOINTS, EVENTS):
        shutil.rmtree(folder / name, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file that cannot be written inside, and why.

    Raises:
      OSError: it could not; the disk is full, for instance.
    """
    try:
        yield
    except OSError as error:
        raise OSError(f"{str(path)!r} could not be written: {error.strerror or error}; {GO_ON}") from error


def write_json(path: Path, content: Any) -> None:
    """Writes JSON as `write_text` does."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes beside the target and renames, so that nobody ever sees half a file, not after a power cut either."""
    temporary = path.with_name(path.name + ".tmp")
    with writing(path), temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_config(folder: Path, config: Config, meta: dict[str, Any]) -> None:
    """Records what is needed to build the run again; ``meta`` holds at least ``seed`` and ``seeds``."""
    made_by = {"format_version": FORMAT_VERSION, "rgrl_jax": rgrl_jax.__version__, "algo": algorithm_name(config)}
    write_json(folder / CONFIG, {**made_by, **meta, "config": plain_config(config)})


def plain_config(config: Any) -> dict[str, Any]:
    """Returns the fields of a config as JSON holds them, groups nested."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return plain_config(value)
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return np.asarray(value).item() if hasattr(value, "dtype") else value


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested dicts by dotted names."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def changes(before: dict[str, Any], config: Config) -> str:
    """Tells in words which fields differ from those of `plain_config` before; the number of episodes may."""
    now = flat(plain_config(config))
    return ", ".join(
        f"{name} = {now[name]!r} (was {value!r})"
        for name, value in flat(before).items()
        if name in now and name != "episodes" and now[name] != value
    )


def read_config(folder: Path) -> tuple[Config, dict[str, Any]]:
    """Returns the config of a run folder and the rest of its config.json.

    Raises:
      FileNotFoundError: not a run folder.
      ValueError: written by a version with another format, algorithm or fields.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} is not a run folder: it has no {CONFIG}")
    try:
        meta = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(meta, dict):
        raise ValueError(f"{path} holds a {type(meta).__name__}, not the description of a run")
    if meta.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version = {meta.get('format_version')!r}, written by rgrl_jax "
            f"{meta.get('rgrl_jax')}; this is {rgrl_jax.__version__}, which reads version {FORMAT_VERSION}"
        )
    absent = [name for name in ("algo", "seed", "seeds", "config") if name not in meta]
    if absent:
        raise ValueError(f"{path} lacks {', '.join(absent)}: it is damaged or of another version")
    if meta["algo"] not in algorithm_names():
        near = fields.nearest(meta["algo"], algorithm_names())
        raise ValueError(f"algo = {meta['algo']!r} in {path} is unknown; nearest: {near}")
    return _build_config(path, registered(meta["algo"]).config_type, flat(meta.pop("config"))), meta


def _build_config(path: Path, config_type: type[Config], values: dict[str, Any]) -> Config:
    """Makes a config of the values of all its fields by dotted names."""
    fields.check_names(config_type, values)
    missing = {setting.path for setting in fields.settings(config_type)} - set(values)
    if missing:
        raise ValueError(f"{path} lacks the fields {', '.join(sorted(missing))}: it is of another version")
    config = config_type()
    for name, value in values.items():
        config = fields.replace_at(config, name, tuple(value) if isinstance(value, list) else value)
    config.validate()
    return config


def append_metrics(folder: Path, metrics: Metrics, seed: int) -> None:
    """Appends metrics ``[seeds, episodes]`` to metrics.csv, a row for each, of ``seed, seed + 1, ...``."""
    path, columns = folder / METRICS, metrics.columns()
    fresh = not path.exists()
    with writing(path), path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(("seed", *columns))
        for j in range(metrics.episode.shape[1]):
            for i in range(metrics.episode.shape[0]):
                writer.writerow([seed + i, *(np.asarray(x)[i, j].item() for x in columns.values())])
        file.flush()
        os.fsync(file.fileno())  # a checkpoint must not outlive its rows in a power cut


def read_metrics(folder: Path) -> Metrics:
    """Reads metrics.csv as `Metrics` with NumPy leaves ``[seeds, episodes]``.

    Raises:
      FileNotFoundError: there is none.
      ValueError: its columns are of something else, or seeds have different numbers of rows.
    """
    path = folder / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} has no {METRICS}: nothing was trained there yet")
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if tuple(header[: len(CORE)]) != CORE:
        raise ValueError(f"{path} has the columns {', '.join(header)}; the first must be {', '.join(CORE)}")
    seeds = len({row[0] for row in rows})
    if not rows or len(rows) % seeds:
        raise ValueError(f"{path} holds {len(rows)} rows for {seeds} seeds: some are missing")
    table = np.array([[float(x == "True") if x in ("True", "False") else float(x) for x in row] for row in rows])
    columns: dict[str, Any] = dict(zip(header, table.reshape(-1, seeds, len(header)).transpose(2, 1, 0), strict=True))
    core = {name: columns.pop(name) for name in CORE}
    core.pop("seed")
    return Metrics(**core, info=columns)


def trim_metrics(folder: Path, episodes: int) -> None:
    """Drops rows of episodes after ``episodes``, which a killed run wrote after its last checkpoint."""
    path = folder / METRICS
    if not path.is_file():
        return
    lines = path.read_text().splitlines(keepends=True)
    if not lines or not lines[0].endswith("\n"):  # killed while it wrote the header
        path.unlink()
        return
    column = CORE.index("episode")
    kept = [line for line in lines[1:] if line.endswith("\n") and int(line.split(",")[column]) <= episodes]
    write_text(path, "".join(lines[:1] + kept))


def read_summary(folder: Path) -> dict[str, Any]:
    """Reads summary.json; an empty dict if the run has not ended yet."""
    path = folder / SUMMARY
    return dict(json.loads(path.read_text())) if path.is_file() else {}
