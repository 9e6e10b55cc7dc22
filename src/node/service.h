/* SPDX-License-Identifier: Apache-2.0 */
/* What a service over the network asks of the ledger beyond the public
 * functions: answers straight into a bounded buffer, who a key belongs to, what
 * a question is about and who may know that, entries to be signed elsewhere,
 * tiles and records.
 *
 * Unless they say otherwise they take the ledger's lock themselves: never
 * between vch_ledger_read_begin and _end.  Any thread. */
#ifndef VCH_SERVICE_H
#define VCH_SERVICE_H

#include "node/node.h"

/* ---- answers as JSON, appended; after a failure `ret` holds waste ---------- */

VCH_MUST_USE vch_rc vch_query_into(vch_ledger_t *, const char *what, const char *of, vch_buf_t *ret, vch_err_t *);
/* With or without what its statements say. */
VCH_MUST_USE vch_rc vch_entry_into(vch_ledger_t *, uint64_t index, bool statements, vch_buf_t *ret, vch_err_t *);
VCH_MUST_USE vch_rc vch_state_into(vch_ledger_t *, vch_slice_t key, vch_buf_t *ret, vch_err_t *);
/* {"dataset","network","subject","serial","next serial","key","known","first","path"}:
 * what a subject's device needs to sign.  `key` is the key id that stands in
 * the state (known), or the one given at ingest with the path that proves it
 * against its range; absent where this directory isn't the custodian's. */
VCH_MUST_USE vch_rc vch_subject_into(vch_ledger_t *, const vch_id_t *dataset, uint32_t subject, vch_buf_t *ret,
                                     vch_err_t *);

/* A receipt as an object; `promise` (may be empty) is its receipt file. */
VCH_MUST_USE vch_rc vch_receipt_into(const vch_receipt_t *, vch_slice_t promise, vch_buf_t *ret);
/* {"origin","network","version","size","height","checkpoint size","committed","time","log key"}. */
VCH_MUST_USE vch_rc vch_info_into(vch_ledger_t *, const char *version, vch_buf_t *ret, vch_err_t *);

/* From now on vch_ledger_checkpoint or vch_ledger_gather is called every
 * checkpoint_ms, so that those who write need not. */
void vch_ledger_tended(vch_ledger_t *);

/* ---- who somebody is --------------------------------------------------------- */

typedef struct {
    vch_id_t party;
    unsigned roles;
    bool revoked; /* the key */
} vch_known_t;
/* ERR_NOT_FOUND: a key of no party. */
VCH_MUST_USE vch_rc vch_known_key(vch_ledger_t *, const vch_keyid_t *, vch_known_t *ret, vch_err_t *);
/* The first party of genesis. */
VCH_MUST_USE vch_rc vch_ledger_operator(vch_ledger_t *, vch_id_t *ret, vch_err_t *);

typedef enum { VCH_SCOPE_READ, VCH_SCOPE_STATEMENTS, VCH_SCOPE_OPERATOR } vch_scope_t;
/* What this token opens; ERR_KEY when it is unknown or has ended. */
VCH_MUST_USE vch_rc vch_token_scope(vch_ledger_t *, vch_slice_t secret, vch_time_t now, vch_scope_t *ret, vch_err_t *);

/* ---- what a question is about, and who may know ------------------------------- */

#define VCH_ABOUT_MAX 16
typedef struct {
    vch_id_t dataset[VCH_ABOUT_MAX]; /* each once */
    size_t datasets;
    bool unclear;     /* more datasets than fit, or one that can't be told: custodians and grants don't count */
    bool has_subject; /* one subject of dataset[0], and nothing else */
    uint32_t subject;
    bool has_owner; /* the party whose own object it is */
    vch_id_t owner;
    bool closed; /* rows in the clear, names of persons: no grant covers them */
} vch_about_t;

/* "DATASET" or "DATASET/SUBJECT". */
VCH_MUST_USE vch_rc vch_about_consents(vch_ledger_t *, const char *of, vch_about_t *ret, vch_err_t *);
/* As vch_bundle_make names it. */
VCH_MUST_USE vch_rc vch_about_bundle(vch_ledger_t *, const char *what, const char *id, vch_about_t *ret, vch_err_t *);
/* The statements of an entry.  *ret_personal: they are about subjects. */
VCH_MUST_USE vch_rc vch_about_entry(vch_ledger_t *, uint64_t index, bool *ret_personal, vch_about_t *ret, vch_err_t *);

