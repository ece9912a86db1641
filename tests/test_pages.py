"""The examples of the documentation's pages run."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import fmtlib as fl

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [path.name for path in sorted(DOCS.glob("*.md")) if ">>>" in path.read_text("utf-8")]


@pytest.mark.parametrize("page", PAGES)
def test_examples(page):
    results = doctest.testfile(str(DOCS / page), module_relative=False, encoding="utf-8")
    assert results.attempted
    assert results.failed == 0


@pytest.mark.peers
def test_torch_of_interop():
    """Examples of packages that the tests do not need are plain code."""
    page = (DOCS / "interop.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(import torch\n.*?)```", page, re.DOTALL)
    names = {"fl": fl}
    exec(example, names)
    expected = np.float32([0.3125, -1.5, 448])
    np.testing.assert_array_equal(names["tensor"].float().numpy(), expected)
    np.testing.assert_array_equal(names["again"], expected)
    np.testing.assert_array_equal(names["trained"], expected)
    np.testing.assert_array_equal(names["wide"], fl.quantize(np.float32([0.3, -1.5, 448]), "bf16"))
