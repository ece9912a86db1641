"""Codecs of zarr 3, and of numcodecs for zarr 2: what is read is what quantize gives."""

import importlib.metadata
import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib.stored_chunks import Compressed, Quantized, configuration_of, configured

zarr = pytest.importorskip("zarr", minversion="3.1")
numcodecs = pytest.importorskip("numcodecs")

from fmtlib import numcodecs_codecs as v2  # noqa: E402
from fmtlib import zarr_codecs as v3  # noqa: E402

X = np.random.default_rng(0).standard_normal((50, 70)).astype(np.float32)
INTEGERS = np.random.default_rng(1).poisson(3, X.shape).astype(np.int16)

# The formats that are read as floats, and how; chunks that hold whole blocks but not the array's
# ends.
QUANTIZED = [
    ("e4m3", {}),
    ("e5m2", {"overflow": "nonsaturating"}),
    ("e2m1", {"rounding": "toward_zero"}),
    ("bfloat16", {}),
    ("int8", {"scale": 0.03}),
    ("uint4", {"scale": 0.5, "zero_point": 7}),
    ("fixed_s3_4", {}),
    (fl.bfp(4), {}),
    (fl.bfp(4), {"axis": 0}),
    (fl.bfp(6, block_size=8), {"axis": -2}),
    ("mxfp4_e2m1", {"axis": 1}),
    (fl.bfp(4, block_size=(8, 16)), {}),
    (fl.bfp(4, block_size=(8, 16)), {"axis": (1, 0)}),
]


def expected(x, fmt, how):
    return fl.quantize(x, fmt, **how)


def create(serializer, x=X, chunks=(32, 32), **how):
    return zarr.create_array(
        {},
        shape=x.shape,
        chunks=chunks,
        dtype=x.dtype,
        serializer=serializer,
        compressors=None,
        **how,
    )


def keys(stored):
    return sorted(key for key in stored.store._store_dict if key.startswith("c/"))


# --- zarr 3 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fmt", "how"), QUANTIZED)
def test_what_is_read_is_quantized(fmt, how):
    stored = create(v3.Quantize(fmt, **how))
    stored[:] = X
    assert_array_equal(stored[:], expected(X, fmt, how))
    assert_array_equal(stored[31:40, 5], expected(X, fmt, how)[31:40, 5])
    bits = fl.get_format(fmt).bits
    assert stored.nbytes_stored() < 64 * 96 * bits / 8 + 64 * 96 / 8 + 6 * 80 + 1500


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_types(dtype):
    x = X.astype(dtype)
    for fmt in ("e4m3", *([fl.bfp(4)] if dtype != np.float16 else [])):
        stored = create(v3.Quantize(fmt), x)
        stored[:] = x
        assert stored[:].dtype == dtype
        assert_array_equal(stored[:], fl.quantize(x, fmt))
    with pytest.raises(TypeError, match="float16 cannot hold every value of bfloat16"):
        create(v3.Quantize("bfloat16"), X.astype(np.float16))
    with pytest.raises(TypeError, match="stored values must be float16"):
        create(v3.Quantize("e4m3"), INTEGERS)


def test_partial_writes_do_not_drift():
    stored = create(v3.Quantize(fl.bfp(4)))
    stored[:] = X
    for row in range(50):
        stored[row, 3:40:7] = X[row, 3:40:7]
    once = fl.quantize(X, fl.bfp(4))
    again = once.copy()
    again[:, 3:40:7] = X[:, 3:40:7]
    for start in (0, 16, 32):
        assert_array_equal(stored[:, start : start + 16],
                           fl.quantize(again, fl.bfp(4))[:, start : start + 16])  # fmt: skip


def test_chunks_by_themselves_have_tensor_scales_by_themselves():
    stored = create(v3.Quantize("nvfp4"))
    stored[:] = X
    padded = np.zeros((64, 96), np.float32)
    padded[:50, :70] = X
    for rows in (slice(0, 32), slice(32, 64)):
        for columns in (slice(0, 32), slice(32, 64), slice(64, 96)):
            own = fl.quantize(np.ascontiguousarray(padded[rows, columns]), "nvfp4")
            found = stored[rows, columns]
            assert_array_equal(found, own[: found.shape[0], : found.shape[1]])


