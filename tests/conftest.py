"""Settings of all tests."""

import tiny  # noqa: F401  sets up how the tests compile, before anything does
