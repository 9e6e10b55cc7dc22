/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4): which kernel runs, and how messages reach it.
 *
 * Many messages are read through feeds: each hands out blocks, pointing into
 * the message where 64 bytes lie together and copying only where parts meet
 * or padding begins.  Lanes take the next message as soon as theirs ends. */
#include "crypto/sha256_impl.h"

#include <assert.h>
#include <stdatomic.h>

#if VCH_SHA256_X86
#include <cpuid.h>
#endif

/* FIPS 180-4 section 5.3.3. */
static const uint32_t iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* ---- what this processor can --------------------------------------------- */

enum { CAP_KNOWN = 1, CAP_NI = 2, CAP_AVX512 = 4 };

#if VCH_SHA256_X86
/* Whether the operating system saves the 512-bit registers. */
static bool os_saves_zmm(void)
{
    uint32_t lo, hi;
    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & 0xe6) == 0xe6;
}

static unsigned caps_read(void)
{
    unsigned a, b, c, d, leaf1_c, caps = CAP_KNOWN;
    if (!__get_cpuid(1, &a, &b, &leaf1_c, &d)) return caps;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return caps;
    bool sse41 = (leaf1_c & bit_SSE4_1) && (leaf1_c & bit_SSSE3);
    if (sse41 && (b & bit_SHA)) caps |= CAP_NI;
    bool avx512 = (b & bit_AVX512F) && (b & bit_AVX512BW);
    if (avx512 && (leaf1_c & bit_OSXSAVE) && os_saves_zmm()) caps |= CAP_AVX512;
    return caps;
}
#else
static unsigned caps_read(void) { return CAP_KNOWN; }
#endif

/* Threads that ask at the same time all find the same answer. */
static unsigned caps(void)
{
    static _Atomic unsigned known;
    unsigned ret = atomic_load_explicit(&known, memory_order_relaxed);
    if (ret == 0) {
        ret = caps_read();
        atomic_store_explicit(&known, ret, memory_order_relaxed);
    }
    return ret;
}

/* ---- which way to go ------------------------------------------------------ */

static _Atomic int chosen = VCH_SHA_AUTO;

typedef struct {
    bool ni;
    size_t wide_min; /* as many messages at once are worth sixteen lanes */
} way_t;

/* Sixteen lanes cost the same however many are used: about as much as eight
 * messages by SHA-NI, or one and a half in plain C (measured on one Xeon). */
static way_t way(void)
{
    unsigned can = caps();
    switch (atomic_load_explicit(&chosen, memory_order_relaxed)) {
    case VCH_SHA_PORTABLE:
        return (way_t){false, SIZE_MAX};
    case VCH_SHA_NI:
        return (way_t){true, SIZE_MAX};
    case VCH_SHA_AVX512:
        return (way_t){false, 1};
    default:
        break;
    }
    bool ni = can & CAP_NI;
    return (way_t){ni, !(can & CAP_AVX512) ? SIZE_MAX : ni ? 9 : 2};
}

bool vch_sha256_use(vch_sha_path_t path)
{
    if (path == VCH_SHA_NI && !(caps() & CAP_NI)) return false;
    if (path == VCH_SHA_AVX512 && !(caps() & CAP_AVX512)) return false;
    atomic_store_explicit(&chosen, (int)path, memory_order_relaxed);
    return true;
}

const char *vch_sha256_path_name(void)
{
    way_t w = way();
    if (w.wide_min == SIZE_MAX) return w.ni ? "sha-ni" : "portable";
    return w.ni ? "sha-ni and avx512" : "avx512";
}

static void blocks_one(way_t w, uint32_t h[8], const uint8_t *p, size_t blocks)
{
#if VCH_SHA256_X86
    if (w.ni) {
        vch__sha256_ni(h, p, blocks);
        return;
    }
#endif
    (void)w;
    vch__sha256_portable(h, p, blocks);
}

static void blocks_two(way_t w, uint32_t ha[8], const uint8_t *a, uint32_t hb[8], const uint8_t *b, size_t blocks)
{
#if VCH_SHA256_X86
    if (w.ni) {
        vch__sha256_ni_pair(ha, a, hb, b, blocks);
        return;
    }
#endif
    blocks_one(w, ha, a, blocks);
    blocks_one(w, hb, b, blocks);
}

static void hash_put(vch_hash_t *ret, const uint32_t h[8])
{
    for (size_t i = 0; i < 8; i++) vch_put_u32(ret->b + 4 * i, h[i]);
}

/* ---- one stream ----------------------------------------------------------- */

