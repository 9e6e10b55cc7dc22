/* SPDX-License-Identifier: Apache-2.0 */
/* A whole state in one stream: what replay starts from where statements below
 * were erased, and what proves a value as of an earlier height.  The bytes are
 * in docs/formats/snapshot.cddl.
 *
 * A snapshot says nothing of its own: it is believed because its state root
 * stands in a state-commit of the log.  What the root does not cover (places of
 * entries and of rows in their columns) is a derived index like state/data.mdb,
 * so a snapshot comes from one's own disk, or from somebody who is believed.
 *
 * Memory: one value at a time, and 64 bytes for each state value. */
#ifndef VCH_SNAPSHOT_H
#define VCH_SNAPSHOT_H

#include "state/state.h"

#define VCH_SNAPSHOT_VERSION 1
#define VCH_SNAPSHOT_VALUE_MAX (1u << 26)
#define VCH_SNAPSHOT_VALUES_MAX (1u << 24) /* state values */

/* Takes the next bytes; what it returns other than VCH_OK ends the writing. */
typedef vch_rc (*vch_snapshot_write_fn)(void *ctx, vch_slice_t, vch_err_t *);
/* Gives at most n further bytes; *ret_n 0: that was all. */
typedef vch_rc (*vch_snapshot_read_fn)(void *ctx, uint8_t *ret, size_t n, size_t *ret_n, vch_err_t *);

/* Saves the state, and writes it.  Between blocks only, else ERR_CONFLICT. */
VCH_MUST_USE vch_rc vch_snapshot_write(vch_state_t *, vch_snapshot_write_fn, void *ctx, vch_err_t *);
/* Into an index that holds nothing (ERR_CONFLICT), opened and saved on return.
 * ERR_FORMAT or ERR_LIMIT: these bytes are no snapshot.  ERR_CORRUPT: they were
 * changed, or are not what their state root says.  Then the index is empty
 * again.  Compare the root with the log's before use (vch_state_info). */
VCH_MUST_USE vch_rc vch_snapshot_read(vch_state_t **ret, vch_kv_t *, vch_snapshot_read_fn, void *ctx, vch_err_t *);

#endif
