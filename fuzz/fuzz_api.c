/* SPDX-License-Identifier: Apache-2.0 */
/* The service on a small ledger in a simulated machine: any request by anybody.
 *
 *   byte 0   which route of the table; beyond it, the path is the input's
 *   byte 1   method (low bits), content type (next), what to do with the body
 *   byte 2   who asks
 *   then     path parameter \n query \n body
 *
 * Signed requests are signed over what is sent, so the input gets behind that
 * door; a draft that comes back is signed and submitted.  Whatever comes: the
 * status is one of the list and no failure of the node, a refusal is JSON with
 * three members, and nobody sees what only others may. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api_int.h"
#include "codec/cbor.h"
#include "codec/text.h"
#include "node/custody.h"
#include "node/wallet_int.h"
#include "port/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ROWS 3u
#define SIZE_MAX_BEFORE_NEW 300u
#define CANARY "person-canary-"

static struct {
    vch_sim_t *sim;
    vch_port_t *port;
    vch_ledger_t *l;
    api_t *api;
    http_service_t service;
    vch_signer_t *clinic, *lab, *stranger, *subject;
    vch_wallet_t *wallet;
    vch_token_t token[3];
    uint64_t nonces;
} w;

static void must(vch_rc rc)
{
    if (rc == VCH_OK) return;
    fprintf(stderr, "setting up: %s\n", vch_rc_name(rc));
    abort();
}

/* ---- the world ---------------------------------------------------------------------- */

static void add_party(const char *name, const char *role, vch_signer_t **ret)
{
    char json[400], hex[80];
    vch_receipt_t r;
    vch_signer_t *op;
    must(vch_identity_new(w.l, name, NULL, NULL, NULL));
    must(vch_identity_load(w.l, name, NULL, ret, NULL));
    must(vch_identity_load(w.l, "operator", NULL, &op, NULL));
    vch_hex(hex, vch_signer_public(*ret)->b, vch_signer_public(*ret)->n);
    int n = snprintf(json, sizeof json, "{\"name\":\"%s\",\"roles\":[\"%s\"],\"keys\":[\"%s\"]}", name, role, hex);
    must(vch_submit_json(w.l, op, "party", json, (size_t)n, &r, NULL));
    vch_signer_free(op);
}

static void add_dataset(void)
{
    char csv[400] = "patient,label\n", owners[800] = "", hex[69];
    vch_receipt_t r;
    vch_ingest_t in;
    vch_dataset_spec_t spec = {.name = "d", .header_csv = "/d.csv", .subject_col = "patient", .label_col = "label"};
    for (unsigned i = 0; i < ROWS; i++) snprintf(csv + strlen(csv), sizeof csv - strlen(csv), CANARY "%u,yes\n", i);
    must(vch_write_atomic(w.port, "/d.csv", vch_str(csv), 0600, NULL));
    must(vch_dataset_create(w.l, w.clinic, &spec, &r, NULL));
    for (unsigned i = 0; i < ROWS; i++) {
        uint8_t key[34];
        must(vch_wallet_key(w.wallet, i, w.l, "d", key, NULL));
        vch_hex(hex, key, sizeof key);
        snprintf(owners + strlen(owners), sizeof owners - strlen(owners), CANARY "%u,%s\n", i, hex);
    }
    must(vch_write_atomic(w.port, "/o.csv", vch_str(owners), 0600, NULL));
    must(vch_dataset_add(w.l, w.clinic, "d", "/d.csv", "/o.csv", NULL, NULL, &in, NULL));
    must(vch__wallet_signer(w.wallet, 0, &w.l->network, &r.object, &w.subject, NULL));
}

