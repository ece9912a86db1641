/* Stochastic rounding of float32 to the usual float formats: signed, with a zero, the greatest
 * value followed by whatever becomes of greater ones.  The laws of rounds_up32 in fewer steps:
 *
 *   A and B  the top 32 bits of the fraction plus the word carry, with the word's lowest bit that
 *            counts followed by a 1 in B; with 32 random bits that 1 rounds the fraction instead
 *   C        the same with the fraction rounded to even; 32 random bits only
 *
 * Bits of the fraction below those that count never change the carry: a word has none there.
 *
 * A shorter way yet is for formats where each code has a sign, 0 and NaN too, nothing is greater
 * than the greatest value (in codes: or than infinity or NaN, which follow it), and whose units are
 * so far above float32's subnormals that those never round up. */
typedef struct {
    int32_t drop, mantissa_bits, lowest; /* the latter: exponent field of the lowest binade */
    uint32_t word_mask, next, half;
    /* results: codes, or bits of values; the greatest, and what follows it */
    int32_t greatest;
    uint32_t beyond, sign_bit, zero_sign, nan, nan_sign;
    int short_way, sign_place; /* the latter: of the sign bit below float32's */
} noise_constants;

static int is_usual_noise(const fmt_spec *p)
{
    const uint32_t top = p->inf_code;
    return !p->is_unsigned && !p->no_zero && !p->report && p->min_exponent >= -126
           && p->mantissa_bits < 23
           && top == p->over_code[0] && top == p->over_code[1]
           && (top == (uint32_t)p->max_code || top == (uint32_t)p->max_code + 1)
           && (p->noise != NOISE_C || p->random_bits == 32);
}

static noise_constants get_noise(const fmt_spec *p, int values)
{
    const uint32_t zero_sign = p->zero_sign ? (uint32_t)1 << 31 : 0;
    const int b = p->noise == NOISE_B;
    const int all_signs = p->zero_sign && p->nan_sign && !p->no_nan;
    const uint32_t sign_bit = values ? (uint32_t)1 << 31 : p->sign_bit;
    return (noise_constants){
        .short_way = all_signs && p->inf_code == (uint32_t)p->max_code
                     && p->min_exponent - p->mantissa_bits - 33 >= -126,
        .sign_place = __builtin_clz(sign_bit),
        .drop = 23 - p->mantissa_bits,
        .mantissa_bits = p->mantissa_bits,
        .lowest = p->min_exponent + 127,
        .word_mask = p->word_mask,
        .next = b && p->random_bits < 32 ? (uint32_t)1 << (31 - p->random_bits) : 0,
        .half = b && p->random_bits == 32,
        .greatest = values ? (int32_t)decode_float_one32((uint32_t)p->max_code, 0, p) : p->max_code,
        .beyond = values ? decode_float_one32(p->inf_code, 0, p) : p->inf_code,
        .sign_bit = sign_bit,
        .zero_sign = values ? zero_sign : p->zero_sign,
        .nan = values ? decode_float_one32(p->nan_code, 0, p) : p->nan_code,
        .nan_sign = values && p->nan_sign ? (uint32_t)1 << 31 : p->nan_sign,
    };
}

enum { TO_CODES, TO_VALUES, TO_SHIFTED_VALUES };

