/* The cores, for one width of floating-point bits; included with W, U, I, MANTISSA and BIAS defined:
 * W=32 for the bits of float32, W=64 for those of float64.
 *
 * One idea serves every family of formats.  Write |x| = s * 2**p with the integer significand s.
 * To round to multiples of 2**(p + d), split s at bit d:
 *
 *        s = kkkkkk.ffffffff         k = s >> d is kept, f is the discarded fraction
 *                  + addend          k goes up iff f + addend carries into it
 *
 * with the addend 0 toward zero, just under a half (or, if the last kept bit is 1, a half) for ties
 * to even, a half for ties away, all ones for a directed mode, all ones or 0 by the last kept bit to
 * odd, and a random word for stochastic rounding.  The families differ only in d and in what they make
 * of k.
 */

#define SIGN ((U)1 << (W - 1))
#define HIDDEN ((U)1 << MANTISSA)
#define INFINITE ((U)(2 * BIAS + 1) << MANTISSA)

/* |x| = significand * 2**(binade - MANTISSA); only subnormals have a significand below HIDDEN. */
typedef struct {
    U magnitude; /* the bits without the sign */
    U sign;      /* 0 or 1 */
    U significand;
    I binade;
} NAME(parts);

static inline NAME(parts) NAME(take_apart)(U bits)
{
    const U magnitude = bits & (SIGN - 1);
    const I field = (I)(magnitude >> MANTISSA);
    const I subnormal = field == 0;
    return (NAME(parts)){
        .magnitude = magnitude,
        .sign = bits >> (W - 1),
        .significand = (magnitude & (HIDDEN - 1)) | ((U)(1 - subnormal) << MANTISSA),
        .binade = field + subnormal - BIAS,
    };
}

/* 1 or 0; arithmetic, for the sake of vectorisation. */
static inline U NAME(is_nan)(U magnitude) { return (INFINITE - magnitude) >> (W - 1); }

/* The addends of this width, made once before a loop. */
typedef struct {
    U add[2], flip;
} NAME(addends);

static inline NAME(addends) NAME(get_addends)(const fmt_spec *p)
{
    return (NAME(addends)){
        .add = {(U)(p->add[0] >> (64 - W)), (U)(p->add[1] >> (64 - W))},
        .flip = (U)(p->flip >> (64 - W)),
    };
}

/* 1 if the magnitude rounds up, the deterministic modes: 1 <= d; the fraction is W-1 bits. */
static inline U NAME(round_up)(U s, I d, U odd, U sign, const NAME(addends) *a)
{
    const I shift = d < W - 1 ? d : W - 1; /* s < 2**(W-8): beyond, f is small but not 0 */
    const U fraction = (s << (W - 1 - shift)) & (SIGN - 1);
    /* arithmetic, not a choice: compilers keep the loop free of branches */
    const U addend
        = a->add[0] ^ ((a->add[0] ^ a->add[1]) & (U)(0 - sign)) ^ (a->flip & (U)(0 - odd));
    return (fraction + addend) >> (W - 1);
}

/* 1 if the magnitude rounds up, stochastic A: the top 32 bits of the fraction plus the word. */
static inline U NAME(round_up_a)(U s, I d, uint32_t word, uint32_t mask)
{
    const I near = d < W ? d : W;
    const I far = d - near < W - 1 ? d - near : W - 1;
    const U fraction = (s << (W - near)) >> far;
    const uint32_t top = (uint32_t)(fraction >> (W - 32)) & mask;
    const uint32_t sum = top + (word & mask);
    return sum < top;
}

/* Stochastic B and C, which look at more than 32 bits: the fraction is the top of 64 bits, and
 * the last of them tells of what is below. */
