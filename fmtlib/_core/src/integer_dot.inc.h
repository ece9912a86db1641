/* Tiles of the block matmul (matmul.c): exact sums of products of small signed integers.
 *
 * An operand is packed in panels of as many vectors (rows of a, columns of b) as a tile has.  A word
 * of 32 bits holds the next elements of one vector along the depth, and a step of a panel is a word
 * of each of its vectors:
 *
 *   bytes   four elements: b's in two's complement, a's with an offset of 2**mantissa, so that they
 *           are unsigned, as the instructions want it; what that adds is the offset times the sum
 *           of b's elements, so minus that sum is kept for each column and piece.
 *   halves  two elements, both in two's complement.
 *   topped  a step is three words for four elements: their top bytes, as bytes are, and two words of
 *           halves.
 *
 * A piece is a stretch of the depth in which neither scale changes: a group where both operands have
 * groups of one length.  Its sum of products is an exact integer, whatever the width of vectors.
 *
 * The one file with intrinsics: compilers find none of these dot products.  Whoever includes it says
 * INTEGER_DOT (the table's name), DOT_WIDTH (bytes of a vector), DOT_ROWS (of a tile), and one of
 * DOT_PLAIN, DOT_MADDUBS, DOT_VNNI. */

enum { DOT_LANES = DOT_WIDTH / 4, DOT_VECTORS = 2, DOT_COLUMNS = DOT_VECTORS * DOT_LANES,
       DOT_MOST = DOT_COLUMNS > DOT_ROWS ? DOT_COLUMNS : DOT_ROWS };

#pragma GCC diagnostic ignored "-Wpsabi" /* all inlined: there is no call whose ABI could change */
typedef int32_t dot_ints __attribute__((vector_size(DOT_WIDTH)));
typedef float dot_lanes __attribute__((vector_size(DOT_WIDTH)));
typedef double dot_wide __attribute__((vector_size(2 * DOT_WIDTH))); /* as many as ints */
typedef dot_ints dot_ints_in_memory __attribute__((aligned(4), may_alias));
typedef dot_lanes dot_lanes_in_memory __attribute__((aligned(4), may_alias));
/* Compilers would reassociate the additions of several steps, and run out of registers. */
#if DOT_PLAIN
#define DOT_IN_ORDER(X) (void)(X)
#elif DOT_WIDTH == 32
#define DOT_IN_ORDER(X) __asm__("" : "+x"(X))
#else
#define DOT_IN_ORDER(X) __asm__("" : "+v"(X))
#endif
#define DOT_INLINE static inline __attribute__((always_inline))

typedef uint32_t dot_quad __attribute__((vector_size(16)));
#if defined(__clang__)
#define DOT_SHUFFLE(TYPE, X, Y, ...)                                                               \
    ((dot_quad)__builtin_shufflevector((TYPE)(X), (TYPE)(Y), __VA_ARGS__))
#else
#define DOT_SHUFFLE(TYPE, X, Y, ...)                                                               \
    ((dot_quad)__builtin_shuffle((TYPE)(X), (TYPE)(Y), (TYPE){__VA_ARGS__}))
#endif

/* Four words of each of four vectors, to those of the first, those of the second, ... */
DOT_INLINE void dot_transpose(const dot_quad x[4], dot_quad out[4])
{
    const dot_quad low = DOT_SHUFFLE(dot_quad, x[0], x[1], 0, 4, 1, 5);
    const dot_quad high = DOT_SHUFFLE(dot_quad, x[0], x[1], 2, 6, 3, 7);
    const dot_quad low_2 = DOT_SHUFFLE(dot_quad, x[2], x[3], 0, 4, 1, 5);
    const dot_quad high_2 = DOT_SHUFFLE(dot_quad, x[2], x[3], 2, 6, 3, 7);
    out[0] = DOT_SHUFFLE(dot_quad, low, low_2, 0, 1, 4, 5);
    out[1] = DOT_SHUFFLE(dot_quad, low, low_2, 2, 3, 6, 7);
    out[2] = DOT_SHUFFLE(dot_quad, high, high_2, 0, 1, 4, 5);
    out[3] = DOT_SHUFFLE(dot_quad, high, high_2, 2, 3, 6, 7);
}

