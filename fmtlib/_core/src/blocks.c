/* Groups that share something: a scale (block formats) or a width (group_bits).
 *
 * A block-coded array is seen as (outer, rows, middle, columns, inner), C-contiguous, with groups
 * of tile_rows x tile_columns; blocks along one axis have one row.  There are three ways through
 * memory, for all families of formats alike:
 *
 *   panel    inner is 1 and groups are narrow: runs along rows, several groups side by side
 *   long run inner is 1 and a group is wider than a chunk: one group at a time
 *   columns  inner is more: a group is a column, and neighbouring columns are worked on at once
 *
 * In each: the greatest magnitude of each group, its scale from that, then the elements, rounded
 * once.  A power-of-two scale is an exponent; rounding to x / 2**E moves the target's binades, x
 * itself is not touched.  Scales that are floats (RULE_AMAX) multiply in float32, as defined. */
#include <math.h>
#include <string.h>

#include "environment.h"
#include "kernels.h"

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static ptrdiff_t parts(ptrdiff_t length, ptrdiff_t size) { return length / size + (length % size != 0); }

typedef struct {
    uint64_t bits64[CHUNK], max64[CHUNK];
    uint32_t bits32[CHUNK], max32[CHUNK];
    uint32_t codes[CHUNK], words[CHUNK];
    /* By element: the exponent of its scale; or, RULE_AMAX, what it is multiplied by to encode
     * (bits of a float) and to decode (bits of a double). */
    union {
        int32_t exponents[CHUNK];
        uint32_t factors[CHUNK];
    };
    uint64_t values[CHUNK];
    uint32_t scales[CHUNK]; /* the codes of scales, at the first element of a group */
    uint64_t maxima[CHUNK]; /* by group: bits of the greatest magnitude */
    uint8_t carries[CHUNK];
    /* RULE_AMAX, by scale code: the value of a scale (bits of a float), and the same times the
     * scale of the array (bits of a double). */
    uint32_t scale_bits[256];
    uint64_t scale_values[256];
    int nonfinite;
    int deep; /* subnormals of float32 may be normal elements here */
} stages;

static int is_wide(const fmt_block_plan *plan)
{
    return plan->source == TYPE_F64 && plan->rule != RULE_AMAX;
}

/* The bits of n elements from index: uint32_t of float32, or uint64_t of float64 if wide. */
static const void *load(const fmt_block_plan *plan, const void *x, ptrdiff_t index, ptrdiff_t n,
                        stages *s)
{
    switch (plan->source) {
    case TYPE_F16: fmt_active->widen16((const uint16_t *)x + index, s->bits32, n); return s->bits32;
    case TYPE_BF16: fmt_active->widen_bf16((const uint16_t *)x + index, s->bits32, n); return s->bits32;
    case TYPE_F32: return (const uint32_t *)x + index;
    default:
        if (is_wide(plan))
            return (const uint64_t *)x + index;
        fmt_active->narrow32((const uint64_t *)x + index, s->bits32, n);
        return s->bits32;
    }
}

static uint64_t run_max(const fmt_block_plan *plan, const void *bits, ptrdiff_t n)
{
    if (n <= 4 && !is_wide(plan)) { /* sub-blocks are that short; a call would take longer */
        uint32_t max = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            const uint32_t magnitude = ((const uint32_t *)bits)[i] & 0x7fffffff;
            max = magnitude > max ? magnitude : max;
        }
        return max;
    }
    return is_wide(plan) ? fmt_active->absmax_run64(bits, n) : fmt_active->absmax_run32(bits, n);
}

/* --- scales -------------------------------------------------------------------------------- */

/* ceil(log2(max + 1e-8)), exactly; max > 0. */
static int32_t hbfp_exponent(double max)
{
    const double epsilon = 1e-8;
    int exponent;
    frexp(max, &exponent); /* max < 2**exponent */
    if (exponent <= -26)
        return max <= 0x1p-26 - epsilon ? -26 : -25; /* the difference is exact */
    return ldexp(1, exponent) - max >= epsilon ? exponent : exponent + 1; /* and so is this one */
}

