"""Sphinx configuration: ``sphinx-build -W -b html docs docs/_build``."""

import os
import sys
import tempfile
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

import fmtlib

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402  # docs/generate.py, beside this file

project = "fmtlib"
author = "the fmtlib contributors"
project_copyright = author
version = release = fmtlib.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
exclude_patterns = ["_build", "jupyter_execute"]
templates_path = ["_templates"]

WIDE = (
    "index",
    "formats",
    "rounding",
    "blocks",
    "products",
    "benchmarks",
)  # pages that want the room

html_theme = "pydata_sphinx_theme"
html_title = f"fmtlib {release}"
html_static_path = ["_static"]
html_css_files = ["fmtlib.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_center": ["navbar-nav"],
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        **{page: [] for page in WIDE},
    },
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
}
html_sidebars = {"index": []}  # elsewhere: the pages of the section

# Tutorials run when the site is built; what fails or warns in them, fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_output_stderr = "warn"
nb_merge_streams = True
nb_render_markdown_format = "gfm"
# Their kernels draw SVG, and do not warn that they are talked to through the loopback device.
kernel_settings = tempfile.TemporaryDirectory()
os.environ["IPYTHONDIR"] = kernel_settings.name
profile = Path(kernel_settings.name, "profile_default", "ipython_kernel_config.py")
profile.parent.mkdir()
profile.write_text("""\
c.IPKernelApp.log_level = "ERROR"
c.InlineBackend.figure_formats = {"svg"}
""")

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

default_role = "py:obj"
nitpicky = True  # a reference that leads nowhere is a warning, except
nitpick_ignore_regex = [
    ("py:obj", r"[a-z_][a-z_0-9]*"),  # parameters and attributes, which numpydoc quotes alike
    ("py:(obj|class)", r"(numpy|abc|collections|pydoc_data)\..*"),  # others: no inventory
    ("py:class", r"fmtlib\..*\.(_\w+|RoleFormats|Compressed|Quantized)"),  # not public
]
pygments_style = "sphinx"
highlight_language = "none"  # of blocks that name none
autodoc_typehints = "none"  # numpydoc's sections say the types
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False  # the template of classes shows them


def write_generated(_app: Sphinx, _config: Config) -> None:
    """Write the pages that come from the table and from ``__all__``."""
    generate.write(DOCS / "_generated")


def forget_compiled(app: Sphinx) -> list[object]:
    """Take modules without Python source from the index of sources, which would link to no page."""
    modules = app.env._viewcode_modules
    for name in [name for name, entry in modules.items() if not entry]:
        del modules[name]
    return []


def setup(app: Sphinx) -> None:
    """Generate before Sphinx looks for pages, which it does before "builder-inited"."""
    app.connect("config-inited", write_generated)
    app.connect("html-collect-pages", forget_compiled, priority=100)  # before viewcode's own
