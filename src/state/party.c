/* SPDX-License-Identifier: Apache-2.0 */
/* Genesis, parties and their keys. */
#include "state/state_impl.h"

static vch_rc register_key(apply_t *a, const vch_id_t *party, vch_slice_t multicodec, vch_keyid_t *ret)
{
    vch_pubkey_t key;
    vch_rc rc;
    if (vch_pubkey_get(&key, multicodec) != VCH_OK)
        return vch_fail(a->err, VCH_ERR_KEY, "a key is not a valid Ed25519 or P-256 multicodec key");
    vch_keyid_t id = vch_pubkey_id(&key);
    vch_state_key_t at = vch_key_id('k', id.b);
    if (st_has(a->s, &at, &rc, a->err)) return vch_fail(a->err, VCH_ERR_CONFLICT, "a key is registered already");
    VCH_TRY(rc);
    vch_key_value_t v = {.party = *party, .since = a->now, .key = multicodec};
    *ret = id;
    return ST_SET(a->s, &at, vch_key_put, &v, a->err);
}

/* A name stands for one party at a time.  It is free again when a registrar
 * revoked the last key of who had it: nobody can act for that party any more. */
static vch_rc take_name(apply_t *a, vch_slice_t name, const vch_id_t *id)
{
    vch_hash_t hash;
    vch_slice_t taken;
    vch_id_t other;
    vch_party_value_t party;
    char hex[17];
    vch_sha256(&hash, name.p, name.n);
    vch_state_key_t key = vch_key_id('n', hash.b);
    vch_rc rc = st_get(a->s, &key, &taken, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return st_set(a->s, &key, vch_slice(id->b, 32), a->err);
    VCH_TRY(rc);
    if (taken.n != 32) return VCH_ERR_CORRUPT;
    memcpy(other.b, taken.p, 32);
    VCH_TRY(st_party(a->s, &other, &party, a->err));
    if (party.keys == 0) return st_set(a->s, &key, vch_slice(id->b, 32), a->err);
    vch_hex(hex, other.b, 8);
    return vch_fail(a->err, VCH_ERR_CONFLICT, "the name \"%.*s\" is taken: party %s has it", (int)vch_min(name.n, 128),
                    (const char *)name.p, hex);
}

static vch_rc register_party(apply_t *a, vch_slice_t fields, const vch_id_t *id)
{
    vch_party_value_t v = {0};
    uint64_t roles;
    vch_list_t keys;
    vch_slice_t item, bytes;
    vch_rc rc;
    VCH_TRY(vch_field_bytes(fields, VCH_F_PARTY_NAME, &v.name));
    VCH_TRY(vch_field_uint(fields, VCH_F_PARTY_ROLES, &roles));
    VCH_TRY(vch_field_list(fields, VCH_F_PARTY_KEYS, &keys));
    VCH_TRY(take_name(a, v.name, id));
    v.roles = (unsigned)roles;
    while ((rc = vch_list_next(&keys, &item)) == VCH_OK) {
        VCH_TRY(vch_item_bytes(item, &bytes));
        VCH_TRY(register_key(a, id, bytes, &v.key[v.keys++]));
    }
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    rc = vch_field_fixed(fields, VCH_F_PARTY_NEXT, v.next.b, 32);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    v.has_next = rc == VCH_OK;
    vch_state_key_t key = vch_key_id('p', id->b);
    return ST_SET(a->s, &key, vch_party_put, &v, a->err);
}

vch_rc rule_genesis(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    (void)object;
    static const vch_hash_t zero;
    if (a->s->info.applied != 0) return vch_fail(a->err, VCH_ERR_CONFLICT, "genesis can only be the first entry");
    if (!vch_hash_eq(&a->p->entry.network, &zero))
        return vch_fail(a->err, VCH_ERR_NETWORK, "genesis names 32 zero bytes as its network");
    vch_state_key_t key = vch_key_plain('g');
    VCH_TRY(st_set(a->s, &key, st->fields, a->err));
    vch_rc rc = st_vocabulary(a->s, a->err);
    if (rc != VCH_OK) return rc;
    vch_list_t parties;
    vch_slice_t party;
    VCH_TRY(vch_field_list(st->fields, VCH_F_GENESIS_PARTIES, &parties));
    for (uint16_t i = 0; (rc = vch_list_next(&parties, &party)) == VCH_OK; i++) {
        vch_id_t id = vch_object_id(&a->p->entry.id, i);
        VCH_TRY(register_party(a, party, &id));
    }
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    vch_sha256(&a->s->info.network, st->bytes.p, st->bytes.n);
    return VCH_OK;
}

static vch_rc is_registrar(apply_t *a, bool *ret)
{
    vch_state_key_t key = vch_key_plain('g');
    vch_slice_t genesis, item, id;
    vch_list_t list;
    VCH_TRY(st_get(a->s, &key, &genesis, a->err));
    VCH_TRY(vch_field_list(genesis, VCH_F_GENESIS_REGISTRARS, &list));
    *ret = false;
    while (vch_list_next(&list, &item) == VCH_OK) {
        VCH_TRY(vch_item_bytes(item, &id));
        if (id.n == 32 && memcmp(id.p, a->p->entry.cose.kid.b, 32) == 0) *ret = true;
    }
    return VCH_OK;
}

vch_rc rule_party(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    bool registrar;
    VCH_TRY(is_registrar(a, &registrar));
    if (!registrar) return vch_fail(a->err, VCH_ERR_ROLE, "only a registrar named in genesis may register a party");
    return register_party(a, st->fields, object);
}

/* ---- keys of a party ------------------------------------------------------------ */

static vch_rc add_key(apply_t *a, vch_slice_t fields, const vch_id_t *id, vch_party_value_t *party)
{
    vch_slice_t bytes;
    vch_hash_t hash;
    VCH_TRY(vch_field_bytes(fields, VCH_F_PARTYKEY_KEY, &bytes));
    if (!vch_id_eq(id, &a->party)) return vch_fail(a->err, VCH_ERR_ROLE, "a party adds its own keys only");
    if (party->keys == 8) return vch_fail(a->err, VCH_ERR_LIMIT, "a party has at most 8 active keys");
    vch_sha256(&hash, bytes.p, bytes.n);
    if (party->has_next && !vch_hash_eq(&hash, &party->next))
        return vch_fail(a->err, VCH_ERR_KEY, "the new key is not the one that the party promised ahead");
    VCH_TRY(register_key(a, id, bytes, &party->key[party->keys]));
    party->keys++;
    vch_rc rc = vch_field_fixed(fields, VCH_F_PARTYKEY_NEXT, party->next.b, 32);
    party->has_next = rc == VCH_OK;
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc drop_key(apply_t *a, vch_party_value_t *party, const vch_keyid_t *id)
{
    size_t kept = 0;
    for (size_t i = 0; i < party->keys; i++)
        if (!vch_keyid_eq(&party->key[i], id)) party->key[kept++] = party->key[i];
    if (kept == party->keys)
        return vch_fail(a->err, VCH_ERR_REFERENCE, "the key to revoke is not an active key of that party");
    party->keys = kept;
    return VCH_OK;
}

static vch_rc revoke_key(apply_t *a, vch_slice_t fields, const vch_id_t *id, vch_party_value_t *party)
{
    vch_slice_t bytes;
    vch_pubkey_t key;
    bool registrar;
    VCH_TRY(is_registrar(a, &registrar));
    bool own = vch_id_eq(id, &a->party);
    if (!own && !registrar) return vch_fail(a->err, VCH_ERR_ROLE, "only the party or a registrar may revoke its key");
    VCH_TRY(vch_field_bytes(fields, VCH_F_PARTYKEY_KEY, &bytes));
    if (vch_pubkey_get(&key, bytes) != VCH_OK) return vch_fail(a->err, VCH_ERR_KEY, "the key to revoke is none");
    vch_keyid_t key_id = vch_pubkey_id(&key);
    VCH_TRY(drop_key(a, party, &key_id));
    if (own && party->keys == 0)
        return vch_fail(a->err, VCH_ERR_CONFLICT, "a party can't revoke its last key: add another one first");
    vch_state_key_t at = vch_key_id('k', key_id.b);
    vch_key_value_t v = {.party = *id, .revoked = true, .since = a->now, .key = bytes};
    return ST_SET(a->s, &at, vch_key_put, &v, a->err);
}

vch_rc rule_party_key(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    (void)object;
    vch_id_t id;
    uint64_t action;
    vch_party_value_t party;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_PARTYKEY_PARTY, id.b, 32));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_PARTYKEY_ACTION, &action));
    VCH_TRY(st_party(a->s, &id, &party, a->err));
    VCH_TRY(action == VCH_KEY_ADD ? add_key(a, st->fields, &id, &party) : revoke_key(a, st->fields, &id, &party));
    vch_state_key_t key = vch_key_id('p', id.b);
    return ST_SET(a->s, &key, vch_party_put, &party, a->err);
}
