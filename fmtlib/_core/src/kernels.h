/* The kernels and the records they work from.
 *
 * Every array passes through the same short stages, a chunk of CHUNK elements at a time, so that
 * the stages meet in the first-level cache:
 *
 *   load   any source type, any stride  -> the bits of float32 (u32) or float64 (u64)
 *   core   those bits                   -> codes in u32
 *   decode codes in u32                 -> the bits of float32 or float64
 *   store  codes or bits                -> any destination type, any stride
 *
 * Stages add up where fused loops would multiply: a new source type is one load, a new family of
 * formats one core.  Only what is used most, float formats rounded to nearest, is fused
 * (nearest.inc.h).  Each stage is compiled once per instruction set (target_*.c); a table of
 * pointers, chosen at import, says which one runs.  No kernel can fail: arguments are checked in
 * Python.
 */
#ifndef FMTLIB_KERNELS_H
#define FMTLIB_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { CHUNK = 512 };

/* Stands for the exponent of a group of NaN between the stages. */
#define NAN_EXPONENT (1 << 20)

/* Element types of arrays; TYPES and VALUE_TYPES in kernels.pyx have them by NumPy's names.
 * TYPE_INT*: codes.  The others are values. */
enum fmt_type {
    TYPE_F16, TYPE_BF16, TYPE_F32, TYPE_F64, TYPE_INT1, TYPE_INT2, TYPE_INT4,
    TYPE_LONG_DOUBLE,
    TYPE_I8, TYPE_I16, TYPE_I32, TYPE_I64, TYPE_U8, TYPE_U16, TYPE_U32, TYPE_U64
};

/* In bytes. */
static inline ptrdiff_t fmt_size_of(int type)
{
    static const ptrdiff_t sizes[]
        = {2, 2, 4, 8, 1, 2, 4, sizeof(long double), 1, 2, 4, 8, 1, 2, 4, 8};
    return sizes[type];
}

/* How a magnitude rounds: by an addend, or by a random word in one of P3109's three ways. */
enum fmt_noise { NO_NOISE, NOISE_A, NOISE_B, NOISE_C };

/* Recodings of integers. */
enum fmt_recoding { TERMS_BINARY, TERMS_NAF, TERMS_BOOTH, TERMS_RUN_LENGTH };

/* What cores report of the values they met; NumPy is told as floating-point flags. */
enum fmt_status { STATUS_INVALID = 1, STATUS_OVERFLOW = 2, STATUS_UNSURE = 4 };

/* A format and a rounding, as the kernels want them; filled by kernels.pyx. */
typedef struct {
    /* Rounding: a magnitude rounds up iff (discarded fraction + addend) carries.  The addend of
     * the deterministic modes is add[sign], with the bits of flip inverted if the last kept bit
     * is 1; that of the stochastic modes comes from the random word.  Fractions and addends
     * stand one bit below the top of a u64. */
    uint64_t add[2];
    uint64_t flip;
    uint32_t word_mask;  /* stochastic: which top bits of the fraction and the word count */
    int32_t random_bits; /* how many these are */
    int32_t noise;       /* enum fmt_noise */
    int32_t report;      /* 1 if STATUS_OVERFLOW is wanted */

    /* Float formats. */
    int32_t mantissa_bits;
    int32_t min_exponent;    /* of the smallest normal value */
    int32_t no_zero;         /* 1 if exponent field 0 is a normal binade (E8M0) */
    int32_t max_code;        /* greatest finite magnitude */
    int32_t inf_magnitude;   /* magnitude bits of infinity; -1 if there is none */
    uint32_t magnitude_mask;
    uint32_t code_mask;
    uint32_t over_code[2];   /* emitted for finite overflow, by sign, without the sign bit */
    uint32_t inf_code;       /* emitted for an infinite input */
    uint32_t negative_code;  /* unsigned formats: emitted for what rounds below zero, */
    uint32_t negative_zero_code; /* and for what is negative, but has code 0 */
    uint32_t inf_overflows;  /* 1 if an infinite input has no code of its own */
    uint32_t nan_code;       /* emitted for NaN */
    uint32_t single_nan;     /* the one code that is NaN although its magnitude is not; else ~0 */
    uint32_t sign_bit;       /* 0 if unsigned */
    uint32_t zero_sign;      /* sign bit if there is a -0, else 0 */
    uint32_t nan_sign;       /* sign bit if NaN keeps the sign, else 0 */
    uint32_t is_unsigned;
    uint32_t no_nan;         /* 1 if NaN has no code: such an input sets the invalid flag */

    /* Fixed-point and integer formats. */
    int32_t fraction_bits;
    int64_t min_integer, max_integer;
    int32_t integer_bits; /* width of a code */
    int32_t wrap;         /* 1: modulo 2**integer_bits, not saturating */

    /* Blocks.  Integer elements of m magnitude bits are floats of one binade: m - 1 mantissa bits,
     * min_exponent 0, all codes subnormals but those with the top bit set. */
    uint32_t twos_complement; /* 1 if their codes are, else sign and magnitude */
    int32_t block_bias;      /* of the shared exponent's code */
    int32_t block_max_code;  /* greatest code of a shared exponent; the next one is NaN */
} fmt_spec;

/* Whether hardware can round to fixed point: to nearest even, saturating. */
static inline int fmt_is_nearest_fixed(const fmt_spec *p)
{
    return p->flip != 0 && p->add[0] == p->flip >> 1 && !p->wrap && !p->report;
}

