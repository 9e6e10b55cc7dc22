/* SPDX-License-Identifier: Apache-2.0 */
/* Byte streams of the machine: unix sockets, and TCP on the loopback only
 * (what leaves the machine goes through a gateway that speaks TLS).  All
 * sockets are non-blocking; waiting is poll's job. */
#include "port/real.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_STALL_MS 30000u /* a peer that takes no byte for so long is gone */
#define BACKLOG 128

struct vch_conn {
    int fd;
    char bound[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* socket file to remove at the end, or "" */
};

typedef struct {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
    } a;
    socklen_t n;
} address_t;

static vch_rc parse_port(uint16_t *ret, const char *s)
{
    unsigned value = 0;
    size_t n = strlen(s);
    if (n == 0 || n > 5) return VCH_ERR_USAGE;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return VCH_ERR_USAGE;
        value = value * 10 + (unsigned)(s[i] - '0');
    }
    if (value == 0 || value > 65535) return VCH_ERR_USAGE;
    *ret = (uint16_t)value;
    return VCH_OK;
}

static vch_rc parse_tcp(address_t *ret, const char *s)
{
    char host[16];
    uint16_t number;
    const char *colon = strrchr(s, ':');
    if (!colon || (size_t)(colon - s) >= sizeof host) return VCH_ERR_USAGE;
    memcpy(host, s, (size_t)(colon - s));
    host[colon - s] = 0;
    VCH_TRY(parse_port(&number, colon + 1));
    ret->a.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(number)};
    if (inet_pton(AF_INET, host, &ret->a.in.sin_addr) != 1) return VCH_ERR_USAGE;
    if (ntohl(ret->a.in.sin_addr.s_addr) >> 24 != 127) return VCH_ERR_USAGE;
    ret->n = sizeof ret->a.in;
    return VCH_OK;
}

static vch_rc parse_address(address_t *ret, const char *s)
{
    memset(ret, 0, sizeof *ret);
    if (strncmp(s, "tcp:", 4) == 0) return parse_tcp(ret, s + 4);
    if (strncmp(s, "unix:", 5) != 0 || !s[5]) return VCH_ERR_USAGE;
    size_t n = strlen(s + 5);
    if (n >= sizeof ret->a.un.sun_path) return VCH_ERR_LIMIT;
    ret->a.un.sun_family = AF_UNIX;
    memcpy(ret->a.un.sun_path, s + 5, n + 1);
    ret->n = sizeof ret->a.un;
    return VCH_OK;
}

static vch_rc net_rc(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case EPIPE:
    case ETIMEDOUT:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOENT:
        return VCH_ERR_UNREACHABLE;
    case EADDRINUSE:
        return VCH_ERR_CONFLICT;
    default:
        return vch__real_rc(error);
    }
}

static vch_rc conn_new(vch_conn_t **ret, int fd)
{
    vch_conn_t *conn = vch_alloc(sizeof *conn);
    if (!conn) {
        close(fd);
        return VCH_ERR_MEMORY;
    }
    conn->fd = fd;
    *ret = conn;
    return VCH_OK;
}

static int socket_for(const address_t *at)
{
    int fd = socket(at->a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd >= 0 && at->a.any.sa_family == AF_INET) { /* both only make things nicer; failing is no failure */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return fd;
}

/* True when a socket file is there but nobody listens behind it: what a
 * killed process leaves behind.  The probe is of another kind than the
 * listener, so a living one refuses it (EPROTOTYPE) and never has to accept it. */
static bool is_stale(const struct sockaddr *at, socklen_t n)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)at;
    struct stat st;
    if (at->sa_family != AF_UNIX || lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) return false;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool stale = connect(fd, at, n) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

vch_rc vch__bind_listen(int fd, const struct sockaddr *at, socklen_t n, int backlog)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)at;
    bool is_unix = at->sa_family == AF_UNIX;
    if (is_unix && fchmod(fd, 0600) < 0) return net_rc(errno); /* the socket file inherits it */
    int error = bind(fd, at, n) < 0 ? errno : 0;
    if (error == EADDRINUSE && is_stale(at, n)) {
        (void)unlink(un->sun_path);
        error = bind(fd, at, n) < 0 ? errno : 0;
    }
    if (error) return error == ENOENT ? VCH_ERR_NOT_FOUND : net_rc(error);
    if (listen(fd, backlog) == 0) return VCH_OK;
    vch_rc rc = net_rc(errno);
    if (is_unix) (void)unlink(un->sun_path);
    return rc;
}

