"""Tables and plots of learning curves that `benchmarks.learning` and its relatives have written."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import rgrl_jax as rgrl
from benchmarks import settings

COLUMNS = ("environment", "setting", "seed", "episode", "env_steps", "episode_return", "eval_return", "seconds")
_TYPES: dict[str, Callable[[str], Any]] = dict.fromkeys(
    ("environment", "setting", "method", "boxes", "rule"), str
) | dict.fromkeys(("seed", "episode", "episodes", "env_steps", "size", "ensemble_size", "boards", "solved"), int)
PUBLISHED = Path(__file__).parent / "results" / "published.csv"
GOALS = {"gymnasium:LunarLander-v3": 200.0}  # where the package that knows it need not be installed to make a report
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")  # Okabe and Ito's


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV, numbers of other columns than `_TYPES` as floats; none if it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: _TYPES.get(name, float)(x) for name, x in row.items()} for row in csv.DictReader(file)]


def path_of(out: Path, env_id: str, setting: str) -> Path:
    """Where the rows of a setting are kept."""
    return out / env_id.replace(":", "_") / f"{setting}.csv"


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Adds rows, a whole seed for instance, in one write, so that a kill leaves no half of it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerows(rows)
    with path.open("ab") as file:
        file.write(text.getvalue().encode())
        os.fsync(file.fileno())


def goal_of(env_id: str) -> float | None:
    """The mean return that counts as solved; see `GOALS`."""
    return GOALS[env_id] if env_id in GOALS else rgrl.envs.make(env_id).goal


def first_pass(rows: list[dict[str, Any]], goal: float | None) -> dict[str, Any] | None:
    """The row of a seed whose evaluation is the first to reach the goal; None if none does."""
    return next((row for row in rows if goal is not None and row["eval_return"] >= goal - 1e-6), None)


def curves(rows: list[dict[str, Any]], column: str) -> np.ndarray[Any, Any]:
    """``[seeds, episodes]`` of a column, in the order of the seeds, as far as all seeds go."""
    seeds = sorted({row["seed"] for row in rows})
    found = [[row[column] for row in rows if row["seed"] == seed] for seed in seeds]
    shortest = min(map(len, found))
    return np.array([curve[:shortest] for curve in found], np.float64)


def _quantile_text(values: np.ndarray[Any, Any], q: float) -> str:
    """An observed quantile (rounded up) over seeds, of which some may be infinite."""
    found = np.sort(values)[int(np.ceil(q * len(values))) - 1]
    return f"{found:,.0f}" if np.isfinite(found) else "not reached"


def _median(values: np.ndarray[Any, Any]) -> float:
    return float(np.sort(values)[int(np.ceil(0.5 * len(values))) - 1])


def _interval_text(values: np.ndarray[Any, Any]) -> str:
    """Bootstrap interval of the median over seeds; open where the median is not reached."""
    finite = np.where(np.isfinite(values), values, 1e12)
    low, high = rgrl.analysis.bootstrap_interval(finite, _median)
    return " to ".join(f"{x:,.0f}" if x < 1e11 else "not reached" for x in (low, high))


TABLE = (
    "environment", "setting", "seeds", "episodes run", "episodes to goal, median", "95 % interval", "90th percentile",
    "env steps to goal, median", "95 % interval ", "share failed", "last evaluation, IQM", "95 % interval  ",
    "training seconds per seed",
)  # fmt: skip


SHORT = ("episodes to goal, median", "env steps to goal, median", "share failed", "last evaluation, IQM")


def summarise(rows: list[dict[str, Any]]) -> dict[str, str]:
    """A row of the table from all rows of one environment and setting."""
    env_id, setting = rows[0]["environment"], rows[0]["setting"]
    goal = goal_of(env_id)
    returns = curves(rows, "eval_return")
    seconds = curves(rows, "seconds")[:, -1]
    seeds = sorted({row["seed"] for row in rows})
    passed = [first_pass([row for row in rows if row["seed"] == seed], goal) for seed in seeds]
    episodes = np.array([np.inf if row is None else row["episode"] for row in passed])
    env_steps = np.array([np.inf if row is None else row["env_steps"] for row in passed])
    low, high = rgrl.analysis.bootstrap_interval(returns[:, -1])
    reached = (
        [_quantile_text(episodes, 0.5), _interval_text(episodes), _quantile_text(episodes, 0.9),
         _quantile_text(env_steps, 0.5), _interval_text(env_steps), f"{np.isinf(episodes).mean():.0%}"]
        if goal is not None else ["-"] * 6
    )  # fmt: skip
    length = curves(rows, "episode")[:, -1].mean()
    values = (
        env_id, setting, str(len(returns)), f"{length:.0f}", *reached, f"{rgrl.analysis.iqm(returns[:, -1]):.4g}",
        f"{low:.4g} to {high:.4g}", f"{np.median(seconds):.0f}",
    )  # fmt: skip
    return dict(zip(TABLE, values, strict=True))


def write_report(out: Path) -> None:
    """``README.md`` with the table, and a plot for every environment, of all that is in a folder of results."""
    folders = sorted(path for path in out.iterdir() if path.is_dir()) if out.exists() else []
    overview = tuned_table(out)
    lines = [
        "# Learning curves over seeds", "",
        "A goal is met when 10 noiseless episodes of the frozen agent, played after every training episode, reach it "
        "on average; their steps are not counted. Medians over seeds count a seed that never met it as infinite. "
        "IQM: interquartile mean over seeds. Intervals are bootstrapped over seeds. Made by "
        "`python -m benchmarks.learning`; configs, machine and versions stand beside each CSV.", "",
        "## The `tuned` presets", "", *overview, "",
    ]  # fmt: skip
    for folder in folders:
        found = {path.stem: read_rows(path) for path in sorted(folder.glob("*.csv"), key=_tuned_first)}
        if not found:
            continue
        env_id = next(iter(found.values()))[0]["environment"]
        goal = goal_of(env_id)
        lines += [f"## {env_id}" + ("" if goal is None else f", goal {goal:g}"), ""]
        lines += markdown(TABLE[1:], [summarise(rows) for rows in found.values()])
        lines += ablation(folder, found)
        lines += published(env_id)
        lines += ["", *plots(folder, found), "", *machines(folder), ""]
    (out / "README.md").write_text("\n".join(lines))


LEVER = (
    "setting", "what differs from tuned", "seeds", "episodes", "mean of tuned", "mean", "difference", "95 % interval",
    "verdict",
)  # fmt: skip

VERDICTS = ("better", "worse", "not settled")


def ablation(folder: Path, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What each lever and each rival planner did beside ``tuned``, over the same seeds and as many episodes."""
    names = [name for name in found if name in settings.LEVERS or name in settings.RIVALS]
    if not names or "tuned" not in found:
        return []
    rows = [
        compare(found["tuned"], found[name]) | {"setting": name, "what differs from tuned": differences(folder, name)}
        for name in names
    ]
    intro = (
        "One lever off at a time, and other planners at as many model evaluations, by the mean of all evaluations up "
        "to the same episode, seed by seed (the interval is of the mean difference, bootstrapped over seeds):"
    )
    return ["", intro, "", *markdown(LEVER, rows)]


