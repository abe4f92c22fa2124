"""Encoders against NumPy in float64 and against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rgrl_jax import envs
from rgrl_jax.algos.rgrl.codec import Codec, make_codec, one_hot, thermometer
from rgrl_jax.algos.rgrl.config import ReferenceConfig
from rgrl_jax.types import Box, Discrete

BINS = 10
THERMOMETER = jax.jit(thermometer, static_argnums=3)


def _bars(value: float, low: float, high: float, bins: int) -> np.ndarray:
    """The thermometer in float64, bin by bin: entry ``i`` is on from ``low + i * width`` upwards."""
    width = (high - low) / bins
    return np.array([1.0 if value >= low + i * width else -1.0 for i in range(bins)])


def _lit(bars: jax.Array) -> int:
    """How many entries of a thermometer are on; they must be the first ones."""
    on = np.asarray(bars) > 0
    assert np.all(np.abs(np.asarray(bars)) == 1)
    assert np.all(on[:-1] >= on[1:]), "a bar has a gap"
    return int(on.sum())


@given(
    low=st.floats(-100, 100, width=32),
    width=st.floats(0.125, 100, width=32),
    position=st.floats(-2, BINS + 2),
)
@settings(max_examples=150, deadline=None)
def test_thermometer_equals_its_twin(low: float, width: float, position: float) -> None:
    """``position`` counts bins from the lower end; rounding to float32 may move a value across an edge."""
    assume(abs(position - round(position)) > 1e-2)
    high = low + width * BINS
    value = low + position * width
    np.testing.assert_array_equal(THERMOMETER(value, low, high, BINS), _bars(value, low, high, BINS))


@pytest.mark.parametrize(
    ("value", "lit"),
    [(-1.0, 1), (-1.001, 0), (-100.0, 0), (-0.51, 1), (-0.5, 2), (0.49, 3), (0.5, 4), (1.0, 4), (1.5, 4), (1e9, 4)],
)
def test_thermometer_at_its_edges(value: float, lit: int) -> None:
    """The lower end lights one entry, anything below none, the upper end all; an edge belongs to the bin above."""
    bars = thermometer(jnp.float32(value), -1.0, 1.0, 4)
    np.testing.assert_array_equal(bars, [1.0] * lit + [-1.0] * (4 - lit))
    assert bars.dtype == jnp.float32


def test_thermometer_keeps_leading_axes_and_broadcasts_ranges() -> None:
    """``[2, 3]`` values with a range per column become ``[2, 3, bins]``."""
    value = np.array([[0.1, 0.1, 0.1], [0.9, 0.9, 9.0]], np.float32)
    low, high = np.zeros(3, np.float32), np.array([1.0, 2.0, 10.0], np.float32)
    bars = thermometer(value, low, high, 5)
    twin = [[_bars(v, lo, hi, 5) for v, lo, hi in zip(row, low, high, strict=True)] for row in value]
    np.testing.assert_array_equal(bars, twin)


def test_thermometer_of_one_bin() -> None:
    """A single entry tells whether the value has reached the lower end."""
    np.testing.assert_array_equal(thermometer(jnp.array([-0.1, 0.0, 5.0]), 0.0, 1.0, 1), [[-1], [1], [1]])


def test_one_hot() -> None:
    """+1 at the index and -1 elsewhere, for a batch of indices of any shape."""
    encoded = one_hot(jnp.array([[0, 2], [1, 1]]), 3)
    np.testing.assert_array_equal(encoded, [[[1, -1, -1], [-1, -1, 1]], [[-1, 1, -1], [-1, 1, -1]]])
    assert encoded.dtype == jnp.float32


def test_done_block_stands_at_the_end() -> None:
    """The observation first, then ``done_size`` entries of -1, or of +1 once the episode is over."""
    codec = make_codec(Box(0.0, 4.0, (2,)), Discrete(2), (0.0, 1.0), ReferenceConfig(done_size=3))
    assert codec.state_size == 5
    obs = jnp.array([1.0, 4.0])
    np.testing.assert_array_equal(codec.encode_state(obs, jnp.bool_(False)), [-0.5, 1, -1, -1, -1])
    np.testing.assert_array_equal(codec.encode_state(obs, jnp.bool_(True)), [-0.5, 1, 1, 1, 1])


SPACES = [
    (Discrete(3), jnp.int32(2), [-1, -1, 1]),
    (Box(-2.0, 2.0, ()), jnp.float32(1.0), [0.5]),
    (Box(0.0, 1.0, (2, 2)), jnp.array([[0.0, 0.5], [0.75, 1.0]]), [-1, 0, 0.5, 1]),
    (Box((0.0, -4.0, 0.0, 10.0), (1.0, 4.0, 8.0, 20.0), (2, 2)), jnp.array([[0.5, -2], [8, 15]]), [0, -0.5, 1, 0]),
]


@pytest.mark.parametrize(("space", "value", "encoded"), SPACES, ids=str)
def test_codec_of_every_kind_of_space(space: Box | Discrete, value: jax.Array, encoded: list[float]) -> None:
    """The same numbers as state and as action: flattened, scaled entry by entry, of the size that is announced."""
    codec = make_codec(space, space, (0.0, 1.0))
    state, action = codec.encode_state(value, jnp.bool_(False)), codec.encode_action(value)
    np.testing.assert_allclose(state, [*encoded, -1], atol=1e-6)
    np.testing.assert_allclose(action, encoded, atol=1e-6)
    assert (codec.state_size, codec.action_size) == (state.size, action.size)
    assert state.dtype == action.dtype == jnp.float32


@pytest.mark.parametrize("space", [Box(-1.0, 1.0, ()), Box(-1.0, (1.0, 3.0), (2,)), Box(0.0, 1.0, (2, 3))], ids=str)
def test_thermometer_state_of_a_box(space: Box) -> None:
    """One bar of ``state_bins`` entries after another, in the order of the flattened observation."""
    bars = ReferenceConfig(state_encoding="thermometer", state_bins=BINS, done_size=2)
    codec = make_codec(space, Discrete(2), (0.0, 1.0), bars)
    size = int(np.prod(space.shape))
    obs = np.linspace(-0.03, 0.91, size, dtype=np.float32).reshape(space.shape)
    low, high = (np.broadcast_to(np.ravel(bound), size) for bound in (space.low, space.high))
    twin = [_bars(v, lo, hi, BINS) for v, lo, hi in zip(obs.ravel(), low, high, strict=True)]
    state = codec.encode_state(jnp.asarray(obs), jnp.bool_(True))
    np.testing.assert_array_equal(state, np.append(np.concatenate(twin), [1, 1]))
    assert codec.state_size == size * BINS + 2


@pytest.mark.parametrize("space", [Discrete(1), Discrete(5)], ids=str)
def test_discrete_actions_survive_the_round_trip(space: Discrete) -> None:
    """``decode(encode(action))`` is the action, as int32 scalars."""
    codec = make_codec(Discrete(2), space, (0.0, 1.0))
    for action in range(space.n):
        decoded = codec.decode_action(codec.encode_action(jnp.int32(action)))
        assert (int(decoded), decoded.shape, decoded.dtype) == (action, (), jnp.int32)


BOXES = [Box(-2.0, 2.0, ()), Box((0.0, -4.0), (1.0, 4.0), (2,)), Box(-1.0, 5.0, (2, 3))]


@pytest.mark.parametrize("space", BOXES, ids=str)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_box_actions_survive_the_round_trip(space: Box, data: st.DataObject) -> None:
    """``decode(encode(action))`` is the action, in its own shape."""
    codec = make_codec(Discrete(2), space, (0.0, 1.0))
    size = int(np.prod(space.shape))
    values = data.draw(st.lists(st.floats(-4, 5, width=32), min_size=size, max_size=size))
    action = jnp.array(values).reshape(space.shape)
    encoded = codec.encode_action(action)
    assert encoded.shape == (codec.action_size,) == (size,)
    decoded = codec.decode_action(encoded)
    assert decoded.shape == space.shape
    np.testing.assert_allclose(decoded, action, atol=1e-5)


def test_a_plan_decodes_to_its_greatest_entry() -> None:
    """Interior plans decode by argmax, wherever in -1..1 they lie."""
    codec = make_codec(Discrete(2), Discrete(3), (0.0, 1.0))
    assert int(codec.decode_action(jnp.array([-0.9, -0.2, -0.3]))) == 1


@pytest.mark.parametrize("reward", [-2.0, -1.0, -0.34, 1.9, 3.0, 4.0])
def test_rewards(reward: float) -> None:
    """Scaled to one number, or a bar of ``reward_bins`` entries, over ``reward_range``."""
    scaled = make_codec(Discrete(2), Discrete(2), (-1.0, 3.0))
    reference = ReferenceConfig(reward_encoding="thermometer", reward_bins=BINS)
    bars = make_codec(Discrete(2), Discrete(2), (-1.0, 3.0), reference)
    assert (scaled.reward_size, bars.reward_size) == (1, BINS)
    np.testing.assert_allclose(scaled.encode_reward(jnp.float32(reward)), [(reward + 1) / 2 - 1], atol=1e-6)
    np.testing.assert_array_equal(bars.encode_reward(jnp.float32(reward)), _bars(reward, -1, 3, BINS))


def test_codec_maps_and_compiles() -> None:
    """``jit`` and ``vmap`` change no number."""
    bars = ReferenceConfig(state_encoding="thermometer", state_bins=4)
    codec = make_codec(Box(-1.0, 1.0, (2,)), Discrete(3), (0.0, 1.0), bars)
    obs, done = jnp.array([[0.1, 0.6], [-2.0, 2.0]]), jnp.array([False, True])
    batch = jax.jit(jax.vmap(codec.encode_state))(obs, done)
    np.testing.assert_array_equal(batch, [codec.encode_state(o, d) for o, d in zip(obs, done, strict=True)])


def _reference_codec(env_id: str, done_size: int = 100) -> Codec:
    """The encoders of the authors' code: bars of 100 entries over the ranges of its environments."""
    spec = envs.make(env_id)
    signals = spec.reference or spec
    bars = ReferenceConfig(state_encoding="thermometer", done_size=done_size, reward_encoding="thermometer")
    return make_codec(signals.observation, spec.action, signals.reward_range, bars)


