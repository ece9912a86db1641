/* SCNN: a step multiplies I non-zero activations by F non-zero weights, and takes as many cycles as
 * the busiest of 32 accumulator banks gets products.
 *
 * What a weight group does to the banks depends on an activation only through the position (w, h)
 * of its products modulo 4, and on which of them are outputs at all.  So positions come in classes:
 * those near an edge each by itself, the others by their place modulo 4.  For each weight group the
 * banks' counts of a class are found once, and a step adds up I such records. */
#include <string.h>

#include "counting.h"

typedef struct {
    uint8_t hits[FMT_BANKS];
} banks;

typedef struct {
    int32_t r, s, k;
} weight;

static int bank(ptrdiff_t k, ptrdiff_t w, ptrdiff_t h)
{
    return (int)((((k & 4) << 2) ^ ((w & 2) << 3) ^ ((h & 2) << 3)) + ((w & 1) << 3) + ((h & 1) << 2) +
                 (k & 3));
}

/* Along one axis: the place of an activation or weight in its phase; a weight's product lands at
 * the difference. */
typedef struct {
    ptrdiff_t outputs, least, most; /* places of the phase's kernel taps */
    ptrdiff_t edge;                 /* from this place on all edges' classes are taken */
} axis;

static ptrdiff_t classes(ptrdiff_t size) { return size + 4; }

/* Class of place q: q itself near an edge, else one of the four after all places. */
static ptrdiff_t class_of(ptrdiff_t q, const axis *a)
{
    int inner = q - a->most >= 0 && q - a->least < a->outputs;
    return inner ? a->edge + (q & 3) : q;
}

static ptrdiff_t group_count(ptrdiff_t n, ptrdiff_t size) { return (n + size - 1) / size; }

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

enum { KINDS = 32 }; /* of weight groups that are remembered; see known_groups */

size_t fmt_scnn_work(const fmt_scnn *s)
{
    size_t positions = (size_t)(s->size_x * s->size_y);
    size_t table = (size_t)(classes(s->size_x) * classes(s->size_y));
    size_t taps = (size_t)(s->kernel_x * s->kernel_y);
    return table * (sizeof(banks) + sizeof(int32_t) + 2 * sizeof(int32_t)) +
           positions * sizeof(int32_t) + (size_t)(s->grid_x * s->grid_y + 1) * sizeof(int32_t) +
           taps * (size_t)s->filters * sizeof(weight) +
           (KINDS + 1) * (size_t)(s->grid_x * s->grid_y) * sizeof(int64_t) + 64;
}

static void count_hits(const fmt_scnn *s, const weight *group, ptrdiff_t n, ptrdiff_t qx, ptrdiff_t qy,
                       banks *to)
{
    memset(to, 0, sizeof *to);
    for (ptrdiff_t i = 0; i < n; i++) {
        ptrdiff_t w = qx - group[i].r, h = qy - group[i].s;
        if (w >= 0 && w < s->outputs_x && h >= 0 && h < s->outputs_y)
            to->hits[bank(s->first_filter + group[i].k, w, h)]++;
    }
}

static int busiest(const banks *table, const int32_t *classes_of, ptrdiff_t n)
{
    banks sum = table[classes_of[0]];
    for (ptrdiff_t i = 1; i < n; i++)
        for (int b = 0; b < FMT_BANKS; b++)
            sum.hits[b] = (uint8_t)(sum.hits[b] + table[classes_of[i]].hits[b]);
    uint8_t most = 0;
    for (int b = 0; b < FMT_BANKS; b++)
        most = sum.hits[b] > most ? sum.hits[b] : most;
    return most;
}

/* Cycles of a weight group of one tap on every element, by its kind.
 *
 * Two products of one tap and different filters meet in a bank if their filters agree modulo 4, and
 * bit 2 of these differs as much as that of the outputs' places.  So the cycles depend only on how
 * many of the group's filters there are with each bit 2 in each class modulo 4, and not on which
 * class that is, nor on which value of the bit. */
typedef struct {
    ptrdiff_t first; /* weight of the tap */
    int count;
    uint64_t kind[KINDS];
    int64_t conflicts[KINDS];
} known_groups;

