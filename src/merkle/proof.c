/* SPDX-License-Identifier: Apache-2.0 */
#include "merkle/tree.h"

/* ---- checking --------------------------------------------------------------- */

/* RFC 9162 section 2.1.3.2.  `at` is the node's number on its level and
 * `last` the number of the level's last node; a last node with an even number
 * has no sibling there and rises until it gets one. */
bool vch_inclusion_root(vch_hash_t *ret, uint64_t index, uint64_t size, const vch_hash_t *leaf, const vch_hash_t *path,
                        size_t n)
{
    if (index >= size) return false;
    uint64_t at = index, last = size - 1;
    vch_hash_t h = *leaf;
    for (size_t i = 0; i < n; i++, at >>= 1, last >>= 1) {
        if (last == 0) return false; /* more hashes than levels */
        if (at & 1 || at == last) {
            vch_tree_node(&h, &path[i], &h);
            for (; !(at & 1) && at; at >>= 1) last >>= 1;
        } else {
            vch_tree_node(&h, &h, &path[i]);
        }
    }
    if (last != 0) return false; /* fewer hashes than levels */
    *ret = h;
    return true;
}

bool vch_inclusion_verify(uint64_t index, uint64_t size, const vch_hash_t *leaf, const vch_hash_t *path, size_t n,
                          const vch_hash_t *root)
{
    vch_hash_t h;
    return vch_inclusion_root(&h, index, size, leaf, path, n) && vch_hash_eq(&h, root);
}

/* RFC 9162 section 2.1.4.2, steps 3 to 7, for 0 < size1 < size2.  The path
 * starts at the largest perfect subtree that ends the old tree; `was` and
 * `is` rise together towards the old and the new root. */
static bool consistency_walk(vch_hash_t *was, vch_hash_t *is, uint64_t size1, uint64_t size2, const vch_hash_t *path,
                             size_t n)
{
    uint64_t at = size1 - 1, last = size2 - 1;
    for (; at & 1; at >>= 1) last >>= 1;
    for (size_t i = 0; i < n; i++, at >>= 1, last >>= 1) {
        if (last == 0) return false;
        if (at & 1 || at == last) {
            vch_tree_node(was, &path[i], was);
            vch_tree_node(is, &path[i], is);
            for (; !(at & 1) && at; at >>= 1) last >>= 1;
        } else {
            vch_tree_node(is, is, &path[i]);
        }
    }
    return last == 0;
}

bool vch_consistency_verify(uint64_t size1, uint64_t size2, const vch_hash_t *root1, const vch_hash_t *root2,
                            const vch_hash_t *path, size_t n)
{
    if (size1 == 0 || size1 > size2) return false;
    if (size1 == size2) return n == 0 && vch_hash_eq(root1, root2);
    if (n == 0) return false;
    /* An old tree that is one perfect subtree starts from its own root; else
     * the path's first hash is where both walks start. */
    bool perfect = (size1 & (size1 - 1)) == 0;
    vch_hash_t was = perfect ? *root1 : path[0], is = was;
    size_t used = perfect ? 0 : 1;
    return consistency_walk(&was, &is, size1, size2, path + used, n - used) && vch_hash_eq(&was, root1) &&
           vch_hash_eq(&is, root2);
}

/* ---- making ------------------------------------------------------------------- */

typedef struct {
    vch_subtree_fn get;
    void *ctx;
    size_t n;
    vch_hash_t hash[VCH_PATH_HASHES_MAX]; /* from the root down */
} prover_t;

/* The largest power of two below n, for n > 1. */
static uint64_t split(uint64_t n) { return UINT64_C(1) << (63 - __builtin_clzll(n - 1)); }

/* Root over the leaves [from, from + n): the perfect subtrees of n's bits,
 * joined from the smallest, rightmost one. */
static vch_rc range_root(vch_subtree_fn get, void *ctx, vch_hash_t *ret, uint64_t from, uint64_t n)
{
    vch_hash_t h, part;
    bool first = true;
    for (uint64_t rest = n; rest; rest &= rest - 1, first = false) {
        unsigned level = (unsigned)__builtin_ctzll(rest);
        VCH_TRY(get(ctx, first ? &h : &part, level, (from + rest - (UINT64_C(1) << level)) >> level));
        if (!first) vch_tree_node(&h, &part, &h);
    }
    *ret = h;
    return VCH_OK;
}

static vch_rc prover_push(prover_t *p, uint64_t from, uint64_t n)
{
    VCH_TRY(range_root(p->get, p->ctx, &p->hash[p->n], from, n));
    p->n++;
    return VCH_OK;
}

static void prover_hand_out(const prover_t *p, vch_hash_t *ret, size_t *ret_n)
{
    for (size_t i = 0; i < p->n; i++) ret[i] = p->hash[p->n - 1 - i];
    *ret_n = p->n;
}

/* RFC 9162 section 2.1.3.1: PATH(m, D[n]), walked from the root. */
vch_rc vch_inclusion_prove(vch_hash_t ret[VCH_PATH_HASHES_MAX], size_t *ret_n, uint64_t index, uint64_t size,
                           vch_subtree_fn get, void *ctx)
{
    if (index >= size) return VCH_ERR_USAGE;
    prover_t p = {.get = get, .ctx = ctx};
    uint64_t from = 0, n = size;
    while (n > 1) {
        uint64_t k = split(n);
        if (index - from < k) {
            VCH_TRY(prover_push(&p, from + k, n - k));
            n = k;
        } else {
            VCH_TRY(prover_push(&p, from, k));
            from += k;
            n -= k;
        }
    }
    prover_hand_out(&p, ret, ret_n);
    return VCH_OK;
}

/* RFC 9162 section 2.1.4.1: SUBPROOF(m, D[n], b), walked from the root; b
 * holds as long as the walk has not turned right. */
vch_rc vch_consistency_prove(vch_hash_t ret[VCH_PATH_HASHES_MAX], size_t *ret_n, uint64_t size1, uint64_t size2,
                             vch_subtree_fn get, void *ctx)
{
    if (size1 == 0 || size1 > size2) return VCH_ERR_USAGE;
    prover_t p = {.get = get, .ctx = ctx};
    uint64_t from = 0, m = size1, n = size2;
    while (m != n) {
        uint64_t k = split(n);
        if (m <= k) {
            VCH_TRY(prover_push(&p, from + k, n - k));
            n = k;
        } else {
            VCH_TRY(prover_push(&p, from, k));
            from += k;
            m -= k;
            n -= k;
        }
    }
    if (from > 0) VCH_TRY(prover_push(&p, from, m));
    prover_hand_out(&p, ret, ret_n);
    return VCH_OK;
}

vch_rc vch_subtrees_root(vch_hash_t *ret, uint64_t size, vch_subtree_fn get, void *ctx)
{
    if (size > 0) return range_root(get, ctx, ret, 0, size);
    vch_tree_empty(ret);
    return VCH_OK;
}
