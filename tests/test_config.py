"""The config: ranges and their messages, which fields vmap can map, what describe() counts, and the pytree."""

import dataclasses
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY, says, tiny_config, trained

import rgrl_jax as rgrl
from rgrl_jax.algos import config as fields

NAMES = [field.name for field in dataclasses.fields(rgrl.RGRLConfig)]
FLOATS = [field.name for field in dataclasses.fields(rgrl.RGRLConfig) if "high" in field.metadata]
COUNTS = [field.name for field in dataclasses.fields(rgrl.RGRLConfig) if "optional" in field.metadata]
WORDS = [field.name for field in dataclasses.fields(rgrl.RGRLConfig) if "allowed" in field.metadata]
FLAGS = ("zero_terminal_reward", "use_bias", "residual", "feedback", "teacher_forcing", "plan_warm_start", "novelty")


def plain(**overrides):
    """The defaults of the class, not of a preset, cut down; for counts by hand."""
    return rgrl.RGRLConfig(**(TINY | {"reset_every": 0} | overrides))


def complaint(**overrides):
    """The error of a tiny config with these fields."""
    with pytest.raises(ValueError) as error:
        dataclasses.replace(tiny_config(), **overrides).validate()
    says(error, next(iter(overrides)))
    return error


BITS = {"head": "tanh", "state_encoding": "thermometer", "reward_encoding": "thermometer"}
NEEDS = {
    "conv": {"env_id": "Catch-bsuite"},
    "environment": {"planner": "cem"},
    "cross_entropy": BITS,
    "all": {"replay": "priority"},
    "plan_disagreement": {"plan_members": "mean"},
}
"""Words and fields that are refused without others."""


def test_every_field_has_a_rule_or_is_named_here():
    """The lists that the tests below run over leave no field out."""
    assert set(NAMES) == {*FLOATS, *COUNTS, *WORDS, *FLAGS, "env_id", "model", "dropout"}
    assert len(NAMES) == len(FLOATS) + len(COUNTS) + len(WORDS) + len(FLAGS) + 3


def test_defaults_and_tiny_are_valid():
    """Nothing complains about the defaults."""
    rgrl.RGRLConfig().validate()
    tiny_config().validate()


@pytest.mark.parametrize("env_id, near", [("CartPole-v0", "CartPole-v1"), ("pendulum", "Pendulum-v1")])
def test_unknown_environment(env_id, near):
    """The nearest registered environments are named."""
    says(complaint(env_id=env_id), repr(env_id), near)


def test_unknown_model():
    """The nearest registered models are named."""
    says(complaint(model="gruu"), "'gruu'", "gru")


@pytest.mark.parametrize("name", ["env_id", "model"])
def test_a_name_must_be_a_word(name):
    """A number where a name belongs is a plain ValueError too."""
    says(complaint(**{name: 7}), "7")


@pytest.mark.parametrize("name", WORDS)
def test_unknown_word(name):
    """Every choice names what was given and everything allowed."""
    allowed = rgrl.RGRLConfig.__dataclass_fields__[name].metadata["allowed"]
    says(complaint(**{name: "nonsense"}), "'nonsense'", *allowed)
    for word in allowed:
        dataclasses.replace(tiny_config(), **(NEEDS.get(word, {}) | {name: word})).validate()


def test_dropout_is_static_and_a_share():
    """A share of all entries would leave nothing; words and booleans are no shares."""
    for value in (-0.1, 1.0, np.nan, "0.1", True):
        says(complaint(dropout=value), "dropout", value)
    tiny_config(dropout=0.95).validate()
    hash(jax.tree.structure(tiny_config(dropout=0.5)))


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["False", 2, None])
def test_flags_must_be_booleans(name, value):
    """A string such as "False" is true to Python, so it must not pass for a flag."""
    says(complaint(**{name: value}), repr(value))


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [True, 5.0, "5", np.float32(5.0)], ids=["bool", "float", "str", "float32"])
def test_integers_must_be_integers(name, value):
    """A boolean or a float is not silently taken for an integer."""
    says(complaint(**{name: value}), "integer", "at least")


@pytest.mark.parametrize("name", COUNTS)
def test_integers_below_their_range(name):
    """One below the lowest value is refused, with both numbers."""
    low = rgrl.RGRLConfig.__dataclass_fields__[name].metadata["low"]
    says(complaint(**{name: low - 1}), low - 1, f"at least {low}")


