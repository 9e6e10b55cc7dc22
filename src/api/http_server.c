/* SPDX-License-Identifier: Apache-2.0 */
/* All connections together: who listens, who has waited too long, who must go
 * when there are too many, and the thread that turns the wheel.
 *
 * When every place is taken a newcomer gets the place of the connection that
 * has waited longest.  Of those that never said anything at most half of the
 * places; so neither a crowd of silent ones nor a crowd of busy ones keeps
 * others out. */
#include <event2/thread.h>
#include <event2/util.h>
#include <signal.h>

#include "api/http_int.h"
#include "crypto/keys.h"

#define MIB ((size_t)1 << 20)
#define SMALL_BYTES 4096 /* not worth ending a connection for, nor refusing */

uint64_t hs_now(const http_server_t *s) { return s->port->clock->boot_ms(s->port); }

void hs_wake(http_server_t *s) { event_active(s->wake, EV_READ, 0); }

const char *hs_date(http_server_t *s)
{
    uint64_t second = s->port->clock->wall_ms(s->port) / 1000;
    if (second != s->date_second || !s->date[0]) (void)evutil_date_rfc1123(s->date, sizeof s->date, NULL);
    s->date_second = second;
    return s->date;
}

/* ---- places ----------------------------------------------------------------------------- */

void hs_unplace(hs_conn_t *c)
{
    hs_list_t *list = &c->server->list[c->place];
    if (c->place == HS_LISTS) return;
    if (c->prev)
        c->prev->next = c->next;
    else
        list->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        list->last = c->prev;
    c->prev = c->next = NULL;
    c->place = HS_LISTS;
    list->n--;
}

void hs_place(hs_conn_t *c, hs_place_t place)
{
    http_server_t *s = c->server;
    hs_list_t *list = &s->list[place];
    hs_unplace(c);
    c->place = place;
    c->since = hs_now(s);
    c->deadline = c->since + (place == HS_LEAVING ? HS_LINGER_MS : atomic_load(&s->timeout_ms));
    c->prev = list->last;
    if (list->last)
        list->last->next = c;
    else
        list->first = c;
    list->last = c;
    list->n++;
}

/* Who holds most, and not just for a moment. */
static hs_conn_t *largest(const http_server_t *s, const hs_conn_t *but)
{
    hs_conn_t *found = NULL;
    uint64_t now = hs_now(s);
    for (int place = HS_FRESH; place <= HS_WRITERS; place++)
        for (hs_conn_t *c = s->list[place].first; c && c->since + HS_RELIEF_MS <= now; c = c->next)
            if (c != but && c->held > (found ? found->held : SMALL_BYTES)) found = c;
    return found;
}

bool hs_hold(hs_conn_t *c, size_t bytes)
{
    http_server_t *s = c->server;
    s->held = s->held - c->held + bytes;
    c->held = bytes;
    while (s->held > HS_HELD_MAX) {
        hs_conn_t *victim = largest(s, c);
        /* All that hold much came just now: they wait, or are refused, and the small ones aren't. */
        if (!victim) return bytes <= SMALL_BYTES;
        atomic_fetch_add(&s->refused, 1);
        hs_conn_free(victim);
    }
    return true;
}

static bool make_room(http_server_t *s)
{
    bool silent = s->list[HS_FRESH].n > atomic_load(&s->connections_max) / 2;
    hs_place_t order[] = {HS_LEAVING, silent ? HS_FRESH : HS_PROVEN, silent ? HS_PROVEN : HS_FRESH, HS_WRITERS};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        hs_conn_t *c = s->list[order[i]].first;
        if (!c) continue;
        if (order[i] != HS_LEAVING) atomic_fetch_add(&s->refused, 1);
        hs_conn_free(c);
        return true;
    }
    return false;
}

/* ---- the wheel ------------------------------------------------------------------------------ */

