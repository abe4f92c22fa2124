"""The GRU against NumPy in float64, ensembles, and the registry of models."""

import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import gru

from rgrl_jax import ensemble
from rgrl_jax.models import base, list_models, make_model, register_model
from rgrl_jax.models.recurrent import gru_step
from rgrl_jax.planning import plan
from rgrl_jax.types import History, ModelOutput

S, A, R, D, H, T = 4, 3, 2, 5, 3, 4


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _cell(
    w_input: np.ndarray, w_hidden: np.ndarray, bias: np.ndarray, hidden: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """A GRU cell gate by gate, as PyTorch documents it: the reset gate scales the product with the hidden state."""
    (xr, xz, xn), (hr, hz, hn) = np.split(w_input, 3, axis=1), np.split(w_hidden, 3, axis=1)
    (br, bz, bn), (cr, cz, cn) = np.split(bias[0], 3), np.split(bias[1], 3)
    reset = _sigmoid(x @ xr + br + hidden @ hr + cr)
    update = _sigmoid(x @ xz + bz + hidden @ hz + cz)
    new = np.tanh(x @ xn + bn + reset * (hidden @ hn + cn))
    return (1 - update) * new + update * hidden


class Twin:
    """The whole network in float64, one step at a time, running the whole prefix anew for every step."""

    def __init__(self, params: Any, layers: int, head: str, residual: bool):
        weights = params["params"] | params["params"]["core"]
        self.w = {name: np.asarray(value, np.float64) for name, value in weights.items() if name != "core"}
        self.layers, self.squash, self.residual = layers, np.tanh if head == "tanh" else (lambda x: x), residual

    def bias(self, name: str) -> np.ndarray:
        """A bias, or 0 in a network that has none."""
        return self.w.get(name, np.zeros(()))

    def features(self, tokens: list[np.ndarray]) -> np.ndarray:
        """Output of the last layer after a sequence of tokens, from a hidden state of zeros."""
        gates = self.w.get("gate_bias", np.zeros((self.layers, 2, 3 * D)))
        for layer in range(self.layers):
            hidden, outputs = np.zeros(D), []
            for token in tokens:
                hidden = _cell(
                    self.w["input_weights"][layer], self.w["hidden_weights"][layer], gates[layer], hidden, token
                )
                outputs.append(hidden)
            tokens = outputs
        return tokens[-1]

    def token(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """tanh of the embedded state plus the embedded action."""
        return np.tanh(state @ self.w["embed_state"] + action @ self.w["embed_action"] + self.bias("token_bias"))

    def __call__(self, history: History, present: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rewards and states along the actions, each predicted state being the next input."""
        tokens = [self.token(s, a) for s, a in zip(*history, strict=True)]
        state, rewards, states = present, [], []
        for action in actions:
            tokens.append(self.token(state, action))
            feature = self.features(tokens)
            change = feature @ self.w["state_head"] + self.bias("state_bias")
            state = self.squash(state + change if self.residual else change)
            rewards.append(self.squash(feature @ self.w["reward_head"] + self.bias("reward_bias")))
            states.append(state)
        return np.array(rewards), np.array(states)


@functools.cache
def _model(layers: int = 1, use_bias: bool = True, head: str = "tanh", residual: bool = False) -> Any:
    """A model and weights of which every one, biases included, is random."""
    model = gru(S, A, R, D, layers, use_bias, head, residual, unroll=2)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return model, jax.tree.map(lambda x: rng.normal(0, 0.5, x.shape).astype(x.dtype), shapes)


@functools.cache
def _inputs() -> tuple[History, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    history = History(rng.uniform(-1, 1, (H, S)), rng.uniform(-1, 1, (H, A)))
    return history, rng.uniform(-1, 1, S), rng.uniform(-1, 1, (T, A))


def _predict(model: Any, params: Any, history: History, present: Any, actions: Any) -> ModelOutput:
    return _compiled(model)(params, history, present, actions)


@functools.cache
def _compiled(model: Any) -> Any:
    return jax.jit(lambda p, h, s, a: model.apply(p, model.remember(p, h), s, a))


SIZES = {"state_size": S, "action_size": A, "reward_size": R}


def _make_plain(config: Any, *, state_size: int, action_size: int, reward_size: int) -> Any:
    """A model of three plain functions: reward = present . w + action . v, memory = mean of past states."""

    def init(key: jax.Array) -> Any:
        w, v = jax.random.split(key)
        return jax.random.normal(w, (state_size, reward_size)), jax.random.normal(v, (action_size, reward_size))

    def apply(params: Any, memory: jax.Array, present: jax.Array, actions: jax.Array) -> ModelOutput:
        reward = (present + memory) @ params[0] + actions @ params[1]
        return ModelOutput(reward, jnp.broadcast_to(present, (len(actions), state_size)))

    return SimpleNamespace(init=init, remember=lambda params, history: history.states.mean(axis=0), apply=apply)


def test_gru_step_equals_its_twin() -> None:
    """One cell with all of its biases."""
    rng = np.random.default_rng(1)
    shapes = ((D, 3 * D), (D, 3 * D), (2, 3 * D), (D,), (D,))
    arrays = [rng.normal(size=shape) for shape in shapes]
    np.testing.assert_allclose(gru_step(*map(jnp.float32, arrays)), _cell(*arrays), atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "use_bias", "head", "residual"),
    [
        (1, True, "tanh", False),
        (2, False, "tanh", False),
        (2, True, "linear", True),
        (1, False, "linear", False),
        (1, True, "tanh", True),
    ],
)
def test_gru_equals_its_twin(layers: int, use_bias: bool, head: str, residual: bool) -> None:
    """History and rollout: feedback of states, heads and layers, although the twin never carries a hidden state."""
    model, params = _model(layers, use_bias, head, residual)
    out = _predict(model, params, *_inputs())
    rewards, states = Twin(params, layers, head, residual)(*_inputs())
    assert (out.reward.shape, out.state.shape) == ((T, R), (T, S))
    np.testing.assert_allclose(out.reward, rewards, atol=1e-5)
    np.testing.assert_allclose(out.state, states, atol=1e-5)


def test_gru_without_history_equals_its_twin() -> None:
    """An empty history leaves the hidden state at zero."""
    model, params = _model(2)
    _, present, actions = _inputs()
    empty = History(np.zeros((0, S)), np.zeros((0, A)))
    assert np.all(np.asarray(model.remember(params, empty)) == np.zeros((2, D)))
    out = _predict(model, params, empty, present, actions)
    rewards, states = Twin(params, 2, "tanh", False)(empty, present, actions)
    np.testing.assert_allclose(out.reward, rewards, atol=1e-5)
    np.testing.assert_allclose(out.state, states, atol=1e-5)


def test_predictions_depend_on_the_past_only() -> None:
    """An action changes the predictions from its own step on, and none before."""
    model, params = _model(2)
    history, present, actions = _inputs()
    whole = _predict(model, params, history, present, actions)
    for step in range(T):
        other = actions.copy()
        other[step] += 0.5
        changed = _predict(model, params, history, present, other)
        for before, after in zip(whole, changed, strict=True):
            np.testing.assert_array_equal(before[:step], after[:step])
            assert np.all(np.any(before[step:] != after[step:], axis=1))


def test_carrying_the_hidden_state_equals_running_the_prefix_again() -> None:
    """Steps moved from the plan into the history, with their predicted states, change no later prediction."""
    model, params = _model(2)
    history, present, actions = _inputs()
    whole = _predict(model, params, history, present, actions)
    states = np.concatenate([present[None], whole.state])
    for steps in (1, 3):
        longer = History(
            np.concatenate([history.states, states[:steps]]), np.concatenate([history.actions, actions[:steps]])
        )
        rest = _predict(model, params, longer, states[steps], actions[steps:])
        np.testing.assert_allclose(rest.reward, whole.reward[steps:], atol=1e-5)
        np.testing.assert_allclose(rest.state, whole.state[steps:], atol=1e-5)


BIASES = {"token_bias", "gate_bias", "reward_bias", "state_bias"}


def test_initial_weights() -> None:
    """Recurrent weights fill -1/sqrt(d)..1/sqrt(d), linear ones have Xavier's variance, biases are 0."""
    width = 64
    model = gru(30, 20, 40, width, 2)
    params = jax.jit(model.init)(jax.random.key(3))["params"]
    weights = {name: np.asarray(x) for name, x in (params | params.pop("core")).items()}
    assert set(weights) >= BIASES
    assert not any(weights[name].any() for name in BIASES)
    for name in ("input_weights", "hidden_weights"):
        assert weights[name].shape == (2, width, 3 * width)
        assert 0.99 * width**-0.5 < np.abs(weights[name]).max() <= width**-0.5
        assert weights[name].std() == pytest.approx(width**-0.5 / 3**0.5, rel=0.02)
    for name in ("embed_state", "embed_action", "reward_head", "state_head"):
        assert weights[name].std() == pytest.approx((2 / sum(weights[name].shape)) ** 0.5, rel=0.08)


@pytest.mark.parametrize("residual", [True, False])
def test_a_residual_network_starts_from_no_change(residual: bool) -> None:
    """With ``residual`` a fresh network predicts that the state stays as it is; without, anything."""
    model = gru(S, A, R, D, 1, True, "linear", residual, 1)
    _, present, actions = _inputs()
    run = jax.jit(lambda key: model.apply(model.init(key), jnp.zeros((1, D)), present, actions))
    state = np.asarray(run(jax.random.key(8)).state)
    assert np.allclose(state, np.float32(present)) == residual


def test_without_biases_there_are_none() -> None:
    """``use_bias=False`` leaves the biases out of the weights."""
    weights = jax.eval_shape(gru(S, A, R, D, 2, use_bias=False).init, jax.random.key(0))["params"]
    assert len(weights | weights.pop("core")) == 6 and not BIASES & set(weights)


def test_an_ensemble_is_separate_members() -> None:
    """Stacked weights equal initialisations one by one with the split keys, and differ among members."""
    model, key = _make_plain(None, **SIZES), jax.random.key(4)
    params = jax.jit(lambda k: ensemble.init(k, model.init, 3))(key)
    assert ensemble.size(params) == 3
    init, select = jax.jit(model.init), jax.jit(ensemble.select)
    for member, member_key in enumerate(jax.random.split(key, 3)):
        selected = select(params, jnp.int32(member))
        jax.tree.map(lambda x, y, i=member: np.testing.assert_array_equal(x[i], y), params, selected)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), selected, init(member_key))
    assert len(np.unique(params[0][:, 0, 0])) == 3


def test_drawing_members() -> None:
    """Indices in range, of the shape asked for, all members equally often."""
    members = np.asarray(ensemble.draw(jax.random.key(5), {"w": jnp.zeros((4, 2))}, (50, 80)))
    assert (members.shape, members.dtype) == ((50, 80), np.int32)
    counts = np.bincount(members.ravel(), minlength=4)
    assert len(counts) == 4
    assert np.abs(counts - 1000).max() < 120


CONFIG = SimpleNamespace(
    width=D,
    layers=2,
    use_bias=True,
    head="linear",
    residual=True,
    unroll=3,
    feedback=True,
    initializer="xavier_normal",
    dropout=0.0,
    reward_from="feature",
)


def test_gru_is_registered() -> None:
    """``make_model`` hands every field of the config and every size to the network."""
    assert "gru" in list_models() and list_models() == sorted(list_models())
    assert make_model("gru", CONFIG, **SIZES).module == gru(S, A, R, D, 2, True, "linear", True, 3).module


def test_a_taken_name_is_refused() -> None:
    """Registering twice is an error that names the model."""
    with pytest.raises(ValueError, match="'gru' is already registered"):
        register_model("gru", lambda config, **sizes: None)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """A typing error is met with the right name; anything else with the names there are."""
    with pytest.raises(ValueError, match=r"model = 'gruu' is not registered; nearest: (.*, )?gru\b"):
        make_model("gruu", CONFIG, **SIZES)
    with pytest.raises(ValueError, match="gru"):
        make_model("0000", CONFIG, **SIZES)


def test_plain_functions_are_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No base class is needed: register, make, stack, remember and plan with three functions."""
    monkeypatch.setattr(base, "_MODELS", dict(base._MODELS))
    register_model("plain", _make_plain)
    assert "plain" in list_models()
    model = make_model("plain", None, state_size=S, action_size=A, reward_size=1)
    params = ensemble.init(jax.random.key(6), model.init, 2)
    history, present, _ = _inputs()
    memory = jax.vmap(model.remember, in_axes=(0, None))(params, history)
    out = plan(
        jax.random.key(7),
        (params, memory),
        lambda member, state, actions: model.apply(*member, state, actions),
        present,
        jnp.zeros((T, A)),
        iterations=50,
        optimizer=optax.sgd(0.1),
        members="mean",
    )
    assert (out.plan.shape, out.predicted.reward.shape, out.score.shape) == ((T, A), (T, 1), (2,))
    assert float(out.loss[-1]) < float(out.loss[0])
