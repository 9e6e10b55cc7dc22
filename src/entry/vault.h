/* SPDX-License-Identifier: Apache-2.0 */
/* What custodian, trustees and requesters of the vault tell each other: prekey,
 * deal, a holder's root, request, answer, key-destroyed, and the proof against a
 * holder that answered a wrong seed.  docs/formats/vault-keys.cddl.
 *
 * Each message but the proof is the payload of a COSE_Sign1 (crypto/keys.h);
 * these functions make and read payloads, the caller signs and verifies.  Every
 * put appends what its get accepts and nothing else; a put of values out of
 * range is ERR_LIMIT, a get of anything that put can't make is ERR_FORMAT and
 * leaves ret untouched unless said otherwise.  Slices in results are borrowed
 * from the bytes read.  No I/O, no randomness, no allocation but the buffers'. */
#ifndef VCH_ENTRY_VAULT_H
#define VCH_ENTRY_VAULT_H

#include "crypto/keys.h"
#include "crypto/keytree.h"
#include "crypto/seal.h"
#include "merkle/keyroot.h"

#define VCH_VAULT_NODES_MAX 4096u  /* of one request */
#define VCH_VAULT_RANGES_MAX 4096u /* of one key-destroyed */
#define VCH_VAULT_HELD_MAX 34u     /* trees that one trustee holds */

/* A trustee's key for one deal. */
typedef struct {
    vch_hash_t network;
    uint64_t number; /* counts this trustee's prekeys from 1 */
    uint8_t key[VCH_SEAL_KEY];
} vch_prekey_t;
VCH_MUST_USE vch_rc vch_prekey_put(vch_buf_t *, const vch_prekey_t *);
VCH_MUST_USE vch_rc vch_prekey_get(vch_prekey_t *ret, vch_slice_t);

/* The extent's tree as dealer and holders describe it. */
typedef struct {
    vch_hash_t network, extent;
    uint8_t n, t;   /* as vch_kt_sets wants them */
    uint8_t groups; /* 1 to 16 */
    uint32_t rows;  /* 1 to 2^20 */
} vch_tree_about_t;

typedef struct {
    vch_tree_about_t about;
    uint8_t trustee;              /* position, below n */
    uint8_t prekey[VCH_SEAL_KEY]; /* that the seeds are sealed to */
    vch_slice_t sealed;           /* to be opened by vch_deal_open */
} vch_deal_t;
/* How many trees a trustee holds: C(n - 1, t - 1); 0 for impossible n and t. */
unsigned vch_vault_held(unsigned n, unsigned t);
/* seed: vch_vault_held × 32 bytes, the root seeds of the sets that the trustee
 * is not in, in the order of their numbers.  d->sealed is ignored and made
 * here.  random as for vch_seal. */
VCH_MUST_USE vch_rc vch_deal_put(vch_buf_t *, const vch_deal_t *d, const uint8_t *seed, const uint8_t random[32]);
VCH_MUST_USE vch_rc vch_deal_get(vch_deal_t *ret, vch_slice_t);
/* ret_seed: room for vch_vault_held × 32 bytes, secret memory.  ERR_KEY when
 * sealed to another key or damaged; ERR_COMMITMENT when the sealed bytes were
 * made for another deal.  On failure ret_seed is untouched or wiped. */
VCH_MUST_USE vch_rc vch_deal_open(uint8_t *ret_seed, const vch_deal_t *, const uint8_t secret[VCH_SEAL_KEY]);

/* A holder's word on the tree of one set.  An honest holder signs one for each
 * extent and set, ever. */
typedef struct {
    vch_tree_about_t about;
    uint8_t set;
    vch_hash_t root; /* R_T */
} vch_root_t;
VCH_MUST_USE vch_rc vch_root_put(vch_buf_t *, const vch_root_t *);
VCH_MUST_USE vch_rc vch_root_get(vch_root_t *ret, vch_slice_t);

/* Nodes wanted of one tree.  They lie at level 4 or below, strictly from the
 * left, none below another. */
typedef struct {
    vch_hash_t network, grant, extent;
    uint8_t set;
    uint8_t key[VCH_SEAL_KEY]; /* of this request only */
    uint32_t nodes;            /* 1 to 4,096 */
    vch_kt_node_t node[VCH_VAULT_NODES_MAX];
} vch_release_t;
VCH_MUST_USE vch_rc vch_release_put(vch_buf_t *, const vch_release_t *);
/* On failure ret's contents are undefined. */
VCH_MUST_USE vch_rc vch_release_get(vch_release_t *ret, vch_slice_t);

