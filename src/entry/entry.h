/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: entries, statements, their ids, and the table of kinds.
 *
 *   transaction = entry (COSE_Sign1, the public leaf) + its statements
 *
 *   entry payload  {0 network, 1 kind, 2 sequence, ?3 not-after ms,
 *                   4 statements root, 5 count}
 *   statement      [salt 16, kind, fields]     leaf = SHA-256(0x00 ‖ bytes)
 *   fields         a CBOR map with small unsigned keys, checked against the
 *                  table of its kind (vch_schema), exactly and completely
 *   entry id       SHA-256 of the COSE Sig_structure
 *   object id      SHA-256(entry id ‖ u16 statement number)
 *
 * Two kinds are unsigned leaves made by the state machine alone:
 *   state-commit   {0 network, 1 kind, 6 height, 7 time, 8 first, 9 count, 10 state root, 11 previous}
 *   outcome        {0 network, 1 kind, 6 request, 7 verdict, 8 rule, 9 set root, 10 count, 11 expires}
 *
 * Pure: no I/O, no clock, no allocation but the caller's buffers. */
#ifndef VCH_ENTRY_H
#define VCH_ENTRY_H

#include "base/base.h"
#include "crypto/keys.h"

typedef enum {
    VCH_KIND_STATE_COMMIT = 1,
    VCH_KIND_OUTCOME = 2,
    VCH_KIND_GENESIS = 3,
    VCH_KIND_PARTY = 10,
    VCH_KIND_PARTY_KEY = 11,
    VCH_KIND_DATASET = 20,
    VCH_KIND_VERSION = 21,
    VCH_KIND_TRANSFORM = 22,
    VCH_KIND_SUBJECTS = 23,
    VCH_KIND_TERMS = 30,
    VCH_KIND_CONSENT = 31,
    VCH_KIND_WITHDRAW = 32,
    VCH_KIND_ACCESS = 40,
    VCH_KIND_OWN_ACCESS = 41,
    VCH_KIND_ERASE = 42,
    VCH_KIND_KEY_DESTROYED = 43,
    VCH_KIND_RUN = 50,
    VCH_KIND_RUN_END = 51,
    VCH_KIND_MODEL = 52,
    VCH_KIND_DEPLOYMENT = 53,
    VCH_KIND_DEPLOYMENT_END = 54,
    VCH_KIND_DECISIONS = 55,
    VCH_KIND_REMEDY = 57
} vch_kind_t;

/* Roles of a party, a bit set. */
typedef enum {
    VCH_ROLE_CUSTODIAN = 1,
    VCH_ROLE_USER = 2,
    VCH_ROLE_NODE = 4,
    VCH_ROLE_TRUSTEE = 8,
    VCH_ROLE_STORAGE = 16,
    VCH_ROLE_WITNESS = 32,
    VCH_ROLE_AUDITOR = 64,
    VCH_ROLE_OWNER = 128 /* an organisation that owns records */
} vch_role_t;

/* ---- the table of kinds (src/entry/schema.c) --------------------------- */

typedef enum { VCH_T_UINT, VCH_T_BOOL, VCH_T_BYTES, VCH_T_TEXT, VCH_T_STRUCT, VCH_T_LIST } vch_ftype_t;

typedef struct vch_field vch_field_t;
struct vch_field {
    uint8_t key; /* in the CBOR map, ascending, below 24 */
    const char *name;
    vch_ftype_t type;
    bool optional;
    uint64_t min, max;         /* UINT: value. BYTES, TEXT: length. LIST: count. */
    const vch_field_t *sub;    /* STRUCT: its fields. LIST: the one element. */
    size_t subs;               /* STRUCT: how many */
    const char *const *labels; /* UINT that is a choice: names from `min` on */
};

typedef struct {
    vch_kind_t kind;
    const char *name;
    const vch_field_t *field;
    size_t fields;
    unsigned signers;  /* roles of which the signing party needs one; 0 = any party */
    const char *who;   /* the same for people, with what apply adds */
    bool owner_signed; /* may end in an owner's serial and signature */
    bool single;       /* exactly one statement per entry */
    bool decided;      /* the state machine decides it: its outcome is the next leaf */
} vch_schema_t;

/* NULL for an unknown or reserved kind, and for the two unsigned ones. */
const vch_schema_t *vch_schema(uint64_t kind);
const vch_schema_t *vch_schema_by_name(const char *name);
/* All of them, in order of kind; *ret_n how many. */
const vch_schema_t *vch_schema_all(size_t *ret_n);
/* The schema of a terms document (inside kind terms). */
extern const vch_field_t vch_terms_fields[];
extern const size_t vch_terms_fields_n;

