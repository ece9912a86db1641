"""Build of the two extension modules; everything else about the package is in pyproject.toml."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("fmtlib/_core/src")
COUNTERS = Path("fmtlib/_core/counters")

# One build serves CPython from this version on, but for the free-threaded ones: up to 3.14 these
# have no limited API.
LIMITED = ("0x030B0000", "cp311")
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")

# No contraction: a*b+c must mean the same on every instruction set.  No trapping math: lets
# compilers turn choices into masks; values are not affected.  Never -ffast-math.
# What debuggers want is six times as large as the code.
FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-g0",
]

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
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
            *([("Py_LIMITED_API", LIMITED[0])] if ABI3 else []),
        ],
        py_limited_api=ABI3,
        extra_compile_args=FLAGS + SANITIZE,
        extra_link_args=SANITIZE,
    )


class BuildExtensions(build_ext):
    """Builds with gcc or clang: the kernels need their vector types and targets of functions."""

    def build_extensions(self) -> None:
        """Add what depends on the compiler: its libraries, the spelling of flags."""
        libraries = ["m"]
        if self.compiler.compiler_type == "msvc":
            libraries = ["clang_rt.builtins-x86_64"]
            self._use_clang_cl()
        for module in self.extensions:
            module.libraries += libraries
        super().build_extensions()

    def _use_clang_cl(self) -> None:
        """Let clang-cl stand in for cl.exe, which knows neither; all else stays Visual Studio's."""
        clang_cl = shutil.which("clang-cl")
        if clang_cl is None:
            raise SystemExit(
                "fmtlib is built with clang-cl on Windows, which is not on PATH: install LLVM or "
                'Visual Studio\'s component "C++ Clang Compiler for Windows"'
            )
        if not self.compiler.initialized:
            self.compiler.initialize(self.plat_name)
        self.compiler.cc = clang_cl
        self.compiler.compile_options.remove("/GL")
        for module in self.extensions:
            module.extra_compile_args = [f"/clang:{flag}" for flag in module.extra_compile_args]
        runtime = subprocess.run(
            [clang_cl, "/clang:--print-runtime-dir"], check=True, capture_output=True, text=True
        )
        self.compiler.add_library_dir(runtime.stdout.strip())


setup(
    cmdclass={"build_ext": BuildExtensions},
    ext_modules=cythonize(
        [extension("kernels", SOURCES), extension("counting", COUNTERS)],
        language_level=3,
        compiler_directives={"boundscheck": False, "freethreading_compatible": True},
    ),
    options={"bdist_wheel": {"py_limited_api": LIMITED[1]}} if ABI3 else {},
)
