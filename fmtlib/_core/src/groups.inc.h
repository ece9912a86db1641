/* Groups with a scale, for one width of floating-point bits; included by round.inc.h.
 *
 * The elements x of a group with scale S are rounded to a grid by the hardware's own
 * arithmetic: t = |x| * inverse, inverse = 1 / S, is |x| in units of the format, and
 *
 *        sum = t + magic        magic = 2**(binade of t + MANTISSA - M)
 *
 * is t to the nearest multiple N of a quantum of its binade, ties to even: sum - magic is the
 * value, the difference of the bits is N.  Toward zero N is t in quanta as an integer.  Below the least normal binade the quantum stays what
 * it is there; integer elements have no other binade.  What is far below a quantum is lifted to
 * where no operand and no result is subnormal (such arithmetic may take a hundred cycles), and
 * rounds to the same.
 *
 * A group of NaN has inverse 0 and scale NaN.  Values are doubled on the way (LIFT), so that
 * the inverse of the greatest scale is normal. */

#if W == 32
#define F float
#else
#define F double
#endif
#define LIFT 1
#define NOT_A_NUMBER (INFINITE | (HIDDEN >> 1))

static inline F NAME(as_float)(U bits)
{
    F value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline U NAME(as_bits)(F value)
{
    U bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* 2**exponent, which is a normal number. */
static inline U NAME(power)(I exponent) { return (U)(exponent + BIAS) << MANTISSA; }

/* --- maxima and spreading ------------------------------------------------------------------ */

static inline U NAME(absmax_run)(const U *bits, ptrdiff_t n)
{
    U max = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const U a = bits[i] & (SIGN - 1);
        max = a > max ? a : max;
    }
    return max;
}

/* The maxima of neighbours: n of them. */
static inline void NAME(max_of_pairs)(const U *restrict from, U *restrict to, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const U a = from[2 * i] & (SIGN - 1), b = from[2 * i + 1] & (SIGN - 1);
        to[i] = a > b ? a : b;
    }
}

/* Of `groups` groups of 8 * times elements: eight maxima side by side, then those of
 * neighbours.  A reduction group by group is what compilers vectorise badly. */
static inline void NAME(max_of_eights)(const U *restrict bits, U *restrict max, ptrdiff_t groups,
                                       ptrdiff_t times)
{
    U eights[CHUNK], fours[CHUNK / 2];
    for (ptrdiff_t g = 0; g < groups; g++) {
        U lanes[8] = {0};
        for (ptrdiff_t i = 0; i < times; i++)
            for (int j = 0; j < 8; j++) {
                const U a = bits[(g * times + i) * 8 + j] & (SIGN - 1);
                lanes[j] = a > lanes[j] ? a : lanes[j];
            }
        memcpy(eights + 8 * g, lanes, sizeof lanes);
    }
    NAME(max_of_pairs)(eights, fours, 4 * groups);
    NAME(max_of_pairs)(fours, eights, 2 * groups);
    NAME(max_of_pairs)(eights, max, groups);
}

static void NAME(absmax_runs)(const void *from, void *to, ptrdiff_t n, ptrdiff_t width,
                              ptrdiff_t line)
{
    const U *bits = from;
    U *max = to;
    for (; n > 0; n -= line) {
        const ptrdiff_t groups = line / width, rest = line % width;
        if (width == 16)
            NAME(max_of_eights)(bits, max, groups, 2);
        else if (width == 32)
            NAME(max_of_eights)(bits, max, groups, 4);
        else if (width % 8 == 0)
            NAME(max_of_eights)(bits, max, groups, width / 8);
        else if (width == 2)
            NAME(max_of_pairs)(bits, max, groups);
        else
            for (ptrdiff_t g = 0; g < groups; g++)
                max[g] = NAME(absmax_run)(bits + g * width, width);
        if (rest)
            max[groups] = NAME(absmax_run)(bits + groups * width, rest);
        bits += line;
        max += groups + (rest != 0);
    }
}

