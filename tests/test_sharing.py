"""Rows shared among devices make what one device makes of all of them; here every device is a lane of a ``vmap``."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from test_learning import LINEAR, B, E, _params, _windows

import rgrl_jax as rgrl
from rgrl_jax import learning, sharing
from rgrl_jax.algos import rgrl as algo
from rgrl_jax.algos.rgrl.acting import first_view

DEVICES = 4
MAPPED = functools.partial(jax.vmap, axis_name=sharing.AXIS, axis_size=DEVICES)


@pytest.mark.parametrize("n", [1, 3, 8, 10])
@pytest.mark.parametrize("axis", [0, 1])
def test_shares_cover_all_rows_and_come_back_in_order(n, axis):
    """Against a plain loop: even and uneven numbers, fewer rows than devices, and keys."""
    x = jnp.moveaxis(jnp.arange(3.0 * n).reshape(n, 3), 0, axis)
    keys = jax.random.split(jax.random.key(0), n)
    shares, whole = MAPPED(lambda _: (sharing.share(x, axis), sharing.gather(sharing.share(x, axis), n, axis)))(
        jnp.arange(DEVICES)
    )
    size = -(-n // DEVICES)
    for device in range(DEVICES):
        rows = [min(device * size + i, n - 1) for i in range(size)]
        np.testing.assert_array_equal(shares[device], np.take(x, rows, axis))
        np.testing.assert_array_equal(whole[device], x)
    again = MAPPED(lambda _: sharing.gather(sharing.share(keys), n))(jnp.arange(DEVICES))
    np.testing.assert_array_equal(tiny.words(again), np.broadcast_to(tiny.words(keys), (DEVICES, n, 2)))


def test_without_the_axis_nothing_changes():
    """The very same arrays, also inside another axis."""
    x = jnp.arange(3)
    assert sharing.share(x) is x and sharing.gather(x, 2) is x and sharing.mean(x) is x
    assert (jax.vmap(lambda x: jnp.float32(sharing.devices()), axis_name="seeds")(x) == 1).all()


def test_a_shared_batch_makes_the_update_of_the_whole_one():
    """Weights, loss and errors; `test_learning` holds the whole one against NumPy."""
    rng = np.random.default_rng(0)
    params, windows = jax.tree.map(jnp.asarray, (_params(rng), _windows(rng, E, B)))
    optimizer = learning.make_optimizer("sgd", 0.3, 0.5)  # clipped by the norm of the mean, not of the shares
    state = learning.init(params, optimizer)

    def update(windows):
        windows = sharing.share(windows, axis=1)
        params_, state_, loss, errors = learning.update(LINEAR, optimizer, params, state, windows)
        return params_, state_, loss, sharing.gather(errors, B, axis=1)

    assert np.abs(_same_on_all(update, windows)[0].p - params.p).max() > 0.01


def _same_on_all(function, *arguments):
    """What a function makes on one device, which each of four must make as well."""

    def run(*arguments):
        return function(*arguments), MAPPED(lambda _: function(*arguments))(jnp.arange(DEVICES))

    whole, shared = jax.jit(run)(*arguments)
    for x, y in zip(*map(jax.tree.leaves, (whole, shared)), strict=True):
        np.testing.assert_allclose(np.broadcast_to(x, y.shape), y, rtol=1e-5, atol=1e-6)
    return whole


def test_shared_environments_play_the_same_episode():
    """With several starts, memories of plans and histories, and a number that four do not divide."""
    changes = {"plan_starts": 2, "plan_warm_start": True, "history_length": 2, "max_steps": 3, "horizon": 2}
    config = tiny.tiny_config(num_envs=6, **changes)

    def play(key):
        policy = algo.make_policy(algo.init(key, config).params, config, jnp.float32(1.0), jnp.float32(0.0))
        return rgrl.rollout(key, config.spec, policy, num_envs=6, **first_view(config, 6))

    played = _same_on_all(play, jax.random.key(1))
    assert played.action.std() > 0 and played.info["plan_loss"].std() > 0


def test_shared_learning_draws_the_same_windows():
    """With noise and dropout, every window by its own key, and priorities, which need the errors of all."""
    changes = {"replay": "priority", "dropout": 0.3, "action_noise": 0.5, "state_noise": 0.1, "dedupe": "none"}
    shape = {"learn_batch": 8, "learn_iterations": 1, "horizon": 2, "max_steps": 6}
    config = tiny.tiny_config(model="td", optimizer="sgd", **shape, **changes)

    def episode(key, view):
        return jax.random.randint(key, (1, 2), 0, 2), {}, ()

    def learn(key):
        state = algo.init(key, config)
        played = rgrl.rollout(key, config.spec, episode, num_envs=2, info={})
        memory = algo.learning.remember(state.replay, played, config)
        params, _, memory, loss = algo.learn(key, state.params, state.opt_state, memory, config)
        return params, memory.weight, loss

    assert len(np.unique(_same_on_all(learn, jax.random.key(2))[1])) > 3
