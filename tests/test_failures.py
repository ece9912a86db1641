"""What happens when the machine fails: killed in the middle of a save, no disk, no memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and signals of Linux")
HERE = Path(__file__).parent


def python(*command: str, **environment: str) -> str:
    """What a process prints that must end well."""
    ended = subprocess.run(
        [sys.executable, "-P", *command],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | environment,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# --- saving ---------------------------------------------------------------------------------

# Children of a fork save a file anew and kill themselves, each at one more of the calls that write,
# sync or rename.
KILLED = """
import io, os, signal, sys
from pathlib import Path
import numpy as np
import fmtlib as fl

path = Path(sys.argv[1])
OLD, NEW = np.arange(1000.0), np.arange(5000.0)
fl.save(path, {"x": OLD})
calls = 0

def deadly(function, at):
    def called(*given, **more):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **more)
    return called

class File(io.FileIO):
    pass

def save_and_die(at):
    File.write = deadly(half, at)
    plain = io.open
    def opened(file, mode="r", *given, **more):
        if "w" not in mode:
            return plain(file, mode, *given, **more)
        return (io.BufferedRandom if "+" in mode else io.BufferedWriter)(File(file, mode), 512)
    io.open = opened
    os.fsync, os.rename = deadly(os.fsync, at), deadly(os.rename, at)
    os.replace = deadly(os.replace, at)
    fl.save(path, {"x": NEW})

def half(self, data):  # the system, too, may write less than it is given
    return io.FileIO.write(self, bytes(data)[: max(len(data) // 2, 1)])

seen, at = [], 0
while True:
    at += 1
    child = os.fork()
    if not child:
        save_and_die(at)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = fl.load(path)["x"]
    kind = "new" if len(found) == len(NEW) else "old"
    assert np.array_equal(found, {"new": NEW, "old": OLD}[kind])
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    seen.append(kind)
    if kind == "new":
        fl.save(path, {"x": OLD})
assert kind == "new"
print(" ".join(seen))
left = [p.name for p in path.parent.iterdir() if p != path]
assert all(name.startswith(".") and name.endswith(".tmp") for name in left), left
"""


@linux
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_killed_save_leaves_the_old_file(tmp_path, suffix):
    seen = python("-c", KILLED, str(tmp_path / f"a{suffix}")).split()
    # however often it writes; at last it has been replaced, and the folder is synced
    assert len(seen) > 6
    assert seen == ["old"] * (len(seen) - 1) + ["new"]


# No room: a limit on the size of files, and where it can be mounted a file system that is full.
NO_ROOM = """
import os, resource, sys
from pathlib import Path
import numpy as np
import fmtlib as fl

path = Path(sys.argv[1])
fl.save(path, {"x": np.arange(10)})
old = path.read_bytes()
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    fl.save(path, {"x": np.arange(1 << 20)})
except OSError as error:
    print(error.errno)
assert path.read_bytes() == old
assert list(path.parent.iterdir()) == [path]
fl.save(path, {"x": np.arange(11)})
assert len(fl.load(path)["x"]) == 11
"""


@linux
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_that_may_not_grow(tmp_path, suffix):
    assert python("-c", NO_ROOM, str(tmp_path / f"a{suffix}"), "limit") == "27\n"  # EFBIG


@linux
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_full_disk(tmp_path, suffix):
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small file system")
    try:
        assert python("-c", NO_ROOM, str(tmp_path / f"a{suffix}"), "full") == "28\n"  # ENOSPC
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


READ_ONLY = """
import os, sys
from pathlib import Path
import fmtlib as fl

path = Path(sys.argv[1])
fl.save(path, {"x": 1})
fl.save(path, {"x": 2})
old = path.read_bytes()
path.parent.chmod(0o555)
if os.geteuid() == 0:  # whom no permission stops
    os.setresuid(65534, 65534, 65534)
try:
    fl.save(path, {"x": 3})
except PermissionError:
    print("refused")
assert path.read_bytes() == old
"""


@linux
def test_a_folder_that_is_read_only(tmp_path):
    folder = tmp_path
    while folder != folder.parent and folder.stat().st_uid == os.geteuid():
        folder.chmod(folder.stat().st_mode | 0o055)  # others may look
        folder = folder.parent
    assert python("-c", READ_ONLY, str(tmp_path / "a.npz")) == "refused\n"
    tmp_path.chmod(0o755)


# --- memory ---------------------------------------------------------------------------------


def failed(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


@linux
def test_every_allocation_can_fail(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    library = tmp_path / "failing_malloc.so"
    source = str(HERE / "failing_malloc.c")
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"], check=True
    )
    counts = failed(python(str(HERE / "out_of_memory.py"), "malloc", LD_PRELOAD=str(library)))
    # the calls of malloc that are ours: in new ufuncs, matrix products, packings, SCNN's work
    assert counts["new encode"] > 15
    assert min(counts["fmac"], counts["prepared fmac"], counts["counters"]) >= 1


@linux
def test_memory_that_is_limited():
    # all arrays straight from the system, so that none is at hand
    counts = failed(
        python(str(HERE / "out_of_memory.py"), "limit", MALLOC_MMAP_THRESHOLD_="131072")
    )
    for name in ("encode", "blocks", "decode", "compress", "decompress", "load npz",
                 "load safetensors", "frombytes", "unpack", "read_idx"):  # fmt: skip
        assert counts[name] >= 1, name
    assert sum(name.startswith("claim.") for name in counts) == 7