/* How groups.inc.h rounds. */
enum { ROUND_NEAREST, ROUND_TO_ZERO, ROUND_NOISY };
static inline int fmt_is_to_zero(const fmt_spec *p)
{
    return p->noise == NO_NOISE && p->add[0] == 0 && p->add[1] == 0 && p->flip == 0;
}

/* The constants of nearest.inc.h, of one verb of a format; filled by kernels.pyx. */
typedef struct {
    enum { NEAREST_NONE, NEAREST_MAGIC, NEAREST_SHIFT } how;
    /* The shorter ways: of signed formats, without lift; of those where each code has a sign, also
     * 0 and NaN, which is a number or NaN like all others: nothing is reported, and when quantising
     * |x| is clamped to the greatest value. */
    enum { NEAREST_GENERAL, NEAREST_SIGNED, NEAREST_USUAL } kind;
    int32_t drop;            /* bits of float32's mantissa that the format has not */
    uint32_t magic;          /* exponent field by which the magic number is above a binade */
    int32_t min_binade;      /* the format's lowest binade, as bits of float32 */
    uint32_t half, kept;     /* NEAREST_SHIFT: just under a half, and the bits that stay */
    int32_t lift;            /* see lift() */
    uint32_t lift_zero, lift_up;
    /* Encoding and quantising: results are codes, or bits of float32. */
    int32_t least, most;     /* what |x| is clamped to */
    int32_t nan_above;       /* |x| from which on the result is NaN */
    int32_t not_negative;    /* |x| whose sign does not count: -1, or 0 if there is no sign */
    uint32_t keep;           /* of a negative x: bits of its magnitude's result that stay, */
    uint32_t negative, negative_zero; /* and others, the latter if that has code 0 */
    uint32_t nan, nan_sign;
    uint32_t no_nan;         /* 1 if NaN sets the invalid flag */
    int32_t sign_place;      /* of the sign bit below float32's */
    int32_t greatest;        /* quantising: the greatest value, and what is beyond */
    uint32_t beyond;
    /* Decoding. */
    uint32_t magnitude_mask, sign_bit;
    int32_t subnormals;      /* shifted codes below are subnormal */
    uint32_t normal;         /* what the others lack to the bits of their values */
    int32_t max_code, last_number; /* the latter may be infinity */
    uint32_t nan_zero;       /* value whose code is NaN: -0, or one that never is */
} fmt_nearest;

/* Statistics of quantising: how each element is looked at, and what is summed of a channel. */
typedef struct {
    int is_float;
    fmt_spec spec;         /* the format, but without limits: see find_overflow */
    uint64_t limit[2];     /* bits of the greatest magnitude, by sign, to which nothing overflows */
    int32_t max_code;      /* of floats */
    int64_t min_integer, max_integer;   /* of the others */
    int64_t min_field, max_field;       /* exponents of normal values, biased as in float64 */
    int64_t mantissa_bits; /* a step is 2**(exponent - mantissa_bits) */
    double least_normal;   /* results below have underflowed */
    int64_t no_zero;       /* 1: so have those from below it */
    ptrdiff_t length, inner; /* the element at index i is of channel i / inner % length */
} fmt_statistics_plan;

/* What counts[] counts; ERRORS in kernels.pyx has their names. */
enum {
    FMT_COUNT, FMT_NAN, FMT_INFINITE, FMT_NONFINITE, FMT_INEXACT, FMT_OVERFLOW, FMT_UNDERFLOW,
    FMT_FLUSHED, FMT_COUNTS
};

typedef struct {
    double signal, noise, max_error, max_ulps;
    int64_t counts[FMT_COUNTS];
} fmt_errors;

/* A chunk of elements, looked at one by one. */
typedef struct {
    uint64_t y[CHUNK];     /* bits of x / scale, to odd: its binade is the exact quotient's */
    uint64_t over[CHUNK];  /* 0 or 1 */
    double error[CHUNK], ulps[CHUNK], signal[CHUNK];
    uint64_t flags[CHUNK]; /* a byte, 0 or 1, for each of counts[] */
} fmt_described;

typedef int fmt_nearest_kernel(const void *x, uint32_t *out, ptrdiff_t n, const fmt_nearest *);

/* A tile of terms that are aligned to the greatest of a step: narrow formats' values, whose
 * products are normal float32 numbers, or wide ones' significands and exponents. */
typedef struct {
    const float *a, *b;
    const int16_t *a_exponents, *b_exponents; /* to be aligned by; very small for zeros */
    const int32_t *a_wide, *b_wide;           /* the same, if wide; else NULL */
    ptrdiff_t terms;
    int bits, mantissa_bits; /* kept of the terms and of a total */
    int late, paired;
    int small;   /* 1 if a total has at most 24 bits */
    int checked; /* 1 if values are not all narrow: steps that are not are told */
} fmt_aligned;

/* How floats are laid out in their codes, as IEEE 754's are. */
typedef struct {
    int sign, fraction_bits; /* the sign's bit; bits of the fraction, the lowest ones */
    double unit;             /* times what double has for the same bits is their value */
} fmt_float_codes;

/* What a zero is aligned by: with any other number's it is below all exponents of products. */
enum { ZERO_EXPONENT = -(1 << 13) };

/* Sums of a tile's groups: floats, or the `count` slices of one sum, which are multiples of 1,
 * step, step squared; and what they are multiplied by, the tensors' scales as a sum of two. */
