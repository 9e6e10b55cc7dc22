/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 6962 trees: every way of getting a root agrees with the definition,
 * every path leads to it, and no damaged path does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "crypto/sha256.h"
#include "merkle/tree.h"

#define N_MAX 300
#define PAIRS_MAX 130

/* ---- the definition, as written in RFC 6962 section 2.1 ---- */

static vch_hash_t mth(const vch_hash_t *leaves, size_t n)
{
    vch_hash_t h[2], ret;
    if (n == 0) {
        vch_sha256(&ret, "", 0);
        return ret;
    }
    if (n == 1) return leaves[0];
    size_t k = 1;
    while (2 * k < n) k *= 2;
    h[0] = mth(leaves, k);
    h[1] = mth(leaves + k, n - k);
    uint8_t joined[65] = {1};
    memcpy(joined + 1, h, 64);
    vch_sha256(&ret, joined, sizeof joined);
    return ret;
}

static vch_hash_t leaves[N_MAX + 1];
static vch_hash_t root[N_MAX + 1];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i <= N_MAX; i++) {
        uint8_t data[4];
        vch_put_u32(data, (uint32_t)i);
        vch_tree_leaf(&leaves[i], vch_slice(data, i % 5 ? 4 : i % 4)); /* some leaves are equal */
    }
    for (size_t n = 0; n <= N_MAX; n++) root[n] = mth(leaves, n);
    return 0;
}

/* Perfect subtrees of the tree with *ctx leaves; anything outside is a fault. */
static vch_rc get_subtree(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    uint64_t size = *(uint64_t *)ctx;
    assert_true(level < 10);
    assert_true(((n + 1) << level) <= size);
    *ret = mth(leaves + (n << level), (size_t)1 << level);
    return VCH_OK;
}

static vch_rc get_nothing(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    (void)ctx, (void)ret, (void)level, (void)n;
    return VCH_ERR_IO;
}

/* ---- roots ---- */

static void classic_roots_come_out(void **state)
{
    (void)state;
    static const char *data[8] = {
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
    static const char *want[9] = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    vch_hash_t leaf[8], work[8], got;
    for (size_t i = 0; i < 8; i++) {
        uint8_t bytes[16];
        size_t n = strlen(data[i]) / 2;
        assert_true(vch_unhex(bytes, n, data[i], 2 * n));
        vch_tree_leaf(&leaf[i], vch_slice(bytes, n));
    }
    for (size_t n = 0; n <= 8; n++) {
        char hex[65];
        memcpy(work, leaf, sizeof leaf);
        vch_tree_root_in_place(&got, work, n);
        vch_hex(hex, got.b, 32);
        assert_string_equal(hex, want[n]);
    }
}

static void in_place_root_is_the_definition(void **state)
{
    (void)state;
    vch_hash_t work[N_MAX], got;
    for (size_t n = 0; n <= N_MAX; n++) {
        memcpy(work, leaves, sizeof work);
        vch_tree_root_in_place(&got, work, n);
        assert_memory_equal(&got, &root[n], 32);
    }
}

static void root_from_subtrees_is_the_definition(void **state)
{
    (void)state;
    for (uint64_t n = 0; n <= N_MAX; n++) {
        vch_hash_t got;
        assert_int_equal(vch_subtrees_root(&got, n, get_subtree, &n), VCH_OK);
        assert_memory_equal(&got, &root[n], 32);
    }
}

static void edge_one_by_one(void **state)
{
    (void)state;
    vch_edge_t edge;
    vch_edge_init(&edge);
    for (size_t n = 0; n <= N_MAX; n++) {
        vch_hash_t got;
        assert_int_equal(edge.size, n);
        vch_edge_root(&edge, &got);
        assert_memory_equal(&got, &root[n], 32);
        vch_edge_add(&edge, &leaves[n], 1);
    }
}

/* Whatever stands there already, a batch gives what single leaves give. */
static void edge_in_batches(void **state)
{
    (void)state;
    for (size_t first = 0; first <= 140; first++) {
        for (size_t n = first; n <= N_MAX; n++) {
            vch_edge_t edge;
            vch_hash_t got;
            vch_edge_init(&edge);
            vch_edge_add(&edge, leaves, first);
            vch_edge_add(&edge, leaves + first, n - first);
            vch_edge_root(&edge, &got);
            assert_int_equal(edge.size, n);
            assert_memory_equal(&got, &root[n], 32);
        }
    }
}

/* Batches longer than the edge's own scratch. */
static void edge_takes_long_batches(void **state)
{
    (void)state;
    enum { N = 5000 };
    vch_hash_t *long_leaves = calloc(N, sizeof *long_leaves), *work = calloc(N, sizeof *work);
    assert_non_null(long_leaves);
    assert_non_null(work);
    for (size_t i = 0; i < N; i++) vch_sha256(&long_leaves[i], &i, sizeof i);
    static const size_t firsts[] = {0, 1, 512, 1023, 1024, 1025, 2048, 3000};
    for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
        vch_edge_t edge;
        vch_hash_t got, want;
        vch_edge_init(&edge);
        vch_edge_add(&edge, long_leaves, firsts[f]);
        vch_edge_add(&edge, long_leaves + firsts[f], N - firsts[f]);
        vch_edge_root(&edge, &got);
        memcpy(work, long_leaves, N * sizeof *work);
        vch_tree_root_in_place(&want, work, N);
        assert_memory_equal(&got, &want, 32);
    }
    free(long_leaves);
    free(work);
}

