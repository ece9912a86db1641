/* The bits that groups of integers need, found from ORs: the OR of a group has the length of its
 * greatest value, and its lowest set bit is the lowest of all.
 *
 * Of a number in two's complement counts the highest bit that differs from the sign.  That is the
 * highest set bit of x ^ x >> 1, below the sign's own place: no shift by the sign is needed, and so
 * eight bytes are worked on as one word, whatever the integers' size, if nothing is brought across to
 * the sign's place.  That keeps the sign: of the OR it tells whether any value is negative.
 *
 * x ^ x << 1 has that bit one place higher, and the lowest set bit of x where it is: both ends in one OR. */

enum { WINDOW = 64 }; /* values of a group of any number of which ORs of all windows are taken */

static inline void or_pairs(const uint64_t *restrict from, uint64_t *restrict to, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = from[2 * i] | from[2 * i + 1];
}

/* below: all but the place of the sign (OR_SIGNED), or of the lowest bit (OR_ENDS), of each lane. */
VECTOR_INLINE uint64_t ored(uint64_t word, uint64_t below, const int what)
{
    return what == OR_VALUES ? word : word ^ ((what == OR_ENDS ? word << 1 : word >> 1) & below);
}

/* Groups of times * lanes words, ORed down to `lanes` words each. */
VECTOR_INLINE void or_lanes(const uint8_t *restrict x, uint64_t *restrict out, ptrdiff_t groups,
                            ptrdiff_t times, const int lanes, uint64_t below, const int what)
{
    for (ptrdiff_t g = 0; g < groups; g++) {
        uint64_t found[4] = {0};
        for (ptrdiff_t i = 0; i < times; i++)
            for (int j = 0; j < lanes; j++)
                found[j] |= ored(load_word(x + 8 * ((g * times + i) * lanes + j)), below, what);
        memcpy(out + g * lanes, found, sizeof *out * (size_t)lanes);
    }
}

