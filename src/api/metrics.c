/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, and how Prometheus reads them (text format 0.0.4).  Labels are
 * patterns of routes, statuses and names of results: nothing that came from
 * anybody. */
#include "api/api_int.h"
#include "node/witness.h"

/* Upper bounds in microseconds, and as seconds. */
static const struct {
    uint64_t micros;
    const char *seconds;
} bucket[API_BUCKETS] = {
    {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},
    {10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},  {250000, "0.25"},
    {500000, "0.5"},  {1000000, "1"},   {2500000, "2.5"}, {10000000, "10"},
};

static const char *const refused_names[API_REFUSED_COUNT] = {
    [API_REFUSED_MISSING] = "missing",     [API_REFUSED_MALFORMED] = "malformed", [API_REFUSED_SIGNATURE] = "signature",
    [API_REFUSED_OTHER] = "other_request", [API_REFUSED_EXPIRED] = "expired",     [API_REFUSED_REPLAYED] = "replayed",
    [API_REFUSED_REVOKED] = "revoked",     [API_REFUSED_TOKEN] = "token",         [API_REFUSED_FORBIDDEN] = "forbidden",
};

/* ---- counting --------------------------------------------------------------------- */

static void observe(api_histogram_t *h, uint64_t micros)
{
    size_t i = 0;
    while (i < API_BUCKETS && micros > bucket[i].micros) i++;
    atomic_fetch_add(&h->bucket[i], 1);
    atomic_fetch_add(&h->count, 1);
    atomic_fetch_add(&h->sum_micros, micros);
}

static size_t status_number(int status)
{
    size_t i = 0;
    while (api_status_list[i] && api_status_list[i] != status) i++;
    return i;
}

void api_count(api_t *api, const api_route_t *route, int status, uint64_t micros)
{
    atomic_fetch_add(&api->counters.asked[api_route_number(route)][status_number(status)], 1);
    observe(&api->counters.answer, micros);
}

void api_count_refused(api_t *api, api_refused_t why) { atomic_fetch_add(&api->counters.refused[why], 1); }

void api_count_batch(api_t *api, uint64_t micros) { observe(&api->counters.batch, micros); }

/* ---- writing ------------------------------------------------------------------------ */

#define LLU(v) (unsigned long long)(v)

static vch_rc head(vch_buf_t *b, const char *name, const char *type, const char *help)
{
    return vch_buf_printf(b, "# HELP vouchsafe_%s %s\n# TYPE vouchsafe_%s %s\n", name, help, name, type);
}

static vch_rc one(vch_buf_t *b, const char *name, const char *type, const char *help, uint64_t v)
{
    VCH_TRY(head(b, name, type, help));
    return vch_buf_printf(b, "vouchsafe_%s %llu\n", name, LLU(v));
}

static vch_rc seconds(vch_buf_t *b, const char *name, const char *help, uint64_t ms)
{
    VCH_TRY(head(b, name, "gauge", help));
    return vch_buf_printf(b, "vouchsafe_%s %llu.%03llu\n", name, LLU(ms / 1000), LLU(ms % 1000));
}

static vch_rc histogram(vch_buf_t *b, const char *name, const char *help, api_histogram_t *h)
{
    uint64_t below = 0, sum = atomic_load(&h->sum_micros);
    VCH_TRY(head(b, name, "histogram", help));
    for (size_t i = 0; i < API_BUCKETS; i++) {
        below += atomic_load(&h->bucket[i]);
        VCH_TRY(vch_buf_printf(b, "vouchsafe_%s_bucket{le=\"%s\"} %llu\n", name, bucket[i].seconds, LLU(below)));
    }
    below += atomic_load(&h->bucket[API_BUCKETS]);
    return vch_buf_printf(
        b, "vouchsafe_%s_bucket{le=\"+Inf\"} %llu\nvouchsafe_%s_sum %llu.%06llu\nvouchsafe_%s_count %llu\n", name,
        LLU(below), name, LLU(sum / 1000000), LLU(sum % 1000000), name, LLU(below));
}

static uint64_t since(uint64_t now, uint64_t then) { return now > then ? now - then : 0; }

static vch_rc put_ledger(api_t *api, vch_buf_t *b)
{
    vch_ledger_facts_t f;
    uint64_t committed = 0, now = api->l->port->clock->wall_ms(api->l->port);
    if (vch_ledger_facts(api->l, &f, NULL) != VCH_OK) return VCH_OK; /* vouchsafe_ready says 0 */
    VCH_TRY(one(b, "entries", "gauge", "Entries in the log.", f.size));
    VCH_TRY(one(b, "blocks", "gauge", "Blocks closed.", f.height));
    VCH_TRY(one(b, "checkpoint_entries", "gauge", "Entries under the newest signed checkpoint.", f.signed_size));
    if (vch_ledger_committed(api->l, &committed, NULL) == VCH_OK)
        VCH_TRY(one(b, "committed_entries", "gauge", "Entries under a checkpoint with its quorum of witnesses.",
                    committed));
    VCH_TRY(one(b, "unsequenced_entries", "gauge", "Submissions that wait for their place.", f.waiting));
    VCH_TRY(seconds(b, "checkpoint_age_seconds", "Since the newest block under a signed checkpoint.",
                    f.signed_size ? since(now, f.signed_time.ms) : 0));
    VCH_TRY(seconds(b, "unsigned_age_seconds", "Since the oldest entry under no checkpoint; 0 when there is none.",
                    f.signed_size < f.size ? since(now, f.unsigned_time.ms) : 0));
    VCH_TRY(one(b, "disk_free_bytes", "gauge", "Free space where the ledger lies.", f.free_bytes));
    return one(b, "disk_kept_bytes", "gauge", "Free space below which nothing more is written.", f.kept_bytes);
}

