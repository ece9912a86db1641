/* Groups that share a width.
 *
 * An array is seen as (outer, rows, middle, columns, inner), C-contiguous, with groups of
 * tile_rows x tile_columns, as block formats see it (blocks.c).  If inner is 1 the parts of a group
 * are runs, and many groups side by side are worked on at once; else they are columns. */
#include <string.h>

#include "kernels.h"
#include "stream.h"

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static ptrdiff_t parts(ptrdiff_t length, ptrdiff_t size)
{
    return length / size + (length % size != 0);
}

/* n groups (or columns) side by side.  Each is made of depth x depth_columns parts, `row` and
 * `column` elements apart, of `length` elements (1 of columns). */
typedef struct {
    ptrdiff_t n, length, depth, row, depth_columns, column;
    int is_long; /* of an array that is, see stream.h, and read in order */
} region;

/* ORs of the values of the region, or of what counts of them. */
static void or_region(const fmt_width_plan *p, const uint8_t *x, const region *r, int runs,
                      int what, int magnitudes, void *all)
{
    const fmt_width_kernels *k = &fmt_active->widths[p->size == 4 ? 2 : p->size - 1];
    uint64_t scratch[WIDTH_BYTES / 8];
    const ptrdiff_t most = WIDTH_BYTES / p->size;
    memset(all, 0, (size_t)(r->n * p->size));
    for (ptrdiff_t i = 0; i < r->depth; i++) {
        for (ptrdiff_t j = 0; j < r->depth_columns; j++) {
            const uint8_t *part = x + (i * r->row + j * r->column) * p->size;
            const ptrdiff_t elements = r->n * r->length;
            for (ptrdiff_t done = 0, count; done < elements; done += count) {
                /* a part longer than `most` is of one group */
                count = smaller(most, elements - done);
                const void *values = part + done * p->size;
                if (r->is_long)
                    fmt_ask_ahead(values, count * p->size);
                if (magnitudes) {
                    k->magnitudes(values, scratch, count);
                    values = scratch;
                }
                if (runs)
                    k->or_runs(values, all, r->n, count / r->n, what);
                else
                    k->or_rows(values, all, count, what);
            }
        }
    }
}

static void write_widths(const fmt_width_plan *p, const uint8_t *x, const region *r, int runs,
                         uint8_t *high, uint8_t *low)
{
    const fmt_width_kernels *k = &fmt_active->widths[p->size == 4 ? 2 : p->size - 1];
    const int what = p->encoding != WIDTH_TWOS_COMPLEMENT ? OR_VALUES : low ? OR_ENDS : OR_SIGNED;
    uint32_t all[WIDTH_GROUPS];
    or_region(p, x, r, runs, what, p->encoding == WIDTH_SIGN_MAGNITUDE, all);
    k->bit_lengths(all, high, r->n, what, p->encoding != WIDTH_UNSIGNED, 1);
    if (low)
        k->lowest_bits(all, low, r->n);
}

void fmt_group_bits(const fmt_width_plan *plan, const void *x, uint8_t *high, uint8_t *low)
{
    fmt_width_plan p = *plan;
    if (p.rows * p.middle * p.inner == 1 && p.columns % p.tile_columns == 0) {
        p.columns *= p.outer; /* no group is cut: one long row */
        p.outer = 1;
    }
    const int runs = p.inner == 1;
    const ptrdiff_t groups = parts(p.columns, p.tile_columns), whole = p.columns / p.tile_columns;
    ptrdiff_t most = WIDTH_BYTES / p.size / p.tile_columns; /* groups at once */
    most = smaller(most > 1 ? most : 1, WIDTH_GROUPS);
    const ptrdiff_t column = p.inner, row = p.middle * p.columns * p.inner;
    const int is_long = p.outer * row * p.rows * p.size > FMT_LONG && p.tile_rows == 1 && runs;
    ptrdiff_t to = 0;
    for (ptrdiff_t o = 0; o < p.outer; o++) {
        for (ptrdiff_t i = 0; i < p.rows; i += p.tile_rows) {
            for (ptrdiff_t m = 0; m < p.middle; m++) {
                for (ptrdiff_t g = 0, n; g < groups; g += n) {
                    const ptrdiff_t first = g * p.tile_columns;
                    const ptrdiff_t width = smaller(p.tile_columns, p.columns - first);
                    n = runs && g < whole ? smaller(most, whole - g) : 1;
                    const uint8_t *from = (const uint8_t *)x
                        + (((o * p.rows + i) * p.middle + m) * p.columns + first) * p.inner * p.size;
                    region r = {n, width, smaller(p.tile_rows, p.rows - i), row, 1, 0, is_long};
                    if (runs)
                        write_widths(&p, from, &r, 1, high + to, low ? low + to : NULL);
                    for (ptrdiff_t j = 0; !runs && j < p.inner; j += WIDTH_GROUPS) {
                        r.n = smaller(WIDTH_GROUPS, p.inner - j);
                        r.length = 1;
                        r.depth_columns = width;
                        r.column = column;
                        write_widths(&p, from + j * p.size, &r, 0, high + to + j,
                                     low ? low + to + j : NULL);
                    }
                    to += n * p.inner;
                }
            }
        }
    }
}
