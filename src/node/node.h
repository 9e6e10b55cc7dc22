/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an embedded ledger, shared by the node's services:
 *
 *   ledger.c     open, close, lock, sequence, group commit, checkpoints
 *   identity.c   key files
 *   query.c      names, lists, JSON
 *   custody*.c   datasets, rows, salts, subjects, diff (the custodian)
 *   owner.c      wallets, consents
 *   use.c        access, fetch, run exec (the user)
 *   decide.c     decision batches
 *   evidence*.c  bundles, trace
 *   check.c      the whole directory
 *
 * Locking.  `mutex` guards everything in the struct within the process; the
 * file `lock` is held between processes for one sync group.  A service calls
 * vch_ledger_read_begin … _end around whatever it reads from log and state
 * (the state may be read only in between), and vch_ledger_write to append;
 * never one inside the other. */
#ifndef VCH_NODE_H
#define VCH_NODE_H

#include <pthread.h>

#include "base/base.h"
#include "codec/json.h"
#include "crypto/keys.h"
#include "entry/entry.h"
#include "entry/value.h"
#include "log/log.h"
#include "port/port.h"
#include "state/state.h"
#include "vouchsafe/vouchsafe.h"

typedef struct vch_inside vch_inside_t; /* node_int.h: queue, clock, object map */
typedef struct vch_remote vch_remote_t; /* remote_int.h: a ledger on another machine */

/* Who may read log, tiles, proofs and state over the network: [ledger] read. */
typedef enum { VCH_READ_LOOPBACK, VCH_READ_PARTIES, VCH_READ_PUBLIC } vch_read_t;

struct vch_ledger {
    vch_remote_t *remote; /* NULL: a directory; else there is neither log nor state here */
    vch_port_t *port;
    char dir[VCH_PATH_MAX];
    unsigned flags;
    pthread_mutex_t mutex;
    vch_file_t *lock_file;
    uint64_t lock_wait_ms, block_ms, checkpoint_ms, min_free_bytes, max_step_ms;
    vch_log_t *log;
    vch_kv_t *kv;
    vch_state_t *state;
    vch_signer_t *log_key; /* NULL when keys/log.pem can't be read: then no checkpoints */
    char origin[208];
    vch_hash_t network;
    vch_read_t read;
    bool kv_in_memory, poisoned;
    bool restored, mirror;             /* from a backup, not caught up; follows another node: read, don't write */
    bool wrote;                        /* appended since the last checkpoint */
    uint64_t block_began_boot;         /* boot clock when the open block began here */
    uint64_t wall_agreed, boot_agreed; /* both clocks as they last agreed (clock.c) */
    uint64_t saved_at;                 /* log size at the last state save */
    vch_ledger_info_t opened;          /* notes of opening */
    char identity_default[128];
    vch_inside_t *in;
};

/* The same as the public functions, over any port; with the simulated one the
 * index lives in memory. */
VCH_MUST_USE vch_rc vch_ledger_init_on(vch_port_t *, const char *dir, const vch_init_t *, vch_err_t *);
VCH_MUST_USE vch_rc vch_ledger_open_on(vch_ledger_t **ret, vch_port_t *, const char *dir, unsigned flags, vch_err_t *);

/* [serve] of vouch.conf. */
typedef struct {
    char listen[512], tls_cert[512], tls_key[512]; /* paths from the ledger's directory */
    bool public_plain;
    uint64_t max_body_bytes, connections, timeout_ms, queue, workers, promise_ms;
} vch_serve_settings_t;
/* [vault] of vouch.conf. */
typedef enum { VCH_VAULT_NONE, VCH_VAULT_EMBEDDED, VCH_VAULT_SERVED } vch_vault_mode_t;
#define VCH_ROLE_URL_MAX 336 /* URL#KEYID */
typedef struct {
    vch_vault_mode_t mode;
    uint64_t trustees, threshold, storage, data, fresh_ms;
    char trustee[35][VCH_ROLE_URL_MAX], server[16][VCH_ROLE_URL_MAX]; /* of mode = served; server: storage.N */
} vch_vault_settings_t;
void vch_ledger_serve_settings(vch_ledger_t *, vch_serve_settings_t *ret);

/* Take the mutex and take in what other processes appended. */
VCH_MUST_USE vch_rc vch_ledger_read_begin(vch_ledger_t *, vch_err_t *);
void vch_ledger_read_end(vch_ledger_t *);
/* The same at a block boundary: closes the open block first if there is one
 * (needs the writer lock for a moment), so that state proofs can be made. */
VCH_MUST_USE vch_rc vch_ledger_settle(vch_ledger_t *, vch_err_t *);

/* One entry of `n` statements with these fields (CBOR maps, checked here),
 * fresh salts, the signer's next sequence number; durable on return. */
VCH_MUST_USE vch_rc vch_ledger_write(vch_ledger_t *, const vch_signer_t *, vch_kind_t, const vch_slice_t *fields,
                                     size_t n, vch_receipt_t *ret, vch_err_t *);

/* vch_submit with a text and a hint for each: ret_err[i].rc is VCH_OK where it
 * was accepted.  The result says only whether all could be tried. */