def compare(base: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, str]:
    """The columns of `LEVER` that are measured, over the seeds and episodes that both have."""
    common = {row["seed"] for row in base} & {row["seed"] for row in other}
    both = [curves([row for row in rows if row["seed"] in common], "eval_return") for rows in (base, other)]
    episodes = min(returns.shape[1] for returns in both)
    left, right = (returns[:, :episodes].mean(axis=1) for returns in both)
    low, high = rgrl.analysis.bootstrap_interval(right - left, np.mean)
    verdict = VERDICTS[0 if low > 0 else 1 if high < 0 else 2]
    return {
        "seeds": str(len(common)),
        "episodes": str(episodes),
        "mean of tuned": f"{left.mean():.4g}",
        "mean": f"{right.mean():.4g}",
        "difference": f"{(right - left).mean():+.3g}",
        "95 % interval": f"{low:+.3g} to {high:+.3g}",
        "verdict": verdict,
    }


def differences(folder: Path, name: str) -> str:
    """The fields in which the config of a setting differs from that of ``tuned``."""
    base, other = (json.loads((folder / f"{setting}.json").read_text())["config"] for setting in ("tuned", name))
    changed = {field: value for field, value in other.items() if value != base.get(field, value)}
    changed.pop("episodes", None)
    return ", ".join(f"`{field} = {value}`" for field, value in changed.items())


def markdown(names: Sequence[str], rows: Sequence[dict[str, str]]) -> list[str]:
    """A Markdown table of some columns."""
    head = ["| " + " | ".join(name.strip().replace("_", " ") for name in names) + " |", "|" + " --- |" * len(names)]
    return head + ["| " + " | ".join(row[name] for name in names) + " |" for row in rows]


def tuned_table(out: Path) -> list[str]:
    """One row for every environment whose ``tuned`` preset was run."""
    found = [read_rows(path) for path in sorted(out.glob("*/tuned.csv"))]  # never empty: whole seeds are written
    goals = [goal_of(own[0]["environment"]) for own in found]
    rows = [
        summarise(own) | {"goal": "-" if goal is None else f"{goal:g}"}
        for own, goal in zip(found, goals, strict=True)
    ]
    return markdown(("environment", "goal", *TABLE[2:]), rows)


