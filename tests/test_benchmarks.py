"""`fmtlib bench`: tasks, timer, record, tables, plot; and the guard of bench/vectorised.py."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fmtlib as fl
from fmtlib import cli, training
from fmtlib._core import kernels
from fmtlib.benchmarks import peers, report, results, runner, steps, tasks, timing
from fmtlib.formats import FORMATS, STOCHASTIC

ROOT = Path(__file__).parents[1]
TASKS = {task.name: task for task in tasks.tasks()}


def script(path):
    """A script of the repository, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


# --- tasks ----------------------------------------------------------------------------------


def test_every_format_has_its_tasks():
    assert len(TASKS) == len(tasks.tasks())
    for name, fmt in FORMATS.items():
        block = isinstance(fmt, fl.BlockFormat)
        for verb in ("encode", "decode", *(["quantize"] if block or fmt.fits("float32") else [])):
            assert f"{verb} {name}" in TASKS


def small(task):
    return task.make({"matrix": 32, "batch": 2}.get(task.scale, 256))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_runs(name):
    if TASKS[name].unit == tasks.TORCH_STEP:
        pytest.importorskip("torch")
    case = small(TASKS[name])
    with np.errstate(all="ignore"):
        case.yardstick()
        for variant in case.ours:
            variant.call()
    assert case.ours[0].name == "fmtlib"
    assert (case.operations > 0) == (TASKS[name].scale in ("matrix", "batch"))
    if TASKS[name].least_gflops is None and TASKS[name].scale == "array":
        assert case.moved > 0
        assert all(variant.moved > 0 for variant in case.ours)


@pytest.mark.peers
@pytest.mark.parametrize("name", steps.BATCHES)
def test_torch_has_the_same_networks(name):
    torch = pytest.importorskip("torch")
    modules, forward = steps.torch_network(torch, name)
    ours, (x, y) = steps.network(name), steps.batch(name, 2)
    theirs = sorted(p.numel() for p in modules.parameters())
    assert theirs == sorted(p.value.size for p in ours.parameters)
    logits = ours.forward(x, training.Float32().start(ours.products))
    assert tuple(forward(torch.from_numpy(x.copy())).shape) == logits.shape
    assert logits.shape[:-1] == y.shape


def test_data_are_what_names_say():
    x = tasks._special(1 << 16)
    plain = np.isfinite(x) & (np.abs(x) > 2e-3) & (np.abs(x) < 448)
    assert 0.08 < 1 - plain.mean() < 0.12
    assert np.isnan(x).any()
    for by in (1, 4):
        moved = tasks._shifted(x, by)
        assert moved.ctypes.data % 64 == by
        np.testing.assert_array_equal(moved, x)


def test_limits_go_by_instruction_set():
    encode, call = TASKS["encode float8_e4m3fn"], TASKS["call encode float8_e4m3fn, ufunc"]
    targets = ("x86-64-v4", "x86-64-v3", "baseline")
    assert [encode.limit_for(target) for target in targets] == [1.5, pytest.approx(2.4), None]
    assert [call.limit_for(target) for target in targets] == [2, 2, None]


# --- the timer ------------------------------------------------------------------------------


class Clock:
    """Time that passes only when a call says so."""

    now = 0.0

    def perf_counter(self):
        return self.now

    process_time = perf_counter

    def takes(self, seconds):
        def call():
            self.now += seconds

        return call


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(timing, "time", Clock())
    return timing.time


def test_rounds_run_everybody_in_turn(clock):
    ran = []
    for seconds, rounds in ((0, timing.MIN_ROUNDS), (0.125, 9), (9, timing.MAX_ROUNDS)):
        contestants = [
            timing.Contestant(who, lambda who=who: (ran.append(who), clock.takes(2**-7)()), 1)
            for who in "ab"
        ]
        timing.interleave(contestants, seconds)
        assert ran[-2 * rounds :] == ["a", "b"] * rounds
        for one in contestants:
            assert one.seconds == [2**-7] * rounds
            assert one.number == 1
            assert one.threads == 1


def test_short_calls_are_repeated(clock):
    short, long = (timing.Contestant("", clock.takes(t), 1) for t in (2**-20, 2**-10))
    timing.interleave([short, long], 0)
    assert (short.number, long.number) == (210, 1)
    assert short.seconds == [2**-20] * timing.MIN_ROUNDS


