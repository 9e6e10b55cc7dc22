/* SPDX-License-Identifier: Apache-2.0 */
/* The client: many questions at once over libevent, one deadline for all.
 *
 *   ask → one job a question → a connection that is idle, or a fresh one to
 *   each address of the host in turn → write → http_reply_feed → idle again
 *
 * libevent's own HTTP client knows no unix sockets and reads answers leniently,
 * so only its connections, TLS and names are used.  A connection kept from an
 * earlier call may have been closed meanwhile: if it fails before a byte of the
 * answer came, the question goes once more over a fresh one.  Whoever asks
 * twice must be able to bear it; all our questions can. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "api/http.h"
#include "api/http_client_int.h"
#include "vouchsafe/vouchsafe.h"
#include "api/tls_key.h"

#define IDLE_MAX 16u    /* connections kept between calls */
#define RUNNING_MAX 64u /* at the same time; further questions wait their turn */
#define ANSWER_MAX (64u << 20)
#define KEY_MAX 280
#define ADDRESSES_MAX 8

typedef struct client client_t;
typedef struct job job_t;

typedef struct conn conn_t;
struct conn {
    client_t *c;
    conn_t *next; /* idle */
    struct bufferevent *bev;
    job_t *job; /* NULL: idle */
    bool connected, used;
    char key[KEY_MAX]; /* scheme and authority */
};

struct client {
    vch_transport_t t; /* first: the transport is the client */
    struct event_base *base;
    struct evdns_base *dns; /* made when a name must be looked up */
    SSL_CTX *tls;           /* made with the first https */
    char ca_file[1024], cert[1024], key[1024];
    bool has_ca, has_cert, has_pin;
    vch_keyid_t pin;
    size_t max_answer;
    conn_t *idle;
    size_t idles;
    job_t *job;
    size_t jobs, next, running, finished;
    uint64_t timeout_ms;
    bool late;
};

typedef struct {
    struct sockaddr_storage a;
    int n;
} address_t;

/* A name being looked up; outlives its job when that gives up first. */
typedef struct {
    job_t *job;
} lookup_t;

struct job {
    client_t *c;
    const vch_ask_t *ask;
    vch_answer_t *ret;
    http_url_t url;
    http_reply_t reply;
    conn_t *conn;
    lookup_t *lookup;
    address_t address[ADDRESSES_MAX];
    size_t addresses, tried;
    bool done, again;
};

static void job_start(job_t *);
static void job_connect(job_t *);

/* ---- the end of a question ----------------------------------------------------------- */

static void conn_free(conn_t *n)
{
    if (!n) return;
    if (n->bev) bufferevent_free(n->bev);
    vch_free(n);
}

static void keep_or_drop(client_t *c, conn_t *n, bool keep)
{
    n->job = NULL;
    n->used = true;
    if (!keep || c->idles >= IDLE_MAX || evbuffer_get_length(bufferevent_get_input(n->bev))) {
        conn_free(n);
        return;
    }
    n->next = c->idle;
    c->idle = n;
    c->idles++;
}

static void job_end(job_t *j, bool keep)
{
    client_t *c = j->c;
    conn_t *n = j->conn;
    j->conn = NULL;
    j->done = true;
    if (n) keep_or_drop(c, n, keep);
    c->running--;
    c->finished++;
}

static const char *whom(const job_t *j) { return j->url.is_unix ? j->url.host : j->url.authority; }

static void job_fail(job_t *j, const char *why)
{
    j->ret->rc = vch_fail(&j->ret->err, VCH_ERR_UNREACHABLE, "%s: %s", whom(j), why);
    vch_buf_clear(&j->ret->body);
    job_end(j, false);
}

static void job_failed(job_t *j, vch_rc rc)
{
    j->ret->rc = vch_context(&j->ret->err, rc, "%s", whom(j));
    j->ret->rc = j->ret->err.rc = VCH_ERR_UNREACHABLE; /* an answer that can't be read is none */
    vch_buf_clear(&j->ret->body);
    job_end(j, false);
}

static void job_answered(job_t *j)
{
    j->ret->rc = VCH_OK;
    j->ret->status = j->reply.status;
    j->ret->retry_after_s = j->reply.retry_after_s;
    job_end(j, j->reply.keep);
}