static void add_use(void)
{
    static const char terms[] =
        "{\"version\":1,\"title\":\"t\",\"effect\":\"permit\",\"recipients\":[],\"purposes\":[],"
        "\"processings\":[]}";
    static const uint32_t subject[] = {0, 1};
    vch_hash_t hash;
    vch_receipt_t r;
    must(vch_terms_add(w.l, w.clinic, terms, sizeof terms - 1, &hash, &r, NULL));
    must(vch_consent_give(w.l, w.clinic, w.wallet, "d", subject, subject, 2, "t", 40000, &r, NULL));
    must(vch_access_request(w.l, w.lab, "d", "https://w3id.org/dpv#ScientificResearch",
                            "https://w3id.org/dpv/ai#ModelTraining", NULL, 0, &r, NULL));
}

static void world_free(void)
{
    vch_signer_t *const key[] = {w.clinic, w.lab, w.stranger, w.subject};
    if (!w.sim) return;
    api_free(w.api);
    for (size_t i = 0; i < 4; i++) vch_signer_free(key[i]);
    vch_wallet_free(w.wallet);
    must(vch_ledger_close(w.l, NULL));
    vch_sim_free(w.sim);
    memset(&w, 0, sizeof w);
}

static void world_new(void)
{
    static const uint8_t seed[32] = {9};
    static const char *const scope[] = {"read", "statements", "operator"};
    vch_init_t init = {.origin = "clinic.example/fuzz", .operator_name = "operator"};
    api_options_t options = {.receipt_promise_ms = 1000, .version = "fuzz"};
    must(vch_sim_new(&w.sim, 7));
    w.port = vch_sim_port(w.sim);
    must(vch_ledger_init_on(w.port, "/ledger-canary", &init, NULL));
    must(vch_ledger_open_on(&w.l, w.port, "/ledger-canary", 0, NULL));
    add_party("clinic", "custodian", &w.clinic);
    add_party("lab", "user", &w.lab);
    must(vch__wallet_new_on(w.port, "/w", ROWS, 1, NULL, NULL));
    must(vch__wallet_open_on(&w.wallet, w.port, "/w", NULL, NULL));
    add_dataset();
    add_use();
    must(vch_signer_new(&w.stranger, VCH_ALG_ED25519, seed, NULL));
    for (size_t i = 0; i < 3; i++) must(vch_token_new(w.l, scope[i], scope[i], 30, &w.token[i], NULL));
    must(vch_ledger_checkpoint(w.l, NULL, NULL));
    must(api_new(&w.api, w.l, &options, NULL));
    w.service = api_service(w.api);
    (void)atexit(world_free);
}

/* ---- a request ----------------------------------------------------------------------- */

typedef struct {
    http_method_t method;
    vch_slice_t path, query, body;
    const char *type;
    unsigned who;
    vch_buf_t header, full; /* full: the path as it is signed */
} ask_t;

static vch_slice_t take_line(vch_slice_t *rest)
{
    const uint8_t *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    vch_slice_t line = vch_slice(rest->p, end ? (size_t)(end - rest->p) : rest->n);
    size_t used = line.n + (end != NULL);
    *rest = vch_slice(rest->p + used, rest->n - used);
    return line;
}

/* The route's path with the parameter in its braces. */
static void put_path(vch_buf_t *b, const api_route_t *route, vch_slice_t param)
{
    const char *open = strchr(route->path, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!open) {
        must(vch_buf_put(b, route->path, strlen(route->path)));
        return;
    }
    must(vch_buf_put(b, route->path, (size_t)(open - route->path)));
    must(vch_buf_put(b, param.p, param.n));
    must(vch_buf_put(b, close + 1, strlen(close + 1)));
}

static const vch_signer_t *signer_of(unsigned who)
{
    const vch_signer_t *const key[] = {w.clinic, w.lab, w.stranger, w.subject};
    return who >= 2 && who < 6 ? key[who - 2] : NULL;
}

