"""Writes settings.md: every setting of every algorithm, and for RGRL the reason why each is there.

    python docs/settings.py

A setting of RGRL stays if Algorithm 1 of the paper or the authors' code has it, if a preset sets it, or if a
committed result shows what it does. The test of the documentation fails for one without a reason.
"""

from __future__ import annotations

from pathlib import Path

from rgrl_jax import algos
from rgrl_jax.algos import base, fields
from rgrl_jax.algos.rgrl import RGRLConfig

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("settings.md")

ALGORITHM_1 = {
    "env_id": "line 5",
    "episodes": "line 3",
    "model.kind": "line 1",
    "planner.noise_decay": "line 8, annealing and reset",
    "planner.noise_cycle": "line 8, annealing and reset",
    "planner.replan_every": "line 14",
    "learner.state_weight": "line 24, footnote 5",
    "replay.max_windows": "line 27",
}
"""Settings of the algorithm that have no symbol in the paper."""

RESULTS = {
    "num_envs": "throughput/planning.csv",
    "planner.kind": "learning/CartPole-v1/cem.json",
    "planner.samples": "learning/CartPole-v1/shooting.json",
    "planner.temperature": "learning/CartPole-v1/mppi.json",
}
"""Settings that only a committed result needs: files below benchmarks/results."""

HEAD = """# Settings

Every setting of every algorithm, written by `python docs/settings.py`. Change one by its dotted name:
`rgrl.preset("CartPole-v1", **{"planner.lr": 0.1})` or `planner={"lr": 0.1}` in Python, `--planner.lr 0.1` on the
command line, `config.replace_at("planner.lr", 0.1)` afterwards. Real numbers can be mapped by `vmap`, see
[Seeds](seeds.md).
"""


def preset_reason(path: str) -> str:
    """Names the presets of RGRL that set a field, if any."""
    found = [
        f"`{name}` {env_id}"
        for name, table in base.registered("rgrl").presets.items()
        for env_id, settings in table.items()
        if path in fields.flatten(settings)
    ]
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    return f"preset {', '.join(found[:2])}{more}" if found else ""


def reason(setting: fields.Setting) -> str:
    """Says why a field of RGRL is there; empty if nothing does."""
    path = setting.path
    if path.startswith("reference."):
        return "the authors' code"
    if setting.symbol:
        return f"Algorithm 1: {setting.symbol}"
    if path in ALGORITHM_1:
        return f"Algorithm 1: {ALGORITHM_1[path]}"
    if path in RESULTS:
        return f"result [{RESULTS[path]}](../benchmarks/results/{RESULTS[path]})"
    return preset_reason(path)


def table(config_type: type[base.Config], known: set[str]) -> list[str]:
    """Makes a table of the fields of a config type that are not known yet."""
    why = config_type is RGRLConfig
    head = ["field", "symbol", "default", "allowed", "meaning", *["why it is there"] * why]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for setting in fields.settings(config_type):
        if setting.path not in known:
            cells = [f"`{setting.path}`", setting.symbol, f"`{setting.default!r}`", setting.rule.text(), setting.help]
            cells += [reason(setting)] * why
            lines.append(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def page() -> str:
    """Makes the page."""
    kinds: dict[type[base.Config], list[str]] = {}
    for name in algos.names():
        kinds.setdefault(base.registered(name).config_type, []).append(name)
    lines = [HEAD]
    for kind, names in kinds.items():
        parent = next((x for x in kind.__mro__[1:] if x in kinds), None)
        inherited = {setting.path for setting in fields.settings(parent)} if parent else set()
        beside = f", beside those of `{parent.__name__}`" if parent else ""
        lines += [f"## {kind.__name__}", "", f"Of {', '.join(f'`{name}`' for name in names)}{beside}.", ""]
        lines += [*table(kind, inherited), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
