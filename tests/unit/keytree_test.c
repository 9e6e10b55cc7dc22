/* SPDX-License-Identifier: Apache-2.0 */
/* Key trees: answers computed by somebody else's code (keytree_vectors.py),
 * leaves that agree whichever way they are derived, covers that are exact and
 * smallest, punctures that leave everything but what they took. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/text.h"
#include "crypto/keytree.h"
#include "crypto/sha256.h"
#include "keytree_vectors.h"
#include "merkle/keyroot.h"

static vch_kt_seed_t root_of(unsigned i)
{
    char text[16];
    vch_kt_seed_t s = {.node = {0, 0}};
    vch_hash_t h;
    int n = snprintf(text, sizeof text, "seed %u", i);
    vch_sha256(&h, text, (size_t)n);
    memcpy(s.key, h.b, 32);
    return s;
}

static void is_hex(const uint8_t *key, const char *want)
{
    char hex[65];
    vch_hex(hex, key, 32);
    assert_string_equal(hex, want);
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static vch_kt_seed_t leaf_of(const vch_kt_seed_t *from, uint32_t leaf)
{
    vch_kt_seed_t s;
    assert_true(vch_kt_descend(&s, from, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, leaf}));
    return s;
}

/* ---- known answers -------------------------------------------------------------- */

static void nodes_are_the_known_ones(void **state)
{
    (void)state;
    vch_kt_seed_t root = root_of(0), s;
    for (size_t i = 0; i < sizeof kat_node / sizeof *kat_node; i++) {
        assert_true(vch_kt_descend(&s, &root, (vch_kt_node_t){(uint8_t)kat_node[i].level, kat_node[i].number}));
        is_hex(s.key, kat_node[i].seed);
    }
}

static void records_have_the_known_keys(void **state)
{
    (void)state;
    vch_hash_t extent;
    vch_sha256(&extent, "extent", 6);
    for (size_t i = 0; i < sizeof kat_record / sizeof *kat_record; i++) {
        uint8_t sum[32] = {0};
        for (unsigned t = 0; t < 3; t++) {
            vch_kt_seed_t root = root_of(t), leaf = leaf_of(&root, kat_record[i].leaf);
            vch_kt_add(sum, leaf.key, 1);
        }
        vch_kt_record_keys(sum, sum, &extent, kat_record[i].leaf, 1);
        is_hex(sum, kat_record[i].key);
    }
}

static void roots_are_the_known_ones(void **state)
{
    (void)state;
    vch_kt_seed_t root = root_of(0);
    for (size_t i = 0; i < sizeof kat_root / sizeof *kat_root; i++) {
        vch_hash_t group[3], got;
        for (unsigned g = 0; g < kat_root[i].groups; g++)
            assert_true(vch_keyroot_group(&group[g], &root, g, kat_root[i].count[g]));
        assert_true(vch_keyroot(&got, group, kat_root[i].groups));
        is_hex(got.b, kat_root[i].root);
    }
}

/* ---- deriving -------------------------------------------------------------------- */

static void ways_to_a_leaf_agree(void **state)
{
    (void)state;
    static uint8_t leaves[VCH_KT_BLOCK * 32];
    vch_kt_seed_t root = root_of(1), between;
    uint64_t s = 7;
    for (int i = 0; i < 40; i++) {
        uint32_t first = (uint32_t)next_random(&s) % (1u << 24);
        size_t n = 1 + next_random(&s) % (VCH_KT_BLOCK - first % VCH_KT_BLOCK);
        uint8_t level = (uint8_t)(next_random(&s) % 13);
        assert_true(vch_kt_descend(&between, &root, (vch_kt_node_t){level, first >> (24 - level)}));
        assert_true(vch_kt_leaves(leaves, i % 2 ? &between : &root, first, n));
        for (size_t k = 0; k < n; k += 1 + n / 5) {
            vch_kt_seed_t one = leaf_of(&between, first + (uint32_t)k);
            assert_memory_equal(one.key, leaves + 32 * k, 32);
        }
    }
}

