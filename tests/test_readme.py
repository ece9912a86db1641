"""The README's example runs, and its commands are the ones that CI runs."""

import re
from pathlib import Path

import numpy as np

import fmtlib as fl

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    assert names["product"].shape == (64, 64)
    assert names["passes"] == 64 * 64 * 16 * 2
    assert type(names["encode"]) is np.ufunc
    assert names["widths"].shape == (64, 16)
    np.testing.assert_array_equal(names["y"], fl.quantize(names["x"], "e4m3"))


def test_the_commands():
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert [re.search(r"\.venv-(\w+)", command)[1] for command in commands] == ["demo", "test"]
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "README.md" in ci
    assert ".venv-test" in ci