static inline U NAME(round_up_bc)(U significand, I d, uint32_t word, const fmt_spec *p, int noise)
{
    const int r = p->random_bits;
    const uint64_t random = word >> (32 - r), s = significand;
    const I near = d < 64 ? d : 64;
    const I far = d - near < 63 ? d - near : 63;
    const uint64_t lifted = s << (64 - near), shifted = lifted >> far;
    const uint64_t fraction = shifted | ((shifted << far) != lifted);
    if (noise == NOISE_B) /* floor(f * 2**(r+1)) + 2 * random + 1 >= 2**(r+1) */
        return ((fraction >> (63 - r)) + 2 * random + 1) >> (r + 1) != 0;
    /* f * 2**r to the nearest, ties to even, + random >= 2**r */
    const uint64_t kept = fraction >> (64 - r), rest = fraction << r, half = (uint64_t)1 << 63;
    const uint64_t up = (rest > half) | ((rest == half) & kept);
    return (kept + up + random) >> r != 0;
}

/* noise is a constant wherever this is inlined. */
static inline U NAME(rounds_up)(U s, I d, U odd, U sign, uint32_t word, int noise,
                                const NAME(addends) *a, const fmt_spec *p)
{
    if (noise == NO_NOISE)
        return NAME(round_up)(s, d, odd, sign, a);
    if (noise == NOISE_A)
        return NAME(round_up_a)(s, d, word, p->word_mask);
    return NAME(round_up_bc)(s, d, word, p, noise);
}

/* One loop for each kind of noise, so that it is a constant in the body: BODY(word, noise). */
#define LOOPS(BODY)                                                                                \
    switch (words ? local.noise : NO_NOISE) {                                                      \
    case NOISE_A:                                                                                  \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            BODY(words[i], NOISE_A);                                                               \
        break;                                                                                     \
    case NOISE_B:                                                                                  \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            BODY(words[i], NOISE_B);                                                               \
        break;                                                                                     \
    case NOISE_C:                                                                                  \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            BODY(words[i], NOISE_C);                                                               \
        break;                                                                                     \
    default:                                                                                       \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            BODY(0, NO_NOISE);                                                                     \
    }

/* exponent: that of the scale of x's block, a power of two; 0 for formats without blocks.  any_sign
 * (0 for signed formats only) and report are constants wherever this is inlined. */
static inline uint32_t NAME(encode_float_one)(U bits, I exponent, uint32_t word, int noise,
                                              int any_sign, int report, const fmt_spec *p,
                                              const NAME(addends) *a, U *invalid, U *overflow)
{
    const NAME(parts) x = NAME(take_apart)(bits);
    /* the target's binade: that of x, or the lowest one */
    const I above = x.binade - (p->min_exponent + exponent);
    const I binade = above > 0 ? above : 0;
    const I d = MANTISSA - p->mantissa_bits + (binade - above);
    const U kept = x.significand >> (d < W - 1 ? d : W - 1);
    /* Consecutive codes are consecutive values, so a carry runs into the exponent by itself. */
    I code = (I)((U)binade << p->mantissa_bits) + (I)kept
             - (I)((U)p->no_zero << p->mantissa_bits);
    code += (I)NAME(rounds_up)(x.significand, d, (U)code & 1, x.sign, word, noise, a, p);
    code = code > 0 ? code : 0;
    const U nan = NAME(is_nan)(x.magnitude);
    const I rounded = code;
    const int over = code > p->max_code;
    code = over ? (I)(x.sign ? p->over_code[1] : p->over_code[0]) : code;
    code = x.magnitude == INFINITE ? (I)p->inf_code : code;
    /* without a sign, what is negative after rounding; E8M0 has no zero to round to */
    const I negative = any_sign ? -(I)(x.sign & (U)p->is_unsigned) : 0;
    I below = code == 0 ? (I)p->negative_zero_code : (I)p->negative_code;
    below = x.magnitude == 0 ? 0 : below;
    code = (code & ~negative) | (below & negative);
    /* masks: a choice by what is also summed up keeps compilers from vectorising */
    code = (code & ((I)nan - 1)) | ((I)p->nan_code & -(I)nan);
    *invalid |= nan;
    if (report) { /* only overflow="raise" pays for it; bits, as above */
        const U beyond = (U)(p->max_code - rounded) >> (W - 1);
        const U infinite = ((x.magnitude ^ INFINITE) - 1) >> (W - 1);
        const U lost = (U)negative & ((U)(below | -below) >> (W - 1));
        const U great = (beyond & ~infinite) | (infinite & (U)p->inf_overflows);
        *overflow |= (great | lost) & (nan ^ 1);
    }
    U sign_bit = code == 0 ? (U)p->zero_sign : (U)p->sign_bit;
    sign_bit = (sign_bit & (nan - 1)) | (p->nan_sign & (0 - nan));
    return (uint32_t)((U)code | (sign_bit & (0 - x.sign)));
}

