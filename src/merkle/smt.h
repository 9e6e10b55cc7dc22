/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse Merkle tree, hashed as ICS23's SmtSpec:
 *
 *   path  = SHA-256(key), most significant bit first, 0 = left
 *   leaf  = SHA-256(0x00 ‖ path ‖ SHA-256(value))
 *   node  = SHA-256(0x01 ‖ left ‖ right)
 *   empty subtree = 32 zero bytes; a subtree with one leaf is that leaf
 *
 * Stored in pages of six levels (byte layout: smt.c), at most 4,164 bytes
 * each, read and written through the caller's functions, so the tree itself
 * does no I/O.  Keys are never deleted. */
#ifndef VCH_SMT_H
#define VCH_SMT_H

#include "base/base.h"

#define VCH_SMT_LEVELS_PER_PAGE 6
#define VCH_SMT_PATH_MAX 256

/* A page's name: depth (0, 6, 12, …) and the path's first `depth` bits, the
 * rest zero.  Encoded as u16 depth ‖ 32 bytes for a key/value store. */
typedef struct {
    uint16_t depth;
    uint8_t prefix[32];
} vch_smt_page_id_t;

typedef struct {
    void *ctx;
    /* Bytes of a page as last saved, borrowed until the next call, or n = 0
     * when there is none. */
    vch_rc (*load)(void *ctx, const vch_smt_page_id_t *, vch_slice_t *ret);
    vch_rc (*save)(void *ctx, const vch_smt_page_id_t *, vch_slice_t page);
    /* May both be NULL.  `verified`: the page last loaded leads to the root, and
     * whoever keeps its bytes in memory may then say so to `known`, as of those
     * that were saved; vch_smt_check doesn't hash a known page again. */
    bool (*known)(void *ctx, const vch_smt_page_id_t *);
    void (*verified)(void *ctx, const vch_smt_page_id_t *);
} vch_smt_io_t;

typedef struct {
    vch_hash_t path;       /* SHA-256(key) */
    vch_hash_t value_hash; /* SHA-256(value) */
} vch_smt_leaf_t;

/* Put `n` leaves (sorted here by path, doubles refused with ERR_CONFLICT) and
 * get the new root.  Dirty pages are saved once each.  `root` is the tree's
 * root before (all zero: empty); ERR_CORRUPT when a loaded page does not match
 * it.  A leaf whose path is there already replaces its value hash.
 *
 * Pages are saved as they are finished, children first: when this fails, drop
 * what was saved (one store transaction per update does that).  `scratch`
 * gives up one page for each depth reached, about 9 KB: some 40 KB at a
 * million keys, never more than VCH_SMT_SCRATCH_MAX, whatever n is. */
#define VCH_SMT_SCRATCH_MAX (400u * 1024u)
VCH_MUST_USE vch_rc vch_smt_update(const vch_smt_io_t *, vch_hash_t *root, vch_smt_leaf_t *leaves, size_t n,
                                   vch_arena_t *scratch);

/* Does the tree say the same?  For each of `n` leaves (sorted here by path;
 * doubles are fine) the tree must hold this value hash, or nothing under the
 * path where the value hash is all zero.  Each page on the way is loaded and
 * hashed once, however many leaves lie under it.  ERR_COMMITMENT when the tree
 * says otherwise, ERR_CORRUPT when a page does not match the root.  Saves
 * nothing; `scratch` as above, and not needed for a single leaf. */
VCH_MUST_USE vch_rc vch_smt_check(const vch_smt_io_t *, const vch_hash_t *root, vch_smt_leaf_t *said, size_t n,
                                  vch_arena_t *scratch);

/* A proof for one path: siblings from the root down, and what stands at the
 * end: the leaf itself, another leaf (whose path differs), or nothing. */
typedef struct {
    vch_hash_t sibling[VCH_SMT_PATH_MAX];
    uint16_t depth;
    enum { VCH_SMT_MEMBER, VCH_SMT_OTHER, VCH_SMT_EMPTY } end;
    vch_smt_leaf_t leaf; /* of MEMBER and OTHER */
} vch_smt_proof_t;

VCH_MUST_USE vch_rc vch_smt_prove(const vch_smt_io_t *, const vch_hash_t *root, const vch_hash_t *path,
                                  vch_smt_proof_t *ret);
/* MEMBER: true when (path, value_hash) is in the tree of this root. */
bool vch_smt_verify_member(const vch_hash_t *root, const vch_hash_t *path, const vch_hash_t *value_hash,
                           const vch_hash_t *sibling, size_t depth);
/* Absence: true when nothing stands under `path`; other = NULL for EMPTY. */
bool vch_smt_verify_absent(const vch_hash_t *root, const vch_hash_t *path, const vch_smt_leaf_t *other,
                           const vch_hash_t *sibling, size_t depth);

#endif
