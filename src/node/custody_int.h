/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of custody share.  Not for others: see custody.h. */
#ifndef VCH_CUSTODY_INT_H
#define VCH_CUSTODY_INT_H

#include "codec/text.h"
#include "node/custody.h"

/* ---- files of records (custody_file.c) -------------------------------------
 *
 *   header   magic 8 ‖ id 32 ‖ u32 number ‖ u32 count ‖ u32 width ‖ u64 table ‖ u32 crc32c   (64 bytes)
 *   records  fixed:    width bytes ‖ u32 crc32c
 *            variable: u32 length ‖ length bytes ‖ u32 crc32c of both
 *   table    variable only: u64 offset of each record ‖ u32 crc32c
 */
typedef enum { CF_ROWS, CF_SALTS, CF_COMMITMENTS, CF_KEYS, CF_SUBJECTS, CF_KINDS } cf_kind_t;
#define CF_HEADER 64u
#define CF_RECORD_MAX (2u << 20)

/* "data/<hex>/000003.rows" relative to the ledger's directory. */
VCH_MUST_USE vch_rc cf_name(char ret[VCH_PATH_MAX], const char *dataset_hex, cf_kind_t, uint32_t number);
/* The kind and number behind a file's name in its folder; false for other files. */
bool cf_parse_name(const char *name, cf_kind_t *ret_kind, uint32_t *ret_number);
const char *cf_folder(cf_kind_t); /* "data" or "custody" */

typedef struct {
    uint8_t *p;
    size_t n, cap;
    uint64_t at;
} window_t;

typedef struct {
    vch_port_t *port;
    vch_file_t *file;
    char name[VCH_PATH_MAX]; /* relative, for messages */
    cf_kind_t kind;
    vch_hash_t id;
    uint32_t number, count, width;
    uint64_t table, size;
    window_t records, offsets;
} cfile_t;

/* Opens and checks the header, the size and the table.  *ret_byte (may be
 * NULL) is where the damage is when the result is ERR_CORRUPT. */
VCH_MUST_USE vch_rc cf_open(cfile_t *ret, vch_ledger_t *, const char *dataset_hex, cf_kind_t, uint32_t number,
                            uint64_t *ret_byte, vch_err_t *);
void cf_close(cfile_t *);
/* Record i, borrowed until the next call; *ret_byte (may be NULL) is where it
 * begins.  `unchecked` (may be NULL): hand it out although its checksum is
 * wrong, and say so there. */
VCH_MUST_USE vch_rc cf_get(cfile_t *, uint32_t i, vch_slice_t *ret, uint64_t *ret_byte, bool *unchecked, vch_err_t *);

typedef struct {
    vch_port_t *port;
    vch_file_t *file;
    char path[VCH_PATH_MAX];
    cf_kind_t kind;
    vch_hash_t id;
    uint32_t number, count, width;
    uint64_t at;
    vch_buf_t out, offsets;
} cwriter_t;
VCH_MUST_USE vch_rc cw_open(cwriter_t *ret, vch_ledger_t *, const char *dataset_hex, cf_kind_t, uint32_t number,
                            const vch_hash_t *id, uint32_t width, vch_err_t *);
VCH_MUST_USE vch_rc cw_put(cwriter_t *, vch_slice_t record, vch_err_t *);
/* Table, header, sync, close. */
VCH_MUST_USE vch_rc cw_finish(cwriter_t *, vch_err_t *);
/* Close without finishing and remove the file; nothing when not open. */
void cw_abort(cwriter_t *);

/* ---- small helpers (custody_util.c) ------------------------------------------ */

/* Digest of a name -> u64, open addressing; 24 bytes a slot. */
typedef struct {
    uint8_t digest[16];
    uint64_t value; /* stored + 1; 0: empty */
} table_slot_t;
typedef struct {
    table_slot_t *slot;
    size_t cap, used;
} table_t;
void table_free(table_t *);
void table_digest(uint8_t ret[16], vch_slice_t text);
/* NULL when absent; the pointer is good until the next put.  *value is stored + 1. */
uint64_t *table_get(const table_t *, const uint8_t digest[16]);
VCH_MUST_USE vch_rc table_put(table_t *, const uint8_t digest[16], uint64_t value);

/* A CSV file, record by record. */
typedef struct {
    vch_port_t *port;
    vch_file_t *file;
    const char *path;
    vch_csv_t csv;
    uint8_t *buf;
    size_t used, have;
    uint64_t at, size;
} csv_file_t;
VCH_MUST_USE vch_rc csv_open(csv_file_t *ret, vch_port_t *, const char *path, vch_err_t *);
void csv_close(csv_file_t *);
/* Blank lines are stepped over when `columns` is more than one. */
VCH_MUST_USE vch_rc csv_next(csv_file_t *, size_t columns, bool *ret_got, vch_err_t *);

/* vch_state_get into a fresh buffer that the caller frees. */
VCH_MUST_USE vch_rc state_value(vch_ledger_t *, const vch_state_key_t *, vch_buf_t *ret, vch_err_t *);

/* ---- a dataset with its columns and one version (custody_spec.c) --------------- */

