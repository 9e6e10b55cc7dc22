/* SPDX-License-Identifier: Apache-2.0 */
/* Down the lineage: batch -> deployment -> model -> run -> grants. */
#include "node/evidence.h"

#define AT(x) (unsigned long long)(x)

/* ---- runs ----------------------------------------------------------------------- */

static vch_rc take_set(ev_t *ev, ev_run_t *r)
{
    vch_hash_t root;
    vch_buf_t bits;
    VCH_TRY(vch_field_fixed(r->st.fields, VCH_F_RUN_SET_ROOT, root.b, 32));
    VCH_TRY(vch_field_uint(r->st.fields, VCH_F_RUN_COUNT, &r->count));
    vch_buf_init(&bits, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_set_load(ev->l, &root, &bits, ev->err);
    if (rc == VCH_OK) rc = ev_copy(ev, vch_buf_slice(&bits), &r->set);
    vch_buf_free(&bits);
    if (rc == VCH_ERR_NOT_FOUND) {
        vch_fail(ev->err, rc, "the set of rows of the run at entry %llu is not kept in this directory", AT(r->index));
        return vch_hint(ev->err, rc, "make this bundle where the run was executed (its folder sets/)");
    }
    return rc == VCH_OK ? ev_set(ev, r->set) : rc;
}

static vch_rc take_grants(ev_t *ev, ev_run_t *r)
{
    vch_list_t list;
    vch_slice_t item, bytes;
    VCH_TRY(vch_field_list(r->st.fields, VCH_F_RUN_GRANTS, &list));
    size_t n = (size_t)list.left;
    vch_id_t *id = vch_arena_array(&ev->arena, n, sizeof *id), t;
    r->grant = vch_arena_array(&ev->arena, n, sizeof *r->grant);
    if (!id || !r->grant) return ev_no_memory(ev);
    uint64_t *place = vch_arena_array(&ev->arena, n, sizeof *place), p;
    if (!place) return ev_no_memory(ev);
    for (size_t i = 0; i < n && vch_list_next(&list, &item) == VCH_OK; i++) {
        uint32_t statement;
        VCH_TRY(vch_item_bytes(item, &bytes));
        memcpy(t.b, bytes.p, 32);
        VCH_TRY(vch_object_find(ev->l, &t, &p, &statement, ev->err));
        size_t at = i; /* in order of the log, so that one replay serves all */
        for (; at > 0 && place[at - 1] > p; at--) {
            place[at] = place[at - 1];
            id[at] = id[at - 1];
        }
        place[at] = p;
        id[at] = t;
    }
    for (size_t i = 0; i < n; i++) VCH_TRY(ev_access(ev, &id[i], &r->grant[r->grants++]));
    return VCH_OK;
}

typedef struct {
    const vch_id_t *run;
    bool found;
    uint64_t index;
    uint32_t number;
} search_t;

static vch_rc look_for_end(void *ctx, const vch_log_entry_t *e)
{
    search_t *s = ctx;
    vch_kind_t kind;
    vch_statement_t st;
    vch_id_t run;
    VCH_TRY(vch_leaf_kind(&kind, e->record.entry));
    if (kind != VCH_KIND_RUN_END) return VCH_OK;
    for (uint32_t i = 0; i < e->record.count; i++) {
        if (e->record.erased && e->record.erased[i]) continue;
        VCH_TRY(vch_statement_read(&st, e->record.statements[i], NULL));
        VCH_TRY(vch_field_fixed(st.fields, VCH_F_RUNEND_RUN, run.b, 32));
        if (!vch_id_eq(&run, s->run)) continue;
        *s = (search_t){s->run, true, e->index, i};
        return VCH_ERR_INTERRUPTED; /* enough */
    }
    return VCH_OK;
}

static vch_rc take_end(ev_t *ev, ev_run_t *r)
{
    search_t s = {.run = &r->id};
    vch_rc rc = vch_log_replay(ev->l->log, r->index + 1, ev->size, look_for_end, &s, NULL);
    if (!s.found && rc != VCH_OK)
        return vch_fail(ev->err, rc, "the log can't be searched for the end of a run: %s", vch_rc_text(rc));
    if (!s.found) return VCH_OK;
    r->has_end = true;
    return ev_statement(ev, s.index, s.number, &r->end);
}

vch_rc ev_run(ev_t *ev, const vch_id_t *run, ev_run_t *ret)
{
    *ret = (ev_run_t){.id = *run};
    VCH_TRY(ev_object(ev, run, VCH_KIND_RUN, &ret->st, &ret->index));
    VCH_TRY(take_grants(ev, ret));
    if (ret->grants) ret->version = ret->grant[0].version;
    VCH_TRY(take_set(ev, ret));
    return take_end(ev, ret);
}

/* ---- models, batches ---------------------------------------------------------------- */

vch_rc ev_model(ev_t *ev, const vch_id_t *model, ev_model_t *ret)
{
    vch_id_t run;
    *ret = (ev_model_t){.id = *model};
    VCH_TRY(ev_object(ev, model, VCH_KIND_MODEL, &ret->st, &ret->index));
    ret->has_run = vch_field_fixed(ret->st.fields, VCH_F_MODEL_RUN, run.b, 32) == VCH_OK;
    return ret->has_run ? ev_run(ev, &run, &ret->run) : VCH_OK;
}

vch_rc ev_batch(ev_t *ev, const ev_decisions_t *d, ev_batch_t *ret)
{
    uint64_t at;
    vch_id_t deployment, model;
    *ret = (ev_batch_t){0};
    VCH_TRY(ev_object(ev, &d->batch, VCH_KIND_DECISIONS, &ret->st, &ret->index));
    VCH_TRY(vch_field_fixed(ret->st.fields, VCH_F_DECISIONS_DEPLOYMENT, deployment.b, 32));
    VCH_TRY(ev_object(ev, &deployment, VCH_KIND_DEPLOYMENT, &ret->deployment, &at));
    VCH_TRY(vch_field_fixed(ret->deployment.fields, VCH_F_DEPLOYMENT_MODEL, model.b, 32));
    VCH_TRY(ev_model(ev, &model, &ret->model));
    return ev_signers(ev, ev_find_leaf(ev, ret->index)->commit);
}