VCH_MUST_USE vch_rc vch_submit_each(vch_ledger_t *, const uint8_t *const *tx, const size_t *tx_n, size_t n,
                                    vch_receipt_t *ret, vch_err_t *ret_err, vch_err_t *);

/* "dir/…" */
VCH_PRINTF(3, 4)
VCH_MUST_USE vch_rc vch_ledger_path(const vch_ledger_t *, char ret[VCH_PATH_MAX], const char *fmt, ...);

/* For code that reads only through vch_resolve, vch_party_of, vch_dataset_fields
 * and vch_value: as read_begin … end, and on a remote handle too.  Nothing else
 * of the state may be touched in between. */
VCH_MUST_USE vch_rc vch_look_begin(vch_ledger_t *, vch_err_t *);
void vch_look_end(vch_ledger_t *);
/* A state value, appended; proven on a remote handle.  ERR_NOT_FOUND. */
VCH_MUST_USE vch_rc vch_value(vch_ledger_t *, const vch_state_key_t *, vch_buf_t *ret, vch_err_t *);
/* ERR_UNSUPPORTED on a remote handle: what needs the directory's own files. */
VCH_MUST_USE vch_rc vch_here(const vch_ledger_t *, vch_err_t *);

/* An object by id (hex or unique prefix of at least 8 digits) or by name.
 * `tag` is its state key's: 'd' dataset, 'v' version (NAME, NAME@N), 't' terms
 * (title or hash), 'm' model, 'y' deployment (scope), 'a' grant, 'r' run,
 * 'p' party.  Between read_begin and _end or look_begin and _end.  ERR_NOT_FOUND with a hint. */
VCH_MUST_USE vch_rc vch_resolve(vch_ledger_t *, char tag, const char *name, vch_id_t *ret, vch_err_t *);
/* A dataset's name and columns, as its statement says.  Borrowed from arena. */
VCH_MUST_USE vch_rc vch_dataset_fields(vch_ledger_t *, const vch_id_t *dataset, vch_arena_t *, vch_slice_t *ret_fields,
                                       vch_err_t *);
/* The party that a key belongs to now; ERR_KEY. */
VCH_MUST_USE vch_rc vch_party_of(vch_ledger_t *, const vch_signer_t *, vch_id_t *ret, vch_err_t *);
/* Leaf index of an object's entry and its statement number: the 'O'-less way,
 * by entry ids of the log (index 'I' holds entry ids; objects are looked up
 * through vch_object_find, which scans the log once and remembers).  Both may
 * be called between read_begin and read_end, and outside too. */
VCH_MUST_USE vch_rc vch_object_find(vch_ledger_t *, const vch_id_t *object, uint64_t *ret_index,
                                    uint32_t *ret_statement, vch_err_t *);
/* The statement itself, copied into the arena. */
VCH_MUST_USE vch_rc vch_object_read(vch_ledger_t *, const vch_id_t *object, vch_arena_t *, vch_statement_t *ret,
                                    uint64_t *ret_index, vch_err_t *);

/* The kept checkpoint to show for the first `size` entries: of those that reach
 * that far the first that trust.policy's quorum cosigned, else one that a
 * witness named there did, else anybody.  Never one on which a signature of a
 * key named there fails.  Between read_begin and read_end.  ERR_NOT_FOUND. */
VCH_MUST_USE vch_rc vch_ledger_cosigned(vch_ledger_t *, uint64_t size, vch_buf_t *ret_note, uint64_t *ret_size,
                                        vch_err_t *);

/* Documents off the log: blobs/ab/<sha256>, durable before this returns. */
VCH_MUST_USE vch_rc vch_blob_put(vch_ledger_t *, vch_slice_t, vch_hash_t *ret, vch_err_t *);
VCH_MUST_USE vch_rc vch_blob_get(vch_ledger_t *, const vch_hash_t *, size_t max, vch_buf_t *ret, vch_err_t *);

/* A run's row set is kept as the blob of its bitmap; this is its name's index
 * file: sets/<set root in hex> holds the blob.  Made by run exec, read by
 * evidence and by vch_models_affected. */
VCH_MUST_USE vch_rc vch_set_keep(vch_ledger_t *, const vch_hash_t *root, vch_slice_t bits, vch_err_t *);
VCH_MUST_USE vch_rc vch_set_load(vch_ledger_t *, const vch_hash_t *root, vch_buf_t *ret, vch_err_t *);

/* Fields of a statement from a JSON object and back, by a table of the schema:
 * bytes in hex, choices and roles by name, a terms document as an object.
 * ERR_FORMAT names the unknown, missing or wrong member. */
VCH_MUST_USE vch_rc vch_fields_from_json(vch_buf_t *ret, const vch_field_t *, size_t n, const vch_json_t *object,
                                         vch_err_t *);
VCH_MUST_USE vch_rc vch_fields_to_json(vch_buf_t *ret, const vch_field_t *, size_t n, vch_slice_t fields, vch_err_t *);

/* A buffer becomes a caller's text; the buffer is emptied. */
VCH_MUST_USE vch_rc vch_text_take(vch_text_t *ret, vch_buf_t *);

#endif
