/* SPDX-License-Identifier: Apache-2.0 */
/* A key/value index behind one header: LMDB on disk, or in memory for
 * simulation and for replaying to an earlier height.  Everything in it is
 * derived from the log.  One writer at a time; readers from any thread, and on
 * LMDB also while another thread has a batch open or commits it. */
#ifndef VCH_KV_H
#define VCH_KV_H

#include "base/base.h"

typedef struct vch_kv vch_kv_t;

/* LMDB file `path` (its lock file beside it); fully synced commits.  A damaged
 * or unreadable file is ERR_CORRUPT: the caller removes and rebuilds it.
 * The map grows by itself up to 1 TiB. */
VCH_MUST_USE vch_rc vch_kv_open(vch_kv_t **ret, const char *path, bool read_only, vch_err_t *);
VCH_MUST_USE vch_rc vch_kv_open_memory(vch_kv_t **ret, vch_err_t *);
void vch_kv_close(vch_kv_t *);

/* The value under key as last committed (or put in the open batch, for the
 * writer), appended to ret; ERR_NOT_FOUND. */
VCH_MUST_USE vch_rc vch_kv_get(vch_kv_t *, vch_slice_t key, vch_buf_t *ret);
/* A batch: all or nothing, durable when commit returns.  A failed put or
 * commit aborts the batch. */
VCH_MUST_USE vch_rc vch_kv_begin(vch_kv_t *, vch_err_t *);
VCH_MUST_USE vch_rc vch_kv_put(vch_kv_t *, vch_slice_t key, vch_slice_t value, vch_err_t *);
VCH_MUST_USE vch_rc vch_kv_commit(vch_kv_t *, vch_err_t *);
/* The same for a batch that nobody waits for: brought to the disk in small
 * pieces with pauses, so that syncs of other files stay quick.  A power cut
 * before it returns may leave a file that is neither the old nor the new one,
 * so only for those who hold a checksum of the file (state/data.sum). */
VCH_MUST_USE vch_rc vch_kv_commit_gently(vch_kv_t *, vch_err_t *);
void vch_kv_abort(vch_kv_t *);
/* Every pair whose key begins with prefix, in byte order of the keys. */
typedef vch_rc (*vch_kv_fn)(void *ctx, vch_slice_t key, vch_slice_t value);
VCH_MUST_USE vch_rc vch_kv_each(vch_kv_t *, vch_slice_t prefix, vch_kv_fn, void *ctx);
/* Forget everything (before a rebuild). */
VCH_MUST_USE vch_rc vch_kv_clear(vch_kv_t *, vch_err_t *);

#endif