@pytest.mark.parametrize("name", sorted(set(COUNTS) - {"max_steps"}))
def test_none_is_no_integer(name):
    """Only the step limit may be None."""
    says(complaint(**{name: None}), "None", "integer")


def test_no_step_limit_is_the_environments_own():
    """``max_steps=None`` stands for 500 steps of CartPole-v1."""
    tiny_config(max_steps=None, replay_capacity=501).validate()
    says(complaint(max_steps=None, replay_capacity=500), "replay_capacity = 500", "501")


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_must_be_finite(name, value):
    """NaN and infinities are refused in every float."""
    says(complaint(**{name: value}), value, "finite")


@pytest.mark.parametrize("name", FLOATS)
def test_floats_outside_their_range(name):
    """The message gives both ends of the range, or the lower one; the ends themselves are allowed."""
    rule = rgrl.RGRLConfig.__dataclass_fields__[name].metadata
    allowed = f"at least {rule['low']:g}" if np.isinf(rule["high"]) else f"{rule['low']:g}..{rule['high']:g}"
    says(complaint(**{name: rule["low"] - 0.5}), rule["low"] - 0.5, allowed)
    config = dataclasses.replace(tiny_config(), **NEEDS.get(name, {}))
    dataclasses.replace(config, **{name: rule["low"]}).validate()
    if np.isfinite(rule["high"]):
        says(complaint(**{name: rule["high"] + 0.5}), rule["high"] + 0.5, allowed)
        dataclasses.replace(config, **{name: rule["high"]}).validate()


NO_NUMBERS = {"digits": "0.1", "word": "fast", "none": None, "complex": 1j, "nothing": (), "list": [0.1]}


@pytest.mark.parametrize("name", ["learning_rate", "plan_lr"])
@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_floats_must_be_numbers(name, value):
    """What is no real number is refused by name, not by a crash further on."""
    complaint(**{name: value})


@pytest.mark.parametrize("name", ["learning_rate", "plan_noise_decay", "desired_reward"])
def test_every_entry_of_a_grid_is_checked(name):
    """One bad entry in an array of settings is found wherever it stands."""
    good = jnp.array([0.1, 0.2, 0.3])
    dataclasses.replace(tiny_config(), **{name: good}).validate()
    for place in range(3):
        for bad in (jnp.nan, jnp.inf, -11.0):
            complaint(**{name: good.at[place].set(bad)})


def test_heads_must_divide_the_width():
    """Both numbers are named."""
    says(complaint(heads=3), "heads = 3", "width = 8")
    tiny_config(heads=8)


def test_horizon_zero():
    """A plan has at least one step."""
    says(complaint(horizon=0), "horizon = 0", "at least 1")


def test_replan_every_within_the_horizon():
    """A plan cannot be executed past its end."""
    tiny_config(replan_every=4)
    says(complaint(replan_every=5), "replan_every = 5", "horizon = 4")


@pytest.mark.parametrize(
    "settings, least",
    [
        ({"max_steps": 12, "horizon": 4}, 13),  # one episode: 12 steps and the last observation
        ({"max_steps": 12, "horizon": 30}, 31),  # one window: present and 30 steps
        ({"max_steps": 12, "horizon": 20, "history_length": 7}, 28),
    ],
    ids=["episode", "window", "history"],
)
def test_replay_holds_an_episode_and_a_window(settings, least):
    """The smallest allowed capacity passes, and one row less does not."""
    tiny_config(replay_capacity=least, **settings)
    says(complaint(replay_capacity=least - 1, **settings), f"replay_capacity = {least - 1}", least, "max_steps")


