/* SPDX-License-Identifier: Apache-2.0 */
/* Phase 1: every item of the bag leads to a signed checkpoint, or the bundle
 * fails.  Nothing stands in a bundle unchecked, whether the claim needs it or
 * not; so a changed byte can't hide in what happens not to be used. */
#include "verify/verify_impl.h"

/* ---- checkpoints ------------------------------------------------------------------- */

static vch_rc check_checkpoint(verify_t *v, size_t i)
{
    vfy_checkpoint_t *c = &v->checkpoint[i];
    vch_note_t *note = vch_arena_alloc(v->arena, sizeof *note);
    if (!note) return vfy_no_memory(v);
    if (vch_note_get(note, c->note) != VCH_OK || vch_checkpoint_get(&c->text, note->text) != VCH_OK)
        return vfy_stop(v, VCH_V_F_FORMAT, "checkpoint %zu is not a signed note over a tree size and root", i);
    vch_rc rc = vch_trust_judge(v->trust, note, &c->text, &c->trust);
    if (rc != VCH_OK) return vfy_stop(v, VCH_V_F_FORMAT, "checkpoint %zu can't be judged: %s", i, vch_rc_text(rc));
    if (c->trust.forged) return vfy_stop(v, VCH_V_F_CHECKPOINT, "the checkpoint of size %llu", AT(c->text.size));
    if (!c->trust.log_known)
        vfy_doubt(v, VCH_V_I_LOG, "the checkpoint of size %llu of \"%s\"", AT(c->text.size),
                  vfy_name(c->text.origin).s);
    else
        vfy_link(v, "checkpoint of size %llu: signed by a log that the policy names, %zu of its witnesses cosigned",
                 AT(c->text.size), c->trust.witnesses);
    return VCH_OK;
}

static vch_rc check_consistency(verify_t *v, size_t i)
{
    const vch_checkpoint_t *a = &v->checkpoint[i].text, *b = &v->checkpoint[i + 1].text;
    vch_slice_t path = v->consistency[i];
    if (!vch_slice_eq(a->origin, b->origin)) return vfy_stop(v, VCH_V_F_CONSISTENCY, "the checkpoints are of two logs");
    if (a->size >= b->size) return vfy_stop(v, VCH_V_F_FORMAT, "the sizes of the checkpoints do not ascend");
    if (!vch_consistency_verify(a->size, b->size, &a->root, &b->root, vfy_path(path), vfy_path_n(path)))
        return vfy_stop(v, VCH_V_F_CONSISTENCY, "the log of size %llu is not a beginning of that of size %llu",
                        AT(a->size), AT(b->size));
    vfy_link(v, "the log of size %llu is the beginning of that of size %llu", AT(a->size), AT(b->size));
    return VCH_OK;
}

static vch_rc check_checkpoints(verify_t *v)
{
    for (size_t i = 0; i < v->checkpoints; i++) VCH_TRY(check_checkpoint(v, i));
    for (size_t i = 0; i < v->consistencies; i++) VCH_TRY(check_consistency(v, i));
    const vfy_checkpoint_t *newest = &v->checkpoint[v->checkpoints - 1];
    vch_report_t *r = v->report;
    r->newest_size = newest->text.size;
    r->witnessed = newest->trust.wants_witness && newest->trust.quorum;
    r->witness_s = r->witnessed ? newest->trust.quorum_time : 0;
    if (!newest->trust.quorum)
        vfy_doubt(v, VCH_V_I_QUORUM, "the newest checkpoint, of size %llu, has %zu of the policy's witnesses",
                  AT(newest->text.size), newest->trust.witnesses);
    return VCH_OK;
}

/* ---- leaves --------------------------------------------------------------------------- */

static vch_rc check_inclusion(verify_t *v, vfy_leaf_t *l)
{
    const vch_checkpoint_t *c = &v->checkpoint[l->checkpoint].text;
    vch_tree_leaf(&l->hash, l->bytes);
    if (!vch_inclusion_verify(l->index, c->size, &l->hash, vfy_path(l->path), vfy_path_n(l->path), &c->root))
        return vfy_stop(v, VCH_V_F_INCLUSION, "the leaf at %llu under size %llu", AT(l->index), AT(c->size));
    return VCH_OK;
}

static vch_rc check_network(verify_t *v, const vfy_leaf_t *l, const vch_hash_t *network)
{
    static const vch_hash_t zero;
    /* Genesis can't name the network that its own hash will be. */
    bool genesis = l->kind == VCH_KIND_GENESIS && l->index == 0 && vch_hash_eq(network, &zero);
    if (genesis || vch_hash_eq(network, &v->network)) return VCH_OK;
    return vfy_stop(v, VCH_V_F_NETWORK, "the leaf at %llu", AT(l->index));
}

