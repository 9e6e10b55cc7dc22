/* SPDX-License-Identifier: Apache-2.0 */
/* Who answered a wrong seed: another holder of the same tree shows the hash of a
 * leaf and its way to the root that all of them signed, and an answer whose seed
 * leads to another leaf contradicts its own signer's root. */
#include "codec/cbor.h"
#include "merkle/keyroot.h"
#include "node/vault_get_int.h"

typedef struct {
    vch_opening_t *o;
    unsigned set;
    uint32_t node, leaf; /* of the request; below it */
    vch_root_t root;
    vch_hash_t leaf_hash;
    vch_keyroot_path_t path;
} accuse_t;

/* ---- what is right ------------------------------------------------------------------------ */

static vch_rc get_path(accuse_t *a, vch_slice_t body)
{
    vch_cbor_t c = vch_cbor_over(body);
    vch_slice_t hashes;
    uint64_t n, inside, among;
    VCH_TRY(vch_cbor_get_array(&c, &n));
    if (n != 4) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_fixed(&c, a->leaf_hash.b, 32));
    VCH_TRY(vch_cbor_get_uint(&c, &inside));
    VCH_TRY(vch_cbor_get_uint(&c, &among));
    VCH_TRY(vch_cbor_get_bytes(&c, &hashes));
    if (!vch_cbor_done(&c) || inside > VCH_KT_ROW_BITS || among > VCH_KT_GROUP_LEVEL) return VCH_ERR_FORMAT;
    if (hashes.n != (inside + among) * sizeof(vch_hash_t)) return VCH_ERR_FORMAT;
    a->path = (vch_keyroot_path_t){
        .rows = a->root.about.rows, .groups = a->root.about.groups, .inside = (uint8_t)inside, .among = (uint8_t)among};
    memcpy(a->path.hash, hashes.p, hashes.n);
    return VCH_OK;
}

/* From the first holder whose way leads to the root; nobody is believed. */
static bool find_path(accuse_t *a)
{
    vch_opening_t *o = a->o;
    bool found = false;
    for (unsigned i = 0; !found && i < vch_holding_holders(&o->h); i++) {
        vch_peer_t *peer = o->peer[vch_holding_holder(&o->h, a->set, i)];
        vch_buf_t body;
        if (!peer || !peer->ops->path) continue;
        vch_buf_init(&body, 4096);
        found = peer->ops->path(peer, &o->about.extent, (uint8_t)a->set, a->leaf, &body, NULL) == VCH_OK &&
                get_path(a, vch_buf_slice(&body)) == VCH_OK &&
                vch_keyroot_verify_hash(&a->root.root, a->leaf, &a->leaf_hash, &a->path);
        vch_buf_free(&body);
    }
    return found;
}

/* ---- who is wrong ---------------------------------------------------------------------------- */

static bool is_wrong(const accuse_t *a, const vch_kt_seed_t *seed)
{
    uint8_t key[VCH_KT_KEY];
    vch_hash_t hash;
    bool good = vch_kt_leaves(key, seed, a->leaf, 1);
    if (good) vch_tree_leaf(&hash, vch_slice(key, sizeof key));
    vch_wipe(key, sizeof key);
    return good && !vch_hash_eq(&hash, &a->leaf_hash);
}

/* The root message as its holder signed it. */
static vch_rc put_root(accuse_t *a, unsigned position, unsigned holder, vch_buf_t *ret)
{
    vch_buf_t payload, to_sign;
    vch_buf_init(&payload, 1024);
    vch_buf_init(&to_sign, 2048);
    vch_rc rc = vch_root_put(&payload, &a->root);
    if (rc == VCH_OK) rc = vch_cose_draft(ret, &to_sign, &a->o->key[position], vch_buf_slice(&payload), NULL);
    if (rc == VCH_OK)
        memcpy(ret->p + ret->n - VCH_SIG_LEN, vch_holding_signature(&a->o->h, a->set, holder), VCH_SIG_LEN);
    vch_buf_free(&payload);
    vch_buf_free(&to_sign);
    return rc;
}

