/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the state machine.
 *
 *   slots     every index key touched since the last save, with its value now
 *   frozen    those of a save that has begun; nothing in them changes any more
 *   journal   how to undo the transaction that is being applied
 *   columns   the consent column of each dataset in use
 *
 * A slot that is in the index but not in memory is loaded, and if it is a
 * state value ('S'), checked against its leaf in the state tree. */
#ifndef VCH_STATE_IMPL_H
#define VCH_STATE_IMPL_H

#include "codec/cbor.h"
#include "merkle/tree.h"
#include "state/state.h"

#define SLOT_KEY_MAX 52
#define TREE_NODES (2 * VCH_CHUNK)
/* New subjects, and new rows, of one transaction: each takes memory for good,
 * but no room in the transaction. */
#define TX_BRINGS_MAX (1u << 26)
#define TX_COPIES_MAX (64u << 20)
#define TERMS_BUCKETS 1024

typedef struct slot slot_t;
struct slot {
    slot_t *next;
    slot_t *next_unsaved, *next_unhashed;
    uint8_t *value;
    size_t n;
    bool there, unsaved, unhashed;
    bool checked; /* a page, or a derived value: it was compared with what the state says of it */
    uint8_t key_n;
    uint8_t key[SLOT_KEY_MAX];
    uint32_t told; /* the walk over all keys that told of it last */
};

typedef struct {
    bool any;
    slot_t **bucket;
    size_t buckets;
    slot_t *unsaved;
    vch_buf_t meta; /* the index's head that goes with them */
} frozen_t;

/* 4,096 cells and the perfect tree over them: leaf i at 4096 + i, root at 1. */
typedef struct {
    uint8_t cell[VCH_CHUNK][VCH_CELL_LEN];
    vch_hash_t tree[TREE_NODES];
    uint8_t stale[VCH_CHUNK / 8]; /* cells whose leaf must be hashed again */
    bool any_stale, unsaved;
} chunk_t;

typedef struct column column_t;
struct column {
    column_t *next;
    vch_id_t dataset;
    uint32_t subjects;
    uint16_t *index; /* chunks * 4096 of them */
    chunk_t **chunk; /* NULL: not in memory */
    size_t chunks;
    vch_palette_value_t *palette; /* [1 … palette_n]; [0] is the empty set */
    uint32_t *refs;
    uint32_t palette_n, palette_cap;
    uint16_t *hash_next;
    uint16_t hash_head[1024];
};

typedef enum { UNDO_SLOT, UNDO_CELL, UNDO_PALETTE, UNDO_SUBJECTS } undo_kind_t;
typedef struct {
    undo_kind_t kind;
    slot_t *slot;
    uint8_t *value;
    size_t n;
    bool there;
    column_t *column;
    uint32_t number; /* subject, palette index, or subjects before */
    vch_cell_t cell;
    bool cell_stale, any_stale; /* before: what is not hashed for a refusal would differ from a replay */
    vch_palette_value_t palette;
    uint32_t palette_n;
} undo_t;

typedef struct terms_node terms_node_t;
struct terms_node {
    terms_node_t *next;
    vch_terms_t terms;
};

struct vch_state {
    vch_kv_t *kv;
    vch_state_info_t info;
    bool broken; /* a block could not be closed: open again */
    slot_t **bucket;
    size_t buckets, slots;
    slot_t *unsaved, *unhashed;
    size_t dirty_bytes;
    frozen_t frozen;
    uint32_t walks;
    undo_t *undo;
    size_t undos, undo_cap;
    column_t *columns;
    terms_node_t *terms[TERMS_BUCKETS]; /* by the hash's first bits */
    vch_vocabulary_t *purposes, *processings;
    uint8_t *genesis; /* the fields that the vocabularies borrow from */
    uint64_t grant_life_ms;
    vch_arena_t scratch;
    vch_buf_t expected; /* outcome that replay must find next */
    vch_buf_t page;     /* a page or blob just loaded */
    vch_buf_t value;    /* a value being encoded */
};

/* What apply works on. */
typedef struct {
    vch_state_t *s;
    const vch_prepared_t *p;
    vch_time_t now;
    vch_id_t party; /* who signed */
    unsigned roles;
    uint64_t subjects, rows; /* that this transaction has brought so far */
    size_t copied;           /* bytes of lists of subjects, at most TX_COPIES_MAX */
    vch_buf_t *outcome;
    vch_err_t *err;
} apply_t;

/* ---- what the index has reached (state.c) ---- */
vch_rc st_put_meta(vch_buf_t *, const vch_state_info_t *);
vch_rc st_get_meta(vch_cbor_t *, vch_state_info_t *ret);

/* ---- slots (slots.c) ---- */
vch_rc st_slot(vch_state_t *, vch_slice_t index_key, slot_t **ret, vch_err_t *);
/* Value of a state key, borrowed until it is set again; ERR_NOT_FOUND. */
vch_rc st_get(vch_state_t *, const vch_state_key_t *, vch_slice_t *ret, vch_err_t *);
vch_rc st_set(vch_state_t *, const vch_state_key_t *, vch_slice_t value, vch_err_t *);
/* The same in another space of the index: 'B', 'J', 'j', 'O', 'I'. */
vch_rc st_get_at(vch_state_t *, char space, const void *id32, vch_slice_t *ret, vch_err_t *);
vch_rc st_slot_at(vch_state_t *, char space, const void *id32, slot_t **ret, vch_err_t *err);
vch_rc st_set_at(vch_state_t *, char space, const void *id32, vch_slice_t value, vch_err_t *);
/* The same as getting each of n state values, but the state tree is walked once
 * for all.  All or none: after a failure none of them counts as loaded. */
