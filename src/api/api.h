/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger as an HTTP service: routes, who may ask what, answers.
 *
 * One table (routes.c) names every route; the dispatcher, the OpenAPI document,
 * docs/api.md and the routes × roles table are made from it.  The service
 * decides nothing about the ledger: writes are signed transactions that prove
 * themselves, reads are the library's own answers.
 *
 * No socket in here: see http.h for the server that calls it. */
#ifndef VCH_API_H
#define VCH_API_H

#include "api/http.h"
#include "node/node.h"

/* Who may ask (docs/api.md).  Each class includes the ones after it. */
typedef enum {
    API_OPEN,     /* everybody */
    API_READ,     /* log, tiles, proofs, state: as [ledger] read says (loopback, parties, public) */
    API_PARTY,    /* any registered party, or a token */
    API_ENTITLED, /* custodian of the dataset, holder of a live grant on it, the subject's own key, an auditor, a
                     trustee */
    API_AUDITOR,  /* an auditor, a trustee, and the operator */
    API_OPERATOR, /* over the loopback with the operator's key, or a token with that scope */
} api_who_t;

typedef struct api api_t;
typedef struct api_call api_call_t; /* one question being answered (api_int.h) */
typedef struct {
    const char *name; /* "index" */
    const char *help;
    bool number, required;
    bool rest; /* of a path: also what follows behind slashes */
} api_param_t;

typedef struct {
    http_method_t method;
    const char *path; /* "/v1/entry/{index}" */
    api_who_t who;
    const char *summary;      /* one line, no full stop */
    const char *answer;       /* media type */
    const char *gives;        /* JSON: its members, in [] when it is a list of such; else what it is */
    const api_param_t *param; /* of path and query; ends with name NULL; may be NULL */
    const char *body;         /* media type of a POST's body; NULL: none */
    const char *takes;        /* what is in it */
    vch_rc (*run)(api_call_t *);
} api_route_t;
extern const api_route_t api_routes[]; /* ends with path NULL */
/* The route that a request is for, or NULL: what a log may name, for paths and
 * queries may name persons. */
const api_route_t *api_route_of(const http_request_t *);

typedef struct {
    uint64_t receipt_promise_ms; /* how soon a submission is under a signed checkpoint */
    const char *version;
} api_options_t;

/* The ledger stays the caller's, open for writing; NULL in `err` is fine. */
VCH_MUST_USE vch_rc api_new(api_t **ret, vch_ledger_t *, const api_options_t *, vch_err_t *);
void api_free(api_t *);
http_service_t api_service(api_t *);
/* While false, /v1/health/ready answers 503 with `why`. */
void api_set_ready(api_t *, bool ready, const char *why);
/* What the last round to the witnesses brought, for /metrics.  Without a quorum
 * for ten minutes /v1/health/ready answers 503; submissions are taken on. */
void api_set_witnesses(api_t *, unsigned asked, unsigned cosigned, bool quorum);
void api_set_http(api_t *, const http_server_t *); /* whose counters /metrics shows */
/* Tokens and settings are read again. */
VCH_MUST_USE vch_rc api_reload(api_t *, vch_err_t *);

VCH_MUST_USE vch_rc api_openapi(vch_buf_t *ret);  /* JSON */
VCH_MUST_USE vch_rc api_markdown(vch_buf_t *ret); /* docs/api.md */

/* ---- who asks (auth.c) ------------------------------------------------------ */

/* "Vouch <base64 of a COSE_Sign1>", the value of an Authorization header.  It
 * signs the deterministic CBOR array [method text, path with query, SHA-256 of
 * the body, time ms, 16-byte nonce, multicodec key]; good for 60 s, each nonce
 * once. */
VCH_MUST_USE vch_rc api_authorization_put(vch_buf_t *ret, const vch_signer_t *, const char *method, const char *path,
                                          vch_slice_t body, uint64_t now_ms, const uint8_t nonce[16], vch_err_t *);

#endif