static vch_rc check_owner(verify_t *v, const vfy_leaf_t *l, const vfy_statement_t *s)
{
    vch_slice_t bytes;
    vch_pubkey_t key;
    if (!vch_owner_speaks(s->st.kind, s->st.fields)) return VCH_OK;
    if (vch_field_bytes(s->st.fields, VCH_F_CONSENT_KEY, &bytes) == VCH_OK && vch_pubkey_get(&key, bytes) == VCH_OK &&
        vch_owner_verify(&v->network, s->st.kind, s->st.fields, &key) == VCH_OK) {
        vfy_link(v, "statement %llu at %llu is signed by the owner it speaks for", AT(s->number), AT(l->index));
        return VCH_OK;
    }
    return vfy_stop(v, VCH_V_F_SIGNATURE, "the owner's signature in statement %llu at %llu", AT(s->number),
                    AT(l->index));
}

static vch_rc check_statement(verify_t *v, const vfy_leaf_t *l, vfy_statement_t *s)
{
    const vch_entry_t *e = &l->entry;
    vch_tree_leaf(&s->hash, s->bytes);
    if (!vch_inclusion_verify(s->number, e->count, &s->hash, vfy_path(s->path), vfy_path_n(s->path), &e->root))
        return vfy_stop(v, VCH_V_F_STATEMENT, "statement %llu of the entry at %llu", AT(s->number), AT(l->index));
    vch_err_t err = {0};
    vch_rc rc = vch_statement_read(&s->st, s->bytes, &err);
    if (rc == VCH_ERR_UNSUPPORTED) {
        vfy_doubt(v, VCH_V_I_VERSION, "statement %llu at %llu is of a kind that is unknown here", AT(s->number),
                  AT(l->index));
        return VCH_OK;
    }
    if (rc != VCH_OK || s->st.kind != e->kind)
        return vfy_stop(v, VCH_V_F_STATEMENT, "statement %llu at %llu: %.200s", AT(s->number), AT(l->index),
                        rc ? err.text : "its kind is not the entry's");
    s->object = vch_object_id(&e->id, (uint16_t)s->number);
    s->known = true;
    if (l->kind == VCH_KIND_GENESIS && s->number == 0) {
        vch_hash_t network;
        vch_sha256(&network, s->bytes.p, s->bytes.n);
        if (!vch_hash_eq(&network, &v->network)) return vfy_stop(v, VCH_V_F_NETWORK, "this genesis is another one");
    }
    return vch_schema(e->kind)->owner_signed ? check_owner(v, l, s) : VCH_OK;
}

static vch_rc check_entry(verify_t *v, vfy_leaf_t *l)
{
    vch_err_t err = {0};
    vch_rc rc = vch_entry_read(&l->entry, l->bytes, &err);
    if (rc != VCH_OK) return vfy_stop(v, VCH_V_F_FORMAT, "the entry at %llu: %.200s", AT(l->index), err.text);
    VCH_TRY(check_network(v, l, &l->entry.network));
    const vfy_key_t *key = vfy_find_key(v, &l->entry.cose.kid);
    if (!key)
        vfy_doubt(v, VCH_V_I_MISSING, "key %s, which signed the entry at %llu", SHORT(&l->entry.cose.kid),
                  AT(l->index));
    else if (vch_cose_verify(&l->entry.cose, &key->key, NULL) != VCH_OK)
        return vfy_stop(v, VCH_V_F_SIGNATURE, "the entry at %llu under key %s", AT(l->index), SHORT(&key->id));
    for (size_t i = 0; i < l->statements; i++) VCH_TRY(check_statement(v, l, &l->statement[i]));
    if (key)
        vfy_link(v, "%s at %llu: in the log under size %llu, signed by key %s, %zu of its %u statements shown",
                 vch_schema(l->kind)->name, AT(l->index), AT(v->checkpoint[l->checkpoint].text.size), SHORT(&key->id),
                 l->statements, l->entry.count);
    return VCH_OK;
}