def test_contestants_run_on_their_target():
    ran = []
    for target in kernels.available_targets():
        timing.Contestant("fmtlib", lambda: ran.append(fl.cpu_target()), 1, target).run()
    assert ran == list(kernels.available_targets())
    assert fl.cpu_target() == ran[0] or len(ran) > 1
    timing.Contestant("peer", lambda: ran.append(fl.cpu_target()), 1).run()
    assert ran[-1] == fl.cpu_target()


def test_slow_contestants_get_a_part(clock):
    for whole, least, most in ((0.01, 1, 1), (1.0, 32, 64), (50.0, 1024, 4096), (1e4, 4096, 4096)):
        call, part = timing.part_for(lambda part, whole=whole: clock.takes(whole / part))
        assert least <= part <= most
        assert part & (part - 1) == 0
        before = clock.now
        call()
        assert clock.now - before == pytest.approx(whole / part)
    assert timing.part_for(lambda part: None) is None


# --- the command ----------------------------------------------------------------------------


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-P", "-m", "fmtlib", "bench", *arguments],
        capture_output=True, text=True, cwd=cwd,
    )  # fmt: skip


SELECT = "^encode float8_e5m2$|^quantize float8_e5m2fnuz$|group_bits of 16$|exact|call enc.*ufunc"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What a small run prints and writes."""
    folder = tmp_path_factory.mktemp("bench")
    arguments = ["--quick", "--no-peers", "--select", SELECT, "--sizes", "l1,300",
                 "--targets", "all", "--json", "a.json", "--plot", "a.svg"]  # fmt: skip
    return folder, run(*arguments, cwd=folder)


def test_limits_are_those_of_the_instruction_set_that_is_measured():
    found = runner.measure(
        select="^encode float8_e4m3fn$", targets="baseline", sizes="300", peers=False, seconds=0
    )
    assert [row["limit"] for row in found["rows"]] == [None]
    if "x86-64-v3" not in kernels.available_targets():
        return
    found = runner.measure(
        select="^encode float8_e4m3fn$", targets="x86-64-v3", sizes="300", peers=False, seconds=0
    )
    assert [row["limit"] for row in found["rows"]] == [pytest.approx(1.6 * 1.5)]
    assert "x86-64-v3 kernels" in report.about(found)


def test_the_command(ran):
    folder, shown = ran
    assert shown.returncode == 0, shown.stderr
    assert "yardstick" in shown.stdout.splitlines()[2]  # a table, no JSON
    found = results.load(folder / "a.json")
    assert found["schema"] == results.SCHEMA
    assert found["command"].startswith("fmtlib bench --quick --no-peers --select")
    assert found["versions"]["fmtlib"] == fl.__version__
    assert found["machine"]["cpu_target"] == fl.cpu_target()
    assert found["targets"][0] == fl.cpu_target()
    assert sorted(found["targets"]) == sorted(kernels.available_targets())
    assert [(row["task"], row["size"]) for row in found["rows"]] == [
        ("encode float8_e5m2", "l1"), ("encode float8_e5m2", "300"),
        ("quantize float8_e5m2fnuz", "l1"), ("quantize float8_e5m2fnuz", "300"),
        ("group_bits of 16", "l1"), ("group_bits of 16", "300"),
        ("call encode float8_e4m3fn, ufunc", "1024"),
        ("matmul float8_e4m3fn exact", "256 × 256"),
    ]  # fmt: skip
    for row in found["rows"]:
        yardstick, *others = row["entries"]
        assert yardstick["who"] == row["yardstick"]
        assert yardstick["ratio"] == 1
        assert {e["target"] for e in others} == set(kernels.available_targets())
        for entry in others:
            seconds = entry["seconds"]
            assert entry["rounds"] >= 5
            assert 0 < seconds["min"] <= seconds["q1"] <= seconds["median"] <= seconds["q3"]
            expected = seconds["median"] / yardstick["seconds"]["median"]
            assert entry["ratio"] == pytest.approx(expected, rel=2e-3)
            assert 0 < entry["ratio_quartiles"][0] <= entry["ratio_quartiles"][1]
        assert row["task"] in shown.stdout
    first = found["rows"][0]["entries"][1]
    assert first["bytes"] == 5 * 4096
    assert first["ratio_per_byte"] == pytest.approx(first["ratio"] * 8 / 5, rel=2e-3)
    assert found["rows"][-1]["entries"][1]["gflops"] > 0
    picture = (folder / "a.svg").read_text(encoding="utf-8")
    assert "<svg" in picture
    for word in ("encode float8_e5m2", "np.copyto of the float32 array", "log scale"):
        assert word in picture
    assert not list(folder.glob(".*"))


def test_compare_of_the_command(ran):
    folder, _ = ran
    arguments = ["--quick", "--no-peers", "--select", "encode float8_e5m2$", "--sizes", "300"]
    shown = run(*arguments, "--compare", "a.json", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"2 compared: \d slower, \d faster", shown.stdout)  # function and ufunc


def test_list(capsys):
    assert cli.main(["bench", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == list(TASKS)
    assert cli.main(["bench", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list(TASKS)


def test_json_is_all_that_is_printed(tmp_path, capsys):
    arguments = ["--quick", "--no-peers", "--select", "^encode float8_e5m2$", "--sizes", "300"]
    saved = str(tmp_path / "a.json")
    assert cli.main(["bench", *arguments, "--out", saved, "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (results.load(saved), "")
    assert cli.main(["bench", *arguments, "--compare", saved, "--json"]) == 0
    assert [one["task"] for one in json.loads(capsys.readouterr().out)["changes"]] == [
        "encode float8_e5m2", "encode float8_e5m2",
    ]  # fmt: skip


def test_wrong_arguments(tmp_path, capsys):
    (tmp_path / "text").write_text("not JSON")
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / "old.json").write_text('{"schema": 0, "rows": []}')
    for arguments, words in (
        (["--select", "nothing_like_it"], "no benchmark matches 'nothing_like_it'"),
        (["--select", "("], "no regular expression"),
        (["--targets", "z80"], "no kernels for 'z80' here"),
        (["--sizes", "l5"], "got 'l5'"),
        (["--sizes", "1.5l9"], "no such cache"),
        (["--sizes", "12"], "from 64"),
        (["--json", str(tmp_path / "no/a.json")], "no folder"),
        (["--plot", str(tmp_path / "a.gif")], ".svg, .png or .pdf"),
        (["--compare", str(tmp_path / "missing.json")], "No such file"),
        (["--compare", str(tmp_path / "text")], "is not JSON"),
        (["--compare", str(tmp_path / "other.json")], "no results of fmtlib bench"),
        (["--compare", str(tmp_path / "old.json")], "schema 0"),
    ):
        assert cli.main(["bench", *arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("fmtlib: error: ")
        assert error.count("\n") == 1
        assert words in error
    for usage in (["--seconds", "-1"], ["--seconds", "nan"], ["a.json"], ["--quick", "no"]):
        assert cli.main(["bench", *usage]) == 2
        assert "Usage: fmtlib bench" in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert cli.main(["bench", "--quick"]) == 1
    assert 'pip install "fmtlib[bench]"' in capsys.readouterr().err


def test_only_headlines_run_everywhere():
    sizes = {"l1": 4096, "memory": 1 << 24}
    for name, everywhere in (("encode float8_e5m2", True), ("encode float8_e3m4", False)):
        task = TASKS[name]
        assert task.headline == everywhere
        chosen = runner._sizes_of(task, sizes, False, task.headline)
        assert chosen == (sizes if everywhere else {"memory": 1 << 24})
    assert runner._sizes_of(TASKS["matmul float8_e4m3fn ada"], sizes, False, True) == {
        "512 × 512": 512
    }


def test_sizes():
    assert runner.parse_sizes("memory,l1,1000") == {"memory": 1 << 24, "l1": 4096, "1000": 1000}
    assert list(runner.parse_sizes("all"))[:3] == ["l1", "l2", "memory"]


# --- comparison, tables, documents ----------------------------------------------------------


def entry(who, ratio, spread=0.01, elements=1 << 24, **more):
    return {
        "who": who, "elements": elements, "rounds": 5, "calls_per_round": 1, "threads": 1.0,
        "seconds": dict.fromkeys(("min", "q1", "median", "q3"), ratio / 100), "ratio": ratio,
        "ratio_of_minima": ratio, "ratio_quartiles": [ratio - spread, ratio + spread], **more,
    }  # fmt: skip


def record(*rows):
    found = []
    for task, entries in rows:
        made = TASKS[task]
        found.append({
            "task": task, "size": "memory", "yardstick": made.unit, "headline": made.headline,
            "limit": made.limit_for("x86-64-v3"), "least_gflops": made.least_gflops,
            "entries": [entry(made.unit, 1.0), *entries],
        })  # fmt: skip
    machine = {"processor": "Z80", "cores": 1, "caches": {"l1": 1 << 15}, "blas": None,
               "cpu_target": "x86-64-v3", "system": "CP/M"}  # fmt: skip
    return {
        "schema": results.SCHEMA, "date": "2026-01-01T00:00:00", "command": "fmtlib bench",
        "seconds": 1.0, "quick": False, "targets": ["x86-64-v3"], "machine": machine,
        "versions": {"python": "3.11", "fmtlib": "0"}, "left_out": [], "rows": found,
    }  # fmt: skip


def ours(ratio, spread=0.01, who="fmtlib", **more):
    return entry(who, ratio, spread, target="x86-64-v3", **more)


def test_compare_tells_noise_from_change():
    task = "encode float8_e5m2"
    for before, after, expected in (
        (ours(2), ours(2.05), ""),  # apart, but near
        (ours(2), ours(2.3), "slower"),
        (ours(2), ours(1.5), "faster"),
        (ours(2, 0.2), ours(2.3, 0.2), ""),  # far, but noisy
    ):
        now, saved = record((task, [after])), record((task, [before]))
        (change,) = results.compare(now, saved)
        assert change["verdict"] == expected
        assert change["change"] == pytest.approx(after["ratio"] / before["ratio"] - 1)
    with pytest.raises(ValueError, match="no task in common"):
        results.compare(now, record(("decode float8_e5m2", [ours(1)])))


def test_notes_say_what_differs():
    now, saved = record(), record()
    saved["machine"]["processor"] = "6502"
    assert "processor: 6502 → Z80" in report.compare_note(now, saved)


def test_parts_and_threads_are_shown():
    row = record(("encode float8_e5m2", [ours(2.0)]))["rows"][0]
    assert report.entry_text(row, entry("gfloat", 620.4, elements=1 << 16)) == "620 (1/256)"
    assert report.entry_text(row, entry("jax", 2.9) | {"threads": 1.9}) == "2.90*"


def full_record():
    """Results with a row for everything that the documents show, and for every peer."""
    script_ = script(ROOT / "docs/benchmarks.py")
    names = [peer.name for peer in peers.PEERS]
    rows = [
        (task, [ours(2.0, gflops=4.0) if "matmul" in task else ours(2.0),
                *(entry(name, 9.0) for name in names)])
        for task in script_.README_TASKS
    ]  # fmt: skip
    awkward = [ours(2.0, ratio_per_byte=1.0), ours(1.0, who="fmtlib, plain data", ratio_per_byte=1)]
    return script_, record(*rows, ("encode fixed_s7_8, a byte off", awkward))


def test_documents_need_the_peers():
    module, found = full_record()
    assert module.checked(found) is found
    text = module.figures(found)
    for word in ("| encode fixed_s7_8, a byte off | 2.00 | plain data | 1.00 | +100% |", "jax"):
        assert word in text
    assert module.headline(found).count("\n| ") == 1 + len(module.README_TASKS) + 1
    for row in found["rows"]:
        row["entries"] = [e for e in row["entries"] if e["who"] not in ("jax", "qtorch")]
    with pytest.raises(SystemExit, match=r"no figures of jax, qtorch: install them"):
        module.checked(found)


def test_documents_need_all_tasks():
    module, found = full_record()
    del found["rows"][0]
    with pytest.raises(SystemExit, match="are of a part"):
        module.checked(found)
    assert set(module.README_TASKS) <= {name for name, task in TASKS.items() if task.headline}


def test_documents_are_those_of_the_record():
    """Without a record there are no figures."""
    module = script(ROOT / "docs/benchmarks.py")
    expected = {"docs/benchmarks.md": "", "README.md": ""}
    if module.RECORD.exists():
        found = module.checked(results.load(module.RECORD))
        expected = dict(zip(expected, (module.figures(found), module.headline(found)), strict=True))
        assert module.PICTURE.exists()
    for name, text in expected.items():
        page = (ROOT / name).read_text(encoding="utf-8")
        (shown,) = re.findall(r"<!-- \w+: docs/benchmarks\.py -->\n(.*?)<!--", page, re.DOTALL)
        assert shown.rstrip("\n") == text


def test_fill(tmp_path):
    module = script(ROOT / "docs/readme_figures.py")
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: docs/s.py -->\nold\n<!-- end of x -->\nb\n")
    module.fill(page, "x", r"new \1")
    assert page.read_text() == "a\n<!-- x: docs/s.py -->\nnew \\1\n<!-- end of x -->\nb\n"
    with pytest.raises(SystemExit, match="0 places"):
        module.fill(page, "y", "new")


# --- the guard ------------------------------------------------------------------------------

GUARD = script(ROOT / "bench/vectorised.py")

GCC = """
;; Function encode (encode.constprop.0, funcdef_no=21, decl_uid=4310, cgraph_uid=22)

