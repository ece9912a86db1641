/* Values with scales and zero points: codes of the exact quotient x / scale, values of the exact
 * product scale * (code - zero_point), each rounded once. */

static void divide_to_odd(const uint64_t *restrict x, const double *restrict scale,
                          uint64_t *restrict out, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double value = to_double(x[i]);
        /* Tiny operands are lifted together, so that the remainder does not underflow. */
        const double lift = fabs(value) < 0x1p-900 && scale[i] < 0x1p800 ? 0x1p200 : 1.0;
        const double divisor = scale[i] * lift;
        value *= lift;
        const double quotient = value / divisor;
        const double rest = fma(-quotient, divisor, value); /* its sign is what counts */
        const uint64_t sign = x[i] & ((uint64_t)1 << 63);
        const uint64_t finite = to_odd(quotient, sign ? -rest : rest);
        const uint64_t bits = to_bits64(quotient);
        const int special = (bits << 1) >= (uint64_t)0x7ff << 53;
        const int infinite = bits << 1 == (uint64_t)0x7ff << 53;
        const int overflow = infinite & (x[i] << 1 < (uint64_t)0x7ff << 53);
        out[i] = overflow ? sign | 0x7fefffffffffffff : special ? bits : finite;
    }
}

static void multiply_to_odd(const uint64_t *restrict x, const double *restrict scale,
                            uint64_t *restrict out, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const double value = to_double(x[i]);
        const double product = value * scale[i];
        const double rest = fma(value, scale[i], -product);
        const uint64_t finite = to_odd(product, x[i] >> 63 ? -rest : rest);
        const uint64_t bits = to_bits64(product);
        out[i] = (bits << 1) >= (uint64_t)0x7ff << 53 ? bits : finite;
    }
}

/* Nearest even, saturating, formats of up to 16 bits: the general way is to divide to odd and then
 * to round, the two below are shorter.  A way returns STATUS_UNSURE if it is not made for these
 * arguments, or if it met a value that it cannot tell; what it wrote is of no meaning then.  Scales
 * are taken times the quantum, so that quotients count quanta. */

static const double NEAREST_MAGIC_DOUBLE = 0x1.8p52; /* its unit is 1 */

/* In float64.  The quotient is rounded once; if that is no tie, the exact quotient is on the same
 * side of each tie, since rounding is monotonic.  At a tie the quotient has few bits, and the sign
 * of x - quotient * scale, with the scale in two parts so that both products are exact, tells the
 * side; a quarter takes the quotient there.  (Far outside of the format that may go wrong; no
 * matter.) */
#define ENCODE_DOUBLES(NAME, U, LOAD, IS_NAN)                                                       \
    static int NAME(const U *restrict x, const double *restrict scales,                            \
                    const int64_t *restrict zeros, uint32_t *restrict codes, ptrdiff_t n,          \
                    const fmt_spec *spec)                                                          \
    {                                                                                              \
        if (!fmt_is_nearest_fixed(spec) || spec->integer_bits > 16)                                \
            return STATUS_UNSURE;                                                                  \
        const double magic = NEAREST_MAGIC_DOUBLE, quantum = quantum64(spec);                      \
        const double low = (double)spec->min_integer, high = (double)spec->max_integer;            \
        uint64_t in_range = (uint64_t)1 << 62;                                                     \
        uint32_t invalid = 0;                                                                      \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const double value = LOAD(x[i]), scale = scales[i] * quantum;                          \
            const double large = to_double(to_bits64(scale) & ~(uint64_t)0x7ffffff);               \
            const double quotient = value / scale;                                                 \
            const double rest = quotient - ((quotient + magic) - magic);                           \
            const double beyond = (value - quotient * large) - quotient * (scale - large);         \
            const uint64_t nudge = (to_bits64(beyond) & (uint64_t)1 << 63) | to_bits64(0.25);      \
            const uint64_t tie = 0 - (uint64_t)((fabs(rest) == 0.5) & (beyond != 0));              \
            double k = ((quotient + to_double(nudge & tie)) + magic) - magic;                      \
            k += to_double(to_bits64(magic) + (uint64_t)zeros[i]) - magic;                         \
            k = k > low ? k : low;                                                                 \
            k = k < high ? k : high;                                                               \
            in_range &= to_bits64(scale) + ((uint64_t)1 << 61); /* from 2**-511 to 2**513 */       \
            const uint32_t nan = 0 - (uint32_t)IS_NAN(x[i]);                                       \
            invalid |= nan;                                                                        \
            codes[i] = (uint32_t)to_bits64(k + magic) & ~nan;                                      \
        }                                                                                          \
        return (in_range ? 0 : STATUS_UNSURE) | (invalid ? STATUS_INVALID : 0);                    \
    }

