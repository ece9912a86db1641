"""The documents' blocks of Python run, in order, and print what the document says."""

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```output\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
RUN = [path.name for path in sorted(DOCS.glob("*.md")) if BLOCK.search(path.read_text("utf-8"))]


@pytest.mark.parametrize("name", RUN)
def test_blocks_run(name):
    """After ```` ```output ```` comes what is printed; ``...`` stands for anything."""
    text = (DOCS / name).read_text(encoding="utf-8")
    names = {}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 2
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (line - 1) + block[1], str(DOCS / name), "exec"), names)
        same = doctest.OutputChecker().check_output(
            block[2] or "", printed.getvalue(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        )
        assert same, f"{name}:{line} printed\n{printed.getvalue()}"
