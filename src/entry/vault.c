/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads are CBOR arrays of fixed length: kind, then the fields in the order
 * of docs/formats/vault-keys.cddl. */
#include "entry/vault.h"

#include "codec/cbor.h"
#include "crypto/sha256.h"
#include "entry/vault_int.h"

static vch_rc put32(vch_buf_t *b, const void *p) { return vch_cbor_bytes(b, p, 32); }

static vch_rc begin(vch_buf_t *b, uint64_t kind, uint64_t count)
{
    VCH_TRY(vch_cbor_array(b, count));
    return vch_cbor_uint(b, kind);
}

static vch_rc get_number(vch_cbor_t *c, uint64_t min, uint64_t max, uint64_t *ret)
{
    VCH_TRY(vch_cbor_get_uint(c, ret));
    return *ret >= min && *ret <= max ? VCH_OK : VCH_ERR_FORMAT;
}

static vch_rc get_u8(vch_cbor_t *c, uint64_t min, uint64_t max, uint8_t *ret)
{
    uint64_t v;
    VCH_TRY(get_number(c, min, max, &v));
    *ret = (uint8_t)v;
    return VCH_OK;
}

static vch_rc get_u32(vch_cbor_t *c, uint64_t min, uint64_t max, uint32_t *ret)
{
    uint64_t v;
    VCH_TRY(get_number(c, min, max, &v));
    *ret = (uint32_t)v;
    return VCH_OK;
}

static vch_rc get_count(vch_cbor_t *c, uint64_t min, uint64_t max, uint64_t *ret)
{
    VCH_TRY(vch_cbor_get_array(c, ret));
    return *ret >= min && *ret <= max ? VCH_OK : VCH_ERR_FORMAT;
}

static vch_rc expect(vch_cbor_t *c, uint64_t kind, uint64_t count)
{
    uint64_t v;
    VCH_TRY(get_count(c, count, count, &v));
    return get_number(c, kind, kind, &v);
}

static vch_rc finish(const vch_cbor_t *c) { return vch_cbor_done(c) ? VCH_OK : VCH_ERR_FORMAT; }

/* ---- prekeys ----------------------------------------------------------------- */

vch_rc vch_prekey_put(vch_buf_t *b, const vch_prekey_t *v)
{
    if (v->number == 0) return VCH_ERR_LIMIT;
    VCH_TRY(begin(b, VCH__PREKEY, 4));
    VCH_TRY(put32(b, v->network.b));
    VCH_TRY(vch_cbor_uint(b, v->number));
    return put32(b, v->key);
}

