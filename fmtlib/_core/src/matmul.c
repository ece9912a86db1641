/* The product of block-coded matrices with an fMAC's accumulator.
 *
 * 1. The depth is cut into pieces, in which neither operand's scale changes, and is taken a slab of
 *    whole pieces at a time; the columns a block at a time.  That part of b is packed into panels,
 *    as integer_dot.inc.h describes, unless there is a kept packing of b.
 * 2. The rows are taken a block at a time and packed likewise.
 * 3. Each pair of panels goes piece by piece through dot_tile: the exact integer sum of a piece,
 *    scaled and rounded to float32 once, is added to the float32 total, which c holds between slabs.
 *    So the order of additions is that of the pieces, whatever the blocks.
 *
 * Where that takes fewer tiles a and b change places; a batch of pairs of vectors goes through
 * dot_paired, as many pairs at a time as a tile has columns.
 *
 * The panels of a block of a stay in the second-level cache while those of b pass through the first.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"
#include "kernels.h"

/* A tile's part of b, SLAB_WORDS deep, fits the first-level cache, and all scratch 1 MiB. */
enum { SLAB_WORDS = 256, BLOCK_ROWS = 128, BLOCK_COLUMNS = 1024 };
enum { A_WORDS = 48 << 10, B_WORDS = 192 << 10 };
enum { ALIGNMENT = 64 };

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t panels_of(ptrdiff_t vectors, ptrdiff_t width) { return (vectors + width - 1) / width; }

/* --- pieces ------------------------------------------------------------------------------- */

static ptrdiff_t steps_of(ptrdiff_t length, int layout)
{
    const ptrdiff_t elements = fmt_elements_of(layout);
    return (length + elements - 1) / elements;
}

/* Where the piece ends that starts at k. */
static ptrdiff_t end_of_piece(ptrdiff_t k, ptrdiff_t a_group, ptrdiff_t b_group, ptrdiff_t depth)
{
    const ptrdiff_t a_end = smaller(a_group - k % a_group, depth - k);
    return k + smaller(a_end, b_group - k % b_group);
}

/* The pieces from k on, as far as starts and steps have room and, but for the first, all_steps does. */
static void find_pieces(fmt_pieces *pieces, ptrdiff_t k, ptrdiff_t a_group, ptrdiff_t b_group,
                        ptrdiff_t depth, int layout, ptrdiff_t most, ptrdiff_t most_steps)
{
    pieces->count = pieces->all_steps = 0;
    pieces->starts[0] = k;
    while (k < depth && pieces->count < most) {
        const ptrdiff_t end = end_of_piece(k, a_group, b_group, depth);
        const ptrdiff_t steps = steps_of(end - k, layout);
        if (pieces->count && pieces->all_steps + steps > most_steps)
            break;
        pieces->steps[pieces->count++] = (int32_t)steps;
        pieces->starts[pieces->count] = k = end;
        pieces->all_steps += steps;
    }
}

/* --- packings ----------------------------------------------------------------------------- */

static char nowhere[1]; /* where things are laid out to find how large they are */

/* Panels of one matrix: where the arrays of each kind start, the steps and pieces that one panel has
 * room for; and which panel, step and piece a block starts with. */
typedef struct {
    fmt_panel arrays;
    int layout;
    ptrdiff_t width, steps, pieces;
    ptrdiff_t first_panel, first_step, first_piece;
} packing;

