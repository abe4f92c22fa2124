"""This library beside the loops that it replaces: PyTorch and JAX one operation at a time, on the same sizes.

    python -m benchmarks.comparison            # needs the extra `comparison`; about five minutes on two cores

The loops do what the authors' code does: one environment at a time, Python loops over iterations and steps, the
recurrent network run anew over the whole prefix at every step, and weight gradients built while planning. All three
start from the same weights and must come to the same plan and the same update before anything is timed. Of the 50
iterations of a plan the loops are timed over five and one. The size is
`small` of `benchmarks.throughput` (gru, d = 128, L = 2, T = 15, K = 50, five members). A loop's environments and
members take their turns, so that its rate is the same for 64 of them; it runs on one thread or all, whichever is
faster. Writes ``comparison.csv`` and ``README.md`` to ``benchmarks/results/comparison``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rgrl_jax as rgrl
from benchmarks import report, throughput, timing
from rgrl_jax.models import History, ModelOutput
from rgrl_jax.planning import ensemble, mean_error

RESULTS = Path(__file__).parent / "results" / "comparison"
ROWS = (1, 64)
STEPS, UPDATES = 20, 100
"""Of the episode by which a whole run is judged: an early one of CartPole, and updates per member as published."""
RATE = 0.1
"""Of learning, as published."""
LINEAR = ("embed_state", "embed_action", "state_head", "reward_head")
RECURRENT = {"input_weights": "weight_ih", "hidden_weights": "weight_hh"}
Arrays = dict[str, Any]


def make_config(**changes: Any) -> rgrl.RGRLConfig:
    """The authors' network and descent at the size `small`."""
    authors = {
        "reference.biases": False,
        "reference.squash_outputs": True,
        "planner.lr": 0.1,
        "reference.mean_plan_loss": True,
        "learner.optimizer": "sgd",
    }
    return throughput.make_config("gru", "small", **(authors | changes))


def draw_ensemble(config: rgrl.RGRLConfig) -> Any:
    """Weights of a new ensemble ``[E, ...]``."""
    return rgrl.init(jax.random.key(0), config).params


def weights(config: rgrl.RGRLConfig) -> Arrays:
    """Members ``[E, ...]`` by name."""
    params = draw_ensemble(config)["params"]
    return params["core"] | {name: value for name, value in params.items() if name != "core"}


class Eager:
    """JAX without ``jit``: every operation is a call of its own."""

    def gru(self, member: Arrays, tokens: list[Any]) -> Any:
        """The last feature ``[d]`` after a prefix, from its beginning."""
        for from_input, from_hidden in zip(member["input_weights"], member["hidden_weights"], strict=True):
            hidden, outputs = jnp.zeros(from_hidden.shape[0]), []
            for token in tokens:
                x, h = jnp.split(token @ from_input, 3), jnp.split(hidden @ from_hidden, 3)
                reset, update = jax.nn.sigmoid(x[0] + h[0]), jax.nn.sigmoid(x[1] + h[1])
                hidden = (1.0 - update) * jnp.tanh(x[2] + reset * h[2]) + update * hidden
                outputs.append(hidden)
            tokens = outputs
        return tokens[-1]

    def predict(self, member: Arrays, present: Any, actions: Any) -> tuple[Any, Any]:
        """Rewards ``[T, R]`` and states ``[T, S]`` along actions ``[T, A]``, each state fed back."""
        state, tokens, rewards, states = present, [], [], []
        for action in actions:
            tokens.append(jnp.tanh(state @ member["embed_state"] + action @ member["embed_action"]))
            feature = self.gru(member, tokens)
            state = jnp.tanh(feature @ member["state_head"])
            rewards.append(jnp.tanh(feature @ member["reward_head"]))
            states.append(state)
        return jnp.stack(rewards), jnp.stack(states)

    def plan(self, members: list[Arrays], draws: list[int], present: Any, start: Any, rate: float) -> Any:
        """The plan ``[T, A]`` before the squash, descended by the member drawn for each iteration."""

        def error(member: Arrays, actions: Any) -> Any:
            return jnp.square(self.predict(member, present, actions)[0] - 1.0).mean()

        latent = jnp.asarray(start)
        for i in draws:
            actions = jnp.tanh(latent)
            _, slope = jax.grad(error, argnums=(0, 1))(members[i], actions)
            latent = latent - rate * slope * (1.0 - actions**2)
        return jax.block_until_ready(latent)

    def update(self, member: Arrays, window: tuple[Any, ...], rate: float) -> Arrays:
        """The member after a step down the error of one window: present state, actions, rewards, states."""
        present, actions, rewards, states = window

        def error(member: Arrays) -> Any:
            found = self.predict(member, present, actions)
            return jnp.square(found[0] - rewards).mean() + jnp.square(found[1] - states).mean()

        slopes = jax.grad(error)(member)
        return jax.block_until_ready(jax.tree.map(lambda w, slope: w - rate * slope, member, slopes))


