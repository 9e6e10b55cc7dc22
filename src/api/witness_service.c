/* SPDX-License-Identifier: Apache-2.0 */
#include "api/witness_service.h"

#include <stdatomic.h>
#include <stdio.h>

#define TEXT "text/plain; charset=utf-8"
#define PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"
#define LLU(v) (unsigned long long)(v)

/* What add-checkpoint can answer, and whatever else. */
static const int statuses[] = {200, 400, 403, 404, 409, 422, 500};
#define STATUSES (sizeof statuses / sizeof *statuses)

struct witness_service {
    vch_witness_t *w;
    _Atomic(const http_server_t *) http;
    atomic_ullong answered[STATUSES], micros;
    atomic_bool failed; /* nothing can be written any more, as far as is known */
};

static bool is(vch_slice_t s, const char *text) { return vch_slice_eq(s, vch_str(text)); }

static void answer(http_response_t *res, int status, const char *type)
{
    res->status = status;
    res->type = type;
}

/* One line for people; without memory the status says enough. */
static void say(http_response_t *res, int status, const char *text)
{
    answer(res, status, NULL);
    vch_buf_clear(&res->body);
    if (vch_buf_printf(&res->body, "%s\n", text) == VCH_OK)
        res->type = TEXT;
    else
        vch_buf_clear(&res->body);
}

/* ---- add-checkpoint -------------------------------------------------------------------- */

static void count(witness_service_t *s, int status)
{
    for (size_t i = 0; i < STATUSES; i++)
        if (statuses[i] == status) atomic_fetch_add(&s->answered[i], 1);
}

static void refuse(http_response_t *res, int status)
{
    static const struct {
        int status;
        const char *text;
    } row[] = {{400, "not a request of tlog-witness, or its old size is larger than the checkpoint's"},
               {403, "no signature of a key that is known for this log, or a false one"},
               {404, "this log is not served here"},
               {422, "the checkpoint does not extend what was cosigned"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].status == status) say(res, status, row[i].text);
}

static void add(witness_service_t *s, const http_request_t *req, http_response_t *res)
{
    vch_err_t err = {0};
    int status = 500;
    vch_rc rc = vch_witness_add(s->w, req->body, &status, &res->body, &err);
    atomic_store(&s->failed, rc != VCH_OK);
    if (rc != VCH_OK) {
        res->retry_after_s = 5;
        say(res, status = 500, "the witness can't sign at the moment");
    } else if (status == 200 || status == 409) {
        answer(res, status, status == 200 ? TEXT : "text/x.tlog.size");
    } else {
        refuse(res, status);
    }
    count(s, status);
}

/* ---- the rest ----------------------------------------------------------------------------- */

static void latest(witness_service_t *s, const char *hex, http_response_t *res)
{
    vch_hash_t id;
    vch_rc rc = vch_unhex(id.b, 32, hex, 64) ? vch_witness_latest(s->w, &id, &res->body, NULL) : VCH_ERR_NOT_FOUND;
    if (rc == VCH_OK)
        answer(res, 200, TEXT);
    else
        say(res, rc == VCH_ERR_NOT_FOUND ? 404 : 503, rc == VCH_ERR_NOT_FOUND ? "nothing was cosigned" : "no memory");
}

static vch_rc head(vch_buf_t *b, const char *name, const char *type, const char *help)
{
    return vch_buf_printf(b, "# HELP vouchsafe_witness_%s %s\n# TYPE vouchsafe_witness_%s %s\n", name, help, name,
                          type);
}

typedef struct {
    vch_buf_t *b;
    bool time;
    vch_rc rc;
} putting_t;

static void put_log(void *ctx, const vch_witnessed_t *l)
{
    putting_t *p = ctx;
    char id[65];
    if (!l->any || p->rc != VCH_OK) return;
    vch_hex(id, l->id.b, 32);
    p->rc = vch_buf_printf(p->b, "vouchsafe_witness_%s{log=\"%s\"} %llu\n", p->time ? "cosigned_seconds" : "size", id,
                           LLU(p->time ? l->seconds : l->size));
}

