/* Groups that share a scale: block formats.
 *
 * A block-coded array is seen as (outer, rows, middle, columns, inner), C-contiguous, with
 * groups of tile_rows x tile_columns; blocks along one axis have one row.  There are three ways
 * through memory, for all families of formats alike:
 *
 *   panel    inner is 1 and groups are narrow: runs along rows, several groups side by side
 *   long run inner is 1 and a group is wider than a chunk: one group at a time
 *   columns  inner is more: a group is a column, and neighbouring columns are worked on at once
 *
 * In each: the greatest magnitude of each group, its scale from that, then the elements,
 * rounded once.  Rounding to nearest-even, toward zero and the usual stochastic one are arithmetic
 * (groups.inc.h); for all others, and where a scale is near the ends of float32's range, x
 * itself is not touched: the format's binades are moved by the scale's exponent.  Scales that
 * are floats (RULE_AMAX) multiply in float32, as defined. */
#include <math.h>
#include <string.h>

#include "environment.h"
#include "kernels.h"
#include "stream.h"

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static ptrdiff_t parts(ptrdiff_t length, ptrdiff_t size)
{
    return length / size + (length % size != 0);
}

enum { NOISE_AHEAD = 512 }; /* random words that are made for short runs */

/* Where the share `part` of all_parts of n things begins. */
static ptrdiff_t share(ptrdiff_t n, ptrdiff_t part, ptrdiff_t all_parts)
{
    return n / all_parts * part + n % all_parts * part / all_parts;
}

/* The bits of float32 or float64, as the plan has it. */
typedef union {
    uint32_t narrow[CHUNK];
    uint64_t wide[CHUNK];
} lanes;

/* What elements round by.  A unit is a sub-block, or without such a group. */
typedef struct {
    lanes inverses, scales;   /* see groups.inc.h; RULE_AMAX, not arithmetic: factors */
    int32_t exponents[CHUNK]; /* not arithmetic: of the scales */
    uint64_t values[CHUNK];   /* RULE_AMAX, not arithmetic: of the scales, as bits of a double */
} scaling;

typedef struct {
    lanes bits, values, store; /* what is read, made and written, if not in the arrays themselves */
    lanes row_maxima;   /* over rows, by column */
    lanes maxima;       /* of groups, then of sub-blocks */
    lanes unit_maxima;  /* of sub-blocks, while maxima are those of groups */
    uint32_t codes[CHUNK], words[CHUNK];
    uint32_t noise[NOISE_AHEAD]; /* words from noise_first on */
    uint64_t noise_first, noise_end; /* the latter: of the run before */
    scaling groups, units, elements;
    uint32_t scale_codes[CHUNK]; /* by group */
    uint8_t carries[CHUNK];
    int decoding;
    int is_long;    /* the array is, see stream.h */
    int streams;    /* results go past the caches */
    fmt_stream stream;
    int wide;       /* the bits are those of float64 */
    int arithmetic; /* how this chunk rounds */
    ptrdiff_t width; /* if it is not 0: by groups of that width; else elements have their own */
    int deep; /* subnormals of float32 may be normal elements here */
} stages;

/* Runs of memory: `depth` rows, `stride` elements apart, each of `width` runs, `step` apart, of n
 * elements. */
typedef struct {
    enum { PANEL, LONG_RUN, COLUMNS } way;
    ptrdiff_t index, depth, stride, width, step, n;
    ptrdiff_t line; /* panels: the n elements are so many of several rows */
    ptrdiff_t scale; /* index of the first group's scale */
} region;

/* Index of the k-th of the depth * width runs. */
static ptrdiff_t run_index(const region *r, ptrdiff_t k)
{
    return r->index + k / r->width * r->stride + k % r->width * r->step;
}

static int is_wide(const fmt_block_plan *plan)
{
    return plan->source == TYPE_F64 && plan->rule != RULE_AMAX;
}

/* Whether values are found from codes, although elements round by arithmetic. */
static int by_codes(const fmt_block_plan *plan)
{
    return plan->rule == RULE_AMAX && plan->target != TYPE_F32;
}

static const fmt_group_kernels *group_kernels(int wide) { return &fmt_active->groups[wide]; }

