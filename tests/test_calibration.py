"""Scales and zero points against their definitions, whole and in batches."""

import math
import pickle
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import reference_calibration as model
from cases import DTYPES, ELEMENTWISE_NAMES
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import testing
from fmtlib.calibration import limits
from fmtlib.calibration import summary as summaries
from fmtlib.calibration.calibrator import METHODS
from fmtlib.calibration.scales import Scheme, ceil_log2, rounded
from fmtlib.calibration.sources import Whole
from fmtlib.calibration.summary import summarize, values_of_rank
from fmtlib.formats import FORMATS, FixedFormat, FloatFormat, IntegerFormat

SOME = ["int8", "uint8", "int4", "int16", "float8_e4m3fn", "float8_e5m2", "fixed_s7_8"]
finite = {
    width: st.floats(allow_nan=False, allow_infinity=False, width=width) for width in (32, 64)
}
# Values about one magnitude, which is any: what data look like, and what bins are for.
spreads = st.builds(
    lambda parts, e: [math.ldexp(part, e) for part in parts],
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30),
    st.integers(-140, 120),
)
schemes = st.builds(
    lambda fmt, affine, power, dtype: Scheme.of(
        fmt, affine and isinstance(fmt, IntegerFormat), power, dtype
    ),
    st.one_of(testing.integer_formats(), testing.fixed_formats(), testing.float_formats()).filter(
        lambda fmt: getattr(fmt, "encoding", "") != "sign_magnitude"
    ),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
)


def values_of(x):
    with np.errstate(invalid="ignore"):  # signalling NaN
        return np.asarray(x).astype(np.float64).ravel().tolist()


# --- what is kept of data -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("piece", [1 << 16, 5])
@given(data=st.data())
def test_histograms_are_what_they_say(dtype, piece, data):
    """Of any shape, strides and values, cut into any pieces, along any axis."""
    x = data.draw(testing.arrays("float16" if dtype == "float16" else "bfloat16", dtype))
    axis = data.draw(st.one_of(st.none(), st.integers(0, x.ndim - 1)) if x.ndim else st.none())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "_PIECE", piece)
        found = summarize(x, axis, 256)
    assert_array_equal(summarize(x, axis).amax, found.amax)
    channels = [x] if axis is None else np.moveaxis(x, axis, 0)
    for i, channel in enumerate(channels):
        every = values_of(channel)
        values = [v for v in every if math.isfinite(v)]
        assert found.nonfinite[i] == len(every) - len(values)
        if not values:
            assert found.low[i] == np.inf
            assert found.high[i] == -np.inf
            assert not found.counts[i].any()
            continue
        assert (found.low[i], found.high[i]) == (min(values), max(values))
        width, counts = model.histogram(values, 256)
        where = np.flatnonzero(found.counts[i])
        got = zip((where - 255).tolist(), found.counts[i][where].tolist(), strict=True)
        assert dict(got) == counts
        assert found.width(i) == width
        magnitudes = model.magnitude_counts(values, 256)[1]
        assert_array_equal(np.trim_zeros(found.magnitudes(i), "b"), np.trim_zeros(magnitudes, "b"))


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "int64", "uint32"])
@pytest.mark.parametrize("piece", [1 << 16, 7])
def test_values_of_rank(dtype, piece, monkeypatch):
    """By sorting, and by bits where that takes too much memory."""
    monkeypatch.setattr(summaries, "_PIECE", piece)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((4, 9)) * 2.0 ** rng.integers(-20, 7, (4, 9))).astype(
        DTYPES.get(dtype, dtype)
    )
    x = np.concatenate([x, x[:2] * x.dtype.type(0), x[::-1]])[:, ::-1]
    for nonfinite in ((), (np.nan, -np.inf, -np.nan)) if x.dtype.kind in "fV" else ((),):
        x[0, : len(nonfinite)] = nonfinite
        values = x.astype(np.float64)
        values = values[np.isfinite(values)]
        for of, expected in (("magnitudes", np.sort(np.abs(values))), ("values", np.sort(values))):
            for rank in range(values.size):
                assert values_of_rank(Whole(x), np.array([rank]), of) == [expected[rank]]


