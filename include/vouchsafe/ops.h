/* SPDX-License-Identifier: Apache-2.0 */
/* Running a ledger: backups, mirrors, and a doctor who says what to do. */
#ifndef VOUCHSAFE_OPS_H
#define VOUCHSAFE_OPS_H

#include "vouchsafe/vouchsafe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- backups ----------------------------------------------------------------
 *
 * A backup is a directory like the ledger's own, cut at a signed checkpoint,
 * with a file BACKUP that names every file, its size and its SHA-256.  What is
 * derived (index, tiles) is left out.  Made again into the same place it copies
 * only what is new; cut off, it goes on where it stopped. */

typedef struct {
    uint64_t size; /* entries of the log that it holds */
    uint64_t files, bytes;
    uint64_t copied, copied_bytes; /* of these, this time */
    vch_time_t time;               /* of the newest block in it */
} vch_backup_t;

/* Consistent while others write.  keys: also the private keys. */
VCH_API VCH_MUST_USE vch_rc vch_backup_make(vch_ledger_t *, const char *to, int keys, vch_progress_fn, void *ctx,
                                            vch_backup_t *ret, vch_err_t *);
/* Every file against BACKUP, then the whole ledger in it: each entry, proof and
 * row.  ERR_CORRUPT when anything differs; fn (may be NULL) gets each finding. */
VCH_API VCH_MUST_USE vch_rc vch_backup_check(const char *from, vch_finding_fn, void *ctx, vch_backup_t *ret,
                                             vch_err_t *);
/* Into a directory that doesn't exist or is empty.  The log may have gone on
 * after the backup, and signing another continuation would fork it; so the
 * restored ledger refuses to write until vch_mirror has caught up with every
 * checkpoint that its witnesses know, or, with new_origin ("<origin>/restored-…"),
 * goes on as a log of that name under a fresh key. */
VCH_API VCH_MUST_USE vch_rc vch_backup_restore(const char *from, const char *to, const char *new_origin,
                                               vch_backup_t *ret, vch_err_t *);

/* ---- mirrors ------------------------------------------------------------------ */

typedef struct {
    uint64_t from, size; /* entries before and now */
    int caught_up;       /* a restored ledger that may write again */
    char note[240];      /* why not, or what else to know */
} vch_mirror_t;

/* Copies what `node` (vch_ledger_connect) has more than the directory, each
 * part verified against the node's signed checkpoint and replayed before it
 * counts.  A missing directory is made, with the trust policy at trust_path, and
 * only ever follows.  A restored one may write again once no witness of its
 * trust policy has seen more; where there is none to ask, `complete` is the
 * operator's word for it. */
VCH_API VCH_MUST_USE vch_rc vch_mirror(vch_ledger_t *node, const char *dir, const char *trust_path, int complete,
                                       vch_progress_fn, void *ctx, vch_mirror_t *ret, vch_err_t *);

/* ---- the doctor ------------------------------------------------------------------- */

typedef enum { VCH_HEALTHY, VCH_WORRYING, VCH_BROKEN } vch_health_t;
typedef struct {
    const char *what; /* "disk", "clock", "permissions", "keys", "versions", "checkpoint", "index", "witnesses" */
    vch_health_t health;
    const char *text; /* what was seen */
    const char *fix;  /* what to do; empty when healthy */
} vch_symptom_t;
typedef void (*vch_symptom_fn)(void *ctx, const vch_symptom_t *);
/* Looks, changes nothing; needs no key.  The result says whether it could look. */
VCH_API VCH_MUST_USE vch_rc vch_doctor(const char *dir, vch_symptom_fn, void *ctx, vch_health_t *ret_worst,
                                       vch_err_t *);

#ifdef __cplusplus
}
#endif
#endif
