/* SPDX-License-Identifier: Apache-2.0 */
/* 2^20 record keys from three of five trustees: requests, seeds out of their
 * stores, signatures, boxes, derivation; beside it threshold ElGamal over
 * ristretto255, where a trustee makes a partial decryption and a proof (DLEQ) for
 * each record, and the requester checks three of them and combines.  One core
 * each, all work added up. */
#include <ftw.h>
#include <sodium.h>
#include <unistd.h>

#include "bench.h"
#include "crypto/keys.h"
#include "crypto/keytree.h"
#include "crypto/seal.h"
#include "entry/vault.h"
#include "merkle/keyroot.h"
#include "node/seeds.h"
#include "port/real.h"

#define N 5u
#define T 3u
#define ROUNDS 3
#define ROWS VCH_KT_ROWS_MAX
#define WINDOW_NODES VCH_VAULT_NODES_MAX
#define SAMPLE 200u /* records of ElGamal, scaled up */

static void die(const char *what)
{
    fprintf(stderr, "bench: %s failed\n", what);
    exit(1);
}

typedef struct {
    char dir[512];
    vch_seeds_t *store[N];
    vch_signer_t *key[N + 1]; /* the last: the requester's */
    vch_tree_about_t about;
    uint8_t *bits;
    uint64_t bytes; /* moved in the last round */
    uint8_t *seed;  /* sets × nodes of a window */
    vch_release_t *ask;
} release_t;

/* ---- five stores of seeds ------------------------------------------------------------------- */

static void deal(release_t *b)
{
    vch_hash_t root[VCH_VAULT_HELD_MAX] = {{{0}}};
    for (unsigned p = 0; p < N; p++) {
        char path[600];
        uint8_t seeds[VCH_VAULT_HELD_MAX * 32];
        unsigned held = 0;
        for (unsigned set = 0; set < vch_kt_sets(N, T); set++)
            if (vch_kt_holds(vch_kt_set(N, T, set), p)) memset(seeds + 32 * held++, (int)set + 1, 32);
        snprintf(path, sizeof path, "%s/%u", b->dir, p);
        if (vch_seeds_open(&b->store[p], vch_port_real(), path, NULL, NULL) != VCH_OK) die("a store");
        if (vch_seeds_add(b->store[p], &b->about, (uint8_t)p, seeds, root, NULL) != VCH_OK) die("adding seeds");
    }
}

/* ---- one window: a request and an answer for each set ---------------------------------------- */

static vch_rc take_node(void *ctx, vch_kt_node_t node)
{
    vch_release_t *r = ctx;
    if (r->nodes == WINDOW_NODES) return VCH_ERR_LIMIT;
    r->node[r->nodes++] = node;
    return VCH_OK;
}

static void trustee(release_t *b, unsigned p, vch_slice_t request, vch_buf_t *answer, vch_buf_t *box)
{
    static uint8_t seeds[WINDOW_NODES * 32];
    static vch_hash_t leaf[WINDOW_NODES];
    static vch_release_t r;
    vch_cose_t m;
    vch_seeds_answer_t a;
    vch_buf_t payload;
    uint8_t random[32];
    randombytes_buf(random, sizeof random);
    if (vch_cose_read(&m, request) != VCH_OK || vch_cose_verify(&m, vch_signer_public(b->key[N]), NULL) != VCH_OK ||
        vch_release_get(&r, m.payload) != VCH_OK)
        die("a request");
    if (vch_seeds_get_all(b->store[p], &r.extent, r.set, r.node, r.nodes, seeds, NULL) != VCH_OK) die("seeds");
    vch_buf_init(&payload, 1024);
    if (vch_answer_make(&a, &r, seeds, leaf) != VCH_OK || vch_answer_put(&payload, &a) != VCH_OK ||
        vch_cose_sign(answer, b->key[p], vch_buf_slice(&payload), NULL) != VCH_OK ||
        vch_answer_seal(box, &r, seeds, random) != VCH_OK)
        die("an answer");
    vch_buf_free(&payload);
}

