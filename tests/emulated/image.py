"""Write an initramfs in which a Python program runs as it runs here.

Usage: image.py IMAGE INIT BUSYBOX PROGRAM [argument ...]

The program runs here first.  Packed are the files that it used, under their own names: interpreter,
shared libraries, modules, data; beside them INIT as /init and BusyBox.  /environment tells a shell
how to start the program.
"""

import os
import runpy
import shlex
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

# Where the ABI of x86-64 has the dynamic linker.
LINKER = "/lib64/ld-linux-x86-64.so.2"


@dataclass
class Entry:
    """What an archive says of a file."""

    mode: int
    data: bytes
    time: int = 0


def entry(path: Path) -> Entry:
    if path.is_symlink():
        return Entry(stat.S_IFLNK | 0o777, os.fsencode(path.readlink()))
    # a compiled module counts if its source is of the time that it names
    return Entry(stat.S_IFREG | 0o755, path.read_bytes(), int(path.stat().st_mtime))


def used_libraries() -> set[Path]:
    """Shared libraries of this process, and the links beside them that may be their names."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    found = {Path(line.split(maxsplit=5)[5]) for line in lines if ".so" in line}
    links = {
        link
        for folder in {path.parent for path in found}
        for link in folder.glob("*.so*")
        if link.is_symlink() and link.resolve() in found
    }
    return found | links


def used_files(opened: set[str]) -> set[Path]:
    """What was opened, and all modules: in compiled form too, as importing is slow without."""
    names = opened | {
        getattr(module, name, None) or ""
        for module in sys.modules.values()
        for name in ("__file__", "__cached__")
    }
    found = {Path(name).absolute() for name in names if name}
    return {p.resolve() for p in found if p.is_file() and p.parts[1] not in ("dev", "proc", "sys")}


def entries(init: str, busybox: str, files: set[Path], environment: str) -> dict[str, Entry]:
    """All that the image holds, by path."""
    found = {str(path): entry(path) for path in files}
    for path, source in [(LINKER, LINKER), ("/init", init), ("/bin/busybox", busybox)]:
        found[path] = entry(Path(source).resolve())
    found["/environment"] = Entry(stat.S_IFREG | 0o644, environment.encode())
    paths = [Path(path) for path in [*found, "/proc/x", "/dev/x", "/tmp/x"]]
    folders = sorted({str(parent) for path in paths for parent in path.parents} - {"/"})
    return dict.fromkeys(folders, Entry(stat.S_IFDIR | 0o755, b"")) | found


def cpio(entries: dict[str, Entry]) -> bytes:
    """The archive that Linux unpacks: "initramfs buffer format" in its documentation."""
    parts = []
    for inode, (path, entry) in enumerate([*entries.items(), ("/TRAILER!!!", Entry(0, b""))], 1):
        name, size = os.fsencode(path[1:]) + b"\0", len(entry.data)
        numbers = [inode, entry.mode, 0, 0, 1, entry.time, size, 0, 0, 0, 0, len(name), 0]
        head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name
        parts += [head, bytes(-len(head) % 4), entry.data, bytes(-size % 4)]
    return b"".join(parts)


def main(image: str, init: str, busybox: str, program: str, *arguments: str) -> None:
    opened: set[str] = set()

    def note(event: str, details: tuple[object, ...]) -> None:
        if event == "open" and isinstance(details[0], (str, bytes)):
            opened.add(os.fsdecode(details[0]))

    sys.addaudithook(note)
    sys.argv = [program, *arguments]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    python = str(Path(sys.executable).resolve())
    libraries = used_libraries()
    files = libraries | used_files(opened) | {Path(python)}
    # editable packages are found by a hook: where they lie, sys.path need not tell
    packages = [module for module in sys.modules.values() if getattr(module, "__path__", None)]
    roots = sorted({str(Path(m.__path__[0]).parent) for m in packages if "." not in m.__name__})
    variables = {
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": ":".join(roots),
        "LD_LIBRARY_PATH": ":".join(sorted({str(path.parent) for path in libraries})),
        "program": shlex.join([python, str(Path(program).absolute()), *arguments]),
    }
    environment = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in variables.items())
    Path(image).write_bytes(cpio(entries(init, busybox, files, environment)))


if __name__ == "__main__":
    main(*sys.argv[1:])
