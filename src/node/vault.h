/* SPDX-License-Identifier: Apache-2.0 */
/* The vault from the outside: an extent goes in encrypted, its shards to
 * storage nodes and its keys to trustees, and rows come out again to whoever
 * holds a grant.
 *
 *   custodian   vch_sealing_begin, put …, end    one extent at a time
 *   user        vch_opening_begin, next …, end   one extent under one grant
 *
 * Formats: docs/formats/vault-keys.md, vault-extent.md.  The embedded vault
 * (vault/ in the ledger's directory) has all parties in one process: one trust
 * domain, which protects against a lost or stolen folder, not against whoever
 * runs the machine.
 *
 * One thread at a time.  None of these may be called between read_begin and
 * _end of the ledger. */
#ifndef VCH_NODE_VAULT_H
#define VCH_NODE_VAULT_H

#include "entry/holding.h"
#include "node/node.h"
#include "store/shards.h"

/* ---- a trustee as others reach it ------------------------------------------------ */

/* Messages in, messages out; results as in trustee.h, or ERR_UNREACHABLE. */
typedef struct vch_peer vch_peer_t;
typedef struct {
    vch_rc (*prekey)(vch_peer_t *, vch_buf_t *ret, vch_err_t *);
    vch_rc (*deal)(vch_peer_t *, vch_slice_t deal, vch_buf_t *ret_roots, vch_err_t *);
    vch_rc (*release)(vch_peer_t *, vch_slice_t request, vch_buf_t *ret_answer, vch_buf_t *ret_box, vch_err_t *);
    vch_rc (*path)(vch_peer_t *, const vch_hash_t *extent, uint8_t set, uint32_t leaf, vch_buf_t *ret, vch_err_t *);
    vch_rc (*withdraw)(vch_peer_t *, vch_slice_t tx, vch_err_t *);
    vch_rc (*sweep)(vch_peer_t *, vch_err_t *);
    vch_rc (*erase)(vch_peer_t *, vch_err_t *);
    void (*close)(vch_peer_t *);
} vch_peer_ops_t;
struct vch_peer {
    const vch_peer_ops_t *ops;
};

/* ---- all that this process reaches ------------------------------------------------- */

typedef struct {
    vch_ledger_t *l;
    uint8_t n, t;     /* of trustees, for what is put in */
    uint8_t nodes, k; /* of storage */
    vch_keyid_t trustee_id[VCH_KT_SETS_MAX], storage_id[VCH_STORAGE_MAX];
    vch_peer_t *trustee[VCH_KT_SETS_MAX];                                      /* NULL: gone */
    vch_backend_t *storage[VCH_STORAGE_MAX];                                   /* NULL: gone */
    char trustee_why[VCH_KT_SETS_MAX][120], storage_why[VCH_STORAGE_MAX][120]; /* it is gone, for people */
    vch_file_t *lock;                                                          /* while something is put in */
    const vch_signer_t *as; /* signs questions to served roles; NULL: nobody.  Borrowed */
} vch_vault_t;

/* ERR_NOT_FOUND when this ledger has no vault.  A trustee or storage node whose
 * folder is lost or damaged is gone, and its text says why; that is no failure yet.
 * Waits [ledger] lock_wait_ms while another process uses its trustees, then ERR_LOCKED. */
VCH_MUST_USE vch_rc vch_vault_open(vch_vault_t **ret, vch_ledger_t *, vch_err_t *);
void vch_vault_close(vch_vault_t *); /* NULL is fine */
/* Keep others from putting in, and clear away what a cut-off ingest left. */
VCH_MUST_USE vch_rc vch_vault_lock(vch_vault_t *, vch_err_t *);
/* The second half of it, for an ingest that failed and holds the lock. */
VCH_MUST_USE vch_rc vch_vault_sweep(vch_vault_t *, vch_err_t *);

/* Trustees that are here carry out what was erased and say so. */
VCH_MUST_USE vch_rc vch_vault_erase(vch_vault_t *, vch_err_t *);