class Torch:
    """PyTorch, its own recurrent network over the prefix; weights are kept as it has them, ``[out, in]``."""

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def member(self, arrays: Arrays) -> Any:
        """A module with these weights."""
        torch, d = self.torch, arrays["embed_action"].shape[1]
        net = torch.nn.Module()
        net.gru = torch.nn.GRU(d, d, len(arrays["input_weights"]), bias=False, batch_first=True)
        for layer in range(len(arrays["input_weights"])):
            for ours, theirs in RECURRENT.items():
                getattr(net.gru, f"{theirs}_l{layer}").data = self.array(arrays[ours][layer].T)
        for name in LINEAR:
            linear = torch.nn.Linear(*arrays[name].shape, bias=False)
            linear.weight.data = self.array(arrays[name].T)
            setattr(net, name, linear)
        return net

    def array(self, x: Any) -> Any:
        """A tensor."""
        return self.torch.tensor(np.array(x, np.float32))

    def predict(self, net: Any, present: Any, actions: Any) -> tuple[Any, Any]:
        """Rewards ``[1, T, R]`` and states ``[1, T, S]`` along actions ``[1, T, A]``, each state fed back."""
        torch = self.torch
        state, tokens, rewards, states = present, [], [], []
        for t in range(actions.shape[1]):
            tokens.append(torch.tanh(net.embed_state(state) + net.embed_action(actions[:, t])))
            feature = net.gru(torch.stack(tokens, dim=1))[0][:, -1]
            state = torch.tanh(net.state_head(feature))
            rewards.append(torch.tanh(net.reward_head(feature)))
            states.append(state)
        return torch.stack(rewards, dim=1), torch.stack(states, dim=1)

    def plan(self, nets: list[Any], draws: list[int], present: Any, start: Any, rate: float) -> Any:
        """See `Eager.plan`."""
        present, latent = self.array(present)[None], self.array(start)[None]
        for i in draws:
            actions = self.torch.tanh(latent).requires_grad_()
            nets[i].zero_grad()
            self.torch.square(self.predict(nets[i], present, actions)[0] - 1.0).mean().backward()
            latent = latent - rate * actions.grad * (1.0 - actions.detach() ** 2)
        return latent[0].numpy()

    def update(self, net: Any, window: tuple[Any, ...], rate: float) -> Arrays:
        """See `Eager.update`; the module itself is changed."""
        present, actions, rewards, states = (self.array(x)[None] for x in window)
        optimizer = self.torch.optim.SGD(net.parameters(), lr=rate)
        optimizer.zero_grad()
        found = self.predict(net, present, actions)
        error = self.torch.square(found[0] - rewards).mean() + self.torch.square(found[1] - states).mean()
        error.backward()
        optimizer.step()
        return self.arrays(net)

    def arrays(self, net: Any) -> Arrays:
        """The weights of a module, as `weights` names and stores them."""
        found = {name: getattr(net, name).weight for name in LINEAR}
        for ours, theirs in RECURRENT.items():
            layers = [getattr(net.gru, f"{theirs}_l{layer}").T for layer in range(net.gru.num_layers)]
            found[ours] = self.torch.stack(layers)
        return {name: (x if name in RECURRENT else x.T).detach().numpy().copy() for name, x in found.items()}


