"""Planned environment steps and learning updates per second, against what the device could do at best.

    python -m benchmarks.throughput            # all sizes that fit the device; resumes where it was stopped
    python -m benchmarks.throughput --quick    # the small ones, in two minutes
    python -m benchmarks.throughput --devices 2 --rows 64    # which two devices share, see `rgrl_jax.sharing`
    XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m benchmarks.throughput --devices 2    # of one CPU

Plays one step of CartPole in every row, all rows planning with the same ensemble, and makes updates of an ensemble
from windows of random episodes. Operations are counted by a formula (``xla_ratio``: XLA's own count of one iteration
without loops, by the formula's), and compared with one large matrix product that is timed in the same run. How much
time goes to anything but products is read off a profile of one call. Compiling is timed apart. Writes
``planning.csv``, ``learning.csv``, ``roofline.png`` and ``README.md`` to ``benchmarks/results/throughput``.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import rgrl_jax as rgrl
from benchmarks import report, timing
from rgrl_jax import sharing
from rgrl_jax.algos import rgrl as algo
from rgrl_jax.algos.rgrl.acting import uses_kernel
from rgrl_jax.algos.rgrl.learning import remember
from rgrl_jax.experiment.programs import over_devices, spare_memory

RESULTS = Path(__file__).parent / "results" / "throughput"
ENV = "CartPole-v1"
BINS = {"state_encoding": "thermometer", "reward_encoding": "thermometer", "state_bins": 100, "done_size": 100}
SIZES: dict[str, dict[str, Any]] = {
    "small": {"width": 128, "heads": 4, "layers": 2, **BINS},
    "small-raw": {"width": 128, "heads": 4, "layers": 2},
    "paper": {"width": 750, "heads": 10, "layers": 3, "unroll": 1, **BINS},
}
MODELS = ("gru", "rnn", "lstm", "td")
ROWS = (1, 64, 1024, 8192)
ACCELERATED, PLAIN = ("tf32", "bf16", "float32"), ("float32",)
PLANNING = (
    "model", "size", "rows", "devices", "precision", "planner", "env_steps_per_second", "flops_per_env_step",
    "share_of_matmul_peak", "time_outside_products", "xla_ratio", "compile_seconds", "peak_bytes",
)  # fmt: skip
LEARNING = (
    "model", "size", "batch", "devices", "precision", "updates_per_second", "flops_per_update",
    "share_of_matmul_peak", "time_outside_products", "compile_seconds", "peak_bytes",
)  # fmt: skip


def make_config(model: str, size: str, **changes: Any) -> rgrl.RGRLConfig:
    """One environment step per episode, planned by the paper's optimiser for 15 steps in 50 iterations."""
    fixed = {"feed_forward": "linear", "plan_optimizer": "sgd", "max_steps": 1, "warmup_episodes": 0}
    settings = fixed | {"model": model, "horizon": 15, "plan_iterations": 50, "residual": False} | SIZES[size]
    config = rgrl.RGRLConfig(env_id=ENV, **(settings | changes))
    config.validate()
    return config


def model_flops(config: rgrl.RGRLConfig) -> int:
    """Operations of a plan's model steps in one row, forward alone; 2 per weight that a matrix product uses.

    Per step ``c L d^2 + 4 S d + 2 A d + 2 R d`` with c = 4, 12, 16 for the recurrent cells and 10 for the decoder,
    whose attention adds ``4 L t d`` at position t.
    """
    d, layers, steps, codec = config.width, config.layers, config.horizon, algo.parts(config).codec
    core = {"rnn": 4, "gru": 12, "lstm": 16, "td": 10}[config.model] * layers * d**2
    ends = 2 * d * (2 * codec.state_size + codec.action_size + codec.reward_size)
    attention = 4 * layers * d * steps * (steps + 1) // 2 if config.model == "td" else 0
    return steps * (core + ends) + attention


def plan_flops(config: rgrl.RGRLConfig) -> int:
    """Of planning one environment step: forward and back to the actions, which costs as much, in every iteration."""
    return 2 * config.plan_iterations * model_flops(config)


def update_flops(config: rgrl.RGRLConfig) -> int:
    """Of one update of all members: forward, back to the weights and back to the inputs."""
    return 3 * config.ensemble_size * config.learn_batch * model_flops(config)


def draw_ensemble(config: rgrl.RGRLConfig) -> Any:
    """A state with weights as they are drawn."""
    return algo.init(jax.random.key(0), config)


