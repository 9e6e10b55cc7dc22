/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what was erased from the state. */
#include "node/erasure.h"

#include <stdlib.h>

/* ---- erasures ------------------------------------------------------------------------ */

static vch_rc take_one(void *ctx, vch_slice_t key, vch_slice_t value)
{
    vch_erasures_t *e = ctx;
    vch_erasure_value_t v;
    if (key.n != 37) return VCH_ERR_CORRUPT;
    VCH_TRY(vch_erasure_get(&v, value));
    if (e->n == e->cap) {
        size_t cap = e->cap ? 2 * e->cap : 64;
        vch_erased_t *more = vch_resize(e->one, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        e->one = more;
        e->cap = cap;
    }
    vch_erased_t *one = &e->one[e->n++];
    memcpy(one->dataset.b, key.p + 1, 32);
    one->subject = vch_get_u32(key.p + 33);
    one->erase = v.erase;
    one->extents = v.extents;
    return VCH_OK;
}

static int by_place(const void *a, const void *b)
{
    const vch_erased_t *x = a, *y = b;
    int order = memcmp(x->dataset.b, y->dataset.b, 32);
    if (order) return order;
    return x->subject < y->subject ? -1 : x->subject > y->subject;
}

vch_rc vch_erasures_load(vch_erasures_t *ret, vch_ledger_t *l, vch_err_t *err)
{
    *ret = (vch_erasures_t){NULL, 0, 0};
    vch_rc rc = vch_state_each(l->state, 'z', take_one, ret);
    if (rc != VCH_OK) {
        vch_erasures_free(ret);
        return vch_fail(err, rc, "what was erased can't be read: %s", vch_rc_text(rc));
    }
    if (ret->n) qsort(ret->one, ret->n, sizeof *ret->one, by_place);
    return VCH_OK;
}

void vch_erasures_free(vch_erasures_t *e)
{
    vch_free(e->one);
    *e = (vch_erasures_t){NULL, 0, 0};
}

/* ---- rows of a subject ------------------------------------------------------------------ */

vch_rc vch_subjects_load(vch_subjects_t *ret, vch_ledger_t *l, const vch_id_t *dataset, uint32_t extent, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id_u32('e', dataset->b, extent);
    vch_buf_t value;
    *ret = (vch_subjects_t){.extent = {.count = 0}};
    vch_buf_init(&ret->listed, 4u * VCH_EXTENT_ROWS_MAX);
    vch_buf_init(&value, 4096);
    vch_rc rc = vch_state_get(l->state, vch_key_slice(&key), &value, NULL);
    if (rc == VCH_OK) rc = vch_extent_get(&ret->extent, vch_buf_slice(&value));
    vch_buf_free(&value);
    if (rc == VCH_OK && !ret->extent.contiguous) {
        rc = vch_state_subjects(l->state, &ret->extent.id, &ret->listed, NULL);
        if (rc == VCH_OK && ret->listed.n != 4 * (size_t)ret->extent.count) rc = VCH_ERR_CORRUPT;
    }
    if (rc == VCH_OK) return rc;
    vch_subjects_free(ret);
    return vch_fail(err, rc, "the subjects of extent %u can't be read: %s", extent, vch_rc_text(rc));
}

void vch_subjects_free(vch_subjects_t *s) { vch_buf_free(&s->listed); }

uint32_t vch_subjects_of_row(const vch_subjects_t *s, uint32_t row)
{
    uint32_t subject;
    if (s->extent.contiguous) return s->extent.first + row;
    memcpy(&subject, s->listed.p + 4 * (size_t)row, 4);
    return subject;
}

bool vch_subjects_next(const vch_subjects_t *s, uint32_t subject, uint32_t *row)
{
    if (s->extent.contiguous) {
        if (subject < s->extent.first || subject - s->extent.first >= s->extent.count) return false;
        if (subject - s->extent.first < *row) return false;
        *row = subject - s->extent.first;
        return true;
    }
    for (; *row < s->extent.count; ++*row)
        if (vch_subjects_of_row(s, *row) == subject) return true;
    return false;
}
