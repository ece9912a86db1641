/* Groups of integers, each at its own width, to streams of bits and back.  Layout of the streams:
 * fmtlib/compression.py.  Machines are little-endian.
 *
 * Values go through in steps of 16, each of them some words of lanes.  The bits that a group keeps of
 * each lane are taken together, which is one instruction of BMI2 (slow before Zen 3 on AMD's).  Zeros
 * are left out before that, lane by lane (lanes.inc.h): all lanes of a step are written, what follows
 * those that are not 0 being written over by the next step.  So no branch depends on data. */

#include "lanes.inc.h"

/* The lowest `width` bits of each lane, without gaps. */
VECTOR_INLINE uint64_t pack_lanes(uint64_t word, int width, const int bits)
{
    const uint64_t mask = lane_ones(bits) * low_ones(width);
#if BIT_DEPOSIT
    return _pext_u64(word, mask);
#else
    word &= mask;
    for (int lane = bits; lane < 64; lane *= 2, width *= 2) { /* pair by pair */
        const uint64_t even = even_lanes(lane, lane);
        word = (word & even) | (word >> lane & even) << width;
    }
    return word;
#endif
}

/* And back, whatever follows them in the word.  above: the bits of a lane that a sign fills. */
VECTOR_INLINE uint64_t unpack_lanes(uint64_t word, int width, uint64_t above, const int bits)
{
#if BIT_DEPOSIT
    word = _pdep_u64(word, lane_ones(bits) * low_ones(width));
#else
    for (int lane = 32; lane >= bits; lane /= 2) {
        const int some = lane / bits * width;
        const uint64_t even = even_lanes(lane, some);
        word = (word & even) | (word >> some & even) << lane;
    }
#endif
    return word | (word >> (width - 1) & lane_ones(bits)) * above;
}

/* Bits are written from the lowest of each byte on; seven bytes past the last are written as well. */
typedef struct {
    uint8_t *to;
    uint64_t waiting;
    unsigned filled; /* fewer than 8 */
} bit_writer;

VECTOR_INLINE bit_writer write_from(uint8_t *out, int64_t position)
{
    bit_writer s = {out + position / 8, 0, (unsigned)(position % 8)};
    s.waiting = s.filled ? *s.to & low_ones(s.filled) : 0;
    return s;
}

VECTOR_INLINE void put_bits(bit_writer *s, uint64_t value, unsigned count)
{
    const uint64_t low = s->waiting | value << s->filled;
    const uint64_t high = value >> 1 >> (63 - s->filled);
    const unsigned all = s->filled + count;
    memcpy(s->to, &low, sizeof low);
    s->to += all / 8;
    const uint64_t over = 0 - (uint64_t)(all / 64); /* all ones or 0: all is at most 71 */
    s->waiting = (high & over) | (low >> (all & 56) & ~over);
    s->filled = all & 7;
}

VECTOR_INLINE int64_t written(const bit_writer *s, uint8_t *out)
{
    if (s->filled)
        *s->to = (uint8_t)s->waiting;
    return (s->to - out) * 8 + s->filled;
}

/* Bits of a stream of `size` bytes; zeros after its end. */
typedef struct {
    const uint8_t *from;
    int64_t size, position;
} bit_reader;

/* `count` bits, and above them whatever follows.  near_end: perhaps less than 9 bytes are left. */
VECTOR_INLINE uint64_t take_bits(bit_reader *s, unsigned count, const int near_end)
{
    const int64_t at = s->position / 8;
    const unsigned skip = (unsigned)s->position % 8;
    uint8_t last[9] = {0};
    const uint8_t *from = s->from + at;
    if (near_end && s->size - at < 9) {
        if (s->size > at)
            memcpy(last, from, (size_t)(s->size - at));
        from = last;
    }
    s->position += count;
    return load_word(from) >> skip | (uint64_t)from[8] << 1 << (63 - skip);
}

/* Where group number g stands in its row. */
static inline ptrdiff_t group_length(const fmt_compress_plan *p, ptrdiff_t in_row)
{
    const ptrdiff_t left = p->length - in_row * p->group;
    return left < p->group ? left : p->group;
}

