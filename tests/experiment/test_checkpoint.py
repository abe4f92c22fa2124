"""Run folders: checkpoints come back bit for bit, torn or foreign ones are refused, and a killed run can go on."""

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import assert_same, logged, says, start_process, tiny_config, trained

import rgrl_jax as rgrl
from rgrl_jax.callbacks import Callback, Checkpoint, CSVLog
from rgrl_jax.experiment import checkpoint, run_folder
from rgrl_jax.experiment.commands import Options

KEY = jax.random.key(0)
TEMPORARY = ".orbax-checkpoint-tmp"  # what orbax calls a folder that it has not finished


@pytest.fixture
def folder(tmp_path):
    """A copy of the folder of a tiny run, to be spoilt."""
    return Path(shutil.copytree(logged()[0], tmp_path / "run"))


def test_name_of_unfinished_checkpoints(toy, tmp_path, monkeypatch):
    """The name that the tests below give to torn checkpoints is the one that orbax writes under."""
    seen = []
    replace, rename = os.replace, os.rename
    state = jax.jit(rgrl.init)(KEY, toy)
    with checkpoint.open_manager(tmp_path) as manager:
        for name, call in (("replace", replace), ("rename", rename)):
            monkeypatch.setattr(os, name, lambda a, b, *rest, call=call, **more: seen.append(str(a)) or call(a, b))
        checkpoint.save(manager, 7, state)
    assert any(Path(path).name.startswith(f"7{TEMPORARY}") for path in seen), seen


def steps(folder):
    """Numbers of the checkpoints in a run folder."""
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


