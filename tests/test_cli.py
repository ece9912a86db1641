"""The console script, as a user runs it."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fmtlib as fl
from fmtlib import cli, commands
from fmtlib.commands import COMMANDS
from fmtlib.formats import ALIASES

ROOT = Path(__file__).parents[1]
# What takes long to import, and what commands import only when they run.
HEAVY = {
    "dask", "hypothesis", "jax", "joblib", "matplotlib", "ml_dtypes", "onnx", "onnxruntime",
    "pandas", "PIL", "pyarrow", "safetensors", "scipy", "sklearn", "threadpoolctl", "torch",
}  # fmt: skip


def run(*arguments, cwd=None, **environment):
    # -P: not the tree beside us, which holds no compiled kernels
    return subprocess.run(
        [sys.executable, "-P", "-m", "fmtlib", *arguments],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment},
    )  # fmt: skip


def python(code):
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)


def test_version_and_help():
    assert run("--version").stdout == f"fmtlib {fl.__version__}\n"
    listed = CliRunner().invoke(commands.app, ["--help"])
    assert listed.exit_code == 0
    for name, command in COMMANDS.items():
        assert f" {name} " in listed.stdout
        assert command.summary[:40] in listed.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name, capsys):
    assert cli.main([name, "--help"]) == 0
    long = capsys.readouterr().out
    assert cli.main([name, "-h"]) == 0
    assert capsys.readouterr().out == long
    assert f"Usage: fmtlib {name}" in long
    for word in ("Examples", f"$ fmtlib {name}", "--json"):
        assert word in long


def imported(*calls):
    """The modules that are imported after some calls."""
    code = "from fmtlib.cli import main\nfor c in {}: main(c)\nimport sys; print('#', *sys.modules)"
    shown = python(code.format(calls))
    assert shown.returncode == 0, shown.stderr
    return set(shown.stdout.rpartition("#")[2].split())


def test_help_imports_little():
    modules = imported(["--help"])
    assert "fmtlib.commands" in modules
    assert not {command.function.partition(":")[0] for command in COMMANDS.values()} & modules
    modules |= imported(*([name, "--help"] for name in COMMANDS))
    assert not HEAVY & {module.partition(".")[0] for module in modules}
    alone = python("import fmtlib, sys; print(*sys.modules)").stdout.split()
    assert not {"typer", "rich", "fmtlib.commands"} & set(alone)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing):
    start = f"import sys; sys.modules[{missing!r}] = None; "
    for call in (
        "from fmtlib.cli import main; sys.exit(main(['formats']))",
        "import runpy; sys.argv[1:] = ['formats']; runpy.run_module('fmtlib', run_name='__main__')",
    ):
        shown = python(start + call)
        assert (shown.returncode, shown.stdout) == (2, "")
        assert shown.stderr == (
            f'fmtlib: error: the command line needs {missing}: pip install "fmtlib[cli]"\n'
        )


@pytest.mark.parametrize(
    "arguments",
    [[], ["demos"], ["demo", "--workers", "0"], ["demo", "--workers", "many"], ["--no-such"],
     ["show", "e4m3", "--start", "-1"], ["show", "e4m3", "--code", "1", "--value", "1"]],
)  # fmt: skip
def test_wrong_arguments(arguments, capsys):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert "Usage: fmtlib" in out + err


def test_a_near_name_is_suggested(capsys):
    assert cli.main(["shw"]) == 2
    assert "Did you mean 'show'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("vectors e4m3 --op dot --accumulator hoper", "hopper"),
        ("vectors e4m3 --op qantize", "quantize"),
        ("vectors e4m3 --op encode --dtype float23", "float32"),
        ("vectors e4m3 --op encode --rounding nearest_evn", "nearest_even"),
        ("vectors e4m3 --op encode --overflow saturat", "saturate"),
        ("train --loss-scale dynamc", "dynamic"),
        ("train --schedule warm", "warmup"),
        ("bench --targets bst", "best"),
    ],
)
def test_a_near_name_of_an_option_is_suggested(words, near, capsys):
    assert cli.main(words.split()) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"did you mean '{near}'" in err


def test_errors_are_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for arguments in (["demo", "--quick", "--output", str(tmp_path / "file")], ["show", "e4m9"]):
        assert cli.main(arguments) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("fmtlib: error: ")
    wrong = run("show", "e4m9")
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (1, "", err)


def test_errors_that_are_ours_are_not_hidden(monkeypatch):
    monkeypatch.setattr(fl, "formats", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["formats"])


def test_interrupted(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(fl, "formats", interrupt)
    assert cli.main(["formats"]) == 130
    assert capsys.readouterr().err == "fmtlib: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_reader_that_has_had_enough():
    command = [sys.executable, "-P", "-m", "fmtlib", "show", "int16", "--stop", "4096"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == b""


def test_a_missing_extra_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert cli.main(["demo", "--output", str(tmp_path)]) == 1
    assert 'pip install "fmtlib[demo]"' in capsys.readouterr().err


# --- completion -----------------------------------------------------------------------------


def complete(monkeypatch, capsys, line):
    """What Typer offers bash for the last word of a line."""
    monkeypatch.setenv("_FMTLIB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert cli.main([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fmtlib s", ["show"]),
        ("fmtlib show float8_e4", [n for n in fl.formats() if n.startswith("float8_e4")]),
        ("fmtlib show e4m3f", [n for n in ALIASES if n.startswith("e4m3f")]),
        ("fmtlib show e4m3 --co", ["--code"]),
        ("fmtlib vectors e4m3 --rounding up,to", ["up,toward_zero", "up,to_odd"]),
        ("fmtlib vectors e4m3 --op de", ["decode"]),
        ("fmtlib vectors e4m3 --accumulator ho", ["hopper"]),
        ("fmtlib train --recipe fa", ["fast"]),
        ("fmtlib train --data mnist", ["mnist", "mnist1d"]),
        ("fmtlib train --network m", ["mlp"]),
        ("fmtlib train --optimizer adam", ["adam", "adamw"]),
        ("fmtlib count m.onnx --designs tcl_e,str", ["tcl_e,stripes"]),
        ("fmtlib count m.onnx --storage d", ["dpred"]),
        ("fmtlib convert x.npy --format mxfp8_e5", ["mxfp8_e5m2"]),
        ("fmtlib bench --targets al", ["all"]),
    ],
)
def test_completion(line, expected, monkeypatch, capsys):
    assert complete(monkeypatch, capsys, line) == expected


def test_completion_is_installed(tmp_path):
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "_FMTLIB_COMPLETE=complete_bash" in run("--show-completion", "bash", **home).stdout
    assert run("--install-completion", "bash", **home).returncode == 0
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_FMTLIB_COMPLETE=complete_bash" in text for text in written)


# --- what documents say ---------------------------------------------------------------------

DOCUMENTS = [
    *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.py"),
    *(path for path in (ROOT / "examples").rglob("*.*") if path.suffix != ".pyc"), ROOT / ".ci/run",
]  # fmt: skip


def calls(text):
    """The calls of `fmtlib` that a text shows: at the start of lines, or between backticks."""
    text = text.replace("\\\n", " ")
    for line in re.findall(r"^\s*(?:\$ )?(fmtlib .*)$|`(fmtlib [^`\n]*)`", text, re.MULTILINE):
        words = shlex.split((line[0] or line[1]).partition(" | ")[0], comments=True)
        if words[1:] and words[1] in COMMANDS:
            yield words[1:]


def check(words):
    """That the command takes the words, without running it."""
    name, *arguments = words
    if "--help" not in arguments:
        COMMANDS[name].load(name).make_context(name, arguments)


def test_documents_call_it_rightly():
    found = [words for path in DOCUMENTS for words in calls(path.read_text("utf-8"))]
    assert len(found) > 40
    for words in found:
        if words[1:] or words[0] in ("formats", "demo", "bench"):
            check(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_the_help_are_right(name):
    command = COMMANDS[name].load(name)
    examples = list(calls(command.epilog))
    assert len(examples) >= 2
    for words in examples:
        assert words[0] == name
        check(words)
    if name in ("formats", "show"):
        for words in examples:
            assert cli.main(words) == 0


# --- the demonstration ----------------------------------------------------------------------


def test_quick_demo(tmp_path):
    shown = run("demo", "--quick", "--output", "results", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
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
