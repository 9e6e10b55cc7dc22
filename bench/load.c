/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define ANSWER_MAX 65536
#define EVENTS 256

typedef struct {
    int fd;
    const char *out; /* what is left to send */
    size_t out_n;
    char *in;
    size_t in_n;
    double due; /* when the request that is under way should have left */
    int busy;
} conn_t;

typedef struct {
    const load_t *plan;
    conn_t *conn;
    int epoll;
    size_t next; /* request */
    unsigned *idle, idle_n;
    double start, *latency;
    size_t latencies, latency_cap;
    uint64_t good, bad, sent;
} run_t;

static int complain(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    return -1;
}

/* The server takes in all connections before the clock starts. */
#define SETTLE_US 300000

/* ---- connections -------------------------------------------------------------- */

static int open_one(run_t *r, unsigned i)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)r->plan->port)};
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
    int one = 1;
    conn_t *c = &r->conn[i];
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    c->in = malloc(ANSWER_MAX);
    if (c->fd < 0 || !c->in || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) return complain("connecting");
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) return complain("TCP_NODELAY");
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0) return complain("epoll");
    r->idle[r->idle_n++] = i;
    return 0;
}

static int open_all(run_t *r)
{
    r->epoll = epoll_create1(0);
    r->conn = calloc(r->plan->connections, sizeof *r->conn);
    r->idle = calloc(r->plan->connections, sizeof *r->idle);
    if (r->epoll < 0 || !r->conn || !r->idle) return complain("beginning");
    for (unsigned i = 0; i < r->plan->connections; i++) r->conn[i].fd = -1;
    for (unsigned i = 0; i < r->plan->connections; i++)
        if (open_one(r, i) != 0) return -1;
    return 0;
}

static void close_all(run_t *r)
{
    for (unsigned i = 0; r->conn && i < r->plan->connections; i++) {
        if (r->conn[i].fd >= 0) close(r->conn[i].fd);
        free(r->conn[i].in);
    }
    if (r->epoll >= 0) close(r->epoll);
    free(r->conn);
    free(r->idle);
    free(r->latency);
}

/* ---- sending ---------------------------------------------------------------------- */

static int send_more(run_t *r, unsigned i)
{
    conn_t *c = &r->conn[i];
    while (c->out_n) {
        ssize_t n = send(c->fd, c->out, c->out_n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) return complain("sending");
        c->out += n;
        c->out_n -= (size_t)n;
    }
    struct epoll_event e = {.events = c->out_n ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.u32 = i};
    return epoll_ctl(r->epoll, EPOLL_CTL_MOD, c->fd, &e) == 0 ? 0 : complain("epoll");
}

static int have_more(const run_t *r) { return r->plan->again || r->next < r->plan->requests; }

static int send_next(run_t *r, double due)
{
    unsigned i = r->idle[--r->idle_n];
    conn_t *c = &r->conn[i];
    size_t k = r->next++ % r->plan->requests;
    c->out = r->plan->request[k];
    c->out_n = r->plan->request_n[k];
    c->due = due;
    c->busy = 1;
    r->sent++;
    return send_more(r, i);
}

/* All that is due, as far as there are free connections. */
static int send_due(run_t *r, double now)
{
    while (r->idle_n && have_more(r)) {
        double due = r->plan->rate > 0 ? r->start + (double)r->sent / r->plan->rate : now;
        if (due > now) break;
        if (send_next(r, due) != 0) return -1;
    }
    return 0;
}

/* ---- receiving ------------------------------------------------------------------------ */

static int note_latency(run_t *r, double seconds)
{
    if (r->latencies == r->latency_cap) {
        size_t cap = r->latency_cap ? 2 * r->latency_cap : 65536;
        double *more = realloc(r->latency, cap * sizeof *more);
        if (!more) return complain("memory");
        r->latency = more;
        r->latency_cap = cap;
    }
    r->latency[r->latencies++] = seconds;
    return 0;
}

