"""The built-in models in NumPy and float64, written from their formulas: loops over tokens, gates and heads."""

import jax
import numpy as np


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def run_cell(kind, w_in, w_hidden, bias, tokens):
    """Hidden states of one recurrent layer along tokens ``[n, d]``, gate by gate as PyTorch documents them."""
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
    """A model from its weights and its spec, which reads the whole prefix anew for every step."""

    def __init__(self, kind, spec, params):
        weights = params["params"] | params["params"]["core"]
        self.w = {key: np.asarray(x, np.float64) for key, x in weights.items() if key != "core"}
        self.kind, self.spec = kind, spec
        self.squash = np.tanh if spec.squash_outputs else lambda x: x

    def get(self, name, *index):
        """A bias, or 0 in a model that has none."""
        return self.w[name][index] if name in self.w else np.zeros((2, 1)) if name == "gate_bias" else 0.0

    def features(self, tokens):
        """The last feature after a sequence of tokens ``[n, d]``."""
        spec = self.spec
        if self.kind == "mlp":
            seen = np.concatenate([np.zeros((spec.history_length, spec.width)), tokens])[-spec.history_length - 1 :]
            tokens = tokens[-1:] + seen[:-1].reshape(-1) @ self.w["past"]
            for layer in range(spec.layers):
                tokens = np.tanh(tokens @ self.w["dense"][layer] + self.get("bias", layer))
        elif self.kind in ("rnn", "gru", "lstm"):
            for layer in range(spec.layers):
                weights = self.w["input_weights"][layer], self.w["hidden_weights"][layer]
                tokens = run_cell(self.kind, *weights, self.get("gate_bias", layer), tokens)
        else:
            tokens = self.decode(tokens)
        return tokens[-1]

    def norm(self, i, x):
        """Layer norm."""
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * self.w["gain"][i] + self.w["offset"][i]

    def map(self, layer, which, x):
        """One of the four maps of an attention block."""
        if self.kind == "transformer":
            return x @ self.w["maps"][layer, which] + self.get("map_bias", layer, which)
        weights = self.w["input_weights"][layer, which], self.w["hidden_weights"][layer, which]
        return run_cell(self.kind.removeprefix("transformer_"), *weights, self.get("gate_bias", layer, which), x)

    def decode(self, tokens):
        """The decoder, token by token and head by head."""
        exponent, width = 2 if self.spec.doubled_positions else 1, self.spec.width
        size = width // self.spec.heads
        x = tokens.copy()
        for pos in range(len(x)):
            for i in range(0, width, 2):
                angle = pos / 10000 ** (exponent * i / width)
                x[pos, i] += np.sin(angle)
                x[pos, i + 1] += np.cos(angle)
        for layer in range(self.spec.layers):
            y = self.norm(2 * layer, x)
            q, k, v = (self.map(layer, which, y) for which in range(3))
            mixed = np.zeros_like(x)
            for head in (slice(i, i + size) for i in range(0, width, size)):
                for t in range(len(x)):
                    score = k[: t + 1, head] @ q[t, head] / np.sqrt(size)
                    share = np.exp(score - score.max())
                    mixed[t, head] = (share / share.sum()) @ v[: t + 1, head]
            x = x + self.map(layer, 3, mixed)
            y = self.norm(2 * layer + 1, x) @ self.w["feed_in"][layer] + self.get("feed_in_bias", layer)
            if not self.spec.linear_feed_forward:  # gelu in the tanh form of jax
                y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
                y = y @ self.w["feed_out"][layer] + self.get("feed_out_bias", layer)
            x = x + y
        return self.norm(2 * self.spec.layers, x)

    def token(self, state, action):
        """tanh of the embedded state plus the embedded action."""
        total = state @ self.w["embed_state"] + action @ self.w["embed_action"] + self.get("token_bias")
        return np.tanh(total)

    def reward(self, feature, state):
        """The reward head, which reads the feature or the predicted state."""
        if self.spec.reward_from == "state":
            feature = np.tanh(state @ self.w["embed_next"] + self.get("next_bias"))
        return self.squash(feature @ self.w["reward_head"] + self.get("reward_bias"))

    def __call__(self, history, present, actions, states=None):
        """Rewards and states along the actions; with ``states`` every step starts from the true state before it."""
        tokens = [self.token(s, a) for s, a in zip(*history, strict=True)]
        state, rewards, predicted = present, [], []
        for t, action in enumerate(actions):
            if t and states is not None:
                state = states[t - 1]
            tokens.append(self.token(state, action))
            feature = self.features(np.array(tokens))
            change = feature @ self.w["state_head"] + self.get("state_bias")
            state = self.squash(state + change if self.spec.residual else change)
            rewards.append(self.reward(feature, state))
            predicted.append(state)
        return np.array(rewards), np.array(predicted)


def random_params(model, seed=0, dtype=np.float64):
    """Weights of which every one, biases included, is random."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda x: rng.normal(0, 0.5, x.shape).astype(dtype), shapes)