static uint64_t kind_of(const weight *group, ptrdiff_t n, ptrdiff_t first_filter)
{
    uint64_t count[4][2] = {{0}}, pair[4];
    for (ptrdiff_t i = 0; i < n; i++) {
        ptrdiff_t k = first_filter + group[i].k;
        count[k & 3][k >> 2 & 1]++;
    }
    for (int c = 0; c < 4; c++) {
        uint64_t more = count[c][0] > count[c][1] ? count[c][0] : count[c][1];
        pair[c] = more << 8 | (count[c][0] + count[c][1] - more);
        for (int d = c; d > 0 && pair[d] > pair[d - 1]; d--) {
            uint64_t smaller = pair[d - 1];
            pair[d - 1] = pair[d];
            pair[d] = smaller;
        }
    }
    return pair[0] << 48 | pair[1] << 32 | pair[2] << 16 | pair[3];
}

int64_t fmt_scnn_channel(const fmt_scnn *s, const int16_t *activations, const uint8_t *weights,
                         void *work, int64_t *cycles, int64_t *dense)
{
    ptrdiff_t table_x = classes(s->size_x), table_y = classes(s->size_y);
    ptrdiff_t elements = s->grid_x * s->grid_y;
    int64_t *spent = work; /* of each kind of weight group, and of the present one, by element */
    banks *table = (banks *)(spent + (KINDS + 1) * elements);
    weight *list = (weight *)(table + table_x * table_y);
    int32_t *seen = (int32_t *)(list + s->kernel_x * s->kernel_y * s->filters); /* classes here */
    int32_t *example = seen + table_x * table_y; /* of each class: a position (x, y) of it */
    int32_t *places = example + 2 * table_x * table_y; /* classes of the activations, by element */
    int32_t *begin = places + s->size_x * s->size_y;
    int64_t conflicts = 0;

    for (ptrdiff_t phase_x = 0; phase_x < s->stride_x; phase_x++)
        for (ptrdiff_t phase_y = 0; phase_y < s->stride_y; phase_y++) {
            ptrdiff_t weights_here = 0, all_weights = 0;
            axis ax = {s->outputs_x, s->size_x, -1, s->size_x};
            axis ay = {s->outputs_y, s->size_y, -1, s->size_y};
            for (ptrdiff_t r = 0; r < s->kernel_x; r++)
                for (ptrdiff_t c = 0; c < s->kernel_y; c++) {
                    ptrdiff_t x = r * s->dilation_x, y = c * s->dilation_y;
                    if (x % s->stride_x != phase_x || y % s->stride_y != phase_y)
                        continue;
                    ptrdiff_t qx = x / s->stride_x, qy = y / s->stride_y;
                    ax.least = least(ax.least, qx), ay.least = least(ay.least, qy);
                    ax.most = qx > ax.most ? qx : ax.most, ay.most = qy > ay.most ? qy : ay.most;
                    all_weights += s->filters;
                    const uint8_t *of_tap = weights + (r * s->kernel_y + c) * s->filters;
                    for (ptrdiff_t k = 0; k < s->filters; k++)
                        if (of_tap[k])
                            list[weights_here++] = (weight){(int32_t)qx, (int32_t)qy, (int32_t)k};
                }
            if (!all_weights)
                continue;

            /* The activations of this phase, element by element, as their classes. */
            ptrdiff_t count = 0, kinds = 0, pe = 0;
            for (ptrdiff_t i = 0; i < table_x * table_y; i++)
                table[i].hits[0] = 0; /* not seen */
            for (ptrdiff_t gx = 0; gx < s->grid_x; gx++)
                for (ptrdiff_t gy = 0; gy < s->grid_y; gy++, pe++) {
                    ptrdiff_t end_x = least((gx + 1) * s->tile_x, s->size_x);
                    ptrdiff_t end_y = least((gy + 1) * s->tile_y, s->size_y);
                    ptrdiff_t all = 0;
                    begin[pe] = (int32_t)count;
                    for (ptrdiff_t x = gx * s->tile_x; x < end_x; x++) {
                        if (x % s->stride_x != phase_x)
                            continue;
                        ptrdiff_t qx = x / s->stride_x, cx = class_of(qx, &ax);
                        for (ptrdiff_t y = gy * s->tile_y; y < end_y; y++) {
                            if (y % s->stride_y != phase_y)
                                continue;
                            all++;
                            if (!activations[x * s->size_y + y])
                                continue;
                            ptrdiff_t qy = y / s->stride_y;
                            int32_t kind = (int32_t)(cx * table_y + class_of(qy, &ay));
                            places[count++] = kind;
                            if (!table[kind].hits[0]) {
                                table[kind].hits[0] = 1;
                                seen[kinds] = kind;
                                example[2 * kinds] = (int32_t)qx, example[2 * kinds + 1] = (int32_t)qy;
                                kinds++;
                            }
                        }
                    }
                    dense[pe] += group_count(all, s->activations) * group_count(all_weights, s->weights);
                }
            begin[pe] = (int32_t)count;

            known_groups known = {-1, 0, {0}, {0}};
            for (ptrdiff_t first = 0; first < weights_here; first += s->weights) {
                ptrdiff_t n = least(s->weights, weights_here - first);
                const weight *group = list + first, *last = group + n - 1;
                int one_tap = group->r == last->r && group->s == last->s, which = KINDS;
                if (one_tap) {
                    const weight *tap = list + (known.first < 0 ? 0 : known.first);
                    if (known.first < 0 || tap->r != group->r || tap->s != group->s)
                        known.first = first, known.count = 0;
                    uint64_t kind = kind_of(group, n, s->first_filter);
                    which = 0;
                    while (which < known.count && known.kind[which] != kind)
                        which++;
                    if (which < known.count) {
                        for (pe = 0; pe < elements; pe++)
                            cycles[pe] += spent[which * elements + pe];
                        conflicts += known.conflicts[which];
                        continue;
                    }
                    if (which < KINDS)
                        known.kind[known.count++] = kind;
                }
                int64_t *of_group = spent + which * elements, conflicts_here = 0;
                for (ptrdiff_t i = 0; i < kinds; i++)
                    count_hits(s, group, n, example[2 * i], example[2 * i + 1], table + seen[i]);
                for (pe = 0; pe < elements; pe++) {
                    of_group[pe] = 0;
                    for (ptrdiff_t i = begin[pe]; i < begin[pe + 1]; i += s->activations) {
                        int hits = busiest(table, places + i, least(s->activations, begin[pe + 1] - i));
                        of_group[pe] += hits > 1 ? hits : 1;
                    }
                    cycles[pe] += of_group[pe];
                    conflicts_here +=
                        of_group[pe] - group_count(begin[pe + 1] - begin[pe], s->activations);
                }
                conflicts += conflicts_here;
                if (which < KINDS)
                    known.conflicts[which] = conflicts_here;
            }
        }
    return conflicts;
}