/src/a.inc.h:10:29: missed:   not vectorized: control flow in loop.
/src/a.inc.h:10:29: optimized: loop vectorized using 32 byte vectors
/src/a.inc.h:10:29: optimized: loop vectorized using 16 byte vectors
a.inc.h:20:5: missed: couldn't vectorize loop
;; Function decode (decode, funcdef_no=22)
a.inc.h:20:5: optimized: loop vectorized using 32 byte vectors
"""

CLANG = """--- !Analysis
Pass:            loop-vectorize
Name:            CantVectorize
DebugLoc:        { File: './a.inc.h', Line: 10, Column: 5 }
Function:        encode
...
--- !Passed
Pass:            loop-vectorize
Name:            Vectorized
DebugLoc:        { File: './a.inc.h', Line: 10, Column: 5 }
Function:        encode
Args:
  - String:          'vectorized loop (vectorization width: '
  - VectorizationFactor: '8'
...
--- !Missed
Pass:            loop-vectorize
Name:            MissedDetails
DebugLoc:        { File: '/src/a.inc.h', Line: 20, Column: 5 }
Function:        encode
Args:
  - String:          loop not vectorized
...
"""

LISTING = """
0000000000000000 <encode.constprop.0>:
encode.constprop.0():
/src/a.inc.h:10
   0:\tpush   %rbx
