"""Generators of policies piece by piece: layout, buckets and ring, scales, commands, losses and their slopes.

Twins are written in NumPy, in float64, one number after the other.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rgrl_jax as rgrl
from rgrl_jax import encoding
from rgrl_jax.algos.policy_generators import algorithm, networks, parts, store, update
from rgrl_jax.algos.policy_generators.generator import Design, generate, init_generator, tilings

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
INIT, DRAW = jax.jit(update.init_nets), jax.jit(parts.draw_batch)
IMITATE, ASSESS, OBEY = (
    jax.jit(jax.value_and_grad(loss))
    for loss in (update.imitation_loss, update.evaluator_loss, update.obedience_loss)
)


@jax.jit
def KEEP(there, policies, values, config):  # noqa: N802 - a program like those above
    """All are treated alike."""
    return parts.keep(there, policies, values, jnp.full(len(values), config.full == "replace"), config)


SMALL = {
    "hidden": (4,),
    "tile": 2,
    "embedding": 3,
    "generator_hidden": (5,),
    "evaluator_hidden": (5,),
    "probes": 3,
    "max_steps": 6,
    "episodes": 3,
    "warmup_episodes": 1,
    "batch": 4,
    "generator_updates": 2,
    "evaluator_updates": 3,
    "buckets": 1000,
    "kept_buckets": 8,
    "bucket_size": 2,
    "full": "reject",
    "above": "append",
    "rank_weight": 0.3,
    "capacity": 7,
    "warmup": "generated",
    "command": "best",
    "drawn_noise": 1.0,
}


def small(rule="udrlpg", env_id="Pendulum-v1", **overrides):
    """The preset of an environment, cut down."""
    return rgrl.preset(env_id, algo=rule, **(SMALL | overrides))


def double(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def relu_twin(weights, x):
    for w in weights[:-1]:
        x = np.maximum(x @ w[:-1] + w[-1], 0)
    return x @ weights[-1][:-1] + weights[-1][-1]


def generate_twin(layers, design, command, output_scale=0.0):
    """Every weight where the layout says, one after the other."""
    vector = []
    for layer, cut, inputs in zip(layers, tilings(design), design.sizes[:-1], strict=True):
        w, b = np.zeros((cut.tiles_out * cut.rows, inputs)), np.zeros(cut.tiles_out * cut.rows)
        for i in range(cut.tiles_in):
            for o in range(cut.tiles_out):
                asked = np.append(layer.embedding[i, o], command)
                block, bias = relu_twin(layer.weight, asked), relu_twin(layer.bias, asked)
                for p in range(cut.rows):
                    b[o * cut.rows + p] += bias[p] / cut.tiles_in
                    for q in range(cut.columns):
                        w[o * cut.rows + p, i * cut.columns + q] = block[p * cut.columns + q]
        factor = output_scale / np.sqrt(inputs) if output_scale else 1.0
        vector += [*(factor * w).ravel(), *(factor * b)]
    return np.array(vector)


def act_twin(policy, sizes, x):
    """Linear outputs of a policy, neuron by neuron."""
    at = 0
    for n, m in zip(sizes[:-1], sizes[1:], strict=True):
        z = np.zeros(m)
        for j in range(m):
            z[j] = policy[at + j * n : at + (j + 1) * n] @ x + policy[at + n * m + j]
        at += (n + 1) * m
        x = np.tanh(z)
    return z


# Policies and their generator.


@pytest.mark.parametrize("output_scale", [0.0, 2.0])
def test_the_generator_fills_a_policy_tile_by_tile(output_scale):
    design = Design((3, 4, 6, 2), 2, 3, (5, 4))
    layers = init_generator(KEY, design)
    assert [layer.embedding.shape for layer in layers] == [(1, 2, 3), (2, 3, 3), (3, 1, 3)]
    policy = jax.jit(generate, static_argnums=1)(layers, design, jnp.float32(0.7), output_scale)
    assert policy.shape == (networks.count_weights(design.sizes),)
    np.testing.assert_allclose(policy, generate_twin(double(layers), design, 0.7, output_scale), rtol=1e-4, atol=1e-6)


def test_a_policy_acts_by_its_vector():
    sizes = (3, 4, 6, 2)
    policy, x = RNG.normal(size=networks.count_weights(sizes)), RNG.normal(size=(5, 3))
    outputs = networks.policy_outputs(jnp.float32(policy), sizes, jnp.float32(x))
    for row, output in zip(x, outputs, strict=True):
        np.testing.assert_allclose(output, act_twin(policy, sizes, row), rtol=1e-4, atol=1e-5)
    layers = networks.split_layers(jnp.float32(policy), sizes)
    np.testing.assert_array_equal(networks.join_layers(layers), np.float32(policy))


@pytest.mark.parametrize("inputs, outputs, weights", [(4, 1, 67_329), (8, 2, 68_610), (11, 3, 69_635)])
def test_published_sizes(inputs, outputs, weights):
    """Of policies, and of UDRLPG's generator."""
    sizes = (inputs, 256, 256, outputs)
    assert networks.count_weights(sizes) == weights
    made = jax.eval_shape(lambda: init_generator(KEY, Design(sizes, 32, 32, (512, 512))))
    assert 2.2e6 < sum(x.size for x in jax.tree.leaves(made)) < 2.6e6


