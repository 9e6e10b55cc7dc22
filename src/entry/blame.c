/* SPDX-License-Identifier: Apache-2.0 */
/* The proof against a holder: two signatures by one key, and they contradict
 * each other.  Nothing in it is believed but those two and SHA-256. */
#include "codec/cbor.h"
#include "crypto/sha256.h"
#include "entry/vault_int.h"

#define COSE_MAX 1024u /* of root and answer; they have a few hundred bytes */
#define ANSWER_PATH_MAX 12u
#define FIELDS 13u

static bool sizes_good(const vch_blame_t *v)
{
    return v->root.n <= COSE_MAX && v->answer.n <= COSE_MAX && v->in_answer <= ANSWER_PATH_MAX &&
           v->index < VCH_VAULT_NODES_MAX && vch_kt_valid(v->seed.node) && v->seed.node.level >= VCH_KT_GROUP_LEVEL &&
           v->leaf >> VCH_KT_LEAF_LEVEL == 0 && v->path.inside <= VCH_KT_ROW_BITS &&
           v->path.among <= VCH_KT_GROUP_LEVEL;
}

vch_rc vch_blame_put(vch_buf_t *b, const vch_blame_t *v)
{
    if (!sizes_good(v)) return VCH_ERR_LIMIT;
    VCH_TRY(vch_cbor_array(b, FIELDS));
    VCH_TRY(vch_cbor_uint(b, VCH__BLAME));
    VCH_TRY(vch_cbor_bytes(b, v->root.p, v->root.n));
    VCH_TRY(vch_cbor_bytes(b, v->answer.p, v->answer.n));
    VCH_TRY(vch_cbor_uint(b, v->index));
    VCH_TRY(vch_cbor_uint(b, v->seed.node.level));
    VCH_TRY(vch_cbor_uint(b, v->seed.node.number));
    VCH_TRY(vch_cbor_bytes(b, v->seed.key, VCH_KT_KEY));
    VCH_TRY(vch_cbor_bytes(b, v->answer_path, v->in_answer * sizeof(vch_hash_t)));
    VCH_TRY(vch_cbor_uint(b, v->leaf));
    VCH_TRY(vch_cbor_bytes(b, v->leaf_hash.b, 32));
    VCH_TRY(vch_cbor_uint(b, v->path.inside));
    VCH_TRY(vch_cbor_uint(b, v->path.among));
    return vch_cbor_bytes(b, v->path.hash, ((size_t)v->path.inside + v->path.among) * sizeof(vch_hash_t));
}

static vch_rc get_max(vch_cbor_t *c, uint32_t max, uint32_t *ret)
{
    uint64_t v;
    VCH_TRY(vch_cbor_get_uint(c, &v));
    if (v > max) return VCH_ERR_FORMAT;
    *ret = (uint32_t)v;
    return VCH_OK;
}

static vch_rc get_small(vch_cbor_t *c, uint8_t max, uint8_t *ret)
{
    uint32_t v;
    VCH_TRY(get_max(c, max, &v));
    *ret = (uint8_t)v;
    return VCH_OK;
}

static vch_rc get_answer_path(vch_cbor_t *c, vch_blame_t *v)
{
    vch_slice_t s;
    VCH_TRY(vch_cbor_get_bytes(c, &s));
    if (s.n % 32 || s.n / 32 > ANSWER_PATH_MAX) return VCH_ERR_FORMAT;
    v->in_answer = (uint8_t)(s.n / 32);
    if (s.n) memcpy(v->answer_path, s.p, s.n);
    return VCH_OK;
}

static vch_rc get_path(vch_cbor_t *c, vch_keyroot_path_t *p)
{
    VCH_TRY(get_small(c, VCH_KT_ROW_BITS, &p->inside));
    VCH_TRY(get_small(c, VCH_KT_GROUP_LEVEL, &p->among));
    return vch_cbor_get_fixed(c, p->hash, ((size_t)p->inside + p->among) * sizeof(vch_hash_t));
}

static vch_rc get_seed(vch_cbor_t *c, vch_kt_seed_t *s)
{
    VCH_TRY(get_small(c, VCH_KT_LEAF_LEVEL, &s->node.level));
    VCH_TRY(get_max(c, UINT32_MAX, &s->node.number));
    return vch_cbor_get_fixed(c, s->key, VCH_KT_KEY);
}

