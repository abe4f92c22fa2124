"""The generator fills policies tile by tile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.policy_generators import twins

from rgrl_jax.algos.policy_generators import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.generator import generate, init_generator
from rgrl_jax.algos.policy_generators.policy import count_weights

KEY = jax.random.key(0)


@pytest.mark.parametrize("output_scale", [0.0, 2.0])
def test_the_generator_fills_a_policy_tile_by_tile(output_scale):
    sizes = (3, 4, 6, 2)
    layers = init_generator(KEY, sizes, twins.small(tile_size=2, embedding_size=3, generator_hidden=(5, 4)))
    assert [layer.embedding.shape for layer in layers] == [(1, 2, 3), (2, 3, 3), (3, 1, 3)]
    policy = jax.jit(lambda layers, command: generate(layers, command, sizes, output_scale))(layers, jnp.float32(0.7))
    assert policy.shape == (count_weights(sizes),)
    expected = twins.generate(twins.double(layers), sizes, 2, output_scale, 0.7)
    np.testing.assert_allclose(policy, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("inputs, outputs, weights", [(4, 1, 67_329), (8, 2, 68_610), (11, 3, 69_635)])
def test_published_sizes(inputs, outputs, weights):
    """Of policies, and of UDRLPG's generator."""
    sizes = (inputs, 256, 256, outputs)
    assert count_weights(sizes) == weights
    made = jax.eval_shape(lambda: init_generator(KEY, sizes, PolicyGeneratorConfig()))
    assert 2.2e6 < sum(x.size for x in jax.tree.leaves(made)) < 2.6e6
