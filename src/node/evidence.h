/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence bundles from the inside: a bag that collects proofs, each once, and
 * is then written as docs/formats/bundle.cddl says.
 *
 *   evidence_bag.c     leaves, statements, state values, sets, columns; the state of earlier blocks
 *   evidence_access.c  what an access decision rested on, as of the block before it
 *   evidence_chain.c   model -> run -> grants, batch -> deployment -> model
 *   evidence_row.c     consents and rows
 *   evidence_erasure.c certificates of erasures
 *   evidence_write.c   checkpoints, paths, bytes
 *   evidence.c         the claims, vch_bundle_make
 *   trace.c            vch_decision_trace
 *
 * Earlier state comes from replaying the log into an index in memory.  One
 * replay serves a whole bundle as long as blocks are asked for in ascending
 * order; going back works too, but begins again. */
#ifndef VCH_EVIDENCE_H
#define VCH_EVIDENCE_H

#include "merkle/smt.h"
#include "merkle/tree.h"
#include "node/node.h"
#include "vouchsafe/verify.h"

/* Bytes of sets, columns and subjects that a bundle may carry so that the
 * decisions can be recomputed; what is beyond stays attested by the log. */
#define EV_BULK_MAX (44u << 20)

typedef struct {
    uint32_t number;
    vch_slice_t bytes, path;
} ev_statement_t;

typedef struct {
    uint64_t index, commit; /* of its block's state-commit; itself for one */
    vch_slice_t bytes;
    vch_kind_t kind;
    vch_keyid_t signer; /* of a signed one */
    ev_statement_t *statement;
    size_t statements, cap;
} ev_leaf_t;

typedef struct {
    uint64_t commit;
    vch_state_key_t key;
    bool present, has_other;
    vch_slice_t value, path;
    vch_smt_leaf_t other;
} ev_item_t;

typedef struct {
    vch_id_t dataset;
    uint32_t chunk;
    vch_slice_t flat;
    vch_hash_t cells;
} ev_column_t;

typedef struct {
    vch_hash_t name; /* set root, or extent id */
    vch_slice_t bytes;
} ev_named_t;

/* An access request, its outcome, and (if `inputs`) what it rested on. */
typedef struct {
    vch_id_t request, version;
    uint64_t index;
    vch_slice_t purpose, processing;
    vch_outcome_t outcome;
    vch_slice_t set; /* permitted rows */
    bool has_inputs;
    vch_version_value_t value;
    vch_extent_value_t *extent;
    const uint32_t **subjects; /* per extent; NULL: contiguous */
    uint32_t column_n;
    uint16_t *column;     /* palette index of each subject */
    vch_slice_t *palette; /* 65,536 of them: state value of each index in use */
    vch_slice_t dataset;  /* fields of its statement */
} ev_access_t;

typedef struct {
    vch_id_t id, version;
    uint64_t index, count;
    vch_statement_t st, end;
    bool has_end;
    vch_slice_t set;
    ev_access_t *grant;
    size_t grants;
} ev_run_t;

typedef struct {
    vch_ledger_t *l;
    vch_err_t *err;
    vch_arena_t arena, scratch;
    uint64_t size;    /* of the newest checkpoint: what can be proven */
    vch_slice_t note; /* that checkpoint */
    ev_leaf_t *leaf;
    size_t leaves, leaf_cap;
    ev_item_t *item;
    size_t items, item_cap;
    ev_named_t *set;
    size_t sets, set_cap;
    ev_column_t *column;
    size_t columns, column_cap;
    ev_named_t *subjects;
    size_t subject_lists, subject_cap;
    vch_buf_t claim;
    size_t bulk;
    vch_kv_t *past_kv;
    vch_state_t *past;
} ev_t;

/* ---- evidence_bag.c: between vch_ledger_read_begin and _end ---- */
void ev_free(ev_t *);
VCH_MUST_USE vch_rc ev_init(ev_t *, vch_ledger_t *, vch_err_t *);
VCH_MUST_USE vch_rc ev_no_memory(ev_t *);
/* A leaf, and the state-commit that closes its block; *ret_kind may be NULL. */
VCH_MUST_USE vch_rc ev_leaf(ev_t *, uint64_t index, vch_kind_t *ret_kind);
VCH_MUST_USE vch_rc ev_statement(ev_t *, uint64_t index, uint32_t number, vch_statement_t *ret);
/* The object's leaf and statement; ERR_REFERENCE when it is of another kind. */
VCH_MUST_USE vch_rc ev_object(ev_t *, const vch_id_t *, vch_kind_t, vch_statement_t *ret, uint64_t *ret_index);
ev_leaf_t *ev_find_leaf(ev_t *, uint64_t index);
/* The state as it was when this state-commit closed its block. */
VCH_MUST_USE vch_rc ev_state(ev_t *, uint64_t commit, vch_state_t **ret);
/* A value with its proof, or the proof that there is none (*ret_present). */
VCH_MUST_USE vch_rc ev_item(ev_t *, uint64_t commit, const vch_state_key_t *, vch_slice_t *ret, bool *ret_present);
/* The same where absence would be damage. */
VCH_MUST_USE vch_rc ev_value(ev_t *, uint64_t commit, const vch_state_key_t *, vch_slice_t *ret);
VCH_MUST_USE vch_rc ev_set(ev_t *, vch_slice_t bits);
VCH_MUST_USE vch_rc ev_column(ev_t *, const ev_column_t *);
VCH_MUST_USE vch_rc ev_subjects(ev_t *, const vch_hash_t *extent, vch_slice_t list);
/* Genesis, and the keys that signed what is in the bag, as of that block. */
VCH_MUST_USE vch_rc ev_signers(ev_t *, uint64_t commit);
VCH_MUST_USE vch_rc ev_copy(ev_t *, vch_slice_t, vch_slice_t *ret);
VCH_MUST_USE vch_rc ev_tree_path(ev_t *, vch_hash_t *leaves, size_t n, size_t i, vch_slice_t *ret);

