/* Moving lanes of 16 values that are not 0 together, and back: compact gives a bit of each value, 1
 * if it is not 0, and writes those values to the front of `out`, followed by anything; expand puts
 * them back, and zeros between them.  LANES: 0 plain, 1 AVX2 by tables, 2 AVX-512 with VBMI2. */

#if LANES == 0
#define LANES_OF(bits)                                                                             \
    static inline unsigned compact##bits(const void *x, void *out)                                 \
    {                                                                                              \
        unsigned flags = 0, kept = 0;                                                              \
        uint##bits##_t values[16], *to = out;                                                      \
        memcpy(values, x, sizeof values);                                                          \
        for (int i = 0; i < 16; i++) {                                                             \
            const unsigned some = values[i] != 0;                                                  \
            to[kept] = values[i];                                                                  \
            flags |= some << i;                                                                    \
            kept += some;                                                                          \
        }                                                                                          \
        return flags;                                                                              \
    }                                                                                              \
    static inline void expand##bits(const void *packed, unsigned flags, void *out)                 \
    {                                                                                              \
        const uint##bits##_t *from = packed;                                                       \
        uint##bits##_t values[16];                                                                 \
        for (int i = 0; i < 16; i++) {                                                             \
            const unsigned some = flags >> i & 1;                                                  \
            values[i] = *from & (uint##bits##_t)(0 - some);                                        \
            from += some;                                                                          \
        }                                                                                          \
        memcpy(out, values, sizeof values);                                                        \
    }
LANES_OF(8)
LANES_OF(16)
LANES_OF(32)
#undef LANES_OF

#elif LANES == 1 /* eight lanes at a time */

static inline __m128i eight_indices(const uint8_t (*table)[8], unsigned flags)
{
    return _mm_loadl_epi64((const __m128i *)table[flags]);
}

/* Indices of two bytes each; those beyond the vector stay there. */
static inline __m128i byte_pairs(__m128i indices)
{
    const __m128i twice = _mm_unpacklo_epi8(indices, indices);
    return _mm_or_si128(_mm_adds_epu8(twice, twice), _mm_set1_epi16(0x0100));
}

static inline unsigned compact8(const void *x, void *out)
{
    const __m128i all = _mm_loadu_si128(x);
    const unsigned zeros = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(all, _mm_setzero_si128()));
    const unsigned flags = ~zeros & 0xffff, low = flags & 255;
    const __m128i a = _mm_shuffle_epi8(all, eight_indices(fmt_lanes_kept, low));
    const __m128i b = _mm_shuffle_epi8(_mm_srli_si128(all, 8),
                                       eight_indices(fmt_lanes_kept, flags >> 8));
    _mm_storel_epi64(out, a);
    _mm_storel_epi64((__m128i *)((uint8_t *)out + __builtin_popcount(low)), b);
    return flags;
}

static inline void expand8(const void *packed, unsigned flags, void *out)
{
    const unsigned low = flags & 255;
    const uint8_t *from = packed;
    const __m128i a = _mm_loadl_epi64((const __m128i *)from);
    const __m128i b = _mm_loadl_epi64((const __m128i *)(from + __builtin_popcount(low)));
    _mm_storeu_si128(out, _mm_unpacklo_epi64(
        _mm_shuffle_epi8(a, eight_indices(fmt_lanes_from, low)),
        _mm_shuffle_epi8(b, eight_indices(fmt_lanes_from, flags >> 8))));
}

static inline unsigned compact16(const void *x, void *out)
{
    const __m128i zero = _mm_setzero_si128();
    const __m128i a = _mm_loadu_si128(x), b = _mm_loadu_si128((const __m128i *)x + 1);
    const __m128i zeros = _mm_packs_epi16(_mm_cmpeq_epi16(a, zero), _mm_cmpeq_epi16(b, zero));
    const unsigned flags = ~(unsigned)_mm_movemask_epi8(zeros) & 0xffff, low = flags & 255;
    uint16_t *to = out;
    _mm_storeu_si128(out, _mm_shuffle_epi8(a, byte_pairs(eight_indices(fmt_lanes_kept, low))));
    _mm_storeu_si128((__m128i *)(to + __builtin_popcount(low)),
                     _mm_shuffle_epi8(b, byte_pairs(eight_indices(fmt_lanes_kept, flags >> 8))));
    return flags;
}

