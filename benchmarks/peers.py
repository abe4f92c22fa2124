"""Other agents on the same tasks, measured here: random actions, and model-free ones of stable-baselines3.

    pip install '.[peers]'
    python -m benchmarks.peers --envs CartPole-v1 --seeds 10        # random and the fitting model-free agent
    python -m benchmarks.peers --envs Pendulum-v1 --agents sac --steps 10000

Random shooting, CEM and MPPI on the same ensemble are settings of `benchmarks.learning`. The model-free agents run on
Gymnasium's environment of the same name with the hyperparameters of rl-baselines3-zoo, are evaluated over 10
deterministic episodes after every so many steps, and add ``sb3_dqn.csv`` or ``sb3_sac.csv`` to the folder of their
environment in ``benchmarks/results/learning``. Finished seeds are not run again.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import rgrl_jax as rgrl
from benchmarks import report
from benchmarks.learning import EVALUATION_EPISODES, RESULTS
from benchmarks.machine import describe_run

# Hyperparameters of rl-baselines3-zoo's hyperparams/dqn.yml and sac.yml, as data.
SB3: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "agent": "dqn",
        "steps": 50_000,
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
    "Acrobot-v1": {
        "agent": "dqn",
        "steps": 100_000,
        "learning_rate": 6.3e-4,
        "batch_size": 128,
        "buffer_size": 50_000,
        "learning_starts": 0,
        "gamma": 0.99,
        "target_update_interval": 250,
        "train_freq": 4,
        "gradient_steps": -1,
        "exploration_fraction": 0.12,
        "exploration_final_eps": 0.1,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
    "MountainCar-v0": {
        "agent": "dqn",
        "steps": 120_000,
        "learning_rate": 4e-3,
        "batch_size": 128,
        "buffer_size": 10_000,
        "learning_starts": 1000,
        "gamma": 0.98,
        "target_update_interval": 600,
        "train_freq": 16,
        "gradient_steps": 8,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.07,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
    "Pendulum-v1": {"agent": "sac", "steps": 20_000, "learning_rate": 1e-3},
}


@functools.cache
def _random_program(env_id: str, episodes: int) -> Callable[[Any], Any]:
    """``key -> metrics`` of uniform actions, compiled once, or on the host."""
    smallest = {
        "model.kind": "rnn",
        "model.width": 4,
        "model.ensemble_size": 1,
        "planner.horizon": 1,
        "model.unroll": 1,
        "learner.updates_per_episode": 1,
    }
    config = rgrl.RGRLConfig(env_id=env_id, episodes=episodes)
    for path, value in ({"explore.warmup_episodes": episodes} | smallest).items():
        config = config.replace_at(path, value)
    config.validate()
    if config.spec.host is not None:
        return lambda key: rgrl.run(key, config, chunk=episodes)[1]
    return jax.jit(lambda key: rgrl.train(key, config)[1]).lower(jax.random.key(0)).compile()  # type: ignore[no-any-return]


def random_rows(env_id: str, seed: int, episodes: int = 100) -> list[dict[str, Any]]:
    """One row: uniform actions, ``episodes`` episodes."""
    program = _random_program(env_id, episodes)
    start = time.perf_counter()
    metrics = jax.block_until_ready(program(jax.random.key(seed)))
    seconds = round(time.perf_counter() - start, 2)
    mean = round(float(np.mean(metrics.episode_return)), 4)
    values = (env_id, "random", seed, episodes, int(metrics.env_steps[-1]), mean, mean, seconds)
    return [dict(zip(report.COLUMNS, values, strict=True))]


def model_free_rows(env_id: str, seed: int, steps: int, every: int) -> list[dict[str, Any]]:
    """Trains an agent of stable-baselines3; a row after every ``every`` environment steps."""
    import gymnasium
    import stable_baselines3
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    settings = {name: value for name, value in SB3[env_id].items() if name not in ("agent", "steps")}
    kind = SB3[env_id]["agent"]
    env, test = Monitor(gymnasium.make(env_id)), Monitor(gymnasium.make(env_id))
    test.reset(seed=seed + 1_000_000)
    agent = getattr(stable_baselines3, kind.upper())("MlpPolicy", env, seed=seed, device="cpu", **settings)
    rows: list[dict[str, Any]] = []

    class Evaluate(stable_baselines3.common.callbacks.BaseCallback):  # type: ignore[misc,name-defined]
        def _on_training_start(self) -> None:
            self.seconds, self.last = 0.0, time.perf_counter()

        def _on_step(self) -> bool:
            if self.num_timesteps % every == 0:
                self.seconds += time.perf_counter() - self.last
                mean, _ = evaluate_policy(agent, test, n_eval_episodes=EVALUATION_EPISODES, deterministic=True)
                past = env.get_episode_rewards()
                values = (
                    env_id,
                    f"sb3_{kind}",
                    seed,
                    len(past),
                    self.num_timesteps,
                    round(float(past[-1]), 4) if past else float("nan"),
                    round(float(mean), 4),
                    round(self.seconds, 2),
                )
                rows.append(dict(zip(report.COLUMNS, values, strict=True)))
                self.last = time.perf_counter()
            return True

    agent.learn(steps, callback=Evaluate())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", default=["CartPole-v1"], metavar="ENV")
    parser.add_argument("--agents", nargs="+", choices=("random", "dqn", "sac"), default=("random", "dqn", "sac"))
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 0 on")
    parser.add_argument("--steps", type=int, help="environment steps; by default those of rl-baselines3-zoo")
    parser.add_argument("--every", type=int, default=500, help="environment steps between evaluations")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    for env_id in given.envs:
        kinds = ["random"] if "random" in given.agents else []
        kinds += [SB3[env_id]["agent"]] if SB3.get(env_id, {}).get("agent") in given.agents else []
        for kind in kinds:
            setting = kind if kind == "random" else f"sb3_{kind}"
            path = report.path_of(given.out, env_id, setting)
            path.parent.mkdir(parents=True, exist_ok=True)
            done = {row["seed"] for row in report.read_rows(path)}
            for seed in [seed for seed in range(given.seeds) if seed not in done]:
                steps = given.steps or SB3.get(env_id, {}).get("steps", 0)
                rows = (
                    random_rows(env_id, seed)
                    if kind == "random"
                    else model_free_rows(env_id, seed, steps, given.every)
                )
                report.append_rows(path, rows)
                print(f"{env_id} {setting} seed {seed}: last {rows[-1]['eval_return']}", flush=True)
            _describe(path.with_suffix(".json"), {} if kind == "random" else SB3[env_id])
    report.write_report(given.out)


def _describe(path: Path, settings: dict[str, Any]) -> None:
    names = ("jax", "stable-baselines3", "gymnasium", "torch") if settings else ("jax",)
    path.write_text(json.dumps(describe_run(*names) | {"config": settings}, indent=1) + "\n")


if __name__ == "__main__":
    main()
