"""Glue between NumPy and the C kernels: ufuncs, block codecs, group widths, block matmul.

Arguments are validated by the Python modules that call these functions; here arrays are only
checked to be what the C side reads: C-contiguous, aligned, of the stated type and size.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cimport numpy as cnp

import numpy as np

from fmtlib.formats import FORMATS, FloatFormat

cnp.import_array()
cnp.import_ufunc()


cdef extern from "kernels.h" nogil:
    ctypedef struct fmt_spec:
        uint64_t add[2]
        uint64_t flip
        uint32_t word_mask
        int32_t random_bits, noise, report
        int32_t mantissa_bits, min_exponent, no_zero, max_code, inf_magnitude
        uint32_t magnitude_mask, code_mask
        uint32_t over_code[2]
        uint32_t inf_code, nan_code, single_nan, sign_bit, zero_sign, nan_sign
        uint32_t negative_code, negative_zero_code, inf_overflows
        uint32_t is_unsigned, no_nan
        int32_t fraction_bits
        int64_t min_integer, max_integer
        int32_t integer_bits, wrap
        uint32_t twos_complement
        int32_t block_bias, block_max_code

    ctypedef struct fmt_nearest:
        int how, kind
        int32_t drop
        uint32_t magic
        int32_t min_binade
        uint32_t half, kept
        int32_t lift
        uint32_t lift_zero, lift_up
        int32_t least, most, nan_above, not_negative
        uint32_t keep, negative, negative_zero, nan, nan_sign, no_nan
        int32_t sign_place, greatest
        uint32_t beyond, magnitude_mask, sign_bit
        int32_t subnormals
        uint32_t normal
        int32_t max_code, last_number
        uint32_t nan_zero

    enum:
        SIGNS_NONE, SIGNS_ALL, SIGNS_EACH

    ctypedef struct fmt_compress_plan:
        int size, is_signed, signs, sparse
        Py_ssize_t length, group

    ctypedef struct fmt_measured:
        int64_t negative
        int64_t dense[2]
        int64_t sparse[2]

    enum:
        COMPRESS_SLACK

    ctypedef struct fmt_group_coder:
        void (*encode)(const fmt_compress_plan *, const void *, Py_ssize_t, Py_ssize_t, uint8_t *,
                       uint8_t *, int64_t *, uint8_t *, int64_t *) noexcept nogil
        int64_t (*decode)(const fmt_compress_plan *, Py_ssize_t, Py_ssize_t, const uint8_t *,
                          const uint8_t *, int64_t, const uint8_t *, int64_t, int64_t,
                          void *) noexcept nogil

    ctypedef struct fmt_compress_kernels:
        void (*measure)(const fmt_compress_plan *, const void *, Py_ssize_t, Py_ssize_t, uint8_t *,
                        fmt_measured *) noexcept nogil
        void (*measure_columns)(const fmt_compress_plan *, const void *, Py_ssize_t, Py_ssize_t,
                                uint8_t *, fmt_measured *) noexcept nogil
        fmt_group_coder coder
        int64_t (*payload_bits)(const fmt_compress_plan *, Py_ssize_t, Py_ssize_t, const uint8_t *,
                                const uint8_t *, int64_t, Py_ssize_t, int64_t *) noexcept nogil

    ctypedef struct fmt_serial_operand:
        const uint64_t *words
        Py_ssize_t stride
        const int64_t *weights
        int planes

    int TABLE_LINES, TABLE_MANTISSAS

    ctypedef struct fmt_table_product:
        const float *a
        const float *b
        const float *factors
        float *lines
        int mantissa_bits
        Py_ssize_t rows, depth, columns

    ctypedef struct fmt_kernels:
        fmt_compress_kernels compress[3]
        void (*to_planes[3])(const void *, Py_ssize_t, int, uint8_t *, Py_ssize_t) noexcept nogil
        void (*from_planes[3])(const uint8_t *, Py_ssize_t, int, int, int, Py_ssize_t,
                               void *) noexcept nogil
        int64_t (*serial_dot)(const fmt_serial_operand *, Py_ssize_t, const fmt_serial_operand *,
                              Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*multiply_by_table)(const fmt_table_product *, float *) noexcept nogil
        const char *name
        void (*philox)(uint64_t, uint64_t, uint64_t, uint32_t *, Py_ssize_t) noexcept nogil
        void (*count_terms[3])(const void *, uint8_t *, Py_ssize_t, int, int) noexcept nogil

    ctypedef struct fmt_plan:
        int verb, family, source, target, stochastic, scaled, wide
        fmt_spec spec, narrow
        fmt_nearest nearest

    ctypedef struct fmt_key:
        uint64_t seed, stream, first
        const uint64_t *starts
        Py_ssize_t run, before

    ctypedef struct fmt_block_plan:
        int source, target
        Py_ssize_t outer, rows, middle, columns, inner, tile_rows, tile_columns
        int stochastic, bump
        fmt_key key
        int arithmetic, rule, scale_type
        int32_t emax, precision
        uint32_t max_significand
        Py_ssize_t micro
        int32_t micro_shift
        fmt_spec spec, scale_spec, narrow
        float max_element, encode_scale, decode_scale

    ctypedef struct fmt_matrix:
        const void *codes
        int type, mantissa
        Py_ssize_t count, batch_stride, vector_stride, step_stride
        const uint8_t *scales
        Py_ssize_t scale_batch, scale_vector, scale_step
        int bias, nan
        Py_ssize_t group
        const void *packing
        Py_ssize_t packed_count, first_packed
        int packed_layout

    ctypedef struct fmt_matmul_plan:
        Py_ssize_t batch, depth
        fmt_matrix a, b
        int fresh

    ctypedef struct fmt_number:
        uint64_t magnitude

    ctypedef struct fmt_register:
        int kind, mantissa_bits, least, greatest, rounding, overflow, flush

    ctypedef struct fmt_operand:
        const void *codes
        int type, family, bits, exponent, fraction_bits
        const fmt_number *table
        int plain_float, low, high
        Py_ssize_t batch_stride, row_stride, step, group
        const void *scales
        int scale_type, scale_low, scale_high, scale_bits
        const fmt_number *scale_table
        Py_ssize_t scale_batch, scale_row, scale_step
        double tensor

    ctypedef struct fmt_product:
        Py_ssize_t batch, rows, depth, columns
        fmt_operand a, b
        Py_ssize_t terms
        int aligned, alignment_bits, alignment_rounding, least_alignment
        int late, signed_zero, pairwise
        Py_ssize_t promotion_terms
        int scales_groups, scales_promotion, scales_end
        const Py_ssize_t *parts
        Py_ssize_t part_count
        fmt_register product, partial, total, promotion, result
        void *c
        int c_type
        Py_ssize_t c_batch, c_row, c_column

    enum:
        REGISTER_NONE, REGISTER_FLOAT, REGISTER_FIXED
        ROUND_NEAREST_EVEN, ROUND_NEAREST_AWAY, ROUND_TOWARD_ZERO, ROUND_UP, ROUND_DOWN
        ROUND_TO_ODD
        OVERFLOW_NONSATURATING, OVERFLOW_INFINITY, OVERFLOW_SATURATE, OVERFLOW_WRAP
        OPERAND_TABLE, OPERAND_TWOS_COMPLEMENT, OPERAND_UNSIGNED, OPERAND_SIGN_MAGNITUDE

    enum:
        ENCODE, QUANTIZE, DECODE, FAMILY_FLOAT, FAMILY_FIXED
        TYPE_F16, TYPE_BF16, TYPE_F32, TYPE_F64, TYPE_INT1, TYPE_INT2, TYPE_INT4
        TYPE_LONG_DOUBLE, TYPE_I8, TYPE_I16, TYPE_I32, TYPE_I64, TYPE_U8, TYPE_U16, TYPE_U32
        TYPE_U64
        NEAREST_NONE, NEAREST_MAGIC, NEAREST_SHIFT
        STATUS_INVALID
        NEAREST_GENERAL, NEAREST_SIGNED, NEAREST_USUAL
        NO_NOISE, NOISE_A, NOISE_B, NOISE_C
        RULE_FLOOR, RULE_CEIL, RULE_EVEN, RULE_RCEIL, RULE_HBFP, RULE_AMAX

    const fmt_kernels *fmt_active
    void fmt_find_caches()
    const fmt_kernels *fmt_best()
    const fmt_kernels *fmt_find(const char *)
    ctypedef struct fmt_channels:
        const double *scales
        const int64_t *zeros
        Py_ssize_t count, inner

    void fmt_random_words(const fmt_key *, Py_ssize_t, uint32_t *, Py_ssize_t) noexcept nogil
    int fmt_apply(const fmt_plan *, const char *, char *, Py_ssize_t, Py_ssize_t,
                  const fmt_channels *, const fmt_key *)
    void fmt_elementwise_loop(char **, const Py_ssize_t *, const Py_ssize_t *, void *)
    void fmt_to_odd_loop(char **, const Py_ssize_t *, const Py_ssize_t *, void *)
    int fmt_encode_blocks(const fmt_block_plan *, const void *, void *, void *, Py_ssize_t,
                          Py_ssize_t)
    void fmt_decode_blocks(const fmt_block_plan *, const void *, const void *, void *, Py_ssize_t,
                           Py_ssize_t)
    float fmt_finite_max(int, const void *, Py_ssize_t, int *)

    enum:
        WIDTH_UNSIGNED, WIDTH_TWOS_COMPLEMENT, WIDTH_SIGN_MAGNITUDE
        TERMS_BINARY, TERMS_NAF, TERMS_BOOTH, TERMS_RUN_LENGTH

    ctypedef struct fmt_width_plan:
        int size, encoding
        Py_ssize_t outer, rows, middle, columns, inner, tile_rows, tile_columns

    void fmt_group_bits(const fmt_width_plan *, const void *, uint8_t *, uint8_t *)
    size_t fmt_matmul_scratch(const fmt_matmul_plan *)
    void fmt_matmul(const fmt_matmul_plan *, float *, void *)
    int fmt_matmul_layout(const fmt_matrix *, const fmt_matrix *, Py_ssize_t)
    size_t fmt_packing_size(const fmt_matrix *, int, Py_ssize_t, int)
    int fmt_pack_matrix(const fmt_matrix *, int, Py_ssize_t, int, void *)
    void fmt_pack(const void *, int, int, Py_ssize_t, uint8_t *)
    void fmt_unpack(const uint8_t *, int, int, Py_ssize_t, void *, int)
    void fmt_crc32c_init()
    void fmt_lanes_init()
    void fmt_transpose(const void *, Py_ssize_t, void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, int)
    uint32_t fmt_crc32c(const uint8_t *, size_t, uint32_t)
    size_t fmt_accumulate_scratch(const fmt_product *)
    void fmt_accumulate(const fmt_product *, void *)

    void fmt_lookup(const void *, int, const void *, int, void *, Py_ssize_t)

    ctypedef struct fmt_statistics_plan:
        int is_float
        fmt_spec spec
        uint64_t limit[2]
        int32_t max_code
        int64_t min_integer, max_integer, min_field, max_field, mantissa_bits, no_zero
        double least_normal
        Py_ssize_t length, inner

    ctypedef struct fmt_errors:
        double signal

    void fmt_statistics(const fmt_statistics_plan *, const double *, const double *,
                        const double *, const int64_t *, const uint32_t *, Py_ssize_t, Py_ssize_t,
                        Py_ssize_t, fmt_errors *)

cdef extern from "stream.h" nogil:
    size_t fmt_streamed_from

cdef extern from "numpy/dtype_api.h":
    ctypedef struct PyArray_DTypeMeta:
        pass
    PyArray_DTypeMeta PyArray_PyLongDType

cdef extern from "numpy/ufuncobject.h":
    int PyUFunc_AddPromoter(object ufunc, object dtypes, object promoter) except -1


# --- instruction sets -----------------------------------------------------------------------

TARGETS = ("baseline", "x86-64-v3", "x86-64-v3-vnni", "x86-64-v4", "x86-64-v4-vnni")


def cpu_target():
    """Name of the instruction set whose kernels run: chosen at import, the best there is.

    Returns
    -------
    str
        "baseline" (SSE2 on x86-64, NEON on arm64), "x86-64-v3" or "x86-64-v4"; either with
        "-vnni" behind it if the processor has integer dot products besides.

    Examples
    --------
    >>> import fmtlib as fl
    >>> fl.cpu_target().removesuffix("-vnni") in ("baseline", "x86-64-v3", "x86-64-v4")
    True
    """
    return fmt_active.name.decode()


def available_targets():
    """Names of the instruction sets that this machine has kernels for and can run."""
    return tuple(name for name in TARGETS if fmt_find(name.encode()) != NULL)


def force_target(name):
    """Make the named set's kernels run from now on; None chooses the best.  For tests."""
    global fmt_active
    cdef const fmt_kernels *found = fmt_best() if name is None else fmt_find(name.encode())
    if found == NULL:
        raise ValueError(
            f"no kernels for {name!r} here; allowed: {', '.join(available_targets())}"
        )
    fmt_active = found