/* Exponent of the scale for a finite maximum above 0, not yet within the window. */
static int32_t rule_exponent(const fmt_block_plan *plan, uint64_t max)
{
    const int mantissa = is_wide(plan) ? 52 : 23, bias = is_wide(plan) ? 1023 : 127;
    const int32_t field = (int32_t)(max >> mantissa);
    const int top = 63 - __builtin_clzll(max);
    const int32_t exponent = field ? field - bias : top - (bias + mantissa - 1);
    /* the significand of max as 53 bits, the top one set */
    const uint64_t one = (uint64_t)1 << 52;
    const uint64_t s = field ? ((max << (52 - mantissa)) & (one - 1)) | one : max << (52 - top);
    switch (plan->rule) {
    case RULE_FLOOR: return exponent - plan->emax;
    case RULE_CEIL: return exponent - plan->emax + (s != one);
    case RULE_EVEN: return exponent - plan->emax + (s + (one >> plan->precision) >= 2 * one);
    case RULE_RCEIL: {
        /* q = max / max_element = (s / t) * 2**(exponent - emax).  Rounded to float32, q is a
         * power of two if it is above one by at most half a unit in the last place, which is
         * 2**-24 of it; twice that for the one binade of subnormals that matters. */
        const uint64_t t = (uint64_t)plan->max_significand << 29;
        const int below = s < t;
        const int32_t foot = exponent - plan->emax - below;
        const uint64_t half_unit = (uint64_t)plan->max_significand << (foot < -126 ? 6 : 5);
        return foot + ((s << below) > t + half_unit);
    }
    default: {
        double value;
        if (is_wide(plan)) {
            memcpy(&value, &max, sizeof value);
        } else {
            const uint32_t bits = (uint32_t)max;
            float narrow;
            memcpy(&narrow, &bits, sizeof narrow);
            value = narrow;
        }
        return hbfp_exponent(value) - 1 - plan->emax;
    }
    }
}

static int32_t least_exponent(const fmt_block_plan *plan) { return -plan->spec.block_bias; }

static int32_t greatest_exponent(const fmt_block_plan *plan)
{
    return plan->spec.block_max_code - plan->spec.block_bias;
}

/* The same within the window, also for the maximum of a sub-block. */
static inline int32_t group_exponent(const fmt_block_plan *plan, uint64_t max)
{
    const int32_t least = least_exponent(plan), greatest = greatest_exponent(plan);
    const int32_t field = (int32_t)(max >> (is_wide(plan) ? 52 : 23));
    if (max == 0)
        return least;
    const int32_t exponent = field && plan->rule == RULE_FLOOR
                                 ? field - (is_wide(plan) ? 1023 : 127) - plan->emax
                                 : rule_exponent(plan, max);
    return exponent < least ? least : exponent > greatest ? greatest : exponent;
}

/* Codes of n values in float32; one of its subnormals may be a normal number of the format. */
static void encode_floats(const fmt_spec *spec, const uint32_t *bits, const uint32_t *words,
                          ptrdiff_t n, stages *s)
{
    if (spec->min_exponent >= -126) {
        fmt_active->encode_float32(bits, words, s->codes, n, spec);
        return;
    }
    fmt_active->widen32(bits, s->bits64, n);
    fmt_active->encode_float64(s->bits64, words, s->codes, n, spec);
}

/* Exponents, or factors, and codes of the scales of n groups, from their maxima: those of group g
 * at element g * width. */
