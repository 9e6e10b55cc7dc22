/* SPDX-License-Identifier: Apache-2.0 */
/* The bag: everything once, with what is needed to prove it later. */
#include "codec/cbor.h"
#include "node/evidence.h"

#define AT(x) (unsigned long long)(x)
#define ARENA_MAX ((size_t)1 << 30)

vch_rc ev_no_memory(ev_t *ev) { return vch_fail(ev->err, VCH_ERR_MEMORY, "out of memory for the evidence"); }

static vch_rc room(ev_t *ev, void *array, size_t *cap, size_t n, size_t size)
{
    void *old, *p;
    size_t want = *cap ? *cap * 2 : 16, bytes;
    if (n < *cap) return VCH_OK;
    memcpy(&old, array, sizeof old);
    p = vch_mul_overflows(want, size, &bytes) ? NULL : vch_resize(old, bytes);
    if (!p) return ev_no_memory(ev);
    memcpy(array, &p, sizeof p);
    *cap = want;
    return VCH_OK;
}

vch_rc ev_copy(ev_t *ev, vch_slice_t from, vch_slice_t *ret)
{
    void *p = vch_arena_copy(&ev->arena, from.p, from.n);
    if (!p) return ev_no_memory(ev);
    *ret = vch_slice(p, from.n);
    return VCH_OK;
}

/* ---- life ---------------------------------------------------------------------- */

static void forget_past(ev_t *ev)
{
    vch_state_free(ev->past);
    if (ev->past_kv) vch_kv_close(ev->past_kv);
    ev->past = NULL;
    ev->past_kv = NULL;
}

void ev_free(ev_t *ev)
{
    for (size_t i = 0; i < ev->leaves; i++) vch_free(ev->leaf[i].statement);
    vch_free(ev->leaf);
    vch_free(ev->item);
    vch_free(ev->set);
    vch_free(ev->column);
    vch_free(ev->subjects);
    vch_buf_free(&ev->claim);
    forget_past(ev);
    vch_arena_free(&ev->arena);
    vch_arena_free(&ev->scratch);
}

