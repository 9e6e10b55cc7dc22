/* SPDX-License-Identifier: Apache-2.0 */
/* Erasing subjects: the word on the ledger first, then trustees and custodian
 * forget; and how far that has come. */
#include "node/erasure.h"

#include "entry/holding.h"
#include "node/custody_int.h"
#include "node/node_int.h"
#include "node/vault.h"

/* ---- asking --------------------------------------------------------------------------- */

/* Rows in the clear would stay; say so before anything is promised. */
static vch_rc all_in_vault(vch_ledger_t *l, const dataset_t *ds, const uint32_t *subjects, size_t n, vch_err_t *err)
{
    for (uint32_t e = 0; e < ds->head.extents; e++) {
        vch_subjects_t s;
        bool any = false;
        if (ds->in_vault[e]) continue;
        VCH_TRY(vch_ledger_read_begin(l, err));
        vch_rc rc = vch_subjects_load(&s, l, &ds->id, e, err);
        vch_ledger_read_end(l);
        VCH_TRY(rc);
        for (size_t i = 0; i < n && !any; i++) {
            uint32_t row = 0;
            any = vch_subjects_next(&s, subjects[i], &row);
        }
        vch_subjects_free(&s);
        if (any)
            return vch_fail(err, VCH_ERR_UNSUPPORTED,
                            "extent %u is not in the vault: its rows lie in data/ in the clear, "
                            "and erasing keys would erase nothing",
                            e);
    }
    return VCH_OK;
}

static vch_rc trustees_forget(vch_ledger_t *l, const vch_signer_t *signer, vch_err_t *err)
{
    vch_vault_t *v;
    vch_rc rc = vch_vault_open(&v, l, err);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK; /* trustees elsewhere see the entry for themselves */
    VCH_TRY(rc);
    v->as = signer;
    rc = vch_vault_erase(v, err);
    vch_vault_close(v);
    return rc;
}

/* From the entry on it is on the ledger; what fails then is told, and made good
 * by asking again or by `vault up`. */
static vch_rc request(vch_ledger_t *l, const vch_signer_t *signer, const vch_wallet_t *wallet, const char *dataset,
                      const uint32_t *subjects, const uint32_t *owners, size_t n, vch_receipt_t *ret, vch_err_t *err)
{
    dataset_t ds;
    VCH_TRY(dataset_open(&ds, l, dataset, false, err));
    vch_id_t id = ds.id;
    vch_rc rc = all_in_vault(l, &ds, subjects, n, err);
    dataset_close(&ds);
    VCH_TRY(rc);
    VCH_TRY(nd_say_erase(l, signer, wallet, dataset, subjects, owners, n, ret, err));
    rc = vch_custody_forget(l, &id, err);
    if (rc == VCH_OK) rc = trustees_forget(l, signer, err);
    return rc == VCH_OK ? rc : vch_context(err, rc, "the erasure is on the ledger; carrying it out");
}

vch_rc vch_erasure_request(vch_ledger_t *l, const vch_signer_t *signer, const vch_wallet_t *wallet, const char *dataset,
                           const uint32_t *subjects, const uint32_t *owners, size_t n, vch_receipt_t *ret,
                           vch_err_t *err)
{
    VCH_TRY(vch_here(l, err));
    return nd_told(request(l, signer, wallet, dataset, subjects, owners, n, ret, err), err);
}

/* ---- how far it has come ----------------------------------------------------------------- */

typedef struct {
    vch_ledger_t *l;
    vch_buf_t *b;
    uint32_t extents;          /* that have rows of the subject and lie in the vault */
    uint32_t complete, enough; /* of them: all trustees said so; n - t + 1 at least */
    uint32_t words;            /* of trustees, so far */
    bool grade_a;              /* all of them are of grade A */
    vch_err_t *err;
} status_t;

static vch_rc count_words(status_t *s, const vch_erased_t *one, const vch_hash_t *extent, const vch_holding_t *h,
                          unsigned *ret)
{
    *ret = 0;
    for (unsigned i = 0; i < h->n; i++) {
        vch_buf_t value;
        vch_state_key_t key = vch_destroyed_key(&one->erase, extent, &h->trustee[i]);
        vch_buf_init(&value, 16);
        vch_rc rc = vch_state_get(s->l->state, vch_key_slice(&key), &value, NULL);
        if (rc == VCH_OK) ++*ret, ++s->words;
        if (rc == VCH_OK && (value.n != 1 || value.p[0] != VCH_GRADE_A)) s->grade_a = false;
        vch_buf_free(&value);
        if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    }
    return VCH_OK;
}

