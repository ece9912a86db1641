/* One loop behind every elementwise ufunc: load, core, decode, store, a chunk at a time. */
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "environment.h"
#include "kernels.h"
#include "stream.h"

static const int64_t NO_ZEROS[CHUNK] = {0};

static void gather(const char *x, ptrdiff_t step, ptrdiff_t size, char *out, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++, x += step, out += size) {
        switch (size) { /* constant sizes become single moves */
        case 1: memcpy(out, x, 1); break;
        case 2: memcpy(out, x, 2); break;
        case 4: memcpy(out, x, 4); break;
        case 8: memcpy(out, x, 8); break;
        default: memcpy(out, x, sizeof(long double)); break;
        }
    }
}

static void scatter(const char *x, ptrdiff_t size, char *out, ptrdiff_t step, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++, x += size, out += step) {
        switch (size) {
        case 1: memcpy(out, x, 1); break;
        case 2: memcpy(out, x, 2); break;
        case 4: memcpy(out, x, 4); break;
        case 8: memcpy(out, x, 8); break;
        default: memcpy(out, x, sizeof(long double)); break;
        }
    }
}

/* The n elements at x as a contiguous run: in place if they are one, else gathered in buffer. */
static const void *contiguous(const char *x, ptrdiff_t step, ptrdiff_t size, void *buffer,
                              ptrdiff_t n)
{
    if (step == size)
        return x;
    gather(x, step, size, buffer, n);
    return buffer;
}

typedef struct {
    long double raw[CHUNK];
    uint64_t bits64[CHUNK];
    uint32_t bits32[CHUNK];
    uint32_t codes[CHUNK];
    uint32_t words[CHUNK];
    double scales[CHUNK];
    int64_t zeros[CHUNK];
    int64_t integers[CHUNK];
    long double store[CHUNK];
    ptrdiff_t channel, filled; /* scales and zeros have that channel's, so many times */
} stages;

/* Scales and zero points of a chunk's elements; NULL without.  uniform: the first are those of all,
 * and others need not be there before `spread`. */
typedef struct {
    const double *scales;
    const int64_t *zeros;
    int uniform;
} scaling;

static void spread(const scaling *by, stages *s, ptrdiff_t n)
{
    if (!by->uniform)
        return;
    const double scale = s->scales[0];
    const int64_t zero = s->zeros[0];
    for (ptrdiff_t i = s->filled; i < n; i++) {
        s->scales[i] = scale;
        s->zeros[i] = zero;
    }
    s->filled = n > s->filled ? n : s->filled;
}

/* --- integers and long double ---------------------------------------------------------------
 *
 * They become float64 rounded to odd: truncated, with the last bit set if anything was cut off, so
 * that the rounding that follows gives what one rounding of the exact value would. */

static const uint64_t SIGN_BIT = (uint64_t)1 << 63;

static int is_integer(int type) { return type >= TYPE_I8; }

/* The values as int64; those of uint64 as the same bits. */
static void load_integers(int type, const void *x, int64_t *out, ptrdiff_t n)
{
#define LOAD(TYPE, C)                                                                              \
    case TYPE:                                                                                     \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            out[i] = (int64_t)((const C *)x)[i];                                                   \
        break;
    switch (type) {
    LOAD(TYPE_I8, int8_t)
    LOAD(TYPE_I16, int16_t)
    LOAD(TYPE_I32, int32_t)
    LOAD(TYPE_I64, int64_t)
    LOAD(TYPE_U8, uint8_t)
    LOAD(TYPE_U16, uint16_t)
    LOAD(TYPE_U32, uint32_t)
    default: memcpy(out, x, (size_t)n * 8);
    }
#undef LOAD
}

