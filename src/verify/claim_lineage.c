/* SPDX-License-Identifier: Apache-2.0 */
/* grants -> run -> model -> deployment -> batch -> decision, each from the one
 * behind it, down to rows that somebody consented to. */
#include "verify/verify_impl.h"

typedef struct {
    const vfy_leaf_t *leaf;
    vch_hash_t digest;
    char origin[160]; /* where it comes from, for the claim */
} model_t;

typedef struct {
    const vfy_leaf_t *leaf;
    const vfy_statement_t *st;
    uint64_t time_ms, count;
    vfy_blob_t set;
    uint8_t *permitted; /* union of the grants' sets */
    vch_id_t version;
    size_t grants, recomputed;
} run_t;

/* ---- rows ------------------------------------------------------------------------ */

static uint64_t ones(const uint8_t *bits, size_t n)
{
    uint64_t count = 0;
    for (size_t i = 0; i + 8 <= n; i += 8) count += (uint64_t)__builtin_popcountll(vch_get_u64(bits + i));
    return count;
}

static vch_rc add_grant(verify_t *v, run_t *r, const vch_id_t *id)
{
    vfy_access_t a;
    VCH_TRY(vfy_access(v, id, r->leaf, &a));
    VCH_TRY(vfy_same_party(v, r->leaf, a.leaf, "a run and its grant"));
    if (r->grants++ == 0) r->version = a.version;
    if (!vch_id_eq(&r->version, &a.version))
        return vfy_stop(v, VCH_V_F_REFERENCE, "the run's grants are of several versions");
    const vch_outcome_t *o = &a.after->outcome;
    if (!o->permit) return vfy_stop(v, VCH_V_F_REFERENCE, "request %s was denied: there is no grant", SHORT(id));
    if (r->time_ms > o->expires.ms)
        return vfy_stop(v, VCH_V_F_TIME, "grant %s had expired when the run began", SHORT(id));
    const vfy_blob_t *set = vfy_find_set(v, &o->set_root);
    if (!set) return vfy_stop(v, VCH_V_I_MISSING, "the rows of grant %s", SHORT(id));
    if (set->bytes.n != r->set.bytes.n) return vfy_stop(v, VCH_V_F_SUBSET, "run and grant speak of different rows");
    if (ones(set->bytes.p, set->bytes.n) != o->count)
        return vfy_stop(v, VCH_V_F_DECISION, "the rows of grant %s are not as many as it says", SHORT(id));
    for (size_t i = 0; i < set->bytes.n; i++) r->permitted[i] |= set->bytes.p[i];
    r->recomputed += a.recomputed;
    return VCH_OK;
}

static vch_rc check_subset(verify_t *v, const run_t *r, const vch_id_t *id)
{
    for (size_t i = 0; i < r->set.bytes.n; i++)
        if (r->set.bytes.p[i] & ~r->permitted[i])
            return vfy_stop(v, VCH_V_F_SUBSET, "run %s, near row %zu", SHORT(id), 8 * i);
    if (ones(r->set.bytes.p, r->set.bytes.n) != r->count)
        return vfy_stop(v, VCH_V_F_SUBSET, "the rows of run %s are not as many as it says", SHORT(id));
    vfy_link(v, "run %s used %llu rows of version %s, all permitted by its %zu grants", SHORT(id), AT(r->count),
             SHORT(&r->version), r->grants);
    return VCH_OK;
}

static vch_rc check_run(verify_t *v, const vch_id_t *id, const vfy_leaf_t *before, run_t *r)
{
    vch_list_t grants;
    vch_id_t grant;
    VCH_TRY(vfy_find_object(v, id, VCH_KIND_RUN, before, &r->st));
    r->leaf = r->st->leaf;
    VCH_TRY(vfy_time(v, r->leaf, &r->time_ms));
    VCH_TRY(vch_field_fixed(r->st->st.fields, VCH_F_RUN_SET_ROOT, r->set.id.b, 32));
    VCH_TRY(vch_field_uint(r->st->st.fields, VCH_F_RUN_COUNT, &r->count));
    const vfy_blob_t *set = vfy_find_set(v, &r->set.id);
    if (!set) return vfy_stop(v, VCH_V_I_MISSING, "the rows of run %s", SHORT(id));
    r->set = *set;
    r->permitted = vch_arena_alloc(v->arena, set->bytes.n);
    if (!r->permitted) return vfy_no_memory(v);
    VCH_TRY(vch_field_list(r->st->st.fields, VCH_F_RUN_GRANTS, &grants));
    while (vfy_next_id(&grants, &grant) == VCH_OK) VCH_TRY(add_grant(v, r, &grant));
    return check_subset(v, r, id);
}

