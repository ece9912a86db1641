"""Drive a target by coverage (extra: fuzz): ``python tests/fuzz/fuzz.py TARGET [options]``.

``all`` is every target, chosen by the input's first byte; ``--list`` names them.  The options are
libFuzzer's, its folders and files among them.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path

MEMORY = 1 << 30  # that a target may take besides what it starts with


def limit_memory() -> None:
    """So that taking more than an input justifies fails; not with AddressSanitizer's terabytes."""
    if "LD_PRELOAD" not in os.environ:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def main() -> None:
    """Fuzz."""
    try:
        import atheris
    except ImportError:
        sys.exit('fuzzing needs atheris: pip install "fmtlib[fuzz]"')
    with atheris.instrument_imports(include=["fmtlib"]):
        from parsers import TARGETS, Target
        from verbs import verbs
    targets = TARGETS | {"verbs": Target(verbs, (), lambda: (bytes([i]) for i in range(5)))}
    name, options = (sys.argv[1] if len(sys.argv) > 1 else "--list"), sys.argv[2:]
    if name == "--list":
        print(*targets, sep="\n")
        return
    names = list(targets) if name == "all" else [name]

    def run(data: bytes) -> None:
        if name != "all":
            targets[name](data)
        elif data:
            targets[names[data[0] % len(names)]](data[1:])

    with tempfile.TemporaryDirectory() as folder:
        for place, one in enumerate(names):
            for number, seed in enumerate(targets[one].seeds()):
                prefix = bytes([place]) if name == "all" else b""
                Path(folder, f"{one}-{number}").write_bytes(prefix + seed)
        limit_memory()
        # new inputs go to the first folder that is given; seeds are only read
        atheris.Setup([sys.argv[0], *options, folder], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