/* The magnitude m of an integer times 2**exponent, with a sticky bit for what is below, to odd. */
static uint64_t compose_to_odd(uint64_t m, int exponent, int sticky, uint64_t sign)
{
    if (m == 0)
        return sign;
    const int length = 64 - __builtin_clzll(m);
    if (length + exponent > 1024)
        return sign | 0x7fefffffffffffff;
    const int too_long = length - 53, too_small = -1074 - exponent;
    const int excess = too_long > too_small ? too_long : too_small; /* below 64, see the callers */
    if (excess > 0) {
        sticky |= m << (64 - excess) != 0;
        m >>= excess;
        exponent += excess;
    }
    const double value = ldexp((double)(int64_t)m, exponent); /* exact */
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits | sign | (uint64_t)(sticky != 0);
}

static uint64_t magnitude_of(int64_t x, int type, uint64_t *sign)
{
    const int negative = type != TYPE_U64 && x < 0;
    *sign = negative ? SIGN_BIT : 0;
    return negative ? 0 - (uint64_t)x : (uint64_t)x;
}

/* x / scale to odd: both as integers times powers of two, divided with a remainder. */
static uint64_t divide_integer_to_odd(int64_t x, int type, double scale)
{
    uint64_t sign;
    const uint64_t magnitude = magnitude_of(x, type, &sign);
    if (magnitude == 0)
        return 0;
    int exponent;
    const uint64_t divisor = (uint64_t)ldexp(frexp(scale, &exponent), 53); /* up to 2**53 */
    const int lift = __builtin_clzll(magnitude) + 52;
    const unsigned __int128 dividend = (unsigned __int128)magnitude << lift;
    const unsigned __int128 quotient = dividend / divisor;
    const int rest = quotient * divisor != dividend;
    /* the quotient is between 2**62 and 2**64, the result above 2**-1025 */
    return compose_to_odd((uint64_t)quotient, 53 - exponent - lift, rest, sign);
}

/* The sum of a value and an error of less than one unit in its last place, to odd. */
static uint64_t long_to_odd(long double value, long double error)
{
    double rounded = (double)value;
    uint64_t bits;
    if (isinf(rounded) && !isinf(value))
        return value < 0 ? SIGN_BIT | 0x7fefffffffffffff : 0x7fefffffffffffff;
    memcpy(&bits, &rounded, sizeof bits);
    if (isnan(value) || isinf(value))
        return bits;
    const long double difference = value - (long double)rounded;
    const long double rest = difference != 0 ? difference : error;
    const int smaller = bits & SIGN_BIT ? rest > 0 : rest < 0; /* than |rounded| */
    return (bits - (uint64_t)smaller) | (uint64_t)(rest != 0);
}

static uint64_t divide_long_to_odd(long double x, double scale)
{
    const long double quotient = x / scale;
    if (isnan(quotient) || isinf(quotient) || quotient == 0)
        return long_to_odd(isinf(quotient) && !isinf(x) ? copysignl((long double)DBL_MAX, x) : quotient,
                           quotient == 0 ? x : 0);
    return long_to_odd(quotient, fmal(-quotient, scale, x));
}

static void load_to_odd(const fmt_plan *plan, const void *x, const double *scales, stages *s,
                        ptrdiff_t n)
{
    if (is_integer(plan->source) && !scales) {
        fmt_active->integers_to_odd(plan->source, x, s->bits64, n);
        return;
    }
    if (plan->source == TYPE_LONG_DOUBLE) {
        const long double *values = x;
        for (ptrdiff_t i = 0; i < n; i++)
            s->bits64[i] = scales ? divide_long_to_odd(values[i], scales[i])
                                  : long_to_odd(values[i], 0);
        return;
    }
    load_integers(plan->source, x, s->integers, n);
    for (ptrdiff_t i = 0; i < n; i++)
        s->bits64[i] = divide_integer_to_odd(s->integers[i], plan->source, scales[i]);
}

void fmt_to_odd_loop(char **args, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data)
{
    const fmt_plan *plan = data;
    const fmt_environment callers = fmt_enter();
    stages s;
    for (ptrdiff_t done = 0; done < dimensions[0]; done += CHUNK) {
        const ptrdiff_t rest = dimensions[0] - done, n = rest < CHUNK ? rest : CHUNK;
        const void *x = contiguous(args[0] + done * steps[0], steps[0], fmt_size_of(plan->source), s.raw, n);
        load_to_odd(plan, x, NULL, &s, n);
        scatter((const char *)s.bits64, 8, args[1] + done * steps[1], steps[1], n);
    }
    fmt_leave(callers);
    feclearexcept(FE_ALL_EXCEPT);
}

