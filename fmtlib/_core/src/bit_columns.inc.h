/* The bits of 64 bytes as eight words, word k of bits k, bit i of it that of byte i; and back.  Plain: the
 * bytes are eight words; the bits of each, as a matrix of 8 by 8, are transposed, then the bytes of
 * all. */

/* Bit j of byte i of each word becomes bit i of byte j. */
static inline void swap_bits(uint64_t *w)
{
    for (int i = 0; i < 8; i++) {
        uint64_t t = (w[i] ^ w[i] >> 7) & UINT64_C(0x00aa00aa00aa00aa);
        w[i] ^= t ^ t << 7;
        t = (w[i] ^ w[i] >> 14) & UINT64_C(0x0000cccc0000cccc);
        w[i] ^= t ^ t << 14;
        t = (w[i] ^ w[i] >> 28) & UINT64_C(0x00000000f0f0f0f0);
        w[i] ^= t ^ t << 28;
    }
}

/* Byte j of word i becomes byte i of word j. */
static inline void swap_bytes(uint64_t *w)
{
    for (int apart = 4; apart > 0; apart /= 2) {
        const uint64_t even = even_lanes(8 * apart, 8 * apart);
        for (int k = 0; k < 4; k++) {
            const int i = k / apart * 2 * apart + k % apart;
            const uint64_t t = (w[i] >> 8 * apart ^ w[i + apart]) & even;
            w[i] ^= t << 8 * apart;
            w[i + apart] ^= t;
        }
    }
}

#if defined(__x86_64__) && VECTOR_BYTES == 64
static inline void split_bits(const uint8_t *bytes, uint64_t *words)
{
    __m512i all = _mm512_loadu_si512(bytes);
    for (int k = 7; k >= 0; k--) {
        words[k] = _mm512_movepi8_mask(all); /* the top bits */
        all = _mm512_add_epi8(all, all);
    }
}

static inline void join_bits(const uint64_t *words, uint8_t *bytes)
{
    __m512i all = _mm512_setzero_si512();
    for (int k = 7; k >= 0; k--) {
        all = _mm512_add_epi8(all, all);
        all = _mm512_mask_sub_epi8(all, words[k], all, _mm512_set1_epi8(-1));
    }
    _mm512_storeu_si512(bytes, all);
}
#elif defined(__SSE2__)
static inline void split_bits(const uint8_t *bytes, uint64_t *words)
{
#if VECTOR_BYTES == 32
    __m256i a = _mm256_loadu_si256((const __m256i *)bytes);
    __m256i b = _mm256_loadu_si256((const __m256i *)(bytes + 32));
    for (int k = 7; k >= 0; k--) {
        words[k] = (uint32_t)_mm256_movemask_epi8(a) | (uint64_t)_mm256_movemask_epi8(b) << 32;
        a = _mm256_add_epi8(a, a);
        b = _mm256_add_epi8(b, b);
    }
#else
    memset(words, 0, 8 * sizeof *words);
    for (int i = 0; i < 64; i += 16) {
        __m128i all = _mm_loadu_si128((const __m128i *)(bytes + i));
        for (int k = 7; k >= 0; k--) {
            words[k] |= (uint64_t)_mm_movemask_epi8(all) << i;
            all = _mm_add_epi8(all, all);
        }
    }
#endif
}
#else
static inline void split_bits(const uint8_t *bytes, uint64_t *words)
{
    memcpy(words, bytes, 64);
    swap_bits(words);
    swap_bytes(words);
}
#endif

#if !defined(__x86_64__) || VECTOR_BYTES < 64
static inline void join_bits(const uint64_t *from, uint8_t *bytes)
{
    uint64_t words[8];
    memcpy(words, from, sizeof words);
    swap_bytes(words);
    swap_bits(words);
    memcpy(bytes, words, sizeof words);
}
#endif
