"""Drive a target by coverage (extra: fuzz): ``python tests/fuzz/fuzz.py TARGET [options of libFuzzer]``.

``all`` is every parser in turn, chosen by the input's first byte; ``--list`` names the targets.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import tempfile
from pathlib import Path

MEMORY = 1 << 30  # that a target may take besides what it starts with


def main() -> None:
    """Fuzz."""
    try:
        import atheris
    except ImportError:
        sys.exit('fuzzing needs atheris: pip install "fmtlib[fuzz]"')
    with atheris.instrument_imports(include=["fmtlib"]):
        from parsers import TARGETS
    name, options = (sys.argv[1] if len(sys.argv) > 1 else "--list"), sys.argv[2:]
    if name == "--list":
        print(*TARGETS, sep="\n")
        return
    names = list(TARGETS) if name == "all" else [name]

    def run(data: bytes) -> None:
        if len(names) == 1:
            TARGETS[name](data)
        elif data:
            TARGETS[names[data[0] % len(names)]](data[1:])

    with tempfile.TemporaryDirectory() as folder:
        for place, one in enumerate(names):
            for number, seed in enumerate(TARGETS[one].seeds()):
                prefix = bytes([place]) if len(names) > 1 else b""
                Path(folder, f"{one}-{number}").write_bytes(prefix + seed)
        with contextlib.suppress(ValueError), Path("/proc/self/statm").open() as file:
            pages = int(file.read().split()[0])
            limit = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        # new inputs go to the first folder that is given, seeds are only read
        atheris.Setup([sys.argv[0], *options, folder], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
