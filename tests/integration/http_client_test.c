/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client against a server of this test, which behaves well or badly as
 * the path asks: plain, over a unix socket, over TLS. */
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
#include "api/http_client_int.h"
#include "ledger_help.h"

#define LIMIT_MS 20000

/* ---- the server ------------------------------------------------------------------------- */

typedef struct {
    int listener;
    SSL_CTX *tls; /* NULL: none */
    pthread_t thread;
    atomic_uint connections, requests;
    atomic_bool stop;
    unsigned port;
    char peer[64]; /* common name of the client's certificate */
} server_t;

typedef struct {
    server_t *s;
    int fd;
    SSL *ssl;
} peer_t;

static bool peer_wait(peer_t *p)
{
    struct pollfd f = {.fd = p->fd, .events = POLLIN};
    while (!p->s->stop) {
        if (p->ssl && SSL_pending(p->ssl)) return true;
        if (poll(&f, 1, 20) > 0) return true;
    }
    return false;
}

static int peer_read(peer_t *p, char *to, int n)
{
    if (!peer_wait(p)) return 0;
    return p->ssl ? SSL_read(p->ssl, to, n) : (int)recv(p->fd, to, (size_t)n, 0);
}

static void peer_write(peer_t *p, const char *s, size_t n)
{
    if (p->ssl)
        (void)SSL_write(p->ssl, s, (int)n);
    else
        (void)send(p->fd, s, n, MSG_NOSIGNAL);
}

static void say(peer_t *p, const char *s) { peer_write(p, s, strlen(s)); }

static void say_body(peer_t *p, int status, const char *more, const char *body)
{
    char head[512];
    snprintf(head, sizeof head, "HTTP/1.1 %d Whatever\r\n%sContent-Length: %zu\r\n\r\n", status, more, strlen(body));
    say(p, head);
    say(p, body);
}

static const char *value_of(const char *head, const char *name)
{
    const char *at = strstr(head, name);
    return at ? at + strlen(name) : NULL;
}

/* One request is whole in `head`; false ends the connection. */
static bool answer(peer_t *p, const char *head, const char *body)
{
    char text[4096], path[256] = "";
    (void)sscanf(head, "%*s %255s", path);
    if (strcmp(path, "/hello") == 0) {
        say_body(p, 200, "", "hello");
    } else if (strcmp(path, "/chunked") == 0) {
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n");
    } else if (strcmp(path, "/echo") == 0) {
        const char *who = value_of(head, "Authorization: "), *type = value_of(head, "Content-Type: ");
        snprintf(text, sizeof text, "%.20s|%.16s|%s", who ? who : "nobody", type ? type : "none", body);
        say_body(p, 200, "", text);
    } else if (strcmp(path, "/redirect") == 0) {
        say_body(p, 302, "Location: /hello\r\n", "elsewhere");
    } else if (strcmp(path, "/busy") == 0) {
        say_body(p, 429, "Retry-After: 7\r\n", "{}");
    } else if (strcmp(path, "/interim") == 0) {
        say(p, "HTTP/1.1 100 Continue\r\n\r\n");
        say_body(p, 200, "", "hello");
    } else if (strcmp(path, "/last") == 0) { /* says that it stays, and goes */
        say_body(p, 200, "", "hello");
        return false;
    } else if (strcmp(path, "/close") == 0) {
        say(p, "HTTP/1.1 200 OK\r\n\r\nhello");
        return false;
    } else if (strcmp(path, "/cut") == 0) {
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
        return false;
    } else if (strcmp(path, "/cut-chunk") == 0) {
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        return false;
    } else if (strcmp(path, "/silent") == 0) {
        while (!p->s->stop) usleep(10000);
        return false;
    } else if (strcmp(path, "/slow") == 0) {
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
        while (!p->s->stop) usleep(10000);
        return false;
    } else if (strcmp(path, "/two-lengths") == 0) {
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
    } else if (strcmp(path, "/both-lengths") == 0) {
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    } else if (strcmp(path, "/gzip") == 0) {
        say_body(p, 200, "Content-Encoding: gzip\r\n", "hello");
    } else if (strcmp(path, "/nonsense") == 0) {
        say(p, "220 mail.example ESMTP\r\n\r\n");
    } else if (strcmp(path, "/endless-head") == 0) {
        say(p, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 1000; i++)
            say(p, "X-Filler: 0123456789012345678901234567890123456789012345678901234567\r\n");
    } else if (strcmp(path, "/big") == 0) {
        say(p, "HTTP/1.1 200 OK\r\n\r\n");
        for (int i = 0; i < 100 && !p->s->stop; i++) {
            memset(text, 'x', sizeof text);
            peer_write(p, text, sizeof text);
        }
        return false;
    } else {
        say_body(p, 404, "", "nothing");
    }
    return true;
}

