"""The command line: what it prints and where, what it leaves in the run folder, and how it fails."""

import dataclasses
import json
import shutil
import sys
from io import StringIO
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tiny import ARGUMENTS, SCRATCH, ToyConfig, assert_same, hosted, logged, start_process, tiny_config, trained

import rgrl_jax as rgrl
from rgrl_jax import envs, models
from rgrl_jax.algos import fields
from rgrl_jax.algos.presets import list_presets
from rgrl_jax.experiment import callbacks, checkpoint, cli, commands, inspection, run_folder
from rgrl_jax.experiment.commands import Options

EVALUATION = {"episodes", "mean_return", "min_return", "returns"}


@pytest.fixture(scope="session")
def trained_folder():
    """A folder that a real ``python -m rgrl_jax train --json`` process has made, and what it printed."""
    folder = SCRATCH / "command"
    words = ["train", "CartPole-v1", *ARGUMENTS, "--out", folder, "--no-early-stop", "--eval-episodes", "2", "--json"]
    child = start_process("-m", "rgrl_jax", *words)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    return folder, out, err


@pytest.fixture
def folder(trained_folder, tmp_path):
    """A copy of that folder."""
    return Path(shutil.copytree(trained_folder[0], tmp_path / "run"))


def one_object(text):
    """The one JSON object that standard output holds, on one line, without NaN or infinities."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    assert text.endswith("\n") and text.count("\n") == 1, text
    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def complaint(answer):
    """The one line of an error: exit code 2, nothing on standard output, no traceback."""
    code, out, err = answer
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1, err
    return err


def rows(folder):
    """metrics.csv as dictionaries."""
    header, *lines = (line.split(",") for line in (folder / "metrics.csv").read_text().splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


# Training.


def test_train_prints_one_object(trained_folder):
    """Exactly one JSON object with the promised keys and sane values; everything else is on standard error."""
    folder, out, err = trained_folder
    answer = one_object(out)
    assert answer.keys() >= {
        "env",
        "preset",
        "seed",
        "episodes",
        "env_steps",
        "evaluation",
        "seconds",
        "device",
        "versions",
    }
    assert (answer["env"], answer["preset"], answer["seed"], answer["episodes"]) == ("CartPole-v1", "tuned", 0, 4)
    assert answer["env_steps"] == int(trained()[0].env_steps)
    assert answer["folder"] == str(folder)
    assert answer["stopped"] == ""
    scores = answer["evaluation"]
    assert scores.keys() >= EVALUATION
    assert scores["episodes"] == len(scores["returns"]) == 2
    assert scores["mean_return"] == pytest.approx(np.mean(scores["returns"]))
    assert scores["min_return"] == min(scores["returns"])
    assert all(8 <= score <= 12 for score in scores["returns"])
    seconds = answer["seconds"]
    assert seconds.keys() >= {"compile", "train", "evaluate", "total"}
    assert all(value >= 0 for value in seconds.values())
    assert seconds["total"] >= seconds["compile"] + seconds["train"] + seconds["evaluate"] - 0.01
    assert answer["device"].startswith("cpu")
    assert answer["versions"]["jax"] == jax.__version__
    assert answer["versions"]["rgrl_jax"] == rgrl.__version__
    assert "CartPole-v1: 4 episodes" in err  # the cost, before anything compiles
    assert "Traceback" not in err


def test_train_leaves_a_run_folder(trained_folder):
    """Config, table, summary, curve and checkpoints, and nothing else."""
    folder, out, _ = trained_folder
    names = {"config.json", "metrics.csv", "summary.json", "curve.png", "checkpoints"}
    assert {path.name for path in folder.iterdir()} == names
    assert json.loads((folder / "summary.json").read_text()) == one_object(out)
    with Image.open(folder / "curve.png") as image:
        image.load()
        assert 600 <= image.width <= 2400
    config = json.loads((folder / "config.json").read_text())
    assert (config["preset"], config["seed"], config["seeds"], config["algo"]) == ("tuned", 0, 1, "rgrl")


@pytest.mark.exact
def test_train_gives_the_numbers_of_train(trained_folder):
    """The process has trained the run of ``rgrl.train(jax.random.key(0), config)``, bit for bit."""
    folder = trained_folder[0]
    assert (folder / "metrics.csv").read_bytes() == (logged()[0] / "metrics.csv").read_bytes()
    loaded = rgrl.load_run(folder)
    assert loaded.config == tiny_config()
    assert_same(loaded.state, trained()[0])
    columns = rows(folder)
    assert len(columns) == 4
    wanted = {"seed", "episode", "env_steps", "episode_return", "model_loss", "plan_loss", "plan_noise"}
    assert columns[0].keys() >= wanted
    assert [int(row["episode"]) for row in columns] == [1, 2, 3, 4]


def test_train_with_another_seed_and_two_seeds(rgrl_command, toy, tmp_path):
    """``--seeds 2 --seed 1`` are the runs of seeds 1 and 2, with statistics over both, on the host as well."""
    out = tmp_path / "two"
    flags = ["--algo", "toy", "--seed", 1, "--seeds", 2, "--gain", "0.01", "--spread", "0.1", "--eval-episodes", 3]
    with hosted("Toy") as env_id:
        code, text, err = rgrl_command("train", env_id, *flags, "--out", out, "--json")
        assert code == 0, err
        answer = one_object(text)
        assert (answer["seed"], answer["seeds"], answer["episodes"]) == (1, 2, 6)
        scores = answer["evaluation"]
        assert np.shape(scores["returns"]) == (2, 3)
        assert scores["mean_return_per_seed"] == pytest.approx(np.mean(scores["returns"], axis=1))
        assert scores["mean_return"] == pytest.approx(np.mean(scores["returns"]))
        assert scores["min_return"] == np.min(scores["returns"])
        low, high = scores["iqm_interval_95"]
        assert low <= scores["iqm"] <= high
        table = rows(out)
        assert [(row["seed"], row["episode"]) for row in table] == [(s, str(e)) for e in range(1, 7) for s in "12"]
        assert answer["env_steps"] == sum(int(row["env_steps"]) for row in table if row["episode"] == "6")
        for seed in (1, 2):
            state, metrics = rgrl.run(jax.random.key(seed), toy.replace(gain=0.01, spread=0.1))
            losses = [float(row["model_loss"]) for row in table if row["seed"] == str(seed)]
            assert losses == pytest.approx(metrics.model_loss.tolist(), rel=1e-5)
        code, text, err = rgrl_command("evaluate", out, "--episodes", 2, "--json")
        assert np.shape(one_object(text)["returns"]) == (2, 2), err
        code, text, err = rgrl_command("watch", out, "--frames", 2, "--json")
        assert code == 0, err
        assert Path(one_object(text)["gif"]) == out / "watch.gif" and (out / "watch.gif").is_file()


@pytest.mark.parametrize("told", [None, "elsewhere"])
def test_compiled_programs_are_kept(told, monkeypatch, tmp_path):
    """In the user's cache folder, unless JAX was told where."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", told)
        cli.keep_programs()
        folder = jax.config.jax_compilation_cache_dir
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert folder == told if told else folder.endswith("rgrl_jax")
    if not told and sys.platform == "linux":
        assert folder == str(tmp_path / "rgrl_jax")


