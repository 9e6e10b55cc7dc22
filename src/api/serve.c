/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: a ledger, its service and its server, held together.
 *
 *   wheel ─ workers ─┐
 *         └ batcher ─┤ read lock   ┌ write lock: exchange the ledger
 *                    ▼             │
 *                 api ─ ledger ◀── ticker: checkpoints, cosignatures, room, mending
 *
 * A write that fails half-way leaves a handle that answers nothing more.  Then
 * the ticker opens the ledger again, which is recovery: for writing when there
 * is room on the disk, until then for reading only.  So reads go on, writes
 * are refused with a reason, and nobody has to restart anything. */
#include <event2/util.h>

#include "api/api_int.h"
#include "api/daemon.h"
#include "node/witness.h"

#define ROOM_BYTES (8u << 20) /* free beyond what is kept, before writing is tried again after a failure */
#define MEND_WAIT_MS 5000     /* a request waits at most so long for a ledger that is being opened again */
#define RETRY_MS_MAX 60000
#define GATHER_MS_MIN 1000
#define ERROR_EVERY_MS 1000
#define LOOK_MS 500 /* at a ledger that can't be written */

typedef struct {
    daemon_t d;
    const vch_serve_t *o;
    const char *dir;
    vch_serve_settings_t settings; /* as they were at the start */
    pthread_rwlock_t swap;         /* of what follows, up to the empty line */
    vch_ledger_t *l;               /* NULL: it could not be opened again, so far */
    bool writable;
    vch_err_t why; /* it isn't */

    api_t *api;
    http_service_t inner;
    http_server_t *http;
    vch_transport_t *transport;
    pthread_mutex_t mutex; /* of what follows, with `moved` */
    pthread_cond_t moved;
    bool broken, stop;

    pthread_t ticker;
    bool ticking;
    /* the ticker's own */
    struct evutil_monotonic_timer *timer;
    uint64_t sealed, retry_ms, retry_boot, gather_ms, gather_boot;
    bool full, told_failure, quorum;
    atomic_ullong told_error_boot;
} serve_t;

static vch_port_t *port(void) { return vch_port_real(); }
static uint64_t boot_ms(void) { return port()->clock->boot_ms(port()); }

/* ---- a ledger that failed -------------------------------------------------------------- */

static bool is_broken(vch_ledger_t *l)
{
    pthread_mutex_lock(&l->mutex);
    bool broken = l->poisoned || vch_log_refresh(l->log, NULL) == VCH_ERR_IO;
    pthread_mutex_unlock(&l->mutex);
    return broken;
}

/* With the read lock held, or by the ticker. */
static void look_for_break(serve_t *s)
{
    if (!s->l || !s->writable || !is_broken(s->l)) return;
    pthread_mutex_lock(&s->mutex);
    s->broken = true;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->mutex);
}