/* --- instructions ------------------------------------------------------------------------- */

#if DOT_PLAIN
/* Per lane, the sum of the two products of signed halves. */
DOT_INLINE dot_ints dot_halves(dot_ints x, dot_ints y)
{
#if DOT_WIDTH == 16 && defined(__SSE2__) /* all of x86-64 has this one, and no products of ints */
    return (dot_ints)_mm_madd_epi16((__m128i)x, (__m128i)y);
#else
    return (x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16);
#endif
}

DOT_INLINE dot_lanes dot_multiply_add(dot_lanes x, dot_lanes y, dot_lanes z) { return x * y + z; }
#elif DOT_WIDTH == 32
DOT_INLINE dot_ints dot_halves(dot_ints x, dot_ints y)
{
    return (dot_ints)_mm256_madd_epi16((__m256i)x, (__m256i)y);
}

DOT_INLINE dot_lanes dot_multiply_add(dot_lanes x, dot_lanes y, dot_lanes z)
{
    return (dot_lanes)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)z);
}
#else
DOT_INLINE dot_ints dot_halves(dot_ints x, dot_ints y)
{
    return (dot_ints)_mm512_madd_epi16((__m512i)x, (__m512i)y);
}

DOT_INLINE dot_lanes dot_multiply_add(dot_lanes x, dot_lanes y, dot_lanes z)
{
    return (dot_lanes)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)z);
}
#endif

/* sum, modulo 2**32, plus the products of halves. */
DOT_INLINE dot_ints dot_more_halves(dot_ints sum, dot_ints x, dot_ints y)
{
#if DOT_PLAIN || !DOT_VNNI
    return sum + dot_halves(x, y);
#elif DOT_WIDTH == 32
    return (dot_ints)_mm256_dpwssd_avx_epi32((__m256i)sum, (__m256i)x, (__m256i)y);
#else
    return (dot_ints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)x, (__m512i)y);
#endif
}

#if DOT_MADDUBS
typedef int16_t dot_shorts __attribute__((vector_size(DOT_WIDTH)));

