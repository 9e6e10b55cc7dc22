/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an opening: vault_get.c and vault_recover.c. */
#ifndef VCH_NODE_VAULT_GET_INT_H
#define VCH_NODE_VAULT_GET_INT_H

#include "crypto/record.h"
#include "merkle/tree.h"
#include "node/node_int.h"
#include "node/vault_int.h"

#define NODES_MAX VCH_VAULT_NODES_MAX

/* A stream's segment at hand. */
typedef struct {
    bool loaded;
    uint32_t number, first, count;
    vch_buf_t bytes;
    uint32_t *at; /* of each record; its class is bytes.p[i] */
    size_t at_cap;
} part_t;

struct vch_opening {
    vch_vault_t *v;
    const vch_signer_t *user;
    vch_wanted_t want;
    vch_record_about_t about;
    uint32_t rows, groups; /* of the extent, of the dataset */
    vch_hash_t rows_root;
    vch_buf_t holding_bytes;
    vch_holding_t h;
    vch_pubkey_t key[VCH_KT_SETS_MAX];    /* of the trustees, by position */
    unsigned prefer[VCH_KT_SETS_MAX];     /* which of a set's holders answered last */
    vch_peer_t *peer[VCH_KT_SETS_MAX];    /* by position; NULL: gone */
    vch_backend_t *node[VCH_STORAGE_MAX]; /* by position; NULL: gone */
    vch_shards_t *shards;
    part_t part[VCH_STREAMS];
    /* the window */
    uint32_t window, window_n; /* first row, rows */
    vch_release_t *ask;        /* its nodes */
    uint8_t *seed;             /* secret: sets × nodes × 32 */
    uint8_t *secret;           /* secret: a request's key and what it is made of */
    vch_hash_t *leaf;
    /* the block */
    bool has_block;
    uint32_t block;
    uint8_t *record_key; /* secret: groups granted × 4,096 × 32, by group number */
    uint8_t *leaves;     /* secret: 4,096 of one tree */
    vch_cipher_t *cipher;
    vch_buf_t plain[VCH_GROUPS_MAX];
    uint32_t row; /* the next one to look at */
    /* every holder's answer for the window, once a record didn't open (vault_recover.c) */
    uint8_t *all;                       /* secret: sets × holders × nodes × 32 */
    uint64_t answered[VCH_KT_SETS_MAX]; /* bit i: the set's i-th holder did */
    bool has_all;                       /* of this window */
    uint64_t set_aside;                 /* positions whose answers didn't fit the records */
    vch_buf_t *told;                    /* sets × holders: the signed parts of these answers */
    vch_buf_t blame[VCH_BLAMES_MAX];    /* proofs (vault_blame.c) */
    size_t blames;
    uint64_t blamed; /* positions that a proof convicts; bits */
    vch_err_t *err;
};

/* ---- vault_get.c ---- */
/* A fresh key, or the own access's, and a signed request for the window's nodes in the tree of ask->set. */
vch_rc og_sign_request(vch_opening_t *, vch_buf_t *ret);
/* One holder's answer to it, checked, into `to` (nodes × 32); its signed part is
 * appended to ret_told, which may be NULL. */
vch_rc og_ask_one(vch_opening_t *, unsigned position, vch_slice_t request, uint8_t *to, vch_buf_t *ret_told);
/* The record under this key; ERR_KEY: it doesn't open, ERR_COMMITMENT: it isn't
 * what was committed.  What comes out is in o->plain. */
vch_rc og_open_under(vch_opening_t *, uint32_t row, uint8_t group, const uint8_t key[VCH_KT_KEY], vch_opened_t *ret);

/* ---- vault_recover.c ---- */
/* A record of this window doesn't open: ask every holder of every tree, and find
 * a set of at most t - 1 trustees without whose answers it does.  Their answers
 * are set aside from then on.  ERR_COMMITMENT: there is no such set, so too many
 * trustees answer wrong, or the custodian dealt badly. */
vch_rc og_recover(vch_opening_t *, uint32_t row, uint8_t group);

/* ---- vault_blame.c ---- */
/* After every holder was asked: those whose seed above this leaf contradicts the
 * root that they signed.  Best effort: reading goes on without. */
void og_accuse(vch_opening_t *, uint32_t node, uint32_t leaf);

#endif
