"""Seeds, or the environments of a single run, spread over eight virtual devices make the same numbers as on one."""

import os

import jax
import pytest
import tiny

import rgrl_jax as rgrl
from rgrl_jax.experiment import commands, compile

PROGRAM = """
import sys
from pathlib import Path

import jax
import numpy as np
import rgrl_jax as rgrl
import tiny
from rgrl_jax.experiment import commands, inspection
from rich.console import Console

assert jax.device_count() == 8
tiny.register_toy()
key, config, console = jax.random.key(0), tiny.ToyConfig(spread=1.0), Console(stderr=True)
keys = jax.vmap(jax.random.key)(np.arange(16))
one = rgrl.run(keys, config, chunk=3)
assert len(one[0].episode.sharding.device_set) == 1
for devices, batch in ((8, 0), (2, 3)):
    several = rgrl.run(keys, config, chunk=3, devices=devices, seed_batch=batch)
    assert len(several[0].episode.sharding.device_set) == devices
    tiny.assert_same(several, one)

sizes = {"explore.warmup_episodes": 0, "model.kind": "mlp", "planner.horizon": 2, "learner.batch_size": 8}
agent = tiny.tiny_config(episodes=1, num_envs=8, **sizes)
alone, together = (rgrl.run(key, agent, devices=n) for n in (1, 8))  # shares environments and windows
assert len(together[0].episode.sharding.device_set) == 8 and together[0].episode.is_fully_replicated
for x, y in zip(*(jax.tree.leaves((state.params, metrics)) for state, metrics in (alone, together)), strict=True):
    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)

found = []
for seeds in (8, 1):
    place = Path(sys.argv[1]) / str(seeds)
    options = commands.Options(seeds=seeds, devices="all", chunk=6, early_stop=False, eval_episodes=3)
    commands.train(console, config, place, options)
    found.append(commands.resume(console, place, 9))
assert found[1]["evaluation"]["returns"] == found[0]["evaluation"]["returns"][0] and found[0]["episodes"] == 9
again = inspection.evaluate(console, place, 5, 0)
state, _ = rgrl.run(key, config.replace(episodes=9), chunk=9)
assert again["returns"] == rgrl.evaluate(key, state, config, 5).tolist()
print("same")
"""


def test_eight_devices_make_the_numbers_of_one(tmp_path):
    """In a process of its own, since devices are counted once: training, evaluation, checkpoint and resuming."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    child = tiny.start_process("-c", PROGRAM, tmp_path, XLA_FLAGS=flags)
    out, err = child.communicate(timeout=300)
    assert out.endswith("same\n"), err[-3000:]


@pytest.mark.parametrize("seed_batch, batches", [(0, [5, 3, 2, 1]), (2, [2]), (9, [5])])
def test_seeds_that_do_not_fit_at_once_run_in_batches(toy, seed_batch, batches, monkeypatch):
    """In halves until they fit; same numbers."""
    tried = []
    compile_seeds = compile._compile_seeds

    def watched(function, arguments, sharding, batch):
        tried.append(batch)
        return compile_seeds(function, arguments, sharding, batch)

    config = toy.replace(episodes=2)
    keys = jax.random.split(jax.random.key(0), 5)
    whole = rgrl.run(keys, config, chunk=2)
    monkeypatch.setattr(compile, "_compile_seeds", watched)
    monkeypatch.setattr(compile, "spare_memory", lambda: -1)
    parts = rgrl.run(keys, config, chunk=2, seed_batch=seed_batch)
    assert tried == batches
    tiny.assert_same(parts, whole)


def test_devices_that_are_not_there_are_refused(toy):
    """In one sentence that says how many there are."""
    with pytest.raises(ValueError, match="devices = 3 must be in 1..1"):
        compile.place(tiny.toy_init(jax.random.key(0), toy), toy, 3)


@pytest.mark.parametrize(
    "config, seeds, sentence",
    [
        (rgrl.RGRLConfig(), 4, "devices = 3 must divide the number of seeds, 4"),
        (rgrl.RGRLConfig(num_envs=4), None, "devices = 3 must divide num_envs = 4 of a single run"),
        (rgrl.RGRLConfig(num_envs=3), None, "devices = 3 must divide learner.batch_size = 64 of a single run"),
        (
            rgrl.DDPGConfig(env_id="Pendulum-v1"),
            None,
            "devices = 3 cannot share a single run of 'ddpg'; only several seeds are spread",
        ),
        (
            rgrl.RGRLConfig(env_id="Hosted", num_envs=3),
            None,
            "devices = 3 cannot share a single run in Hosted, which lives on the host; only several seeds are spread",
        ),
    ],
)
def test_what_cannot_be_spread_is_refused(config, seeds, sentence, monkeypatch):
    """In one sentence that names what does not divide."""
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    with tiny.hosted("CartPole-v1", 5), pytest.raises(ValueError) as error:
        compile.check_devices(config, seeds, 3)
    assert str(error.value) == sentence


@pytest.mark.parametrize("word", ["0", "2", "many"])
def test_the_command_refuses_them_too(toy, word, tmp_path):
    """Before it makes a folder."""
    options = commands.Options(seeds=2, devices=word)
    with pytest.raises(ValueError, match=f"devices = '{word}' must be all or a number in 1..1"):
        commands.train(None, toy, tmp_path / "run", options)
    assert not (tmp_path / "run").exists()
