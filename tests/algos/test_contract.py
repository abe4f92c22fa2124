"""The contract, held by every algorithm that is registered; a new one is tested by being there."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from tiny_configs import EPISODES, MAX_STEPS, config_of, no_compiling, refusal

import rgrl_jax as rgrl
from rgrl_jax import rollout, training
from rgrl_jax.algos import base, fields
from rgrl_jax.experiment import checkpoint, host_rollout, run_folder

KEY, OTHER = jax.random.key(3), jax.random.key(4)
NAMES = rgrl.algos.names()
every_algorithm = pytest.mark.parametrize("name", NAMES)


def whole_run(key, config):
    """The state before a run, the one after it, and its metrics."""
    start = rgrl.init(key, config)
    return start, *rgrl.train(None, config, start)


@functools.cache
def two_configs(name):
    """A tiny config, and the same with every float moved that may be moved."""
    config = other = config_of(name)
    for setting in fields.settings(type(config)):
        if setting.traced:
            value = jax.tree.map(lambda x: 0.9 * x, fields.get_at(config, setting.path))
            if not refusal(other.replace_at(setting.path, value).validate):
                other = other.replace_at(setting.path, value)
    assert other != config, "nothing can be mapped"
    return config, other


@functools.cache
def two_runs(name):
    """Runs of two keys and of two configs, side by side in one program."""
    configs = two_configs(name)
    paths = [setting.path for setting in fields.settings(type(configs[0])) if setting.traced]
    grid = jax.tree.map(lambda *x: jnp.stack([jnp.float32(y) for y in x]), *configs)
    both = jax.vmap(whole_run, in_axes=(0, configs[0].axes(*paths)))
    found = jax.jit(both)(jnp.stack([KEY, OTHER]), grid)
    return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(2)]


def trained(name):
    """First and last state, and metrics, of the first of them."""
    return two_runs(name)[0]


WHOLE = jax.jit(whole_run)
ONE_ROW = jax.jit(lambda state, config: rgrl.train(None, config, state, 1))
PLAY = jax.jit(training.play, static_argnums=3)


@functools.cache
def in_chunks(name):
    """The first run alone, as a whole; and a row at a time: states before the first row and after each, and rows."""
    whole = WHOLE(KEY, config_of(name))
    states, rows = [whole[0]], []
    for _ in range(EPISODES):
        state, row = ONE_ROW(states[-1], config_of(name))
        states, rows = [*states, state], [*rows, row]
    return whole, states, rows


@pytest.fixture(scope="module", autouse=True)
def _forget_runs():
    """Runs are kept for the tests that follow, and forgotten at the end."""
    yield
    for kept in (two_runs, in_chunks):
        kept.cache_clear()


def assert_close(one, other, **tolerance):
    """Equal up to the order in which numbers are added; integers, flags and keys are equal."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (path, x), y in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        x, y = tiny.words(x), tiny.words(y)
        if x.dtype.kind == "f":
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4, err_msg=jax.tree_util.keystr(path))
        else:
            np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))


# Runs.


@pytest.mark.exact
@every_algorithm
def test_chunks_are_the_whole(name):
    """Row by row on from the state, bit for bit."""
    (_, state, metrics), states, rows = in_chunks(name)
    tiny.assert_same(states[-1], state)
    tiny.assert_same(jax.tree.map(lambda *x: jnp.concatenate(x), *rows), metrics)


@pytest.mark.exact
@every_algorithm
def test_resumed_is_uninterrupted(name, tmp_path):
    """A run goes on from a checkpoint, of which config and state are read back from disk, bit for bit."""
    config, (_, states, rows) = config_of(name), in_chunks(name)
    run_folder.write_config(tmp_path, config, {"seed": 3, "seeds": 1})
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 2, states[2], config)
    loaded = checkpoint.load_run(tmp_path)
    assert loaded.config == config
    tiny.assert_same(loaded.state, states[2])
    state, row = ONE_ROW(loaded.state, loaded.config)
    tiny.assert_same(state, states[3])
    tiny.assert_same(row, rows[2])


class Counting(tiny.OnHost):
    """An environment on the host that counts the steps of all of them."""

    total = 0

    def step(self, action):
        """Goes on."""
        Counting.total += 1
        return super().step(action)


