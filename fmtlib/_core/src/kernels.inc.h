/* The stages, compiled once per instruction set: a target_*.c sets its target, defines TARGET and
 * includes this file.  Plain loops that compilers vectorise; where one side of a choice would be
 * floating point, the choice is made on its bits. */

#include "words.inc.h"
#include "philox.inc.h"
#include "round_widths.inc.h"
#include "noise.inc.h"
#include "nearest.inc.h"
#include "scaled.inc.h"
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

/* Between float16 and float32: instructions where there are any, which the levels of x86-64 have from
 * v3 on (those of float16 heed no flushing of subnormals); else by way of 32-bit integers, since
 * compilers that change the width in the same loop do arithmetic in the narrow one, or none in
 * vectors. */
static inline uint32_t widen_one16(uint32_t code)
{
    const uint32_t sign = (code & 0x8000) << 16, a = code & 0x7fff;
    /* subnormals: 1.fraction less 1, in float16's lowest binade */
    const uint32_t small = to_bits(to_float((a << 13) + (113u << 23)) - 0x1p-14f);
    const uint32_t large = (a << 13) + (a >= 0x7c00 ? 224u << 23 : 112u << 23);
    return sign | (a < 0x400 ? small : large);
}

/* From float32 bits that hold a float16 value exactly. */
static inline uint32_t narrow_one16(uint32_t bits)
{
    const uint32_t sign = bits >> 16 & 0x8000;
    const int32_t a = (int32_t)(bits & 0x7fffffff);
    /* subnormals: the unit of 0.5 is float16's least number */
    const uint32_t small = to_bits(to_float((uint32_t)a) + 0.5f) - to_bits(0.5f);
    const uint32_t special = a > 0x7f800000 ? 0x7e00 : 0x7c00;
    const uint32_t large = ((uint32_t)a - (112u << 23)) >> 13;
    const uint32_t finite = a < 113 << 23 ? small : large;
    return sign | (a >= 0x7f800000 ? special : finite);
}

#if defined(__x86_64__) && VECTOR_BYTES >= 32
static void widen16(const uint16_t *restrict x, uint32_t *restrict bits, ptrdiff_t n)
{
    ptrdiff_t i = 0;
#if VECTOR_BYTES == 64
    for (; i + 16 <= n; i += 16) {
        const __m256i sixteen = _mm256_loadu_si256((const __m256i *)(x + i));
        _mm512_storeu_ps((float *)(bits + i), _mm512_cvtph_ps(sixteen));
    }
#endif
    for (; i + 8 <= n; i += 8) {
        const __m128i eight = _mm_loadu_si128((const __m128i *)(x + i));
        _mm256_storeu_ps((float *)(bits + i), _mm256_cvtph_ps(eight));
    }
    for (; i < n; i++)
        bits[i] = widen_one16(x[i]);
}

