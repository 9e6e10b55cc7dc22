/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server with a service of this test behind it, over real sockets:
 * what a request becomes, who is refused, who must go, what a batch joins. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/http.h"
#include "crypto/keys.h"
#include "ledger_help.h"
#include "port/socket.h"

#define LONG_MS 20000 /* what ought to happen has long happened by then */

/* ---- the service ----------------------------------------------------------------------- */

/* A gate that requests wait at until the test opens it. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    bool open;
    unsigned at_it; /* how many stand there, or went through */
} gate_t;

static gate_t gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
static atomic_uint batches, joined, largest_batch, done_n, done_bytes;

static void gate_pass(void)
{
    pthread_mutex_lock(&gate.mutex);
    gate.at_it++;
    pthread_cond_broadcast(&gate.moved);
    while (!gate.open) pthread_cond_wait(&gate.moved, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
}

static void gate_await(unsigned n)
{
    pthread_mutex_lock(&gate.mutex);
    while (gate.at_it < n) pthread_cond_wait(&gate.moved, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate.mutex);
    gate.open = open;
    if (!open) gate.at_it = 0;
    pthread_cond_broadcast(&gate.moved);
    pthread_mutex_unlock(&gate.mutex);
}

static bool at(const http_request_t *r, const char *path) { return vch_slice_eq(r->path, vch_str(path)); }

static void say(http_response_t *r, int status, const char *fmt, ...) VCH_PRINTF(3, 4);
static void say(http_response_t *r, int status, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->status = status;
    r->type = "text/plain";
    if (vch_buf_put(&r->body, text, strlen(text)) != VCH_OK) abort();
}

static void handle(void *ctx, const http_request_t *q, http_response_t *r)
{
    char id[65] = "nobody";
    uint8_t *p = NULL;
    (void)ctx;
    if (q->has_peer) vch_hex(id, q->peer.b, 32);
    if (at(q, "/gate")) gate_pass();
    if (at(q, "/big")) {
        r->status = 200;
        r->type = "application/octet-stream";
        if (vch_buf_extend(&r->body, 8u << 20, &p) != VCH_OK) abort();
        memset(p, 'b', 8u << 20);
    } else if (at(q, "/who")) {
        say(r, 200, "%s %s", q->local ? "local" : "remote", id);
    } else if (at(q, "/nothing")) {
        r->status = 204;
    } else if (at(q, "/forgotten")) {
        return;
    } else if (at(q, "/closed")) {
        say(r, 405, "no");
        r->allow = "GET";
        r->retry_after_s = 7;
    } else {
        say(r, 200, "%d %.*s?%.*s a=%.*s t=%.*s b=%zu:%.*s", (int)q->method, (int)q->path.n, (const char *)q->path.p,
            (int)q->query.n, (const char *)q->query.p, (int)q->authorization.n, (const char *)q->authorization.p,
            (int)q->content_type.n, (const char *)q->content_type.p, q->body.n, (int)vch_min(q->body.n, 100),
            (const char *)q->body.p);
    }
}

static bool joins(void *ctx, const http_request_t *q)
{
    (void)ctx;
    return q->method == HTTP_POST && at(q, "/join");
}

static void batch(void *ctx, const http_request_t *const *q, http_response_t *const *r, size_t n)
{
    (void)ctx;
    gate_pass();
    batches++;
    joined += (unsigned)n;
    if (n > largest_batch) largest_batch = (unsigned)n;
    for (size_t i = 0; i < n; i++) say(r[i], 200, "joined %.*s", (int)q[i]->body.n, (const char *)q[i]->body.p);
}

static void done(void *ctx, const http_request_t *q, int status, size_t bytes, uint64_t micros)
{
    (void)ctx, (void)micros, (void)status;
    assert_true(q->path.n > 0);
    done_n++;
    done_bytes += (unsigned)bytes;
}

static const http_service_t service = {.handle = handle, .joins = joins, .batch = batch, .done = done};

static http_server_t *start(const http_options_t *more)
{
    http_server_t *s;
    http_options_t o = more ? *more : (http_options_t){.max_body = 0};
    if (!o.listen && !o.fds) o.listen = "127.0.0.1:0";
    if (!o.timeout_ms) o.timeout_ms = LONG_MS;
    gate_set(false);
    batches = joined = largest_batch = done_n = done_bytes = 0;
    LH_OK(http_server_start(&s, &o, &service, &lh_err));
    return s;
}

static http_stats_t stats(const http_server_t *s)
{
    http_stats_t st;
    http_server_stats(s, &st);
    return st;
}

/* ---- a client that does exactly what it is told ------------------------------------------- */

typedef struct {
    int fd;
    SSL *ssl;
} peer_t;

static int connect_to(const char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool file = strncmp(address, "unix:", 5) == 0;
    int fd = socket(file ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    in.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    if (file) snprintf(un.sun_path, sizeof un.sun_path, "%s", address + 5);
    struct sockaddr *to = file ? (struct sockaddr *)&un : (struct sockaddr *)&in;
    if (fd < 0 || connect(fd, to, file ? sizeof un : sizeof in) != 0) {
        if (fd >= 0) close(fd);
        return -1;
    }
    return fd;
}

static peer_t open_to(const http_server_t *s)
{
    peer_t p = {.fd = connect_to(http_server_address(s))};
    assert_true(p.fd >= 0);
    return p;
}

static void shut(peer_t *p)
{
    SSL_free(p->ssl);
    close(p->fd);
    p->ssl = NULL;
}

/* False when the other side has gone. */
static bool tell_n(peer_t *p, const void *bytes, size_t n)
{
    if (p->ssl) return SSL_write(p->ssl, bytes, (int)n) == (int)n;
    for (size_t sent = 0; sent < n;) {
        ssize_t put = send(p->fd, (const char *)bytes + sent, n - sent, MSG_NOSIGNAL);
        if (put <= 0) return false;
        sent += (size_t)put;
    }
    return true;
}

static bool tell(peer_t *p, const char *text) { return tell_n(p, text, strlen(text)); }

/* Bytes, 0 at the end; fails when nothing comes at all. */
static size_t hear(peer_t *p, char *to, size_t n)
{
    struct pollfd f = {.fd = p->fd, .events = POLLIN};
    if (!(p->ssl && SSL_pending(p->ssl)) && poll(&f, 1, LONG_MS) != 1) fail_msg("no answer, and no end");
    ssize_t got = p->ssl ? SSL_read(p->ssl, to, (int)n) : recv(p->fd, to, n, 0);
    return got > 0 ? (size_t)got : 0;
}

typedef struct {
    int status; /* 0: the connection ended instead */
    char head[2048], body[2048];
    size_t length;
} got_t;

/* One answer; bytes behind it stay in the socket. */
static got_t answer(peer_t *p, bool head_only)
{
    got_t g = {.status = 0};
    size_t n = 0;
    while (n < sizeof g.head - 1 && hear(p, g.head + n, 1) == 1) {
        n++;
        if (n >= 4 && memcmp(g.head + n - 4, "\r\n\r\n", 4) == 0) break;
    }
    if (n < 12) return g;
    g.status = (int)strtol(g.head + 9, NULL, 10);
    const char *length = strstr(g.head, "Content-Length: ");
    assert_non_null(length);
    g.length = strtoul(length + 16, NULL, 10);
    for (size_t got = 0, at_n = 0; !head_only && got < g.length; got += at_n) {
        char piece[65536];
        at_n = hear(p, piece, vch_min(sizeof piece, g.length - got));
        if (at_n == 0) fail_msg("the answer ends in the middle");
        if (got < sizeof g.body - 1) memcpy(g.body + got, piece, vch_min(at_n, sizeof g.body - 1 - got));
    }
    return g;
}

static got_t ask(peer_t *p, const char *request)
{
    assert_true(tell(p, request));
    return answer(p, strncmp(request, "HEAD", 4) == 0);
}

static got_t ask_once(const http_server_t *s, const char *request)
{
    peer_t p = open_to(s);
    got_t g = ask(&p, request);
    shut(&p);
    return g;
}

static bool ended(peer_t *p)
{
    char c;
    return hear(p, &c, 1) == 0;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define JOIN(body, n) "POST /join HTTP/1.1\r\nHost: x\r\nContent-Length: " n "\r\n\r\n" body

static bool still_answers(const http_server_t *s) { return ask_once(s, GET("/still")).status == 200; }

/* ---- requests and answers -------------------------------------------------------------------- */

static void requests(void **state)
{
    (void)state;
    http_server_t *s = start(NULL);
    peer_t p = open_to(s);
    got_t g = ask(&p, "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nAuthorization: Vouch q\r\nContent-Type: x/y\r\n"
                      "Content-Length: 5\r\n\r\nhello");
    assert_int_equal(g.status, 200);
    assert_string_equal(g.body, "4 /a/b?c=d a=Vouch q t=x/y b=5:hello");
    assert_non_null(strstr(g.head, "\r\nDate: "));
    assert_non_null(strstr(g.head, "\r\nCache-Control: no-store\r\n"));
    assert_null(strstr(g.head, "Connection"));
    assert_string_equal(ask(&p, GET("/x")).body, "1 /x? a= t= b=0:"); /* the same connection */
    g = ask(&p, "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(g.status == 200 && g.length == 16);
    g = ask(&p, "PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_string_equal(g.body, "8 /x? a= t= b=5:abcde");
    g = ask(&p, GET("/nothing"));
    assert_true(g.status == 204 && g.length == 0 && !strstr(g.head, "Content-Type"));
    g = ask(&p, GET("/closed"));
    assert_true(g.status == 405 && strstr(g.head, "\r\nAllow: GET\r\n") && strstr(g.head, "\r\nRetry-After: 7\r\n"));
    assert_int_equal(ask(&p, GET("/forgotten")).status, 500);
    g = ask(&p, GET("/big"));
    assert_true(g.status == 200 && g.length == 8u << 20);
    g = ask(&p, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_true(g.status == 200 && strstr(g.head, "\r\nConnection: close\r\n") && ended(&p));
    shut(&p);
    p = open_to(s);
    assert_true(ask(&p, "GET / HTTP/1.0\r\n\r\n").status == 200 && ended(&p));
    shut(&p);
    assert_int_equal(stats(s).requests, 10);
    assert_int_equal(stats(s).malformed, 0);
    http_server_stop(s, LONG_MS);
    assert_int_equal(done_n, 10);
    assert_true(done_bytes > 8u << 20);
}

/* Several requests at once, cut anywhere, are answered in their order. */
static void pipelines(void **state)
{
    (void)state;
    static const char many[] = "\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: "
                               "2\r\n\r\nab\r\nPOST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "1\r\nc\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /5";
    static const char *const want[] = {"1 /1? a= t= b=0:", "4 /2? a= t= b=2:ab", "4 /3? a= t= b=1:c",
                                       "1 /4? a= t= b=0:"};
    http_server_t *s = start(NULL);
    for (size_t piece = 1; piece < sizeof many; piece += piece < 8 ? 1 : 60) {
        peer_t p = open_to(s);
        for (size_t from = 0; from < sizeof many - 1; from += piece)
            if (!tell_n(&p, many + from, vch_min(piece, sizeof many - 1 - from))) break;
        for (size_t i = 0; i < 4; i++) assert_string_equal(answer(&p, false).body, want[i]);
        assert_true(ended(&p));
        shut(&p);
    }
    peer_t p = open_to(s); /* a thousand in one piece */
    for (int i = 0; i < 1000; i++) assert_true(tell(&p, GET("/x")));
    for (int i = 0; i < 1000; i++) assert_int_equal(answer(&p, false).status, 200);
    shut(&p);
    http_server_stop(s, LONG_MS);
}

static void continues(void **state)
{
    (void)state;
    http_options_t o = {.max_body = 1000};
    http_server_t *s = start(&o);
    peer_t p = open_to(s);
    char text[64] = "";
    assert_true(tell(&p, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
    for (size_t n = 0; n < 25;) n += hear(&p, text + n, 25 - n);
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_string_equal(ask(&p, "ab").body, "4 /x? a= t= b=2:ab");
    /* what is too large is refused before it is sent */
    got_t g = ask(&p, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    assert_true(g.status == 413 && ended(&p));
    shut(&p);
    http_server_stop(s, LONG_MS);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *text;
    } bad[] = {
        {400, "GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, "\x16\x03\x01\x02\x00"},
        {505, "GET / HTTP/3.0\r\n\r\n"},
        {413, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"},
        {413, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\na"},
        {400, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx"},
        {501, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: br\r\n\r\n"},
    };
    http_options_t o = {.max_body = 1000};
    http_server_t *s = start(&o);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        peer_t p = open_to(s);
        got_t g = ask(&p, bad[i].text);
        assert_int_equal(g.status, bad[i].status);
        assert_non_null(strstr(g.body, "\"error\":\"ERR_"));
        assert_true(strstr(g.head, "Connection: close") && ended(&p));
        shut(&p);
    }
    assert_int_equal(stats(s).malformed, sizeof bad / sizeof *bad);
    assert_int_equal(stats(s).requests, 0);
    assert_int_equal(done_n, 0);
    assert_true(still_answers(s));
    http_server_stop(s, LONG_MS);
}

/* A body that never ends is not taken to its end, and its sender still reads why. */
static void endless_body(void **state)
{
    (void)state;
    static char block[65536];
    http_server_t *s = start(NULL);
    peer_t p = open_to(s);
    memset(block, 'x', sizeof block);
    assert_true(tell(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n"));
    size_t sent = 0;
    for (struct pollfd f = {.fd = p.fd, .events = POLLIN}; sent < 1u << 30 && poll(&f, 1, 0) == 0; sent += sizeof block)
        if (!tell_n(&p, block, sizeof block)) break;
    assert_true(sent < 1u << 30);
    assert_int_equal(answer(&p, false).status, 413);
    shut(&p);
    assert_true(still_answers(s));
    http_server_stop(s, LONG_MS);
}

/* ---- deadlines ----------------------------------------------------------------------------------- */

/* One byte at a time, each well within any time-out of a single read. */
static void trickles(void **state)
{
    (void)state;
    static const char *const start_of[] = {"", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
                                           "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"};
    http_options_t o = {.timeout_ms = 100};
    http_server_t *s = start(&o);
    for (size_t i = 0; i < sizeof start_of / sizeof *start_of; i++) {
        peer_t p = open_to(s);
        struct pollfd f = {.fd = p.fd, .events = POLLIN};
        assert_true(tell(&p, start_of[i]));
        unsigned bytes = 0;
        while (poll(&f, 1, 10) == 0 && bytes < LONG_MS / 10 && tell(&p, "G")) bytes++;
        assert_true(bytes < 1000); /* it ended before the body was there */
        assert_true(ended(&p));
        shut(&p);
    }
    assert_int_equal(stats(s).timed_out, 3);
    peer_t p = open_to(s); /* saying nothing */
    assert_true(ended(&p));
    shut(&p);
    p = open_to(s); /* or nothing more */
    assert_int_equal(ask(&p, GET("/x")).status, 200);
    assert_true(ended(&p));
    shut(&p);
    assert_int_equal(stats(s).timed_out, 4);
    http_server_stop(s, LONG_MS);
}

/* An answer that nobody takes; and one that is taken slowly, but taken. */
static void slow_readers(void **state)
{
    (void)state;
    http_options_t o = {.timeout_ms = 100};
    http_server_t *s = start(&o);
    peer_t lazy = open_to(s);
    assert_true(tell(&lazy, GET("/big")));
    while (stats(s).timed_out == 0) usleep(10000);
    shut(&lazy);
    peer_t slow = open_to(s);
    static char piece[262144];
    assert_true(tell(&slow, GET("/big")));
    size_t total = 0, n;
    while ((n = hear(&slow, piece, sizeof piece)) > 0) {
        total += n;
        if (total >= 8u << 20) break;
        usleep(20000);
    }
    assert_true(total >= 8u << 20);
    shut(&slow);
    assert_int_equal(stats(s).timed_out, 1);
    http_server_stop(s, LONG_MS);
}

/* ---- crowds ----------------------------------------------------------------------------------------- */

#define CROWD 300

/* Silent connections, or ones that each had an answer and now sit there. */
static void crowds(void **state)
{
    (void)state;
    http_options_t o = {.connections = 64};
    for (int busy = 0; busy < 2; busy++) {
        http_server_t *s = start(&o);
        peer_t crowd[CROWD];
        for (size_t i = 0; i < CROWD; i++) {
            crowd[i] = open_to(s);
            if (busy) assert_int_equal(ask(&crowd[i], GET("/x")).status, 200);
            if (!busy && i % 3 == 0) assert_true(tell(&crowd[i], "GET /x HTTP/1.1\r\n"));
            if (i % 50 == 49) assert_true(still_answers(s));
        }
        while (stats(s).accepted < CROWD) usleep(1000);
        assert_true(stats(s).connections <= 64);
        assert_true(stats(s).refused >= CROWD - 64);
        assert_true(still_answers(s));
        for (size_t i = 0; i < CROWD; i++) shut(&crowd[i]);
        assert_true(still_answers(s));
        http_server_stop(s, LONG_MS);
    }
}

/* Whoever is being served keeps the place, however many come. */
static void work_is_not_ended(void **state)
{
    (void)state;
    http_options_t o = {.connections = 8, .workers = 4};
    http_server_t *s = start(&o);
    peer_t in_work[4], crowd[100];
    for (size_t i = 0; i < 4; i++) {
        in_work[i] = open_to(s);
        assert_true(tell(&in_work[i], GET("/gate")));
    }
    gate_await(4);
    for (size_t i = 0; i < 100; i++) crowd[i] = open_to(s);
    while (stats(s).accepted < 104) usleep(1000);
    gate_set(true);
    for (size_t i = 0; i < 4; i++) assert_int_equal(answer(&in_work[i], false).status, 200);
    for (size_t i = 0; i < 4; i++) shut(&in_work[i]);
    for (size_t i = 0; i < 100; i++) shut(&crowd[i]);
    http_server_stop(s, LONG_MS);
}

/* Answers that nobody takes, eight megabytes each: others are still answered. */
static void memory_is_bounded(void **state)
{
    (void)state;
    enum { N = 40 };
    http_options_t o = {.workers = 2};
    http_server_t *s = start(&o);
    peer_t lazy[N];
    int pushed_back = 0, ended_n = 0;
    for (size_t i = 0; i < N; i++) {
        lazy[i] = open_to(s);
        assert_true(tell(&lazy[i], GET("/big")));
    }
    while (stats(s).requests < N) usleep(1000);
    while (done_n < N) usleep(1000);
    assert_true(still_answers(s));
    for (size_t i = 0; i < N; i++) { /* at most 128 MiB were kept for them */
        char head[16] = "";
        struct pollfd f = {.fd = lazy[i].fd, .events = POLLIN};
        assert_int_equal(poll(&f, 1, LONG_MS), 1);
        size_t n = hear(&lazy[i], head, 12);
        if (n == 12 && memcmp(head, "HTTP/1.1 429", 12) == 0) pushed_back++;
        if (n == 0) ended_n++;
        shut(&lazy[i]);
    }
    assert_true(pushed_back + ended_n + (int)stats(s).refused >= N - 17);
    assert_true(still_answers(s));
    http_server_stop(s, LONG_MS);
}

/* A body of `n` bytes that stays one short. */
static peer_t unfinished(const http_server_t *s, size_t n)
{
    static const char zeros[1u << 20];
    char head[120];
    peer_t p = open_to(s);
    snprintf(head, sizeof head, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", n);
    (void)(tell(&p, head) && tell_n(&p, zeros, n - 1)); /* it may be refused meanwhile */
    return p;
}

/* Bodies fill all the room there is, all too young to be ended for others, then
 * ever smaller ones what is left: who asks for little is answered all the same. */
static void little_gets_through(void **state)
{
    (void)state;
    enum { N = 400, LITTLE = 60 };
    http_server_t *s = start(NULL);
    static peer_t peer[N];
    size_t n = 0;
    uint64_t before;
    for (size_t bytes = 1u << 20; bytes >= 8192; bytes /= 2) {
        before = stats(s).pushed_back;
        while (n < N - LITTLE && stats(s).pushed_back == before) {
            peer[n++] = unfinished(s, bytes);
            assert_true(still_answers(s));
        }
    }
    before = stats(s).pushed_back;
    for (size_t i = 0; i < LITTLE; i++) {
        peer[n++] = unfinished(s, 600);
        assert_true(still_answers(s));
    }
    assert_int_equal(stats(s).pushed_back, before);
    for (size_t i = 0; i < n; i++) shut(&peer[i]);
    assert_true(still_answers(s));
    http_server_stop(s, LONG_MS);
}

/* ---- batches, queue ------------------------------------------------------------------------------------ */

static void batches_join(void **state)
{
    (void)state;
    enum { N = 50 };
    http_server_t *s = start(NULL);
    peer_t first = open_to(s), more[N];
    assert_true(tell(&first, JOIN("a", "1")));
    gate_await(1);
    for (size_t i = 0; i < N; i++) {
        more[i] = open_to(s);
        assert_true(tell(&more[i], JOIN("bc", "2")));
    }
    while (stats(s).waiting < N) usleep(1000);
    assert_true(still_answers(s)); /* others don't wait for the batch */
    gate_set(true);
    assert_string_equal(answer(&first, false).body, "joined a");
    for (size_t i = 0; i < N; i++) assert_string_equal(answer(&more[i], false).body, "joined bc");
    for (size_t i = 0; i < N; i++) shut(&more[i]);
    shut(&first);
    assert_true(batches == 2 && joined == N + 1 && largest_batch == N);
    http_server_stop(s, LONG_MS);
}

static void full_queue(void **state)
{
    (void)state;
    http_options_t o = {.queue = 2, .workers = 1};
    http_server_t *s = start(&o);
    peer_t p[4];
    for (size_t i = 0; i < 3; i++) {
        p[i] = open_to(s);
        assert_true(tell(&p[i], GET("/gate")));
        if (i == 0) gate_await(1); /* the worker has it */
    }
    while (stats(s).waiting < 2) usleep(1000);
    p[3] = open_to(s);
    got_t g = ask(&p[3], GET("/gate"));
    assert_int_equal(g.status, 429);
    assert_non_null(strstr(g.head, "\r\nRetry-After: 1\r\n"));
    assert_int_equal(stats(s).pushed_back, 1);
    for (int i = 0; i < 500; i++) assert_true(tell(&p[3], GET("/gate"))); /* all at once, deep in one buffer */
    for (int i = 0; i < 500; i++) assert_int_equal(answer(&p[3], false).status, 429);
    gate_set(true);
    for (size_t i = 0; i < 3; i++) assert_int_equal(answer(&p[i], false).status, 200);
    assert_int_equal(ask(&p[3], GET("/gate")).status, 200); /* its connection was kept */
    for (size_t i = 0; i < 4; i++) shut(&p[i]);
    http_server_stop(s, LONG_MS);
}

/* Clients that leave while their request is being worked on. */
static void vanishing(void **state)
{
    (void)state;
    enum { N = 20 };
    http_options_t o = {.workers = 4};
    http_server_t *s = start(&o);
    for (int how = 0; how < 3; how++) {
        peer_t p[N];
        gate_set(false);
        for (size_t i = 0; i < N; i++) {
            struct linger reset = {.l_onoff = 1, .l_linger = 0};
            p[i] = open_to(s);
            assert_true(tell(&p[i], i % 2 ? JOIN("a", "1") : GET("/gate")));
            if (how == 1) assert_true(tell(&p[i], GET("/more")));
            if (how == 2) (void)setsockopt(p[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        while (stats(s).requests < (unsigned)(how + 1) * N) usleep(1000);
        for (size_t i = 0; i < N; i++) shut(&p[i]);
        gate_set(true);
        while (stats(s).connections > 0) usleep(1000);
    }
    assert_true(still_answers(s));
    http_server_stop(s, LONG_MS);
}

/* ---- stopping -------------------------------------------------------------------------------------------- */

static void *open_gate(void *ctx)
{
    const char *address = ctx;
    int fd;
    while ((fd = connect_to(address)) >= 0) { /* until nobody listens any more */
        close(fd);
        usleep(1000);
    }
    gate_set(true);
    return NULL;
}

static void graceful_stop(void **state)
{
    (void)state;
    char address[VCH_ADDRESS_MAX];
    pthread_t opener;
    http_server_t *s = start(NULL);
    snprintf(address, sizeof address, "%s", http_server_address(s));
    peer_t working = open_to(s), idle = open_to(s), joining = open_to(s);
    assert_int_equal(ask(&idle, GET("/x")).status, 200);
    assert_true(tell(&working, GET("/gate")));
    assert_true(tell(&joining, JOIN("a", "1")));
    gate_await(2);
    assert_int_equal(pthread_create(&opener, NULL, open_gate, address), 0);
    http_server_stop(s, LONG_MS);
    assert_true(answer(&working, false).status == 200 && ended(&working));
    assert_string_equal(answer(&joining, false).body, "joined a");
    assert_true(ended(&idle));
    pthread_join(opener, NULL);
    shut(&working);
    shut(&idle);
    shut(&joining);
}

/* Who doesn't finish in time is cut off. */
static void impatient_stop(void **state)
{
    (void)state;
    http_server_t *s = start(NULL);
    peer_t half = open_to(s), lazy = open_to(s);
    assert_true(tell(&half, "GET / HTTP/1.1\r\nHost: x\r\n"));
    assert_true(tell(&lazy, GET("/big")));
    while (done_n < 1 || stats(s).accepted < 2) usleep(1000);
    http_server_stop(s, 50);
    assert_true(ended(&half));
    shut(&half);
    shut(&lazy);
}

/* ---- where it listens -------------------------------------------------------------------------------------- */

static void addresses(void **state)
{
    (void)state;
    char folder[64], listen_text[200], path[100];
    struct stat st;
    lh_folder(folder);
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(listen_text, sizeof listen_text, "127.0.0.1:0,unix:%s,[::1]:0", path);
    http_options_t o = {.listen = listen_text};
    http_server_t *s = NULL;
    vch_rc rc = http_server_start(&s, &o, &service, &lh_err);
    if (rc != VCH_OK) { /* a machine without IPv6 */
        snprintf(listen_text, sizeof listen_text, "127.0.0.1:0,unix:%s", path);
        s = start(&o);
    }
    gate_set(true);
    char one[VCH_ADDRESS_MAX], uds[VCH_ADDRESS_MAX];
    snprintf(one, sizeof one, "%.*s", (int)strcspn(http_server_address(s), ","), http_server_address(s));
    assert_memory_equal(one, "127.0.0.1:", 10);
    assert_string_not_equal(one, "127.0.0.1:0");
    snprintf(uds, sizeof uds, "unix:%s", path);
    assert_non_null(strstr(http_server_address(s), uds));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    peer_t p = {.fd = connect_to(uds)};
    assert_string_equal(ask(&p, "GET /who HTTP/1.1\r\nHost: any.example\r\n\r\n").body, "local nobody");
    shut(&p);
    http_options_t again = {.listen = uds};
    http_server_t *second;
    LH_IS(VCH_ERR_CONFLICT, http_server_start(&second, &again, &service, &lh_err));
    again.listen = one;
    LH_IS(VCH_ERR_CONFLICT, http_server_start(&second, &again, &service, &lh_err));
    http_server_stop(s, LONG_MS);
    assert_int_equal(stat(path, &st), -1);
    int dead = -1; /* a socket file that a killed process left */
    LH_OK(vch_socket_listen(&dead, uds, 1, &lh_err));
    close(dead);
    again.listen = uds;
    s = start(&again);
    http_server_stop(s, LONG_MS);
    lh_remove(folder);
}

static void refused_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ",",
                                      "7117",
                                      "127.0.0.1",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:x",
                                      "::1:7117",
                                      "[127.0.0.1]:1",
                                      "node.example:1",
                                      "unix:",
                                      "127.0.0.1:0,,127.0.0.1:0"};
    http_server_t *s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        http_options_t o = {.listen = bad[i]};
        LH_IS(VCH_ERR_USAGE, http_server_start(&s, &o, &service, &lh_err));
    }
    /* plain HTTP that others can reach: only when asked for */
    http_options_t o = {.listen = "0.0.0.0:0"};
    LH_IS(VCH_ERR_USAGE, http_server_start(&s, &o, &service, &lh_err));
    assert_true(lh_err.hint[0]);
    o.listen = "127.0.0.1:0,0.0.0.0:0";
    LH_IS(VCH_ERR_USAGE, http_server_start(&s, &o, &service, &lh_err));
    o.public_plain = true;
    s = start(&o);
    http_server_stop(s, LONG_MS);
    o = (http_options_t){.listen = "127.0.0.1:0", .tls_cert = "/nonexistent/cert.pem"};
    LH_IS(VCH_ERR_USAGE, http_server_start(&s, &o, &service, &lh_err));
    o.tls_key = "/nonexistent/key.pem";
    LH_IS(VCH_ERR_KEY, http_server_start(&s, &o, &service, &lh_err));
}

static void handed_over(void **state)
{
    (void)state;
    int fd = -1, pair[2];
    LH_OK(vch_socket_listen(&fd, "127.0.0.1:0", 16, &lh_err));
    http_options_t o = {.listen = "127.0.0.1:1", .fds = &fd, .fds_n = 1};
    http_server_t *s = start(&o);
    assert_true(still_answers(s));
    http_server_stop(s, LONG_MS);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    o.fds = pair;
    LH_IS(VCH_ERR_USAGE, http_server_start(&s, &o, &service, &lh_err));
    close(pair[0]);
    close(pair[1]);
    LH_OK(vch_socket_listen(&fd, "0.0.0.0:0", 16, &lh_err)); /* the same rule for these */
    o.fds = &fd;
    LH_IS(VCH_ERR_USAGE, http_server_start(&s, &o, &service, &lh_err));
}

/* From this machine, unless a proxy or a web page says otherwise. */
static void who_is_local(void **state)
{
    (void)state;
    static const char *const other[] = {
        "GET /who HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /who HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n",
        "GET /who HTTP/1.1\r\nHost: localhost\r\nForwarded: for=203.0.113.7\r\n\r\n",
        "GET /who HTTP/1.1\r\nHost: 127.0.0.1\r\nVia: 1.1 proxy\r\n\r\n",
    };
    http_server_t *s = start(NULL);
    assert_string_equal(ask_once(s, GET("/who")).body, "local nobody");
    assert_string_equal(ask_once(s, "GET /who HTTP/1.1\r\nHost: 127.0.0.1:7117\r\n\r\n").body, "local nobody");
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        assert_string_equal(ask_once(s, other[i]).body, "remote nobody");
    http_server_stop(s, LONG_MS);
}

/* ---- TLS ---------------------------------------------------------------------------------------------------- */

typedef struct {
    X509 *cert;
    EVP_PKEY *key;
} pair_t;

static pair_t make_pair(const char *type, long serial)
{
    pair_t p = {.cert = X509_new()};
    p.key = strcmp(type, "EC") == 0    ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
            : strcmp(type, "RSA") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
                                       : EVP_PKEY_Q_keygen(NULL, NULL, type);
    assert_non_null(p.key);
    X509_NAME *name = X509_get_subject_name(p.cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"node", -1, -1, 0);
    X509_set_issuer_name(p.cert, name);
    ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(p.cert), -7200);
    X509_gmtime_adj(X509_getm_notAfter(p.cert), serial < 0 ? -3600 : 3600); /* a negative one has expired */
    X509_set_pubkey(p.cert, p.key);
    assert_true(X509_sign(p.cert, p.key, strcmp(type, "ED25519") == 0 ? NULL : EVP_sha256()) > 0);
    return p;
}

static void pair_free(pair_t *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

static void pair_write(const pair_t *p, const char *cert_path, const char *key_path)
{
    FILE *c = fopen(cert_path, "w"), *k = fopen(key_path, "w");
    assert_true(c && k && PEM_write_X509(c, p->cert) == 1);
    assert_int_equal(PEM_write_PrivateKey(k, p->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(c);
    fclose(k);
}

/* The id that the ledger would know this key by, in hex; "nobody" for others. */
static void expected_id(const pair_t *p, char ret[65])
{
    uint8_t bytes[80];
    size_t n = 0;
    vch_pubkey_t key;
    snprintf(ret, 65, "nobody");
    if (EVP_PKEY_get_base_id(p->key) == EVP_PKEY_ED25519) {
        bytes[0] = 0xed;
        bytes[1] = 0x01;
        n = 32;
        assert_int_equal(EVP_PKEY_get_raw_public_key(p->key, bytes + 2, &n), 1);
        n += 2;
    } else if (EVP_PKEY_get_base_id(p->key) == EVP_PKEY_EC) {
        uint8_t point[65];
        assert_int_equal(EVP_PKEY_get_octet_string_param(p->key, "pub", point, sizeof point, &n), 1);
        bytes[0] = 0x80;
        bytes[1] = 0x24;
        bytes[2] = (uint8_t)(2 + (point[64] & 1));
        memcpy(bytes + 3, point + 1, 32);
        n = 35;
    } else {
        return;
    }
    assert_int_equal(vch_pubkey_get(&key, vch_slice(bytes, n)), VCH_OK);
    vch_keyid_t id = vch_pubkey_id(&key);
    vch_hex(ret, id.b, 32);
}

/* NULL client: no certificate.  fd -1 when the handshake was refused. */
static peer_t open_tls(const http_server_t *s, const pair_t *client, int max_version, long *ret_serial)
{
    peer_t p = open_to(s);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, max_version);
    if (client) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, client->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, client->key), 1);
    }
    p.ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_fd(p.ssl, p.fd);
    if (SSL_connect(p.ssl) != 1) {
        shut(&p);
        p.fd = -1;
        return p;
    }
    X509 *cert = SSL_get0_peer_certificate(p.ssl);
    if (ret_serial) *ret_serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));
    return p;
}

typedef struct {
    char folder[64], cert[100], key[100];
} tls_files_t;

static http_server_t *start_tls(tls_files_t *f, uint64_t timeout_ms)
{
    lh_folder(f->folder);
    snprintf(f->cert, sizeof f->cert, "%s/cert.pem", f->folder);
    snprintf(f->key, sizeof f->key, "%s/key.pem", f->folder);
    pair_t pair = make_pair("EC", 1);
    pair_write(&pair, f->cert, f->key);
    pair_free(&pair);
    http_options_t o = {.tls_cert = f->cert, .tls_key = f->key, .timeout_ms = timeout_ms, .listen = "0.0.0.0:0"};
    return start(&o);
}

static void tls_peers(void **state)
{
    (void)state;
    static const char *const type[] = {"ED25519", "EC", "RSA", NULL, "expired"};
    tls_files_t f;
    http_server_t *s = start_tls(&f, 0);
    gate_set(true);
    for (size_t i = 0; i < sizeof type / sizeof *type; i++) {
        char want[80] = "local nobody";
        pair_t client = {.cert = NULL};
        bool expired = type[i] && strcmp(type[i], "expired") == 0; /* the ledger says whose key holds, not a date */
        if (type[i]) {
            client = make_pair(expired ? "ED25519" : type[i], expired ? -9 : 7);
            expected_id(&client, want + 6);
        }
        peer_t p = open_tls(s, type[i] ? &client : NULL, TLS1_3_VERSION, NULL);
        assert_true(p.fd >= 0);
        assert_string_equal(ask(&p, GET("/who")).body, want);
        assert_string_equal(ask(&p, GET("/who")).body, want);
        got_t g = ask(&p, GET("/big"));
        assert_true(g.status == 200 && g.length == 8u << 20);
        assert_int_equal(ask(&p, JOIN("", "0")).status, 200);
        shut(&p);
        pair_free(&client);
    }
    http_server_stop(s, LONG_MS);
    lh_remove(f.folder);
}

static void tls_refusals(void **state)
{
    (void)state;
    tls_files_t f;
    http_server_t *s = start_tls(&f, 0);
    peer_t p = open_tls(s, NULL, TLS1_2_VERSION, NULL);
    assert_int_equal(p.fd, -1);
    p = open_to(s); /* plain HTTP */
    assert_true(tell(&p, GET("/x")));
    char bytes[256];
    size_t n = hear(&p, bytes, sizeof bytes - 1);
    bytes[n] = 0;
    assert_null(strstr(bytes, "HTTP/1.1 200"));
    shut(&p);
    p = open_to(s); /* garbage, and leaving in the middle of a handshake */
    assert_true(tell(&p, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"));
    shut(&p);
    p = open_tls(s, NULL, TLS1_3_VERSION, NULL);
    assert_int_equal(ask(&p, GET("/x")).status, 200);
    shut(&p);
    assert_true(stats(s).malformed >= 2);
    http_server_stop(s, LONG_MS);
    lh_remove(f.folder);
}

/* A handshake that is begun and not finished has the same deadline. */
static void tls_deadline(void **state)
{
    (void)state;
    tls_files_t f;
    http_server_t *s = start_tls(&f, 100);
    peer_t p = open_to(s);
    assert_true(tell(&p, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"));
    assert_true(ended(&p));
    shut(&p);
    assert_int_equal(stats(s).timed_out, 1);
    http_server_stop(s, LONG_MS);
    lh_remove(f.folder);
}

static void tls_reload(void **state)
{
    (void)state;
    tls_files_t f;
    long serial = 0;
    http_server_t *s = start_tls(&f, 0);
    peer_t old = open_tls(s, NULL, TLS1_3_VERSION, &serial);
    assert_int_equal(serial, 1);
    pair_t pair = make_pair("ED25519", 2), other = make_pair("EC", 3);
    pair_write(&pair, f.cert, f.key);
    LH_OK(http_server_reload(s, &lh_err));
    peer_t fresh = open_tls(s, NULL, TLS1_3_VERSION, &serial);
    assert_int_equal(serial, 2);
    assert_int_equal(ask(&old, GET("/x")).status, 200); /* who was here stays */
    shut(&fresh);
    pair_write(&other, f.cert, f.key); /* a key that belongs to another certificate */
    pair_write(&pair, "/dev/null", f.key);
    LH_IS(VCH_ERR_KEY, http_server_reload(s, &lh_err));
    fresh = open_tls(s, NULL, TLS1_3_VERSION, &serial);
    assert_int_equal(serial, 2); /* the last good one serves on */
    shut(&fresh);
    shut(&old);
    pair_free(&pair);
    pair_free(&other);
    http_server_stop(s, LONG_MS);
    lh_remove(f.folder);
}

static void limits_change(void **state)
{
    (void)state;
    http_options_t o = {.max_body = 10, .timeout_ms = LONG_MS}, wider = {.max_body = 20, .timeout_ms = LONG_MS};
    http_server_t *s = start(&o);
    static const char request[] = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n0123456789abcde";
    assert_int_equal(ask_once(s, request).status, 413);
    http_server_limits(s, &wider);
    assert_int_equal(ask_once(s, request).status, 200);
    http_server_stop(s, LONG_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(pipelines),
        cmocka_unit_test(continues),
        cmocka_unit_test(refusals),
        cmocka_unit_test(endless_body),
        cmocka_unit_test(trickles),
        cmocka_unit_test(slow_readers),
        cmocka_unit_test(crowds),
        cmocka_unit_test(work_is_not_ended),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(little_gets_through),
        cmocka_unit_test(batches_join),
        cmocka_unit_test(full_queue),
        cmocka_unit_test(vanishing),
        cmocka_unit_test(graceful_stop),
        cmocka_unit_test(impatient_stop),
        cmocka_unit_test(addresses),
        cmocka_unit_test(refused_addresses),
        cmocka_unit_test(handed_over),
        cmocka_unit_test(who_is_local),
        cmocka_unit_test(tls_peers),
        cmocka_unit_test(tls_refusals),
        cmocka_unit_test(tls_deadline),
        cmocka_unit_test(tls_reload),
        cmocka_unit_test(limits_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
