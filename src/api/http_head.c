/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the head of a request and chunked bodies, strictly. */
#include "api/http_head.h"

#define CHUNK_LINE_MAX 128 /* size and extensions */
#define TRAILER_MAX 4096

/* ---- characters ------------------------------------------------------------------ */

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static int hex_value(uint8_t c)
{
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool is_alnum(uint8_t c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool is_one_of(uint8_t c, const char *set) { return c && strchr(set, c) != NULL; }

/* RFC 9110 section 5.6.2 */
static bool is_token(uint8_t c) { return is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~"); }

/* RFC 3986 section 3.3, 3.4: what stands for itself; '%' is looked at apart. */
static bool is_path(uint8_t c) { return is_alnum(c) || is_one_of(c, "-._~!$&'()*+,;=:@/"); }

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

static bool is_name(vch_slice_t s, const char *name)
{
    if (s.n != strlen(name)) return false;
    for (size_t i = 0; i < s.n; i++)
        if (lower(s.p[i]) != (uint8_t)name[i]) return false;
    return true;
}

static vch_slice_t trim(vch_slice_t s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) s = vch_slice(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

/* ---- where the head ends ------------------------------------------------------------ */

int http_head_end(const uint8_t *p, size_t n, size_t *seen, size_t *ret_end)
{
    *ret_end = 0;
    if (n && !is_token(p[0])) return 400;
    while (*seen < n) {
        const uint8_t *lf = memchr(p + *seen, '\n', n - *seen);
        size_t at = lf ? (size_t)(lf - p) : n;
        *seen = lf ? at + 1 : n;
        if (!lf) break;
        if (at == 0 || p[at - 1] != '\r') return 400;
        if (at >= 3 && p[at - 2] == '\n') {
            *ret_end = at + 1;
            return *ret_end > HTTP_HEAD_BYTES_MAX ? 431 : 0;
        }
    }
    if (n > HTTP_LINE_MAX && !memchr(p, '\n', HTTP_LINE_MAX)) return 414;
    return n > HTTP_HEAD_BYTES_MAX ? 431 : 0;
}

/* ---- the request line ----------------------------------------------------------------- */

/* Everything up to `end`, which must be there; the rest moves on behind it. */
static bool take_until(vch_slice_t *rest, uint8_t end, vch_slice_t *ret)
{
    const uint8_t *at = rest->n ? memchr(rest->p, end, rest->n) : NULL;
    if (!at) return false;
    *ret = vch_slice(rest->p, (size_t)(at - rest->p));
    *rest = vch_slice(at + 1, rest->n - ret->n - 1);
    return true;
}

static bool read_method(http_method_t *ret, vch_slice_t s)
{
    if (s.n == 0 || s.n > 16) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_token(s.p[i])) return false;
    *ret = vch_slice_eq(s, vch_str("GET"))    ? HTTP_GET
           : vch_slice_eq(s, vch_str("HEAD")) ? HTTP_HEAD
           : vch_slice_eq(s, vch_str("POST")) ? HTTP_POST
                                              : HTTP_OTHER;
    return true;
}

/* Decodes s into `out` (of s.n bytes); false for an escape or a byte that may
 * not be there. */
static bool decode(vch_slice_t s, bool query, uint8_t *out, size_t *ret_n)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1, low = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;
            if (high < 0 || low < 0) return false;
            c = (uint8_t)(high * 16 + low);
            if (c < ' ' || c == 127 || (!query && (c == '/' || c == '\\'))) return false;
            i += 2;
        } else if (!is_path(c) && !(query && c == '?')) {
            return false;
        }
        out[n++] = c;
    }
    *ret_n = n;
    return vch_utf8_valid(vch_slice(out, n));
}

