/* SPDX-License-Identifier: Apache-2.0 */
/* Submission receipts: the log's signed promise that an entry has this place
 * and will be under a signed checkpoint by this time.  One signature covers all
 * submissions of a batch: it signs the RFC 6962 root over the batch's leaves
 * (entry id 32 bytes ‖ u64 index), and each submitter gets its own path.
 *
 *   vouchsafe-receipt@v1
 *   entry <64 hex>
 *   index <n>
 *   position <i>            (in the batch)
 *   <base64 path hash>      (0 or more lines)
 *   <empty line>
 *   <signed note>           (text: "vouchsafe/receipt/v1", origin, network in hex,
 *                            count, base64 root, "by <ms>"; each a line)
 *
 * Pure; everything parsed is borrowed.  Format: docs/formats/receipt.md. */
#ifndef VCH_RECEIPT_FILE_H
#define VCH_RECEIPT_FILE_H

#include "entry/note.h"
#include "merkle/tree.h"
#include "vouchsafe/verify.h"

#define VCH_RECEIPT_BATCH_MAX 65536u
#define VCH_RECEIPT_BYTES_MAX (VCH_NOTE_BYTES_MAX + 4096u)
/* How long after the promised time witnesses must have seen the place. */
#define VCH_RECEIPT_GRACE_S 300u

typedef struct {
    vch_id_t entry;
    uint64_t index, position, count;
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t path_n;
    vch_slice_t note, origin;
    vch_hash_t network, root;
    uint64_t by_ms;
} vch_promise_t;

typedef struct {
    vch_id_t entry;
    uint64_t index;
} vch_placed_t;

/* The places of one batch and the tree over them: made once, then each path is
 * a look-up. */
typedef struct {
    const vch_placed_t *place; /* borrowed */
    size_t n;
    vch_hash_t *node; /* the leaves, then level above level */
} vch_promises_t;
/* n from 1 to VCH_RECEIPT_BATCH_MAX; ERR_LIMIT, ERR_MEMORY. */
VCH_MUST_USE vch_rc vch_promises_make(vch_promises_t *ret, const vch_placed_t *, size_t n);
void vch_promises_free(vch_promises_t *);
/* The one signed note for all of them, appended. */
VCH_MUST_USE vch_rc vch_promise_sign(vch_buf_t *ret_note, const vch_promises_t *, const char *origin,
                                     const vch_hash_t *network, uint64_t by_ms, const vch_signer_t *log_key);
/* The receipt file of place i, appended. */
VCH_MUST_USE vch_rc vch_promise_put(vch_buf_t *ret, const vch_promises_t *, size_t i, vch_slice_t note);

bool vch_promise_is(vch_slice_t file); /* begins like a receipt */
VCH_MUST_USE vch_rc vch_promise_get(vch_promise_t *ret, vch_slice_t file);
/* The same bytes again. */
VCH_MUST_USE vch_rc vch_promise_write(vch_buf_t *ret, const vch_promise_t *);

typedef enum {
    VCH_PROMISE_KEPT,         /* the entry stands at its place under a trusted checkpoint */
    VCH_PROMISE_BROKEN,       /* another entry stands there, or a quorum saw a log too short after the time */
    VCH_PROMISE_FORGED,       /* not signed by a log of the policy */
    VCH_PROMISE_INCONCLUSIVE, /* nothing shown decides it */
} vch_promise_verdict_t;

typedef struct {
    vch_promise_verdict_t verdict;
    vch_verify_code_t code; /* OK, F-PROMISE, F-RECEIPT, I-… */
    uint64_t size;          /* of the checkpoint shown; 0: none that counts */
    uint64_t witness_s;     /* POSIX seconds by which its quorum stood; 0: none */
    char why[160];
} vch_promise_finding_t;

/* evidence: a tlog-proof of that index whose `extra` is the leaf, or a signed
 * checkpoint; empty: only the receipt itself is judged. */
VCH_MUST_USE vch_rc vch_promise_judge(const vch_promise_t *, const vch_trust_t *, vch_slice_t evidence,
                                      vch_promise_finding_t *ret);

#endif
