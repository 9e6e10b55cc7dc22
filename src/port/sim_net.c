/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated network.  One send is one message: dropped as a whole,
 * delivered twice, or late; but a stream never reorders.  Waiting only lets
 * the clock go on, for nobody else runs meanwhile. */
#include "port/sim_int.h"

#include <stdlib.h>

typedef struct message message_t;
struct message {
    message_t *next;
    uint64_t at_ms; /* of the boot clock */
    size_t n, pos;
    uint8_t b[];
};

struct vch_conn {
    vch_conn_t *next, *prev;
    vch_conn_t *peer;     /* NULL: the other side has gone */
    vch_conn_t *listener; /* until accepted: whose queue it waits in */
    char *address;        /* a listener's; NULL for a stream */
    message_t *head, *tail;
    uint64_t last_at_ms;
};

static vch_conn_t *conn_new(vch_sim_t *s)
{
    vch_conn_t *conn = vch__sim_grow(NULL, sizeof *conn);
    *conn = (vch_conn_t){.next = s->conns};
    if (s->conns) s->conns->prev = conn;
    s->conns = conn;
    return conn;
}

static void drop_messages(vch_conn_t *conn)
{
    for (message_t *m = conn->head, *next; m; m = next) {
        next = m->next;
        free(m);
    }
    conn->head = conn->tail = NULL;
}

static void conn_free(vch_sim_t *s, vch_conn_t *conn)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        s->conns = conn->next;
    if (conn->next) conn->next->prev = conn->prev;
    if (conn->peer) conn->peer->peer = NULL;
    drop_messages(conn);
    free(conn->address);
    free(conn);
}

static vch_conn_t *find_listener(const vch_sim_t *s, const char *address)
{
    for (vch_conn_t *c = s->conns; c; c = c->next)
        if (c->address && strcmp(c->address, address) == 0) return c;
    return NULL;
}

/* The stream that has waited longest: new ones come in at the front. */
static vch_conn_t *oldest_waiting(const vch_sim_t *s, const vch_conn_t *listener)
{
    vch_conn_t *found = NULL;
    for (vch_conn_t *c = s->conns; c; c = c->next)
        if (c->listener == listener) found = c;
    return found;
}

static bool address_known(const char *a)
{
    return (strncmp(a, "unix:", 5) == 0 && a[5]) || (strncmp(a, "tcp:", 4) == 0 && a[4]);
}

static vch_rc sim_listen(vch_port_t *port, vch_conn_t **ret, const char *address)
{
    if (!address_known(address)) return VCH_ERR_USAGE;
    vch_sim_t *s = vch__sim_enter(port);
    if (find_listener(s, address)) return vch__sim_leave(s, VCH_ERR_CONFLICT);
    vch_conn_t *conn = conn_new(s);
    size_t n = strlen(address) + 1;
    conn->address = vch__sim_grow(NULL, n);
    memcpy(conn->address, address, n);
    *ret = conn;
    return vch__sim_leave(s, VCH_OK);
}

static vch_rc sim_accept(vch_port_t *port, vch_conn_t *listener, vch_conn_t **ret, uint64_t wait_ms)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_conn_t *conn = listener->address ? oldest_waiting(s, listener) : NULL;
    if (!conn) {
        vch__sim_pass_ms(s, wait_ms);
        return vch__sim_leave(s, VCH_ERR_UNREACHABLE);
    }
    conn->listener = NULL;
    *ret = conn;
    return vch__sim_leave(s, VCH_OK);
}

static vch_rc sim_connect(vch_port_t *port, vch_conn_t **ret, const char *address, uint64_t wait_ms)
{
    (void)wait_ms; /* a refusal comes at once */
    if (!address_known(address)) return VCH_ERR_USAGE;
    vch_sim_t *s = vch__sim_enter(port);
    vch_conn_t *listener = find_listener(s, address);
    if (!listener) return vch__sim_leave(s, VCH_ERR_UNREACHABLE);
    vch_conn_t *mine = conn_new(s), *theirs = conn_new(s);
    mine->peer = theirs;
    theirs->peer = mine;
    theirs->listener = listener;
    *ret = mine;
    return vch__sim_leave(s, VCH_OK);
}