static bool has_dot_segment(const uint8_t *p, size_t n)
{
    for (size_t from = 0; from < n;) {
        const uint8_t *slash = memchr(p + from, '/', n - from);
        size_t end = slash ? (size_t)(slash - p) : n, len = end - from;
        if ((len == 1 && p[from] == '.') || (len == 2 && p[from] == '.' && p[from + 1] == '.')) return true;
        from = end + 1;
    }
    return false;
}

/* "http://host/path" stands for "/path" (RFC 9112 section 3.2.2); the Host
 * field must be there as well and is what counts. */
static vch_slice_t strip_authority(vch_slice_t s)
{
    size_t scheme = s.n > 7 && memcmp(s.p, "http://", 7) == 0 ? 7 : s.n > 8 && memcmp(s.p, "https://", 8) == 0 ? 8 : 0;
    const uint8_t *slash = scheme ? memchr(s.p + scheme, '/', s.n - scheme) : NULL;
    return slash ? vch_slice(slash, s.n - (size_t)(slash - s.p)) : s;
}

static int read_target(http_head_t *ret, vch_slice_t s, const char **ret_why)
{
    uint8_t plain[HTTP_PATH_MAX];
    size_t n;
    s = strip_authority(s);
    if (s.n > HTTP_PATH_MAX) {
        *ret_why = "the path is too long";
        return 414;
    }
    const uint8_t *mark = s.n ? memchr(s.p, '?', s.n) : NULL;
    ret->path = vch_slice(s.p, mark ? (size_t)(mark - s.p) : s.n);
    ret->query = mark ? vch_slice(mark + 1, s.n - ret->path.n - 1) : vch_str("");
    *ret_why = "the path is not a plain one: no dot segments, no encoded slash, UTF-8 encoded with %XX";
    if (s.n == 0 || s.p[0] != '/' || !decode(ret->path, false, plain, &n) || has_dot_segment(plain, n)) return 400;
    *ret_why = "the query is not well-formed";
    return decode(ret->query, true, plain, &n) ? 0 : 400;
}

static int read_line(http_head_t *ret, vch_slice_t line, bool *ret_old, const char **ret_why)
{
    vch_slice_t method, target;
    *ret_why = "this is no HTTP request";
    if (!take_until(&line, ' ', &method) || !take_until(&line, ' ', &target) || !read_method(&ret->method, method))
        return 400;
    if (line.n != 8 || memcmp(line.p, "HTTP/", 5) != 0) return 400;
    *ret_old = memcmp(line.p + 5, "1.0", 3) == 0;
    ret->keep = !*ret_old;
    if (memcmp(line.p + 5, "1.1", 3) != 0 && !*ret_old) {
        *ret_why = "only HTTP/1.1 is spoken here";
        return 505;
    }
    return read_target(ret, target, ret_why);
}

/* ---- the fields ------------------------------------------------------------------------- */

typedef struct {
    http_head_t *head;
    bool old; /* HTTP/1.0 */
    bool has_length, has_host, has_type, has_authorization;
    const char **why;
} fields_t;

static int refuse(const fields_t *f, int status, const char *why)
{
    *f->why = why;
    return status;
}

static int take_length(fields_t *f, vch_slice_t value)
{
    uint64_t v = 0;
    if (f->has_length || value.n == 0 || value.n > 18) return refuse(f, 400, "Content-Length must be one number");
    for (size_t i = 0; i < value.n; i++) {
        if (!is_digit(value.p[i])) return refuse(f, 400, "Content-Length must be one number");
        v = v * 10 + (uint64_t)(value.p[i] - '0');
    }
    f->has_length = true;
    f->head->length = v;
    return 0;
}

static int take_coding(fields_t *f, vch_slice_t value)
{
    if (f->head->chunked || f->old) return refuse(f, 400, "Transfer-Encoding may stand once, and not in HTTP/1.0");
    if (!is_name(value, "chunked")) return refuse(f, 501, "no transfer coding but chunked is known");
    f->head->chunked = true;
    return 0;
}

