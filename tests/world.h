/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger's state machine without a disk: three parties, one dataset of
 * `rows` subjects with keys, three terms; every leaf is kept for replay. */
#ifndef VCH_TEST_WORLD_H
#define VCH_TEST_WORLD_H

#include "state/state.h"
#include "txkit.h"

#define WORLD_LEAVES_MAX 4096

typedef struct {
    uint8_t *bytes;
    size_t n;
    kit_tx_t *tx; /* of a signed leaf: its statements */
    vch_time_t time;
} world_leaf_t;

typedef struct {
    vch_kv_t *kv;
    vch_state_t *state;
    vch_signer_t *party[3]; /* 0: registrar and custodian, 1: user, 2: another user */
    vch_id_t party_id[3];
    uint64_t sequence[3];
    vch_hash_t network;
    vch_time_t now;
    vch_arena_t arena;
    vch_err_t err;
    vch_id_t dataset, version, last; /* last: object id of the newest transaction's first statement */
    vch_outcome_t outcome;
    uint32_t rows, serial[64];
    vch_hash_t terms[3]; /* 0 research permit, 1 forbid training, 2 expired */
    world_leaf_t leaf[WORLD_LEAVES_MAX];
    size_t leaves;
} world_t;

static inline void world_keep(world_t *w, vch_slice_t bytes, kit_tx_t *tx)
{
    if (w->leaves == WORLD_LEAVES_MAX) abort();
    world_leaf_t *l = &w->leaf[w->leaves++];
    *l = (world_leaf_t){.bytes = vch_alloc(bytes.n), .n = bytes.n, .time = w->now};
    memcpy(l->bytes, bytes.p, bytes.n);
    if (!tx) return;
    l->tx = vch_alloc(sizeof *l->tx);
    *l->tx = *tx;
}

/* Apply what was built; frees it when refused. */
static inline vch_rc world_apply(world_t *w, kit_tx_t *t)
{
    vch_prepared_t p;
    vch_buf_t outcome;
    vch_arena_reset(&w->arena);
    vch_buf_init(&outcome, 4096);
    w->err = (vch_err_t){0};
    vch_rc rc = vch_tx_prepare(&p, &t->tx, &w->arena, &w->err);
    if (rc == VCH_OK) rc = vch_state_verify(w->state, &p, &w->err);
    if (rc == VCH_OK) rc = vch_state_apply(w->state, &p, w->now, &outcome, &w->err);
    if (rc == VCH_OK) {
        w->last = vch_object_id(&t->id, 0);
        world_keep(w, t->tx.entry, t);
        if (outcome.n) {
            KIT_OK(vch_outcome_get(&w->outcome, vch_buf_slice(&outcome)));
            world_keep(w, vch_buf_slice(&outcome), NULL);
        }
    } else {
        kit_free_tx(t);
    }
    vch_buf_free(&outcome);
    return rc;
}

/* One statement by party `who` with its next sequence number. */
static inline vch_rc world_say(world_t *w, unsigned who, vch_kind_t kind, vch_buf_t fields)
{
    kit_tx_t t = kit_tx(&w->network, kind, w->sequence[who] + 1, w->party[who], &fields, 1, 0);
    vch_rc rc = world_apply(w, &t);
    if (rc == VCH_OK) w->sequence[who]++;
    return rc;
}

static inline void world_close(world_t *w)
{
    vch_buf_t leaf;
    vch_buf_init(&leaf, 1024);
    KIT_OK(vch_state_close_block(w->state, &leaf, NULL));
    world_keep(w, vch_buf_slice(&leaf), NULL);
    vch_buf_free(&leaf);
}

static inline vch_hash_t world_root(world_t *w)
{
    vch_state_info_t i;
    vch_state_info(w->state, &i);
    if (i.open_count) world_close(w);
    vch_state_info(w->state, &i);
    return i.root;
}

/* ---- the dataset ---- */

static inline vch_signer_t *world_owner(uint32_t subject) { return kit_signer(1000 + subject, VCH_ALG_ED25519); }

static inline void world_subject_leaves(world_t *w, vch_hash_t *leaf)
{
    for (uint32_t i = 0; i < w->rows; i++) {
        vch_signer_t *o = world_owner(i);
        vch_keyid_t id = kit_keyid(o);
        vch_subject_leaf(&leaf[i], i, &id);
        vch_signer_free(o);
    }
}

