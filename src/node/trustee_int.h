/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a trustee. */
#ifndef VCH_TRUSTEE_INT_H
#define VCH_TRUSTEE_INT_H

#include "node/trustee.h"
#include "node/use.h"

/* What a grant permits now, as it was computed last. */
typedef struct {
    bool known, own; /* own: a subject's, and party is zeros */
    vch_id_t grant, party;
    uint64_t applied, boot_ms; /* then */
    vch_use_t use;
} permitted_t;

/* Leaves of one tree handed out under one grant. */
typedef struct {
    vch_hash_t grant, extent;
    uint8_t set;
    uint64_t leaves;
} served_t;

/* A subject whose withdrawal the ledger doesn't have yet. */
typedef struct {
    vch_id_t dataset;
    uint32_t subject, serial;
} held_back_t;

/* So many may be out at once; then the oldest is forgotten. */
#define TR_PREKEYS 16u
typedef struct {
    bool given; /* and not used yet */
    uint8_t key[VCH_SEAL_KEY];
} prekey_t;

struct vch_trustee {
    vch_ledger_t *l;
    const vch_signer_t *key;
    vch_keyid_t id;
    char dir[VCH_PATH_MAX];
    uint64_t fresh_ms;
    vch_ledger_t *home; /* what it says goes there; usually l */
    bool heard;
    uint64_t heard_boot; /* when the node was heard last */
    vch_seeds_t *seeds;
    vch_file_t *dealt_file;
    vch_hash_t *dealt;
    size_t dealt_n, dealt_cap;
    vch_hash_t *waiting; /* extents that weren't on the ledger at the last sweep of old ones */
    size_t waiting_n;
    prekey_t prekey[TR_PREKEYS];
    uint8_t *secret; /* 32 bytes of secret memory for each */
    unsigned next_prekey;
    uint64_t prekeys;   /* number of the last one */
    uint64_t looked_at; /* applied leaves of the ledger when every erasure was carried out; 0: not yet */
    permitted_t permitted;
    held_back_t *held;
    size_t held_n, held_cap;
    uint64_t held_bytes; /* of the file that count */
    served_t *served;
    size_t served_n, served_cap;
};

/* Every erasure on the ledger carried out in the seeds (trustee_erase.c). */
vch_rc tr_catch_up(vch_trustee_t *, vch_err_t *);
/* Hashes of leaves of one extent that are about to be forgotten, durable on return (trustee_path.c). */
vch_rc tr_keep_hashes(vch_trustee_t *, const vch_forget_t *, size_t n, vch_err_t *);
/* Withdrawals ahead of the ledger (trustee_held.c): what was kept, and what a grant
 * permits less their subjects' rows; the latter between read_begin and _end. */
vch_rc tr_load_held(vch_trustee_t *, vch_err_t *);
vch_rc tr_hold_back(vch_trustee_t *, vch_use_t *, vch_err_t *);
/* Whose key this is, if it may speak now; between read_begin and _end.
 * ERR_KEY: unknown or revoked. */
vch_rc tr_signer(vch_trustee_t *, const vch_cose_t *, vch_pubkey_t *ret, vch_id_t *ret_party, unsigned *ret_roles,
                 vch_err_t *);
vch_rc tr_network(const vch_trustee_t *, const vch_hash_t *, vch_err_t *);
vch_rc tr_read(vch_cose_t *ret, vch_slice_t message, vch_err_t *);

#endif
