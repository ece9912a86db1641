/* Tiles of products with any accumulator (accumulate.c): ROWS rows against TILE_COLUMNS columns.
 *
 * b is [depth][TILE_COLUMNS] and a [depth][TILE_ROWS], each of its numbers multiplying a row of b;
 * or (paired) there is one row, whose every column has its own: a is [depth][TILE_COLUMNS].
 * GNU vectors keep a tile's totals in registers, which compilers do not find by themselves. */
#pragma GCC diagnostic ignored "-Wpsabi" /* all inlined: there is no call whose ABI could change */

/* a row of a tile has no more */
#define SHORT_BYTES (VECTOR_BYTES < 2 * TILE_COLUMNS ? VECTOR_BYTES : 2 * TILE_COLUMNS)
#define VECTOR(TYPE, NAME, BYTES)                                                                  \
    typedef TYPE NAME __attribute__((vector_size(BYTES)));                                         \
    typedef TYPE NAME##_at __attribute__((vector_size(BYTES), aligned(sizeof(TYPE)), may_alias))
VECTOR(float, vfloat, VECTOR_BYTES);
VECTOR(int32_t, vint, VECTOR_BYTES);
VECTOR(int16_t, vshort, SHORT_BYTES);
VECTOR(double, vdouble, VECTOR_BYTES);
VECTOR(int64_t, vlong, VECTOR_BYTES);
/* as many elements as in the next wider type */
VECTOR(float, half_float, VECTOR_BYTES / 2);
VECTOR(int32_t, half_int, VECTOR_BYTES / 2);
VECTOR(int16_t, half_short, VECTOR_BYTES / 2);
#undef VECTOR
#define LOAD(TYPE, X) (*(const TYPE##_at *)(X))
#define STORE(TYPE, X, VALUE) (*(TYPE##_at *)(X) = (VALUE))
#define CONVERT __builtin_convertvector
#define TILE_INLINE static inline __attribute__((always_inline))

enum {
    FLOATS = VECTOR_BYTES / 4,
    SHORTS = SHORT_BYTES / 2,
    DOUBLES = VECTOR_BYTES / 8,
    FLOATS_AT_ONCE = 2 * FLOATS < TILE_COLUMNS ? 2 * FLOATS : TILE_COLUMNS,
    NEVER_AN_EXPONENT = -(1 << 14)
};

TILE_INLINE vint select_int(vint mask, vint x, vint y) { return (x & mask) | (y & ~mask); }
TILE_INLINE vint greater_int(vint x, vint y) { return select_int(x > y, x, y); }
TILE_INLINE vint abs_bits(vfloat x) { return (vint)x & INT32_MAX; }

/* 2**exponent; exponents are those of normal numbers. */
TILE_INLINE vfloat power_of_two(vint exponent) { return (vfloat)((exponent + 127) << 23); }

/* What multiplies vector v of a row of b: its own part of a, or one number of row i; less zero,
 * which is that number in each element. */
#define FACTOR(TYPE, A, K)                                                                         \
    (paired ? (TYPE)LOAD(TYPE, (A) + (K) * TILE_COLUMNS + v)                                       \
            : (TYPE)((A)[(K) * TILE_ROWS + i] - (TYPE){0}))

