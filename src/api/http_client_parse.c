/* SPDX-License-Identifier: Apache-2.0 */
/* URLs and answers (RFC 9112), read strictly. */
#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

#include "api/http_client_int.h"
#include "codec/text.h"

/* ---- URLs ------------------------------------------------------------------------- */

static vch_rc bad_url(const char *text, const char *why, vch_err_t *err)
{
    vch_fail(err, VCH_ERR_USAGE, "\"%.200s\" is no node's URL: %s", text, why);
    return vch_hint(err, VCH_ERR_USAGE, "write https://HOST:PORT, http://127.0.0.1:PORT or unix:/PATH");
}

static bool plain_target(const char *s)
{
    if (*s != '/') return false;
    for (; *s; s++)
        if (*s <= ' ' || *s >= 127 || *s == '#') return false;
    return true;
}

static vch_rc get_unix(http_url_t *u, const char *text, vch_err_t *err)
{
    const char *path = text + 5, *end = strstr(path, ":/");
    size_t n = end ? (size_t)(end - path) : 0;
    if (*path != '/' || n == 0 || n > 107) return bad_url(text, "a socket's path has 1 to 107 bytes", err);
    if (!plain_target(end + 1)) return bad_url(text, "what is asked for must be a path", err);
    u->is_unix = u->loopback = true;
    memcpy(u->host, path, n);
    u->host[n] = 0;
    memcpy(u->authority, "localhost", 10);
    u->target = vch_str(end + 1);
    return VCH_OK;
}

static bool is_loopback(http_url_t *u)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, u->host, &v4) == 1) {
        u->numeric = true;
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    if (inet_pton(AF_INET6, u->host, &v6) == 1) {
        u->numeric = true;
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcasecmp(u->host, "localhost") == 0;
}

static bool plain_host(const char *s, size_t n, bool bracketed)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (!(letter || digit || c == '.' || (bracketed ? c == ':' : c == '-' || c == '_'))) return false;
    }
    return n > 0 && n < 256;
}

static bool get_port(http_url_t *u, const char *p, size_t n)
{
    uint64_t port = u->tls ? 443 : 80;
    if (n && (*p != ':' || vch_decimal_get(&port, vch_slice(p + 1, n - 1)) != VCH_OK)) return false;
    u->port = (uint16_t)port;
    return port >= 1 && port <= 65535;
}

static vch_rc get_host(http_url_t *u, const char *text, const char *host, vch_err_t *err)
{
    struct in6_addr v6;
    size_t all = strcspn(host, "/");
    bool bracketed = *host == '[';
    size_t n = bracketed ? strcspn(host, "]") : strcspn(host, ":/"), skip = bracketed ? 1 : 0;
    if (n + skip > all || n <= skip || !plain_host(host + skip, n - skip, bracketed))
        return bad_url(text, "the host's name is wrong", err);
    memcpy(u->host, host + skip, n - skip);
    u->host[n - skip] = 0;
    if (bracketed && inet_pton(AF_INET6, u->host, &v6) != 1) return bad_url(text, "the host's address is wrong", err);
    if (!get_port(u, host + n + skip, all - n - skip)) return bad_url(text, "the port is wrong", err);
    int used = snprintf(u->authority, sizeof u->authority, bracketed ? "[%s]:%u" : "%s:%u", u->host, u->port);
    if (used < 0 || (size_t)used >= sizeof u->authority) return bad_url(text, "the host's name is too long", err);
    if (!plain_target(host + all)) return bad_url(text, "what is asked for must be a path", err);
    u->loopback = is_loopback(u);
    u->target = vch_str(host + all);
    return VCH_OK;
}

vch_rc http_url_get(http_url_t *ret, const char *text, vch_err_t *err)
{
    http_url_t u = {.port = 0};
    vch_rc rc;
    if (strncmp(text, "unix:", 5) == 0)
        rc = get_unix(&u, text, err);
    else if (strncmp(text, "https://", 8) == 0) {
        u.tls = true;
        rc = get_host(&u, text, text + 8, err);
    } else if (strncmp(text, "http://", 7) == 0)
        rc = get_host(&u, text, text + 7, err);
    else
        return bad_url(text, "it does not say how to get there", err);
    if (rc == VCH_OK) *ret = u;
    return rc;
}

/* ---- answers: the head ---------------------------------------------------------------- */

enum { AT_STATUS, AT_HEADER, AT_LENGTH, AT_CHUNK, AT_CHUNK_DATA, AT_CHUNK_END, AT_TRAILER, AT_CLOSE, AT_DONE };

