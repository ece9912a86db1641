/* Dot products with any accumulator, in exact integer arithmetic.
 *
 * 1. Codes are taken apart into numbers: magnitude, exponent, sign, kind.
 * 2. A dot product goes step by step (see Accumulator in accumulators.py): the products of a step are
 *    formed exactly, scaled, aligned; their exact sum in two's complement limbs is rounded once to
 *    the total.  The limbs span just the bits that the step's terms have.
 * 3. Without a total (Kulisch) the products go straight to limbs that span everything.
 *
 * The common cases have vector loops of their own that give the same bits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"
#include "kernels.h"

__extension__ typedef unsigned __int128 u128;

/* Bits of the widest sum: products of the formats' extremes (2**-1022 to 2**1024) with the scales of
 * both blocks and both tensors, and 62 bits of carries. */
enum { LIMBS = 160, LEAST_EXPONENT = -32 * LIMBS };
enum { PAIR_LEVELS = 64, NO_LEAST = -(1 << 28) };

typedef struct {
    u128 magnitude; /* 0 unless finite */
    int32_t exponent; /* of the magnitude's unit */
    int32_t top;      /* what a term is aligned by, unless it is zero */
    uint8_t negative, kind;
} number;

typedef struct {
    uint64_t limbs[LIMBS]; /* of the magnitude or, while adding, of two's complement; low first */
    int count;
    int32_t base; /* exponent of the lowest bit */
    uint8_t negative, kind;
} wide;

static int bit_length(u128 x)
{
    const uint64_t high = (uint64_t)(x >> 64), low = (uint64_t)x;
    return high ? 128 - __builtin_clzll(high) : low ? 64 - __builtin_clzll(low) : 0;
}

#define ALWAYS_INLINE inline __attribute__((always_inline))

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static void set_top(number *x, int32_t least)
{
    const int32_t top = x->exponent + bit_length(x->magnitude) - 1;
    x->top = top > least ? top : least;
}

static int32_t least_top(const fmt_register *r)
{
    return r->kind == REGISTER_FLOAT ? r->least : NO_LEAST;
}

static number zero_number(void) { return (number){0}; }

static number from_double(double x)
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

/* --- wide sums ---------------------------------------------------------------------------------- */

static void clear(wide *w, int32_t base, int count)
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

/* What addends that are not numbers, and their signs of zero, make of a sum. */
typedef struct {
    uint8_t nan, plus, minus; /* kinds met */
    uint8_t plus_zero, minus_zero, other;
} tally;

static void count_kind(tally *t, uint8_t kind, uint8_t negative, int zero)
{
    t->nan |= kind == NUMBER_NAN;
    t->plus |= kind == NUMBER_INFINITE && !negative;
    t->minus |= kind == NUMBER_INFINITE && negative;
    t->plus_zero |= zero && !negative;
    t->minus_zero |= zero && negative;
    t->other |= !zero;
}

/* The sum's kind, and the sign of one that is exactly zero. */
static void finish(wide *w, const tally *t, int signed_zero, int rounding)
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

static void sum_numbers(const number *terms, ptrdiff_t n, int signed_zero, int rounding, wide *w)
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
        clear(w, low, 2);
        w->limbs[0] = (uint64_t)sum;
        w->limbs[1] = (uint64_t)(sum >> 64);
        finish(w, &t, signed_zero, rounding);
        return;
    }
    clear(w, low, width / 64 + 1);
    for (ptrdiff_t i = 0; i < n; i++)
        if (terms[i].magnitude)
            add_magnitude(w, terms[i].magnitude, terms[i].exponent, terms[i].negative);
    finish(w, &t, signed_zero, rounding);
}

/* Settled sums times a number. */
static void multiply_wide(wide *w, const fmt_number *x)
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

/* --- rounding ----------------------------------------------------------------------------------- */

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

/* The value of a settled sum in a register. */
static number round_wide(const wide *w, const fmt_register *r)
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

static number round_number(const number *x, const fmt_register *r)
{
    wide w;
    sum_numbers(x, 1, 1, ROUND_TOWARD_ZERO, &w);
    return round_wide(&w, r);
}

static number add(const number *x, const number *y, const fmt_register *r)
{
    const number both[2] = {*x, *y};
    wide w;
    sum_numbers(both, 2, 1, r->rounding, &w);
    return round_wide(&w, r);
}

/* A term as a multiple of 2**unit.  Fewer than 80 bits are kept. */
static void align(number *x, int32_t unit, int rounding)
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

/* --- operands ----------------------------------------------------------------------------------- */

static inline uint32_t code_at(const void *codes, int type, ptrdiff_t index)
{
    return type == TYPE_INT1   ? ((const uint8_t *)codes)[index]
           : type == TYPE_INT2 ? ((const uint16_t *)codes)[index]
                               : ((const uint32_t *)codes)[index];
}

static ALWAYS_INLINE fmt_number take_apart(const fmt_operand *x, uint32_t code)
{
    if (x->family == OPERAND_TABLE)
        return x->table[code];
    fmt_number to = {.exponent = x->exponent};
    if (x->family == OPERAND_SIGN_MAGNITUDE) {
        to.negative = (uint8_t)(code >> x->bits & 1);
        to.magnitude = code & (((uint64_t)1 << x->bits) - 1);
    } else {
        const uint64_t sign = (uint64_t)1 << (x->bits - 1), k = code & (2 * sign - 1);
        to.negative = x->family == OPERAND_TWOS_COMPLEMENT && (k & sign) != 0;
        to.magnitude = to.negative ? 2 * sign - k : k;
    }
    return to;
}

/* A row of a, or a column of b. */
typedef struct {
    const fmt_operand *of;
    ptrdiff_t first, first_scale;
} line;

static line line_of(const fmt_operand *x, ptrdiff_t batch, ptrdiff_t row)
{
    return (line){x, batch * x->batch_stride + row * x->row_stride,
                  batch * x->scale_batch + row * x->scale_row};
}

static const fmt_number *scale_at(const line *x, ptrdiff_t k)
{
    const ptrdiff_t at = x->first_scale + k / x->of->group * x->of->scale_step;
    return &x->of->scale_table[code_at(x->of->scales, x->of->scale_type, at)];
}

/* A number of a line, its scale multiplied in if that is wanted. */
static ALWAYS_INLINE fmt_number element(const line *x, ptrdiff_t k, int scaled)
{
    const ptrdiff_t at = x->first + k * x->of->step;
    fmt_number to = take_apart(x->of, code_at(x->of->codes, x->of->type, at));
    if (!scaled || !x->of->group)
        return to;
    const fmt_number *scale = scale_at(x, k);
    if (to.kind | scale->kind) {
        const int zero = (to.kind == NUMBER_FINITE && !to.magnitude)
                         || (scale->kind == NUMBER_FINITE && !scale->magnitude);
        const int nan = to.kind == NUMBER_NAN || scale->kind == NUMBER_NAN || zero;
        to.kind = nan ? NUMBER_NAN : NUMBER_INFINITE;
    }
    to.magnitude *= scale->magnitude;
    to.exponent += scale->exponent;
    to.negative ^= scale->negative;
    return to;
}

/* --- one dot product ---------------------------------------------------------------------------- */

enum { MOST_TERMS = 64 };

typedef struct {
    const fmt_product *plan;
    line a, b;
    number terms[MOST_TERMS + 1];
    wide *exact; /* the total, if nothing rounds it */
    tally *met;
} state;

static int scales_in_products(const fmt_product *p)
{
    return !(p->scales_groups || p->scales_promotion || p->scales_end);
}

/* Where the blocks that k is in end, at most at `end`. */
static ptrdiff_t group_end(const fmt_product *p, ptrdiff_t k, ptrdiff_t end)
{
    if (p->a.group)
        end = smaller(end, (k / p->a.group + 1) * p->a.group);
    if (p->b.group)
        end = smaller(end, (k / p->b.group + 1) * p->b.group);
    return end;
}

static void scale_wide(const state *s, wide *w, ptrdiff_t k)
{
    if (s->plan->a.group)
        multiply_wide(w, scale_at(&s->a, k));
    if (s->plan->b.group)
        multiply_wide(w, scale_at(&s->b, k));
}

static void add_wide(wide *sum, tally *t, const wide *w)
{
    count_kind(t, w->kind, w->negative, w->kind == NUMBER_FINITE && is_zero(w));
    if (w->kind == NUMBER_FINITE)
        for (int i = 0; i < w->count; i++)
            if (w->limbs[i])
                add_magnitude(sum, w->limbs[i], w->base + 64 * i, w->negative);
}

static void add_number(wide *sum, tally *t, const number *x)
{
    count_kind(t, x->kind, x->negative, x->kind == NUMBER_FINITE && !x->magnitude);
    if (x->magnitude)
        add_magnitude(sum, x->magnitude, x->exponent, x->negative);
}

