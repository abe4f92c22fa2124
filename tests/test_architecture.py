"""The walls of the house: who may import whom, how long things may be, and that everything public explains itself."""

import ast
import graphlib
import importlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

import rgrl_jax
from rgrl_jax.algos.base import Config

HOUSE = Path(rgrl_jax.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
# A room may import itself and what stands before it.
ROOMS = (
    "display", "types", "spmd", "schedules", "normalization", "optimizers", "mlp", "ring_buffer", "envs", "planning",
    "rollout", "algos", "training", "experiment", "contrib", "models", "callbacks", "plots", "analysis",
)  # fmt: skip
FRONT = ("__init__", "__main__")  # the doors of the package: they may name everything
HOST_ROOMS = ("experiment", "plots", "callbacks", "analysis")
OUTSIDE_WORLD = {
    "os", "sys", "time", "datetime", "pathlib", "io", "shutil", "subprocess", "threading", "logging",
    "rich", "matplotlib", "tyro", "orbax",
}  # fmt: skip
HOST_CALLS = {"print", "open", "input", "pure_callback", "io_callback", "debug_callback"}
BUILDS_ON = {("neuron_ddpg", "ddpg")}  # algorithms that may import another one
MAX_LINES = 13_500  # of the package


def _room(file: Path) -> str:
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


def _name(file: Path) -> str:
    return str(file.relative_to(HOUSE))


def _module(file: Path) -> str:
    return ".".join(["rgrl_jax", *file.relative_to(HOUSE).with_suffix("").parts]).removesuffix(".__init__")


TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
INSIDE = [file for file in FILES if _room(file) not in FRONT]
MODULES = {_module(file) for file in FILES}
FOLDERS = sorted({file.parent for file in INSIDE})


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported, inside functions as well; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imported_modules(file: Path) -> set[str]:
    """Modules of the package that a file imports."""
    names = {x for x in _imports(TREES[file]) if x.split(".")[0] == "rgrl_jax"}
    return {x if x in MODULES else x.rpartition(".")[0] for x in names}


def _wrong_imports(tree: ast.AST, room: str) -> list[str]:
    """Imports of a file in ``room`` that point down the list of rooms, or out of the house."""
    wrong = []
    for name in _imports(tree):
        top, _, rest = name.partition(".")
        if top != "rgrl_jax":
            wrong += [name] if top in OUTSIDE_WORLD and room not in HOST_ROOMS else []
        elif not rest or rest == "__version__":
            wrong += [name] if room != "experiment" else []
        elif ROOMS.index(rest.partition(".")[0]) > ROOMS.index(room):
            wrong.append(name)
    return wrong


def test_the_house_is_found() -> None:
    """The test looks at real files, and every one of them stands in a room that is on the list."""
    assert len(FILES) > 20
    assert {_room(file) for file in INSIDE} == set(ROOMS)


@pytest.mark.parametrize("file", INSIDE, ids=_name)
def test_imports_point_upwards(file: Path) -> None:
    """Nothing imports a later room, and nothing but ``experiment`` imports files, clock or terminal."""
    assert not _wrong_imports(TREES[file], _room(file))


def _order(graph: dict[str, set[str]]) -> list[str]:
    """An order in which everything imports only what stands before it; fails if there is none."""
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_module_imports_itself_in_the_end() -> None:
    """Imports within functions count as well."""
    graph = {_module(file): _imported_modules(file) - {_module(file)} for file in INSIDE}
    assert len(_order(graph)) >= len(INSIDE)


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_every_folder_has_an_order(folder: Path) -> None:
    """Of what stands in a folder, each file and each folder as a whole imports only what comes before it."""

    def part(module: str) -> str:
        inner = module.removeprefix(_module(folder / "__init__.py"))
        return inner.split(".")[1] if inner else "__init__"

    graph: dict[str, set[str]] = {}
    for file in (file for file in INSIDE if file.is_relative_to(folder)):
        within = {x for x in _imported_modules(file) if f"{x}.".startswith(f"{_module(folder / '__init__.py')}.")}
        own = part(_module(file))
        graph.setdefault(own, set()).update({part(x) for x in within} - {own})
    if folder == HOUSE:
        graph.pop("__init__", None)
        graph = {name: found - {"__init__"} for name, found in graph.items()}
    assert _order(graph)


ALGORITHMS = [file for file in INSIDE if file.is_relative_to(HOUSE / "algos") and file.parent != HOUSE / "algos"]


def _algorithm(file: Path) -> str:
    return file.relative_to(HOUSE / "algos").parts[0]


@pytest.mark.parametrize("file", ALGORITHMS, ids=_name)
def test_algorithms_do_not_know_each_other(file: Path) -> None:
    """Of the room they share only what is there for all; one that builds on another is named above."""
    folders = {_algorithm(file) for file in ALGORITHMS}
    known = {x.split(".")[2] for x in _imported_modules(file) if x.startswith("rgrl_jax.algos.")} & folders
    assert all(other == _algorithm(file) or (_algorithm(file), other) in BUILDS_ON for other in known), known
    assert "rgrl_jax.algos" not in _imported_modules(file), "the room's door stands open only once all are in"


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_no_import_is_hidden_from_the_interpreter(file: Path) -> None:
    """Nothing of the house is imported for the type checker alone: that would hide a circle."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            assert not [x for x in _imports(node) if x.startswith("rgrl_jax")]


def _is_config(node: ast.AST) -> bool:
    """Whether an expression is called ``config``, of whatever object, but not jax's own."""
    text = ast.unparse(node)
    return text.split(".")[-1] == "config" and not text.startswith("jax.")


@pytest.mark.parametrize("file", [f for f in INSIDE if f not in ALGORITHMS], ids=_name)
def test_no_room_reads_the_settings_of_another(file: Path) -> None:
    """Outside its own folder nobody knows what an algorithm's config has beyond `Config`, by name or by string.

    Unless they import its type, as the import tests see. ``algorithm``, the field by which algorithms share a config
    type, is known to the registry.
    """
    found = set()
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Attribute) and _is_config(node.value):
            found.add(node.attr)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            target, name = node.args[:2]
            if _is_config(target) and isinstance(name, ast.Constant):
                found.add(f"{node.func.id} {name.value}")
    allowed = {*dir(Config), *Config.__dataclass_fields__}
    for name in _imports(TREES[file]):
        if name.startswith("rgrl_jax.algos.") and name.endswith("Config"):
            module, _, kind = name.rpartition(".")
            allowed |= {*dir(getattr(importlib.import_module(module), kind))}
    allowed |= {"getattr algorithm"} if _name(file) == "algos/base.py" else set()
    assert not found - allowed