def test_random_policies_follow_the_uniform_law():
    layers = networks.split_layers(networks.random_policy(KEY, (20, 40, 2)), (20, 40, 2))
    for (w, b), width in zip(layers, np.sqrt([6 / 60, 6 / 42]), strict=True):
        assert np.abs(w).max() <= width and np.abs(w).max() > 0.9 * width and not b.any()
        np.testing.assert_allclose(w.std(), width / np.sqrt(3), rtol=0.15)


# What is kept, and how it is drawn.


class BucketTwin:
    """Endless buckets as a dictionary of lists, of which only the best count."""

    def __init__(self, config):
        self.config, self.buckets = config, {}

    def write(self, tag, value):
        """Into its bucket, if there is room."""
        low, high = map(float, parts.return_bounds(self.config))
        part = np.float32(max(value, low) - low) / np.float32(high - low)
        number = max(int(np.ceil(np.float32(part) * np.float32(self.config.buckets))) - 1, 0)
        if self.config.above == "clamp":
            number = min(number, self.config.buckets - 1)
        there = self.buckets.setdefault(number, [])
        if len(there) < self.config.bucket_size:
            there.append((tag, value))
        elif self.config.full == "replace":
            self.buckets[number] = [*there[1:], (tag, value)]

    def best(self):
        """Numbers of those that count."""
        return sorted(self.buckets)[-self.config.kept_buckets :]


@pytest.mark.parametrize("above", ["append", "clamp"])
@pytest.mark.parametrize("full", ["reject", "replace"])
@pytest.mark.parametrize("amount", ["all", "few"])
def test_buckets_hold_what_endless_ones_would(full, above, amount):
    """Random returns, below the scale and far above it; contents and chances after every ten."""
    size = {"all": 40, "few": 4}[amount]
    config = small(full=full, above=above, buckets=10, kept_buckets=size, return_low=-1.0, return_high=3.0)
    there, twin = parts.init_store(config, 1), BucketTwin(config)
    values = np.float32(RNG.normal(2.0, 1.5, 80) + np.linspace(-3, 1, 80))
    for start in range(0, 80, 10):
        rows = slice(start, start + 10)
        there = KEEP(there, np.float32(np.arange(80))[rows, None], values[rows], config)
        for tag in range(start, start + 10):
            twin.write(tag, values[tag])
        best = twin.best()
        assert sorted(int(x) for x in there.number if x >= 0) == best
        for weight in (0.3, 0.0):
            chances = np.asarray(store.chances(there, weight))
            logits = weight * np.arange(len(best))
            expected = dict(zip(best, np.exp(logits) / np.exp(logits).sum(), strict=True))
            for number, chance in zip(np.asarray(there.number).tolist(), chances, strict=True):
                assert chance == pytest.approx(expected.get(number, 0.0), rel=1e-4)
        for at, number in enumerate(np.asarray(there.number).tolist()):
            if number >= 0:
                filled = min(int(there.written[at]), 2)
                found = zip(
                    *(np.asarray(x)[at, :filled].ravel() for x in (there.policies, there.returns)), strict=True
                )
                assert sorted(found) == sorted(twin.buckets[number])
        assert int(store.stored(there)) == sum(len(twin.buckets[number]) for number in best)