/src/a.inc.h:11 (discriminator 3)
   1:\tvmovdqu (%rdi),%ymm0
   5:\tvpaddd %ymm1,%ymm0,%ymm0
   9:\tadd    $0x20,%rdi
   d:\tcmp    %rdi,%rsi
  11:\tjne    1 <encode.constprop.0+0x1>
/src/a.inc.h:21
  13:\tmov    (%rdi),%eax
  15:\tadd    %ecx,%eax
  17:\tjne    13 <encode.constprop.0+0x13>
/src/a.inc.h:31
  19:\tcall   40 <decode>
  1e:\tjne    19 <encode.constprop.0+0x19>
  20:\tret

0000000000000040 <decode>:
/src/a.inc.h:41
  40:\tret
"""


def test_guard_reads_reports():
    loops = GUARD.gcc_loops(GCC)
    assert {key: [f.width for f in found] for key, found in loops.items()} == {
        ("encode", ("a.inc.h", 10)): [32, 16],
        ("encode", ("a.inc.h", 20)): [0],
        ("decode", ("a.inc.h", 20)): [32],
    }
    loops = GUARD.clang_loops(CLANG)
    assert {key: [f.width for f in found] for key, found in loops.items()} == {
        ("encode", ("a.inc.h", 10)): [8],
        ("encode", ("a.inc.h", 20)): [0],
    }


def test_guard_reads_machine_code():
    lines = GUARD.vector_lines(LISTING)
    # 11 is packed, 31 calls another function of the file, 21 is scalar
    assert lines == {"encode": {("a.inc.h", 11), ("a.inc.h", 31)}}


def test_guard_judges(tmp_path, monkeypatch):
    (tmp_path / "a.inc.h").write_text("LOOPS(x)\nfor (;;) {\n    y;\n}\nfor (;;)\n    z;\nw;\n")
    monkeypatch.setattr(GUARD, "SOURCES", tmp_path)
    GUARD.loop_lines.cache_clear()
    lines = [list(GUARD.loop_lines("a.inc.h", line)) for line in (1, 2, 5)]
    assert lines == [[1], [2, 3, 4], [5, 6]]
    yes, no = GUARD.Found(32, missed=False), GUARD.Found(0, missed=True)
    for found, vectors, text, fine in (
        ([yes], set(), "32 bytes", True),
        ([no], None, "scalar", False),
        ([no], {("a.inc.h", 3)}, "vectors", True),
        ([no], {("a.inc.h", 6)}, "scalar", False),
        ([yes, no], set(), "32 bytes, in part scalar", False),
    ):
        verdict = GUARD.judge(found, ("a.inc.h", 2), vectors, "bytes")
        assert (verdict.text, verdict.fine) == (text, fine)
    GUARD.loop_lines.cache_clear()


def test_guard_compiles_with_the_flags_of_the_extension():
    flags = GUARD.flags()
    assert {"-std=c11", "-O3", "-ffp-contract=off", "-fno-trapping-math"} <= set(flags)
    assert not any("sanitize" in flag for flag in flags)


# --- peers ----------------------------------------------------------------------------------


def values_of(call):
    """A peer's result as float32."""
    result = call()
    if result is None:
        result = call.args[0]
    if isinstance(result, list):
        result = np.concatenate(result)
    if hasattr(result, "detach"):  # torch
        result = (result.int_repr() if result.is_quantized else result.float()).numpy()
    return np.asarray(result).astype(np.float32)