/* ---- inclusion ---- */

static void refuse_damaged_inclusion(uint64_t i, uint64_t n, vch_hash_t *path, size_t len)
{
    for (size_t k = 0; k < len; k++) {
        path[k].b[(i + k) % 32] ^= 0x10;
        assert_false(vch_inclusion_verify(i, n, &leaves[i], path, len, &root[n]));
        path[k].b[(i + k) % 32] ^= 0x10;
    }
    if (len) assert_false(vch_inclusion_verify(i, n, &leaves[i], path, len - 1, &root[n]));
    if (len) assert_false(vch_inclusion_verify(i, n, &leaves[i], path + 1, len - 1, &root[n]));
    path[len] = root[n];
    assert_false(vch_inclusion_verify(i, n, &leaves[i], path, len + 1, &root[n]));
    assert_false(vch_inclusion_verify(i, n, &root[n + 1 <= N_MAX ? n + 1 : 0], path, len, &root[n]));
    assert_false(vch_inclusion_verify(i, n, &leaves[i], path, len, &root[n - 1]));
}

static void every_path_leads_to_the_root(void **state)
{
    (void)state;
    vch_hash_t path[VCH_PATH_HASHES_MAX + 1], scratch[N_MAX], kept[N_MAX];
    memcpy(kept, leaves, sizeof kept);
    for (size_t n = 1; n <= N_MAX; n++) {
        for (size_t i = 0; i < n; i++) {
            size_t len = vch_tree_path(path, leaves, n, i, scratch);
            assert_true(vch_inclusion_verify(i, n, &leaves[i], path, len, &root[n]));
            refuse_damaged_inclusion(i, n, path, len);
        }
    }
    assert_memory_equal(kept, leaves, sizeof kept);
    assert_int_equal(vch_tree_path(path, leaves, 5, 5, scratch), 0);
    assert_int_equal(vch_tree_path(path, leaves, 0, 0, scratch), 0);
}

/* A path belongs to its index: no other index of the same tree accepts it. */
static void path_fits_one_index_only(void **state)
{
    (void)state;
    vch_hash_t path[VCH_PATH_HASHES_MAX], scratch[70];
    for (size_t n = 1; n <= 70; n++) {
        for (size_t i = 0; i < n; i++) {
            size_t len = vch_tree_path(path, leaves, n, i, scratch);
            for (size_t j = 0; j <= n; j++)
                assert_int_equal(vch_inclusion_verify(j, n, &leaves[i], path, len, &root[n]), i == j);
        }
    }
}

static void proved_paths_are_the_tree_s(void **state)
{
    (void)state;
    vch_hash_t path[VCH_PATH_HASHES_MAX], proved[VCH_PATH_HASHES_MAX], scratch[N_MAX];
    for (uint64_t n = 1; n <= N_MAX; n += n < 70 ? 1 : 23) {
        for (uint64_t i = 0; i < n; i++) {
            size_t len = vch_tree_path(path, leaves, n, i, scratch), proved_len = 0;
            assert_int_equal(vch_inclusion_prove(proved, &proved_len, i, n, get_subtree, &n), VCH_OK);
            assert_int_equal(proved_len, len);
            assert_memory_equal(proved, path, len * sizeof path[0]);
        }
    }
}

static void failed_proving_leaves_outputs_alone(void **state)
{
    (void)state;
    vch_hash_t path[VCH_PATH_HASHES_MAX], before[VCH_PATH_HASHES_MAX];
    memset(path, 7, sizeof path);
    memcpy(before, path, sizeof path);
    size_t len = 99;
    uint64_t n = 5;
    assert_int_equal(vch_inclusion_prove(path, &len, 5, 5, get_subtree, &n), VCH_ERR_USAGE);
    assert_int_equal(vch_inclusion_prove(path, &len, 0, 0, get_subtree, &n), VCH_ERR_USAGE);
    assert_int_equal(vch_inclusion_prove(path, &len, 2, 5, get_nothing, NULL), VCH_ERR_IO);
    assert_int_equal(vch_consistency_prove(path, &len, 0, 5, get_subtree, &n), VCH_ERR_USAGE);
    assert_int_equal(vch_consistency_prove(path, &len, 6, 5, get_subtree, &n), VCH_ERR_USAGE);
    assert_int_equal(vch_consistency_prove(path, &len, 3, 5, get_nothing, NULL), VCH_ERR_IO);
    assert_int_equal(vch_subtrees_root(path, 5, get_nothing, NULL), VCH_ERR_IO);
    assert_int_equal(len, 99);
    assert_memory_equal(path, before, sizeof path);
}

