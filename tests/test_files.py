"""Files: what was saved comes back, others can read it, and nothing damaged is believed."""

import io
import json
import os
import stat
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from cases import BLOCK_NAMES, ELEMENTWISE_NAMES, FLOAT_NAMES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from test_storage import assert_same, encoded

import fmtlib as fl
from fmtlib import files
from fmtlib.formats import FORMATS

SUFFIXES = [".safetensors", ".npz"]
PLAIN = ["?", *"bBhHiIqQ", "f2", "f4", "f8", "c8"]
ML_DTYPES = [name for name in FLOAT_NAMES if hasattr(ml_dtypes, name)]

both = pytest.mark.parametrize("suffix", SUFFIXES)


def codes_of(name, shape=(3, 10)):
    fmt = FORMATS[name]
    low, high = (
        (fmt.min_integer, fmt.max_integer + 1) if fmt.code_dtype.kind == "i" else (0, 1 << fmt.bits)
    )
    return np.random.default_rng(0).integers(low, high, shape).astype(fmt.code_dtype)


def there_and_back(tmp_path, suffix, values, formats=None):
    path = tmp_path / f"a{suffix}"
    fl.save(path, values, formats=formats)
    found = fl.load(path)
    assert list(found) == list(values)
    return found


# --- round trips ----------------------------------------------------------------------------


@both
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3)])
@pytest.mark.parametrize("dtype", PLAIN)
def test_plain_arrays(tmp_path, suffix, dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    found = there_and_back(tmp_path, suffix, {"x": array})
    assert_array_equal(found["x"], array, strict=True)
    assert found["x"].flags.writeable
    assert found.formats == {}


@both
def test_layouts(tmp_path, suffix):
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    same = {"f": np.asfortranarray(x), "s": x.astype(">f4"), "r": np.repeat(x, 2, 1)[:, ::2]}
    found = there_and_back(tmp_path, suffix, same | {"n": x[::-1, ::-1], "l": x.tolist(), "p": 3})
    for name in same:
        assert_array_equal(found[name], x, strict=True)
    assert_array_equal(found["n"], x[::-1, ::-1], strict=True)
    assert_array_equal(found["l"], x)
    assert found["p"] == 3


@both
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 10), (3, 5)])
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_codes(tmp_path, suffix, name, shape):
    codes = codes_of(name, shape)
    found = there_and_back(tmp_path, suffix, {"x": codes, "y": codes}, {"x": name})
    assert_array_equal(found["x"], codes, strict=True)
    assert_array_equal(found["y"], codes, strict=True)
    assert found.formats == {"x": FORMATS[name]}
    again = there_and_back(tmp_path, suffix, found)
    assert again.formats == found.formats


@both
@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_blocks(tmp_path, suffix, name):
    values = {"w": encoded(name), "e": encoded(name, (0, 3)), "c": encoded(name, (2, 3, 40))}
    found = there_and_back(tmp_path, suffix, values)
    for key, value in values.items():
        assert_same(found[key], value)


@both
@pytest.mark.parametrize("name", ML_DTYPES)
def test_ml_dtypes(tmp_path, suffix, name):
    array = codes_of(name).view(getattr(ml_dtypes, name))
    found = there_and_back(tmp_path, suffix, {"x": array, "y": array[0, 0]}, {"x": name})
    assert found["x"].dtype == array.dtype
    assert_array_equal(found["x"].view(FORMATS[name].code_dtype), codes_of(name))
    assert found["y"].dtype == array.dtype
    assert found.formats == {}


@both
def test_without_ml_dtypes(tmp_path, suffix, monkeypatch):
    array = codes_of("bfloat16").view(ml_dtypes.bfloat16)
    path = tmp_path / f"a{suffix}"
    fl.save(path, {"x": array})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    found = fl.load(path)
    assert_array_equal(found["x"], array.view(np.uint16), strict=True)
    assert found.formats == {"x": FORMATS["bfloat16"]}


@both
def test_run_time_formats(tmp_path, suffix):
    formats = {"x": fl.FloatFormat(3, 1, bias=5), "y": fl.FixedFormat(2, 9)}
    codes = {"x": np.arange(32, dtype=np.uint8), "y": np.arange(-9, 9, dtype=np.int16)}
    found = there_and_back(tmp_path, suffix, codes, formats)
    assert found.formats == formats
    for name, array in codes.items():
        assert_array_equal(found[name], array, strict=True)
    b = encoded(fl.bfp(5, 3, 7, carry="bump"))
    assert_same(there_and_back(tmp_path, suffix, {"b": b})["b"], b)


