/* SPDX-License-Identifier: Apache-2.0 */
/* An access decision once more, from nothing but what the bag discloses under
 * the state-commit just before the request: genesis, the signer's key, version,
 * dataset, extents, consent column, palette, terms, live rows.  ERR_NOT_FOUND
 * from a step means that a piece isn't disclosed: then the log attests it. */
#include "verify/verify_impl.h"

typedef struct {
    verify_t *v;
    const vfy_access_t *a;
    uint64_t commit;
    vch_vocabulary_t *purposes, *processings;
    vch_request_t request;
    uint64_t life_ms;
    vch_version_value_t version;
    vch_dataset_value_t dataset;
    vch_extent_value_t *extent;
    uint16_t *column; /* host order, one for each subject */
    uint8_t *allow;   /* a bit for each palette index */
    uint8_t *rule;    /* a vch_rule_t for each palette index */
    const vfy_item_t *term_item;
    vch_terms_t *term; /* beside term_item, read on demand */
    size_t terms;
    vch_rc rc; /* of a look-up of terms */
    vch_slice_t live;
    uint8_t *bits;
    size_t bits_n;
    uint64_t count, denied[VCH_RULE_COUNT];
} again_t;

static vch_rc contradicts(again_t *r, const char *what)
{
    return vfy_stop(r->v, VCH_V_F_DECISION, "request at %llu: %s", AT(r->a->leaf->index), what);
}

/* A value that the ledger had to have; its absence, if proven, contradicts. */
static vch_rc value_of(again_t *r, const vch_state_key_t *key, vch_slice_t *ret)
{
    const vfy_item_t *it = vfy_find_item(r->v, r->commit, key);
    if (!it) return VCH_ERR_NOT_FOUND;
    if (!it->present) return contradicts(r, "rests on a value that the state did not hold");
    *ret = it->value;
    return VCH_OK;
}

/* ---- the question ------------------------------------------------------------------ */

static vch_rc read_genesis(again_t *r)
{
    vch_state_key_t key = vch_key_plain('g');
    vch_slice_t genesis = {NULL, 0};
    const vch_schema_t *schema = vch_schema(VCH_KIND_GENESIS);
    VCH_TRY(value_of(r, &key, &genesis));
    r->purposes = vch_arena_alloc(r->v->arena, sizeof *r->purposes);
    r->processings = vch_arena_alloc(r->v->arena, sizeof *r->processings);
    if (!r->purposes || !r->processings) return vfy_no_memory(r->v);
    if (vch_cbor_check(genesis) != VCH_OK || vch_fields_check(genesis, schema->field, schema->fields, NULL) != VCH_OK ||
        vch_vocabulary_get(r->purposes, genesis, VCH_F_GENESIS_PURPOSES) != VCH_OK ||
        vch_vocabulary_get(r->processings, genesis, VCH_F_GENESIS_PROCESSINGS) != VCH_OK ||
        vch_field_uint(genesis, VCH_F_GENESIS_GRANT_LIFE, &r->life_ms) != VCH_OK)
        return contradicts(r, "the genesis in the state is malformed");
    if (vch_word_find(r->purposes, r->a->purpose, &r->request.purpose) != VCH_OK ||
        vch_word_find(r->processings, r->a->processing, &r->request.processing) != VCH_OK)
        return contradicts(r, "purpose or processing is not in the vocabulary");
    r->request.now.ms = r->a->time_ms;
    return VCH_OK;
}

static vch_rc read_recipient(again_t *r)
{
    vch_state_key_t key = vch_key_id('k', r->a->leaf->entry.cose.kid.b);
    vch_slice_t bytes = {NULL, 0};
    vch_key_value_t value;
    VCH_TRY(value_of(r, &key, &bytes));
    if (vch_key_get(&value, bytes) != VCH_OK || value.revoked)
        return contradicts(r, "the signer's key was not in force");
    r->request.recipient = value.party;
    return VCH_OK;
}

static vch_rc read_groups(again_t *r)
{
    vch_list_t list;
    vch_slice_t item;
    uint64_t group;
    VCH_TRY(vch_field_list(r->a->st->st.fields, VCH_F_ACCESS_GROUPS, &list));
    while (vch_list_next(&list, &item) == VCH_OK) {
        VCH_TRY(vch_item_uint(item, &group));
        if (group >= r->dataset.groups)
            return contradicts(r, "names a group of columns that the dataset does not have");
    }
    return VCH_OK;
}