/* Field keys by kind: VCH_F_<KIND>_<FIELD>. */
enum {
    /* genesis */
    VCH_F_GENESIS_ORIGIN = 0,
    VCH_F_GENESIS_RULES = 1,
    VCH_F_GENESIS_PARTIES = 2,
    VCH_F_GENESIS_REGISTRARS = 3,
    VCH_F_GENESIS_GRANT_LIFE = 4,
    VCH_F_GENESIS_PURPOSES = 5,
    VCH_F_GENESIS_PROCESSINGS = 6,
    /* party, also inside genesis */
    VCH_F_PARTY_NAME = 0,
    VCH_F_PARTY_ROLES = 1,
    VCH_F_PARTY_KEYS = 2,
    VCH_F_PARTY_NEXT = 3,
    VCH_F_PARTY_RECOVERY = 4,
    /* vocabulary term inside genesis: parents are positions before this one */
    VCH_F_WORD_IRI = 0,
    VCH_F_WORD_PARENTS = 1,
    /* party-key */
    VCH_F_PARTYKEY_PARTY = 0,
    VCH_F_PARTYKEY_ACTION = 1,
    VCH_F_PARTYKEY_KEY = 2,
    VCH_F_PARTYKEY_REASON = 3,
    VCH_F_PARTYKEY_SINCE = 4,
    VCH_F_PARTYKEY_NEXT = 5,
    /* dataset */
    VCH_F_DATASET_NAME = 0,
    VCH_F_DATASET_CUSTODIAN = 1,
    VCH_F_DATASET_CONTROLLER = 2,
    VCH_F_DATASET_COLUMNS = 3,
    VCH_F_DATASET_GROUPS = 4,
    VCH_F_DATASET_LABEL = 5,
    VCH_F_DATASET_CATEGORIES = 6,
    VCH_F_COLUMN_NAME = 0,
    VCH_F_COLUMN_GROUP = 1,
    /* version */
    VCH_F_VERSION_DATASET = 0,
    VCH_F_VERSION_PREVIOUS = 1,
    VCH_F_VERSION_EXTENTS = 2,
    VCH_F_VERSION_BITMAP = 3,
    VCH_F_VERSION_SUBJECTS = 4,
    VCH_F_EXTENT_ID = 0,
    VCH_F_EXTENT_COUNT = 1,
    VCH_F_EXTENT_FIRST = 2,
    VCH_F_EXTENT_SUBJECTS_HASH = 3,
    VCH_F_EXTENT_ROWS_ROOT = 4,
    VCH_F_EXTENT_VAULT = 5,
    VCH_F_VAULT_THRESHOLD = 0,
    VCH_F_VAULT_TRUSTEES = 1,
    VCH_F_VAULT_DATA = 2,
    VCH_F_VAULT_STORAGE = 3,
    VCH_F_VAULT_ROOTS = 4,
    VCH_F_VAULT_SIGNATURES = 5,
    VCH_F_VAULT_SHARDS = 6,
    VCH_F_BITLEAF_EXTENT = 0,
    VCH_F_BITLEAF_LEAF = 1,
    VCH_F_BITLEAF_BITS = 2,
    VCH_F_SUBJECTS_FIRST = 0,
    VCH_F_SUBJECTS_COUNT = 1,
    VCH_F_SUBJECTS_ROOT = 2,
    /* transform */
    VCH_F_TRANSFORM_FROM = 0,
    VCH_F_TRANSFORM_TO = 1,
    VCH_F_TRANSFORM_CODE = 2,
    /* subjects: one piece of a row -> subject column */
    VCH_F_PIECE_EXTENT = 0,
    VCH_F_PIECE_OFFSET = 1,
    VCH_F_PIECE_LIST = 2,
    /* terms and its document */
    VCH_F_TERMS_DOCUMENT = 0,
    VCH_F_DOC_VERSION = 0,
    VCH_F_DOC_TITLE = 1,
    VCH_F_DOC_EFFECT = 2,
    VCH_F_DOC_RECIPIENTS = 3,
    VCH_F_DOC_PURPOSES = 4,
    VCH_F_DOC_PROCESSINGS = 5,
    VCH_F_DOC_FROM = 6,
    VCH_F_DOC_UNTIL = 7,
    VCH_F_DOC_CATEGORIES = 8,
    VCH_F_DOC_RETENTION = 9,
    VCH_F_DOC_CONDITIONS = 10,
    VCH_F_DOC_PRICE = 11,
    /* consent and withdraw; what owners sign shares these */
    VCH_F_CONSENT_DATASET = 0,
    VCH_F_CONSENT_SUBJECT = 1,
    VCH_F_CONSENT_TERMS = 2,
    VCH_F_CONSENT_UNTIL = 3,
    VCH_F_CONSENT_HOW = 16,
    VCH_F_CONSENT_EVIDENCE = 17,
    VCH_F_CONSENT_KEY = 18,
    VCH_F_CONSENT_KEY_PROOF = 19,
    VCH_F_CONSENT_SERIAL = 20,
    VCH_F_CONSENT_SIGNATURE = 21,
    VCH_F_KEYPROOF_FIRST = 0,
    VCH_F_KEYPROOF_PATH = 1,
    /* access */
    VCH_F_ACCESS_VERSION = 0,
    VCH_F_ACCESS_PURPOSE = 1,
    VCH_F_ACCESS_PROCESSING = 2,
    VCH_F_ACCESS_GROUPS = 3,
    VCH_F_ACCESS_RECIPIENT_KEY = 4,
    /* own access; what follows is where a consent has it: SUBJECT, KEY, KEY_PROOF, SERIAL, SIGNATURE */
    VCH_F_OWN_VERSION = 0,
    VCH_F_OWN_GROUPS = 2,
    VCH_F_OWN_ONE_TIME_KEY = 3,
    /* key-destroyed; an erase statement shares consent's fields */
    VCH_F_DESTROYED_ERASE = 0,
    VCH_F_DESTROYED_EXTENTS = 1,
    VCH_F_DESTROYED_GRADE = 2,
    /* run, run-end */
    VCH_F_RUN_GRANTS = 0,
    VCH_F_RUN_SET_ROOT = 1,
    VCH_F_RUN_COUNT = 2,
    VCH_F_RUN_ORDER_ROOT = 3,
    VCH_F_RUN_CODE = 4,
    VCH_F_RUN_PARAMETERS = 5,
    VCH_F_RUN_SEED = 6,
    VCH_F_RUN_ENVIRONMENT = 7,
    VCH_F_RUN_NAME = 8,
    VCH_F_RUNEND_RUN = 0,
    VCH_F_RUNEND_STATUS = 1,
    VCH_F_RUNEND_METRICS = 2,
    VCH_F_RUNEND_OUTPUTS = 3,
    VCH_F_METRIC_NAME = 0,
    VCH_F_METRIC_VALUE = 1,
    VCH_F_OUTPUT_NAME = 0,
    VCH_F_OUTPUT_DIGEST = 1,
    VCH_F_OUTPUT_SIZE = 2,
    /* model, deployment, its end */
    VCH_F_MODEL_RUN = 0,
    VCH_F_MODEL_DIGEST = 1,
    VCH_F_MODEL_NAME = 2,
    VCH_F_DEPLOYMENT_MODEL = 0,
    VCH_F_DEPLOYMENT_SCOPE = 1,
    VCH_F_DEPLOYMENTEND_DEPLOYMENT = 0,
    VCH_F_DEPLOYMENTEND_REASON = 1,
    /* decisions, remedy */
    VCH_F_DECISIONS_DEPLOYMENT = 0,
    VCH_F_DECISIONS_FIRST = 1,
    VCH_F_DECISIONS_COUNT = 2,
    VCH_F_DECISIONS_ROOT = 3,
    VCH_F_DECISIONS_FROM = 4,
    VCH_F_DECISIONS_TO = 5,
    VCH_F_DECISIONS_LOST = 6,
    VCH_F_REMEDY_MODEL = 0,
    VCH_F_REMEDY_ACTION = 1,
    VCH_F_REMEDY_REFERENCE = 2
};

