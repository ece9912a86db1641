/* Integers plane by plane and back, 64 values at a time, their bytes of one significance together.
 * Layout: fmtlib/bit_planes.py. */

#include "bit_columns.inc.h"

enum { PLANE_VALUES = 512 }; /* of one line of memory in each plane */

#define PLANES_OF(bits)                                                                            \
    static void to_planes##bits(const void *from, ptrdiff_t n, int planes, uint8_t *out,           \
                                ptrdiff_t stride)                                                  \
    {                                                                                              \
        uint64_t lines[bits][PLANE_VALUES / 64];                                                   \
        uint##bits##_t values[64];                                                                 \
        for (ptrdiff_t done = 0, count; done < n; done += count) {                                 \
            const uint##bits##_t *x = (const uint##bits##_t *)from + done;                         \
            count = n - done < PLANE_VALUES ? n - done : PLANE_VALUES;                             \
            for (ptrdiff_t i = 0; i < count; i += 64) {                                            \
                if (count - i < 64)                                                                \
                    memset(values, 0, sizeof values);                                              \
                memcpy(values, x + i, sizeof *x * (size_t)(count - i < 64 ? count - i : 64));      \
                for (int byte = 0; 8 * byte < planes; byte++) {                                    \
                    uint64_t words[8];                                                             \
                    uint8_t bytes[64];                                                             \
                    for (int j = 0; j < 64; j++)                                                   \
                        bytes[j] = (uint8_t)(values[j] >> 8 * byte);                               \
                    split_bits(bytes, words);                                                      \
                    for (int k = 0; k < 8; k++)                                                    \
                        lines[8 * byte + k][i / 64] = words[k];                                    \
                }                                                                                  \
            }                                                                                      \
            for (int k = 0; k < planes; k++) {                                                     \
                uint8_t *to = out + (planes - 1 - k) * stride + done / 8;                          \
                if (count == PLANE_VALUES)                                                         \
                    memcpy(to, lines[k], PLANE_VALUES / 8);                                        \
                else                                                                               \
                    memcpy(to, lines[k], (size_t)((count + 7) / 8));                               \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void from_planes##bits(const uint8_t *from, ptrdiff_t stride, int planes, int width,    \
                                  int is_signed, ptrdiff_t n, void *to)                            \
    {                                                                                              \
        const uint##bits##_t sign = (uint##bits##_t)((uint32_t)is_signed << (width - 1));          \
        uint64_t lines[bits][PLANE_VALUES / 64] = {{0}};                                           \
        for (ptrdiff_t done = 0, count; done < n; done += count) {                                 \
            count = n - done < PLANE_VALUES ? n - done : PLANE_VALUES;                             \
            for (int k = 0; k < planes; k++) {                                                     \
                const uint8_t *line = from + k * stride + done / 8;                                \
                if (count == PLANE_VALUES)                                                         \
                    memcpy(lines[width - 1 - k], line, PLANE_VALUES / 8);                          \
                else                                                                               \
                    memcpy(lines[width - 1 - k], line, (size_t)((count + 7) / 8));                 \
            }                                                                                      \
            for (ptrdiff_t i = 0; i < count; i += 64) {                                            \
                uint##bits##_t values[64] = {0};                                                   \
                for (int byte = 0; 8 * byte < width; byte++) {                                     \
                    uint64_t words[8];                                                             \
                    uint8_t bytes[64];                                                             \
                    for (int k = 0; k < 8; k++)                                                    \
                        words[k] = lines[8 * byte + k][i / 64];                                    \
                    join_bits(words, bytes);                                                       \
                    for (int j = 0; j < 64; j++)                                                   \
                        values[j] |= (uint##bits##_t)((uint##bits##_t)bytes[j] << 8 * byte);       \
                }                                                                                  \
                for (int j = 0; j < 64; j++) /* the sign goes up to the top */                     \
                    values[j] = (uint##bits##_t)((values[j] ^ sign) - sign);                       \
                memcpy((uint##bits##_t *)to + done + i, values,                                    \
                       sizeof *values * (size_t)(count - i < 64 ? count - i : 64));                \
            }                                                                                      \
        }                                                                                          \
    }

PLANES_OF(8)
PLANES_OF(16)
PLANES_OF(32)

static int64_t serial_dot(const fmt_serial_operand *a, ptrdiff_t a_row, const fmt_serial_operand *b,
                          ptrdiff_t b_row, ptrdiff_t words)
{
    uint64_t total = 0;
    for (int i = 0; i < a->planes; i++) {
        const uint64_t *x = a->words + i * a->stride + a_row * words;
        uint64_t sum = 0;
        for (int j = 0; j < b->planes; j++) {
            const uint64_t *y = b->words + j * b->stride + b_row * words;
            uint64_t ones = 0;
            for (ptrdiff_t k = 0; k < words; k++)
                ones += (uint64_t)count_ones(x[k] & y[k]);
            sum += ones * (uint64_t)b->weights[j];
        }
        total += sum * (uint64_t)a->weights[i];
    }
    return (int64_t)total;
}
