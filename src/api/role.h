/* SPDX-License-Identifier: Apache-2.0 */
/* A role of the vault as a server: a trustee, a storage node.
 *
 *   POST /<its key id in hex>/<verb>    CBOR in, CBOR out (docs/formats/vault-http.md)
 *   GET  /health, /metrics
 *
 * Errors are JSON as everywhere (docs/api.md).  TLS with the role's own key, in
 * a certificate that it signed itself; unix sockets without. */
#ifndef VCH_ROLE_H
#define VCH_ROLE_H

#include <stdatomic.h>

#include "api/daemon.h"
#include "crypto/keys.h"

#define ROLE_VERBS_MAX 16

typedef struct role role_t;

/* One question. */
typedef struct {
    role_t *role;
    const http_request_t *req;
    http_response_t *res;
    bool is_signed;    /* the question, within the last minute, by … */
    vch_keyid_t asker; /* … the key with this id */
    vch_err_t err;
} role_call_t;

typedef struct {
    const char *verb;
    bool is_signed; /* refused without a signature, before anything is done */
    vch_rc (*run)(role_call_t *);
} role_verb_t;

struct role {
    const char *dir;
    char listen[512];
    bool public_plain;
    size_t max_body;
    vch_keyid_t id;
    vch_pubkey_t key;
    const role_verb_t *verb; /* ends with verb NULL; at most ROLE_VERBS_MAX */
    void *ctx;
    vch_rc (*prepare)(role_t *, vch_err_t *); /* before files and calls are given up; NULL: nothing to do */
    bool needs_files;                         /* other folders than its own: set by prepare */
    vch_rc (*start)(role_t *, vch_err_t *);   /* before the first question; may begin threads */
    void (*stop)(role_t *);                   /* after the last one; also when start failed */

    daemon_t d;
    http_server_t *http;
    atomic_ullong answered[ROLE_VERBS_MAX], refused[ROLE_VERBS_MAX];
};

/* A directory for a role: key.pem, cert.pem, and <name>.conf with this text,
 * last.  ERR_CONFLICT when there is one already. */
VCH_MUST_USE vch_rc role_init(const char *dir, const char *name, vch_slice_t conf, vch_err_t *);
/* Reads the key, serves until SIGTERM or SIGINT. */
VCH_MUST_USE vch_rc role_serve(role_t *, const vch_serve_t *, vch_err_t *);
http_service_t role_service(role_t *); /* without any socket, for tests */
/* {"key id","key","url"} of the directory. */
VCH_MUST_USE vch_rc role_show(const char *dir, const char *listen, vch_buf_t *ret, vch_err_t *);

#endif