static vch_rc put_logs(witness_service_t *s, vch_buf_t *b)
{
    putting_t size = {.b = b}, time = {.b = b, .time = true};
    VCH_TRY(head(b, "size", "gauge", "Entries of the newest checkpoint cosigned, by SHA-256 of the log's origin."));
    vch_witness_list(s->w, put_log, &size);
    VCH_TRY(size.rc);
    VCH_TRY(head(b, "cosigned_seconds", "gauge", "When it was cosigned last, seconds since 1970."));
    vch_witness_list(s->w, put_log, &time);
    return time.rc;
}

static vch_rc put_metrics(witness_service_t *s, vch_buf_t *b)
{
    http_stats_t stats = {0};
    const http_server_t *http = atomic_load(&s->http);
    VCH_TRY(head(b, "requests_total", "counter", "Requests to cosign, by status."));
    for (size_t i = 0; i < STATUSES; i++)
        VCH_TRY(vch_buf_printf(b, "vouchsafe_witness_requests_total{status=\"%d\"} %llu\n", statuses[i],
                               LLU(atomic_load(&s->answered[i]))));
    VCH_TRY(head(b, "ready", "gauge", "0 after a request that could not be made durable."));
    VCH_TRY(vch_buf_printf(b, "vouchsafe_witness_ready %d\n", atomic_load(&s->failed) ? 0 : 1));
    VCH_TRY(put_logs(s, b));
    if (!http) return VCH_OK;
    http_server_stats(http, &stats);
    VCH_TRY(head(b, "http_connections", "gauge", "Connections now."));
    VCH_TRY(vch_buf_printf(b, "vouchsafe_witness_http_connections %u\n", stats.connections));
    VCH_TRY(head(b, "http_pushed_back_total", "counter", "Requests answered 429 before they were looked at."));
    return vch_buf_printf(b, "vouchsafe_witness_http_pushed_back_total %llu\n", LLU(stats.pushed_back));
}

static void metrics(witness_service_t *s, http_response_t *res)
{
    if (put_metrics(s, &res->body) == VCH_OK)
        answer(res, 200, PROMETHEUS);
    else
        say(res, 503, "no memory");
}

/* "/<64 hex digits>/checkpoint": the digits. */
static const char *origin_of(vch_slice_t path)
{
    static const char end[] = "/checkpoint";
    const size_t n = 1 + 64 + sizeof end - 1;
    return path.n == n && memcmp(path.p + 65, end, sizeof end - 1) == 0 ? (const char *)path.p + 1 : NULL;
}

static void get(witness_service_t *s, const http_request_t *req, http_response_t *res)
{
    const char *hex = origin_of(req->path);
    if (hex)
        latest(s, hex, res);
    else if (is(req->path, "/metrics"))
        metrics(s, res);
    else if (is(req->path, "/v1/health/live"))
        say(res, 200, "live");
    else if (is(req->path, "/v1/health/ready"))
        say(res, atomic_load(&s->failed) ? 503 : 200, atomic_load(&s->failed) ? "the last write failed" : "ready");
    else
        say(res, 404, "there is no such page: see tlog-witness");
}

static void handle(void *ctx, const http_request_t *req, http_response_t *res)
{
    bool is_add = is(req->path, "/add-checkpoint");
    if (is_add && req->method == HTTP_POST) {
        add(ctx, req, res);
    } else if (!is_add && (req->method == HTTP_GET || req->method == HTTP_HEAD)) {
        get(ctx, req, res);
    } else {
        res->allow = is_add ? "POST" : "GET, HEAD";
        say(res, 405, "not this way");
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

witness_service_t *witness_service_new(vch_witness_t *w)
{
    witness_service_t *s = vch_alloc(sizeof *s);
    if (s) s->w = w;
    return s;
}

void witness_service_free(witness_service_t *s) { vch_free(s); }

http_service_t witness_service(witness_service_t *s) { return (http_service_t){.ctx = s, .handle = handle}; }

void witness_service_set_http(witness_service_t *s, const http_server_t *http) { atomic_store(&s->http, http); }
