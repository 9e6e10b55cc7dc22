/* SPDX-License-Identifier: Apache-2.0 */
/* What the ledger's own files share: the queue of writers, the clock, the
 * settings, the map of objects, small JSON helpers. */
#ifndef VCH_NODE_INT_H
#define VCH_NODE_INT_H

#include <stdatomic.h>

#include "entry/note.h"
#include "node/node.h"

#define ND_RECORDS_MAX 65536u           /* leaves of one sync group */
#define ND_GROUP_BYTES_MAX (32u << 20)  /* bytes of one sync group, roughly */
#define ND_BLOCK_ENTRIES 128u           /* a block of so many is closed before its time: each waits for the hashing */
#define ND_SAVE_BYTES (64u << 20)       /* dirty state that is saved at the next block boundary, */
#define ND_SAVE_BYTES_MOST (512u << 20) /* or for which writers wait while an earlier save is not done */
#define ND_SMALL_FILE_MAX (1u << 20)
#define ND_ENTRY_MARK 0xffffu /* instead of a statement number: the entry itself */

/* One transaction on its way. */
typedef struct nd_request nd_request_t;
struct nd_request {
    nd_request_t *next;         /* in the queue, then in the batch */
    nd_request_t *next_pending; /* in the sync group that is being filled */
    const vch_signer_t *signer; /* build: sign with the next sequence number; NULL: signed already */
    vch_kind_t kind;
    vch_buf_t *statement; /* build: encoded statements */
    vch_tx_t tx;
    vch_prepared_t prepared;
    vch_arena_t arena;
    vch_buf_t entry, outcome;
    uint64_t place; /* of the old one, when `again` */
    bool again, done;
    vch_rc rc;
    vch_err_t err;
    vch_receipt_t receipt;
};

/* Where each object and entry stands: open addressing by the id's first eight
 * bytes; whoever hits recomputes the id. */
typedef struct {
    uint64_t prefix, place; /* place = (index << 16 | statement) + 1; 0: free */
} nd_object_slot_t;

/* An object that people list, in the log's order. */
typedef struct {
    vch_id_t id; /* terms: the document's hash */
    vch_kind_t kind;
    uint64_t index;
    uint32_t statement;
} nd_listed_t;

typedef struct {
    pthread_mutex_t mutex;
    nd_object_slot_t *slot;
    size_t slots, used;
    nd_listed_t *listed;
    size_t listed_n, listed_cap;
    uint64_t scanned; /* leaves of the log */
} nd_objects_t;

typedef struct nd_signatures nd_signatures_t;

/* What is known of the witnesses (gather.c). */
typedef struct {
    uint8_t key[32];
    uint64_t old;  /* what it cosigned last, as far as is known */
    uint64_t seen; /* the largest size under its own signature */
} nd_witness_t;

typedef struct {
    pthread_mutex_t mutex; /* one gathering at a time; before the ledger's */
    nd_witness_t *one;
    size_t n;
    uint64_t partial_boot; /* when a note without the quorum was kept last */
    /* what vch_ledger_committed found, and when that still holds */
    bool known;
    vch_hash_t policy;
    uint64_t mark, signed_size, committed;
} nd_witnesses_t;

/* A save beside the writers (open.c). */
typedef struct {
    pthread_t thread;
    bool running;
    atomic_bool done;
    vch_rc rc;        /* once it is done */
    uint64_t applied; /* what the index will have reached */
} nd_saver_t;

struct vch_inside {
    pthread_mutex_t queue_mutex;
    pthread_cond_t queue_moved;
    nd_request_t *first, *last;
    bool leader;
    bool ours; /* the open block was begun here, as leaf … */
    uint64_t ours_first;
    uint64_t checkpointed_boot;
    bool tended;  /* somebody asks for checkpoints every checkpoint_ms */
    bool suspect; /* a loaded state value was damaged: rebuild at the next occasion */
    vch_file_t *state_lock;
    char keys[VCH_PATH_MAX];
    uint64_t segment_bytes;
    vch_serve_settings_t serve;
    vch_vault_settings_t vault;
    char witness_policy[512]; /* a path from the ledger's directory */
    uint64_t witness_timeout_ms;
    nd_witnesses_t witnesses;
    nd_objects_t objects;
    nd_signatures_t *signatures;
    nd_saver_t saver;
    size_t save_bytes; /* ND_SAVE_BYTES */
};