@both
@pytest.mark.parametrize(
    "names", [["file", "allow_pickle", "a/b", "x.npy", "é ü 数", "a b.scales"]]
)
def test_names(tmp_path, suffix, names):
    values = {name: np.array(i) for i, name in enumerate(names)}
    assert there_and_back(tmp_path, suffix, values) == values


def test_npz_also_takes_text_and_dates(tmp_path):
    values = {
        "s": np.array(["a", "bcd"]),
        "b": np.array([b"xy"]),
        "d": np.array(["2021-10-28"], "M8[D]"),
        "t": np.array([5], "m8[s]"),
        "c": np.array([1j]),
    }
    found = there_and_back(tmp_path, ".npz", values)
    for name, array in values.items():
        assert_array_equal(found[name], array, strict=True)
        with pytest.raises(TypeError, match="safetensors has no type"):
            fl.save(tmp_path / "a.safetensors", {name: array})


@both
def test_nothing(tmp_path, suffix):
    assert there_and_back(tmp_path, suffix, {}) == {}


@both
def test_equal_values_make_equal_files(tmp_path, suffix):
    values = {"x": codes_of("float6_e2m3fn"), "w": encoded("bfp_m4_e8_g16")}
    for name in ("a", "b"):
        fl.save(tmp_path / (name + suffix), values, formats={"x": "e2m3"})
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("name", ["float6_e3m2fn", "float4_e2m1fn", "int4", "bfp_m4_e8_g16"])
@both
def test_narrow_codes_are_packed(tmp_path, suffix, name):
    path, empty = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    fl.save(empty, {})
    fmt = FORMATS[name]
    if name in BLOCK_NAMES:
        b = encoded(fmt, (100, 160))
        fl.save(path, {"x": b})
        size = b.nbytes
    else:
        fl.save(path, {"x": codes_of(name, (100, 160))}, formats={"x": name})
        size = 16_000 * fmt.bits // 8
    assert size <= path.stat().st_size < size + empty.stat().st_size + 1200


# --- files of others ------------------------------------------------------------------------


