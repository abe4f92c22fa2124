"""Tasks of one step: one action answers an observation and ends the episode."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from gymnax.environments.environment import EnvParams

from rgrl_jax.envs.gymnax import Transition
from rgrl_jax.types import Array, Key


@struct.dataclass
class EnvState(environment.EnvState):
    """The observation, and the right answer ``target ()``."""

    observation: Array
    target: Array


class OneStep(environment.Environment[EnvState, EnvParams]):
    """Base class of tasks of one step."""

    default_params = EnvParams(max_steps_in_episode=1)

    def sample_task(self, key: Key) -> tuple[Array, Array]:
        """Draws an observation ``[n]`` and its right answer ``()``."""
        raise NotImplementedError

    def reward(self, action: Array, target: Array) -> Array:
        """Returns the reward ``()`` of an answer."""
        raise NotImplementedError

    def reset_env(self, key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        """Draws a task and returns its observation ``[n]`` first."""
        observation, target = self.sample_task(key)
        return observation, EnvState(time=jnp.int32(0), observation=observation, target=target)

    def step_env(self, key: Key, state: EnvState, action: Array, params: EnvParams) -> Transition:
        """Rewards the answer and ends the episode; the observation ``[n]`` stays."""
        reward = self.reward(jnp.asarray(action), state.target).astype(jnp.float32)
        return state.observation, state.replace(time=state.time + 1), reward, jnp.bool_(True), {}

    def is_terminated(self, state: EnvState, params: EnvParams) -> Array:
        """Tells whether the action was taken."""
        return state.time > 0


class Multiplexer(OneStep):
    """Task to read the one of ``2 ** k`` data bits that the ``k = address_bits`` address bits name.

    Observation ``[k + 2 ** k]`` float32 of -1 and 1: first the address, most significant bit first, then the data;
    all bits are drawn independently and evenly. Action 1 states that the bit is on, action 0 that it is off. Reward:
    1 if that is right, -1 otherwise; guessing earns 0 on average. Source: Barto (1985), with the coding of the
    reference code of weight maximization (k = 4) and MAP propagation (k = 5).
    """

    num_actions = 2

    def __init__(self, address_bits: int):
        self.address_bits = address_bits

    def sample_task(self, key: Key) -> tuple[Array, Array]:
        """Draws bits ``[k + 2 ** k]`` as -1 and 1; the answer is the addressed one as 0 or 1."""
        k = self.address_bits
        bits = jax.random.bernoulli(key, 0.5, (k + 2**k,)).astype(jnp.int32)
        address = (bits[:k] * 2 ** jnp.arange(k - 1, -1, -1)).sum()
        return 2.0 * bits - 1.0, bits[k + address]

    def reward(self, action: Array, target: Array) -> Array:
        """Returns 1 for the addressed bit and -1 for the other."""
        return jnp.where(action == target, 1.0, -1.0)

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """Returns the space of off and on."""
        return spaces.Discrete(2)

    def observation_space(self, params: EnvParams) -> spaces.Box:
        """Returns the space of observations ``[k + 2 ** k]`` float32."""
        return spaces.Box(-1.0, 1.0, (self.address_bits + 2**self.address_bits,), jnp.float32)


class ScalarRegression(OneStep):
    """Task to predict the output of a fixed network of two layers.

    Observation ``s [8]`` of independent standard normal numbers; the right answer is ``relu(relu(s A) B)`` with
    ``A [8, 8]`` and ``B [8, 1]`` drawn once from the standard normal distribution; reward: minus the squared error.
    Answers are clipped to -100..100. Source: the reference code of MAP propagation, with other ``A`` and ``B``.
    """

    num_actions = 0
    SIZE, BOUND = 8, 100.0

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.first = rng.standard_normal((self.SIZE, self.SIZE)).astype(np.float32)
        self.second = rng.standard_normal(self.SIZE).astype(np.float32)

    def sample_task(self, key: Key) -> tuple[Array, Array]:
        """Draws an input ``[8]`` of the fixed network; the answer is its output."""
        observation = jax.random.normal(key, (self.SIZE,))
        return observation, jax.nn.relu(jax.nn.relu(observation @ self.first) @ self.second)

    def reward(self, action: Array, target: Array) -> Array:
        """Returns minus the squared error."""
        return -((jnp.clip(action, -self.BOUND, self.BOUND) - target) ** 2)

    def action_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Returns the space of answers."""
        return spaces.Box(-self.BOUND, self.BOUND, (), jnp.float32)

    def observation_space(self, params: EnvParams) -> spaces.Box:
        """Returns the space of observations ``[8]`` float32."""
        return spaces.Box(-jnp.inf, jnp.inf, (self.SIZE,), jnp.float32)
