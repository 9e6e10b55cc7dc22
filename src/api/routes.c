/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of routes, and the way from a request to its answer:
 *
 *   path and method -> route; parameters decoded, each known and given once
 *   who asks -> does the route's class let them in? -> the route's own answer
 *
 * Whatever an answer returns becomes a status by one table, and a refusal is
 * always JSON: {"error", "text", "hint"}. */
#include "api/api_int.h"
#include "codec/text.h"

#define JSON "application/json"
#define TEXT "text/plain; charset=utf-8"
#define BYTES "application/octet-stream"
#define CBOR "application/cbor"
#define PARAMS (const api_param_t[])
#define PAIRS_MAX 16

#define INDEX                                                                                                          \
    {                                                                                                                  \
        "index", "the entry's place in the log", true, true, false                                                     \
    }

const api_route_t api_routes[] = {
    {HTTP_GET, "/checkpoint", API_OPEN, "The newest signed checkpoint", TEXT, "a C2SP signed note", NULL, NULL, NULL,
     api_get_checkpoint},
    {HTTP_GET, "/tile/{tile}", API_READ, "A tile, or a bundle of entries", BYTES, "as C2SP tlog-tiles has it",
     PARAMS{{"tile", "LEVEL/N or entries/N, and .p/WIDTH behind a partial one", false, true, true}, {0}}, NULL, NULL,
     api_get_tile},
    {HTTP_GET, "/v1/info", API_OPEN, "Which log this is, how far it got, and the key that signs it", JSON,
     "origin, network, version, size, height, checkpoint size, committed, time, time ms, log key", NULL, NULL, NULL,
     api_get_info},
    {HTTP_GET, "/v1/health/live", API_OPEN, "The process answers", JSON, "live", NULL, NULL, NULL, api_get_live},
    {HTTP_GET, "/v1/health/ready", API_OPEN, "Submissions are taken; 503 says why not", JSON, "ready", NULL, NULL, NULL,
     api_get_ready},
    {HTTP_GET, "/metrics", API_READ, "Metrics", "text/plain; version=0.0.4; charset=utf-8",
     "Prometheus text format 0.0.4", NULL, NULL, NULL, api_get_metrics},
    {HTTP_GET, "/openapi.json", API_OPEN, "This interface as an OpenAPI 3.1 document", JSON,
     "openapi, info, paths, components", NULL, NULL, NULL, api_get_openapi},
    {HTTP_POST, "/v1/submit", API_OPEN, "One signed transaction; answered when it is durable", JSON,
     "object, entry, index, statements, time, time ms; already there, when it is; permit, rule, rows, expires, expires "
     "ms, of an access request; receipt: the log's signed promise",
     NULL, CBOR, "CBOR [entry, [statement, ...]]", api_post_submit},
    {HTTP_POST, "/v1/prepare", API_PARTY, "What a party has to sign to say something", JSON,
     "sign, entry, statements, sequence", NULL, JSON,
     "kind; signer: multicodec key in hex; statements: a list of objects, or one. The signature over `sign` replaces "
     "the 64 zero bytes at the end of `entry`",
     api_post_prepare},
    {HTTP_GET, "/v1/sequence", API_PARTY, "The next sequence number of the party that a key belongs to", JSON,
     "sequence, party", PARAMS{{"key", "key id, 64 hex digits", false, true, false}, {0}}, NULL, NULL,
     api_get_sequence},
    {HTTP_GET, "/v1/entry/{index}", API_READ, "An entry without what its statements say", JSON,
     "index, height, time, time ms, kind, committed; and what its kind has", PARAMS{INDEX, {0}}, NULL, NULL,
     api_get_entry},
    {HTTP_GET, "/v1/entry/{index}/statements", API_ENTITLED,
     "An entry with its statements; what organisations said is for any party", JSON,
     "index, height, time, time ms, kind; and what its kind has", PARAMS{INDEX, {0}}, NULL, NULL, api_get_statements},
    {HTTP_GET, "/v1/find", API_READ, "Where an entry or object stands", JSON, "index, statement",
     PARAMS{{"id", "16 to 64 hex digits of its id; parties may give as few as 8", false, true, false}, {0}}, NULL, NULL,
     api_get_find},
    {HTTP_GET, "/v1/list/consents", API_ENTITLED, "What is in force, subject by subject", JSON,
     "[subject, serial, owner withdrew, last, consents]",
     PARAMS{{"of", "DATASET or DATASET/SUBJECT", false, true, false}, {0}}, NULL, NULL, api_get_consents},
    {HTTP_GET, "/v1/list/{what}", API_PARTY, "What organisations said, oldest first", JSON,
     "[id, index, time, time ms; and what its kind has]",
     PARAMS{{"what", "parties, datasets, versions, terms, grants, runs, models, deployments, batches or remedies",
             false, true, false},
            {"of", "only those of this dataset, version, run, model or deployment", false, false, false},
            {0}},
     NULL, NULL, api_get_list},
    {HTTP_GET, "/v1/state", API_READ, "A value of the state tree with its proof, or the proof that there is none", JSON,
     "key, present, value, root, height, end, siblings",
     PARAMS{{"key", "the state key in hex", false, true, false}, {0}}, NULL, NULL, api_get_state},
    {HTTP_GET, "/v1/proof/inclusion", API_READ, "That an entry is in the log", TEXT, "a C2SP tlog-proof",
     PARAMS{INDEX, {0}}, NULL, NULL, api_get_inclusion},
    {HTTP_GET, "/v1/proof/consistency", API_READ, "That one tree extends another", JSON,
     "size1, root1, size2, root2, path",
     PARAMS{{"from", "size of the smaller tree", true, true, false},
            {"to", "size of the larger one", true, true, false},
            {0}},
     NULL, NULL, api_get_consistency},
    {HTTP_GET, "/v1/trace", API_ENTITLED, "From a decision back to the consents, each link verified", JSON,
     "decision, verdict", PARAMS{{"decision", "DEPLOYMENT/NUMBER", false, true, false}, {0}}, NULL, NULL,
     api_get_trace},
    {HTTP_POST, "/v1/bundle", API_ENTITLED, "Evidence that anybody can verify offline", CBOR, "a bundle", NULL, JSON,
     "what: decision, access, consent, row, lineage or erasure; id: DEPLOYMENT/NUMBER, GRANT, DATASET/SUBJECT, "
     "RUN/EXTENT/ROW, MODEL or ERASURE",
     api_post_bundle},
    {HTTP_GET, "/v1/affected", API_ENTITLED, "Models trained on rows whose owners have since withdrawn", JSON,
     "[model, name, run, rows withdrawn, subjects, remedied, exact]", NULL, NULL, NULL, api_get_affected},
    {HTTP_GET, "/v1/subject", API_ENTITLED, "What a subject's device needs to sign a consent", JSON,
     "network, dataset, subject, serial, next serial, known; key, first, path, where there is one",
     PARAMS{{"dataset", "the dataset's name or id", false, true, false},
            {"subject", "the subject's number", true, false, false},
            {"person", "instead: what the custodian calls the person", false, false, false},
            {0}},
     NULL, NULL, api_get_subject},
    {HTTP_GET, "/v1/vault", API_PARTY, "Where the vault's trustees and storage nodes answer", JSON,
     "trustees, threshold, storage, data; addresses are URL#KEYID", NULL, NULL, NULL, api_get_vault},
    {HTTP_GET, "/v1/grant/rows", API_PARTY, "Which rows a grant of one's own permits now", BYTES,
     "a bitmap, extents in order, each of whole 256 bytes, row r in bit 7 - r % 8 of byte r / 8",
     PARAMS{{"grant", "the grant's id in hex", false, true, false}, {0}}, NULL, NULL, api_get_grant_rows},
    {HTTP_GET, "/v1/records", API_AUDITOR, "Entries with their statements, for mirrors and trustees",
     "application/cbor-seq",
     "a sequence of [index, height, time ms, entry, [statement, ...]]; of an erased statement [leaf hash]",
     PARAMS{{"from", "place of the first one", true, true, false},
            {"to", "place behind the last one; as many as fit an answer are given", true, false, false},
            {0}},
     NULL, NULL, api_get_records},
    {0},
};