/* Length of the answer that begins at c->in, or 0 while it isn't whole. */
static size_t answer_bytes(conn_t *c, int *ret_status)
{
    c->in[c->in_n] = 0;
    const char *end = strstr(c->in, "\r\n\r\n"), *length = strcasestr(c->in, "\r\ncontent-length:");
    if (!end || c->in_n < 12) return 0;
    *ret_status = (int)strtol(c->in + 9, NULL, 10);
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t all = (size_t)(end - c->in) + 4 + body;
    return c->in_n >= all ? all : 0;
}

static int receive(run_t *r, unsigned i, double now)
{
    conn_t *c = &r->conn[i];
    int status = 0;
    if (c->in_n >= ANSWER_MAX - 1) {
        fprintf(stderr, "load: an answer is longer than %d bytes\n", ANSWER_MAX);
        return -1;
    }
    ssize_t n = recv(c->fd, c->in + c->in_n, ANSWER_MAX - 1 - c->in_n, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) {
        fprintf(stderr, "load: the server closed a connection: %s\n", n < 0 ? strerror(errno) : "end");
        return -1;
    }
    c->in_n += (size_t)n;
    size_t used = answer_bytes(c, &status);
    if (!used) return 0;
    c->in_n = 0;
    c->busy = 0;
    if (status == 200)
        r->good++;
    else if (r->bad++ == 0)
        fprintf(stderr, "load: answered %.300s\n", c->in);
    r->idle[r->idle_n++] = i;
    return note_latency(r, now - c->due);
}

/* ---- the loop --------------------------------------------------------------------------- */

static int turn(run_t *r)
{
    struct epoll_event e[EVENTS];
    int wait_ms = r->plan->rate > 0 && r->idle_n ? 0 : 100;
    int n = epoll_wait(r->epoll, e, EVENTS, wait_ms);
    if (n < 0 && errno != EINTR) return complain("epoll");
    for (int k = 0; k < n; k++) {
        if (e[k].events & EPOLLOUT && send_more(r, e[k].data.u32) != 0) return -1;
        if (e[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && receive(r, e[k].data.u32, bench_now()) != 0) return -1;
    }
    return 0;
}

static int loop(run_t *r)
{
    r->start = bench_now();
    for (double now = r->start;; now = bench_now()) {
        int over = now - r->start >= r->plan->seconds || !have_more(r);
        if (over && r->idle_n == r->plan->connections) return 0;
        if (now - r->start > 2 * r->plan->seconds + 10) {
            fprintf(stderr, "load: answers stopped coming\n");
            return -1;
        }
        if ((!over && send_due(r, now) != 0) || turn(r) != 0) return -1;
    }
}

static double quantile(const double *v, size_t n, double q)
{
    size_t i = (size_t)(q * (double)n);
    return n ? 1e3 * v[i < n ? i : n - 1] : 0;
}

static void sum_up(run_t *r, load_result_t *ret)
{
    qsort(r->latency, r->latencies, sizeof *r->latency, bench_compare);
    *ret = (load_result_t){.good = r->good, .bad = r->bad, .seconds = bench_now() - r->start};
    ret->rate = (double)r->good / ret->seconds;
    ret->p50_ms = quantile(r->latency, r->latencies, 0.5);
    ret->p99_ms = quantile(r->latency, r->latencies, 0.99);
    ret->p999_ms = quantile(r->latency, r->latencies, 0.999);
    ret->max_ms = quantile(r->latency, r->latencies, 1);
}

int load_run(const load_t *plan, load_result_t *ret)
{
    run_t r = {.plan = plan, .epoll = -1};
    int rc = open_all(&r);
    if (rc == 0) usleep(SETTLE_US);
    if (rc == 0) rc = loop(&r);
    if (rc == 0) sum_up(&r, ret);
    close_all(&r);
    return rc;
}
