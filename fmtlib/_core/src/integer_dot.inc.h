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

/* --- instructions ------------------------------------------------------------------------- */

#if DOT_PLAIN
/* Per lane, the sum of the two products of signed halves. */
DOT_INLINE dot_ints dot_halves(dot_ints x, dot_ints y)
{
    return (x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16);
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

/* sums = or += the products of a step, of `columns` columns. */
DOT_INLINE void add_step(int kind, int first, const uint32_t *a, const uint32_t *b, int vectors,
                         dot_ints sums[DOT_ROWS][DOT_VECTORS])
{
    for (int i = 0; i < DOT_ROWS; i++)
        for (int v = 0; v < vectors; v++) {
            const dot_ints x = dot_spread((int32_t)a[i]), y = dot_load(b + v * DOT_LANES);
            dot_ints sum;
            if (kind == DOT_HALVES)
                sum = first ? dot_halves(x, y) : sums[i][v] + dot_halves(x, y);
#if DOT_MADDUBS
            else
                sum = (dot_ints)(first ? dot_pairs(x, y)
                                       : (dot_shorts)sums[i][v] + dot_pairs(x, y));
#elif DOT_VNNI
            else
                sum = dot_bytes(sums[i][v], x, y);
#endif
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
            add_step(kind, 0, a + (k + u) * DOT_ROWS, b + (k + u) * DOT_COLUMNS, vectors, sums);
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
 * does fit, times 2**16, plus that of their low halves.  The latter is all that the sum modulo
 * 2**32 has more than the former. */
DOT_INLINE void sum_wide(int at_once, const uint32_t *a, const uint32_t *b, ptrdiff_t steps,
                         dot_ints high[DOT_ROWS], dot_ints low[DOT_ROWS])
{
    for (ptrdiff_t k = 0; k < steps; k += at_once) {
        dot_ints few[DOT_ROWS][DOT_VECTORS];
        add_step(DOT_HALVES, 1, a, b, 1, few);
        if (at_once == 2 && k + 1 < steps)
            add_step(DOT_HALVES, 0, a + DOT_ROWS, b + DOT_COLUMNS, 1, few);
        for (int i = 0; i < DOT_ROWS; i++) {
            low[i] += few[i][0];
            high[i] += few[i][0] >> 16;
        }
        a += at_once * DOT_ROWS;
        b += at_once * DOT_COLUMNS;
    }
    for (int i = 0; i < DOT_ROWS; i++)
        low[i] -= high[i] << 16;
}

/* --- totals ------------------------------------------------------------------------------- */

/* *total += float32(scales * (high * 2**16 + low)), the fMAC's one rounding and one addition. */
DOT_INLINE void add_scaled(int scaling, int wide, dot_ints high, dot_ints low, float a_scale,
                           dot_lanes b_scale, float down, float up, float *total)
{
    dot_lanes_in_memory *const to = (dot_lanes_in_memory *)total;
    if (scaling == SCALING_DOUBLE) {
        dot_wide sum = __builtin_convertvector(low, dot_wide);
        if (wide)
            sum += __builtin_convertvector(high, dot_wide) * 0x1p16;
        sum *= __builtin_convertvector(b_scale, dot_wide) * (double)a_scale;
        *to += __builtin_convertvector(sum, dot_lanes);
        return;
    }
    dot_lanes sum = __builtin_convertvector(low, dot_lanes);
    if (wide) /* the one rounding is that of this addition */
        sum = dot_multiply_add(__builtin_convertvector(high, dot_lanes),
                               dot_spread_float(0x1p16f), sum);
    if (scaling == SCALING_EXACT)
        *to = dot_multiply_add(sum * b_scale, dot_spread_float(a_scale), *to);
    else /* the product may overflow, to infinity, at the last step */
        *to += sum * dot_spread_float(a_scale * down) * b_scale * up;
}

DOT_INLINE void dot_pieces(int kind, int scaling, const fmt_tile *t, float *totals)
{
    const uint32_t *a = t->a.words, *b = t->b.words;
    const float *a_scales = t->a.scales, *b_scales = t->b.scales, down = t->down, up = t->up;
    const int32_t *corrections = t->b.corrections, *all_steps = t->steps;
    const ptrdiff_t pieces = t->pieces;
    const int pairs_fit = t->pairs_fit;
    const int at_once = kind == DOT_WIDE ? 1 : DOT_VECTORS;
    dot_ints offset_bits = dot_spread(t->offset_bits);
    __asm__("" : "+m"(offset_bits)); /* else it is a scalar, by which shifts are slower */
    for (ptrdiff_t g = 0; g < pieces; g++) {
        const ptrdiff_t steps = all_steps[g];
        __asm__("" ::: "memory"); /* totals stay in memory: the registers are for sums */
        for (int v = 0; v < DOT_VECTORS; v += at_once) {
            const uint32_t *b_part = b + v * DOT_LANES;
            dot_ints start[DOT_VECTORS], sums[DOT_ROWS][DOT_VECTORS];
            dot_ints high[DOT_ROWS], low[DOT_ROWS];
            if (kind == DOT_BYTES || kind == DOT_PAIRS)
                for (int w = 0; w < at_once; w++)
                    start[w] = dot_load(corrections + (v + w) * DOT_LANES) << offset_bits;
            if (kind == DOT_HALVES)
                add_steps(DOT_HALVES, a, b_part, steps, DOT_VECTORS, sums);
            else if (kind == DOT_WIDE) {
                for (int i = 0; i < DOT_ROWS; i++)
                    high[i] = low[i] = dot_spread(0);
                if (pairs_fit)
                    sum_wide(2, a, b_part, steps, high, low);
                else
                    sum_wide(1, a, b_part, steps, high, low);
            }
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
                    add_scaled(scaling, kind == DOT_WIDE, high[i],
                               kind == DOT_WIDE ? low[i] : sums[i][w], a_scales[i], b_scale, down, up,
                               totals + i * DOT_COLUMNS + column);
            }
        }
        a += steps * DOT_ROWS;
        b += steps * DOT_COLUMNS;
        a_scales += DOT_ROWS;
        b_scales += DOT_COLUMNS;
        corrections += DOT_COLUMNS;
    }
}

static void dot_tile(const fmt_tile *t, float *c, ptrdiff_t stride, ptrdiff_t rows,
                     ptrdiff_t columns)
{
    _Alignas(64) float totals[DOT_ROWS * DOT_COLUMNS];
    const int whole = rows == DOT_ROWS && columns == DOT_COLUMNS;
    if (whole) {
        for (int i = 0; i < DOT_ROWS; i++)
            memcpy(totals + i * DOT_COLUMNS, c + i * stride, DOT_COLUMNS * sizeof *c);
    } else {
        memset(totals, 0, sizeof totals);
        for (ptrdiff_t i = 0; i < rows; i++)
            memcpy(totals + i * DOT_COLUMNS, c + i * stride, (size_t)columns * sizeof *c);
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
        CASES(DOT_HALVES)
        CASES(DOT_WIDE)
    }
#undef CASES
#undef CASE
    if (whole)
        for (int i = 0; i < DOT_ROWS; i++)
            memcpy(c + i * stride, totals + i * DOT_COLUMNS, DOT_COLUMNS * sizeof *c);
    else
        for (ptrdiff_t i = 0; i < rows; i++)
            memcpy(c + i * stride, totals + i * DOT_COLUMNS, (size_t)columns * sizeof *c);
}

/* --- packing ------------------------------------------------------------------------------ */

typedef uint32_t dot_quad __attribute__((vector_size(16)));
typedef dot_quad dot_quad_in_memory __attribute__((aligned(4), may_alias));

/* A step of `count` vectors, with `have` elements of each; strides in elements of `size` bytes. */
DOT_INLINE void gather(const char *codes, int size, ptrdiff_t vector, ptrdiff_t step, int elements,
                       ptrdiff_t count, ptrdiff_t have, uint32_t *out)
{
    for (ptrdiff_t v = 0; v < count; v++) {
        uint32_t word = 0;
        for (ptrdiff_t t = 0; t < have; t++) {
            const ptrdiff_t place = v * vector + t * step;
            const uint32_t code = size == 1 ? ((const uint8_t *)codes)[place]
                                            : ((const uint16_t *)codes)[place];
            word |= code << 32 / elements * t;
        }
        out[v] = word;
    }
}

/* A step of whole words, whose elements are neighbours. */
DOT_INLINE void gather_words(const char *codes, int size, ptrdiff_t vector, int elements, int count,
                             uint32_t *out)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (int v = 0; v < count; v++) {
        if (size * elements == 4) {
            memcpy(&out[v], codes + v * vector * size, 4);
        } else {
            uint16_t pair;
            memcpy(&pair, codes + v * vector * size, 2);
            out[v] = (pair & 0xffu) | (pair & 0xff00u) << 8;
        }
    }
#else
    gather(codes, size, vector, 1, elements, count, elements, out);
#endif
}

/* The codes of `count` vectors as words of a panel of `width`; what is missing of it is 0. */
DOT_INLINE void gather_panel(const fmt_matrix *m, const char *codes, ptrdiff_t count,
                             const fmt_pieces *pieces, int size, int elements, int width,
                             uint32_t *out)
{
    const ptrdiff_t vector = m->vector_stride, step = m->step_stride;
    if (count < width)
        memset(out, 0, (size_t)(pieces->all_steps * width) * sizeof *out);
    for (ptrdiff_t g = 0; g < pieces->count; g++) {
        const ptrdiff_t end = pieces->starts[g + 1];
        for (ptrdiff_t k = pieces->starts[g]; k < end; k += elements, out += width) {
            const ptrdiff_t have = end - k < elements ? end - k : elements;
            const char *at = codes + size * k * step;
            if (count < width || have < elements)
                gather(at, size, vector, step, elements, count, have, out);
            else if (vector == 1)
                gather(at, size, 1, step, elements, width, elements, out);
            else if (step == 1)
                gather_words(at, size, vector, elements, width, out);
            else
                gather(at, size, vector, step, elements, width, elements, out);
        }
    }
}

/* Makes signed (or offset) integers of a panel's codes, and its scales, corrections and range. */
DOT_INLINE void finish_panel(const fmt_matrix *m, const uint8_t *scales, ptrdiff_t count,
                             const fmt_pieces *pieces, int elements, int is_a, int width,
                             const fmt_panel *panel)
{
    enum { QUADS = DOT_MOST / 4 };
    const int bits = 32 / elements, quads = width / 4, summed = elements == 4 && !is_a;
    const int m_bits = m->mantissa;
    const uint32_t one = elements == 4 ? 0x01010101 : 0x00010001;
    const uint32_t magnitude = one * ((1u << m_bits) - 1);
    /* an offset, so that no element borrows from the next; two's complement has another top bit */
    const uint32_t flip = elements == 4 && is_a ? 0 : one << (bits - 1);
    const uint32_t offset = flip ? flip : one << m_bits;
    int32_t least[DOT_MOST], greatest[DOT_MOST], code[DOT_MOST] = {0};
    dot_quad_in_memory *words = (dot_quad_in_memory *)panel->words;
    for (int v = 0; v < width; v++) {
        least[v] = INT32_MAX;
        greatest[v] = INT32_MIN;
    }
    for (ptrdiff_t g = 0; g < pieces->count; g++) {
        dot_quad any[QUADS] = {{0}}, sum[QUADS] = {{0}};
        for (int32_t s = 0; s < pieces->steps[g]; s++, words += quads)
            for (int q = 0; q < quads; q++) {
                const dot_quad word = words[q], minus = word >> m_bits & one, x = word & magnitude;
                const dot_quad mask = (minus << (bits - 1) << 1) - minus;
                const dot_quad shifted = offset + (x & ~mask) - (x & mask);
                any[q] |= x;
                if (summed) {
                    const dot_quad pairs = (shifted & 0xff00ff) + (shifted >> 8 & 0xff00ff);
                    sum[q] += (pairs & 0xffff) + (pairs >> 16);
                }
                words[q] = shifted ^ flip;
            }
        uint32_t found[DOT_MOST], sums[DOT_MOST];
        memcpy(found, any, sizeof found);
        memcpy(sums, sum, sizeof sums);
        const uint8_t *group = scales + pieces->starts[g] / m->group * m->scale_step;
        for (ptrdiff_t v = 0; v < count; v++)
            code[v] = group[v * m->scale_vector];
        float *to = panel->scales + g * width;
        for (int v = 0; v < width; v++) {
            const int32_t exponent = code[v] - m->bias + 1 - m_bits;
            const int32_t low = 1 << ((exponent + 149) & 31), high = (exponent + 127) << 23;
            const int32_t nan = code[v] >= m->nan, zero = found[v] == 0, counts = !(nan | zero);
            const int32_t power = exponent < -126 ? low : high;
            const int32_t scale = nan ? 0x7fc00000 : zero ? 0x3f800000 : power;
            memcpy(to + v, &scale, sizeof scale);
            const int32_t e_low = counts ? exponent : INT32_MAX, e_high = counts ? exponent : INT32_MIN;
            least[v] = e_low < least[v] ? e_low : least[v];
            greatest[v] = e_high > greatest[v] ? e_high : greatest[v];
        }
        if (summed)
            for (int v = 0; v < width; v++)
                panel->corrections[g * width + v] = 4 * 128 * pieces->steps[g] - (int32_t)sums[v];
    }
    int32_t from = INT32_MAX, to = INT32_MIN;
    for (int v = 0; v < width; v++) {
        from = least[v] < from ? least[v] : from;
        to = greatest[v] > to ? greatest[v] : to;
    }
    panel->range[0] = from <= to ? from : 0;
    panel->range[1] = from <= to ? to : 0;
}

static void pack_panel(const fmt_matrix *m, const void *codes, const uint8_t *scales,
                       ptrdiff_t count, const fmt_pieces *pieces, int is_a, int elements,
                       const fmt_panel *panel)
{
    const int bytes = m->type == TYPE_INT1;
#define PACK(SIZE, ELEMENTS, IS_A, WIDTH)                                                          \
    if (bytes == (SIZE == 1) && elements == ELEMENTS && is_a == IS_A) {                            \
        gather_panel(m, codes, count, pieces, SIZE, ELEMENTS, WIDTH, panel->words);                \
        finish_panel(m, scales, count, pieces, ELEMENTS, IS_A, WIDTH, panel);                      \
    }
    PACK(1, 4, 0, DOT_COLUMNS)
    PACK(1, 4, 1, DOT_ROWS)
    PACK(1, 2, 0, DOT_COLUMNS)
    PACK(1, 2, 1, DOT_ROWS)
    PACK(2, 2, 0, DOT_COLUMNS)
    PACK(2, 2, 1, DOT_ROWS)
#undef PACK
}

const fmt_integer_dot INTEGER_DOT = {
    .rows = DOT_ROWS,
    .columns = DOT_COLUMNS,
    .most_of_pair = DOT_MADDUBS ? INT16_MAX : DOT_VNNI ? INT32_MAX : 0,
    .pack_panel = pack_panel,
    .dot_tile = dot_tile,
};
