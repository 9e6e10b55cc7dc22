/* SPDX-License-Identifier: Apache-2.0 */
/* Vouchsafe, embedded: open a directory and go; no server needed.
 *
 *     vch_ledger_t *l;
 *     vch_err_t err;
 *     if (vch_ledger_open(&l, "my-ledger", 0, &err) != VCH_OK) complain(&err);
 *     …
 *     if (vch_ledger_close(l, &err) != VCH_OK) complain(&err);
 *
 * Threads: a ledger may be used from several threads at once.  Processes:
 * several may use one directory; the writer lock is held per sync group.
 * Whatever a call acknowledges is durable on return.
 *
 * Names: datasets, parties, terms, models and deployments may be given by name
 * or by object id in hex (a prefix of at least 8 digits does when it is the
 * only one).  A version is DATASET (the latest), DATASET@N, or an id.
 * Results for people and programs are JSON in a vch_text_t. */
#ifndef VOUCHSAFE_H
#define VOUCHSAFE_H

#include "vouchsafe/types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VCH_VERSION_TEXT "0.1.0"
VCH_API const char *vch_version(void);

typedef struct vch_ledger vch_ledger_t;
typedef struct vch_signer vch_signer_t;
typedef struct vch_wallet vch_wallet_t;

/* A text that the library allocated: NUL-terminated, n bytes without the NUL. */
typedef struct {
    char *p;
    size_t n;
} vch_text_t;
VCH_API void vch_text_free(vch_text_t *);

/* ---- a ledger's directory --------------------------------------------------- */

typedef struct {
    const char *origin;        /* the log's name, e.g. "clinic-a.example/ledger" */
    const char *operator_name; /* the first party; its key goes to keys/<name>.pem */
    const char *algorithm;     /* "ed25519" (default) or "p256": the operator's key */
    uint64_t grant_life_ms;    /* 0: 15 minutes */
} vch_init_t;

/* Makes the directory (which must not hold a ledger yet), keys/log.pem for
 * checkpoints, keys/<operator>.pem, the genesis entry with the default
 * vocabulary, trust.policy, vouch.conf.  The operator has all roles but owner
 * and witness. */
VCH_API VCH_MUST_USE vch_rc vch_ledger_init(const char *dir, const vch_init_t *, vch_err_t *);

#define VCH_LEDGER_READ_ONLY 1u    /* never writes, works on a read-only medium */
#define VCH_LEDGER_ACCEPT_CLOCK 2u /* go on although the clock jumped forward */
#define VCH_LEDGER_NO_REBUILD 4u   /* ERR_CORRUPT instead of rebuilding derived state */
VCH_API VCH_MUST_USE vch_rc vch_ledger_open(vch_ledger_t **ret, const char *dir, unsigned flags, vch_err_t *);
/* Closes the open block, signs a checkpoint when something changed. */
VCH_API VCH_MUST_USE vch_rc vch_ledger_close(vch_ledger_t *, vch_err_t *);

typedef struct {
    char origin[208];
    vch_hash_t network, state_root;
    uint64_t size, height, checkpoint_size;
    uint64_t committed; /* entries under a checkpoint that met the quorum of witnesses, if one is wanted */
    vch_time_t time;    /* of the newest block */
    int rebuilt;        /* derived state was rebuilt on opening */
    int recovered;      /* an unacknowledged sync group was cut off on opening */
    char note[240];     /* warnings of opening, for people; may be empty */
    int vault; /* rows go into 1: the embedded vault, 2: a served one; 0: data/, or a remote handle, which can't tell */
} vch_ledger_info_t;
VCH_API VCH_MUST_USE vch_rc vch_ledger_info(vch_ledger_t *, vch_ledger_info_t *ret, vch_err_t *);

/* Close the open block and sign what is there; ret_note (may be NULL) gets the
 * checkpoint.  An unchanged ledger keeps its old one. */
