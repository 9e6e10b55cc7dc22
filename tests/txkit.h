/* SPDX-License-Identifier: Apache-2.0 */
/* A kit for building signed transactions in tests: keys from small numbers,
 * fields by hand, salts from a counter, so that every run gives the same bytes. */
#ifndef VCH_TXKIT_H
#define VCH_TXKIT_H

#include <stdio.h>
#include <stdlib.h>

#include "codec/cbor.h"
#include "crypto/keys.h"
#include "entry/entry.h"
#include "entry/value.h"
#include "merkle/tree.h"

#define KIT_OK(call)                                                                                                   \
    do {                                                                                                               \
        vch_rc kit_rc_ = (call);                                                                                       \
        if (kit_rc_ != VCH_OK) {                                                                                       \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, vch_rc_name(kit_rc_));                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ---- keys ---- */

static inline vch_signer_t *kit_signer(unsigned number, vch_alg_t alg)
{
    uint8_t seed[32] = {0};
    vch_signer_t *s;
    seed[0] = 0x11;
    vch_put_u32(seed + 28, number + 1);
    KIT_OK(vch_signer_new(&s, alg, seed, NULL));
    return s;
}

static inline vch_keyid_t kit_keyid(const vch_signer_t *s) { return vch_pubkey_id(vch_signer_public(s)); }

/* ---- fields: a small writer that keeps count ---- */

typedef struct {
    vch_buf_t body;
    unsigned pairs;
} kit_fields_t;

static inline kit_fields_t kit_fields(void)
{
    kit_fields_t f = {.pairs = 0};
    vch_buf_init(&f.body, 1u << 20);
    return f;
}
static inline vch_buf_t *kit_key(kit_fields_t *f, unsigned key)
{
    f->pairs++;
    KIT_OK(vch_cbor_uint(&f->body, key));
    return &f->body;
}
static inline void kit_uint(kit_fields_t *f, unsigned key, uint64_t v) { KIT_OK(vch_cbor_uint(kit_key(f, key), v)); }
static inline void kit_bytes(kit_fields_t *f, unsigned key, const void *p, size_t n)
{
    KIT_OK(vch_cbor_bytes(kit_key(f, key), p, n));
}
static inline void kit_id(kit_fields_t *f, unsigned key, const void *id32) { kit_bytes(f, key, id32, 32); }
static inline void kit_text(kit_fields_t *f, unsigned key, const char *s)
{
    KIT_OK(vch_cbor_text(kit_key(f, key), s, strlen(s)));
}
static inline vch_buf_t *kit_list(kit_fields_t *f, unsigned key, uint64_t count)
{
    vch_buf_t *b = kit_key(f, key);
    KIT_OK(vch_cbor_array(b, count));
    return b;
}
/* The finished map; frees the writer. */
static inline vch_buf_t kit_done(kit_fields_t *f)
{
    vch_buf_t out;
    vch_buf_init(&out, 1u << 20);
    KIT_OK(vch_cbor_map(&out, f->pairs));
    KIT_OK(vch_cbor_raw(&out, vch_buf_slice(&f->body)));
    vch_buf_free(&f->body);
    return out;
}

/* ---- transactions ---- */

typedef struct {
    vch_buf_t entry;
    vch_buf_t *statement;
    vch_slice_t *slice;
    vch_tx_t tx;
    vch_id_t id;
} kit_tx_t;

static inline void kit_free_tx(kit_tx_t *t)
{
    for (uint32_t i = 0; i < t->tx.count; i++) vch_buf_free(&t->statement[i]);
    vch_buf_free(&t->entry);
    vch_free(t->statement);
    vch_free(t->slice);
}

/* Takes `fields` (n finished maps) and frees them. */
static inline kit_tx_t kit_tx(const vch_hash_t *network, vch_kind_t kind, uint64_t sequence, const vch_signer_t *signer,
                              vch_buf_t *fields, size_t n, uint64_t not_after)
{
    static uint64_t salt_number;
    kit_tx_t t = {.statement = vch_alloc_array(n, sizeof(vch_buf_t)), .slice = vch_alloc_array(n, sizeof(vch_slice_t))};
    for (size_t i = 0; i < n; i++) {
        uint8_t salt[VCH_SALT_LEN] = {0};
        vch_put_u64(salt + 8, ++salt_number);
        vch_buf_init(&t.statement[i], 1u << 20);
        KIT_OK(vch_statement_put(&t.statement[i], kind, salt, vch_buf_slice(&fields[i])));
        t.slice[i] = vch_buf_slice(&t.statement[i]);
        vch_buf_free(&fields[i]);
    }
    vch_entry_head_t head = {.network = *network, .kind = kind, .sequence = sequence, .not_after_ms = not_after};
    vch_buf_init(&t.entry, 65536);
    KIT_OK(vch_entry_sign(&t.entry, &head, t.slice, n, signer, NULL));
    t.tx = (vch_tx_t){vch_buf_slice(&t.entry), t.slice, (uint32_t)n};
    vch_cose_t cose;
    KIT_OK(vch_cose_read(&cose, t.tx.entry));
    KIT_OK(vch_cose_id(&cose, &t.id));
    return t;
}

/* ---- common statements ---- */

#define KIT_RESEARCH "https://w3id.org/dpv#ResearchAndDevelopment"
#define KIT_SCIENCE "https://w3id.org/dpv#ScientificResearch"
#define KIT_MARKETING "https://w3id.org/dpv#Marketing"
#define KIT_PROCESSING "https://w3id.org/dpv#Processing"
#define KIT_TRAINING "https://w3id.org/dpv/ai#ModelTraining"

static inline void kit_word(vch_buf_t *b, const char *iri, int parent)
{
    KIT_OK(vch_cbor_map(b, 2));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_text(b, iri, strlen(iri)));
    KIT_OK(vch_cbor_uint(b, 1));
    KIT_OK(vch_cbor_array(b, parent >= 0 ? 1 : 0));
    if (parent >= 0) KIT_OK(vch_cbor_uint(b, (uint64_t)parent));
}

