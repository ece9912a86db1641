/* The bits of 64 bytes as eight words, word k of bits k, bit i of it that of byte i; and back.  Plain: the
 * bytes are eight words; the bits of each, as a matrix of 8 by 8, are transposed, then the bytes of
 * all. */

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

#if VECTOR_BYTES == 32
static inline void join_bits(const uint64_t *words, uint8_t *bytes)
{
    const __m256i one = _mm256_set1_epi64x((long long)UINT64_C(0x8040201008040201));
    const __m256i own = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202,
                                           0x0303030303030303); /* the byte with a value's bit */
    __m256i a = _mm256_setzero_si256(), b = a;
    for (int k = 7; k >= 0; k--) {
        const __m256i low = _mm256_set1_epi32((int)(uint32_t)words[k]);
        const __m256i high = _mm256_set1_epi32((int)(uint32_t)(words[k] >> 32));
        const __m256i in_a = _mm256_and_si256(_mm256_shuffle_epi8(low, own), one);
        const __m256i in_b = _mm256_and_si256(_mm256_shuffle_epi8(high, own), one);
        a = _mm256_sub_epi8(_mm256_add_epi8(a, a), _mm256_cmpeq_epi8(in_a, one));
        b = _mm256_sub_epi8(_mm256_add_epi8(b, b), _mm256_cmpeq_epi8(in_b, one));
    }
    _mm256_storeu_si256((__m256i *)bytes, a);
    _mm256_storeu_si256((__m256i *)(bytes + 32), b);
}
#else
static inline void join_bits(const uint64_t *words, uint8_t *bytes)
{
    const __m128i one = _mm_set1_epi64x((long long)UINT64_C(0x8040201008040201));
    for (int i = 0; i < 64; i += 16) {
        __m128i all = _mm_setzero_si128();
        for (int k = 7; k >= 0; k--) {
            __m128i own = _mm_cvtsi32_si128((int)(words[k] >> i & 0xffff));
            own = _mm_unpacklo_epi8(own, own);
            own = _mm_shufflelo_epi16(own, _MM_SHUFFLE(1, 1, 0, 0));
            own = _mm_and_si128(_mm_shuffle_epi32(own, _MM_SHUFFLE(1, 1, 0, 0)), one);
            all = _mm_sub_epi8(_mm_add_epi8(all, all), _mm_cmpeq_epi8(own, one));
        }
        _mm_storeu_si128((__m128i *)(bytes + i), all);
    }
}
#endif
#else
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

/* Bytes of words so far apart, one from the upper and one from the lower half of each pair, swapped. */
VECTOR_INLINE void swap_halves(uint64_t *w, const int apart)
{
    const uint64_t even = even_lanes(8 * apart, 8 * apart);
    for (int k = 0; k < 4; k++) {
        const int i = k / apart * 2 * apart + k % apart;
        const uint64_t t = (w[i] >> 8 * apart ^ w[i + apart]) & even;
        w[i] ^= t << 8 * apart;
        w[i + apart] ^= t;
    }
}

/* Byte j of word i becomes byte i of word j. */
static inline void swap_bytes(uint64_t *w)
{
    swap_halves(w, 4);
    swap_halves(w, 2);
    swap_halves(w, 1);
}

static inline void split_bits(const uint8_t *bytes, uint64_t *words)
{
    memcpy(words, bytes, 64);
    swap_bits(words);
    swap_bytes(words);
}

static inline void join_bits(const uint64_t *from, uint8_t *bytes)
{
    uint64_t words[8];
    memcpy(words, from, sizeof words);
    swap_bytes(words);
    swap_bits(words);
    memcpy(bytes, words, sizeof words);
}
#endif
