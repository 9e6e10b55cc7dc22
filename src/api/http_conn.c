/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, on the wheel's thread.
 *
 *   handshake → idle → head → body → work → write ─┬→ idle
 *                 └──────┴──────┴── refused ───────┴→ linger → gone
 *
 * Whatever fails ends the connection at once.  A function that may free its
 * connection says so by its result: false means gone. */
#include "api/http_int.h"

static void on_event(evutil_socket_t fd, short what, void *ctx);

static void want(hs_conn_t *c, short what)
{
    if (c->want == what) return;
    if (c->want) (void)event_del(&c->event);
    c->want = what;
    if (!what) return;
    /* One that can't be waited for ends at its deadline. */
    if (event_assign(&c->event, c->server->base, c->fd, (short)(what | EV_PERSIST), on_event, c) != 0 ||
        event_add(&c->event, NULL) != 0)
        c->want = 0;
}

static bool is_reading(const hs_conn_t *c) { return c->state == HS_IDLE || c->state == HS_HEAD || c->state == HS_BODY; }

static bool hold(hs_conn_t *c)
{
    return hs_hold(c, c->in.cap + c->body.cap + c->out[0].cap + c->out[1].cap + (c->job ? c->job->body.cap : 0));
}

static void drop_front(vch_buf_t *b, size_t n)
{
    b->n -= n;
    if (b->n) memmove(b->p, b->p + n, b->n);
}

/* ---- writing --------------------------------------------------------------------------- */

static vch_socket_t send_some(hs_conn_t *c, const void *p, size_t n, size_t *ret_n, short *ret_want)
{
    *ret_want = EV_WRITE;
    return c->ssl ? hs_tls_send(c->ssl, p, n, ret_n, ret_want) : vch_socket_send(c->fd, p, n, ret_n);
}

static void begin_linger(hs_conn_t *c)
{
    if (c->ssl) (void)SSL_shutdown(c->ssl); /* the notice; whether it is read does not matter */
    vch_socket_end(c->fd);
    vch_buf_free(&c->in);
    vch_buf_free(&c->body);
    c->state = HS_LINGER;
    hs_place(c, HS_LEAVING);
    (void)hold(c);
    want(c, EV_READ);
}

static void finished(hs_conn_t *c)
{
    vch_buf_free(&c->out[0]);
    vch_buf_free(&c->out[1]);
    c->sent = c->window = 0;
    if (!c->keep || atomic_load(&c->server->stopping)) {
        begin_linger(c);
        return;
    }
    c->state = HS_IDLE;
    hs_place(c, HS_PROVEN);
    (void)hold(c);
}

static bool push(hs_conn_t *c)
{
    short waits = EV_WRITE;
    size_t total = c->out[0].n + c->out[1].n, put = 0;
    for (size_t turn = 0; c->sent < total; turn += put) {
        bool first = c->sent < c->out[0].n;
        const vch_buf_t *b = &c->out[first ? 0 : 1];
        size_t at = c->sent - (first ? 0 : c->out[0].n);
        vch_socket_t how = VCH_SOCKET_LATER;
        if (turn < HS_TURN_BYTES) how = send_some(c, b->p + at, b->n - at, &put, &waits);
        if (how == VCH_SOCKET_END) {
            hs_conn_free(c);
            return false;
        }
        if (how == VCH_SOCKET_LATER) {
            want(c, waits);
            return true;
        }
        c->sent += put;
    }
    finished(c);
    return true;
}

static vch_rc put_head(hs_conn_t *c, const http_response_t *r, size_t length)
{
    vch_buf_t *b = &c->out[0];
    vch_buf_clear(b);
    VCH_TRY(vch_buf_printf(b, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Length: %zu\r\nCache-Control: %s\r\n", r->status,
                           http_reason(r->status), hs_date(c->server), length, r->cache ? r->cache : "no-store"));
    if (r->type) VCH_TRY(vch_buf_printf(b, "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n", r->type));
    if (r->gzip) VCH_TRY(vch_buf_printf(b, "Content-Encoding: gzip\r\n"));
    if (r->allow) VCH_TRY(vch_buf_printf(b, "Allow: %s\r\n", r->allow));
    if (r->status == 401) VCH_TRY(vch_buf_printf(b, "WWW-Authenticate: Vouch, Bearer\r\n"));
    if (r->retry_after_s) VCH_TRY(vch_buf_printf(b, "Retry-After: %u\r\n", r->retry_after_s));
    if (!c->keep) VCH_TRY(vch_buf_printf(b, "Connection: close\r\n"));
    return vch_buf_printf(b, "\r\n");
}