/* Kept only if it convicts whoever verifies it. */
static vch_rc put_blame(accuse_t *a, unsigned position, vch_blame_t *b)
{
    vch_opening_t *o = a->o;
    vch_buf_t *to = &o->blame[o->blames];
    b->leaf = a->leaf;
    b->leaf_hash = a->leaf_hash;
    b->path = a->path;
    vch_buf_init(to, 8192);
    vch_rc rc = vch_blame_put(to, b);
    if (rc == VCH_OK) rc = vch_blame_get(b, vch_buf_slice(to));
    if (rc == VCH_OK) rc = vch_blame_verify(b, &o->key[position], &o->ask->network);
    if (rc == VCH_OK) {
        o->blames++;
        o->blamed |= UINT64_C(1) << position;
    } else {
        vch_buf_free(to);
    }
    return rc;
}

static vch_rc accuse(accuse_t *a, unsigned holder, const uint8_t *seed)
{
    vch_opening_t *o = a->o;
    unsigned position = vch_holding_holder(&o->h, a->set, holder);
    vch_blame_t *b = vch_alloc(sizeof *b);
    vch_hash_t *leaf = vch_alloc_array(2 * (size_t)o->ask->nodes, sizeof *leaf);
    vch_buf_t root;
    vch_buf_init(&root, 2048);
    vch_rc rc = b && leaf ? put_root(a, position, holder, &root) : VCH_ERR_MEMORY;
    if (rc == VCH_OK) rc = vch_blame_point(b, o->ask, seed, a->node, leaf, leaf + o->ask->nodes);
    if (rc == VCH_OK) {
        b->root = vch_buf_slice(&root);
        b->answer = vch_buf_slice(&o->told[a->set * vch_holding_holders(&o->h) + holder]);
        rc = put_blame(a, position, b);
    }
    vch_buf_free(&root);
    if (leaf) vch_wipe(leaf, 2 * (size_t)o->ask->nodes * sizeof *leaf);
    vch_free(leaf);
    vch_free(b);
    return rc;
}

static void accuse_holder(accuse_t *a, unsigned holder)
{
    vch_opening_t *o = a->o;
    unsigned position = vch_holding_holder(&o->h, a->set, holder);
    const uint8_t *seed = o->all + ((size_t)a->set * vch_holding_holders(&o->h) + holder) * NODES_MAX * VCH_KT_KEY;
    vch_kt_seed_t one = {.node = o->ask->node[a->node]};
    if (!(o->answered[a->set] >> holder & 1) || o->blamed >> position & 1 || o->blames == VCH_BLAMES_MAX) return;
    memcpy(one.key, seed + (size_t)a->node * VCH_KT_KEY, VCH_KT_KEY);
    if (is_wrong(a, &one)) {
        vch_rc rc = accuse(a, holder, seed);
        (void)rc; /* without a proof it is set aside all the same */
    }
    vch_wipe(&one, sizeof one);
}

static bool all_agree(const accuse_t *a)
{
    const vch_opening_t *o = a->o;
    const uint8_t *first = NULL;
    for (unsigned i = 0; i < vch_holding_holders(&o->h); i++) {
        if (!(o->answered[a->set] >> i & 1)) continue;
        const uint8_t *seed =
            o->all + (((size_t)a->set * vch_holding_holders(&o->h) + i) * NODES_MAX + a->node) * VCH_KT_KEY;
        if (first && memcmp(first, seed, VCH_KT_KEY) != 0) return false;
        first = seed;
    }
    return true;
}

void og_accuse(vch_opening_t *o, uint32_t node, uint32_t leaf)
{
    vch_tree_about_t about = {.network = o->ask->network,
                              .extent = o->about.extent,
                              .n = o->h.n,
                              .t = o->h.t,
                              .groups = (uint8_t)o->groups,
                              .rows = o->rows};
    for (unsigned set = 0; set < o->h.sets; set++) {
        accuse_t a = {.o = o, .set = set, .node = node, .leaf = leaf};
        bool alone = __builtin_popcountll(o->answered[set]) < 2;
        if ((all_agree(&a) && !alone) || vch_holding_message(&a.root, &o->h, &about, set) != VCH_OK) continue;
        if (!find_path(&a)) continue;
        o->ask->set = (uint8_t)set;
        for (unsigned i = 0; i < vch_holding_holders(&o->h); i++) accuse_holder(&a, i);
    }
}

bool vch_opening_blame(const vch_opening_t *o, size_t i, vch_slice_t *ret)
{
    if (i >= o->blames) return false;
    *ret = vch_buf_slice(&o->blame[i]);
    return true;
}
