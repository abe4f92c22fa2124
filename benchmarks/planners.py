"""Planners and their settings on the same frozen ensembles, at the same budget of model evaluations.

    for seed in 0 1 2 3 4; do rgrl train CartPole-v1 --seed $seed --out runs/planners/$seed; done
    python -m benchmarks.planners runs/planners/*

Every ensemble was trained by the preset's planner; here each setting plays noiseless episodes with it, from one start
unless it says otherwise. A budget of B is B rollouts of one member: a gradient step counts as two (forward and
backward), a sampled plan as one. Writes ``planners.csv`` (a row per run and setting) and ``planners.md`` (means over
runs with intervals) to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import csv
import datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

import rgrl_jax as rgrl
from benchmarks.machine import describe_machine

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("run", "setting", "budget", "mean_return", "min_return", "plan_movement")
SETTINGS: dict[str, dict[str, Any]] = {
    "gradient": {"iterations": 15},
    "gradient, plain descent with beta 0.1": {"iterations": 15, "optimizer": "sgd", "lr": 0.1},
    "gradient, 5 starts": {"iterations": 3, "num_starts": 5},
    "shooting": {"kind": "shooting", "iterations": 1, "samples": 30},
    "cem": {"kind": "cem", "iterations": 3, "samples": 10},
    "mppi": {"kind": "mppi", "iterations": 3, "samples": 10},
    "gradient, tenfold": {"iterations": 150},
    "shooting, tenfold": {"kind": "shooting", "iterations": 1, "samples": 300},
    "cem, tenfold": {"kind": "cem", "iterations": 5, "samples": 60},
    "mppi, tenfold": {"kind": "mppi", "iterations": 5, "samples": 60},
}
"""Changes of the planner's fields, by name."""


def make_config(config: rgrl.RGRLConfig, changes: dict[str, Any]) -> rgrl.RGRLConfig:
    """Returns the config of a run with its planner changed; one start unless the changes say otherwise."""
    changed: rgrl.RGRLConfig = config.replace(planner=config.planner.replace(**({"num_starts": 1} | changes)))
    changed.validate()
    return changed


def budget(config: rgrl.RGRLConfig) -> int:
    """Counts the rollouts of one member per plan."""
    planner = config.planner
    return (2 if planner.kind == "gradient" else planner.samples) * planner.num_starts * planner.iterations


def write_table(path: Path, rows: list[dict[str, Any]], episodes: int) -> None:
    """Writes means over runs, with date and machine."""
    runs = len({row["run"] for row in rows})
    lines = [
        f"# Planners on {runs} frozen ensembles, {episodes} noiseless episodes each",
        "",
        f"{datetime.date.today()}; {describe_machine()}; jax {jax.__version__}",
        "",
        "| setting | budget | interquartile mean of returns | 95 % interval | worst run | plan movement |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting]
        returns = np.array([row["mean_return"] for row in own])
        low, high = rgrl.analysis.bootstrap_interval(returns)
        moved = np.mean([row["plan_movement"] for row in own])
        lines.append(
            f"| {setting} | {own[0]['budget']} | {rgrl.analysis.iqm(returns):.1f} | {low:.1f} to {high:.1f} | "
            f"{returns.min():.1f} | {moved:.2f} |"
        )
    path.write_text("\n".join(lines) + "\n")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of one environment")
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV and the table")
    arguments = parser.parse_args(words)
    loaded = {run.name: rgrl.load_run(run) for run in arguments.runs}
    rows, play = [], jax.jit(rgrl.play, static_argnums=3)
    for name, changes in SETTINGS.items():
        for run, (config, state, _) in loaded.items():
            changed = make_config(config, changes)
            episode = play(jax.random.key(0), state, changed, arguments.episodes)
            returns = np.asarray(episode.episode_return)
            values = (
                run,
                name,
                budget(changed),
                round(float(returns.mean()), 2),
                float(returns.min()),
                round(float(np.mean(episode.info["plan_movement"])), 3),
            )
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            print(rows[-1], flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "planners.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_table(arguments.out / "planners.md", rows, arguments.episodes)


if __name__ == "__main__":
    main()
