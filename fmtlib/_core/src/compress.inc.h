/* Lossless coding of groups of integers, each at its own width, eight bytes at a time: values are
 * lanes of a word, and the bits that a group keeps of them are a mask.  Taking the bits under a mask
 * together, and back, is one instruction of BMI2 (slow before Zen 3 on AMD's).  Layout of the
 * streams: fmtlib/compression.py.  Machines are little-endian. */

/* n: 1 to 64.  No branches here and below: lengths cannot be foreseen. */
static inline uint64_t low_ones(ptrdiff_t n) { return ~UINT64_C(0) >> (64 - n); }

/* A one at the bottom of each lane. */
VECTOR_INLINE uint64_t lane_ones(const int bits) { return ~UINT64_C(0) / low_ones(bits); }

#if BIT_DEPOSIT
static inline uint64_t gather_bits(uint64_t word, uint64_t mask, int bits, int width)
{
    (void)bits, (void)width;
    return _pext_u64(word, mask);
}

static inline uint64_t scatter_bits(uint64_t word, uint64_t mask, int bits, int width)
{
    (void)bits, (void)width;
    return _pdep_u64(word, mask);
}
#else
/* The mask has the lowest `width` bits of some lanes. */
static inline uint64_t gather_bits(uint64_t word, uint64_t mask, int bits, int width)
{
    uint64_t out = 0;
    int filled = 0;
    for (int i = 0; i < 64; i += bits) {
        const int on = (int)(mask >> i & 1);
        out |= (word >> i & low_ones(width) & (0 - (uint64_t)on)) << filled % 64;
        filled += on * width;
    }
    return out;
}

static inline uint64_t scatter_bits(uint64_t word, uint64_t mask, int bits, int width)
{
    uint64_t out = 0;
    int taken = 0;
    for (int i = 0; i < 64; i += bits) {
        const int on = (int)(mask >> i & 1);
        out |= (word >> taken % 64 & low_ones(width) & (0 - (uint64_t)on)) << i;
        taken += on * width;
    }
    return out;
}
#endif

/* The top bit of each lane that is not 0. */
VECTOR_INLINE uint64_t nonzero_tops(uint64_t word, const int bits)
{
    const uint64_t tops = lane_ones(bits) << (bits - 1);
    return (((word & ~tops) + ~tops) | word) & tops;
}

/* At most 8 bytes, the others 0. */
static inline uint64_t load_some(const uint8_t *x, ptrdiff_t bytes)
{
    uint64_t word = 0;
    if (bytes >= 8)
        return load_word(x);
    memcpy(&word, x, (size_t)bytes);
    return word;
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

#define COUNT_NONZERO(bits)                                                                        \
    static void flag_nonzero##bits(const uint##bits##_t *restrict x, uint8_t *restrict flags,      \
                                   ptrdiff_t n)                                                    \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            flags[i] = x[i] != 0;                                                                  \
    }                                                                                              \
    static int64_t sum_nonzero##bits(const uint##bits##_t *restrict x, ptrdiff_t n)                \
    {                                                                                              \
        int64_t found = 0;                                                                         \
        for (ptrdiff_t done = 0, count; done < n; done += count) {                                 \
            uint32_t some = 0;                                                                     \
            count = n - done < WIDTH_BYTES ? n - done : WIDTH_BYTES;                               \
            for (ptrdiff_t i = done; i < done + count; i++)                                        \
                some += x[i] != 0;                                                                 \
            found += some;                                                                         \
        }                                                                                          \
        return found;                                                                              \
    }
COUNT_NONZERO(8)
COUNT_NONZERO(16)
COUNT_NONZERO(32)

