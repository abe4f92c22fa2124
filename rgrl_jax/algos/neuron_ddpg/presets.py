"""Settings of neuron DDPG by preset and environment.

``tuned`` is what works best so far: outputs that learn alone, above a wide layer that stays as it was drawn.
``paper`` is the draft as it is written: linear critics of all neurons, no biases, no exploration, no mask at ends. As
the draft gives no numbers, learning rates and sizes are ours.
"""

from __future__ import annotations

from rgrl_jax.algos.ddpg.presets import ENVIRONMENTS, Settings

_OUTPUTS: Settings = {"loss": "half", "trained_layers": "outputs", "hidden": (256,), "neuron_hidden": (64, 64)}
_BASE = ENVIRONMENTS["*"] | _OUTPUTS
_DRAFT: Settings = (
    {"trained_layers": "all", "hidden": (64, 64), "activation": "tanh", "neuron_critic": "linear"}
    | {"biases": False, "noise": "none", "bootstrap": "always"}
    | {"voltage_source": "stored", "output_voltage": "own"}
)

PRESETS: dict[str, dict[str, Settings]] = {
    "tuned": ENVIRONMENTS | {"*": _BASE},
    "paper": {"Pendulum-v1": _BASE | ENVIRONMENTS["Pendulum-v1"] | _DRAFT},
}
