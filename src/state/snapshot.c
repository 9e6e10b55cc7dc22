/* SPDX-License-Identifier: Apache-2.0 */
#include "state/snapshot.h"

#include "codec/cbor.h"
#include "crypto/sha256.h"
#include "state/state_impl.h"

#define MAGIC "vouchsafe snapshot"
#define READ_BYTES (64u << 10)
/* Pages of the tree are computed again; the index's head is the snapshot's. */
#define LEFT_OUT "PM"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- writing --------------------------------------------------------------------- */

typedef struct {
    vch_snapshot_write_fn write;
    void *ctx;
    vch_sha256_t hash;
    vch_buf_t item;
    vch_err_t *err;
} out_t;

static vch_rc out_item(out_t *o)
{
    vch_sha256_add(&o->hash, o->item.p, o->item.n);
    return o->write(o->ctx, vch_buf_slice(&o->item), o->err);
}

static vch_rc out_head(out_t *o, const vch_state_info_t *info)
{
    vch_buf_clear(&o->item);
    vch_rc rc = vch_cbor_array(&o->item, 3);
    if (rc == VCH_OK) rc = vch_cbor_text(&o->item, MAGIC, sizeof MAGIC - 1);
    if (rc == VCH_OK) rc = vch_cbor_uint(&o->item, VCH_SNAPSHOT_VERSION);
    if (rc == VCH_OK) rc = st_put_meta(&o->item, info);
    return rc == VCH_OK ? out_item(o) : no_memory(o->err);
}

static vch_rc out_pair(void *ctx, vch_slice_t key, vch_slice_t value)
{
    out_t *o = ctx;
    if (key.n == 0 || strchr(LEFT_OUT, key.p[0])) return VCH_OK;
    vch_buf_clear(&o->item);
    vch_rc rc = vch_cbor_array(&o->item, 2);
    if (rc == VCH_OK) rc = vch_cbor_bytes(&o->item, key.p, key.n);
    if (rc == VCH_OK) rc = vch_cbor_bytes(&o->item, value.p, value.n);
    return rc == VCH_OK ? out_item(o) : no_memory(o->err);
}

static vch_rc out_end(out_t *o)
{
    vch_hash_t sum;
    vch_sha256_end(&o->hash, &sum);
    vch_buf_clear(&o->item);
    if (vch_cbor_bytes(&o->item, sum.b, sizeof sum.b) != VCH_OK) return no_memory(o->err);
    return o->write(o->ctx, vch_buf_slice(&o->item), o->err);
}

vch_rc vch_snapshot_write(vch_state_t *s, vch_snapshot_write_fn write, void *ctx, vch_err_t *err)
{
    vch_state_info_t info;
    out_t o = {.write = write, .ctx = ctx, .err = err};
    VCH_TRY(vch_state_save(s, err));
    vch_state_info(s, &info);
    vch_sha256_init(&o.hash);
    vch_buf_init(&o.item, VCH_SNAPSHOT_VALUE_MAX + 256u);
    vch_rc rc = out_head(&o, &info);
    if (rc == VCH_OK) rc = vch_kv_each(s->kv, vch_slice(NULL, 0), out_pair, &o);
    if (rc == VCH_OK) rc = out_end(&o);
    vch_buf_free(&o.item);
    return rc;
}

/* ---- a stream of items ------------------------------------------------------------- */

typedef struct {
    vch_snapshot_read_fn read;
    void *ctx;
    vch_buf_t window; /* read, and from `at` on not yet used */
    size_t at;
    bool ended;
    vch_sha256_t hash; /* of all items used */
    vch_err_t *err;
} in_t;

static vch_rc bad(const in_t *in, const char *what) { return vch_fail(in->err, VCH_ERR_FORMAT, "snapshot: %s", what); }

/* As many more bytes as there are in the window, so that a long value takes few turns. */
static vch_rc in_more(in_t *in)
{
    size_t left = in->window.n - in->at, got = 0, want = left > READ_BYTES ? left : READ_BYTES;
    if (in->at) memmove(in->window.p, in->window.p + in->at, left);
    in->window.n = left;
    in->at = 0;
    uint8_t *room;
    vch_rc rc = vch_buf_extend(&in->window, want, &room);
    if (rc == VCH_ERR_LIMIT) return bad(in, "a value is too long");
    if (rc != VCH_OK) return no_memory(in->err);
    rc = in->read(in->ctx, room, want, &got, in->err);
    in->window.n = left + (rc == VCH_OK ? vch_min(got, want) : 0);
    in->ended = rc == VCH_OK && got == 0;
    return rc;
}