@pytest.mark.parametrize("rooted", [False, True])
def test_a_lock_that_a_killed_import_has_left(rooted, tmp_path, monkeypatch, capsys):
    python = f"py{sys.version_info.major}{sys.version_info.minor}{getattr(sys, 'abiflags', '')}"
    build = tmp_path / "quant_cpu" if rooted else tmp_path / f"{python}_cpu" / "quant_cpu"
    build.mkdir(parents=True)
    fake = SimpleNamespace(get_default_build_root=lambda: str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch.utils.cpp_extension", fake)
    if rooted:
        monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    else:
        monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=lambda _: None))
    for name in ("qtorch", "qtorch.quant"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    monkeypatch.setattr(peers, "PEERS", (peers.QTorch,))
    lock = build / "lock"
    lock.touch()
    os.utime(lock, (0, 0))
    assert peers.installed() == []
    left = f"qtorch is left out: a process that was killed has left {lock}: remove it\n"
    assert capsys.readouterr().err == left
    # of another that goes on, the end is waited for
    lock.touch()
    monkeypatch.setattr(peers.time, "sleep", lambda _: lock.unlink())
    assert len(peers.installed()) == 1
    assert capsys.readouterr().err == f"waiting for the process that has made {lock}\n"
    assert len(peers.installed()) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.peers
# blosc2 converts nothing
@pytest.mark.parametrize("peer", peers.PEERS[1:-1], ids=lambda peer: peer.name)
def test_peers_do_the_same(peer, record_property):
    """On normal data; E8M0 knows only positive numbers."""
    found = [one for one in peers.installed() if isinstance(one, peer)]
    if not found:
        pytest.skip(f"{peer.name} is not installed")
    (peer,) = found
    x = np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)
    compared = 0
    for name, fmt in FORMATS.items():
        if not fmt.fits("float32"):
            continue
        data = np.abs(x) if name in ("float8_e8m0fnu", "binary8p1uf") else x
        quantized = fl.quantize(data, fmt)
        for verb in ("encode", "decode", "quantize", "stochastic"):
            block = isinstance(fmt, fl.BlockFormat)
            if block and verb == "decode":
                continue
            call = getattr(peer, verb)(fl.encode(data, fmt) if verb == "decode" else data, fmt)
            if call is None:
                continue
            with np.errstate(all="ignore"):
                found = values_of(call).reshape(x.shape)
            if verb == "stochastic":
                assert (np.abs(found - data) <= 2 * np.abs(quantized - data).max()).all()
            elif verb == "encode" and peer.name == "gfloat":
                np.testing.assert_array_equal(found, fl.encode(data, fmt))
            elif peer.name == "qtorch":  # it rounds ties away, of which 17 bits have many
                assert (found == quantized).mean() > 0.98
            else:
                np.testing.assert_array_equal(found, quantized)
            compared += 1
    record_property("inputs", compared * x.size)
    assert compared > 10