static void set_scales(const fmt_block_plan *plan, ptrdiff_t n, ptrdiff_t width, stages *s)
{
    const uint64_t infinite = is_wide(plan) ? (uint64_t)0x7ff << 52 : (uint64_t)0xff << 23;
    for (ptrdiff_t g = 0; plan->rule != RULE_AMAX && g < n; g++) {
        const uint64_t max = s->maxima[g];
        const int nonfinite = max >= infinite;
        const int32_t exponent = nonfinite ? NAN_EXPONENT : group_exponent(plan, max);
        s->nonfinite |= nonfinite;
        s->scales[g * width] = (uint32_t)(nonfinite ? plan->spec.block_max_code + 1
                                                    : exponent + plan->spec.block_bias);
        s->deep |= (max != 0) & (exponent + plan->spec.min_exponent < -126);
        /* zeros are zeros by any scale; this one keeps them off the deep end */
        s->exponents[g * width] = max ? exponent : -plan->spec.min_exponent;
    }
    if (plan->rule != RULE_AMAX)
        return;
    for (ptrdiff_t g = 0; g < n; g++) {
        const uint32_t bits = (uint32_t)s->maxima[g];
        float share;
        memcpy(&share, &bits, sizeof share);
        share /= plan->max_element;
        share *= plan->encode_scale;
        memcpy(&s->words[g], &share, sizeof share);
        s->words[g] = s->maxima[g] < infinite ? s->words[g] : 0x7fc00000;
        s->nonfinite |= s->maxima[g] >= infinite;
    }
    encode_floats(&plan->scale_spec, s->words, NULL, n, s);
    for (ptrdiff_t g = 0; g < n; g++) {
        const uint32_t code = s->codes[g];
        float scale, factor = 0; /* 0 where codes are to be 0: for a scale of 0, and for NaN */
        memcpy(&scale, &s->scale_bits[code], sizeof scale);
        if (scale > 0) {
            factor = 1.0f / (scale * plan->decode_scale);
            factor = factor < HUGE_VALF ? factor : 0x1.fffffep127f;
        }
        memcpy(&s->factors[g * width], &factor, sizeof factor);
        s->values[g * width] = s->scale_values[code];
        s->scales[g * width] = code;
    }
}

/* Element i's scale for elements up to end - 1. */
static void spread_scale(const fmt_block_plan *plan, ptrdiff_t i, ptrdiff_t end, stages *s)
{
    const uint32_t factor = s->factors[i]; /* or the exponent */
    for (ptrdiff_t j = i; j < end; j++)
        s->factors[j] = factor;
    if (plan->rule != RULE_AMAX)
        return;
    const uint64_t value = s->values[i];
    for (ptrdiff_t j = i; j < end; j++)
        s->values[j] = value;
}

static void store_scale(const fmt_block_plan *plan, void *scales, ptrdiff_t index, uint32_t code)
{
    switch (plan->scale_type) {
    case TYPE_INT1: ((uint8_t *)scales)[index] = (uint8_t)code; return;
    case TYPE_INT2: ((uint16_t *)scales)[index] = (uint16_t)code; return;
    default: ((uint32_t *)scales)[index] = code; return;
    }
}

static uint32_t load_scale(const fmt_block_plan *plan, const void *scales, ptrdiff_t index)
{
    switch (plan->scale_type) {
    case TYPE_INT1: return ((const uint8_t *)scales)[index];
    case TYPE_INT2: return ((const uint16_t *)scales)[index];
    default: return ((const uint32_t *)scales)[index];
    }
}

static void start(const fmt_block_plan *plan, stages *s)
{
    s->nonfinite = s->deep = 0;
    if (plan->rule != RULE_AMAX)
        return;
    for (int code = 0; code < 256; code++)
        s->codes[code] = (uint32_t)code;
    fmt_active->decode_float32(s->codes, s->scale_bits, 256, &plan->scale_spec);
    fmt_active->decode_float64(s->codes, s->scale_values, 256, &plan->scale_spec);
    const double scale = plan->decode_scale;
    for (int code = 0; code < 256; code++) {
        double value;
        memcpy(&value, &s->scale_values[code], sizeof value);
        value *= scale; /* exact: 8 bits times 24 */
        memcpy(&s->scale_values[code], &value, sizeof value);
    }
}

/* --- elements ------------------------------------------------------------------------------ */