/* Two sums per lane of two products each, unsigned bytes by signed ones; none may pass 16 bits. */
DOT_INLINE dot_shorts dot_pairs(dot_ints a, dot_ints b)
{
#if DOT_WIDTH == 32
    return (dot_shorts)_mm256_maddubs_epi16((__m256i)a, (__m256i)b);
#else
    return (dot_shorts)_mm512_maddubs_epi16((__m512i)a, (__m512i)b);
#endif
}
#elif DOT_VNNI
/* sum, plus per lane the four products of unsigned bytes by signed ones. */
DOT_INLINE dot_ints dot_bytes(dot_ints sum, dot_ints a, dot_ints b)
{
#if DOT_PLAIN
    for (int t = 0; t < 32; t += 8)
        sum += (a >> t & 255) * (b << (24 - t) >> 24);
    return sum;
#elif DOT_WIDTH == 32
    return (dot_ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
#else
    return (dot_ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#endif
}
#endif

/* --- sums of a piece ---------------------------------------------------------------------- */

DOT_INLINE dot_ints dot_load(const void *words) { return *(const dot_ints_in_memory *)words; }
DOT_INLINE dot_ints dot_spread(int32_t x) { return (dot_ints){0} + x; }

DOT_INLINE dot_lanes dot_spread_float(float x)
{
    int32_t bits; /* an integer can be added to zeros for nothing */
    memcpy(&bits, &x, sizeof bits);
    return (dot_lanes)dot_spread(bits);
}

/* sums = or += the products of a word of each row and of `vectors` vectors of columns. */
DOT_INLINE void add_step(int kind, int first, const uint32_t *a, const uint32_t *b, int vectors,
                         dot_ints sums[DOT_ROWS][DOT_VECTORS])
{
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < vectors; v++) {
            const dot_ints x = dot_spread((int32_t)a[i]), y = dot_load(b + v * DOT_LANES);
            dot_ints sum;
            (void)kind;
#if DOT_MADDUBS
            if (kind == DOT_BYTES)
                sum = (dot_ints)(first ? dot_pairs(x, y)
                                       : (dot_shorts)sums[i][v] + dot_pairs(x, y));
            else
#elif DOT_VNNI
            if (kind == DOT_BYTES)
                sum = dot_bytes(sums[i][v], x, y);
            else
#endif
                sum = first ? dot_halves(x, y) : dot_more_halves(sums[i][v], x, y);
            DOT_IN_ORDER(sum);
            sums[i][v] = sum;
        }
}

/* sums = the products of one or more steps.  Groups of 16 and more are unrolled. */
DOT_INLINE void add_steps(int kind, const uint32_t *a, const uint32_t *b, ptrdiff_t steps,
                          int vectors, dot_ints sums[DOT_ROWS][DOT_VECTORS])
{
    add_step(kind, 1, a, b, vectors, sums);
    ptrdiff_t k = 1;
    if (steps >= 4)
        for (; k < 4; k++)
            add_step(kind, 0, a + k * DOT_ROWS, b + k * DOT_COLUMNS, vectors, sums);
    for (; k + 4 <= steps; k += 4)
        for (int u = 0; u < 4; u++)
            add_step(kind, 0, a + (k + u) * DOT_ROWS, b + (k + u) * DOT_COLUMNS, vectors,
                     sums);
    for (; k < steps; k++)
        add_step(kind, 0, a + k * DOT_ROWS, b + k * DOT_COLUMNS, vectors, sums);
}

/* sums = start + the products of bytes, in one run. */
DOT_INLINE void sum_bytes(const uint32_t *a, const uint32_t *b, ptrdiff_t steps,
                          const dot_ints start[DOT_VECTORS],
                          dot_ints sums[DOT_ROWS][DOT_VECTORS])
{
#if DOT_MADDUBS
    add_steps(DOT_BYTES, a, b, steps, DOT_VECTORS, sums);
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < DOT_VECTORS; v++)
            sums[i][v] = start[v] + dot_halves(sums[i][v], dot_spread(0x00010001));
#else
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < DOT_VECTORS; v++)
            sums[i][v] = start[v];
    add_steps(DOT_BYTES, a, b, steps, DOT_VECTORS, sums);
#endif
}

#if DOT_MADDUBS
/* The same where the products of two steps are all that fits 16 bits. */
DOT_INLINE void sum_pairs(const uint32_t *a, const uint32_t *b, ptrdiff_t steps,
                          const dot_ints start[DOT_VECTORS],
                          dot_ints sums[DOT_ROWS][DOT_VECTORS])
{
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < DOT_VECTORS; v++)
            sums[i][v] = start[v];
    for (ptrdiff_t k = 0; k < steps; k += 2) {
        dot_ints few[DOT_ROWS][DOT_VECTORS];
        add_step(DOT_BYTES, 1, a, b, DOT_VECTORS, few);
        if (k + 1 < steps)
            add_step(DOT_BYTES, 0, a + DOT_ROWS, b + DOT_COLUMNS, DOT_VECTORS, few);
        for (int i = 0; i < DOT_ROWS; i++)
            for (int v = 0; v < DOT_VECTORS; v++)
                sums[i][v] += dot_halves(few[i][v], dot_spread(0x00010001));
        a += 2 * DOT_ROWS;
        b += 2 * DOT_COLUMNS;
    }
}
#endif

/* Sums beyond 32 bits, of one vector of columns: the exact sum is that of the high halves of what
 * does fit, the products of `run` steps, times 2**16, plus that of their low halves.  The latter is
 * all that the sum modulo 2**32 has more than the former. */
