/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen SHA-256 streams side by side: vector w[t] holds word t of sixteen
 * messages, so each step of FIPS 180-4 is one instruction for all of them.
 *
 *          bytes as they lie                    after transpose16
 *   row 0:  m0w0 m0w1 … m0w15              w[0]:  m0w0 m1w0 … m15w0
 *   row 1:  m1w0 m1w1 … m1w15     ──▶      w[1]:  m0w1 m1w1 … m15w1
 *   …                                      …
 */
#include "crypto/sha256_impl.h"

#if VCH_SHA256_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw")))
#define INLINE TARGET static inline __attribute__((always_inline))

typedef __m512i v16;

#define ADD(a, b) _mm512_add_epi32(a, b)
#define ROR(x, n) _mm512_ror_epi32(x, n)
#define XOR3(a, b, c) _mm512_ternarylogic_epi32(a, b, c, 0x96)
#define CH(e, f, g) _mm512_ternarylogic_epi32(e, f, g, 0xca)
#define MAJ(a, b, c) _mm512_ternarylogic_epi32(a, b, c, 0xe8)
#define SUM0(x) XOR3(ROR(x, 2), ROR(x, 13), ROR(x, 22))
#define SUM1(x) XOR3(ROR(x, 6), ROR(x, 11), ROR(x, 25))
#define SIG0(x) XOR3(ROR(x, 7), ROR(x, 18), _mm512_srli_epi32(x, 3))
#define SIG1(x) XOR3(ROR(x, 17), ROR(x, 19), _mm512_srli_epi32(x, 10))
#define SET1(x) _mm512_set1_epi32((int)(x))

/* Run X(0) … X(15): written out, because the vectors have to stay in
 * registers and a compiler only promises that without an index. */
#define EACH4(X, i) X(i) X((i) + 1) X((i) + 2) X((i) + 3)
#define EACH8(X) EACH4(X, 0) EACH4(X, 4)
#define EACH16(X) EACH8(X) EACH4(X, 8) EACH4(X, 12)

INLINE v16 swap_bytes(v16 x)
{
    return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203)));
}

/* In each quarter: four words of four vectors, rows made columns.  Its own inverse. */
INLINE void transpose4(v16 *a, v16 *b, v16 *c, v16 *d)
{
    v16 ab_lo = _mm512_unpacklo_epi32(*a, *b), ab_hi = _mm512_unpackhi_epi32(*a, *b);
    v16 cd_lo = _mm512_unpacklo_epi32(*c, *d), cd_hi = _mm512_unpackhi_epi32(*c, *d);
    *a = _mm512_unpacklo_epi64(ab_lo, cd_lo);
    *b = _mm512_unpackhi_epi64(ab_lo, cd_lo);
    *c = _mm512_unpacklo_epi64(ab_hi, cd_hi);
    *d = _mm512_unpackhi_epi64(ab_hi, cd_hi);
}

/* The same for whole quarters: the rest of a 16 by 16 transposition. */
INLINE void transpose_quarters(v16 *a, v16 *b, v16 *c, v16 *d)
{
    v16 ab_lo = _mm512_shuffle_i32x4(*a, *b, 0x88), ab_hi = _mm512_shuffle_i32x4(*a, *b, 0xdd);
    v16 cd_lo = _mm512_shuffle_i32x4(*c, *d, 0x88), cd_hi = _mm512_shuffle_i32x4(*c, *d, 0xdd);
    *a = _mm512_shuffle_i32x4(ab_lo, cd_lo, 0x88);
    *b = _mm512_shuffle_i32x4(ab_hi, cd_hi, 0x88);
    *c = _mm512_shuffle_i32x4(ab_lo, cd_lo, 0xdd);
    *d = _mm512_shuffle_i32x4(ab_hi, cd_hi, 0xdd);
}

/* Rows of message bytes become vectors of words.  w[4i + r] of the small
 * transposition holds word r of every quarter, so quarters go to w[4q + r]. */
INLINE void transpose16(v16 w[16])
{
#define SWAP(i) w[i] = swap_bytes(w[i]);
    EACH16(SWAP)
#undef SWAP
    transpose4(&w[0], &w[1], &w[2], &w[3]);
    transpose4(&w[4], &w[5], &w[6], &w[7]);
    transpose4(&w[8], &w[9], &w[10], &w[11]);
    transpose4(&w[12], &w[13], &w[14], &w[15]);
    transpose_quarters(&w[0], &w[4], &w[8], &w[12]);
    transpose_quarters(&w[1], &w[5], &w[9], &w[13]);
    transpose_quarters(&w[2], &w[6], &w[10], &w[14]);
    transpose_quarters(&w[3], &w[7], &w[11], &w[15]);
}

#define ROUND(a, b, c, d, e, f, g, h, i)                                                                               \
    do {                                                                                                               \
        v16 t1_ = ADD(ADD(ADD(h, w[i]), SET1(k[i])), ADD(SUM1(e), CH(e, f, g)));                                       \
        d = ADD(d, t1_);                                                                                               \
        h = ADD(t1_, ADD(SUM0(a), MAJ(a, b, c)));                                                                      \
    } while (0);