/* ---- the model ------------------------------------------------------------------------ */

static bool has_output(vch_slice_t fields, const vch_hash_t *digest)
{
    vch_list_t list;
    vch_slice_t item;
    vch_hash_t d;
    uint64_t status;
    if (vch_field_uint(fields, VCH_F_RUNEND_STATUS, &status) != VCH_OK || status != VCH_RUN_COMPLETED) return false;
    if (vch_field_list(fields, VCH_F_RUNEND_OUTPUTS, &list) != VCH_OK) return false;
    while (vch_list_next(&list, &item) == VCH_OK)
        if (vch_field_fixed(item, VCH_F_OUTPUT_DIGEST, d.b, 32) == VCH_OK && vch_hash_eq(&d, digest)) return true;
    return false;
}

/* The run's end stands between run and model and names the model's bytes. */
static vch_rc check_end(verify_t *v, const vch_id_t *run, const run_t *r, const model_t *m)
{
    vch_id_t of;
    const vfy_statement_t *s;
    for (vfy_cursor_t at = {0, 0}; (s = vfy_each(v, &at));) {
        vch_slice_t fields = s->st.fields;
        if (s->st.kind != VCH_KIND_RUN_END) continue;
        if (vch_field_fixed(fields, VCH_F_RUNEND_RUN, of.b, 32) != VCH_OK || !vch_id_eq(&of, run)) continue;
        uint64_t index = s->leaf->index;
        if (index < r->leaf->index || index > m->leaf->index || !has_output(fields, &m->digest))
            return vfy_stop(v, VCH_V_F_REFERENCE, "run %s did not put out this model", SHORT(run));
        VCH_TRY(vfy_same_party(v, r->leaf, s->leaf, "a run and its end"));
        vfy_link(v, "run %s completed and put out %s", SHORT(run), SHORT(&m->digest));
        return VCH_OK;
    }
    return vfy_stop(v, VCH_V_I_MISSING, "the end of run %s", SHORT(run));
}

static vch_rc check_model(verify_t *v, const vch_id_t *id, const vfy_leaf_t *before, model_t *m)
{
    const vfy_statement_t *st;
    vch_slice_t name;
    vch_id_t run;
    run_t r = {0};
    VCH_TRY(vfy_find_object(v, id, VCH_KIND_MODEL, before, &st));
    m->leaf = st->leaf;
    VCH_TRY(vch_field_fixed(st->st.fields, VCH_F_MODEL_DIGEST, m->digest.b, 32));
    VCH_TRY(vch_field_bytes(st->st.fields, VCH_F_MODEL_NAME, &name));
    int n = snprintf(m->origin, sizeof m->origin, "model %s \"%s\"", SHORT(id), vfy_name(name).s);
    size_t at = n > 0 ? (size_t)n : 0, room = sizeof m->origin - at;
    if (vch_field_fixed(st->st.fields, VCH_F_MODEL_RUN, run.b, 32) != VCH_OK) {
        snprintf(m->origin + at, room, ", an unproven import");
        vfy_link(v, "%s", m->origin);
        return VCH_OK;
    }
    VCH_TRY(check_run(v, &run, m->leaf, &r));
    VCH_TRY(vfy_same_party(v, r.leaf, m->leaf, "a run and its model"));
    VCH_TRY(check_end(v, &run, &r, m));
    v->report->recomputed = r.recomputed == r.grants;
    snprintf(m->origin + at, room, ", of run %s on %llu permitted rows", SHORT(&run), AT(r.count));
    vfy_link(v, "%s", m->origin);
    return VCH_OK;
}

vch_rc vfy_claim_lineage(verify_t *v)
{
    model_t m;
    VCH_TRY(check_model(v, &v->claim.id, NULL, &m));
    VCH_TRY(vfy_time(v, m.leaf, &v->report->time_ms));
    vfy_claim(v, "%s", m.origin);
    return VCH_OK;
}

/* ---- decisions --------------------------------------------------------------------------- */

typedef struct {
    uint64_t first, count, from, to, lost;
    vch_hash_t root;
} batch_t;

