"""Settings of all tests."""

import jax
import pytest
import tiny


def pytest_configure(config):
    """Decides how programs compile, before any does.

    Workers and child processes inherit the flags of XLA; with no workers all go without.
    """
    alone = not getattr(config.option, "numprocesses", None)
    tiny.compile_quickly(exact=alone or config.option.markexpr == "exact")


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Drops what a file of tests compiled: every program holds memory maps, of which Linux allows 65,530."""
    yield
    jax.clear_caches()
