/* Results that no cache will hold go past the caches, as copies of that size do: what is overwritten
 * then need not be read first, and what others have in the caches stays there.  Only whole lines
 * can, so the last part of one is held back until the results that follow complete it.
 *
 * What is read by a long call comes from afar, in a straight line, and is asked for in time: chunks of
 * work leave hardware less of it under way than a copy does.
 */
#ifndef FMTLIB_STREAM_H
#define FMTLIB_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes read and written by one call, from which on its results are streamed. */
extern size_t fmt_streamed_from;

enum {
    FMT_LINE = 64,
    FMT_AHEAD = 8 << 10, /* 4 to 16 KiB do as well */
    FMT_LONG = 1 << 20   /* bytes that a call reads; less may be in the second-level cache */
};

typedef struct {
    char *line; /* of the array, to which the first `held` bytes of `bytes` belong */
    size_t held;
    char bytes[FMT_LINE];
} fmt_stream;

#if defined(__x86_64__)
#include <emmintrin.h>

static inline int fmt_streams(ptrdiff_t elements, ptrdiff_t element_bytes)
{
    return (size_t)elements >= fmt_streamed_from / (size_t)element_bytes;
}

static inline void fmt_stream_line(char *to, const char *from)
{
    for (int i = 0; i < FMT_LINE; i += 16)
        _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
}

/* All that is held back is written, and other threads will see what was streamed. */
static inline void fmt_stream_end(fmt_stream *s)
{
    memcpy(s->line, s->bytes, s->held);
    s->held = 0;
    _mm_sfence();
}
#else
static inline int fmt_streams(ptrdiff_t elements, ptrdiff_t element_bytes)
{
    (void)elements, (void)element_bytes;
    return 0;
}

static inline void fmt_stream_line(char *to, const char *from) { memcpy(to, from, FMT_LINE); }
static inline void fmt_stream_end(fmt_stream *s) { (void)s; }
#endif

static inline fmt_stream fmt_stream_begin(char *to) { return (fmt_stream){.line = to, .held = 0}; }

/* Copies results from a cache. */
static inline void fmt_stream_write(fmt_stream *s, char *to, const char *from, size_t bytes)
{
    if (to != s->line + s->held) {
        memcpy(s->line, s->bytes, s->held);
        s->held = 0;
    }
    if (s->held) {
        const size_t rest = FMT_LINE - s->held, take = bytes < rest ? bytes : rest;
        memcpy(s->bytes + s->held, from, take);
        s->held += take;
        if (s->held < FMT_LINE)
            return;
        fmt_stream_line(s->line, s->bytes);
        to += take, from += take, bytes -= take;
    } else {
        const size_t rest = (0 - (uintptr_t)to) % FMT_LINE, head = bytes < rest ? bytes : rest;
        memcpy(to, from, head);
        to += head, from += head, bytes -= head;
    }
    for (; bytes >= FMT_LINE; to += FMT_LINE, from += FMT_LINE, bytes -= FMT_LINE)
        fmt_stream_line(to, from);
    memcpy(s->bytes, from, bytes);
    s->line = to;
    s->held = bytes;
}

/* Asks for what is far behind these bytes, which need not exist. */
static inline void fmt_ask_ahead(const void *x, ptrdiff_t bytes)
{
    for (ptrdiff_t i = 0; i < bytes; i += FMT_LINE)
        __builtin_prefetch((const void *)((uintptr_t)x + (uintptr_t)(FMT_AHEAD + i)), 0, 2);
}

#endif
