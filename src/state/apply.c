/* SPDX-License-Identifier: Apache-2.0 */
/* One transaction: what holds for every entry, then the rule of its kind for
 * each statement; all of it or nothing. */
#include "state/state_impl.h"

#define NOT_AFTER_AHEAD_MAX_MS 3600000u

static rule_fn rule_of(vch_kind_t kind)
{
    switch (kind) {
    case VCH_KIND_GENESIS:
        return rule_genesis;
    case VCH_KIND_PARTY:
        return rule_party;
    case VCH_KIND_PARTY_KEY:
        return rule_party_key;
    case VCH_KIND_DATASET:
        return rule_dataset;
    case VCH_KIND_VERSION:
        return rule_version;
    case VCH_KIND_TRANSFORM:
        return rule_transform;
    case VCH_KIND_SUBJECTS:
        return rule_subjects;
    case VCH_KIND_TERMS:
        return rule_terms;
    case VCH_KIND_CONSENT:
    case VCH_KIND_WITHDRAW:
    case VCH_KIND_ERASE:
        return rule_consent;
    case VCH_KIND_KEY_DESTROYED:
        return rule_key_destroyed;
    case VCH_KIND_ACCESS:
        return rule_access;
    case VCH_KIND_OWN_ACCESS:
        return rule_own_access;
    case VCH_KIND_RUN:
        return rule_run;
    case VCH_KIND_RUN_END:
        return rule_run_end;
    case VCH_KIND_MODEL:
        return rule_model;
    case VCH_KIND_DEPLOYMENT:
        return rule_deployment;
    case VCH_KIND_DEPLOYMENT_END:
        return rule_deployment_end;
    case VCH_KIND_DECISIONS:
        return rule_decisions;
    case VCH_KIND_REMEDY:
        return rule_remedy;
    case VCH_KIND_STATE_COMMIT:
    case VCH_KIND_OUTCOME:
        break;
    }
    return NULL;
}

vch_rc st_party(vch_state_t *s, const vch_id_t *id, vch_party_value_t *ret, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id('p', id->b);
    vch_slice_t bytes;
    vch_rc rc = st_get(s, &key, &bytes, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, VCH_ERR_REFERENCE, "there is no such party");
    VCH_TRY(rc);
    return vch_party_get(ret, bytes);
}