def header(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


@pytest.mark.parametrize(
    ("name", "code", "dtype"),
    [
        ("float8_e4m3fn", "F8_E4M3", "float8_e4m3fn"),
        ("float8_e5m2", "F8_E5M2", "float8_e5m2"),
        ("float8_e4m3fnuz", "F8_E4M3FNUZ", "float8_e4m3fnuz"),
        ("float8_e5m2fnuz", "F8_E5M2FNUZ", "float8_e5m2fnuz"),
        ("float8_e8m0fnu", "F8_E8M0", "float8_e8m0fnu"),
        ("bfloat16", "BF16", "bfloat16"),
        ("float16", "F16", "float16"),
        ("float4_e2m1fn", "F4", "float4_e2m1fn_x2"),
    ],
)
class TestTypesOfSafetensors:
    def test_are_written(self, tmp_path, name, code, dtype):
        path = tmp_path / "a.safetensors"
        fl.save(path, {"x": codes_of(name)}, formats={"x": name})
        stored = header(path.read_bytes())["x"]
        assert (stored["dtype"], stored["shape"]) == (code, [3, 10])
        assert dict(safetensors.deserialize(path.read_bytes()))["x"]["dtype"] == code

    @pytest.mark.peers
    def test_torch_reads_ours(self, tmp_path, name, code, dtype):
        import safetensors.torch
        import torch

        path = tmp_path / "a.safetensors"
        fl.save(path, {"x": codes_of(name)}, formats={"x": name})
        tensor = safetensors.torch.load_file(path)["x"]
        assert tensor.dtype == getattr(torch, dtype)
        found = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        packed = fl.pack(codes_of(name), name).tobytes()
        assert found == packed
        if name not in ("float4_e2m1fn", "float8_e8m0fnu"):
            assert_array_equal(tensor.float().numpy(), fl.decode(codes_of(name), name))

    @pytest.mark.peers
    def test_we_read_those_of_torch(self, tmp_path, name, code, dtype):
        import safetensors.torch
        import torch

        path = tmp_path / "a.safetensors"
        stored = fl.pack(codes_of(name), name).reshape(3, -1)
        tensor = torch.from_numpy(stored).view(getattr(torch, dtype))
        safetensors.torch.save_file({"x": tensor, "y": torch.arange(3)}, path)
        found = fl.load(path)
        assert_array_equal(found["y"], np.arange(3), strict=True)
        if name == "float16":  # NumPy has this type
            assert_array_equal(found["x"], codes_of(name).view(np.float16), strict=True)
            assert found.formats == {}
        else:
            assert_array_equal(found["x"], codes_of(name), strict=True)
            assert found.formats == {"x": FORMATS[name]}


@pytest.mark.parametrize(
    ("name", "code", "scales"),
    [
        ("mxfp8_e4m3", "F8_E4M3", "F8_E8M0"),
        ("mxfp8_e5m2", "F8_E5M2", "F8_E8M0"),
        ("mxfp4_e2m1", "F4", "F8_E8M0"),
        ("mxint8", "U8", "F8_E8M0"),
        ("nvfp4", "F4", "F8_E4M3"),
        ("bfp_m4_e8_g16", "U8", "F8_E8M0"),
        ("smx6", "U8", "U16"),
    ],
)
class TestFieldsOfBlocks:
    """Elements and scales in types of their own where safetensors has them."""

    def test_types(self, tmp_path, name, code, scales):
        path = tmp_path / "a.safetensors"
        fl.save(path, {"w": encoded(name, (4, 64))})
        found = header(path.read_bytes())
        assert (found["w"]["dtype"], found["w.scales"]["dtype"]) == (code, scales)
        assert ("w.tensor_scale" in found) == (name == "nvfp4")

    @pytest.mark.peers
    def test_torch_reads_them(self, tmp_path, name, code, scales):
        import safetensors.torch
        import torch

        path = tmp_path / "a.safetensors"
        b = encoded(name, (4, 64))
        fl.save(path, {"w": b})
        found = safetensors.torch.load_file(path)
        assert (
            found["w"].view(torch.uint8).numpy().tobytes() == fl.pack(b.codes, b.format).tobytes()
        )
        if scales == "U16":
            return
        assert_array_equal(found["w.scales"].view(torch.uint8).numpy(), b.scales)
        if scales == "F8_E8M0":  # torch's values of scales and of 8-bit elements
            theirs = found["w.scales"].float().numpy()
            assert_array_equal(theirs, fl.decode(b.scales, "e8m0"))
            if code.startswith("F8"):
                with np.errstate(invalid="ignore"):  # a block of NaN
                    values = found["w"].float().numpy() * theirs.repeat(32, axis=1)
                assert_array_equal(values, fl.decode(b))


def test_safetensors_of_others(tmp_path):
    path = tmp_path / "a.safetensors"
    values = {"x": np.arange(6.0).reshape(2, 3), "y": np.array(True), "z": np.zeros((0, 2), "i2")}
    safetensors.numpy.save_file(values, path, {"origin": "elsewhere"})
    found = fl.load(path)
    assert found.keys() == values.keys()
    for name, array in values.items():
        assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("name", ["float6_e2m3fn", "float6_e3m2fn"])
def test_six_bits_of_others(tmp_path, name):
    """The library writes none yet, its format has them."""
    codes = codes_of(name, (3, 4))
    code = {"float6_e2m3fn": "F6_E2M3", "float6_e3m2fn": "F6_E3M2"}[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(
        forged({"x": {"dtype": code, "shape": [3, 4], "data_offsets": [0, 9]}}, fl.pack(codes, 6))
    )
    found = fl.load(path)
    assert_array_equal(found["x"], codes, strict=True)
    assert found.formats == {"x": FORMATS[name]}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz_of_others(tmp_path, write):
    path = tmp_path / "a.npz"
    x = np.arange(6.0).reshape(2, 3)
    write(path, x=x, f=np.asfortranarray(x), swapped=x.astype(">f8"), z=np.zeros(100_000))
    found = fl.load(path)
    assert_array_equal(found["x"], x, strict=True)
    assert_array_equal(found["f"], x, strict=True)
    assert_array_equal(found["swapped"], x)
    assert not found["z"].any()
    assert found.formats == {}


def test_numpy_reads_ours(tmp_path):
    path = tmp_path / "a.npz"
    fl.save(path, {"x": np.arange(3), "w": encoded("bfp_m4_e8_g16")})
    with np.load(path) as found:
        assert_array_equal(found["x"], np.arange(3))
        assert "w.scales" in found


# --- damage ---------------------------------------------------------------------------------


def small(path):
    codes = fl.encode([1.0, 2.0, 3.0], "e2m1")
    values = {"x": codes, "y": np.array([[1, 2]], np.int16), "w": encoded("bfp_m4_e8_g16", (2, 3))}
    fl.save(path, values, formats={"x": "e2m1"})
    return path.read_bytes()


def assert_equal_archives(a, b):
    assert a.keys() == b.keys()
    assert a.formats == b.formats
    for name, value in a.items():
        if isinstance(value, fl.BlockArray):
            assert_same(value, b[name])
        else:
            assert_array_equal(value, b[name], strict=True)


# One bit of each byte of a file, and all of them.
BITS = pytest.mark.parametrize(
    "bits", [(0,), pytest.param(range(1, 8), marks=pytest.mark.exhaustive)], ids=["one", "rest"]
)


def flipped(data, bits):
    """The data with one bit flipped, each byte in turn; which bit changes from byte to byte."""
    for at in range(len(data)):
        for bit in bits:
            changed = bytearray(data)
            changed[at] ^= 1 << (at + bit) % 8
            yield changed


@BITS
def test_every_flipped_bit_of_safetensors_is_noticed(tmp_path, bits):
    path = tmp_path / "a.safetensors"
    for changed in flipped(small(path), bits):
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="damaged"):
            fl.load(path)


@BITS
def test_no_flipped_bit_of_npz_changes_anything(tmp_path, bits):
    """Some bits of zip archives mean nothing: dates, attributes, versions."""
    path = tmp_path / "a.npz"
    data = small(path)
    expected, noticed = fl.load(path), 0
    for changed in flipped(data, bits):
        path.write_bytes(changed)
        try:
            found = fl.load(path)
        except ValueError:
            noticed += 1
        else:
            assert_equal_archives(found, expected)
    assert noticed > len(bits) * len(data) * 3 // 4


@both
@BITS
def test_every_truncation_is_noticed(tmp_path, suffix, bits):
    path = tmp_path / f"a{suffix}"
    data = small(path)
    for size in range(bits[0], len(data), 8 if len(bits) == 1 else 1):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match="damaged"):
            fl.load(path)


