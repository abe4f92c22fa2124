"""What the README, the guides and the notebooks show runs as it stands, and their links lead somewhere."""

import ast
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import rgrl_jax as rgrl
from rgrl_jax.algos import base
from rgrl_jax.algos.config import explain
from rgrl_jax.envs import registry
from rgrl_jax.models import base as models
from rgrl_jax.presets import PRESETS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.rst"))


def python_blocks(text):
    """All Python blocks."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def python_block(heading):
    """The first Python block under a heading."""
    return python_blocks(README.split(f"## {heading}\n")[1].split("\n## ")[0])[0]


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


@pytest.mark.parametrize("path", [p for p in GUIDES if python_blocks(p.read_text())], ids=lambda path: path.stem)
def test_code_of_a_guide_runs(path, monkeypatch):
    """All blocks of a guide, one after the other; what they register is forgotten afterwards."""
    for module, name in ((registry, "_ENVS"), (models, "_MODELS"), (base, "_ALGORITHMS")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    scope = {"__name__": path.stem}
    for code in python_blocks(path.read_text()):
        exec(compile(code, path.name, "exec"), scope)


def cells(page, heading):
    """The table under a heading of a guide, its head first, as lists of cells; backticks are dropped."""
    section = (ROOT / "docs" / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").replace("`", "") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")] for line in lines if "---" not in line]


def value(text):
    """A value as a guide writes it; words stand for themselves."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


def test_guide_lists_the_settings_of_the_paper():
    """Its tables are the ``paper`` presets of RGRL, every field for every environment."""
    common = {
        field: value(text) for _, field, text in cells("reference_settings.md", "Common to all environments")[1:]
    }
    names, *rows = cells("reference_settings.md", "By environment")
    assert set(names[1:]) == set(PRESETS["paper"])
    for i, env_id in enumerate(names[1:], start=1):
        told = common | {row[0]: value(row[i]) for row in rows if row[i] != "default"}
        assert rgrl.RGRLConfig(env_id=env_id, **told) == rgrl.preset(env_id, "paper")


def test_concepts_name_every_symbol():
    """Each field that has a symbol of the paper stands beside it."""
    rows = cells("concepts.md", "Symbols")
    for x in explain(rgrl.RGRLConfig):
        beside = [row[0] for row in rows if re.search(rf"\b{x.name}\b", row[2])]
        assert not x.symbol or any(x.symbol in (text, *text.split(", ")) for text in beside), x


def test_reference_lists_every_public_name():
    """Once each, and nothing else without its full path."""
    found = re.findall(r"^\.\. auto\w+:: (\S+)$", "\n".join(p.read_text() for p in REFERENCE), re.MULTILINE)
    assert sorted(name for name in found if "." not in name) == sorted(rgrl.__all__)
    listed = re.search(r"```{toctree}\n(.*?)```", (ROOT / "docs/reference/index.md").read_text(), re.DOTALL)
    assert sorted(listed.group(1).split()) == [path.stem for path in REFERENCE]


def test_citation_is_of_this_version():
    """CITATION.cff and the package agree."""
    assert f"\nversion: {rgrl.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def anchors(path):
    """What the headings of a page are called in a link."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    """Every link within the repository is to a file that is there, and to one of its headings."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = path.parent / name if name else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


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
