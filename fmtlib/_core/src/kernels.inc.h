/* The stages, compiled once per instruction set: a target_*.c sets its target, defines TARGET and
 * includes this file.  Plain loops that compilers vectorise; where one side of a choice would be
 * floating point, the choice is made on its bits. */

#define VECTOR_INLINE static inline __attribute__((always_inline))

#include "philox.inc.h"
#include "round_widths.inc.h"
#include "noise.inc.h"
#include "scaled.inc.h"
#include "nearest.inc.h"
#include "statistics.inc.h"

static void widen_bf16(const uint16_t *restrict x, uint32_t *restrict bits, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        bits[i] = (uint32_t)x[i] << 16;
}

static void widen32(const uint32_t *restrict x, uint64_t *restrict bits, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const int32_t magnitude = (int32_t)(x[i] & 0x7fffffff);
        const uint64_t sign = (uint64_t)(x[i] >> 31) << 63, a = (uint64_t)magnitude;
        /* subnormals: planted in the significand of a power of two, which is then subtracted */
        const uint64_t planted = a | (uint64_t)(1023 + 52 - 149) << 52;
        double value;
        memcpy(&value, &planted, sizeof value);
        value -= 0x1p-97;
        uint64_t small;
        memcpy(&small, &value, sizeof small);
        const uint32_t bias = magnitude >= 0x7f800000 ? 1792 : 896;
        const uint64_t large = (a << 29) + ((uint64_t)bias << 52);
        bits[i] = sign | (magnitude < 0x800000 ? small : large);
    }
}

static void narrow32(const uint64_t *restrict x, uint32_t *restrict bits, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, &x[i], sizeof value);
        const float rounded = (float)value;
        uint32_t found;
        memcpy(&found, &rounded, sizeof found);
        const int overflow
            = (found << 1 == 0xff000000) & ((x[i] & INT64_MAX) != (uint64_t)0x7ff << 52);
        bits[i] = found - (uint32_t)overflow;
    }
}

static void multiply32(const uint32_t *x, const uint32_t *factors, uint32_t *out, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        float value, factor;
        memcpy(&value, &x[i], sizeof value);
        memcpy(&factor, &factors[i], sizeof factor);
        value *= factor;
        memcpy(&out[i], &value, sizeof value);
    }
}

static void multiply64(const uint64_t *x, const uint64_t *factors, uint64_t *out, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double value, factor;
        memcpy(&value, &x[i], sizeof value);
        memcpy(&factor, &factors[i], sizeof factor);
        value *= factor;
        memcpy(&out[i], &value, sizeof value);
    }
}

static void narrow_bf16(const uint32_t *restrict bits, uint16_t *restrict x, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = (uint16_t)(bits[i] >> 16);
}

#define COPY(NAME, FROM, TO)                                                                       \
    static void NAME(const FROM *restrict x, TO *restrict out, ptrdiff_t n)                        \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            out[i] = (TO)x[i];                                                                     \
    }
COPY(pack8, uint32_t, uint8_t)
COPY(pack16, uint32_t, uint16_t)
COPY(unpack8, uint8_t, uint32_t)
COPY(unpack16, uint16_t, uint32_t)
COPY(unpack_signed8, int8_t, uint32_t)
COPY(unpack_signed16, int16_t, uint32_t)
#undef COPY

/* Between float16 and float32 by way of 32-bit integers: compilers that change the width in the
 * same loop do arithmetic in the narrow one, or none in vectors. */
static void widen16(const uint16_t *restrict x, uint32_t *restrict bits, ptrdiff_t n)
{
    unpack16(x, bits, n);
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t sign = (bits[i] & 0x8000) << 16, a = bits[i] & 0x7fff;
        /* subnormals: 1.fraction less 1, in float16's lowest binade */
        const uint32_t small = to_bits(to_float((a << 13) + (113u << 23)) - 0x1p-14f);
        const uint32_t large = (a << 13) + (a >= 0x7c00 ? 224u << 23 : 112u << 23);
        bits[i] = sign | (a < 0x400 ? small : large);
    }
}

