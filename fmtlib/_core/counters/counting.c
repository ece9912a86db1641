#include "counting.h"

#include <string.h>

int64_t fmt_run_ahead(const uint8_t *costs, ptrdiff_t pallets, ptrdiff_t repeats, ptrdiff_t taps,
                      ptrdiff_t columns, ptrdiff_t registers, int64_t *ends, int64_t *latest)
{
    ptrdiff_t oldest = 0; /* in the ring of the last registers + 1 steps' ends */
    int64_t last = 0;
    for (ptrdiff_t p = 0; p < pallets; p++)
        for (ptrdiff_t repeat = 0; repeat < repeats; repeat++)
            for (ptrdiff_t t = 0; t < taps; t++) {
                const uint8_t *cost = costs + (p * taps + t) * columns;
                int64_t wait = latest[oldest], end = 0;
                for (ptrdiff_t c = 0; c < columns; c++) {
                    int64_t begin = ends[c] > wait ? ends[c] : wait;
                    ends[c] = begin + cost[c];
                    end = ends[c] > end ? ends[c] : end;
                }
                latest[oldest] = last = end;
                oldest = oldest == registers ? 0 : oldest + 1;
            }
    return last;
}

int64_t fmt_round_robin(const int32_t *costs, ptrdiff_t n, ptrdiff_t repeats, ptrdiff_t columns,
                        int64_t *free)
{
    int64_t now = 0, last = 0;
    ptrdiff_t column = 0;
    for (ptrdiff_t repeat = 0; repeat < repeats; repeat++)
        for (ptrdiff_t i = 0; i < n; i++) {
            now = free[column] > now ? free[column] : now;
            free[column] = now + costs[i];
            last = free[column] > last ? free[column] : last;
            now++;
            column = column + 1 == columns ? 0 : column + 1;
        }
    return last;
}

static int popcount16(uint32_t x)
{
    x -= x >> 1 & 0x5555;
    x = (x & 0x3333) + (x >> 2 & 0x3333);
    x = (x + (x >> 4)) & 0x0f0f;
    return (int)((x + (x >> 8)) & 0x1f);
}

/* One brick, when every pending bit is always within reach: the value with the most terms. */
static int most_terms(const uint16_t *masks, ptrdiff_t n, ptrdiff_t stride)
{
    int most = 1;
    for (ptrdiff_t i = 0; i < n; i++) {
        int terms = popcount16(masks[i * stride]);
        most = terms > most ? terms : most;
    }
    return most;
}

/* One brick: each cycle, every lane retires its lowest bit if that is less than `reach` bits above
 * the lowest one pending in any lane. */
static int staged_cycles(const uint16_t *masks, ptrdiff_t n, ptrdiff_t stride, int reach,
                         uint16_t *pending)
{
    uint32_t any = 0;
    int cycles = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        pending[i] = masks[i * stride];
        any |= pending[i];
    }
    while (any) {
        uint32_t base = any & (~any + 1), beyond = base << reach;
        any = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            uint32_t low = pending[i] & (~(uint32_t)pending[i] + 1);
            pending[i] ^= (uint16_t)(low < beyond ? low : 0);
            any |= pending[i];
        }
        cycles++;
    }
    return cycles ? cycles : 1;
}

void fmt_brick_cycles(const uint16_t *masks, ptrdiff_t outer, ptrdiff_t channels, ptrdiff_t inner,
                      ptrdiff_t lanes, int reach, uint16_t *pending, uint8_t *cycles)
{
    for (ptrdiff_t o = 0; o < outer; o++)
        for (ptrdiff_t first = 0; first < channels; first += lanes) {
            ptrdiff_t n = channels - first < lanes ? channels - first : lanes;
            const uint16_t *brick = masks + (o * channels + first) * inner;
            for (ptrdiff_t i = 0; i < inner; i++)
                *cycles++ = (uint8_t)(reach >= 16 ? most_terms(brick + i, n, inner)
                                                  : staged_cycles(brick + i, n, inner, reach, pending));
        }
}

