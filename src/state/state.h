/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine: what is true after each entry, and the root that says so.
 *
 *   prepare   parse and check one transaction alone (any thread, no state)
 *   check     its signatures, one by one (any thread, no state; or left to verify)
 *   verify    signatures against the state's keys (reads only)
 *   apply     every rule; all or nothing; (state, transaction, time) -> outcome
 *   close     end the block: new state root, the state-commit leaf
 *   save      put what changed into the index, with the size it has reached;
 *             or freeze it, and let another thread do that
 *
 * apply is pure and deterministic: no clock, randomness, float, I/O or locale;
 * the same transactions, blocks and times give the same bytes everywhere.
 * Values that it needs are fetched from the index the first time; memory comes
 * from vch_alloc, and a refused allocation or any other failure rolls the
 * whole transaction back (docs/adr/0004-apply-rolls-back.md).
 *
 * The index (store/kv.h) holds, by first byte of the key: 'S' state value by
 * state key, 'P' tree page, 'B' bitmaps (live rows of a version, set of a
 * grant), 'J' subject column of an extent, 'j' one that a custodian still
 * gives in pieces, 'E' extent id -> its place, 'H' and 'F' the cells and the
 * flat indices of a chunk of consents, 'O' output digests of a run, 'I' entry
 * id -> leaf index, 'M' meta.  A value loaded from it is checked against its
 * leaf in the state tree before it is used.
 *
 * Threads: one at a time, save vch_tx_prepare, vch_tx_signatures, vch_tx_check
 * and vch_state_save_frozen. */
#ifndef VCH_STATE_H
#define VCH_STATE_H

#include "base/base.h"
#include "entry/entry.h"
#include "entry/value.h"
#include "log/log.h"
#include "merkle/smt.h"
#include "policy/policy.h"
#include "store/kv.h"

typedef struct vch_state vch_state_t;

/* A transaction after its stateless checks; lives in the arena given. */
typedef struct {
    vch_tx_t tx;
    vch_entry_t entry;
    vch_statement_t *statement; /* entry.count of them */
    vch_hash_t *leaf;           /* their leaf hashes */
    vch_pubkey_t key;           /* `checked`: every signature was, the entry's with this key */
    bool checked;
    bool verified; /* checked, and the key is registered */
} vch_prepared_t;

/* ERR_FORMAT, ERR_LIMIT, ERR_UNSUPPORTED (reserved or unsigned kind), … */
VCH_MUST_USE vch_rc vch_tx_prepare(vch_prepared_t *ret, const vch_tx_t *, vch_arena_t *, vch_err_t *);

/* Its signatures, number 0 being the entry's and the others its owners', can be
 * checked by any thread and in any order before the state is asked: who has
 * checked all of them sets `key` and `checked`, and vch_state_verify then only
 * looks whether that key is the registered one.  `key` is what the entry's key
 * id names.  ERR_KEY, ERR_SIGNATURE. */
uint32_t vch_tx_signatures(const vch_prepared_t *);
VCH_MUST_USE vch_rc vch_tx_check(const vch_prepared_t *, uint32_t number, const vch_pubkey_t *key, vch_err_t *);

/* Over an index that holds nothing or an earlier save.  ERR_CORRUPT when what
 * it holds doesn't hang together: clear it and replay. */
VCH_MUST_USE vch_rc vch_state_open(vch_state_t **ret, vch_kv_t *, vch_err_t *);
void vch_state_free(vch_state_t *);

typedef struct {
    uint64_t applied;                /* leaves of the log taken in */
    uint64_t height;                 /* blocks closed */
    vch_hash_t root;                 /* after the last closed block */
    vch_hash_t network;              /* zeros before genesis */
    vch_time_t time;                 /* of the last block, open or closed */
    vch_hash_t last_commit;          /* leaf hash of the last state-commit */
    uint64_t open_first, open_count; /* the open block's leaves so far */
} vch_state_info_t;
void vch_state_info(const vch_state_t *, vch_state_info_t *ret);

/* Entry signature, and owners' signatures inside, against keys in the state;
 * sets prepared->verified.  ERR_KEY, ERR_SIGNATURE, ERR_NETWORK. */
VCH_MUST_USE vch_rc vch_state_verify(vch_state_t *, vch_prepared_t *, vch_err_t *);
/* The entry's key as the state has it now.  ERR_KEY, ERR_NETWORK. */
VCH_MUST_USE vch_rc vch_state_signer(vch_state_t *, const vch_prepared_t *, vch_pubkey_t *ret, vch_err_t *);
/* The place of an entry that is already in the log; ERR_NOT_FOUND. */
VCH_MUST_USE vch_rc vch_state_find(vch_state_t *, const vch_id_t *entry, uint64_t *ret_index);

