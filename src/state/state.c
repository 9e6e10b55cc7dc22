/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state.h"

#include "codec/cbor.h"
#include "state/state_impl.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- meta: what the index has reached ------------------------------------------ */

static const uint8_t meta_key[] = {'M'};

vch_rc st_put_meta(vch_buf_t *b, const vch_state_info_t *i)
{
    VCH_TRY(vch_cbor_array(b, 6));
    VCH_TRY(vch_cbor_uint(b, i->applied));
    VCH_TRY(vch_cbor_uint(b, i->height));
    VCH_TRY(vch_cbor_bytes(b, i->root.b, 32));
    VCH_TRY(vch_cbor_bytes(b, i->network.b, 32));
    VCH_TRY(vch_cbor_uint(b, i->time.ms));
    return vch_cbor_bytes(b, i->last_commit.b, 32);
}

vch_rc st_get_meta(vch_cbor_t *c, vch_state_info_t *ret)
{
    vch_state_info_t i = {0};
    uint64_t n;
    VCH_TRY(vch_cbor_get_array(c, &n));
    if (n != 6) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_uint(c, &i.applied));
    VCH_TRY(vch_cbor_get_uint(c, &i.height));
    VCH_TRY(vch_cbor_get_fixed(c, i.root.b, 32));
    VCH_TRY(vch_cbor_get_fixed(c, i.network.b, 32));
    VCH_TRY(vch_cbor_get_uint(c, &i.time.ms));
    VCH_TRY(vch_cbor_get_fixed(c, i.last_commit.b, 32));
    *ret = i;
    return VCH_OK;
}

static vch_rc load_meta(vch_state_t *s, vch_err_t *err)
{
    vch_buf_clear(&s->value);
    vch_rc rc = vch_kv_get(s->kv, vch_slice(meta_key, 1), &s->value);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    vch_cbor_t c = vch_cbor_over(vch_buf_slice(&s->value));
    if (rc == VCH_OK) rc = st_get_meta(&c, &s->info);
    if (rc == VCH_OK) return VCH_OK;
    return vch_fail(err, rc == VCH_ERR_FORMAT ? VCH_ERR_CORRUPT : rc, "index: its head can't be read");
}

/* ---- life ------------------------------------------------------------------------ */

vch_rc vch_state_open(vch_state_t **ret, vch_kv_t *kv, vch_err_t *err)
{
    vch_state_t *s = vch_alloc(sizeof *s);
    if (!s) return no_memory(err);
    s->kv = kv;
    vch_arena_init(&s->scratch, 256u << 20);
    vch_buf_init(&s->page, 1u << 30);
    vch_buf_init(&s->expected, 4096);
    vch_buf_init(&s->value, 64u << 20);
    vch_rc rc = load_meta(s, err);
    if (rc != VCH_OK) {
        vch_state_free(s);
        return rc;
    }
    *ret = s;
    return VCH_OK;
}

void vch_state_free(vch_state_t *s)
{
    if (!s) return;
    st_accept(s);
    st_columns_free(s);
    st_drop_slots(s);
    st_drop_frozen(s);
    for (size_t i = 0; i < TERMS_BUCKETS; i++)
        for (terms_node_t *t = s->terms[i], *next; t; t = next) {
            next = t->next;
            vch_free(t);
        }
    vch_free(s->purposes);
    vch_free(s->processings);
    vch_free(s->genesis);
    vch_free(s->undo);
    vch_arena_free(&s->scratch);
    vch_buf_free(&s->page);
    vch_buf_free(&s->expected);
    vch_buf_free(&s->value);
    vch_free(s);
}

void vch_state_info(const vch_state_t *s, vch_state_info_t *ret) { *ret = s->info; }

size_t vch_state_dirty(const vch_state_t *s) { return s->dirty_bytes; }

/* ---- closing a block --------------------------------------------------------------- */

static size_t count_unhashed(const vch_state_t *s)
{
    size_t n = 0;
    for (const slot_t *slot = s->unhashed; slot; slot = slot->next_unhashed) n += slot->there;
    return n;
}

static void forget_unhashed(vch_state_t *s)
{
    for (slot_t *slot = s->unhashed, *next; slot; slot = next) {
        next = slot->next_unhashed;
        slot->unhashed = false;
        slot->next_unhashed = NULL;
    }
    s->unhashed = NULL;
}