static void on_accept(evutil_socket_t fd, short what, void *ctx)
{
    hs_listener_t *l = ctx;
    http_server_t *s = l->server;
    (void)what;
    for (int turn = 0; turn < HS_ACCEPT_TURN; turn++) {
        int got = -1;
        bool local = false;
        vch_rc rc = vch_socket_accept(fd, &got, &local);
        if (rc == VCH_ERR_NOT_FOUND) return;
        if (rc != VCH_OK) {
            if (rc == VCH_ERR_LIMIT && make_room(s)) continue;
            s->deaf = true; /* whatever it is, asking again at once would not help */
            for (size_t i = 0; i < s->listeners; i++)
                if (s->listener[i].event) (void)event_del(s->listener[i].event);
            return;
        }
        atomic_fetch_add(&s->accepted, 1);
        if (atomic_load(&s->connections) >= atomic_load(&s->connections_max) && !make_room(s)) {
            atomic_fetch_add(&s->refused, 1);
            vch_socket_close(got);
            continue;
        }
        hs_conn_new(l, got, local);
    }
}

static void end_all(http_server_t *s, hs_place_t place, bool idle_only)
{
    for (hs_conn_t *c = s->list[place].first, *next; c; c = next) {
        next = c->next;
        if (!idle_only || c->state == HS_IDLE || c->state == HS_HANDSHAKE) hs_conn_free(c);
    }
}

static void stop_listening(http_server_t *s)
{
    for (size_t i = 0; i < s->listeners; i++) {
        hs_listener_t *l = &s->listener[i];
        if (l->event) event_free(l->event);
        if (l->fd >= 0 && l->adopted) vch_socket_close(l->fd);
        if (l->fd >= 0 && !l->adopted) vch_socket_unlisten(l->fd);
        l->event = NULL;
        l->fd = -1;
    }
}

static void keep_stopping(http_server_t *s)
{
    stop_listening(s);
    end_all(s, HS_FRESH, true);
    end_all(s, HS_PROVEN, true);
    if (hs_now(s) >= atomic_load(&s->stop_at))
        for (int place = 0; place < HS_LISTS; place++) end_all(s, (hs_place_t)place, false);
    if (atomic_load(&s->connections) == 0) (void)event_base_loopbreak(s->base);
}

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
    http_server_t *s = ctx;
    (void)fd, (void)what;
    for (hs_job_t *job = hs_work_done(&s->work), *next; job; job = next) {
        next = job->next;
        hs_conn_answer(job);
    }
    if (atomic_load(&s->stopping)) keep_stopping(s);
}

static void on_sweep(evutil_socket_t fd, short what, void *ctx)
{
    http_server_t *s = ctx;
    uint64_t now = hs_now(s);
    (void)fd, (void)what;
    atomic_store(&s->beat, now);
    for (int place = 0; place < HS_AWAY; place++)
        while (s->list[place].first && s->list[place].first->deadline <= now) hs_conn_late(s->list[place].first);
    if (s->deaf && !atomic_load(&s->stopping)) {
        s->deaf = false;
        for (size_t i = 0; i < s->listeners; i++)
            if (event_add(s->listener[i].event, NULL) != 0) s->deaf = true;
    }
    if (atomic_load(&s->stopping)) keep_stopping(s);
}

static void *turn(void *ctx)
{
    http_server_t *s = ctx;
    (void)event_base_dispatch(s->base); /* fails only without memory for its first step; then nothing is served */
    return NULL;
}

/* ---- starting ------------------------------------------------------------------------------------ */

static void set_limits(http_server_t *s, const http_options_t *o)
{
    size_t connections = o->connections ? o->connections : 1024;
    size_t can = vch_descriptors(connections + HS_DESCRIPTORS_SPARE);
    if (can < connections + HS_DESCRIPTORS_SPARE)
        connections = can > 2 * HS_DESCRIPTORS_SPARE ? can - HS_DESCRIPTORS_SPARE : HS_DESCRIPTORS_SPARE;
    atomic_store(&s->connections_max, connections);
    atomic_store(&s->max_body, o->max_body ? o->max_body : MIB);
    atomic_store(&s->queue_max, o->queue ? o->queue : 4096);
    atomic_store(&s->timeout_ms, o->timeout_ms ? o->timeout_ms : 10000);
}

