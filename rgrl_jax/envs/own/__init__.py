"""Small environments that gymnax lacks, on gymnax's own base class.

Each but the tasks of one step follows an original in Gymnasium or MiniGrid step by step; the tests play both side by
side. They need no more than gymnax itself, and ``spec_from_gymnax(..., env=...)`` brings them into the normal form.
"""

from rgrl_jax.envs.own.blackjack import Blackjack
from rgrl_jax.envs.own.doorkey import DoorKey, DoorKeyFull
from rgrl_jax.envs.own.mountain_car import GymnasiumMountainCarContinuous
from rgrl_jax.envs.own.one_step import Multiplexer, ScalarRegression

__all__ = [
    "Blackjack",
    "DoorKey",
    "DoorKeyFull",
    "GymnasiumMountainCarContinuous",
    "Multiplexer",
    "ScalarRegression",
]
