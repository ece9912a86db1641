"""The package as it is built and installed: what is in it, for which Pythons, and its types."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fmtlib as fl
from fmtlib._core import counting, kernels

ROOT = Path(__file__).parents[1]
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.fixture
def installed() -> importlib.metadata.Distribution:
    """The installed package, if it is not a link to the tree."""
    found = importlib.metadata.distribution("fmtlib")
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable") and not os.environ.get("CI"):
        pytest.skip("an editable install")
    return found


def test_what_is_tested_is_what_is_installed(installed):
    package = Path(fl.__file__).parent
    assert package == Path(str(installed.locate_file("fmtlib")))
    assert package != ROOT / "fmtlib"


def test_what_is_in_it(installed):
    files = [Path(str(file)) for file in installed.files]
    package = {file for file in files if file.parts[0] == "fmtlib"}
    compiled = {file.name for file in package if file.suffix in (".so", ".pyd")}
    assert compiled == {Path(module.__file__).name for module in (kernels, counting)}
    assert Path("fmtlib/py.typed") in package
    stubs = {file.stem for file in package if file.suffix == ".pyi"}
    assert stubs == {"kernels", "counting"}
    assert Path("fmtlib/hardware/data/networks.json") in package
    assert not {file.suffix for file in package} & {".c", ".h", ".pyx", ".o"}
    others = {file.parts[0] for file in files} - {"fmtlib", "..", "bin", "Scripts"}
    assert all(re.fullmatch(r"fmtlib-[\d.]+\.dist-info", name) for name in others)
    assert any(file.name == "LICENSE" for file in files)


def test_one_build_serves_all_later_pythons(installed):
    tag = re.search(r"^Tag: (\S+)$", installed.read_text("WHEEL"), re.MULTILINE)[1]
    if FREE_THREADED:  # version for version
        assert re.match(r"cp3\d+-cp3\d+t-", tag)
    else:
        assert tag.startswith("cp311-abi3-")
        for module in (kernels, counting):
            assert re.fullmatch(r"\w+(\.abi3\.so|\.pyd)", Path(module.__file__).name)


@pytest.mark.skipif(not FREE_THREADED, reason="Python has a GIL")
def test_importing_it_leaves_the_gil_off():
    assert not sys._is_gil_enabled()


def test_one_version(installed):
    assert installed.version == fl.__version__
    if (ROOT / "CITATION.cff").exists():  # else these tests are away from the tree
        citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
        assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == fl.__version__


CONSUMER = """
import numpy as np
import fmtlib as fl
from fmtlib import reference

x = np.array([0.3, -1.5], np.float32)
codes = fl.encode(x, "e4m3", rounding="stochastic", seed=7)
blocks: fl.BlockArray = fl.encode(x, fl.bfp(4), axis=0)
values = fl.decode(blocks)
ufunc: np.ufunc = fl.ufunc("encode", fl.FloatFormat(5, 3, bias=20))
product = fl.matmul(blocks, blocks, accumulator="fmac")
exact = reference.decode(42, fl.get_format("e4m3"))
reveal_type(values)
reveal_type(fl.get_format("e4m3").name)
fl.encode(x, "e4m3", rounding="nearest")
fl.encode(x, 8)
"""


def test_a_consumer_is_type_checked(installed, tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "consumer.py").write_text(CONSUMER, encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "consumer.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"MYPY_FORCE_COLOR": "0"},
    )
    said = found.stdout.splitlines()
    assert [re.match(r"consumer.py:(\d+): (\w+)", line).groups() for line in said] == [
        ("13", "note"),
        ("14", "note"),
        ("15", "error"),
        ("16", "error"),
    ], found.stdout + found.stderr
    assert "ndarray" in said[0]
    assert '"str"' in said[1]
    assert "rounding" in said[2]
