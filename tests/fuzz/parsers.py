"""Everything that reads bytes or text of others, as targets of a fuzzer.

A target takes any bytes.  It hands them to its parser, lets only the exceptions pass that the
parser documents, and looks at what was accepted: it must come back the same from its writer.
Checksums that would hide a parser from random bytes are made right first.  `fuzz.py` drives the
targets.
"""

from __future__ import annotations

import atexit
import gzip
import importlib
import io
import json
import os
import shutil
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from choices import Choices

import fmtlib as fl
from fmtlib import bricks, choices, hardware, onnx_models, stored_chunks, training
from fmtlib._core.kernels import crc32c
from fmtlib.benchmarks import results
from fmtlib.blocks import Planes
from fmtlib.formats import FORMATS
from fmtlib.hardware import command, onnx_graph
from fmtlib.search import LayerSize, evaluations
from fmtlib.search.configurations import BlockPrecision, Precision
from fmtlib.training import checkpoints, loop

# the modules, whose names in their packages are functions
training_sweep, counting_sweep = map(
    importlib.import_module, ("fmtlib.training.sweep", "fmtlib.hardware.sweep")
)

_MEMORY = "/dev/shm"
FOLDER = Path(tempfile.mkdtemp(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
atexit.register(shutil.rmtree, FOLDER)


@dataclass(frozen=True)
class Target:
    """A parser, what it may raise, and inputs to start from."""

    run: Callable[[bytes], None]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], Iterable[bytes]]

    def __call__(self, data: bytes) -> None:
        # NumPy and Pillow warn of what hostile files say
        with suppress(*self.errors), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            self.run(data)


TARGETS: dict[str, Target] = {}


def target(
    seeds: Callable[[], Iterable[bytes]], *errors: type[Exception]
) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Make a function of bytes a target of its name."""

    def add(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[run.__name__] = Target(run, errors or (ValueError,), seeds)
        return run

    return add


def _file(suffix: str, data: bytes) -> Path:
    path = FOLDER / f"a{suffix}"
    path.write_bytes(data)
    return path


def _same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, fl.BlockArray):
        assert a.tobytes() == b.tobytes()
    else:
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


# --- files ----------------------------------------------------------------------------------


def _values() -> tuple[dict[str, Any], dict[str, str]]:
    x = np.linspace(-3, 3, 36, dtype=np.float32).reshape(2, 18)
    values = {
        "x": x,
        "codes": fl.encode(x, "e2m1"),
        "bfp": fl.encode(x, fl.bfp(4)),
        "nvfp4": fl.encode(x, "nvfp4"),
        "tiles": fl.encode(x, fl.bfp(3, block_size=(2, 4))),
    }
    return values, {"codes": "e2m1"}


def _saved(suffix: str) -> Callable[[], Iterable[bytes]]:
    def seeds() -> Iterable[bytes]:
        values, formats = _values()
        for some in ({}, values, *({name: value} for name, value in values.items())):
            path = FOLDER / f"seed{suffix}"
            fl.save(path, some, formats={n: f for n, f in formats.items() if n in some})
            yield path.read_bytes()
        yield from _of_others(suffix)

    return seeds


def _of_others(suffix: str) -> Iterable[bytes]:
    x = np.arange(6, dtype=np.int16).reshape(2, 3)
    if suffix == ".safetensors":
        yield safetensors.numpy.save({"x": x}, {"format": "np"})
        return
    for write in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        write(file, x=x, y=np.asfortranarray(x))
        yield file.getvalue()


def _loads(path: Path) -> None:
    found = fl.load(path)
    for value in found.values():
        if isinstance(value, fl.BlockArray) and value.format.fits("float64"):
            fl.decode(value, dtype="float64")
    again = FOLDER / "again.npz"  # which takes all types that either container has
    try:
        fl.save(again, found)
    except (TypeError, ValueError):  # names and types that others' files have, and ours have not
        return
    for name, value in fl.load(again).items():
        _same(value, found[name])


@target(_saved(".npz"))
def npz(data: bytes) -> None:
    """`load` of an archive."""
    _loads(_file(".npz", data))


@target(_saved(".safetensors"))
def safetensors_file(data: bytes) -> None:
    """`load` of safetensors."""
    _loads(_file(".safetensors", data))


_NAMES = ("w", "w.scales", "w.tensor_scale", "x")
_DTYPES = ("u1", "<u2", "<f4", "i1", "<f2", "?")


def _meanings() -> Iterable[bytes]:
    values, formats = _values()
    for name, value in values.items():
        of_codes = {"w": formats[name]} if name in formats else None
        fl.save(FOLDER / "seed.npz", {"w": value}, formats=of_codes)
        with np.load(FOLDER / "seed.npz") as archive:
            record = json.loads(archive["__fmtlib__"].tobytes().split(b" ", 2)[2])
            parts = [archive[n] for n in archive.files if n != "__fmtlib__"]
        head = b""
        for place, part in enumerate(parts):
            dtype = _DTYPES.index(part.dtype.str.replace("|", ""))
            head += bytes([place, dtype, part.ndim, *part.shape])
        yield bytes([len(parts)]) + head + json.dumps(record["values"]).encode()


@target(_meanings)
def record(data: bytes) -> None:
    """`load` of arrays and any record that agrees with them, sealed."""
    given = Choices(data)
    arrays = {}
    for _ in range(given.number(0, 4)):
        name, dtype = given.pick(_NAMES), given.pick(_DTYPES)
        shape = tuple(given.number(0, 80) for _ in range(given.number(0, 3)))
        arrays[name] = np.ones(shape, dtype)
    parts = {
        name: [array.dtype.str, list(array.shape), crc32c(array.tobytes())]
        for name, array in arrays.items()
    }
    text = (
        b'{"version": 1, "values": ' + given.rest() + b', "parts": '
        + json.dumps(parts).encode() + b"}"
    )  # fmt: skip
    sealed = b"fmtlib %08x " % crc32c(text) + text
    file = io.BytesIO()
    np.savez(file, **{"__fmtlib__": np.frombuffer(sealed, np.uint8)} | arrays)
    _loads(_file(".npz", file.getvalue()))


@target(lambda: [b"\x01\x00\x02\x00\x00\x00\x03" + bytes(6), *_npys()])
def npy(data: bytes) -> None:
    """One array of NumPy's, as `fmtlib count` reads its inputs."""
    path = _file(".npy", data)
    command.read_inputs("model.onnx", [str(path)], (0.0,), (1.0,))


