/* Groups that share something: an exponent (block formats) or a width (group_bits).
 *
 * An array is seen as (outer, length, inner), C-contiguous, with groups along `length`.  Where
 * inner is 1 a group is a run; else a group is a column, and a chunk of neighbouring columns is
 * worked on at a time, so that memory is always read along rows. */
#include <string.h>

#include "kernels.h"

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

typedef struct {
    uint64_t bits64[CHUNK], max64[CHUNK];
    uint32_t bits32[CHUNK], max32[CHUNK];
    uint32_t codes[CHUNK], words[CHUNK];
    int32_t exponents[CHUNK];
    uint8_t carries[CHUNK];
    int nonfinite;
} stages;

static int is_wide(const fmt_block_plan *plan) { return plan->source == TYPE_F64; }

/* The bits of n elements from index: uint32_t of float32, or uint64_t of float64 if wide. */
static const void *load(const fmt_block_plan *plan, const void *x, ptrdiff_t index, ptrdiff_t n,
                        stages *s)
{
    switch (plan->source) {
    case TYPE_F16: fmt_active->widen16((const uint16_t *)x + index, s->bits32, n); return s->bits32;
    case TYPE_BF16: fmt_active->widen_bf16((const uint16_t *)x + index, s->bits32, n); return s->bits32;
    case TYPE_F32: return (const uint32_t *)x + index;
    default: return (const uint64_t *)x + index;
    }
}

/* floor(log2(max)) within the window of the exponent's field; from the bits, subnormals too. */
static int32_t group_exponent(const fmt_block_plan *plan, uint64_t max, stages *s)
{
    const int mantissa = is_wide(plan) ? 52 : 23, bias = is_wide(plan) ? 1023 : 127;
    const int32_t field = (int32_t)(max >> mantissa);
    const int32_t least = -plan->spec.block_bias;
    const int32_t greatest = plan->spec.block_max_code - plan->spec.block_bias;
    if (max == 0)
        return least;
    if (field == 2 * bias + 1) {
        s->nonfinite = 1;
        return NAN_EXPONENT;
    }
    const int32_t exponent
        = field ? field - bias : 63 - __builtin_clzll(max) - (bias + mantissa - 1);
    return exponent < least ? least : exponent > greatest ? greatest : exponent;
}

static uint8_t scale_code(const fmt_block_plan *plan, int32_t exponent)
{
    return (uint8_t)(exponent == NAN_EXPONENT ? plan->spec.block_max_code + 1
                                              : exponent + plan->spec.block_bias);
}

/* Unlimited codes of n elements, by the exponents in s. */
static void round_run(const fmt_block_plan *plan, const void *x, ptrdiff_t index, ptrdiff_t n,
                      stages *s)
{
    const uint32_t *words = NULL;
    if (plan->stochastic) {
        fmt_active->philox(plan->seed, plan->stream, plan->first + (uint64_t)index, s->words, n);
        words = s->words;
    }
    const void *bits = load(plan, x, index, n, s);
    if (is_wide(plan))
        fmt_active->encode_block64(bits, s->exponents, words, s->codes, n, &plan->spec);
    else
        fmt_active->encode_block32(bits, s->exponents, words, s->codes, n, &plan->spec);
}

static int carried(const fmt_block_plan *plan, uint32_t code)
{
    return (code & 0x7fffffff) >> plan->spec.block_mantissa != 0;
}

/* The next greater exponent, if the field has one. */
static int32_t bumped(const fmt_block_plan *plan, int32_t exponent)
{
    const int32_t greatest = plan->spec.block_max_code - plan->spec.block_bias;
    return exponent < greatest ? exponent + 1 : exponent;
}

/* Limit the codes, put the sign in place, and write codes or values. */
static void finish_run(const fmt_block_plan *plan, void *out, ptrdiff_t index, ptrdiff_t n,
                       stages *s)
{
    const int32_t m = plan->spec.block_mantissa;
    const uint32_t greatest = ((uint32_t)1 << m) - 1;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t magnitude = s->codes[i] & 0x7fffffff;
        const uint32_t code
            = (magnitude < greatest ? magnitude : greatest) | (s->codes[i] >> 31) << m;
        s->codes[i] = s->exponents[i] == NAN_EXPONENT ? 0 : code;
    }
    const fmt_kernels *k = fmt_active;
    switch (plan->target) {
    case TYPE_INT1: k->pack8(s->codes, (uint8_t *)out + index, n); return;
    case TYPE_INT2: k->pack16(s->codes, (uint16_t *)out + index, n); return;
    case TYPE_INT4: memcpy((uint32_t *)out + index, s->codes, (size_t)n * 4); return;
    case TYPE_F64:
        k->decode_block64(s->codes, s->exponents, (uint64_t *)out + index, n, &plan->spec);
        return;
    case TYPE_F32:
        k->decode_block32(s->codes, s->exponents, (uint32_t *)out + index, n, &plan->spec);
        return;
    default:
        k->decode_block32(s->codes, s->exponents, s->bits32, n, &plan->spec);
        (plan->target == TYPE_F16 ? k->narrow16 : k->narrow_bf16)(s->bits32, (uint16_t *)out + index, n);
    }
}

