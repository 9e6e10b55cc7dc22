/* SPDX-License-Identifier: Apache-2.0 */
/* Terms as a document from outside: whatever is accepted never permits more
 * than it says. */
#include <assert.h>

#include "crypto/sha256.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static vch_vocabulary_t purposes, processings;
static vch_terms_t terms;

static void word(vch_vocabulary_t *v, const char *iri, bool below_first)
{
    if (below_first) v->parent[v->n][v->parents[v->n]++] = 0;
    v->iri[v->n++] = vch_str(iri);
}

static void make_vocabulary(void)
{
    if (purposes.n) return;
    word(&purposes, "research", false);
    word(&purposes, "science", true);
    word(&purposes, "marketing", false);
    word(&processings, "processing", false);
    word(&processings, "training", true);
}

static const vch_terms_t *find(void *ctx, const vch_hash_t *hash)
{
    (void)ctx;
    return vch_hash_eq(hash, &terms.hash) ? &terms : NULL;
}

static bool names(const vch_terms_t *t, const vch_id_t *id)
{
    for (size_t i = 0; i < t->recipients; i++)
        if (vch_id_eq(&t->recipient[i], id)) return true;
    return t->recipients == 0;
}

static bool covers(const vch_vocabulary_t *v, const vch_word_t *broad, size_t n, vch_word_t narrow)
{
    for (size_t i = 0; i < n; i++)
        if (vch_word_within(v, narrow, broad[i])) return true;
    return n == 0;
}

static void check_decision(const vch_request_t *r)
{
    vch_palette_value_t set = {.item = {{terms.hash, 2932896, VCH_HOW_OWNER}}, .items = 1};
    vch_verdict_t v;
    vch_decide(&v, &set, r, &purposes, &processings, find, NULL);
    assert((v.rule == VCH_RULE_PERMIT) == v.permit);
    bool said = !terms.forbid && !terms.unknown && names(&terms, &r->recipient) &&
                covers(&purposes, terms.purpose, terms.purposes, r->purpose) &&
                covers(&processings, terms.processing, terms.processings, r->processing) &&
                (!terms.has_from || terms.from.ms <= r->now.ms) && (!terms.has_until || r->now.ms <= terms.until.ms);
    assert(v.permit == said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint64_t times[] = {0, 1700000000000u, 1800000000000u};
    vch_err_t err = {0};
    vch_hash_t hash;
    make_vocabulary();
    vch_rc rc = vch_terms_read(&terms, vch_slice(data, n), &purposes, &processings, &err);
    assert((rc == VCH_OK) == (err.text[0] == 0) && !strchr(err.text, '\n'));
    if (rc != VCH_OK) return 0;
    vch_sha256(&hash, data, n);
    assert(vch_hash_eq(&hash, &terms.hash));
    for (vch_word_t purpose = 0; purpose < purposes.n; purpose++)
        for (vch_word_t processing = 0; processing < processings.n; processing++)
            for (size_t t = 0; t < 3; t++) {
                vch_request_t r = {.purpose = purpose, .processing = processing, .now = {times[t]}};
                check_decision(&r);
                if (terms.recipients == 0) continue;
                r.recipient = terms.recipient[terms.recipients - 1];
                check_decision(&r);
            }
    return 0;
}