static vch_rc refuse(vch_err_t *err, const char *why)
{
    return vch_fail(err, VCH_ERR_FORMAT, "the answer is not well-formed HTTP: %s", why);
}

void http_reply_begin(http_reply_t *r)
{
    r->at = AT_STATUS;
    r->status = 0;
    r->keep = r->any = r->has_length = r->chunked = false;
    r->retry_after_s = r->interims = 0;
    r->left = 0;
    r->head_n = r->line_n = 0;
}

bool http_reply_done(const http_reply_t *r) { return r->at == AT_DONE; }

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* HTTP/1.1 200 OK */
static vch_rc status_line(http_reply_t *r, const char *s, size_t n, vch_err_t *err)
{
    if (n < 12 || memcmp(s, "HTTP/1.", 7) != 0 || (s[7] != '0' && s[7] != '1') || s[8] != ' ')
        return refuse(err, "it does not begin with HTTP/1.1");
    if (!digit(s[9]) || !digit(s[10]) || !digit(s[11]) || (n > 12 && s[12] != ' ') || s[9] == '0')
        return refuse(err, "the status is no number");
    r->status = (s[9] - '0') * 100 + (s[10] - '0') * 10 + (s[11] - '0');
    r->keep = s[7] == '1';
    r->has_length = r->chunked = false;
    r->retry_after_s = 0;
    r->left = 0;
    r->at = AT_HEADER;
    return VCH_OK;
}

static bool is_token(const char *s, size_t n)
{
    static const char more[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool plain = digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && (c == 0 || !strchr(more, c))) return false;
    }
    return n > 0;
}

static bool named(const char *s, size_t n, const char *name)
{
    return n == strlen(name) && strncasecmp(s, name, n) == 0;
}

static vch_rc take_length(http_reply_t *r, vch_slice_t value, vch_err_t *err)
{
    uint64_t n;
    if (r->has_length || r->chunked) return refuse(err, "it states its length twice");
    if (vch_decimal_get(&n, value) != VCH_OK) return refuse(err, "its length is no number");
    r->has_length = true;
    r->left = n;
    return VCH_OK;
}

static vch_rc take_coding(http_reply_t *r, const char *value, size_t n, vch_err_t *err)
{
    if (r->has_length || r->chunked) return refuse(err, "it states its length twice");
    if (!named(value, n, "chunked")) return refuse(err, "its transfer coding is unknown");
    r->chunked = true;
    return VCH_OK;
}

static void take_retry(http_reply_t *r, vch_slice_t value)
{
    uint64_t s;
    if (vch_decimal_get(&s, value) != VCH_OK) s = 1; /* a date: soon is near enough */
    r->retry_after_s = (unsigned)(s > HTTP_RETRY_AFTER_MAX_S ? HTTP_RETRY_AFTER_MAX_S : s);
}

static vch_rc header_line(http_reply_t *r, const char *s, size_t n, vch_err_t *err)
{
    const char *colon = memchr(s, ':', n);
    size_t name = colon ? (size_t)(colon - s) : 0, from = name + 1;
    if (!is_token(s, name)) return refuse(err, "a line of its head has no name");
    while (from < n && (s[from] == ' ' || s[from] == '\t')) from++;
    while (n > from && (s[n - 1] == ' ' || s[n - 1] == '\t')) n--;
    const char *value = s + from;
    size_t value_n = n > from ? n - from : 0;
    if (named(s, name, "Content-Length")) return take_length(r, vch_slice(value, value_n), err);
    if (named(s, name, "Transfer-Encoding")) return take_coding(r, value, value_n, err);
    if (named(s, name, "Content-Encoding") && !named(value, value_n, "identity"))
        return refuse(err, "its body is compressed, which was not asked for");
    if (named(s, name, "Retry-After")) take_retry(r, vch_slice(value, value_n));
    if (named(s, name, "Connection") && !named(value, value_n, "keep-alive")) r->keep = false;
    return VCH_OK;
}

/* RFC 9112 section 6.3, for an answer to GET or POST. */
static vch_rc head_end(http_reply_t *r, vch_err_t *err)
{
    if (r->status < 200) {
        if (r->status == 101) return refuse(err, "it changes the protocol");
        if (++r->interims > HTTP_INTERIM_MAX) return refuse(err, "it never comes to the point");
        r->at = AT_STATUS;
        return VCH_OK;
    }
    if (r->status == 204 || r->status == 304)
        r->at = AT_DONE;
    else if (r->chunked)
        r->at = AT_CHUNK;
    else if (r->has_length)
        r->at = r->left ? AT_LENGTH : AT_DONE;
    else {
        r->at = AT_CLOSE;
        r->keep = false;
    }
    return VCH_OK;
}