INLINE void rounds8(v16 s[8], const v16 *w, const uint32_t *k){
    ROUND(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], 0) ROUND(s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6], 1)
        ROUND(s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5], 2)
            ROUND(s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4], 3)
                ROUND(s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3], 4)
                    ROUND(s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2], 5)
                        ROUND(s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1], 6)
                            ROUND(s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0], 7)}

INLINE void rounds16(v16 s[8], const v16 w[16], const uint32_t *k)
{
    rounds8(s, w, k);
    rounds8(s, w + 8, k + 8);
}

#define EXPAND(i) w[i] = ADD(ADD(w[i], SIG0(w[((i) + 1) & 15])), ADD(w[((i) + 9) & 15], SIG1(w[((i) + 14) & 15])));
INLINE void expand16(v16 w[16]){EACH16(EXPAND)}

/* As expand16 when words 1 to 14 are zero: what those add is left out. */
INLINE void expand16_sparse(v16 w[16])
{
    v16 w15 = w[15];
#define TAIL_A(i) w[i] = SIG1(w[((i) + 14) & 15]);
#define TAIL_B(i) w[i] = ADD(w[((i) + 9) & 15], SIG1(w[((i) + 14) & 15]));
    EACH4(TAIL_A, 1)
    TAIL_A(5)
    EACH4(TAIL_B, 6)
    EACH4(TAIL_B, 10)
#undef TAIL_A
#undef TAIL_B
    w[14] = ADD(SIG0(w15), ADD(w[7], SIG1(w[12])));
    w[15] = ADD(ADD(w15, SIG0(w[0])), ADD(w[8], SIG1(w[13])));
}

INLINE void add8(v16 s[8], const v16 before[8])
{
#define ADD_TO(i) s[i] = ADD(s[i], before[i]);
    EACH8(ADD_TO)
#undef ADD_TO
}

#define COPY(i) before[i] = s[i];
INLINE void compress(v16 s[8], v16 w[16])
{
    v16 before[8];
    EACH8(COPY)
    rounds16(s, w, vch__sha256_k);
    for (size_t t = 16; t < 64; t += 16) {
        expand16(w);
        rounds16(s, w, vch__sha256_k + t);
    }
    add8(s, before);
}

/* A last block whose only words are the first and the length. */
INLINE void compress_sparse(v16 s[8], v16 first, uint64_t bits)
{
    v16 before[8], w[16];
#define ZERO(i) w[i] = _mm512_setzero_si512();
    EACH16(ZERO)
#undef ZERO
    w[0] = first;
    w[15] = SET1((uint32_t)bits);
    EACH8(COPY)
    rounds16(s, w, vch__sha256_k);
    expand16_sparse(w);
    rounds16(s, w, vch__sha256_k + 16);
    for (size_t t = 32; t < 64; t += 16) {
        expand16(w);
        rounds16(s, w, vch__sha256_k + t);
    }
    add8(s, before);
}

INLINE v16 quarters(const uint32_t *a, const uint32_t *b, const uint32_t *c, const uint32_t *d)
{
    v16 x = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)a));
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)b), 1);
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)c), 2);
    return _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)d), 3);
}

INLINE void states_load(v16 s[8], uint32_t *const h[16])
{
#define ROW(i) s[i] = quarters(h[i], h[(i) + 4], h[(i) + 8], h[(i) + 12]);
    EACH4(ROW, 0)
#undef ROW
#define ROW(i) s[i] = quarters(h[(i)-4] + 4, h[i] + 4, h[(i) + 4] + 4, h[(i) + 8] + 4);
    EACH4(ROW, 4)
#undef ROW
    transpose4(&s[0], &s[1], &s[2], &s[3]);
    transpose4(&s[4], &s[5], &s[6], &s[7]);
}

INLINE void quarters_store(v16 x, void *a, void *b, void *c, void *d)
{
    _mm_storeu_si128((__m128i *)a, _mm512_castsi512_si128(x));
    _mm_storeu_si128((__m128i *)b, _mm512_extracti32x4_epi32(x, 1));
    _mm_storeu_si128((__m128i *)c, _mm512_extracti32x4_epi32(x, 2));
    _mm_storeu_si128((__m128i *)d, _mm512_extracti32x4_epi32(x, 3));
}

INLINE void states_store(v16 s[8], uint32_t *const h[16])
{
    transpose4(&s[0], &s[1], &s[2], &s[3]);
    transpose4(&s[4], &s[5], &s[6], &s[7]);
#define ROW(i) quarters_store(s[i], h[i], h[(i) + 4], h[(i) + 8], h[(i) + 12]);
    EACH4(ROW, 0)
#undef ROW
#define ROW(i) quarters_store(s[i], h[(i)-4] + 4, h[i] + 4, h[(i) + 4] + 4, h[(i) + 8] + 4);
    EACH4(ROW, 4)
#undef ROW
}

