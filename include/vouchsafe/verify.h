/* SPDX-License-Identifier: Apache-2.0 */
/* The offline verifier: one file of evidence, one file that says whom to
 * believe, one answer.  No network, no clock, no heap but the arena given. */
#ifndef VOUCHSAFE_VERIFY_H
#define VOUCHSAFE_VERIFY_H

#include "vouchsafe/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { VCH_VERIFY_OK = 0, VCH_VERIFY_INCONCLUSIVE = 1, VCH_VERIFY_FAIL = 2 } vch_verify_status_t;

/* Stable codes.  F-… = FAIL: something is false.  I-… = INCONCLUSIVE: nothing
 * is false, but what is here doesn't prove the claim to this policy. */
#define VCH_VERIFY_CODE_LIST(X)                                                                                        \
    X(OK, "OK", OK, "every link holds")                                                                                \
    X(F_FORMAT, "F-FORMAT", FAIL, "the bundle is not well-formed")                                                     \
    X(F_NETWORK, "F-NETWORK", FAIL, "an item belongs to another network")                                              \
    X(F_CHECKPOINT, "F-CHECKPOINT", FAIL, "a signature under a checkpoint is forged")                                  \
    X(F_CONSISTENCY, "F-CONSISTENCY", FAIL, "two checkpoints contradict each other")                                   \
    X(F_INCLUSION, "F-INCLUSION", FAIL, "an entry is not in the log where the bundle says")                            \
    X(F_SIGNATURE, "F-SIGNATURE", FAIL, "an entry's or an owner's signature does not verify")                          \
    X(F_STATEMENT, "F-STATEMENT", FAIL, "a statement does not belong to its entry")                                    \
    X(F_STATE, "F-STATE", FAIL, "a state proof does not lead to the root")                                             \
    X(F_TIME, "F-TIME", FAIL, "the times of the blocks run backwards or contradict an expiry")                         \
    X(F_REFERENCE, "F-REFERENCE", FAIL, "an item refers to another one wrongly")                                       \
    X(F_DECISION, "F-DECISION", FAIL, "the access decision does not come out again from what it rests on")             \
    X(F_SUBSET, "F-SUBSET", FAIL, "a run used rows that no grant permitted")                                           \
    X(F_COMMITMENT, "F-COMMITMENT", FAIL, "disclosed data does not match its commitment")                              \
    X(F_CLAIM, "F-CLAIM", FAIL, "the evidence shows the opposite of the claim")                                        \
    X(F_RECEIPT, "F-RECEIPT", FAIL, "the receipt is not the log's word")                                               \
    X(F_PROMISE, "F-PROMISE", FAIL, "the log broke the promise that it signed")                                        \
    X(I_LOG, "I-LOG", INCONCLUSIVE, "no log that the trust policy names signed the checkpoints")                       \
    X(I_QUORUM, "I-QUORUM", INCONCLUSIVE, "the trust policy's quorum of witnesses is not met")                         \
    X(I_TIME, "I-TIME", INCONCLUSIVE, "no witness brackets a time within five minutes")                                \
    X(I_STALE, "I-STALE", INCONCLUSIVE, "the newest checkpoint is older than the time asked for")                      \
    X(I_MISSING, "I-MISSING", INCONCLUSIVE, "a piece of evidence that the claim needs is not in the bundle")           \
    X(I_VERSION, "I-VERSION", INCONCLUSIVE, "made by a newer version of the format")                                   \
    X(I_MEMORY, "I-MEMORY", INCONCLUSIVE, "the arena is too small for this bundle")                                    \
    X(I_ERASURE, "I-ERASURE", INCONCLUSIVE, "fewer trustees than it takes said that they destroyed the keys")

typedef enum {
#define VCH_VERIFY_ENUM(name, code, status, text) VCH_V_##name,
    VCH_VERIFY_CODE_LIST(VCH_VERIFY_ENUM)
#undef VCH_VERIFY_ENUM
        VCH_V_COUNT
} vch_verify_code_t;

VCH_API const char *vch_verify_code(vch_verify_code_t); /* "F-STATE" */
VCH_API const char *vch_verify_text(vch_verify_code_t); /* the plain sentence */
VCH_API vch_verify_status_t vch_verify_status(vch_verify_code_t);
VCH_API int vch_verify_exit(vch_verify_status_t); /* 0, 4, 3 */

/* One verified link, for people: "model -> run", "in the log at 17 under size 40". */
typedef void (*vch_verify_link_fn)(void *ctx, const char *link, vch_verify_code_t);

typedef struct {
    vch_verify_status_t status;
    vch_verify_code_t code;
    int recomputed;       /* 1: the decisions came out again here; 0: attested by the log and its quorum */
    int witnessed;        /* 1: a quorum of witnesses; 0: the policy names none ("operator's clock") */
    uint64_t newest_size; /* of the newest checkpoint */
    uint64_t time_ms;     /* block time of what is claimed */
    uint64_t witness_s;   /* POSIX seconds by which the quorum stood; 0 if none */
    uint64_t links;       /* checked */
    char claim[200];      /* what is claimed, one sentence */
    char detail[300];     /* on FAIL and INCONCLUSIVE: which item and why */
} vch_report_t;

typedef struct {
    uint64_t as_of_ms; /* 0: no demand on freshness */
    vch_verify_link_fn link;
    void *ctx;
} vch_verify_options_t;

/* A bundle is never larger than this; a good arena is this and 16 MiB. */
#define VCH_BUNDLE_BYTES_MAX (64u * 1024u * 1024u)

/* Judge `bundle` by the tlog-policy text `trust`.  Always fills *ret; the
 * result is VCH_OK whenever a verdict was reached (also FAIL), ERR_FORMAT for
 * an unreadable trust policy (err names the line).  Any thread. */
VCH_API VCH_MUST_USE vch_rc vch_bundle_verify(vch_report_t *ret, const uint8_t *bundle, size_t bundle_n,
                                              const char *trust, size_t trust_n, const vch_verify_options_t *options,
                                              void *arena, size_t arena_n, vch_err_t *err);

/* Does the file begin like a submission receipt? */
VCH_API int vch_receipt_is(const uint8_t *file, size_t n);
/* Judge a receipt against what is shown of the log: a tlog-proof of its entry
 * with the leaf in `extra`, or a signed checkpoint (evidence_n 0: nothing).
 * OK: the promise was kept.  FAIL: the receipt is not the log's word
 * (F-RECEIPT, F-FORMAT), or the log broke it (F-PROMISE).  time_ms is the
 * promised time.  The result is as above; no arena is needed. */
VCH_API VCH_MUST_USE vch_rc vch_receipt_verify(vch_report_t *ret, const uint8_t *receipt, size_t receipt_n,
                                               const char *trust, size_t trust_n, const uint8_t *evidence,
                                               size_t evidence_n, vch_err_t *err);

#ifdef __cplusplus
}
#endif
#endif