static void ask_set(release_t *b, unsigned set)
{
    static vch_hash_t leaf[WINDOW_NODES];
    uint8_t random[32], secret[32];
    vch_buf_t payload, request, answer, box;
    vch_cose_t m;
    vch_seeds_answer_t a;
    unsigned p = 0;
    while (!vch_kt_holds(vch_kt_set(N, T, set), p)) p++;
    randombytes_buf(random, sizeof random);
    b->ask->set = (uint8_t)set;
    vch_buf_init(&payload, 1u << 17);
    vch_buf_init(&request, 1u << 17);
    vch_buf_init(&answer, 4096);
    vch_buf_init(&box, 1u << 18);
    if (vch_seal_pair(b->ask->key, secret, random) != VCH_OK || vch_release_put(&payload, b->ask) != VCH_OK ||
        vch_cose_sign(&request, b->key[N], vch_buf_slice(&payload), NULL) != VCH_OK)
        die("asking");
    trustee(b, p, vch_buf_slice(&request), &answer, &box);
    if (vch_cose_read(&m, vch_buf_slice(&answer)) != VCH_OK ||
        vch_cose_verify(&m, vch_signer_public(b->key[p]), NULL) != VCH_OK || vch_answer_get(&a, m.payload) != VCH_OK ||
        vch_answer_open(b->seed + (size_t)set * WINDOW_NODES * 32, leaf, b->ask, &a, vch_buf_slice(&box), secret) !=
            VCH_OK)
        die("opening an answer");
    b->bytes += request.n + answer.n + box.n;
    vch_buf_free(&payload);
    vch_buf_free(&request);
    vch_buf_free(&answer);
    vch_buf_free(&box);
}

/* Keys of the leaves of one block, below nodes [from, to). */
static void derive(release_t *b, uint32_t block, uint32_t from, uint32_t to)
{
    static uint8_t sum[VCH_KT_BLOCK * 32], leaf[VCH_KT_BLOCK * 32];
    static vch_kt_seed_t seed[WINDOW_NODES];
    memset(sum, 0, sizeof sum);
    for (unsigned set = 0; set < vch_kt_sets(N, T); set++) {
        for (uint32_t i = from; i < to; i++) {
            seed[i - from].node = b->ask->node[i];
            memcpy(seed[i - from].key, b->seed + ((size_t)set * WINDOW_NODES + i) * 32, 32);
        }
        bool whole = seed->node.level <= VCH_KT_BLOCK_LEVEL;
        if (!(whole ? vch_kt_leaves(leaf, seed, block * VCH_KT_BLOCK, VCH_KT_BLOCK)
                    : vch_kt_spread(leaf, seed, to - from, block)))
            die("leaves");
        vch_kt_add(sum, leaf, VCH_KT_BLOCK);
    }
    vch_kt_record_keys(sum, sum, &b->about.extent, block * VCH_KT_BLOCK, VCH_KT_BLOCK);
}

static void derive_all_of(release_t *b, uint32_t first, uint32_t rows)
{
    uint32_t from = 0, to;
    for (uint32_t row = first; row < first + rows; row += VCH_KT_BLOCK) {
        while (from < b->ask->nodes && vch_kt_first(b->ask->node[from]) + vch_kt_count(b->ask->node[from]) <= row)
            from++;
        for (to = from; to < b->ask->nodes && vch_kt_first(b->ask->node[to]) < row + VCH_KT_BLOCK;) to++;
        if (from < to) derive(b, row / VCH_KT_BLOCK, from, to);
    }
}