typedef struct {
    const float *few; /* or NULL */
    const double *sums;
    int count, paired;
    double step, tensor[2];
    const double *a_scales, *b_scales;
} fmt_groups;

struct fmt_block_plan;

/* Groups of elements with a scale; numbers are the bits of float32, or in the second of two such
 * tables of float64.  n elements are lines of `line`, each of groups of `width`, the last one of a
 * line perhaps shorter.  See groups.inc.h. */
typedef struct {
    void (*absmax)(const void *bits, void *max, ptrdiff_t n);
    void (*absmax_runs)(const void *bits, void *max, ptrdiff_t n, ptrdiff_t width, ptrdiff_t line);
    void (*spread)(const void *groups, void *elements, ptrdiff_t n, ptrdiff_t width,
                   ptrdiff_t line);
    /* Of n groups, powers of two: codes of the scales, scales, inverses.  Returns whether the
     * arithmetic of the others serves all groups; it does not where numbers would be subnormal. */
    int (*block_scales)(const void *maxima, ptrdiff_t n, const struct fmt_block_plan *,
                        uint32_t *codes, void *inverses, void *scales);
    void (*micro_scales)(const void *maxima, ptrdiff_t n, const struct fmt_block_plan *,
                         const uint32_t *codes, uint32_t *shifts, void *inverses, void *scales);
    /* To nearest even, toward zero, or, with words, by stochastic A.  Inverses and scales of each
     * element, or of each group of `width`, a multiple of 16 by which n is one. */
    void (*round_codes)(const void *bits, const void *inverses, ptrdiff_t width,
                        const uint32_t *words, uint32_t *codes, ptrdiff_t n, const fmt_spec *);
    void (*round_values)(const void *bits, const void *inverses, const void *scales,
                         ptrdiff_t width, const uint32_t *words, void *out, ptrdiff_t n,
                         const fmt_spec *);
    void (*decode_scales)(const uint32_t *codes, void *scales, ptrdiff_t n, const fmt_spec *);
    void (*decode_elements[3])(const void *codes, const void *scales, void *out, ptrdiff_t n,
                               const fmt_spec *); /* of TYPE_INT1, 2, 4 */
    void (*multiply_all)(const void *x, void *out, ptrdiff_t n, float factor);
} fmt_group_kernels;

/* Of integers of one size; see widths.inc.h.  `all` holds an unsigned one per group or column: the OR of
 * the values x, or of numbers in two's complement of x ^ x >> 1 or of x ^ x << 1. */
enum { OR_VALUES, OR_SIGNED, OR_ENDS };
enum { WIDTH_BYTES = 8192, WIDTH_GROUPS = 1024 }; /* at most so much at once */
typedef struct {
    void (*or_runs)(const void *x, void *all, ptrdiff_t groups, ptrdiff_t length, int what);
    void (*or_rows)(const void *x, void *all, ptrdiff_t n, int what);
    void (*magnitudes)(const void *x, void *out, ptrdiff_t n);
    /* zero: the length of 0, without `more`. */
    void (*bit_lengths)(const void *all, uint8_t *high, ptrdiff_t n, int what, int more, int zero);
    void (*lowest_bits)(const void *all, uint8_t *low, ptrdiff_t n);
} fmt_width_kernels;

/* Groups coded at their own widths: rows of `length` integers, in groups of `group`, the last of a
 * row perhaps shorter.  Groups are numbered through all rows. */
typedef struct {
    int size, is_signed; /* of the integers */
    enum { SIGNS_NONE, SIGNS_ALL, SIGNS_EACH } signs; /* which groups have a sign in each value */
    int sparse;          /* only values that are not 0, which a bit of each tells */
    ptrdiff_t length, group;
} fmt_compress_plan;

/* Payload bits without and with zero vectors: if all groups have signs, and if only those with a
 * negative value have. */
typedef struct {
    int64_t negative, dense[2], sparse[2];
} fmt_measured;

enum { NEGATIVE_GROUP = 128 }; /* in a measured width */
enum { COMPRESS_SLACK = 80 };

typedef struct {
    /* headers: measured widths, which become headers.  Streams go on at a bit; COMPRESS_SLACK bytes
     * after the last one are written, too. */
    void (*encode)(const fmt_compress_plan *, const void *x, ptrdiff_t first, ptrdiff_t count,
                   uint8_t *headers, uint8_t *zeros, int64_t *zero_at, uint8_t *payload,
                   int64_t *at);
    /* Reads nothing beyond the sizes, whatever the headers say; returns where the payload goes on. */
    int64_t (*decode)(const fmt_compress_plan *, ptrdiff_t first, ptrdiff_t count,
                      const uint8_t *headers, const uint8_t *zeros, int64_t zero_size,
                      const uint8_t *payload, int64_t size, int64_t at, void *out);
} fmt_group_coder;

typedef struct {
    void (*measure)(const fmt_compress_plan *, const void *x, ptrdiff_t first, ptrdiff_t count,
                    uint8_t *widths, fmt_measured *found);
    /* The same of the `inner` columns of one matrix after the other, all groups of each. */
    void (*measure_columns)(const fmt_compress_plan *, const void *x, ptrdiff_t outer,
                            ptrdiff_t inner, uint8_t *widths, fmt_measured *found);
    fmt_group_coder coder;
    int64_t (*payload_bits)(const fmt_compress_plan *, ptrdiff_t first, ptrdiff_t count,
                            const uint8_t *headers, const uint8_t *zeros, int64_t zero_size,
                            ptrdiff_t every, int64_t *places);
} fmt_compress_kernels;

