/* Codes packed without gaps: code i stands at bits i * width ... i * width + width - 1 of a
 * stream whose bit j is bit j % 8 of byte j / 8 (little-endian bit order).  Two 4-bit codes share
 * a byte, the first in its low half; four 6-bit codes fill three bytes. */
#include <string.h>

#include "kernels.h"

static ptrdiff_t stream_bytes(ptrdiff_t n, int width)
{
    return n / 8 * width + (n % 8 * width + 7) / 8;
}

static uint64_t load64(const uint8_t *from)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++) /* one load on little-endian machines */
        x |= (uint64_t)from[i] << 8 * i;
    return x;
}

static void store64(uint64_t x, uint8_t *to)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(x >> 8 * i);
}

/* Eight codes of at most 8 bits each, one a byte, are brought together pair by pair: two to
 * 2 * width bits in each 16, four in each 32, all eight to the low 8 * width bits. */
static uint64_t pack_eight(uint64_t x, int width)
{
    const int gap = 8 - width;
    x &= UINT64_C(0x0101010101010101) * ((1u << width) - 1);
    x = (x & UINT64_C(0x00ff00ff00ff00ff)) | (x & UINT64_C(0xff00ff00ff00ff00)) >> gap;
    x = (x & UINT64_C(0x0000ffff0000ffff)) | (x & UINT64_C(0xffff0000ffff0000)) >> 2 * gap;
    return (x & 0xffffffff) | (x >> 32) << 4 * width;
}

static uint64_t unpack_eight(uint64_t x, int width, int is_signed)
{
    const int gap = 8 - width;
    const uint64_t four = (UINT64_C(1) << 4 * width) - 1;
    const uint64_t two = ((1u << 2 * width) - 1) * UINT64_C(0x0000000100000001);
    const uint64_t one = ((1u << width) - 1) * UINT64_C(0x0001000100010001);
    x = (x & four) | (x >> 4 * width & four) << 32;
    x = (x & two) | (x & two << 2 * width) << 2 * gap;
    x = (x & one) | (x & one << width) << gap;
    if (is_signed) {
        const uint64_t signs = x >> (width - 1) & UINT64_C(0x0101010101010101);
        x |= signs * (256 - (1u << width));
    }
    return x;
}

static void pack_bytes(const uint8_t *codes, int width, ptrdiff_t n, uint8_t *out)
{
    uint8_t eight[8];
    const uint8_t *end = out + stream_bytes(n, width);
    for (; n >= 8 && end - out >= 8; n -= 8, codes += 8, out += width)
        store64(pack_eight(load64(codes), width), out);
    for (; n > 0; n -= 8, codes += 8, out += width) {
        const ptrdiff_t count = n < 8 ? n : 8;
        memset(eight, 0, sizeof eight);
        memcpy(eight, codes, (size_t)count);
        store64(pack_eight(load64(eight), width), eight);
        memcpy(out, eight, (size_t)stream_bytes(count, width));
    }
}

static void unpack_bytes(const uint8_t *packed, int width, int is_signed, ptrdiff_t n,
                         uint8_t *codes)
{
    uint8_t eight[8];
    const uint8_t *end = packed + stream_bytes(n, width);
    for (; n >= 8 && end - packed >= 8; n -= 8, packed += width, codes += 8)
        store64(unpack_eight(load64(packed), width, is_signed), codes);
    for (; n > 0; n -= 8, packed += width, codes += 8) {
        const ptrdiff_t count = n < 8 ? n : 8;
        memset(eight, 0, sizeof eight);
        memcpy(eight, packed, (size_t)stream_bytes(count, width));
        store64(unpack_eight(load64(eight), width, is_signed), eight);
        memcpy(codes, eight, (size_t)count);
    }
}

/* Any width, from a stream that starts at a byte. */
static uint8_t *pack_words(const uint32_t *codes, int width, ptrdiff_t n, uint8_t *out)
{
    const uint32_t mask = width == 32 ? ~0u : (1u << width) - 1;
    uint64_t waiting = 0; /* `filled` bits, fewer than 32 */
    int filled = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        waiting |= (uint64_t)(codes[i] & mask) << filled;
        filled += width;
        if (filled >= 32) {
            for (int j = 0; j < 4; j++)
                *out++ = (uint8_t)(waiting >> 8 * j);
            waiting >>= 32;
            filled -= 32;
        }
    }
    for (; filled > 0; filled -= 8, waiting >>= 8)
        *out++ = (uint8_t)waiting;
    return out;
}

static const uint8_t *unpack_words(const uint8_t *packed, const uint8_t *end, int width,
                                   uint32_t flip, uint32_t *codes, ptrdiff_t n)
{
    const uint32_t mask = width == 32 ? ~0u : (1u << width) - 1;
    uint64_t waiting = 0; /* `filled` bits, fewer than 32 before more are read */
    int filled = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (filled < width && end - packed >= 4) {
            const uint32_t next = packed[0] | (uint32_t)packed[1] << 8 | (uint32_t)packed[2] << 16
                                  | (uint32_t)packed[3] << 24;
            waiting |= (uint64_t)next << filled;
            packed += 4;
            filled += 32;
        }
        for (; filled < width; filled += 8)
            waiting |= (uint64_t)*packed++ << filled;
        codes[i] = (((uint32_t)waiting & mask) ^ flip) - flip;
        waiting >>= width;
        filled -= width;
    }
    return packed - filled / 8; /* bytes read ahead */
}

void fmt_pack(const void *codes, int type, int width, ptrdiff_t n, uint8_t *out)
{
    if (type == TYPE_INT1) {
        pack_bytes(codes, width, n, out);
        return;
    }
    /* A whole chunk ends at a byte, whatever the width. */
    uint32_t chunk[CHUNK];
    for (ptrdiff_t done = 0, count; done < n; done += count) {
        count = n - done < CHUNK ? n - done : CHUNK;
        if (type == TYPE_INT2)
            fmt_active->unpack16((const uint16_t *)codes + done, chunk, count);
        else
            memcpy(chunk, (const uint32_t *)codes + done, (size_t)count * sizeof *chunk);
        out = pack_words(chunk, width, count, out);
    }
}

void fmt_unpack(const uint8_t *packed, int width, int is_signed, ptrdiff_t n, void *codes, int type)
{
    if (type == TYPE_INT1) {
        unpack_bytes(packed, width, is_signed, n, codes);
        return;
    }
    const uint8_t *end = packed + stream_bytes(n, width);
    const uint32_t flip = is_signed ? 1u << (width - 1) : 0; /* (x ^ flip) - flip extends the sign */
    uint32_t chunk[CHUNK];
    for (ptrdiff_t done = 0, count; done < n; done += count) {
        count = n - done < CHUNK ? n - done : CHUNK;
        packed = unpack_words(packed, end, width, flip, chunk, count);
        if (type == TYPE_INT2)
            fmt_active->pack16(chunk, (uint16_t *)codes + done, count);
        else
            memcpy((uint32_t *)codes + done, chunk, (size_t)count * sizeof *chunk);
    }
}