static vch_rc find_signer(apply_t *a)
{
    vch_state_key_t key = vch_key_id('k', a->p->entry.cose.kid.b);
    vch_slice_t bytes;
    vch_key_value_t value;
    vch_party_value_t party;
    vch_rc rc = st_get(a->s, &key, &bytes, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(a->err, VCH_ERR_KEY, "the entry's key is not registered");
    VCH_TRY(rc);
    VCH_TRY(vch_key_get(&value, bytes));
    if (value.revoked) return vch_fail(a->err, VCH_ERR_KEY, "the entry's key is revoked");
    a->party = value.party;
    VCH_TRY(st_party(a->s, &a->party, &party, a->err));
    a->roles = party.roles;
    return VCH_OK;
}

static vch_rc check_life(const apply_t *a)
{
    const vch_entry_t *e = &a->p->entry;
    if (!e->has_not_after) return VCH_OK;
    if (e->not_after.ms < a->now.ms)
        return vch_fail(a->err, VCH_ERR_EXPIRED, "the entry was valid until %llu, block time is %llu",
                        (unsigned long long)e->not_after.ms, (unsigned long long)a->now.ms);
    if (e->not_after.ms - a->now.ms > NOT_AFTER_AHEAD_MAX_MS)
        return vch_fail(a->err, VCH_ERR_LIMIT, "an entry's not-after may be one hour ahead at most");
    return VCH_OK;
}

static vch_rc take_sequence(apply_t *a)
{
    vch_state_key_t key = vch_key_id('q', a->party.b);
    vch_slice_t bytes;
    vch_sequences_value_t w = {0};
    vch_rc rc = st_get(a->s, &key, &bytes, a->err);
    if (rc != VCH_ERR_NOT_FOUND) {
        VCH_TRY(rc);
        VCH_TRY(vch_sequences_get(&w, bytes));
    }
    uint64_t high = w.high;
    rc = vch_sequences_take(&w, a->p->entry.sequence);
    if (rc != VCH_OK)
        return vch_fail(a->err, rc, "sequence number %llu is used or outside the party's window (highest so far %llu)",
                        (unsigned long long)a->p->entry.sequence, (unsigned long long)high);
    return ST_SET(a->s, &key, vch_sequences_put, &w, a->err);
}

static vch_rc check_role(const apply_t *a)
{
    const vch_schema_t *schema = vch_schema(a->p->entry.kind);
    if (schema->signers == 0 || (schema->signers & a->roles)) return VCH_OK;
    return vch_fail(a->err, VCH_ERR_ROLE, "this party may not sign a %s; allowed: %s", schema->name, schema->who);
}

static vch_rc common_rules(apply_t *a)
{
    if (!vch_hash_eq(&a->p->entry.network, &a->s->info.network))
        return vch_fail(a->err, VCH_ERR_NETWORK, "the entry belongs to another network");
    VCH_TRY(check_life(a));
    VCH_TRY(find_signer(a));
    VCH_TRY(check_role(a));
    return take_sequence(a);
}

static vch_rc apply_statements(apply_t *a)
{
    rule_fn rule = rule_of(a->p->entry.kind);
    if (!rule) return vch_fail(a->err, VCH_ERR_UNSUPPORTED, "this kind can't be submitted");
    for (uint32_t i = 0; i < a->p->tx.count; i++) {
        vch_id_t object = vch_object_id(&a->p->entry.id, (uint16_t)i);
        vch_rc rc = rule(a, &a->p->statement[i], &a->p->leaf[i], &object);
        if (rc == VCH_OK) continue;
        return a->p->tx.count == 1 ? rc : vch_context(a->err, rc, "statement %u", i);
    }
    return VCH_OK;
}

static vch_rc remember_entry(apply_t *a)
{
    uint8_t place[8];
    vch_slice_t known;
    vch_rc rc = st_get_at(a->s, 'I', a->p->entry.id.b, &known, a->err);
    if (rc == VCH_OK) return vch_fail(a->err, VCH_ERR_REPLAY, "the entry is on the ledger already");
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    vch_put_u64(place, a->s->info.applied);
    return st_set_at(a->s, 'I', a->p->entry.id.b, vch_slice(place, 8), a->err);
}

static vch_rc apply_all(apply_t *a)
{
    if (a->p->entry.kind != VCH_KIND_GENESIS) VCH_TRY(common_rules(a));
    VCH_TRY(remember_entry(a));
    return apply_statements(a);
}

static vch_rc check_ready(const vch_state_t *s, const vch_prepared_t *p, vch_time_t time, vch_err_t *err)
{
    if (s->broken) return vch_fail(err, VCH_ERR_INTERNAL, "the state is unusable after a failure; open it again");
    if (!p->verified) return vch_fail(err, VCH_ERR_SIGNATURE, "the transaction's signatures were not verified");
    if (s->info.open_count && time.ms != s->info.time.ms) return vch_fail(err, VCH_ERR_CLOCK, "a block has one time");
    if (time.ms < s->info.time.ms) return vch_fail(err, VCH_ERR_CLOCK, "block time may not run backwards");
    return VCH_OK;
}

vch_rc vch_state_apply(vch_state_t *s, const vch_prepared_t *p, vch_time_t time, vch_buf_t *ret_outcome, vch_err_t *err)
{
    VCH_TRY(check_ready(s, p, time, err));
    vch_arena_reset(&s->scratch);
    size_t outcome_at = ret_outcome->n;
    vch_hash_t network = s->info.network;
    apply_t a = {.s = s, .p = p, .now = time, .outcome = ret_outcome, .err = err};
    vch_rc rc = apply_all(&a);
    if (rc != VCH_OK) {
        st_rollback(s);
        if (s->info.applied == 0) st_forget_vocabulary(s); /* a refused genesis brought it */
        ret_outcome->n = outcome_at;
        s->info.network = network;
        return rc;
    }
    st_accept(s);
    if (s->info.open_count == 0) s->info.open_first = s->info.applied;
    uint64_t leaves = ret_outcome->n > outcome_at ? 2 : 1;
    s->info.applied += leaves;
    s->info.open_count += leaves;
    s->info.time = time;
    return VCH_OK;
}

vch_rc vch_state_try(vch_state_t *s, const vch_prepared_t *p, vch_time_t time, vch_err_t *err)
{
    vch_buf_t outcome;
    vch_hash_t network = s->info.network;
    VCH_TRY(check_ready(s, p, time, err));
    if (p->entry.kind == VCH_KIND_GENESIS) return vch_fail(err, VCH_ERR_UNSUPPORTED, "a genesis is not tried");
    vch_arena_reset(&s->scratch);
    vch_buf_init(&outcome, VCH_ENTRY_BYTES_MAX);
    apply_t a = {.s = s, .p = p, .now = time, .outcome = &outcome, .err = err};
    vch_rc rc = apply_all(&a);
    st_rollback(s);
    s->info.network = network;
    vch_buf_free(&outcome);
    return rc;
}
