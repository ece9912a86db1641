/* One dot product with any accumulator, in exact integer arithmetic.
 *
 * 1. Codes are taken apart into numbers: magnitude, exponent, sign, kind.
 * 2. A dot product goes step by step (see Accumulator in accumulators.py): the products of a step
 *    are formed exactly, scaled, aligned; their exact sum is rounded once to the total.
 * 3. Without a total (Kulisch) the products go straight to limbs that span everything.
 */
#include "accumulate.h"

enum { PAIR_LEVELS = 64 };

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
        fmt_multiply_sum(w, scale_at(&s->a, k));
    if (s->plan->b.group)
        fmt_multiply_sum(w, scale_at(&s->b, k));
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
            *to = fmt_round_number(to, &p->product);
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
        fmt_align(start, unit, p->alignment_rounding);
    tally t = {0};
    if (!at_once)
        fmt_clear_sum(w, LEAST_EXPONENT, LIMBS);
    for (ptrdiff_t k = 0; k < n; k += MOST_TERMS) {
        const ptrdiff_t count = smaller(MOST_TERMS, n - k);
        if (!at_once)
            multiply(s, k0 + k, count);
        for (ptrdiff_t i = 0; i < count; i++) {
            if (p->aligned)
                fmt_align(&s->terms[i], unit, p->alignment_rounding);
            if (!at_once)
                fmt_add_to_sum(w, &t, &s->terms[i]);
        }
    }
    if (at_once) {
        if (start)
            s->terms[n] = *start;
        fmt_sum_numbers(s->terms, n + (start != NULL), p->signed_zero, p->total.rounding, w);
    } else {
        if (start)
            fmt_add_to_sum(w, &t, start);
        fmt_finish_sum(w, &t, p->signed_zero, p->total.rounding);
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
                fmt_add_to_sum(s->exact, s->met, &s->terms[i]);
        }
        s->met->plus_zero |= p->late && !p->signed_zero; /* each sum of a step that is zero is +0 */
        return start;
    }
    sum_step(s, k0, n, p->late ? NULL : &start, &w);
    if (!p->late)
        return fmt_round_sum(&w, &p->total);
    if (p->scales_groups)
        scale_wide(s, &w, k0);
    if (s->exact) {
        if (p->partial.kind == REGISTER_NONE) {
            fmt_add_sum(s->exact, s->met, &w);
        } else {
            const number partial = fmt_round_sum(&w, &p->partial);
            fmt_add_to_sum(s->exact, s->met, &partial);
        }
        return start;
    }
    if (p->partial.kind == REGISTER_NONE) {
        /* the sum and the start, still exact, in one rounding */
        wide both;
        tally t = {0};
        fmt_clear_sum(&both, LEAST_EXPONENT, LIMBS);
        fmt_add_sum(&both, &t, &w);
        fmt_add_to_sum(&both, &t, &start);
        fmt_finish_sum(&both, &t, 1, p->total.rounding);
        return fmt_round_sum(&both, &p->total);
    }
    const number partial = fmt_round_sum(&w, &p->partial);
    return fmt_add_numbers(&start, &partial, &p->total);
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
            fmt_sum_numbers(&total, 1, 1, ROUND_TOWARD_ZERO, &w);
            scale_wide(s, &w, k);
            fmt_clear_sum(&sum, LEAST_EXPONENT, LIMBS);
            fmt_add_sum(&sum, &t, &w);
            fmt_add_to_sum(&sum, &t, &start);
            fmt_finish_sum(&sum, &t, 1, p->promotion.rounding);
            start = fmt_round_sum(&sum, &p->promotion);
        } else {
            start = fmt_add_numbers(&start, &total, &p->promotion);
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
            stack[n - 1] = fmt_add_numbers(&stack[n - 1], &stack[n], &p->total);
            level[n - 1]++;
        }
        k = stop;
    }
    for (; n > 1; n--)
        stack[n - 2] = fmt_add_numbers(&stack[n - 2], &stack[n - 1], &p->total);
    return n ? stack[0] : zero_number();
}

double fmt_dot_product(state *s, double c)
{
    const fmt_product *p = s->plan;
    const ptrdiff_t depth = p->depth;
    const number start = fmt_from_double(c);
    number total = p->scales_end ? zero_number() : start;
    wide exact, w;
    tally met = {0};
    s->exact = NULL;
    if (depth == 0) {
        total = start;
    } else if (p->total.kind == REGISTER_NONE) {
        s->exact = &exact;
        s->met = &met;
        fmt_clear_sum(&exact, LEAST_EXPONENT, LIMBS);
        if (!p->scales_end)
            fmt_add_to_sum(&exact, &met, &start);
        steps(s, 0, depth, zero_number());
        fmt_finish_sum(&exact, &met, p->signed_zero || p->late, ROUND_TOWARD_ZERO);
    } else if (p->pairwise) {
        const number sum = pairwise(s, depth);
        total = p->scales_end ? sum : fmt_add_numbers(&start, &sum, &p->total);
    } else if (p->parts) {
        const fmt_register *last = p->promotion_terms ? &p->promotion : &p->total;
        ptrdiff_t k = 0;
        for (ptrdiff_t i = 0; i < p->part_count; k += p->parts[i++]) {
            const number next = part(s, k, k + p->parts[i], i ? zero_number() : total);
            total = i ? fmt_add_numbers(&total, &next, last) : next;
        }
    } else {
        total = part(s, 0, depth, total);
    }
    if (!s->exact)
        fmt_sum_numbers(&total, 1, 1, ROUND_TOWARD_ZERO, &exact);
    const wide *result = &exact;
    if (p->scales_end && depth) {
        tally t = {0};
        int first = 0; /* the least limbs of a Kulisch sum are mostly zeros; no room to spare */
        while (first < exact.count - 1 && !exact.limbs[first])
            first++;
        exact.count -= first;
        memmove(exact.limbs, exact.limbs + first, sizeof exact.limbs[0] * (size_t)exact.count);
        exact.base += 64 * first;
        while (exact.count > 1 && !exact.limbs[exact.count - 1])
            exact.count--;
        scale_wide(s, &exact, 0);
        fmt_clear_sum(&w, LEAST_EXPONENT, LIMBS);
        fmt_add_sum(&w, &t, &exact);
        fmt_add_to_sum(&w, &t, &start);
        fmt_finish_sum(&w, &t, p->signed_zero, ROUND_TOWARD_ZERO);
        result = &w;
    }
    const number rounded = fmt_round_sum(result, &p->result);
    return fmt_to_double(&rounded);
}
