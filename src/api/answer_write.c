/* SPDX-License-Identifier: Apache-2.0 */
/* Submissions: many requests, one sync, one signed promise. */
#include "api/api_int.h"
#include "entry/receipt.h"

#define JSON "application/json"
#define RETRY_S 5u

/* ---- the promise ----------------------------------------------------------------------- */

typedef struct {
    vch_placed_t *place;
    size_t *of; /* which place an item has */
    vch_promises_t tree;
    vch_buf_t note;
    bool made;
} promise_t;

static vch_rc sign_promise(api_t *api, promise_t *p, size_t n, uint64_t by_ms)
{
    vch_ledger_t *l = api->l;
    VCH_TRY(vch_promises_make(&p->tree, p->place, n));
    vch_rc rc = vch_promise_sign(&p->note, &p->tree, l->origin, &l->network, by_ms, l->log_key);
    p->made = rc == VCH_OK;
    if (!p->made) vch_promises_free(&p->tree);
    return rc;
}

/* What was accepted is durable whether or not the log also promises in writing,
 * so a promise that can't be made is left out. */
static void promise_all(api_t *api, promise_t *p, const vch_receipt_t *receipt, const vch_err_t *why, size_t n)
{
    uint64_t by = api->l->port->clock->wall_ms(api->l->port);
    size_t placed = 0;
    vch_buf_init(&p->note, VCH_NOTE_BYTES_MAX);
    if (!api->options.receipt_promise_ms || !api->l->log_key) return;
    p->place = vch_alloc_array(n, sizeof *p->place);
    p->of = vch_alloc_array(n, sizeof *p->of);
    if (!p->place || !p->of) return;
    for (size_t i = 0; i < n; i++) {
        if (why[i].rc != VCH_OK) continue;
        p->of[i] = placed;
        p->place[placed++] = (vch_placed_t){receipt[i].entry, receipt[i].index};
        if (receipt[i].time.ms > by) by = receipt[i].time.ms;
    }
    if (placed) (void)sign_promise(api, p, placed, by + api->options.receipt_promise_ms);
}

static void promise_free(promise_t *p)
{
    if (p->made) vch_promises_free(&p->tree);
    vch_buf_free(&p->note);
    vch_free(p->place);
    vch_free(p->of);
}

/* ---- a batch -------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t **tx;
    size_t *tx_n;
    http_response_t **res;
    vch_receipt_t *receipt;
    vch_err_t *why;
    size_t n;
} batch_t;

static void refuse_one(api_t *api, http_response_t *res, const vch_err_t *why)
{
    int status = api_status(why->rc);
    const char *text = why->text, *hint = why->hint;
    if (strlen(api->l->dir) > 1 && (strstr(text, api->l->dir) || strstr(hint, api->l->dir))) {
        text = vch_rc_text(why->rc);
        hint = why->rc == VCH_ERR_FULL ? "nothing was written; the node needs more space" : "";
    }
    if (status == 503) res->retry_after_s = RETRY_S;
    api_refuse(res, status, why->rc, text, hint);
    atomic_fetch_add(&api->counters.submitted[why->rc], 1);
}

static vch_rc put_receipt(const promise_t *p, size_t i, const vch_receipt_t *r, vch_buf_t *body)
{
    vch_buf_t file;
    vch_buf_init(&file, VCH_RECEIPT_BYTES_MAX);
    vch_rc rc = p->made ? vch_promise_put(&file, &p->tree, p->of[i], vch_buf_slice(&p->note)) : VCH_OK;
    if (rc == VCH_OK) rc = vch_receipt_into(r, vch_buf_slice(&file), body);
    vch_buf_free(&file);
    return rc;
}

static void answer_all(api_t *api, const batch_t *b)
{
    promise_t p = {.made = false};
    promise_all(api, &p, b->receipt, b->why, b->n);
    for (size_t i = 0; i < b->n; i++) {
        http_response_t *res = b->res[i];
        if (b->why[i].rc != VCH_OK) {
            refuse_one(api, res, &b->why[i]);
        } else if (put_receipt(&p, i, &b->receipt[i], &res->body) == VCH_OK) {
            res->status = 200;
            res->type = JSON;
            atomic_fetch_add(&api->counters.submitted[VCH_OK], 1);
        } else { /* submitted again it comes back with its old place */
            api_refuse(res, 500, VCH_ERR_MEMORY, "the entry was taken, but its receipt can't be written",
                       "submit the same bytes again");
        }
    }
    promise_free(&p);
}

static void submit_all(api_t *api, batch_t *b)
{
    vch_port_t *port = api->l->port;
    vch_err_t err = {.rc = VCH_OK};
    uint64_t began = port->clock->boot_ms(port);
    vch_rc rc = api_check_ready(api, &err);
    if (rc == VCH_OK) rc = vch_submit_each(api->l, b->tx, b->tx_n, b->n, b->receipt, b->why, &err);
    for (size_t i = 0; rc != VCH_OK && i < b->n; i++) b->why[i] = err;
    api_count_batch(api, (port->clock->boot_ms(port) - began) * 1000u);
    answer_all(api, b);
}