VCH_API VCH_MUST_USE vch_rc vch_ledger_checkpoint(vch_ledger_t *, vch_text_t *ret_note, vch_err_t *);

/* One finding of a check. */
typedef struct {
    const char *file; /* relative to the directory */
    uint64_t entry, byte;
    int has_entry, has_byte;
    int derived, repaired;
    const char *text;
} vch_finding_t;
typedef void (*vch_finding_fn)(void *ctx, const vch_finding_t *);
/* The whole directory: every byte of the log, every signature (full), replayed
 * state, tiles, blobs, decisions, rows against commitments, settings.  Result
 * ERR_CORRUPT when anything but derived data was damaged. */
VCH_API VCH_MUST_USE vch_rc vch_ledger_check(const char *dir, int full, int repair, vch_finding_fn, void *ctx,
                                             uint64_t *ret_findings, vch_err_t *);

/* vouch.conf and trust.policy as they are now, after somebody edited them by
 * hand: until then a check names them.  ERR_FORMAT when they are not well-formed. */
VCH_API VCH_MUST_USE vch_rc vch_settings_accept(const char *dir, vch_err_t *);

/* ---- keys of parties ------------------------------------------------------------ */

/* passphrase NULL: an unencrypted file. */
VCH_API VCH_MUST_USE vch_rc vch_signer_load(vch_signer_t **ret, const char *pem_path, const char *passphrase,
                                            vch_err_t *);
VCH_API void vch_signer_free(vch_signer_t *);
/* {"key id", "did", "algorithm", "multicodec"} */
VCH_API VCH_MUST_USE vch_rc vch_signer_show(const vch_signer_t *, vch_text_t *ret_json, vch_err_t *);
/* A new key into keys/<name>.pem; ERR_CONFLICT when the name is taken. */
VCH_API VCH_MUST_USE vch_rc vch_identity_new(vch_ledger_t *, const char *name, const char *algorithm,
                                             const char *passphrase, vch_err_t *);
/* keys/<name>.pem of this directory; NULL name: the only one, or [identity] default. */
VCH_API VCH_MUST_USE vch_rc vch_identity_load(vch_ledger_t *, const char *name, const char *passphrase,
                                              vch_signer_t **ret, vch_err_t *);

/* ---- entries ------------------------------------------------------------------------ */

typedef struct {
    vch_id_t entry;  /* the entry's id */
    uint64_t index;  /* its leaf */
    vch_time_t time; /* of its block */
    vch_id_t object; /* object id of statement 0 */
    uint32_t count;  /* statements */
    int has_outcome; /* an access request: what follows */
    int permit;
    char rule[65];
    uint64_t rows; /* permitted */
    vch_time_t expires;
    int again; /* the entry was there already: its old place */
} vch_receipt_t;

/* Any kind from JSON: an object, or an array of objects for several statements
 * of one entry.  Member names as in docs/formats/entries.cddl; ids, hashes and
 * keys in hex.  Signs with `signer` and the party's next sequence number. */
VCH_API VCH_MUST_USE vch_rc vch_submit_json(vch_ledger_t *, const vch_signer_t *, const char *kind, const char *json,
                                            size_t json_n, vch_receipt_t *ret, vch_err_t *);
/* Transactions signed elsewhere (CBOR [entry, [statement, …]]), one sync for
 * all that are accepted; ret[i].entry is all zeros and ret_rc[i] says why where
 * one was refused. */
VCH_API VCH_MUST_USE vch_rc vch_submit(vch_ledger_t *, const uint8_t *const *tx, const size_t *tx_n, size_t n,
                                       vch_receipt_t *ret, vch_rc *ret_rc, vch_err_t *);
/* One entry with its statements as JSON: index, kind, signer, time, fields. */
VCH_API VCH_MUST_USE vch_rc vch_entry_show(vch_ledger_t *, uint64_t index, vch_text_t *ret_json, vch_err_t *);
/* Where an object or entry id (hex, or a prefix) stands. */
VCH_API VCH_MUST_USE vch_rc vch_entry_find(vch_ledger_t *, const char *id, uint64_t *ret_index, uint32_t *ret_statement,
                                           vch_err_t *);