def edit(folder, change):
    """Changes config.json by hand."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content = change(content) or content
    path.write_text(json.dumps(content))


# What is stored comes back.


@pytest.mark.exact
def test_round_trip():
    """The state of a real run comes back bit for bit: the typed key, counters, and arrays without entries."""
    folder, state, _ = logged()
    loaded = rgrl.load_run(folder)
    assert_same(loaded.state, state)
    assert_same(loaded.state, trained()[0])
    assert loaded.config == tiny_config()
    assert jnp.issubdtype(loaded.state.key.dtype, jax.dtypes.prng_key)
    assert any(leaf.size == 0 for leaf in jax.tree.leaves(loaded.state))
    assert (loaded.meta["preset"], loaded.meta["seed"], loaded.meta["seeds"]) == ("custom", 0, 1)
    assert loaded.meta["rgrl_jax"] == rgrl.__version__


def test_every_kind_of_number_survives(toy, tmp_path):
    """NaN, infinities, negative zero and the smallest numbers are stored as they are."""
    state = jax.jit(rgrl.init)(KEY, toy).replace(weight=jnp.array([jnp.nan, -0.0, 1e-45]), skill=-jnp.inf)
    state = jax.tree.map(jnp.asarray, state)
    run_folder.write_config(tmp_path, toy, {"seed": 0, "seeds": 1})
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 7, state)
    loaded = rgrl.load_run(tmp_path).state
    for name in ("weight", "skill"):
        ours, theirs = (np.asarray(getattr(x, name)).view(np.uint32) for x in (loaded, state))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seeds", [1, 3])
def test_seeds_round_trip(toy, tmp_path, seeds):
    """States of several seeds come back with their leading axis, also if there is only one in it."""
    keys = jax.vmap(jax.random.key)(3 + jnp.arange(seeds))
    state, _ = rgrl.run(keys, toy, callbacks=[Checkpoint(tmp_path, meta={"seed": 3, "preset": "mine"})])
    loaded = rgrl.load_run(tmp_path)
    assert loaded.state.episode.shape == (seeds,)
    assert_same(loaded.state, state)
    assert (loaded.meta["seeds"], loaded.meta["seed"], loaded.meta["preset"]) == (seeds, 3, "mine")
    longer = toy.replace(episodes=9)
    whole, _ = rgrl.run(keys, longer)
    assert_same(rgrl.run(None, longer, state=loaded.state)[0], whole)


@pytest.mark.parametrize("seed", [0, 5, 2**31 - 2, 2**32 - 3])
def test_seed_keys(seed):
    """One seed is one key; several are those of the seeds that follow, in the whole range of seeds."""
    assert_same(checkpoint.seed_keys(seed, 1), jax.random.key(seed))
    keys = checkpoint.seed_keys(seed, 3)
    assert keys.shape == (3,)
    for i in range(3):
        assert_same(keys[i], jax.random.key(seed + i))


@pytest.mark.parametrize("impl", ["rbg", "threefry2x32"])
def test_key_of_another_kind(toy, tmp_path, impl):
    """Whatever kind of key a run was started with, its checkpoint can be loaded and resumed."""
    key = jax.random.key(0, impl=impl)
    state, _ = rgrl.run(key, toy, callbacks=[Checkpoint(tmp_path)])
    assert_same(rgrl.load_run(tmp_path).state, state)


def test_config_comes_back(tmp_path):
    """Every field of a config with odd values survives config.json exactly."""
    odd = {"planner.lr": 0.1 + 0.2, "learner.lr": 1e-300, "learner.clip_norm": 1e300, "reference.biases": False}
    config = tiny_config(max_steps=None, **{"replay.capacity": 700} | odd)
    run_folder.write_config(tmp_path, config, {"seed": 4, "seeds": 1, "note": "x"})
    loaded, meta = run_folder.read_config(tmp_path)
    assert loaded == config
    assert (meta["seed"], meta["note"], meta["format_version"]) == (4, "x", 2)
    assert "config" not in meta
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("value", [np.float32(0.3), jnp.float32(0.3), np.float64(0.3)])
def test_array_scalars_in_a_config(tmp_path, value):
    """Floats that are arrays of one number are stored as numbers."""
    run_folder.write_config(tmp_path, tiny_config(**{"planner.lr": value}), {"seed": 0, "seeds": 1})
    assert run_folder.read_config(tmp_path)[0].planner.lr == float(value)


def test_tuples_in_a_config(tmp_path):
    """One entry per layer comes back as a tuple, and groups are nested in the file."""
    config = rgrl.preset("CartPole-v1", algo="backprop", actor_lr=(0.5, 0.25, 0.125))
    run_folder.write_config(tmp_path, config, {"seed": 0, "seeds": 1})
    assert run_folder.read_config(tmp_path)[0] == config
    run_folder.write_config(tmp_path, tiny_config(), {"seed": 0, "seeds": 1})
    assert json.loads((tmp_path / "config.json").read_text())["config"]["planner"]["horizon"] == 4


def test_numpy_integers_in_a_config(tmp_path):
    """A NumPy integer is allowed in a config, so a run with one can be read back."""
    run_folder.write_config(tmp_path, tiny_config(episodes=np.int64(4)), {"seed": 0, "seeds": 1})
    config, _ = run_folder.read_config(tmp_path)
    assert config == tiny_config()
    assert type(config.episodes) is int


# Which checkpoints are there.


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_newest_checkpoints_stay(toy, tmp_path, keep):
    """``keep`` of them, the newest, and loading leaves them all where they are."""
    rgrl.run(KEY, toy, callbacks=[Checkpoint(tmp_path, keep=keep)])
    expected = [1, 2, 3, 4, 5, 6][-keep:]
    assert steps(tmp_path) == expected
    assert int(rgrl.load_run(tmp_path).state.episode) == 6
    assert steps(tmp_path) == expected


@pytest.mark.parametrize(
    "every, chunk, expected", [(1, 4, [4, 6]), (2, 1, [2, 4, 6]), (4, 1, [4, 6]), (5, 1, [5, 6]), (100, 1, [6])]
)
def test_every_few_chunks(toy, tmp_path, every, chunk, expected):
    """Every so many chunks, and the last one always."""
    rgrl.run(KEY, toy, chunk=chunk, callbacks=[Checkpoint(tmp_path, every=every, keep=10)])
    assert steps(tmp_path) == expected


TORN = [f"9{TEMPORARY}", f"9{TEMPORARY}-1700000000", f"4{TEMPORARY}-1", "nine"]


@pytest.mark.exact
def test_torn_checkpoints_are_not_picked(folder):
    """A checkpoint that was being written when the power went has another name, and is passed over."""
    checkpoints = folder / "checkpoints"
    for name in TORN:
        shutil.copytree(checkpoints / "4", checkpoints / name)
    loaded = rgrl.load_run(folder)
    assert_same(loaded.state, trained()[0])


@pytest.mark.parametrize("name", TORN)
def test_torn_checkpoint_is_no_obstacle(toy, tmp_path, name):
    """A run goes on beside a torn checkpoint, also where the torn one's number comes up again."""
    rgrl.run(KEY, toy.replace(episodes=4), callbacks=[Checkpoint(tmp_path)])
    (tmp_path / "checkpoints" / name).mkdir()
    state = rgrl.load_run(tmp_path).state
    assert int(state.episode) == 4
    longer = toy.replace(episodes=10)
    last, _ = rgrl.run(None, longer, state=state, callbacks=[Checkpoint(tmp_path)])
    assert_same(rgrl.load_run(tmp_path).state, last)
    assert steps(tmp_path)[-2:] == [9, 10]


