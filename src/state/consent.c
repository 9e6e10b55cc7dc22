/* SPDX-License-Identifier: Apache-2.0 */
/* Terms, consents and withdrawals: the life of one cell.
 *
 *   who            gives                              withdraws
 *   owner          adds or replaces; clears the flag  removes; sets the flag
 *   custodian      adds or replaces, unless the flag  removes
 *
 * The flag "owner withdrew" means that only the owner can give again.  An
 * erasure, the owner's or the custodian's, takes everything, sets the flag and
 * is the last word: the subject's number is never used again. */
#include "merkle/tree.h"
#include "state/state_impl.h"

vch_rc rule_terms(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    (void)object;
    vch_slice_t document;
    vch_rc rc;
    VCH_TRY(vch_field_bytes(st->fields, VCH_F_TERMS_DOCUMENT, &document));
    VCH_TRY(st_vocabulary(a->s, a->err));
    vch_terms_t *terms = vch_arena_alloc(&a->s->scratch, sizeof *terms);
    if (!terms) return vch_fail(a->err, VCH_ERR_MEMORY, "out of memory");
    VCH_TRY(vch_terms_read(terms, document, a->s->purposes, a->s->processings, a->err));
    vch_state_key_t key = vch_key_id('t', terms->hash.b);
    if (st_has(a->s, &key, &rc, a->err))
        return vch_fail(a->err, VCH_ERR_CONFLICT, "these terms are registered already");
    VCH_TRY(rc);
    return st_set(a->s, &key, document, a->err);
}

/* ---- one statement about a subject --------------------------------------------------- */

typedef struct {
    apply_t *a;
    vch_slice_t fields;
    bool give, erase, by_owner, has_terms;
    vch_id_t dataset;
    uint32_t subject, serial;
    vch_hash_t terms;
    uint32_t until;
    column_t *column;
    vch_cell_t cell;
} change_t;

static vch_rc read_change(change_t *c, const vch_statement_t *st)
{
    uint64_t subject, until = 0, how, serial;
    c->fields = st->fields;
    c->give = st->kind == VCH_KIND_CONSENT;
    c->erase = st->kind == VCH_KIND_ERASE;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_CONSENT_DATASET, c->dataset.b, 32));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_CONSENT_SUBJECT, &subject));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_CONSENT_HOW, &how));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_CONSENT_SERIAL, &serial));
    vch_rc rc = vch_field_fixed(st->fields, VCH_F_CONSENT_TERMS, c->terms.b, 32);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    c->has_terms = rc == VCH_OK;
    if (c->give) VCH_TRY(vch_field_uint(st->fields, VCH_F_CONSENT_UNTIL, &until));
    if (how == VCH_HOW_DELEGATE)
        return vch_fail(c->a->err, VCH_ERR_UNSUPPORTED, "statements by delegates are not supported yet");
    c->by_owner = how == VCH_HOW_OWNER;
    c->subject = (uint32_t)subject;
    c->serial = (uint32_t)serial;
    c->until = (uint32_t)until;
    return VCH_OK;
}

/* ---- whose key is it? ------------------------------------------------------------------ */

static vch_rc path_of(vch_slice_t proof, vch_hash_t path[VCH_PATH_HASHES_MAX], size_t *ret_n)
{
    vch_list_t list;
    vch_slice_t item, hash;
    VCH_TRY(vch_field_list(proof, VCH_F_KEYPROOF_PATH, &list));
    for (*ret_n = 0; vch_list_next(&list, &item) == VCH_OK; (*ret_n)++) {
        VCH_TRY(vch_item_bytes(item, &hash));
        memcpy(path[*ret_n].b, hash.p, 32);
    }
    return VCH_OK;
}

static bool path_proves(uint32_t subject, const vch_keyid_t *id, uint64_t first, const vch_range_value_t *range,
                        const vch_hash_t *path, size_t n)
{
    vch_hash_t leaf;
    if (subject < first || subject - first >= range->count) return false;
    vch_subject_leaf(&leaf, subject, id);
    return vch_inclusion_verify(subject - first, range->count, &leaf, path, n, &range->root);
}

/* The first time, a key is tied to its subject by the range that a version
 * brought; afterwards the state knows it. */
