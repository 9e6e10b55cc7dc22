/* SPDX-License-Identifier: Apache-2.0 */
/* State keys and values: what the sparse Merkle tree authenticates.
 *
 *   key                              value (deterministic CBOR unless raw)
 *   "g"                              the genesis statement's fields, as they are
 *   "p" ‖ party id                   party
 *   "n" ‖ SHA-256 of a name          raw 32: the party that has it
 *   "k" ‖ key id                     key -> party
 *   "q" ‖ party id                   sequence window
 *   "d" ‖ dataset id                 dataset head
 *   "D" ‖ dataset id                 the dataset statement's fields, as they are
 *   "v" ‖ version id                 version
 *   "e" ‖ dataset id ‖ u32 number    extent
 *   "s" ‖ dataset id ‖ u32 first     range of subjects
 *   "t" ‖ terms hash                 the terms document, as it is
 *   "C" ‖ dataset id ‖ u32 chunk     raw 64: SHA-256 of 4,096 u16 indices ‖ RFC 6962 root over 4,096 cells
 *   "c" ‖ dataset id ‖ u16 index     palette entry
 *   "S" ‖ dataset id ‖ u32 subject   raw 32: the subject's key id, once proven
 *   "a" ‖ request id                 grant (also a denied one)
 *   "o" ‖ request id                 own access (also a denied one); never under "a"
 *   "r" ‖ run id                     run
 *   "m" ‖ model id                   model
 *   "y" ‖ deployment id              deployment
 *   "b" ‖ batch id                   decision batch
 *   "R" ‖ model id ‖ u32 number      remedy statement's fields, as they are
 *   "x" ‖ transform id               transform statement's fields, as they are
 *   "w" ‖ dataset id ‖ u32 number    who holds an extent in the vault: that map of its version statement, as it is
 *
 *   "z" ‖ dataset id ‖ u32 subject   erasure: the subject is erased
 *   "Z" ‖ SHA-256(erase id ‖ extent id ‖ key id)   raw 1: the grade (0 A, 1 B) in which that trustee destroyed
 *
 * Numbers in keys are big-endian.  Each put is the inverse of its get; get
 * refuses anything that put cannot make.  Pure, no allocation. */
#ifndef VCH_VALUE_H
#define VCH_VALUE_H

#include "base/base.h"
#include "entry/entry.h"

#define VCH_STATE_KEY_MAX 48
typedef struct {
    uint8_t b[VCH_STATE_KEY_MAX];
    size_t n;
} vch_state_key_t;

vch_state_key_t vch_key_plain(char tag);
vch_state_key_t vch_key_id(char tag, const void *id32);
vch_state_key_t vch_key_id_u32(char tag, const void *id32, uint32_t n);
vch_state_key_t vch_key_id_u16(char tag, const void *id32, uint16_t n);
static inline vch_slice_t vch_key_slice(const vch_state_key_t *k) { return vch_slice(k->b, k->n); }

typedef struct {
    vch_slice_t name;
    unsigned roles;
    vch_keyid_t key[8]; /* active ones, in order of registration */
    size_t keys;
    bool has_next;
    vch_hash_t next; /* SHA-256 of the next key's multicodec bytes, promised ahead */
} vch_party_value_t;
VCH_MUST_USE vch_rc vch_party_put(vch_buf_t *, const vch_party_value_t *);
VCH_MUST_USE vch_rc vch_party_get(vch_party_value_t *, vch_slice_t);

typedef struct {
    vch_id_t party;
    bool revoked;
    vch_time_t since; /* of the present status */
    vch_slice_t key;  /* multicodec */
} vch_key_value_t;
VCH_MUST_USE vch_rc vch_key_put(vch_buf_t *, const vch_key_value_t *);
VCH_MUST_USE vch_rc vch_key_get(vch_key_value_t *, vch_slice_t);

