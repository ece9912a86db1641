/* The stages of error statistics; included by kernels.inc.h.  Nothing but integers is chosen
 * between, on 64 bits throughout, so that these loops vectorise. */

static inline int64_t magnitude_of(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & INT64_MAX;
}

static inline double masked(double value, uint64_t mask)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= mask;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int any_beyond(const uint64_t *restrict y, ptrdiff_t n, const uint64_t limit[2])
{
    const int64_t high = (int64_t)limit[0], low = (int64_t)limit[1];
    uint64_t any = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int64_t magnitude = (int64_t)y[i] & INT64_MAX;
        any |= (uint64_t)(magnitude > ((int64_t)y[i] < 0 ? low : high));
    }
    return any != 0;
}

#define FLAG(kind, condition) ((condition) ? (uint64_t)1 << 8 * (kind) : 0)

static inline void describe_one(const fmt_statistics_plan *p, double x, double q, uint64_t y,
                                double scale, int scaled, uint64_t over, double *error,
                                double *ulps, double *signal, uint64_t *flags)
{
    const int64_t infinity = (int64_t)0x7ff << 52;
    const int64_t xm = magnitude_of(x), qm = magnitude_of(q);
    const int64_t x_finite = xm < infinity, both = x_finite & (qm < infinity);
    const double difference = masked(q - x, (uint64_t)-both & INT64_MAX);
    const double counted = masked(x, (uint64_t)-both);
    /* the spacing at y, as a biased exponent, which is that of a normal number */
    const int64_t field = (int64_t)(y >> 52) & 0x7ff;
    const int64_t raised = field > p->min_field ? field : p->min_field;
    const int64_t spacing = (raised < p->max_field ? raised : p->max_field) - p->mantissa_bits;
    const int64_t spacing_bits = spacing << 52;
    double step;
    memcpy(&step, &spacing_bits, sizeof step);
    *error = difference;
    *ulps = (scaled ? difference / scale : difference) / step;
    *signal = counted * counted;
    /* values are compared by their bits: all are magnitudes */
    const int64_t least = magnitude_of(scaled ? p->least_normal * scale : p->least_normal);
    const int64_t inexact = x_finite & ((xm != qm) | ((x < 0) != (q < 0)));
    const int64_t fell = inexact & (int64_t)(1 - over);
    const int64_t tiny = (qm < least) | (p->no_zero & (xm < least));
    *flags = FLAG(FMT_COUNT, both) | FLAG(FMT_NAN, xm > infinity) | FLAG(FMT_INFINITE, xm == infinity)
             | FLAG(FMT_NONFINITE, x_finite & (qm >= infinity)) | FLAG(FMT_INEXACT, inexact)
             | FLAG(FMT_OVERFLOW, over) | FLAG(FMT_UNDERFLOW, fell & tiny)
             | FLAG(FMT_FLUSHED, fell & (qm == 0));
}

static void describe_errors(const fmt_statistics_plan *plan, const double *restrict x,
                            const double *restrict q, const double *restrict scales,
                            fmt_described *restrict to, ptrdiff_t n)
{
    const fmt_statistics_plan p = *plan;
    if (scales)
        for (ptrdiff_t i = 0; i < n; i++)
            describe_one(&p, x[i], q[i], to->y[i], scales[i], 1, to->over[i], &to->error[i],
                         &to->ulps[i], &to->signal[i], &to->flags[i]);
    else
        for (ptrdiff_t i = 0; i < n; i++)
            describe_one(&p, x[i], q[i], to->y[i], 1.0, 0, to->over[i], &to->error[i],
                         &to->ulps[i], &to->signal[i], &to->flags[i]);
}
#undef FLAG

/* Sums in a set order, whatever the instruction set: of LANES interleaved parts, then of these. */
enum { SUM_LANES = 8 };

static double sum_lanes(const double *restrict x, ptrdiff_t n)
{
    double lanes[SUM_LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        for (int lane = 0; lane < SUM_LANES; lane++)
            lanes[lane] += x[i + lane];
    for (int lane = 0; i < n; i++, lane++)
        lanes[lane] += x[i];
    double total = 0;
    for (int lane = 0; lane < SUM_LANES; lane++)
        total += lanes[lane];
    return total;
}

static double sum_squares(const double *restrict x, ptrdiff_t n)
{
    double lanes[SUM_LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        for (int lane = 0; lane < SUM_LANES; lane++)
            lanes[lane] += x[i + lane] * x[i + lane];
    for (int lane = 0; i < n; i++, lane++)
        lanes[lane] += x[i] * x[i];
    double total = 0;
    for (int lane = 0; lane < SUM_LANES; lane++)
        total += lanes[lane];
    return total;
}

/* Of numbers from 0 up: their bits are in order. */
static double greatest(const double *restrict x, ptrdiff_t n)
{
    int64_t most = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int64_t bits = magnitude_of(x[i]);
        most = bits > most ? bits : most;
    }
    double value;
    memcpy(&value, &most, sizeof value);
    return value;
}

/* Elements first ... first + n - 1 of the chunk are all of one channel. */
static void add_errors(const fmt_described *from, ptrdiff_t first, ptrdiff_t n, fmt_errors *to)
{
    const double error = greatest(from->error + first, n), ulps = greatest(from->ulps + first, n);
    to->signal += sum_lanes(from->signal + first, n);
    to->noise += sum_squares(from->error + first, n);
    to->max_error = error > to->max_error ? error : to->max_error;
    to->max_ulps = ulps > to->max_ulps ? ulps : to->max_ulps;
    /* the flags are eight counters of a byte: so many of them at a time do not run over */
    for (ptrdiff_t i = 0; i < n; i += 255) {
        uint64_t sums = 0;
        const ptrdiff_t end = n - i < 255 ? n : i + 255;
        for (ptrdiff_t j = i; j < end; j++)
            sums += from->flags[first + j];
        for (int kind = 0; kind < FMT_COUNTS; kind++)
            to->counts[kind] += (int64_t)(sums >> 8 * kind & 0xff);
    }
}