size_t api_route_number(const api_route_t *route)
{
    if (route) return (size_t)(route - api_routes);
    return sizeof api_routes / sizeof *api_routes - 1;
}

const char *api_method_name(http_method_t method)
{
    switch (method) {
    case HTTP_GET:
        return "GET";
    case HTTP_HEAD:
        return "HEAD";
    case HTTP_POST:
        return "POST";
    case HTTP_OTHER:
        break;
    }
    return "";
}

/* ---- statuses ----------------------------------------------------------------------- */

static const int statuses[VCH_RC_COUNT] = {
    [VCH_OK] = 200,
    [VCH_ERR_INTERNAL] = 500,
    [VCH_ERR_USAGE] = 400,
    [VCH_ERR_FORMAT] = 400,
    [VCH_ERR_LIMIT] = 413,
    [VCH_ERR_MEMORY] = 503,
    [VCH_ERR_IO] = 500,
    [VCH_ERR_FULL] = 503,
    [VCH_ERR_READ_ONLY] = 503,
    [VCH_ERR_INTERRUPTED] = 503,
    [VCH_ERR_NOT_FOUND] = 404,
    [VCH_ERR_CONFLICT] = 409,
    [VCH_ERR_LOCKED] = 503,
    [VCH_ERR_CORRUPT] = 500,
    [VCH_ERR_VERSION] = 422,
    [VCH_ERR_UNSUPPORTED] = 422,
    [VCH_ERR_SIGNATURE] = 422,
    [VCH_ERR_KEY] = 422,
    [VCH_ERR_NETWORK] = 422,
    [VCH_ERR_REPLAY] = 409,
    [VCH_ERR_EXPIRED] = 422,
    [VCH_ERR_REFERENCE] = 422,
    [VCH_ERR_ROLE] = 403,
    [VCH_ERR_DENIED] = 403,
    [VCH_ERR_COMMITMENT] = 422,
    [VCH_ERR_CLOCK] = 503,
    [VCH_ERR_UNREACHABLE] = 503,
    [VCH_ERR_QUORUM] = 503,
};
const int api_status_list[API_STATUSES] = {200, 400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 429, 500, 503};