def test_default_folder(monkeypatch):
    """Without --out the folder is named after environment, preset and seed; options are passed on."""
    calls = []
    monkeypatch.setattr(commands, "train", lambda *arguments, **more: calls.append((arguments, more)))
    words = ["train", "Acrobot-v1", "--preset", "paper", "--seed", "7", "--seeds", "3", "--chunk", "2"]
    assert cli.main([*words, "--no-early-stop", "--eval-episodes", "5", "--overwrite", "--planner.lr", "0.7"]) == 0
    (_, config, folder, options), more = calls[0]
    assert config == rgrl.preset("Acrobot-v1", "paper", **{"planner.lr": 0.7})
    assert folder == Path("runs") / "Acrobot-v1-paper-7"
    assert options == Options("paper", seed=7, seeds=3, chunk=2, early_stop=False, eval_episodes=5)
    assert more["overwrite"] is True
    cli.main(["train", "gymnasium:Pendulum-v1", "--algo", "ddpg"])
    assert calls[1][0][2] == Path("runs") / "gymnasium-Pendulum-v1-ddpg-tuned-0"


# The other commands.


def test_evaluate(rgrl_command, folder):
    """Noiseless episodes of the checkpoint; equal seeds give equal returns, and no file changes."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    code, out, err = rgrl_command("evaluate", folder, "--episodes", 2, "--seed", 5, "--json")
    assert code == 0, err
    answer = one_object(out)
    assert answer.keys() >= EVALUATION | {"env", "seed", "trained_episodes"}
    assert (answer["env"], answer["seed"], answer["trained_episodes"]) == ("CartPole-v1", 5, 4)
    assert answer["episodes"] == len(answer["returns"]) == 2

    def returns(key, state, config):  # the name and arguments of the command's own program, so it compiles once
        return rgrl.evaluate(key, state, config, 2)

    expected = np.asarray(jax.jit(returns)(jax.random.key(5), rgrl.load_run(folder).state, tiny_config()))
    assert answer["returns"] == expected.tolist()
    assert answer["mean_return"] == pytest.approx(expected.mean())
    assert answer["min_return"] == expected.min()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_resume(rgrl_command, toy, tmp_path):
    """Eight episodes in all: the table and the state are those of a run that was planned for eight."""
    out = tmp_path / "run"
    flags = ["--algo", "toy", "--out", out, "--eval-episodes", 2, "--no-early-stop"]
    assert rgrl_command("train", "Toy", *flags)[0] == 0
    before = (out / "metrics.csv").read_text()
    code, text, err = rgrl_command("resume", out, "--episodes", 8, "--json")
    assert code == 0, err
    answer = one_object(text)
    assert answer["episodes"] == 8
    assert answer["evaluation"]["episodes"] == 2  # as in the command that began the run
    assert "resuming at episode 6" in err
    table = rows(out)
    assert [int(row["episode"]) for row in table] == list(range(1, 9))
    assert answer["env_steps"] == int(table[-1]["env_steps"])
    assert (out / "metrics.csv").read_text().startswith(before)
    loaded = rgrl.load_run(out)
    assert loaded.config == toy.replace(episodes=8)
    assert_same(loaded.state, rgrl.run(jax.random.key(0), loaded.config)[0])
    assert json.loads((out / "summary.json").read_text()) == answer
    complaint(rgrl_command("resume", out, "--json"))


def test_plot(rgrl_command, folder, tmp_path):
    """The curve from the table alone, in the folder or elsewhere."""
    shutil.rmtree(folder / "checkpoints")
    (folder / "curve.png").unlink()
    code, out, err = rgrl_command("plot", folder, "--json")
    assert code == 0, err
    assert one_object(out) == {"picture": str(folder / "curve.png")}
    elsewhere = tmp_path / "new" / "picture.pdf"
    code, out, err = rgrl_command("plot", folder, "--out", elsewhere)
    assert (code, err) == (0, "")
    assert str(elsewhere) in out
    assert elsewhere.read_bytes().startswith(b"%PDF")
    with Image.open(folder / "curve.png") as image:
        image.load()


def test_watch(rgrl_command, folder, tmp_path):
    """A GIF of a few frames of the episode that is told of."""
    out = tmp_path / "new" / "episode.gif"
    code, text, err = rgrl_command("watch", folder, "--out", out, "--frames", 3, "--json")
    assert code == 0, err
    answer = one_object(text)
    assert answer["gif"] == str(out)
    assert answer["episode_return"] == answer["episode_length"] > 0
    with Image.open(out) as image:
        assert image.format == "GIF"
        assert image.n_frames == 3
        assert image.width >= 200 and image.height >= 100
        frames = []
        for i in range(3):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
    assert (frames[0] != frames[2]).any()


def test_list(rgrl_command):
    """Everything that can be named on a command line, for programs and for people."""
    code, out, err = rgrl_command("list", "--json")
    assert code == 0
    answer = one_object(out)
    assert answer["environments"] == envs.names()
    assert answer["algorithms"]["rgrl"] == list_presets()
    assert answer["models"] == models.names()
    code, out, err = rgrl_command("list")
    assert (code, err) == (0, "")
    for name in (*envs.names(), *models.names(), *answer["algorithms"], "paper", "tuned"):
        assert name in out


# The same on the toy algorithm, which compiles at once.


@pytest.fixture
def toy_job(toy, tmp_path):
    """``toy_job(config, **options)`` trains in ``tmp_path / "toy"`` as the command does."""

    def train(config=None, overwrite=False, **options):
        place, options = tmp_path / "toy", Options(**{"eval_episodes": 2} | options)
        return commands.train(Console(quiet=True), config or ToyConfig(), place, options, overwrite=overwrite)

    return train


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_every_number_of_seeds(toy_job, seeds, tmp_path):
    """The summary of one run and of several, and the folder can be resumed and evaluated."""
    config = ToyConfig(gain=0.01)
    answer = toy_job(config, seeds=seeds, seed=5)
    skills = np.asarray([jax.jit(rgrl.init)(jax.random.key(5 + i), config).skill for i in range(seeds)])
    returns = np.repeat(0.01 * 6 * (1 + skills)[:, None], 2, axis=1)
    np.testing.assert_allclose(answer["evaluation"]["returns"], returns if seeds > 1 else returns[0], rtol=1e-5)
    assert answer["env_steps"] == 6 * seeds
    assert ("iqm" in answer["evaluation"]) == (seeds > 1)
    later = commands.resume(Console(quiet=True), tmp_path / "toy", 8)
    assert later["episodes"] == 8
    assert len(rows(tmp_path / "toy")) == 8 * seeds
    assert inspection.evaluate(Console(quiet=True), tmp_path / "toy", 3, 0)["episodes"] == 3
    assert json.loads((tmp_path / "toy" / "summary.json").read_text()) == later


def test_summary_names_the_algorithm(toy_job):
    """The algorithm is the one that was run."""
    assert toy_job()["algo"] == "toy"


def test_what_a_person_is_told(toy_job, monkeypatch, tmp_path):
    """Cost and device before, scores and seconds after, and where everything is kept."""
    out = StringIO()
    console = Console(file=out, width=80, soft_wrap=True)
    monkeypatch.setattr(sys.modules[__name__], "Console", lambda **_: console)
    answer = toy_job(ToyConfig(gain=0.5))
    told = out.getvalue()
    assert not told.lstrip().startswith("{")
    parts = ["Toy: 6 episodes", "on cpu", f"stopped after {answer['episodes']} episodes: goal of 1 met"]
    parts += ["over 2 noiseless episodes: mean return", "env steps in", "compile", f"rgrl watch {tmp_path / 'toy'}"]
    places = [told.find(part) for part in parts]
    assert -1 not in places and places == sorted(places), told


def test_early_stop_and_going_on(toy_job, tmp_path):
    """The goal is 1: the run stops there and says so; resumed, it goes on to the end."""
    config = ToyConfig(gain=1.0)
    answer = toy_job(config)
    assert answer["episodes"] == 1
    assert answer["stopped"].startswith("goal of 1 met")
    assert len(rows(tmp_path / "toy")) == 1
    later = commands.resume(Console(quiet=True), tmp_path / "toy", None)
    assert (later["episodes"], later["stopped"]) == (6, "")
    assert_same(rgrl.load_run(tmp_path / "toy").state, rgrl.run(jax.random.key(0), config)[0])


def test_no_early_stop(toy_job):
    """``--no-early-stop`` trains all episodes."""
    assert toy_job(ToyConfig(gain=1.0), early_stop=False)["episodes"] == 6


def test_resume_after_an_interrupt(toy_job, tmp_path, monkeypatch):
    """Ctrl-C between two chunks: the folder holds all that was trained, and resume makes it whole."""

    def interrupted(self, run):
        if run.episode == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StopAtGoal, "after_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            toy_job()
    assert int(rgrl.load_run(tmp_path / "toy").state.episode) == 3
    assert not (tmp_path / "toy" / "summary.json").exists()
    answer = commands.resume(Console(quiet=True), tmp_path / "toy", None)
    assert answer["episodes"] == 6
    whole, metrics = rgrl.run(jax.random.key(0), ToyConfig())
    assert_same(rgrl.load_run(tmp_path / "toy").state, whole)
    assert [float(row["model_loss"]) for row in rows(tmp_path / "toy")] == metrics.model_loss.astype(float).tolist()


def test_blow_up_on_the_command_line(toy_job, rgrl_command, monkeypatch):
    """A run whose loss is no number ends with one line and exit code 2."""
    monkeypatch.setattr(cli.List, "call", lambda *_: toy_job(ToyConfig(bad_episode=3.0)))
    code, _, err = rgrl_command("list", "--json")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: model_loss = nan in episode 3 is not finite")
    assert "Traceback" not in err


# Folders.


def test_existing_folder_is_left_alone(toy_job, tmp_path):
    """Without --overwrite a folder with anything in it is refused and stays as it is."""
    place = tmp_path / "toy"
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="--overwrite"):
        toy_job()
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]
    toy_job(overwrite=True)
    names = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    with pytest.raises(FileExistsError, match="toy"):
        toy_job()
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == names


def test_overwrite_replaces_a_run_and_nothing_else(toy_job, tmp_path):
    """The files of the earlier run go; foreign files and folders stay."""
    place = tmp_path / "toy"
    toy_job()
    (place / "notes.md").write_text("keep me")
    (place / "figures").mkdir()
    (place / "figures" / "a.txt").write_text("me too")
    toy_job(ToyConfig(episodes=2, rate=0.5), overwrite=True, seed=3)
    assert (place / "notes.md").read_text() == "keep me"
    assert (place / "figures" / "a.txt").read_text() == "me too"
    assert [(row["seed"], row["episode"]) for row in rows(place)] == [("3", "1"), ("3", "2")]
    loaded = rgrl.load_run(place)
    assert (loaded.config.episodes, loaded.meta["seed"], int(loaded.state.episode)) == (2, 3, 2)
    assert sorted(path.name for path in (place / "checkpoints").iterdir() if path.name.isdigit()) == ["1", "2"]


def test_empty_folder_is_fine(toy_job, tmp_path):
    """An empty folder is as good as none."""
    (tmp_path / "toy").mkdir()
    assert toy_job()["episodes"] == 6


def test_a_file_is_no_folder(toy_job, tmp_path):
    """A file in the place of the run folder is never removed."""
    (tmp_path / "toy").write_text("a file")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="toy"):
            toy_job(overwrite=overwrite)
    assert (tmp_path / "toy").read_text() == "a file"


def test_bad_settings_leave_no_folder(toy_job, tmp_path):
    """What is out of range is found before a folder is made or emptied."""
    for options in ({"seeds": 0}, {"chunk": 0}, {"eval_episodes": 0}, {"seed": -1}, {"seed": 2**32}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} = {next(iter(options.values()))}"):
            toy_job(**options)
    with pytest.raises(ValueError, match="rate = -1"):
        toy_job(ToyConfig(rate=-1.0))
    with pytest.raises(ValueError, match="seed"):
        toy_job(seed=2**32 - 1, seeds=2)  # the second has no such number
    assert not (tmp_path / "toy").exists()


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_every_seed_in_range(toy_job, seed, tmp_path):
    """The whole range that is promised can be used, and resumed."""
    assert toy_job(ToyConfig(episodes=2), seed=seed)["seed"] == seed
    state, _ = rgrl.run(jax.random.key(seed), ToyConfig(episodes=2))
    assert_same(rgrl.load_run(tmp_path / "toy").state, state)


@pytest.mark.parametrize("seed", [2**31 - 2, 2**31 - 1, 2**32 - 3])
def test_every_seed_in_range_for_several(toy_job, seed):
    """Several runs from a large seed on."""
    answer = toy_job(ToyConfig(episodes=2), seed=seed, seeds=3)
    assert (answer["seed"], answer["seeds"]) == (seed, 3)


# Errors.

TRAIN_WORDS = ("train", "CartPole-v1")
BAD = [
    (("train", "CartPole-v2"), ["'CartPole-v2'", "CartPole-v1"]),
    ((*TRAIN_WORDS, "--preset", "papre"), ["'papre'", "paper"]),
    (("train", "Pendulum-v1", "--preset", "paper"), ["Pendulum-v1", "'paper'", "CartPole-v1"]),
    ((*TRAIN_WORDS, "--algo", "rgll"), ["'rgll'", "rgrl"]),
    ((*TRAIN_WORDS, "--model.kind", "gruu"), ["'gruu'", "gru"]),
    ((*TRAIN_WORDS, "--model.encoder", "relu"), ["model.encoder = 'relu'", "dense, conv"]),
    ((*TRAIN_WORDS, "--model.kind", "transformer", "--model.heads", "5"), ["model.heads = 5", "model.width = 32"]),
    ((*TRAIN_WORDS, "--planner.horizon", "0"), ["planner.horizon = 0", "at least 1"]),
    ((*TRAIN_WORDS, "--learner.lr", "nan"), ["learner.lr = nan", "finite"]),
    ((*TRAIN_WORDS, "--planner.lr=-1"), ["planner.lr = -1", "at least 0"]),
    ((*TRAIN_WORDS, "--planner.noise-decay", "1.5"), ["planner.noise_decay = 1.5", "0..1"]),
    ((*TRAIN_WORDS, "--planner.replan-every", "9", "--planner.horizon", "8"), ["replan_every = 9", "horizon = 8"]),
    ((*TRAIN_WORDS, "--replay.capacity", "50", "--max-steps", "50"), ["replay.capacity = 50", "51"]),
    ((*TRAIN_WORDS, "--seeds", "0"), ["seeds = 0", "at least 1"]),
    ((*TRAIN_WORDS, "--chunk", "0"), ["chunk = 0", "at least 1"]),
    ((*TRAIN_WORDS, "--eval-episodes", "0"), ["eval_episodes = 0", "at least 1"]),
    ((*TRAIN_WORDS, "--seed", "-1"), ["seed = -1", "at least 0"]),
    ((*TRAIN_WORDS, "--seed", str(2**70)), ["seed = ", "0..4294967295"]),
    ((*TRAIN_WORDS, "--widht", "8"), ["--widht is not a flag of rgrl train", "--model.width"]),
    ((*TRAIN_WORDS, "--plan-lr", "8"), ["--plan-lr", "nearest: --planner.lr"]),
    ((*TRAIN_WORDS, "--no-warm-start=8"), ["--no-warm-start", "nearest: --"]),
    ((*TRAIN_WORDS, "--algo", "ddpg", "--planner.lr", "8"), ["--planner.lr", "--actor-lr"]),
    (("evaluate", "nowhere", "--command", "8"), ["--command is not a flag of rgrl evaluate", "--commands"]),
    (("evaluate", "nowhere"), ["'nowhere'", "not a run folder"]),
    (("resume", "nowhere"), ["'nowhere'", "not a run folder"]),
    (("plot", "nowhere"), ["'nowhere'", "not a run folder"]),
    (("watch", "nowhere"), ["'nowhere'", "not a run folder"]),
]


@pytest.mark.parametrize("words, parts", BAD, ids=[" ".join(words)[:60] for words, _ in BAD])
@pytest.mark.parametrize("json_flag", [[], ["--json"]], ids=["text", "json"])
def test_bad_input(rgrl_command, tmp_path, monkeypatch, words, parts, json_flag):
    """One line on standard error that says what was wrong, exit code 2, and not a single file."""
    monkeypatch.chdir(tmp_path)
    err = complaint(rgrl_command(*words, *json_flag))
    for part in parts:
        assert part in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words, parts",
    [
        (("evaluate", "--episodes", "0"), ["episodes = 0", "at least 1"]),
        (("evaluate", "--seed", str(2**70)), ["seed = "]),
        (("watch", "--seed", str(2**70)), ["seed = "]),
        (("watch", "--frames", "0"), ["frames = 0", "at least 1"]),
        (("watch", "--out", "film.mp4"), ["film.mp4", ".gif"]),
        (("plot", "--out", "curve.docx"), ["docx"]),
        (("resume",), ["episodes = 4", "4 already trained"]),
        (("resume", "--episodes", "3"), ["episodes = 3", "4 already trained"]),
        (("resume", "--episodes", "0"), ["episodes = 0"]),
    ],
    ids=lambda x: " ".join(x)[:40] if isinstance(x, tuple) else "",
)
def test_bad_input_for_a_run(rgrl_command, folder, tmp_path, monkeypatch, words, parts):
    """The same for the commands that read a run, which stays as it is."""
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    err = complaint(rgrl_command(words[0], folder, *words[1:], "--json"))
    for part in parts:
        assert part in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_environment_that_cannot_be_drawn(rgrl_command, tmp_path):
    """FrozenLake has no renderer; those that have are named before anything is played."""
    config = rgrl.preset("FrozenLake-misc")
    run_folder.write_config(tmp_path, config, {"seed": 0, "seeds": 1, "preset": "tuned"})
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 1, jax.jit(rgrl.init)(jax.random.key(0), config))
    err = complaint(rgrl_command("watch", tmp_path))
    assert "FrozenLake-misc" in err
    assert "CartPole-v1" in err
    assert not list(tmp_path.glob("*.gif"))


def test_damaged_folder(rgrl_command, folder):
    """A config.json that lost an entry, or half of its text, is one line as well."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    whole = path.read_text()
    path.write_text(whole[:100])
    assert "not valid JSON" in complaint(rgrl_command("evaluate", folder))
    path.write_text(json.dumps({name: content[name] for name in content if name != "algo"}))
    assert "algo" in complaint(rgrl_command("evaluate", folder))