/* totals[i][j] += a[k][i] * b[k][j], each operation rounded. */
#define DOT(NAME, ELEMENT, TYPE, LANES_OF, WIDTH)                                                  \
    TILE_INLINE void NAME##_of(const ELEMENT *restrict a, const ELEMENT *restrict b, ptrdiff_t n,  \
                               ELEMENT *restrict totals, const int rows, const int paired)         \
    {                                                                                              \
        for (int first = 0; first < TILE_COLUMNS; first += WIDTH) {                                \
            TYPE tile[TILE_ROWS][WIDTH / LANES_OF];                                                \
            for (int i = 0; i < rows; i++)                                                         \
                for (int v = 0; v < WIDTH; v += LANES_OF)                                          \
                    tile[i][v / LANES_OF] = LOAD(TYPE, totals + i * TILE_COLUMNS + first + v);     \
            for (ptrdiff_t k = 0; k < n; k++)                                                      \
                for (int i = 0; i < rows; i++)                                                     \
                    for (int v = first; v < first + WIDTH; v += LANES_OF)                          \
                        tile[i][(v - first) / LANES_OF]                                            \
                            += FACTOR(TYPE, a, k) * LOAD(TYPE, b + k * TILE_COLUMNS + v);          \
            for (int i = 0; i < rows; i++)                                                         \
                for (int v = 0; v < WIDTH; v += LANES_OF)                                          \
                    STORE(TYPE, totals + i * TILE_COLUMNS + first + v, tile[i][v / LANES_OF]);     \
        }                                                                                          \
    }                                                                                              \
    static void NAME(const ELEMENT *restrict a, const ELEMENT *restrict b, ptrdiff_t n,            \
                     ELEMENT *restrict totals, int paired)                                         \
    {                                                                                              \
        if (paired)                                                                                \
            NAME##_of(a, b, n, totals, 1, 1);                                                      \
        else                                                                                       \
            NAME##_of(a, b, n, totals, TILE_ROWS, 0);                                              \
    }

DOT(dot_floats, float, vfloat, FLOATS, FLOATS_AT_ONCE)
DOT(dot_doubles, double, vdouble, DOUBLES, 2 * DOUBLES)
#undef DOT

/* The greatest exponent of each cell's products. */
TILE_INLINE void find_tops(const int16_t *restrict a, const int16_t *restrict b, ptrdiff_t n,
                           int16_t tops[TILE_ROWS][TILE_COLUMNS], const int rows, const int paired)
{
    for (int v = 0; v < TILE_COLUMNS; v += SHORTS) {
        vshort top[TILE_ROWS];
        for (int i = 0; i < rows; i++)
            top[i] = (vshort){0} + INT16_MIN;
        for (ptrdiff_t k = 0; k < n; k++)
            for (int i = 0; i < rows; i++) {
                const vshort e = FACTOR(vshort, a, k) + LOAD(vshort, b + k * TILE_COLUMNS + v);
                const vshort more = e > top[i];
                top[i] = (e & more) | (top[i] & ~more);
            }
        for (int i = 0; i < rows; i++)
            STORE(vshort, tops[i] + v, top[i]);
    }
}

/* The products of n terms in units of 2**unit, truncated and added up. */
TILE_INLINE void sum_terms(const fmt_aligned *restrict p, ptrdiff_t k0, ptrdiff_t n, int v,
                           const vint unit[TILE_ROWS], vint sums[TILE_ROWS], const int rows,
                           const int paired, const int wide)
{
    vfloat scale[TILE_ROWS];
    for (int i = 0; i < rows; i++) {
        sums[i] = (vint){0};
        scale[i] = power_of_two((vint){0} - unit[i]);
    }
    for (ptrdiff_t k = k0; k < k0 + n; k++)
        for (int i = 0; i < rows; i++) {
            vfloat term = LOAD(vfloat, p->b + k * TILE_COLUMNS + v) * FACTOR(vfloat, p->a, k);
            if (wide) {
                const vint e = LOAD(vint, p->b_wide + k * TILE_COLUMNS + v)
                               + FACTOR(vint, p->a_wide, k) - unit[i];
                term = (vfloat)((vint)term + (greater_int(e, (vint){0} - 60) << 23));
            } else
                term *= scale[i];
            sums[i] += CONVERT(term, vint);
        }
}

/* x + y, truncated to 24 bits. */
TILE_INLINE vfloat truncated_sum(vint x, vint y)
{
    /* x + y = 4 high + low, then its magnitude: it may have 33 bits */
    vint low = (x & 3) + (y & 3);
    vint high = (x >> 2) + (y >> 2) + (low >> 2);
    low &= 3;
    const vint minus = high < 0;
    high = select_int(minus, (low != 0) - high, high);
    low = select_int(minus, (4 - low) & 3, low);
    const vint large = high >= 1 << 23;
    const vint magnitude = select_int(large, high, 4 * high + low);
    /* to float and, where that went up, back by one */
    const vfloat nearest = CONVERT(magnitude, vfloat);
    const vint word = (vint)nearest + (CONVERT(nearest, vint) > magnitude);
    return (vfloat)((word + (large & 2 << 23)) | (minus & INT32_MIN));
}

