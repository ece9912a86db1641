/* Dot products with any accumulator, in exact integer arithmetic.
 *
 * 1. A row of a and the columns of a panel of b are taken apart into numbers: magnitude, exponent,
 *    sign, kind; once per panel.
 * 2. A dot product goes step by step (see Accumulator in accumulators.py): the products of a step are
 *    formed exactly, scaled, aligned; their exact sum in two's complement limbs is rounded once to
 *    the total.  The limbs span just the bits that the step's terms have.
 * 3. Without a total (Kulisch) the products go straight to limbs that span everything.
 *
 * The common cases have vector loops of their own that give the same bits.
 */
#include <math.h>
#include <string.h>

#include "environment.h"
#include "kernels.h"

__extension__ typedef unsigned __int128 u128;

/* Bits of the widest sum: products of the formats' extremes (2**-1022 to 2**1024) with the scales of
 * both blocks and both tensors, and 62 bits of carries. */
enum { LIMBS = 160, LEAST_EXPONENT = -32 * LIMBS };
enum { MOST_PANEL = 256, PANEL_ELEMENTS = 1 << 17, PAIR_LEVELS = 64, NO_LEAST = -(1 << 28) };

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

/* --- one dot product ---------------------------------------------------------------------------- */

typedef struct {
    const fmt_product *plan;
    const fmt_number *a, *b;              /* the row and the column, taken apart */
    const fmt_number *a_scale, *b_scale;  /* their scales; NULL if there are none or they are in */
    ptrdiff_t a_step, b_step;             /* between scales */
    number *terms;
    wide *exact; /* the total, if nothing rounds it */
    tally *met;
} state;

static const fmt_number *scale_of(const fmt_number *scales, ptrdiff_t step, ptrdiff_t group,
                                  ptrdiff_t k)
{
    return scales ? &scales[k / group * step] : NULL;
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
    const fmt_number *a = scale_of(s->a_scale, s->a_step, s->plan->a.group, k);
    const fmt_number *b = scale_of(s->b_scale, s->b_step, s->plan->b.group, k);
    if (a)
        multiply_wide(w, a);
    if (b)
        multiply_wide(w, b);
}

static void add_to_exact(state *s, const wide *w)
{
    count_kind(s->met, w->kind, w->negative, w->kind == NUMBER_FINITE && is_zero(w));
    if (w->kind == NUMBER_FINITE)
        for (int i = 0; i < w->count; i++)
            if (w->limbs[i])
                add_magnitude(s->exact, w->limbs[i], w->base + 64 * i, w->negative);
}

static void add_number_to_exact(state *s, const number *x)
{
    count_kind(s->met, x->kind, x->negative, x->kind == NUMBER_FINITE && !x->magnitude);
    if (x->magnitude)
        add_magnitude(s->exact, x->magnitude, x->exponent, x->negative);
}

/* The products of a step, rounded to the product's register if there is one. */
static void multiply(state *s, ptrdiff_t k0, ptrdiff_t n)
{
    const fmt_product *p = s->plan;
    for (ptrdiff_t i = 0; i < n; i++) {
        const fmt_number *a = &s->a[k0 + i], *b = &s->b[k0 + i];
        number *to = &s->terms[i];
        to->magnitude = (u128)a->magnitude * b->magnitude;
        to->exponent = a->exponent + b->exponent;
        to->top = to->exponent + p->a.fraction_bits + p->b.fraction_bits;
        to->negative = a->negative ^ b->negative;
        to->kind = NUMBER_FINITE;
        if (a->kind | b->kind) {
            const int nan = a->kind == NUMBER_NAN || b->kind == NUMBER_NAN
                            || (a->kind == NUMBER_FINITE && a->magnitude == 0)
                            || (b->kind == NUMBER_FINITE && b->magnitude == 0);
            to->kind = nan ? NUMBER_NAN : NUMBER_INFINITE;
            to->magnitude = 0;
        }
        if (p->product.kind != REGISTER_NONE) {
            *to = round_number(to, &p->product);
            set_top(to, least_top(&p->product));
        }
    }
}