/* Codes of n elements, by the scales in s; room: for the carry of integer elements. */
static void round_run(const fmt_block_plan *plan, const void *x, ptrdiff_t index, ptrdiff_t n,
                      int room, stages *s)
{
    const fmt_kernels *k = fmt_active;
    const uint32_t *words = NULL;
    if (plan->stochastic) {
        k->philox(plan->seed, plan->stream, plan->first + (uint64_t)index, s->words, n);
        words = s->words;
    }
    const void *bits = load(plan, x, index, n, s);
    if (plan->rule == RULE_AMAX) {
        k->multiply32(bits, s->factors, s->bits32, n);
        encode_floats(&plan->spec, s->bits32, words, n, s);
        for (ptrdiff_t i = 0; i < n; i++) /* groups of NaN, and those whose scale is 0 */
            s->codes[i] = s->factors[i] ? s->codes[i] : 0;
        return;
    }
    if (!plan->float_elements) {
        if (is_wide(plan))
            k->encode_block64(bits, s->exponents, words, s->codes, n, &plan->spec, room);
        else
            k->encode_block32(bits, s->exponents, words, s->codes, n, &plan->spec, room);
    } else if (is_wide(plan)) {
        k->encode_block_float64(bits, s->exponents, words, s->codes, n, &plan->spec);
    } else if (s->deep) {
        k->widen32(bits, s->bits64, n);
        k->encode_block_float64(s->bits64, s->exponents, words, s->codes, n, &plan->spec);
    } else {
        k->encode_block_float32(bits, s->exponents, words, s->codes, n, &plan->spec);
    }
}

/* Note the elements whose magnitude rounds up past the greatest code. */
static void note_carries(const fmt_block_plan *plan, const void *x, ptrdiff_t index, ptrdiff_t n,
                         stages *s)
{
    round_run(plan, x, index, n, 1, s);
    for (ptrdiff_t j = 0; j < n; j++)
        s->carries[j] |= (uint8_t)(s->codes[j] >> plan->spec.block_mantissa & 1);
}

/* If there was a carry, the next greater scale for element i, if the window has one. */
static void bump(const fmt_block_plan *plan, uint8_t carry, ptrdiff_t i, stages *s)
{
    const int more = carry && s->exponents[i] < greatest_exponent(plan);
    s->exponents[i] += more;
    s->scales[i] += (uint32_t)more;
}

/* Values of the codes in s. */
static void write_values(const fmt_block_plan *plan, void *out, ptrdiff_t index, ptrdiff_t n,
                         stages *s)
{
    const fmt_kernels *k = fmt_active;
    const int wide = plan->target == TYPE_F64;
    uint64_t *to64 = wide ? (uint64_t *)out + index : s->bits64;
    uint32_t *to32 = plan->target == TYPE_F32 ? (uint32_t *)out + index : s->bits32;
    if (plan->rule == RULE_AMAX) {
        k->decode_float64(s->codes, s->bits64, n, &plan->spec);
        k->multiply64(s->bits64, s->values, to64, n); /* exact */
        if (plan->target == TYPE_F32) {
            k->narrow32(s->bits64, to32, n);
        } else if (!wide) {
            k->encode_float64(s->bits64, NULL, s->codes, n, &plan->narrow);
            k->pack16(s->codes, (uint16_t *)out + index, n);
        }
        return;
    }
    if (wide) {
        (plan->float_elements ? k->decode_block_float64 : k->decode_block64)(
            s->codes, s->exponents, to64, n, &plan->spec);
        return;
    }
    (plan->float_elements ? k->decode_block_float32 : k->decode_block32)(
        s->codes, s->exponents, to32, n, &plan->spec);
    if (plan->target != TYPE_F32)
        (plan->target == TYPE_F16 ? k->narrow16 : k->narrow_bf16)(to32, (uint16_t *)out + index, n);
}

/* Write the codes in s, or their values. */
static void finish_run(const fmt_block_plan *plan, void *out, ptrdiff_t index, ptrdiff_t n,
                       stages *s)
{
    switch (plan->target) {
    case TYPE_INT1: fmt_active->pack8(s->codes, (uint8_t *)out + index, n); return;
    case TYPE_INT2: fmt_active->pack16(s->codes, (uint16_t *)out + index, n); return;
    case TYPE_INT4: memcpy((uint32_t *)out + index, s->codes, (size_t)n * 4); return;
    default: write_values(plan, out, index, n, s); return;
    }
}

/* --- ways through memory ------------------------------------------------------------------- */

/* Runs of memory: `depth` rows, `stride` elements apart, each of `width` runs, `step` apart. */
typedef struct {
    ptrdiff_t index, depth, stride, width, step;
} region;

