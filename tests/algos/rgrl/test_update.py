"""One update of the ensemble against NumPy in float64, with gradients worked out by hand."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_twins import random_params

from rgrl_jax import spmd
from rgrl_jax.algos.rgrl.config import LearnerConfig
from rgrl_jax.algos.rgrl.models import History, ModelSpec, make, names
from rgrl_jax.algos.rgrl.update import make_weight_optimizer, update, window_errors
from rgrl_jax.algos.rgrl.window_replay import Window
from rgrl_jax.planning import ModelOutput, ensemble

E, B, T, S, A, R, H = 3, 4, 5, 3, 2, 2, 2


class Weights(NamedTuple):
    """A linear model: reward = (present + mean history) P + action Q, state = action V."""

    p: Any  # [S, R]
    q: Any  # [A, R]
    v: Any  # [A, S]


def _apply(member: Weights, memory: jax.Array, present: jax.Array, actions: jax.Array) -> ModelOutput:
    return ModelOutput((present + memory) @ member.p + actions @ member.q, actions @ member.v)


LINEAR = SimpleNamespace(encode_history=lambda member, history: history.states.mean(axis=0), apply=_apply)


def _windows(rng: np.random.Generator, *shape: int) -> Window:
    """Random windows of which every row knows another number of steps, at least one."""
    mask = (np.arange(T) < rng.integers(1, T + 1, shape)[..., None]).astype(np.float32)

    def draw(*size: int) -> np.ndarray:
        return rng.uniform(-1, 1, (*shape, *size)).astype(np.float32)

    return Window(History(draw(H, S), draw(H, A)), draw(S), draw(T, A), draw(T, R), draw(T, S), mask)


def _params(rng: np.random.Generator) -> Weights:
    return Weights(*(rng.normal(0, 1, (E, *s)).astype(np.float32) for s in ((S, R), (A, R), (A, S))))


def _opt_state(params: Any, learner: LearnerConfig) -> Any:
    return jax.vmap(make_weight_optimizer(learner).init)(params)


UPDATE_LINEAR = jax.jit(functools.partial(update, LINEAR))  # compiled once for every optimizer


def _row(tree: Any, *index: int) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, np.float64)[index], tree)


def _loss_and_gradient(member: Weights, windows: list[Window], state_weight: float) -> tuple[float, Weights, list]:
    """Loss of a batch, its derivatives and the summed reward errors: window by window, known step by known step."""
    loss, errors = 0.0, []
    gradient = Weights(*(np.zeros_like(w) for w in member))
    for window in windows:
        seen = window.present + window.history.states.mean(axis=0)
        known = [t for t in range(T) if window.mask[t] == 1]
        total = 0.0
        for t in known:
            action = window.actions[t]
            reward_gap = seen @ member.p + action @ member.q - window.rewards[t]
            state_gap = action @ member.v - window.states[t]
            by_reward = 1 / (len(windows) * len(known) * R)
            by_state = state_weight / (len(windows) * len(known) * S)
            loss += by_reward * (reward_gap**2).sum() + by_state * (state_gap**2).sum()
            total += (reward_gap**2).sum()
            gradient.p[:] += 2 * by_reward * np.outer(seen, reward_gap)
            gradient.q[:] += 2 * by_reward * np.outer(action, reward_gap)
            gradient.v[:] += 2 * by_state * np.outer(action, state_gap)
        errors.append(total)
    return loss, gradient, errors


def _clip(gradient: Weights, limit: float) -> Weights:
    """Scales the whole gradient of one member to a norm of at most ``limit``."""
    norm = sum((g**2).sum() for g in gradient) ** 0.5
    return Weights(*(g * min(1.0, limit / norm) for g in gradient))


class Sgd:
    """w <- w - alpha g."""

    def __init__(self, rate: float):
        self.rate = rate

    def step(self, weights: Weights, gradient: Weights) -> Weights:
        """The next weights."""
        return Weights(*(w - self.rate * g for w, g in zip(weights, gradient, strict=True)))


class Adam:
    """Kingma and Ba with their default constants."""

    def __init__(self, rate: float):
        self.rate, self.t, self.mean, self.square = rate, 0, [0.0] * 3, [0.0] * 3

    def step(self, weights: Weights, gradient: Weights) -> Weights:
        """The next weights."""
        self.t += 1
        out = []
        for i, (w, g) in enumerate(zip(weights, gradient, strict=True)):
            self.mean[i] = 0.9 * self.mean[i] + 0.1 * g
            self.square[i] = 0.999 * self.square[i] + 0.001 * g**2
            mean, square = self.mean[i] / (1 - 0.9**self.t), self.square[i] / (1 - 0.999**self.t)
            out.append(w - self.rate * mean / (np.sqrt(square) + 1e-8))
        return Weights(*out)


@pytest.mark.parametrize(("name", "twin", "rate"), [("sgd", Sgd, 0.3), ("adam", Adam, 0.05)])
@pytest.mark.parametrize("clip", [0.2, 1e9])
def test_updates_equal_the_twin(name: str, twin: type, rate: float, clip: float) -> None:
    """Four updates with batches of their own per member, each by a smaller step: weights, losses, summed errors."""
    rng = np.random.default_rng(0)
    params, state_weight = _params(rng), 0.7
    learner = LearnerConfig(optimizer=name, lr=rate, clip_norm=clip, state_weight=state_weight)
    opt_state = _opt_state(params, learner)
    members, twins = [_row(params, i) for i in range(E)], [twin(rate) for _ in range(E)]
    clipped = 0
    for scale in (1.0, 0.8, 0.5, 0.1):
        windows = _windows(rng, E, B)
        params, opt_state, loss, errors = UPDATE_LINEAR(learner, params, opt_state, windows, scale)
        assert (loss.shape, errors.shape) == ((E,), (E, B))
        for i in range(E):
            batch = [_row(windows, i, j) for j in range(B)]
            value, gradient, sums = _loss_and_gradient(members[i], batch, state_weight)
            limited = _clip(gradient, clip)
            clipped += not np.allclose(limited.p, gradient.p)
            twins[i].rate = rate * scale
            members[i] = twins[i].step(members[i], limited)
            np.testing.assert_allclose(loss[i], value, rtol=1e-4)
            np.testing.assert_allclose(errors[i], sums, rtol=1e-4)
            for ours, theirs in zip(params, members[i], strict=True):
                np.testing.assert_allclose(ours[i], theirs, atol=2e-5)
    assert clipped == (4 * E if clip < 1 else 0)


def test_the_twins_gradient_is_right() -> None:
    """The hand-written derivatives themselves, against central differences."""
    rng = np.random.default_rng(1)
    member, batch = _row(_params(rng), 0), [_row(_windows(rng, 1), 0) for _ in range(2)]
    _, gradient, _ = _loss_and_gradient(member, batch, 0.7)
    for name in Weights._fields:
        nudge = np.zeros_like(getattr(member, name))
        nudge[1, 1] = 1e-6
        up, down = (
            _loss_and_gradient(member._replace(**{name: getattr(member, name) + s * nudge}), batch, 0.7)[0]
            for s in (1, -1)
        )
        assert getattr(gradient, name)[1, 1] == pytest.approx((up - down) / 2e-6, rel=1e-5)


def test_errors_of_one_window() -> None:
    """Means over known steps and entries, and the sum that priorities are made of."""
    rng = np.random.default_rng(2)
    member, window = _row(_params(rng), 0), _windows(rng)
    out = window_errors(LINEAR, Weights(*map(jnp.float32, member)), window)
    reward, _, sums = _loss_and_gradient(member, [_row(window)], 0.0)
    state = _loss_and_gradient(member, [_row(window)], 1.0)[0] - reward
    np.testing.assert_allclose(out, [reward, state, sums[0]], rtol=1e-4)


def _gru() -> tuple[Any, Any]:
    """A small network with feedback and stacked random weights."""
    model = make("gru", ModelSpec(S, A, R, width=4, squash_outputs=True, residual=False))
    members = [random_params(model, seed, np.float32) for seed in range(E)]
    return model, jax.tree.map(lambda *x: np.stack(x), *members)


@functools.cache
def _update_gru() -> Callable[[Any, Window], Any]:
    """One update of the small network by Adam with clipping, compiled once."""
    model, _ = _gru()
    learner = LearnerConfig(lr=0.01, clip_norm=0.1)
    return jax.jit(lambda p, w: update(model, learner, p, _opt_state(p, learner), w))


def test_masked_steps_do_not_count() -> None:
    """Rubbish in the targets and actions of unknown steps changes neither loss nor weights, even through feedback."""
    _, params = _gru()
    windows = _windows(np.random.default_rng(4), E, B)
    unknown = windows.mask[..., None] == 0
    assert unknown.any()
    rubbish = windows.replace(
        actions=np.where(unknown, 9.0, windows.actions),
        rewards=np.where(unknown, 99.0, windows.rewards),
        states=np.where(unknown, -99.0, windows.states),
    )
    update = _update_gru()
    jax.tree.map(np.testing.assert_array_equal, update(params, windows), update(params, rubbish))
    seen = update(params, rubbish.replace(mask=np.ones_like(windows.mask)))
    assert np.all(np.asarray(seen[2]) > 10)


def test_stacked_members_are_separate_members() -> None:
    """What happens to a member depends on its own weights and windows only, whatever else is in the stack."""
    _, params = _gru()
    windows = _windows(np.random.default_rng(6), E, B)
    together = _update_gru()(params, windows)
    for i in range(E):
        copies = _update_gru()(*jax.tree.map(lambda x, i=i: np.stack([x[i]] * E), (params, windows)))
        for whole, same in zip(jax.tree.leaves(together), jax.tree.leaves(copies), strict=True):
            for j in range(E):
                np.testing.assert_allclose(whole[i], same[j], rtol=1e-4, atol=1e-6)


def _update_linear(params: Weights, windows: Window, state_weight: float) -> tuple[Any, ...]:
    learner = LearnerConfig(optimizer="sgd", lr=0.1, clip_norm=1.0, state_weight=state_weight)
    return UPDATE_LINEAR(learner, params, _opt_state(params, learner), windows, 1.0)


def test_a_window_without_known_steps_teaches_nothing() -> None:
    """Mask 0 throughout: loss 0 and unchanged weights, not a division by zero."""
    params = _params(np.random.default_rng(5))
    windows = _windows(np.random.default_rng(5), E, B)
    blind = windows.replace(mask=np.zeros_like(windows.mask))
    after, _, loss, errors = _update_linear(params, blind, 1.0)
    jax.tree.map(np.testing.assert_array_equal, after, params)
    assert not np.any(loss) and not np.any(errors)


def test_state_weight_zero_leaves_the_state_head_alone() -> None:
    """Without the state term only the reward's share of the linear model moves."""
    params = _params(np.random.default_rng(7))
    windows = _windows(np.random.default_rng(7), E, B)
    after, *_ = _update_linear(params, windows, 0.0)
    np.testing.assert_array_equal(after.v, params.v)
    assert np.all(np.asarray(after.q) != params.q)