static void what_is_not_below_is_refused(void **state)
{
    (void)state;
    static uint8_t leaves[VCH_KT_BLOCK * 32];
    vch_kt_seed_t root = root_of(1), half, s, piece[VCH_KT_LEAF_LEVEL];
    assert_true(vch_kt_descend(&half, &root, (vch_kt_node_t){1, 1}));
    assert_false(vch_kt_descend(&s, &half, (vch_kt_node_t){1, 0}));
    assert_false(vch_kt_descend(&s, &half, (vch_kt_node_t){0, 0}));
    assert_false(vch_kt_descend(&s, &half, (vch_kt_node_t){24, 5}));
    assert_false(vch_kt_descend(&s, &root, (vch_kt_node_t){25, 0}));
    assert_false(vch_kt_descend(&s, &root, (vch_kt_node_t){3, 8}));
    assert_false(vch_kt_leaves(leaves, &half, 0, 1));
    assert_false(vch_kt_leaves(leaves, &root, 4095, 2)); /* two blocks */
    assert_false(vch_kt_leaves(leaves, &root, 0, 0));
    assert_false(vch_kt_leaves(leaves, &root, 0, VCH_KT_BLOCK + 1));
    assert_false(vch_kt_leaves(leaves, &root, 1u << 24, 1));
    s = leaf_of(&root, 9);
    assert_false(vch_kt_leaves(leaves, &s, 8, 1));
    assert_false(vch_kt_leaves(leaves, &s, 9, 2));
    assert_true(vch_kt_leaves(leaves, &s, 9, 1));
    assert_int_equal(vch_kt_puncture(piece, &half, 5), 0);
    assert_int_equal(vch_kt_puncture(piece, &s, 9), 0);
    assert_int_equal(vch_kt_puncture(piece, &root, 1u << 24), 0);
}

static void keys_are_bound_to_their_place(void **state)
{
    (void)state;
    uint8_t sum[3 * 32] = {1}, a[3 * 32], b[3 * 32];
    vch_hash_t extent = {{1}}, other = {{2}};
    vch_kt_record_keys(a, sum, &extent, 7, 3);
    vch_kt_record_keys(b, sum, &extent, 8, 3);
    assert_memory_not_equal(a, b, 32);
    assert_memory_not_equal(a + 32, a + 64, 32); /* one sum, two places */
    vch_kt_record_keys(b, sum, &other, 7, 3);
    assert_memory_not_equal(a, b, 32);
    vch_kt_record_keys(b, sum, &extent, 7, 2);
    assert_memory_equal(a, b, 64);
}

/* ---- covers ----------------------------------------------------------------------- */

typedef struct {
    uint32_t next; /* row, so that order and overlap show */
    uint8_t *got;
    size_t nodes;
} cover_t;

static vch_rc take(void *ctx, vch_kt_node_t n)
{
    cover_t *c = ctx;
    assert_true(vch_kt_valid(n) && n.level >= VCH_KT_GROUP_LEVEL);
    uint32_t row = vch_kt_first(n) % VCH_KT_ROWS_MAX;
    assert_true(row >= c->next);
    for (uint32_t i = 0; i < vch_kt_count(n); i++) c->got[(row + i) / 8] |= (uint8_t)(0x80 >> (row + i) % 8);
    c->next = row + vch_kt_count(n);
    c->nodes++;
    return VCH_OK;
}

/* The naive way: a subtree counts once if it is full, else what its halves count. */
static size_t fewest(const uint8_t *bits, uint32_t rows, uint32_t row, uint32_t n, bool *ret_full)
{
    bool left, right;
    if (n == 1) {
        *ret_full = row < rows && (bits[row / 8] >> (7 - row % 8) & 1);
        return *ret_full;
    }
    size_t c = fewest(bits, rows, row, n / 2, &left) + fewest(bits, rows, row + n / 2, n / 2, &right);
    *ret_full = left && right;
    return *ret_full ? 1 : c;
}

static void covers_are_exact_and_smallest(void **state)
{
    (void)state;
    static uint8_t bits[VCH_KT_ROWS_MAX / 8], got[VCH_KT_ROWS_MAX / 8];
    uint64_t s = 11;
    for (int i = 0; i < 300; i++) {
        uint32_t rows = 1 + (uint32_t)next_random(&s) % 5000;
        unsigned dense = (unsigned)next_random(&s) % 101;
        bool full;
        cover_t c = {.got = got};
        memset(bits, 0, sizeof bits);
        memset(got, 0, sizeof got);
        for (uint32_t r = 0; r < rows; r++)
            if (next_random(&s) % 100 < dense) bits[r / 8] |= (uint8_t)(0x80 >> r % 8);
        assert_int_equal(vch_kt_cover(bits, rows, (unsigned)i % 16, take, &c), VCH_OK);
        assert_memory_equal(bits, got, sizeof bits);
        assert_int_equal(c.nodes, fewest(bits, rows, 0, 8192, &full));
    }
}

