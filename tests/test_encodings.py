"""Sizes of encodings: encoders that write fields, decoders that read them, and published counts."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import encodings, precision

COUNTS = Path(__file__).parent / "data/reference_counts"
EXPECTED = json.loads((COUNTS / "expected.json").read_text("utf-8"))["group_compression_bits"]
PADDING = {case["name"]: case.get("pad", 0) for case in json.loads(
    (COUNTS / "cases.json").read_text("utf-8"))}  # fmt: skip


def bricks_of(x, size):
    return [row[i : i + size] for row in x.tolist() for i in range(0, len(row), size)]


# Encoders give fields (value, bits); decoders take them, and how many values there are.


def zero_run(x, bits, size):
    fields, run = [], 0
    for value in x.ravel().tolist():
        if value or run == 15:
            fields += [(run, 4), (value, bits)]
            run = 0
        else:
            run += 1
    return fields


def from_zero_run(fields, count, size):
    values = []
    for (run, _), (value, _) in zip(fields[::2], fields[1::2], strict=True):
        values += [0] * run + [value]
    return values + [0] * (count - len(values))


def zfnaf(x, bits, size):
    fields, offset = [], (size - 1).bit_length()
    for brick in bricks_of(x, size):
        packed = [(i, value) for i, value in enumerate(brick) if value]
        packed += [(0, 0)] * (len(brick) - len(packed))
        fields += [field for i, value in packed for field in ((i, offset), (value, bits))]
    return fields


def viai(x, bits, size):
    return [
        field
        for brick in bricks_of(x, size)
        for field in [(value != 0, 1) for value in brick] + [(value, bits) for value in brick]
    ]


def indirection(x, bits, size):
    fields, stored = [], 0
    for brick in bricks_of(x, size):
        values = [value for value in brick if value]
        fields.append((stored, max(x.size - 1, 0).bit_length()))
        fields += [(value != 0, 1) for value in brick] + [(value, bits) for value in values]
        stored += len(values)
    return fields


def roe(x, bits, size):
    """A flag, and what fills the brick's own place."""
    fields, offset = [], (size - 1).bit_length()
    for brick in bricks_of(x, size):
        values = [value for value in brick if value]
        room = len(brick) * bits
        encoded = len(values) * (bits + offset) <= room
        used = len(values) * (bits + offset) if encoded else room
        fields += [(encoded, 1), (tuple(values if encoded else brick), used), (0, room - used)]
    return fields


@pytest.mark.parametrize("encoder", [zero_run, zfnaf, viai, indirection, roe])
@given(data=st.data(), dtype=st.sampled_from(precision.INTEGERS))
def test_fields(encoder, data, dtype):
    shape = hnp.array_shapes(min_dims=2, max_dims=2, max_side=50)
    x = data.draw(hnp.arrays(dtype, shape, elements=st.sampled_from([0, 0, 0, 1, 100])))
    size = data.draw(st.integers(1, 20))
    bits = 8 * x.itemsize
    fields = encoder(x, bits, size)
    assert fl.storage_size(x, encoder.__name__, size).bits == sum(width for _, width in fields)
    if encoder is zero_run:
        assert from_zero_run(fields, x.size, size) == x.ravel().tolist()


def test_zero_run_over_slabs(monkeypatch):
    monkeypatch.setattr(precision, "_SLAB", 8)
    x = np.zeros((50, 7), np.int16)
    x[3, 3] = x[40, 1] = 5
    for view in (x, x[::-1], x[:, ::2], np.asfortranarray(x)):
        expected = sum(width for _, width in zero_run(np.array(view), 16, 16))
        assert fl.storage_size(view, "zero_run").bits == expected


