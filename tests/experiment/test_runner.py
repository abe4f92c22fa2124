"""The host loop: it changes no number of train, calls its callbacks in order, and stops when something is wrong."""

import dataclasses
from io import StringIO

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from tiny import TRAIN, ToyConfig, ToyState, assert_same, logged, register_toy, says, tiny_config, toy_learn, trained

import rgrl_jax as rgrl
from rgrl_jax import envs, training
from rgrl_jax.callbacks import Callback, Checkpoint, CSVLog, Progress, StopAtGoal

KEY = jax.random.key(0)


class Recorder(Callback):
    """Writes down what it sees, in a list that several may share."""

    def __init__(self, log, name="", fail_at=None, error=None, stop_at=None):
        self.log, self.name, self.fail_at, self.stop_at = log, name, fail_at, stop_at
        self.error = error or RuntimeError("on purpose")

    def note(self, what, run):
        """One line of the log."""
        self.log.append(f"{self.name}{what}{run.episode}")

    def begin(self, run):
        """Notes it."""
        self.note("begin", run)
        self.first = run

    def after_chunk(self, run):
        """Notes it; fails or stops if its episode has come."""
        assert run is self.first
        self.note("chunk", run)
        if run.episode == self.fail_at:
            raise self.error
        if run.episode == self.stop_at:
            run.stopped = "seen enough"

    def end(self, run):
        """Notes it."""
        self.note("end", run)


def host(metrics):
    """Metrics as NumPy arrays."""
    return jax.tree.map(np.asarray, metrics)


# The real algorithm: numbers.


@pytest.mark.exact
@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_change_no_number(chunk):
    """Chunks of 1, and of 3 with a remainder, give the bits of the one program of train."""
    state, metrics = trained()
    chunked_state, chunked = logged()[1:] if chunk == 1 else rgrl.run(KEY, tiny_config(), chunk=chunk)
    assert_same(chunked_state, state)
    assert_same(chunked, host(metrics))
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(chunked))


def test_tiny_run_does_something():
    """The run that these tests compare with plans, learns, and fills its replay."""
    state, metrics = trained()
    np.testing.assert_array_equal(metrics.episode, [1, 2, 3, 4])
    np.testing.assert_array_equal(metrics.info["plan_loss"] > 0, [False, True, True, True])
    assert (metrics.info["plan_movement"][1:] > 0.01).all()
    assert len(set(metrics.model_loss.tolist())) == 4
    np.testing.assert_array_equal(metrics.env_steps, np.cumsum(metrics.episode_length))
    assert int(state.env_steps) == int(metrics.env_steps[-1]) == int(metrics.info["windows"][-1])
    assert int(state.episode) == 4
    start = jax.jit(rgrl.init)(KEY, tiny_config())
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), start.params, state.params)
    assert all(jax.tree.leaves(moved))


def test_seeds_in_lockstep_are_single_runs():
    """Runs under vmap agree with single runs; rounding may differ, so the first planned episodes are compared."""
    config = tiny_config()
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    states, metrics = rgrl.run(keys, config)
    assert states.episode.shape == (2,)
    for i in range(2):
        alone, single = (TRAIN(keys[i], config)[0], trained(i)[1])
        assert_same(keys[i], jax.random.key(i))
        for name, ours in metrics.columns().items():
            assert ours.shape == (2, 4)
            np.testing.assert_allclose(ours[i, :2], single.columns()[name][:2], rtol=1e-4, atol=1e-4, err_msg=name)
        assert_same(jax.tree.map(lambda x, i=i: x[i], states.key), alone.key)
    assert (metrics.model_loss[0] != metrics.model_loss[1]).all()


@pytest.mark.exact
def test_continued_run_is_the_uninterrupted_one():
    """Two episodes and then two more are the bits of four, and the state that was given is still there."""
    config = tiny_config()
    state, metrics = trained()
    middle, first = rgrl.run(KEY, config.replace(episodes=2))
    kept = jax.tree.map(jnp.copy, middle)
    last, second = rgrl.run(None, config, state=middle)
    assert_same(last, state)
    assert_same(jax.tree.map(lambda *x: np.concatenate(x), first, second), host(metrics))
    assert_same(middle, kept)  # not given away to the program


