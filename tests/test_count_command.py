"""``fmtlib count``, as a user runs it."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from fmtlib import cli, hardware
from fmtlib.hardware import Report, command, count, design, design_names

RANDOM = np.random.default_rng(11)


def model(shape=("n", 3, 16, 16)):
    """Two convolutions, the second grouped, and a fully connected layer."""
    constants = {
        "w1": RANDOM.normal(size=(8, shape[1] if shape[1] in (1, 3) else 3, 3, 3)),
        "w2": RANDOM.normal(size=(8, 4, 3, 3)),
        "w3": RANDOM.normal(size=(8, 5)),
    }
    first = shape[1] in (1, 3)
    nodes = [] if first else [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])]
    nodes += [
        helper.make_node("Conv", ["x" if first else "t", "w1"], ["c1"], "conv1", strides=[2, 2],
                         pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "<b>conv2</b>", group=2),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["y"], "fc"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("count")
    onnx.save(model(), path / "model.onnx")
    onnx.save(model(("n", 12, 10, 3)), path / "last.onnx")
    pixels = RANDOM.integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(path / "photo.png")
    Image.fromarray(pixels).save(path / "photo.jpg")
    np.save(path / "x.npy", RANDOM.random((2, 3, 16, 16), np.float32))
    np.savez(path / "x.npz", x=np.load(path / "x.npy"))
    odd = np.load(path / "x.npy")
    odd[1, 2, 3, 4:6] = np.nan, np.inf
    np.save(path / "odd.npy", odd)
    np.savez(path / "odd.npz", x=odd)
    (path / "text.jpg").write_text("no photograph")
    (path / "text.onnx").write_text("no model")
    (path / "text.npy").write_text("no array")
    (path / "mine.py").write_text(MINE)
    return path


# A design of one's own, as a class and as an object.
MINE = """
from dataclasses import dataclass
from fmtlib.hardware.designs.stripes import Stripes

@dataclass(frozen=True, kw_only=True)
class Own(Stripes):
    name = "own"
    steps: int = 2

    def compute_cycles(self, layer):
        return self.steps * super().compute_cycles(layer)

