/* SPDX-License-Identifier: Apache-2.0 */
/* Slots: what the index holds, what changed, and how to undo it. */
#include "state/state_impl.h"

#include "merkle/smt.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

static size_t bucket_of(vch_slice_t key, size_t buckets) { return vch_crc32c(0, key.p, key.n) & (buckets - 1); }

static vch_rc grow_buckets(vch_state_t *s, vch_err_t *err)
{
    size_t buckets = s->buckets ? s->buckets * 2 : 1024;
    slot_t **fresh = vch_alloc_array(buckets, sizeof(slot_t *));
    if (!fresh) return no_memory(err);
    slot_t **old = s->bucket;
    size_t old_n = s->buckets;
    s->bucket = fresh;
    s->buckets = buckets;
    for (size_t i = 0; i < old_n; i++)
        for (slot_t *slot = old[i], *next; slot; slot = next) {
            next = slot->next;
            size_t b = bucket_of(vch_slice(slot->key, slot->key_n), buckets);
            slot->next = fresh[b];
            fresh[b] = slot;
        }
    vch_free(old);
    return VCH_OK;
}

static vch_slice_t index_key(uint8_t ret[SLOT_KEY_MAX], char space, const void *p, size_t n)
{
    ret[0] = (uint8_t)space;
    memcpy(ret + 1, p, n);
    return vch_slice(ret, n + 1);
}

static slot_t *find_in(slot_t *const *bucket, size_t buckets, vch_slice_t key)
{
    if (buckets == 0) return NULL;
    for (slot_t *slot = bucket[bucket_of(key, buckets)]; slot; slot = slot->next)
        if (vch_slice_eq(vch_slice(slot->key, slot->key_n), key)) return slot;
    return NULL;
}

static slot_t *find_slot(const vch_state_t *s, vch_slice_t key) { return find_in(s->bucket, s->buckets, key); }

static const slot_t *find_frozen(const vch_state_t *s, vch_slice_t key)
{
    return find_in(s->frozen.bucket, s->frozen.buckets, key);
}

static vch_rc new_slot(vch_state_t *s, vch_slice_t key, slot_t **ret, vch_err_t *err)
{
    if (s->slots >= s->buckets) VCH_TRY(grow_buckets(s, err));
    slot_t *slot = vch_alloc(sizeof *slot);
    if (!slot) return no_memory(err);
    slot->key_n = (uint8_t)key.n;
    memcpy(slot->key, key.p, key.n);
    size_t b = bucket_of(key, s->buckets);
    slot->next = s->bucket[b];
    s->bucket[b] = slot;
    s->slots++;
    *ret = slot;
    return VCH_OK;
}

static void forget(vch_state_t *s, slot_t *slot)
{
    slot_t **at = &s->bucket[bucket_of(vch_slice(slot->key, slot->key_n), s->buckets)];
    while (*at != slot) at = &(*at)->next;
    *at = slot->next;
    s->slots--;
    vch_free(slot->value);
    vch_free(slot);
}

static vch_rc tree_says(vch_rc rc, vch_err_t *err)
{
    if (rc == VCH_OK) return rc;
    if (rc == VCH_ERR_COMMITMENT) return vch_fail(err, VCH_ERR_CORRUPT, "a state value does not match the state tree");
    return vch_fail(err, rc, "state tree: a page can't be used: %s", vch_rc_text(rc));
}

/* The index is derived and may be damaged: what it says of a state value must
 * be what the state tree says, also when it says "nothing". */
static vch_rc check_loaded(vch_state_t *s, const slot_t *slot, vch_err_t *err)
{
    if (slot->key[0] != 'S') return VCH_OK;
    vch_smt_leaf_t said = {0};
    vch_sha256(&said.path, slot->key + 1, slot->key_n - 1u);
    if (slot->there) vch_sha256(&said.value_hash, slot->value, slot->n);
    vch_smt_io_t io = st_smt_io(s);
    vch_rc rc = tree_says(vch_smt_check(&io, &s->info.root, &said, 1, NULL), err);
    return rc == VCH_OK ? rc : vch_context(err, rc, "kind '%c'", slot->key[1]);
}

vch_rc st_saved(vch_state_t *s, vch_slice_t key, vch_buf_t *ret)
{
    const slot_t *slot = find_frozen(s, key);
    if (!slot) return vch_kv_get(s->kv, key, ret);
    return slot->there ? vch_buf_put(ret, slot->value, slot->n) : VCH_ERR_NOT_FOUND;
}

