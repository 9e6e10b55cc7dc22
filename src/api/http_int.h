/* SPDX-License-Identifier: Apache-2.0 */
/* What the server's files share.
 *
 *   http_head.c    the parser, pure
 *   http_tls.c     TLS 1.3
 *   http_conn.c    one connection: bytes in, request out, answer in, bytes out
 *   http_server.c  all connections: listening, deadlines, memory, the wheel
 *   http_work.c    threads that call the service
 *
 * Only the wheel's thread touches connections.  A request travels as a job:
 * wheel → queue → worker → done list → wheel; whoever has it owns it.
 *
 * Deadlines.  All connections of a list have the same patience, so a list is
 * in order of its deadlines and only its head need be looked at.  A request's
 * deadline runs from its first byte to its last, whatever trickles in between. */
#ifndef VCH_HTTP_INT_H
#define VCH_HTTP_INT_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "api/http.h"
#include "api/http_head.h"
#include "port/socket.h"

#define HS_LISTEN_MAX 8
#define HS_BACKLOG 1024
#define HS_READ_BYTES (16u << 10)  /* one read */
#define HS_TURN_BYTES (256u << 10) /* of one connection, then others get their turn */
#define HS_ACCEPT_TURN 64          /* new connections, likewise */
#define HS_JOIN_BYTES (16u << 10)  /* an answer up to this size goes out together with its head */
#define HS_HELD_MAX (128u << 20)   /* bytes of requests and answers held for all connections together */
#define HS_RELIEF_MS 1000          /* whoever holds bytes for less is not the one who must go */
#define HS_RATE_BYTES_PER_S 16384u /* an answer is to be taken at least as fast */
#define HS_LINGER_MS 1000          /* after refusing, until the other side has read why */
#define HS_DESCRIPTORS_SPARE 64    /* for the ledger's files and everything else */

typedef struct hs_conn hs_conn_t;

/* ---- jobs (http_work.c) ---- */

typedef struct hs_job hs_job_t;
struct hs_job {
    hs_job_t *next;
    hs_conn_t *conn; /* NULL: it is gone, nobody waits; the wheel's */
    http_request_t request;
    http_response_t response;
    uint8_t *head; /* what request's slices point into */
    vch_buf_t body;
    uint64_t began_us; /* when the whole request was here */
};

typedef struct {
    hs_job_t *first, *last;
    size_t n;
} hs_jobs_t;

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t single_came, joined_came;
    hs_jobs_t single, joined, done; /* waiting for a worker; for the batch; for the wheel */
    size_t busy;                    /* taken, not done */
    bool quit;
    pthread_t *worker;
    size_t workers;
    pthread_t batcher;
    bool batching;
    struct http_server *server;
} hs_work_t;

/* ---- connections (http_conn.c) ---- */

typedef enum {
    HS_HANDSHAKE, /* TLS */
    HS_IDLE,      /* between requests */
    HS_HEAD,      /* a request has begun */
    HS_BODY,
    HS_WORK, /* the service has it */
    HS_WRITE,
    HS_LINGER, /* answered and ended; what still comes is thrown away */
} hs_state_t;

typedef enum {
    HS_FRESH,   /* never had a good request yet */
    HS_PROVEN,  /* had one */
    HS_WRITERS, /* taking an answer */
    HS_LEAVING, /* lingering */
    HS_AWAY,    /* in work: no deadline */
    HS_LISTS
} hs_place_t;

struct hs_conn {
    hs_conn_t *prev, *next;
    struct http_server *server;
    hs_place_t place;
    hs_state_t state;
    uint64_t deadline, since; /* boot clock; of being in this place */
    int fd;
    SSL *ssl;
    struct event event;
    short want;           /* what `event` waits for */
    bool local, any_host; /* from this machine; through a file, which no web page can reach */
    bool has_peer, proven, keep;
    bool turned; /* TLS: reading needs the socket writable, or the other way round */
    vch_keyid_t peer;
    vch_buf_t in; /* read and not used yet */
    size_t seen;  /* of `in`, by http_head_end */
    http_head_t head;
    uint8_t *head_bytes; /* NULL or what head's slices point into */
    http_chunks_t chunks;
    vch_buf_t body;
    hs_job_t *job;
    vch_buf_t out[2]; /* head (and a short body), body */
    size_t sent, window;
    size_t held; /* bytes counted in the server's sum */
};