enum { VCH_HOW_OWNER = 0, VCH_HOW_RECORDED = 1, VCH_HOW_DELEGATE = 2 };
enum { VCH_KEY_ADD = 0, VCH_KEY_REVOKE = 1 };
enum { VCH_GRADE_A = 0, VCH_GRADE_B = 1 }; /* of key-destroyed: a token's key, files */
enum { VCH_EFFECT_PERMIT = 0, VCH_EFFECT_FORBID = 1 };
enum { VCH_RUN_COMPLETED = 0, VCH_RUN_FAILED = 1 };

/* ---- fields ------------------------------------------------------------- */

/* `fields` is one CBOR map that fits the table exactly: known keys only, all
 * required ones there, types, lengths and ranges right.  err names the field. */
VCH_MUST_USE vch_rc vch_fields_check(vch_slice_t fields, const vch_field_t *, size_t n, vch_err_t *);

/* Read from checked fields: ERR_NOT_FOUND when an optional field is absent. */
VCH_MUST_USE vch_rc vch_field_uint(vch_slice_t fields, uint64_t key, uint64_t *ret);
VCH_MUST_USE vch_rc vch_field_bytes(vch_slice_t fields, uint64_t key, vch_slice_t *ret); /* also TEXT */
VCH_MUST_USE vch_rc vch_field_fixed(vch_slice_t fields, uint64_t key, void *ret, size_t n);
VCH_MUST_USE vch_rc vch_field_map(vch_slice_t fields, uint64_t key, vch_slice_t *ret);

