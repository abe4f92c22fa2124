"""The rest of the control board inside whole runs: what each setting changes, and that it changes nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY

import rgrl_jax as rgrl
from rgrl_jax import learning, replay
from rgrl_jax.algos.rgrl import acting, parts
from rgrl_jax.algos.rgrl import learning as studying
from rgrl_jax.algos.rgrl.parts import draw_members
from rgrl_jax.rollout import View

KEY = jax.random.key(0, impl="unsafe_rbg")  # compiles in half the time


def small(env_id="CartPole-v1", **overrides):
    """The preset of an environment, cut down."""
    return rgrl.preset(env_id, **(TINY | overrides))


@functools.cache
def ran(env_id="CartPole-v1", **overrides):
    """Two episodes."""
    config = small(env_id, episodes=2, **overrides)
    return config, *jax.jit(rgrl.train)(KEY, config)


def finite(metrics):
    return all(np.isfinite(x).all() for x in jax.tree.leaves(metrics))


# Learning.


def test_dropout_thins_the_network():
    """Half of a token's and a feature's entries are dropped, others doubled, and only in learning."""
    config = small(dropout=0.5, width=64)
    _, codec, model = parts(config)
    params = model.init(KEY)
    memory = model.remember(params, rgrl.History(jnp.zeros((0, codec.state_size)), jnp.zeros((0, codec.action_size))))
    state, actions = jnp.full(codec.state_size, 0.3), jnp.full((4, codec.action_size), 0.5)
    whole = model.apply(params, memory, state, actions).reward
    keys = jax.random.split(KEY, 4000)
    thinned = jax.vmap(lambda k: model.apply(params, memory, state, actions, dropout_key=k).reward)(keys)
    assert np.asarray(thinned).std(axis=0).min() > 0.01
    assert np.abs(np.asarray(thinned).mean(axis=0) - np.asarray(whole)).max() < 0.1
    plain = parts(small(width=64)).model
    np.testing.assert_array_equal(plain.apply(params, memory, state, actions).reward, whole)
    assert finite(ran(dropout=0.5)[2])


@pytest.mark.parametrize(("law", "expected"), [("fixed", 7), ("per_step", 7 * 13), ("ramp", 1 + int(6 * 0.5))])
def test_learning_laws(law, expected):
    """How many updates follow 13 new steps at half of the best return."""
    config = small(learn_iterations=7, learn_law=law)
    assert int(studying.learn_count(13, 0.5, config)) == expected
    _, _, metrics = ran(learn_law=law)
    assert finite(metrics)


def test_as_many_updates_as_the_law_says():
    """The optimiser of every member counts them."""
    _, state, metrics = ran(learn_law="per_step")
    counts = [x for x in jax.tree.leaves(state.opt_state) if x.dtype == jnp.int32]
    steps = int(metrics.episode_length.sum())
    assert counts and all(np.all(np.asarray(x) == 3 * steps) for x in counts)
    _, state, metrics = ran(learn_law="ramp")
    expected = 1 + 1 + int(2 * float(metrics.episode_return[0]) / 12)  # no progress yet, then that of one episode
    counts = [x for x in jax.tree.leaves(state.opt_state) if x.dtype == jnp.int32]
    assert counts and all(np.all(np.asarray(x) == expected) for x in counts)


@pytest.mark.parametrize("teacher_forcing", [False, True])
def test_rewards_read_from_the_predicted_state(teacher_forcing):
    """NumPy from the states that the model predicts; the same states as without."""
    config = small(reward_from="state", env_id="Pendulum-v1")
    _, codec, model = parts(config)
    params = model.init(KEY)
    history = rgrl.History(jnp.zeros((0, codec.state_size)), jnp.zeros((0, codec.action_size)))
    keys = jax.random.split(KEY, 3)
    present = jax.random.normal(keys[0], (codec.state_size,))
    states = jax.random.normal(keys[1], (4, codec.state_size))
    actions = jax.random.uniform(keys[2], (4, codec.action_size), minval=-1.0)
    told = states if teacher_forcing else None
    out = model.apply(params, model.remember(params, history), present, actions, told)
    weights = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"])
    hidden = np.tanh(np.asarray(out.state, np.float64) @ weights["embed_next"] + weights["next_bias"])
    np.testing.assert_allclose(out.reward, hidden @ weights["reward_head"] + weights["reward_bias"], atol=1e-5)
    plain = parts(small(env_id="Pendulum-v1")).model
    kept = {"params": {name: x for name, x in params["params"].items() if name not in ("embed_next", "next_bias")}}
    np.testing.assert_array_equal(
        plain.apply(kept, plain.remember(kept, history), present, actions, told).state, out.state
    )
    assert finite(ran(reward_from="state")[2])


@pytest.mark.parametrize("every", [1, 2])
def test_members_take_turns_in_being_drawn_anew(every):
    """A loop: which member is replaced after each episode; the others, and their optimiser states, stay."""
    config = small(reset_every=every, reset="turn", ensemble_size=3)
    params = draw_members(KEY, config)
    opt_state = learning.init(params, studying.make_optimizer(config))
    before = jax.tree.map(lambda x: jnp.ones_like(x), (params, opt_state))
    begin = jax.jit(studying.begin_learning)
    turn = 0
    for episode in range(8):
        after = begin(jax.random.fold_in(KEY, episode), *before, jnp.int32(episode), config)
        changed = {
            i
            for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
            for i in range(3)
            if (np.asarray(old[i]) != np.asarray(new[i])).any()
        }
        due = (episode + 1) % every == 0
        assert changed == ({turn} if due else set())
        turn = (turn + due) % 3
    if every == 1:
        assert finite(ran(reset_every=1, reset="turn")[2])


@pytest.mark.exact
def test_learning_within_the_episode():
    """Updates come every five steps, from everything that happened up to there; the replay ends up the same."""
    plain_config, plain, plain_metrics = ran(reset_every=0, warmup_episodes=2)
    config, state, metrics = ran(reset_every=0, warmup_episodes=2, learn_every=5)
    assert config.learn_every == 5 and plain_config.learn_every == 0
    np.testing.assert_array_equal(metrics.episode_length, plain_metrics.episode_length)  # both act at random
    jax.tree.map(np.testing.assert_array_equal, state.replay, plain.replay)
    counts = [x for x in jax.tree.leaves(state.opt_state) if x.dtype == jnp.int32]
    updates = sum(3 * -(-int(n) // 5) for n in metrics.episode_length)
    assert all(np.all(np.asarray(x) == updates) for x in counts)


def test_what_is_learnt_within_the_episode_is_used_in_it():
    """The plans of an episode differ from those of an agent that learns after it."""
    late = ran(reset_every=0, warmup_episodes=0, plan_noise=0.0)[2]
    online = ran(reset_every=0, warmup_episodes=0, plan_noise=0.0, learn_every=3)[2]
    assert float(late.plan_loss[0]) != float(online.plan_loss[0])
    assert finite(online)


def test_parallel_environments_feed_one_replay():
    """Three environments: three times the steps, and windows of each."""
    _, state, metrics = ran(num_envs=3, warmup_episodes=1)
    assert int(state.replay.episodes) == 6 and int(state.episode) == 2
    assert int(metrics.windows[-1]) == int(metrics.env_steps[-1]) > 2 * int(metrics.episode_length.max())
    _, single, _ = ran()
    assert state.replay.obs.shape == single.replay.obs.shape


# What is stored, and how it is drawn.


def episode(length, terminated, extra=0, rows=13):
    """One episode of a counter in CartPole's clothes; rewards 1, 2, 3, ..."""
    row = np.arange(rows + extra)
    last = length + (extra if terminated else 0)
    obs = np.where(row[:, None] <= last, row[:, None], 0.0) * np.ones(4) / 10
    return rgrl.Episode(
        obs=jnp.asarray(obs, jnp.float32)[:, None],
        action=jnp.asarray(row % 2, jnp.int32)[:, None],
        reward=jnp.where(row < length, row + 1.0, 0.0)[:, None],
        length=jnp.asarray([length]),
        terminated=jnp.asarray([terminated]),
        truncated=jnp.asarray([not terminated]),
        info=None,
    )