/* Takes the response's body. */
static bool answer(hs_conn_t *c, http_response_t *r, bool head_only)
{
    vch_buf_t *head = &c->out[0], *body = &c->out[1];
    if (atomic_load(&c->server->stopping)) c->keep = false;
    vch_rc rc = put_head(c, r, r->type ? r->body.n : 0);
    if (rc == VCH_OK && !head_only && r->type && r->body.n) {
        if (r->body.n <= HS_JOIN_BYTES) {
            rc = vch_buf_put(head, r->body.p, r->body.n);
        } else {
            *body = r->body;
            vch_buf_init(&r->body, 0);
        }
    }
    if (rc != VCH_OK) {
        hs_conn_free(c); /* no memory for a few hundred bytes */
        return false;
    }
    c->state = HS_WRITE;
    hs_place(c, HS_WRITERS);
    return true;
}

/* Says no by itself; `keep`: what came was read to its end, so that the next
 * request is found. */
static bool refuse(hs_conn_t *c, int status, const char *why, bool keep)
{
    static const char *const hint = "see /openapi.json for what can be asked";
    http_response_t r = {.status = status, .type = "application/json"};
    const char *name = status == 400                                     ? "ERR_FORMAT"
                       : status == 413 || status == 414 || status == 431 ? "ERR_LIMIT"
                       : status == 429 || status == 503                  ? "ERR_UNREACHABLE"
                                                                         : "ERR_UNSUPPORTED";
    bool later = status == 429 || status == 503;
    if (later) r.retry_after_s = 1;
    c->keep = keep && c->keep;
    vch_buf_init(&r.body, 1024);
    vch_rc rc = vch_buf_printf(&r.body, "{\"error\":\"%s\",\"text\":\"%s\",\"hint\":\"%s\"}\n", name, why,
                               later ? "try again a little later" : hint);
    if (rc != VCH_OK) {
        hs_conn_free(c);
        return false;
    }
    atomic_fetch_add(later ? &c->server->pushed_back : &c->server->malformed, 1);
    vch_buf_free(&c->body);
    bool alive = answer(c, &r, false);
    vch_buf_free(&r.body);
    (void)(alive && hold(c));
    return alive && push(c);
}

/* ---- a whole request ------------------------------------------------------------------------ */

static void fill_request(const hs_conn_t *c, http_request_t *r, vch_slice_t body)
{
    const http_head_t *h = &c->head;
    *r = (http_request_t){.method = h->method,
                          .path = h->path,
                          .query = h->query,
                          .authorization = h->authorization,
                          .content_type = h->content_type,
                          .body = body,
                          .has_peer = c->has_peer,
                          .peer = c->peer,
                          .received_boot = hs_now(c->server)};
    /* A proxy's client is not from here; nor is a web page that had its own
     * name resolved to the loopback: its browser still says that name. */
    r->local = c->local && !h->forwarded && (c->any_host || h->host.n == 0 || http_host_is_local(h->host));
}

static bool dispatch(hs_conn_t *c)
{
    http_server_t *s = c->server;
    const http_service_t *service = &s->service;
    hs_job_t *job = hs_job_new(s->max_answer);
    c->keep = c->head.keep;
    if (!job) return refuse(c, 503, "no memory for another request", true);
    job->conn = c;
    job->head = c->head_bytes;
    job->body = c->body;
    c->head_bytes = NULL;
    vch_buf_init(&c->body, 0);
    fill_request(c, &job->request, vch_buf_slice(&job->body));
    c->job = job;
    c->state = HS_WORK;
    hs_place(c, HS_AWAY);
    bool joins = s->work.batching && service->joins(service->ctx, &job->request);
    if (hs_work_put(&s->work, job, joins, atomic_load(&s->queue_max))) {
        atomic_fetch_add(&s->requests, 1);
        return true;
    }
    c->job = NULL;
    hs_job_free(job);
    return refuse(c, 429, "too many requests are waiting already", true);
}

/* ---- reading ----------------------------------------------------------------------------------- */

typedef enum { MORE, ON, GONE } step_t; /* needs bytes; did something; was freed */

static step_t refused(hs_conn_t *c, int status, const char *why) { return refuse(c, status, why, false) ? ON : GONE; }

static step_t begin_body(hs_conn_t *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t max = atomic_load(&c->server->max_body), put = 0;
    short waits;
    if (!c->head.chunked && c->head.length > max) return refused(c, 413, "the body is larger than this node takes");
    vch_buf_init(&c->body, max);
    c->chunks = (http_chunks_t){.done = false};
    c->state = HS_BODY;
    if (!c->head.expects || c->in.n) return ON;
    /* Into an empty socket; if it doesn't fit, somebody is playing. */
    if (send_some(c, go_on, sizeof go_on - 1, &put, &waits) == VCH_SOCKET_DONE && put == sizeof go_on - 1) return ON;
    hs_conn_free(c);
    return GONE;
}