/* Rows in planes, `stride` words apart, and what a one in each is worth. */
typedef struct {
    const uint64_t *words;
    ptrdiff_t stride;
    const int64_t *weights;
    int planes;
} fmt_serial_operand;

/* Matrices (rows, depth) and (depth, columns); factors: half the product of each pair of mantissas of
 * so many bits, below 2, lest one times a power of two be infinite; lines: room for TABLE_LINES. */
enum {
    TABLE_COLUMNS = 32, TABLE_STEP = 4, TABLE_MANTISSAS = 128,
    TABLE_LINES = TABLE_STEP * TABLE_MANTISSAS * TABLE_COLUMNS
};
typedef struct {
    const float *a, *b, *factors;
    float *lines;
    int mantissa_bits;
    ptrdiff_t rows, depth, columns;
} fmt_table_product;

/* One table of stages per instruction set. */
typedef struct {
    const char *name;
    /* From the bits of float32, or of bfloat16, or codes of 1, 2 or 4 bytes; to codes in u32, or to
     * bits of float32, which may be where x is.  Return enum fmt_status. */
    fmt_nearest_kernel *nearest_encode, *nearest_encode_bf16, *nearest_quantize;
    fmt_nearest_kernel *nearest_quantize_bf16, *nearest_decode[3];
    void (*narrow_to_odd)(const uint64_t *x, uint32_t *bits, ptrdiff_t n, int subnormals);
    void (*widen_normal)(const uint32_t *x, uint64_t *bits, ptrdiff_t n);
    void (*convert_small)(int type, const void *x, uint32_t *bits, ptrdiff_t n);
    void (*integers_to_odd)(int type, const void *x, uint64_t *bits, ptrdiff_t n);
    fmt_group_kernels groups[2]; /* of float32, of float64 */
    void (*widen16)(const uint16_t *x, uint32_t *bits, ptrdiff_t n);
    void (*widen_bf16)(const uint16_t *x, uint32_t *bits, ptrdiff_t n);
    void (*widen32)(const uint32_t *x, uint64_t *bits, ptrdiff_t n);
    /* To nearest-even; what is finite but too great becomes the greatest float32. */
    void (*narrow32)(const uint64_t *x, uint32_t *bits, ptrdiff_t n);
    void (*narrow16)(const uint32_t *bits, uint16_t *x, ptrdiff_t n);
    void (*narrow_bf16)(const uint32_t *bits, uint16_t *x, ptrdiff_t n);
    void (*pack8)(const uint32_t *codes, uint8_t *out, ptrdiff_t n);
    void (*pack16)(const uint32_t *codes, uint16_t *out, ptrdiff_t n);
    void (*unpack8)(const uint8_t *x, uint32_t *codes, ptrdiff_t n);
    void (*unpack16)(const uint16_t *x, uint32_t *codes, ptrdiff_t n);
    void (*unpack_signed8)(const int8_t *x, uint32_t *codes, ptrdiff_t n);
    void (*unpack_signed16)(const int16_t *x, uint32_t *codes, ptrdiff_t n);
    /* words is NULL for the deterministic modes.  Return enum fmt_status. */
    int (*encode_float32)(const uint32_t *, const uint32_t *words, uint32_t *, ptrdiff_t,
                          const fmt_spec *);
    int (*encode_float64)(const uint64_t *, const uint32_t *words, uint32_t *, ptrdiff_t,
                          const fmt_spec *);
    int (*encode_fixed32)(const uint32_t *, const int64_t *zero, const uint32_t *words, uint32_t *,
                          ptrdiff_t, const fmt_spec *);
    int (*encode_fixed64)(const uint64_t *, const int64_t *zero, const uint32_t *words, uint32_t *,
                          ptrdiff_t, const fmt_spec *);
    void (*decode_float32)(const uint32_t *codes, uint32_t *, ptrdiff_t, const fmt_spec *);
    void (*decode_float64)(const uint32_t *codes, uint64_t *, ptrdiff_t, const fmt_spec *);
    void (*decode_fixed32)(const uint32_t *codes, uint32_t *, ptrdiff_t, const fmt_spec *);
    void (*decode_fixed64)(const uint32_t *codes, uint64_t *, ptrdiff_t, const fmt_spec *);
    void (*divide_to_odd)(const uint64_t *x, const double *scale, uint64_t *, ptrdiff_t);
    void (*multiply_to_odd)(const uint64_t *x, const double *scale, uint64_t *, ptrdiff_t);
    /* Shorter ways, see noise.inc.h and scaled.inc.h; with STATUS_UNSURE there was none, and what
     * was written is of no meaning.  uniform: only the first scale and zero point are there, for all. */
    int (*encode_noise)(const uint32_t *x, const uint32_t *words, uint32_t *codes, ptrdiff_t n,
                        const fmt_spec *);
    int (*quantize_noise)(const uint32_t *x, const uint32_t *words, uint32_t *values, ptrdiff_t n,
                          const fmt_spec *);
    int (*encode_scaled_bytes)(const uint32_t *x, const double *scales, const int64_t *zeros,
                               int uniform, uint32_t *codes, ptrdiff_t n, const fmt_spec *);
    int (*encode_scaled32)(const uint32_t *x, const double *scales, const int64_t *zeros,
                           uint32_t *codes, ptrdiff_t n, const fmt_spec *);
    int (*encode_scaled64)(const uint64_t *x, const double *scales, const int64_t *zeros,
                           uint32_t *codes, ptrdiff_t n, const fmt_spec *);
    int (*decode_scaled)(const uint32_t *codes, const double *scales, const int64_t *zeros,
                         uint32_t *bits, ptrdiff_t n, const fmt_spec *);
    int (*encode_scaled_floats)(const uint32_t *x, const double *scales, int uniform,
                                uint32_t *codes, ptrdiff_t n, const fmt_nearest *);
    int (*decode_scaled_floats)(const uint32_t *codes, const double *scales, int uniform,
                                uint32_t *bits, ptrdiff_t n, const fmt_nearest *);
    int (*encode_integers)(int type, const void *x, uint32_t *codes, ptrdiff_t n, const fmt_spec *);
    void (*philox)(uint64_t seed, uint64_t stream, uint64_t first, uint32_t *words, ptrdiff_t n);
    /* One product in float32 or float64 per element, on the bits; out may be x. */
    void (*multiply32)(const uint32_t *x, const uint32_t *factors, uint32_t *out, ptrdiff_t n);
    void (*multiply64)(const uint64_t *x, const uint64_t *factors, uint64_t *out, ptrdiff_t n);
    /* Blocks in any rounding; exponents: of each element's group. */
    void (*encode_block_float32)(const uint32_t *, const int32_t *exponents, const uint32_t *words,
                                 uint32_t *, ptrdiff_t, const fmt_spec *);
    void (*encode_block_float64)(const uint64_t *, const int32_t *exponents, const uint32_t *words,
                                 uint32_t *, ptrdiff_t, const fmt_spec *);
    void (*decode_block_float32)(const uint32_t *codes, const int32_t *exponents, uint32_t *,
                                 ptrdiff_t, const fmt_spec *);
    void (*decode_block_float64)(const uint32_t *codes, const int32_t *exponents, uint64_t *,
                                 ptrdiff_t, const fmt_spec *);
    /* More elements for the greatest finite magnitude, and the greatest of all. */
    void (*finite_max)(const uint32_t *bits, ptrdiff_t n, uint32_t *max, uint32_t *all);
    void (*add_shifts)(const uint32_t *shifts, uint32_t *codes, ptrdiff_t groups, ptrdiff_t per,
                       int32_t place);
    void (*take_shifts)(const uint32_t *codes, uint32_t *own, ptrdiff_t groups, ptrdiff_t per,
                        int32_t place, const fmt_spec *, uint32_t mask);
    fmt_width_kernels widths[3]; /* of 8, 16 and 32 bits */
    fmt_compress_kernels compress[3];
    /* A row of n integers to the lowest `planes` bits of each, the highest first, `stride` bytes from
     * plane to plane; and back, those of the highest `planes` of `width` bits. */
    void (*to_planes[3])(const void *x, ptrdiff_t n, int planes, uint8_t *out, ptrdiff_t stride);
    void (*from_planes[3])(const uint8_t *x, ptrdiff_t stride, int planes, int width, int is_signed,
                           ptrdiff_t n, void *out);
    int64_t (*serial_dot)(const fmt_serial_operand *a, ptrdiff_t a_row, const fmt_serial_operand *b,
                          ptrdiff_t b_row, ptrdiff_t words);
    /* See table_product.inc.h. */
    void (*multiply_by_table)(const fmt_table_product *, float *out);
    uint32_t (*crc32c)(const uint8_t *data, size_t n, uint32_t crc); /* NULL: by table */
    /* Signed powers of two of each value: of its magnitude, or (Booth) of its two's complement. */
    void (*count_terms[3])(const void *x, uint8_t *terms, ptrdiff_t n, int is_signed, int recoding);
    const struct fmt_integer_dot *integer_dot; /* of the block matmul */
    int (*any_beyond)(const uint64_t *y, ptrdiff_t n, const uint64_t limit[2]);
    void (*describe_errors)(const fmt_statistics_plan *, const double *x, const double *q,
                            const double *scales, fmt_described *, ptrdiff_t n);
    void (*add_errors)(const fmt_described *, ptrdiff_t first, ptrdiff_t n, fmt_errors *);
    /* See tiles.inc.h. */
    void (*dot_floats)(const float *a, const float *b, ptrdiff_t n, float *totals, int paired);
    void (*dot_doubles)(const double *a, const double *b, ptrdiff_t n, double *totals, int paired);
    /* Of n products in two numbers, one TILE after the other; returns whether bits were lost. */
    int (*dot_twofold)(const double *a, const double *b, ptrdiff_t n, double *sums, int paired);
    int (*dot_aligned)(const fmt_aligned *p, ptrdiff_t depth, float *totals);
    /* Values of n codes, zero where they are not finite; returns 1 for infinities, 2 for NaN. */
    int (*read_floats)(const uint32_t *codes, ptrdiff_t n, const fmt_float_codes *, double *to);
    /* The exponents that values are aligned by, at least `least`; the values, or if wide their
     * significands, 1 for zero. */
    void (*split_floats)(const double *values, ptrdiff_t n, int least, int wide, float *to,
                         int32_t *exponents);
    void (*add_groups)(const fmt_groups *p, float *totals);
} fmt_kernels;

