"""The console script, as a user runs it."""

import csv
import json
import subprocess
import sys

import pytest

import fmtlib as fl
from fmtlib import cli


def run(*arguments, cwd=None):
    # -P: not the tree beside us, which holds no compiled kernels
    return subprocess.run(
        [sys.executable, "-P", "-m", "fmtlib", *arguments], capture_output=True, text=True, cwd=cwd
    )


def test_formats():
    listed = run("formats")
    assert listed.returncode == 0
    names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    assert names == list(fl.formats())


def test_show():
    shown = run("show", "e4m3")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == f"{fl.show('e4m3')}\n"
    part = run("show", "bfloat16", "--start", "0x7f7f", "--stop", "0x7f81").stdout
    assert part == f"{fl.show('bfloat16', 0x7F7F, 0x7F81)}\n"
    for arguments in (["e4m9"], ["e4m3", "--stop", "257"]):
        wrong = run("show", *arguments)
        assert wrong.returncode == 1
        assert wrong.stderr.startswith("fmtlib: error: ")
    assert run("show", "e4m3", "--start", "-1").returncode == 2


def test_help_and_version():
    assert run("--version").stdout == f"fmtlib {fl.__version__}\n"
    for arguments in ([], ["demo"], ["formats"], ["show"], ["vectors"], ["bench"], ["train"]):
        shown = run(*arguments, "--help")
        assert shown.returncode == 0
        assert "usage: fmtlib" in shown.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["demos"], ["demo", "--workers", "0"], ["demo", "--workers", "many"]]
)
def test_wrong_arguments(arguments):
    wrong = run(*arguments)
    assert wrong.returncode == 2
    assert "usage: fmtlib" in wrong.stderr


def test_errors_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    wrong = run("demo", "--quick", "--output", str(tmp_path / "file"))
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert wrong.stderr.startswith("fmtlib: error: ")


def test_a_missing_extra_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert cli.main(["demo", "--output", str(tmp_path)]) == 1
    assert 'pip install "fmtlib[demo]"' in capsys.readouterr().err


def test_quick_demo(tmp_path):
    shown = run("demo", "--quick", "--output", "results", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    for word in ("FP32", "FAST", "BFP m=4", "stripes", "dadiannao", "points", "cycles"):
        assert word in shown.stdout
    folder = tmp_path / "results"
    results = json.loads((folder / "results.json").read_text())
    assert [(r["network"], r["recipe"]) for r in results["accuracy"]] == [
        (network, recipe)
        for network in ("MLP", "CNN")
        for recipe in ("FP32", "FP8", "BFP m=4", "BFP m=2 trunc.", "m=2, then 4", "FAST")
    ]
    by_recipe = {r["recipe"]: r for r in results["accuracy"] if r["network"] == "MLP"}
    assert by_recipe["FP32"]["test_accuracy_percent"] > 85
    assert by_recipe["BFP m=4"]["passes_per_mac"] == 4
    assert by_recipe["BFP m=2 trunc."]["passes_per_mac"] == 1
    assert 1 < by_recipe["FAST"]["passes_per_mac"] < 4
    totals = {r["design"]: r for r in results["counts_total"] if r.get("ends") != "both"}
    cycles = [totals[d]["compute_cycles"] for d in ("dynamic_stripes", "stripes", "dadiannao")]
    assert cycles == sorted(cycles)
    assert totals["dadiannao"]["bits_per_activation"] == 16
    assert totals["dynamic_stripes"]["bits_per_activation"] < 16
    with (folder / "counts.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5 * 4
    for name in ("training", "widths", "speedups"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob(".*"))
