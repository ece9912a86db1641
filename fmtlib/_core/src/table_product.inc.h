/* Matrix products whose mantissas are multiplied by a table.
 *
 * A float is a signed power of two (or 0, or NaN) and its mantissa's leading bits; a product is that
 * of the powers times the table's entry, exact unless it is subnormal.  Of a row of the right matrix
 * all that can become of it, one line for each mantissa of the left, is made when first asked for;
 * what is left is a multiplication and an addition per product, in the order of the reduction axis. */

typedef struct {
    uint8_t mantissa;
    float power;
} fmt_apart;

/* Subnormals are zero, infinity is NaN. */
static inline fmt_apart take_apart(float x, int mantissa_bits)
{
    const uint32_t bits = to_bits(x), exponent = bits & 0x7f800000;
    const uint32_t mantissa = bits >> (23 - mantissa_bits) & ((1u << mantissa_bits) - 1);
    uint32_t power = exponent == 0 ? 0 : bits & 0xff800000;
    power |= exponent == 0x7f800000 ? 1u << 22 : 0;
    return (fmt_apart){(uint8_t)mantissa, to_float(power)};
}

/* `width` columns of a tile, in a number of lanes that is known to the compiler. */
static inline void table_columns(const fmt_table_product *p, float *out, ptrdiff_t first,
                                 ptrdiff_t width, const int lanes)
{
    const ptrdiff_t depth = p->depth, columns = p->columns;
    const int bits = p->mantissa_bits;
    for (ptrdiff_t i = 0; i < p->rows; i++)
        memset(out + i * columns + first, 0, sizeof *out * (size_t)width);
    for (ptrdiff_t k = 0; k < depth; k += TABLE_STEP) {
        const ptrdiff_t steps = depth - k < TABLE_STEP ? depth - k : TABLE_STEP;
        uint8_t made[TABLE_STEP][TABLE_MANTISSAS] = {{0}}, b[TABLE_STEP][TABLE_COLUMNS] = {{0}};
        float powers[TABLE_STEP][TABLE_COLUMNS] = {{0}};
        for (ptrdiff_t s = 0; s < steps; s++) {
            for (ptrdiff_t j = 0; j < width; j++) {
                const fmt_apart y = take_apart(p->b[(k + s) * columns + first + j], bits);
                b[s][j] = y.mantissa;
                powers[s][j] = y.power;
            }
        }
        for (ptrdiff_t i = 0; i < p->rows; i++) {
            float sum[TABLE_COLUMNS] = {0};
            memcpy(sum, out + i * columns + first, sizeof *out * (size_t)width);
            for (ptrdiff_t s = 0; s < steps; s++) {
                const fmt_apart x = take_apart(p->a[i * depth + k + s], bits);
                float *restrict line
                    = p->lines + (s * TABLE_MANTISSAS + x.mantissa) * TABLE_COLUMNS;
                if (!made[s][x.mantissa]) {
                    const float *entries = p->factors + ((ptrdiff_t)x.mantissa << bits);
                    for (int j = 0; j < lanes; j++)
                        line[j] = entries[b[s][j]] * powers[s][j];
                    made[s][x.mantissa] = 1;
                }
                for (int j = 0; j < lanes; j++)
                    sum[j] += line[j] * x.power;
            }
            memcpy(out + i * columns + first, sum, sizeof *out * (size_t)width);
        }
    }
}

static void multiply_by_table(const fmt_table_product *p, float *out)
{
    for (ptrdiff_t first = 0; first < p->columns; first += TABLE_COLUMNS) {
        const ptrdiff_t left = p->columns - first;
        if (left >= TABLE_COLUMNS)
            table_columns(p, out, first, TABLE_COLUMNS, TABLE_COLUMNS);
        else if (left > TABLE_COLUMNS / 2)
            table_columns(p, out, first, left, TABLE_COLUMNS);
        else
            table_columns(p, out, first, left, TABLE_COLUMNS / 2);
    }
}
