"""rgrl_jax: agents that deduce their actions by gradient descent on the inputs of an ensemble.

import jax, rgrl_jax as rgrl

config = rgrl.preset("CartPole-v1")
state, metrics = jax.jit(rgrl.train)(jax.random.key(0), config)
returns = rgrl.evaluate(jax.random.key(1), state, config, num_episodes=100)
"""

__version__ = "0.1.0"

from rgrl_jax.algos.base import Algorithm, Cost, Halves, get_algorithm, list_algorithms, register_algorithm
from rgrl_jax.algos.ddpg import DDPGConfig
from rgrl_jax.algos.policy_generators import PolicyGeneratorConfig
from rgrl_jax.algos.rgrl import (
    Foresight,
    HorizonErrors,
    RGRLConfig,
    TrainState,
    foresee,
    horizon_errors,
    retrace_plans,
)
from rgrl_jax.algos.unit_teams import UnitTeamConfig
from rgrl_jax.encoding import Codec, make_codec
from rgrl_jax.envs import (
    EnvSpec,
    HostEnv,
    Signals,
    host_spec,
    list_envs,
    make_spec,
    register_env,
    spec_from_brax,
    spec_from_gymnasium,
    spec_from_gymnax,
)
from rgrl_jax.experiment.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    Progress,
    StopAtGoal,
    StopOnSignal,
    TensorBoard,
)
from rgrl_jax.experiment.checkpoint import load_run
from rgrl_jax.experiment.identity import IdentityCurve, identity_correlation, identity_curve
from rgrl_jax.experiment.pictures import plot_model_error, plot_plans, plot_sweep
from rgrl_jax.experiment.plotting import draw_band, plot_identity, plot_learning
from rgrl_jax.experiment.programs import evaluate, play
from rgrl_jax.experiment.rendering import render_episode
from rgrl_jax.experiment.runner import run
from rgrl_jax.experiment.stats import bootstrap_interval, iqm
from rgrl_jax.models import Model, list_models, make_model, register_model
from rgrl_jax.planning import (
    deduce,
    make_cem,
    make_mppi,
    make_plan_optimizer,
    plan,
    plan_error,
    sample_plan,
    shooting,
)
from rgrl_jax.presets import list_presets, preset
from rgrl_jax.rollout import Acting, View, rollout
from rgrl_jax.training import evaluation_key, init, train
from rgrl_jax.types import (
    Box,
    Deduction,
    Discrete,
    Episode,
    History,
    Metrics,
    ModelOutput,
    PlanOutput,
    Window,
)

__all__ = [
    "Acting",
    "Algorithm",
    "Box",
    "CSVLog",
    "Callback",
    "Checkpoint",
    "Codec",
    "Cost",
    "DDPGConfig",
    "Deduction",
    "Discrete",
    "EnvSpec",
    "Episode",
    "Foresight",
    "Halves",
    "History",
    "HorizonErrors",
    "HostEnv",
    "IdentityCurve",
    "Metrics",
    "Model",
    "ModelOutput",
    "PlanOutput",
    "PolicyGeneratorConfig",
    "Progress",
    "RGRLConfig",
    "Signals",
    "StopAtGoal",
    "StopOnSignal",
    "TensorBoard",
    "TrainState",
    "UnitTeamConfig",
    "View",
    "Window",
    "bootstrap_interval",
    "deduce",
    "draw_band",
    "evaluate",
    "evaluation_key",
    "foresee",
    "get_algorithm",
    "horizon_errors",
    "host_spec",
    "identity_correlation",
    "identity_curve",
    "init",
    "iqm",
    "list_algorithms",
    "list_envs",
    "list_models",
    "list_presets",
    "load_run",
    "make_cem",
    "make_codec",
    "make_model",
    "make_mppi",
    "make_plan_optimizer",
    "make_spec",
    "plan",
    "plan_error",
    "play",
    "plot_identity",
    "plot_learning",
    "plot_model_error",
    "plot_plans",
    "plot_sweep",
    "preset",
    "register_algorithm",
    "register_env",
    "register_model",
    "render_episode",
    "retrace_plans",
    "rollout",
    "run",
    "sample_plan",
    "shooting",
    "spec_from_brax",
    "spec_from_gymnasium",
    "spec_from_gymnax",
    "train",
]