@pytest.mark.parametrize("terminated", [True, False])
def test_running_returns(terminated):
    """The target is the sum so far, on the scale of returns; it stays what it was at the end."""
    config = small(reward_target="running")
    targets = np.asarray(studying.reward_targets(episode(5, terminated), config))[:6, 0]
    np.testing.assert_array_equal(targets, [1, 3, 6, 10, 15, 15])
    assert float(parts(config).codec.encode_reward(jnp.float32(12.0))[0]) == 1.0  # at most 12 steps of 1
    assert finite(ran(reward_target="running")[2])


def test_stepped_padding_records_what_comes_after_the_end():
    """Windows read the steps past the end; states there are done, rewards 0, lengths and returns as they were."""
    virtual, stepped = (
        ran(env_id="CartPole-v1", padding=p, warmup_episodes=2, max_steps=40) for p in ("virtual", "stepped")
    )
    config, state, metrics = stepped
    jax.tree.map(np.testing.assert_array_equal, metrics.episode_return, virtual[2].episode_return)
    assert np.asarray(metrics.terminated).all(), "random play falls within 40 steps"
    codec, n = parts(config).codec, int(metrics.episode_length[0])
    cut = dict(history_length=0, horizon=4)
    last = replay.window(state.replay, jnp.int32(n - 1), codec, padding=3, **cut)
    frozen = replay.window(virtual[1].replay, jnp.int32(n - 1), codec, **cut)
    np.testing.assert_array_equal(last.present, frozen.present)
    np.testing.assert_array_equal(last.states[0], frozen.states[0])
    np.testing.assert_array_equal(last.states[:, -1], np.ones(4))  # done from the terminating step on
    assert np.all(np.any(np.diff(np.asarray(last.states)[:, :4], axis=0) != 0, axis=1)), "the pole falls on"
    assert np.all(np.diff(np.asarray(frozen.states), axis=0) == 0)
    np.testing.assert_array_equal(last.rewards, frozen.rewards)
    assert int(state.replay.to_end[0]) == n + 3 and int((state.replay.weight[: n + 4] > 0).sum()) == n
    before = replay.window(state.replay, jnp.int32(n - 2), codec, padding=3, **cut)
    np.testing.assert_array_equal(before.states[:, -1], [-1, 1, 1, 1])