static int encode(const fmt_plan *plan, const fmt_kernels *k, const void *x, const scaling *by,
                  const uint32_t *words, stages *s, ptrdiff_t n)
{
    const double *scales = by->scales;
    const int64_t *zeros = by->zeros;
    const int other = is_integer(plan->source) || plan->source == TYPE_LONG_DOUBLE;
    const int wide = plan->source == TYPE_F64 || plan->wide || plan->scaled || other;
    const uint32_t *bits32 = x;
    const uint64_t *bits64 = x;
    if (is_integer(plan->source) && plan->family == FAMILY_FIXED && !plan->scaled)
        return k->encode_integers(plan->source, x, s->codes, n, &plan->spec);
    if (other) {
        spread(by, s, n);
        load_to_odd(plan, x, scales, s, n);
        bits64 = s->bits64;
    } else if (plan->source == TYPE_F16 || plan->source == TYPE_BF16) {
        (plan->source == TYPE_F16 ? k->widen16 : k->widen_bf16)(x, s->bits32, n);
        bits32 = s->bits32;
    }
    if (plan->family == FAMILY_FLOAT && words && !wide) {
        const int status = k->encode_noise(bits32, words, s->codes, n, &plan->spec);
        if (!(status & STATUS_UNSURE))
            return status;
    }
    const int nearest = plan->nearest.how != NEAREST_NONE;
    if (plan->scaled && nearest && plan->source != TYPE_F64 && !other) {
        const int status
            = k->encode_scaled_floats(bits32, scales, by->uniform, s->codes, n, &plan->nearest);
        if (!(status & STATUS_UNSURE))
            return status;
    }
    if (plan->scaled && plan->family == FAMILY_FIXED && !other && !words) {
        int status = STATUS_UNSURE;
        if (plan->source != TYPE_F64)
            status = k->encode_scaled_bytes(bits32, scales, zeros, by->uniform, s->codes, n,
                                            &plan->spec);
        if (!(status & STATUS_UNSURE))
            return status;
        spread(by, s, n);
        status = plan->source == TYPE_F64
                     ? k->encode_scaled64(bits64, scales, zeros, s->codes, n, &plan->spec)
                     : k->encode_scaled32(bits32, scales, zeros, s->codes, n, &plan->spec);
        if (!(status & STATUS_UNSURE))
            return status;
    }
    if (wide && !other && plan->source != TYPE_F64) {
        /* subnormals round to zero */
        const int normal
            = plan->family == FAMILY_FIXED && !plan->scaled && fmt_is_nearest_fixed(&plan->spec);
        (normal ? k->widen_normal : k->widen32)(bits32, s->bits64, n);
        bits64 = s->bits64;
    }
    spread(by, s, n);
    if (plan->scaled && !other) {
        k->divide_to_odd(bits64, scales, s->bits64, n);
        bits64 = s->bits64;
    }
    if (nearest) { /* odd again, so that the code is that of one rounding */
        k->narrow_to_odd(bits64, s->bits32, n, plan->nearest.how == NEAREST_SHIFT);
        return k->nearest_encode(s->bits32, s->codes, n, &plan->nearest);
    }
    if (plan->family == FAMILY_FLOAT)
        return wide ? k->encode_float64(bits64, words, s->codes, n, &plan->spec)
                    : k->encode_float32(bits32, words, s->codes, n, &plan->spec);
    return wide ? k->encode_fixed64(bits64, zeros ? zeros : NO_ZEROS, words, s->codes, n, &plan->spec)
                : k->encode_fixed32(bits32, NULL, words, s->codes, n, &plan->spec);
}