def _npys() -> Iterable[bytes]:
    for x in (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(1, "i2")):
        file = io.BytesIO()
        np.save(file, x)
        yield file.getvalue()


@target(lambda: _of_others(".npz"))
def npz_inputs(data: bytes) -> None:
    """An archive, as `fmtlib count` reads its inputs."""
    command.read_inputs("model.onnx", [str(_file(".npz", data))], (0.0,), (1.0,))


# --- bytes of arrays ------------------------------------------------------------------------


def _sealed(data: bytes) -> bytes:
    """The input as it is, or (its first bit set) with its last four bytes the right checksum."""
    if data[:1] < b"\x80":
        return data[1:]
    body = data[1:-4]
    return body + struct.pack("<I", crc32c(body))


def _both_ways(data: bytes) -> Iterable[bytes]:
    return b"\x00" + data, b"\x80" + data


def _blocks() -> Iterable[bytes]:
    for value in _values()[0].values():
        if isinstance(value, fl.BlockArray):
            yield from _both_ways(value.tobytes())
    yield from _both_ways(fl.encode(np.zeros((0, 5)), "mxfp8_e4m3").tobytes())


@target(_blocks)
def block_array(data: bytes) -> None:
    """`BlockArray.frombytes`."""
    data = _sealed(data)
    b = fl.BlockArray.frombytes(data)
    assert b.tobytes() == data
    if b.format.fits("float64"):
        fl.decode(b, dtype="float64")


def _compressed() -> Iterable[bytes]:
    x = np.where(np.arange(60) % 3, np.arange(60) - 20, 0).reshape(4, 15).astype(np.int8)
    for encoding in ("dpred", *bricks.CODECS):
        for dtype in ("int8", "int16", "uint32"):
            c = fl.compress(np.abs(x).astype(dtype), 7, axis=0, encoding=encoding)
            yield from _both_ways(c.tobytes())
            c = fl.compress(x.astype(dtype.removeprefix("u")), 4, encoding=encoding)
            yield from _both_ways(c.tobytes())
    yield from _both_ways(fl.compress(np.zeros((0, 3), np.int16)).tobytes())


def _stored() -> tuple[Any, ...]:
    from fmtlib.numcodecs_codecs import Compress, Quantize

    return Quantize("e2m1", "float32"), Quantize(fl.bfp(4), "float32"), Compress("int16")


