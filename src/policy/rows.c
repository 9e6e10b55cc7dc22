/* SPDX-License-Identifier: Apache-2.0 */
/* Rows by table look-up.  The contiguous case is the hot one: 64 rows at a
 * time, each bit fetched from the 8 KiB table of allowed palette indices,
 * with AVX-512 sixteen at a time by gather. */
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

/* Whole groups of 64 rows whose subjects are all in the column. */
static size_t contiguous(uint8_t *out, const uint8_t *allow, const uint16_t *column, size_t n)
{
    allowed64_fn fn = choose();
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