/* What there is: "parties", "datasets", "versions" (of: dataset), "terms",
 * "consents" (of: DATASET or DATASET/subject), "grants", "runs", "models",
 * "deployments", "batches", "remedies": a JSON array, oldest first. */
VCH_API VCH_MUST_USE vch_rc vch_query(vch_ledger_t *, const char *what, const char *of, vch_text_t *ret_json,
                                      vch_err_t *);
/* One state value with its proof: {"key", "value", "present", "root", "height",
 * "entry", "siblings", …}; `entry` is the state-commit that names the root. */
VCH_API VCH_MUST_USE vch_rc vch_state_show(vch_ledger_t *, const uint8_t *key, size_t key_n, vch_text_t *ret_json,
                                           vch_err_t *);
/* C2SP tlog-proof of one entry; a consistency proof as JSON. */
VCH_API VCH_MUST_USE vch_rc vch_prove_inclusion(vch_ledger_t *, uint64_t index, vch_text_t *ret_proof, vch_err_t *);
VCH_API VCH_MUST_USE vch_rc vch_prove_consistency(vch_ledger_t *, uint64_t size1, uint64_t size2, vch_text_t *ret_json,
                                                  vch_err_t *);

/* ---- the vault: rows lie encrypted and strewn, keys with trustees ---------------------- */

/* Folders, keys and registered parties for the embedded vault, as [vault] of
 * vouch.conf says; what is there already stays.  From then on rows go into it.
 * All its parties are in one process: one trust domain, which protects against
 * lost and stolen folders, not against whoever runs the machine. */
VCH_API VCH_MUST_USE vch_rc vch_vault_up(vch_ledger_t *, const vch_signer_t *registrar, vch_err_t *);
/* {"mode", "trustees": [{"name", "here", "why"}], "threshold", "storage": […], "data", "trust"}. */
VCH_API VCH_MUST_USE vch_rc vch_vault_status(vch_ledger_t *, vch_text_t *ret_json, vch_err_t *);

/* Keep the root key of the trustee in this folder otherwise from now on: as its
 * guard.conf.new says, or `settings` (the text of one; ERR_CONFLICT when there is
 * one).  {"was", "now", "extents", "of grade A"}: kinds of guard, extents held,
 * and those whose keys were never but in a token.  Cut off, or failed, nothing is
 * lost: do it again without settings.  ERR_LOCKED while the trustee is in use. */
VCH_API VCH_MUST_USE vch_rc vch_trustee_rewrap(const char *dir, const char *settings, vch_text_t *ret_json,
                                               vch_err_t *);

/* Every block of every shard against the ledger: [{"node", "here", "shards",
 * "missing" (or unreadable), "blocks", "damaged"}, …]. */
VCH_API VCH_MUST_USE vch_rc vch_storage_audit(vch_ledger_t *, vch_text_t *ret_json, vch_err_t *);
/* `times` random chunks of each shard, proven by its node against the ledger: a
 * few KiB travel, whatever the shard's size.  A node that lost a part p of a shard
 * gets through with (1 - p)^times.  [{"node", "here", "asked", "proved"}]. */
VCH_API VCH_MUST_USE vch_rc vch_storage_challenge(vch_ledger_t *, unsigned times, vch_text_t *ret_json, vch_err_t *);
/* Shards of node `number` (from 1) that are missing or damaged made anew from
 * the others'; *ret_repaired of them.  Its folder and key must be there, or the
 * served node and `writer`, one of its writers; NULL with the embedded vault. */
VCH_API VCH_MUST_USE vch_rc vch_storage_repair(vch_ledger_t *, const vch_signer_t *writer, unsigned number,
                                               uint64_t *ret_repaired, vch_err_t *);