static vch_rc read_batch(vch_slice_t fields, batch_t *b)
{
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_FIRST, &b->first));
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_COUNT, &b->count));
    VCH_TRY(vch_field_fixed(fields, VCH_F_DECISIONS_ROOT, b->root.b, 32));
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_FROM, &b->from));
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_TO, &b->to));
    return vch_field_uint(fields, VCH_F_DECISIONS_LOST, &b->lost);
}

/* One decision by its path, or the whole batch by its root. */
static vch_rc check_in_batch(verify_t *v, const batch_t *b)
{
    const vfy_claim_t *k = &v->claim;
    vch_hash_t *leaf = vch_arena_array(v->arena, k->leaves, sizeof *leaf), root;
    if (!leaf) return vfy_no_memory(v);
    vch_sha256_leaves(leaf, k->leaf, k->leaves);
    if (k->number < b->first || k->number - b->first >= b->count)
        return vfy_stop(v, VCH_V_F_REFERENCE, "decision %llu is not of this batch", AT(k->number));
    bool whole = k->leaves > 1;
    if (whole && (k->leaves != b->count || k->number != b->first || k->path.n))
        return vfy_stop(v, VCH_V_F_FORMAT, "neither one decision nor the whole batch");
    if (whole) vch_tree_root_in_place(&root, leaf, k->leaves);
    if (whole ? vch_hash_eq(&root, &b->root)
              : vch_inclusion_verify(k->number - b->first, b->count, leaf, vfy_path(k->path), vfy_path_n(k->path),
                                     &b->root))
        return VCH_OK;
    return vfy_stop(v, VCH_V_F_COMMITMENT, "the decisions do not lead to the batch's root");
}

static vch_rc check_decisions(verify_t *v, const batch_t *b, const vch_hash_t *digest)
{
    vch_decision_t d;
    for (size_t i = 0; i < v->claim.leaves; i++) {
        uint64_t number = v->claim.number + i;
        if (vch_decision_get(&d, v->claim.leaf[i]) != VCH_OK || d.sequence != number)
            return vfy_stop(v, VCH_V_F_REFERENCE, "decision %llu is malformed or has another number", AT(number));
        if (d.time.ms < b->from || d.time.ms > b->to)
            return vfy_stop(v, VCH_V_F_TIME, "decision %llu was not made between the batch's times", AT(number));
        if (!vch_hash_eq(&d.model, digest))
            return vfy_stop(v, VCH_V_F_REFERENCE, "decision %llu names another model", AT(number));
        vfy_link(v, "decision %llu is in batch %s and names model %s", AT(number), SHORT(&v->claim.id), SHORT(digest));
    }
    return VCH_OK;
}

vch_rc vfy_claim_decision(verify_t *v)
{
    const vfy_claim_t *k = &v->claim;
    const vfy_statement_t *batch, *deployment;
    vch_id_t id;
    batch_t b;
    model_t m;
    VCH_TRY(vfy_find_object(v, &k->id, VCH_KIND_DECISIONS, NULL, &batch));
    VCH_TRY(vfy_time(v, batch->leaf, &v->report->time_ms));
    VCH_TRY(read_batch(batch->st.fields, &b));
    if (b.to > v->report->time_ms && b.to - v->report->time_ms > VCH_CLOCK_SKEW_MS)
        return vfy_stop(v, VCH_V_F_TIME, "the batch ends after its own block");
    VCH_TRY(vch_field_fixed(batch->st.fields, VCH_F_DECISIONS_DEPLOYMENT, id.b, 32));
    VCH_TRY(vfy_find_object(v, &id, VCH_KIND_DEPLOYMENT, batch->leaf, &deployment));
    VCH_TRY(vfy_same_party(v, batch->leaf, deployment->leaf, "a batch and its deployment"));
    vfy_link(v, "batch %s is of deployment %s; %llu decisions are lost", SHORT(&k->id), SHORT(&id), AT(b.lost));
    VCH_TRY(check_in_batch(v, &b));
    VCH_TRY(vch_field_fixed(deployment->st.fields, VCH_F_DEPLOYMENT_MODEL, id.b, 32));
    VCH_TRY(check_model(v, &id, deployment->leaf, &m));
    VCH_TRY(vfy_same_party(v, deployment->leaf, m.leaf, "a deployment and its model"));
    vfy_claim(v, "%zu decision%s from %llu on, batch %s, by %s", k->leaves, k->leaves == 1 ? "" : "s", AT(k->number),
              SHORT(&k->id), m.origin);
    return check_decisions(v, &b, &m.digest);
}