void vch_sha256_init(vch_sha256_t *s)
{
    memcpy(s->h, iv, sizeof iv);
    s->bytes = 0;
}

void vch_sha256_add(vch_sha256_t *s, const void *data, size_t n)
{
    if (n == 0) return;
    const uint8_t *p = data;
    size_t have = s->bytes % 64;
    s->bytes += n;
    way_t w = way();
    if (have > 0) {
        size_t take = vch_min(64 - have, n);
        memcpy(s->block + have, p, take);
        p += take, n -= take;
        if (have + take < 64) return;
        blocks_one(w, s->h, s->block, 1);
    }
    if (n >= 64) blocks_one(w, s->h, p, n / 64);
    if (n % 64 > 0) memcpy(s->block, p + n - n % 64, n % 64);
}

/* FIPS 180-4 section 5.1.1: a one bit, zeros, and the length in bits. */
void vch_sha256_end(vch_sha256_t *s, vch_hash_t *ret)
{
    size_t have = s->bytes % 64;
    way_t w = way();
    s->block[have++] = 0x80;
    memset(s->block + have, 0, 64 - have);
    if (have > 56) {
        blocks_one(w, s->h, s->block, 1);
        memset(s->block, 0, 56);
    }
    vch_put_u64(s->block + 56, s->bytes * 8);
    blocks_one(w, s->h, s->block, 1);
    hash_put(ret, s->h);
}

void vch_sha256(vch_hash_t *ret, const void *p, size_t n)
{
    vch_sha256_t s;
    vch_sha256_init(&s);
    vch_sha256_add(&s, p, n);
    vch_sha256_end(&s, ret);
}

/* ---- lanes: one message each ---------------------------------------------- */

typedef struct {
    const uint8_t *p; /* `run` blocks that come next; at least one while the lane is on */
    size_t run;
    uint32_t h[8];
    vch_slice_t part[3]; /* what is left of them, from part[at] */
    size_t at, fill;     /* fill: bytes already in `block` */
    uint64_t bytes;      /* of the whole message */
    bool marked, ended;  /* the one bit is placed; so is the length */
    vch_hash_t *ret;
    uint8_t block[64];
} lane_t;

/* Messages in the order they are asked for. */
typedef struct source source_t;
struct source {
    void (*open)(const source_t *, lane_t *, size_t i); /* sets the parts, may begin the block */
    const void *items;
    size_t len, stride, i, n;
    uint8_t prefix;
    vch_hash_t *ret;
};

static void lane_pad(lane_t *l)
{
    if (!l->marked) l->block[l->fill++] = 0x80;
    l->marked = true;
    memset(l->block + l->fill, 0, 64 - l->fill);
    if (l->fill > 56) return;
    vch_put_u64(l->block + 56, l->bytes * 8);
    l->ended = true;
}

/* Find the next blocks; false when the message has ended. */
static bool lane_fill(lane_t *l)
{
    if (l->ended) return false;
    while (l->at < 3 && l->fill < 64) {
        vch_slice_t *part = &l->part[l->at];
        if (l->fill == 0 && part->n >= 64) {
            l->p = part->p;
            l->run = part->n / 64;
            *part = vch_slice(part->p + 64 * l->run, part->n % 64);
            return true;
        }
        size_t take = vch_min(64 - l->fill, part->n);
        if (take > 0) {
            memcpy(l->block + l->fill, part->p, take);
            *part = vch_slice(part->p + take, part->n - take);
        }
        l->fill += take;
        if (part->n == 0) l->at++;
    }
    if (l->fill < 64) lane_pad(l);
    l->p = l->block;
    l->run = 1;
    l->fill = 0;
    return true;
}

static bool lane_open(lane_t *l, source_t *src)
{
    if (src->i == src->n) return false;
    memset(l->part, 0, sizeof l->part);
    memcpy(l->h, iv, sizeof iv);
    l->at = l->fill = 0;
    l->marked = l->ended = false;
    l->ret = src->ret + src->i;
    src->open(src, l, src->i++);
    l->bytes = l->fill;
    for (size_t k = 0; k < 3; k++) l->bytes += l->part[k].n;
    return lane_fill(l);
}

/* k blocks were hashed; false when this lane has nothing more to do. */
static bool lane_step(lane_t *l, size_t k, source_t *src)
{
    l->p += 64 * k;
    l->run -= k;
    if (l->run > 0 || lane_fill(l)) return true;
    hash_put(l->ret, l->h);
    return lane_open(l, src);
}