static void NAME(absmax)(const void *from, void *to, ptrdiff_t n)
{
    const U *restrict bits = from;
    U *restrict max = to;
    for (ptrdiff_t i = 0; i < n; i++) {
        const U a = bits[i] & (SIGN - 1);
        max[i] = a > max[i] ? a : max[i];
    }
}

static inline void NAME(repeat)(const U *restrict from, U *restrict to, ptrdiff_t n,
                                ptrdiff_t times)
{
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t j = 0; j < times; j++)
            to[i * times + j] = from[i];
}

static void NAME(spread)(const void *from, void *to, ptrdiff_t n, ptrdiff_t width, ptrdiff_t line)
{
    const U *groups = from;
    U *elements = to;
    for (; n > 0; n -= line, elements += line) {
        const ptrdiff_t whole = line / width, rest = line % width;
        switch (width) {
        case 1: memcpy(elements, groups, (size_t)whole * sizeof *groups); break;
        case 2: NAME(repeat)(groups, elements, whole, 2); break;
        case 8: NAME(repeat)(groups, elements, whole, 8); break;
        case 16: NAME(repeat)(groups, elements, whole, 16); break;
        case 32: NAME(repeat)(groups, elements, whole, 32); break;
        default: NAME(repeat)(groups, elements, whole, width);
        }
        groups += whole;
        if (rest)
            NAME(repeat)(groups++, elements + whole * width, 1, rest);
    }
}

/* --- scales that are powers of two --------------------------------------------------------- */

/* One loop for hbfp, a constant wherever this is inlined, and one for all other rules.  What is
 * found for groups that arithmetic does not serve has no meaning, but for those of NaN. */
static inline int NAME(scales_of_maxima)(const U *restrict maxima, ptrdiff_t n,
                                         const fmt_block_plan *plan, uint32_t *restrict codes,
                                         U *restrict inverses, U *restrict scales, int hbfp)
{
    const fmt_spec *p = &plan->spec;
    const I bias = p->block_bias, greatest = p->block_max_code - bias;
    const uint32_t nan_code = (uint32_t)p->block_max_code + 1;
    /* from here on all numbers on the way, also those lifted, are normal; so are, in float32
     * whatever our width, scales and the quotients that rceil rounds */
    const I reach = 1 - BIAS - (p->min_exponent - p->mantissa_bits - (plan->stochastic ? 33 : 2));
    const I least = (reach > -125 ? reach : -125) + (plan->micro != 0);
    const I origin = BIAS + plan->emax;
    /* what makes a significand carry into the exponent where the rule goes up */
    const U significand = (U)plan->max_significand << (MANTISSA - 23);
    U addend = 0;
    switch (plan->rule) {
    case RULE_CEIL: addend = HIDDEN - 1; break;
    case RULE_EVEN: addend = HIDDEN >> plan->precision; break;
    case RULE_RCEIL: /* the quotient in float32 is a power of two up to half a unit above it */
        addend = 2 * HIDDEN - 1 - significand - (W == 64 ? (U)plan->max_significand << 5 : 0);
        break;
    default: break;
    }
    /* hbfp: max + 1e-8 passes the power of two above max if their distance is less than that; the
     * greatest float32 below 1e-8 is the nearest one */
    const U epsilon = NAME(as_bits)((F)1e-8) + (W == 32);
    /* the significand from which on a greatest element rounds up past the greatest code */
    const U carry = HIDDEN - (HIDDEN >> (p->mantissa_bits + 1));
    const I bump = plan->bump != 0;
    U far = 0;
    for (ptrdiff_t g = 0; g < n; g++) {
        const U max = maxima[g];
        I e = (I)((max + addend) >> MANTISSA) - origin;
        if (hbfp) {
            const U above = (max & INFINITE) + HIDDEN;
            const U distance = NAME(as_bits)(NAME(as_float)(above) - NAME(as_float)(max));
            e += (I)(distance < epsilon);
            far |= (U)(max != 0) & (U)(e <= -26 - plan->emax);
        }
        e = e < -bias ? -bias : e;
        e = e > greatest ? greatest : e;
        e += bump & (I)(max >= NAME(power)(e) + carry) & (I)(e < greatest);
        const U nan = (U)(max >= INFINITE), some = (U)(max != 0);
        far |= some & ((U)(e < least) | (U)(max < HIDDEN));
        codes[g] = nan ? nan_code : some ? (uint32_t)(e + bias) : 0;
        e = some ? e : 0;
        inverses[g] = nan ? 0 : NAME(power)(LIFT - e);
        scales[g] = nan ? NOT_A_NUMBER : NAME(power)(e - LIFT);
    }
    return far == 0;
}