/* Products of one activation group with the weight groups it meets, in the order of the list. */
typedef struct {
    int64_t group;
    int64_t beyond_one; /* cycles beyond one a step, so far */
    int hits[8];        /* of the banks: all outputs are at the origin, so by the filter modulo 8 */
} meeting;

static void end_step(meeting *m)
{
    int most = 1;
    for (int b = 0; b < 8; b++) {
        most = m->hits[b] > most ? m->hits[b] : most;
        m->hits[b] = 0;
    }
    m->beyond_one += most - 1;
}

int64_t fmt_scnn_single(const fmt_scnn *s, const int16_t *activations, const uint8_t *weights,
                        const int64_t *begin, int64_t *cycles, int64_t *dense)
{
    ptrdiff_t positions = s->size_x * s->size_y, pe = 0;
    int64_t all_weights = group_count(positions * s->filters, s->weights);
    int64_t weight_groups = group_count((ptrdiff_t)begin[positions], s->weights), conflicts = 0;
    for (ptrdiff_t gx = 0; gx < s->grid_x; gx++)
        for (ptrdiff_t gy = 0; gy < s->grid_y; gy++, pe++) {
            ptrdiff_t end_x = least((gx + 1) * s->tile_x, s->size_x);
            ptrdiff_t end_y = least((gy + 1) * s->tile_y, s->size_y);
            ptrdiff_t all = 0, count = 0;
            meeting m = {-1, 0, {0}};
            for (ptrdiff_t x = gx * s->tile_x; x < end_x; x++)
                for (ptrdiff_t y = gy * s->tile_y; y < end_y; y++) {
                    ptrdiff_t position = x * s->size_y + y;
                    all++;
                    if (!activations[position])
                        continue;
                    if (count++ % s->activations == 0) {
                        end_step(&m);
                        m.group = -1;
                    }
                    int64_t group = begin[position] / s->weights;
                    int place = (int)(begin[position] % s->weights);
                    const uint8_t *of_filters = weights + position * s->filters;
                    for (ptrdiff_t k = 0; k < s->filters; k++) {
                        if (!of_filters[k])
                            continue;
                        if (group != m.group) {
                            end_step(&m);
                            m.group = group;
                        }
                        m.hits[(s->first_filter + k) & 7]++;
                        if (++place == s->weights) {
                            place = 0;
                            group++;
                        }
                    }
                }
            end_step(&m);
            dense[pe] += group_count(all, s->activations) * all_weights;
            cycles[pe] += group_count(count, s->activations) * weight_groups + m.beyond_one;
            conflicts += m.beyond_one;
        }
    return conflicts;
}