static inline vch_buf_t world_version(world_t *w, const vch_id_t *previous, uint32_t count, uint32_t first,
                                      bool with_subjects, uint8_t id_byte)
{
    kit_fields_t f = kit_fields();
    uint8_t id[32] = {id_byte}, root[32] = {9};
    kit_id(&f, VCH_F_VERSION_DATASET, w->dataset.b);
    if (previous) kit_id(&f, VCH_F_VERSION_PREVIOUS, previous->b);
    vch_buf_t *b = kit_list(&f, VCH_F_VERSION_EXTENTS, 1);
    KIT_OK(vch_cbor_map(b, 4));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_bytes(b, id, 32));
    KIT_OK(vch_cbor_uint(b, 1));
    KIT_OK(vch_cbor_uint(b, count));
    KIT_OK(vch_cbor_uint(b, 2));
    KIT_OK(vch_cbor_uint(b, first));
    KIT_OK(vch_cbor_uint(b, 4));
    KIT_OK(vch_cbor_bytes(b, root, 32));
    kit_list(&f, VCH_F_VERSION_BITMAP, 0);
    if (with_subjects) {
        vch_hash_t *leaf = vch_alloc_array(w->rows, sizeof *leaf), top;
        world_subject_leaves(w, leaf);
        vch_tree_root_in_place(&top, leaf, w->rows);
        vch_free(leaf);
        b = kit_key(&f, VCH_F_VERSION_SUBJECTS);
        KIT_OK(vch_cbor_map(b, 3));
        KIT_OK(vch_cbor_uint(b, 0));
        KIT_OK(vch_cbor_uint(b, first));
        KIT_OK(vch_cbor_uint(b, 1));
        KIT_OK(vch_cbor_uint(b, count));
        KIT_OK(vch_cbor_uint(b, 2));
        KIT_OK(vch_cbor_bytes(b, top.b, 32));
    }
    return kit_done(&f);
}

/* ---- consents ---- */

typedef struct {
    uint32_t subject, serial;
    const vch_hash_t *terms; /* NULL: all (withdraw only) */
    uint32_t until;
    uint8_t how;
    vch_signer_t *key; /* NULL: none carried */
    bool proof;
} say_t;

static inline void world_key_proof(world_t *w, kit_fields_t *f, uint32_t subject)
{
    vch_hash_t *leaf = vch_alloc_array(w->rows, sizeof *leaf), *scratch = vch_alloc_array(w->rows, sizeof *scratch);
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    world_subject_leaves(w, leaf);
    size_t n = vch_tree_path(path, leaf, w->rows, subject, scratch);
    vch_buf_t *b = kit_key(f, VCH_F_CONSENT_KEY_PROOF);
    KIT_OK(vch_cbor_map(b, 2));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, 1));
    KIT_OK(vch_cbor_array(b, n));
    for (size_t i = 0; i < n; i++) KIT_OK(vch_cbor_bytes(b, path[i].b, 32));
    vch_free(leaf);
    vch_free(scratch);
}

static inline vch_buf_t world_statement(world_t *w, vch_kind_t kind, const say_t *s)
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_CONSENT_DATASET, w->dataset.b);
    kit_uint(&f, VCH_F_CONSENT_SUBJECT, s->subject);
    if (s->terms) kit_id(&f, VCH_F_CONSENT_TERMS, s->terms->b);
    if (kind == VCH_KIND_CONSENT) kit_uint(&f, VCH_F_CONSENT_UNTIL, s->until);
    kit_uint(&f, VCH_F_CONSENT_HOW, s->how);
    if (s->key) kit_bytes(&f, VCH_F_CONSENT_KEY, vch_signer_public(s->key)->b, vch_signer_public(s->key)->n);
    if (s->proof) world_key_proof(w, &f, s->subject);
    kit_uint(&f, VCH_F_CONSENT_SERIAL, s->serial);
    vch_buf_t plain = kit_done(&f), signed_fields;
    if (!s->key) return plain;
    vch_buf_init(&signed_fields, 65536);
    KIT_OK(vch_owner_sign(&signed_fields, &w->network, kind, vch_buf_slice(&plain), s->key, NULL));
    vch_buf_free(&plain);
    return signed_fields;
}

