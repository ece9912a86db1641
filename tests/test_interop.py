"""Arrays of other libraries: what NumPy sees is taken, containers and laziness are kept."""

import sys

import dask.array as da
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import FLOAT_NAMES
from numpy.testing import assert_array_equal

import fmtlib as fl

X = np.float32([[0.3, -1.5, 1e9], [0.0, -0.0, 7.25], [1e-9, -3.3, 88.0], [5.0, 6.0, -7.0]])

# How each library wraps a matrix; X.flat[5] is at row 1, column 2.
CONTAINERS = {
    "frame": lambda x: pd.DataFrame(x, index=list("abcd")[: len(x)], columns=["p", "q", "r"]),
    "xarray": lambda x: xr.DataArray(x, dims=("row", "column"), coords={"column": [7, 8, 9]}),
    "dask": lambda x: da.from_array(x, chunks=(3, 2)),
    "xarray of dask": lambda x: xr.DataArray(da.from_array(x, chunks=2), dims=("row", "column")),
}
CONTAINERS_OF_COLUMNS = {
    **CONTAINERS,
    "series": lambda x: pd.Series(x[:, 0], index=list("abcd")[: len(x)], name="weights"),
    "index": lambda x: pd.Index(x[:, 0]),
}


def assert_same(actual, like, expected):
    """Of like's type, labels and laziness, and equal to expected to the bit."""
    assert type(actual) is type(like)
    if isinstance(like, pd.DataFrame):
        assert actual.index.equals(like.index)
        assert actual.columns.equals(like.columns)
        assert {np.dtype(dtype) for dtype in actual.dtypes} == {expected.dtype}
    elif isinstance(like, pd.Series):
        assert actual.index.equals(like.index)
        assert actual.name == like.name
        assert actual.dtype == expected.dtype
    elif isinstance(like, xr.DataArray):
        assert actual.dims == like.dims
        assert actual.coords.equals(like.coords)
        assert type(actual.data) is type(like.data)
        assert actual.dtype == expected.dtype
    elif isinstance(like, da.Array):
        assert actual.chunks == like.chunks
        assert actual.dtype == actual.compute().dtype == expected.dtype
    values = np.asarray(actual)
    assert_array_equal(values, expected)
    if expected.dtype.kind == "f":
        assert_array_equal(np.signbit(values), np.signbit(expected))


def values_of(container):
    return np.asarray(container)


@pytest.mark.parametrize("fmt", ["e4m3", "fixed_s7_8", "int8"])
@pytest.mark.parametrize("container", CONTAINERS_OF_COLUMNS)
def test_verbs_keep_the_container(container, fmt):
    x = CONTAINERS_OF_COLUMNS[container](X)
    codes = fl.encode(x, fmt)
    assert_same(codes, x, fl.encode(values_of(x), fmt))
    assert_same(fl.decode(codes, fmt), x, fl.decode(values_of(codes), fmt))
    wide = fl.decode(codes, fmt, dtype="float64")
    assert_same(wide, x, fl.decode(values_of(codes), fmt, dtype="float64"))
    assert_same(fl.quantize(x, fmt), x, fl.quantize(values_of(x), fmt))
    away = fl.quantize(x, fmt, rounding="nearest_away")
    assert_same(away, x, fl.quantize(values_of(x), fmt, rounding="nearest_away"))


@pytest.mark.parametrize("container", CONTAINERS_OF_COLUMNS)
def test_ufuncs_keep_the_container(container):
    x = CONTAINERS_OF_COLUMNS[container](X)
    for verb in ("encode", "quantize"):
        ufunc = fl.ufunc(verb, "e4m3", overflow="nonsaturating")
        assert_same(ufunc(x), x, ufunc(values_of(x)))


@pytest.mark.parametrize("rounding", ["stochastic", "stochastic_b", "stochastic_c"])
@pytest.mark.parametrize("container", CONTAINERS_OF_COLUMNS)
def test_stochastic_words_go_by_the_index_in_the_whole_array(container, rounding):
    big = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    x = CONTAINERS[container](big) if container == "dask" else CONTAINERS_OF_COLUMNS[container](X)
    how = {"rounding": rounding, "seed": (3, 1), "random_bits": 7}
    assert_same(fl.encode(x, "e4m3", **how), x, fl.encode(values_of(x), "e4m3", **how))
    assert_same(fl.quantize(x, "e2m1", **how), x, fl.quantize(values_of(x), "e2m1", **how))
    scaled = fl.quantize(x, "int8", scale=0.3, **how)
    assert_same(scaled, x, fl.quantize(values_of(x), "int8", scale=0.3, **how))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", CONTAINERS_OF_COLUMNS)