def force_streaming(from_bytes):
    """For tests: calls of so many bytes stream their results past the caches; None: this machine's
    own limit.
    """
    global fmt_streamed_from
    if from_bytes is None:
        fmt_find_caches()
    else:
        fmt_streamed_from = from_bytes


force_target(None)
force_streaming(None)


# --- records for C --------------------------------------------------------------------------

# The addends of the deterministic roundings: for positive values, for negative values, and the
# bits of either that are inverted when the last kept bit is 1.  A half of a quantum is 2**62.
cdef uint64_t HALF = 1 << 62, ALL = (1 << 63) - 1
cdef dict ADDENDS = {
    "nearest_even": (HALF - 1, HALF - 1, ALL),
    "nearest_away": (HALF, HALF, 0),
    "toward_zero": (0, 0, 0),
    "up": (ALL, 0, 0),
    "down": (0, ALL, 0),
    "to_odd": (ALL, ALL, ALL),
}
cdef dict NOISES = {"stochastic": NOISE_A, "stochastic_b": NOISE_B, "stochastic_c": NOISE_C}

# The types of arrays, by NumPy's name: of codes, and of values.
cdef dict CODE_TYPES = {
    "int8": TYPE_INT1,
    "uint8": TYPE_INT1,
    "int16": TYPE_INT2,
    "uint16": TYPE_INT2,
    "int32": TYPE_INT4,
    "uint32": TYPE_INT4,
}
cdef dict VALUE_TYPES = {
    "float16": TYPE_F16,
    "bfloat16": TYPE_BF16,
    "float32": TYPE_F32,
    np.dtype("longdouble").name: TYPE_LONG_DOUBLE,
    "float64": TYPE_F64,  # also where long double is the same
    "int8": TYPE_I8,
    "int16": TYPE_I16,
    "int32": TYPE_I32,
    "int64": TYPE_I64,
    "uint8": TYPE_U8,
    "uint16": TYPE_U16,
    "uint32": TYPE_U32,
    "uint64": TYPE_U64,
}


cdef void _fill_rounding(fmt_spec *spec, str rounding, int random_bits) except *:
    spec.noise = NOISES.get(rounding, NO_NOISE)
    spec.add[0], spec.add[1], spec.flip = ADDENDS.get(rounding, (0, 0, 0))
    spec.random_bits = random_bits
    spec.word_mask = (0xFFFFFFFF << (32 - random_bits)) & 0xFFFFFFFF


cdef void _fill_float(fmt_spec *spec, fmt, str rounding, str overflow) except *:
    # what stands for a finite value beyond the greatest, for an infinity, for a negative value
    over = infinite = fmt.max_code
    negative = 0
    if overflow in ("nonsaturating", "p3109_none"):
        if fmt.inf_code is not None:
            over = infinite = fmt.inf_code
        elif overflow == "nonsaturating" and fmt.nan_code is not None:
            over = infinite = fmt.nan_code
        negative = fmt.nan_code or 0
    elif overflow in ("p3109_propagate", "raise") and fmt.inf_code is not None:
        infinite = fmt.inf_code
    # a finite value never overflows in the direction that a directed mode rounds away from; to
    # odd, P3109 has it end at an odd greatest code
    stops = rounding == "to_odd" and overflow == "p3109_none" and fmt.max_code % 2 == 1
    spec.over_code[0] = fmt.max_code if stops or rounding in ("toward_zero", "down") else over
    spec.over_code[1] = fmt.max_code if stops or rounding in ("toward_zero", "up") else over
    spec.inf_code = infinite
    spec.inf_overflows = fmt.inf_code is None
    if overflow == "raise":
        negative = 1  # never seen, but not zero: it is reported
    elif not fmt.subnormals:
        negative = fmt.nan_code or 0
    spec.negative_code = negative
    spec.negative_zero_code = 0 if fmt.subnormals else negative
    spec.nan_code = 0 if fmt.nan_code is None else fmt.nan_code
    spec.no_nan = fmt.nan_code is None
    spec.single_nan = fmt.sign_bit if fmt.nan == "negative_zero" else 0xFFFFFFFF
    spec.mantissa_bits = fmt.mantissa_bits
    spec.min_exponent = fmt.min_exponent
    spec.no_zero = not fmt.subnormals
    spec.max_code = fmt.max_code
    spec.inf_magnitude = -1 if fmt.inf_code is None else fmt.inf_code
    spec.magnitude_mask = fmt.magnitude_mask
    spec.code_mask = (1 << fmt.bits) - 1
    spec.sign_bit = fmt.sign_bit
    spec.zero_sign = fmt.sign_bit if fmt.has_negative_zero else 0
    spec.nan_sign = fmt.sign_bit if fmt.nan in ("ieee", "all_ones") else 0
    spec.is_unsigned = not fmt.signed


cdef uint32_t INFINITE = 0x7F800000, NAN = 0x7FC00000, SIGN = 1 << 31