def stored(config, *episodes):
    """A replay with these episodes."""
    state = rgrl.init(KEY, config)
    for one in episodes:
        memory = studying.remember(state.replay, one, config)
        state = state.replace(replay=memory)
    return state.replay


def shifted(one, by):
    return one.replace(obs=one.obs + by)


def test_similar_windows_are_dropped():
    """A second episode within half a step of the first is dropped, one further away is kept."""
    config = small(dedupe="similar", resolution=0.1)
    first = episode(6, True)
    first = first.replace(obs=jnp.round(first.obs, 1))
    near, far = shifted(first, 1e-3), shifted(first, 1.0)
    assert int(replay.num_windows(stored(config, first))) == 6
    assert int(replay.num_windows(stored(config, first, near))) == 6
    assert int(replay.num_windows(stored(config, first, far))) == 12
    exact = small(dedupe="window")
    assert int(replay.num_windows(stored(exact, first, near))) == 12
    assert int(replay.num_windows(stored(exact, first, first))) == 6


def test_balanced_replay_draws_distinct_states_alike():
    """Each distinct present has the same mass, however many windows start from it."""
    config = small(replay="balanced", resolution=1e-3)
    one, other = episode(6, True), episode(3, True)
    other = other.replace(obs=other.obs + 5.0)
    memory = stored(config, one, one, one, other)
    weight = np.asarray(memory.weight)
    obs = np.asarray(memory.obs)
    presents = {}
    for row in np.flatnonzero(weight):
        presents[tuple(obs[row])] = presents.get(tuple(obs[row]), 0.0) + weight[row]
    assert len(presents) == 9
    np.testing.assert_allclose(list(presents.values()), 1.0, rtol=1e-6)
    assert finite(ran(replay="balanced")[2])


# Planning.


def view_of(config, obs, memory=()):
    """What a policy sees at the start of an episode with these observations ``[N, 4]``."""
    spec = parts(config).spec
    idle = rgrl.rollout(KEY, spec, lambda k, v: (jnp.zeros((1, len(obs)), jnp.int32), {}, ()), num_envs=len(obs))
    _, env_state = jax.vmap(spec.reset)(jax.random.split(KEY, len(obs)))
    return View(idle.replace(obs=idle.obs.at[0].set(obs)), jnp.int32(0), env_state, memory)


