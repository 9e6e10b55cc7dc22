/* SPDX-License-Identifier: Apache-2.0 */
/* Signals, the service manager, the log. */
#include "api/daemon.h"

#include <errno.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "codec/json.h"
#include "codec/text.h"
#include "port/socket.h"

#define FIRST_FD 3 /* sd_listen_fds(3) */
#define LINE_MAX_BYTES 4096
#define LOOK_MS 1000
#define TELL_MS 60000

/* ---- the log --------------------------------------------------------------------------- */

static const char *const level_name[] = {"error", "warn", "info", "debug"};

static vch_rc put_time(vch_buf_t *b)
{
    uint64_t ms = vch_port_real()->clock->wall_ms(vch_port_real());
    time_t seconds = (time_t)(ms / 1000);
    struct tm t;
    char text[32] = "";
    if (gmtime_r(&seconds, &t)) (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    return vch_buf_printf(b, "{\"time\":\"%s.%03uZ\"", text, (unsigned)(ms % 1000));
}

static vch_rc put_member(vch_buf_t *b, const daemon_member_t *m)
{
    VCH_TRY(vch_buf_printf(b, ",\"%s\":", m->name));
    if (!m->text) return vch_buf_printf(b, "%llu", (unsigned long long)m->number);
    bool good = vch_utf8_valid(vch_str(m->text)); /* a path need not be */
    return vch_json_put_string(b, vch_str(good ? m->text : "(not UTF-8)"));
}

static vch_rc put_line(vch_buf_t *b, vch_say_t level, const char *event, const daemon_member_t *m, size_t n)
{
    VCH_TRY(put_time(b));
    VCH_TRY(vch_buf_printf(b, ",\"level\":\"%s\",\"event\":\"%s\"", level_name[level], event));
    for (size_t i = 0; i < n; i++) VCH_TRY(put_member(b, &m[i]));
    return vch_buf_put(b, "}", 2); /* with its zero */
}

void daemon_say(const daemon_t *d, vch_say_t level, const char *event, const daemon_member_t *m, size_t n)
{
    vch_buf_t b;
    if (!d->log || level > d->level) return;
    vch_buf_init(&b, LINE_MAX_BYTES);
    vch_rc rc = put_line(&b, level, event, m, n);
    if (rc == VCH_ERR_LIMIT) { /* too long: that it happened, at least */
        vch_buf_clear(&b);
        rc = put_line(&b, level, event, NULL, 0);
    }
    if (rc == VCH_OK) d->log(d->ctx, (const char *)b.p);
    vch_buf_free(&b); /* without memory the line is lost, and nothing else */
}

void daemon_say_err(const daemon_t *d, vch_say_t level, const char *event, const vch_err_t *e)
{
    DAEMON_SAY(d, level, event, {"error", vch_rc_name(e->rc)}, {"text", e->text}, {"hint", e->hint});
}

/* ---- the service manager ------------------------------------------------------------------ */

static void notify(daemon_t *d, const char *text)
{
    bool failed = d->notify[0] && vch_notify(d->notify, text) != VCH_OK;
    if (failed && !d->notify_failed)
        DAEMON_SAY(d, VCH_SAY_WARN, "serve.notify_failed", {"text", "the service manager does not listen"});
    d->notify_failed = failed; /* told once */
}

static bool env_number(const char *name, uint64_t *ret)
{
    const char *value = getenv(name);
    return value && vch_decimal_get(ret, vch_str(value)) == VCH_OK;
}

static bool is_me(const char *name, bool otherwise)
{
    uint64_t pid;
    if (!getenv(name)) return otherwise;
    return env_number(name, &pid) && pid == (uint64_t)getpid();
}

static vch_rc read_environment(daemon_t *d, vch_err_t *err)
{
    static const char *const mine[] = {"LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES",
                                       "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    const char *address = getenv("NOTIFY_SOCKET");
    uint64_t n = 0, usec = 0;
    if (address && strlen(address) < sizeof d->notify) memcpy(d->notify, address, strlen(address) + 1);
    if (is_me("WATCHDOG_PID", true) && env_number("WATCHDOG_USEC", &usec)) d->watchdog_ms = usec / 1000;
    if (is_me("LISTEN_PID", false) && env_number("LISTEN_FDS", &n) && n > DAEMON_FDS_MAX)
        return vch_fail(err, VCH_ERR_USAGE, "%llu sockets were handed over, at most %d can be used",
                        (unsigned long long)n, DAEMON_FDS_MAX);
    for (uint64_t i = 0; i < n; i++) d->fds[d->fds_n++] = FIRST_FD + (int)i;
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) (void)unsetenv(mine[i]); /* not for children */
    return VCH_OK;
}

vch_rc daemon_begin(daemon_t *d, const vch_serve_t *o, vch_err_t *err)
{
    *d = (daemon_t){.level = o->level, .log = o->log, .ctx = o->ctx};
    (void)sigemptyset(&d->signals);
    (void)sigaddset(&d->signals, SIGTERM);
    (void)sigaddset(&d->signals, SIGINT);
    (void)sigaddset(&d->signals, SIGHUP);
    VCH_TRY(read_environment(d, err));
    if (pthread_sigmask(SIG_BLOCK, &d->signals, &d->before) != 0)
        return vch_fail(err, VCH_ERR_INTERNAL, "signals can't be blocked");
    return VCH_OK;
}

void daemon_end(daemon_t *d) { (void)pthread_sigmask(SIG_SETMASK, &d->before, NULL); }

void daemon_ready(daemon_t *d, const http_server_t *http)
{
    http_server_stats(http, &d->told);
    d->told_boot = vch_port_real()->clock->boot_ms(vch_port_real());
    notify(d, "READY=1\nSTATUS=serving");
}

void daemon_stopping(daemon_t *d) { notify(d, "STOPPING=1\nSTATUS=stopping"); }

static void reloading(daemon_t *d)
{
    char text[80];
    struct timeval now = {.tv_sec = 0};
    struct evutil_monotonic_timer *timer = evutil_monotonic_timer_new();
    if (timer && evutil_configure_monotonic_time(timer, 0) == 0) (void)evutil_gettime_monotonic(timer, &now);
    evutil_monotonic_timer_free(timer);
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
                   (unsigned long long)now.tv_sec * 1000000u + (unsigned long long)now.tv_usec);
    notify(d, text);
}