/* At most MOST_TERMS products, rounded to the product's register if there is one. */
static void multiply(state *s, ptrdiff_t k0, ptrdiff_t n)
{
    const fmt_product *p = s->plan;
    const int scaled = scales_in_products(p);
    for (ptrdiff_t i = 0; i < n; i++) {
        const fmt_number a = element(&s->a, k0 + i, scaled), b = element(&s->b, k0 + i, scaled);
        number *to = &s->terms[i];
        to->magnitude = (u128)a.magnitude * b.magnitude;
        to->exponent = a.exponent + b.exponent;
        to->top = to->exponent + p->a.fraction_bits + p->b.fraction_bits;
        to->negative = a.negative ^ b.negative;
        to->kind = NUMBER_FINITE;
        if (a.kind | b.kind) {
            const int nan = a.kind == NUMBER_NAN || b.kind == NUMBER_NAN
                            || (a.kind == NUMBER_FINITE && a.magnitude == 0)
                            || (b.kind == NUMBER_FINITE && b.magnitude == 0);
            to->kind = nan ? NUMBER_NAN : NUMBER_INFINITE;
            to->magnitude = 0;
        }
        if (p->product.kind != REGISTER_NONE) {
            *to = round_number(to, &p->product);
            set_top(to, least_top(&p->product));
        }
    }
}

/* The sum of a step's terms, aligned or exact, and of `start` if it is one of them. */
static void sum_step(state *s, ptrdiff_t k0, ptrdiff_t n, number *start, wide *w)
{
    const fmt_product *p = s->plan;
    const int at_once = n <= MOST_TERMS;
    int32_t top = p->least_alignment;
    if (start && start->magnitude) {
        set_top(start, least_top(&p->total));
        top = start->top > top ? start->top : top;
    }
    for (ptrdiff_t k = 0; k < n && (p->aligned || at_once); k += MOST_TERMS) {
        const ptrdiff_t count = smaller(MOST_TERMS, n - k);
        multiply(s, k0 + k, count);
        for (ptrdiff_t i = 0; i < count; i++)
            if (s->terms[i].magnitude && s->terms[i].top > top)
                top = s->terms[i].top;
    }
    const int32_t unit = top - p->alignment_bits;
    if (start && p->aligned)
        align(start, unit, p->alignment_rounding);
    tally t = {0};
    if (!at_once)
        clear(w, LEAST_EXPONENT, LIMBS);
    for (ptrdiff_t k = 0; k < n; k += MOST_TERMS) {
        const ptrdiff_t count = smaller(MOST_TERMS, n - k);
        if (!at_once)
            multiply(s, k0 + k, count);
        for (ptrdiff_t i = 0; i < count; i++) {
            if (p->aligned)
                align(&s->terms[i], unit, p->alignment_rounding);
            if (!at_once)
                add_number(w, &t, &s->terms[i]);
        }
    }
    if (at_once) {
        if (start)
            s->terms[n] = *start;
        sum_numbers(s->terms, n + (start != NULL), p->signed_zero, p->total.rounding, w);
    } else {
        if (start)
            add_number(w, &t, start);
        finish(w, &t, p->signed_zero, p->total.rounding);
    }
}

/* One step: terms k0 ... k0 + n - 1 and the total so far; the new total. */
static number step(state *s, ptrdiff_t k0, ptrdiff_t n, number start)
{
    const fmt_product *p = s->plan;
    wide w;
    if (s->exact && !p->aligned && p->partial.kind == REGISTER_NONE
        && !(p->late && p->scales_groups)) {
        for (ptrdiff_t k = 0; k < n; k += MOST_TERMS) {
            const ptrdiff_t count = smaller(MOST_TERMS, n - k);
            multiply(s, k0 + k, count);
            for (ptrdiff_t i = 0; i < count; i++)
                add_number(s->exact, s->met, &s->terms[i]);
        }
        s->met->plus_zero |= p->late && !p->signed_zero; /* each sum of a step that is zero is +0 */
        return start;
    }
    sum_step(s, k0, n, p->late ? NULL : &start, &w);
    if (!p->late)
        return round_wide(&w, &p->total);
    if (p->scales_groups)
        scale_wide(s, &w, k0);
    if (s->exact) {
        if (p->partial.kind == REGISTER_NONE) {
            add_wide(s->exact, s->met, &w);
        } else {
            const number partial = round_wide(&w, &p->partial);
            add_number(s->exact, s->met, &partial);
        }
        return start;
    }
    if (p->partial.kind == REGISTER_NONE) {
        /* the sum and the start, still exact, in one rounding */
        wide both;
        tally t = {0};
        clear(&both, LEAST_EXPONENT, LIMBS);
        add_wide(&both, &t, &w);
        add_number(&both, &t, &start);
        finish(&both, &t, 1, p->total.rounding);
        return round_wide(&both, &p->total);
    }
    const number partial = round_wide(&w, &p->partial);
    return add(&start, &partial, &p->total);
}

/* Steps from k to end. */
static number steps(state *s, ptrdiff_t k, ptrdiff_t end, number total)
{
    while (k < end) {
        ptrdiff_t stop = s->plan->terms < end - k ? k + s->plan->terms : end;
        if (s->plan->scales_groups)
            stop = group_end(s->plan, k, stop);
        total = step(s, k, stop - k, total);
        k = stop;
    }
    return total;
}

/* One part of the depth, sequentially, with promotion if there is any. */
static number part(state *s, ptrdiff_t k, ptrdiff_t end, number start)
{
    const fmt_product *p = s->plan;
    if (!p->promotion_terms)
        return steps(s, k, end, start);
    while (k < end) {
        ptrdiff_t stop = p->promotion_terms < end - k ? k + p->promotion_terms : end;
        if (p->scales_promotion)
            stop = group_end(p, k, stop);
        const number total = steps(s, k, stop, zero_number());
        if (p->scales_promotion) {
            wide w, sum;
            tally t = {0};
            sum_numbers(&total, 1, 1, ROUND_TOWARD_ZERO, &w);
            scale_wide(s, &w, k);
            clear(&sum, LEAST_EXPONENT, LIMBS);
            add_wide(&sum, &t, &w);
            add_number(&sum, &t, &start);
            finish(&sum, &t, 1, p->promotion.rounding);
            start = round_wide(&sum, &p->promotion);
        } else {
            start = add(&start, &total, &p->promotion);
        }
        k = stop;
    }
    return start;
}

/* Steps from zero, their sums added two by two.  stack[i] holds the sum of 2**level[i] steps;
 * equal levels are merged at once, the rest at the end from right to left: the same pairs as level
 * by level with odd ones carried on. */
static number pairwise(state *s, ptrdiff_t depth)
{
    const fmt_product *p = s->plan;
    number stack[PAIR_LEVELS];
    int level[PAIR_LEVELS], n = 0;
    for (ptrdiff_t k = 0; k < depth; n++) {
        ptrdiff_t stop = p->terms < depth - k ? k + p->terms : depth;
        if (p->scales_groups)
            stop = group_end(p, k, stop);
        stack[n] = step(s, k, stop - k, zero_number());
        level[n] = 0;
        for (; n > 0 && level[n - 1] == level[n]; n--) {
            stack[n - 1] = add(&stack[n - 1], &stack[n], &p->total);
            level[n - 1]++;
        }
        k = stop;
    }
    for (; n > 1; n--)
        stack[n - 2] = add(&stack[n - 2], &stack[n - 1], &p->total);
    return n ? stack[0] : zero_number();
}

static double to_double(const number *x)
{
    if (x->kind == NUMBER_NAN)
        return (double)NAN;
    const double magnitude
        = x->kind == NUMBER_INFINITE ? HUGE_VAL : ldexp((double)(uint64_t)x->magnitude, x->exponent);
    return x->negative ? -magnitude : magnitude;
}

static double dot_product(state *s, double c)
{
    const fmt_product *p = s->plan;
    const ptrdiff_t depth = p->depth;
    const number start = from_double(c);
    number total = p->scales_end ? zero_number() : start;
    wide exact, w;
    tally met = {0};
    s->exact = NULL;
    if (depth == 0) {
        total = start;
    } else if (p->total.kind == REGISTER_NONE) {
        s->exact = &exact;
        s->met = &met;
        clear(&exact, LEAST_EXPONENT, LIMBS);
        if (!p->scales_end)
            add_number(&exact, &met, &start);
        steps(s, 0, depth, zero_number());
        finish(&exact, &met, p->signed_zero || p->late, ROUND_TOWARD_ZERO);
    } else if (p->pairwise) {
        const number sum = pairwise(s, depth);
        total = p->scales_end ? sum : add(&start, &sum, &p->total);
    } else if (p->parts) {
        const fmt_register *last = p->promotion_terms ? &p->promotion : &p->total;
        ptrdiff_t k = 0;
        for (ptrdiff_t i = 0; i < p->part_count; k += p->parts[i++]) {
            const number next = part(s, k, k + p->parts[i], i ? zero_number() : total);
            total = i ? add(&total, &next, last) : next;
        }
    } else {
        total = part(s, 0, depth, total);
    }
    if (!s->exact)
        sum_numbers(&total, 1, 1, ROUND_TOWARD_ZERO, &exact);
    const wide *result = &exact;
    if (p->scales_end && depth) {
        tally t = {0};
        int first = 0; /* the least limbs of a Kulisch sum are mostly zeros: there is no room to spare */
        while (first < exact.count - 1 && !exact.limbs[first])
            first++;
        memmove(exact.limbs, exact.limbs + first, sizeof exact.limbs[0] * (size_t)(exact.count - first));
        exact.count -= first;
        exact.base += 64 * first;
        while (exact.count > 1 && !exact.limbs[exact.count - 1])
            exact.count--;
        scale_wide(s, &exact, 0);
        clear(&w, LEAST_EXPONENT, LIMBS);
        add_wide(&w, &t, &exact);
        add_number(&w, &t, &start);
        finish(&w, &t, p->signed_zero, ROUND_TOWARD_ZERO);
        result = &w;
    }
    const number rounded = round_wide(result, &p->result);
    return to_double(&rounded);
}

