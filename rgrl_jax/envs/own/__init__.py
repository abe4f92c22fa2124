"""Small environments that gymnax lacks, on gymnax's base class.

All but the tasks of one step reproduce an original in Gymnasium or MiniGrid, which the tests compare step by step.
They need no package but gymnax; ``spec_from_gymnax(..., env=...)`` makes their specs.
"""

from rgrl_jax.envs.own.blackjack import Blackjack
from rgrl_jax.envs.own.doorkey import DoorKey, DoorKeyFull
from rgrl_jax.envs.own.mountain_car import GymnasiumMountainCarContinuous
from rgrl_jax.envs.own.one_step import Multiplexer, ScalarRegression

__all__ = ["Blackjack", "DoorKey", "DoorKeyFull", "GymnasiumMountainCarContinuous", "Multiplexer", "ScalarRegression"]
