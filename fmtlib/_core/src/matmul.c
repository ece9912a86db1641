/* The product of block-coded matrices with an fMAC's accumulator.
 *
 * 1. The depth is taken a slab of whole groups at a time, the columns a panel at a time; the codes
 *    of that part of b are unpacked to signed integers, held as float, in tiles of TILE_COLUMNS.
 * 2. Rows are taken TILE_ROWS at a time and unpacked likewise.
 * 3. Each pair of tiles goes group by group through dot_group: the exact integer sum of a group,
 *    scaled and rounded to float32 once, is added to the float32 total, which c holds between slabs.
 *    So the order of additions is that of the groups, whatever the tiling.
 */
#include <math.h>
#include <string.h>

#include "environment.h"
#include "kernels.h"

enum { MOST_COLUMNS = 8 * TILE_COLUMNS, SLAB = 1024 };

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Columns of a panel: no more than there are, in whole tiles. */
static ptrdiff_t panel_columns(const fmt_matmul_plan *p)
{
    return smaller(MOST_COLUMNS, (p->columns + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS);
}

/* Groups of a slab: about SLAB elements deep, at least one group. */
static ptrdiff_t slab_groups(const fmt_matmul_plan *p)
{
    const ptrdiff_t groups = p->group < SLAB ? SLAB / p->group : 1;
    return smaller(groups, (p->depth + p->group - 1) / p->group);
}

static ptrdiff_t slab_depth(const fmt_matmul_plan *p)
{
    return smaller(slab_groups(p) * p->group, p->depth);
}

size_t fmt_matmul_scratch(const fmt_matmul_plan *p)
{
    const size_t columns = (size_t)(panel_columns(p) + TILE_ROWS);
    return columns * (sizeof(double) * (size_t)slab_groups(p) + sizeof(float) * (size_t)slab_depth(p));
}

static float signed_integer(const void *codes, int type, ptrdiff_t index, int mantissa)
{
    const int code = type == TYPE_INT1 ? ((const uint8_t *)codes)[index]
                                       : ((const uint16_t *)codes)[index];
    const int magnitude = code & ((1 << mantissa) - 1);
    return (float)(code >> mantissa & 1 ? -magnitude : magnitude);
}

static double scale_value(uint8_t code, int bias, int nan, int mantissa)
{
    return code >= nan ? (double)NAN : ldexp(1.0, code - bias + 1 - mantissa);
}

/* Rows k0 ... k0 + depth - 1 of a panel of b, in tiles; what is missing of the last tile is 0. */
static void unpack_b(const fmt_matmul_plan *p, const void *b, const uint8_t *scales, ptrdiff_t k0,
                     ptrdiff_t depth, ptrdiff_t j0, ptrdiff_t width, float *tiles, double *tile_scales)
{
    const ptrdiff_t groups = (depth + p->group - 1) / p->group, first = k0 / p->group;
    const ptrdiff_t padded = (width + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
    memset(tiles, 0, sizeof *tiles * (size_t)(depth * padded));
    memset(tile_scales, 0, sizeof *tile_scales * (size_t)(groups * padded));
    for (ptrdiff_t k = 0; k < depth; k++)
        for (ptrdiff_t j = 0; j < width; j++)
            tiles[(j / TILE_COLUMNS * depth + k) * TILE_COLUMNS + j % TILE_COLUMNS]
                = signed_integer(b, p->b_type, (k0 + k) * p->columns + j0 + j, p->b_mantissa);
    for (ptrdiff_t g = 0; g < groups; g++)
        for (ptrdiff_t j = 0; j < width; j++)
            tile_scales[(j / TILE_COLUMNS * groups + g) * TILE_COLUMNS + j % TILE_COLUMNS]
                = scale_value(scales[(first + g) * p->columns + j0 + j], p->b_bias, p->b_nan,
                              p->b_mantissa);
}

/* The same columns of TILE_ROWS rows of a, as one tile. */
static void unpack_a(const fmt_matmul_plan *p, const void *a, const uint8_t *scales, ptrdiff_t k0,
                     ptrdiff_t depth, ptrdiff_t i0, ptrdiff_t height, float *tile, double *tile_scales)
{
    const ptrdiff_t groups = (depth + p->group - 1) / p->group, first = k0 / p->group;
    const ptrdiff_t all_groups = (p->depth + p->group - 1) / p->group;
    memset(tile, 0, sizeof *tile * (size_t)(depth * TILE_ROWS));
    memset(tile_scales, 0, sizeof *tile_scales * (size_t)(groups * TILE_ROWS));
    for (ptrdiff_t i = 0; i < height; i++) {
        for (ptrdiff_t k = 0; k < depth; k++)
            tile[k * TILE_ROWS + i]
                = signed_integer(a, p->a_type, (i0 + i) * p->depth + k0 + k, p->a_mantissa);
        for (ptrdiff_t g = 0; g < groups; g++)
            tile_scales[g * TILE_ROWS + i]
                = scale_value(scales[(i0 + i) * all_groups + first + g], p->a_bias, p->a_nan,
                              p->a_mantissa);
    }
}

void fmt_matmul(const fmt_matmul_plan *p, const void *a, const uint8_t *a_scales, const void *b,
                const uint8_t *b_scales, float *c, void *scratch)
{
    const fmt_environment callers = fmt_enter();
    const ptrdiff_t panel = panel_columns(p), slab = slab_depth(p), slab_count = slab_groups(p);
    double *b_scale = scratch, *a_scale = b_scale + slab_count * panel;
    float *b_tiles = (float *)(a_scale + slab_count * TILE_ROWS), *a_tile = b_tiles + slab * panel;
    /* how many products of the greatest magnitudes stay below 2**24 */
    const ptrdiff_t product
        = (((ptrdiff_t)1 << p->a_mantissa) - 1) * (((ptrdiff_t)1 << p->b_mantissa) - 1);
    const ptrdiff_t run = ((ptrdiff_t)1 << 24) / product;
    for (ptrdiff_t j0 = 0; j0 < p->columns; j0 += panel) {
        const ptrdiff_t width = smaller(panel, p->columns - j0);
        for (ptrdiff_t k0 = 0; k0 < p->depth; k0 += slab) {
            const ptrdiff_t depth = smaller(slab, p->depth - k0);
            const ptrdiff_t groups = (depth + p->group - 1) / p->group;
            unpack_b(p, b, b_scales, k0, depth, j0, width, b_tiles, b_scale);
            for (ptrdiff_t i0 = 0; i0 < p->rows; i0 += TILE_ROWS) {
                const ptrdiff_t height = smaller(TILE_ROWS, p->rows - i0);
                unpack_a(p, a, a_scales, k0, depth, i0, height, a_tile, a_scale);
                for (ptrdiff_t j = 0; j < width; j += TILE_COLUMNS) {
                    const ptrdiff_t columns = smaller(TILE_COLUMNS, width - j);
                    const float *b_tile = b_tiles + j * depth;
                    const double *b_tile_scale = b_scale + j * groups;
                    float totals[TILE_ROWS][TILE_COLUMNS] = {{0}};
                    float *to = c + i0 * p->columns + j0 + j;
                    for (ptrdiff_t i = 0; i < height; i++)
                        memcpy(totals[i], to + i * p->columns, sizeof(float) * (size_t)columns);
                    for (ptrdiff_t g = 0; g < groups; g++) {
                        const ptrdiff_t k = g * p->group;
                        fmt_active->dot_group(a_tile + k * TILE_ROWS, a_scale + g * TILE_ROWS,
                                              b_tile + k * TILE_COLUMNS,
                                              b_tile_scale + g * TILE_COLUMNS,
                                              smaller(p->group, depth - k), run, totals[0]);
                    }
                    for (ptrdiff_t i = 0; i < height; i++)
                        memcpy(to + i * p->columns, totals[i], sizeof(float) * (size_t)columns);
                }
            }
        }
    }
    fmt_leave(callers);
}
