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
from rgrl_jax.algos.base import algorithm_name, list_algorithms
from rgrl_jax.algos.config import check_names, nearest
from rgrl_jax.experiment.lock import LOCK
from rgrl_jax.types import Metrics

FORMAT_VERSION = 1
CONFIG, METRICS, SUMMARY, CURVE, IDENTITY, CHECKPOINTS, EVENTS = (
    "config.json",
    "metrics.csv",
    "summary.json",
    "curve.png",
    "identity.png",
    "checkpoints",
    "tensorboard",
)
GO_ON = "what was kept before is whole, and rgrl resume goes on from there once this is mended"
COLUMNS = ("seed", *(field.name for field in dataclasses.fields(Metrics)))


def check_place(folder: Path, *, overwrite: bool = False) -> None:
    """Makes sure that `create` may have the place of a run folder.

    What a run leaves that was killed before its config was written is as good as nothing.

    Raises:
      FileExistsError: there is something in it, or it is a file.
    """
    if not folder.exists() or (folder.is_dir() and overwrite):
        return
    left = {LOCK, f"{CONFIG}.tmp"}
    if not folder.is_dir() or any(x.name not in left and not _is_unused(x) for x in folder.iterdir()):
        raise FileExistsError(f"out = {str(folder)!r} exists and is not empty; choose another or add --overwrite")


def _is_unused(path: Path) -> bool:
    """Whether it is the place of checkpoints without any."""
    return path.name == CHECKPOINTS and path.is_dir() and not any(path.iterdir())


def create(folder: Path, *, overwrite: bool = False) -> None:
    """Makes an empty run folder; with ``overwrite`` the files of an earlier run go, and nothing else.

    Raises:
      FileExistsError: see `check_place`.
    """
    check_place(folder, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, METRICS, SUMMARY, CURVE, IDENTITY):
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
        reason = error.strerror or str(error)
        raise OSError(f"{str(path)!r} could not be written: {reason}; {GO_ON}") from error


def write_json(path: Path, content: Any) -> None:
    """Writes beside the target and renames, so that nobody ever sees half a file, not after a power cut either."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Likewise any text."""
    temporary = path.with_name(path.name + ".tmp")
    with writing(path), temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_config(folder: Path, config: Any, meta: dict[str, Any]) -> None:
    """Records what is needed to build the run again; ``meta`` holds at least ``seed`` and ``seeds``."""
    content = {
        "format_version": FORMAT_VERSION,
        "rgrl_jax": rgrl_jax.__version__,
        "algo": algorithm_name(config),
        **meta,
        "config": plain_config(config),
    }
    write_json(folder / CONFIG, content)


def plain_config(config: Any) -> dict[str, Any]:
    """The fields of a config as JSON holds them."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def changes(before: dict[str, Any], config: Any) -> str:
    """Which fields of a config are not what they were, in words; the number of episodes may change."""
    now = plain_config(config)
    return ", ".join(
        f"{name} = {now[name]!r} (was {value!r})"
        for name, value in before.items()
        if name in now and name != "episodes" and now[name] != value
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return np.asarray(value).item() if hasattr(value, "dtype") else value


def read_config(folder: Path) -> tuple[Any, dict[str, Any]]:
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
    algorithms = list_algorithms()
    if meta["algo"] not in algorithms:
        near = nearest(meta["algo"], algorithms)
        raise ValueError(f"algo = {meta['algo']!r} in {path} is unknown; nearest: {near}")
    config_type = algorithms[meta["algo"]]
    check_names(config_type, meta["config"])
    missing = {f.name for f in dataclasses.fields(config_type)} - set(meta["config"])
    if missing:
        raise ValueError(f"{path} lacks the fields {', '.join(sorted(missing))}: it is of another version")
    config = config_type(**{k: tuple(v) if isinstance(v, list) else v for k, v in meta.pop("config").items()})
    config.validate()
    return config, meta


def append_metrics(folder: Path, metrics: Metrics, seed: int) -> None:
    """Appends rows to metrics.csv, one per seed and episode.

    Args:
      folder: the run folder.
      metrics: leaves ``[seeds, episodes]``.
      seed: of the first row; the others follow.
    """
    path = folder / METRICS
    fresh = not path.exists()
    with writing(path), path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        for j in range(metrics.episode.shape[1]):
            for i in range(metrics.episode.shape[0]):
                writer.writerow([seed + i, *(np.asarray(x)[i, j].item() for x in dataclasses.astuple(metrics))])
        file.flush()
        os.fsync(file.fileno())  # a checkpoint must not outlive its rows in a power cut


def read_metrics(folder: Path) -> Metrics:
    """The table of metrics.csv as `Metrics` with NumPy leaves ``[seeds, episodes]``.

    Raises:
      FileNotFoundError: there is none.
      ValueError: its columns are not ours, or seeds have different numbers of rows.
    """
    path = folder / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} has no {METRICS}: nothing was trained there yet")
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path} has the columns {', '.join(header)}; expected {', '.join(COLUMNS)}")
    seeds = len({row[0] for row in rows})
    if not rows or len(rows) % seeds:
        raise ValueError(f"{path} holds {len(rows)} rows for {seeds} seeds: some are missing")
    table = np.array([[float(x == "True") if x in ("True", "False") else float(x) for x in row] for row in rows])
    return Metrics(*table.reshape(-1, seeds, len(COLUMNS)).transpose(2, 1, 0)[1:])


def trim_metrics(folder: Path, episodes: int) -> None:
    """Drops rows of episodes after ``episodes``, which a killed run wrote after its last checkpoint."""
    path = folder / METRICS
    if not path.is_file():
        return
    lines = path.read_text().splitlines(keepends=True)
    if not lines or not lines[0].endswith("\n"):  # killed while it wrote the header
        path.unlink()
        return
    column = COLUMNS.index("episode")
    kept = [line for line in lines[1:] if line.endswith("\n") and int(line.split(",")[column]) <= episodes]
    write_text(path, "".join(lines[:1] + kept))


def read_summary(folder: Path) -> dict[str, Any]:
    """summary.json, or an empty dict if the run has not ended yet."""
    path = folder / SUMMARY
    return dict(json.loads(path.read_text())) if path.is_file() else {}