static void load_codes(const fmt_plan *plan, const fmt_kernels *k, const void *x, uint32_t *codes,
                       ptrdiff_t n)
{
    const int is_signed = plan->family == FAMILY_FIXED && !plan->spec.is_unsigned;
    switch (plan->source) {
    case TYPE_INT1: is_signed ? k->unpack_signed8(x, codes, n) : k->unpack8(x, codes, n); break;
    case TYPE_INT2: is_signed ? k->unpack_signed16(x, codes, n) : k->unpack16(x, codes, n); break;
    default: memcpy(codes, x, (size_t)n * sizeof *codes); break;
    }
}

/* Values of codes: the result's bits, in s->bits32 or s->bits64 as the target is wide or not. */
static void decode(const fmt_plan *plan, const fmt_kernels *k, const scaling *by, stages *s,
                   ptrdiff_t n)
{
    const double *scales = by->scales;
    const int64_t *zeros = by->zeros;
    const int target64 = plan->target == TYPE_F64 || plan->target == TYPE_LONG_DOUBLE;
    const int is_float = plan->family == FAMILY_FLOAT;
    if (!plan->scaled && !target64) {
        (is_float ? k->decode_float32 : k->decode_fixed32)(s->codes, s->bits32, n, &plan->spec);
        return;
    }
    if (is_float && plan->scaled && plan->target == TYPE_F32
        && k->decode_scaled_floats(s->codes, scales, by->uniform, s->bits32, n, &plan->nearest) == 0)
        return;
    spread(by, s, n);
    if (!is_float && plan->scaled) {
        if (plan->target == TYPE_F32
            && k->decode_scaled(s->codes, scales, zeros, s->bits32, n, &plan->spec) == 0)
            return;
        for (ptrdiff_t i = 0; i < n; i++)
            s->codes[i] -= (uint32_t)zeros[i];
    }
    (is_float ? k->decode_float64 : k->decode_fixed64)(s->codes, s->bits64, n, &plan->spec);
    if (!plan->scaled)
        return;
    if (target64) {
        for (ptrdiff_t i = 0; i < n; i++) {
            double value;
            memcpy(&value, &s->bits64[i], sizeof value);
            value *= scales[i];
            memcpy(&s->bits64[i], &value, sizeof value);
        }
        return;
    }
    /* odd, so that the rounding to the target is the only one */
    k->multiply_to_odd(s->bits64, scales, s->bits64, n);
    if (plan->target == TYPE_F16 || plan->target == TYPE_BF16) {
        k->encode_float64(s->bits64, NULL, s->codes, n, &plan->narrow); /* codes are its bits */
        return;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, &s->bits64[i], sizeof value);
        const float rounded = (float)value;
        memcpy(&s->bits32[i], &rounded, sizeof rounded);
    }
}

static void store_long(const uint64_t *bits, long double *out, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, &bits[i], sizeof value);
        out[i] = value;
    }
}

/* Quantised integers: the codes of a format without fraction bits are its values. */
static void store_integers(const fmt_plan *plan, const uint32_t *codes, void *out, ptrdiff_t n)
{
#define STORE(TYPE, C)                                                                             \
    case TYPE:                                                                                     \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            ((C *)out)[i] = plan->spec.is_unsigned ? (C)codes[i] : (C)(int32_t)codes[i];           \
        break;
    switch (plan->target) {
    STORE(TYPE_I8, int8_t)
    STORE(TYPE_I16, int16_t)
    STORE(TYPE_I32, int32_t)
    STORE(TYPE_I64, int64_t)
    STORE(TYPE_U8, uint8_t)
    STORE(TYPE_U16, uint16_t)
    STORE(TYPE_U32, uint32_t)
    STORE(TYPE_U64, uint64_t)
    default: break;
    }
#undef STORE
}