typedef struct {
    uint64_t high;    /* highest used; numbers begin at 1 */
    uint8_t used[32]; /* bit i (of 256, most significant first): high - i is used */
} vch_sequences_value_t;
VCH_MUST_USE vch_rc vch_sequences_put(vch_buf_t *, const vch_sequences_value_t *);
VCH_MUST_USE vch_rc vch_sequences_get(vch_sequences_value_t *, vch_slice_t);
/* Take `sequence`: ERR_REPLAY when used or older than the window, ERR_LIMIT
 * when more than 256 ahead. */
VCH_MUST_USE vch_rc vch_sequences_take(vch_sequences_value_t *, uint64_t sequence);

typedef struct {
    vch_id_t custodian;
    vch_hash_t statement;                         /* leaf hash of the dataset statement */
    uint32_t groups, versions, extents, subjects; /* subjects: numbers below this exist */
    bool has_latest;
    vch_id_t latest;  /* version */
    uint16_t palette; /* indices ever used, 1-based; 0 is "nothing given" */
} vch_dataset_value_t;
VCH_MUST_USE vch_rc vch_dataset_put(vch_buf_t *, const vch_dataset_value_t *);
VCH_MUST_USE vch_rc vch_dataset_get(vch_dataset_value_t *, vch_slice_t);

typedef struct {
    vch_id_t dataset;
    uint32_t number;      /* 1, 2, … */
    uint32_t extents;     /* the first so many extents of the dataset */
    vch_hash_t live_root; /* vch_set_root of the live bitmap over those extents */
    uint64_t live;        /* rows live */
    bool has_previous;
    vch_id_t previous;
} vch_version_value_t;
VCH_MUST_USE vch_rc vch_version_put(vch_buf_t *, const vch_version_value_t *);
VCH_MUST_USE vch_rc vch_version_get(vch_version_value_t *, vch_slice_t);

typedef struct {
    vch_hash_t id;
    uint32_t count;
    bool contiguous; /* row r is subject first + r */
    uint32_t first;
    vch_hash_t subjects_hash; /* otherwise: SHA-256 over count big-endian u32 */
    vch_hash_t rows_root;
} vch_extent_value_t;
VCH_MUST_USE vch_rc vch_extent_put(vch_buf_t *, const vch_extent_value_t *);
VCH_MUST_USE vch_rc vch_extent_get(vch_extent_value_t *, vch_slice_t);

typedef struct {
    uint32_t count;
    vch_hash_t root; /* RFC 6962; leaf data = u32 subject ‖ key id */
} vch_range_value_t;
VCH_MUST_USE vch_rc vch_range_put(vch_buf_t *, const vch_range_value_t *);
VCH_MUST_USE vch_rc vch_range_get(vch_range_value_t *, vch_slice_t);
void vch_subject_leaf(vch_hash_t *ret, uint32_t subject, const vch_keyid_t *);

/* A subject that was erased: by which statement, and how many extents the
 * dataset had then; in later ones it can't occur. */
typedef struct {
    vch_id_t erase;
    uint32_t extents;
} vch_erasure_value_t;
VCH_MUST_USE vch_rc vch_erasure_put(vch_buf_t *, const vch_erasure_value_t *);
VCH_MUST_USE vch_rc vch_erasure_get(vch_erasure_value_t *, vch_slice_t);
/* Where a trustee's word that it destroyed is kept. */
vch_state_key_t vch_destroyed_key(const vch_id_t *erase, const vch_hash_t *extent, const vch_keyid_t *trustee);

/* ---- the consent column ---- */

typedef struct {
    vch_hash_t terms;
    uint32_t until_day; /* the last UTC day on which it holds */
    uint8_t how;        /* VCH_HOW_… */
} vch_palette_item_t;
typedef struct {
    vch_palette_item_t item[VCH_PALETTE_SET_MAX]; /* sorted by terms hash, each once */
    uint8_t items;
    bool owner_withdrew; /* then only the owner can give again */
} vch_palette_value_t;
VCH_MUST_USE vch_rc vch_palette_put(vch_buf_t *, const vch_palette_value_t *);
VCH_MUST_USE vch_rc vch_palette_get(vch_palette_value_t *, vch_slice_t);
bool vch_palette_eq(const vch_palette_value_t *, const vch_palette_value_t *);

