/* SPDX-License-Identifier: Apache-2.0 */
/* What was erased, as the ledger has it, and where it was. */
#ifndef VCH_NODE_ERASURE_H
#define VCH_NODE_ERASURE_H

#include "entry/value.h"
#include "node/node.h"

/* One erased subject; extents from `extents` on are not concerned. */
typedef struct {
    vch_id_t dataset, erase;
    uint32_t subject, extents;
} vch_erased_t;
typedef struct {
    vch_erased_t *one; /* in order of dataset, then subject */
    size_t n, cap;
} vch_erasures_t;
/* All of the ledger; between read_begin and _end. */
VCH_MUST_USE vch_rc vch_erasures_load(vch_erasures_t *ret, vch_ledger_t *, vch_err_t *);
void vch_erasures_free(vch_erasures_t *);

/* Row -> subject of one extent, loaded once. */
typedef struct {
    vch_extent_value_t extent;
    vch_buf_t listed; /* of an extent that isn't contiguous: host-order u32 */
} vch_subjects_t;
/* Between read_begin and _end; ERR_NOT_FOUND: no such extent. */
VCH_MUST_USE vch_rc vch_subjects_load(vch_subjects_t *ret, vch_ledger_t *, const vch_id_t *dataset, uint32_t extent,
                                      vch_err_t *);
void vch_subjects_free(vch_subjects_t *);
uint32_t vch_subjects_of_row(const vch_subjects_t *, uint32_t row);
/* The next row of this subject from `row` on; false when there is none. */
bool vch_subjects_next(const vch_subjects_t *, uint32_t subject, uint32_t *row);

/* The custodian's side: salts and names of erased subjects' rows, and their
 * persons, become zeros in place.  Done again it changes nothing. */
VCH_MUST_USE vch_rc vch_custody_forget(vch_ledger_t *, const vch_id_t *dataset, vch_err_t *);

#endif