def test_warm_start_goes_on_with_the_last_plan():
    """With no noise and no iterations the second plan is the rest of the first, then nothing."""
    config = small(plan_warm_start=True, plan_iterations=0, replan_every=2)
    obs = jnp.zeros((2, 4))
    latent = jax.random.normal(KEY, (2, 4, 2))
    params = rgrl.init(KEY, config).params
    policy = acting.make_policy(params, config, jnp.float32(0.0), jnp.float32(0.0))
    _, _, memory = policy(KEY, view_of(config, obs, latent))
    np.testing.assert_allclose(memory, np.concatenate([latent[:, 2:], np.zeros((2, 2, 2))], axis=1), atol=1e-6)
    assert acting.first_view(config, 2)["memory"].shape == (2, 4, 2) and acting.first_view(small(), 2)["memory"] == ()
    assert finite(ran(plan_warm_start=True, plan_noise=0.1)[2])


def test_desired_rewards_spread_over_the_members():
    """Evenly around r*, all alike by default."""
    config = small(ensemble_size=3, desired_reward=0.8)
    assert acting.desired_rewards(config).shape == (3, 1, 1)
    np.testing.assert_allclose(acting.desired_rewards(config)[:, 0, 0], [0.8, 0.8, 0.8], rtol=1e-6)
    spread = acting.desired_rewards(config.replace(desired_reward_spread=0.2))
    np.testing.assert_allclose(spread[:, 0, 0], [0.6, 0.8, 1.0], rtol=1e-6)
    alone = config.replace(ensemble_size=1, desired_reward_spread=0.2)
    np.testing.assert_allclose(acting.desired_rewards(alone)[:, 0, 0], [0.8], rtol=1e-6)


LEVERS = [
    {"squash": "softmax"},
    {"squash": "straight_through"},
    {"plan_noise_color": "red", "plan_noise": 0.5},
    {"plan_noise_law": "normal", "plan_noise_repeats": 2},
    {"plan_accept": "better", "plan_optimizer": "normalized"},
    {"plan_members": "mean", "plan_disagreement": 0.5, "plan_starts": 3},
    {"planner": "cem", "plan_members": "mean", "plan_disagreement": -0.5, "plan_samples": 8},
    {"plan_starts": 3, "plan_judged": "executed"},
    {"plan_loss_steps": "last", "desired_reward_spread": 0.1, "loss": "huber"},
    {"teacher_forcing": True, "optimizer": "adamw", "weight_decay": 1e-2},
]


@pytest.mark.parametrize("levers", LEVERS, ids=lambda x: "-".join(x))
def test_levers_run(levers):
    """Each plans and learns in a whole run, and changes what is planned or learnt."""
    metrics = ran(warmup_episodes=0, reset_every=0, **levers)[2]
    assert finite(metrics) and np.all(metrics.plan_loss > 0)
    plain = jax.tree.leaves(ran(warmup_episodes=0, reset_every=0)[2])
    assert any(np.any(np.asarray(a) != b) for a, b in zip(jax.tree.leaves(metrics), plain, strict=True))


# The oracle.


def test_oracle_foresees_what_happens():
    """Predicted rewards along a plan are those that the environment then pays."""
    config = small("Pendulum-v1", dynamics="environment", horizon=5)
    spec, codec, _ = built = parts(config)
    _, env_state = spec.reset(jax.random.key(2))
    view = View(None, jnp.int32(0), None, ())
    _, _, apply = acting._true_dynamics(None, view, config, built)
    actions = jnp.linspace(-0.9, 0.8, 5)[:, None]
    foreseen = apply(jnp.zeros(()), env_state, actions)
    for t in range(5):
        obs, env_state, reward, _, _ = spec.step(KEY, env_state, codec.decode_action(actions[t]))
        low, high = spec.reward_range
        np.testing.assert_allclose(foreseen.reward[t, 0], 2 * (reward - low) / (high - low) - 1, atol=1e-5)
        np.testing.assert_allclose(foreseen.state[t], codec.encode_state(obs, jnp.bool_(False)), atol=1e-5)


