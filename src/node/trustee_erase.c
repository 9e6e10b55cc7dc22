/* SPDX-License-Identifier: Apache-2.0 */
/* Erasures: the seeds above an erased subject's rows make way for those around
 * them, and then the trustee says so under its own key. */
#include <stdlib.h>

#include "codec/cbor.h"
#include "node/erasure.h"
#include "node/node_int.h"
#include "node/trustee_int.h"

#define FORGET_AT_ONCE 65536u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- forgetting ---------------------------------------------------------------------------- */

typedef struct {
    vch_trustee_t *t;
    const vch_erasures_t *all;
    vch_forget_t *leaf;
    size_t n;
    vch_err_t *err;
} eraser_t;

static vch_rc forget_now(eraser_t *e)
{
    vch_rc rc = tr_keep_hashes(e->t, e->leaf, e->n, e->err);
    if (rc == VCH_OK && e->n) rc = vch_seeds_forget(e->t->seeds, e->leaf, e->n, NULL, e->err);
    e->n = 0;
    return rc;
}

static int by_leaf(const void *a, const void *b)
{
    const vch_forget_t *x = a, *y = b;
    return x->leaf < y->leaf ? -1 : x->leaf > y->leaf;
}

static vch_rc add_row(eraser_t *e, const vch_hash_t *extent, unsigned groups, uint32_t row)
{
    for (unsigned g = 0; g < groups; g++)
        e->leaf[e->n++] = (vch_forget_t){.extent = *extent, .leaf = vch_kt_leaf(g, row)};
    if (e->n + VCH_KT_GROUPS_MAX <= FORGET_AT_ONCE) return VCH_OK;
    qsort(e->leaf, e->n, sizeof *e->leaf, by_leaf);
    return forget_now(e);
}

/* Erasures [from, to) are of one dataset; those that reach this extent. */
static vch_rc erase_in_extent(eraser_t *e, size_t from, size_t to, uint32_t number, unsigned groups,
                              const vch_subjects_t *s)
{
    for (size_t i = from; i < to; i++) {
        const vch_erased_t *one = &e->all->one[i];
        if (number >= one->extents) continue;
        for (uint32_t row = 0; vch_subjects_next(s, one->subject, &row); row++)
            VCH_TRY(add_row(e, &s->extent.id, groups, row));
    }
    if (e->n) qsort(e->leaf, e->n, sizeof *e->leaf, by_leaf);
    return forget_now(e);
}

static vch_rc load_subjects(eraser_t *e, const vch_id_t *dataset, uint32_t number, vch_subjects_t *ret)
{
    VCH_TRY(vch_ledger_read_begin(e->t->l, e->err));
    vch_rc rc = vch_subjects_load(ret, e->t->l, dataset, number, e->err);
    vch_ledger_read_end(e->t->l);
    return rc;
}

static vch_rc erase_in_dataset(eraser_t *e, size_t from, size_t to)
{
    uint32_t extents = 0;
    for (size_t i = from; i < to; i++)
        if (e->all->one[i].extents > extents) extents = e->all->one[i].extents;
    for (uint32_t number = 0; number < extents; number++) {
        vch_subjects_t s;
        vch_tree_about_t about;
        uint8_t position;
        VCH_TRY(load_subjects(e, &e->all->one[from].dataset, number, &s));
        vch_rc rc = vch_seeds_about(e->t->seeds, &s.extent.id, &about, &position, NULL, e->err);
        if (rc == VCH_OK) rc = erase_in_extent(e, from, to, number, about.groups, &s);
        if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK; /* nothing of it is held here */
        vch_subjects_free(&s);
        VCH_TRY(rc);
    }
    return VCH_OK;
}

static vch_rc erase_all(eraser_t *e)
{
    const vch_erasures_t *all = e->all;
    e->leaf = vch_alloc_array(FORGET_AT_ONCE, sizeof *e->leaf);
    if (!e->leaf) return no_memory(e->err);
    vch_rc rc = VCH_OK;
    for (size_t from = 0, to; rc == VCH_OK && from < all->n; from = to) {
        for (to = from + 1; to < all->n && vch_id_eq(&all->one[to].dataset, &all->one[from].dataset);) to++;
        rc = erase_in_dataset(e, from, to);
    }
    vch_free(e->leaf);
    return rc;
}

static vch_rc load_erasures(vch_trustee_t *t, vch_erasures_t *ret, vch_err_t *err)
{
    vch_state_info_t info;
    VCH_TRY(vch_ledger_read_begin(t->l, err));
    vch_state_info(t->l->state, &info);
    vch_rc rc = vch_erasures_load(ret, t->l, err);
    vch_ledger_read_end(t->l);
    t->looked_at = rc == VCH_OK ? info.applied : 0;
    return rc;
}

static vch_rc nothing_new(vch_trustee_t *t, bool *ret, vch_err_t *err)
{
    vch_state_info_t info;
    VCH_TRY(vch_ledger_read_begin(t->l, err));
    vch_state_info(t->l->state, &info);
    vch_ledger_read_end(t->l);
    *ret = t->looked_at == info.applied;
    return VCH_OK;
}

/* All of them, each time the ledger moved on and each time the trustee is
 * opened, whatever state its folder is in; what is forgotten already costs no write. */