static void whole_groups_take_one_node(void **state)
{
    (void)state;
    static uint8_t bits[VCH_KT_ROWS_MAX / 8], got[VCH_KT_ROWS_MAX / 8];
    cover_t c = {.got = got};
    memset(bits, 0xff, sizeof bits);
    assert_int_equal(vch_kt_cover(bits, VCH_KT_ROWS_MAX, 15, take, &c), VCH_OK);
    assert_int_equal(c.nodes, 1);
    assert_int_equal(vch_kt_cover(bits, VCH_KT_ROWS_MAX + 1, 0, take, &c), VCH_ERR_LIMIT);
    assert_int_equal(vch_kt_cover(bits, 8, 16, take, &c), VCH_ERR_LIMIT);
    c = (cover_t){.got = got};
    assert_int_equal(vch_kt_cover(bits, 0, 0, take, &c), VCH_OK);
    assert_int_equal(c.nodes, 0);
}

/* ---- punctures ----------------------------------------------------------------------- */

#define SEEDS_MAX 4000

typedef struct {
    vch_kt_seed_t seed[SEEDS_MAX];
    size_t n;
} keyring_t;

static bool forget(keyring_t *k, uint32_t leaf)
{
    vch_kt_seed_t piece[VCH_KT_LEAF_LEVEL];
    const vch_kt_seed_t *found = vch_kt_find(k->seed, k->n, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, leaf});
    if (!found) return false;
    size_t at = (size_t)(found - k->seed), n = vch_kt_puncture(piece, found, leaf);
    assert_true(k->n + n < SEEDS_MAX);
    memmove(&k->seed[at + n], &k->seed[at + 1], (k->n - at - 1) * sizeof *k->seed);
    memcpy(&k->seed[at], piece, n * sizeof *piece);
    k->n += n - 1;
    return true;
}

/* In order, none below another, and none above a leaf that is gone. */
static void look_at_order(const keyring_t *k)
{
    for (size_t i = 1; i < k->n; i++)
        assert_true(vch_kt_first(k->seed[i - 1].node) + vch_kt_count(k->seed[i - 1].node) <=
                    vch_kt_first(k->seed[i].node));
}

static void punctures_take_what_they_name_and_no_more(void **state)
{
    (void)state;
    keyring_t *k = calloc(1, sizeof *k);
    bool gone[512] = {false};
    uint64_t s = 3;
    vch_kt_seed_t root = root_of(2);
    k->seed[0] = root;
    k->n = 1;
    for (int i = 0; i < 400; i++) {
        uint32_t leaf = (uint32_t)next_random(&s) % 512;
        assert_int_equal(forget(k, leaf), !gone[leaf]); /* once gone, there is nothing to forget */
        gone[leaf] = true;
        look_at_order(k);
    }
    for (uint32_t leaf = 0; leaf < 512; leaf++) {
        const vch_kt_seed_t *found = vch_kt_find(k->seed, k->n, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, leaf});
        assert_int_equal(found == NULL, gone[leaf]);
        if (!found) continue;
        vch_kt_seed_t want = leaf_of(&root, leaf), got = leaf_of(found, leaf);
        assert_memory_equal(want.key, got.key, 32);
    }
    assert_null(vch_kt_find(k->seed, k->n, (vch_kt_node_t){0, 0})); /* not all below it is there */
    assert_null(vch_kt_find(k->seed, 0, (vch_kt_node_t){24, 0}));
    free(k);
}

/* ---- who holds what ---------------------------------------------------------------------- */

static void any_t_hold_all_and_fewer_lack_one(void **state)
{
    (void)state;
    static const struct {
        unsigned n, t, sets;
    } good[] = {{3, 2, 3}, {5, 3, 10}, {7, 4, 35}, {35, 2, 35}, {8, 3, 28}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        unsigned n = good[i].n, t = good[i].t;
        assert_int_equal(vch_kt_sets(n, t), good[i].sets);
        for (uint64_t some = 0; n <= 8 && some < UINT64_C(1) << n; some++) {
            unsigned lacking = 0;
            for (unsigned k = 0; k < good[i].sets; k++) lacking += (vch_kt_set(n, t, k) & some) == some;
            assert_int_equal(lacking == 0, (unsigned)__builtin_popcountll(some) >= t);
        }
        for (unsigned k = 1; k < good[i].sets; k++) assert_int_not_equal(vch_kt_set(n, t, k), vch_kt_set(n, t, k - 1));
        assert_int_equal(vch_kt_set(n, t, good[i].sets), 0);
    }
    assert_int_equal(vch_kt_set(5, 3, 0), 3); /* trustees 0 and 1 */
    assert_false(vch_kt_holds(3, 1));
    assert_true(vch_kt_holds(3, 2));
    assert_int_equal(vch_kt_sets(3, 1), 0);
    assert_int_equal(vch_kt_sets(2, 2), 0);
    assert_int_equal(vch_kt_sets(9, 3), 0);
    assert_int_equal(vch_kt_sets(36, 2), 0);
}