def test_scales(container, dtype):
    x = CONTAINERS_OF_COLUMNS[container](X.astype(dtype) / 3)
    scale = {"scale": 0.1, "zero_point": -3}
    codes = fl.encode(x, "int8", **scale)
    assert_same(codes, x, fl.encode(values_of(x), "int8", **scale))
    for wanted in (np.float32, np.float64):
        expected = fl.decode(values_of(codes), "int8", dtype=wanted, **scale)
        assert_same(fl.decode(codes, "int8", dtype=wanted, **scale), x, expected)
    assert_same(fl.quantize(x, "int8", **scale), x, fl.quantize(values_of(x), "int8", **scale))
    per_channel = {"scale": [0.1, 0.3, 1.7], "axis": 1}
    if values_of(x).ndim == 2:
        for fmt in ("int8", "e5m2"):
            expected = fl.quantize(values_of(x), fmt, **per_channel)
            assert_same(fl.quantize(x, fmt, **per_channel), x, expected)
    with pytest.raises(ValueError, match="scale must"):
        fl.encode(x, "int8", scale=-1)


@pytest.mark.parametrize("container", ["frame", "xarray"])
def test_blocks_come_back_as_numpy_arrays(container):
    x = CONTAINERS[container](X)
    fmt = fl.bfp(4, block_size=2)
    encoded = fl.encode(x, fmt, axis=0)
    assert_array_equal(encoded.codes, fl.encode(X, fmt, axis=0).codes)
    quantised = fl.quantize(x, fmt, axis=0)
    assert type(quantised) is np.ndarray
    assert_array_equal(quantised, fl.quantize(X, fmt, axis=0))


@pytest.mark.parametrize("container", CONTAINERS_OF_COLUMNS)
def test_what_containers_cannot_do(container):
    x = CONTAINERS_OF_COLUMNS[container](X)
    shape = values_of(x).shape
    for keywords in ({}, {"scale": 1.0}):
        for verb, out in ((fl.encode, np.uint8), (fl.quantize, np.float32)):
            with pytest.raises(TypeError, match="neither out nor where"):
                verb(x, "e4m3", out=np.empty(shape, out), **keywords)
            if "dask" not in container:  # whose values are looked at later
                with pytest.raises(TypeError, match="needs values"):
                    verb(x, "e4m3", overflow="raise", **keywords)
    codes = fl.encode(x, "e4m3")
    with pytest.raises(TypeError, match=r"float32 or float64 only|neither out nor where"):
        fl.decode(codes, "e4m3", out=np.empty(shape, np.float32))
    if "dask" not in container:
        with pytest.raises(TypeError, match="float32 or float64 only"):
            fl.decode(codes, "e4m3", dtype=np.float16)
    with pytest.raises(TypeError, match="codes of float16 are uint16, got uint8"):
        fl.decode(codes, "float16")
    with pytest.raises(TypeError, match="x must be an array of"):
        fl.encode(x.astype(bool), "e4m3")
    with pytest.raises(TypeError, match="int64 cannot hold"):
        fl.quantize((x > 0).astype(np.int64) if container != "index" else pd.Index([1]), "e4m3")


# --- pandas -------------------------------------------------------------------------------------


def test_frames_of_several_types():
    frame = pd.DataFrame({"a": np.float32([1.1, 2.2]), "b": [3.3, 4.4], "c": np.int16([5, 1000])})
    codes = fl.encode(frame, "e4m3")
    for name in frame:
        assert_array_equal(codes[name], fl.encode(frame[name].to_numpy(), "e4m3"))
    floats = frame[["a", "b"]]
    quantised = fl.quantize(floats, "e4m3")
    for name in floats:
        assert_array_equal(quantised[name], fl.quantize(frame[name].to_numpy(), "e4m3"))
    with pytest.raises(TypeError, match="int16 cannot hold every value"):
        fl.quantize(frame, "e4m3")
    with pytest.raises(TypeError, match="all float32 or all float64, got float32, float64"):
        fl.quantize(floats, "int8", scale=0.1)
    twice = pd.DataFrame(X[:, :2], columns=["same", "same"])
    assert_same(fl.encode(twice, "e4m3"), twice, fl.encode(X[:, :2], "e4m3"))
    with pytest.raises(TypeError, match="got object"):
        fl.encode(pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}, dtype=object), "e4m3")
    with pytest.raises(TypeError, match="DataFrame must hold numbers"):
        fl.encode(pd.DataFrame({"a": pd.Categorical(["x", "y"])}), "e4m3")


