"""The command line ``rgrl``: train, evaluate, resume, plot, watch, list."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import re
import signal
import sys
import threading
import time
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import platformdirs
import tyro
from rich.console import Console
from tyro.conf import Positional

from rgrl_jax.algos.base import algorithm_name, list_algorithms
from rgrl_jax.algos.config import explain
from rgrl_jax.envs.registry import is_known, list_envs
from rgrl_jax.experiment import jobs, processes
from rgrl_jax.models.base import list_models
from rgrl_jax.presets import PRESETS, TABLES, defaults, list_presets, preset


@dataclasses.dataclass
class Output:
    """How a command answers.

    Attributes:
      json: print one JSON object on standard output and nothing else there.
      debug: show the traceback of an error.
    """

    json: bool = False
    debug: bool = False


@dataclasses.dataclass
class Together:
    """How several processes run one command, each started by itself, all of them with the same folder in reach.

    Attributes:
      coordinator: HOST:PORT at which the first process listens, or auto where Slurm, Open MPI or the like tell all
        three; empty for one process alone.
      processes: how many there are.
      process: which of them this is, from 0; the first one speaks for all.
    """

    coordinator: str = ""
    processes: int = 1
    process: int = 0


@dataclasses.dataclass
class Evaluate(Output):
    """Play noiseless episodes with the last checkpoint of a run.

    Example: rgrl evaluate runs/demo --episodes 20

    Attributes:
      run: a run folder.
      episodes: episodes to play.
      seed: of the episodes.
      commands: returns that a generator of policies, udrlpg or gogepo, is also asked for, spread over their scale,
        5 episodes each; identity.png in the run folder shows what came of them.
    """

    run: Positional[Path] = Path("runs/demo")
    episodes: int = 100
    seed: int = 0
    commands: int = 0


@dataclasses.dataclass
class Resume(Together, Output):
    """Go on with a run from its last checkpoint, as if it had never stopped.

    A run that stopped because it had met its goal goes on without stopping there again.

    Example: rgrl resume runs/demo --episodes 60

    Attributes:
      run: a run folder.
      episodes: training episodes in all; by default those first planned.
    """

    run: Positional[Path] = Path("runs/demo")
    episodes: int | None = None


@dataclasses.dataclass
class Plot(Output):
    """Draw the learning curve of a run, its plans, the error of its model, or a heat map of several runs.

    Examples: rgrl plot runs/demo --out curve.pdf
              rgrl plot runs/demo --kind model

    Attributes:
      run: a run folder; for a sweep the folder that run folders of two changed settings are in.
      out: the picture to write; by default in that folder, curve.png, plans.png, model.png or sweep.png.
      kind: learning curve; plans and predictions along a noiseless episode; errors of the model by steps ahead; or a
        heat map of mean returns of the last ten episodes.
      seed: of the episodes that are played for plans and model.
      episodes: how many of them for model.
    """

    run: Positional[Path] = Path("runs/demo")
    out: Path | None = None
    kind: typing.Literal["learning", "plans", "model", "sweep"] = "learning"
    seed: int = 0
    episodes: int = 10


@dataclasses.dataclass
class Watch(Output):
    """Play one noiseless episode and draw it as a GIF.

    Example: rgrl watch runs/demo

    Attributes:
      run: a run folder.
      out: the GIF to write; watch.gif in the run folder by default.
      seed: of the episode.
      frames: frames at most.
    """

    run: Positional[Path] = Path("runs/demo")
    out: Path | None = None
    seed: int = 0
    frames: int = 200


@dataclasses.dataclass
class List(Output):
    """List environments, presets, models and algorithms."""


TRAIN_DOC = """Train an agent, and keep its numbers, curve and checkpoint in a run folder.

Examples: rgrl train CartPole-v1 --out runs/demo
          rgrl train Pendulum-v1 --seeds 8 --episodes 10 --plan-lr 0.1
          rgrl train CartPole-v1 --algo weight_max

