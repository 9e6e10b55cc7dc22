/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the offline verifier.
 *
 *   read.c       bytes -> the bag below, strictly and with limits
 *   check.c      phase 1: every item of the bag, whatever the claim is
 *   claim_*.c    phase 2: what the claim needs, looked up in the bag by id
 *   recompute.c  an access decision once more, from column, palette and terms
 *   report.c     codes, sentences, and the one way in
 *
 * All functions that return vch_rc stop the verification when that is not
 * VCH_OK; the verdict then stands in v->report. */
#ifndef VCH_VERIFY_IMPL_H
#define VCH_VERIFY_IMPL_H

#include <stdio.h>

#include "codec/cbor.h"
#include "entry/entry.h"
#include "entry/note.h"
#include "entry/value.h"
#include "merkle/smt.h"
#include "merkle/tree.h"
#include "policy/policy.h"
#include "vouchsafe/verify.h"

#define VFY_CHECKPOINTS_MAX 16
#define VFY_LEAVES_MAX 4096
#define VFY_ITEMS_MAX 262144
#define VFY_KEYS_MAX 1024
#define VFY_SETS_MAX 256
#define VFY_COLUMNS_MAX 8192
#define VFY_SUBJECTS_MAX 1024
#define VFY_ERASED_MAX 1024 /* subjects, and extents, of an erasure */
#define VFY_BRACKET_MS 300000u
#define VFY_ANY UINT64_MAX /* any state-commit of the bag */

typedef struct {
    vch_slice_t note;
    vch_checkpoint_t text;
    vch_trust_result_t trust;
} vfy_checkpoint_t;

typedef struct vfy_leaf vfy_leaf_t;

typedef struct {
    const vfy_leaf_t *leaf; /* of the entry that carries it */
    uint64_t number;
    vch_slice_t bytes, path;
    vch_hash_t hash;
    vch_id_t object;
    vch_statement_t st;
    bool known; /* kind and fields are of this format */
} vfy_statement_t;

struct vfy_leaf {
    uint64_t index, checkpoint;
    vch_slice_t bytes, path;
    vfy_statement_t *statement;
    size_t statements;
    vch_hash_t hash;
    vch_kind_t kind;
    bool known;
    vch_entry_t entry; /* of a signed one */
    vch_state_commit_t commit;
    vch_outcome_t outcome;
};

typedef struct {
    uint64_t index; /* of the state-commit */
    vch_slice_t key, value, path, other;
    bool present;
} vfy_item_t;

typedef struct {
    vch_pubkey_t key;
    vch_keyid_t id;
} vfy_key_t;

/* A row set under its root, or the subjects of an extent under its id. */
typedef struct {
    vch_hash_t id;
    vch_slice_t bytes;
} vfy_blob_t;

typedef struct {
    vch_id_t dataset;
    uint64_t chunk;
    vch_slice_t flat;
    uint8_t value[64]; /* what the state holds of it: hash of the indices, root of the cells */
} vfy_column_t;

typedef enum { VFY_DECISION = 1, VFY_ACCESS, VFY_CONSENT, VFY_ROW, VFY_LINEAGE, VFY_ERASURE } vfy_type_t;

typedef struct {
    uint64_t number;
    uint8_t salt[VCH_ROW_SALT_LEN];
    vch_slice_t bytes;
} vfy_group_t;

/* One struct for all six; which members count depends on `type`. */
typedef struct {
    vfy_type_t type;
    vch_id_t id;       /* batch, request, dataset, run or model */
    uint64_t number;   /* first decision, subject or extent */
    uint64_t state;    /* of a consent or erasure; the row of a row claim */
    uint64_t commit;   /* index of the state-commit of a consent or erasure */
    uint64_t grade;    /* of an erasure */
    vch_slice_t *leaf; /* decisions */
    size_t leaves;
    vch_slice_t path; /* of a decision, a cell or a bitmap leaf */
    bool has_cell, in_set, has_row;
    vch_slice_t cell, bits;
    vch_slice_t commitments, row_path;
    vfy_group_t *group; /* disclosed ones */
    size_t groups;
    uint64_t *subject, *extent; /* of an erasure, ascending */
    size_t subjects, extents;
} vfy_claim_t;

typedef struct {
    vch_report_t *report;
    const vch_verify_options_t *options;
    const vch_trust_t *trust;
    vch_arena_t *arena;
    const char *section; /* being read, for the detail of F-FORMAT */
    vch_hash_t network;
    vfy_claim_t claim;
    vfy_checkpoint_t *checkpoint;
    vch_slice_t *consistency;
    vfy_leaf_t *leaf;
    vfy_item_t *item; /* sorted by (state-commit, key) after phase 1 */
    vfy_key_t *key;
    vfy_blob_t *set;
    vfy_column_t *column;
    vfy_blob_t *subjects;
    size_t checkpoints, consistencies, leaves, items, keys, sets, columns, subject_lists;
} verify_t;

/* An access request and its outcome, both in the bag. */
typedef struct {
    const vfy_leaf_t *leaf, *after; /* the request's and the outcome's */
    const vfy_statement_t *st;
    vch_id_t version;
    vch_slice_t purpose, processing;
    uint64_t time_ms;
    bool recomputed;
} vfy_access_t;