def _stored_chunks() -> Iterable[bytes]:
    x = np.linspace(-3, 3, 36, dtype=np.float32).reshape(2, 18)
    for number, codec in enumerate(_stored()):
        for array in (x, np.asfortranarray(x)):
            data = codec.encode(array.astype(codec.dtype))
            yield from (bytes([number | flag]) + data for flag in (0, 0x80))


@target(_stored_chunks)
def stored_chunk(data: bytes) -> None:
    """What numcodecs' codecs read, and zarr's in it; by the first bit, with the right checksum."""
    codecs, (number, chunk) = _stored(), (data[:1] or b"\0", data[1:])
    start = 2 + 8 * chunk[0] if chunk else 0  # behind the shape
    if number >= b"\x80" and len(chunk) > start + 4:
        chunk = chunk[:-4] + struct.pack("<I", crc32c(chunk[start:-4]))
    codecs[(number[0] & 0x7F) % len(codecs)].decode(chunk)


@target(_compressed)
def compressed_array(data: bytes) -> None:
    """`decompress`, and reading of groups."""
    data = _sealed(data)
    c = fl.CompressedArray.frombytes(data)
    assert c.tobytes() == data
    x = fl.decompress(c)
    assert (x.shape, x.dtype) == (c.shape, c.dtype)
    if c.encoding == "dpred" and c.groups:
        assert c.widths().shape == c.grid
        last_first = np.moveaxis(x, c.axis, -1)
        assert np.array_equal(c.read(0, c.groups), last_first.reshape(-1))
        assert np.array_equal(
            c.read(c.groups - 1), c.read(0, c.groups)[-len(c.read(c.groups - 1)) :]
        )
    again = fl.compress(x, c.group_size, c.axis, encoding=c.encoding)
    _same(fl.decompress(again), x)


@target(lambda: [b"\x03\x03\x00\x71\x0a", b"\x05\x04\x01\x01\x00\x00\x00" + bytes(3)])
def packed_codes(data: bytes) -> None:
    """`unpack`."""
    given = Choices(data)
    fmt = given.pick([*range(1, 33), *(f for f in FORMATS.values())])
    shape: tuple[int, ...] = (given.number(0, 40),)
    if given.flag():
        shape += (given.number(0, 2**31),)
    packed = given.rest()
    assert fl.pack(fl.unpack(packed, fmt, shape), fmt).tobytes() == packed


def _planes() -> Iterable[bytes]:
    x = fl.encode(np.arange(7.0), fl.bfp(3, block_size=4)).planes()
    yield bytes([2, 6, 3, 7, 2]) + x.exponents.tobytes() + b"".join(p.tobytes() for p in x.planes)


