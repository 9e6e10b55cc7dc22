/* SPDX-License-Identifier: Apache-2.0 */
/* A witness as an HTTP service (C2SP tlog-witness v1.0.0), without any socket. */
#ifndef VCH_WITNESS_SERVICE_H
#define VCH_WITNESS_SERVICE_H

#include "api/http.h"
#include "node/witness.h"

typedef struct witness_service witness_service_t;
/* The witness stays the caller's; NULL: no memory. */
witness_service_t *witness_service_new(vch_witness_t *);
void witness_service_free(witness_service_t *);
http_service_t witness_service(witness_service_t *);
/* Whose counters /metrics shows. */
void witness_service_set_http(witness_service_t *, const http_server_t *);

#endif
