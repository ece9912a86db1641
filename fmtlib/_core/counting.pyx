"""Glue between NumPy and the loops of the accelerator counters.

Arguments are validated by the modules of `fmtlib.hardware`; here arrays are only checked to be what
the C side reads: C-contiguous, of the stated type and shape.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc

cimport numpy as cnp

import numpy as np

cnp.import_array()


cdef extern from "counting.h" nogil:
    ctypedef struct fmt_windows:
        Py_ssize_t groups, size_y, size_x, channels, outputs_x, outputs_y, columns
        Py_ssize_t kernel_x, kernel_y, stride_x, stride_y, dilation_x, dilation_y

    ctypedef struct fmt_front_end:
        Py_ssize_t filters, rows
        int lanes, entries, lookahead, fewest_first
        const int32_t *ahead
        const int32_t *aside

    ctypedef struct fmt_scnn:
        Py_ssize_t size_x, size_y, tile_x, tile_y, grid_x, grid_y
        Py_ssize_t filters, kernel_x, kernel_y, first_filter
        Py_ssize_t outputs_x, outputs_y, stride_x, stride_y, dilation_x, dilation_y
        int activations, weights

    int64_t fmt_run_ahead(const uint8_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                          Py_ssize_t, int64_t *, int64_t *)
    int64_t fmt_round_robin(const int32_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, int64_t *)
    void fmt_brick_cycles(const uint16_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, int,
                          uint16_t *, uint8_t *)
    void fmt_pallet_maxima(const fmt_windows *, const uint8_t *, uint8_t *)
    int64_t fmt_sum_of_max_products(const uint8_t *, const uint8_t *, Py_ssize_t, Py_ssize_t,
                                    Py_ssize_t, Py_ssize_t, uint8_t *)
    Py_ssize_t fmt_schedule(const fmt_front_end *, const uint64_t *, uint64_t *, int32_t *,
                            uint64_t *)
    void fmt_selected_maxima(const uint8_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t, const int32_t *, const uint64_t *, uint8_t *, uint8_t *)
    int64_t fmt_skipped_cycles(const uint64_t *, const uint64_t *, Py_ssize_t, Py_ssize_t,
                               Py_ssize_t, Py_ssize_t, Py_ssize_t, int64_t *)
    size_t fmt_scnn_work(const fmt_scnn *)
    int64_t fmt_scnn_single(const fmt_scnn *, const int16_t *, const uint8_t *, const int64_t *,
                            int64_t *, int64_t *)
    int64_t fmt_scnn_channel(const fmt_scnn *, const int16_t *, const uint8_t *, void *, int64_t *,
                             int64_t *)


cdef void *_data(array, type_number, tuple shape) except NULL:
    """The memory of an array of this type and shape."""
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(type_number):
        raise TypeError(f"expected an array of {np.dtype(type_number)}")
    if array.shape != shape or not array.flags.c_contiguous or not array.size:
        raise ValueError(f"expected a C-contiguous array {shape}, got {array.shape}")
    return cnp.PyArray_DATA(array)


def run_ahead(costs, Py_ssize_t repeats, Py_ssize_t registers):
    """Last end of any column; costs: uint8 (pallets, taps, columns), taps repeated per pallet."""
    cdef Py_ssize_t pallets, taps, columns
    pallets, taps, columns = costs.shape
    cdef const uint8_t *data = <const uint8_t *>_data(costs, np.uint8, costs.shape)
    ends, latest = np.zeros(columns, np.int64), np.zeros(registers + 1, np.int64)
    cdef int64_t *e = <int64_t *>_data(ends, np.int64, ends.shape)
    cdef int64_t *l = <int64_t *>_data(latest, np.int64, latest.shape)
    cdef int64_t last
    with nogil:
        last = fmt_run_ahead(data, pallets, repeats, taps, columns, registers, e, l)
    return last


def round_robin(costs, Py_ssize_t repeats, Py_ssize_t columns):
    """Last end of any column; costs: int32 (bricks), all repeated."""
    cdef Py_ssize_t n = costs.size
    cdef const int32_t *data = <const int32_t *>_data(costs, np.int32, (costs.size,))
    ends = np.zeros(columns, np.int64)
    cdef int64_t *e = <int64_t *>_data(ends, np.int64, ends.shape)
    cdef int64_t last
    with nogil:
        last = fmt_round_robin(data, n, repeats, columns, e)
    return last


def brick_cycles(masks, Py_ssize_t lanes, int reach, cycles):
    """Pragmatic cycles of bricks; masks: uint16 (outer, channels, inner), cycles: uint8."""
    cdef Py_ssize_t outer, channels, inner
    outer, channels, inner = masks.shape
    cdef const uint16_t *data = <const uint16_t *>_data(masks, np.uint16, masks.shape)
    bricks = -(-channels // lanes)
    cdef uint8_t *found = <uint8_t *>_data(cycles, np.uint8, (outer, bricks, inner))
    pending = np.empty(lanes, np.uint16)
    cdef uint16_t *p = <uint16_t *>_data(pending, np.uint16, pending.shape)
    with nogil:
        fmt_brick_cycles(data, outer, channels, inner, lanes, reach, p, found)


def pallet_maxima(values, outputs, Py_ssize_t columns, kernel, stride, dilation):
    """Greatest value over the windows of each pallet.

    values: uint8 (groups, y, x, channels) → uint8 (groups, pallets, taps, channels).
    """
    cdef fmt_windows w
    w.groups, w.size_y, w.size_x, w.channels = values.shape
    w.outputs_x, w.outputs_y = outputs
    w.kernel_x, w.kernel_y = kernel
    w.stride_x, w.stride_y = stride
    w.dilation_x, w.dilation_y = dilation
    w.columns = columns
    if (
        (w.outputs_x - 1) * w.stride_x + (w.kernel_x - 1) * w.dilation_x >= w.size_x
        or (w.outputs_y - 1) * w.stride_y + (w.kernel_y - 1) * w.dilation_y >= w.size_y
    ):
        raise ValueError("windows beyond the values")
    pallets = -(-w.outputs_x * w.outputs_y // columns)
    maxima = np.zeros((w.groups, pallets, w.kernel_x * w.kernel_y, w.channels), np.uint8)
    cdef const uint8_t *data = <const uint8_t *>_data(values, np.uint8, values.shape)
    cdef uint8_t *found = <uint8_t *>_data(maxima, np.uint8, maxima.shape)
    with nogil:
        fmt_pallet_maxima(&w, data, found)
    return maxima


def sum_of_max_products(a, b):
    """Sum over p, f, t of max(1, greatest product over lanes).

    a: uint8 (p, lanes, taps), b: uint8 (f, lanes, taps), whose products are below 256.
    """
    cdef Py_ssize_t p, f, lanes, taps
    p, lanes, taps = a.shape
    f = b.shape[0]
    cdef const uint8_t *u = <const uint8_t *>_data(a, np.uint8, a.shape)
    cdef const uint8_t *v = <const uint8_t *>_data(b, np.uint8, (f, lanes, taps))
    best = np.empty(taps, np.uint8)
    cdef uint8_t *t = <uint8_t *>_data(best, np.uint8, best.shape)
    cdef int64_t total
    with nogil:
        total = fmt_sum_of_max_products(u, v, p, f, lanes, taps, t)
    return total


def schedule(nonzero, int lanes, ahead, aside, int lookahead, bint fewest_first):
    """Rows that the front end of Bit-Tactical executes, and what is selected in each.

    nonzero: uint64 (filters, rows); ahead, aside: int32 (entries) → int32 (executed,) and
    uint64 (executed, lookahead + 1).
    """
    cdef fmt_front_end s
    s.filters, s.rows = nonzero.shape
    s.lanes, s.entries, s.lookahead, s.fewest_first = lanes, ahead.size, lookahead, fewest_first
    if not 0 < lanes <= 64 or not 0 < s.entries < 128 or ahead.min() < 1 or ahead.max() > lookahead:
        raise ValueError("beyond what the scheduler's masks hold")
    s.ahead = <const int32_t *>_data(ahead, np.int32, (s.entries,))
    s.aside = <const int32_t *>_data(aside, np.int32, (s.entries,))
    cdef const uint64_t *given = <const uint64_t *>_data(nonzero, np.uint64, nonzero.shape)
    pending = nonzero.copy()
    executed = np.empty(s.rows, np.int32)
    selected = np.empty((s.rows, lookahead + 1), np.uint64)
    cdef uint64_t *left = <uint64_t *>_data(pending, np.uint64, nonzero.shape)
    cdef int32_t *rows = <int32_t *>_data(executed, np.int32, executed.shape)
    cdef uint64_t *masks = <uint64_t *>_data(selected, np.uint64, selected.shape)
    cdef Py_ssize_t count
    with nogil:
        count = fmt_schedule(&s, given, left, rows, masks)
    return executed[:count], selected[:count]


def selected_maxima(values, rows, selected):
    """Greatest selected value, at least 1, of each pallet and executed row.

    values: uint8 (pallets, rows, lanes); rows, selected: of `schedule` → uint8 (pallets, executed).
    """
    cdef Py_ssize_t pallets, taps, lanes, executed, lookahead
    pallets, taps, lanes = values.shape
    executed, lookahead = selected.shape[0], selected.shape[1] - 1
    costs = np.empty((pallets, executed), np.uint8)
    if not executed:
        return costs
    if rows.min() < 0 or rows.max() >= taps:
        raise ValueError("rows beyond the values")
    cdef const uint8_t *v = <const uint8_t *>_data(values, np.uint8, values.shape)
    cdef const int32_t *r = <const int32_t *>_data(rows, np.int32, (executed,))
    cdef const uint64_t *m = <const uint64_t *>_data(selected, np.uint64, selected.shape)
    scratch = np.empty(executed * (lookahead + 1) * lanes, np.uint8)
    cdef uint8_t *b = <uint8_t *>_data(scratch, np.uint8, scratch.shape)
    cdef uint8_t *c = <uint8_t *>_data(costs, np.uint8, costs.shape)
    with nogil:
        fmt_selected_maxima(v, pallets, taps, lanes, executed, lookahead, r, m, b, c)
    return costs


def skipped_cycles(activations, weights, Py_ssize_t lanes):
    """Cnvlutin's cycles; activations: uint64 (pallets, taps, columns), weights: uint64 (sets, taps)."""
    cdef Py_ssize_t pallets, taps, columns, sets
    pallets, taps, columns = activations.shape
    sets = weights.shape[0]
    cdef const uint64_t *a = <const uint64_t *>_data(activations, np.uint64, activations.shape)
    cdef const uint64_t *w = <const uint64_t *>_data(weights, np.uint64, (sets, taps))
    scratch = np.empty(columns * lanes, np.int64)
    cdef int64_t *s = <int64_t *>_data(scratch, np.int64, scratch.shape)
    cdef int64_t total
    with nogil:
        total = fmt_skipped_cycles(a, w, pallets, sets, taps, columns, lanes, s)
    return total