/* x + y is the result plus *rest, exactly (Knuth). */
TILE_INLINE vdouble add_exactly(vdouble x, vdouble y, vdouble *rest)
{
    const vdouble near = x + y, back = near - x;
    *rest = (x - (near - back)) + (y - back);
    return near;
}

/* near + rest, of which near is the nearest number, rounded to odd: a further rounding to fewer
 * bits is then the only one. */
TILE_INLINE vdouble nearest_to_odd(vdouble near, vdouble rest)
{
    const vlong inexact = rest != 0, away = (rest < 0) == (near < 0);
    return (vdouble)(((vlong)near + (inexact & ~away)) | (inexact & 1));
}

/* The sums of exact products as a number and what that lacks, which lacks nothing itself unless the
 * terms span more bits than the two have. */
TILE_INLINE int sum_twofold(const double *restrict a, const double *restrict b, ptrdiff_t n,
                            double *restrict sums, const int rows, const int paired)
{
    vlong lost = {0};
    for (int v = 0; v < TILE_COLUMNS; v += DOUBLES) {
        vdouble high[TILE_ROWS], low[TILE_ROWS];
        for (int i = 0; i < rows; i++)
            high[i] = low[i] = (vdouble){0};
        for (ptrdiff_t k = 0; k < n; k++)
            for (int i = 0; i < rows; i++) {
                const vdouble factor = LOAD(vdouble, b + k * TILE_COLUMNS + v);
                const vdouble term = FACTOR(vdouble, a, k) * factor;
                vdouble rest, more;
                high[i] = add_exactly(high[i], term, &rest);
                low[i] = add_exactly(low[i], rest, &more);
                lost |= more != 0;
            }
        for (int i = 0; i < rows; i++) {
            STORE(vdouble, sums + i * TILE_COLUMNS + v, high[i]);
            STORE(vdouble, sums + (TILE_ROWS + i) * TILE_COLUMNS + v, low[i]);
        }
    }
    int any = 0;
    for (int j = 0; j < DOUBLES; j++)
        any |= lost[j] != 0;
    return any;
}

static int dot_twofold(const double *a, const double *b, ptrdiff_t n, double *sums, int paired)
{
    return paired ? sum_twofold(a, b, n, sums, 1, 1) : sum_twofold(a, b, n, sums, TILE_ROWS, 0);
}

TILE_INLINE vdouble add_to_odd(vdouble x, vdouble y)
{
    vdouble rest;
    const vdouble near = add_exactly(x, y, &rest);
    return nearest_to_odd(near, rest);
}

/* totals += (x + y) * 2**unit, in one rounding to nearest, ties to even. */
TILE_INLINE void add_late(float *totals, vint x, vint y, vint unit)
{
    int32_t xs[FLOATS], ys[FLOATS], units[FLOATS];
    STORE(vint, xs, x);
    STORE(vint, ys, y);
    STORE(vint, units, unit);
    for (int v = 0; v < FLOATS; v += DOUBLES) {
        const vlong field = CONVERT(LOAD(half_int, units + v), vlong) + 1023;
        const vdouble sum = CONVERT(LOAD(half_int, xs + v), vdouble)
                            + CONVERT(LOAD(half_int, ys + v), vdouble);
        const vdouble total = CONVERT(LOAD(half_float, totals + v), vdouble);
        const vdouble to = add_to_odd(sum * (vdouble)(field << 52), total);
        STORE(half_float, totals + v, CONVERT(to, half_float));
    }
}