/* A signed withdrawal or erasure (a transaction, CBOR) to the vault's trustees at
 * once: those that take it hold the subject's rows back even if the ledger's node
 * keeps it from the log.  For whoever got no receipt; it must be submitted all the
 * same.  *ret_told of *ret_trustees took it. */
VCH_API VCH_MUST_USE vch_rc vch_withdraw_now(vch_ledger_t *, const uint8_t *tx, size_t n, unsigned *ret_told,
                                             unsigned *ret_trustees, vch_err_t *);

/* Proofs against trustees that answered wrong seeds, as fetches kept them in
 * blame/: [{"file", "proof": as vch_blame_judge}]. */
VCH_API VCH_MUST_USE vch_rc vch_blame_list(vch_ledger_t *, vch_text_t *ret_json, vch_err_t *);
/* {"accused" (key id), "extent", "grant", "key tree", "group", "row",
 * "convicts", "why"}; *ret_convicts 1: that key, registered on this ledger, signed
 * two things that can't both be true.  ERR_FORMAT when it is no such proof. */
VCH_API VCH_MUST_USE vch_rc vch_blame_judge(vch_ledger_t *, const uint8_t *proof, size_t n, int *ret_convicts,
                                            vch_text_t *ret_json, vch_err_t *);

/* Erase subjects for good: everything they said is withdrawn, their numbers are
 * never used again, custodian and trustees forget what opened their rows.
 * wallet NULL: on the custodian's word, and owners is not looked at.  Asking
 * where rows lie in the clear is ERR_UNSUPPORTED. */
VCH_API VCH_MUST_USE vch_rc vch_erasure_request(vch_ledger_t *, const vch_signer_t *, const vch_wallet_t *,
                                                const char *dataset, const uint32_t *subjects, const uint32_t *owners,
                                                size_t n, vch_receipt_t *ret, vch_err_t *);
/* [{"subject", "erase", "extents": [{"extent", "destroyed by", "of",
 * "provisional at"}], "state": pending, provisional or complete, "grade"}, …]. */
VCH_API VCH_MUST_USE vch_rc vch_erasure_status(vch_ledger_t *, const char *dataset, vch_text_t *ret_json, vch_err_t *);

/* ---- datasets: the custodian's side --------------------------------------------------- */

typedef struct {
    const char *name;
    const char *header_csv;   /* path: its first record names the columns */
    const char *subject_col;  /* who the row is about; NULL: each row its own subject */
    const char *key_col;      /* what names a row across versions; NULL: the subject (one row each) */
    const char *label_col;    /* becomes the group "label"; may be NULL */
    const char *const *group; /* "G=C1,C2"; the rest is the group "features" */
    size_t groups;
} vch_dataset_spec_t;
VCH_API VCH_MUST_USE vch_rc vch_dataset_create(vch_ledger_t *, const vch_signer_t *, const vch_dataset_spec_t *,
                                               vch_receipt_t *ret, vch_err_t *);

/* Rows of one CSV file as the next version: new and changed rows go into a new
 * extent with carried salts, rows that are missing lose their live bit.
 * owners_csv (may be NULL): "subject value,multicodec key in hex" per line for
 * subjects that hold a key.  Streams; memory bounded. */
typedef struct {
    uint64_t rows, added, removed, changed, subjects_new;
    uint32_t version;
    vch_id_t id;
} vch_ingest_t;
typedef void (*vch_progress_fn)(void *ctx, uint64_t rows, uint64_t bytes, uint64_t bytes_total);
VCH_API VCH_MUST_USE vch_rc vch_dataset_add(vch_ledger_t *, const vch_signer_t *, const char *dataset,
                                            const char *csv_path, const char *owners_csv, vch_progress_fn, void *ctx,
                                            vch_ingest_t *ret, vch_err_t *);
/* By commitments alone: {"added":[…],"removed":[…],"features changed":[…],
 * "label changed":[…]}, each row named by its key.  B may be the path of a CSV
 * file ("file:…"), then compared by recomputing with carried salts. */