static bool given(const char *s) { return s && *s; }

static vch_rc set_up(http_server_t *s, const http_options_t *o, vch_err_t *err)
{
    s->port = vch_port_real();
    s->max_answer = o->max_answer ? o->max_answer : 64 * MIB;
    s->public_plain = o->public_plain;
    s->tls_wanted = given(o->tls_cert) || given(o->tls_key);
    set_limits(s, o);
    pthread_mutex_init(&s->tls_mutex, NULL);
    for (size_t i = 0; i < HS_LISTEN_MAX; i++) s->listener[i] = (hs_listener_t){.fd = -1, .server = s};
    if (!s->tls_wanted) return VCH_OK;
    if (!given(o->tls_cert) || !given(o->tls_key))
        return vch_fail(err, VCH_ERR_USAGE, "a TLS certificate and its key belong together; only one was given");
    s->cert_path = vch_strdup(o->tls_cert);
    s->key_path = vch_strdup(o->tls_key);
    if (!s->cert_path || !s->key_path) return vch_fail(err, VCH_ERR_MEMORY, "no memory to start the server");
    return hs_tls_new(&s->tls, s->cert_path, s->key_path, err);
}

/* A listening socket of ours or one handed over becomes listener i. */
static vch_rc add_listener(http_server_t *s, int fd, bool adopted, vch_err_t *err)
{
    char address[VCH_ADDRESS_MAX];
    bool local = false;
    hs_listener_t *l = &s->listener[s->listeners++];
    l->fd = fd;
    l->adopted = adopted;
    VCH_TRY(vch_socket_address(fd, address, &local, err));
    l->is_file = strncmp(address, "unix:", 5) == 0;
    if (!local && !s->tls_wanted && !s->public_plain)
        return vch_hint(
            err, vch_fail(err, VCH_ERR_USAGE, "%s can be reached from other machines, and there is no TLS", address),
            "name tls_cert and tls_key, listen on 127.0.0.1, or set public_plain behind a proxy that speaks TLS");
    size_t used = strlen(s->address), n = strlen(address);
    if (used) s->address[used++] = ',';
    memcpy(s->address + used, address, n + 1);
    return VCH_OK;
}

static vch_rc too_many(vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_LIMIT, "at most %d addresses to listen at", HS_LISTEN_MAX);
}

static vch_rc listen_at(http_server_t *s, const char *list, vch_err_t *err)
{
    while (*list) {
        char one[VCH_ADDRESS_MAX];
        int fd = -1;
        size_t n = strcspn(list, ",");
        if (s->listeners == HS_LISTEN_MAX) return too_many(err);
        if (n >= sizeof one) return vch_fail(err, VCH_ERR_USAGE, "the address %.60s… is too long", list);
        memcpy(one, list, n);
        one[n] = 0;
        VCH_TRY(vch_socket_listen(&fd, one, HS_BACKLOG, err));
        VCH_TRY(add_listener(s, fd, false, err));
        list += n + (list[n] == ',');
    }
    return VCH_OK;
}

static vch_rc start_listening(http_server_t *s, const http_options_t *o, vch_err_t *err)
{
    if (o->fds_n > HS_LISTEN_MAX) return too_many(err);
    for (size_t i = 0; i < o->fds_n; i++) {
        VCH_TRY(vch_socket_adopt(o->fds[i], err));
        VCH_TRY(add_listener(s, o->fds[i], true, err));
    }
    if (o->fds_n == 0 && o->listen) VCH_TRY(listen_at(s, o->listen, err));
    if (s->listeners == 0) return vch_fail(err, VCH_ERR_USAGE, "no address to listen at");
    return VCH_OK;
}