#define WORLD_FOREVER 2932896u

/* The owner's own statement, with the right key and serial. */
static inline vch_rc world_owner_says(world_t *w, vch_kind_t kind, uint32_t subject, const vch_hash_t *terms)
{
    vch_signer_t *key = world_owner(subject);
    say_t s = {.subject = subject,
               .serial = w->serial[subject] + 1,
               .terms = terms,
               .until = WORLD_FOREVER,
               .how = VCH_HOW_OWNER,
               .key = key,
               .proof = true};
    vch_rc rc = world_say(w, 2, kind, world_statement(w, kind, &s));
    if (rc == VCH_OK) w->serial[subject]++;
    vch_signer_free(key);
    return rc;
}

static inline vch_rc world_records(world_t *w, vch_kind_t kind, uint32_t subject, const vch_hash_t *terms)
{
    say_t s = {.subject = subject,
               .serial = w->serial[subject] + 1,
               .terms = terms,
               .until = WORLD_FOREVER,
               .how = VCH_HOW_RECORDED};
    vch_rc rc = world_say(w, 0, kind, world_statement(w, kind, &s));
    if (rc == VCH_OK) w->serial[subject]++;
    return rc;
}

static inline vch_buf_t world_access(const vch_id_t *version, const char *purpose, const char *processing,
                                     unsigned group)
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_ACCESS_VERSION, version->b);
    kit_text(&f, VCH_F_ACCESS_PURPOSE, purpose);
    kit_text(&f, VCH_F_ACCESS_PROCESSING, processing);
    vch_buf_t *b = kit_list(&f, VCH_F_ACCESS_GROUPS, 1);
    KIT_OK(vch_cbor_uint(b, group));
    return kit_done(&f);
}

static inline vch_rc world_ask(world_t *w, unsigned who, const char *purpose, const char *processing)
{
    return world_say(w, who, VCH_KIND_ACCESS, world_access(&w->version, purpose, processing, 0));
}

/* What subject `subject` asks to read of itself; `key` NULL: its own, serial 0: the next one. */
typedef struct {
    const vch_id_t *version; /* NULL: the world's */
    uint32_t subject, serial;
    unsigned group;
    vch_signer_t *key;
    bool no_proof;
} world_own_t;

static inline vch_buf_t world_own_access(world_t *w, const world_own_t *o)
{
    kit_fields_t f = kit_fields();
    const uint8_t once[32] = {7};
    vch_signer_t *own = world_owner(o->subject), *key = o->key ? o->key : own;
    kit_id(&f, VCH_F_OWN_VERSION, o->version ? o->version->b : w->version.b);
    kit_uint(&f, VCH_F_CONSENT_SUBJECT, o->subject);
    vch_buf_t *b = kit_list(&f, VCH_F_OWN_GROUPS, 1);
    KIT_OK(vch_cbor_uint(b, o->group));
    kit_id(&f, VCH_F_OWN_ONE_TIME_KEY, once);
    kit_bytes(&f, VCH_F_CONSENT_KEY, vch_signer_public(key)->b, vch_signer_public(key)->n);
    if (!o->no_proof) world_key_proof(w, &f, o->subject % w->rows);
    kit_uint(&f, VCH_F_CONSENT_SERIAL, o->serial ? o->serial : w->serial[o->subject] + 1);
    vch_buf_t plain = kit_done(&f), finished;
    vch_buf_init(&finished, 65536);
    KIT_OK(vch_owner_sign(&finished, &w->network, VCH_KIND_OWN_ACCESS, vch_buf_slice(&plain), key, NULL));
    vch_buf_free(&plain);
    vch_signer_free(own);
    return finished;
}

/* The outcome is in w->outcome. */
static inline vch_rc world_reads_own(world_t *w, uint32_t subject)
{
    world_own_t o = {.subject = subject};
    vch_rc rc = world_say(w, 2, VCH_KIND_OWN_ACCESS, world_own_access(w, &o));
    if (rc == VCH_OK && w->outcome.permit) w->serial[subject]++;
    return rc;
}

/* ---- birth and end ---- */