static vch_rc put_extent(status_t *s, const vch_erased_t *one, uint32_t number, const vch_hash_t *id, vch_slice_t map)
{
    vch_holding_t h;
    unsigned words;
    VCH_TRY(vch_holding_get(&h, map));
    VCH_TRY(count_words(s, one, id, &h, &words));
    VCH_TRY(vch_buf_printf(s->b, "%s{\"extent\":%u,\"destroyed by\":%u,\"of\":%u,\"provisional at\":%u}",
                           s->extents ? "," : "", number, words, h.n, vch_holding_holders(&h)));
    s->extents++;
    s->enough += words >= vch_holding_holders(&h);
    s->complete += words == h.n;
    return VCH_OK;
}

static vch_rc look_at_extent(status_t *s, const vch_erased_t *one, uint32_t number)
{
    vch_subjects_t subjects;
    vch_buf_t map;
    uint32_t row = 0;
    vch_state_key_t key = vch_key_id_u32('w', one->dataset.b, number);
    VCH_TRY(vch_subjects_load(&subjects, s->l, &one->dataset, number, s->err));
    vch_buf_init(&map, 1u << 18);
    vch_rc rc = VCH_ERR_NOT_FOUND;
    if (vch_subjects_next(&subjects, one->subject, &row))
        rc = vch_state_get(s->l->state, vch_key_slice(&key), &map, NULL);
    if (rc == VCH_OK) rc = put_extent(s, one, number, &subjects.extent.id, vch_buf_slice(&map));
    vch_buf_free(&map);
    vch_subjects_free(&subjects);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc put_one(status_t *s, const vch_erased_t *one)
{
    s->extents = s->complete = s->enough = s->words = 0;
    s->grade_a = true;
    VCH_TRY(vch_buf_printf(s->b, "{\"subject\":%u,\"erase\":", one->subject));
    VCH_TRY(nd_put_hex(s->b, one->erase.b, 32));
    VCH_TRY(vch_buf_printf(s->b, ",\"extents\":["));
    for (uint32_t number = 0; number < one->extents; number++) VCH_TRY(look_at_extent(s, one, number));
    const char *state = s->complete == s->extents ? "complete" : s->enough == s->extents ? "provisional" : "pending";
    const char *grade = s->grade_a ? "A: keys in a token, destroyed there" : "B: files, live copy only";
    return vch_buf_printf(s->b, "],\"state\":\"%s\",\"grade\":\"%s\"}", state, s->words ? grade : "none yet");
}

/* Between read_begin and _end. */
static vch_rc put_all(status_t *s, const vch_id_t *dataset)
{
    vch_erasures_t all;
    bool any = false;
    VCH_TRY(vch_erasures_load(&all, s->l, s->err));
    vch_rc rc = vch_buf_u8(s->b, '[');
    for (size_t i = 0; rc == VCH_OK && i < all.n; i++) {
        if (!vch_id_eq(&all.one[i].dataset, dataset)) continue;
        if (any) rc = vch_buf_u8(s->b, ',');
        if (rc == VCH_OK) rc = put_one(s, &all.one[i]);
        any = true;
    }
    if (rc == VCH_OK) rc = vch_buf_u8(s->b, ']');
    vch_erasures_free(&all);
    return rc;
}

vch_rc vch_erasure_status(vch_ledger_t *l, const char *dataset, vch_text_t *ret_json, vch_err_t *err)
{
    vch_id_t id;
    vch_buf_t b;
    status_t s = {.l = l, .b = &b, .err = err};
    VCH_TRY(vch_here(l, err));
    vch_buf_init(&b, 256u << 20);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_resolve(l, 'd', dataset, &id, err);
    if (rc == VCH_OK) rc = put_all(&s, &id);
    vch_ledger_read_end(l);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    return nd_told(rc, err);
}
