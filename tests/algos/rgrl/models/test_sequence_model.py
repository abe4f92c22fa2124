"""Every built-in model against one NumPy twin in float64, and what all of them have in common."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from model_twins import Twin, random_params

from rgrl_jax.algos.rgrl.models import History, ModelSpec, make
from rgrl_jax.algos.rgrl.models.sequence_model import draw_matrices
from rgrl_jax.planning import ensemble, plan

S, A, R, D, H, T = 4, 3, 2, 6, 3, 4
MODELS = ["rnn", "gru", "lstm", "transformer", "transformer_rnn", "transformer_gru", "transformer_lstm", "mlp"]
SPEC = ModelSpec(S, A, R, width=D, layers=2, heads=2, history_length=H)
VARIANTS = {
    "clean": {},
    "paper": {
        "biases": False,
        "squash_outputs": True,
        "residual": False,
        "doubled_positions": True,
        "linear_feed_forward": True,
    },
    "by_state": {"reward_from": "state"},
}


@functools.cache
def network(kind, variant="clean"):
    """A spec, its model of two layers, and weights of which every one is random, in float64."""
    spec = SPEC._replace(**VARIANTS[variant])
    model = make(kind, spec)
    return spec, model, random_params(model)


def inputs(history=H):
    """A history, a present state, actions, and the true states after each of them."""
    rng = np.random.default_rng(1)
    past = History(rng.uniform(-1, 1, (history, S)), rng.uniform(-1, 1, (history, A)))
    return past, rng.uniform(-1, 1, S), rng.uniform(-1, 1, (T, A)), rng.uniform(-1, 1, (T, S))


@functools.cache
def compiled(model):
    """Predictions of a model on its own states and on the true ones, as one program."""

    def both(params, history, present, actions, states):
        memory = model.encode_history(params, history)
        return model.apply(params, memory, present, actions), model.apply(params, memory, present, actions, states)

    return jax.jit(both)


def predict(kind, variant, *case):
    """Both predictions in float64."""
    _, model, params = network(kind, variant)
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, compiled(model)(params, *case))


CASES = [(kind, variant) for kind in ("rnn", "gru", "lstm", "transformer", "mlp") for variant in ("clean", "paper")]
CASES += [("transformer_rnn", "clean"), ("transformer_gru", "clean"), ("transformer_lstm", "clean")]
CASES += [("gru", "by_state")]


@pytest.mark.parametrize(("kind", "variant"), CASES)
def test_model_equals_its_twin(kind, variant):
    """On its own states and on the true ones, to 1e-10 in float64."""
    spec, _, params = network(kind, variant)
    twin, case = Twin(kind, spec, params), inputs()
    for out, true in zip(predict(kind, variant, *case), (None, case[-1]), strict=True):
        for ours, theirs in zip(out, twin(*case[:3], true), strict=True):
            assert ours.dtype == np.float64
            np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("kind", ["lstm", "transformer", "mlp"])
def test_model_without_history_equals_its_twin(kind):
    """An empty history leaves the memory as it is at first."""
    spec, _, params = network(kind)
    case = inputs(0)
    out = predict(kind, "clean", *case)[0]
    for ours, theirs in zip(out, Twin(kind, spec, params)(*case[:3]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("kind", MODELS)
def test_one_pass_equals_one_by_one(kind):
    """A cache or carried memory gives what reading all tokens at once gives: told its own states, nothing changes."""
    case = inputs()
    chained, _ = predict(kind, "clean", *case)
    _, taught = predict(kind, "clean", *case[:-1], chained.state)
    np.testing.assert_allclose(taught.reward, chained.reward, atol=1e-12)
    np.testing.assert_allclose(taught.state, chained.state, atol=1e-12)


@pytest.mark.parametrize("kind", MODELS)
def test_teacher_forcing_reads_the_true_states(kind):
    """A state that is told differently changes what follows it, and nothing before."""
    case = inputs()
    _, one = predict(kind, "clean", *case)
    for step in range(T):
        nudge = 0.5 * (np.arange(T) == step)[:, None]
        _, other = predict(kind, "clean", *case[:-1], case[-1] + nudge)
        changed = np.any(other.reward != one.reward, axis=1)
        assert changed.tolist() == [t > step for t in range(T)]


@pytest.mark.parametrize("kind", MODELS)
def test_predictions_depend_on_the_past_only(kind):
    """An action changes the reward and state of its own step and what follows, and nothing before."""
    history, present, actions, states = inputs()
    whole, _ = predict(kind, "clean", history, present, actions, states)
    for step in range(T):
        nudge = 0.5 * (np.arange(T) == step)[:, None]
        other, _ = predict(kind, "clean", history, present, actions + nudge, states)
        for before, after in zip(whole, other, strict=True):
            np.testing.assert_array_equal(before[:step], after[:step])
            assert np.all(np.any(before[step:] != after[step:], axis=1))


@pytest.mark.parametrize("kind", MODELS)
def test_the_history_is_read(kind):
    """Another state or action in its earliest step changes every prediction."""
    history, *rest = inputs()
    whole, _ = predict(kind, "clean", history, *rest)
    for i in range(2):
        parts = [x.copy() for x in history]
        parts[i][0] += 0.5
        other, _ = predict(kind, "clean", History(*parts), *rest)
        assert np.all(np.any(other.reward != whole.reward, axis=1))


@pytest.mark.parametrize("kind", MODELS)
def test_predictions_have_the_type_of_the_weights(kind):
    """float32 weights predict in float32, whatever the inputs are."""
    _, model, _ = network(kind)
    with jax.enable_x64(True):
        case = jax.tree.map(jnp.asarray, inputs())
        out = jax.eval_shape(compiled(model), random_params(model, dtype=np.float32), *case)
    assert {x.dtype.name for x in jax.tree.leaves(out)} == {"float32"}


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_a_plan_equals_the_twins(kind):
    """Given weights, start and members, the plan equals one descended with finite differences of the twin."""
    iterations, beta, steps = 6, 2.0, 3
    spec, model, params = network(kind, "paper")
    rng = np.random.default_rng(2)
    stacked = jax.tree.map(lambda x: np.stack([x, x + rng.normal(0, 0.2, x.shape)]), params)
    history, present, start, _ = inputs()
    start, key = start[:steps], jax.random.key(3)

    def apply(member, context, actions):
        history, state = context
        return model.apply(member, model.encode_history(member, history), state, actions)

    single = jax.tree.map(jnp.float32, (stacked, (history, present), start))
    options = {"iterations": iterations, "optimizer": optax.sgd(beta)}
    out = jax.jit(lambda p, c, u: plan(key, p, apply, c, u, **options).plan)(*single)
    drawn = np.asarray(ensemble.draw(key, stacked, (iterations,)))
    assert set(drawn.tolist()) == {0, 1}
    twins = [Twin(kind, spec, jax.tree.map(lambda x, e=e: x[e], stacked)) for e in range(2)]

    def error(twin, latent):
        return np.square(twin(history, present, np.tanh(latent))[0] - 1.0).mean(axis=1).sum()

    latent, eps = start.copy(), 1e-6
    for e in drawn:
        gradient = np.zeros_like(latent)
        for index in np.ndindex(*latent.shape):
            nudge = np.zeros_like(latent)
            nudge[index] = eps
            gradient[index] = (error(twins[e], latent + nudge) - error(twins[e], latent - nudge)) / (2 * eps)
        latent -= beta * gradient
    np.testing.assert_allclose(out, np.tanh(latent), atol=1e-4)
    assert np.abs(np.tanh(latent) - np.tanh(start)).max() > 0.1


def test_initial_weights():
    """Matrices have the variance of Glorot and Bengio, biases are 0, and there are none if none are wanted."""
    spec = ModelSpec(30, 20, 40, width=64, reward_from="state", residual=False)
    weights = jax.jit(make("mlp", spec).init)(jax.random.key(3))["params"]
    biases = {"token_bias", "reward_bias", "state_bias", "next_bias"}
    assert biases < set(weights) and not any(np.any(weights[name]) for name in biases)
    for name in ("embed_state", "embed_action", "reward_head", "state_head", "embed_next"):
        assert np.asarray(weights[name]).std() == pytest.approx((2 / sum(weights[name].shape)) ** 0.5, rel=0.08)
    bare = jax.eval_shape(make("mlp", spec._replace(biases=False)).init, jax.random.key(0))["params"]
    assert set(bare) == set(weights) - biases and set(bare["core"]) == {"dense"}


def test_a_residual_model_starts_from_no_change():
    """The head of the change is 0 at first, so a fresh model predicts that the state stays as it is."""
    weights = jax.jit(make("mlp", SPEC).init)(jax.random.key(3))["params"]
    assert not np.any(weights["state_head"]) and not np.any(weights["state_bias"])


def test_longer_loop_bodies_predict_the_same():
    """However many steps are compiled into one, more than there are among them."""
    whole, _ = predict("mlp", "clean", *inputs())
    for unroll in (3, 10):
        with jax.enable_x64(True):
            other, _ = compiled(make("mlp", SPEC._replace(unroll=unroll)))(network("mlp")[2], *inputs())
        np.testing.assert_allclose(other.reward, whole.reward, atol=1e-12)
        np.testing.assert_allclose(other.state, whole.state, atol=1e-12)


def test_matrices_of_a_stack_are_drawn_one_by_one():
    """The variance of a stacked weight is that of a single matrix, and no two are alike."""
    stack = np.asarray(draw_matrices(jax.random.key(0), (3, 2, 48, 32)))
    assert stack.shape == (3, 2, 48, 32)
    assert stack.std(axis=(2, 3)) == pytest.approx((2 / (48 + 32)) ** 0.5, rel=0.1)
    assert len(np.unique(stack[..., 0, 0])) == 6
