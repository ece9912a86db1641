/* The loops of the accelerator counters: millions of groups, one pass over each.
 *
 * Everything here is integer arithmetic on bytes and masks, in an order that the caller fixes, so that
 * results depend on nothing else.  Arguments are valid when they arrive; nothing can fail.
 */
#ifndef FMTLIB_COUNTING_H
#define FMTLIB_COUNTING_H

#include <stddef.h>
#include <stdint.h>

/* Columns that run ahead of each other.  costs: pallets, taps, columns; each pallet's taps come
 * `repeats` times.  ends (columns) and latest (registers + 1) begin as zeros.  Returns the last end. */
int64_t fmt_run_ahead(const uint8_t *costs, ptrdiff_t pallets, ptrdiff_t repeats, ptrdiff_t taps,
                      ptrdiff_t columns, ptrdiff_t registers, int64_t *ends, int64_t *latest);

/* Bricks that go round the columns, one started a cycle.  costs (n) come `repeats` times; free
 * (columns) begins as zeros.  Returns the last end. */
int64_t fmt_round_robin(const int32_t *costs, ptrdiff_t n, ptrdiff_t repeats, ptrdiff_t columns,
                        int64_t *free);

/* Cycles of each brick of `lanes` channels under a first stage that reaches `reach` bits above the
 * lowest pending one; at least 1.  masks: outer, channels, inner; cycles: outer, bricks, inner. */
void fmt_brick_cycles(const uint16_t *masks, ptrdiff_t outer, ptrdiff_t channels, ptrdiff_t inner,
                      ptrdiff_t lanes, int reach, uint16_t *pending, uint8_t *cycles);

typedef struct {
    ptrdiff_t groups, size_y, size_x, channels; /* values: groups, y, x, channels */
    ptrdiff_t outputs_x, outputs_y, columns;
    ptrdiff_t kernel_x, kernel_y, stride_x, stride_y, dilation_x, dilation_y;
} fmt_windows;

/* The greatest value of each channel and tap over the windows of a pallet.
 * maxima: groups, pallets, ky, kx, channels; begin as zeros. */
void fmt_pallet_maxima(const fmt_windows *w, const uint8_t *values, uint8_t *maxima);

/* Sum over p, f and t of max(1, greatest a[p][l][t] * b[f][l][t] over the lanes l).
 * Products are below 256.  best: taps. */
int64_t fmt_sum_of_max_products(const uint8_t *a, const uint8_t *b, ptrdiff_t p, ptrdiff_t f,
                                ptrdiff_t lanes, ptrdiff_t taps, uint8_t *best);

typedef struct {
    ptrdiff_t filters, rows;
    int lanes, entries, lookahead, fewest_first;
    const int32_t *ahead, *aside; /* (h, d) of each entry, in the order in which they are tried */
} fmt_front_end;

/* Bit-Tactical's list scheduler on the filters of one set in lockstep.
 * nonzero: filters, rows, the lanes of the weights that are not zero; pending: a copy of it.
 * executed: the rows that are; selected: executed, lookahead + 1, the lanes of the activations that
 * any filter takes from that row and the next ones.  Returns the number of rows executed. */
ptrdiff_t fmt_schedule(const fmt_front_end *s, const uint64_t *nonzero, uint64_t *pending,
                       int32_t *executed, uint64_t *selected);

/* The greatest selected value of each executed row and pallet, at least 1.
 * values: pallets, rows, lanes; bytes: executed, (lookahead + 1) * lanes; costs: pallets, executed. */
void fmt_selected_maxima(const uint8_t *values, ptrdiff_t pallets, ptrdiff_t rows, ptrdiff_t lanes,
                         ptrdiff_t executed, ptrdiff_t lookahead, const int32_t *row,
                         const uint64_t *selected, uint8_t *bytes, uint8_t *costs);

/* Cnvlutin: bricks (masks of non-zero activations) go round the lanes; the slowest lane of the
 * slowest window of a pallet counts.  activations: pallets, taps, columns; weights: filter sets,
 * taps, the channels that any filter needs; lane_cycles: columns * lanes. */
int64_t fmt_skipped_cycles(const uint64_t *activations, const uint64_t *weights, ptrdiff_t pallets,
                           ptrdiff_t filter_sets, ptrdiff_t taps, ptrdiff_t columns,
                           ptrdiff_t lanes, int64_t *lane_cycles);

/* --- SCNN (scnn.c) --- */

enum { FMT_BANKS = 32 };

typedef struct {
    ptrdiff_t size_x, size_y;   /* of the padded input */
    ptrdiff_t tile_x, tile_y;   /* input positions of one processing element */
    ptrdiff_t grid_x, grid_y;   /* processing elements */
    ptrdiff_t filters, kernel_x, kernel_y;
    ptrdiff_t first_filter;     /* number of the first filter, for the bank */
    ptrdiff_t outputs_x, outputs_y, stride_x, stride_y, dilation_x, dilation_y;
    int activations, weights;   /* of one step: I and F */
} fmt_scnn;

/* Bytes of work that fmt_scnn_channel needs. */
size_t fmt_scnn_work(const fmt_scnn *s);

/* One channel of one image on all processing elements.
 * activations: size_x, size_y; weights: kernel_x, kernel_y, filters; both only asked whether zero.
 * cycles and dense: grid_x * grid_y, cycles of each element, are added to.  Returns the conflicts:
 * cycles beyond one a step, over all elements. */
int64_t fmt_scnn_channel(const fmt_scnn *s, const int16_t *activations, const uint8_t *weights,
                         void *work, int64_t *cycles, int64_t *dense);

/* The same for a kernel as large as the input, of stride 1, whose only output is at the origin: most
 * steps have no product that counts.  begin: of each position and the end, the number of the first
 * weight in the list of those that are not zero. */
int64_t fmt_scnn_single(const fmt_scnn *s, const int16_t *activations, const uint8_t *weights,
                        const int64_t *begin, int64_t *cycles, int64_t *dense);

#endif
