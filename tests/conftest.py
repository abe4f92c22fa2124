"""Settings of all tests."""

import jax
import pytest
import tiny  # noqa: F401  sets up how the tests compile, before anything does


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Drops what a file of tests compiled: every program holds memory maps, of which Linux allows 65,530."""
    yield
    jax.clear_caches()