vch_rc vch_prekey_get(vch_prekey_t *ret, vch_slice_t bytes)
{
    vch_prekey_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(expect(&c, VCH__PREKEY, 4));
    VCH_TRY(vch_cbor_get_fixed(&c, v.network.b, 32));
    VCH_TRY(get_number(&c, 1, UINT64_MAX, &v.number));
    VCH_TRY(vch_cbor_get_fixed(&c, v.key, 32));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

/* ---- trees: six fields ---------------------------------------------------------- */

static bool about_good(const vch_tree_about_t *a)
{
    return vch_kt_sets(a->n, a->t) && a->groups >= 1 && a->groups <= VCH_KT_GROUPS_MAX && a->rows >= 1 &&
           a->rows <= VCH_KT_ROWS_MAX;
}

static vch_rc put_about(vch_buf_t *b, const vch_tree_about_t *a)
{
    VCH_TRY(put32(b, a->network.b));
    VCH_TRY(put32(b, a->extent.b));
    VCH_TRY(vch_cbor_uint(b, a->n));
    VCH_TRY(vch_cbor_uint(b, a->t));
    VCH_TRY(vch_cbor_uint(b, a->groups));
    return vch_cbor_uint(b, a->rows);
}

static vch_rc get_about(vch_cbor_t *c, vch_tree_about_t *a)
{
    VCH_TRY(vch_cbor_get_fixed(c, a->network.b, 32));
    VCH_TRY(vch_cbor_get_fixed(c, a->extent.b, 32));
    VCH_TRY(get_u8(c, 0, UINT8_MAX, &a->n));
    VCH_TRY(get_u8(c, 0, UINT8_MAX, &a->t));
    VCH_TRY(get_u8(c, 1, VCH_KT_GROUPS_MAX, &a->groups));
    VCH_TRY(get_u32(c, 1, VCH_KT_ROWS_MAX, &a->rows));
    return about_good(a) ? VCH_OK : VCH_ERR_FORMAT;
}

/* ---- deals ------------------------------------------------------------------------ */

unsigned vch_vault_held(unsigned n, unsigned t)
{
    unsigned held = 0, sets = vch_kt_sets(n, t);
    for (unsigned k = 0; k < sets; k++) held += vch_kt_holds(vch_kt_set(n, t, k), 0); /* the same for everyone */
    return held;
}

/* All but the sealed bytes. */
static vch_rc put_deal_head(vch_buf_t *b, const vch_deal_t *d)
{
    if (!about_good(&d->about) || d->trustee >= d->about.n) return VCH_ERR_LIMIT;
    VCH_TRY(begin(b, VCH__DEAL, 10));
    VCH_TRY(put_about(b, &d->about));
    VCH_TRY(vch_cbor_uint(b, d->trustee));
    return put32(b, d->prekey);
}

/* What stands before the seeds inside the box: which deal they are for. */
static vch_rc deal_context(vch_hash_t *ret, const vch_deal_t *d)
{
    vch_buf_t head;
    vch_buf_init(&head, 256);
    vch_rc rc = put_deal_head(&head, d);
    if (rc == VCH_OK) vch_sha256(ret, head.p, head.n);
    vch_buf_free(&head);
    return rc;
}

vch_rc vch_deal_put(vch_buf_t *b, const vch_deal_t *d, const uint8_t *seed, const uint8_t random[32])
{
    uint8_t plain[32 + VCH_VAULT_HELD_MAX * VCH_KT_KEY];
    vch_hash_t context;
    vch_buf_t box;
    size_t n = vch_vault_held(d->about.n, d->about.t) * VCH_KT_KEY;
    VCH_TRY(deal_context(&context, d));
    vch_buf_init(&box, sizeof plain + VCH_SEAL_OVERHEAD);
    memcpy(plain, context.b, 32);
    memcpy(plain + 32, seed, n);
    vch_rc rc = vch_seal(&box, vch_slice(plain, 32 + n), d->prekey, random);
    vch_wipe(plain, sizeof plain);
    if (rc == VCH_OK) rc = put_deal_head(b, d);
    if (rc == VCH_OK) rc = vch_cbor_bytes(b, box.p, box.n);
    vch_buf_free(&box);
    return rc;
}

vch_rc vch_deal_get(vch_deal_t *ret, vch_slice_t bytes)
{
    vch_deal_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(expect(&c, VCH__DEAL, 10));
    VCH_TRY(get_about(&c, &v.about));
    VCH_TRY(get_u8(&c, 0, v.about.n - 1u, &v.trustee));
    VCH_TRY(vch_cbor_get_fixed(&c, v.prekey, 32));
    VCH_TRY(vch_cbor_get_bytes(&c, &v.sealed));
    if (v.sealed.n != VCH_SEAL_OVERHEAD + 32 + vch_vault_held(v.about.n, v.about.t) * VCH_KT_KEY) return VCH_ERR_FORMAT;
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

vch_rc vch_deal_open(uint8_t *ret_seed, const vch_deal_t *d, const uint8_t secret[VCH_SEAL_KEY])
{
    uint8_t plain[32 + VCH_VAULT_HELD_MAX * VCH_KT_KEY];
    vch_hash_t context;
    size_t n = 0, held = vch_vault_held(d->about.n, d->about.t) * VCH_KT_KEY;
    VCH_TRY(deal_context(&context, d));
    vch_rc rc = vch_seal_open(plain, sizeof plain, &n, d->sealed, d->prekey, secret);
    if (rc == VCH_OK && n != 32 + held) rc = VCH_ERR_FORMAT;
    if (rc == VCH_OK && memcmp(plain, context.b, 32) != 0) rc = VCH_ERR_COMMITMENT;
    if (rc == VCH_OK) memcpy(ret_seed, plain + 32, held);
    vch_wipe(plain, sizeof plain);
    return rc;
}

/* ---- roots -------------------------------------------------------------------------- */

vch_rc vch_root_put(vch_buf_t *b, const vch_root_t *v)
{
    if (!about_good(&v->about) || v->set >= vch_kt_sets(v->about.n, v->about.t)) return VCH_ERR_LIMIT;
    VCH_TRY(begin(b, VCH__ROOT, 9));
    VCH_TRY(put_about(b, &v->about));
    VCH_TRY(vch_cbor_uint(b, v->set));
    return put32(b, v->root.b);
}

vch_rc vch_root_get(vch_root_t *ret, vch_slice_t bytes)
{
    vch_root_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(expect(&c, VCH__ROOT, 9));
    VCH_TRY(get_about(&c, &v.about));
    VCH_TRY(get_u8(&c, 0, vch_kt_sets(v.about.n, v.about.t) - 1u, &v.set));
    VCH_TRY(vch_cbor_get_fixed(&c, v.root.b, 32));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

/* ---- requests -------------------------------------------------------------------------- */

static bool node_good(vch_kt_node_t n) { return vch_kt_valid(n) && n.level >= VCH_KT_GROUP_LEVEL; }

/* `left` is the first leaf that is still free; moves behind the node. */
static bool node_next(vch_kt_node_t n, uint32_t *left)
{
    if (!node_good(n) || vch_kt_first(n) < *left) return false;
    *left = vch_kt_first(n) + vch_kt_count(n);
    return true;
}

static bool release_good(const vch_release_t *v)
{
    uint32_t left = 0;
    if (v->set >= VCH_KT_SETS_MAX || v->nodes == 0 || v->nodes > VCH_VAULT_NODES_MAX) return false;
    for (uint32_t i = 0; i < v->nodes; i++)
        if (!node_next(v->node[i], &left)) return false;
    return true;
}

/* The four fields that request, answer and each seed's item have in common. */
static vch_rc put_where(vch_buf_t *b, const vch_hash_t *network, const vch_hash_t *grant, const vch_hash_t *extent,
                        uint8_t set)
{
    VCH_TRY(put32(b, network->b));
    VCH_TRY(put32(b, grant->b));
    VCH_TRY(put32(b, extent->b));
    return vch_cbor_uint(b, set);
}

static vch_rc get_where(vch_cbor_t *c, vch_hash_t *network, vch_hash_t *grant, vch_hash_t *extent, uint8_t *set)
{
    VCH_TRY(vch_cbor_get_fixed(c, network->b, 32));
    VCH_TRY(vch_cbor_get_fixed(c, grant->b, 32));
    VCH_TRY(vch_cbor_get_fixed(c, extent->b, 32));
    return get_u8(c, 0, VCH_KT_SETS_MAX - 1, set);
}

vch_rc vch_release_put(vch_buf_t *b, const vch_release_t *v)
{
    if (!release_good(v)) return VCH_ERR_LIMIT;
    VCH_TRY(begin(b, VCH__RELEASE, 7));
    VCH_TRY(put_where(b, &v->network, &v->grant, &v->extent, v->set));
    VCH_TRY(put32(b, v->key));
    VCH_TRY(vch_cbor_array(b, 2u * v->nodes));
    for (uint32_t i = 0; i < v->nodes; i++) {
        VCH_TRY(vch_cbor_uint(b, v->node[i].level));
        VCH_TRY(vch_cbor_uint(b, v->node[i].number));
    }
    return VCH_OK;
}

vch_rc vch_release_get(vch_release_t *v, vch_slice_t bytes)
{
    uint64_t n;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(expect(&c, VCH__RELEASE, 7));
    VCH_TRY(get_where(&c, &v->network, &v->grant, &v->extent, &v->set));
    VCH_TRY(vch_cbor_get_fixed(&c, v->key, 32));
    VCH_TRY(get_count(&c, 2, 2u * VCH_VAULT_NODES_MAX, &n));
    if (n % 2) return VCH_ERR_FORMAT;
    v->nodes = (uint32_t)(n / 2);
    for (uint32_t i = 0; i < v->nodes; i++) {
        VCH_TRY(get_u8(&c, VCH_KT_GROUP_LEVEL, VCH_KT_LEAF_LEVEL, &v->node[i].level));
        VCH_TRY(get_u32(&c, 0, (1u << VCH_KT_LEAF_LEVEL) - 1, &v->node[i].number));
    }
    VCH_TRY(finish(&c));
    return release_good(v) ? VCH_OK : VCH_ERR_FORMAT;
}

/* ---- answers ------------------------------------------------------------------------------ */

vch_rc vch_answer_put(vch_buf_t *b, const vch_seeds_answer_t *v)
{
    if (v->set >= VCH_KT_SETS_MAX || v->nodes == 0 || v->nodes > VCH_VAULT_NODES_MAX) return VCH_ERR_LIMIT;
    VCH_TRY(begin(b, VCH__ANSWER, 8));
    VCH_TRY(put_where(b, &v->network, &v->grant, &v->extent, v->set));
    VCH_TRY(vch_cbor_uint(b, v->nodes));
    VCH_TRY(put32(b, v->root.b));
    return put32(b, v->request.b);
}

vch_rc vch_answer_get(vch_seeds_answer_t *ret, vch_slice_t bytes)
{
    vch_seeds_answer_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(expect(&c, VCH__ANSWER, 8));
    VCH_TRY(get_where(&c, &v.network, &v.grant, &v.extent, &v.set));
    VCH_TRY(get_u32(&c, 1, VCH_VAULT_NODES_MAX, &v.nodes));
    VCH_TRY(vch_cbor_get_fixed(&c, v.root.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.request.b, 32));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

/* Items are hashed many at a time.  Room for all of them is made at once: a
 * buffer that grows would leave seeds behind. */
#define ITEMS_AT_ONCE 64u
#define ITEM_MAX 160u

typedef struct {
    vch_buf_t head, all; /* what all items begin with; the items */
} items_t;

static vch_rc items_begin(items_t *t, const vch_seeds_answer_t *a, size_t n)
{
    uint8_t *room;
    vch_buf_init(&t->head, ITEM_MAX);
    vch_buf_init(&t->all, n * ITEM_MAX);
    VCH_TRY(vch_buf_extend(&t->all, n * ITEM_MAX, &room));
    VCH_TRY(begin(&t->head, VCH__ITEM, 8));
    return put_where(&t->head, &a->network, &a->grant, &a->extent, a->set);
}

static void items_end(items_t *t)
{
    if (t->all.p) vch_wipe(t->all.p, t->all.cap);
    vch_buf_free(&t->all);
    vch_buf_free(&t->head);
}

static vch_rc put_item(items_t *t, vch_kt_node_t node, const uint8_t key[VCH_KT_KEY])
{
    VCH_TRY(vch_buf_put(&t->all, t->head.p, t->head.n));
    VCH_TRY(vch_cbor_uint(&t->all, node.level));
    VCH_TRY(vch_cbor_uint(&t->all, node.number));
    return put32(&t->all, key);
}

static vch_rc hash_items(items_t *t, vch_hash_t *ret, const vch_kt_node_t *node, const uint8_t *seed, size_t n)
{
    vch_slice_t item[ITEMS_AT_ONCE];
    vch_buf_clear(&t->all);
    for (size_t i = 0; i < n; i++) {
        size_t from = t->all.n;
        VCH_TRY(put_item(t, node[i], seed + i * VCH_KT_KEY));
        item[i] = vch_slice(t->all.p + from, t->all.n - from);
    }
    vch_sha256_leaves(ret, item, n);
    return VCH_OK;
}

vch_rc vch__answer_items(vch_hash_t *ret, const vch_seeds_answer_t *a, const vch_kt_node_t *node, const uint8_t *seed,
                         size_t n)
{
    items_t t;
    vch_rc rc = items_begin(&t, a, vch_min(n, ITEMS_AT_ONCE));
    for (size_t at = 0, now; rc == VCH_OK && at < n; at += now) {
        now = vch_min(n - at, ITEMS_AT_ONCE);
        rc = hash_items(&t, ret + at, node + at, seed + at * VCH_KT_KEY, now);
    }
    items_end(&t);
    return rc;
}

static vch_rc request_hash(vch_hash_t *ret, const vch_release_t *r)
{
    vch_buf_t b;
    vch_buf_init(&b, 64 * 1024);
    vch_rc rc = vch_release_put(&b, r);
    if (rc == VCH_OK) vch_sha256(ret, b.p, b.n);
    vch_buf_free(&b);
    return rc;
}

vch_rc vch_answer_make(vch_seeds_answer_t *ret, const vch_release_t *r, const uint8_t *seed, vch_hash_t *leaf)
{
    vch_seeds_answer_t a = {
        .network = r->network, .grant = r->grant, .extent = r->extent, .set = r->set, .nodes = r->nodes};
    VCH_TRY(request_hash(&a.request, r));
    VCH_TRY(vch__answer_items(leaf, &a, r->node, seed, r->nodes));
    vch_tree_root_in_place(&a.root, leaf, r->nodes);
    *ret = a;
    return VCH_OK;
}

vch_rc vch_answer_seal(vch_buf_t *ret, const vch_release_t *r, const uint8_t *seed, const uint8_t random[32])
{
    if (!release_good(r)) return VCH_ERR_LIMIT;
    return vch_seal(ret, vch_slice(seed, (size_t)r->nodes * VCH_KT_KEY), r->key, random);
}

vch_rc vch_answer_open(uint8_t *ret_seed, vch_hash_t *leaf, const vch_release_t *r, const vch_seeds_answer_t *a,
                       vch_slice_t sealed, const uint8_t secret[VCH_SEAL_KEY])
{
    vch_seeds_answer_t made;
    size_t n, want = (size_t)r->nodes * VCH_KT_KEY;
    if (!release_good(r) || sealed.n != want + VCH_SEAL_OVERHEAD) return VCH_ERR_FORMAT;
    vch_rc rc = vch_seal_open(ret_seed, want, &n, sealed, r->key, secret);
    if (rc == VCH_OK) rc = vch_answer_make(&made, r, ret_seed, leaf);
    if (rc == VCH_OK) {
        bool same = vch_hash_eq(&made.network, &a->network) && vch_hash_eq(&made.grant, &a->grant) &&
                    vch_hash_eq(&made.extent, &a->extent) && made.set == a->set && made.nodes == a->nodes &&
                    vch_hash_eq(&made.request, &a->request) && vch_hash_eq(&made.root, &a->root);
        if (!same) rc = VCH_ERR_COMMITMENT;
    }
    if (rc != VCH_OK) vch_wipe(ret_seed, want);
    return rc;
}

/* ---- key-destroyed ---------------------------------------------------------------------------- */

/* `left`: the first leaf that may begin; a gap of one unless a group ends there. */
static bool range_next(vch_leaf_range_t r, uint32_t *left)
{
    const uint32_t all = VCH_KT_ROWS_MAX * VCH_KT_GROUPS_MAX;
    if (r.count == 0 || r.count > VCH_KT_ROWS_MAX || r.first < *left || r.first >= all) return false;
    uint32_t end = r.first + r.count;
    if ((end - 1) / VCH_KT_ROWS_MAX != r.first / VCH_KT_ROWS_MAX) return false;
    *left = end + (end % VCH_KT_ROWS_MAX != 0);
    return true;
}

static bool destroyed_good(const vch_destroyed_t *v)
{
    uint32_t left = 0;
    bool grade = v->grade == VCH_GRADE_TOKEN || v->grade == VCH_GRADE_FILES;
    if (!grade || !vch_kt_sets(v->n, v->t) || v->trustee >= v->n) return false;
    if (v->ranges == 0 || v->ranges > VCH_VAULT_RANGES_MAX) return false;
    for (uint32_t i = 0; i < v->ranges; i++)
        if (!range_next(v->range[i], &left)) return false;
    return true;
}

vch_rc vch_destroyed_put(vch_buf_t *b, const vch_destroyed_t *v)
{
    if (!destroyed_good(v)) return VCH_ERR_LIMIT;
    VCH_TRY(begin(b, VCH__DESTROYED, 9));
    VCH_TRY(put32(b, v->network.b));
    VCH_TRY(put32(b, v->extent.b));
    VCH_TRY(vch_cbor_uint(b, v->n));
    VCH_TRY(vch_cbor_uint(b, v->t));
    VCH_TRY(vch_cbor_uint(b, v->trustee));
    VCH_TRY(put32(b, v->erase.b));
    VCH_TRY(vch_cbor_uint(b, (uint64_t)v->grade));
    VCH_TRY(vch_cbor_array(b, 2u * v->ranges));
    for (uint32_t i = 0; i < v->ranges; i++) {
        VCH_TRY(vch_cbor_uint(b, v->range[i].first));
        VCH_TRY(vch_cbor_uint(b, v->range[i].count));
    }
    return VCH_OK;
}

vch_rc vch_destroyed_get(vch_destroyed_t *v, vch_slice_t bytes)
{
    uint64_t n, grade;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(expect(&c, VCH__DESTROYED, 9));
    VCH_TRY(vch_cbor_get_fixed(&c, v->network.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v->extent.b, 32));
    VCH_TRY(get_u8(&c, 0, UINT8_MAX, &v->n));
    VCH_TRY(get_u8(&c, 0, UINT8_MAX, &v->t));
    VCH_TRY(get_u8(&c, 0, UINT8_MAX, &v->trustee));
    VCH_TRY(vch_cbor_get_fixed(&c, v->erase.b, 32));
    VCH_TRY(get_number(&c, VCH_GRADE_TOKEN, VCH_GRADE_FILES, &grade));
    v->grade = (vch_grade_t)grade;
    VCH_TRY(get_count(&c, 2, 2u * VCH_VAULT_RANGES_MAX, &n));
    if (n % 2) return VCH_ERR_FORMAT;
    v->ranges = (uint32_t)(n / 2);
    for (uint32_t i = 0; i < v->ranges; i++) {
        VCH_TRY(get_u32(&c, 0, UINT32_MAX, &v->range[i].first));
        VCH_TRY(get_u32(&c, 1, VCH_KT_ROWS_MAX, &v->range[i].count));
    }
    VCH_TRY(finish(&c));
    return destroyed_good(v) ? VCH_OK : VCH_ERR_FORMAT;
}