/* ---- settings (conf.c) ---- */
vch_rc nd_conf_read(vch_ledger_t *, vch_slice_t text, vch_err_t *);
extern const char nd_conf_default[];

/* ---- the open directory (open.c) ---- */
vch_rc nd_format_put(vch_port_t *, const char *dir, const vch_hash_t *network, vch_err_t *);
vch_rc nd_format_read(vch_port_t *, const char *dir, vch_hash_t *ret_network, vch_err_t *);
/* Allocated, and nothing else. */
vch_rc nd_ledger_bare(vch_ledger_t **ret, vch_port_t *, vch_err_t *);
/* Allocated, settings read; nothing of log or state is open yet. */
vch_rc nd_ledger_new(vch_ledger_t **ret, vch_port_t *, const char *dir, unsigned flags, vch_err_t *);
void nd_ledger_free(vch_ledger_t *);
void nd_note(vch_ledger_t *, const char *fmt, ...) VCH_PRINTF(2, 3);
/* Forget the derived state and replay the whole log. */
vch_rc nd_rebuild(vch_ledger_t *, vch_err_t *);
/* Replay what the log has and the state hasn't. */
vch_rc nd_catch_up(vch_ledger_t *, vch_err_t *);
/* Save the state if no other handle reads the index; a refusal is no failure. */
vch_rc nd_save(vch_ledger_t *, vch_err_t *);
/* The same from a thread of its own, once there is much to save. */
void nd_save_beside(vch_ledger_t *);
void nd_save_wait(vch_ledger_t *); /* until such a save is done; no other may touch index or state meanwhile */
vch_rc nd_sum_make(vch_port_t *, const char *dir, vch_buf_t *ret, vch_err_t *);
/* True when state/data.mdb is as it was last saved. */
bool nd_sum_good(vch_port_t *, const char *dir);
/* The name that checkpoints carry: genesis's, or the one in the file ORIGIN of a
 * log that was restored. */
vch_rc nd_origin(vch_port_t *, const char *dir, vch_state_t *, char ret[208], vch_err_t *);
vch_rc nd_trust_key(vch_port_t *, const char *dir, const char *origin, uint8_t ret_key[32], vch_err_t *);

/* ---- writing (write.c), with the mutex held ---- */
vch_rc nd_alive(const vch_ledger_t *, vch_err_t *);
vch_rc nd_may_go_on(const vch_ledger_t *, vch_err_t *); /* not restored, or caught up since */
vch_rc nd_enter(vch_ledger_t *, vch_err_t *);           /* writer lock, others' tail taken in */
void nd_leave(vch_ledger_t *);
vch_rc nd_close_block(vch_ledger_t *, vch_err_t *); /* inside enter … leave; no block open is fine */
/* Inside enter … leave: signs what is there; nothing when nothing is new. */
vch_rc nd_sign(vch_ledger_t *, vch_buf_t *ret_note, vch_err_t *);
/* The same, and outside readers see it at once; for those who are about to end. */
vch_rc nd_checkpoint(vch_ledger_t *, vch_buf_t *ret_note, vch_err_t *);
/* Without mutex or lock: shows outside readers what was signed, while others write. */
vch_rc nd_publish(vch_ledger_t *, vch_err_t *);
vch_rc nd_checkpoint_text(vch_buf_t *ret, vch_log_t *, const char *origin, const vch_signer_t *, uint64_t size,
                          vch_err_t *);
uint64_t nd_now(vch_ledger_t *);

/* ---- witnesses (gather.c, cosigned.c), with the mutex held ---- */
/* The policy of [witness]; `text` holds what it borrows. */
vch_rc nd_witness_policy(vch_ledger_t *, vch_trust_t *ret, vch_buf_t *text, vch_err_t *);
/* Entries below this are under a checkpoint that met the quorum. */
vch_rc nd_committed(vch_ledger_t *, uint64_t *ret, vch_err_t *);
/* When the newest kept quorum stood, by the witnesses' clocks (0: none is kept);
 * *ret_wanted: the policy wants one at all. */