/* ---- TLS --------------------------------------------------------------------------------- */

static vch_rc tls_fail(vch_err_t *err, vch_rc rc, const char *what, const char *file)
{
    char why[160];
    unsigned long code = ERR_get_error();
    ERR_error_string_n(code, why, sizeof why);
    ERR_clear_error();
    return vch_fail(err, rc, "%s%s%s: %s", what, file ? " " : "", file ? file : "", code ? why : "refused");
}

static vch_rc tls_own(SSL_CTX *x, const client_t *c, vch_err_t *err)
{
    if (!c->has_cert) return VCH_OK;
    if (SSL_CTX_use_certificate_chain_file(x, c->cert) != 1)
        return tls_fail(err, VCH_ERR_KEY, "the certificate can't be read from", c->cert);
    if (SSL_CTX_use_PrivateKey_file(x, c->key, SSL_FILETYPE_PEM) != 1)
        return tls_fail(err, VCH_ERR_KEY, "the certificate's key can't be read from", c->key);
    if (SSL_CTX_check_private_key(x) != 1) return tls_fail(err, VCH_ERR_KEY, "the key is not of", c->cert);
    return VCH_OK;
}

/* The key counts, and the handshake proves that the server has it. */
static int is_pinned(X509_STORE_CTX *store, void *ctx)
{
    const client_t *c = ctx;
    vch_keyid_t id;
    bool good = tls_key_of(X509_STORE_CTX_get0_cert(store), &id) && vch_keyid_eq(&id, &c->pin);
    X509_STORE_CTX_set_error(store, good ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    return good;
}

static vch_rc tls_settings(SSL_CTX *x, client_t *c, vch_err_t *err)
{
    if (SSL_CTX_set_min_proto_version(x, TLS1_3_VERSION) != 1)
        return tls_fail(err, VCH_ERR_UNSUPPORTED, "this system has no TLS 1.3", NULL);
    SSL_CTX_set_verify(x, SSL_VERIFY_PEER, NULL);
    if (c->has_pin) {
        SSL_CTX_set_cert_verify_callback(x, is_pinned, c);
        return tls_own(x, c, err);
    }
    /* A CA file may name the node's own certificate alone. */
    (void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(x), X509_V_FLAG_PARTIAL_CHAIN);
    if (c->has_ca && SSL_CTX_load_verify_file(x, c->ca_file) != 1)
        return tls_fail(err, VCH_ERR_KEY, "no certificate to believe can be read from", c->ca_file);
    if (!c->has_ca && SSL_CTX_set_default_verify_paths(x) != 1)
        return tls_fail(err, VCH_ERR_KEY, "the system's certificates can't be read", NULL);
    return tls_own(x, c, err);
}

static vch_rc tls_context(client_t *c, vch_err_t *err)
{
    if (c->tls) return VCH_OK;
    SSL_CTX *x = SSL_CTX_new(TLS_client_method());
    if (!x) return vch_fail(err, VCH_ERR_MEMORY, "no memory for TLS");
    vch_rc rc = tls_settings(x, c, err);
    if (rc == VCH_OK)
        c->tls = x;
    else
        SSL_CTX_free(x);
    return rc;
}

/* Whom the certificate must name. */
static bool tls_name(SSL *ssl, const http_url_t *u)
{
    if (u->numeric) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), u->host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, u->host) == 1 && SSL_set_tlsext_host_name(ssl, u->host) == 1;
}