@pytest.mark.exact
def test_evaluation_between_chunks_changes_no_number():
    """StopAtGoal plays with the agent but leaves no trace in it; a goal out of reach stops nothing."""
    state, metrics = trained()
    checked_state, checked = rgrl.run(KEY, tiny_config(), callbacks=[StopAtGoal(1e9, num_episodes=2)])
    assert_same(checked_state, state)
    assert_same(checked, host(metrics))


class Sabotage(Callback):
    """Makes the step size absurd after an episode."""

    def __init__(self, episode):
        self.episode = episode

    def after_chunk(self, run):
        """Spoils the run when its time has come."""
        if run.episode == self.episode:
            run.config = run.config.replace_at("learner.lr", 1e30)


def test_blow_up_is_reported(tmp_path):
    """The error names field, episode and checkpoint; the checkpoint is there, loads, and is finite."""
    with pytest.raises(FloatingPointError) as error:
        rgrl.run(KEY, tiny_config(), callbacks=[Checkpoint(tmp_path), Sabotage(2)])
    says(error, "model_loss", "episode 3", repr(str(tmp_path / "checkpoints" / "2")), "not finite")
    config, state, _ = rgrl.load_run(tmp_path)
    assert config == tiny_config()
    assert int(state.episode) == 2
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert len(floats) > 20
    assert all(np.isfinite(x).all() for x in floats)


def test_blow_up_at_once(tmp_path):
    """The very first episode can be the bad one: the error arrives as itself and says that nothing was kept."""
    with pytest.raises(FloatingPointError) as error:
        rgrl.run(KEY, tiny_config(**{"learner.lr": 1e30}), callbacks=[Checkpoint(tmp_path)])
    says(error, "model_loss", "episode 1", "no checkpoint")


# The loop itself, on the toy algorithm.


@pytest.mark.parametrize("chunk", [1, 2, 4, 6, 9])
@pytest.mark.parametrize("batched", [False, True])
def test_every_chunk_size(toy, chunk, batched):
    """Any split of six episodes is the one program, for one seed and for three, bit for bit."""
    key = jax.random.split(KEY, 3) if batched else KEY
    train = jax.vmap(rgrl.train, in_axes=(0, None)) if batched else rgrl.train
    state, metrics = jax.jit(train)(key, toy)
    chunked_state, chunked = rgrl.run(key, toy, chunk=chunk)
    assert_same(chunked_state, state)
    assert_same(chunked, host(metrics))
    assert chunked.model_loss.shape == ((3, 6) if batched else (6,))


@pytest.mark.parametrize("batched", [False, True])
def test_continue_anywhere(toy, batched):
    """Stopping after any episode and going on changes nothing, and returns the metrics of the rest only."""
    key = jax.random.split(KEY, 2) if batched else KEY
    whole, metrics = rgrl.run(key, toy)
    for done in (1, 2, 5):
        middle, _ = rgrl.run(key, toy.replace(episodes=done))
        last, rest = rgrl.run(None, toy, state=middle, chunk=2)
        assert_same(last, whole)
        assert_same(rest, jax.tree.map(lambda x, d=done: x[..., d:], metrics))
        assert int(np.max(middle.episode)) == done


def test_key_is_not_needed_with_a_state(toy):
    """With a state the key is ignored, whatever it is."""
    middle, _ = rgrl.run(KEY, toy.replace(episodes=3))
    one, _ = rgrl.run(None, toy, state=middle)
    other, _ = rgrl.run(jax.random.key(99), toy, state=middle)
    assert_same(one, other)


def test_callers_state_survives(toy):
    """The state that is given can be used again and again, and is never written to."""
    middle, _ = rgrl.run(KEY, toy.replace(episodes=2))
    copies = [jax.tree.map(jnp.copy, middle)]
    results = [rgrl.run(None, toy, state=middle, chunk=chunk)[0] for chunk in (1, 2, 4)]
    assert_same(middle, copies[0])
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])


def test_callers_key_survives(toy):
    """Keys can be used again after a run."""
    keys = jax.random.split(KEY, 2)
    one, _ = rgrl.run(keys, toy)
    other, _ = rgrl.run(keys, toy)
    assert_same(one, other)


def test_callbacks_are_called_in_order(toy):
    """begin, after every chunk, end; and within each in the order of the list."""
    log = []
    rgrl.run(KEY, toy, chunk=4, callbacks=[Recorder(log, "a-"), Recorder(log, "b-")])
    expected = ["begin0", "chunk4", "chunk6", "end6"]
    assert log == [f"{name}-{what}" for what in expected for name in "ab"]