static vch_rc hash_changes(vch_state_t *s, vch_hash_t *ret_root, vch_err_t *err)
{
    VCH_TRY(st_columns_hash(s, err));
    size_t n = count_unhashed(s), i = 0;
    vch_smt_leaf_t *leaf = vch_arena_array(&s->scratch, n, sizeof *leaf);
    if (!leaf) return no_memory(err);
    for (const slot_t *slot = s->unhashed; slot; slot = slot->next_unhashed) {
        if (!slot->there) continue;
        vch_sha256(&leaf[i].path, slot->key + 1, slot->key_n - 1u);
        vch_sha256(&leaf[i++].value_hash, slot->value, slot->n);
    }
    vch_smt_io_t io = st_smt_io(s);
    *ret_root = s->info.root;
    vch_rc rc = n ? vch_smt_update(&io, ret_root, leaf, n, &s->scratch) : VCH_OK;
    return rc == VCH_OK ? rc : vch_fail(err, rc, "state tree: %s", vch_rc_text(rc));
}

vch_rc vch_state_close_block(vch_state_t *s, vch_buf_t *ret_leaf, vch_err_t *err)
{
    if (s->broken) return vch_fail(err, VCH_ERR_INTERNAL, "the state is unusable after a failure; open it again");
    if (s->info.open_count == 0) return vch_fail(err, VCH_ERR_NOT_FOUND, "no block is open");
    vch_arena_reset(&s->scratch);
    vch_state_commit_t c = {.network = s->info.network,
                            .height = s->info.height + 1,
                            .time = s->info.time,
                            .first = s->info.open_first,
                            .count = s->info.open_count,
                            .previous = s->info.last_commit};
    size_t at = ret_leaf->n;
    vch_rc rc = hash_changes(s, &c.state_root, err);
    st_accept(s); /* pages and chunk values are not undone: a failure below is final */
    if (rc == VCH_OK) rc = vch_state_commit_put(ret_leaf, &c);
    if (rc != VCH_OK) {
        s->broken = true;
        return vch_context(err, rc, "block %llu could not be closed", (unsigned long long)c.height);
    }
    forget_unhashed(s);
    vch_tree_leaf(&s->info.last_commit, vch_slice(ret_leaf->p + at, ret_leaf->n - at));
    s->info.root = c.state_root;
    s->info.height = c.height;
    s->info.applied++;
    s->info.open_first = s->info.open_count = 0;
    return VCH_OK;
}

/* ---- saving -------------------------------------------------------------------------- */

vch_rc vch_state_freeze(vch_state_t *s, vch_err_t *err)
{
    if (s->broken) return vch_fail(err, VCH_ERR_INTERNAL, "the state is unusable after a failure; open it again");
    if (s->info.open_count) return vch_fail(err, VCH_ERR_CONFLICT, "a block is open");
    if (s->frozen.any) return vch_fail(err, VCH_ERR_CONFLICT, "an earlier save is not done");
    vch_buf_init(&s->frozen.meta, 4096);
    vch_rc rc = st_put_meta(&s->frozen.meta, &s->info) == VCH_OK ? st_columns_keep(s, err) : no_memory(err);
    if (rc != VCH_OK) {
        vch_buf_free(&s->frozen.meta);
        return rc;
    }
    st_freeze_slots(s);
    st_columns_trim(s);
    return VCH_OK;
}

bool vch_state_is_frozen(const vch_state_t *s) { return s->frozen.any; }

static vch_rc put_frozen(const vch_state_t *s, vch_err_t *err)
{
    for (const slot_t *slot = s->frozen.unsaved; slot; slot = slot->next_unsaved)
        if (slot->there)
            VCH_TRY(vch_kv_put(s->kv, vch_slice(slot->key, slot->key_n), vch_slice(slot->value, slot->n), err));
    return vch_kv_put(s->kv, vch_slice(meta_key, 1), vch_buf_slice(&s->frozen.meta), err);
}

static vch_rc save_frozen(const vch_state_t *s, vch_rc (*commit)(vch_kv_t *, vch_err_t *), vch_err_t *err)
{
    if (!s->frozen.any) return VCH_OK;
    VCH_TRY(vch_kv_begin(s->kv, err));
    vch_rc rc = put_frozen(s, err);
    if (rc == VCH_OK) return commit(s->kv, err);
    vch_kv_abort(s->kv);
    return rc;
}

vch_rc vch_state_save_frozen(const vch_state_t *s, vch_err_t *err) { return save_frozen(s, vch_kv_commit_gently, err); }

void vch_state_drop_frozen(vch_state_t *s) { st_drop_frozen(s); }

vch_rc vch_state_save(vch_state_t *s, vch_err_t *err)
{
    VCH_TRY(save_frozen(s, vch_kv_commit, err));
    st_drop_frozen(s);
    VCH_TRY(vch_state_freeze(s, err));
    VCH_TRY(save_frozen(s, vch_kv_commit, err));
    st_drop_frozen(s);
    return VCH_OK;
}

/* ---- reading --------------------------------------------------------------------------- */

