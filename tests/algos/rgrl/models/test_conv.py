"""The convolutional embedding against loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax.algos.rgrl.models import History, ModelSpec, make
from rgrl_jax.algos.rgrl.models.conv import Conv


def convolve(x, kernel, bias):
    """A 3 x 3 convolution with zeros around, and relu, by loops."""
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            out[i, j] = np.tensordot(padded[i : i + 3, j : j + 3], kernel, 3) + bias
    return np.maximum(out, 0.0)


@pytest.mark.parametrize("image_shape", [(5, 3), (4, 6, 2)], ids=str)
def test_embedding_equals_its_twin(image_shape):
    """Of images with and without channels, and of the done block behind them; leading axes stay."""
    shape, rest = (*image_shape, 1)[:3], 2
    size = int(np.prod(shape)) + rest
    rng = np.random.default_rng(0)
    states = rng.choice([-1.0, 1.0], (3, size))
    conv = Conv(image_shape, width=7, channels=4)
    params = jax.tree.map(
        lambda x: jnp.float32(rng.normal(0, 0.3, x.shape)), jax.eval_shape(conv.init, jax.random.key(0), states[0])
    )
    out = jax.jit(conv.apply)(params, jnp.float32(states))
    weights = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"])
    for embedded, state in zip(out, states, strict=True):
        x = state[:-rest].reshape(shape)
        for layer in range(2):
            x = convolve(x, weights[f"conv_{layer}"]["kernel"], weights[f"conv_{layer}"]["bias"])
        twin = np.append(x.reshape(-1), state[-rest:]) @ weights["dense"]["kernel"]
        np.testing.assert_allclose(embedded, twin, rtol=1e-4, atol=1e-5)


def test_the_embedding_is_part_of_the_model():
    """Instead of the linear map; every pixel reaches the reward."""
    spec = ModelSpec(3 * 3 + 1, 2, 1, width=6, image_shape=(3, 3))
    model = make("mlp", spec)
    params = jax.jit(model.init)(jax.random.key(0))
    assert "embed_state" not in params["params"] and "conv" in params["params"]
    empty = History(jnp.zeros((0, 10)), jnp.zeros((0, 2)))

    def reward(state):
        return model.apply(params, model.encode_history(params, empty), state, jnp.zeros((1, 2))).reward[0, 0]

    slope = jax.jit(jax.grad(reward))(jnp.linspace(-1.0, 1.0, 10))
    assert np.all(np.asarray(slope) != 0)