#define LOCALS                                                                                     \
    const fmt_spec local = *spec;                                                                  \
    const NAME(addends) a = NAME(get_addends)(spec)

static int NAME(encode_float)(const U *restrict bits, const uint32_t *restrict words,
                              uint32_t *restrict codes, ptrdiff_t n, const fmt_spec *spec)
{
    LOCALS;
    U invalid = 0, overflow = 0;
#define BODY(word, noise)                                                                          \
    codes[i] = NAME(encode_float_one)(bits[i], 0, word, noise, any_sign, report, &local, &a,       \
                                      &invalid, &overflow)
    if (local.report) {
        enum { any_sign = 1, report = 1 };
        LOOPS(BODY)
    } else if (local.is_unsigned) {
        enum { any_sign = 1, report = 0 };
        LOOPS(BODY)
    } else {
        enum { any_sign = 0, report = 0 };
        LOOPS(BODY)
    }
#undef BODY
    return (invalid && local.no_nan ? STATUS_INVALID : 0) | (overflow ? STATUS_OVERFLOW : 0);
}

/* Fixed point: d does not depend on the value's binade but on the quantum 2**-fraction_bits. */
static inline uint32_t NAME(encode_fixed_one)(U bits, I zero, uint32_t word, int noise,
                                              const fmt_spec *p, const NAME(addends) *a,
                                              U *invalid, U *overflow)
{
    const NAME(parts) x = NAME(take_apart)(bits);
    const I distance = MANTISSA - p->fraction_bits - x.binade;
    /* distance <= 0: |x| is at least 2**MANTISSA quanta (subnormals are far below a quantum),
     * beyond every range that this width serves */
    const I d = distance > 1 ? distance : 1;
    I k = (I)(x.significand >> (d < W - 1 ? d : W - 1));
    k += (I)NAME(rounds_up)(x.significand, d, (U)k & 1, x.sign, word, noise, a, p);
    k = distance > 0 ? k : (I)1 << (W - 3);
    k = (x.sign ? -k : k) + zero;
    const I low = (I)p->min_integer, high = (I)p->max_integer;
    I nearest = k < low ? low : k;
    nearest = nearest > high ? high : nearest;
    const U nan = NAME(is_nan)(x.magnitude);
    *invalid |= nan;
    *overflow |= (U)(nearest ^ k) & (nan - 1); /* not 0 if they differ */
    return nan ? 0 : (uint32_t)nearest;
}

/* The same modulo 2**integer_bits. */
static inline uint32_t NAME(wrap_fixed_one)(U bits, I zero, uint32_t word, int noise,
                                            const fmt_spec *p, const NAME(addends) *a,
                                            U *invalid)
{
    const NAME(parts) x = NAME(take_apart)(bits);
    const I distance = MANTISSA - p->fraction_bits - x.binade;
    const I d = distance > 1 ? distance : 1, lift = distance < 0 ? -distance : 0;
    U k = x.significand >> (d < W - 1 ? d : W - 1);
    k += NAME(rounds_up)(x.significand, d, k & 1, x.sign, word, noise, a, p);
    k = distance > 0 ? k : lift < W ? x.significand << (lift & (W - 1)) : 0;
    k = (x.sign ? 0 - k : k) + (U)zero;
    const int unused = W - p->integer_bits;
    const U wrapped = p->is_unsigned ? k << unused >> unused : (U)((I)(k << unused) >> unused);
    const U nan = NAME(is_nan)(x.magnitude + 1); /* infinities have no residue */
    *invalid |= nan;
    return nan ? 0 : (uint32_t)wrapped;
}

