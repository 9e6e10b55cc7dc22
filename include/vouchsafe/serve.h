/* SPDX-License-Identifier: Apache-2.0 */
/* Serving a ledger over HTTP: what `vouch serve` does. */
#ifndef VOUCHSAFE_SERVE_H
#define VOUCHSAFE_SERVE_H

#include "vouchsafe/vouchsafe.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { VCH_SAY_ERROR, VCH_SAY_WARN, VCH_SAY_INFO, VCH_SAY_DEBUG } vch_say_t;

typedef struct {
    /* Instead of what [serve] of vouch.conf says; NULL: as it says. */
    const char *listen, *tls_cert, *tls_key;
    int public_plain; /* 1: plain HTTP beyond the loopback, behind a proxy that speaks TLS */
    unsigned flags;   /* VCH_LEDGER_ACCEPT_CLOCK or 0 */
    vch_say_t level;  /* what is told to `log`; VCH_SAY_DEBUG tells of each request */
    /* One JSON object without its newline, from any thread; NULL: silence.
     * Names events, routes and counts; no secret, nothing of a request's
     * content, no address of a client. */
    void (*log)(void *ctx, const char *line);
    /* It answers now, at these addresses.  May be NULL. */
    void (*ready)(void *ctx, const char *addresses);
    void *ctx;
} vch_serve_t;

/* Opens the ledger for writing and serves it until SIGTERM or SIGINT, which
 * let requests under way be answered first.  SIGHUP reads vouch.conf, tokens
 * and certificates again.  Call it before the process has other threads: it
 * blocks these three signals and waits for them.
 *
 * Taken from the environment, and removed from it: LISTEN_FDS (sockets handed
 * over, then `listen` is unused), NOTIFY_SOCKET and WATCHDOG_USEC.
 *
 * When the disk is full reads go on and writes are refused until there is room;
 * a ledger that failed while writing is opened again by itself. */
VCH_API VCH_MUST_USE vch_rc vch_serve(const char *dir, const vch_serve_t *, vch_err_t *);

#ifdef __cplusplus
}
#endif
#endif
