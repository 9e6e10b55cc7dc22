/* SPDX-License-Identifier: Apache-2.0 */
/* Stream sockets for whoever waits for many at once (the server's event loop).
 * Nothing here waits.  The simulated machine has none: see port.h for streams
 * that it has too.
 *
 * Addresses: "127.0.0.1:7117", "[::1]:7117", "localhost:7117", "0.0.0.0:0" (any
 * free port), "unix:/path" (mode 0600). */
#ifndef VCH_SOCKET_H
#define VCH_SOCKET_H

#include "base/base.h"

#define VCH_ADDRESS_MAX 128

typedef enum {
    VCH_SOCKET_DONE,  /* at least one byte */
    VCH_SOCKET_LATER, /* not now: wait for the socket */
    VCH_SOCKET_END,   /* the other side closed, or is gone */
} vch_socket_t;

/* ERR_USAGE for an address of no known form, ERR_CONFLICT when it is taken. */
VCH_MUST_USE vch_rc vch_socket_listen(int *ret_fd, const char *address, int backlog, vch_err_t *);
/* A listening stream socket that another process made; ERR_USAGE when it is none. */
VCH_MUST_USE vch_rc vch_socket_adopt(int fd, vch_err_t *);
/* Where a socket is bound; *ret_local: the loopback or a file. */
VCH_MUST_USE vch_rc vch_socket_address(int fd, char ret[VCH_ADDRESS_MAX], bool *ret_local, vch_err_t *);
/* ERR_NOT_FOUND: nobody is waiting; ERR_LIMIT: no descriptor or memory left. */
VCH_MUST_USE vch_rc vch_socket_accept(int listener, int *ret_fd, bool *ret_local);
vch_socket_t vch_socket_recv(int fd, void *buf, size_t n, size_t *ret_n);
vch_socket_t vch_socket_send(int fd, const void *buf, size_t n, size_t *ret_n);
void vch_socket_end(int fd); /* nothing more will be sent */
void vch_socket_close(int fd);
/* Closes; a socket file is removed too. */
void vch_socket_unlisten(int fd);

/* How many descriptors this process may have, raised to `want` if it can be. */
size_t vch_descriptors(size_t want);

/* One datagram to a unix socket, "/path" or "@abstract": how a service manager
 * is told (sd_notify).  ERR_UNREACHABLE when nobody listens. */
VCH_MUST_USE vch_rc vch_notify(const char *address, const char *text);

#endif
