/* Exact sums and registers; see exact_sums.h. */
#include "exact_sums.h"

#include <math.h>
#include <string.h>

number fmt_from_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int field = (int)(bits >> 52 & 0x7ff);
    const uint64_t fraction = bits & 0xfffffffffffff;
    number to = {.negative = (uint8_t)(bits >> 63)};
    if (field == 0x7ff)
        to.kind = fraction ? NUMBER_NAN : NUMBER_INFINITE;
    else {
        to.magnitude = fraction | (uint64_t)(field > 0) << 52;
        to.exponent = (field > 0 ? field : 1) - 1075;
    }
    return to;
}

double fmt_to_double(const number *x)
{
    if (x->kind == NUMBER_NAN)
        return (double)NAN;
    const double magnitude = x->kind == NUMBER_INFINITE
                                 ? HUGE_VAL
                                 : ldexp((double)(uint64_t)x->magnitude, x->exponent);
    return x->negative ? -magnitude : magnitude;
}

/* --- wide sums -------------------------------------------------------------------------------- */

void fmt_clear_sum(wide *w, int32_t base, int count)
{
    memset(w->limbs, 0, sizeof w->limbs[0] * (size_t)count);
    w->base = base;
    w->count = count;
    w->negative = 0;
    w->kind = NUMBER_FINITE;
}

/* Adds or subtracts magnitude * 2**exponent; the exponent is not below the base. */
static void add_magnitude(wide *w, u128 magnitude, int32_t exponent, int subtract)
{
    const int shift = exponent - w->base, offset = shift & 63;
    int i = shift >> 6;
    const u128 low = magnitude << offset;
    const uint64_t words[3] = {(uint64_t)low, (uint64_t)(low >> 64),
                               offset ? (uint64_t)(magnitude >> (128 - offset)) : 0};
    uint64_t carry = 0;
    for (int word = 0; i < w->count && (word < 3 || carry); word++, i++) {
        const uint64_t x = word < 3 ? words[word] : 0;
        const u128 sum = subtract ? (u128)w->limbs[i] - x - carry : (u128)w->limbs[i] + x + carry;
        w->limbs[i] = (uint64_t)sum;
        carry = (uint64_t)(sum >> 64) & 1;
    }
}

/* From two's complement to sign and magnitude. */
static void settle(wide *w)
{
    w->negative = (uint8_t)(w->limbs[w->count - 1] >> 63);
    if (!w->negative)
        return;
    uint64_t carry = 1;
    for (int i = 0; i < w->count; i++) {
        w->limbs[i] = ~w->limbs[i] + carry;
        carry &= w->limbs[i] == 0;
    }
}

static int is_zero(const wide *w)
{
    for (int i = 0; i < w->count; i++)
        if (w->limbs[i])
            return 0;
    return 1;
}

static void count_kind(tally *t, uint8_t kind, uint8_t negative, int zero)
{
    t->nan |= kind == NUMBER_NAN;
    t->plus |= kind == NUMBER_INFINITE && !negative;
    t->minus |= kind == NUMBER_INFINITE && negative;
    t->plus_zero |= zero && !negative;
    t->minus_zero |= zero && negative;
    t->other |= !zero;
}

void fmt_finish_sum(wide *w, const tally *t, int signed_zero, int rounding)
{
    w->kind = t->nan || (t->plus && t->minus) ? NUMBER_NAN
              : t->plus || t->minus           ? NUMBER_INFINITE
                                              : NUMBER_FINITE;
    if (w->kind != NUMBER_FINITE) {
        w->negative = w->kind == NUMBER_INFINITE && t->minus;
        return;
    }
    settle(w);
    if (signed_zero && is_zero(w)) {
        const int same = !t->other && t->minus_zero != t->plus_zero;
        w->negative = same ? t->minus_zero : rounding == ROUND_DOWN;
    }
}

