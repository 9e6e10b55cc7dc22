/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a remote handle share. */
#ifndef VCH_REMOTE_INT_H
#define VCH_REMOTE_INT_H

#include "codec/json.h"
#include "entry/note.h"
#include "merkle/smt.h"
#include "merkle/tree.h"
#include "node/node_int.h"
#include "node/remote.h"

#define RM_URL_MAX 1024u
#define RM_PATH_MAX 4096u
#define RM_ANSWER_MAX (64u << 20)
#define RM_SMALL_MAX (1u << 20)
#define RM_TRIES 6u
#define RM_TRIES_GET 4u       /* of a question that changes nothing, while nobody answers */
#define RM_PATIENCE_MS 30000u /* unless said: all tries of one question together, unless one takes longer */
#define RM_HEAVY 6u           /* times the time-out */
#define RM_AT_ONCE 32u        /* questions on the way at the same time */
#define RM_BUNDLE_MAX (256u * (2u + 65535u))

struct vch_remote {
    vch_transport_t *transport;
    vch_authorize_fn authorize;
    const vch_signer_t *who;
    char *token; /* secret memory; NULL: none */
    char url[RM_URL_MAX];
    bool is_unix; /* then a colon stands between url and path */
    uint64_t timeout_ms, patience_ms;
    pthread_mutex_t mutex; /* recursive: over everything here */
    char memory[VCH_PATH_MAX];

    vch_buf_t trust_text;
    vch_trust_t *trust; /* NULL: nobody was named, and nothing is pinned yet */
    char pinned[512];   /* the vkey that `trust` was made of; "": it was given */

    bool locked;    /* this handle holds the memory's lock */
    unsigned depth; /* of rm_begin */
    bool fresh;     /* the session began inside the outermost of them */
    bool started;   /* origin, network and head are known and verified */
    uint64_t size;
    vch_hash_t root;
    vch_buf_t note; /* of that size */
    bool quorum;
    uint64_t committed; /* the largest size seen under the trust policy's quorum since it was opened */

    bool has_commit; /* the state-commit proven last */
    uint64_t commit_index;
    vch_state_commit_t commit;

    bool has_bundle; /* the bundle of entries read last */
    uint64_t bundle;
    unsigned width;
    vch_buf_t entries;
    vch_buf_t leaf; /* the one proven last */
};

/* ---- asking (remote.c) ---------------------------------------------------------- */

typedef struct {
    const char *path; /* with query */
    const char *type; /* of the body of a POST; NULL: a GET */
    vch_slice_t body;
    size_t max;              /* of the answer; 0: RM_ANSWER_MAX */
    const vch_signer_t *who; /* signs this question; NULL: as the handle does */
    bool heavy;              /* much work for a node: it gets more time, and isn't asked again for being slow */
    /* Filled in: */
    vch_buf_t answer; /* rm_free frees it */
    vch_rc rc;
    bool unsure; /* it may have been done although no answer says so */
    unsigned tries;
    vch_err_t err;
} rm_ask_t;
/* All n, retried where that helps; ask[i].rc says how each went. */
void rm_ask(vch_ledger_t *, rm_ask_t *, size_t n);
void rm_free(rm_ask_t *, size_t n);
/* One; its error becomes the caller's.  rm_free also after a failure. */
vch_rc rm_get(vch_ledger_t *, rm_ask_t *ret, const char *path, size_t max, vch_err_t *);

/* The lock taken, the log verified.  Nests. */
vch_rc rm_begin(vch_ledger_t *, vch_err_t *);
void rm_end(vch_ledger_t *);

/* Paths: "…?id=" and a value in percent code. */
typedef struct {
    char text[RM_PATH_MAX];
    size_t n;
    bool full;
} rm_path_t;
rm_path_t rm_path(const char *fixed);
void rm_path_add(rm_path_t *, const char *fixed);
void rm_path_value(rm_path_t *, const char *value);
void rm_path_hex(rm_path_t *, const void *p, size_t n);
void rm_path_uint(rm_path_t *, uint64_t);
vch_rc rm_path_check(const rm_path_t *, vch_err_t *);

/* ---- what is believed (remote_memory.c) -------------------------------------------- */

vch_rc rm_start(vch_ledger_t *, vch_err_t *);
/* A note that came with an answer: verified, and consistent with what was seen;
 * a newer one is remembered. */
vch_rc rm_believe(vch_ledger_t *, vch_slice_t note, vch_checkpoint_t *ret, vch_err_t *);
/* Fetch the newest one and believe it. */
vch_rc rm_refresh(vch_ledger_t *, vch_err_t *);
/* Is `text` a note that the log signed?  ERR_SIGNATURE, ERR_KEY. */
vch_rc rm_signed_by_log(vch_ledger_t *, const vch_note_t *, vch_slice_t origin, bool *ret_quorum, vch_err_t *);
/* A file of this log's memory, written atomically, mode 0600; ret_path may be NULL. */
vch_rc rm_keep(vch_ledger_t *, const char *folder, const char *name, vch_slice_t, char ret_path[VCH_PATH_MAX],
               vch_err_t *);