def test_damage_that_the_containers_do_not_see(tmp_path):
    """Zip's and the header's own checks made right again: ours still tell."""
    path = tmp_path / "a.npz"
    small(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    for name in members:
        changed = bytearray(members[name])
        changed[-1] ^= 1
        with zipfile.ZipFile(path, "w") as archive:
            for other, data in (members | {name: bytes(changed)}).items():
                archive.writestr(other, data)
        with pytest.raises(ValueError, match="CRC-32C"):
            fl.load(path)
    for missing in members:
        with zipfile.ZipFile(path, "w") as archive:
            for other in members.keys() - {missing}:
                archive.writestr(other, members[other])
        if missing == "__fmtlib__.npy":
            assert fl.load(path).formats == {}
        else:
            with pytest.raises(ValueError, match="its record names"):
                fl.load(path)


def forged(head, data=b""):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


def tensor(**changes):
    return {"x": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]} | changes}


def test_forging_is_not_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(forged(tensor(), b"ab"))
    assert fl.load(path)["x"].tolist() == [97, 98]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        b"\xff" * 8 + b"{}",
        forged(b"{"),
        forged(b"[]"),
        forged(b"[" * 5000),
        forged(b'{"a":' * 5000),
        forged(b'{"\xff": 1}'),
        forged({"x": 3}),
        forged(tensor(shape=[3]), b"ab"),
        forged(tensor(shape=[-2]), b"ab"),
        forged(tensor(shape=[2**63, 2**63]), b"ab"),
        forged(tensor(shape=[2**40, 2**24]), b"ab"),
        forged(tensor(shape=[2**40, 0, 2**63], data_offsets=[0, 0])),
        forged(tensor(shape="2"), b"ab"),
        forged(tensor(dtype="U9"), b"ab"),
        forged(tensor(dtype="BOOL"), b"\0\2"),
        forged(tensor(dtype="F4", shape=[3], data_offsets=[0, 2]), b"ab"),
        forged(tensor(data_offsets=[0, 1]), b"a"),
        forged(tensor(data_offsets=[1, 3]), b"abc"),
        forged(tensor(data_offsets=[2, 0]), b"ab"),
        forged(tensor(data_offsets=[0, 2**64]), b"ab"),
        forged(tensor(), b"abc"),
        forged(tensor() | {"y": tensor()["x"]}, b"ab"),
        forged(b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
               b'"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"a"),
        forged(tensor() | {"__metadata__": {"fmtlib": "{}"}}, b"ab"),
        forged(tensor() | {"__metadata__": {"fmtlib": "fmtlib 00000000 {}"}}, b"ab"),
        forged(tensor() | {"__metadata__": {"fmtlic": "fmtlib 00000000 {}"}}, b"ab"),
    ],
)  # fmt: skip
def test_hostile_safetensors(tmp_path, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        fl.load(path)


def npy(shape=(2,), descr="<u1", data=b"ab", order=False, version=(1, 0)):
    text = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def archive(*members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as zipped:
        warnings.simplefilter("ignore")  # of names that occur twice
        for name, data in members:
            zipped.writestr(name, data)
    return file.getvalue()


def with_sizes(data, packed, unpacked):
    """The archive with other sizes of its only member in its directory."""
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 20] + struct.pack("<II", packed, unpacked) + data[at + 28 :]


def with_comment(data, size):
    """The archive with a longer comment of its first member, which hides the second."""
    at = data.index(b"PK\x01\x02")
    return data[: at + 32] + struct.pack("<H", size) + data[at + 34 :]


def test_forged_archives_load(tmp_path):
    path = tmp_path / "a.npz"
    for data in (npy(), npy(version=(2, 0))):
        path.write_bytes(archive(("x.npy", data)))
        assert fl.load(path)["x"].tolist() == [97, 98]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        archive(("x.npy", b"")),
        archive(("x.npy", npy()[:9])),
        archive(("x.npy", npy(version=(3, 0)))),
        archive(("x.npy", npy(version=(9, 9)))),
        archive(("x.npy", npy(shape=(3,)))),
        archive(("x.npy", npy(shape=(-2,)))),
        archive(("x.npy", npy(shape=(-1, -2)))),
        archive(("x.npy", npy(shape=(2**70,)))),
        archive(("x.npy", npy(shape=(2**62, 2**62, 0), data=b""))),
        archive(("x.npy", npy(shape=(2**40,)))),
        archive(("x.npy", npy(shape=(2.0,)))),
        archive(("x.npy", npy(shape="x"))),
        archive(("x.npy", npy(descr="|O", data=bytes(16)))),
        archive(("x.npy", npy(descr=[("a", "|O")], data=bytes(16)))),
        archive(("x.npy", npy(descr="|V0"))),
        archive(("x.npy", npy(descr="nonsense"))),
        archive(("x.npy", npy(descr="|b1", data=b"\0\2"))),
        archive(("x.npy", npy(shape="(" * 4000))),
        archive(("x.npy", npy(shape="-" * 9000 + "1"))),
        archive(("x.npy", npy()), ("x.npy", npy())),
        archive(("x.txt", b"text")),
        archive(("x.npy", npy()), method=zipfile.ZIP_BZIP2),
        archive(("x.npy", npy()), method=zipfile.ZIP_LZMA),
        with_comment(archive(("x.npy", npy()), ("y.npy", npy())), 51),
        with_sizes(archive(("x.npy", npy())), 2**31, 2**31),
        with_sizes(archive(("x.npy", npy()), method=zipfile.ZIP_DEFLATED), 60, 2**31),
        archive(("__fmtlib__.npy", npy())),
        archive(("__fmtlib__.npy", npy((2,), data=b"[]"))),
        archive(("__fmtlib__.npy", npy((2,), data=b"{}")), ("x.npy", npy(data=b"a"))),
        archive(("__fmtlib__.npy", npy((4000,), data=b"[" * 4000))),
    ],
)  # fmt: skip
def test_hostile_npz(tmp_path, data):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        fl.load(path)


