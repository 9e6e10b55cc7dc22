/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C, RFC 3720 appendix B.4: reflected polynomial 0x82f63b78. */
#include "base/base.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>

/* x^(8n-33) mod P, reflected, for n bytes: multiplying by it, and reducing
 * with one more CRC instruction, moves a CRC over n zero bytes. */
#define LONG_BYTES 1024u
#define LONG_ONCE 0x170076fau  /* n = 1024 */
#define LONG_TWICE 0xa51b6135u /* n = 2048 */
#define SHORT_BYTES 64u
#define SHORT_ONCE 0x9e4addf8u  /* n = 64 */
#define SHORT_TWICE 0x0d3b6092u /* n = 128 */

static inline uint64_t word_at(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t crc_move(uint64_t crc, uint32_t power)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi32_si128((int32_t)power), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* Three parts of n bytes at once: the instruction takes three cycles, but one
 * can begin in each. */
__attribute__((target("sse4.2,pclmul"))) static inline uint64_t crc_three(uint64_t crc, const uint8_t *p, size_t n,
                                                                          uint32_t once, uint32_t twice)
{
    uint64_t b = 0, c = 0;
    for (size_t i = 0; i < n; i += 8) {
        crc = _mm_crc32_u64(crc, word_at(p + i));
        b = _mm_crc32_u64(b, word_at(p + n + i));
        c = _mm_crc32_u64(c, word_at(p + 2 * n + i));
    }
    return crc_move(crc, twice) ^ crc_move(b, once) ^ c;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t c = crc;
    for (; n >= 3 * LONG_BYTES; p += 3 * LONG_BYTES, n -= 3 * LONG_BYTES)
        c = crc_three(c, p, LONG_BYTES, LONG_ONCE, LONG_TWICE);
    for (; n >= 3 * SHORT_BYTES; p += 3 * SHORT_BYTES, n -= 3 * SHORT_BYTES)
        c = crc_three(c, p, SHORT_BYTES, SHORT_ONCE, SHORT_TWICE);
    for (; n >= 8; p += 8, n -= 8) c = _mm_crc32_u64(c, word_at(p));
    uint32_t c32 = (uint32_t)c;
    for (; n; p++, n--) c32 = _mm_crc32_u8(c32, *p);
    return c32;
}
#endif

static uint32_t crc_portable(uint32_t crc, const uint8_t *p, size_t n)
{
    for (; n; p++, n--) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
    }
    return crc;
}

uint32_t vch_crc32c(uint32_t crc, const void *p, size_t n)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) return ~crc_sse42(crc, p, n);
#endif
    return ~crc_portable(crc, p, n);
}