@pytest.mark.peers
def test_peers_of_other_tasks_do_the_same():
    x = np.random.default_rng(0).standard_normal((8, 64), dtype=np.float32)
    scale, zero_point = np.linspace(0.01, 0.03, 8), np.arange(-4, 4)
    ours = fl.encode(x, "int8", scale=scale, zero_point=zero_point, axis=0)
    groups = (x * 1000).astype(np.int16)
    for peer in peers.installed():
        call = peer.compress(groups, "decompress")
        if call is not None:
            call()
            np.testing.assert_array_equal(call.keywords["dst"], groups)
        call = peer.affine(x, scale, zero_point)
        if call is not None:
            assert (np.abs(values_of(call) - ours) <= 1).all()
        call = peer.group_bits(groups, 16)
        if call is not None:
            assert np.array_equal(values_of(call), fl.group_bits(groups, 16).ravel())
        call = peer.matmul(x, x.T.copy())
        if call is not None:
            np.testing.assert_allclose(values_of(call), x @ x.T, rtol=1e-4, atol=1e-4)


def test_numpy_by_hand_does_the_same():
    peer = peers.NumPy()
    x = np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)
    for fmt in map(fl.get_format, ("float16", "bfp_m4_e8_g16", "bfp_m8_e8_g16")):
        found = values_of(peer.quantize(x, fmt)).reshape(x.shape)
        np.testing.assert_array_equal(found, fl.quantize(x, fmt))
    for fmt in map(fl.get_format, ("float16", "fixed_s7_8", "fixed_u8_8")):
        found = values_of(peer.encode(x, fmt))
        ours = fl.encode(x, fmt)
        np.testing.assert_array_equal(found, ours.view("f2") if fmt.name == "float16" else ours)
    for fmt in map(fl.get_format, ("float16", "float8_e4m3fn")):
        codes = fl.encode(x, fmt)
        np.testing.assert_array_equal(values_of(peer.decode(codes, fmt)), fl.decode(codes, fmt))
    noisy = values_of(peer.stochastic(x, fl.bfp(4))).reshape(x.shape)
    assert (np.abs(noisy - x) <= 2 * np.abs(fl.quantize(x, fl.bfp(4)) - x).max()).all()
    groups = (x * 1000).astype(np.int16)
    found = values_of(peer.group_bits(groups, 16))
    np.testing.assert_array_equal(found, fl.group_bits(groups, 16).ravel())
    assert STOCHASTIC  # all of them have a task
    assert all(f"quantize float8_e4m3fn {name}" in TASKS for name in STOCHASTIC)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("who", None), ("who", " "), ("who", ["fmtlib"]), ("target", []), ("ratio", 0),
        ("ratio", None), ("ratio", "1"), ("ratio", 10**400), ("ratio", float("nan")),
        ("ratio", True), ("ratio_quartiles", None), ("ratio_quartiles", [1.0]),
        ("ratio_quartiles", [1.0, [2.0]]), ("ratio_quartiles", [-1.0, 1.0]),
    ],
)  # fmt: skip
def test_results_that_are_none_are_refused(tmp_path, key, value):
    found = record(("encode float8_e5m2", [ours(2.0)]), ("decode float8_e5m2", [ours(2.0)]))
    results.ours_of(found["rows"][1])[0][key] = value
    results.save(found, tmp_path / "a.json")
    with pytest.raises(ValueError, match="row 1 is none of fmtlib bench's"):
        results.load(tmp_path / "a.json")


@pytest.mark.parametrize("row", [1, {}, {"task": "a", "size": "l1", "entries": {}}])
def test_rows_that_are_none_are_refused(tmp_path, row):
    (tmp_path / "a.json").write_text(json.dumps({"schema": results.SCHEMA, "rows": [row]}))
    with pytest.raises(ValueError, match="row 0 is none of fmtlib bench's"):
        results.load(tmp_path / "a.json")


def test_json_is_one_row_a_line(tmp_path):
    found = record(("encode float8_e5m2", [ours(2.0)]), ("decode float8_e5m2", [ours(2.0)]))
    results.save(found, tmp_path / "a.json")
    assert results.load(tmp_path / "a.json") == json.loads(json.dumps(found))
    lines = (tmp_path / "a.json").read_text().splitlines()
    assert sum('"task"' in line for line in lines) == 2