/* A list of tokens: "keep-alive, Upgrade". */
static void take_connection(fields_t *f, vch_slice_t value)
{
    while (value.n) {
        vch_slice_t one = value;
        if (!take_until(&value, ',', &one)) value.n = 0;
        one = trim(one);
        if (is_name(one, "close")) f->head->keep = false;
        /* An HTTP/1.0 client gets its answer and the end. */
    }
}

static int take_once(const fields_t *f, bool *has, vch_slice_t *to, size_t max, vch_slice_t value, const char *why)
{
    if (*has || value.n > max) return refuse(f, 400, why);
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < ' ' || value.p[i] > '~') return refuse(f, 400, why);
    *has = true;
    *to = value;
    return 0;
}

static int take_field(fields_t *f, vch_slice_t name, vch_slice_t value)
{
    if (is_name(name, "content-length")) return take_length(f, value);
    if (is_name(name, "transfer-encoding")) return take_coding(f, value);
    if (is_name(name, "host"))
        return take_once(f, &f->has_host, &f->head->host, 255, value, "Host must stand once, in plain letters");
    if (is_name(name, "authorization"))
        return take_once(f, &f->has_authorization, &f->head->authorization, HTTP_HEADER_MAX, value,
                         "Authorization must stand once, in at most 4,096 plain letters");
    if (is_name(name, "content-type"))
        return take_once(f, &f->has_type, &f->head->content_type, 255, value, "Content-Type must stand once");
    if (is_name(name, "forwarded") || is_name(name, "x-forwarded-for") || is_name(name, "via"))
        f->head->forwarded = true;
    if (is_name(name, "connection")) take_connection(f, value);
    if (is_name(name, "expect")) {
        if (!is_name(value, "100-continue")) return refuse(f, 417, "nothing can be expected but 100-continue");
        f->head->expects = !f->old;
    }
    return 0;
}

