"""What members foresee along episodes, the plans made again, and the pictures of both: against plain loops."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from test_cli import rgrl_command  # noqa: F401
from test_plotting import metrics
from tiny import says, tiny_config

import rgrl_jax as rgrl
from rgrl_jax import replay
from rgrl_jax.algos.rgrl import parts
from rgrl_jax.algos.rgrl.parts import draw_members
from rgrl_jax.experiment import checkpoint, folder, jobs, pictures

KEY = jax.random.key(3)
PLAY = jobs._PLAY  # of the command line, so that both compile it once


@functools.cache
def seen():
    """Two noiseless episodes of a tiny agent, what it foresees along them, and its plans."""
    config = tiny_config(model="mlp")
    state = jax.jit(rgrl.init)(jax.random.key(0), config)
    episode = PLAY(KEY, state, config, 2)
    return (
        config,
        state,
        episode,
        rgrl.foresee(state, episode, config),
        rgrl.retrace_plans(KEY, state, episode, config),
    )


def made_up(config, length, terminated):
    """An episode of CartPole's shapes that nobody played, and a state that remembers rewards of 0..3."""
    spec, codec, _ = parts(config)
    rng = np.random.default_rng(0)
    rows = spec.max_steps + 1
    episode = rgrl.Episode(
        obs=jnp.asarray(rng.uniform(-0.2, 0.2, (rows, 1, 4)), jnp.float32),
        action=jnp.asarray(rng.integers(0, 2, (rows, 1)), jnp.int32),
        reward=jnp.asarray(rng.uniform(0.0, 1.0, (rows, 1)) * (np.arange(rows) < length)[:, None], jnp.float32),
        length=jnp.array([length]),
        terminated=jnp.array([terminated]),
        truncated=jnp.array([not terminated]),
        info=None,
    )
    memory = replay.init(episode.obs[0, 0], episode.action[0, 0], capacity=20)
    memory = memory.replace(reward=jnp.linspace(0.0, 3.0, 20), episode=jnp.zeros(20, jnp.int32))
    members, nothing = draw_members(jax.random.key(1), config), jnp.int32(0)
    return rgrl.TrainState(KEY, members, (), memory, jnp.zeros(10), nothing, nothing), episode, codec


def targets(rewards, length, terminated, discount):
    """Rewards to come of steps ``0 .. length - 1`` and what every step past the end is worth, by a plain loop."""
    after = 0.0 if terminated else rewards[length - 1]
    found = np.full(len(rewards) + 50, after)
    for t in reversed(range(length)):
        after = found[t] = (1.0 - discount) * rewards[t] + discount * after
    return found


def past(steps, encode, size):
    """What is encoded of these steps ``[H, size]``, -1 before the first."""
    return jnp.stack([encode(i) if i >= 0 else -jnp.ones(size) for i in steps]) if steps else jnp.zeros((0, size))