def test_who_may_take_a_place():
    """With select: who was made for less than the best, or is at least in the bucket that was commanded."""
    config = small(full="select", buckets=10, return_low=0.0, return_high=100.0)
    returns = jnp.float32([5.0, 30.5, 39.0, 41.0, 99.0])
    for best, command, drive, expected in (
        (39.5, 39.5, 0.0, [0, 1, 1, 1, 1]),  # the bucket from 30 to 40 is good enough
        (39.5, 39.5, 1.0, [1, 1, 1, 1, 1]),  # it was made for less than it was to look for
        (39.5, 40.5, 1.0, [0, 0, 0, 1, 1]),
        (39.5, 20.0, 0.0, [1, 1, 1, 1, 1]),
    ):
        found = parts.may_replace(returns, jnp.float32(command), jnp.float32(best), config.replace(drive=drive))
        assert found.tolist() == list(map(bool, expected))
    for full in ("reject", "replace"):
        alike = parts.may_replace(returns, jnp.float32(1.0), jnp.float32(2.0), config.replace(full=full))
        assert alike.tolist() == [full == "replace"] * 5


def test_each_policy_has_its_own_right_to_a_place():
    """Three for a bucket of two that is full: who may takes the place of the oldest, the others are turned away."""
    config = small(buckets=1, kept_buckets=1, return_low=0.0, return_high=10.0)
    tags, values = jnp.arange(5.0)[:, None], jnp.arange(1.0, 6.0)
    keep, start = jax.jit(parts.keep), parts.init_store(config, 1)
    found = keep(start, tags, values, jnp.array([False, False, False, True, False]), config)
    assert sorted(found.policies.ravel().tolist()) == [1.0, 3.0]


def test_what_was_lost_can_hardly_be_drawn():
    """The kept 64 of 800 full buckets have all chances but e^-19."""
    full = store.Buckets(jnp.zeros((800, 2, 1)), jnp.zeros((800, 2)), jnp.arange(800), jnp.full(800, 2))
    assert np.asarray(store.chances(full, 0.3), np.float64)[:-64].sum() < np.exp(-19)
    assert float(store.chances(full, 0.3)[-1]) == pytest.approx(1 - np.exp(-0.3), rel=1e-4)  # a quarter, the best


def test_the_ring_forgets_the_oldest():
    there, twin = store.init_ring(7, 1), []
    for start in range(0, 15, 3):
        tags = jnp.arange(start, start + 3.0)
        there = store.write_ring(there, tags[:, None], 10 * tags)
        twin = (twin + list(range(start, start + 3)))[-7:]
        for weight in (1.1, 0.0):
            shares = np.arange(1, len(twin) + 1.0) ** -weight
            expected = dict(zip(reversed(twin), shares / shares.sum(), strict=True))
            chances = np.asarray(store.chances(there, weight))
            assert int(store.stored(there)) == len(twin) == np.count_nonzero(chances)
            for tag, chance in zip(np.asarray(there.policies)[:, 0].tolist(), chances, strict=True):
                assert chance == pytest.approx(expected.get(tag, 0.0) if chance else 0.0, rel=1e-4)
    np.testing.assert_array_equal(there.returns, 10 * there.policies[:, 0])