static void wait_until(serve_t *s, struct evutil_monotonic_timer *timer, uint64_t ms)
{
    struct timeval now;
    struct timespec until = {.tv_sec = 0};
    if (evutil_gettime_monotonic(timer, &now) != 0) return;
    until.tv_sec = now.tv_sec + (time_t)(ms / 1000);
    until.tv_nsec = (long)now.tv_usec * 1000 + (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_clockwait(&s->moved, &s->mutex, CLOCK_MONOTONIC, &until);
}

static struct evutil_monotonic_timer *timer_new(void)
{
    struct evutil_monotonic_timer *timer = evutil_monotonic_timer_new();
    if (timer && evutil_configure_monotonic_time(timer, EV_MONOT_PRECISE) == 0) return timer;
    evutil_monotonic_timer_free(timer);
    return NULL;
}

/* Opening takes a moment: better a late answer than none. */
static void await_mending(serve_t *s)
{
    pthread_mutex_lock(&s->mutex);
    if (s->broken) {
        struct evutil_monotonic_timer *timer = timer_new();
        for (uint64_t from = boot_ms(), past = 0; timer && s->broken && !s->stop && past < MEND_WAIT_MS;
             past = boot_ms() - from)
            wait_until(s, timer, MEND_WAIT_MS - past);
        evutil_monotonic_timer_free(timer);
    }
    pthread_mutex_unlock(&s->mutex);
}

/* ---- the service, with the ledger held in place ------------------------------------------- */

static void refuse_down(const serve_t *s, http_response_t *res)
{
    res->retry_after_s = 2;
    api_refuse(res, 503, s->why.rc == VCH_OK ? VCH_ERR_IO : s->why.rc, s->why.text, s->why.hint);
}

static void handle(void *ctx, const http_request_t *req, http_response_t *res)
{
    serve_t *s = ctx;
    await_mending(s);
    pthread_rwlock_rdlock(&s->swap);
    if (s->l)
        s->inner.handle(s->inner.ctx, req, res);
    else
        refuse_down(s, res);
    if (res->status >= 500) look_for_break(s);
    pthread_rwlock_unlock(&s->swap);
}

static bool joins(void *ctx, const http_request_t *req)
{
    const serve_t *s = ctx;
    return s->inner.joins(s->inner.ctx, req);
}

static void batch(void *ctx, const http_request_t *const *req, http_response_t *const *res, size_t n)
{
    serve_t *s = ctx;
    await_mending(s);
    pthread_rwlock_rdlock(&s->swap);
    if (s->l && s->writable)
        s->inner.batch(s->inner.ctx, req, res, n);
    else
        for (size_t i = 0; i < n; i++) refuse_down(s, res[i]);
    look_for_break(s);
    pthread_rwlock_unlock(&s->swap);
}

/* The route stands for the path: paths may name persons. */
static void done(void *ctx, const http_request_t *req, int status, size_t bytes, uint64_t micros)
{
    serve_t *s = ctx;
    if (s->inner.done) s->inner.done(s->inner.ctx, req, status, bytes, micros);
    uint64_t now = boot_ms(), told = atomic_load(&s->told_error_boot);
    bool error = status == 500 && now - told >= ERROR_EVERY_MS;
    if (!error && s->d.level < VCH_SAY_DEBUG) return;
    if (error) atomic_store(&s->told_error_boot, now);
    const api_route_t *route = api_route_of(req);
    DAEMON_SAY(&s->d, error ? VCH_SAY_ERROR : VCH_SAY_DEBUG, error ? "http.error" : "http.request",
               {"method", api_method_name(req->method)}, {"route", route ? route->path : "none"},
               {"status", NULL, (uint64_t)status}, {"bytes", NULL, bytes}, {"micros", NULL, micros});
}

/* ---- opening --------------------------------------------------------------------------------- */

static void say_opened(const serve_t *s, const char *event)
{
    vch_ledger_info_t info;
    if (vch_ledger_info(s->l, &info, NULL) != VCH_OK) return;
    DAEMON_SAY(&s->d, info.note[0] ? VCH_SAY_WARN : VCH_SAY_INFO, event, {"origin", info.origin},
               {"entries", NULL, info.size}, {"writable", NULL, s->writable},
               {"recovered", NULL, (uint64_t)info.recovered}, {"rebuilt", NULL, (uint64_t)info.rebuilt},
               {"note", info.note});
}

/* vch_ledger_reload may change it meanwhile. */
static uint64_t setting(vch_ledger_t *l, const uint64_t *at)
{
    pthread_mutex_lock(&l->mutex);
    uint64_t value = *at;
    pthread_mutex_unlock(&l->mutex);
    return value;
}

/* So many bytes are free beyond those that are kept. */
static bool has_room(const serve_t *s, uint64_t more)
{
    uint64_t free_bytes = 0, kept = s->l ? setting(s->l, &s->l->min_free_bytes) : 0;
    return port()->disk->free_space(port(), s->dir, &free_bytes) == VCH_OK && free_bytes >= kept + more;
}

static void say_refused(serve_t *s, bool room, const vch_err_t *err)
{
    if (room) {
        s->why = *err;
        return;
    }
    (void)vch_fail(&s->why, VCH_ERR_FULL, "the disk is full: nothing can be written, reading goes on");
    (void)vch_hint(&s->why, VCH_ERR_FULL, "free some space; the node goes on by itself, and nothing was lost");
}

/* The old handle goes, whatever comes. */
static void open_again(serve_t *s, bool room)
{
    vch_err_t err = {0};
    vch_ledger_t *fresh = NULL;
    pthread_rwlock_wrlock(&s->swap);
    /* A broken one has nothing left to write, a read-only one neither. */
    if (vch_ledger_close(s->l, &err) != VCH_OK) daemon_say_err(&s->d, VCH_SAY_WARN, "ledger.failed", &err);
    s->l = NULL;
    vch_rc rc = room ? vch_ledger_open(&fresh, s->dir, s->o->flags, &err) : VCH_ERR_FULL;
    s->writable = rc == VCH_OK;
    if (rc != VCH_OK) {
        say_refused(s, room, &err);
        rc = vch_ledger_open(&fresh, s->dir, VCH_LEDGER_READ_ONLY, &err);
    }
    if (rc == VCH_OK)
        s->l = fresh;
    else
        s->why = err;
    if (rc == VCH_OK) vch_ledger_tended(s->l);
    s->api->l = s->l;
    pthread_rwlock_unlock(&s->swap);
}

static void mended(serve_t *s)
{
    pthread_mutex_lock(&s->mutex);
    s->broken = false;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->mutex);
}