VCH_API VCH_MUST_USE vch_rc vch_dataset_diff(vch_ledger_t *, const char *a, const char *b, vch_text_t *ret_json,
                                             vch_err_t *);
/* Every row of a version against its commitments; ERR_COMMITMENT names the
 * first changed row in err. */
VCH_API VCH_MUST_USE vch_rc vch_dataset_check(vch_ledger_t *, const char *version, uint64_t *ret_rows, vch_err_t *);

/* ---- owners ---------------------------------------------------------------------------- */

/* A wallet: one 32-byte seed per owner it simulates (one for a real owner);
 * the key for a dataset is HKDF(seed, network ‖ dataset). */
VCH_API VCH_MUST_USE vch_rc vch_wallet_new(const char *path, uint32_t owners, int simulated, const char *passphrase,
                                           vch_err_t *);
VCH_API VCH_MUST_USE vch_rc vch_wallet_open(vch_wallet_t **ret, const char *path, const char *passphrase, vch_err_t *);
VCH_API void vch_wallet_free(vch_wallet_t *);
VCH_API uint32_t vch_wallet_owners(const vch_wallet_t *);
VCH_API int vch_wallet_simulated(const vch_wallet_t *);
/* Public key of owner i for a dataset, multicodec (34 bytes). */
VCH_API VCH_MUST_USE vch_rc vch_wallet_key(const vch_wallet_t *, uint32_t owner, vch_ledger_t *, const char *dataset,
                                           uint8_t ret[34], vch_err_t *);

/* Owners' own statements, carried by `carrier`; `subjects` are subject numbers,
 * owner[i] the wallet's owner who holds subjects[i].  terms NULL: withdraw all. */
VCH_API VCH_MUST_USE vch_rc vch_consent_give(vch_ledger_t *, const vch_signer_t *carrier, const vch_wallet_t *,
                                             const char *dataset, const uint32_t *subjects, const uint32_t *owners,
                                             size_t n, const char *terms, uint32_t until_day, vch_receipt_t *ret,
                                             vch_err_t *);
VCH_API VCH_MUST_USE vch_rc vch_consent_withdraw(vch_ledger_t *, const vch_signer_t *carrier, const vch_wallet_t *,
                                                 const char *dataset, const uint32_t *subjects, const uint32_t *owners,
                                                 size_t n, const char *terms, vch_receipt_t *ret, vch_err_t *);
/* Paper consents entered by the custodian; CSV: subject value,terms,until
 * (YYYY-MM-DD),give|withdraw[,evidence sha256]. */
VCH_API VCH_MUST_USE vch_rc vch_consent_record(vch_ledger_t *, const vch_signer_t *custodian, const char *dataset,
                                               const char *csv_path, uint64_t *ret_count, vch_err_t *);
/* The subject's number behind the custodian's own name for a person; reads the
 * whole file of persons.  For many of them: one pass, all or none. */
VCH_API VCH_MUST_USE vch_rc vch_subject_find(vch_ledger_t *, const char *dataset, const char *person, uint32_t *ret,
                                             vch_err_t *);
VCH_API VCH_MUST_USE vch_rc vch_subjects_find(vch_ledger_t *, const char *dataset, const char *const *person, size_t n,
                                              uint32_t *ret, vch_err_t *);
/* Terms document from JSON (members as in docs/formats/terms.cddl); *ret_hash names it. */
VCH_API VCH_MUST_USE vch_rc vch_terms_add(vch_ledger_t *, const vch_signer_t *, const char *json, size_t json_n,
                                          vch_hash_t *ret_hash, vch_receipt_t *ret, vch_err_t *);

/* ---- use -------------------------------------------------------------------------------- */