@pytest.mark.parametrize("kind", names())
def test_every_model_learns(kind: str) -> None:
    """All of its weights have a slope, and every slope is finite: nothing cuts a gradient off, and none is NaN."""
    model = make(kind, ModelSpec(S, A, R, width=4, heads=2, history_length=H))
    params, window = random_params(model, dtype=np.float32), _windows(np.random.default_rng(11))

    def loss(params: Any) -> jax.Array:
        errors = window_errors(model, params, window)
        return errors.reward + errors.state

    for path, slope in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert np.isfinite(slope).all() and np.any(slope), jax.tree_util.keystr(path)


def test_every_member_fits_a_toy_problem() -> None:
    """A counter that pays when the action points up: 300 updates of Adam leave a small part of the first loss."""
    rng = np.random.default_rng(8)
    actions = rng.choice([-1.0, 1.0], (32, T, 1)).astype(np.float32)
    start = rng.choice([-0.5, 0.0, 0.5], (32, 1)).astype(np.float32)
    states = start[:, None] + 0.1 * np.cumsum(actions, axis=1)
    empty = History(np.zeros((32, 0, 1), np.float32), np.zeros((32, 0, 1), np.float32))
    windows = Window(empty, start, actions, 0.8 * actions, states, np.ones((32, T), np.float32))
    model = make("gru", ModelSpec(1, 1, 1, width=16))
    params = jax.jit(lambda k: ensemble.init(k, model.init, 2))(jax.random.key(0))
    learner = LearnerConfig(lr=1e-2)
    batch = jax.tree.map(lambda x: np.stack([x, x]), windows)

    def iterate(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], jax.Array]:
        params, opt_state, loss, _ = update(model, learner, *carry, batch)
        return (params, opt_state), loss

    run = jax.jit(lambda p: jax.lax.scan(iterate, (p, _opt_state(p, learner)), length=300)[1])
    loss = np.asarray(run(params))
    assert loss.shape == (300, 2)
    assert np.all(loss[-1] < 0.02 * loss[0])