/* --- tiles ---------------------------------------------------------------------------------------
 *
 * The common accumulators run in vector loops (tiles.inc.h).  A block of results is taken a slab of
 * the depth at a time: the slab's columns of b are packed in tiles, then those of a, row by row,
 * and each pair of tiles adds to the totals of its results, which are kept for the whole block.
 * Where the loops' assumptions fail for a row, a column or a tile, its dot products are done again
 * from the codes, step by step; so the bits are the same. */

enum tile_kind {
    STEPS,   /* no tiles */
    IEEE,    /* sequential float32 */
    GROUPS,  /* exact sums of groups, scaled and rounded to float32, added in float32 */
    EXACT,   /* one exact sum */
    ALIGNED, /* truncated terms; a truncated total, or a float32 one that is added late */
};

enum {
    MOST_SLICES = 3,
    MOST_PASSES = MOST_SLICES * MOST_SLICES,
    SLAB = 256, /* elements of the depth, about */
    MOST_SLAB = 1024,
    SLAB_BITS = 8,
    MOST_SIDE = 128, /* rows or columns of a block */
    BUDGET = 3 << 18, /* bytes of scratch */
    ZERO_EXPONENT = -(1 << 13),
    MOST_LEVELS = 48,
};

/* What a row or a column is marked with. */
enum { REDO = 1, HAS_NAN = 2 };

/* Integers in units of 2**low, cut into `count` slices of `bits` bits. */
typedef struct {
    int32_t low;
    int count, bits;
} slicing;

typedef struct {
    enum tile_kind kind;
    int paired, scaled;
    int in_floats;  /* GROUPS: float holds the sums of groups */
    int of_data;    /* EXACT: the range is that of the data, not of the format */
    int wide, small; /* see fmt_aligned */
    ptrdiff_t run;  /* terms of a step or a group */
    ptrdiff_t slab, rows, columns; /* of a block */
    int a_width; /* of a tile of a */
    slicing a_cut, b_cut;
    size_t element, state; /* bytes of an element of b, and of the totals of a result */
    int levels;            /* of pairwise sums */
    double least_start, most_start; /* magnitudes of c, unless it is zero */
} layout;

static int is_float32(const fmt_register *r)
{
    return r->kind == REGISTER_FLOAT && r->mantissa_bits == 23 && r->least == -126
           && r->greatest == 127 && r->rounding == ROUND_NEAREST_EVEN
           && r->overflow != OVERFLOW_SATURATE && !r->flush;
}

static int span(const fmt_operand *x, int scaled)
{
    return x->high - x->low + (scaled && x->group ? x->scale_high - x->scale_low : 0);
}

static int least_of(const fmt_operand *x, int scaled)
{
    return x->low + (scaled && x->group ? x->scale_low : 0);
}

static int greatest_of(const fmt_operand *x, int scaled)
{
    return x->high + (scaled && x->group ? x->scale_high : 0);
}

/* The least number of pairs of slices whose products have at most `most` bits; 0: there is none. */
static int cut_slices(int a_span, int b_span, int most, int most_passes, slicing *a, slicing *b)
{
    int best = 0;
    for (int na = 1; na <= MOST_SLICES; na++)
        for (int nb = 1; nb <= MOST_SLICES; nb++) {
            const int a_bits = (a_span + na - 1) / na, b_bits = (b_span + nb - 1) / nb;
            const int fits = a_bits + b_bits <= most && na * nb <= most_passes;
            if (!fits || (best && na * nb >= best))
                continue;
            best = na * nb;
            a->count = na, a->bits = a_bits ? a_bits : 1;
            b->count = nb, b->bits = b_bits ? b_bits : 1;
        }
    return best;
}

/* Steps of tensor cores. */
static int lay_out_aligned(const fmt_product *p, layout *l)
{
    const fmt_register *total = &p->total;
    const fmt_operand *a = &p->a, *b = &p->b;
    /* a step's halves stay below 2**31 (floats' products are below 4, integers' may be 4, a total
     * counts as less than one more), and significands are exact in float32 */
    const int floats = a->family == OPERAND_TABLE && b->family == OPERAND_TABLE;
    const ptrdiff_t most = (ptrdiff_t)1 << (29 - smaller(p->alignment_bits, 29));
    const int fits = (p->terms + 1) / 2 + !(p->late && floats) <= most
                     && a->fraction_bits + b->fraction_bits <= 22;
    const int scales = (!a->group || a->scale_bits == 1) && (!b->group || b->scale_bits == 1);
    if (!fits || !scales || p->product.kind != REGISTER_NONE || p->least_alignment != NO_LEAST
        || p->alignment_rounding != ROUND_TOWARD_ZERO || p->signed_zero
        || p->partial.kind != REGISTER_NONE)
        return 0;
    if (p->late ? !is_float32(total)
                : total->kind != REGISTER_FLOAT || total->rounding != ROUND_TOWARD_ZERO
                      || total->mantissa_bits > 23 || total->least != -126)
        return 0;
    const int a_low = least_of(a, 1), a_high = greatest_of(a, 1);
    const int b_low = least_of(b, 1), b_high = greatest_of(b, 1);
    if (a_low < -280 || b_low < -280 || a_high > 280 || b_high > 280)
        return 0;
    l->kind = ALIGNED;
    l->run = p->terms;
    l->wide = a_low + b_low < -60 || a_high + b_high > 60 || a_high > 120 || b_high > 120
              || a_low < -120 || b_low < -120 || a->group || b->group;
    l->small = p->terms < 1 << 20 && p->alignment_bits < 22
               && (p->terms + 1) << (p->alignment_bits + 2) <= 1 << 24;
    l->element = sizeof(float) + sizeof(int16_t) + (l->wide ? sizeof(int32_t) : 0);
    return 1;
}

/* Sums of groups, each rounded to float32 and added. */
static int lay_out_groups(const fmt_product *p, layout *l)
{
    const fmt_operand *a = &p->a, *b = &p->b;
    if (!p->late || p->signed_zero || p->product.kind != REGISTER_NONE || !is_float32(&p->partial)
        || !is_float32(&p->total) || (!p->scales_groups && (a->group || b->group)))
        return 0;
    /* steps of one length: the shorter blocks, or their equal parts */
    const ptrdiff_t longer = a->group > b->group ? a->group : b->group;
    const ptrdiff_t shorter = a->group && b->group ? smaller(a->group, b->group) : longer;
    const ptrdiff_t run = shorter ? smaller(p->terms, shorter) : p->terms;
    if (shorter && (longer % shorter || shorter % run))
        return 0;
    l->run = run;
    const int carries = bit_length((u128)smaller(run, p->depth) - 1);
    const int bits = span(a, 0) + span(b, 0) + carries;
    const int scale_bits = (a->group ? a->scale_bits : 1) + (b->group ? b->scale_bits : 1);
    l->a_cut = (slicing){a->low, 1, span(a, 0)};
    l->b_cut = (slicing){b->low, 1, span(b, 0)};
    l->in_floats = bits <= 24;
    if (a->tensor != 1 || b->tensor != 1) {
        if (bits + scale_bits > 24)
            return 0;
    } else if (bits + scale_bits > 53) {
        /* slices are combined with powers of two only, and one operand is cut at most */
        const int passes = cut_slices(span(a, 0), span(b, 0), 53 - carries, MOST_SLICES, &l->a_cut,
                                      &l->b_cut);
        if (!passes || scale_bits > 2)
            return 0;
    }
    l->kind = GROUPS;
    l->element = l->in_floats ? sizeof(float) : sizeof(double) * (size_t)l->b_cut.count;
    return 1;
}

/* Bits of products whose sums double holds for a slab, and int64_t for all of the depth. */
static int exact_bits(const fmt_product *p)
{
    return (int)smaller(52 - SLAB_BITS, 62 - bit_length((u128)p->depth));
}

