"""Settings of an actor whose neurons have critics of their own."""

from __future__ import annotations

import numpy as np

from rgrl_jax.algos import fields
from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.fields import choice, flag, integer, integers, number


class NeuronDDPGConfig(DDPGConfig):
    """Settings of one run beside those of DDPG. The voltage of a neuron is its output."""

    topology: str = choice(
        "feedforward", "recurrent", help="Layers that feed each other, or one pool of all neurons."
    )
    inner_steps: int = integer(3, "Steps of a recurrent pool from rest to action.", low=1, symbol="ℓ")
    biases: bool = flag(True, "Biases in the actor.")
    trained_layers: str = choice(
        "all",
        "outputs",
        help="Neurons with critics, which alone learn: all, or those of the last layer; of a pool, all.",
    )
    neuron_critic: str = choice(
        "mlp",
        "linear",
        "bilinear",
        "layer",
        help="Critic of a neuron's voltage a after the voltages v that it reads: a network of its own (mlp), "
        "p v + q a as in the draft (linear), p v + a (q + w v) + k a^2 + v C v (bilinear), or one network for all "
        "voltages of a layer (layer).",
    )
    neuron_hidden: tuple[int, ...] = integers((16, 16), "Tanh units of each layer of a neuron's critic.", low=1)
    critic_input: str = choice(
        "voltages", "observation", help="Input of a neuron's critic: v, or also the observation, which is not local."
    )
    neuron_target: str = choice(
        "own",
        "whole",
        help="Target of critics of neurons: the reward and their own next value (own); or, with noise on the "
        "voltages of one layer at replayed observations, the change of the whole-action critic's value in standard "
        "deviations of the batch (whole).",
    )
    actor_gradient: str = choice(
        "neurons",
        "whole",
        help="Values that the actor climbs: every neuron its own critic's, or all layers together the whole-action "
        "critic's as in DDPG, beside which critics of neurons only learn.",
    )
    train_both_critics: bool = flag(False, "Train a whole-action critic too, from which nothing learns.")
    discounted: bool = flag(True, "Discount in critics of neurons; the draft's first experiment does not.")
    loss: str = choice("mean", "half", help="Loss of critics: the mean squared error, or half of it as in the draft.")
    neuron_lr: float = number(1e-3, "Learning rate of the critics of neurons.")
    voltage_source: str = choice(
        "recomputed", "stored", help="Voltages to learn from: today's at stored observations, or those that occurred."
    )
    voltage_noise: float = number(
        0.0, "Standard deviation of the noise on hidden voltages that are stored, or tried if neuron_target is whole."
    )
    output_voltage: str = choice(
        "executed",
        "own",
        help="Output voltages to learn from: executed actions, noise included, or the neurons' own.",
    )

    @property
    def has_whole_critic(self) -> bool:
        """Says whether there is a critic of the whole action."""
        return self.train_both_critics or "whole" in (self.neuron_target, self.actor_gradient)

    def validate(self) -> None:
        """Checks every field and how they fit together, before anything compiles.

        Raises:
          ValueError: one sentence with the field, its value and what is allowed.
        """
        super().validate()
        if not self.hidden and self.actor_gradient == "neurons":
            raise ValueError("hidden = () must have an entry: without hidden units nothing is decentralised")
        if self.neuron_critic == "layer" and self.topology == "recurrent":
            raise ValueError("neuron_critic = 'layer' needs topology = 'feedforward': a pool has no layers")
        whole, noise = self.neuron_target == "whole", self.voltage_noise
        if fields.is_traced(noise):
            return
        if np.any(noise) and not (whole or self.voltage_source == "stored"):
            raise ValueError(
                f"voltage_noise = {noise} needs voltage_source = 'stored' or neuron_target = 'whole', or nothing "
                "learns from it"
            )
        if whole and not np.all(noise):
            raise ValueError(f"voltage_noise = {noise} must be above 0 with neuron_target = 'whole', which needs it")