/* groups NULL: all.  A denial is a result, not an error: see ret->permit, rule. */
VCH_API VCH_MUST_USE vch_rc vch_access_request(vch_ledger_t *, const vch_signer_t *, const char *version,
                                               const char *purpose, const char *processing, const char *const *groups,
                                               size_t groups_n, vch_receipt_t *ret, vch_err_t *);
/* The permitted rows of a live grant as CSV, commitments checked row by row
 * before a byte leaves; only groups that were granted. */
VCH_API VCH_MUST_USE vch_rc vch_access_fetch(vch_ledger_t *, const vch_signer_t *, const char *grant,
                                             const char *csv_path, uint64_t *ret_rows, vch_err_t *);
/* A subject's own rows, by right of its key alone: also after it withdrew, and
 * whatever others were granted.  The wallet's owner `owner` says so on the
 * ledger, carried by `carrier`, who gains no right over it; the rows come out
 * under a one-time key as CSV, checked like any.  groups NULL: all.  A denial
 * (erased, or no rows in that version) is a result: see ret->permit, rule; then
 * there is no file.  ERR_CONFLICT: csv_path exists. */
VCH_API VCH_MUST_USE vch_rc vch_access_own(vch_ledger_t *, const vch_signer_t *carrier, const vch_wallet_t *,
                                           const char *version, uint32_t subject, uint32_t owner,
                                           const char *const *groups, size_t groups_n, const char *csv_path,
                                           uint64_t *ret_rows, vch_receipt_t *ret, vch_err_t *);

typedef struct {
    const char *const *grant;
    size_t grants;
    const char *name; /* of the run and the model */
    int has_seed;
    uint64_t seed;
    uint32_t holdout;        /* rows kept back, chosen by the seed */
    const char *work_dir;    /* NULL: runs/<run>/; what it left moves to models/<digest>/, held-out rows stay */
    const char *const *argv; /* NULL-terminated command */
} vch_run_spec_t;
typedef struct {
    vch_id_t run, model;
    int has_model;
    int exit_code; /* of the command */
    uint64_t rows, held_out;
    char holdout_path[1024], out_dir[1024];
} vch_run_result_t;
/* train.csv = granted ∩ permitted now, less the held-out rows, in committed
 * order, into $VOUCH_IN; then the command; then what it left in $VOUCH_OUT is
 * hashed; run, run-end and (on success, if it left a file) model are logged.
 * metrics.json in $VOUCH_OUT becomes the run's metrics.  ERR_COMMITMENT names
 * a changed row before anything runs. */
VCH_API VCH_MUST_USE vch_rc vch_run_exec(vch_ledger_t *, const vch_signer_t *, const vch_run_spec_t *,
                                         vch_run_result_t *ret, vch_err_t *);
/* Models whose training rows' owners have since withdrawn: [{"model", "name",
 * "rows withdrawn", "subjects":[…], "remedied"}]. */
VCH_API VCH_MUST_USE vch_rc vch_models_affected(vch_ledger_t *, vch_text_t *ret_json, vch_err_t *);

/* Decisions as JSON Lines {"input": any, "output": any, "reasons": ["…"]}: one
 * sealed batch; leaves and salts go to decisions/<deployment>/. */
VCH_API VCH_MUST_USE vch_rc vch_decisions_log(vch_ledger_t *, const vch_signer_t *, const char *deployment,
                                              const char *jsonl_path, uint64_t *ret_first, uint64_t *ret_count,
                                              vch_receipt_t *ret, vch_err_t *);

/* ---- tokens: what programs without a key show to a ledger's service ----------------------- */

typedef struct {
    char text[44]; /* 43 characters; a secret: overwrite it when it was shown */
} vch_token_t;
/* scope: "read" (log, lists), "statements" (also what statements say),
 * "operator" (everything).  DIR/tokens keeps its hash; nobody can show it again. */
VCH_API VCH_MUST_USE vch_rc vch_token_new(vch_ledger_t *, const char *name, const char *scope, uint32_t days,
                                          vch_token_t *ret, vch_err_t *);
