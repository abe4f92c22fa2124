"""Every built-in network against one NumPy twin in float64, which reads the whole prefix anew for every step."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rgrl_jax as rgrl
from rgrl_jax.planning import plan
from rgrl_jax.types import History

S, A, R, D, H, T = 4, 3, 2, 6, 3, 4
SIZES = {"state_size": S, "action_size": A, "reward_size": R}
REFERENCE = ["rnn", "gru", "lstm", "td", "rnn_td", "gru_td", "lstm_td"]
MODELS = [*REFERENCE, "mlp"]
PAPER = dict(use_bias=False, head="tanh", residual=False, positions="paper", feed_forward="linear")
CLEAN = dict(use_bias=True, head="linear", residual=True, positions="standard", feed_forward="gelu")


@functools.cache
def network(name, clean=True, feedback=True):
    """A model of two layers and weights of which every one is random, in float64."""
    config = SimpleNamespace(
        **(CLEAN if clean else PAPER),
        width=D,
        layers=2,
        heads=2,
        feedback=feedback,
        unroll=1,
        initializer="xavier_normal",
        dropout=0.0,
        reward_from="feature",
        history_length=H,
    )
    model = rgrl.make_model(name, config, **SIZES)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return config, model, jax.tree.map(lambda x: rng.normal(0, 0.5, x.shape), shapes)


def inputs(history=H):
    rng = np.random.default_rng(1)
    past = History(rng.uniform(-1, 1, (history, S)), rng.uniform(-1, 1, (history, A)))
    return past, rng.uniform(-1, 1, S), rng.uniform(-1, 1, (T, A))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run_cell(kind, w_in, w_hidden, bias, tokens):
    """Hidden states of one recurrent layer along tokens, gate by gate as PyTorch documents them."""
    d = tokens.shape[1]
    hidden, cell, out = np.zeros(d), np.zeros(d), []
    for x in tokens:
        a, b = x @ w_in + bias[0], hidden @ w_hidden + bias[1]
        if kind == "rnn":
            hidden = np.tanh(a + b)
        elif kind == "gru":
            reset, update = sigmoid(a[:d] + b[:d]), sigmoid(a[d : 2 * d] + b[d : 2 * d])
            hidden = (1 - update) * np.tanh(a[2 * d :] + reset * b[2 * d :]) + update * hidden
        else:
            i, f, g, o = np.split(a + b, 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            hidden = sigmoid(o) * np.tanh(cell)
        out.append(hidden)
    return np.array(out)


class Twin:
    """A network from its weights and settings."""

    def __init__(self, name, config, params):
        weights = params["params"] | params["params"]["core"]
        self.w = {key: np.asarray(x, np.float64) for key, x in weights.items() if key != "core"}
        self.name, self.config = name, config
        self.squash = np.tanh if config.head == "tanh" else lambda x: x

    def get(self, name, *index):
        """A bias, or 0 in a network that has none."""
        return self.w[name][index] if name in self.w else np.zeros((2, 1)) if name == "gate_bias" else 0.0

    def features(self, tokens):
        """The last feature after a sequence of tokens ``[n, d]``."""
        if self.name == "mlp":
            seen = np.concatenate([np.zeros((H, D)), tokens])[-H - 1 :]
            tokens = tokens[-1:] + seen[:-1].reshape(-1) @ self.w["past"]
            for layer in range(2):
                tokens = np.tanh(tokens @ self.w["dense"][layer] + self.get("bias", layer))
        elif self.name in ("rnn", "gru", "lstm"):
            for layer in range(2):
                weights = self.w["input_weights"][layer], self.w["hidden_weights"][layer]
                tokens = run_cell(self.name, *weights, self.get("gate_bias", layer), tokens)
        else:
            tokens = self.decode(tokens)
        return tokens[-1]

    def norm(self, i, x):
        """Layer norm."""
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * self.w["gain"][i] + self.w["offset"][i]

    def map(self, layer, which, x):
        """One of the four maps of an attention block."""
        if self.name == "td":
            return x @ self.w["maps"][layer, which] + self.get("map_bias", layer, which)
        weights = self.w["input_weights"][layer, which], self.w["hidden_weights"][layer, which]
        return run_cell(self.name.removesuffix("_td"), *weights, self.get("gate_bias", layer, which), x)

    def decode(self, tokens):
        """The decoder, token by token and head by head."""
        exponent = 2 if self.config.positions == "paper" else 1
        x = tokens.copy()
        for pos in range(len(x)):
            for i in range(0, D, 2):
                angle = pos / 10000 ** (exponent * i / D)
                x[pos, i] += np.sin(angle)
                x[pos, i + 1] += np.cos(angle)
        for layer in range(2):
            y = self.norm(2 * layer, x)
            q, k, v = (self.map(layer, which, y) for which in range(3))
            mixed = np.zeros_like(x)
            for head in (slice(0, D // 2), slice(D // 2, D)):
                for t in range(len(x)):
                    score = k[: t + 1, head] @ q[t, head] / np.sqrt(D // 2)
                    share = np.exp(score - score.max())
                    mixed[t, head] = (share / share.sum()) @ v[: t + 1, head]
            x = x + self.map(layer, 3, mixed)
            y = self.norm(2 * layer + 1, x) @ self.w["feed_in"][layer] + self.get("feed_in_bias", layer)
            if self.config.feed_forward == "gelu":  # jax's tanh form
                y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
                y = y @ self.w["feed_out"][layer] + self.get("feed_out_bias", layer)
            x = x + y
        return self.norm(4, x)

    def token(self, state, action):
        """What is read of a state and an action."""
        total = state @ self.w["embed_state"] + action @ self.w["embed_action"] + self.get("token_bias")
        return np.tanh(total)

    def __call__(self, history, present, actions):
        """Rewards, and states or None, along the actions."""
        tokens = [self.token(s, a) for s, a in zip(*history, strict=True)]
        if not self.config.feedback:
            tokens.append(self.token(present, np.zeros(A)))
        state, rewards, states = present, [], []
        for action in actions:
            tokens.append(self.token(state if self.config.feedback else np.zeros(S), action))
            feature = self.features(np.array(tokens))
            rewards.append(self.squash(feature @ self.w["reward_head"] + self.get("reward_bias")))
            if self.config.feedback:
                change = feature @ self.w["state_head"] + self.get("state_bias")
                state = self.squash(state + change if self.config.residual else change)
                states.append(state)
        return np.array(rewards), np.array(states) if states else None


@functools.cache
def predictor(model):
    """Compiled predictions of a model."""
    return jax.jit(lambda p, h, s, a, x: model.apply(p, model.remember(p, h), s, a, x))


def predict(model, params, history, present, actions, states=None):
    return predictor(model)(params, history, present, actions, states)


def assert_equals_twin(out, twin, tolerance):
    np.testing.assert_allclose(out.reward, twin[0], atol=tolerance)
    if twin[1] is None:
        assert out.state is None
    else:
        np.testing.assert_allclose(out.state, twin[1], atol=tolerance)


SINGLE = ["rnn", "gru", "lstm", "td"]
CASES = [(name, clean, True) for name in [*SINGLE, "mlp"] for clean in (True, False)]
CASES += [(name, False, False) for name in SINGLE] + [("td", True, False)]
CASES += [("rnn_td", True, True), ("gru_td", False, True), ("lstm_td", False, True), ("gru_td", True, False)]


@pytest.mark.parametrize(("name", "clean", "feedback"), CASES)
def test_network_equals_its_twin(name, clean, feedback):
    """With and without history, to 1e-5 in float32 and 1e-10 in float64."""
    config, model, params = network(name, clean, feedback)
    for history in (H, 0):
        case = inputs(history)
        twin = Twin(name, config, params)(*case)
        single = jax.tree.map(jnp.float32, (params, *case))
        assert_equals_twin(predict(model, *single), twin, 1e-5)
        with jax.enable_x64(True):
            double = jax.tree.map(jnp.asarray, (params, *case))
            out = predict(model, *double)
            assert out.reward.dtype == jnp.float64
            assert_equals_twin(out, twin, 1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_one_pass_equals_one_by_one(name):
    """A cache or carried memory gives what reading all tokens at once gives: told its own states, nothing changes."""
    _, model, params = network(name)
    case = jax.tree.map(jnp.float32, (params, *inputs()))
    chained = predict(model, *case)
    taught = predict(model, *case, chained.state)
    np.testing.assert_allclose(taught.reward, chained.reward, atol=1e-5)
    np.testing.assert_allclose(taught.state, chained.state, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_teacher_forcing_reads_the_true_states(name):
    """A state that is told differently changes what follows it, and nothing before."""
    _, model, params = network(name)
    case = jax.tree.map(jnp.float32, (params, *inputs()))
    states = jnp.zeros((T, S))
    one = predict(model, *case, states)
    other = predict(model, *case, states.at[1].add(1.0))
    changed = np.any(np.asarray(one.reward) != np.asarray(other.reward), axis=1)
    assert changed.tolist() == [False, False, True, True]
    last = predict(model, *case, states.at[-1].add(1.0))
    np.testing.assert_array_equal(last.reward, one.reward)


@pytest.mark.parametrize(("name", "feedback"), [(n, True) for n in MODELS] + [(n, False) for n in SINGLE])
def test_predictions_depend_on_the_past_only(name, feedback):
    """An action changes its own reward and what follows, and nothing before."""
    _, model, params = network(name, feedback=feedback)
    case = jax.tree.map(jnp.float32, (params, *inputs()))
    whole = predict(model, *case)
    for step in range(T):
        other = predict(model, *case[:-1], case[-1].at[step].add(0.5))
        np.testing.assert_array_equal(other.reward[:step], whole.reward[:step])
        assert np.all(np.any(other.reward[step:] != whole.reward[step:], axis=1))


@pytest.mark.parametrize("name", REFERENCE)
def test_a_plan_of_50_iterations_equals_the_twins(name):
    """Given weights, start and members, the plan equals one descended with finite differences of the twin."""
    iterations, members, beta = 50, 2, 0.3
    config, model, params = network(name, clean=False)
    steps = 3 if name.endswith("_td") else T  # the twins of these are slow
    rng = np.random.default_rng(2)
    stacked = jax.tree.map(lambda x: np.stack([x, x + rng.normal(0, 0.2, x.shape)]), params)
    history, present, start = inputs()
    start = start[:steps]
    single = jax.tree.map(jnp.float32, (stacked, history, present, start))
    memory = jax.vmap(model.remember, in_axes=(0, None))(single[0], single[1])
    key = jax.random.key(3)
    out = jax.jit(
        lambda p, m, s, u: plan(
            key,
            (p, m),
            lambda member, state, actions: model.apply(*member, state, actions),
            s,
            u,
            iterations=iterations,
            optimizer=optax.sgd(beta),
        )
    )(single[0], memory, single[2], single[3])
    drawn = np.asarray(rgrl.planning.gradient.ensemble.draw(key, stacked, (iterations,)))
    assert len(set(drawn.tolist())) == members
    twins = [Twin(name, config, jax.tree.map(lambda x, e=e: x[e], stacked)) for e in range(members)]

    def error(twin, latent):
        return np.square(twin(history, present, np.tanh(latent))[0] - 1.0).mean(axis=1).sum()

    latent, eps = start.copy(), 1e-6
    for member in drawn:
        gradient = np.zeros_like(latent)
        for index in np.ndindex(*latent.shape):
            nudge = np.zeros_like(latent)
            nudge[index] = eps
            gradient[index] = (error(twins[member], latent + nudge) - error(twins[member], latent - nudge)) / (
                2 * eps
            )
        latent -= beta * gradient
    np.testing.assert_allclose(out.plan, np.tanh(latent), atol=1e-4)
    assert np.abs(np.tanh(latent) - np.tanh(start)).max() > 0.1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"feedback": False, "teacher_forcing": True}, "teacher_forcing = True"),
        ({"model": "mlp", "feedback": False}, "feedback = False"),
    ],
)
def test_contradictions_are_refused(overrides, message):
    """Settings that exclude each other meet one sentence."""
    with pytest.raises(ValueError, match=message):
        rgrl.RGRLConfig(**overrides).validate()


@pytest.mark.parametrize("name", sorted(rgrl.models.frame.INITIALIZERS))
def test_matrices_of_a_stack_are_drawn_one_by_one(name):
    """The variance of a stacked weight is that of a single matrix, by every law."""
    draw = rgrl.models.frame.draw_matrices(name)
    stack = np.asarray(draw(jax.random.key(0), (3, 2, 48, 32)))
    one = np.asarray(rgrl.models.frame.INITIALIZERS[name](jax.random.key(1), (48, 32)))
    assert stack.shape == (3, 2, 48, 32)
    assert stack.std() == pytest.approx(one.std(), rel=0.1)
    assert abs(stack[0, 0] - stack[1, 1]).max() > 0
