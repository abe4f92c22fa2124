"""Growth of the cost of a planning iteration with the horizon, for every model.

One plan of a small ensemble is made for each horizon, and the time of one iteration (forward, input gradient and
step) written to ``results/horizon.csv`` with the exponent of its growth from the shortest to the longest horizon:
1 is linear. Example: python -m benchmarks.horizon --models gru transformer
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
import optax

import rgrl_jax as rgrl
from benchmarks.machine import describe_machine

RESULTS = Path(__file__).parent / "results"
MEMBERS, STATE, ACTION, REWARD = 5, 5, 2, 1


def seconds_per_iteration(name: str, horizon: int, iterations: int, repeats: int) -> float:
    """Measures the shortest time of one planning iteration over ``repeats`` plans."""
    model = rgrl.models.make(name, rgrl.models.ModelSpec(STATE, ACTION, REWARD, unroll=15))
    params = jax.vmap(model.init)(jax.random.split(jax.random.key(0), MEMBERS))
    nothing = rgrl.models.History(jnp.zeros((0, STATE)), jnp.zeros((0, ACTION)))
    memory = jax.vmap(model.encode_history, in_axes=(0, None))(params, nothing)

    @jax.jit
    def make_plan(key: jax.Array, start: jax.Array) -> jax.Array:
        out = rgrl.plan(
            key,
            (params, memory),
            lambda member, state, actions: model.apply(*member, state, actions),
            jnp.zeros(STATE),
            start,
            iterations=iterations,
            optimizer=optax.adam(0.3),
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


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=rgrl.models.names(), choices=rgrl.models.names())
    parser.add_argument("--horizons", type=int, nargs="+", default=(10, 20, 40, 80))
    parser.add_argument("--iterations", type=int, default=100, help="per plan")
    parser.add_argument("--repeats", type=int, default=5, help="plans, of which the fastest counts")
    parser.add_argument("--out", type=Path, default=RESULTS / "horizon.csv")
    arguments = parser.parse_args(words)
    table = []
    for name in arguments.models:
        horizons = arguments.horizons
        times = [seconds_per_iteration(name, n, arguments.iterations, arguments.repeats) for n in horizons]
        growth = math.log(times[-1] / times[0]) / math.log(horizons[-1] / horizons[0])
        about = {"date": datetime.date.today(), "machine": describe_machine(), "jax": jax.__version__, "model": name}
        for horizon, seconds in zip(horizons, times, strict=True):
            found = {"horizon": horizon, "microseconds_per_iteration": round(1e6 * seconds, 1)}
            table.append(about | found | {"growth_exponent": round(growth, 2)})
        print(f"{name:16} exponent {growth:.2f}", [f"{1e6 * t:.0f} us" for t in times])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