static void window(release_t *b, uint32_t first, uint32_t rows)
{
    b->ask->nodes = 0;
    if (vch_kt_cover(b->bits + first / 8, rows, 0, take_node, b->ask) != VCH_OK) die("a cover");
    for (uint32_t i = 0; i < b->ask->nodes; i++)
        b->ask->node[i].number += first >> (VCH_KT_LEAF_LEVEL - b->ask->node[i].level);
    if (b->ask->nodes == 0) return;
    for (unsigned set = 0; set < vch_kt_sets(N, T); set++) ask_set(b, set);
    derive_all_of(b, first, rows);
}

/* Records a second, of those that are permitted. */
static double release_all(void *ctx)
{
    release_t *b = ctx;
    uint32_t rows = 0, step = b->bits[1] == 0xff && b->bits[2] == 0xff && b->bits[3] == 0xff ? ROWS : 8192;
    b->bytes = 0;
    for (uint32_t i = 0; i < ROWS / 8; i++) rows += (uint32_t)__builtin_popcount(b->bits[i]);
    double start = bench_now();
    for (uint32_t first = 0; first < ROWS; first += step) window(b, first, step);
    return rows / (bench_now() - start);
}

/* ---- threshold ElGamal ---------------------------------------------------------------------------- */

typedef struct {
    uint8_t s[32], p[32];
} pair_t;

static void challenge(uint8_t ret[32], const uint8_t *base, const uint8_t *share, const uint8_t *a, const uint8_t *c)
{
    uint8_t text[128], hash[64];
    memcpy(text, base, 32);
    memcpy(text + 32, share, 32);
    memcpy(text + 64, a, 32);
    memcpy(text + 96, c, 32);
    crypto_hash_sha512(hash, text, sizeof text);
    crypto_core_ristretto255_scalar_reduce(ret, hash);
}

/* share = c1^s, and that log_g(pub) = log_c1(share): commitment pair, answer. */
static void partial(uint8_t share[32], uint8_t proof[96], const uint8_t c1[32], const pair_t *own)
{
    uint8_t k[32], e[32], es[32];
    crypto_core_ristretto255_scalar_random(k);
    if (crypto_scalarmult_ristretto255(share, own->s, c1) || crypto_scalarmult_ristretto255_base(proof, k) ||
        crypto_scalarmult_ristretto255(proof + 32, k, c1))
        die("ElGamal");
    challenge(e, c1, share, proof, proof + 32);
    crypto_core_ristretto255_scalar_mul(es, e, own->s);
    crypto_core_ristretto255_scalar_add(proof + 64, k, es);
}

static void check(const uint8_t share[32], const uint8_t proof[96], const uint8_t c1[32], const uint8_t pub[32])
{
    uint8_t e[32], l[32], r[32], x[32];
    challenge(e, c1, share, proof, proof + 32);
    if (crypto_scalarmult_ristretto255_base(l, proof + 64) || crypto_scalarmult_ristretto255(x, e, pub)) die("ElGamal");
    crypto_core_ristretto255_add(r, proof, x);
    if (memcmp(l, r, 32) != 0) die("a proof");
    if (crypto_scalarmult_ristretto255(l, proof + 64, c1) || crypto_scalarmult_ristretto255(x, e, share))
        die("ElGamal");
    crypto_core_ristretto255_add(r, proof + 32, x);
    if (memcmp(l, r, 32) != 0) die("a proof");
}

static double elgamal(void *ctx)
{
    (void)ctx;
    pair_t own[T];
    uint8_t c1[32], share[T][32], proof[T][96], sum[32], part[32], weight[32];
    for (unsigned i = 0; i < T; i++) {
        crypto_core_ristretto255_scalar_random(own[i].s);
        if (crypto_scalarmult_ristretto255_base(own[i].p, own[i].s)) die("ElGamal");
    }
    double start = bench_now();
    for (unsigned n = 0; n < SAMPLE; n++) {
        crypto_core_ristretto255_random(c1);
        for (unsigned i = 0; i < T; i++) partial(share[i], proof[i], c1, &own[i]);
        for (unsigned i = 0; i < T; i++) check(share[i], proof[i], c1, own[i].p);
        for (unsigned i = 0; i < T; i++) { /* as Lagrange's weights would */
            crypto_core_ristretto255_scalar_random(weight);
            if (crypto_scalarmult_ristretto255(part, weight, share[i])) die("ElGamal");
            if (i == 0)
                memcpy(sum, part, 32);
            else
                crypto_core_ristretto255_add(sum, sum, part);
        }
    }
    return SAMPLE / (bench_now() - start);
}

