"""The page of settings is that of the code, and no setting of RGRL is there without a reason."""

import runpy
from pathlib import Path

import pytest

import rgrl_jax as rgrl
from rgrl_jax.algos import fields

ROOT = Path(__file__).parents[1]
PAGE = runpy.run_path(str(ROOT / "docs" / "settings.py"))
SETTINGS = {setting.path: setting for setting in fields.settings(rgrl.RGRLConfig)}


def test_the_page_is_up_to_date():
    """If this fails: ``python docs/settings.py``."""
    assert (ROOT / "docs" / "settings.md").read_text() == PAGE["page"]()


def test_every_config_is_on_it():
    """Each setting of every algorithm has a row under the type of its config, or under one that it builds on."""
    text = PAGE["page"]()
    for name in rgrl.algos.names():
        kind = rgrl.algos.base.registered(name).config_type
        above = [f"## {x.__name__}\n" for x in kind.__mro__ if f"## {x.__name__}\n" in text]
        sections = "".join(text.split(title)[1].split("\n## ")[0] for title in above)
        assert f"`{name}`" in sections
        assert all(f"| `{setting.path}` |" in sections for setting in fields.settings(kind))


@pytest.mark.parametrize("path", SETTINGS)
def test_a_setting_has_a_reason(path):
    """Else it goes, or a result is committed that shows what it does."""
    assert PAGE["reason"](SETTINGS[path])


def test_reasons_are_not_out_of_date():
    """Those that are written down are of settings that exist and have no other; results are there."""
    for table in ("ALGORITHM_1", "RESULTS"):
        for path in PAGE[table]:
            assert path in SETTINGS and not SETTINGS[path].symbol and not path.startswith("reference."), path
    for path, result in PAGE["RESULTS"].items():
        assert (ROOT / "benchmarks" / "results" / result).exists(), path
        assert not PAGE["preset_reason"](path), "a preset sets it"
