/* Lossless coding of groups of integers, each at its own width: what the streams would take, and the
 * streams (group_coder.inc.h). */

#include "group_coder.inc.h"

#define COUNT_NONZERO(bits)                                                                        \
    static void flag_nonzero##bits(const uint##bits##_t *restrict x, uint8_t *restrict flags,      \
                                   ptrdiff_t n)                                                    \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            flags[i] = x[i] != 0;                                                                  \
    }                                                                                              \
    static int64_t sum_nonzero##bits(const uint##bits##_t *restrict x, ptrdiff_t n)                \
    {                                                                                              \
        int64_t found = 0;                                                                         \
        for (ptrdiff_t done = 0, count; done < n; done += count) {                                 \
            uint32_t some = 0;                                                                     \
            count = n - done < WIDTH_BYTES ? n - done : WIDTH_BYTES;                               \
            for (ptrdiff_t i = done; i < done + count; i++)                                        \
                some += x[i] != 0;                                                                 \
            found += some;                                                                         \
        }                                                                                          \
        return found;                                                                              \
    }
COUNT_NONZERO(8)
COUNT_NONZERO(16)
COUNT_NONZERO(32)

/* Values that are not 0, of each of `count` groups side by side, at most WIDTH_BYTES in all. */
VECTOR_INLINE void count_nonzero(const void *x, ptrdiff_t count, ptrdiff_t length,
                                 uint32_t *restrict counts, const int bits)
{
    uint8_t flags[WIDTH_BYTES];
    if (bits == 8)
        flag_nonzero8(x, flags, count * length);
    else if (bits == 16)
        flag_nonzero16(x, flags, count * length);
    else
        flag_nonzero32(x, flags, count * length);
    if (length == 16) {
        for (ptrdiff_t g = 0; g < count; g++) {
            const uint64_t pairs = load_word(flags + 16 * g) + load_word(flags + 16 * g + 8);
            counts[g] = (uint32_t)(pairs * lane_ones(8) >> 56);
        }
        return;
    }
    for (ptrdiff_t g = 0; g < count; g++) {
        uint32_t some = 0;
        for (ptrdiff_t i = 0; i < length; i++)
            some += flags[g * length + i];
        counts[g] = some;
    }
}

/* One less than two's complement takes, if a group needs no sign and has that bit to spare. */
static inline uint32_t spare_bit(const fmt_compress_plan *p, unsigned measured)
{
    return (uint32_t)p->is_signed & (measured < NEGATIVE_GROUP) & ((measured & 127) > 1);
}

/* Widths of groups from their ORs.  Signed: with the sign that two's complement needs, and
 * NEGATIVE_GROUP if there is a negative value. */
VECTOR_INLINE void finish_widths(const fmt_compress_plan *p, const uint32_t *all,
                                 uint8_t *restrict widths, ptrdiff_t count, const int bits,
                                 const fmt_width_kernels *k)
{
    const uint8_t *top = (const uint8_t *)all + bits / 8 - 1;
    k->bit_lengths(all, widths, count, p->is_signed ? OR_SIGNED : OR_VALUES, p->is_signed,
                   !p->is_signed);
    if (p->is_signed)
        for (ptrdiff_t g = 0; g < count; g++)
            widths[g] |= top[g * (bits / 8)] & NEGATIVE_GROUP;
}

/* Adds up what `count` groups of one length take, of at most 2**27 values in all. */
VECTOR_INLINE void add_sizes(const fmt_compress_plan *p, const uint8_t *widths,
                                 const uint32_t *nonzeros, ptrdiff_t count, ptrdiff_t length,
                                 fmt_measured *found)
{
    uint32_t dense[2] = {0}, sparse[2] = {0}, any = 0;
    for (ptrdiff_t g = 0; g < count; g++) {
        const uint32_t width = widths[g] & 127, least = width - spare_bit(p, widths[g]);
        any |= widths[g];
        dense[0] += width;
        dense[1] += least;
        sparse[0] += nonzeros[g] * width;
        sparse[1] += nonzeros[g] * least;
    }
    found->negative |= any & NEGATIVE_GROUP;
    for (int i = 0; i < 2; i++) {
        found->dense[i] += length * (int64_t)dense[i];
        found->sparse[i] += sparse[i];
    }
}