static struct bufferevent *tls_bufferevent(job_t *j)
{
    SSL *ssl = SSL_new(j->c->tls);
    if (!ssl) return NULL;
    if (!tls_name(ssl, &j->url)) {
        SSL_free(ssl);
        return NULL;
    }
    /* Frees ssl with itself, also when it can't be made. */
    struct bufferevent *bev =
        bufferevent_openssl_socket_new(j->c->base, -1, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (!bev) SSL_free(ssl);
    return bev;
}

/* Why the connection ended, in words.  True when another address of the host
 * may do better: this one was never reached. */
static bool explain(conn_t *n, short what, char ret[200])
{
    int failed = EVUTIL_SOCKET_ERROR();
    SSL *ssl = bufferevent_openssl_get_ssl(n->bev);
    unsigned long code = ssl ? bufferevent_get_openssl_error(n->bev) : 0;
    long verified = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    if (verified == X509_V_ERR_CERT_REJECTED) {
        (void)snprintf(ret, 200, "its key is another one than the key that is expected there");
        return false;
    }
    if (verified != X509_V_OK) {
        (void)snprintf(ret, 200, "its certificate is not believed: %s", X509_verify_cert_error_string(verified));
        return false;
    }
    const char *why = code && !ERR_SYSTEM_ERROR(code) ? ERR_reason_error_string(code) : NULL;
    if (why) {
        (void)snprintf(ret, 200, "TLS failed: %.150s", why);
        return false;
    }
    if (code && ERR_SYSTEM_ERROR(code)) failed = ERR_GET_REASON(code);
    if (what & BEV_EVENT_EOF)
        (void)snprintf(ret, 200, "it closed the connection without an answer");
    else
        (void)snprintf(ret, 200, "%.150s", evutil_socket_error_to_string(failed));
    return !n->connected;
}

/* ---- sending and receiving ----------------------------------------------------------------- */

static vch_rc put_head(struct evbuffer *out, const job_t *j)
{
    const vch_ask_t *a = j->ask;
    const http_url_t *u = &j->url;
    int n = evbuffer_add_printf(out,
                                "%s %.*s HTTP/1.1\r\nHost: %s\r\nUser-Agent: vouchsafe/" VCH_VERSION_TEXT
                                "\r\nAccept-Encoding: identity\r\n",
                                a->post ? "POST" : "GET", (int)u->target.n, (const char *)u->target.p, u->authority);
    if (n < 0) return VCH_ERR_MEMORY;
    if (a->authorization && evbuffer_add_printf(out, "Authorization: %s\r\n", a->authorization) < 0)
        return VCH_ERR_MEMORY;
    if (a->type && evbuffer_add_printf(out, "Content-Type: %s\r\n", a->type) < 0) return VCH_ERR_MEMORY;
    if (a->post && evbuffer_add_printf(out, "Content-Length: %zu\r\n", a->body.n) < 0) return VCH_ERR_MEMORY;
    if (evbuffer_add(out, "\r\n", 2) != 0) return VCH_ERR_MEMORY;
    return !a->post || evbuffer_add(out, a->body.p, a->body.n) == 0 ? VCH_OK : VCH_ERR_MEMORY;
}

static void send_question(job_t *j)
{
    http_reply_begin(&j->reply);
    vch_buf_clear(&j->ret->body);
    if (put_head(bufferevent_get_output(j->conn->bev), j) != VCH_OK) {
        job_fail(j, "no memory for the question");
        return;
    }
    if (bufferevent_enable(j->conn->bev, EV_READ | EV_WRITE) != 0) job_fail(j, "the connection can't be used");
}

/* Whatever comes over an idle connection, its end most likely, ends it. */
static void drop_idle(conn_t *n)
{
    for (conn_t **at = &n->c->idle; *at; at = &(*at)->next) {
        if (*at != n) continue;
        *at = n->next;
        n->c->idles--;
        conn_free(n);
        return;
    }
}

static void on_read(struct bufferevent *bev, void *ctx)
{
    conn_t *n = ctx;
    job_t *j = n->job;
    struct evbuffer *in = bufferevent_get_input(bev);
    if (!j) {
        drop_idle(n);
        return;
    }
    while (!http_reply_done(&j->reply) && evbuffer_get_length(in)) {
        size_t ready = evbuffer_get_contiguous_space(in), eaten = 0;
        const uint8_t *p = evbuffer_pullup(in, (ev_ssize_t)ready);
        vch_rc rc = http_reply_feed(&j->reply, vch_slice(p, ready), &eaten, &j->ret->body, &j->ret->err);
        if (rc != VCH_OK || evbuffer_drain(in, eaten) != 0) {
            job_failed(j, rc == VCH_OK ? VCH_ERR_INTERNAL : rc);
            return;
        }
    }
    if (http_reply_done(&j->reply)) job_answered(j);
}

static void drop(job_t *j)
{
    conn_free(j->conn);
    j->conn = NULL;
}

static void on_end(job_t *j, short what)
{
    char why[200];
    conn_t *n = j->conn;
    bool unreached = explain(n, what, why);
    if (unreached && j->tried < j->addresses) {
        drop(j);
        job_connect(j);
    } else if (n->used && !j->reply.any && !j->again) {
        j->again = true; /* it was closed while it idled */
        drop(j);
        job_start(j);
    } else if (j->reply.any && (what & BEV_EVENT_EOF)) {
        vch_rc rc = http_reply_closed(&j->reply, &j->ret->err);
        if (rc == VCH_OK)
            job_answered(j);
        else
            job_failed(j, rc);
    } else {
        job_fail(j, why);
    }
}

static void on_event(struct bufferevent *bev, short what, void *ctx)
{
    conn_t *n = ctx;
    (void)bev;
    if (what & BEV_EVENT_CONNECTED) {
        n->connected = true;
        if (n->job) send_question(n->job);
        return;
    }
    if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))) return;
    if (n->job)
        on_end(n->job, what);
    else
        drop_idle(n);
}

