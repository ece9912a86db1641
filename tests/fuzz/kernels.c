/* The C below Python, fuzzed (libFuzzer): decoders of streams that nobody vouches for, and the space of
 * arguments of kernels.
 *
 * Arrays are allocated to the byte, so that AddressSanitizer sees a read or write beside them.  Each
 * case runs on all instruction sets of this machine; whatever they give must be the same, and that of
 * a loop that a reader can check where there is a short one.  The first byte chooses the case.
 * tests/fuzz/run.sh builds and runs it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { MOST_TARGETS = 5 };
static const fmt_kernels *targets[MOST_TARGETS];
static int count_of_targets;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const names[MOST_TARGETS]
        = {"baseline", "x86-64-v3", "x86-64-v3-vnni", "x86-64-v4", "x86-64-v4-vnni"};
    (void)argc, (void)argv;
    for (int i = 0; i < MOST_TARGETS; i++)
        if (fmt_find(names[i]))
            targets[count_of_targets++] = fmt_find(names[i]);
    fmt_crc32c_init();
    fmt_lanes_init();
    return 0;
}

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: on %s: %s\n", __FILE__, __LINE__, fmt_active->name, #condition); \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* --- what an input decides ---------------------------------------------------------------- */

typedef struct {
    const uint8_t *at;
    size_t left;
} choices;

static uint8_t byte(choices *c)
{
    if (!c->left)
        return 0;
    c->left--;
    return *c->at++;
}

/* From low to high. */
static int64_t number(choices *c, int64_t low, int64_t high)
{
    const uint64_t range = (uint64_t)(high - low) + 1;
    uint64_t found = byte(c);
    if (range > 256)
        found |= (uint64_t)byte(c) << 8;
    if (range > 65536)
        found |= (uint64_t)byte(c) << 16 | (uint64_t)byte(c) << 24;
    return low + (int64_t)(found % range);
}

static void *memory(size_t size)
{
    void *found = malloc(size ? size : 1);
    if (!found)
        abort();
    return found;
}

static void *zeros_of(size_t size) { return memset(memory(size), 0, size); }

static void *copy_of(const void *from, size_t size) { return memcpy(memory(size), from, size); }

/* An array of bytes: the input's, and once that ends a sequence that begins where it ended. */
static uint8_t *bytes(choices *c, size_t size)
{
    uint8_t *found = memory(size);
    uint32_t state = (uint32_t)size * 2654435761u + byte(c);
    const size_t given = c->left < size ? c->left : size;
    memcpy(found, c->at, given);
    c->at += given;
    c->left -= given;
    const int sparse = state & 1;
    for (size_t i = given; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        found[i] = sparse && state >> 30 ? 0 : (uint8_t)(state >> 16);
    }
    return found;
}

/* All targets, one after the other; the first one's result is kept, the others' compared with it. */
#define FOR_TARGETS                                                                                \
    for (int target = 0; target < count_of_targets && (fmt_active = targets[target]); target++)

static void compare(void **kept, void *found, size_t size)
{
    if (!*kept) {
        *kept = found;
        return;
    }
    REQUIRE(memcmp(*kept, found, size) == 0);
    free(found);
}

static int index_of(int size) { return size == 4 ? 2 : size - 1; }

/* --- compression in groups ---------------------------------------------------------------- */

static fmt_compress_plan any_plan(choices *c)
{
    fmt_compress_plan p;
    p.size = 1 << number(c, 0, 2);
    p.is_signed = (int)number(c, 0, 1);
    p.signs = p.is_signed ? (int)number(c, 0, 2) : SIGNS_NONE;
    p.sparse = (int)number(c, 0, 1);
    p.length = number(c, 1, 300);
    p.group = number(c, 1, p.length);
    return p;
}

static ptrdiff_t per_row(const fmt_compress_plan *p) { return (p->length + p->group - 1) / p->group; }

static ptrdiff_t position(const fmt_compress_plan *p, ptrdiff_t g)
{
    return g / per_row(p) * p->length + g % per_row(p) * p->group;
}