static void mend(serve_t *s)
{
    bool first = s->l && s->writable, room = has_room(s, ROOM_BYTES);
    uint64_t now = boot_ms();
    if (!first && (now < s->retry_boot || (s->l && !room))) return;
    if (first)
        DAEMON_SAY(&s->d, VCH_SAY_ERROR, "ledger.failed", {"text", "a write failed; the ledger is opened again"});
    open_again(s, room);
    mended(s);
    s->retry_ms = first || !s->retry_ms ? LOOK_MS : s->retry_ms * 2 < RETRY_MS_MAX ? s->retry_ms * 2 : RETRY_MS_MAX;
    s->retry_boot = now + s->retry_ms;
    s->sealed = 0;
    api_set_ready(s->api, s->writable, s->why.text);
    if (s->writable)
        say_opened(s, "ledger.reopened");
    else
        daemon_say_err(&s->d, VCH_SAY_ERROR, s->l ? "ledger.read_only" : "ledger.down", &s->why);
}

/* ---- what is due now and then -------------------------------------------------------------------- */

/* For the log: the ledger itself refuses what there is no room for. */
static void look_at_room(serve_t *s)
{
    bool full = !has_room(s, 0);
    if (full == s->full) return;
    s->full = full;
    if (full)
        DAEMON_SAY(&s->d, VCH_SAY_ERROR, "disk.full", {"text", "writes are refused until there is room; reads go on"});
    else
        DAEMON_SAY(&s->d, VCH_SAY_INFO, "disk.room", {"text", "writes are taken again"});
}

/* A failure is told once, and again when it is over. */
static void tell_failure(serve_t *s, vch_rc rc, const vch_err_t *err)
{
    if (rc != VCH_OK && !s->told_failure) daemon_say_err(&s->d, VCH_SAY_ERROR, "checkpoint.failed", err);
    if (rc == VCH_OK && s->told_failure)
        DAEMON_SAY(&s->d, VCH_SAY_INFO, "checkpoint.good", {"entries", NULL, s->sealed});
    s->told_failure = rc != VCH_OK;
}

/* Whether the witnesses' quorum is met is told when it changes. */
static void tell_witnesses(serve_t *s, const vch_gather_t *g)
{
    if (g->quorum != s->quorum && g->asked)
        DAEMON_SAY(&s->d, g->quorum ? VCH_SAY_INFO : VCH_SAY_WARN, g->quorum ? "witness.quorum" : "witness.no_quorum",
                   {"entries", NULL, g->size}, {"asked", NULL, g->asked}, {"cosigned", NULL, g->cosigned},
                   {"committed", NULL, g->committed}, {"note", g->note});
    s->quorum = g->quorum;
    if (g->asked) api_set_witnesses(s->api, g->asked, g->cosigned, g->quorum);
}

/* Closes the block, signs, asks the witnesses; nothing when nothing is new.  A
 * quorum that was missed is asked for again after a while. */
