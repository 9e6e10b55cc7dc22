/* SPDX-License-Identifier: Apache-2.0 */
/* What a long-running server owes its surroundings: signals, the service
 * manager (sd_notify, watchdog, sockets handed over) and a log of JSON lines.
 *
 * A line has "time", "level", "event" (a stable name: docs/operations.md) and
 * what belongs to the event.  No secret, no content of a request, no address
 * of a client, no path that a client chose. */
#ifndef VCH_DAEMON_H
#define VCH_DAEMON_H

#include <signal.h>
#include <stdatomic.h>

#include "api/http.h"
#include "vouchsafe/serve.h"

#define DAEMON_FDS_MAX 8

typedef struct {
    vch_say_t level;
    void (*log)(void *ctx, const char *line);
    void *ctx;
    sigset_t signals, before;
    char notify[128]; /* NOTIFY_SOCKET, or "" */
    bool notify_failed;
    uint64_t watchdog_ms;    /* 0: none */
    int fds[DAEMON_FDS_MAX]; /* sockets handed over */
    size_t fds_n;
    http_stats_t told; /* counters that the log knows of */
    uint64_t told_boot;
} daemon_t;

/* Reads and clears the environment, blocks SIGTERM, SIGINT and SIGHUP: before
 * any other thread begins.  ERR_USAGE for handed sockets that are too many. */
VCH_MUST_USE vch_rc daemon_begin(daemon_t *, const vch_serve_t *, vch_err_t *);
void daemon_end(daemon_t *); /* signals as they were */

/* Waits, keeps the watchdog quiet as long as the wheel turns, tells of crowds
 * and refusals once a minute, calls reload on SIGHUP; returns on SIGTERM or
 * SIGINT. */
void daemon_run(daemon_t *, const http_server_t *, void (*reload)(void *ctx), void *ctx);

void daemon_ready(daemon_t *, const http_server_t *);
void daemon_stopping(daemon_t *);

/* One line of the log.  Members: text when `text` is set, else a number. */
typedef struct {
    const char *name, *text;
    uint64_t number;
} daemon_member_t;
void daemon_say(const daemon_t *, vch_say_t, const char *event, const daemon_member_t *, size_t n);
/* The members follow as {"name", "text"} or {"name", NULL, 7}. */
#define DAEMON_SAY(d, level, event, ...)                                                                               \
    daemon_say(d, level, event, (const daemon_member_t[]){__VA_ARGS__},                                                \
               sizeof(const daemon_member_t[]){__VA_ARGS__} / sizeof(daemon_member_t))
/* "text" and "hint" of a failure. */
void daemon_say_err(const daemon_t *, vch_say_t, const char *event, const vch_err_t *);

#endif