# --- from a range to a scale ----------------------------------------------------------------


@given(schemes, finite[32], finite[32], st.integers(-300, 300))
@settings(max_examples=300)
def test_scales_and_zero_points_follow_their_formulas(scheme, a, b, exponent):
    fmt = scheme.format
    if scheme.dtype == np.float64:
        a, b = math.ldexp(a, exponent), math.ldexp(b, exponent)
    low, high = min(a, b), max(a, b)
    if low < 0 and not fmt.signed and not scheme.affine:
        with pytest.raises(ValueError, match=f"{fmt.name} has no negative values"):
            scheme.fit(low, high)
        return
    name = scheme.dtype.name
    expected = model.scale_and_zero(
        low, high, fmt, affine=scheme.affine, power=scheme.power_of_two, dtype=name
    )
    if expected is None:
        with pytest.raises(ValueError, match=rf"a scale of 2\*\*\d+ is beyond the range of {name}"):
            scheme.fit(low, high)
        return
    scale, zero = expected
    assert scheme.fit(low, high) == (scale, zero or 0)


@given(st.fractions(min_value=Fraction(1, 2**160)), st.integers(-160, 100))
def test_rounding_and_logarithms(value, exponent):
    value *= Fraction(2) ** exponent
    for dtype in ("float32", "float64"):
        found = rounded(value.numerator, value.denominator, np.dtype(dtype))
        assert found == model.nearest(value, dtype)
    k = ceil_log2(value.numerator, value.denominator)
    assert Fraction(2) ** (k - 1) < value <= Fraction(2) ** k


def test_rounding_is_not_twice():
    """Just above the middle of two float32 numbers, which float64 cannot tell from it."""
    middle = 2**70 + 2**46
    for off, expected in ((-1, 1.0), (0, 1.0), (1, 1.0 + 2**-23)):
        assert rounded(middle + off, 2**70, np.dtype("float32")) == expected
    for dtype in ("float32", "float64"):
        assert rounded(2**2000, 3, np.dtype(dtype)) == math.inf
    assert rounded(2**128 - 2**103, 1, np.dtype("float32")) == math.inf


@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
@pytest.mark.parametrize("power_of_two", [False, True])
def test_max_clips_nothing(name, power_of_two):
    """Nothing ends up further from x than half a step, and the greatest are the format's."""
    fmt = FORMATS[name]
    x = np.abs(np.random.default_rng(0).standard_normal(500)) + 1e-3
    if fmt.signed:
        x[::2] *= -1
    found = fl.calibrate(x, name, power_of_two=power_of_two, dtype=np.float64)
    scale, zero_point = found
    q = fl.quantize(x, name, scale=scale, zero_point=zero_point)
    top = np.abs(x).argmax()
    limit = fmt.max * scale
    is_float = isinstance(fmt, FloatFormat)
    quantum = fmt.max_exponent - fmt.mantissa_bits if is_float else fmt.quantum_exponent
    step = 2.0**quantum * scale
    assert np.abs(x).max() <= limit * (1 + 1e-15)
    assert abs(q[top] - x[top]) <= step / 2 * (1 + 1e-15)
    if power_of_two or isinstance(fmt, FixedFormat):
        assert math.frexp(scale)[0] == 0.5
        # half of it would not do
        assert np.abs(x).max() > limit / 2


@pytest.mark.parametrize("name", ["int8", "int8_full", "uint8", "int4", "uint1", "int16"])
def test_affine_ranges_are_covered(name):
    fmt = fl.get_format(name)
    rng = np.random.default_rng(1)
    for low, high in ((-1, 3), (0.5, 7), (-9, -2), (-1e-3, 5), (-1, 1)):
        x = rng.uniform(low, high, 300).astype(np.float32)
        scale, zero_point = fl.calibrate(x, name, affine=True)
        q = fl.quantize(x, name, scale=scale, zero_point=zero_point)
        # half a step of rounding, and the half that the zero point was rounded by
        assert np.abs(q - x).max() <= scale * (1 + 1e-4)
        assert fl.quantize(np.float32(0), name, scale=scale, zero_point=zero_point) == 0
        assert fmt.min_integer <= zero_point <= fmt.max_integer