static inline void expand16(const void *packed, unsigned flags, void *out)
{
    const unsigned low = flags & 255;
    const uint16_t *from = packed;
    const __m128i a = _mm_loadu_si128((const __m128i *)from);
    const __m128i b = _mm_loadu_si128((const __m128i *)(from + __builtin_popcount(low)));
    _mm_storeu_si128(out, _mm_shuffle_epi8(a, byte_pairs(eight_indices(fmt_lanes_from, low))));
    _mm_storeu_si128((__m128i *)out + 1,
                     _mm_shuffle_epi8(b, byte_pairs(eight_indices(fmt_lanes_from, flags >> 8))));
}

static inline unsigned eight_flags(__m256i x)
{
    const __m256i zeros = _mm256_cmpeq_epi32(x, _mm256_setzero_si256());
    return ~(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(zeros)) & 255;
}

static inline unsigned compact32(const void *x, void *out)
{
    const __m256i a = _mm256_loadu_si256(x), b = _mm256_loadu_si256((const __m256i *)x + 1);
    const unsigned low = eight_flags(a), high = eight_flags(b);
    const __m256i from_a = _mm256_cvtepu8_epi32(eight_indices(fmt_lanes_kept, low));
    const __m256i from_b = _mm256_cvtepu8_epi32(eight_indices(fmt_lanes_kept, high));
    uint32_t *to = out;
    _mm256_storeu_si256(out, _mm256_permutevar8x32_epi32(a, from_a));
    _mm256_storeu_si256((__m256i *)(to + __builtin_popcount(low)),
                        _mm256_permutevar8x32_epi32(b, from_b));
    return low | high << 8;
}

static inline __m256i expand_eight(const uint32_t *from, unsigned flags)
{
    const __m256i to = _mm256_cvtepi8_epi32(eight_indices(fmt_lanes_from, flags));
    const __m256i x = _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)from), to);
    return _mm256_andnot_si256(_mm256_srai_epi32(to, 31), x); /* beyond: negative */
}

static inline void expand32(const void *packed, unsigned flags, void *out)
{
    const unsigned low = flags & 255;
    const uint32_t *from = packed;
    _mm256_storeu_si256(out, expand_eight(from, low));
    _mm256_storeu_si256((__m256i *)out + 1,
                        expand_eight(from + __builtin_popcount(low), flags >> 8));
}

#else
static inline unsigned compact8(const void *x, void *out)
{
    const __m128i all = _mm_loadu_si128(x);
    const __mmask16 some = _mm_test_epi8_mask(all, all);
    _mm_storeu_si128(out, _mm_maskz_compress_epi8(some, all));
    return some;
}

static inline void expand8(const void *packed, unsigned flags, void *out)
{
    _mm_storeu_si128(out, _mm_maskz_expand_epi8((__mmask16)flags, _mm_loadu_si128(packed)));
}

static inline unsigned compact16(const void *x, void *out)
{
    const __m256i all = _mm256_loadu_si256(x);
    const __mmask16 some = _mm256_test_epi16_mask(all, all);
    _mm256_storeu_si256(out, _mm256_maskz_compress_epi16(some, all));
    return some;
}

static inline void expand16(const void *packed, unsigned flags, void *out)
{
    const __m256i all = _mm256_loadu_si256(packed);
    _mm256_storeu_si256(out, _mm256_maskz_expand_epi16((__mmask16)flags, all));
}

static inline unsigned compact32(const void *x, void *out)
{
    const __m512i all = _mm512_loadu_si512(x);
    const __mmask16 some = _mm512_test_epi32_mask(all, all);
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(some, all));
    return some;
}

static inline void expand32(const void *packed, unsigned flags, void *out)
{
    const __m512i all = _mm512_loadu_si512(packed);
    _mm512_storeu_si512(out, _mm512_maskz_expand_epi32((__mmask16)flags, all));
}
#endif

VECTOR_INLINE unsigned compact(const void *x, void *out, const int bits)
{
    return bits == 8 ? compact8(x, out) : bits == 16 ? compact16(x, out) : compact32(x, out);
}

VECTOR_INLINE void expand(const void *packed, unsigned flags, void *out, const int bits)
{
    if (bits == 8)
        expand8(packed, flags, out);
    else if (bits == 16)
        expand16(packed, flags, out);
    else
        expand32(packed, flags, out);
}