void fmt_sum_numbers(const number *terms, ptrdiff_t n, int signed_zero, int rounding, wide *w)
{
    tally t = {0};
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (ptrdiff_t i = 0; i < n; i++) {
        const number *x = &terms[i];
        count_kind(&t, x->kind, x->negative, x->kind == NUMBER_FINITE && !x->magnitude);
        if (x->magnitude) {
            const int32_t end = x->exponent + bit_length(x->magnitude);
            low = x->exponent < low ? x->exponent : low;
            high = end > high ? end : high;
        }
    }
    if (low > high)
        low = high = 0;
    const int width = high - low + bit_length((u128)n) + 1; /* sign included */
    if (width <= 128) {
        u128 sum = 0;
        for (ptrdiff_t i = 0; i < n; i++)
            if (terms[i].magnitude) {
                const u128 x = terms[i].magnitude << (terms[i].exponent - low);
                sum += terms[i].negative ? 0 - x : x;
            }
        fmt_clear_sum(w, low, 2);
        w->limbs[0] = (uint64_t)sum;
        w->limbs[1] = (uint64_t)(sum >> 64);
        fmt_finish_sum(w, &t, signed_zero, rounding);
        return;
    }
    fmt_clear_sum(w, low, width / 64 + 1);
    for (ptrdiff_t i = 0; i < n; i++)
        if (terms[i].magnitude)
            add_magnitude(w, terms[i].magnitude, terms[i].exponent, terms[i].negative);
    fmt_finish_sum(w, &t, signed_zero, rounding);
}

void fmt_add_sum(wide *sum, tally *t, const wide *w)
{
    count_kind(t, w->kind, w->negative, w->kind == NUMBER_FINITE && is_zero(w));
    if (w->kind == NUMBER_FINITE)
        for (int i = 0; i < w->count; i++)
            if (w->limbs[i])
                add_magnitude(sum, w->limbs[i], w->base + 64 * i, w->negative);
}

void fmt_add_to_sum(wide *sum, tally *t, const number *x)
{
    count_kind(t, x->kind, x->negative, x->kind == NUMBER_FINITE && !x->magnitude);
    if (x->magnitude)
        add_magnitude(sum, x->magnitude, x->exponent, x->negative);
}

void fmt_multiply_sum(wide *w, const fmt_number *x)
{
    const int zero = w->kind == NUMBER_FINITE && is_zero(w);
    const int x_zero = x->kind == NUMBER_FINITE && x->magnitude == 0;
    w->negative ^= x->negative;
    if (w->kind != NUMBER_FINITE || x->kind != NUMBER_FINITE) {
        w->kind = w->kind == NUMBER_NAN || x->kind == NUMBER_NAN || zero || x_zero
                      ? NUMBER_NAN
                      : NUMBER_INFINITE;
        return;
    }
    uint64_t carry = 0;
    for (int i = 0; i < w->count; i++) {
        const u128 product = (u128)w->limbs[i] * x->magnitude + carry;
        w->limbs[i] = (uint64_t)product;
        carry = (uint64_t)(product >> 64);
    }
    if (carry)
        w->limbs[w->count++] = carry;
    w->base += x->exponent;
}

/* --- rounding --------------------------------------------------------------------------------- */

/* 64 bits from a position on; positions below 0 and above the limbs hold zeros. */
static uint64_t bits_at(const wide *w, ptrdiff_t position)
{
    if (position < 0)
        return position <= -64 ? 0 : w->limbs[0] << -position;
    const ptrdiff_t i = position >> 6, offset = position & 63;
    const uint64_t low = i < w->count ? w->limbs[i] : 0;
    const uint64_t high = i + 1 < w->count ? w->limbs[i + 1] : 0;
    return offset ? low >> offset | high << (64 - offset) : low;
}

static int any_below(const wide *w, ptrdiff_t position)
{
    for (ptrdiff_t i = 0; i < w->count && i * 64 < position; i++) {
        const uint64_t mask = position - i * 64 < 64 ? ((uint64_t)1 << (position - i * 64)) - 1
                                                     : ~(uint64_t)0;
        if (w->limbs[i] & mask)
            return 1;
    }
    return 0;
}

static int rounds_up(int rounding, int negative, int odd, int half, int rest)
{
    switch (rounding) {
    case ROUND_NEAREST_EVEN:
        return half & (rest | odd);
    case ROUND_NEAREST_AWAY:
        return half;
    case ROUND_UP:
        return (half | rest) & !negative;
    case ROUND_DOWN:
        return (half | rest) & negative;
    case ROUND_TO_ODD:
        return (half | rest) & !odd;
    default: /* ROUND_TOWARD_ZERO */
        return 0;
    }
}