@target(_planes)
def chunk_planes(data: bytes) -> None:
    """`Planes.read`."""
    given = Choices(data)
    fmt = fl.bfp(given.number(1, 23), given.number(2, 8), 1 + given.number(0, 20))
    shape, count = (given.number(0, 40),), given.number(0, 12)
    exponents, *planes = (
        np.frombuffer(given.bytes(-(-n * bits // 8)), np.uint8)
        for n, bits in [(-(-shape[0] // fmt.block_size), fmt.scale_bits), *[(shape[0], 3)] * count]
    )
    b = Planes(tuple(planes), exponents, fmt, shape, 0).read()
    assert b.shape == shape


def _configurations() -> Iterable[bytes]:
    for number, codec in enumerate((
        stored_chunks.Quantized("int8", rounding="nearest_away", scale=0.5, zero_point=3),
        stored_chunks.Compressed(7, 0),
        stored_chunks.Quantized("mxfp4_e2m1", axis=0),
    )):  # fmt: skip
        yield bytes([number]) + json.dumps(stored_chunks.configuration_of(codec)).encode()


@target(_configurations, ValueError, TypeError)
def stored_configuration(data: bytes) -> None:
    """A codec of zarr or numcodecs, as their JSON has it."""
    given = Choices(data)
    kind = given.pick((stored_chunks.Quantized, stored_chunks.Compressed))
    found = json.loads(given.rest())
    if isinstance(found, dict):
        codec = stored_chunks.configured(kind, found)
        again = json.loads(json.dumps(stored_chunks.configuration_of(codec)))
        assert stored_chunks.configured(kind, again) == codec


def _idx() -> Iterable[bytes]:
    whole = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6))
    doubles = bytes([0, 0, 14, 1, 0, 0, 0, 2]) + bytes(16)
    return whole, doubles, gzip.compress(whole, mtime=0), gzip.compress(doubles, mtime=0)


@target(_idx)
def idx(data: bytes) -> None:
    """`read_idx`, gzip or not."""
    x = training.read_idx(_file("", data))
    assert x.dtype.isnative


@target(_idx)
def idx_gzip(data: bytes) -> None:
    """`read_idx` of what gzip unpacks to anything."""
    packed = gzip.compress(data, 1, mtime=0)
    training.read_idx(_file("", packed))


# --- texts ----------------------------------------------------------------------------------


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _format_names() -> Iterable[bytes]:
    names = [*FORMATS, "bfp_m4_e8_g16", "fixed_s7_8", "binary8p3se", "uint7",
             "bfp_m3_e5_g4x4_hbfp_bump_raise", "fixed_sm3_4", "int5_full",
             "block_float4_e2m1fn_by_float8_e4m3fn_tensor_g16_amax",
             fl.FloatFormat(5, 3, 9, nan="none", infinities=False).name]  # fmt: skip
    return (name.encode() for name in names)


@target(_format_names)
def format_name(data: bytes) -> None:
    """`get_format`, and what a name means."""
    fmt = fl.get_format(_text(data))
    assert fl.get_format(fmt.name) == fmt
    assert fmt.bits >= 1
    assert fmt.max > 0
    if isinstance(fmt, fl.FloatFormat):
        str(fl.finfo(fmt))


def _recipes() -> Iterable[bytes]:
    texts = ["float32", "fast:alpha=0.35:beta=0.15", "nm:kept=1:recipe=(bfp:mantissa_bits=4)",
             "fp8", "flexblock", "int8", "adamw:weight_decay=0.01", "steps:at=0.5,0.75:factor=0.1",
             "warmup:steps=100:then=cosine", "mlp:hidden=64,64", "text:length=32",
             "dynamic:initial=1024", "digits"]  # fmt: skip
    return (bytes([i]) + text.encode() for text in texts for i in range(7))


@target(_recipes, ValueError, TypeError)
def setup(data: bytes) -> None:
    """The texts of a training: of its data, network, recipe, optimizer, schedule, loss scale."""
    fields = ("recipe", "data", "network", "optimizer", "schedule", "loss_scale")
    which = Choices(data).number(0, len(fields))
    text = _text(data[1:])
    if which == len(fields):
        training.parse_recipe(text)
    else:
        training.Setup(**{fields[which]: text}).described()


def _designs() -> Iterable[bytes]:
    yield from (name.encode() for name in hardware.design_names())
    yield b"stripes,loom:serial_bits=2:tiles=4"
    yield b"tcl_e:pattern=T8:lookahead=2:fill_order=most_candidates,scnn"


@target(_designs, ValueError, TypeError)
def designs(data: bytes) -> None:
    """`--designs` of `fmtlib count`."""
    for design in command.parse_designs(_text(data)):
        assert design.name in hardware.design_names()


@target(lambda: [b"nm:kept=1:recipe=(bfp:mantissa_bits=2)", b"a:b=((c)):d=e", b"a"])
def choice(data: bytes) -> None:
    """Names with parameters."""
    name, settings = choices.split_choice(_text(data))
    assert all(settings.values())
    text = ":".join([name, *(f"{key}=({value})" for key, value in settings.items())])
    assert choices.split_choice(text) == (name, settings)


# --- JSON of sweeps and searches ------------------------------------------------------------

_SETUP = training.Setup(epochs=1)
_SIZES = (LayerSize("a", 40, 20, 20, 10), LayerSize("b", 8, 8))


def _rows() -> Iterable[bytes]:
    row = {**_SETUP.described(), **dict.fromkeys(training_sweep._MEASURED)}
    document = {"schema": training_sweep.SCHEMA, "version": training_sweep.VERSION, "row": row}
    yield json.dumps(document).encode()
    yield json.dumps(document | {"row": row | {"macs": 3, "test_loss": 0.5}}).encode()


@target(_rows)
def training_row(data: bytes) -> None:
    """A run that a folder of trainings has."""
    _file(".json", data)
    for row in training_sweep._load(FOLDER, {"a": _SETUP}).values():
        training_sweep._save(FOLDER / "b.json", row)


def _counted() -> Iterable[bytes]:
    document = {"schema": counting_sweep.SCHEMA, "version": counting_sweep.VERSION}
    yield json.dumps(document | {"done": {"0" * 64: [{"layer": "conv1", "speedup": 1.5}]}}).encode()


@target(_counted)
def counting_rows(data: bytes) -> None:
    """What a sweep of counts has done."""
    counting_sweep._save(FOLDER / "b.json", counting_sweep._load(_file(".json", data)))


def _searched() -> Iterable[bytes]:
    known = {
        (None, None): 0.75,
        (Precision(3, 4, 2, 5), BlockPrecision(16, 5, 4, 3)): 0.5,
    }
    evaluations._write(FOLDER / "seed.json", _SIZES, "accuracy", known)
    yield (FOLDER / "seed.json").read_bytes()


@target(_searched)
def search(data: bytes) -> None:
    """What a search of precisions remembers."""
    known = evaluations._read(_file(".json", data), _SIZES, "accuracy")
    evaluations._write(FOLDER / "b.json", _SIZES, "accuracy", known)
    assert evaluations._read(FOLDER / "b.json", _SIZES, "accuracy").keys() == known.keys()


def _report() -> hardware.Report:
    layers = [
        hardware.Layer.linear(np.ones((1, 32), int), np.ones((16, 32), int), name=n) for n in "ab"
    ]
    memory = hardware.Memory(dram_megabytes_per_second=1000, clock_megahertz=1000)
    return hardware.Report.of({"n": hardware.count(layers, ["stripes"], memory=memory)})


@target(lambda: [_report().dumps().encode()])
def report(data: bytes) -> None:
    """A report of counts."""
    found = hardware.Report.load(_file(".json", data))
    found.to_json(FOLDER / "b.json")
    assert hardware.Report.load(FOLDER / "b.json").dumps() == found.dumps()
    found.to_markdown()


def _measured() -> Iterable[bytes]:
    saved = json.loads((Path(__file__).parents[2] / "docs" / "benchmarks.json").read_text())
    yield json.dumps(saved | {"rows": saved["rows"][:2]}).encode()


@target(_measured)
def measurements(data: bytes) -> None:
    """What `fmtlib bench` compares with."""
    found = results.load(_file(".json", data))
    results.compare(found, found)


# --- checkpoints ----------------------------------------------------------------------------


def _state() -> loop.TrainingState:
    network = training.mlp(2, (3,), 2, seed=0)
    optimizer = training.SGD(network.parameters)
    run = training.Run(training.Float32(), network.products, iterations=4, seed=0)
    return loop.TrainingState(network, optimizer, run, 1.0)


@cache
def _arrays_and_record() -> tuple[dict[str, Any], dict[str, Any]]:
    _state().save(FOLDER / "seed.npz", {"epochs": "1"}, 0.5)
    return checkpoints.load_checkpoint(FOLDER / "seed.npz")


def _checkpoint_seeds() -> Iterable[bytes]:
    arrays, record = _arrays_and_record()
    text = json.dumps({"kind": checkpoints._KIND, "version": 1, "record": record}).encode()
    yield bytes(2) + text
    yield bytes([0, 1]) + b"0.x " + text
    for place in range(len(arrays)):
        yield bytes([1, place, 0, 0, 0, 0]) + text
        yield bytes([1, place, 1, 2, 2, 7, 7, 0]) + text


@target(_checkpoint_seeds)
def checkpoint(data: bytes) -> None:
    """A training resumed from a checkpoint whose arrays and record are anything, sealed."""
    given = Choices(data)
    arrays = dict(_arrays_and_record()[0])
    for _ in range(given.number(0, 3)):
        name = given.pick(list(arrays))
        dtype = given.pick((arrays[name].dtype, "f8", "i8", "f4", "u1", "c8", "U3", "M8[s]"))
        shape = given.pick((arrays[name].shape, (), (6,), (2, 4), (1, 4), (0,)))
        many = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = given.bytes(given.number(0, 64))
        raw = (raw * (many // max(len(raw), 1) + 1))[:many].ljust(many, b"\0")
        if dtype == "U3":
            raw = bytes(many)
        arrays[name] = np.frombuffer(raw, dtype).reshape(shape)
    if given.flag():
        arrays["run.memory." + _text(given.bytes(4))] = np.zeros(2)
    fl.save(FOLDER / "a.npz", {**arrays, "checkpoint": np.frombuffer(given.rest(), np.uint8)})
    _state().load(FOLDER / "a.npz", {"epochs": "1"})


@target(lambda: [np.array([0.5, 3, 1, 2]).tobytes(), np.zeros(2).tobytes()])
def history(data: bytes) -> None:
    """The state of an `AmaxHistory`."""
    numbers = np.frombuffer(data[: len(data) // 8 * 8], np.float64)
    restored = fl.AmaxHistory("e4m3", length=3)
    restored.restore(numbers)
    restored.scale_for(np.ones(4, np.float32))


# --- models and photographs -----------------------------------------------------------------


def _models() -> Iterable[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    def model(nodes: list[Any], weights: dict[str, Any], shape: list[Any]) -> bytes:
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
            [numpy_helper.from_array(w, name) for name, w in weights.items()],
        )  # fmt: skip
        return bytes(helper.make_model(graph).SerializeToString())

    w = np.ones((2, 1, 3, 3), np.float32)
    yield model([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[1, 1])],
                {"w": w}, [1, 1, 4, 4])  # fmt: skip
    yield model([helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER")],
                {"w": w[..., 0]}, [1, 1, 4])  # fmt: skip
    yield model([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
                {"w": np.eye(3, dtype=np.float32)}, ["n", 3])  # fmt: skip
    yield model([helper.make_node("MatMul", ["w", "x"], ["y"])],
                {"w": np.eye(3, dtype=np.float32)}, [3, 2])  # fmt: skip


@target(_models)
def model(data: bytes) -> None:
    """An ONNX model, and the nodes of it that would be traced."""
    found = onnx_models.load(data)
    try:
        onnx_graph.nodes_of(found, ("x",))
    finally:
        command._image_shape(str(_file(".onnx", data)))


_X_SHAPES = ((1, 1, 4, 4), (2, 2, 5), (2, 3), (3,), (2, 2, 3), (1, 2, 3, 3, 3), (4, 4))
_W_SHAPES = ((2, 1, 3, 3), (2, 2, 3), (3, 2), (3,), (2, 3), (4, 4), (1, 1, 1, 1), (2, 2, 1, 1, 1))


# What a node may say, and of which kind that is; the numbers may make no sense.
_ATTRIBUTES: dict[str, tuple[tuple[str, Callable[[Choices], Any]], ...]] = {
    "Conv": (
        *((name, lambda given: [given.number(-1, 5) for _ in range(given.number(1, 5))])
          for name in ("pads", "strides", "dilations", "kernel_shape")),
        ("group", lambda given: given.number(-(2**40), 2**40)),
        ("auto_pad", lambda given: given.pick(("SAME_LOWER", "SAME_UPPER", "VALID", "\xff"))),
    ),
    "Gemm": tuple((name, lambda given: given.number(-1, 3)) for name in ("transA", "transB")),
    "MatMul": (),
}  # fmt: skip


@target(
    lambda: (bytes([*parts, 0, 0, 0]) for parts in ((0, 0, 0), (0, 1, 1), (1, 2, 2), (2, 2, 2)))
)
def nodes(data: bytes) -> None:
    """Products of one node with any attributes, which onnxruntime has not checked."""
    from onnx import TensorProto, helper, numpy_helper

    given = Choices(data)
    kind = given.pick(tuple(_ATTRIBUTES))
    x = np.ones(given.pick(_X_SHAPES), np.float32)
    w = np.ones(given.pick(_W_SHAPES), given.pick(("f4", "f8", "i4")))
    swapped, how = given.flag(), {}
    for _ in range(given.number(0, 5) if _ATTRIBUTES[kind] else 0):
        name, value = given.pick(_ATTRIBUTES[kind])
        how[name] = value(given)
    graph = helper.make_graph(
        [helper.make_node(kind, ["w", "x"] if swapped else ["x", "w"], ["y"], **how)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    found = onnx_models.load(helper.make_model(graph).SerializeToString())
    chosen, _ = onnx_graph.nodes_of(found, ("x",))
    list(onnx_graph.read(found, chosen, {"x": x}))


def _photographs() -> Iterable[bytes]:
    from PIL import Image

    for kind in ("PNG", "JPEG", "BMP", "GIF"):
        file = io.BytesIO()
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(file, kind)
        yield file.getvalue()


@target(_photographs)
def photograph(data: bytes) -> None:
    """A photograph as a model's input."""
    command._photograph(str(_file("", data)), (3, 8, 8), (0.5,), (0.5,))