def test_torn_checkpoint_alone(folder):
    """If nothing whole is left, there is nothing to load."""
    for step in steps(folder):
        (folder / "checkpoints" / str(step)).rename(folder / "checkpoints" / f"{step}{TEMPORARY}-1")
    with pytest.raises(FileNotFoundError) as error:
        rgrl.load_run(folder)
    says(error, folder, "no whole checkpoint")


def test_config_without_checkpoints(tmp_path):
    """A run that was killed before its first checkpoint."""
    run_folder.write_config(tmp_path, tiny_config(), {"seed": 0, "seeds": 1})
    with pytest.raises(FileNotFoundError) as error:
        rgrl.load_run(tmp_path)
    says(error, tmp_path, "no whole checkpoint")


def test_error_in_another_callback_keeps_the_last_good_state(toy, tmp_path):
    """The state is saved at the end of a run that a later callback broke off."""

    class Bad(Callback):
        def after_chunk(self, run):
            if run.episode == 3:
                raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        rgrl.run(KEY, toy, callbacks=[Checkpoint(tmp_path, every=100), Bad()])
    loaded = rgrl.load_run(tmp_path).state
    assert int(loaded.episode) == 3
    assert_same(rgrl.run(None, toy, state=loaded)[0], rgrl.run(KEY, toy)[0])


def test_folder_of_a_longer_run_is_refused(toy, tmp_path):
    """Checkpoints of another run, further on, are neither overwritten nor mixed with those of a new one."""
    rgrl.run(KEY, toy, callbacks=[CSVLog(tmp_path), Checkpoint(tmp_path)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for calls in ([Checkpoint(tmp_path)], [CSVLog(tmp_path), Checkpoint(tmp_path)]):
        with pytest.raises(FileExistsError) as error:
            rgrl.run(jax.random.key(1), toy.replace(rate=0.5, episodes=3), callbacks=calls)
        says(error, tmp_path, "checkpoint 6")
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert sorted(after) == sorted(before)
        assert [path.name for path in before if after[path] != before[path]] == []


@pytest.mark.parametrize("name", ["every", "keep"])
def test_checkpoint_arguments(toy, tmp_path, name):
    """Keeping nothing, or saving after every 0 chunks, is refused before anything is trained."""
    with pytest.raises(ValueError, match=name):
        rgrl.run(KEY, toy, callbacks=[Checkpoint(tmp_path, **{name: 0})])


# Folders that do not fit.


@pytest.mark.parametrize(
    "name, value, there, here",
    [
        ("model.width", 16, "float32[2, 1, 2, 24]", "float32[2, 1, 2, 48]"),
        ("model.ensemble_size", 3, "is int32[2]", "int32[3]"),
        ("replay.capacity", 300, "replay/action is int32[200]", "int32[300]"),
        ("learner.optimizer", "sgd", "is int32[2]", "missing"),
    ],
)
def test_checkpoint_of_another_config(folder, name, value, there, here):
    """Where a checkpoint does not hold its config: the first array that differs, with what it is and should be."""
    for path in folder.rglob("_CHECKPOINT_METADATA"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"custom_metadata": {}}))
    group, _, field = name.partition(".")
    edit(folder, lambda content: content["config"][group].update({field: value}))
    with pytest.raises(ValueError) as error:
        rgrl.load_run(folder)
    says(error, repr(str(folder / "checkpoints" / "4")), "another config", f"{there} there and {here} here")
    assert steps(folder) == [3, 4]


