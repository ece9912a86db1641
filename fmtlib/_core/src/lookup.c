/* Codes through a table: out[i] = table[codes[i]].  The table has an entry for whatever a code's
 * type can hold, so no index is out of range. */
#include "kernels.h"

#define LOOKUP(NAME, CODE, ENTRY)                                                                  \
    static void NAME(const CODE *codes, const ENTRY *table, ENTRY *out, ptrdiff_t n)               \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            out[i] = table[codes[i]];                                                              \
    }
LOOKUP(from8_to8, uint8_t, uint8_t)
LOOKUP(from8_to16, uint8_t, uint16_t)
LOOKUP(from8_to32, uint8_t, uint32_t)
LOOKUP(from16_to8, uint16_t, uint8_t)
LOOKUP(from16_to16, uint16_t, uint16_t)
LOOKUP(from16_to32, uint16_t, uint32_t)
#undef LOOKUP

void fmt_lookup(const void *codes, int code_size, const void *table, int entry_size, void *out,
                ptrdiff_t n)
{
    switch (entry_size) {
    case 1: (code_size == 1 ? from8_to8(codes, table, out, n) : from16_to8(codes, table, out, n)); break;
    case 2: (code_size == 1 ? from8_to16(codes, table, out, n) : from16_to16(codes, table, out, n)); break;
    default: (code_size == 1 ? from8_to32(codes, table, out, n) : from16_to32(codes, table, out, n));
    }
}
