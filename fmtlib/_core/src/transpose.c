/* Transposition of matrices of integers: tiles of one line of memory a row go through two buffers, since
 * rows may be any power of two apart, for which caches have few places; in them, blocks of vectors,
 * where there are any, are transposed in registers: rows interleaved with those half a block below,
 * as often as halving ends at 1. */
#include <string.h>

#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define TRANSPOSE_OF(bits)                                                                         \
    static void plain##bits(const uint##bits##_t *x, ptrdiff_t x_row, uint##bits##_t *out,         \
                            ptrdiff_t out_row, ptrdiff_t rows, ptrdiff_t columns)                  \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < rows; i++)                                                       \
            for (ptrdiff_t j = 0; j < columns; j++)                                                \
                out[j * out_row + i] = x[i * x_row + j];                                           \
    }
TRANSPOSE_OF(8)
TRANSPOSE_OF(16)
TRANSPOSE_OF(32)

static void plain(const char *x, ptrdiff_t x_row, char *out, ptrdiff_t out_row, ptrdiff_t rows,
                  ptrdiff_t columns, int size)
{
    if (size == 1)
        plain8((const void *)x, x_row, (void *)out, out_row, rows, columns);
    else if (size == 2)
        plain16((const void *)x, x_row, (void *)out, out_row, rows, columns);
    else
        plain32((const void *)x, x_row, (void *)out, out_row, rows, columns);
}

#if defined(__SSE2__)
enum { VECTOR = 16, LINE = 64 };

static inline __m128i interleave(__m128i a, __m128i b, int high, const int size)
{
    if (size == 1)
        return high ? _mm_unpackhi_epi8(a, b) : _mm_unpacklo_epi8(a, b);
    if (size == 2)
        return high ? _mm_unpackhi_epi16(a, b) : _mm_unpacklo_epi16(a, b);
    return high ? _mm_unpackhi_epi32(a, b) : _mm_unpacklo_epi32(a, b);
}

static inline __attribute__((always_inline)) void block(const char *x, ptrdiff_t x_row, char *out,
                                                        ptrdiff_t out_row, const int size)
{
    const int lanes = VECTOR / size;
    __m128i a[VECTOR], b[VECTOR];
    for (int i = 0; i < lanes; i++)
        a[i] = _mm_loadu_si128((const __m128i *)(x + i * x_row * size));
    for (int half = lanes; half > 1; half /= 2) {
        for (int i = 0; i < lanes; i++)
            b[i] = interleave(a[i / 2], a[i / 2 + lanes / 2], i % 2, size);
        memcpy(a, b, sizeof(__m128i) * (size_t)lanes);
    }
    for (int i = 0; i < lanes; i++)
        _mm_storeu_si128((__m128i *)(out + i * out_row * size), a[i]);
}

/* A tile of 64 bytes by as many rows as there are columns. */
static inline __attribute__((always_inline)) void tile(const char *x, ptrdiff_t x_row, char *out,
                                                       ptrdiff_t out_row, const int size)
{
    const int lanes = VECTOR / size, side = LINE / size;
    char rows[LINE * LINE], columns[LINE * LINE];
    for (int i = 0; i < side; i++)
        memcpy(rows + i * LINE, x + i * x_row * size, LINE);
    for (int i = 0; i < side; i += lanes)
        for (int j = 0; j < side; j += lanes)
            block(rows + i * LINE + j * size, side, columns + j * LINE + i * size, side, size);
    for (int i = 0; i < side; i++)
        memcpy(out + i * out_row * size, columns + i * LINE, LINE);
}

static void move_tile(const char *x, ptrdiff_t x_row, char *out, ptrdiff_t out_row, int size)
{
    if (size == 1)
        tile(x, x_row, out, out_row, 1);
    else if (size == 2)
        tile(x, x_row, out, out_row, 2);
    else
        tile(x, x_row, out, out_row, 4);
}
#endif

void fmt_transpose(const void *from, ptrdiff_t x_row, void *to, ptrdiff_t out_row, ptrdiff_t rows,
                   ptrdiff_t columns, int size)
{
    const char *x = from;
    char *out = to;
    ptrdiff_t whole_rows = 0, whole_columns = 0;
#if defined(__SSE2__)
    const ptrdiff_t side = LINE / size;
    whole_rows = rows - rows % side, whole_columns = columns - columns % side;
    if (x_row >= out_row) { /* what is far apart is done with line by line, and asked for in time */
        for (ptrdiff_t i = 0; i < whole_rows; i += side)
            for (ptrdiff_t j = 0; j < whole_columns; j += side) {
                for (ptrdiff_t k = i + side; k < i + 2 * side && k < whole_rows; k++)
                    __builtin_prefetch(x + (k * x_row + j) * size);
                move_tile(x + (i * x_row + j) * size, x_row, out + (j * out_row + i) * size, out_row,
                          size);
            }
    } else {
        for (ptrdiff_t j = 0; j < whole_columns; j += side)
            for (ptrdiff_t i = 0; i < whole_rows; i += side) {
                for (ptrdiff_t k = j + side; k < j + 2 * side && k < whole_columns; k++)
                    __builtin_prefetch(out + (k * out_row + i) * size, 1);
                move_tile(x + (i * x_row + j) * size, x_row, out + (j * out_row + i) * size, out_row,
                          size);
            }
    }
#endif
    plain(x + whole_rows * x_row * size, x_row, out + whole_rows * size, out_row,
          rows - whole_rows, columns, size);
    plain(x + whole_columns * size, x_row, out + whole_columns * out_row * size, out_row,
          whole_rows, columns - whole_columns, size);
}