static void sign(ask_t *q)
{
    uint8_t nonce[16] = {1};
    vch_buf_t path;
    vch_put_u64(nonce + 8, ++w.nonces);
    vch_buf_init(&path, 1u << 17);
    must(vch_buf_put(&path, q->path.p, q->path.n));
    if (q->query.n) must(vch_buf_u8(&path, '?'));
    must(vch_buf_put(&path, q->query.p, q->query.n));
    must(vch_buf_u8(&path, 0));
    vch_rc rc = api_authorization_put(&q->header, signer_of(q->who), api_method_name(q->method), (const char *)path.p,
                                      q->body, w.port->clock->wall_ms(w.port), nonce, NULL);
    if (rc != VCH_OK) vch_buf_clear(&q->header); /* a path that is no text can't be signed: then nobody asks */
    vch_buf_free(&path);
}

static void ask(ask_t *q, http_response_t *res)
{
    http_request_t r = {.method = q->method, .path = q->path, .query = q->query, .body = q->body};
    if (q->type) r.content_type = vch_str(q->type);
    r.local = q->who == 1;
    if (signer_of(q->who)) sign(q);
    if (q->who >= 6 && q->who < 9) must(vch_buf_printf(&q->header, "Bearer %s", w.token[q->who - 6].text));
    if (q->who == 9) must(vch_buf_put(&q->header, q->body.p, vch_min(q->body.n, HTTP_HEADER_MAX)));
    if (q->who >= 10 && q->who < 14) {
        r.has_peer = true;
        r.peer = vch_pubkey_id(vch_signer_public(signer_of(q->who - 8)));
    }
    r.authorization = vch_buf_slice(&q->header);
    *res = (http_response_t){.status = 0};
    vch_buf_init(&res->body, 64u << 20);
    if (w.service.joins(w.service.ctx, &r)) {
        const http_request_t *one = &r;
        w.service.batch(w.service.ctx, &one, &res, 1);
    } else {
        w.service.handle(w.service.ctx, &r, res);
    }
    w.service.done(w.service.ctx, &r, res->status, res->body.n, 1);
}

/* ---- what must hold -------------------------------------------------------------------- */

static bool holds(vch_slice_t text, const char *what)
{
    return text.n && memmem(text.p, text.n, what, strlen(what)) != NULL;
}

static void check(const ask_t *q, const http_response_t *res)
{
    vch_arena_t arena;
    const vch_json_t *o;
    vch_slice_t body = vch_buf_slice(&res->body);
    bool listed = false;
    for (size_t i = 0; api_status_list[i]; i++) listed |= api_status_list[i] == res->status;
    if (!listed || res->status >= 500) fprintf(stderr, "%d: %.*s\n", res->status, (int)body.n, (const char *)body.p);
    assert(listed && res->status < 500);
    assert(res->type);
    bool asked_for = holds(q->path, CANARY) || holds(q->query, CANARY) || holds(q->body, CANARY);
    assert(asked_for || !holds(body, CANARY));
    assert(!holds(body, "/ledger-canary"));
    if (res->status == 200) return;
    vch_arena_init(&arena, 1u << 20);
    vch_rc rc = vch_json_parse(&arena, &o, body, NULL);
    assert(rc == VCH_OK && o->count == 3 && vch_json_get(o, "error") && vch_json_get(o, "hint"));
    assert((res->status == 405) == (res->allow != NULL));
    vch_arena_free(&arena);
}

/* Who brought nothing gets nothing of these classes. */
static void check_admitted(const ask_t *q, const http_response_t *res)
{
    http_request_t r = {.method = q->method, .path = q->path};
    const api_route_t *route = api_route_of(&r);
    bool anonymous = q->who < 2, stranger = q->who == 4 || q->who == 12;
    if (!route || res->status != 200 || (!q->header.n && !anonymous && q->who < 10)) return;
    if (route->who >= API_PARTY) assert(!anonymous);
    if (route->who == API_PARTY || route->who == API_AUDITOR) assert(!stranger);
    if (route->who == API_AUDITOR) assert(q->who == 8);
}

/* ---- a draft comes true ------------------------------------------------------------------ */

static vch_buf_t bytes_of(const vch_json_t *v)
{
    vch_buf_t b;
    vch_buf_init(&b, 2u << 20);
    must(vch_base64_get(&b, v->text));
    return b;
}

