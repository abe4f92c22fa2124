"""Settings of all tests."""

import jax
import pytest
import tiny


def pytest_configure(config):
    """Decides how programs compile, before any does.

    XLA reads its flags when gymnax is imported, so that they reach workers and child processes but not this one; with
    no workers the children must go without as well.
    """
    alone = not getattr(config.option, "numprocesses", None)
    tiny.compile_quickly(exact=alone or config.option.markexpr == "exact")


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Drops what a file of tests compiled: every program holds memory maps, of which Linux allows 65,530."""
    yield
    jax.clear_caches()
