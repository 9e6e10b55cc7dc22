/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors over any port and any transport; the public form is vch_mirror. */
#ifndef VCH_MIRROR_H
#define VCH_MIRROR_H

#include "node/node.h"
#include "node/transport.h"
#include "vouchsafe/ops.h"

#define ND_RESTORED "RESTORED" /* in a ledger's directory: it may not go on yet */
#define ND_MIRROR "MIRROR"     /* and this one never by itself: it follows another node */

VCH_MUST_USE vch_rc vch_mirror_on(vch_port_t *, vch_ledger_t *node, const char *dir, const char *trust_path,
                                  vch_progress_fn, void *ctx, vch_mirror_t *ret, vch_err_t *);
/* The same for a mirror that this process has open as a ledger: only the log is
 * written here, that handle takes it in by itself.  A newer set of cosignatures
 * on the checkpoint that is here already is kept too. */
VCH_MUST_USE vch_rc vch_mirror_more(vch_port_t *, vch_ledger_t *node, const char *dir, vch_mirror_t *ret, vch_err_t *);
/* A restored directory may write again when no witness of its trust.policy has
 * seen more than ret->size entries; without witnesses only the operator can
 * know (complete).  Otherwise ret->note says why not, and the result is VCH_OK. */
VCH_MUST_USE vch_rc vch_mirror_release(vch_port_t *, const char *dir, const char *origin, vch_transport_t *,
                                       uint64_t timeout_ms, bool complete, vch_mirror_t *ret, vch_err_t *);

#endif
