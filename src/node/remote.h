/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger on another machine, as a handle like any other.
 *
 * A remote handle (vch_ledger's `remote` is set) has neither log nor state: the
 * public functions ask the node, and believe only what follows from a
 * checkpoint signed by the log:
 *
 *   checkpoint ─ signed by a log of the trust policy, or by the key pinned at
 *   │            the first use; extends the one seen last (remote_memory.c)
 *   ├─ inclusion, consistency: verified
 *   └─ leaf state-commit ─ state root ─ value: verified (remote_read.c)
 *
 * Lists, names and traces are the node's word, as they are for everybody who
 * doesn't replay the log.  What is signed is made and signed here.
 *
 * Inside the library: vch_ledger_read_begin and all that needs log or state
 * answer ERR_UNSUPPORTED on a remote handle.  Code that only resolves names and
 * reads single values uses vch_look_begin … _end and vch_value instead, which
 * work on both. */
#ifndef VCH_REMOTE_H
#define VCH_REMOTE_H

#include "node/node.h"
#include "node/transport.h"

/* The value of an Authorization header for one question (api/api.h). */
typedef vch_rc (*vch_authorize_fn)(vch_buf_t *ret, const vch_signer_t *, const char *method, const char *path,
                                   vch_slice_t body, uint64_t now_ms, const uint8_t nonce[16], vch_err_t *);

typedef struct {
    vch_transport_t *transport; /* the handle's from now on, also when opening fails */
    vch_authorize_fn authorize; /* NULL: questions are never signed */
    const char *note;           /* for info.note; NULL: nothing */
} vch_remote_way_t;

/* `url` is the node's without a slash at its end: "https://node.example:7117",
 * "unix:/path".  Nothing is asked yet. */
VCH_MUST_USE vch_rc vch_remote_open(vch_ledger_t **ret, vch_port_t *, const char *url, const vch_connect_t *,
                                    const vch_remote_way_t *, vch_err_t *);

/* One GET of a path ("/tile/0/000"), appended to ret; retried where that helps. */
VCH_MUST_USE vch_rc vch_remote_get(vch_ledger_t *, const char *path, vch_buf_t *ret, vch_err_t *);
/* The newest checkpoint, fetched and verified: size, root, and the note appended
 * to ret_note (each may be NULL). */
VCH_MUST_USE vch_rc vch_remote_head(vch_ledger_t *, uint64_t *ret_size, vch_hash_t *ret_root, vch_buf_t *ret_note,
                                    vch_err_t *);
/* The bytes of a leaf, proven under a checkpoint as above, appended to ret. */
VCH_MUST_USE vch_rc vch_remote_leaf(vch_ledger_t *, uint64_t index, vch_buf_t *ret, vch_err_t *);

#endif