void fmt_pallet_maxima(const fmt_windows *w, const uint8_t *values, uint8_t *maxima)
{
    ptrdiff_t windows = w->outputs_x * w->outputs_y, channels = w->channels;
    ptrdiff_t taps = w->kernel_x * w->kernel_y;
    for (ptrdiff_t g = 0; g < w->groups; g++) {
        for (ptrdiff_t window = 0; window < windows; window++) {
            ptrdiff_t x = window % w->outputs_x * w->stride_x;
            ptrdiff_t y = window / w->outputs_x * w->stride_y;
            uint8_t *to = maxima + window / w->columns * taps * channels;
            for (ptrdiff_t j = 0; j < w->kernel_y; j++)
                for (ptrdiff_t i = 0; i < w->kernel_x; i++) {
                    const uint8_t *from =
                        values + ((y + j * w->dilation_y) * w->size_x + x + i * w->dilation_x) * channels;
                    for (ptrdiff_t c = 0; c < channels; c++)
                        to[c] = to[c] > from[c] ? to[c] : from[c];
                    to += channels;
                }
        }
        values += w->size_y * w->size_x * channels;
        maxima += (windows + w->columns - 1) / w->columns * taps * channels;
    }
}

int64_t fmt_sum_of_max_products(const uint8_t *a, const uint8_t *b, ptrdiff_t p, ptrdiff_t f,
                                ptrdiff_t lanes, ptrdiff_t taps, uint8_t *best)
{
    int64_t total = 0;
    for (ptrdiff_t i = 0; i < p; i++)
        for (ptrdiff_t j = 0; j < f; j++) {
            memset(best, 1, (size_t)taps);
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const uint8_t *u = a + (i * lanes + l) * taps, *v = b + (j * lanes + l) * taps;
                for (ptrdiff_t t = 0; t < taps; t++) {
                    uint8_t product = (uint8_t)(u[t] * v[t]);
                    best[t] = product > best[t] ? product : best[t];
                }
            }
            for (ptrdiff_t t = 0; t < taps; t++)
                total += best[t];
        }
    return total;
}

/* Bit l of the result is bit (l + by) mod lanes; 0 <= by < lanes. */
static uint64_t rotated(uint64_t mask, int by, int lanes, uint64_t all)
{
    return by ? (mask >> by | mask << (lanes - by)) & all : mask;
}

enum { MOST_ENTRIES = 127, COUNT_PLANES = 7 };

/* The empty slots that have the most candidates, or the fewest but some. */
static uint64_t preferred(const uint64_t *candidates, int entries, int planes, int fewest)
{
    uint64_t plane[COUNT_PLANES] = {0}, some = 0;
    for (int e = 0; e < entries; e++) { /* bit-sliced counters: one addition for all lanes */
        uint64_t carry = candidates[e];
        some |= carry;
        for (int k = 0; k < planes; k++) {
            uint64_t both = plane[k] & carry;
            plane[k] ^= carry;
            carry = both;
        }
    }
    for (int k = planes - 1; k >= 0; k--) {
        uint64_t kept = some & (fewest ? ~plane[k] : plane[k]);
        some = kept ? kept : some;
    }
    return some;
}

/* Fill the empty slots of row t of one filter; note what is selected of rows t, t + 1, ...
 * turn[e]: the lanes aside of entry e, modulo the lanes. */
static void fill_row(const fmt_front_end *s, const int *turn, int planes, uint64_t own,
                     uint64_t *pending, ptrdiff_t t, uint64_t *selected)
{
    uint64_t all = s->lanes == 64 ? ~UINT64_C(0) : (UINT64_C(1) << s->lanes) - 1;
    uint64_t empty = all & ~pending[t], candidates[MOST_ENTRIES];
    selected[0] |= pending[t];
    if (empty)
        for (int e = 0; e < s->entries; e++)
            candidates[e] = t + s->ahead[e] < s->rows ? rotated(pending[t + s->ahead[e]], turn[e],
                                                                s->lanes, all) & empty
                                                      : 0;
    while (empty) {
        uint64_t slots = preferred(candidates, s->entries, planes, s->fewest_first);
        if (!slots)
            break;
        uint64_t slot = slots & (~slots + 1);
        int taken = 0;
        while (!(candidates[taken] & slot))
            taken++;
        int32_t ahead = s->ahead[taken];
        uint64_t source = rotated(slot, turn[taken] ? s->lanes - turn[taken] : 0, s->lanes, all);
        pending[t + ahead] &= ~source;
        selected[ahead] |= source;
        empty &= ~slot;
        for (int e = 0; e < s->entries; e++) /* neither slot nor source is there any longer */
            candidates[e] &=
                ~(s->ahead[e] == ahead ? slot | rotated(source, turn[e], s->lanes, all) : slot);
    }
    /* Zero weights nothing has replaced still take their activation. */
    selected[0] |= empty & ~own;
}

