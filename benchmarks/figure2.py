"""The paper's Figure 2, whose axes are empty there: is a larger ensemble faster?

    python -m benchmarks.figure2                                    # all cells, 10 seeds each; resumable
    python -m benchmarks.figure2 --envs CartPole-v1 --models gru --seeds 20 --workers 2
    python -m benchmarks.figure2 --report

Every cell is the tuned preset of the environment with another network and ensemble size, and cheaper: one plan per
step and 100 updates per episode. No member is ever drawn anew: in the presets one is in turn, so that the age of a
member would depend on how many there are. Plans take the same number of gradient steps whatever the size, a member
drawn for each, so the planning budget is the same; the learning of a member is the same too, so learning costs more
with more of them. Every episode starts from another random state.
Writes a CSV per cell, ``figure2.png`` and ``README.md`` to ``benchmarks/results/figure2``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import rgrl_jax as rgrl
from benchmarks import report
from benchmarks.learning import run_setting

RESULTS = Path(__file__).parent / "results" / "figure2"
ENVS = ("CartPole-v1", "Acrobot-v1")
MODELS = ("rnn", "gru", "lstm", "transformer")
SIZES = (1, 2, 5, 10)
EPISODES = 12
CHEAPER = {"planner.num_starts": 1, "learner.updates_per_episode": 100, "learner.reset_every": 0}


def cell(model: str, size: int) -> str:
    """The name of a cell's file."""
    return f"{model}_m{size}"


def speed(rows: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """Mean evaluation return over the whole run ``[seeds]``: the area under the learning curve."""
    return report.curves(rows, "eval_return").mean(axis=1)


def compare(small: np.ndarray[Any, Any], large: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Difference of the means of ``large`` and ``small`` over seeds, and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    drawn = [rng.choice(x, (5000, len(x))).mean(axis=1) for x in (large, small)]
    low, high = np.percentile(drawn[0] - drawn[1], [2.5, 97.5])
    return float(large.mean() - small.mean()), float(low), float(high)


def write_figure(out: Path) -> None:
    """Draws what is there: a row per environment, a column per network, a line per ensemble size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.0, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(ENVS), len(MODELS), sharey="row", sharex=True, squeeze=False)
    for line, env_id in zip(axes, ENVS, strict=True):
        for axis, model in zip(line, MODELS, strict=True):
            axis.set_title(f"{env_id}, {model}", fontsize="medium")
            for size, color in zip(SIZES, report.COLORS, strict=False):
                rows = report.read_rows(out / env_id / f"{cell(model, size)}.csv")
                if rows:
                    returns = report.curves(rows, "eval_return")
                    x = np.arange(1, returns.shape[1] + 1)
                    rgrl.plots.band(axis, x, returns, label=f"m = {size} ({len(returns)} seeds)", color=color)
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(frameon=False, fontsize="x-small")
        line[0].set_ylabel("return of 10 noiseless episodes")
    for axis in axes[-1]:
        axis.set_xlabel("training episode")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "figure2.png", dpi=120)


def write_text(out: Path) -> None:
    """What the figure says about "larger m is faster", panel by panel."""
    lines = [
        "# Figure 2: is a larger ensemble faster?",
        "",
        "![Figure 2](figure2.png)",
        "",
        "Return of 10 noiseless episodes after every training episode: interquartile mean over seeds and its 95 % "
        "bootstrap interval. Same gradient steps per plan for every m; 100 updates per episode, one plan per step, "
        "no member drawn anew. Below, m = 1 against the larger sizes by the mean return of the whole run, with the "
        "95 % bootstrap interval of the difference.",
        "",
        "| environment | network | m | seeds | last return | mean return | against m = 1 | 95 % interval | faster |",
        "|" + " --- |" * 9,
    ]
    verdicts, missing = [], []
    for env_id in ENVS:
        for model in MODELS:
            found = {size: report.read_rows(out / env_id / f"{cell(model, size)}.csv") for size in SIZES}
            base = speed(found[1]) if found[1] else None
            for size, rows in found.items():
                if not rows:
                    missing.append(f"{env_id} {cell(model, size)}")
                    continue
                own = speed(rows)
                last = report.curves(rows, "eval_return")[:, -1].mean()
                start = f"| {env_id} | {model} | {size} | {len(own)} | {last:.1f} | {own.mean():.1f} |"
                if base is None or size == 1:
                    lines.append(f"{start} | | |")
                    continue
                gain, low, high = compare(base, own)
                verdict = "yes" if low > 0 else "no, slower" if high < 0 else "not settled"
                verdicts.append(verdict)
                lines.append(f"{start} {gain:+.1f} | {low:+.1f} to {high:+.1f} | {verdict} |")
    counts = ", ".join(f"{name}: {verdicts.count(name)}" for name in ("yes", "not settled", "no, slower"))
    lines += ["", f"Larger m is faster, of {len(verdicts)} comparisons: {counts}.", ""]
    if missing:
        lines += [f"Not run yet: {', '.join(missing)}.", ""]
    folders = [out / env_id for env_id in ENVS if (out / env_id).exists()]
    lines += sorted({line for folder in folders for line in report.machines(folder)})
    (out / "README.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", choices=ENVS, default=ENVS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--sizes", nargs="+", type=int, choices=SIZES, default=SIZES)
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 0 on")
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--batch", type=int, default=1, help="seeds per program; worth it on an accelerator")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="run nothing; only the figure and the text")
    given = parser.parse_args()
    cells = [(env_id, model, size) for env_id in given.envs for model in given.models for size in given.sizes]
    for env_id, model, size in [] if given.report else cells:
        config = rgrl.preset(env_id, model=model, ensemble_size=size, episodes=given.episodes, **CHEAPER)
        seeds = list(range(given.seeds))
        run_setting(env_id, cell(model, size), config, seeds, given.out, given.workers, given.batch)
        write_figure(given.out)
        write_text(given.out)
    write_figure(given.out)
    write_text(given.out)


if __name__ == "__main__":
    main()
