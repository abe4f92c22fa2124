"""Environments of Gymnasium: their specs, refusals, and one run by command."""

import functools
import json
import sys

import gymnasium
import jax
import numpy as np
import pytest
from tiny import assert_same, says

import rgrl_jax as rgrl
from rgrl_jax import envs
from rgrl_jax.experiment import cli
from rgrl_jax.types import Box, Discrete

KEY = jax.random.key(0)
CARTPOLE = "gymnasium:CartPole-v1"


class Open(gymnasium.Env):
    """Counts its steps, shows them with the first two actions, and pays for the second action."""

    def __init__(self, observation=None, action=None):
        self.observation_space = observation or gymnasium.spaces.Box(
            np.array([-np.inf, -np.inf, 0.0, -1.0]), np.array([np.inf, np.inf, np.inf, 1.0]), dtype=np.float64
        )
        self.action_space = action or gymnasium.spaces.Box(np.float32([-2.0, 0.0]), np.float32([2.0, 6.0]))

    def _obs(self, action):
        return np.array([*action, float(self.count), 0.5])

    def reset(self, seed=None, options=None):
        """Begins anew, where the seed says."""
        super().reset(seed=seed)
        self.count, self.told = 0, []
        return self._obs(self.np_random.uniform(-1.0, 1.0, 2)), {}

    def step(self, action):
        """Ends by itself and by its limit on the 30th step."""
        self.count += 1
        self.told.append(action)
        ended = self.count == 30
        return self._obs(action), action[1], ended, ended, {}


@pytest.fixture
def register(monkeypatch):
    """``register(**spaces)`` makes an `Open` known to Gymnasium and returns its id."""
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)

    def call(max_episode_steps=50, **spaces):
        gymnasium.register("Open-v0", functools.partial(Open, **spaces), max_episode_steps=max_episode_steps)
        return "Open-v0"

    return call


# Specs.


def test_known_ranges():
    """Gymnasium's CartPole has the ranges of ours; the lander's were measured, and its goal is Gymnasium's."""
    spec, ours = envs.make(CARTPOLE), envs.make("CartPole-v1")
    assert (spec.observation, spec.action, spec.reward_range) == (ours.observation, ours.action, ours.reward_range)
    assert (spec.max_steps, spec.goal, spec.return_range) == (500, 475.0, (0.0, 500.0))
    assert envs.make(CARTPOLE, 7).return_range == (0.0, 7.0)
    assert envs.make(CARTPOLE) is envs.make(CARTPOLE)


def test_lander():
    """Its spec; observations of a few steps lie within the bounds."""
    pytest.importorskip("Box2D")
    spec = envs.make("gymnasium:LunarLander-v3")
    assert (spec.action, spec.max_steps, spec.goal) == (Discrete(4), 1000, 200.0)
    assert (spec.reward_range, spec.return_range) == ((-100.0, 100.0), (-500.0, 300.0))
    env = spec.host.make(False)
    obs = [env.reset(KEY), *(env.step(np.int32(i % 4))[0] for i in range(40))]
    env.close()
    assert np.all(obs >= np.float32(spec.observation.low)) and np.all(obs <= np.float32(spec.observation.high))
    env = envs.spec_from_gymnasium("LunarLander-v3", gravity=-1.6).host.make(False)  # keywords reach Gymnasium
    assert env.env.unwrapped.gravity == -1.6
    env.close()


def test_measured_ranges(register):
    """Infinite bounds are measured with room to spare, finite ones kept; rewards have room above, and hold 0."""
    spec = envs.spec_from_gymnasium(register())
    low, high = np.array(spec.observation.low), np.array(spec.observation.high)
    assert (low[3], high[3], low[2]) == (-1.0, 1.0, 0.0)  # Gymnasium's
    assert -5.0 < low[0] < -3.8 and 3.8 < high[0] < 5.0  # actions in -2..2, twice as wide
    assert -5.0 < low[1] < -4.0 and 9.0 < high[1] < 10.0  # starts in -1..1 and actions in 0..6
    assert high[2] == 45.0  # counts 0..30
    assert spec.reward_range[0] == 0.0 and 11.5 < spec.reward_range[1] <= 12.1
    assert spec.return_range == (0.0, 50 * spec.reward_range[1])
    assert envs.spec_from_gymnasium("Open-v0").observation == spec.observation
    assert envs.spec_from_gymnasium("Open-v0", max_steps=9).observation != spec.observation
    assert envs.spec_from_gymnasium("Open-v0", max_steps=9).max_steps == 9