/* Walk a list field: start it, then take items until VCH_ERR_NOT_FOUND. */
typedef struct {
    vch_slice_t rest;
    uint64_t left;
} vch_list_t;
VCH_MUST_USE vch_rc vch_field_list(vch_slice_t fields, uint64_t key, vch_list_t *ret); /* absent: an empty list */
VCH_MUST_USE vch_rc vch_list_next(vch_list_t *, vch_slice_t *ret_item);
VCH_MUST_USE vch_rc vch_item_bytes(vch_slice_t item, vch_slice_t *ret); /* BYTES or TEXT item */
VCH_MUST_USE vch_rc vch_item_uint(vch_slice_t item, uint64_t *ret);

/* ---- statements ---------------------------------------------------------- */

typedef struct {
    vch_kind_t kind;
    vch_slice_t bytes;  /* the whole statement, borrowed */
    vch_slice_t salt;   /* 16 bytes */
    vch_slice_t fields; /* the map */
} vch_statement_t;

/* Parses and checks against the table. */
VCH_MUST_USE vch_rc vch_statement_read(vch_statement_t *ret, vch_slice_t bytes, vch_err_t *);
VCH_MUST_USE vch_rc vch_statement_put(vch_buf_t *ret, vch_kind_t, const uint8_t salt[VCH_SALT_LEN], vch_slice_t fields);
/* RFC 6962 root over the statements' bytes; count at least 1. */
VCH_MUST_USE vch_rc vch_statements_root(vch_hash_t *ret, const vch_slice_t *statements, size_t n, vch_arena_t *scratch);

/* The subject's own key made this statement, or says so: its signature must be
 * there.  False for what a custodian recorded, and for kinds without owners. */
bool vch_owner_speaks(vch_kind_t, vch_slice_t fields);
/* What an owner signs: CBOR [network, kind, fields without the signature]. */
VCH_MUST_USE vch_rc vch_owner_to_sign(vch_buf_t *ret, const vch_hash_t *network, vch_kind_t, vch_slice_t fields);
/* fields (without signature) + the owner's signature = the finished fields. */
VCH_MUST_USE vch_rc vch_owner_sign(vch_buf_t *ret_fields, const vch_hash_t *network, vch_kind_t, vch_slice_t fields,
                                   const vch_signer_t *owner, vch_err_t *);
VCH_MUST_USE vch_rc vch_owner_verify(const vch_hash_t *network, vch_kind_t, vch_slice_t fields, const vch_pubkey_t *);

/* ---- entries -------------------------------------------------------------- */

typedef struct {
    vch_cose_t cose;
    vch_hash_t network;
    vch_kind_t kind;
    uint64_t sequence;
    bool has_not_after;
    vch_time_t not_after;
    vch_hash_t root;
    uint32_t count;
    vch_id_t id;
} vch_entry_t;

/* A signed entry's leaf bytes; the signature isn't checked here. */
VCH_MUST_USE vch_rc vch_entry_read(vch_entry_t *ret, vch_slice_t leaf, vch_err_t *);
/* Kind of any leaf, signed or not, by its first bytes and payload. */
VCH_MUST_USE vch_rc vch_leaf_kind(vch_kind_t *ret, vch_slice_t leaf);
vch_id_t vch_object_id(const vch_id_t *entry, uint16_t statement);

/* Build and sign an entry over statements already encoded. */
typedef struct {
    vch_hash_t network;
    vch_kind_t kind;
    uint64_t sequence;
    uint64_t not_after_ms; /* 0: none */
} vch_entry_head_t;
VCH_MUST_USE vch_rc vch_entry_sign(vch_buf_t *ret_entry, const vch_entry_head_t *, const vch_slice_t *statements,
                                   size_t n, const vch_signer_t *, vch_err_t *);
/* For a key that is elsewhere: the entry with 64 zero bytes where its
 * signature will stand (they end it), and the bytes to sign. */