/* noise, to and short_way are constants wherever this is inlined. */
VECTOR_INLINE uint32_t noise_one(uint32_t bits, uint32_t word, int noise, int to, int short_way,
                                 const noise_constants *p, uint32_t *invalid)
{
    const uint32_t a = bits & 0x7fffffff;
    const int32_t field = (int32_t)(a >> 23), own = short_way || field > 1 ? field : 1;
    const uint32_t hidden = (a & 0x7fffff) | 0x800000;
    const uint32_t significand = short_way ? hidden : a - ((uint32_t)(own - 1) << 23);
    const int32_t distance = own - p->lowest, above = distance > 0 ? distance : 0;
    const int32_t d = p->drop + (above - distance), near = d < 31 ? d : 31;
    const int32_t beyond = d - near, far = beyond < 30 ? beyond : 30;
    const uint32_t lifted = significand << (32 - near);
    uint32_t fraction = lifted >> far;
    if (noise == NOISE_B)
        fraction = (lifted + ((p->half << far) >> 1)) >> far;
    if (noise == NOISE_C) {
        const uint32_t rest = lifted - (fraction << far);
        fraction += (int32_t)(2 * rest + (fraction & 1)) > (int32_t)((uint32_t)1 << far);
    }
    const uint32_t noisy = fraction + ((word & p->word_mask) | p->next);
    const uint32_t units = (significand >> near) + (noisy < fraction);
    uint32_t result;
    if (to == TO_VALUES) {
        const float unit = to_float((uint32_t)(above + p->lowest - p->mantissa_bits) << 23);
        result = to_bits((float)(int32_t)units * unit);
    } else {
        result = ((uint32_t)above << p->mantissa_bits) + units;
        result <<= to == TO_CODES ? 0 : p->drop;
    }
    if (short_way) {
        result = (int32_t)result < p->greatest ? result : (uint32_t)p->greatest;
        result = (int32_t)a > 0x7f800000 ? p->nan : result;
        return result | (bits >> p->sign_place & p->sign_bit);
    }
    const uint32_t minus = (uint32_t)((int32_t)bits >> 31);
    const uint32_t sign = result == 0 ? p->zero_sign : p->sign_bit;
    const uint32_t nan = 0 - (uint32_t)((int32_t)a > 0x7f800000);
    result = (int32_t)result > p->greatest ? p->beyond : result;
    result |= minus & sign;
    *invalid |= 0x7f800000 - a; /* the sign; Clang does not sum up what is also a choice */
    return (result & ~nan) | ((p->nan | (minus & p->nan_sign)) & nan);
}

static int noise_float32(const uint32_t *restrict bits, const uint32_t *restrict words,
                         uint32_t *restrict out, ptrdiff_t n, const fmt_spec *spec, int values)
{
    const noise_constants p = get_noise(spec, values);
    uint32_t invalid = 0;
#define LOOP(NOISE, TO)                                                                            \
    if (p.short_way)                                                                               \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            out[i] = noise_one(bits[i], words[i], NOISE, TO, 1, &p, &invalid);                     \
    else                                                                                           \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            out[i] = noise_one(bits[i], words[i], NOISE, TO, 0, &p, &invalid);
#define LOOPS(NOISE)                                                                               \
    case NOISE:                                                                                    \
        if (!values) {                                                                             \
            LOOP(NOISE, TO_CODES)                                                                  \
        } else if (p.lowest > p.mantissa_bits) {                                                   \
            LOOP(NOISE, TO_VALUES)                                                                 \
        } else {                                                                                   \
            LOOP(NOISE, TO_SHIFTED_VALUES)                                                         \
        }                                                                                          \
        break;
    switch (spec->noise) {
    LOOPS(NOISE_A)
    LOOPS(NOISE_B)
    LOOPS(NOISE_C)
    default: break;
    }
#undef LOOP
#undef LOOPS
    return invalid >> 31 && spec->no_nan ? STATUS_INVALID : 0;
}

/* Codes if there is a shorter way, else STATUS_UNSURE; the same for values. */
static int encode_noise(const uint32_t *bits, const uint32_t *words, uint32_t *codes, ptrdiff_t n,
                        const fmt_spec *spec)
{
    return is_usual_noise(spec) ? noise_float32(bits, words, codes, n, spec, 0) : STATUS_UNSURE;
}

static int quantize_noise(const uint32_t *bits, const uint32_t *words, uint32_t *values,
                          ptrdiff_t n, const fmt_spec *spec)
{
    /* a unit of the lowest binade is normal, or shifted codes are the bits of values; a NaN in the
     * place of -0 takes no sign */
    const int direct = spec->min_exponent == -126 || spec->min_exponent + 127 > spec->mantissa_bits;
    const int usual = is_usual_noise(spec) && direct && spec->inf_code != spec->single_nan;
    return usual ? noise_float32(bits, words, values, n, spec, 1) : STATUS_UNSURE;
}
