/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/cbor.h"
#include "policy/policy.h"

static vch_rc get_recipients(vch_terms_t *t, vch_slice_t document)
{
    vch_list_t list;
    vch_slice_t item, id;
    VCH_TRY(vch_field_list(document, VCH_F_DOC_RECIPIENTS, &list));
    vch_rc rc;
    while ((rc = vch_list_next(&list, &item)) == VCH_OK) {
        if (t->recipients == VCH_TERMS_LIST_MAX) return VCH_ERR_LIMIT;
        VCH_TRY(vch_item_bytes(item, &id));
        memcpy(t->recipient[t->recipients++].b, id.p, 32);
    }
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc get_words(vch_slice_t document, uint64_t key, const vch_vocabulary_t *v, vch_word_t ret[32],
                        size_t *ret_n, vch_err_t *err)
{
    vch_list_t list;
    vch_slice_t item, iri;
    VCH_TRY(vch_field_list(document, key, &list));
    vch_rc rc;
    while ((rc = vch_list_next(&list, &item)) == VCH_OK) {
        if (*ret_n == 32) return VCH_ERR_LIMIT;
        VCH_TRY(vch_item_bytes(item, &iri));
        if (vch_word_find(v, iri, &ret[*ret_n]) != VCH_OK)
            return vch_fail(err, VCH_ERR_REFERENCE, "terms: \"%.*s\" is not in this ledger's vocabulary", (int)iri.n,
                            (const char *)iri.p);
        (*ret_n)++;
    }
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc get_time(vch_slice_t document, uint64_t key, bool *ret_there, vch_time_t *ret)
{
    vch_rc rc = vch_field_uint(document, key, &ret->ms);
    *ret_there = rc == VCH_OK;
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static bool holds(vch_slice_t document, uint64_t key)
{
    vch_slice_t ignored;
    return vch_cbor_find(document, key, &ignored) == VCH_OK;
}

vch_rc vch_terms_read(vch_terms_t *ret, vch_slice_t document, const vch_vocabulary_t *purposes,
                      const vch_vocabulary_t *processings, vch_err_t *err)
{
    vch_terms_t t = {0};
    uint64_t effect;
    if (vch_cbor_check(document) != VCH_OK)
        return vch_fail(err, VCH_ERR_FORMAT, "terms: the document is not deterministic CBOR");
    vch_rc rc = vch_fields_check(document, vch_terms_fields, vch_terms_fields_n, err);
    if (rc != VCH_OK) return vch_context(err, rc, "terms");
    VCH_TRY(vch_field_uint(document, VCH_F_DOC_EFFECT, &effect));
    VCH_TRY(get_recipients(&t, document));
    VCH_TRY(get_words(document, VCH_F_DOC_PURPOSES, purposes, t.purpose, &t.purposes, err));
    VCH_TRY(get_words(document, VCH_F_DOC_PROCESSINGS, processings, t.processing, &t.processings, err));
    VCH_TRY(get_time(document, VCH_F_DOC_FROM, &t.has_from, &t.from));
    VCH_TRY(get_time(document, VCH_F_DOC_UNTIL, &t.has_until, &t.until));
    t.forbid = effect == VCH_EFFECT_FORBID;
    /* Retention binds the recipient afterwards and limits no access. */
    t.unknown = holds(document, VCH_F_DOC_CATEGORIES) || holds(document, VCH_F_DOC_CONDITIONS) ||
                holds(document, VCH_F_DOC_PRICE);
    vch_sha256(&t.hash, document.p, document.n);
    *ret = t;
    return VCH_OK;
}
