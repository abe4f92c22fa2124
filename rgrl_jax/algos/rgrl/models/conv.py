"""Embedding of states that hold an image, by convolutions."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from rgrl_jax.types import Array


class Conv3x3(nn.Module):
    """Convolves with a 3 x 3 kernel and zeros around, as one product of every pixel's neighbourhood with the kernel.

    Members have kernels of their own, and XLA runs a convolution with many kernels far slower than a product.
    """

    channels: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps ``[..., height, width, depth]`` to ``[..., height, width, channels]``."""
        height, width, depth = x.shape[-3:]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, depth, self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        padded = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
        around = [padded[..., i : i + height, j : j + width, :] for i in range(3) for j in range(3)]
        return jnp.concatenate(around, axis=-1) @ kernel.reshape(-1, self.channels) + bias


class Conv(nn.Module):
    """Embeds an image by two 3 x 3 convolutions and one linear map, which reads the other entries of the state too.

    Attributes:
      image_shape: ``(height, width)`` or ``(height, width, channels)`` of the leading entries of a state.
      width: ``d``, features of a token.
    """

    image_shape: tuple[int, ...]
    width: int
    channels: int = 16

    @nn.compact
    def __call__(self, state: Array) -> Array:
        """Maps states ``[..., S]`` to embeddings ``[..., d]``."""
        height, width, depth = (*self.image_shape, 1)[:3]
        image, rest = jnp.split(state, [height * width * depth], axis=-1)
        x = image.reshape(*state.shape[:-1], height, width, depth)
        for layer in range(2):
            x = jax.nn.relu(Conv3x3(self.channels, name=f"conv_{layer}")(x))
        x = jnp.concatenate([x.reshape(*state.shape[:-1], -1), rest], axis=-1)
        return nn.Dense(self.width, use_bias=False, name="dense")(x)