@given(testing.fixed_formats(), spreads)
def test_fixed_formats_that_need_no_scale(fmt, x):
    if fmt.encoding == "sign_magnitude":
        with pytest.raises(ValueError, match="elements of blocks"):
            fl.calibrate(x, fmt)
        return
    if not fmt.signed:
        x = [abs(v) for v in x]
    found = fl.calibrate(x, fmt, dtype=np.float64)
    shift = round(math.log2(found.scale))
    if 0 <= fmt.integer_bits + shift <= 32 and 0 <= fmt.fraction_bits - shift <= 32:
        own = found.fixed_format
        assert own.bits == fmt.bits
        assert_array_equal(fl.encode(x, own), fl.encode(x, fmt, scale=found.scale))
        assert_array_equal(fl.quantize(x, own), fl.quantize(x, fmt, scale=found.scale))
    else:
        with pytest.raises(ValueError, match="no fixed-point format is"):
            _ = found.fixed_format


def test_fixed_format_is_of_fixed_point():
    assert fl.calibrate([-4.0, 3.0], "fixed_s7_8").fixed_format == FixedFormat(2, 13)
    assert fl.calibrate([4.0, 3.0], "fixed_s7_8").fixed_format == FixedFormat(3, 12)
    with pytest.raises(TypeError, match="int8 is not a fixed-point format"):
        _ = fl.calibrate([1.0], "int8").fixed_format
    with pytest.raises(ValueError, match="there are 2 scales"):
        _ = fl.calibrate([1.0, 2.0], "fixed_s7_8", axis=0).fixed_format


# --- methods --------------------------------------------------------------------------------


@given(spreads, st.sampled_from([0.001, 1.0, 33.3, 50, 90.0, 99.9, 99.99, 100]))
def test_percentiles(x, percent):
    kwargs = {"percentile": percent, "dtype": np.float64}
    limit = model.percentile([abs(v) for v in x], percent)
    amax = max(abs(v) for v in x)
    expected = model.scale_and_zero(
        *model.clip(min(x), max(x), limit), IntegerFormat(8), dtype="float64"
    )
    found = fl.calibrate(x, "int8", "percentile", **kwargs)
    assert tuple(found) == expected
    calibrator = fl.Calibrator("int8", "percentile", **kwargs)
    calibrator.observe(x)
    binned = model.binned_percentile(x, percent, 2048)
    expected = model.scale_and_zero(
        *model.clip(min(x), max(x), binned), IntegerFormat(8), dtype="float64"
    )
    assert tuple(calibrator.result()) == expected
    if limit:
        assert limit <= binned <= limit + 2 * amax / 2048


@given(spreads, st.sampled_from([0.001, 20, 50, 90.0, 99.9, 100]))
def test_affine_percentiles_cut_both_ends(x, percent):
    kwargs = {"percentile": percent, "dtype": np.float64, "affine": True}
    ends = model.percentile_ends(x, percent)
    found = fl.calibrate(x, "uint8", "percentile", **kwargs)
    how = {"affine": True, "dtype": "float64"}
    clipped = model.clip_ends(min(x), max(x), ends)
    assert tuple(found) == model.scale_and_zero(*clipped, IntegerFormat(8, signed=False), **how)
    calibrator = fl.Calibrator("uint8", "percentile", **kwargs)
    calibrator.observe(x)
    binned = model.binned_percentile_ends(x, percent, 2048)
    clipped = model.clip_ends(min(x), max(x), binned)
    expected = model.scale_and_zero(*clipped, IntegerFormat(8, signed=False), **how)
    assert tuple(calibrator.result()) == expected
    bin_width = 2 * max(abs(v) for v in x) / 2048 or 2.0**-1022
    assert 0 <= ends[0] - binned[0] <= bin_width
    assert 0 <= binned[1] - ends[1] <= bin_width


