"""Configs by environment and preset."""

from __future__ import annotations

from typing import Any

from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Config, registered
from rgrl_jax.envs.registry import check_env


def preset(env_id: str, name: str = "tuned", *, algo: str = "rgrl", **overrides: Any) -> Any:
    """Makes the config of an environment.

    Args:
      env_id: a registered environment, or ``gymnasium:ID`` and the like. One without a ``tuned`` preset, your own for
        instance, gets the base settings of the algorithm.
      name: ``"tuned"``, ``"paper"`` or another that `list_presets` knows.
      algo: a registered algorithm.
      **overrides: fields to change; those of groups by dotted names, ``**{"planner.lr": 0.1}``, or nested,
        ``planner={"lr": 0.1}``.

    Returns:
      A validated config, of the type that the algorithm is registered with.

    Raises:
      ValueError: no such environment, algorithm, preset or field, or a value out of range.
    """
    config, overrides = defaults(env_id, name, algo), fields.flatten(overrides)
    fields.check_names(type(config), overrides)
    for path, value in overrides.items():
        config = fields.replace_at(config, path, value)
    config.validate()
    return config


def defaults(env_id: str, name: str = "tuned", algo: str = "rgrl") -> Config:
    """Makes the config of `preset` without overrides, not yet validated: it may be of use only with some."""
    check_env(env_id)
    entry = registered(algo)
    if name not in entry.presets:
        raise ValueError(f"preset = {name!r} does not exist; nearest: {fields.nearest(name, entry.presets)}")
    table = entry.presets[name]
    if name != "tuned" and env_id not in table:
        own = [env for env in table if env != "*"]
        having = f"those that have: {', '.join(own)}" if own else f"no environment has, with {algo}"
        raise ValueError(f"{env_id} has no {name!r} preset; {having}")
    config = entry.config_type(env_id=env_id)
    for path, value in (fields.flatten(table.get("*", {})) | fields.flatten(table.get(env_id, {}))).items():
        config = fields.replace_at(config, path, value)
    return config


def list_presets(algo: str = "rgrl") -> dict[str, list[str]]:
    """Lists preset names and the environments that have each."""
    return {name: [env for env in table if env != "*"] for name, table in registered(algo).presets.items()}
