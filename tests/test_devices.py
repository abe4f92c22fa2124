"""Seeds spread over two virtual devices make the same numbers as on one."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import tiny

from rgrl_jax.experiment import jobs, programs

PROGRAM = """
import sys, time, jax, numpy as np, rgrl_jax as rgrl
sys.path.insert(0, {tests!r})
import tiny
from rgrl_jax.algos import base
from rgrl_jax.experiment import jobs
from rich.console import Console

assert jax.device_count() == 2
base._ALGORITHMS[tiny.ToyConfig] = tiny.TOY
keys, config = jax.random.split(jax.random.key(0), 4), tiny.ToyConfig(spread=1.0)
one, two = (rgrl.run(keys, config, devices=n) for n in (1, 2))
assert len(two[0].episode.sharding.device_set) == 2 and len(one[0].episode.sharding.device_set) == 1
for x, y in zip(*map(jax.tree.leaves, (one, two)), strict=True):
    np.testing.assert_array_equal(tiny.words(x), tiny.words(y))

options = {{"preset": "none", "seed": 0, "chunk": 2, "early_stop": True, "eval_episodes": 2}}
found = []
for devices in ("1", "all"):
    place = tiny.Path({out!r}) / devices
    several = options | {{"seeds": 2, "devices": devices}}
    jobs.train(Console(stderr=True), config, place, several, overwrite=False, start=time.perf_counter())
    found.append(jobs.resume(Console(stderr=True), place, 9, time.perf_counter()))
assert found[0]["evaluation"] == found[1]["evaluation"] and found[1]["episodes"] == 9
print("same")
"""


def test_two_devices_make_the_numbers_of_one(tmp_path):
    """In a process of its own, since devices are counted once: training, evaluation, checkpoint and resuming."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    code = PROGRAM.format(tests=str(Path(__file__).parent), out=str(tmp_path / "run"))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert done.stdout.endswith("same\n"), done.stderr[-3000:]


def test_devices_that_are_not_there_are_refused():
    state = tiny.toy_init(jax.random.key(0), tiny.ToyConfig())
    with pytest.raises(ValueError, match="devices = 3 must be in 1..1"):
        programs.spread(state, 3)


@pytest.mark.parametrize("word", ["0", "2", "many"])
def test_the_command_refuses_them_too(word, tmp_path):
    """Before it makes a folder."""
    options = {"preset": "none", "seed": 0, "seeds": 2, "devices": word, "chunk": 1, "eval_episodes": 1}
    with pytest.raises(ValueError, match=f"devices = '{word}' must be all or a number in 1..1"):
        jobs.train(None, tiny.ToyConfig(), tmp_path / "run", options, overwrite=False, start=0.0)
    assert not (tmp_path / "run").exists()
