"""Planned environment steps and learning updates per second, against what the device could do at best.

    python -m benchmarks.throughput            # all sizes that fit the device; resumes where it was stopped
    python -m benchmarks.throughput --quick    # the small ones, in two minutes
    python -m benchmarks.throughput --devices 2 --rows 64    # which two devices share, see `rgrl_jax.spmd`
    XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m benchmarks.throughput --devices 2    # of one CPU

Plays one step of CartPole in every row, all rows planning with the same ensemble, and makes updates of an ensemble
from windows of random episodes. Operations are counted by a formula (``xla_ratio``: XLA's own count of one iteration
without loops, by the formula's), and compared with one large matrix product that is timed in the same run. How much
time goes to anything but products is read off a profile of one call. Compiling is timed apart. With ``--planners xla
kernel`` the same plans are also made by `rgrl_jax.contrib.planning_kernel`, where it can. Writes ``planning.csv``,
``learning.csv``, ``roofline.png`` and ``README.md`` to ``benchmarks/results/throughput``.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import rgrl_jax as rgrl
from benchmarks import report, timing
from rgrl_jax import spmd
from rgrl_jax.algos.rgrl.act import blank_info, make_policy
from rgrl_jax.algos.rgrl.build import build, build_for_planning
from rgrl_jax.algos.rgrl.learn import store_episode, train_members
from rgrl_jax.contrib.planning_kernel import descend_rows, refusal
from rgrl_jax.experiment.compile import put_on_devices, spare_memory
from rgrl_jax.models import History
from rgrl_jax.rollout import Actor, rollout

RESULTS = Path(__file__).parent / "results" / "throughput"
ENV = "CartPole-v1"
BINS = {
    "reference.state_encoding": "thermometer", "reference.reward_encoding": "thermometer", "reference.done_size": 100,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "small": {"model.width": 128, "model.heads": 4, "model.layers": 2, **BINS},
    "small-raw": {"model.width": 128, "model.heads": 4, "model.layers": 2},
    "paper": {"model.width": 750, "model.heads": 10, "model.layers": 3, "model.unroll": 1, **BINS},
}
MODELS = ("gru", "rnn", "lstm", "transformer")
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
    """Returns a config of one environment step per episode, planned by the paper's optimizer in 50 iterations."""
    settings = {
        "max_steps": 1, "explore.warmup_episodes": 0, "model.kind": model, "planner.optimizer": "sgd",
        "planner.horizon": 15, "planner.iterations": 50,
        "reference.linear_feed_forward": True, "reference.residual": False,
    }  # fmt: skip
    return timing.make_config(ENV, settings | SIZES[size] | changes)


def model_flops(config: rgrl.RGRLConfig) -> int:
    """Counts operations of a plan's model steps in one row, forward alone; 2 per weight of a matrix product.

    Per step ``c L d^2 + 4 S d + 2 A d + 2 R d`` with c = 4, 12, 16 for the recurrent cells and 10 for the
    transformer, whose attention adds ``4 L t d`` at position t.
    """
    kind, d, layers = config.model.kind, config.model.width, config.model.layers
    steps, codec = config.planner.horizon, build(config).codec
    core = {"rnn": 4, "gru": 12, "lstm": 16, "transformer": 10}[kind] * layers * d**2
    ends = 2 * d * (2 * codec.state_size + codec.action_size + codec.reward_size)
    attention = 4 * layers * d * steps * (steps + 1) // 2 if kind == "transformer" else 0
    return steps * (core + ends) + attention


def plan_flops(config: rgrl.RGRLConfig) -> int:
    """Counts operations of planning one environment step: in every iteration forward and back to the actions."""
    return 2 * config.planner.iterations * model_flops(config)


def update_flops(config: rgrl.RGRLConfig) -> int:
    """Counts operations of one update of all members: forward, back to the weights and back to the inputs."""
    return 3 * config.model.ensemble_size * config.learner.batch_size * model_flops(config)


def make_step(config: rgrl.RGRLConfig, rows: int) -> Callable[[jax.Array, Any], jax.Array]:
    """Makes ``(key, params) -> returns [N]`` of one planned step in every row."""

    def run(key: jax.Array, params: Any) -> jax.Array:
        policy = make_policy(params, config, build_for_planning(config), jnp.float32(0.1), jnp.float32(0.0))
        return rollout(config.spec, Actor(key, policy, rows, info=blank_info(rows)))[0].episode_return

    return run


def make_kernel_step(config: rgrl.RGRLConfig, rows: int) -> Callable[[jax.Array, Any], jax.Array]:
    """Makes ``(key, params) -> plans [N, T, A]`` by the planning kernel, from the same number of rows."""
    _, codec, model = build(config)
    planner, module = config.planner, model.module

    def run(key: jax.Array, params: Any) -> jax.Array:
        nothing = History(jnp.zeros((0, codec.state_size)), jnp.zeros((0, codec.action_size)))
        memory = jax.vmap(model.encode_history, in_axes=(0, None))(params, nothing)
        memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (rows, *x.shape)), memory)
        start = 0.1 * jax.random.normal(key, (rows, planner.horizon, codec.action_size))
        settings = {"iterations": planner.iterations, "learning_rate": planner.lr, "optimizer": planner.optimizer}
        interpret, present = jax.default_backend() != "gpu", jnp.zeros((rows, codec.state_size))
        return descend_rows(key, params, module, memory, present, start, interpret=interpret, **settings)[0]

    return run


