import rgrl_jax.envs, rgrl_jax.models
from rgrl_jax.algos import rgrl
from rgrl_jax.algos.rgrl_config import RGRLConfig
from rgrl_jax.training import train, evaluate, init
