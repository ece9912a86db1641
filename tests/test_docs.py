"""The documents' blocks of Python run, in order, and print what the document says."""

import contextlib
import doctest
import io
import re
from pathlib import Path

import numpy as np
import pytest

import fmtlib as fl

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```output\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
RUN = [path.name for path in sorted(DOCS.glob("*.md")) if BLOCK.search(path.read_text("utf-8"))]


@pytest.mark.parametrize("name", RUN)
def test_blocks_run(name):
    """After ```` ```output ```` comes what is printed; ``...`` stands for anything.

    Blocks that start with ``>>>`` are doctests.  Those that import torch are left to the peers.
    """
    text = (DOCS / name).read_text(encoding="utf-8")
    names = {}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 2
        if block[1].startswith(">>>"):
            check_doctest(block[1], names, name, line)
        elif not block[1].startswith("import torch\n"):
            check_script(block, names, name, line)


def check_doctest(source, names, name, line):
    test = doctest.DocTestParser().get_doctest(source, names, name, str(DOCS / name), line - 1)
    assert doctest.DocTestRunner().run(test, clear_globs=False).failed == 0
    names.update(test.globs)


def check_script(block, names, name, line):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (line - 1) + block[1], str(DOCS / name), "exec"), names)
    same = doctest.OutputChecker().check_output(
        block[2] or "", printed.getvalue(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert same, f"{name}:{line} printed\n{printed.getvalue()}"


@pytest.mark.peers
def test_torch_of_interop():
    page = (DOCS / "interop.md").read_text("utf-8")
    names = {"fl": fl, "np": np}
    for block in BLOCK.finditer(page):
        if block[1].startswith("import torch\n"):
            check_script(block, names, "interop.md", page.count("\n", 0, block.start()) + 2)
    expected = np.float32([0.3125, -1.5, 448])
    np.testing.assert_array_equal(names["tensor"].float().numpy(), expected)
    np.testing.assert_array_equal(names["again"], expected)
    np.testing.assert_array_equal(names["trained"], expected)
    np.testing.assert_array_equal(names["back"].float().numpy(), expected)