@functools.cache
def xla_ratio(config: rgrl.RGRLConfig, rows: int = 8) -> float:
    """Returns XLA's count of one iteration, its steps written out, divided by the formula's."""
    config = config.replace_at("planner.iterations", 1).replace_at("planner.unroll", config.planner.horizon)
    key = jax.random.key(0)
    program = timing.build(make_step(config, rows), key, rgrl.init(key, config).params)
    return program.flops / (rows * plan_flops(config))


def measure_planning(config: rgrl.RGRLConfig, case: dict[str, Any], peak: float, seconds: float) -> dict[str, Any]:
    """Measures the other columns of `PLANNING` of a case; none if it does not fit the memory."""
    rows, key = case["rows"], jax.random.key(0)
    key, params = put_on_devices((key, rgrl.init(key, config).params), case["devices"], spmd.AXIS)
    make = make_kernel_step if case["planner"] == "kernel" else make_step
    program = timing.build(make(config, rows), key, params, precision=case["precision"])
    if program.peak_bytes > spare_memory():
        return {}
    rate = rows / timing.median_seconds(lambda: program.call(key, params), seconds=seconds)
    return {
        "env_steps_per_second": f"{rate:.4g}",
        "flops_per_env_step": plan_flops(config),
        "share_of_matmul_peak": f"{rate * plan_flops(config) / peak:.3g}",
        "time_outside_products": f"{timing.time_outside_products(program, key, params):.3f}",
        "xla_ratio": f"{xla_ratio(config):.3f}",
        "compile_seconds": round(program.compile_seconds, 2),
        "peak_bytes": program.peak_bytes,
    }


def fill_replay(config: rgrl.RGRLConfig, state: Any, episodes: int) -> Any:
    """Returns the state with random episodes in its replay."""

    def policy(key: jax.Array, timestep: Any) -> Any:
        del timestep
        return jax.random.randint(key, (1, episodes), 0, config.spec.action.n), (), {}

    episode, _ = rollout(config.spec, Actor(jax.random.key(1), policy, episodes, info={}))
    return state.replace(replay=store_episode(state.replay, episode, build(config).codec, config))


def make_update(config: rgrl.RGRLConfig) -> Callable[[jax.Array, Any], Any]:
    """Makes ``(key, state) -> members`` of ``learner.updates_per_episode`` updates."""

    def run(key: jax.Array, state: Any) -> Any:
        return train_members(key, (state.params, state.opt_state), state.replay, config, build(config))[0]

    return run


def measure_learning(config: rgrl.RGRLConfig, case: dict[str, Any], peak: float, seconds: float) -> dict[str, Any]:
    """Measures the other columns of `LEARNING` of a case; none if it does not fit the memory."""
    config = config.replace(max_steps=60).replace_at("learner.updates_per_episode", 4)
    key = jax.random.key(0)
    state = jax.jit(lambda key: fill_replay(config, rgrl.init(key, config), 64))(key)
    arguments = put_on_devices((key, state), case["devices"], spmd.AXIS)
    program = timing.build(make_update(config), *arguments, precision=case["precision"])
    if program.peak_bytes > spare_memory():
        return {}
    rate = 4 / timing.median_seconds(lambda: program.call(*arguments), seconds=seconds)
    return {
        "batch": config.learner.batch_size,
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
        for size, model in itertools.product(arguments.sizes, arguments.models):
            config = make_config(model, size)
            about = {"model": model, "size": size, "precision": precision, "devices": arguments.devices}
            for rows, planner in itertools.product(arguments.rows, arguments.planners):
                case, slow = about | {"rows": rows, "planner": planner}, plan_flops(config) * rows
                if planner == "kernel" and (reason := refusal(build(config).model.module)):
                    print("left out, the kernel", reason, case, flush=True)
                else:
                    run_case(out / "planning.csv", config, case, slow, measure_planning, best, arguments)
            run_case(out / "learning.csv", config, about, 4 * update_flops(config), measure_learning, best, arguments)


def run_case(
    path: Path,
    config: rgrl.RGRLConfig,
    case: dict[str, Any],
    flops: float,
    measure: Callable[..., dict[str, Any]],
    best: dict[str, str],
    arguments: argparse.Namespace,
) -> None:
    """Adds a row to a table, unless it is there or takes too long or too much memory."""
    peak = float(best["matmul_peak"])
    if flops / (0.3 * peak) > arguments.patience:
        print("left out, too slow:", case, flush=True)
    elif not timing.is_known(timing.read_table(path), case):
        found = measure(config, case, peak, arguments.seconds)
        if found:
            report.append_rows(path, [timing.where() | case | found | best])
        print(case, found or "left out, too large", flush=True)


def write_report(out: Path) -> None:
    """Writes both tables in Markdown, and the plot."""
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
    """Plots operations per second over rows; dotted, one large product, or reading each weight at each step."""
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
    parser.add_argument("--planners", nargs="+", choices=("xla", "kernel"), default=("xla",))
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