static void narrow16(const uint32_t *restrict bits, uint16_t *restrict x, ptrdiff_t n)
{
    ptrdiff_t i = 0;
#if VECTOR_BYTES == 64
    for (; i + 16 <= n; i += 16) {
        const __m512 sixteen = _mm512_loadu_ps((const float *)(bits + i));
        _mm256_storeu_si256((__m256i *)(x + i),
                            _mm512_cvtps_ph(sixteen, _MM_FROUND_TO_NEAREST_INT));
    }
#endif
    for (; i + 8 <= n; i += 8) {
        const __m256 eight = _mm256_loadu_ps((const float *)(bits + i));
        _mm_storeu_si128((__m128i *)(x + i), _mm256_cvtps_ph(eight, _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < n; i++)
        x[i] = (uint16_t)narrow_one16(bits[i]);
}
#else
static void widen16(const uint16_t *restrict x, uint32_t *restrict bits, ptrdiff_t n)
{
    unpack16(x, bits, n);
    for (ptrdiff_t i = 0; i < n; i++)
        bits[i] = widen_one16(bits[i]);
}

static void narrow16(const uint32_t *restrict bits, uint16_t *restrict x, ptrdiff_t n)
{
    uint32_t narrow[CHUNK];
    for (ptrdiff_t done = 0; done < n; done += CHUNK) {
        const ptrdiff_t some = n - done < CHUNK ? n - done : CHUNK;
        for (ptrdiff_t i = 0; i < some; i++)
            narrow[i] = narrow_one16(bits[done + i]);
        pack16(narrow, x + done, some);
    }
}
#endif

static void finite_max(const uint32_t *restrict bits, ptrdiff_t n, uint32_t *max, uint32_t *all)
{
    int32_t finite = (int32_t)*max, any = (int32_t)*all;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int32_t a = (int32_t)(bits[i] & 0x7fffffff);
        const int32_t kept = a & ((a - 0x7f800000) >> 31); /* a choice would not vectorise */
        finite = kept > finite ? kept : finite;
        any = a > any ? a : any;
    }
    *max = (uint32_t)finite;
    *all = (uint32_t)any;
}

/* Micro-exponents (0 or 1) into the codes of their groups, `per` to each, from bit `place` on; and
 * codes of sub-blocks from those of groups, one less where that bit is set.  Eight to a group, or
 * one, are the usual numbers. */
static inline void add_shifts_of(const uint32_t *restrict shifts, uint32_t *restrict codes,
                                 ptrdiff_t groups, ptrdiff_t per, int32_t place)
{
    for (ptrdiff_t g = 0; g < groups; g++) {
        uint32_t all = 0;
        for (ptrdiff_t j = 0; j < per; j++)
            all |= shifts[g * per + j] << j;
        codes[g] |= all << place;
    }
}

static void add_shifts(const uint32_t *shifts, uint32_t *codes, ptrdiff_t groups, ptrdiff_t per,
                       int32_t place)
{
    if (per == 1)
        add_shifts_of(shifts, codes, groups, 1, place);
    else if (per == 8)
        add_shifts_of(shifts, codes, groups, 8, place);
    else
        add_shifts_of(shifts, codes, groups, per, place);
}

static inline void take_shifts_of(const uint32_t *restrict codes, uint32_t *restrict own,
                                  ptrdiff_t groups, ptrdiff_t per, int32_t place, const fmt_spec *p,
                                  uint32_t mask)
{
    const int32_t greatest = p->block_max_code;
    for (ptrdiff_t g = 0; g < groups; g++) {
        const uint32_t code = codes[g] & mask, shifts = codes[g] >> place;
        const uint32_t finite = (int32_t)code <= greatest;
        for (ptrdiff_t j = 0; j < per; j++)
            own[g * per + j] = code - (shifts >> j & finite);
    }
}

static void take_shifts(const uint32_t *codes, uint32_t *own, ptrdiff_t groups, ptrdiff_t per,
                        int32_t place, const fmt_spec *p, uint32_t mask)
{
    if (per == 1)
        take_shifts_of(codes, own, groups, 1, place, p, mask);
    else if (per == 8)
        take_shifts_of(codes, own, groups, 8, place, p, mask);
    else
        take_shifts_of(codes, own, groups, per, place, p, mask);
}

#include "widths.inc.h"
#include "terms.inc.h"
#include "compress.inc.h"
#include "bit_planes.inc.h"
#include "table_product.inc.h"
#include "crc32c.inc.h"
#include "tiles.inc.h"

#define OF_FLOAT32(stem) stem##32
#define OF_FLOAT64(stem) stem##64

const fmt_kernels TARGET = {
    .name = TARGET_NAME,
    .groups = {GROUP_KERNELS(OF_FLOAT32), GROUP_KERNELS(OF_FLOAT64)},
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
    .encode_scaled_bytes = encode_scaled_bytes,
    .encode_scaled32 = encode_scaled32,
    .encode_scaled64 = encode_scaled64,
    .decode_scaled = decode_scaled,
    .encode_scaled_floats = encode_scaled_floats,
    .decode_scaled_floats = decode_scaled_floats,
    .encode_integers = encode_integers,
    .philox = philox,
    .multiply32 = multiply32,
    .multiply64 = multiply64,
    .encode_block_float32 = encode_block_float32,
    .encode_block_float64 = encode_block_float64,
    .decode_block_float32 = decode_block_float32,
    .decode_block_float64 = decode_block_float64,
    .finite_max = finite_max,
    .add_shifts = add_shifts,
    .take_shifts = take_shifts,
    .crc32c = CRC32C,
    .count_terms = {count_terms8, count_terms16, count_terms32},
    .compress = {COMPRESS_KERNELS(8), COMPRESS_KERNELS(16), COMPRESS_KERNELS(32)},
    .to_planes = {to_planes8, to_planes16, to_planes32},
    .from_planes = {from_planes8, from_planes16, from_planes32},
    .serial_dot = serial_dot,
    .multiply_by_table = multiply_by_table,
    .widths = {WIDTH_KERNELS(8), WIDTH_KERNELS(16), WIDTH_KERNELS(32)},
    .integer_dot = &INTEGER_DOT,
    .any_beyond = any_beyond,
    .describe_errors = describe_errors,
    .add_errors = add_errors,
    .dot_floats = dot_floats,
    .dot_doubles = dot_doubles,
    .dot_twofold = dot_twofold,
    .dot_aligned = dot_aligned,
    .read_floats = read_floats,
    .split_floats = split_floats,
    .add_groups = add_groups,
};