/* Values that are not 0, of each of `count` groups side by side. */
VECTOR_INLINE void count_nonzero(const void *x, ptrdiff_t count, ptrdiff_t length, int64_t *counts,
                                 const int bits)
{
    uint8_t flags[WIDTH_BYTES];
    if (count == 1) {
        counts[0] = bits == 8    ? sum_nonzero8(x, length)
                    : bits == 16 ? sum_nonzero16(x, length)
                                 : sum_nonzero32(x, length);
        return;
    }
    if (bits == 8)
        flag_nonzero8(x, flags, count * length);
    else if (bits == 16)
        flag_nonzero16(x, flags, count * length);
    else
        flag_nonzero32(x, flags, count * length);
    if (length == 16) {
        for (ptrdiff_t g = 0; g < count; g++) {
            const uint64_t pairs = load_word(flags + 16 * g) + load_word(flags + 16 * g + 8);
            counts[g] = (int64_t)(pairs * lane_ones(8) >> 56);
        }
        return;
    }
    for (ptrdiff_t g = 0; g < count; g++) {
        int64_t some = 0;
        for (ptrdiff_t i = 0; i < length; i++)
            some += flags[g * length + i];
        counts[g] = some;
    }
}

/* Widths of `count` groups of one length, a step of or_runs at a time.  Signed: with the sign that
 * two's complement needs, and NEGATIVE_GROUP if there is a negative value. */
VECTOR_INLINE void measure_groups(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t count,
                                  ptrdiff_t length, uint8_t *restrict widths, fmt_measured *found,
                                  const int bits, const fmt_width_kernels *k)
{
    uint32_t all[WIDTH_GROUPS];
    uint8_t negative[WIDTH_GROUPS];
    memset(all, 0, (size_t)count * bits / 8);
    k->or_runs(x, all, count, length, p->is_signed);
    k->bit_lengths(all, widths, count, p->is_signed, p->is_signed, !p->is_signed);
    if (p->is_signed) {
        memset(all, 0, (size_t)count * bits / 8);
        k->or_runs(x, all, count, length, 0);
    }
    const uint8_t *top = (const uint8_t *)all + bits / 8 - 1;
    for (ptrdiff_t g = 0; g < count; g++)
        negative[g] = (uint8_t)(top[g * (bits / 8)] >> 7 & p->is_signed);
    const uint8_t is_signed = (uint8_t)p->is_signed;
    int64_t wide = 0, least = 0, any = 0;
    for (ptrdiff_t g = 0; g < count; g++) {
        const uint8_t spare = (uint8_t)(is_signed & (negative[g] ^ 1) & (widths[g] > 1));
        wide += widths[g];
        least += widths[g] - spare;
        any |= negative[g];
    }
    found->negative |= any;
    found->dense[0] += length * wide;
    found->dense[1] += length * least;
    found->nonzeros += bits == 8    ? sum_nonzero8((const void *)x, count * length)
                       : bits == 16 ? sum_nonzero16((const void *)x, count * length)
                                    : sum_nonzero32((const void *)x, count * length);
    for (ptrdiff_t g = 0; g < count; g++)
        widths[g] |= (uint8_t)(negative[g] << 7);
}

/* What zero vectors would leave of groups of these widths. */
VECTOR_INLINE void weigh_groups(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t count,
                                ptrdiff_t length, const uint8_t *widths, fmt_measured *found,
                                const int bits)
{
    int64_t nonzeros[WIDTH_GROUPS], wide = 0, least = 0;
    count_nonzero(x, count, length, nonzeros, bits);
    for (ptrdiff_t g = 0; g < count; g++) {
        const int width = widths[g] & ~NEGATIVE_GROUP;
        const int spare = p->is_signed & (widths[g] < NEGATIVE_GROUP) & (width > 1);
        wide += nonzeros[g] * width;
        least += nonzeros[g] * (width - spare);
    }
    found->sparse[0] += wide;
    found->sparse[1] += least;
}

