"""The walls of the house: who may import whom, how long things may be, and that everything public explains itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rgrl_jax

HOUSE = Path(rgrl_jax.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
# A room may import itself and what stands before it.
ROOMS = (
    "showing", "types", "sharing", "schedules", "encoding", "envs", "models", "ensemble", "replay", "planning",
    "learning", "rollout", "algos", "training", "presets", "experiment",
)  # fmt: skip
FRONT = ("__init__", "__main__")  # the doors of the package: they may name everything
OUTSIDE_WORLD = {
    "os", "sys", "time", "datetime", "pathlib", "io", "shutil", "subprocess", "threading", "logging",
    "rich", "matplotlib", "tyro", "orbax",
}  # fmt: skip
HOST_CALLS = {"print", "open", "input", "pure_callback", "io_callback", "debug_callback"}


def _room(file: Path) -> str:
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported, inside functions as well; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _wrong_imports(tree: ast.AST, room: str) -> list[str]:
    """Imports of a file in ``room`` that point down the list of rooms, or out of the house."""
    wrong = []
    for name in _imports(tree):
        top, _, rest = name.partition(".")
        if top != "rgrl_jax":
            wrong += [name] if top in OUTSIDE_WORLD and room != "experiment" else []
        elif not rest:  # the package itself, for its version
            wrong += [name] if room != "experiment" else []
        elif ROOMS.index(rest.partition(".")[0]) > ROOMS.index(room):
            wrong.append(name)
    return wrong


def _name(file: Path) -> str:
    return str(file.relative_to(HOUSE))


INSIDE = [file for file in FILES if _room(file) not in FRONT]


def test_the_house_is_found() -> None:
    """The test looks at real files, and every one of them stands in a room that is on the list."""
    assert len(FILES) > 20
    assert {_room(file) for file in INSIDE} == set(ROOMS)


@pytest.mark.parametrize("file", INSIDE, ids=_name)
def test_imports_point_upwards(file: Path) -> None:
    """Nothing imports a later room, and nothing but ``experiment`` imports files, clock or terminal."""
    assert not _wrong_imports(_tree(file), _room(file))


ALGORITHMS = [file for file in INSIDE if file.is_relative_to(HOUSE / "algos") and file.parent != HOUSE / "algos"]
# The same within rooms of many files: a file may import what stands before it.
WITHIN = {
    "unit_teams": (
        "units", "network", "relaxation", "ascent", "config", "parts", "learner", "presets", "algorithm", "__init__",
    ),
    "ddpg": (
        "networks", "neurons", "replay", "config", "parts", "update", "measures", "presets", "algorithm", "__init__",
    ),
    "policy_generators": (
        "networks", "generator", "evaluator", "store", "config", "parts", "update", "presets", "algorithm",
        "__init__",
    ),
}  # fmt: skip


@pytest.mark.parametrize("file", ALGORITHMS, ids=_name)
def test_algorithms_do_not_know_each_other(file: Path) -> None:
    """Of the room they share only what is there for all, ``base`` and ``config``."""
    own, shared = f"rgrl_jax.algos.{file.parent.name}.", ("rgrl_jax.algos.base.", "rgrl_jax.algos.config.")
    known = (own, *shared, "rgrl_jax.algos.config")
    assert not [x for x in _imports(_tree(file)) if x.startswith("rgrl_jax.algos") and not x.startswith(known)]


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, names in WITHIN.items() for name in names])
def test_imports_within_a_room_point_upwards(room: str, name: str) -> None:
    """Every file is on the list, and imports only earlier ones."""
    folder, prefix, order = HOUSE / "algos" / room, f"rgrl_jax.algos.{room}", WITHIN[room]
    assert {file.stem for file in folder.glob("*.py")} == set(order)
    found = [
        x.removeprefix(prefix + ".").split(".")[0] for x in _imports(_tree(folder / f"{name}.py")) if prefix in x
    ]
    assert all(order.index(x) < order.index(name) for x in found)


@pytest.mark.parametrize("file", [f for f in FILES if _room(f) != "experiment"], ids=_name)
def test_only_experiment_touches_the_host(file: Path) -> None:
    """No printing, no opening of files and no callbacks out of compiled programs elsewhere."""
    called = {
        node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.Call)
    }
    assert not called & HOST_CALLS


@pytest.mark.parametrize(
    ("source", "room"),
    [
        ("from rgrl_jax.experiment.runner import run", "training"),
        ("def f():\n    from rgrl_jax import rollout", "replay"),
        ("import rgrl_jax", "algos"),
        ("import rgrl_jax.presets", "algos"),
        ("from pathlib import Path", "replay"),
        ("import orbax.checkpoint as ocp", "types"),
        ("def f():\n    import time", "rollout"),
    ],
)
def test_wrong_imports_are_noticed(source: str, room: str) -> None:
    """The check itself finds an import in the wrong direction, however it is written."""
    assert len(_wrong_imports(ast.parse(source), room)) == 1


def test_right_imports_are_let_through() -> None:
    """And leaves the others alone."""
    source = "import rgrl_jax\nimport os\nfrom rgrl_jax import learning\nfrom rgrl_jax.types import Array\nimport jax"
    assert not _wrong_imports(ast.parse(source), "experiment")
    assert not _wrong_imports(ast.parse("from rgrl_jax.models.base import Model"), "models")


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_files_are_short(file: Path) -> None:
    """Fewer than 500 lines."""
    assert len(file.read_text(encoding="utf-8").splitlines()) < 500


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_functions_are_short(file: Path) -> None:
    """Fewer than 60 lines from the first statement after the docstring to the last."""
    long = {}
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if lines >= 60:
                long[node.name] = lines
    assert not long


def _public(tree: ast.Module) -> Iterator[ast.AST]:
    """Public functions and classes, and the public methods of public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (x for x in node.body if isinstance(x, ast.FunctionDef) and not x.name.startswith("_"))


@pytest.mark.parametrize("file", [f for f in FILES if f.read_text(encoding="utf-8").strip()], ids=_name)
def test_everything_public_has_a_docstring(file: Path) -> None:
    """Modules, functions, classes and methods; flax calls ``setup`` itself."""
    tree = _tree(file)
    assert ast.get_docstring(tree), "the module"
    assert not [node.name for node in _public(tree) if node.name != "setup" and not ast.get_docstring(node)]


def test_public_names_exist_and_are_sorted() -> None:
    """``__all__`` lists each name once, in order, and every one can be had."""
    assert list(rgrl_jax.__all__) == sorted(set(rgrl_jax.__all__))
    assert all(getattr(rgrl_jax, name).__doc__ for name in rgrl_jax.__all__)
