/* Codes to the elements of tiles.
 *
 * What a code of one byte becomes is looked up in tables that a product fills.  Wider codes, and
 * those with scales in them that no table has, are read a row or column at a time into doubles, if
 * these hold them; what is left is taken apart one by one.
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

/* A number that double holds; zero for what is marked. */
static ALWAYS_INLINE double to_double(const fmt_number *x)
{
    return (double)(int64_t)x->magnitude * (double)sign_of(x) * power(x->exponent);
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
    u128 value = 0; /* of a code beyond the range of the data, which no element has */
    if (shift > -64 && shift < 128)
        value = shift < 0 ? x->magnitude >> -shift : (u128)x->magnitude << shift;
    for (int i = 0; i < cut->count; i++, value >>= cut->bits) {
        slices[i] = (double)(int64_t)(value & mask) * (double)sign_of(x);
    }
}

/* Whether each number of an operand, with its scales, is a normal number of double. */
static int fits_double(const layout *l, const fmt_operand *x)
{
    const int scales = l->scaled && x->group;
    return x->fraction_bits + 3 <= 53 && x->low > -450 && x->high < 450
           && (!scales || (x->scale_low > -450 && x->scale_high < 450));
}

void fmt_fill_tables(const layout *l, side *s)
{
    s->scaled = l->scaled && s->of->group;
    s->direct = s->of->type == TYPE_INT1
                && (!s->scaled || l->kind == ALIGNED || (l->kind == EXACT && s->cut.count == 1));
    s->special_in_value
        = l->kind == GROUPS && l->a_cut.count * l->b_cut.count == 1 && !l->twofold;
    s->by_line = !s->direct && fits_double(l, s->of)
                 && (s->data.slices || (s->of->plain_float && !s->scaled));
    s->any_mark = 0;
    const int bits = s->of->family == OPERAND_TABLE ? s->of->bits : 8;
    const uint32_t count = (uint32_t)1 << (bits < 8 ? bits : 8);
    const slicing unscaled = {s->of->low, 1, span(s->of, 0)};
    for (uint32_t code = 0; s->by_line && s->of->type == TYPE_INT1 && code < count; code++) {
        const fmt_number x = take_apart(s->of, code);
        s->slices_of[0][code] = to_double(&x);
        s->mark_of[code] = special_mark(&x, 0);
    }
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
    if (!s->any_mark)
        return;
    uint8_t met[MOST_SIDE] = {0}; /* of its own: marks could be codes to a compiler */
    if (step == 1) {
        for (int i = 0; i < count; i++) {
            uint8_t one = 0;
            for (ptrdiff_t k = 0; k < n; k++)
                one |= s->mark_of[codes[k + i * row]];
            met[i] = one;
        }
    } else {
        for (ptrdiff_t k = 0; k < n; k++)
            for (int i = 0; i < count; i++)
                met[i] |= s->mark_of[codes[k * step + i * row]];
    }
    for (int i = 0; i < count; i++)
        marks[i] |= met[i];
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

/* n numbers of a line without their scales; what is not finite is zero, and marked. */
static uint8_t read_line(const side *s, const line *x, ptrdiff_t k0, ptrdiff_t n, double *to)
{
    const fmt_operand *of = s->of;
    const ptrdiff_t at = x->first + k0 * of->step, step = of->step;
    uint8_t met = 0;
    if (of->type == TYPE_INT1) {
        const uint8_t *codes = (const uint8_t *)of->codes + at;
        for (ptrdiff_t k = 0; k < n; k++) {
            to[k] = s->slices_of[0][codes[k * step]];
            met |= s->mark_of[codes[k * step]];
        }
    } else if (of->plain_float) {
        uint32_t codes[MOST_SLAB];
        if (of->type == TYPE_INT2)
            for (ptrdiff_t k = 0; k < n; k++)
                codes[k] = ((const uint16_t *)of->codes)[at + k * step];
        else
            for (ptrdiff_t k = 0; k < n; k++)
                codes[k] = ((const uint32_t *)of->codes)[at + k * step];
        const fmt_float_codes floats = {
            .sign = of->bits - 1,
            .fraction_bits = of->fraction_bits,
            .unit = power(1022 + of->table[1].exponent + of->fraction_bits),
        };
        const int special = fmt_active->read_floats(codes, n, &floats, to);
        met = (uint8_t)((special & 1) * REDO | (special >> 1) * HAS_NAN);
    } else {
        for (ptrdiff_t k = 0; k < n; k++) {
            const fmt_number number = take_apart(of, code_at(of->codes, of->type, at + k * step));
            met |= special_mark(&number, 0);
            to[k] = to_double(&number);
        }
    }
    return met;
}

/* Multiplies in the scales of a line. */
static uint8_t scale_line(const line *x, ptrdiff_t k0, ptrdiff_t n, double *values)
{
    const ptrdiff_t group = x->of->group;
    uint8_t met = 0;
    for (ptrdiff_t k = 0, end; k < n; k = end) {
        const fmt_number *scale = scale_at(x, k0 + k);
        const double factor = to_double(scale);
        end = smaller(n, (k0 + k) / group * group + group - k0);
        for (ptrdiff_t i = k; i < end; i++)
            values[i] *= factor;
        const int fits = scale->magnitude && !scale->negative;
        met |= scale->kind == NUMBER_NAN ? HAS_NAN : fits ? 0 : REDO;
    }
    return met;
}

/* Cuts n numbers in slices, the upper ones rounded to the nearest: what is left may be negative. */
static void cut_line(const slicing *cut, ptrdiff_t n, double *restrict values,
                     double slices[MOST_SLICES][MOST_SLAB])
{
    for (int slice = cut->count - 1; slice > 0; slice--) {
        const double unit = power(cut->low + slice * cut->bits);
        const double inverse = power(-cut->low - slice * cut->bits);
        double *restrict to = slices[slice];
        for (ptrdiff_t k = 0; k < n; k++) {
            const double integer = (values[k] * inverse + 0x1.8p52) - 0x1.8p52;
            to[k] = integer;
            values[k] -= integer * unit;
        }
    }
    const double inverse = power(-cut->low);
    for (ptrdiff_t k = 0; k < n; k++)
        slices[0][k] = values[k] * inverse;
}

/* Puts n elements of one line of a tile where they belong. */
#define PUT_LINE(NAME, TYPE)                                                                       \
    static ALWAYS_INLINE void NAME(TYPE *to, int width, ptrdiff_t n, const TYPE *restrict from)    \
    {                                                                                              \
        for (ptrdiff_t k = 0; k < n; k++)                                                          \
            to[k * width] = from[k];                                                               \
    }
PUT_LINE(put_doubles, double)
PUT_LINE(put_floats, float)
PUT_LINE(put_shorts, int16_t)
PUT_LINE(put_ints, int32_t)
#undef PUT_LINE

/* The slices of a tile, a row or column at a time. */
static void pack_slices(const side *s, const line *lines, ptrdiff_t k0, ptrdiff_t n, int count,
                        const tile *to, uint8_t *met)
{
    double values[MOST_SLAB], slices[MOST_SLICES][MOST_SLAB];
    for (int i = 0; i < s->width; i++) {
        if (i < count) {
            met[i] |= read_line(s, &lines[i], k0, n, values);
            if (s->scaled)
                met[i] |= scale_line(&lines[i], k0, n, values);
            cut_line(&s->cut, n, values, slices);
        } else if (i == count) {
            memset(slices, 0, sizeof slices);
        }
        for (int slice = 0; slice < s->cut.count; slice++)
            put_doubles(to->slices + slice * to->slice + i, s->width, n, slices[slice]);
    }
}

/* Floats, and the exponents that they are aligned by, of a tile of unscaled numbers. */
static void pack_floats(const layout *l, const side *s, const line *lines, ptrdiff_t k0,
                        ptrdiff_t n, int count, const tile *to, uint8_t *met)
{
    double values[MOST_SLAB] = {0};
    float floats[MOST_SLAB];
    int32_t exponents[MOST_SLAB];
    int16_t shorts[MOST_SLAB];
    for (int i = 0; i < s->width; i++) {
        if (i < count)
            met[i] |= read_line(s, &lines[i], k0, n, values);
        else if (i == count)
            memset(values, 0, sizeof values);
        if (l->kind == ALIGNED) {
            /* as to_aligned */
            fmt_active->split_floats(values, n, s->of->table[1].exponent + s->of->fraction_bits,
                                     to->wide != NULL, floats, exponents);
            for (ptrdiff_t k = 0; k < n; k++)
                shorts[k] = (int16_t)exponents[k];
            put_shorts(to->exponents + i, s->width, n, shorts);
            if (to->wide)
                put_ints(to->wide + i, s->width, n, exponents);
        } else {
            int inexact = 0;
            for (ptrdiff_t k = 0; k < n; k++) {
                floats[k] = (float)values[k];
                inexact |= (double)floats[k] != values[k];
            }
            met[i] |= inexact ? REDO : 0;
        }
        put_floats(to->values + i, s->width, n, floats);
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
    int done = s->direct || s->by_line; /* if direct, for all tiles at once */
    if (s->by_line && s->data.slices) {
        pack_slices(s, lines, k0, n, count, to, met);
    } else if (s->by_line) {
        pack_floats(l, s, lines, k0, n, count, to, met);
        /* infinities are values of float32 */
        for (int i = 0; i < count; i++)
            done = done && !(l->kind == IEEE && met[i]);
    }
    if (!done) {
        memset(met, 0, sizeof met);
        if (l->kind == IEEE)
            pack_numbers(l, s, lines, k0, n, count, to, met, IEEE);
        else if (l->kind == ALIGNED)
            pack_numbers(l, s, lines, k0, n, count, to, met, ALIGNED);
        else
            pack_numbers(l, s, lines, k0, n, count, to, met, l->kind);
    }
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
