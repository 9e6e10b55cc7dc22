/* SPDX-License-Identifier: Apache-2.0 */
/* The user's side from the inside: what grants permit now, rows as CSV,
 * decision batches on disk (docs/formats/decisions.md). */
#ifndef VCH_USE_H
#define VCH_USE_H

#include "node/custody.h"
#include "node/node.h"

/* The leaves of one batch as they were logged, `count` of them copied into the
 * arena.  ERR_NOT_FOUND when the file is not here, ERR_CORRUPT naming the byte
 * when it is damaged.  Not between read_begin and _end. */
VCH_MUST_USE vch_rc vch_decisions_load(vch_ledger_t *, const vch_id_t *deployment, uint64_t first, uint64_t count,
                                       vch_arena_t *, vch_slice_t *ret_leaf, vch_err_t *);
/* Every file under decisions/ against its batch on the ledger; findings name
 * file and byte.  The result says only whether the check could be done. */
VCH_MUST_USE vch_rc vch_decisions_check(vch_ledger_t *, vch_finding_fn, void *ctx, uint64_t *ret_findings, vch_err_t *);

struct vch_once; /* node/vault.h */

/* ---- what a set of grants permits now ---------------------------------------- */

/* One grant's share: rows that no grant before it permits. */
typedef struct {
    vch_id_t id;
    vch_buf_t bits;
} vch_use_part_t;

typedef struct {
    vch_id_t version, dataset;
    uint16_t groups; /* granted by all of them, a bit set */
    uint32_t extents;
    vch_hash_t *id; /* of each extent */
    uint32_t *rows;
    size_t *at;           /* where its part of the bitmap begins */
    vch_buf_t bits;       /* granted and permitted now */
    vch_use_part_t *part; /* the same, grant by grant */
    size_t parts;
    uint64_t count;
    vch_arena_t arena;           /* holds id, rows, at, fields */
    vch_slice_t fields;          /* of the dataset statement */
    const struct vch_once *once; /* a subject's own: its statement's key pair, borrowed; NULL: a party's */
} vch_use_t;

/* Checks that every grant is the signer's own, permitted, unexpired and of one
 * version.  Not between read_begin and _end. */
VCH_MUST_USE vch_rc vch_use_open(vch_use_t *ret, vch_ledger_t *, const vch_signer_t *, const vch_id_t *grants, size_t n,
                                 vch_err_t *);
/* The same for a party's grants, between read_begin and _end. */
VCH_MUST_USE vch_rc vch_use_of_party(vch_use_t *ret, vch_ledger_t *, const vch_id_t *party, const vch_id_t *grants,
                                     size_t n, vch_err_t *);
/* A subject's own access: permitted, unexpired, and the subject not erased since.
 * Between read_begin and _end; whose key asks is for the caller to see.
 * ERR_NOT_FOUND: no own access has this id. */
VCH_MUST_USE vch_rc vch_use_of_subject(vch_use_t *ret, vch_ledger_t *, const vch_id_t *grant, vch_err_t *);
/* What the ledger says of it, borrowed from value; ERR_NOT_FOUND.  Between
 * read_begin and _end. */
VCH_MUST_USE vch_rc vch_own_load(vch_ledger_t *, const vch_id_t *grant, vch_buf_t *value, vch_own_value_t *ret);
void vch_use_close(vch_use_t *);
/* Groups of columns by name as a bit set, n 0: all; `dataset`: the statement's
 * fields.  ERR_NOT_FOUND names the one that isn't there. */
VCH_MUST_USE vch_rc vch_use_groups(vch_slice_t dataset, const char *const *groups, size_t n, uint32_t *ret,
                                   vch_err_t *);
VCH_MUST_USE vch_rc vch_use_version(vch_ledger_t *, const vch_id_t *version, vch_version_value_t *ret, vch_err_t *);
/* All rows of it into a CSV file that must not exist. */
VCH_MUST_USE vch_rc vch_use_write_csv(vch_use_t *, vch_ledger_t *, const vch_signer_t *, const char *path, vch_err_t *);

/* The rows themselves.  Those in the vault are fetched here, all that is
 * permitted, and wait in the file `spool` (0600, removed at close), which isn't
 * made when there are none.  `use` is borrowed until close. */
typedef struct vch_fetch vch_fetch_t;
VCH_MUST_USE vch_rc vch_fetch_open(vch_fetch_t **ret, const vch_use_t *use, vch_ledger_t *, const vch_signer_t *user,
                                   const char *spool, vch_err_t *);
/* ERR_… names the spool when it can't be removed: it holds rows in the clear.
 * NULL is fine. */
VCH_MUST_USE vch_rc vch_fetch_close(vch_fetch_t *, vch_err_t *);
/* Rows (extent, row) as CSV with a header, each checked against its
 * commitments before it is written.  May be called several times. */
VCH_MUST_USE vch_rc vch_fetch_write_csv(vch_fetch_t *, const char *path, const uint32_t (*row)[2], size_t n,
                                        vch_err_t *);

/* ---- the command of a run (child.c) -------------------------------------------- */

/* Run argv in the present folder with these additional "NAME=value" settings,
 * its output on our stderr; *ret_exit is its exit code, or 128 + the signal
 * that ended it. */
VCH_MUST_USE vch_rc vch_child_run(const char *const *argv, const char *const *settings, int *ret_exit, vch_err_t *err);
/* Where execvp would find argv[0]; false when nowhere. */
bool vch_child_find(const char *name, char ret[VCH_PATH_MAX]);
/* The path from the root, for a command that may go elsewhere. */
VCH_MUST_USE vch_rc vch_child_absolute(char ret[VCH_PATH_MAX], const char *path);
/* Append two lines about this system for the environment's hash. */
VCH_MUST_USE vch_rc vch_child_system(vch_buf_t *ret);

#endif
