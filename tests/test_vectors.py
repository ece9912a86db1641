"""Test vectors for RTL: expected words against the reference, the corners, the LFSR, the files."""

import csv
import json
from itertools import pairwise
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from cases import BLOCK_NAMES, DTYPES, ELEMENTWISE_NAMES, FLOAT_NAMES
from numpy.testing import assert_array_equal
from scipy.signal import max_len_seq

import fmtlib as fl
from fmtlib import cli, reference, vectors
from fmtlib.formats import ROUNDINGS, STOCHASTIC, get_format
from fmtlib.random_words import Words
from fmtlib.vectors import LFSR, blocks

ONE_AXIS = [name for name in BLOCK_NAMES if isinstance(get_format(name).block_size, int)]


def numbers(column):
    """The words of a column of numbers, in their own type."""
    dtype = DTYPES[column.type]
    return column.words.astype(f"u{dtype.itemsize}").view(dtype)


def signed(words, fmt):
    """Words as the codes of a format."""
    return (
        words.astype(np.uint32).astype(fmt.code_dtype)
        if fmt.bits in (8, 16, 32)
        else (
            (words.astype(np.int64) ^ (1 << (fmt.bits - 1))) - (1 << (fmt.bits - 1))
            if fmt.code_dtype.kind == "i"
            else words
        ).astype(fmt.code_dtype)
    )


# --- the LFSR -----------------------------------------------------------------------------------


