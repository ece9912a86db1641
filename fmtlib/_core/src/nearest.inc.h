/* Rounding to nearest, ties to even, at the speed of memory: formats of at most 15 significant
 * bits inside the range of float32, without reports of overflow.  One pass over the bits of float32
 * makes codes or quantised values, or makes values of codes; _fill_nearest in kernels.pyx finds
 * the constants.
 *
 * NEAREST_MAGIC rounds by one addition in float32.  With E the binade of |x|, but at least the
 * lowest one of the format, `magic` is the power of two whose unit is the format's unit in E:
 *
 *        |x| + magic = magic + N units         N: what |x| rounds to, in units of its binade
 *
 * so that N is a difference of bits, and N units a difference of floats.  Consecutive codes are
 * consecutive values: the code is N more than there are codes below E.  NEAREST_SHIFT is for
 * formats whose subnormals are float32's own: there the code is |x|'s bits, shifted with rounding.
 *
 * No operand and no result of the float arithmetic is subnormal or infinite: |x| is clamped.  What
 * is too great ends at the greatest value or at the code after it, which is infinity or NaN.
 *
 * `how` and `kind` are constants wherever these are inlined. */

/* Iterations are independent, although a result may be put where its operand was. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* The binades of a format that starts one below float32's normal numbers are one step up from
 * float32's; down there steps are half as long.  These are the identity for other formats. */
static inline uint32_t lift(uint32_t a, const fmt_nearest *p)
{
    const uint32_t below = (a << p->lift) - p->lift_zero, above = a + p->lift_up;
    return below < above ? below : above;
}

static inline uint32_t unlift(uint32_t a, const fmt_nearest *p)
{
    const int32_t below = (int32_t)((a + p->lift_zero) >> p->lift);
    const int32_t above = (int32_t)(a - p->lift_up);
    return (uint32_t)(below > above ? below : above);
}

/* The sign and NaN of `bits` given to its magnitude's result; zero: whether that has code 0. */
static inline uint32_t nearest_sign(uint32_t bits, uint32_t result, int zero, int kind,
                                    const fmt_nearest *p, uint32_t *invalid)
{
    const int32_t a = (int32_t)(bits & 0x7fffffff);
    if (kind == NEAREST_USUAL) {
        const uint32_t magnitude = a > 0x7f800000 ? p->nan : result;
        return magnitude | (bits >> p->sign_place & p->negative);
    }
    const int is_signed = kind == NEAREST_SIGNED;
    const uint32_t minus = (uint32_t)((int32_t)bits >> 31);
    /* all ones or 0 by arithmetic: compilers vectorise no choice by what is also summed up */
    const uint32_t nan = (uint32_t)((p->nan_above - a) >> 31);
    const uint32_t negative = zero ? p->negative_zero : p->negative;
    *invalid |= nan;
    const uint32_t counts = is_signed ? minus : minus & (0 - (uint32_t)(a > p->not_negative));
    const uint32_t kept = is_signed ? result : result & (p->keep | ~counts);
    result = kept | (negative & counts);
    return (result & ~nan) | ((p->nan | (minus & p->nan_sign)) & nan);
}

/* |x|, or the least number that has a code like it, or the greatest one. */
static inline int32_t nearest_clamp(uint32_t bits, int how, int kind, const fmt_nearest *p)
{
    const int32_t magnitude = (int32_t)(bits & 0x7fffffff);
    const int32_t high = magnitude < p->most ? magnitude : p->most;
    if (how == NEAREST_SHIFT && kind == NEAREST_USUAL)
        return high;
    return high > p->least ? high : p->least;
}

static inline uint32_t nearest_code(uint32_t bits, int how, int kind, const fmt_nearest *p,
                                    uint32_t *invalid)
{
    const int32_t a = nearest_clamp(bits, how, kind, p);
    uint32_t code;
    if (how == NEAREST_MAGIC) {
        const int32_t own = a & 0x7f800000, lowest = p->min_binade;
        const uint32_t binade = (uint32_t)(own > lowest ? own : lowest);
        const uint32_t magic = binade + p->magic;
        code = ((binade - (uint32_t)lowest) >> p->drop)
               + (to_bits(to_float((uint32_t)a) + to_float(magic)) - magic);
    } else {
        const uint32_t lifted = kind == NEAREST_GENERAL ? lift((uint32_t)a, p) : (uint32_t)a;
        code = (lifted + p->half + ((lifted >> p->drop) & 1)) >> p->drop;
    }
    return nearest_sign(bits, code, code == 0, kind, p, invalid);
}