/* ---- what is signed ------------------------------------------------------------------------ */

static void leaves_are_proven_and_others_are_not(void **state)
{
    (void)state;
    static const uint32_t rows[] = {1, 2, 569, 4096, 5000};
    vch_kt_seed_t root = root_of(0), other = root_of(1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vch_hash_t group[3], all;
        vch_keyroot_path_t p;
        for (unsigned g = 0; g < 3; g++) assert_true(vch_keyroot_group(&group[g], &root, g, rows[i]));
        assert_true(vch_keyroot(&all, group, 3));
        for (uint32_t row = 0; row < rows[i]; row += 1 + rows[i] / 3) {
            uint32_t leaf = vch_kt_leaf(2, row);
            vch_kt_seed_t right = leaf_of(&root, leaf), wrong = leaf_of(&other, leaf);
            assert_true(vch_keyroot_prove(&p, &root, leaf, rows[i], group, 3));
            assert_true(vch_keyroot_verify(&all, leaf, right.key, &p));
            assert_false(vch_keyroot_verify(&all, leaf, wrong.key, &p));
            assert_false(vch_keyroot_verify(&all, vch_kt_leaf(1, row), right.key, &p));
            for (size_t h = 0; h < (size_t)p.inside + p.among; h++) {
                p.hash[h].b[h % 32] ^= 1;
                assert_false(vch_keyroot_verify(&all, leaf, right.key, &p));
                p.hash[h].b[h % 32] ^= 1;
            }
        }
        assert_false(vch_keyroot_prove(&p, &root, vch_kt_leaf(2, rows[i]), rows[i], group, 3));
        assert_false(vch_keyroot_prove(&p, &root, vch_kt_leaf(3, 0), rows[i], group, 3));
    }
    vch_hash_t h;
    assert_false(vch_keyroot_group(&h, &root, 0, 0));
    assert_false(vch_keyroot_group(&h, &root, 0, VCH_KT_ROWS_MAX + 1));
    assert_false(vch_keyroot_group(&h, &root, 16, 1));
    assert_false(vch_keyroot(&h, &h, 0));
    assert_false(vch_keyroot(&h, &h, 17));
}

/* A path whose counts are lies is refused, not followed out of its array. */
static void lying_paths_are_refused(void **state)
{
    (void)state;
    vch_hash_t any = {{1}};
    uint8_t key[32] = {2};
    const vch_keyroot_path_t lies[] = {
        {.rows = 1, .groups = 1, .inside = 255, .among = 0},
        {.rows = 1, .groups = 1, .inside = 0, .among = 255},
        {.rows = 0, .groups = 1},
        {.rows = 1, .groups = 0},
        {.rows = 1, .groups = 17},
        {.rows = UINT32_MAX, .groups = 1, .inside = 20},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) assert_false(vch_keyroot_verify(&any, 0, key, &lies[i]));
}

/* ---- a block at once ------------------------------------------------------------------ */

#define BLOCK 0x3a7u /* some block of some group */

static vch_kt_seed_t node_seed(unsigned level, uint32_t number)
{
    vch_kt_seed_t root = root_of(5), s;
    assert_true(vch_kt_descend(&s, &root, (vch_kt_node_t){(uint8_t)level, number}));
    return s;
}

/* Nodes of the block from the left, of all sizes, with gaps. */
static size_t some_nodes(uint64_t *random, vch_kt_seed_t *ret)
{
    size_t n = 0;
    unsigned sparse = 1 + (unsigned)(next_random(random) % 6);
    for (uint32_t leaf = 0; leaf < VCH_KT_BLOCK;) {
        unsigned down = (unsigned)(next_random(random) % 13);
        while (leaf % (1u << down) || leaf + (1u << down) > VCH_KT_BLOCK) down--;
        uint32_t first = BLOCK * VCH_KT_BLOCK + leaf;
        if (next_random(random) % sparse == 0) ret[n++] = node_seed(VCH_KT_LEAF_LEVEL - down, first >> down);
        leaf += 1u << down;
        if (next_random(random) % 3 == 0) leaf += (uint32_t)(next_random(random) % 40);
    }
    return n;
}