RECORD = {
    "version": 1,
    "values": {"x": {"format": "float8_e4m3fn", "shape": [2]}},
    "parts": {"x": ["F8_E4M3", [2], 0]},
}


BLOCKS = {"format": "bfp_m7_e8_g16", "shape": [2]}


def recorded(record, head=None, data=b"ab"):
    """A safetensors file with a record whose checksum is right."""
    text = json.dumps(record) if not isinstance(record, str) else record
    metadata = {"fmtlib": f"fmtlib {files.crc32c(text.encode()):08x} {text}"}
    return forged((head or tensor(dtype="F8_E4M3")) | {"__metadata__": metadata}, data)


def changed_record(**changes):
    parts = {"x": ["F8_E4M3", [2], files.crc32c(b"ab")]}
    return recorded(RECORD | {"parts": parts} | changes)


def test_forged_records_load(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(changed_record())
    assert fl.load(path).formats == {"x": FORMATS["float8_e4m3fn"]}


@pytest.mark.parametrize(
    "data",
    [
        recorded(RECORD),
        recorded("[]"),
        recorded("3"),
        recorded("{}"),
        recorded("[" * 9000),
        recorded("9" * 9000),
        changed_record(version=2),
        changed_record(version=None),
        changed_record(values=[]),
        changed_record(values={}),
        changed_record(values={"y": {}}),
        changed_record(values={"x": 3}),
        changed_record(values={"x": {"format": "float8_e4m3fn"}}),
        changed_record(values={"x": {"format": "float8_e4m3fn", "shape": [1]}}),
        changed_record(values={"x": {"format": "float8_e4m3fn", "shape": [-2]}}),
        changed_record(values={"x": {"format": "float8_e4m3fn", "shape": [2.0]}}),
        changed_record(values={"x": {"format": "float8_e4m3fn", "shape": 2}}),
        changed_record(values={"x": {"format": "nonsense", "shape": [2]}}),
        changed_record(values={"x": {"format": ["e4m3"], "shape": [2]}}),
        changed_record(values={"x": {"format": "float16", "shape": [2]}}),
        changed_record(values={"x": {"format": "float6_e2m3fn", "shape": [2]}}),
        changed_record(values={"x": {"format": "float6_e2m3fn", "shape": [2**60]}}),
        changed_record(values={"x": {"format": "fixed_s2_9", "shape": [2], "dtype": "x"}}),
        changed_record(values={"x": {"format": "bfp_m4_e8_g16", "shape": [2]}}),
        changed_record(values={"x": BLOCKS | {"format": "bfp_m7_e8_g1x2", "axis": [0, 1]}}),
        changed_record(
            values={"x": BLOCKS | {"axis": 0, "tensor_scale": False}}
        ),
        changed_record(
            values={"x": BLOCKS | {"axis": 5, "tensor_scale": True}}
        ),
        changed_record(parts={}),
        changed_record(parts={"x": []}),
        changed_record(parts={"x": 7}),
        changed_record(parts={"x": ["U8", [2], 0]}),
    ],
)  # fmt: skip
def test_hostile_records(tmp_path, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        fl.load(path)


@both
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage(tmp_path, suffix, data):
    """Bytes changed, cut out and put in anywhere."""
    path, damaged = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    whole = path.read_bytes() if path.exists() else small(path)
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(start + 9, len(content))))
        content[start:stop] = data.draw(st.binary(max_size=9))
    damaged.write_bytes(content)
    try:
        found = fl.load(damaged)
    except ValueError:
        return
    assert_equal_archives(found, fl.load(path))