/* `count` groups of one length, a step of or_runs at a time. */
VECTOR_INLINE void measure_groups(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t count,
                                  ptrdiff_t length, uint8_t *restrict widths, fmt_measured *found,
                                  const int bits, const fmt_width_kernels *k)
{
    uint32_t all[WIDTH_GROUPS], nonzeros[WIDTH_GROUPS];
    memset(all, 0, (size_t)count * bits / 8);
    k->or_runs(x, all, count, length, p->is_signed ? OR_SIGNED : OR_VALUES);
    finish_widths(p, all, widths, count, bits, k);
    if (length > WIDTH_BYTES) { /* one group */
        const int64_t some = bits == 8    ? sum_nonzero8((const void *)x, length)
                             : bits == 16 ? sum_nonzero16((const void *)x, length)
                                          : sum_nonzero32((const void *)x, length);
        const int64_t width = widths[0] & 127, least = width - spare_bit(p, widths[0]);
        found->negative |= widths[0] & NEGATIVE_GROUP;
        found->dense[0] += length * width;
        found->dense[1] += length * least;
        found->sparse[0] += some * width;
        found->sparse[1] += some * least;
        return;
    }
    count_nonzero(x, count, length, nonzeros, bits);
    add_sizes(p, widths, nonzeros, count, length, found);
}

/* ORs (see widths.inc.h) and numbers of values that are not 0, of COLUMNS columns of at most 255 rows. */
#define COLUMNS_OF(bits)                                                                           \
    enum { COLUMNS##bits = 512 / bits };                                                           \
    VECTOR_INLINE void scan_columns##bits(const uint##bits##_t *x, ptrdiff_t stride,               \
                                          ptrdiff_t rows, const int columns,                       \
                                          uint##bits##_t signs, uint##bits##_t *restrict all,      \
                                          uint32_t *restrict nonzeros)                             \
    {                                                                                              \
        uint##bits##_t found[COLUMNS##bits] = {0}, some[COLUMNS##bits] = {0};                      \
        for (ptrdiff_t i = 0; i < rows; i++) {                                                     \
            for (int j = 0; j < columns; j++) {                                                    \
                const uint##bits##_t value = x[i * stride + j];                                    \
                found[j] |= value ^ (value >> 1 & signs);                                          \
                some[j] += value != 0;                                                             \
            }                                                                                      \
        }                                                                                          \
        for (int j = 0; j < columns; j++) {                                                        \
            all[j] |= found[j];                                                                    \
            nonzeros[j] += some[j];                                                                \
        }                                                                                          \
    }                                                                                              \
    static void or_columns##bits(const void *from, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t n,  \
                                 int is_signed, void *to, uint32_t *nonzeros)                      \
    {                                                                                              \
        const uint##bits##_t *x = from, signs = (uint##bits##_t)(0 - is_signed);                   \
        uint##bits##_t *all = to;                                                                  \
        for (ptrdiff_t i = 0, some; i < rows; i += some, x += some * stride) {                     \
            some = rows - i < 255 ? rows - i : 255;                                                \
            ptrdiff_t j = 0;                                                                       \
            for (; j + COLUMNS##bits <= n; j += COLUMNS##bits)                                     \
                scan_columns##bits(x + j, stride, some, COLUMNS##bits, signs, all + j,             \
                                   nonzeros + j);                                                  \
            scan_columns##bits(x + j, stride, some, (int)(n - j), signs, all + j, nonzeros + j);   \
        }                                                                                          \
    }
COLUMNS_OF(8)
COLUMNS_OF(16)
COLUMNS_OF(32)

/* Groups of rows of one matrix, of as many columns as WIDTH_GROUPS at a time. */
VECTOR_INLINE void measure_columns(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t inner,
                                   uint8_t *widths, fmt_measured *found, const int bits,
                                   const fmt_width_kernels *k)
{
    const ptrdiff_t per_row = groups_in_row(p);
    uint32_t all[WIDTH_GROUPS], nonzeros[WIDTH_GROUPS];
    uint8_t part[WIDTH_GROUPS];
    for (ptrdiff_t g = 0; g < per_row; g++) {
        const ptrdiff_t length = group_length(p, g);
        for (ptrdiff_t j = 0, n; j < inner; j += n) {
            const void *from = x + (g * p->group * inner + j) * bits / 8;
            n = inner - j < WIDTH_GROUPS ? inner - j : WIDTH_GROUPS;
            memset(all, 0, (size_t)n * bits / 8);
            memset(nonzeros, 0, (size_t)n * sizeof *nonzeros);
            if (bits == 8)
                or_columns8(from, inner, length, n, p->is_signed, all, nonzeros);
            else if (bits == 16)
                or_columns16(from, inner, length, n, p->is_signed, all, nonzeros);
            else
                or_columns32(from, inner, length, n, p->is_signed, all, nonzeros);
            finish_widths(p, all, part, n, bits, k);
            add_sizes(p, part, nonzeros, n, length, found);
            for (ptrdiff_t i = 0; i < n; i++)
                widths[(j + i) * per_row + g] = part[i];
        }
    }
}