static vch_rc seal(serve_t *s, vch_err_t *err)
{
    vch_ledger_info_t info;
    vch_gather_t g = {.size = 0};
    VCH_TRY(vch_ledger_info(s->l, &info, err));
    bool waiting = !s->quorum && boot_ms() < s->gather_boot;
    if (info.size == s->sealed && (s->quorum || waiting)) return VCH_OK;
    if (waiting) {
        VCH_TRY(vch_ledger_checkpoint(s->l, NULL, err)); /* the promise of a place waits for no witness */
        VCH_TRY(vch_ledger_info(s->l, &info, err));
        s->sealed = info.checkpoint_size;
        return VCH_OK;
    }
    VCH_TRY(vch_ledger_gather(s->l, s->transport, 0, &g, err));
    s->sealed = g.size;
    tell_witnesses(s, &g);
    s->gather_ms = g.quorum || !s->gather_ms         ? GATHER_MS_MIN
                   : s->gather_ms * 2 < RETRY_MS_MAX ? s->gather_ms * 2
                                                     : RETRY_MS_MAX;
    s->gather_boot = boot_ms() + s->gather_ms;
    return VCH_OK;
}

static void tick(serve_t *s)
{
    vch_err_t err = {0};
    pthread_mutex_lock(&s->mutex);
    bool broken = s->broken;
    pthread_mutex_unlock(&s->mutex);
    if (broken || !s->writable) {
        mend(s);
        return;
    }
    look_at_room(s);
    vch_rc rc = seal(s, &err);
    look_for_break(s);
    tell_failure(s, rc, &err);
}

