/* SPDX-License-Identifier: Apache-2.0 */
/* A transport without sockets: questions go straight to the service of a
 * ledger here, and a test may lose, push back or change answers on the way. */
#ifndef VCH_TEST_WIRE_H
#define VCH_TEST_WIRE_H

#include <stdatomic.h>

#include "api/api.h"
#include "node/remote.h"

#define WIRE_URL "https://node.test"

typedef struct wire wire_t;
struct wire {
    vch_transport_t t;
    api_t *api; /* NULL: nobody is there */
    http_service_t service;
    unsigned asked;
    bool far;            /* not over the loopback */
    char only[64];       /* what follows counts for targets that begin so */
    unsigned lose;       /* so many answers are lost on the way back … */
    unsigned lose_asks;  /* … and so many questions on the way there */
    unsigned push_back;  /* so many are answered 429 */
    const char *instead; /* the answer; NULL: the service's */
    int instead_status;
    long flip;            /* bit 0 of this byte of an answer; -1: none */
    long flipped_of;      /* how long that answer was */
    char replace[2][200]; /* in answers, the first by the second, once; same length */
};

static inline bool wire_hits(const wire_t *w, const char *target)
{
    return strncmp(target, w->only, strlen(w->only)) == 0;
}

static inline bool wire_takes(unsigned *n)
{
    if (*n)
        --*n;
    else
        return false;
    return true;
}

static inline void wire_fail(vch_answer_t *a, const char *why)
{
    a->rc = vch_fail(&a->err, VCH_ERR_UNREACHABLE, "%s", why);
    vch_buf_clear(&a->body);
}

static inline void wire_serve(wire_t *w, const vch_ask_t *ask, const char *target, http_response_t *res)
{
    const char *query = strchr(target, '?');
    size_t path = query ? (size_t)(query - target) : strlen(target);
    http_request_t req = {.method = ask->post ? HTTP_POST : HTTP_GET,
                          .path = vch_slice(target, path),
                          .query = query ? vch_str(query + 1) : vch_slice(NULL, 0),
                          .authorization = ask->authorization ? vch_str(ask->authorization) : vch_slice(NULL, 0),
                          .content_type = ask->type ? vch_str(ask->type) : vch_slice(NULL, 0),
                          .body = ask->body,
                          .local = !w->far};
    const http_request_t *reqs[1] = {&req};
    http_response_t *ress[1] = {res};
    if (w->service.joins && w->service.joins(w->service.ctx, &req))
        w->service.batch(w->service.ctx, reqs, ress, 1);
    else
        w->service.handle(w->service.ctx, &req, res);
}

/* What a liar or a bad line makes of an answer. */
static inline void wire_spoil(wire_t *w, vch_answer_t *a)
{
    size_t n = strlen(w->replace[0]);
    w->flipped_of = (long)a->body.n;
    if (w->flip >= 0 && (size_t)w->flip < a->body.n) a->body.p[w->flip] ^= 1;
    if (!n) return;
    uint8_t *at = a->body.n ? memmem(a->body.p, a->body.n, w->replace[0], n) : NULL;
    if (at) memcpy(at, w->replace[1], n);
}

static inline void wire_one(wire_t *w, const vch_ask_t *ask, vch_answer_t *a)
{
    const char *target = ask->url + strlen(WIRE_URL);
    bool hits = wire_hits(w, target);
    w->asked++;
    if (!w->api || (hits && wire_takes(&w->lose_asks))) {
        wire_fail(a, "nobody is there");
        return;
    }
    a->rc = VCH_OK;
    a->status = 429;
    a->retry_after_s = 0;
    if (hits && wire_takes(&w->push_back)) return;
    http_response_t res = {.status = 0};
    vch_buf_init(&res.body, a->body.max);
    wire_serve(w, ask, target, &res);
    a->status = res.status;
    a->retry_after_s = res.retry_after_s;
    vch_buf_free(&a->body);
    a->body = res.body;
    if (hits && wire_takes(&w->lose)) wire_fail(a, "the line broke");
    if (hits && w->instead) {
        a->status = w->instead_status;
        vch_buf_clear(&a->body);
        if (vch_buf_put(&a->body, w->instead, strlen(w->instead)) != VCH_OK) wire_fail(a, "no memory");
    }
    if (hits && a->rc == VCH_OK) wire_spoil(w, a);
}

static inline void wire_ask(vch_transport_t *t, const vch_ask_t *ask, vch_answer_t *ret, size_t n, uint64_t timeout_ms)
{
    (void)timeout_ms;
    for (size_t i = 0; i < n; i++) wire_one(t->ctx, &ask[i], &ret[i]);
}

static inline void wire_gone(vch_transport_t *t) { (void)t; }

/* The wire is the caller's and outlives every handle on it. */
static inline void wire_init(wire_t *w, api_t *api)
{
    *w = (wire_t){.t = {wire_ask, wire_gone, NULL}, .api = api, .flip = -1};
    w->t.ctx = w;
    if (api) w->service = api_service(api);
}

static inline void wire_to(wire_t *w, api_t *api)
{
    w->api = api;
    if (api) w->service = api_service(api);
}

/* ---- the machine, but nobody waits: sleeping moves the clocks ---- */

static atomic_uint_fast64_t wire_slept;

static inline uint64_t wire_wall(vch_port_t *p)
{
    (void)p;
    return vch_port_real()->clock->wall_ms(vch_port_real());
}

static inline uint64_t wire_boot(vch_port_t *p)
{
    (void)p;
    return vch_port_real()->clock->boot_ms(vch_port_real()) + wire_slept;
}

static inline void wire_sleep(vch_port_t *p, uint64_t ms)
{
    (void)p;
    wire_slept += ms;
}

static inline vch_port_t *wire_port(void)
{
    static const vch_clock_ops_t clock = {wire_wall, wire_boot, wire_sleep};
    static vch_port_t port;
    port = *vch_port_real();
    port.clock = &clock;
    return &port;
}

static inline vch_rc wire_open(vch_ledger_t **ret, wire_t *w, const vch_connect_t *o, vch_err_t *err)
{
    const vch_remote_way_t way = {.transport = &w->t, .authorize = api_authorization_put};
    return vch_remote_open(ret, wire_port(), WIRE_URL, o, &way, err);
}

#endif