ptrdiff_t fmt_schedule(const fmt_front_end *s, const uint64_t *nonzero, uint64_t *pending,
                       int32_t *executed, uint64_t *selected)
{
    ptrdiff_t count = 0;
    int skipped = 0, planes = 0, turn[MOST_ENTRIES];
    while (s->entries >> planes)
        planes++;
    for (int e = 0; e < s->entries; e++)
        turn[e] = (s->aside[e] % s->lanes + s->lanes) % s->lanes;
    for (ptrdiff_t t = 0; t < s->rows; t++) {
        uint64_t any = 0;
        for (ptrdiff_t f = 0; f < s->filters; f++)
            any |= pending[f * s->rows + t];
        if (!any && skipped < s->lookahead) {
            skipped++;
            continue;
        }
        skipped = 0;
        uint64_t *of_row = selected + count * (s->lookahead + 1);
        memset(of_row, 0, (size_t)(s->lookahead + 1) * sizeof *of_row);
        for (ptrdiff_t f = 0; f < s->filters; f++)
            fill_row(s, turn, planes, nonzero[f * s->rows + t], pending + f * s->rows, t, of_row);
        executed[count++] = (int32_t)t;
    }
    return count;
}

void fmt_selected_maxima(const uint8_t *values, ptrdiff_t pallets, ptrdiff_t rows, ptrdiff_t lanes,
                         ptrdiff_t executed, ptrdiff_t lookahead, const int32_t *row,
                         const uint64_t *selected, uint8_t *bytes, uint8_t *costs)
{
    ptrdiff_t reach = (lookahead + 1) * lanes;
    for (ptrdiff_t r = 0; r < executed; r++)
        for (ptrdiff_t h = 0; h <= lookahead; h++)
            for (ptrdiff_t l = 0; l < lanes; l++)
                bytes[r * reach + h * lanes + l] =
                    (uint8_t)-(int)(selected[r * (lookahead + 1) + h] >> l & 1);
    for (ptrdiff_t p = 0; p < pallets; p++)
        for (ptrdiff_t r = 0; r < executed; r++) {
            const uint8_t *from = values + (p * rows + row[r]) * lanes, *mask = bytes + r * reach;
            ptrdiff_t n = rows - row[r] <= lookahead ? (rows - row[r]) * lanes : reach;
            uint8_t most = 1;
            for (ptrdiff_t i = 0; i < n; i++) {
                uint8_t value = from[i] & mask[i];
                most = value > most ? value : most;
            }
            *costs++ = most;
        }
}

static int popcount64(uint64_t x)
{
    x -= x >> 1 & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (int)(x * UINT64_C(0x0101010101010101) >> 56);
}

int64_t fmt_skipped_cycles(const uint64_t *activations, const uint64_t *weights, ptrdiff_t pallets,
                           ptrdiff_t filter_sets, ptrdiff_t taps, ptrdiff_t columns,
                           ptrdiff_t lanes, int64_t *lane_cycles)
{
    int64_t total = 0;
    for (ptrdiff_t p = 0; p < pallets; p++)
        for (ptrdiff_t s = 0; s < filter_sets; s++) {
            memset(lane_cycles, 0, (size_t)(columns * lanes) * sizeof *lane_cycles);
            for (ptrdiff_t t = 0; t < taps; t++)
                for (ptrdiff_t c = 0; c < columns; c++) {
                    int n = popcount64(activations[(p * taps + t) * columns + c] & weights[s * taps + t]);
                    lane_cycles[c * lanes + t % lanes] += n ? n : 1;
                }
            int64_t slowest = 0;
            for (ptrdiff_t i = 0; i < columns * lanes; i++)
                slowest = lane_cycles[i] > slowest ? lane_cycles[i] : slowest;
            total += slowest;
        }
    return total;
}