/* ---- waiting ----------------------------------------------------------------------------------- */

static void tell_pressure(daemon_t *d, const http_stats_t *now)
{
    const http_stats_t *was = &d->told;
    uint64_t refused = now->refused - was->refused, pushed = now->pushed_back - was->pushed_back;
    uint64_t late = now->timed_out - was->timed_out, bad = now->malformed - was->malformed;
    if (refused + pushed + late + bad)
        DAEMON_SAY(d, VCH_SAY_WARN, "http.pressure", {"refused", NULL, refused}, {"pushed_back", NULL, pushed},
                   {"timed_out", NULL, late}, {"malformed", NULL, bad}, {"connections", NULL, now->connections},
                   {"seconds", NULL, TELL_MS / 1000});
    d->told = *now;
}

static void look(daemon_t *d, const http_server_t *http)
{
    http_stats_t now;
    uint64_t boot = vch_port_real()->clock->boot_ms(vch_port_real());
    http_server_stats(http, &now);
    bool turns = boot - now.beat_boot < (d->watchdog_ms > 2 * LOOK_MS ? d->watchdog_ms / 2 : LOOK_MS);
    if (d->watchdog_ms && turns) notify(d, "WATCHDOG=1");
    if (boot - d->told_boot < TELL_MS) return;
    tell_pressure(d, &now);
    d->told_boot = boot;
}

void daemon_run(daemon_t *d, const http_server_t *http, void (*reload)(void *), void *ctx)
{
    uint64_t every_ms = d->watchdog_ms && d->watchdog_ms / 4 < LOOK_MS ? d->watchdog_ms / 4 : LOOK_MS;
    struct timespec wait = {.tv_sec = (time_t)(every_ms / 1000), .tv_nsec = (long)(every_ms % 1000) * 1000000};
    for (;;) {
        int signal_number = sigtimedwait(&d->signals, NULL, &wait);
        if (signal_number == SIGTERM || signal_number == SIGINT) return;
        look(d, http);
        if (signal_number != SIGHUP) continue;
        reloading(d);
        reload(ctx);
        notify(d, "READY=1");
    }
}
