/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in the bag.  Leaves come sorted by index; values are sorted here,
 * by (state-commit, key), so that every search is a bisection. */
#include "verify/verify_impl.h"

static int by_place(uint64_t a_index, vch_slice_t a_key, uint64_t b_index, vch_slice_t b_key)
{
    if (a_index != b_index) return a_index < b_index ? -1 : 1;
    int order = memcmp(a_key.p, b_key.p, vch_min(a_key.n, b_key.n));
    if (order) return order;
    return a_key.n == b_key.n ? 0 : a_key.n < b_key.n ? -1 : 1;
}

static bool item_below(const vfy_item_t *a, const vfy_item_t *b)
{
    return by_place(a->index, a->key, b->index, b->key) < 0;
}

static void sift(vfy_item_t *item, size_t at, size_t n)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && item_below(&item[child], &item[child + 1])) child++;
        if (!item_below(&item[at], &item[child])) return;
        vfy_item_t t = item[at];
        item[at] = item[child];
        item[child] = t;
    }
}

/* Heap sort: in place, no memory, no bad case for a stranger to choose. */
void vfy_sort_items(verify_t *v)
{
    for (size_t i = v->items / 2; i-- > 0;) sift(v->item, i, v->items);
    for (size_t n = v->items; n > 1;) {
        vfy_item_t t = v->item[0];
        v->item[0] = v->item[--n];
        v->item[n] = t;
        sift(v->item, 0, n);
    }
}

