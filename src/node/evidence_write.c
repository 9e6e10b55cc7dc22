/* SPDX-License-Identifier: Apache-2.0 */
/* From the bag to bytes: leaves under the first checkpoint that covers their
 * block and that a quorum cosigned, so that a time is bracketed as closely as
 * can be; else under the newest one. */
#include <stdlib.h>

#include "codec/cbor.h"
#include "entry/note.h"
#include "node/evidence.h"

#define CHECKPOINTS_MAX 16

typedef struct {
    uint64_t size;
    vch_slice_t note;
} checkpoint_t;

typedef struct {
    ev_t *ev;
    vch_buf_t *out;
    checkpoint_t *checkpoint; /* ascending */
    size_t checkpoints;
} writer_t;

/* ---- order --------------------------------------------------------------------- */

static int order_u64(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

static int by_index(const void *a, const void *b)
{
    return order_u64(((const ev_leaf_t *)a)->index, ((const ev_leaf_t *)b)->index);
}

static int by_item(const void *a, const void *b)
{
    const ev_item_t *x = a, *y = b;
    int o = order_u64(x->commit, y->commit);
    if (o == 0) o = memcmp(x->key.b, y->key.b, vch_min(x->key.n, y->key.n));
    return o ? o : order_u64(x->key.n, y->key.n);
}

static int by_name(const void *a, const void *b)
{
    return memcmp(((const ev_named_t *)a)->name.b, ((const ev_named_t *)b)->name.b, 32);
}

static int by_column(const void *a, const void *b)
{
    const ev_column_t *x = a, *y = b;
    int o = memcmp(x->dataset.b, y->dataset.b, 32);
    if (o == 0) o = order_u64(x->chunk, y->chunk);
    if (o == 0) o = memcmp(x->cells.b, y->cells.b, 32);
    return o ? o : memcmp(x->flat.p, y->flat.p, vch_min(x->flat.n, y->flat.n));
}

static void sort(void *p, size_t n, size_t size, int (*by)(const void *, const void *))
{
    if (n > 1) qsort(p, n, size, by);
}

static void sort_bag(ev_t *ev)
{
    size_t n = 0;
    sort(ev->leaf, ev->leaves, sizeof *ev->leaf, by_index);
    sort(ev->item, ev->items, sizeof *ev->item, by_item);
    for (size_t i = 0; i < ev->items; i++)
        if (n == 0 || by_item(&ev->item[n - 1], &ev->item[i]) != 0) ev->item[n++] = ev->item[i];
    ev->items = n;
    sort(ev->set, ev->sets, sizeof *ev->set, by_name);
    sort(ev->column, ev->columns, sizeof *ev->column, by_column);
    sort(ev->subjects, ev->subject_lists, sizeof *ev->subjects, by_name);
}

/* ---- checkpoints ------------------------------------------------------------------ */

static size_t place_of(const writer_t *w, uint64_t size)
{
    size_t i = 0;
    while (i < w->checkpoints && w->checkpoint[i].size < size) i++;
    return i;
}

static void put_checkpoint(writer_t *w, uint64_t size, vch_slice_t note)
{
    size_t at = place_of(w, size);
    if (at < w->checkpoints && w->checkpoint[at].size == size) return;
    memmove(&w->checkpoint[at + 1], &w->checkpoint[at], (w->checkpoints - at) * sizeof *w->checkpoint);
    w->checkpoint[at] = (checkpoint_t){size, note};
    w->checkpoints++;
}

/* `size`: of the log up to a block's end. */
static vch_rc choose(writer_t *w, uint64_t size)
{
    ev_t *ev = w->ev;
    vch_buf_t note;
    vch_slice_t copy = ev->note;
    uint64_t kept = 0;
    vch_buf_init(&note, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_ledger_cosigned(ev->l, size, &note, &kept, NULL);
    if (rc == VCH_OK)
        rc = ev_copy(ev, vch_buf_slice(&note), &copy);
    else if (rc == VCH_ERR_NOT_FOUND) {
        kept = ev->size;
        rc = VCH_OK;
    }
    vch_buf_free(&note);
    if (rc != VCH_OK) return vch_fail(ev->err, rc, "log/cosigned can't be read: %s", vch_rc_text(rc));
    put_checkpoint(w, kept, copy);
    return VCH_OK;
}

/* A bundle holds at most 16: of the closest two, the older one goes. */
static void thin(writer_t *w)
{
    while (w->checkpoints > CHECKPOINTS_MAX) {
        size_t at = 0;
        for (size_t i = 1; i + 1 < w->checkpoints; i++)
            if (w->checkpoint[i + 1].size - w->checkpoint[i].size < w->checkpoint[at + 1].size - w->checkpoint[at].size)
                at = i;
        memmove(&w->checkpoint[at], &w->checkpoint[at + 1], (w->checkpoints - at - 1) * sizeof *w->checkpoint);
        w->checkpoints--;
    }
}

static vch_rc choose_all(writer_t *w)
{
    ev_t *ev = w->ev;
    w->checkpoint = vch_arena_array(&ev->arena, ev->leaves + 1, sizeof *w->checkpoint);
    if (!w->checkpoint) return ev_no_memory(ev);
    for (size_t i = 0; i < ev->leaves; i++)
        if (ev->leaf[i].kind == VCH_KIND_STATE_COMMIT) VCH_TRY(choose(w, ev->leaf[i].index + 1));
    thin(w);
    return w->checkpoints ? VCH_OK : vch_fail(ev->err, VCH_ERR_INTERNAL, "a bundle without a checkpoint");
}

static vch_rc put_checkpoints(writer_t *w)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n;
    VCH_TRY(vch_cbor_uint(w->out, 3));
    VCH_TRY(vch_cbor_array(w->out, w->checkpoints));
    for (size_t i = 0; i < w->checkpoints; i++)
        VCH_TRY(vch_cbor_bytes(w->out, w->checkpoint[i].note.p, w->checkpoint[i].note.n));
    VCH_TRY(vch_cbor_uint(w->out, 4));
    VCH_TRY(vch_cbor_array(w->out, w->checkpoints - 1));
    for (size_t i = 0; i + 1 < w->checkpoints; i++) {
        VCH_TRY(
            vch_log_consistency(w->ev->l->log, w->checkpoint[i].size, w->checkpoint[i + 1].size, path, &n, w->ev->err));
        VCH_TRY(vch_cbor_bytes(w->out, path, n * sizeof *path));
    }
    return VCH_OK;
}

/* ---- the parts ---------------------------------------------------------------------- */

static vch_rc put_uint(writer_t *w, uint64_t key, uint64_t v)
{
    VCH_TRY(vch_cbor_uint(w->out, key));
    return vch_cbor_uint(w->out, v);
}

static vch_rc put_bytes(writer_t *w, uint64_t key, const void *p, size_t n)
{
    VCH_TRY(vch_cbor_uint(w->out, key));
    return vch_cbor_bytes(w->out, p, n);
}

static vch_rc put_array(writer_t *w, uint64_t key, uint64_t count)
{
    VCH_TRY(vch_cbor_uint(w->out, key));
    return vch_cbor_array(w->out, count);
}

static vch_rc put_leaf(writer_t *w, const ev_leaf_t *l)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n, under = place_of(w, l->commit + 1);
    if (under == w->checkpoints) return vch_fail(w->ev->err, VCH_ERR_INTERNAL, "a leaf without a checkpoint");
    VCH_TRY(vch_log_inclusion(w->ev->l->log, l->index, w->checkpoint[under].size, path, &n, w->ev->err));
    VCH_TRY(vch_cbor_map(w->out, 5));
    VCH_TRY(put_uint(w, 0, l->index));
    VCH_TRY(put_bytes(w, 1, l->bytes.p, l->bytes.n));
    VCH_TRY(put_uint(w, 2, under));
    VCH_TRY(put_bytes(w, 3, path, n * sizeof *path));
    VCH_TRY(put_array(w, 4, l->statements));
    for (size_t i = 0; i < l->statements; i++) {
        const ev_statement_t *s = &l->statement[i];
        VCH_TRY(vch_cbor_map(w->out, 3));
        VCH_TRY(put_uint(w, 0, s->number));
        VCH_TRY(put_bytes(w, 1, s->bytes.p, s->bytes.n));
        VCH_TRY(put_bytes(w, 2, s->path.p, s->path.n));
    }
    return VCH_OK;
}

