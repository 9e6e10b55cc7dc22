/* SPDX-License-Identifier: Apache-2.0 */
/* Grant -> run -> model -> deployment -> decisions, and remedies. */
#include "state/state_impl.h"

/* Read the value of an object that a statement names, or say that it isn't there. */
#define GET_OBJECT(a, tag, id, get, ret, what)                                                                         \
    do {                                                                                                               \
        vch_state_key_t key_ = vch_key_id(tag, (id)->b);                                                               \
        vch_slice_t bytes_;                                                                                            \
        vch_rc rc_ = st_get((a)->s, &key_, &bytes_, (a)->err);                                                         \
        if (rc_ == VCH_ERR_NOT_FOUND) return vch_fail((a)->err, VCH_ERR_REFERENCE, "there is no such %s", what);       \
        VCH_TRY(rc_);                                                                                                  \
        VCH_TRY(get(ret, bytes_));                                                                                     \
    } while (0)

static vch_rc same_party(const apply_t *a, const vch_id_t *party, const char *what)
{
    if (vch_id_eq(party, &a->party)) return VCH_OK;
    return vch_fail(a->err, VCH_ERR_ROLE, "the %s belongs to another party", what);
}

/* ---- runs ---------------------------------------------------------------------------- */

/* What a subject may read of itself is nobody's to train on. */
static vch_rc not_own(apply_t *a, const vch_id_t *id)
{
    vch_rc rc = VCH_OK;
    vch_state_key_t key = vch_key_id('o', id->b);
    if (!st_has(a->s, &key, &rc, a->err)) return rc;
    return vch_fail(a->err, VCH_ERR_ROLE, "this is a subject's own access: no run may use it");
}

static vch_rc check_grant(apply_t *a, const vch_id_t *id, vch_run_value_t *run, bool first, uint64_t *sum)
{
    vch_grant_value_t g;
    VCH_TRY(not_own(a, id));
    GET_OBJECT(a, 'a', id, vch_grant_get, &g, "grant");
    VCH_TRY(same_party(a, &g.party, "grant"));
    if (!g.permit) return vch_fail(a->err, VCH_ERR_DENIED, "the access request was denied: there is no grant");
    if (g.expires.ms < a->now.ms)
        return vch_fail(a->err, VCH_ERR_EXPIRED, "the grant expired at %llu, block time is %llu",
                        (unsigned long long)g.expires.ms, (unsigned long long)a->now.ms);
    if (!first && !vch_id_eq(&run->version, &g.version))
        return vch_fail(a->err, VCH_ERR_CONFLICT, "a run's grants are of one version");
    run->version = g.version;
    *sum += g.count;
    return VCH_OK;
}

static bool names_again(vch_list_t rest, vch_slice_t id)
{
    vch_slice_t item, other;
    while (vch_list_next(&rest, &item) == VCH_OK)
        if (vch_item_bytes(item, &other) == VCH_OK && vch_slice_eq(id, other)) return true;
    return false;
}

/* What a run can have used at most.  Grants may overlap, so this is more than
 * their union: the ledger holds the roots of row sets, never the sets.  That the
 * run's set lies in the union and has as many rows as it says is for whoever has
 * the sets to find out, as the verifier does; keeping a bitmap of each grant here
 * would prove nothing without the run's, and take a megabyte for ten million rows. */
static vch_rc check_count(apply_t *a, const vch_run_value_t *run, uint64_t sum)
{
    vch_version_value_t v;
    GET_OBJECT(a, 'v', &run->version, vch_version_get, &v, "version");
    if (run->count > sum)
        return vch_fail(a->err, VCH_ERR_DENIED, "the run used %llu rows, its grants permit %llu",
                        (unsigned long long)run->count, (unsigned long long)sum);
    if (run->count > v.live)
        return vch_fail(a->err, VCH_ERR_DENIED, "the run used %llu rows, its version has %llu",
                        (unsigned long long)run->count, (unsigned long long)v.live);
    return VCH_OK;
}

static vch_rc check_grants(apply_t *a, vch_slice_t fields, vch_run_value_t *run)
{
    vch_list_t list;
    vch_slice_t item, bytes;
    uint64_t sum = 0; /* no overflow: a run names few grants, a version has at most 2^36 rows */
    bool first = true;
    VCH_TRY(vch_field_list(fields, VCH_F_RUN_GRANTS, &list));
    for (; vch_list_next(&list, &item) == VCH_OK; first = false) {
        vch_id_t id;
        VCH_TRY(vch_item_bytes(item, &bytes));
        if (names_again(list, bytes)) return vch_fail(a->err, VCH_ERR_CONFLICT, "a run names a grant twice");
        memcpy(id.b, bytes.p, 32);
        VCH_TRY(check_grant(a, &id, run, first, &sum));
    }
    return check_count(a, run, sum);
}

