/* SPDX-License-Identifier: Apache-2.0 */
/* An extent in the vault: its trustees and storage nodes are registered, each a
 * party of its own, and every holder of a key tree signed the same root.  And
 * trustees' words that they destroyed what belonged to erased subjects. */
#include "entry/holding.h"
#include "state/state_impl.h"

/* The active key of a party with this role; *party has room for one id more. */
static vch_rc role_key(apply_t *a, const vch_keyid_t *id, unsigned role, const char *what, vch_pubkey_t *ret,
                       vch_id_t *ret_party)
{
    vch_state_key_t at = vch_key_id('k', id->b);
    vch_slice_t bytes;
    vch_key_value_t key;
    vch_party_value_t party;
    vch_rc rc = st_get(a->s, &at, &bytes, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(a->err, VCH_ERR_REFERENCE, "a %s's key is not registered", what);
    VCH_TRY(rc);
    VCH_TRY(vch_key_get(&key, bytes));
    if (key.revoked) return vch_fail(a->err, VCH_ERR_KEY, "a %s's key was revoked", what);
    if (vch_pubkey_get(ret, key.key) != VCH_OK) return VCH_ERR_CORRUPT;
    *ret_party = key.party;
    VCH_TRY(st_party(a->s, &key.party, &party, a->err));
    if (party.roles & role) return VCH_OK;
    return vch_fail(a->err, VCH_ERR_ROLE, "\"%.*s\" is not registered as a %s", (int)vch_min(party.name.n, 100),
                    (const char *)party.name.p, what);
}

/* Two positions of one party would be one breach for two. */
static vch_rc parties_differ(apply_t *a, const vch_id_t *party, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (vch_id_eq(&party[i], &party[k]))
                return vch_fail(a->err, VCH_ERR_CONFLICT, "two %ss of an extent belong to one party", what);
    return VCH_OK;
}

static vch_rc storage_is_registered(apply_t *a, const vch_holding_t *h)
{
    vch_id_t party[VCH_STORAGE_MAX];
    vch_pubkey_t key;
    for (unsigned i = 0; i < h->nodes; i++)
        VCH_TRY(role_key(a, &h->storage[i], VCH_ROLE_STORAGE, "storage node", &key, &party[i]));
    return parties_differ(a, party, h->nodes, "storage node");
}

static vch_rc holders_agree(apply_t *a, const vch_holding_t *h, const vch_tree_about_t *about, const vch_pubkey_t *key)
{
    vch_root_t message;
    for (unsigned set = 0; set < h->sets; set++) {
        VCH_TRY(vch_holding_message(&message, h, about, set));
        for (unsigned i = 0; i < vch_holding_holders(h); i++) {
            unsigned position = vch_holding_holder(h, set, i);
            if (vch_holding_verify(&message, &key[position], vch_holding_signature(h, set, i)) != VCH_OK)
                return vch_fail(a->err, VCH_ERR_SIGNATURE, "trustee %u did not sign the root of key tree %u", position,
                                set);
        }
    }
    return VCH_OK;
}

vch_rc st_holding(apply_t *a, const vch_id_t *dataset, uint32_t groups, const vch_extent_value_t *e, uint32_t number,
                  vch_slice_t map)
{
    vch_holding_t h;
    vch_pubkey_t key[VCH_KT_SETS_MAX];
    vch_id_t party[VCH_KT_SETS_MAX];
    if (vch_holding_get(&h, map) != VCH_OK)
        return vch_fail(a->err, VCH_ERR_FORMAT, "an extent's trustees, storage nodes, roots and signatures don't fit");
    for (unsigned i = 0; i < h.n; i++)
        VCH_TRY(role_key(a, &h.trustee[i], VCH_ROLE_TRUSTEE, "trustee", &key[i], &party[i]));
    VCH_TRY(parties_differ(a, party, h.n, "trustee"));
    VCH_TRY(storage_is_registered(a, &h));
    vch_tree_about_t about = {.network = a->p->entry.network,
                              .extent = e->id,
                              .n = h.n,
                              .t = h.t,
                              .groups = (uint8_t)groups,
                              .rows = e->count};
    VCH_TRY(holders_agree(a, &h, &about, key));
    vch_state_key_t at = vch_key_id_u32('w', dataset->b, number);
    return st_set(a->s, &at, map, a->err);
}

/* ---- key-destroyed ------------------------------------------------------------------------ */

/* The erase statement stands under the subject that it erased. */
static vch_rc find_erasure(apply_t *a, const vch_id_t *erase, vch_slice_t *ret, vch_id_t *ret_dataset)
{
    vch_rc rc = st_get_at(a->s, 'z', erase->b, ret, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(a->err, VCH_ERR_REFERENCE, "there is no such erasure");
    VCH_TRY(rc);
    if (ret->n != 36) return VCH_ERR_CORRUPT;
    memcpy(ret_dataset->b, ret->p, 32);
    return VCH_OK;
}

static vch_rc is_trustee_of(apply_t *a, const vch_id_t *dataset, uint32_t number, const vch_keyid_t *key)
{
    vch_slice_t map;
    vch_holding_t h;
    vch_state_key_t at = vch_key_id_u32('w', dataset->b, number);
    vch_rc rc = st_get(a->s, &at, &map, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(a->err, VCH_ERR_REFERENCE, "extent %u is not in the vault", number);
    VCH_TRY(rc);
    VCH_TRY(vch_holding_get(&h, map));
    for (unsigned i = 0; i < h.n; i++)
        if (vch_keyid_eq(&h.trustee[i], key)) return VCH_OK;
    return vch_fail(a->err, VCH_ERR_ROLE, "the signer's key is not a trustee's of extent %u", number);
}

static vch_rc destroyed_in(apply_t *a, const vch_id_t *erase, const vch_id_t *dataset, uint32_t extents,
                           const vch_hash_t *extent, uint8_t grade)
{
    vch_slice_t place;
    vch_rc rc = st_get_at(a->s, 'E', extent->b, &place, a->err);
    if (rc == VCH_ERR_NOT_FOUND || (rc == VCH_OK && place.n == 36 && memcmp(place.p, dataset->b, 32) != 0))
        return vch_fail(a->err, VCH_ERR_REFERENCE, "the erased subject's dataset has no such extent");
    VCH_TRY(rc);
    if (place.n != 36) return VCH_ERR_CORRUPT;
    uint32_t number = vch_get_u32(place.p + 32);
    if (number >= extents) return vch_fail(a->err, VCH_ERR_REFERENCE, "extent %u came after the erasure", number);
    const vch_keyid_t *key = &a->p->entry.cose.kid;
    VCH_TRY(is_trustee_of(a, dataset, number, key));
    vch_state_key_t at = vch_destroyed_key(erase, extent, key);
    if (st_has(a->s, &at, &rc, a->err))
        return vch_fail(a->err, VCH_ERR_CONFLICT, "this trustee said so already of extent %u", number);
    VCH_TRY(rc);
    return st_set(a->s, &at, vch_slice(&grade, 1), a->err);
}

vch_rc rule_key_destroyed(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    (void)object;
    vch_id_t erase, dataset;
    vch_slice_t place, item, bytes;
    uint64_t grade;
    vch_list_t extents;
    vch_erasure_value_t v;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_DESTROYED_ERASE, erase.b, 32));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_DESTROYED_GRADE, &grade));
    VCH_TRY(vch_field_list(st->fields, VCH_F_DESTROYED_EXTENTS, &extents));
    VCH_TRY(find_erasure(a, &erase, &place, &dataset));
    vch_state_key_t at = vch_key_id_u32('z', dataset.b, vch_get_u32(place.p + 32));
    VCH_TRY(st_get(a->s, &at, &bytes, a->err));
    VCH_TRY(vch_erasure_get(&v, bytes));
    vch_rc rc;
    while ((rc = vch_list_next(&extents, &item)) == VCH_OK) {
        vch_hash_t extent;
        VCH_TRY(vch_item_bytes(item, &bytes));
        memcpy(extent.b, bytes.p, 32);
        VCH_TRY(destroyed_in(a, &erase, &dataset, v.extents, &extent, (uint8_t)grade));
    }
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}
