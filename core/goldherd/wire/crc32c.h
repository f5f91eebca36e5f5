/* CRC32C (Castagnoli, reflected), RFC 7143 13.1: SSE4.2 when the processor has it, else a table of 8 x 256 words.
 * Three interleaved streams hide the latency of the instruction; their sums are joined by multiplying in GF(2)
 * with a table of 4 x 256 words per distance, built once at start. */
#ifndef GOLDHERD_CRC32C_H
#define GOLDHERD_CRC32C_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define GH_POLYNOMIAL 0x82F63B78u
#define GH_STREAM 1024u /* bytes per stream in the interleaved loop */

static uint32_t gh_table[8][256];
static uint32_t gh_shift[4][256];  /* moves a sum GH_STREAM bytes ahead */
static int gh_has_instruction;

static uint32_t gh_advance_zeros(uint32_t crc, size_t bytes) {
    while (bytes--) crc = gh_table[0][crc & 0xFF] ^ (crc >> 8);
    return crc;
}

static void gh_crc32c_setup(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) ? GH_POLYNOMIAL : 0);
        gh_table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int slice = 1; slice < 8; slice++)
            gh_table[slice][i] = gh_table[0][gh_table[slice - 1][i] & 0xFF] ^ (gh_table[slice - 1][i] >> 8);
    uint32_t bits[32]; /* the image of each bit under "GH_STREAM zero bytes follow" */
    for (int bit = 0; bit < 32; bit++) bits[bit] = gh_advance_zeros(1u << bit, GH_STREAM);
    for (int byte = 0; byte < 4; byte++)
        for (uint32_t value = 0; value < 256; value++) {
            uint32_t sum = 0;
            for (int bit = 0; bit < 8; bit++)
                if (value >> bit & 1) sum ^= bits[byte * 8 + bit];
            gh_shift[byte][value] = sum;
        }
#if defined(__x86_64__)
    gh_has_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

static uint32_t gh_crc_table(uint32_t crc, const uint8_t *p, size_t n) {
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= crc;
        crc = gh_table[7][word & 0xFF] ^ gh_table[6][word >> 8 & 0xFF] ^ gh_table[5][word >> 16 & 0xFF] ^
              gh_table[4][word >> 24 & 0xFF] ^ gh_table[3][word >> 32 & 0xFF] ^ gh_table[2][word >> 40 & 0xFF] ^
              gh_table[1][word >> 48 & 0xFF] ^ gh_table[0][word >> 56];
        p += 8;
        n -= 8;
    }
    while (n--) crc = gh_table[0][(crc ^ *p++) & 0xFF] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
static inline uint32_t gh_move(uint32_t crc) {
    return gh_shift[0][crc & 0xFF] ^ gh_shift[1][crc >> 8 & 0xFF] ^ gh_shift[2][crc >> 16 & 0xFF] ^
           gh_shift[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t gh_crc_instruction(uint32_t crc, const uint8_t *p, size_t n) {
    uint64_t a = crc;
    while (n >= 3 * GH_STREAM) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < GH_STREAM; i += 8) {
            uint64_t x, y, z;
            memcpy(&x, p + i, 8);
            memcpy(&y, p + GH_STREAM + i, 8);
            memcpy(&z, p + 2 * GH_STREAM + i, 8);
            a = __builtin_ia32_crc32di(a, x);
            b = __builtin_ia32_crc32di(b, y);
            c = __builtin_ia32_crc32di(c, z);
        }
        a = gh_move((uint32_t)a) ^ b;
        a = gh_move((uint32_t)a) ^ c;
        p += 3 * GH_STREAM;
        n -= 3 * GH_STREAM;
    }
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        a = __builtin_ia32_crc32di(a, word);
        p += 8;
        n -= 8;
    }
    uint32_t rest = (uint32_t)a;
    while (n--) rest = __builtin_ia32_crc32qi(rest, *p++);
    return rest;
}
#endif

/* Goes on with a running sum; start with 0xFFFFFFFF and invert the end. */
static inline uint32_t gh_crc32c(uint32_t crc, const void *data, size_t n) {
#if defined(__x86_64__)
    if (gh_has_instruction) return gh_crc_instruction(crc, (const uint8_t *)data, n);
#endif
    return gh_crc_table(crc, (const uint8_t *)data, n);
}
#endif
