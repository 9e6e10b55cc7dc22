/* SPDX-License-Identifier: Apache-2.0 */
/* Access requests: decide once per palette index in use, then look rows up. */
#include "state/state_impl.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- vocabulary and terms, read once --------------------------------------------- */

static vch_rc read_vocabulary(vch_state_t *s, vch_slice_t genesis, vch_err_t *err)
{
    vch_rc rc = vch_vocabulary_get(s->purposes, genesis, VCH_F_GENESIS_PURPOSES);
    if (rc == VCH_OK) rc = vch_vocabulary_get(s->processings, genesis, VCH_F_GENESIS_PROCESSINGS);
    if (rc == VCH_OK) return rc;
    return vch_fail(err, rc,
                    "the vocabulary in genesis is not one: a parent must stand before its child, each word once");
}

void st_forget_vocabulary(vch_state_t *s)
{
    vch_free(s->purposes);
    vch_free(s->processings);
    vch_free(s->genesis);
    s->purposes = s->processings = NULL;
    s->genesis = NULL;
}

vch_rc st_vocabulary(vch_state_t *s, vch_err_t *err)
{
    if (s->purposes) return VCH_OK;
    vch_state_key_t key = vch_key_plain('g');
    vch_slice_t genesis;
    VCH_TRY(st_get(s, &key, &genesis, err));
    s->purposes = vch_alloc(sizeof *s->purposes);
    s->processings = vch_alloc(sizeof *s->processings);
    s->genesis = vch_alloc(genesis.n);
    vch_rc rc = s->purposes && s->processings && s->genesis ? VCH_OK : no_memory(err);
    if (rc == VCH_OK) {
        memcpy(s->genesis, genesis.p, genesis.n);
        rc = read_vocabulary(s, vch_slice(s->genesis, genesis.n), err);
    }
    if (rc == VCH_OK) rc = vch_field_uint(genesis, VCH_F_GENESIS_GRANT_LIFE, &s->grant_life_ms);
    if (rc != VCH_OK) st_forget_vocabulary(s);
    return rc;
}

vch_rc st_terms(vch_state_t *s, const vch_hash_t *hash, const vch_terms_t **ret, vch_err_t *err)
{
    terms_node_t **head = &s->terms[vch_get_u16(hash->b) % TERMS_BUCKETS];
    for (const terms_node_t *t = *head; t; t = t->next)
        if (vch_hash_eq(&t->terms.hash, hash)) {
            *ret = &t->terms;
            return VCH_OK;
        }
    vch_state_key_t key = vch_key_id('t', hash->b);
    vch_slice_t document;
    VCH_TRY(st_get(s, &key, &document, err));
    terms_node_t *t = vch_alloc(sizeof *t);
    if (!t) return no_memory(err);
    vch_rc rc = vch_terms_read(&t->terms, document, s->purposes, s->processings, err);
    if (rc != VCH_OK) {
        vch_free(t);
        return rc;
    }
    t->next = *head;
    *head = t;
    *ret = &t->terms;
    return VCH_OK;
}

typedef struct {
    vch_state_t *s;
    vch_rc rc; /* the first failure of a look-up: the whole decision then fails */
    vch_err_t *err;
} lookup_t;

static const vch_terms_t *find_terms(void *ctx, const vch_hash_t *hash)
{
    lookup_t *l = ctx;
    const vch_terms_t *t = NULL;
    vch_rc rc = st_terms(l->s, hash, &t, l->err);
    if (rc != VCH_OK && l->rc == VCH_OK) l->rc = rc;
    return t;
}

/* ---- which palette entries permit ---------------------------------------------------- */

typedef struct {
    uint8_t allow[8192];
    uint8_t rule[65536];
} table_t;

static vch_rc decide_palette(vch_state_t *s, const column_t *c, const vch_request_t *r, table_t *t, vch_err_t *err)
{
    lookup_t l = {.s = s, .err = err};
    static const vch_palette_value_t nothing;
    for (uint32_t i = 0; i <= c->palette_n; i++) {
        if (i && c->refs[i] == 0) continue;
        vch_verdict_t v;
        vch_decide(&v, i ? &c->palette[i] : &nothing, r, s->purposes, s->processings, find_terms, &l);
        VCH_TRY(l.rc);
        if (v.permit) vch_bit_set(t->allow, i);
        t->rule[i] = (uint8_t)v.rule;
    }
    return VCH_OK;
}

/* ---- rows ------------------------------------------------------------------------------ */

/* A list or bitmap in the index, a slot that was not compared yet with what
 * the state says of it (once is enough, it stays in memory) or NULL. */
static vch_rc get_derived(vch_state_t *s, char space, const void *id32, vch_slice_t *ret, slot_t **ret_unchecked,
                          vch_err_t *err)
{
    slot_t *slot = NULL;
    VCH_TRY(st_slot_at(s, space, id32, &slot, err));
    if (!slot->there) return VCH_ERR_NOT_FOUND;
    *ret = vch_slice(slot->value, slot->n);
    *ret_unchecked = slot->checked ? NULL : slot;
    return VCH_OK;
}