class Look(Callback):
    """Keeps what a run shows after every chunk."""

    def __init__(self):
        self.runs, self.seen = [], []

    def begin(self, run):
        """Keeps the run."""
        self.runs.append(run)

    def after_chunk(self, run):
        """Keeps copies of what changes."""
        self.seen.append((run.episode, run.chunk, jax.tree.map(jnp.copy, run.state)))


@pytest.mark.parametrize("seeds", [None, 1, 3])
def test_what_callbacks_see(toy, seeds):
    """Chunk metrics ``[N, episodes]``, the state after the chunk, and the facts of the run."""
    look = Look()
    key = KEY if seeds is None else jax.random.split(KEY, seeds)
    state, metrics = rgrl.run(key, toy, chunk=4, callbacks=[look])
    run = look.runs[0]
    assert (run.config, run.batched, run.planned) == (toy, seeds is not None, 6)
    assert (run.stopped, run.checkpoint) == ("", None)
    assert set(run.seconds) == {"compile", "train", "callbacks"}
    assert all(value >= 0 for value in run.seconds.values())
    assert [episode for episode, _, _ in look.seen] == [4, 6]
    assert [chunk.model_loss.shape for _, chunk, _ in look.seen] == [(seeds or 1, 4), (seeds or 1, 2)]
    joined = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *(chunk for _, chunk, _ in look.seen))
    assert_same(joined if seeds else jax.tree.map(lambda x: x[0], joined), metrics)
    for episode, _, then in look.seen:
        assert int(np.max(then.episode)) == episode
    assert_same(look.seen[-1][2], state)


def test_callback_can_stop_the_run(toy):
    """After ``run.stopped`` is set nothing is trained; the callbacks after it still see the chunk."""
    log = []
    state, metrics = rgrl.run(KEY, toy, callbacks=[Recorder(log, "a-", stop_at=3), Recorder(log, "b-")])
    assert int(state.episode) == 3
    assert metrics.episode.tolist() == [1, 2, 3]
    assert log[-4:] == ["a-chunk3", "b-chunk3", "a-end3", "b-end3"]
    whole, _ = rgrl.run(KEY, toy)
    assert_same(rgrl.run(None, toy, state=state)[0], whole)


@pytest.mark.parametrize("error", [RuntimeError("on purpose"), KeyboardInterrupt(), SystemExit(3)])
def test_end_comes_after_an_error_in_a_callback(toy, error):
    """Whatever a callback raises goes up unchanged, after the end of every callback."""
    log = []
    recorders = [Recorder(log, "a-", fail_at=2, error=error), Recorder(log, "b-")]
    with pytest.raises(type(error)) as caught:
        rgrl.run(KEY, toy, callbacks=recorders)
    assert caught.value is error
    assert log[-3:] == ["a-chunk2", "a-end2", "b-end2"]


def test_end_comes_after_an_error_in_begin(toy):
    """An error before the first chunk ends the run as well."""

    class Bad(Recorder):
        def begin(self, run):
            raise OSError("disk full")

    log = []
    with pytest.raises(OSError, match="disk full"):
        rgrl.run(KEY, toy, callbacks=[Bad(log, "a-"), Recorder(log, "b-")])
    assert log == ["a-end0", "b-end0"]


def interrupt_chunk(monkeypatch, number):
    """Ctrl-C while chunk ``number`` is being computed: its program has begun, its result never arrives."""
    wait, calls = jax.block_until_ready, []

    def impatient(tree):
        out = wait(tree)
        if isinstance(out, tuple) and isinstance(out[0], ToyState):
            calls.append(1)
            if len(calls) == number:
                raise KeyboardInterrupt
        return out

    monkeypatch.setattr(jax, "block_until_ready", impatient)


