"""The planning kernel, interpreted, against the XLA path; what it refuses; and that Triton's part of it lowers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import says, tiny_config

import rgrl_jax as rgrl
from rgrl_jax import ensemble
from rgrl_jax.algos.rgrl import acting
from rgrl_jax.algos.rgrl.parts import draw_members, parts
from rgrl_jax.encoding import SQUASHES
from rgrl_jax.models.frame import Frame, FrameModel
from rgrl_jax.models.recurrent import Recurrent
from rgrl_jax.planning import blocks, make_plan_optimizer, plan
from rgrl_jax.planning.kernel import descend_rows
from rgrl_jax.rollout import View, begin
from rgrl_jax.types import History

KEY = jax.random.key(3)
RATE = 0.1


def make_model(cell, sizes=(5, 2, 1), width=8, layers=1, bias=True, **settings):
    """A small feedback model."""
    core = Recurrent(cell, width, layers, bias)
    return FrameModel(Frame(core, *sizes, width, bias, feedback=True, unroll=1, **settings))


@functools.cache
def problem(model, rows=3, horizon=4, members=2):
    """Weights, memories after two steps of history, present states and where the plans start, all drawn."""
    keys = jax.random.split(jax.random.key(0), 6)
    params = ensemble.init(keys[0], model.init, members)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(keys[1], x.shape), params)  # biases begin at 0
    size = model.module.state_size, model.module.action_size
    history = History(*(jax.random.normal(k, (rows, 2, n)) for k, n in zip(keys[2:4], size, strict=True)))
    memory = jax.vmap(jax.vmap(model.remember, in_axes=(0, None)), in_axes=(None, 0))(params, history)
    present = jax.random.normal(keys[4], (rows, size[0]))
    return params, memory, present, jax.random.normal(keys[5], (rows, horizon, size[1]))


def by_xla(model, params, memory, present, start, wishes, *, squash="tanh", optimizer="adam", factors=1.0, **how):
    """`rgrl_jax.plan` on every row: plans before the squash and errors."""

    def apply(member, state, actions):
        out = model.apply(member[0], member[1], state, actions)
        return out._replace(reward=out.reward * factors)

    def one(memory, present, start):
        optim = make_plan_optimizer(optimizer, RATE)
        how_ = how | {"squash": SQUASHES[squash], "desired_reward": wishes, "optimizer": optim}
        out = plan(KEY, (params, memory), apply, present, start, iterations=3, **how_)
        return out.latent, out.loss

    return jax.jit(jax.vmap(one))(memory, present, start)


def by_kernel(model, *args, optimizer="adam", interpret=True, **how):
    """The kernel on the same."""
    *args, wishes = args
    options = {"iterations": 3, "learning_rate": RATE, "optimizer": optimizer, "desired_reward": wishes}
    params, *rows = args
    return descend_rows(KEY, params, model.module, *rows, interpret=interpret, **options, **how)


CASES = {
    "gru": (make_model("gru", layers=2), {}),
    "bare gru": (
        make_model("gru", bias=False, head="linear", reward_from="state"),
        {"squash": "straight_through", "distance": "absolute", "reduction": "mean"},
    ),
    "lstm": (
        make_model("lstm", (5, 3, 2), residual=True, head="tanh", reward_from="state"),
        {"squash": "softmax", "optimizer": "sgd", "factors": np.float32([0.7, 1.3])},
    ),
    "rnn": (make_model("rnn", residual=True, head="linear"), {"step_weights": 1.5 ** np.arange(4.0)}),
}
WISHES = np.linspace(0.5, 1.0, 2)[:, None, None]


@pytest.mark.parametrize("name", CASES)
def test_kernel_equals_xla(name):
    """Plans and errors of three iterations; blocks and the tile are mostly filled up."""
    model, how = CASES[name]
    given = *problem(model), WISHES
    latent, loss = jax.jit(functools.partial(by_kernel, model, **how))(*given)
    expected = by_xla(model, *given, **how)
    assert np.abs(latent - given[3]).max() > 0.01
    np.testing.assert_allclose(latent, expected[0], atol=1e-5)
    np.testing.assert_allclose(loss, expected[1], rtol=1e-5, atol=1e-5)


def test_several_blocks_and_tiles_and_agents(monkeypatch):
    """States, features and rewards of more than one block, rows of more than one tile, and a vmap over agents."""
    monkeypatch.setattr(blocks, "LARGEST", 16)
    model = make_model("rnn", (20, 2, 18), width=24, residual=True)
    params, *rows = problem(model, rows=18)
    agents = jax.tree.map(lambda x: jnp.stack([x, x[::-1]]), params)
    run = jax.jit(jax.vmap(lambda p, d: by_kernel(model, p, *rows, d, optimizer="sgd"), in_axes=(0, None)))
    found = run(agents, 1.0)
    for i in range(2):
        one = jax.tree.map(lambda x, i=i: x[i], agents)
        expected = by_xla(model, one, *rows, 1.0, optimizer="sgd")
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


def rows_of(config, key=KEY, num_envs=3):
    """What `plan_rows` makes of environments just reset."""
    built, params = parts(config), draw_members(key, config)
    now = begin(key, config.spec, acting.make_policy(params, config, jnp.float32(1.0), jnp.float32(0.0)), num_envs=3)
    view = View(now.episode, now.t, now.env_state, now.memory)
    return acting.plan_rows(key, params, view, config, jnp.float32(1.0), built)


def test_the_hook_changes_no_plan():
    """Several starts judged as they will be executed, novelty and history: kernel and XLA choose the same plans."""
    changes = {"plan_starts": 2, "plan_judged": "executed", "novelty": True, "history_length": 2, "model": "rnn"}
    found = {
        mode: jax.jit(functools.partial(rows_of, tiny_config(plan_kernel=mode, plan_optimizer="sgd", **changes)))()
        for mode in ("on", "off")
    }
    for x, y in zip(*map(jax.tree.leaves, found.values()), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_without_a_gpu_it_is_used_only_if_asked_for():
    """``auto`` leaves planning to XLA here."""
    for mode, used in (("auto", False), ("off", False), ("on", True)):
        config = tiny_config(plan_kernel=mode)
        assert acting.uses_kernel(config, parts(config)) is used
        assert ("pallas_call" in str(jax.make_jaxpr(functools.partial(rows_of, config))())) is used


def test_on_a_gpu_it_is_used_where_it_fits(monkeypatch):
    """``auto`` takes what the kernel knows, and leaves the rest to XLA without a word."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for changes, used in (
        ({}, True),
        ({"model": "td"}, False),
        ({"width": 768, "layers": 3}, False),
        ({"plan_kernel": "off"}, False),
    ):
        config = tiny_config(**({"plan_kernel": "auto"} | changes))
        assert acting.uses_kernel(config, parts(config)) is used


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model": "td"}, "model = 'gru' or 'rnn' or 'lstm', not 'td'"),
        ({"model": "gru+lstm"}, "not 'gru+lstm'"),
        ({"plan_optimizer": "normalized"}, "plan_optimizer = 'adam' or 'sgd'"),
        ({"plan_members": "mean"}, "plan_members = 'sample'"),
        ({"planner": "cem"}, "planner = 'gradient'"),
        ({"plan_iterations": 0}, "plan_iterations of at least 1"),
    ],
)
def test_what_it_does_not_know_is_refused(changes, words):
    """In one sentence, before anything compiles, where the config insists."""
    with pytest.raises(ValueError) as error:
        tiny_config(plan_kernel="on", **changes)
    says(error, "plan_kernel = 'on' needs", words)