def test_given_ranges_win(register):
    """Ranges given by the user are taken; an observation space of another shape is refused."""
    name = register()
    ranges = {"observation": Box(-3.0, 3.0, (4,)), "reward_range": (0.0, 6.0), "return_range": (0.0, 60.0)}
    spec = envs.spec_from_gymnasium(name, max_steps=20, goal=50.0, **ranges)
    assert {field: getattr(spec, field) for field in ranges} == ranges
    assert (spec.max_steps, spec.goal, spec.env_id) == (20, 50.0, "gymnasium:Open-v0")
    with pytest.raises(ValueError) as error:
        envs.spec_from_gymnasium(name, observation=Box(-3.0, 3.0, (5,)))
    says(error, "(5,)", "does not fit gymnasium:Open-v0")


def test_steps_are_in_the_normal_form(register):
    """Actions arrive clipped and in the environment's type; a seed decides the start; an end is of one kind."""
    spec = envs.spec_from_gymnasium(register(max_episode_steps=30))
    env = spec.host.make(False)
    first, same, other = (env.reset(jax.random.key(seed)) for seed in (1, 1, 2))
    assert (first == same).all() and (first != other).any() and first.dtype == np.float32
    told = [np.float32([2.0000002, 6.0]), *[np.float32([-2.0, 3.0])] * 29]
    steps = [env.step(action) for action in told]
    inner = env.env.unwrapped
    assert inner.told[0].dtype == np.float32 and all(inner.action_space.contains(x) for x in inner.told)
    assert [type(x) for x in steps[0][1:]] == [float, bool, bool]
    assert [step[2:] for step in steps] == [(False, False)] * 29 + [(True, False)]
    assert [step[1] for step in steps] == [6.0] + [3.0] * 29


def test_discrete_spaces_may_start_anywhere(register):
    """Ours start at 0, theirs where they say."""
    spaces = gymnasium.spaces
    name = register(observation=spaces.Discrete(9, start=-2), action=spaces.Discrete(3, start=5))
    Numbers = type("Numbers", (Open,), {"_obs": lambda self, action: -2 + self.count % 9})
    gymnasium.registry[name].entry_point = functools.partial(
        Numbers, spaces.Discrete(9, start=-2), spaces.Discrete(3, start=5)
    )
    Numbers.step = lambda self, action: (self.told.append(action), self._obs(action), 1.0, False, False, {})[1:]
    spec = envs.spec_from_gymnasium(name, reward_range=(0.0, 1.0))
    assert (spec.observation, spec.action) == (Discrete(9), Discrete(3))
    env = spec.host.make(False)
    assert int(env.reset(KEY)) == 0 and env.reset(KEY).dtype == np.int32
    env.step(np.int32(2))
    assert env.env.unwrapped.told == [7]


# Refusals.


@pytest.mark.parametrize(
    "env_id, words",
    [
        ("gymnasium:LunarLander-v9", ("'gymnasium:LunarLander-v9'", "nearest: gymnasium:LunarLander-v3")),
        ("gymnasium:no_such_module:Env-v0", ("no_such_module",)),
        ("gymnasium:CliffWalking-v1", ("max_steps = None", "no step limit")),
        ("gymnasium:Blackjack-v1", ("max_steps = None",)),
        ("Lander", ("'Lander'", "gymnasium:ID")),
        ("gymnasum:CartPole-v1", ("'gymnasum:CartPole-v1'", "CartPole-v1")),
    ],
)
def test_names_that_lead_nowhere(env_id, words):
    """One sentence names what was asked for and what there is."""
    with pytest.raises(ValueError) as error:
        envs.make(env_id)
    says(error, *words)