/* A tile of products with any accumulator: ROWS x COLUMNS results. */
enum { TILE_ROWS = 4, TILE_COLUMNS = 16 };

extern const fmt_kernels fmt_kernels_baseline;
#if defined(__x86_64__)
extern const fmt_kernels fmt_kernels_x86_64_v3;
extern const fmt_kernels fmt_kernels_x86_64_v4;
extern const fmt_group_coder fmt_group_coder_x86_64_v4_vbmi2[3];
#endif

extern const fmt_kernels *fmt_active;
void fmt_find_caches(void); /* sets what stream.h goes by */
const fmt_kernels *fmt_best(void);
const fmt_kernels *fmt_find(const char *name); /* NULL if unknown or not supported here */

/* What a ufunc's loop is given. */
typedef struct {
    enum { ENCODE, QUANTIZE, DECODE } verb;
    enum { FAMILY_FLOAT, FAMILY_FIXED } family;
    int source, target; /* enum fmt_type */
    int stochastic;     /* a word is the last input */
    int scaled;         /* a scale and a zero point follow the first input */
    int wide;           /* compute in float64 bits although the source is narrower */
    fmt_spec spec;
    fmt_nearest nearest; /* of the fast way; how = NEAREST_NONE if it does not serve */
    fmt_spec narrow;    /* scaled decoding to float16 or bfloat16: that format, to round to */
} fmt_plan;

