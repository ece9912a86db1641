/* Matrix products whose mantissas are multiplied by a table.
 *
 * An element is a signed power of two (or 0, or NaN) and the index of a mantissa; a product is that of
 * the powers times the table's entry, exact unless it is subnormal.  Of a row of the right matrix all
 * that can become of it, one line for each mantissa of the left, is made when first asked for; what
 * is left is a multiplication and an addition per product, in the order of the reduction axis. */

static void multiply_by_table(const fmt_table_product *p, float *out)
{
    const ptrdiff_t depth = p->depth, columns = p->columns;
    const size_t line = (size_t)1 << p->mantissa_bits;
    for (ptrdiff_t first = 0; first < columns; first += TABLE_COLUMNS) {
        const ptrdiff_t width
            = columns - first < TABLE_COLUMNS ? columns - first : TABLE_COLUMNS;
        for (ptrdiff_t i = 0; i < p->rows; i++)
            memset(out + i * columns + first, 0, sizeof *out * (size_t)width);
        for (ptrdiff_t k = 0; k < depth; k += TABLE_STEP) {
            const ptrdiff_t steps = depth - k < TABLE_STEP ? depth - k : TABLE_STEP;
            uint8_t made[TABLE_STEP][TABLE_MANTISSAS] = {{0}}, b[TABLE_STEP][TABLE_COLUMNS] = {{0}};
            float powers[TABLE_STEP][TABLE_COLUMNS] = {{0}};
            for (ptrdiff_t s = 0; s < steps; s++) {
                const ptrdiff_t at = (k + s) * columns + first;
                memcpy(b[s], p->b + at, (size_t)width);
                memcpy(powers[s], p->b_powers + at, sizeof *out * (size_t)width);
            }
            for (ptrdiff_t i = 0; i < p->rows; i++) {
                float sum[TABLE_COLUMNS] = {0};
                memcpy(sum, out + i * columns + first, sizeof *out * (size_t)width);
                for (ptrdiff_t s = 0; s < steps; s++) {
                    const uint8_t v = p->a[i * depth + k + s];
                    const float power = p->a_powers[i * depth + k + s];
                    float *restrict made_of = p->lines + (s * TABLE_MANTISSAS + v) * TABLE_COLUMNS;
                    if (!made[s][v]) {
                        const float *entries = p->factors + v * line;
                        for (int j = 0; j < TABLE_COLUMNS; j++)
                            made_of[j] = entries[b[s][j]] * powers[s][j];
                        made[s][v] = 1;
                    }
                    for (int j = 0; j < TABLE_COLUMNS; j++)
                        sum[j] += made_of[j] * power;
                }
                memcpy(out + i * columns + first, sum, sizeof *out * (size_t)width);
            }
        }
    }
}