/* ---- proven reads (remote_read.c) ---------------------------------------------------- */

/* A state value, proven; ERR_NOT_FOUND when its absence is proven. */
vch_rc rm_value(vch_ledger_t *, vch_slice_t key, vch_buf_t *ret, vch_err_t *);
vch_rc rm_leaf(vch_ledger_t *, uint64_t index, vch_buf_t *ret, vch_err_t *);
/* Everything the node lists of one kind (vch_resolve's tags); `name` is empty
 * where there is none, `number` a version's.  Terms are those of their hash. */
typedef vch_rc (*rm_listed_fn)(void *ctx, const vch_id_t *, vch_slice_t name, uint64_t number);
vch_rc rm_each(vch_ledger_t *, char tag, const vch_id_t *of, rm_listed_fn, void *ctx, vch_err_t *);
vch_rc rm_consistent(vch_ledger_t *, uint64_t size1, const vch_hash_t *root1, uint64_t size2, const vch_hash_t *root2,
                     vch_buf_t *ret_answer, vch_err_t *);

/* A consent's subject; `owner` signs the question when the handle's own party
 * may not know (NULL: it asks). */
struct rm_subject;
vch_rc nd_remote_subject(vch_ledger_t *, const vch_id_t *dataset, uint32_t subject, const vch_signer_t *owner,
                         struct rm_subject *ret, vch_err_t *);

/* ---- answers taken apart (remote_answer.c): pure ---------------------------------------- */

/* The error that an answer tells; the node's words, shortened. */
vch_rc rm_error_get(vch_err_t *err, int status, vch_slice_t body);
bool rm_error_passes(int status, unsigned retry_after_s, vch_rc rc); /* asking again may help */

typedef struct {
    char origin[208], vkey[512];
    vch_hash_t network;
    uint64_t size;
} rm_info_t;
vch_rc rm_info_get(rm_info_t *ret, vch_slice_t body, vch_err_t *);

typedef struct {
    vch_receipt_t receipt;
    vch_buf_t promise; /* the receipt file; empty when none came */
} rm_receipt_t;
vch_rc rm_receipt_get(rm_receipt_t *ret, vch_slice_t body, vch_err_t *); /* free promise on success */

/* One number that a JSON object holds. */
vch_rc rm_number_get(uint64_t *ret, const char *name, vch_slice_t body, vch_err_t *);

typedef struct {
    uint64_t index;
    uint32_t statement;
} rm_place_t;
vch_rc rm_place_get(rm_place_t *ret, vch_slice_t body, vch_err_t *);

typedef struct rm_subject {
    uint32_t subject, serial; /* of the statement that counts now */
    bool has_key, known;      /* known: the state holds it; else the path proves it */
    vch_keyid_t key;
    uint32_t first;
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t path_n;
} rm_subject_t;
vch_rc rm_subject_get(rm_subject_t *ret, vch_slice_t body, vch_err_t *);

typedef struct {
    uint64_t size1, size2;
    vch_hash_t root1, root2, path[VCH_PATH_HASHES_MAX];
    size_t n;
} rm_consistency_t;
vch_rc rm_consistency_get(rm_consistency_t *ret, vch_slice_t body, vch_err_t *);

/* A state value with its proof: verified against the root that it names.  The
 * value is appended to ret_value. */
typedef struct {
    bool present;
    uint64_t height, entry; /* entry: index of the state-commit that names the root */
    vch_hash_t root;
} rm_state_t;
vch_rc rm_state_get(rm_state_t *ret, vch_buf_t *ret_value, vch_slice_t key, vch_slice_t body, vch_err_t *);

/* Entry i of a bundle that must hold exactly `width`. */
vch_rc rm_bundle_get(vch_slice_t *ret, vch_slice_t bundle, unsigned width, unsigned i, vch_err_t *);

/* An entry told as JSON against its leaf (remote_entry.c); ERR_COMMITMENT. */
vch_rc rm_entry_check(uint64_t index, vch_slice_t leaf, vch_slice_t body, vch_err_t *);

/* Is it JSON of this type at all? */
/* ---- a served vault (remote_use.c) ---- */
/* Where it is, into l->in->vault. */
vch_rc rm_vault(vch_ledger_t *, vch_err_t *);
vch_rc rm_vault_get(vch_vault_settings_t *ret, vch_slice_t body, vch_err_t *);
/* The bitmap of what is to be asked for, appended: the node's word. */
vch_rc rm_grant_rows(vch_ledger_t *, const vch_id_t *grant, vch_buf_t *ret, vch_err_t *);

vch_rc rm_json_check(vch_slice_t body, vch_json_type_t, vch_err_t *);

#endif
