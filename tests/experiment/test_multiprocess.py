"""Two processes that train together make the numbers of one, and leave the same run folder."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from rgrl_jax.experiment import cli, processes
from rgrl_jax.experiment.folder import read_metrics

PROGRAM = """
import sys, time
from rgrl_jax.experiment import processes
processes.join(*sys.argv[2:])
import jax, tiny
from pathlib import Path
from rgrl_jax.algos import base
from rgrl_jax.experiment import jobs
from rich.console import Console

assert jax.process_count() == int(sys.argv[3]) and jax.device_count() == 2
base._ALGORITHMS[tiny.ToyConfig] = tiny.TOY
console = Console(stderr=True, quiet=not processes.is_first())
options = {"preset": "none", "seed": 0, "chunk": 2, "early_stop": True, "eval_episodes": 3, "seed_batch": 0}
for seeds in (1, 2):
    place = Path(sys.argv[1]) / str(seeds)
    given = options | {"seeds": seeds, "devices": "all"}
    jobs.train(console, tiny.ToyConfig(spread=1.0), place, given, overwrite=False, start=time.perf_counter())
    answer = jobs.resume(console, place, 9, time.perf_counter())
    print(answer["episodes"], answer["evaluation"]["returns"])
try:
    jobs.train(console, tiny.ToyConfig(), place, given, overwrite=False, start=time.perf_counter())
except FileExistsError:
    print("refused")
"""


def _free_port():
    with socket.socket() as door:
        door.bind(("localhost", 0))
        return door.getsockname()[1]


def _start(words, devices):
    flags = os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={devices}"
    path = os.pathsep.join([str(Path(tiny.__file__).parent), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": path}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *words], env=env, text=True, **pipes)


def _together(words):
    """What two processes of one device each say, which are given all the same words and who they are."""
    place = f"localhost:{_free_port()}"
    pair = [_start(words(place, str(i)), 1) for i in (0, 1)]
    said = [one.communicate(timeout=300) for one in pair]
    assert [one.returncode for one in pair] == [0, 0], said[0][1][-3000:] + said[1][1][-3000:]
    return said


@pytest.mark.slow
def test_two_processes_make_the_run_of_one(tmp_path):
    """A single run that shares its rows and two seeds: trained, resumed, evaluated; and an error is that of both."""
    alone = _start(["-c", PROGRAM.replace("processes.join", "#"), str(tmp_path / "one"), "", "1", "0"], 2)
    whole = alone.communicate(timeout=300)
    assert alone.returncode == 0, whole[1][-3000:]
    said = _together(lambda place, i: ["-c", PROGRAM, str(tmp_path / "two"), place, "2", i])
    lines = [[line for line in out.splitlines() if "Gloo" not in line] for out, _ in (*said, whole)]
    assert lines[0] == lines[1] == lines[2] and lines[0][-1] == "refused"
    for seeds in ("1", "2"):
        one, two = tmp_path / "one" / seeds, tmp_path / "two" / seeds
        assert (one / "metrics.csv").read_text() == (two / "metrics.csv").read_text()
        assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in two.iterdir())


@pytest.mark.slow
def test_the_command_runs_on_two_processes(tmp_path):
    """``rgrl train`` of an agent that shares its environments; one process reads its checkpoint and plays alike."""
    sizes = [*tiny.ARGUMENTS, "--num-envs", "2", "--episodes", "2", "--eval-episodes", "4", "--no-early-stop"]
    train = ["-m", "rgrl_jax", "train", "CartPole-v1", *sizes, "--json"]
    folder = tmp_path / "two"

    def words(place, i):
        there = ["--out", str(folder), "--devices", "all", "--coordinator", place]
        return [*train, *there, "--processes", "2", "--process", i]

    (told, _), (silent, _) = _together(words)
    assert "{" not in silent
    together = json.loads(told[told.index("{") :])
    alone = _start([*train, "--out", str(tmp_path / "one")], 1)
    summary = json.loads(alone.communicate(timeout=300)[0])
    assert together["evaluation"]["returns"] == summary["evaluation"]["returns"]
    for x, y in zip(*(dataclasses.astuple(read_metrics(tmp_path / name)) for name in ("one", "two")), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    back = _start(["-m", "rgrl_jax", "evaluate", str(folder), "--episodes", "4", "--json"], 1)
    assert len(json.loads(back.communicate(timeout=300)[0])["returns"]) == 4


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("here", "2", "0"), "coordinator = 'here' must be HOST:PORT or auto"),
        (("here:1", "none", "0"), "processes = 'none' must be a number of at least 1"),
        (("here:1", "2", "2"), "process = '2' must be a number in 0..1"),
    ],
)
def test_what_is_no_process_is_refused(words, sentence, capsys):
    """In one sentence, before anything else is looked at."""
    with pytest.raises(ValueError) as error:
        processes.join(*words)
    assert str(error.value) == sentence
    place, count, index = words
    assert cli.main(["train", "Nowhere", f"--coordinator={place}", "--processes", count, "--process", index]) == 2
    assert sentence in capsys.readouterr().err


def test_importing_the_package_makes_no_array():
    """Or else processes could not join, here or in a script of one's own."""
    code = "import rgrl_jax, rgrl_jax.experiment.cli; from jax._src import xla_bridge as x; print(x._backends)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "{}\n", done.stdout + done.stderr


def test_one_process_alone_does_everything_itself():
    """Nothing to wait for."""
    done = []
    processes.first_alone(lambda: done.append(1))
    assert done and processes.is_first() and processes.least(3.5) == 3.5
    with pytest.raises(FileExistsError, match="there"):
        processes.first_alone(lambda: _fail())


def _fail():
    raise FileExistsError("something is there")