#define IS_NAN(bits) ((int32_t)((bits) & 0x7fffffff) > 0x7f800000)
ENCODE_DOUBLES(encode_scaled32, uint32_t, to_float, IS_NAN)
#undef IS_NAN
#define IS_NAN(bits) ((int64_t)((bits) & INT64_MAX) > (int64_t)0x7ff << 52)
ENCODE_DOUBLES(encode_scaled64, uint64_t, to_double, IS_NAN)
#undef IS_NAN
#undef ENCODE_DOUBLES

/* Formats of up to 8 bits, in float32.  The inverse of the scale (or the scale) and the quotient
 * are rounded once each, so the quotient's error is below 2**-22.99 of it.  Quotients beyond those of
 * the ends of the range are taken for these; what is left is below 256 and its error below 0x1.02p-15,
 * and the integer is certain if its distance from the quotient is below a half by as much.  One in
 * ten thousand elements is not, and goes the way above; a scale that is a power of two has no error.
 */
static int encode_scaled_bytes(const uint32_t *restrict x, const double *restrict scales,
                               const int64_t *restrict zeros, int uniform,
                               uint32_t *restrict codes, ptrdiff_t n, const fmt_spec *spec)
{
    if (!fmt_is_nearest_fixed(spec) || spec->integer_bits > 8)
        return STATUS_UNSURE;
    const double quantum = quantum64(spec), first = scales[0] * quantum;
    const int exact = uniform && (to_bits64(first) & 0xfffffffffffff) == 0;
    const float magic = 0x1.8p23f;
    const int32_t certain = (int32_t)to_bits(exact ? 1.0f : 0.5f - 0x1.02p-15f);
    const int32_t low = (int32_t)spec->min_integer, high = (int32_t)spec->max_integer;
    int32_t errors[CHUNK], worst = 0, largest = 0; /* as bits of floats */
#define ENCODE(QUOTIENT, BOTTOM, TOP, ZERO)                                                        \
    for (ptrdiff_t i = 0; i < n; i++) {                                                            \
        float quotient = QUOTIENT;                                                                 \
        quotient = quotient > BOTTOM ? quotient : BOTTOM; /* NaN, too */                           \
        quotient = quotient < TOP ? quotient : TOP;                                                \
        const float shifted = quotient + magic, rest = quotient - (shifted - magic);               \
        const int32_t error = (int32_t)(to_bits(rest) & 0x7fffffff);                               \
        const int32_t magnitude = (int32_t)(x[i] & 0x7fffffff);                                    \
        errors[i] = error;                                                                         \
        worst = error > worst ? error : worst;                                                     \
        largest = magnitude > largest ? magnitude : largest;                                       \
        codes[i] = to_bits(shifted) - to_bits(magic) + ZERO;                                       \
    }
    if (uniform) {
        const float inverse = (float)(1 / first);
        const uint32_t zero = (uint32_t)zeros[0];
        const float bottom = (float)(low - (int32_t)zero), top = (float)(high - (int32_t)zero);
        if (!(first > 0x1p-60 && first < 0x1p60) || bottom < -255 || top > 255)
            return STATUS_UNSURE;
        ENCODE(normal32(x[i]) * inverse, bottom, top, zero)
    } else {
        const float unit = (float)quantum;
        float divisors[CHUNK], bottoms[CHUNK], tops[CHUNK];
        uint32_t shifts[CHUNK], outside = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            divisors[i] = (float)scales[i] * unit;
            shifts[i] = (uint32_t)zeros[i];
        }
        for (ptrdiff_t i = 0; i < n; i++) {
            const int32_t first_quantum = low - (int32_t)shifts[i];
            const int32_t last_quantum = high - (int32_t)shifts[i];
            bottoms[i] = (float)first_quantum;
            tops[i] = (float)last_quantum;
            outside |= (to_bits(divisors[i]) - to_bits(0x1p-60f))
                       | (to_bits(0x1p60f) - to_bits(divisors[i]))
                       | (uint32_t)(first_quantum + 255) | (uint32_t)(255 - last_quantum);
        }
        if (outside >> 31)
            return STATUS_UNSURE;
        ENCODE(normal32(x[i]) / divisors[i], bottoms[i], tops[i], shifts[i])
    }