/* A signed withdrawal to every trustee that answers, whatever becomes of it on the
 * ledger.  *ret_told: how many took it.  The first refusal is the result when none did. */
VCH_MUST_USE vch_rc vch_vault_withdraw(vch_vault_t *, vch_slice_t tx, unsigned *ret_told, vch_err_t *);

/* ---- putting in ------------------------------------------------------------------------ */

typedef struct vch_sealing vch_sealing_t;
VCH_MUST_USE vch_rc vch_sealing_begin(vch_sealing_t **ret, vch_vault_t *, const vch_id_t *dataset,
                                      const vch_hash_t *extent, unsigned groups, vch_err_t *);
/* The next row: groups × salt, canonical bytes and commitment.  ERR_LIMIT when
 * a group has more than 1 MiB. */
VCH_MUST_USE vch_rc vch_sealing_put(vch_sealing_t *, const uint8_t *salts, const vch_slice_t *canonical,
                                    const vch_hash_t *commitment, vch_err_t *);
/* Shards are durable, keys dealt, roots agreed on and signed; ret: the `vault`
 * map for the version entry.  Ends the sealing, whatever it returns; on failure
 * nothing usable is left. */
VCH_MUST_USE vch_rc vch_sealing_end(vch_sealing_t *, const vch_signer_t *custodian, vch_buf_t *ret, vch_err_t *);
void vch_sealing_abort(vch_sealing_t *); /* NULL is fine */

/* ---- taking out ------------------------------------------------------------------------- */

/* The key pair that an own access names: all its answers are sealed to it. */
typedef struct vch_once {
    uint8_t key[VCH_SEAL_KEY];
    const uint8_t *secret; /* VCH_SEAL_KEY bytes of secret memory */
} vch_once_t;

typedef struct {
    vch_id_t dataset;
    uint32_t number; /* of the extent in the dataset */
    vch_hash_t grant;
    uint16_t groups;        /* granted, a bit set */
    const uint8_t *bits;    /* rows wanted, all of them granted; borrowed until the end */
    const vch_once_t *once; /* NULL: a fresh pair for each request; borrowed until the end */
} vch_wanted_t;

typedef struct {
    vch_slice_t canonical[VCH_GROUPS_MAX]; /* of granted groups, else empty */
    const uint8_t *salt[VCH_GROUPS_MAX];
} vch_opened_t;

typedef struct vch_opening vch_opening_t;
/* The manifest, and all commitments against the extent's rows root.
 * ERR_NOT_FOUND: not in the vault; ERR_UNREACHABLE: too few storage nodes. */
VCH_MUST_USE vch_rc vch_opening_begin(vch_opening_t **ret, vch_vault_t *, const vch_signer_t *user,
                                      const vch_wanted_t *, vch_err_t *);
/* The next wanted row, borrowed until the next call; ERR_NOT_FOUND at the end.
 * What doesn't match its commitment is not handed out: ERR_COMMITMENT names the
 * row.  A trustee's refusal is the result when no other holder answers. */
VCH_MUST_USE vch_rc vch_opening_next(vch_opening_t *, uint32_t *ret_row, vch_opened_t *ret, vch_err_t *);
/* Positions of trustees without whose answers the records opened; bits.  Not a
 * proof against them. */
uint64_t vch_opening_set_aside(const vch_opening_t *);
/* Proofs against trustees that answered wrong seeds, made as they were found:
 * the i-th one, borrowed; false behind the last.  As many as were found, at most
 * VCH_BLAMES_MAX an opening; what a trustee answered rightly is never among them. */
#define VCH_BLAMES_MAX 64u
bool vch_opening_blame(const vch_opening_t *, size_t i, vch_slice_t *ret);
void vch_opening_end(vch_opening_t *); /* wipes; NULL is fine */

/* The extent's holders as the ledger has them; ERR_NOT_FOUND: not in the vault.
 * ret borrows from value. */
VCH_MUST_USE vch_rc vch_vault_holding(vch_ledger_t *, const vch_id_t *dataset, uint32_t extent, vch_buf_t *value,
                                      vch_holding_t *ret, vch_err_t *);

#endif