cdef void _fill_nearest(fmt_nearest *to, str verb, fmt, const fmt_spec *spec) except *:
    """The constants of nearest.inc.h, if its way serves the format: else `how` stays as it is.

    The rounding is to nearest, ties to even, and the spec is filled.
    """
    cdef int m = fmt.mantissa_bits, emin = fmt.min_exponent, drop = 23 - m
    cdef int64_t lift, lift_zero, lift_up, top, most
    if not fmt.fits("float32") or m > 14:
        return

    def unlift(int64_t place):
        return max((place + lift_zero) >> lift, place - lift_up)

    def bits(int64_t code):
        """The bits of the magnitude with this code, as if all codes were finite numbers."""
        return unlift(code << drop) if shifts else (code << drop) + ((emin + 126) << 23)

    cdef bint shifts = emin in (-126, -127)
    lift = -126 - emin if shifts else 0
    lift_zero = (not fmt.subnormals) << 23
    lift_up = (lift << 23) - lift_zero
    to.kind = NEAREST_SIGNED if fmt.signed and not lift else NEAREST_GENERAL
    to.drop = drop
    to.lift, to.lift_zero, to.lift_up = lift, lift_zero, lift_up & 0xFFFFFFFF
    to.min_binade = max(emin + 127, 0) << 23
    if verb == "decode":
        to.magnitude_mask, to.sign_bit = fmt.magnitude_mask, fmt.sign_bit
        to.sign_place = 32 - fmt.bits
        to.subnormals = fmt.subnormals << 23
        to.normal = to.min_binade - to.subnormals
        to.max_code = fmt.max_code
        to.last_number = fmt.max_code + (fmt.inf_code is not None)
        to.nan_zero = SIGN if fmt.nan == "negative_zero" else 0xFFFFFFFF
        if to.kind == NEAREST_SIGNED and fmt.nan != "negative_zero":
            to.kind = NEAREST_USUAL
        if shifts or emin - m >= -126:
            to.how = NEAREST_SHIFT if shifts else NEAREST_MAGIC
        return
    # what is beyond the greatest value must end there, or at the next code
    top = spec.inf_code
    if spec.report or not spec.over_code[0] == spec.over_code[1] == top in (
        fmt.max_code, fmt.max_code + 1
    ):
        return
    # the magic number must be finite, half of the least number normal
    most = bits(top)
    if shifts:
        if most > INFINITE:
            return
        to.half = (1 << drop - 1) - 1
        to.kept = <uint32_t>(-1 << drop)
        to.least = 0 if fmt.subnormals else bits(0)
    else:
        if not (0 < m <= emin + 124 and fmt.subnormals and fmt.max_code >> m and
                (most >> 23) + drop < 255):
            return
        to.magic = drop << 23
        to.least = 1 << 23
    to.most = most
    to.nan_above = INFINITE
    if fmt.nan == "negative_zero" and top == fmt.nan_code:  # without sign; its tie is the first
        to.nan_above = bits(fmt.max_code) + (1 << drop - 1) - 1
    to.not_negative = -fmt.signed
    to.keep = 0xFFFFFFFF if fmt.signed else 0
    to.no_nan = spec.no_nan
    if verb == "encode":
        to.negative = spec.sign_bit if fmt.signed else spec.negative_code
        to.negative_zero = spec.zero_sign if fmt.signed else spec.negative_zero_code
        to.nan, to.nan_sign = spec.nan_code, spec.nan_sign
    else:
        values = {0: 0 if fmt.subnormals else bits(0), fmt.nan_code: NAN}
        to.greatest = bits(fmt.max_code)
        to.beyond = NAN if fmt.inf_code is None else INFINITE
        to.negative = SIGN if fmt.signed else values[spec.negative_code]
        to.negative_zero = (
            SIGN * (spec.zero_sign != 0) if fmt.signed else values[spec.negative_zero_code]
        )
        to.nan = values[spec.nan_code]
        to.nan_sign = SIGN * (spec.nan_sign != 0)
    to.sign_place = 32 - fmt.bits if verb == "encode" else 0
    if (
        to.kind == NEAREST_SIGNED
        and to.negative == to.negative_zero == to.nan_sign
        and not (to.no_nan or shifts and to.least or verb == "quantize" and top != fmt.max_code)
    ):
        to.kind = NEAREST_USUAL
    to.how = NEAREST_SHIFT if shifts else NEAREST_MAGIC


cdef void _fill_integer(fmt_spec *spec, fmt, str overflow) except *:
    spec.fraction_bits = fmt.fraction_bits
    spec.min_integer = fmt.min_integer
    spec.max_integer = fmt.max_integer
    spec.integer_bits = fmt.bits
    spec.wrap = overflow == "wrap"
    spec.is_unsigned = not fmt.signed


cdef void _fill_magnitude(fmt_spec *spec, element) except *:
    """Signed integers as floats of one binade; see fmt_spec."""
    cdef uint32_t sign = 1 << element.magnitude_bits
    spec.mantissa_bits = element.magnitude_bits - 1
    spec.min_exponent = 0
    spec.max_code = spec.over_code[0] = spec.over_code[1] = spec.inf_code = sign - 1
    spec.inf_magnitude = -1
    spec.single_nan = 0xFFFFFFFF
    spec.twos_complement = element.encoding == "twos_complement"
    spec.magnitude_mask = sign - 1
    spec.code_mask = 2 * sign - 1
    spec.sign_bit = sign
    spec.zero_sign = 0 if spec.twos_complement else sign


cdef dict RULES = {
    "floor": RULE_FLOOR,
    "ceil": RULE_CEIL,
    "even": RULE_EVEN,
    "rceil": RULE_RCEIL,
    "hbfp": RULE_HBFP,
    "amax": RULE_AMAX,
}


cdef void _fill_block(fmt_block_plan *plan, fmt, str rounding, int random_bits) except *:
    """What a plan holds of the format."""
    tile = fmt.block_size if isinstance(fmt.block_size, tuple) else (1, fmt.block_size)
    plan.tile_rows, plan.tile_columns = tile
    plan.stochastic = rounding in NOISES
    plan.bump = fmt.carry == "bump"
    plan.rule = RULES[fmt.scale_rule]
    plan.scale_type = CODE_TYPES[fmt.scale_dtype.name]
    plan.micro = fmt.micro_size or 0
    plan.micro_shift = fmt.scale.bits
    _fill_rounding(&plan.spec, rounding, random_bits)
    element = fmt.element
    plan.emax = fmt.emax
    plan.precision = element.precision
    plan.max_significand = int(element.max * 2.0 ** (23 - fmt.emax))
    plan.max_element = element.max
    if isinstance(element, FloatFormat):
        _fill_float(&plan.spec, element, rounding, "saturate")
        # formats without -0, without normal values, or near the ends of float32's range are rare
        regular = (element.nan != "negative_zero" and element.max_code >> element.mantissa_bits
                   and element.quantum_exponent >= -60 and element.max_exponent <= 60)
    else:
        _fill_magnitude(&plan.spec, element)
        regular = True
    if plan.rule == RULE_AMAX:
        regular = regular and (fmt.scale.quantum_exponent >= -60 and fmt.scale.max_exponent <= 60)
    plan.arithmetic = regular and (
        rounding == "nearest_even" or (rounding in ("toward_zero", "stochastic") and not plan.bump)
    )
    if plan.rule == RULE_AMAX:
        _fill_rounding(&plan.scale_spec, "nearest_even", 32)
        _fill_float(&plan.scale_spec, fmt.scale, "nearest_even", "saturate")
    else:
        plan.spec.block_bias = fmt.scale.bias
        plan.spec.block_max_code = fmt.scale.max_code


cdef void _fill_target(fmt_block_plan *plan, str target, bint codes) except *:
    plan.target = (CODE_TYPES if codes else VALUE_TYPES)[target]
    if plan.rule == RULE_AMAX and not codes and target in ("float16", "bfloat16"):
        _fill_rounding(&plan.narrow, "nearest_even", 32)
        _fill_float(&plan.narrow, FORMATS[target], "nearest_even", "saturate")


# --- ufuncs ---------------------------------------------------------------------------------

cdef list _kept = []  # ufuncs point at their names, docs and types: never let go of those


cdef int _refuse(object ufunc, PyArray_DTypeMeta **given, PyArray_DTypeMeta **signature,
                 PyArray_DTypeMeta **chosen) except -1:
    verb, _, fmt = ufunc.__name__.partition("__")
    if verb.startswith("decode"):
        takes = "codes"
    elif verb == "quantize" and any(type[0] in "lq" for type in ufunc.types):
        takes = "real numbers whose type holds every value of the format"
    elif verb == "quantize":
        takes = "floating-point arrays"
    else:
        takes = "real numbers"
    raise TypeError(f"ufunc {ufunc.__name__!r} takes {takes}, got another type; convert it explicitly")


def refuse(ufunc, dtypes):
    """Make a ufunc raise TypeError for a first input of these DType classes."""
    promoter = PyCapsule_New(<void *>_refuse, "numpy._ufunc_promoter", NULL)
    for dtype in dtypes:
        PyUFunc_AddPromoter(ufunc, (dtype, *[None] * (ufunc.nargs - 1)), promoter)


# NumPy's integers; small ones first, since a ufunc takes the first loop that can hold its input.
cdef list INTEGERS = [np.dtype(char) for char in "bBhHiIlLqQ"]
cdef list FLOATS = [np.dtype(char) for char in "efdg"]


cdef list _loops(str verb, fmt, bint scaled):
    """The types (of the first input, of the output) that the ufunc of a verb has loops for."""
    if verb == "encode" and scaled:  # narrower types pass through these without loss
        return [(np.dtype(char), fmt.code_dtype) for char in "flLqQdg"]
    if verb == "encode":
        return [(dtype, fmt.code_dtype) for dtype in INTEGERS + FLOATS]
    if verb == "quantize":
        return [(dtype, dtype) for dtype in INTEGERS + FLOATS if fmt.fits(dtype.name)]
    targets = [dtype for dtype in FLOATS[1:3] if scaled or fmt.fits(dtype.name)]
    if scaled:  # bfloat16 as its bits: NumPy has no such type of its own
        targets += [FLOATS[0], np.dtype(np.uint16)]
    return [(fmt.code_dtype, dtype) for dtype in targets]


def make_ufunc(str name, str doc, str verb, fmt, str rounding="nearest_even",
               str overflow="saturate", int random_bits=32, bint scaled=False):
    """Make the ufunc of one verb of an elementwise format.

    Inputs: values or codes; if `scaled`, float64 scales and int64 zero points; if `rounding` is
    stochastic, uint32 words.
    """
    cdef bint stochastic = rounding in NOISES and verb != "decode"
    cdef cnp.PyUFuncGenericFunction *functions
    cdef void **data
    cdef char *types
    cdef fmt_plan *plan
    cdef list loops = _loops(verb, fmt, scaled)
    extra = [np.dtype(np.float64), np.dtype(np.int64)] if scaled else []
    if stochastic:
        extra.append(np.dtype(np.uint32))
    cdef int count = len(loops), nin = 1 + len(extra), nargs = nin + 1
    functions = <cnp.PyUFuncGenericFunction *>malloc(count * sizeof(cnp.PyUFuncGenericFunction))
    data = <void **>malloc(count * sizeof(void *))
    types = <char *>malloc(count * nargs)
    if functions == NULL or data == NULL or types == NULL:
        raise MemoryError
    for i, (source, target) in enumerate(loops):
        plan = _make_plan(verb, fmt, rounding, overflow, random_bits, scaled, source.name,
                          "bfloat16" if verb == "decode" and target == np.uint16 else target.name)
        functions[i] = <cnp.PyUFuncGenericFunction>fmt_elementwise_loop
        data[i] = plan
        for j, dtype in enumerate([source, *extra, target]):
            types[i * nargs + j] = dtype.num
    name_bytes, doc_bytes = name.encode(), doc.encode()
    _kept.append((name_bytes, doc_bytes))
    ufunc = cnp.PyUFunc_FromFuncAndData(
        functions, data, types, count, nin, 1, cnp.PyUFunc_None, name_bytes, doc_bytes, 0
    )
    refused = [type(np.dtype(bool))]
    if verb == "quantize":  # else they would pass as float64
        taken = {source for source, _ in loops}
        refused += [type(dtype) for dtype in INTEGERS if dtype not in taken]
        if np.dtype(int) not in taken:
            refused.append(<object>&PyArray_PyLongDType)
    refuse(ufunc, refused)
    return ufunc


