/* SPDX-License-Identifier: Apache-2.0 */
#include "merkle/keyroot.h"

#include "crypto/sha256.h"

/* Leaf hashes of the rows [row, row + n) of a group, n at most a block. */
static bool block_hashes(vch_hash_t *ret, const vch_kt_seed_t *from, unsigned group, uint32_t row, size_t n)
{
    uint8_t key[VCH_KT_BLOCK * VCH_KT_KEY];
    bool good = vch_kt_leaves(key, from, vch_kt_leaf(group, row), n);
    if (good) vch_sha256_fixed(ret, 0x00, key, VCH_KT_KEY, VCH_KT_KEY, n);
    vch_wipe(key, sizeof key);
    return good;
}

static bool sizes_good(unsigned group, uint32_t rows)
{
    return group < VCH_KT_GROUPS_MAX && rows >= 1 && rows <= VCH_KT_ROWS_MAX;
}

bool vch_keyroot_group(vch_hash_t *ret, const vch_kt_seed_t *from, unsigned group, uint32_t rows)
{
    vch_hash_t hash[VCH_KT_BLOCK];
    vch_edge_t edge;
    if (!sizes_good(group, rows)) return false;
    vch_edge_init(&edge);
    for (uint32_t row = 0; row < rows; row += VCH_KT_BLOCK) {
        size_t n = vch_min(rows - row, VCH_KT_BLOCK);
        if (!block_hashes(hash, from, group, row, n)) return false;
        vch_edge_add(&edge, hash, n);
    }
    vch_edge_root(&edge, ret);
    return true;
}

bool vch_keyroot(vch_hash_t *ret, const vch_hash_t *group, unsigned groups)
{
    vch_hash_t leaf[VCH_KT_GROUPS_MAX];
    if (groups == 0 || groups > VCH_KT_GROUPS_MAX) return false;
    vch_sha256_fixed(leaf, 0x00, group->b, sizeof *group, sizeof *group, groups);
    vch_tree_root_in_place(ret, leaf, groups);
    return true;
}

/* ---- paths ------------------------------------------------------------------- */

typedef struct {
    const vch_kt_seed_t *from;
    unsigned group;
    vch_hash_t hash[VCH_KT_BLOCK];
} walk_t;

/* The perfect subtree of 2^level rows that begins at n * 2^level. */
static vch_rc subtree(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    walk_t *w = ctx;
    uint32_t rows = 1u << level, row = (uint32_t)n << level;
    vch_edge_t edge;
    vch_edge_init(&edge);
    for (uint32_t done = 0; done < rows; done += VCH_KT_BLOCK) {
        size_t now = vch_min(rows - done, VCH_KT_BLOCK);
        if (!block_hashes(w->hash, w->from, w->group, row + done, now)) return VCH_ERR_LIMIT;
        vch_edge_add(&edge, w->hash, now);
    }
    vch_edge_root(&edge, ret);
    return VCH_OK;
}

static size_t path_among(vch_hash_t ret[VCH_PATH_HASHES_MAX], const vch_hash_t *group, unsigned groups, unsigned i)
{
    vch_hash_t leaf[VCH_KT_GROUPS_MAX], scratch[VCH_KT_GROUPS_MAX];
    vch_sha256_fixed(leaf, 0x00, group->b, sizeof *group, sizeof *group, groups);
    return vch_tree_path(ret, leaf, groups, i, scratch);
}

bool vch_keyroot_prove(vch_keyroot_path_t *ret, const vch_kt_seed_t *from, uint32_t leaf, uint32_t rows,
                       const vch_hash_t *group, unsigned groups)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n = 0;
    uint32_t row = leaf % VCH_KT_ROWS_MAX;
    walk_t w = {.from = from, .group = leaf >> VCH_KT_ROW_BITS};
    if (groups > VCH_KT_GROUPS_MAX || w.group >= groups || !sizes_good(w.group, rows) || row >= rows) return false;
    if (vch_inclusion_prove(path, &n, row, rows, subtree, &w) != VCH_OK || n > VCH_KT_ROW_BITS) return false;
    *ret = (vch_keyroot_path_t){.rows = rows, .groups = (uint8_t)groups, .inside = (uint8_t)n};
    memcpy(ret->hash, path, n * sizeof *path);
    n = path_among(path, group, groups, w.group);
    memcpy(ret->hash + ret->inside, path, n * sizeof *path);
    ret->among = (uint8_t)n;
    return true;
}

bool vch_keyroot_verify_hash(const vch_hash_t *root, uint32_t leaf, const vch_hash_t *leaf_hash,
                             const vch_keyroot_path_t *p)
{
    vch_hash_t hash, group;
    uint32_t row = leaf % VCH_KT_ROWS_MAX;
    if (p->inside > VCH_KT_ROW_BITS || p->among > VCH_KT_GROUP_LEVEL || p->groups > VCH_KT_GROUPS_MAX) return false;
    if (!vch_inclusion_root(&group, row, p->rows, leaf_hash, p->hash, p->inside)) return false;
    vch_tree_leaf(&hash, vch_slice(group.b, sizeof group.b));
    return vch_inclusion_verify(leaf >> VCH_KT_ROW_BITS, p->groups, &hash, p->hash + p->inside, p->among, root);
}

bool vch_keyroot_verify(const vch_hash_t *root, uint32_t leaf, const uint8_t key[VCH_KT_KEY],
                        const vch_keyroot_path_t *p)
{
    vch_hash_t hash;
    vch_tree_leaf(&hash, vch_slice(key, VCH_KT_KEY));
    return vch_keyroot_verify_hash(root, leaf, &hash, p);
}