vch_rc nd_quorum_time(vch_ledger_t *, bool *ret_wanted, uint64_t *ret_ms, vch_err_t *);

/* ---- the clocks (clock.c) ---- */
void nd_clock_start(vch_ledger_t *);                /* at opening, under the writer lock */
vch_rc nd_clock_check(vch_ledger_t *, vch_err_t *); /* ERR_CLOCK after a jump forward, until it is accepted */
void nd_clock_keep(vch_ledger_t *);                 /* for the next process, if they still agree */

/* ---- signatures ahead of their turn (signatures.c) ---- */
nd_signatures_t *nd_signatures_new(const vch_port_t *); /* NULL: no memory */
void nd_signatures_free(nd_signatures_t *);
/* Before queueing, any thread: marks those that pass.  Fewer marks than could
 * be are no failure: who is not marked is checked when its turn comes. */
void nd_signatures_ahead(nd_signatures_t *, nd_request_t *const *, size_t n);
/* The same for a batch, with the mutex held. */
void nd_signatures_batch(vch_ledger_t *, nd_request_t *list);
/* The key of a transaction that was verified will be known next time. */
void nd_signatures_learn(nd_signatures_t *, const vch_prepared_t *verified);

/* ---- the genesis statement (vocabulary.c) ---- */
vch_rc nd_genesis_fields(vch_buf_t *ret, const vch_init_t *, const vch_signer_t *operator_key);

/* ---- tokens (tokens.c) ---- */
/* The file is whole; VCH_OK when there is none. */
vch_rc nd_tokens_check(vch_port_t *, const char *dir, vch_err_t *);

/* ---- lists of checksums (sums.c) ---- */
#define ND_SUMS "SUMS" /* of what people may edit: vouch.conf, trust.policy; and ORIGIN */
typedef struct {
    vch_port_t *port;
    const char *dir;
    vch_buf_t text;
    vch_err_t *err;
} nd_sums_t;
vch_rc nd_sums_begin(nd_sums_t *, vch_port_t *, const char *dir, vch_err_t *);
vch_rc nd_sums_add(nd_sums_t *, const char *path, uint64_t size, const vch_hash_t *);
vch_rc nd_sums_end(nd_sums_t *, const char *name); /* writes it, durably */
void nd_sums_free(nd_sums_t *);
/* Called for each listed file that is not as listed: ERR_CORRUPT, ERR_NOT_FOUND,
 * or ERR_READ_ONLY when it may not be read. */
typedef void (*nd_sums_fn)(void *ctx, const char *path, vch_rc how);
/* ERR_NOT_FOUND without a list, ERR_CORRUPT when the list itself is damaged. */
vch_rc nd_sums_check(vch_port_t *, const char *dir, const char *name, nd_sums_fn, void *ctx, vch_err_t *);
/* SUMS from the settings as they are now. */
vch_rc nd_settings_keep(vch_port_t *, const char *dir, vch_err_t *);

/* ---- the whole directory (check.c) ---- */
vch_rc vch_ledger_check_on(vch_port_t *, const char *dir, int full, int repair, vch_finding_fn, void *ctx,
                           uint64_t *ret_findings, vch_err_t *);

vch_rc vch_settings_accept_on(vch_port_t *, const char *dir, vch_err_t *);

/* ---- keys (identity.c) ---- */
vch_rc nd_name_check(const char *name, vch_err_t *);
vch_rc nd_key_make(vch_port_t *, const char *path, const char *algorithm, const char *passphrase, vch_signer_t **ret,
                   vch_err_t *);
vch_rc nd_key_load(vch_port_t *, const char *path, const char *passphrase, vch_signer_t **ret, vch_err_t *);
/* The key behind a key file's first line, which holds its hash; ERR_CORRUPT when
 * it is another.  *ret_foreign: there is text before the key that isn't vouch's. */