static void store(const fmt_plan *plan, const fmt_kernels *k, stages *s, char *out, ptrdiff_t step,
                  ptrdiff_t n, fmt_stream *stream)
{
    const ptrdiff_t size = fmt_size_of(plan->target);
    void *to = step == size && !stream ? (void *)out : (void *)s->store;
    const int scaled_values = plan->scaled && plan->verb == DECODE;
    switch (plan->target) {
    case TYPE_INT1: k->pack8(s->codes, to, n); break;
    case TYPE_INT2: k->pack16(s->codes, to, n); break;
    case TYPE_INT4: memcpy(to, s->codes, (size_t)n * 4); break;
    case TYPE_F16:
    case TYPE_BF16:
        if (scaled_values)
            k->pack16(s->codes, to, n);
        else
            (plan->target == TYPE_F16 ? k->narrow16 : k->narrow_bf16)(s->bits32, to, n);
        break;
    case TYPE_F32: memcpy(to, s->bits32, (size_t)n * 4); break;
    case TYPE_F64: memcpy(to, s->bits64, (size_t)n * 8); break;
    case TYPE_LONG_DOUBLE: store_long(s->bits64, to, n); break;
    default: store_integers(plan, s->codes, to, n);
    }
    if (stream)
        fmt_stream_write(stream, out, to, (size_t)(n * size));
    else if (to != (void *)out)
        scatter(to, size, out, step, n);
}

/* --- the fast way ---------------------------------------------------------------------------- */

typedef struct {
    uint64_t raw[CHUNK], store[CHUNK], wide[CHUNK];
    uint32_t bits[CHUNK], results[CHUNK];
} nearest_stages;

/* What a kernel reads: codes, bits of bfloat16, or else of float32. */
static const void *load_nearest(const fmt_plan *plan, const fmt_kernels *k, const void *x,
                                nearest_stages *s, ptrdiff_t n)
{
    const int subnormals = plan->nearest.how == NEAREST_SHIFT;
    switch (plan->source) {
    case TYPE_F16: k->widen16(x, s->bits, n); break;
    case TYPE_F64: k->narrow_to_odd(x, s->bits, n, subnormals); break;
    case TYPE_I8:
    case TYPE_U8:
    case TYPE_I16:
    case TYPE_U16: k->convert_small(plan->source, x, s->bits, n); break;
    case TYPE_I32:
    case TYPE_U32:
    case TYPE_I64:
    case TYPE_U64:
        k->integers_to_odd(plan->source, x, s->wide, n);
        k->narrow_to_odd(s->wide, s->bits, n, subnormals);
        break;
    default: return x;
    }
    return s->bits;
}

/* What a kernel gave, codes in u32 or bits of float32, as the target's type. */
static void store_nearest(const fmt_plan *plan, const fmt_kernels *k, const uint32_t *results,
                          void *to, ptrdiff_t n)
{
    switch (plan->target) {
    case TYPE_INT1: k->pack8(results, to, n); break;
    case TYPE_INT2: k->pack16(results, to, n); break;
    case TYPE_F16: k->narrow16(results, to, n); break;
    case TYPE_BF16: k->narrow_bf16(results, to, n); break;
    default:
        if (plan->nearest.how == NEAREST_MAGIC)
            k->widen_normal(results, to, n);
        else
            k->widen32(results, to, n);
    }
}

