"""Networks as teams of agents against the published table: mean return over all training episodes.

    python -m benchmarks.unit_teams                                       # every cell but those on the host
    python -m benchmarks.unit_teams --methods weight_max map_prop --envs CartPole-v1
    python -m benchmarks.unit_teams --report                              # table and plots of what is there

A cell is a method on an environment, with the settings of `rgrl.preset`: ``paper`` where something was published,
else ``borrowed``; methods that end in ``_tuned`` have those of ``tuned``, and their gain over the other settings is
that of the same seeds, with a bootstrapped interval of the mean difference. The seeds of a cell are one program, side
by side (on the host one after the other). A finished cell is not run again; its rows are in ``runs.csv`` under
``benchmarks/results/unit_teams``, its curves and its config beside it. Returns are those of the training episodes,
during learning, as in the publications.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rgrl_jax as rgrl
from benchmarks import report
from benchmarks.machine import describe_run
from rgrl_jax.experiment.run_folder import plain_config

RESULTS = Path(__file__).parent / "results" / "unit_teams"
COLUMNS = ("method", "environment", "seed", "mean_return", "last100_return", "episodes", "env_steps")
WINDOW = 100
"""Episodes of a running average."""
POINTS = 200
"""Points of a stored curve, at most."""

LANDER = "gymnasium:LunarLander-v3"
PUBLISHED: dict[tuple[str, str], tuple[float, float] | None] = {
    ("weight_max", "CartPole-v1"): (390.38, 43.25),
    ("weight_max", "Acrobot-v1"): (-97.05, 2.90),
    ("weight_max", "Multiplexer-4"): (0.81, 0.01),
    ("weight_max", LANDER): (111.23, 16.58),
    ("weight_max_traces", "CartPole-v1"): (373.11, 17.86),
    ("weight_max_traces", "Acrobot-v1"): (-105.00, 4.38),
    ("weight_max_traces", LANDER): (39.04, 14.39),
    ("map_prop", "CartPole-v1"): (459.70, 13.89),
    ("map_prop", "Acrobot-v1"): (-100.29, 5.40),
    ("map_prop", "MountainCarContinuous-gymnasium"): (39.45, 30.48),
    ("map_prop", LANDER): (127.88, 24.57),
    ("map_prop", "Multiplexer-5"): None,
    ("map_prop", "ScalarRegression"): None,
    ("reinforce", "CartPole-v1"): None,
    ("reinforce", "Acrobot-v1"): None,
    ("reinforce", "Multiplexer-4"): None,
    ("ste", "CartPole-v1"): None,
    ("ste", "Acrobot-v1"): None,
    ("ste", "Multiplexer-4"): None,
    ("backprop", "CartPole-v1"): None,
    ("backprop", "Acrobot-v1"): None,
    ("backprop", "Multiplexer-4"): None,
}
"""Cells, and mean and standard deviation over ten runs in the tables of the two reference repositories. The lander's
are of version 2 of the environment; of the rows without numbers, only curves were published or nothing."""

TUNED = "_tuned"
"""End of the names of methods with our own settings."""
IMPROVED = [
    ("weight_max", "Acrobot-v1"),
    ("weight_max_traces", "CartPole-v1"),
    ("weight_max_traces", "Acrobot-v1"),
    ("map_prop", "Acrobot-v1"),
    ("reinforce", "CartPole-v1"),
    ("reinforce", "Acrobot-v1"),
    ("backprop", "CartPole-v1"),
    ("backprop", "Acrobot-v1"),
]
"""Cells in which these were better on seeds that are not reported.