/* Between requests; an empty line or two may stand there (RFC 9112 section 2.2). */
static bool begin_head(hs_conn_t *c)
{
    size_t blank = 0;
    while (blank + 1 < c->in.n && c->in.p[blank] == '\r' && c->in.p[blank + 1] == '\n') blank += 2;
    drop_front(&c->in, blank);
    if (c->in.n == 0) vch_buf_free(&c->in);
    if (c->in.n == 0 || (c->in.n == 1 && c->in.p[0] == '\r')) return false;
    c->state = HS_HEAD;
    c->seen = 0;
    hs_place(c, c->proven ? HS_PROVEN : HS_FRESH);
    return true;
}

static step_t head_step(hs_conn_t *c)
{
    size_t end = 0;
    const char *why = "the request line or the headers are too long, or no HTTP";
    if (c->state == HS_IDLE && !begin_head(c)) return MORE;
    int status = http_head_end(c->in.p, c->in.n, &c->seen, &end);
    if (status) return refused(c, status, why);
    if (end == 0) return MORE;
    vch_free(c->head_bytes);
    c->head_bytes = vch_alloc(end);
    if (!c->head_bytes) return refused(c, 503, "no memory for another request");
    memcpy(c->head_bytes, c->in.p, end);
    drop_front(&c->in, end);
    status = http_head_read(&c->head, vch_slice(c->head_bytes, end), &why);
    if (status) return refused(c, status, why);
    c->proven = true;
    return begin_body(c);
}

static step_t body_step(hs_conn_t *c)
{
    size_t used = 0;
    bool whole;
    int status = 0;
    if (c->head.chunked) {
        status = http_chunks_take(&c->chunks, c->in.p, c->in.n, &used, &c->body);
        whole = c->chunks.done;
    } else {
        used = vch_min(c->in.n, (size_t)c->head.length - c->body.n);
        if (vch_buf_put(&c->body, c->in.p, used) != VCH_OK) status = 503;
        whole = c->body.n == c->head.length;
    }
    drop_front(&c->in, used);
    if (status)
        return refused(c, status,
                       status == 413   ? "the body is larger than this node takes"
                       : status == 503 ? "no memory for this body"
                                       : "the body's chunks are not well-formed");
    if (!hold(c)) return refused(c, 429, "too many bytes of requests are under way");
    if (!whole) return MORE;
    return dispatch(c) ? ON : GONE;
}

/* Everything that can be done with the bytes that are here. */
static bool advance(hs_conn_t *c)
{
    step_t step = ON;
    while (step == ON && is_reading(c)) step = c->state == HS_BODY ? body_step(c) : head_step(c);
    return step != GONE;
}

static vch_socket_t recv_some(hs_conn_t *c, size_t *ret_n, short *ret_want)
{
    *ret_want = EV_READ;
    return c->ssl ? hs_tls_recv(c->ssl, c->server->scratch, HS_READ_BYTES, ret_n, ret_want)
                  : vch_socket_recv(c->fd, c->server->scratch, HS_READ_BYTES, ret_n);
}

static void receive(hs_conn_t *c)
{
    short waits = EV_READ;
    size_t got = 0;
    for (size_t turn = 0; turn < HS_TURN_BYTES; turn += got) {
        vch_socket_t how = recv_some(c, &got, &waits);
        if (how == VCH_SOCKET_END) {
            hs_conn_free(c);
            return;
        }
        if (how == VCH_SOCKET_LATER) {
            want(c, waits);
            return;
        }
        if (vch_buf_put(&c->in, c->server->scratch, got) != VCH_OK) {
            (void)refuse(c, 503, "no memory for another request", false);
            return;
        }
        if (!advance(c) || !is_reading(c)) return;
        if (!c->ssl && got < HS_READ_BYTES) break; /* that was all for now */
    }
    want(c, EV_READ);
    /* What TLS has read ahead no longer shows at the socket. */
    if (c->ssl && SSL_pending(c->ssl)) event_active(&c->event, EV_READ, 0);
}

/* After an answer: what came behind the request, then the socket. */
static void resume(hs_conn_t *c)
{
    if (!is_reading(c) || !advance(c) || !is_reading(c)) return;
    if (c->ssl)
        receive(c);
    else
        want(c, EV_READ);
}

/* ---- coming and going -------------------------------------------------------------------------------- */