@pytest.mark.parametrize("ends", [False, True])
@given(data=st.data(), dtype=st.sampled_from(precision.INTEGERS))
def test_published_rule(ends, data, dtype):
    x = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
    size = data.draw(st.integers(1, 20))
    header = (8 * x.itemsize - 1).bit_length()
    dense = kept = 0
    for brick in bricks_of(x, size):
        width = max(abs(value).bit_length() + (value < 0) for value in brick)
        if ends and any(brick):
            width -= min((value & -value).bit_length() - 1 for value in brick if value)
        dense += width * size
        kept += width * sum(1 for value in brick if value)
    headers = -(-x.size // size)
    name = "shapeshifter_ends" if ends else "shapeshifter"
    found = fl.storage_size(x, name, size)
    assert found.bits == min(headers * header + dense, headers * (header + size) + kept)
    assert not found.decodable


@pytest.mark.parametrize("kind", ["leading_bit_only", "both_ends"])
@pytest.mark.parametrize("layer", ["conv_a", "conv_b", "conv_d", "conv_f", "fc_a"])
def test_published_counts(layer, kind):
    name = "shapeshifter" if kind == "leading_bit_only" else "shapeshifter_ends"
    for tensor in ("act", "wgt"):
        x = np.load(COUNTS / f"{tensor}-{layer}.npy")
        if tensor == "act" and x.ndim == 4:
            x = np.pad(x, [(0, 0), (0, 0), *[(PADDING[layer],) * 2] * 2])
        expected = EXPECTED[kind][layer]
        assert fl.storage_size(x, name, axis=1).bits == expected[f"{tensor}_bits_datawidth"]
        assert fl.storage_size(x, "zero_run", axis=1).bits == expected[f"{tensor}_bits_scnn"]
        assert fl.storage_size(x, "raw").bits == expected[f"{tensor}_bits_baseline"]


def test_the_published_group_that_cannot_be_decoded():
    """Groups [15, a] take 4 bits a value for more values of a than 4 bits can tell."""
    groups = [np.int16([15, a]) for a in range(-7, 16)]
    sizes = [fl.storage_size(x, "shapeshifter", 2).payload_bits for x in groups]
    assert len(sizes) > 16
    assert set(sizes) == {2 * 4, 4}  # half of that for a zero that is left out


def test_overheads_of_cnvlutin2():
    x = np.ones((4, 64), np.int16)
    raw = fl.storage_size(x, "raw").bits
    assert fl.storage_size(x, "zfnaf").bits == 1.25 * raw
    assert fl.storage_size(x, "roe").bits == raw * 257 / 256
    assert fl.storage_size(x, "viai").bits == 1.0625 * raw
    assert fl.storage_size(x, "indirection", pointer_bits=20).bits == raw + x.size + 16 * 20


@pytest.mark.parametrize("dtype", precision.INTEGERS)
def test_profiled_and_groups(dtype):
    x = np.array([[1, 0, 5, 0], [9, 3, 0, 0]], dtype)
    bits = 8 * x.itemsize
    assert fl.storage_size(x, "profiled").bits == (bits - 1).bit_length() + 8 * 4
    if x.dtype.kind == "i":
        assert fl.storage_size(-x, "profiled").bits == (bits - 1).bit_length() + 8 * 5
    found = fl.storage_size(x, "dpred", 2)
    assert found.bits == fl.compress(x, 2).bits
    assert found.ratio == x.size * bits / found.bits


@pytest.mark.parametrize("name", encodings._SIZES)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1, 1)])
def test_nothing(name, shape):
    found = fl.storage_size(np.zeros(shape, np.int8), name)
    assert found.raw_bits == 8 * np.prod(shape)
    assert found.bits == found.metadata_bits + found.payload_bits <= 13 * max(np.prod(shape), 1)


@pytest.mark.parametrize("name", encodings._SIZES)
def test_any_memory(name):
    x = np.random.default_rng(0).integers(-3, 4, (20, 33)).astype(np.int16)
    for view in (x.T, x[::-1, ::2], x.astype(">i2")):
        for axis in (0, 1):
            plain = fl.storage_size(np.array(view, np.int16), name, 5, axis)
            assert fl.storage_size(view, name, 5, axis) == plain
    assert_array_equal(fl.storage_size(x, "raw").bits, x.size * 16)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: fl.storage_size(x, "zip"), ValueError, "dpred, shapeshifter"),
        (lambda x: fl.storage_size(x, "raw", 0), ValueError, "65536"),
        (lambda x: fl.storage_size(x, "raw", pointer_bits=4), ValueError, "'indirection'"),
        (lambda x: fl.storage_size(x.astype(float)), TypeError, "float64"),
        (lambda x: fl.storage_size(x, axis=2), IndexError, "axis 2"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((3, 4), np.int32))
