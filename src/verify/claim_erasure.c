/* SPDX-License-Identifier: Apache-2.0 */
/* "The keys of these subjects' rows are destroyed": who asked for it, which
 * extents hold rows of theirs, who holds the keys of each, and of every holder
 * either its own signed word or the proof that the state has none.  What is
 * claimed is the weakest of all of them. */
#include "entry/holding.h"
#include "verify/verify_impl.h"

enum { PENDING, PROVISIONAL, COMPLETE };
static const char *const states[] = {"pending", "provisional", "complete"};
static const char *const grades[] = {"A (keys in a token, destroyed there)", "B (files, live copy only)"};

typedef struct {
    verify_t *v;
    const vfy_claim_t *k;
    vch_erasure_value_t *erased; /* of each subject */
    bool *has_rows;              /* of each subject */
    size_t by_owner, extents, words;
    unsigned state, grade; /* the weakest so far */
} erasure_t;

/* What the state holds at that block, or that it holds nothing. */
static vch_rc item(const erasure_t *c, vch_state_key_t key, const vfy_item_t **ret)
{
    *ret = vfy_find_item(c->v, c->k->commit, &key);
    if (*ret) return VCH_OK;
    return vfy_stop(c->v, VCH_V_I_MISSING, "a \"%c\" value under the state-commit at %llu", key.b[0], AT(c->k->commit));
}

/* ---- who asked ----------------------------------------------------------------------- */

static vch_rc check_custodian(erasure_t *c, const vfy_leaf_t *l)
{
    const vfy_item_t *it;
    vch_dataset_value_t d;
    vch_id_t party;
    VCH_TRY(item(c, vch_key_id('d', c->k->id.b), &it));
    if (!vfy_party_of(c->v, &l->entry.cose.kid, &party))
        return vfy_stop(c->v, VCH_V_I_MISSING, "whose key signed the erase entry at %llu", AT(l->index));
    if (it->present && vch_dataset_get(&d, it->value) == VCH_OK && vch_id_eq(&d.custodian, &party)) return VCH_OK;
    return vfy_stop(c->v, VCH_V_F_REFERENCE, "the erase entry at %llu is not the custodian's", AT(l->index));
}

static vch_rc check_subject(erasure_t *c, size_t i)
{
    const vfy_item_t *it;
    const vfy_statement_t *s;
    uint64_t how, ms, subject = c->k->subject[i];
    char date[VCH_UTC_LEN];
    VCH_TRY(item(c, vch_key_id_u32('z', c->k->id.b, (uint32_t)subject), &it));
    if (!it->present) return vfy_stop(c->v, VCH_V_F_CLAIM, "subject %llu was not erased", AT(subject));
    if (vch_erasure_get(&c->erased[i], it->value) != VCH_OK)
        return vfy_stop(c->v, VCH_V_F_STATE, "the erasure of subject %llu is malformed", AT(subject));
    VCH_TRY(vfy_find_object(c->v, &c->erased[i].erase, VCH_KIND_ERASE, vfy_find_leaf(c->v, c->k->commit), &s));
    if (!vfy_speaks_of(s, &c->k->id, subject))
        return vfy_stop(c->v, VCH_V_F_REFERENCE, "erasure %s is of somebody else", SHORT(&s->object));
    VCH_TRY(vch_field_uint(s->st.fields, VCH_F_CONSENT_HOW, &how));
    bool by_owner = how == VCH_HOW_OWNER;
    vch_rc rc = by_owner ? vfy_owner_key(c->v, c->k->commit, &c->k->id, subject, s) : check_custodian(c, s->leaf);
    if (rc == VCH_ERR_NOT_FOUND) return vfy_stop(c->v, VCH_V_I_MISSING, "the key of subject %llu", AT(subject));
    VCH_TRY(rc);
    c->by_owner += by_owner;
    VCH_TRY(vfy_time(c->v, s->leaf, &ms));
    vch_utc(date, ms);
    vfy_link(c->v, "subject %llu was erased at %llu, %s, erasure %s: %s", AT(subject), AT(s->leaf->index), date,
             SHORT(&s->object), by_owner ? "signed by the owner, with the subject's key" : "on the custodian's word");
    return VCH_OK;
}

/* ---- who destroyed ----------------------------------------------------------------------- */

static bool names(const vfy_statement_t *s, const vch_hash_t *extent)
{
    vch_list_t list;
    vch_id_t id;
    if (vch_field_list(s->st.fields, VCH_F_DESTROYED_EXTENTS, &list) != VCH_OK) return false;
    while (vfy_next_id(&list, &id) == VCH_OK)
        if (memcmp(id.b, extent->b, 32) == 0) return true;
    return false;
}