static vch_rc put_item(writer_t *w, const ev_item_t *it)
{
    VCH_TRY(vch_cbor_map(w->out, it->present || it->has_other ? 4 : 3));
    VCH_TRY(put_uint(w, 0, it->commit));
    VCH_TRY(put_bytes(w, 1, it->key.b, it->key.n));
    if (it->present) VCH_TRY(put_bytes(w, 2, it->value.p, it->value.n));
    VCH_TRY(put_bytes(w, 3, it->path.p, it->path.n));
    if (it->present || !it->has_other) return VCH_OK;
    uint8_t other[64];
    memcpy(other, it->other.path.b, 32);
    memcpy(other + 32, it->other.value_hash.b, 32);
    return put_bytes(w, 4, other, sizeof other);
}

/* The public keys, from their values in the bag; each once, in order of id. */
static vch_rc put_keys(writer_t *w)
{
    ev_t *ev = w->ev;
    vch_slice_t *key = vch_arena_array(&ev->arena, ev->items + 1, sizeof *key);
    size_t n = 0;
    if (!key) return ev_no_memory(ev);
    for (size_t i = 0; i < ev->items; i++) {
        vch_key_value_t value;
        if (ev->item[i].key.b[0] != 'k' || !ev->item[i].present) continue;
        VCH_TRY(vch_key_get(&value, ev->item[i].value));
        size_t k = 0;
        while (k < n && !vch_slice_eq(key[k], value.key)) k++;
        if (k == n) key[n++] = value.key;
    }
    VCH_TRY(put_array(w, 7, n));
    for (size_t i = 0; i < n; i++) VCH_TRY(vch_cbor_bytes(w->out, key[i].p, key[i].n));
    return VCH_OK;
}