static uint64_t run_max(const fmt_block_plan *plan, const void *bits, ptrdiff_t n)
{
    return is_wide(plan) ? fmt_active->absmax_run64(bits, n) : fmt_active->absmax_run32(bits, n);
}

/* Short groups along a row: several to a chunk. */
static void encode_short_runs(const fmt_block_plan *plan, const void *x, ptrdiff_t row, void *out,
                              uint8_t *scales, stages *s)
{
    const ptrdiff_t size = is_wide(plan) ? 8 : 4, per_chunk = CHUNK / plan->group * plan->group;
    for (ptrdiff_t first = 0; first < plan->length; first += per_chunk) {
        const ptrdiff_t n = smaller(per_chunk, plan->length - first), index = row + first;
        const char *bits = load(plan, x, index, n, s);
        for (ptrdiff_t start = 0; start < n; start += plan->group) {
            const ptrdiff_t end = smaller(start + plan->group, n);
            const int32_t e = group_exponent(plan, run_max(plan, bits + start * size, end - start), s);
            for (ptrdiff_t i = start; i < end; i++)
                s->exponents[i] = e;
        }
        round_run(plan, x, index, n, s);
        if (plan->bump) {
            for (ptrdiff_t start = 0; start < n; start += plan->group) {
                const ptrdiff_t end = smaller(start + plan->group, n);
                int any = 0;
                for (ptrdiff_t i = start; i < end; i++)
                    any |= carried(plan, s->codes[i]);
                const int32_t e = s->exponents[start];
                for (ptrdiff_t i = start; any && e != NAN_EXPONENT && i < end; i++)
                    s->exponents[i] = bumped(plan, e);
            }
            round_run(plan, x, index, n, s);
        }
        for (ptrdiff_t start = 0; scales && start < n; start += plan->group)
            *scales++ = scale_code(plan, s->exponents[start]);
        finish_run(plan, out, index, n, s);
    }
}

/* A group longer than a chunk. */
static void encode_long_run(const fmt_block_plan *plan, const void *x, ptrdiff_t index,
                            ptrdiff_t n, void *out, uint8_t *scale, stages *s)
{
    uint64_t max = 0;
    for (ptrdiff_t i = 0; i < n; i += CHUNK) {
        const ptrdiff_t count = smaller(CHUNK, n - i);
        const uint64_t found = run_max(plan, load(plan, x, index + i, count, s), count);
        max = found > max ? found : max;
    }
    int32_t e = group_exponent(plan, max, s);
    for (int pass = plan->bump ? 0 : 1; pass < 2; pass++) {
        int any = 0;
        for (ptrdiff_t i = 0; i < CHUNK; i++)
            s->exponents[i] = e;
        for (ptrdiff_t i = 0; i < n; i += CHUNK) {
            const ptrdiff_t count = smaller(CHUNK, n - i);
            round_run(plan, x, index + i, count, s);
            if (pass == 1)
                finish_run(plan, out, index + i, count, s);
            else
                for (ptrdiff_t j = 0; j < count; j++)
                    any |= carried(plan, s->codes[j]);
        }
        if (any && e != NAN_EXPONENT)
            e = bumped(plan, e);
    }
    if (scale)
        *scale = scale_code(plan, e);
}