def test_fill_values():
    stored = create(v3.Quantize("e4m3"), fill_value=0.5)
    stored[0, 0] = 0.3
    assert keys(stored) == ["c/0/0"]
    assert stored[0, 0] == 0.3125
    assert (stored[:].ravel()[1:] == 0.5).all()
    nan = create(v3.Quantize("e4m3"), fill_value=np.nan)
    nan[0, 0] = 1
    assert np.isnan(nan[:]).sum() == X.size - 1
    for fmt, fill in (("e4m3", 0.3), ("e2m1", np.nan), ("int8", 0.5), (fl.bfp(2), 0.3)):
        with pytest.raises(ValueError, match=f"fill_value must be a value .*got {fill}"):
            create(v3.Quantize(fmt), fill_value=fill)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_compressed(dtype):
    x = (INTEGERS if dtype[0] == "u" else INTEGERS - 3).astype(dtype)
    for how in ({}, {"group_size": 8, "axis": 0}, {"zero_vector": True}):
        stored = create(v3.Compress(**how), x, fill_value=1)
        stored[:] = x
        assert_array_equal(stored[:], x)
        stored[7, 3:9] = 100
        assert_array_equal(stored[7, 2:10], [x[7, 2], *[100] * 6, x[7, 9]])
    with pytest.raises(TypeError, match="values to compress must be int8"):
        create(v3.Compress(), X)
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        create(v3.Compress(axis=2), x)


def test_sharding_and_a_compressor_behind():
    stored = zarr.create_array(
        {}, shape=X.shape, chunks=(16, 32), shards=(32, 64), dtype=X.dtype,
        serializer=v3.Quantize(fl.bfp(4)), compressors=zarr.codecs.ZstdCodec(),
    )  # fmt: skip
    stored[:] = X
    assert_array_equal(stored[20:40], fl.quantize(X, fl.bfp(4))[20:40])


def test_metadata_say_all(tmp_path):
    fmt = fl.bfp(6, block_size=8)
    stored = zarr.create_array(
        tmp_path / "x", shape=X.shape, chunks=(32, 32), dtype=X.dtype, compressors=None,
        serializer=v3.Quantize(fmt, axis=0, rounding="up"),
    )  # fmt: skip
    stored[:] = X
    metadata = json.loads((tmp_path / "x" / "zarr.json").read_text())
    assert metadata["codecs"] == [
        {
            "name": "fmtlib.quantize",
            "configuration": {"format": "bfp_m6_e8_g8", "axis": 0, "rounding": "up"},
        }
    ]
    again = zarr.open_array(tmp_path / "x", mode="r")
    assert_array_equal(again[:], fl.quantize(X, fmt, axis=0, rounding="up"))
    for wrong, message in (
        ({"format": "bfp_m6_e8_g9x"}, "bfp_m6_e8_g9x"),
        ({"format": "e4m3", "rounding": "stochastic"}, "needs the place of a chunk"),
        ({"format": "e4m3", "colour": 1}, "colour is unknown: a codec has format, axis"),
        ({"format": "e4m3", "axis": 0}, "axis is for block formats"),
        ({"format": "bfp_m6_e8_g24"}, "chunks of 32 along axis 1 would cut blocks of 24"),
    ):
        metadata["codecs"][0]["configuration"] = wrong
        (tmp_path / "x" / "zarr.json").write_text(json.dumps(metadata))
        with pytest.raises(ValueError, match=message):
            zarr.open_array(tmp_path / "x", mode="r")


@pytest.mark.parametrize("fmt", ["e4m3", fl.bfp(4), "compress"])
def test_corrupted_chunks(fmt):
    codec = v3.Compress() if fmt == "compress" else v3.Quantize(fmt)
    x = INTEGERS if fmt == "compress" else X
    stored = create(codec, x)
    stored[:] = x
    store, key = stored.store._store_dict, keys(stored)[0]
    good = store[key].to_bytes()

    def read(data):
        store[key] = type(store[key]).from_bytes(data)
        return stored[:32, :32]

    assert_array_equal(read(good), stored[:32, :32])
    rng = np.random.default_rng(2)
    for place in rng.integers(0, len(good), 60):
        bad = bytearray(good)
        bad[place] ^= 1 << rng.integers(8)
        with pytest.raises(ValueError, match=r"corrupted|truncated|not the bytes|version|bytes"):
            read(bytes(bad))
    for bad in (good[:-1], good + b"\0", b"", good[:3]):
        with pytest.raises(ValueError, match=r"bytes|truncated"):
            read(bad)


def test_chunks_of_another_array():
    """Whole, but not of this shape, format or type."""
    blocks = Quantized(fl.bfp(4).name)
    data = blocks.encoded(X)
    with pytest.raises(ValueError, match=r"is stored as bfp_m4_e8_g16, shape \(50, 70\)"):
        blocks.decoded(data, (70, 50), X.dtype)
    with pytest.raises(ValueError, match="a chunk of bfp_m5_e8_g16"):
        Quantized("bfp_m5_e8_g16").decoded(data, X.shape, X.dtype)
    data = Compressed().encoded(INTEGERS)
    with pytest.raises(ValueError, match="is stored as int16"):
        Compressed().decoded(data, X.shape, np.dtype(np.int32))