VECTOR_INLINE void measure(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t first,
                           ptrdiff_t count, uint8_t *widths, fmt_measured *found, const int bits,
                           const fmt_width_kernels *k)
{
    const ptrdiff_t per_row = groups_in_row(p), whole = p->length / p->group;
    ptrdiff_t in_row = first % per_row;
    ptrdiff_t most = WIDTH_BYTES * 8 / bits / p->group;
    most = most < 1 ? 1 : most > WIDTH_GROUPS ? WIDTH_GROUPS : most;
    for (ptrdiff_t g = 0, n; g < count; g += n) {
        const ptrdiff_t length = group_length(p, in_row);
        n = whole - in_row < most ? whole - in_row : most;
        n = n < 1 ? 1 : n < count - g ? n : count - g;
        measure_groups(p, x, n, length, widths + g, found, bits, k);
        x += n * length * bits / 8;
        in_row = in_row + n < per_row ? in_row + n : 0;
    }
}

/* Bits of the payload of `count` groups; the place of each `every`th one. */
static int64_t payload_bits(const fmt_compress_plan *p, ptrdiff_t first, ptrdiff_t count,
                            const uint8_t *headers, const uint8_t *zeros, int64_t zero_size,
                            ptrdiff_t every, int64_t *places)
{
    const ptrdiff_t per_row = groups_in_row(p);
    ptrdiff_t in_row = first % per_row;
    bit_reader vectors = {zeros, zero_size, first / per_row * p->length + in_row * p->group};
    int64_t bits = 0;
    if (!p->sparse && !places && p->length % p->group == 0) {
        for (ptrdiff_t g = 0; g < count; g++)
            bits += (headers[g] & (8 * p->size - 1)) + 1;
        return bits * p->group;
    }
    for (ptrdiff_t g = 0; g < count; g++) {
        if (places && g % every == 0)
            places[g / every] = bits;
        ptrdiff_t n = group_length(p, in_row), kept = n;
        if (p->sparse) {
            for (kept = 0; n > 0; n -= 64) {
                const unsigned some = n < 64 ? (unsigned)n : 64;
                kept += count_ones(take_bits(&vectors, some, 1) & low_ones(some));
            }
        }
        bits += ((headers[g] & (8 * p->size - 1)) + 1) * (int64_t)kept;
        in_row = in_row + 1 < per_row ? in_row + 1 : 0;
    }
    return bits;
}

#define COMPRESS_OF(bits)                                                                          \
    static void measure##bits(const fmt_compress_plan *p, const void *x, ptrdiff_t first,          \
                              ptrdiff_t count, uint8_t *widths, fmt_measured *found)               \
    {                                                                                              \
        static const fmt_width_kernels k = WIDTH_KERNELS(bits);                                    \
        measure(p, x, first, count, widths, found, bits, &k);                                      \
    }                                                                                              \
    static void measure_columns##bits(const fmt_compress_plan *p, const void *x, ptrdiff_t outer,  \
                                      ptrdiff_t inner, uint8_t *widths, fmt_measured *found)       \
    {                                                                                              \
        static const fmt_width_kernels k = WIDTH_KERNELS(bits);                                    \
        for (ptrdiff_t i = 0; i < outer; i++)                                                      \
            measure_columns(p, (const uint8_t *)x + i * p->length * inner * bits / 8, inner,       \
                            widths + i * inner * groups_in_row(p), found, bits, &k);               \
    }

COMPRESS_OF(8)
COMPRESS_OF(16)
COMPRESS_OF(32)

#define COMPRESS_KERNELS(bits)                                                                     \
    {                                                                                              \
        measure##bits, measure_columns##bits, {encode_groups##bits, decode_groups##bits},          \
            payload_bits                                                                           \
    }