def test_other_number_of_seeds(folder):
    """A checkpoint of one run is not taken for one of three seeds."""
    edit(folder, lambda content: content.update(seeds=3, batched=True))
    with pytest.raises(ValueError):
        rgrl.load_run(folder)


def test_not_a_run_folder(tmp_path):
    """Neither an empty nor a missing folder, nor a file; and looking makes nothing."""
    (tmp_path / "file").write_text("hello")
    for name in ("", "missing", "file"):
        with pytest.raises(FileNotFoundError) as error:
            rgrl.load_run(tmp_path / name)
        says(error, repr(str(tmp_path / name)), "not a run folder", "config.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_format_version(folder):
    """A folder of another format, an older one for instance, says in one sentence which versions are involved."""
    for version in (1, 99):
        edit(folder, lambda content, v=version: content.update(format_version=v, rgrl_jax="9.9.9"))
        with pytest.raises(ValueError) as error:
            rgrl.load_run(folder)
        parts = (f"format_version = {version}", "9.9.9", rgrl.__version__, "reads version 2")
        says(error, folder / "config.json", *parts)


def test_unknown_field(folder):
    """The field and the nearest known ones are named."""
    edit(folder, lambda content: content["config"]["planner"].update(noises=1.0))
    with pytest.raises(ValueError) as error:
        rgrl.load_run(folder)
    says(error, "'planner.noises'", "planner.noise,")


def test_missing_fields(folder):
    """All of them are named."""
    edit(folder, lambda content: [content["config"]["model"].pop(name) for name in ("width", "heads")] and None)
    with pytest.raises(ValueError) as error:
        rgrl.load_run(folder)
    says(error, folder / "config.json", "model.heads, model.width", "another version")


def test_unknown_algorithm(folder):
    """The nearest known ones are named."""
    edit(folder, lambda content: content.update(algo="rgll"))
    with pytest.raises(ValueError) as error:
        rgrl.load_run(folder)
    says(error, "'rgll'", "rgrl", folder / "config.json")


def test_value_out_of_range(folder):
    """A config that was edited by hand is checked like any other."""
    edit(folder, lambda content: content["config"]["planner"].update(horizon=0))
    with pytest.raises(ValueError, match="planner.horizon = 0"):
        rgrl.load_run(folder)


def test_broken_json(folder):
    """Half a file is called what it is."""
    path = folder / "config.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(ValueError) as error:
        rgrl.load_run(folder)
    says(error, path, "not valid JSON")


@pytest.mark.parametrize("content", ["[]", "null", '"text"'])
def test_json_of_something_else(tmp_path, content):
    """Valid JSON that is no run's is a ValueError with the file's name, not a crash."""
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError) as error:
        rgrl.load_run(tmp_path)
    says(error, tmp_path / "config.json")


@pytest.mark.parametrize("name", ["seed", "seeds", "algo", "config"])
def test_missing_entry(folder, name):
    """An entry that was deleted by hand is missed by name."""
    edit(folder, lambda content: content.pop(name) and None)
    with pytest.raises(ValueError) as error:
        rgrl.load_run(folder)
    says(error, folder / "config.json", name)


def cut(paths):
    """Cuts each of these files in half."""
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_damaged_description(folder):
    """A checkpoint whose description of itself was cut short is passed over for the one before, with a warning."""
    step = folder / "checkpoints" / "4"
    cut([step / "default" / "_METADATA"])
    with pytest.warns(UserWarning) as warned:
        loaded = rgrl.load_run(folder)
    assert str(warned[0].message).startswith(f"checkpoint {str(step)!r} is damaged: ")
    assert str(warned[0].message).endswith("; taking checkpoint 3, the newest whole one, instead")
    assert int(loaded.state.episode) == 3
    cut([folder / "checkpoints" / "3" / "default" / "_METADATA"])
    with pytest.raises(ValueError) as error:
        rgrl.load_run(folder)
    says(error, step, folder / "checkpoints" / "3", f"no whole checkpoint is left in {str(folder)!r}")