static number round_fixed(const wide *w, const fmt_register *r, ptrdiff_t top)
{
    const uint64_t greatest = ((uint64_t)1 << r->mantissa_bits) - 1;
    number to = {.exponent = r->least};
    uint64_t k = 0;
    int over = w->kind == NUMBER_INFINITE;
    int wraps = 0;
    if (w->kind == NUMBER_FINITE && top >= 0) {
        const ptrdiff_t position = (ptrdiff_t)r->least - w->base;
        const int half = position > 0 ? (int)(bits_at(w, position - 1) & 1) : 0;
        k = bits_at(w, position);
        over = top - position >= 63; /* far beyond any register; so k + 1 cannot wrap below */
        wraps = r->overflow == OVERFLOW_WRAP;
        k += (uint64_t)rounds_up(r->rounding, w->negative, (int)(k & 1), half,
                                 any_below(w, position - 1));
    }
    if (wraps) {
        const uint64_t sign = greatest + 1;
        k = (w->negative ? 0 - k : k) & (greatest | sign);
        to.negative = (k & sign) != 0;
        to.magnitude = to.negative ? 2 * sign - k : k;
        return to;
    }
    const uint64_t limit = greatest + w->negative;
    to.magnitude = over || k > limit ? limit : k;
    to.negative = w->negative && to.magnitude != 0;
    return to;
}

number fmt_round_sum(const wide *w, const fmt_register *r)
{
    ptrdiff_t top = -1; /* position of the leading bit */
    if (w->kind == NUMBER_FINITE)
        for (int i = w->count - 1; i >= 0 && top < 0; i--)
            if (w->limbs[i])
                top = 64 * i + 63 - __builtin_clzll(w->limbs[i]);
    if (r->kind == REGISTER_FIXED)
        return round_fixed(w, r, top);
    number to = {.negative = w->negative, .kind = w->kind};
    if (top < 0)
        return to;
    const ptrdiff_t exponent = top + w->base;
    if (r->flush && exponent < r->least)
        return to;
    const ptrdiff_t unit = (exponent > r->least ? exponent : r->least) - r->mantissa_bits;
    const ptrdiff_t position = unit - w->base;
    const int half = position > 0 ? (int)(bits_at(w, position - 1) & 1) : 0;
    uint64_t k = bits_at(w, position);
    k += (uint64_t)rounds_up(r->rounding, w->negative, (int)(k & 1), half,
                             any_below(w, position - 1));
    to.magnitude = k;
    to.exponent = (int32_t)unit;
    if (unit + bit_length(k) - 1 > r->greatest) {
        const int stops = r->rounding == ROUND_TOWARD_ZERO || r->rounding == ROUND_TO_ODD
                          || (r->rounding == ROUND_UP && w->negative)
                          || (r->rounding == ROUND_DOWN && !w->negative);
        if (r->overflow == OVERFLOW_SATURATE || (r->overflow == OVERFLOW_NONSATURATING && stops)) {
            to.magnitude = ((u128)2 << r->mantissa_bits) - 1;
            to.exponent = r->greatest - r->mantissa_bits;
        } else {
            to.magnitude = 0;
            to.kind = NUMBER_INFINITE;
        }
    }
    return to;
}

number fmt_round_number(const number *x, const fmt_register *r)
{
    wide w;
    fmt_sum_numbers(x, 1, 1, ROUND_TOWARD_ZERO, &w);
    return fmt_round_sum(&w, r);
}

number fmt_add_numbers(const number *x, const number *y, const fmt_register *r)
{
    const number both[2] = {*x, *y};
    wide w;
    fmt_sum_numbers(both, 2, 1, r->rounding, &w);
    return fmt_round_sum(&w, r);
}

void fmt_align(number *x, int32_t unit, int rounding)
{
    const int32_t shift = unit - x->exponent;
    if (x->magnitude == 0)
        return;
    x->exponent = unit;
    if (shift <= 0) {
        x->magnitude <<= -shift;
        return;
    }
    const u128 k = shift < 128 ? x->magnitude >> shift : 0;
    const int half = shift <= 128 ? (int)(x->magnitude >> (shift - 1)) & 1 : 0;
    const int rest = shift <= 128 ? (x->magnitude & (((u128)1 << (shift - 1)) - 1)) != 0 : 1;
    x->magnitude = k + (u128)rounds_up(rounding, 0, (int)(k & 1), half, rest);
}
