/* Eight bytes as a word, little-endian, of lanes of 8, 16 or 32 bits. */

#define VECTOR_INLINE static inline __attribute__((always_inline))

static inline uint64_t load_word(const uint8_t *x)
{
    uint64_t word;
    memcpy(&word, x, sizeof word);
    return word;
}

/* n: 1 to 64.  No branches here and below: lengths cannot be foreseen. */
static inline uint64_t low_ones(ptrdiff_t n) { return ~UINT64_C(0) >> (64 - n); }

/* A one at the bottom of each lane. */
VECTOR_INLINE uint64_t lane_ones(const int bits) { return ~UINT64_C(0) / low_ones(bits); }

/* Each second lane, filled with ones from its bottom. */
VECTOR_INLINE uint64_t even_lanes(int lane, int ones)
{
    return lane_ones(2 * lane) * low_ones(ones);
}

static inline int count_ones(uint64_t x)
{
#if BIT_DEPOSIT
    return __builtin_popcountll(x);
#else /* no instruction for it: sums of neighbours */
    x -= x >> 1 & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (int)(x * UINT64_C(0x0101010101010101) >> 56);
#endif
}
