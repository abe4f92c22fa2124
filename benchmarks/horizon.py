"""How the cost of a planning iteration grows with the horizon, for every model.

One plan of a small ensemble is made for each horizon, and the time of one iteration (forward, input gradient and
step) written to ``results/horizon.csv`` with the exponent of its growth from the shortest to the longest horizon:
1 is linear. Example: python -m benchmarks.horizon --models gru td
"""

from __future__ import annotations

import argparse
import csv
import datetime
import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp

import rgrl_jax as rgrl
from benchmarks.machine import describe_machine

RESULTS = Path(__file__).parent / "results"
MODELS = ("rnn", "gru", "lstm", "td", "rnn_td", "gru_td", "lstm_td", "mlp")
STATE, ACTION, REWARD = 5, 2, 1


def seconds_per_iteration(name: str, feedback: bool, horizon: int, iterations: int, repeats: int) -> float:
    """Shortest time of one planning iteration over ``repeats`` plans."""
    config = rgrl.RGRLConfig(model=name, feedback=feedback)
    model = rgrl.make_model(name, config, state_size=STATE, action_size=ACTION, reward_size=REWARD)
    params = jax.vmap(model.init)(jax.random.split(jax.random.key(0), config.ensemble_size))
    nothing = rgrl.History(jnp.zeros((0, STATE)), jnp.zeros((0, ACTION)))
    memory = jax.vmap(model.remember, in_axes=(0, None))(params, nothing)

    @jax.jit
    def make_plan(key: jax.Array, start: jax.Array) -> jax.Array:
        out = rgrl.plan(
            key,
            (params, memory),
            lambda member, state, actions: model.apply(*member, state, actions),
            jnp.zeros(STATE),
            start,
            iterations=iterations,
            optimizer=rgrl.make_plan_optimizer("adam", 0.3),
        )
        return out.plan

    start = 0.05 * jax.random.normal(jax.random.key(1), (horizon, ACTION))
    jax.block_until_ready(make_plan(jax.random.key(2), start))
    times = []
    for i in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(make_plan(jax.random.key(i), start))
        times.append(time.perf_counter() - began)
    return min(times) / iterations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--horizons", type=int, nargs="+", default=(10, 20, 40, 80))
    parser.add_argument("--iterations", type=int, default=100, help="per plan")
    parser.add_argument("--repeats", type=int, default=5, help="plans, of which the fastest counts")
    parser.add_argument("--out", type=Path, default=RESULTS / "horizon.csv")
    arguments = parser.parse_args()
    table = []
    for name in arguments.models:
        for feedback in (True,) if name == "mlp" else (True, False):
            times = [
                seconds_per_iteration(name, feedback, horizon, arguments.iterations, arguments.repeats)
                for horizon in arguments.horizons
            ]
            growth = math.log(times[-1] / times[0]) / math.log(arguments.horizons[-1] / arguments.horizons[0])
            for horizon, seconds in zip(arguments.horizons, times, strict=True):
                table.append(
                    {
                        "date": datetime.date.today(),
                        "machine": describe_machine(),
                        "jax": jax.__version__,
                        "model": name,
                        "feedback": feedback,
                        "horizon": horizon,
                        "microseconds_per_iteration": round(1e6 * seconds, 1),
                        "growth_exponent": round(growth, 2),
                    }
                )
            print(f"{name:8} feedback {feedback!s:5} exponent {growth:.2f}", [f"{1e6 * t:.0f} us" for t in times])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