def case(config: rgrl.RGRLConfig) -> tuple[Any, ...]:
    """A key, a present state ``[S]``, a start ``[T, A]``, the members that will be drawn, and a window to learn."""
    codec, draw = rgrl.build(config).codec, np.random.default_rng(0).uniform
    key, horizon = jax.random.key(1), config.planner.horizon
    present, start = (
        draw(-1, 1, shape).astype(np.float32) for shape in (codec.state_size, (horizon, codec.action_size))
    )
    shapes = ((horizon, size) for size in (codec.action_size, codec.reward_size, codec.state_size))
    window = (present, *(draw(-1, 1, shape).astype(np.float32) for shape in shapes))
    draws = [int(i) for i in ensemble.draw(key, draw_ensemble(config), (config.planner.iterations,))]
    return key, present, start, draws, window


def library(config: rgrl.RGRLConfig) -> tuple[Any, Arrays]:
    """The plan of `case` by `rgrl_jax.plan`, and the first member after a step on its window by ``jax.grad``."""
    key, present, start, _, (_, actions, rewards, states) = jax.tree.map(jnp.asarray, case(config))
    params, model = draw_ensemble(config), rgrl.build(config).model
    empty = History(jnp.zeros((0, len(present))), jnp.zeros((0, actions.shape[1])))

    def apply(member: Any, state: jax.Array, actions: jax.Array) -> ModelOutput:
        return model.apply(member, model.encode_history(member, empty), state, actions)

    def error(member: Any) -> jax.Array:
        found = apply(member, present, actions)
        return jnp.square(found.reward - rewards).mean() + jnp.square(found.state - states).mean()

    settings = {
        "iterations": config.planner.iterations,
        "optimizer": optax.sgd(config.planner.lr),
        "loss_fn": mean_error,
    }
    latent = jax.jit(lambda: rgrl.plan(key, params, apply, present, start, **settings).latent)()
    first = jax.tree.map(lambda x: x[0], params)
    learnt = jax.tree.map(lambda w, slope: w - RATE * slope, first, jax.jit(jax.grad(error))(first))["params"]
    return latent, learnt["core"] | {name: learnt[name] for name in LINEAR}


def check(config: rgrl.RGRLConfig, loop: Any, members: list[Any]) -> None:
    """Fails unless a loop plans and learns as the library does, to a relative 1e-4."""
    _, present, start, draws, window = case(config)
    latent, learnt = library(config)
    found = loop.plan(members, draws, present, start, config.planner.lr), loop.update(members[0], window, RATE)
    for ours, theirs in zip(jax.tree.leaves((latent, learnt)), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)


def measure_loop(
    config: rgrl.RGRLConfig, loop: Any, members: list[Any], iterations: int, repeats: int
) -> dict[str, float]:
    """Environment steps planned, and windows learnt by a member, per second; planning from a few iterations."""
    few = config.replace_at("planner.iterations", iterations)
    check(few, loop, members)
    _, present, start, draws, window = case(few)
    planning = timing.median_seconds(
        lambda: loop.plan(members, draws, present, start, config.planner.lr), seconds=0.0, least=repeats
    )
    learning = timing.median_seconds(lambda: loop.update(members[0], window, 0.0), seconds=0.0, least=repeats)
    return {"planning": iterations / config.planner.iterations / planning, "learning": 1.0 / learning}


def measure_torch(config: rgrl.RGRLConfig, repeats: int) -> dict[str, float]:
    """The same of PyTorch, on one thread or all, whichever is faster."""
    loop, arrays, found = Torch(), weights(config), []
    for threads in sorted({1, loop.torch.get_num_threads()}):
        loop.torch.set_num_threads(threads)
        members = [loop.member(jax.tree.map(lambda x, i=i: x[i], arrays)) for i in range(config.model.ensemble_size)]
        found.append(measure_loop(config, loop, members, 5, repeats))
    return {name: max(rates[name] for rates in found) for name in found[0]}


