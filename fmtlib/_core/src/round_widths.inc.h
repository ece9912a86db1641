/* The cores for both widths: foo32 works on the bits of float32, foo64 on those of float64. */

static inline float to_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Subnormals as zeros: they slow down arithmetic. */
static inline float normal32(uint32_t bits)
{
    return to_float(bits & (0x80000000 | (0 - (uint32_t)((bits & 0x7f800000) != 0))));
}

static inline double to_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t to_bits64(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The bits of an integer converted to floating point, exactly.  Few machines convert 64-bit
 * integers in vectors, so below 2**52 the integer is planted in the significand of 2**52. */
static inline uint32_t int_to_float32_bits(uint32_t k)
{
    return to_bits((float)(int32_t)k);
}

static inline uint64_t int_to_float64_bits(uint64_t k)
{
    return to_bits64(to_double(k | (uint64_t)(1023 + 52) << 52) - 0x1p52);
}

#define NAME(stem) stem##32
#define W 32
#define U uint32_t
#define I int32_t
#define TO_FLOAT_BITS int_to_float32_bits
#define ZERO_POINT(i) 0
#define REAL float
#define TO_REAL to_float
#define TO_BITS to_bits
#define MANTISSA 23
#define BIAS 127
#include "round.inc.h"

#define NAME(stem) stem##64
#define W 64
#define U uint64_t
#define I int64_t
#define TO_FLOAT_BITS int_to_float64_bits
#define ZERO_POINT(i) zeros[i]
#define REAL double
#define TO_REAL to_double
#define TO_BITS to_bits64
#define MANTISSA 52
#define BIAS 1023
#include "round.inc.h"