A first choice for weight_max was not better on the reported seeds: on Acrobot, with a discount of 0.988, it was
undecided; on CartPole it was worse, and is not kept.
"""
CELLS = [
    (method + end, env_id) for method, env_id in PUBLISHED for end in ("", *[TUNED] * ((method, env_id) in IMPROVED))
]


def make_config(method: str, env_id: str, episodes: int | None = None) -> rgrl.UnitTeamConfig:
    """Makes the config of a cell."""
    algo = method.removesuffix(TUNED)
    published = env_id in rgrl.algos.list_presets(algo)["paper"]
    name = "tuned" if method != algo else "paper" if published else "borrowed"
    overrides = {} if episodes is None else {"episodes": episodes}
    return rgrl.preset(env_id, name, algo=algo, **overrides)


def run_cell(config: rgrl.UnitTeamConfig, seeds: int) -> tuple[rgrl.Metrics, float]:
    """Trains all seeds in one program; returns metrics ``[seeds, rows]``, and seconds without those of compiling."""
    clock: dict[str, float] = {}

    class Clock(rgrl.callbacks.Callback):
        def end(self, run: Any) -> None:
            clock.update(run.seconds)

    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    chunk = max(config.episodes // 20, 1)
    _, metrics = rgrl.run(keys, config, chunk=chunk, callbacks=[rgrl.callbacks.Progress(), Clock()])
    return metrics, clock["train"]


def summarise(method: str, config: rgrl.UnitTeamConfig, metrics: rgrl.Metrics) -> list[dict[str, Any]]:
    """Makes a row per seed."""
    each = config.episodes_per_row * config.num_envs  # episodes of a row of metrics
    last = math.ceil(WINDOW / each)
    returns = np.asarray(metrics.episode_return, np.float64)
    rows = []
    for seed in range(returns.shape[0]):
        values = (
            method,
            config.env_id,
            seed,
            round(returns[seed].mean(), 4),
            round(returns[seed, -last:].mean(), 4),
            returns.shape[1] * each,
            int(metrics.env_steps[seed, -1]),
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def running_average(returns: np.ndarray, window: int) -> np.ndarray:
    """Averages up to ``window`` last rows, ``[seeds, rows]``."""
    total = np.cumsum(np.pad(returns, ((0, 0), (1, 0))), axis=1)
    end = np.arange(1, returns.shape[1] + 1)
    start = np.maximum(end - window, 0)
    return (total[:, end] - total[:, start]) / (end - start)


def write_cell(
    out: Path, method: str, config: rgrl.UnitTeamConfig, metrics: rgrl.Metrics, seconds: float
) -> list[dict[str, Any]]:
    """Writes the results of a cell; the rows in ``runs.csv`` come last, since they mark it as done."""
    name = file_name(method, config.env_id)
    out.mkdir(parents=True, exist_ok=True)
    rows = summarise(method, config, metrics)
    each = config.episodes_per_row * config.num_envs
    curves = running_average(np.asarray(metrics.episode_return, np.float64), max(WINDOW // each, 1))
    shown = np.unique(np.linspace(0, curves.shape[1] - 1, POINTS).astype(int))
    with (out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["episode", *(f"seed_{i}" for i in range(len(curves)))])
        writer.writerows([(i + 1) * each, *np.round(curves[:, i], 4)] for i in shown)
    steps = sum(row["env_steps"] for row in rows)
    about = {
        **describe_run("jax", "jaxlib", "flax", "gymnax"),
        "train_seconds": round(seconds, 1),
        "env_steps_per_second": round(steps / seconds),
        "config": plain_config(config),
    }
    (out / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")
    report.append_rows(out / "runs.csv", rows)
    return rows


def file_name(method: str, env_id: str) -> str:
    return f"{method}-{env_id.replace(':', '_')}"


HEAD = ("method", "environment", "runs", "mean over training (std)", "last 100", "published", "gain", "env steps/s")


def table(rows: list[dict[str, Any]], out: Path) -> list[str]:
    """Makes the lines of the table, one per cell, with the published figures beside ours."""
    lines = []
    for method, env_id in CELLS:
        own = rows_of(rows, method, env_id)
        if not own:
            continue
        algo = method.removesuffix(TUNED)
        mean, last = (np.array([row[name] for row in own]) for name in ("mean_return", "last100_return"))
        speed = json.loads((out / f"{file_name(method, env_id)}.json").read_text())["env_steps_per_second"]
        published = PUBLISHED[algo, env_id]
        cells = (
            method,
            env_id,
            str(len(own)),
            f"{mean.mean():.2f} ({mean.std():.2f})",
            f"{last.mean():.2f}",
            "not known" if published is None else f"{published[0]:.2f} ({published[1]:.2f})",
            gain(rows_of(rows, algo, env_id), own) if method != algo else "",
            f"{speed:,}",
        )
        lines.append(dict(zip(HEAD, cells, strict=True)))
    return report.markdown(HEAD, lines)


def rows_of(rows: list[dict[str, Any]], method: str, env_id: str) -> list[dict[str, Any]]:
    return [row for row in rows if (row["method"], row["environment"]) == (method, env_id)]


def gain(base: list[dict[str, Any]], own: list[dict[str, Any]]) -> str:
    """Compares the seeds that both have: mean difference and its interval; empty without any."""
    if not {row["seed"] for row in base} & {row["seed"] for row in own}:
        return ""
    found = report.compare(*([row | {"eval_return": row["mean_return"]} for row in rows] for rows in (base, own)))
    return f"{found['difference']} ({found['95 % interval']})"


def draw(env_id: str, methods: list[str], out: Path) -> None:
    """Draws running averages of every method on an environment, with bands of a standard deviation over runs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    known = list(dict.fromkeys(algo for algo, _ in PUBLISHED))
    for method in methods:
        algo = method.removesuffix(TUNED)
        color, line = report.COLORS[known.index(algo)], "-" if method == algo else "--"
        episode, *curves = np.loadtxt(out / f"{file_name(method, env_id)}.csv", delimiter=",", skiprows=1, ndmin=2).T
        mean, std = np.mean(curves, axis=0), np.std(curves, axis=0)
        axis.plot(episode, mean, color=color, linestyle=line, linewidth=2, label=f"{method}, {len(curves)} runs")
        axis.fill_between(episode, mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
        published = PUBLISHED.get((method, env_id))
        if published is not None:
            label = "published means over training" if method == methods[0] else None
            axis.axhline(published[0], color=color, linestyle=":", linewidth=1, label=label)
    axis.set_xlabel("training episode")
    axis.set_ylabel("running average of the return")
    axis.set_title(env_id)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(out / f"{env_id.replace(':', '_')}.png", dpi=150)


def write_report(out: Path) -> None:
    """Writes README.md with the table, and a plot per environment."""
    rows = report.read_rows(out / "runs.csv")
    if not rows:
        return
    text = ["# Networks as teams of agents", "", __doc__.strip().split("\n\n")[-1], ""]
    text += [
        "Mean and standard deviation over runs of the mean return over all training episodes:",
        "",
        *table(rows, out),
        "",
    ]
    for env_id in dict.fromkeys(row["environment"] for row in rows):
        done = {row["method"] for row in rows if row["environment"] == env_id}
        draw(env_id, [method for method, env in CELLS if env == env_id and method in done], out)
        text += [f"![{env_id}]({env_id.replace(':', '_')}.png)", ""]
    (out / "README.md").write_text("\n".join([*text, *report.machines(out), ""]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", metavar="METHOD", choices=sorted({method for method, _ in CELLS}))
    parser.add_argument("--envs", nargs="+", metavar="ENV", choices=sorted({env for _, env in PUBLISHED}))
    parser.add_argument("--seeds", type=int, default=10, help="runs of a cell")
    parser.add_argument("--episodes", type=int, help="rows of training episodes; by default those of the preset")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="run nothing; only the table and plots")
    arguments = parser.parse_args()
    done = {(row["method"], row["environment"]) for row in report.read_rows(arguments.out / "runs.csv")}
    for method, env_id in () if arguments.report else CELLS:
        wanted = env_id in (arguments.envs or [env_id] * (env_id != LANDER))
        if not wanted or method not in (arguments.methods or [method]) or (method, env_id) in done:
            continue
        start = time.perf_counter()
        config = make_config(method, env_id, arguments.episodes)
        metrics, seconds = run_cell(config, arguments.seeds)
        rows = write_cell(arguments.out, method, config, metrics, seconds)
        mean, steps = np.mean([row["mean_return"] for row in rows]), sum(row["env_steps"] for row in rows)
        print(
            f"{method} {env_id}: mean return {mean:.2f}, {steps:,} env steps at {steps / seconds:,.0f} a second; "
            f"{time.perf_counter() - start:.0f} s in all",
            flush=True,
        )
    write_report(arguments.out)


if __name__ == "__main__":
    main()
