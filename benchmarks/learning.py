"""Learning curves over seeds: how many episodes and environment steps until a task is solved.

    python -m benchmarks.learning --envs CartPole-v1 --seeds 20
    python -m benchmarks.learning --envs CartPole-v1 Pendulum-v1 --settings tuned shooting cem --seeds 10
    python -m benchmarks.learning --envs CartPole-v1 --settings wide --set model.width=64 model.layers=2
    python -m benchmarks.learning --report            # tables and plots of what is there

A setting is ``tuned``, ``paper``, one of ``benchmarks.settings``, or a name of your own for what ``--set`` changes in
``tuned``. After every training episode the frozen agent plays 10 noiseless episodes; their steps are not counted and
not learnt from. Finished seeds are in ``ENV/SETTING.csv`` under ``benchmarks/results/learning`` and not run again;
beside them stand the config and the machine. ``--seeds 20`` is short for the seeds 0 to 19.
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import functools
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import rgrl_jax as rgrl
from benchmarks import report, settings
from benchmarks.machine import describe_run
from rgrl_jax.algos import fields
from rgrl_jax.training import evaluation_key

RESULTS = Path(__file__).parent / "results" / "learning"
PAGES = [Path(__file__).parents[1] / name for name in ("README.md", "docs/results.md")]
EVALUATION_EPISODES = 10


def make_config(env_id: str, setting: str, changes: dict[str, Any], episodes: int | None) -> rgrl.RGRLConfig:
    """The config that a setting of an environment means.

    Raises:
      ValueError: no such setting, or it has a meaning and is to be changed; or a field is unknown or out of range.
    """
    known = settings.ablations(env_id)
    if changes and setting in ("paper", *known):
        raise ValueError(f"--set needs a setting of another name than {setting!r}, which means something already")
    if not changes and setting not in ("paper", *known):
        names = ", ".join(("paper", *known))
        raise ValueError(f"setting {setting!r} of {env_id} needs --set; those that mean something: {names}")
    overrides = known.get(setting, {}) | changes | ({} if episodes is None else {"episodes": episodes})
    return rgrl.preset(env_id, "paper" if setting == "paper" else "tuned", **overrides)


@functools.cache
def _programs(structure: Any, leaves: tuple[float, ...]) -> tuple[Callable[..., Any], ...]:
    """``init``, ``train`` for one episode and ``evaluate``, for a batch of seeds, compiled once per process."""
    config = jax.tree.unflatten(structure, leaves)

    def evaluate(state: Any) -> jax.Array:
        return rgrl.evaluate(evaluation_key(state), state, config, EVALUATION_EPISODES).mean()

    return (
        jax.jit(jax.vmap(lambda seed: rgrl.init(jax.random.key(seed), config))),
        jax.jit(jax.vmap(lambda state: rgrl.train(None, config, state, 1))),
        jax.jit(jax.vmap(evaluate)),
    )


def run_seeds(env_id: str, setting: str, config: rgrl.RGRLConfig, seeds: list[int]) -> list[dict[str, Any]]:
    """Trains seeds side by side; a row per seed and episode. ``seconds`` counts training alone, without compiling."""
    if config.spec.host is not None:
        return [row for seed in seeds for row in _run_on_host(env_id, setting, config, seed)]
    leaves, structure = jax.tree.flatten(config)
    init, train, evaluate = _programs(structure, tuple(leaves))
    state = init(np.asarray(seeds, np.uint32))
    jax.block_until_ready((train(state), evaluate(state)))  # compiles
    rows, seconds = [], 0.0
    for _ in range(config.episodes):
        start = time.perf_counter()
        state, metrics = jax.block_until_ready(train(state))
        seconds += time.perf_counter() - start
        returns = np.asarray(evaluate(state))
        for i, seed in enumerate(seeds):
            now = jax.tree.map(lambda x, i=i: x[i, 0], metrics)
            rows.append(_row(env_id, setting, seed, now, returns[i], seconds))
    return rows


def _run_on_host(env_id: str, setting: str, config: rgrl.RGRLConfig, seed: int) -> list[dict[str, Any]]:
    """The same of one seed, where the environment does not compile."""
    rows: list[dict[str, Any]] = []

    class Evaluate(rgrl.callbacks.Callback):
        def after_chunk(self, run: Any) -> None:
            key = evaluation_key(run.state)
            returns = np.asarray(rgrl.evaluate(key, run.state, run.config, EVALUATION_EPISODES)).mean()
            now = jax.tree.map(lambda x: x[0, 0], run.chunk)
            rows.append(_row(env_id, setting, seed, now, returns, run.seconds["train"]))

    rgrl.run(jax.random.key(seed), config, callbacks=[Evaluate()])
    return rows


def _row(env_id: str, setting: str, seed: int, now: Any, evaluated: Any, seconds: float) -> dict[str, Any]:
    """A row of the CSV, from the metrics of one episode."""
    values = (
        env_id,
        setting,
        seed,
        int(now.episode),
        int(now.env_steps),
        round(float(now.episode_return), 4),
        round(float(evaluated), 4),
        round(seconds, 2),
    )
    return dict(zip(report.COLUMNS, values, strict=True))


def _alone() -> None:
    """Makes a worker keep to one core, so that as many workers as cores do not get into each other's way."""
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"