@pytest.mark.parametrize("every", [1, 2, 10])
def test_interrupt_inside_a_chunk(toy, monkeypatch, tmp_path, every):
    """Ctrl-C while a chunk is computed arrives as such; what was checkpointed before can be resumed."""
    whole, _ = rgrl.run(KEY, toy)
    log = []
    interrupt_chunk(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        rgrl.run(KEY, toy, callbacks=[Checkpoint(tmp_path, every=every), Recorder(log)])
    monkeypatch.undo()
    assert log == ["begin0", "chunk1", "chunk2", "chunk3", "end3"]
    state = rgrl.load_run(tmp_path).state
    assert int(state.episode) == 3
    assert_same(rgrl.run(None, toy, state=state)[0], whole)


@pytest.mark.parametrize("chunk", [1, 2, 6])
@pytest.mark.parametrize("every", [1, 2, 10])
def test_nan_is_named(toy, tmp_path, chunk, every):
    """A NaN in episode 4 is found in its chunk, whatever the sizes; nothing of that chunk is kept."""
    log = []
    good = 3 // chunk * chunk
    with pytest.raises(FloatingPointError) as error:
        rgrl.run(
            KEY,
            toy.replace(bad_episode=4.0),
            chunk=chunk,
            callbacks=[CSVLog(tmp_path), Checkpoint(tmp_path, every=every), Recorder(log)],
        )
    saved = good // (chunk * every) * chunk * every
    kept = repr(str(tmp_path / "checkpoints" / str(saved))) if saved else "no checkpoint"
    says(error, "model_loss = nan", "episode 4", "not finite", kept)
    assert log[-1] == f"end{good}"
    rows = (tmp_path / "metrics.csv").read_text().splitlines()[1:] if good else []
    assert [int(row.split(",")[1]) for row in rows] == list(range(1, good + 1))
    if saved:
        state = rgrl.load_run(tmp_path).state
        assert int(state.episode) in (saved, good)
        assert_same(rgrl.run(None, toy, state=state)[0], rgrl.run(KEY, toy)[0])


def test_nan_of_one_seed_is_named(toy):
    """With several seeds the message says which; the earliest bad episode counts."""
    keys = jax.random.split(KEY, 3)
    bad = toy.replace(bad_episode=5.0)
    with pytest.raises(FloatingPointError, match=r"model_loss = nan in episode 5 of run 0 "):
        rgrl.run(keys, bad, chunk=6)
    start = jax.vmap(rgrl.init, in_axes=(0, None))(keys, toy)
    start = start.replace(weight=start.weight.at[1, 0].set(jnp.inf))
    with pytest.raises(FloatingPointError, match=r"episode_return = inf in episode 1 of run 1 "):
        rgrl.run(None, toy, state=start, chunk=6)


def test_earliest_bad_episode_is_named(toy):
    """The first run goes wrong in episode 5, the last one in episode 2: the message is about the latter."""

    def learn(*arguments):
        state, metrics = toy_learn(*arguments)
        late = state.skill < skills[2]
        bad = state.episode == jnp.where(late, 5, jnp.where(state.skill > skills[2], 7, 2))
        return state, metrics.replace(info={"plan_loss": jnp.where(bad, jnp.nan, 0.0)})

    keys = jax.random.split(KEY, 8)
    skills = jax.vmap(rgrl.init, in_axes=(0, None))(keys, toy).skill
    order = jnp.argsort(skills)[jnp.array([0, 7, 4])]  # low, high, middle
    keys, skills = keys[order], skills[order]
    register_toy(learn=learn)
    with pytest.raises(FloatingPointError, match=r"plan_loss = nan in episode 2 of run 2 "):
        rgrl.run(keys, toy, chunk=6)


@pytest.mark.parametrize("field", ["episode_return", "model_loss", "movement"])
@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
def test_watched_fields(toy, field, value):
    """Neither NaN nor an infinity passes in any of the numbers, those of the algorithm's info among them."""

    def learn(*arguments):
        state, metrics = toy_learn(*arguments)
        bad = jnp.where(state.episode == 2, value, 0.0)
        return state, metrics.replace(**{field: bad} if field in dir(metrics) else {"info": {field: bad}})

    register_toy(learn=learn)
    with pytest.raises(FloatingPointError, match=f"{field} = {value} in episode 2"):
        rgrl.run(KEY, toy, chunk=3)


def test_nan_after_resuming_names_the_old_checkpoint(toy, tmp_path):
    """The last good checkpoint may be of an earlier session."""
    bad = toy.replace(bad_episode=4.0)
    rgrl.run(KEY, bad.replace(episodes=3), callbacks=[Checkpoint(tmp_path)])
    state = rgrl.load_run(tmp_path).state
    with pytest.raises(FloatingPointError) as error:
        rgrl.run(None, bad, state=state, callbacks=[Checkpoint(tmp_path)])
    says(error, tmp_path / "checkpoints" / "3")


def test_nothing_left_to_train(toy):
    """A run that is complete is not silently returned; both numbers are named."""
    state, _ = rgrl.run(KEY, toy)
    for planned in (6, 5):
        log = []
        with pytest.raises(ValueError) as error:
            rgrl.run(None, toy.replace(episodes=planned), state=state, callbacks=[Recorder(log)])
        says(error, f"episodes = {planned}", "6 already trained")
        assert log == []


@pytest.mark.parametrize("chunk", [0, -1])
def test_chunk_out_of_range(toy, chunk):
    """A chunk has at least one episode."""
    with pytest.raises(ValueError) as error:
        rgrl.run(KEY, toy, chunk=chunk)
    says(error, f"chunk = {chunk}", "at least 1")


def test_neither_key_nor_state(toy):
    """One of them is needed."""
    with pytest.raises(ValueError, match="key = None"):
        rgrl.run(None, toy)


def test_bad_config_is_found_before_anything_happens(toy):
    """No callback begins with a config out of range."""
    log = []
    with pytest.raises(ValueError, match="rate = -1"):
        rgrl.run(KEY, toy.replace(rate=-1.0), callbacks=[Recorder(log)])
    with pytest.raises(ValueError, match="planner.horizon = 0"):
        rgrl.run(KEY, tiny_config().replace_at("planner.horizon", 0), callbacks=[Recorder(log)])
    assert log == []


def test_config_without_an_algorithm():
    """Only configs of registered algorithms can be run; those are listed."""
    with pytest.raises(TypeError, match="ToyConfig.*RGRLConfig"):
        rgrl.run(KEY, ToyConfig(env_id="CartPole-v1"))


def test_goals_at_either_end(toy):
    """A goal below everything stops the run after its first chunk; one above everything never does."""
    look = Look()
    callbacks = [StopAtGoal(-1.0, num_episodes=3), look]
    state, metrics = rgrl.run(KEY, toy.replace(gain=1.0), chunk=2, callbacks=callbacks)
    assert int(state.episode) == 2
    assert metrics.episode.tolist() == [1, 2]
    assert look.runs[0].stopped == "goal of -1 met over 3 noiseless episodes"
    whole, _ = rgrl.run(KEY, toy.replace(gain=1.0), callbacks=[StopAtGoal(1e9)])
    assert_same(whole, rgrl.run(KEY, toy.replace(gain=1.0))[0])


def test_goal_of_one_run(toy):
    """The toy's noiseless return grows with training: the run stops at the first episode that reaches the goal."""
    skill = float(rgrl.init(KEY, toy).skill)
    goal = 3.0 * (1.0 + skill) - 0.01  # met by episode 3
    state, _ = rgrl.run(KEY, toy.replace(gain=1.0), callbacks=[StopAtGoal(goal, num_episodes=4)])
    assert int(state.episode) == 3
    state, _ = rgrl.run(KEY, toy.replace(gain=1.0), chunk=2, callbacks=[StopAtGoal(goal, num_episodes=4)])
    assert int(state.episode) == 4  # looked at after every second episode only


@pytest.mark.parametrize("count", [2, 5])
def test_goal_with_a_standard_error_to_spare(toy, count):
    """Returns that scatter must reach the goal with their mean less its standard error."""
    config = toy.replace(gain=1.0, spread=0.8)
    skill = float(rgrl.init(KEY, toy).skill)
    scatter = 0.8 * np.arange(count)
    error = scatter.std(ddof=1) / np.sqrt(count)
    for slack, expected in ((0.01, 3), (-0.01, 4)):
        goal = 3.0 * (1.0 + skill) - error - slack
        state, _ = rgrl.run(KEY, config, callbacks=[StopAtGoal(goal, num_episodes=count)])
        assert int(state.episode) == expected


def test_goal_over_one_episode(toy):
    """One episode has no scatter: it alone decides."""
    config = toy.replace(gain=1.0, spread=0.8)
    goal = 3.0 * (1.0 + float(rgrl.init(KEY, toy).skill)) - 0.01
    state, _ = rgrl.run(KEY, config, callbacks=[StopAtGoal(goal, num_episodes=1)])
    assert int(state.episode) == 3


@pytest.mark.parametrize("seeds", [None, 2])
def test_evaluation_keys_are_new(toy, seeds):
    """The key of an evaluation is none that training uses, nor a child of one, and another after every episode."""
    key = KEY if seeds is None else jax.random.split(KEY, seeds)
    start = rgrl.init if seeds is None else jax.vmap(rgrl.init, in_axes=(0, None))
    draw = training.evaluation_key if seeds is None else jax.vmap(training.evaluation_key)
    state = start(key, toy)
    seen = set()
    for episode in range(8):
        now = state.replace(episode=jnp.full_like(state.episode, episode))
        found = jax.random.key_data(draw(now))
        assert found.shape == (*state.episode.shape, 2)
        seen |= {tuple(row) for row in np.asarray(found).reshape(-1, 2).tolist()}
    assert len(seen) == 8 * (seeds or 1)
    runs = state.key.reshape(-1)
    used = jax.vmap(lambda k: jax.vmap(lambda i: jax.random.fold_in(k, i))(jnp.arange(500)))(runs)
    children = jax.vmap(jax.vmap(lambda k: jax.random.split(k, 8)))(used)
    for keys in (used, children):
        words = np.asarray(jax.random.key_data(keys)).reshape(-1, 2)
        assert seen.isdisjoint(map(tuple, words.tolist()))


def test_goal_of_all_seeds(toy):
    """Several seeds stop once the worst of them has reached the goal."""
    keys = jax.random.split(KEY, 3)
    skills = np.asarray(jax.vmap(rgrl.init, in_axes=(0, None))(keys, toy).skill)
    assert 2 * (1 + skills.max()) > 3 * (1 + skills.min())  # the best would stop earlier
    goal = 3.0 * (1.0 + skills.min()) - 0.01
    state, _ = rgrl.run(keys, toy.replace(gain=1.0), callbacks=[StopAtGoal(goal)])
    assert state.episode.tolist() == [3, 3, 3]


def test_goal_of_the_environment(toy):
    """Without a number the goal is the environment's, 1 in the toy's."""
    skill = float(rgrl.init(KEY, toy).skill)
    config = toy.replace(gain=1.001 / (1 + skill) / 4)  # 1 in episode 4
    state, _ = rgrl.run(KEY, config, callbacks=[StopAtGoal()])
    assert int(state.episode) == 4


@pytest.fixture
def aimless():
    """An environment without a goal."""
    rgrl.register_env("Aimless", lambda _: dataclasses.replace(envs.make("Toy"), env_id="Aimless", goal=None))
    yield
    envs.unregister("Aimless")


def test_environment_without_a_goal(toy, aimless):
    """Nothing is evaluated and nothing stops."""
    state, _ = rgrl.run(KEY, toy.replace(env_id="Aimless", gain=1e9), callbacks=[StopAtGoal()])
    assert int(state.episode) == 6


def test_one_stopper_for_two_runs(toy, aimless):
    """A callback without a goal of its own asks every run's environment anew."""
    stopper = StopAtGoal()
    rgrl.run(KEY, toy.replace(gain=0.01), callbacks=[stopper])
    state, _ = rgrl.run(KEY, toy.replace(env_id="Aimless", gain=10.0), callbacks=[stopper])
    assert int(state.episode) == 6


def test_progress_shows_the_run(toy):
    """The bar goes to the console it was given, with the last numbers in it."""
    for key in (KEY, jax.random.split(KEY, 2)):
        out = StringIO()
        rgrl.run(key, toy, callbacks=[Progress(Console(file=out, width=120))])
        assert "6/6" in out.getvalue()
        for name in ("return", "loss", "movement"):
            assert name in out.getvalue()
        assert "windows" not in out.getvalue() and "plan loss" not in out.getvalue()  # no float; no more room


def test_progress_is_closed_after_an_error(toy):
    """A second bar can be drawn after a run that failed: the first let go of the terminal."""
    console = Console(file=StringIO(), width=120)
    with pytest.raises(RuntimeError, match="on purpose"):
        rgrl.run(KEY, toy, callbacks=[Progress(console), Recorder([], fail_at=2)])
    rgrl.run(KEY, toy, callbacks=[Progress(console)])
