/* SPDX-License-Identifier: Apache-2.0 */
/* Withdrawal walks the lineage: which models were trained on rows whose owners
 * have since withdrawn. */
#include "codec/json.h"
#include "node/use.h"

#define MODELS_MAX 100000u

typedef struct {
    vch_id_t id;
    vch_id_t run;
    uint32_t remedies;
    char name[132];
} model_t;

typedef struct {
    model_t *model;
    size_t n, cap;
} models_t;

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

static vch_rc take_model(void *ctx, vch_slice_t key, vch_slice_t value)
{
    models_t *all = ctx;
    vch_model_value_t m;
    VCH_TRY(vch_model_get(&m, value));
    if (!m.proven) return VCH_OK;
    if (all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 64;
        model_t *more = cap <= MODELS_MAX ? vch_resize(all->model, cap * sizeof *more) : NULL;
        if (!more) return VCH_ERR_MEMORY;
        all->model = more;
        all->cap = cap;
    }
    model_t *to = &all->model[all->n++];
    memset(to, 0, sizeof *to);
    memcpy(to->id.b, key.p + 1, 32);
    to->run = m.run;
    to->remedies = m.remedies;
    memcpy(to->name, m.name.p, vch_min(m.name.n, sizeof to->name - 1));
    return VCH_OK;
}

static vch_rc get_value(vch_ledger_t *l, vch_state_key_t key, vch_buf_t *ret, vch_err_t *err)
{
    vch_buf_clear(ret);
    return vch_state_get(l->state, vch_key_slice(&key), ret, err);
}

/* Nothing given any more, or the owner's own withdrawal stands. */
static vch_rc has_withdrawn(vch_ledger_t *l, const vch_id_t *dataset, uint32_t subject, bool *ret, vch_err_t *err)
{
    vch_cell_t cell;
    vch_buf_t value;
    vch_palette_value_t set;
    VCH_TRY(vch_state_cell(l->state, dataset, subject, &cell, err));
    *ret = cell.index == 0;
    if (cell.index == 0) return VCH_OK;
    vch_buf_init(&value, 8192);
    vch_rc rc = get_value(l, vch_key_id_u16('c', dataset->b, cell.index), &value, err);
    if (rc == VCH_OK) rc = vch_palette_get(&set, vch_buf_slice(&value));
    if (rc == VCH_OK) *ret = set.owner_withdrew || set.items == 0;
    vch_buf_free(&value);
    return rc;
}

typedef struct {
    vch_ledger_t *l;
    vch_id_t dataset;
    vch_buf_t bits;
    uint64_t rows;
    vch_buf_t subjects; /* JSON numbers joined by commas */
    vch_err_t *err;
} walk_t;

static vch_rc walk_extent(walk_t *w, const vch_extent_value_t *e, size_t at)
{
    vch_buf_t list;
    vch_rc rc = VCH_OK;
    vch_buf_init(&list, 16u << 20);
    if (!e->contiguous) rc = vch_state_subjects(w->l->state, &e->id, &list, w->err);
    for (uint32_t row = 0; rc == VCH_OK && row < e->count; row++) {
        bool gone;
        uint32_t subject = e->first + row;
        if (!vch_bit(w->bits.p + at, row)) continue;
        if (!e->contiguous) memcpy(&subject, list.p + 4 * (size_t)row, 4);
        rc = has_withdrawn(w->l, &w->dataset, subject, &gone, w->err);
        if (rc != VCH_OK || !gone) continue;
        w->rows++;
        rc = vch_buf_printf(&w->subjects, "%s%u", w->subjects.n ? "," : "", subject);
    }
    vch_buf_free(&list);
    return rc;
}

static vch_rc walk_extents(walk_t *w, uint32_t extents, vch_buf_t *value)
{
    size_t at = 0;
    for (uint32_t i = 0; i < extents; i++) {
        vch_extent_value_t e;
        VCH_TRY(get_value(w->l, vch_key_id_u32('e', w->dataset.b, i), value, w->err));
        VCH_TRY(vch_extent_get(&e, vch_buf_slice(value)));
        if (at + vch_set_bytes(e.count) > w->bits.n)
            return vch_fail(w->err, VCH_ERR_CORRUPT, "a run's kept rows are not its version's");
        VCH_TRY(walk_extent(w, &e, at));
        at += vch_set_bytes(e.count);
    }
    return VCH_OK;
}

static vch_rc walk_run(walk_t *w, const vch_id_t *run_id)
{
    vch_buf_t value;
    vch_run_value_t run;
    vch_version_value_t v = {.extents = 0};
    vch_buf_init(&value, 1u << 16);
    vch_rc rc = get_value(w->l, vch_key_id('r', run_id->b), &value, w->err);
    if (rc == VCH_OK) rc = vch_run_get(&run, vch_buf_slice(&value));
    if (rc == VCH_OK) rc = get_value(w->l, vch_key_id('v', run.version.b), &value, w->err);
    if (rc == VCH_OK) rc = vch_version_get(&v, vch_buf_slice(&value));
    w->dataset = v.dataset;
    vch_buf_clear(&w->bits);
    if (rc == VCH_OK) rc = vch_set_load(w->l, &run.set_root, &w->bits, w->err);
    if (rc == VCH_OK) rc = walk_extents(w, v.extents, &value);
    vch_buf_free(&value);
    return rc;
}

static vch_rc put_model(vch_buf_t *out, const model_t *m, const walk_t *w, bool first)
{
    char hex[65];
    vch_hex(hex, m->id.b, 32);
    VCH_TRY(vch_buf_printf(out, "%s{\"model\":\"%s\",\"name\":", first ? "" : ",", hex));
    VCH_TRY(vch_json_put_string(out, vch_str(m->name)));
    vch_hex(hex, m->run.b, 32);
    VCH_TRY(vch_buf_printf(out, ",\"run\":\"%s\",\"rows withdrawn\":%llu,\"subjects\":[", hex,
                           (unsigned long long)w->rows));
    VCH_TRY(vch_buf_put(out, w->subjects.p, w->subjects.n));
    return vch_buf_printf(out, "],\"remedied\":%s}", m->remedies ? "true" : "false");
}

static vch_rc put_all(vch_ledger_t *l, const models_t *all, vch_buf_t *out, vch_err_t *err)
{
    walk_t w = {.l = l, .err = err};
    bool first = true;
    vch_buf_init(&w.bits, 1u << 30);
    vch_buf_init(&w.subjects, 64u << 20);
    vch_rc rc = vch_buf_u8(out, '[');
    for (size_t i = 0; rc == VCH_OK && i < all->n; i++) {
        w.rows = 0;
        vch_buf_clear(&w.subjects);
        rc = walk_run(&w, &all->model[i].run);
        if (rc != VCH_OK || w.rows == 0) continue;
        rc = put_model(out, &all->model[i], &w, first);
        first = false;
    }
    if (rc == VCH_OK) rc = vch_buf_u8(out, ']');
    vch_buf_free(&w.bits);
    vch_buf_free(&w.subjects);
    return rc;
}

VCH_API vch_rc vch_models_affected(vch_ledger_t *l, vch_text_t *ret_json, vch_err_t *err)
{
    models_t all = {.n = 0};
    vch_buf_t out;
    vch_buf_init(&out, 256u << 20);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_state_each(l->state, 'm', take_model, &all);
    if (rc == VCH_ERR_MEMORY) rc = no_memory(err);
    if (rc == VCH_OK) rc = put_all(l, &all, &out, err);
    vch_ledger_read_end(l);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &out);
    vch_buf_free(&out);
    vch_free(all.model);
    return rc;
}