def make_to_odd():
    """Make the ufunc that rounds integers and long double to odd float64."""
    cdef cnp.PyUFuncGenericFunction *functions
    cdef void **data
    cdef char *types
    cdef fmt_plan *plan
    cdef list sources = INTEGERS + FLOATS[3:]
    cdef int count = len(sources)
    functions = <cnp.PyUFuncGenericFunction *>malloc(count * sizeof(cnp.PyUFuncGenericFunction))
    data = <void **>malloc(count * sizeof(void *))
    types = <char *>malloc(count * 2)
    if functions == NULL or data == NULL or types == NULL:
        raise MemoryError
    for i, source in enumerate(sources):
        plan = <fmt_plan *>malloc(sizeof(fmt_plan))
        if plan == NULL:
            raise MemoryError
        memset(plan, 0, sizeof(fmt_plan))
        plan.source = VALUE_TYPES[source.name]
        functions[i] = <cnp.PyUFuncGenericFunction>fmt_to_odd_loop
        data[i] = plan
        types[2 * i], types[2 * i + 1] = source.num, cnp.NPY_FLOAT64
    name, doc = b"to_odd", b"Integers and long double as float64, rounded to odd."
    _kept.append((name, doc))
    return cnp.PyUFunc_FromFuncAndData(
        functions, data, types, count, 1, 1, cnp.PyUFunc_None, name, doc, 0
    )


cdef fmt_plan *_make_plan(str verb, fmt, str rounding, str overflow, int random_bits, bint scaled,
                          str source, str target) except NULL:
    cdef fmt_plan *plan = <fmt_plan *>malloc(sizeof(fmt_plan))
    if plan == NULL:
        raise MemoryError
    memset(plan, 0, sizeof(fmt_plan))
    cdef bint is_float = isinstance(fmt, FloatFormat)
    plan.verb = {"encode": ENCODE, "quantize": QUANTIZE, "decode": DECODE}[verb]
    plan.family = FAMILY_FLOAT if is_float else FAMILY_FIXED
    plan.source = (CODE_TYPES if verb == "decode" else VALUE_TYPES)[source]
    plan.target = (CODE_TYPES if verb == "encode" else VALUE_TYPES)[target]
    plan.stochastic = rounding in NOISES and verb != "decode"
    plan.scaled = scaled
    _fill_rounding(&plan.spec, rounding, random_bits)
    plan.spec.report = overflow == "raise"
    if is_float:
        _fill_float(&plan.spec, fmt, rounding, overflow)
        # subnormals of float32 would be normal numbers of the target: see encode_float_one
        plan.wide = fmt.min_exponent < -126
        if (verb == "decode" or rounding == "nearest_even") and (
            scaled or TYPE_LONG_DOUBLE not in (plan.source, plan.target)
        ):
            _fill_nearest(&plan.nearest, verb, fmt, &plan.spec)
    else:
        _fill_integer(&plan.spec, fmt, overflow)
        plan.wide = fmt.bits > 16
    if scaled and verb == "decode" and target in ("float16", "bfloat16"):
        _fill_rounding(&plan.narrow, "nearest_even", 32)
        _fill_float(&plan.narrow, FORMATS[target], "nearest_even", "nonsaturating")
    return plan


def register_bfloat16(ufunc, str verb, fmt, str rounding, str overflow, int random_bits, dtype):
    """Give an encode or quantize ufunc its loop for ml_dtypes' bfloat16."""
    cdef int types[3]
    cdef bint stochastic = rounding in NOISES
    target = fmt.code_dtype if verb == "encode" else dtype
    types[0] = dtype.num
    types[1] = cnp.NPY_UINT32
    types[1 + stochastic] = target.num
    cdef fmt_plan *plan = _make_plan(verb, fmt, rounding, overflow, random_bits, False,
                                     dtype.name, target.name)
    cnp.PyUFunc_RegisterLoopForType(
        <cnp.ufunc>ufunc, dtype.num, <cnp.PyUFuncGenericFunction>fmt_elementwise_loop, types, plan
    )


# --- random words ---------------------------------------------------------------------------

def apply(ufunc, x, out, scales, zeros, Py_ssize_t inner, words, Py_ssize_t start, Py_ssize_t stop):
    """One of the ufuncs on elements start ... stop - 1 of C-contiguous arrays of one size.

    Scales and zero points are those of channels, of which element i is number i // inner modulo
    their count; random words those of `fmtlib.random_words.Words`.  None if there are none.

    Returns
    -------
    bool or None
        Whether NaN met a format without NaN; None if the ufunc has no such loop of ours.
    """
    cdef cnp.ufunc function = ufunc
    cdef cnp.ndarray source = _check(x, x.dtype, x.shape)
    cdef cnp.ndarray target = _check(out, out.dtype, x.shape)
    cdef fmt_plan *plan = NULL
    cdef fmt_channels channels
    cdef fmt_key key
    cdef int i, status, nargs = function.nin + function.nout
    for i in range(function.ntypes):
        if (
            function.types[i * nargs] == cnp.PyArray_TYPE(source)
            and function.types[i * nargs + nargs - 1] == cnp.PyArray_TYPE(target)
        ):
            plan = <fmt_plan *>function.data[i]
            break
    if plan == NULL or plan.spec.report or TYPE_LONG_DOUBLE in (plan.source, plan.target):
        return None
    if plan.scaled != (scales is not None) or plan.stochastic != (words is not None):
        raise TypeError("scales or random words do not fit the ufunc")
    if not 0 <= start <= stop <= x.size:
        raise ValueError(f"no elements {start} to {stop} of {x.size}")
    if scales is not None:
        channels.count, channels.inner = len(scales), inner
        channels.scales = <double *>cnp.PyArray_DATA(_check(scales, np.float64, (len(scales),)))
        channels.zeros = <int64_t *>cnp.PyArray_DATA(_check(zeros, np.int64, (len(scales),)))
        if channels.count < 1 or inner < 1:
            raise ValueError("there must be a channel, and an element of each")
    if words is not None:
        key = _key(words, 0, stop)
    cdef const char *from_data = <const char *>cnp.PyArray_DATA(source)
    cdef char *to_data = <char *>cnp.PyArray_DATA(target)
    with nogil:
        status = fmt_apply(plan, from_data, to_data, start, stop, &channels, &key)
    return status & STATUS_INVALID != 0


cdef fmt_key _key(words, Py_ssize_t before, Py_ssize_t size) except *:
    """`fmtlib.random_words.Words`, without so many at the front, if it has `size` more."""
    cdef fmt_key key
    cdef cnp.ndarray starts
    if before < 0:
        raise ValueError(f"no words before those of element 0, got {before}")
    key.seed, key.stream, key.run = words.seed, words.stream, words.run
    key.first, key.before, key.starts = words.first + before, before, NULL
    if words.starts is not None:
        starts = _check(words.starts, np.uint64, words.starts.shape)
        key.starts = <const uint64_t *>cnp.PyArray_DATA(starts)
        if key.run < 1 or before + size > cnp.PyArray_SIZE(starts) * key.run:
            raise ValueError(f"there are no words of {before + size} elements")
    return key


def random_words(words, Py_ssize_t first, Py_ssize_t count):
    """Of the elements first ... first + count - 1, as uint32; see `fmtlib.random_words.Words`."""
    cdef cnp.ndarray found = np.empty(count, np.uint32)
    cdef uint32_t *to = <uint32_t *>cnp.PyArray_DATA(found)
    cdef fmt_key key = _key(words, first, count)
    with nogil:
        fmt_random_words(&key, 0, to, count)
    return found


# --- blocks ---------------------------------------------------------------------------------

cdef cnp.ndarray _check(array, dtype, shape):
    """The array, if it is what C is about to read or write."""
    cdef cnp.ndarray checked = array
    if checked.dtype != dtype or (<object>checked).shape != shape:
        raise TypeError(f"expected {dtype} {shape}, got {checked.dtype} {(<object>checked).shape}")
    if not (cnp.PyArray_ISCARRAY_RO(checked) or checked.size == 0):
        raise TypeError("expected an aligned C-contiguous array")
    return checked


def finite_max(x, str source):
    """The greatest finite magnitude of a C-contiguous array, rounded to float32; is all finite?"""
    cdef cnp.ndarray array = _check(x, x.dtype, x.shape)
    cdef void *data = cnp.PyArray_DATA(array)
    cdef Py_ssize_t size = x.size
    cdef int type = VALUE_TYPES[source], nonfinite = 0
    cdef float found
    with nogil:
        found = fmt_finite_max(type, data, size, &nonfinite)
    return np.float32(found), nonfinite == 0


cdef cnp.ndarray _flat(array, Py_ssize_t size, Py_ssize_t itemsize):
    """The array, if C can read or write so many elements of this size in it."""
    cdef cnp.ndarray checked = array
    if cnp.PyArray_SIZE(checked) != size or cnp.PyArray_ITEMSIZE(checked) != itemsize:
        raise TypeError(f"expected {size} elements of {itemsize} bytes, got {checked.dtype} "
                        f"{(<object>checked).shape}")
    if size and not cnp.PyArray_ISCARRAY_RO(checked):
        raise TypeError("expected an aligned C-contiguous array of native byte order")
    return checked


