"""Cells gate by gate, their weights, and what they carry along."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_twins import random_params, run_cell

from rgrl_jax.algos.rgrl.models import History, ModelSpec, make
from rgrl_jax.algos.rgrl.models.recurrent import CELLS, Recurrent, draw_recurrent

S, A, R, D, H, T = 4, 3, 2, 5, 3, 4


@pytest.mark.parametrize("kind", CELLS)
def test_steps_equal_their_twin(kind):
    """Five steps of one cell with all of its biases: the hidden states."""
    rng, cell = np.random.default_rng(1), CELLS[kind]
    shapes = ((D, cell.gates * D), (D, cell.gates * D), (2, cell.gates * D))
    weights, tokens = [rng.normal(size=shape) for shape in shapes], rng.normal(size=(5, D))
    step = jax.jit(functools.partial(cell.step, *map(jnp.float32, weights)))
    carry, hidden = cell.initial((D,), jnp.float32), []
    for token in jnp.float32(tokens):
        carry = step(carry, token)
        hidden.append(cell.output(carry))
    np.testing.assert_allclose(hidden, run_cell(kind, *weights, tokens), atol=1e-5)


@pytest.mark.parametrize("kind", CELLS)
def test_an_empty_history_leaves_zeros(kind):
    """One hidden state per layer, of an LSTM a cell state beside it."""
    model = make(kind, ModelSpec(S, A, R, width=D, layers=2))
    memory = model.encode_history(
        random_params(model, dtype=np.float32), History(jnp.zeros((0, S)), jnp.zeros((0, A)))
    )
    leaves = jax.tree.leaves(memory)
    assert len(leaves) == (2 if kind == "lstm" else 1)
    assert all(x.shape == (2, D) and not np.any(x) for x in leaves)


def test_carrying_the_hidden_state_equals_running_the_prefix_again():
    """Steps moved from the plan into the history, with their predicted states, change no later prediction."""
    model = make("lstm", ModelSpec(S, A, R, width=D, layers=2))
    params, rng = random_params(model, dtype=np.float32), np.random.default_rng(0)
    past = rng.uniform(-1, 1, (H, S)).astype(np.float32), rng.uniform(-1, 1, (H, A)).astype(np.float32)
    present, actions = jnp.float32(rng.uniform(-1, 1, S)), jnp.float32(rng.uniform(-1, 1, (T, A)))
    run = jax.jit(lambda h, s, a: model.apply(params, model.encode_history(params, h), s, a))
    whole = run(History(*past), present, actions)
    states = np.concatenate([present[None], whole.state])
    for steps in (1, 3):
        moved = states[:steps], actions[:steps]
        longer = History(*(np.concatenate(x) for x in zip(past, moved, strict=True)))
        rest = run(longer, states[steps], actions[steps:])
        np.testing.assert_allclose(rest.reward, whole.reward[steps:], atol=1e-5)
        np.testing.assert_allclose(rest.state, whole.state[steps:], atol=1e-5)


def test_initial_weights_fill_their_range():
    """Uniform in -1/sqrt(d)..1/sqrt(d)."""
    weights = np.asarray(draw_recurrent(jax.random.key(0), (2, 64, 192)))
    assert 0.99 * 64**-0.5 < np.abs(weights).max() <= 64**-0.5
    assert weights.std() == pytest.approx(64**-0.5 / 3**0.5, rel=0.02)


@pytest.mark.parametrize("kind", CELLS)
def test_the_spec_reaches_the_cells(kind):
    """Width, layers and biases; weights of as many gates as the cell has, drawn by the recurrent law, biases 0."""
    spec = ModelSpec(S, A, R, width=D, layers=3, biases=False)
    assert make(kind, spec).module.core == Recurrent(kind, D, 3, biases=False)
    wide = (3, D, CELLS[kind].gates * D)
    core = jax.jit(make(kind, spec._replace(biases=True)).init)(jax.random.key(1))["params"]["core"]
    assert {name: x.shape for name, x in core.items()} == {
        "input_weights": wide,
        "hidden_weights": wide,
        "gate_bias": (3, 2, wide[-1]),
    }
    assert not np.any(core["gate_bias"])
    assert 0.8 * D**-0.5 < np.abs(core["input_weights"]).max() <= D**-0.5
