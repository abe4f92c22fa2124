"""Deterministic policy gradients piece by piece: networks, critics of neurons, gradients, replay, noise and scales.

Twins are written in NumPy, in float64, one number after the other.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import assert_same

import rgrl_jax as rgrl
from rgrl_jax.algos.ddpg import algorithm, measures, networks, neurons, parts, replay, update

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
INIT, IMPROVE, COMPARE = jax.jit(update.init_nets), jax.jit(update.improve), jax.jit(measures.compare)
RESPOND = jax.jit(measures.respond_to)
LESSONS, FIRE = jax.jit(update.lessons), jax.jit(networks.fire, static_argnums=1)
DRAW, WRITE = jax.jit(replay.draw, static_argnums=4), jax.jit(replay.write)
SMALL = {
    "hidden": (5, 4),
    "critic_hidden": (6, 5),
    "neuron_hidden": (3,),
    "max_steps": 6,
    "episodes": 2,
    "batch": 4,
    "warmup_steps": 4,
    "replay_capacity": 30,
    "final_init": 0.0,
    "noise": "ou",
    "noise_scale": 0.3,
    # Not what is tuned: most tests are of all neurons.
    "learners": "all",
    "activation": "tanh",
}


def small(rule="ddpg", env_id="Pendulum-v1", **overrides):
    """The preset of an environment, cut down."""
    return rgrl.preset(env_id, algo=rule, **(SMALL | overrides))


def double(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def slope_of(function, x, step=1e-6):
    """Central differences of a function of an array, of the shape of the array."""
    x, out = np.asarray(x, np.float64), np.zeros(np.shape(x))
    for place in np.ndindex(out.shape):
        move = np.zeros_like(x)
        move[place] = step
        out[place] = (function(x + move) - function(x - move)) / (2 * step)
    return out


def batch_of(config, size=7, voltages=0):
    """A batch of random steps."""
    sizes = parts.actor_design(config).sizes
    draw = lambda *shape: jnp.asarray(RNG.uniform(-1, 1, shape), jnp.float32)  # noqa: E731
    counts = jnp.asarray(RNG.integers(0, 2, size), jnp.float32)
    said = draw(size, sum(parts.said_sizes(parts.actor_design(config))) * voltages)
    return update.Batch(draw(size, sizes[0]), draw(size, sizes[-1]), draw(size), draw(size, sizes[0]), counts, said)


# Networks.

ACTIVATIONS = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}


def twin_layers(weights, x, activation, biases=True):
    """Voltages of all layers, the input first."""
    h = [x]
    for i, w in enumerate(weights):
        z = h[-1] @ w[:-1] + w[-1] * biases
        h.append(np.tanh(z) if i == len(weights) - 1 else ACTIVATIONS[activation](z))
    return h


def twin_value(weights, joins, x, action):
    h = x
    for i, w in enumerate(weights):
        h = np.concatenate([h, action], axis=-1) if i == joins else h
        h = h @ w[:-1] + w[-1]
        h = h if i == len(weights) - 1 else np.maximum(h, 0)
    return h[..., 0]


@pytest.mark.parametrize("activation, biases", [("relu", True), ("tanh", False)])
def test_layers_fire_one_after_the_other(activation, biases):
    design = networks.Design((3, 5, 4, 2), False, 1, activation, biases)
    weights, x = networks.init_weights(KEY, design.sizes), RNG.normal(size=(6, 3)).astype(np.float32)
    firings = FIRE(weights, design, x)
    expected = twin_layers(double(weights), double(x), activation, biases)
    for firing, seen, said in zip(firings, expected[:-1], expected[1:], strict=True):
        np.testing.assert_allclose(firing.seen, seen, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(firing.said, said, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(networks.action_of(firings, design), firings[-1].said)


def test_a_pool_fires_step_by_step():
    """From rest, with the observation on its input neurons; noise adds to what is said and is heard."""
    design = networks.Design((3, 4, 2), True, 3, "relu", True)
    weights = networks.init_weights(KEY, networks.actor_shapes(design)[0])
    x, noise = RNG.normal(size=3).astype(np.float32), RNG.normal(size=(3, 9)).astype(np.float32)
    firings = FIRE(weights, design, x, list(noise))
    (w,), drive = double(weights), np.concatenate([x, np.zeros(6)])
    v = drive
    for firing, more in zip(firings, noise, strict=True):
        np.testing.assert_allclose(firing.seen, v, rtol=1e-4, atol=1e-5)
        z = v @ w[:-1] + w[-1]
        said = np.concatenate([np.maximum(z[:7], 0), np.tanh(z[7:])]) + more
        np.testing.assert_allclose(firing.said, said, rtol=1e-4, atol=1e-5)
        v = said + drive
    np.testing.assert_array_equal(networks.action_of(firings, design), firings[-1].said[-2:])


def test_first_weights_are_small_in_the_last_layer():
    weights = networks.init_weights(KEY, (4, 100, 9, 50), 3e-3)
    for w, width in zip(weights, (0.5, 0.1, 3e-3), strict=True):
        assert 0.95 * width < np.abs(w).max() <= width
    assert np.abs(networks.init_weights(KEY, (4, 100, 9, 50))[-1]).max() > 0.3


@pytest.mark.parametrize("joins", [0, 1, 2])
def test_the_action_joins_at_any_layer(joins):
    weights = networks.init_critic(KEY, 3, 2, (5, 4), joins, 0.0)
    x, action = RNG.normal(size=(6, 3)).astype(np.float32), RNG.normal(size=(6, 2)).astype(np.float32)
    found = networks.value(weights, joins, x, action)
    np.testing.assert_allclose(found, twin_value(double(weights), joins, x, action), rtol=1e-4, atol=1e-6)


# Critics of neurons.


def twin_judge(params, kind, v, a):
    """Values ``[k]`` of one sample, neuron by neuron."""
    if kind == "layer":
        return np.array([twin_tanh(params, np.concatenate([v, a]))])
    values = []
    for n in range(len(a)):
        mine = jax.tree.map(lambda x, n=n: x[n], params)
        if kind == "mlp":
            values.append(twin_tanh(mine, np.append(v, a[n])))
            continue
        q = mine["state"] @ v + mine["action"] * a[n]
        if kind == "bilinear":
            q += a[n] * (mine["product"] @ v) + mine["square"] * a[n] ** 2 + v @ mine["pairs"] @ v
        values.append(q)
    return np.array(values)


def twin_tanh(weights, h):
    for i, w in enumerate(weights):
        h = h @ w[:-1] + w[-1]
        h = h if i == len(weights) - 1 else np.tanh(h)
    return h[0]


@pytest.mark.parametrize("kind", ["mlp", "linear", "bilinear", "layer"])
def test_critics_of_neurons(kind):
    """Values, and slopes by a neuron's own voltage, against single neurons and central differences."""
    params = neurons.init_neurons(KEY, kind, 5, 4, (3, 3))
    v, a = (RNG.normal(size=(6, n)).astype(np.float32) for n in (5, 4))
    values, found = (jax.jit(f, static_argnums=1)(params, kind, v, a) for f in (neurons.judge, neurons.slopes))
    exact = double(params)
    for i in range(6):
        np.testing.assert_allclose(values[i], twin_judge(exact, kind, v[i], a[i]), rtol=1e-3, atol=1e-5)
        slope = slope_of(lambda a, i=i: twin_judge(exact, kind, v[i], a).sum(), a[i])
        np.testing.assert_allclose(found[i], slope, rtol=1e-3, atol=1e-5)


