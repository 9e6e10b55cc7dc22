/* SPDX-License-Identifier: Apache-2.0 */
/* The decision: may this recipient use a record for this purpose by this
 * processing at this time, given what its owner consented to?
 *
 * Default deny; forbid wins; whatever cannot be understood denies.  Integers
 * and sets only, no loop without a bound, no clock, no I/O.  A fuller policy
 * engine can replace the inside of this header without touching its callers.
 *
 * A request is decided once per palette entry; rows follow by table look-up. */
#ifndef VCH_POLICY_H
#define VCH_POLICY_H

#include "base/base.h"
#include "entry/entry.h"
#include "entry/value.h"

/* ---- vocabulary: words with parents, by value from genesis ---- */

#define VCH_WORDS_MAX 1024
typedef struct {
    vch_slice_t iri[VCH_WORDS_MAX];
    uint16_t parent[VCH_WORDS_MAX][8];
    uint8_t parents[VCH_WORDS_MAX];
    uint16_t n;
} vch_vocabulary_t;
typedef uint16_t vch_word_t;
/* From genesis fields; `which` is VCH_F_GENESIS_PURPOSES or _PROCESSINGS.
 * ERR_FORMAT: a parent not before its child, an IRI twice. */
VCH_MUST_USE vch_rc vch_vocabulary_get(vch_vocabulary_t *ret, vch_slice_t genesis_fields, uint64_t which);
VCH_MUST_USE vch_rc vch_word_find(const vch_vocabulary_t *, vch_slice_t iri, vch_word_t *ret); /* ERR_NOT_FOUND */
/* `narrow` is `broad` or below it.  O(words). */
bool vch_word_within(const vch_vocabulary_t *, vch_word_t narrow, vch_word_t broad);

/* ---- terms, read once ---- */

#define VCH_TERMS_LIST_MAX 64
typedef struct {
    vch_hash_t hash; /* SHA-256 of the document */
    bool forbid;
    vch_id_t recipient[VCH_TERMS_LIST_MAX];
    size_t recipients;
    vch_word_t purpose[32], processing[32];
    size_t purposes, processings;
    bool has_from, has_until;
    vch_time_t from, until; /* from <= now <= until */
    bool unknown; /* names a category, condition, price or word that this version can't judge: never permits */
} vch_terms_t;
/* ERR_FORMAT for a document that its table refuses; ERR_REFERENCE for a
 * purpose or processing outside the vocabulary. */
VCH_MUST_USE vch_rc vch_terms_read(vch_terms_t *ret, vch_slice_t document, const vch_vocabulary_t *purposes,
                                   const vch_vocabulary_t *processings, vch_err_t *);

/* ---- the decision ---- */

typedef struct {
    vch_id_t recipient;
    vch_word_t purpose, processing;
    vch_time_t now; /* block time */
} vch_request_t;

/* Rules, the first that explains the answer.  Names are stable: "permit/terms",
 * "deny/no-consent", "deny/withdrawn", "deny/forbidden", "deny/recipient",
 * "deny/purpose", "deny/processing", "deny/not-yet", "deny/expired",
 * "deny/not-understood". */
#define VCH_RULE_LIST(X)                                                                                               \
    X(PERMIT, "permit/terms")                                                                                          \
    X(NO_CONSENT, "deny/no-consent")                                                                                   \
    X(WITHDRAWN, "deny/withdrawn")                                                                                     \
    X(FORBIDDEN, "deny/forbidden")                                                                                     \
    X(RECIPIENT, "deny/recipient")                                                                                     \
    X(PURPOSE, "deny/purpose")                                                                                         \
    X(PROCESSING, "deny/processing")                                                                                   \
    X(NOT_YET, "deny/not-yet")                                                                                         \
    X(EXPIRED, "deny/expired")                                                                                         \
    X(NOT_UNDERSTOOD, "deny/not-understood")
/* Own access asks nobody's terms; its outcome names one of these. */
#define VCH_RULE_OWN "permit/own"
#define VCH_RULE_OWN_ERASED "deny/erased"
#define VCH_RULE_OWN_NO_ROWS "deny/no-rows"
typedef enum {
#define VCH_RULE_ENUM(name, text) VCH_RULE_##name,
    VCH_RULE_LIST(VCH_RULE_ENUM)
#undef VCH_RULE_ENUM
        VCH_RULE_COUNT
} vch_rule_t;
const char *vch_rule_name(vch_rule_t);

typedef struct {
    bool permit;
    vch_rule_t rule;
    vch_hash_t terms; /* the terms that decided; zeros when none did */
} vch_verdict_t;

/* `terms` finds a document already read; NULL means unknown and denies. */
typedef const vch_terms_t *(*vch_terms_fn)(void *ctx, const vch_hash_t *);
void vch_decide(vch_verdict_t *ret, const vch_palette_value_t *, const vch_request_t *,
                const vch_vocabulary_t *purposes, const vch_vocabulary_t *processings, vch_terms_fn terms, void *ctx);

/* ---- rows by table look-up ----
 * allow: one bit per palette index (vch_bit), 65,536 bits.  Index 0 is never
 * allowed.  For rows [0, count) of one extent: out bit r = live bit r and
 * allow[column[subject(r)]].  subject(r) = first + r when subjects is NULL,
 * else subjects[r].  A subject at or beyond column_n is not allowed.  Whole
 * padded leaves of `out` are written (vch_set_bytes(count)).  Returns the
 * number of bits set.  Vectorised; the same bits on every machine. */
uint64_t vch_permitted_rows(uint8_t *out, const uint8_t *allow, const uint16_t *column, size_t column_n,
                            const uint8_t *live, uint32_t count, uint32_t first, const uint32_t *subjects);

#endif
