"""The planning kernel, interpreted, against `plan`; what it refuses; and that Triton's part of it lowers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rgrl_jax.algos.rgrl.models.base import History, ModelSpec, make
from rgrl_jax.contrib.planning_kernel import blocks, descend_rows, refusal
from rgrl_jax.planning import absolute_error, ensemble, plan

KEY = jax.random.key(3)
RATE = 0.1


def make_model(kind, *sizes, **settings):
    """A small recurrent model."""
    return make(kind, ModelSpec(*(sizes or (5, 2, 1)), **({"width": 8} | settings)))


@functools.cache
def problem(model, rows=3, horizon=4, members=2):
    """Weights, memories after two steps of history, present states and where the plans start, all drawn."""
    keys = jax.random.split(jax.random.key(0), 6)
    params = ensemble.init(keys[0], model.init, members)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(keys[1], x.shape), params)  # biases begin at 0
    size = model.module.spec.state_size, model.module.spec.action_size
    history = History(*(jax.random.normal(k, (rows, 2, n)) for k, n in zip(keys[2:4], size, strict=True)))
    memory = jax.vmap(jax.vmap(model.encode_history, in_axes=(0, None)), in_axes=(None, 0))(params, history)
    present = jax.random.normal(keys[4], (rows, size[0]))
    return params, memory, present, jax.random.normal(keys[5], (rows, horizon, size[1]))


def by_xla(model, params, memory, present, start, desired, *, optimizer=optax.adam, **options):
    """`plan` on every row: plans before the squash and errors."""

    def apply(member, state, actions):
        return model.apply(member[0], member[1], state, actions)

    def one(memory, present, start):
        settings = options | {"iterations": 3, "optimizer": optimizer(RATE), "desired_reward": desired}
        out = plan(KEY, (params, memory), apply, present, start, **settings)
        return out.latent, out.loss

    return jax.jit(jax.vmap(one))(memory, present, start)


def by_kernel(model, params, memory, present, start, desired, **options):
    """The kernel on the same."""
    settings = {"iterations": 3, "learning_rate": RATE, "desired_reward": desired, "interpret": True} | options
    return descend_rows(KEY, params, model.module, memory, present, start, **settings)


CASES = {
    "gru": (make_model("gru", layers=2, residual=False, squash_outputs=True), {}, {}),
    "bare gru": (
        make_model("gru", biases=False, residual=False, reward_from="state"),
        {"distance": jnp.abs},
        {"loss_fn": absolute_error},
    ),
    "squashed gru": (
        make_model("gru", 5, 3, 2, squash_outputs=True, reward_from="state"),
        {"optimizer": "sgd"},
        {"optimizer": optax.sgd},
    ),
}
DESIRED = np.linspace(0.5, 1.0, 2)[:, None, None]


@pytest.mark.parametrize("name", CASES)
def test_kernel_equals_xla(name):
    """Plans and errors of three iterations; blocks and the tile are mostly padding."""
    model, options, same = CASES[name]
    given = *problem(model), DESIRED
    latent, loss = jax.jit(functools.partial(by_kernel, model, **options))(*given)
    expected = by_xla(model, *given, **same)
    assert np.abs(latent - given[3]).max() > 0.01
    np.testing.assert_allclose(latent, expected[0], atol=1e-5)
    np.testing.assert_allclose(loss, expected[1], rtol=1e-5, atol=1e-5)


def test_several_blocks_and_tiles_and_agents(monkeypatch):
    """Every vector of more than one block, rows of more than one tile, and a vmap over agents."""
    monkeypatch.setattr(blocks, "LARGEST", 16)
    model = make_model("gru", 20, 17, 18, width=24, squash_outputs=True)
    params, *rows = problem(model, rows=18)
    agents = jax.tree.map(lambda x: jnp.stack([x, x[::-1]]), params)
    run = jax.jit(jax.vmap(lambda p, d: by_kernel(model, p, *rows, d, optimizer="sgd"), in_axes=(0, None)))
    found = run(agents, 1.0)
    for i in range(2):
        one = jax.tree.map(lambda x, i=i: x[i], agents)
        expected = by_xla(model, one, *rows, 1.0, optimizer=optax.sgd)
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x[i], y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(5,), (20, 130), (16, 16)])
def test_cutting_keeps_every_entry(sizes):
    """Blocks side by side are the array again, with zeros behind."""
    x = np.random.default_rng(0).normal(size=(3, *sizes)).astype(np.float32)
    if len(sizes) == 1:
        whole = np.asarray(blocks.cut(x)).reshape(3, -1)
    else:
        whole = np.moveaxis(np.asarray(blocks.cut_matrix(x)), 2, 3)
        whole = whole.reshape(3, whole.shape[1] * whole.shape[2], -1)
    inside = tuple(slice(n) for n in x.shape)
    np.testing.assert_array_equal(whole[inside], x)
    assert np.count_nonzero(whole) == np.count_nonzero(x)


REFUSED = [
    (make_model("transformer"), {}, "needs a GRU, not"),
    (make_model("lstm"), {}, "needs a GRU, not lstm"),
    (make_model("gru", 26, 2, 1, image_shape=(5, 5)), {}, "not images of shape (5, 5)"),
    (make_model("gru"), {"optimizer": "lion"}, "needs optimizer = 'adam' or 'sgd', not 'lion'"),
    (make_model("gru"), {"iterations": 0}, "needs at least 1 iteration, not 0"),
]


@pytest.mark.parametrize(("model", "options", "words"), REFUSED)
def test_what_it_cannot_do_is_refused(model, options, words):
    """In one sentence, before anything is traced."""
    assert words in refusal(model.module, **options)
    with pytest.raises(ValueError, match="^the planning kernel needs"):
        by_kernel(model, None, None, None, None, 1.0, **options)


def test_double_precision_is_refused():
    """Which Triton's products do not take."""
    module = make_model("gru").module
    assert refusal(module) is None
    with jax.enable_x64(True):
        assert refusal(module) == "needs jax_enable_x64 = False"


@pytest.mark.skipif(jax.__version_info__ >= (0, 11), reason="later ones compile Triton's part, which needs CUDA")
@pytest.mark.parametrize("name", CASES)
def test_lowers_for_cuda(name):
    """As far as that goes without a GPU: to Triton's language, not to machine code."""
    model, options, _ = CASES[name]
    given = *problem(model), DESIRED
    run = functools.partial(by_kernel, model, interpret=False, **options)
    if name == "gru":  # two agents
        run, given = jax.vmap(run, in_axes=(None, None, None, 0, None)), (*given[:3], given[3][None], DESIRED)
    assert "xla.gpu.triton" in jax.jit(run).trace(*given).lower(lowering_platforms=("cuda",)).as_text()
