"""Growth of the cost of a planned step and of an update with everything that can be made larger.

    python -m benchmarks.scaling               # resumes where it was stopped
    python -m benchmarks.scaling --levers width history

One lever is moved at a time. Its exponent is the slope of the logarithms of time by value, at the upper end: 1 is
linear, and no lever should be above it but the width, whose matrices grow with its square. A lever of the replay is
timed in learning: it is not even an argument of a planned step. The levers of devices measure weak scaling: twice the
work for twice the devices, at best in the same time. They need several,

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m benchmarks.scaling --levers "devices, rows"

for instance, on a CPU with two cores. Writes ``scaling.csv`` and ``README.md`` to
``benchmarks/results/scaling``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

import rgrl_jax as rgrl
from benchmarks import report, timing
from benchmarks.throughput import ENV, fill_replay, make_step, make_update
from rgrl_jax import spmd
from rgrl_jax.experiment.compile import put_on_devices

RESULTS = Path(__file__).parent / "results" / "scaling"
BASE: dict[str, Any] = {
    "max_steps": 1, "explore.warmup_episodes": 0, "model.width": 64, "model.layers": 2, "model.unroll": 1,
    "planner.horizon": 16, "planner.iterations": 16, "planner.unroll": 1, "learner.updates_per_episode": 8,
}  # fmt: skip


class Lever(NamedTuple):
    """Something to make larger.

    Attributes:
      values: smallest first.
      limit: the exponent that it should not exceed.
      fields: fields of the config that take the value.
      rows: environments in lockstep for a value.
      seeds: ensembles side by side for a value.
      learns: time an update instead of a planned step.
      changes: further changes of the config, by value.
      spread: axis that as many devices as the value share, see `put_on_devices`; empty for one device.
    """

    values: tuple[int, ...]
    limit: float = 1.0
    fields: tuple[str, ...] = ()
    changes: Callable[[int], dict[str, Any]] = lambda value: {}
    rows: Callable[[int], int] = lambda value: 16
    seeds: Callable[[int], int] = lambda value: 1
    learns: bool = False
    spread: str = ""


LEVERS = {
    "iterations": Lever((8, 16, 32, 64), fields=("planner.iterations",)),
    "horizon": Lever((8, 16, 32, 64), fields=("planner.horizon",)),
    "ensemble_size": Lever((2, 4, 8, 16), 0.5, fields=("model.ensemble_size",)),  # one member is drawn
    "width": Lever((32, 64, 128, 256), 2.0, fields=("model.width",)),
    "rows": Lever((16, 64, 256, 1024), rows=lambda n: n),
    "seeds": Lever((1, 2, 4, 8), seeds=lambda n: n),
    "history": Lever((8, 16, 32, 64), fields=("model.history_length",)),
    "horizon and history": Lever((8, 16, 32, 64), fields=("planner.horizon", "model.history_length")),
    "unroll": Lever((1, 4, 16), 0.1, fields=("planner.unroll",), rows=lambda n: 64),
    "unroll, learning": Lever((1, 4, 16), 0.1, fields=("model.unroll",), learns=True),
    "unroll, learning, wide": Lever(
        (1, 4, 16), 0.1, fields=("model.unroll",), learns=True, changes=lambda n: {"model.width": 512}
    ),
    "replay, planning": Lever((1_000, 4_000, 16_000, 64_000), 0.1, fields=("replay.capacity",)),
    "replay, learning": Lever((1_000, 4_000, 16_000, 64_000), fields=("replay.capacity",), learns=True),
    "ensemble_size, learning": Lever((2, 4, 8, 16), fields=("model.ensemble_size",), learns=True),
    "batch, learning": Lever((16, 64, 256, 1024), fields=("learner.batch_size",), learns=True),
    "devices, rows": Lever((1, 2, 4, 8), 0.2, rows=lambda n: 64 * n, spread=spmd.AXIS),
    "devices, seeds": Lever((1, 2, 4, 8), 0.2, seeds=lambda n: 4 * n, spread="seeds"),
    "devices, batch, learning": Lever(
        (1, 2, 4, 8), 0.2, changes=lambda n: {"learner.batch_size": 64 * n}, learns=True, spread=spmd.AXIS
    ),
}


def make_config(lever: Lever, value: int, changes: dict[str, Any]) -> rgrl.RGRLConfig:
    """Returns the config of a lever's value; ``changes`` come before the lever's own."""
    own = dict.fromkeys(lever.fields, value) | lever.changes(value)
    return timing.make_config(ENV, BASE | changes | own | ({"max_steps": 60} if lever.learns else {}))


def measure(lever: Lever, value: int, changes: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Measures seconds of a planned step of all rows and seeds, or of an update, and of compiling."""
    config = make_config(lever, value, changes)
    keys = jax.random.split(jax.random.key(0), lever.seeds(value))
    given = jax.jit(jax.vmap(lambda key: rgrl.init(key, config)))(keys)
    if lever.learns:
        run, given = make_update(config), jax.jit(jax.vmap(lambda state: fill_replay(config, state, 8)))(given)
    else:
        run, given = make_step(config, lever.rows(value)), given.params
    keys, given = put_on_devices((keys, given), value if lever.spread else 1, lever.spread)
    program = timing.build(jax.vmap(run), keys, given)
    found = timing.median_seconds(lambda: program.call(keys, given), seconds=seconds)
    found /= config.learner.updates_per_episode if lever.learns else 1
    return {"seconds": f"{found:.4g}", "compile_seconds": round(program.compile_seconds, 2)}