def test_one_tail_does_not_cost_the_other():
    """Outliers above zero, a body below: symmetric clipping would keep what nobody needs."""
    x = -np.random.default_rng(12).uniform(0, 1, 100_000)
    x[:10] = 50.0
    for method, name, top in (("percentile", "uint8", 255), ("mse", "uint2", 3)):
        scale, zero_point = fl.calibrate(x, name, method, affine=True, percentile=99.9)
        assert scale * top < 1.6
        assert zero_point > 0.6 * top


def test_percentiles_are_the_decimal_numbers_that_were_given():
    x = np.arange(1.0, 1001.0)
    for percent in (99.9, np.float32(99.9), np.float64(99.9)):
        assert fl.calibrate(x, "int8", "percentile", percentile=percent).scale * 127 == (
            pytest.approx(999)
        )
    assert fl.calibrate(x, "int8", "percentile", percentile=np.int8(50)).scale * 127 == (
        pytest.approx(500)
    )


def test_mostly_zero_data_keep_their_range():
    x = np.zeros(100_000)
    x[5] = -12.7
    for method in METHODS:
        scale, _ = fl.calibrate(x, "int8", method)
        assert scale == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["int8", "uint4", "int4", "fixed_s3_4", "e4m3", "e2m1", "int12"])
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(-100, 100))
@settings(max_examples=6)
def test_entropy_is_the_least_divergence(name, seed, size, exponent):
    fmt = fl.get_format(name)
    rng = np.random.default_rng(seed)
    x = rng.laplace(size=size) * 2.0**exponent
    if not fmt.signed:
        x = np.abs(x)
    found = fl.calibrate(x, name, "entropy", bins=256, dtype=np.float64)
    limit = model.entropy(x.tolist(), fmt, 256)
    expected = model.scale_and_zero(
        *model.clip(x.min(), x.max(), limit), fmt, power=name == "fixed_s3_4", dtype="float64"
    )
    assert (found.scale, found.zero_point) == expected


@pytest.mark.parametrize("name", ["int8", "uint4", "int12", "fixed_s3_4", "e4m3", "e2m1"])
@pytest.mark.parametrize("mean", [0.3, 20])
def test_every_divergence(name, mean):
    """Of counts with gaps and without, for thresholds from few bins on, far from the least too."""
    fmt = fl.get_format(name)
    counts = np.random.default_rng(11).poisson(mean, 256)
    counts[0], counts[-1] = 3 * counts.sum(), 1
    thresholds = np.arange(20, 257, 3)
    found = limits._divergences(counts.astype(float), thresholds, *limits._cell_edges(fmt, 256))
    expected = [model.divergence(counts.tolist(), i, fmt) for i in thresholds.tolist()]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_peak_at_zero_does_not_count():
    """A ReLU's zeros would drown everything else."""
    x = np.abs(np.random.default_rng(12).standard_normal(5000)) ** 3
    zeros = np.zeros(10**6)
    for name in ("int4", "uint8", "e2m1"):
        expected = fl.calibrate(x, name, "entropy").scale
        assert fl.calibrate(np.append(x, zeros), name, "entropy").scale == expected


@pytest.mark.parametrize("name", ["int4", "uint4", "e2m1"])
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([-1000, -130, 0, 30, 900]))
@settings(max_examples=4)
def test_least_squared_errors(name, seed, size, exponent):
    fmt = fl.get_format(name)
    x = np.random.default_rng(seed).standard_cauchy(size) * 2.0**exponent
    x = x if fmt.signed else np.abs(x)
    found = fl.calibrate(x, name, "mse", bins=256, dtype="float64")
    amax = float(np.abs(x).max())
    ranges = [model.clip(x.min(), x.max(), amax * k / 128) for k in range(1, 129)]
    errors = [model.squared_errors(x.tolist(), ends, fmt, 256, dtype="float64") for ends in ranges]
    # of errors that are equal but for the rounding of sums, any
    good = min(errors) * (1 + Fraction(1, 10**9))
    candidates = [
        model.scale_and_zero(*ends, fmt, dtype="float64")
        for ends, error in zip(ranges, errors, strict=True)
        if error <= good
    ]
    assert tuple(found) in candidates