/* A word in this bag is of one of these erasures, and nothing else is. */
static vch_rc check_words(const erasure_t *c)
{
    const vfy_statement_t *s;
    for (vfy_cursor_t at = {0, 0}; (s = vfy_each(c->v, &at));) {
        vch_id_t erase = {{0}};
        bool ours = s->st.kind != VCH_KIND_KEY_DESTROYED;
        if (!ours) VCH_TRY(vch_field_fixed(s->st.fields, VCH_F_DESTROYED_ERASE, erase.b, 32));
        for (size_t i = 0; i < c->k->subjects && !ours; i++) ours = vch_id_eq(&erase, &c->erased[i].erase);
        if (!ours)
            return vfy_stop(c->v, VCH_V_F_REFERENCE, "the word at %llu is of erasure %s", AT(s->leaf->index),
                            SHORT(&erase));
    }
    return VCH_OK;
}

/* The words in the bag, by the position of who gave them; a stranger's is none. */
static vch_rc find_words(erasure_t *c, const vch_id_t *erase, const vch_hash_t *extent, const vch_holding_t *h,
                         const vfy_statement_t *ret[VCH_KT_SETS_MAX])
{
    const vfy_statement_t *s;
    vch_id_t of = {{0}};
    for (vfy_cursor_t at = {0, 0}; (s = vfy_each(c->v, &at));) {
        unsigned i = 0;
        if (s->st.kind != VCH_KIND_KEY_DESTROYED) continue;
        VCH_TRY(vch_field_fixed(s->st.fields, VCH_F_DESTROYED_ERASE, of.b, 32));
        if (!vch_id_eq(&of, erase) || !names(s, extent)) continue;
        while (i < h->n && !vch_keyid_eq(&h->trustee[i], &s->leaf->entry.cose.kid)) i++;
        if (i == h->n)
            return vfy_stop(c->v, VCH_V_F_REFERENCE, "who signed the word at %llu is no trustee of extent %s",
                            AT(s->leaf->index), SHORT(extent));
        ret[i] = s;
    }
    return VCH_OK;
}

/* One trustee: what the state has of it is what it signed. */
static vch_rc check_trustee(erasure_t *c, const vch_state_key_t *key, const vfy_statement_t *s, unsigned position)
{
    const vfy_item_t *it;
    uint64_t grade = 0;
    VCH_TRY(item(c, *key, &it));
    if (it->present && !s) return vfy_stop(c->v, VCH_V_I_MISSING, "the word of trustee %u", position + 1);
    if (!s) return VCH_OK;
    VCH_TRY(vch_field_uint(s->st.fields, VCH_F_DESTROYED_GRADE, &grade));
    if (!it->present || it->value.n != 1 || it->value.p[0] != grade || s->leaf->index >= c->k->commit)
        return vfy_stop(c->v, VCH_V_F_REFERENCE, "the word at %llu is not what the state holds", AT(s->leaf->index));
    if (grade != VCH_GRADE_A) c->grade = VCH_GRADE_B;
    c->words++;
    return VCH_OK;
}

static vch_rc check_holders(erasure_t *c, size_t i, uint32_t number, const vch_hash_t *extent, const vch_holding_t *h)
{
    const vfy_statement_t *word[VCH_KT_SETS_MAX] = {NULL};
    const vch_id_t *erase = &c->erased[i].erase;
    unsigned said = 0;
    VCH_TRY(find_words(c, erase, extent, h, word));
    for (unsigned t = 0; t < h->n; t++) {
        vch_state_key_t key = vch_destroyed_key(erase, extent, &h->trustee[t]);
        VCH_TRY(check_trustee(c, &key, word[t], t));
        said += word[t] != NULL;
        vfy_link(c->v, "subject %llu, extent %u: trustee %u of %u (key %s) %s", AT(c->k->subject[i]), number, t + 1,
                 h->n, SHORT(&h->trustee[t]), word[t] ? "signed that it destroyed the keys" : "has not said so");
    }
    unsigned state = said == h->n ? COMPLETE : said >= vch_holding_holders(h) ? PROVISIONAL : PENDING;
    vfy_link(c->v, "subject %llu, extent %u: %s, %u of %u trustees said so, %u are enough", AT(c->k->subject[i]),
             number, states[state], said, h->n, vch_holding_holders(h));
    if (state < c->state) c->state = state;
    return VCH_OK;
}

/* ---- where the rows lie ------------------------------------------------------------------- */

static bool holds(const vch_extent_value_t *e, const vfy_blob_t *listed, uint64_t subject)
{
    if (e->contiguous) return subject >= e->first && subject - e->first < e->count;
    for (size_t row = 0; row < e->count; row++)
        if (vch_get_u32(listed->bytes.p + 4 * row) == subject) return true;
    return false;
}