def test_traced_values_are_skipped_and_the_rest_is_not():
    """Inside jit and vmap floats cannot be looked at; static fields still can."""

    def check(config):
        config.validate()
        return config.plan_lr

    config = tiny_config()
    assert jax.jit(check)(config.replace(plan_lr=0.5)) == 0.5
    grid = config.replace(plan_lr=jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(jax.vmap(check, in_axes=(grid.axes("plan_lr"),))(grid), [0.1, 0.2], rtol=1e-6)
    with pytest.raises(ValueError, match="horizon = 0"):
        jax.jit(check)(config.replace(horizon=0))
    with pytest.raises(ValueError, match="state_noise = -1"):  # concrete, although another one is traced
        jax.jit(lambda rate: config.replace(plan_lr=rate, state_noise=-1.0).validate())(0.1)


@pytest.mark.parametrize("names", [(), ("plan_lr",), ("plan_lr", "learning_rate"), tuple(FLOATS)])
def test_axes_of_floats(names):
    """0 at the named floats and None at the others, in a config of the same static part."""
    config = tiny_config()
    axes = config.axes(*names)
    assert isinstance(axes, rgrl.RGRLConfig)
    for name in FLOATS:
        assert getattr(axes, name) == (0 if name in names else None)
    for name in set(NAMES) - set(FLOATS):
        assert getattr(axes, name) == getattr(config, name)


def test_axes_of_two_floats_map_both():
    """A grid of two settings runs in lockstep with a third that stays."""
    grid = tiny_config(plan_lr=jnp.array([1.0, 2.0]), state_weight=jnp.array([3.0, 5.0]), plan_noise=0.5)

    def product(config):
        return config.plan_lr * config.state_weight + config.plan_noise

    out = jax.jit(jax.vmap(product, in_axes=(grid.axes("plan_lr", "state_weight"),)))(grid)
    np.testing.assert_array_equal(out, [3.5, 10.5])


@pytest.mark.parametrize("name", ["width", "model", "use_bias", "env_id", "plan_members"])
def test_axes_of_a_static_field(name):
    """Static fields cannot be mapped, and the message says so."""
    with pytest.raises(ValueError) as error:
        tiny_config().axes("plan_lr", name)
    says(error, name, "static", "floats")


def test_axes_of_an_unknown_field():
    """The nearest fields are named."""
    with pytest.raises(ValueError) as error:
        tiny_config().axes("learn_rate")
    says(error, "'learn_rate'", "RGRLConfig", "learning_rate")


def test_nearest_lists_everything_if_nothing_is_near():
    """A hopeless name is answered with all there is."""
    assert fields.nearest("zzz", ["abc", "def"]) == "abc, def"
    assert fields.nearest("abd", ["abc", "xyz"]) == "abc"


def documented():
    """The fields that the docstring of the config explains, in order."""
    text = inspect.cleandoc(rgrl.RGRLConfig.__doc__).split("Attributes:\n")[1]
    return re.findall(r"^  (\w+): \S", text, flags=re.MULTILINE)


def test_docstring_explains_every_field():
    """Every field is explained, in the order of definition, and nothing else is."""
    assert documented() == NAMES


def test_describe_counts_what_init_makes():
    """Weights per member and bytes of the state are those of the arrays that a run really holds."""
    config = tiny_config()
    state, _ = trained()
    cost = config.describe()
    members = [leaf.shape[0] for leaf in jax.tree.leaves(state.params)]
    assert set(members) == {config.ensemble_size}
    assert cost.parameters == sum(leaf.size // config.ensemble_size for leaf in jax.tree.leaves(state.params))
    arrays = jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))
    assert cost.state_bytes == sum(np.asarray(x).nbytes for x in arrays)


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 12, "layers": 2, "use_bias": False},
        {"optimizer": "sgd", "state_encoding": "thermometer", "state_bins": 7, "reward_encoding": "thermometer"},
        {"dedupe": "components", "env_id": "Pendulum-v1", "done_size": 3},
    ],
    ids=["width", "encodings", "dedupe"],
)
def test_describe_counts_what_init_would_make(settings):
    """The same for other shapes, against the abstract result of init."""
    config = dataclasses.replace(tiny_config(), **settings)
    state = jax.eval_shape(rgrl.init, jax.random.key(0), config)
    cost = config.describe()
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert cost.parameters * config.ensemble_size == size
    plain = jax.eval_shape(lambda s: s.replace(key=jax.random.key_data(s.key)), state)
    assert cost.state_bytes == sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(plain))


def test_weights_of_the_gru_by_hand():
    """Embeddings, gates and heads of a GRU with S = 4 + 1, A = 2, R = 1 and d = 8."""
    weights = 5 * 8 + 2 * 8 + 2 * (8 * 24) + 8 * 1 + 8 * 5
    biases = 8 + 2 * 24 + 1 + 5
    assert plain(state_encoding="scale", done_size=1, use_bias=True).describe().parameters == weights + biases
    assert plain(state_encoding="scale", done_size=1, use_bias=False).describe().parameters == weights


