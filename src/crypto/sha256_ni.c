/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 with the SHA extensions of x86.  One SHA256RNDS2 waits for the one
 * before it, so a second, independent stream runs in the gaps.  How much that
 * gains depends on the processor: the schedule's instructions share the unit. */
#include "crypto/sha256_impl.h"

#if VCH_SHA256_X86

#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define INLINE TARGET static inline __attribute__((always_inline))

/* The instructions want the state as (a b e f) and (c d g h). */
typedef struct {
    __m128i abef, cdgh, m[4];
} stream_t;

INLINE void state_load(stream_t *s, const uint32_t h[8])
{
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1b);
    s->abef = _mm_alignr_epi8(cdab, efgh, 8);
    s->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

INLINE void state_store(const stream_t *s, uint32_t h[8])
{
    __m128i feba = _mm_shuffle_epi32(s->abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(s->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

INLINE __m128i words_load(const uint8_t *p)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p), swap);
}

INLINE void block_load(stream_t *s, const uint8_t *p)
{
    s->m[0] = words_load(p);
    s->m[1] = words_load(p + 16);
    s->m[2] = words_load(p + 32);
    s->m[3] = words_load(p + 48);
}

/* Four rounds with the words m and the constants k. */
INLINE void rounds(stream_t *s, __m128i m, const uint32_t *k)
{
    __m128i wk = _mm_add_epi32(m, _mm_load_si128((const __m128i *)k));
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, wk);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

/* W[t..t+3] from the sixteen words before them, oldest first. */
INLINE __m128i expand(__m128i m0, __m128i m1, __m128i m2, __m128i m3)
{
    return _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(m0, m1), _mm_alignr_epi8(m3, m2, 4)), m3);
}

INLINE void first(stream_t *s, size_t i) { rounds(s, s->m[i], vch__sha256_k + 4 * i); }
INLINE void later(stream_t *s, size_t i, size_t t)
{
    s->m[i] = expand(s->m[i], s->m[(i + 1) & 3], s->m[(i + 2) & 3], s->m[(i + 3) & 3]);
    rounds(s, s->m[i], vch__sha256_k + t + 4 * i);
}

TARGET void vch__sha256_ni(uint32_t h[8], const uint8_t *p, size_t blocks)
{
    stream_t s;
    state_load(&s, h);
    for (; blocks > 0; blocks--, p += 64) {
        __m128i abef = s.abef, cdgh = s.cdgh;
        block_load(&s, p);
        first(&s, 0);
        first(&s, 1);
        first(&s, 2);
        first(&s, 3);
        for (size_t t = 16; t < 64; t += 16) {
            later(&s, 0, t);
            later(&s, 1, t);
            later(&s, 2, t);
            later(&s, 3, t);
        }
        s.abef = _mm_add_epi32(s.abef, abef);
        s.cdgh = _mm_add_epi32(s.cdgh, cdgh);
    }
    state_store(&s, h);
}

INLINE void pair_block(stream_t *s, stream_t *r)
{
    first(s, 0), first(r, 0);
    first(s, 1), first(r, 1);
    first(s, 2), first(r, 2);
    first(s, 3), first(r, 3);
    for (size_t t = 16; t < 64; t += 16) {
        later(s, 0, t), later(r, 0, t);
        later(s, 1, t), later(r, 1, t);
        later(s, 2, t), later(r, 2, t);
        later(s, 3, t), later(r, 3, t);
    }
}

TARGET void vch__sha256_ni_pair(uint32_t ha[8], const uint8_t *a, uint32_t hb[8], const uint8_t *b, size_t blocks)
{
    stream_t s, r;
    state_load(&s, ha);
    state_load(&r, hb);
    for (; blocks > 0; blocks--, a += 64, b += 64) {
        __m128i s_abef = s.abef, s_cdgh = s.cdgh, r_abef = r.abef, r_cdgh = r.cdgh;
        block_load(&s, a);
        block_load(&r, b);
        pair_block(&s, &r);
        s.abef = _mm_add_epi32(s.abef, s_abef);
        s.cdgh = _mm_add_epi32(s.cdgh, s_cdgh);
        r.abef = _mm_add_epi32(r.abef, r_abef);
        r.cdgh = _mm_add_epi32(r.cdgh, r_cdgh);
    }
    state_store(&s, ha);
    state_store(&r, hb);
}

#endif
