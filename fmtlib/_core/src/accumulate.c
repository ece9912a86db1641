/* Matrix products and batches of dot products with any accumulator: blocks of results.
 *
 * A block is taken a slab of the depth at a time: the slab's columns of b are packed in tiles, then
 * those of a, row by row, and each pair of tiles adds to the totals of its results, which are kept
 * for the whole block.  Products without tiles, and results for which the tiles' assumptions fail,
 * are dot products of their own.
 */
#include <math.h>
#include <stdlib.h>

#include "accumulate.h"
#include "environment.h"

/* --- totals of a tile ------------------------------------------------------------------------- */

enum { TILE = TILE_ROWS * TILE_COLUMNS };

/* A block of results, and what it takes. */
typedef struct {
    const fmt_product *plan;
    layout l;
    side a, b;
    int32_t *a_wide, *b_wide; /* where the sides' are, while the block is taken for narrow */
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
            .small = l->small, .checked = l->may_be_narrow,
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
    if (l->twofold)
        groups.count = 2, groups.step = 1;
    int redo = 0;
    for (ptrdiff_t end = k + n; k < end; k += l->run) {
        const ptrdiff_t run = smaller(l->run, end - k);
        double sums[MOST_SLICES][TILE];
        float few[TILE];
        if (l->in_floats) {
            memset(few, 0, sizeof few);
            fmt_active->dot_floats(a->values + k * width, b->values + k * TILE_COLUMNS, run, few,
                                   l->paired);
        }
        if (l->twofold)
            redo |= fmt_active->dot_twofold(a->slices + k * width, b->slices + k * TILE_COLUMNS,
                                            run, sums[0], l->paired);
        for (int s = 0; s < groups.count && !l->in_floats && !l->twofold; s++) {
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
    return redo;
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
                /* integers up to 2**51 show in the last bits of 1.5 * 2**52 plus them */
                const double shifted = sums[i] + 0x1.8p52;
                int64_t bits;
                memcpy(&bits, &shifted, sizeof bits);
                totals[i] += bits - 0x4338000000000000;
            }
        }
}

/* --- results ---------------------------------------------------------------------------------- */

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
    const number total = fmt_from_double(x);
    const number to = fmt_round_number(&total, r);
    return fmt_to_double(&to);
}

/* c plus the exact sums of the pairs of slices. */
static double exact_result(const fmt_product *p, const slicing *a, const slicing *b,
                           const int64_t *totals, double c)
{
    const int low = a->low + b->low, count = a->count * b->count;
    if (count == 1 && c == 0 && low > -900 && low < 900 && llabs(totals[0]) < (int64_t)1 << 53)
        return rounded((double)totals[0] * power(low), &p->result);
    const int odd = p->result.mantissa_bits != 52 || p->result.rounding == ROUND_TO_ODD;
    const number start = fmt_from_double(c);
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
    fmt_sum_numbers(terms, count + 1, 0, ROUND_TOWARD_ZERO, &sum);
    const number to = fmt_round_sum(&sum, &p->result);
    return fmt_to_double(&to);
}

/* --- a block of results ----------------------------------------------------------------------- */

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
    fmt_pack_tiles(l, &w->b, batch, j0, columns, k0, n, w->b.marks);
    char *totals = w->totals;
    for (ptrdiff_t i = 0; i < rows; i += TILE_ROWS) {
        if (!l->paired)
            fmt_pack_tiles(l, &w->a, batch, i0 + i, smaller(TILE_ROWS, rows - i), k0, n,
                           w->a.marks + i);
        for (ptrdiff_t j = 0; j < columns; j += TILE_COLUMNS, totals += l->state * TILE, redo++) {
            const tile b = fmt_tile_at(l, &w->b, j, n);
            if (l->paired)
                fmt_pack_tiles(l, &w->a, 0, j0 + j, smaller(TILE_COLUMNS, columns - j), k0, n,
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
                const number x = fmt_from_double((double)joined[i]);
                const number y = fmt_from_double((double)part[i]);
                const number sum = fmt_add_numbers(&x, &y, last);
                joined[i] = (float)fmt_to_double(&sum);
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
            put(p, to, fmt_dot_product(&w->steps, c));
        } else if (l->kind == EXACT) {
            put(p, to, exact_result(p, &w->a.cut, &w->b.cut, sums + x, c));
        } else {
            const float total = p->pairwise ? (float)c + floats[x] : floats[x];
            put(p, to, isnan(total) ? (double)NAN : rounded((double)total, &p->result));
        }
    }
}

/* Takes the numbers of a product for narrow, or no longer. */
static void set_wide(block *w, int wide)
{
    w->l.wide = wide;
    w->a.data.wide = wide ? w->a_wide : NULL;
    w->b.data.wide = wide ? w->b_wide : NULL;
    limit_starts(w->plan, &w->l);
    fmt_fill_tables(&w->l, &w->a);
    fmt_fill_tables(&w->l, &w->b);
}