vch_rc vch_blame_get(vch_blame_t *ret, vch_slice_t bytes)
{
    vch_blame_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    uint64_t n;
    uint8_t kind;
    VCH_TRY(vch_cbor_get_array(&c, &n));
    if (n != FIELDS) return VCH_ERR_FORMAT;
    VCH_TRY(get_small(&c, UINT8_MAX, &kind));
    if (kind != VCH__BLAME) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_bytes(&c, &v.root));
    VCH_TRY(vch_cbor_get_bytes(&c, &v.answer));
    VCH_TRY(get_max(&c, VCH_VAULT_NODES_MAX - 1, &v.index));
    VCH_TRY(get_seed(&c, &v.seed));
    VCH_TRY(get_answer_path(&c, &v));
    VCH_TRY(get_max(&c, UINT32_MAX, &v.leaf));
    VCH_TRY(vch_cbor_get_fixed(&c, v.leaf_hash.b, 32));
    VCH_TRY(get_path(&c, &v.path));
    if (!vch_cbor_done(&c) || !sizes_good(&v)) return VCH_ERR_FORMAT;
    *ret = v;
    return VCH_OK;
}

vch_rc vch_blame_point(vch_blame_t *v, const vch_release_t *r, const uint8_t *seed, uint32_t index, vch_hash_t *leaf,
                       vch_hash_t *scratch)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    if (r->nodes > VCH_VAULT_NODES_MAX || index >= r->nodes) return VCH_ERR_LIMIT;
    vch_seeds_answer_t a = {.network = r->network, .grant = r->grant, .extent = r->extent, .set = r->set};
    VCH_TRY(vch__answer_items(leaf, &a, r->node, seed, r->nodes));
    size_t n = vch_tree_path(path, leaf, r->nodes, index, scratch);
    if (n > ANSWER_PATH_MAX) return VCH_ERR_INTERNAL;
    v->index = index;
    v->seed.node = r->node[index];
    memcpy(v->seed.key, seed + (size_t)index * VCH_KT_KEY, VCH_KT_KEY);
    v->in_answer = (uint8_t)n;
    memcpy(v->answer_path, path, n * sizeof *path);
    return VCH_OK;
}

static vch_rc open_signed(vch_slice_t *ret, vch_slice_t cose, const vch_pubkey_t *by)
{
    vch_cose_t c;
    vch_err_t err = {0};
    VCH_TRY(vch_cose_read(&c, cose));
    VCH_TRY(vch_cose_verify(&c, by, &err));
    *ret = c.payload;
    return VCH_OK;
}

/* Both words are about one tree, and the leaf is one that R_T speaks of. */
static vch_rc same_tree(const vch_blame_t *v, const vch_root_t *r, const vch_seeds_answer_t *a,
                        const vch_hash_t *network)
{
    if (!vch_hash_eq(&r->about.network, network) || !vch_hash_eq(&a->network, network)) return VCH_ERR_NETWORK;
    if (!vch_hash_eq(&r->about.extent, &a->extent) || r->set != a->set) return VCH_ERR_CONFLICT;
    vch_kt_node_t leaf = {VCH_KT_LEAF_LEVEL, v->leaf};
    return vch_kt_valid(leaf) && vch_kt_below(leaf, v->seed.node) ? VCH_OK : VCH_ERR_CONFLICT;
}

static vch_rc seed_signed(const vch_blame_t *v, const vch_seeds_answer_t *a)
{
    vch_hash_t item;
    VCH_TRY(vch__answer_items(&item, a, &v->seed.node, v->seed.key, 1));
    bool in = vch_inclusion_verify(v->index, a->nodes, &item, v->answer_path, v->in_answer, &a->root);
    return in ? VCH_OK : VCH_ERR_COMMITMENT;
}

static vch_rc leaf_differs(const vch_blame_t *v, const vch_root_t *r)
{
    vch_keyroot_path_t path = v->path;
    vch_kt_seed_t leaf;
    vch_hash_t got;
    path.rows = r->about.rows; /* the accused's own numbers, not the accuser's */
    path.groups = r->about.groups;
    if (!vch_keyroot_verify_hash(&r->root, v->leaf, &v->leaf_hash, &path)) return VCH_ERR_COMMITMENT;
    if (!vch_kt_descend(&leaf, &v->seed, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, v->leaf})) return VCH_ERR_CONFLICT;
    vch_tree_leaf(&got, vch_slice(leaf.key, VCH_KT_KEY));
    return vch_hash_eq(&got, &v->leaf_hash) ? VCH_ERR_NOT_FOUND : VCH_OK;
}

vch_rc vch_blame_verify(const vch_blame_t *v, const vch_pubkey_t *accused, const vch_hash_t *network)
{
    vch_slice_t payload;
    vch_root_t root;
    vch_seeds_answer_t answer;
    if (!sizes_good(v)) return VCH_ERR_LIMIT;
    VCH_TRY(open_signed(&payload, v->root, accused));
    VCH_TRY(vch_root_get(&root, payload));
    VCH_TRY(open_signed(&payload, v->answer, accused));
    VCH_TRY(vch_answer_get(&answer, payload));
    VCH_TRY(same_tree(v, &root, &answer, network));
    VCH_TRY(seed_signed(v, &answer));
    return leaf_differs(v, &root);
}