def play(config: rgrl.RGRLConfig, rows: int) -> Any:
    """``(key, params) -> returns``: one planned step in every row."""

    def run(key: jax.Array, params: Any) -> jax.Array:
        policy = algo.make_policy(params, config, jnp.float32(0.1), jnp.float32(0.0))
        return rgrl.rollout(key, config.spec, policy, num_envs=rows).episode_return

    return run


@functools.cache
def xla_ratio(config: rgrl.RGRLConfig, rows: int = 8) -> float:
    """XLA's count of one iteration, its steps written out, by the formula's."""
    config = config.replace(plan_iterations=1, plan_unroll=config.horizon, plan_kernel="off")
    program = timing.build(play(config, rows), jax.random.key(0), draw_ensemble(config).params)
    return program.flops / (rows * plan_flops(config))


def measure_planning(
    config: rgrl.RGRLConfig, rows: int, precision: str, peak: float, seconds: float, devices: int = 1
) -> dict[str, Any]:
    """Columns of `PLANNING` that are measured."""
    key, params = over_devices((jax.random.key(0), draw_ensemble(config).params), devices, sharing.AXIS)
    program = timing.build(play(config, rows), key, params, precision=precision)
    if program.peak_bytes > spare_memory():
        return {}
    rate = rows / timing.median_seconds(lambda: program.call(key, params), seconds=seconds)
    return {
        "planner": "kernel" if uses_kernel(config, algo.parts(config)) else "xla",
        "env_steps_per_second": f"{rate:.4g}",
        "flops_per_env_step": plan_flops(config),
        "share_of_matmul_peak": f"{rate * plan_flops(config) / peak:.3g}",
        "time_outside_products": f"{timing.time_outside_products(program, key, params):.3f}",
        "xla_ratio": f"{xla_ratio(config):.3f}",
        "compile_seconds": round(program.compile_seconds, 2),
        "peak_bytes": program.peak_bytes,
    }


def filled(config: rgrl.RGRLConfig, state: Any, episodes: int) -> Any:
    """The state's replay with random episodes in it."""

    def policy(key: jax.Array, view: Any) -> Any:
        del view
        return jax.random.randint(key, (1, episodes), 0, config.spec.action.n), {}, ()

    episode = rgrl.rollout(jax.random.key(1), config.spec, policy, num_envs=episodes, info={})
    return remember(state.replay, episode, config)


def measure_learning(
    config: rgrl.RGRLConfig, precision: str, peak: float, seconds: float, devices: int = 1
) -> dict[str, Any]:
    """Columns of `LEARNING` that are measured."""
    config = config.replace(max_steps=60, learn_iterations=4)
    state = draw_ensemble(config)
    replay = jax.jit(lambda state: filled(config, state, 64))(state)

    def run(key: jax.Array, state: Any, replay: Any) -> Any:
        return algo.learn(key, state.params, state.opt_state, replay, config)[0]

    arguments = over_devices((jax.random.key(0), state, replay), devices, sharing.AXIS)
    program = timing.build(run, *arguments, precision=precision)
    if program.peak_bytes > spare_memory():
        return {}
    seconds = timing.median_seconds(lambda: program.call(*arguments), seconds=seconds)
    rate = config.learn_iterations / seconds
    return {
        "batch": config.learn_batch,
        "updates_per_second": f"{rate:.4g}",
        "flops_per_update": update_flops(config),
        "share_of_matmul_peak": f"{rate * update_flops(config) / peak:.3g}",
        "time_outside_products": f"{timing.time_outside_products(program, *arguments):.3f}",
        "compile_seconds": round(program.compile_seconds, 2),
        "peak_bytes": program.peak_bytes,
    }


def run_cases(arguments: argparse.Namespace, out: Path) -> None:
    """Measures what is not in the tables yet and fits memory and patience."""
    bandwidth = timing.memory_bandwidth(arguments.vector, arguments.seconds)
    for precision in arguments.precisions:
        peak = timing.matmul_peak(precision, arguments.matrix, arguments.seconds, arguments.devices)
        best = {"matmul_peak": f"{peak:.4g}", "bandwidth": f"{bandwidth:.4g}"}
        for size in arguments.sizes:
            for model in arguments.models:
                config = make_config(model, size, plan_kernel=arguments.kernel)
                about = {"model": model, "size": size, "precision": precision, "devices": arguments.devices}
                measured = precision, peak, arguments.seconds, arguments.devices
                for rows in arguments.rows:
                    case = about | {"rows": rows, "kernel": arguments.kernel}
                    if plan_flops(config) * rows / (0.3 * peak) > arguments.patience:
                        print("left out, too slow:", case, flush=True)
                    elif not timing.is_known(timing.read_table(out / "planning.csv"), case):
                        found = measure_planning(config, rows, *measured)
                        write_row(out / "planning.csv", case, found, best)
                if 4 * update_flops(config) / (0.3 * peak) > arguments.patience:
                    print("left out, too slow: learning,", about, flush=True)
                elif not timing.is_known(timing.read_table(out / "learning.csv"), about):
                    found = measure_learning(config, *measured)
                    write_row(out / "learning.csv", about, found, best)