@pytest.mark.parametrize("file", [f for f in FILES if _room(f) not in HOST_ROOMS], ids=_name)
def test_only_experiment_touches_the_host(file: Path) -> None:
    """No printing, no opening of files and no callbacks out of compiled programs elsewhere."""
    called = {
        node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        for node in ast.walk(TREES[file])
        if isinstance(node, ast.Call)
    }
    assert not called & HOST_CALLS


@pytest.mark.parametrize(
    ("source", "room"),
    [
        ("from rgrl_jax.experiment.runner import run", "training"),
        ("def f():\n    from rgrl_jax import rollout", "ring_buffer"),
        ("import rgrl_jax", "algos"),
        ("import rgrl_jax.training", "algos"),
        ("from pathlib import Path", "ring_buffer"),
        ("import orbax.checkpoint as ocp", "types"),
        ("def f():\n    import time", "rollout"),
    ],
)
def test_wrong_imports_are_noticed(source: str, room: str) -> None:
    """The check itself finds an import in the wrong direction, however it is written."""
    assert len(_wrong_imports(ast.parse(source), room)) == 1


def test_right_imports_are_let_through() -> None:
    """And leaves the others alone."""
    source = "import rgrl_jax\nimport os\nfrom rgrl_jax import rollout\nfrom rgrl_jax.types import Array\nimport jax"
    assert not _wrong_imports(ast.parse(source), "experiment")
    assert not _wrong_imports(ast.parse("from rgrl_jax.planning.gradient import plan"), "planning")


def test_circles_are_noticed() -> None:
    """The check itself finds one, and names it."""
    with pytest.raises(pytest.fail.Exception, match="imports"):
        _order({"a": {"b"}, "b": {"c"}, "c": {"a"}})


# Sizes.