Attributes:
  env: a registered environment, see rgrl list, or gymnasium:ID, mjx:ID, brax:NAME.
  algo: the algorithm; which one decides what other settings there are.
  preset: where the other settings come from; see rgrl list.
  seed: decides the whole run.
  seeds: runs trained in lockstep, of seeds seed, seed + 1, ...
  devices: over how many devices the seeds are spread, or the environments and the learning of a single run: a number
    that divides theirs (num_envs and learn_batch), or all. Several processes use all of theirs.
  seed_batch: seeds that a device trains in lockstep, the next ones after them; 0 for as many as its memory holds.
  out: the run folder; by default runs/ENV-PRESET-SEED, and for other algorithms than rgrl runs/ENV-ALGO-PRESET-SEED.
  overwrite: replace an earlier run in that folder.
  early_stop: stop once the goal of the environment is met over 10 noiseless episodes.
  eval_episodes: noiseless episodes after training.
  chunk: training episodes between two looks at the run, and between two checkpoints; a kill loses at most one chunk,
    Ctrl-C and SIGTERM none.
  tensorboard: write events for TensorBoard into the run folder; needs pip install 'rgrl_jax[tensorboard]'.
"""


GIVEN = ("env_id", "rule")
"""Fields of configs that the environment and the algorithm decide."""


def train_type(config: Any, name: str) -> type:
    """The arguments of ``rgrl train``: its own, and every field of the config with its default."""
    fields: list[tuple[str, Any, Any]] = [
        ("env", Positional[str], dataclasses.MISSING),
        ("algo", str, algorithm_name(config)),
        ("preset", str, name),
        ("seed", int, 0),
        ("seeds", int, 1),
        ("devices", str, "1"),
        ("seed_batch", int, 0),
        ("out", Path | None, None),
        ("overwrite", bool, False),
        ("early_stop", bool, True),
        ("eval_episodes", int, 100),
        ("chunk", int, max(config.episodes // 100, 1)),
        ("tensorboard", bool, False),
    ]
    shared = (Together, Output)
    fields += [(f.name, f.type, f.default) for kind in shared for f in dataclasses.fields(kind)]
    hints = typing.get_type_hints(type(config))
    settings = [f.name for f in dataclasses.fields(config) if f.name not in GIVEN]
    fields += [(field, hints[field], getattr(config, field)) for field in settings]
    docs = [inspect.cleandoc(str(kind.__doc__)).split("Attributes:\n")[1] for kind in shared]
    docs += [f"  {x.name}: {x.meaning.rstrip('.')} [{x.allowed}]." for x in explain(type(config))]
    made = dataclasses.make_dataclass(
        "Train", [(n, t) if d is dataclasses.MISSING else (n, t, dataclasses.field(default=d)) for n, t, d in fields]
    )
    made.__doc__ = TRAIN_DOC + "\n".join(docs)
    return made


def parse(argv: Sequence[str]) -> Any:
    """Turns arguments into a command.

    Environment, algorithm and preset decide what settings there are and the defaults that ``--help`` shows. So they
    are guessed first, and if the guess was wrong the arguments are read again.

    Raises:
      ValueError: no such algorithm, or no such preset for this environment.
      SystemExit: of tyro, for ``--help`` and for arguments that do not fit.
    """
    env = next((word for word in argv if is_known(word)), "CartPole-v1")
    name, algo = _said(argv, "--preset", "tuned"), _said(argv, "--algo", "rgrl")
    if list(argv[:1]) != ["train"]:
        return _parse(argv, defaults("CartPole-v1"), name)
    command = _parse(argv, defaults(env, name, algo), name)
    if (command.env, command.preset, command.algo) == (env, name, algo):
        return command
    return _parse(argv, defaults(command.env, command.preset, command.algo), command.preset)


def _said(argv: Sequence[str], flag: str, usual: str) -> str:
    """What follows a flag, for a look ahead."""
    words = [word for argument in argv for word in argument.split("=", 1)]
    return words[words.index(flag) + 1] if flag in words[:-1] else usual


def _parse(argv: Sequence[str], config: Any, name: str) -> Any:
    commands = {"train": train_type(config, name)}
    commands |= {x.__name__.lower(): x for x in (Evaluate, Resume, Plot, Watch, List)}
    union: Any = typing.Union[tuple(Annotated[t, tyro.conf.subcommand(n)] for n, t in commands.items())]  # noqa: UP007
    return tyro.cli(union, args=list(argv), prog="rgrl", description="Agents that deduce their actions.")


def keep_programs() -> None:
    """Has JAX keep compiled programs in the user's cache folder, so that the next run starts at once.

    A folder that JAX was given, by ``JAX_COMPILATION_CACHE_DIR`` for instance, stays as it is.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("rgrl_jax", appauthor=False))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, 2 for an error in what was asked, 130 after Ctrl-C, or 143 after SIGTERM."""
    argv = list(sys.argv[1:] if argv is None else argv)
    start = time.perf_counter()
    keep_programs()
    try:
        with _terminations():
            return _answer(argv, start)
    except (ValueError, OSError, FloatingPointError) as error:
        if "--debug" in argv:
            raise
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"error: {_sentence(error)}")
        return 2
    except KeyboardInterrupt as stop:
        said = str(stop) or "interrupted; go on with: rgrl resume RUN"
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(said)
        return 128 + (stop.number if isinstance(stop, jobs.Interrupted) else signal.SIGINT)


def _answer(argv: list[str], start: float) -> int:
    coordinator = _said(argv, "--coordinator", "")
    if coordinator and argv[0] in ("train", "resume"):  # parsing makes environments, and thereby arrays
        processes.join(coordinator, _said(argv, "--processes", "1"), _said(argv, "--process", "0"))
    command = parse(argv)
    answer = _dispatch(command, Console(stderr=command.json, quiet=not processes.is_first()), start)
    if command.json and processes.is_first():
        print(json.dumps(answer))
    return 0


@contextlib.contextmanager
def _terminations() -> Iterator[None]:
    """Has SIGTERM raise what Ctrl-C raises, so that it ends a command as properly."""

    def stop(number: int, frame: Any) -> None:
        raise jobs.Interrupted(number, "SIGTERM: ended; go on with: rgrl resume RUN")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _sentence(error: Exception) -> str:
    """What went wrong, and where, without numbers of the operating system."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{str(error.filename)!r}: {error.strerror}"
    return str(error)