static void submit_draft(const vch_signer_t *signer, vch_slice_t draft)
{
    vch_arena_t arena;
    const vch_json_t *o;
    vch_buf_t tx;
    ask_t q = {.method = HTTP_POST, .path = vch_str("/v1/submit"), .type = "application/cbor"};
    http_response_t res;
    vch_arena_init(&arena, 8u << 20);
    vch_buf_init(&tx, 2u << 20);
    must(vch_json_parse(&arena, &o, draft, NULL));
    vch_buf_t to_sign = bytes_of(vch_json_get(o, "sign")), entry = bytes_of(vch_json_get(o, "entry"));
    const vch_json_t *list = vch_json_get(o, "statements");
    must(vch_signer_sign(signer, entry.p + entry.n - 64, vch_buf_slice(&to_sign)));
    must(vch_cbor_array(&tx, 2));
    must(vch_cbor_bytes(&tx, entry.p, entry.n));
    must(vch_cbor_array(&tx, list->count));
    for (const vch_json_t *s = list->first; s; s = s->next) {
        vch_buf_t statement = bytes_of(s);
        must(vch_cbor_bytes(&tx, statement.p, statement.n));
        vch_buf_free(&statement);
    }
    q.body = vch_buf_slice(&tx);
    ask(&q, &res);
    check(&q, &res);
    vch_buf_free(&res.body);
    vch_buf_free(&to_sign);
    vch_buf_free(&entry);
    vch_buf_free(&tx);
    vch_arena_free(&arena);
}

/* "SIGNER" in a draft's body becomes the key of who asks. */
static void put_signer(ask_t *q, vch_buf_t *body)
{
    static const char mark[] = "SIGNER";
    const vch_signer_t *signer = signer_of(q->who);
    const uint8_t *at = q->body.n ? memmem(q->body.p, q->body.n, mark, sizeof mark - 1) : NULL;
    if (!signer || !at) return;
    char hex[80];
    size_t before = (size_t)(at - q->body.p), after = before + sizeof mark - 1;
    vch_hex(hex, vch_signer_public(signer)->b, vch_signer_public(signer)->n);
    must(vch_buf_put(body, q->body.p, before));
    must(vch_buf_put(body, hex, strlen(hex)));
    must(vch_buf_put(body, q->body.p + after, q->body.n - after));
    q->body = vch_buf_slice(body);
}

static void run(ask_t *q)
{
    http_response_t res;
    vch_buf_t body;
    vch_buf_init(&body, 1u << 17);
    vch_buf_init(&q->header, HTTP_HEADER_MAX);
    put_signer(q, &body);
    ask(q, &res);
    check(q, &res);
    check_admitted(q, &res);
    if (res.status == 200 && signer_of(q->who) && holds(q->path, "/v1/prepare"))
        submit_draft(signer_of(q->who), vch_buf_slice(&res.body));
    vch_buf_free(&res.body);
    vch_buf_free(&q->header);
    vch_buf_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const http_method_t method[] = {HTTP_GET, HTTP_POST, HTTP_HEAD, HTTP_OTHER};
    static const char *const type[] = {NULL, "application/json", "application/cbor", "text/plain"};
    if (n < 3) return 0;
    if (w.l && vch_log_size(w.l->log) > SIZE_MAX_BEFORE_NEW) world_free();
    if (!w.l) world_new();
    vch_sim_clock_step(w.sim, 1);
    vch_buf_t path;
    vch_slice_t rest = vch_slice(data + 3, n - 3), param = take_line(&rest);
    ask_t q = {.method = method[data[1] & 3], .type = type[data[1] >> 2 & 3], .who = data[2] % 14};
    vch_buf_init(&path, 1u << 17);
    if (data[0] < api_route_number(NULL))
        put_path(&path, &api_routes[data[0]], param);
    else
        must(vch_buf_put(&path, param.p, param.n));
    q.path = vch_buf_slice(&path);
    q.query = take_line(&rest);
    q.body = rest;
    run(&q);
    vch_buf_free(&path);
    return 0;
}
