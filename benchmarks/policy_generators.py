"""Policy generators: their returns, with which stores, and whether they follow commands.

    python -m benchmarks.policy_generators learn                      # every method on the small tasks
    python -m benchmarks.policy_generators learn --methods udrlpg gogepo --envs CartPole-v1 --seeds 10
    python -m benchmarks.policy_generators learn --methods udrlpg --envs gymnasium:Hopper-v5 --seeds 5
    python -m benchmarks.policy_generators report                     # tables and plots of what is there

A cell is a method on an environment: the ``tuned`` preset, for ``udrlpg_law`` and the ablations of its store
``small``, or for tasks of MuJoCo that of the paper, with the changes in `METHODS`. Its seeds are trained side by side
until all have taken the environment's steps, or six times the episodes that these take if none ends early. A cell
that was interrupted goes on from its last checkpoint, and a finished one is not run again. Rows are under
``benchmarks/results/policy_generators``: ``returns.csv`` with the mean return of 10 noiseless episodes after every so
many episodes as a twentieth of the steps takes if none ends early, and the return that was commanded for them;
``command_following.csv`` with the mean return of 10 episodes for each of 11 commands, as soon as the seed has taken
the environment's steps or is given up. Both leave out a bonus for every step where learning does (Hopper), so that
they can be compared with commands.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rgrl_jax as rgrl
from benchmarks import report
from benchmarks.machine import describe_run
from rgrl_jax.algos.base import Config
from rgrl_jax.experiment.run_folder import plain_config
from rgrl_jax.training import evaluation_key

RESULTS = Path(__file__).parent / "results" / "policy_generators"
COLUMNS = ("method", "environment", "seed", "env_steps", "command", "eval_return")
POINTS = 20
EPISODES = 10
"""Noiseless episodes at every point, and for every command."""
COMMANDS = 11
LONGEST = 6
"""Times the episodes that the steps take if none ends early, after which seeds are given up."""
GRID = 50
"""Points of a curve in a plot."""

LAW = {"algo": "udrlpg", "preset": "small"}
METHODS: dict[str, dict[str, Any]] = {
    "udrlpg": {"algo": "udrlpg"},
    "udrlpg_8_at_once": {"algo": "udrlpg", "num_envs": 8},
    "gogepo": {"algo": "gogepo"},
    "ddpg": {"algo": "ddpg"},
    "udrlpg_law": LAW,
    "udrlpg_equal_buckets": LAW | {"rank_weight": 0.0, "num_buckets_kept": 1000},
    "udrlpg_ring": LAW | {"store": "ring"},
    "udrlpg_equal_ring": LAW | {"store": "ring", "recency_exponent": 0.0},
    "udrlpg_replace": LAW | {"when_full": "replace"},
    "udrlpg_clamp": LAW | {"overflow_bucket": "clamp"},
}
"""Methods, as changes of a preset of an algorithm."""
ABLATION = [method for method, settings in METHODS.items() if settings.get("preset") == "small"]
"""Methods that store, draw and command as the authors' code does, but for the change they are named after."""
SMALL = ("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "Swimmer-misc")
STEPS = dict.fromkeys(SMALL, 100_000) | {
    "gymnasium:InvertedPendulum-v5": 100_000,
    "gymnasium:Swimmer-v5": 3_000_000,
    "gymnasium:Hopper-v5": 3_000_000,
    "mjx:InvertedPendulum-v5": 100_000,
    "mjx:Swimmer-v5": 3_000_000,
    "mjx:Hopper-v5": 3_000_000,
}
"""Environments, and environment steps of a run."""


def make_config(method: str, env_id: str) -> Any:
    """Makes the config of a cell; None for DDPG where actions are discrete.

    Several episodes at once have as many for the warm-up, and as many updates for each, as one after the other.
    """
    settings = dict(METHODS[method])
    if settings["algo"] == "ddpg" and isinstance(rgrl.envs.make(env_id).action, rgrl.Discrete):
        return None
    paper = env_id in rgrl.algos.list_presets(settings["algo"])["paper"] and env_id not in SMALL
    name = settings.pop("preset", "tuned")
    config = rgrl.preset(env_id, "paper" if paper else name, **settings)
    if "num_envs" not in settings:
        return config
    rows = -(-config.warmup_episodes // config.num_envs)
    return config.replace(warmup_episodes=rows, generator_updates=config.generator_updates * config.num_envs)


class Recorder(rgrl.callbacks.Callback):
    """Writes rows of noiseless episodes after every chunk, and ends the run when all seeds have taken their steps.

    A seed's command-following curve is measured after the chunk in which it takes the last of them: others may need
    more episodes, and it is trained as long as these.
    """

    def __init__(self, method: str, seeds: list[int], steps: int, out: Path):
        self.method, self.seeds, self.steps, self.out = method, seeds, steps, out

    def begin(self, run: rgrl.callbacks.Run) -> None:
        """Makes the functions that play."""
        self.play = per_seed(run.config, lambda state: _evaluate(state, run.config))
        self.follow = per_seed(run.config, lambda state: _follow(state, run.config))

    def after_chunk(self, run: rgrl.callbacks.Run) -> None:
        """Plays, and writes a row per seed."""
        returns, taken = np.asarray(self.play(run.state)).mean(axis=1), np.asarray(run.state.env_steps)
        commands = np.asarray(getattr(run.state, "best", np.full(taken.shape, np.nan)))
        rows = []
        for seed, step, command, value in zip(self.seeds, taken, commands, returns, strict=True):
            rows.append(_row(self.method, run.config.env_id, seed, step, command, value))
        report.append_rows(self.out / "returns.csv", rows)
        print(f"{self.method} {run.config.env_id} {taken.min():,} steps: {returns.round(1)}", flush=True)
        if METHODS[self.method]["algo"] != "ddpg":
            self.write_command_following(run, taken)
        if taken.min() >= self.steps:
            run.stopped = f"{self.steps} steps"

    def write_command_following(self, run: rgrl.callbacks.Run, taken: Any) -> None:
        """Writes rows, once, of the seeds that have taken their steps or are given up."""
        path, env_id = self.out / "command_following.csv", run.config.env_id
        there = {row["seed"] for row in select(read(path), method=self.method, environment=env_id)}
        last = run.episode == run.planned
        due = [i for i, seed in enumerate(self.seeds) if (taken[i] >= self.steps or last) and seed not in there]
        if due:
            curve = self.follow(run.state)
            commanded, achieved = np.asarray(curve.commanded), np.asarray(curve.achieved).mean(axis=2)
            pairs = [(i, *pair) for i in due for pair in zip(commanded[i], achieved[i], strict=True)]
            report.append_rows(path, [_row(self.method, env_id, self.seeds[i], taken[i], *x) for i, *x in pairs])


def per_seed(config: Config, function: Any) -> Any:
    """Maps a function over states of seeds ``[N, ...]``: side by side if they compile, else one after the other."""
    if config.spec.host is None:
        return jax.jit(jax.vmap(function))

    def each(states: Any) -> Any:
        single = [jax.tree.map(lambda x, i=i: x[i], states) for i in range(states.episode.shape[0])]
        return jax.tree.map(lambda *x: jnp.stack(x), *map(function, single))

    return each


def _evaluate(state: Any, config: Config) -> Any:
    episode = rgrl.play(evaluation_key(state), state, config, EPISODES)
    return episode.episode_return - getattr(config, "survival_bonus", 0.0) * episode.length


def _follow(state: Any, config: Config) -> Any:
    return rgrl.analysis.command_following(evaluation_key(state), state, config, COMMANDS, EPISODES)


def _row(method: str, env_id: str, seed: int, steps: Any, command: Any, value: Any) -> dict[str, Any]:
    cells = (method, env_id, seed, int(steps), round(float(command), 3), round(float(value), 3))
    return dict(zip(COLUMNS, cells, strict=True))


def run_cell(method: str, config: Config, seeds: list[int], steps: int, out: Path) -> None:
    """Prints the cost, trains to the end, from the last checkpoint if there is one, and writes config and machine."""
    print(f"{method}, each of {len(seeds)} seeds: {config.describe()}", flush=True)
    name = f"{method}-{config.env_id.replace(':', '_')}"
    folder = out / "unfinished" / name
    chunk = max(steps // (POINTS * config.spec.max_steps * config.num_envs), 1)
    longest = LONGEST * -(-steps // (config.spec.max_steps * config.num_envs))
    longer = config.replace(episodes=max(longest // chunk, 1) * chunk)  # `Recorder` ends it
    keys, state = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32)), None
    if (folder / "checkpoints").exists():
        keys, state = None, rgrl.load_run(folder).state
    callbacks = [Recorder(method, seeds, steps, out), rgrl.callbacks.Checkpoint(folder, keep=1)]
    if state is None or (int(state.env_steps.min()) < steps and int(state.episode.max()) < longer.episodes):
        rgrl.run(keys, longer, state=state, chunk=chunk, callbacks=callbacks)
    machine = describe_run("jax", "jaxlib", "flax", "gymnax", "optax")
    (out / f"{name}.json").write_text(
        json.dumps(machine | {"seeds": seeds, "config": plain_config(config)}, indent=1) + "\n"
    )
    shutil.rmtree(folder)


def learn(arguments: argparse.Namespace) -> None:
    """Runs every cell that is not done."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    for env_id in arguments.envs or SMALL:
        for method in arguments.methods or METHODS:
            config = make_config(method, env_id)
            if config is None or (arguments.out / f"{method}-{env_id.replace(':', '_')}.json").exists():
                continue
            run_cell(method, config, seeds, arguments.steps or STEPS[env_id], arguments.out)


def read(path: Path) -> list[dict[str, Any]]:
    """Reads rows of a CSV, once each: those after the last checkpoint of an interrupted cell are there twice."""
    found = {(*(row[name] for name in COLUMNS[:4]), str(row["command"])): row for row in report.read_rows(path)}
    return list(found.values())


def select(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """Selects the rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def curves(rows: list[dict[str, Any]], grid: Any) -> Any:
    """Returns the last evaluation of each seed up to each number of steps ``[seeds, points]``; NaN before the first.

    That of a seed that was given up stays to the end.
    """
    lines = []
    for seed in sorted({row["seed"] for row in rows}):
        own = select(rows, seed=seed)
        at = np.searchsorted([row["env_steps"] for row in own], grid, side="right")
        lines.append(np.append([np.nan], [row["eval_return"] for row in own])[at])
    return np.array(lines)


def returns_table(rows: list[dict[str, Any]]) -> list[str]:
    """Makes a line per cell: the last evaluation within the steps, and the seeds at the goal then or at any time."""
    lines = []
    for env_id, method in _cells(rows):
        own, goal = select(rows, environment=env_id, method=method), report.goal_of(env_id)
        end = max(STEPS[env_id], min(row["env_steps"] for row in own))
        last = curves(own, [end])[:, 0]
        last = last[np.isfinite(last)]
        low, high = rgrl.analysis.bootstrap_interval(last)
        ever = {row["seed"] for row in own if row["env_steps"] <= end and report.first_pass([row], goal)}
        met = "no goal" if goal is None else f"{(last >= goal - 1e-6).sum()} of {len(last)}, {len(ever)} at some time"
        spread = f"{last.mean():.1f} ({last.std():.1f})"
        lines.append(
            (env_id, method, len(last), spread, f"{rgrl.analysis.iqm(last):.1f}", f"{low:.1f} to {high:.1f}", met)
        )
    head = ("environment", "method", "seeds", "last evaluation, mean (std)", "IQM", "95 % interval", "at the goal")
    return _table(head, lines)


def command_following_table(rows: list[dict[str, Any]]) -> list[str]:
    """Makes a line per cell: correlation of achieved with commanded returns, and their distance over their range."""
    lines = []
    for env_id, method in _cells(rows):
        own = select(rows, environment=env_id, method=method)
        commanded, achieved = (report.curves(own, name) for name in ("command", "eval_return"))
        found = rgrl.analysis.command_following_correlation(commanded[0], achieved[..., None])
        error = np.sqrt(np.square(achieved - commanded).mean(axis=1)) / np.ptp(commanded[0])
        low, high = rgrl.analysis.bootstrap_interval(found)
        spread, interval = f"{found.mean():.2f} ({found.std():.2f})", f"{low:.2f} to {high:.2f}"
        cells = len(found), spread, f"{rgrl.analysis.iqm(found):.2f}", interval, f"{found.min():.2f}"
        lines.append((env_id, method, *cells, f"{(found >= 0.9).sum()} of {len(found)}", f"{error.mean():.2f}"))
    spread = "correlation, mean (std)"
    head = (
        "environment",
        "method",
        "seeds",
        spread,
        "IQM",
        "95 % interval",
        "lowest",
        "at least 0.9",
        "RMS distance",
    )
    return _table(head, lines)


def _cells(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Lists environments and methods that have rows, in the order of the lists above."""
    there = {(row["environment"], row["method"]) for row in rows}
    return [(env_id, method) for env_id in STEPS for method in METHODS if (env_id, method) in there]


def _table(head: tuple[str, ...], lines: list[tuple[Any, ...]]) -> list[str]:
    return report.markdown(head, [dict(zip(head, map(str, line), strict=True)) for line in lines])


def draw(rows: list[dict[str, Any]], env_id: str, path: Path, *, commands: bool) -> None:
    """Draws a line per method with a band over seeds: returns against steps, or achieved against commanded returns.

    Methods with another store have a plot of their own beside the others.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    methods = [method for _, method in _cells(rows)]
    panels = [[m for m in methods if (m in ABLATION) == changed] for changed in (False, True)]
    panels = [panel for panel in panels if panel]
    figure = Figure(figsize=(5.0 * len(panels) + 1.0, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        for method, color in zip(panel, report.COLORS, strict=False):
            own = select(rows, method=method)
            if commands:
                x, lines = report.curves(own, "command")[0], report.curves(own, "eval_return")
            else:
                x = np.linspace(0, STEPS[env_id], GRID + 1)[1:]
                lines = curves(own, x)
            rgrl.plots.band(axis, x, lines, color=color, label=f"{method} ({len(lines)} seeds)")
        if commands:
            ends = axis.get_xlim()
            axis.plot(ends, ends, color="0.3", linestyle="--", linewidth=1, label="as commanded")
        elif report.goal_of(env_id) is not None:
            axis.axhline(report.goal_of(env_id), color="0.3", linestyle=":", linewidth=1)
        axis.set_xlabel("commanded return" if commands else "environment steps")
        axis.set_ylabel("achieved return" if commands else f"return of {EPISODES} noiseless episodes")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize="small")
    figure.suptitle(env_id)
    figure.savefig(path, dpi=120)


def write_report(arguments: argparse.Namespace) -> None:
    """Writes README.md with tables and plots of all rows."""
    out = arguments.out
    returns, following = (read(out / f"{name}.csv") for name in ("returns", "command_following"))
    text = ["# Policy generators", "", __doc__.strip().split("\n\n")[-1].replace("``", "`"), ""]
    if returns:
        text += ["## Returns", "", *returns_table(returns), ""]
    if following:
        text += ["## Achieved against commanded returns", "", *command_following_table(following), ""]
    there = _cells(returns)
    for env_id in dict.fromkeys(env_id for env_id, _ in there):
        text += [f"## {env_id}", ""]
        for rows, name in ((returns, "returns"), (following, "command_following")):
            own, picture = select(rows, environment=env_id), f"{name}-{env_id.replace(':', '_')}.png"
            if own:
                draw(own, env_id, out / picture, commands=rows is following)
                text += [f"![{name.replace('_', ' ')}]({picture})", ""]
    cells = [(env_id, method) for env_id in STEPS for method in ("udrlpg", "gogepo")]
    missing = [f"{method} on {env_id}" for env_id, method in cells if (env_id, method) not in there]
    text += [f"Not run yet: {', '.join(missing)}.", ""] if missing else []
    (out / "README.md").write_text("\n".join([*text, *report.machines(out), ""]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"learn": learn, "report": write_report}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--methods", nargs="+", metavar="METHOD", choices=METHODS)
    parser.add_argument("--envs", nargs="+", metavar="ENV", choices=STEPS)
    parser.add_argument("--seeds", type=int, default=20, help="runs of a cell")
    parser.add_argument("--first-seed", type=int, default=0, help="first of them; from 1000 on for tuning")
    parser.add_argument("--steps", type=int, help="environment steps of a run; by default those of the environment")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    commands[arguments.command](arguments)


if __name__ == "__main__":
    main()