vch_rc rule_run(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    vch_run_value_t run = {.party = a->party, .statement = *leaf};
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_RUN_SET_ROOT, run.set_root.b, 32));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_RUN_COUNT, &run.count));
    VCH_TRY(check_grants(a, st->fields, &run));
    vch_state_key_t key = vch_key_id('r', object->b);
    return ST_SET(a->s, &key, vch_run_put, &run, a->err);
}

/* The digests of a run's outputs, joined: what a model may name.  They lie in
 * the index beside the state; run.end, in the state, binds them. */
static vch_rc keep_outputs(apply_t *a, vch_slice_t fields, const vch_id_t *run)
{
    vch_list_t list;
    vch_slice_t item;
    VCH_TRY(vch_field_list(fields, VCH_F_RUNEND_OUTPUTS, &list));
    size_t n = (size_t)list.left;
    uint8_t *joined = vch_arena_alloc(&a->s->scratch, 32 * n);
    if (!joined) return vch_fail(a->err, VCH_ERR_MEMORY, "out of memory");
    for (size_t i = 0; vch_list_next(&list, &item) == VCH_OK; i++)
        VCH_TRY(vch_field_fixed(item, VCH_F_OUTPUT_DIGEST, joined + 32 * i, 32));
    return st_set_at(a->s, 'O', run->b, vch_slice(joined, 32 * n), a->err);
}

vch_rc rule_run_end(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)object;
    vch_id_t id;
    vch_run_value_t run;
    uint64_t status;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_RUNEND_RUN, id.b, 32));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_RUNEND_STATUS, &status));
    GET_OBJECT(a, 'r', &id, vch_run_get, &run, "run");
    VCH_TRY(same_party(a, &run.party, "run"));
    if (run.status != 0) return vch_fail(a->err, VCH_ERR_CONFLICT, "the run has ended already");
    run.status = status == VCH_RUN_COMPLETED ? 1 : 2;
    run.end = *leaf;
    VCH_TRY(keep_outputs(a, st->fields, &id));
    vch_state_key_t key = vch_key_id('r', id.b);
    return ST_SET(a->s, &key, vch_run_put, &run, a->err);
}

/* ---- models ----------------------------------------------------------------------------- */

static vch_rc check_model_run(apply_t *a, const vch_model_value_t *m)
{
    vch_run_value_t run;
    vch_slice_t outputs;
    GET_OBJECT(a, 'r', &m->run, vch_run_get, &run, "run");
    VCH_TRY(same_party(a, &run.party, "run"));
    if (run.status != 1) return vch_fail(a->err, VCH_ERR_CONFLICT, "the model's run has not completed");
    VCH_TRY(st_get_at(a->s, 'O', m->run.b, &outputs, a->err));
    for (size_t i = 0; i + 32 <= outputs.n; i += 32)
        if (memcmp(outputs.p + i, m->digest.b, 32) == 0) return VCH_OK;
    return vch_fail(a->err, VCH_ERR_COMMITMENT, "the model's digest is not among its run's outputs");
}

vch_rc rule_model(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    vch_model_value_t m = {.party = a->party};
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_MODEL_DIGEST, m.digest.b, 32));
    VCH_TRY(vch_field_bytes(st->fields, VCH_F_MODEL_NAME, &m.name));
    vch_rc rc = vch_field_fixed(st->fields, VCH_F_MODEL_RUN, m.run.b, 32);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    m.proven = rc == VCH_OK;
    if (m.proven) VCH_TRY(check_model_run(a, &m));
    vch_state_key_t key = vch_key_id('m', object->b);
    return ST_SET(a->s, &key, vch_model_put, &m, a->err);
}

static vch_rc own_model(apply_t *a, vch_slice_t fields, uint64_t key, vch_id_t *ret_id, vch_model_value_t *ret)
{
    VCH_TRY(vch_field_fixed(fields, key, ret_id->b, 32));
    GET_OBJECT(a, 'm', ret_id, vch_model_get, ret, "model");
    return same_party(a, &ret->party, "model");
}