/* ---- evidence_access.c ---- */
VCH_MUST_USE vch_rc ev_access(ev_t *, const vch_id_t *request, ev_access_t *ret);

/* ---- evidence_chain.c ---- */
VCH_MUST_USE vch_rc ev_run(ev_t *, const vch_id_t *run, ev_run_t *ret);
typedef struct {
    vch_id_t id;
    uint64_t index;
    vch_statement_t st;
    bool has_run;
    ev_run_t run;
} ev_model_t;
VCH_MUST_USE vch_rc ev_model(ev_t *, const vch_id_t *model, ev_model_t *ret);

typedef struct {
    vch_id_t deployment, batch;
    vch_batch_value_t value;
    uint64_t first, last; /* asked for */
    vch_arena_t arena;    /* the leaves live here */
    vch_slice_t *leaf;    /* value.count of them */
} ev_decisions_t;
/* "DEPLOYMENT/N" or "DEPLOYMENT/N-M" (a whole batch), read from the ledger and
 * decisions/.  Takes the ledger's lock itself; free in any case. */
VCH_MUST_USE vch_rc ev_decisions_read(ev_decisions_t *, vch_ledger_t *, const char *id, vch_err_t *);
void ev_decisions_free(ev_decisions_t *);
typedef struct {
    uint64_t index;
    vch_statement_t st, deployment;
    ev_model_t model;
} ev_batch_t;
VCH_MUST_USE vch_rc ev_batch(ev_t *, const ev_decisions_t *, ev_batch_t *ret);

/* ---- evidence_row.c ---- */
/* "DATASET/SUBJECT" at the newest state-commit. */
VCH_MUST_USE vch_rc ev_claim_consent(ev_t *, const char *id);
typedef struct {
    vch_id_t run, dataset;
    uint32_t extent, row;
    bool disclosed;
    size_t groups;
    vch_hash_t commitment[VCH_GROUPS_MAX];
    uint8_t salt[VCH_GROUPS_MAX][VCH_ROW_SALT_LEN];
    vch_buf_t canonical[VCH_GROUPS_MAX];
    vch_slice_t path;
    vch_arena_t arena;
} ev_row_t;
/* "RUN/EXTENT/ROW" and, when this directory is the custodian's, its content.
 * Takes the lock itself; free in any case. */
VCH_MUST_USE vch_rc ev_row_read(ev_row_t *, vch_ledger_t *, const char *id, vch_err_t *);
void ev_row_free(ev_row_t *);
VCH_MUST_USE vch_rc ev_claim_row(ev_t *, const ev_row_t *);

/* ---- evidence_erasure.c ---- */
typedef struct {
    vch_id_t dataset;
    uint32_t *subject; /* ascending */
    size_t subjects;
} ev_erasure_t;
/* "DATASET/SUBJECT", or the id of an erase statement or of a whole entry.
 * Takes the lock itself; free in any case. */
VCH_MUST_USE vch_rc ev_erasure_find(ev_erasure_t *, vch_ledger_t *, const char *id, vch_err_t *);
void ev_erasure_free(ev_erasure_t *);
VCH_MUST_USE vch_rc ev_claim_erasure(ev_t *, const ev_erasure_t *);

/* ---- evidence_write.c ---- */
VCH_MUST_USE vch_rc ev_write(ev_t *, vch_buf_t *ret);

/* ---- evidence.c ---- */
/* A checkpoint over everything, then the lock at a block boundary. */
VCH_MUST_USE vch_rc ev_begin(ev_t *, vch_ledger_t *, vch_err_t *);
VCH_MUST_USE vch_rc ev_cover(vch_ledger_t *, vch_err_t *);
VCH_MUST_USE vch_rc ev_claim_decision(ev_t *, const ev_decisions_t *);
VCH_MUST_USE vch_rc ev_claim_id(ev_t *, unsigned type, const vch_id_t *);
/* By the directory's own trust.policy. */
VCH_MUST_USE vch_rc ev_judge(vch_ledger_t *, vch_slice_t bundle, vch_report_t *ret, vch_err_t *);
/* The bundle in memory. */
VCH_MUST_USE vch_rc vch_bundle_build(vch_ledger_t *, const char *what, const char *id, vch_buf_t *ret, vch_err_t *);

#endif
