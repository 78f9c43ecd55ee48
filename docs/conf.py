"""The documentation site: ``sphinx-build -W -c docs . build/site`` at the top of a clone makes it in ``build/site``.

The sources are the clone itself, so that pages, notebooks and change log link to one another as they do in it.
"""

from __future__ import annotations

import base64
import json
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

project = "sgdlimit"
project_copyright = "the authors of sgdlimit"
version = release = metadata.version("sgdlimit")
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "dist", "docs/static", "**/.ipynb_checkpoints"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # MathJax itself, so that formulas need no network
    "sphinx_copybutton",
]

# Markdown as it is written for a reader of the repository: $…$, ```math, links to headings
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_fence_as_directive = ["math"]
myst_dmath_double_inline = True
myst_heading_anchors = 3

# Notebooks are shown as they are committed
nb_execution_mode = "off"
nb_render_markdown_format = "myst"

napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types and shapes
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"sgdlimit {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["static/index.html"]
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def public_name(home: str) -> str | None:
    """The name under which the reference has what a docstring calls by the module that it lives in."""
    module, _, name = home.rpartition(".")
    for package in ("sgdlimit", "sgdlimit.derive", "sgdlimit.codegen", "sgdlimit.runtime"):
        if name in import_module(package).__all__ and home != f"{package}.{name}":
            value = getattr(import_module(package), name)
            if getattr(value, "__module__", module) == module:
                return f"{package}.{name}"
    return None


def resolve(app: Sphinx, env: Any, node: nodes.Element, content: nodes.Element) -> nodes.Element | None:
    """Link a cross-reference by home module, ``sgdlimit.runtime.solver.solve``, to ``sgdlimit.solve``."""
    name = public_name(node.get("reftarget", "")) if node.get("refdomain") == "py" else None
    if name is None:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, content)


def keep_colons(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """A property's first sentence may have a colon; napoleon would take what is before it for a type."""
    if what == "property":
        lines[:0] = ["..", ""]


def link_theory(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """A docstring's ``docs/theory.md`` becomes a link."""
    lines[:] = [line.replace("``docs/theory.md``", ":doc:`Theory </docs/theory>`") for line in lines]


def gallery(app: Sphinx) -> None:
    """Figures of the notebooks as files, ``build/gallery/NOTEBOOK-NUMBER.png``."""
    folder = Path(app.srcdir) / "build" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((Path(app.srcdir) / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
        figures = [data["image/png"] for data in outputs if "image/png" in data]
        for number, figure in enumerate(figures, start=1):
            (folder / f"{path.stem}-{number}.png").write_bytes(base64.b64decode("".join(figure)))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", gallery)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", link_theory)
    app.connect("missing-reference", resolve)