@pytest.mark.parametrize("teacher_forcing", [False, True])
def test_teacher_forcing_tells_the_true_states(teacher_forcing: bool) -> None:
    """The errors are those of what the model predicts with and without them."""
    model, params = _gru()
    member, window = jax.tree.map(lambda x: jnp.asarray(x[0]), params), _windows(np.random.default_rng(9))
    window = window.replace(mask=np.ones(T, np.float32))

    def both(member: Any, window: Window) -> tuple[ModelOutput, Any]:
        memory = model.encode_history(member, window.history)
        told = window.states if teacher_forcing else None
        predicted = model.apply(member, memory, window.present, window.actions, told)
        return predicted, window_errors(model, member, window, teacher_forcing=teacher_forcing)

    predicted, errors = jax.jit(both)(member, window)
    gap = np.asarray(predicted.reward, np.float64) - window.rewards
    state_gap = np.asarray(predicted.state, np.float64) - window.states
    wanted = [(gap**2).mean(), (state_gap**2).mean(), (gap**2).sum()]
    np.testing.assert_allclose(errors, wanted, rtol=1e-5)


def test_a_model_without_states_has_no_state_error() -> None:
    """It learns from rewards alone, whatever the weight of states is."""
    blind = SimpleNamespace(
        encode_history=LINEAR.encode_history, apply=lambda *args: LINEAR.apply(*args)._replace(state=None)
    )
    rng = np.random.default_rng(10)
    params, windows = _params(rng), _windows(rng, E, B)
    learner = LearnerConfig(optimizer="sgd", state_weight=5.0)
    after, _, loss, _ = jax.jit(functools.partial(update, blind))(
        learner, params, _opt_state(params, learner), windows
    )
    seeing = learner.replace(state_weight=0.0)
    same, _, wanted, _ = UPDATE_LINEAR(seeing, params, _opt_state(params, seeing), windows, 1.0)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), after, same)


