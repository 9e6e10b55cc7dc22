/* SPDX-License-Identifier: Apache-2.0 */
/* Non-blocking stream sockets of the machine. */
#include "port/socket.h"
#include "port/real.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define UNSENT_MAX (128 << 10) /* bytes kept in the kernel for who reads slowly: beyond it a send must wait */

typedef struct {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_storage storage;
    } a;
    socklen_t n;
} address_t;

/* ---- addresses ----------------------------------------------------------------- */

static bool read_port(uint16_t *ret, const char *s)
{
    unsigned value = 0;
    size_t n = strlen(s);
    if (n == 0 || n > 5) return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return false;
        value = value * 10 + (unsigned)(s[i] - '0');
    }
    *ret = htons((uint16_t)value);
    return value <= 65535;
}

static bool read_unix(address_t *ret, const char *path)
{
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof ret->a.un.sun_path) return false;
    ret->a.un.sun_family = AF_UNIX;
    memcpy(ret->a.un.sun_path, path, n + 1);
    ret->n = sizeof ret->a.un;
    return true;
}

static bool read_host(address_t *ret, const char *host, uint16_t port)
{
    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    ret->a.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
    ret->n = sizeof ret->a.in;
    if (inet_pton(AF_INET, host, &ret->a.in.sin_addr) == 1) return true;
    ret->a.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
    ret->n = sizeof ret->a.in6;
    return inet_pton(AF_INET6, host, &ret->a.in6.sin6_addr) == 1;
}

static bool read_address(address_t *ret, const char *s)
{
    char host[INET6_ADDRSTRLEN + 1];
    uint16_t port;
    const char *colon = strrchr(s, ':');
    memset(ret, 0, sizeof *ret);
    if (strncmp(s, "unix:", 5) == 0) return read_unix(ret, s + 5);
    if (!colon || !read_port(&port, colon + 1)) return false;
    bool brackets = s[0] == '[' && colon > s + 1 && colon[-1] == ']';
    size_t from = brackets ? 1 : 0, n = (size_t)(colon - s) - 2 * from;
    if (n == 0 || n >= sizeof host) return false;
    memcpy(host, s + from, n);
    host[n] = 0;
    return read_host(ret, host, port) && brackets == (ret->a.any.sa_family == AF_INET6);
}

static bool is_local(const address_t *at)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const uint8_t *six = at->a.in6.sin6_addr.s6_addr;
    switch (at->a.any.sa_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        return ntohl(at->a.in.sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return memcmp(six, &in6addr_loopback, 16) == 0 || (memcmp(six, mapped, 12) == 0 && six[12] == 127);
    default:
        return false;
    }
}

vch_rc vch_socket_address(int fd, char ret[VCH_ADDRESS_MAX], bool *ret_local, vch_err_t *err)
{
    address_t at;
    char host[INET6_ADDRSTRLEN] = "";
    memset(&at, 0, sizeof at);
    at.n = sizeof at.a;
    if (getsockname(fd, &at.a.any, &at.n) < 0)
        return vch_fail(err, vch__real_rc(errno), "asking where a socket is bound: error %d", errno);
    *ret_local = is_local(&at);
    if (at.a.any.sa_family == AF_UNIX)
        snprintf(ret, VCH_ADDRESS_MAX, "unix:%.107s", at.a.un.sun_path);
    else if (at.a.any.sa_family == AF_INET && inet_ntop(AF_INET, &at.a.in.sin_addr, host, sizeof host))
        snprintf(ret, VCH_ADDRESS_MAX, "%s:%u", host, (unsigned)ntohs(at.a.in.sin_port));
    else if (at.a.any.sa_family == AF_INET6 && inet_ntop(AF_INET6, &at.a.in6.sin6_addr, host, sizeof host))
        snprintf(ret, VCH_ADDRESS_MAX, "[%s]:%u", host, (unsigned)ntohs(at.a.in6.sin6_port));
    else
        return vch_fail(err, VCH_ERR_UNSUPPORTED, "a socket of a family that is neither IP nor unix");
    return VCH_OK;
}

/* ---- listening ------------------------------------------------------------------- */

static vch_rc bind_listen(int fd, const address_t *at, int backlog)
{
    int on = 1;
    if (at->a.any.sa_family != AF_UNIX) /* failing only means waiting longer after a restart */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->a.any.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
        return vch__real_rc(errno);
    return vch__bind_listen(fd, &at->a.any, at->n, backlog);
}