/* A ufunc loop (PyUFuncGenericFunction) whose data is a fmt_plan. */
/* Scales and zero points of an array: element i is of channel i / inner % count. */
typedef struct {
    const double *scales;
    const int64_t *zeros;
    ptrdiff_t count, inner;
} fmt_channels;

/* The random words of elements go by the elements' numbers in an array, of which ours may be a part:
 * ours then lie in it as runs of equal length. */
typedef struct {
    uint64_t seed, stream;
    uint64_t first;         /* number of our first element, and the others follow; unless there are */
    const uint64_t *starts; /* numbers of the first elements of our runs, NULL if not */
    ptrdiff_t run;          /* length of these */
    ptrdiff_t before;       /* elements in these runs before ours */
} fmt_key;

/* The words of our elements index ... index + n - 1. */
void fmt_random_words(const fmt_key *key, ptrdiff_t index, uint32_t *words, ptrdiff_t n);

/* What the loop does, of elements start ... stop - 1 of a C-contiguous array, with the scales of
 * their channels and the random words of their numbers.  Returns enum fmt_status. */
int fmt_apply(const fmt_plan *plan, const char *x, char *out, ptrdiff_t start, ptrdiff_t stop,
              const fmt_channels *channels, const fmt_key *key);
void fmt_elementwise_loop(char **args, const ptrdiff_t *dimensions, const ptrdiff_t *steps,
                          void *plan);

/* A ufunc loop whose data is a fmt_plan with only a source: integers and long double as float64,
 * rounded to odd. */
void fmt_to_odd_loop(char **args, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *plan);

/* Blocks: x is a C-contiguous (outer, rows, middle, columns, inner) array; a group is a tile of
 * tile_rows x tile_columns, cut off at the ends.  Blocks along one axis have rows = middle =
 * tile_rows = 1. */
typedef struct fmt_block_plan {
    int source, target; /* enum fmt_type; target TYPE_INT*: codes, else values */
    ptrdiff_t outer, rows, middle, columns, inner, tile_rows, tile_columns;
    int stochastic, bump;
    fmt_key key; /* of the random words */
    int arithmetic; /* round_codes and round_values serve the elements and the rounding */
    enum { RULE_FLOOR, RULE_CEIL, RULE_EVEN, RULE_RCEIL, RULE_HBFP, RULE_AMAX } rule;
    int scale_type;           /* TYPE_INT* of the stored scales */
    int32_t emax, precision;  /* of the elements: exponent of the greatest, significand bits */
    uint32_t max_significand; /* of the greatest element, 24 bits with the top one set */
    ptrdiff_t micro;          /* columns of a sub-block with a bit of its own; 0 if none */
    int32_t micro_shift;      /* place of the first such bit in a scale's code */
    fmt_spec spec;            /* of the elements */
    /* RULE_AMAX: scales that are floats. */
    fmt_spec scale_spec;
    fmt_spec narrow;          /* target TYPE_F16 or TYPE_BF16: that format, to round to */
    float max_element, encode_scale, decode_scale; /* the latter: of the whole array */
} fmt_block_plan;

/* Codes (or values) of x, and the code of each group's scale (scales may be NULL); the share `part` of
 * `parts` of the work, which write no memory in common.  x may be out, but not overlap it otherwise. */
void fmt_encode_blocks(const fmt_block_plan *plan, const void *x, void *out, void *scales,
                      ptrdiff_t part, ptrdiff_t parts);
void fmt_decode_blocks(const fmt_block_plan *plan, const void *codes, const void *scales, void *out,
                       ptrdiff_t part, ptrdiff_t parts);

/* The greatest finite magnitude of n values of any type, rounded to float32; and whether any is not
 * finite. */
float fmt_finite_max(int source, const void *x, ptrdiff_t n, int *nonfinite);

/* Widths of groups: x is a C-contiguous (outer, rows, middle, columns, inner) array of integers of
 * `size` bytes; a group is a tile of tile_rows x tile_columns, as in a fmt_block_plan. */
typedef struct {
    int size;
    enum { WIDTH_UNSIGNED, WIDTH_TWOS_COMPLEMENT, WIDTH_SIGN_MAGNITUDE } encoding;
    ptrdiff_t outer, rows, middle, columns, inner, tile_rows, tile_columns;
} fmt_width_plan;

/* high: bits each group needs; low (may be NULL): position of the lowest set bit. */
void fmt_group_bits(const fmt_width_plan *plan, const void *x, uint8_t *high, uint8_t *low);