typedef struct {
    hs_conn_t *first, *last;
    size_t n;
} hs_list_t;

/* ---- the server (http_server.c) ---- */

typedef struct {
    int fd;
    bool adopted, is_file;
    struct event *event;
    struct http_server *server;
} hs_listener_t;

struct http_server {
    http_service_t service;
    vch_port_t *port;
    bool tls_wanted, public_plain;
    char *cert_path, *key_path;
    pthread_mutex_t tls_mutex;
    SSL_CTX *tls;
    size_t max_answer;
    atomic_size_t max_body, connections_max, queue_max;
    atomic_ullong timeout_ms;
    hs_listener_t listener[HS_LISTEN_MAX];
    size_t listeners;
    bool deaf; /* no descriptors were left: the listeners rest until the next sweep */
    char address[HS_LISTEN_MAX * (VCH_ADDRESS_MAX + 1)];
    struct event_base *base;
    struct event *wake, *sweep;
    pthread_t wheel;
    bool turning;
    hs_list_t list[HS_LISTS];
    size_t held;
    char date[40];
    uint64_t date_second;
    uint8_t scratch[HS_READ_BYTES];
    hs_work_t work;
    atomic_bool stopping;
    atomic_ullong stop_at; /* boot clock: connections end then, whatever they do */
    atomic_uint connections, waiting;
    atomic_ullong accepted, refused, requests, pushed_back, timed_out, malformed, beat;
};

/* http_server.c */
uint64_t hs_now(const http_server_t *);
/* Where a connection stands; its deadline begins anew. */
void hs_place(hs_conn_t *, hs_place_t);
void hs_unplace(hs_conn_t *);
/* Count what a connection holds; others that hold much may have to go.  False
 * when there is no room even so; who holds at most 4 KiB always finds some, so
 * that bodies under way don't keep others from being answered. */
bool hs_hold(hs_conn_t *, size_t bytes);
const char *hs_date(http_server_t *);
void hs_wake(http_server_t *);

/* http_conn.c */
void hs_conn_new(hs_listener_t *, int fd, bool local);
void hs_conn_free(hs_conn_t *);
void hs_conn_answer(hs_job_t *);
/* Its deadline has passed. */
void hs_conn_late(hs_conn_t *);

/* http_work.c */
VCH_MUST_USE vch_rc hs_work_start(hs_work_t *, http_server_t *, unsigned workers, vch_err_t *);
void hs_work_stop(hs_work_t *); /* what was queued is still done */
/* False when too many wait already. */
bool hs_work_put(hs_work_t *, hs_job_t *, bool joins, size_t waiting_max);
hs_job_t *hs_work_done(hs_work_t *); /* a list, linked by `next` */
uint64_t hs_micros(void);
hs_job_t *hs_job_new(size_t max_answer);
void hs_job_free(hs_job_t *);

/* http_tls.c */
VCH_MUST_USE vch_rc hs_tls_new(SSL_CTX **ret, const char *cert_path, const char *key_path, vch_err_t *);
/* The key that the handshake proved; false: none, or of a kind that no ledger knows. */
bool hs_tls_peer(SSL *, vch_keyid_t *ret);
vch_socket_t hs_tls_handshake(SSL *, short *ret_want);
vch_socket_t hs_tls_recv(SSL *, void *buf, size_t n, size_t *ret_n, short *ret_want);
vch_socket_t hs_tls_send(SSL *, const void *buf, size_t n, size_t *ret_n, short *ret_want);

#endif
