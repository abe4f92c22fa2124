"""Configures Sphinx: guides in Markdown, the reference from docstrings; nothing is fetched from elsewhere."""

from __future__ import annotations

import inspect
import re
from typing import Any

from docutils import nodes

import rgrl_jax
from rgrl_jax.algos import fields
from rgrl_jax.algos.base import Config

project = "rgrl_jax"
author = "The rgrl_jax authors"
version = release = rgrl_jax.__version__
html_title = f"{project} {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False

add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("Array", "Key", "Params", "PyTree", "Scalar", "Space")}
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False

# What stands in single backticks in a docstring is a name. Names of this library must be found; those of others,
# whose sites nobody reads here, and aliases of types need not.
# Links to benchmarks/ are for readers of the repository; tests/test_docs.py follows every link.
suppress_warnings = ["myst.xref_missing"]
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(jax|jaxlib|flax|optax|gymnax|numpy|np|matplotlib|rich|collections|pathlib|typing)\..*"),
    # Types in signatures that nobody needs to read.
    (r"py:class", r"rgrl_jax\..*\.(\w+Config|\w+State|ActCarry|C|S)"),
    (r"py:.*", r"(Array|ArrayLike|Key|Params|PyTree|Scalar|Space|Path|Figure|Axes|Console|Environment)"),
]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", tabulate_settings, priority=400)  # before napoleon reads it
    app.connect("autodoc-process-signature", tidy_signature)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("missing-reference", find_public_name)


def tabulate_settings(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Appends a table of the fields of a config, with symbols, defaults and ranges."""
    if not (inspect.isclass(item) and issubclass(item, Config) and item is not Config):
        return
    lines += ["", ".. list-table::", "   :header-rows: 1", "   :widths: 24 10 12 20 34", ""]
    rows = [(x.path, x.symbol, x.default, x.rule.text(), x.help) for x in fields.settings(item)]
    for row in [("field", "symbol", "default", "allowed", "meaning"), *rows]:
        cells = [str(cell).replace("*", r"\*") for cell in row]
        lines += [f"   {'-' if i else '* -'} {cell}".replace("   -", "     -") for i, cell in enumerate(cells)]


def tidy_signature(
    app: Any, what: str, name: str, item: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Leaves the arguments of a class out where its docstring lists them anyway, and names aliases as they are."""
    if what == "class" and "Attributes:" in (item.__doc__ or ""):
        return "", None
    if signature is None:
        return None
    return tuple(text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in (signature, returns))


def skip_member(app: Any, what: str, name: str, item: Any, skip: bool, options: Any) -> bool | None:
    """Skips fields of named tuples, which the tuple's docstring explains, and what flax adds to every record."""
    field = inspect.isdatadescriptor(item) and not isinstance(item, property)
    return True if field or name == "replace" else None


def find_public_name(app: Any, env: Any, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Leads a name to where it is documented, ``rgrl_jax.types.Box`` and ``Box`` to ``rgrl_jax.Box``."""
    domain, name = env.domains["py"], node.get("reftarget", "").rpartition(".")[2]
    found = [known for known, x in domain.objects.items() if known.rpartition(".")[2] == name and not x.aliased]
    if len(found) != 1 or node.get("refdomain") != "py":
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, content)
