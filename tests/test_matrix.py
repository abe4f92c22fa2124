"""Smoke: every model with every planner on discrete actions, continuous actions and images."""

import jax
import numpy as np
import pytest
from tiny import TINY

import rgrl_jax as rgrl

KEY = jax.random.key(0, impl="unsafe_rbg")  # draws in one operation, which compiles in half the time
SIZES = {
    "width": 4,
    "horizon": 2,
    "plan_iterations": 1,
    "plan_samples": 3,
    "plan_elites": 2,
    "learn_iterations": 1,
    "learn_batch": 2,
    "max_steps": 9,
    "replay_capacity": 20,
    "max_windows": 20,
    "episodes": 2,
    "warmup_episodes": 0,
    "reset_every": 0,
}
SLOW = [pytest.param(model, marks=pytest.mark.slow) for model in ("rnn_td", "lstm_td")]  # each is like gru_td
KINDS = {"discrete": "CartPole-v1", "continuous": "Pendulum-v1", "image": "Catch-bsuite"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["rnn", "gru", "lstm", "td", "gru_td", "mlp", *SLOW])
def test_every_combination_runs(model, kind):
    """Two episodes with each planner: numbers are finite, plans move, and every member learns.

    Learning does not know the planner, so one run learns, and the other planners play with what it learnt.
    """
    encoder = "conv" if kind == "image" else "dense"
    config = rgrl.preset(KINDS[kind], **(TINY | SIZES | {"model": model, "encoder": encoder}))

    @jax.jit
    def run(key):
        start = rgrl.init(key, config)
        state, metrics = rgrl.train(None, config, start)
        others = [config.replace(planner=planner) for planner in ("shooting", "cem", "mppi")]
        return start.params, state.params, metrics, [rgrl.play(key, state, other, 2) for other in others]

    before, after, metrics, played = run(KEY)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((after, metrics, [p.info for p in played])))
    assert np.all(metrics.plan_movement > 0)
    for episode in played:
        assert np.all(episode.terminated | episode.truncated) and np.all(episode.length > 0)
        assert np.all(episode.info["plan_movement"] > 0)
    moved = jax.tree.map(lambda a, b: np.any(np.asarray(a != b), axis=tuple(range(1, a.ndim))), before, after)
    assert np.any(np.stack(jax.tree.leaves(moved)), axis=0).all()