static vch_rc load_subjects(vch_state_t *s, st_part_t *p, vch_err_t *err)
{
    vch_slice_t list = {0};
    slot_t *unchecked = NULL;
    if (p->extent.contiguous) return VCH_OK;
    VCH_TRY(get_derived(s, 'J', p->extent.id.b, &list, &unchecked, err));
    vch_hash_t hash = p->extent.subjects_hash;
    if (unchecked) vch_sha256(&hash, list.p, list.n);
    if (list.n != 4 * (size_t)p->extent.count || !vch_hash_eq(&hash, &p->extent.subjects_hash))
        return vch_fail(err, VCH_ERR_CORRUPT, "an extent's subjects in the index are not those of its version");
    if (unchecked) unchecked->checked = true;
    uint32_t *numbers = vch_arena_array(&s->scratch, p->extent.count, sizeof *numbers);
    if (!numbers) return no_memory(err);
    for (uint32_t i = 0; i < p->extent.count; i++) numbers[i] = vch_get_u32(list.p + 4 * (size_t)i);
    p->subjects = numbers;
    return VCH_OK;
}

vch_rc st_parts(vch_state_t *s, const vch_version_value_t *v, st_part_t **ret, size_t *ret_bytes, vch_err_t *err)
{
    st_part_t *part = vch_arena_array(&s->scratch, v->extents, sizeof *part);
    size_t at = 0;
    if (!part) return no_memory(err);
    for (uint32_t i = 0; i < v->extents; i++) {
        vch_state_key_t key = vch_key_id_u32('e', v->dataset.b, i);
        vch_slice_t bytes;
        VCH_TRY(st_get(s, &key, &bytes, err));
        VCH_TRY(vch_extent_get(&part[i].extent, bytes));
        VCH_TRY(load_subjects(s, &part[i], err));
        part[i].at = at;
        at += vch_set_bytes(part[i].extent.count);
    }
    *ret = part;
    *ret_bytes = at;
    return VCH_OK;
}

/* The commonest denial over the live rows; ties go to the first in the list of
 * rules. */
static vch_rule_t commonest(const column_t *c, const table_t *t, const st_part_t *part, size_t parts,
                            const uint8_t *live)
{
    uint64_t count[VCH_RULE_COUNT] = {0};
    vch_rule_t best = VCH_RULE_NO_CONSENT;
    for (size_t p = 0; p < parts; p++)
        for (uint32_t row = 0; row < part[p].extent.count; row++) {
            if (!vch_bit(live + part[p].at, row)) continue;
            uint32_t subject = part[p].subjects ? part[p].subjects[row] : part[p].extent.first + row;
            count[t->rule[c->index[subject]]]++;
        }
    for (unsigned r = VCH_RULE_NO_CONSENT; r < VCH_RULE_COUNT; r++)
        if (count[r] > count[best]) best = (vch_rule_t)r;
    return best;
}

vch_rc st_version(vch_state_t *s, const vch_id_t *id, vch_version_value_t *ret, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id('v', id->b);
    vch_slice_t bytes;
    vch_rc rc = st_get(s, &key, &bytes, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, VCH_ERR_REFERENCE, "there is no such version");
    VCH_TRY(rc);
    return vch_version_get(ret, bytes);
}

/* The bitmap in the index is derived: it must lead to the root in the state. */
vch_rc st_live(vch_state_t *s, const vch_id_t *id, const vch_version_value_t *v, size_t bytes, vch_slice_t *ret,
               vch_err_t *err)
{
    vch_hash_t root = v->live_root;
    slot_t *unchecked = NULL;
    VCH_TRY(get_derived(s, 'B', id->b, ret, &unchecked, err));
    if (unchecked) VCH_TRY(vch_set_root(&root, ret->p, ret->n, &s->scratch));
    if (ret->n != bytes || !vch_hash_eq(&root, &v->live_root))
        return vch_fail(err, VCH_ERR_CORRUPT, "the live rows in the index are not those of the version");
    if (unchecked) unchecked->checked = true;
    return VCH_OK;
}

vch_rc st_permitted(vch_state_t *s, const vch_id_t *version_id, const vch_request_t *r, vch_buf_t *ret_bits,
                    uint64_t *ret_count, vch_rule_t *ret_rule, vch_err_t *err)
{
    vch_version_value_t v;
    column_t *c;
    st_part_t *part = NULL;
    size_t bytes = 0;
    vch_slice_t live;
    uint8_t *out;
    VCH_TRY(st_version(s, version_id, &v, err));
    VCH_TRY(st_column(s, &v.dataset, &c, err));
    table_t *table = vch_arena_alloc(&s->scratch, sizeof *table);
    if (!table) return no_memory(err);
    VCH_TRY(decide_palette(s, c, r, table, err));
    VCH_TRY(st_parts(s, &v, &part, &bytes, err));
    VCH_TRY(st_live(s, version_id, &v, bytes, &live, err));
    VCH_TRY(vch_buf_extend(ret_bits, bytes, &out));
    uint64_t count = 0;
    for (uint32_t i = 0; i < v.extents; i++)
        count += vch_permitted_rows(out + part[i].at, table->allow, c->index, c->subjects, live.p + part[i].at,
                                    part[i].extent.count, part[i].extent.first, part[i].subjects);
    *ret_rule = count ? VCH_RULE_PERMIT : commonest(c, table, part, v.extents, live.p);
    *ret_count = count;
    return VCH_OK;
}