static vch_rc take_head(ev_t *ev)
{
    vch_buf_t note;
    vch_buf_init(&note, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_log_head(ev->l->log, &note, &ev->size, ev->err);
    if (rc == VCH_OK) rc = ev_copy(ev, vch_buf_slice(&note), &ev->note);
    vch_buf_free(&note);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    vch_fail(ev->err, rc, "this ledger has no signed checkpoint yet, so nothing on it can be proven");
    return vch_hint(ev->err, rc, "opened for writing with its log key (keys/log.pem), it signs one when it is closed");
}

vch_rc ev_init(ev_t *ev, vch_ledger_t *l, vch_err_t *err)
{
    *ev = (ev_t){.l = l, .err = err};
    vch_arena_init(&ev->arena, ARENA_MAX);
    vch_arena_init(&ev->scratch, ARENA_MAX);
    vch_buf_init(&ev->claim, VCH_BUNDLE_BYTES_MAX);
    return take_head(ev);
}

/* ---- leaves ---------------------------------------------------------------------- */

ev_leaf_t *ev_find_leaf(ev_t *ev, uint64_t index)
{
    for (size_t i = ev->leaves; i-- > 0;)
        if (ev->leaf[i].index == index) return &ev->leaf[i];
    return NULL;
}

static vch_rc read_log(ev_t *ev, uint64_t index, vch_log_entry_t *ret)
{
    vch_arena_reset(&ev->scratch);
    return vch_log_read(ev->l->log, index, &ev->scratch, ret, ev->err);
}

static vch_rc put_leaf(ev_t *ev, const vch_log_entry_t *e, vch_kind_t kind, uint64_t commit)
{
    ev_leaf_t leaf = {.index = e->index, .kind = kind, .commit = commit};
    if (ev_find_leaf(ev, e->index)) return VCH_OK;
    if (kind != VCH_KIND_STATE_COMMIT && kind != VCH_KIND_OUTCOME) {
        vch_entry_t entry;
        VCH_TRY(vch_entry_read(&entry, e->record.entry, ev->err));
        leaf.signer = entry.cose.kid;
    }
    VCH_TRY(ev_copy(ev, e->record.entry, &leaf.bytes));
    VCH_TRY(room(ev, &ev->leaf, &ev->leaf_cap, ev->leaves, sizeof *ev->leaf));
    ev->leaf[ev->leaves++] = leaf;
    return VCH_OK;
}

/* The state-commit that closes the block of `index`: the first one behind it. */
static vch_rc find_commit(ev_t *ev, uint64_t index, uint64_t *ret)
{
    vch_log_entry_t e;
    vch_kind_t kind;
    vch_state_commit_t c;
    for (size_t i = 0; i < ev->leaves; i++) {
        const ev_leaf_t *l = &ev->leaf[i];
        if (l->kind != VCH_KIND_STATE_COMMIT || l->index < index || vch_state_commit_get(&c, l->bytes) != VCH_OK)
            continue;
        if (c.first <= index) {
            *ret = l->index;
            return VCH_OK;
        }
    }
    for (uint64_t i = index; i < ev->size; i++) {
        VCH_TRY(read_log(ev, i, &e));
        VCH_TRY(vch_leaf_kind(&kind, e.record.entry));
        if (kind != VCH_KIND_STATE_COMMIT) continue;
        *ret = i;
        return put_leaf(ev, &e, kind, i);
    }
    return vch_fail(ev->err, VCH_ERR_CORRUPT, "no state-commit closes the block of entry %llu", AT(index));
}

vch_rc ev_leaf(ev_t *ev, uint64_t index, vch_kind_t *ret_kind)
{
    vch_log_entry_t e;
    vch_kind_t kind;
    uint64_t commit = 0;
    const ev_leaf_t *l = ev_find_leaf(ev, index);
    if (l) {
        if (ret_kind) *ret_kind = l->kind;
        return VCH_OK;
    }
    if (index >= ev->size) {
        vch_fail(ev->err, VCH_ERR_CONFLICT, "entry %llu is not under a signed checkpoint yet (size %llu)", AT(index),
                 AT(ev->size));
        return vch_hint(ev->err, VCH_ERR_CONFLICT, "opened for writing with its log key, the ledger signs one");
    }
    VCH_TRY(find_commit(ev, index, &commit));
    VCH_TRY(read_log(ev, index, &e));
    VCH_TRY(vch_leaf_kind(&kind, e.record.entry));
    VCH_TRY(put_leaf(ev, &e, kind, commit));
    if (ret_kind) *ret_kind = kind;
    return VCH_OK;
}

/* ---- statements --------------------------------------------------------------------- */

vch_rc ev_tree_path(ev_t *ev, vch_hash_t *leaves, size_t n, size_t i, vch_slice_t *ret)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    vch_hash_t *work = vch_alloc_array(n, sizeof *work);
    if (!work) return ev_no_memory(ev);
    size_t hashes = vch_tree_path(path, leaves, n, i, work);
    vch_free(work);
    return ev_copy(ev, vch_slice(path, hashes * sizeof *path), ret);
}

static vch_rc statement_path(ev_t *ev, const vch_record_t *r, uint32_t number, vch_slice_t *ret)
{
    vch_hash_t *leaf = vch_arena_array(&ev->scratch, r->count, sizeof *leaf);
    if (!leaf) return ev_no_memory(ev);
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->erased && r->erased[i])
            memcpy(leaf[i].b, r->statements[i].p, 32);
        else
            vch_tree_leaf(&leaf[i], r->statements[i]);
    }
    return ev_tree_path(ev, leaf, r->count, number, ret);
}

static vch_rc put_statement(ev_t *ev, uint64_t index, uint32_t number, vch_slice_t *ret)
{
    vch_log_entry_t e;
    ev_statement_t s = {.number = number};
    VCH_TRY(read_log(ev, index, &e));
    if (number >= e.record.count)
        return vch_fail(ev->err, VCH_ERR_CORRUPT, "entry %llu has no statement %u", AT(index), number);
    if (e.record.erased && e.record.erased[number])
        return vch_fail(ev->err, VCH_ERR_NOT_FOUND, "statement %u of entry %llu was erased: only its hash is left",
                        number, AT(index));
    VCH_TRY(ev_copy(ev, e.record.statements[number], &s.bytes));
    VCH_TRY(statement_path(ev, &e.record, number, &s.path));
    ev_leaf_t *l = ev_find_leaf(ev, index);
    if (!l) return vch_fail(ev->err, VCH_ERR_INTERNAL, "a statement without its leaf");
    VCH_TRY(room(ev, &l->statement, &l->cap, l->statements, sizeof *l->statement));
    size_t at = l->statements++;
    for (; at > 0 && l->statement[at - 1].number > number; at--) l->statement[at] = l->statement[at - 1];
    l->statement[at] = s;
    *ret = s.bytes;
    return VCH_OK;
}