static int NAME(block_scales)(const void *maxima, ptrdiff_t n, const fmt_block_plan *plan,
                              uint32_t *codes, void *inverses, void *scales)
{
    if (plan->rule == RULE_HBFP)
        return NAME(scales_of_maxima)(maxima, n, plan, codes, inverses, scales, 1);
    return NAME(scales_of_maxima)(maxima, n, plan, codes, inverses, scales, 0);
}

/* Sub-blocks of the group whose scale's code, inverse and scale are given for each: those with
 * an exponent below the group's have half the scale, which shifts[] says and the other two are
 * given. */
static void NAME(micro_scales)(const void *from, ptrdiff_t n, const fmt_block_plan *plan,
                               const uint32_t *restrict codes, uint32_t *restrict shifts,
                               void *inverses_, void *scales_)
{
    const U *restrict maxima = from;
    U *restrict inverses = inverses_, *restrict scales = scales_;
    const I bias = plan->spec.block_bias, greatest = plan->spec.block_max_code;
    const I origin = BIAS + plan->emax - bias;
    const uint32_t own = ((uint32_t)1 << plan->micro_shift) - 1; /* without those of sub-blocks */
    for (ptrdiff_t k = 0; k < n; k++) {
        I code = (I)(maxima[k] >> MANTISSA) - origin;
        code = code < 0 ? 0 : code;
        code = code > greatest ? greatest : code;
        const U shift = (U)(code < (I)(codes[k] & own)) & (U)(inverses[k] != 0);
        shifts[k] = (uint32_t)shift;
        inverses[k] += shift << MANTISSA;
        scales[k] -= shift << MANTISSA;
    }
}

/* --- elements ------------------------------------------------------------------------------ */

/* The grid of an element format. */
typedef struct {
    U least;    /* the exponent field of the least normal binade, in place */
    U greatest; /* the greatest element */
    U low;      /* less the bits of an inverse: a number that rounds to 0, and is not subnormal */
    U magic;    /* plus the exponent field of t, in place: magic */
    U quanta;   /* less that field: a factor that makes quanta the unit */
    int shift;
} NAME(grid);

static inline NAME(grid) NAME(get_grid)(const fmt_spec *p, int noise)
{
    const I m = p->mantissa_bits, least = p->min_exponent + LIFT;
    const int shift = MANTISSA - p->mantissa_bits;
    return (NAME(grid)){
        .least = NAME(power)(least),
        .greatest = ((U)p->max_code << shift) + NAME(power)(least - 1),
        .low = NAME(power)(BIAS + least - m - (noise ? 33 : 2)),
        .magic = (U)shift << MANTISSA,
        .quanta = NAME(power)(BIAS + m),
        .shift = shift,
    };
}

static inline U NAME(to_grid)(U bits, U inverse, const NAME(grid) *g)
{
    /* compared as signed integers, which all machines can: no sign bit is set */
    const I a = (I)(bits & (SIGN - 1)), low = (I)(g->low - inverse);
    const I t = (I)NAME(as_bits)(NAME(as_float)((U)(a > low ? a : low)) * NAME(as_float)(inverse));
    return (U)(t < (I)g->greatest ? t : (I)g->greatest);
}