/* From float32 bits that hold a float16 value exactly. */
static void narrow16(const uint32_t *restrict bits, uint16_t *restrict x, ptrdiff_t n)
{
    uint32_t narrow[CHUNK];
    for (ptrdiff_t done = 0; done < n; done += CHUNK) {
        const ptrdiff_t some = n - done < CHUNK ? n - done : CHUNK;
        for (ptrdiff_t i = 0; i < some; i++) {
            const uint32_t sign = bits[done + i] >> 16 & 0x8000;
            const int32_t a = (int32_t)(bits[done + i] & 0x7fffffff);
            /* subnormals: the unit of 0.5 is float16's least number */
            const uint32_t small = to_bits(to_float((uint32_t)a) + 0.5f) - to_bits(0.5f);
            const uint32_t special = a > 0x7f800000 ? 0x7e00 : 0x7c00;
            const uint32_t large = ((uint32_t)a - (112u << 23)) >> 13;
            const uint32_t finite = a < 113 << 23 ? small : large;
            narrow[i] = sign | (a >= 0x7f800000 ? special : finite);
        }
        pack16(narrow, x + done, some);
    }
}

/* magnitudes: the bits below the sign that two's complement needs (x or ~x); ones: bits set. */
static void group_or(const int16_t *restrict x, uint16_t *restrict magnitudes,
                     uint16_t *restrict ones, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        magnitudes[i] |= (uint16_t)(x[i] ^ (x[i] >> 15));
        ones[i] |= (uint16_t)x[i];
    }
}

static void group_or_run(const int16_t *restrict x, ptrdiff_t n, uint16_t *magnitudes,
                         uint16_t *ones)
{
    uint16_t all = 0, set = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        all |= (uint16_t)(x[i] ^ (x[i] >> 15));
        set |= (uint16_t)x[i];
    }
    *magnitudes = all;
    *ones = set;
}

/* Sums of up to `run` products are integers below 2**24, so float arithmetic on them is exact:
 * fused or not, in any order, the same bits.  Vector types keep the tile of sums in registers, which
 * compilers do not find by themselves; elsewhere than in GCC and Clang the plain twin serves. */
#if defined(__GNUC__)
typedef float lanes __attribute__((vector_size(32)));
typedef float lanes_in_memory __attribute__((vector_size(32), aligned(4), may_alias));
enum { LANES = 8, VECTORS = TILE_COLUMNS / LANES };

static void sum_run(const float *restrict a, const float *restrict b, ptrdiff_t n,
                    float sums[TILE_ROWS][TILE_COLUMNS])
{
    lanes tile[TILE_ROWS][VECTORS] = {{{0}}};
    for (ptrdiff_t k = 0; k < n; k++) {
        const lanes_in_memory *row = (const lanes_in_memory *)(b + k * TILE_COLUMNS);
        for (int i = 0; i < TILE_ROWS; i++)
            for (int v = 0; v < VECTORS; v++)
                tile[i][v] += a[k * TILE_ROWS + i] * row[v];
    }
    memcpy(sums, tile, sizeof tile);
}
#else
static void sum_run(const float *restrict a, const float *restrict b, ptrdiff_t n,
                    float sums[TILE_ROWS][TILE_COLUMNS])
{
    memset(sums, 0, sizeof(float) * TILE_ROWS * TILE_COLUMNS);
    for (ptrdiff_t k = 0; k < n; k++)
        for (int i = 0; i < TILE_ROWS; i++)
            for (int j = 0; j < TILE_COLUMNS; j++)
                sums[i][j] += a[k * TILE_ROWS + i] * b[k * TILE_COLUMNS + j];
}
#endif

static void dot_group(const float *restrict a, const double *restrict a_scale,
                      const float *restrict b, const double *restrict b_scale, ptrdiff_t group,
                      ptrdiff_t run, float *restrict totals)
{
    float sums[TILE_ROWS][TILE_COLUMNS];
    double wide[TILE_ROWS][TILE_COLUMNS];
    sum_run(a, b, group < run ? group : run, sums);
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < TILE_COLUMNS; j++)
            wide[i][j] = (double)sums[i][j];
    for (ptrdiff_t first = run; first < group; first += run) {
        const ptrdiff_t n = group - first < run ? group - first : run;
        sum_run(a + first * TILE_ROWS, b + first * TILE_COLUMNS, n, sums);
        for (int i = 0; i < TILE_ROWS; i++)
            for (int j = 0; j < TILE_COLUMNS; j++)
                wide[i][j] += (double)sums[i][j];
    }
    /* The scaled sum is exact in double, then one rounding to float32, then one addition: the
     * fMAC's float32 accumulator. */
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < TILE_COLUMNS; j++)
            totals[i * TILE_COLUMNS + j] += (float)(wide[i][j] * (a_scale[i] * b_scale[j]));
}