static vch_rc read_version(again_t *r)
{
    vch_state_key_t key = vch_key_id('v', r->a->version.b);
    vch_slice_t bytes = {NULL, 0};
    VCH_TRY(value_of(r, &key, &bytes));
    VCH_TRY(vfy_find_extents(r->v, r->commit, &r->a->version, &r->version, &r->extent));
    key = vch_key_id('d', r->version.dataset.b);
    VCH_TRY(value_of(r, &key, &bytes));
    if (vch_dataset_get(&r->dataset, bytes) != VCH_OK) return contradicts(r, "the dataset in the state is malformed");
    VCH_TRY(read_groups(r));
    for (uint32_t i = 0; i < r->version.extents; i++) r->bits_n += vch_set_bytes(r->extent[i].count);
    const vfy_blob_t *live = vfy_find_set(r->v, &r->version.live_root);
    if (!live && r->bits_n) return VCH_ERR_NOT_FOUND;
    if (live) r->live = live->bytes;
    return r->live.n == r->bits_n ? VCH_OK : contradicts(r, "the live rows are not those of its extents");
}

/* ---- the consents ------------------------------------------------------------------- */

static const vfy_column_t *find_column(const again_t *r, uint32_t chunk, vch_slice_t value)
{
    for (size_t i = 0; i < r->v->columns; i++) {
        const vfy_column_t *c = &r->v->column[i];
        if (c->chunk == chunk && vch_id_eq(&c->dataset, &r->version.dataset) &&
            vch_slice_eq(value, vch_slice(c->value, sizeof c->value)))
            return c;
    }
    return NULL;
}

/* A chunk that the state does not hold is one in which nobody ever said a word. */
static vch_rc read_column(again_t *r)
{
    size_t chunks = ((size_t)r->dataset.subjects + VCH_CHUNK - 1) / VCH_CHUNK;
    if (chunks > r->v->items) return VCH_ERR_NOT_FOUND; /* each is a value, or absent by proof */
    r->column = vch_arena_array(r->v->arena, chunks * VCH_CHUNK, sizeof *r->column);
    if (!r->column) return vfy_no_memory(r->v);
    for (size_t i = 0; i < chunks; i++) {
        vch_state_key_t key = vch_key_id_u32('C', r->version.dataset.b, (uint32_t)i);
        const vfy_item_t *it = vfy_find_item(r->v, r->commit, &key);
        if (!it) return VCH_ERR_NOT_FOUND;
        if (!it->present) continue;
        const vfy_column_t *c = find_column(r, (uint32_t)i, it->value);
        if (!c) return VCH_ERR_NOT_FOUND;
        for (size_t k = 0; k < VCH_CHUNK; k++) r->column[i * VCH_CHUNK + k] = vch_get_u16(c->flat.p + 2 * k);
    }
    return VCH_OK;
}

/* Values are sorted by key, so the terms of one block stand side by side. */
static vch_rc place_terms(again_t *r)
{
    for (size_t i = 0; i < r->v->items; i++) {
        const vfy_item_t *it = &r->v->item[i];
        if (it->index != r->commit || it->key.p[0] != 't') continue;
        if (r->terms++ == 0) r->term_item = it;
    }
    r->term = vch_arena_array(r->v->arena, r->terms, sizeof *r->term);
    return r->term ? VCH_OK : vfy_no_memory(r->v);
}

static const vch_terms_t *find_terms(void *ctx, const vch_hash_t *hash)
{
    again_t *r = ctx;
    vch_state_key_t key = vch_key_id('t', hash->b);
    vch_slice_t document = {NULL, 0};
    static const vch_hash_t unread;
    vch_rc rc = value_of(r, &key, &document);
    if (rc == VCH_OK) {
        vch_terms_t *t = &r->term[vfy_find_item(r->v, r->commit, &key) - r->term_item];
        rc = vch_hash_eq(&t->hash, &unread) ? vch_terms_read(t, document, r->purposes, r->processings, NULL) : VCH_OK;
        if (rc == VCH_OK && vch_hash_eq(&t->hash, hash)) return t; /* its hash is the document's */
        rc = contradicts(r, "rests on terms that can't be read");
    }
    if (r->rc == VCH_OK) r->rc = rc;
    return NULL;
}

static vch_rc decide_index(again_t *r, uint16_t index)
{
    vch_palette_value_t set = {0};
    vch_verdict_t verdict;
    if (index) {
        vch_state_key_t key = vch_key_id_u16('c', r->version.dataset.b, index);
        vch_slice_t bytes = {NULL, 0};
        VCH_TRY(value_of(r, &key, &bytes));
        if (vch_palette_get(&set, bytes) != VCH_OK) return contradicts(r, "a palette entry is malformed");
    }
    vch_decide(&verdict, &set, &r->request, r->purposes, r->processings, find_terms, r);
    VCH_TRY(r->rc);
    if (verdict.permit) vch_bit_set(r->allow, index);
    r->rule[index] = (uint8_t)verdict.rule;
    return VCH_OK;
}