# --- arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "a.npy", "a.safetensors.gz", ".npz", "a.NPZ"])
def test_suffixes(tmp_path, name):
    for call in (lambda: fl.save(tmp_path / name, {}), lambda: fl.load(tmp_path / name)):
        with pytest.raises(ValueError, match=r"suffix.*\.safetensors or \.npz"):
            call()


@both
@pytest.mark.parametrize(
    ("values", "formats", "error", "match"),
    [
        ({"x": np.array([object()])}, None, TypeError, "cannot be stored"),
        ({"x": np.zeros(2, "i4,f4")}, None, TypeError, "cannot be stored"),
        ({"x": np.zeros(2, ml_dtypes.int4)}, None, TypeError, "cannot be stored"),
        ({"x": np.ma.array([1])}, None, TypeError, "masked"),
        ({"x": np.uint8([1])}, {"y": "e4m3"}, ValueError, "'y'"),
        ({"x": np.int8([1])}, {"x": "e4m3"}, TypeError, "are uint8, got int8"),
        ({"x": np.float32([1])}, {"x": "e4m3"}, TypeError, "integers"),
        ({"x": np.uint8([64])}, {"x": "e2m3"}, ValueError, "from 0 to 63"),
        ({"x": np.uint8([1])}, {"x": "e9m9"}, ValueError, "unknown format"),
        ({"x": np.uint8([1])}, {"x": "bfp_m4_e8_g16"}, TypeError, "no BlockArray"),
        ({"x": encoded("bfp_m4_e8_g16")}, {"x": "bfp_m2_e8_g16"}, ValueError, "formats says"),
        ({"x": np.zeros(1, "V2").view(ml_dtypes.bfloat16)}, {"x": "e4m3"}, TypeError, "formats"),
        ({"x": encoded("bfp_m4_e8_g16"), "x.scales": 1}, None, ValueError, "two arrays"),
        ({"__metadata__": 1}, None, ValueError, "name of an array"),
        ({"__fmtlib__": 1}, None, ValueError, "name of an array"),
        ({"": 1}, None, ValueError, "name of an array"),
        ({3: 1}, None, ValueError, "name of an array"),
        ({"\ud800": 1}, None, ValueError, "surrogates"),
    ],
)
def test_what_cannot_be_saved(tmp_path, suffix, values, formats, error, match):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(error, match=match):
        fl.save(path, values, formats=formats)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_names_that_archives_cannot_have(tmp_path):
    for name in ("a\0b", "x" * 40_000):
        with pytest.raises(ValueError, match="archive"):
            fl.save(tmp_path / "a.npz", {name: 1})