def test_damaged_arrays(folder):
    """One whose numbers were cut short as well; in another process, since the reader leaves threads behind.

    All its files of numbers are cut, since which of them are superseded differs by run; and the threads left
    behind print to the same stream, so that the sentence need not begin a line.
    """
    step, kept = folder / "checkpoints" / "4", folder / "checkpoints" / "4.damaged"
    cut([path for path in step.rglob("d/*") if path.is_file()])
    size = sum(path.stat().st_size for path in step.rglob("d/*"))
    options = dataclasses.asdict(Options(early_stop=False, eval_episodes=1))
    edit(folder, lambda content: content.update(options | {"preset": "custom"}))
    child = start_process("-m", "rgrl_jax", "resume", folder, "--json")
    _, said = child.communicate(timeout=300)
    assert child.returncode == 0, said
    assert f"warning: checkpoint {str(step)!r} is damaged: " in said, said
    assert f"the damaged checkpoint is now {str(kept)!r}" in said
    assert sum(path.stat().st_size for path in kept.rglob("d/*")) == size
    assert (folder / "metrics.csv").read_bytes() == (logged()[0] / "metrics.csv").read_bytes()
    assert_same(rgrl.load_run(folder).state, logged()[1])


# The table.


def table(folder):
    """The rows of metrics.csv as lists of words."""
    return [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]


def test_csv_holds_the_metrics():
    """One row per episode with every metric, exactly as many digits as it takes."""
    folder, _, metrics = logged()
    header, *rows = table(folder)
    core = ["seed", "episode", "env_steps", "episode_return", "episode_length", "terminated", "model_loss"]
    assert header == [*core, *metrics.info] and len(header) > len(core)
    assert len(rows) == 4
    for i, row in enumerate(rows):
        assert row[0] == "0"
        for name, word in zip(header[1:], row[1:], strict=True):
            value = metrics.columns()[name][i]
            assert word == str(value.item())
            if value.dtype == np.float32:
                assert np.float32(word) == value
    assert b"\r" not in (folder / "metrics.csv").read_bytes()


def test_csv_can_be_read_back(toy, tmp_path):
    """The table as metrics: same numbers, one row of leaves per seed."""
    keys = jax.random.split(KEY, 3)
    _, metrics = rgrl.run(keys, toy, chunk=4, callbacks=[CSVLog(tmp_path, seed=10)])
    back = run_folder.read_metrics(tmp_path)
    assert list(back.columns()) == list(metrics.columns()) and list(back.info) == list(metrics.info)
    for name, values in back.columns().items():
        np.testing.assert_array_equal(values, metrics.columns()[name], err_msg=name)
    rows = table(tmp_path)[1:]
    assert [(row[0], row[1]) for row in rows] == [(str(10 + i), str(1 + j)) for j in range(6) for i in range(3)]


def test_csv_is_the_same_for_every_chunk(toy, tmp_path):
    """Byte for byte."""
    for chunk in (1, 2, 4, 6):
        rgrl.run(KEY, toy, chunk=chunk, callbacks=[CSVLog(tmp_path / str(chunk))])
    texts = {(tmp_path / str(chunk) / "metrics.csv").read_bytes() for chunk in (1, 2, 4, 6)}
    assert len(texts) == 1


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("at", [1, 3, 5])
def test_interrupted_csv_is_the_uninterrupted_one(toy, tmp_path, at, batched):
    """A crash after the rows were written and before the state was saved leaves no trace after resuming."""

    class Crash(Callback):
        def after_chunk(self, run):
            if run.episode == at + 1:
                raise RuntimeError("on purpose")

    key = jax.random.split(KEY, 2) if batched else KEY
    whole, _ = rgrl.run(key, toy, callbacks=[CSVLog(tmp_path / "a")])
    place = tmp_path / "b"
    with pytest.raises(RuntimeError, match="on purpose"):
        rgrl.run(key, toy, callbacks=[CSVLog(place), Crash(), Checkpoint(place)])
    assert table(place)[-1][1] == str(at + 1)  # one episode too many
    config, state, _ = rgrl.load_run(place)
    assert int(np.max(state.episode)) == at
    last, _ = rgrl.run(None, config, state=state, callbacks=[CSVLog(place), Checkpoint(place)])
    assert_same(last, whole)
    assert (place / "metrics.csv").read_bytes() == (tmp_path / "a" / "metrics.csv").read_bytes()