@every_algorithm
def test_runs_side_by_side_and_on_the_host_are_single_runs(name):
    """A pure environment stepped on the host and reset by the same keys, one run after the other.

    ``vmap`` over keys and over every float of the config makes the same runs, and so does the compiled rollout.
    """
    for config, (start, *trained) in zip(two_configs(name), two_runs(name), strict=True):
        Counting.total = 0
        with tiny.hosted(config.env_id, config.max_steps, kind=Counting) as env_id:
            assert_close(host_rollout.train(start, config.replace(env_id=env_id), EPISODES), tuple(trained))
        assert Counting.total * config.action_repeat == int(trained[0].env_steps)
    assert tiny.OnHost.alive == 0


@every_algorithm
def test_noiseless_episodes_on_the_host_are_those_that_are_compiled(name):
    """Of one frozen agent."""
    config, state = config_of(name), trained(name)[1]
    with tiny.hosted(config.env_id, config.max_steps) as env_id:
        assert_close(host_rollout.play(OTHER, state, config.replace(env_id=env_id), 3), PLAY(OTHER, state, config, 3))


@every_algorithm
def test_a_state_holds_arrays_and_keeps_its_shape(name):
    """Leaves are arrays; structure, shapes and dtypes are those of `init` throughout."""
    start, end, _ = trained(name)
    shapes = jax.eval_shape(rgrl.init, KEY, config_of(name))
    for state in (start, end):
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
        assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), shapes)
        assert not any(getattr(leaf, "weak_type", False) for leaf in jax.tree.leaves(state))
    assert "episode=0" in repr(start) and len(repr(start)) < 1000


@every_algorithm
def test_metrics_count_and_are_finite(name):
    """Every row tells what was trained so far; all floats are finite; something is learnt."""
    config, (start, state, metrics) = config_of(name), trained(name)
    steps, num_envs = np.diff(metrics.env_steps, prepend=0), getattr(config, "num_envs", 1)
    played = num_envs * config.episodes_per_row
    assert all(np.shape(x) == (EPISODES,) and np.isfinite(x).all() for x in metrics.columns().values())
    np.testing.assert_array_equal(metrics.episode, np.arange(1, EPISODES + 1))
    assert (int(state.episode), int(state.env_steps)) == (int(metrics.episode[-1]), int(metrics.env_steps[-1]))
    assert not np.any(steps % config.action_repeat)
    longest = steps // config.action_repeat / played - metrics.episode_length
    assert np.all((longest >= 0) & (longest < config.episodes_per_row)), "lengths are means, rounded down"
    assert np.all(metrics.episode_length <= MAX_STEPS) and np.all(metrics.episode_length > 0)
    assert metrics.terminated.dtype == bool
    pairs = zip(jax.tree.leaves(start), jax.tree.leaves(state), strict=True)
    assert sum(np.any(tiny.words(x) != tiny.words(y)) for x, y in pairs) > 3


@every_algorithm
def test_every_episode_has_its_own_key(name):
    """Environments are reset to other states in every episode and in every run."""
    config, (one, other) = config_of(name), two_runs(name)
    act = base.get_algorithm(config).act

    @jax.jit
    def keys(state):
        each = jax.vmap(lambda i: rollout.reset_keys(act(state.replace(episode=i), config)))
        return jax.random.key_data(each(jnp.arange(4)))

    drawn = np.concatenate([keys(one[0]), keys(other[0])]).reshape(-1, 2)
    assert len(np.unique(drawn, axis=0)) == len(drawn) >= 8
    np.testing.assert_array_equal(keys(one[0].replace(env_steps=one[0].env_steps + 9)), keys(one[0]))
    pairs = [(getattr(run[2], name) for run in (one, other)) for name in ("episode_return", "model_loss")]
    assert any(np.any(x != y) for x, y in pairs)


