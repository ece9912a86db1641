/* What quantising did to the elements of an array, summed by channel. */
#include <math.h>
#include <string.h>

#include "kernels.h"

/* What stage one makes of a chunk, for stage two to add up. */
typedef struct {
    uint64_t y[CHUNK];          /* bits of x / scale, rounded to odd: its binade is the quotient's */
    uint32_t codes[CHUNK];
    int64_t zeros[CHUNK];
    uint8_t over[CHUNK];
    double error[CHUNK], ulps[CHUNK], signal[CHUNK], noise[CHUNK];
    uint8_t flags[FMT_COUNTS][CHUNK];
} stages;

static uint64_t magnitude_bits(uint64_t bits) { return bits & 0x7fffffffffffffff; }

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* 2**exponent, for the exponents of normal numbers. */
static double power_of_two(int64_t exponent)
{
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* over: whether y, rounded as if there were no greatest value, is beyond it. */
static void find_overflow(const fmt_statistics_plan *plan, const int64_t *zero_points,
                          const uint32_t *words, stages *s, ptrdiff_t n)
{
    int any = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint64_t limit = plan->limit[s->y[i] >> 63];
        const uint64_t magnitude = magnitude_bits(s->y[i]);
        any |= magnitude > limit && magnitude < FMT_INFINITY_BITS;
    }
    any |= zero_points != NULL; /* shifts the limits: always look */
    memset(s->over, 0, sizeof s->over);
    if (!any)
        return;
    if (plan->is_float) {
        fmt_active->encode_float64(s->y, words, s->codes, n, &plan->spec);
        for (ptrdiff_t i = 0; i < n; i++)
            /* a negative number is no overflow of an unsigned format, but invalid */
            s->over[i] = ((int32_t)(s->codes[i] & 0x7fffffff) > plan->max_code)
                         & !(plan->spec.is_unsigned & (uint32_t)(s->y[i] >> 63));
    } else {
        /* relative to the limit on x's side, so that the difference fits in 32 bits */
        for (ptrdiff_t i = 0; i < n; i++)
            s->zeros[i] = (zero_points ? zero_points[i] : 0)
                          - (s->y[i] >> 63 ? plan->min_integer : plan->max_integer);
        fmt_active->encode_fixed64(s->y, s->zeros, words, s->codes, n, &plan->spec);
        for (ptrdiff_t i = 0; i < n; i++) {
            const int32_t beyond = (int32_t)s->codes[i];
            s->over[i] = s->y[i] >> 63 ? beyond < 0 : beyond > 0;
        }
    }
    for (ptrdiff_t i = 0; i < n; i++)
        s->over[i] &= magnitude_bits(s->y[i]) < FMT_INFINITY_BITS;
}

static void describe(const fmt_statistics_plan *plan, const double *x, const double *q,
                     const double *scales, stages *s, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint64_t xm = magnitude_bits(bits_of(x[i])), qm = magnitude_bits(bits_of(q[i]));
        const int x_finite = xm < FMT_INFINITY_BITS, q_finite = qm < FMT_INFINITY_BITS;
        const int both = x_finite & q_finite;
        const double scale = scales ? scales[i] : 1.0;
        const double error = both ? fabs(q[i] - x[i]) : 0.0;
        const int64_t binade = (int64_t)(magnitude_bits(s->y[i]) >> 52) - 1023;
        const int64_t low = binade > plan->min_exponent ? binade : plan->min_exponent;
        const int64_t ulp = (low < plan->max_exponent ? low : plan->max_exponent)
                            - plan->mantissa_bits;
        const int inexact = x_finite & (q[i] != x[i]);
        const double least = plan->least_normal * scale;
        const int small = (fabs(q[i]) < least) | (plan->no_zero & (fabs(x[i]) < least));
        s->error[i] = error;
        s->ulps[i] = error / scale / power_of_two(ulp);
        s->signal[i] = both ? x[i] * x[i] : 0.0;
        s->noise[i] = error * error;
        s->flags[FMT_COUNT][i] = (uint8_t)both;
        s->flags[FMT_NAN][i] = xm > FMT_INFINITY_BITS;
        s->flags[FMT_INFINITE][i] = xm == FMT_INFINITY_BITS;
        s->flags[FMT_NONFINITE][i] = (uint8_t)(x_finite & !q_finite);
        s->flags[FMT_INEXACT][i] = (uint8_t)inexact;
        s->flags[FMT_OVERFLOW][i] = s->over[i];
        s->flags[FMT_UNDERFLOW][i] = (uint8_t)(inexact & small & !s->over[i]);
        s->flags[FMT_FLUSHED][i] = (uint8_t)(inexact & (qm == 0) & !s->over[i]);
    }
}