static vch_rc check_rows(erasure_t *c, size_t i, uint32_t number, const vch_extent_value_t *e)
{
    const vfy_item_t *it;
    vch_holding_t h;
    c->has_rows[i] = true;
    VCH_TRY(item(c, vch_key_id_u32('w', c->k->id.b, number), &it));
    if (!it->present) { /* nobody has a key to destroy */
        c->state = PENDING;
        vfy_link(c->v, "extent %u is not in the vault: rows of subject %llu lie in the clear", number,
                 AT(c->k->subject[i]));
        return VCH_OK;
    }
    if (vch_cbor_check(it->value) != VCH_OK || vch_holding_get(&h, it->value) != VCH_OK)
        return vfy_stop(c->v, VCH_V_F_STATE, "who holds extent %u is malformed", number);
    return check_holders(c, i, number, &e->id, &h);
}

static vch_rc check_extent(erasure_t *c, uint32_t number)
{
    const vfy_item_t *it;
    vch_extent_value_t e;
    bool any = false;
    VCH_TRY(item(c, vch_key_id_u32('e', c->k->id.b, number), &it));
    if (!it->present || vch_extent_get(&e, it->value) != VCH_OK)
        return vfy_stop(c->v, VCH_V_F_STATE, "extent %u is malformed", number);
    const vfy_blob_t *listed = e.contiguous ? NULL : vfy_find_subjects(c->v, &e);
    if (!e.contiguous && !listed) return vfy_stop(c->v, VCH_V_I_MISSING, "the subjects of extent %u", number);
    for (size_t i = 0; i < c->k->subjects; i++) {
        if (number >= c->erased[i].extents || !holds(&e, listed, c->k->subject[i])) continue;
        any = true;
        VCH_TRY(check_rows(c, i, number, &e));
    }
    bool claimed = c->extents < c->k->extents && c->k->extent[c->extents] == number;
    if (any != claimed)
        return vfy_stop(c->v, VCH_V_F_CLAIM, "extent %u holds %s of what was erased", number, any ? "rows" : "nothing");
    c->extents += any;
    return VCH_OK;
}

/* ---- all of it -------------------------------------------------------------------------------- */

static vch_rc check_all(erasure_t *c)
{
    uint32_t extents = 0;
    for (size_t i = 0; i < c->k->subjects; i++) {
        VCH_TRY(check_subject(c, i));
        if (c->erased[i].extents > extents) extents = c->erased[i].extents;
    }
    VCH_TRY(check_words(c));
    for (uint32_t number = 0; number < extents; number++) VCH_TRY(check_extent(c, number));
    if (c->extents < c->k->extents)
        return vfy_stop(c->v, VCH_V_F_CLAIM, "the erasure does not reach extent %llu", AT(c->k->extent[c->extents]));
    for (size_t i = 0; i < c->k->subjects; i++)
        if (!c->has_rows[i]) c->state = PENDING;
    if (c->words == 0) c->grade = VCH_GRADE_B;
    return VCH_OK;
}

vch_rc vfy_claim_erasure(verify_t *v)
{
    const vfy_claim_t *k = &v->claim;
    erasure_t c = {.v = v, .k = k, .state = COMPLETE, .grade = VCH_GRADE_A};
    const vfy_leaf_t *commit = vfy_find_commit(v, k->commit);
    if (!commit) return vfy_stop(v, VCH_V_I_MISSING, "the state-commit at %llu", AT(k->commit));
    VCH_TRY(vfy_time(v, commit, &v->report->time_ms));
    c.erased = vch_arena_array(v->arena, k->subjects, sizeof *c.erased);
    c.has_rows = vch_arena_array(v->arena, k->subjects, sizeof *c.has_rows);
    if (!c.erased || !c.has_rows) return vfy_no_memory(v);
    VCH_TRY(check_all(&c));
    vfy_claim(v, "erasure of subject %llu%s in dataset %s, %s: %s, grade %s, as of the block at %llu",
              AT(k->subject[0]), k->subjects > 1 ? " and others" : "", SHORT(&k->id),
              c.by_owner == k->subjects ? "signed by the owner"
              : c.by_owner              ? "by owners and the custodian"
                                        : "on the custodian's word",
              states[k->state], grades[k->grade], AT(k->commit));
    if (k->state != c.state || k->grade != c.grade)
        return vfy_stop(v, VCH_V_F_CLAIM, "what the trustees said makes it %s, grade %s", states[c.state],
                        grades[c.grade]);
    if (c.state != PENDING) return VCH_OK;
    return vfy_stop(v, VCH_V_I_ERASURE, "%zu words of trustees on %zu extents", c.words, c.extents);
}