/* Tiles of products with other accumulators (accumulate.c), one row or four against TILE_COLUMNS
 * columns; b is [depth][TILE_COLUMNS]. */
#pragma GCC diagnostic ignored "-Wpsabi" /* all inlined: there is no call whose ABI could change */
typedef int32_t ints __attribute__((vector_size(32)));
typedef int32_t ints_in_memory __attribute__((vector_size(32), aligned(4), may_alias));
typedef double doubles __attribute__((vector_size(32)));
typedef double doubles_in_memory __attribute__((vector_size(32), aligned(8), may_alias));
typedef double wide_doubles __attribute__((vector_size(64))); /* as many as ints */
typedef int64_t wide_longs __attribute__((vector_size(64)));

VECTOR_INLINE ints select(ints mask, ints x, ints y) { return (x & mask) | (y & ~mask); }
VECTOR_INLINE ints greater_lane(ints x, ints y) { return select(x > y, x, y); }

/* 2**exponent, lane by lane; exponents are those of normal numbers. */
VECTOR_INLINE lanes power_lane(ints exponent) { return (lanes)((exponent + 127) << 23); }

/* Sequential IEEE arithmetic: totals[i][j] += a[k][i] * b[k][j], each operation rounded. */
static void dot_floats(const float *restrict a, const float *restrict b, ptrdiff_t n,
                       float *restrict totals)
{
    for (int v = 0; v < TILE_COLUMNS; v += LANES) {
        lanes tile[TILE_ROWS];
        for (int i = 0; i < TILE_ROWS; i++)
            tile[i] = *(const lanes_in_memory *)(totals + i * TILE_COLUMNS + v);
        for (ptrdiff_t k = 0; k < n; k++) {
            const lanes row = *(const lanes_in_memory *)(b + k * TILE_COLUMNS + v);
            for (int i = 0; i < TILE_ROWS; i++)
                tile[i] += a[k * TILE_ROWS + i] * row;
        }
        for (int i = 0; i < TILE_ROWS; i++)
            *(lanes_in_memory *)(totals + i * TILE_COLUMNS + v) = tile[i];
    }
}

/* Sums of integers held as doubles; no partial sum reaches 2**51.  They are added to totals. */
static void dot_doubles(const double *restrict a, const double *restrict b, ptrdiff_t n,
                        int64_t *restrict totals)
{
    const double magic = 0x1.8p52; /* its unit is 1: an integer added to it shows in its last bits */
    enum { DOUBLES = 4, PAIR = 2 * DOUBLES };
    for (int v = 0; v < TILE_COLUMNS; v += PAIR) {
        doubles tile[TILE_ROWS][2] = {{{0}}};
        for (ptrdiff_t k = 0; k < n; k++) {
            const doubles_in_memory *row = (const doubles_in_memory *)(b + k * TILE_COLUMNS + v);
            for (int i = 0; i < TILE_ROWS; i++)
                for (int w = 0; w < 2; w++)
                    tile[i][w] += a[k * TILE_ROWS + i] * row[w];
        }
        for (int i = 0; i < TILE_ROWS; i++)
            for (int j = 0; j < PAIR; j++) {
                const double shifted = tile[i][j / DOUBLES][j % DOUBLES] + magic;
                int64_t bits;
                memcpy(&bits, &shifted, sizeof bits);
                totals[i * TILE_COLUMNS + v + j] += bits - 0x4338000000000000;
            }
    }
}

/* The aligned terms of a step, truncated: *even + *odd is their sum in units of 2**(top - bits).
 * Each is the significand `a * b`, below 4, times 2**(ae + be); zeros have a very small exponent. */