/* Sums in a set order, whatever the instruction set: LANES running sums, then those in turn. */
enum { LANES = 8 };

static double sum(const double *x, ptrdiff_t n)
{
    double lanes[LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] += x[i + lane];
    for (int lane = 0; i < n; i++, lane++)
        lanes[lane] += x[i];
    double total = 0;
    for (int lane = 0; lane < LANES; lane++)
        total += lanes[lane];
    return total;
}

static double greatest(const double *x, ptrdiff_t n)
{
    double lanes[LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
    for (; i < n; i++)
        lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
    for (int lane = 1; lane < LANES; lane++)
        lanes[0] = lanes[lane] > lanes[0] ? lanes[lane] : lanes[0];
    return lanes[0];
}

static int64_t count(const uint8_t *flags, ptrdiff_t n)
{
    int32_t total = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        total += flags[i];
    return total;
}

/* Elements first ... first + n - 1 of the chunk are all of this channel. */
static void add_run(const stages *s, ptrdiff_t first, ptrdiff_t n, fmt_errors *to)
{
    to->signal += sum(s->signal + first, n);
    to->noise += sum(s->noise + first, n);
    const double error = greatest(s->error + first, n), ulps = greatest(s->ulps + first, n);
    to->max_error = error > to->max_error ? error : to->max_error;
    to->max_ulps = ulps > to->max_ulps ? ulps : to->max_ulps;
    for (int kind = 0; kind < FMT_COUNTS; kind++)
        to->counts[kind] += count(s->flags[kind] + first, n);
}

/* Element i is of channel to[i]. */
static void add_across(const stages *s, ptrdiff_t first, ptrdiff_t n, fmt_errors *to)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const ptrdiff_t i = first + j;
        to[j].signal += s->signal[i];
        to[j].noise += s->noise[i];
        to[j].max_error = s->error[i] > to[j].max_error ? s->error[i] : to[j].max_error;
        to[j].max_ulps = s->ulps[i] > to[j].max_ulps ? s->ulps[i] : to[j].max_ulps;
        for (int kind = 0; kind < FMT_COUNTS; kind++)
            to[j].counts[kind] += s->flags[kind][i];
    }
}

void fmt_statistics(const fmt_statistics_plan *plan, const double *x, const double *q,
                    const double *scales, const int64_t *zero_points, const uint32_t *words,
                    ptrdiff_t first, ptrdiff_t n, ptrdiff_t first_channel, fmt_errors *to)
{
    stages s;
    for (ptrdiff_t done = 0; done < n; done += CHUNK) {
        const ptrdiff_t m = n - done < CHUNK ? n - done : CHUNK;
        const double *xs = x + done, *scale = scales ? scales + done : NULL;
        memcpy(s.y, xs, (size_t)m * sizeof *xs);
        if (scales)
            fmt_active->divide_to_odd(s.y, scale, s.y, m);
        find_overflow(plan, zero_points ? zero_points + done : NULL, words ? words + done : NULL,
                      &s, m);
        describe(plan, xs, q + done, scale, &s, m);
        /* runs of the chunk that lie in one channel, or in one row of channels */
        const ptrdiff_t run = plan->inner > 1 ? plan->inner : plan->length;
        for (ptrdiff_t i = 0; i < m;) {
            const ptrdiff_t at = first + done + i, channel = at / plan->inner % plan->length;
            const ptrdiff_t rest = run - at % run, take = rest < m - i ? rest : m - i;
            if (plan->inner > 1 || plan->length == 1)
                add_run(&s, i, take, to + (channel - first_channel));
            else
                add_across(&s, i, take, to + (channel - first_channel));
            i += take;
        }
    }
}