static void shake(hs_conn_t *c)
{
    short waits = EV_READ;
    vch_socket_t how = hs_tls_handshake(c->ssl, &waits);
    if (how == VCH_SOCKET_LATER) {
        want(c, waits);
        return;
    }
    if (how == VCH_SOCKET_END) {
        atomic_fetch_add(&c->server->malformed, 1);
        hs_conn_free(c);
        return;
    }
    c->has_peer = hs_tls_peer(c->ssl, &c->peer);
    c->state = HS_IDLE;
    receive(c);
}

static void drain(hs_conn_t *c)
{
    size_t got = 0;
    vch_socket_t how = VCH_SOCKET_DONE;
    for (size_t turn = 0; how == VCH_SOCKET_DONE && turn < HS_TURN_BYTES; turn += got)
        how = vch_socket_recv(c->fd, c->server->scratch, HS_READ_BYTES, &got);
    if (how == VCH_SOCKET_END) hs_conn_free(c);
}

static void on_event(evutil_socket_t fd, short what, void *ctx)
{
    hs_conn_t *c = ctx;
    (void)fd, (void)what;
    switch (c->state) {
    case HS_HANDSHAKE:
        shake(c);
        return;
    case HS_IDLE:
    case HS_HEAD:
    case HS_BODY:
        receive(c);
        return;
    case HS_WORK: /* the next request, or the end: both can wait */
        want(c, 0);
        return;
    case HS_WRITE:
        if (push(c)) resume(c);
        return;
    case HS_LINGER:
        drain(c);
        return;
    }
}

void hs_conn_answer(hs_job_t *job)
{
    hs_conn_t *c = job->conn;
    if (c) {
        bool head_only = job->request.method == HTTP_HEAD;
        c->job = NULL;
        bool alive = answer(c, &job->response, head_only);
        if (alive && !hold(c) && c->out[1].n) {
            vch_buf_free(&c->out[1]);
            alive = refuse(c, 429, "too many bytes of answers are under way", true);
        } else if (alive) {
            alive = push(c);
        }
        if (alive) resume(c);
    }
    hs_job_free(job);
}

void hs_conn_late(hs_conn_t *c)
{
    http_server_t *s = c->server;
    size_t least = (size_t)(atomic_load(&s->timeout_ms) * HS_RATE_BYTES_PER_S / 1000);
    if (c->place == HS_WRITERS && c->sent - c->window >= least) {
        c->window = c->sent;
        hs_place(c, HS_WRITERS);
        return;
    }
    bool idle = c->state == HS_LINGER || (c->state == HS_IDLE && c->proven);
    if (!idle) atomic_fetch_add(&s->timed_out, 1);
    hs_conn_free(c);
}

static SSL *new_ssl(http_server_t *s, int fd)
{
    pthread_mutex_lock(&s->tls_mutex);
    SSL *ssl = SSL_new(s->tls);
    pthread_mutex_unlock(&s->tls_mutex);
    if (ssl && SSL_set_fd(ssl, fd) == 1) return ssl;
    SSL_free(ssl);
    return NULL;
}

void hs_conn_new(hs_listener_t *at, int fd, bool local)
{
    http_server_t *s = at->server;
    hs_conn_t *c = vch_alloc(sizeof *c);
    SSL *ssl = c && s->tls_wanted ? new_ssl(s, fd) : NULL;
    if (!c || (s->tls_wanted && !ssl)) {
        vch_free(c);
        vch_socket_close(fd);
        atomic_fetch_add(&s->refused, 1);
        return;
    }
    c->server = s;
    c->fd = fd;
    c->ssl = ssl;
    c->local = local;
    c->any_host = at->is_file;
    c->state = ssl ? HS_HANDSHAKE : HS_IDLE;
    c->place = HS_LISTS;
    vch_buf_init(&c->in, HTTP_HEAD_BYTES_MAX + 2 * HS_READ_BYTES);
    vch_buf_init(&c->body, 0);
    vch_buf_init(&c->out[0], HS_JOIN_BYTES + 2048);
    vch_buf_init(&c->out[1], 0);
    atomic_fetch_add(&s->connections, 1);
    hs_place(c, HS_FRESH);
    /* Whoever says at once what they want is never among those that wait. */
    on_event(fd, EV_READ, c);
}

void hs_conn_free(hs_conn_t *c)
{
    want(c, 0);
    hs_unplace(c);
    if (c->job) c->job->conn = NULL;
    c->server->held -= c->held;
    SSL_free(c->ssl);
    vch_socket_close(c->fd);
    vch_free(c->head_bytes);
    vch_buf_free(&c->in);
    vch_buf_free(&c->body);
    vch_buf_free(&c->out[0]);
    vch_buf_free(&c->out[1]);
    atomic_fetch_sub(&c->server->connections, 1);
    vch_free(c);
}