vch_rc nd_key_text(vch_slice_t file, vch_slice_t *ret_pem, bool *ret_foreign, vch_err_t *);

/* ---- a ledger elsewhere (remote*.c): the public functions' other half ---- */
void nd_remote_free(vch_ledger_t *);
vch_rc nd_remote_info(vch_ledger_t *, vch_ledger_info_t *ret, vch_err_t *);
vch_rc nd_remote_checkpoint(vch_ledger_t *, vch_text_t *ret, vch_err_t *);
vch_rc nd_remote_query(vch_ledger_t *, const char *what, const char *of, vch_text_t *ret, vch_err_t *);
vch_rc nd_remote_entry(vch_ledger_t *, uint64_t index, vch_text_t *ret, vch_err_t *);
vch_rc nd_remote_find(vch_ledger_t *, const char *id, uint64_t *ret_index, uint32_t *ret_statement, vch_err_t *);
vch_rc nd_remote_state(vch_ledger_t *, vch_slice_t key, vch_text_t *ret, vch_err_t *);
vch_rc nd_remote_inclusion(vch_ledger_t *, uint64_t index, vch_text_t *ret, vch_err_t *);
vch_rc nd_remote_consistency(vch_ledger_t *, uint64_t size1, uint64_t size2, vch_text_t *ret, vch_err_t *);
vch_rc nd_remote_trace(vch_ledger_t *, const char *id, vch_text_t *ret, vch_err_t *);
vch_rc nd_remote_affected(vch_ledger_t *, vch_text_t *ret, vch_err_t *);
vch_rc nd_remote_bundle(vch_ledger_t *, const char *what, const char *id, const char *path, vch_err_t *);
vch_rc nd_remote_person(vch_ledger_t *, const char *dataset, const char *person, uint32_t *ret, vch_err_t *);
vch_rc nd_remote_records(vch_ledger_t *, uint64_t from, uint64_t to, vch_buf_t *ret, vch_err_t *);
/* r holds encoded statements; it is signed here, and its result filled in. */
void nd_remote_write(vch_ledger_t *, nd_request_t *r);
vch_rc nd_remote_submit(vch_ledger_t *, const uint8_t *const *tx, const size_t *tx_n, size_t n, vch_receipt_t *ret,
                        vch_rc *ret_rc, vch_err_t *);

/* ---- the vault (vault.c) ---- */
/* Its folder is there and the settings don't turn it off. */
bool nd_has_vault(const vch_ledger_t *);

/* ---- erasure (owner.c) ---- */
/* wallet NULL: the custodian's own word, then owners is not looked at. */
vch_rc nd_say_erase(vch_ledger_t *, const vch_signer_t *carrier, const vch_wallet_t *, const char *dataset,
                    const uint32_t *subjects, const uint32_t *owners, size_t n, vch_receipt_t *ret, vch_err_t *);

/* ---- own access (owner.c) ---- */
/* What a subject asks to read of itself. */
typedef struct {
    vch_id_t version, dataset;
    uint32_t groups;  /* bit set, not empty */
    uint8_t once[32]; /* one-time key that the rows are sealed to */
} nd_own_ask_t;
vch_rc nd_say_own_access(vch_ledger_t *, const vch_signer_t *carrier, const vch_wallet_t *, uint32_t subject,
                         uint32_t owner, const nd_own_ask_t *, vch_receipt_t *ret, vch_err_t *);

/* ---- objects (resolve.c) ---- */
vch_rc nd_objects_refresh(vch_ledger_t *, vch_err_t *);
void nd_objects_free(vch_ledger_t *);

/* ---- text for people ---- */
/* A failure that nobody put into words gets the plain ones; returns rc. */
vch_rc nd_told(vch_rc rc, vch_err_t *);
vch_rc nd_put_hex(vch_buf_t *, const void *p, size_t n);       /* quoted */
vch_rc nd_put_time(vch_buf_t *, const char *name, vch_time_t); /* "name":"ISO-8601","name ms":N */
vch_rc nd_put_roles(vch_buf_t *, unsigned roles);              /* ["user", …] */
bool nd_role_get(vch_slice_t name, unsigned *ret);

#endif