@pytest.mark.parametrize("done", range(7))
def test_trim_drops_later_rows(toy, tmp_path, done):
    """Rows up to the episode stay as they are, of every seed; the header always stays."""
    rgrl.run(jax.random.split(KEY, 2), toy, callbacks=[CSVLog(tmp_path)])
    lines = (tmp_path / "metrics.csv").read_text().splitlines(keepends=True)
    run_folder.trim_metrics(tmp_path, done)
    assert (tmp_path / "metrics.csv").read_text() == "".join(lines[: 1 + 2 * done])
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("done", [4, 5, 6, 9])
def test_trim_drops_half_a_line(toy, tmp_path, done):
    """A line that ends in the middle is dropped, wherever it was cut, and whatever its episode seems to be."""
    rgrl.run(KEY, toy, callbacks=[CSVLog(tmp_path)])
    path = tmp_path / "metrics.csv"
    *lines, last = path.read_text().splitlines(keepends=True)
    for cut in range(len(last)):
        path.write_text("".join(lines) + last[:cut])
        run_folder.trim_metrics(tmp_path, done)
        assert path.read_text() == "".join(lines[: 1 + done])


@pytest.mark.parametrize("cut", [0, 3, -1])
def test_half_a_header(toy, tmp_path, cut):
    """A run that was killed while it wrote the very first line leaves a table that the next run writes properly."""
    rgrl.run(KEY, toy, callbacks=[CSVLog(tmp_path / "a")])
    whole = (tmp_path / "a" / "metrics.csv").read_text()
    header = whole.splitlines(keepends=True)[0]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "metrics.csv").write_text(header[:cut])
    rgrl.run(KEY, toy, callbacks=[CSVLog(tmp_path / "b")])
    assert (tmp_path / "b" / "metrics.csv").read_text() == whole


def test_trim_without_a_table(tmp_path):
    """Nothing to do and nothing made."""
    run_folder.trim_metrics(tmp_path, 3)
    assert not list(tmp_path.iterdir())


def test_no_table(tmp_path):
    """Reading what is not there says so."""
    with pytest.raises(FileNotFoundError) as error:
        run_folder.read_metrics(tmp_path)
    says(error, tmp_path, "metrics.csv")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_table_of_something_else(tmp_path, text):
    """A foreign or an empty table is an error with the file's name."""
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError) as error:
        run_folder.read_metrics(tmp_path)
    says(error, tmp_path / "metrics.csv")


def test_table_with_a_missing_row(toy, tmp_path):
    """Seeds with different numbers of rows are not guessed at."""
    rgrl.run(jax.random.split(KEY, 2), toy, callbacks=[CSVLog(tmp_path)])
    path = tmp_path / "metrics.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError) as error:
        run_folder.read_metrics(tmp_path)
    says(error, path, "11 rows", "2 seeds")


# A real kill.

KILLED = """
import os, signal, sys
import jax
import rgrl_jax as rgrl
import tiny
from rgrl_jax.callbacks import Callback, Checkpoint, CSVLog


class Kill(Callback):
    def after_chunk(self, run):
        if run.episode == 3:
            os.kill(os.getpid(), signal.SIGKILL)


tiny.register_toy()
folder = sys.argv[1]
rgrl.run(jax.random.key(0), tiny.ToyConfig(), callbacks=[CSVLog(folder), Kill(), Checkpoint(folder)])
"""


def test_killed_run_goes_on_as_if_it_had_not_been(toy, tmp_path):
    """A process killed without warning; the rest in this one: same state, and the same folder byte for byte."""
    whole, place = tmp_path / "whole", tmp_path / "run"
    state, metrics = rgrl.run(KEY, toy, callbacks=[CSVLog(whole), Checkpoint(whole)])
    child = start_process("-c", KILLED, place)
    _, said = child.communicate(timeout=300)
    assert child.returncode == -signal.SIGKILL, said
    assert len(table(place)) == 1 + 3
    config, loaded, _ = rgrl.load_run(place)
    assert int(loaded.episode) == 2
    last, rest = rgrl.run(None, config, state=loaded, callbacks=[CSVLog(place), Checkpoint(place)])
    assert_same(last, state)
    assert_same(rest, jax.tree.map(lambda x: x[2:], metrics))
    assert_same(rgrl.load_run(place).state, state)
    for name in ("metrics.csv", "config.json"):
        assert (place / name).read_bytes() == (whole / name).read_bytes()
