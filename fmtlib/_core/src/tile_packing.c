/* Codes to the elements of tiles.
 *
 * What a code of one byte becomes is looked up in tables that a product fills; wider codes, and
 * scaled ones that no table has, are taken apart one by one.
 */
#include <math.h>

#include "accumulate.h"

static float float_power(int exponent)
{
    const uint32_t bits = (uint32_t)(exponent + 127) << 23;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x * 2**exponent, exactly if that is a normal number. */
static double scaled(double x, int exponent)
{
    return exponent > -900 && exponent < 900 ? x * power(exponent) : ldexp(x, exponent);
}

/* in_value: loops do with infinities and NaN what they ought to. */
static uint8_t special_mark(const fmt_number *x, int in_value)
{
    return x->kind == NUMBER_FINITE || in_value ? 0 : x->kind == NUMBER_NAN ? HAS_NAN : REDO;
}

static double special_value(const fmt_number *x)
{
    return x->kind == NUMBER_NAN ? (double)NAN : x->negative ? -HUGE_VAL : HUGE_VAL;
}

/* 1 or -1; signs are data, branches would guess. */
static ALWAYS_INLINE float sign_of(const fmt_number *x) { return (float)(1 - 2 * x->negative); }

/* IEEE: a float32 number, infinity or NaN. */
static ALWAYS_INLINE float to_value(const fmt_number *x, uint8_t *mark)
{
    const double exact = scaled((double)x->magnitude * sign_of(x), x->exponent);
    const float value = (float)exact;
    *mark |= (double)value != exact || x->magnitude >> 53 ? REDO : 0;
    return x->kind == NUMBER_FINITE ? value : (float)special_value(x);
}

/* ALIGNED: a value or a significand, and the exponent that it is aligned by. */
static ALWAYS_INLINE float to_aligned(const fmt_number *x, int wide, int fraction_bits,
                                      int16_t *exponent, uint8_t *mark)
{
    if (x->magnitude == 0) {
        *mark |= special_mark(x, 0);
        *exponent = ZERO_EXPONENT;
        return wide ? 1 : 0;
    }
    *exponent = (int16_t)(x->exponent + fraction_bits);
    const float unit = float_power(wide ? -fraction_bits : x->exponent);
    return (float)(int64_t)x->magnitude * unit * sign_of(x);
}

/* GROUPS and EXACT: integers in units of 2**low, in slices. */
static void to_slices(const slicing *cut, const fmt_number *x, int special_in_value, double *slices,
                      uint8_t *mark)
{
    *mark |= special_mark(x, special_in_value);
    if (x->kind != NUMBER_FINITE) {
        slices[0] = special_in_value ? special_value(x) : 0;
        return;
    }
    if (cut->bits == 0) {
        slices[0] = scaled((double)x->magnitude * (double)sign_of(x), x->exponent);
        return;
    }
    const int shift = x->magnitude ? x->exponent - cut->low : 0; /* below 0 only zeros go */
    const u128 mask = ((u128)1 << cut->bits) - 1;
    u128 value = shift < 0 ? x->magnitude >> -shift : (u128)x->magnitude << shift;
    for (int i = 0; i < cut->count; i++, value >>= cut->bits) {
        slices[i] = (double)(int64_t)(value & mask) * (double)sign_of(x);
    }
}

void fmt_fill_tables(const layout *l, side *s)
{
    s->scaled = l->scaled && s->of->group;
    s->direct = s->of->type == TYPE_INT1
                && (!s->scaled || l->kind == ALIGNED || (l->kind == EXACT && s->cut.count == 1));
    s->special_in_value
        = l->kind == GROUPS && l->a_cut.count * l->b_cut.count == 1 && !l->twofold;
    s->any_mark = 0;
    const int bits = s->of->family == OPERAND_TABLE ? s->of->bits : 8;
    const uint32_t count = (uint32_t)1 << (bits < 8 ? bits : 8);
    const slicing unscaled = {s->of->low, 1, span(s->of, 0)};
    for (uint32_t code = 0; s->direct && code < count; code++) {
        const fmt_number x = take_apart(s->of, code);
        double slices[MOST_SLICES] = {0};
        s->mark_of[code] = 0;
        if (l->kind == IEEE)
            s->value_of[code] = to_value(&x, &s->mark_of[code]);
        else if (l->kind == ALIGNED)
            s->value_of[code] = to_aligned(&x, l->wide, s->of->fraction_bits, &s->exponent_of[code],
                                           &s->mark_of[code]);
        else
            to_slices(s->scaled ? &unscaled : &s->cut, &x, s->special_in_value, slices,
                      &s->mark_of[code]);
        s->wide_of[code] = s->exponent_of[code];
        for (int slice = 0; slice < s->cut.count && l->kind != IEEE && l->kind != ALIGNED; slice++)
            s->slices_of[slice][code] = slices[slice];
        if (l->in_floats)
            s->value_of[code] = (float)slices[0];
        s->any_mark |= s->mark_of[code];
    }
}

tile fmt_tile_at(const layout *l, const side *s, ptrdiff_t first, ptrdiff_t n)
{
    const ptrdiff_t at = first * n;
    tile to = s->data;
    to.slices = to.slices ? to.slices + at : NULL;
    to.values = to.values ? to.values + at : NULL;
    to.exponents = to.exponents ? to.exponents + at : NULL;
    to.wide = to.wide ? to.wide + at : NULL;
    to.scales = to.scales ? to.scales + first * ((n + l->run - 1) / l->run) : NULL;
    return to;
}

/* to[k][i] = table[codes[i * row + k * step]] for n elements of `count` rows or columns, in tiles
 * of `width`, one after the other; `rest` where the last has none.  Codes are read in the order in
 * which they lie in memory. */
#define LOOK_UP(NAME, TYPE)                                                                        \
    static ALWAYS_INLINE void NAME##_row(const uint8_t *codes, ptrdiff_t row, int count,           \
                                         const TYPE *restrict table, TYPE *restrict to)            \
    {                                                                                              \
        for (int i = 0; i < count; i++)                                                            \
            to[i] = table[codes[i * row]];                                                         \
    }                                                                                              \
    static void NAME(const uint8_t *codes, ptrdiff_t row, ptrdiff_t step, ptrdiff_t n, int count,  \
                     int width, const TYPE *table, TYPE rest, TYPE *to)                            \
    {                                                                                              \
        const int whole = count / width * width;                                                   \
        if (step == 1) {                                                                           \
            for (ptrdiff_t i = 0; i < round_up(count, width); i++) {                               \
                const uint8_t *from = codes + i * row;                                             \
                TYPE *next = to + i / width * n * width + i % width;                               \
                for (ptrdiff_t k = 0; k < n; k++, next += width)                                   \
                    *next = i < count ? table[from[k]] : rest;                                     \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (ptrdiff_t k = 0; k < n; k++) {                                                        \
            const uint8_t *from = codes + k * step;                                                \
            TYPE *next = to + k * width;                                                           \
            for (int i = 0; i < whole; i += width, next += n * width)                              \
                if (width == TILE_ROWS)                                                            \
                    NAME##_row(from + i * row, row, TILE_ROWS, table, next);                       \
                else if (row == 1)                                                                 \
                    NAME##_row(from + i, 1, TILE_COLUMNS, table, next);                            \
                else                                                                               \
                    NAME##_row(from + i * row, row, TILE_COLUMNS, table, next);                    \
            if (whole == count)                                                                    \
                continue;                                                                          \
            NAME##_row(from + whole * row, row, count - whole, table, next);                       \
            for (int i = count - whole; i < width; i++)                                            \
                next[i] = rest;                                                                    \
        }                                                                                          \
    }

LOOK_UP(look_up_doubles, double)
LOOK_UP(look_up_floats, float)
LOOK_UP(look_up_shorts, int16_t)
LOOK_UP(look_up_ints, int32_t)
#undef LOOK_UP

/* The elements of tiles from their codes, and what they are marked with. */
static void pack_direct(const side *s, ptrdiff_t at, ptrdiff_t row, ptrdiff_t n, int count,
                        const tile *to, uint8_t *marks)
{
    const uint8_t *codes = (const uint8_t *)s->of->codes + at;
    const ptrdiff_t step = s->of->step;
    const int width = s->width;
    const float rest = to->wide ? 1 : 0;
    if (to->values)
        look_up_floats(codes, row, step, n, count, width, s->value_of, rest, to->values);
    for (int slice = 0; to->slices && slice < s->cut.count; slice++)
        look_up_doubles(codes, row, step, n, count, width, s->slices_of[slice], 0,
                        to->slices + slice * to->slice);
    if (to->exponents)
        look_up_shorts(codes, row, step, n, count, width, s->exponent_of, ZERO_EXPONENT,
                       to->exponents);
    if (to->wide)
        look_up_ints(codes, row, step, n, count, width, s->wide_of, ZERO_EXPONENT, to->wide);
    for (int i = 0; s->any_mark && step == 1 && i < count; i++)
        for (ptrdiff_t k = 0; k < n; k++)
            marks[i] |= s->mark_of[codes[k + i * row]];
    for (ptrdiff_t k = 0; s->any_mark && step != 1 && k < n; k++)
        for (int i = 0; i < count; i++)
            marks[i] |= s->mark_of[codes[k * step + i * row]];
}

/* Multiplies in the scales of elements that were looked up. */
static void scale_tile(const layout *l, const side *s, const line *lines, ptrdiff_t k0, ptrdiff_t n,
                       int count, const tile *to, uint8_t *met)
{
    const ptrdiff_t group = s->of->group;
    const int width = s->width;
    for (ptrdiff_t k = 0, end; k < n; k = end) {
        const int unit = s->of->low - s->cut.low;
        double factors[TILE_COLUMNS] = {0};
        int32_t shifts[TILE_COLUMNS] = {0};
        end = smaller(n, (k0 + k) / group * group + group - k0);
        for (int i = 0; i < count; i++) {
            const fmt_number *scale = scale_at(&lines[i], k0 + k);
            const int fits = scale->magnitude && (l->kind == EXACT || scale->magnitude == 1);
            shifts[i] = fits ? scale->exponent : 0;
            factors[i] = scaled((double)scale->magnitude, scale->exponent + unit);
            met[i] |= scale->kind == NUMBER_NAN ? HAS_NAN : fits && !scale->negative ? 0 : REDO;
        }
        for (ptrdiff_t at = k * width; at < end * width; at += width)
            for (int i = 0; i < width; i++)
                if (l->kind == EXACT) {
                    to->slices[at + i] *= factors[i];
                } else {
                    to->exponents[at + i] = (int16_t)(to->exponents[at + i] + shifts[i]);
                    to->wide[at + i] += shifts[i];
                }
    }
}

/* The elements of a tile, taken apart one by one. */
static ALWAYS_INLINE void pack_numbers(const layout *l, const side *s, const line *lines,
                                       ptrdiff_t k0, ptrdiff_t n, int count, const tile *to,
                                       uint8_t *met, const enum tile_kind kind)
{
    const int width = s->width, wide = to->wide != NULL;
    for (ptrdiff_t k = 0; k < n; k++)
        for (int i = 0; i < width; i++) {
            const ptrdiff_t at = k * width + i;
            const fmt_number x
                = i < count ? element(&lines[i], k0 + k, l->scaled) : (fmt_number){0};
            if (kind == IEEE) {
                to->values[at] = to_value(&x, &met[i]);
            } else if (kind == ALIGNED) {
                to->values[at] = to_aligned(&x, wide, s->of->fraction_bits, &to->exponents[at],
                                            &met[i]);
                if (wide)
                    to->wide[at] = to->exponents[at];
            } else {
                double slices[MOST_SLICES] = {0};
                to_slices(&s->cut, &x, s->special_in_value, slices, &met[i]);
                if (to->values)
                    to->values[at] = (float)slices[0];
                for (int slice = 0; to->slices && slice < s->cut.count; slice++)
                    to->slices[slice * to->slice + at] = slices[slice];
            }
        }
}

/* What the tile of `count` rows or columns from `first` on needs besides looking up. */
static void pack_tile(const layout *l, const side *s, ptrdiff_t batch, ptrdiff_t first, int count,
                 ptrdiff_t k0, ptrdiff_t n, const tile *to, uint8_t *marks)
{
    const fmt_operand *x = s->of;
    const int width = s->width;
    line lines[TILE_COLUMNS];
    uint8_t met[TILE_COLUMNS] = {0};
    for (int i = 0; i < count; i++)
        lines[i] = line_of(x, l->paired ? first + i : batch, l->paired ? 0 : first + i);
    if (s->direct)
        ; /* done for all tiles */
    else if (l->kind == IEEE)
        pack_numbers(l, s, lines, k0, n, count, to, met, IEEE);
    else if (l->kind == ALIGNED)
        pack_numbers(l, s, lines, k0, n, count, to, met, ALIGNED);
    else
        pack_numbers(l, s, lines, k0, n, count, to, met, l->kind);
    if (s->direct && s->scaled)
        scale_tile(l, s, lines, k0, n, count, to, met);
    for (ptrdiff_t k = 0; to->scales && k < n; k += l->run)
        for (int i = 0; i < width; i++) {
            double *scale_to = &to->scales[k / l->run * width + i];
            *scale_to = power(s->cut.low);
            if (!x->group || i >= count)
                continue;
            const fmt_number *scale = scale_at(&lines[i], k0 + k);
            const double magnitude = scaled((double)scale->magnitude, scale->exponent) / x->tensor;
            *scale_to *= scale->kind != NUMBER_FINITE ? (double)NAN
                         : scale->negative            ? -magnitude
                                                      : magnitude;
            met[i] |= scale->kind == NUMBER_NAN ? HAS_NAN : scale->kind == NUMBER_FINITE ? 0 : REDO;
        }
    for (int i = 0; i < count; i++)
        marks[i] |= met[i];
}

void fmt_pack_tiles(const layout *l, side *s, ptrdiff_t batch, ptrdiff_t first, ptrdiff_t count,
                 ptrdiff_t k0, ptrdiff_t n, uint8_t *marks)
{
    const fmt_operand *x = s->of;
    s->data.slice = n * round_up(count, s->width);
    if (s->direct) {
        const line x0 = l->paired ? line_of(x, first, 0) : line_of(x, batch, first);
        pack_direct(s, x0.first + k0 * x->step, l->paired ? x->batch_stride : x->row_stride, n,
                    (int)count, &s->data, marks);
    }
    const int more = !s->direct || s->scaled || s->data.scales;
    for (ptrdiff_t i = 0; more && i < count; i += s->width) {
        const tile to = fmt_tile_at(l, s, i, n);
        pack_tile(l, s, batch, first + i, (int)smaller(s->width, count - i), k0, n, &to, marks + i);
    }
}