def _reference_bins(env_id: str, reward: float, next_obs: jax.Array, end: bool) -> int:
    """Lit entries of the reward that the authors' model learns for a step."""
    reference = envs.make(env_id).reference
    value = reference.reward(jnp.float32(reward), next_obs, jnp.bool_(end))
    return _lit(_reference_codec(env_id).encode_reward(value))


def _state_bins(codec: Codec, obs: jax.Array, done: bool = False) -> list[int]:
    """Lit entries of each observed number, then of the done block, 100 entries each."""
    return [_lit(part) for part in np.asarray(codec.encode_state(obs, jnp.bool_(done))).reshape(-1, 100)]


def test_reference_cartpole() -> None:
    """S = 500; 1 m of -4.8..4.8 lights floor(5.8 / 0.096) + 1 = 61; alive lights all reward bins, done one."""
    codec = _reference_codec("CartPole-v1")
    assert (codec.state_size, codec.action_size, codec.reward_size) == (500, 2, 100)
    assert _state_bins(codec, jnp.array([1.0, -3.75, 0.418, -4.0])) == [61, 1, 100, 0, 0]
    assert _state_bins(codec, jnp.array([-4.81, 1.0, 0.1, 3.8]), done=True) == [0, 64, 62, 100, 100]
    assert [_lit(codec.encode_reward(jnp.float32(r))) for r in (1.0, 0.0)] == [100, 1]