def test_missing_values_stay_missing():
    series = pd.Series([0.3, None, 500.0], dtype="Float32")
    codes = fl.encode(series, "e4m3")
    assert codes.isna().tolist() == [False, True, False]
    assert codes[[0, 2]].tolist() == [42, 126]
    values = fl.decode(codes, "e4m3")
    assert values.isna().tolist() == [False, True, False]
    assert values[[0, 2]].tolist() == [0.3125, 448.0]
    assert fl.quantize(series, "e4m3").equals(values)


def test_datasets():
    dataset = xr.Dataset({"a": CONTAINERS["xarray"](X), "b": ("other", np.float64([0.3]))})
    codes = fl.encode(dataset, "e4m3")
    assert isinstance(codes, xr.Dataset)
    assert_array_equal(codes["a"], fl.encode(X, "e4m3"))
    assert_array_equal(codes["b"], [42])
    with pytest.raises(TypeError, match="known shape, got Dataset"):
        fl.encode(dataset, "e4m3", rounding="stochastic")
    assert_array_equal(fl.decode(codes, "e4m3", scale=0.5)["b"], [0.15625])
    with pytest.raises(ValueError, match="an axis needs an array"):
        fl.decode(codes, "e4m3", scale=[0.5, 2.0, 1.0], axis=1)


def test_dask_is_not_computed_early():
    def fail(block):
        raise AssertionError

    lazy = da.from_array(X, chunks=2).map_blocks(fail, dtype=np.float32, meta=X[:0])
    codes = fl.encode(lazy, "int8", scale=0.5)
    for made in (
        codes,
        fl.encode(lazy, "e4m3"),
        fl.quantize(lazy, "e4m3", rounding="stochastic"),
        fl.quantize(lazy, "int8", scale=0.5),
        fl.decode(codes, "int8", scale=0.5, dtype=np.float64),
    ):
        with pytest.raises(AssertionError):
            made.compute()


def test_dask_of_unknown_shape():
    lazy = da.from_array(X, chunks=2)
    some = lazy[lazy[:, 0] > 0]
    assert_array_equal(fl.encode(some, "e4m3").compute(), fl.encode(X[X[:, 0] > 0], "e4m3"))
    with pytest.raises(TypeError, match="known shape"):
        fl.encode(some, "e4m3", rounding="stochastic", seed=1)


# --- ml_dtypes ----------------------------------------------------------------------------------


def dtype_of(name):
    return np.dtype(np.float16 if name == "float16" else getattr(ml_dtypes, name))


@pytest.mark.parametrize("name", FLOAT_NAMES)
def test_every_code_as_ml_dtypes_and_back(name):
    fmt = fl.get_format(name)
    if not (name == "float16" or hasattr(ml_dtypes, name)):
        codes = np.zeros(2, fmt.code_dtype)
        with pytest.raises(ValueError, match=f"no float dtype for {name}"):
            fl.as_ml_dtypes(codes, name)
        return
    codes = np.arange(2**fmt.bits).astype(fmt.code_dtype)
    theirs = fl.as_ml_dtypes(codes, name)
    assert theirs.dtype == dtype_of(name)
    assert np.shares_memory(theirs, codes)
    again = fl.from_ml_dtypes(theirs)
    assert again.dtype == fmt.code_dtype
    assert np.shares_memory(again, codes)
    assert_array_equal(again, codes)
    values = fl.decode(codes, name)
    with np.errstate(invalid="ignore"):
        assert_array_equal(theirs.astype(values.dtype), values)
    assert_array_equal(fl.decode(theirs), values)
    assert_array_equal(fl.decode(theirs, name), values)
    assert_array_equal(fl.decode(theirs, dtype_of(name)), values)
    assert_array_equal(fl.decode(theirs[::-2]), values[::-2])
    assert_array_equal(fl.decode(theirs[3]), values[3])
    for verb in (fl.isnan, fl.classify, fl.signbit, fl.pack):
        assert_array_equal(verb(theirs, name), verb(codes, name))
    assert_array_equal(fl.convert(theirs, name, "e5m2"), fl.convert(codes, name, "e5m2"))
    how = {"formats": (name, name), "accumulator": "exact"}
    expected = fl.dot(codes[:5], codes[1:6], **how)
    assert_array_equal(fl.dot(theirs[:5], theirs[1:6], **how), expected)
    assert_array_equal(fl.dot(theirs[:5], theirs[1:6], accumulator="exact"), expected)


