/* SPDX-License-Identifier: Apache-2.0 */
/* How a question reaches another machine and its answer comes back.  The real
 * one speaks HTTP (api/http.h); simulated clusters have their own, which loses,
 * doubles, delays and reorders. */
#ifndef VCH_TRANSPORT_H
#define VCH_TRANSPORT_H

#include "base/base.h"

typedef struct {
    const char *url; /* whole: "https://node.example:7117/v1/info" */
    bool post;
    const char *type;          /* of the body; NULL: none */
    const char *authorization; /* NULL: none */
    vch_slice_t body;
} vch_ask_t;

typedef struct {
    vch_rc rc;  /* VCH_OK: an answer came, whatever its status; ERR_UNREACHABLE otherwise */
    int status; /* of HTTP */
    unsigned retry_after_s;
    vch_buf_t body;
    vch_err_t err; /* why none came */
} vch_answer_t;

typedef struct vch_transport vch_transport_t;
struct vch_transport {
    /* All n at the same time; returns when each has its answer or timeout_ms
     * have passed.  The bodies come initialised with their maximum and are the
     * caller's to free.  One thread at a time per transport. */
    void (*ask)(vch_transport_t *, const vch_ask_t *, vch_answer_t *ret, size_t n, uint64_t timeout_ms);
    void (*free)(vch_transport_t *);
    void *ctx;
};

#endif
