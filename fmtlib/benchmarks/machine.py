"""What a run of benchmarks ran on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fmtlib as fl
from fmtlib._core import kernels
from fmtlib.benchmarks.peers import PEERS


def processor() -> str:
    """The processor's name, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def caches() -> dict[str, int]:
    """Bytes of the first core's caches, by "l1", "l2", "l3"; empty where Linux does not tell."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (folder / name).read_text().strip() for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            found[f"l{level}"] = int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
    return found


def compiler() -> str | None:
    """What compiled the kernels, as ELF files tell it."""
    names = re.findall(
        rb"(?:GCC: \([^)]*\) |clang version )[\d.]+", Path(kernels.__file__).read_bytes()
    )
    return max(names, key=lambda name: name.startswith(b"clang")).decode() if names else None


def versions() -> dict[str, str]:
    """Of Python, this package, the peers that are installed, and the compiler."""
    found = {"python": platform.python_version(), "fmtlib": fl.__version__}
    for name in [peer.name for peer in PEERS]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    built = compiler()
    return found if built is None else {**found, "compiler": built}


def machine() -> dict[str, Any]:
    """The processor, its caches, the system, the BLAS."""
    from threadpoolctl import threadpool_info

    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "caches": caches(),
        "cpu_target": fl.cpu_target(),
        "system": platform.platform(),
        "blas": " ".join(str(blas[0][key]) for key in ("internal_api", "version", "architecture"))
        if blas
        else None,
    }
