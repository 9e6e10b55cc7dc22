/* SPDX-License-Identifier: Apache-2.0 */
/* The client's pure half: URLs taken apart, answers read from bytes that come
 * in any pieces.  No socket, no clock; so a fuzzer drives it as it is. */
#ifndef VCH_HTTP_CLIENT_INT_H
#define VCH_HTTP_CLIENT_INT_H

#include "base/base.h"

#define HTTP_LINE_MAX 8192u  /* bytes of one line of an answer's head */
#define HTTP_HEAD_MAX 32768u /* of all of them */
#define HTTP_INTERIM_MAX 8u  /* 1xx answers before the real one */
#define HTTP_RETRY_AFTER_MAX_S 86400u

/* https://HOST[:PORT]/…, http://HOST[:PORT]/…, unix:/SOCKET:/…  */
typedef struct {
    bool tls, is_unix;
    bool numeric;        /* host is an address, so a certificate must name the address */
    bool loopback;       /* a unix socket, localhost, 127.0.0.0/8 or [::1] */
    char host[256];      /* without brackets; the socket's path */
    uint16_t port;       /* 0 for a unix socket */
    char authority[272]; /* for the Host line */
    vch_slice_t target;  /* path and query, into the text */
} http_url_t;
/* ERR_USAGE says what is wrong with it. */
VCH_MUST_USE vch_rc http_url_get(http_url_t *ret, const char *text, vch_err_t *);

/* One answer as it comes in.  Only HTTP/1.x with plain framing: refused are
 * folded lines, both or several lengths, other transfer codings than chunked,
 * compressed bodies. */
typedef struct {
    int at; /* what comes next (http_client_parse.c) */
    int status;
    bool keep; /* the connection may carry another question */
    bool any;  /* a byte came */
    unsigned retry_after_s, interims;
    bool has_length, chunked;
    uint64_t left; /* of the body or of its chunk */
    size_t head_n; /* bytes of the head so far */
    size_t line_n;
    char line[HTTP_LINE_MAX];
} http_reply_t;

void http_reply_begin(http_reply_t *);
bool http_reply_done(const http_reply_t *);
/* Eats bytes until the answer is complete; *ret_eaten says how many.  The body
 * is appended to `body`, whose maximum holds.  ERR_FORMAT, ERR_LIMIT. */
VCH_MUST_USE vch_rc http_reply_feed(http_reply_t *, vch_slice_t in, size_t *ret_eaten, vch_buf_t *body, vch_err_t *);
/* The other side closed: fine only for an answer that ends in that way. */
VCH_MUST_USE vch_rc http_reply_closed(http_reply_t *, vch_err_t *);

#endif