@pytest.mark.parametrize(
    "spaces, words",
    [
        (
            {"observation": gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(2))},
            ("observations of the kind Dict", "Box and Discrete"),
        ),
        (
            {"action": gymnasium.spaces.MultiDiscrete([2, 3])},
            ("actions of the kind MultiDiscrete", "Box and Discrete"),
        ),
        ({"action": gymnasium.spaces.Box(-np.inf, np.inf, (2,))}, ("actions without finite bounds",)),
        ({"action": gymnasium.spaces.Box(0, 4, (2,), np.int32)}, ("int32", "floats")),
    ],
)
def test_spaces_without_a_counterpart(register, spaces, words):
    """The sentence says which, and what is supported."""
    with pytest.raises(ValueError) as error:
        envs.spec_from_gymnasium(register(**spaces))
    says(error, "gymnasium:Open-v0", *words)


def test_what_cannot_be_drawn(register):
    """An environment without pictures is refused before it plays."""
    spec = envs.spec_from_gymnasium(register())
    with pytest.raises(ValueError) as error:
        spec.host.make(True)
    says(error, "gymnasium:Open-v0", "cannot be drawn", "rgb_array")


def test_missing_packages(monkeypatch, register):
    """What has to be installed is named, be it Gymnasium or what an environment of it needs."""

    def needy():
        raise gymnasium.error.DependencyNotInstalled('Box2D is not installed,\nrun `pip install "gymnasium[box2d]"`')

    gymnasium.registry[register()].entry_point = needy
    with pytest.raises(ValueError) as error:
        envs.spec_from_gymnasium("Open-v0")
    says(error, "cannot be made", "gymnasium[box2d]")
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ValueError) as error:
        envs.spec_from_gymnasium("Open-v0")
    says(error, "rgrl_jax[envs]")


# A run.


def test_a_run_by_command(tmp_path, capsys):
    """Its files name the environment, its goal and the version of Gymnasium; the evaluation can be repeated."""
    folder = tmp_path / "run"
    words = ["train", CARTPOLE, "--algo", "reinforce", "--episodes", 3, "--max-steps", 12, "--out", folder]
    assert cli.main([*map(str, words), "--eval-episodes", "2", "--json"]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["env"], summary["episodes"], summary["goal"]) == (CARTPOLE, 3, 475.0)
    assert summary["versions"]["gymnasium"] == gymnasium.__version__
    config, state, _ = rgrl.load_run(folder)
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:]]
    lengths = [int(row[4]) for row in rows]
    assert config.env_id == CARTPOLE and int(state.env_steps) == sum(lengths)
    assert [float(row[3]) for row in rows] == lengths  # CartPole pays 1 per step
    capsys.readouterr()
    assert cli.main(["evaluate", str(folder), "--episodes", "2", "--seed", "5", "--json"]) == 0
    returns = rgrl.evaluate(jax.random.key(5), state, config, 2)
    assert json.loads(capsys.readouterr().out)["returns"] == returns.tolist()
    one, again, other = (rgrl.play(jax.random.key(seed), state, config, 2) for seed in (5, 5, 6))
    assert_same(one, again)
    assert one.obs.dtype == np.float32
    assert (one.obs[0] != other.obs[0]).any() and (one.obs[0, 0] != one.obs[0, 1]).any()


def test_a_missing_limit_can_be_given(capsys):
    """Also by command, where the defaults are looked up before the flags are read."""
    assert rgrl.preset("gymnasium:CliffWalking-v1", max_steps=40).spec.max_steps == 40
    words = ["train", "gymnasium:CliffWalking-v1", "--max-steps", "40", "--planner.lr", "-1"]
    assert cli.main(words) == 2
    assert "planner.lr = -1.0" in capsys.readouterr().err
