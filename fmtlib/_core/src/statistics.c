/* What quantising did to the elements of an array, summed by channel. */
#include <string.h>

#include "environment.h"
#include "kernels.h"

/* over: whether y, rounded as if the format had no limits, is beyond them.  Few elements are in
 * question: those are encoded, without limits. */
static void find_overflow(const fmt_statistics_plan *plan, const int64_t *zero_points,
                          const uint32_t *words, fmt_described *s, ptrdiff_t n)
{
    ptrdiff_t at[CHUNK], count = 0;
    uint64_t y[CHUNK];
    int64_t zeros[CHUNK];
    uint32_t some_words[CHUNK], codes[CHUNK];
    memset(s->over, 0, sizeof s->over);
    if (!fmt_active->any_beyond(s->y, n, plan->limit))
        return;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint64_t magnitude = s->y[i] & INT64_MAX;
        at[count] = i;
        count += (magnitude > plan->limit[s->y[i] >> 63]) & (magnitude < (uint64_t)0x7ff << 52);
    }
    for (ptrdiff_t j = 0; j < count; j++) {
        const int negative = (int)(s->y[at[j]] >> 63);
        y[j] = s->y[at[j]];
        some_words[j] = words ? words[at[j]] : 0;
        /* relative to the limit on x's side, so that the difference fits in 32 bits */
        zeros[j] = (zero_points ? zero_points[at[j]] : 0)
                   - (negative ? plan->min_integer : plan->max_integer);
    }
    if (plan->is_float)
        fmt_active->encode_float64(y, words ? some_words : NULL, codes, count, &plan->spec);
    else
        fmt_active->encode_fixed64(y, zeros, words ? some_words : NULL, codes, count, &plan->spec);
    for (ptrdiff_t j = 0; j < count; j++) {
        const int32_t beyond = (int32_t)codes[j];
        s->over[at[j]] = plan->is_float ? (beyond & INT32_MAX) > plan->max_code
                         : y[j] >> 63   ? beyond < 0
                                        : beyond > 0;
    }
}

/* Elements first ... first + n - 1 of the chunk are of the channels to[0], to[1] ... */
static void add_across(const fmt_described *from, ptrdiff_t first, ptrdiff_t n, fmt_errors *to)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const ptrdiff_t i = first + j;
        to[j].signal += from->signal[i];
        to[j].noise += from->error[i] * from->error[i];
        to[j].max_error = from->error[i] > to[j].max_error ? from->error[i] : to[j].max_error;
        to[j].max_ulps = from->ulps[i] > to[j].max_ulps ? from->ulps[i] : to[j].max_ulps;
        for (int kind = 0; kind < FMT_COUNTS; kind++)
            to[j].counts[kind] += (int64_t)(from->flags[i] >> 8 * kind & 0xff);
    }
}

void fmt_statistics(const fmt_statistics_plan *plan, const double *x, const double *q,
                    const double *scales, const int64_t *zero_points, const uint32_t *words,
                    ptrdiff_t first, ptrdiff_t n, ptrdiff_t first_channel, fmt_errors *to)
{
    const fmt_environment callers = fmt_enter();
    fmt_described s;
    for (ptrdiff_t done = 0; done < n; done += CHUNK) {
        const ptrdiff_t m = n - done < CHUNK ? n - done : CHUNK;
        const double *scale = scales ? scales + done : NULL;
        memcpy(s.y, x + done, (size_t)m * sizeof *x);
        if (scales)
            fmt_active->divide_to_odd(s.y, scale, s.y, m);
        find_overflow(plan, zero_points ? zero_points + done : NULL, words ? words + done : NULL,
                      &s, m);
        fmt_active->describe_errors(plan, x + done, q + done, scale, &s, m);
        /* runs of the chunk that lie in one channel, or in one row of channels */
        const int runs = plan->inner > 1 || plan->length == 1;
        const ptrdiff_t run = runs ? plan->inner : plan->length;
        for (ptrdiff_t i = 0; i < m;) {
            const ptrdiff_t at = first + done + i, channel = at / plan->inner % plan->length;
            const ptrdiff_t rest = run - at % run, take = rest < m - i ? rest : m - i;
            (runs ? fmt_active->add_errors : add_across)(&s, i, take, to + (channel - first_channel));
            i += take;
        }
    }
    fmt_leave(callers);
}
