/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an HTTP/1.1 request (RFC 9112), and chunked bodies.
 *
 * Stricter than the RFC allows a server to be: what two programs could read
 * differently is refused, so that no request hides behind another.  Lines end
 * in CRLF; no folded lines; no space before a colon; one Content-Length of
 * digits alone; never both lengths; "chunked" and no other coding; no bytes in
 * a path that a client has to encode, no dot segments, no encoded slash, and
 * what is encoded is UTF-8 without control characters.
 *
 * Pure: no I/O, no memory.  A status of 0 means good. */
#ifndef VCH_HTTP_HEAD_H
#define VCH_HTTP_HEAD_H

#include "api/http.h"

#define HTTP_LINE_MAX (HTTP_PATH_MAX + 1024) /* the request line, method, absolute form and all */
#define HTTP_HEAD_BYTES_MAX (HTTP_LINE_MAX + HTTP_HEADERS_MAX)
#define HTTP_FIELDS_MAX 64

typedef struct {
    http_method_t method;
    vch_slice_t path, query, host, authorization, content_type;
    bool keep;      /* the connection may be used again */
    bool chunked;   /* the body comes in chunks, else `length` bytes */
    bool expects;   /* … and waits for "100 Continue" */
    bool forwarded; /* a proxy says that it asks for somebody else */
    uint64_t length;
} http_head_t;

/* Where the head ends in p[0..n), blank line included; 0: not yet.  *seen is
 * how far earlier calls looked; a bare line feed gives 400, a line or a head
 * over its limit 414 or 431. */
int http_head_end(const uint8_t *p, size_t n, size_t *seen, size_t *ret_end);
/* The whole head, as http_head_end found it.  Slices point into it; *ret_why
 * is a static text for people when it is refused. */
int http_head_read(http_head_t *ret, vch_slice_t head, const char **ret_why);
/* What a host name in a request for this machine itself looks like. */
bool http_host_is_local(vch_slice_t host);

/* A chunked body as it comes in. */
typedef struct {
    int state;
    bool done;
    uint64_t left; /* of the chunk */
    size_t line;   /* bytes of the size line or of the trailer so far */
} http_chunks_t;
/* Takes what it can of p[0..n): *ret_used bytes of it, of which data goes to
 * `body` (whose maximum holds: 413).  All zero bytes begin a body. */
int http_chunks_take(http_chunks_t *, const uint8_t *p, size_t n, size_t *ret_used, vch_buf_t *body);

/* "Not Found" */
const char *http_reason(int status);

#endif
