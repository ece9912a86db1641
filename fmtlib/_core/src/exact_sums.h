/* Numbers of any size, their exact sums, and what a register keeps of those.
 *
 * A sum is a number of limbs in two's complement, as many as its terms span; when it is finished it
 * has a sign and a magnitude, and is rounded once.
 */
#ifndef FMT_EXACT_SUMS_H
#define FMT_EXACT_SUMS_H

#include "kernels.h"

__extension__ typedef unsigned __int128 u128;

/* Bits of the widest sum: products of the formats' extremes (2**-1022 to 2**1024) with the scales
 * of both blocks and both tensors, and 62 bits of carries. */
enum { LIMBS = 160, LEAST_EXPONENT = -32 * LIMBS };

typedef struct {
    u128 magnitude; /* 0 unless finite */
    int32_t exponent; /* of the magnitude's unit */
    int32_t top;      /* what a term is aligned by, unless it is zero */
    uint8_t negative, kind;
} number;

typedef struct {
    uint64_t limbs[LIMBS]; /* of the magnitude or, while adding, of two's complement; low first */
    int count;
    int32_t base; /* exponent of the lowest bit */
    uint8_t negative, kind;
} wide;

/* What addends that are not numbers, and their signs of zero, make of a sum. */
typedef struct {
    uint8_t nan, plus, minus; /* kinds met */
    uint8_t plus_zero, minus_zero, other;
} tally;

static inline int bit_length(u128 x)
{
    const uint64_t high = (uint64_t)(x >> 64), low = (uint64_t)x;
    return high ? 128 - __builtin_clzll(high) : low ? 64 - __builtin_clzll(low) : 0;
}

number fmt_from_double(double x);
double fmt_to_double(const number *x);

/* A sum of `count` limbs is cleared, added to, and finished: that decides its kind, and the sign of
 * one that is exactly zero.  Only then it is multiplied, added to another, or rounded. */
void fmt_clear_sum(wide *w, int32_t base, int count);
void fmt_add_to_sum(wide *sum, tally *t, const number *x);
void fmt_add_sum(wide *sum, tally *t, const wide *w);
void fmt_finish_sum(wide *w, const tally *t, int signed_zero, int rounding);
void fmt_multiply_sum(wide *w, const fmt_number *x);

/* All of that for n numbers. */
void fmt_sum_numbers(const number *terms, ptrdiff_t n, int signed_zero, int rounding, wide *w);

/* The value of a finished sum in a register; of a number; of x + y. */
number fmt_round_sum(const wide *w, const fmt_register *r);
number fmt_round_number(const number *x, const fmt_register *r);
number fmt_add_numbers(const number *x, const number *y, const fmt_register *r);

/* A term as a multiple of 2**unit.  Fewer than 80 bits are kept. */
void fmt_align(number *x, int32_t unit, int rounding);

#endif