/* Groups from anywhere, headers, zero vectors and a payload that nobody has checked. */
static void decode_groups(choices *c)
{
    const fmt_compress_plan p = any_plan(c);
    const ptrdiff_t rows = number(c, 1, 4), all = rows * per_row(&p);
    const ptrdiff_t first = number(c, 0, all - 1), count = number(c, 1, all - first);
    const ptrdiff_t values = position(&p, first + count) - position(&p, first);
    const int64_t zero_size = number(c, 0, 200), size = number(c, 0, 400), at = number(c, 0, 4000);
    const ptrdiff_t every = number(c, 1, 9), places = (count + every - 1) / every;
    const int greatest = p.size * 8 * (p.signs == SIGNS_EACH ? 2 : 1);
    uint8_t *headers = bytes(c, (size_t)count);
    for (ptrdiff_t g = 0; g < count; g++)
        headers[g] %= greatest;
    uint8_t *zeros = bytes(c, (size_t)zero_size), *payload = bytes(c, (size_t)size);
    const size_t out_size = (size_t)(values * p.size), place_size = (size_t)places * sizeof(int64_t);
    void *kept = NULL, *kept_places = NULL, *ends = NULL;
    FOR_TARGETS
    {
        const fmt_compress_kernels *k = &fmt_active->compress[index_of(p.size)];
        void *out = memory(out_size);
        int64_t *found = memory(2 * sizeof *found);
        found[0] = k->coder.decode(&p, first, count, headers, zeros, zero_size, payload, size, at, out);
        compare(&kept, out, out_size);
        int64_t *where = memory(place_size);
        found[1] = k->payload_bits(&p, first, count, headers, zeros, zero_size, every, where);
        REQUIRE(found[1] == k->payload_bits(&p, first, count, headers, zeros, zero_size, 1, NULL));
        REQUIRE(found[0] == at + found[1]);
        compare(&kept_places, where, place_size);
        compare(&ends, found, 2 * sizeof *found);
    }
    free(kept), free(kept_places), free(ends), free(headers), free(zeros), free(payload);
}

/* There and back, in two parts. */
static void encode_groups(choices *c)
{
    fmt_compress_plan p = any_plan(c);
    const ptrdiff_t rows = number(c, 1, 4), groups = rows * per_row(&p), values = rows * p.length;
    const ptrdiff_t half = number(c, 0, groups);
    const size_t size = (size_t)(values * p.size);
    uint8_t *x = bytes(c, size);
    void *kept_widths = NULL, *kept_payload = NULL, *kept_zeros = NULL;
    FOR_TARGETS
    {
        const fmt_compress_kernels *k = &fmt_active->compress[index_of(p.size)];
        uint8_t *widths = memory((size_t)groups);
        fmt_measured found = {0};
        k->measure(&p, x, 0, groups, widths, &found);
        const int signs = found.negative ? (p.signs == SIGNS_NONE ? SIGNS_ALL : p.signs) : SIGNS_NONE;
        p.signs = signs;
        const int64_t *sums = p.sparse ? found.sparse : found.dense;
        const int64_t bits = signs == SIGNS_ALL ? sums[0] : sums[1];
        const size_t payload_size = (size_t)((bits + 7) / 8), zero_size = (size_t)((values + 7) / 8);
        uint8_t *payload = zeros_of(payload_size + COMPRESS_SLACK);
        uint8_t *zeros = zeros_of(p.sparse ? zero_size + COMPRESS_SLACK : 0);
        int64_t at = 0;
        for (int part = 0; part < 2; part++) {
            const ptrdiff_t first = part ? half : 0, count = part ? groups - half : half;
            int64_t zero_at = position(&p, first);
            void *own = copy_of(x + position(&p, first) * p.size,
                                (size_t)(position(&p, first + count) - zero_at) * (size_t)p.size);
            if (count)
                k->coder.encode(&p, own, first, count, widths + first, zeros, &zero_at, payload, &at);
            free(own);
        }
        REQUIRE(at == bits);
        void *out = memory(size), *stream = copy_of(payload, payload_size);
        void *vectors = copy_of(zeros, p.sparse ? zero_size : 0);
        const int64_t end
            = k->coder.decode(&p, 0, groups, widths, vectors, p.sparse ? (int64_t)zero_size : 0,
                              stream, (int64_t)payload_size, 0, out);
        REQUIRE(end == bits);
        REQUIRE(memcmp(out, x, size) == 0);
        free(out), free(payload), free(zeros);
        compare(&kept_widths, widths, (size_t)groups);
        compare(&kept_payload, stream, payload_size);
        compare(&kept_zeros, vectors, p.sparse ? zero_size : 0);
    }
    free(kept_widths), free(kept_payload), free(kept_zeros), free(x);
}