static inline ptrdiff_t groups_in_row(const fmt_compress_plan *p)
{
    return p->length / p->group + (p->length % p->group != 0);
}

/* The header of a group of this (measured) width: width - 1 and, if groups have their own, a sign. */
VECTOR_INLINE unsigned header_of(const fmt_compress_plan *p, unsigned measured, const int bits)
{
    const unsigned negative = measured >> 7, width = measured & 127;
    const unsigned sign = p->signs == SIGNS_EACH ? negative * (unsigned)bits : 0;
    const unsigned bare = (unsigned)(p->signs != SIGNS_ALL) & (negative ^ 1);
    return (width - 1 - ((unsigned)p->is_signed & bare & (width > 1))) | sign;
}

VECTOR_INLINE int width_of(uint8_t header, const int bits) { return (header & (bits - 1)) + 1; }

/* The bits of a lane that the sign of such a group fills. */
VECTOR_INLINE uint64_t signs_above(const fmt_compress_plan *p, uint8_t header, const int bits)
{
    const int is_signed = p->signs == SIGNS_ALL || (p->signs == SIGNS_EACH && header >= bits);
    return is_signed ? low_ones(bits) ^ low_ones(width_of(header, bits)) : 0;
}

enum { STEP = 16, STEPS = 32 }; /* values of a step, and steps between two passes over them */

/* Some steps with the headers of their groups, and the walk from one such lot to the next. */
typedef struct {
    int count, whole; /* whole: all have STEP values */
    uint8_t headers[STEPS], lengths[STEPS];
} coder_steps;

typedef struct {
    const uint8_t *headers, *end;
    ptrdiff_t in_row, per_row, left; /* left: values of the group of the last step */
} coder_walk;

VECTOR_INLINE coder_walk walk_from(const fmt_compress_plan *p, ptrdiff_t first, ptrdiff_t count,
                                   const uint8_t *headers)
{
    const ptrdiff_t per_row = groups_in_row(p);
    return (coder_walk){headers, headers + count, first % per_row, per_row, 0};
}

static int next_steps(const fmt_compress_plan *p, coder_walk *w, coder_steps *s)
{
    const ptrdiff_t whole = p->length / p->group - w->in_row, left = w->end - w->headers;
    if (p->group == STEP && whole >= STEPS && left >= STEPS) {
        memcpy(s->headers, w->headers, STEPS);
        w->headers += STEPS;
        w->in_row = w->in_row + STEPS < w->per_row ? w->in_row + STEPS : 0;
        s->count = STEPS;
        s->whole = 1;
        return 1;
    }
    int n = 0, all_whole = 1;
    for (; n < STEPS && (w->left > 0 || w->headers < w->end); n++) {
        if (w->left == 0) {
            w->headers++;
            w->left = group_length(p, w->in_row);
            w->in_row = w->in_row + 1 < w->per_row ? w->in_row + 1 : 0;
        }
        const int length = w->left < STEP ? (int)w->left : STEP;
        s->headers[n] = w->headers[-1];
        s->lengths[n] = (uint8_t)length;
        all_whole &= length == STEP;
        w->left -= length;
    }
    s->count = n;
    s->whole = all_whole;
    return n > 0;
}