def test_reference_acrobot_state() -> None:
    """S = 700; 1 rad/s of -12.567..12.567 lights floor(13.567 / 0.25134) + 1 = 54."""
    codec = _reference_codec("Acrobot-v1")
    assert (codec.state_size, codec.action_size) == (700, 3)
    assert _state_bins(codec, jnp.array([1.0, -1.0, 0.305, -0.5051, 1.0, -10.0])) == [100, 1, 66, 25, 54, 33, 0]


def test_reference_acrobot_reward() -> None:
    """Done: all on; else all off."""
    obs = jnp.zeros(6)
    assert _reference_bins("Acrobot-v1", 0.0, obs, True) == 100
    assert _reference_bins("Acrobot-v1", -1.0, obs, False) == 0


def test_reference_mountain_car() -> None:
    """S = 300; positions below -0.6 are invisible; the reward is the position, of which the goal lights 92 bins."""
    codec = _reference_codec("MountainCar-v0")
    assert (codec.state_size, codec.action_size) == (300, 3)
    assert _state_bins(codec, jnp.array([-0.9, 0.031])) == [0, 66, 0]
    assert _reference_bins("MountainCar-v0", -1.0, jnp.array([0.5, 0.02]), True) == 92
    assert _reference_bins("MountainCar-v0", -1.0, jnp.array([-0.599, 0.02]), False) == 1


def test_reference_frozen_lake_state() -> None:
    """S = 26: a one-hot of 16 cells and a done block of 10."""
    codec = _reference_codec("FrozenLake-misc", done_size=10)
    assert (codec.state_size, codec.action_size) == (26, 4)
    state = np.asarray(codec.encode_state(jnp.int32(6), jnp.bool_(False)))
    assert np.flatnonzero(state == 1).tolist() == [6]
    assert _lit(codec.encode_state(jnp.int32(15), jnp.bool_(True))[16:]) == 10


@pytest.mark.parametrize(
    ("cell", "reward", "end", "lit"),
    [
        (15, 1.0, True, 100),  # the goal: all on
        (5, 0.0, True, 0),  # a hole: all off
        (0, 0.0, False, 0),  # the start: all off
        (14, 0.0, False, 76),  # one cell from the goal: int(100 (1 - 1 / 4.24))
        (1, 0.0, False, 14),  # int(100 (1 - sqrt(13) / 4.24))
        (10, 0.0, False, 66),  # int(100 (1 - sqrt(2) / 4.24))
    ],
)
def test_reference_frozen_lake_reward(cell: int, reward: float, end: bool, lit: int) -> None:
    """Nearness to the goal cell in bins, all on at the goal, all off in a hole and at the start."""
    assert _reference_bins("FrozenLake-misc", reward, jnp.int32(cell), end) == lit