/* measure_groups, or without kernels weigh_groups, of all groups. */
VECTOR_INLINE void measure(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t first,
                           ptrdiff_t count, uint8_t *widths, fmt_measured *found, const int bits,
                           const fmt_width_kernels *k)
{
    const ptrdiff_t per_row = groups_in_row(p), whole = p->length / p->group;
    ptrdiff_t in_row = first % per_row;
    ptrdiff_t most = WIDTH_BYTES * 8 / bits / p->group;
    most = most < 1 ? 1 : most > WIDTH_GROUPS ? WIDTH_GROUPS : most;
    for (ptrdiff_t g = 0, n; g < count; g += n) {
        const ptrdiff_t length = group_length(p, in_row);
        n = whole - in_row < most ? whole - in_row : most;
        n = n < 1 ? 1 : n < count - g ? n : count - g;
        if (k)
            measure_groups(p, x, n, length, widths + g, found, bits, k);
        else
            weigh_groups(p, x, n, length, widths + g, found, bits);
        x += n * length * bits / 8;
        in_row = in_row + n < per_row ? in_row + n : 0;
    }
}

/* The header of a group of this (measured) width: width - 1 and, if groups have their own, a sign. */
static inline unsigned header_of(const fmt_compress_plan *p, unsigned measured, int header_bits)
{
    const unsigned negative = measured >> 7, width = measured & 127;
    if (p->signs == SIGNS_ALL || negative)
        return (width - 1) | (p->signs == SIGNS_EACH ? negative << header_bits : 0);
    return width - 1 - (p->is_signed & (width > 1));
}

/* Eight values of at most 16 bits from the start of a byte: `width` bytes, and up to 8 more written. */
VECTOR_INLINE uint8_t *encode_eight(const uint8_t *x, uint64_t mask, int width, uint8_t *to,
                                    const int bits)
{
    const uint64_t a = gather_bits(load_word(x), mask, bits, width);
    memcpy(to, &a, sizeof a);
    if (bits == 16) {
        const int byte = 4 * width / 8, half = width & 1; /* four values may end in half a byte */
        const uint64_t b = gather_bits(load_word(x + 8), mask, bits, width) << 4 * half;
        const uint64_t joined = b | (a >> 8 * byte % 64 & (0 - (uint64_t)half));
        memcpy(to + byte, &joined, sizeof joined);
    }
    return to + width;
}

/* What is stored of a word of values: bits, how many, and which values are not 0. */
typedef struct {
    uint64_t value, some;
    unsigned count;
} kept_bits;

VECTOR_INLINE kept_bits keep(uint64_t word, uint64_t mask, ptrdiff_t values, int width,
                             const int bits, const int sparse)
{
    kept_bits k = {0, 0, (unsigned)(width * values)};
    if (sparse) {
        const uint64_t some = nonzero_tops(word, bits) >> (bits - 1);
        mask &= some * low_ones(bits);
        k.some = gather_bits(some, lane_ones(bits), bits, 1);
        k.count = (unsigned)__builtin_popcountll(mask);
    }
    k.value = gather_bits(word, mask, bits, width);
    return k;
}

VECTOR_INLINE void put_kept(kept_bits k, ptrdiff_t values, bit_writer *to, bit_writer *vectors,
                            const int sparse)
{
    if (sparse)
        put_bits(vectors, k.some, (unsigned)values);
    put_bits(to, k.value, k.count);
}

/* Two words of values. */
VECTOR_INLINE void encode_two(const uint8_t *x, uint64_t mask, int width, bit_writer *to,
                              bit_writer *vectors, const int bits, const int sparse)
{
    const ptrdiff_t lanes = 64 / bits;
    const kept_bits a = keep(load_word(x), mask, lanes, width, bits, sparse);
    const kept_bits b = keep(load_word(x + 8), mask, lanes, width, bits, sparse);
    const uint64_t some = a.some | b.some << lanes;
    if (sparse && bits <= 16 && vectors->filled == 0) { /* whole bytes */
        memcpy(vectors->to, &some, sizeof some);
        vectors->to += lanes / 4;
    } else if (sparse) {
        put_bits(vectors, some, (unsigned)(2 * lanes));
    }
    if (bits == 32 && 4 * width <= 64) { /* four values, mostly narrow; else it mispredicts */
        put_bits(to, a.value | b.value << a.count, a.count + b.count);
    } else {
        put_bits(to, a.value, a.count);
        put_bits(to, b.value, b.count);
    }
}