static bool serve_one(peer_t *p)
{
    char buffer[16384];
    size_t n = 0, need = 0;
    char *end = NULL;
    while (!end || n < need) {
        int got = peer_read(p, buffer + n, (int)(sizeof buffer - 1 - n));
        if (got <= 0) return false;
        n += (size_t)got;
        buffer[n] = 0;
        end = strstr(buffer, "\r\n\r\n");
        if (!end) continue;
        const char *length = value_of(buffer, "Content-Length: ");
        need = (size_t)(end + 4 - buffer) + (length && length < end ? strtoul(length, NULL, 10) : 0);
    }
    *end = 0;
    p->s->requests++;
    return answer(p, buffer, end + 4);
}

static void *serve_peer(void *ctx)
{
    peer_t p = *(peer_t *)ctx;
    free(ctx);
    bool good = true;
    if (p.s->tls) {
        p.ssl = SSL_new(p.s->tls);
        SSL_set_fd(p.ssl, p.fd);
        good = SSL_accept(p.ssl) == 1;
        X509 *mine = good ? SSL_get_peer_certificate(p.ssl) : NULL;
        if (mine) X509_NAME_get_text_by_NID(X509_get_subject_name(mine), NID_commonName, p.s->peer, sizeof p.s->peer);
        X509_free(mine);
    }
    while (good && serve_one(&p)) {
    }
    if (p.ssl) (void)SSL_shutdown(p.ssl);
    SSL_free(p.ssl);
    close(p.fd);
    return NULL;
}

static void *serve(void *ctx)
{
    server_t *s = ctx;
    pthread_t thread[256];
    size_t n = 0;
    struct pollfd f = {.fd = s->listener, .events = POLLIN};
    while (!s->stop && n < 256) {
        if (poll(&f, 1, 20) <= 0) continue;
        peer_t *p = calloc(1, sizeof *p);
        p->s = s;
        p->fd = accept(s->listener, NULL, NULL);
        if (p->fd < 0) {
            free(p);
            continue;
        }
        s->connections++;
        if (pthread_create(&thread[n++], NULL, serve_peer, p) != 0) abort();
    }
    for (size_t i = 0; i < n; i++) pthread_join(thread[i], NULL);
    return NULL;
}

static void server_run(server_t *s)
{
    if (listen(s->listener, 64) != 0 || pthread_create(&s->thread, NULL, serve, s) != 0) abort();
}

static void server_tcp(server_t *s, SSL_CTX *tls)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    memset(s, 0, sizeof *s);
    s->tls = tls;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(s->listener, (struct sockaddr *)&a, sizeof a) != 0) abort();
    if (getsockname(s->listener, (struct sockaddr *)&a, &n) != 0) abort();
    s->port = ntohs(a.sin_port);
    server_run(s);
}

static void server_unix(server_t *s, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    memset(s, 0, sizeof *s);
    s->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(s->listener, (struct sockaddr *)&a, sizeof a) != 0) abort();
    server_run(s);
}

static void server_stop(server_t *s)
{
    s->stop = true;
    pthread_join(s->thread, NULL);
    close(s->listener);
    SSL_CTX_free(s->tls);
}

/* ---- asking -------------------------------------------------------------------------------- */

static vch_transport_t *client(const http_client_options_t *o)
{
    vch_transport_t *t;
    static const http_client_options_t none;
    LH_OK(http_client_new(&t, o ? o : &none, &lh_err));
    return t;
}

