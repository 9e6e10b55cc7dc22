/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of requests and chunked bodies: what is read, what is refused, and that
 * it makes no difference how the bytes were cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/http_head.h"

/* Status of a whole head given at once; *ret_end as http_head_end says. */
static int read_bytes(http_head_t *ret, const char *p, size_t n, size_t *ret_end)
{
    size_t seen = 0;
    const char *why = NULL;
    int status = http_head_end((const uint8_t *)p, n, &seen, ret_end);
    if (status || !*ret_end) return status;
    status = http_head_read(ret, vch_slice(p, *ret_end), &why);
    assert_true(status == 0 || (why && *why));
    return status;
}

static int read_text(http_head_t *ret, const char *text)
{
    size_t end = 0;
    int status = read_bytes(ret, text, strlen(text), &end);
    assert_true(status || end);
    return status;
}

static bool is(vch_slice_t s, const char *text) { return vch_slice_eq(s, vch_str(text)); }

static void good_heads(void **state)
{
    (void)state;
    http_head_t h;
    assert_int_equal(read_text(&h, "GET /v1/find?id=ab%20c&x=1 HTTP/1.1\r\nHost: node.example\r\n\r\n"), 0);
    assert_true(h.method == HTTP_GET && is(h.path, "/v1/find") && is(h.query, "id=ab%20c&x=1") && h.keep);
    assert_true(is(h.host, "node.example") && h.length == 0 && !h.chunked && !h.expects && !h.forwarded);
    assert_int_equal(read_text(&h, "POST /v1/submit HTTP/1.1\r\nhOST:x\r\nCONTENT-length: 12 \r\nAuthorization: Vouch "
                                   "abc=\r\nContent-Type:\tapplication/cbor\r\nExpect: 100-Continue\r\n\r\n"),
                     0);
    assert_true(h.method == HTTP_POST && h.length == 12 && h.expects && is(h.authorization, "Vouch abc="));
    assert_true(is(h.content_type, "application/cbor") && h.query.n == 0);
    assert_int_equal(read_text(&h, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"), 0);
    assert_true(h.chunked);
    assert_int_equal(read_text(&h, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Close\r\nVia: 1.1 p\r\n\r\n"),
                     0);
    assert_true(h.method == HTTP_HEAD && !h.keep && h.forwarded);
    assert_int_equal(read_text(&h, "DELETE http://other.example/a/b?c HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
    assert_true(h.method == HTTP_OTHER && is(h.path, "/a/b") && is(h.query, "c") && is(h.host, "x"));
    assert_int_equal(read_text(&h, "GET / HTTP/1.0\r\n\r\n"), 0);
    assert_true(!h.keep && h.host.n == 0);
    assert_int_equal(read_text(&h, "GET /%C3%A9%2B..x/.hidden/... HTTP/1.1\r\nHost: x\r\nX-Any: \xc3\xa9\tz\r\n\r\n"),
                     0);
}

typedef struct {
    int status;
    const char *text;
} bad_t;

static const bad_t bad[] = {
    /* the line */
    {400, "GET / HTTP/1.1 \r\nHost: x\r\n\r\n"},
    {400, "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /\r\nHost: x\r\n\r\n"},
    {400, "G(T / HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET / http/1.1\r\nHost: x\r\n\r\n"},
    {505, "GET / HTTP/2.0\r\nHost: x\r\n\r\n"},
    {505, "GET / HTTP/1.2\r\nHost: x\r\n\r\n"},
    {400, "GET * HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET x HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"},
    /* the path */
    {400, "GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /.. HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a/. HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a/%2e%2E/b HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a/.%2e HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%5cb HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a\\b HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%00 HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%0d%0ab HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%7f HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%4 HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a% HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%ff HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%c0%af HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a%ed%a0%80 HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a\x01 HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /a\"b HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /?a%0a HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /?a%ff HTTP/1.1\r\nHost: x\r\n\r\n"},
    {400, "GET /?a%1 HTTP/1.1\r\nHost: x\r\n\r\n"},
    /* the headers */
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost : x\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\nX(: y\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\nX: a\x02\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\nHost: x\n\n"},
    {400, "GET / HTTP/1.1\r\nHost: x\n\r\n"},
    {400, "\x16\x03\x01"},
    /* lengths */
    {400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n"},
    {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {417, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n\r\n"},
};

static void bad_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        http_head_t h;
        size_t end = 0;
        int status = read_bytes(&h, bad[i].text, strlen(bad[i].text), &end);
        if (status != bad[i].status) print_message("%d, not %d: %s\n", status, bad[i].status, bad[i].text);
        assert_int_equal(status, bad[i].status);
    }
}

/* One byte more each time: the end is found at the last byte, not before. */
static void cut_anywhere(void **state)
{
    (void)state;
    static const char text[] = "POST /v1/submit?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nX: y\r\n\r\nabc";
    size_t whole = sizeof text - 1 - 3, seen = 0, end = 0;
    for (size_t n = 0; n <= sizeof text - 1; n++) {
        assert_int_equal(http_head_end((const uint8_t *)text, n, &seen, &end), 0);
        assert_int_equal(end, n >= whole ? whole : 0);
        if (end) break;
    }
    for (size_t n = 0; n <= sizeof text - 1; n++) { /* and all at once */
        seen = 0;
        assert_int_equal(http_head_end((const uint8_t *)text, n, &seen, &end), 0);
        assert_int_equal(end, n >= whole ? whole : 0);
    }
}

static size_t filled(char *p, const char *before, size_t n, const char *after)
{
    size_t at = strlen(before);
    memcpy(p, before, at);
    memset(p + at, 'a', n);
    memcpy(p + at + n, after, strlen(after) + 1);
    return at + n + strlen(after);
}

static void limits(void **state)
{
    (void)state;
    static char text[65536];
    http_head_t h;
    size_t end = 0, n;
    n = filled(text, "GET /", HTTP_PATH_MAX - 1, " HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(read_bytes(&h, text, n, &end), 0);
    n = filled(text, "GET /", HTTP_PATH_MAX, " HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(read_bytes(&h, text, n, &end), 414);
    n = filled(text, "GET /", HTTP_LINE_MAX + 1, "");
    assert_int_equal(read_bytes(&h, text, n, &end), 414);
    n = filled(text, "GET / HTTP/1.1\r\nHost: x\r\nX: ", HTTP_HEADERS_MAX - 14, "\r\n\r\n");
    assert_int_equal(read_bytes(&h, text, n, &end), 0);
    n = filled(text, "GET / HTTP/1.1\r\nHost: x\r\nX: ", HTTP_HEADERS_MAX - 13, "\r\n\r\n");
    assert_int_equal(read_bytes(&h, text, n, &end), 431);
    n = filled(text, "GET / HTTP/1.1\r\nHost: x\r\nX: ", 40000, "");
    assert_int_equal(read_bytes(&h, text, n, &end), 431);
    n = filled(text, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: ", HTTP_HEADER_MAX, "\r\n\r\n");
    assert_int_equal(read_bytes(&h, text, n, &end), 0);
    n = filled(text, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: ", HTTP_HEADER_MAX + 1, "\r\n\r\n");
    assert_int_equal(read_bytes(&h, text, n, &end), 400);
    for (size_t fields = HTTP_FIELDS_MAX; fields <= HTTP_FIELDS_MAX + 1; fields++) {
        n = filled(text, "GET / HTTP/1.1\r\nHost: x\r\n", 0, "");
        for (size_t i = 1; i < fields; i++) n += filled(text + n, "X: y\r\n", 0, "");
        memcpy(text + n, "\r\n", 3);
        assert_int_equal(read_bytes(&h, text, n + 2, &end), fields == HTTP_FIELDS_MAX ? 0 : 431);
    }
}

/* ---- chunks ------------------------------------------------------------------------ */

/* The body's status when it comes in pieces of `piece` bytes; what was left
 * over in *ret_left. */
static int take(const char *text, size_t piece, size_t max, vch_buf_t *body, bool *ret_done, size_t *ret_left)
{
    http_chunks_t c = {.done = false};
    size_t n = strlen(text), at = 0;
    int status = 0;
    vch_buf_init(body, max);
    while (at < n && !c.done && status == 0) {
        size_t used = 0, now = n - at < piece ? n - at : piece;
        status = http_chunks_take(&c, (const uint8_t *)text + at, now, &used, body);
        assert_true(used <= now && (used == now || c.done || status));
        at += used;
    }
    *ret_done = c.done;
    *ret_left = n - at;
    return status;
}

static void good_chunks(void **state)
{
    (void)state;
    static const char text[] =
        "5\r\nhello\r\n00A;name=\"value\"\r\n, chunks!!\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\nGET";
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        vch_buf_t body;
        bool done;
        size_t left;
        assert_int_equal(take(text, piece, 15, &body, &done, &left), 0);
        assert_true(done && left == 3);
        assert_true(is(vch_buf_slice(&body), "hello, chunks!!"));
        vch_buf_free(&body);
    }
}

static const bad_t bad_chunks[] = {
    {400, "\r\n"},          {400, "g\r\n"},
    {400, "-1\r\nx\r\n"},   {400, "5 \r\nhello\r\n"},
    {400, "5\nhello"},      {400, "5\r\nhelloX"},
    {400, "5\r\nhello\rX"}, {400, "0\r\n\rX"},
    {413, "10\r\nx"},       {413, "fffffff0\r\nx"},
    {413, "123456789\r\n"}, {413, "8\r\n12345678\r\n8\r\nx"},
    {400, "5;\x01\r\n"},    {400, "0\r\nA: \x01\r\n"},
    {400, "5\rhello\r\n"},  {400, ";x\r\n"},
};

static void refused_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_chunks / sizeof *bad_chunks; i++)
        for (size_t piece = 1; piece < 20; piece++) {
            vch_buf_t body;
            bool done;
            size_t left;
            int status = take(bad_chunks[i].text, piece, 15, &body, &done, &left);
            if (status != bad_chunks[i].status) print_message("%d: %s\n", status, bad_chunks[i].text);
            assert_int_equal(status, bad_chunks[i].status);
            assert_false(done);
            assert_true(body.n <= 15);
            vch_buf_free(&body);
        }
}

static void endless_lines(void **state)
{
    (void)state;
    static char text[20000];
    vch_buf_t body;
    bool done;
    size_t left;
    (void)filled(text, "5;", 10000, "");
    assert_int_equal(take(text, 1000, 15, &body, &done, &left), 400);
    (void)filled(text, "0\r\nX: ", 10000, "");
    assert_int_equal(take(text, 1000, 15, &body, &done, &left), 431);
    size_t n = filled(text, "0\r\n", 0, "");
    while (n < 10000) n += filled(text + n, "X: y\r\n", 0, "");
    assert_int_equal(take(text, 1000, 15, &body, &done, &left), 431); /* many short ones */
    (void)filled(text, "00000000", 0, "5\r\n");
    assert_int_equal(take(text, 1000, 15, &body, &done, &left), 413);
}

static void hosts(void **state)
{
    (void)state;
    static const char *const local[] = {"localhost",      "LocalHost:1", "127.0.0.1",
                                        "127.0.0.1:7117", "[::1]",       "[::1]:65535"};
    static const char *const other[] = {"",
                                        "localhost.example",
                                        "127.0.0.1.example",
                                        "127.0.0.2",
                                        "localhost:",
                                        "localhost:x",
                                        "localhost:123456",
                                        "[::1]x",
                                        "node.example"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) assert_true(http_host_is_local(vch_str(local[i])));
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) assert_false(http_host_is_local(vch_str(other[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_heads),    cmocka_unit_test(bad_heads),   cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(limits),        cmocka_unit_test(good_chunks), cmocka_unit_test(refused_chunks),
        cmocka_unit_test(endless_lines), cmocka_unit_test(hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