static vch_rc real_listen(vch_port_t *port, vch_conn_t **ret, const char *address)
{
    (void)port;
    address_t at;
    VCH_TRY(parse_address(&at, address));
    int fd = socket_for(&at);
    if (fd < 0) return net_rc(errno);
    vch_conn_t *conn;
    VCH_TRY(conn_new(&conn, fd));
    vch_rc rc = vch__bind_listen(fd, &at.a.any, at.n, BACKLOG);
    if (rc != VCH_OK) {
        close(fd);
        vch_free(conn);
        return rc;
    }
    if (at.a.any.sa_family == AF_UNIX) memcpy(conn->bound, at.a.un.sun_path, sizeof conn->bound);
    *ret = conn;
    return VCH_OK;
}

/* Wait until the socket is ready, at most until `deadline` of the boot clock. */
static vch_rc wait_ready(int fd, short events, uint64_t deadline)
{
    for (;;) {
        uint64_t now = vch__real_boot_ms();
        uint64_t left = deadline > now ? deadline - now : 0;
        struct pollfd p = {.fd = fd, .events = events};
        int ready = poll(&p, 1, left > 60000 ? 60000 : (int)left);
        if (ready > 0) return VCH_OK; /* an error shows itself in the call that follows */
        if (ready < 0 && errno != EINTR) return net_rc(errno);
        if (ready == 0 && left == 0) return VCH_ERR_UNREACHABLE;
    }
}

static uint64_t deadline_after(uint64_t wait_ms)
{
    uint64_t now = vch__real_boot_ms();
    return wait_ms > UINT64_MAX - now ? UINT64_MAX : now + wait_ms;
}

static bool is_transient(int error) { return error == EINTR || error == EAGAIN || error == ECONNABORTED; }

static vch_rc real_accept(vch_port_t *port, vch_conn_t *listener, vch_conn_t **ret, uint64_t wait_ms)
{
    (void)port;
    uint64_t deadline = deadline_after(wait_ms);
    for (;;) {
        VCH_TRY(wait_ready(listener->fd, POLLIN, deadline));
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) return conn_new(ret, fd);
        if (!is_transient(errno)) return net_rc(errno); /* else the caller left again: wait on */
    }
}

static vch_rc finish_connect(int fd, const address_t *at, uint64_t wait_ms)
{
    if (connect(fd, &at->a.any, at->n) == 0) return VCH_OK;
    if (errno == EAGAIN) return VCH_ERR_UNREACHABLE; /* unix: the listener's queue is full */
    if (errno != EINPROGRESS && errno != EINTR) return net_rc(errno);
    VCH_TRY(wait_ready(fd, POLLOUT, deadline_after(wait_ms)));
    int error = 0;
    socklen_t n = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0) return net_rc(errno);
    return net_rc(error);
}

static vch_rc real_connect(vch_port_t *port, vch_conn_t **ret, const char *address, uint64_t wait_ms)
{
    (void)port;
    address_t at;
    VCH_TRY(parse_address(&at, address));
    int fd = socket_for(&at);
    if (fd < 0) return net_rc(errno);
    vch_rc rc = finish_connect(fd, &at, wait_ms);
    if (rc == VCH_OK) return conn_new(ret, fd);
    close(fd);
    return rc;
}

static vch_rc real_send(vch_port_t *port, vch_conn_t *conn, const void *buf, size_t n)
{
    (void)port;
    size_t done = 0;
    while (done < n) {
        ssize_t put = send(conn->fd, (const uint8_t *)buf + done, n - done, MSG_NOSIGNAL);
        if (put > 0) done += (size_t)put;
        if (put >= 0 || errno == EINTR) continue;
        if (errno != EAGAIN) return net_rc(errno);
        VCH_TRY(wait_ready(conn->fd, POLLOUT, deadline_after(SEND_STALL_MS)));
    }
    return VCH_OK;
}

static vch_rc real_recv(vch_port_t *port, vch_conn_t *conn, size_t *ret_n, void *buf, size_t n, uint64_t wait_ms)
{
    (void)port;
    if (n == 0) return VCH_ERR_USAGE; /* 0 bytes would read like the end */
    uint64_t deadline = deadline_after(wait_ms);
    for (;;) {
        ssize_t got = recv(conn->fd, buf, n, 0);
        if (got >= 0) {
            *ret_n = (size_t)got;
            return VCH_OK;
        }
        if (errno != EAGAIN && errno != EINTR) return net_rc(errno);
        VCH_TRY(wait_ready(conn->fd, POLLIN, deadline));
    }
}

static void real_conn_close(vch_port_t *port, vch_conn_t *conn)
{
    (void)port;
    if (conn->bound[0]) (void)unlink(conn->bound);
    close(conn->fd);
    vch_free(conn);
}

const vch_net_ops_t vch__real_net = {
    .listen = real_listen,
    .accept = real_accept,
    .connect = real_connect,
    .send = real_send,
    .recv = real_recv,
    .close = real_conn_close,
};