DOT_INLINE void sum_wide(ptrdiff_t run, const uint32_t *a, const uint32_t *b, ptrdiff_t steps,
                         dot_ints high[DOT_ROWS][DOT_VECTORS], dot_ints low[DOT_ROWS][DOT_VECTORS])
{
    for (int i = 0; i < DOT_ROWS; i++)
        high[i][0] = low[i][0] = dot_spread(0);
    for (ptrdiff_t k = 0; k < steps; k += run) {
        dot_ints few[DOT_ROWS][DOT_VECTORS];
        add_steps(DOT_HALVES, a, b, run == 1 || run < steps - k ? run : steps - k, 1, few);
        for (int i = 0; i < DOT_ROWS; i++) {
            low[i][0] += few[i][0];
            high[i][0] += few[i][0] >> 16;
        }
        a += run * DOT_ROWS;
        b += run * DOT_COLUMNS;
    }
    for (int i = 0; i < DOT_ROWS; i++)
        low[i][0] -= high[i][0] << 16;
}

/* The same where runs are so long that both halves may be in memory: of all vectors of columns. */
DOT_INLINE void sum_runs(ptrdiff_t run, const uint32_t *a, const uint32_t *b, ptrdiff_t steps,
                         dot_ints high[DOT_ROWS][DOT_VECTORS], dot_ints low[DOT_ROWS][DOT_VECTORS])
{
    for (ptrdiff_t k = 0; k < steps; k += run) {
        dot_ints few[DOT_ROWS][DOT_VECTORS];
        add_steps(DOT_HALVES, a, b, run < steps - k ? run : steps - k, DOT_VECTORS, few);
        for (int i = 0; i < DOT_ROWS; i++)
            for (int v = 0; v < DOT_VECTORS; v++) {
                low[i][v] = k ? low[i][v] + few[i][v] : few[i][v];
                high[i][v] = k ? high[i][v] + (few[i][v] >> 16) : few[i][v] >> 16;
            }
        __asm__("" : "+m"(*(dot_ints(*)[DOT_ROWS][DOT_VECTORS])low),
                     "+m"(*(dot_ints(*)[DOT_ROWS][DOT_VECTORS])high));
        a += run * DOT_ROWS;
        b += run * DOT_COLUMNS;
    }
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < DOT_VECTORS; v++)
            low[i][v] -= high[i][v] << 16;
}

#if DOT_VNNI
/* Sums of up to 37 bits: the products of top bytes, floor(x / 2**8), tell
 * them to within 2**31, and the products of halves modulo 2**32 tell the rest.
 *
 * Let a = 2**8 p + r and b = 2**8 q + s with 0 <= r, s < 2**8, and -2**7 <= p, q < 2**7, since
 * |a|, |b| < 2**15.  Then a b - 2**16 p q = a s + 2**8 q r, of a magnitude of at most 255 * (2**15
 * + 2**15) = 16711680; the sum of 128 (TOPPED_LONGEST) of these is below 2**31.  So that
 * difference, summed modulo 2**32 from -2**16 sum(p q) on, is exact.
 * Its top bits added to that sum, and its low ones, are what sum_wide finds.
 *
 * Bytes of a hold 127 - p, which makes the sum of products 127 sum(q) - sum(p q); `start` takes
 * the former off. */
/* The products of one of the words of step k. */
DOT_INLINE void add_topped(int kind, int word, const uint32_t *a, const uint32_t *b, ptrdiff_t k,
                           dot_ints sums[DOT_ROWS][DOT_VECTORS])
{
    const ptrdiff_t at = fmt_words_of(LAYOUT_TOPPED) * k + word;
    add_step(kind, 0, a + at * DOT_ROWS, b + at * DOT_COLUMNS, DOT_VECTORS, sums);
}

DOT_INLINE void sum_topped(const uint32_t *a, const uint32_t *b, ptrdiff_t steps,
                           const dot_ints start[DOT_VECTORS],
                           dot_ints high[DOT_ROWS][DOT_VECTORS], dot_ints low[DOT_ROWS][DOT_VECTORS])
{
    dot_ints minus[DOT_ROWS][DOT_VECTORS];
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < DOT_VECTORS; v++)
            low[i][v] = start[v];
    ptrdiff_t k = 0;
    for (; k + 4 <= steps; k += 4)
        for (int u = 0; u < 4; u++)
            add_topped(DOT_BYTES, 0, a, b, k + u, low);
    for (; k < steps; k++)
        add_topped(DOT_BYTES, 0, a, b, k, low);
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < DOT_VECTORS; v++) {
            minus[i][v] = low[i][v];
            low[i][v] <<= 16;
        }
    __asm__("" : "+m"(minus)); /* the registers are for sums */
    for (k = 0; k + 2 <= steps; k += 2)
        for (int u = 0; u < 4; u++)
            add_topped(DOT_HALVES, 1 + u % 2, a, b, k + u / 2, low);
    if (k < steps)
        for (int u = 0; u < 2; u++)
            add_topped(DOT_HALVES, 1 + u, a, b, k, low);
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < DOT_VECTORS; v++) {
            high[i][v] = (low[i][v] >> 16) - minus[i][v];
            low[i][v] &= 0xffff;
        }
}
#endif

