/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 6962 trees over SHA-256.
 *
 *            r            leaf  = SHA-256(0x00 ‖ data)
 *          /   \          node  = SHA-256(0x01 ‖ left ‖ right)
 *         a     b         empty = SHA-256("")
 *        / \   / \        split at the largest power of two below n
 *       0   1 2   3
 *
 * Pure: caller's memory, no I/O.  Sizes are u64; paths at most 64 hashes. */
#ifndef VCH_TREE_H
#define VCH_TREE_H

#include "base/base.h"

#define VCH_PATH_HASHES_MAX 64

void vch_tree_leaf(vch_hash_t *ret, vch_slice_t data);
void vch_tree_node(vch_hash_t *ret, const vch_hash_t *left, const vch_hash_t *right);
void vch_tree_empty(vch_hash_t *ret);
/* Root over n leaf hashes; destroys `leaves` (works in place, n log n none:
 * n - 1 node hashes, many at a time). */
void vch_tree_root_in_place(vch_hash_t *ret, vch_hash_t *leaves, size_t n);
/* Inclusion path of leaf i, leaf's sibling first; leaves are kept; `scratch`
 * has n hashes of room.  Returns the number of hashes written. */
size_t vch_tree_path(vch_hash_t ret[VCH_PATH_HASHES_MAX], const vch_hash_t *leaves, size_t n, size_t i,
                     vch_hash_t *scratch);

/* ---- the right edge: everything needed to go on appending ---- */
typedef struct {
    uint64_t size;
    vch_hash_t peak[64]; /* peak[k]: perfect subtree of 2^k leaves, when bit k of size is set */
} vch_edge_t;
void vch_edge_init(vch_edge_t *);
void vch_edge_add(vch_edge_t *, const vch_hash_t *leaves, size_t n);
void vch_edge_root(const vch_edge_t *, vch_hash_t *ret);

/* ---- proofs (RFC 9162 section 2.1.3.2 and 2.1.4.2) ----
 * True only when every hash of the path is used and the root comes out. */
bool vch_inclusion_verify(uint64_t index, uint64_t size, const vch_hash_t *leaf, const vch_hash_t *path, size_t n,
                          const vch_hash_t *root);
/* Root that the path leads to; false when the path has the wrong length. */
bool vch_inclusion_root(vch_hash_t *ret, uint64_t index, uint64_t size, const vch_hash_t *leaf, const vch_hash_t *path,
                        size_t n);
/* size1 = 0 is refused; size1 = size2 wants an empty path and equal roots. */
bool vch_consistency_verify(uint64_t size1, uint64_t size2, const vch_hash_t *root1, const vch_hash_t *root2,
                            const vch_hash_t *path, size_t n);

/* ---- making proofs from stored subtrees ----
 * `get` yields the hash of the perfect subtree [n·2^level, (n+1)·2^level). */
typedef vch_rc (*vch_subtree_fn)(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n);
VCH_MUST_USE vch_rc vch_inclusion_prove(vch_hash_t ret[VCH_PATH_HASHES_MAX], size_t *ret_n, uint64_t index,
                                        uint64_t size, vch_subtree_fn get, void *ctx);
VCH_MUST_USE vch_rc vch_consistency_prove(vch_hash_t ret[VCH_PATH_HASHES_MAX], size_t *ret_n, uint64_t size1,
                                          uint64_t size2, vch_subtree_fn get, void *ctx);
VCH_MUST_USE vch_rc vch_subtrees_root(vch_hash_t *ret, uint64_t size, vch_subtree_fn get, void *ctx);

/* ---- tlog-tiles (C2SP, v0.1.0) ---- */
/* "tile/0/x001/234" or with ".p/W" for width 1..255; width 256 is full.
 * level < 0 means "entries".  ERR_LIMIT when it does not fit. */
VCH_MUST_USE vch_rc vch_tile_path(char *ret, size_t ret_n, int level, uint64_t n, unsigned width);

#endif
