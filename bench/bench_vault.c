/* SPDX-License-Identifier: Apache-2.0 */
/* The vault's key tree: all record keys of a full group, as a requester derives
 * them from the seeds of a 3-of-5 committee (ten trees), and punctures. */
#include "bench.h"
#include "crypto/keytree.h"

#define ROUNDS 5
#define TREES 10u
#define PUNCTURES 2000u

static void die(const char *what)
{
    fprintf(stderr, "bench: %s failed\n", what);
    exit(1);
}

static vch_kt_seed_t root_of(unsigned tree)
{
    vch_kt_seed_t s = {.node = {0, 0}};
    memset(s.key, (int)tree + 1, sizeof s.key);
    return s;
}

static double derive_all(void)
{
    static uint8_t leaf[VCH_KT_BLOCK * VCH_KT_KEY], sum[VCH_KT_BLOCK * VCH_KT_KEY];
    const vch_hash_t extent = {{3}};
    double start = bench_now();
    for (uint32_t row = 0; row < VCH_KT_ROWS_MAX; row += VCH_KT_BLOCK) {
        memset(sum, 0, sizeof sum);
        for (unsigned tree = 0; tree < TREES; tree++) {
            vch_kt_seed_t root = root_of(tree);
            if (!vch_kt_leaves(leaf, &root, row, VCH_KT_BLOCK)) die("deriving");
            vch_kt_add(sum, leaf, VCH_KT_BLOCK);
        }
        vch_kt_record_keys(sum, sum, &extent, row, VCH_KT_BLOCK);
    }
    return bench_now() - start;
}

static double puncture_many(void)
{
    vch_kt_seed_t root = root_of(0), piece[VCH_KT_LEAF_LEVEL];
    double start = bench_now();
    for (uint32_t i = 0; i < PUNCTURES; i++)
        if (vch_kt_puncture(piece, &root, i * 524u) != VCH_KT_LEAF_LEVEL) die("a puncture");
    return 1e6 * (bench_now() - start) / PUNCTURES;
}

void bench_vault(void)
{
    double keys[ROUNDS], puncture[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        keys[i] = derive_all();
        puncture[i] = puncture_many();
    }
    bench_limit("2^20 record keys from ten trees, one core", "s", bench_median(keys, ROUNDS), 1);
    bench_limit("one puncture from the root (limit: 100 us)", "us", bench_median(puncture, ROUNDS), 100);
}
