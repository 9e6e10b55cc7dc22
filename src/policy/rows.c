/* SPDX-License-Identifier: Apache-2.0 */
/* Rows by table look-up.  The contiguous case is the hot one: 64 rows at a
 * time, each bit fetched from the 8 KiB table of allowed palette indices, with
 * AVX-512 sixteen at a time by gather; and where only indices below 1,024 are
 * allowed, thirty-two at a time from a table that two registers hold. */
#include "policy/policy.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint64_t allowed64(const uint8_t *allow, const uint16_t *column)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 64; i++) {
        uint16_t index = column[i];
        bits = bits << 1 | (uint64_t)(allow[index >> 3] >> (7 - (index & 7)) & 1);
    }
    return bits;
}

#if defined(__x86_64__)
/* Gather reads 4 bytes at allow + (index / 8); the table is 8,192 bytes, so
 * the caller's table has 3 bytes of slack (see table_with_slack). */
__attribute__((target("avx512f,avx512bw"))) static uint64_t allowed64_avx512(const uint8_t *allow,
                                                                             const uint16_t *column)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 64; i += 16) {
        __m512i index = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(column + i)));
        __m512i words = _mm512_i32gather_epi32(_mm512_srli_epi32(index, 3), allow, 1);
        __m512i bit = _mm512_sub_epi32(_mm512_set1_epi32(7), _mm512_and_si512(index, _mm512_set1_epi32(7)));
        __mmask16 set = _mm512_test_epi32_mask(_mm512_srlv_epi32(words, bit), _mm512_set1_epi32(1));
        /* Lane 0 is the first row: it must become the highest bit. */
        uint32_t m = set;
        m = (m & 0x5555u) << 1 | (m >> 1 & 0x5555u);
        m = (m & 0x3333u) << 2 | (m >> 2 & 0x3333u);
        m = (m & 0x0f0fu) << 4 | (m >> 4 & 0x0f0fu);
        m = ((m & 0x00ffu) << 8 | m >> 8) & 0xffffu;
        bits = bits << 16 | m;
    }
    return bits;
}

#define FEW 1024u /* indices whose bits fill two registers */

/* 32 rows: word index / 16 of the table, then its bit.  A word holds the bits
 * of two bytes, the first one's in its low half, highest bit first. */
__attribute__((target("avx512f,avx512bw"))) static uint32_t allowed32_few(__m512i low, __m512i high,
                                                                          const uint16_t *column)
{
    const __m512i backwards =
        _mm512_broadcast_i32x4(_mm_set_epi8(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    /* Eight rows make a byte whose highest bit is the first row. */
    __m512i index = _mm512_shuffle_epi8(_mm512_loadu_si512(column), backwards);
    __m512i words = _mm512_permutex2var_epi16(low, _mm512_srli_epi16(index, 4), high);
    __m512i at = _mm512_xor_si512(_mm512_and_si512(index, _mm512_set1_epi16(15)), _mm512_set1_epi16(7));
    __mmask32 few = _mm512_cmplt_epu16_mask(index, _mm512_set1_epi16(FEW));
    return _mm512_mask_test_epi16_mask(few, _mm512_srlv_epi16(words, at), _mm512_set1_epi16(1));
}

__attribute__((target("avx512f,avx512bw"))) static size_t contiguous_few(uint8_t *out, const uint8_t *allow,
                                                                         const uint16_t *column, size_t n)
{
    __m512i low = _mm512_loadu_si512(allow), high = _mm512_loadu_si512(allow + 64);
    size_t done = 0;
    for (; done + 32 <= n; done += 32) {
        uint32_t bits = allowed32_few(low, high, column + done);
        memcpy(out + done / 8, &bits, sizeof bits); /* this machine's order is the rows' order */
    }
    return done;
}

/* Is nothing allowed from FEW on? */
static bool only_few(const uint8_t *allow, size_t n)
{
    allow += FEW / 8;
    return allow[0] == 0 && memcmp(allow, allow + 1, n - FEW / 8 - 1) == 0;
}
#endif

#define TABLE_BYTES 8192
#define TABLE_SLACK 4

typedef uint64_t (*allowed64_fn)(const uint8_t *, const uint16_t *);

static allowed64_fn choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) return allowed64_avx512;
#endif
    return allowed64;
}

static bool one_allowed(const uint8_t *allow, const uint16_t *column, size_t column_n, uint64_t subject)
{
    return subject < column_n && vch_bit(allow, column[subject]);
}

/* Whole groups of rows whose subjects are all in the column; how many rows. */
static size_t contiguous(uint8_t *out, const uint8_t *allow, const uint16_t *column, size_t n)
{
    allowed64_fn fn = choose();
#if defined(__x86_64__)
    if (fn == allowed64_avx512 && only_few(allow, TABLE_BYTES)) return contiguous_few(out, allow, column, n);
#endif
    size_t done = 0;
    for (; done + 64 <= n; done += 64) vch_put_u64(out + done / 8, fn(allow, column + done));
    return done;
}

static uint64_t mask_and_count(uint8_t *out, const uint8_t *live, size_t bytes)
{
    uint64_t count = 0;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t bits = vch_get_u64(out + i) & vch_get_u64(live + i);
        vch_put_u64(out + i, bits);
        count += (uint64_t)__builtin_popcountll(bits);
    }
    return count;
}

uint64_t vch_permitted_rows(uint8_t *out, const uint8_t *allow, const uint16_t *column, size_t column_n,
                            const uint8_t *live, uint32_t count, uint32_t first, const uint32_t *subjects)
{
    uint8_t table[TABLE_BYTES + TABLE_SLACK] = {0};
    memcpy(table, allow, TABLE_BYTES);
    table[0] &= 0x7f; /* index 0: nothing was given */
    size_t bytes = vch_set_bytes(count), row = 0;
    memset(out, 0, bytes);
    if (!subjects && first < column_n) row = contiguous(out, table, column + first, vch_min(count, column_n - first));
    for (; row < count; row++) {
        uint64_t subject = subjects ? subjects[row] : (uint64_t)first + row;
        if (one_allowed(table, column, column_n, subject)) vch_bit_set(out, row);
    }
    return mask_and_count(out, live, bytes);
}