static vch_rc read_slot(vch_state_t *s, slot_t *slot, vch_err_t *err)
{
    vch_buf_t buf;
    vch_buf_init(&buf, 1u << 30);
    vch_rc rc = st_saved(s, vch_slice(slot->key, slot->key_n), &buf);
    if (rc == VCH_OK) {
        slot->there = true;
        slot->value = buf.p; /* the buffer's memory becomes the slot's */
        slot->n = buf.n;
        return VCH_OK;
    }
    vch_buf_free(&buf);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    return vch_fail(err, rc, "index: a value can't be read: %s", vch_rc_text(rc));
}

/* What is frozen was checked when it was loaded, or computed here. */
static vch_rc load_slot(vch_state_t *s, slot_t *slot, vch_err_t *err)
{
    const slot_t *frozen = find_frozen(s, vch_slice(slot->key, slot->key_n));
    VCH_TRY(read_slot(s, slot, err));
    if (!frozen) return check_loaded(s, slot, err);
    slot->checked = frozen->checked;
    return VCH_OK;
}

vch_rc st_slot(vch_state_t *s, vch_slice_t key, slot_t **ret, vch_err_t *err)
{
    slot_t *slot = find_slot(s, key);
    if (!slot) {
        VCH_TRY(new_slot(s, key, &slot, err));
        vch_rc rc = load_slot(s, slot, err);
        if (rc != VCH_OK) {
            forget(s, slot);
            return rc;
        }
    }
    *ret = slot;
    return VCH_OK;
}

/* ---- many values at once --------------------------------------------------------- */

#define FETCH_EACH 256u /* bytes of memory for each of them, generously */

typedef struct {
    vch_state_t *s;
    vch_arena_t arena;
    slot_t **slot; /* loaded here, not yet to be believed */
    size_t n;
} fetch_t;

static vch_rc fetch_read(fetch_t *f, const vch_state_key_t *key, size_t n, vch_err_t *err)
{
    uint8_t k[SLOT_KEY_MAX];
    for (size_t i = 0; i < n; i++) {
        vch_slice_t in_index = index_key(k, 'S', key[i].b, key[i].n);
        if (find_slot(f->s, in_index)) continue;
        VCH_TRY(new_slot(f->s, in_index, &f->slot[f->n], err));
        f->n++;
        VCH_TRY(read_slot(f->s, f->slot[f->n - 1], err));
    }
    return VCH_OK;
}

_Static_assert(sizeof(vch_smt_leaf_t) == 2 * sizeof(vch_hash_t), "a leaf is the hashes of key and value");

static vch_rc fetch_check(fetch_t *f, vch_err_t *err)
{
    vch_smt_leaf_t *leaf = vch_arena_array(&f->arena, f->n, sizeof *leaf);
    vch_sha256_msg_t *msg = vch_arena_array(&f->arena, 2 * f->n, sizeof *msg);
    if (!leaf || !msg) return no_memory(err);
    for (size_t i = 0; i < f->n; i++) {
        const slot_t *slot = f->slot[i];
        msg[2 * i] = (vch_sha256_msg_t){.part = {vch_slice(slot->key + 1, slot->key_n - 1u)}};
        msg[2 * i + 1] = (vch_sha256_msg_t){.part = {vch_slice(slot->value, slot->n)}};
    }
    vch_sha256_many((vch_hash_t *)leaf, msg, 2 * f->n);
    for (size_t i = 0; i < f->n; i++)
        if (!f->slot[i]->there) leaf[i].value_hash = (vch_hash_t){{0}};
    vch_smt_io_t io = st_smt_io(f->s);
    return tree_says(vch_smt_check(&io, &f->s->info.root, leaf, f->n, &f->arena), err);
}

vch_rc st_fetch(vch_state_t *s, const vch_state_key_t *key, size_t n, vch_err_t *err)
{
    fetch_t f = {.s = s};
    vch_arena_init(&f.arena, 2 * VCH_SMT_SCRATCH_MAX + n * FETCH_EACH);
    f.slot = vch_arena_array(&f.arena, n, sizeof *f.slot);
    if (!f.slot) return no_memory(err);
    vch_rc rc = fetch_read(&f, key, n, err);
    if (rc == VCH_OK) rc = fetch_check(&f, err);
    for (size_t i = 0; rc != VCH_OK && i < f.n; i++) forget(s, f.slot[i]);
    vch_arena_free(&f.arena);
    return rc;
}

