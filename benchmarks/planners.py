"""Planners and levers on the same frozen ensembles, at the same budget of model evaluations.

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
from benchmarks.settings import evaluations

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("run", "setting", "budget", "mean_return", "min_return", "plan_movement")


def make_settings(members: int) -> dict[str, dict[str, Any]]:
    """What is compared, as overrides by name; mean plans ask all ``members``, and so make fewer steps."""
    return {
        "gradient": {"plan_iterations": 15},
        "gradient, softmax actions": {"plan_iterations": 15, "squash": "softmax"},
        "gradient, straight-through actions": {"plan_iterations": 15, "squash": "straight_through"},
        "gradient, mean of all members": {"plan_iterations": 15 // members, "plan_members": "mean"},
        "gradient, mean of members and disagreement": {
            "plan_iterations": 15 // members,
            "plan_members": "mean",
            "plan_disagreement": 1.0,
        },
        "gradient, normalized": {"plan_iterations": 15, "plan_optimizer": "normalized"},
        "gradient, plain descent with beta 0.1": {"plan_iterations": 15, "plan_optimizer": "sgd", "plan_lr": 0.1},
        "gradient, only better steps": {"plan_iterations": 10, "plan_accept": "better"},
        "gradient, warm start": {"plan_iterations": 15, "plan_warm_start": True},
        "gradient, 5 starts": {"plan_iterations": 3, "plan_starts": 5},
        "gradient, 5 red starts": {"plan_iterations": 3, "plan_starts": 5, "plan_noise_color": "red"},
        "shooting": {"planner": "shooting", "plan_iterations": 1, "plan_samples": 30},
        "shooting, mean of all members": {
            "planner": "shooting",
            "plan_iterations": 1,
            "plan_samples": 30 // members,
            "plan_members": "mean",
        },
        "cem": {"planner": "cem", "plan_iterations": 3, "plan_samples": 10, "plan_elites": 3},
        "mppi": {"planner": "mppi", "plan_iterations": 3, "plan_samples": 10},
        "gradient, tenfold": {"plan_iterations": 150},
        "shooting, tenfold": {"planner": "shooting", "plan_iterations": 1, "plan_samples": 300},
        "cem, tenfold": {"planner": "cem", "plan_iterations": 5, "plan_samples": 60, "plan_elites": 6},
        "mppi, tenfold": {"planner": "mppi", "plan_iterations": 5, "plan_samples": 60},
    }


def write_table(path: Path, rows: list[dict], episodes: int) -> None:
    """Means over runs, with what they were measured on."""
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
        low, high = rgrl.bootstrap_interval(returns)
        moved = np.mean([row["plan_movement"] for row in own])
        lines.append(
            f"| {setting} | {own[0]['budget']} | {rgrl.iqm(returns):.1f} | {low:.1f} to {high:.1f} | "
            f"{returns.min():.1f} | {moved:.2f} |"
        )
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of one environment")
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV and the table")
    arguments = parser.parse_args()
    loaded = {run.name: rgrl.load_run(run) for run in arguments.runs}
    rows = []
    members = min(config.ensemble_size for config, _, _ in loaded.values())
    for name, overrides in make_settings(members).items():
        play = jax.jit(rgrl.play, static_argnums=3)
        for run, (config, state, _) in loaded.items():
            setting = config.replace(**({"plan_starts": 1} | overrides))
            setting.validate()
            episode = play(jax.random.key(0), state, setting, arguments.episodes)
            returns = np.asarray(episode.episode_return)
            values = (
                run,
                name,
                evaluations(setting),
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
