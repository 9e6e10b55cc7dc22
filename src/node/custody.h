/* SPDX-License-Identifier: Apache-2.0 */
/* Rows, salts and persons on the custodian's disk (docs/formats/custody.md).
 *
 *   data/<dataset>/<extent>.rows           canonical bytes of each row's groups; none of an extent in the vault
 *   data/<dataset>/<extent>.commitments    one commitment per group and row
 *   custody/<dataset>/<extent>.salts       one salt per group and row
 *   custody/<dataset>/<extent>.keys        each row's subject and its name for people
 *   custody/<dataset>/<first>.subjects     person and key id of each subject from number `first` on
 *   custody/<dataset>/spec.json            the CSV's header, its subject and key columns
 *
 * All but spec.json are written once, synced before the version entry that
 * brings them is logged, and never changed.  What no version refers to is left
 * over from an ingest that was cut off; the next ingest removes it.
 *
 * None of these functions may be called between vch_ledger_read_begin and
 * _end: they take the ledger's lock themselves for what they read there. */
#ifndef VCH_CUSTODY_H
#define VCH_CUSTODY_H

#include "node/node.h"

/* Longest name of a row or a person, bytes. */
#define VCH_ROW_NAME_MAX 1024

/* Every file under data/ and custody/, byte for byte: checksums, sizes, each
 * row against its commitment, commitments against the ledger's roots, key ids
 * against the ranges' roots.  Each damage goes to fn with file, byte and a text
 * that names the row; *ret_findings counts them.  Left-overs of a cut-off
 * ingest are told with derived = 1 and not counted.  The result says only
 * whether the check itself could be done. */
VCH_MUST_USE vch_rc vch_custody_check(vch_ledger_t *, vch_finding_fn, void *ctx, uint64_t *ret_findings, vch_err_t *);

/* ---- reading an extent ----------------------------------------------------
 * Opening checks the stored commitments against the extent's rows root on the
 * ledger; each row is checked against its commitments before it is handed
 * out, so nothing unverified leaves.  One thread at a time per reader. */
typedef struct vch_rows vch_rows_t;

VCH_MUST_USE vch_rc vch_rows_open(vch_rows_t **ret, vch_ledger_t *, const vch_id_t *dataset, uint32_t extent,
                                  vch_err_t *);
void vch_rows_close(vch_rows_t *); /* NULL is fine */
uint32_t vch_rows_count(const vch_rows_t *);
/* Salts, commitments and names are here, the rows themselves are not:
 * vch_rows_get is ERR_UNSUPPORTED. */
bool vch_rows_in_vault(const vch_rows_t *);
uint32_t vch_rows_groups(const vch_rows_t *);

typedef struct {
    size_t groups;
    vch_slice_t canonical[VCH_GROUPS_MAX]; /* CBOR array of the group's cells as text */
    const uint8_t *salt[VCH_GROUPS_MAX];   /* VCH_ROW_SALT_LEN bytes each */
    vch_hash_t commitment[VCH_GROUPS_MAX];
} vch_row_t;
/* All groups of one row, borrowed until the next call on this reader.
 * ERR_COMMITMENT names row, group and byte. */
VCH_MUST_USE vch_rc vch_rows_get(vch_rows_t *, uint32_t row, vch_row_t *ret, vch_err_t *);
/* The row's name for people (its key), borrowed likewise. */
VCH_MUST_USE vch_rc vch_rows_name(vch_rows_t *, uint32_t row, vch_slice_t *ret, vch_err_t *);
VCH_MUST_USE vch_rc vch_rows_subject(vch_rows_t *, uint32_t row, uint32_t *ret, vch_err_t *);

/* All commitments of an extent, row by row, groups in order: rows * groups of
 * them, in one allocation that the caller frees with vch_free. */
VCH_MUST_USE vch_rc vch_rows_commitments(vch_ledger_t *, const vch_id_t *dataset, uint32_t extent, vch_hash_t **ret,
                                         uint32_t *ret_rows, uint32_t *ret_groups, vch_err_t *);
/* One look-up without a reader of one's own; NUL-terminated. */
VCH_MUST_USE vch_rc vch_row_name(vch_ledger_t *, const vch_id_t *dataset, uint32_t extent, uint32_t row,
                                 char ret[VCH_ROW_NAME_MAX + 1], vch_err_t *);
/* As the ledger has it, no file is read. */
VCH_MUST_USE vch_rc vch_row_subject(vch_ledger_t *, const vch_id_t *dataset, uint32_t extent, uint32_t row,
                                    uint32_t *ret, vch_err_t *);

/* The key id that a subject got at ingest (zeros: none), with the path that
 * proves it against its range's root.  `first` is the range's first subject. */
typedef struct vch_key_tree vch_key_tree_t;
VCH_MUST_USE vch_rc vch_key_tree_open(vch_key_tree_t **ret, vch_ledger_t *, const vch_id_t *dataset, vch_err_t *);
void vch_key_tree_close(vch_key_tree_t *); /* NULL is fine */
VCH_MUST_USE vch_rc vch_key_tree_path(vch_key_tree_t *, uint32_t subject, vch_keyid_t *ret_key, uint32_t *ret_first,
                                      vch_hash_t ret_path[VCH_PATH_HASHES_MAX], size_t *ret_n, vch_err_t *);

/* That key id alone, from one record of the file. */
VCH_MUST_USE vch_rc vch_subject_given_key(vch_ledger_t *, const vch_id_t *dataset, uint32_t subject,
                                          vch_keyid_t *ret_key, vch_err_t *);

/* dataset_add with extents of at most `extent_rows` rows, so that a test can
 * have many small ones. */
VCH_MUST_USE vch_rc vch_dataset_add_split(vch_ledger_t *, const vch_signer_t *, const char *dataset,
                                          const char *csv_path, const char *owners_csv, uint32_t extent_rows,
                                          vch_progress_fn, void *ctx, vch_ingest_t *ret, vch_err_t *);

/* "2027-03-01" as days since 1970-01-01; ERR_FORMAT unless exactly a date of
 * the Gregorian calendar from 1970 to 9999. */
VCH_MUST_USE vch_rc vch_day_get(uint32_t *ret, vch_slice_t text);

#endif