static inline U NAME(binade_of)(U t, const NAME(grid) *g)
{
    const I e = (I)(t & INFINITE), least = (I)g->least;
    return (U)(e > least ? e : least);
}

/* t, of this binade, in quanta. */
static inline F NAME(in_quanta)(U t, U binade, const NAME(grid) *g)
{
    return NAME(as_float)(t) * NAME(as_float)(g->quanta - binade);
}

/* t, of this binade, in quanta, rounded by stochastic A: the fraction f, as 32 bits truncated,
 * plus the word carries iff f * 2**32 >= 2**32 - word, an integer n.  n = 2**8 * high + low,
 * and what is left of the fraction is exact wherever it is not far from low. */
static inline int32_t NAME(round_a)(U t, U binade, uint32_t word, uint32_t mask,
                                    const NAME(grid) *g)
{
    const F u = NAME(in_quanta)(t, binade, g);
    const int32_t k = (int32_t)u;
    const uint32_t n = ~(word & mask);
    const int32_t high = (int32_t)(n >> 8), low = (int32_t)(n & 255) + 1;
    const F fraction = u - (F)k;
    const F rest = fraction * (F)0x1p24 - (F)high;
    return k + (rest >= (F)low * (F)0x1p-8);
}

static inline uint32_t NAME(round_code)(U bits, U inverse, uint32_t word, int how,
                                        const fmt_spec *p, const NAME(grid) *g, uint32_t twos)
{
    const U t = NAME(to_grid)(bits, inverse, g), binade = NAME(binade_of)(t, g);
    uint32_t code = (uint32_t)((binade - g->least) >> g->shift);
    if (how == ROUND_NOISY) {
        code += (uint32_t)NAME(round_a)(t, binade, word, p->word_mask, g);
    } else if (how == ROUND_TO_ZERO) {
        code += (uint32_t)(int32_t)NAME(in_quanta)(t, binade, g);
    } else {
        const U magic = binade + g->magic;
        code += (uint32_t)(NAME(as_bits)(NAME(as_float)(t) + NAME(as_float)(magic)) - magic);
    }
    const uint32_t sign = (uint32_t)(bits >> (W - 1));
    /* two's complement negates, and so has no -0 */
    code = twos ? ((code ^ (0 - sign)) + sign) & p->code_mask : code | (p->sign_bit & (0 - sign));
    return code & (0 - (uint32_t)(inverse != 0));
}

/* Rounds n elements by CALL(i, g), g being where their scale is.  Groups of a width that is not 0, a
 * multiple of 16, have one scale each; else each element has its own. */
#define ROUND(CALL)                                                                                \
    do {                                                                                           \
        for (ptrdiff_t first = 0; first < (width ? n : 0); first += 16)                            \
            for (ptrdiff_t i = first, group = first / width; i < first + 16; i++)                  \
                CALL(i, group);                                                                    \
        for (ptrdiff_t i = 0; i < (width ? 0 : n); i++)                                            \
            CALL(i, i);                                                                            \
    } while (0)
#define ROUND_ALL()                                                                                \
    do {                                                                                           \
        if (words)                                                                                 \
            ROUND(NOISY);                                                                          \
        else if (to_zero)                                                                          \
            ROUND(TO_ZERO);                                                                        \
        else                                                                                       \
            ROUND(NEAREST_ONE);                                                                    \
    } while (0)