@pytest.mark.parametrize(("absorbing", "after"), [("zero", -1.0), ("last", 1.0)])
def test_oracle_knows_what_follows_the_end(absorbing, after):
    """FrozenLake's goal pays once; past it every step is worth nothing, or as much again."""
    config = small(
        "FrozenLake-deterministic",
        planner="shooting",
        dynamics="environment",
        novelty=False,
        horizon=8,
        absorbing_reward=absorbing,
    )
    built = parts(config)
    _, env_state = built.spec.reset(jax.random.key(2))
    _, _, apply = acting._true_dynamics(None, View(None, jnp.int32(0), None, ()), config, built)
    down, right = 1, 2
    path = 2.0 * jax.nn.one_hot(jnp.array([down, down, right, right, down, right, 0, 0]), 4) - 1.0
    rewards = apply(jnp.zeros(()), env_state, path).reward[:, 0]
    np.testing.assert_array_equal(rewards, [-1.0] * 5 + [1.0, after, after])


def test_gradients_pass_through_the_oracle():
    """An early action changes later rewards: the slope by finite differences of the environment itself."""
    config = small("Pendulum-v1", dynamics="environment", horizon=5)
    built = parts(config)
    _, env_state = built.spec.reset(jax.random.key(2))
    _, _, apply = acting._true_dynamics(None, View(None, jnp.int32(0), None, ()), config, built)
    actions = jnp.linspace(-0.9, 0.8, 5)[:, None]
    last = jax.jit(lambda a: apply(jnp.zeros(()), env_state, a).reward[-1, 0])
    slope = jax.grad(last)(actions)[0, 0]
    nudge = jnp.zeros((5, 1)).at[0].set(1e-2)
    np.testing.assert_allclose(slope, (last(actions + nudge) - last(actions - nudge)) / 2e-2, rtol=2e-2)
    assert abs(float(slope)) > 1e-4


def test_oracle_balances_at_once():
    """Without learning anything: sampling through CartPole's own dynamics keeps the pole up, random play does not."""
    sizes = dict(max_steps=60, replay_capacity=100, horizon=15, plan_iterations=3, plan_samples=32, plan_noise=0.5)
    config = small(planner="cem", dynamics="environment", **sizes)
    state = rgrl.init(KEY, config)
    assert float(np.mean(jax.jit(lambda s: rgrl.evaluate(KEY, s, config, 4))(state))) == 60.0


def test_oracle_descends_through_the_pendulum():
    """Gradients through the true dynamics cost less than doing nothing, which the same plan without them does."""
    sizes = dict(max_steps=40, replay_capacity=100, horizon=15, dynamics="environment", plan_lr=0.3)
    returns = []
    for iterations in (20, 0):
        config = small("Pendulum-v1", plan_iterations=iterations, **sizes)
        state = rgrl.init(KEY, config)
        returns.append(float(np.mean(jax.jit(lambda s, c=config: rgrl.evaluate(KEY, s, c, 8))(state))))
    assert returns[0] > returns[1] + 10.0


# Mixed ensembles and images.


def test_members_of_a_mixed_ensemble_take_turns():
    """Each member predicts as a model of its own kind with its weights; all weights of other kinds stay put."""
    config = small(model="gru+lstm", ensemble_size=3)
    params = draw_members(KEY, config)
    np.testing.assert_array_equal(np.argmax(params["kind"], axis=1), [0, 1, 0])
    _, codec, model = parts(config)
    past = rgrl.History(jnp.zeros((2, codec.state_size)), jnp.ones((2, codec.action_size)))
    present, actions = jnp.full(codec.state_size, 0.1), jnp.ones((3, codec.action_size))
    for e, name in enumerate(["gru", "lstm", "gru"]):
        own = parts(small(model=name)).model
        member = jax.tree.map(lambda x, e=e: x[e], params)
        weights = member["models"][e % 2]
        expected = own.apply(weights, own.remember(weights, past), present, actions)
        out = model.apply(member, model.remember(member, past), present, actions)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), out, expected)
    _, state, metrics = ran(model="gru+lstm", ensemble_size=3, reset_every=0, weight_decay=0.0)
    assert finite(metrics)
    before = rgrl.init(KEY, ran(model="gru+lstm", ensemble_size=3, reset_every=0, weight_decay=0.0)[0]).params
    moved = jax.tree.map(
        lambda a, b: np.any(np.asarray(a) != np.asarray(b), axis=tuple(range(1, a.ndim))), state.params, before
    )
    for kind in range(2):
        some = np.any(np.stack(jax.tree.leaves(moved["models"][kind])), axis=0)
        np.testing.assert_array_equal(some, [e % 2 == kind for e in range(3)])


