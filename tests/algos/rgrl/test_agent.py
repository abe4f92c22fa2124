"""The algorithm as a whole; what holds for every algorithm is tested by `tests/algos/test_contract.py`."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rgrl_cases import KEY, is_finite, small, timestep

from rgrl_jax import envs, training
from rgrl_jax.algos.rgrl import agent, build, models, predict_episode
from rgrl_jax.planning import ModelOutput

MLP = {"model.kind": "mlp"}  # compiles fastest
TRAIN = jax.jit(training.train)


@pytest.fixture(scope="module")
def trained():
    """A small run: config, state and metrics."""
    noise = {"planner.noise": 0.8, "planner.noise_decay": 0.5, "planner.noise_cycle": 2}
    config = small(noise | {"action_repeat": 2, "replay.max_windows": 9})
    return config, *TRAIN(KEY, config)


def test_warmup_does_not_plan(trained):
    """It acts at random and reports no planning; later episodes plan, with noise that is annealed and reset."""
    info = trained[2].info
    assert set(info) == {"plan_loss", "plan_movement", "plan_noise", "windows"}
    for name in ("plan_loss", "plan_movement"):
        assert info[name][0] == 0 and np.all(info[name][1:] > 0)
    np.testing.assert_allclose(info["plan_noise"], [0.8, 0.8, 0.4, 0.8], rtol=1e-6)


def test_every_step_that_an_action_is_held_for_counts(trained):
    """Lengths count decisions, of which 12 steps of the environment are 6."""
    metrics = trained[2]
    np.testing.assert_array_equal(metrics.env_steps, 2 * np.cumsum(metrics.episode_length))
    assert metrics.episode_length.max() <= 6 and np.all(metrics.episode_return <= 2 * metrics.episode_length)


def test_old_windows_are_evicted(trained):
    """Down to the number that is kept; but their rows stay."""
    _, state, metrics = trained
    windows = np.minimum(np.cumsum(metrics.episode_length), 9)
    np.testing.assert_array_equal(metrics.info["windows"], windows)
    assert int((state.replay.weight > 0).sum()) == windows[-1] == 9
    assert int(state.replay.cursor) == metrics.episode_length.sum() + 4


def test_steps_past_the_end_are_simulated_in_training_alone():
    """By as many as the last window reaches over it."""
    config = small({"reference.past_end": "simulate"})
    state = jax.eval_shape(agent.init, KEY, config)
    paddings = []

    def look(state):
        paddings.extend([agent.act(state, config).padding, agent.evaluation_actor(KEY, state, config, 2).padding])

    jax.eval_shape(look, state)
    assert paddings == [3, 0]


def test_noiseless_episodes_do_not_look_for_novelty():
    """Their plans are the same whatever novelty weighs; those of training are not."""
    config = small(MLP | {"target.novelty": True, "planner.iterations": 10, "explore.warmup_episodes": 0})
    now = timestep(jnp.full((2, 4), 0.1))

    @jax.jit
    def losses(state, config):
        actors = agent.evaluation_actor(KEY, state, config, 2), agent.act(state, config)
        return [actor.policy(KEY, now)[2]["plan_loss"] for actor in actors]

    state = jax.jit(agent.init)(KEY, config)
    one, other = (losses(state, config.replace_at("planner.novelty_weight", weight)) for weight in (0.0, 50.0))
    np.testing.assert_array_equal(one[0], other[0])
    assert np.all(one[1] != other[1])


def test_traces_in_float64():
    """With 64-bit types enabled every loop still gets back what it was given."""
    config = small({"replay.kind": "priority", "target.novelty": True, "learner.reset_every": 1})
    with jax.enable_x64(True):
        _, metrics = jax.eval_shape(training.train, jax.random.key(0), config)
    assert metrics.model_loss.shape == (config.episodes,)


# Environments and models.


@pytest.mark.parametrize("env_id", envs.names())
def test_every_environment_can_be_trained_in(env_id):
    """It traces, and its observations and actions are stored and encoded as they are."""
    config = small(MLP, env_id)
    start = jax.eval_shape(training.init, KEY, config)
    state, metrics = jax.eval_shape(training.step, start, config)
    assert metrics.episode_return.shape == () and jax.tree.structure(state) == jax.tree.structure(start)
    env, codec, _ = build(config)
    obs, _ = jax.eval_shape(env.reset, KEY)
    assert state.replay.obs.shape == (200, *obs.shape) and state.replay.obs.dtype == obs.dtype
    assert np.isfinite(codec.encode_state(jnp.zeros(obs.shape, obs.dtype), jnp.bool_(False))).all()
    action = codec.decode_action(jnp.linspace(-0.9, 0.8, codec.action_size))
    assert state.replay.action.shape == (200, *action.shape) and state.replay.action.dtype == action.dtype
    np.testing.assert_allclose(codec.decode_action(codec.encode_action(action)), action, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", envs.names())
def test_every_environment_runs(env_id):
    """Two episodes, a planned one among them, with finite losses, and returns within the range there is."""
    config = small({"episodes": 2}, env_id)
    state, metrics = TRAIN(KEY, config)
    low, high = envs.make(env_id).return_range
    returns = jax.jit(training.play, static_argnums=3)(jax.random.key(1), state, config, 3).episode_return
    assert is_finite(metrics) and np.all(returns >= low - 1e-3) and np.all(returns <= high + 1e-3)


KINDS = {"discrete": "CartPole-v1", "continuous": "Pendulum-v1", "image": "Catch-bsuite"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", models.names())
def test_every_model_plans_by_every_planner(model, kind):
    """Numbers are finite, plans move, and every member learns.

    Learning does not know the planner, so one run learns, and the other planners play with what it learnt.
    """
    sizes = {"explore.warmup_episodes": 0, "episodes": 2, "planner.horizon": 2, "planner.samples": 6}
    changes = {"model.kind": model, "model.encoder": "conv" if kind == "image" else "dense"}
    config = small(sizes | changes, KINDS[kind])

    @jax.jit
    def run(key):
        start = training.init(key, config)
        state, metrics = training.train(None, config, start)
        others = [config.replace_at("planner.kind", planner) for planner in ("shooting", "cem", "mppi")]
        return start.params, state.params, metrics, [training.play(key, state, other, 2) for other in others]

    before, after, metrics, played = run(KEY)
    assert is_finite((after, metrics, [p.info for p in played]))
    assert np.all(metrics.info["plan_movement"] > 0)
    for episode in played:
        assert np.all(episode.terminated | episode.truncated) and np.all(episode.length > 0)
        assert np.all(episode.info["plan_movement"] > 0)
    moved = jax.tree.map(lambda a, b: np.any(np.asarray(a != b), axis=tuple(range(1, a.ndim))), before, after)
    assert np.any(np.stack(jax.tree.leaves(moved)), axis=0).all()


def test_images_are_learnt_from():
    """By convolutions; a frame takes one byte per pixel, whatever the horizon is."""
    sizes = {"model.encoder": "conv", "explore.warmup_episodes": 0, "episodes": 1, "planner.kind": "cem"}
    config = small(MLP | sizes, "Catch-bsuite")
    state, metrics = TRAIN(KEY, config)
    assert is_finite((state.params, metrics)) and metrics.info["plan_movement"][0] > 0
    assert state.replay.obs.dtype == bool and state.replay.obs.shape == (200, 10, 5)
    longer = jax.eval_shape(training.init, KEY, config.replace_at("planner.horizon", 8))
    assert longer.replay.obs.size == state.replay.obs.size


def test_a_model_need_not_predict_states():
    """One of plain functions trains, plays and is looked into without them."""

    def init(key):
        return jax.random.normal(key, (5 + 2, 1))

    def apply(params, memory, present, actions, states=None):
        tokens = jnp.concatenate([jnp.broadcast_to(present, (len(actions), 5)), actions], axis=1)
        return ModelOutput(tokens @ params + memory, None)

    models.register("blind", lambda spec: SimpleNamespace(init=init, encode_history=lambda *_: 0.0, apply=apply))
    try:
        config = small({"model.kind": "blind"})
        state, metrics = jax.eval_shape(training.train, KEY, config)
        episode = jax.eval_shape(lambda state: training.play(KEY, state, config, 2), state)
        predicted = jax.eval_shape(predict_episode, state, episode, config)
    finally:
        models.unregister("blind")
    assert metrics.model_loss.shape == (config.episodes,)
    assert predicted.state is None and predicted.reward.shape == (2, 12, 3, 4)


# Costs.


def test_weights_of_the_gru_by_hand():
    """Embeddings, gates and heads of a GRU with S = 4 + 1, A = 2, R = 1 and d = 8."""
    weights = 5 * 8 + 2 * 8 + 2 * (8 * 24) + 8 * 1 + 8 * 5
    biases = 8 + 2 * 24 + 1 + 5
    assert small().describe().parameters == weights + biases
    assert small({"reference.biases": False}).describe().parameters == weights


@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        ("CartPole-v1", {"model.width": 12, "model.layers": 2, "reference.biases": False}),
        ("CartPole-v1", {"learner.optimizer": "sgd", "reference.state_encoding": "thermometer"}),
        ("Pendulum-v1", {"reference.dedupe": "components", "reference.done_size": 3}),
    ],
)
def test_costs_are_those_of_what_init_makes(env_id, settings):
    """Weights per member and bytes of the state, whatever their shapes depend on."""
    config = small(settings, env_id)
    state, cost = jax.eval_shape(training.init, KEY, config), config.describe()
    assert cost.parameters * config.model.ensemble_size == sum(x.size for x in jax.tree.leaves(state.params))
    plain = jax.eval_shape(lambda s: s.replace(key=jax.random.key_data(s.key)), state)
    key_bytes = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).size * 4 - plain.key.size * 4
    assert cost.state_bytes == sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(plain)) + key_bytes


def test_costs_by_hand():
    """Steps, plans, updates and operations of numbers that differ from each other."""
    planner = {"planner.replan_every": 3, "planner.num_starts": 2, "planner.iterations": 7}
    learner = {"learner.updates_per_episode": 17, "learner.batch_size": 19}
    config = small({"episodes": 11, "explore.warmup_episodes": 4, "max_steps": 13} | planner | learner)
    cost = config.describe()
    assert (cost.episodes, cost.max_env_steps, cost.updates) == (11, 11 * 13, 11 * 17)
    assert cost.extra["plans"] == 7 * 5  # 13 steps are 5 plans of 3
    assert cost.extra["plan_flops"] == (2 + 2) * cost.parameters * 2 * 7 * 4  # starts, iterations, horizon
    assert cost.learn_flops == (2 + 4) * cost.parameters * 3 * 17 * 19 * 4  # members, updates, batch, horizon
    drawn = config.replace_at("planner.kind", "cem").replace_at("planner.samples", 10).describe()
    assert drawn.extra["plan_flops"] == 2 * 10 * cost.parameters * 2 * 7 * 4  # forward alone
    assert config.replace_at("explore.warmup_episodes", 12).describe().extra["plans"] == 0
    many = config.replace(num_envs=3, action_repeat=2).describe()
    assert many.max_env_steps == 11 * 3 * 14 and many.extra["plans"] == 7 * 3 * 3  # 7 decisions of 2 steps