/* Apply one verified transaction as leaf number `applied`, in the open block
 * (begun here when none is) at `time`.  For an access request, ret_outcome
 * gets the outcome leaf, which counts as the next leaf at once; otherwise it
 * stays empty.  On failure the state is as before.  The result names the rule
 * broken: ERR_NETWORK, ERR_EXPIRED (not-after), ERR_REPLAY (sequence, serial),
 * ERR_REFERENCE, ERR_ROLE, ERR_KEY, ERR_CONFLICT, ERR_LIMIT, ERR_DENIED. */
VCH_MUST_USE vch_rc vch_state_apply(vch_state_t *, const vch_prepared_t *, vch_time_t time, vch_buf_t *ret_outcome,
                                    vch_err_t *);
/* Would it be applied now?  As vch_state_apply, but the state stays as it was. */
VCH_MUST_USE vch_rc vch_state_try(vch_state_t *, const vch_prepared_t *, vch_time_t time, vch_err_t *);
/* Close the open block and make its state-commit leaf, which counts as the
 * next leaf.  ERR_NOT_FOUND when no block is open. */
VCH_MUST_USE vch_rc vch_state_close_block(vch_state_t *, vch_buf_t *ret_leaf, vch_err_t *);
/* Take in one leaf of the log: signed ones are applied (signatures checked
 * only if `full`), outcomes and state-commits must equal what was computed;
 * ERR_CORRUPT otherwise. */
VCH_MUST_USE vch_rc vch_state_replay(vch_state_t *, const vch_log_entry_t *, bool full, vch_err_t *);
/* Put all changes since the last save into the index, one batch.  Only between
 * blocks (no block open): ERR_CONFLICT otherwise. */
VCH_MUST_USE vch_rc vch_state_save(vch_state_t *, vch_err_t *);
/* The same in steps, so that a save takes no time from those who write:
 * freeze what changed (at once, whatever its size; conditions as above, and
 * ERR_CONFLICT while something is frozen), save that from any one thread while
 * the state goes on, and drop it from the state's own thread once it is saved.
 * A save that failed may be tried again; nothing is lost meanwhile. */
VCH_MUST_USE vch_rc vch_state_freeze(vch_state_t *, vch_err_t *);
bool vch_state_is_frozen(const vch_state_t *);
VCH_MUST_USE vch_rc vch_state_save_frozen(const vch_state_t *, vch_err_t *);
void vch_state_drop_frozen(vch_state_t *);
/* Bytes changed since the last save or freeze, roughly. */
size_t vch_state_dirty(const vch_state_t *);

/* ---- reading; what is there now, open block included ---- */

/* The value of a state key, appended; ERR_NOT_FOUND. */
VCH_MUST_USE vch_rc vch_state_get(vch_state_t *, vch_slice_t key, vch_buf_t *ret, vch_err_t *);
/* Proof against the root of the last closed block; ERR_CONFLICT while a block
 * is open. */
VCH_MUST_USE vch_rc vch_state_prove(vch_state_t *, vch_slice_t key, vch_smt_proof_t *ret, vch_err_t *);
/* Bitmaps by id: the live rows of a version, or the permitted set of a grant. */
VCH_MUST_USE vch_rc vch_state_bitmap(vch_state_t *, const vch_id_t *, vch_buf_t *ret, vch_err_t *);
/* Subjects of an extent as host-order u32; ERR_NOT_FOUND when contiguous. */
VCH_MUST_USE vch_rc vch_state_subjects(vch_state_t *, const vch_hash_t *extent_id, vch_buf_t *ret, vch_err_t *);
/* Which dataset's extent has this id, and its number there; ERR_NOT_FOUND. */
VCH_MUST_USE vch_rc vch_state_extent(vch_state_t *, const vch_hash_t *extent_id, vch_id_t *ret_dataset,
                                     uint32_t *ret_number, vch_err_t *);
VCH_MUST_USE vch_rc vch_state_cell(vch_state_t *, const vch_id_t *dataset, uint32_t subject, vch_cell_t *ret,
                                   vch_err_t *);
/* All 4,096 cells of a chunk (zeros where nothing was ever said). */
VCH_MUST_USE vch_rc vch_state_chunk(vch_state_t *, const vch_id_t *dataset, uint32_t chunk, vch_cell_t ret[VCH_CHUNK],
                                    vch_err_t *);
/* What a request would get now: the bitmap over the version's extents, its
 * count, and the rule (the commonest denial when nothing is permitted). */
VCH_MUST_USE vch_rc vch_state_permitted(vch_state_t *, const vch_id_t *version, const vch_id_t *party,
                                        vch_slice_t purpose, vch_slice_t processing, vch_time_t now,
                                        vch_buf_t *ret_bits, uint64_t *ret_count, vch_rule_t *ret_rule, vch_err_t *);
/* Every state key with this first byte, with its value (saved ones and new). */
VCH_MUST_USE vch_rc vch_state_each(vch_state_t *, char tag, vch_kv_fn, void *ctx);

#endif
