"""How exact matrix products are: of float32 numbers, the device may round what it multiplies to gain speed."""

from __future__ import annotations

import contextlib

import jax

PRECISIONS: dict[str, str | None] = {
    "default": None,
    "float32": "highest",
    "tf32": "tensorfloat32",
    "bf16": "BF16_BF16_F32",
}
"""What jax calls them; sums are in float32 in all of them."""


def matmul_precision(name: str) -> contextlib.AbstractContextManager[object]:
    """A context in which products are traced with a precision; ``"default"`` leaves it as it is."""
    return contextlib.nullcontext() if name == "default" else jax.default_matmul_precision(PRECISIONS[name])