VECTOR_INLINE void encode_groups(const fmt_compress_plan *p, const uint8_t *x, ptrdiff_t first,
                                 ptrdiff_t count, uint8_t *headers, uint8_t *zeros,
                                 int64_t *zero_at, uint8_t *payload, int64_t *at, const int bits,
                                 const int sparse)
{
    const ptrdiff_t per_row = groups_in_row(p), lanes = 64 / bits;
    const int header_bits = bits == 8 ? 3 : bits == 16 ? 4 : 5;
    const fmt_compress_plan plan = *p;
    bit_writer to = write_from(payload, *at), vectors = {0};
    if (sparse)
        vectors = write_from(zeros, *zero_at);
    ptrdiff_t in_row = first % per_row;
    for (ptrdiff_t g = 0; g < count; g++) {
        const unsigned header = header_of(&plan, headers[g], header_bits);
        headers[g] = (uint8_t)header;
        const int width = (int)(header & (bits - 1)) + 1;
        const uint64_t mask = lane_ones(bits) * low_ones(width);
        const ptrdiff_t n = group_length(&plan, in_row), words = n / lanes;
        if (!sparse && bits <= 16 && n % 8 == 0 && to.filled == 0) {
            for (ptrdiff_t i = 0; i < n; i += 8, x += bits)
                to.to = encode_eight(x, mask, width, to.to, bits);
        } else {
            for (ptrdiff_t i = 0; i < words / 2; i++, x += 16)
                encode_two(x, mask, width, &to, &vectors, bits, sparse);
            for (ptrdiff_t left = n % (2 * lanes), values; left > 0; left -= values) {
                values = left < lanes ? left : lanes;
                const kept_bits k = keep(load_some(x, values * bits / 8),
                                         mask & low_ones(values * bits), values, width, bits, sparse);
                put_kept(k, values, &to, &vectors, sparse);
                x += values * bits / 8;
            }
        }
        in_row = in_row + 1 < per_row ? in_row + 1 : 0;
    }
    *at = written(&to, payload);
    if (sparse)
        *zero_at = written(&vectors, zeros);
}

VECTOR_INLINE uint64_t spread(uint64_t stored, uint64_t mask, int width, uint64_t above,
                              const int bits)
{
    const uint64_t word = scatter_bits(stored, mask, bits, width);
    return word | (word >> (width - 1) & lane_ones(bits)) * above; /* signs extended */
}

VECTOR_INLINE uint64_t decode_word(bit_reader *from, bit_reader *vectors, ptrdiff_t values,
                                   int width, uint64_t mask, uint64_t above, const int bits,
                                   const int sparse, const int near_end)
{
    unsigned kept = (unsigned)(width * values);
    if (sparse) {
        const uint64_t some = take_bits(vectors, (unsigned)values, near_end) & low_ones(values);
        mask = scatter_bits(some, lane_ones(bits), bits, 1) * low_ones(width);
        kept = (unsigned)__builtin_popcountll(mask);
    }
    return spread(take_bits(from, kept, near_end), mask, width, above, bits);
}

/* Two words of values, if no stream ends within 9 bytes of them. */
VECTOR_INLINE void decode_two(bit_reader *from, bit_reader *vectors, int width, uint64_t mask,
                              uint64_t above, uint8_t *out, const int bits, const int sparse)
{
    const int lanes = 64 / bits;
    unsigned kept[2] = {(unsigned)(width * lanes), (unsigned)(width * lanes)};
    uint64_t masks[2] = {mask, mask}, words[2];
    if (sparse) {
        uint64_t some;
        if (bits <= 16 && vectors->position % 8 == 0) { /* whole bytes */
            const uint8_t *byte = vectors->from + vectors->position / 8;
            some = bits == 16 ? byte[0] : byte[0] | (uint64_t)byte[1] << 8;
            vectors->position += 2 * lanes;
        } else {
            some = take_bits(vectors, (unsigned)(2 * lanes), 0) & low_ones(2 * lanes);
        }
        const uint64_t lowest[2] = {scatter_bits(some & low_ones(lanes), lane_ones(bits), bits, 1),
                                    scatter_bits(some >> lanes, lane_ones(bits), bits, 1)};
        for (int i = 0; i < 2; i++) {
            masks[i] = lowest[i] * low_ones(width);
            kept[i] = (unsigned)__builtin_popcountll(masks[i]);
        }
    }
    if (bits == 32 && 4 * width <= 57) {
        const uint64_t stored = load_word(from->from + from->position / 8) >> from->position % 8;
        from->position += kept[0] + kept[1];
        words[0] = spread(stored, masks[0], width, above, bits);
        words[1] = spread(stored >> kept[0], masks[1], width, above, bits);
    } else {
        words[0] = spread(take_bits(from, kept[0], 0), masks[0], width, above, bits);
        words[1] = spread(take_bits(from, kept[1], 0), masks[1], width, above, bits);
    }
    memcpy(out, words, sizeof words);
}