typedef struct {
    vch_answer_t a;
    char text[4096];
} got_t;

static got_t ask_full(vch_transport_t *t, const vch_ask_t *ask, uint64_t limit_ms)
{
    got_t g = {.a = {.rc = VCH_OK}};
    vch_buf_init(&g.a.body, 65536);
    t->ask(t, ask, &g.a, 1, limit_ms);
    snprintf(g.text, sizeof g.text, "%.*s", (int)g.a.body.n, (const char *)g.a.body.p);
    vch_buf_free(&g.a.body);
    return g;
}

static got_t ask_url(vch_transport_t *t, const char *url)
{
    vch_ask_t ask = {.url = url};
    return ask_full(t, &ask, LIMIT_MS);
}

static got_t get(vch_transport_t *t, const server_t *s, const char *path)
{
    char url[200];
    snprintf(url, sizeof url, "http%s://127.0.0.1:%u%s", s->tls ? "s" : "", s->port, path);
    return ask_url(t, url);
}

static void is_hello(got_t g)
{
    if (g.a.rc != VCH_OK) fail_msg("%s", g.a.err.text);
    assert_int_equal(g.a.status, 200);
    assert_string_equal(g.text, "hello");
}

static void is_refused(got_t g, const char *why)
{
    assert_int_equal(g.a.rc, VCH_ERR_UNREACHABLE);
    assert_int_equal(g.text[0], 0);
    if (!strstr(g.a.err.text, why)) fail_msg("\"%s\" does not say \"%s\"", g.a.err.text, why);
}

static void good_answers(void **state)
{
    static const char *const path[] = {"/hello", "/chunked", "/interim", "/close", "/last", "/hello"};
    server_t s;
    vch_transport_t *t = client(NULL);
    (void)state;
    server_tcp(&s, NULL);
    for (size_t i = 0; i < sizeof path / sizeof *path; i++) is_hello(get(t, &s, path[i]));
    got_t g = get(t, &s, "/redirect"); /* told, not followed */
    assert_int_equal(g.a.status, 302);
    assert_string_equal(g.text, "elsewhere");
    g = get(t, &s, "/busy");
    assert_int_equal(g.a.status, 429);
    assert_int_equal(g.a.retry_after_s, 7);
    t->free(t);
    server_stop(&s);
}

static void bad_answers(void **state)
{
    static const char *const bad[][2] = {{"/cut", "in the middle"},        {"/cut-chunk", "in the middle"},
                                         {"/two-lengths", "length twice"}, {"/both-lengths", "length twice"},
                                         {"/gzip", "compressed"},          {"/nonsense", "HTTP/1.1"},
                                         {"/endless-head", "longer than"}, {"/big", "longer than 65536 bytes"}};
    server_t s;
    vch_transport_t *t = client(NULL);
    (void)state;
    server_tcp(&s, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        is_refused(get(t, &s, bad[i][0]), bad[i][1]);
        is_hello(get(t, &s, "/hello")); /* and the next question is not harmed */
    }
    t->free(t);
    server_stop(&s);
}

static void posts(void **state)
{
    server_t s;
    char url[100];
    vch_transport_t *t = client(NULL);
    (void)state;
    server_tcp(&s, NULL);
    snprintf(url, sizeof url, "http://localhost:%u/echo", s.port);
    vch_ask_t ask = {.url = url,
                     .post = true,
                     .type = "application/cbor",
                     .authorization = "Vouch AAAABBBBCCCCDDDD",
                     .body = vch_str("signed bytes")};
    got_t g = ask_full(t, &ask, LIMIT_MS);
    assert_string_equal(g.text, "Vouch AAAABBBBCCCCDD|application/cbor|signed bytes");
    ask.authorization = "Vouch AAAA\r\nX-Injected: yes";
    g = ask_full(t, &ask, LIMIT_MS);
    assert_int_equal(g.a.rc, VCH_ERR_USAGE);
    assert_int_equal(s.requests, 1);
    t->free(t);
    server_stop(&s);
}

