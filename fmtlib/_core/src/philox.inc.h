/* Philox4x32-10 (Salmon et al., SC 2011): word i & 3 of the block whose counter is (i >> 2, stream)
 * and whose key is the seed, for i = first ... first + n - 1. */

enum { PHILOX_ROUNDS = 10 };
static const uint32_t PHILOX_FACTORS[] = {0xD2511F53, 0xCD9E8D57};
static const uint32_t PHILOX_STEPS[] = {0x9E3779B9, 0xBB67AE85}; /* golden ratio, sqrt(3) - 1 */

/* On x86 a vector holds one word of each of several blocks, in the low halves of 64-bit lanes: one
 * instruction, which compilers do not find, multiplies them to whole lanes, without a shuffle, and what
 * other steps leave in high halves does no harm.  Two vectors of each word hide its latency. */
#if defined(__x86_64__)
#if VECTOR_BYTES == 64
enum { PHILOX_LANES = 8 };
#define PHILOX_ORDER 0, 4, 1, 5, 2, 6, 3, 7
#define PHILOX_PAIRS(x, y, i) x[i], y[i], x[i + 2], y[i + 2], x[i + 4], y[i + 4], x[i + 6], y[i + 6]
#define PHILOX_MULTIPLY(x, y) _mm512_mul_epu32((__m512i)(x), (__m512i)(y))
#elif VECTOR_BYTES == 32
enum { PHILOX_LANES = 4 };
#define PHILOX_ORDER 0, 2, 1, 3 /* of the blocks in the lanes; PHILOX_PAIRS sorts them */
#define PHILOX_PAIRS(x, y, i) x[i], y[i], x[i + 2], y[i + 2]
#define PHILOX_MULTIPLY(x, y) _mm256_mul_epu32((__m256i)(x), (__m256i)(y))
#else
enum { PHILOX_LANES = 2 };
#define PHILOX_ORDER 0, 1
#define PHILOX_PAIRS(x, y, i) x[i], y[i]
#define PHILOX_MULTIPLY(x, y) _mm_mul_epu32((__m128i)(x), (__m128i)(y))
#endif
typedef uint64_t philox_word __attribute__((vector_size(8 * PHILOX_LANES)));
enum { PHILOX_VECTORS = 2, PHILOX_BLOCKS = PHILOX_VECTORS * PHILOX_LANES };

VECTOR_INLINE philox_word multiply_low(philox_word x, uint32_t factor)
{
    return (philox_word)PHILOX_MULTIPLY(x, (philox_word){0} + factor);
}

VECTOR_INLINE void philox_blocks(const philox_word keys[][2], uint64_t stream, uint64_t counter,
                                 uint32_t *restrict words)
{
    philox_word c[4][PHILOX_VECTORS];
    for (int v = 0; v < PHILOX_VECTORS; v++) {
        c[0][v] = (philox_word){PHILOX_ORDER} + (counter + (uint64_t)(v * PHILOX_LANES));
        c[1][v] = c[0][v] >> 32;
        c[2][v] = (philox_word){0} + stream;
        c[3][v] = (philox_word){0} + (stream >> 32);
    }
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        for (int v = 0; v < PHILOX_VECTORS; v++) {
            const philox_word p0 = multiply_low(c[0][v], PHILOX_FACTORS[0]);
            const philox_word p1 = multiply_low(c[2][v], PHILOX_FACTORS[1]);
            c[0][v] = (p1 >> 32) ^ c[1][v] ^ keys[round][0];
            c[2][v] = (p0 >> 32) ^ c[3][v] ^ keys[round][1];
            c[1][v] = p1;
            c[3][v] = p0;
        }
    }
    for (int v = 0; v < PHILOX_VECTORS; v++, words += 4 * PHILOX_LANES) {
        const philox_word x = (c[0][v] & 0xffffffff) | c[1][v] << 32;
        const philox_word y = (c[2][v] & 0xffffffff) | c[3][v] << 32;
        const philox_word sorted[] = {{PHILOX_PAIRS(x, y, 0)}, {PHILOX_PAIRS(x, y, 1)}};
        memcpy(words, sorted, sizeof sorted);
    }
}
#else
typedef uint32_t philox_word;
enum { PHILOX_BLOCKS = 8 };

static void philox_blocks(const philox_word keys[][2], uint64_t stream, uint64_t counter,
                          uint32_t *restrict words)
{
    uint32_t c[4][PHILOX_BLOCKS];
    for (int i = 0; i < PHILOX_BLOCKS; i++) {
        const uint64_t position = counter + (uint64_t)i;
        c[0][i] = (uint32_t)position;
        c[1][i] = (uint32_t)(position >> 32);
        c[2][i] = (uint32_t)stream;
        c[3][i] = (uint32_t)(stream >> 32);
    }
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        for (int i = 0; i < PHILOX_BLOCKS; i++) {
            const uint64_t p0 = (uint64_t)PHILOX_FACTORS[0] * c[0][i];
            const uint64_t p1 = (uint64_t)PHILOX_FACTORS[1] * c[2][i];
            c[0][i] = (uint32_t)(p1 >> 32) ^ c[1][i] ^ keys[round][0];
            c[2][i] = (uint32_t)(p0 >> 32) ^ c[3][i] ^ keys[round][1];
            c[1][i] = (uint32_t)p1;
            c[3][i] = (uint32_t)p0;
        }
    }
    for (int i = 0; i < PHILOX_BLOCKS; i++)
        for (int word = 0; word < 4; word++)
            words[4 * i + word] = c[word][i];
}
#endif

static void philox(uint64_t seed, uint64_t stream, uint64_t first, uint32_t *restrict words,
                   ptrdiff_t n)
{
    enum { WORDS = 4 * PHILOX_BLOCKS };
    philox_word keys[PHILOX_ROUNDS][2];
    for (uint32_t round = 0; round < PHILOX_ROUNDS; round++)
        for (int i = 0; i < 2; i++)
            keys[round][i]
                = (philox_word){0} + ((uint32_t)(seed >> 32 * i) + round * PHILOX_STEPS[i]);
    ptrdiff_t skip = (ptrdiff_t)(first & 3);
    for (uint64_t counter = first >> 2; n > 0; counter += PHILOX_BLOCKS) {
        uint32_t some[WORDS];
        const ptrdiff_t take = n < WORDS - skip ? n : WORDS - skip;
        if (take == WORDS) {
            philox_blocks(keys, stream, counter, words);
        } else {
            philox_blocks(keys, stream, counter, some);
            memcpy(words, some + skip, (size_t)take * sizeof *words);
        }
        words += take;
        n -= take;
        skip = 0;
    }
}