/* The bits of n elements from index: uint32_t of float32, or uint64_t of float64 if wide. */
static const void *load(const fmt_block_plan *plan, const void *x, ptrdiff_t index, ptrdiff_t n,
                        stages *s)
{
    switch (plan->source) {
    case TYPE_F16: fmt_active->widen16((const uint16_t *)x + index, s->bits.narrow, n); break;
    case TYPE_BF16: fmt_active->widen_bf16((const uint16_t *)x + index, s->bits.narrow, n); break;
    case TYPE_F32: return (const uint32_t *)x + index;
    default:
        if (is_wide(plan))
            return (const uint64_t *)x + index;
        fmt_active->narrow32((const uint64_t *)x + index, s->bits.narrow, n);
    }
    return &s->bits;
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
static int32_t group_exponent(const fmt_block_plan *plan, uint64_t max)
{
    const int32_t least = least_exponent(plan), greatest = greatest_exponent(plan);
    if (max == 0)
        return least;
    const int32_t exponent = rule_exponent(plan, max);
    return exponent < least ? least : exponent > greatest ? greatest : exponent;
}

/* Have n elements from index come to the cache while others are worked on; they need not exist. */
static void prefetch(const fmt_block_plan *plan, const void *x, ptrdiff_t index, ptrdiff_t n,
                     const stages *s)
{
    const ptrdiff_t size = fmt_size_of(plan->source);
    const uintptr_t from = (uintptr_t)x + (uintptr_t)(index * size);
    for (ptrdiff_t i = 0; i < n * size; i += FMT_LINE)
        __builtin_prefetch((const void *)(from + (uintptr_t)i));
    if (s->is_long)
        fmt_ask_ahead((const void *)from, n * size);
}

static uint64_t maximum(const fmt_block_plan *plan, ptrdiff_t i, const stages *s)
{
    return is_wide(plan) ? s->maxima.wide[i] : s->maxima.narrow[i];
}

/* Codes of n values in float32; one of its subnormals may be a normal number of the format. */
static void encode_floats(const fmt_spec *spec, const uint32_t *bits, const uint32_t *words,
                          uint32_t *codes, ptrdiff_t n)
{
    uint64_t wide[CHUNK];
    if (spec->min_exponent >= -126) {
        fmt_active->encode_float32(bits, words, codes, n, spec);
        return;
    }
    fmt_active->widen32(bits, wide, n);
    fmt_active->encode_float64(wide, words, codes, n, spec);
}

/* The values of scales that are floats, with that of the array. */
static void set_scale_values(const fmt_block_plan *plan, ptrdiff_t n, stages *s)
{
    for (ptrdiff_t g = 0; g < n; g++) {
        float scale;
        memcpy(&scale, &s->groups.scales.narrow[g], sizeof scale);
        /* exact: 8 bits times 24 */
        const double value = (double)scale * (double)plan->decode_scale;
        memcpy(&s->groups.values[g], &value, sizeof value);
    }
}

/* Scales that are floats, of n groups, from their maxima. */
static void set_float_scales(const fmt_block_plan *plan, ptrdiff_t n, stages *s)
{
    const uint32_t infinite = 0x7f800000, one = 1 << 23;
    uint32_t *factors = s->groups.inverses.narrow, *scales = s->groups.scales.narrow;
    uint32_t far = 0;
    for (ptrdiff_t g = 0; g < n; g++) {
        const uint32_t max = s->maxima.narrow[g];
        float share;
        memcpy(&share, &max, sizeof share);
        share /= plan->max_element;
        share *= plan->encode_scale;
        memcpy(&factors[g], &share, sizeof share);
        factors[g] = max < infinite ? factors[g] : 0x7fc00000;
    }
    encode_floats(&plan->scale_spec, factors, NULL, s->scale_codes, n);
    fmt_active->decode_float32(s->scale_codes, scales, n, &plan->scale_spec);
    /* beyond this a lifted element (groups.inc.h) may be subnormal */
    const int32_t reach = 249 + plan->spec.min_exponent - plan->spec.mantissa_bits
                          - (plan->stochastic ? 31 : 0);
    const uint32_t limit = (uint32_t)(reach < 253 ? reach : 253) << 23;
    for (ptrdiff_t g = 0; g < n; g++) {
        float scale, factor;
        memcpy(&scale, &scales[g], sizeof scale);
        factor = 1.0f / (scale * plan->decode_scale);
        memcpy(&factors[g], &factor, sizeof factor);
        factors[g] = factors[g] < infinite ? factors[g] : infinite - 1;
        /* 0 where codes are to be 0: for a scale of 0, and for NaN */
        factors[g] = (int32_t)scales[g] > 0 && scales[g] < infinite ? factors[g] : 0;
        far |= (uint32_t)(factors[g] != 0) & ((factors[g] < one) | (factors[g] > limit));
    }
    set_scale_values(plan, n, s);
    s->arithmetic = plan->arithmetic && !far;
    for (ptrdiff_t g = 0; s->arithmetic && g < n; g++) { /* as in groups.inc.h: twice and half */
        factors[g] += factors[g] ? one : 0;
        scales[g] -= scales[g] - 1 < infinite - 1 ? one : 0;
    }
}

/* The exponent that a group or sub-block rounds by in general kernels, from its maximum and
 * scale. */
static void set_exponent(const fmt_block_plan *plan, uint64_t max, int32_t exponent, int32_t *to,
                         stages *s)
{
    s->deep |= (max != 0) & (exponent + plan->spec.min_exponent < -126);
    /* zeros are zeros by any scale but NaN; this one keeps them off the deep end */
    *to = max || exponent == NAN_EXPONENT ? exponent : -plan->spec.min_exponent;
}

/* Codes of the scales of n groups and what elements are to round by, from their maxima. */
static void set_scales(const fmt_block_plan *plan, ptrdiff_t n, stages *s)
{
    s->deep = 0;
    if (plan->rule == RULE_AMAX) {
        set_float_scales(plan, n, s);
        return;
    }
    s->arithmetic = group_kernels(s->wide)->block_scales(&s->maxima, n, plan, s->scale_codes,
                                                         &s->groups.inverses, &s->groups.scales)
                    && plan->arithmetic;
    if (s->arithmetic)
        return;
    for (ptrdiff_t g = 0; g < n; g++) {
        const uint64_t max = maximum(plan, g, s);
        const uint32_t nan_code = (uint32_t)plan->spec.block_max_code + 1;
        const int nan = s->scale_codes[g] == nan_code;
        const int32_t exponent = nan ? NAN_EXPONENT : group_exponent(plan, max);
        s->scale_codes[g] = nan ? nan_code : (uint32_t)(exponent + plan->spec.block_bias);
        set_exponent(plan, max, exponent, &s->groups.exponents[g], s);
    }
}

/* Whether a sub-block of this maximum halves the scale of its group, whose code is given. */
static uint32_t micro_shift(const fmt_block_plan *plan, uint64_t max, uint32_t code, int32_t *to,
                            stages *s)
{
    const int32_t group = (int32_t)code - plan->spec.block_bias;
    const int nan = (int32_t)code > plan->spec.block_max_code;
    const int shift = !nan && group_exponent(plan, max) < group;
    set_exponent(plan, max, nan ? NAN_EXPONENT : group - shift, to, s);
    return (uint32_t)shift;
}

/* The scales of n sub-blocks, from their maxima and the scales of their groups, `per` to a
 * group; lines as in groups.inc.h.  Their bits go into the groups' codes, from `place` on. */
static void set_micro(const fmt_block_plan *plan, ptrdiff_t n, ptrdiff_t per, ptrdiff_t line,
                      int32_t place, stages *s)
{
    const fmt_group_kernels *k = group_kernels(s->wide);
    const uint32_t own = ((uint32_t)1 << plan->micro_shift) - 1;
    uint32_t *codes = s->codes, *shifts = s->words;
    group_kernels(0)->spread(s->scale_codes, codes, n, per, line);
    if (s->arithmetic) {
        k->spread(&s->groups.inverses, &s->units.inverses, n, per, line);
        k->spread(&s->groups.scales, &s->units.scales, n, per, line);
        k->micro_scales(&s->maxima, n, plan, codes, shifts, &s->units.inverses, &s->units.scales);
    } else {
        for (ptrdiff_t i = 0; i < n; i++)
            shifts[i] = micro_shift(plan, maximum(plan, i, s), codes[i] & own,
                                    &s->units.exponents[i], s);
    }
    const ptrdiff_t whole = line / per, rest = line % per; /* rest: of a last, shorter group */
    uint32_t *code = s->scale_codes;
    for (; n > 0; n -= line, shifts += line) {
        fmt_active->add_shifts(shifts, code, whole, per, place);
        code += whole;
        if (rest)
            fmt_active->add_shifts(shifts + whole * per, code++, 1, rest, place);
    }
}

/* What each of n elements rounds by, from that of groups or sub-blocks of a width. */
static void spread(const fmt_block_plan *plan, const scaling *from, ptrdiff_t n, ptrdiff_t width,
                   ptrdiff_t line, stages *s)
{
    scaling *to = &s->elements;
    const int values = plan->target < TYPE_INT1;
    if (!s->arithmetic && plan->rule != RULE_AMAX)
        group_kernels(0)->spread(from->exponents, to->exponents, n, width, line);
    else if (!s->decoding)
        group_kernels(s->wide)->spread(&from->inverses, &to->inverses, n, width, line);
    if (values && s->arithmetic)
        group_kernels(s->wide)->spread(&from->scales, &to->scales, n, width, line);
    if (values && plan->rule == RULE_AMAX && (!s->arithmetic || by_codes(plan)))
        group_kernels(1)->spread(from->values, to->values, n, width, line);
}

static void store_scales(const fmt_block_plan *plan, void *scales, ptrdiff_t index, ptrdiff_t n,
                         const stages *s)
{
    const uint32_t *codes = s->scale_codes;
    if (!scales)
        return;
    switch (plan->scale_type) {
    case TYPE_INT1: fmt_active->pack8(codes, (uint8_t *)scales + index, n); return;
    case TYPE_INT2: fmt_active->pack16(codes, (uint16_t *)scales + index, n); return;
    default: memcpy((uint32_t *)scales + index, codes, (size_t)n * 4); return;
    }
}

/* --- elements ------------------------------------------------------------------------------ */

/* The words of n elements from index; NULL if none are wanted.  They are made many at a time: where
 * short runs follow each other, the words of several. */
static const uint32_t *random_words(const fmt_block_plan *plan, ptrdiff_t index, ptrdiff_t n,
                                    stages *s)
{
    if (!plan->stochastic)
        return NULL;
    const fmt_key *key = &plan->key;
    const uint64_t first = key->first + (uint64_t)index;
    const int follows = !key->starts && first == s->noise_end;
    s->noise_end = first + (uint64_t)n;
    if (n > NOISE_AHEAD / 2 || !follows) {
        fmt_random_words(key, index, s->words, n);
        return s->words;
    }
    if (first < s->noise_first || s->noise_end > s->noise_first + NOISE_AHEAD) {
        s->noise_first = first & ~(uint64_t)3; /* where a block of words starts */
        fmt_active->philox(key->seed, key->stream, s->noise_first, s->noise, NOISE_AHEAD);
    }
    return s->noise + (first - s->noise_first);
}

/* Codes of n elements by general kernels, integers in sign and magnitude; room: the magnitudes
 * alone, which may have one more bit, so that a carry can be seen. */
static void encode_generally(const fmt_block_plan *plan, const void *bits, const uint32_t *words,
                             ptrdiff_t n, int room, stages *s)
{
    const fmt_kernels *k = fmt_active;
    if (plan->rule == RULE_AMAX) {
        const uint32_t *factors = s->elements.inverses.narrow;
        k->multiply32(bits, factors, s->values.narrow, n);
        encode_floats(&plan->spec, s->values.narrow, words, s->codes, n);
        for (ptrdiff_t i = 0; i < n; i++) /* groups of NaN, and those whose scale is 0 */
            s->codes[i] = factors[i] ? s->codes[i] : 0;
        return;
    }
    fmt_spec spec = plan->spec;
    if (room) { /* magnitudes alone; the carry is where the sign would be */
        spec.max_code = 2 * spec.max_code + 1;
        spec.over_code[0] = spec.over_code[1] = (uint32_t)spec.max_code;
        spec.sign_bit = spec.zero_sign = 0;
    }
    if (is_wide(plan)) {
        k->encode_block_float64(bits, s->elements.exponents, words, s->codes, n, &spec);
    } else if (s->deep) {
        k->widen32(bits, s->values.wide, n);
        k->encode_block_float64(s->values.wide, s->elements.exponents, words, s->codes, n, &spec);
    } else {
        k->encode_block_float32(bits, s->elements.exponents, words, s->codes, n, &spec);
    }
}

/* Note the elements whose magnitude rounds up past the greatest code. */
static void note_carries(const fmt_block_plan *plan, const void *x, ptrdiff_t index, ptrdiff_t n,
                         stages *s)
{
    const uint32_t *words = random_words(plan, index, n, s);
    encode_generally(plan, load(plan, x, index, n, s), words, n, 1, s);
    for (ptrdiff_t j = 0; j < n; j++)
        s->carries[j] |= (s->codes[j] & plan->spec.sign_bit) != 0;
}

/* If there was a carry, the next greater scale for group g, if the window has one. */
static void bump(const fmt_block_plan *plan, uint8_t carry, ptrdiff_t g, stages *s)
{
    const uint32_t more = carry && (int32_t)s->scale_codes[g] < plan->spec.block_max_code;
    s->groups.exponents[g] += (int32_t)more;
    s->scale_codes[g] += more;
}

/* Where n results from index are made: in the array, unless they are streamed to it. */
static void *room(const fmt_block_plan *plan, void *out, ptrdiff_t index, stages *s)
{
    return s->streams ? (void *)&s->store : (char *)out + index * fmt_size_of(plan->target);
}

static void deliver(const fmt_block_plan *plan, void *out, ptrdiff_t index, ptrdiff_t n,
                    stages *s)
{
    const ptrdiff_t size = fmt_size_of(plan->target);
    if (s->streams)
        fmt_stream_write(&s->stream, (char *)out + index * size, (const char *)&s->store,
                         (size_t)(n * size));
}

/* Write the codes in s. */
static void write_codes(const fmt_block_plan *plan, void *out, ptrdiff_t index, ptrdiff_t n,
                        stages *s)
{
    const fmt_spec *p = &plan->spec;
    for (ptrdiff_t i = 0; p->twos_complement && !s->arithmetic && i < n; i++)
        s->codes[i] = s->codes[i] & p->sign_bit ? 3 * p->sign_bit - s->codes[i] : s->codes[i];
    switch (plan->target) {
    case TYPE_INT1: fmt_active->pack8(s->codes, room(plan, out, index, s), n); break;
    case TYPE_INT2: fmt_active->pack16(s->codes, room(plan, out, index, s), n); break;
    default: memcpy(room(plan, out, index, s), s->codes, (size_t)n * 4);
    }
    deliver(plan, out, index, n, s);
}

/* Where to put the bits of values, unless their type is narrower: where results are made. */
static void *values_of(const fmt_block_plan *plan, void *out, ptrdiff_t index, stages *s)
{
    const int narrow = plan->target == TYPE_F16 || plan->target == TYPE_BF16;
    return narrow ? &s->values : room(plan, out, index, s);
}

static void write_values(const fmt_block_plan *plan, void *out, ptrdiff_t index, ptrdiff_t n,
                         stages *s)
{
    if (plan->target == TYPE_F16)
        fmt_active->narrow16(s->values.narrow, room(plan, out, index, s), n);
    if (plan->target == TYPE_BF16)
        fmt_active->narrow_bf16(s->values.narrow, room(plan, out, index, s), n);
    deliver(plan, out, index, n, s);
}

/* Write the values of the codes in s by general kernels. */
static void write_generally(const fmt_block_plan *plan, void *out, ptrdiff_t index, ptrdiff_t n,
                            stages *s)
{
    const fmt_kernels *k = fmt_active;
    void *values = values_of(plan, out, index, s);
    if (plan->rule == RULE_AMAX) {
        uint64_t *exact = plan->target == TYPE_F64 ? values : s->values.wide;
        k->decode_float64(s->codes, exact, n, &plan->spec);
        k->multiply64(exact, s->elements.values, exact, n);
        if (plan->target == TYPE_F32) {
            k->narrow32(exact, values, n);
        } else if (plan->target != TYPE_F64) {
            k->encode_float64(exact, NULL, s->codes, n, &plan->narrow);
            k->pack16(s->codes, room(plan, out, index, s), n);
        }
        deliver(plan, out, index, n, s);
        return;
    }
    if (plan->target == TYPE_F64)
        k->decode_block_float64(s->codes, s->elements.exponents, values, n, &plan->spec);
    else
        k->decode_block_float32(s->codes, s->elements.exponents, values, n, &plan->spec);
    write_values(plan, out, index, n, s);
}

/* Round n elements and write their codes or values; bits: theirs if they are loaded already. */
static void round_run(const fmt_block_plan *plan, const void *x, const void *bits, ptrdiff_t index,
                      ptrdiff_t n, void *out, stages *s)
{
    const fmt_group_kernels *k = group_kernels(s->wide);
    const scaling *by = s->width ? &s->groups : &s->elements;
    const uint32_t *words = random_words(plan, index, n, s);
    if (!bits)
        bits = load(plan, x, index, n, s);
    if (s->arithmetic && plan->target < TYPE_INT1 && !by_codes(plan)) {
        void *values = values_of(plan, out, index, s);
        if (bits == values) /* a kernel's arrays do not overlap */
            bits = memcpy(&s->bits, bits, (size_t)n * (is_wide(plan) ? 8 : 4));
        k->round_values(bits, &by->inverses, &by->scales, s->width, words, values, n, &plan->spec);
        if (plan->rule == RULE_AMAX)
            k->multiply_all(values, values, n, plan->decode_scale);
        write_values(plan, out, index, n, s);
        return;
    }
    if (s->arithmetic)
        k->round_codes(bits, &by->inverses, s->width, words, s->codes, n, &plan->spec);
    else
        encode_generally(plan, bits, words, n, 0, s);
    if (plan->target >= TYPE_INT1)
        write_codes(plan, out, index, n, s);
    else
        write_generally(plan, out, index, n, s);
}

/* --- encoding ------------------------------------------------------------------------------ */

/* Greatest magnitudes over the runs of n elements each, elementwise. */
static void column_max(const fmt_block_plan *plan, const void *x, const region *r, lanes *max,
                       stages *s)
{
    const fmt_group_kernels *k = group_kernels(s->wide);
    memset(max, 0, (size_t)r->n * (is_wide(plan) ? 8 : 4));
    for (ptrdiff_t i = 0; i < r->depth * r->width; i++)
        k->absmax(load(plan, x, run_index(r, i), r->n, s), max, r->n);
}

/* Element i of numbers of the plan's width. */
static void *element(const fmt_block_plan *plan, lanes *of, ptrdiff_t i)
{
    return is_wide(plan) ? (void *)(of->wide + i) : (void *)(of->narrow + i);
}

/* The same where runs are neighbours in memory, `many` of them at a time, a chunk at most. */
static void column_max_of_neighbours(const fmt_block_plan *plan, const void *x, const region *r,
                                     ptrdiff_t many, lanes *max, stages *s)
{
    const fmt_group_kernels *k = group_kernels(s->wide);
    const ptrdiff_t n = r->n;
    memset(max, 0, (size_t)(n * many) * (is_wide(plan) ? 8 : 4));
    for (ptrdiff_t i = 0; i < r->width; i += many) {
        const ptrdiff_t all = smaller(many, r->width - i) * n;
        k->absmax(load(plan, x, run_index(r, i), all, s), max, all);
    }
    for (ptrdiff_t left = many; left > 1; left -= left / 2) /* the last half of the runs to the first */
        k->absmax(element(plan, max, (left - left / 2) * n), max, left / 2 * n);
}

/* Has what n elements round by again and again, for `many` runs. */
static void repeat(const fmt_block_plan *plan, ptrdiff_t n, ptrdiff_t many, stages *s)
{
    scaling *to = &s->elements;
    const size_t size = (size_t)n * (is_wide(plan) ? 8 : 4);
    for (ptrdiff_t i = n; i < many * n; i += n) {
        memcpy(element(plan, &to->inverses, i), &to->inverses, size);
        if (plan->target < TYPE_INT1)
            memcpy(element(plan, &to->scales, i), &to->scales, size);
    }
}

/* Rows of n elements, at most a chunk, whose groups are runs of tile_columns over all rows. */
static void encode_panel(const fmt_block_plan *plan, const void *x, const region *r, void *out,
                         void *scales, stages *s)
{
    const fmt_group_kernels *k = group_kernels(s->wide);
    const ptrdiff_t width = plan->tile_columns, n = r->n, line = r->line, lines = n / line;
    const ptrdiff_t unit = plan->micro ? plan->micro : width, units = parts(line, unit);
    const ptrdiff_t groups = lines * parts(line, width);
    const void *bits = &s->bits;
    if (r->depth == 1)
        bits = load(plan, x, r->index, n, s);
    else
        column_max(plan, x, r, &s->row_maxima, s), bits = &s->row_maxima;
    if (plan->micro) {
        k->absmax_runs(bits, &s->unit_maxima, n, unit, line);
        k->absmax_runs(&s->unit_maxima, &s->maxima, lines * units, width / unit, units);
        set_scales(plan, groups, s);
        memcpy(&s->maxima, &s->unit_maxima, (size_t)(lines * units) * (is_wide(plan) ? 8 : 4));
        set_micro(plan, lines * units, width / unit, units, plan->micro_shift, s);
    } else {
        k->absmax_runs(bits, &s->maxima, n, width, line);
        set_scales(plan, groups, s);
    }
    if (s->arithmetic && !by_codes(plan) && unit % 16 == 0 && line % unit == 0)
        s->width = unit;
    else
        spread(plan, plan->micro ? &s->units : &s->groups, n, unit, line, s);
    if (plan->bump && !s->arithmetic) {
        memset(s->carries, 0, (size_t)n);
        for (ptrdiff_t i = 0; i < r->depth; i++)
            note_carries(plan, x, run_index(r, i), n, s);
        for (ptrdiff_t first = 0, g = 0; first < n; first += line)
            for (ptrdiff_t i = first; i < first + line; i += width, g++) {
                uint8_t any = 0;
                for (ptrdiff_t j = i; j < smaller(i + width, first + line); j++)
                    any |= s->carries[j];
                bump(plan, any, g, s);
            }
        spread(plan, &s->groups, n, width, line, s);
    }
    prefetch(plan, x, r->index + n, r->depth == 1 ? n : 0, s);
    for (ptrdiff_t i = 0; i < r->depth; i++)
        round_run(plan, x, r->depth == 1 ? bits : NULL, run_index(r, i), n, out, s);
    s->width = 0;
    store_scales(plan, scales, r->scale, groups, s);
}

/* One group whose rows are n elements, more than a chunk. */
static void encode_long_run(const fmt_block_plan *plan, const void *x, const region *r, void *out,
                            void *scales, stages *s)
{
    const fmt_group_kernels *k = group_kernels(s->wide);
    const ptrdiff_t chunks = parts(r->n, CHUNK), runs = r->depth * chunks;
    memset(&s->row_maxima, 0, sizeof s->row_maxima);
    for (ptrdiff_t i = 0; i < runs; i++) {
        const ptrdiff_t j = i % chunks * CHUNK, n = smaller(CHUNK, r->n - j);
        k->absmax(load(plan, x, run_index(r, i / chunks) + j, n, s), &s->row_maxima, n);
    }
    k->absmax_runs(&s->row_maxima, &s->maxima, CHUNK, CHUNK, CHUNK);
    set_scales(plan, 1, s);
    spread(plan, &s->groups, CHUNK, CHUNK, CHUNK, s);
    if (plan->bump && !s->arithmetic) {
        memset(s->carries, 0, sizeof s->carries);
        for (ptrdiff_t i = 0; i < runs; i++) {
            const ptrdiff_t j = i % chunks * CHUNK;
            note_carries(plan, x, run_index(r, i / chunks) + j, smaller(CHUNK, r->n - j), s);
        }
        uint8_t any = 0;
        for (ptrdiff_t j = 0; j < CHUNK; j++)
            any |= s->carries[j];
        bump(plan, any, 0, s);
        spread(plan, &s->groups, CHUNK, CHUNK, CHUNK, s);
    }
    for (ptrdiff_t i = 0; i < runs; i++) {
        const ptrdiff_t j = i % chunks * CHUNK;
        round_run(plan, x, NULL, run_index(r, i / chunks) + j, smaller(CHUNK, r->n - j), out, s);
    }
    store_scales(plan, scales, r->scale, 1, s);
}

/* n neighbouring groups, at most a chunk, each a column of depth x width elements. */
static void encode_columns(const fmt_block_plan *plan, const void *x, const region *r, void *out,
                           void *scales, stages *s)
{
    const ptrdiff_t n = r->n, runs = r->depth * r->width;
    /* runs that are taken together: short ones that are neighbours in memory */
    const int neighbours = r->depth == 1 && r->step == n && plan->arithmetic && !plan->micro;
    ptrdiff_t many = neighbours ? smaller(CHUNK / n, runs) : 1;
    if (many > 1)
        column_max_of_neighbours(plan, x, r, many, &s->maxima, s);
    else
        column_max(plan, x, r, &s->maxima, s);
    set_scales(plan, n, s);
    spread(plan, &s->groups, n, 1, n, s);
    if (s->arithmetic && !by_codes(plan))
        repeat(plan, n, many, s);
    else
        many = 1;
    if (plan->bump && !s->arithmetic) {
        memset(s->carries, 0, (size_t)n);
        for (ptrdiff_t i = 0; i < runs; i++)
            note_carries(plan, x, run_index(r, i), n, s);
        for (ptrdiff_t j = 0; j < n; j++)
            bump(plan, s->carries[j], j, s);
        spread(plan, &s->groups, n, 1, n, s);
    }
    for (ptrdiff_t i = 0; i < runs; i += many) {
        if (plan->micro && i % plan->micro == 0) {
            region part = *r;
            part.index = run_index(r, i);
            part.width = smaller(plan->micro, r->width - i);
            column_max(plan, x, &part, &s->maxima, s);
            set_micro(plan, n, 1, n, plan->micro_shift + (int32_t)(i / plan->micro), s);
            spread(plan, &s->units, n, 1, n, s);
        }
        round_run(plan, x, NULL, run_index(r, i), smaller(many, runs - i) * n, out, s);
    }
    store_scales(plan, scales, r->scale, n, s);
}

/* --- decoding ------------------------------------------------------------------------------ */

static void load_scales(const fmt_block_plan *plan, const void *scales, ptrdiff_t index,
                        ptrdiff_t n, stages *s)
{
    uint32_t *codes = s->scale_codes;
    switch (plan->scale_type) {
    case TYPE_INT1: fmt_active->unpack8((const uint8_t *)scales + index, codes, n); return;
    case TYPE_INT2: fmt_active->unpack16((const uint16_t *)scales + index, codes, n); return;
    default: memcpy(codes, (const uint32_t *)scales + index, (size_t)n * 4); return;
    }
}

/* What n groups or sub-blocks decode by, from the codes of their scales, without
 * micro-exponents. */
static void decode_scales(const fmt_block_plan *plan, const uint32_t *codes, ptrdiff_t n, stages *s)
{
    scaling *to = &s->groups;
    s->arithmetic = plan->arithmetic && !by_codes(plan);
    if (plan->rule == RULE_AMAX) {
        fmt_active->decode_float32(codes, to->scales.narrow, n, &plan->scale_spec);
        set_scale_values(plan, n, s);
    } else if (s->arithmetic) {
        group_kernels(s->wide)->decode_scales(codes, &to->scales, n, &plan->spec);
    } else {
        for (ptrdiff_t i = 0; i < n; i++)
            to->exponents[i] = (int32_t)codes[i] > plan->spec.block_max_code
                                   ? NAN_EXPONENT
                                   : (int32_t)codes[i] - plan->spec.block_bias;
    }
}

/* The codes of n sub-blocks' scales, to words, from those of groups; as in set_micro. */
static const uint32_t *micro_codes(const fmt_block_plan *plan, ptrdiff_t n, ptrdiff_t per,
                                   ptrdiff_t line, int32_t place, stages *s)
{
    const uint32_t *code = s->scale_codes, mask = ((uint32_t)1 << plan->micro_shift) - 1;
    const ptrdiff_t whole = line / per, rest = line % per;
    for (uint32_t *own = s->words; n > 0; n -= line, own += line) {
        fmt_active->take_shifts(code, own, whole, per, place, &plan->spec, mask);
        code += whole;
        if (rest)
            fmt_active->take_shifts(code++, own + whole * per, 1, rest, place, &plan->spec, mask);
    }
    return s->words;
}

/* The values of n elements. */
static void decode_run(const fmt_block_plan *plan, const void *codes, ptrdiff_t index, ptrdiff_t n,
                       void *out, stages *s)
{
    const int size = plan->source == TYPE_INT1 ? 0 : plan->source == TYPE_INT2 ? 1 : 2;
    const void *from = (const char *)codes + (index << size);
    if (s->arithmetic) {
        void *values = values_of(plan, out, index, s);
        group_kernels(s->wide)
            ->decode_elements[size](from, &s->elements.scales, values, n, &plan->spec);
        if (plan->rule == RULE_AMAX)
            fmt_active->groups[0].multiply_all(values, values, n, plan->decode_scale);
        write_values(plan, out, index, n, s);
        return;
    }
    if (size == 0)
        fmt_active->unpack8(from, s->codes, n);
    else if (size == 1)
        fmt_active->unpack16(from, s->codes, n);
    else
        memcpy(s->codes, from, (size_t)n * 4);
    write_generally(plan, out, index, n, s);
}

static void decode_region(const fmt_block_plan *plan, const void *codes, const region *r, void *out,
                          void *scales, stages *s)
{
    const ptrdiff_t width = plan->tile_columns, n = r->n;
    if (r->way == COLUMNS) {
        const ptrdiff_t runs = r->depth * r->width, unit = plan->micro ? plan->micro : runs;
        load_scales(plan, scales, r->scale, n, s);
        for (ptrdiff_t i = 0; i < runs; i++) {
            if (i % unit == 0) {
                const int32_t place = plan->micro_shift + (int32_t)(i / unit);
                const uint32_t *scale_codes = s->scale_codes;
                if (plan->micro)
                    scale_codes = micro_codes(plan, n, 1, n, place, s);
                decode_scales(plan, scale_codes, n, s);
                spread(plan, &s->groups, n, 1, n, s);
            }
            decode_run(plan, codes, run_index(r, i), n, out, s);
        }
        return;
    }
    /* a long run is groups of one chunk with one scale */
    const ptrdiff_t take = smaller(n, CHUNK), line = smaller(r->line, CHUNK);
    const ptrdiff_t lines = take / line, unit = plan->micro ? plan->micro : smaller(width, CHUNK);
    const ptrdiff_t units = parts(line, unit);
    load_scales(plan, scales, r->scale, lines * parts(line, smaller(width, CHUNK)), s);
    decode_scales(plan, plan->micro ? micro_codes(plan, lines * units, width / unit, units,
                                                  plan->micro_shift, s)
                                    : s->scale_codes, lines * units, s);
    spread(plan, &s->groups, take, unit, line, s);
    for (ptrdiff_t i = 0; i < r->depth; i++)
        for (ptrdiff_t j = 0; j < n; j += CHUNK)
            decode_run(plan, codes, run_index(r, i) + j, smaller(CHUNK, n - j), out, s);
}

/* --- ways through memory ------------------------------------------------------------------- */

static void encode_region(const fmt_block_plan *plan, const void *x, const region *r, void *out,
                          void *scales, stages *s)
{
    switch (r->way) {
    case PANEL: encode_panel(plan, x, r, out, scales, s); return;
    case LONG_RUN: encode_long_run(plan, x, r, out, scales, s); return;
    default: encode_columns(plan, x, r, out, scales, s); return;
    }
}

typedef void work_on(const fmt_block_plan *, const void *from, const region *, void *to,
                     void *scales, stages *);

/* Cut the array into regions and work on the share `part` of `parts` of them. */
static void each_region(const fmt_block_plan *plan, work_on *work, const void *from, void *to,
                       void *scales, ptrdiff_t part, ptrdiff_t all_parts)
{
    const ptrdiff_t width = plan->tile_columns, inner = plan->inner, middle = plan->middle;
    const int panels = inner == 1 && width <= CHUNK;
    ptrdiff_t outer = plan->outer, columns = plan->columns, line = 0;
    /* columns of the array that are taken at a time: whole groups if there is room for several */
    ptrdiff_t span = panels ? CHUNK / width * width : width;
    if (panels && plan->rows == 1 && middle == 1 && (columns <= CHUNK || columns % width == 0)) {
        if (columns % width) { /* or several rows */
            line = columns;
            span = CHUNK / line * line;
        }
        columns *= outer;
        outer = 1;
    }
    const ptrdiff_t tiles_down = parts(plan->rows, plan->tile_rows);
    const ptrdiff_t tiles_across
        = line ? columns / line * parts(line, width) : parts(columns, width);
    const ptrdiff_t row = middle * columns * inner;
    const ptrdiff_t spans = parts(columns, span), runs = panels ? 1 : parts(inner, CHUNK);
    const ptrdiff_t regions = outer * tiles_down * middle * spans * runs;
    ptrdiff_t i = share(regions, part, all_parts);
    const ptrdiff_t stop = share(regions, part + 1, all_parts);
    /* where region i is */
    ptrdiff_t j = i % runs * CHUNK, c = i / runs % spans * span;
    ptrdiff_t k = i / runs / spans % middle, o = i / runs / spans / middle;
    const fmt_environment callers = fmt_enter();
    stages s;
    s.decoding = work == decode_region;
    s.noise_first = s.noise_end = UINT64_MAX;
    s.width = 0;
    const ptrdiff_t size = plan->outer * plan->rows * row, in_size = fmt_size_of(plan->source);
    s.is_long = size * in_size > FMT_LONG;
    /* runs of columns are too short */
    s.streams = inner == 1 && fmt_streams(size, in_size + fmt_size_of(plan->target));
    s.stream = fmt_stream_begin(to);
    s.wide = s.decoding ? plan->target == TYPE_F64 : is_wide(plan);
    for (; i < stop; i++) {
        const ptrdiff_t n = smaller(span, columns - c);
        const ptrdiff_t first_row = o % tiles_down * plan->tile_rows;
        const ptrdiff_t tile = line ? c / line * parts(line, width) : c / width;
        region r = {.way = PANEL, .n = n, .line = line ? line : n, .width = 1, .stride = row};
        r.index = (o / tiles_down * plan->rows + first_row) * row + (k * columns + c) * inner + j;
        r.scale = ((o * middle + k) * tiles_across + tile) * inner + j;
        r.depth = smaller(plan->tile_rows, plan->rows - first_row);
        if (!panels && inner == 1 && !plan->micro) {
            r.way = LONG_RUN;
        } else if (!panels) {
            r.way = COLUMNS;
            r.width = n;
            r.step = inner;
            r.n = smaller(CHUNK, inner - j);
        }
        work(plan, from, &r, to, scales, &s);
        if (runs > 1 && (j += CHUNK) < inner)
            continue;
        j = 0;
        if ((c += span) < columns)
            continue;
        c = 0;
        if (++k < middle)
            continue;
        k = 0;
        o++;
    }
    if (s.streams)
        fmt_stream_end(&s.stream);
    fmt_leave(callers);
}

void fmt_encode_blocks(const fmt_block_plan *plan, const void *x, void *out, void *scales,
                      ptrdiff_t part, ptrdiff_t all_parts)
{
    each_region(plan, encode_region, x, out, scales, part, all_parts);
}

void fmt_decode_blocks(const fmt_block_plan *plan, const void *codes, const void *scales, void *out,
                       ptrdiff_t part, ptrdiff_t all_parts)
{
    each_region(plan, decode_region, codes, out, (void *)scales, part, all_parts);
}

float fmt_finite_max(int source, const void *x, ptrdiff_t n, int *nonfinite)
{
    const fmt_block_plan plan = {.source = source, .rule = RULE_AMAX};
    const fmt_environment callers = fmt_enter();
    stages s;
    uint32_t max = 0, all = 0;
    for (ptrdiff_t index = 0; index < n; index += CHUNK) {
        const ptrdiff_t count = smaller(CHUNK, n - index);
        fmt_active->finite_max(load(&plan, x, index, count, &s), count, &max, &all);
    }
    float value;
    memcpy(&value, &max, sizeof value);
    fmt_leave(callers);
    *nonfinite = all >= 0x7f800000;
    return value;
}