TILE_INLINE int aligned_steps(const fmt_aligned *restrict p, ptrdiff_t depth,
                              float *restrict totals, const int rows, const int paired,
                              const int wide, const int late, const int small)
{
    const ptrdiff_t a_width = paired ? TILE_COLUMNS : TILE_ROWS;
    const vint kept = (vint){0} + (int32_t)(0xffffffffu << (23 - p->mantissa_bits));
    vint out = {0};
    for (ptrdiff_t k = 0; k < depth; k += p->terms) {
        const ptrdiff_t n = depth - k < p->terms ? depth - k : p->terms;
        const ptrdiff_t half = small ? n : (n + 1) / 2;
        int16_t tops[TILE_ROWS][TILE_COLUMNS];
        find_tops(p->a_exponents + k * a_width, p->b_exponents + k * TILE_COLUMNS, n, tops, rows,
                  paired);
        for (int v = 0; v < TILE_COLUMNS; v += FLOATS) {
            vint unit[TILE_ROWS], sums[TILE_ROWS], rest[TILE_ROWS];
            for (int i = 0; i < rows; i++) {
                const vint word = LOAD(vint, totals + i * TILE_COLUMNS + v);
                vint top = CONVERT(LOAD(half_short, tops[i] + v), vint);
                if (!late) { /* narrow products' exponents are above a zero's */
                    const vint none = wide || p->checked ? word << 1 == 0 : (vint){0};
                    top = greater_int(top, (word >> 23 & 255) - 127 + (none & NEVER_AN_EXPONENT));
                }
                if (!wide && p->checked)
                    out |= (top > 120) | ((top < -96) & (top > NEVER_AN_EXPONENT / 4));
                unit[i] = greater_int(top, (vint){0} - (wide ? 600 : 98)) - p->bits;
                rest[i] = (vint){0};
            }
            sum_terms(p, k, half, v, unit, sums, rows, paired, wide);
            if (!small)
                sum_terms(p, k + half, n - half, v, unit, rest, rows, paired, wide);
            for (int i = 0; i < rows; i++) {
                float *to = totals + i * TILE_COLUMNS + v;
                const vfloat start = LOAD(vfloat, to);
                if (late) {
                    add_late(to, sums[i], rest[i], unit[i]);
                    out |= abs_bits(LOAD(vfloat, to)) >= 255 << 23;
                    continue;
                }
                vfloat term;
                if (wide) {
                    const vint some = abs_bits(start) != 0, e = (abs_bits(start) >> 23) - 127;
                    const vint significand = ((vint)start & (INT32_MIN | 0x7fffff)) | 127 << 23;
                    term = (vfloat)(some & significand)
                           * power_of_two(greater_int(e - unit[i], (vint){0} - 60));
                } else
                    term = start * power_of_two((vint){0} - unit[i]);
                sums[i] += CONVERT(term, vint);
                const vfloat sum
                    = small ? CONVERT(sums[i], vfloat) : truncated_sum(sums[i], rest[i]);
                const vint word = (vint)sum & kept;
                vfloat total;
                if (wide) {
                    const vint e = (abs_bits(sum) >> 23) + unit[i], some = abs_bits(sum) != 0;
                    out |= some & ((e > 254) | (e < 1));
                    total = (vfloat)(some & (word + (unit[i] << 23)));
                } else {
                    total = (vfloat)word * power_of_two(unit[i]);
                    out |= abs_bits(total) >= 255 << 23;
                }
                STORE(vfloat, to, total);
            }
        }
    }
    int any = 0;
    for (int j = 0; j < FLOATS; j++)
        any |= out[j];
    return any != 0;
}

/* Steps of a tensor core: the total is one of the aligned terms, or is added late.  Returns whether
 * a total may have left the range of normal float32 numbers, or if checked the terms of a step. */
static int dot_aligned(const fmt_aligned *p, ptrdiff_t depth, float *totals)
{
#define STEPS(WIDE, LATE, SMALL)                                                                   \
    (p->paired ? aligned_steps(p, depth, totals, 1, 1, WIDE, LATE, SMALL)                          \
               : aligned_steps(p, depth, totals, TILE_ROWS, 0, WIDE, LATE, SMALL))
    if (p->late)
        return p->a_wide ? STEPS(1, 1, 0) : STEPS(0, 1, 0);
    if (p->a_wide)
        return STEPS(1, 0, 0);
    return p->small ? STEPS(0, 0, 1) : STEPS(0, 0, 0);
#undef STEPS
}