static vch_rc find_words(vch_state_t *s, vch_slice_t purpose, vch_slice_t processing, vch_request_t *r, vch_err_t *err)
{
    VCH_TRY(st_vocabulary(s, err));
    if (vch_word_find(s->purposes, purpose, &r->purpose) != VCH_OK)
        return vch_fail(err, VCH_ERR_REFERENCE, "the purpose \"%.*s\" is not in this ledger's vocabulary",
                        (int)purpose.n, (const char *)purpose.p);
    if (vch_word_find(s->processings, processing, &r->processing) != VCH_OK)
        return vch_fail(err, VCH_ERR_REFERENCE, "the processing \"%.*s\" is not in this ledger's vocabulary",
                        (int)processing.n, (const char *)processing.p);
    return VCH_OK;
}

vch_rc vch_state_permitted(vch_state_t *s, const vch_id_t *version, const vch_id_t *party, vch_slice_t purpose,
                           vch_slice_t processing, vch_time_t now, vch_buf_t *ret_bits, uint64_t *ret_count,
                           vch_rule_t *ret_rule, vch_err_t *err)
{
    vch_request_t r = {.recipient = *party, .now = now};
    vch_arena_reset(&s->scratch);
    VCH_TRY(find_words(s, purpose, processing, &r, err));
    return st_permitted(s, version, &r, ret_bits, ret_count, ret_rule, err);
}

/* ---- the request ---------------------------------------------------------------------------- */

vch_rc st_groups(apply_t *a, vch_slice_t fields, uint64_t field, const vch_version_value_t *v, uint16_t *ret)
{
    vch_state_key_t key = vch_key_id('d', v->dataset.b);
    vch_slice_t bytes, item;
    vch_dataset_value_t d;
    vch_list_t list;
    uint64_t group;
    VCH_TRY(st_get(a->s, &key, &bytes, a->err));
    VCH_TRY(vch_dataset_get(&d, bytes));
    VCH_TRY(vch_field_list(fields, field, &list));
    *ret = 0;
    while (vch_list_next(&list, &item) == VCH_OK) {
        VCH_TRY(vch_item_uint(item, &group));
        if (group >= d.groups) return vch_fail(a->err, VCH_ERR_REFERENCE, "the dataset has no such group of columns");
        *ret = (uint16_t)(*ret | 1u << group);
    }
    return VCH_OK;
}

static vch_rc decide_request(apply_t *a, const vch_id_t *version, const vch_request_t *r, vch_outcome_t *o,
                             vch_buf_t *bits)
{
    vch_rule_t rule;
    VCH_TRY(st_permitted(a->s, version, r, bits, &o->count, &rule, a->err));
    VCH_TRY(vch_set_root(&o->set_root, bits->p, bits->n, &a->s->scratch));
    o->network = a->s->info.network;
    o->permit = o->count > 0;
    o->expires.ms = a->now.ms + a->s->grant_life_ms;
    strncpy(o->rule, vch_rule_name(rule), VCH_RULE_MAX);
    return VCH_OK;
}

static vch_rc keep_grant(apply_t *a, vch_grant_value_t *g, const vch_outcome_t *o, vch_slice_t bits)
{
    g->permit = o->permit;
    g->set_root = o->set_root;
    g->count = o->count;
    g->expires = o->expires;
    vch_state_key_t key = vch_key_id('a', o->request.b);
    VCH_TRY(ST_SET(a->s, &key, vch_grant_put, g, a->err));
    VCH_TRY(st_set_at(a->s, 'B', o->request.b, bits, a->err));
    return vch_outcome_put(a->outcome, o);
}

vch_rc rule_access(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    vch_grant_value_t g = {.party = a->party};
    vch_version_value_t v;
    vch_request_t r = {.recipient = a->party, .now = a->now};
    vch_outcome_t o = {.request = *object};
    vch_buf_t bits;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_ACCESS_VERSION, g.version.b, 32));
    VCH_TRY(vch_field_bytes(st->fields, VCH_F_ACCESS_PURPOSE, &g.purpose));
    VCH_TRY(vch_field_bytes(st->fields, VCH_F_ACCESS_PROCESSING, &g.processing));
    VCH_TRY(st_version(a->s, &g.version, &v, a->err));
    VCH_TRY(st_groups(a, st->fields, VCH_F_ACCESS_GROUPS, &v, &g.groups));
    VCH_TRY(find_words(a->s, g.purpose, g.processing, &r, a->err));
    vch_buf_init(&bits, 1u << 30);
    vch_rc rc = decide_request(a, &g.version, &r, &o, &bits);
    if (rc == VCH_OK) rc = keep_grant(a, &g, &o, vch_buf_slice(&bits));
    vch_buf_free(&bits);
    return rc;
}