typedef struct {
    vch_id_t id;
    char hex[65];
    vch_arena_t arena;
    vch_dataset_value_t head;
    vch_slice_t fields; /* of the dataset statement */
    size_t columns, groups;
    vch_slice_t *column;
    uint8_t *group_of;
    vch_slice_t group[VCH_GROUPS_MAX];
    bool has_label;
    uint32_t label;
    vch_extent_value_t *extent; /* head.extents of them */
    bool *in_vault;             /* as many: its rows are not here */
    bool has_version;
    vch_id_t version_id;
    vch_version_value_t version;
    vch_buf_t live;  /* bitmap of that version */
    size_t *bits_at; /* head.extents + 1: first bit of each extent's part */
} dataset_t;

/* By dataset name (its latest version, if any) or by version name. */
VCH_MUST_USE vch_rc dataset_open(dataset_t *ret, vch_ledger_t *, const char *name, bool is_version, vch_err_t *);
VCH_MUST_USE vch_rc dataset_open_id(dataset_t *ret, vch_ledger_t *, const vch_id_t *, vch_err_t *);
void dataset_close(dataset_t *);
/* Row is live in the version that was opened. */
bool dataset_live(const dataset_t *, uint32_t extent, uint32_t row);

/* The custodian's own knowledge of the CSV. */
typedef struct {
    vch_arena_t arena;
    size_t columns;
    vch_slice_t *column; /* in the CSV's order at creation */
    bool has_subject, has_key;
    vch_slice_t subject, key;
} spec_t;
VCH_MUST_USE vch_rc spec_open(spec_t *ret, vch_ledger_t *, const dataset_t *, vch_err_t *);
void spec_close(spec_t *);

/* How a CSV's cells become a row of this dataset. */
typedef struct {
    size_t cells;
    vch_slice_t *name; /* of each cell */
    size_t groups;
    size_t *cell[VCH_GROUPS_MAX]; /* cells of each group, in schema order */
    size_t n[VCH_GROUPS_MAX];
    bool has_subject, has_key;
    size_t subject, key;
} mapping_t;
/* From the header record that csv_next has just read. */
VCH_MUST_USE vch_rc mapping_make(mapping_t *ret, const dataset_t *, const spec_t *, const csv_file_t *, vch_arena_t *,
                                 vch_err_t *);

typedef struct {
    vch_buf_t bytes;
    vch_slice_t canonical[VCH_GROUPS_MAX];
    vch_slice_t key, person;
    char number[24];
} csv_row_t;
void csv_row_init(csv_row_t *);
void csv_row_free(csv_row_t *);
/* From the record that csv_next has just read; `number` counts rows from 1. */
VCH_MUST_USE vch_rc csv_row_read(csv_row_t *ret, const mapping_t *, const csv_file_t *, uint64_t number, vch_err_t *);

/* ---- an extent's four files (custody_rows.c) -------------------------------------- */

struct vch_rows {
    cfile_t rows, salts, commitments, keys;
    vch_extent_value_t extent;
    uint32_t number;
    dataset_t *ds; /* borrowed, or own */
    bool own_ds, in_vault;
    const char *bad_file; /* where vch_rows_get's last ERR_COMMITMENT was found */
    uint64_t bad_byte;
};
VCH_MUST_USE vch_rc rows_open_in(vch_rows_t **ret, vch_ledger_t *, dataset_t *, uint32_t extent, vch_err_t *);
/* The stored salts and commitments of one row, without its plaintext. */
VCH_MUST_USE vch_rc rows_secrets(vch_rows_t *, uint32_t row, vch_slice_t *ret_salts, vch_slice_t *ret_commitments,
                                 vch_err_t *);

/* Readers of all extents of a dataset, opened when first needed, at most
 * READERS_OPEN at once; one stays good until READERS_OPEN others were asked for. */
#define READERS_OPEN 64u
typedef struct {
    vch_ledger_t *l;
    dataset_t *ds;
    vch_rows_t **reader;
    uint32_t open[READERS_OPEN], next; /* extent + 1, in a ring */
} readers_t;
VCH_MUST_USE vch_rc readers_open(readers_t *ret, vch_ledger_t *, dataset_t *, vch_err_t *);
VCH_MUST_USE vch_rc readers_at(readers_t *, uint32_t extent, vch_rows_t **ret, vch_err_t *);
void readers_close(readers_t *);

/* What is left of a name that was erased: as many zeros. */
static inline bool name_erased(vch_slice_t name) { return name.n && name.p[0] == 0; }
/* Every person of a dataset that wasn't erased, in order of subject number. */
typedef vch_rc (*person_fn)(void *ctx, uint32_t subject, vch_slice_t person, const vch_keyid_t *, vch_err_t *);
VCH_MUST_USE vch_rc persons_each(vch_ledger_t *, const dataset_t *, person_fn, void *ctx, vch_err_t *);
/* Person's digest -> subject number. */
VCH_MUST_USE vch_rc persons_table(vch_ledger_t *, const dataset_t *, table_t *ret, vch_err_t *);

static inline uint64_t place_put(uint32_t extent, uint32_t row) { return (uint64_t)extent << 32 | row; }
static inline uint32_t place_extent(uint64_t place) { return (uint32_t)(place >> 32) & 0xffffff; }
static inline uint32_t place_row(uint64_t place) { return (uint32_t)place; }

#endif