static vch_rc put_witnesses(api_t *api, vch_buf_t *b)
{
    pthread_mutex_lock(&api->mutex);
    bool gathered = api->gathered, quorum = api->quorum;
    unsigned asked = api->witnesses, cosigned = api->cosigned;
    pthread_mutex_unlock(&api->mutex);
    if (!gathered) return VCH_OK;
    VCH_TRY(one(b, "witnesses", "gauge", "Witnesses that were asked the last time.", asked));
    VCH_TRY(one(b, "witnesses_cosigned", "gauge", "Of these, those that cosigned.", cosigned));
    return one(b, "witness_quorum", "gauge", "1 when the newest checkpoint has its quorum.", quorum);
}

static vch_rc put_requests(api_t *api, vch_buf_t *b)
{
    VCH_TRY(head(b, "requests_total", "counter", "Answers by route and status."));
    for (size_t r = 0; r <= api_route_number(NULL); r++) {
        const api_route_t *route = &api_routes[r];
        for (size_t i = 0; i < API_STATUSES; i++) {
            uint64_t n = atomic_load(&api->counters.asked[r][i]);
            if (!n) continue;
            VCH_TRY(vch_buf_printf(b, "vouchsafe_requests_total{route=\"%s\",method=\"%s\",status=\"",
                                   route->path ? route->path : "none",
                                   route->path ? api_method_name(route->method) : "none"));
            VCH_TRY(api_status_list[i] ? vch_buf_printf(b, "%d", api_status_list[i]) : vch_buf_printf(b, "other"));
            VCH_TRY(vch_buf_printf(b, "\"} %llu\n", LLU(n)));
        }
    }
    VCH_TRY(head(b, "refused_requests_total", "counter", "Requests whose asker was refused, by reason."));
    for (size_t i = 0; i < API_REFUSED_COUNT; i++)
        VCH_TRY(vch_buf_printf(b, "vouchsafe_refused_requests_total{reason=\"%s\"} %llu\n", refused_names[i],
                               LLU(atomic_load(&api->counters.refused[i]))));
    return histogram(b, "request_seconds", "From a request's arrival to its answer.", &api->counters.answer);
}

static vch_rc put_submissions(api_t *api, vch_buf_t *b)
{
    VCH_TRY(head(b, "submissions_total", "counter", "Submissions by outcome."));
    for (int rc = 0; rc < VCH_RC_COUNT; rc++) {
        uint64_t n = atomic_load(&api->counters.submitted[rc]);
        if (!n && rc != VCH_OK) continue;
        VCH_TRY(
            vch_buf_printf(b, "vouchsafe_submissions_total{outcome=\"%s\"} %llu\n", vch_rc_name((vch_rc)rc), LLU(n)));
    }
    return histogram(b, "submit_batch_seconds", "From a batch of submissions to the disk, to the millisecond.",
                     &api->counters.batch);
}

static vch_rc put_http(api_t *api, vch_buf_t *b)
{
    http_stats_t s;
    const http_server_t *server = atomic_load(&api->http);
    if (!server) return VCH_OK;
    http_server_stats(server, &s);
    VCH_TRY(one(b, "http_connections", "gauge", "Connections now.", s.connections));
    VCH_TRY(one(b, "http_waiting", "gauge", "Requests that wait for a worker.", s.waiting));
    VCH_TRY(one(b, "http_accepted_total", "counter", "Connections accepted.", s.accepted));
    VCH_TRY(one(b, "http_refused_total", "counter", "Connections closed at once.", s.refused));
    VCH_TRY(one(b, "http_requests_total", "counter", "Whole requests received.", s.requests));
    VCH_TRY(one(b, "http_pushed_back_total", "counter", "Requests answered 429 before they were looked at.",
                s.pushed_back));
    VCH_TRY(one(b, "http_timed_out_total", "counter", "Connections that were too slow.", s.timed_out));
    return one(b, "http_malformed_total", "counter", "Requests that are no HTTP as it must be.", s.malformed);
}

vch_rc api_get_metrics(api_call_t *c)
{
    api_t *api = c->api;
    vch_buf_t *b = &c->res->body;
    VCH_TRY(head(b, "build_info", "gauge", "The version that runs."));
    VCH_TRY(vch_buf_printf(b, "vouchsafe_build_info{version=\"%s\"} 1\n", api->version));
    VCH_TRY(one(b, "ready", "gauge", "1 when submissions are taken.", api_check_ready(api, NULL) == VCH_OK));
    VCH_TRY(put_ledger(api, b));
    VCH_TRY(put_witnesses(api, b));
    VCH_TRY(put_requests(api, b));
    VCH_TRY(put_submissions(api, b));
    VCH_TRY(put_http(api, b));
    api_answer(c, 200, c->route->answer, NULL);
    return VCH_OK;
}