/* --- totals ------------------------------------------------------------------------------- */

/* *total += float32(scales * (high * 2**16 + low)), the fMAC's one rounding and one addition. */
DOT_INLINE void add_scaled(int scaling, int wide, dot_ints high, dot_ints low, dot_lanes a_scale,
                           dot_lanes b_scale, float down, float up, float *total)
{
    dot_lanes_in_memory *const to = (dot_lanes_in_memory *)total;
    if (scaling == SCALING_DOUBLE) {
        dot_wide sum = __builtin_convertvector(low, dot_wide);
        if (wide)
            sum += __builtin_convertvector(high, dot_wide) * 0x1p16;
        sum *= __builtin_convertvector(b_scale, dot_wide)
               * __builtin_convertvector(a_scale, dot_wide);
        *to += __builtin_convertvector(sum, dot_lanes);
        return;
    }
    dot_lanes sum = __builtin_convertvector(low, dot_lanes);
    if (wide) /* the one rounding is that of this addition */
        sum = dot_multiply_add(__builtin_convertvector(high, dot_lanes),
                               dot_spread_float(0x1p16f), sum);
    if (scaling == SCALING_EXACT)
        *to = dot_multiply_add(sum * b_scale, a_scale, *to);
    else /* the product may overflow, to infinity, at the last step */
        *to += sum * (a_scale * down) * b_scale * up;
}

DOT_INLINE void dot_pieces(int kind, int scaling, const fmt_tile *t, float *totals)
{
    const uint32_t *a = t->a.words, *b = t->b.words;
    const float *a_scales = t->a.scales, *b_scales = t->b.scales, down = t->down, up = t->up;
    const int32_t *corrections = t->b.corrections, *all_steps = t->steps;
    const ptrdiff_t pieces = t->pieces, run = t->run;
    const int at_once = kind == DOT_WIDE ? 1 : DOT_VECTORS;
    const int words = kind == DOT_TOPPED ? fmt_words_of(LAYOUT_TOPPED) : 1;
    const int wide = kind == DOT_TOPPED || kind == DOT_WIDE || kind == DOT_RUNS;
    dot_ints offset_bits = dot_spread(t->offset_bits);
    __asm__("" : "+m"(offset_bits)); /* else it is a scalar, by which shifts are slower */
    for (ptrdiff_t g = 0; g < pieces; g++) {
        const ptrdiff_t steps = all_steps[g];
        __asm__("" ::: "memory"); /* totals stay in memory: the registers are for sums */
        for (int v = 0; v < DOT_VECTORS; v += at_once) {
            const uint32_t *b_part = b + v * DOT_LANES;
            dot_ints start[DOT_VECTORS];
            dot_ints sums[DOT_ROWS][DOT_VECTORS], high[DOT_ROWS][DOT_VECTORS];
            for (int w = 0; w < at_once; w++) {
                const int32_t *from = corrections + (v + w) * DOT_LANES;
                if (kind == DOT_BYTES || kind == DOT_PAIRS)
                    start[w] = dot_load(from) << offset_bits;
                if (kind == DOT_TOPPED)
                    start[w] = dot_load(from);
            }
            if (kind == DOT_HALVES)
                add_steps(DOT_HALVES, a, b_part, steps, DOT_VECTORS, sums);
            else if (kind == DOT_WIDE && run == 1)
                sum_wide(1, a, b_part, steps, high, sums);
            else if (kind == DOT_WIDE)
                sum_wide(run, a, b_part, steps, high, sums);
            else if (kind == DOT_RUNS)
                sum_runs(run, a, b_part, steps, high, sums);
#if DOT_VNNI
            else if (kind == DOT_TOPPED)
                sum_topped(a, b_part, steps, start, high, sums);
#endif
#if DOT_MADDUBS
            else if (kind == DOT_PAIRS)
                sum_pairs(a, b_part, steps, start, sums);
#endif
            else
                sum_bytes(a, b_part, steps, start, sums);
            for (int w = 0; w < at_once; w++) {
                const int column = (v + w) * DOT_LANES;
                const dot_lanes b_scale = (dot_lanes)dot_load(b_scales + column);
                for (int i = 0; i < DOT_ROWS; i++)
                    add_scaled(scaling, wide, high[i][w], sums[i][w], dot_spread_float(a_scales[i]),
                               b_scale, down, up, totals + i * DOT_COLUMNS + column);
            }
        }
        a += steps * words * DOT_ROWS;
        b += steps * words * DOT_COLUMNS;
        a_scales += DOT_ROWS;
        b_scales += DOT_COLUMNS;
        corrections += DOT_COLUMNS;
    }
}

