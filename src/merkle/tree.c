/* SPDX-License-Identifier: Apache-2.0 */
#include "merkle/tree.h"

#include "crypto/sha256.h"

void vch_tree_leaf(vch_hash_t *ret, vch_slice_t data) { vch_sha256_leaves(ret, &data, 1); }

void vch_tree_node(vch_hash_t *ret, const vch_hash_t *left, const vch_hash_t *right)
{
    vch_hash_t pair[2] = {*left, *right};
    vch_sha256_nodes(ret, pair, 1);
}

void vch_tree_empty(vch_hash_t *ret) { vch_sha256(ret, NULL, 0); }

/* One level up: n hashes to (n + 1) / 2.  A last hash without a partner moves
 * up unchanged, which is what splitting at the largest power of two gives
 * (RFC 6962 section 2.1).  `to` may be `from`. */
static size_t level_up(vch_hash_t *to, const vch_hash_t *from, size_t n)
{
    vch_hash_t last = from[n - 1];
    vch_sha256_nodes(to, from, n / 2);
    if (n % 2) to[n / 2] = last;
    return n / 2 + n % 2;
}

void vch_tree_root_in_place(vch_hash_t *ret, vch_hash_t *leaves, size_t n)
{
    if (n == 0) {
        vch_tree_empty(ret);
        return;
    }
    while (n > 1) n = level_up(leaves, leaves, n);
    *ret = leaves[0];
}

size_t vch_tree_path(vch_hash_t ret[VCH_PATH_HASHES_MAX], const vch_hash_t *leaves, size_t n, size_t i,
                     vch_hash_t *scratch)
{
    size_t count = 0;
    if (i >= n) return 0;
    for (const vch_hash_t *level = leaves; n > 1; i /= 2, level = scratch) {
        if ((i ^ 1) < n) ret[count++] = level[i ^ 1];
        n = level_up(scratch, level, n);
    }
    return count;
}

/* ---- the right edge -------------------------------------------------------- */

/* Leaves hashed in one run: the scratch of a run lives on the stack. */
#define RUN_LEVELS 10
#define RUN_SCRATCH (1u << (RUN_LEVELS - 1))

void vch_edge_init(vch_edge_t *e) { *e = (vch_edge_t){0}; }

/* Append a perfect subtree of 2^level leaves; size is a multiple of that. */
static void edge_carry(vch_edge_t *e, unsigned level, const vch_hash_t *subtree)
{
    vch_hash_t h = *subtree;
    uint64_t added = UINT64_C(1) << level;
    for (; e->size >> level & 1; level++) vch_tree_node(&h, &e->peak[level], &h);
    e->peak[level] = h;
    e->size += added;
}

/* The largest perfect subtree that can start at `size` and has at most n leaves. */
static unsigned run_level(uint64_t size, size_t n)
{
    unsigned level = 0;
    while (level < RUN_LEVELS && n >> (level + 1) && !(size >> level & 1)) level++;
    return level;
}

void vch_edge_add(vch_edge_t *e, const vch_hash_t *leaves, size_t n)
{
    vch_hash_t scratch[RUN_SCRATCH];
    while (n > 0) {
        unsigned level = run_level(e->size, n);
        size_t run = (size_t)1 << level;
        const vch_hash_t *top = leaves;
        for (size_t m = run; m > 1; top = scratch) m = level_up(scratch, top, m);
        edge_carry(e, level, top);
        leaves += run;
        n -= run;
    }
}

void vch_edge_root(const vch_edge_t *e, vch_hash_t *ret)
{
    if (e->size == 0) {
        vch_tree_empty(ret);
        return;
    }
    unsigned level = (unsigned)__builtin_ctzll(e->size);
    vch_hash_t h = e->peak[level];
    while (++level < 64)
        if (e->size >> level & 1) vch_tree_node(&h, &e->peak[level], &h);
    *ret = h;
}