def _length(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_the_package_is_small() -> None:
    """It may grow by what it leaves out."""
    lines = sum(map(_length, FILES))
    print(f"{lines:,} lines in {len(FILES)} files")
    assert lines <= MAX_LINES


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_files_are_short(file: Path) -> None:
    """At most 400 lines."""
    assert _length(file) <= 400


def _functions(trees: Iterable[ast.AST]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for tree in trees:
        yield from (x for x in ast.walk(tree) if isinstance(x, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_functions_are_short(file: Path) -> None:
    """At most 40 lines from the first statement after the docstring to the last."""
    long = {}
    for node in _functions([TREES[file]]):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        if lines > 40:
            long[node.name] = lines
    assert not long


def test_functions_take_few_arguments() -> None:
    """At most 12, and at most 6 of 95 in 100; that of a method on which it is called is not counted."""
    counts = {}
    for file, tree in TREES.items():
        for node in _functions([tree]):
            names = [x.arg for x in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            counts[f"{_name(file)}:{node.name}"] = len([x for x in names if x not in ("self", "cls")])
    assert not {name: count for name, count in counts.items() if count > 12}
    assert np.percentile(list(counts.values()), 95) <= 6


# Explanations.


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes, and the public methods of public classes; flax calls ``setup`` itself."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                methods = (x for x in node.body if isinstance(x, ast.FunctionDef))
                yield from (x for x in methods if not x.name.startswith("_") and x.name != "setup")


NO_BEGINNINGS = {"what", "how", "whether", "who", "whose", "where", "which", "when", "that"}
BEGINNINGS = {"called", "see"}  # of functions, besides verbs in the third person


@pytest.mark.parametrize("file", [f for f in FILES if f.read_text(encoding="utf-8").strip()], ids=_name)
def test_everything_public_has_a_docstring(file: Path) -> None:
    """Modules, functions, classes and methods: nouns are named, and functions begin with a verb."""
    texts = {"the module": ast.get_docstring(TREES[file])}
    texts |= {node.name: ast.get_docstring(node) for node in _public(TREES[file])}
    assert not [name for name, text in texts.items() if not text]
    first = {name: text.split()[0].strip("`,.:;").lower() for name, text in texts.items()}
    assert not {name: word for name, word in first.items() if word in NO_BEGINNINGS}
    verbs = {node.name: first[node.name] for node in _public(TREES[file]) if isinstance(node, ast.FunctionDef)}
    assert not {name: word for name, word in verbs.items() if not word.endswith("s") and word not in BEGINNINGS}


def test_shapes_are_told() -> None:
    """In at least 60 of 100 docstrings of public functions that take or return arrays."""
    told = {}
    for file, tree in TREES.items():
        for node in _public(tree):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                types = " ".join(ast.unparse(x) for x in (*(a.annotation for a in arguments), node.returns) if x)
                if any(word in types for word in ("Array", "Key", "PyTree", "Params")):
                    told[f"{_name(file)}:{node.name}"] = "[" in (ast.get_docstring(node) or "")
    share = np.mean(list(told.values()))
    silent = [name for name, shape in told.items() if not shape]
    assert share >= 0.6, f"{share:.0%} of {len(told)}; without: {', '.join(silent)}"


def test_public_names_exist_and_are_sorted() -> None:
    """``__all__`` lists each name once, in order, and every one can be had."""
    assert list(rgrl_jax.__all__) == sorted(set(rgrl_jax.__all__))
    assert all(getattr(rgrl_jax, name).__doc__ for name in rgrl_jax.__all__)


# In an interpreter of its own.


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, cwd=HOUSE.parent)


def test_importing_the_package_imports_little() -> None:
    """Nobody waits for what they do not use."""
    heavy = ("orbax", "rich", "matplotlib", "PIL", "gymnax", "gymnasium", "tyro")
    out = _python("-c", f"import sys, rgrl_jax; print([x for x in {heavy} if x in sys.modules])")
    assert out.stdout == "[]\n", out


def test_command_line_works_without_docstrings() -> None:
    """``python -OO`` drops them; help comes from the fields."""
    out = _python("-OO", "-m", "rgrl_jax", "train", "--help")
    assert out.returncode == 0 and "usage" in out.stdout.lower(), out.stderr