#undef ENCODE
    if (worst > certain) {
        uint32_t values[CHUNK], found[CHUNK];
        double by[CHUNK];
        int64_t from[CHUNK];
        ptrdiff_t places[CHUNK], unsure = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            places[unsure] = i;
            unsure += errors[i] > certain;
        }
        for (ptrdiff_t j = 0; j < unsure; j++) {
            const ptrdiff_t i = places[j], channel = uniform ? 0 : i;
            values[j] = x[i];
            by[j] = scales[channel];
            from[j] = zeros[channel];
        }
        if (encode_scaled32(values, by, from, found, unsure, spec))
            return STATUS_UNSURE;
        for (ptrdiff_t j = 0; j < unsure; j++)
            codes[places[j]] = found[j];
    }
    if (largest <= 0x7f800000)
        return 0;
    for (ptrdiff_t i = 0; i < n; i++)
        codes[i] &= (uint32_t)((int32_t)(x[i] & 0x7fffffff) > 0x7f800000) - 1;
    return STATUS_INVALID;
}

/* float32 values of integer codes: rounding the product to float64 first changes nothing unless
 * that gives a tie of float32 and the product is not exact. */
static int decode_scaled(const uint32_t *restrict codes, const double *restrict scales,
                         const int64_t *restrict zeros, uint32_t *restrict bits, ptrdiff_t n,
                         const fmt_spec *spec)
{
    if (spec->integer_bits > 31)
        return STATUS_UNSURE;
    const uint64_t inexact = ((uint64_t)2 << spec->integer_bits) - 1;
    const double quantum = quantum64(spec);
    uint64_t unsure = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double scale = scales[i] * quantum;
        const double product = (double)(int32_t)(codes[i] - (uint32_t)zeros[i]) * scale;
        const uint64_t tie = 0 - (uint64_t)((to_bits64(product) & 0x1fffffff) == 0x10000000);
        unsure |= (to_bits64(scale) & inexact & tie) | (0 - (uint64_t)(scale < 0x1p-126));
        bits[i] = to_bits((float)product);
    }
    return unsure ? STATUS_UNSURE : 0;
}

/* Integers into fixed point without a scale: nothing is rounded, only limited or wrapped. */
static int encode_integers(int type, const void *x, uint32_t *restrict codes, ptrdiff_t n,
                           const fmt_spec *p)
{
    /* integers beyond these are past the ends of the range */
    const int64_t top = p->max_integer >> p->fraction_bits;
    const int64_t bottom = -(-p->min_integer >> p->fraction_bits);
    const uint32_t greatest = (uint32_t)p->max_integer, least = (uint32_t)p->min_integer;
    /* in two steps, since 32 are more than C has */
    const int lift = p->fraction_bits / 2, rest = p->fraction_bits - lift;
    const int unused = 32 - p->integer_bits, is_unsigned = (int)p->is_unsigned;
    uint32_t overflow = 0;
#define ENCODE(TYPE, C, I, LIMITED)                                                                \
    case TYPE: {                                                                                   \
        const C *restrict values = x;                                                              \
        const I high = top < LIMIT_OF_##I ? (I)top : LIMIT_OF_##I, low = (I)bottom;                \
        if (p->wrap) {                                                                             \
            for (ptrdiff_t i = 0; i < n; i++) {                                                    \
                const uint32_t k = (uint32_t)values[i] << lift << rest << unused;                  \
                codes[i] = is_unsigned ? k >> unused : (uint32_t)((int32_t)k >> unused);           \
            }                                                                                      \
            return 0;                                                                              \
        }                                                                                          \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const I value = LIMITED(values[i]);                                                    \
            const uint32_t above = 0 - (uint32_t)(value > high);                                   \
            const uint32_t below = 0 - (uint32_t)(value < low);                                    \
            const uint32_t k = (uint32_t)value << lift << rest;                                    \
            overflow |= above | below;                                                             \
            codes[i] = (k & ~(above | below)) | (greatest & above) | (least & below);              \
        }                                                                                          \
        break;                                                                                     \
    }
#define LIMIT_OF_int32_t INT32_MAX
#define LIMIT_OF_int64_t INT64_MAX
#define LIMITED(value) ((value) < (uint64_t)INT64_MAX ? (int64_t)(value) : INT64_MAX)
    switch (type) {
    ENCODE(TYPE_I8, int8_t, int32_t, )
    ENCODE(TYPE_I16, int16_t, int32_t, )
    ENCODE(TYPE_I32, int32_t, int32_t, )
    ENCODE(TYPE_I64, int64_t, int64_t, )
    ENCODE(TYPE_U8, uint8_t, int32_t, )
    ENCODE(TYPE_U16, uint16_t, int32_t, )
    ENCODE(TYPE_U32, uint32_t, int64_t, )
    ENCODE(TYPE_U64, uint64_t, int64_t, LIMITED)
    default: break;
    }
#undef ENCODE
#undef LIMITED
#undef LIMIT_OF_int32_t
#undef LIMIT_OF_int64_t
    return overflow ? STATUS_OVERFLOW : 0;
}