static vch_rc put_named(writer_t *w, uint64_t key, const ev_named_t *list, size_t n)
{
    VCH_TRY(put_array(w, key, n));
    for (size_t i = 0; i < n; i++) {
        VCH_TRY(vch_cbor_map(w->out, 2));
        VCH_TRY(put_bytes(w, 0, list[i].name.b, 32));
        VCH_TRY(put_bytes(w, 1, list[i].bytes.p, list[i].bytes.n));
    }
    return VCH_OK;
}

static vch_rc put_columns(writer_t *w)
{
    VCH_TRY(put_array(w, 9, w->ev->columns));
    for (size_t i = 0; i < w->ev->columns; i++) {
        const ev_column_t *c = &w->ev->column[i];
        VCH_TRY(vch_cbor_map(w->out, 4));
        VCH_TRY(put_bytes(w, 0, c->dataset.b, 32));
        VCH_TRY(put_uint(w, 1, c->chunk));
        VCH_TRY(put_bytes(w, 2, c->flat.p, c->flat.n));
        VCH_TRY(put_bytes(w, 3, c->cells.b, 32));
    }
    return VCH_OK;
}

static vch_rc put_bag(writer_t *w)
{
    ev_t *ev = w->ev;
    VCH_TRY(vch_cbor_map(w->out, 11));
    VCH_TRY(put_uint(w, 0, 1));
    VCH_TRY(put_bytes(w, 1, ev->l->network.b, 32));
    VCH_TRY(vch_cbor_uint(w->out, 2));
    VCH_TRY(vch_cbor_raw(w->out, vch_buf_slice(&ev->claim)));
    VCH_TRY(put_checkpoints(w));
    VCH_TRY(put_array(w, 5, ev->leaves));
    for (size_t i = 0; i < ev->leaves; i++) VCH_TRY(put_leaf(w, &ev->leaf[i]));
    VCH_TRY(put_array(w, 6, ev->items));
    for (size_t i = 0; i < ev->items; i++) VCH_TRY(put_item(w, &ev->item[i]));
    VCH_TRY(put_keys(w));
    VCH_TRY(put_named(w, 8, ev->set, ev->sets));
    VCH_TRY(put_columns(w));
    return put_named(w, 10, ev->subjects, ev->subject_lists);
}

vch_rc ev_write(ev_t *ev, vch_buf_t *ret)
{
    writer_t w = {.ev = ev, .out = ret};
    size_t before = ret->n;
    sort_bag(ev);
    VCH_TRY(choose_all(&w));
    if (ev->err) ev->err->rc = VCH_OK;
    vch_rc rc = put_bag(&w);
    if (rc == VCH_OK) return rc;
    ret->n = before;
    if (rc != VCH_ERR_LIMIT)
        return ev->err && ev->err->rc != VCH_OK ? rc : vch_fail(ev->err, rc, "%s", vch_rc_text(rc));
    vch_fail(ev->err, rc, "the evidence is larger than a bundle may be (%u MiB)", VCH_BUNDLE_BYTES_MAX >> 20);
    return vch_hint(ev->err, rc, "ask for a single decision, or for the lineage and the access requests one by one");
}