CASES = {
    "much": ({"reward_discount": 0.9, "reward_scale": "seen", "history_length": 2, "novelty": True}, 12, False),
    "bars": (
        {"state_encoding": "thermometer", "state_bins": 6, "reward_encoding": "thermometer", "reward_bins": 5}
        | {"done_size": 2, "reward_discount": 0.5},
        7,
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_foresight_is_that_of_a_plain_loop(name):
    """Each member from each step on, alone: history, executed actions, rewards as learnt, the state past the end."""
    changes, length, terminated = CASES[name]
    config = tiny_config(model="mlp", **changes)
    state, episode, codec = made_up(config, length, terminated)
    found = rgrl.foresee(state, episode, config)
    model, horizon = parts(config).model, config.horizon
    predict = jax.jit(lambda member, history, *rest: model.apply(member, model.remember(member, history), *rest))
    bins = config.state_bins if config.state_encoding == "thermometer" else 1

    def numbers(encoded):
        body, done = np.split(np.asarray(encoded), [codec.state_size - config.done_size])
        return np.append(body.reshape(-1, bins).mean(axis=-1), done.mean())

    target = targets(np.asarray(episode.reward[:, 0]), length, terminated, config.reward_discount)
    for t in range(length):
        rows = np.minimum(t + np.arange(horizon + 1), length)
        ended = terminated & (rows == length)
        states = [codec.encode_state(episode.obs[i, 0], jnp.bool_(e)) for i, e in zip(rows, ended, strict=True)]
        actions = [codec.encode_action(episode.action[i, 0]) * (i < length) for i in t + np.arange(horizon)]
        before = range(t - config.history_length, t)
        history = rgrl.History(
            past(before, lambda i: codec.encode_state(episode.obs[i, 0], jnp.bool_(False)), codec.state_size),
            past(before, lambda i: codec.encode_action(episode.action[i, 0]), codec.action_size),
        )
        reward = np.stack([np.asarray(codec.encode_reward(jnp.float32(x))).mean() for x in target[t : t + horizon]])
        if config.reward_scale == "seen":  # of 0..3 on a scale of 0..1 to -1..1
            reward = 2.0 * (reward + 1.0) / 6.0 - 1.0
        np.testing.assert_allclose(found.true_reward[0, t], reward, atol=1e-5)
        np.testing.assert_allclose(found.true_state[0, t], [numbers(x) for x in states[1:]], atol=1e-5)
        np.testing.assert_allclose(found.present[0, t], numbers(states[0]), atol=1e-5)
        known = np.ones(horizon) if terminated else (t + np.arange(horizon) < length)
        np.testing.assert_array_equal(found.mask[0, t], known)
        for e in range(config.ensemble_size):
            member = jax.tree.map(lambda x, e=e: x[e], state.params)
            out = predict(member, history, states[0], jnp.stack(actions))
            size = codec.reward_size
            np.testing.assert_allclose(found.reward[0, t, e], out.reward[:, :size].mean(axis=-1), atol=1e-5)
            np.testing.assert_allclose(found.state[0, t, e], [numbers(x) for x in out.state], atol=1e-5)
    assert not found.mask[0, length:].any()


def test_foresight_does_not_mix_episodes():
    """It is the same of one episode alone; and it maps over runs."""
    config, state, episode, found, _ = seen()
    alone = jax.tree.map(lambda x: x[:, 1:] if x.ndim > 1 else x[1:], episode.replace(info=None))
    one = rgrl.foresee(state, alone, config)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(x[0], y[1], atol=1e-5)
    twice = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    mapped = jax.eval_shape(jax.vmap(rgrl.foresee, in_axes=(0, None, None)), twice, alone, config)
    assert mapped.reward.shape == (2, *one.reward.shape)


def test_plans_are_those_that_were_executed():
    """Decoded, the first steps of the plans are the actions of the episode."""
    config, _, episode, _, plans = seen()
    codec = parts(config).codec
    for n in range(2):
        for t in range(int(episode.length[n])):
            assert int(codec.decode_action(plans.plan[t, n, 0])) == int(episode.action[t, n])


def test_plans_that_are_kept():
    """With plans that go on for two steps, from a warm start and with novelty; rewards are on the usual scale."""
    config = tiny_config(model="mlp", replan_every=2, plan_warm_start=True, novelty=True, plan_starts=2)
    state = made_up(config, 3, True)[0]
    episode = PLAY(KEY, state, config, 1)
    plans = rgrl.retrace_plans(KEY, state, episode, config)
    built = parts(config)
    assert plans.plan.shape == (6, 1, config.horizon, 2)
    for t in range(int(episode.length[0])):
        assert int(built.codec.decode_action(plans.plan[t // 2, 0, t % 2])) == int(episode.action[t, 0])
    present = built.codec.encode_state(episode.obs[2, 0], jnp.bool_(False))
    empty = rgrl.History(jnp.zeros((0, built.codec.state_size)), jnp.zeros((0, 2)))

    def predict(member):
        return built.model.apply(member, built.model.remember(member, empty), present, plans.plan[1, 0]).reward

    rewards = [predict(jax.tree.map(lambda x, e=e: x[e], state.params)) for e in range(config.ensemble_size)]
    np.testing.assert_allclose(plans.predicted.reward[1, 0], np.mean(rewards, axis=0)[:, :1], atol=1e-5)


def test_errors_by_horizon_are_those_of_numpy():
    """In float64, over what the mask lets count."""
    _, _, _, found, _ = seen()
    mask = np.asarray(found.mask, np.float64)
    for predicted, true in ((found.reward[..., None], found.true_reward[..., None]), (found.state, found.true_state)):
        predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
        errors = rgrl.horizon_errors(jnp.asarray(predicted), jnp.asarray(true), found.mask)
        for k in range(mask.shape[-1]):
            rows = mask[..., k] > 0
            p, y = predicted[rows][:, :, k], true[rows][:, k]
            np.testing.assert_allclose(errors.mean[k], np.sqrt(((p.mean(axis=1) - y) ** 2).mean()), atol=1e-5)
            np.testing.assert_allclose(errors.disagreement[k], np.sqrt(p.var(axis=1).mean()), atol=1e-5)
            np.testing.assert_allclose(errors.constant[k], np.sqrt(y.var(axis=0).mean()), atol=1e-5)
            for e in range(p.shape[1]):
                np.testing.assert_allclose(errors.member[e, k], np.sqrt(((p[:, e] - y) ** 2).mean()), atol=1e-5)


def test_other_algorithms_have_no_model():
    """One sentence says so."""
    _, state, episode, *_ = seen()
    config = rgrl.preset("CartPole-v1", algo="reinforce")
    for look, first in ((rgrl.foresee, ()), (rgrl.retrace_plans, (KEY,))):
        with pytest.raises(ValueError) as error:
            look(*first, state, episode, config)
        says(error, "'reinforce'", "has no model")


# Pictures.


@pytest.fixture
def strict():
    """No warning is an answer to a good call."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def is_image(path):
    """Whether it is a picture of more than one colour."""
    with Image.open(path) as image:
        image.load()
        return min(image.size) > 200 and len(image.convert("L").getcolors()) > 20


def test_picture_of_plans(tmp_path, strict):
    """Columns are plans with the executed action at the bottom; lines are what came and what was predicted."""
    config, _, episode, found, plans = seen()
    figure = rgrl.plot_plans(found, plans, config, title="a title", path=tmp_path / "new" / "plans.png")
    assert is_image(tmp_path / "new" / "plans.png") and figure.get_suptitle() == "a title"
    length = int(episode.length[0])
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(image[0], episode.action[:length, 0])
    rewards = figure.axes[1].get_lines()
    np.testing.assert_array_equal(rewards[0].get_ydata(), found.true_reward[0, :length, 0])
    np.testing.assert_allclose(rewards[1].get_ydata(), found.reward[0, 0].mean(axis=0), atol=1e-6)
    assert len(figure.axes) == 2 + 3 + 1  # three of the state, and the scale of colours
    figure = rgrl.plot_plans(found, plans, config, episode=1, steps=(1, 5), entries=[4])
    assert figure.axes[2].get_ylabel() == "ended" and figure.axes[0].images[0].get_array().shape == (4, 4)
    for wrong, part in (({"episode": 2}, "0..1"), ({"steps": (500, 600)}, "within"), ({"steps": (3, 3)}, "within")):
        with pytest.raises(ValueError, match=part):
            rgrl.plot_plans(found, plans, config, **wrong)


def test_pictures_without_predicted_states(tmp_path, strict):
    """Only rewards are drawn then; plans that are kept are shown as far as they go."""
    config, _, _, found, plans = seen()
    blind, kept = found.replace(state=None), jax.tree.map(lambda x: x[::2], plans)
    figure = rgrl.plot_plans(blind, kept, config.replace(replan_every=2), path=tmp_path / "plans.png")
    image = figure.axes[0].images[0].get_array()
    assert image.mask[:, 0].sum() == 0 and image.mask[:, 1].tolist() == [False, False, False, True]
    assert len(figure.axes) == 3 and is_image(tmp_path / "plans.png")
    assert len(rgrl.plot_model_error(blind).axes) == 1


def test_picture_of_continuous_plans(strict):
    """The first entry of continuous actions, as a shade."""
    config, _, _, found, plans = seen()
    figure = rgrl.plot_plans(found, plans, config.replace(env_id="Pendulum-v1"))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array()[:, 0], plans.plan[0, 0, :, 0], atol=1e-6)


def test_picture_of_model_errors(tmp_path, strict):
    """A line per member, their mean, their disagreement and a constant guess, for rewards and for states."""
    found = seen()[3]
    figure = rgrl.plot_model_error(found, path=tmp_path / "model.pdf")
    assert (tmp_path / "model.pdf").read_bytes().startswith(b"%PDF")
    errors = rgrl.horizon_errors(found.state, found.true_state, found.mask)
    drawn = [line.get_ydata() for line in figure.axes[1].get_lines()]
    for line, values in zip(drawn, [*errors.member, errors.mean, errors.disagreement, errors.constant], strict=True):
        np.testing.assert_array_equal(line, values)


def test_heat_map_of_a_grid(tmp_path, strict):
    """Means over further axes and over equal runs, of what is finite; cells without anything stay empty."""
    values = np.arange(24.0).reshape(2, 3, 4)
    values[1, 2] = np.nan
    values[0, 0, 0] = np.inf
    grid = {"a": [1, 2], "b": jnp.array([0.1, 0.2, 0.3])}
    figure = rgrl.plot_sweep(grid, values, label="what", path=tmp_path / "sweep.png")
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.filled(-1.0), [[2.0, 5.5, 9.5], [13.5, 17.5, -1.0]])
    assert is_image(tmp_path / "sweep.png")
    axis, scale = figure.axes
    assert [axis.get_ylabel(), axis.get_xlabel(), scale.get_ylabel()] == ["a", "b", "what"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0.1", "0.2", "0.3"]
    table = {"a": [2, 1, 1, 2], "b": ["x", "x", "y", "x"]}
    shown = rgrl.plot_sweep(table, [1.0, 2.0, 3.0, 5.0]).axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.filled(-1.0), [[2.0, 3.0], [3.0, -1.0]])
    big = pictures.plot_sweep({"a": range(12), "b": range(12)}, np.zeros((12, 12)))
    assert not big.axes[0].texts


@pytest.mark.parametrize(
    ("grid", "values", "parts"),
    [
        ({}, [1.0], ["two settings, not none"]),
        ({"a": [1], "b": [1], "c": [2]}, [1.0], ["two settings, not a, b, c"]),
        ({"a": [1, 2], "b": [1]}, np.zeros((1, 2)), ["(1, 2)", "2 x 1"]),
        ({"a": [1, 2], "b": [1]}, [1.0, 2.0], ["2 values", "2 and 1"]),
    ],
)
def test_heat_map_complains(grid, values, parts):
    """In one sentence."""
    with pytest.raises(ValueError) as error:
        rgrl.plot_sweep(grid, values)
    says(error, *parts)


def test_pictures_on_the_command_line(rgrl_command, tmp_path):  # noqa: F811
    """Plans and model errors of a run, and a heat map of several."""
    config, state, *_ = seen()
    run = tmp_path / "run"
    run.mkdir()
    folder.write_config(run, config, {"seed": 0, "seeds": 1, "preset": "tuned"})
    with checkpoint.open_manager(run) as manager:
        checkpoint.save(manager, config.episodes, state)
    for kind in ("plans", "model"):
        out = tmp_path / f"{kind}.png"
        code, _, err = rgrl_command("plot", run, "--kind", kind, "--episodes", 2, "--out", out)
        assert (code, err) == (0, "") and is_image(out)
    other = tmp_path / "other"
    other.mkdir()
    folder.write_config(other, rgrl.preset("CartPole-v1", algo="ste"), {"seed": 0, "seeds": 1, "preset": "tuned"})
    code, _, err = rgrl_command("plot", other, "--kind", "plans")
    assert code == 2 and "'ste' has no model" in err
    code, _, err = rgrl_command("plot", run, "--kind", "sweep")
    assert code == 2 and "no run folders" in err
    returns = metrics(1)
    for i, (rate, width) in enumerate([(0.1, 8), (0.2, 8), (0.1, 16), (0.2, 16)]):
        one = tmp_path / "sweep" / str(i)
        one.mkdir(parents=True)
        folder.write_config(one, tiny_config(plan_lr=rate, width=width), {"seed": 0, "seeds": 1, "preset": "tuned"})
        folder.append_metrics(one, returns, 0)
    code, text, err = rgrl_command("plot", tmp_path / "sweep", "--kind", "sweep")
    assert (code, err) == (0, "") and str(tmp_path / "sweep" / "sweep.png") in text.replace("\n", "")
    assert is_image(tmp_path / "sweep" / "sweep.png")
    for words, part in ((("--episodes", 0), "episodes = 0"), (("--seed", -1), "seed = -1")):
        code, _, err = rgrl_command("plot", run, "--kind", "model", *words)
        assert code == 2 and part in err
