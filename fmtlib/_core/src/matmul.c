/* The product of block-coded matrices with an fMAC's accumulator.
 *
 * 1. Columns are taken PANEL at a time; the codes of that panel of b are unpacked to signed
 *    integers, held as float, in tiles of TILE_COLUMNS.
 * 2. Rows are taken TILE_ROWS at a time and unpacked likewise.
 * 3. Each pair of tiles goes group by group through dot_group: the exact integer sum of a group,
 *    scaled and rounded to float32 once, is added to the float32 total.  So the order of additions
 *    is that of the groups, whatever the tiling.
 */
#include <math.h>
#include <string.h>

#include "kernels.h"

enum { PANEL = 8 * TILE_COLUMNS };

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static ptrdiff_t group_count(const fmt_matmul_plan *p) { return (p->depth + p->group - 1) / p->group; }

size_t fmt_matmul_scratch(const fmt_matmul_plan *p)
{
    return sizeof(double) * (size_t)group_count(p) * (PANEL + TILE_ROWS)
           + sizeof(float) * (size_t)p->depth * (PANEL + TILE_ROWS);
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

void fmt_matmul(const fmt_matmul_plan *p, const void *a, const uint8_t *a_scales, const void *b,
                const uint8_t *b_scales, float *c, void *scratch)
{
    const ptrdiff_t groups = group_count(p);
    double *b_scale = scratch, *a_scale = b_scale + groups * PANEL;
    float *b_tiles = (float *)(a_scale + groups * TILE_ROWS), *a_tile = b_tiles + p->depth * PANEL;
    /* how many products of the greatest magnitudes stay below 2**24 */
    const ptrdiff_t product = (((ptrdiff_t)1 << p->a_mantissa) - 1) * (((ptrdiff_t)1 << p->b_mantissa) - 1);
    const ptrdiff_t run = ((ptrdiff_t)1 << 24) / product;
    for (ptrdiff_t j0 = 0; j0 < p->columns; j0 += PANEL) {
        const ptrdiff_t width = smaller(PANEL, p->columns - j0);
        memset(b_tiles, 0, sizeof(float) * (size_t)(p->depth * PANEL));
        memset(b_scale, 0, sizeof(double) * (size_t)(groups * PANEL));
        for (ptrdiff_t k = 0; k < p->depth; k++)
            for (ptrdiff_t j = 0; j < width; j++)
                b_tiles[(j / TILE_COLUMNS * p->depth + k) * TILE_COLUMNS + j % TILE_COLUMNS]
                    = signed_integer(b, p->b_type, k * p->columns + j0 + j, p->b_mantissa);
        for (ptrdiff_t g = 0; g < groups; g++)
            for (ptrdiff_t j = 0; j < width; j++)
                b_scale[(j / TILE_COLUMNS * groups + g) * TILE_COLUMNS + j % TILE_COLUMNS]
                    = scale_value(b_scales[g * p->columns + j0 + j], p->b_bias, p->b_nan, p->b_mantissa);
        for (ptrdiff_t i0 = 0; i0 < p->rows; i0 += TILE_ROWS) {
            const ptrdiff_t height = smaller(TILE_ROWS, p->rows - i0);
            memset(a_tile, 0, sizeof(float) * (size_t)(p->depth * TILE_ROWS));
            memset(a_scale, 0, sizeof(double) * (size_t)(groups * TILE_ROWS));
            for (ptrdiff_t i = 0; i < height; i++) {
                for (ptrdiff_t k = 0; k < p->depth; k++)
                    a_tile[k * TILE_ROWS + i]
                        = signed_integer(a, p->a_type, (i0 + i) * p->depth + k, p->a_mantissa);
                for (ptrdiff_t g = 0; g < groups; g++)
                    a_scale[g * TILE_ROWS + i]
                        = scale_value(a_scales[(i0 + i) * groups + g], p->a_bias, p->a_nan, p->a_mantissa);
            }
            for (ptrdiff_t j = 0; j < width; j += TILE_COLUMNS) {
                const ptrdiff_t columns = smaller(TILE_COLUMNS, width - j);
                float totals[TILE_ROWS][TILE_COLUMNS] = {{0}};
                float *to = c + i0 * p->columns + j0 + j;
                for (ptrdiff_t i = 0; i < height; i++)
                    memcpy(totals[i], to + i * p->columns, sizeof(float) * (size_t)columns);
                for (ptrdiff_t g = 0; g < groups; g++) {
                    const ptrdiff_t k = g * p->group;
                    fmt_active->dot_group(a_tile + k * TILE_ROWS, a_scale + g * TILE_ROWS,
                                          b_tiles + (j / TILE_COLUMNS * p->depth + k) * TILE_COLUMNS,
                                          b_scale + (j / TILE_COLUMNS * groups + g) * TILE_COLUMNS,
                                          smaller(p->group, p->depth - k), run, totals[0]);
                }
                for (ptrdiff_t i = 0; i < height; i++)
                    memcpy(to + i * p->columns, totals[i], sizeof(float) * (size_t)columns);
            }
        }
    }
}
