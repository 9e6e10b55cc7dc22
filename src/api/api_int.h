/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the service: one question on its way to its answer. */
#ifndef VCH_API_INT_H
#define VCH_API_INT_H

#include <stdatomic.h>

#include "api/api.h"
#include "node/service.h"

#define API_PARAMS_MAX 4
#define API_ROUTES_MAX 64
#define API_NONCE_LEN 16

/* ---- who asks ------------------------------------------------------------------ */

typedef enum {
    API_NOBODY,
    API_KEY, /* proved a key that belongs to no party: perhaps a subject's */
    API_MEMBER /* a registered party's key, not revoked */,
    API_TOKEN
} api_kind_t;

typedef struct {
    api_kind_t kind;
    bool local;
    bool is_operator;  /* the key of the party that runs this ledger */
    bool reads_all;    /* an auditor, or a trustee, who replays all of it anyway */
    vch_scope_t scope; /* of a token */
    vch_keyid_t key;   /* of KEY and MEMBER */
    vch_id_t party;    /* of MEMBER */
    bool fresh;        /* the nonce below is still to be used up */
    uint8_t nonce[API_NONCE_LEN];
    uint64_t time_ms;
} api_asker_t;

/* ---- what was refused, for the metrics ------------------------------------------- */

typedef enum {
    API_REFUSED_MISSING,
    API_REFUSED_MALFORMED,
    API_REFUSED_SIGNATURE,
    API_REFUSED_OTHER, /* signed for another request */
    API_REFUSED_EXPIRED,
    API_REFUSED_REPLAYED,
    API_REFUSED_REVOKED,
    API_REFUSED_TOKEN,
    API_REFUSED_FORBIDDEN,
    API_REFUSED_COUNT
} api_refused_t;

/* ---- signed requests (authorization.c) ---------------------------------------------- */

/* A signed request is good for this long, and may be this much ahead of the
 * node's clock. */
#define API_SIGNED_MS 60000u
#define API_AHEAD_MS 10000u

typedef struct {
    vch_slice_t method, path; /* the path with its query */
    vch_hash_t body;
    uint64_t time_ms;
    uint8_t nonce[API_NONCE_LEN];
    vch_pubkey_t key;
} api_authorization_t;

/* What stands in it, signature checked; ERR_FORMAT, ERR_KEY, ERR_SIGNATURE.
 * Whether it is about this request, in time and new is for the caller to see.
 * method and path are borrowed from `scratch`, which gets the decoded bytes. */
VCH_MUST_USE vch_rc api_authorization_get(api_authorization_t *ret, vch_slice_t header, vch_buf_t *scratch);

/* ---- nonces ------------------------------------------------------------------------ */

/* Two generations, each of at least as long as a nonce must be remembered. */
typedef struct {
    uint64_t *slot; /* keyed hash of key and nonce; 0: free */
    size_t cap, used;
    uint64_t newest_ms; /* the latest time that was signed into one of them */
} api_generation_t;

typedef struct {
    pthread_mutex_t mutex;
    uint8_t secret[32];
    api_generation_t now, before;
    uint64_t began_boot;   /* of `now` */
    uint64_t forgotten_ms; /* whatever was signed up to here is refused */
    size_t max;            /* of one generation; beyond it requests are pushed back */
} api_nonces_t;

/* ---- the service ----------------------------------------------------------------------- */

#define API_STATUSES 16 /* api_status_list, and one for all others */
#define API_BUCKETS 14

typedef struct {
    atomic_uint_fast64_t bucket[API_BUCKETS + 1], count, sum_micros;
} api_histogram_t;

typedef struct {
    atomic_uint_fast64_t asked[API_ROUTES_MAX + 1][API_STATUSES]; /* the last one: no route */
    atomic_uint_fast64_t refused[API_REFUSED_COUNT];
    atomic_uint_fast64_t submitted[VCH_RC_COUNT];
    api_histogram_t answer, batch;
} api_counters_t;

struct api {
    vch_ledger_t *l;
    api_options_t options;
    char version[64];
    vch_id_t operator_party;
    atomic_int read;       /* vch_read_t */
    pthread_mutex_t mutex; /* of what follows */
    bool ready;
    char why[200];
    unsigned witnesses, cosigned; /* asked, and answered, the last time */
    bool gathered, quorum;
    uint64_t quorum_boot; /* when there last was one, or was asked for the first time */
    _Atomic(const http_server_t *) http;
    api_nonces_t nonces;
    pthread_mutex_t strangers, heavy; /* held while one such question is answered; others are pushed back */
    api_counters_t counters;
};

