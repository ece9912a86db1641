/* One loop behind every elementwise ufunc: load, core, decode, store, a chunk at a time. */
#include <fenv.h>
#include <string.h>

#include "kernels.h"

static const ptrdiff_t SIZE[] = {2, 2, 4, 8, 1, 2, 4}; /* of enum fmt_type, in bytes */

static const int64_t NO_ZEROS[CHUNK] = {0};

static void gather(const char *x, ptrdiff_t step, ptrdiff_t size, char *out, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++, x += step, out += size) {
        switch (size) { /* constant sizes become single moves */
        case 1: memcpy(out, x, 1); break;
        case 2: memcpy(out, x, 2); break;
        case 4: memcpy(out, x, 4); break;
        default: memcpy(out, x, 8); break;
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
        default: memcpy(out, x, 8); break;
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
    uint64_t raw[CHUNK];
    uint64_t bits64[CHUNK];
    uint32_t bits32[CHUNK];
    uint32_t codes[CHUNK];
    uint32_t words[CHUNK];
    double scales[CHUNK];
    int64_t zeros[CHUNK];
    uint64_t store[CHUNK];
} stages;

static int encode(const fmt_plan *plan, const fmt_kernels *k, const void *x, const double *scales,
                  const int64_t *zeros, const uint32_t *words, stages *s, ptrdiff_t n)
{
    const int wide = plan->source == TYPE_F64 || plan->wide || plan->scaled;
    const uint32_t *bits32 = x;
    const uint64_t *bits64 = x;
    if (plan->source == TYPE_F16 || plan->source == TYPE_BF16) {
        (plan->source == TYPE_F16 ? k->widen16 : k->widen_bf16)(x, s->bits32, n);
        bits32 = s->bits32;
    }
    if (wide && plan->source != TYPE_F64) {
        k->widen32(bits32, s->bits64, n);
        bits64 = s->bits64;
    }
    if (plan->scaled) {
        k->divide_to_odd(bits64, scales, s->bits64, n);
        bits64 = s->bits64;
    }
    if (plan->family == FAMILY_FLOAT)
        return wide ? k->encode_float64(bits64, words, s->codes, n, &plan->spec)
                    : k->encode_float32(bits32, words, s->codes, n, &plan->spec);
    return wide ? k->encode_fixed64(bits64, zeros ? zeros : NO_ZEROS, words, s->codes, n, &plan->spec)
                : k->encode_fixed32(bits32, NULL, words, s->codes, n, &plan->spec);
}

static void load_codes(const fmt_plan *plan, const fmt_kernels *k, const void *x,
                       const int64_t *zeros, uint32_t *codes, ptrdiff_t n)
{
    const int bits = (int)(8 * SIZE[plan->source]);
    switch (plan->source) {
    case TYPE_INT1: k->unpack8(x, codes, n); break;
    case TYPE_INT2: k->unpack16(x, codes, n); break;
    default: memcpy(codes, x, (size_t)n * sizeof *codes); break;
    }
    if (plan->family == FAMILY_FIXED && !plan->spec.is_unsigned)
        for (ptrdiff_t i = 0; i < n; i++) /* two's complement: repeat the sign */
            codes[i] = (uint32_t)((int32_t)(codes[i] << (32 - bits)) >> (32 - bits));
    if (zeros)
        for (ptrdiff_t i = 0; i < n; i++)
            codes[i] -= (uint32_t)zeros[i];
}

/* Values of codes: the result's bits, in s->bits32 or s->bits64 as the target is wide or not. */
static void decode(const fmt_plan *plan, const fmt_kernels *k, const double *scales, stages *s,
                   ptrdiff_t n)
{
    const int target64 = plan->target == TYPE_F64;
    const int is_float = plan->family == FAMILY_FLOAT;
    if (!plan->scaled && !target64) {
        (is_float ? k->decode_float32 : k->decode_fixed32)(s->codes, s->bits32, n, &plan->spec);
        return;
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

static void store(const fmt_plan *plan, const fmt_kernels *k, stages *s, char *out, ptrdiff_t step,
                  ptrdiff_t n)
{
    const ptrdiff_t size = SIZE[plan->target];
    void *to = step == size ? (void *)out : (void *)s->store;
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
    default: memcpy(to, s->bits64, (size_t)n * 8); break;
    }
    if (to != (void *)out)
        scatter(to, size, out, step, n);
}

void fmt_elementwise_loop(char **args, const ptrdiff_t *dimensions, const ptrdiff_t *steps,
                          void *data)
{
    const fmt_plan *plan = data;
    const fmt_kernels *k = fmt_active;
    const int word_arg = 1 + 2 * plan->scaled;
    const int out_arg = word_arg + plan->stochastic;
    stages s;
    int invalid = 0;
    for (ptrdiff_t done = 0; done < dimensions[0]; done += CHUNK) {
        const ptrdiff_t rest = dimensions[0] - done, n = rest < CHUNK ? rest : CHUNK;
        const void *x = contiguous(args[0] + done * steps[0], steps[0], SIZE[plan->source], s.raw, n);
        const double *scales = NULL;
        const int64_t *zeros = NULL;
        const uint32_t *words = NULL;
        if (plan->scaled) {
            scales = contiguous(args[1] + done * steps[1], steps[1], 8, s.scales, n);
            zeros = contiguous(args[2] + done * steps[2], steps[2], 8, s.zeros, n);
        }
        if (plan->stochastic)
            words = contiguous(args[word_arg] + done * steps[word_arg], steps[word_arg], 4, s.words, n);
        if (plan->verb == DECODE)
            load_codes(plan, k, x, zeros, s.codes, n);
        else
            invalid |= encode(plan, k, x, scales, zeros, words, &s, n);
        if (plan->verb != ENCODE)
            decode(plan, k, scales, &s, n);
        store(plan, k, &s, args[out_arg] + done * steps[out_arg], steps[out_arg], n);
    }
    /* NumPy reads the flags after the loop: only the documented "invalid" may remain. */
    if (plan->scaled)
        feclearexcept(FE_ALL_EXCEPT);
    if (invalid)
        feraiseexcept(FE_INVALID);
}