/* --- storage ------------------------------------------------------------------------------ */

static void unpack(choices *c)
{
    static const int types[] = {TYPE_INT1, TYPE_INT2, TYPE_INT4};
    const int which = (int)number(c, 0, 2), size = 1 << which, is_signed = (int)number(c, 0, 1);
    const int width = (int)number(c, 1, 8 * size);
    const ptrdiff_t n = number(c, 1, 600);
    const size_t packed_size = (size_t)((n * width + 7) / 8), unpacked = (size_t)(n * size);
    uint8_t *packed = bytes(c, packed_size);
    if (n * width % 8)
        packed[packed_size - 1] &= (uint8_t)((1 << n * width % 8) - 1);
    void *kept = NULL;
    FOR_TARGETS
    {
        uint8_t *codes = memory(unpacked), *again = memory(packed_size);
        fmt_unpack(packed, width, is_signed, n, codes, types[which]);
        fmt_pack(codes, types[which], width, n, again);
        REQUIRE(memcmp(packed, again, packed_size) == 0);
        free(again);
        compare(&kept, codes, unpacked);
    }
    const uint8_t *code = kept;
    for (ptrdiff_t i = 0; i < n * width; i++) /* bit j of code i is bit i * width + j */
        REQUIRE((code[i / width * size + i % width / 8] >> i % width % 8 & 1)
                == (packed[i / 8] >> i % 8 & 1));
    free(kept), free(packed);
}

