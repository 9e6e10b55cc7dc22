/* SPDX-License-Identifier: Apache-2.0 */
/* Prekeys in, deals out, signed roots back; who holds the extent is what comes
 * of it. */
#include "codec/cbor.h"
#include "node/node_int.h"
#include "node/vault_int.h"

typedef struct {
    vch_vault_t *v;
    const vch_signer_t *custodian;
    const vch_tree_about_t *about;
    const vch_kt_seed_t *root;
    vch_holding_t h;
    bool has_root[VCH_KT_SETS_MAX];
    unsigned first_holder[VCH_KT_SETS_MAX]; /* whose root was taken first */
    uint8_t (*signature)[VCH_SIG_LEN];      /* sets × holders */
    uint8_t *seed;                          /* secret: those of one trustee, and 32 random bytes behind them */
    vch_err_t *err;
} deal_t;

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- one trustee's prekey --------------------------------------------------------------- */

static vch_rc check_prekey(deal_t *d, unsigned p, vch_slice_t message, const vch_pubkey_t *key, vch_prekey_t *ret)
{
    vch_cose_t m;
    vch_rc rc = vch_cose_read(&m, message);
    if (rc == VCH_OK) rc = vch_cose_verify(&m, key, NULL);
    if (rc == VCH_OK) rc = vch_prekey_get(ret, m.payload);
    if (rc == VCH_OK && !vch_hash_eq(&ret->network, &d->about->network)) rc = VCH_ERR_NETWORK;
    return rc == VCH_OK ? rc : vch_fail(d->err, rc, "trustee %u's prekey is not good: %s", p + 1, vch_rc_text(rc));
}

static vch_rc get_prekey(deal_t *d, unsigned p, const vch_pubkey_t *key, vch_prekey_t *ret)
{
    vch_buf_t message;
    vch_buf_init(&message, 4096);
    vch_rc rc = d->v->trustee[p]->ops->prekey(d->v->trustee[p], &message, d->err);
    if (rc == VCH_OK) rc = check_prekey(d, p, vch_buf_slice(&message), key, ret);
    vch_buf_free(&message);
    return rc;
}

/* ---- its deal ------------------------------------------------------------------------------ */

/* The seeds of the sets that it is not in. */
static void collect(deal_t *d, unsigned p)
{
    uint8_t *to = d->seed;
    for (unsigned set = 0; set < d->h.sets; set++) {
        if (!vch_kt_holds(vch_kt_set(d->h.n, d->h.t, set), p)) continue;
        memcpy(to, d->root[set].key, VCH_KT_KEY);
        to += VCH_KT_KEY;
    }
}

static vch_rc make_deal(deal_t *d, unsigned p, const vch_prekey_t *prekey, vch_buf_t *ret)
{
    vch_deal_t deal = {.about = *d->about, .trustee = (uint8_t)p};
    uint8_t *random = d->seed + (size_t)VCH_VAULT_HELD_MAX * VCH_KT_KEY;
    vch_buf_t payload;
    memcpy(deal.prekey, prekey->key, sizeof deal.prekey);
    VCH_TRY(vch_random(d->v->l->port, random, 32, d->err));
    collect(d, p);
    vch_buf_init(&payload, 8192);
    vch_rc rc = vch_deal_put(&payload, &deal, d->seed, random);
    if (rc == VCH_OK)
        rc = vch_cose_sign(ret, d->custodian, vch_buf_slice(&payload), d->err);
    else
        vch_fail(d->err, rc, "a deal can't be made: %s", vch_rc_text(rc));
    vch_buf_free(&payload);
    return rc;
}

/* ---- its roots ------------------------------------------------------------------------------- */

static unsigned holder_index(const vch_holding_t *h, unsigned set, unsigned p)
{
    unsigned i = 0;
    while (vch_holding_holder(h, set, i) != p) i++;
    return i;
}

static bool same_tree(const vch_tree_about_t *a, const vch_tree_about_t *b)
{
    return vch_hash_eq(&a->network, &b->network) && vch_hash_eq(&a->extent, &b->extent) && a->n == b->n &&
           a->t == b->t && a->groups == b->groups && a->rows == b->rows;
}