cdef class BlockCodec:
    """A block format, a verb, a rounding and the types of arrays, as the kernels want them.

    `source` and `target` name the types that are read and written: codes are named by their
    dtype; bfloat16 arrays come as their uint16 bits.
    """

    cdef fmt_block_plan plan
    cdef bint decode
    cdef Py_ssize_t source_size, target_size, scale_size

    def __init__(self, fmt, str verb, str rounding, int random_bits, str source, str target):
        memset(&self.plan, 0, sizeof(self.plan))
        _fill_block(&self.plan, fmt, rounding, random_bits)
        self.decode = verb == "decode"
        self.plan.source = (CODE_TYPES if self.decode else VALUE_TYPES)[source]
        _fill_target(&self.plan, target, verb == "encode")
        self.source_size, self.target_size = (
            2 if name == "bfloat16" else np.dtype(name).itemsize for name in (source, target)
        )
        self.scale_size = fmt.scale_dtype.itemsize

    def run(self, tuple shape, x, out, scales, words, Py_ssize_t first, float encode_scale,
            float decode_scale, Py_ssize_t part, Py_ssize_t parts):
        """Work on the share `part` of `parts` of an (outer, rows, middle, columns, inner) array.

        Blocks along one axis have it as `columns`, rows and middle being 1.  `scales`, one per
        tile, is read or written; quantising has none.  `words` (`fmtlib.random_words.Words`) has
        those of x's elements from number `first` on, and is None if rounding takes none; then come
        the scales of the tensor.
        """
        cdef fmt_block_plan plan = self.plan
        plan.outer, plan.rows, plan.middle, plan.columns, plan.inner = shape
        plan.encode_scale, plan.decode_scale = encode_scale, decode_scale
        cdef Py_ssize_t size = plan.outer * plan.rows * plan.middle * plan.columns * plan.inner
        cdef Py_ssize_t tiles = (plan.outer * -(-plan.rows // plan.tile_rows) * plan.middle
                                 * -(-plan.columns // plan.tile_columns) * plan.inner)
        if plan.stochastic:
            plan.key = _key(words, first, size)
        if not 0 <= part < parts:
            raise ValueError(f"expected a part of {parts}, got {part}")
        cdef void *x_data = cnp.PyArray_DATA(_flat(x, size, self.source_size))
        cdef void *out_data = cnp.PyArray_DATA(_flat(out, size, self.target_size))
        cdef void *scale_data = NULL
        if scales is not None:
            scale_data = cnp.PyArray_DATA(_flat(scales, tiles, self.scale_size))
        elif self.decode:
            raise TypeError("decoding needs scales")
        if size == 0:
            return
        with nogil:
            if self.decode:
                fmt_decode_blocks(&plan, x_data, scale_data, out_data, part, parts)
            else:
                fmt_encode_blocks(&plan, x_data, out_data, scale_data, part, parts)


# --- group widths ---------------------------------------------------------------------------

_WIDTH_ENCODINGS = {
    "unsigned": WIDTH_UNSIGNED,
    "twos_complement": WIDTH_TWOS_COMPLEMENT,
    "sign_magnitude": WIDTH_SIGN_MAGNITUDE,
}


def group_bits(x, tuple shape, Py_ssize_t tile_rows, Py_ssize_t tile_columns, str encoding, high,
               low=None):
    """Widths of the groups of an (outer, rows, middle, columns, inner) array of integers."""
    cdef fmt_width_plan plan
    plan.outer, plan.rows, plan.middle, plan.columns, plan.inner = shape
    plan.tile_rows, plan.tile_columns = tile_rows, tile_columns
    plan.size, plan.encoding = x.dtype.itemsize, _WIDTH_ENCODINGS[encoding]
    if x.dtype.kind not in "iu" or plan.size not in (1, 2, 4) or tile_rows < 1 or tile_columns < 1:
        raise TypeError(f"expected integers of 8, 16 or 32 bits and groups, got {x.dtype}")
    cdef Py_ssize_t size = plan.outer * plan.rows * plan.middle * plan.columns * plan.inner
    cdef Py_ssize_t groups = (plan.outer * -(-plan.rows // tile_rows) * plan.middle
                              * -(-plan.columns // tile_columns) * plan.inner)
    cdef void *data = cnp.PyArray_DATA(_flat(x, size, plan.size))
    cdef uint8_t *high_data = <uint8_t *>cnp.PyArray_DATA(_flat(high, groups, 1))
    cdef uint8_t *low_data = NULL
    if low is not None:
        low_data = <uint8_t *>cnp.PyArray_DATA(_flat(low, groups, 1))
    if size:
        with nogil:
            fmt_group_bits(&plan, data, high_data, low_data)


RECODINGS = {
    "binary": TERMS_BINARY, "naf": TERMS_NAF, "booth": TERMS_BOOTH, "run_length": TERMS_RUN_LENGTH
}


def count_terms(x, str recoding, out):
    """Effectual terms of each value of a C-contiguous array of integers."""
    cdef Py_ssize_t n = x.size
    cdef int size = x.dtype.itemsize, is_signed = x.dtype.kind == "i", which = RECODINGS[recoding]
    if x.dtype.kind not in "iu" or size not in (1, 2, 4):
        raise TypeError(f"expected integers of 8, 16 or 32 bits, got {x.dtype}")
    cdef void *data = cnp.PyArray_DATA(_flat(x, n, size))
    cdef uint8_t *terms = <uint8_t *>cnp.PyArray_DATA(_flat(out, n, 1))
    with nogil:
        fmt_active.count_terms[2 if size == 4 else size - 1](data, terms, n, is_signed, which)


SLACK = COMPRESS_SLACK


cdef class GroupCodec:
    """Rows of `length` integers in groups at widths of their own; see compress.inc.h.

    Values are those of the groups `first` to ``first + count - 1``, numbered through all rows.
    """

    cdef fmt_compress_plan plan
    cdef Py_ssize_t per_row

    def __init__(self, dtype, str signs, bint sparse, Py_ssize_t length, Py_ssize_t group):
        if dtype.kind not in "iu" or dtype.itemsize not in (1, 2, 4) or length < 1 or group < 1:
            raise TypeError(f"expected integers of 8, 16 or 32 bits in groups, got {dtype}")
        self.plan.size, self.plan.is_signed = dtype.itemsize, dtype.kind == "i"
        self.plan.signs = {"none": SIGNS_NONE, "all": SIGNS_ALL, "each": SIGNS_EACH}[signs]
        self.plan.sparse, self.plan.length, self.plan.group = sparse, length, group
        self.per_row = -(-length // group)

    cdef const fmt_compress_kernels *kernels(self) noexcept nogil:
        return &fmt_active.compress[2 if self.plan.size == 4 else self.plan.size - 1]

    cdef Py_ssize_t position(self, Py_ssize_t group) noexcept:
        """Values before this group."""
        return (group // self.per_row * self.plan.length + group % self.per_row * self.plan.group)

    cdef void *values(self, x, Py_ssize_t first, Py_ssize_t count) except NULL:
        cdef Py_ssize_t size = self.position(first + count) - self.position(first)
        return cnp.PyArray_DATA(_flat(x, size, self.plan.size))

    def measure(self, x, Py_ssize_t first, widths, Py_ssize_t inner=1):
        """Write the groups' widths; whether there are negative values, and payload bits: without zero
        vectors, with signs everywhere and where they must be, and the same with zero vectors.

        inner: the rows are the columns of matrices of so many, and all there are; groups of at most
        65536 values.
        """
        cdef Py_ssize_t count = widths.size, outer = count // (self.per_row * inner)
        if inner > 1 and (first or count != outer * inner * self.per_row
                          or self.plan.group > 1 << 16):
            raise ValueError("columns are measured whole")
        cdef void *data = self.values(x, first, count)
        cdef uint8_t *to = <uint8_t *>cnp.PyArray_DATA(_flat(widths, count, 1))
        cdef fmt_measured found
        memset(&found, 0, sizeof(found))
        with nogil:
            if inner > 1:
                self.kernels().measure_columns(&self.plan, data, outer, inner, to, &found)
            else:
                self.kernels().measure(&self.plan, data, first, count, to, &found)
        return (found.negative != 0, found.dense[0], found.dense[1], found.sparse[0],
                found.sparse[1])

    def encode(self, x, Py_ssize_t first, headers, zeros, payload, int64_t at):
        """Make headers of measured widths and write the streams, the payload from bit `at`.

        There must be room for what was measured and SLACK bytes more.
        """
        cdef Py_ssize_t count = headers.size
        cdef void *data = self.values(x, first, count)
        cdef uint8_t *to = <uint8_t *>cnp.PyArray_DATA(_flat(headers, count, 1))
        cdef uint8_t *bits = <uint8_t *>cnp.PyArray_DATA(_flat(zeros, zeros.size, 1))
        cdef uint8_t *out = <uint8_t *>cnp.PyArray_DATA(_flat(payload, payload.size, 1))
        cdef int64_t zero_at = self.position(first)
        with nogil:
            self.kernels().coder.encode(&self.plan, data, first, count, to, bits, &zero_at, out, &at)
        return at

    def decode(self, Py_ssize_t first, headers, zeros, payload, int64_t at, out):
        """Values of as many groups as there are headers, the payload from bit `at`, to where."""
        cdef Py_ssize_t count = headers.size
        cdef void *data = self.values(out, first, count)
        cdef const uint8_t *widths = <const uint8_t *>cnp.PyArray_DATA(_flat(headers, count, 1))
        cdef int64_t zero_size = zeros.size, size = payload.size
        cdef const uint8_t *bits = <const uint8_t *>cnp.PyArray_DATA(_flat(zeros, zero_size, 1))
        cdef const uint8_t *stream = <const uint8_t *>cnp.PyArray_DATA(_flat(payload, size, 1))
        with nogil:
            at = self.kernels().coder.decode(&self.plan, first, count, widths, bits, zero_size,
                                             stream, size, at, data)
        return at

    def payload_bits(self, Py_ssize_t first, headers, zeros, places=None, Py_ssize_t every=1):
        """Bits of the payload of these groups; writes the place of each `every`th."""
        cdef Py_ssize_t count = headers.size
        cdef int64_t zero_size = zeros.size, bits
        cdef const uint8_t *widths = <const uint8_t *>cnp.PyArray_DATA(_flat(headers, count, 1))
        cdef const uint8_t *vector = <const uint8_t *>cnp.PyArray_DATA(_flat(zeros, zero_size, 1))
        cdef int64_t *to = NULL
        if places is not None:
            to = <int64_t *>cnp.PyArray_DATA(_flat(places, -(-count // every), 8))
        with nogil:
            bits = self.kernels().payload_bits(&self.plan, first, count, widths, vector, zero_size,
                                               every, to)
        return bits


# --- bit planes -----------------------------------------------------------------------------

cdef int _rows_of_planes(x, planes, Py_ssize_t *rows, Py_ssize_t *length) except -1:
    """Check the shapes (rows, length) and (planes, rows, bytes); rows of whole bytes are one."""
    if x.dtype.kind not in "iu" or x.dtype.itemsize not in (1, 2, 4) or x.ndim != 2:
        raise TypeError(f"expected rows of integers of 8, 16 or 32 bits, got {x.dtype}")
    rows[0], length[0] = x.shape
    if planes.shape[1:] != (rows[0], -(-length[0] // 8)):
        raise ValueError(f"planes of shape {planes.shape} are not those of rows of {x.shape}")
    if length[0] % 8 == 0:
        rows[0], length[0] = 1, rows[0] * length[0]
    return 0


def to_planes(x, int bits, planes):
    """The lowest `bits` bits of rows of integers to (bits, rows, bytes), the highest first."""
    cdef Py_ssize_t rows, length, i, stride = planes.shape[1] * planes.shape[2]
    cdef int size = x.dtype.itemsize
    _rows_of_planes(x, planes, &rows, &length)
    if planes.shape[0] != bits or not 1 <= bits <= 8 * size:
        raise ValueError(f"{planes.shape[0]} planes for {bits} bits of {x.dtype}")
    cdef const char *data = <const char *>cnp.PyArray_DATA(_flat(x, rows * length, size))
    cdef uint8_t *out = <uint8_t *>cnp.PyArray_DATA(_flat(planes, bits * stride, 1))
    with nogil:
        for i in range(rows):
            fmt_active.to_planes[2 if size == 4 else size - 1](
                data + i * length * size, length, bits, out + i * ((length + 7) // 8), stride)


def from_planes(planes, int bits, out):
    """Rows of integers of the highest of their `bits` planes; signed types extend the sign."""
    cdef Py_ssize_t rows, length, i, stride = planes.shape[1] * planes.shape[2]
    cdef int size = out.dtype.itemsize, count = planes.shape[0], is_signed = out.dtype.kind == "i"
    _rows_of_planes(out, planes, &rows, &length)
    if not 1 <= count <= bits <= 8 * size:
        raise ValueError(f"{count} planes for {bits} bits of {out.dtype}")
    cdef const uint8_t *data = <const uint8_t *>cnp.PyArray_DATA(_flat(planes, count * stride, 1))
    cdef char *to = <char *>cnp.PyArray_DATA(_flat(out, rows * length, size))
    with nogil:
        for i in range(rows):
            fmt_active.from_planes[2 if size == 4 else size - 1](
                data + i * ((length + 7) // 8), stride, count, bits, is_signed, length,
                to + i * length * size)


cdef int _serial_operand(fmt_serial_operand *to, planes, weights, rows) except -1:
    count, number, words = planes.shape
    to.words = <const uint64_t *>cnp.PyArray_DATA(_flat(planes, count * number * words, 8))
    to.weights = <const int64_t *>cnp.PyArray_DATA(_flat(weights, count, 8))
    to.stride, to.planes = number * words, count
    if rows.size and not 0 <= rows.min() <= rows.max() < number:
        raise IndexError(f"rows beyond {number}")
    return 0


def serial_dot(a, a_weights, a_rows, b, b_weights, b_rows, out):
    """Dot products of pairs of rows, plane by plane: (planes, rows, words), a worth of each plane."""
    cdef fmt_serial_operand left, right
    cdef Py_ssize_t count = out.size, i, words = a.shape[2]
    if b.shape[2] != words:
        raise ValueError(f"rows of {words} and of {b.shape[2]} words")
    _serial_operand(&left, a, a_weights, a_rows)
    _serial_operand(&right, b, b_weights, b_rows)
    cdef const int64_t *a_row = <const int64_t *>cnp.PyArray_DATA(_flat(a_rows, count, 8))
    cdef const int64_t *b_row = <const int64_t *>cnp.PyArray_DATA(_flat(b_rows, count, 8))
    cdef int64_t *to = <int64_t *>cnp.PyArray_DATA(_flat(out, count, 8))
    with nogil:
        for i in range(count):
            to[i] = fmt_active.serial_dot(&left, a_row[i], &right, b_row[i], words)


def multiply_by_table(a, b, factors, out):
    """Products of stacks of matrices of float32; `factors` are those of all pairs of mantissas."""
    cdef fmt_table_product plan
    cdef Py_ssize_t count, i, entries = factors.shape[0]
    count, plan.rows, plan.columns = out.shape
    plan.depth = a.shape[2]
    if a.shape != (count, plan.rows, plan.depth) or b.shape != (count, plan.depth, plan.columns):
        raise ValueError(f"stacks of shapes {a.shape}, {b.shape} and {out.shape}")
    if factors.shape != (entries, entries) or entries not in (2, 4, 8, 16, 32, 64, TABLE_MANTISSAS):
        raise ValueError(f"a table of shape {factors.shape}")
    plan.mantissa_bits = int(entries).bit_length() - 1
    lines = np.empty(TABLE_LINES, np.float32)
    cdef Py_ssize_t size_a = plan.rows * plan.depth, size_b = plan.depth * plan.columns
    plan.a = <const float *>cnp.PyArray_DATA(_flat(a, count * size_a, 4))
    plan.b = <const float *>cnp.PyArray_DATA(_flat(b, count * size_b, 4))
    plan.factors = <const float *>cnp.PyArray_DATA(_flat(factors, entries * entries, 4))
    plan.lines = <float *>cnp.PyArray_DATA(_flat(lines, TABLE_LINES, 4))
    cdef float *to = <float *>cnp.PyArray_DATA(_flat(out, out.size, 4))
    with nogil:
        for i in range(count):
            fmt_active.multiply_by_table(&plan, to + i * plan.rows * plan.columns)
            plan.a += size_a
            plan.b += size_b


# --- block matmul ---------------------------------------------------------------------------

cdef int _fill_matrix(fmt_matrix *to, codes, scales, fmt) except -1:
    """An operand: codes (batch, vectors, depth) and scales (batch, vectors, groups), any strides."""
    batch, count, depth = codes.shape
    cdef int size = codes.dtype.itemsize
    groups = -(-depth // fmt.block_size)
    if codes.dtype != fmt.code_dtype or scales.dtype != np.uint8:
        raise TypeError(f"expected {fmt.code_dtype} and uint8, got {codes.dtype}, {scales.dtype}")
    if scales.shape != (batch, count, groups):
        raise TypeError(f"expected scales {(batch, count, groups)}, got {scales.shape}")
    if not codes.flags.aligned or any(stride % size for stride in codes.strides):
        raise TypeError("expected aligned codes")
    memset(to, 0, sizeof(to[0]))
    to.codes, to.type = cnp.PyArray_DATA(codes), TYPE_INT1 if size == 1 else TYPE_INT2
    to.count, to.group = count, fmt.block_size
    to.batch_stride, to.vector_stride, to.step_stride = (s // size for s in codes.strides)
    to.scales = <const uint8_t *>cnp.PyArray_DATA(scales)
    to.scale_batch, to.scale_vector, to.scale_step = scales.strides
    to.mantissa, to.bias, to.nan = fmt.mantissa_bits, fmt.scale.bias, fmt.scale.nan_code
    return 0


class Packing:
    """One matrix, packed for the matmul of a target; see matmul.c."""

    def __init__(self, codes, scales, fmt, bint is_a):
        cdef fmt_matrix m
        _fill_matrix(&m, codes[None], scales[None], fmt)
        cdef Py_ssize_t depth = codes.shape[1]
        cdef int layout = fmt_matmul_layout(&m, &m, depth), works = 1
        cdef cnp.ndarray data = np.empty(fmt_packing_size(&m, is_a, depth, layout), np.uint8)
        cdef void *to = cnp.PyArray_DATA(data)
        if codes.size:
            with nogil:
                works = fmt_pack_matrix(&m, is_a, depth, layout, to)
        if not works:
            raise MemoryError("no memory for packing an operand of matmul")
        data.flags.writeable = False
        self.data, self.layout, self.count, self.target = data, layout, m.count, cpu_target()


cdef int _use_packing(fmt_matrix *to, packing, Py_ssize_t first) except -1:
    data, layout = packing.data, packing.layout
    to.packing, to.packed_count = cnp.PyArray_DATA(data), packing.count
    to.packed_layout, to.first_packed = layout, first
    return 0


def matmul_scratch(a, b):
    """Bytes of memory that `matmul_blocks` works in, for the same operands."""
    cdef fmt_matmul_plan plan
    _fill_matrix(&plan.a, a.codes, a.scales, a.format)
    _fill_matrix(&plan.b, b.codes, b.scales, b.format)
    plan.batch, _, plan.depth = a.codes.shape
    return fmt_matmul_scratch(&plan)


def matmul_blocks(a, b, c, a_packing=None, b_packing=None, Py_ssize_t first_row=0, bint fresh=False):
    """c += the products of the rows of a and b, added up as in an fMAC; c = them if `fresh`.

    Operands have `codes` (batch, rows, depth), `scales` (batch, rows, groups) and a `format`.
    Packings are of all rows of a, of which `codes` has those from `first_row` on, and of b; they
    are used where they serve.
    """
    cdef fmt_matmul_plan plan
    batch, rows, depth = a.codes.shape
    columns = b.codes.shape[1]
    if (<object>b.codes).shape != (batch, columns, depth):
        raise TypeError(f"expected operands of one batch and depth, got {b.codes.shape}")
    _fill_matrix(&plan.a, a.codes, a.scales, a.format)
    _fill_matrix(&plan.b, b.codes, b.scales, b.format)
    cdef cnp.ndarray out = _check(c, np.dtype(np.float32), (batch, rows, columns))
    plan.batch, plan.depth, plan.fresh = batch, depth, fresh
    if 0 in (batch, rows, depth, columns):
        if fresh:
            c[...] = 0
        return
    kept = [x for x in (a_packing, b_packing) if x is not None and x.target == cpu_target()]
    if kept and batch == 1 and plan.a.group == plan.b.group:
        layout = min([fmt_matmul_layout(&plan.a, &plan.b, depth)] + [x.layout for x in kept])
        if any(x is a_packing and x.layout == layout for x in kept):
            _use_packing(&plan.a, a_packing, first_row)
        if any(x is b_packing and x.layout == layout for x in kept):
            _use_packing(&plan.b, b_packing, 0)
    cdef void *scratch = malloc(fmt_matmul_scratch(&plan))
    if scratch == NULL:
        raise MemoryError("no memory for the scratch of matmul")
    cdef float *to = <float *>cnp.PyArray_DATA(out)
    with nogil:
        fmt_matmul(&plan, to, scratch)
    free(scratch)


# --- storage --------------------------------------------------------------------------------

def pack_codes(codes, int width):
    """Pack an integer array of at most 32 bits, C-contiguous, into uint8: see pack.c."""
    cdef cnp.ndarray code_array = _check(codes, codes.dtype, codes.shape)
    cdef int type = CODE_TYPES[codes.dtype.name]
    cdef Py_ssize_t count = codes.size
    if not 1 <= width <= 8 * codes.dtype.itemsize:
        raise ValueError(f"{codes.dtype} has no {width} bits")
    cdef cnp.ndarray packed = np.empty(packed_size(count, width), np.uint8)
    cdef void *code_data = cnp.PyArray_DATA(code_array)
    cdef uint8_t *packed_data = <uint8_t *>cnp.PyArray_DATA(packed)
    if count:
        with nogil:
            fmt_pack(code_data, type, width, count, packed_data)
    return packed


def unpack_codes(packed, int width, codes):
    """Fill `codes`, C-contiguous, from its packed form; signed types extend the sign."""
    cdef cnp.ndarray code_array = _check(codes, codes.dtype, codes.shape)
    cdef int type = CODE_TYPES[codes.dtype.name]
    cdef Py_ssize_t count = codes.size
    cdef bint is_signed = codes.dtype.kind == "i"
    if not 1 <= width <= 8 * codes.dtype.itemsize:
        raise ValueError(f"{codes.dtype} has no {width} bits")
    cdef cnp.ndarray packed_array = _check(packed, np.dtype(np.uint8), (packed_size(count, width),))
    cdef void *code_data = cnp.PyArray_DATA(code_array)
    cdef uint8_t *packed_data = <uint8_t *>cnp.PyArray_DATA(packed_array)
    if count:
        with nogil:
            fmt_unpack(packed_data, width, is_signed, count, code_data, type)


def transpose(cnp.ndarray x, cnp.ndarray out):
    """Integers of (outer, rows, columns) to (outer, columns, rows), the last axes contiguous."""
    cdef Py_ssize_t outer = x.shape[0], rows = x.shape[1], columns = x.shape[2], i
    cdef int size = x.dtype.itemsize
    if (x.dtype != out.dtype or not x.dtype.isnative or size not in (1, 2, 4) or x.ndim != 3
            or (<object>out).shape != (outer, columns, rows) or x.strides[2] != size
            or out.strides[2] != size or x.strides[1] % size or out.strides[1] % size
            or not out.flags.writeable):
        raise TypeError("expected matrices of integers, the last axis contiguous")
    cdef const char *from_ = <const char *>cnp.PyArray_DATA(x)
    cdef char *to = <char *>cnp.PyArray_DATA(out)
    cdef Py_ssize_t x_step = x.strides[0], x_row = x.strides[1] // size
    cdef Py_ssize_t out_step = out.strides[0], out_row = out.strides[1] // size
    with nogil:
        for i in range(outer):
            fmt_transpose(from_ + i * x_step, x_row, to + i * out_step, out_row, rows, columns, size)


def packed_size(count, width):
    """Bytes that `count` packed codes of `width` bits take."""
    return -(-count * width // 8)


def crc32c(data, uint32_t start=0):
    """CRC-32C of bytes, going on from the checksum `start` of what came before them.

    Examples
    --------
    >>> from fmtlib._core.kernels import crc32c
    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    cdef const uint8_t[::1] view = memoryview(data).cast("B") if len(data) else b""
    cdef size_t count = view.shape[0]
    cdef uint32_t crc = start
    if count:
        with nogil:
            crc = fmt_crc32c(&view[0], count, crc)
    return crc


fmt_crc32c_init()
fmt_lanes_init()


# --- codes as numbers -----------------------------------------------------------------------

def lookup(codes, table, out):
    """``out[i] = table[codes[i]]`` of 1-d arrays; the table has all 2**8 or 2**16 entries."""
    cdef Py_ssize_t n = len(codes)
    cdef int code_size = codes.dtype.itemsize, entry_size = table.dtype.itemsize
    if codes.dtype.kind != "u" or code_size > 2 or table.dtype.kind not in "iu" or entry_size > 4:
        raise TypeError(f"expected codes of at most 16 bits, got {codes.dtype}, {table.dtype}")
    cdef cnp.ndarray code_array = _check(codes, codes.dtype, (n,))
    cdef cnp.ndarray table_array = _check(table, table.dtype, (1 << 8 * code_size,))
    cdef cnp.ndarray out_array = _check(out, table.dtype, (n,))
    cdef void *code_data = cnp.PyArray_DATA(code_array)
    cdef void *table_data = cnp.PyArray_DATA(table_array)
    cdef void *out_data = cnp.PyArray_DATA(out_array)
    with nogil:
        fmt_lookup(code_data, code_size, table_data, entry_size, out_data, n)


# What is summed of a channel: fmt_errors.
ERRORS = np.dtype(
    [(name, np.float64) for name in ("sum_squares", "sum_squared_errors", "max_error",
                                        "max_ulp_error")]
    + [(name, np.int64) for name in ("count", "nan", "infinite", "nonfinite", "inexact",
                                     "overflow", "underflow", "flushed")]
)
assert ERRORS.itemsize == sizeof(fmt_errors)


def add_errors(fmt, str rounding, int random_bits, x, q, scales, zero_points, words,
               Py_ssize_t first, Py_ssize_t length, Py_ssize_t inner, Py_ssize_t first_channel,
               out):
    """Add what quantising did to the elements x to the sums of their channels.

    All 1-d: x and their quantised values q, float64; None or float64 scales, int64 zero points
    and uint32 words; `out`, ERRORS, of the channels from first_channel on.  Element i is of
    channel ``(first + i) // inner % length``.
    """
    cdef fmt_statistics_plan plan
    cdef Py_ssize_t n = len(x)
    cdef bint is_float = isinstance(fmt, FloatFormat)
    memset(&plan, 0, sizeof(plan))
    _fill_rounding(&plan.spec, rounding, random_bits)
    if is_float:
        _fill_float(&plan.spec, fmt, rounding, "saturate")
        # codes that run on past the greatest one, the sign out of their way
        plan.spec.max_code = plan.spec.negative_code = 0x3FFFFFFF
        plan.spec.sign_bit = plan.spec.zero_sign = plan.spec.nan_sign = 1 << 31
        if not fmt.subnormals:
            plan.spec.negative_zero_code = plan.spec.negative_code
        plan.max_code = fmt.max_code
        plan.mantissa_bits = fmt.mantissa_bits
        exponents = fmt.min_exponent, fmt.max_exponent
        plan.no_zero = not fmt.subnormals
        limits = [fmt.max, fmt.max if fmt.signed else 0.0]
    else:
        _fill_integer(&plan.spec, fmt, "saturate")
        plan.spec.min_integer, plan.spec.max_integer = -(1 << 31), (1 << 31) - 1
        plan.min_integer, plan.max_integer = fmt.min_integer, fmt.max_integer
        exponents = fmt.quantum_exponent, fmt.quantum_exponent
        least, most = (0, 0) if zero_points is None or not n else (
            int(zero_points.min()), int(zero_points.max()))
        limits = [(fmt.max_integer - most) * 2.0**fmt.quantum_exponent,
                  (least - fmt.min_integer) * 2.0**fmt.quantum_exponent]
    plan.is_float = is_float
    plan.limit[0], plan.limit[1] = np.array(limits).view(np.uint64).tolist()
    plan.min_field, plan.max_field = (exponent + 1023 for exponent in exponents)
    plan.least_normal = 2.0**exponents[0]
    plan.length, plan.inner = length, inner
    last = first_channel + len(out) - 1
    touched = {(first + i) // inner % length for i in (0, n - 1)} if n else set()
    if n + first % (length * inner) > length * inner:
        touched = {0, length - 1}
    if any(not first_channel <= channel <= last for channel in touched):
        raise ValueError(f"expected the channels {touched} to be from {first_channel} to {last}")
    cdef cnp.ndarray x_array = _check(x, np.dtype(np.float64), (n,))
    cdef cnp.ndarray q_array = _check(q, np.dtype(np.float64), (n,))
    cdef cnp.ndarray out_array = _check(out, ERRORS, (len(out),))
    cdef cnp.ndarray scale_array, zero_array, word_array
    cdef double *scale_data = NULL
    cdef int64_t *zero_data = NULL
    cdef uint32_t *word_data = NULL
    if scales is not None:
        scale_array = _check(scales, np.dtype(np.float64), (n,))
        scale_data = <double *>cnp.PyArray_DATA(scale_array)
    if zero_points is not None:
        zero_array = _check(zero_points, np.dtype(np.int64), (n,))
        zero_data = <int64_t *>cnp.PyArray_DATA(zero_array)
    if words is not None:
        word_array = _check(words, np.dtype(np.uint32), (n,))
        word_data = <uint32_t *>cnp.PyArray_DATA(word_array)
    cdef double *x_data = <double *>cnp.PyArray_DATA(x_array)
    cdef double *q_data = <double *>cnp.PyArray_DATA(q_array)
    cdef fmt_errors *out_data = <fmt_errors *>cnp.PyArray_DATA(out_array)
    with nogil:
        fmt_statistics(&plan, x_data, q_data, scale_data, zero_data, word_data, first, n,
                       first_channel, out_data)


# --- products with any accumulator ----------------------------------------------------------

NUMBER = np.dtype(
    {"names": ["magnitude", "exponent", "negative", "kind"], "formats": ["u8", "i4", "u1", "u1"],
     "offsets": [0, 8, 12, 13], "itemsize": 16}
)
assert NUMBER.itemsize == sizeof(fmt_number)

cdef dict ROUNDING_NUMBERS = {
    "nearest_even": ROUND_NEAREST_EVEN,
    "nearest_away": ROUND_NEAREST_AWAY,
    "toward_zero": ROUND_TOWARD_ZERO,
    "up": ROUND_UP,
    "down": ROUND_DOWN,
    "to_odd": ROUND_TO_ODD,
}
cdef dict OVERFLOW_NUMBERS = {
    "nonsaturating": OVERFLOW_NONSATURATING,
    "infinity": OVERFLOW_INFINITY,
    "saturate": OVERFLOW_SATURATE,
    "wrap": OVERFLOW_WRAP,
}
cdef dict OPERAND_FAMILIES = {
    "table": OPERAND_TABLE,
    "twos_complement": OPERAND_TWOS_COMPLEMENT,
    "unsigned": OPERAND_UNSIGNED,
    "sign_magnitude": OPERAND_SIGN_MAGNITUDE,
}


cdef void _fill_register(fmt_register *to, register) except *:
    if register is None:
        to.kind = REGISTER_NONE
        to.rounding = ROUND_TOWARD_ZERO
        return
    to.kind = REGISTER_FIXED if register.is_fixed else REGISTER_FLOAT
    to.mantissa_bits = register.mantissa_bits
    if register.is_fixed:
        to.least = register.quantum_exponent
    else:
        to.least, to.greatest = register.min_exponent, register.max_exponent
    to.rounding = ROUNDING_NUMBERS[register.rounding]
    to.overflow = OVERFLOW_NUMBERS[register.overflow]
    to.flush = register.underflow == "flush"


cdef Py_ssize_t _elements(Py_ssize_t stride, Py_ssize_t itemsize) except? -1:
    if stride % itemsize:
        raise TypeError(f"a stride of {stride} bytes is no multiple of {itemsize}")
    return stride // itemsize


cdef cnp.ndarray _number_table(numbers):
    cdef cnp.ndarray table = numbers.table
    return _check(table, NUMBER, (1 << numbers.bits if numbers.family == "table" else 0,))


cdef tuple _fill_operand(fmt_operand *to, operand, shape):
    """Fill the record; what is returned must live as long as it."""
    cdef cnp.ndarray codes = operand.codes
    numbers = operand.numbers
    cdef cnp.ndarray table = _number_table(numbers)
    cdef cnp.ndarray scales, scale_table
    if (<object>codes).shape != shape or not (
        cnp.PyArray_ISALIGNED(codes) and cnp.PyArray_ISNOTSWAPPED(codes)
    ):
        raise TypeError(f"expected aligned codes {shape}, got {(<object>codes).shape}")
    to.type = CODE_TYPES[codes.dtype.name]
    to.codes = cnp.PyArray_DATA(codes)
    to.family = OPERAND_FAMILIES[numbers.family]
    to.bits, to.exponent = numbers.bits, numbers.exponent
    to.low, to.high = numbers.low, numbers.high
    to.fraction_bits = operand.fraction_bits
    width = codes.dtype.itemsize
    to.batch_stride = _elements(cnp.PyArray_STRIDE(codes, 0), width)
    to.row_stride = _elements(cnp.PyArray_STRIDE(codes, 1), width)
    to.step = _elements(cnp.PyArray_STRIDE(codes, 2), width)
    to.table = <const fmt_number *>cnp.PyArray_DATA(table)
    fmt = operand.format
    to.plain_float = (
        isinstance(fmt, FloatFormat) and fmt.signed and fmt.infinities and fmt.subnormals
        and fmt.nan == "ieee" and fmt.bias >= 0
        and to.table[1].magnitude == 1  # not flushed to zero
    )
    to.tensor = 1
    if operand.scales is None:
        return codes, table
    scales = operand.scales
    numbers = operand.scale_numbers
    scale_table = _number_table(numbers)
    groups = -(-shape[2] // operand.group)
    if (<object>scales).shape != (*shape[:2], groups) or not (
        cnp.PyArray_ISALIGNED(scales) and cnp.PyArray_ISNOTSWAPPED(scales)
    ):
        raise TypeError(f"expected scales {(*shape[:2], groups)}, got {(<object>scales).shape}")
    to.group = operand.group
    to.scale_type = CODE_TYPES[scales.dtype.name]
    to.scales = cnp.PyArray_DATA(scales)
    to.scale_table = <const fmt_number *>cnp.PyArray_DATA(scale_table)
    to.scale_low, to.scale_high = numbers.low, numbers.high
    to.scale_bits, to.tensor = operand.scale_bits, operand.tensor
    width = scales.dtype.itemsize
    to.scale_batch = _elements(cnp.PyArray_STRIDE(scales, 0), width)
    to.scale_row = _elements(cnp.PyArray_STRIDE(scales, 1), width)
    to.scale_step = _elements(cnp.PyArray_STRIDE(scales, 2), width)
    return codes, table, scales, scale_table


def accumulate(a, b, accumulator, result, c):
    """c = the accumulator's sum of c and the products of the rows of a and b.

    Operands have `codes` (batch, rows, depth) of an unsigned type; `numbers`, which tells how they
    become numbers; codes of `scales` (batch, rows, groups) and `scale_numbers`, or None, and the
    `group` that shares one.  Codes are in the range of their format.  c is float32 or float64
    (batch, rows of a, rows of b); `result` is the register that it is rounded to.
    """
    cdef fmt_product plan
    cdef cnp.ndarray parts, out = c
    memset(&plan, 0, sizeof(plan))
    plan.batch, plan.rows, plan.depth = a.codes.shape
    plan.columns = b.codes.shape[1]
    kept = (
        _fill_operand(&plan.a, a, (plan.batch, plan.rows, plan.depth)),
        _fill_operand(&plan.b, b, (plan.batch, plan.columns, plan.depth)),
    )
    if c.shape != (plan.batch, plan.rows, plan.columns) or not (
        cnp.PyArray_ISBEHAVED(out) and c.dtype in (np.float32, np.float64)
    ):
        raise TypeError(f"expected floats {(plan.batch, plan.rows, plan.columns)}, got {c.shape}")
    width = c.dtype.itemsize
    plan.c, plan.c_type = cnp.PyArray_DATA(out), TYPE_F32 if width == 4 else TYPE_F64
    plan.c_batch = _elements(cnp.PyArray_STRIDE(out, 0), width)
    plan.c_row = _elements(cnp.PyArray_STRIDE(out, 1), width)
    plan.c_column = _elements(cnp.PyArray_STRIDE(out, 2), width)
    plan.terms = accumulator.terms or max(plan.depth, 1)
    plan.aligned = accumulator.alignment_bits is not None
    plan.alignment_bits = accumulator.alignment_bits or 0
    plan.alignment_rounding = ROUNDING_NUMBERS[accumulator.alignment_rounding]
    plan.least_alignment = -(1 << 28)
    if accumulator.min_exponent is not None:
        plan.least_alignment = accumulator.min_exponent
    plan.late = accumulator.start == "late"
    plan.signed_zero = accumulator.zero == "signed"
    plan.pairwise = accumulator.order == "pairwise"
    plan.promotion_terms = accumulator.promotion_terms or 0
    scaled = a.scales is not None or b.scales is not None
    plan.scales_groups = scaled and accumulator.scales == "groups"
    plan.scales_promotion = scaled and accumulator.scales == "promotion"
    plan.scales_end = scaled and accumulator.scales == "end"
    if isinstance(accumulator.order, tuple):
        if sum(accumulator.order) != plan.depth:
            raise ValueError("the parts do not add up to the depth")
        parts = np.array(accumulator.order, np.intp)
        plan.parts = <const Py_ssize_t *>cnp.PyArray_DATA(parts)
        plan.part_count = len(accumulator.order)
    _fill_register(&plan.product, accumulator.product)
    _fill_register(&plan.partial, accumulator.partial)
    _fill_register(&plan.total, accumulator.total)
    _fill_register(&plan.promotion, accumulator.promotion)
    _fill_register(&plan.result, result)
    if 0 in (plan.batch, plan.rows, plan.columns):
        return
    cdef cnp.ndarray scratch = np.empty(fmt_accumulate_scratch(&plan) // 8 + 1, np.float64)
    cdef void *memory = cnp.PyArray_DATA(scratch)
    with nogil:
        fmt_accumulate(&plan, memory)
