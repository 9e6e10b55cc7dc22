/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the real port share.  Not for other modules. */
#ifndef VCH_PORT_REAL_H
#define VCH_PORT_REAL_H

#include <sys/socket.h>

#include "port/port.h"

extern const vch_net_ops_t vch__real_net;

vch_rc vch__real_rc(int error); /* errno to result; 0 is VCH_OK */
uint64_t vch__real_boot_ms(void);
/* A socket file gets mode 0600; one that nobody listens behind gives way. */
vch_rc vch__bind_listen(int fd, const struct sockaddr *, socklen_t, int backlog);

#endif
