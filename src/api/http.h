/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 with or without TLS 1.3: a server that hands whole requests to a
 * service, and a client that waits for whole answers.  Neither knows what the
 * bytes mean, so a service also runs without any socket: tests, fuzzers and
 * simulated clusters call it directly.
 *
 * Server: one thread per server turns the wheel (libevent), `workers` threads
 * call the service, one more takes batches.  Requests that would wait behind
 * `queue` others are answered 429 at once. */
#ifndef VCH_HTTP_H
#define VCH_HTTP_H

#include "base/base.h"
#include "node/transport.h"
#include "port/port.h"

#define HTTP_PATH_MAX 2048
#define HTTP_HEADERS_MAX 8192 /* bytes of all header lines of a request */
#define HTTP_HEADER_MAX 4096  /* of the Authorization header */

typedef enum { HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4, HTTP_OTHER = 8 } http_method_t;

/* Everything borrowed until the service has answered. */
typedef struct {
    http_method_t method;
    vch_slice_t path;  /* begins with '/', undecoded, without the query */
    vch_slice_t query; /* undecoded, without '?' */
    vch_slice_t authorization, content_type;
    vch_slice_t body;
    bool local;             /* came over a unix socket or the loopback, for this machine and no proxy's client */
    bool has_peer;          /* the TLS handshake proved possession of … */
    vch_keyid_t peer;       /* … the key with this id */
    uint64_t received_boot; /* boot clock, ms */
} http_request_t;

typedef struct {
    int status;
    const char *type;       /* static text; NULL: no body */
    const char *cache;      /* Cache-Control, static text; NULL: no-store */
    unsigned retry_after_s; /* 0: no such header */
    bool gzip;              /* the body is gzip already */
    const char *allow;      /* of a 405: "GET, HEAD", static text; NULL: no such header */
    vch_buf_t body;
} http_response_t;

/* Called from several threads at once.  The response comes with an empty body
 * of the server's maximum; a service always fills in a status. */
typedef struct {
    void *ctx;
    void (*handle)(void *ctx, const http_request_t *, http_response_t *);
    /* Requests for which `joins` is true are gathered while the previous batch
     * runs and handed over together, from one thread.  Both may be NULL. */
    bool (*joins)(void *ctx, const http_request_t *);
    void (*batch)(void *ctx, const http_request_t *const *, http_response_t *const *, size_t n);
    /* After each answer; for metrics and the log.  May be NULL. */
    void (*done)(void *ctx, const http_request_t *, int status, size_t bytes, uint64_t micros);
} http_service_t;

typedef struct {
    const char *listen;             /* "127.0.0.1:7117", "[::1]:7117", "unix:/path"; several with commas */
    const char *tls_cert, *tls_key; /* PEM files; NULL or "": no TLS */
    bool public_plain;              /* allow plain HTTP beyond the loopback (behind a proxy that speaks TLS) */
    size_t max_body;                /* bytes; 0: 1 MiB */
    size_t max_answer;              /* bytes of one answer; 0: 64 MiB */
    unsigned connections;           /* 0: 1,024; one more takes the place of who has waited longest */
    uint64_t timeout_ms;            /* 0: 10,000; from a request's first byte to its last, and for idling */
    unsigned queue;                 /* 0: 4,096 */
    unsigned workers;               /* 0: 2 */
    const int *fds;                 /* listening sockets handed over (socket activation); then `listen` is unused */
    size_t fds_n;
} http_options_t;

typedef struct http_server http_server_t;
typedef struct {
    unsigned connections, waiting; /* now */
    uint64_t accepted, refused, requests, pushed_back, timed_out, malformed;
    uint64_t beat_boot; /* boot clock, ms: when the wheel last turned, at least every second */
} http_stats_t;

/* Binds and starts; ERR_USAGE for plain HTTP beyond the loopback. */
VCH_MUST_USE vch_rc http_server_start(http_server_t **ret, const http_options_t *, const http_service_t *, vch_err_t *);
/* "127.0.0.1:43125": where it really listens (port 0 asks for any). */
const char *http_server_address(const http_server_t *);
void http_server_stats(const http_server_t *, http_stats_t *ret);
/* From now on the limits max_body, connections, queue and timeout_ms of these
 * options hold; the rest of them is not looked at. */
void http_server_limits(http_server_t *, const http_options_t *);
/* Certificate and key are read again for new connections. */
VCH_MUST_USE vch_rc http_server_reload(http_server_t *, vch_err_t *);
/* No new connections; requests under way are answered, at most wait_ms; then
 * everything is freed. */
void http_server_stop(http_server_t *, uint64_t wait_ms);

/* ---- the client: a transport over sockets (node/transport.h) ---- */
typedef struct {
    const char *ca_file;            /* PEM; NULL: the system's */
    const char *tls_cert, *tls_key; /* prove a party's key to the node; NULL: don't */
    const vch_keyid_t *pin; /* the server's TLS key must have this id, whoever signed for it; NULL: ca_file counts */
    size_t max_answer;      /* 0: 64 MiB */
} http_client_options_t;
VCH_MUST_USE vch_rc http_client_new(vch_transport_t **ret, const http_client_options_t *, vch_err_t *);

#endif
