"""Updates of DDPG: gradients by central differences, descent by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.ddpg import twins
from algos.ddpg.twins import batch_of, double, slope_of, small

from rgrl_jax.algos.ddpg.agent import make_agent

KEY = jax.random.key(0)
INIT = jax.jit(lambda key, config: make_agent(config).init(key))
UPDATE = jax.jit(lambda networks, batch, config: make_agent(config).update(KEY, networks, batch))


@pytest.mark.parametrize("action_layer", [0, 1])
def test_an_update_by_hand(action_layer):
    """Plain descent on ``(r + gamma Q'(s', mu'(s')) - Q(s, a))^2``, with nothing after an end, and weight decay; then
    the actor climbs the new critic's mean value of its actions, and targets follow."""
    config = small(optimizer="sgd", discount=0.9, action_layer=action_layer, hidden_lr_scale=0.5)
    config = config.replace(actor_lr=0.3, critic_lr=0.1, critic_decay=0.5, tau=0.25)
    one, two, batch = INIT(KEY, config), INIT(jax.random.key(1), config), batch_of(config)
    lag = double(jax.tree.map(lambda x: x, (two.actor.weights, two.critic.weights)))  # targets that differ
    networks = one.replace(
        actor=one.actor.replace(target=two.actor.weights), critic=one.critic.replace(target=two.critic.weights)
    )
    after, error = UPDATE(networks, batch, config)
    data, actor, critic = double(batch), double(one.actor.weights), double(one.critic.weights)
    next_value = twins.value(lag[1], action_layer, data.next_x, twins.layers(lag[0], data.next_x, "tanh")[-1])
    y = data.reward + 0.9 * data.bootstrap * next_value
    errors = y - twins.value(critic, action_layer, data.x, data.action)
    assert float(error) == pytest.approx((errors**2).mean(), rel=1e-4)
    for i, layer in enumerate(after.critic.weights):

        def cost(w, i=i):
            values = twins.value((*critic[:i], w, *critic[i + 1 :]), action_layer, data.x, data.action)
            return ((y - values) ** 2).mean()

        expected = critic[i] - 0.1 * (slope_of(cost, critic[i]) + 0.5 * critic[i])
        np.testing.assert_allclose(layer, expected, rtol=1e-3, atol=1e-5)
    for i, layer in enumerate(after.actor.weights):

        def worth(w, i=i):
            action = twins.layers((*actor[:i], w, *actor[i + 1 :]), data.x, "tanh")[-1]
            return twins.value(double(after.critic.weights), action_layer, data.x, action).mean()

        move = (0.15 if i < 2 else 0.3) * slope_of(worth, actor[i])
        np.testing.assert_allclose(layer - actor[i], move, rtol=1e-2, atol=1e-5)
    for new, slow in ((after.actor, lag[0]), (after.critic, lag[1])):
        for found, weights, old in zip(new.target, double(new.weights), slow, strict=True):
            np.testing.assert_allclose(found, 0.25 * weights + 0.75 * old, rtol=1e-4, atol=1e-6)


def test_hidden_layers_may_be_slower_or_frozen():
    """By Adam's steps too, whose size does not follow that of the gradient."""
    networks, batch, moved = INIT(KEY, small()), batch_of(small()), {}
    for share in (1.0, 0.5, 0.0):
        after, _ = UPDATE(networks, batch, small(hidden_lr_scale=share))
        moved[share] = [new - old for new, old in zip(after.actor.weights, networks.actor.weights, strict=True)]
    for i in range(3):
        np.testing.assert_allclose(moved[0.5][i], (0.5 if i < 2 else 1.0) * moved[1.0][i], rtol=1e-3, atol=1e-6)
        assert np.any(moved[0.0][i] != 0) == (i == 2)


def test_targets_start_equal_and_last_layers_small():
    networks = INIT(KEY, small(final_init=1e-3))
    for network in (networks.actor, networks.critic):
        assert 5e-4 < float(jnp.abs(network.weights[-1]).max()) <= 1e-3
        for one, other in zip(network.weights, network.target, strict=True):
            np.testing.assert_array_equal(one, other)
