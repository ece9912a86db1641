"""``fmtlib info`` and ``fmtlib convert``."""

import json

import numpy as np
import pytest

import fmtlib as fl
from fmtlib import cli

RANDOM = np.random.default_rng(5)
ARRAYS = {
    "a.weight": RANDOM.standard_normal((8, 40), np.float32),
    "a.bias": RANDOM.standard_normal(33),
    "steps": np.int64(7),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fl.save("a.npz", ARRAYS)


def test_info(command):
    blocks = fl.encode(ARRAYS["a.weight"], "mxfp4_e2m1", axis=0)
    codes = fl.encode(ARRAYS["a.bias"], "e2m1")
    fl.save("b.safetensors", {"w": blocks, "c": codes, "n": np.arange(6)}, formats={"c": "e2m1"})
    found = {one["name"]: one for one in json.loads(command("info", "b.safetensors", "--json"))}
    assert found["w"] == {
        "name": "w", "format": "mxfp4_e2m1", "dtype": "uint8", "shape": [8, 40], "axis": 0,
        "elements": 320, "bytes": blocks.nbytes,
    }  # fmt: skip
    assert (found["c"]["format"], found["c"]["bytes"]) == ("float4_e2m1fn", 17)  # 33 codes, packed
    assert (found["n"]["format"], found["n"]["dtype"], found["n"]["bytes"]) == (None, "int64", 48)
    shown = command("info", "b.safetensors")
    for part in ("mxfp4_e2m1, axis 0", "8 × 40", "float4_e2m1fn"):
        assert part in shown
    np.save("x.npy", ARRAYS["a.bias"])
    assert [one["name"] for one in json.loads(command("info", "x.npy", "--json"))] == ["x"]
    assert "scalar" in command("info", "a.npz")


def test_converted_and_back(command):
    records = json.loads(
        command("convert", "a.npz", "--format", "mxfp8_e4m3", "--out", "b.npz", "--json")
    )
    found = fl.load("b.npz")
    assert [one["name"] for one in records] == ["a.weight", "a.bias"]
    for one in records:
        x = ARRAYS[one["name"]]
        expected = fl.encode(x, "mxfp8_e4m3")
        np.testing.assert_array_equal(found[one["name"]].codes, expected.codes)
        statistics = fl.error_statistics(x, "mxfp8_e4m3").total()
        assert one["sqnr_db"] == statistics.sqnr_db
        assert one["max_error"] == statistics.max_error
        assert (one["bytes_before"], one["bytes"]) == (x.nbytes, expected.nbytes)
    assert found["steps"] == 7
    assert "SQNR" in command("convert", "a.npz", "--format", "e4m3", "--out", "c.npz")
    assert "SQNR" not in command("convert", "b.npz", "--out", "d.npz")
    np.testing.assert_array_equal(
        fl.load("d.npz")["a.weight"], fl.quantize(ARRAYS["a.weight"], "mxfp8_e4m3")
    )


def test_nothing_to_convert_is_said(command):
    assert "no array was converted" in command("convert", "a.npz", "--out", "b.npz")
    assert command("convert", "a.npz", "--out", "b.npz", "--json").strip() == "[]"


def test_options_of_convert(command):
    command("convert", "a.npz", "--format", "mxfp8_e4m3", "--axis", "0", "--select", "weight",
            "--rounding", "stochastic", "--seed", "0x7", "--out", "b.npz")  # fmt: skip
    found = fl.load("b.npz")
    expected = fl.encode(ARRAYS["a.weight"], "mxfp8_e4m3", axis=0, rounding="stochastic", seed=7)
    np.testing.assert_array_equal(found["a.weight"].codes, expected.codes)
    np.testing.assert_array_equal(found["a.bias"], ARRAYS["a.bias"])
    # codes in another format, through their values; wrapped
    command("convert", "a.npz", "--format", "int8_full", "--overflow", "wrap", "--out", "c.npz")
    command("convert", "c.npz", "--format", "e5m2", "--out", "e.npz")
    values = fl.quantize(fl.quantize(ARRAYS["a.bias"], "int8_full", overflow="wrap"), "e5m2")
    again = fl.load("e.npz")
    np.testing.assert_array_equal(fl.decode(again["a.bias"], again.formats["a.bias"]), values)
    # exact ones have no finite ratio
    np.save("whole.npy", np.float16([1, 2, 3]))
    shown = command("convert", "whole.npy", "--format", "e4m3", "--out", "f.npz")
    assert "exact" in shown
    (one,) = json.loads(
        command("convert", "whole.npy", "--format", "e4m3", "--out", "f.npz", "--json")
    )
    assert (one["sqnr_db"], one["max_error"]) == (None, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "no.npz"], "No such file"),
        (["info", "text.npz"], "text.npz is damaged"),
        (["info", "text.npy"], "text.npy is no array"),
        (["info", "a.txt"], "must be .safetensors or .npz"),
        (["convert", "a.npz", "--format", "e4m9", "--out", "b.npz"], "unknown format"),
        (["convert", "a.npz", "--format", "e4m3", "--out", "b.txt"], "suffix"),
        (["convert", "a.npz", "--select", "(", "--out", "b.npz"], "no regular expression"),
        (["convert", "a.npz", "--format", "e4m3", "--rounding", "odd", "--out", "b.npz"], "odd"),
        (["convert", "a.npz", "--format", "e4m3", "--axis", "0", "--out", "b.npz"], "no blocks"),
    ],
)
def test_errors(arguments, message, tmp_path, capsys):
    for name in ("text.npz", "text.npy", "a.txt"):
        (tmp_path / name).write_text("no array")
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not (tmp_path / "b.npz").exists()