vch_rc ev_statement(ev_t *ev, uint64_t index, uint32_t number, vch_statement_t *ret)
{
    vch_slice_t bytes = {NULL, 0};
    VCH_TRY(ev_leaf(ev, index, NULL));
    const ev_leaf_t *l = ev_find_leaf(ev, index);
    for (size_t i = 0; i < l->statements; i++)
        if (l->statement[i].number == number) bytes = l->statement[i].bytes;
    if (!bytes.n) VCH_TRY(put_statement(ev, index, number, &bytes));
    return vch_statement_read(ret, bytes, ev->err);
}

vch_rc ev_object(ev_t *ev, const vch_id_t *id, vch_kind_t kind, vch_statement_t *ret, uint64_t *ret_index)
{
    uint64_t index;
    uint32_t number;
    VCH_TRY(vch_object_find(ev->l, id, &index, &number, ev->err));
    VCH_TRY(ev_statement(ev, index, number, ret));
    *ret_index = index;
    if (ret->kind == kind) return VCH_OK;
    return vch_fail(ev->err, VCH_ERR_REFERENCE, "entry %llu is a %s, not a %s", AT(index), vch_schema(ret->kind)->name,
                    vch_schema(kind)->name);
}

/* ---- state, now and then --------------------------------------------------------------- */

static vch_rc replay_one(void *ctx, const vch_log_entry_t *e)
{
    ev_t *ev = ctx;
    return vch_state_replay(ev->past, e, false, ev->err);
}

static vch_rc begin_past(ev_t *ev)
{
    VCH_TRY(vch_kv_open_memory(&ev->past_kv, ev->err));
    vch_rc rc = vch_state_open(&ev->past, ev->past_kv, ev->err);
    if (rc != VCH_OK) forget_past(ev);
    return rc;
}

vch_rc ev_state(ev_t *ev, uint64_t commit, vch_state_t **ret)
{
    vch_state_info_t now, past = {0};
    vch_state_info(ev->l->state, &now);
    if (now.applied == commit + 1 && now.open_count == 0) {
        *ret = ev->l->state;
        return VCH_OK;
    }
    if (ev->past) vch_state_info(ev->past, &past);
    if (past.applied > commit + 1) {
        forget_past(ev);
        past = (vch_state_info_t){0};
    }
    if (!ev->past) VCH_TRY(begin_past(ev));
    if (past.applied <= commit) VCH_TRY(vch_log_replay(ev->l->log, past.applied, commit + 1, replay_one, ev, ev->err));
    *ret = ev->past;
    return VCH_OK;
}

static vch_rc prove(ev_t *ev, vch_state_t *s, ev_item_t *it)
{
    vch_smt_proof_t *p = vch_alloc(sizeof *p);
    if (!p) return ev_no_memory(ev);
    vch_rc rc = vch_state_prove(s, vch_key_slice(&it->key), p, ev->err);
    if (rc == VCH_OK && (p->end == VCH_SMT_MEMBER) != it->present)
        rc = vch_fail(ev->err, VCH_ERR_CORRUPT, "a \"%c\" value and the state tree disagree", it->key.b[0]);
    if (rc == VCH_OK) {
        it->has_other = p->end == VCH_SMT_OTHER;
        it->other = p->leaf;
        rc = ev_copy(ev, vch_slice(p->sibling, p->depth * sizeof *p->sibling), &it->path);
    }
    vch_free(p);
    return rc;
}

