/* SPDX-License-Identifier: Apache-2.0 */
/* Tree hashing against the machine's own SHA-256 ceiling: node hashes (two
 * compressions each) with everything in cache, many at a time. */
#include "bench.h"
#include "crypto/sha256.h"
#include "merkle/tree.h"

#define LEAVES (1u << 20)

typedef struct {
    vch_hash_t *leaves, *work;
} hash_t;

/* Compressions a second of the bare loop on 1,024 pairs in cache. */
static double ceiling(void *ctx)
{
    hash_t *h = ctx;
    double start = bench_now(), took;
    uint64_t nodes = 0;
    do {
        for (int i = 0; i < 64; i++) vch_sha256_nodes(h->work, h->leaves, 1024);
        nodes += 64 * 1024;
        took = bench_now() - start;
    } while (took < 0.4);
    return 2.0 * (double)nodes / took;
}

static double tree(void *ctx)
{
    hash_t *h = ctx;
    vch_hash_t root;
    memcpy(h->work, h->leaves, LEAVES * sizeof *h->work);
    double start = bench_now();
    vch_tree_root_in_place(&root, h->work, LEAVES);
    return 2.0 * (LEAVES - 1) / (bench_now() - start);
}

void bench_hash(void)
{
    hash_t h = {malloc(LEAVES * sizeof(vch_hash_t)), malloc(LEAVES * sizeof(vch_hash_t))};
    if (!h.leaves || !h.work) exit(1);
    for (uint32_t i = 0; i < LEAVES; i++) vch_sha256(&h.leaves[i], &i, sizeof i);
    bench_in_turns("tree over 2^20 leaves", "compress/s", "SHA-256 in cache", tree, ceiling, &h, 9, 0.7, false);
    free(h.leaves);
    free(h.work);
}