static void connection_is_kept(void **state)
{
    server_t s;
    vch_transport_t *t = client(NULL);
    (void)state;
    server_tcp(&s, NULL);
    for (int i = 0; i < 20; i++) is_hello(get(t, &s, "/hello"));
    assert_int_equal(s.connections, 1);
    is_hello(get(t, &s, "/last")); /* closed while it idles: asked again over another */
    for (int i = 0; i < 3; i++) is_hello(get(t, &s, "/hello"));
    assert_int_equal(s.requests, 24);
    assert_int_equal(s.connections, 2);
    t->free(t);
    server_stop(&s);
}

#define MANY 200

/* The slow ones don't hold up the others, and one deadline ends them all. */
static void many_at_once(void **state)
{
    static vch_ask_t ask[MANY];
    static vch_answer_t ret[MANY];
    static char url[MANY][100];
    server_t s;
    vch_transport_t *t = client(NULL);
    (void)state;
    server_tcp(&s, NULL);
    for (int i = 0; i < MANY; i++) {
        snprintf(url[i], sizeof url[i], "http://127.0.0.1:%u%s", s.port,
                 i % 50 == 7   ? "/silent"
                 : i % 50 == 8 ? "/slow"
                               : "/hello");
        ask[i] = (vch_ask_t){.url = url[i]};
        vch_buf_init(&ret[i].body, 1024);
    }
    t->ask(t, ask, ret, MANY, 3000);
    for (int i = 0; i < MANY; i++) {
        bool slow = i % 50 == 7 || i % 50 == 8;
        assert_int_equal(ret[i].rc, slow ? VCH_ERR_UNREACHABLE : VCH_OK);
        if (slow) assert_non_null(strstr(ret[i].err.text, "no answer within 3000 ms"));
        if (!slow) assert_int_equal(ret[i].body.n, 5);
        if (slow) assert_int_equal(ret[i].body.n, 0);
        vch_buf_free(&ret[i].body);
    }
    t->free(t);
    server_stop(&s);
}

static void nobody_there(void **state)
{
    char url[100];
    server_t s;
    vch_transport_t *t = client(NULL);
    (void)state;
    server_tcp(&s, NULL);
    unsigned port = s.port;
    server_stop(&s);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/hello", port);
    is_refused(ask_url(t, url), "refused");
    snprintf(url, sizeof url, "http://localhost:%u/hello", port);
    is_refused(ask_url(t, url), "refused");
    is_refused(ask_url(t, "unix:/nowhere/at/all.sock:/hello"), "No such file");
    assert_int_equal(ask_url(t, "ftp://127.0.0.1/hello").a.rc, VCH_ERR_USAGE);
    t->free(t);
}

static void over_a_unix_socket(void **state)
{
    char folder[64], path[100], url[140];
    server_t s;
    vch_transport_t *t = client(NULL);
    (void)state;
    lh_folder(folder);
    snprintf(path, sizeof path, "%s/node.sock", folder);
    snprintf(url, sizeof url, "unix:%s:/hello", path);
    server_unix(&s, path);
    for (int i = 0; i < 3; i++) is_hello(ask_url(t, url));
    assert_int_equal(s.connections, 1);
    t->free(t);
    server_stop(&s);
    lh_remove(folder);
}

/* ---- TLS ------------------------------------------------------------------------------------ */

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    if (!key) abort();
    return key;
}

static void add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    if (!e || X509_add_ext(x, e, -1) != 1) abort();
    X509_EXTENSION_free(e);
}

/* A certificate of `key` for `names`, signed by the issuer's key (or its own). */
static X509 *new_cert(EVP_PKEY *key, const char *common, const char *names, X509 *issuer, EVP_PKEY *by, int days)
{
    static long serial = 1;
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -2L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(x), (long)days * 86400);
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common, -1, -1, 0);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
    if (names) add_extension(x, NID_subject_alt_name, names);
    if (!issuer) add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
    if (!X509_sign(x, by ? by : key, EVP_sha256())) abort();
    return x;
}