/* Index of the k-th of the depth * width runs. */
static ptrdiff_t run_index(region r, ptrdiff_t k)
{
    return r.index + k / r.width * r.stride + k % r.width * r.step;
}

/* Greatest magnitudes over the runs of n elements each, elementwise: to max32 or max64. */
static const void *column_max(const fmt_block_plan *plan, const void *x, region r, ptrdiff_t n,
                              stages *s)
{
    const int wide = is_wide(plan);
    if (wide)
        memset(s->max64, 0, (size_t)n * sizeof *s->max64);
    else
        memset(s->max32, 0, (size_t)n * sizeof *s->max32);
    for (ptrdiff_t k = 0; k < r.depth * r.width; k++) {
        const void *bits = load(plan, x, run_index(r, k), n, s);
        if (wide)
            fmt_active->absmax64(bits, s->max64, n);
        else
            fmt_active->absmax32(bits, s->max32, n);
    }
    return wide ? (const void *)s->max64 : (const void *)s->max32;
}

/* Whether a sub-block of this maximum halves the scale of its group, whose code is given: bit 0;
 * and the exponent of the scale that results, from the code. */
static int micro_shift(const fmt_block_plan *plan, uint64_t max, uint32_t code, int32_t *exponent)
{
    const int32_t own = (int32_t)(code & (((uint32_t)1 << plan->micro_shift) - 1));
    const int32_t group = own - plan->spec.block_bias;
    if (own > plan->spec.block_max_code) {
        *exponent = NAN_EXPONENT;
        return 0;
    }
    const int shift = group_exponent(plan, max) < group;
    *exponent = group - shift;
    return shift;
}

/* The micro-exponents of the group at elements first ... end - 1. */
static void set_micro(const fmt_block_plan *plan, const char *bits, ptrdiff_t first, ptrdiff_t end,
                      stages *s)
{
    const ptrdiff_t size = is_wide(plan) ? 8 : 4;
    int32_t place = plan->micro_shift;
    for (ptrdiff_t i = first; i < end; i += plan->micro, place++) {
        const ptrdiff_t stop = smaller(i + plan->micro, end);
        const uint64_t max = run_max(plan, bits + i * size, stop - i);
        const int shift = micro_shift(plan, max, s->scales[first], &s->exponents[i]);
        s->scales[first] |= (uint32_t)shift << place;
        spread_scale(plan, i, stop, s);
    }
}

/* The same for n columns, whose sub-block starts at run k of the region. */
static void set_column_micro(const fmt_block_plan *plan, const void *x, region r, ptrdiff_t k,
                             ptrdiff_t n, stages *s)
{
    const region part = {run_index(r, k), 1, 0, smaller(plan->micro, r.width - k), r.step};
    const int32_t place = plan->micro_shift + (int32_t)(k / plan->micro);
    column_max(plan, x, part, n, s);
    for (ptrdiff_t j = 0; j < n; j++) {
        const uint64_t max = is_wide(plan) ? s->max64[j] : s->max32[j];
        s->scales[j] |= (uint32_t)micro_shift(plan, max, s->scales[j], &s->exponents[j]) << place;
    }
}

/* Rows of n elements, at most a chunk, whose groups are runs of tile_columns over all rows. */
static void encode_panel(const fmt_block_plan *plan, const void *x, region r, ptrdiff_t n,
                         void *out, void *scales, ptrdiff_t scale_index, stages *s)
{
    const ptrdiff_t size = is_wide(plan) ? 8 : 4, width = plan->tile_columns;
    const char *bits
        = r.depth == 1 ? load(plan, x, r.index, n, s) : column_max(plan, x, r, n, s);
    s->deep = 0;
    for (ptrdiff_t first = 0, g = 0; first < n; first += width, g++)
        s->maxima[g] = run_max(plan, bits + first * size, smaller(width, n - first));
    set_scales(plan, parts(n, width), width, s);
    for (ptrdiff_t first = 0; first < n; first += width) {
        const ptrdiff_t end = smaller(first + width, n);
        if (plan->micro)
            set_micro(plan, bits, first, end, s);
        else
            spread_scale(plan, first, end, s);
    }
    if (plan->bump) {
        memset(s->carries, 0, (size_t)n);
        for (ptrdiff_t k = 0; k < r.depth; k++)
            note_carries(plan, x, run_index(r, k), n, s);
        for (ptrdiff_t first = 0; first < n; first += width) {
            const ptrdiff_t end = smaller(first + width, n);
            uint8_t any = 0;
            for (ptrdiff_t j = first; j < end; j++)
                any |= s->carries[j];
            bump(plan, any, first, s);
            spread_scale(plan, first, end, s);
        }
    }
    for (ptrdiff_t k = 0; k < r.depth; k++) {
        round_run(plan, x, run_index(r, k), n, 0, s);
        finish_run(plan, out, run_index(r, k), n, s);
    }
    for (ptrdiff_t first = 0; scales && first < n; first += width)
        store_scale(plan, scales, scale_index++, s->scales[first]);
}

