"""Positions, the cache and the settings of the transformer; `test_sequence_model` compares its numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_twins import random_params

from rgrl_jax.algos.rgrl.models import ModelSpec, make
from rgrl_jax.algos.rgrl.models.transformer import Decoder, sinusoid

D, LAYERS, HEADS = 6, 2, 3


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("width", [6, 7])
def test_positions(doubled, width):
    """Column by column from the formula, also of an odd width."""
    table = sinusoid(9, width, doubled)
    for row in range(9):
        for column in range(width):
            even = column - column % 2
            angle = row / 10000 ** ((2 if doubled else 1) * even / width)
            wanted = np.cos(angle) if column % 2 else np.sin(angle)
            assert table[row, column] == pytest.approx(wanted, abs=1e-12)


SPEC = ModelSpec(4, 3, 2, width=D, layers=LAYERS, heads=HEADS)


def _decoder(mixer="linear"):
    decoder = Decoder(D, LAYERS, HEADS, mixer)
    model = make("transformer" if mixer == "linear" else f"transformer_{mixer}", SPEC)
    return decoder, {"params": random_params(model, dtype=np.float32)["params"]["core"]}


@pytest.mark.parametrize("mixer", ["linear", "lstm"])
def test_tokens_read_in_any_portions_give_the_same(mixer):
    """All at once, or one by one and then the rest; and room that is not needed changes nothing."""
    decoder, params = _decoder(mixer)
    tokens = jnp.float32(np.random.default_rng(0).normal(size=(4, D)))

    def read(*portions, spare):
        memory = decoder.apply(params, decoder.apply(params, method="initial_state"), 4 + spare, method="reserve")
        features, start = [], 0
        for n in portions:
            memory, out = decoder.apply(params, memory, tokens[start : start + n], method="scan")
            features, start = [*features, out], start + n
        return jnp.concatenate(features), memory.count

    def all_ways():
        return read(4, spare=0), read(1, 1, 2, spare=5)

    (whole, _), (features, count) = jax.jit(all_ways)()
    np.testing.assert_allclose(features, whole, atol=1e-5)
    assert int(count) == 4


@pytest.mark.parametrize("mixer", ["linear", "rnn", "gru", "lstm"])
def test_the_cache_holds_every_layer_by_head(mixer):
    """Keys and values of ``[heads, rows, d / heads]``, and the carries of the four maps of a hybrid."""
    decoder, params = _decoder(mixer)
    empty = decoder.apply(params, method="initial_state")
    memory = decoder.apply(params, empty, 5, method="reserve")
    assert [x.shape for x in jax.tree.leaves(memory.rows)] == [(HEADS, 5, D // HEADS)] * 2 * LAYERS
    carries = [x.shape for x in jax.tree.leaves(memory.carry)]
    assert carries == [(LAYERS, 4, D)] * {"linear": 0, "lstm": 2}.get(mixer, 1)
    assert not any(np.any(x) for x in jax.tree.leaves(memory))


def test_the_spec_reaches_the_decoder():
    """Sizes and quirks, and weights of the shapes that they ask for."""
    quirks = {"biases": False, "doubled_positions": True, "linear_feed_forward": True}
    assert make("transformer", SPEC._replace(**quirks)).module.core == Decoder(D, LAYERS, HEADS, "linear", **quirks)
    assert make("transformer_gru", SPEC).module.core == Decoder(D, LAYERS, HEADS, "gru")
    few = jax.eval_shape(make("transformer", SPEC._replace(**quirks)).init, jax.random.key(0))["params"]["core"]
    assert set(few) == {"maps", "feed_in", "gain", "offset"} and few["feed_in"].shape == (LAYERS, D, D)
    many = jax.eval_shape(make("transformer", SPEC).init, jax.random.key(0))["params"]["core"]
    assert many["feed_in"].shape == (LAYERS, D, 4 * D) and many["feed_out"].shape == (LAYERS, 4 * D, D)