static void batch_free(batch_t *b)
{
    vch_free(b->tx);
    vch_free(b->tx_n);
    vch_free(b->res);
    vch_free(b->receipt);
    vch_free(b->why);
}

static bool batch_room(batch_t *b, size_t n)
{
    b->tx = vch_alloc_array(n, sizeof *b->tx);
    b->tx_n = vch_alloc_array(n, sizeof *b->tx_n);
    b->res = vch_alloc_array(n, sizeof *b->res);
    b->receipt = vch_alloc_array(n, sizeof *b->receipt);
    b->why = vch_alloc_array(n, sizeof *b->why);
    return b->tx && b->tx_n && b->res && b->receipt && b->why;
}

void api_batch(void *ctx, const http_request_t *const *req, http_response_t *const *res, size_t n)
{
    api_t *api = ctx;
    batch_t b = {.n = 0};
    if (!batch_room(&b, n)) {
        for (size_t i = 0; i < n; i++)
            api_refuse(res[i], 503, VCH_ERR_MEMORY, "out of memory", "submit it again in a moment");
        batch_free(&b);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (!api_understood(api, req[i], res[i])) continue;
        b.tx[b.n] = req[i]->body.p;
        b.tx_n[b.n] = req[i]->body.n;
        b.res[b.n++] = res[i];
    }
    if (b.n) submit_all(api, &b);
    batch_free(&b);
}

bool api_joins(void *ctx, const http_request_t *req)
{
    (void)ctx;
    const api_route_t *route = api_route_of(req);
    return route && route->run == api_post_submit && req->method == HTTP_POST;
}

vch_rc api_post_submit(api_call_t *c)
{
    const http_request_t *req = c->req;
    http_response_t *res = c->res;
    api_batch(c->api, &req, &res, 1);
    return VCH_OK;
}

/* ---- drafts ---------------------------------------------------------------------------------- */

/* Exactly these members. */
static vch_rc three(api_call_t *c, const vch_json_t *o, const vch_json_t *ret[3])
{
    static const char *const name[] = {"kind", "signer", "statements"};
    for (size_t i = 0; i < 3; i++) {
        ret[i] = vch_json_get(o, name[i]);
        if (!ret[i]) return vch_fail(&c->err, VCH_ERR_FORMAT, "member \"%s\" is missing", name[i]);
    }
    if (o->count != 3) return vch_fail(&c->err, VCH_ERR_FORMAT, "only kind, signer and statements are known here");
    if (ret[0]->type != VCH_JSON_STRING || ret[0]->text.n > 40 || ret[1]->type != VCH_JSON_STRING)
        return vch_fail(&c->err, VCH_ERR_FORMAT, "\"kind\" and \"signer\" are texts");
    return VCH_OK;
}

static vch_rc draft(api_call_t *c, const vch_json_t *o)
{
    const vch_json_t *m[3];
    uint8_t bytes[VCH_PUBKEY_MAX];
    char kind[41] = "";
    vch_pubkey_t key;
    VCH_TRY(three(c, o, m));
    size_t n = m[1]->text.n / 2;
    if (n > sizeof bytes || !vch_unhex(bytes, n, (const char *)m[1]->text.p, m[1]->text.n) ||
        vch_pubkey_get(&key, vch_slice(bytes, n)) != VCH_OK)
        return vch_fail(&c->err, VCH_ERR_KEY, "\"signer\" is a multicodec public key in hex");
    memcpy(kind, m[0]->text.p, m[0]->text.n);
    return vch_draft_into(c->l, &key, kind, m[2], &c->res->body, &c->err);
}

vch_rc api_with_json(api_call_t *c, vch_rc (*fn)(api_call_t *, const vch_json_t *))
{
    const vch_json_t *o;
    vch_arena_t arena;
    vch_arena_init(&arena, 64u << 20);
    vch_rc rc = vch_json_parse(&arena, &o, c->req->body, &c->err);
    if (rc == VCH_OK && o->type != VCH_JSON_OBJECT) rc = vch_fail(&c->err, VCH_ERR_FORMAT, "the body is no object");
    if (rc == VCH_OK) rc = fn(c, o);
    vch_arena_free(&arena);
    return rc;
}

vch_rc api_post_prepare(api_call_t *c)
{
    VCH_TRY(api_with_json(c, draft));
    api_answer(c, 200, JSON, NULL);
    return VCH_OK;
}

vch_rc api_get_sequence(api_call_t *c)
{
    vch_keyid_t key;
    uint64_t next;
    vch_id_t party;
    char hex[65];
    const char *text = api_get(c, "key");
    if (!vch_unhex(key.b, 32, text, strlen(text)))
        return vch_fail(&c->err, VCH_ERR_USAGE, "\"key\" is a key id of 64 hex digits");
    VCH_TRY(vch_sequence_of(c->l, &key, &next, &party, &c->err));
    vch_hex(hex, party.b, 32);
    api_answer(c, 200, JSON, NULL);
    return vch_buf_printf(&c->res->body, "{\"sequence\":%llu,\"party\":\"%s\"}", (unsigned long long)next, hex);
}