/* How operands of the block matmul are laid out; see integer_dot.inc.h.  Each serves wherever a later
 * one does. */
enum { LAYOUT_TOPPED, LAYOUT_HALVES, LAYOUT_BYTES };

/* Elements of a vector in a step, and words. */
static inline int fmt_elements_of(int layout) { return layout == LAYOUT_HALVES ? 2 : 4; }
static inline int fmt_words_of(int layout) { return layout == LAYOUT_TOPPED ? 3 : 1; }

/* An operand of the block matmul: sign-magnitude codes of `count` vectors (rows of a, columns of b)
 * along the depth, in a batch of matrices.  Strides count elements. */
typedef struct {
    const void *codes;
    int type, mantissa;  /* TYPE_INT1 or TYPE_INT2; magnitude bits */
    ptrdiff_t count, batch_stride, vector_stride, step_stride;
    const uint8_t *scales;
    ptrdiff_t scale_batch, scale_vector, scale_step;
    int bias, nan;       /* of the scale codes: bias, and the code that is NaN */
    ptrdiff_t group;
    /* What fmt_pack_matrix made of it, or NULL; how many vectors are in there, and the first of ours,
     * a multiple of what a tile has; its layout. */
    const void *packing;
    ptrdiff_t packed_count, first_packed;
    int packed_layout;
} fmt_matrix;

/* c[batch][rows][columns] += the product, with an fMAC's accumulator; see matmul.c.  Packings are of
 * operands with the same groups, in a layout that serves where fmt_matmul_layout does; batch is 1
 * then. */
typedef struct {
    ptrdiff_t batch, depth;
    fmt_matrix a, b;
    int fresh; /* what is in c does not count */
} fmt_matmul_plan;

/* Bytes of memory that fmt_matmul works in. */
size_t fmt_matmul_scratch(const fmt_matmul_plan *plan);
void fmt_matmul(const fmt_matmul_plan *plan, float *c, void *scratch);
/* The layout for products of such operands. */
int fmt_matmul_layout(const fmt_matrix *a, const fmt_matrix *b, ptrdiff_t depth);

/* Bytes of a packing of one matrix, at any address; fmt_pack_matrix returns 0 if there was no memory
 * to work in. */
size_t fmt_packing_size(const fmt_matrix *m, int is_a, ptrdiff_t depth, int layout);
int fmt_pack_matrix(const fmt_matrix *m, int is_a, ptrdiff_t depth, int layout, void *out);

/* Stretches of the depth, number g from starts[g] to starts[g + 1], in steps[g] steps. */
typedef struct {
    ptrdiff_t count, all_steps;
    ptrdiff_t *starts;
    int32_t *steps;
} fmt_pieces;

/* Vectors packed for the kernels of integer_dot.inc.h: words[step][vector], the others
 * [piece][vector]; the least and greatest exponent of scales that are not NaN and have an element
 * that is not 0. */
typedef struct {
    uint32_t *words;
    float *scales;
    int32_t *corrections;
    int32_t *range;
} fmt_panel;

/* How a piece is summed: bytes in one run, in pairs of steps; halves in 32 bits, in more by short
 * or by long runs, or with the sum of their top bytes. */
enum { DOT_BYTES, DOT_PAIRS, DOT_HALVES, DOT_WIDE, DOT_RUNS, DOT_TOPPED };
enum { DOT_LONG_RUN = 4 }; /* steps of a run of DOT_RUNS, or more */
enum { TOPPED_LONGEST = 128 }; /* elements of a piece */
/* EXACT: no product of an exact sum rounded to float32 and the scales overflows or is subnormal;
 * OVERFLOW: none is subnormal; DOUBLE: they are computed in float64. */
enum { SCALING_EXACT, SCALING_OVERFLOW, SCALING_DOUBLE };
typedef struct {
    int kind, scaling;
    fmt_panel a, b;
    ptrdiff_t pieces;
    const int32_t *steps;
    ptrdiff_t run;   /* DOT_WIDE, DOT_RUNS: steps whose products fit 32 bits */
    int offset_bits; /* of bytes */
    float down, up;  /* SCALING_OVERFLOW: 2**-n and 2**n, which keep a's scales in range */
    int fresh;       /* totals start from 0, not from c */
} fmt_tile;

/* The kernels of the block matmul; a tile is rows x columns results. */
typedef struct fmt_integer_dot {
    int rows, columns;
    int most_of_pair; /* greatest sum of products of bytes that the kernel can hold; 0: has none */
    int has_topped;   /* whether DOT_TOPPED is there */
    void (*pack_panel)(const fmt_matrix *m, const void *codes, const uint8_t *scales,
                       ptrdiff_t count, const fmt_pieces *pieces, int is_a, int layout,
                       ptrdiff_t width, const fmt_panel *panel);
    /* Adds to so many rows and columns, of a tile or less, of c; `row` and `column` are strides, one
     * of which is 1. */
    void (*dot_tile)(const fmt_tile *tile, float *c, ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows,
                     ptrdiff_t columns);
    /* Adds the products of `count` pairs of vectors, of panels of `columns` on both sides; of kind
     * DOT_BYTES or DOT_WIDE. */
    void (*dot_paired)(const fmt_tile *tile, float *c, ptrdiff_t count);
} fmt_integer_dot;