def usable_values(lever: Lever) -> tuple[int, ...]:
    """Returns the values for which there are devices; none where one alone would be compared with itself."""
    if not lever.spread:
        return lever.values
    return tuple(v for v in lever.values if 1 < jax.device_count() >= v)


def exponent(values: list[int], seconds: list[float]) -> float:
    """Fits the slope of the logarithms over the last three points, by least squares; NaN of fewer than two."""
    points = [(math.log(v), math.log(s)) for v, s in sorted(zip(values, seconds, strict=True))][-3:]
    if len(points) < 2:
        return math.nan
    x, y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def write_report(out: Path) -> None:
    """Writes a row for each lever and device: the times and their exponent."""
    rows = timing.read_table(out / "scaling.csv")
    lines = ["# Growth of cost", "", "Made by `python -m benchmarks.scaling`.", ""]
    for device, machine, version in dict.fromkeys((r["device"], r["machine"], r["jax"]) for r in rows):
        lines += [f"## {device}", "", f"{machine}; jax {version}", ""]
        lines += ["| lever | values | milliseconds | exponent | at most |", "| --- | --- | --- | --- | --- |"]
        for name, lever in LEVERS.items():
            own = [row for row in rows if row["device"] == device and row["lever"] == name]
            if own:
                values, seconds = [int(row["value"]) for row in own], [float(row["seconds"]) for row in own]
                shown = ", ".join(f"{1e3 * s:.3g}" for s in seconds)
                growth = f"{exponent(values, seconds):.2f} | {lever.limit:g} |"
                lines.append(f"| {name} | {', '.join(map(str, values))} | {shown} | {growth}")
        lines.append("")
    (out / "README.md").write_text("\n".join(lines))


def main(words: list[str] | None = None, changes: dict[str, Any] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levers", nargs="+", choices=LEVERS, default=tuple(LEVERS))
    parser.add_argument("--points", type=int, default=4, help="values of each lever, smallest first")
    parser.add_argument("--seconds", type=float, default=2.0, help="of repeating each measurement")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "scaling.csv"
    for name in arguments.levers:
        for value in usable_values(LEVERS[name])[: arguments.points]:
            case = {"lever": name, "value": value}
            if not timing.is_known(timing.read_table(path), case):
                found = measure(LEVERS[name], value, changes or {}, arguments.seconds)
                report.append_rows(path, [timing.where() | case | found])
                print(case, found, flush=True)
    write_report(arguments.out)


if __name__ == "__main__":
    main()