def run_setting(
    env_id: str, setting: str, config: rgrl.RGRLConfig, seeds: list[int], out: Path, workers: int, batch: int
) -> None:
    """Runs the seeds that are missing and appends each as soon as it is done."""
    path = report.path_of(out, env_id, setting)
    _claim(path, config)
    done = {row["seed"] for row in report.read_rows(path)}
    missing = [seed for seed in seeds if seed not in done]
    batches = [missing[i : i + batch] for i in range(0, len(missing), batch)]
    print(f"{env_id} {setting}: {len(missing)} of {len(seeds)} seeds to run", flush=True)
    for rows in _map(functools.partial(run_seeds, env_id, setting, config), batches, workers):
        report.append_rows(path, rows)
        for seed in dict.fromkeys(row["seed"] for row in rows):
            own = [row for row in rows if row["seed"] == seed]
            passed, last = report.first_pass(own, report.goal_of(env_id)), own[-1]
            when = f"passed in episode {passed['episode']}" if passed else "not passed"
            print(f"  seed {seed}: last {last['eval_return']:.2f}, {when}, {last['seconds']} s", flush=True)


def _map(function: Callable[..., Any], batches: list[list[int]], workers: int) -> Iterator[Any]:
    """Results in the order in which they are done."""
    if workers == 1:
        yield from map(function, batches)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _alone) as pool:
        for done in concurrent.futures.as_completed([pool.submit(function, seeds) for seeds in batches]):
            yield done.result()


def _claim(path: Path, config: rgrl.RGRLConfig) -> None:
    """Writes what the numbers will be of; numbers of another config are not mixed with these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {setting.path: fields.get_at(config, setting.path) for setting in fields.settings(type(config))}
    about, old = path.with_suffix(".json"), {}
    if about.exists():
        old = json.loads(about.read_text())
        changed = [name for name, value in old["config"].items() if known.get(name) != value]
        if changed:
            name = changed[0]
            raise SystemExit(
                f"{path} holds results with {name} = {old['config'][name]}, not {known.get(name)}; "
                f"move it away or give the setting another name"
            )
    machine = describe_run("jax", "jaxlib", "flax", "optax", "gymnax")
    about.write_text(json.dumps((machine | old) | {"config": known}, indent=1) + "\n")


def _override(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} must look like model.width=64")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", default=["CartPole-v1"], metavar="ENV")
    parser.add_argument("--settings", nargs="+", default=["tuned"], help="or `ablations` for all of them")
    parser.add_argument("--set", nargs="+", type=_override, default=[], metavar="FIELD=VALUE", dest="changes")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, help="training episodes; by default those of the preset")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--batch", type=int, default=1, help="seeds per program; worth it on an accelerator")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="run nothing; only tables and plots")
    arguments = parser.parse_args()
    if not arguments.report:
        seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
        for env_id in arguments.envs:
            names = settings.ablations(env_id) if arguments.settings == ["ablations"] else arguments.settings
            for setting in names:
                try:
                    config = make_config(env_id, setting, dict(arguments.changes), arguments.episodes)
                except ValueError as error:
                    raise SystemExit(str(error)) from error
                run_setting(env_id, setting, config, seeds, arguments.out, arguments.workers, arguments.batch)
    report.write_report(arguments.out)
    if arguments.out == RESULTS:
        for page in PAGES:
            report.write_sections(page, RESULTS)


if __name__ == "__main__":
    main()