/* "1a;anything" */
static vch_rc chunk_line(http_reply_t *r, const char *s, size_t n, vch_err_t *err)
{
    uint64_t size = 0;
    size_t i = 0;
    for (; i < n && i < 15 && s[i] != ';'; i++) {
        char c = s[i];
        int v = digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (v < 0) return refuse(err, "a chunk's length is no number");
        size = size * 16 + (uint64_t)v;
    }
    if (i == 0 || (i < n && s[i] != ';')) return refuse(err, "a chunk's length is no number");
    r->left = size;
    r->at = size ? AT_CHUNK_DATA : AT_TRAILER;
    return VCH_OK;
}

static vch_rc take_line(http_reply_t *r, const char *s, size_t n, vch_err_t *err)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] == 0 || s[i] == '\r') return refuse(err, "a line of its head holds a control character");
    switch (r->at) {
    case AT_STATUS:
        return status_line(r, s, n, err);
    case AT_HEADER:
        return n ? header_line(r, s, n, err) : head_end(r, err);
    case AT_CHUNK:
        r->head_n = 0; /* the bound is for each chunk's line, and for the trailer */
        return chunk_line(r, s, n, err);
    case AT_CHUNK_END:
        r->at = AT_CHUNK;
        return n ? refuse(err, "a chunk is longer than it said") : VCH_OK;
    default: /* AT_TRAILER */
        if (n == 0) r->at = AT_DONE;
        return VCH_OK;
    }
}

/* Bytes up to a line's end; the line may come in pieces. */
static vch_rc feed_line(http_reply_t *r, vch_slice_t in, size_t *eaten, vch_err_t *err)
{
    const uint8_t *end = memchr(in.p, '\n', in.n);
    size_t n = end ? (size_t)(end - in.p) + 1 : in.n;
    r->head_n += n;
    if (n > HTTP_LINE_MAX - r->line_n || r->head_n > HTTP_HEAD_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "the head of the answer is longer than %u bytes", HTTP_HEAD_MAX);
    memcpy(r->line + r->line_n, in.p, n);
    r->line_n += n;
    *eaten += n;
    if (!end) return VCH_OK;
    size_t length = r->line_n - 1;
    if (length && r->line[length - 1] == '\r') length--;
    r->line_n = 0;
    return take_line(r, r->line, length, err);
}

static vch_rc feed_body(http_reply_t *r, vch_slice_t in, size_t *eaten, vch_buf_t *body, vch_err_t *err)
{
    size_t n = r->at == AT_CLOSE || in.n < r->left ? in.n : (size_t)r->left;
    vch_rc rc = vch_buf_put(body, in.p, n);
    if (rc == VCH_ERR_LIMIT) return vch_fail(err, rc, "the answer is longer than %zu bytes", body->max);
    if (rc != VCH_OK) return vch_fail(err, rc, "no memory for the answer");
    *eaten += n;
    if (r->at == AT_CLOSE) return VCH_OK;
    r->left -= n;
    if (r->left == 0) r->at = r->at == AT_LENGTH ? AT_DONE : AT_CHUNK_END;
    return VCH_OK;
}

vch_rc http_reply_feed(http_reply_t *r, vch_slice_t in, size_t *ret_eaten, vch_buf_t *body, vch_err_t *err)
{
    size_t eaten = 0;
    vch_rc rc = VCH_OK;
    if (in.n) r->any = true;
    while (rc == VCH_OK && eaten < in.n && r->at != AT_DONE) {
        vch_slice_t rest = vch_slice(in.p + eaten, in.n - eaten);
        bool data = r->at == AT_LENGTH || r->at == AT_CHUNK_DATA || r->at == AT_CLOSE;
        rc = data ? feed_body(r, rest, &eaten, body, err) : feed_line(r, rest, &eaten, err);
    }
    *ret_eaten = eaten;
    return rc;
}

vch_rc http_reply_closed(http_reply_t *r, vch_err_t *err)
{
    if (r->at == AT_CLOSE) r->at = AT_DONE;
    return r->at == AT_DONE ? VCH_OK : refuse(err, "it ends in the middle");
}
