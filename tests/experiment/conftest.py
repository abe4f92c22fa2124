"""Fixtures of the tests of this folder."""

import pytest
import tiny

from rgrl_jax.experiment import cli


@pytest.fixture
def toy():
    """The config of the toy algorithm, which is registered while the test runs and compiles at once."""
    tiny.register_toy()
    yield tiny.ToyConfig()
    tiny.unregister_toy()


@pytest.fixture
def rgrl_command(capsys):
    """``rgrl_command(words...)`` runs one command in this process: exit code, standard output, standard error."""

    def call(*words):
        capsys.readouterr()
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call
