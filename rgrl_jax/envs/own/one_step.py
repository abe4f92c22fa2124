"""Tasks of one step: an input is shown, one action answers it, and the episode is over."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from rgrl_jax.types import Array, Key


@struct.dataclass
class EnvState(environment.EnvState):
    """The input ``shown``, and the answer that would be right ``target ()``."""

    shown: Array
    target: Array


@struct.dataclass
class EnvParams(environment.EnvParams):
    """The step limit, which no episode outlives."""

    max_steps_in_episode: int = 1


class OneStep(environment.Environment[EnvState, EnvParams]):
    """What both tasks share; they say what is shown and what an answer is worth."""

    def ask(self, key: Key) -> tuple[Array, Array]:
        """Draws an input and the right answer to it."""
        raise NotImplementedError

    def pay(self, action: Array, target: Array) -> Array:
        """What an answer is worth, ``()``."""
        raise NotImplementedError

    @property
    def default_params(self) -> EnvParams:
        """The step limit."""
        return EnvParams()

    def reset_env(self, key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        """Draws an input."""
        shown, target = self.ask(key)
        return shown, EnvState(time=jnp.int32(0), shown=shown, target=target)

    def step_env(
        self, key: Key, state: EnvState, action: Array, params: EnvParams
    ) -> tuple[Array, EnvState, Array, Array, dict[str, Any]]:
        """Pays for the answer and goes on showing what was shown."""
        reward = self.pay(jnp.asarray(action), state.target)
        state = state.replace(time=state.time + 1)
        return state.shown, state, reward.astype(jnp.float32), jnp.bool_(True), {}

    def is_terminated(self, state: EnvState, params: EnvParams) -> Array:
        """After the first action."""
        return state.time > 0


class Multiplexer(OneStep):
    """Read out one of ``2 ** address_bits`` data bits, the one that the address bits name.

    Observation ``[k + 2 ** k]`` float32 of -1 and 1: first the address, most significant bit first, then the data;
    all bits are drawn independently and evenly. Action 1 says that the bit is on, action 0 that it is off. Reward: 1
    if that is right, -1 otherwise; guessing earns 0 on average. Source: Barto (1985), with the coding of the
    reference code of weight maximisation (k = 4) and MAP propagation (k = 5).

    Attributes:
      address_bits: ``k``.
    """

    def __init__(self, address_bits: int):
        self.address_bits = address_bits

    @property
    def name(self) -> str:
        """With the number of address bits."""
        return f"Multiplexer-{self.address_bits}"

    @property
    def num_actions(self) -> int:
        """Off and on."""
        return 2

    def ask(self, key: Key) -> tuple[Array, Array]:
        """Bits as -1 and 1, and the addressed one as 0 or 1."""
        k = self.address_bits
        bits = jax.random.bernoulli(key, 0.5, (k + 2**k,)).astype(jnp.int32)
        address = (bits[:k] * 2 ** jnp.arange(k - 1, -1, -1)).sum()
        return 2.0 * bits - 1.0, bits[k + address]

    def pay(self, action: Array, target: Array) -> Array:
        """1 for the addressed bit, -1 for the other."""
        return jnp.where(action == target, 1.0, -1.0)

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """Off and on."""
        return spaces.Discrete(2)

    def observation_space(self, params: EnvParams) -> spaces.Box:
        """``[k + 2 ** k]`` float32."""
        return spaces.Box(-1.0, 1.0, (self.address_bits + 2**self.address_bits,), jnp.float32)


class ScalarRegression(OneStep):
    """Say the number that a fixed network of two layers makes of an input.

    Observation ``s [8]`` of independent standard normal numbers; the right answer is ``relu(relu(s A) B)`` with
    ``A [8, 8]`` and ``B [8, 1]`` drawn once from the standard normal law; reward: minus the squared error. The task
    of the reference code of MAP propagation, whose ``A`` and ``B`` were other draws. Answers beyond -100..100 count
    as these.
    """

    SIZE = 8
    BOUND = 100.0

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.first = draw.standard_normal((self.SIZE, self.SIZE)).astype(np.float32)
        self.second = draw.standard_normal(self.SIZE).astype(np.float32)

    @property
    def name(self) -> str:
        """As it is registered."""
        return "ScalarRegression"

    def ask(self, key: Key) -> tuple[Array, Array]:
        """An input, and what the fixed network makes of it."""
        shown = jax.random.normal(key, (self.SIZE,))
        return shown, jax.nn.relu(jax.nn.relu(shown @ self.first) @ self.second)

    def pay(self, action: Array, target: Array) -> Array:
        """Minus the squared error."""
        return -((jnp.clip(action, -self.BOUND, self.BOUND) - target) ** 2)

    def action_space(self, params: EnvParams | None = None) -> spaces.Box:
        """The answer."""
        return spaces.Box(-self.BOUND, self.BOUND, (), jnp.float32)

    def observation_space(self, params: EnvParams) -> spaces.Box:
        """``[8]`` float32."""
        return spaces.Box(-jnp.inf, jnp.inf, (self.SIZE,), jnp.float32)