static vch_rc prove_key(apply_t *a, vch_slice_t fields, const vch_id_t *dataset, uint32_t subject,
                        const vch_keyid_t *id)
{
    vch_slice_t proof, bytes;
    uint64_t first;
    vch_range_value_t range;
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n;
    if (vch_field_map(fields, VCH_F_CONSENT_KEY_PROOF, &proof) != VCH_OK)
        return vch_fail(a->err, VCH_ERR_KEY, "a subject's first own statement must prove its key");
    VCH_TRY(vch_field_uint(proof, VCH_F_KEYPROOF_FIRST, &first));
    VCH_TRY(path_of(proof, path, &n));
    vch_state_key_t key = vch_key_id_u32('s', dataset->b, (uint32_t)first);
    vch_rc rc = st_get(a->s, &key, &bytes, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(a->err, VCH_ERR_REFERENCE, "no range of subjects begins there");
    VCH_TRY(rc);
    VCH_TRY(vch_range_get(&range, bytes));
    if (!path_proves(subject, id, first, &range, path, n))
        return vch_fail(a->err, VCH_ERR_KEY, "the key is not the subject's");
    key = vch_key_id_u32('S', dataset->b, subject);
    return st_set(a->s, &key, vch_slice(id->b, 32), a->err);
}

vch_rc st_owner(apply_t *a, vch_slice_t fields, const vch_id_t *dataset, uint32_t subject)
{
    vch_slice_t bytes, known;
    vch_keyid_t id = {{0}};
    vch_hash_t hash;
    VCH_TRY(vch_field_bytes(fields, VCH_F_CONSENT_KEY, &bytes));
    vch_sha256(&hash, bytes.p, bytes.n); /* the key's id; that it is a key was seen with its signature */
    memcpy(id.b, hash.b, sizeof id.b);
    vch_state_key_t at = vch_key_id_u32('S', dataset->b, subject);
    vch_rc rc = st_get(a->s, &at, &known, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return prove_key(a, fields, dataset, subject, &id);
    VCH_TRY(rc);
    if (known.n == 32 && memcmp(known.p, id.b, 32) == 0) return VCH_OK;
    return vch_fail(a->err, VCH_ERR_KEY, "the key is not the subject's");
}

vch_rc st_next_serial(apply_t *a, uint32_t subject, const vch_cell_t *cell, uint64_t serial)
{
    if (serial == (uint64_t)cell->serial + 1) return VCH_OK;
    return vch_fail(a->err, VCH_ERR_REPLAY, "subject %u is at serial %u: the next is %llu, not %llu", subject,
                    cell->serial, (unsigned long long)cell->serial + 1, (unsigned long long)serial);
}

static vch_rc check_custodian(change_t *c, const vch_palette_value_t *set)
{
    vch_state_key_t key = vch_key_id('d', c->dataset.b);
    vch_slice_t bytes;
    vch_dataset_value_t d;
    VCH_TRY(st_get(c->a->s, &key, &bytes, c->a->err));
    VCH_TRY(vch_dataset_get(&d, bytes));
    if (!vch_id_eq(&d.custodian, &c->a->party))
        return vch_fail(c->a->err, VCH_ERR_ROLE, "only the dataset's custodian may record for a subject");
    if (c->give && set->owner_withdrew)
        return vch_fail(c->a->err, VCH_ERR_DENIED, "the owner withdrew: only the owner can give again");
    return VCH_OK;
}

/* ---- the new set ------------------------------------------------------------------------ */

static size_t place_of(const vch_palette_value_t *set, const vch_hash_t *terms)
{
    size_t i = 0;
    while (i < set->items && memcmp(set->item[i].terms.b, terms->b, 32) < 0) i++;
    return i;
}

static bool is_at(const vch_palette_value_t *set, size_t i, const vch_hash_t *terms)
{
    return i < set->items && vch_hash_eq(&set->item[i].terms, terms);
}

static vch_rc add_to_set(const change_t *c, vch_palette_value_t *set)
{
    size_t i = place_of(set, &c->terms);
    if (!is_at(set, i, &c->terms)) {
        if (set->items == VCH_PALETTE_SET_MAX)
            return vch_fail(c->a->err, VCH_ERR_LIMIT, "a subject has at most %u consents in force",
                            VCH_PALETTE_SET_MAX);
        memmove(&set->item[i + 1], &set->item[i], (set->items - i) * sizeof set->item[0]);
        set->items++;
    }
    set->item[i] = (vch_palette_item_t){c->terms, c->until, c->by_owner ? VCH_HOW_OWNER : VCH_HOW_RECORDED};
    if (c->by_owner) set->owner_withdrew = false;
    return VCH_OK;
}

static vch_rc take_from_set(const change_t *c, vch_palette_value_t *set)
{
    size_t i = c->has_terms ? place_of(set, &c->terms) : 0;
    if (c->has_terms && !is_at(set, i, &c->terms))
        return vch_fail(c->a->err, VCH_ERR_REFERENCE, "there is no such consent to withdraw");
    if (!c->has_terms && set->items == 0 && !c->by_owner)
        return vch_fail(c->a->err, VCH_ERR_REFERENCE, "there is no consent to withdraw");
    if (c->has_terms) {
        set->items--;
        memmove(&set->item[i], &set->item[i + 1], (set->items - i) * sizeof set->item[0]);
    } else {
        set->items = 0;
    }
    memset(&set->item[set->items], 0, (VCH_PALETTE_SET_MAX - set->items) * sizeof set->item[0]);
    if (c->by_owner) set->owner_withdrew = true;
    return VCH_OK;
}

static vch_rc terms_registered(const change_t *c)
{
    vch_rc rc;
    vch_state_key_t key = vch_key_id('t', c->terms.b);
    if (st_has(c->a->s, &key, &rc, c->a->err)) return VCH_OK;
    VCH_TRY(rc);
    return vch_fail(c->a->err, VCH_ERR_REFERENCE, "these terms are not registered");
}

static vch_rc not_erased(const change_t *c)
{
    vch_rc rc;
    vch_state_key_t key = vch_key_id_u32('z', c->dataset.b, c->subject);
    if (!st_has(c->a->s, &key, &rc, c->a->err)) return rc;
    return vch_fail(c->a->err, VCH_ERR_CONFLICT, "subject %u was erased: nothing is said for it any more", c->subject);
}

static vch_rc erase_all(const change_t *c, vch_palette_value_t *set, const vch_id_t *object)
{
    vch_dataset_value_t d;
    vch_slice_t bytes;
    vch_state_key_t head = vch_key_id('d', c->dataset.b), key = vch_key_id_u32('z', c->dataset.b, c->subject);
    VCH_TRY(st_get(c->a->s, &head, &bytes, c->a->err));
    VCH_TRY(vch_dataset_get(&d, bytes));
    *set = (vch_palette_value_t){.owner_withdrew = true};
    vch_erasure_value_t v = {.erase = *object, .extents = d.extents};
    uint8_t place[36]; /* from the statement to the subject */
    memcpy(place, c->dataset.b, 32);
    vch_put_u32(place + 32, c->subject);
    VCH_TRY(st_set_at(c->a->s, 'z', object->b, vch_slice(place, sizeof place), c->a->err));
    return ST_SET(c->a->s, &key, vch_erasure_put, &v, c->a->err);
}

static vch_rc change_set(const change_t *c, vch_palette_value_t *set, const vch_id_t *object)
{
    if (c->erase) return erase_all(c, set, object);
    return c->give ? add_to_set(c, set) : take_from_set(c, set);
}

vch_rc rule_consent(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    change_t c = {.a = a};
    VCH_TRY(read_change(&c, st));
    VCH_TRY(not_erased(&c));
    VCH_TRY(st_column(a->s, &c.dataset, &c.column, a->err));
    VCH_TRY(st_cell(a->s, c.column, c.subject, &c.cell, a->err));
    VCH_TRY(st_next_serial(a, c.subject, &c.cell, c.serial));
    vch_palette_value_t set = {0};
    if (c.cell.index) set = c.column->palette[c.cell.index];
    VCH_TRY(c.by_owner ? st_owner(a, c.fields, &c.dataset, c.subject) : check_custodian(&c, &set));
    if (c.give) VCH_TRY(terms_registered(&c));
    VCH_TRY(change_set(&c, &set, object));
    vch_cell_t next = {.serial = c.serial, .last = *leaf};
    VCH_TRY(st_palette_index(a->s, c.column, &set, &next.index, a->err));
    return st_set_cell(a->s, c.column, c.subject, &next, a->err);
}