/* ---- punctures --------------------------------------------------------------------------------------- */

/* Leaves a second in one batch, all trees of one trustee, durable. */
static double puncture_batch(release_t *b, uint32_t n)
{
    vch_forget_t *leaf = calloc(n, sizeof *leaf);
    uint64_t done = 0;
    if (!leaf) die("memory");
    for (uint32_t i = 0; i < n; i++) leaf[i] = (vch_forget_t){.extent = b->about.extent, .leaf = i * 97};
    double start = bench_now();
    if (vch_seeds_forget(b->store[0], leaf, n, &done, NULL) != VCH_OK || done == 0) die("forgetting");
    double rate = n / (bench_now() - start);
    free(leaf);
    return rate;
}

/* ---- the table --------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static void permit(release_t *b, bool strewn)
{
    uint64_t seed = 20261123;
    for (uint32_t row = 0; row < ROWS; row++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bool in = strewn ? (seed >> 33) % 100 < 92 : row < ROWS / 100 * 92;
        b->bits[row / 8] = (uint8_t)(row % 8 ? b->bits[row / 8] : 0) | (uint8_t)(in ? 0x80u >> row % 8 : 0);
    }
}

static void open_all(release_t *b, const char *dir)
{
    uint8_t seed[32] = {9};
    snprintf(b->dir, sizeof b->dir, "%s/release-XXXXXX", dir);
    if (!mkdtemp(b->dir) || vch_crypto_start() != VCH_OK) die("starting");
    b->about = (vch_tree_about_t){.extent = {{4}}, .n = N, .t = T, .groups = 1, .rows = ROWS};
    b->bits = malloc(ROWS / 8);
    b->ask = calloc(1, sizeof *b->ask);
    b->seed = malloc((size_t)vch_kt_sets(N, T) * WINDOW_NODES * 32);
    if (!b->bits || !b->ask || !b->seed) die("memory");
    b->ask->extent = b->about.extent;
    for (unsigned i = 0; i <= N; i++) {
        seed[1] = (uint8_t)i;
        if (vch_signer_new(&b->key[i], VCH_ALG_ED25519, seed, NULL) != VCH_OK) die("a key");
    }
    deal(b);
}

void bench_release(const char *dir)
{
    release_t *b = calloc(1, sizeof *b);
    if (!b) die("memory");
    open_all(b, dir);
    permit(b, true);
    bench_in_turns("release of 2^20 keys, 92 % at random, 3 of 5", "records/s", "ElGamal and DLEQ", release_all,
                   elgamal, b, ROUNDS, 500, false);
    bench_limit("  bytes moved a record", "bytes", (double)b->bytes / (0.92 * ROWS), 96);
    permit(b, false);
    bench_in_turns("release of 2^20 keys, the first 92 %, 3 of 5", "records/s", "ElGamal and DLEQ", release_all,
                   elgamal, b, ROUNDS, 500, false);
    bench_limit("  bytes moved in all", "bytes", (double)b->bytes, 1e6);
    bench_limit("10,000 punctures in one batch, six trees, durable", "s", 10000 / puncture_batch(b, 10000), 10);
    for (unsigned i = 0; i < N; i++) vch_seeds_close(b->store[i]);
    for (unsigned i = 0; i <= N; i++) vch_signer_free(b->key[i]);
    free(b->bits);
    free(b->ask);
    free(b->seed);
    nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(b);
}
