"""The ufuncs behave as NumPy's own: arguments, other libraries, pickling."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
from cases import ELEMENTWISE_NAMES
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import FloatFormat
from fmtlib._core import kernels, ufuncs


@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_they_are_numpy_ufuncs(name):
    for verb in ("encode", "quantize", "decode"):
        function = fl.ufunc(verb, name)
        assert type(function) is np.ufunc
        assert fl.ufunc(verb, name) is function
        assert (function.nin, function.nout) == (1, 1)
    assert fl.ufunc("encode", name, rounding="stochastic").nin == 2


def test_out_where_and_strides(target):
    function = fl.ufunc("encode", "e4m3")
    x = np.random.default_rng(0).standard_normal((50, 60)).astype(np.float32)
    plain = function(x)
    for view, expected in (
        (x[::2, ::-3], plain[::2, ::-3]),
        (x.T, plain.T),
        (np.asfortranarray(x), plain),
        (np.broadcast_to(x[0], (4, 60)), np.broadcast_to(plain[0], (4, 60))),
        (x.astype(">f4"), plain),
        (x[:0], plain[:0]),
    ):
        assert_array_equal(function(view), expected)
    read_only = x.copy()
    read_only.flags.writeable = False
    assert_array_equal(function(read_only), plain)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    assert not unaligned.flags.aligned
    assert_array_equal(function(unaligned), plain)
    out = np.full((50, 120), 7, np.uint8)
    function(x, out=out[:, ::2])
    assert_array_equal(out[:, ::2], plain)
    assert (out[:, 1::2] == 7).all()
    out = np.full(x.shape, 7, np.uint8)
    function(x, out=out, where=x > 0)
    assert_array_equal(out, np.where(x > 0, plain, 7))
    assert function(np.float32(1)) == 0x38
    assert function([1.0, 2.0]).tolist() == [0x38, 0x40]


def test_overlapping_memory(target):
    function = fl.ufunc("quantize", "e4m3")
    x = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    expected = function(x)
    for source, to in ((slice(0, -1), slice(1, None)), (slice(1, None), slice(0, -1))):
        y = x.copy()
        function(y[source], out=y[to])
        assert_array_equal(y[to], expected[source])
    y = x.copy()
    function(y[::-1], out=y)
    assert_array_equal(y, expected[::-1])
    y = x.copy()
    assert_array_equal(fl.encode(y, "e4m3", out=y.view(np.uint8)[:5000]), fl.encode(x, "e4m3"))


@pytest.mark.parametrize(
    "bad",
    [True, np.array([True]), 1j, "1",
     np.array([1j]), np.array(["1"]), np.array([b"1"]), np.array([1.0], object), None,
     np.array(["2020-01-01"], "M8[D]")],
)  # fmt: skip
def test_other_types_are_refused(bad):
    for fmt in ("e4m3", "fixed_s7_8", "int8"):
        for verb in ("encode", "quantize"):
            with pytest.raises(TypeError):
                fl.ufunc(verb, fmt)(bad)
            with pytest.raises(TypeError, match="float16, bfloat16"):
                getattr(fl, verb)(bad, fmt)
        with pytest.raises(TypeError):
            fl.ufunc("encode", fmt, rounding="stochastic")(bad, np.uint32(0))
    with pytest.raises(TypeError):
        fl.encode(bad, fl.bfp(4))
    with pytest.raises(TypeError):
        fl.quantize(bad, fl.bfp(4))


def test_raw_decode_masks_codes():
    codes = np.array([0x07, 0x47, 0xFF], np.uint8)
    assert_array_equal(fl.ufunc("decode", "float6_e2m3fn")(codes), [0.875, 0.875, -7.5])


def test_dask_stays_lazy():
    x = np.random.default_rng(2).standard_normal((100, 90)).astype(np.float32)
    lazy = da.from_array(x, chunks=(30, 40))
    for found in (fl.ufunc("encode", "e4m3")(lazy), fl.encode(lazy, "e4m3")):
        assert isinstance(found, da.Array)
        assert found.dtype == np.uint8
        assert_array_equal(found.compute(scheduler="threads"), fl.encode(x, "e4m3"))
    back = fl.decode(fl.encode(lazy, "e4m3"), "e4m3")
    assert isinstance(back, da.Array)
    assert_array_equal(back.compute(), fl.quantize(x, "e4m3"))
    assert isinstance(fl.quantize(lazy, "e4m3"), da.Array)


RUN_TIME = FloatFormat(4, 2, bias=3, infinities=False, nan="none")


@pytest.mark.parametrize(
    "function",
    [
        fl.ufunc("encode", "e4m3"),
        fl.ufunc("decode", "int8"),
        fl.ufunc("quantize", "fixed_s7_8", rounding="stochastic", random_bits=7),
        fl.ufunc("encode", RUN_TIME, overflow="nonsaturating", rounding="up"),
        ufuncs.get_ufunc("encode", RUN_TIME, scaled=True),
    ],
)
def test_pickling(function):
    assert pickle.loads(pickle.dumps(function)) is function
    program = "import sys, pickle; f = pickle.load(sys.stdin.buffer); sys.stdout.write(f.__name__)"
    run = subprocess.run(
        [sys.executable, "-P", "-c", program],
        input=pickle.dumps(function),
        capture_output=True,
        check=True,
    )
    assert run.stdout.decode() == function.__name__


@pytest.mark.parametrize(
    "name",
    ["nothing", "encode__e4m3__nearest_even__saturate", "encode__float8_e4m3fn__even__saturate",
     "encode__bfp_m4_e8_g16__nearest_even__saturate", "decode__no_such", "encode",
     "encode__float8_e4m3fn__stochastic__saturate__r4x"],
)  # fmt: skip
def test_names_that_are_no_ufunc(name):
    with pytest.raises(AttributeError, match=name):
        getattr(ufuncs, name)


def test_bfloat16_has_its_own_loop():
    import ml_dtypes

    x = np.arange(-5, 5, dtype=np.float32).astype(ml_dtypes.bfloat16)
    assert fl.ufunc("quantize", "e4m3")(x).dtype == ml_dtypes.bfloat16
    assert fl.ufunc("encode", "e4m3")(x).dtype == np.uint8


def test_import_does_not_need_ml_dtypes():
    program = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import numpy as np, fmtlib as fl\n"
        "assert fl.encode(np.float32(1), 'e4m3') == 0x38\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True)


def test_threads_share_ufuncs():
    x = np.random.default_rng(3).standard_normal(100_000).astype(np.float32)

    def work(i):
        fmt = FloatFormat(5, 2, bias=i % 7)
        return fl.encode(x, fmt), i % 7

    with ThreadPoolExecutor(8) as pool:
        for codes, bias in pool.map(work, range(64)):
            assert_array_equal(codes, fl.encode(x, FloatFormat(5, 2, bias=bias)))


def test_targets():
    assert fl.cpu_target() in kernels.available_targets()
    assert "baseline" in kernels.available_targets()
    best = fl.cpu_target()
    try:
        for name in kernels.available_targets():
            kernels.force_target(name)
            assert fl.cpu_target() == name
    finally:
        kernels.force_target(None)
    assert fl.cpu_target() == best
    with pytest.raises(ValueError, match="baseline"):
        kernels.force_target("x86-64-v9")


def test_workers_change_nothing():
    x = np.random.default_rng(4).standard_normal(400_000).astype(np.float32)
    assert_array_equal(fl.encode(x, "e4m3", workers=3), fl.encode(x, "e4m3"))
    out = x.copy()
    assert fl.quantize(out, "e4m3", out=out, workers=2) is out
    assert_array_equal(out, fl.quantize(x, "e4m3"))
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
        fl.encode(np.full(400_000, np.nan, np.float32), "int8", workers=3)


class Foreign:
    """The least that another library's array has."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype = self.values.dtype

    def __array_ufunc__(self, function, method, *inputs, **keywords):
        inputs = [x.values if isinstance(x, Foreign) else x for x in inputs]
        return Foreign(getattr(function, method)(*inputs, **keywords))