@both
def test_files_that_are_not_there(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        fl.load(tmp_path / f"a{suffix}")
    with pytest.raises(FileNotFoundError):
        fl.save(tmp_path / "no" / f"a{suffix}", {})
    (tmp_path / f"d{suffix}").mkdir()
    with pytest.raises(IsADirectoryError):
        fl.load(tmp_path / f"d{suffix}")


def test_without_safetensors(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (fl.load, lambda path: fl.save(path, {})):
        with pytest.raises(ImportError, match=r"fmtlib\[files\]"):
            call(tmp_path / "a.safetensors")
    fl.save(str(tmp_path / "a.npz"), {"x": 1})
    assert fl.load(str(tmp_path / "a.npz"))["x"] == 1


# --- writing --------------------------------------------------------------------------------


@both
def test_a_failure_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    fl.save(path, {"x": np.arange(3)})
    old = path.read_bytes()

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk is full"):
        fl.save(path, {"x": np.arange(9)})
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_replaced_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"

    def write(error):
        with files.replaced(path) as temporary:
            temporary.write_text("half")
            raise error

    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error):
            write(error)
        assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    with pytest.raises(KeyError):
        write(KeyError)
    assert path.read_text() == "old"
    with pytest.raises(FileNotFoundError), files.replaced(path):
        pass  # nothing was written
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replaced_with_long_names(tmp_path):
    path = tmp_path / ("x" * 255)
    with files.replaced(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@both
def test_permissions(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    old = os.umask(0o027)
    try:
        fl.save(path, {})
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        fl.save(path, {"x": 1})
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
        path.chmod(0o400)
        fl.save(path, {"x": 2})
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    finally:
        os.umask(old)


def test_links_stay(tmp_path):
    path, link = tmp_path / "a.npz", tmp_path / "b.npz"
    fl.save(path, {"x": 1})
    link.symlink_to(path.name)
    fl.save(link, {"x": 2})
    assert link.is_symlink()
    assert fl.load(path)["x"] == 2
    assert Path(link).readlink() == Path(path.name)


def test_codes_that_are_none_are_named(tmp_path):
    with pytest.raises(TypeError, match="'w', by formats in float8_e4m3fn: codes must be integers"):
        fl.save(tmp_path / "a.npz", {"w": np.ones(3)}, formats={"w": "e4m3"})


def test_what_is_no_mapping_and_folders_that_are_missing_are_named(tmp_path):
    with pytest.raises(TypeError, match="mapping of names to arrays, got ndarray"):
        fl.save(tmp_path / "a.npz", np.ones(3))
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing.* to write"):
        fl.save(tmp_path / "missing" / "a.npz", {"x": 1})