@pytest.mark.parametrize(
    ("arguments", "how", "error", "message"),
    [
        (("e4m3fnz",), {}, ValueError, "e4m3fnz"),
        (("e4m3",), {"rounding": "stochastic"}, ValueError, "quantize with a seed before"),
        (("e4m3",), {"overflow": "wrap"}, ValueError, "wrap"),
        (("int8",), {"scale": [1.0, 2.0]}, ValueError, "scale must be a scalar"),
        (("int8",), {"scale": -1.0}, ValueError, "scale must be positive"),
        (("int8",), {"zero_point": 3}, ValueError, "zero_point needs scale"),
        ((fl.bfp(4),), {"scale": 1.0}, ValueError, "find their own scales"),
    ],
)
def test_arguments_are_checked_at_once(arguments, how, error, message):
    with pytest.raises(error, match=message):
        v3.Quantize(*arguments, **how)
    with pytest.raises(error, match=message):
        v2.Quantize(*arguments, X.dtype, **how)


def test_compress_checks_its_arguments():
    for how, error in (({"group_size": 0}, ValueError), ({"axis": 0.5}, TypeError),
                       ({"zero_vector": 3}, TypeError)):  # fmt: skip
        with pytest.raises(error, match=next(iter(how))):
            v3.Compress(**how)
        with pytest.raises(error, match=next(iter(how))):
            v2.Compress("int8", **how)


# --- zarr 2 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("fmt", "how"), QUANTIZED)
def test_filters_of_zarr_2(fmt, how, order):
    stored = zarr.create_array(
        {}, shape=X.shape, chunks=(32, 32), dtype=X.dtype, zarr_format=2, order=order,
        filters=[v2.Quantize(fmt, X.dtype, **how)], compressors=None,
    )  # fmt: skip
    stored[:] = X
    assert_array_equal(stored[:], expected(X, fmt, how))


@pytest.mark.parametrize("order", ["C", "F"])
def test_compression_in_zarr_2(order):
    stored = zarr.create_array(
        {}, shape=X.shape, chunks=(32, 32), dtype=INTEGERS.dtype, zarr_format=2, order=order,
        filters=[v2.Compress(INTEGERS.dtype, axis=0)], compressors=numcodecs.Zstd(),
    )  # fmt: skip
    stored[:] = INTEGERS
    assert_array_equal(stored[:], INTEGERS)


def test_numcodecs_by_themselves():
    for codec, x, expected in (
        (v2.Quantize(fl.bfp(4), "float32", axis=0), X, fl.quantize(X, fl.bfp(4), axis=0)),
        (v2.Compress("int16", 8), INTEGERS, INTEGERS),
    ):
        config = json.loads(json.dumps(codec.get_config()))
        again = type(codec).from_config({k: v for k, v in config.items() if k != "id"})
        assert again == codec
        data = again.encode(x)
        assert_array_equal(codec.decode(data), expected.ravel())
        out = np.empty_like(x)
        assert codec.decode(data, out=out) is out
        assert_array_equal(out, expected)
        with pytest.raises(TypeError, match="the codec is for"):
            codec.encode(x.astype(np.float64))
        for bad in (b"", data[:1], data[:5], b"\xff" + data[1:], data[:-1]):
            with pytest.raises(ValueError, match=r"truncated|corrupted|bytes"):
                codec.decode(bad)
    with pytest.raises(ValueError, match="has no dtype"):
        v2.Compress.from_config({"group_size": 8})


# --- entry points -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "module"), [("zarr.codecs", v3), ("numcodecs.codecs", v2)], ids=["zarr", "numcodecs"]
)
def test_entry_points(group, module):
    found = importlib.metadata.distribution("fmtlib").entry_points.select(group=group)
    loaded = {point.name: point.load() for point in found}
    assert loaded == {"fmtlib.quantize": module.Quantize, "fmtlib.compress": module.Compress}


def test_they_are_found_by_name():
    made = numcodecs.get_codec({"id": "fmtlib.quantize", "format": "e4m3", "dtype": "<f4"})
    assert made == v2.Quantize("e4m3", "float32")
    assert zarr.registry.get_codec_class("fmtlib.compress") is v3.Compress


@pytest.mark.parametrize("made", [
    Quantized("e4m3"), Quantized("mxfp8_e4m3", axis=1, rounding="up"),
    Quantized("bfp_m4_e8_g8x16", axis=(1, 0)), Quantized("int8", scale=0.5, zero_point=-3),
    Compressed(), Compressed(8, 0, False),
])  # fmt: skip
def test_configurations_go_through_json(made):
    assert configured(type(made), json.loads(json.dumps(configuration_of(made)))) == made
