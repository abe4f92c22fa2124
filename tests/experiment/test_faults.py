"""Runs that are killed, told to end, starved of disk or spoilt: nothing is lost, and all is told in one sentence."""

import contextlib
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from io import StringIO
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from rich.console import Console
from tiny import ToyConfig, assert_same, says, start_process

import rgrl_jax as rgrl
from rgrl_jax.callbacks import Callback, Checkpoint, CSVLog, StopOnSignal, TensorBoard
from rgrl_jax.experiment import callbacks, checkpoint, cli, commands, inspection, lock, run_folder
from rgrl_jax.experiment.commands import Options

KEY = jax.random.key(0)
QUIET = Console(quiet=True)
OPTIONS = Options(early_stop=False, eval_episodes=2)

pytestmark = pytest.mark.usefixtures("toy")


def train(place, config=None, **options):
    """What ``rgrl train`` does, with the toy algorithm."""
    config = ToyConfig() if config is None else config
    return commands.train(QUIET, config, place, dataclasses.replace(OPTIONS, **options))


def resume(place, episodes=None, console=QUIET):
    """What ``rgrl resume`` does."""
    return commands.resume(console, place, episodes)


def assert_whole(place, config=None):
    """The folder is that of a run that nothing happened to."""
    state, metrics = rgrl.run(KEY, ToyConfig() if config is None else config)
    assert_same(rgrl.load_run(place).state, state)
    back = run_folder.read_metrics(place)
    for name, values in metrics.columns().items():
        np.testing.assert_array_equal(back.columns()[name][0], values, err_msg=name)
    assert run_folder.read_summary(place)["episodes"] == int(state.episode)
    assert not (place / lock.LOCK).exists()


class At(Callback):
    """Does something after a given episode."""

    def __init__(self, episode, act):
        self.episode, self.act = episode, act

    def after_chunk(self, run):
        """Does it."""
        if run.episode == self.episode:
            self.act()


# Kills.

COMMAND = "import sys, tiny; tiny.register_toy(); from rgrl_jax.experiment import cli; sys.exit(cli.main())"