/* Copies a part of a matrix between c and the totals of a tile. */
DOT_INLINE void copy_totals(int from_c, float *totals, float *c, ptrdiff_t row, ptrdiff_t column,
                            ptrdiff_t rows, ptrdiff_t columns)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        float *const total = totals + i * DOT_COLUMNS, *const to = c + i * row;
        if (column == 1 && from_c)
            memcpy(total, to, (size_t)columns * sizeof *c);
        else if (column == 1)
            memcpy(to, total, (size_t)columns * sizeof *c);
        else
            for (ptrdiff_t j = 0; j < columns; j++)
                *(from_c ? total + j : to + j * column) = *(from_c ? to + j * column : total + j);
    }
}

/* The same for all of a tile, with the rows of one the columns of the other: in squares of 4 x 4. */
DOT_INLINE void turn_totals(int from_c, float *totals, float *c, ptrdiff_t column)
{
    const ptrdiff_t from_row = from_c ? column : DOT_COLUMNS, to_row = from_c ? DOT_COLUMNS : column;
    for (int i = 0; i < DOT_ROWS; i += 4)
        for (int j = 0; j < DOT_COLUMNS; j += 4) {
            float *const total = totals + i * DOT_COLUMNS + j, *const at = c + i + j * column;
            const float *const from = from_c ? at : total;
            float *const to = from_c ? total : at;
            dot_quad x[4], turned[4];
            for (int k = 0; k < 4; k++)
                memcpy(&x[k], from + k * from_row, sizeof x[k]);
            dot_transpose(x, turned);
            for (int k = 0; k < 4; k++)
                memcpy(to + k * to_row, &turned[k], sizeof turned[k]);
        }
}

static void dot_tile(const fmt_tile *t, float *c, ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows,
                     ptrdiff_t columns)
{
    _Alignas(64) float totals[DOT_ROWS * DOT_COLUMNS];
    const int all = rows == DOT_ROWS && columns == DOT_COLUMNS;
    const int whole = all && column == 1, turned = all && row == 1;
    if (t->fresh) {
        memset(totals, 0, sizeof totals);
    } else if (whole) {
        copy_totals(1, totals, c, row, 1, DOT_ROWS, DOT_COLUMNS);
    } else if (turned) {
        turn_totals(1, totals, c, column);
    } else {
        memset(totals, 0, sizeof totals);
        copy_totals(1, totals, c, row, column, rows, columns);
    }
#define CASE(KIND, SCALING)                                                                        \
    case 4 * (KIND) + (SCALING):                                                                   \
        dot_pieces(KIND, SCALING, t, totals);                                                      \
        break;
#define CASES(KIND)                                                                                \
    CASE(KIND, SCALING_EXACT)                                                                      \
    CASE(KIND, SCALING_OVERFLOW)                                                                   \
    CASE(KIND, SCALING_DOUBLE)
    switch (4 * t->kind + t->scaling) {
#if DOT_MADDUBS
        CASES(DOT_PAIRS)
#endif
#if DOT_MADDUBS || DOT_VNNI
        CASES(DOT_BYTES)
#endif
#if DOT_VNNI
        CASES(DOT_TOPPED)
#endif
        CASES(DOT_HALVES)
        CASES(DOT_WIDE)
        CASES(DOT_RUNS)
    }
#undef CASES
#undef CASE
    if (whole)
        copy_totals(0, totals, c, row, 1, DOT_ROWS, DOT_COLUMNS);
    else if (turned)
        turn_totals(0, totals, c, column);
    else
        copy_totals(0, totals, c, row, column, rows, columns);
}