/* Outcomes and state-commits: made by the ledger, so nobody signs them. */
static vch_rc check_unsigned(verify_t *v, vfy_leaf_t *l)
{
    bool commit = l->kind == VCH_KIND_STATE_COMMIT;
    vch_rc rc = commit ? vch_state_commit_get(&l->commit, l->bytes) : vch_outcome_get(&l->outcome, l->bytes);
    if (rc != VCH_OK || l->statements > 0)
        return vfy_stop(v, VCH_V_F_FORMAT, "the leaf at %llu is malformed", AT(l->index));
    VCH_TRY(check_network(v, l, commit ? &l->commit.network : &l->outcome.network));
    vfy_link(v, "%s at %llu: in the log under size %llu", commit ? "state-commit" : "outcome", AT(l->index),
             AT(v->checkpoint[l->checkpoint].text.size));
    return VCH_OK;
}

static vch_rc check_leaf(verify_t *v, vfy_leaf_t *l)
{
    VCH_TRY(check_inclusion(v, l));
    vch_rc rc = vch_leaf_kind(&l->kind, l->bytes);
    if (rc == VCH_ERR_UNSUPPORTED) {
        vfy_doubt(v, VCH_V_I_VERSION, "the leaf at %llu is of a kind that is unknown here", AT(l->index));
        return VCH_OK;
    }
    if (rc != VCH_OK) return vfy_stop(v, VCH_V_F_FORMAT, "the leaf at %llu is malformed", AT(l->index));
    bool made = l->kind == VCH_KIND_STATE_COMMIT || l->kind == VCH_KIND_OUTCOME;
    VCH_TRY(made ? check_unsigned(v, l) : check_entry(v, l));
    l->known = true;
    return VCH_OK;
}

/* Blocks end where they say, follow each other, and time does not run back. */
static vch_rc check_blocks(verify_t *v)
{
    const vfy_leaf_t *last = NULL;
    for (size_t i = 0; i < v->leaves; i++) {
        const vfy_leaf_t *l = &v->leaf[i];
        uint64_t end;
        if (!l->known || l->kind != VCH_KIND_STATE_COMMIT) continue;
        const vch_state_commit_t *c = &l->commit, *p = last ? &last->commit : NULL;
        if (__builtin_add_overflow(c->first, c->count, &end) || end != l->index)
            return vfy_stop(v, VCH_V_F_REFERENCE, "the state-commit at %llu closes another block", AT(l->index));
        if (p && c->time.ms < p->time.ms)
            return vfy_stop(v, VCH_V_F_TIME, "the block at %llu is older than that at %llu", AT(l->index),
                            AT(last->index));
        bool next = p && c->height == p->height + 1;
        if ((p && (c->first <= last->index || c->height <= p->height)) ||
            (next && (!vch_hash_eq(&c->previous, &last->hash) || c->first != last->index + 1)))
            return vfy_stop(v, VCH_V_F_REFERENCE, "the block at %llu does not follow that at %llu", AT(l->index),
                            AT(last->index));
        last = l;
    }
    return VCH_OK;
}

/* ---- values of the state ------------------------------------------------------------- */

static bool leads_to_root(const vfy_item_t *it, const vch_hash_t *root)
{
    vch_hash_t path, value;
    vch_smt_leaf_t other;
    vch_sha256(&path, it->key.p, it->key.n);
    if (it->present) {
        vch_sha256(&value, it->value.p, it->value.n);
        return vch_smt_verify_member(root, &path, &value, vfy_path(it->path), vfy_path_n(it->path));
    }
    if (it->other.n) {
        memcpy(other.path.b, it->other.p, 32);
        memcpy(other.value_hash.b, it->other.p + 32, 32);
    }
    return vch_smt_verify_absent(root, &path, it->other.n ? &other : NULL, vfy_path(it->path), vfy_path_n(it->path));
}

static vch_rc check_item(verify_t *v, const vfy_item_t *it)
{
    char tag = it->key.p[0] > 0x20 && it->key.p[0] < 0x7f ? (char)it->key.p[0] : '?';
    const vfy_leaf_t *commit = vfy_find_commit(v, it->index);
    if (!commit && vfy_find_leaf(v, it->index))
        return vfy_stop(v, VCH_V_F_REFERENCE, "a \"%c\" value names the leaf at %llu, which is no state-commit", tag,
                        AT(it->index));
    if (!commit) return vfy_stop(v, VCH_V_I_MISSING, "the state-commit at %llu", AT(it->index));
    if (!leads_to_root(it, &commit->commit.state_root))
        return vfy_stop(v, VCH_V_F_STATE, "a \"%c\" value under the state-commit at %llu", tag, AT(it->index));
    v->report->links++;
    if (tag != 'g' || it->key.n != 1 || !it->present) return VCH_OK;
    vch_slice_t origin; /* genesis says which log this network lives on */
    if (vch_cbor_check(it->value) != VCH_OK || vch_field_bytes(it->value, VCH_F_GENESIS_ORIGIN, &origin) != VCH_OK)
        return vfy_stop(v, VCH_V_F_STATE, "the genesis in the state is malformed");
    if (vch_origin_goes_on(v->checkpoint[0].text.origin, origin)) return VCH_OK;
    return vfy_stop(v, VCH_V_F_NETWORK, "the network lives on the log \"%s\", the checkpoints are of \"%s\"",
                    vfy_name(origin).s, vfy_name(v->checkpoint[0].text.origin).s);
}

