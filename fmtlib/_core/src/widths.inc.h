/* The bits that groups of integers need, found from ORs: the OR of a group has the length of its
 * greatest value, and its lowest set bit is the lowest of all.
 *
 * Of a number in two's complement counts the highest bit that differs from the sign.  That is the
 * highest set bit of x ^ x >> 1, below the sign's own place: no shift by the sign is needed, and so
 * eight bytes are worked on as one word, whatever the integers' size, if nothing is brought across to
 * the sign's place.  That keeps the sign: of the OR it tells whether any value is negative. */

static inline void or_pairs(const uint64_t *restrict from, uint64_t *restrict to, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = from[2 * i] | from[2 * i + 1];
}

/* Groups of times * lanes words, ORed down to `lanes` words each; signs: where x >> 1 counts. */
VECTOR_INLINE void or_lanes(const uint8_t *restrict x, uint64_t *restrict out, ptrdiff_t groups,
                            ptrdiff_t times, const int lanes, uint64_t signs)
{
    for (ptrdiff_t g = 0; g < groups; g++) {
        uint64_t found[4] = {0};
        for (ptrdiff_t i = 0; i < times; i++) {
            for (int j = 0; j < lanes; j++) {
                const uint64_t word = load_word(x + 8 * ((g * times + i) * lanes + j));
                found[j] |= word ^ (word >> 1 & signs);
            }
        }
        memcpy(out + g * lanes, found, sizeof *out * (size_t)lanes);
    }
}

/* Groups of `words` words each, at most WIDTH_BYTES in all, ORed down to one. */
static inline void or_words(const uint8_t *x, uint64_t *one, ptrdiff_t groups, ptrdiff_t words,
                            uint64_t signs)
{
    uint64_t fours[WIDTH_GROUPS], twos[WIDTH_GROUPS];
    if (words == 4 || words % 4) {
        if (words == 4)
            or_lanes(x, fours, groups, 1, 4, signs);
        else if (words == 2)
            or_lanes(x, twos, groups, 1, 2, signs);
        else if (words % 2 == 0)
            or_lanes(x, twos, groups, words / 2, 2, signs);
        else
            or_lanes(x, one, groups, words, 1, signs);
    } else {
        or_lanes(x, fours, groups, words / 4, 4, signs);
    }
    if (words % 4 == 0)
        or_pairs(fours, twos, 2 * groups);
    if (words % 2 == 0)
        or_pairs(twos, one, groups);
}

#define WIDTHS_OF(bits)                                                                            \
    static void fold##bits(const uint64_t *restrict words, uint##bits##_t *restrict all,           \
                           ptrdiff_t n)                                                            \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            uint64_t word = words[i] | words[i] >> 32;                                             \
            word |= bits < 32 ? word >> 16 : 0;                                                    \
            word |= bits < 16 ? word >> 8 : 0;                                                     \
            all[i] |= (uint##bits##_t)word;                                                        \
        }                                                                                          \
    }                                                                                              \
    VECTOR_INLINE void or_each##bits(const uint##bits##_t *restrict x,                             \
                                     uint##bits##_t *restrict all, ptrdiff_t groups,               \
                                     ptrdiff_t length, uint##bits##_t signs)                       \
    {                                                                                              \
        for (ptrdiff_t g = 0; g < groups; g++) {                                                   \
            uint##bits##_t found = 0;                                                              \
            for (ptrdiff_t i = 0; i < length; i++) {                                               \
                const uint##bits##_t value = x[g * length + i];                                    \
                found |= value ^ (value >> 1 & signs);                                             \
            }                                                                                      \
            all[g] |= found;                                                                       \
        }                                                                                          \
    }                                                                                              \
    static void or_runs##bits(const void *x, void *all, ptrdiff_t groups, ptrdiff_t length,        \
                              int is_signed)                                                       \
    {                                                                                              \
        const uint##bits##_t signs = (uint##bits##_t)(0 - is_signed);                              \
        uint64_t words[WIDTH_GROUPS];                                                              \
        if (length % (64 / bits) == 0) {                                                           \
            const uint64_t below = ~(lane_ones(bits) << (bits - 1));                               \
            or_words(x, words, groups, length / (64 / bits), is_signed ? below : 0);               \
            fold##bits(words, all, groups);                                                        \
        } else if (length == 1) {                                                                  \
            or_each##bits(x, all, groups, 1, signs);                                               \
        } else if (length == 2) {                                                                  \
            or_each##bits(x, all, groups, 2, signs);                                               \
        } else if (length == 4) {                                                                  \
            or_each##bits(x, all, groups, 4, signs);                                               \
        } else {                                                                                   \
            or_each##bits(x, all, groups, length, signs);                                          \
        }                                                                                          \
    }                                                                                              \
    static void or_rows##bits(const void *x, void *all, ptrdiff_t n, int is_signed)                \
    {                                                                                              \
        or_each##bits(x, all, n, 1, (uint##bits##_t)(0 - is_signed));                              \
    }                                                                                              \
    static void magnitudes##bits(const void *from, void *to, ptrdiff_t n)                          \
    {                                                                                              \
        const uint##bits##_t *restrict x = from;                                                   \
        uint##bits##_t *restrict out = to;                                                         \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const uint##bits##_t sign = (uint##bits##_t)(0 - (x[i] >> (bits - 1)));                \
            out[i] = (uint##bits##_t)((x[i] ^ sign) - sign);                                       \
        }                                                                                          \
    }                                                                                              \
    static void bit_lengths##bits(const void *found, uint8_t *restrict high, ptrdiff_t n,          \
                                  int is_signed, int more, int zero)                               \
    {                                                                                              \
        const uint##bits##_t *restrict all = found;                                                \
        const uint32_t mask = (uint32_t)(((uint64_t)1 << (bits - is_signed)) - 1);                 \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const uint32_t value = all[i] & mask, some = value | 1;                                \
            /* without the bit below, the top one is not rounded up */                             \
            const uint32_t exact = (some & ~(some >> 1)) & 0x7fffffff;                             \
            const uint32_t length = (int_to_float32_bits(exact) >> 23) - 126;                      \
            const uint32_t least = value == 0 ? (uint32_t)(zero - 1) : 0;                          \
            high[i] = (uint8_t)((some >> 31 ? 32 : length) + least + (uint32_t)more);              \
        }                                                                                          \
    }                                                                                              \
    static void lowest_bits##bits(const void *found, uint8_t *restrict low, ptrdiff_t n)           \
    {                                                                                              \
        const uint##bits##_t *restrict all = found;                                                \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const uint32_t some = all[i] | (uint32_t)(all[i] == 0);                                \
            /* bit 31 is -2**31 as a number: the exponent is the same */                           \
            low[i] = (uint8_t)((int_to_float32_bits(some & (0 - some)) >> 23 & 255) - 127);        \
        }                                                                                          \
    }

WIDTHS_OF(8)
WIDTHS_OF(16)
WIDTHS_OF(32)

#define WIDTH_KERNELS(bits)                                                                        \
    {                                                                                              \
        or_runs##bits, or_rows##bits, magnitudes##bits, bit_lengths##bits, lowest_bits##bits       \
    }