def test_a_shared_batch_makes_the_update_of_the_whole_one() -> None:
    """Weights, loss and errors where four devices, here lanes of a ``vmap``, share the windows."""
    rng = np.random.default_rng(0)
    params, windows = jax.tree.map(jnp.asarray, (_params(rng), _windows(rng, E, B)))
    # Clipped by the norm of the mean gradient, not of the shards'.
    learner = LearnerConfig(optimizer="sgd", lr=0.3, clip_norm=0.5)

    def shared(windows: Window) -> tuple[Any, ...]:
        state = _opt_state(params, learner)
        new, state, loss, errors = update(LINEAR, learner, params, state, spmd.shard(windows, axis=1))
        return new, state, loss, spmd.all_gather(errors, B, axis=1)

    one = jax.jit(shared)(windows)
    four = jax.jit(jax.vmap(lambda _: shared(windows), axis_name=spmd.AXIS, axis_size=4))(jnp.arange(4))
    for x, y in zip(*map(jax.tree.leaves, (one, four)), strict=True):
        np.testing.assert_allclose(np.broadcast_to(x, y.shape), y, rtol=1e-5, atol=1e-6)
    assert np.abs(one[0].p - params.p).max() > 0.01


@pytest.mark.parametrize(("reward", "state", "said"), [((4,), (4, 3), "rewards"), ((4, 1), (3,), "states")])
def test_wrong_shapes_of_a_models_predictions_are_refused(
    reward: tuple[int, ...], state: tuple[int, ...], said: str
) -> None:
    """They would broadcast against the window: rewards ``[T]`` instead of ``[T, 1]``, one state for all steps."""
    apply = lambda *_, **__: ModelOutput(jnp.zeros(reward), jnp.zeros(state))  # noqa: E731
    model: Any = SimpleNamespace(encode_history=lambda *_: (), apply=apply)
    history = History(jnp.zeros((0, 3)), jnp.zeros((0, 2)))
    window = Window(history, jnp.zeros(3), jnp.zeros((4, 2)), jnp.zeros((4, 1)), jnp.zeros((4, 3)), jnp.ones(4))
    with pytest.raises(AssertionError, match=f"must predict {said}"):
        window_errors(model, (), window)