def test_out_that_cannot_be_made(rgrl_command, tmp_path):
    """A run folder below a file is an error of the operating system, told in one line."""
    file = tmp_path / "file"
    file.write_text("a file")
    assert str(file) in complaint(rgrl_command("train", "CartPole-v1", "--out", file / "run"))


def test_existing_folder_on_the_command_line(rgrl_command, folder):
    """The error names the folder and the way out; nothing in the folder has changed."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    err = complaint(rgrl_command("train", "CartPole-v1", *ARGUMENTS, "--out", folder, "--json"))
    assert str(folder) in err
    assert "--overwrite" in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("words", [(*TRAIN_WORDS, "--planner.horizon", "0"), ("evaluate", "nowhere")])
def test_debug_shows_the_exception(words):
    """With --debug the exception itself comes out, with its traceback."""
    with pytest.raises((ValueError, FileNotFoundError)):
        cli.main([*words, "--debug"])


@pytest.mark.parametrize(
    "words, part",
    [
        ((), "subcommand"),
        (("trian", "CartPole-v1"), "trian"),
        (("train",), "environment"),
        ((*TRAIN_WORDS, "--model.width", "wide"), "--model.width"),
        ((*TRAIN_WORDS, "--model.width"), "--model.width"),
        ((*TRAIN_WORDS, "--preset"), "--preset"),
        (("evaluate", "run", "--episodes", "1.5"), "--episodes"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_arguments_that_do_not_fit(rgrl_command, words, part):
    """Misspelt or missing arguments: exit code 2, the name on standard error, nothing on standard output."""
    code, out, err = rgrl_command(*words)
    assert code == 2
    assert out == ""
    assert part in err
    assert "Traceback" not in err


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_interrupt(rgrl_command, monkeypatch, debug):
    """Ctrl-C ends with exit code 130 and says how to go on."""

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.List, "call", stop)
    code, out, err = rgrl_command("list", *debug)
    assert (code, out) == (130, "")
    assert "rgrl resume" in err


# Arguments.


def test_help_shows_every_setting(rgrl_command):
    """``train --help`` explains every field of the config and every option, in groups, and exits with 0."""
    code, out, err = rgrl_command("train", "--help")
    assert (code, err) == (0, "")
    settings = {setting.path: setting for setting in fields.settings(rgrl.RGRLConfig) if setting.path != "env_id"}
    for name in {*settings, *(field.name for field in dataclasses.fields(cli.Train))} - {"env"}:
        flag = f"--{name.replace('_', '-')}"
        assert any(f"{flag}{end}" in out for end in (" ", ",", "\n")), flag
    text = " ".join(out.replace("│", " ").split())
    assert "Steps of a plan. [T; integer, at least 1]" in text
    assert "{gradient,shooting,cem,mppi}" in text
    assert "Examples: rgrl train" in text and "planner options" in text
    for setting in settings.values():
        assert " ".join(setting.help.split()) in text, setting.path


def test_help_without_docstrings():
    """``python -OO``, which drops docstrings, shows the same help; and no flags are lost for flat configs."""
    child = start_process("-OO", "-m", "rgrl_jax", "train", "CartPole-v1", "--algo", "weight_max", "--help")
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    text = " ".join(out.replace("│", " ").split())
    assert "Train an agent, and keep its numbers" in text and "--seeds INT Runs trained in lockstep" in text
    assert "--actor-lr [FLOAT [FLOAT ...]]" in text and "--algorithm" not in text


def test_long_runs_are_looked_at_less_often():
    """By default a hundredth of the episodes goes by between two looks."""
    assert cli.parse(["train", "CartPole-v1"])[0].chunk == 1
    assert cli.parse(["train", "CartPole-v1", "--algo", "weight_max"])[0].chunk == 10


@pytest.mark.parametrize("command", ["evaluate", "resume", "plot", "watch", "list"])
def test_help_of_the_others(rgrl_command, command):
    """Every command explains itself, with --json."""
    code, out, _ = rgrl_command(command, "--help")
    assert code == 0
    assert "--json" in out
    assert command in rgrl_command("--help")[1]


@pytest.mark.parametrize(
    "words, expected",
    [
        (["CartPole-v1"], ("CartPole-v1", "tuned", {})),
        (["CartPole-v1", "--preset", "paper"], ("CartPole-v1", "paper", {})),
        (["--preset=paper", "Acrobot-v1"], ("Acrobot-v1", "paper", {})),
        (["--preset", "paper", "MountainCar-v0"], ("MountainCar-v0", "paper", {})),
        (["CartPole-v1", "--model.width", "40", "--preset", "paper"], ("CartPole-v1", "paper", {"model.width": 40})),
        (["--model.width", "40", "Acrobot-v1"], ("Acrobot-v1", "tuned", {"model.width": 40})),
        (["CartPole-v1", "--reference.no-biases"], ("CartPole-v1", "tuned", {"reference.biases": False})),
        (["CartPole-v1", "--planner.lr", "0.7"], ("CartPole-v1", "tuned", {"planner.lr": 0.7})),
        (["CartPole-v1", "--max-steps", "77"], ("CartPole-v1", "tuned", {"max_steps": 77})),
        (["CartPole-v1", "--preset", "paper", "--max-steps", "None"], ("CartPole-v1", "paper", {"max_steps": None})),
        (["--out", "Acrobot-v1", "CartPole-v1", "--preset", "paper"], ("CartPole-v1", "paper", {})),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_settings_reach_the_config(words, expected):
    """The preset of the environment gives the defaults, wherever it stands among the arguments; options win."""
    command, settings = cli.parse(["train", *words])
    env_id, name, changes = expected
    assert (command.env, command.preset) == (env_id, name)
    assert rgrl.preset(env_id, name, **settings) == rgrl.preset(env_id, name, **changes)


def test_settings_of_other_algorithms():
    """Flat configs of tuples have flat flags; the algorithm is no setting."""
    command, settings = cli.parse(["train", "CartPole-v1", "--algo=backprop", "--actor-lr", "0.5", "0.25", "0.125"])
    assert command.algo == "backprop" and settings["actor_lr"] == (0.5, 0.25, 0.125)
    assert not settings.keys() & {"algorithm", "env_id"}


def test_train_defaults():
    """The command does no more than it is told to, and parsing makes no array, so that processes can still join."""
    command, settings = cli.parse(["train", "CartPole-v1"])
    assert command == cli.Train(env="CartPole-v1")
    assert rgrl.preset("CartPole-v1", **settings) == rgrl.preset("CartPole-v1")
    code = "from rgrl_jax.experiment import cli; from jax._src import xla_bridge; cli.parse(['train', 'Acrobot-v1'])"
    child = start_process("-c", f"{code}; print(xla_bridge._backends)")
    assert child.communicate(timeout=300) == ("{}\n", "")