static vch_rc check_items(verify_t *v)
{
    for (size_t i = 0; i < v->items; i++) VCH_TRY(check_item(v, &v->item[i]));
    vfy_sort_items(v);
    if (v->items) vfy_link(v, "%zu values lead to the state roots of their blocks", v->items);
    return VCH_OK;
}

/* ---- what is disclosed beside ---------------------------------------------------------- */

static vch_rc check_sets(verify_t *v)
{
    for (size_t i = 0; i < v->sets; i++) {
        vch_hash_t root;
        size_t mark = v->arena->used;
        vch_rc rc = vch_set_root(&root, v->set[i].bytes.p, v->set[i].bytes.n, v->arena);
        v->arena->used = mark;
        if (rc != VCH_OK) return vfy_no_memory(v);
        if (!vch_hash_eq(&root, &v->set[i].id))
            return vfy_stop(v, VCH_V_F_COMMITMENT, "the row set %s", SHORT(&v->set[i].id));
        vfy_link(v, "row set %s: its bits lead to its root", SHORT(&root));
    }
    return VCH_OK;
}

/* Some block of the bag holds these indices and cells.  Disclosed data that
 * nothing in the bag speaks of is no lie, but it is not evidence either. */
static vch_rc check_column(verify_t *v, vfy_column_t *c)
{
    vch_hash_t flat;
    bool spoken_of = false;
    vch_sha256(&flat, c->flat.p, c->flat.n);
    memcpy(c->value, flat.b, 32);
    vch_state_key_t key = vch_key_id_u32('C', c->dataset.b, (uint32_t)c->chunk);
    for (size_t i = 0; i < v->leaves; i++) {
        const vfy_item_t *it = vfy_find_item(v, v->leaf[i].index, &key);
        spoken_of |= it != NULL;
        if (it && it->present && vch_slice_eq(it->value, vch_slice(c->value, sizeof c->value))) return VCH_OK;
    }
    return vfy_stop(v, spoken_of ? VCH_V_F_COMMITMENT : VCH_V_I_MISSING, "chunk %llu of the consents in dataset %s",
                    AT(c->chunk), SHORT(&c->dataset));
}

static vch_rc check_subjects(verify_t *v, const vfy_blob_t *s)
{
    vch_hash_t hash;
    vch_extent_value_t e;
    bool spoken_of = false;
    vch_sha256(&hash, s->bytes.p, s->bytes.n);
    for (size_t i = 0; i < v->items; i++) {
        const vfy_item_t *it = &v->item[i];
        if (it->key.p[0] != 'e' || !it->present || vch_extent_get(&e, it->value) != VCH_OK) continue;
        if (!vch_hash_eq(&e.id, &s->id)) continue;
        spoken_of = true;
        if (!e.contiguous && s->bytes.n == 4 * (size_t)e.count && vch_hash_eq(&e.subjects_hash, &hash)) return VCH_OK;
    }
    return vfy_stop(v, spoken_of ? VCH_V_F_COMMITMENT : VCH_V_I_MISSING, "the subjects of extent %s", SHORT(&s->id));
}

vch_rc vfy_check(verify_t *v)
{
    VCH_TRY(check_checkpoints(v));
    /* What an unknown log says proves nothing in either direction. */
    if (v->report->code == VCH_V_I_LOG) return VCH_ERR_DENIED;
    for (size_t i = 0; i < v->leaves; i++) VCH_TRY(check_leaf(v, &v->leaf[i]));
    VCH_TRY(check_blocks(v));
    VCH_TRY(check_items(v));
    VCH_TRY(check_sets(v));
    for (size_t i = 0; i < v->columns; i++) VCH_TRY(check_column(v, &v->column[i]));
    for (size_t i = 0; i < v->subject_lists; i++) VCH_TRY(check_subjects(v, &v->subjects[i]));
    return VCH_OK;
}