/* All values of a step; the stream goes on after `kept` bits of them. */
VECTOR_INLINE void put_step(bit_writer *to, const uint8_t *values, int width, unsigned kept,
                            const int bits)
{
    const unsigned each = (unsigned)(64 / bits * width);
    bit_writer s = *to;
    if (bits == 8) { /* whole bytes, so that all words stand at the same bit */
        const unsigned over = each - s.filled - 1; /* bits that leave no room for others, less one */
        const uint64_t a = pack_lanes(load_word(values), width, bits);
        const uint64_t b = pack_lanes(load_word(values + 8), width, bits);
        const uint64_t first = s.waiting | a << s.filled;
        const uint64_t second = a >> over >> 1 | b << s.filled;
        memcpy(s.to, &first, sizeof first);
        memcpy(s.to + width, &second, sizeof second);
        s.to[2 * width] = (uint8_t)(b >> over >> 1);
    } else if (each <= 56) {
        for (int i = 0; i < STEP * bits / 64; i++) {
            const uint64_t value = pack_lanes(load_word(values + 8 * i), width, bits);
            const uint64_t low = s.waiting | value << s.filled;
            const unsigned all = s.filled + each;
            memcpy(s.to, &low, sizeof low);
            s.to += all / 8;
            s.waiting = low >> (all & 56);
            s.filled = all & 7;
        }
    } else {
        for (int i = 0; i < STEP * bits / 64; i++)
            put_bits(&s, pack_lanes(load_word(values + 8 * i), width, bits), each);
        *s.to = (uint8_t)s.waiting;
    }
    const unsigned all = to->filled + kept;
    to->to += all / 8;
    to->filled = all & 7;
    to->waiting = *to->to & ((1u << to->filled) - 1);
}

/* Eight values of at most 16 bits from the start of a byte: `width` bytes, and up to 8 more written. */
VECTOR_INLINE uint8_t *encode_eight(const uint8_t *x, int width, uint8_t *to, const int bits)
{
    const uint64_t a = pack_lanes(load_word(x), width, bits);
    memcpy(to, &a, sizeof a);
    if (bits == 16) {
        const int byte = 4 * width / 8, half = width & 1; /* four values may end in half a byte */
        const uint64_t b = pack_lanes(load_word(x + 8), width, bits) << 4 * half;
        const uint64_t joined = b | (a >> 8 * byte % 64 & (0 - (uint64_t)half));
        memcpy(to + byte, &joined, sizeof joined);
    }
    return to + width;
}

/* Less than 16 values as a step, the others 0. */
VECTOR_INLINE const uint8_t *whole_step(const uint8_t *x, ptrdiff_t values, uint8_t *part,
                                        const int bits)
{
    if (values == STEP)
        return x;
    memset(part, 0, STEP * 4);
    memcpy(part, x, (size_t)(values * bits / 8));
    return part;
}

VECTOR_INLINE void encode_dense(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t first,
                                ptrdiff_t count, const uint8_t *headers, uint8_t *payload,
                                int64_t *at, const int bits)
{
    const ptrdiff_t per_row = groups_in_row(p);
    const fmt_compress_plan plan = *p;
    uint8_t part[STEP * 4];
    bit_writer to = write_from(payload, *at);
    ptrdiff_t in_row = first % per_row;
    for (ptrdiff_t g = 0; g < count; g++) {
        const int width = width_of(headers[g], bits);
        const ptrdiff_t n = group_length(&plan, in_row);
        if (bits <= 16 && n % 8 == 0 && to.filled == 0) {
            for (ptrdiff_t i = 0; i < n; i += 8, x += bits)
                to.to = encode_eight(x, width, to.to, bits);
        } else {
            for (ptrdiff_t left = n, values; left > 0; left -= values, x += values * bits / 8) {
                values = left < STEP ? left : STEP;
                put_step(&to, whole_step(x, values, part, bits), width,
                         (unsigned)(width * values), bits);
            }
        }
        in_row = in_row + 1 < per_row ? in_row + 1 : 0;
    }
    *at = written(&to, payload);
}

/* Two passes over some steps: zeros out, then bits together; else what has just been written in parts
 * would be read as a whole. */