/* ---- undo ------------------------------------------------------------------------ */

vch_rc st_log_undo(vch_state_t *s, const undo_t *u)
{
    if (s->undos == s->undo_cap) {
        size_t cap = s->undo_cap ? s->undo_cap * 2 : 256;
        undo_t *more = vch_resize(s->undo, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        s->undo = more;
        s->undo_cap = cap;
    }
    s->undo[s->undos++] = *u;
    return VCH_OK;
}

static void undo_slot(const undo_t *u)
{
    vch_free(u->slot->value);
    u->slot->value = u->value;
    u->slot->n = u->n;
    u->slot->there = u->there;
    u->slot->checked = false;
}

void st_rollback(vch_state_t *s)
{
    while (s->undos) {
        const undo_t *u = &s->undo[--s->undos];
        switch (u->kind) {
        case UNDO_SLOT:
            undo_slot(u);
            break;
        case UNDO_CELL:
            st_undo_cell(s, u);
            break;
        case UNDO_PALETTE:
            st_undo_palette(u);
            break;
        case UNDO_SUBJECTS:
            u->column->subjects = u->number;
            break;
        }
    }
}

void st_accept(vch_state_t *s)
{
    for (size_t i = 0; i < s->undos; i++)
        if (s->undo[i].kind == UNDO_SLOT) vch_free(s->undo[i].value);
    s->undos = 0;
}

/* ---- get and set ------------------------------------------------------------------- */

static void note_unsaved(vch_state_t *s, slot_t *slot)
{
    if (slot->unsaved) return;
    slot->unsaved = true;
    slot->next_unsaved = s->unsaved;
    s->unsaved = slot;
}

static vch_rc set_slot(vch_state_t *s, slot_t *slot, vch_slice_t value, vch_err_t *err)
{
    uint8_t *copy = vch_alloc(value.n ? value.n : 1);
    if (!copy) return no_memory(err);
    if (value.n) memcpy(copy, value.p, value.n);
    undo_t u = {.kind = UNDO_SLOT, .slot = slot, .value = slot->value, .n = slot->n, .there = slot->there};
    if (st_log_undo(s, &u) != VCH_OK) {
        vch_free(copy);
        return no_memory(err);
    }
    slot->value = copy;
    slot->n = value.n;
    slot->there = true;
    slot->checked = false;
    s->dirty_bytes += value.n + sizeof *slot;
    note_unsaved(s, slot);
    if (slot->key[0] == 'S' && !slot->unhashed) {
        slot->unhashed = true;
        slot->next_unhashed = s->unhashed;
        s->unhashed = slot;
    }
    return VCH_OK;
}

static vch_rc get_from(vch_state_t *s, vch_slice_t key, vch_slice_t *ret, vch_err_t *err)
{
    slot_t *slot;
    VCH_TRY(st_slot(s, key, &slot, err));
    if (!slot->there) return VCH_ERR_NOT_FOUND;
    *ret = vch_slice(slot->value, slot->n);
    return VCH_OK;
}

static vch_rc set_in(vch_state_t *s, vch_slice_t key, vch_slice_t value, vch_err_t *err)
{
    slot_t *slot;
    VCH_TRY(st_slot(s, key, &slot, err));
    return set_slot(s, slot, value, err);
}

vch_rc st_get(vch_state_t *s, const vch_state_key_t *key, vch_slice_t *ret, vch_err_t *err)
{
    uint8_t k[SLOT_KEY_MAX];
    return get_from(s, index_key(k, 'S', key->b, key->n), ret, err);
}

vch_rc st_set(vch_state_t *s, const vch_state_key_t *key, vch_slice_t value, vch_err_t *err)
{
    uint8_t k[SLOT_KEY_MAX];
    return set_in(s, index_key(k, 'S', key->b, key->n), value, err);
}

vch_rc st_slot_at(vch_state_t *s, char space, const void *id32, slot_t **ret, vch_err_t *err)
{
    uint8_t k[SLOT_KEY_MAX];
    return st_slot(s, index_key(k, space, id32, 32), ret, err);
}

vch_rc st_get_at(vch_state_t *s, char space, const void *id32, vch_slice_t *ret, vch_err_t *err)
{
    uint8_t k[SLOT_KEY_MAX];
    return get_from(s, index_key(k, space, id32, 32), ret, err);
}

vch_rc st_set_at(vch_state_t *s, char space, const void *id32, vch_slice_t value, vch_err_t *err)
{
    uint8_t k[SLOT_KEY_MAX];
    return set_in(s, index_key(k, space, id32, 32), value, err);
}

bool st_has(vch_state_t *s, const vch_state_key_t *key, vch_rc *ret_rc, vch_err_t *err)
{
    vch_slice_t ignored;
    vch_rc rc = st_get(s, key, &ignored, err);
    *ret_rc = rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
    return rc == VCH_OK;
}

/* ---- saving ------------------------------------------------------------------------ */

static void free_slots(slot_t **bucket, size_t buckets)
{
    for (size_t i = 0; i < buckets; i++)
        for (slot_t *slot = bucket[i], *next; slot; slot = next) {
            next = slot->next;
            vch_free(slot->value);
            vch_free(slot);
        }
    vch_free(bucket);
}

static void begin_anew(vch_state_t *s)
{
    s->bucket = NULL;
    s->buckets = s->slots = 0;
    s->unsaved = s->unhashed = NULL;
    s->dirty_bytes = 0;
}

void st_drop_slots(vch_state_t *s)
{
    free_slots(s->bucket, s->buckets);
    begin_anew(s);
}

vch_rc st_keep_slot(vch_state_t *s, vch_slice_t key, vch_slice_t value, vch_err_t *err)
{
    slot_t *slot = find_slot(s, key);
    uint8_t *copy = vch_alloc(value.n ? value.n : 1);
    if (!copy) return no_memory(err);
    vch_rc rc = slot ? VCH_OK : new_slot(s, key, &slot, err);
    if (rc != VCH_OK) {
        vch_free(copy);
        return rc;
    }
    memcpy(copy, value.p, value.n);
    vch_free(slot->value);
    slot->value = copy;
    slot->n = value.n;
    slot->there = true;
    note_unsaved(s, slot);
    return VCH_OK;
}

void st_freeze_slots(vch_state_t *s)
{
    s->frozen.any = true;
    s->frozen.bucket = s->bucket;
    s->frozen.buckets = s->buckets;
    s->frozen.unsaved = s->unsaved;
    begin_anew(s);
}

void st_drop_frozen(vch_state_t *s)
{
    free_slots(s->frozen.bucket, s->frozen.buckets);
    vch_buf_free(&s->frozen.meta);
    s->frozen = (frozen_t){.any = false};
}

/* ---- pages of the state tree --------------------------------------------------------- */

static vch_slice_t page_key(uint8_t ret[SLOT_KEY_MAX], const vch_smt_page_id_t *id)
{
    ret[0] = 'P';
    vch_put_u16(ret + 1, id->depth);
    memcpy(ret + 3, id->prefix, 32);
    return vch_slice(ret, 35);
}

static vch_rc load_page(void *ctx, const vch_smt_page_id_t *id, vch_slice_t *ret)
{
    vch_state_t *s = ctx;
    uint8_t k[SLOT_KEY_MAX];
    slot_t *slot;
    VCH_TRY(st_slot(s, page_key(k, id), &slot, NULL));
    *ret = slot->there ? vch_slice(slot->value, slot->n) : vch_slice(NULL, 0);
    return VCH_OK;
}

static vch_rc save_page(void *ctx, const vch_smt_page_id_t *id, vch_slice_t page)
{
    vch_state_t *s = ctx;
    uint8_t k[SLOT_KEY_MAX];
    slot_t *slot;
    VCH_TRY(st_slot(s, page_key(k, id), &slot, NULL));
    VCH_TRY(set_slot(s, slot, page, NULL));
    slot->checked = true;
    return VCH_OK;
}

static bool page_known(void *ctx, const vch_smt_page_id_t *id)
{
    uint8_t k[SLOT_KEY_MAX];
    const slot_t *slot = find_slot(ctx, page_key(k, id));
    return slot && slot->checked;
}

static void page_verified(void *ctx, const vch_smt_page_id_t *id)
{
    uint8_t k[SLOT_KEY_MAX];
    slot_t *slot = find_slot(ctx, page_key(k, id));
    if (slot) slot->checked = true;
}

vch_smt_io_t st_smt_io(vch_state_t *s) { return (vch_smt_io_t){s, load_page, save_page, page_known, page_verified}; }