def write_row(path: Path, case: dict[str, Any], found: dict[str, Any], best: dict[str, Any]) -> None:
    """Adds what was found of a case to a table."""
    if found:
        report.append_rows(path, [timing.where() | case | found | best])
    print(case, found or "left out, too large", flush=True)


def write_report(out: Path) -> None:
    """Both tables in words, and the plot."""
    planning, learning = (timing.read_table(out / f"{name}.csv") for name in ("planning", "learning"))
    lines = ["# Throughput", "", "Made by `python -m benchmarks.throughput`.", ""]
    devices = {row["device"] for row in planning}
    if devices and not any("cpu" not in name.lower() for name in devices):
        lines += ["Nothing was measured on a GPU or TPU; the planning kernel has not run on one.", ""]
    for about in dict.fromkeys((row["device"], row["machine"], row["jax"]) for row in planning):
        own = [[row for row in rows if row["device"] == about[0]] for rows in (planning, learning)]
        lines += [f"## {about[0]}", "", f"{about[1]}; jax {about[2]}", "", *report.markdown(PLANNING, own[0]), ""]
        lines += [*report.markdown(LEARNING, own[1]), ""]
    if planning:
        plot_roofline(planning, out / "roofline.png")
        lines += ["![operations per second: attained, and at best](roofline.png)", ""]
    (out / "README.md").write_text("\n".join(lines))


def plot_roofline(rows: list[dict[str, str]], path: Path) -> None:
    """Attained operations per second over rows; dotted, one large product, or reading each weight at each step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    about = ("device", "devices", "precision", "planner")
    groups = dict.fromkeys(tuple(row[name] for name in about) for row in rows)
    figure = Figure(figsize=(5.5 * len(groups), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        own = [row for row in rows if tuple(row[name] for name in about) == group]
        for i, (model, size) in enumerate(dict.fromkeys((row["model"], row["size"]) for row in own)):
            line = sorted((r for r in own if (r["model"], r["size"]) == (model, size)), key=lambda r: int(r["rows"]))
            attained = [float(r["env_steps_per_second"]) * float(r["flops_per_env_step"]) for r in line]
            label = f"{model}, {size}"
            axis.loglog(
                [int(r["rows"]) for r in line],
                attained,
                "o-",
                color=report.COLORS[i % len(report.COLORS)],
                label=label,
            )
        count = [1, *sorted({int(row["rows"]) for row in own}), 8192]
        width = 2 if group[2] == "bf16" else 4
        roof = [
            min(float(own[0]["matmul_peak"]), 2 * n / width * float(own[0]["bandwidth"])) for n in sorted(set(count))
        ]
        axis.loglog(sorted(set(count)), roof, ":", color="0.3", label="a product; weights from memory")
        axis.set(
            title="{} x {}, {}, {}".format(group[1], group[0], *group[2:]),
            xlabel="rows",
            ylabel="operations per second",
        )
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    accelerated = jax.default_backend() != "cpu"
    parser.add_argument("--quick", action="store_true", help="one model, small sizes, few rows")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=tuple(SIZES))
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    precisions = ACCELERATED if accelerated else PLAIN
    parser.add_argument("--precisions", nargs="+", choices=ACCELERATED, default=precisions)
    parser.add_argument("--devices", type=int, default=1, help="that share rows and batch")
    parser.add_argument("--kernel", choices=("auto", "off"), default="auto", help="plan_kernel of the config")
    parser.add_argument("--seconds", type=float, default=2.0, help="of repeating each measurement")
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds of one call, above which it is left out"
    )
    parser.add_argument("--matrix", type=int, default=8192 if accelerated else 2048, help="side, for the peak")
    parser.add_argument("--vector", type=int, default=2**28 if accelerated else 2**25, help="for the bandwidth")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    if not 1 <= arguments.devices <= jax.device_count():
        parser.error(f"--devices {arguments.devices}: there are {jax.device_count()}")
    if arguments.quick:
        arguments.models, arguments.sizes, arguments.rows = ("gru",), ("small", "small-raw"), (1, 64)
        arguments.seconds, arguments.patience = min(arguments.seconds, 1.0), 10.0
    arguments.out.mkdir(parents=True, exist_ok=True)
    run_cases(arguments, arguments.out)
    write_report(arguments.out)


if __name__ == "__main__":
    main()