static const vfy_item_t *find_item_at(const verify_t *v, uint64_t commit, vch_slice_t key)
{
    size_t low = 0, high = v->items;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = by_place(v->item[mid].index, v->item[mid].key, commit, key);
        if (order == 0) return &v->item[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const vfy_item_t *vfy_find_item(const verify_t *v, uint64_t commit, const vch_state_key_t *key)
{
    if (commit != VFY_ANY) return find_item_at(v, commit, vch_key_slice(key));
    for (size_t i = v->leaves; i-- > 0;) {
        if (!v->leaf[i].known || v->leaf[i].kind != VCH_KIND_STATE_COMMIT) continue;
        const vfy_item_t *it = find_item_at(v, v->leaf[i].index, vch_key_slice(key));
        if (it && it->present) return it;
    }
    return NULL;
}

const vfy_leaf_t *vfy_find_leaf(const verify_t *v, uint64_t index)
{
    size_t low = 0, high = v->leaves;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (v->leaf[mid].index == index) return &v->leaf[mid];
        if (v->leaf[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const vfy_leaf_t *vfy_find_commit(const verify_t *v, uint64_t index)
{
    const vfy_leaf_t *l = vfy_find_leaf(v, index);
    return l && l->known && l->kind == VCH_KIND_STATE_COMMIT ? l : NULL;
}

const vfy_blob_t *vfy_find_set(const verify_t *v, const vch_hash_t *root)
{
    for (size_t i = 0; i < v->sets; i++)
        if (vch_hash_eq(&v->set[i].id, root)) return &v->set[i];
    return NULL;
}

const vfy_key_t *vfy_find_key(const verify_t *v, const vch_keyid_t *id)
{
    for (size_t i = 0; i < v->keys; i++)
        if (vch_keyid_eq(&v->key[i].id, id)) return &v->key[i];
    return NULL;
}

/* ---- statements ------------------------------------------------------------------ */

const vfy_statement_t *vfy_each(const verify_t *v, vfy_cursor_t *at)
{
    for (; at->leaf < v->leaves; *at = (vfy_cursor_t){at->leaf + 1, 0})
        while (at->statement < v->leaf[at->leaf].statements) {
            const vfy_statement_t *s = &v->leaf[at->leaf].statement[at->statement++];
            if (s->known) return s;
        }
    return NULL;
}

vch_rc vfy_find_object(verify_t *v, const vch_id_t *id, vch_kind_t kind, const vfy_leaf_t *before,
                       const vfy_statement_t **ret)
{
    const char *name = vch_schema(kind)->name;
    const vfy_statement_t *st;
    vfy_cursor_t at = {0, 0};
    while ((st = vfy_each(v, &at)) && !vch_id_eq(&st->object, id)) continue;
    if (!st) return vfy_stop(v, VCH_V_I_MISSING, "%s %s", name, SHORT(id));
    if (st->st.kind != kind)
        return vfy_stop(v, VCH_V_F_REFERENCE, "%s is a %s, not a %s", SHORT(id), vch_schema(st->st.kind)->name, name);
    if (before && st->leaf->index >= before->index)
        return vfy_stop(v, VCH_V_F_REFERENCE, "%s %s stands at %llu, behind the entry at %llu that rests on it", name,
                        SHORT(id), AT(st->leaf->index), AT(before->index));
    *ret = st;
    return VCH_OK;
}

vch_rc vfy_next_id(vch_list_t *list, vch_id_t *ret)
{
    vch_slice_t item, bytes;
    VCH_TRY(vch_list_next(list, &item));
    VCH_TRY(vch_item_bytes(item, &bytes));
    if (bytes.n != sizeof ret->b) return VCH_ERR_FORMAT;
    memcpy(ret->b, bytes.p, sizeof ret->b);
    return VCH_OK;
}

/* ---- time ------------------------------------------------------------------------- */

/* The first checkpoint with a quorum over the block must be near its time;
 * without witnesses the time is the operator's word. */
static void check_bracket(verify_t *v, const vfy_leaf_t *commit)
{
    uint64_t at_ms = commit->commit.time.ms, stood_ms;
    if (v->trust->quorum < 0) return;
    for (size_t i = 0; i < v->checkpoints; i++) {
        const vfy_checkpoint_t *c = &v->checkpoint[i];
        if (!c->trust.quorum || c->text.size <= commit->index) continue;
        if (__builtin_mul_overflow(c->trust.quorum_time, (uint64_t)1000, &stood_ms)) stood_ms = UINT64_MAX;
        uint64_t away_ms = stood_ms > at_ms ? stood_ms - at_ms : at_ms - stood_ms;
        if (away_ms > VFY_BRACKET_MS)
            vfy_doubt(v, VCH_V_I_TIME, "the block at %llu and its first quorum are %llu s apart", AT(commit->index),
                      AT(away_ms / 1000));
        return;
    }
    vfy_doubt(v, VCH_V_I_TIME, "no checkpoint with a quorum covers the block at %llu", AT(commit->index));
}

vch_rc vfy_time(verify_t *v, const vfy_leaf_t *leaf, uint64_t *ret_ms)
{
    for (size_t i = 0; i < v->leaves; i++) {
        const vfy_leaf_t *l = &v->leaf[i];
        if (!l->known || l->kind != VCH_KIND_STATE_COMMIT) continue;
        bool covers = l == leaf || (l->commit.first <= leaf->index && leaf->index < l->index);
        if (!covers) continue;
        check_bracket(v, l);
        *ret_ms = l->commit.time.ms;
        return VCH_OK;
    }
    return vfy_stop(v, VCH_V_I_MISSING, "the state-commit of the block with the entry at %llu", AT(leaf->index));
}

/* ---- parties and versions ----------------------------------------------------------- */

bool vfy_party_of(const verify_t *v, const vch_keyid_t *kid, vch_id_t *ret)
{
    vch_state_key_t key = vch_key_id('k', kid->b);
    vch_key_value_t value;
    const vfy_item_t *it = vfy_find_item(v, VFY_ANY, &key);
    if (!it || vch_key_get(&value, it->value) != VCH_OK) return false;
    *ret = value.party;
    return true;
}

vch_rc vfy_same_party(verify_t *v, const vfy_leaf_t *a, const vfy_leaf_t *b, const char *what)
{
    vch_id_t party_a, party_b;
    if (vch_keyid_eq(&a->entry.cose.kid, &b->entry.cose.kid)) return VCH_OK;
    if (!vfy_party_of(v, &a->entry.cose.kid, &party_a) || !vfy_party_of(v, &b->entry.cose.kid, &party_b))
        return vfy_stop(v, VCH_V_I_MISSING, "whose keys signed %s: two keys, and not both in the state shown", what);
    if (vch_id_eq(&party_a, &party_b)) return VCH_OK;
    return vfy_stop(v, VCH_V_F_REFERENCE, "%s were signed by two parties, %s and %s", what, SHORT(&party_a),
                    SHORT(&party_b));
}

vch_rc vfy_find_extents(verify_t *v, uint64_t commit, const vch_id_t *version, vch_version_value_t *ret_version,
                        vch_extent_value_t **ret)
{
    vch_state_key_t key = vch_key_id('v', version->b);
    const vfy_item_t *it = vfy_find_item(v, commit, &key);
    if (!it || !it->present || vch_version_get(ret_version, it->value) != VCH_OK) return VCH_ERR_NOT_FOUND;
    if (ret_version->extents > v->items) return VCH_ERR_NOT_FOUND; /* each is a value of the bag */
    vch_extent_value_t *e = vch_arena_array(v->arena, ret_version->extents, sizeof *e);
    if (!e) return vfy_no_memory(v);
    for (uint32_t i = 0; i < ret_version->extents; i++) {
        key = vch_key_id_u32('e', ret_version->dataset.b, i);
        it = vfy_find_item(v, commit, &key);
        if (!it || !it->present || vch_extent_get(&e[i], it->value) != VCH_OK) return VCH_ERR_NOT_FOUND;
    }
    *ret = e;
    return VCH_OK;
}

const vfy_blob_t *vfy_find_subjects(const verify_t *v, const vch_extent_value_t *e)
{
    vch_hash_t hash;
    for (size_t i = 0; i < v->subject_lists; i++) {
        const vfy_blob_t *s = &v->subjects[i];
        if (!vch_hash_eq(&s->id, &e->id) || s->bytes.n != 4 * (size_t)e->count) continue;
        vch_sha256(&hash, s->bytes.p, s->bytes.n);
        if (vch_hash_eq(&hash, &e->subjects_hash)) return s;
    }
    return NULL;
}

vch_rc vfy_owner_key(verify_t *v, uint64_t commit, const vch_id_t *dataset, uint64_t subject, const vfy_statement_t *s)
{
    vch_state_key_t at = vch_key_id_u32('S', dataset->b, (uint32_t)subject);
    const vfy_item_t *it = vfy_find_item(v, commit, &at);
    vch_slice_t bytes;
    vch_hash_t id;
    if (!it) return VCH_ERR_NOT_FOUND;
    VCH_TRY(vch_field_bytes(s->st.fields, VCH_F_CONSENT_KEY, &bytes));
    vch_sha256(&id, bytes.p, bytes.n);
    if (it->present && vch_slice_eq(it->value, vch_slice(id.b, 32))) return VCH_OK;
    return vfy_stop(v, VCH_V_F_SIGNATURE, "the statement at %llu is signed by another key than the subject's",
                    AT(s->leaf->index));
}

bool vfy_speaks_of(const vfy_statement_t *s, const vch_id_t *dataset, uint64_t subject)
{
    vch_id_t d;
    uint64_t n;
    return (s->st.kind == VCH_KIND_CONSENT || s->st.kind == VCH_KIND_WITHDRAW || s->st.kind == VCH_KIND_ERASE) &&
           vch_field_fixed(s->st.fields, VCH_F_CONSENT_DATASET, d.b, 32) == VCH_OK &&
           vch_field_uint(s->st.fields, VCH_F_CONSENT_SUBJECT, &n) == VCH_OK && vch_id_eq(&d, dataset) && n == subject;
}
