/* Effectual terms of integers: the signed powers of two that a recoding needs. */

#define TERMS_OF(bits)                                                                             \
    static inline uint##bits##_t ones##bits(uint##bits##_t x)                                      \
    {                                                                                              \
        const uint##bits##_t all = (uint##bits##_t)~(uint##bits##_t)0;                             \
        x = (uint##bits##_t)(x - (x >> 1 & all / 3));                                              \
        x = (uint##bits##_t)((x & all / 5) + (x >> 2 & all / 5));                                  \
        x = (uint##bits##_t)((x + (x >> 4)) & all / 17);                                           \
        x = (uint##bits##_t)(bits > 8 ? x + (x >> 8 % bits) : x);                                  \
        x = (uint##bits##_t)(bits > 16 ? x + (x >> 16 % bits) : x);                                \
        return x & 63;                                                                             \
    }                                                                                              \
    /* Non-adjacent form: the digits that are not 0 stand where x and 3 x differ; half of that,    \
     * whose lowest bit is 0, and a carry. */                                                      \
    static inline uint##bits##_t naf##bits(uint##bits##_t x)                                       \
    {                                                                                              \
        const uint##bits##_t half = x >> 1, sum = (uint##bits##_t)(x + half);                      \
        return (uint##bits##_t)(ones##bits(half ^ sum) + (sum < x));                               \
    }                                                                                              \
    /* A digit of radix 4 looks at two bits and the one below; it is 0 if they are the same. */    \
    static inline uint##bits##_t booth##bits(uint##bits##_t x)                                     \
    {                                                                                              \
        const uint##bits##_t differs = (uint##bits##_t)(x ^ x << 1);                               \
        const uint##bits##_t even = (uint##bits##_t)~(uint##bits##_t)0 / 3;                        \
        return ones##bits((differs | differs >> 1) & even);                                        \
    }                                                                                              \
    /* `inside`: where runs of ones go on, from the top of one of three or more downward through   \
     * ones and isolated zeros, found in doubling steps.  Such a stretch costs a term above it,    \
     * one below it and one for each zero in it; the ones outside cost one each. */                \
    static inline uint##bits##_t run_length##bits(uint##bits##_t x)                                \
    {                                                                                              \
        const uint##bits##_t once = (uint##bits##_t)(x << 1), twice = (uint##bits##_t)(x << 2);    \
        uint##bits##_t inside = x & once & twice, on = x | (once & x >> 1);                        \
        inside |= on & inside >> 1, on &= on >> 1;                                                 \
        inside |= on & inside >> 2, on &= on >> 2;                                                 \
        inside |= on & inside >> 4, on &= on >> 4;                                                 \
        inside |= bits > 8 ? on & inside >> 8 % bits : 0, on &= on >> 8 % bits;                    \
        inside |= bits > 16 ? on & inside >> 16 % bits : 0;                                        \
        const uint##bits##_t tops = inside & (uint##bits##_t)~(inside >> 1);                       \
        return (uint##bits##_t)(ones##bits(x ^ inside) + 2 * ones##bits(tops));                    \
    }                                                                                              \
    static inline uint##bits##_t magnitude##bits(uint##bits##_t x, uint##bits##_t is_signed)       \
    {                                                                                              \
        const uint##bits##_t sign = (uint##bits##_t)(0 - (x >> (bits - 1) & is_signed));           \
        return (uint##bits##_t)((x ^ sign) - sign);                                                \
    }                                                                                              \
    static void count_terms##bits(const void *from, uint8_t *restrict terms, ptrdiff_t n,          \
                                  int is_signed, int recoding)                                     \
    {                                                                                              \
        const uint##bits##_t *restrict x = from;                                                   \
        const uint##bits##_t sign = (uint##bits##_t)is_signed, no_sign = !is_signed;               \
        if (recoding == TERMS_BINARY) {                                                            \
            for (ptrdiff_t i = 0; i < n; i++)                                                      \
                terms[i] = (uint8_t)ones##bits(magnitude##bits(x[i], sign));                       \
        } else if (recoding == TERMS_NAF) {                                                        \
            for (ptrdiff_t i = 0; i < n; i++)                                                      \
                terms[i] = (uint8_t)naf##bits(magnitude##bits(x[i], sign));                        \
        } else if (recoding == TERMS_BOOTH) {                                                      \
            for (ptrdiff_t i = 0; i < n; i++) /* unsigned: a last digit above the top bit */       \
                terms[i] = (uint8_t)(booth##bits(x[i]) + (x[i] >> (bits - 1) & no_sign));          \
        } else {                                                                                   \
            for (ptrdiff_t i = 0; i < n; i++)                                                      \
                terms[i] = (uint8_t)run_length##bits(magnitude##bits(x[i], sign));                 \
        }                                                                                          \
    }

TERMS_OF(8)
TERMS_OF(16)
TERMS_OF(32)