static vch_rc take_root(deal_t *d, unsigned p, unsigned set, vch_slice_t message, const vch_pubkey_t *key)
{
    vch_cose_t m;
    vch_root_t root;
    vch_rc rc = vch_cose_read(&m, message);
    if (rc == VCH_OK) rc = vch_cose_verify(&m, key, NULL);
    if (rc == VCH_OK) rc = vch_root_get(&root, m.payload);
    if (rc == VCH_OK && (root.set != set || !same_tree(&root.about, d->about))) rc = VCH_ERR_CONFLICT;
    if (rc != VCH_OK) return vch_fail(d->err, rc, "trustee %u's root is not good: %s", p + 1, vch_rc_text(rc));
    if (d->has_root[set] && !vch_hash_eq(&d->h.root[set], &root.root))
        return vch_fail(d->err, VCH_ERR_COMMITMENT, "trustees %u and %u computed different roots of key tree %u",
                        d->first_holder[set] + 1, p + 1, set);
    if (!d->has_root[set]) d->first_holder[set] = p;
    d->has_root[set] = true;
    d->h.root[set] = root.root;
    memcpy(d->signature[set * vch_holding_holders(&d->h) + holder_index(&d->h, set, p)], m.sig, VCH_SIG_LEN);
    return VCH_OK;
}

static vch_rc take_roots(deal_t *d, unsigned p, vch_slice_t message, const vch_pubkey_t *key)
{
    vch_cbor_t c = vch_cbor_over(message);
    uint64_t n;
    if (vch_cbor_get_array(&c, &n) != VCH_OK || n != vch_vault_held(d->h.n, d->h.t))
        return vch_fail(d->err, VCH_ERR_FORMAT, "trustee %u did not answer with its roots", p + 1);
    for (unsigned set = 0; set < d->h.sets; set++) {
        vch_slice_t one;
        if (!vch_kt_holds(vch_kt_set(d->h.n, d->h.t, set), p)) continue;
        if (vch_cbor_get_bytes(&c, &one) != VCH_OK)
            return vch_fail(d->err, VCH_ERR_FORMAT, "trustee %u did not answer with its roots", p + 1);
        VCH_TRY(take_root(d, p, set, one, key));
    }
    return c.p == c.end ? VCH_OK : vch_fail(d->err, VCH_ERR_FORMAT, "trustee %u's answer goes on too long", p + 1);
}

/* ---- all of them -------------------------------------------------------------------------------- */

static vch_rc deal_one(deal_t *d, unsigned p)
{
    vch_pubkey_t key;
    vch_prekey_t prekey;
    vch_buf_t message, roots;
    VCH_TRY(vch_vault_key(d->v->l, &d->v->trustee_id[p], &key, d->err));
    VCH_TRY(get_prekey(d, p, &key, &prekey));
    vch_buf_init(&message, 16384);
    vch_buf_init(&roots, 65536);
    vch_rc rc = make_deal(d, p, &prekey, &message);
    if (rc == VCH_OK) rc = d->v->trustee[p]->ops->deal(d->v->trustee[p], vch_buf_slice(&message), &roots, d->err);
    if (rc == VCH_OK) rc = take_roots(d, p, vch_buf_slice(&roots), &key);
    vch_buf_free(&message);
    vch_buf_free(&roots);
    return rc;
}

static vch_rc deal_all(deal_t *d, vch_buf_t *ret)
{
    d->signature = vch_alloc_array((size_t)d->h.sets * vch_holding_holders(&d->h), VCH_SIG_LEN);
    d->seed = vch_secret_alloc((VCH_VAULT_HELD_MAX + 1u) * VCH_KT_KEY);
    if (!d->signature || !d->seed) return no_memory(d->err);
    for (unsigned p = 0; p < d->h.n; p++) VCH_TRY(deal_one(d, p));
    vch_rc rc = vch_holding_put(ret, &d->h, (const uint8_t(*)[VCH_SIG_LEN])d->signature);
    return rc == VCH_OK ? rc : vch_fail(d->err, rc, "who holds the extent can't be written: %s", vch_rc_text(rc));
}

vch_rc vch_vault_deal(vch_vault_t *v, const vch_signer_t *custodian, const vch_tree_about_t *about,
                      const vch_kt_seed_t *root, const vch_hash_t *shards_root, vch_buf_t *ret, vch_err_t *err)
{
    deal_t d = {.v = v, .custodian = custodian, .about = about, .root = root, .err = err};
    d.h = (vch_holding_t){.n = v->n, .t = v->t, .k = v->k, .nodes = v->nodes, .shards_root = *shards_root};
    d.h.sets = (uint8_t)vch_kt_sets(v->n, v->t);
    memcpy(d.h.trustee, v->trustee_id, sizeof d.h.trustee);
    memcpy(d.h.storage, v->storage_id, sizeof d.h.storage);
    VCH_TRY(vch_vault_all_trustees(v, err));
    vch_rc rc = deal_all(&d, ret);
    vch_free(d.signature);
    vch_secret_free(d.seed);
    return rc;
}