extern const fmt_integer_dot fmt_integer_dot_baseline;
#if defined(__x86_64__)
extern const fmt_integer_dot fmt_integer_dot_x86_64_v3, fmt_integer_dot_x86_64_v4;
extern const fmt_integer_dot fmt_integer_dot_x86_64_v3_vnni, fmt_integer_dot_x86_64_v4_vnni;
#endif

/* Codes (TYPE_INT*) packed without gaps, and back; see pack.c.  The packed side has exactly
 * ceil(n * width / 8) bytes; width is at most that of the type.  Bits of a code beyond the width
 * are dropped, padding is zero. */
void fmt_pack(const void *codes, int type, int width, ptrdiff_t n, uint8_t *out);
void fmt_unpack(const uint8_t *packed, int width, int is_signed, ptrdiff_t n, void *codes,
                int type);

/* out[j][i] = x[i][j] of integers of `size` bytes; x_row, out_row: elements from a row to the next. */
void fmt_transpose(const void *x, ptrdiff_t x_row, void *out, ptrdiff_t out_row, ptrdiff_t rows,
                   ptrdiff_t columns, int size);

/* For each set of eight flags: the places of those that are set; and what number each of them is, or 128.
 * Init once, before any other thread. */
extern uint8_t fmt_lanes_kept[256][8], fmt_lanes_from[256][8];
void fmt_lanes_init(void);

/* CRC-32C of n bytes, going on from `crc` (0 at the start); init once, before any other thread. */
void fmt_crc32c_init(void);
uint32_t fmt_crc32c(const uint8_t *data, size_t n, uint32_t crc);

/* out[i] = table[codes[i]]: codes of 1 or 2 bytes, table entries of 1, 2 or 4; an entry for every
 * number that a code's bytes can hold. */
void fmt_lookup(const void *codes, int code_size, const void *table, int entry_size, void *out,
                ptrdiff_t n);

/* x and q: n elements and what they were quantised to, the first of them at index `first`; scales,
 * zero_points, words: NULL if there are none.  `to` starts with the channel first_channel. */
void fmt_statistics(const fmt_statistics_plan *plan, const double *x, const double *q,
                    const double *scales, const int64_t *zero_points, const uint32_t *words,
                    ptrdiff_t first, ptrdiff_t n, ptrdiff_t first_channel, fmt_errors *to);

/* A number taken apart: (-1)**negative * magnitude * 2**exponent.  products.py fills tables of them. */
enum { NUMBER_FINITE, NUMBER_INFINITE, NUMBER_NAN };
typedef struct {
    uint64_t magnitude; /* 0 unless finite */
    int32_t exponent;
    uint8_t negative, kind;
    uint16_t unused;
} fmt_number;

/* A Register of accumulators.py. */
enum { REGISTER_NONE, REGISTER_FLOAT, REGISTER_FIXED };
enum fmt_rounding {
    ROUND_NEAREST_EVEN, ROUND_NEAREST_AWAY, ROUND_TOWARD_ZERO, ROUND_UP, ROUND_DOWN, ROUND_TO_ODD
};
enum fmt_overflow { OVERFLOW_NONSATURATING, OVERFLOW_INFINITY, OVERFLOW_SATURATE, OVERFLOW_WRAP };
typedef struct {
    int kind, mantissa_bits;
    int least;    /* exponent of the least normal number; fixed point: of the quantum */
    int greatest; /* exponent of the greatest number */
    int rounding, overflow, flush;
} fmt_register;

/* How the codes of an operand become numbers, and where they are; strides count elements. */
enum { OPERAND_TABLE, OPERAND_TWOS_COMPLEMENT, OPERAND_UNSIGNED, OPERAND_SIGN_MAGNITUDE };
typedef struct {
    const void *codes;
    int type; /* TYPE_INT1, 2 or 4 */
    int family, bits, exponent;
    int fraction_bits; /* the exponent that a number is aligned by, less that of its unit */
    const fmt_number *table; /* by code */
    int plain_float;         /* 1 if the codes are laid out as IEEE 754's, in full */
    int low, high;           /* finite numbers are multiples of 2**low and below 2**high */
    ptrdiff_t batch_stride, row_stride, step; /* row: of a, or column of b; step: along the depth */
    ptrdiff_t group;                          /* elements that share a scale; 0: there are none */
    const void *scales;                       /* codes */
    int scale_type, scale_low, scale_high;    /* low and high as above */
    int scale_bits; /* of the scales' significands, without the tensor's */
    const fmt_number *scale_table;            /* by code, the scale of the whole tensor included */
    ptrdiff_t scale_batch, scale_row, scale_step;
    double tensor; /* the scale of the whole tensor, or 1 */
} fmt_operand;

/* c = the accumulator's sum of c and the products; strides count elements. */
typedef struct {
    ptrdiff_t batch, rows, depth, columns;
    fmt_operand a, b;
    /* Accumulator of accumulators.py */
    ptrdiff_t terms; /* depth or more: all */
    int aligned, alignment_bits, alignment_rounding, least_alignment;
    int late, signed_zero, pairwise;
    ptrdiff_t promotion_terms; /* 0: none */
    int scales_groups, scales_promotion, scales_end; /* none of them: in the products */
    const ptrdiff_t *parts; /* NULL: one */
    ptrdiff_t part_count;
    fmt_register product, partial, total, promotion, result;
    void *c;
    int c_type; /* TYPE_F32 or TYPE_F64 */
    ptrdiff_t c_batch, c_row, c_column;
} fmt_product;

size_t fmt_accumulate_scratch(const fmt_product *plan);
void fmt_accumulate(const fmt_product *plan, void *scratch);

#endif