static void NAME(round_codes)(const void *x, const void *inverses_, ptrdiff_t width,
                              const uint32_t *restrict words, uint32_t *restrict codes, ptrdiff_t n,
                              const fmt_spec *spec)
{
    const U *restrict bits = x, *restrict inverses = inverses_;
    const fmt_spec p = *spec;
    const NAME(grid) grid = NAME(get_grid)(spec, words != NULL);
    const int to_zero = fmt_is_to_zero(spec);
#define NOISY(i, g)                                                                                \
    codes[i] = NAME(round_code)(bits[i], inverses[g], words[i], ROUND_NOISY, &p, &grid, twos)
#define TO_ZERO(i, g)                                                                              \
    codes[i] = NAME(round_code)(bits[i], inverses[g], 0, ROUND_TO_ZERO, &p, &grid, twos)
#define NEAREST_ONE(i, g)                                                                          \
    codes[i] = NAME(round_code)(bits[i], inverses[g], 0, ROUND_NEAREST, &p, &grid, twos)
    if (p.twos_complement) {
        enum { twos = 1 };
        ROUND_ALL();
    } else {
        enum { twos = 0 };
        ROUND_ALL();
    }
#undef NOISY
#undef TO_ZERO
#undef NEAREST_ONE
}

static inline U NAME(round_value)(U bits, U inverse, U scale, uint32_t word, int how, F zero,
                                  uint32_t mask, const NAME(grid) *g)
{
    const U t = NAME(to_grid)(bits, inverse, g), binade = NAME(binade_of)(t, g);
    const U quantum = NAME(power)(BIAS) - (g->quanta - binade); /* 1 / the factor of in_quanta */
    F value;
    if (how == ROUND_NOISY) {
        value = (F)NAME(round_a)(t, binade, word, mask, g) * NAME(as_float)(quantum);
    } else if (how == ROUND_TO_ZERO) {
        value = (F)(int32_t)NAME(in_quanta)(t, binade, g) * NAME(as_float)(quantum);
    } else {
        const F magic = NAME(as_float)(binade + g->magic);
        value = (NAME(as_float)(t) + magic) - magic;
    }
    const U is_number = 0 - (U)(inverse != 0);
    const U result = (NAME(as_bits)(value) | (bits & SIGN)) & is_number;
    return NAME(as_bits)((NAME(as_float)(result) + zero) * NAME(as_float)(scale));
}

static void NAME(round_values)(const void *x, const void *inverses_, const void *scales_,
                               ptrdiff_t width, const uint32_t *restrict words, void *out,
                               ptrdiff_t n, const fmt_spec *spec)
{
    const U *restrict bits = x, *restrict inverses = inverses_, *restrict scales = scales_;
    U *restrict values = out;
    const uint32_t mask = spec->word_mask;
    const NAME(grid) grid = NAME(get_grid)(spec, words != NULL);
    const F zero = spec->twos_complement ? (F)0.0 : -(F)0.0; /* -0 + 0 = 0, but -0 + -0 = -0 */
    const int to_zero = fmt_is_to_zero(spec);
#define VALUE(i, g, WORD, HOW)                                                                     \
    values[i] = NAME(round_value)(bits[i], inverses[g], scales[g], WORD, HOW, zero, mask, &grid)
#define NOISY(i, g) VALUE(i, g, words[i], ROUND_NOISY)
#define TO_ZERO(i, g) VALUE(i, g, 0, ROUND_TO_ZERO)
#define NEAREST_ONE(i, g) VALUE(i, g, 0, ROUND_NEAREST)
    ROUND_ALL();
#undef VALUE
#undef NOISY
#undef TO_ZERO
#undef NEAREST_ONE
}
#undef ROUND_ALL
#undef ROUND

/* --- decoding ------------------------------------------------------------------------------ */

/* Scales, powers of two, from their codes; -1 is half of the least. */
static void NAME(decode_scales)(const uint32_t *restrict codes, void *out, ptrdiff_t n,
                                const fmt_spec *spec)
{
    U *restrict scales = out;
    const I bias = spec->block_bias, greatest = spec->block_max_code;
    for (ptrdiff_t g = 0; g < n; g++) {
        const I code = (I)(int32_t)codes[g], field = code - bias + BIAS;
        const U subnormal = field < 0 ? HIDDEN >> 2 : HIDDEN >> 1; /* below 2**-126 in float32 */
        scales[g] = code > greatest ? NOT_A_NUMBER : field > 0 ? (U)field << MANTISSA : subnormal;
    }
}