def scnn(activations, weights, grid, outputs, stride, dilation, Py_ssize_t first_filter,
         int activations_per_step, int weights_per_step, begin=None):
    """Cycles of the channels of one image on SCNN's processing elements.

    activations: int16 (channels, x, y), padded; weights: uint8 (channels, kx, ky, filters), zero or
    not → cycles and dense cycles, int64 (channels, elements), and the conflicts. With a kernel as
    large as the input, begin: int64 (x * y + 1), weights that are not zero before each position.
    """
    cdef fmt_scnn s
    cdef const int64_t *b
    channels, s.size_x, s.size_y = activations.shape
    _, s.kernel_x, s.kernel_y, s.filters = weights.shape
    s.grid_x, s.grid_y = grid
    s.tile_x, s.tile_y = -(-s.size_x // s.grid_x), -(-s.size_y // s.grid_y)
    s.outputs_x, s.outputs_y = outputs
    s.stride_x, s.stride_y = stride
    s.dilation_x, s.dilation_y = dilation
    s.first_filter = first_filter
    s.activations, s.weights = activations_per_step, weights_per_step
    cdef const int16_t *a = <const int16_t *>_data(activations, np.int16, activations.shape)
    cdef const uint8_t *w = <const uint8_t *>_data(weights, np.uint8, (channels, *weights.shape[1:]))
    cycles = np.zeros((channels, s.grid_x * s.grid_y), np.int64)
    dense = np.zeros_like(cycles)
    cdef int64_t *c = <int64_t *>_data(cycles, np.int64, cycles.shape)
    cdef int64_t *d = <int64_t *>_data(dense, np.int64, cycles.shape)
    cdef Py_ssize_t n = channels, i
    cdef Py_ssize_t of_input = s.size_x * s.size_y, elements = s.grid_x * s.grid_y
    cdef Py_ssize_t of_kernel = s.kernel_x * s.kernel_y * s.filters
    cdef int64_t conflicts = 0
    if begin is not None:
        if channels != 1 or (s.kernel_x, s.kernel_y) != (s.size_x, s.size_y):
            raise ValueError("the kernel of a single output is as large as the input")
        b = <const int64_t *>_data(begin, np.int64, (of_input + 1,))
        with nogil:
            conflicts = fmt_scnn_single(&s, a, w, b, c, d)
        return cycles, dense, conflicts
    cdef void *work = malloc(fmt_scnn_work(&s))
    if work == NULL:
        raise MemoryError
    with nogil:
        for i in range(n):
            conflicts += fmt_scnn_channel(&s, a + i * of_input, w + i * of_kernel, work,
                                          c + i * elements, d + i * elements)
    free(work)
    return cycles, dense, conflicts