def test_weight_decay_leaves_kinds_alone():
    """However long the decay, a member stays what it is."""
    params = {"kind": jnp.asarray([[1.0, 0.0], [0.0, 1.0]])}
    optimizer = learning.make_optimizer("adamw", 0.1, 1.0, 0.5)
    state = learning.init(params, optimizer)
    for _ in range(50):
        zero = jax.tree.map(jnp.zeros_like, params)
        updates, state = jax.vmap(optimizer.update)(zero, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    np.testing.assert_array_equal(np.argmax(params["kind"], axis=1), [0, 1])


def convolve(x, kernel, bias):
    """A 3 x 3 convolution with zeros around, by loops."""
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            out[i, j] = np.tensordot(padded[i : i + 3, j : j + 3], kernel, 3) + bias
    return np.maximum(out, 0.0)


@pytest.mark.parametrize("env_id", ["Catch-bsuite", "Breakout-MinAtar"])
def test_convolutional_encoder_equals_its_twin(env_id):
    """The embedding of a frame and the done block by loops in float64."""
    config = small(env_id, encoder="conv")
    _, codec, model = parts(config)
    params = model.init(KEY)["params"]["conv"]
    shape = (*rgrl.make_spec(env_id).observation.shape, 1)[:3]
    rng = np.random.default_rng(0)
    state = rng.choice([-1.0, 1.0], codec.state_size)
    x = state[: np.prod(shape)].reshape(shape)
    for layer in range(2):
        weights = params[f"conv_{layer}"]
        x = convolve(x, np.asarray(weights["kernel"], np.float64), np.asarray(weights["bias"], np.float64))
    flat = np.concatenate([x.reshape(-1), state[np.prod(shape) :]])
    twin = flat @ np.asarray(params["dense"]["kernel"], np.float64)
    out = model.module.apply(model.init(KEY), jnp.float32(state), method=lambda m, s: m.conv(s))
    np.testing.assert_allclose(out, twin, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("env_id", ["Catch-bsuite", "Breakout-MinAtar"])
def test_images_are_stored_once_as_bits(env_id):
    """Runs end to end; a frame takes one byte per pixel, whatever the horizon."""
    sizes = dict(encoder="conv", max_steps=12, replay_capacity=40)
    config, state, metrics = ran(env_id, **sizes)
    assert finite(metrics)
    frames = state.replay.obs
    assert frames.dtype == bool and frames.shape == (40, *rgrl.make_spec(env_id).observation.shape)
    longer = small(env_id, horizon=8, **sizes)
    assert jax.eval_shape(lambda k: rgrl.init(k, longer), KEY).replay.obs.size == frames.size
    assert config.encoder == "conv"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model": "gru+gruu"}, "model = 'gruu' is not registered"),
        ({"model": "gru+td+rnn"}, "model = 'gru\\+td\\+rnn' needs at least 3 members, not 2"),
        ({"encoder": "conv"}, "encoder = 'conv' needs observations of shape"),
        ({"env_id": "Pendulum-v1", "squash": "softmax"}, "squash = 'softmax' needs discrete actions"),
        ({"env_id": "Pendulum-v1", "plan_judged": "executed"}, "plan_judged = 'executed' needs discrete actions"),
        ({"dynamics": "environment"}, "dynamics = 'environment' cannot be descended through the discrete actions"),
        ({"plan_disagreement": 0.1}, "plan_disagreement = 0.1 needs plan_members = 'mean'"),
        ({"plan_accept": "better", "planner": "cem"}, "plan_accept = 'better' needs planner = 'gradient'"),
        ({"priority_refresh": "all"}, "priority_refresh = 'all' needs replay = 'priority', not 'uniform'"),
        ({"reward_from": "state", "feedback": False}, "reward_from = 'state' needs feedback = True"),
        ({"learn_every": 2, "reset_every": 1}, "reset_every = 1 must be 0 if learn_every = 2"),
        ({"padding": "stepped", "replay_capacity": 14}, "replay_capacity = 14 must hold"),
        ({"dropout": 1.0}, "dropout = 1.0 must be finite and in 0..0.95"),
        ({"resolution": 0.0}, "resolution = 0.0 must be finite"),
    ],
)
def test_contradictions_are_refused(overrides, message):
    """Settings that exclude each other meet one sentence before anything compiles."""
    with pytest.raises(ValueError, match=message):
        small(**overrides)