def test_ml_dtypes_views_keep_strides_and_see_writes():
    codes = fl.encode(X, "e4m3")
    view = fl.as_ml_dtypes(codes.T[::-1], "e4m3")
    assert view.strides == codes.T[::-1].strides
    view[0, 0] = 1.0
    assert codes[0, 2] == 0x38
    assert fl.as_ml_dtypes(codes[0, 0], "e4m3").shape == ()
    assert (
        fl.as_ml_dtypes(codes[:0], fl.FloatFormat(4, 3, 7, infinities=False, nan="all_ones")).size
        == 0
    )


def test_ml_dtypes_of_other_formats_are_refused():
    theirs = X.astype(ml_dtypes.float8_e5m2)
    with pytest.raises(TypeError, match="float8_e4m3fn are uint8, got float8_e5m2"):
        fl.decode(theirs, "e4m3")
    with pytest.raises(TypeError, match="needs the format"):
        fl.decode(X)
    with pytest.raises(TypeError, match="needs the format"):
        fl.decode(X.astype(ml_dtypes.int4))
    with pytest.raises(
        TypeError, match=r"int4 are int8, got int4; make them np\.asarray.*np\.int8"
    ):
        fl.decode(X.astype(ml_dtypes.int4), "int4")
    with pytest.raises(TypeError, match="codes must be integers, got float8_e5m2"):
        fl.pack(theirs, "e4m3")
    with pytest.raises(TypeError, match="a dtype of ml_dtypes, or float16, got float32"):
        fl.from_ml_dtypes(X)
    codes = fl.encode(X, "e4m3")
    with pytest.raises(TypeError, match="float16 are uint16, got uint8"):
        fl.as_ml_dtypes(codes, "float16")
    with pytest.raises(TypeError, match="are uint16, got >u2"):
        fl.as_ml_dtypes(codes.astype(">u2"), "bfloat16")
    with pytest.raises(ValueError, match="e2m1fn are below 16, got 16"):
        fl.as_ml_dtypes(np.uint8([1, 16]), "e2m1")
    for fmt in ("int4", "fixed_s7_8", fl.bfp(4), fl.FloatFormat(4, 3, 9)):
        with pytest.raises(ValueError, match="no float dtype"):
            fl.as_ml_dtypes(codes, fmt)
    swapped = np.array([1.5, -2], ">f2")
    assert_array_equal(fl.decode(swapped), [1.5, -2])
    with pytest.raises(TypeError, match="masked"):
        fl.from_ml_dtypes(np.ma.array(np.float16([1])))


def test_encode_takes_them_as_values():
    x = X.astype(ml_dtypes.bfloat16)
    assert_array_equal(fl.encode(x, "e4m3"), fl.encode(x.astype(np.float32), "e4m3"))
    with pytest.raises(TypeError, match="got float8_e4m3fn"):
        fl.encode(X.astype(ml_dtypes.float8_e4m3fn), "e5m2")


# --- DLPack -------------------------------------------------------------------------------------


class Producer:
    """An array that offers DLPack and nothing else."""

    def __init__(self, array):
        self.array, self.dtype = array, array.dtype

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_producers():
    assert_array_equal(fl.encode(Producer(X), "e4m3"), fl.encode(X, "e4m3"))
    assert_array_equal(fl.quantize(Producer(X[:, ::2]), "e4m3"), fl.quantize(X[:, ::2], "e4m3"))
    assert_array_equal(fl.decode(Producer(fl.encode(X, "e4m3")), "e4m3"), fl.quantize(X, "e4m3"))
    blocks = fl.encode(Producer(X), fl.bfp(4))
    assert_array_equal(fl.decode(blocks), fl.quantize(X, fl.bfp(4)))
    with pytest.raises(TypeError, match="got bool"):
        fl.encode(Producer(X > 0), "e4m3")


def test_dlpack_producers_that_numpy_cannot_see():
    class Elsewhere(Producer):
        def __dlpack__(self, **keywords):
            raise BufferError("on a device")

    with pytest.raises(TypeError, match=r"this Elsewhere of float32 \(on a device\).* on the CPU"):
        fl.encode(Elsewhere(X), "e4m3")
    theirs = Producer(X.astype(ml_dtypes.float8_e4m3fn))
    with pytest.raises(TypeError, match=r"of float8_e4m3fn .*view .* as unsigned integers"):
        fl.decode(theirs)