def test_describe_counts_by_hand():
    """Steps, plans, updates and FLOPs of numbers that differ from each other."""
    config = plain(
        episodes=11,
        warmup_episodes=4,
        max_steps=13,
        replan_every=3,
        plan_starts=2,
        plan_iterations=7,
        learn_iterations=17,
        learn_batch=19,
        ensemble_size=3,
        plan_members="sample",
    )
    cost = config.describe()
    assert cost.env_id == "CartPole-v1"
    assert cost.episodes == 11
    assert cost.max_env_steps == 11 * 13
    assert cost.plans == 7 * 5  # 13 steps are 5 plans of 3
    assert cost.updates == 11 * 17
    weights = cost.parameters
    assert cost.plan_flops == (2 + 2) * weights * 2 * 7 * 4  # starts, iterations, horizon
    assert cost.learn_flops == (2 + 4) * weights * 3 * 17 * 19 * 4  # members, iterations, batch, horizon
    assert config.replace(plan_members="mean").describe().plan_flops == 3 * cost.plan_flops
    assert config.replace(warmup_episodes=12).describe().plans == 0
    assert config.replace(max_steps=None, replay_capacity=501).describe().max_env_steps == 11 * 500


def test_describe_as_text():
    """The text holds the counts, on one line, with the env in front."""
    cost = tiny_config().describe()
    text = str(cost)
    assert text.startswith("CartPole-v1: 4 episodes, at most 48 env steps")
    assert "12 updates per member" in text
    assert f"{cost.parameters} weights per member" in text
    assert "\n" not in text
    for name in NAMES:  # no value is left unformatted
        assert f"{name}=" not in text


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 999_999, 10**6, 10**9, 10**12, 10**16])
def test_describe_as_text_at_every_size(size):
    """Costs from nothing to very much read well: one SI prefix, at most four digits before the unit."""
    cost = rgrl.Cost("Env", 1, 1, 1, 1, 1, size, size, size)
    flops = re.search(r"plans of ([\d.e+]+) ([kMGT]?)FLOP", str(cost))
    assert flops is not None, str(cost)
    value = float(flops[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[flops[2]]
    assert value == pytest.approx(size, rel=5e-3)


def test_describe_checks_the_config():
    """A bad config has no cost."""
    with pytest.raises(ValueError, match="horizon = 0"):
        tiny_config().replace(horizon=0).describe()


def test_floats_are_the_leaves():
    """Floats and nothing else are leaves of the pytree, in the order of the fields."""
    leaves, tree = jax.tree.flatten(tiny_config())
    assert len(leaves) == len(FLOATS)
    assert all(isinstance(leaf, float) for leaf in leaves)
    assert jax.tree.unflatten(tree, leaves) == tiny_config()
    doubled = jax.tree.map(lambda x: 2 * x, tiny_config(plan_lr=0.25))
    assert (doubled.plan_lr, doubled.width) == (0.5, 8)


def test_changed_floats_do_not_retrace():
    """A jitted function is traced once for all values of the floats, and anew for a changed integer or word."""
    traces = []

    @jax.jit
    def total(config):
        traces.append(config.horizon)
        return sum(jax.tree.leaves(config))

    config = tiny_config()
    base = total(config)
    for name in FLOATS:
        moved = total(config.replace(**{name: getattr(config, name) + 0.25}))
        np.testing.assert_allclose(moved, base + 0.25, rtol=1e-5)
    total(tiny_config())  # equal, and another object
    assert len(traces) == 1
    total(config.replace(horizon=5))
    assert traces == [4, 5]
    total(config.replace(plan_optimizer="sgd"))
    assert len(traces) == 3


def test_config_is_frozen():
    """Settings are changed by replace, never in place."""
    config = tiny_config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.width = 16
    assert config.replace(width=16).width == 16
    assert config.width == 8


def test_zero_plan_iterations_run():
    """``plan_iterations = 0`` is in its range, so acting on the untouched random plan must work."""
    config = tiny_config(plan_iterations=0)
    out = jax.eval_shape(lambda key: rgrl.train(key, config), jax.random.key(0))
    assert out[1].plan_loss.shape == (4,)