typedef bool (*item_fn)(vch_cbor_t *, void *ret);

/* The next item, if it is of this form; its bytes stay until the next call. */
static vch_rc in_item(in_t *in, item_fn parse, void *ret, bool *ret_is)
{
    for (;;) {
        size_t left = in->window.n - in->at;
        vch_slice_t rest = left ? vch_slice(in->window.p + in->at, left) : vch_slice(NULL, 0);
        vch_cbor_t c = vch_cbor_over(rest);
        *ret_is = rest.n > 0 && parse(&c, ret);
        if (*ret_is) {
            vch_sha256_add(&in->hash, rest.p, (size_t)(c.p - rest.p));
            in->at += (size_t)(c.p - rest.p);
            return VCH_OK;
        }
        if (in->ended) return VCH_OK;
        VCH_TRY(in_more(in));
    }
}

static bool parse_head(vch_cbor_t *c, void *ret)
{
    uint64_t n, version;
    vch_slice_t magic;
    return vch_cbor_get_array(c, &n) == VCH_OK && n == 3 && vch_cbor_get_text(c, &magic) == VCH_OK &&
           vch_slice_eq(magic, vch_str(MAGIC)) && vch_cbor_get_uint(c, &version) == VCH_OK &&
           version == VCH_SNAPSHOT_VERSION && st_get_meta(c, ret) == VCH_OK;
}

typedef struct {
    vch_slice_t key, value;
    bool is_end; /* then value is the hash */
} pair_t;

/* A pair, or the end; which of them shows in the first byte. */
static bool parse_pair(vch_cbor_t *c, void *ret)
{
    pair_t *p = ret;
    uint64_t n;
    p->is_end = *c->p >> 5 == VCH_CBOR_BYTES;
    if (p->is_end) return vch_cbor_get_bytes(c, &p->value) == VCH_OK;
    return vch_cbor_get_array(c, &n) == VCH_OK && n == 2 && vch_cbor_get_bytes(c, &p->key) == VCH_OK &&
           vch_cbor_get_bytes(c, &p->value) == VCH_OK;
}

/* ---- reading --------------------------------------------------------------------------- */

typedef struct {
    in_t in;
    vch_kv_t *kv;
    vch_state_info_t info;
    vch_smt_leaf_t *leaf;
    size_t leaves, cap;
    uint8_t last[SLOT_KEY_MAX];
    size_t last_n;
} load_t;

static vch_rc keep_leaf(load_t *l, const pair_t *p)
{
    if (p->key.p[0] != 'S') return VCH_OK;
    if (l->leaves == VCH_SNAPSHOT_VALUES_MAX) return vch_fail(l->in.err, VCH_ERR_LIMIT, "snapshot: too many values");
    if (l->leaves == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 1024;
        vch_smt_leaf_t *more = vch_resize(l->leaf, cap * sizeof *more);
        if (!more) return no_memory(l->in.err);
        l->leaf = more;
        l->cap = cap;
    }
    vch_smt_leaf_t *leaf = &l->leaf[l->leaves++];
    vch_sha256(&leaf->path, p->key.p + 1, p->key.n - 1);
    vch_sha256(&leaf->value_hash, p->value.p, p->value.n);
    return VCH_OK;
}

static bool in_order(const load_t *l, vch_slice_t key)
{
    int c = memcmp(l->last, key.p, vch_min(l->last_n, key.n));
    return l->last_n == 0 || c < 0 || (c == 0 && l->last_n < key.n);
}

static vch_rc take_pair(load_t *l, const pair_t *p)
{
    if (p->key.n < 2 || p->key.n > SLOT_KEY_MAX || p->value.n > VCH_SNAPSHOT_VALUE_MAX || strchr(LEFT_OUT, p->key.p[0]))
        return bad(&l->in, "a key or value of no such size or kind");
    if (!in_order(l, p->key)) return bad(&l->in, "its keys are not in order");
    memcpy(l->last, p->key.p, p->key.n);
    l->last_n = p->key.n;
    VCH_TRY(keep_leaf(l, p));
    return vch_kv_put(l->kv, p->key, p->value, l->in.err);
}