/* `columns` neighbouring groups, each a column of `depth` rows. */
static void encode_columns(const fmt_block_plan *plan, const void *x, ptrdiff_t index,
                           ptrdiff_t depth, ptrdiff_t columns, void *out, uint8_t *scales,
                           stages *s)
{
    memset(s->max32, 0, sizeof s->max32);
    memset(s->max64, 0, sizeof s->max64);
    for (ptrdiff_t i = 0; i < depth; i++) {
        const void *bits = load(plan, x, index + i * plan->inner, columns, s);
        if (is_wide(plan))
            fmt_active->absmax64(bits, s->max64, columns);
        else
            fmt_active->absmax32(bits, s->max32, columns);
    }
    for (ptrdiff_t j = 0; j < columns; j++)
        s->exponents[j] = group_exponent(plan, is_wide(plan) ? s->max64[j] : s->max32[j], s);
    for (int pass = plan->bump ? 0 : 1; pass < 2; pass++) {
        memset(s->carries, 0, sizeof s->carries);
        for (ptrdiff_t i = 0; i < depth; i++) {
            round_run(plan, x, index + i * plan->inner, columns, s);
            if (pass == 1)
                finish_run(plan, out, index + i * plan->inner, columns, s);
            else
                for (ptrdiff_t j = 0; j < columns; j++)
                    s->carries[j] |= (uint8_t)carried(plan, s->codes[j]);
        }
        for (ptrdiff_t j = 0; j < columns; j++)
            if (s->carries[j] && s->exponents[j] != NAN_EXPONENT)
                s->exponents[j] = bumped(plan, s->exponents[j]);
    }
    for (ptrdiff_t j = 0; scales && j < columns; j++)
        scales[j] = scale_code(plan, s->exponents[j]);
}

int fmt_encode_blocks(const fmt_block_plan *plan, const void *x, void *out, uint8_t *scales)
{
    stages s = {.nonfinite = 0};
    const ptrdiff_t groups = (plan->length + plan->group - 1) / plan->group;
    for (ptrdiff_t o = 0; o < plan->outer; o++) {
        const ptrdiff_t block = o * plan->length * plan->inner;
        uint8_t *row_scales = scales ? scales + o * groups * plan->inner : NULL;
        if (plan->inner == 1 && plan->group <= CHUNK) {
            encode_short_runs(plan, x, block, out, row_scales, &s);
            continue;
        }
        for (ptrdiff_t g = 0; g < groups; g++) {
            const ptrdiff_t first = g * plan->group;
            const ptrdiff_t depth = smaller(plan->group, plan->length - first);
            const ptrdiff_t index = block + first * plan->inner;
            uint8_t *group_scales = row_scales ? row_scales + g * plan->inner : NULL;
            if (plan->inner == 1) {
                encode_long_run(plan, x, index, depth, out, group_scales, &s);
                continue;
            }
            for (ptrdiff_t j = 0; j < plan->inner; j += CHUNK)
                encode_columns(plan, x, index + j, depth, smaller(CHUNK, plan->inner - j), out,
                               group_scales ? group_scales + j : NULL, &s);
        }
    }
    return s.nonfinite;
}

void fmt_decode_blocks(const fmt_block_plan *plan, const void *codes, const uint8_t *scales,
                       void *out)
{
    stages s = {.nonfinite = 0};
    const ptrdiff_t groups = (plan->length + plan->group - 1) / plan->group;
    const ptrdiff_t total = plan->outer * plan->length * plan->inner;
    const ptrdiff_t plane = plan->length * plan->inner;
    const uint32_t mask = ((uint32_t)2 << plan->spec.block_mantissa) - 1;
    for (ptrdiff_t index = 0; index < total; index += CHUNK) {
        const ptrdiff_t n = smaller(CHUNK, total - index);
        switch (plan->source) {
        case TYPE_INT1: fmt_active->unpack8((const uint8_t *)codes + index, s.codes, n); break;
        case TYPE_INT2: fmt_active->unpack16((const uint16_t *)codes + index, s.codes, n); break;
        default: memcpy(s.codes, (const uint32_t *)codes + index, (size_t)n * 4); break;
        }
        /* walk (outer, row, inner) along the chunk: the scale moves on with the column */
        ptrdiff_t o = index / plane, row = index % plane / plan->inner, j = index % plan->inner;
        for (ptrdiff_t i = 0; i < n; i++) {
            const uint8_t code = scales[(o * groups + row / plan->group) * plan->inner + j];
            s.exponents[i] = code > plan->spec.block_max_code ? NAN_EXPONENT
                                                              : code - plan->spec.block_bias;
            s.codes[i] &= mask;
            if (++j == plan->inner) {
                j = 0;
                if (++row == plan->length) {
                    row = 0;
                    o++;
                }
            }
        }
        switch (plan->target) {
        case TYPE_F64:
            fmt_active->decode_block64(s.codes, s.exponents, (uint64_t *)out + index, n, &plan->spec);
            break;
        default:
            fmt_active->decode_block32(s.codes, s.exponents, (uint32_t *)out + index, n, &plan->spec);
            break;
        }
    }
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
