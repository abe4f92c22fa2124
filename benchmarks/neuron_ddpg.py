"""DDPG and neuron DDPG: returns, agreement of their critics, and speed of updates.

    python -m benchmarks.neuron_ddpg learn                          # returns over training of every method
    python -m benchmarks.neuron_ddpg learn --methods ddpg mlp --envs Pendulum-v1 --seeds 10
    python -m benchmarks.neuron_ddpg compare                        # critics of neurons beside DDPG's, both phases
    python -m benchmarks.neuron_ddpg speed                          # samples per second of an update
    python -m benchmarks.neuron_ddpg report                         # tables and plots of what is there

A cell is a method on an environment: the ``tuned`` preset with the changes in `METHODS`. Its seeds are one program,
side by side. A finished cell is not run again. Rows are under ``benchmarks/results/neuron_ddpg``: ``returns.csv`` has
the mean return of 400 noiseless episodes at 20 points of training (100 on Swimmer-misc), and of as many episodes of
uniformly random actions; ``similarity.csv``, on the first environment alone, with how far critics of neurons and the
critic of the whole action agree there, on observations of those episodes, which nothing learnt from, and with answers
shuffled among observations as control; ``response.csv`` with how far neurons respond to these observations;
``phases.csv`` with similarities of ``compare``; ``speed.csv``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rgrl_jax as rgrl
from benchmarks import neuron_measures as measures
from benchmarks import report
from benchmarks.machine import describe_run
from rgrl_jax.algos.ddpg import agent as ddpg
from rgrl_jax.algos.ddpg.update import Batch
from rgrl_jax.algos.neuron_ddpg import agent as neuron_ddpg
from rgrl_jax.experiment.run_folder import plain_config
from rgrl_jax.normalization import space_size, to_env_action
from rgrl_jax.rollout import Actor, rollout
from rgrl_jax.training import evaluation_key

RESULTS = Path(__file__).parent / "results" / "neuron_ddpg"
COLUMNS = ("method", "environment", "seed", "env_steps", "eval_return")
MEASURES = measures.Similarity._fields
RESPONSES = measures.Response._fields
POINTS = 20
EPISODES = 400
"""Noiseless ones at every point."""
FEWER = {"Swimmer-misc": 100}
"""Instead of `EPISODES`, where they are long."""
OBSERVATIONS = 256

ALL: dict[str, Any] = {"algo": "neuron_ddpg", "trained_layers": "all"}
ALL |= {"hidden": (32, 32), "activation": "tanh", "neuron_hidden": (16, 16)}
WHOLE: dict[str, Any] = {"neuron_target": "whole", "voltage_noise": 0.3, "neuron_lr": 3e-3}
METHODS: dict[str, dict[str, Any]] = {
    "ddpg": {"algo": "ddpg"},
    "ddpg_outputs": {"algo": "ddpg", "hidden": (256,), "hidden_lr_scale": 0.0},
    "outputs": {"algo": "neuron_ddpg"},
    "outputs_linear": {"algo": "neuron_ddpg", "neuron_critic": "linear"},
    "outputs_bilinear": {"algo": "neuron_ddpg", "neuron_critic": "bilinear"},
    "linear": ALL | {"neuron_critic": "linear"},
    "bilinear": ALL | {"neuron_critic": "bilinear"},
    "mlp": ALL,
    "layer": ALL | {"neuron_critic": "layer", "neuron_hidden": (64, 64)},
    "layer_noise": ALL
    | {"neuron_critic": "layer", "neuron_hidden": (64, 64), "voltage_source": "stored", "voltage_noise": 0.3},
    "layer_whole": ALL | WHOLE | {"neuron_critic": "layer", "neuron_hidden": (64, 64)},
    "layer_whole_still": ALL | WHOLE | {"neuron_critic": "layer", "neuron_hidden": (64, 64), "hidden_lr_scale": 0.0},
    "bilinear_whole": ALL | WHOLE | {"neuron_critic": "bilinear"},
    "mlp_noise": ALL | {"voltage_source": "stored", "voltage_noise": 0.3},
    "mlp_observation": ALL | {"critic_input": "observation"},
    "wide_slow": ALL
    | {"hidden": (256,), "activation": "relu", "neuron_critic": "layer", "neuron_hidden": (64, 64)}
    | {"hidden_lr_scale": 0.03},
    "recurrent": ALL | {"topology": "recurrent", "hidden": (32,)},
}
"""Methods, as changes of the preset of an algorithm."""
STEPS = {
    "Pendulum-v1": 100_000,
    "MountainCarContinuous-gymnasium": 100_000,
    "Reacher-misc": 30_000,
    "PointRobot-misc": 30_000,
    "Swimmer-misc": 30_000,
}
"""Environments, and environment steps of a run, at most."""
SHARE = {method: 0.2 for method in METHODS if method not in ("ddpg", "linear")} | {"wide_slow": 0.4}
"""Of the steps on the first environment, for methods that take long or are settled early."""
OTHERS = ("ddpg", "ddpg_outputs", "outputs", "layer", "linear", "bilinear")
"""Methods on environments other than the first, unless methods are named."""
PHASE = 10_000
"""Likewise, of a phase of ``compare``."""
FAIR = {"Pendulum-v1": -200.0}
"""Mean returns below an environment's goal that still take control."""
BESIDE: dict[str, Any] = {"algo": "neuron_ddpg", "actor_gradient": "whole", "loss": "mean", "trained_layers": "all"}
BESIDE |= {"hidden": (32, 32), "activation": "tanh"}
SUBCRITICS: dict[str, dict[str, Any]] = {
    "neurons": {"neuron_hidden": (16, 16)},
    "layers": {"neuron_critic": "layer", "neuron_hidden": (64, 64)},
}
"""Kinds of critics beside DDPG's, as changes of `BESIDE`, whose actor is that of `ALL`."""