/* ---- connecting -------------------------------------------------------------------------------- */

static void conn_key(char ret[KEY_MAX], const http_url_t *u)
{
    (void)snprintf(ret, KEY_MAX, "%c %s", u->tls ? 's' : u->is_unix ? 'u' : 'p', u->is_unix ? u->host : u->authority);
}

static conn_t *take_idle(client_t *c, const http_url_t *u)
{
    char key[KEY_MAX];
    conn_key(key, u);
    for (conn_t **at = &c->idle; *at; at = &(*at)->next) {
        conn_t *n = *at;
        if (strcmp(n->key, key) != 0) continue;
        *at = n->next;
        c->idles--;
        return n;
    }
    return NULL;
}

static conn_t *conn_new(job_t *j)
{
    conn_t *n = vch_alloc(sizeof *n);
    if (!n) return NULL;
    n->c = j->c;
    n->job = j;
    conn_key(n->key, &j->url);
    n->bev = j->url.tls ? tls_bufferevent(j) : bufferevent_socket_new(j->c->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!n->bev) {
        vch_free(n);
        return NULL;
    }
    bufferevent_setcb(n->bev, on_read, NULL, on_event, n);
    return n;
}

/* Questions are small and wait for answers. */
static void no_delay(conn_t *n, const http_url_t *u)
{
    int one = 1;
    if (!u->is_unix) (void)setsockopt(bufferevent_getfd(n->bev), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* The next address of the host. */
static void job_connect(job_t *j)
{
    if (j->tried == j->addresses) {
        job_fail(j, "no address of it can be reached");
        return;
    }
    address_t *a = &j->address[j->tried++];
    j->conn = conn_new(j);
    if (!j->conn) {
        job_fail(j, "no memory for a connection");
        return;
    }
    http_reply_begin(&j->reply);
    size_t attempt = j->tried;
    int failed = bufferevent_socket_connect(j->conn->bev, (struct sockaddr *)&a->a, a->n);
    if (j->done || j->tried != attempt) return; /* it failed at once, and was told so */
    if (failed)
        on_end(j, BEV_EVENT_ERROR);
    else
        no_delay(j->conn, &j->url);
}

static void add_address(job_t *j, const void *a, size_t n)
{
    if (j->addresses == ADDRESSES_MAX || n > sizeof j->address->a) return;
    address_t *to = &j->address[j->addresses++];
    memcpy(&to->a, a, n);
    to->n = (int)n;
}

static void add_v4(job_t *j, const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(j->url.port)};
    if (evutil_inet_pton(AF_INET, text, &a.sin_addr) == 1) add_address(j, &a, sizeof a);
}

static void add_v6(job_t *j, const char *text)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(j->url.port)};
    if (evutil_inet_pton(AF_INET6, text, &a.sin6_addr) == 1) add_address(j, &a, sizeof a);
}

static void add_unix(job_t *j)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, j->url.host, strlen(j->url.host) + 1);
    add_address(j, &a, sizeof a);
}

static void on_lookup(int result, struct evutil_addrinfo *list, void *ctx)
{
    lookup_t *up = ctx;
    job_t *j = up->job;
    vch_free(up);
    if (j) {
        j->lookup = NULL;
        for (struct evutil_addrinfo *a = result == 0 ? list : NULL; a; a = a->ai_next)
            add_address(j, a->ai_addr, a->ai_addrlen);
        if (j->addresses)
            job_connect(j);
        else
            job_fail(j, "there is no host of that name");
    }
    if (list) evutil_freeaddrinfo(list);
}