def measure_eager(config: rgrl.RGRLConfig, repeats: int) -> dict[str, float]:
    """The same of JAX without ``jit``."""
    loop, arrays = Eager(), weights(config)
    members = [jax.tree.map(lambda x, i=i: x[i], arrays) for i in range(config.model.ensemble_size)]
    return measure_loop(config, loop, members, 1, repeats)


def measure_library(config: rgrl.RGRLConfig, rows: int, seconds: float) -> dict[str, float]:
    """The same of this library, ``rows`` environments in lockstep and all members side by side."""
    case = {"rows": rows, "devices": 1, "planner": "xla", "precision": "float32"}
    plans = throughput.measure_planning(config, case, 1.0, seconds)
    updates = throughput.measure_learning(config.replace_at("learner.batch_size", 1), case, 1.0, seconds)
    rates = float(plans["env_steps_per_second"]), config.model.ensemble_size * float(updates["updates_per_second"])
    return dict(zip(("planning", "learning"), rates, strict=True))


def episode_seconds(rates: dict[str, float], rows: int, members: int) -> float:
    """Of `STEPS` planned in every row, and `UPDATES` of every member by one window each."""
    return rows * STEPS / rates["planning"] + UPDATES * members / rates["learning"]


def write_report(out: Path) -> None:
    """The rates, and by how much the library's are larger."""
    lines = ["# Beside the loops that it replaces", "", "Made by `python -m benchmarks.comparison`.", ""]
    names = ("implementation", "rows", "planned env steps per second", "times", "windows learnt per second", "times ",
             "seconds per episode", "times  ")  # fmt: skip
    rows = timing.read_table(out / "comparison.csv")
    for about in dict.fromkeys((r["date"], r["device"], r["machine"], r["jax"], r["torch"]) for r in rows):
        own = [r for r in rows if (r["date"], r["device"], r["machine"], r["jax"], r["torch"]) == about]
        slow = {r["rows"]: r for r in own if r["implementation"] == "pytorch"}
        shown = []
        for r in own:
            base = slow[r["rows"]]
            faster = [float(r[name]) / float(base[name]) for name in ("planning", "learning")]
            faster.append(float(base["episode_seconds"]) / float(r["episode_seconds"]))
            values = r["implementation"], r["rows"], r["planning"], r["learning"], r["episode_seconds"]
            cells = [*values[:3], f"{faster[0]:.3g}", values[3], f"{faster[1]:.3g}", values[4], f"{faster[2]:.3g}"]
            shown.append(dict(zip(names, cells, strict=True)))
        lines += [f"## {about[1]}", "", *report.markdown(names, shown), ""]
        lines += [f"{about[0]}; {about[2]}; jax {about[3]}, torch {about[4]}", ""]
    lines += [
        f"An episode is {STEPS} steps planned in every row and {UPDATES} updates of each of the five members by one "
        "window each, computed from the rates. Times: how much faster than PyTorch.",
        "",
    ]
    (out / "README.md").write_text("\n".join(lines))


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="environments")
    parser.add_argument("--repeats", type=int, default=5, help="of what a loop does")
    parser.add_argument("--seconds", type=float, default=2.0, help="of repeating what the library does")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    try:
        import torch
    except ImportError as error:
        raise SystemExit("benchmarks.comparison needs PyTorch: pip install -e '.[comparison]'") from error
    config = make_config()
    loops = {"pytorch": measure_torch(config, arguments.repeats), "jax, eager": measure_eager(config, 2)}
    about = timing.where() | {"torch": torch.__version__}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for rows in arguments.rows:
        found = loops | {"rgrl_jax": measure_library(config, rows, arguments.seconds)}
        for name, rates in found.items():
            whole = episode_seconds(rates, rows, config.model.ensemble_size)
            row = {"implementation": name, "rows": rows} | {k: f"{v:.4g}" for k, v in rates.items()}
            report.append_rows(arguments.out / "comparison.csv", [about | row | {"episode_seconds": f"{whole:.4g}"}])
            print(row, flush=True)
    write_report(arguments.out)


if __name__ == "__main__":
    main()
