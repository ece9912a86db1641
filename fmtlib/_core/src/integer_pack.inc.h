/* Packing of operands for the tiles of integer_dot.inc.h, which includes this.
 *
 * 1. gather_panel puts codes into words: four words of four vectors are transposed in registers where
 *    the elements of a vector are neighbours, elements of several vectors are interleaved where
 *    vectors are.
 * 2. finish_panel makes integers of the codes in place, and takes the sums of bytes for corrections,
 *    and whether there is anything but zeros.
 * 3. Codes of scales become scales, those of a panel in one loop.
 *
 * Vectors are those of GNU C, of 16 bytes or of DOT_ROWS words, which divide a step of every panel. */

typedef uint16_t dot_eight __attribute__((vector_size(16)));
typedef uint8_t dot_sixteen __attribute__((vector_size(16)));
/* By turns elements of the lower or upper halves of two vectors. */
#define DOT_LOWER_BYTES(X, Y)                                                                      \
    DOT_SHUFFLE(dot_sixteen, X, Y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define DOT_UPPER_BYTES(X, Y)                                                                      \
    DOT_SHUFFLE(dot_sixteen, X, Y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define DOT_LOWER_HALVES(X, Y) DOT_SHUFFLE(dot_eight, X, Y, 0, 8, 1, 9, 2, 10, 3, 11)
#define DOT_UPPER_HALVES(X, Y) DOT_SHUFFLE(dot_eight, X, Y, 4, 12, 5, 13, 6, 14, 7, 15)

/* Where word number k of the elements themselves is, of a piece's words of one vector. */
DOT_INLINE ptrdiff_t place_of_word(int layout, ptrdiff_t k)
{
    return layout == LAYOUT_TOPPED ? k / 2 * 3 + 1 + k % 2 : k;
}

/* A word of each of `count` vectors, with `have` elements; strides in elements of `size` bytes. */
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

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* `count` codes that are neighbours, 16 bytes at most, as bytes or as halves. */
DOT_INLINE dot_quad load_codes(const char *codes, int size, int elements, int count)
{
    dot_quad loaded = {0};
    memcpy(&loaded, codes, (size_t)(size * count));
    return size * elements == 4 ? loaded : DOT_LOWER_BYTES(loaded, (dot_quad){0});
}

/* Words k ... k + 3 of a piece of a whole panel, whose vectors' elements are neighbours. */
DOT_INLINE void transpose(const char *codes, int size, ptrdiff_t vector, int elements, int layout,
                          ptrdiff_t k, int width, uint32_t *out)
{
    for (int v = 0; v < width; v += 4) {
        dot_quad x[4], words[4];
        for (int i = 0; i < 4; i++)
            x[i] = load_codes(codes + (v + i) * vector * size, size, elements, 4 * elements);
        dot_transpose(x, words);
        for (int i = 0; i < 4; i++)
            memcpy(out + place_of_word(layout, k + i) * width + v, &words[i], sizeof words[i]);
    }
}

/* A word of each vector of a whole panel, where these are neighbours. */
DOT_INLINE void interleave(const char *codes, int size, ptrdiff_t step, int elements, int width,
                           uint32_t *out)
{
    const int most = 4 * elements, count = width < most ? width : most;
    for (int v = 0; v < width; v += count) {
        dot_quad x[4], words[4];
        for (int i = 0; i < elements; i++)
            x[i] = load_codes(codes + (i * step + v) * size, size, elements, count);
        if (elements == 4) {
            const dot_quad low = DOT_LOWER_BYTES(x[0], x[1]), high = DOT_UPPER_BYTES(x[0], x[1]);
            const dot_quad low_2 = DOT_LOWER_BYTES(x[2], x[3]), high_2 = DOT_UPPER_BYTES(x[2], x[3]);
            words[0] = DOT_LOWER_HALVES(low, low_2);
            words[1] = DOT_UPPER_HALVES(low, low_2);
            words[2] = DOT_LOWER_HALVES(high, high_2);
            words[3] = DOT_UPPER_HALVES(high, high_2);
        } else {
            words[0] = DOT_LOWER_HALVES(x[0], x[1]);
            words[1] = DOT_UPPER_HALVES(x[0], x[1]);
        }
        for (int i = 0; 4 * i < count; i++)
            memcpy(out + v + 4 * i, &words[i], sizeof words[i]);
    }
}
#endif

/* The codes of `count` vectors as words of a panel of `width`; what is missing of it is 0. */
DOT_INLINE void gather_panel(const fmt_matrix *m, const char *codes, ptrdiff_t count,
                             const fmt_pieces *pieces, int size, int layout, int width,
                             uint32_t *out)
{
    const ptrdiff_t vector = m->vector_stride, step = m->step_stride;
    const int elements = layout == LAYOUT_BYTES ? 4 : 2, words = fmt_words_of(layout);
    if (count < width)
        memset(out, 0, (size_t)(pieces->all_steps * words * width) * sizeof *out);
    for (ptrdiff_t g = 0; g < pieces->count; g++) {
        const ptrdiff_t start = pieces->starts[g], length = pieces->starts[g + 1] - start;
        const char *const from = codes + size * start * step;
        ptrdiff_t k = 0; /* words */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        if (count == width && step == 1)
            for (; (k + 4) * elements <= length; k += 4)
                transpose(from + size * elements * k, size, vector, elements, layout, k, width, out);
#endif
        for (; k * elements < length; k++) {
            enum { AHEAD = 16 };
            const ptrdiff_t left = length - k * elements, have = left < elements ? left : elements;
            const char *at = from + size * elements * k * step;
            uint32_t *to = out + place_of_word(layout, k) * width;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            if (count == width && have == elements && vector == 1) {
                for (int i = 0; i < elements; i++)
                    __builtin_prefetch((const void *)((uintptr_t)at
                                                      + (uintptr_t)(size * (AHEAD + i) * step)));
                interleave(at, size, step, elements, width, to);
                continue;
            }
#endif
            gather(at, size, vector, step, elements, count, have, to);
        }
        if (layout == LAYOUT_TOPPED && k % 2)
            memset(out + place_of_word(layout, k) * width, 0, (size_t)width * sizeof *out);
        out += pieces->steps[g] * words * width;
    }
}

typedef uint32_t dot_row __attribute__((vector_size(4 * DOT_ROWS))); /* divides all panels */
enum { DOT_MOST_ROWS = DOT_MOST / DOT_ROWS };

/* Makes integers of the sign-magnitude codes of some steps, and adds to what is known of each
 * vector: `any` is 0 if all elements are, `sums` are of pairs of unsigned bytes. */
DOT_INLINE void finish_steps(int mantissa, int layout, int is_a, int width, ptrdiff_t steps,
                             uint32_t *words, dot_row any[DOT_MOST_ROWS],
                             dot_row sums[DOT_MOST_ROWS])
{
    const int bits = layout == LAYOUT_BYTES ? 8 : 16, topped = layout == LAYOUT_TOPPED;
    const uint32_t one = bits == 8 ? 0x01010101 : 0x00010001, top = one << (bits - 1);
    const uint32_t magnitude = one * ((1u << mantissa) - 1), bytes = 0x00ff00ff;
    /* integers have 2**(bits - 1) added, so that none borrows from the next */
    const uint32_t lower = bits == 8 && is_a ? top - (one << mantissa) : 0;
    const uint32_t flip = bits == 8 && is_a ? 0 : top;
    for (ptrdiff_t s = 0; s < steps; s++, words += fmt_words_of(layout) * width)
        for (int r = 0; r < width / DOT_ROWS; r++) {
            dot_row unsigned_bytes = {0};
            for (int t = topped; t < fmt_words_of(layout); t++) {
                uint32_t *const at = words + t * width + r * DOT_ROWS;
                dot_row code;
                memcpy(&code, at, sizeof code);
                const dot_row x = code & magnitude, minus = code >> mantissa & one;
                const dot_row integer = (x ^ ((minus << bits) - minus) ^ top) + minus;
                const dot_row word = (integer - lower) ^ flip;
                memcpy(at, &word, sizeof word);
                any[r] |= x;
                /* in either order, if it is the same for both operands */
                unsigned_bytes |= topped == 0 ? integer
                                  : t == 1    ? integer >> 8 & bytes
                                              : integer & ~bytes;
            }
            if (topped) {
                const dot_row word = unsigned_bytes ^ (is_a ? 0xffffffffu : 0x80808080u);
                memcpy(words + r * DOT_ROWS, &word, sizeof word);
            }
            if (!is_a && layout != LAYOUT_HALVES)
                sums[r] += (unsigned_bytes & bytes) + (unsigned_bytes >> 8 & bytes);
        }
}

enum { ALL_ZERO = 256 }; /* added to the code of a scale where all elements are 0 */

/* Puts the codes of scales where the scales will be. */
DOT_INLINE void gather_scales(const fmt_matrix *m, const uint8_t *codes, ptrdiff_t count,
                              const fmt_pieces *pieces, int width, float *scales)
{
    const ptrdiff_t stride = m->scale_vector, group = pieces->starts[0] / m->group;
    ptrdiff_t end = (group + 1) * m->group; /* of the group that has these scales */
    codes += group * m->scale_step;
    for (ptrdiff_t g = 0; g < pieces->count; g++, scales += width) {
        for (; pieces->starts[g] >= end; end += m->group)
            codes += m->scale_step;
        if (count < width)
            memset(scales, 0, (size_t)width * sizeof *scales);
        for (ptrdiff_t v = 0; v < count; v++) {
            const int32_t code = codes[v * stride];
            memcpy(scales + v, &code, sizeof code);
        }
    }
}

/* Makes scales of n codes, n a multiple of DOT_ROWS, and finds the least and greatest exponent. */
DOT_INLINE void finish_scales(const fmt_matrix *m, ptrdiff_t n, float *scales, int32_t range[2])
{
    typedef int32_t row __attribute__((vector_size(4 * DOT_ROWS)));
    const row zeros = {0}, first = zeros + (1 - m->bias - m->mantissa), nans = zeros + m->nan;
    row least = zeros + INT32_MAX, greatest = zeros + INT32_MIN;
    for (ptrdiff_t i = 0; i < n; i += DOT_ROWS) {
        row noted;
        memcpy(&noted, scales + i, sizeof noted);
        const row code = noted & (ALL_ZERO - 1), exponent = code + first;
        const row nan = code >= nans, none = nan | (noted >= ALL_ZERO), tiny = exponent < -126;
        const row low = (zeros + 1) << ((exponent + 149) & 31), high = (exponent + 127) << 23;
        const row power = (low & tiny) | (high & ~tiny);
        const row scale = (nan & 0x7fc00000) | (none & ~nan & 0x3f800000) | (power & ~none);
        memcpy(scales + i, &scale, sizeof scale);
        const row less = (exponent < least) & ~none, more = (exponent > greatest) & ~none;
        least = (exponent & less) | (least & ~less);
        greatest = (exponent & more) | (greatest & ~more);
    }
    int32_t from = INT32_MAX, to = INT32_MIN;
    for (int v = 0; v < DOT_ROWS; v++) {
        from = least[v] < from ? least[v] : from;
        to = greatest[v] > to ? greatest[v] : to;
    }
    range[0] = from <= to ? from : 0;
    range[1] = from <= to ? to : 0;
}

/* Makes integers of a panel's codes, and its scales, corrections and range. */
DOT_INLINE void finish_panel(const fmt_matrix *m, const uint8_t *scales, ptrdiff_t count,
                             const fmt_pieces *pieces, int layout, int is_a, int width,
                             const fmt_panel *panel)
{
    enum { AT_ONCE = 128 }; /* steps, whose sums of pairs of bytes fit 16 bits */
    const int rows = width / DOT_ROWS, corrected = !is_a && layout != LAYOUT_HALVES;
    uint32_t *words = panel->words;
    gather_scales(m, scales, count, pieces, width, panel->scales);
    for (ptrdiff_t g = 0; g < pieces->count; g++) {
        const int32_t steps = pieces->steps[g];
        dot_row any[DOT_MOST_ROWS] = {{0}}, sums[DOT_MOST_ROWS] = {{0}};
        for (int32_t s = 0; s < steps; s += AT_ONCE) {
            const int32_t these = steps - s < AT_ONCE ? steps - s : AT_ONCE;
            dot_row pairs[DOT_MOST_ROWS] = {{0}};
            finish_steps(m->mantissa, layout, is_a, width, these, words, any, pairs);
            for (int r = 0; corrected && r < rows; r++)
                sums[r] += (pairs[r] & 0xffff) + (pairs[r] >> 16);
            words += these * fmt_words_of(layout) * width;
        }
        for (int r = 0; r < rows; r++) {
            const ptrdiff_t at = g * width + r * DOT_ROWS;
            dot_row code;
            memcpy(&code, panel->scales + at, sizeof code);
            code |= (dot_row)(any[r] == 0) & ALL_ZERO;
            memcpy(panel->scales + at, &code, sizeof code);
            if (corrected) {
                const dot_row minus_sum = 4 * 128 * (uint32_t)steps - sums[r];
                const dot_row correction = layout == LAYOUT_BYTES ? minus_sum : 127 * minus_sum;
                memcpy(panel->corrections + at, &correction, sizeof correction);
            }
        }
    }
    finish_scales(m, pieces->count * width, panel->scales, panel->range);
}

static void pack_panel(const fmt_matrix *m, const void *codes, const uint8_t *scales,
                       ptrdiff_t count, const fmt_pieces *pieces, int is_a, int layout,
                       ptrdiff_t width, const fmt_panel *panel)
{
    const int bytes = m->type == TYPE_INT1;
#define PACK(SIZE, LAYOUT, IS_A, WIDTH)                                                            \
    if (bytes == (SIZE == 1) && layout == LAYOUT && is_a == IS_A && width == WIDTH) {               \
        gather_panel(m, codes, count, pieces, SIZE, LAYOUT, WIDTH, panel->words);                  \
        finish_panel(m, scales, count, pieces, LAYOUT, IS_A, WIDTH, panel);                        \
    }
#define PAIRED(SIZE, LAYOUT)                                                                       \
    PACK(SIZE, LAYOUT, 1, DOT_COLUMNS)
#define PACKS(SIZE, LAYOUT)                                                                        \
    PACK(SIZE, LAYOUT, 0, DOT_COLUMNS)                                                             \
    PACK(SIZE, LAYOUT, 1, DOT_ROWS)
    PACKS(1, LAYOUT_BYTES)
    PACKS(1, LAYOUT_HALVES)
    PACKS(2, LAYOUT_HALVES)
    PAIRED(1, LAYOUT_BYTES)
    PAIRED(1, LAYOUT_HALVES)
    PAIRED(2, LAYOUT_HALVES)
#if DOT_VNNI
    PACKS(1, LAYOUT_TOPPED)
    PACKS(2, LAYOUT_TOPPED)
#endif
#undef PACKS
#undef PAIRED
#undef PACK
}