static inline void kit_party_map(vch_buf_t *b, const char *name, unsigned roles, const vch_signer_t *key)
{
    const vch_pubkey_t *pub = vch_signer_public(key);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, VCH_F_PARTY_NAME));
    KIT_OK(vch_cbor_text(b, name, strlen(name)));
    KIT_OK(vch_cbor_uint(b, VCH_F_PARTY_ROLES));
    KIT_OK(vch_cbor_uint(b, roles));
    KIT_OK(vch_cbor_uint(b, VCH_F_PARTY_KEYS));
    KIT_OK(vch_cbor_array(b, 1));
    KIT_OK(vch_cbor_bytes(b, pub->b, pub->n));
}

/* One party per signer given, each with all roles; the first is registrar. */
static inline vch_buf_t kit_genesis(const vch_signer_t *const *party, size_t parties)
{
    kit_fields_t f = kit_fields();
    kit_text(&f, VCH_F_GENESIS_ORIGIN, "test.example/log");
    kit_uint(&f, VCH_F_GENESIS_RULES, 1);
    vch_buf_t *b = kit_list(&f, VCH_F_GENESIS_PARTIES, parties);
    for (size_t i = 0; i < parties; i++) {
        char name[32];
        snprintf(name, sizeof name, "party-%zu", i);
        kit_party_map(b, name, 127, party[i]);
    }
    vch_keyid_t registrar = kit_keyid(party[0]);
    b = kit_list(&f, VCH_F_GENESIS_REGISTRARS, 1);
    KIT_OK(vch_cbor_bytes(b, registrar.b, 32));
    kit_uint(&f, VCH_F_GENESIS_GRANT_LIFE, 900000);
    b = kit_list(&f, VCH_F_GENESIS_PURPOSES, 3);
    kit_word(b, KIT_RESEARCH, -1);
    kit_word(b, KIT_SCIENCE, 0);
    kit_word(b, KIT_MARKETING, -1);
    b = kit_list(&f, VCH_F_GENESIS_PROCESSINGS, 2);
    kit_word(b, KIT_PROCESSING, -1);
    kit_word(b, KIT_TRAINING, 0);
    return kit_done(&f);
}

/* A terms document; NULL purpose or processing: any.  until_ms 0: none. */
static inline vch_buf_t kit_terms_document(const char *title, bool forbid, const char *purpose, const char *processing,
                                           uint64_t until_ms)
{
    kit_fields_t f = kit_fields();
    kit_uint(&f, VCH_F_DOC_VERSION, 1);
    kit_text(&f, VCH_F_DOC_TITLE, title);
    kit_uint(&f, VCH_F_DOC_EFFECT, forbid ? VCH_EFFECT_FORBID : VCH_EFFECT_PERMIT);
    kit_list(&f, VCH_F_DOC_RECIPIENTS, 0);
    vch_buf_t *b = kit_list(&f, VCH_F_DOC_PURPOSES, purpose ? 1 : 0);
    if (purpose) KIT_OK(vch_cbor_text(b, purpose, strlen(purpose)));
    b = kit_list(&f, VCH_F_DOC_PROCESSINGS, processing ? 1 : 0);
    if (processing) KIT_OK(vch_cbor_text(b, processing, strlen(processing)));
    if (until_ms) kit_uint(&f, VCH_F_DOC_UNTIL, until_ms);
    return kit_done(&f);
}

/* Two columns in the group "features", one in "label". */
static inline vch_buf_t kit_dataset(const char *name, const vch_id_t *custodian)
{
    static const char *const column[] = {"a", "b", "y"};
    kit_fields_t f = kit_fields();
    kit_text(&f, VCH_F_DATASET_NAME, name);
    kit_id(&f, VCH_F_DATASET_CUSTODIAN, custodian->b);
    vch_buf_t *b = kit_list(&f, VCH_F_DATASET_COLUMNS, 3);
    for (unsigned i = 0; i < 3; i++) {
        KIT_OK(vch_cbor_map(b, 2));
        KIT_OK(vch_cbor_uint(b, 0));
        KIT_OK(vch_cbor_text(b, column[i], 1));
        KIT_OK(vch_cbor_uint(b, 1));
        KIT_OK(vch_cbor_uint(b, i == 2));
    }
    b = kit_list(&f, VCH_F_DATASET_GROUPS, 2);
    KIT_OK(vch_cbor_text(b, "features", 8));
    KIT_OK(vch_cbor_text(b, "label", 5));
    kit_uint(&f, VCH_F_DATASET_LABEL, 1);
    return kit_done(&f);
}

#endif