static void one_leaf_of_a_huge_tree(void **state)
{
    (void)state;
    vch_hash_t path[VCH_PATH_HASHES_MAX] = {{{1}}}, got;
    assert_true(vch_inclusion_root(&got, 0, UINT64_MAX, &leaves[0], path, 64));
    assert_false(vch_inclusion_root(&got, 0, UINT64_MAX, &leaves[0], path, 63));
    /* the last of 2^64 - 1 leaves is joined at each level but the lowest */
    assert_true(vch_inclusion_root(&got, UINT64_MAX - 1, UINT64_MAX, &leaves[0], path, 63));
    assert_false(vch_inclusion_root(&got, UINT64_MAX - 1, UINT64_MAX, &leaves[0], path, 64));
    assert_false(vch_inclusion_root(&got, UINT64_MAX, UINT64_MAX, &leaves[0], path, 64));
}

/* ---- consistency ---- */

static void refuse_damaged_consistency(uint64_t m, uint64_t n, vch_hash_t *path, size_t len)
{
    for (size_t k = 0; k < len; k++) {
        path[k].b[(m + k) % 32] ^= 0x01;
        assert_false(vch_consistency_verify(m, n, &root[m], &root[n], path, len));
        path[k].b[(m + k) % 32] ^= 0x01;
    }
    if (len) assert_false(vch_consistency_verify(m, n, &root[m], &root[n], path, len - 1));
    if (len) assert_false(vch_consistency_verify(m, n, &root[m], &root[n], path + 1, len - 1));
    path[len] = root[n];
    assert_false(vch_consistency_verify(m, n, &root[m], &root[n], path, len + 1));
    assert_false(vch_consistency_verify(m, n, &root[m - 1], &root[n], path, len));
    assert_false(vch_consistency_verify(m, n, &root[m], &root[n + 1], path, len));
    assert_false(vch_consistency_verify(0, n, &root[m], &root[n], path, len));
    assert_false(vch_consistency_verify(0, n, &root[0], &root[n], path, 0));
    if (m < n) assert_false(vch_consistency_verify(n, m, &root[n], &root[m], path, len));
    if (m < n) assert_false(vch_consistency_verify(m, n, &root[n], &root[m], path, len));
}

static void every_pair_is_consistent(void **state)
{
    (void)state;
    vch_hash_t path[VCH_PATH_HASHES_MAX + 1];
    for (uint64_t n = 1; n <= PAIRS_MAX; n++) {
        for (uint64_t m = 1; m <= n; m++) {
            size_t len = 99;
            assert_int_equal(vch_consistency_prove(path, &len, m, n, get_subtree, &n), VCH_OK);
            assert_int_equal(len == 0, m == n);
            assert_true(vch_consistency_verify(m, n, &root[m], &root[n], path, len));
            refuse_damaged_consistency(m, n, path, len);
        }
    }
}

/* A size is no matter of taste: with another one, a path of the wrong length
 * for it is refused even where all hashes would fit. */
static void path_length_must_fit_the_sizes(void **state)
{
    (void)state;
    vch_hash_t path[VCH_PATH_HASHES_MAX], other[VCH_PATH_HASHES_MAX];
    unsigned refused = 0;
    for (uint64_t n = 1; n <= 40; n++) {
        for (uint64_t m = 1; m <= n; m++) {
            size_t len = 0, other_len = 0;
            assert_int_equal(vch_consistency_prove(path, &len, m, n, get_subtree, &n), VCH_OK);
            for (uint64_t claim = m; claim <= 70; claim++) {
                assert_int_equal(vch_consistency_prove(other, &other_len, m, claim, get_subtree, &claim), VCH_OK);
                if (len == other_len) continue;
                assert_false(vch_consistency_verify(m, claim, &root[m], &root[n], path, len));
                refused++;
            }
        }
    }
    assert_true(refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classic_roots_come_out),
        cmocka_unit_test(in_place_root_is_the_definition),
        cmocka_unit_test(root_from_subtrees_is_the_definition),
        cmocka_unit_test(edge_one_by_one),
        cmocka_unit_test(edge_in_batches),
        cmocka_unit_test(edge_takes_long_batches),
        cmocka_unit_test(every_path_leads_to_the_root),
        cmocka_unit_test(path_fits_one_index_only),
        cmocka_unit_test(proved_paths_are_the_tree_s),
        cmocka_unit_test(failed_proving_leaves_outputs_alone),
        cmocka_unit_test(one_leaf_of_a_huge_tree),
        cmocka_unit_test(every_pair_is_consistent),
        cmocka_unit_test(path_length_must_fit_the_sizes),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