/* Lays `count` panels out from an aligned `at` on; returns the bytes they take. */
static size_t lay_out(packing *to, char *at, int is_a, int layout, ptrdiff_t count, ptrdiff_t width,
                      ptrdiff_t steps, ptrdiff_t pieces)
{
    const size_t word = 4, panels = (size_t)count;
    const size_t words = panels * (size_t)(width * steps * fmt_words_of(layout)) * word;
    const size_t scales = panels * (size_t)(width * pieces) * word;
    const size_t corrections = is_a || layout == LAYOUT_HALVES ? 0 : scales;
    const size_t ranges = panels * 2 * word;
    to->layout = layout;
    to->arrays.words = (uint32_t *)at;
    to->arrays.scales = (float *)(at + words);
    to->arrays.corrections = (int32_t *)(at + words + scales);
    to->arrays.range = (int32_t *)(at + words + scales + corrections);
    to->width = width;
    to->steps = steps;
    to->pieces = pieces;
    to->first_panel = to->first_step = to->first_piece = 0;
    return (words + scales + corrections + ranges + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static char *aligned(const void *at)
{
    return (char *)(((uintptr_t)at + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
}

/* Panel number j of the block. */
static fmt_panel panel_of(const packing *p, ptrdiff_t j)
{
    j += p->first_panel;
    const ptrdiff_t word = (j * p->steps + p->first_step) * p->width * fmt_words_of(p->layout);
    const ptrdiff_t scale = (j * p->pieces + p->first_piece) * p->width;
    return (fmt_panel){p->arrays.words + word, p->arrays.scales + scale,
                       p->arrays.corrections + scale, p->arrays.range + 2 * j};
}

/* Packs vectors first ... first + count - 1 of one matrix of the batch. */
static void pack(const fmt_matrix *m, int is_a, ptrdiff_t batch, ptrdiff_t first, ptrdiff_t count,
                 const fmt_pieces *pieces, const packing *to)
{
    const ptrdiff_t size = m->type == TYPE_INT1 ? 1 : 2;
    for (ptrdiff_t j = 0; j * to->width < count; j++) {
        const ptrdiff_t vector = first + j * to->width;
        const ptrdiff_t place = batch * m->batch_stride + vector * m->vector_stride;
        const fmt_panel panel = panel_of(to, j);
        fmt_active->integer_dot->pack_panel(
            m, (const char *)m->codes + place * size,
            m->scales + batch * m->scale_batch + vector * m->scale_vector,
            smaller(to->width, count - j * to->width), pieces, is_a, to->layout,
            to->width, &panel);
    }
}

/* One matrix of `count` vectors, for products with operands of the same groups. */
static size_t lay_out_matrix(packing *to, char *at, const fmt_matrix *m, int is_a, ptrdiff_t count,
                             ptrdiff_t depth, int layout)
{
    const fmt_integer_dot *kernels = fmt_active->integer_dot;
    const ptrdiff_t width = is_a ? kernels->rows : kernels->columns;
    const ptrdiff_t whole = depth / m->group, rest = depth % m->group;
    const ptrdiff_t steps = whole * steps_of(m->group, layout) + steps_of(rest, layout);
    return lay_out(to, at, is_a, layout, panels_of(count, width), width, steps, whole + (rest > 0));
}

size_t fmt_packing_size(const fmt_matrix *m, int is_a, ptrdiff_t depth, int layout)
{
    packing to;
    return lay_out_matrix(&to, nowhere, m, is_a, m->count, depth, layout) + ALIGNMENT;
}

int fmt_pack_matrix(const fmt_matrix *m, int is_a, ptrdiff_t depth, int layout, void *out)
{
    packing to;
    lay_out_matrix(&to, aligned(out), m, is_a, m->count, depth, layout);
    fmt_pieces pieces = {.starts = malloc((size_t)(to.pieces + 1) * sizeof *pieces.starts),
                         .steps = malloc((size_t)(to.pieces + 1) * sizeof *pieces.steps)};
    const int works = pieces.starts && pieces.steps;
    if (works) {
        find_pieces(&pieces, 0, m->group, m->group, depth, layout, to.pieces, to.steps);
        pack(m, is_a, 0, 0, m->count, &pieces, &to);
    }
    free(pieces.starts);
    free(pieces.steps);
    return works;
}

/* --- the product -------------------------------------------------------------------------- */

/* What all tiles have in common. */
typedef struct {
    int kind, layout;
    ptrdiff_t run;                /* of DOT_WIDE and DOT_RUNS */
    int sum_bits;                 /* the sum of a piece is at most 2**sum_bits */
    int single;                   /* and a kernel can round it to float32 */
    ptrdiff_t slab_pieces, slab_steps;
    ptrdiff_t block_rows, block_columns;
} approach;

static ptrdiff_t greatest_magnitude(const fmt_matrix *m) { return ((ptrdiff_t)1 << m->mantissa) - 1; }

static ptrdiff_t longest_piece(const fmt_matrix *a, const fmt_matrix *b, ptrdiff_t depth)
{
    return smaller(smaller(a->group, b->group), depth);
}

/* Steps of bytes whose pairs of products the kernel can add up; 0 if it has none for such operands. */
static ptrdiff_t run_of_bytes(const fmt_matrix *a, const fmt_matrix *b, ptrdiff_t depth)
{
    const ptrdiff_t most = fmt_active->integer_dot->most_of_pair;
    const ptrdiff_t pair = 2 * (((ptrdiff_t)2 << a->mantissa) - 1) * greatest_magnitude(b);
    if (a->mantissa > 7 || b->mantissa > 7 || most / pair < 2
        || longest_piece(a, b, depth) + 4 > INT32_MAX / pair)
        return 0;
    return most / pair;
}

static ptrdiff_t greatest_product(const fmt_matrix *a, const fmt_matrix *b)
{
    return greatest_magnitude(a) * greatest_magnitude(b);
}

/* Steps of halves whose products fit 32 bits. */
static ptrdiff_t run_of_halves(const fmt_matrix *a, const fmt_matrix *b)
{
    return INT32_MAX / (2 * greatest_product(a, b));
}

int fmt_matmul_layout(const fmt_matrix *a, const fmt_matrix *b, ptrdiff_t depth)
{
    enum { DOT_LONG_RUN = 5 }; /* steps, from which on sums by parts are as fast */
    if (run_of_bytes(a, b, depth))
        return LAYOUT_BYTES;
    const ptrdiff_t longest = longest_piece(a, b, depth), run = run_of_halves(a, b);
    const int wide = longest > 2 * run && run < DOT_LONG_RUN;
    return wide && longest <= TOPPED_LONGEST && fmt_active->integer_dot->has_topped ? LAYOUT_TOPPED
                                                                                     : LAYOUT_HALVES;
}

/* At most so many vectors, in whole panels, and no more of these than there are; at least one. */
static ptrdiff_t block_of(ptrdiff_t most, ptrdiff_t count, ptrdiff_t width)
{
    const ptrdiff_t panels = smaller(most / width, panels_of(count, width));
    return (panels ? panels : 1) * width;
}

/* Products of single vectors: `columns` of them are worked on at a time, on both sides, if there is
 * room for their longest piece. */
static int is_paired(const fmt_matmul_plan *p)
{
    return p->a.count == 1 && p->b.count == 1 && p->batch > 1
           && longest_piece(&p->a, &p->b, p->depth) <= 2048;
}

/* With the vectors of all matrices as those of one. */
static fmt_matrix unbatched(fmt_matrix m, ptrdiff_t batch)
{
    m.count = batch;
    m.vector_stride = m.batch_stride;
    m.scale_vector = m.scale_batch;
    return m;
}

/* Whether it takes fewer tiles with a and b exchanged; the products of pieces are the same.  Then b has
 * few vectors, which are soon packed anew.  With as many tiles, the operand of more vectors is b if they
 * are neighbours in memory: a panel of b takes more of a line of the cache. */
static int turns(const fmt_matmul_plan *p)
{
    const fmt_integer_dot *kernels = fmt_active->integer_dot;
    const ptrdiff_t rows = p->a.count, columns = p->b.count;
    const ptrdiff_t tiles = panels_of(rows, kernels->rows) * panels_of(columns, kernels->columns);
    const ptrdiff_t turned = panels_of(columns, kernels->rows) * panels_of(rows, kernels->columns);
    return !p->a.packing
           && (turned < tiles || (turned == tiles && rows > columns && p->a.vector_stride == 1));
}

static fmt_matmul_plan turned(const fmt_matmul_plan *p)
{
    fmt_matmul_plan to = *p;
    if (turns(p)) {
        to.a = p->b;
        to.b = p->a;
        to.a.packing = NULL;
    }
    return to;
}

static approach approach_of(const fmt_matmul_plan *p)
{
    const fmt_integer_dot *kernels = fmt_active->integer_dot;
    const ptrdiff_t product = greatest_product(&p->a, &p->b);
    const ptrdiff_t longest = longest_piece(&p->a, &p->b, p->depth);
    approach x = {.layout = fmt_matmul_layout(&p->a, &p->b, p->depth),
                  .run = run_of_halves(&p->a, &p->b),
                  .single = 1};
    if (p->a.packing)
        x.layout = p->a.packed_layout;
    if (p->b.packing)
        x.layout = p->b.packed_layout;
    if (x.layout == LAYOUT_BYTES) {
        x.kind = longest <= 4 * run_of_bytes(&p->a, &p->b, p->depth) ? DOT_BYTES : DOT_PAIRS;
    } else if (x.layout == LAYOUT_TOPPED) {
        x.kind = DOT_TOPPED;
    } else if (longest <= INT32_MAX / product) {
        x.kind = DOT_HALVES;
    } else {
        x.kind = x.run >= DOT_LONG_RUN ? DOT_RUNS : DOT_WIDE;
        x.single = longest <= 512; /* both halves of the sum are exact in float32 */
    }
    if (is_paired(p)) {
        x.layout = x.layout == LAYOUT_BYTES ? LAYOUT_BYTES : LAYOUT_HALVES;
        x.kind = x.layout == LAYOUT_BYTES ? DOT_BYTES : DOT_WIDE;
        x.single = x.kind == DOT_BYTES || longest <= 512;
    }
    while ((ptrdiff_t)1 << x.sum_bits < longest * product)
        x.sum_bits++;
    const ptrdiff_t elements = fmt_elements_of(x.layout), words = fmt_words_of(x.layout);
    const ptrdiff_t longest_steps = steps_of(longest, x.layout);
    x.slab_steps = SLAB_WORDS / words;
    if (longest_steps > x.slab_steps)
        x.slab_steps = longest_steps;
    /* slabs of even depth, the last of which is no scrap */
    const ptrdiff_t all = p->depth / longest * longest_steps + steps_of(p->depth % longest, x.layout);
    const ptrdiff_t slabs = panels_of(all, x.slab_steps);
    x.slab_steps = smaller(x.slab_steps, panels_of(all, slabs) + longest_steps - 1);
    /* no more pieces than ends of groups: of both where they differ */
    const ptrdiff_t deep = smaller(x.slab_steps * elements, p->depth);
    const ptrdiff_t shared = p->a.group == p->b.group ? 0 : deep / p->b.group + 1;
    x.slab_pieces = smaller(smaller(x.slab_steps, p->depth), deep / p->a.group + 1 + shared);
    /* a vector of a slab: its words, scales and corrections */
    const ptrdiff_t each = x.slab_steps * words + 2 * x.slab_pieces;
    x.block_columns = block_of(smaller(BLOCK_COLUMNS, B_WORDS / each), p->b.count, kernels->columns);
    x.block_rows = block_of(smaller(BLOCK_ROWS, A_WORDS / each), p->a.count, kernels->rows);
    return x;
}

/* Where the parts of the scratch are. */
typedef struct {
    packing a, b;
    fmt_pieces pieces;
    size_t size;
} workplace;

static workplace lay_out_scratch(const fmt_matmul_plan *p, const approach *x, char *at)
{
    const fmt_integer_dot *kernels = fmt_active->integer_dot;
    const ptrdiff_t a_width = is_paired(p) ? kernels->columns : kernels->rows;
    workplace w;
    char *const start = at;
    if (!p->a.packing)
        at += lay_out(&w.a, at, 1, x->layout, panels_of(x->block_rows, a_width), a_width,
                      x->slab_steps, x->slab_pieces);
    if (!p->b.packing)
        at += lay_out(&w.b, at, 0, x->layout, x->block_columns / kernels->columns,
                      kernels->columns, x->slab_steps, x->slab_pieces);
    w.pieces.starts = (ptrdiff_t *)at;
    at += (size_t)(x->slab_pieces + 1) * sizeof *w.pieces.starts;
    w.pieces.steps = (int32_t *)at;
    at += (size_t)x->slab_pieces * sizeof *w.pieces.steps;
    w.size = (size_t)(at - start);
    return w;
}

size_t fmt_matmul_scratch(const fmt_matmul_plan *p)
{
    const fmt_matmul_plan plan = turned(p);
    const approach x = approach_of(&plan);
    return lay_out_scratch(&plan, &x, nowhere).size + ALIGNMENT;
}

/* How the sums of a pair of panels may be scaled. */
static void choose_scaling(fmt_tile *t, const approach *x)
{
    const int least = t->a.range[0] + t->b.range[0], normal = -126, most = 127;
    const int a_over = t->a.range[1] + x->sum_bits - most;
    t->scaling = SCALING_DOUBLE;
    if (!x->single || t->a.range[0] < normal || t->b.range[0] < normal)
        return;
    const int over = t->b.range[1] + x->sum_bits > most
                     || t->a.range[1] + t->b.range[1] + x->sum_bits > most;
    const int n = a_over > 0 ? a_over : 0;
    if (least >= normal && !over)
        t->scaling = SCALING_EXACT;
    else if (least - n >= normal && t->a.range[0] - n >= normal)
        t->scaling = SCALING_OVERFLOW;
    t->down = ldexpf(1.0f, -n);
    t->up = ldexpf(1.0f, n);
}

/* A block of rows by a block of columns, for the pieces of a slab. */
static void multiply_blocks(const approach *x, fmt_tile *t, const packing *a, const packing *b,
                            ptrdiff_t rows, ptrdiff_t columns, float *c, ptrdiff_t row,
                            ptrdiff_t column)
{
    for (ptrdiff_t j = 0; j * b->width < columns; j++) {
        const ptrdiff_t width = smaller(b->width, columns - j * b->width);
        t->b = panel_of(b, j);
        for (ptrdiff_t i = 0; i * a->width < rows; i++) {
            t->a = panel_of(a, i);
            choose_scaling(t, x);
            fmt_active->integer_dot->dot_tile(
                t, c + i * a->width * row + j * b->width * column, row, column,
                smaller(a->width, rows - i * a->width), width);
        }
    }
}

/* Has a block of vectors at hand: packs it, or finds it in the kept packing. */
static void fetch(const fmt_matrix *m, int is_a, ptrdiff_t batch, ptrdiff_t first, ptrdiff_t count,
                  const fmt_pieces *pieces, ptrdiff_t step, ptrdiff_t piece, packing *to)
{
    if (m->packing) {
        to->first_panel = (m->first_packed + first) / to->width;
        to->first_step = step;
        to->first_piece = piece;
    } else {
        pack(m, is_a, batch, first, count, pieces, to);
    }
}

static fmt_tile tile_of(const fmt_matmul_plan *p, const approach *x, const fmt_pieces *pieces)
{
    return (fmt_tile){.kind = x->kind, .run = x->run, .offset_bits = p->a.mantissa,
                      .steps = pieces->steps};
}

/* A matrix of the batch; `row` and `column` are strides of c. */
static void multiply(const fmt_matmul_plan *p, const approach *x, workplace *w, ptrdiff_t batch, float *c,
                     ptrdiff_t row, ptrdiff_t column)
{
    const ptrdiff_t rows = p->a.count, columns = p->b.count;
    fmt_pieces *pieces = &w->pieces;
    fmt_tile tile = tile_of(p, x, pieces);
    for (ptrdiff_t j = 0; j < columns; j += x->block_columns) {
        const ptrdiff_t width = smaller(x->block_columns, columns - j);
        ptrdiff_t step = 0, piece = 0;
        for (ptrdiff_t k = 0; k < p->depth; k = pieces->starts[pieces->count]) {
            find_pieces(pieces, k, p->a.group, p->b.group, p->depth, x->layout, x->slab_pieces,
                        x->slab_steps);
            tile.pieces = pieces->count;
            tile.fresh = p->fresh && k == 0;
            fetch(&p->b, 0, batch, j, width, pieces, step, piece, &w->b);
            for (ptrdiff_t i = 0; i < rows; i += x->block_rows) {
                const ptrdiff_t height = smaller(x->block_rows, rows - i);
                fetch(&p->a, 1, batch, i, height, pieces, step, piece, &w->a);
                multiply_blocks(x, &tile, &w->a, &w->b, height, width, c + i * row + j * column, row,
                                column);
            }
            step += pieces->all_steps;
            piece += pieces->count;
        }
    }
}

/* All of a batch of pairs of vectors. */
static void multiply_pairs(const fmt_matmul_plan *p, const approach *x, workplace *w, float *c)
{
    const fmt_matrix a = unbatched(p->a, p->batch), b = unbatched(p->b, p->batch);
    fmt_pieces *pieces = &w->pieces;
    fmt_tile tile = tile_of(p, x, pieces);
    for (ptrdiff_t j = 0; j < p->batch; j += w->b.width) {
        const ptrdiff_t count = smaller(w->b.width, p->batch - j);
        for (ptrdiff_t k = 0; k < p->depth; k = pieces->starts[pieces->count]) {
            find_pieces(pieces, k, p->a.group, p->b.group, p->depth, x->layout, x->slab_pieces,
                        x->slab_steps);
            tile.pieces = pieces->count;
            pack(&a, 1, 0, j, count, pieces, &w->a);
            pack(&b, 0, 0, j, count, pieces, &w->b);
            tile.a = panel_of(&w->a, 0);
            tile.b = panel_of(&w->b, 0);
            choose_scaling(&tile, x);
            fmt_active->integer_dot->dot_paired(&tile, c + j, count);
        }
    }
}

void fmt_matmul(const fmt_matmul_plan *plan, float *c, void *scratch)
{
    const fmt_environment callers = fmt_enter();
    const fmt_matmul_plan p = turned(plan);
    const approach x = approach_of(&p);
    workplace w = lay_out_scratch(&p, &x, aligned(scratch));
    if (p.a.packing)
        lay_out_matrix(&w.a, aligned(p.a.packing), &p.a, 1, p.a.packed_count, p.depth, x.layout);
    if (p.b.packing)
        lay_out_matrix(&w.b, aligned(p.b.packing), &p.b, 0, p.b.packed_count, p.depth, x.layout);
    const ptrdiff_t row = plan->b.count;
    if (is_paired(&p)) {
        if (p.fresh)
            memset(c, 0, (size_t)p.batch * sizeof *c);
        multiply_pairs(&p, &x, &w, c);
    } else {
        for (ptrdiff_t i = 0; i < p.batch; i++)
            multiply(&p, &x, &w, i, c + i * plan->a.count * row, turns(plan) ? 1 : row,
                     turns(plan) ? row : 1);
    }
    fmt_leave(callers);
}
