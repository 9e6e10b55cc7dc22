/* SPDX-License-Identifier: Apache-2.0 */
/* A load generator for HTTP: many keep-alive connections in one thread.
 *
 * Closed loop: each connection sends its next request when the last one was
 * answered; that finds the throughput.  Open loop: requests are due at fixed
 * times, whatever the server does, and a latency counts from the moment a
 * request was due, so that waiting in front of the server is not left out. */
#ifndef VCH_LOAD_H
#define VCH_LOAD_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *const *request; /* whole HTTP requests; each is sent once, or over and over with `again` */
    const size_t *request_n;
    size_t requests;
    int again;
    unsigned port;        /* on 127.0.0.1 */
    unsigned connections; /* each open before the clock starts */
    double seconds;       /* at most */
    double rate;          /* per second; 0: closed loop */
} load_t;

typedef struct {
    uint64_t good, bad; /* answered 200; answered otherwise */
    double seconds, rate;
    double p50_ms, p99_ms, p999_ms, max_ms;
} load_result_t;

/* 0, or -1 after a line on stderr. */
int load_run(const load_t *, load_result_t *ret);

#endif
