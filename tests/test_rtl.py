"""The Verilog examples pass their test vectors in Icarus Verilog, and broken ones do not."""

import shutil
import subprocess
from pathlib import Path

import pytest

import fmtlib as fl
from fmtlib import vectors
from fmtlib.vectors import LFSR

RTL = Path(__file__).parents[1] / "examples" / "rtl"
pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None,
    reason="needs Icarus Verilog: apt-get install iverilog, or see steveicarus.github.io",
)
ENCODER = ("e4m3_encoder.v", "e4m3_encoder_tb.v")
CONVERTER = ("lfsr.v", "bfp_converter.v", "bfp_converter_tb.v")


def simulate(folder, sources, broken=None):
    """What the test bench prints; `broken` replaces a part of the design, which must be there."""
    files = []
    for name in sources:
        text = (RTL / name).read_text(encoding="ascii")
        if broken is not None and broken[0] == name:
            assert text.count(broken[1]) == 1
            text = text.replace(broken[1], broken[2])
        files.append(folder / name)
        files[-1].write_text(text, encoding="ascii")
    compiled = subprocess.run(
        ["iverilog", "-g2005", "-Wall", "-I", folder, "-o", folder / "simulation", *files],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    run = subprocess.run(
        ["vvp", "-n", folder / "simulation"], capture_output=True, text=True, timeout=120,
        cwd=folder,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return compiled.stderr, run.stdout


@pytest.fixture(scope="module")
def encode_folder(tmp_path_factory):
    return vectors.encode_vectors("e4m3").write(tmp_path_factory.mktemp("encode"))


def test_encoder(encode_folder):
    made = vectors.encode_vectors("e4m3")
    warnings, printed = simulate(encode_folder, ENCODER)
    assert warnings == ""
    assert printed.splitlines()[-1] == f"PASS: {len(made)} vectors"


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("- 25'd1 + odd", "- 25'd1"),  # ties down
        ("- 25'd1 + odd", ""),  # ties away
        ("exponent < 8'd116", "exponent < 8'd118"),  # from 2**-10 up to 2**-9
        ("magnitude > 11'h7e ? 7'h7e", "magnitude > 11'h7e ? 7'h7f"),
        ("magnitude > 11'h7e", "magnitude > 11'h7f"),  # 464 to 480
        ("exponent == 8'hff && mantissa != 0", "1'b0"),
        ("{sign, nan", "{sign & ~nan, nan"),
    ],
)
def test_a_broken_encoder_fails(encode_folder, part, other):
    _, printed = simulate(encode_folder, ENCODER, (ENCODER[0], part, other))
    assert printed.splitlines()[-1].startswith("FAIL")


@pytest.mark.parametrize(
    ("fmt", "keywords"),
    [
        (fl.bfp(4), {}),
        (fl.bfp(2, block_size=8), {"random_bits": 3, "lfsr": LFSR(8, 0x1D, steps=1)}),
        (fl.bfp(7, block_size=5), {"random_bits": 16, "lfsr": LFSR(32)}),
    ],
    ids=["m4", "m2", "m7"],
)
def test_converter(tmp_path, fmt, keywords):
    made = vectors.block_vectors(fmt, rounding="stochastic", count=300, **keywords)
    made.write(tmp_path)
    warnings, printed = simulate(tmp_path, CONVERTER)
    assert warnings == ""
    assert printed.splitlines()[-1] == f"PASS: {len(made)} vectors"


@pytest.mark.parametrize(
    ("name", "part", "other"),
    [
        ("lfsr.v", "^(ahead & TAPS)", "~^(ahead & TAPS)"),
        ("bfp_converter.v", "exponent == 0 ? 8'd1 : exponent", "exponent"),
        ("bfp_converter.v", "+ noise[i*BITS +: BITS]", "+ (1 << (BITS-1))"),
        ("bfp_converter.v", "rounded > GREATEST ? GREATEST :", ""),
        ("bfp_converter.v", "if (scale == 8'hff) codes = 0;", ""),
        ("bfp_converter.v", "{exponent != 0, x", "{1'b1, x"),
    ],
)
def test_a_broken_converter_fails(tmp_path, name, part, other):
    vectors.block_vectors(fl.bfp(4), rounding="stochastic", count=100).write(tmp_path)
    _, printed = simulate(tmp_path, CONVERTER, (name, part, other))
    assert printed.splitlines()[-1].startswith("FAIL")