/* Step the first `used` of n lanes; those that end are replaced from behind. */
static size_t lanes_step(lane_t **on, size_t n, size_t used, size_t k, source_t *src)
{
    for (size_t i = used; i-- > 0;) {
        if (!lane_step(on[i], k, src)) on[i] = on[--n];
    }
    return n;
}

#if VCH_SHA256_X86
static size_t run_wide(way_t w, lane_t **on, size_t n, source_t *src)
{
    uint32_t *h[VCH_SHA256_LANES];
    const uint8_t *p[VCH_SHA256_LANES];
    while (n >= w.wide_min && n > 0) {
        size_t k = SIZE_MAX;
        for (size_t i = 0; i < VCH_SHA256_LANES; i++) {
            lane_t *l = on[i < n ? i : 0]; /* an idle lane repeats the first */
            h[i] = l->h;
            p[i] = l->p;
            k = vch_min(k, l->run);
        }
        vch__sha256_avx512(h, p, k);
        n = lanes_step(on, n, n, k, src);
    }
    return n;
}
#endif

static void run(source_t *src)
{
    lane_t lanes[VCH_SHA256_LANES];
    lane_t *on[VCH_SHA256_LANES];
    way_t w = way();
    size_t n = 0, want = src->n < w.wide_min ? 2 : VCH_SHA256_LANES;
    while (n < want && lane_open(&lanes[n], src)) {
        on[n] = &lanes[n];
        n++;
    }
#if VCH_SHA256_X86
    n = run_wide(w, on, n, src);
#endif
    while (n >= 2) {
        size_t k = vch_min(on[0]->run, on[1]->run);
        blocks_two(w, on[0]->h, on[0]->p, on[1]->h, on[1]->p, k);
        n = lanes_step(on, n, 2, k, src);
    }
    while (n == 1) {
        size_t k = on[0]->run;
        blocks_one(w, on[0]->h, on[0]->p, k);
        n = lanes_step(on, n, 1, k, src);
    }
}

/* ---- many messages -------------------------------------------------------- */

static void open_msg(const source_t *src, lane_t *l, size_t i)
{
    const vch_sha256_msg_t *msg = (const vch_sha256_msg_t *)src->items + i;
    memcpy(l->part, msg->part, sizeof l->part);
}

void vch_sha256_many(vch_hash_t *ret, const vch_sha256_msg_t *msgs, size_t n)
{
    source_t src = {.open = open_msg, .items = msgs, .n = n, .ret = ret};
    run(&src);
}

/* RFC 6962 section 2.1: a leaf is hashed behind a zero byte. */
static void open_leaf(const source_t *src, lane_t *l, size_t i)
{
    l->part[0] = ((const vch_slice_t *)src->items)[i];
    l->block[l->fill++] = 0x00;
}

void vch_sha256_leaves(vch_hash_t *ret, const vch_slice_t *data, size_t n)
{
    source_t src = {.open = open_leaf, .items = data, .n = n, .ret = ret};
    run(&src);
}

static void open_fixed(const source_t *src, lane_t *l, size_t i)
{
    l->part[0] = vch_slice((const uint8_t *)src->items + i * src->stride, src->len);
    l->block[l->fill++] = src->prefix;
}

/* ---- messages of one length ----------------------------------------------- */

#define SHORT_BLOCKS 4u /* up to here a message is laid out whole */

/* Prefix and padding stay; only the data is exchanged. */
static void frame_make(uint8_t *f, uint8_t prefix, size_t len, size_t blocks)
{
    memset(f, 0, 64 * blocks);
    f[0] = prefix;
    f[1 + len] = 0x80;
    vch_put_u64(f + 64 * blocks - 8, ((uint64_t)len + 1) * 8);
}

static void fixed_short(way_t w, const source_t *src)
{
    uint8_t a[64 * SHORT_BLOCKS], b[64 * SHORT_BLOCKS];
    uint32_t ha[8], hb[8];
    size_t blocks = (src->len + 1 + 8) / 64 + 1, i = 0;
    frame_make(a, src->prefix, src->len, blocks);
    memcpy(b, a, 64 * blocks);
    const uint8_t *data = src->items;
    for (; i + 2 <= src->n; i += 2) {
        const uint8_t *p = data + i * src->stride;
        memcpy(a + 1, p, src->len);
        memcpy(b + 1, p + src->stride, src->len);
        memcpy(ha, iv, sizeof iv);
        memcpy(hb, iv, sizeof iv);
        blocks_two(w, ha, a, hb, b, blocks);
        hash_put(&src->ret[i], ha);
        hash_put(&src->ret[i + 1], hb);
    }
    if (i == src->n) return;
    memcpy(a + 1, data + i * src->stride, src->len);
    memcpy(ha, iv, sizeof iv);
    blocks_one(w, ha, a, blocks);
    hash_put(&src->ret[i], ha);
}