vch_rc tr_catch_up(vch_trustee_t *t, vch_err_t *err)
{
    vch_erasures_t all;
    bool done;
    VCH_TRY(nothing_new(t, &done, err));
    if (done) return VCH_OK;
    VCH_TRY(load_erasures(t, &all, err));
    eraser_t e = {.t = t, .all = &all, .err = err};
    vch_rc rc = all.n ? erase_all(&e) : VCH_OK;
    vch_erasures_free(&all);
    if (rc != VCH_OK) t->looked_at = 0;
    return rc;
}

/* ---- saying so ----------------------------------------------------------------------------------- */

static vch_rc said(vch_trustee_t *t, const vch_id_t *erase, const vch_hash_t *extent, bool *ret, vch_err_t *err)
{
    vch_state_key_t key = vch_destroyed_key(erase, extent, &t->id);
    vch_buf_t value;
    vch_buf_init(&value, 16);
    VCH_TRY(vch_ledger_read_begin(t->l, err));
    vch_rc rc = vch_state_get(t->l->state, vch_key_slice(&key), &value, NULL);
    vch_ledger_read_end(t->l);
    vch_buf_free(&value);
    *ret = rc == VCH_OK;
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

/* Extents held here that have a row of the erased subject and no word yet. */
static vch_rc find_unsaid(eraser_t *e, const vch_erased_t *one, vch_hash_t *ret, size_t max, size_t *ret_n)
{
    *ret_n = 0;
    for (uint32_t number = 0; number < one->extents && *ret_n < max; number++) {
        vch_subjects_t s;
        vch_tree_about_t about;
        uint8_t position;
        uint32_t row = 0;
        bool done = true;
        VCH_TRY(load_subjects(e, &one->dataset, number, &s));
        vch_rc rc = VCH_ERR_NOT_FOUND;
        if (vch_subjects_next(&s, one->subject, &row))
            rc = vch_seeds_about(e->t->seeds, &s.extent.id, &about, &position, NULL, e->err);
        if (rc == VCH_OK) rc = said(e->t, &one->erase, &s.extent.id, &done, e->err);
        if (!done) ret[(*ret_n)++] = s.extent.id;
        vch_subjects_free(&s);
        if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    }
    return VCH_OK;
}

static vch_rc put_word(vch_buf_t *b, const vch_id_t *erase, const vch_hash_t *extent, size_t n, unsigned grade)
{
    VCH_TRY(vch_cbor_map(b, 3));
    VCH_TRY(vch_cbor_uint(b, VCH_F_DESTROYED_ERASE));
    VCH_TRY(vch_cbor_bytes(b, erase->b, 32));
    VCH_TRY(vch_cbor_uint(b, VCH_F_DESTROYED_EXTENTS));
    VCH_TRY(vch_cbor_array(b, n));
    for (size_t i = 0; i < n; i++) VCH_TRY(vch_cbor_bytes(b, extent[i].b, 32));
    VCH_TRY(vch_cbor_uint(b, VCH_F_DESTROYED_GRADE));
    return vch_cbor_uint(b, grade);
}

#define EXTENTS_A_WORD 1024u

static vch_rc say(eraser_t *e, const vch_erased_t *one, const vch_hash_t *extent, size_t n, unsigned grade)
{
    vch_receipt_t receipt;
    vch_buf_t b;
    if (n == 0) return VCH_OK;
    vch_buf_init(&b, 1u << 16);
    vch_rc rc = put_word(&b, &one->erase, extent, n, grade);
    vch_slice_t fields = vch_buf_slice(&b);
    rc = rc == VCH_OK ? vch_ledger_write(e->t->home, e->t->key, VCH_KIND_KEY_DESTROYED, &fields, 1, &receipt, e->err)
                      : vch_fail(e->err, rc, "the word that keys were destroyed can't be written");
    vch_buf_free(&b);
    return rc;
}

/* Extents whose seeds were at no time but under a token come first. */
static size_t part(vch_trustee_t *t, vch_hash_t *extent, size_t n)
{
    size_t a = 0;
    for (size_t i = 0; i < n; i++) {
        if (!vch_seeds_destroys(t->seeds, &extent[i])) continue;
        vch_hash_t moved = extent[a];
        extent[a++] = extent[i];
        extent[i] = moved;
    }
    return a;
}

static vch_rc say_one(eraser_t *e, const vch_erased_t *one, vch_hash_t *extent)
{
    size_t n;
    VCH_TRY(find_unsaid(e, one, extent, EXTENTS_A_WORD, &n));
    size_t a = part(e->t, extent, n);
    VCH_TRY(say(e, one, extent, a, VCH_GRADE_A));
    return say(e, one, extent + a, n - a, VCH_GRADE_B);
}

vch_rc vch_trustee_erase(vch_trustee_t *t, vch_err_t *err)
{
    vch_erasures_t all;
    eraser_t e = {.t = t, .err = err};
    VCH_TRY(tr_catch_up(t, err));
    VCH_TRY(load_erasures(t, &all, err));
    vch_hash_t *extent = vch_alloc_array(EXTENTS_A_WORD, sizeof *extent);
    vch_rc rc = extent ? VCH_OK : no_memory(err);
    for (size_t i = 0; rc == VCH_OK && i < all.n; i++) rc = say_one(&e, &all.one[i], extent);
    vch_free(extent);
    vch_erasures_free(&all);
    t->looked_at = 0; /* its own words moved the ledger on */
    return rc;
}
