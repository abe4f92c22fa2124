"""Planned environment steps per second, and where the time of an episode goes.

    python -m benchmarks.throughput

Plays CartPole with endings switched off, so that every row plans at every step, with the ``tuned`` preset:
once with the planner in the loop and once with random actions, which leaves the environment. Learning is
timed on the same replay. Shares are of one training episode of 500 steps. Medians over repeats; compiling
apart. Writes ``throughput.csv`` to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import rgrl_jax as rgrl
from benchmarks.machine import describe_machine
from rgrl_jax.algos import rgrl as algo

RESULTS = Path(__file__).parent / "results"
ENDLESS, STEPS = "CartPole-endless", 500


def make_endless(max_steps: int | None) -> rgrl.EnvSpec:
    """CartPole that only its step limit ends; the state starts anew where an episode would have ended."""
    spec = rgrl.make_spec("CartPole-v1", max_steps)

    def step(key, state, action):
        obs, after, reward, terminated, truncated = spec.step(key, state, action)
        first, start = spec.reset(key)
        start = start.replace(time=after.time)
        obs, after = jax.tree.map(lambda a, b: jnp.where(terminated, a, b), (first, start), (obs, after))
        return obs, after, reward, jnp.bool_(False), truncated

    return dataclasses.replace(spec, env_id=ENDLESS, step=step)


def timed(function, *arguments, repeats: int) -> tuple[float, float]:
    """Median seconds of a call, and the seconds of compiling it."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compiling = time.perf_counter() - start
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        samples.append(time.perf_counter() - start)
    return float(np.median(samples)), compiling


def measure(rows: int, repeats: int) -> dict:
    """One row of the table."""
    config = rgrl.preset("CartPole-v1").replace(env_id=ENDLESS)
    spec, _, _ = algo.parts(config)
    key = jax.random.key(0)
    state, _ = jax.jit(lambda k: rgrl.train(k, config, num_episodes=1))(key)

    def play(key, params, explore):
        policy = algo.make_policy(params, config, jnp.float32(0.0), explore)
        return rgrl.rollout(key, spec, policy, num_envs=rows).episode_return

    def learn(key, state):
        return algo.learn(key, state.params, state.opt_state, state.replay, config)[0]

    planned, compiling = timed(lambda k, p: play(k, p, jnp.float32(0.0)), key, state.params, repeats=repeats)
    env, _ = timed(lambda k, p: play(k, p, jnp.float32(1.0)), key, state.params, repeats=repeats)
    learning, _ = timed(learn, key, state, repeats=repeats)
    total = planned + learning
    return {
        "date": datetime.date.today(),
        "machine": describe_machine(),
        "jax": jax.__version__,
        "model": config.model,
        "width": config.width,
        "ensemble_size": config.ensemble_size,
        "horizon": config.horizon,
        "plan_iterations": config.plan_iterations,
        "rows": rows,
        "env_steps_per_second": round(rows * STEPS / planned, 1),
        "updates_per_second": round(config.learn_iterations / learning, 1),
        "share_planning": round((planned - env) / total, 3),
        "share_environment": round(env / total, 3),
        "share_learning": round(learning / total, 3),
        "compile_seconds": round(compiling, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=(1, 64))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "throughput.csv")
    arguments = parser.parse_args()
    rgrl.register_env(ENDLESS, make_endless)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table = [measure(rows, arguments.repeats) for rows in arguments.rows]
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    for row in table:
        print(row)


if __name__ == "__main__":
    main()