@pytest.mark.parametrize("kind", ["buckets", "ring"])
def test_draws_follow_the_chances(kind):
    """Policies come with their own returns; within a bucket all have the same chance, and empty places have none."""
    config = small(store=kind, return_low=0.0, return_high=10.0, buckets=10, kept_buckets=5, recency=0.5)
    values = jnp.float32([0.5, 4.5, 4.6, 9.5])
    there = KEEP(parts.init_store(config, 1), jnp.arange(4.0)[:, None], values, config)
    policies, returns = DRAW(KEY, there, config.replace(batch=20_000))
    tags = np.asarray(policies)[:, 0].astype(int)
    np.testing.assert_array_equal(returns, values[tags])
    shares = np.exp(0.3 * np.arange(3)) / np.exp(0.3 * np.arange(3)).sum()
    expected = [shares[0], shares[1] / 2, shares[1] / 2, shares[2]]
    if kind == "ring":
        expected = np.arange(4, 0, -1.0) ** -0.5 / (np.arange(4, 0, -1.0) ** -0.5).sum()
    np.testing.assert_allclose(np.bincount(tags, minlength=4) / 20_000, expected, atol=0.015)


# Scales and commands.


def test_the_running_scale_is_welfords():
    """Sample variance; the very first observation stays as it is; what is not alive does not count."""
    config, running = small(), encoding.init_running(3)
    mean, squares, n = np.zeros(3), np.zeros(3), 0
    count = jax.jit(encoding.count_seen)
    for t in range(30):
        x, alive = np.float32(RNG.normal([5, -3, 0], [2, 0.1, 1])), t % 7 != 3
        running = count(running, jnp.asarray(x)[None], jnp.array([alive]))
        if alive:
            n += 1
            gap = np.float64(x) - mean
            mean = mean + gap / n
            squares = squares + gap * (x - mean)
        seen = parts.features(jnp.asarray(x)[None], running, config)[0]
        expected = x if n < 2 else (x - mean) / (np.sqrt(squares / (n - 1)) + 1e-8)
        np.testing.assert_allclose(seen, expected, rtol=1e-3, atol=1e-4)