vch_rc vch_socket_listen(int *ret_fd, const char *address, int backlog, vch_err_t *err)
{
    address_t at;
    if (!read_address(&at, address))
        return vch_hint(err, vch_fail(err, VCH_ERR_USAGE, "\"%.100s\" is no address to listen at", address),
                        "it is IP:PORT, [IPv6]:PORT, localhost:PORT or unix:/path");
    int fd = socket(at.a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return vch_fail(err, vch__real_rc(errno), "making a socket for %.100s: error %d", address, errno);
    vch_rc rc = bind_listen(fd, &at, backlog);
    if (rc == VCH_OK) {
        *ret_fd = fd;
        return VCH_OK;
    }
    close(fd);
    if (rc == VCH_ERR_CONFLICT)
        return vch_hint(err, vch_fail(err, rc, "%.100s is in use", address),
                        "another program listens there; choose another address");
    return vch_fail(err, rc, "listening at %.100s: %s", address, vch_rc_text(rc));
}

vch_rc vch_socket_adopt(int fd, vch_err_t *err)
{
    int type = 0, listens = 0, flags = fcntl(fd, F_GETFL);
    socklen_t n = sizeof type, m = sizeof listens;
    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_STREAM ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &m) < 0 || !listens)
        return vch_hint(err, vch_fail(err, VCH_ERR_USAGE, "descriptor %d is no listening stream socket", fd),
                        "the socket unit needs ListenStream= and Accept=no");
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return vch_fail(err, vch__real_rc(errno), "preparing descriptor %d: error %d", fd, errno);
    return VCH_OK;
}

/* Small answers leave at once; of large ones little is kept in the kernel, so
 * that how far a send gets tells how fast the other side reads.  Both only
 * make things better; failing is no failure. */
static void tune(int fd)
{
    int on = 1, unsent = UNSENT_MAX;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

vch_rc vch_socket_accept(int listener, int *ret_fd, bool *ret_local)
{
    address_t at;
    for (;;) {
        memset(&at, 0, sizeof at);
        at.n = sizeof at.a;
        int fd = accept4(listener, &at.a.any, &at.n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            if (at.a.any.sa_family != AF_UNIX) tune(fd);
            *ret_local = is_local(&at);
            *ret_fd = fd;
            return VCH_OK;
        }
        switch (errno) {
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
            continue; /* the caller left again */
        case EAGAIN:
            return VCH_ERR_NOT_FOUND;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return VCH_ERR_LIMIT;
        default:
            return vch__real_rc(errno);
        }
    }
}

/* ---- bytes ------------------------------------------------------------------------- */

static vch_socket_t outcome(ssize_t moved, size_t *ret_n)
{
    *ret_n = moved > 0 ? (size_t)moved : 0;
    if (moved > 0) return VCH_SOCKET_DONE;
    return moved < 0 && errno == EAGAIN ? VCH_SOCKET_LATER : VCH_SOCKET_END;
}

vch_socket_t vch_socket_recv(int fd, void *buf, size_t n, size_t *ret_n)
{
    ssize_t got;
    do got = recv(fd, buf, n, 0);
    while (got < 0 && errno == EINTR);
    return outcome(got, ret_n);
}

vch_socket_t vch_socket_send(int fd, const void *buf, size_t n, size_t *ret_n)
{
    ssize_t put;
    do put = send(fd, buf, n, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return outcome(put, ret_n);
}

void vch_socket_end(int fd) { (void)shutdown(fd, SHUT_WR); /* fails only when the other side is gone */ }

void vch_socket_close(int fd) { close(fd); }

void vch_socket_unlisten(int fd)
{
    address_t at;
    memset(&at, 0, sizeof at);
    at.n = sizeof at.a;
    if (getsockname(fd, &at.a.any, &at.n) == 0 && at.a.any.sa_family == AF_UNIX && at.a.un.sun_path[0])
        (void)unlink(at.a.un.sun_path); /* one that stays is recognised as stale by the next */
    close(fd);
}

size_t vch_descriptors(size_t want)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0) return 0;
    if (r.rlim_cur < want) {
        struct rlimit more = {.rlim_cur = r.rlim_max < want ? r.rlim_max : want, .rlim_max = r.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) r = more;
    }
    return (size_t)r.rlim_cur;
}

/* ---- the service manager -------------------------------------------------------------- */

vch_rc vch_notify(const char *address, const char *text)
{
    address_t at;
    memset(&at, 0, sizeof at);
    if ((address[0] != '/' && address[0] != '@') || !read_unix(&at, address)) return VCH_ERR_USAGE;
    at.n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address));
    if (address[0] == '@') at.a.un.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return vch__real_rc(errno);
    size_t n = strlen(text);
    ssize_t put = sendto(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT, &at.a.any, at.n);
    close(fd);
    return put == (ssize_t)n ? VCH_OK : VCH_ERR_UNREACHABLE;
}
