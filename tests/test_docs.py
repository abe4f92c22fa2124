"""Pages: code of README, docs and notebooks runs as it stands, links lead somewhere, tables are those of the code."""

import ast
import importlib
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
import tiny
from nbclient import NotebookClient

import rgrl_jax as rgrl
from rgrl_jax import algos, analysis, callbacks, envs, models, planning, plots
from rgrl_jax.algos import fields
from rgrl_jax.algos.rgrl.presets import PRESETS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.rst"))
MODULES = {module.__name__: module for module in (algos, analysis, callbacks, envs, models, planning, plots)}


def python_blocks(text):
    """All Python blocks."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def execute(code, name, scope=None):
    """Runs a block of a page; returns its names."""
    scope = {} if scope is None else scope
    exec(compile(code, name, "exec"), scope)
    return scope


@pytest.fixture
def registries():
    """Forgets what a page registers."""
    before = {kind: set(kind.names()) for kind in (envs, models, algos)}
    yield
    for kind, known in before.items():
        for name in set(kind.names()) - known:
            kind.unregister(name)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_the_agent_of_the_readme_plays_gymnasium(tmp_path, monkeypatch):
    """The block drives Gymnasium's own CartPole with the agent of a run folder."""
    code = next(code for code in python_blocks(README) if "load_agent" in code)
    assert len([line for line in code.splitlines() if line.strip()]) <= 8
    (tmp_path / "runs").mkdir()
    shutil.copytree(tiny.logged()[0], tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    scope = execute(code, "README.md")
    assert scope["done"] and scope["obs"].shape == (4,)


def test_the_python_of_the_readme_runs():
    """In small: the first block, with tiny settings in the place of the preset's."""
    code = python_blocks(README)[0].replace("episodes=16", f"**{tiny.TINY | {'episodes': 2}!r}")
    scope = execute(code, "README.md")
    assert scope["metrics"].episode_return.shape == (8, 2)
    _, metrics = scope["sweep"](scope["keys"][0], scope["grid"])
    assert metrics.episode_return.shape == (2, 2)


def test_deduction_finds_the_answer():
    """The example is at most 15 lines; all members answer 0.7, and the fixed entries are where they were."""
    code = python_blocks((ROOT / "docs" / "planning.md").read_text())[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    out = execute(code, "planning.md")["out"]
    assert float(out.score.max()) < 0.01
    assert [float(x) for x in out.input[6:]] == pytest.approx([0.1, 0.1])
    assert float(out.movement) > 0.1


def test_an_algorithm_of_ones_own_is_short():
    """At most 60 lines of Python from imports to registration."""
    code = python_blocks((ROOT / "docs" / "algorithms.md").read_text())[0]
    assert "register_algorithm" in code and len(code.splitlines()) <= 60


@pytest.mark.parametrize("path", [p for p in GUIDES if python_blocks(p.read_text())], ids=lambda path: path.stem)
def test_code_of_a_page_runs(path, registries):
    """All blocks of a page, one after the other."""
    scope = {"__name__": path.stem}
    for code in python_blocks(path.read_text()):
        execute(code, path.name, scope)


def cells(page, heading):
    """The table under a heading of a page, its head first, as lists of cells; backticks are dropped."""
    section = (ROOT / "docs" / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").replace("`", "") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")] for line in lines if "---" not in line]


def value(text):
    """A value as a page writes it; words stand for themselves."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


def test_the_paper_settings_are_the_presets():
    """The tables are the ``paper`` presets of RGRL, every field for every environment."""
    common = {
        field: value(text) for _, field, text in cells("reference_settings.md", "Common to all environments")[1:]
    }
    names, *rows = cells("reference_settings.md", "By environment")
    assert set(names[1:]) == set(PRESETS["paper"])
    for i, env_id in enumerate(names[1:], start=1):
        told = common | {row[0]: value(row[i]) for row in rows if row[i] != "default"}
        config = rgrl.RGRLConfig(env_id=env_id)
        for path, setting in told.items():
            config = config.replace_at(path, setting)
        assert config == rgrl.preset(env_id, "paper")


def test_concepts_name_every_symbol():
    """Each field that has a symbol of the paper stands beside it."""
    rows = cells("concepts.md", "Symbols")
    for x in fields.settings(rgrl.RGRLConfig):
        beside = [row[0] for row in rows if re.search(rf"{re.escape(x.path)}\b", row[2])]
        assert not x.symbol or any(x.symbol in (text, *text.split(", ")) for text in beside), x


def test_settings_named_on_pages_exist():
    """Dotted names in backticks are fields."""
    known = {x.path for x in fields.settings(rgrl.RGRLConfig)}
    groups = {path.partition(".")[0] for path in known if "." in path}
    for page in [*GUIDES, ROOT / "README.md"]:
        text = page.read_text()
        named = set(re.findall(rf"[`\" -]((?:{'|'.join(groups)})\.[a-z_]+)[`\" =]", text))
        assert named <= known | {"planning.md", "models.md", "explore.md"}, (page.name, named - known)


def test_the_reference_lists_every_public_name():
    """Once each, on the page of its module."""
    found = re.findall(r"^\.\. auto\w+:: (\S+)$", "\n".join(p.read_text() for p in REFERENCE), re.MULTILINE)
    top = set(rgrl.__all__) - {name.removeprefix("rgrl_jax.") for name in MODULES}
    assert sorted(name for name in found if "." not in name) == sorted(top)
    listed = {id(resolve(name)) for name in found}
    for module in MODULES.values():
        for name in module.__all__:
            item = getattr(module, name)
            assert not callable(item) or id(item) in listed, f"{module.__name__}.{name}"
    toctree = re.search(r"```{toctree}\n(.*?)```", (ROOT / "docs/reference/index.md").read_text(), re.DOTALL)
    assert sorted(toctree.group(1).split()) == [path.stem for path in REFERENCE]


def resolve(name):
    """The object of a dotted name; names without a dot are at the top."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module or "rgrl_jax"), last)


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


@pytest.mark.parametrize("path", [ROOT / "README.md", *GUIDES], ids=lambda path: path.stem)
def test_names_on_a_page_exist(path):
    """Every ``rgrl.name`` and ``rgrl.module.name`` that a page mentions is public."""
    for name, inner in re.findall(r"\brgrl\.([A-Za-z_]+)(?:\.([A-Za-z_]+))?", path.read_text()):
        assert name in (*rgrl.__all__, "__version__"), name
        if inner and f"rgrl_jax.{name}" in MODULES:
            assert hasattr(getattr(rgrl, name), inner), f"{name}.{inner}"


def test_every_public_name_resolves():
    """Everything in ``__all__`` is there, once, in order, and explains itself."""
    assert sorted(set(rgrl.__all__)) == list(rgrl.__all__)
    assert all(getattr(rgrl, name).__doc__ for name in rgrl.__all__)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    """The notebook runs from top to bottom in its small size."""
    monkeypatch.setenv("RGRL_SMALL", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