def start(place, cache, episodes):
    """A real ``rgrl train`` of the toy, or ``rgrl resume`` if there is something to go on from."""
    words = ["train", "Toy", "--algo", "toy", "--no-early-stop", "--eval-episodes", "2", "--chunk", "2"]
    words += ["--episodes", episodes, "--out", place]
    if (place / "config.json").exists():
        words = ["resume", place]
    kept = {"ENABLE_COMPILATION_CACHE": "True", "PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    kept |= {"COMPILATION_CACHE_DIR": str(cache)}
    return start_process("-c", COMMAND, *words, **{f"JAX_{name}": value for name, value in kept.items()})


def stage(place):
    """How far a run is, as its folder tells."""
    if (place / "summary.json").exists():
        return "ended"
    if (place / "curve.png").exists():
        return "evaluating"
    if list(place.glob("checkpoints/*.orbax-checkpoint-tmp*")):
        return "writing a checkpoint"
    if checkpoint.numbers(place):
        return "training"
    return "before a checkpoint" if (place / "config.json").exists() else "starting"


def traces(place):
    """All files of a run, and when they were written."""
    return {(path, path.stat().st_mtime_ns) for path in place.rglob("*") if path.name != lock.LOCK}


def wait_for(place, child, wanted):
    """Looks at a folder until its run is that far; whether it came to that before the process ended."""
    end = time.monotonic() + 300
    while child.poll() is None and time.monotonic() < end:
        if stage(place) == wanted:
            return True
        time.sleep(0.002)
    return False


def assert_equal_runs(one, other):
    """Equal tables, configs, returns of the evaluation and weights, to the last bit."""
    for name in ("metrics.csv", "config.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert run_folder.read_summary(one)["evaluation"] == run_folder.read_summary(other)["evaluation"]
    assert_same(rgrl.load_run(one).state, rgrl.load_run(other).state)
    names = [{path.name for path in place.iterdir()} - {lock.LOCK} for place in (one, other)]
    assert names[0] == names[1]


def finish(child):
    """Waits for a process and makes sure that it came to its end."""
    _, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    return err


def test_killed_at_every_stage(tmp_path):
    """One run, told to end, killed while it wrote a checkpoint, and killed before its summary."""
    whole, place, cache = tmp_path / "whole", tmp_path / "run", tmp_path / "cache"
    train(whole, ToyConfig(episodes=20), chunk=2)
    for wanted in ("training", "writing a checkpoint", "evaluating"):
        child = start(place, cache, 20)
        assert wait_for(place, child, wanted), child.communicate()[1]
        if wanted != "training":
            child.kill()
            child.wait()
            continue
        with pytest.raises(BlockingIOError) as error:
            resume(place)
        says(error, place, f"process {child.pid}", "wait until it ends")
        child.terminate()
        _, err = child.communicate(timeout=300)
        assert child.returncode == 128 + signal.SIGTERM, err
        done = checkpoint.numbers(place)[0]
        assert f"SIGTERM: ended, kept up to episode {done} of 20; go on with: rgrl resume {place}\n" in err
    resume(place)
    assert_equal_runs(place, whole)
    assert not list(place.rglob("*orbax-checkpoint-tmp*"))
    assert len(list(cache.glob("jit_advance-*"))) == 1  # a run that goes on compiles nothing anew


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    """Processes killed at 50 moments, drawn over the whole of a run; every one ends as if nothing had happened."""
    episodes, kills, runs, stages, draw = 60, 50, 0, Counter(), np.random.default_rng(0)
    whole, cache = tmp_path / "whole", tmp_path / "cache"
    finish(start(whole, cache, episodes))
    begun = time.monotonic()
    finish(start(tmp_path / "again", cache, episodes))
    duration = time.monotonic() - begun
    assert_equal_runs(tmp_path / "again", whole)
    place = tmp_path / "0"
    while sum(stages.values()) < kills:
        before, begun, child = traces(place), time.monotonic(), start(place, cache, episodes)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=draw.uniform(0.0, duration))
        if child.poll() is None:
            child.kill()
            child.communicate()
            reached = "starting" if traces(place) == before else stage(place)
            stages[reached] += 1
            print(f"kill {sum(stages.values())}: {reached}", flush=True)
        else:
            assert child.returncode == 0
            duration = min(duration, time.monotonic() - begun)
        if stage(place) == "ended":
            assert_equal_runs(place, whole)
            runs += 1
            place = tmp_path / str(runs)
    finish(start(place, cache, episodes))
    assert_equal_runs(place, whole)
    print(f"{kills} kills in {runs + 1} runs of {duration:.1f} s: {dict(stages)}")


# Signals.


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signal_saves_and_ends(tmp_path, monkeypatch, capsys, name):
    """The chunk in which a signal comes is finished and kept; the sentence says how to go on, which then is exact."""
    number = signal.Signals[name]
    listen = callbacks.StopOnSignal.after_chunk

    def interrupted(self, run):
        listen(self, run)
        if run.episode == 3:
            signal.raise_signal(number)

    usual = [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(cli.List, "call", lambda *_: train(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StopOnSignal, "after_chunk", interrupted)
        assert cli.main(["list"]) == 128 + number
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"{name}: ended, kept up to episode 3 of 6; go on with: rgrl resume {tmp_path / 'run'}"
    assert [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)] == usual
    assert checkpoint.numbers(tmp_path / "run")[0] == 3
    assert not run_folder.read_summary(tmp_path / "run")
    assert resume(tmp_path / "run")["episodes"] == 6
    assert_whole(tmp_path / "run")


@pytest.fixture
def interrupt():
    """Ctrl-C raises KeyboardInterrupt, whatever a library in the same process has made of it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.usefixtures("interrupt")
def test_second_signal_ends_at_once(tmp_path):
    """It does what it would have done without the callback; the chunk before is kept."""

    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    calls = [StopOnSignal(QUIET), At(3, twice), Checkpoint(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        rgrl.run(KEY, ToyConfig(), callbacks=calls)
    assert checkpoint.numbers(tmp_path)[0] == 2


def test_signal_before_anything_was_trained(tmp_path):
    """While the first program compiles: no chunk is trained, and the run can still be begun again."""

    class Early(Callback):
        def begin(self, run):
            signal.raise_signal(signal.SIGTERM)

    listener = StopOnSignal(QUIET)
    state, metrics = rgrl.run(KEY, ToyConfig(), callbacks=[listener, Early(), Checkpoint(tmp_path)])
    assert (int(state.episode), metrics.episode.shape, listener.received) == (0, (0,), signal.SIGTERM)
    assert not checkpoint.numbers(tmp_path)


def test_signal_outside_of_training(monkeypatch, capsys):
    """SIGTERM ends every command with a sentence and 143, and then does what it did before."""
    usual = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli.List, "call", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert cli.main(["list"]) == 143
    assert capsys.readouterr().err == "SIGTERM: ended; go on with: rgrl resume RUN\n"
    assert signal.getsignal(signal.SIGTERM) == usual


# What resume makes of a folder.


def test_resume_before_the_first_checkpoint(tmp_path):
    """A run that was killed while it compiled begins again, with its own seed."""
    place = tmp_path / "run"
    with pytest.raises(RuntimeError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.CSVLog, "after_chunk", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        train(place, seed=7)
    assert not checkpoint.numbers(place)
    resume(place)
    state, _ = rgrl.run(jax.random.key(7), ToyConfig())
    assert_same(rgrl.load_run(place).state, state)


def test_resume_after_the_last_checkpoint(tmp_path):
    """A run that was killed in its last evaluation gets its curve and its summary, and no more training."""
    answer = train(tmp_path / "run")
    for name in ("summary.json", "curve.png"):
        (tmp_path / "run" / name).unlink()
    later = resume(tmp_path / "run")
    assert (later["episodes"], later["evaluation"]) == (6, answer["evaluation"])
    assert_whole(tmp_path / "run")
    with pytest.raises(ValueError) as error:
        resume(tmp_path / "run")
    says(error, "episodes = 6", "6 already trained")


def test_resume_between_a_checkpoint_and_the_goal(tmp_path):
    """A run that was killed before it saw that its goal was met sees it when it goes on, and trains no more."""
    config, place = ToyConfig(gain=0.3), tmp_path / "run"
    whole = train(tmp_path / "whole", config, early_stop=True)
    assert whole["stopped"] and 1 < whole["episodes"] < 6
    with pytest.raises(RuntimeError), pytest.MonkeyPatch.context() as patch:
        goal = callbacks.StopAtGoal.after_chunk
        act = At(whole["episodes"], lambda: (_ for _ in ()).throw(RuntimeError("killed"))).after_chunk
        patch.setattr(callbacks.StopAtGoal, "after_chunk", lambda self, run: (act(run), goal(self, run)))
        train(place, config, early_stop=True)
    assert checkpoint.numbers(place)[0] == whole["episodes"]
    later = resume(place)
    for name in ("stopped", "episodes", "evaluation"):
        assert later[name] == whole[name]
    assert (place / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_train_where_a_run_was_killed_at_once(tmp_path):
    """What is left from before the config was written is no obstacle."""
    place = tmp_path / "run"
    (place / "checkpoints").mkdir(parents=True)
    for name in (lock.LOCK, "config.json.tmp"):
        (place / name).write_text("{")
    assert train(place)["episodes"] == 6
    assert_whole(place)


def test_resume_of_a_run_from_python(tmp_path):
    """A folder of `Checkpoint` alone does not say how its run was called; the sentence says how to go on."""
    rgrl.run(KEY, ToyConfig(episodes=2), callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(ValueError) as error:
        resume(tmp_path, 6)
    says(error, tmp_path / "config.json", "chunk", "rgrl_jax.load_run")


# Two at once.

HOLDER = """
import fcntl, json, os, platform, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(json.dumps({"pid": os.getpid(), "host": platform.node(), "mark": "other"}))
file.flush()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A trained folder that another process holds, and that process."""
    train(tmp_path / "run", ToyConfig(episodes=3))
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "run" / lock.LOCK)]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    yield tmp_path / "run", child
    child.kill()
    child.communicate()


def test_folder_in_use(held):
    """Nobody else trains there, by whichever way, nor replaces the run; it can still be looked at."""
    place, child = held
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    _, state, _ = rgrl.load_run(place)
    longer = ToyConfig(episodes=5)
    for act in (
        lambda: resume(place, 5),
        lambda: commands.train(QUIET, longer, place, OPTIONS, overwrite=True),
        lambda: rgrl.run(None, longer, state=state, callbacks=[CSVLog(place), Checkpoint(place)]),
    ):
        with pytest.raises(BlockingIOError) as error:
            act()
        says(error, repr(str(place)), f"in use by process {child.pid} on {os.uname().nodename}")
    assert inspection.evaluate(QUIET, place, 2, 0)["trained_episodes"] == 3
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_lock_of_a_dead_process(held):
    """It is in nobody's way, even though its file is still there."""
    place, child = held
    child.kill()
    child.wait()
    assert (place / lock.LOCK).exists()
    assert resume(place, 5)["episodes"] == 5
    assert not (place / lock.LOCK).exists()


def test_lock_is_let_go_of(tmp_path):
    """After a run, an error and a refusal; a process may hold a folder again inside, and nobody sees it end there."""
    with lock.hold(tmp_path):
        with lock.hold(tmp_path):
            pass
        assert json.loads((tmp_path / lock.LOCK).read_text())["pid"] == os.getpid()
        assert rgrl.run(KEY, ToyConfig(), callbacks=[Checkpoint(tmp_path / "x")])
        with pytest.raises(FileExistsError):
            rgrl.run(KEY, ToyConfig(episodes=2), callbacks=[Checkpoint(tmp_path / "x")])
    assert [path.name for path in tmp_path.rglob(lock.LOCK)] == []


# No room.


@contextlib.contextmanager
def no_file_over(size):
    """Every file that grows over so many bytes cannot be written, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_a_checkpoint(tmp_path):
    """The sentence names the checkpoint; the one before is whole, and the run goes on from there."""
    place = tmp_path / "run"
    train(place, ToyConfig(episodes=3))
    with no_file_over(300), pytest.raises(OSError) as error:  # the table has more, but nothing is added to it
        rgrl.run(None, ToyConfig(), state=rgrl.load_run(place).state, callbacks=[Checkpoint(place)])
    assert str(place / "checkpoints" / "4") in str(error.value) or str(place / "config.json") in str(error.value)
    says(error, "could not be written: ", "rgrl resume")
    assert resume(place, 6)["episodes"] == 6
    assert_whole(place)


def test_no_room_for_the_table(tmp_path):
    """Nothing is kept that has no row; the sentence names the file."""
    place = tmp_path / "run"
    train(place, ToyConfig(episodes=3))
    table = place / "metrics.csv"
    kept = table.read_text()
    trim = run_folder.trim_metrics
    with pytest.raises(OSError) as error, pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "trim_metrics", lambda *_: (table.unlink(), table.symlink_to("/dev/full")))
        resume(place, 6)
    says(error, f"{str(table)!r} could not be written: No space left on device", "rgrl resume")
    assert run_folder.trim_metrics is trim and checkpoint.numbers(place)[0] == 3
    table.unlink()
    table.write_text(kept)
    assert resume(place, 6)["episodes"] == 6
    assert_whole(place)


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_no_room_for_a_description(tmp_path, name):
    """Half of it is never seen: what was there before stays."""
    place = tmp_path / "run"
    train(place, ToyConfig(episodes=3))
    before = (place / name).read_bytes()
    with no_file_over(10), pytest.raises(OSError) as error:
        run_folder.write_json(place / name, {"a": "long text"})
    says(error, f"{str(place / name)!r} could not be written: File too large")
    assert (place / name).read_bytes() == before


# Spoilt run_folder.


def _halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name, spoil", [("manifest.ocdbt", Path.unlink), ("_sharding", _halve)], ids=["no", "half"])
def test_torn_checkpoint(tmp_path, name, spoil):
    """A newest checkpoint without a part is set aside, with a warning; the run goes on from the one before."""
    place, said = tmp_path / "run", StringIO()
    train(place)
    spoil(place / "checkpoints" / "6" / "default" / name)
    resume(place, 7, Console(file=said, width=10_000))
    told = said.getvalue()
    assert f"warning: checkpoint '{place}/checkpoints/6' is damaged: " in told
    assert "taking checkpoint 5, the newest whole one, instead" in told and "resuming at episode 5" in told
    assert (place / "checkpoints" / "6.damaged").is_dir()
    assert_whole(tmp_path / "run", ToyConfig(episodes=7))


def test_no_permission(tmp_path, monkeypatch):
    """A checkpoint that may not be read is not taken for a damaged one: the older one would lose what it holds."""
    train(tmp_path / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: "manifest" not in str(path))
    with pytest.raises(PermissionError) as error:
        resume(tmp_path / "run", 9)
    says(error, tmp_path / "run" / "checkpoints" / "6", "no permission", "manifest.ocdbt")


def test_config_changed_by_hand(tmp_path):
    """Every field that is not what the checkpoint was trained with is named; the number of episodes is free."""
    train(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content["config"] |= {"rate": 0.5, "rows": 4, "episodes": 9}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError) as error:
        resume(tmp_path / "run")
    says(error, tmp_path / "run" / "checkpoints" / "6", "rate = 0.5 (was 0.25), rows = 4 (was 8)", "put that back")
    assert "episodes" not in str(error.value)
    path.write_text(path.read_text().replace('"rate": 0.5', '"rate": 0.25').replace('"rows": 4', '"rows": 8'))
    assert resume(tmp_path / "run")["episodes"] == 9


def test_another_config_from_python(tmp_path):
    """A folder holds one run: going on there with other settings is refused before anything is overwritten."""
    state, _ = rgrl.run(KEY, ToyConfig(episodes=3), callbacks=[Checkpoint(tmp_path)])
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError) as error:
        rgrl.run(None, ToyConfig(rate=0.5), state=state, callbacks=[Checkpoint(tmp_path)])
    says(error, repr(str(tmp_path)), "rate = 0.5 (was 0.25)", "another folder")
    assert (tmp_path / "config.json").read_bytes() == before
    rgrl.run(None, ToyConfig(rate=np.float32(0.25)), state=state, callbacks=[Checkpoint(tmp_path)])
    assert int(rgrl.load_run(tmp_path).state.episode) == 6


# Other places to write to.


def events(folder):
    """What TensorBoard would show, by name: values by episode, without what later sessions have hidden."""
    import struct

    from tensorboardX.proto import event_pb2

    found = {}
    for path in sorted(folder.iterdir()):  # their names begin with the time
        rest = path.read_bytes()
        while rest:  # length, its check, the event, its check
            (length,) = struct.unpack("<Q", rest[:8])
            event, rest = event_pb2.Event.FromString(rest[12 : 12 + length]), rest[16 + length :]
            if event.HasField("session_log"):
                found = {name: {i: x for i, x in row.items() if i < event.step} for name, row in found.items()}
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


@pytest.mark.parametrize("seeds", [1, 3])
def test_tensorboard(tmp_path, monkeypatch, seeds):
    """Every metric by episode, averaged over seeds; after a crash and a resume as if there had been none."""
    crash = At(4, lambda: (_ for _ in ()).throw(RuntimeError("killed"))).after_chunk
    with pytest.raises(RuntimeError), monkeypatch.context() as patch:
        patch.setattr(
            callbacks.Checkpoint,
            "after_chunk",
            lambda self, run, save=callbacks.Checkpoint.after_chunk: (
                crash(run),
                save(self, run),
            ),
        )
        train(tmp_path / "run", tensorboard=True, seeds=seeds)
    monkeypatch.setattr("time.time", lambda now=time.time: now() + 10)  # files are named by the second
    resume(tmp_path / "run")
    table = run_folder.read_metrics(tmp_path / "run")
    shown = events(tmp_path / "run" / "tensorboard")
    assert shown.keys() == table.columns().keys() - {"episode"} and "movement" in shown
    for name, row in shown.items():
        assert list(row) == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(list(row.values()), table.columns()[name].mean(axis=0), rtol=1e-6)


def test_without_tensorboardx(tmp_path, monkeypatch):
    """Before anything is made or trained: what to install."""
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    for act in (lambda: TensorBoard(tmp_path), lambda: train(tmp_path / "run", tensorboard=True)):
        with pytest.raises(ValueError) as error:
            act()
        says(error, "TensorBoard", "pip install 'rgrl_jax[tensorboard]'")
    assert not (tmp_path / "run" / "config.json").exists()


def test_weights_and_biases(monkeypatch):
    """The callback of the guide, with a stand-in for the package: every metric of every episode."""
    guide = (Path(__file__).parents[2] / "docs" / "long_runs.md").read_text()
    code = guide.split("```py\n")[1].split("```")[0]
    assert len([line for line in code.split("class")[1].splitlines() if line.strip()]) <= 12
    logged = []
    stand_in = mock.MagicMock()
    stand_in.log = lambda values, step: logged.append((step, values))
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    scope = {"rgrl": rgrl}
    exec(code, scope)
    _, metrics = rgrl.run(KEY, ToyConfig(), chunk=4, callbacks=[scope["WandB"]()])
    assert [step for step, _ in logged] == [1, 2, 3, 4, 5, 6]
    assert [values["model_loss"] for _, values in logged] == metrics.model_loss.tolist()
    stand_in.finish.assert_called_once()
    assert stand_in.init.call_args.kwargs["config"]["rate"] == 0.25