static vch_rc copy_out(vch_buf_t *ret, vch_rc rc, vch_slice_t value, vch_err_t *err)
{
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "not in the state");
    VCH_TRY(rc);
    return vch_buf_put(ret, value.p, value.n);
}

vch_rc vch_state_get(vch_state_t *s, vch_slice_t key, vch_buf_t *ret, vch_err_t *err)
{
    vch_state_key_t k = {.n = key.n};
    vch_slice_t value = {NULL, 0};
    if (key.n == 0 || key.n > VCH_STATE_KEY_MAX) return vch_fail(err, VCH_ERR_LIMIT, "a state key has 1 to 48 bytes");
    memcpy(k.b, key.p, key.n);
    vch_rc rc = st_get(s, &k, &value, err);
    return copy_out(ret, rc, value, err);
}

vch_rc vch_state_prove(vch_state_t *s, vch_slice_t key, vch_smt_proof_t *ret, vch_err_t *err)
{
    if (s->info.open_count) return vch_fail(err, VCH_ERR_CONFLICT, "a block is open: close it first");
    vch_hash_t path;
    vch_sha256(&path, key.p, key.n);
    vch_smt_io_t io = st_smt_io(s);
    vch_rc rc = vch_smt_prove(&io, &s->info.root, &path, ret);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "state tree: %s", vch_rc_text(rc));
}

vch_rc vch_state_bitmap(vch_state_t *s, const vch_id_t *id, vch_buf_t *ret, vch_err_t *err)
{
    vch_slice_t value = {NULL, 0};
    vch_rc rc = st_get_at(s, 'B', id->b, &value, err);
    return copy_out(ret, rc, value, err);
}

vch_rc vch_state_subjects(vch_state_t *s, const vch_hash_t *extent_id, vch_buf_t *ret, vch_err_t *err)
{
    vch_slice_t value;
    uint8_t *to;
    vch_rc rc = st_get_at(s, 'J', extent_id->b, &value, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "the extent's subjects are contiguous");
    VCH_TRY(rc);
    VCH_TRY(vch_buf_extend(ret, value.n, &to));
    for (size_t i = 0; i + 4 <= value.n; i += 4) {
        uint32_t subject = vch_get_u32(value.p + i);
        memcpy(to + i, &subject, 4);
    }
    return VCH_OK;
}

vch_rc vch_state_extent(vch_state_t *s, const vch_hash_t *extent_id, vch_id_t *ret_dataset, uint32_t *ret_number,
                        vch_err_t *err)
{
    vch_slice_t value;
    vch_rc rc = st_get_at(s, 'E', extent_id->b, &value, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "no version has an extent of this id");
    VCH_TRY(rc);
    if (value.n != 36) return VCH_ERR_CORRUPT;
    memcpy(ret_dataset->b, value.p, 32);
    *ret_number = vch_get_u32(value.p + 32);
    return VCH_OK;
}

vch_rc vch_state_cell(vch_state_t *s, const vch_id_t *dataset, uint32_t subject, vch_cell_t *ret, vch_err_t *err)
{
    column_t *c;
    VCH_TRY(st_column(s, dataset, &c, err));
    return st_cell(s, c, subject, ret, err);
}

vch_rc vch_state_chunk(vch_state_t *s, const vch_id_t *dataset, uint32_t chunk, vch_cell_t ret[VCH_CHUNK],
                       vch_err_t *err)
{
    column_t *c;
    chunk_t *ch = NULL;
    VCH_TRY(st_column(s, dataset, &c, err));
    VCH_TRY(st_chunk(s, c, chunk, &ch, err));
    for (size_t i = 0; i < VCH_CHUNK; i++) vch_cell_get(&ret[i], ch->cell[i]);
    return VCH_OK;
}

vch_rc vch_state_find(vch_state_t *s, const vch_id_t *entry, uint64_t *ret_index)
{
    vch_slice_t value;
    VCH_TRY(st_get_at(s, 'I', entry->b, &value, NULL));
    if (value.n != 8) return VCH_ERR_CORRUPT;
    *ret_index = vch_get_u64(value.p);
    return VCH_OK;
}

/* ---- walking all keys of a tag ------------------------------------------------------------ */

typedef struct {
    vch_state_t *s;
    vch_kv_fn fn;
    void *ctx;
} each_t;

/* Each key once, however many of index, frozen and new slots have it. */
static vch_rc tell(each_t *e, slot_t *slot)
{
    if (slot->told == e->s->walks) return VCH_OK;
    slot->told = e->s->walks;
    return slot->there ? e->fn(e->ctx, vch_slice(slot->key + 1, slot->key_n - 1u), vch_slice(slot->value, slot->n))
                       : VCH_OK;
}

