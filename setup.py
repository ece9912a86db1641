"""Build of the two extension modules; everything else about the package is in pyproject.toml."""

import os
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = Path("fmtlib/_core/src")
COUNTERS = Path("fmtlib/_core/counters")

# Set by tests/sanitize.sh.
SANITIZE = (
    ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
    if os.environ.get("FMTLIB_SANITIZE")
    else []
)


def extension(name: str, sources: Path) -> Extension:
    """The module of this name in `fmtlib._core`, of its Cython file and all C in one folder."""
    return Extension(
        f"fmtlib._core.{name}",
        sources=[f"fmtlib/_core/{name}.pyx", *sorted(map(str, sources.glob("*.c")))],
        depends=sorted(map(str, sources.glob("*.h"))),
        include_dirs=[str(sources), np.get_include()],
        libraries=["m"],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
        ],
        # No contraction: a*b+c must mean the same on every instruction set.  No trapping math: lets
        # compilers turn choices into masks; values are not affected.  Never -ffast-math.
        extra_compile_args=[
            "-std=c11",
            "-O3",
            "-ffp-contract=off",
            "-fno-trapping-math",
            "-fvisibility=hidden",
            *SANITIZE,
        ],
        extra_link_args=SANITIZE,
    )


setup(
    ext_modules=cythonize(
        [extension("kernels", SOURCES), extension("counting", COUNTERS)],
        language_level=3,
        compiler_directives={"boundscheck": False, "freethreading_compatible": True},
    )
)
