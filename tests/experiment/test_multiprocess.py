"""Two processes that train together make the numbers of one, and leave the same run folder."""

import json
import os
import socket

import numpy as np
import pytest
import tiny

from rgrl_jax.experiment import cli, multiprocess
from rgrl_jax.experiment.run_folder import read_metrics

PROGRAM = """
import sys
from rgrl_jax.experiment import multiprocess
if sys.argv[2]:
    multiprocess.initialize(sys.argv[2], 2, int(sys.argv[3]))
import jax, tiny
from pathlib import Path
from rgrl_jax.experiment import commands
from rich.console import Console

assert jax.device_count() == 2
tiny.register_toy()
console = Console(stderr=True, quiet=not multiprocess.is_first())
for seeds in (1, 2):
    place = Path(sys.argv[1]) / str(seeds)
    options = commands.Options(seeds=seeds, devices="all", chunk=2, eval_episodes=3)
    commands.train(console, tiny.ToyConfig(spread=1.0), place, options)
    answer = commands.resume(console, place, 9)
    print(answer["episodes"], answer["evaluation"]["returns"])
try:
    commands.train(console, tiny.ToyConfig(), place, options)
except FileExistsError:
    print("refused")
"""


def _free_port():
    with socket.socket() as door:
        door.bind(("localhost", 0))
        return door.getsockname()[1]


def _start(words, devices):
    flags = os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={devices}"
    return tiny.start_process(*words, XLA_FLAGS=flags)


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
    alone = _start(["-c", PROGRAM, tmp_path / "one", ""], 2)
    whole = alone.communicate(timeout=300)
    assert alone.returncode == 0, whole[1][-3000:]
    said = _together(lambda place, i: ["-c", PROGRAM, tmp_path / "two", place, i])
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
        there = ["--out", str(folder), "--devices", "all", "--coordinator-address", place]
        return [*train, *there, "--num-processes", "2", "--process-id", i]

    (told, _), (silent, _) = _together(words)
    assert "{" not in silent
    together = json.loads(told[told.index("{") :])
    alone = _start([*train, "--out", str(tmp_path / "one")], 1)
    summary = json.loads(alone.communicate(timeout=300)[0])
    assert together["evaluation"]["returns"] == summary["evaluation"]["returns"]
    ours, theirs = (read_metrics(tmp_path / name).columns() for name in ("two", "one"))
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    back = _start(["-m", "rgrl_jax", "evaluate", str(folder), "--episodes", "4", "--json"], 1)
    assert len(json.loads(back.communicate(timeout=300)[0])["returns"]) == 4


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("here", 2, 0), "coordinator_address = 'here' must be HOST:PORT or auto"),
        (("here:1", 2, 2), "process_id = 2 must be in 0..1"),
    ],
)
def test_what_is_no_process_is_refused(words, sentence, capsys):
    """In one sentence, before anything else is looked at."""
    with pytest.raises(ValueError) as error:
        multiprocess.initialize(*words)
    assert str(error.value) == sentence
    place, count, index = map(str, words)
    flags = [f"--coordinator-address={place}", "--num-processes", count, "--process-id", index]
    assert cli.main(["train", "CartPole-v1", "--max-steps", "0", *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_one_process_alone_does_everything_itself():
    """Nothing to wait for."""
    done = []
    multiprocess.first_alone(lambda: done.append(1))
    assert done and multiprocess.is_first() and multiprocess.least(3.5) == 3.5
    with pytest.raises(FileExistsError, match="there"):
        multiprocess.first_alone(lambda: _fail())


def _fail():
    raise FileExistsError("something is there")