def short_table(out: Path) -> list[str]:
    """The most telling columns of `tuned_table`, for a first page."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in tuned_table(out)]
    kept = [0, 1, 2, *(table[0].index(name) for name in SHORT)]
    return ["| " + " | ".join(line[i] for i in kept) + " |" for line in table]


def published(env_id: str) -> list[str]:
    """What others report of an environment, and where; no two of them measured alike."""
    with PUBLISHED.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["environment"] == env_id]
    if not rows:
        return []
    shown = [row | {"env_steps": f"{int(row['env_steps']):,}"} for row in rows]
    return ["", "Published elsewhere:", "", *markdown(("agent", "env_steps", "episode_return", "source"), shown)]


def lever_table(out: Path) -> list[str]:
    """Where each lever or rival planner was better, worse or neither than ``tuned``, by `compare`."""
    found: dict[str, dict[str, list[str]]] = {}
    for folder in sorted(path.parent for path in out.glob("*/tuned.csv")):
        base = read_rows(folder / "tuned.csv")
        for name in (*settings.RIVALS, *settings.LEVERS):
            if rows := read_rows(folder / f"{name}.csv"):
                verdicts = found.setdefault(name, {verdict: [] for verdict in VERDICTS})
                verdicts[compare(base, rows)["verdict"]].append(base[0]["environment"])
    rows = [
        {"setting": f"`{name}`"} | {verdict: ", ".join(where) or "-" for verdict, where in verdicts.items()}
        for name, verdicts in found.items()
    ]
    return markdown(("setting", *VERDICTS), rows)


SECTIONS: dict[str, Callable[[Path], list[str]]] = {
    "learning": tuned_table,
    "levers": lever_table,
    "short": short_table,
}
"""Tables of a folder of results that pages show between two `marks`."""


def marks(name: str) -> tuple[str, str]:
    """The lines around one of the `SECTIONS`."""
    return f"<!-- {name}: made by `python -m benchmarks.learning` -->", f"<!-- /{name} -->"


def write_sections(page: Path, out: Path) -> None:
    """Puts those of the `SECTIONS` that a page has marks for between them."""
    text = page.read_text()
    for name, make in SECTIONS.items():
        first, last = marks(name)
        if first not in text:
            continue
        before, rest = text.split(first)
        text = "\n".join([before + first, *make(out), last + rest.split(last)[1]])
    page.write_text(text)


def _tuned_first(path: Path) -> tuple[bool, str]:
    return path.stem != "tuned", path.stem


def machines(folder: Path) -> list[str]:
    """What the numbers of a folder were measured on, and when."""
    about = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return sorted({f"{a['date']}; {a['machine']}; jax {a['versions']['jax']}" for a in about})


def plots(folder: Path, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Draws the presets, planners and peers of an environment, and apart from them the levers, if there are any."""
    env_id = next(iter(found.values()))[0]["environment"]
    levers = {name: rows for name, rows in found.items() if name in settings.LEVERS}
    drawn = {"curves": {name: rows for name, rows in found.items() if name not in levers}}
    if levers:
        drawn["levers"] = {name: rows for name, rows in found.items() if name == "tuned"} | levers
    for name, shown in drawn.items():
        plot_curves(shown, env_id, goal_of(env_id), folder / f"{name}.png")
    return [f"![{env_id}, {name}]({folder.name}/{name}.png)" for name in drawn]


def plot_curves(found: dict[str, list[dict[str, Any]]], title: str, goal: float | None, path: Path) -> None:
    """Evaluation returns of settings over episodes and over environment steps: IQM over seeds with its interval.

    What was evaluated once did not learn, and is a level line. Axes are logarithmic where one setting is run for more
    than ten times as long as another.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    ends: dict[str, list[float]] = {"episode": [], "env_steps": []}
    for i, (setting, rows) in enumerate(found.items()):
        returns = curves(rows, "eval_return")
        episodes, steps = (np.median(curves(rows, column), axis=0) for column in ("episode", "env_steps"))
        style = {"color": COLORS[i % len(COLORS)], "linestyle": "-" if i < len(COLORS) else "--"}
        label = f"{setting} ({len(returns)} seeds)"
        if returns.shape[1] == 1:
            for axis in (left, right):
                axis.axhline(rgrl.analysis.iqm(returns[:, 0]), linewidth=1, label=label, **style)
            continue
        for axis, name, x in ((left, "episode", episodes), (right, "env_steps", steps)):
            rgrl.plots.band(axis, x, returns, label=label, **style)
            ends[name].append(x[-1])
    for axis, name, label in (
        (left, "episode", "training episode"),
        (right, "env_steps", "environment steps (median over seeds)"),
    ):
        if ends[name] and max(ends[name]) > 10 * min(ends[name]):
            axis.set_xscale("log")
        if goal is not None:
            axis.axhline(goal, color="0.3", linestyle=":", linewidth=1)
        axis.set_xlabel(label)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("return of 10 noiseless episodes")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize="small")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
