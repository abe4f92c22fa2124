"""The registry of models, and models of one's own."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rgrl_jax.models as public
from rgrl_jax.algos.rgrl import models
from rgrl_jax.algos.rgrl.models import History, ModelSpec
from rgrl_jax.planning import ModelOutput, ensemble, plan

S, A, R, T = 4, 3, 1, 4
SPEC = ModelSpec(S, A, R)


def make_plain(spec):
    """A model of three plain functions: reward = present . w + action . v, memory = mean of past states."""

    def init(key):
        w, v = jax.random.split(key)
        sizes = (spec.state_size, spec.reward_size), (spec.action_size, spec.reward_size)
        return jax.random.normal(w, sizes[0]), jax.random.normal(v, sizes[1])

    def apply(params, memory, present, actions):
        return ModelOutput((present + memory) @ params[0] + actions @ params[1], None)

    return SimpleNamespace(init=init, encode_history=lambda params, history: history.states.mean(axis=0), apply=apply)


@pytest.fixture
def plain():
    """The name of a model of plain functions, registered until the test ends."""
    models.register("plain", make_plain)
    yield "plain"
    models.unregister("plain")


def test_names(plain):
    """Sorted, those of one's own among them until they are removed; removing twice is no error."""
    built_in = ["gru", "lstm", "mlp", "rnn", "transformer", "transformer_gru", "transformer_lstm", "transformer_rnn"]
    assert models.names() == sorted([*built_in, plain])
    models.unregister(plain)
    models.unregister(plain)
    assert models.names() == built_in


def test_the_spec_is_what_a_factory_is_given(plain):
    """As it is."""
    given = []
    models.unregister(plain)
    models.register(plain, lambda spec: given.append(spec) or "a model")
    assert models.make(plain, SPEC) == "a model" and given == [SPEC]


def test_a_taken_name_is_refused():
    """Registering twice is an error that names the model."""
    with pytest.raises(ValueError, match="'gru' is already registered"):
        models.register("gru", make_plain)


def test_a_factory_must_be_a_function():
    """The error says what it is called with."""
    with pytest.raises(TypeError, match="make = 'mlp' of model 'mine' must be a function of a ModelSpec"):
        models.register("mine", "mlp")
    assert "mine" not in models.names()


def test_an_unknown_name_is_answered_with_the_nearest():
    """A typing error is met with the right name; anything else with the names there are."""
    with pytest.raises(ValueError, match=r"model.kind = 'gruu' is not registered; nearest: (.*, )?gru\b"):
        models.make("gruu", SPEC)
    with pytest.raises(ValueError, match="gru"):
        models.make("0000", SPEC)


def test_plain_functions_are_a_model(plain):
    """No base class is needed: register, make, stack, encode a history and plan with three functions."""
    model = models.make(plain, SPEC)
    params = ensemble.init(jax.random.key(6), model.init, 2)
    rng = np.random.default_rng(0)
    history = History(*(jnp.float32(rng.uniform(-1, 1, (3, n))) for n in (S, A)))
    memory = jax.vmap(model.encode_history, in_axes=(0, None))(params, history)
    out = plan(
        jax.random.key(7),
        (params, memory),
        lambda member, state, actions: model.apply(*member, state, actions),
        jnp.zeros(S),
        jnp.zeros((T, A)),
        iterations=50,
        optimizer=optax.sgd(0.1),
    )
    assert (out.plan.shape, out.predicted.reward.shape, out.score.shape) == ((T, A), (T, R), (2,))
    assert out.predicted.state is None
    assert float(out.score.mean()) < float(out.loss[0])


def test_the_public_module_holds_all_of_it():
    """`rgrl_jax.models` is where users find the registry and what a model is made of."""
    assert public.register_model is models.register
    for name in ("History", "Model", "ModelSpec", "make", "names", "register", "unregister"):
        assert getattr(public, name) is getattr(models, name)
    assert public.ModelOutput is ModelOutput