int api_status(vch_rc rc) { return (unsigned)rc < VCH_RC_COUNT && statuses[rc] ? statuses[rc] : 500; }

/* ---- answers --------------------------------------------------------------------------- */

void api_answer(api_call_t *c, int status, const char *type, const char *cache)
{
    c->res->status = status;
    c->res->type = type;
    c->res->cache = cache;
}

static vch_rc put_refusal(vch_buf_t *b, vch_rc rc, const char *text, const char *hint)
{
    VCH_TRY(vch_buf_printf(b, "{\"error\":\"%s\",\"text\":", vch_rc_name(rc)));
    VCH_TRY(vch_json_put_string(b, vch_str(text)));
    VCH_TRY(vch_buf_printf(b, ",\"hint\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(hint)));
    return vch_buf_u8(b, '}');
}

void api_refuse(http_response_t *res, int status, vch_rc rc, const char *text, const char *hint)
{
    res->status = status;
    res->type = JSON;
    res->cache = NULL;
    vch_buf_clear(&res->body);
    if (put_refusal(&res->body, rc, text, hint) == VCH_OK) return;
    vch_buf_clear(&res->body);
    if (put_refusal(&res->body, rc, vch_rc_text(rc), "") == VCH_OK) return; /* a text that is no UTF-8 */
    vch_buf_clear(&res->body);
    res->type = NULL;
}

/* Where this ledger lies on its machine is nobody's business. */
static const char *without_paths(const api_call_t *c, const char *text, const char *instead)
{
    return strlen(c->l->dir) > 1 && strstr(text, c->l->dir) ? instead : text;
}

static void finish(api_call_t *c, vch_rc rc)
{
    if (rc == VCH_OK && c->res->status) return;
    if (rc == VCH_OK) rc = vch_fail(&c->err, VCH_ERR_INTERNAL, "no answer was given");
    if (c->err.rc != rc || !c->err.text[0]) {
        c->err = (vch_err_t){.rc = rc};
        if (rc == VCH_ERR_LIMIT)
            (void)vch_fail(&c->err, rc, "the answer is larger than %zu bytes", c->res->body.max);
        else
            (void)vch_fail(&c->err, rc, "%s", vch_rc_text(rc));
    }
    int status = c->status ? c->status : api_status(rc);
    if (rc == VCH_ERR_LOCKED) c->res->retry_after_s = 1;
    api_refuse(c->res, status, rc, without_paths(c, c->err.text, vch_rc_text(rc)),
               without_paths(c, c->err.hint, "the operator finds the cause with vouch check"));
}

/* ---- decoding ----------------------------------------------------------------------------- */

static vch_rc bad(api_call_t *c, const char *what)
{
    return vch_fail(&c->err, VCH_ERR_USAGE, "the request's %s", what);
}

/* RFC 3986: what may stand as it is in a segment; `more` for queries. */
static bool stands_for_itself(uint8_t ch, bool more)
{
    if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')) return true;
    return ch && (strchr("-._~!$'()*+,;:@", ch) || (more && strchr("/?=", ch)));
}

/* Percent-decoded into c->text, NUL-terminated; *used is what c->text holds. */
static vch_rc decode(api_call_t *c, vch_slice_t s, bool more, size_t *used, vch_slice_t *ret)
{
    size_t at = *used, n = 0;
    for (size_t i = 0; i < s.n; i++, n++) {
        uint8_t ch = s.p[i];
        if (ch == '%') {
            if (s.n - i < 3 || !vch_unhex(&ch, 1, (const char *)s.p + i + 1, 2))
                return bad(c, "percent signs are wrong");
            i += 2;
        } else if (!stands_for_itself(ch, more)) {
            return bad(c, "path or query holds a character that must be percent-encoded");
        }
        if (ch < ' ' || ch == 127) return bad(c, "path or query holds a control character");
        if (at + n + 2 > sizeof c->text) return bad(c, "path or query is too long");
        c->text[at + n] = (char)ch;
    }
    c->text[at + n] = 0;
    *ret = vch_slice(c->text + at, n);
    *used = at + n + 1;
    return vch_utf8_valid(*ret) ? VCH_OK : bad(c, "path or query is no UTF-8");
}

static size_t param_number(const api_route_t *route, vch_slice_t name)
{
    size_t i = 0;
    if (!route->param) return API_PARAMS_MAX;
    for (; route->param[i].name; i++)
        if (vch_slice_eq(name, vch_str(route->param[i].name))) return i;
    return API_PARAMS_MAX;
}

static vch_rc take(api_call_t *c, size_t i, vch_slice_t value)
{
    const api_param_t *p = &c->route->param[i];
    if (c->value[i]) return vch_fail(&c->err, VCH_ERR_USAGE, "\"%s\" is given twice", p->name);
    if (value.n == 0) return vch_fail(&c->err, VCH_ERR_USAGE, "\"%s\" is empty", p->name);
    if (p->number && vch_decimal_get(&c->number[i], value) != VCH_OK)
        return vch_fail(&c->err, VCH_ERR_USAGE, "\"%s\" is a number, not \"%.40s\"", p->name, (const char *)value.p);
    c->value[i] = (const char *)value.p;
    return VCH_OK;
}

static vch_rc take_pair(api_call_t *c, vch_slice_t pair, size_t *used)
{
    vch_slice_t name, value;
    const uint8_t *eq = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
    if (!eq) return bad(c, "query holds something else than name=value");
    size_t n = (size_t)(eq - pair.p);
    VCH_TRY(decode(c, vch_slice(pair.p, n), false, used, &name));
    VCH_TRY(decode(c, vch_slice(eq + 1, pair.n - n - 1), true, used, &value));
    size_t i = param_number(c->route, name);
    if (i == API_PARAMS_MAX)
        return vch_fail(&c->err, VCH_ERR_USAGE, "this route knows no \"%.40s\"", (const char *)name.p);
    return take(c, i, value);
}

static vch_rc take_query(api_call_t *c, size_t *used)
{
    vch_slice_t rest = c->req->query;
    for (unsigned pairs = 0; rest.n; pairs++) {
        const uint8_t *end = memchr(rest.p, '&', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n, skip = end ? n + 1 : n;
        if (pairs == PAIRS_MAX || (end && skip == rest.n)) return bad(c, "query is no list of a few name=value");
        VCH_TRY(take_pair(c, vch_slice(rest.p, n), used));
        rest = vch_slice(rest.p + skip, rest.n - skip);
    }
    return VCH_OK;
}

static vch_rc check_required(api_call_t *c)
{
    for (size_t i = 0; c->route->param && c->route->param[i].name; i++)
        if (c->route->param[i].required && !c->value[i])
            return vch_fail(&c->err, VCH_ERR_USAGE, "\"%s\" is missing", c->route->param[i].name);
    return VCH_OK;
}

const char *api_get(const api_call_t *c, const char *name)
{
    size_t i = param_number(c->route, vch_str(name));
    return i == API_PARAMS_MAX ? NULL : c->value[i];
}

uint64_t api_number(const api_call_t *c, const char *name)
{
    size_t i = param_number(c->route, vch_str(name));
    return i == API_PARAMS_MAX ? 0 : c->number[i];
}

/* ---- from a path to a route -------------------------------------------------------------------- */

static vch_slice_t segment(vch_slice_t *rest)
{
    size_t n = 0;
    while (n < rest->n && rest->p[n] != '/') n++;
    vch_slice_t s = vch_slice(rest->p, n);
    *rest = n < rest->n ? vch_slice(rest->p + n + 1, rest->n - n - 1) : vch_slice(rest->p + n, 0);
    return s;
}

/* Does the path fit?  c (may be NULL) gets its parameters, still encoded in
 * `found`, which has one place for each parameter of the route. */
static bool fits(const api_route_t *route, vch_slice_t path, vch_slice_t *found)
{
    vch_slice_t pattern = vch_str(route->path), rest = path;
    if (path.n == 0 || *path.p != '/' || path.p[path.n - 1] == '/') return false;
    while (pattern.n && rest.n) {
        vch_slice_t want = segment(&pattern), before = rest, got = segment(&rest);
        if (want.n == 0 || *want.p != '{') {
            if (!vch_slice_eq(want, got)) return false;
            continue;
        }
        size_t i = param_number(route, vch_slice(want.p + 1, want.n - 2));
        if (i == API_PARAMS_MAX || got.n == 0) return false;
        if (route->param[i].rest) {
            got = before;
            rest = vch_slice(rest.p, 0);
        }
        if (found) found[i] = got;
    }
    return pattern.n == 0 && rest.n == 0;
}

static bool allows(const api_route_t *route, http_method_t method)
{
    return method == route->method || (method == HTTP_HEAD && route->method == HTTP_GET);
}

const api_route_t *api_route_of(const http_request_t *req)
{
    const api_route_t *other = NULL;
    for (const api_route_t *r = api_routes; r->path; r++) {
        if (!fits(r, req->path, NULL)) continue;
        if (allows(r, req->method)) return r;
        other = r;
    }
    return other;
}

static vch_rc take_path(api_call_t *c, size_t *used)
{
    vch_slice_t found[API_PARAMS_MAX] = {{NULL, 0}}, value;
    if (!fits(c->route, c->req->path, found)) return bad(c, "path is not this route's");
    for (size_t i = 0; i < API_PARAMS_MAX; i++) {
        if (!found[i].n) continue;
        VCH_TRY(decode(c, found[i], c->route->param[i].rest, used, &value));
        if (!c->route->param[i].rest && memchr(value.p, '/', value.n)) return bad(c, "path hides a slash");
        VCH_TRY(take(c, i, value));
    }
    return VCH_OK;
}

static vch_rc no_route(api_call_t *c)
{
    return vch_hint(&c->err, vch_fail(&c->err, VCH_ERR_NOT_FOUND, "there is no such route"),
                    "GET /openapi.json lists what there is");
}

static vch_rc check_method(api_call_t *c)
{
    if (allows(c->route, c->req->method)) return VCH_OK;
    c->status = 405;
    c->res->allow = c->route->method == HTTP_POST ? "POST" : "GET, HEAD";
    return vch_fail(&c->err, VCH_ERR_USAGE, "this route takes %s only", c->res->allow);
}

/* A media type may be followed by parameters. */
static vch_rc check_type(api_call_t *c)
{
    const char *want = c->route->body;
    vch_slice_t got = c->req->content_type;
    size_t n = want ? strlen(want) : 0;
    if (!want) return c->req->body.n ? bad(c, "body is not wanted here") : VCH_OK;
    if (got.n >= n && memcmp(got.p, want, n) == 0 && (got.n == n || got.p[n] == ';' || got.p[n] == ' ')) return VCH_OK;
    c->status = 415;
    return vch_fail(&c->err, VCH_ERR_USAGE, "this route takes a body of type %s", want);
}

/* ---- a question ----------------------------------------------------------------------------------- */

static vch_rc understand(api_call_t *c)
{
    size_t used = 0;
    if (c->req->path.n + c->req->query.n > HTTP_PATH_MAX) {
        c->status = 414;
        return vch_fail(&c->err, VCH_ERR_LIMIT, "a path with its query has at most %d bytes", HTTP_PATH_MAX);
    }
    c->route = api_route_of(c->req);
    if (!c->route) return no_route(c);
    VCH_TRY(check_method(c));
    VCH_TRY(take_path(c, &used)); /* first, so that no query gives these again */
    VCH_TRY(take_query(c, &used));
    VCH_TRY(check_required(c));
    return check_type(c);
}

/* Open routes don't look at credentials at all. */
static vch_rc run(api_call_t *c)
{
    VCH_TRY(understand(c));
    if (c->route->who != API_OPEN) VCH_TRY(api_identify(c));
    VCH_TRY(api_admit(c, c->route->who));
    return c->route->run(c);
}

bool api_understood(api_t *api, const http_request_t *req, http_response_t *res)
{
    api_call_t *c = vch_alloc(sizeof *c);
    if (!c) {
        api_refuse(res, 503, VCH_ERR_MEMORY, "out of memory", "ask again in a moment");
        return false;
    }
    *c = (api_call_t){.api = api, .l = api->l, .req = req, .res = res};
    vch_rc rc = understand(c);
    if (rc != VCH_OK) finish(c, rc);
    vch_free(c);
    return rc == VCH_OK;
}

static void handle(void *ctx, const http_request_t *req, http_response_t *res)
{
    api_t *api = ctx;
    api_call_t *c = vch_alloc(sizeof *c);
    if (!c) {
        api_refuse(res, 503, VCH_ERR_MEMORY, "out of memory", "ask again in a moment");
        return;
    }
    c->api = api;
    c->l = api->l;
    c->req = req;
    c->res = res;
    finish(c, run(c));
    vch_free(c);
}

static void done(void *ctx, const http_request_t *req, int status, size_t bytes, uint64_t micros)
{
    (void)bytes;
    api_count(ctx, api_route_of(req), status, micros);
}

/* ---- the service --------------------------------------------------------------------------------------- */

http_service_t api_service(api_t *api)
{
    return (http_service_t){.ctx = api, .handle = handle, .joins = api_joins, .batch = api_batch, .done = done};
}

vch_rc api_new(api_t **ret, vch_ledger_t *l, const api_options_t *options, vch_err_t *err)
{
    api_t *api = vch_alloc(sizeof *api);
    if (!api) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    api->l = l;
    if (options) api->options = *options;
    const char *version = api->options.version ? api->options.version : vch_version();
    memcpy(api->version, version, vch_min(strlen(version), sizeof api->version - 1));
    api->ready = true;
    atomic_store(&api->read, (int)l->read);
    vch_rc rc = vch_ledger_operator(l, &api->operator_party, err);
    if (rc == VCH_OK) rc = api_nonces_init(api, err);
    if (rc != VCH_OK) {
        vch_free(api);
        return rc;
    }
    pthread_mutex_init(&api->mutex, NULL);
    pthread_mutex_init(&api->strangers, NULL);
    pthread_mutex_init(&api->heavy, NULL);
    *ret = api;
    return VCH_OK;
}

void api_free(api_t *api)
{
    if (!api) return;
    api_nonces_free(api);
    pthread_mutex_destroy(&api->heavy);
    pthread_mutex_destroy(&api->strangers);
    pthread_mutex_destroy(&api->mutex);
    vch_free(api);
}

void api_set_ready(api_t *api, bool ready, const char *why)
{
    size_t n = why ? vch_min(strlen(why), sizeof api->why - 1) : 0;
    pthread_mutex_lock(&api->mutex);
    api->ready = ready;
    if (n) memcpy(api->why, why, n);
    api->why[n] = 0;
    pthread_mutex_unlock(&api->mutex);
}

void api_set_witnesses(api_t *api, unsigned asked, unsigned cosigned, bool quorum)
{
    uint64_t boot = api->l->port->clock->boot_ms(api->l->port);
    pthread_mutex_lock(&api->mutex);
    if (quorum || !api->gathered) api->quorum_boot = boot;
    api->gathered = true;
    api->witnesses = asked;
    api->cosigned = cosigned;
    api->quorum = quorum;
    pthread_mutex_unlock(&api->mutex);
}

void api_set_http(api_t *api, const http_server_t *http) { atomic_store(&api->http, http); }

/* Tokens are read at each use anyway. */
vch_rc api_reload(api_t *api, vch_err_t *err)
{
    VCH_TRY(vch_ledger_reload(api->l, err));
    pthread_mutex_lock(&api->l->mutex);
    int read = (int)api->l->read;
    pthread_mutex_unlock(&api->l->mutex);
    atomic_store(&api->read, read);
    return VCH_OK;
}