static int read_field(fields_t *f, vch_slice_t line)
{
    vch_slice_t name;
    if (!take_until(&line, ':', &name) || name.n == 0) return refuse(f, 400, "a header line has no name");
    for (size_t i = 0; i < name.n; i++)
        if (!is_token(name.p[i])) return refuse(f, 400, "a header's name has a character that may not be there");
    for (size_t i = 0; i < line.n; i++)
        if ((line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 127)
            return refuse(f, 400, "a header has a control character");
    return take_field(f, name, trim(line));
}

int http_head_read(http_head_t *ret, vch_slice_t head, const char **ret_why)
{
    fields_t f = {.head = ret, .why = ret_why};
    vch_slice_t line;
    *ret = (http_head_t){.method = HTTP_OTHER};
    *ret_why = "this is no HTTP request";
    if (!take_until(&head, '\n', &line) || line.n == 0) return 400;
    int status = read_line(ret, vch_slice(line.p, line.n - 1), &f.old, ret_why);
    if (status) return status;
    if (head.n > HTTP_HEADERS_MAX + 2) return refuse(&f, 431, "the header lines have more than 8,192 bytes");
    for (size_t fields = 0; take_until(&head, '\n', &line); fields++) {
        if (line.n == 0 || line.p[line.n - 1] != '\r') return refuse(&f, 400, "a line does not end in CRLF");
        if (line.n == 1) break;
        if (fields == HTTP_FIELDS_MAX) return refuse(&f, 431, "there are more than 64 header lines");
        status = read_field(&f, vch_slice(line.p, line.n - 1));
        if (status) return status;
    }
    if (ret->chunked && f.has_length) return refuse(&f, 400, "Content-Length and Transfer-Encoding exclude each other");
    if (!f.has_host && !f.old) return refuse(&f, 400, "the Host header is missing");
    return 0;
}

/* "localhost", "127.0.0.1", "[::1]", with or without a port. */
bool http_host_is_local(vch_slice_t host)
{
    static const char *const name[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        size_t n = strlen(name[i]);
        if (host.n < n || !is_name(vch_slice(host.p, n), name[i])) continue;
        if (host.n == n) return true;
        bool port = host.p[n] == ':' && host.n > n + 1 && host.n <= n + 6;
        for (size_t k = n + 1; port && k < host.n; k++) port = is_digit(host.p[k]);
        return port;
    }
    return false;
}

/* ---- chunks (RFC 9112 section 7.1) --------------------------------------------------------- */

enum { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, LINE, TRAILER, TRAILER_LF, LAST_LF };

static int chunk_size(http_chunks_t *c, uint8_t b)
{
    int digit = hex_value(b);
    if (++c->line > CHUNK_LINE_MAX) return 400;
    if (digit >= 0) {
        if (c->line > 8) return 413; /* 4 GiB and more */
        c->left = c->left * 16 + (uint64_t)digit;
        return 0;
    }
    if (c->line == 1) return 400; /* no digit at all */
    if (b == '\r') c->state = SIZE_LF;
    if (b == ';') c->state = EXTENSION;
    return b == '\r' || b == ';' ? 0 : 400;
}

/* A line break, or a byte of a line that means nothing to us. */
static int chunk_line(http_chunks_t *c, uint8_t b, int after_cr, size_t max)
{
    if (b == '\r') c->state = after_cr;
    if (b == '\r') return 0;
    return ++c->line > max ? 431 : b == '\t' || (b >= ' ' && b != 127) ? 0 : 400;
}

/* One byte that is no data. */
static int chunk_byte(http_chunks_t *c, uint8_t b)
{
    switch (c->state) {
    case SIZE:
        return chunk_size(c, b);
    case EXTENSION:
        return chunk_line(c, b, SIZE_LF, CHUNK_LINE_MAX) ? 400 : 0;
    case SIZE_LF:
        c->state = c->left ? DATA : LINE;
        c->line = 0;
        return b == '\n' ? 0 : 400;
    case DATA_CR:
        c->state = DATA_LF;
        return b == '\r' ? 0 : 400;
    case DATA_LF:
        c->state = SIZE;
        return b == '\n' ? 0 : 400;
    case LINE: /* a trailer line, or the last, empty one */
        c->state = b == '\r' ? LAST_LF : TRAILER;
        return b == '\r' ? 0 : chunk_line(c, b, TRAILER_LF, TRAILER_MAX);
    case TRAILER:
        return chunk_line(c, b, TRAILER_LF, TRAILER_MAX);
    case TRAILER_LF:
        c->state = LINE;
        return b == '\n' ? 0 : 400;
    default: /* LAST_LF */
        c->done = b == '\n';
        return c->done ? 0 : 400;
    }
}

int http_chunks_take(http_chunks_t *c, const uint8_t *p, size_t n, size_t *ret_used, vch_buf_t *body)
{
    size_t at = 0;
    int status = 0;
    while (at < n && !c->done && status == 0) {
        if (c->state != DATA) {
            status = chunk_byte(c, p[at++]);
            continue;
        }
        size_t take = n - at < c->left ? n - at : (size_t)c->left;
        if (c->left > body->max - body->n) status = 413; /* before it is all here */
        if (status == 0 && vch_buf_put(body, p + at, take) != VCH_OK) status = 503;
        at += take;
        c->left -= take;
        if (c->left == 0) c->state = DATA_CR;
    }
    *ret_used = at;
    return status;
}

/* ---- words -------------------------------------------------------------------------------------- */

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {{200, "OK"},
                 {201, "Created"},
                 {204, "No Content"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {408, "Request Timeout"},
                 {409, "Conflict"},
                 {410, "Gone"},
                 {413, "Content Too Large"},
                 {414, "URI Too Long"},
                 {415, "Unsupported Media Type"},
                 {417, "Expectation Failed"},
                 {422, "Unprocessable Content"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {503, "Service Unavailable"},
                 {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].status == status) return known[i].text;
    return "Answer";
}