static vch_rc get_value(ev_t *ev, vch_state_t *s, ev_item_t *it)
{
    vch_buf_t value;
    vch_buf_init(&value, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_state_get(s, vch_key_slice(&it->key), &value, ev->err);
    it->present = rc == VCH_OK;
    if (rc == VCH_OK) rc = ev_copy(ev, vch_buf_slice(&value), &it->value);
    if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK;
    vch_buf_free(&value);
    return rc;
}

/* Doubles fall away when the bag is written. */
vch_rc ev_item(ev_t *ev, uint64_t commit, const vch_state_key_t *key, vch_slice_t *ret, bool *ret_present)
{
    ev_item_t it = {.commit = commit, .key = *key};
    vch_state_t *s;
    VCH_TRY(ev_leaf(ev, commit, NULL));
    VCH_TRY(ev_state(ev, commit, &s));
    VCH_TRY(get_value(ev, s, &it));
    VCH_TRY(prove(ev, s, &it));
    VCH_TRY(room(ev, &ev->item, &ev->item_cap, ev->items, sizeof *ev->item));
    ev->item[ev->items++] = it;
    *ret = it.value;
    *ret_present = it.present;
    return VCH_OK;
}

vch_rc ev_value(ev_t *ev, uint64_t commit, const vch_state_key_t *key, vch_slice_t *ret)
{
    bool present;
    VCH_TRY(ev_item(ev, commit, key, ret, &present));
    if (present) return VCH_OK;
    return vch_fail(ev->err, VCH_ERR_CORRUPT, "the state at entry %llu lacks a \"%c\" value that later entries rest on",
                    AT(commit), key->b[0]);
}

/* Keys that were registered later than this block are left to the next ask. */
vch_rc ev_signers(ev_t *ev, uint64_t commit)
{
    vch_state_key_t key = vch_key_plain('g');
    vch_slice_t value = {NULL, 0};
    VCH_TRY(ev_value(ev, commit, &key, &value));
    for (size_t i = 0; i < ev->leaves; i++) {
        vch_kind_t kind = ev->leaf[i].kind;
        bool seen = kind == VCH_KIND_STATE_COMMIT || kind == VCH_KIND_OUTCOME;
        for (size_t k = 0; k < i && !seen; k++) seen = vch_keyid_eq(&ev->leaf[k].signer, &ev->leaf[i].signer);
        key = vch_key_id('k', ev->leaf[i].signer.b);
        if (!seen) VCH_TRY(ev_value(ev, commit, &key, &value));
    }
    return VCH_OK;
}

/* ---- what lies beside the state --------------------------------------------------------- */

static vch_rc put_named(ev_t *ev, ev_named_t **list, size_t *n, size_t *cap, const vch_hash_t *name, vch_slice_t bytes)
{
    ev_named_t item = {.name = *name};
    for (size_t i = 0; i < *n; i++)
        if (vch_hash_eq(&(*list)[i].name, name)) return VCH_OK;
    VCH_TRY(ev_copy(ev, bytes, &item.bytes));
    VCH_TRY(room(ev, list, cap, *n, sizeof **list));
    (*list)[(*n)++] = item;
    ev->bulk += bytes.n;
    return VCH_OK;
}

vch_rc ev_set(ev_t *ev, vch_slice_t bits)
{
    vch_hash_t root;
    vch_arena_reset(&ev->scratch);
    VCH_TRY(vch_set_root(&root, bits.p, bits.n, &ev->scratch));
    return put_named(ev, &ev->set, &ev->sets, &ev->set_cap, &root, bits);
}

vch_rc ev_subjects(ev_t *ev, const vch_hash_t *extent, vch_slice_t list)
{
    return put_named(ev, &ev->subjects, &ev->subject_lists, &ev->subject_cap, extent, list);
}

vch_rc ev_column(ev_t *ev, const ev_column_t *c)
{
    ev_column_t copy = *c;
    for (size_t i = 0; i < ev->columns; i++) {
        const ev_column_t *o = &ev->column[i];
        if (o->chunk == c->chunk && vch_id_eq(&o->dataset, &c->dataset) && vch_hash_eq(&o->cells, &c->cells) &&
            vch_slice_eq(o->flat, c->flat))
            return VCH_OK;
    }
    VCH_TRY(ev_copy(ev, c->flat, &copy.flat));
    VCH_TRY(room(ev, &ev->column, &ev->column_cap, ev->columns, sizeof *ev->column));
    ev->column[ev->columns++] = copy;
    ev->bulk += c->flat.n;
    return VCH_OK;
}