/* One group whose rows are n elements, more than a chunk. */
static void encode_long_run(const fmt_block_plan *plan, const void *x, region r, ptrdiff_t n,
                            void *out, void *scales, ptrdiff_t scale_index, stages *s)
{
    uint64_t max = 0;
    for (ptrdiff_t k = 0; k < r.depth; k++)
        for (ptrdiff_t j = 0; j < n; j += CHUNK) {
            const ptrdiff_t count = smaller(CHUNK, n - j);
            const uint64_t found = run_max(plan, load(plan, x, run_index(r, k) + j, count, s), count);
            max = found > max ? found : max;
        }
    s->deep = 0;
    s->maxima[0] = max;
    set_scales(plan, 1, 1, s);
    spread_scale(plan, 0, CHUNK, s);
    for (int pass = plan->bump ? 0 : 1; pass < 2; pass++) {
        memset(s->carries, 0, sizeof s->carries);
        for (ptrdiff_t k = 0; k < r.depth; k++)
            for (ptrdiff_t j = 0; j < n; j += CHUNK) {
                const ptrdiff_t count = smaller(CHUNK, n - j), index = run_index(r, k) + j;
                if (pass == 0) {
                    note_carries(plan, x, index, count, s);
                    continue;
                }
                round_run(plan, x, index, count, 0, s);
                finish_run(plan, out, index, count, s);
            }
        if (pass == 0) {
            uint8_t any = 0;
            for (ptrdiff_t j = 0; j < CHUNK; j++)
                any |= s->carries[j];
            bump(plan, any, 0, s);
            spread_scale(plan, 0, CHUNK, s);
        }
    }
    if (scales)
        store_scale(plan, scales, scale_index, s->scales[0]);
}

/* n neighbouring groups, at most a chunk, each a column of depth x width elements. */
static void encode_columns(const fmt_block_plan *plan, const void *x, region r, ptrdiff_t n,
                           void *out, void *scales, ptrdiff_t scale_index, stages *s)
{
    column_max(plan, x, r, n, s);
    s->deep = 0;
    for (ptrdiff_t j = 0; j < n; j++)
        s->maxima[j] = is_wide(plan) ? s->max64[j] : s->max32[j];
    set_scales(plan, n, 1, s);
    if (plan->bump) {
        memset(s->carries, 0, (size_t)n);
        for (ptrdiff_t k = 0; k < r.depth * r.width; k++)
            note_carries(plan, x, run_index(r, k), n, s);
        for (ptrdiff_t j = 0; j < n; j++)
            bump(plan, s->carries[j], j, s);
    }
    for (ptrdiff_t k = 0; k < r.depth * r.width; k++) {
        if (plan->micro && k % plan->micro == 0)
            set_column_micro(plan, x, r, k, n, s);
        round_run(plan, x, run_index(r, k), n, 0, s);
        finish_run(plan, out, run_index(r, k), n, s);
    }
    for (ptrdiff_t j = 0; scales && j < n; j++)
        store_scale(plan, scales, scale_index + j, s->scales[j]);
}

