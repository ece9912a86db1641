/* CRC-32C (Castagnoli): reflected polynomial 0x82F63B78, all ones at the start and inverted at the
 * end, as RFC 3720 (iSCSI) has it; eight bytes at a time from eight tables ("slicing by 8"), or by
 * the processor's own instruction. */
#include "kernels.h"

static uint32_t tables[8][256]; /* tables[k][b]: the checksum of byte b followed by k zero bytes */

void fmt_crc32c_init(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
        tables[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int k = 1; k < 8; k++)
            tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 255];
}

uint32_t fmt_crc32c(const uint8_t *data, size_t n, uint32_t crc)
{
    if (fmt_active->crc32c)
        return fmt_active->crc32c(data, n, crc);
    crc = ~crc;
    for (; n >= 8; n -= 8, data += 8)
        crc = tables[7][data[0] ^ (crc & 255)] ^ tables[6][data[1] ^ (crc >> 8 & 255)]
              ^ tables[5][data[2] ^ (crc >> 16 & 255)] ^ tables[4][data[3] ^ (crc >> 24)]
              ^ tables[3][data[4]] ^ tables[2][data[5]] ^ tables[1][data[6]] ^ tables[0][data[7]];
    for (; n > 0; n--, data++)
        crc = crc >> 8 ^ tables[0][(crc ^ *data) & 255];
    return ~crc;
}