vch_rc st_fetch(vch_state_t *, const vch_state_key_t *, size_t n, vch_err_t *);
bool st_has(vch_state_t *, const vch_state_key_t *, vch_rc *ret_rc, vch_err_t *);
vch_rc st_log_undo(vch_state_t *, const undo_t *);
void st_rollback(vch_state_t *);
void st_accept(vch_state_t *);
void st_drop_slots(vch_state_t *);
/* A value for the index alone, which the next save takes along. */
vch_rc st_keep_slot(vch_state_t *, vch_slice_t index_key, vch_slice_t value, vch_err_t *);
/* What the index has, or will have after a save that has begun; appended. */
vch_rc st_saved(vch_state_t *, vch_slice_t index_key, vch_buf_t *ret);
void st_freeze_slots(vch_state_t *);
void st_drop_frozen(vch_state_t *);
vch_smt_io_t st_smt_io(vch_state_t *);

/* ---- the consent column (column.c) ---- */
vch_rc st_column(vch_state_t *, const vch_id_t *dataset, column_t **ret, vch_err_t *);
vch_rc st_column_grow(vch_state_t *, column_t *, uint32_t subjects, vch_err_t *);
vch_rc st_cell(vch_state_t *, column_t *, uint32_t subject, vch_cell_t *ret, vch_err_t *);
vch_rc st_set_cell(vch_state_t *, column_t *, uint32_t subject, const vch_cell_t *, vch_err_t *);
/* The index of this set, an old one or a new one; 0 for the empty set. */
vch_rc st_palette_index(vch_state_t *, column_t *, const vch_palette_value_t *, uint16_t *ret, vch_err_t *);
void st_undo_cell(vch_state_t *, const undo_t *);
void st_undo_palette(const undo_t *);
vch_rc st_chunk(vch_state_t *, column_t *, size_t number, chunk_t **ret, vch_err_t *);
vch_rc st_columns_hash(vch_state_t *, vch_err_t *);
vch_rc st_columns_keep(vch_state_t *, vch_err_t *); /* as slots */
void st_columns_trim(vch_state_t *);
void st_columns_free(vch_state_t *);

/* ---- shared by the rules ---- */
vch_rc st_vocabulary(vch_state_t *, vch_err_t *);
void st_forget_vocabulary(vch_state_t *);
vch_rc st_terms(vch_state_t *, const vch_hash_t *, const vch_terms_t **ret, vch_err_t *);
vch_rc st_permitted(vch_state_t *, const vch_id_t *version_id, const vch_request_t *, vch_buf_t *ret_bits,
                    uint64_t *ret_count, vch_rule_t *ret_rule, vch_err_t *);
/* ERR_REFERENCE: there is none. */
vch_rc st_version(vch_state_t *, const vch_id_t *, vch_version_value_t *ret, vch_err_t *);
/* One extent of a version. */
typedef struct {
    vch_extent_value_t extent;
    const uint32_t *subjects; /* NULL: contiguous */
    size_t at;                /* of its part in the bitmap */
} st_part_t;
/* All extents of a version, in scratch memory, and the bytes of its bitmaps. */
vch_rc st_parts(vch_state_t *, const vch_version_value_t *, st_part_t **ret, size_t *ret_bytes, vch_err_t *);
vch_rc st_live(vch_state_t *, const vch_id_t *version, const vch_version_value_t *, size_t bytes, vch_slice_t *ret,
               vch_err_t *);
/* A list of groups of columns in a statement's field, as a bit set. */
vch_rc st_groups(apply_t *, vch_slice_t fields, uint64_t field, const vch_version_value_t *, uint16_t *ret);
/* The key in an owner's statement is the subject's: known, or proven in it and
 * known from now on.  ERR_KEY. */
vch_rc st_owner(apply_t *, vch_slice_t fields, const vch_id_t *dataset, uint32_t subject);
vch_rc st_next_serial(apply_t *, uint32_t subject, const vch_cell_t *, uint64_t serial);
vch_rc st_party(vch_state_t *, const vch_id_t *, vch_party_value_t *ret, vch_err_t *);
/* Extent `number` of a dataset lies in the vault as this map says (holding.c). */
vch_rc st_holding(apply_t *, const vch_id_t *dataset, uint32_t groups, const vch_extent_value_t *, uint32_t number,
                  vch_slice_t map);

/* ---- rules by kind: statement i of the transaction, object id given ---- */
typedef vch_rc (*rule_fn)(apply_t *, const vch_statement_t *, const vch_hash_t *leaf, const vch_id_t *object);
vch_rc rule_genesis(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_party(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_party_key(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_dataset(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_version(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_transform(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_subjects(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_terms(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_consent(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_key_destroyed(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_access(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_own_access(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_run(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_run_end(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_model(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_deployment(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_deployment_end(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_decisions(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);
vch_rc rule_remedy(apply_t *, const vch_statement_t *, const vch_hash_t *, const vch_id_t *);

/* Encode a value with its put function into s->value and set it. */
#define ST_SET(s, key, put, v, err)                                                                                    \
    (vch_buf_clear(&(s)->value), put(&(s)->value, v) != VCH_OK ? vch_fail(err, VCH_ERR_MEMORY, "out of memory")        \
                                                               : st_set(s, key, vch_buf_slice(&(s)->value), err))

#endif