static int lay_out_exact(const fmt_product *p, layout *l)
{
    if (p->product.kind != REGISTER_NONE || p->signed_zero || p->partial.kind != REGISTER_NONE
        || (p->late && p->scales_groups))
        return 0;
    l->kind = EXACT;
    l->run = 1;
    int passes = cut_slices(span(&p->a, 1), span(&p->b, 1), exact_bits(p), MOST_PASSES, &l->a_cut,
                            &l->b_cut);
    l->of_data = !passes;
    if (l->of_data) {
        l->b_cut.count = MOST_SLICES;
        passes = MOST_PASSES;
    }
    l->a_cut.low = least_of(&p->a, 1);
    l->b_cut.low = least_of(&p->b, 1);
    l->element = sizeof(double) * (size_t)l->b_cut.count;
    l->state = sizeof(int64_t) * (size_t)passes;
    return 1;
}

static ptrdiff_t round_up(ptrdiff_t x, ptrdiff_t to) { return (x + to - 1) / to * to; }

/* Bytes of a side of a block; the scales of groups are doubles. */
static size_t side_bytes(const layout *l, size_t element, ptrdiff_t width)
{
    const ptrdiff_t groups = l->kind == GROUPS ? l->slab / l->run + 1 : 0;
    return element * (size_t)(width * l->slab) + sizeof(double) * (size_t)(width * groups);
}

static size_t a_element(const layout *l)
{
    return l->kind == EXACT || (l->kind == GROUPS && !l->in_floats)
               ? sizeof(double) * (size_t)(l->of_data ? MOST_SLICES : l->a_cut.count)
               : l->element;
}

static size_t block_bytes(const layout *l)
{
    const size_t results = (size_t)(round_up(l->rows, TILE_ROWS) * l->columns);
    return l->state * results + side_bytes(l, l->element, l->columns)
           + side_bytes(l, a_element(l), l->a_width) 
           + results / TILE_COLUMNS + 2 * (size_t)(l->rows + l->columns);
}

/* How the tiles of a product lie; kind is STEPS if there are none. */
static layout lay_out(const fmt_product *p)
{
    layout l = {.kind = STEPS, .scaled = scales_in_products(p)};
    const fmt_register *total = &p->total;
    int found = 0;
    if (p->scales_promotion || p->scales_end || p->depth == 0)
        return l;
    if (p->promotion_terms && !(is_float32(&p->promotion) && p->aligned))
        return l;
    l.state = sizeof(float) * (p->promotion_terms ? 2 : 1) + (p->parts ? sizeof(float) : 0);
    if (p->aligned)
        found = !p->scales_groups && lay_out_aligned(p, &l);
    else if (total->kind == REGISTER_NONE)
        found = lay_out_exact(p, &l);
    else if (p->late)
        found = lay_out_groups(p, &l);
    else if (p->terms == 1 && p->signed_zero && is_float32(total) && is_float32(&p->product)) {
        found = 1;
        l.kind = IEEE;
        l.run = 1;
        l.element = sizeof(float);
    }
    const ptrdiff_t unit = p->promotion_terms ? p->promotion_terms : smaller(l.run, p->depth);
    /* groups count from the start, steps without groups from that of their part */
    for (ptrdiff_t i = 0; p->parts && i < p->part_count && (p->a.group || p->b.group); i++)
        found = found && (l.kind != GROUPS || p->parts[i] % l.run == 0);
    if (!found || unit > MOST_SLAB || (p->pairwise && !is_float32(total))) {
        l.kind = STEPS;
        return l;
    }
    l.slab = unit;
    while (2 * l.slab <= SLAB && l.slab < p->depth)
        l.slab *= 2;
    l.slab = smaller(l.slab, p->depth);
    if (p->pairwise) { /* the stack of slabs' sums, and the start */
        l.levels = bit_length((u128)(p->depth / l.slab)) + 1;
        l.state = sizeof(float) * (size_t)(l.levels + 2);
    }
    l.paired = p->batch > 1 && p->rows == 1 && p->columns == 1;
    l.a_width = l.paired ? TILE_COLUMNS : TILE_ROWS;
    l.rows = smaller(MOST_SIDE, p->rows);
    l.columns = smaller(MOST_SIDE, round_up(l.paired ? p->batch : p->columns, TILE_COLUMNS));
    while (l.columns > TILE_COLUMNS && block_bytes(&l) > BUDGET)
        l.columns = round_up(l.columns / 2, TILE_COLUMNS);
    while (l.rows > TILE_ROWS && block_bytes(&l) > BUDGET)
        l.rows /= 2;
    return l;
}

/* Packed elements, [k][width]; what is not wanted is NULL. */
typedef struct {
    double *slices; /* [slice][tile][k][width] */
    ptrdiff_t slice; /* between slices */
    float *values;
    int16_t *exponents;
    int32_t *wide;
    double *scales; /* [group][width] */
} tile;

/* One operand, as tiles take it. */
typedef struct {
    const fmt_operand *of;
    slicing cut;
    int width;
    uint8_t *marks; /* of each row or column of the block */
    tile data;      /* of the first rows or columns */
    /* Codes of a byte are looked up; if they are scaled, without their scales at first. */
    int direct, scaled, any_mark, special_in_value;
    double slices_of[MOST_SLICES][256];
    float value_of[256];
    int16_t exponent_of[256];
    int32_t wide_of[256];
    uint8_t mark_of[256];
} side;

