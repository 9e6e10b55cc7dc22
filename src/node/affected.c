/* SPDX-License-Identifier: Apache-2.0 */
/* Withdrawal walks the lineage: which models were trained on rows whose owners
 * have since withdrawn.
 *
 * A row is withdrawn when the consents of today would not have permitted its
 * use on the day of the run's grants.  So the mere end of a consent's term is
 * no withdrawal, and neither is one of two consents that both allow the use;
 * an objection is. */
#include "codec/json.h"
#include "node/node_int.h"
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

typedef struct {
    vch_ledger_t *l;
    uint64_t grant_life;
    vch_id_t dataset;
    vch_buf_t trained;  /* rows of the run */
    vch_buf_t allowed;  /* by today's consents */
    vch_buf_t granted;  /* the union of its grants' sets */
    vch_buf_t subjects; /* bit set of those withdrawn */
    vch_buf_t value;
    bool exact; /* the run's own set is here; else its grants' are taken */
    uint64_t rows;
    vch_err_t *err;
} walk_t;

static vch_rc merge(vch_buf_t *to, const vch_buf_t *from)
{
    if (to->n == 0) return vch_buf_put(to, from->p, from->n);
    if (to->n != from->n) return VCH_ERR_CORRUPT;
    for (size_t i = 0; i < from->n; i++) to->p[i] |= from->p[i];
    return VCH_OK;
}

static vch_rc add_grant(walk_t *w, const vch_id_t *id, vch_buf_t *bits)
{
    vch_grant_value_t g;
    uint64_t count;
    vch_rule_t rule;
    VCH_TRY(get_value(w->l, vch_key_id('a', id->b), &w->value, w->err));
    VCH_TRY(vch_grant_get(&g, vch_buf_slice(&w->value)));
    vch_time_t then = {g.expires.ms - vch_min(g.expires.ms, w->grant_life)};
    VCH_TRY(vch_state_permitted(w->l->state, &g.version, &g.party, g.purpose, g.processing, then, bits, &count, &rule,
                                w->err));
    VCH_TRY(merge(&w->allowed, bits));
    vch_buf_clear(bits);
    VCH_TRY(vch_state_bitmap(w->l->state, id, bits, w->err));
    return merge(&w->granted, bits);
}

static vch_rc add_grants(walk_t *w, const vch_id_t *run)
{
    vch_arena_t arena;
    vch_buf_t bits;
    vch_statement_t st;
    vch_list_t list;
    vch_slice_t item, id;
    vch_arena_init(&arena, VCH_TX_BYTES_MAX * 4);
    vch_buf_init(&bits, 1u << 30);
    vch_rc rc = vch_object_read(w->l, run, &arena, &st, NULL, w->err);
    if (rc == VCH_OK) rc = vch_field_list(st.fields, VCH_F_RUN_GRANTS, &list);
    while (rc == VCH_OK && vch_list_next(&list, &item) == VCH_OK) {
        vch_id_t grant;
        vch_buf_clear(&bits);
        rc = vch_item_bytes(item, &id);
        if (rc == VCH_OK) memcpy(grant.b, id.p, 32);
        if (rc == VCH_OK) rc = add_grant(w, &grant, &bits);
    }
    vch_buf_free(&bits);
    vch_arena_free(&arena);
    return rc;
}

/* The rows that the run said it used, or else all that it might have. */
static vch_rc load_trained(walk_t *w, const vch_hash_t *set_root)
{
    vch_rc rc = vch_set_load(w->l, set_root, &w->trained, w->err);
    w->exact = rc == VCH_OK;
    if (rc == VCH_ERR_NOT_FOUND) rc = vch_buf_put(&w->trained, w->granted.p, w->granted.n);
    if (rc == VCH_OK && (w->trained.n != w->allowed.n || w->granted.n != w->allowed.n)) rc = VCH_ERR_CORRUPT;
    return rc == VCH_ERR_CORRUPT ? vch_fail(w->err, rc, "a run's rows are not its version's") : rc;
}

static vch_rc walk_extent(walk_t *w, const vch_extent_value_t *e, size_t at)
{
    vch_buf_t list;
    vch_rc rc = VCH_OK;
    vch_buf_init(&list, 1u << 30);
    if (!e->contiguous) rc = vch_state_subjects(w->l->state, &e->id, &list, w->err);
    for (uint32_t row = 0; rc == VCH_OK && row < e->count; row++) {
        uint32_t subject = e->first + row;
        if (!vch_bit(w->trained.p + at, row) || vch_bit(w->allowed.p + at, row)) continue;
        if (!e->contiguous) memcpy(&subject, list.p + 4 * (size_t)row, 4);
        if (subject / 8 >= w->subjects.n) rc = vch_fail(w->err, VCH_ERR_CORRUPT, "a row's subject does not exist");
        if (rc == VCH_OK) vch_bit_set(w->subjects.p, subject);
        w->rows++;
    }
    vch_buf_free(&list);
    return rc;
}