/* --- float formats ---------------------------------------------------------------------------- */

/* Codes to nearest even of float32 values over scales, by the nearest kernel of the format: it gets
 * numbers just below and just above the exact quotient, and if both have one code the quotient has
 * it too.  The inverse of a scale, or the scale, and the product, or the quotient, are rounded once
 * each, by less than 2**-23.99 of it; 2**-22 away from that there is room for it.  Of FP8 five
 * elements in a million are unsure.  A scale that is a power of two has no error.
 *
 * Subnormal x, which arithmetic is slow with, are taken for zeros: over scales above 2**-60 they are
 * below 2**-66, and have code 0 in formats whose least number is twice that or more, as have
 * products that are subnormal.  Unsigned formats tell zeros from what is just below. */
static int encode_scaled_floats(const uint32_t *restrict x, const double *restrict scales,
                                int uniform, uint32_t *restrict codes, ptrdiff_t n,
                                const fmt_nearest *p)
{
    const double below = 1 - 0x1p-22, above = 1 + 0x1p-22, least = 0x1p-60, most = 0x1p100;
    const int32_t lowest = p->min_binade >> 23, mantissa_bits = 23 - p->drop;
    uint32_t low[CHUNK], high[CHUNK], unsure = 0;
    low[0] = high[0] = 0; /* for compilers: n is not 0 */
    if (p->how != NEAREST_MAGIC || p->not_negative == 0 || lowest - mantissa_bits < 127 - 65)
        return STATUS_UNSURE;
    if (uniform) {
        const double inverse = 1 / scales[0];
        const int exact = (to_bits64(inverse) & 0xfffffffffffff) == 0;
        const float factor = (float)(exact ? inverse : inverse * below);
        const float other = (float)(inverse * above);
        if (!(scales[0] > least && scales[0] < most))
            return STATUS_UNSURE;
        for (ptrdiff_t i = 0; i < n; i++)
            low[i] = to_bits(normal32(x[i]) * factor);
        if (exact)
            return nearest_encode(low, codes, n, p);
        for (ptrdiff_t i = 0; i < n; i++)
            high[i] = to_bits(normal32(x[i]) * other);
    } else {
        float divisors[CHUNK];
        for (ptrdiff_t i = 0; i < n; i++)
            divisors[i] = (float)scales[i];
        for (ptrdiff_t i = 0; i < n; i++)
            unsure |= (to_bits(divisors[i]) - to_bits(0x1p-60f))
                      | (to_bits(0x1p100f) - to_bits(divisors[i]));
        if (unsure >> 31)
            return STATUS_UNSURE;
        unsure = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            const float quotient = normal32(x[i]) / divisors[i];
            low[i] = to_bits(quotient * (float)below);
            high[i] = to_bits(quotient * (float)above);
        }
    }
    const int status = nearest_encode(low, codes, n, p);
    nearest_encode(high, low, n, p);
    for (ptrdiff_t i = 0; i < n; i++)
        unsure |= codes[i] ^ low[i];
    return unsure ? STATUS_UNSURE : status;
}

/* float32 values of codes times scales.  If float32 holds the scales, each product is one operation
 * of it; else it is as in decode_scaled. */
static int decode_scaled_floats(const uint32_t *restrict codes, const double *scales,
                                int uniform, uint32_t *restrict bits, ptrdiff_t n,
                                const fmt_nearest *p)
{
    if (p->how == NEAREST_NONE)
        return STATUS_UNSURE;
    uint32_t values[CHUNK];
    nearest_decode32(codes, values, n, p);
    if (uniform) {
        const float scale = (float)scales[0];
        if ((double)scale == scales[0]) {
            for (ptrdiff_t i = 0; i < n; i++)
                bits[i] = to_bits(to_float(values[i]) * scale);
            return 0;
        }
    }
    double same[CHUNK];
    if (uniform) {
        for (ptrdiff_t i = 0; i < n; i++)
            same[i] = scales[0];
        scales = same;
    }
    /* below this a product of a value and a scale is exact in float64 */
    const uint64_t inexact = ((uint64_t)2 << (24 - p->drop)) - 1;
    uint64_t unsure = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double value = (double)to_float(values[i]), product = value * scales[i];
        const uint64_t magnitude = to_bits64(product) & INT64_MAX;
        const uint64_t tie = 0 - (uint64_t)((magnitude & 0x1fffffff) == 0x10000000);
        const uint64_t small = (magnitude < to_bits64(0x1p-126)) & (value != 0);
        unsure |= (to_bits64(scales[i]) & inexact & tie) | (0 - small);
        bits[i] = to_bits((float)product);
    }
    return unsure ? STATUS_UNSURE : 0;
}