typedef struct {
    const vch_id_t *party;  /* NULL: none */
    const vch_keyid_t *key; /* that was proven; NULL: none */
    vch_time_t now;
} vch_asker_t;
typedef enum { VCH_MAY_NOT, VCH_MAY_AS_PARTY, VCH_MAY_AS_SUBJECT } vch_may_t;
/* As custodian of every dataset, by a live grant on each, as owner of the
 * object, or with the subject's own key. */
VCH_MUST_USE vch_rc vch_may_know(vch_ledger_t *, const vch_about_t *, const vch_asker_t *, vch_may_t *ret, vch_err_t *);
/* Custodian of any dataset, holder of any live grant, or user of any model. */
VCH_MUST_USE vch_rc vch_may_know_some(vch_ledger_t *, const vch_asker_t *, bool *ret, vch_err_t *);

/* ---- for users of a served vault (service_vault.c) ---------------------------------- */

/* {"trustees": [URL#KEYID], "threshold", "storage": [URL#KEYID], "data"};
 * ERR_NOT_FOUND when the vault is embedded, or there is none. */
VCH_MUST_USE vch_rc vch_vault_into(vch_ledger_t *, vch_buf_t *ret, vch_err_t *);
/* What this grant of this party permits now: a bitmap, extents in order, each of
 * whole 256 bytes.  Results as vch_use_of_party. */
VCH_MUST_USE vch_rc vch_grant_rows_into(vch_ledger_t *, const vch_id_t *party, const vch_id_t *grant, vch_buf_t *ret,
                                        vch_err_t *);

/* ---- entries to be signed elsewhere ----------------------------------------------- */

/* The next sequence number of the party with this key; ERR_KEY. */
VCH_MUST_USE vch_rc vch_sequence_of(vch_ledger_t *, const vch_keyid_t *, uint64_t *ret_next, vch_id_t *ret_party,
                                    vch_err_t *);
/* The same of a party, between vch_ledger_read_begin and _end. */
VCH_MUST_USE vch_rc vch_next_sequence(vch_ledger_t *, const vch_id_t *party, uint64_t *ret, vch_err_t *);
/* {"sign","entry","statements":[…],"sequence"}, bytes in base64, from one
 * object or a list of them. */
VCH_MUST_USE vch_rc vch_draft_into(vch_ledger_t *, const vch_pubkey_t *, const char *kind, const vch_json_t *statements,
                                   vch_buf_t *ret, vch_err_t *);

/* ---- the log for others ---------------------------------------------------------------- */

/* tlog/checkpoint; ERR_NOT_FOUND before the first. */
VCH_MUST_USE vch_rc vch_checkpoint_into(vch_ledger_t *, vch_buf_t *ret, vch_err_t *);
/* A tile, or (level -1) a bundle of entries, of width 256 or of what a signed
 * checkpoint left open; ERR_NOT_FOUND for all others.  A bundle whose file is
 * gone is made again from the log. */
VCH_MUST_USE vch_rc vch_tile_into(vch_ledger_t *, int level, uint64_t n, unsigned width, vch_buf_t *ret, vch_err_t *);
/* A CBOR sequence of [index, height, time ms, entry, [statement, …]] from
 * `from` on, before `to`, as many as fit `bytes` but at least one.  An erased
 * statement is an array of its leaf hash alone. */
VCH_MUST_USE vch_rc vch_records_into(vch_ledger_t *, uint64_t from, uint64_t to, size_t bytes, vch_buf_t *ret,
                                     vch_err_t *);

/* ---- the ledger as it stands -------------------------------------------------------------- */

typedef struct {
    uint64_t size, height, signed_size;
    vch_time_t time;          /* of the newest block */
    vch_time_t signed_time;   /* of the newest block under a checkpoint; 0 before the first */
    vch_time_t unsigned_time; /* of the oldest entry under none; 0: there is none */
    uint64_t free_bytes, kept_bytes, waiting;
} vch_ledger_facts_t;
VCH_MUST_USE vch_rc vch_ledger_facts(vch_ledger_t *, vch_ledger_facts_t *ret, vch_err_t *);
/* The wall clock, but never before the newest block. */
VCH_MUST_USE vch_rc vch_ledger_now(vch_ledger_t *, vch_time_t *ret, vch_err_t *);
/* VCH_OK when a submission would be taken now; err names no path. */
VCH_MUST_USE vch_rc vch_ledger_ready(vch_ledger_t *, vch_err_t *);
/* vouch.conf again: what may change while the ledger is open. */
VCH_MUST_USE vch_rc vch_ledger_reload(vch_ledger_t *, vch_err_t *);
/* The log's verifier key, "name+hash+base64". */
VCH_MUST_USE vch_rc vch_log_vkey_into(vch_ledger_t *, vch_buf_t *ret, vch_err_t *);

#endif
