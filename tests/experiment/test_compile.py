"""Seeds, or the environments of a single run, spread over eight virtual devices make the same numbers as on one."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

import rgrl_jax as rgrl
from rgrl_jax.algos import base
from rgrl_jax.experiment import jobs, programs

PROGRAM = """
import sys, time, jax, numpy as np, rgrl_jax as rgrl
sys.path.insert(0, {tests!r})
import tiny
from rgrl_jax.algos import base
from rgrl_jax.experiment import jobs
from rich.console import Console

assert jax.device_count() == 8
base._ALGORITHMS[tiny.ToyConfig] = tiny.TOY
keys, config = jax.random.split(jax.random.key(0), 16), tiny.ToyConfig(spread=1.0)
one = rgrl.run(keys, config)
assert len(one[0].episode.sharding.device_set) == 1
for devices, batch in ((8, 0), (8, 1), (2, 3)):
    several = rgrl.run(keys, config, devices=devices, seed_batch=batch)
    assert len(several[0].episode.sharding.device_set) == devices
    for x, y in zip(*map(jax.tree.leaves, (one, several)), strict=True):
        np.testing.assert_array_equal(tiny.words(x), tiny.words(y))
agent = tiny.tiny_config(episodes=2, num_envs=8, learn_batch=8)
seeds = [rgrl.run(keys[:8], agent, chunk=2, devices=n) for n in (1, 8)]
single = rgrl.run(keys[0], agent, chunk=2, devices=8)  # shares its environments
assert len(single[0].episode.sharding.device_set) == 8 and single[0].episode.is_fully_replicated
pairs = zip(*map(jax.tree.leaves, [(state.params, metrics) for state, metrics in (*seeds, single)]), strict=True)
for one, several, first in pairs:
    np.testing.assert_allclose(one, several, rtol=1e-4, atol=1e-5)  # products of eight seeds round otherwise
    np.testing.assert_allclose(one[0], first, rtol=1e-4, atol=1e-5)

options = {{"preset": "none", "seed": 0, "chunk": 2, "early_stop": True, "eval_episodes": 3, "seed_batch": 0}}
found = []
for seeds, devices in ((8, "1"), (8, "all"), (1, "all")):
    place = tiny.Path({out!r}) / f"{{seeds}} on {{devices}}"
    several = options | {{"seeds": seeds, "devices": devices}}
    jobs.train(Console(stderr=True), config, place, several, overwrite=False, start=time.perf_counter())
    found.append(jobs.resume(Console(stderr=True), place, 9, time.perf_counter()))
assert found[0]["evaluation"] == found[1]["evaluation"] and found[1]["episodes"] == 9
assert found[2]["evaluation"]["returns"] == found[0]["evaluation"]["returns"][0]
again = jobs.evaluate(Console(stderr=True), place, 5, 0)
state, _ = rgrl.run(jax.random.key(0), config.replace(episodes=9))
assert again["returns"] == rgrl.evaluate(jax.random.key(0), state, config, 5).tolist()
print("same")
"""


def test_eight_devices_make_the_numbers_of_one(tmp_path):
    """In a process of its own, since devices are counted once: training, evaluation, checkpoint and resuming."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    code = PROGRAM.format(tests=str(Path(__file__).parent), out=str(tmp_path / "run"))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert done.stdout.endswith("same\n"), done.stderr[-3000:]


@pytest.mark.parametrize("seed_batch, batches", [(0, [5, 3, 2, 1]), (2, [2]), (9, [5])])
def test_seeds_that_do_not_fit_at_once_run_in_batches(seed_batch, batches, monkeypatch):
    """In halves until they fit; same numbers."""
    monkeypatch.setitem(base._ALGORITHMS, tiny.ToyConfig, tiny.TOY)
    tried = []
    compile_seeds = programs._compile_seeds

    def watched(function, arguments, sharding, batch):
        tried.append(batch)
        return compile_seeds(function, arguments, sharding, batch)

    config = tiny.ToyConfig(spread=1.0, episodes=2)
    keys = jax.random.split(jax.random.key(0), 5)
    whole = rgrl.run(keys, config, chunk=2)
    monkeypatch.setattr(programs, "_compile_seeds", watched)
    monkeypatch.setattr(programs, "spare_memory", lambda: -1)
    parts = rgrl.run(keys, config, chunk=2, seed_batch=seed_batch)
    assert tried == batches
    for x, y in zip(*map(jax.tree.leaves, (whole, parts)), strict=True):
        np.testing.assert_array_equal(tiny.words(x), tiny.words(y))


def test_devices_that_are_not_there_are_refused():
    config = tiny.ToyConfig()
    state = tiny.toy_init(jax.random.key(0), config)
    with pytest.raises(ValueError, match="devices = 3 must be in 1..1"):
        programs.spread(state, config, 3)


@pytest.mark.parametrize(
    "config, seeds, sentence",
    [
        (rgrl.RGRLConfig("CartPole-v1"), 4, "devices = 3 must divide the number of seeds, 4"),
        (rgrl.RGRLConfig("CartPole-v1", num_envs=4), None, "devices = 3 must divide num_envs = 4 of a single run"),
        (
            rgrl.RGRLConfig("CartPole-v1", num_envs=3, learn_batch=64),
            None,
            "devices = 3 must divide learn_batch = 64 of a single run",
        ),
        (
            rgrl.DDPGConfig(env_id="Pendulum-v1", num_envs=3),
            None,
            "devices = 3 cannot share a single run of 'ddpg'; only several seeds are spread",
        ),
        (
            rgrl.RGRLConfig("Hosted", num_envs=3),
            None,
            "devices = 3 cannot share a single run in Hosted, which lives on the host; only several seeds are spread",
        ),
    ],
)
def test_what_cannot_be_spread_is_refused(config, seeds, sentence, monkeypatch):
    """In one sentence that names what does not divide."""
    tiny.register_hosted(monkeypatch, "CartPole-v1", 5)
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    with pytest.raises(ValueError) as error:
        programs.check_spread(config, seeds, 3)
    assert str(error.value) == sentence


@pytest.mark.parametrize("word", ["0", "2", "many"])
def test_the_command_refuses_them_too(word, tmp_path):
    """Before it makes a folder."""
    options = {"preset": "none", "seed": 0, "seeds": 2, "devices": word, "chunk": 1, "eval_episodes": 1}
    options["seed_batch"] = 0
    with pytest.raises(ValueError, match=f"devices = '{word}' must be all or a number in 1..1"):
        jobs.train(None, tiny.ToyConfig(), tmp_path / "run", options, overwrite=False, start=0.0)
    assert not (tmp_path / "run").exists()