int fmt_encode_blocks(const fmt_block_plan *plan, const void *x, void *out, void *scales)
{
    const fmt_environment callers = fmt_enter();
    stages s;
    start(plan, &s);
    const ptrdiff_t width = plan->tile_columns, inner = plan->inner;
    const ptrdiff_t tiles_down = parts(plan->rows, plan->tile_rows);
    const ptrdiff_t tiles_across = parts(plan->columns, width);
    const ptrdiff_t row = plan->middle * plan->columns * inner;
    const int long_runs = inner == 1 && width > CHUNK && !plan->micro;
    const int panels = inner == 1 && width <= CHUNK;
    /* columns of the array that are taken at a time: whole groups if there is room for several */
    const ptrdiff_t span = panels ? CHUNK / width * width : width;
    for (ptrdiff_t o = 0; o < plan->outer * tiles_down; o++) {
        const ptrdiff_t first_row = o % tiles_down * plan->tile_rows;
        const ptrdiff_t depth = smaller(plan->tile_rows, plan->rows - first_row);
        for (ptrdiff_t k = 0; k < plan->middle; k++) {
            const ptrdiff_t start_index = (o / tiles_down * plan->rows + first_row) * row
                                          + k * plan->columns * inner;
            const ptrdiff_t first_scale = (o * plan->middle + k) * tiles_across;
            for (ptrdiff_t c = 0; c < plan->columns; c += span) {
                const ptrdiff_t n = smaller(span, plan->columns - c);
                region r = {start_index + c * inner, depth, row, 1, 0};
                const ptrdiff_t scale = (first_scale + c / width) * inner;
                if (panels) {
                    encode_panel(plan, x, r, n, out, scales, scale, &s);
                    continue;
                }
                if (long_runs) {
                    encode_long_run(plan, x, r, n, out, scales, scale, &s);
                    continue;
                }
                r.width = n;
                r.step = inner;
                for (ptrdiff_t j = 0; j < inner; j += CHUNK, r.index += CHUNK)
                    encode_columns(plan, x, r, smaller(CHUNK, inner - j), out, scales, scale + j,
                                   &s);
            }
        }
    }
    fmt_leave(callers);
    return s.nonfinite;
}

/* Exponent, or factor, of element i from the code of its scale. */
static void decode_scale(const fmt_block_plan *plan, uint32_t code, ptrdiff_t column, ptrdiff_t i,
                         stages *s)
{
    if (plan->rule == RULE_AMAX) {
        s->factors[i] = 0; /* of no meaning here */
        s->values[i] = s->scale_values[code & 0xff];
        return;
    }
    const uint32_t own = plan->micro ? code & (((uint32_t)1 << plan->micro_shift) - 1) : code;
    const int32_t shift
        = plan->micro ? (int32_t)(code >> (plan->micro_shift + column / plan->micro) & 1) : 0;
    s->exponents[i] = (int32_t)own > plan->spec.block_max_code
                          ? NAN_EXPONENT
                          : (int32_t)own - plan->spec.block_bias - shift;
}

void fmt_decode_blocks(const fmt_block_plan *plan, const void *codes, const void *scales, void *out)
{
    const fmt_environment callers = fmt_enter();
    stages s;
    start(plan, &s);
    const ptrdiff_t inner = plan->inner, width = plan->tile_columns;
    const ptrdiff_t tiles_down = parts(plan->rows, plan->tile_rows);
    const ptrdiff_t tiles_across = parts(plan->columns, width);
    const ptrdiff_t line = plan->columns * inner;
    const ptrdiff_t lines = plan->outer * plan->rows * plan->middle;
    /* `line` elements lie side by side for each (outer, row, middle); chunks run on over them */
    ptrdiff_t filled = 0;
    for (ptrdiff_t l = 0; l < lines; l++) {
        const ptrdiff_t row = l / plan->middle % plan->rows, o = l / plan->middle / plan->rows;
        const ptrdiff_t tile_row = (o * tiles_down + row / plan->tile_rows) * plan->middle
                                   + l % plan->middle;
        ptrdiff_t column = 0, j = 0; /* column counts within its tile */
        ptrdiff_t scale = tile_row * tiles_across * inner;
        for (ptrdiff_t done = 0; done < line;) {
            const ptrdiff_t room = smaller(CHUNK - filled, line - done);
            ptrdiff_t run;
            if (inner == 1) { /* up to where the scale changes */
                const ptrdiff_t same = plan->micro ? plan->micro - column % plan->micro : width - column;
                run = smaller(room, same);
                decode_scale(plan, load_scale(plan, scales, scale), column, filled, &s);
                spread_scale(plan, filled, filled + run, &s);
                column += run;
            } else { /* up to the next column */
                run = smaller(room, inner - j);
                for (ptrdiff_t i = 0; i < run; i++)
                    decode_scale(plan, load_scale(plan, scales, scale + j + i), column, filled + i, &s);
                j += run;
                column += j == inner;
                j = j == inner ? 0 : j;
            }
            if (column == width) {
                column = 0;
                scale += inner;
            }
            done += run;
            filled += run;
            if (filled < CHUNK && !(l == lines - 1 && done == line))
                continue;
            const ptrdiff_t index = l * line + done - filled;
            switch (plan->source) {
            case TYPE_INT1: fmt_active->unpack8((const uint8_t *)codes + index, s.codes, filled); break;
            case TYPE_INT2: fmt_active->unpack16((const uint16_t *)codes + index, s.codes, filled); break;
            default: memcpy(s.codes, (const uint32_t *)codes + index, (size_t)filled * 4); break;
            }
            write_values(plan, out, index, filled, &s);
            filled = 0;
        }
    }
    fmt_leave(callers);
}