static int nearest_loop(const fmt_plan *plan, const fmt_kernels *k, char **args, ptrdiff_t count,
                        const ptrdiff_t *steps)
{
    const ptrdiff_t in_size = fmt_size_of(plan->source), out_size = fmt_size_of(plan->target);
    const int short_source = plan->source == TYPE_BF16;
    fmt_nearest_kernel *const encoder = short_source ? k->nearest_encode_bf16 : k->nearest_encode;
    fmt_nearest_kernel *const quantizer
        = short_source ? k->nearest_quantize_bf16 : k->nearest_quantize;
    fmt_nearest_kernel *const core = plan->verb == DECODE   ? k->nearest_decode[in_size / 2]
                                     : plan->verb == ENCODE ? encoder
                                                            : quantizer;
    const int from_any = plan->verb == DECODE || plan->source == TYPE_F32;
    const int to_same = plan->target == TYPE_INT4 || plan->target == TYPE_F32;
    const int streams = steps[1] == out_size && fmt_streams(count, in_size + out_size);
    if (from_any && to_same && steps[0] == in_size && steps[1] == out_size && !streams)
        return core(args[0], (uint32_t *)args[1], count, &plan->nearest);
    nearest_stages s;
    fmt_stream stream = fmt_stream_begin(args[1]);
    /* wide types in smaller chunks, so that reading, computing and writing overlap */
    const ptrdiff_t chunk = in_size > 4 || out_size > 4 ? CHUNK / 4 : CHUNK;
    int status = 0;
    for (ptrdiff_t done = 0; done < count; done += chunk) {
        const ptrdiff_t rest = count - done, n = rest < chunk ? rest : chunk;
        const void *x = contiguous(args[0] + done * steps[0], steps[0], in_size, s.raw, n);
        char *const out = args[1] + done * steps[1];
        if (count * in_size > FMT_LONG)
            fmt_ask_ahead(x, n * in_size);
        void *const to = steps[1] == out_size && !streams ? (void *)out : (void *)s.store;
        uint32_t *const results = to_same ? to : s.results;
        status |= core(load_nearest(plan, k, x, &s, n), results, n, &plan->nearest);
        if (!to_same)
            store_nearest(plan, k, results, to, n);
        if (streams)
            fmt_stream_write(&stream, out, to, (size_t)(n * out_size));
        else if (to != (void *)out)
            scatter(to, out_size, out, steps[1], n);
    }
    if (streams)
        fmt_stream_end(&stream);
    return status;
}

/* Everything else: load, core, decode; results are in the stages. */
static int general_chunk(const fmt_plan *plan, const fmt_kernels *k, const void *x,
                         const scaling *by, const uint32_t *words, stages *s, ptrdiff_t n)
{
    int status = 0;
    if (plan->verb == QUANTIZE && plan->family == FAMILY_FLOAT && words && plan->source == TYPE_F32
        && !plan->wide) {
        status = k->quantize_noise(x, words, s->bits32, n, &plan->spec);
        if (!(status & STATUS_UNSURE))
            return status;
        status = 0;
    }
    if (plan->verb == DECODE)
        load_codes(plan, k, x, s->codes, n);
    else
        status = encode(plan, k, x, by, words, s, n);
    if (plan->verb != ENCODE && !is_integer(plan->target))
        decode(plan, k, by, s, n);
    return status;
}

static int general_loop(const fmt_plan *plan, const fmt_kernels *k, char **args, ptrdiff_t count,
                        const ptrdiff_t *steps)
{
    const int word_arg = 1 + 2 * plan->scaled;
    const int out_arg = word_arg + plan->stochastic;
    scaling by = {NULL, NULL, plan->scaled && count > 0 && steps[1] == 0 && steps[2] == 0};
    const ptrdiff_t in_size = fmt_size_of(plan->source), out_size = fmt_size_of(plan->target);
    const int streams
        = steps[out_arg] == out_size && fmt_streams(count, in_size + out_size);
    fmt_stream stream = fmt_stream_begin(args[out_arg]);
    stages s;
    s.filled = 1;
    if (by.uniform) {
        memcpy(s.scales, args[1], sizeof *s.scales);
        memcpy(s.zeros, args[2], sizeof *s.zeros);
        by = (scaling){s.scales, s.zeros, 1};
    }
    int status = 0;
    for (ptrdiff_t done = 0; done < count; done += CHUNK) {
        const ptrdiff_t rest = count - done, n = rest < CHUNK ? rest : CHUNK;
        const void *x = contiguous(args[0] + done * steps[0], steps[0], in_size, s.raw, n);
        if (count * in_size > FMT_LONG)
            fmt_ask_ahead(x, n * in_size);
        const uint32_t *words = NULL;
        if (plan->scaled && !by.uniform) {
            by.scales = contiguous(args[1] + done * steps[1], steps[1], 8, s.scales, n);
            by.zeros = contiguous(args[2] + done * steps[2], steps[2], 8, s.zeros, n);
        }
        if (plan->stochastic)
            words = contiguous(args[word_arg] + done * steps[word_arg], steps[word_arg], 4, s.words, n);
        status |= general_chunk(plan, k, x, &by, words, &s, n);
        store(plan, k, &s, args[out_arg] + done * steps[out_arg], steps[out_arg], n,
              streams ? &stream : NULL);
    }
    if (streams)
        fmt_stream_end(&stream);
    return status;
}