def test_what_does_not_fit_is_refused():
    """A model of the paper's size."""
    config = tiny_config(plan_kernel="on", width=768, layers=3)
    with pytest.raises(ValueError) as error:
        acting.uses_kernel(config, parts(config))
    says(error, "plan_kernel = 'on' needs at most 1,000,000 weights", "width = 768", "layers = 3")


def test_tiles_grow_with_the_rows():
    """16 rows while that keeps every multiprocessor busy, then more."""
    assert [blocks.tile_rows(n) for n in (1, 16 * 132, 16 * 132 + 1, 10**6)] == [16, 16, 32, 64]


@pytest.mark.skipif(jax.__version_info__ >= (0, 11), reason="later ones compile Triton's part, which needs CUDA")
@pytest.mark.parametrize("name", ["gru", "bare gru", "lstm", "rnn"])
def test_lowers_for_cuda(name):
    """As far as that goes without a GPU: to Triton's language, not to machine code."""
    model, how = CASES[name]
    given = *problem(model), WISHES
    run = functools.partial(by_kernel, model, interpret=False, **how)
    if name == "gru":  # two agents
        run, given = jax.vmap(run, in_axes=(None, None, None, 0, None)), (*given[:3], given[3][None], WISHES)
    assert "xla.gpu.triton" in jax.jit(run).trace(*given).lower(lowering_platforms=("cuda",)).as_text()


def test_refused_presets_are_known():
    """Of the tuned presets only those with another network are left to XLA."""
    presets = [rgrl.preset(env) for env in rgrl.list_presets()["tuned"]]
    left = [config.env_id for config in presets if blocks.refusal(config)]
    assert "Catch-bsuite" in left and "CartPole-v1" not in left
    assert left == [config.env_id for config in presets if config.model == "mlp"]