/* --- vectors with one another -------------------------------------------------------------- */

/* Totals of the pairs that two panels of DOT_COLUMNS vectors make, each with the one at its place. */
DOT_INLINE void dot_paired_pieces(int bytes, int scaling, const fmt_tile *t, float *totals)
{
    const uint32_t *a = t->a.words, *b = t->b.words;
    const float *a_scales = t->a.scales, *b_scales = t->b.scales;
    const int32_t *corrections = t->b.corrections;
    for (ptrdiff_t g = 0; g < t->pieces; g++) {
        dot_ints high[DOT_VECTORS] = {{0}}, low[DOT_VECTORS] = {{0}};
        for (int32_t s = 0; s < t->steps[g]; s++, a += DOT_COLUMNS, b += DOT_COLUMNS)
            for (int v = 0; v < DOT_VECTORS; v++) {
                const dot_ints x = dot_load(a + v * DOT_LANES), y = dot_load(b + v * DOT_LANES);
                dot_ints sum; /* of few products */
#if DOT_MADDUBS
                sum = bytes ? dot_halves((dot_ints)dot_pairs(x, y), dot_spread(0x00010001))
                            : dot_halves(x, y);
#elif DOT_VNNI
                sum = bytes ? dot_bytes(dot_spread(0), x, y) : dot_halves(x, y);
#else
                sum = dot_halves(x, y);
#endif
                low[v] += sum;
                high[v] += sum >> 16;
            }
        for (int v = 0; v < DOT_VECTORS; v++) {
            const ptrdiff_t at = g * DOT_COLUMNS + v * DOT_LANES;
            if (bytes)
                low[v] += dot_load(corrections + at) << t->offset_bits;
            else
                low[v] -= high[v] << 16;
            add_scaled(scaling, !bytes, high[v], low[v], (dot_lanes)dot_load(a_scales + at),
                       (dot_lanes)dot_load(b_scales + at), t->down, t->up, totals + v * DOT_LANES);
        }
    }
}

static void dot_paired(const fmt_tile *t, float *c, ptrdiff_t count)
{
    float totals[DOT_COLUMNS] = {0};
    memcpy(totals, c, (size_t)count * sizeof *c);
#define CASE(BYTES, SCALING)                                                                       \
    if ((t->kind == DOT_BYTES) == (BYTES) && t->scaling == (SCALING))                              \
        dot_paired_pieces(BYTES, SCALING, t, totals);
#define CASES(BYTES)                                                                               \
    CASE(BYTES, SCALING_EXACT)                                                                     \
    CASE(BYTES, SCALING_OVERFLOW)                                                                  \
    CASE(BYTES, SCALING_DOUBLE)
#if DOT_MADDUBS || DOT_VNNI
    CASES(1)
#endif
    CASES(0)
#undef CASES
#undef CASE
    memcpy(c, totals, (size_t)count * sizeof *c);
}

#include "integer_pack.inc.h"

const fmt_integer_dot INTEGER_DOT = {
    .rows = DOT_ROWS,
    .columns = DOT_COLUMNS,
    .most_of_pair = DOT_MADDUBS ? INT16_MAX : DOT_VNNI ? INT32_MAX : 0,
    .has_topped = DOT_VNNI,
    .pack_panel = pack_panel,
    .dot_tile = dot_tile,
    .dot_paired = dot_paired,
};