static vch_rc each_saved(void *ctx, vch_slice_t key, vch_slice_t value)
{
    (void)value; /* the slot has what is true now, checked against the tree */
    each_t *e = ctx;
    slot_t *slot;
    VCH_TRY(st_slot(e->s, key, &slot, NULL));
    return tell(e, slot);
}

static vch_rc each_unsaved(each_t *e, const slot_t *list, char tag)
{
    for (const slot_t *at = list, *next; at; at = next) {
        slot_t *slot;
        next = at->next_unsaved;
        if (at->key[0] != 'S' || at->key[1] != (uint8_t)tag) continue;
        VCH_TRY(st_slot(e->s, vch_slice(at->key, at->key_n), &slot, NULL));
        VCH_TRY(tell(e, slot));
    }
    return VCH_OK;
}

vch_rc vch_state_each(vch_state_t *s, char tag, vch_kv_fn fn, void *ctx)
{
    each_t e = {s, fn, ctx};
    uint8_t prefix[2] = {'S', (uint8_t)tag};
    s->walks++;
    VCH_TRY(vch_kv_each(s->kv, vch_slice(prefix, 2), each_saved, &e));
    VCH_TRY(each_unsaved(&e, s->frozen.unsaved, tag));
    return each_unsaved(&e, s->unsaved, tag);
}

/* ---- replay ------------------------------------------------------------------------------- */

static vch_rc replay_commit(vch_state_t *s, const vch_log_entry_t *e, vch_err_t *err)
{
    vch_buf_t leaf;
    vch_buf_init(&leaf, 1024);
    vch_rc rc = vch_state_close_block(s, &leaf, err);
    if (rc == VCH_OK && !vch_slice_eq(vch_buf_slice(&leaf), e->record.entry))
        rc = vch_fail(err, VCH_ERR_CORRUPT, "entry %llu: the state-commit in the log is not what replay gives",
                      (unsigned long long)e->index);
    vch_buf_free(&leaf);
    return rc;
}

/* An outcome follows its request at once; what replay computed waits here. */
static vch_rc replay_outcome(vch_state_t *s, const vch_log_entry_t *e, vch_err_t *err)
{
    bool same = s->expected.n && vch_slice_eq(vch_buf_slice(&s->expected), e->record.entry);
    vch_buf_clear(&s->expected);
    return same ? VCH_OK
                : vch_fail(err, VCH_ERR_CORRUPT, "entry %llu: the outcome in the log is not what replay gives",
                           (unsigned long long)e->index);
}

static vch_rc replay_signed(vch_state_t *s, const vch_log_entry_t *e, bool full, vch_err_t *err)
{
    vch_tx_t tx = {e->record.entry, e->record.statements, e->record.count};
    vch_prepared_t prepared;
    vch_arena_t arena;
    vch_arena_init(&arena, 64u << 20);
    vch_rc rc = vch_tx_prepare(&prepared, &tx, &arena, err);
    if (rc == VCH_OK) {
        prepared.verified = !full; /* the log vouches for what it took in once */
        if (full) rc = vch_state_verify(s, &prepared, err);
    }
    if (rc == VCH_OK) rc = vch_state_apply(s, &prepared, e->time, &s->expected, err);
    vch_arena_free(&arena);
    if (rc == VCH_OK || rc == VCH_ERR_MEMORY) return rc;
    return vch_context(err, VCH_ERR_CORRUPT, "entry %llu does not apply", (unsigned long long)e->index);
}

vch_rc vch_state_replay(vch_state_t *s, const vch_log_entry_t *e, bool full, vch_err_t *err)
{
    uint64_t expect = s->info.applied - (s->expected.n ? 1 : 0);
    if (e->index != expect)
        return vch_fail(err, VCH_ERR_CORRUPT, "replay expected entry %llu and got %llu", (unsigned long long)expect,
                        (unsigned long long)e->index);
    vch_kind_t kind;
    vch_rc rc = vch_leaf_kind(&kind, e->record.entry);
    if (rc != VCH_OK)
        return vch_fail(err, VCH_ERR_CORRUPT, "entry %llu is no entry: %s", (unsigned long long)e->index,
                        vch_rc_text(rc));
    if (s->expected.n && kind != VCH_KIND_OUTCOME)
        return vch_fail(err, VCH_ERR_CORRUPT, "entry %llu: the outcome of the request before it is missing",
                        (unsigned long long)e->index);
    if (kind == VCH_KIND_STATE_COMMIT) return replay_commit(s, e, err);
    if (kind == VCH_KIND_OUTCOME) return replay_outcome(s, e, err);
    return replay_signed(s, e, full, err);
}