def test_arguments_are_checked_for_other_libraries_too():
    x, codes = Foreign(np.float32([1, 2])), Foreign(np.uint8([56, 64]))
    assert isinstance(fl.encode(x, "e4m3"), Foreign)
    assert_array_equal(fl.decode(codes, "e4m3").values, [1, 2])
    assert_array_equal(fl.decode(codes, "e4m3", scale=2.0).values, [2, 4])
    for call, message in (
        (lambda: fl.encode(x, "e4m3", where=[True, False]), "where"),
        (lambda: fl.encode(x, "e4m3", out=np.empty(2, np.uint8)), "out"),
        (lambda: fl.encode(Foreign([True]), "e4m3"), "float16, bfloat16"),
        (lambda: fl.quantize(Foreign(np.float16([1])), "bfloat16"), "cannot hold"),
        (lambda: fl.decode(codes, "e4m3", out=np.empty(2, np.float32)), "without out"),
        (lambda: fl.decode(codes, "e4m3", dtype=np.float16), "float32 or float64"),
        (lambda: fl.decode(Foreign([True]), "e4m3"), "are uint8"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(ValueError, match="zero_point needs scale"):
        fl.decode(codes, "e4m3", zero_point=3)


def test_ml_dtypes_integers_and_boolean_codes_are_refused():
    import ml_dtypes

    for dtype in (ml_dtypes.int4, ml_dtypes.uint4):
        for rounding in ("nearest_even", "stochastic"):
            function = fl.ufunc("encode", "e4m3", rounding=rounding)
            words = [np.uint32(0)] if rounding == "stochastic" else []
            with pytest.raises(TypeError):
                function(np.array([1, 3], dtype), *words)
    with pytest.raises(TypeError, match="takes codes"):
        fl.ufunc("decode", "e4m3")(np.array([True]))


def test_error_callbacks_reach_workers():
    seen = []
    with np.errstate(invalid="call", call=lambda kind, flag: seen.append(kind)):
        fl.encode(np.full(1 << 18, np.nan, np.float32), "e2m1", workers=2)
    assert seen


def test_matrices_and_byte_orders():
    x = np.random.default_rng(5).standard_normal((200, 200)).astype(np.float32)
    mode = {"rounding": "stochastic", "seed": 1}
    out = np.zeros((200, 200), np.uint8).view(np.matrix)
    assert_array_equal(fl.encode(x, "e4m3", out=out, **mode), fl.encode(x, "e4m3", **mode))
    swapped = x.astype(">f4")
    assert_array_equal(fl.quantize(swapped, "e4m3", out=np.empty_like(x)), fl.quantize(x, "e4m3"))
    codes = fl.encode(x, "float16")
    assert_array_equal(fl.decode(codes.astype(">u2"), "float16"), fl.decode(codes, "float16"))
