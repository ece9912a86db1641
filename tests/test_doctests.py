"""The examples of the docstrings run, and every public name has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import fmtlib as fl

MODULES = [
    info.name
    for info in pkgutil.walk_packages(fl.__path__, "fmtlib.")
    if info.name.rpartition(".")[2] not in ("kernels", "counting", "__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


@pytest.mark.parametrize("name", fl.__all__)
def test_public_names_are_documented(name):
    public = getattr(fl, name)
    doc = inspect.getdoc(public)
    assert doc
    if inspect.isfunction(public):
        assert ">>>" in doc
        for parameter in inspect.signature(public).parameters:
            assert parameter in doc


def test_public_names_are_all():
    modules = {info.name for info in pkgutil.iter_modules(fl.__path__)}
    visible = {name for name in vars(fl) if not name.startswith("_")}
    assert visible - set(fl.__all__) <= modules