/* totals += float32(sums * scales): exact products, one rounding, one addition. */
TILE_INLINE void add_groups_of(const fmt_groups *restrict p, float *restrict totals, const int rows,
                               const int paired)
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < TILE_COLUMNS; v += DOUBLES) {
            const int at = i * TILE_COLUMNS + v;
            const double *sums = p->sums + at;
            vdouble sum = p->few ? CONVERT(LOAD(half_float, p->few + at), vdouble)
                                 : (vdouble)LOAD(vdouble, sums);
            if (p->count > 1) {
                const vdouble second = LOAD(vdouble, sums + TILE_ROWS * TILE_COLUMNS) * p->step;
                if (p->count > 2) {
                    vdouble rest, last, first = sum;
                    sum = LOAD(vdouble, sums + 2 * TILE_ROWS * TILE_COLUMNS) * p->step * p->step;
                    sum = add_exactly(sum, second, &rest);
                    rest = add_exactly(rest, first, &last);
                    vdouble more;
                    sum = add_exactly(sum, rest, &more);
                    sum = nearest_to_odd(sum, more + last);
                } else
                    sum = add_to_odd(sum, second);
            }
            const vdouble a = paired ? (vdouble)LOAD(vdouble, p->a_scales + v)
                                     : (vdouble)(p->a_scales[i] - (vdouble){0});
            sum *= a * LOAD(vdouble, p->b_scales + v);
            if (p->tensor[1] != 0)
                sum = add_to_odd(sum * p->tensor[0], sum * p->tensor[1]);
            else
                sum *= p->tensor[0];
            const half_float total = LOAD(half_float, totals + at) + CONVERT(sum, half_float);
            STORE(half_float, totals + at, total);
        }
}

static void add_groups(const fmt_groups *p, float *totals)
{
    if (p->paired)
        add_groups_of(p, totals, 1, 1);
    else
        add_groups_of(p, totals, TILE_ROWS, 0);
}

static int read_floats(const uint32_t *restrict codes, ptrdiff_t n, const fmt_float_codes *p,
                       double *restrict to)
{
    const int sign = p->sign, up = 52 - p->fraction_bits;
    const int32_t magnitudes = (int32_t)(((uint32_t)1 << sign) - 1);
    const int32_t infinity = magnitudes >> p->fraction_bits << p->fraction_bits;
    const double unit = p->unit;
    int32_t infinite = 0, nan = 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        const int32_t magnitude = (int32_t)codes[k] & magnitudes;
        const uint64_t finite = (uint32_t)(magnitude < infinity ? magnitude : 0);
        const uint64_t bits = finite << up | (uint64_t)(codes[k] >> sign & 1) << 63;
        double value;
        memcpy(&value, &bits, sizeof value);
        to[k] = value * unit;
        infinite |= magnitude == infinity;
        nan |= magnitude > infinity;
    }
    return infinite | nan << 1;
}

static void split_floats(const double *restrict values, ptrdiff_t n, int least, int wide,
                         float *restrict to, int32_t *restrict exponents)
{
    const int64_t all = wide ? -1 : 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        int64_t bits;
        memcpy(&bits, &values[k], sizeof bits);
        const int64_t field = bits >> 52 & 0x7ff, own = field - 1023;
        const int64_t exponent = own > least ? own : least;
        const int64_t down = (1023 - (exponent & all)) << 52;
        const int64_t one = (field == 0 ? 0x3ff0000000000000 : 0) & all;
        double unit, instead;
        memcpy(&unit, &down, sizeof unit);
        memcpy(&instead, &one, sizeof instead);
        to[k] = (float)(values[k] * unit + instead);
        exponents[k] = (int32_t)(field == 0 ? ZERO_EXPONENT : exponent);
    }
}