/* [{"name", "scope", "made", "ends", "expired"}] */
VCH_API VCH_MUST_USE vch_rc vch_token_list(vch_ledger_t *, vch_text_t *ret_json, vch_err_t *);
/* Refused from the next request on. */
VCH_API VCH_MUST_USE vch_rc vch_token_revoke(vch_ledger_t *, const char *name, vch_err_t *);

/* ---- a ledger on another machine -------------------------------------------------------- */

typedef struct {
    const char *trust_path; /* whom to believe (tlog-policy); NULL: the key seen first is pinned in memory_dir */
    const char
        *memory_dir; /* where the last checkpoint seen is kept; NULL: $XDG_STATE_HOME/vouch or ~/.local/state/vouch */
    const char *token_path;                /* file whose first line is a token; NULL: none */
    const char *ca_path;                   /* PEM of whom TLS believes; NULL: the system's */
    const char *cert_path, *cert_key_path; /* PEM; prove a party's key to the node by TLS; NULL: don't */
    const char *keys_dir;    /* where vch_identity_… finds keys; NULL: $XDG_CONFIG_HOME/vouch/keys or ~/.config/… */
    const vch_signer_t *who; /* signs questions; NULL: nobody; outlives the handle */
    uint64_t timeout_ms;     /* of one question; 0: 10 s */
    uint64_t patience_ms;    /* how long one is asked again while nobody answers; 0: 30 s */
} vch_connect_t;

/* A handle on the node at url ("https://…", "http://127.0.0.1:…", "unix:/path");
 * the node is first asked when a call needs it.
 * Calls of this header that need only the ledger's log and state work on it as
 * on a directory; those that need the custodian's files say ERR_UNSUPPORTED.
 * Signing happens here; the node sees signed bytes only.  A log that does not
 * extend the checkpoint seen last is refused (ERR_CORRUPT), and both notes are
 * kept as proof. */
VCH_API VCH_MUST_USE vch_rc vch_ledger_connect(vch_ledger_t **ret, const char *url, const vch_connect_t *, vch_err_t *);
/* From now on `who` signs the questions; it outlives the handle.  Nothing
 * happens on a directory's handle. */
VCH_API void vch_ledger_ask_as(vch_ledger_t *, const vch_signer_t *who);
/* What people should know about this handle, as in vch_ledger_info_t; "" for
 * nothing.  Borrowed. */
VCH_API const char *vch_ledger_note(const vch_ledger_t *);

/* ---- evidence ----------------------------------------------------------------------------- */

/* `what`: "decision" (id DEPLOYMENT/SEQUENCE or DEPLOYMENT/FIRST-LAST of one
 * batch), "access" (grant), "consent" (DATASET/SUBJECT), "row"
 * (RUN/EXTENT/ROW), "lineage" (MODEL), "erasure" (DATASET/SUBJECT, or the id of
 * an erase statement or entry).  Signs a checkpoint first if needed. */
VCH_API VCH_MUST_USE vch_rc vch_bundle_make(vch_ledger_t *, const char *what, const char *id, const char *path,
                                            vch_err_t *);
/* What lies in a bundle, as JSON: claims, decisions, checkpoints with who signed
 * them, entries, disclosed statements, state values, row sets, how many salts.
 * Its parts must hang together, else ERR_COMMITMENT; nobody's signature is
 * checked, so nothing of it is to be believed (vch_bundle_verify). */
VCH_API VCH_MUST_USE vch_rc vch_bundle_show(const uint8_t *bundle, size_t bundle_n, vch_text_t *ret_json, vch_err_t *);
/* decision -> batch -> deployment -> model -> run -> grants -> version -> rows
 * -> consents as a JSON tree; each node says whether its link was verified. */
VCH_API VCH_MUST_USE vch_rc vch_decision_trace(vch_ledger_t *, const char *id, vch_text_t *ret_json, vch_err_t *);

#ifdef __cplusplus
}
#endif
#endif
