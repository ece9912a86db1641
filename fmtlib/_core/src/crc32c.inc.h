/* CRC-32C eight bytes an instruction where there is one for it (SSE 4.2); see crc32c.c. */
#if CRC_INSTRUCTION
static uint32_t crc32c(const uint8_t *data, size_t n, uint32_t crc)
{
    uint64_t all = ~crc;
    for (; n >= 8; n -= 8, data += 8) {
        uint64_t word;
        memcpy(&word, data, sizeof word);
        all = _mm_crc32_u64(all, word);
    }
    for (; n > 0; n--, data++)
        all = _mm_crc32_u8((uint32_t)all, *data);
    return ~(uint32_t)all;
}
#define CRC32C crc32c
#else
#define CRC32C NULL
#endif