/* A cell: u16 palette index ‖ u32 serial ‖ 32-byte hash of the last statement
 * about the subject (zeros: none).  Its leaf is SHA-256(0x00 ‖ 38 bytes). */
#define VCH_CELL_LEN 38
typedef struct {
    uint16_t index;
    uint32_t serial;
    vch_hash_t last;
} vch_cell_t;
void vch_cell_put(uint8_t ret[VCH_CELL_LEN], const vch_cell_t *);
void vch_cell_get(vch_cell_t *ret, const uint8_t b[VCH_CELL_LEN]);
void vch_cell_leaf(vch_hash_t *ret, const vch_cell_t *);
/* SHA-256 over 4,096 indices as big-endian u16. */
void vch_chunk_flat(vch_hash_t *ret, const uint16_t index[VCH_CHUNK]);

/* ---- access and lineage ---- */

typedef struct {
    vch_id_t version, party;
    uint16_t groups; /* bit set */
    vch_slice_t purpose, processing;
    bool permit;
    vch_hash_t set_root;
    uint64_t count;
    vch_time_t expires;
} vch_grant_value_t;
VCH_MUST_USE vch_rc vch_grant_put(vch_buf_t *, const vch_grant_value_t *);
VCH_MUST_USE vch_rc vch_grant_get(vch_grant_value_t *, vch_slice_t);

/* What a subject's own statement gave it: its key is the permission, so nobody
 * else can use it, and no party is named. */
typedef struct {
    vch_id_t version;
    uint32_t subject;
    uint16_t groups;  /* bit set */
    vch_slice_t key;  /* the subject's, multicodec */
    uint8_t once[32]; /* what comes out is sealed to this key of the statement */
    bool permit;
    vch_hash_t set_root;
    uint64_t count;
    vch_time_t expires;
} vch_own_value_t;
VCH_MUST_USE vch_rc vch_own_put(vch_buf_t *, const vch_own_value_t *);
VCH_MUST_USE vch_rc vch_own_get(vch_own_value_t *, vch_slice_t);

typedef struct {
    vch_id_t version, party;
    vch_hash_t set_root;
    uint64_t count;
    uint8_t status;       /* 0 open, 1 completed, 2 failed */
    vch_hash_t statement; /* leaf hash of the run statement */
    vch_hash_t end;       /* leaf hash of its run-end; zeros while open */
} vch_run_value_t;
VCH_MUST_USE vch_rc vch_run_put(vch_buf_t *, const vch_run_value_t *);
VCH_MUST_USE vch_rc vch_run_get(vch_run_value_t *, vch_slice_t);

typedef struct {
    bool proven; /* has a run */
    vch_id_t run, party;
    vch_hash_t digest;
    vch_slice_t name;
    uint32_t remedies;
} vch_model_value_t;
VCH_MUST_USE vch_rc vch_model_put(vch_buf_t *, const vch_model_value_t *);
VCH_MUST_USE vch_rc vch_model_get(vch_model_value_t *, vch_slice_t);

typedef struct {
    vch_id_t model, party;
    bool ended;
    uint64_t next;    /* sequence number that the next batch must begin with */
    vch_time_t since; /* of its registration */
} vch_deployment_value_t;
VCH_MUST_USE vch_rc vch_deployment_put(vch_buf_t *, const vch_deployment_value_t *);
VCH_MUST_USE vch_rc vch_deployment_get(vch_deployment_value_t *, vch_slice_t);

typedef struct {
    vch_id_t deployment;
    uint64_t first, count, lost;
    vch_hash_t root;
} vch_batch_value_t;
VCH_MUST_USE vch_rc vch_batch_put(vch_buf_t *, const vch_batch_value_t *);
VCH_MUST_USE vch_rc vch_batch_get(vch_batch_value_t *, vch_slice_t);

#endif