VECTOR_INLINE void sum_aligned(const float *restrict a, const int32_t *restrict ae,
                               const float *restrict b, const int32_t *restrict be, ptrdiff_t n,
                               int bits, ints *top, ints *even, ints *odd)
{
    ints greatest = *top;
    for (ptrdiff_t k = 0; k < n; k++) {
        const ints e = *(const ints_in_memory *)(be + k * TILE_COLUMNS) + ae[k];
        greatest = greater_lane(greatest, e);
    }
    const ints reach = greatest - bits;
#define TERM(K)                                                                                    \
    __builtin_convertvector(a[K] * *(const lanes_in_memory *)(b + (K) * TILE_COLUMNS)              \
                                * power_lane(greater_lane(                                         \
                                    *(const ints_in_memory *)(be + (K) * TILE_COLUMNS) + ae[K]     \
                                        - reach,                                                   \
                                    (ints){0} - 60)),                                              \
                            ints)
    ptrdiff_t k = 0;
    for (; k + 1 < n; k += 2) {
        *even += TERM(k);
        *odd += TERM(k + 1);
    }
    if (k < n)
        *even += TERM(k);
#undef TERM
    *top = greatest;
}

/* Steps of a tensor core: the total (significand c, exponent ce) is one of the terms, and the sum is
 * truncated to mantissa_bits below its leading bit.  Returns whether a total leaves the range of
 * normal float32 numbers. */
static int dot_aligned(const float *restrict a, const int32_t *restrict ae,
                       const float *restrict b, const int32_t *restrict be, ptrdiff_t depth,
                       ptrdiff_t terms, int bits, int mantissa_bits, float *restrict c,
                       int32_t *restrict ce)
{
    ints out = {0};
    const int32_t kept = (int32_t)(0xffffffffu << (23 - mantissa_bits));
    for (int v = 0; v < TILE_COLUMNS; v += LANES) {
        lanes total = *(const lanes_in_memory *)(c + v);
        ints exponent = *(const ints_in_memory *)(ce + v);
        for (ptrdiff_t k = 0; k < depth; k += terms) {
            const ptrdiff_t n = depth - k < terms ? depth - k : terms;
            ints top = exponent, even = {0}, odd = {0};
            sum_aligned(a + k, ae + k, b + k * TILE_COLUMNS + v, be + k * TILE_COLUMNS + v, n, bits,
                        &top, &even, &odd);
            const ints place = greater_lane(exponent - top + bits, (ints){0} - 60);
            even += __builtin_convertvector(total * power_lane(place), ints);
            /* even + odd = 4 high + low, then its magnitude: it may have 33 bits */
            ints low = (even & 3) + (odd & 3);
            ints high = (even >> 2) + (odd >> 2) + (low >> 2);
            low &= 3;
            const ints minus = high < 0;
            high = select(minus, (low != 0) - high, high);
            low = select(minus, (4 - low) & 3, low);
            const ints large = high >= 1 << 23;
            const ints x = select(large, high, 4 * high + low);
            /* to float and, where that went up, back by one: truncated to 24 bits */
            const lanes nearest = __builtin_convertvector(x, lanes);
            const ints word = (ints)nearest + (__builtin_convertvector(nearest, ints) > x);
            const ints some = x != 0;
            exponent = top - bits + (word >> 23) - 127 + (large & 2);
            out |= some & ((exponent > 127) | (exponent < -126));
            exponent = select(some, exponent, (ints){0} - (1 << 20));
            total = (lanes)(some & ((word & 0x7fffff & kept) | 0x3f800000
                                    | (minus & (int32_t)0x80000000)));
        }
        *(lanes_in_memory *)(c + v) = total;
        *(ints_in_memory *)(ce + v) = exponent;
    }
    int any = 0;
    for (int j = 0; j < LANES; j++)
        any |= out[j];
    return any != 0;
}

/* Steps whose aligned sum is added to a float32 total in one rounding to nearest, ties to even.
 * Returns whether a total became infinite. */
