"""The examples of the docstrings run, and every public name has one."""

import doctest
import importlib
import inspect
import pkgutil

import generate
import pytest

import fmtlib as fl

MODULES = [
    info.name
    for info in pkgutil.walk_packages(fl.__path__, "fmtlib.")
    if info.name.rpartition(".")[2] not in ("kernels", "counting", "__main__")
]
PUBLIC = [
    (module, name)
    for module in ("fmtlib", *generate.MODULES)
    for name in generate.public_names(importlib.import_module(module))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_public_names_are_documented(module, name):
    public = getattr(importlib.import_module(module), name)
    doc = inspect.getdoc(public)
    assert doc
    if inspect.isfunction(inspect.unwrap(public)):
        assert ">>>" in doc
        if module != "fmtlib.reference":  # whose short functions are one line
            for parameter in inspect.signature(public).parameters:
                assert parameter in doc


def test_what_modules_hand_out_is_public():
    """A new module with ``__all__`` cannot stay out of the reference, and of these tests."""
    public = [getattr(importlib.import_module(module), name) for module, name in PUBLIC]
    for module in map(importlib.import_module, MODULES):
        if module.__name__.count(".") == 1:
            for name in getattr(module, "__all__", ()):
                assert any(getattr(module, name) is one for one in public), (module, name)


def test_public_names_are_all():
    modules = {info.name for info in pkgutil.iter_modules(fl.__path__)}
    visible = {name for name in vars(fl) if not name.startswith("_")}
    assert visible - set(fl.__all__) <= modules