VECTOR_INLINE void encode_sparse(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t first,
                                 ptrdiff_t count, const uint8_t *headers, uint8_t *zeros,
                                 int64_t *zero_at, uint8_t *payload, int64_t *at, const int bits)
{
    uint8_t staged[STEPS][STEP * bits / 8], part[STEP * 4];
    unsigned kept[STEPS];
    coder_walk walk = walk_from(p, first, count, headers);
    coder_steps s;
    bit_writer to = write_from(payload, *at), vectors = write_from(zeros, *zero_at);
    while (next_steps(p, &walk, &s)) {
        if (s.whole && vectors.filled == 0) {
            for (int i = 0; i < s.count; i++, x += STEP * bits / 8, vectors.to += STEP / 8) {
                const unsigned flags = compact(x, staged[i], bits);
                const uint16_t some = (uint16_t)flags;
                memcpy(vectors.to, &some, sizeof some);
                kept[i] = (unsigned)count_ones(flags);
            }
        } else {
            for (int i = 0; i < s.count; i++) {
                const int length = s.whole ? STEP : s.lengths[i];
                const unsigned flags = compact(whole_step(x, length, part, bits), staged[i], bits);
                put_bits(&vectors, flags, (unsigned)length);
                kept[i] = (unsigned)count_ones(flags);
                x += length * bits / 8;
            }
        }
        for (int i = 0; i < s.count; i++) {
            const int width = width_of(s.headers[i], bits);
            put_step(&to, staged[i], width, kept[i] * (unsigned)width, bits);
        }
    }
    *at = written(&to, payload);
    *zero_at = written(&vectors, zeros);
}

/* All values of a step, and whatever follows `kept` bits of them; the stream goes on after those. */
VECTOR_INLINE void take_step(bit_reader *from, uint8_t *values, int width, uint64_t above,
                             unsigned kept, const int bits, const int near_end)
{
    const unsigned each = (unsigned)(64 / bits * width);
    bit_reader s = *from;
    for (int i = 0; i < STEP * bits / 64; i++) {
        uint64_t stored;
        if (!near_end && each <= 57) {
            stored = load_word(s.from + (uint64_t)s.position / 8) >> (uint64_t)s.position % 8;
            s.position += each;
        } else {
            stored = take_bits(&s, each, near_end);
        }
        const uint64_t word = unpack_lanes(stored, width, above, bits);
        memcpy(values + 8 * i, &word, sizeof word);
    }
    from->position += kept;
}

/* Eight values of at most 16 bits from the start of a byte: as encode_eight has written them. */
VECTOR_INLINE void decode_eight(const uint8_t *from, int width, uint64_t above, uint8_t *out,
                                const int bits)
{
    uint64_t word = unpack_lanes(load_word(from), width, above, bits);
    memcpy(out, &word, sizeof word);
    if (bits == 16) {
        const int byte = 4 * width / 8, half = width & 1;
        word = unpack_lanes(load_word(from + byte) >> 4 * half, width, above, bits);
        memcpy(out + 8, &word, sizeof word);
    }
}

VECTOR_INLINE int64_t decode_dense(const fmt_compress_plan *p, ptrdiff_t first, ptrdiff_t count,
                                   const uint8_t *headers, bit_reader from, uint8_t *out,
                                   const int bits)
{
    const ptrdiff_t per_row = groups_in_row(p);
    const fmt_compress_plan plan = *p;
    uint8_t part[STEP * 4];
    ptrdiff_t in_row = first % per_row;
    for (ptrdiff_t g = 0; g < count; g++) {
        const int width = width_of(headers[g], bits);
        const uint64_t above = signs_above(&plan, headers[g], bits);
        const ptrdiff_t n = group_length(&plan, in_row);
        /* no value takes more than its own bits */
        const int inside = from.size - from.position / 8 > (n + STEP) * (bits / 8) + 16;
        if (inside && bits <= 16 && n % 8 == 0 && from.position % 8 == 0) {
            const uint8_t *byte = from.from + from.position / 8;
            for (ptrdiff_t i = 0; i < n; i += 8, byte += width, out += bits)
                decode_eight(byte, width, above, out, bits);
            from.position += n * width;
        } else {
            for (ptrdiff_t left = n, values; left > 0; left -= values, out += values * bits / 8) {
                values = left < STEP ? left : STEP;
                uint8_t *const to = values < STEP ? part : out;
                if (inside)
                    take_step(&from, to, width, above, (unsigned)(width * values), bits, 0);
                else
                    take_step(&from, to, width, above, (unsigned)(width * values), bits, 1);
                if (values < STEP)
                    memcpy(out, part, (size_t)(values * bits / 8));
            }
        }
        in_row = in_row + 1 < per_row ? in_row + 1 : 0;
    }
    return from.position;
}