static void *ticks(void *ctx)
{
    serve_t *s = ctx;
    pthread_mutex_lock(&s->mutex);
    for (uint64_t every_ms = LOOK_MS; !s->stop;) {
        if (!s->broken) wait_until(s, s->timer, every_ms);
        if (s->stop) break;
        pthread_mutex_unlock(&s->mutex);
        tick(s);
        every_ms = s->l && s->writable ? setting(s->l, &s->l->checkpoint_ms) : LOOK_MS;
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- starting ---------------------------------------------------------------------------------------- */

static const char *or_else(const char *given, const char *otherwise) { return given ? given : otherwise; }

/* A path of vouch.conf is seen from the ledger's directory; "" stays "". */
static vch_rc from_dir(const serve_t *s, const char *setting, char ret[VCH_PATH_MAX], vch_err_t *err)
{
    ret[0] = 0;
    if (!setting[0]) return VCH_OK;
    vch_rc rc = setting[0] == '/' ? vch_path(ret, "%s", setting) : vch_path(ret, "%s/%s", s->dir, setting);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path %.80s… is too long", setting);
}

static void limits_of(const vch_serve_settings_t *c, http_options_t *o)
{
    o->max_body = (size_t)c->max_body_bytes;
    o->connections = (unsigned)c->connections;
    o->timeout_ms = c->timeout_ms;
    o->queue = (unsigned)c->queue;
}

static vch_rc start_http(serve_t *s, vch_err_t *err)
{
    char cert[VCH_PATH_MAX], key[VCH_PATH_MAX];
    const vch_serve_settings_t *c = &s->settings;
    const http_service_t service = {.ctx = s, .handle = handle, .joins = joins, .batch = batch, .done = done};
    VCH_TRY(from_dir(s, c->tls_cert, cert, err));
    VCH_TRY(from_dir(s, c->tls_key, key, err));
    http_options_t o = {.listen = or_else(s->o->listen, c->listen),
                        .tls_cert = or_else(s->o->tls_cert, cert),
                        .tls_key = or_else(s->o->tls_key, key),
                        .public_plain = s->o->public_plain || c->public_plain,
                        .workers = (unsigned)c->workers,
                        .fds = s->d.fds,
                        .fds_n = s->d.fds_n};
    limits_of(c, &o);
    return http_server_start(&s->http, &o, &service, err);
}

static vch_rc start_ticker(serve_t *s, vch_err_t *err)
{
    s->timer = timer_new();
    s->ticking = s->timer && pthread_create(&s->ticker, NULL, ticks, s) == 0;
    return s->ticking ? VCH_OK : vch_fail(err, VCH_ERR_MEMORY, "starting a thread failed");
}

static vch_rc start(serve_t *s, vch_err_t *err)
{
    static const http_client_options_t plain;
    VCH_TRY(vch_ledger_open(&s->l, s->dir, s->o->flags, err));
    s->writable = true;
    vch_ledger_tended(s->l);
    say_opened(s, "ledger.opened");
    vch_ledger_serve_settings(s->l, &s->settings);
    const api_options_t options = {.receipt_promise_ms = s->settings.promise_ms, .version = vch_version()};
    VCH_TRY(api_new(&s->api, s->l, &options, err));
    s->inner = api_service(s->api);
    VCH_TRY(http_client_new(&s->transport, &plain, err));
    VCH_TRY(start_http(s, err));
    api_set_http(s->api, s->http);
    api_set_ready(s->api, true, "");
    return start_ticker(s, err);
}

/* ---- reading settings again ---------------------------------------------------------------------------- */

static void reload_settings(serve_t *s, vch_err_t *err, vch_rc *rc)
{
    vch_serve_settings_t now = s->settings;
    pthread_rwlock_rdlock(&s->swap);
    if (s->l) {
        *rc = api_reload(s->api, err);
        vch_ledger_serve_settings(s->l, &now);
    }
    pthread_rwlock_unlock(&s->swap);
    if (*rc != VCH_OK) return;
    http_options_t o = {.listen = NULL};
    limits_of(&now, &o);
    http_server_limits(s->http, &o);
    if (strcmp(now.listen, s->settings.listen) != 0 || strcmp(now.tls_cert, s->settings.tls_cert) != 0 ||
        strcmp(now.tls_key, s->settings.tls_key) != 0 || now.public_plain != s->settings.public_plain ||
        now.workers != s->settings.workers || now.promise_ms != s->settings.promise_ms)
        DAEMON_SAY(&s->d, VCH_SAY_WARN, "serve.restart_needed",
                   {"text", "listen, tls_cert, tls_key, public_plain, workers and promise_s hold from the next start"});
}

static void reload(void *ctx)
{
    serve_t *s = ctx;
    vch_err_t err = {0};
    vch_rc rc = VCH_OK;
    reload_settings(s, &err, &rc);
    if (rc == VCH_OK) rc = http_server_reload(s->http, &err);
    if (rc == VCH_OK)
        DAEMON_SAY(&s->d, VCH_SAY_INFO, "serve.reloaded",
                   {"text", "settings, tokens and certificates were read again"});
    else
        daemon_say_err(&s->d, VCH_SAY_ERROR, "serve.reload_failed", &err);
}

/* ---- stopping --------------------------------------------------------------------------------------------- */

static vch_rc stop(serve_t *s, vch_err_t *err)
{
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->mutex);
    http_server_stop(s->http, s->settings.timeout_ms);
    if (s->ticking) pthread_join(s->ticker, NULL);
    evutil_monotonic_timer_free(s->timer);
    if (s->transport) s->transport->free(s->transport);
    api_free(s->api);
    vch_rc rc = vch_ledger_close(s->l, err);
    pthread_cond_destroy(&s->moved);
    pthread_mutex_destroy(&s->mutex);
    pthread_rwlock_destroy(&s->swap);
    return rc;
}

static vch_rc run(serve_t *s, vch_err_t *err)
{
    const char *address;
    VCH_TRY(start(s, err));
    address = http_server_address(s->http);
    DAEMON_SAY(&s->d, VCH_SAY_INFO, "serve.ready", {"address", address});
    daemon_ready(&s->d, s->http);
    if (s->o->ready) s->o->ready(s->o->ctx, address);
    daemon_run(&s->d, s->http, reload, s);
    DAEMON_SAY(&s->d, VCH_SAY_INFO, "serve.stopping", {"text", "no new connections; requests under way are answered"});
    daemon_stopping(&s->d);
    api_set_ready(s->api, false, "the node is stopping");
    return VCH_OK;
}

static void locks_init(serve_t *s)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->swap, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->moved, NULL);
}

vch_rc vch_serve(const char *dir, const vch_serve_t *options, vch_err_t *err)
{
    vch_err_t closing = {0};
    serve_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "no memory to start");
    s->o = options;
    s->dir = dir;
    vch_rc rc = daemon_begin(&s->d, options, err);
    if (rc == VCH_OK) {
        locks_init(s);
        rc = run(s, err);
        vch_rc closed = stop(s, &closing);
        if (rc == VCH_OK && closed != VCH_OK && err) *err = closing;
        if (rc == VCH_OK) rc = closed;
        if (rc == VCH_OK)
            DAEMON_SAY(&s->d, VCH_SAY_INFO, "serve.stopped", {"text", "all that was acknowledged is on the disk"});
        daemon_end(&s->d);
    }
    vch_free(s);
    return rc;
}