/* Once for each palette index in use. */
static vch_rc decide_palette(again_t *r)
{
    uint8_t *used = vch_arena_alloc(r->v->arena, 8192);
    r->allow = vch_arena_alloc(r->v->arena, 8192);
    r->rule = vch_arena_alloc(r->v->arena, 65536);
    if (!used || !r->allow || !r->rule) return vfy_no_memory(r->v);
    for (size_t i = 0; i < r->dataset.subjects; i++) vch_bit_set(used, r->column[i]);
    VCH_TRY(decide_index(r, 0));
    for (uint32_t i = 1; i < 65536; i++)
        if (vch_bit(used, i)) VCH_TRY(decide_index(r, (uint16_t)i));
    return VCH_OK;
}

/* ---- the rows -------------------------------------------------------------------------- */

static vch_rc subjects_of(again_t *r, const vch_extent_value_t *e, const uint32_t **ret)
{
    *ret = NULL;
    if (e->contiguous) return VCH_OK;
    const vfy_blob_t *s = vfy_find_subjects(r->v, e);
    if (!s) return VCH_ERR_NOT_FOUND;
    uint32_t *list = vch_arena_array(r->v->arena, e->count, sizeof *list);
    if (!list) return vfy_no_memory(r->v);
    for (size_t i = 0; i < e->count; i++) list[i] = vch_get_u32(s->bytes.p + 4 * i);
    *ret = list;
    return VCH_OK;
}

static void count_denials(again_t *r, const vch_extent_value_t *e, const uint32_t *subjects, size_t at)
{
    for (uint32_t row = 0; row < e->count; row++) {
        if (!vch_bit(r->live.p + at, row)) continue;
        uint64_t subject = subjects ? subjects[row] : (uint64_t)e->first + row;
        r->denied[r->rule[subject < r->dataset.subjects ? r->column[subject] : 0]]++;
    }
}

static vch_rc permit_rows(again_t *r)
{
    size_t at = 0;
    r->bits = vch_arena_alloc(r->v->arena, r->bits_n);
    if (!r->bits) return vfy_no_memory(r->v);
    for (uint32_t i = 0; i < r->version.extents; i++) {
        const vch_extent_value_t *e = &r->extent[i];
        const uint32_t *subjects;
        size_t mark = r->v->arena->used;
        VCH_TRY(subjects_of(r, e, &subjects));
        r->count += vch_permitted_rows(r->bits + at, r->allow, r->column, r->dataset.subjects, r->live.p + at, e->count,
                                       e->first, subjects);
        count_denials(r, e, subjects, at);
        at += vch_set_bytes(e->count);
        r->v->arena->used = mark;
    }
    return VCH_OK;
}

static vch_rc compare(again_t *r)
{
    const vch_outcome_t *o = &r->a->after->outcome;
    vch_hash_t root;
    uint64_t expires_ms;
    /* Of several denials the commonest, of equally common ones the first in
     * the list of rules, explains that nothing was permitted. */
    vch_rule_t best = r->count ? VCH_RULE_PERMIT : VCH_RULE_NO_CONSENT;
    for (unsigned i = VCH_RULE_NO_CONSENT; i < VCH_RULE_COUNT && r->count == 0; i++)
        if (r->denied[i] > r->denied[best]) best = (vch_rule_t)i;
    if (vch_set_root(&root, r->bits, r->bits_n, r->v->arena) != VCH_OK) return vfy_no_memory(r->v);
    if (r->count != o->count || !vch_hash_eq(&root, &o->set_root))
        return contradicts(r, "other rows are permitted than the outcome says");
    if (o->permit != (r->count > 0)) return contradicts(r, "the verdict is the opposite");
    if (strcmp(o->rule, vch_rule_name(best)) != 0) return contradicts(r, "another rule decides");
    if (__builtin_add_overflow(r->a->time_ms, r->life_ms, &expires_ms) || expires_ms != o->expires.ms)
        return contradicts(r, "the grant's life is not the one that genesis sets");
    vfy_link(r->v, "decision at %llu recomputed: %llu rows permitted, by %s", AT(r->a->leaf->index), AT(r->count),
             o->rule);
    return VCH_OK;
}

vch_rc vfy_recompute(verify_t *v, vfy_access_t *a)
{
    static vch_rc (*const step[])(again_t *) = {read_genesis, read_recipient, read_version, read_column,
                                                place_terms,  decide_palette, permit_rows,  compare};
    if (a->leaf->index == 0 || !vfy_find_commit(v, a->leaf->index - 1)) return VCH_OK;
    size_t mark = v->arena->used;
    again_t r = {.v = v, .a = a, .commit = a->leaf->index - 1};
    vch_rc rc = VCH_OK;
    for (size_t i = 0; i < sizeof step / sizeof *step && rc == VCH_OK; i++) rc = step[i](&r);
    v->arena->used = mark;
    a->recomputed = rc == VCH_OK;
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}