def multiplied(a, b, modulus, width):
    """The product of two polynomials over GF(2), of bits, modulo one of this degree."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a, b = a << 1, b >> 1
        a ^= modulus * (a >> width)
    return product


def power(exponent, modulus, width):
    """``x**exponent`` modulo a polynomial."""
    result, base = 1, 2
    while exponent:
        if exponent & 1:
            result = multiplied(result, base, modulus, width)
        base, exponent = multiplied(base, base, modulus, width), exponent >> 1
    return result


def prime_factors(n):
    found, p = set(), 2
    while p * p <= n:
        while n % p == 0:
            found.add(p)
            n //= p
        p += 1
    return found | ({n} if n > 1 else set())


@pytest.mark.parametrize("width", range(3, 33))
def test_the_polynomials_are_primitive(width):
    """x has the order 2**width - 1, so the state goes through all numbers but zero."""
    modulus = 1 | sum(1 << tap for tap in LFSR(width).taps)
    period = 2**width - 1
    assert power(period, modulus, width) == 1
    assert all(power(period // p, modulus, width) != 1 for p in prime_factors(period))


def step_by_step(lfsr, count, bits):
    state, noise = lfsr.seed, []
    for _ in range(count):
        noise.append(state & ((1 << bits) - 1))
        for _ in range(lfsr.steps or bits):
            new = 0
            for tap in lfsr.taps:
                new ^= state >> (tap - 1) & 1
            state = (state << 1 | new) & ((1 << lfsr.width) - 1)
    return noise


@pytest.mark.parametrize(
    "lfsr", [LFSR(), LFSR(8, 0xA5), LFSR(3, 1, steps=1), LFSR(32), LFSR(5, 3, (5, 1), 7)]
)
def test_lfsr_step_by_step(lfsr):
    for bits in {1, 3, lfsr.width}:
        noise = lfsr.noise(100, bits)
        assert noise.dtype == np.uint32
        assert noise.tolist() == step_by_step(lfsr, 100, bits)
    assert lfsr.noise(0, 1).size == 0


@pytest.mark.parametrize("width", [4, 8, 12, 16])
def test_lfsr_against_scipy(width):
    lfsr = LFSR(width, steps=1)
    state = [lfsr.seed >> i & 1 for i in reversed(range(width))]
    others = [width - tap for tap in lfsr.taps if tap != width]
    theirs, _ = max_len_seq(width, state=state, length=300, taps=others)
    # the lowest bit of the state is the one shifted in last: that of the seed's bottom at first
    assert_array_equal(lfsr.noise(300 - width + 1, 1), theirs[width - 1 :])


def test_lfsr_period():
    assert len(set(LFSR(8).noise(255, 8).tolist())) == 255
    noise = LFSR(10, steps=1).noise(2 * 1023, 10)
    assert_array_equal(noise[:1023], noise[1023:])
    assert sorted(noise[:1023]) == list(range(1, 1024))


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"width": 2}, "LFSR.width must be from 3 to 32, got 2"),
        ({"width": 8, "seed": 0}, "LFSR.seed must be from 1 to 255, got 0"),
        ({"width": 8, "seed": 256}, "LFSR.seed must be from 1 to 255"),
        ({"width": 8, "taps": (7, 1)}, "hold the width 8"),
        ({"width": 8, "taps": (8, 9)}, "from 1 to 8, got 9"),
        ({"width": 8, "taps": (8, 8)}, "must differ"),
        ({"steps": 0}, "LFSR.steps must be from 1"),
    ],
)
def test_lfsr_errors(keywords, error):
    with pytest.raises(ValueError, match=error):
        LFSR(**keywords)
    with pytest.raises(ValueError, match="bits must be from 1 to 8"):
        LFSR(8).noise(1, 9)


# --- elementwise formats ------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_encode_is_the_reference(name, rounding):
    """Of every set a sample of rows, others for each overflow."""
    fmt = get_format(name)
    sets = list(vectors.every_mode(name, "encode", roundings=[rounding], count=40))
    assert [s.facts["overflow"] for s in sets] == [o for o in fmt.overflows if o != "raise"]
    for first, made in enumerate(sets):
        rows = slice(first, None, -(-len(made) // 40))
        x, expected = (made.columns[c] for c in ("x", "expected"))
        noise = made.columns["noise"].words[rows] if rounding in STOCHASTIC else None
        values = numbers(x)[rows].tolist()
        words = [0] * len(values) if noise is None else (noise << np.uint64(24)).tolist()
        wanted = [
            reference.encode(v, fmt, rounding, made.facts["overflow"], word=w, random_bits=8)
            for v, w in zip(values, words, strict=True)
        ]
        assert_array_equal(signed(expected.words[rows], fmt), wanted)
        with np.errstate(invalid="ignore"):
            assert_array_equal(x.values, numbers(x).astype(np.float64))
        assert_array_equal(expected.values, fl.decode(signed(expected.words, fmt), fmt))


@pytest.mark.parametrize("rounding", [r for r in ROUNDINGS if r not in STOCHASTIC])
@pytest.mark.parametrize("name", [n for n in ELEMENTWISE_NAMES if get_format(n).bits <= 8])
def test_every_threshold_is_an_input(name, rounding):
    """Wherever codes change, the float32 numbers on both sides of the place are there."""
    x = set(vectors.encode_vectors(name, rounding=rounding, count=0).columns["x"].words.tolist())
    for negative in (False, True):
        steps = reference.thresholds(get_format(name), rounding, negative=negative)
        sign = 0x8000_0000 * negative
        places = [float(step.magnitude) for step in steps]
        for place in places:
            near = np.float32(place)
            if near != place or near > np.finfo(np.float32).max:  # 2**-128 of E8M0 has no float32
                assert near == np.inf
                continue
            bits = int(near.view(np.uint32))
            around = {bits - 1, bits, bits + 1} if bits else {0, 1}
            assert {pattern | sign for pattern in around} <= x


@pytest.mark.parametrize("name", ["float8_e4m3fn", "bfloat16", "int8", "fixed_s15_16"])
def test_specials_are_inputs(name):
    x = numbers(vectors.encode_vectors(name, count=0).columns["x"])
    info = np.finfo(np.float32)
    for value in (0, info.smallest_subnormal, info.tiny, info.max, np.inf, get_format(name).max):
        for signed_value in (np.float32(value), -np.float32(value)):
            assert signed_value.view(np.uint32) in x.view(np.uint32)
    nan = x.view(np.uint32)[np.isnan(x)]
    quiet = (nan >> 22 & 1).astype(bool)
    assert quiet.any()
    assert not quiet.all()
    assert {bool(word >> 31) for word in nan.tolist()} == {False, True}


@pytest.mark.parametrize("rounding", STOCHASTIC)
def test_noise_decides_in_the_corners(rounding):
    """Each corner that can round both ways does, with two numbers of noise that differ by one."""
    made = vectors.encode_vectors("e4m3", rounding=rounding, random_bits=6, count=10)
    first = made.facts["lfsr_from_row"]
    x, noise, codes = (
        made.columns[c].words[:first].reshape(4, -1) for c in ("x", "noise", "expected")
    )
    assert (x == x[0]).all()
    assert (noise[0] == 0).all()
    assert (noise[1] == 63).all()
    both = codes[0] != codes[1]
    assert both.sum() > 200
    assert (noise[3] - noise[2] == 1)[both].all()
    assert (codes[2] == codes[0])[both].all()
    assert (codes[3] == codes[1])[both].all()
    rest = made.columns["noise"].words[first:]
    assert_array_equal(rest, LFSR(16).noise(len(rest), 6))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_all_patterns_of_16_bits(dtype):
    made = vectors.encode_vectors("e4m3", dtype=dtype)
    x, expected = made.columns["x"], made.columns["expected"]
    assert_array_equal(x.words, np.arange(1 << 16))
    assert_array_equal(expected.words, fl.encode(numbers(x), "e4m3"))
    noisy = vectors.encode_vectors("e4m3", dtype=dtype, rounding="stochastic")
    assert_array_equal(noisy.columns["x"].words[noisy.facts["lfsr_from_row"] :], x.words)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_quantize(name, dtype):
    fmt = get_format(name)
    if not fmt.fits(dtype):
        with pytest.raises(TypeError, match=f"{dtype} cannot hold every value of {name}"):
            vectors.quantize_vectors(name, dtype=dtype)
        return
    made = vectors.quantize_vectors(name, dtype=dtype, rounding="down", count=100)
    with np.errstate(invalid="ignore"):
        wanted = fl.quantize(numbers(made.columns["x"]), name, rounding="down")
    wide, found = wanted.astype(np.float64), numbers(made.columns["expected"]).astype(np.float64)
    assert_array_equal(found, wide)
    number = ~np.isnan(wide)
    assert_array_equal(np.signbit(found)[number], np.signbit(wide)[number])
    assert made.columns["expected"].bits == wanted.itemsize * 8


@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_decode(name):
    fmt = get_format(name)
    made = vectors.decode_vectors(name, dtype="float64", count=100)
    codes = signed(made.columns["codes"].words, fmt)
    if fmt.bits <= 16:
        limits = (0, 2**fmt.bits) if fmt.code_dtype.kind == "u" else (
            fmt.min_integer, fmt.max_integer + 1
        )  # fmt: skip
        assert_array_equal(codes, np.arange(*limits))
    assert_array_equal(numbers(made.columns["expected"]), fl.decode(codes, fmt))
    assert int(made.columns["codes"].words.max()) < 2**fmt.bits


def test_decode_to_bfloat16_is_ml_dtypes():
    made = vectors.decode_vectors("e5m2", dtype="bfloat16").columns
    codes = made["codes"].words.astype(np.uint8).view(ml_dtypes.float8_e5m2)
    theirs = codes.astype(ml_dtypes.bfloat16)
    found = numbers(made["expected"])
    assert_array_equal(found.astype(np.float32), theirs.astype(np.float32))


# --- blocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ONE_AXIS)
def test_blocks_are_the_reference(name):
    fmt = get_format(name)
    made = vectors.block_vectors(name, rounding="nearest_even", count=40)
    x = numbers(made.columns["x"])
    assert x.shape[1:] == made.columns["codes"].words.shape[1:] == (fmt.block_size,)
    finite = np.abs(x[np.isfinite(x)]).max()
    scale = reference.tensor_scales(float(finite), fmt)
    if fmt.tensor_scale:
        assert made.facts["tensor_scale"] == scale[1]
    for row in range(0, len(x), -(-len(x) // 60)):
        codes, scale_code = reference.encode_block(
            x[row].tolist(), fmt, encode_scale=scale[0] if fmt.tensor_scale else 1
        )
        assert made.columns["codes"].words[row].tolist() == codes
        assert int(made.columns["scale"].words[row]) == scale_code


@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("name", ONE_AXIS)
def test_blocks_with_philox_words_are_encode(name, rounding):
    """What makes the blocks with an LFSR's noise makes encode's with its words."""
    fmt = get_format(name)
    x = numbers(vectors.block_vectors(name, count=20).columns["x"])[::3]
    words = Words(5, 1).all_of(x.shape)
    codes, scales, tensor_scale = blocks._encoded_with(x, words, fmt, rounding, 7)
    with np.errstate(all="ignore"):
        wanted = fl.encode(x, fmt, rounding=rounding, random_bits=7, seed=(5, 1), axis=1)
    assert_array_equal(codes, wanted.codes)
    assert_array_equal(scales, wanted.scales[:, 0])
    assert tensor_scale == (wanted.tensor_scale if fmt.tensor_scale else tensor_scale)


def test_noise_of_blocks_is_the_registers():
    lfsr = LFSR(8, seed=1, steps=1)
    made = vectors.block_vectors(fl.bfp(4), rounding="stochastic", lfsr=lfsr, count=10)
    noise = made.columns["noise"].words
    assert_array_equal(noise.ravel(), lfsr.noise(noise.size, 8))
    x, codes, scale = (made.columns[name].words for name in ("x", "codes", "scale"))
    values = x.astype(np.uint32).view(np.float32)
    fmt = fl.bfp(4)
    for row in range(0, len(x), 17):
        wanted = reference.encode_block(
            values[row].tolist(), fmt, "stochastic", words=(noise[row] << np.uint64(24)).tolist(),
            random_bits=8,
        )  # fmt: skip
        assert (codes[row].tolist(), int(scale[row])) == wanted


def test_corners_of_blocks():
    made = vectors.block_vectors(fl.bfp(4), count=0)
    codes, scale = made.columns["codes"].words, made.columns["scale"].words
    assert set(scale.tolist()) >= {0, 1, 127, 253, 254, 255}
    assert set(codes.ravel().tolist()) == set(range(32))
    x = numbers(made.columns["x"])
    with np.errstate(invalid="ignore"):
        assert np.isnan(x).any(axis=1).sum() > 1
        assert (np.isinf(x).any(axis=1) & ~np.isnan(x).any(axis=1)).any()
    raising = vectors.block_vectors("bfp_m4_e8_g16_raise", count=0)
    assert np.isfinite(numbers(raising.columns["x"])).all()


# --- dot products -------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulator", ["exact", "float32", "fmac", "hopper", "b200"])
@pytest.mark.parametrize("pair", [("e4m3", "e4m3"), ("e4m3", "e5m2"), ("int8", "uint8"),
                                  ("e8m0", "e2m1"), ("binary8p3se", "fixed_s7_8")])  # fmt: skip
def test_dots_are_the_reference(pair, accumulator):
    a, b = map(get_format, pair)
    if accumulator in ("hopper", "b200") and pair[0] != "e4m3":
        with pytest.raises(ValueError, match="multiplies two operands of one family"):
            vectors.dot_vectors(*pair, accumulator=accumulator)
        return
    made = vectors.dot_vectors(*pair, accumulator=accumulator, terms=12, count=60)
    record = fl.Accumulator.preset(accumulator, a, b)
    columns = made.columns
    rows = range(0, len(made), -(-len(made) // 120))
    wanted = [
        reference.dot(
            reference.terms(
                signed(columns["a"].words[row], a).tolist(), a,
                signed(columns["b"].words[row], b).tolist(), b,
            ),
            record,
            float(columns["c"].values[row]),
        )
        for row in rows
    ]  # fmt: skip
    with np.errstate(over="ignore"):
        bits = np.array([float(v) for v in wanted], columns["expected"].type)
    assert_array_equal(numbers(columns["expected"])[rows], bits)
    assert columns["c"].words[-60:].any()


def test_corners_of_dots():
    made = vectors.dot_vectors("e5m2", terms=8, count=50)
    a, b = (made.columns[name].words for name in "ab")
    assert {(0x7B, 0x7B), (0x7B, 0xFB), (0x01, 0x01), (0x7C, 0x00), (0x7C, 0xFC), (0x7E, 0x3C)} <= {
        *zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    }
    expected = numbers(made.columns["expected"])
    assert np.isnan(expected).any()
    assert np.isinf(expected).any()
    assert np.isfinite(expected[-50:]).all()


@pytest.mark.parametrize("name", ["bfp_m4_e8_g16", "mxfp8_e4m3", "nvfp4"])
def test_dots_of_blocks(name):
    fmt = get_format(name)
    made = vectors.dot_vectors(name, count=20)
    columns = made.columns
    operands = [
        fl.BlockArray(
            columns[side].words.astype(fmt.code_dtype),
            columns[f"{side}_scale"].words.astype(fmt.scale_dtype),
            fmt, 1,
            np.float32(made.facts[f"{side}_tensor_scale"]) if fmt.tensor_scale else None,
        )
        for side in "ab"
    ]  # fmt: skip
    assert columns["a_scale"].words.shape == (len(made), 2)
    start = numbers(columns["c"])
    assert_array_equal(numbers(columns["expected"]), fl.dot(*operands, c=start))
    if name == "bfp_m4_e8_g16":
        for row in range(0, len(made), 7):
            pairs = [
                [(c.tolist(), int(s)) for c, s in zip(o.codes[row].reshape(2, 16), o.scales[row],
                                                      strict=True)]
                for o in operands
            ]  # fmt: skip
            wanted = reference.dot_blocks(pairs[0], fmt, pairs[1], fmt, float(start[row]))
            assert_array_equal(numbers(columns["expected"])[row], np.float32(wanted))


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: vectors.encode_vectors("e4m3", rounding="stochastic", count=20),
        lambda: vectors.quantize_vectors("tf32", count=20),
        lambda: vectors.decode_vectors("int4"),
        lambda: vectors.block_vectors("mxfp4_e2m1", rounding="stochastic_c", count=20),
        lambda: vectors.dot_vectors("nvfp4", count=20),
    ],
)
def test_files(tmp_path, make):
    made = make()
    folder = made.write(tmp_path / "deep" / made.name)
    assert folder == tmp_path / "deep" / made.name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(made.manifest()))
    assert manifest["made_by"] == f"fmtlib {fl.__version__}"
    assert manifest["rows"] == len(made)
    files = {f"{name}.hex" for name in made.columns}
    files |= {"manifest.json", "vectors.csv", "vectors.vh"}
    assert {path.name for path in folder.iterdir()} == files
    with (folder / "vectors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    header = (folder / "vectors.vh").read_text()
    assert f"localparam ROWS = {len(made)};" in header
    for name, column in made.columns.items():
        about = manifest["columns"][name]
        lines = (folder / about["file"]).read_text().splitlines()
        assert {len(line) for line in lines} == {-(-about["bits"] // 4)}
        words = np.array([int(line, 16) for line in lines], np.uint64)
        assert_array_equal(words, column.words.ravel())
        assert int(words.max()) < 2 ** about["bits"]
        assert len(words) == len(made) * about["words_per_row"]
        cells = [int(word, 16) for row in rows for word in row[name].split()]
        assert_array_equal(np.array(cells, np.uint64), words)
        assert f"localparam {name.upper()}_BITS = {about['bits']};" in header
    again = make().write(tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_seeds_and_counts():
    sets = [vectors.encode_vectors("e4m3", seed=seed, count=50) for seed in (0, 0, 1)]
    x = [made.columns["x"].words for made in sets]
    assert_array_equal(x[0], x[1])
    assert_array_equal(x[0][:-50], x[2][:-50])
    assert (x[0][-50:] != x[2][-50:]).all()
    few = vectors.encode_vectors("e4m3", count=10).columns["x"].words
    assert len(few) == len(x[0]) - 40
    for op in ("encode", "bfp", "dot"):
        fmt = "mxfp4_e2m1" if op == "bfp" else "e2m1"
        sizes = [
            len(next(iter(vectors.every_mode(fmt, op, count=count)))) for count in (0, 1, 7, 8)
        ]
        assert [b - a for a, b in pairwise(sizes)] == [1, 6, 1]


def test_the_repr_is_short():
    made = vectors.encode_vectors("e2m1", count=0)
    assert (
        repr(made)
        == f"Vectors('float4_e2m1fn-encode-nearest_even-saturate', {len(made)} rows of x, expected)"
    )


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: vectors.encode_vectors(fl.bfp(4)), TypeError, "--op bfp .* block_vectors"),
        (lambda: vectors.block_vectors("e4m3"), TypeError, "no block format: --op encode"),
        (lambda: vectors.block_vectors(fl.bfp(4, block_size=(2, 2))), ValueError, "one axis"),
        (lambda: vectors.encode_vectors("e4m3", dtype="int8"), ValueError, "dtype must be one of"),
        (lambda: vectors.encode_vectors("e4m3", count=-1), ValueError, "count must be at least 0"),
        (lambda: vectors.encode_vectors("e4m3", seed=-1), ValueError, "seed must be from 0"),
        (lambda: vectors.encode_vectors("e4m3", rounding="odd"), ValueError, "rounding must be"),
        (lambda: vectors.encode_vectors("e4m3", overflow="raise"), ValueError, "has no vectors"),
        (lambda: vectors.encode_vectors("e4m3", overflow="wrap"), ValueError, "no meaning"),
        (lambda: vectors.encode_vectors("e4m3", random_bits=4), ValueError, "need a stochastic"),
        (
            lambda: vectors.encode_vectors(
                "e4m3", rounding="stochastic", random_bits=9, lfsr=LFSR(8)
            ),
            ValueError,
            "8 bits cannot give 9 random bits",
        ),
        (lambda: vectors.dot_vectors("e4m3", fl.bfp(4)), ValueError, "both operands are blocks"),
        (lambda: vectors.dot_vectors(fl.bfp(4), terms=24), ValueError, "whole blocks"),
        (lambda: vectors.dot_vectors("e4m3", accumulator="x"), ValueError, "accumulator must be"),
        (lambda: list(vectors.every_mode("e4m3", "add")), ValueError, "op must be one of encode"),
        (
            lambda: list(vectors.every_mode("e4m3", "decode", roundings=["up"])),
            TypeError,
            "vectors of decode take no rounding",
        ),
        (
            lambda: list(vectors.every_mode("e4m3", "encode", terms=3)),
            TypeError,
            "vectors of encode take no terms",
        ),
        (
            lambda: list(vectors.every_mode("e4m3", "encode", roundings=["up"], random_bits=3)),
            ValueError,
            "need a stochastic rounding",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_every_mode_of_a_format():
    made = {
        (s.facts["rounding"], s.facts["overflow"])
        for s in vectors.every_mode("uint4", "quantize", count=0, random_bits=3)
    }
    assert made == {(r, o) for r in ROUNDINGS for o in ("saturate", "wrap")}
    with pytest.raises(ValueError, match="rounding must be one of"):
        next(vectors.every_mode("uint4", "encode", roundings=["up", "odd"]))
    made = [s.facts["rounding"] for s in vectors.every_mode("msfp12", "bfp", count=0)]
    assert made == list(ROUNDINGS)


def test_command(tmp_path, capsys):
    out = str(tmp_path)
    assert cli.main(["vectors", "e4m3", "--op", "encode", "--rounding", "up,stochastic",
                     "--overflow", "saturate", "--random-bits", "4", "--lfsr-width", "8",
                     "--lfsr-seed", "0x1d", "--lfsr-steps", "1", "--count", "5", "--seed", "3",
                     "--out", out]) == 0  # fmt: skip
    names = [f"float8_e4m3fn-encode-{r}-saturate" for r in ("up", "stochastic")]
    printed = capsys.readouterr().out.splitlines()
    assert [line.rsplit(":", 1)[0] for line in printed] == [str(tmp_path / name) for name in names]
    manifest = json.loads((tmp_path / names[1] / "manifest.json").read_text())
    assert (manifest["seed"], manifest["random_bits"]) == (3, 4)
    assert manifest["lfsr"] == {
        "width": 8, "polynomial": "x^8 + x^6 + x^5 + x^4 + 1", "taps": [8, 6, 5, 4], "seed": 29,
        "steps_per_element": 1,
    }  # fmt: skip
    assert cli.main(["vectors", "e4m3", "--op", "dot", "--format-b", "e5m2", "--terms", "32",
                     "--accumulator", "hopper", "--out", out]) == 0  # fmt: skip
    manifest = json.loads(
        (tmp_path / "float8_e4m3fn-dot-float8_e5m2-hopper" / "manifest.json").read_text()
    )
    assert (manifest["accumulator"], manifest["terms"]) == ("hopper", 32)
    capsys.readouterr()
    for wrong in (["--op", "decode", "--rounding", "up"], ["--op", "encode", "--lfsr-seed", "0"]):
        assert cli.main(["vectors", "e4m3", *wrong, "--out", out]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["vectors", "e4m3"]) == 2
    assert "--op" in capsys.readouterr().err


def test_command_as_json(tmp_path, capsys):
    arguments = ["uint4", "--op", "encode", "--rounding", "up", "--count", "0"]
    assert cli.main(["vectors", *arguments, "--out", str(tmp_path), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [one["overflow"] for one in made] == ["saturate", "wrap"]
    for one in made:
        folder = Path(one.pop("folder"))
        assert json.loads((folder / "manifest.json").read_text()) == one


def test_every_float_format_has_vectors_of_all_operations():
    for name in FLOAT_NAMES:
        for op in ("encode", "decode", "quantize", "dot"):
            arguments = {"count": 0} | ({} if op == "dot" else {"dtype": "float64"})
            assert len(next(iter(vectors.every_mode(name, op, **arguments))))
