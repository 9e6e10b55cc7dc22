/* SPDX-License-Identifier: Apache-2.0 */
/* A server of the vault, seen from here. */
#ifndef VCH_SERVED_INT_H
#define VCH_SERVED_INT_H

#include "node/served.h"

#define SV_SHORT_MS 10000u
#define SV_LONG_MS 300000u /* a deal of 2^20 rows takes seconds to hash, and machines are busy */

typedef struct {
    vch_port_t *port;
    vch_transport_t *transport;
    vch_asking_t as;
    vch_keyid_t id;
    char url[300]; /* without a slash at its end */
    char path[80]; /* "/<key id>/" */
    size_t path_n;
} served_t;

vch_rc sv_open(served_t *, vch_port_t *, const char *url, const vch_keyid_t *, vch_asking_t, vch_err_t *);
void sv_close(served_t *);
/* The answer's body, appended; asked again where that helps, so the question
 * must bear to be asked twice. */
vch_rc sv_ask(served_t *, const char *verb, vch_slice_t body, uint64_t timeout_ms, vch_buf_t *ret, vch_err_t *);

#endif