def _dispatch(command: Any, console: Console, start: float) -> Any:
    table: dict[str, Callable[[Any, Console, float], Any]] = {
        "Train": _train,
        "Evaluate": lambda c, console, _: jobs.evaluate(console, c.run, c.episodes, c.seed, c.commands),
        "Resume": lambda c, console, start: jobs.resume(console, c.run, c.episodes, start),
        "Plot": lambda c, console, _: jobs.plot(console, c.run, c.out, c.kind, c.seed, c.episodes),
        "Watch": lambda c, console, _: jobs.watch(console, c.run, c.out, c.seed, c.frames),
        "List": lambda c, console, _: _list(console),
    }
    return table[type(command).__name__](command, console, start)


def _train(command: Any, console: Console, start: float) -> Any:
    names = [f.name for f in dataclasses.fields(list_algorithms()[command.algo]) if f.name not in GIVEN]
    settings = {name: getattr(command, name) for name in names}
    config = preset(command.env, command.preset, algo=command.algo, **settings)
    place = re.sub(r"[:/\\]", "-", command.env)  # no folders of folders, and no colons
    place += "" if command.algo == "rgrl" else f"-{command.algo}"
    folder = command.out or Path("runs") / f"{place}-{command.preset}-{command.seed}"
    options = {
        name: getattr(command, name)
        for name in (
            "preset",
            "seed",
            "seeds",
            "devices",
            "seed_batch",
            "chunk",
            "early_stop",
            "eval_episodes",
            "tensorboard",
        )
    }
    return jobs.train(console, config, folder, options, overwrite=command.overwrite, start=start)


def _list(console: Console) -> dict[str, Any]:
    answer = {
        "environments": list_envs(),
        "presets": list_presets(),
        "models": list_models(),
        "algorithms": list(list_algorithms()),
    }
    console.print(
        "environments and their presets; gymnasium:ID is any of Gymnasium's, mjx:ID its InvertedPendulum, Swimmer or "
        "Hopper compiled, brax:NAME any of Brax's",
        soft_wrap=True,
    )
    for env in dict.fromkeys([*list_envs(), *PRESETS["tuned"]]):
        console.print(f"  {env:33s}{', '.join(name for name in PRESETS if env in PRESETS[name])}", highlight=False)
    console.print(f"models: {', '.join(answer['models'])}\nalgorithms, and where they have presets:")
    for algo in answer["algorithms"]:
        known = dict.fromkeys(env for table in TABLES.get(algo, {}).values() for env in table)
        console.print(
            f"  {algo:20s}{', '.join(known) if algo != 'rgrl' else 'see above'}", highlight=False, soft_wrap=True
        )
    return answer


if __name__ == "__main__":
    raise SystemExit(main())
