"""The tokens that a feed-forward model reads; `test_sequence_model` compares its numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_twins import random_params

from rgrl_jax.algos.rgrl.models import History, ModelSpec, make
from rgrl_jax.algos.rgrl.models.mlp import MLP

S, A, T = 3, 2, 5


@pytest.mark.parametrize("history", [0, 1, 2])
def test_a_feature_follows_from_the_last_few_tokens(history):
    """With true states an action changes its own reward and the next ``H``; what came before the history, nothing."""
    model = make("mlp", ModelSpec(S, A, 1, width=6, layers=2, history_length=history))
    params, rng = random_params(model, dtype=np.float32), np.random.default_rng(0)
    steps = history + 2
    past = History(jnp.float32(rng.normal(size=(steps, S))), jnp.float32(rng.normal(size=(steps, A))))
    present, actions, states = (jnp.float32(rng.normal(size=size)) for size in (S, (T, A), (T, S)))
    run = jax.jit(lambda h, a: model.apply(params, model.encode_history(params, h), present, a, states).reward[:, 0])
    whole = np.asarray(run(past, actions))
    for step in range(T):
        other = np.asarray(run(past, actions.at[step].add(0.5)))
        assert np.flatnonzero(other != whole).tolist() == list(range(step, min(step + history + 1, T)))
    for step in range(steps):
        other = np.asarray(run(past._replace(actions=past.actions.at[step].add(0.5)), actions))
        reached = [t for t in range(T) if steps - step + t <= history]
        assert np.flatnonzero(other != whole).tolist() == reached


def test_the_memory_is_the_last_tokens():
    """Zeros at first, as many as are read; reading keeps the newest, and needs no room."""
    core = MLP(4, 1, history=2)
    params = core.init(jax.random.key(0), method="initial_state")
    memory = core.apply(params, method="initial_state")
    assert memory.shape == (2, 4) and not np.any(memory)
    assert core.apply(params, memory, 7, method="reserve") is memory
    tokens = jnp.arange(12.0).reshape(3, 4)
    memory, features = core.apply(params, memory, tokens, method="scan")
    np.testing.assert_array_equal(memory, tokens[1:])
    assert features.shape == (3, 4)


def test_the_spec_reaches_the_layers():
    """Sizes, history and biases."""
    spec = ModelSpec(S, A, 1, width=6, layers=2, history_length=3, biases=False)
    assert make("mlp", spec).module.core == MLP(6, 2, 3, biases=False)
    shapes = jax.eval_shape(make("mlp", spec).init, jax.random.key(0))["params"]["core"]
    assert {name: x.shape for name, x in shapes.items()} == {"dense": (2, 6, 6), "past": (18, 6)}