def make_config(
    settings: dict[str, Any], env_id: str, steps: int, *, compare: bool = False
) -> rgrl.DDPGConfig | rgrl.NeuronDDPGConfig:
    """Makes the config of a cell of so many environment steps at most, with both kinds of critics to ``compare``."""
    if settings["algo"] == "neuron_ddpg":
        settings = settings | {"train_both_critics": compare}
    return rgrl.preset(env_id, **settings, episodes=max(steps // rgrl.envs.make(env_id).max_steps, 1))


def config_of(method: str, env_id: str, steps: int | None = None) -> rgrl.DDPGConfig | rgrl.NeuronDDPGConfig:
    """Makes the config of a method on an environment, on the first one with both kinds of critics."""
    first = env_id == next(iter(STEPS))
    steps = steps or round(STEPS[env_id] * (SHARE.get(method, 1.0) if first else 1.0))
    return make_config(METHODS[method], env_id, steps, compare=first)


def train_in_parts(keys: Any, first: Any, config: Any) -> Iterator[tuple[Any, Any, Any, float]]:
    """Trains seeds side by side, and evaluates them at `POINTS` moments.

    Yields:
      States, returns ``[seeds, episodes]``, observations ``[seeds, OBSERVATIONS, ...]`` of these episodes, and
      seconds of training so far.
    """
    part = -(-config.episodes // POINTS)
    train = jax.jit(jax.vmap(lambda state: rgrl.train(None, config, state, part)[0]))
    train, look = train.lower(first).compile(), jax.jit(jax.vmap(partial(_look, config)))
    states, seconds = first, 0.0
    for point in range(-(-config.episodes // part)):
        start = time.perf_counter()
        states = jax.block_until_ready(train(states))
        seconds += time.perf_counter() - start
        returns, obs = look(jax.vmap(partial(jax.random.fold_in, data=2**31 + point))(keys), states)
        yield states, np.asarray(returns), obs, seconds


def _look(config: Any, key: Any, state: Any) -> tuple[Any, Any]:
    """Plays noiseless episodes; returns their returns, and some of their observations."""
    play_key, draw_key = jax.random.split(key)
    number = FEWER.get(config.env_id, EPISODES)
    episode = rgrl.play(play_key, state, config, number)
    lane, at = jax.random.randint(draw_key, (2, OBSERVATIONS), 0, 2**30)
    lane = lane % number
    return episode.episode_return, episode.obs[at % episode.length[lane], lane]


def run_cell(method: str, config: Any, seeds: list[int]) -> tuple[dict[str, list[Any]], float]:
    """Trains a cell; returns rows by file, ``returns`` the last, and seconds of training."""
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    first = jax.jit(jax.vmap(rgrl.init, in_axes=(0, None)))(keys, config)
    rows: dict[str, list[Any]] = {"similarity": [], "response": [], "returns": []}
    spent = 0.0
    for states, points, obs, seconds in train_in_parts(keys, first, config):
        spent = seconds
        steps = np.asarray(states.env_steps)
        for seed, step, values in zip(seeds, steps, points, strict=True):
            cells = (method, config.env_id, seed, int(step), round(float(values.mean()), 3))
            rows["returns"].append(dict(zip(COLUMNS, cells, strict=True)))
        if getattr(config, "train_both_critics", False):
            rows["similarity"] += measure(method, config, states, obs, seeds)
        found = _respond(states, obs, config)
        rows["response"] += _rows(method, config, states, seeds, found, {})
        print(f"{method} {config.env_id} {steps.max():,} steps: {points.mean(axis=1).round(1)}", flush=True)
    return rows, spent


def measure(method: str, config: Any, states: Any, obs: Any, seeds: list[int]) -> list[dict[str, Any]]:
    """Makes rows of the agreement of critics: one per seed, layer, and whether answers are shuffled."""
    pairs = _measure(states, obs, config)
    return [
        row for i, found in enumerate(pairs) for row in _rows(method, config, states, seeds, found, {"control": i})
    ]


def _rows(
    method: str, config: Any, states: Any, seeds: list[int], found: Any, more: dict[str, int]
) -> list[dict[str, Any]]:
    """Makes a row per seed and layer of a NamedTuple of measures ``[seeds, layers]``."""
    table = np.stack([np.asarray(x) for x in found], axis=-1)
    rows = []
    for seed, step, layers in zip(seeds, np.asarray(states.env_steps), table, strict=True):
        for layer, values in enumerate(layers):
            head = {"method": method, "environment": config.env_id, "seed": seed, "env_steps": int(step)}
            numbers = dict(zip(found._fields, np.round(values.astype(float), 4), strict=True))
            rows.append(head | {"layer": layer} | more | numbers)
    return rows


@jax.jit
def _measure(states: Any, obs: Any, config: Any) -> Any:
    def one(state: Any, obs: Any) -> Any:
        return measures.compare_critics(evaluation_key(state), state.networks, state.statistics, obs, config)

    return jax.vmap(one)(states, obs)


@jax.jit
def _respond(states: Any, obs: Any, config: Any) -> Any:
    def one(state: Any, obs: Any) -> Any:
        return measures.measure_response(state.networks.actor.weights, state.statistics, obs, config)

    return jax.vmap(one)(states, obs)


def random_rows(env_id: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Makes a row of ``returns.csv`` per seed, of episodes of uniformly random actions."""
    spec, number = rgrl.envs.make(env_id), FEWER.get(env_id, EPISODES)

    def policy(key: Any, timestep: Any) -> Any:
        actions = jax.random.uniform(key, (number, space_size(spec.action)), minval=-1.0, maxval=1.0)
        return jax.vmap(partial(to_env_action, box=spec.action))(actions)[None], (), {}

    play = jax.jit(jax.vmap(lambda key: rollout(spec, Actor(key, policy, number, info={}))[0].episode_return))
    returns = np.asarray(play(jax.vmap(jax.random.key)(jnp.asarray(seeds)))).mean(axis=1)
    cells = [("random", env_id, seed, 0, round(float(x), 3)) for seed, x in zip(seeds, returns, strict=True)]
    return [dict(zip(COLUMNS, cell, strict=True)) for cell in cells]


def learn(arguments: argparse.Namespace) -> None:
    """Runs every cell that is not done."""
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    done = {(row["method"], row["environment"]) for row in report.read_rows(out / "returns.csv")}
    seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    for env_id in arguments.envs or STEPS:
        if ("random", env_id) not in done:
            report.append_rows(out / "returns.csv", random_rows(env_id, seeds))
        for method in arguments.methods or (METHODS if env_id == next(iter(STEPS)) else OTHERS):
            if (method, env_id) in done:
                continue
            config = config_of(method, env_id, arguments.steps)
            found, seconds = run_cell(method, config, seeds)
            about = _about(config) | {"train_seconds": round(seconds, 1)}
            (out / f"{method}-{env_id}.json").write_text(json.dumps(about, indent=1) + "\n")
            for name, rows in found.items():  # returns are the last, for they say that the cell is done
                if rows:
                    report.append_rows(out / f"{name}.csv", rows)


def _about(config: Any) -> dict[str, Any]:
    return describe_run("jax", "jaxlib", "flax", "gymnax", "optax") | {"config": plain_config(config)}


def compare(arguments: argparse.Namespace) -> None:
    """Runs the draft's first experiment. Phase 1: critics of neurons, or of layers, learn beside DDPG, unused.

    Phase 2: they start anew beside a fresh actor, while the critic of the whole action stays as phase 1 left it.
    """
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    done = {(row["method"], row["environment"]) for row in report.read_rows(out / "phases.csv")}
    seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    for env_id in arguments.envs or ["Pendulum-v1"]:
        for kind, changes in SUBCRITICS.items():
            if (kind, env_id) in done:
                continue
            config = make_config(BESIDE | changes, env_id, arguments.steps or PHASE)
            rows = _two_phases(kind, config, seeds)
            (out / f"phases-{kind}-{env_id}.json").write_text(json.dumps(_about(config), indent=1) + "\n")
            report.append_rows(out / "phases.csv", rows)


def _two_phases(kind: str, config: Any, seeds: list[int]) -> list[dict[str, Any]]:
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    rows: list[dict[str, Any]] = []
    critic = None
    for phase in (1, 2):
        keys = jax.vmap(partial(jax.random.fold_in, data=phase))(keys)
        first = jax.jit(jax.vmap(rgrl.init, in_axes=(0, None)))(keys, config)
        if critic is not None:
            config = config.replace(critic_lr=0.0)
            critic = critic.replace(target=critic.weights)
            first = first.replace(networks=first.networks.replace(critic=critic))
        for states, points, obs, _ in train_in_parts(keys, first, config):
            found = measure(kind, config, states, obs, seeds)
            returns = dict(zip(seeds, points.mean(axis=1), strict=True))
            rows += [row | {"phase": phase, "eval_return": round(float(returns[row["seed"]]), 3)} for row in found]
            print(f"{kind} phase {phase}: {points.mean(axis=1).round(1)}", flush=True)
            critic = states.networks.critic
    return rows


def speed(arguments: argparse.Namespace) -> None:
    """Measures samples per second of updates in a row, of each method on one environment; median of 5."""
    rows = []
    for method in arguments.methods or METHODS:
        config = make_config(METHODS[method], "Pendulum-v1", PHASE)
        agent = (ddpg if METHODS[method]["algo"] == "ddpg" else neuron_ddpg).make_agent(config)
        inputs, *_, outputs = ddpg.network_sizes(config)
        sizes = [inputs, outputs, *(like.shape[0] for like in jax.tree.leaves(agent.extras))]
        draws = [jax.random.uniform(jax.random.key(1), (config.batch_size, n), minval=-1.0) for n in sizes]
        (x, action), extras = draws[:2], jax.tree.unflatten(jax.tree.structure(agent.extras), draws[2:])
        batch = Batch(x, action, action[:, 0], x, jnp.ones(config.batch_size), extras)

        def updates(networks: Any, agent: Any = agent, batch: Any = batch) -> Any:
            def once(networks: Any, key: Any) -> Any:
                return agent.update(key, networks, batch)[0], None

            return jax.lax.scan(once, networks, jax.random.split(jax.random.key(2), arguments.updates))[0]

        networks = agent.init(jax.random.key(0))
        program, samples = jax.jit(updates).lower(networks).compile(), []
        for _ in range(5):
            start = time.perf_counter()
            jax.block_until_ready(program(networks))
            samples.append(time.perf_counter() - start)
        rate = arguments.updates * config.batch_size / np.median(samples)
        rows.append({"method": method, "parameters": config.describe().parameters, "samples_per_second": round(rate)})
        print(rows[-1], flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "speed.csv").unlink(missing_ok=True)
    report.append_rows(arguments.out / "speed.csv", rows)
    (arguments.out / "speed.json").write_text(json.dumps(describe_run("jax", "jaxlib"), indent=1) + "\n")


SIMILARITY = """
Means over seeds in the last fifth of training, of the control in brackets. Layers count from the observation, those
whose neurons have critics alone: layer 0 of ``outputs`` is that of the outputs, the last layer of any method.
""".strip().split("\n")
"""Text above the table of similarities."""


RESPONSE = """
Means over seeds at the first evaluation and at the last. ``saturated``: share of a layer's voltages where the
activation's slope is below 0.01; with relu, most of these are zeros that come and go. ``spread``: standard deviation
over observations of what a neuron says; of the last layer, of the action in -1..1. Seeds are still where ``spread``
is below 0.01 at the last evaluation.
""".strip().split("\n")
"""Text above the table of responses."""


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    """Formats a table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]


def returns_table(rows: list[dict[str, Any]]) -> list[str]:
    """Formats a row per cell: the last evaluation over seeds, and the seeds at a mark there, or at any evaluation."""
    head = ("environment", "method", "seeds", "env steps", "last evaluation, mean (std)", "best of means over seeds")
    lines = []
    for env_id, method in dict.fromkeys((row["environment"], row["method"]) for row in rows):
        own = [row for row in rows if (row["environment"], row["method"]) == (env_id, method)]
        returns = report.curves(own, "eval_return")
        last, best = returns[:, -1], returns.mean(axis=0).max()
        marks = [report.goal_of(env_id), FAIR.get(env_id)]
        steps = f"{max(row['env_steps'] for row in own):,}"
        cell = (env_id, method, len(last), steps, f"{last.mean():.1f} ({last.std():.1f})", f"{best:.1f}")
        lines.append((*cell, *(_met(returns, mark) for mark in marks)))
    return table((*head, "at the goal: at the end, ever", "at a fair return: at the end, ever"), lines)


def _met(returns: np.ndarray[Any, Any], mark: float | None) -> str:
    """Counts the seeds that were there at the last evaluation, and at any."""
    if mark is None:
        return "none set"
    met = returns >= mark
    return f"{mark:g}: {met[:, -1].sum()}, {met.any(axis=1).sum()}"


def similarity_table(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[str]:
    """Formats measures in the last fifth of training, means over seeds, with those of the control in brackets."""
    lines = []
    for cell in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        own = [row for row in rows if tuple(row[key] for key in keys) == cell]
        late = [row for row in own if row["env_steps"] > 0.8 * max(row["env_steps"] for row in own)]
        means = [
            [np.mean([row[name] for row in late if row["control"] == control]) for name in MEASURES]
            for control in (0, 1)
        ]
        pairs = [f"{found:.2f} ({control:.2f})" for found, control in zip(*means, strict=True)]
        lines.append((*(int(x) if isinstance(x, float) else x for x in cell), *pairs))
    return table((*keys, *(name.replace("_", " ") for name in MEASURES)), lines)


def response_table(rows: list[dict[str, Any]]) -> list[str]:
    """Formats a row per cell and layer: the first evaluation, and the last."""
    lines = []
    for cell in dict.fromkeys((row["environment"], row["method"], row["layer"]) for row in rows):
        own = [row for row in rows if (row["environment"], row["method"], row["layer"]) == cell]
        found = [report.curves(own, name)[:, [0, -1]] for name in RESPONSES]
        means = (f"{x:.2f}" for pair in found for x in pair.mean(axis=0))
        still = (found[RESPONSES.index("spread")][:, -1] < 0.01).sum()
        lines.append((*cell[:2], int(cell[2]), *means, still))
    heads = [f"{name}, {when}" for name in RESPONSES for when in ("first", "last")]
    return table(("environment", "method", "layer", *heads, "seeds that are still"), lines)


def draw(rows: list[dict[str, Any]], column: str, label: str, names: list[str], path: Path) -> None:
    """Plots means over seeds against environment steps, a line per name under ``line``, with the range over seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    styles = itertools.product(("-", "--"), report.COLORS)
    for name, (style, color) in zip(names, styles, strict=False):
        own = [row for row in rows if row["line"] == name]
        steps, values = report.curves(own, "env_steps"), report.curves(own, column)
        if values.shape[1] == 1:  # random actions
            axis.axhline(values.mean(), color="#444444", linestyle=":", label=name)
            continue
        axis.plot(steps.mean(axis=0), values.mean(axis=0), color=color, linestyle=style, linewidth=2, label=name)
        low, high = values.min(axis=0), values.max(axis=0)
        axis.fill_between(steps.mean(axis=0), low, high, color=color, alpha=0.15, linewidth=0)
    axis.set_xlabel("environment steps")
    axis.set_ylabel(label)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize="x-small", ncols=2)
    figure.savefig(path, dpi=150)


def draw_agreement(rows: list[dict[str, Any]], panels: list[str], path: Path) -> None:
    """Plots cosines of gradients against environment steps: a panel per name under ``panel``, a line per layer.

    Means over seeds, give or take two standard errors; dots are of the control, whose answers are shuffled.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = 2 if len(panels) == 4 else min(len(panels), 3)
    high = -(-len(panels) // wide)
    figure = Figure(figsize=(3.6 * wide, 2.8 * high), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(high, wide, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, axis in zip(panels, axes, strict=False):
        axis.axhline(0.0, color="#999999", linewidth=0.8)
        for layer in sorted({row["layer"] for row in rows if row["panel"] == panel}):
            for control, style in ((0, "-"), (1, ":")):
                own = [r for r in rows if (r["panel"], r["layer"], r["control"]) == (panel, layer, control)]
                steps, values = report.curves(own, "env_steps").mean(axis=0), report.curves(own, "gradient_cosine")
                color = report.COLORS[int(layer)]
                label = None if control else f"layer {layer:.0f}"
                axis.plot(steps, values.mean(axis=0), color=color, linestyle=style, label=label)
                if not control:
                    mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(len(values))
                    axis.fill_between(steps, mean - 2 * error, mean + 2 * error, color=color, alpha=0.12)
        axis.set_title(panel, fontsize="small")
        axis.set_ylim(-1.05, 1.05)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize="x-small", loc="lower left")
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.supxlabel("environment steps", fontsize="small")
    figure.supylabel("cosine of gradients of a neuron's weights", fontsize="small")
    figure.savefig(path, dpi=150)


def write_report(arguments: argparse.Namespace) -> None:
    """Writes README.md with tables and plots of whatever there is."""
    out = arguments.out
    names = ("returns", "response", "similarity", "phases", "speed")
    found = {name: report.read_rows(out / f"{name}.csv") for name in names}
    for name in ("returns", "response", "similarity"):
        found[name].sort(key=_place)  # and by time within a cell, as they were
    text = ["# DDPG and neuron DDPG", "", __doc__.strip().split("\n\n")[-1], ""]
    text += ["Which of the draft's ideas held, and which did not: `docs/neurons.md`.", ""]
    text += returns_section(found["returns"], out)
    text += response_section(found["response"])
    text += similarity_section(found["similarity"], out)
    text += phases_section(found["phases"], out)
    text += speed_section(found["speed"])
    (out / "README.md").write_text("\n".join([*text, *report.machines(out), ""]))


def _place(row: dict[str, Any]) -> tuple[int, int]:
    """Returns the place of a cell in tables and plots."""
    return list(STEPS).index(row["environment"]), ["random", *METHODS].index(row["method"])


def returns_section(rows: list[dict[str, Any]], out: Path) -> list[str]:
    """Shows the returns of every method, in a table and a plot per environment."""
    if not rows:
        return []
    text = ["## Returns", "", *returns_table(rows), ""]
    for env_id in dict.fromkeys(row["environment"] for row in rows):
        own = [row | {"line": row["method"]} for row in rows if row["environment"] == env_id]
        draw(own, "eval_return", f"return on {env_id}", list({r["line"]: 0 for r in own}), out / f"{env_id}.png")
        text += [f"![{env_id}]({env_id}.png)", ""]
    return text


def response_section(rows: list[dict[str, Any]]) -> list[str]:
    """Shows how much neurons, and actions, depend on observations."""
    return ["## Response of neurons to observations", "", *RESPONSE, "", *response_table(rows), ""] if rows else []


def similarity_section(rows: list[dict[str, Any]], out: Path) -> list[str]:
    """Shows the distance of the gradients that neurons climb from the whole one, over training."""
    if not rows:
        return []
    text = ["## Agreement of critics while neurons learn by their own", "", *SIMILARITY, ""]
    text += [*similarity_table(rows, ("environment", "method", "layer")), ""]
    for env_id in dict.fromkeys(row["environment"] for row in rows):
        own = [row | {"panel": row["method"]} for row in rows if row["environment"] == env_id]
        draw_agreement(own, list({row["panel"]: 0 for row in own}), out / f"similarity-{env_id}.png")
        text += [f"![similarity on {env_id}](similarity-{env_id}.png)", ""]
    return text


def phases_section(rows: list[dict[str, Any]], out: Path) -> list[str]:
    """Shows the draft's first experiment."""
    if not rows:
        return []
    own = [row | {"panel": f"{row['method']}, phase {row['phase']:.0f}"} for row in rows]
    draw_agreement(own, list({row["panel"]: 0 for row in own}), out / "phases.png")
    text = ["## Agreement of critics beside DDPG", "", *phase_returns(rows), ""]
    text += [*similarity_table(rows, ("environment", "method", "phase", "layer")), ""]
    return [*text, "![phases](phases.png)", ""]


def phase_returns(rows: list[dict[str, Any]]) -> list[str]:
    """Formats the last evaluations of each phase."""
    lines, once = [], [row for row in rows if row["layer"] == row["control"] == 0]
    for cell in dict.fromkeys((row["environment"], row["method"], row["phase"]) for row in once):
        own = [row for row in once if (row["environment"], row["method"], row["phase"]) == cell]
        last = report.curves(own, "eval_return")[:, -1]
        steps = f"{max(row['env_steps'] for row in own):,}"
        lines.append((*cell[:2], int(cell[2]), len(last), steps, f"{last.mean():.1f} ({last.std():.1f})"))
    return table(("environment", "critics", "phase", "seeds", "env steps", "last evaluation, mean (std)"), lines)


def speed_section(rows: list[dict[str, Any]]) -> list[str]:
    """Shows the speed of updates."""
    if not rows:
        return []
    lines = [(row["method"], int(row["parameters"]), f"{row['samples_per_second']:,.0f}") for row in rows]
    return ["## Speed of updates", "", *table(("method", "parameters", "samples per second"), lines), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"learn": learn, "compare": compare, "speed": speed, "report": write_report}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--methods", nargs="+", metavar="METHOD", choices=METHODS)
    parser.add_argument("--envs", nargs="+", metavar="ENV", choices=STEPS)
    parser.add_argument("--seeds", type=int, default=10, help="runs of a cell")
    parser.add_argument("--first-seed", type=int, default=0, help="of these; from 1000 on for tuning")
    parser.add_argument("--steps", type=int, help="environment steps of a run; by default those of the environment")
    parser.add_argument("--updates", type=int, default=500, help="that speed makes in a row")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    commands[arguments.command](arguments)


if __name__ == "__main__":
    main()