THREE = Own(steps=3)
"""


def run(folder, *arguments, **environment):
    # -P: not the tree beside us, which holds no compiled kernels
    return subprocess.run(
        [sys.executable, "-P", "-m", "fmtlib", "count", *arguments],
        capture_output=True, text=True, cwd=folder, env={**os.environ, **environment},
    )  # fmt: skip


def test_the_whole_job_in_one_command(folder):
    shown = run(folder, "model.onnx", "--input", "photo.jpg", "--designs", "all",
                "--out", "report", FORCE_COLOR="1", NO_COLOR="1", COLUMNS="200")  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "counting" in shown.stderr or "100%" in shown.stderr  # the bar
    assert all(name in shown.stdout for name in design_names())
    report = Report.load(folder / "report" / "report.json")
    assert report.networks == ["model"]
    names = list(dict.fromkeys(r["layer"] for r in report.records))
    assert names == ["conv1", "<b>conv2</b>", "fc", "total"]
    assert "&lt;b&gt;conv2&lt;/b&gt;" in (folder / "report" / "index.html").read_text("utf-8")
    # The same as by hand: RGB, bicubic, pixels from 0 to 1, channels first.
    with Image.open(folder / "photo.jpg") as photo:
        small = photo.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)
    x = (np.asarray(small, np.float32) / np.float32(255)).transpose(2, 0, 1)[None]
    layers = hardware.trace(str(folder / "model.onnx"), x)
    expected = count(layers, design_names())
    for total, record in zip(
        report.totals, (r for r in expected.to_records() if r["row"] == "total"), strict=True
    ):
        assert total["compute_cycles"] == record["compute_cycles"]


def test_json_is_all_that_is_printed(folder, tmp_path):
    shown = run(folder, "model.onnx", "--input", "x.npy", "--designs", "stripes", "--json",
                "--quiet", "--bits", "8", "--tiles", "2", "--storage", "raw", "--energy", "none",
                "--dram-megabytes-per-second", "100")  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, "")
    document = json.loads(shown.stdout)
    assert document["memory"]["storage"] == "raw"
    assert document["energy"] is None
    first = document["records"][0]
    assert (first["tiles"], first["activation_bits"], first["weight_bits"]) == (2, 8, 8)
    (tmp_path / "report.json").write_text(shown.stdout)
    assert Report.load(tmp_path / "report.json").dumps() == shown.stdout


def main(folder, capsys, *arguments):
    status = cli.main(["count", *arguments, "--quiet", "--json", "--designs", "stripes"])
    captured = capsys.readouterr()
    return status, captured


def test_inputs_of_every_kind(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    macs = {}
    for inputs in (
        ["--input", "x.npy"], ["--input", "x.npz"], ["--input", "photo.png", "photo.jpg"],
        ["--input", "photo.png", "--input", "photo.jpg"], ["photo.png", "photo.jpg"],
    ):  # fmt: skip
        status, captured = main(folder, capsys, "model.onnx", *inputs)
        assert status == 0, captured.err
        macs[tuple(inputs)] = json.loads(captured.out)["records"][-1]["macs"]
    assert len(set(macs.values())) == 1  # two images each
    # Channels last, height 12 and width 10.
    values = command.read_inputs("last.onnx", ["photo.png"], (0.5, 0.25, 0.0), (2.0,))
    assert values.shape == (1, 12, 10, 3)
    with Image.open("photo.png") as photo:
        small = np.asarray(photo.resize((10, 12), Image.Resampling.BICUBIC), np.float64)
    np.testing.assert_allclose(values[0], (small / 255 - [0.5, 0.25, 0]) / 2, atol=1e-6)
    status, captured = main(folder, capsys, "last.onnx", "--input", "photo.png")
    assert status == 0, captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.onnx", "--input", "x.npy"], "there is no model 'no.onnx'"),
        (["model.onnx", "--input", "no.jpg"], "there is no input 'no.jpg'"),
        (["model.onnx", "--input", "text.jpg"], "text.jpg is no photograph"),
        (["model.onnx", "--input", "text.npy"], "text.npy is no array"),
        (["text.onnx", "--input", "photo.jpg"], "text.onnx is no ONNX model"),
        (["text.onnx", "--input", "x.npy"], ""),
        (["model.onnx", "--input", "x.npy", "photo.jpg"], "either arrays or photographs"),
        (["model.onnx", "x.npy", "odd.npy"], "odd.npy holds NaN or infinities (2 of 1536): leave"),
        (["model.onnx", "odd.npz"], "activations of 'conv1' hold NaN or infinities (2 of 1536)"),
        (["model.onnx", "--input", "x.npz", "x.npy"], "one .npz holds all inputs"),
        (["model.onnx", "--input", "photo.jpg", "--mean", "1,2"], "mean takes 1 or 3 numbers"),
        (["model.onnx", "--input", "photo.jpg", "--deviation", "0"], "must not be 0"),
        (["model.onnx", "--input", "x.npy", "--designs", "stripe"], "did you mean 'stripes'"),
        (["model.onnx", "--input", "x.npy", "--designs", "loom:bits=2"], "has no parameter 'bits'"),
        (["model.onnx", "--input", "x.npy", "--designs", "loom:2"], "a parameter is NAME=VALUE"),
        (["model.onnx", "x.npy", "--designs", "mine.No"], "there is no 'No' in /"),
        (["model.onnx", "x.npy", "--designs", "no.Chunks"], "there is no module 'no'"),
        (["model.onnx", "x.npy", "--designs", "json.JSONDecoder"], "it must inherit from Design"),
        (["model.onnx", "x.npy", "--designs", "mine.Own:bits=2"], "has no parameter 'bits'"),
        (["model.onnx", "x.npy", "--storage", "dpre"], "did you mean 'dpred'?"),
        (["model.onnx", "x.npy", "--energy", "horowitz"], "did you mean 'horowitz_45nm'?"),
        (["model.onnx", "--input", "x.npy", "--bits", "17"], "from 2 to 16, got 17"),
        (["model.onnx", "--input", "x.npy", "--out", "text.npy"], "text.npy"),
    ],
)
def test_errors_are_one_line(folder, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    given = [] if "--designs" in arguments else ["--designs", "stripes"]
    assert cli.main(["count", *arguments, *given, "--quiet"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("fmtlib: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""


def test_errors_of_a_process(folder):
    wrong = run(folder, "no.onnx", "--input", "x.npy")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "fmtlib: error: there is no model 'no.onnx'\n"
    for arguments in (["model.onnx"], ["model.onnx", "x.npy", "--mean", "red"], ["--rows", "0"]):
        wrong = run(folder, *arguments)
        assert wrong.returncode == 2
        assert "Usage: fmtlib count" in wrong.stderr
    assert "--designs" in run(folder, "--help").stdout


def test_designs_as_text():
    found = command.parse_designs(
        "stripes, dynamic_stripes:ends=both:even_widths=true,loom:tiles=2"
    )
    assert found == [
        design("stripes"),
        design("dynamic_stripes", ends="both", even_widths=True),
        design("loom", tiles=2),
    ]
    assert [item.name for item in command.parse_designs("all")] == design_names()


def test_designs_of_ones_own(folder):
    given = "stripes,mine.Own,mine.Own:steps=5,mine.THREE:tiles=1"
    shown = run(folder, "model.onnx", "x.npy", "--designs", given, "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    totals = [r for r in json.loads(shown.stdout)["records"] if r["row"] == "total"]
    assert [r["label"] for r in totals] == ["stripes", "own", "own (steps=5)", "own (steps=3)"]
    base = totals[0]["compute_cycles"]
    assert [r["compute_cycles"] for r in totals[1:]] == [2 * base, 5 * base, 3 * base]