static inline uint32_t nearest_value(uint32_t bits, int how, int kind, const fmt_nearest *p,
                                     uint32_t *invalid)
{
    const int32_t a = nearest_clamp(bits, how, kind, p);
    uint32_t value;
    int zero;
    if (how == NEAREST_MAGIC) {
        const int32_t own = a & 0x7f800000, lowest = p->min_binade;
        const float magic = to_float((uint32_t)(own > lowest ? own : lowest) + p->magic);
        value = to_bits(to_float((uint32_t)a) + magic - magic);
        zero = value == 0;
    } else {
        const uint32_t lifted = kind == NEAREST_GENERAL ? lift((uint32_t)a, p) : (uint32_t)a;
        const uint32_t rounded = (lifted + p->half + ((lifted >> p->drop) & 1)) & p->kept;
        value = kind == NEAREST_GENERAL ? unlift(rounded, p) : rounded;
        zero = rounded == 0;
    }
    if (kind != NEAREST_USUAL) /* there nothing is beyond what |x| is clamped to */
        value = (int32_t)value > p->greatest ? p->beyond : value;
    return nearest_sign(bits, value, zero, kind, p, invalid);
}

/* Codes to values: normal ones by their bits, subnormal ones as 1.fraction less 1. */
static inline uint32_t nearest_decode(uint32_t code, int how, int kind, const fmt_nearest *p,
                                      uint32_t *invalid)
{
    const int32_t magnitude = (int32_t)(code & p->magnitude_mask);
    const uint32_t place = (uint32_t)magnitude << p->drop;
    uint32_t value;
    (void)invalid;
    if (how == NEAREST_MAGIC) {
        const uint32_t lowest = (uint32_t)p->min_binade;
        const uint32_t small = to_bits(to_float(place + lowest) - to_float(lowest));
        value = (int32_t)place < p->subnormals ? small : place + p->normal;
    } else {
        value = kind == NEAREST_GENERAL ? unlift(place, p) : place;
    }
    value = magnitude > p->max_code ? 0x7f800000 : value;
    value = magnitude > p->last_number ? 0x7fc00000 : value;
    value |= (code & p->sign_bit) << p->sign_place;
    return kind != NEAREST_USUAL && value == p->nan_zero ? 0x7fc00000 : value;
}

/* --- other types, to and from the bits of float32 ------------------------------------------- */

/* float64 rounded to odd: cut off, the last bit set if anything was cut off, so that the rounding
 * that follows gives what one rounding would.  20 bits of fraction will do.  Infinity becomes a
 * number beyond all formats; without `subnormals`, what is below the normal numbers becomes the
 * least of them. */
static inline uint32_t narrow_one_to_odd(uint64_t x, int subnormals)
{
    const uint32_t word = (uint32_t)(x >> 32), rest = (uint32_t)x;
    const int32_t a = (int32_t)((word & 0x7fffffff) | (uint32_t)(rest != 0));
    const int32_t least = (1023 - 126) << 20, most = ((1023 + 128) << 20) - 1;
    const int32_t high = a < most ? a : most;
    uint32_t bits = ((uint32_t)(high > least ? high : least) << 3) - (896u << 23);
    if (subnormals) {
        /* times 2**64, so that all are normal; cut off to steps of 2**-149 by a magic number */
        const int32_t tiny = (1023 - 156) << 20, low = high < least ? high : least;
        const float value = to_float(((uint32_t)(low > tiny ? low : tiny) << 3) - (832u << 23));
        const float magic = 0x1p-62f, sum = value + magic, rounded = sum - magic;
        const uint32_t k = to_bits(sum) - to_bits(magic);
        const uint32_t small = (k - (uint32_t)(rounded > value)) | (uint32_t)(rounded != value);
        bits = a < least ? (a == 0 ? 0 : small) : bits;
    }
    bits = a > 0x7ff00000 ? 0x7fffffff : bits;
    return bits | (word & 0x80000000);
}

static void narrow_to_odd(const uint64_t *restrict x, uint32_t *restrict bits, ptrdiff_t n,
                          int subnormals)
{
    if (subnormals)
        for (ptrdiff_t i = 0; i < n; i++)
            bits[i] = narrow_one_to_odd(x[i], 1);
    else
        for (ptrdiff_t i = 0; i < n; i++)
            bits[i] = narrow_one_to_odd(x[i], 0);
}

/* To float64; subnormals become zeros of their sign. */
static void widen_normal(const uint32_t *restrict x, uint64_t *restrict bits, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        bits[i] = to_bits64((double)normal32(x[i]));
}

