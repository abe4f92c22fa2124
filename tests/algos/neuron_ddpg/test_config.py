"""Settings of neuron DDPG that do not fit together, and the draft's."""

import pytest
from algos.ddpg.twins import small
from tiny import says

import rgrl_jax as rgrl

BAD = [
    ({"hidden": ()}, ["hidden = ()"]),
    ({"neuron_critic": "layer", "topology": "recurrent"}, ["neuron_critic = 'layer'", "feedforward"]),
    ({"voltage_noise": 0.1}, ["voltage_noise = 0.1", "voltage_source = 'stored'"]),
    ({"neuron_target": "whole"}, ["voltage_noise = 0.0", "above 0", "neuron_target = 'whole'"]),
    ({"replay_capacity": 5}, ["replay_capacity = 5", "at least 6"]),  # as with DDPG
]


@pytest.mark.parametrize("overrides, parts", BAD)
def test_bad_settings_meet_one_sentence(overrides, parts):
    with pytest.raises(ValueError) as error:
        small("neuron_ddpg").replace(**overrides).validate()
    says(error, *parts)


def test_a_critic_of_the_whole_action_is_there_if_it_is_needed():
    for changes in ({"train_both_critics": True}, {"actor_gradient": "whole"}, {"neuron_target": "whole"}):
        assert small("neuron_ddpg").replace(**changes).has_whole_critic
    assert not small("neuron_ddpg").has_whole_critic


def test_the_drafts_settings():
    config = rgrl.preset("Pendulum-v1", "paper", algo="neuron_ddpg")
    assert (config.neuron_critic, config.biases, config.noise, config.bootstrap) == (
        "linear",
        False,
        "none",
        "always",
    )
    assert (config.trained_layers, config.loss, config.output_voltage) == ("all", "half", "own")