float fmt_finite_max(int source, const void *x, ptrdiff_t n)
{
    const fmt_block_plan plan = {.source = source, .rule = RULE_AMAX};
    const fmt_environment callers = fmt_enter();
    stages s;
    uint32_t max = 0;
    for (ptrdiff_t index = 0; index < n; index += CHUNK) {
        const ptrdiff_t count = smaller(CHUNK, n - index);
        const uint32_t *bits = load(&plan, x, index, count, &s);
        for (ptrdiff_t i = 0; i < count; i++) {
            const uint32_t magnitude = bits[i] & 0x7fffffff;
            const uint32_t finite = magnitude < 0x7f800000 ? magnitude : 0;
            max = finite > max ? finite : max;
        }
    }
    float value;
    memcpy(&value, &max, sizeof value);
    fmt_leave(callers);
    return value;
}

/* The width of one group from the OR of its magnitudes and of its values. */
static void write_width(uint16_t magnitudes, uint16_t ones, int is_signed, uint8_t *high,
                        uint8_t *low)
{
    const unsigned value = is_signed ? magnitudes : ones;
    *high = (uint8_t)(32 - __builtin_clz(value | 1) + (is_signed != 0));
    if (low)
        *low = (uint8_t)(ones ? __builtin_ctz(ones) : 0);
}

void fmt_group_bits(const int16_t *x, ptrdiff_t outer, ptrdiff_t length, ptrdiff_t inner,
                    ptrdiff_t group, int is_signed, uint8_t *high, uint8_t *low)
{
    uint16_t magnitudes[CHUNK], ones[CHUNK];
    const ptrdiff_t groups = (length + group - 1) / group;
    for (ptrdiff_t o = 0; o < outer; o++) {
        for (ptrdiff_t g = 0; g < groups; g++) {
            const ptrdiff_t first = g * group, depth = smaller(group, length - first);
            const int16_t *from = x + (o * length + first) * inner;
            const ptrdiff_t to = (o * groups + g) * inner;
            if (inner == 1) {
                fmt_active->group_or_run(from, depth, magnitudes, ones);
                write_width(*magnitudes, *ones, is_signed, high + to, low ? low + to : NULL);
                continue;
            }
            for (ptrdiff_t j = 0; j < inner; j += CHUNK) {
                const ptrdiff_t n = smaller(CHUNK, inner - j);
                memset(magnitudes, 0, sizeof magnitudes);
                memset(ones, 0, sizeof ones);
                for (ptrdiff_t i = 0; i < depth; i++)
                    fmt_active->group_or(from + i * inner + j, magnitudes, ones, n);
                for (ptrdiff_t i = 0; i < n; i++)
                    write_width(magnitudes[i], ones[i], is_signed, high + to + j + i,
                                low ? low + to + j + i : NULL);
            }
        }
    }
}