static vch_rc start_wheel(http_server_t *s, vch_err_t *err)
{
    uint64_t every_ms = atomic_load(&s->timeout_ms) / 8;
    every_ms = every_ms < 10 ? 10 : every_ms > 250 ? 250 : every_ms;
    struct timeval period = {.tv_sec = 0, .tv_usec = (suseconds_t)(every_ms * 1000)};
    bool good = evthread_use_pthreads() == 0 && (s->base = event_base_new()) != NULL;
    good = good && (s->wake = event_new(s->base, -1, EV_PERSIST, on_wake, s)) != NULL;
    good = good && (s->sweep = event_new(s->base, -1, EV_PERSIST, on_sweep, s)) != NULL;
    good = good && event_add(s->sweep, &period) == 0;
    for (size_t i = 0; good && i < s->listeners; i++) {
        hs_listener_t *l = &s->listener[i];
        l->event = event_new(s->base, l->fd, EV_READ | EV_PERSIST, on_accept, l);
        good = l->event && event_add(l->event, NULL) == 0;
    }
    atomic_store(&s->beat, hs_now(s));
    return good ? VCH_OK : vch_fail(err, VCH_ERR_MEMORY, "starting the event loop failed");
}

static vch_rc start_threads(http_server_t *s, unsigned workers, vch_err_t *err)
{
    VCH_TRY(hs_work_start(&s->work, s, workers, err));
    s->turning = pthread_create(&s->wheel, NULL, turn, s) == 0;
    return s->turning ? VCH_OK : vch_fail(err, VCH_ERR_MEMORY, "starting a thread failed");
}

static void server_free(http_server_t *s)
{
    stop_listening(s);
    if (s->wake) event_free(s->wake);
    if (s->sweep) event_free(s->sweep);
    if (s->base) event_base_free(s->base);
    SSL_CTX_free(s->tls);
    pthread_mutex_destroy(&s->tls_mutex);
    vch_free(s->cert_path);
    vch_free(s->key_path);
    vch_free(s);
}

vch_rc http_server_start(http_server_t **ret, const http_options_t *o, const http_service_t *service, vch_err_t *err)
{
    sigset_t all, before;
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "the cryptography library did not start");
    http_server_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "no memory to start the server");
    s->service = *service;
    rc = set_up(s, o, err);
    if (rc == VCH_OK) rc = start_listening(s, o, err);
    if (rc == VCH_OK) rc = start_wheel(s, err);
    if (rc == VCH_OK) {
        (void)sigfillset(&all); /* signals are for the thread that began all this */
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        rc = start_threads(s, o->workers, err);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (rc != VCH_OK) {
        hs_work_stop(&s->work);
        server_free(s);
        return rc;
    }
    *ret = s;
    return VCH_OK;
}

/* ---- while it runs ------------------------------------------------------------------------------------ */

const char *http_server_address(const http_server_t *s) { return s->address; }

void http_server_stats(const http_server_t *s, http_stats_t *ret)
{
    *ret = (http_stats_t){.connections = atomic_load(&s->connections),
                          .waiting = atomic_load(&s->waiting),
                          .accepted = atomic_load(&s->accepted),
                          .refused = atomic_load(&s->refused),
                          .requests = atomic_load(&s->requests),
                          .pushed_back = atomic_load(&s->pushed_back),
                          .timed_out = atomic_load(&s->timed_out),
                          .malformed = atomic_load(&s->malformed),
                          .beat_boot = atomic_load(&s->beat)};
}

void http_server_limits(http_server_t *s, const http_options_t *o) { set_limits(s, o); }

vch_rc http_server_reload(http_server_t *s, vch_err_t *err)
{
    SSL_CTX *fresh = NULL, *old;
    if (!s->tls_wanted) return VCH_OK;
    VCH_TRY(hs_tls_new(&fresh, s->cert_path, s->key_path, err));
    pthread_mutex_lock(&s->tls_mutex);
    old = s->tls;
    s->tls = fresh;
    pthread_mutex_unlock(&s->tls_mutex);
    SSL_CTX_free(old); /* connections that use it keep it */
    return VCH_OK;
}

void http_server_stop(http_server_t *s, uint64_t wait_ms)
{
    if (!s) return;
    atomic_store(&s->stop_at, hs_now(s) + wait_ms);
    atomic_store(&s->stopping, true);
    hs_wake(s);
    pthread_join(s->wheel, NULL);
    hs_work_stop(&s->work);
    server_free(s);
}