VCH_MUST_USE vch_rc vch_entry_draft(vch_buf_t *ret_entry, vch_buf_t *ret_to_sign, const vch_entry_head_t *,
                                    const vch_slice_t *statements, size_t n, const vch_pubkey_t *, vch_err_t *);

typedef struct {
    vch_slice_t entry;
    const vch_slice_t *statements;
    uint32_t count;
} vch_tx_t;
/* One transaction as one blob, the form in which it travels: CBOR [entry, [statement, …]]. */
VCH_MUST_USE vch_rc vch_tx_put(vch_buf_t *ret, const vch_tx_t *);
VCH_MUST_USE vch_rc vch_tx_get(vch_tx_t *ret, vch_slice_t bytes, vch_arena_t *, vch_err_t *);

/* ---- the two unsigned leaves ------------------------------------------------ */

typedef struct {
    vch_hash_t network;
    uint64_t height;
    vch_time_t time;
    uint64_t first, count; /* entries of the block, this leaf not counted */
    vch_hash_t state_root;
    vch_hash_t previous; /* leaf hash of the previous state-commit; zeros for the first */
} vch_state_commit_t;
VCH_MUST_USE vch_rc vch_state_commit_put(vch_buf_t *ret, const vch_state_commit_t *);
VCH_MUST_USE vch_rc vch_state_commit_get(vch_state_commit_t *ret, vch_slice_t leaf);

/* How far a batch of decisions may reach beyond its block's time, or begin
 * before its deployment's registration. */
#define VCH_CLOCK_SKEW_MS 300000u
#define VCH_RULE_MAX 64
typedef struct {
    vch_hash_t network;
    vch_id_t request; /* object id of the access statement */
    bool permit;
    char rule[VCH_RULE_MAX + 1]; /* the rule that decided, e.g. "deny/no-consent" */
    vch_hash_t set_root;
    uint64_t count;
    vch_time_t expires;
} vch_outcome_t;
VCH_MUST_USE vch_rc vch_outcome_put(vch_buf_t *ret, const vch_outcome_t *);
VCH_MUST_USE vch_rc vch_outcome_get(vch_outcome_t *ret, vch_slice_t leaf);

/* ---- sets of rows ------------------------------------------------------------- */

/* A row set is a bitmap, bit r of extent e set = row r in the set, most
 * significant bit of a byte first; each extent is padded with zeros to whole
 * leaves of 256 bytes; extents follow each other in order.  Bytes of one
 * extent's part: */
static inline size_t vch_set_bytes(uint32_t rows) { return ((size_t)rows + 2047) / 2048 * VCH_BITMAP_LEAF; }
/* RFC 6962 root over its 256-byte leaves; n a multiple of 256 (0: empty tree). */
VCH_MUST_USE vch_rc vch_set_root(vch_hash_t *ret, const uint8_t *bits, size_t n, vch_arena_t *scratch);
static inline bool vch_bit(const uint8_t *bits, size_t i) { return bits[i / 8] >> (7 - i % 8) & 1; }
static inline void vch_bit_set(uint8_t *bits, size_t i) { bits[i / 8] |= (uint8_t)(0x80 >> i % 8); }
static inline void vch_bit_clear(uint8_t *bits, size_t i) { bits[i / 8] &= (uint8_t) ~(0x80 >> i % 8); }

/* Order-root leaf of a training order: u32 extent number ‖ u32 row. */
VCH_MUST_USE vch_rc vch_order_root(vch_hash_t *ret, const uint32_t (*order)[2], size_t n, vch_arena_t *scratch);

/* A group's commitment: SHA-256(0x00 ‖ salt 32 ‖ canonical bytes); a row's
 * leaf data is its groups' commitments joined, leaf = SHA-256(0x00 ‖ data). */
void vch_row_commitment(vch_hash_t *ret, const uint8_t salt[VCH_ROW_SALT_LEN], vch_slice_t canonical);

/* ---- a logged decision: leaf data of a batch's tree ------------------------------ */

/* CBOR [salt 16, sequence, time ms, model digest 32, input commitment 32,
 *       output text <= 4096, [reason code text <= 64, …] <= 16] */
typedef struct {
    uint8_t salt[VCH_SALT_LEN];
    uint64_t sequence;
    vch_time_t time;
    vch_hash_t model, input;
    vch_slice_t output;
    vch_slice_t reason[16];
    size_t reasons;
} vch_decision_t;
VCH_MUST_USE vch_rc vch_decision_put(vch_buf_t *ret, const vch_decision_t *);
VCH_MUST_USE vch_rc vch_decision_get(vch_decision_t *ret, vch_slice_t leaf);

#endif