def test_lanes_count_at_once():
    x = np.float32(RNG.normal(size=(6, 3)))
    together = encoding.count_seen(encoding.init_running(3), jnp.asarray(x), jnp.ones(6, bool))
    np.testing.assert_allclose(together.mean, x.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(together.squares / 5, x.var(axis=0, ddof=1), rtol=1e-4)


def test_commands():
    """Upside-down commands are shares of the scale; GoGePo's are divided by its width, and nothing is taken off."""
    ours, theirs = (small(rule, return_low=-100.0, return_high=300.0) for rule in ("udrlpg", "gogepo"))
    returns = jnp.float32([-150.0, -100.0, 100.0, 300.0, 500.0])
    np.testing.assert_allclose(parts.command_input(returns, ours), [0, 0, 0.5, 1, 1.5])
    np.testing.assert_allclose(parts.command_input(returns, theirs), [-0.375, -0.25, 0.25, 0.75, 1.25])
    never = jnp.float32(-jnp.inf)
    assert float(parts.next_command(KEY, never, ours)) == -100 and float(parts.next_command(KEY, never, theirs)) == 1
    assert float(parts.next_command(KEY, jnp.float32(40), ours)) == 40
    assert float(parts.next_command(KEY, jnp.float32(40), theirs)) == 60  # with drive
    assert float(parts.best_command(jnp.float32(40), theirs)) == 40  # noiseless episodes go without
    assert float(parts.next_command(KEY, jnp.float32(40), ours.replace(command="top"))) == 300
    drawn = jax.vmap(lambda key: parts.next_command(key, jnp.float32(40), ours.replace(command="drawn")))
    commands = np.sort(drawn(jax.random.split(KEY, 1000)))
    assert commands[0] >= -100 and commands[-1] == 40 and abs((commands == 40).mean() - 0.5) < 0.06
    below = commands[commands < 40]
    np.testing.assert_allclose(below, np.linspace(-100, 40, len(below)), atol=12)  # even
    own = small(return_low=0.0, return_high=0.0)
    assert tuple(map(float, parts.return_bounds(own))) == pytest.approx(own.spec.return_range)


def test_the_bonus_is_no_part_of_what_is_learnt():
    config = small(survival_bonus=1.0)
    episode = rgrl.Episode(None, None, jnp.float32([[3.0, 1.0], [4.0, 0.0]]), jnp.array([2, 1]), None, None, None)
    np.testing.assert_allclose(parts.learned_returns(episode, config), [5.0, 0.0])


def test_policies_that_are_played():
    """Warm-up: all the same, made for the upper end; random ones; later for the best so far, with noise."""
    config = small(num_envs=200, param_noise=0.3, return_high=5.0, return_low=-5.0)
    state = jax.jit(rgrl.init)(KEY, config).replace(best=jnp.float32(2.0))
    make = jax.jit(algorithm.next_policies)
    made = make(KEY, state, config)
    layers, design = double(state.nets.generator.weights), parts.generator_design(config)
    np.testing.assert_allclose(made, np.tile(generate_twin(layers, design, 1.0), (200, 1)), rtol=1e-3, atol=1e-5)
    later = state.replace(episode=jnp.int32(1))
    noise = np.asarray(make(KEY, later, config)) - generate_twin(layers, design, 0.7)
    assert abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(0.3, rel=0.05)
    assert np.abs(np.corrcoef(noise.T) - np.eye(noise.shape[1])).max() < 0.4  # each weight has its own
    less = config.replace(command="drawn", drawn_noise=0.5)
    commands, widths = [], []
    for key in jax.random.split(KEY, 6):
        commands.append(float(parts.next_command(jax.random.fold_in(key, 0), later.best, less)))
        expected = generate_twin(layers, design, (commands[-1] + 5.0) / 10.0)
        widths.append((np.asarray(make(key, later, less)) - expected).std())
    assert widths == pytest.approx([0.3 if command == 2.0 else 0.15 for command in commands], rel=0.05)
    assert {command == 2.0 for command in commands} == {True, False}
    drawn = config.replace(warmup="random")
    random = np.asarray(make(KEY, state, drawn))
    assert len(np.unique(random, axis=0)) == 200 and not random[:, 12:16].any()  # biases
    np.testing.assert_allclose(make(KEY, later, drawn), make(KEY, later, config), rtol=1e-4, atol=1e-6)


# Losses.


def predict_twin(evaluator, policies, config):
    sizes, returns = parts.policy_sizes(config), []
    for policy in policies:
        outputs = np.stack([act_twin(policy, sizes, probe) for probe in evaluator.probes])
        if isinstance(config.spec.action, rgrl.Discrete):
            actions = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
        else:
            actions = 2.0 * np.tanh(outputs)  # the pendulum's torque
        returns.append(relu_twin(evaluator.weights, actions.ravel())[0])
    return np.array(returns)


def make_twin(generator, commands, config):
    low, high = map(float, parts.return_bounds(config))
    asked = (commands - low) / (high - low) if config.rule == "udrlpg" else commands / (high - low)
    design, scale = parts.generator_design(config), float(config.output_scale)
    return np.stack([generate_twin(generator, design, c, scale) for c in asked])


def assert_slopes(gradient, function, weights, step=1e-6):
    """A gradient against central differences along random directions of every leaf."""
    flat, tree = jax.tree.flatten(double(weights))
    for i, slope in enumerate(jax.tree.leaves(gradient)):
        way = RNG.normal(size=flat[i].shape)
        ends = [
            function(jax.tree.unflatten(tree, [x + sign * step * way if j == i else x for j, x in enumerate(flat)]))
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((np.asarray(slope) * way).sum(), expected, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_losses_and_slopes_of_gogepo(env_id):
    """Fingerprints, errors in units of the return, and what is frozen; discrete policies show their shares."""
    config = small("gogepo", env_id)
    nets = INIT(KEY, config)
    generator, evaluator = nets.generator.weights, nets.evaluator.weights
    assert evaluator.probes.min() >= 0 and evaluator.probes.max() <= 1
    policies = np.float32(RNG.normal(size=(4, networks.count_weights(parts.policy_sizes(config)))))
    returns = np.float32([1.0, -2.0, 0.5, 0.0])
    loss, slope = ASSESS(evaluator, policies, returns, config)

    def assessed(evaluator):
        return np.mean((predict_twin(evaluator, np.float64(policies), config) - returns) ** 2)

    assert float(loss) == pytest.approx(assessed(double(evaluator)), rel=1e-4)
    assert_slopes(slope, assessed, evaluator)
    commands = np.float32([30.0, 100.0, -40.0, 0.0])
    loss, slope = OBEY(generator, evaluator, commands, config)

    def obeyed(generator):
        made = make_twin(generator, np.float64(commands), config)
        return np.mean((predict_twin(double(evaluator), made, config) - commands) ** 2)

    assert float(loss) == pytest.approx(obeyed(double(generator)), rel=1e-4)
    assert_slopes(slope, obeyed, generator)


def test_loss_and_slope_of_udrlpg():
    config = small(return_low=-10.0, return_high=10.0)
    generator = INIT(KEY, config).generator.weights
    policies = np.float32(RNG.normal(size=(4, networks.count_weights(parts.policy_sizes(config)))))
    returns = np.float32([-9.0, 0.0, 8.0, 2.0])
    loss, slope = IMITATE(generator, policies, returns, config)

    def imitated(generator):
        return np.mean((make_twin(generator, np.float64(returns), config) - policies) ** 2)

    assert float(loss) == pytest.approx(imitated(double(generator)), rel=1e-4)
    assert_slopes(slope, imitated, generator)


def descend_twin(weights, key, updates, rate, there, config, value_and_slope):
    """Adam on batches drawn one after the other; the weights and the mean loss."""
    (leaves, tree), losses = jax.tree.flatten(weights), []
    first, second = ([np.zeros(x.shape) for x in leaves] for _ in range(2))
    for t, draw_key in enumerate(jax.random.split(key, updates), 1):
        value, slope = value_and_slope(jax.tree.unflatten(tree, leaves), *DRAW(draw_key, there, config))
        losses.append(float(value))
        slope = double(jax.tree.leaves(slope))
        first = [0.9 * m + 0.1 * g for m, g in zip(first, slope, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, slope, strict=True)]
        steps = [m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) for m, v in zip(first, second, strict=True)]
        leaves = [np.float32(x - rate * step) for x, step in zip(leaves, steps, strict=True)]
    return jax.tree.unflatten(tree, leaves), np.mean(losses)


@pytest.mark.parametrize("rule", ["udrlpg", "gogepo"])
def test_updates_are_a_plain_loop(rule):
    """The evaluator first, on policies it is shown; then the generator, for commands from the store."""
    config = small(rule, generator_rate=1e-2)
    nets = INIT(KEY, config)
    there = parts.init_store(config, networks.count_weights(parts.policy_sizes(config)))
    policies = np.float32(RNG.normal(size=(5, there.policies.shape[-1])))
    there = KEEP(there, policies, jnp.linspace(-1500.0, -100.0, 5), config)
    after, loss = jax.jit(update.study)(KEY, nets, there, config)
    key, evaluator_key = jax.random.split(KEY)
    generator = nets.generator.weights, key, 2, config.generator_rate, there, config
    if rule == "udrlpg":
        generator, mean = descend_twin(*generator, lambda *x: IMITATE(*x, config))
        pairs = [(after.generator, generator)]
    else:
        evaluator = nets.evaluator.weights, evaluator_key, 3, config.evaluator_rate, there, config
        evaluator, mean = descend_twin(*evaluator, lambda *x: ASSESS(*x, config))
        generator, _ = descend_twin(*generator, lambda w, _, commands: OBEY(w, evaluator, commands, config))
        pairs = [(after.generator, generator), (after.evaluator, evaluator)]
    assert float(loss) == pytest.approx(mean, rel=1e-4)
    for net, expected in pairs:
        for x, y in zip(jax.tree.leaves(net.weights), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