/* Bits of some steps to lanes, in `staged`, and flags. */
VECTOR_INLINE void take_steps(const fmt_compress_plan *p, const coder_steps *s, bit_reader *vectors,
                              bit_reader *from, uint8_t staged[STEPS][STEP * 4], unsigned *flags,
                              const int bits, const int has_signs, const int near_end)
{
    for (int i = 0; i < s->count; i++) {
        const int width = width_of(s->headers[i], bits), length = s->whole ? STEP : s->lengths[i];
        const uint64_t above = has_signs ? signs_above(p, s->headers[i], bits) : 0;
        flags[i] = (unsigned)(take_bits(vectors, (unsigned)length, near_end) & low_ones(length));
        take_step(from, staged[i], width, above,
                  (unsigned)(width * count_ones(flags[i])), bits, near_end);
    }
}

VECTOR_INLINE int64_t decode_sparse(const fmt_compress_plan *p, ptrdiff_t first, ptrdiff_t count,
                                    const uint8_t *headers, bit_reader vectors, bit_reader from,
                                    uint8_t *out, const int bits)
{
    uint8_t staged[STEPS][STEP * 4], part[STEP * 4];
    unsigned flags[STEPS];
    coder_walk walk = walk_from(p, first, count, headers);
    coder_steps s;
    while (next_steps(p, &walk, &s)) {
        /* no value takes more than its own bits */
        const int inside = from.size - from.position / 8 > STEPS * STEP * bits / 8 + 16
                           && vectors.size - vectors.position / 8 > STEPS * STEP / 8 + 16;
        if (!inside)
            take_steps(p, &s, &vectors, &from, staged, flags, bits, 1, 1);
        else if (p->signs == SIGNS_NONE)
            take_steps(p, &s, &vectors, &from, staged, flags, bits, 0, 0);
        else
            take_steps(p, &s, &vectors, &from, staged, flags, bits, 1, 0);
        for (int i = 0; i < s.count; i++) {
            const int length = s.whole ? STEP : s.lengths[i];
            expand(staged[i], flags[i], length < STEP ? part : out, bits);
            if (length < STEP)
                memcpy(out, part, (size_t)(length * bits / 8));
            out += length * bits / 8;
        }
    }
    return from.position;
}

#define CODER_OF(bits)                                                                             \
    static void encode_groups##bits(const fmt_compress_plan *p, const void *x, ptrdiff_t first,    \
                                    ptrdiff_t count, uint8_t *headers, uint8_t *zeros,             \
                                    int64_t *zero_at, uint8_t *payload, int64_t *at)               \
    {                                                                                              \
        for (ptrdiff_t g = 0; g < count; g++)                                                      \
            headers[g] = (uint8_t)header_of(p, headers[g], bits);                                  \
        if (p->sparse)                                                                             \
            encode_sparse(p, x, first, count, headers, zeros, zero_at, payload, at, bits);         \
        else                                                                                       \
            encode_dense(p, x, first, count, headers, payload, at, bits);                          \
    }                                                                                              \
    static int64_t decode_groups##bits(const fmt_compress_plan *p, ptrdiff_t first,                \
                                       ptrdiff_t count, const uint8_t *headers,                    \
                                       const uint8_t *zeros, int64_t zero_size,                    \
                                       const uint8_t *payload, int64_t size, int64_t at, void *out) \
    {                                                                                              \
        const ptrdiff_t per_row = groups_in_row(p);                                                \
        const int64_t zero_at = first / per_row * p->length + first % per_row * p->group;          \
        const bit_reader vectors = {zeros, zero_size, zero_at}, from = {payload, size, at};        \
        if (p->sparse)                                                                             \
            return decode_sparse(p, first, count, headers, vectors, from, out, bits);              \
        return decode_dense(p, first, count, headers, from, out, bits);                            \
    }

CODER_OF(8)
CODER_OF(16)
CODER_OF(32)