/* n values, of which `width` bits each are stored; above: the bits that a sign fills. */
VECTOR_INLINE uint8_t *decode_values(bit_reader *from, bit_reader *vectors, ptrdiff_t n, int width,
                                     uint64_t above, uint8_t *out, const int bits,
                                     const int sparse, const int near_end)
{
    const ptrdiff_t lanes = 64 / bits;
    const uint64_t mask = lane_ones(bits) * low_ones(width);
    for (; !near_end && n >= 2 * lanes; n -= 2 * lanes, out += 16)
        decode_two(from, vectors, width, mask, above, out, bits, sparse);
    for (ptrdiff_t values; n > 0; n -= values, out += values * bits / 8) {
        values = n < lanes ? n : lanes;
        const uint64_t word = decode_word(from, vectors, values, width,
                                          mask & low_ones(values * bits), above, bits, sparse,
                                          near_end);
        memcpy(out, &word, (size_t)(values * bits / 8));
    }
    return out;
}

/* Eight values of at most 16 bits from the start of a byte: as encode_eight has written them. */
VECTOR_INLINE void decode_eight(const uint8_t *from, uint64_t mask, int width, uint64_t above,
                                uint8_t *out, const int bits)
{
    uint64_t word = spread(load_word(from), mask, width, above, bits);
    memcpy(out, &word, sizeof word);
    if (bits == 16) {
        const int byte = 4 * width / 8, half = width & 1;
        word = spread(load_word(from + byte) >> 4 * half, mask, width, above, bits);
        memcpy(out + 8, &word, sizeof word);
    }
}

VECTOR_INLINE void decode_groups(const fmt_compress_plan *p, ptrdiff_t first, ptrdiff_t count,
                                 const uint8_t *headers, bit_reader vectors, bit_reader from,
                                 uint8_t *out, const int bits, const int sparse)
{
    const ptrdiff_t per_row = groups_in_row(p);
    const fmt_compress_plan plan = *p;
    ptrdiff_t in_row = first % per_row;
    for (ptrdiff_t g = 0; g < count; g++) {
        const int width = (headers[g] & (bits - 1)) + 1;
        const int is_signed
            = plan.signs == SIGNS_ALL || (plan.signs == SIGNS_EACH && headers[g] >= bits);
        const uint64_t above = is_signed ? low_ones(bits) ^ low_ones(width) : 0;
        const ptrdiff_t n = group_length(&plan, in_row);
        /* no group takes more than its values do */
        const int inside = from.size - from.position / 8 > n * (bits / 8) + 16
                           && (!sparse || vectors.size - vectors.position / 8 > n / 8 + 16);
        if (inside && !sparse && bits <= 16 && n % 8 == 0 && from.position % 8 == 0) {
            const uint64_t mask = lane_ones(bits) * low_ones(width);
            const uint8_t *byte = from.from + from.position / 8;
            for (ptrdiff_t i = 0; i < n; i += 8, byte += width, out += bits)
                decode_eight(byte, mask, width, above, out, bits);
            from.position += n * width;
        } else if (inside) {
            out = decode_values(&from, &vectors, n, width, above, out, bits, sparse, 0);
        } else {
            out = decode_values(&from, &vectors, n, width, above, out, bits, sparse, 1);
        }
        in_row = in_row + 1 < per_row ? in_row + 1 : 0;
    }
}