static void put_pem(const char *path, X509 *cert, EVP_PKEY *key)
{
    FILE *f = fopen(path, "w");
    if (!f) abort();
    if (cert) PEM_write_X509(f, cert);
    if (key) PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

typedef struct {
    char folder[64], ca[100], cert[100], key[100];
    EVP_PKEY *ca_key;
    X509 *ca_cert;
} pki_t;

static void pki_new(pki_t *p)
{
    lh_folder(p->folder);
    snprintf(p->ca, sizeof p->ca, "%s/ca.pem", p->folder);
    snprintf(p->cert, sizeof p->cert, "%s/cert.pem", p->folder);
    snprintf(p->key, sizeof p->key, "%s/key.pem", p->folder);
    p->ca_key = new_key();
    p->ca_cert = new_cert(p->ca_key, "test authority", NULL, NULL, NULL, 10);
    put_pem(p->ca, p->ca_cert, NULL);
    EVP_PKEY *key = new_key();
    X509 *cert = new_cert(key, "clinic-a", NULL, p->ca_cert, p->ca_key, 10);
    put_pem(p->cert, cert, NULL);
    put_pem(p->key, NULL, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void pki_free(pki_t *p)
{
    X509_free(p->ca_cert);
    EVP_PKEY_free(p->ca_key);
    lh_remove(p->folder);
}

static SSL_CTX *server_tls(pki_t *p, const char *names, int days, int max_version)
{
    SSL_CTX *x = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = new_key();
    X509 *cert = new_cert(key, "node", names, p->ca_cert, p->ca_key, days);
    SSL_CTX_set_max_proto_version(x, max_version);
    if (SSL_CTX_use_certificate(x, cert) != 1 || SSL_CTX_use_PrivateKey(x, key) != 1) abort();
    if (SSL_CTX_load_verify_file(x, p->ca) != 1) abort();
    SSL_CTX_set_verify(x, SSL_VERIFY_PEER, NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
    return x;
}

static void tls_good(void **state)
{
    pki_t p;
    server_t s;
    char url[100];
    (void)state;
    pki_new(&p);
    server_tcp(&s, server_tls(&p, "DNS:localhost,IP:127.0.0.1", 10, 0));
    http_client_options_t o = {.ca_file = p.ca, .tls_cert = p.cert, .tls_key = p.key};
    vch_transport_t *t = client(&o);
    snprintf(url, sizeof url, "https://localhost:%u/hello", s.port);
    is_hello(ask_url(t, url));
    is_hello(ask_url(t, url));
    is_hello(get(t, &s, "/chunked")); /* by the address */
    is_hello(get(t, &s, "/close"));
    assert_int_equal(s.connections, 2);
    assert_string_equal(s.peer, "clinic-a");
    t->free(t);
    server_stop(&s);
    pki_free(&p);
}

static void tls_refused(pki_t *p, const char *names, int days, int version, const char *ca, const char *why)
{
    server_t s;
    char url[100];
    server_tcp(&s, server_tls(p, names, days, version));
    http_client_options_t o = {.ca_file = ca};
    vch_transport_t *t = client(&o);
    snprintf(url, sizeof url, "https://localhost:%u/hello", s.port);
    is_refused(ask_url(t, url), why);
    assert_int_equal(s.requests, 0);
    t->free(t);
    server_stop(&s);
}

static void tls_bad(void **state)
{
    pki_t p, other;
    vch_transport_t *t;
    (void)state;
    pki_new(&p);
    pki_new(&other);
    tls_refused(&p, "DNS:elsewhere.example", 10, 0, p.ca, "hostname mismatch");
    tls_refused(&p, "DNS:localhost.elsewhere.example", 10, 0, p.ca, "hostname mismatch");
    tls_refused(&p, "DNS:localhost", -1, 0, p.ca, "expired");
    tls_refused(&p, "DNS:localhost", 10, 0, other.ca, "not believed");
    tls_refused(&p, "DNS:localhost", 10, 0, NULL, "not believed");
    tls_refused(&p, "DNS:localhost", 10, TLS1_2_VERSION, p.ca, "TLS failed");
    http_client_options_t none = {.ca_file = "/nowhere/ca.pem"}, half = {.tls_cert = p.cert};
    http_client_options_t wrong = {.tls_cert = p.cert, .tls_key = other.key};
    LH_IS(VCH_ERR_KEY, http_client_new(&t, &none, &lh_err));
    LH_IS(VCH_ERR_USAGE, http_client_new(&t, &half, &lh_err));
    LH_IS(VCH_ERR_KEY, http_client_new(&t, &wrong, &lh_err));
    pki_free(&other);
    pki_free(&p);
}

/* ---- the pure half ----------------------------------------------------------------------------- */

static void urls(void **state)
{
    http_url_t u;
    (void)state;
    LH_OK(http_url_get(&u, "https://node.example:7117/v1/info?x=1", &lh_err));
    assert_true(u.tls && !u.numeric && !u.loopback && u.port == 7117);
    assert_string_equal(u.authority, "node.example:7117");
    assert_true(vch_slice_eq(u.target, vch_str("/v1/info?x=1")));
    LH_OK(http_url_get(&u, "http://[::1]/a", &lh_err));
    assert_true(!u.tls && u.numeric && u.loopback && u.port == 80);
    assert_string_equal(u.authority, "[::1]:80");
    LH_OK(http_url_get(&u, "http://127.9.8.7:1/", &lh_err));
    assert_true(u.loopback);
    LH_OK(http_url_get(&u, "https://10.0.0.1/", &lh_err));
    assert_true(!u.loopback && u.numeric && u.port == 443);
    LH_OK(http_url_get(&u, "unix:/run/node.sock:/v1/info", &lh_err));
    assert_true(u.is_unix && u.loopback);
    assert_string_equal(u.host, "/run/node.sock");
    static const char *const bad[] = {"",
                                      "node.example/",
                                      "https://",
                                      "https:///x",
                                      "https://node.example",
                                      "https://a b/",
                                      "https://user@host/",
                                      "https://host:/",
                                      "https://host:0/",
                                      "https://host:65536/",
                                      "https://host:7x/",
                                      "https://[::1/",
                                      "https://[x]/",
                                      "https://host/a b",
                                      "https://host/\r\nX: y",
                                      "https://host/#part",
                                      "unix:relative:/x",
                                      "unix:/sock",
                                      "unix:/sock:",
                                      "https://host:1:2/",
                                      "http://:80/",
                                      "https://[::1]x/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (http_url_get(&u, bad[i], &lh_err) != VCH_ERR_USAGE) fail_msg("\"%s\" was taken", bad[i]);
}

/* However the bytes are cut, the same comes out. */
static void any_pieces(void **state)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nRetry-After: 3\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a\r\n world\r\n0\r\nX: y\r\n\r\nREST";
    const size_t all = sizeof text - 1;
    http_reply_t *r = calloc(1, sizeof *r);
    (void)state;
    for (size_t cut = 0; cut <= all - 4; cut++) {
        vch_buf_t body;
        size_t one = 0, two = 0;
        vch_buf_init(&body, 100);
        http_reply_begin(r);
        LH_OK(http_reply_feed(r, vch_slice(text, cut), &one, &body, &lh_err));
        LH_OK(http_reply_feed(r, vch_slice(text + one, all - one), &two, &body, &lh_err));
        assert_true(http_reply_done(r) && r->keep && r->status == 200 && r->retry_after_s == 3);
        assert_int_equal(one + two, all - 4);
        assert_true(vch_slice_eq(vch_buf_slice(&body), vch_str("hello world")));
        vch_buf_free(&body);
    }
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),         cmocka_unit_test(any_pieces),
        cmocka_unit_test(good_answers), cmocka_unit_test(bad_answers),
        cmocka_unit_test(posts),        cmocka_unit_test(connection_is_kept),
        cmocka_unit_test(many_at_once), cmocka_unit_test(over_a_unix_socket),
        cmocka_unit_test(nobody_there), cmocka_unit_test(tls_good),
        cmocka_unit_test(tls_bad),
    };
    return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