/* Nearest even, saturating, by hardware: added to 1.5 * 2**MANTISSA quanta, a value is rounded to
 * whole quanta, and their number shows in the last bits of the sum.  That holds up to a quarter of
 * the magic number, far beyond any format that this width serves; farther out a value only has to
 * stay there.  There is no product, and no subnormal result. */
typedef struct {
    REAL magic, least, greatest;
} NAME(quanta);

static inline REAL NAME(quantum)(const fmt_spec *p)
{
    return TO_REAL((U)(BIAS - p->fraction_bits) << MANTISSA);
}

static inline NAME(quanta) NAME(get_quanta)(const fmt_spec *p)
{
    const REAL quantum = NAME(quantum)(p);
    return (NAME(quanta)){
        .magic = quantum * ((REAL)HIDDEN + (REAL)(HIDDEN / 2)),
        .least = quantum * (REAL)p->min_integer,
        .greatest = quantum * (REAL)p->max_integer,
    };
}

static inline REAL NAME(nearest_fixed)(REAL value, I zero, const NAME(quanta) *q)
{
    value = (value + q->magic) - q->magic;
    if (W > 32) /* as many quanta */
        value += TO_REAL(TO_BITS(q->magic) + (U)zero) - q->magic;
    value = value > q->least ? value : q->least;
    return value < q->greatest ? value : q->greatest;
}

static int NAME(encode_nearest_fixed)(const U *restrict bits, const int64_t *restrict zeros,
                                      uint32_t *restrict codes, ptrdiff_t n, const fmt_spec *spec)
{
    const NAME(quanta) q = NAME(get_quanta)(spec);
    const uint32_t magic = (uint32_t)TO_BITS(q.magic);
    uint32_t invalid = 0;
    (void)zeros;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL value = NAME(nearest_fixed)(TO_REAL(bits[i]), ZERO_POINT(i), &q);
        const uint32_t nan = 0 - (uint32_t)((I)(bits[i] & (SIGN - 1)) > (I)INFINITE);
        invalid |= nan;
        codes[i] = ((uint32_t)TO_BITS(value + q.magic) - magic) & ~nan;
    }
    return invalid ? STATUS_INVALID : 0;
}

/* zeros (zero points) is of no meaning to the narrower width: scaled values are float64. */
static int NAME(encode_fixed)(const U *restrict bits, const int64_t *restrict zeros,
                              const uint32_t *restrict words, uint32_t *restrict codes,
                              ptrdiff_t n, const fmt_spec *spec)
{
    LOCALS;
    U invalid = 0, overflow = 0;
    if (words == NULL && fmt_is_nearest_fixed(spec))
        return NAME(encode_nearest_fixed)(bits, zeros, codes, n, spec);
    (void)zeros;
    if (local.wrap) {
#define BODY(word, noise)                                                                          \
    codes[i] = NAME(wrap_fixed_one)(bits[i], ZERO_POINT(i), word, noise, &local, &a, &invalid)
        LOOPS(BODY)
#undef BODY
    } else {
#define BODY(word, noise)                                                                          \
    codes[i] = NAME(encode_fixed_one)(bits[i], ZERO_POINT(i), word, noise, &local, &a, &invalid,   \
                                      &overflow)
        LOOPS(BODY)
#undef BODY
    }
    return (invalid ? STATUS_INVALID : 0) | (overflow ? STATUS_OVERFLOW : 0);
}

/* Elements of blocks: x / 2**E is rounded by moving the format's binades by the group's
 * exponent E; x itself is never scaled.  A group of NaN has codes 0. */
static void NAME(encode_block_float)(const U *restrict bits, const int32_t *restrict exponents,
                                     const uint32_t *restrict words, uint32_t *restrict codes,
                                     ptrdiff_t n, const fmt_spec *spec)
{
    LOCALS;
    U invalid = 0, overflow = 0;
#define BODY(word, noise)                                                                          \
    do {                                                                                           \
        const uint32_t code = NAME(encode_float_one)(bits[i], exponents[i], word, noise, 1, 0,     \
                                                     &local, &a, &invalid, &overflow);             \
        codes[i] = exponents[i] == NAN_EXPONENT ? 0 : code;                                        \
    } while (0)
    LOOPS(BODY)
#undef BODY
}