/* One step: terms k0 ... k0 + n - 1 and the total so far; the new total. */
static number step(state *s, ptrdiff_t k0, ptrdiff_t n, number start)
{
    const fmt_product *p = s->plan;
    const int early = !p->late;
    multiply(s, k0, n);
    if (early && !s->exact) {
        s->terms[n] = start;
        if (start.magnitude)
            set_top(&s->terms[n], least_top(&p->total));
    }
    const ptrdiff_t count = n + (early && !s->exact);
    if (p->aligned) {
        int32_t top = p->least_alignment;
        for (ptrdiff_t i = 0; i < count; i++)
            if (s->terms[i].magnitude && s->terms[i].top > top)
                top = s->terms[i].top;
        for (ptrdiff_t i = 0; i < count; i++)
            align(&s->terms[i], top - p->alignment_bits, p->alignment_rounding);
    }
    wide w;
    if (s->exact && p->partial.kind == REGISTER_NONE && !(p->late && p->scales_groups)) {
        for (ptrdiff_t i = 0; i < n; i++)
            add_number_to_exact(s, &s->terms[i]);
        s->met->plus_zero |= p->late && !p->signed_zero; /* each sum of a step that is zero is +0 */
        return start;
    }
    sum_numbers(s->terms, count, p->signed_zero, p->total.rounding, &w);
    if (early)
        return round_wide(&w, &p->total);
    if (p->scales_groups)
        scale_wide(s, &w, k0);
    if (s->exact) {
        if (p->partial.kind == REGISTER_NONE) {
            add_to_exact(s, &w);
        } else {
            const number partial = round_wide(&w, &p->partial);
            add_number_to_exact(s, &partial);
        }
        return start;
    }
    if (p->partial.kind == REGISTER_NONE) {
        /* the sum and the start, still exact, in one rounding */
        wide both;
        tally t = {0};
        state sum = {.plan = p, .exact = &both, .met = &t};
        clear(&both, LEAST_EXPONENT, LIMBS);
        add_to_exact(&sum, &w);
        add_number_to_exact(&sum, &start);
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
        const number both[2] = {start, total};
        if (p->scales_promotion) {
            wide w, sum;
            tally t = {0};
            state adding = {.plan = p, .exact = &sum, .met = &t};
            sum_numbers(&total, 1, 1, ROUND_TOWARD_ZERO, &w);
            scale_wide(s, &w, k);
            clear(&sum, LEAST_EXPONENT, LIMBS);
            add_to_exact(&adding, &w);
            add_number_to_exact(&adding, &start);
            finish(&sum, &t, 1, p->promotion.rounding);
            start = round_wide(&sum, &p->promotion);
        } else {
            start = add(&both[0], &both[1], &p->promotion);
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
            add_number_to_exact(s, &start);
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
        state adding = {.plan = p, .exact = &w, .met = &t};
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
        add_to_exact(&adding, &exact);
        add_number_to_exact(&adding, &start);
        finish(&w, &t, p->signed_zero, ROUND_TOWARD_ZERO);
        result = &w;
    }
    const number rounded = round_wide(result, &p->result);
    return to_double(&rounded);
}

/* --- operands ----------------------------------------------------------------------------------- */

static uint32_t code_at(const fmt_operand *x, ptrdiff_t index)
{
    return x->type == TYPE_INT1   ? ((const uint8_t *)x->codes)[index]
           : x->type == TYPE_INT2 ? ((const uint16_t *)x->codes)[index]
                                  : ((const uint32_t *)x->codes)[index];
}

static fmt_number take_apart(const fmt_operand *x, uint32_t code)
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

/* The numbers of one row (of a) or column (of b), their scales multiplied in if they are wanted. */
static void load(const fmt_operand *x, ptrdiff_t batch, ptrdiff_t row, ptrdiff_t depth, int scaled,
                 fmt_number *to)
{
    const ptrdiff_t first = batch * x->batch_stride + row * x->row_stride;
    for (ptrdiff_t k = 0; k < depth; k++)
        to[k] = take_apart(x, code_at(x, first + k * x->step));
    if (!scaled || !x->group)
        return;
    const fmt_number *scales = x->scales + batch * x->scale_batch + row * x->scale_row;
    for (ptrdiff_t k = 0; k < depth; k++) {
        const fmt_number *scale = &scales[k / x->group * x->scale_step];
        const int zero = (to[k].kind == NUMBER_FINITE && !to[k].magnitude)
                         || (scale->kind == NUMBER_FINITE && !scale->magnitude);
        if (to[k].kind | scale->kind) {
            const int nan = to[k].kind == NUMBER_NAN || scale->kind == NUMBER_NAN || zero;
            to[k].kind = nan ? NUMBER_NAN : NUMBER_INFINITE;
        }
        to[k].magnitude *= scale->magnitude;
        to[k].exponent += scale->exponent;
        to[k].negative ^= scale->negative;
    }
}

/* --- tiles ---------------------------------------------------------------------------------------
 *
 * The common accumulators run in vector loops (kernels.inc.h), TILE_ROWS rows against TILE_COLUMNS
 * columns.  Where the loops' assumptions fail for a row, a column or a result, the dot product is
 * done again, step by step; so the bits are the same. */

enum tile_kind {
    STEPS,        /* no tiles */
    FLOATS,       /* sequential float32 */
    DOUBLES,      /* exact sums: integers in slices of few enough bits */
    ALIGNED,      /* a tensor core's truncated steps */
    ALIGNED_LATE, /* aligned steps, added to float32 */
};

enum { MOST_SLICES = 3, SLICE_BITS = 24, PRODUCT_BITS = 46, ZERO_EXPONENT = -(1 << 20) };

static int is_float32(const fmt_register *r)
{
    return r->kind == REGISTER_FLOAT && r->mantissa_bits == 23 && r->least == -126
           && r->greatest == 127 && r->rounding == ROUND_NEAREST_EVEN
           && r->overflow != OVERFLOW_SATURATE && !r->flush;
}

static enum tile_kind tile_kind(const fmt_product *p)
{
    const fmt_register *total = &p->total;
    if (p->pairwise || p->parts || p->scales_groups || p->scales_promotion || p->scales_end
        || p->partial.kind != REGISTER_NONE || p->depth == 0 || p->columns < 3)
        return STEPS;
    if (p->aligned) {
        /* a step's halves stay below 2**31 (floats' products are below 4, integers' may be 4, a
         * total counts as less than one more), and significands are exact in float32 */
        const int floats = p->a.family == OPERAND_TABLE && p->b.family == OPERAND_TABLE;
        const ptrdiff_t most = (ptrdiff_t)1 << (29 - smaller(p->alignment_bits, 29));
        const int fits = (p->terms + 1) / 2 + !(p->late && floats) <= most
                         && p->a.fraction_bits + p->b.fraction_bits <= 22;
        if (!fits || p->a.group || p->b.group || p->product.kind != REGISTER_NONE
            || p->alignment_rounding != ROUND_TOWARD_ZERO || p->least_alignment != NO_LEAST
            || p->signed_zero)
            return STEPS;
        if (p->late)
            return is_float32(total) && !p->promotion_terms ? ALIGNED_LATE : STEPS;
        return total->kind == REGISTER_FLOAT && total->rounding == ROUND_TOWARD_ZERO
                       && total->mantissa_bits <= 23 && total->least == -126
                   ? ALIGNED
                   : STEPS;
    }
    if (p->promotion_terms)
        return STEPS;
    if (total->kind == REGISTER_NONE)
        return p->product.kind == REGISTER_NONE && !p->signed_zero ? DOUBLES : STEPS;
    return p->terms == 1 && !p->late && p->signed_zero && is_float32(total)
                   && is_float32(&p->product)
               ? FLOATS
               : STEPS;
}

static float float_from_word(uint32_t word)
{
    float x;
    memcpy(&x, &word, sizeof x);
    return x;
}

/* For tiles: numbers [row][depth] become floats, doubles or significands and exponents
 * [depth][width].  Rows that are missing are zeros.  What cannot be said so is marked in bad[]. */
static void pack_floats(const fmt_number *x, ptrdiff_t depth, int rows, int width, float *to,
                        uint8_t *bad)
{
    memset(to, 0, sizeof *to * (size_t)(depth * width));
    for (int i = 0; i < rows; i++) {
        bad[i] = 0;
        for (ptrdiff_t k = 0; k < depth; k++, x++) {
            const double magnitude = ldexp((double)x->magnitude, x->exponent);
            const float value = (float)magnitude;
            bad[i] |= x->kind != NUMBER_FINITE || (double)value != magnitude
                      || x->magnitude >> 53 != 0;
            to[k * width + i] = x->negative ? -value : value;
        }
    }
}

static void pack_significands(const fmt_number *x, ptrdiff_t depth, int rows, int width,
                              int fraction_bits, float *to, int32_t *exponents, uint8_t *bad)
{
    const float unit = float_from_word((uint32_t)(127 - fraction_bits) << 23);
    for (ptrdiff_t k = 0; k < depth * width; k++) {
        to[k] = 0;
        exponents[k] = ZERO_EXPONENT;
    }
    for (int i = 0; i < rows; i++) {
        bad[i] = 0;
        for (ptrdiff_t k = 0; k < depth; k++, x++) {
            if (x->magnitude) {
                const float value = (float)x->magnitude * unit;
                to[k * width + i] = x->negative ? -value : value;
                exponents[k * width + i] = x->exponent + fraction_bits;
            }
            bad[i] |= x->kind != NUMBER_FINITE;
        }
    }
}

/* Integers in units of 2**low, cut into `count` slices of `bits` bits. */
typedef struct {
    int32_t low;
    int count, bits;
} slicing;

/* The slices that hold all bits of n numbers; count is 0 if there would be too many. */
static slicing find_slices(const fmt_number *x, ptrdiff_t n, int most_bits)
{
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (ptrdiff_t i = 0; i < n; i++)
        if (x[i].magnitude) {
            const int32_t first = x[i].exponent + __builtin_ctzll(x[i].magnitude);
            const int32_t end = x[i].exponent + 64 - __builtin_clzll(x[i].magnitude);
            low = first < low ? first : low;
            high = end > high ? end : high;
        }
    if (low > high)
        return (slicing){0, 1, 1};
    const int span = high - low, count = (span + most_bits - 1) / most_bits;
    return count > MOST_SLICES ? (slicing){0, 0, 0}
                               : (slicing){low, count, (span + count - 1) / count};
}

static void pack_slices(const fmt_number *x, ptrdiff_t depth, int rows, int width,
                        const slicing *cut, double *to, uint8_t *bad)
{
    if (cut->count == 0) { /* all of it is done step by step */
        memset(bad, 0, (size_t)rows);
        return;
    }
    const ptrdiff_t slice = depth * width;
    const u128 mask = ((u128)1 << cut->bits) - 1;
    memset(to, 0, sizeof *to * (size_t)(slice * cut->count));
    for (int i = 0; i < rows; i++) {
        bad[i] = 0;
        for (ptrdiff_t k = 0; k < depth; k++, x++) {
            bad[i] |= x->kind != NUMBER_FINITE;
            if (!x->magnitude)
                continue;
            const int shift = x->exponent - cut->low; /* below 0 only zeros go */
            u128 value = shift < 0 ? (u128)(x->magnitude >> -shift) : (u128)x->magnitude << shift;
            for (int s = 0; s < cut->count; s++, value >>= cut->bits) {
                const double part = (double)(int64_t)(value & mask);
                to[s * slice + k * width + i] = x->negative ? -part : part;
            }
        }
    }
}

/* What a panel of columns and a block of rows hold for tiles. */
typedef struct {
    enum tile_kind kind;
    fmt_number *a_numbers, *b_numbers; /* [row][depth], [column][depth] */
    double *a_doubles, *b_doubles;     /* or floats, in the same place */
    int32_t *a_exponents, *b_exponents;
    slicing a_cut, b_cut;
    uint8_t a_bad[TILE_ROWS], b_bad[MOST_PANEL];
} tiles;

static ptrdiff_t to_tiles(ptrdiff_t columns)
{
    return (columns + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
}

static void pack_panel(tiles *t, const fmt_product *p, ptrdiff_t width)
{
    const ptrdiff_t depth = p->depth;
    if (t->kind == DOUBLES)
        t->b_cut = find_slices(t->b_numbers, width * depth, SLICE_BITS);
    for (ptrdiff_t j = 0; j < width; j += TILE_COLUMNS) {
        const int columns = (int)smaller(TILE_COLUMNS, width - j);
        const fmt_number *x = t->b_numbers + j * depth;
        float *floats = (float *)t->b_doubles + j * depth;
        if (t->kind == FLOATS)
            pack_floats(x, depth, columns, TILE_COLUMNS, floats, t->b_bad + j);
        else if (t->kind == DOUBLES)
            pack_slices(x, depth, columns, TILE_COLUMNS, &t->b_cut,
                        t->b_doubles + j * depth * t->b_cut.count, t->b_bad + j);
        else
            pack_significands(x, depth, columns, TILE_COLUMNS, p->b.fraction_bits, floats,
                              t->b_exponents + j * depth, t->b_bad + j);
    }
}

static void pack_rows(tiles *t, const fmt_product *p, int rows)
{
    const ptrdiff_t depth = p->depth;
    if (t->kind == FLOATS) {
        pack_floats(t->a_numbers, depth, rows, TILE_ROWS, (float *)t->a_doubles, t->a_bad);
    } else if (t->kind == DOUBLES) {
        const int depth_bits = bit_length((u128)depth);
        const int most = (int)smaller(PRODUCT_BITS, 61 - depth_bits) - t->b_cut.bits;
        t->a_cut = t->b_cut.count && most > 0
                       ? find_slices(t->a_numbers, rows * depth, most)
                       : (slicing){0, 0, 0};
        pack_slices(t->a_numbers, depth, rows, TILE_ROWS, &t->a_cut, t->a_doubles, t->a_bad);
    } else {
        for (int i = 0; i < rows; i++)
            pack_significands(t->a_numbers + i * depth, depth, 1, 1, p->a.fraction_bits,
                              (float *)t->a_doubles + i * depth, t->a_exponents + i * depth,
                              t->a_bad + i);
    }
}

static double finished(const number *total, const fmt_register *result)
{
    const number rounded = round_number(total, result);
    return to_double(&rounded);
}

/* The tile's results for one row go to c; those that need steps are marked in redo[]. */
static void finish_floats(const fmt_product *p, const float *totals, int columns, double *c,
                          uint8_t *redo)
{
    for (int j = 0; j < columns; j++) {
        const number total = from_double((double)totals[j]);
        if (!redo[j])
            c[j] = finished(&total, &p->result);
    }
}

static void tile_of_floats(const tiles *t, const fmt_product *p, ptrdiff_t j, int rows, int columns,
                           double *c, uint8_t redo[TILE_ROWS][TILE_COLUMNS])
{
    float totals[TILE_ROWS][TILE_COLUMNS] = {{0}};
    for (int i = 0; i < rows; i++)
        for (int n = 0; n < columns; n++) {
            totals[i][n] = (float)c[i * p->columns + n];
            redo[i][n] |= (double)totals[i][n] != c[i * p->columns + n];
        }
    fmt_active->dot_floats((const float *)t->a_doubles, (const float *)t->b_doubles + j * p->depth,
                           p->depth, totals[0]);
    for (int i = 0; i < rows; i++)
        finish_floats(p, totals[i], columns, c + i * p->columns, redo[i]);
}

static void tile_of_doubles(const tiles *t, const fmt_product *p, ptrdiff_t j, int rows,
                            int columns, double *c, uint8_t redo[TILE_ROWS][TILE_COLUMNS])
{
    const int na = t->a_cut.count, nb = t->b_cut.count, bits = t->a_cut.bits + t->b_cut.bits;
    if (na == 0 || nb == 0) {
        memset(redo, 1, TILE_ROWS * TILE_COLUMNS);
        return;
    }
    int64_t totals[MOST_SLICES * MOST_SLICES][TILE_ROWS][TILE_COLUMNS];
    memset(totals, 0, sizeof totals[0] * (size_t)(na * nb));
    const ptrdiff_t depth = p->depth, most = (ptrdiff_t)1 << (50 - bits);
    const double *b = t->b_doubles + j * depth * nb;
    for (int sa = 0; sa < na; sa++)
        for (int sb = 0; sb < nb; sb++)
            for (ptrdiff_t k = 0; k < depth; k += most)
                fmt_active->dot_doubles(t->a_doubles + (sa * depth + k) * TILE_ROWS,
                                        b + (sb * depth + k) * TILE_COLUMNS, smaller(most, depth - k),
                                        totals[sa * nb + sb][0]);
    for (int i = 0; i < rows; i++)
        for (int n = 0; n < columns; n++) {
            double *to = &c[i * p->columns + n];
            number terms[MOST_SLICES * MOST_SLICES + 1] = {from_double(*to)};
            if (redo[i][n])
                continue;
            for (int s = 0; s < na * nb; s++) {
                const int64_t total = totals[s][i][n];
                terms[s + 1] = (number){
                    .magnitude = total < 0 ? 0 - (uint64_t)total : (uint64_t)total,
                    .exponent = t->a_cut.low + s / nb * t->a_cut.bits + t->b_cut.low
                                + s % nb * t->b_cut.bits,
                    .negative = total < 0,
                };
            }
            wide sum;
            sum_numbers(terms, na * nb + 1, 0, ROUND_TOWARD_ZERO, &sum);
            const number rounded = round_wide(&sum, &p->result);
            *to = to_double(&rounded);
        }
}

static void tile_aligned(const tiles *t, const fmt_product *p, ptrdiff_t j, int i, int columns,
                         double *c, uint8_t *redo)
{
    const ptrdiff_t depth = p->depth;
    const float *a = (const float *)t->a_doubles + i * depth, *b = (const float *)t->b_doubles + j * depth;
    const int32_t *ae = t->a_exponents + i * depth, *be = t->b_exponents + j * depth;
    float totals[TILE_COLUMNS] = {0};
    int32_t exponents[TILE_COLUMNS];
    number start[TILE_COLUMNS];
    for (int n = 0; n < TILE_COLUMNS; n++) {
        exponents[n] = ZERO_EXPONENT;
        if (n >= columns)
            continue;
        start[n] = from_double(c[n]);
        redo[n] |= start[n].kind != NUMBER_FINITE || (double)(float)c[n] != c[n];
    }
    if (p->late) {
        for (int n = 0; n < columns; n++)
            totals[n] = redo[n] ? 0 : (float)c[n];
        const int infinite = fmt_active->dot_aligned_late(a, ae, b, be, depth, p->terms,
                                                          p->alignment_bits, totals);
        if (infinite)
            memset(redo, 1, TILE_COLUMNS);
        finish_floats(p, totals, columns, c, redo);
        return;
    }
    const ptrdiff_t interval = p->promotion_terms ? p->promotion_terms : depth;
    for (ptrdiff_t k = 0; k < depth; k += interval) {
        for (int n = 0; n < columns; n++) {
            const int joins = !p->promotion_terms && !redo[n] && start[n].magnitude;
            totals[n] = 0;
            exponents[n] = ZERO_EXPONENT;
            if (joins) {
                set_top(&start[n], -126);
                exponents[n] = start[n].top;
                totals[n] = (float)ldexp(c[n], -start[n].top);
            }
        }
        if (fmt_active->dot_aligned(a + k, ae + k, b + k * TILE_COLUMNS, be + k * TILE_COLUMNS,
                                    smaller(interval, depth - k), p->terms, p->alignment_bits,
                                    p->total.mantissa_bits, totals, exponents)) {
            memset(redo, 1, TILE_COLUMNS);
            return;
        }
        for (int n = 0; n < columns; n++) {
            /* in range, so a double holds it */
            const number total
                = from_double(totals[n] == 0 ? 0 : ldexp((double)totals[n], exponents[n]));
            start[n] = p->promotion_terms && !redo[n] ? add(&start[n], &total, &p->promotion) : total;
        }
    }
    for (int n = 0; n < columns; n++)
        if (!redo[n])
            c[n] = finished(&start[n], &p->result);
}

/* --- all of them -------------------------------------------------------------------------------- */

static ptrdiff_t panel_width(const fmt_product *p)
{
    ptrdiff_t width = p->depth ? PANEL_ELEMENTS / p->depth : MOST_PANEL;
    width = width < TILE_COLUMNS ? TILE_COLUMNS : smaller(width / TILE_COLUMNS * TILE_COLUMNS, MOST_PANEL);
    return smaller(width, p->columns);
}

static ptrdiff_t longest_step(const fmt_product *p) { return smaller(p->terms, p->depth); }

static size_t tile_elements(const fmt_product *p)
{
    return tile_kind(p) == STEPS ? 0 : (size_t)((to_tiles(panel_width(p)) + TILE_ROWS) * p->depth);
}

static size_t slices_of(const fmt_product *p) { return tile_kind(p) == DOUBLES ? MOST_SLICES : 1; }

size_t fmt_accumulate_scratch(const fmt_product *p)
{
    const size_t elements = tile_elements(p);
    return sizeof(number) * (size_t)(longest_step(p) + 1)
           + sizeof(fmt_number) * (size_t)((panel_width(p) + TILE_ROWS) * p->depth)
           + sizeof(double) * elements * slices_of(p) + sizeof(int32_t) * elements;
}

void fmt_accumulate(const fmt_product *p, double *c, void *scratch)
{
    const fmt_environment callers = fmt_enter();
    const ptrdiff_t panel = panel_width(p), depth = p->depth;
    const int scaled = !(p->scales_groups || p->scales_promotion || p->scales_end);
    number *terms = scratch;
    tiles t = {.kind = tile_kind(p)};
    t.a_numbers = (fmt_number *)(terms + longest_step(p) + 1);
    t.b_numbers = t.a_numbers + TILE_ROWS * depth;
    t.a_doubles = (double *)(t.b_numbers + panel * depth);
    t.b_doubles = t.a_doubles + TILE_ROWS * depth * (ptrdiff_t)slices_of(p);
    t.a_exponents = (int32_t *)(t.a_doubles + tile_elements(p) * slices_of(p));
    t.b_exponents = t.a_exponents + TILE_ROWS * depth;
    state s = {.plan = p, .terms = terms, .a_step = p->a.scale_step, .b_step = p->b.scale_step};
    for (ptrdiff_t batch = 0; batch < p->batch; batch++)
        for (ptrdiff_t j0 = 0; j0 < p->columns; j0 += panel) {
            const ptrdiff_t width = smaller(panel, p->columns - j0);
            for (ptrdiff_t j = 0; j < width; j++)
                load(&p->b, batch, j0 + j, depth, scaled, t.b_numbers + j * depth);
            if (t.kind != STEPS)
                pack_panel(&t, p, width);
            for (ptrdiff_t i0 = 0; i0 < p->rows; i0 += TILE_ROWS) {
                const int rows = (int)smaller(TILE_ROWS, p->rows - i0);
                for (int i = 0; i < rows; i++)
                    load(&p->a, batch, i0 + i, depth, scaled, t.a_numbers + i * depth);
                if (t.kind != STEPS)
                    pack_rows(&t, p, rows);
                for (ptrdiff_t j = 0; j < width; j += TILE_COLUMNS) {
                    const int columns = (int)smaller(TILE_COLUMNS, width - j);
                    double *to = &c[(batch * p->rows + i0) * p->columns + j0 + j];
                    uint8_t redo[TILE_ROWS][TILE_COLUMNS];
                    for (int i = 0; i < rows; i++)
                        for (int n = 0; n < columns; n++)
                            redo[i][n] = t.kind == STEPS || t.a_bad[i] || t.b_bad[j + n];
                    if (t.kind == FLOATS)
                        tile_of_floats(&t, p, j, rows, columns, to, redo);
                    else if (t.kind == DOUBLES)
                        tile_of_doubles(&t, p, j, rows, columns, to, redo);
                    else if (t.kind != STEPS)
                        for (int i = 0; i < rows; i++)
                            tile_aligned(&t, p, j, i, columns, to + i * p->columns, redo[i]);
                    for (int i = 0; i < rows; i++)
                        for (int n = 0; n < columns; n++) {
                            if (!redo[i][n])
                                continue;
                            s.a = t.a_numbers + i * depth;
                            s.b = t.b_numbers + (j + n) * depth;
                            if (!scaled && p->a.group)
                                s.a_scale = p->a.scales + batch * p->a.scale_batch
                                            + (i0 + i) * p->a.scale_row;
                            if (!scaled && p->b.group)
                                s.b_scale = p->b.scales + batch * p->b.scale_batch
                                            + (j0 + j + n) * p->b.scale_row;
                            double *result = to + i * p->columns + n;
                            *result = dot_product(&s, *result);
                        }
                }
            }
        }
    fmt_leave(callers);
}
