"""Run tests of the suite, those that one set of kernels runs at a time with the best one.

Usage: suite.py [pytest argument ...]
"""

import os
import sys

import pytest

from fmtlib._core import kernels

if __name__ == "__main__":
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-q", "-p", "no:cacheprovider", "--assert=plain", "-k", kernels.cpu_target()]
    sys.exit(pytest.main([*options, *sys.argv[1:]]))