/* The bits of k * 2**exponent where that value is exact; k converts exactly: it has at most 24
 * bits for float32, 52 for float64. */
static inline U NAME(compose)(U k, I exponent)
{
    const U bits = TO_FLOAT_BITS(k);
    const I lift = exponent + BIAS + MANTISSA - 1; /* above the smallest subnormal */
    const I field = (I)(bits >> MANTISSA) + exponent;
    const U normal = bits + ((U)exponent << MANTISSA);
    const U subnormal = k << (lift & (W - 1));
    return k == 0 ? 0 : field > 0 ? normal : subnormal;
}

/* The same, or infinity if k * 2**exponent is too great. */
static inline U NAME(compose_or_infinity)(U k, I exponent)
{
    const I field = (I)(TO_FLOAT_BITS(k) >> MANTISSA) + exponent;
    return ((k != 0) & (field > 2 * BIAS)) ? INFINITE : NAME(compose)(k, exponent);
}

static inline U NAME(decode_float_one)(uint32_t code, I exponent, const fmt_spec *p)
{
    code &= p->code_mask;
    const uint32_t magnitude = code & p->magnitude_mask;
    const U sign = (U)((code & p->sign_bit) != 0) << (W - 1);
    const uint32_t field = magnitude >> p->mantissa_bits;
    const uint32_t hidden = (field != 0) | (uint32_t)p->no_zero;
    const uint32_t fraction = magnitude - (field << p->mantissa_bits);
    const U k = fraction | (hidden << p->mantissa_bits);
    const I binade = (I)field - (I)(hidden & (1 - (uint32_t)p->no_zero));
    const U finite
        = NAME(compose_or_infinity)(k, binade + p->min_exponent - p->mantissa_bits + exponent);
    const int infinite = (int32_t)magnitude == p->inf_magnitude;
    const int nan = (((int32_t)magnitude > p->max_code) & !infinite) | (code == p->single_nan);
    const U special = nan ? INFINITE | (HIDDEN >> 1) : INFINITE;
    return (code == p->single_nan ? 0 : sign) | ((nan | infinite) ? special : finite);
}

static void NAME(decode_float)(const uint32_t *restrict codes, U *restrict bits, ptrdiff_t n,
                               const fmt_spec *spec)
{
    const fmt_spec local = *spec;
    for (ptrdiff_t i = 0; i < n; i++)
        bits[i] = NAME(decode_float_one)(codes[i], 0, &local);
}

/* A group of NaN has an exponent that no finite group can have. */
static void NAME(decode_block_float)(const uint32_t *restrict codes,
                                     const int32_t *restrict exponents, U *restrict bits,
                                     ptrdiff_t n, const fmt_spec *spec)
{
    const fmt_spec local = *spec;
    for (ptrdiff_t i = 0; i < n; i++) {
        const U value = NAME(decode_float_one)(codes[i], (I)exponents[i], &local);
        bits[i] = exponents[i] == NAN_EXPONENT ? INFINITE | (HIDDEN >> 1) : value;
    }
}

static void NAME(decode_fixed)(const uint32_t *restrict codes, U *restrict bits, ptrdiff_t n,
                               const fmt_spec *spec)
{
    const REAL quantum = NAME(quantum)(spec);
    /* less a zero point, codes of unsigned formats may be negative; those of 32 bits have none and
     * are converted from 2**31 lower */
    const uint32_t lower = spec->max_integer > INT32_MAX ? (uint32_t)1 << 31 : 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL k = (REAL)(int32_t)(codes[i] - lower) + (REAL)lower;
        bits[i] = TO_BITS(k * quantum);
    }
}

#include "groups.inc.h"

#undef SIGN
#undef HIDDEN
#undef INFINITE
#undef LOCALS
#undef LOOPS
#undef NAME
#undef W
#undef U
#undef I
#undef TO_FLOAT_BITS
#undef ZERO_POINT
#undef REAL
#undef TO_REAL
#undef TO_BITS
#undef MANTISSA
#undef BIAS
