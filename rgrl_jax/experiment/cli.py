"""The command line ``rgrl``: train, evaluate, resume, plot, watch, list."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import json
import re
import signal
import sys
import threading
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax
import platformdirs
import tyro
from rich.console import Console
from tyro.conf import Positional

from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Config
from rgrl_jax.algos.presets import defaults, preset
from rgrl_jax.envs.registry import is_known
from rgrl_jax.experiment import commands, inspection, multiprocess

GIVEN = ("env_id", "algorithm")  # fields of configs that the environment and the algorithm decide


def _option(default: Any, help: str, metavar: str | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "metavar": metavar})


_RUN: Any = _option(Path("runs/demo"), "A run folder.", "RUN")


@dataclasses.dataclass(frozen=True)
class Command:
    """Flags of every command."""

    call: ClassVar[Callable[..., dict[str, Any]]]  # gets a console and the command's own fields; returns plain data
    text: ClassVar[str]  # of --help; not the docstring, which python -OO drops

    json: bool = fields.flag(False, "Print one JSON object on standard output and nothing else there.")
    debug: bool = fields.flag(False, "Show the traceback of an error.")


@dataclasses.dataclass(frozen=True)
class Distributed:
    """Flags of several processes that run one command, each started by itself, with the same folder in reach."""

    coordinator_address: str = fields.name(
        "",
        "HOST:PORT at which the first of several processes listens, or auto where Slurm, Open MPI or the like know "
        "all three; empty for one process alone.",
    )
    num_processes: int = fields.integer(1, "Number of processes.", low=1)
    process_id: int = fields.integer(0, "Number of this process, from 0; the first one speaks for all.")


def _train(
    console: Console, env: str, algo: str, out: Path | None, overwrite: bool, settings: dict[str, Any], **options: Any
) -> dict[str, Any]:
    config, chosen = preset(env, options["preset"], algo=algo, **settings), commands.Options(**options)
    place = re.sub(r"[:/\\]", "-", env)  # no folders of folders, and no colons
    place += "" if algo == "rgrl" else f"-{algo}"
    folder = out or Path("runs") / f"{place}-{chosen.preset}-{chosen.seed}"
    return commands.train(console, config, folder, chosen, overwrite=overwrite)


@dataclasses.dataclass(frozen=True)
class Train(commands.Options, Distributed, Command):
    """Arguments of ``rgrl train`` beside the fields of the config."""

    call = _train
    text = """
        Train an agent, and keep its numbers, curve and checkpoints in a run folder.

        Examples: rgrl train CartPole-v1 --out runs/demo
                  rgrl train Pendulum-v1 --seeds 8 --episodes 10 --planner.lr 0.1
                  rgrl train CartPole-v1 --algo weight_max"""

    env: Positional[str] = _option(
        "", "A registered environment, see rgrl list, or gymnasium:ID, mjx:ID, brax:NAME.", "ENV"
    )
    algo: str = _option("rgrl", "The algorithm, which decides what other settings there are; see rgrl list.")
    out: Path | None = _option(
        None, "The run folder; by default runs/ENV-PRESET-SEED, for other algorithms runs/ENV-ALGO-PRESET-SEED."
    )
    overwrite: bool = _option(False, "Replace an earlier run in that folder.")


@dataclasses.dataclass(frozen=True)
class Evaluate(Command):
    """Arguments of ``rgrl evaluate``."""

    call = inspection.evaluate
    text = (
        "Play noiseless episodes with the last checkpoint of a run.\n\nExample: rgrl evaluate runs/demo --episodes 20"
    )

    folder: Positional[Path] = _RUN
    episodes: int = fields.integer(100, "Noiseless episodes to play.", low=1)
    seed: int = _option(0, "Seed of the episodes.")
    commands: int = fields.integer(
        0,
        "Returns that a generator of policies, udrlpg or gogepo, is also commanded to reach, spread over their "
        "scale, 5 episodes each; command_following.png in the run folder shows the returns that it reached.",
    )


@dataclasses.dataclass(frozen=True)
class Resume(Distributed, Command):
    """Arguments of ``rgrl resume``."""

    call = commands.resume
    text = """
        Go on with a run from its last checkpoint, as if it had never stopped; one that had met its goal does not stop
        there again.

        Example: rgrl resume runs/demo --episodes 60"""

    folder: Positional[Path] = _RUN
    episodes: int | None = _option(None, "Training episodes in all; by default those first planned.")


@dataclasses.dataclass(frozen=True)
class Plot(Command):
    """Arguments of ``rgrl plot``."""

    call = inspection.plot
    text = """
        Draw the learning curve of a run, its plans, the error of its model, or a heat map of several runs.

        Examples: rgrl plot runs/demo --out curve.pdf
                  rgrl plot runs/demo --kind model"""

    folder: Positional[Path] = _option(
        Path("runs/demo"),
        "A run folder; for a sweep the folder that holds run folders of two changed settings.",
        "RUN",
    )
    out: Path | None = _option(None, "The picture to write; by default in that folder, curve.png or KIND.png.")
    kind: Literal["learning", "plans", "model", "sweep"] = _option(
        "learning",
        "Learning curve; plans and predictions along a noiseless episode; errors of the model by steps ahead; or a "
        "heat map of the mean return of the last ten episodes.",
    )
    seed: int = _option(0, "Seed of the episodes that are played with --kind plans or model.")
    episodes: int = fields.integer(10, "Episodes that are played with --kind model.", low=1)


@dataclasses.dataclass(frozen=True)
class Watch(Command):
    """Arguments of ``rgrl watch``."""

    call = inspection.watch
    text = "Play one noiseless episode and draw it as a GIF.\n\nExample: rgrl watch runs/demo"

    folder: Positional[Path] = _RUN
    out: Path | None = _option(None, "The GIF to write; by default watch.gif in the run folder.")
    seed: int = _option(0, "Seed of the episode.")
    frames: int = fields.integer(200, "Largest number of frames.", low=1)


@dataclasses.dataclass(frozen=True)
class List(Command):
    """Arguments of ``rgrl list``."""

    call = inspection.list_all
    text = "List environments, algorithms with their presets, and models."


COMMANDS = {kind.__name__.lower(): kind for kind in (Train, Evaluate, Resume, Plot, Watch, List)}


def parse(argv: Sequence[str]) -> tuple[Command, dict[str, Any]]:
    """Turns arguments into a command and the settings of its config by dotted names; makes no arrays.

    Raises:
      ValueError: no such algorithm, preset or flag, or a value out of range.
      SystemExit: of tyro, for ``--help`` and for arguments that do not fit.
    """
    config = _starting_config(argv) if argv[:1] == ["train"] else None
    if argv and argv[0] in COMMANDS:
        _check_flags(argv, COMMANDS[argv[0]], config)
    parts = []
    for name, kind in COMMANDS.items():
        marker = tyro.conf.subcommand(name, description=inspect.cleandoc(kind.text))
        parts.append(Annotated[_parser_type(kind, config if kind is Train else None), marker])
    union: Any = typing.Union[tuple(parts)]  # noqa: UP007
    parsed = tyro.cli(union, args=list(argv), prog="rgrl", description="Agents that deduce their actions.")
    kind = COMMANDS[argv[0]]
    command = kind(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(kind)})
    fields.check_fields(command)
    names = [] if config is None else _settable(type(config))
    return command, {name: fields.get_at(parsed.config, name) for name in names}


def _starting_config(argv: Sequence[str]) -> Config:
    """Makes the config whose fields are the flags of ``rgrl train`` and whose values are their defaults.

    Environment, algorithm and preset decide it, so they are read before the parser can be built: by their flags, and
    the first registered name that is the value of no flag that every algorithm has.
    """
    ahead = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for field in dataclasses.fields(Train):
        if field.name != "env" and not isinstance(field.default, bool):
            ahead.add_argument(f"--{field.name.replace('_', '-')}", nargs="?", default=field.default)
    found, (_, *rest) = ahead.parse_known_args(list(argv))
    first = rest[0] if rest and not rest[0].startswith("-") else "CartPole-v1"
    return defaults(next(filter(is_known, rest), first), found.preset or "tuned", found.algo or "rgrl")


def _check_flags(argv: Sequence[str], kind: type, config: Config | None) -> None:
    """Raises a ValueError that names the nearest flags if one is not there."""
    known = [field.name for field in dataclasses.fields(kind)] + (_settable(type(config)) if config else [])
    for word in argv:
        flag = word.split("=")[0]
        head, dot, last = flag.removeprefix("--").replace("-", "_").rpartition(".")
        names = {head + dot + last, head + dot + last.removeprefix("no_"), last}
        if flag.startswith("--") and not names & {*known, "help"}:
            near = "--" + fields.nearest(head + dot + last, known).replace("_", "-").replace(", ", ", --")
            raise ValueError(f"{flag} is not a flag of rgrl {argv[0]}; nearest: {near}")


def _settable(config_type: type[Config]) -> list[str]:
    """Lists the dotted names of the fields that are flags."""
    return [setting.path for setting in fields.settings(config_type) if setting.path not in GIVEN]


def _parser_type(kind: type, config: Config | None) -> type:
    """Makes the dataclass that tyro reads: fields of ``kind``, and those of the config in a panel of their own."""
    usual = kind(chunk=max(config.episodes // 100, 1)) if config else kind()
    described = _described(kind, usual)
    described.sort(key=lambda row: next(i for i, base in enumerate(kind.__mro__) if row[0] in base.__annotations__))
    if config:
        inner = dataclasses.make_dataclass("Config", _described(type(config), config), frozen=True)
        described.append(("config", Annotated[inner, tyro.conf.arg(name="")], inner()))
    rows: list[Any] = [row[:2] if row[0] == "env" else row for row in described]  # the only one that must be given
    return dataclasses.make_dataclass(kind.__name__, rows, frozen=True)


def _described(kind: type, values: Any) -> list[tuple[str, Any, Any]]:
    """Lists names, types with help and defaults of the fields of ``kind``; groups get types of their own."""
    hints, described = typing.get_type_hints(kind, include_extras=True), []
    for field in dataclasses.fields(kind):
        data, value = field.metadata, getattr(values, field.name)
        if field.name in GIVEN:
            continue
        if "group" in data:
            inner = dataclasses.make_dataclass(field.name, _described(data["group"], value), frozen=True)
            described.append((field.name, Annotated[inner, tyro.conf.arg(help=data["help"])], inner()))
            continue
        rule, metavar = data.get("rule"), data.get("metavar")
        if isinstance(rule, fields.Choice):
            metavar = f"{{{','.join(rule.allowed)}}}"
        bounds = "" if rule is None or isinstance(rule, fields.Choice | fields.Type) else rule.text()
        notes = "; ".join(filter(None, [data.get("symbol"), bounds]))
        argument = tyro.conf.arg(help=data["help"] + f" [{notes}]" * bool(notes), metavar=metavar)
        described.append((field.name, Annotated[hints[field.name], argument], value))
    return described


def keep_programs() -> None:
    """Makes JAX keep compiled programs in the user's cache folder, so that the next run starts at once.

    A folder that JAX was given, by ``JAX_COMPILATION_CACHE_DIR`` for instance, stays as it is.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("rgrl_jax", appauthor=False))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, 2 for an error in what was asked, 130 after Ctrl-C, or 143 after SIGTERM."""
    argv = list(sys.argv[1:] if argv is None else argv)
    keep_programs()
    try:
        with _terminations():
            return _answer(argv)
    except (ValueError, OSError, FloatingPointError) as error:
        if "--debug" in argv:
            raise
        sentence = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:  # without the system's number
            sentence = f"{str(error.filename)!r}: {error.strerror}"
        _console(True).print(f"error: {sentence}")
        return 2
    except KeyboardInterrupt as stop:
        _console(True).print(str(stop) or "interrupted; go on with: rgrl resume RUN")
        return 128 + (stop.number if isinstance(stop, commands.Interrupted) else signal.SIGINT)


def _console(stderr: bool, quiet: bool = False) -> Console:
    return Console(stderr=stderr, quiet=quiet, highlight=False, markup=False, soft_wrap=True)


def _answer(argv: list[str]) -> int:
    command, settings = parse(argv)
    if isinstance(command, Distributed) and command.coordinator_address:
        multiprocess.initialize(command.coordinator_address, command.num_processes, command.process_id)
    shared = {field.name for kind in (Command, Distributed) for field in dataclasses.fields(kind)}
    own = {name: value for name, value in vars(command).items() if name not in shared}
    own |= {"settings": settings} if isinstance(command, Train) else {}
    answer = type(command).call(_console(command.json, quiet=not multiprocess.is_first()), **own)
    if command.json and multiprocess.is_first():
        print(json.dumps(answer))
    return 0


@contextlib.contextmanager
def _terminations() -> Iterator[None]:
    """Makes SIGTERM raise what Ctrl-C raises, so that it ends a command as properly."""

    def stop(number: int, frame: Any) -> None:
        raise commands.Interrupted(number, "SIGTERM: ended; go on with: rgrl resume RUN")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


if __name__ == "__main__":
    raise SystemExit(main())