@pytest.mark.parametrize("name", ["int4", "uint8"])
@given(st.integers(0, 2**32), st.integers(1, 30), st.sampled_from([-1000, 0, 900]))
@settings(max_examples=3)
def test_least_squared_errors_of_both_ends(name, seed, size, exponent):
    """No other limit for one of the ends is better, nor is any limit for both."""
    fmt = fl.get_format(name)
    x = (np.random.default_rng(seed).standard_cauchy(size) + 1) * 2.0**exponent
    how = {"affine": True, "dtype": "float64"}
    summary = summarize(x, None, 256)
    scheme = Scheme.of(fmt, True, False, "float64")
    low, high = limits.mean_squared_error(summary, 0, scheme)
    found = fl.calibrate(x, name, "mse", bins=256, **how)
    assert tuple(found) == model.scale_and_zero(low, high, fmt, **how)
    least, most, amax = min(x.min(), 0.0), max(x.max(), 0.0), np.abs(x).max()
    ks = range(1, 129, 3)
    others = [model.clip(x.min(), x.max(), amax * k / 128) for k in ks]
    others += [(least * (k / 128), high) for k in ks] + [(low, most * (k / 128)) for k in ks]
    error = model.squared_errors(x.tolist(), (low, high), fmt, 256, **how)
    for ends in others:
        other = model.squared_errors(x.tolist(), ends, fmt, 256, **how)
        assert error <= other * (1 + Fraction(1, 10**9))


def test_equal_errors_clip_least():
    """Of constant data every power of two that holds them is as good."""
    assert fl.calibrate([1.0] * 9, "e4m3", "mse", power_of_two=True).scale == 2.0**-8
    # nor is there a threshold better than all
    for name in ("int8", "e4m3"):
        assert fl.calibrate([1.0] * 9, name, "entropy").scale == fl.calibrate([1.0], name).scale


def test_methods_clip_outliers():
    x = np.random.default_rng(3).standard_normal(20_000)
    x[0] = 60.0
    found = {m: fl.calibrate(x, "int4", m, percentile=99.9).scale * 7 for m in METHODS}
    assert found["max"] == pytest.approx(60)
    assert 2 < found["mse"] < 8
    assert 2 < found["percentile"] < 8
    assert found["entropy"] < 16


