/* What the files of products with any accumulator share.
 *
 * dot_product.c   one dot product, step by step, by any accumulator: the meaning of all the others
 * tile_layout.c   whether a product's accumulator runs in the vector loops of tiles, and how
 * tile_packing.c  codes to the elements of tiles
 * accumulate.c    blocks of results, tile by tile; where they do not serve, by dot_product.c
 */
#ifndef FMT_ACCUMULATE_H
#define FMT_ACCUMULATE_H

#include <string.h>

#include "exact_sums.h"
#include "kernels.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { NO_LEAST = -(1 << 28) };

static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static inline ptrdiff_t round_up(ptrdiff_t x, ptrdiff_t to) { return (x + to - 1) / to * to; }

/* 2**exponent; exponents are those of normal numbers. */
static inline double power(int exponent)
{
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* --- operands --------------------------------------------------------------------------------- */

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

static inline line line_of(const fmt_operand *x, ptrdiff_t batch, ptrdiff_t row)
{
    return (line){x, batch * x->batch_stride + row * x->row_stride,
                  batch * x->scale_batch + row * x->scale_row};
}

static inline const fmt_number *scale_at(const line *x, ptrdiff_t k)
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

/* Whether each product is scaled before anything else is done with it. */
static inline int scales_in_products(const fmt_product *p)
{
    return !(p->scales_groups || p->scales_promotion || p->scales_end);
}

/* --- one dot product -------------------------------------------------------------------------- */

enum { MOST_TERMS = 64 };

typedef struct {
    const fmt_product *plan;
    line a, b;
    number terms[MOST_TERMS + 1];
    wide *exact; /* the total, if nothing rounds it */
    tally *met;
} state;

/* The result of a row of a and a column of b, which are set in the state, and a start. */
double fmt_dot_product(state *s, double c);

/* --- tiles ---------------------------------------------------------------------------------------
 *
 * The common accumulators run in vector loops (tiles.inc.h).  Where the loops' assumptions fail for
 * a row, a column or a tile, its dot products are done again from the codes, step by step; so the
 * bits are the same. */

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
};

/* What a row or a column is marked with. */
enum { REDO = 1, HAS_NAN = 2 };

/* Integers in units of 2**low, cut into `count` slices of `bits` bits; 0 bits: numbers, not cut. */
typedef struct {
    int32_t low;
    int count, bits;
} slicing;

typedef struct {
    enum tile_kind kind;
    int paired, scaled;
    int in_floats;   /* GROUPS: float holds the sums of groups */
    int twofold;     /* GROUPS: two doubles hold them */
    int of_data;     /* EXACT: the range is that of the data, not of the format */
    int wide, small; /* see fmt_aligned */
    int may_be_narrow; /* the format is wide, but most data are not */
    ptrdiff_t run;   /* terms of a step or a group */
    ptrdiff_t slab, rows, columns; /* of a block */
    int a_width; /* of a tile of a */
    slicing a_cut, b_cut;
    size_t element, state; /* bytes of an element of b, and of the totals of a result */
    int levels;            /* of pairwise sums */
    double least_start, most_start; /* magnitudes of c, unless it is zero */
} layout;

static inline int is_float32(const fmt_register *r)
{
    return r->kind == REGISTER_FLOAT && r->mantissa_bits == 23 && r->least == -126
           && r->greatest == 127 && r->rounding == ROUND_NEAREST_EVEN
           && r->overflow != OVERFLOW_SATURATE && !r->flush;
}

static inline int span(const fmt_operand *x, int scaled)
{
    return x->high - x->low + (scaled && x->group ? x->scale_high - x->scale_low : 0);
}

/* How the tiles of a product lie; kind is STEPS if there are none. */
layout fmt_lay_out(const fmt_product *p);

/* Bytes of scratch that a block takes. */
size_t fmt_block_bytes(const layout *l);

/* The least number of pairs of slices whose products have at most `most` bits; 0: there is none. */
int fmt_cut_slices(int a_span, int b_span, int most, int most_passes, slicing *a, slicing *b);

/* Bits of products whose sums are below 2**51 for a slab, and fit int64_t for all of the depth. */
int fmt_exact_bits(const fmt_product *p);

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
    int by_line; /* numbers fit double, and are cut in slices a row or column at a time */
    double slices_of[MOST_SLICES][256];
    float value_of[256];
    int16_t exponent_of[256];
    int32_t wide_of[256];
    uint8_t mark_of[256];
} side;

/* Fills the tables of a side whose codes have a byte. */
void fmt_fill_tables(const layout *l, side *s);

/* n elements of `count` rows or columns from `first` on, in tiles; what is missing is zeros. */
void fmt_pack_tiles(const layout *l, side *s, ptrdiff_t batch, ptrdiff_t first, ptrdiff_t count,
                    ptrdiff_t k0, ptrdiff_t n, uint8_t *marks);

/* Where the tile of the rows or columns from `first` on is; n elements of the depth. */
tile fmt_tile_at(const layout *l, const side *s, ptrdiff_t first, ptrdiff_t n);

#endif