# --- torch --------------------------------------------------------------------------------------


@pytest.mark.peers
def test_torch_tensors():
    import torch

    for dtype in (torch.float16, torch.float32, torch.float64, torch.int16, torch.int64):
        x = torch.from_numpy(X[:, 1:]).clamp(-100, 100).to(dtype)
        for tensor in (x, x.T, x[::2], x[:0], x[0, 0]):
            assert_array_equal(fl.encode(tensor, "e4m3"), fl.encode(tensor.numpy(), "e4m3"))
    x = torch.from_numpy(X)
    quantised = torch.from_numpy(fl.quantize(x, "e4m3"))
    assert torch.equal(quantised, x.to(torch.float8_e4m3fn).float())
    assert_array_equal(fl.quantize(x, fl.bfp(4)), fl.quantize(X, fl.bfp(4)))


@pytest.mark.peers
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "bfloat16"])
def test_torch_types_that_numpy_lacks(name):
    import torch

    dtype, fmt = getattr(torch, name), fl.get_format(name)
    bits = torch.uint16 if fmt.bits == 16 else torch.uint8
    whole = torch.from_numpy(X).to(dtype)
    for x in (whole, whole.T, whole[:, ::2], whole[:0], whole[1, 1]):
        values = x.float().numpy()
        for codes, given in ((x, ()), (x, (name,)), (x, (dtype,)), (x.view(bits), (name,))):
            assert_array_equal(fl.decode(codes, *given), values)
        seen = fl.from_ml_dtypes(x)
        assert seen.shape == tuple(x.shape)
        assert seen.ctypes.data == x.data_ptr() or not seen.size
        if name == "bfloat16":
            assert_array_equal(fl.encode(x, "e4m3"), fl.encode(values, "e4m3"))
            assert_array_equal(fl.quantize(x, "e4m3").astype("f4"), fl.quantize(values, "e4m3"))
        else:
            with pytest.raises(TypeError, match="those are codes: decode them, or see convert"):
                fl.encode(x, "e4m3")
    blocks = fl.encode(torch.from_numpy(X).bfloat16(), "mxfp8_e4m3")
    assert_array_equal(
        fl.decode(blocks), fl.quantize(X.astype(ml_dtypes.bfloat16).astype("f4"), "mxfp8_e4m3")
    )
    assert fl.get_format(dtype) is fmt
    filled = torch.empty(X.shape, dtype=dtype)
    fl.encode(X, name, out=fl.from_ml_dtypes(filled))
    assert torch.equal(filled.view(bits), torch.from_numpy(fl.encode(X, name)))
    codes = fl.encode(X, name, overflow="nonsaturating")
    back = torch.from_numpy(codes).view(dtype)
    assert back.data_ptr() == codes.ctypes.data
    assert_array_equal(back.float().numpy(), fl.decode(codes, name))


@pytest.mark.peers
@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.clone().requires_grad_(),
        lambda x: x.to_sparse(),
        lambda x: x.to("meta"),
        lambda x: (x + 1j).conj().imag,
    ],
)
def test_torch_tensors_that_numpy_cannot_see(make):
    import torch

    x = torch.from_numpy(X)
    with pytest.raises(TypeError, match=r"cannot see this Tensor of torch\.float32"):
        fl.quantize(make(x), "e4m3")
    low = x.bfloat16()
    for hidden in (low.clone().requires_grad_(), low.to_sparse(), low.to("meta")):
        with pytest.raises(TypeError, match=r"cannot see this Tensor of torch\.bfloat16"):
            fl.quantize(hidden, "e4m3")
    y = torch.empty(X.shape)
    with pytest.raises(TypeError, match=r"got Tensor; .* its memory, out\.numpy\(\)"):
        fl.quantize(X, "e4m3", out=y)


@pytest.mark.peers
def test_torch_types_without_ml_dtypes(monkeypatch, tmp_path):
    import torch

    x = torch.from_numpy(X).bfloat16()
    fl.save(tmp_path / "x.npz", {"x": x})
    assert_array_equal(fl.load(tmp_path / "x.npz")["x"].astype("f4"), x.float().numpy())
    with pytest.raises(ValueError, match="the dtype 'int8' is no float format"):
        fl.get_format(torch.int8)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match=r"this Tensor of torch\.bfloat16 .*as unsigned integers"):
        fl.encode(x, "e4m3")
    with pytest.raises(TypeError, match=r"'x': NumPy cannot see this Tensor"):
        fl.save(tmp_path / "x.npz", {"x": x})
