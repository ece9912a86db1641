"""Effectual terms against the digits themselves, which add up to the value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import precision, reference

RECODINGS = ("binary", "naf", "booth", "run_length")


def every_value(dtype):
    bits = 8 * np.dtype(dtype).itemsize
    return np.arange(1 << bits, dtype=f"u{bits // 8}").view(dtype)


@pytest.mark.parametrize("recoding", RECODINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_every_value(recoding, dtype):
    x = every_value(dtype)
    digits = [reference.effectual_terms(value, recoding) for value in x.tolist()]
    assert [sum(each) for each in digits] == x.tolist()
    expected = [len(each) for each in digits]
    for name in fl._core.kernels.available_targets():
        fl._core.kernels.force_target(name)
        try:
            assert_array_equal(fl.terms(x, recoding), expected)
        finally:
            fl._core.kernels.force_target(None)


@pytest.mark.parametrize("recoding", RECODINGS)
@given(data=st.data(), dtype=st.sampled_from(["int32", "uint32"]))
def test_32_bits(recoding, dtype, data):
    x = data.draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=6)))
    digits = [reference.effectual_terms(value, recoding) for value in x.ravel().tolist()]
    assert [sum(each) for each in digits] == x.ravel().tolist()
    assert_array_equal(fl.terms(x, recoding), np.reshape([len(d) for d in digits], x.shape))


def test_32_bits_on_every_target(target):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, 3000, np.uint64) >> rng.integers(0, 32, 3000, np.uint64)
    for values in (x.astype(np.uint32), x.astype(np.uint32).view(np.int32)):
        for recoding in RECODINGS:
            expected = [
                len(reference.effectual_terms(value, recoding)) for value in values.tolist()
            ]
            assert_array_equal(fl.terms(values, recoding), expected)


def test_naf_is_the_fewest():
    """A shortest-path search: how many powers of two reach each number."""
    top = 1 << 10
    least = np.full(2 * top + 1, 99)
    least[top] = 0
    for _ in range(6):
        for i in range(11):
            step = 1 << i
            if step <= 2 * top:
                up, down = least[:-step] + 1, least[step:] + 1
                least[step:] = np.minimum(least[step:], up)
                least[:-step] = np.minimum(least[:-step], down)
    assert_array_equal(fl.terms(np.arange(512, dtype=np.int16), "naf"), least[top : top + 512])


def test_published_facts():
    x = np.arange(1 << 15, dtype=np.int16)
    assert fl.terms(x[27:28], "run_length") == 4
    assert np.count_nonzero(fl.terms(x, "run_length") != fl.terms(x, "naf")) == 6147
    assert fl.terms(x).mean() == 7.5
    assert round(fl.terms(x, "naf").mean(), 2) == 5.44
    assert fl.terms(x[:256]).mean() == 4
    assert round(fl.terms(x[:256], "naf").mean(), 2) == 3.11
    assert fl.terms(np.int16([-(2**15)])) == 1


@pytest.mark.parametrize("recoding", RECODINGS)
@pytest.mark.parametrize("slab", [100, 1 << 16])
def test_groups_and_any_memory(recoding, slab, monkeypatch):
    monkeypatch.setattr(precision, "_SLAB", slab)
    x = np.random.default_rng(0).integers(-999, 999, (37, 20, 6)).astype(np.int16)
    for view in (x, x.T, x[::-2, :, 1::2], x.astype(">i2")):
        counts = fl.terms(view, recoding)
        assert_array_equal(counts, fl.terms(np.array(view, np.int16), recoding))
        sums = fl.terms(view, recoding, group_size=16, axis=0)
        for g in range(sums.shape[0]):
            assert_array_equal(sums[g], counts[16 * g : 16 * g + 16].sum(axis=0, dtype=int))
        tiles = fl.terms(view, recoding, group_size=(16, 4), axis=(0, 1))
        for g in range(tiles.shape[1]):
            part = sums[:, 4 * g : 4 * g + 4]
            assert_array_equal(tiles[:, g], part.sum(axis=1))


def test_products():
    a = np.random.default_rng(0).integers(-99, 99, (5, 1, 7)).astype(np.int8)
    b = np.random.default_rng(1).integers(0, 2**32, (6, 7)).astype(np.uint32)
    for recoding in RECODINGS:
        found = fl.product_terms(a, b, recoding)
        assert found.dtype == np.uint16
        expected = fl.terms(a, recoding).astype(int) * fl.terms(b, recoding)
        assert_array_equal(found, expected)
        together = fl.terms(a[:, 0], recoding).astype(int) @ fl.terms(b, recoding).T
        assert_array_equal(found.sum(axis=-1, dtype=int), together)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty(shape):
    x = np.zeros(shape, np.int8)
    assert fl.terms(x).shape == shape
    assert fl.terms(x, group_size=2, axis=0).shape == (-(-shape[0] // 2), *shape[1:])


def test_no_dimension():
    assert fl.terms(np.int8(7)) == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: fl.terms(x, "csd"), ValueError, "binary, naf, booth, run_length, got 'csd'"),
        (lambda x: fl.terms(x.astype(float)), TypeError, "float64"),
        (lambda x: fl.terms(x, group_size=0), ValueError, "at least 1"),
        (lambda x: fl.product_terms(x, x.astype(bool)), TypeError, "bool"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((3, 4), np.int32))