static void look_up(job_t *j)
{
    struct evutil_addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    char port[8];
    client_t *c = j->c;
    if (!c->dns) c->dns = evdns_base_new(c->base, EVDNS_BASE_INITIALIZE_NAMESERVERS);
    if (!c->dns) {
        job_fail(j, "this machine knows no name server");
        return;
    }
    j->lookup = vch_alloc(sizeof *j->lookup);
    if (!j->lookup) {
        job_fail(j, "no memory for looking up the name");
        return;
    }
    j->lookup->job = j;
    (void)snprintf(port, sizeof port, "%u", j->url.port);
    /* May answer at once, before it returns; the job forgets the look-up then. */
    (void)evdns_getaddrinfo(c->dns, j->url.host, port, &want, on_lookup, j->lookup);
}

/* "localhost" is this machine, whatever a name server says (RFC 6761). */
static void find_addresses(job_t *j)
{
    const http_url_t *u = &j->url;
    j->addresses = j->tried = 0;
    if (u->is_unix) {
        add_unix(j);
    } else if (u->numeric) {
        add_v4(j, u->host);
        if (!j->addresses) add_v6(j, u->host);
    } else if (u->loopback) {
        add_v4(j, "127.0.0.1");
        add_v6(j, "::1");
    } else {
        look_up(j);
        return;
    }
    job_connect(j);
}

static bool one_line(const char *s)
{
    for (; s && *s; s++)
        if (*s < ' ' || *s >= 127) return false;
    return true;
}

static vch_rc job_check(job_t *j)
{
    vch_err_t *err = &j->ret->err;
    VCH_TRY(http_url_get(&j->url, j->ask->url, err));
    if (!one_line(j->ask->authorization) || !one_line(j->ask->type))
        return vch_fail(err, VCH_ERR_USAGE, "a header must be one line");
    return j->url.tls ? tls_context(j->c, err) : VCH_OK;
}

static void job_start(job_t *j)
{
    if (!j->again) {
        j->c->running++;
        vch_rc rc = job_check(j);
        if (rc != VCH_OK) {
            j->ret->rc = rc;
            job_end(j, false);
            return;
        }
    }
    j->conn = j->again ? NULL : take_idle(j->c, &j->url);
    if (!j->conn) {
        find_addresses(j);
        return;
    }
    j->conn->job = j;
    send_question(j);
}

/* ---- one call --------------------------------------------------------------------------------------- */

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
    client_t *c = ctx;
    (void)fd;
    (void)what;
    c->late = true;
}

static void give_up(job_t *j)
{
    if (j->done) return;
    if (j->lookup) j->lookup->job = NULL;
    conn_free(j->conn);
    j->conn = NULL;
    j->ret->rc = vch_fail(&j->ret->err, VCH_ERR_UNREACHABLE, "%s: no answer within %llu ms", whom(j),
                          (unsigned long long)j->c->timeout_ms);
    vch_buf_clear(&j->ret->body);
}

static void run_jobs(client_t *c)
{
    struct timeval limit = {.tv_sec = (time_t)(c->timeout_ms / 1000),
                            .tv_usec = (suseconds_t)(c->timeout_ms % 1000 * 1000)};
    struct event *deadline = evtimer_new(c->base, on_deadline, c);
    c->late = !deadline || evtimer_add(deadline, &limit) != 0;
    while (!c->late && c->finished < c->jobs) {
        while (c->next < c->jobs && c->running < RUNNING_MAX) job_start(&c->job[c->next++]);
        if (c->finished < c->jobs && event_base_loop(c->base, EVLOOP_ONCE) < 0) break;
    }
    if (deadline) event_free(deadline);
    for (size_t i = 0; i < c->jobs; i++) give_up(&c->job[i]);
}

/* A peer that went away must not end the program that uses this library. */
static void pipe_block(sigset_t *old, bool *ret_pending)
{
    sigset_t pipe, pending;
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    *ret_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &pipe, old);
}