static void a_block_at_once_is_its_nodes_one_by_one(void **state)
{
    (void)state;
    uint64_t random = 20261123;
    vch_kt_seed_t *seed = calloc(VCH_KT_BLOCK, sizeof *seed), root = root_of(5);
    uint8_t *got = malloc((size_t)VCH_KT_BLOCK * 32), *want = malloc((size_t)VCH_KT_BLOCK * 32);
    uint8_t *tree = malloc((size_t)VCH_KT_BLOCK_NODES * 32);
    assert_true(seed && got && want && tree);
    assert_true(vch_kt_tree(tree, &root, BLOCK));
    for (unsigned round = 0; round < 60; round++) {
        size_t n = some_nodes(&random, seed);
        memset(want, 0, (size_t)VCH_KT_BLOCK * 32);
        for (size_t i = 0; i < n; i++) {
            unsigned down = seed[i].node.level - VCH_KT_BLOCK_LEVEL;
            size_t at = ((size_t)1 << down) - 1 + (seed[i].node.number - (BLOCK << down));
            assert_memory_equal(tree + at * 32, seed[i].key, 32);
            uint32_t first = vch_kt_first(seed[i].node);
            assert_true(
                vch_kt_leaves(want + (size_t)(first % VCH_KT_BLOCK) * 32, &seed[i], first, vch_kt_count(seed[i].node)));
        }
        assert_true(vch_kt_spread(got, seed, n, BLOCK));
        assert_memory_equal(got, want, (size_t)VCH_KT_BLOCK * 32);
    }
    free(seed);
    free(got);
    free(want);
    free(tree);
}

static void seeds_that_do_not_belong_are_refused(void **state)
{
    (void)state;
    uint8_t *got = malloc((size_t)VCH_KT_BLOCK * 32);
    uint32_t first = BLOCK * VCH_KT_BLOCK;
    vch_kt_seed_t wrong[][2] = {
        {node_seed(24, first + 1), node_seed(24, first)},           /* from the right */
        {node_seed(23, first / 2), node_seed(24, first + 1)},       /* one below another */
        {node_seed(24, first), node_seed(24, first)},               /* twice */
        {node_seed(24, first), node_seed(24, first + VCH_KT_BLOCK)} /* of the next block */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(got, 1, (size_t)VCH_KT_BLOCK * 32);
        assert_false(vch_kt_spread(got, wrong[i], 2, BLOCK));
        for (size_t k = 0; k < (size_t)VCH_KT_BLOCK * 32; k++) assert_int_equal(got[k], 0);
    }
    vch_kt_seed_t above = node_seed(11, BLOCK / 2);
    assert_false(vch_kt_spread(got, &above, 1, BLOCK));
    vch_kt_seed_t elsewhere = node_seed(12, BLOCK + 1);
    uint8_t *tree = malloc((size_t)VCH_KT_BLOCK_NODES * 32);
    assert_false(vch_kt_tree(tree, &elsewhere, BLOCK));
    assert_false(vch_kt_tree(tree, &above, 1u << 12));
    assert_true(vch_kt_tree(tree, &above, BLOCK));
    free(tree);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_the_known_ones),
        cmocka_unit_test(records_have_the_known_keys),
        cmocka_unit_test(roots_are_the_known_ones),
        cmocka_unit_test(ways_to_a_leaf_agree),
        cmocka_unit_test(what_is_not_below_is_refused),
        cmocka_unit_test(keys_are_bound_to_their_place),
        cmocka_unit_test(covers_are_exact_and_smallest),
        cmocka_unit_test(whole_groups_take_one_node),
        cmocka_unit_test(punctures_take_what_they_name_and_no_more),
        cmocka_unit_test(a_block_at_once_is_its_nodes_one_by_one),
        cmocka_unit_test(seeds_that_do_not_belong_are_refused),
        cmocka_unit_test(any_t_hold_all_and_fewer_lack_one),
        cmocka_unit_test(leaves_are_proven_and_others_are_not),
        cmocka_unit_test(lying_paths_are_refused),
    };
    return cmocka_run_group_tests_name("keytree", tests, NULL, NULL);
}