void vch_sha256_fixed(vch_hash_t *ret, uint8_t prefix, const uint8_t *data, size_t len, size_t stride, size_t n)
{
    static const uint8_t nothing[1];
    if (len == 0) data = nothing, stride = 0; /* NULL is fine then */
    way_t w = way();
#if VCH_SHA256_X86
    while (n > 0 && n >= w.wide_min) {
        size_t lanes = vch_min(n, VCH_SHA256_LANES);
        vch__sha256_avx512_fixed(ret, prefix, data, len, stride, lanes);
        ret += lanes, n -= lanes;
        if (n > 0) data += lanes * stride;
    }
#endif
    if (n == 0) return;
    source_t src = {
        .open = open_fixed, .items = data, .len = len, .stride = stride, .n = n, .prefix = prefix, .ret = ret};
    if (len <= 64 * SHORT_BLOCKS - 10) {
        fixed_short(w, &src);
    } else {
        run(&src);
    }
}

/* In place is safe: a group's hashes end before the next group's pairs begin. */
void vch_sha256_nodes(vch_hash_t *ret, const vch_hash_t *pairs, size_t n)
{
    vch_sha256_fixed(ret, 0x01, (const uint8_t *)pairs, 64, 64, n);
}

/* ---- HMAC and HKDF -------------------------------------------------------- */

/* Both sides of RFC 2104 with the key's block already taken in. */
typedef struct {
    vch_sha256_t inner, outer;
} hmac_t;

static void hmac_init(hmac_t *m, vch_slice_t key)
{
    uint8_t pad[64] = {0};
    if (key.n > 64) {
        vch_hash_t hashed;
        vch_sha256(&hashed, key.p, key.n);
        memcpy(pad, hashed.b, sizeof hashed.b);
        vch_wipe(&hashed, sizeof hashed);
    } else if (key.n > 0) {
        memcpy(pad, key.p, key.n);
    }
    for (size_t i = 0; i < 64; i++) pad[i] ^= 0x36;
    vch_sha256_init(&m->inner);
    vch_sha256_add(&m->inner, pad, 64);
    for (size_t i = 0; i < 64; i++) pad[i] ^= 0x36 ^ 0x5c;
    vch_sha256_init(&m->outer);
    vch_sha256_add(&m->outer, pad, 64);
    vch_wipe(pad, sizeof pad);
}

static void hmac_end(hmac_t *m, vch_hash_t *ret)
{
    vch_sha256_end(&m->inner, ret);
    vch_sha256_add(&m->outer, ret->b, sizeof ret->b);
    vch_sha256_end(&m->outer, ret);
}

void vch_hmac(vch_hash_t *ret, vch_slice_t key, vch_slice_t data)
{
    hmac_t m;
    hmac_init(&m, key);
    vch_sha256_add(&m.inner, data.p, data.n);
    hmac_end(&m, ret);
    vch_wipe(&m, sizeof m);
}

/* RFC 5869 section 2.3: T(i) = HMAC(PRK, T(i-1) ‖ info ‖ i). */
static void hkdf_expand(uint8_t *out, size_t out_n, const vch_hash_t *prk, vch_slice_t info)
{
    hmac_t keyed, m;
    vch_hash_t t;
    hmac_init(&keyed, vch_slice(prk->b, sizeof prk->b));
    for (size_t at = 0, i = 1; at < out_n; at += sizeof t.b, i++) {
        uint8_t counter = (uint8_t)i;
        m = keyed;
        if (i > 1) vch_sha256_add(&m.inner, t.b, sizeof t.b);
        vch_sha256_add(&m.inner, info.p, info.n);
        vch_sha256_add(&m.inner, &counter, 1);
        hmac_end(&m, &t);
        memcpy(out + at, t.b, vch_min(sizeof t.b, out_n - at));
    }
    vch_wipe(&keyed, sizeof keyed);
    vch_wipe(&m, sizeof m);
    vch_wipe(&t, sizeof t);
}

void vch_hkdf(uint8_t *out, size_t out_n, vch_slice_t salt, vch_slice_t ikm, vch_slice_t info)
{
    assert(out_n <= 255 * VCH_HASH_LEN);
    vch_hash_t prk;
    vch_hmac(&prk, salt, ikm); /* section 2.2; an empty salt is a key of zeros */
    hkdf_expand(out, out_n, &prk, info);
    vch_wipe(&prk, sizeof prk);
}
