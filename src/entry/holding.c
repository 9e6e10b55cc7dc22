/* SPDX-License-Identifier: Apache-2.0 */
#include "entry/holding.h"

#include "codec/cbor.h"

static bool differ(const vch_keyid_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (vch_keyid_eq(&id[i], &id[k])) return false;
    return true;
}

static bool fits(const vch_holding_t *h)
{
    if (h->n > VCH_KT_SETS_MAX || h->nodes > VCH_STORAGE_MAX || vch_kt_sets(h->n, h->t) != h->sets || h->sets == 0)
        return false;
    if (h->k < 1 || h->k > h->nodes || (h->nodes > 1 && h->k == h->nodes)) return false;
    return differ(h->trustee, h->n) && differ(h->storage, h->nodes);
}

/* ---- encoding --------------------------------------------------------------- */

static vch_rc put_list(vch_buf_t *b, uint64_t key, const void *item, size_t n, size_t length)
{
    const uint8_t *p = item;
    VCH_TRY(vch_cbor_uint(b, key));
    VCH_TRY(vch_cbor_array(b, n));
    for (size_t i = 0; i < n; i++) VCH_TRY(vch_cbor_bytes(b, p + i * length, length));
    return VCH_OK;
}

static vch_rc put_number(vch_buf_t *b, uint64_t key, uint64_t value)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_uint(b, value);
}

vch_rc vch_holding_put(vch_buf_t *b, const vch_holding_t *h, const uint8_t (*signature)[VCH_SIG_LEN])
{
    if (!fits(h)) return VCH_ERR_LIMIT;
    VCH_TRY(vch_cbor_map(b, 7));
    VCH_TRY(put_number(b, VCH_F_VAULT_THRESHOLD, h->t));
    VCH_TRY(put_list(b, VCH_F_VAULT_TRUSTEES, h->trustee, h->n, 32));
    VCH_TRY(put_number(b, VCH_F_VAULT_DATA, h->k));
    VCH_TRY(put_list(b, VCH_F_VAULT_STORAGE, h->storage, h->nodes, 32));
    VCH_TRY(put_list(b, VCH_F_VAULT_ROOTS, h->root, h->sets, 32));
    VCH_TRY(put_list(b, VCH_F_VAULT_SIGNATURES, signature, (size_t)h->sets * vch_holding_holders(h), VCH_SIG_LEN));
    VCH_TRY(vch_cbor_uint(b, VCH_F_VAULT_SHARDS));
    return vch_cbor_bytes(b, h->shards_root.b, 32);
}

/* ---- decoding ---------------------------------------------------------------- */

static vch_rc get_list(vch_slice_t map, uint64_t key, size_t max, void *ret, uint8_t *ret_n)
{
    vch_list_t list;
    vch_slice_t item, bytes;
    uint8_t *p = ret;
    size_t n = 0;
    VCH_TRY(vch_field_list(map, key, &list));
    while (vch_list_next(&list, &item) == VCH_OK) {
        if (n == max) return VCH_ERR_FORMAT;
        VCH_TRY(vch_item_bytes(item, &bytes));
        if (bytes.n != 32) return VCH_ERR_FORMAT;
        memcpy(p + 32 * n++, bytes.p, 32);
    }
    *ret_n = (uint8_t)n;
    return VCH_OK;
}

static vch_rc get_numbers(vch_slice_t map, vch_holding_t *h)
{
    uint64_t t, k;
    VCH_TRY(vch_field_uint(map, VCH_F_VAULT_THRESHOLD, &t));
    VCH_TRY(vch_field_uint(map, VCH_F_VAULT_DATA, &k));
    if (t > VCH_KT_SETS_MAX || k > VCH_STORAGE_MAX) return VCH_ERR_FORMAT;
    h->t = (uint8_t)t;
    h->k = (uint8_t)k;
    return VCH_OK;
}

vch_rc vch_holding_get(vch_holding_t *ret, vch_slice_t map)
{
    vch_holding_t h = {0};
    vch_list_t signatures;
    VCH_TRY(get_numbers(map, &h));
    VCH_TRY(get_list(map, VCH_F_VAULT_TRUSTEES, VCH_KT_SETS_MAX, h.trustee, &h.n));
    VCH_TRY(get_list(map, VCH_F_VAULT_STORAGE, VCH_STORAGE_MAX, h.storage, &h.nodes));
    VCH_TRY(get_list(map, VCH_F_VAULT_ROOTS, VCH_KT_SETS_MAX, h.root, &h.sets));
    VCH_TRY(vch_field_fixed(map, VCH_F_VAULT_SHARDS, h.shards_root.b, 32));
    VCH_TRY(vch_field_list(map, VCH_F_VAULT_SIGNATURES, &signatures));
    if (!fits(&h) || signatures.left != (uint64_t)h.sets * vch_holding_holders(&h)) return VCH_ERR_FORMAT;
    if (signatures.rest.n < signatures.left * VCH_HOLDING_STRIDE) return VCH_ERR_FORMAT;
    h.signature = signatures.rest.p + 2;
    *ret = h;
    return VCH_OK;
}

/* ---- holders and what they signed ----------------------------------------------- */

unsigned vch_holding_holder(const vch_holding_t *h, unsigned set, unsigned i)
{
    uint64_t members = vch_kt_set(h->n, h->t, set);
    for (unsigned position = 0; position < h->n; position++)
        if (vch_kt_holds(members, position) && i-- == 0) return position;
    return h->n;
}

const uint8_t *vch_holding_signature(const vch_holding_t *h, unsigned set, unsigned i)
{
    return h->signature + ((size_t)set * vch_holding_holders(h) + i) * VCH_HOLDING_STRIDE;
}

vch_rc vch_holding_message(vch_root_t *ret, const vch_holding_t *h, const vch_tree_about_t *about, unsigned set)
{
    if (set >= h->sets || about->n != h->n || about->t != h->t) return VCH_ERR_LIMIT;
    *ret = (vch_root_t){.about = *about, .set = (uint8_t)set, .root = h->root[set]};
    return VCH_OK;
}

vch_rc vch_holding_verify(const vch_root_t *root, const vch_pubkey_t *key, const uint8_t signature[VCH_SIG_LEN])
{
    vch_buf_t payload, cose, to_sign;
    vch_buf_init(&payload, 1024);
    vch_buf_init(&cose, 2048);
    vch_buf_init(&to_sign, 2048);
    vch_rc rc = vch_root_put(&payload, root);
    if (rc == VCH_OK) rc = vch_cose_draft(&cose, &to_sign, key, vch_buf_slice(&payload), NULL);
    if (rc == VCH_OK) rc = vch_sig_verify(key, signature, vch_buf_slice(&to_sign));
    vch_buf_free(&payload);
    vch_buf_free(&cose);
    vch_buf_free(&to_sign);
    return rc;
}