static void pipe_restore(const sigset_t *old, bool was_pending)
{
    const struct timespec now = {0};
    sigset_t pipe;
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    if (!was_pending) (void)sigtimedwait(&pipe, NULL, &now);
    (void)pthread_sigmask(SIG_SETMASK, old, NULL);
}

static void answer_begin(const client_t *c, vch_answer_t *a)
{
    a->rc = VCH_ERR_UNREACHABLE;
    a->status = 0;
    a->retry_after_s = 0;
    a->err = (vch_err_t){.rc = VCH_ERR_UNREACHABLE};
    if (a->body.max > c->max_answer) a->body.max = c->max_answer;
}

static void client_ask(vch_transport_t *t, const vch_ask_t *ask, vch_answer_t *ret, size_t n, uint64_t timeout_ms)
{
    client_t *c = t->ctx;
    sigset_t old;
    bool pending;
    for (size_t i = 0; i < n; i++) answer_begin(c, &ret[i]);
    c->job = vch_alloc_array(n, sizeof *c->job);
    if (!c->job) {
        for (size_t i = 0; i < n; i++) (void)vch_fail(&ret[i].err, VCH_ERR_UNREACHABLE, "no memory for the question");
        return;
    }
    for (size_t i = 0; i < n; i++) c->job[i] = (job_t){.c = c, .ask = &ask[i], .ret = &ret[i]};
    c->jobs = n;
    c->next = c->running = c->finished = 0;
    c->timeout_ms = timeout_ms;
    pipe_block(&old, &pending);
    run_jobs(c);
    pipe_restore(&old, pending);
    vch_free(c->job);
    c->job = NULL;
    c->jobs = 0;
}

/* ---- birth and end ----------------------------------------------------------------------------------- */

static void client_free(vch_transport_t *t)
{
    sigset_t old;
    bool pending;
    client_t *c = t ? t->ctx : NULL;
    if (!c) return;
    pipe_block(&old, &pending); /* closing TLS writes */
    while (c->idle) {
        conn_t *n = c->idle;
        c->idle = n->next;
        conn_free(n);
    }
    if (c->dns) evdns_base_free(c->dns, 1);
    if (c->base) {
        (void)event_base_loop(c->base, EVLOOP_NONBLOCK); /* what was put off, such as given-up look-ups */
        event_base_free(c->base);
    }
    pipe_restore(&old, pending);
    SSL_CTX_free(c->tls);
    vch_free(c);
}

static vch_rc copy_path(char ret[1024], bool *ret_given, const char *path, vch_err_t *err)
{
    size_t n = path ? strlen(path) : 0;
    if (n >= 1024) return vch_fail(err, VCH_ERR_LIMIT, "the path %.80s… is too long", path);
    *ret_given = n > 0;
    if (n) memcpy(ret, path, n + 1);
    return VCH_OK;
}

static vch_rc take_options(client_t *c, const http_client_options_t *o, vch_err_t *err)
{
    bool has_key = false;
    VCH_TRY(copy_path(c->ca_file, &c->has_ca, o->ca_file, err));
    VCH_TRY(copy_path(c->cert, &c->has_cert, o->tls_cert, err));
    VCH_TRY(copy_path(c->key, &has_key, o->tls_key, err));
    if (c->has_cert != has_key)
        return vch_fail(err, VCH_ERR_USAGE, "a client's certificate and its key are given together");
    c->max_answer = o->max_answer ? o->max_answer : ANSWER_MAX;
    c->has_pin = o->pin != NULL;
    if (o->pin) c->pin = *o->pin;
    /* A file that can't be used is told now, not at the first question. */
    return c->has_ca || c->has_cert ? tls_context(c, err) : VCH_OK;
}

vch_rc http_client_new(vch_transport_t **ret, const http_client_options_t *options, vch_err_t *err)
{
    client_t *c = vch_alloc(sizeof *c);
    if (!c) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    c->t = (vch_transport_t){client_ask, client_free, c};
    c->base = event_base_new();
    vch_rc rc = c->base ? take_options(c, options, err) : vch_fail(err, VCH_ERR_MEMORY, "no event loop can be made");
    if (rc != VCH_OK) {
        client_free(&c->t);
        return rc;
    }
    *ret = &c->t;
    return VCH_OK;
}