void fmt_elementwise_loop(char **args, const ptrdiff_t *dimensions, const ptrdiff_t *steps,
                          void *data)
{
    const fmt_plan *plan = data;
    const fmt_environment callers = fmt_enter();
    const int nearest = plan->nearest.how != NEAREST_NONE && !plan->scaled;
    const int status
        = (nearest ? nearest_loop : general_loop)(plan, fmt_active, args, dimensions[0], steps);
    /* NumPy reads the flags after the loop: only the documented ones may remain. */
    fmt_leave(callers);
    if (plan->source == TYPE_LONG_DOUBLE || plan->target == TYPE_LONG_DOUBLE)
        feclearexcept(FE_ALL_EXCEPT); /* x87 has flags of its own */
    if (status & STATUS_INVALID)
        feraiseexcept(FE_INVALID);
    if (plan->spec.report && status & STATUS_OVERFLOW)
        feraiseexcept(FE_OVERFLOW);
}

/* --- whole arrays, whose scales and random words are made on the way -------------------------- */

/* Scales and zero points of n elements from element i on.  Returns how many of them this is about. */
static ptrdiff_t find_scales(const fmt_channels *c, ptrdiff_t i, ptrdiff_t n, scaling *by,
                             stages *s)
{
    enum { SHORT = 64 }; /* runs that are better taken together */
    ptrdiff_t channel = i / c->inner % c->count, left = c->inner - i % c->inner;
    *by = (scaling){s->scales, s->zeros, c->count == 1 || c->inner >= SHORT};
    if (c->inner == 1 && c->count >= CHUNK) {
        by->scales = c->scales + channel;
        by->zeros = c->zeros + channel;
        return n < c->count - channel ? n : c->count - channel;
    }
    if (by->uniform) {
        if (channel != s->channel || !s->filled) {
            s->channel = channel;
            s->filled = 1;
            s->scales[0] = c->scales[channel];
            s->zeros[0] = c->zeros[channel];
        }
        return c->count > 1 && left < n ? left : n;
    }
    for (ptrdiff_t j = 0; j < n;) {
        const ptrdiff_t stop = n - j < left ? n : j + left;
        const double scale = c->scales[channel];
        const int64_t zero = c->zeros[channel];
        for (; j < stop; j++) {
            s->scales[j] = scale;
            s->zeros[j] = zero;
        }
        channel = channel + 1 < c->count ? channel + 1 : 0;
        left = c->inner;
    }
    return n;
}

int fmt_apply(const fmt_plan *plan, const char *x, char *out, ptrdiff_t start, ptrdiff_t stop,
              const fmt_channels *channels, const fmt_key *key)
{
    const ptrdiff_t in_size = fmt_size_of(plan->source), out_size = fmt_size_of(plan->target);
    const int streams = fmt_streams(stop - start, in_size + out_size);
    const fmt_environment callers = fmt_enter();
    fmt_stream stream = fmt_stream_begin(out + start * out_size);
    stages s;
    s.filled = 0;
    int status = 0;
    for (ptrdiff_t i = start, n; i < stop; i += n) {
        scaling by = {NULL, NULL, 0};
        const uint32_t *words = NULL;
        n = stop - i < CHUNK ? stop - i : CHUNK;
        if (plan->scaled)
            n = find_scales(channels, i, n, &by, &s);
        if (plan->stochastic) {
            fmt_random_words(key, i, s.words, n);
            words = s.words;
        }
        if ((stop - start) * in_size > FMT_LONG)
            fmt_ask_ahead(x + i * in_size, n * in_size);
        status |= general_chunk(plan, fmt_active, x + i * in_size, &by, words, &s, n);
        store(plan, fmt_active, &s, out + i * out_size, out_size, n, streams ? &stream : NULL);
    }
    if (streams)
        fmt_stream_end(&stream);
    fmt_leave(callers);
    return status;
}
