"""Fixtures and settings that every test module shares."""

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from fmtlib import cli
from fmtlib._core import kernels

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(params=kernels.available_targets())
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once with the kernels of each instruction set that the machine has."""
    kernels.force_target(request.param)
    yield request.param
    kernels.force_target(None)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command of the console script prints, which has to go well."""

    def call(*arguments: str) -> str:
        assert cli.main(arguments) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return call
