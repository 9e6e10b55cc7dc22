/* SPDX-License-Identifier: Apache-2.0 */
/* Words with parents.  A parent stands before its child, so one pass from the
 * narrow word down to the broad one decides subsumption without a cycle. */
#include "policy/policy.h"

static vch_rc get_parents(vch_vocabulary_t *v, vch_slice_t word)
{
    vch_list_t list;
    vch_slice_t item;
    VCH_TRY(vch_field_list(word, VCH_F_WORD_PARENTS, &list));
    vch_rc rc;
    while ((rc = vch_list_next(&list, &item)) == VCH_OK) {
        uint64_t parent;
        VCH_TRY(vch_item_uint(item, &parent));
        if (parent >= v->n || v->parents[v->n] == 8) return VCH_ERR_FORMAT;
        v->parent[v->n][v->parents[v->n]++] = (uint16_t)parent;
    }
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

vch_rc vch_vocabulary_get(vch_vocabulary_t *ret, vch_slice_t genesis_fields, uint64_t which)
{
    vch_list_t list;
    vch_slice_t word;
    memset(ret, 0, sizeof *ret);
    VCH_TRY(vch_field_list(genesis_fields, which, &list));
    vch_rc rc;
    while ((rc = vch_list_next(&list, &word)) == VCH_OK) {
        vch_slice_t iri;
        vch_word_t ignored;
        if (ret->n == VCH_WORDS_MAX) return VCH_ERR_LIMIT;
        VCH_TRY(vch_field_bytes(word, VCH_F_WORD_IRI, &iri));
        if (vch_word_find(ret, iri, &ignored) == VCH_OK) return VCH_ERR_FORMAT;
        VCH_TRY(get_parents(ret, word));
        ret->iri[ret->n++] = iri;
    }
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

vch_rc vch_word_find(const vch_vocabulary_t *v, vch_slice_t iri, vch_word_t *ret)
{
    for (uint16_t i = 0; i < v->n; i++)
        if (vch_slice_eq(v->iri[i], iri)) {
            *ret = i;
            return VCH_OK;
        }
    return VCH_ERR_NOT_FOUND;
}

bool vch_word_within(const vch_vocabulary_t *v, vch_word_t narrow, vch_word_t broad)
{
    uint8_t above[VCH_WORDS_MAX / 8] = {0};
    if (narrow >= v->n || broad >= v->n) return false;
    vch_bit_set(above, narrow);
    for (int w = narrow; w >= broad; w--) {
        if (!vch_bit(above, (size_t)w)) continue;
        if (w == broad) return true;
        for (uint8_t i = 0; i < v->parents[w]; i++) vch_bit_set(above, v->parent[w][i]);
    }
    return false;
}
