/* SPDX-License-Identifier: Apache-2.0 */
/* Witnesses (C2SP tlog-witness v1.0.0, tlog-cosignature v1.0.1).
 *
 * A witness remembers, for each log, the largest checkpoint that it cosigned,
 * and cosigns a later one only if it extends that.  It knows nothing of our
 * entries and serves any C2SP log.  Its directory:
 *
 *   witness.pem    its Ed25519 key (mode 0600)
 *   witness.conf   name = …, listen = …
 *   logs.policy    "log <vkey> [url]" lines of a tlog-policy: whom it serves
 *   cosigned       append-only: what it cosigned, synced before it answers
 *   lock           held while it serves
 *
 * Threads: add, latest and list may be called from several threads. */
#ifndef VCH_WITNESS_H
#define VCH_WITNESS_H

#include "node/node.h"
#include "node/transport.h"

typedef struct vch_witness vch_witness_t;

/* log: verifier keys of the logs to serve; more lines may be put into
 * logs.policy later.  ERR_CONFLICT when the directory holds a witness. */
VCH_MUST_USE vch_rc vch_witness_init_on(vch_port_t *, const char *dir, const char *name, const char *const *log,
                                        size_t logs, vch_err_t *);
/* read_only: what it cosigned can be looked at while another process serves.
 * Otherwise ERR_LOCKED when one does. */
VCH_MUST_USE vch_rc vch_witness_open_on(vch_witness_t **ret, vch_port_t *, const char *dir, bool read_only,
                                        vch_err_t *);
void vch_witness_close(vch_witness_t *);
/* Its verifier key, "name+hash+base64", NUL-terminated, borrowed. */
const char *vch_witness_vkey(const vch_witness_t *);
const char *vch_witness_listen(const vch_witness_t *); /* of witness.conf */
/* What opening found, for people; may be empty. */
const char *vch_witness_note(const vch_witness_t *);
/* The request body of POST add-checkpoint; *ret_status is the HTTP status of
 * the specification's table, ret the answer's body (409: the size, type
 * text/x.tlog.size).  A result other than VCH_OK means that nothing may be
 * answered but 500: what is on the disk is unknown, or the disk is full. */
VCH_MUST_USE vch_rc vch_witness_add(vch_witness_t *, vch_slice_t body, int *ret_status, vch_buf_t *ret, vch_err_t *);
/* The latest cosigned checkpoint of the log whose origin has this SHA-256. */
VCH_MUST_USE vch_rc vch_witness_latest(vch_witness_t *, const vch_hash_t *origin, vch_buf_t *ret, vch_err_t *);

typedef struct {
    const char *origin;
    vch_hash_t id; /* SHA-256 of the origin */
    bool served;   /* in logs.policy; otherwise only remembered */
    bool any;      /* something was cosigned: */
    uint64_t size, seconds;
} vch_witnessed_t;
typedef void (*vch_witnessed_fn)(void *ctx, const vch_witnessed_t *);
void vch_witness_list(vch_witness_t *, vch_witnessed_fn, void *ctx);

/* ---- the log's side: gather cosignatures by trust.policy (gather.c) ---- */

typedef struct {
    uint64_t size; /* of the checkpoint that was sent around */
    unsigned asked, cosigned;
    bool quorum;        /* what trust.policy wants is met (also when it wants none) */
    uint64_t committed; /* largest size under a quorum, ever */
    char note[240];     /* what went wrong with whom, for people; may be empty */
} vch_gather_t;

/* Signs a checkpoint if needed, asks every witness of trust.policy that has a
 * URL, in parallel, keeps the cosigned note in log/cosigned (synced) and then in
 * tlog/checkpoint.  Missing cosignatures are no error: see ret->quorum.  Not
 * while the caller holds the ledger's mutex; the network is asked without it. */
VCH_MUST_USE vch_rc vch_ledger_gather(vch_ledger_t *, vch_transport_t *, uint64_t timeout_ms, vch_gather_t *ret,
                                      vch_err_t *);
/* Entries below this are committed: under a checkpoint that met the quorum. */
VCH_MUST_USE vch_rc vch_ledger_committed(vch_ledger_t *, uint64_t *ret_size, vch_err_t *);

#endif