@every_algorithm
def test_evaluation_is_reproducible_and_without_noise(name):
    """The same key plays the same episodes; another one others; noise in training does not reach them."""
    config, state = config_of(name), trained(name)[1]
    episode = PLAY(OTHER, state, config, 3)
    tiny.assert_same(PLAY(OTHER, state, config, 3), episode)
    assert episode.length.shape == (3,) and np.all(episode.terminated | episode.truncated)
    assert np.all(np.isfinite(episode.reward)) and not np.any(episode.terminated & episode.truncated)
    assert not np.array_equal(PLAY(KEY, state, config, 3).obs, episode.obs)
    noisy = config
    for setting in fields.settings(type(config)):
        if setting.traced and any(word in setting.path for word in ("noise", "epsilon", "warmup")):
            noisy = noisy.replace_at(setting.path, 0.5 * fields.get_at(config, setting.path) + 0.3)
    tiny.assert_same(PLAY(OTHER, state, noisy, 3), episode)


@every_algorithm
def test_a_frozen_agent_stays_as_it_is(name):
    """What `evaluation_actor` carries is of the same structure after a decision, and nothing in it is a state."""
    config, state = config_of(name), trained(name)[1]
    algorithm = base.get_algorithm(config)

    def decide(key, state):
        actor = algorithm.evaluation_actor(key, state, config, 2)
        shapes = jax.eval_shape(lambda: rgrl.algos.rollout(config.spec, actor))
        return actor.carry, shapes[1]

    before, after = jax.eval_shape(decide, OTHER, state)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    sizes = [sum(x.size for x in jax.tree.leaves(tree)) for tree in (before, state)]
    assert sizes[0] < sizes[1]


# Costs.


@every_algorithm
def test_cost_compiles_nothing_and_agrees_with_a_run(name):
    """Bytes are those of the state, steps are at least those of the run, and the text is one line."""
    config, (_, state, metrics) = config_of(name), trained(name)
    config.validate()  # makes the environment
    with no_compiling():
        cost = config.describe()
    assert cost.state_bytes == sum(tiny.words(leaf).nbytes for leaf in jax.tree.leaves(state))
    assert cost.env_id == config.env_id and cost.episodes >= EPISODES
    assert int(metrics.env_steps[-1]) <= cost.max_env_steps <= int(metrics.env_steps[-1]) * MAX_STEPS
    weights = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert 0 < cost.parameters < weights and cost.updates > 0 and cost.learn_flops > 0
    assert all(isinstance(x, int) for x in (cost.parameters, cost.updates, cost.learn_flops, *cost.extra.values()))
    assert "\n" not in str(cost) and str(cost).startswith(f"{config.env_id}: ")


# Configs.


def bad_values(rule):
    """Values just outside a range, and of wrong types, each with words that the refusal must hold."""
    if isinstance(rule, fields.PerLayer):
        inner = [((value,), words) for value, words in bad_values(rule.entry)]
        return [(3.0, ("3.0", "tuple")), ([], ("[]", "tuple")), *inner]
    if isinstance(rule, fields.Integer):
        text = f"at least {rule.low}"
        found = [(value, (str(value), text)) for value in (rule.low - 1, rule.low + 0.5, True, "7")]
        return found + [] if rule.optional else [*found, (None, ("None", text))]
    if isinstance(rule, fields.Number):
        ends = [rule.low - 0.5] + ([] if math.isinf(rule.high) else [rule.high + 0.5])
        found = [(value, (str(value), rule.text())) for value in (*ends, math.nan, math.inf, -math.inf)]
        return [*found, ("0.1", ("'0.1'", "number")), (None, ("None", "number")), ([0.1], ("[0.1]", "number"))]
    if isinstance(rule, fields.Choice):
        return [("nonsense", ("'nonsense'", *rule.allowed)), (7, ("7", *rule.allowed)), (None, ("None",))]
    if isinstance(rule, fields.Type) and rule.type is bool:
        return [(value, (repr(value), "True or False")) for value in ("False", 2, None)]
    return [(value, (repr(value),)) for value in (7, "nonsense", None, "")]


@every_algorithm
def test_values_out_of_range_are_refused(name):
    """Each of them in one sentence that names the field, the value and the range, before anything compiles."""
    config = config_of(name)
    with no_compiling():
        for setting in fields.settings(type(config)):
            for value, words in bad_values(setting.rule):
                message = refusal(fields.replace_at(config, setting.path, value).validate)
                assert all(word in message for word in (setting.path, *words)), (setting.path, value, message)