/* Whether tiles can start from all of a block's c. */
static int starts_fit(const block *w, ptrdiff_t batch, ptrdiff_t i0, ptrdiff_t rows, ptrdiff_t j0,
                      ptrdiff_t columns)
{
    int fit = 1;
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++)
            fit &= !start_fails(&w->l, start_at(w->plan, place(w, batch, i0 + i, j0 + j)));
    return fit;
}

/* Returns 0, with nothing done, if the block was taken for narrow and is not. */
static int run_block(block *w, ptrdiff_t batch, ptrdiff_t i0, ptrdiff_t rows, ptrdiff_t j0,
                     ptrdiff_t columns)
{
    const fmt_product *p = w->plan;
    const layout *l = &w->l;
    const ptrdiff_t across = round_up(columns, TILE_COLUMNS) / TILE_COLUMNS;
    const ptrdiff_t tiles = round_up(rows, TILE_ROWS) / TILE_ROWS * across;
    const int narrow = l->may_be_narrow && !l->wide;
    if (narrow && !starts_fit(w, batch, i0, rows, j0, columns))
        return 0;
    memset(w->a.marks, 0, (size_t)(l->paired ? columns : rows));
    memset(w->b.marks, 0, (size_t)columns);
    memset(w->tile_redo, 0, (size_t)tiles);
    int all = 0;
    if (l->of_data) {
        int32_t a_low, b_low;
        const int a_span = l->paired ? range_of(w, &w->a, batch, j0, columns, &a_low)
                                     : range_of(w, &w->a, batch, i0, rows, &a_low);
        const int b_span = range_of(w, &w->b, batch, j0, columns, &b_low);
        all = !fmt_cut_slices(a_span, b_span, fmt_exact_bits(p), MOST_PASSES, &w->a.cut, &w->b.cut);
        w->a.cut.low = a_low;
        w->b.cut.low = b_low;
        fmt_fill_tables(l, &w->a);
        fmt_fill_tables(l, &w->b);
    }
    const ptrdiff_t parts = p->parts ? p->part_count : 1;
    ptrdiff_t begin = 0;
    for (ptrdiff_t i = 0; i < parts && !all; i++) {
        const ptrdiff_t end = p->parts ? begin + p->parts[i] : p->depth;
        start_block(w, batch, i0, rows, j0, columns, i == 0);
        for (ptrdiff_t k = begin; k < end; k += l->slab) {
            const ptrdiff_t n = smaller(l->slab, end - k);
            add_slab(w, batch, i0, rows, j0, columns, k, n, k + n == end);
            if (narrow && memchr(w->tile_redo, 1, (size_t)tiles))
                return 0;
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
    return 1;
}

/* --- all of them ------------------------------------------------------------------------------ */

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
    const layout l = fmt_lay_out(&p);
    return l.kind == STEPS ? 1 : fmt_block_bytes(&l);
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
    block w = {.plan = &p, .l = fmt_lay_out(&p), .steps = {.plan = &p}};
    const layout *l = &w.l;
    limit_starts(&p, &w.l);
    if (l->kind == STEPS) {
        for (ptrdiff_t batch = 0; batch < p.batch; batch++)
            for (ptrdiff_t i = 0; i < p.rows; i++)
                for (ptrdiff_t j = 0; j < p.columns; j++) {
                    w.steps.a = line_of(&p.a, batch, i);
                    w.steps.b = line_of(&p.b, batch, j);
                    const ptrdiff_t to = place(&w, batch, i, j);
                    put(&p, to, fmt_dot_product(&w.steps, start_at(&p, to)));
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
            fmt_fill_tables(l, &w.a);
            fmt_fill_tables(l, &w.b);
        }
        w.a_wide = w.a.data.wide;
        w.b_wide = w.b.data.wide;
        if (l->may_be_narrow)
            set_wide(&w, 0);
        const ptrdiff_t columns = l->paired ? p.batch : p.columns;
        const ptrdiff_t batches = l->paired ? 1 : p.batch;
        for (ptrdiff_t batch = 0; batch < batches; batch++)
            for (ptrdiff_t j = 0; j < columns; j += l->columns)
                for (ptrdiff_t i = 0; i < p.rows; i += l->rows) {
                    const ptrdiff_t rows = smaller(l->rows, p.rows - i);
                    const ptrdiff_t across = smaller(l->columns, columns - j);
                    if (!run_block(&w, batch, i, rows, j, across)) {
                        set_wide(&w, 1);
                        run_block(&w, batch, i, rows, j, across);
                    }
                }
    }
    fmt_leave(callers);
}