/* Integers that float32 holds. */
static void convert_small(int type, const void *x, uint32_t *restrict bits, ptrdiff_t n)
{
#define CONVERT(TYPE, C)                                                                           \
    case TYPE:                                                                                     \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            bits[i] = to_bits((float)((const C *)x)[i]);                                           \
        break;
    switch (type) {
    CONVERT(TYPE_I8, int8_t)
    CONVERT(TYPE_U8, uint8_t)
    CONVERT(TYPE_I16, int16_t)
    CONVERT(TYPE_U16, uint16_t)
    default: break;
    }
#undef CONVERT
}

/* A sum or quotient rounded to odd: truncated, with the last bit set if anything was cut off, so
 * that a second rounding to at most 51 bits gives what one rounding of the exact number would. */
static inline uint64_t to_odd(double rounded, double error_toward_larger_magnitude)
{
    const uint64_t bits = to_bits64(rounded), down = error_toward_larger_magnitude < 0;
    const uint64_t inexact = error_toward_larger_magnitude != 0;
    return (bits - down) | inexact;
}

/* Integers to float64, rounded to odd. */
static inline uint64_t integer_to_odd(uint64_t magnitude, uint64_t sign)
{
    /* both halves planted in the significand of a power of two, as few machines convert 64 bits */
    const uint64_t high_bits = magnitude >> 32 | (uint64_t)(1023 + 84) << 52;
    const uint64_t low_bits = (magnitude & 0xffffffff) | (uint64_t)(1023 + 52) << 52;
    double high, low;
    memcpy(&high, &high_bits, sizeof high);
    memcpy(&low, &low_bits, sizeof low);
    high -= 0x1p84;
    low -= 0x1p52;
    const double sum = high + low;
    return to_odd(sum, low - (sum - high)) | sign;
}

static void integers_to_odd(int type, const void *x, uint64_t *restrict bits, ptrdiff_t n)
{
#define CONVERT(TYPE, C)                                                                           \
    case TYPE:                                                                                     \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const double value = ((const C *)x)[i];                                                \
            memcpy(&bits[i], &value, sizeof value);                                                \
        }                                                                                          \
        break;
    switch (type) {
    CONVERT(TYPE_I8, int8_t)
    CONVERT(TYPE_U8, uint8_t)
    CONVERT(TYPE_I16, int16_t)
    CONVERT(TYPE_U16, uint16_t)
    CONVERT(TYPE_I32, int32_t)
    CONVERT(TYPE_U32, uint32_t)
    case TYPE_I64:
        for (ptrdiff_t i = 0; i < n; i++) {
            const uint64_t value = ((const uint64_t *)x)[i], minus = 0 - (value >> 63);
            bits[i] = integer_to_odd((value ^ minus) - minus, minus << 63);
        }
        break;
    default:
        for (ptrdiff_t i = 0; i < n; i++)
            bits[i] = integer_to_odd(((const uint64_t *)x)[i], 0);
    }
#undef CONVERT
}

/* --- the loops -------------------------------------------------------------------------------- */

#define LOOP(ONE, HOW, KIND)                                                                       \
    if (p.how == HOW && p.kind == KIND) {                                                          \
        INDEPENDENT                                                                                \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            out[i] = ONE(LOAD(x[i]), HOW, KIND, &p, &invalid);                                     \
    }
#define LOOPS(ONE, HOW)                                                                            \
    LOOP(ONE, HOW, NEAREST_USUAL)                                                                  \
    LOOP(ONE, HOW, NEAREST_SIGNED)                                                                 \
    LOOP(ONE, HOW, NEAREST_GENERAL)
#define NEAREST(NAME, FROM, ONE)                                                                   \
    static int NAME(const void *from, uint32_t *out, ptrdiff_t n, const fmt_nearest *nearest)      \
    {                                                                                              \
        const fmt_nearest p = *nearest;                                                            \
        const FROM *x = from;                                                                      \
        uint32_t invalid = 0;                                                                      \
        LOOPS(ONE, NEAREST_MAGIC)                                                                  \
        LOOPS(ONE, NEAREST_SHIFT)                                                                  \
        return invalid && p.no_nan ? STATUS_INVALID : 0;                                           \
    }
#define LOAD(x) (x)
NEAREST(nearest_encode, uint32_t, nearest_code)
NEAREST(nearest_quantize, uint32_t, nearest_value)
NEAREST(nearest_decode8, uint8_t, nearest_decode)
NEAREST(nearest_decode16, uint16_t, nearest_decode)
NEAREST(nearest_decode32, uint32_t, nearest_decode)
#undef LOAD
#define LOAD(x) ((uint32_t)(x) << 16)
NEAREST(nearest_encode_bf16, uint16_t, nearest_code)
NEAREST(nearest_quantize_bf16, uint16_t, nearest_value)
#undef LOAD
#undef LOOP
#undef LOOPS
#undef NEAREST