# Gradients and updates.


@pytest.mark.parametrize("joins", [0, 1])
def test_gradient_of_the_whole_actor(joins):
    """Central differences of the mean value of its actions, by every weight."""
    config = small(action_layer=joins)
    nets, batch = INIT(KEY, config), batch_of(config)
    found = jax.jit(update.global_gradient)(nets, batch, config)
    weights, critic, x = double(nets.actor.weights), double(nets.critic.weights), double(batch.x)
    for i, layer in enumerate(found):

        def worth(w, i=i):
            h = twin_layers((*weights[:i], w, *weights[i + 1 :]), x, config.activation)
            return twin_value(critic, joins, x, h[-1]).mean()

        np.testing.assert_allclose(layer, slope_of(worth, weights[i]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", ["mean", "half"])
def test_update_of_the_critic(loss):
    """Plain descent on ``(r + gamma Q'(s', mu'(s')) - Q(s, a))^2``, with nothing after an end, and weight decay."""
    rates = {"critic_rate": 0.1, "critic_decay": 0.5, "target_rate": 0.25}
    config = small(loss=loss, optimizer="sgd", discount=0.9, reward_scale=0.5, **rates)
    nets, batch = INIT(KEY, config), batch_of(config)
    other = INIT(jax.random.key(1), config)  # targets that differ
    nets = nets.replace(
        actor=nets.actor.replace(target=other.actor.weights), critic=nets.critic.replace(target=other.critic.weights)
    )
    after, error = IMPROVE(KEY, nets, batch, config)
    data, exact = double(batch), double(nets.critic.weights)
    action = twin_layers(double(other.actor.weights), data.next_x, config.activation)[-1]
    aim = data.reward + 0.9 * data.counts * twin_value(double(other.critic.weights), 0, data.next_x, action)
    assert float(error) == pytest.approx(((aim - twin_value(exact, 0, data.x, data.action)) ** 2).mean(), rel=1e-4)
    for i, layer in enumerate(after.critic.weights):

        def cost(w, i=i):
            values = twin_value((*exact[:i], w, *exact[i + 1 :]), 0, data.x, data.action)
            return (0.5 if loss == "half" else 1.0) * ((aim - values) ** 2).mean()

        expected = exact[i] - 0.1 * (slope_of(cost, exact[i]) + 0.5 * exact[i])
        np.testing.assert_allclose(layer, expected, rtol=1e-3, atol=1e-5)
    for new, old in ((after.critic, other.critic), (after.actor, other.actor)):
        for found, weights, slow in zip(new.target, double(new.weights), double(old.weights), strict=True):
            np.testing.assert_allclose(found, 0.25 * weights + 0.75 * slow, rtol=1e-4, atol=1e-6)


def test_the_drafts_update_by_hand():
    """Linear critics of neurons: its equations, step by step, for every layer at once; and its targets."""
    config = small(
        "neuron_ddpg",
        neuron_critic="linear",
        optimizer="sgd",
        actor_rate=0.3,
        neuron_rate=0.2,
        target_rate=0.25,
        discount=0.9,
    )
    nets, batch = INIT(KEY, config), batch_of(config)
    other = INIT(jax.random.key(1), config)
    nets = nets.replace(
        actor=nets.actor.replace(target=other.actor.weights),
        neurons=tuple(net.replace(target=x.weights) for net, x in zip(nets.neurons, other.neurons, strict=True)),
    )
    after, _ = IMPROVE(KEY, nets, batch, config)
    data, size = double(batch), len(batch.x)
    actor, target = double(nets.actor.weights), double(nets.actor.target)
    now, then = twin_layers(actor, data.x, "tanh"), twin_layers(target, data.next_x, "tanh")
    for i, net in enumerate(nets.neurons):
        q, lag = double(net.weights), double(net.target)
        state, action = q["state"].copy(), q["action"].copy()
        own = now[i + 1] if i < 2 else data.action  # outputs are held to have said what was executed
        for b in range(size):
            y = data.reward[b] + 0.9 * data.counts[b] * (lag["state"] @ then[i][b] + lag["action"] * then[i + 1][b])
            d = y - (q["state"] @ now[i][b] + q["action"] * own[b])
            state += 0.2 / size * np.outer(d, now[i][b])
            action += 0.2 / size * d * own[b]
        climb = actor[i].copy()
        for b in range(size):
            climb += 0.3 / size * np.outer(np.append(now[i][b], 1.0), action * (1 - now[i + 1][b] ** 2))
        found = after.neurons[i]
        np.testing.assert_allclose(found.weights["state"], state, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.weights["action"], action, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(after.actor.weights[i], climb, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.target["state"], 0.25 * state + 0.75 * lag["state"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(after.actor.target[i], 0.25 * climb + 0.75 * target[i], rtol=1e-4, atol=1e-5)


def test_settings_of_lessons():
    """What neurons learn from: undiscounted, their own output, and the observation beside the voltages."""
    plain = small("neuron_ddpg", discount=0.9)
    config = plain.replace(discounted=False, output_voltage="own", critic_sees="observation")
    nets, batch = INIT(KEY, plain), batch_of(plain)
    firings = FIRE(nets.actor.weights, parts.actor_design(config), batch.x)
    taught, known = (LESSONS(KEY, nets, batch, x) for x in (config, plain))
    for firing, lesson, usual in zip(firings, taught, known, strict=True):
        expected = usual._replace(
            discount=batch.counts,
            said=firing.said,
            context=jnp.concatenate([usual.context, batch.x], axis=-1),
            next_context=jnp.concatenate([usual.next_context, batch.next_x], axis=-1),
        )
        for found, value in zip(lesson, expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(known[-1].said, batch.action)
    np.testing.assert_allclose(known[-1].discount, 0.9 * batch.counts, rtol=1e-6)


@pytest.mark.parametrize("topology", ["feedforward", "recurrent"])
def test_voltages_are_tried_on_the_critic_of_the_whole_action(topology):
    """One firing at a time is moved, by as much as asked; everybody in it is told what that does to the value."""
    config = small("neuron_ddpg", topology=topology, neuron_aim="whole", voltage_noise=0.3, hidden=(9, 7))
    nets, batch = INIT(KEY, config), batch_of(config, size=40)
    design, weights = parts.actor_design(config), nets.actor.weights
    still, drive = FIRE(weights, design, batch.x), networks.drive_pool(design, batch.x)
    lessons = LESSONS(KEY, nets, batch, config)
    if design.recurrent:
        lessons = [jax.tree.map(lambda x, i=i: x[40 * i : 40 * i + 40], lessons[0]) for i in range(3)]

    def worth(action):
        return twin_value(double(nets.critic.weights), 0, double(batch.x), np.clip(action, -1, 1))

    for i, (lesson, firing) in enumerate(zip(lessons, still, strict=True)):
        np.testing.assert_allclose(lesson.seen, firing.seen, rtol=1e-5, atol=1e-6)
        assert np.std(lesson.said - firing.said) == pytest.approx(0.3, rel=0.25)
        np.testing.assert_array_equal(lesson.discount, 0.0)
        said = lesson.said
        for j in range(i + 1, 3):
            said = networks.respond(weights, design, j, said + drive if design.recurrent else said)
        gain = worth(np.asarray(said[:, -1:])) - worth(np.asarray(still[-1].said[:, -1:]))
        np.testing.assert_allclose(lesson.reward, gain / gain.std(), rtol=2e-2, atol=2e-2)


def test_noise_of_targets_is_clipped():
    config = small("neuron_ddpg", target_noise=5.0, target_noise_clip=0.25)
    nets, batch = INIT(KEY, config), batch_of(config)
    noisy = LESSONS(KEY, nets, batch, config)
    still = LESSONS(KEY, nets, batch, config.replace(target_noise=0.0))
    for one, other in zip(noisy, still, strict=True):
        gap = np.abs(one.next_said - other.next_said)
        assert gap.max() <= 0.25 + 1e-6 and gap.mean() > 0.15


@pytest.mark.parametrize("topology", ["feedforward", "recurrent"])
def test_gradients_of_neurons_make_up_the_whole(topology):
    """The chain rule: with slopes passed back through the actor, the local rule gives the gradient by autodiff."""
    config = small(compare=True, topology=topology)
    design, nets, batch = parts.actor_design(config), INIT(KEY, config), batch_of(config)
    whole = jax.jit(update.global_gradient)(nets, batch, config)
    _, through = jax.jit(measures._whole)(nets, batch.x, config)
    own = config.replace(output_voltage="own")
    for i, lesson in enumerate(LESSONS(KEY, nets, batch, own)):
        found = jax.jit(update.layer_gradient, static_argnums=(1, 2))(
            nets.actor.weights, design, i, through[i], lesson.seen
        )
        rounds = lesson.seen.shape[0] // len(batch.x)
        assert rounds == (3 if topology == "recurrent" else 1)
        np.testing.assert_allclose(rounds * found, whole[i], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("changes", [{"compare": True}, {"neuron_critic": "bilinear", "voltages": "stored"}])
def test_updates_are_local(changes):
    """A layer learns the same whatever the weights, targets and critics of the layers above it."""
    config = small("neuron_ddpg", **changes)
    nets, other = (INIT(jax.random.key(i), config) for i in (0, 1))
    batch = batch_of(config, voltages=int(config.voltages == "stored"))
    one, _ = IMPROVE(KEY, nets, batch, config)

    def above(net, alien, layer):
        return (*net[: layer + 1], *alien[layer + 1 :])

    for layer in range(2):
        swap = {
            name: above(getattr(nets.actor, name), getattr(other.actor, name), layer)
            for name in ("weights", "target")
        }
        mixed = nets.replace(
            actor=nets.actor.replace(**swap), neurons=above(nets.neurons, other.neurons, layer), critic=other.critic
        )
        two, _ = IMPROVE(KEY, mixed, batch, config)
        for i in range(layer + 1):
            np.testing.assert_array_equal(two.actor.weights[i], one.actor.weights[i])
            assert_same(two.neurons[i], one.neurons[i])
            assert np.any(one.actor.weights[i] != nets.actor.weights[i])
        assert np.any(two.actor.weights[2] != one.actor.weights[2])


def test_stored_voltages_are_those_that_occurred():
    """Recalled voltages are the firings they came from, of layers and of a pool."""
    for design in (networks.Design((3, 5, 4, 2)), networks.Design((3, 4, 2), True, 3)):
        weights = networks.init_weights(KEY, networks.actor_shapes(design)[0])
        x = RNG.normal(size=(6, 3)).astype(np.float32)
        firings = FIRE(weights, design, x)
        assert_same(
            update.recall(design, jnp.asarray(x), jnp.concatenate([f.said for f in firings], axis=-1)), firings
        )


def test_a_pools_inner_steps_pay_nothing():
    """What follows an inner step is the next one, undiscounted; what follows the last is the next observation."""
    config = small("neuron_ddpg", topology="recurrent", discount=0.9)
    design, nets, batch = parts.actor_design(config), INIT(KEY, config), batch_of(config)
    (lesson,) = LESSONS(KEY, nets, batch, config)
    firings = FIRE(nets.actor.weights, design, batch.x)
    first = FIRE(nets.actor.target, design, batch.next_x)[0]
    split = jax.tree.map(lambda x: x.reshape(3, 7, *x.shape[1:]), lesson)
    np.testing.assert_array_equal(split.reward, [0 * batch.reward, 0 * batch.reward, batch.reward])
    one = jnp.ones(7)
    np.testing.assert_allclose(split.discount, [one, one, 0.9 * batch.counts], rtol=1e-6)
    for i in range(3):
        np.testing.assert_array_equal(split.seen[i], firings[i].seen)
        np.testing.assert_array_equal(split.next_context[i], firings[i + 1].seen if i < 2 else first.seen)
        np.testing.assert_array_equal(split.said[i, :, :-1], firings[i].said[:, :-1])
    np.testing.assert_array_equal(split.said[2, :, -1:], batch.action)


def test_output_neurons_may_learn_alone():
    """Without critics of hidden neurons the hidden layers stay, and the outputs learn as they do among others."""
    config = small("neuron_ddpg", learners="outputs", compare=True)
    everyone = config.replace(learners="all")
    nets, batch = INIT(KEY, everyone), batch_of(config)
    (alone,) = INIT(KEY, config).neurons
    assert jax.tree.map(jnp.shape, alone) == jax.tree.map(jnp.shape, nets.neurons[-1])
    one, _ = IMPROVE(KEY, nets, batch, everyone)
    two, _ = IMPROVE(KEY, nets.replace(neurons=nets.neurons[-1:]), batch, config)
    for i in range(2):
        np.testing.assert_array_equal(two.actor.weights[i], nets.actor.weights[i])
    np.testing.assert_allclose(two.actor.weights[2], one.actor.weights[2], rtol=1e-5)
    obs = jnp.asarray(RNG.normal(size=(9, 3)), jnp.float32)
    same = nets.replace(neurons=nets.neurons[-1:])
    (found, _), (expected, _) = COMPARE(KEY, same, (), obs, config), COMPARE(KEY, nets, (), obs, everyone)
    for one, all_layers in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, all_layers[2:], rtol=1e-4, atol=1e-5)


def test_hidden_layers_may_be_slower_or_frozen():
    nets = INIT(KEY, small())
    batch, moved = batch_of(small()), {}
    for share in (1.0, 0.5, 0.0):
        after, _ = IMPROVE(KEY, nets, batch, small(hidden_rate=share))
        moved[share] = [new - old for new, old in zip(after.actor.weights, nets.actor.weights, strict=True)]
    for i in range(3):
        np.testing.assert_allclose(moved[0.5][i], (0.5 if i < 2 else 1.0) * moved[1.0][i], rtol=1e-3, atol=1e-6)
        assert np.any(moved[0.0][i] != 0) == (i == 2)


# Measures.


def test_critics_that_agree_are_found_to_agree():
    """A critic of the whole and one of the only neuron, linear and with the same weights."""
    config = small(compare=True, hidden=(), critic_hidden=(), neuron_critic="linear")
    nets = INIT(KEY, config)
    weights = jnp.array([0.3, -0.5, 0.2, 0.7, 0.0])[:, None]
    same = {"state": weights[:3].T, "action": weights[3]}
    nets = nets.replace(
        critic=nets.critic.replace(weights=(weights,)), neurons=(nets.neurons[0].replace(weights=same),)
    )
    obs = jnp.asarray(RNG.normal(size=(64, 3)), jnp.float32)
    found, control = COMPARE(KEY, nets, (), obs, config)
    np.testing.assert_allclose(jnp.stack(found)[:, 0], [1, 0, 1, 1, 1], atol=1e-3)
    assert abs(float(control.value_correlation[0])) < 0.5 and float(control.value_error[0]) > 0.5
    opposite = nets.replace(neurons=(nets.neurons[0].replace(weights=jax.tree.map(jnp.negative, same)),))
    found, _ = COMPARE(KEY, opposite, (), obs, config)
    np.testing.assert_allclose(jnp.stack(found)[jnp.array([0, 2, 3, 4]), 0], [-1, -1, -1, 0], atol=1e-3)
    with pytest.raises(ValueError, match="compare = False"):
        measures.compare(KEY, nets, (), obs, config.replace(compare=False))


@pytest.mark.parametrize("topology", ["feedforward", "recurrent"])
def test_measures_of_every_layer(topology):
    """All are finite, in their ranges, and there is one per layer of weights."""
    config = small("neuron_ddpg", compare=True, topology=topology)
    nets = INIT(KEY, config)
    for measured in COMPARE(KEY, nets, (), jnp.asarray(RNG.normal(size=(9, 3)), jnp.float32), config):
        table = np.stack(measured)
        assert table.shape == (5, 3 if topology == "feedforward" else 1) and np.isfinite(table).all()
        assert np.all(np.abs(table[[0, 2, 3]]) <= 1 + 1e-5) and np.all((table[4] >= 0) & (table[4] <= 1))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_how_neurons_respond(activation):
    """Shares of flat slopes, by central differences, and spreads, layer by layer; a constant actor has none."""
    config = small(activation=activation)
    weights = [10.0 * w for w in INIT(KEY, config).actor.weights]
    obs = jnp.asarray(RNG.normal(size=(64, 3)), jnp.float32)
    found = RESPOND(tuple(weights), (), obs, config)
    h, x = [double(parts.features(obs, (), config))], double(weights)
    for i, w in enumerate(x):
        function = np.tanh if i == 2 else ACTIVATIONS[activation]
        z = h[-1] @ w[:-1] + w[-1]
        h.append(function(z))
        flat = (function(z + 1e-6) - function(z - 1e-6)) / 2e-6 < measures.FLAT
        assert 0 < flat.mean() < 1
        assert float(found.saturated[i]) == pytest.approx(flat.mean(), abs=0.02)
        assert float(found.spread[i]) == pytest.approx(h[-1].std(axis=0).mean(), rel=1e-4)
    stuck = jnp.zeros_like(weights[2]).at[-1].set(10.0)
    assert float(RESPOND((*weights[:2], stuck), (), obs, config).spread[2]) == pytest.approx(0.0, abs=1e-5)


def test_how_a_pool_responds():
    """By what it says at last: hidden units as relu, whose zeros are flat, and outputs as tanh."""
    config = small(topology="recurrent", activation="relu")
    weights, x = INIT(KEY, config).actor.weights, jnp.asarray(RNG.normal(size=(64, 3)), jnp.float32)
    found = RESPOND(weights, (), x, config)
    said = np.asarray(FIRE(weights, parts.actor_design(config), parts.features(x, (), config))[-1].said)
    flat = np.concatenate([said[:, :-1] == 0, 1 - said[:, -1:] ** 2 < measures.FLAT], axis=1)
    np.testing.assert_allclose(found, [[flat.mean()], [said.std(axis=0).mean()]], rtol=1e-4)


# Replay.


def steps_of(numbers):
    """Steps that carry their number in every leaf, ``numbers [L, N]``."""
    x = jnp.asarray(numbers, jnp.float32)
    return replay.Steps(x[..., None], x[..., None], x, x[..., None] + 0.5, x > 3, jnp.zeros((*x.shape, 0)))


def test_the_ring_is_a_list():
    """Episodes of two environments, more than fit: what is drawn are the newest, each as often as any other."""
    ring, known, number = (
        replay.init_ring(jax.tree.map(lambda x: x[0, 0], steps_of([[0]])), 12),
        [],
        itertools.count(),
    )
    for lengths in ((3, 4), (1, 5), (5, 2), (2, 4)):
        grid = -np.ones((5, 2))
        for lane, length in enumerate(lengths):
            grid[:length, lane] = [next(number) for _ in range(length)]
        steps, length = steps_of(grid), jnp.asarray(lengths)
        now = known + [x for lane in range(2) for x in grid[: lengths[lane], lane]]
        drawn = DRAW(jax.random.key(len(known)), ring, steps, length, 4000)
        found, often = np.unique(drawn.reward, return_counts=True)
        assert found.tolist() == now[-12:]
        assert np.all(np.abs(often - 4000 / len(found)) < 5 * np.sqrt(4000 / len(found)))
        np.testing.assert_array_equal(drawn.obs[:, 0], drawn.reward)
        np.testing.assert_array_equal(drawn.next_obs[:, 0], drawn.reward + 0.5)
        np.testing.assert_array_equal(drawn.ended, drawn.reward > 3)
        ring, known = WRITE(ring, steps, length), now
        assert sorted(np.asarray(ring.steps.reward)[: int(replay.stored(ring))]) == sorted(known[-12:])


@pytest.mark.parametrize(
    "bootstrap, expected", [("truncated", [0, 1, 1]), ("never", [0, 0, 1]), ("always", [1, 1, 1])]
)
def test_what_follows_an_end(bootstrap, expected):
    """Three environments: ended, cut off, under way; all steps before the last count."""
    config = small(bootstrap=bootstrap, num_envs=3)
    episode = rgrl.Episode(
        obs=jnp.arange(21.0).reshape(7, 3, 1) * jnp.ones(3),
        action=jnp.full((7, 3), 1.0),
        reward=jnp.ones((7, 3)),
        length=jnp.array([2, 6, 3]),
        terminated=jnp.array([True, False, False]),
        truncated=jnp.array([False, True, False]),
        info=(),
    )
    steps = algorithm.taken(episode, jnp.zeros((6, 3, 0)), config)
    batch = jax.vmap(lambda x: update.make_batch(x, (), config))(steps)
    counts = batch.counts
    assert [float(counts[n - 1, i]) for i, n in enumerate((2, 6, 3))] == expected
    assert np.all(counts[0] == 1)
    np.testing.assert_array_equal(steps.next_obs[0], episode.obs[1])
    np.testing.assert_array_equal(batch.action, 0.5)  # a torque of 1 in -2..2


# Noise and scales.


@pytest.mark.parametrize("kind", ["gaussian", "ou", "none"])
def test_noise(kind):
    """Against a loop with the same normal numbers, and with the spread it should have."""
    config = small(noise=kind, noise_scale=0.2, noise_reversion=0.15)
    keys = jax.random.split(KEY, 3000)
    _, found = jax.lax.scan(lambda x, key: (parts.step_noise(key, x, config),) * 2, jnp.zeros((1, 1)), keys)
    fresh = np.asarray(jax.vmap(lambda key: jax.random.normal(key, (1, 1)))(keys), np.float64)
    x, expected = 0.0, []
    for xi in fresh.ravel():
        x = {"gaussian": 0.0, "ou": x - 0.15 * x, "none": 0.0}[kind] + (0.2 * xi if kind != "none" else 0.0)
        expected.append(x)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-3, atol=1e-5)
    spread = {"gaussian": 0.2, "ou": 0.2 / np.sqrt(1 - 0.85**2), "none": 0.0}[kind]
    assert np.std(found) == pytest.approx(spread, rel=0.1)


def test_running_scale():
    """Of all that was seen where environments ran, in batches, is the mean and deviation of the whole."""
    config = small(observation="running", num_envs=4)
    running, seen = parts.init_running(config), []
    for _ in range(5):
        obs, alive = 3 + 2 * RNG.normal(size=(4, 3)).astype(np.float32), RNG.integers(0, 2, 4).astype(bool)
        running = parts.see(running, jnp.asarray(obs), jnp.asarray(alive), config.spec)
        seen += list(obs[alive])
    seen = np.array(seen, np.float64)
    assert float(running.count) == len(seen)
    np.testing.assert_allclose(running.mean, seen.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(running.squares / running.count, seen.var(axis=0), rtol=1e-3)
    x = parts.features(jnp.asarray(seen[:2], jnp.float32), running, config)
    np.testing.assert_allclose(x, (seen[:2] - seen.mean(axis=0)) / seen.std(axis=0), rtol=1e-2, atol=1e-3)
    blank = parts.features(jnp.ones((1, 3)), parts.init_running(config), config)
    assert np.isfinite(blank).all() and np.abs(blank).max() <= parts.CLIP


def test_scales_of_ranges_and_of_actions():
    config = small(observation="range")
    x = parts.features(jnp.array([[1.0, -1.0, 4.0]]), (), config)
    np.testing.assert_allclose(x, [[1.0, -1.0, 0.5]], rtol=1e-6)
    robot = small(env_id="PointRobot-misc").spec
    for action, force in (([1.0, -1.0], [0.1, -0.1]), ([0.0, 0.5], [0.0, 0.05])):
        found = parts.env_action(jnp.array(action), robot)
        np.testing.assert_allclose(found, force, atol=1e-7)
        np.testing.assert_allclose(parts.own_action(found, robot), action, atol=1e-6)
    assert parts.env_action(jnp.array([0.25]), config.spec).shape == ()