vch_rc rule_remedy(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    (void)object;
    vch_id_t id;
    vch_model_value_t m;
    VCH_TRY(own_model(a, st->fields, VCH_F_REMEDY_MODEL, &id, &m));
    vch_state_key_t at = vch_key_id_u32('R', id.b, m.remedies), key = vch_key_id('m', id.b);
    VCH_TRY(st_set(a->s, &at, st->fields, a->err));
    m.remedies++;
    return ST_SET(a->s, &key, vch_model_put, &m, a->err);
}

/* ---- deployments and their decisions ------------------------------------------------------ */

vch_rc rule_deployment(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    vch_deployment_value_t d = {.party = a->party, .since = a->now};
    vch_model_value_t m;
    VCH_TRY(own_model(a, st->fields, VCH_F_DEPLOYMENT_MODEL, &d.model, &m));
    vch_state_key_t key = vch_key_id('y', object->b);
    return ST_SET(a->s, &key, vch_deployment_put, &d, a->err);
}

static vch_rc live_deployment(apply_t *a, vch_slice_t fields, uint64_t key, vch_id_t *ret_id,
                              vch_deployment_value_t *ret)
{
    VCH_TRY(vch_field_fixed(fields, key, ret_id->b, 32));
    GET_OBJECT(a, 'y', ret_id, vch_deployment_get, ret, "deployment");
    VCH_TRY(same_party(a, &ret->party, "deployment"));
    return ret->ended ? vch_fail(a->err, VCH_ERR_CONFLICT, "the deployment has ended") : VCH_OK;
}

vch_rc rule_deployment_end(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    (void)object;
    vch_id_t id;
    vch_deployment_value_t d;
    VCH_TRY(live_deployment(a, st->fields, VCH_F_DEPLOYMENTEND_DEPLOYMENT, &id, &d));
    d.ended = true;
    vch_state_key_t key = vch_key_id('y', id.b);
    return ST_SET(a->s, &key, vch_deployment_put, &d, a->err);
}

/* Who logs decisions has a clock of its own, which may be a little off. */
static vch_rc check_times(const apply_t *a, uint64_t from, uint64_t to, vch_time_t since)
{
    if (to < from) return vch_fail(a->err, VCH_ERR_FORMAT, "a batch ends before it begins");
    if (to > a->now.ms && to - a->now.ms > VCH_CLOCK_SKEW_MS)
        return vch_fail(a->err, VCH_ERR_CLOCK, "the batch ends %llu ms after block time, more than %u",
                        (unsigned long long)(to - a->now.ms), VCH_CLOCK_SKEW_MS);
    if (from < since.ms && since.ms - from > VCH_CLOCK_SKEW_MS)
        return vch_fail(a->err, VCH_ERR_CLOCK, "the batch begins %llu ms before its deployment did, more than %u",
                        (unsigned long long)(since.ms - from), VCH_CLOCK_SKEW_MS);
    return VCH_OK;
}

static vch_rc check_batch(apply_t *a, vch_slice_t fields, vch_batch_value_t *b, const vch_deployment_value_t *d)
{
    uint64_t from, to, next;
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_FIRST, &b->first));
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_COUNT, &b->count));
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_LOST, &b->lost));
    VCH_TRY(vch_field_fixed(fields, VCH_F_DECISIONS_ROOT, b->root.b, 32));
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_FROM, &from));
    VCH_TRY(vch_field_uint(fields, VCH_F_DECISIONS_TO, &to));
    VCH_TRY(check_times(a, from, to, d->since));
    if (b->first != d->next)
        return vch_fail(a->err, VCH_ERR_CONFLICT, "the deployment's next decision is %llu, the batch begins at %llu",
                        (unsigned long long)d->next, (unsigned long long)b->first);
    if (__builtin_add_overflow(b->first, b->count, &next) || __builtin_add_overflow(next, b->lost, &next))
        return vch_fail(a->err, VCH_ERR_LIMIT, "decision numbers end at 2^64 - 1");
    return VCH_OK;
}

vch_rc rule_decisions(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    vch_batch_value_t b;
    vch_deployment_value_t d;
    VCH_TRY(live_deployment(a, st->fields, VCH_F_DECISIONS_DEPLOYMENT, &b.deployment, &d));
    VCH_TRY(check_batch(a, st->fields, &b, &d));
    d.next = b.first + b.count + b.lost;
    vch_state_key_t key = vch_key_id('b', object->b), deployment = vch_key_id('y', b.deployment.b);
    VCH_TRY(ST_SET(a->s, &key, vch_batch_put, &b, a->err));
    return ST_SET(a->s, &deployment, vch_deployment_put, &d, a->err);
}