/* The signed part of an answer. */
typedef struct {
    vch_hash_t network, grant, extent;
    uint8_t set;
    uint32_t nodes;
    vch_hash_t root;    /* RFC 6962 over the seeds' items, in the request's order */
    vch_hash_t request; /* SHA-256 of the request's payload */
} vch_seeds_answer_t;
VCH_MUST_USE vch_rc vch_answer_put(vch_buf_t *, const vch_seeds_answer_t *);
VCH_MUST_USE vch_rc vch_answer_get(vch_seeds_answer_t *ret, vch_slice_t);
/* What is signed for these seeds (nodes × 32 bytes).  `leaf` has room for as
 * many hashes and is destroyed. */
VCH_MUST_USE vch_rc vch_answer_make(vch_seeds_answer_t *ret, const vch_release_t *, const uint8_t *seed,
                                    vch_hash_t *leaf);
/* The seeds for the requester alone. */
VCH_MUST_USE vch_rc vch_answer_seal(vch_buf_t *ret, const vch_release_t *, const uint8_t *seed,
                                    const uint8_t random[32]);
/* Open and compare with what was signed: ERR_KEY, ERR_FORMAT (another number of
 * seeds), ERR_COMMITMENT (the signed part is of another request, or of other
 * seeds).  ret_seed: nodes × 32 bytes, secret memory; wiped on failure. */
VCH_MUST_USE vch_rc vch_answer_open(uint8_t *ret_seed, vch_hash_t *leaf, const vch_release_t *,
                                    const vch_seeds_answer_t *, vch_slice_t sealed, const uint8_t secret[VCH_SEAL_KEY]);

typedef struct {
    uint32_t first, count; /* leaf numbers; within one group */
} vch_leaf_range_t;
typedef enum { VCH_GRADE_TOKEN = 1, VCH_GRADE_FILES = 2 } vch_grade_t; /* A, B */
/* "I can derive none of these leaves any more." */
typedef struct {
    vch_hash_t network, extent;
    uint8_t n, t, trustee;
    vch_hash_t erase; /* entry id of the erase entry */
    vch_grade_t grade;
    uint32_t ranges; /* 1 to 4,096, from the left, apart from each other unless a group ends between */
    vch_leaf_range_t range[VCH_VAULT_RANGES_MAX];
} vch_destroyed_t;
VCH_MUST_USE vch_rc vch_destroyed_put(vch_buf_t *, const vch_destroyed_t *);
/* On failure ret's contents are undefined. */
VCH_MUST_USE vch_rc vch_destroyed_get(vch_destroyed_t *ret, vch_slice_t);

/* ---- blame: signed by the accused, twice, and both can't be true ---- */

typedef struct {
    vch_slice_t root;   /* COSE_Sign1 over vch_root_t, by the accused */
    vch_slice_t answer; /* COSE_Sign1 over vch_seeds_answer_t, by the same key */
    uint32_t index;     /* of the seed in the answer */
    vch_kt_seed_t seed; /* as answered; public from here on */
    uint8_t in_answer;  /* hashes of answer_path, at most 12 */
    vch_hash_t answer_path[12];
    uint32_t leaf;           /* below the seed's node */
    vch_hash_t leaf_hash;    /* that R_T has there: SHA-256(0x00 ‖ true leaf) */
    vch_keyroot_path_t path; /* rows and groups are the signed root's: not in the bytes, 0 after get */
} vch_blame_t;
VCH_MUST_USE vch_rc vch_blame_put(vch_buf_t *, const vch_blame_t *);
VCH_MUST_USE vch_rc vch_blame_get(vch_blame_t *ret, vch_slice_t);
/* The seed's place in an answer; `seed`: all of them, nodes × 32 bytes; `leaf`
 * and `scratch` have room for as many hashes.  Fills index, seed and answer_path. */
VCH_MUST_USE vch_rc vch_blame_point(vch_blame_t *, const vch_release_t *, const uint8_t *seed, uint32_t index,
                                    vch_hash_t *leaf, vch_hash_t *scratch);
/* VCH_OK: whoever holds this key signed a seed that contradicts the root which
 * the same key signed.  ERR_KEY: another key's; ERR_SIGNATURE; ERR_NETWORK;
 * ERR_CONFLICT: root and answer are not of one extent and set, or the leaf isn't
 * below the seed; ERR_COMMITMENT: a path doesn't lead where it must;
 * ERR_NOT_FOUND: the seed is right, nobody is to blame.  One group's depth of
 * hashes, two signatures. */
VCH_MUST_USE vch_rc vch_blame_verify(const vch_blame_t *, const vch_pubkey_t *accused, const vch_hash_t *network);

#endif
