/* Which products run in tiles, and how these lie: see accumulate.h. */
#include "accumulate.h"

static int least_of(const fmt_operand *x, int scaled)
{
    return x->low + (scaled && x->group ? x->scale_low : 0);
}

static int greatest_of(const fmt_operand *x, int scaled)
{
    return x->high + (scaled && x->group ? x->scale_high : 0);
}

int fmt_cut_slices(int a_span, int b_span, int most, int most_passes, slicing *a, slicing *b)
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
    /* float holds the values; products below its normal numbers vanish beside the least unit */
    l->may_be_narrow = l->wide && a->plain_float && b->plain_float && !a->group && !b->group
                       && p->alignment_bits <= 27 && a_low >= -149 && b_low >= -149 && a_high <= 128
                       && b_high <= 128;
    l->small = p->terms < 1 << 20 && p->alignment_bits < 22
               && (p->terms + 1) << (p->alignment_bits + 2) <= 1 << 24;
    l->element = sizeof(float) + sizeof(int16_t) + (l->wide ? sizeof(int32_t) : 0);
    return 1;
}

/* Bits of an operand's significands; it has no scales. */
static int significand_bits(const fmt_operand *x)
{
    return x->family == OPERAND_TABLE ? x->fraction_bits + 1 : x->bits;
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
        const int passes = fmt_cut_slices(span(a, 0), span(b, 0), 53 - carries, MOST_SLICES,
                                          &l->a_cut, &l->b_cut);
        if (!passes) {
            l->twofold = !a->group && !b->group && significand_bits(a) + significand_bits(b) <= 53
                         && a->low + b->low > -900 && a->high + b->high < 900;
            l->a_cut = l->b_cut = (slicing){0, 1, 0};
        }
        if (scale_bits > 2 || !(passes || l->twofold))
            return 0;
    }
    l->kind = GROUPS;
    l->element = l->in_floats ? sizeof(float) : sizeof(double) * (size_t)l->b_cut.count;
    return 1;
}

int fmt_exact_bits(const fmt_product *p)
{
    return (int)smaller(51 - SLAB_BITS, 62 - bit_length((u128)p->depth));
}

static int lay_out_exact(const fmt_product *p, layout *l)
{
    if (p->product.kind != REGISTER_NONE || p->signed_zero || p->partial.kind != REGISTER_NONE
        || (p->late && p->scales_groups))
        return 0;
    l->kind = EXACT;
    l->run = 1;
    int passes = fmt_cut_slices(span(&p->a, 1), span(&p->b, 1), fmt_exact_bits(p), MOST_PASSES,
                                &l->a_cut, &l->b_cut);
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

size_t fmt_block_bytes(const layout *l)
{
    const size_t results = (size_t)(round_up(l->rows, TILE_ROWS) * l->columns);
    return l->state * results + side_bytes(l, l->element, l->columns)
           + side_bytes(l, a_element(l), l->a_width)
           + results / TILE_COLUMNS + 2 * (size_t)(l->rows + l->columns);
}

layout fmt_lay_out(const fmt_product *p)
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
    while (l.columns > TILE_COLUMNS && fmt_block_bytes(&l) > BUDGET)
        l.columns = round_up(l.columns / 2, TILE_COLUMNS);
    while (l.rows > TILE_ROWS && fmt_block_bytes(&l) > BUDGET)
        l.rows /= 2;
    return l;
}