static double power(int exponent)
{
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float float_power(int exponent)
{
    const uint32_t bits = (uint32_t)(exponent + 127) << 23;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x * 2**exponent, exactly if that is a normal number. */
static double scaled(double x, int exponent)
{
    return exponent > -900 && exponent < 900 ? x * power(exponent) : ldexp(x, exponent);
}

/* in_value: loops do with infinities and NaN what they ought to. */
static uint8_t special_mark(const fmt_number *x, int in_value)
{
    return x->kind == NUMBER_FINITE || in_value ? 0 : x->kind == NUMBER_NAN ? HAS_NAN : REDO;
}

static double special_value(const fmt_number *x)
{
    return x->kind == NUMBER_NAN ? (double)NAN : x->negative ? -HUGE_VAL : HUGE_VAL;
}

/* 1 or -1; signs are data, branches would guess. */
static ALWAYS_INLINE float sign_of(const fmt_number *x) { return (float)(1 - 2 * x->negative); }

/* IEEE: a float32 number, infinity or NaN. */
static ALWAYS_INLINE float to_value(const fmt_number *x, uint8_t *mark)
{
    const double exact = scaled((double)x->magnitude * sign_of(x), x->exponent);
    const float value = (float)exact;
    *mark |= (double)value != exact || x->magnitude >> 53 ? REDO : 0;
    return x->kind == NUMBER_FINITE ? value : (float)special_value(x);
}

/* ALIGNED: a value or a significand, and the exponent that it is aligned by. */
static ALWAYS_INLINE float to_aligned(const fmt_number *x, int wide, int fraction_bits,
                                      int16_t *exponent, uint8_t *mark)
{
    if (x->magnitude == 0) {
        *mark |= special_mark(x, 0);
        *exponent = ZERO_EXPONENT;
        return wide ? 1 : 0;
    }
    *exponent = (int16_t)(x->exponent + fraction_bits);
    const float unit = float_power(wide ? -fraction_bits : x->exponent);
    return (float)(int64_t)x->magnitude * unit * sign_of(x);
}

/* GROUPS and EXACT: integers in units of 2**low, in slices. */
static void to_slices(const slicing *cut, const fmt_number *x, int special_in_value, double *slices,
                      uint8_t *mark)
{
    *mark |= special_mark(x, special_in_value);
    if (x->kind != NUMBER_FINITE) {
        slices[0] = special_value(x);
        return;
    }
    const int shift = x->magnitude ? x->exponent - cut->low : 0; /* below 0 only zeros go */
    const u128 mask = ((u128)1 << cut->bits) - 1;
    u128 value = shift < 0 ? x->magnitude >> -shift : (u128)x->magnitude << shift;
    for (int i = 0; i < cut->count; i++, value >>= cut->bits) {
        slices[i] = (double)(int64_t)(value & mask) * (double)sign_of(x);
    }
}

/* Fills the tables of a side whose codes have a byte. */
static void fill_tables(const layout *l, side *s)
{
    s->scaled = l->scaled && s->of->group;
    s->direct = s->of->type == TYPE_INT1
                && (!s->scaled || l->kind == ALIGNED || (l->kind == EXACT && s->cut.count == 1));
    s->special_in_value = l->kind == GROUPS && l->a_cut.count * l->b_cut.count == 1;
    s->any_mark = 0;
    const int bits = s->of->family == OPERAND_TABLE ? s->of->bits : 8;
    const uint32_t count = (uint32_t)1 << (bits < 8 ? bits : 8);
    const slicing unscaled = {s->of->low, 1, span(s->of, 0)};
    for (uint32_t code = 0; s->direct && code < count; code++) {
        const fmt_number x = take_apart(s->of, code);
        double slices[MOST_SLICES] = {0};
        s->mark_of[code] = 0;
        if (l->kind == IEEE)
            s->value_of[code] = to_value(&x, &s->mark_of[code]);
        else if (l->kind == ALIGNED)
            s->value_of[code] = to_aligned(&x, l->wide, s->of->fraction_bits, &s->exponent_of[code],
                                           &s->mark_of[code]);
        else
            to_slices(s->scaled ? &unscaled : &s->cut, &x, s->special_in_value, slices,
                      &s->mark_of[code]);
        s->wide_of[code] = s->exponent_of[code];
        for (int slice = 0; slice < s->cut.count && l->kind != IEEE && l->kind != ALIGNED; slice++)
            s->slices_of[slice][code] = slices[slice];
        if (l->in_floats)
            s->value_of[code] = (float)slices[0];
        s->any_mark |= s->mark_of[code];
    }
}

/* Where the tile of the rows or columns from `first` on is; n elements of the depth. */
static tile tile_at(const layout *l, const side *s, ptrdiff_t first, ptrdiff_t n)
{
    const ptrdiff_t at = first * n;
    tile to = s->data;
    to.slices = to.slices ? to.slices + at : NULL;
    to.values = to.values ? to.values + at : NULL;
    to.exponents = to.exponents ? to.exponents + at : NULL;
    to.wide = to.wide ? to.wide + at : NULL;
    to.scales = to.scales ? to.scales + first * ((n + l->run - 1) / l->run) : NULL;
    return to;
}

/* to[k][i] = table[codes[i * row + k * step]] for n elements of `count` rows or columns, in tiles
 * of `width`, one after the other; `rest` where the last has none.  Codes are read in the order in
 * which they lie in memory. */
#define LOOK_UP(NAME, TYPE)                                                                        \
    static ALWAYS_INLINE void NAME##_row(const uint8_t *codes, ptrdiff_t row, int count,           \
                                         const TYPE *restrict table, TYPE *restrict to)            \
    {                                                                                              \
        for (int i = 0; i < count; i++)                                                            \
            to[i] = table[codes[i * row]];                                                         \
    }                                                                                              \
    static void NAME(const uint8_t *codes, ptrdiff_t row, ptrdiff_t step, ptrdiff_t n, int count,  \
                     int width, const TYPE *table, TYPE rest, TYPE *to)                            \
    {                                                                                              \
        const int whole = count / width * width;                                                   \
        if (step == 1) {                                                                           \
            for (ptrdiff_t i = 0; i < round_up(count, width); i++) {                               \
                const uint8_t *from = codes + i * row;                                             \
                TYPE *next = to + i / width * n * width + i % width;                               \
                for (ptrdiff_t k = 0; k < n; k++, next += width)                                   \
                    *next = i < count ? table[from[k]] : rest;                                     \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (ptrdiff_t k = 0; k < n; k++) {                                                        \
            const uint8_t *from = codes + k * step;                                                \
            TYPE *next = to + k * width;                                                           \
            for (int i = 0; i < whole; i += width, next += n * width)                              \
                if (width == TILE_ROWS)                                                            \
                    NAME##_row(from + i * row, row, TILE_ROWS, table, next);                       \
                else if (row == 1)                                                                 \
                    NAME##_row(from + i, 1, TILE_COLUMNS, table, next);                            \
                else                                                                               \
                    NAME##_row(from + i * row, row, TILE_COLUMNS, table, next);                    \
            if (whole == count)                                                                    \
                continue;                                                                          \
            NAME##_row(from + whole * row, row, count - whole, table, next);                       \
            for (int i = count - whole; i < width; i++)                                            \
                next[i] = rest;                                                                    \
        }                                                                                          \
    }

LOOK_UP(look_up_doubles, double)
LOOK_UP(look_up_floats, float)
LOOK_UP(look_up_shorts, int16_t)
LOOK_UP(look_up_ints, int32_t)
#undef LOOK_UP

/* The elements of tiles from their codes, and what they are marked with. */
static void pack_direct(const side *s, ptrdiff_t at, ptrdiff_t row, ptrdiff_t n, int count,
                        const tile *to, uint8_t *marks)
{
    const uint8_t *codes = (const uint8_t *)s->of->codes + at;
    const ptrdiff_t step = s->of->step;
    const int width = s->width;
    const float rest = to->wide ? 1 : 0;
    if (to->values)
        look_up_floats(codes, row, step, n, count, width, s->value_of, rest, to->values);
    for (int slice = 0; to->slices && slice < s->cut.count; slice++)
        look_up_doubles(codes, row, step, n, count, width, s->slices_of[slice], 0,
                        to->slices + slice * to->slice);
    if (to->exponents)
        look_up_shorts(codes, row, step, n, count, width, s->exponent_of, ZERO_EXPONENT,
                       to->exponents);
    if (to->wide)
        look_up_ints(codes, row, step, n, count, width, s->wide_of, ZERO_EXPONENT, to->wide);
    for (int i = 0; s->any_mark && step == 1 && i < count; i++)
        for (ptrdiff_t k = 0; k < n; k++)
            marks[i] |= s->mark_of[codes[k + i * row]];
    for (ptrdiff_t k = 0; s->any_mark && step != 1 && k < n; k++)
        for (int i = 0; i < count; i++)
            marks[i] |= s->mark_of[codes[k * step + i * row]];
}

/* Multiplies in the scales of elements that were looked up. */
static void scale_tile(const layout *l, const side *s, const line *lines, ptrdiff_t k0, ptrdiff_t n,
                       int count, const tile *to, uint8_t *met)
{
    const ptrdiff_t group = s->of->group;
    const int width = s->width;
    for (ptrdiff_t k = 0, end; k < n; k = end) {
        const int unit = s->of->low - s->cut.low;
        double factors[TILE_COLUMNS] = {0};
        int32_t shifts[TILE_COLUMNS] = {0};
        end = smaller(n, (k0 + k) / group * group + group - k0);
        for (int i = 0; i < count; i++) {
            const fmt_number *scale = scale_at(&lines[i], k0 + k);
            const int fits = scale->magnitude && (l->kind == EXACT || scale->magnitude == 1);
            shifts[i] = fits ? scale->exponent : 0;
            factors[i] = scaled((double)scale->magnitude, scale->exponent + unit);
            met[i] |= scale->kind == NUMBER_NAN ? HAS_NAN : fits && !scale->negative ? 0 : REDO;
        }
        for (ptrdiff_t at = k * width; at < end * width; at += width)
            for (int i = 0; i < width; i++)
                if (l->kind == EXACT) {
                    to->slices[at + i] *= factors[i];
                } else {
                    to->exponents[at + i] = (int16_t)(to->exponents[at + i] + shifts[i]);
                    to->wide[at + i] += shifts[i];
                }
    }
}

/* The elements of a tile, taken apart one by one. */
static ALWAYS_INLINE void pack_numbers(const layout *l, const side *s, const line *lines,
                                       ptrdiff_t k0, ptrdiff_t n, int count, const tile *to,
                                       uint8_t *met, const enum tile_kind kind)
{
    const int width = s->width, wide = to->wide != NULL;
    for (ptrdiff_t k = 0; k < n; k++)
        for (int i = 0; i < width; i++) {
            const ptrdiff_t at = k * width + i;
            const fmt_number x
                = i < count ? element(&lines[i], k0 + k, l->scaled) : (fmt_number){0};
            if (kind == IEEE) {
                to->values[at] = to_value(&x, &met[i]);
            } else if (kind == ALIGNED) {
                to->values[at] = to_aligned(&x, wide, s->of->fraction_bits, &to->exponents[at],
                                            &met[i]);
                if (wide)
                    to->wide[at] = to->exponents[at];
            } else {
                double slices[MOST_SLICES] = {0};
                to_slices(&s->cut, &x, s->special_in_value, slices, &met[i]);
                if (to->values)
                    to->values[at] = (float)slices[0];
                for (int slice = 0; to->slices && slice < s->cut.count; slice++)
                    to->slices[slice * to->slice + at] = slices[slice];
            }
        }
}

/* What the tile of `count` rows or columns from `first` on needs besides looking up. */
static void pack_tile(const layout *l, const side *s, ptrdiff_t batch, ptrdiff_t first, int count,
                 ptrdiff_t k0, ptrdiff_t n, const tile *to, uint8_t *marks)
{
    const fmt_operand *x = s->of;
    const int width = s->width;
    line lines[TILE_COLUMNS];
    uint8_t met[TILE_COLUMNS] = {0};
    for (int i = 0; i < count; i++)
        lines[i] = line_of(x, l->paired ? first + i : batch, l->paired ? 0 : first + i);
    if (s->direct)
        ; /* done for all tiles */
    else if (l->kind == IEEE)
        pack_numbers(l, s, lines, k0, n, count, to, met, IEEE);
    else if (l->kind == ALIGNED)
        pack_numbers(l, s, lines, k0, n, count, to, met, ALIGNED);
    else
        pack_numbers(l, s, lines, k0, n, count, to, met, l->kind);
    if (s->direct && s->scaled)
        scale_tile(l, s, lines, k0, n, count, to, met);
    for (ptrdiff_t k = 0; to->scales && k < n; k += l->run)
        for (int i = 0; i < width; i++) {
            double *scale_to = &to->scales[k / l->run * width + i];
            *scale_to = power(s->cut.low);
            if (!x->group || i >= count)
                continue;
            const fmt_number *scale = scale_at(&lines[i], k0 + k);
            const double magnitude = scaled((double)scale->magnitude, scale->exponent) / x->tensor;
            *scale_to *= scale->kind != NUMBER_FINITE ? (double)NAN
                         : scale->negative            ? -magnitude
                                                      : magnitude;
            met[i] |= scale->kind == NUMBER_NAN ? HAS_NAN : scale->kind == NUMBER_FINITE ? 0 : REDO;
        }
    for (int i = 0; i < count; i++)
        marks[i] |= met[i];
}

/* n elements of `count` rows or columns from `first` on, in tiles; what is missing is zeros. */
static void pack(const layout *l, side *s, ptrdiff_t batch, ptrdiff_t first, ptrdiff_t count,
                 ptrdiff_t k0, ptrdiff_t n, uint8_t *marks)
{
    const fmt_operand *x = s->of;
    s->data.slice = n * round_up(count, s->width);
    if (s->direct) {
        const line x0 = l->paired ? line_of(x, first, 0) : line_of(x, batch, first);
        pack_direct(s, x0.first + k0 * x->step, l->paired ? x->batch_stride : x->row_stride, n,
                    (int)count, &s->data, marks);
    }
    const int more = !s->direct || s->scaled || s->data.scales;
    for (ptrdiff_t i = 0; more && i < count; i += s->width) {
        const tile to = tile_at(l, s, i, n);
        pack_tile(l, s, batch, first + i, (int)smaller(s->width, count - i), k0, n, &to, marks + i);
    }
}

/* --- totals of a tile --------------------------------------------------------------------------- */

enum { TILE = TILE_ROWS * TILE_COLUMNS };

/* A block of results, and what it takes. */
typedef struct {
    const fmt_product *plan;
    layout l;
    side a, b;
    void *totals;       /* [tile][array][TILE] */
    uint8_t *tile_redo; /* of each tile */
    state steps;
} block;

/* Steps of n elements from element k of the tiles on.  Returns whether they must be done again. */
static int add_steps(const block *w, const tile *a, const tile *b, ptrdiff_t k, ptrdiff_t n,
                     float *totals)
{
    const fmt_product *p = w->plan;
    const layout *l = &w->l;
    const slicing *a_cut = &w->a.cut, *b_cut = &w->b.cut;
    const ptrdiff_t width = l->a_width;
    if (l->kind == IEEE) {
        fmt_active->dot_floats(a->values + k * width, b->values + k * TILE_COLUMNS, n, totals,
                               l->paired);
        return 0;
    }
    if (l->kind == ALIGNED) {
        const fmt_aligned steps = {
            .a = a->values + k * width, .b = b->values + k * TILE_COLUMNS,
            .a_exponents = a->exponents + k * width, .b_exponents = b->exponents + k * TILE_COLUMNS,
            .a_wide = l->wide ? a->wide + k * width : NULL,
            .b_wide = l->wide ? b->wide + k * TILE_COLUMNS : NULL,
            .terms = smaller(p->terms, n), .bits = p->alignment_bits,
            .mantissa_bits = p->total.mantissa_bits, .late = p->late, .paired = l->paired,
            .small = l->small,
        };
        return fmt_active->dot_aligned(&steps, n, totals);
    }
    const double tensor = p->a.tensor * p->b.tensor;
    uint64_t bits;
    memcpy(&bits, &tensor, sizeof bits);
    bits &= ~(uint64_t)0x1fffffff;
    fmt_groups groups = {
        .count = a_cut->count * b_cut->count,
        .step = power(a_cut->count > 1 ? a_cut->bits : b_cut->bits),
        .paired = l->paired,
    };
    memcpy(&groups.tensor[0], &bits, sizeof bits);
    groups.tensor[1] = tensor - groups.tensor[0];
    for (ptrdiff_t end = k + n; k < end; k += l->run) {
        const ptrdiff_t run = smaller(l->run, end - k);
        double sums[MOST_SLICES][TILE];
        float few[TILE];
        if (l->in_floats) {
            memset(few, 0, sizeof few);
            fmt_active->dot_floats(a->values + k * width, b->values + k * TILE_COLUMNS, run, few,
                                   l->paired);
        }
        for (int s = 0; s < groups.count && !l->in_floats; s++) {
            memset(sums[s], 0, sizeof sums[s]);
            const double *a_slice = a->slices + (a_cut->count > 1 ? s * a->slice : 0);
            const double *b_slice = b->slices + (b_cut->count > 1 ? s * b->slice : 0);
            fmt_active->dot_doubles(a_slice + k * width, b_slice + k * TILE_COLUMNS, run, sums[s],
                                    l->paired);
        }
        groups.sums = sums[0];
        groups.few = l->in_floats ? few : NULL;
        groups.a_scales = a->scales + k / l->run * width;
        groups.b_scales = b->scales + k / l->run * TILE_COLUMNS;
        fmt_active->add_groups(&groups, totals);
    }
    return 0;
}

/* Adds the sums of a slab's steps two by two (see pairwise); `sums` has one more level than there
 * can be, for slabs.  Slab number `slab` is merged with those before it. */
static int add_pairs(const block *w, const tile *a, const tile *b, ptrdiff_t n, ptrdiff_t slab,
                     int is_last, float *sums)
{
    const ptrdiff_t run = w->l.run;
    float stack[16][TILE]; /* of the slab, which has at most MOST_SLAB steps */
    int redo = 0, height = 0;
    ptrdiff_t done = 0;
    for (ptrdiff_t k = 0; k < n; k += run, done++) {
        memset(stack[height], 0, sizeof stack[height]);
        redo |= add_steps(w, a, b, k, smaller(run, n - k), stack[height]);
        for (ptrdiff_t odd = done; odd & 1; odd >>= 1, height--)
            for (int i = 0; i < TILE; i++)
                stack[height - 1][i] = stack[height - 1][i] + stack[height][i];
        height++;
    }
    for (; height > 1; height--)
        for (int i = 0; i < TILE; i++)
            stack[height - 2][i] = stack[height - 2][i] + stack[height - 1][i];
    int level = 0; /* of the slabs' stack: as many as `slab` has bits set */
    for (ptrdiff_t rest = slab; rest; rest &= rest - 1)
        level++;
    memcpy(sums + level * TILE, stack[0], sizeof stack[0]);
    for (ptrdiff_t odd = slab; level > 0 && (odd & 1 || is_last); odd >>= 1, level--)
        for (int i = 0; i < TILE; i++)
            sums[(level - 1) * TILE + i] = sums[(level - 1) * TILE + i] + sums[level * TILE + i];
    return redo;
}

/* Exact sums of a slab, pair of slices by pair of slices. */
static void add_exactly(const layout *l, const tile *a, const tile *b, const slicing *a_cut,
                        const slicing *b_cut, ptrdiff_t n, int64_t *totals)
{
    for (int sa = 0; sa < a_cut->count; sa++)
        for (int sb = 0; sb < b_cut->count; sb++, totals += TILE) {
            double sums[TILE] = {0};
            fmt_active->dot_doubles(a->slices + sa * a->slice,
                                    b->slices + sb * b->slice, n, sums, l->paired);
            for (int i = 0; i < TILE; i++) {
                /* integers below 2**52 show in the last bits of 1.5 * 2**52 plus them */
                const double shifted = sums[i] + 0x1.8p52;
                int64_t bits;
                memcpy(&bits, &shifted, sizeof bits);
                totals[i] += bits - 0x4338000000000000;
            }
        }
}

/* --- results ------------------------------------------------------------------------------------ */

static inline double start_at(const fmt_product *p, ptrdiff_t at)
{
    return p->c_type == TYPE_F32 ? (double)((const float *)p->c)[at] : ((const double *)p->c)[at];
}

static inline void put(const fmt_product *p, ptrdiff_t at, double x)
{
    if (p->c_type == TYPE_F32)
        ((float *)p->c)[at] = (float)x;
    else
        ((double *)p->c)[at] = x;
}

/* The magnitudes from which tiles can start, besides zero. */
static void limit_starts(const fmt_product *p, layout *l)
{
    const int aligned = l->kind == ALIGNED && !p->late && !p->promotion_terms && !p->pairwise;
    l->least_start = !aligned ? 0 : l->wide ? 0x1p-126 : 0x1p-88;
    l->most_start = l->kind == EXACT || p->late ? 0x1.fffffffffffffp1023 : (double)INFINITY;
    if (aligned)
        l->most_start = l->wide ? 0x1.fffffep127 : 0x1p88;
}

static inline int start_fails(const layout *l, double c)
{
    const double magnitude = fabs(c);
    if (c == 0)
        return 0;
    return !(magnitude >= l->least_start && magnitude <= l->most_start)
           || (l->kind != EXACT && (double)(float)c != c);
}

/* magnitude * 2**exponent in float64, rounded to odd or to nearest, ties to even; its exponent is
 * that of a normal number. */
static double to_float64(u128 magnitude, int negative, int exponent, int odd)
{
    const int excess = bit_length(magnitude) - 53;
    if (excess > 0) {
        const u128 rest = magnitude & (((u128)1 << excess) - 1), half = (u128)1 << (excess - 1);
        magnitude >>= excess;
        exponent += excess;
        if (odd)
            magnitude |= rest != 0;
        else
            magnitude += rest > half || (rest == half && (magnitude & 1));
    }
    const double x = (double)(uint64_t)magnitude * power(exponent);
    return negative ? -x : x;
}

/* A total that is exact, or rounded to odd, as the result takes it. */
static inline double rounded(double x, const fmt_register *r)
{
    if (is_float32(r))
        return (double)(float)x;
    if (r->mantissa_bits == 52)
        return x;
    const number total = from_double(x);
    const number to = round_number(&total, r);
    return to_double(&to);
}

/* c plus the exact sums of the pairs of slices. */
static double exact_result(const fmt_product *p, const slicing *a, const slicing *b,
                           const int64_t *totals, double c)
{
    const int low = a->low + b->low, count = a->count * b->count;
    if (count == 1 && c == 0 && low > -900 && low < 900 && llabs(totals[0]) < (int64_t)1 << 53)
        return rounded((double)totals[0] * power(low), &p->result);
    const int odd = p->result.mantissa_bits != 52 || p->result.rounding == ROUND_TO_ODD;
    const number start = from_double(c);
    enum { GUARD = 32, MOST = 124 }; /* bits below the sum for c; bits in all */
    const int lead = start.magnitude ? start.exponent + bit_length(start.magnitude) : low;
    const int bits = a->count * a->bits + b->count * b->bits + bit_length((u128)p->depth) + 1;
    const int fits = bits + GUARD <= MOST && lead - low + GUARD <= MOST
                     && (!start.magnitude || start.exponent >= low - GUARD)
                     && low > -900 && low + bits < 900 && lead < 900;
    if (fits) {
        u128 sum = 0;
        for (int s = 0; s < count; s++)
            sum += (u128)(__int128)totals[s * TILE]
                   << (s / b->count * a->bits + s % b->count * b->bits + GUARD);
        if (start.magnitude) {
            const u128 x = start.magnitude << (start.exponent - low + GUARD);
            sum += start.negative ? 0 - x : x;
        }
        const int negative = (int)(sum >> 127);
        const double x = to_float64(negative ? 0 - sum : sum, negative, low - GUARD, odd);
        return rounded(x, &p->result);
    }
    number terms[MOST_PASSES + 1] = {start};
    for (int s = 0; s < count; s++) {
        const int64_t total = totals[s * TILE];
        terms[s + 1] = (number){
            .magnitude = total < 0 ? 0 - (uint64_t)total : (uint64_t)total,
            .exponent = low + s / b->count * a->bits + s % b->count * b->bits,
            .negative = total < 0,
        };
    }
    wide sum;
    sum_numbers(terms, count + 1, 0, ROUND_TOWARD_ZERO, &sum);
    const number to = round_wide(&sum, &p->result);
    return to_double(&to);
}

/* --- a block of results ------------------------------------------------------------------------- */

/* The range of the numbers of a side in a block, cut in slices; what has no finite range is left to
 * steps. */
static int range_of(const block *w, const side *s, ptrdiff_t batch, ptrdiff_t first,
                    ptrdiff_t count, int32_t *low)
{
    int32_t high = INT32_MIN;
    *low = INT32_MAX;
    for (ptrdiff_t i = 0; i < count; i++) {
        const int paired = w->l.paired;
        const line x = line_of(s->of, paired ? first + i : batch, paired ? 0 : first + i);
        const ptrdiff_t group = s->of->group;
        for (ptrdiff_t k = 0; k < w->plan->depth; k += group ? group : 1) {
            const fmt_number number = group ? *scale_at(&x, k) : element(&x, k, 0);
            if (!number.magnitude)
                continue;
            int32_t end = number.exponent + 64 - __builtin_clzll(number.magnitude);
            int32_t start = number.exponent + __builtin_ctzll(number.magnitude);
            if (group) {
                end += s->of->high;
                start += s->of->low;
            }
            *low = start < *low ? start : *low;
            high = end > high ? end : high;
        }
    }
    if (*low > high)
        *low = high = 0;
    return high - *low;
}

/* A slab of the depth: elements k0 ... k0 + n - 1 of a part of it. */
static void add_slab(block *w, ptrdiff_t batch, ptrdiff_t i0, ptrdiff_t rows, ptrdiff_t j0,
                     ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t n, int is_last)
{
    const fmt_product *p = w->plan;
    const layout *l = &w->l;
    uint8_t *redo = w->tile_redo;
    pack(l, &w->b, batch, j0, columns, k0, n, w->b.marks);
    char *totals = w->totals;
    for (ptrdiff_t i = 0; i < rows; i += TILE_ROWS) {
        if (!l->paired)
            pack(l, &w->a, batch, i0 + i, smaller(TILE_ROWS, rows - i), k0, n, w->a.marks + i);
        for (ptrdiff_t j = 0; j < columns; j += TILE_COLUMNS, totals += l->state * TILE, redo++) {
            const tile b = tile_at(l, &w->b, j, n);
            if (l->paired)
                pack(l, &w->a, 0, j0 + j, smaller(TILE_COLUMNS, columns - j), k0, n,
                     w->a.marks + j);
            const tile a = w->a.data;
            float *total = (float *)totals, *promoted = total + TILE;
            if (l->kind == EXACT)
                add_exactly(l, &a, &b, &w->a.cut, &w->b.cut, n, (int64_t *)totals);
            else if (p->pairwise)
                *redo |= add_pairs(w, &a, &b, n, k0 / l->slab, is_last, total) != 0;
            else if (!p->promotion_terms)
                *redo |= add_steps(w, &a, &b, 0, n, total) != 0;
            for (ptrdiff_t k = 0; p->promotion_terms && k < n; k += p->promotion_terms) {
                memset(total, 0, sizeof *total * TILE);
                *redo |= add_steps(w, &a, &b, k, smaller(p->promotion_terms, n - k), total) != 0;
                for (int at = 0; at < TILE; at++)
                    promoted[at] += total[at];
            }
        }
    }
}

/* Where in c the result of row i and column j of the block's product is. */
static inline ptrdiff_t place(const block *w, ptrdiff_t batch, ptrdiff_t i, ptrdiff_t j)
{
    const fmt_product *p = w->plan;
    return w->l.paired ? j * p->c_batch : batch * p->c_batch + i * p->c_row + j * p->c_column;
}

/* The totals of a block at the start of a part of the depth. */
static void start_block(block *w, ptrdiff_t batch, ptrdiff_t i0, ptrdiff_t rows, ptrdiff_t j0,
                        ptrdiff_t columns, int is_first)
{
    const fmt_product *p = w->plan;
    const layout *l = &w->l;
    const ptrdiff_t across = round_up(columns, TILE_COLUMNS) / TILE_COLUMNS;
    const size_t floats = l->state / sizeof(float) * TILE;
    const int from_c = l->kind != EXACT && !p->pairwise && is_first;
    for (ptrdiff_t i = 0; i < round_up(rows, TILE_ROWS); i += TILE_ROWS)
        for (ptrdiff_t j = 0; j < columns; j += TILE_COLUMNS) {
            const ptrdiff_t at = i / TILE_ROWS * across + j / TILE_COLUMNS;
            float *totals = (float *)w->totals + (size_t)at * floats;
            float *start = totals + (p->promotion_terms ? TILE : 0);
            if (is_first)
                memset(totals, 0, sizeof *totals * floats);
            else
                memset(start, 0, sizeof *start * TILE);
            for (int y = 0; from_c && y < smaller(TILE_ROWS, rows - i); y++)
                for (int x = 0; x < smaller(TILE_COLUMNS, columns - j); x++) {
                    const double c = start_at(p, place(w, batch, i0 + i + y, j0 + j + x));
                    if (!start_fails(l, c))
                        start[y * TILE_COLUMNS + x] = (float)c;
                }
        }
}

/* Adds the totals of a part of the depth to those of the parts before. */
static void join_part(const block *w, ptrdiff_t tiles, int is_first)
{
    const fmt_product *p = w->plan;
    const fmt_register *last = p->promotion_terms ? &p->promotion : &p->total;
    const ptrdiff_t arrays = (ptrdiff_t)(w->l.state / sizeof(float));
    for (ptrdiff_t at = 0; at < tiles; at++) {
        float *joined = (float *)w->totals + ((at + 1) * arrays - 1) * TILE, *part = joined - TILE;
        for (int i = 0; i < TILE; i++) {
            if (is_first) {
                joined[i] = part[i];
            } else if (is_float32(last)) {
                joined[i] += part[i];
            } else {
                const number x = from_double((double)joined[i]), y = from_double((double)part[i]);
                const number sum = add(&x, &y, last);
                joined[i] = (float)to_double(&sum);
            }
        }
    }
}

/* The results of a row of a tile. */
static void finish_row(block *w, ptrdiff_t batch, ptrdiff_t i, ptrdiff_t j, int columns,
                       const void *totals, int row, const uint8_t *a_marks, const uint8_t *b_marks,
                       int redo)
{
    const fmt_product *p = w->plan;
    const layout *l = &w->l;
    const int arrays = (int)(l->state / sizeof(float));
    const int array = p->pairwise ? 0 : p->parts ? arrays - 1 : p->promotion_terms != 0;
    const float *floats = (const float *)totals + array * TILE + row * TILE_COLUMNS;
    const int64_t *sums = (const int64_t *)totals + row * TILE_COLUMNS;
    for (int x = 0; x < columns; x++) {
        const ptrdiff_t to = place(w, batch, i, j + x);
        const double c = start_at(p, to);
        const int mark = a_marks[l->paired ? x : 0] | b_marks[x];
        if (mark & HAS_NAN) {
            put(p, to, (double)NAN);
        } else if (redo || mark || start_fails(l, c)) {
            const ptrdiff_t pair = l->paired ? j + x : batch;
            w->steps.a = line_of(&p->a, pair, i);
            w->steps.b = line_of(&p->b, pair, l->paired ? 0 : j + x);
            put(p, to, dot_product(&w->steps, c));
        } else if (l->kind == EXACT) {
            put(p, to, exact_result(p, &w->a.cut, &w->b.cut, sums + x, c));
        } else {
            const float total = p->pairwise ? (float)c + floats[x] : floats[x];
            put(p, to, isnan(total) ? (double)NAN : rounded((double)total, &p->result));
        }
    }
}

static void run_block(block *w, ptrdiff_t batch, ptrdiff_t i0, ptrdiff_t rows, ptrdiff_t j0,
                      ptrdiff_t columns)
{
    const fmt_product *p = w->plan;
    const layout *l = &w->l;
    const ptrdiff_t across = round_up(columns, TILE_COLUMNS) / TILE_COLUMNS;
    const ptrdiff_t tiles = round_up(rows, TILE_ROWS) / TILE_ROWS * across;
    memset(w->a.marks, 0, (size_t)(l->paired ? columns : rows));
    memset(w->b.marks, 0, (size_t)columns);
    memset(w->tile_redo, 0, (size_t)tiles);
    int all = 0;
    if (l->of_data) {
        int32_t a_low, b_low;
        const int a_span = l->paired ? range_of(w, &w->a, batch, j0, columns, &a_low)
                                     : range_of(w, &w->a, batch, i0, rows, &a_low);
        const int b_span = range_of(w, &w->b, batch, j0, columns, &b_low);
        all = !cut_slices(a_span, b_span, exact_bits(p), MOST_PASSES, &w->a.cut, &w->b.cut);
        w->a.cut.low = a_low;
        w->b.cut.low = b_low;
        fill_tables(l, &w->a);
        fill_tables(l, &w->b);
    }
    const ptrdiff_t parts = p->parts ? p->part_count : 1;
    ptrdiff_t begin = 0;
    for (ptrdiff_t i = 0; i < parts && !all; i++) {
        const ptrdiff_t end = p->parts ? begin + p->parts[i] : p->depth;
        start_block(w, batch, i0, rows, j0, columns, i == 0);
        for (ptrdiff_t k = begin; k < end; k += l->slab) {
            const ptrdiff_t n = smaller(l->slab, end - k);
            add_slab(w, batch, i0, rows, j0, columns, k, n, k + n == end);
        }
        if (p->parts)
            join_part(w, tiles, i == 0);
        begin = end;
    }
    for (ptrdiff_t i = 0; i < rows; i += TILE_ROWS)
        for (ptrdiff_t j = 0; j < columns; j += TILE_COLUMNS) {
            const ptrdiff_t at = i / TILE_ROWS * across + j / TILE_COLUMNS;
            const void *totals = (const char *)w->totals + l->state * TILE * (size_t)at;
            const int redo = all || w->tile_redo[at];
            const int across_tile = (int)smaller(TILE_COLUMNS, columns - j);
            for (int y = 0; y < smaller(TILE_ROWS, rows - i); y++)
                finish_row(w, batch, i0 + i + y, j0 + j, across_tile, totals, y,
                           w->a.marks + (l->paired ? j : i + y), w->b.marks + j, redo);
        }
}

/* --- all of them -------------------------------------------------------------------------------- */

/* Columns fill the tiles, so that they had better be many: a and b are exchanged if it helps. */
static fmt_product oriented(const fmt_product *p)
{
    fmt_product to = *p;
    if (p->columns < TILE_COLUMNS && p->rows > p->columns) {
        to.rows = p->columns, to.columns = p->rows;
        to.a = p->b, to.b = p->a;
        to.c_row = p->c_column, to.c_column = p->c_row;
    }
    return to;
}

size_t fmt_accumulate_scratch(const fmt_product *given)
{
    const fmt_product p = oriented(given);
    const layout l = lay_out(&p);
    return l.kind == STEPS ? 1 : block_bytes(&l);
}

/* Takes the memory of a side from *at on. */
static void lay_side(const block *w, side *s, const fmt_operand *of, const slicing *cut, int width,
                     ptrdiff_t across, char **at)
{
    const layout *l = &w->l;
    const size_t elements = (size_t)(across * l->slab);
    const int in_floats = l->kind == IEEE || l->kind == ALIGNED || l->in_floats;
    *s = (side){.of = of, .cut = *cut, .width = width};
    if (l->kind == GROUPS) {
        s->data.scales = (double *)*at;
        *at += sizeof(double) * (size_t)(across * (l->slab / l->run + 1));
    }
    if (in_floats) {
        s->data.values = (float *)*at;
        *at += sizeof(float) * elements;
    } else {
        s->data.slices = (double *)*at;
        *at += sizeof(double) * elements * (size_t)(l->of_data ? MOST_SLICES : cut->count);
    }
    if (l->wide) {
        s->data.wide = (int32_t *)*at;
        *at += sizeof(int32_t) * elements;
    }
    if (l->kind == ALIGNED) {
        s->data.exponents = (int16_t *)*at;
        *at += sizeof(int16_t) * elements;
    }
}

void fmt_accumulate(const fmt_product *given, void *scratch)
{
    const fmt_environment callers = fmt_enter();
    const fmt_product p = oriented(given);
    block w = {.plan = &p, .l = lay_out(&p), .steps = {.plan = &p}};
    const layout *l = &w.l;
    limit_starts(&p, &w.l);
    if (l->kind == STEPS) {
        for (ptrdiff_t batch = 0; batch < p.batch; batch++)
            for (ptrdiff_t i = 0; i < p.rows; i++)
                for (ptrdiff_t j = 0; j < p.columns; j++) {
                    w.steps.a = line_of(&p.a, batch, i);
                    w.steps.b = line_of(&p.b, batch, j);
                    const ptrdiff_t to = place(&w, batch, i, j);
                    put(&p, to, dot_product(&w.steps, start_at(&p, to)));
                }
    } else {
        char *at = scratch;
        w.totals = at;
        at += l->state * (size_t)(round_up(l->rows, TILE_ROWS) * l->columns);
        lay_side(&w, &w.a, &p.a, &l->a_cut, l->a_width, l->a_width, &at);
        lay_side(&w, &w.b, &p.b, &l->b_cut, TILE_COLUMNS, l->columns, &at);
        w.a.marks = (uint8_t *)at;
        w.b.marks = w.a.marks + l->rows + l->columns;
        w.tile_redo = w.b.marks + l->columns;
        if (!l->of_data) {
            fill_tables(l, &w.a);
            fill_tables(l, &w.b);
        }
        const ptrdiff_t columns = l->paired ? p.batch : p.columns;
        const ptrdiff_t batches = l->paired ? 1 : p.batch;
        for (ptrdiff_t batch = 0; batch < batches; batch++)
            for (ptrdiff_t j = 0; j < columns; j += l->columns)
                for (ptrdiff_t i = 0; i < p.rows; i += l->rows)
                    run_block(&w, batch, i, smaller(l->rows, p.rows - i), j,
                              smaller(l->columns, columns - j));
    }
    fmt_leave(callers);
}
