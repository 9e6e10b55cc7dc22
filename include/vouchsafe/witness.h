/* SPDX-License-Identifier: Apache-2.0 */
/* A witness for logs of others (C2SP tlog-witness): it cosigns a checkpoint only
 * if that extends the one which it cosigned last, for each log.  And the log's
 * side: asking witnesses. */
#ifndef VOUCHSAFE_WITNESS_H
#define VOUCHSAFE_WITNESS_H

#include "vouchsafe/serve.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the directory with a new Ed25519 key.  `name` is the key's name in
 * cosignatures, e.g. "witness-a.example"; log_vkey: verifier keys of the logs to
 * serve, to which lines in logs.policy may be added later. */
VCH_API VCH_MUST_USE vch_rc vch_witness_init(const char *dir, const char *name, const char *const *log_vkey,
                                             size_t logs, vch_err_t *);

/* {"name","verifier key","policy line","listen","list":[{"log","id","served",
 * "cosigned","size","time"}]}; also while another process serves. */
VCH_API VCH_MUST_USE vch_rc vch_witness_show(const char *dir, vch_text_t *ret_json, vch_err_t *);

/* Serves POST /add-checkpoint, GET /<SHA-256 of an origin in hex>/checkpoint,
 * GET /v1/health/live, /v1/health/ready and /metrics until SIGTERM or SIGINT;
 * as vch_serve otherwise (`flags` is not looked at).  Plain HTTP beyond the
 * loopback needs public_plain: put a proxy that speaks TLS before it. */
VCH_API VCH_MUST_USE vch_rc vch_witness_serve(const char *dir, const vch_serve_t *, vch_err_t *);

typedef struct {
    uint64_t size; /* of the checkpoint that was sent around */
    unsigned asked, cosigned;
    int quorum;         /* 1: what the witness policy wants is met, also when it wants nothing */
    uint64_t committed; /* entries under a checkpoint that met the quorum, ever */
    char note[240];     /* what went wrong with whom, for people; may be empty */
} vch_cosigned_t;

/* Signs a checkpoint if needed and has the witnesses of [witness] policy that
 * have a URL cosign it, all at once; timeout_ms 0: as vouch.conf says.  A
 * witness that doesn't answer, or not rightly, is no error: see ret->quorum.
 * `vouch serve` does this by itself. */
VCH_API VCH_MUST_USE vch_rc vch_ledger_cosign(vch_ledger_t *, uint64_t timeout_ms, vch_cosigned_t *ret, vch_err_t *);

#ifdef __cplusplus
}
#endif
#endif