static inline vch_hash_t world_terms(world_t *w, const char *title, bool forbid, const char *purpose,
                                     const char *processing, uint64_t until)
{
    vch_buf_t document = kit_terms_document(title, forbid, purpose, processing, until);
    vch_hash_t hash;
    vch_sha256(&hash, document.p, document.n);
    kit_fields_t f = kit_fields();
    kit_bytes(&f, VCH_F_TERMS_DOCUMENT, document.p, document.n);
    vch_buf_free(&document);
    KIT_OK(world_say(w, 0, VCH_KIND_TERMS, kit_done(&f)));
    return hash;
}

static inline void world_genesis(world_t *w)
{
    const vch_signer_t *parties[3] = {w->party[0], w->party[1], w->party[2]};
    static const vch_hash_t zero;
    vch_buf_t fields = kit_genesis(parties, 3);
    kit_tx_t t = kit_tx(&zero, VCH_KIND_GENESIS, 1, w->party[0], &fields, 1, 0);
    vch_sha256(&w->network, t.slice[0].p, t.slice[0].n);
    KIT_OK(world_apply(w, &t));
    for (uint16_t i = 0; i < 3; i++) w->party_id[i] = vch_object_id(&t.id, i);
}

static inline world_t *world_new_on(uint32_t rows, vch_kv_t *kv)
{
    world_t *w = vch_alloc(sizeof *w);
    KIT_OK(vch_crypto_start());
    w->rows = rows;
    w->kv = kv;
    w->now.ms = 1700000000000u;
    vch_arena_init(&w->arena, 64u << 20);
    KIT_OK(vch_state_open(&w->state, kv, NULL));
    for (unsigned i = 0; i < 3; i++) w->party[i] = kit_signer(i, i == 1 ? VCH_ALG_P256 : VCH_ALG_ED25519);
    world_genesis(w);
    KIT_OK(world_say(w, 0, VCH_KIND_DATASET, kit_dataset("cohort", &w->party_id[0])));
    w->dataset = w->last;
    KIT_OK(world_say(w, 0, VCH_KIND_VERSION, world_version(w, NULL, rows, 0, true, 1)));
    w->version = w->last;
    w->terms[0] = world_terms(w, "research", false, KIT_RESEARCH, KIT_TRAINING, 0);
    w->terms[1] = world_terms(w, "no training", true, NULL, KIT_TRAINING, 0);
    w->terms[2] = world_terms(w, "ended", false, KIT_RESEARCH, KIT_TRAINING, w->now.ms - 1);
    world_close(w);
    return w;
}

static inline world_t *world_new(uint32_t rows)
{
    vch_kv_t *kv;
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    return world_new_on(rows, kv);
}

static inline void world_free(world_t *w)
{
    for (size_t i = 0; i < w->leaves; i++) {
        vch_free(w->leaf[i].bytes);
        if (w->leaf[i].tx) kit_free_tx(w->leaf[i].tx);
        vch_free(w->leaf[i].tx);
    }
    for (unsigned i = 0; i < 3; i++) vch_signer_free(w->party[i]);
    vch_state_free(w->state);
    vch_kv_close(w->kv);
    vch_arena_free(&w->arena);
    vch_free(w);
}

/* Replay every leaf into a fresh state over `kv`; its root. */
static inline vch_rc world_replay(const world_t *w, vch_kv_t *kv, bool full, vch_hash_t *ret_root, vch_err_t *err)
{
    vch_state_t *s;
    KIT_OK(vch_state_open(&s, kv, NULL));
    vch_rc rc = VCH_OK;
    vch_state_info_t info;
    vch_state_info(s, &info);
    for (size_t i = info.applied; rc == VCH_OK && i < w->leaves; i++) {
        const world_leaf_t *l = &w->leaf[i];
        vch_log_entry_t e = {.index = i, .time = l->time, .record = {.entry = {l->bytes, l->n}}};
        if (l->tx) {
            e.record.statements = l->tx->tx.statements;
            e.record.count = l->tx->tx.count;
        }
        rc = vch_state_replay(s, &e, full, err);
    }
    vch_state_info(s, &info);
    *ret_root = info.root;
    vch_state_free(s);
    return rc;
}

#endif