static vch_rc walk_extents(walk_t *w, uint32_t extents)
{
    size_t at = 0;
    vch_dataset_value_t d;
    uint8_t *bits;
    VCH_TRY(get_value(w->l, vch_key_id('d', w->dataset.b), &w->value, w->err));
    VCH_TRY(vch_dataset_get(&d, vch_buf_slice(&w->value)));
    VCH_TRY(vch_buf_extend(&w->subjects, (size_t)d.subjects / 8 + 1, &bits));
    memset(bits, 0, (size_t)d.subjects / 8 + 1);
    for (uint32_t i = 0; i < extents; i++) {
        vch_extent_value_t e;
        VCH_TRY(get_value(w->l, vch_key_id_u32('e', w->dataset.b, i), &w->value, w->err));
        VCH_TRY(vch_extent_get(&e, vch_buf_slice(&w->value)));
        if (at + vch_set_bytes(e.count) > w->trained.n)
            return vch_fail(w->err, VCH_ERR_CORRUPT, "a run's rows are not its version's");
        VCH_TRY(walk_extent(w, &e, at));
        at += vch_set_bytes(e.count);
    }
    return VCH_OK;
}

static vch_rc walk_run(walk_t *w, const vch_id_t *run_id)
{
    vch_run_value_t run;
    vch_version_value_t v;
    w->rows = 0;
    vch_buf_clear(&w->trained);
    vch_buf_clear(&w->allowed);
    vch_buf_clear(&w->granted);
    vch_buf_clear(&w->subjects);
    VCH_TRY(get_value(w->l, vch_key_id('r', run_id->b), &w->value, w->err));
    VCH_TRY(vch_run_get(&run, vch_buf_slice(&w->value)));
    VCH_TRY(get_value(w->l, vch_key_id('v', run.version.b), &w->value, w->err));
    VCH_TRY(vch_version_get(&v, vch_buf_slice(&w->value)));
    w->dataset = v.dataset;
    VCH_TRY(add_grants(w, run_id));
    VCH_TRY(load_trained(w, &run.set_root));
    return walk_extents(w, v.extents);
}

static vch_rc put_subjects(vch_buf_t *out, const vch_buf_t *bits)
{
    const char *before = "";
    for (size_t i = 0; i < bits->n * 8; i++) {
        if (!vch_bit(bits->p, i)) continue;
        VCH_TRY(vch_buf_printf(out, "%s%zu", before, i));
        before = ",";
    }
    return VCH_OK;
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
    VCH_TRY(put_subjects(out, &w->subjects));
    return vch_buf_printf(out, "],\"remedied\":%s,\"exact\":%s}", m->remedies ? "true" : "false",
                          w->exact ? "true" : "false");
}

static vch_rc read_life(walk_t *w)
{
    VCH_TRY(get_value(w->l, vch_key_plain('g'), &w->value, w->err));
    return vch_field_uint(vch_buf_slice(&w->value), VCH_F_GENESIS_GRANT_LIFE, &w->grant_life);
}

static vch_rc put_all(vch_ledger_t *l, const models_t *all, vch_buf_t *out, vch_err_t *err)
{
    walk_t w = {.l = l, .err = err};
    bool first = true;
    vch_buf_t *const buffer[] = {&w.trained, &w.allowed, &w.granted, &w.subjects, &w.value};
    for (size_t i = 0; i < 5; i++) vch_buf_init(buffer[i], 1u << 30);
    vch_rc rc = vch_buf_u8(out, '[');
    if (rc == VCH_OK) rc = read_life(&w);
    for (size_t i = 0; rc == VCH_OK && i < all->n; i++) {
        rc = walk_run(&w, &all->model[i].run);
        if (rc != VCH_OK || w.rows == 0) continue;
        rc = put_model(out, &all->model[i], &w, first);
        first = false;
    }
    if (rc == VCH_OK) rc = vch_buf_u8(out, ']');
    for (size_t i = 0; i < 5; i++) vch_buf_free(buffer[i]);
    return rc;
}

VCH_API vch_rc vch_models_affected(vch_ledger_t *l, vch_text_t *ret_json, vch_err_t *err)
{
    models_t all = {.n = 0};
    vch_buf_t out;
    if (l->remote) return nd_remote_affected(l, ret_json, err);
    vch_buf_init(&out, 256u << 20);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_state_each(l->state, 'm', take_model, &all);
    if (rc == VCH_ERR_MEMORY) rc = no_memory(err);
    if (rc == VCH_OK) rc = put_all(l, &all, &out, err);
    vch_ledger_read_end(l);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &out);
    vch_buf_free(&out);
    vch_free(all.model);
    return nd_told(rc, err);
}