static void deliver(vch_sim_t *s, vch_conn_t *to, const void *buf, size_t n)
{
    uint64_t delay = s->delay_ms_max ? vch__sim_rng(&s->rng_fault) % ((uint64_t)s->delay_ms_max + 1) : 0;
    uint64_t at = s->boot_ms + delay;
    message_t *m = vch__sim_grow(NULL, sizeof *m + n);
    *m = (message_t){.at_ms = at > to->last_at_ms ? at : to->last_at_ms, .n = n};
    memcpy(m->b, buf, n);
    to->last_at_ms = m->at_ms;
    if (to->tail)
        to->tail->next = m;
    else
        to->head = m;
    to->tail = m;
}

static vch_rc sim_send(vch_port_t *port, vch_conn_t *conn, const void *buf, size_t n)
{
    vch_sim_t *s = vch__sim_enter(port);
    if (!conn->peer) return vch__sim_leave(s, VCH_ERR_UNREACHABLE);
    if (n == 0 || (s->drop_percent && vch__sim_chance(s, s->drop_percent))) return vch__sim_leave(s, VCH_OK);
    deliver(s, conn->peer, buf, n);
    if (s->double_percent && vch__sim_chance(s, s->double_percent)) deliver(s, conn->peer, buf, n);
    return vch__sim_leave(s, VCH_OK);
}

static size_t take(vch_conn_t *conn, void *buf, size_t n)
{
    message_t *m = conn->head;
    n = vch_min(n, m->n - m->pos);
    memcpy(buf, m->b + m->pos, n);
    m->pos += n;
    if (m->pos < m->n) return n;
    conn->head = m->next;
    if (!conn->head) conn->tail = NULL;
    free(m);
    return n;
}

static vch_rc sim_recv(vch_port_t *port, vch_conn_t *conn, size_t *ret_n, void *buf, size_t n, uint64_t wait_ms)
{
    if (n == 0) return VCH_ERR_USAGE;
    vch_sim_t *s = vch__sim_enter(port);
    if (!conn->head && !conn->peer && !conn->address) {
        *ret_n = 0;
        return vch__sim_leave(s, VCH_OK);
    }
    uint64_t late = conn->head && conn->head->at_ms > s->boot_ms ? conn->head->at_ms - s->boot_ms : 0;
    if (!conn->head || late > wait_ms) {
        vch__sim_pass_ms(s, wait_ms);
        return vch__sim_leave(s, VCH_ERR_UNREACHABLE);
    }
    vch__sim_pass_ms(s, late);
    *ret_n = take(conn, buf, n);
    return vch__sim_leave(s, VCH_OK);
}

/* Streams nobody accepted end with their listener. */
static void sim_conn_close(vch_port_t *port, vch_conn_t *conn)
{
    vch_sim_t *s = vch__sim_enter(port);
    for (vch_conn_t *c = oldest_waiting(s, conn); c; c = oldest_waiting(s, conn)) conn_free(s, c);
    conn_free(s, conn);
    vch__sim_leave(s, VCH_OK);
}

const vch_net_ops_t vch__sim_net = {
    .listen = sim_listen,
    .accept = sim_accept,
    .connect = sim_connect,
    .send = sim_send,
    .recv = sim_recv,
    .close = sim_conn_close,
};

/* The owners still hold their handles and close them; what nobody ever
 * accepted has no owner. */
void vch__net_crash(vch_sim_t *s)
{
    for (vch_conn_t *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (c->listener) conn_free(s, c);
    }
    for (vch_conn_t *c = s->conns; c; c = c->next) {
        drop_messages(c);
        free(c->address);
        c->address = NULL;
        c->peer = NULL;
        c->last_at_ms = 0;
    }
}

void vch__net_free(vch_sim_t *s)
{
    while (s->conns) conn_free(s, s->conns);
}