static vch_rc check_end(in_t *in, const vch_sha256_t *before, vch_slice_t said)
{
    vch_sha256_t h = *before;
    vch_hash_t sum;
    vch_sha256_end(&h, &sum);
    if (!vch_slice_eq(said, vch_slice(sum.b, sizeof sum.b)))
        return vch_fail(in->err, VCH_ERR_CORRUPT, "snapshot: its bytes are not those that were written");
    while (in->at == in->window.n && !in->ended) VCH_TRY(in_more(in));
    return in->at == in->window.n ? VCH_OK : bad(in, "something stands behind its end");
}

static vch_rc take_all(load_t *l)
{
    pair_t p = {.is_end = false};
    bool is;
    VCH_TRY(in_item(&l->in, parse_head, &l->info, &is));
    if (!is) return bad(&l->in, "this is none of version 1");
    for (;;) {
        vch_sha256_t before = l->in.hash;
        VCH_TRY(in_item(&l->in, parse_pair, &p, &is));
        if (!is) return bad(&l->in, "it ends early, or holds what is no pair");
        if (p.is_end) return check_end(&l->in, &before, p.value);
        VCH_TRY(take_pair(l, &p));
    }
}

/* The tree over what was read must have the root that the head names. */
static vch_rc build_tree(load_t *l, vch_state_t *s)
{
    vch_hash_t root = {{0}};
    vch_smt_io_t io = st_smt_io(s);
    vch_rc rc = l->leaves ? vch_smt_update(&io, &root, l->leaf, l->leaves, &s->scratch) : VCH_OK;
    st_accept(s);
    if (rc != VCH_OK) return vch_fail(l->in.err, rc, "state tree: %s", vch_rc_text(rc));
    if (!vch_hash_eq(&root, &l->info.root))
        return vch_fail(l->in.err, VCH_ERR_CORRUPT, "snapshot: its values do not give its state root");
    s->info = l->info;
    return vch_state_save(s, l->in.err);
}

static vch_rc load(load_t *l, vch_state_t **ret)
{
    VCH_TRY(vch_kv_begin(l->kv, l->in.err));
    vch_rc rc = take_all(l);
    if (rc != VCH_OK) {
        vch_kv_abort(l->kv);
        return rc;
    }
    VCH_TRY(vch_kv_commit(l->kv, l->in.err));
    VCH_TRY(vch_state_open(ret, l->kv, l->in.err));
    rc = build_tree(l, *ret);
    if (rc == VCH_OK) return rc;
    vch_state_free(*ret);
    *ret = NULL;
    vch_rc cleared = vch_kv_clear(l->kv, NULL);
    return cleared == VCH_OK ? rc : vch_context(l->in.err, rc, "and what was read can't be taken away");
}

static vch_rc any_pair(void *ctx, vch_slice_t key, vch_slice_t value)
{
    (void)key;
    (void)value;
    *(bool *)ctx = true;
    return VCH_ERR_CONFLICT; /* one is enough */
}

vch_rc vch_snapshot_read(vch_state_t **ret, vch_kv_t *kv, vch_snapshot_read_fn read, void *ctx, vch_err_t *err)
{
    bool any = false;
    load_t l = {.in = {.read = read, .ctx = ctx, .err = err}, .kv = kv};
    vch_rc rc = vch_kv_each(kv, vch_slice(NULL, 0), any_pair, &any);
    if (any) return vch_fail(err, VCH_ERR_CONFLICT, "a snapshot is read into an empty index only");
    if (rc != VCH_OK) return vch_fail(err, rc, "index: it can't be read: %s", vch_rc_text(rc));
    vch_sha256_init(&l.in.hash);
    vch_buf_init(&l.in.window, 2u * VCH_SNAPSHOT_VALUE_MAX);
    rc = load(&l, ret);
    vch_buf_free(&l.in.window);
    vch_free(l.leaf);
    return rc;
}