@every_algorithm
def test_the_ends_of_a_range_are_allowed(name):
    """Whatever else does not fit them, it is not the range."""
    for setting in fields.settings(base.registered(name).config_type):
        rule, wrap = setting.rule, lambda x: x
        if isinstance(rule, fields.PerLayer):
            rule, wrap = rule.entry, lambda x: (x, x)
        ends = [getattr(rule, end) for end in ("low", "high") if math.isfinite(getattr(rule, end, math.inf))]
        for value in (*ends, *getattr(rule, "allowed", ())):
            setting.rule.check(setting.path, wrap(value))
        setting.rule.check(setting.path, setting.default)


@every_algorithm
def test_unknown_fields_meet_the_nearest(name):
    """Of every field, misspelt: an override, an axis and a replacement name it again."""
    config = config_of(name)
    for setting in fields.settings(type(config)):
        wrong = setting.path[:-1] + ("x" if setting.path[-1] != "x" else "y")
        acts = [
            lambda wrong=wrong: rgrl.preset(config.env_id, algo=name, **{wrong: 1}),
            lambda wrong=wrong: config.axes(wrong),
            lambda wrong=wrong: config.replace_at(wrong, 1),
        ]
        for act in acts if setting.path == "episodes" else acts[:1]:
            message = refusal(act)
            assert type(config).__name__ in message and repr(wrong) in message and setting.path in message, message


@every_algorithm
def test_floats_are_leaves_and_nothing_else_is(name):
    """So a changed float compiles nothing anew, and anything else does; `axes` and `replace_at` agree with that."""
    config = config_of(name)
    marks = config.axes()
    assert not jax.tree.leaves(marks)
    for setting in fields.settings(type(config)):
        value = fields.get_at(config, setting.path)
        assert config.replace_at(setting.path, value) == config
        if setting.traced:
            moved = config.replace_at(setting.path, jax.tree.map(lambda x: x + 0.25, value))
            assert jax.tree.structure(moved) == jax.tree.structure(config)
            assert jax.tree.leaves(moved) != jax.tree.leaves(config) or value == ()
            assert fields.get_at(config.axes(setting.path), setting.path) == 0
            assert jax.tree.leaves(config.axes(setting.path)) == [0]
        else:
            moved = config.replace_at(setting.path, "other")
            assert jax.tree.structure(moved) != jax.tree.structure(config)
            assert "static" in refusal(lambda path=setting.path: config.axes(path))
            hash(jax.tree.structure(config))
    count = sum(
        len(jax.tree.leaves(fields.get_at(config, x.path))) for x in fields.settings(type(config)) if x.traced
    )
    assert len(jax.tree.leaves(config)) == count


@every_algorithm
def test_a_config_shows_itself(name):
    """As a call that makes it again, with the fields that differ; in a notebook also with the cost of a run."""
    config, scope = config_of(name), {}
    for owner in (type(config), *(type(getattr(config, f.name)) for f in dataclasses.fields(config))):
        scope[owner.__name__] = owner
    assert eval(repr(config), scope) == config
    assert str(config.describe()).split(":")[0] in config._repr_html_()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.episodes = 7


@every_algorithm
def test_every_preset_is_valid(name):
    """It belongs to its environment and its algorithm, and changes no field that does not exist."""
    entry = base.registered(name)
    known = {setting.path for setting in fields.settings(entry.config_type)}
    for preset, table in entry.presets.items():
        for env_id, settings in table.items():
            assert fields.flatten(settings).keys() <= known
            if env_id != "*" and not missing(env_id):
                config = rgrl.preset(env_id, preset, algo=name)
                assert (config.env_id, type(config), base.algorithm_name(config)) == (env_id, entry.config_type, name)
                assert config.describe().parameters > 0
    assert rgrl.algos.list_presets(name).keys() == entry.presets.keys()


@functools.cache
def missing(env_id):
    """Whether an environment needs a package that is not installed here."""
    try:
        rgrl.envs.make(env_id)
    except ImportError:
        return True
    return False


@every_algorithm
def test_help_reads_alone(name):
    """A phrase that begins with a capital and ends with a full stop, and names what it is."""
    for setting in fields.settings(base.registered(name).config_type):
        text = setting.help
        assert text[0].isupper() and text.endswith(".") and "\n" not in text, setting.path
        assert text.split()[0] not in ("What", "How", "Whether", "Who", "Its", "Where", "Which"), setting.path