static void checksum(choices *c)
{
    const size_t size = (size_t)number(c, 0, 900), cut = (size_t)number(c, 0, (int64_t)size);
    uint8_t *x = bytes(c, size);
    uint32_t expected = ~UINT32_C(0);
    for (size_t i = 0; i < size; i++) {
        expected ^= x[i];
        for (int bit = 0; bit < 8; bit++)
            expected = expected >> 1 ^ (expected & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    FOR_TARGETS
    REQUIRE(fmt_crc32c(x + cut, size - cut, fmt_crc32c(x, cut, 0)) == ~expected);
    free(x);
}

static void planes(choices *c)
{
    const int size = 1 << number(c, 0, 2), bits = (int)number(c, 1, 8 * size);
    const int some = (int)number(c, 1, bits), is_signed = (int)number(c, 0, 1);
    const ptrdiff_t n = number(c, 1, 600), stride = (n + 7) / 8;
    uint8_t *x = bytes(c, (size_t)(n * size)), *any = bytes(c, (size_t)(some * stride));
    void *kept = NULL, *kept_planes = NULL, *kept_any = NULL;
    FOR_TARGETS
    {
        uint8_t *found = memory((size_t)(bits * stride)), *back = memory((size_t)(n * size));
        fmt_active->to_planes[index_of(size)](x, n, bits, found, stride);
        fmt_active->from_planes[index_of(size)](found, stride, bits, bits, is_signed, n, back);
        if (bits == 8 * size)
            REQUIRE(memcmp(x, back, (size_t)(n * size)) == 0);
        compare(&kept_planes, found, (size_t)(bits * stride));
        compare(&kept, back, (size_t)(n * size));
        uint8_t *of_any = memory((size_t)(n * size));
        fmt_active->from_planes[index_of(size)](any, stride, some, bits, is_signed, n, of_any);
        compare(&kept_any, of_any, (size_t)(n * size));
    }
    free(kept), free(kept_planes), free(kept_any), free(x), free(any);
}

static void lookup(choices *c)
{
    const int code_size = (int)number(c, 1, 2), entry_size = 1 << number(c, 0, 2);
    const ptrdiff_t n = number(c, 0, 300);
    uint8_t *codes = bytes(c, (size_t)(n * code_size));
    uint8_t *table = bytes(c, ((size_t)entry_size << 8 * code_size));
    uint8_t *out = memory((size_t)(n * entry_size));
    fmt_lookup(codes, code_size, table, entry_size, out, n);
    for (ptrdiff_t i = 0; i < n; i++) {
        const size_t code = codes[i * code_size] | (code_size == 2 ? codes[2 * i + 1] << 8 : 0);
        REQUIRE(memcmp(out + i * entry_size, table + code * (size_t)entry_size, (size_t)entry_size) == 0);
    }
    free(codes), free(table), free(out);
}

static void transpose(choices *c)
{
    const int size = 1 << number(c, 0, 2);
    const ptrdiff_t rows = number(c, 1, 90), columns = number(c, 1, 90);
    const ptrdiff_t x_row = columns + number(c, 0, 3), out_row = rows + number(c, 0, 3);
    const size_t x_size = (size_t)((x_row * (rows - 1) + columns) * size);
    const size_t out_size = (size_t)((out_row * (columns - 1) + rows) * size);
    uint8_t *x = bytes(c, x_size);
    FOR_TARGETS
    {
        uint8_t *out = memory(out_size);
        fmt_transpose(x, x_row, out, out_row, rows, columns, size);
        for (ptrdiff_t i = 0; i < rows * columns; i++) {
            const ptrdiff_t r = i / columns, k = i % columns;
            REQUIRE(memcmp(x + (r * x_row + k) * size, out + (k * out_row + r) * size, (size_t)size) == 0);
        }
        free(out);
    }
    free(x);
}

/* --- widths, terms, noise ----------------------------------------------------------------- */

static void widths(choices *c)
{
    fmt_width_plan p;
    p.size = 1 << number(c, 0, 2);
    p.encoding = (int)number(c, 0, 2);
    p.outer = number(c, 1, 3), p.rows = number(c, 1, 6), p.middle = number(c, 1, 3);
    p.columns = number(c, 1, 60), p.inner = number(c, 1, 20);
    p.tile_rows = number(c, 1, 7), p.tile_columns = number(c, 1, 70);
    const ptrdiff_t values = p.outer * p.rows * p.middle * p.columns * p.inner;
    const ptrdiff_t groups = p.outer * ((p.rows + p.tile_rows - 1) / p.tile_rows) * p.middle
                             * ((p.columns + p.tile_columns - 1) / p.tile_columns) * p.inner;
    const int both = (int)number(c, 0, 1);
    uint8_t *x = bytes(c, (size_t)(values * p.size));
    void *kept = NULL, *kept_low = NULL;
    FOR_TARGETS
    {
        uint8_t *high = memory((size_t)groups), *low = both ? memory((size_t)groups) : NULL;
        fmt_group_bits(&p, x, high, low);
        compare(&kept, high, (size_t)groups);
        if (both)
            compare(&kept_low, low, (size_t)groups);
    }
    free(kept), free(kept_low), free(x);
}

static void terms(choices *c)
{
    const int size = 1 << number(c, 0, 2), is_signed = (int)number(c, 0, 1);
    const int recoding = (int)number(c, TERMS_BINARY, TERMS_RUN_LENGTH);
    const ptrdiff_t n = number(c, 0, 300);
    uint8_t *x = bytes(c, (size_t)(n * size));
    void *kept = NULL;
    FOR_TARGETS
    {
        uint8_t *found = memory((size_t)n);
        fmt_active->count_terms[index_of(size)](x, found, n, is_signed, recoding);
        compare(&kept, found, (size_t)n);
    }
    free(kept), free(x);
}

static void noise(choices *c)
{
    const ptrdiff_t n = number(c, 0, 300), cut = number(c, 0, n);
    uint64_t key[3];
    uint8_t *from = bytes(c, sizeof key);
    memcpy(key, from, sizeof key);
    key[2] >>= 1; /* of an element, which has a ptrdiff_t for its number */
    const size_t size = (size_t)n * sizeof(uint32_t);
    void *kept = NULL;
    FOR_TARGETS
    {
        uint32_t *words = memory(size), *first = memory((size_t)cut * sizeof *first);
        fmt_active->philox(key[0], key[1], key[2], words, n);
        fmt_active->philox(key[0], key[1], key[2], first, cut); /* counted, not drawn */
        REQUIRE(memcmp(words, first, (size_t)cut * sizeof *first) == 0);
        free(first);
        uint32_t *rest = memory((size_t)(n - cut) * sizeof *rest);
        fmt_active->philox(key[0], key[1], key[2] + (uint64_t)cut, rest, n - cut);
        REQUIRE(memcmp(words + cut, rest, (size_t)(n - cut) * sizeof *rest) == 0);
        free(rest);
        compare(&kept, words, size);
    }
    free(kept), free(from);
}

/* --- products ----------------------------------------------------------------------------- */

/* Sign-magnitude codes and scales of one side, rows or columns along the depth or across it. */
static fmt_matrix any_matrix(choices *c, ptrdiff_t batch, ptrdiff_t depth, int exponent_bits,
                             void **codes, void **scales)
{
    fmt_matrix m = {0};
    m.mantissa = (int)number(c, 1, 15);
    m.type = m.mantissa < 8 ? TYPE_INT1 : TYPE_INT2;
    m.count = number(c, 1, 40);
    m.group = number(c, 1, 70);
    const ptrdiff_t groups = (depth + m.group - 1) / m.group;
    const int across = (int)number(c, 0, 1);
    m.batch_stride = m.count * depth;
    m.vector_stride = across ? 1 : depth;
    m.step_stride = across ? m.count : 1;
    m.scale_batch = m.count * groups;
    m.scale_vector = across ? 1 : groups;
    m.scale_step = across ? m.count : 1;
    m.bias = (1 << (exponent_bits - 1)) - 1;
    m.nan = (1 << exponent_bits) - 1;
    const ptrdiff_t n = batch * m.count * depth, all = batch * m.count * groups;
    uint8_t *raw = bytes(c, (size_t)(2 * n)), *of_scales = bytes(c, (size_t)all);
    const uint32_t mask = (UINT32_C(2) << m.mantissa) - 1;
    if (m.type == TYPE_INT1) {
        uint8_t *to = memory((size_t)n);
        for (ptrdiff_t i = 0; i < n; i++)
            to[i] = (uint8_t)(raw[i] & mask);
        *codes = to;
    } else {
        uint16_t *to = memory((size_t)n * sizeof *to);
        for (ptrdiff_t i = 0; i < n; i++)
            to[i] = (uint16_t)((raw[2 * i] | raw[2 * i + 1] << 8) & mask);
        *codes = to;
    }
    const int base = (int)number(c, 0, m.nan), spread = (int)number(c, 1, m.nan + 1);
    for (ptrdiff_t i = 0; i < all; i++)
        of_scales[i] = (uint8_t)((base + of_scales[i] % spread) % (m.nan + 1));
    free(raw);
    m.codes = *codes;
    m.scales = *scales = of_scales;
    return m;
}

static void matmul(choices *c)
{
    fmt_matmul_plan p;
    void *a_codes, *a_scales, *b_codes, *b_scales;
    p.batch = number(c, 1, 3);
    p.depth = number(c, 1, 150);
    p.a = any_matrix(c, p.batch, p.depth, (int)number(c, 2, 8), &a_codes, &a_scales);
    p.b = any_matrix(c, p.batch, p.depth, (int)number(c, 2, 8), &b_codes, &b_scales);
    const int packs = (int)number(c, 0, 3);
    const ptrdiff_t n = p.batch * p.a.count * p.b.count;
    float *start = zeros_of((size_t)n * sizeof *start);
    for (ptrdiff_t i = 0; i < n; i++)
        start[i] = (float)((int)byte(c) - 128);
    void *kept = NULL;
    FOR_TARGETS
    {
        fmt_matmul_plan own = p;
        void *of_a = NULL, *of_b = NULL;
        if (packs && p.batch == 1 && p.a.group == p.b.group) {
            const int layout = fmt_matmul_layout(&p.a, &p.b, p.depth);
            if (packs & 1) {
                of_a = memory(fmt_packing_size(&p.a, 1, p.depth, layout));
                REQUIRE(fmt_pack_matrix(&p.a, 1, p.depth, layout, of_a));
                own.a.packing = of_a, own.a.packed_count = p.a.count, own.a.packed_layout = layout;
            }
            if (packs & 2) {
                of_b = memory(fmt_packing_size(&p.b, 0, p.depth, layout));
                REQUIRE(fmt_pack_matrix(&p.b, 0, p.depth, layout, of_b));
                own.b.packing = of_b, own.b.packed_count = p.b.count, own.b.packed_layout = layout;
            }
        }
        float *out = copy_of(start, (size_t)n * sizeof *out);
        void *scratch = memory(fmt_matmul_scratch(&own));
        fmt_matmul(&own, out, scratch);
        free(scratch), free(of_a), free(of_b);
        for (ptrdiff_t i = 0; i < n; i++)
            if (out[i] != out[i])
                memset(out + i, 255, sizeof *out); /* any NaN is as good as another */
        compare(&kept, out, (size_t)n * sizeof *out);
    }
    free(kept), free(start), free(a_codes), free(a_scales), free(b_codes), free(b_scales);
}

/* The mantissa's leading bits, and in *power what is left of the number: NaN of an infinite one. */
static unsigned apart(float x, int mantissa_bits, float *power)
{
    int exponent;
    const float fraction = frexpf(fabsf(x), &exponent);
    *power = isfinite(x) ? copysignf(ldexpf(1, exponent - 1), x) : NAN;
    if (isfinite(x) && fabsf(x) < 0x1p-126f)
        *power = 0;
    return *power == 0 || isnan(*power) ? 0 : (unsigned)((2 * fraction - 1) * (1 << mantissa_bits));
}

static void table_product(choices *c)
{
    fmt_table_product p;
    p.mantissa_bits = (int)number(c, 1, 7);
    p.rows = number(c, 0, 20), p.depth = number(c, 0, 20), p.columns = number(c, 0, 80);
    const size_t entries = (size_t)1 << 2 * p.mantissa_bits, n = (size_t)(p.rows * p.columns);
    uint8_t *a = bytes(c, (size_t)(p.rows * p.depth) * sizeof(float));
    uint8_t *b = bytes(c, (size_t)(p.depth * p.columns) * sizeof(float));
    uint8_t *chosen = bytes(c, entries);
    float *factors = memory(entries * sizeof *factors), *expected = memory(n * sizeof *expected);
    for (size_t i = 0; i < entries; i++)
        factors[i] = 0.5f + chosen[i] * (1.5f / 256);
    p.a = (const float *)a, p.b = (const float *)b, p.factors = factors;
    for (ptrdiff_t i = 0; i < p.rows; i++)
        for (ptrdiff_t j = 0; j < p.columns; j++) {
            float sum = 0, left, right;
            for (ptrdiff_t k = 0; k < p.depth; k++) {
                const unsigned v = apart(p.a[i * p.depth + k], p.mantissa_bits, &left);
                const unsigned w = apart(p.b[k * p.columns + j], p.mantissa_bits, &right);
                sum += factors[(v << p.mantissa_bits) + w] * right * left;
            }
            expected[i * p.columns + j] = sum;
        }
    FOR_TARGETS
    {
        float *out = memory(n * sizeof *out);
        p.lines = memory(TABLE_LINES * sizeof *p.lines);
        fmt_active->multiply_by_table(&p, out);
        for (size_t i = 0; i < n; i++)
            REQUIRE(out[i] == expected[i] || (isnan(out[i]) && isnan(expected[i])));
        free(out), free(p.lines);
    }
    free(a), free(b), free(chosen), free(factors), free(expected);
}

static void (*const cases[])(choices *)
    = {decode_groups, encode_groups, unpack, checksum, planes, lookup,
       transpose,     widths,        terms,  noise,    matmul, table_product};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    choices c = {data, size};
    cases[byte(&c) % (sizeof cases / sizeof *cases)](&c);
    return 0;
}
