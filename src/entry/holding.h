/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds an extent: which trustees have its keys and which storage nodes its
 * shards, as its version entry says (field `vault` of an extent).
 *
 *   threshold      t of n trustees; n is the number of trustees named
 *   trustees       their key ids by position, all different
 *   data           k: any so many storage nodes have all
 *   storage        their key ids by position, all different
 *   roots          R_T of each set T, in order of set numbers (docs/formats/vault-keys.md)
 *   signatures     for each set, each of its holders' in order of positions: what
 *                  COSE_Sign1 of the root message signs (entry/vault.h)
 *   shards-root    root of the manifest (docs/formats/vault-extent.md)
 *
 * Pure: no I/O, no allocation but the caller's buffers. */
#ifndef VCH_HOLDING_H
#define VCH_HOLDING_H

#include "entry/entry.h"
#include "entry/vault.h"

#define VCH_STORAGE_MAX 16u

typedef struct {
    uint8_t n, t, sets; /* sets: C(n, t - 1) */
    uint8_t k, nodes;   /* of storage */
    vch_keyid_t trustee[VCH_KT_SETS_MAX], storage[VCH_STORAGE_MAX];
    vch_hash_t root[VCH_KT_SETS_MAX];
    vch_hash_t shards_root;
    const uint8_t *signature; /* the first one, borrowed; VCH_HOLDING_STRIDE apart */
} vch_holding_t;
#define VCH_HOLDING_STRIDE (VCH_SIG_LEN + 2u) /* a CBOR head before each */

/* Append the map for the version statement.  signature: sets × holders × 64
 * bytes (h->signature is ignored).  ERR_LIMIT for numbers that don't fit. */
VCH_MUST_USE vch_rc vch_holding_put(vch_buf_t *, const vch_holding_t *h, const uint8_t (*signature)[VCH_SIG_LEN]);
/* From a map that the table of kinds has passed.  ERR_FORMAT: impossible
 * numbers of trustees or nodes, a key named twice, or too few or too many roots
 * or signatures. */
VCH_MUST_USE vch_rc vch_holding_get(vch_holding_t *ret, vch_slice_t map);

/* How many trustees hold the tree of one set: n - t + 1. */
static inline unsigned vch_holding_holders(const vch_holding_t *h) { return h->n - h->t + 1u; }
/* Position of a set's i-th holder. */
unsigned vch_holding_holder(const vch_holding_t *h, unsigned set, unsigned i);
/* Its signature over the set's root. */
const uint8_t *vch_holding_signature(const vch_holding_t *h, unsigned set, unsigned i);
/* The set's root message, and that this key signed it. */
VCH_MUST_USE vch_rc vch_holding_message(vch_root_t *ret, const vch_holding_t *h, const vch_tree_about_t *,
                                        unsigned set);
VCH_MUST_USE vch_rc vch_holding_verify(const vch_root_t *, const vch_pubkey_t *, const uint8_t signature[VCH_SIG_LEN]);

#endif
