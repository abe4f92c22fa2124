"""What the README and the notebooks show runs as it stands."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import rgrl_jax as rgrl
from rgrl_jax.algos.config import explain

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def python_block(heading):
    """The first Python block under a heading."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


def test_own_environment_of_the_readme_learns():
    """The example is under 40 lines and its agent gets better than the random warm-up."""
    code = python_block("Your own environment")
    assert len(code.splitlines()) < 40
    scope = {}
    exec(compile(code, "README.md", "exec"), scope)
    returns = scope["metrics"].episode_return
    assert returns[-1] > returns[:5].mean()


def test_deduction_of_the_readme_finds_the_answer():
    """The example is at most 15 lines; all members answer 0.7, and the fixed entries are where they were."""
    code = python_block("Your own model")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    scope = {}
    exec(compile(code, "README.md", "exec"), scope)
    out = scope["out"]
    assert float(out.score.max()) < 0.01
    assert [float(x) for x in out.x[6:]] == pytest.approx([0.1, 0.1])
    assert float(out.movement) > 0.1


def settings_table():
    """The table of settings, from the config itself."""
    rows = ["| field | paper | default | allowed | meaning |", "| --- | --- | --- | --- | --- |"]
    for x in explain(rgrl.RGRLConfig):
        rows.append(f"| `{x.name}` | {x.symbol} | {x.default} | {x.allowed} | {x.meaning.rstrip('.')} |")
    return "\n".join(rows)


def test_readme_lists_every_setting():
    """With symbol, default, range and meaning as the config has them."""
    assert settings_table() in README


def test_names_in_the_readme_exist():
    """Every ``rgrl.name`` that the README mentions is public."""
    names = set(re.findall(r"\brgrl\.([A-Za-z_]+)", README))
    assert names and names <= set(rgrl.__all__), names - set(rgrl.__all__)


def test_every_public_name_resolves():
    """Everything in ``__all__`` is there, once, in order."""
    assert all(hasattr(rgrl, name) for name in rgrl.__all__)
    assert sorted(set(rgrl.__all__)) == sorted(rgrl.__all__)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    """The notebook runs from top to bottom in its small size."""
    monkeypatch.setenv("RGRL_SMALL", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