/* ---- report.c ---- */
/* End with this verdict; a FAIL replaces an INCONCLUSIVE, nothing else does. */
VCH_PRINTF(3, 4) vch_rc vfy_stop(verify_t *v, vch_verify_code_t code, const char *fmt, ...);
#define vfy_doubt(...) ((void)vfy_stop(__VA_ARGS__)) /* remember it and go on */
VCH_PRINTF(2, 3) void vfy_link(verify_t *v, const char *fmt, ...);
VCH_PRINTF(2, 3) void vfy_claim(verify_t *v, const char *fmt, ...);
vch_rc vfy_no_memory(verify_t *v);
/* The first eight hex digits of an id; at most 48 bytes of a foreign name, fit
 * for a terminal.  Both by value. */
typedef struct {
    char s[52];
} vfy_text_t;
vfy_text_t vfy_short(const void *id32);
vfy_text_t vfy_name(vch_slice_t text);
#define AT(x) (unsigned long long)(x)
#define SHORT(id) vfy_short((id)->b).s

/* ---- read.c ---- */
vch_rc vfy_read(verify_t *v, vch_slice_t bundle);
static inline const vch_hash_t *vfy_path(vch_slice_t path) { return (const vch_hash_t *)(const void *)path.p; }
static inline size_t vfy_path_n(vch_slice_t path) { return path.n / 32; }

/* ---- check.c ---- */
vch_rc vfy_check(verify_t *v);

/* ---- find.c: look-ups in the checked bag; NULL when it isn't there ---- */
void vfy_sort_items(verify_t *v);
const vfy_leaf_t *vfy_find_leaf(const verify_t *v, uint64_t index);
/* The state-commit at this index. */
const vfy_leaf_t *vfy_find_commit(const verify_t *v, uint64_t index);
const vfy_item_t *vfy_find_item(const verify_t *v, uint64_t commit, const vch_state_key_t *key);
const vfy_blob_t *vfy_find_set(const verify_t *v, const vch_hash_t *root);
const vfy_key_t *vfy_find_key(const verify_t *v, const vch_keyid_t *id);
/* Each statement of the bag that this format knows, in order; NULL at the end. */
typedef struct {
    size_t leaf, statement;
} vfy_cursor_t;
const vfy_statement_t *vfy_each(const verify_t *v, vfy_cursor_t *at);
/* A consent, withdrawal or erasure of this subject. */
bool vfy_speaks_of(const vfy_statement_t *s, const vch_id_t *dataset, uint64_t subject);
/* That the key in such a statement is the one that the state under `commit` ties
 * to the subject; ERR_NOT_FOUND without a verdict when the bag doesn't show it. */
vch_rc vfy_owner_key(verify_t *v, uint64_t commit, const vch_id_t *dataset, uint64_t subject, const vfy_statement_t *s);
/* The subjects of an extent that isn't contiguous: big-endian u32. */
const vfy_blob_t *vfy_find_subjects(const verify_t *v, const vch_extent_value_t *e);
/* Whose key it is, in the state of any block shown. */
bool vfy_party_of(const verify_t *v, const vch_keyid_t *kid, vch_id_t *ret);
/* A statement by object id; stops with I-MISSING, or F-REFERENCE when it is of
 * another kind or stands behind `before`, the leaf that names it (may be NULL). */
vch_rc vfy_find_object(verify_t *v, const vch_id_t *id, vch_kind_t kind, const vfy_leaf_t *before,
                       const vfy_statement_t **ret);
/* Block time of a leaf, bracketed by witnesses where the policy wants that. */
vch_rc vfy_time(verify_t *v, const vfy_leaf_t *leaf, uint64_t *ret_ms);
/* The next id of a list, or ERR_NOT_FOUND. */
vch_rc vfy_next_id(vch_list_t *list, vch_id_t *ret);
/* Both were signed by one party. */
vch_rc vfy_same_party(verify_t *v, const vfy_leaf_t *a, const vfy_leaf_t *b, const char *what);
/* The version's value, and its extents' in an array, from the values of the
 * bag under `commit`; ERR_NOT_FOUND without a verdict when one isn't there. */
vch_rc vfy_find_extents(verify_t *v, uint64_t commit, const vch_id_t *version, vch_version_value_t *ret_version,
                        vch_extent_value_t **ret);

/* ---- recompute.c ---- */
vch_rc vfy_recompute(verify_t *v, vfy_access_t *a);

/* ---- claim_*.c ---- */
vch_rc vfy_access(verify_t *v, const vch_id_t *request, const vfy_leaf_t *before, vfy_access_t *ret);
vch_rc vfy_claim_access(verify_t *v);
vch_rc vfy_claim_consent(verify_t *v);
vch_rc vfy_claim_row(verify_t *v);
vch_rc vfy_claim_lineage(verify_t *v);
vch_rc vfy_claim_decision(verify_t *v);
vch_rc vfy_claim_erasure(verify_t *v);

#endif