struct api_call {
    api_t *api;
    vch_ledger_t *l;
    const http_request_t *req;
    http_response_t *res;
    const api_route_t *route;
    api_asker_t who;
    vch_time_t now;                    /* the wall clock, but never before the newest block */
    int status;                        /* instead of what the result maps to; 0: none */
    const char *value[API_PARAMS_MAX]; /* decoded, in the order of route->param; NULL: not given */
    uint64_t number[API_PARAMS_MAX];
    char text[2 * HTTP_PATH_MAX];
    vch_err_t err;
};

/* ---- routes.c ---- */
/* The status of a result: the one table. */
int api_status(vch_rc);
extern const int api_status_list[API_STATUSES]; /* ends with 0 */
size_t api_route_number(const api_route_t *);   /* NULL: one more than the last */
const char *api_method_name(http_method_t);
/* An answer of this kind; the body is filled in by the caller. */
void api_answer(api_call_t *, int status, const char *type, const char *cache);
/* ERR_…, text and hint as JSON, with the status that fits. */
void api_refuse(http_response_t *, int status, vch_rc, const char *text, const char *hint);
/* The request is for a route and has what that needs; if not, `res` says so. */
bool api_understood(api_t *, const http_request_t *, http_response_t *res);
/* The parameter of this name, or NULL when it was not given. */
const char *api_get(const api_call_t *, const char *name);
uint64_t api_number(const api_call_t *, const char *name); /* 0 when it was not given */

/* ---- auth.c ---- */
VCH_MUST_USE vch_rc api_nonces_init(api_t *, vch_err_t *);
void api_nonces_free(api_t *);
/* Fills who; then whether the route's class lets them in. */
VCH_MUST_USE vch_rc api_identify(api_call_t *);
VCH_MUST_USE vch_rc api_admit(api_call_t *, api_who_t);
/* May they know what is about this? */
VCH_MUST_USE vch_rc api_may_know(api_call_t *, const vch_about_t *);
/* As auditor, operator, or by a token for statements. */
bool api_knows_all(const api_asker_t *);
VCH_MUST_USE vch_rc api_forbid(api_call_t *, const char *hint);
/* What they asked about is not there: parties are told, others are not. */
VCH_MUST_USE vch_rc api_not_there(api_call_t *, vch_rc);
VCH_MUST_USE vch_rc api_push_back(api_call_t *, unsigned seconds, const char *text);

/* ---- answer*.c ---- */
/* Is this node taking submissions?  err says why not, and names no path. */
VCH_MUST_USE vch_rc api_check_ready(api_t *, vch_err_t *);
/* The body parsed as one JSON object. */
VCH_MUST_USE vch_rc api_with_json(api_call_t *, vch_rc (*)(api_call_t *, const vch_json_t *));
#define API_ANSWER(name) VCH_MUST_USE vch_rc name(api_call_t *)
API_ANSWER(api_get_info);
API_ANSWER(api_get_live);
API_ANSWER(api_get_ready);
API_ANSWER(api_get_metrics);
API_ANSWER(api_get_openapi);
API_ANSWER(api_get_checkpoint);
API_ANSWER(api_get_tile);
API_ANSWER(api_get_sequence);
API_ANSWER(api_get_entry);
API_ANSWER(api_get_statements);
API_ANSWER(api_get_find);
API_ANSWER(api_get_consents);
API_ANSWER(api_get_list);
API_ANSWER(api_get_state);
API_ANSWER(api_get_inclusion);
API_ANSWER(api_get_consistency);
API_ANSWER(api_get_trace);
API_ANSWER(api_get_affected);
API_ANSWER(api_get_subject);
API_ANSWER(api_get_records);
API_ANSWER(api_get_vault);
API_ANSWER(api_get_grant_rows);
API_ANSWER(api_post_submit);
API_ANSWER(api_post_prepare);
API_ANSWER(api_post_bundle);
#undef API_ANSWER
bool api_joins(void *ctx, const http_request_t *);
void api_batch(void *ctx, const http_request_t *const *, http_response_t *const *, size_t n);

/* ---- metrics.c ---- */
void api_count(api_t *, const api_route_t *, int status, uint64_t micros);
void api_count_refused(api_t *, api_refused_t);
void api_count_batch(api_t *, uint64_t micros);

#endif