/* Groups of `words` words each, at most WIDTH_BYTES in all, ORed down to one. */
VECTOR_INLINE void or_words(const uint8_t *x, uint64_t *one, ptrdiff_t groups, ptrdiff_t words,
                            uint64_t below, const int what)
{
    uint64_t fours[WIDTH_GROUPS], twos[WIDTH_GROUPS];
    if (words == 4 || words % 4) {
        if (words == 4)
            or_lanes(x, fours, groups, 1, 4, below, what);
        else if (words == 2)
            or_lanes(x, twos, groups, 1, 2, below, what);
        else if (words % 2 == 0)
            or_lanes(x, twos, groups, words / 2, 2, below, what);
        else
            or_lanes(x, one, groups, words, 1, below, what);
    } else {
        or_lanes(x, fours, groups, words / 4, 4, below, what);
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
    VECTOR_INLINE uint##bits##_t ored##bits(uint##bits##_t x, const int what)                      \
    {                                                                                              \
        const uint##bits##_t other = (uint##bits##_t)(what == OR_ENDS ? x << 1 : x >> 1);          \
        return what == OR_VALUES ? x : x ^ other;                                                  \
    }                                                                                              \
    VECTOR_INLINE void or_each##bits(const uint##bits##_t *restrict x,                             \
                                     uint##bits##_t *restrict all, ptrdiff_t groups,               \
                                     ptrdiff_t length, const int what)                             \
    {                                                                                              \
        for (ptrdiff_t g = 0; g < groups; g++) {                                                   \
            uint##bits##_t found = 0;                                                              \
            for (ptrdiff_t i = 0; i < length; i++)                                                 \
                found |= ored##bits(x[g * length + i], what);                                      \
            all[g] |= found;                                                                       \
        }                                                                                          \
    }                                                                                              \
    static void or_ahead##bits(const uint##bits##_t *restrict x, uint##bits##_t *restrict out,     \
                               ptrdiff_t n, ptrdiff_t reach)                                       \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            out[i] = x[i] | x[i + reach];                                                          \
    }                                                                                              \
    /* ORs of as many values as a group has, from each value on, by doubling. */                   \
    VECTOR_INLINE void or_windows##bits(const uint##bits##_t *restrict x,                          \
                                        uint##bits##_t *restrict all, ptrdiff_t groups,            \
                                        ptrdiff_t length, const int what)                          \
    {                                                                                              \
        uint##bits##_t a[WIDTH_BYTES * 8 / bits], b[WIDTH_BYTES * 8 / bits], *from = a, *to = b;   \
        ptrdiff_t n = groups * length, reach = 1;                                                  \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            a[i] = ored##bits(x[i], what);                                                         \
        for (ptrdiff_t more; reach < length; reach += more) {                                      \
            uint##bits##_t *const next = from;                                                     \
            more = 2 * reach <= length ? reach : length - reach;                                   \
            n -= more;                                                                             \
            or_ahead##bits(from, to, n, more);                                                     \
            from = to;                                                                             \
            to = next;                                                                             \
        }                                                                                          \
        for (ptrdiff_t g = 0; g < groups; g++)                                                     \
            all[g] |= from[g * length];                                                            \
    }                                                                                              \
    VECTOR_INLINE void or_runs_of##bits(const void *x, void *all, ptrdiff_t groups,                \
                                        ptrdiff_t length, const int what)                          \
    {                                                                                              \
        const uint64_t ones = lane_ones(bits);                                                     \
        const uint64_t below = ~(what == OR_ENDS ? ones : ones << (bits - 1));                     \
        const ptrdiff_t count = length / (64 / bits), rest = length % (64 / bits);                 \
        uint64_t words[WIDTH_GROUPS];                                                              \
        if (rest == 0 && (count % 2 == 0 || count == 1 || length > WINDOW)) {                      \
            or_words(x, words, groups, count, below, what);                                        \
            fold##bits(words, all, groups);                                                        \
        } else if (length == 1) {                                                                  \
            or_each##bits(x, all, groups, 1, what);                                                \
        } else if (length == 2) {                                                                  \
            or_each##bits(x, all, groups, 2, what);                                                \
        } else if (length == 4) {                                                                  \
            or_each##bits(x, all, groups, 4, what);                                                \
        } else if (length <= WINDOW) {                                                             \
            or_windows##bits(x, all, groups, length, what);                                        \
        } else {                                                                                   \
            or_each##bits(x, all, groups, length, what);                                           \
        }                                                                                          \
    }                                                                                              \
    static void or_runs##bits(const void *x, void *all, ptrdiff_t groups, ptrdiff_t length,        \
                              int what)                                                            \
    {                                                                                              \
        if (what == OR_VALUES)                                                                     \
            or_runs_of##bits(x, all, groups, length, OR_VALUES);                                   \
        else if (what == OR_SIGNED)                                                                \
            or_runs_of##bits(x, all, groups, length, OR_SIGNED);                                   \
        else                                                                                       \
            or_runs_of##bits(x, all, groups, length, OR_ENDS);                                     \
    }                                                                                              \
    static void or_rows##bits(const void *x, void *all, ptrdiff_t n, int what)                     \
    {                                                                                              \
        if (what == OR_VALUES)                                                                     \
            or_each##bits(x, all, n, 1, OR_VALUES);                                                \
        else if (what == OR_SIGNED)                                                                \
            or_each##bits(x, all, n, 1, OR_SIGNED);                                                \
        else                                                                                       \
            or_each##bits(x, all, n, 1, OR_ENDS);                                                  \
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
                                  int what, int more, int zero)                                    \
    {                                                                                              \
        const uint##bits##_t *restrict all = found;                                                \
        const uint32_t mask = (uint32_t)(((uint64_t)1 << (bits - (what != OR_VALUES))) - 1);       \
        const int below = what == OR_ENDS;                                                         \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const uint32_t value = (uint32_t)all[i] >> below & mask, some = value | 1;             \
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