TARGET void vch__sha256_avx512(uint32_t *const h[VCH_SHA256_LANES], const uint8_t *const p[VCH_SHA256_LANES],
                               size_t blocks)
{
    v16 s[8], w[16];
    states_load(s, h);
    for (size_t at = 0; at < 64 * blocks; at += 64) {
#define LOAD(i) w[i] = _mm512_loadu_si512(p[i] + at);
        EACH16(LOAD)
#undef LOAD
        transpose16(w);
        compress(s, w);
    }
    states_store(s, h);
}

/* ---- whole messages of one length ---------------------------------------
 * Block b of prefix ‖ data ‖ padding is, for every lane, 64 bytes that begin
 * one before data + 64b, with the same bytes laid over: the prefix in front
 * and the padding behind.  A masked load does both, and touches nothing
 * outside the data. */

typedef struct {
    uint8_t over[64]; /* what is not data */
    uint64_t mask;    /* which bytes are data */
} frame_t;

static void frame_make(frame_t *f, uint8_t prefix, size_t len, size_t b)
{
    size_t total = len + 1, at = 64 * b;
    size_t here = at < total ? vch_min(total - at, 64) : 0;
    memset(f->over, 0, 64);
    f->mask = here == 64 ? UINT64_MAX : (UINT64_C(1) << here) - 1;
    if (b == 0) {
        f->over[0] = prefix;
        f->mask &= ~UINT64_C(1);
    }
    if (here < 64 && total >= at) f->over[here] = 0x80;
    if (here < 56) vch_put_u64(f->over + 56, (uint64_t)total * 8);
}

/* Word 0 of a last block with at most three bytes of data. */
INLINE v16 words_last(const uint8_t *const p[16], size_t at, size_t n)
{
    uint32_t first[16];
    for (size_t i = 0; i < 16; i++) {
        uint32_t word = 0;
        for (size_t k = 0; k < n; k++) word = word << 8 | p[i][at + k];
        first[i] = (word << 8 | 0x80) << (8 * (3 - n));
    }
    return _mm512_loadu_si512(first);
}

/* Through an integer: for block 0 this is one byte before the object, which
 * the mask keeps from being read. */
INLINE v16 row_load(const frame_t *f, const uint8_t *p, size_t b)
{
    const void *at = (const void *)((uintptr_t)p + 64 * b - 1);
    return _mm512_mask_loadu_epi8(_mm512_loadu_si512(f->over), f->mask, at);
}

INLINE void hashes_store(v16 s[8], vch_hash_t *ret)
{
#define SWAP(i) s[i] = swap_bytes(s[i]);
    EACH8(SWAP)
#undef SWAP
    transpose4(&s[0], &s[1], &s[2], &s[3]);
    transpose4(&s[4], &s[5], &s[6], &s[7]);
#define ROW(i) quarters_store(s[i], ret[i].b, ret[(i) + 4].b, ret[(i) + 8].b, ret[(i) + 12].b);
    EACH4(ROW, 0)
#undef ROW
#define ROW(i) quarters_store(s[i], ret[(i)-4].b + 16, ret[i].b + 16, ret[(i) + 4].b + 16, ret[(i) + 8].b + 16);
    EACH4(ROW, 4)
#undef ROW
}

INLINE void iv_load(v16 s[8])
{
    /* FIPS 180-4 section 5.3.3. */
    s[0] = SET1(0x6a09e667), s[1] = SET1(0xbb67ae85), s[2] = SET1(0x3c6ef372), s[3] = SET1(0xa54ff53a);
    s[4] = SET1(0x510e527f), s[5] = SET1(0x9b05688c), s[6] = SET1(0x1f83d9ab), s[7] = SET1(0x5be0cd19);
}

TARGET void vch__sha256_avx512_fixed(vch_hash_t *ret, uint8_t prefix, const uint8_t *data, size_t len, size_t stride,
                                     size_t lanes)
{
    const uint8_t *p[16];
    for (size_t i = 0; i < 16; i++) p[i] = data + (i < lanes ? i : 0) * stride;
    size_t blocks = (len + 1 + 8) / 64 + 1, rest = (len + 1) % 64;
    bool sparse = blocks > 1 && rest <= 3;
    v16 s[8], w[16];
    iv_load(s);
    for (size_t b = 0; b < blocks - sparse; b++) {
        frame_t f;
        frame_make(&f, prefix, len, b);
#define LOAD(i) w[i] = row_load(&f, p[i], b);
        EACH16(LOAD)
#undef LOAD
        transpose16(w);
        compress(s, w);
    }
    if (sparse) compress_sparse(s, words_last(p, len - rest, rest), (uint64_t)(len + 1) * 8);
    if (lanes == VCH_SHA256_LANES) {
        hashes_store(s, ret);
        return;
    }
    vch_hash_t all[VCH_SHA256_LANES];
    hashes_store(s, all);
    memcpy(ret, all, lanes * sizeof *ret);
}

#endif
