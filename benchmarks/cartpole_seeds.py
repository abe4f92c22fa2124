"""Ten runs of the main job, ``rgrl train CartPole-v1 --seed S --json``, and their table.

    python -m benchmarks.cartpole_seeds                  # seeds 0 to 9
    python -m benchmarks.cartpole_seeds --seeds 3 4 5 --runs runs/seeds   # and keep the run folders

Every run is a process of its own, timed as a user would see it. Writes ``cartpole_seeds.csv`` (a row per seed)
and ``cartpole_seeds.md`` (machine, versions, table) to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import rgrl_jax as rgrl
from benchmarks.machine import describe_machine

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    "env",
    "preset",
    "seed",
    "episodes",
    "env_steps",
    "mean_return",
    "min_return",
    "compile_seconds",
    "train_seconds",
    "evaluate_seconds",
    "command_seconds",
)


def run_seed(env: str, seed: int, runs: Path | None) -> tuple[dict, dict]:
    """One run of the command, kept in ``runs`` if given; returns its row and its JSON object."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "rgrl_jax", "train", env, "--seed", str(seed), "--json"]
        command += ["--out", str((runs or Path(scratch)) / f"{env}-{seed}")]
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        elapsed = time.perf_counter() - start
    answer = json.loads(done.stdout)
    seconds, scores = answer["seconds"], answer["evaluation"]
    values = (
        answer["env"],
        answer["preset"],
        seed,
        answer["episodes"],
        answer["env_steps"],
        round(scores["mean_return"], 2),
        scores["min_return"],
        round(seconds["compile"], 1),
        round(seconds["train"], 1),
        round(seconds["evaluate"], 1),
        round(elapsed, 1),
    )
    return dict(zip(COLUMNS, values, strict=True)), answer


def write_table(path: Path, env: str, rows: list[dict], answer: dict) -> None:
    """The rows as Markdown, with what they were measured on."""
    means = np.array([row["mean_return"] for row in rows])
    low, high = rgrl.bootstrap_interval(means)
    goal = answer["goal"]
    lines = [
        f"# `rgrl train {env} --seed S --json`",
        "",
        f"{datetime.date.today()}; {describe_machine()}; "
        + ", ".join(f"{name} {version}" for name, version in answer["versions"].items()),
        "",
        f"Final evaluation: 100 fresh episodes without plan noise. {(means >= goal).sum()} of {len(rows)} seeds "
        f"reach {goal:g}. Interquartile mean {rgrl.iqm(means):.1f}, 95 % bootstrap interval {low:.1f} to {high:.1f}. "
        f"Slowest command {max(row['command_seconds'] for row in rows):.0f} s, slowest compile "
        f"{max(row['compile_seconds'] for row in rows):.0f} s.",
        "",
        "| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
        "|" + " --- |" * len(COLUMNS),
        *("| " + " | ".join(str(row[name]) for name in COLUMNS) + " |" for row in rows),
    ]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(10))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV and the table")
    parser.add_argument("--runs", type=Path, help="where to keep the run folders; by default they are thrown away")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = f"{arguments.env.split('-')[0].lower()}_seeds"
    rows: list[dict] = []
    with (arguments.out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for seed in arguments.seeds:
            row, answer = run_seed(arguments.env, seed, arguments.runs)
            rows.append(row)
            writer.writerow(row)
            file.flush()
            print(row, flush=True)
    write_table(arguments.out / f"{name}.md", arguments.env, rows, answer)


if __name__ == "__main__":
    main()