static int dot_aligned_late(const float *restrict a, const int32_t *restrict ae,
                            const float *restrict b, const int32_t *restrict be, ptrdiff_t depth,
                            ptrdiff_t terms, int bits, float *restrict c)
{
    int infinite = 0;
    for (int v = 0; v < TILE_COLUMNS; v += LANES) {
        lanes total = *(const lanes_in_memory *)(c + v);
        for (ptrdiff_t k = 0; k < depth; k += terms) {
            const ptrdiff_t n = depth - k < terms ? depth - k : terms;
            ints top = (ints){0} - (1 << 20), even = {0}, odd = {0};
            sum_aligned(a + k, ae + k, b + k * TILE_COLUMNS + v, be + k * TILE_COLUMNS + v, n, bits,
                        &top, &even, &odd);
            const wide_longs place
                = __builtin_convertvector(greater_lane(top, (ints){0} - 600) - bits + 1023, wide_longs);
            const wide_doubles sum = (__builtin_convertvector(even, wide_doubles)
                                 + __builtin_convertvector(odd, wide_doubles))
                                * (wide_doubles)(place << 52);
            const wide_doubles start = __builtin_convertvector(total, wide_doubles);
            /* the exact sum is near + rest (Knuth); to odd, so that the next rounding is the only one */
            const wide_doubles near = sum + start, back = near - sum;
            const wide_doubles rest = (sum - (near - back)) + (start - back);
            const wide_longs inexact = rest != 0, away = (rest < 0) == (near < 0);
            const wide_longs truncated = (wide_longs)near + (inexact & ~away);
            const wide_longs odd_bits = (inexact & (truncated | 1)) | (~inexact & (wide_longs)near);
            total = __builtin_convertvector((wide_doubles)odd_bits, lanes);
            for (int j = 0; j < LANES; j++)
                infinite |= total[j] - total[j] != 0;
        }
        *(lanes_in_memory *)(c + v) = total;
    }
    return infinite;
}

const fmt_kernels TARGET = {
    .name = TARGET_NAME,
    .widen16 = widen16,
    .widen_bf16 = widen_bf16,
    .widen32 = widen32,
    .narrow32 = narrow32,
    .narrow16 = narrow16,
    .narrow_bf16 = narrow_bf16,
    .nearest_encode = nearest_encode,
    .nearest_encode_bf16 = nearest_encode_bf16,
    .nearest_quantize = nearest_quantize,
    .nearest_quantize_bf16 = nearest_quantize_bf16,
    .nearest_decode = {nearest_decode8, nearest_decode16, nearest_decode32},
    .narrow_to_odd = narrow_to_odd,
    .widen_normal = widen_normal,
    .convert_small = convert_small,
    .integers_to_odd = integers_to_odd,
    .pack8 = pack8,
    .pack16 = pack16,
    .unpack8 = unpack8,
    .unpack16 = unpack16,
    .unpack_signed8 = unpack_signed8,
    .unpack_signed16 = unpack_signed16,
    .encode_float32 = encode_float32,
    .encode_float64 = encode_float64,
    .encode_fixed32 = encode_fixed32,
    .encode_fixed64 = encode_fixed64,
    .decode_float32 = decode_float32,
    .decode_float64 = decode_float64,
    .decode_fixed32 = decode_fixed32,
    .decode_fixed64 = decode_fixed64,
    .divide_to_odd = divide_to_odd,
    .multiply_to_odd = multiply_to_odd,
    .encode_noise = encode_noise,
    .quantize_noise = quantize_noise,
    .encode_scaled32 = encode_scaled32,
    .encode_scaled64 = encode_scaled64,
    .decode_scaled = decode_scaled,
    .encode_integers = encode_integers,
    .philox = philox,
    .absmax32 = absmax32,
    .absmax64 = absmax64,
    .absmax_run32 = absmax_run32,
    .absmax_run64 = absmax_run64,
    .multiply32 = multiply32,
    .multiply64 = multiply64,
    .encode_block_float32 = encode_block_float32,
    .encode_block_float64 = encode_block_float64,
    .decode_block_float32 = decode_block_float32,
    .decode_block_float64 = decode_block_float64,
    .encode_block32 = encode_block32,
    .encode_block64 = encode_block64,
    .decode_block32 = decode_block32,
    .decode_block64 = decode_block64,
    .group_or = group_or,
    .group_or_run = group_or_run,
    .dot_group = dot_group,
    .any_beyond = any_beyond,
    .describe_errors = describe_errors,
    .add_errors = add_errors,
    .dot_floats = dot_floats,
    .dot_doubles = dot_doubles,
    .dot_aligned = dot_aligned,
    .dot_aligned_late = dot_aligned_late,
};