# --- batches --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "axis"), [("int8", None), ("int8", 1), ("float8_e4m3fn", -1)])
@given(data=st.data())
@settings(max_examples=15)
def test_batches_do_not_matter(method, name, axis, data):
    """Any cut, any order, any merging: the same numbers, and for most methods `calibrate`'s."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.standard_cauchy((12, 3)) * 2.0 ** rng.integers(-30, 30, (12, 1))
    x = x.astype(data.draw(st.sampled_from([np.float32, np.float64])))
    cuts = sorted(data.draw(st.lists(st.integers(0, 12), max_size=4)))
    batches = np.split(rng.permutation(x), cuts)
    arguments = (name, method, axis)
    whole, parts = fl.Calibrator(*arguments), fl.Calibrator(*arguments)
    whole.observe(x)
    merged = fl.Calibrator(*arguments)
    for batch in batches:
        parts.observe(batch)
        other = fl.Calibrator(*arguments)
        other.observe(batch)
        merged = pickle.loads(pickle.dumps(other)).merge(pickle.loads(pickle.dumps(merged)))
    results = [c.result() for c in (whole, parts, merged)]
    if method != "percentile":
        results.append(fl.calibrate(x, *arguments))
    for found in results[1:]:
        assert_array_equal(found.scale, results[0].scale)
        assert_array_equal(found.zero_point, results[0].zero_point)


@pytest.mark.parametrize(
    ("method", "affine"),
    [(m, affine) for m in METHODS for affine in (False, True) if m != "entropy" or not affine],
)
def test_channels_are_tensors_of_their_own(method, affine):
    x = np.random.default_rng(4).standard_cauchy((2, 3, 40)).astype(np.float32)
    for axis in (0, 1, -1):
        found = fl.calibrate(x, "int8", method, axis, affine=affine)
        assert found.scale.dtype == np.float32
        assert found.zero_point.dtype == np.int8
        for i in range(x.shape[axis]):
            one = fl.calibrate(x.take(i, axis), "int8", method, affine=affine)
            assert tuple(one) == (found.scale[i], found.zero_point[i])
        codes = fl.encode(x, "int8", scale=found.scale, zero_point=found.zero_point, axis=axis)
        assert codes.shape == x.shape


def test_layouts_do_not_matter():
    x = np.random.default_rng(5).standard_normal((30, 40, 5), dtype=np.float32)
    same = [np.asfortranarray(x), x[:, ::-1][:, ::-1], x.astype(">f4"), np.repeat(x, 2, 1)[:, ::2]]
    for method in METHODS:
        for axis in (None, 2) if method != "max" else (None, 0, 1, 2):
            expected = fl.calibrate(x, "int8", method, axis)
            for y in same:
                assert_array_equal(fl.calibrate(y, "int8", method, axis).scale, expected.scale)


@pytest.mark.parametrize("method", METHODS)
def test_types_do_not_matter(method):
    x = np.random.default_rng(6).integers(-100, 100, 1000)
    expected = fl.calibrate(x, "int4", method).scale
    for dtype in ("int8", "int16", "int32", *DTYPES.values(), np.longdouble):
        assert fl.calibrate(x.astype(dtype), "int4", method).scale == expected
    assert fl.calibrate(x.tolist(), "int4", method).scale == expected


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_data(method):
    row = np.random.default_rng(10).standard_normal(1 << 12, dtype=np.float32)
    peaks = []
    for rows in (1 << 8, 1 << 10):
        x = np.broadcast_to(row, (rows, row.size))
        tracemalloc.start()
        fl.calibrate(x, "int8", method)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000 < 12 << 20


# --- unusual data ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SOME)
def test_zeros(method, name):
    fmt = FORMATS[name]
    for x in (np.zeros(5), np.float32([-0.0, 0.0]), np.zeros((2, 2), np.int8)):
        scale, zero_point = fl.calibrate(x, name, method)
        assert scale == 1
        assert zero_point == (0 if isinstance(fmt, IntegerFormat) else None)
    if isinstance(fmt, IntegerFormat) and method != "entropy":
        assert fl.calibrate([0.0], name, method, affine=True).zero_point == fmt.min_integer


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1e-45, "float32"), (3e38, "float32"), (5e-324, "float64"), (1e-310, "float64"),
     (1.7e308, "float64"), (2.0**-1022, "float64"), (6e-8, "float16"), (65504, "float16")],
)  # fmt: skip
def test_the_ends_of_types(method, value, dtype):
    x = np.array([value, -value / 2, 0], dtype)
    with np.errstate(all="raise"):
        scale, _ = fl.calibrate(x, "int8", method, dtype=np.float64)
        calibrator = fl.Calibrator("int8", method, dtype=np.float64)
        calibrator.observe(x)
        assert calibrator.result().scale == pytest.approx(scale, rel=1e-2)
    expected = max(float(x[0]) / 127, 2.0**-1022)
    assert scale == pytest.approx(expected, rel=1e-2 if method == "mse" else 1e-15)
    if method == "max" and expected < 2.0**-126:
        assert fl.calibrate(x, "int8").scale == 2.0**-126
    if expected > 3.5e38:
        with pytest.raises(ValueError, match="beyond the range of float32"):
            fl.calibrate(x, "int8", method)


def test_integers_as_they_are():
    found = fl.calibrate(np.array([2**63 - 1, -5]), "int16", dtype=np.float64)
    assert found.scale == 2.0**63 / 32767
    assert fl.calibrate(np.array([2**64 - 1], np.uint64), "uint8").scale == float(
        np.float32(2.0**64 / 255)
    )
    assert fl.calibrate(np.int8([-128, 3]), "int8").scale == float(np.float32(128 / 127))


@pytest.mark.parametrize("method", METHODS)
def test_nonfinite_values(method):
    x = np.float32([[1, np.nan, -3, 2], [np.inf, 4, 5, -np.inf]])
    with pytest.raises(ValueError, match=r"NaN or infinities \(3 of 8\)"):
        fl.calibrate(x, "int8", method)
    kept = [[1, -3, 2], [4, 5]]
    found = fl.calibrate(x, "int8", method, axis=0, nonfinite="ignore")
    for i, values in enumerate(kept):
        assert found.scale[i] == fl.calibrate(values, "int8", method).scale
    both = fl.calibrate(x, "int8", method, nonfinite="ignore")
    assert both.scale == fl.calibrate(kept[0] + kept[1], "int8", method).scale
    calibrator = fl.Calibrator("int8", method, 0, nonfinite="ignore")
    assert calibrator.nonfinite == 0
    calibrator.observe(x)
    calibrator.observe(x)
    assert_array_equal(calibrator.nonfinite, [2, 4])
    with pytest.raises(ValueError, match="no finite value to calibrate by in channel 1"):
        fl.calibrate([[1.0, 2.0], [np.nan] * 2], "int8", method, axis=0, nonfinite="ignore")


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_go_by(method):
    for shape, axis in (((0,), None), ((3, 0), None), ((3, 0), 0)):
        with pytest.raises(ValueError, match="no finite value"):
            fl.calibrate(np.zeros(shape), "int8", method, axis)
    calibrator = fl.Calibrator("int8", method)
    with pytest.raises(ValueError, match="no value to calibrate by"):
        calibrator.result()
    with pytest.raises(ValueError, match="no value to calibrate by"):
        calibrator.merge(calibrator).result()
    calibrator.observe([])
    with pytest.raises(ValueError, match="no finite value"):
        calibrator.result()
    calibrator.observe(3.0)
    assert calibrator.result().scale == float(np.float32(3 / 127))


def test_a_batch_that_raises_changes_nothing():
    calibrator = fl.Calibrator("int8", "mse", axis=1)
    calibrator.observe(np.ones((4, 3)))
    expected = calibrator.result().scale
    bad = np.full((40_000, 3), 7.0)
    bad[-1, -1] = np.nan
    for x, error in ((bad, ValueError), (np.ones((2, 4)), ValueError), (["a"], TypeError)):
        with pytest.raises(error):
            calibrator.observe(x)
    assert_array_equal(calibrator.result().scale, expected)


@pytest.mark.parametrize(
    ("x", "fmt", "keywords", "error", "match"),
    [
        ([1.0], fl.bfp(4), {}, TypeError, "find their own scales"),
        ([1.0], "mxfp8_e4m3", {}, TypeError, "find their own scales"),
        ([1.0], "int9000", {}, ValueError, "got 9000"),
        ([-1.0], "uint8", {}, ValueError, r"goes down to -1.0; see affine=True"),
        ([-1.0], "float8_e8m0fnu", {}, ValueError, "has no negative values"),
        ([1.0], "e4m3", {"affine": True}, ValueError, "affine=True is for integer formats"),
        ([1.0], "int8", {"affine": 1}, TypeError, "affine must be True or False"),
        ([1.0], "int8", {"power_of_two": None}, TypeError, "power_of_two must be True or False"),
        ([1.0], "int8", {"method": "mean"}, ValueError, "max, percentile, entropy, mse"),
        ([1.0], "int8", {"method": "entropy", "affine": True}, ValueError, "magnitudes only"),
        ([1.0], "int8", {"percentile": 0}, ValueError, "above 0 and at most 100, got 0"),
        ([1.0], "int8", {"percentile": 100.1}, ValueError, "at most 100"),
        ([1.0], "int8", {"percentile": math.nan}, ValueError, "at most 100"),
        ([1.0], "int8", {"percentile": "9"}, TypeError, "must be a number"),
        ([1.0], "int8", {"bins": 1000}, ValueError, "power of two, got 1000"),
        ([1.0], "int8", {"bins": 128}, ValueError, "bins must be from 256 to 65536"),
        ([1.0], "int8", {"nonfinite": "skip"}, ValueError, "'raise' or 'ignore'"),
        ([1.0], "int8", {"dtype": "float16"}, TypeError, "float32 or float64, got float16"),
        ([1.0], "int8", {"axis": 1}, IndexError, "axis 1"),
        ([1.0], "int8", {"axis": 0.5}, TypeError, "axis must be an integer"),
        (1.0, "int8", {"axis": 0}, ValueError, "dimension"),
        ([True], "int8", {}, TypeError, "bool"),
        ([1j], "int8", {}, TypeError, "complex"),
        (np.ma.masked_array([1.0]), "int8", {}, TypeError, "masked"),
    ],
)
def test_wrong_arguments(x, fmt, keywords, error, match):
    with pytest.raises(error, match=match):
        fl.calibrate(x, fmt, **keywords)


def test_calibrators_that_do_not_merge():
    one = fl.Calibrator("int8", "max", 0)
    for other in (fl.Calibrator("int8", "mse", 0), fl.Calibrator("int4", "max", 0)):
        with pytest.raises(ValueError, match="different settings"):
            one.merge(other)
    with pytest.raises(TypeError, match="only calibrators merge, got int"):
        one.merge(3)
    two = fl.Calibrator("int8", "max", 0)
    one.observe([1.0, 2.0])
    two.observe([1.0])
    with pytest.raises(ValueError, match="of 2 and of 1 channels"):
        one.merge(two)
    with pytest.raises(ValueError, match="must have 2 channels as those before, got 1"):
        one.observe([1.0])


# --- histories ------------------------------------------------------------------------------


def delayed(amaxes, top, length, choice, margin, power):
    """What each tensor is divided by, from the recipe."""
    scale, window, found = Fraction(1), [], []
    for amax in amaxes:
        found.append(float(scale))
        if not math.isfinite(amax):
            continue
        window = [*window, amax][-length:]
        counts = window[-1] if choice == "most_recent" else max(window)
        if counts:
            scale = Fraction(counts) * Fraction(2) ** margin / Fraction(top)
            scale = model.next_power(scale) if power else Fraction(model.nearest(scale, "float32"))
    return found


amax_values = st.one_of(
    st.just(0.0), st.sampled_from([math.nan, math.inf]), st.floats(2**-30, 2**30, width=32)
)


@given(
    st.lists(amax_values, max_size=12), st.sampled_from(["e4m3", "e5m2"]), st.integers(1, 5),
    st.sampled_from(["max", "most_recent"]), st.integers(-3, 3), st.booleans(),
)  # fmt: skip
def test_delayed_scaling(amaxes, name, length, choice, margin, power):
    keywords = {"length": length, "choice": choice, "margin": margin, "power_of_two": power}
    history = fl.AmaxHistory(name, **keywords)
    found = []
    for amax in amaxes:
        found.append(history.scale_for(np.float32([amax / -4, amax, 0])))
        history = pickle.loads(pickle.dumps(history))
    top = fl.get_format(name).max
    assert found == delayed(amaxes, top, length, choice, margin, power)
    good = [amax for amax in amaxes if math.isfinite(amax)]
    assert history.history == tuple(good[-length:])
    assert history.skipped == len(amaxes) - len(good)


def test_current_scaling():
    history = fl.AmaxHistory("e4m3", length=0)
    for x in ([1.0, -2.0], [300.0], [1e-3]):
        assert history.scale_for(x) == fl.calibrate(x, "e4m3").scale
    for x in ([0.0], [np.nan, 1.0], []):
        assert history.scale_for(x) == 1
    assert history.skipped == 1
    margin = fl.AmaxHistory("e4m3", length=0, margin=1)
    assert margin.scale_for([448.0]) == 2


def test_empty_tensors_change_nothing():
    history = fl.AmaxHistory("e4m3", length=2)
    history.scale_for([448.0])
    assert history.scale_for([]) == 1
    assert history.history == (448.0,)


@pytest.mark.parametrize(
    ("keywords", "error", "match"),
    [
        ({"fmt": "int8"}, TypeError, "fmt must be a float format, got int8"),
        ({"length": -1}, ValueError, "length must be at least 0"),
        ({"choice": "least"}, ValueError, "'max' or 'most_recent'"),
        ({"margin": 65}, ValueError, "margin must be from -64 to 64"),
        ({"power_of_two": 2}, TypeError, "True or False"),
    ],
)
def test_wrong_histories(keywords, error, match):
    with pytest.raises(error, match=match):
        fl.AmaxHistory(**{"fmt": "e4m3", **keywords})