/* Bits of the payload of `count` groups; the place of each `every`th one. */
static int64_t payload_bits(const fmt_compress_plan *p, ptrdiff_t first, ptrdiff_t count,
                            const uint8_t *headers, const uint8_t *zeros, int64_t zero_size,
                            ptrdiff_t every, int64_t *places)
{
    const ptrdiff_t per_row = groups_in_row(p);
    ptrdiff_t in_row = first % per_row;
    bit_reader vectors = {zeros, zero_size, first / per_row * p->length + in_row * p->group};
    int64_t bits = 0;
    if (!p->sparse && !places && p->length % p->group == 0) {
        for (ptrdiff_t g = 0; g < count; g++)
            bits += (headers[g] & (8 * p->size - 1)) + 1;
        return bits * p->group;
    }
    for (ptrdiff_t g = 0; g < count; g++) {
        if (places && g % every == 0)
            places[g / every] = bits;
        ptrdiff_t n = group_length(p, in_row), kept = n;
        if (p->sparse) {
            for (kept = 0; n > 0; n -= 64) {
                const unsigned some = n < 64 ? (unsigned)n : 64;
                kept += __builtin_popcountll(take_bits(&vectors, some, 1) & low_ones(some));
            }
        }
        bits += ((headers[g] & (8 * p->size - 1)) + 1) * (int64_t)kept;
        in_row = in_row + 1 < per_row ? in_row + 1 : 0;
    }
    return bits;
}

#define COMPRESS_OF(bits)                                                                          \
    static void measure##bits(const fmt_compress_plan *p, const void *x, ptrdiff_t first,          \
                              ptrdiff_t count, uint8_t *widths, fmt_measured *found)               \
    {                                                                                              \
        static const fmt_width_kernels k = WIDTH_KERNELS(bits);                                    \
        measure(p, x, first, count, widths, found, bits, &k);                                      \
    }                                                                                              \
    static void weigh##bits(const fmt_compress_plan *p, const void *x, ptrdiff_t first,            \
                            ptrdiff_t count, const uint8_t *widths, fmt_measured *found)           \
    {                                                                                              \
        measure(p, x, first, count, (uint8_t *)widths, found, bits, NULL);                         \
    }                                                                                              \
    static void encode_groups##bits(const fmt_compress_plan *p, const void *x, ptrdiff_t first,    \
                                    ptrdiff_t count, uint8_t *headers, uint8_t *zeros,             \
                                    int64_t *zero_at, uint8_t *payload, int64_t *at)               \
    {                                                                                              \
        if (p->sparse)                                                                             \
            encode_groups(p, x, first, count, headers, zeros, zero_at, payload, at, bits, 1);      \
        else                                                                                       \
            encode_groups(p, x, first, count, headers, zeros, zero_at, payload, at, bits, 0);      \
    }                                                                                              \
    static void decode_groups##bits(const fmt_compress_plan *p, ptrdiff_t first, ptrdiff_t count,  \
                                    const uint8_t *headers, const uint8_t *zeros,                  \
                                    int64_t zero_size, const uint8_t *payload, int64_t size,       \
                                    int64_t at, void *out)                                         \
    {                                                                                              \
        const ptrdiff_t per_row = groups_in_row(p);                                                \
        const int64_t zero_at = first / per_row * p->length + first % per_row * p->group;          \
        const bit_reader vectors = {zeros, zero_size, zero_at}, from = {payload, size, at};        \
        if (p->sparse)                                                                             \
            decode_groups(p, first, count, headers, vectors, from, out, bits, 1);                  \
        else                                                                                       \
            decode_groups(p, first, count, headers, vectors, from, out, bits, 0);                  \
    }

COMPRESS_OF(8)
COMPRESS_OF(16)
COMPRESS_OF(32)

#define COMPRESS_KERNELS(bits)                                                                     \
    {                                                                                              \
        measure##bits, weigh##bits, encode_groups##bits, decode_groups##bits, payload_bits         \
    }