/* The value of one element times its scale.  A subnormal of the format is a number of the least
 * normal binade less the hidden bit. */
static inline U NAME(decode_element)(uint32_t code, U scale, const fmt_spec *p, uint32_t twos)
{
    const uint32_t sign = (code & p->sign_bit) != 0;
    const U magnitude
        = twos ? ((code ^ (0 - sign)) + sign) & p->code_mask : code & p->magnitude_mask;
    const int shift = MANTISSA - p->mantissa_bits;
    const U subnormal = 0 - (U)((I)magnitude < (I)1 << p->mantissa_bits);
    const U least = NAME(power)(p->min_exponent);
    const U lifted = (magnitude << shift) + least - HIDDEN + (HIDDEN & subnormal);
    const U value = NAME(as_bits)(NAME(as_float)(lifted) - NAME(as_float)(least & subnormal));
    const U special = (int32_t)magnitude == p->inf_magnitude ? INFINITE : NOT_A_NUMBER;
    const U all = !twos && (int32_t)magnitude > p->max_code ? special : value;
    const U product
        = NAME(as_bits)(NAME(as_float)(all | (U)sign << (W - 1)) * NAME(as_float)(scale));
    return scale == NOT_A_NUMBER ? scale : product;
}

#define DECODE(STEM, CODE)                                                                         \
    static void NAME(STEM)(const void *from, const void *scales_, void *out, ptrdiff_t n,          \
                           const fmt_spec *spec)                                                   \
    {                                                                                              \
        const CODE *restrict codes = from;                                                         \
        const U *restrict scales = scales_;                                                        \
        U *restrict values = out;                                                                  \
        const fmt_spec p = *spec;                                                                  \
        if (p.twos_complement)                                                                     \
            for (ptrdiff_t i = 0; i < n; i++)                                                      \
                values[i] = NAME(decode_element)(codes[i], scales[i], &p, 1);                      \
        else                                                                                       \
            for (ptrdiff_t i = 0; i < n; i++)                                                      \
                values[i] = NAME(decode_element)(codes[i], scales[i], &p, 0);                      \
    }
DECODE(decode_elements1, uint8_t)
DECODE(decode_elements2, uint16_t)
DECODE(decode_elements4, uint32_t)
#undef DECODE

/* out = x * factor, finite values saturating; x and out may be the same. */
static void NAME(multiply_all)(const void *x, void *out, ptrdiff_t n, float factor)
{
    const U *bits = x;
    U *products = out;
    for (ptrdiff_t i = 0; i < n; i++) {
        const U product = NAME(as_bits)(NAME(as_float)(bits[i]) * (F)factor);
        const U infinite = (U)((product & (SIGN - 1)) == INFINITE);
        products[i] = product - (infinite & (U)((bits[i] & (SIGN - 1)) != INFINITE));
    }
}

#define GROUP_KERNELS(NAME)                                                                        \
    {                                                                                              \
        .absmax = NAME(absmax), .absmax_runs = NAME(absmax_runs), .spread = NAME(spread),          \
        .block_scales = NAME(block_scales), .micro_scales = NAME(micro_scales),                    \
        .round_codes = NAME(round_codes), .round_values = NAME(round_values),                      \
        .decode_scales = NAME(decode_scales),                                                      \
        .decode_elements = {NAME(decode_elements1), NAME(decode_elements2),                        \
                            NAME(decode_elements4)},                                               \
        .multiply_all = NAME(multiply_all),                                                        \
    }

#undef F
#undef LIFT
#undef NOT_A_NUMBER
